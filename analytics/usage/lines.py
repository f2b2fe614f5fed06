"""Lines: one a leg of a call, with who pays, where it went and what it was.

A call over the public network is billed by its trunk leg: however often it was transferred, the exchange held one
channel and the carrier charges one call, made by the party of its first record. Calls inside the estate are one line
for the caller's leg. Recording and consultation legs and the inner legs of conferences are lines too, so that every
record is found again, but they are excluded from usage and say why.
"""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import duckdb

from analytics.usage.parties import offset_sql

REDIAL_SECONDS = 60
"""A call to the same number within this after a poor or dropped one is its repetition [s]."""

POOR_LOSS = 0.03
"""Share of packets lost from which a telephone's report counts as poor."""
POOR_CONCEALMENT = 0.03
"""Cumulative conceal ratio from which a report counts as poor."""
POOR_SEVERE_LONG = 0.07
"""Share of severely concealed seconds from which a call of LONG_SECONDS or more is poor (Cisco's grade)."""
POOR_SEVERE_SHORT = 0.30
"""The same for a shorter call."""
LONG_SECONDS = 20

DROPPED_CAUSES = (27, 38, 41, 42, 43, 44, 47, 63, 102, 111)
"""Q.850 causes with which the network and not a party ends an answered call."""

_SPLIT = "(393216, 458752)"
"""CUCM: the call went on in another record (transfer, conference)."""


def mark(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill `marked`: what each record is, seen alone."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE marked AS
        SELECT r.rid, r.began, epoch(r.connect)::BIGINT AS up, r.seconds, r.orig_leg, r.dest_leg, r.call_ref,
            s.o_site, s.d_site, s.d_known, s.o_trunk, s.d_trunk,
            r.source = 'cucm' AS cucm,
            coalesce(s.o_trunk = 'recording' OR s.d_trunk = 'recording' OR r.redirect_reason = 354
                OR r.redirect_behalf = 27, false) AS recording,
            coalesce(r.source = 'cucm' AND r.called LIKE 'b00%', false) AS bridge,
            coalesce(r.orig_cause IN {_SPLIT} OR r.dest_cause IN {_SPLIT}, false) AS split,
            coalesce(CASE r.direction WHEN 'in' THEN true WHEN 'out' THEN false WHEN 'internal' THEN false END,
                s.o_trunk = 'pstn' OR (s.o_trunk IS NULL AND NOT s.o_known AND NOT c.internal), false) AS o_out,
            coalesce(CASE r.direction WHEN 'out' THEN true WHEN 'in' THEN false WHEN 'internal' THEN false END,
                s.d_trunk = 'pstn' OR (s.d_trunk IS NULL AND NOT s.d_known AND NOT d.internal), false) AS d_far,
            d.number
        FROM records r
        JOIN sided s USING (rid)
        JOIN spoken p USING (rid)
        LEFT JOIN dialled d ON d.text = p.text AND d.plan = p.plan AND d.sent = p.sent
        LEFT JOIN dialled c ON NOT s.o_known AND c.text = r.calling AND c.plan = p.plan AND c.sent
    """)
    # A call that came in from outside goes out again only through a trunk: its called number may well be a public one.
    connection.execute("ALTER TABLE marked ADD COLUMN d_out BOOLEAN")
    connection.execute("UPDATE marked SET d_out = d_far AND (NOT o_out OR coalesce(d_trunk = 'pstn', false))")


def talks(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill `talks`: which record heads each line, which way it goes, how long it lasted over all its records."""
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE talks AS
        WITH lone AS (FROM marked ANTI JOIN joined USING (rid))
        SELECT rid, rid AS call, CASE
                WHEN recording THEN 'recording' WHEN d_out THEN 'out' WHEN o_out THEN 'in'
                WHEN bridge THEN 'conference' ELSE 'net' END AS way,
            up, seconds, 1 AS records
        FROM lone
        UNION ALL
        SELECT rid, rid, 'in', up, seconds, 1 FROM lone WHERE o_out AND d_out AND NOT recording
    """)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE pieces AS
        WITH m AS (SELECT marked.*, j.call, f.call_ref AS first_ref, f.outside
            FROM marked JOIN joined j USING (rid) JOIN (
                SELECT call, arg_min(call_ref, (began, rid)) AS call_ref,
                    bool_or((o_out OR d_out) AND NOT recording) AS outside
                FROM marked JOIN joined USING (rid) GROUP BY call) f USING (call))
        SELECT rid, call, began, up, seconds, 'out' AS way, CASE dest_leg WHEN 0 THEN -1 - rid ELSE dest_leg END AS leg
        FROM m WHERE d_out AND NOT recording
        UNION ALL
        SELECT rid, call, began, up, seconds, 'in', CASE orig_leg WHEN 0 THEN -1 - rid ELSE orig_leg END
        FROM m WHERE o_out AND NOT recording
        UNION ALL
        SELECT rid, call, began, up, seconds, CASE
                WHEN recording THEN 'recording' WHEN bridge THEN 'conference'
                WHEN cucm AND split AND call_ref <> first_ref THEN 'consultation'
                WHEN NOT cucm AND outside THEN 'part' ELSE 'net' END AS what,
            CASE WHEN what = 'net' AND NOT cucm THEN 0 WHEN what = 'net' AND orig_leg <> 0 THEN orig_leg
                ELSE -1 - rid END
        FROM m WHERE recording OR NOT (o_out OR d_out)
    """)
    # A leg runs while any of its records says so: overlapping records (forks, whole seconds) are not added twice.
    connection.execute("""
        INSERT INTO talks
        WITH ordered AS (
            SELECT *, max(up + seconds) OVER (PARTITION BY call, leg ORDER BY up NULLS LAST, rid
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS until_
            FROM pieces
        )
        SELECT CASE arg_min(way, (began, rid)) WHEN 'in' THEN
                coalesce(arg_min(rid, (began, rid)) FILTER (up IS NOT NULL AND way = 'in'), arg_min(rid, (began, rid)))
                ELSE arg_min(rid, (began, rid)) END AS head,
            call, arg_min(way, (began, rid)) AS way, min(up) AS up,
            coalesce(sum(greatest(0, up + seconds - greatest(up, coalesce(until_, up))))
                FILTER (up IS NOT NULL), 0)::INTEGER,
            count(*)::INTEGER
        FROM ordered GROUP BY call, leg
    """)


def draw(connection: duckdb.DuckDBPyConnection, zone: ZoneInfo, first: date, last: date) -> int:
    """Fill `drawn`, one row a line in a fixed order, all but its prices; return how many there are."""
    month = offset_sql(zone, "start", first, last)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE drawn AS
        WITH line AS (
            SELECT t.*, m.o_out, m.d_out, m.number, r.*,
                coalesce(make_timestamptz(t.up * 1000000), r.origination) AS start,
                first.row_key AS first_key, CAST(first.origination AT TIME ZONE 'UTC' AS DATE) AS first_day,
                s.o_site, s.d_site, s.o_evidence, s.d_evidence, s.o_trunk, s.d_trunk,
                b.site AS b_site, b.evidence AS b_evidence, u.label AS listed, q.poor AS heard_poor
            FROM talks t
            JOIN marked m USING (rid)
            JOIN (SELECT * EXCLUDE (day, seconds) FROM records) r USING (rid)
            JOIN sided s USING (rid)
            JOIN records first ON first.rid = t.call
            LEFT JOIN redirected b ON b.rid = t.rid
            LEFT JOIN listed u ON u.rid = t.rid
            LEFT JOIN heard q ON q.call = t.call
        )
        SELECT first_day AS day,
            xor(row_key, CASE way WHEN 'in' THEN 1 ELSE 0 END) AS line_key,
            first_key AS call_key, source, system, file_key, line, records::SMALLINT AS records, origination, start,
            (date_part('year', local) * 100 + date_part('month', local))::INTEGER AS month,
            CASE WHEN up IS NULL THEN 0 ELSE seconds END AS seconds,
            up IS NOT NULL AS answered,
            CASE WHEN up >= began THEN up - began END::INTEGER AS seconds_to_answer,
            CASE way WHEN 'out' THEN 'outbound' WHEN 'in' THEN 'inbound' WHEN 'part' THEN 'transit'
                WHEN 'net' THEN CASE WHEN o_site = d_site THEN 'on_site' ELSE 'on_net' END ELSE way END AS kind,
            CASE WHEN way IN ('recording', 'conference', 'consultation') THEN way WHEN way = 'part' THEN 'inner_leg' END
                AS excluded,
            CASE way WHEN 'net' THEN CASE WHEN o_site = d_site THEN 'onsite'
                WHEN o_site IS NOT NULL AND d_site IS NOT NULL THEN 'intersite' END END AS inner_class,
            CASE WHEN way = 'out' THEN number END AS number,
            CASE way WHEN 'in' THEN d_site WHEN 'out' THEN CASE WHEN o_out THEN b_site ELSE o_site END
                ELSE o_site END AS site,
            CASE way WHEN 'in' THEN d_evidence WHEN 'out' THEN CASE WHEN o_out THEN coalesce(b_evidence, 'none')
                ELSE o_evidence END ELSE o_evidence END AS site_evidence,
            CASE way WHEN 'net' THEN d_site END AS other_site,
            CASE way WHEN 'in' THEN dest_device ELSE orig_device END AS device,
            CASE way WHEN 'in' THEN CASE WHEN o_trunk IS NOT NULL THEN orig_device END
                WHEN 'out' THEN CASE WHEN d_trunk IS NOT NULL THEN dest_device END END AS trunk,
            CASE way WHEN 'in' THEN coalesce(listed, hunt_pilot) END AS public_number,
            CASE WHEN way = 'in' AND up IS NOT NULL THEN d_site END AS answered_by,
            ((last_redirect IS NOT NULL AND last_redirect <> '')::INT
                + (original_called IS NOT NULL AND last_redirect IS NOT NULL AND original_called <> last_redirect)::INT
            )::SMALLINT AS transfers_before_answer,
            cause::SMALLINT AS cause,
            up IS NOT NULL AND coalesce(cause IN {DROPPED_CAUSES}, false) AS dropped,
            heard_poor AS poor,
            CASE WHEN heard_poor IS NOT NULL THEN 'reported' END AS quality_evidence,
            calling, called, epoch(start)::BIGINT AS started, began, epoch(start)::BIGINT + seconds AS stopped
        FROM (SELECT *, start AT TIME ZONE 'UTC' + to_seconds({month}) AS local,
                coalesce(nullif(dest_cause & 127, 0), nullif(orig_cause & 127, 0)) AS cause FROM line)
        ORDER BY day, origination, line_key
    """)
    row = connection.execute("SELECT count(*) FROM drawn").fetchone()
    assert row is not None
    return int(row[0])


def hear(connection: duckdb.DuckDBPyConnection, reports: str, first: date, last: date) -> None:
    """Fill `heard` (call, poor): what telephones reported of each call, poor if any of them says so."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE heard AS
        WITH said AS (
            SELECT source, system, call_ref, CASE
                WHEN packets_received + greatest(packets_lost, 0) > 0
                    AND packets_lost > {POOR_LOSS} * (packets_received + greatest(packets_lost, 0)) THEN true
                WHEN concealment_ratio > {POOR_CONCEALMENT} THEN true
                WHEN severely_concealed_seconds > 0 THEN NULL
                WHEN packets_received > 0 THEN false END AS poor,
                severely_concealed_seconds AS severe
            FROM {reports} WHERE day BETWEEN DATE '{first}' AND DATE '{last}'
        )
        SELECT coalesce(j.call, r.rid) AS call,
            bool_or(coalesce(said.poor, CASE WHEN severe IS NOT NULL AND r.seconds > 0
                THEN severe > r.seconds * CASE WHEN r.seconds >= {LONG_SECONDS}
                    THEN {POOR_SEVERE_LONG} ELSE {POOR_SEVERE_SHORT} END END)) AS poor
        FROM said JOIN records r USING (source, system, call_ref) LEFT JOIN joined j USING (rid)
        GROUP BY ALL HAVING poor IS NOT NULL
    """)


def redials(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill `redialled` (line_key, day, redial_of): lines that repeat a poor or dropped one of the same party."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE redialled AS
        SELECT n.day, n.line_key, arg_max(b.line_key, b.stopped) AS redial_of
        FROM drawn b JOIN drawn n ON n.calling = b.calling AND n.called = b.called AND n.source = b.source
            AND n.system = b.system AND n.began >= b.stopped AND n.began <= b.stopped + {REDIAL_SECONDS}
            AND (n.line_key <> b.line_key)
        WHERE (b.dropped OR b.poor) AND b.excluded IS NULL AND n.excluded IS NULL
        GROUP BY n.day, n.line_key
    """)
