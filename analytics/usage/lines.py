"""Lines: one a leg of a call, with who pays, where it went and what it was.

A call over the public network is billed by its trunk leg: however often it was transferred, the exchange held one
channel and the carrier charges one call, made by the party of its first record. Calls inside the estate are one line
for the caller's leg. Recording and consultation legs and the inner legs of conferences are lines too, so that every
record is found again, but they are excluded from usage and say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import duckdb

from analytics.usage.parties import offset_sql

REDIAL_SECONDS = 60
"""A call to the same number within this after a poor or dropped one is its repetition [s]."""

POOR_LOSS = 0.03
"""Share of packets lost from which a telephone's report counts as poor."""
POOR_MOS = 3.6
"""MOS of a record under which its call is poor."""
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


_CAUSE = "coalesce(nullif(dest_cause & 127, 0), nullif(orig_cause & 127, 0))"
"""Q.850 cause of a record's end: the called side's, else the calling side's; features and splits have none."""


def marked_sql(source: str) -> str:
    """Return the query of what each record is, seen alone; `source` is `records`, or a part of it with its `rid`."""
    return f"""
        -- A call that came in from outside goes out again only through a trunk: what it called may be a public number.
        SELECT *, d_far AND (NOT o_out OR coalesce(d_trunk = 'pstn', false)) AS d_out FROM (
            SELECT r.*, d.number,
                coalesce(o_trunk = 'recording' OR d_trunk = 'recording' OR redirect_reason = 354
                    OR redirect_behalf = 27, false) AS recording,
                coalesce(source = 'cucm' AND called LIKE 'b00%', false) AS bridge,
                coalesce(orig_cause IN {_SPLIT} OR dest_cause IN {_SPLIT}, false) AS split,
                coalesce(CASE direction WHEN 'in' THEN true WHEN 'out' THEN false WHEN 'internal' THEN false END,
                    o_trunk = 'pstn' OR (o_trunk IS NULL AND NOT o_known AND NOT c.inside), false) AS o_out,
                coalesce(CASE direction WHEN 'out' THEN true WHEN 'in' THEN false WHEN 'internal' THEN false END,
                    d_trunk = 'pstn' OR (d_trunk IS NULL AND NOT d_known AND NOT d.inside), false) AS d_far
            FROM {source} r
            JOIN planned p ON p.site = coalesce(r.o_site, '') AND p.lday = r.lday
            LEFT JOIN dialled d ON d.text = coalesce(r.outpulsed_called, r.called) AND d.plan = p.plan
                AND d.sent = (r.outpulsed_called IS NOT NULL)
            LEFT JOIN dialled c ON NOT r.o_known AND c.text = r.calling AND c.plan = p.plan AND c.sent
        )
    """


def mark(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the view `marked`: all records of the window."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW marked AS {marked_sql(_EVERY)}")


_EVERY = "(SELECT rowid AS rid, * FROM records)"


_HEAD = (
    "rid", "sid", "lday", "source", "system", "file_key", "line", "row_key", "origination", "began", "calling",
    "original_called", "called", "last_redirect", "hunt_pilot", "o_name", "d_name",
    "o_site", "o_place", "o_trunk", "d_site", "d_place", "d_trunk", "number", "o_out", "d_out",
)  # fmt: skip
"""What a line has of the record that heads it."""


def talks(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill `talks`: of calls of several records, which heads each line, which way it goes and how long it lasted."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE several AS "
        "SELECT m.*, j.call, {'began': began, 'ended': ended, 'row_key': row_key} AS age, "
        f"{_CAUSE} AS cause "
        f"FROM ({marked_sql(f'(SELECT * FROM {_EVERY} SEMI JOIN joined USING (rid))')}) m JOIN joined j USING (rid)"
    )
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE pieces AS
        WITH m AS (SELECT several.*, source = 'cucm' AS cucm, f.first_ref, f.outside FROM several JOIN (
                SELECT call, arg_min(call_ref, age) AS first_ref,
                    bool_or((o_out OR d_out) AND NOT recording) AS outside
                FROM several GROUP BY call) f USING (call))
        SELECT rid, call, age, row_key, cause, up, seconds, 'out' AS way,
            CASE WHEN NOT cucm THEN (hash(called) >> 1)::BIGINT WHEN dest_leg = 0 THEN -1 - rid ELSE dest_leg END AS leg
        FROM m WHERE d_out AND NOT recording
        UNION ALL
        SELECT rid, call, age, row_key, cause, up, seconds, 'in',
            CASE WHEN NOT cucm THEN 0 WHEN orig_leg = 0 THEN -1 - rid ELSE orig_leg END
        FROM m WHERE o_out AND NOT recording
        UNION ALL
        SELECT rid, call, age, row_key, cause, up, seconds, CASE
                WHEN recording THEN 'recording' WHEN bridge THEN 'conference'
                WHEN cucm AND split AND call_ref <> first_ref THEN 'consultation'
                WHEN NOT cucm AND outside THEN 'part' ELSE 'net' END AS what,
            CASE WHEN what = 'net' AND NOT cucm THEN 0 ELSE -1 - rid END
        FROM m WHERE recording OR NOT (o_out OR d_out)
    """)
    of_head = ", ".join(f"m.{name}" for name in _HEAD)
    # Other systems write a record a channel or a fork: their outside leg is the call's way in, or its way to a number.
    # A leg runs while any of its records says so: overlapping records (forks, whole seconds) are not added twice.
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE talks AS
        WITH ordered AS (
            SELECT *, max(up + seconds) OVER (PARTITION BY call, leg ORDER BY up NULLS LAST, seconds, row_key
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS until_
            FROM pieces
        )
        , spoken AS (SELECT CASE WHEN arg_min(way, age) IN ('in', 'net') THEN coalesce(
                    arg_min(rid, age) FILTER (up IS NOT NULL AND way IN ('in', 'net') AND seconds > 0),
                    arg_min(rid, age) FILTER (up IS NOT NULL AND way IN ('in', 'net')), arg_min(rid, age))
                ELSE arg_min(rid, age) END AS head, arg_max(cause, age) AS cause, min(age.began) AS begins,
            call, arg_min(way, age) AS way, min(up) AS up,
            coalesce(sum(greatest(0, up + seconds - greatest(up, coalesce(until_, up))))
                FILTER (up IS NOT NULL), 0)::INTEGER AS seconds,
            count(*)::INTEGER AS records
        FROM ordered GROUP BY call, leg)
        SELECT {of_head}, t.way, t.up, t.seconds, t.records, m.day, f.first_key, t.call, t.begins, t.cause
        FROM spoken t JOIN several m ON m.rid = t.head JOIN (
            SELECT call, arg_min(row_key, age) AS first_key FROM several GROUP BY call
        ) f ON f.call = t.call
    """)


_COLUMNS = f"""
    l.day, line_key, first_key AS call_key, source, system,
    file_key, line, records::SMALLINT AS records, origination, start,
    (date_part('year', clock) * 100 + date_part('month', clock))::INTEGER AS month,
    CASE WHEN up IS NULL THEN 0 ELSE seconds END AS seconds,
    up IS NOT NULL AS answered,
    CASE WHEN up >= begins THEN up - begins END::INTEGER AS seconds_to_answer,
    CASE way WHEN 'out' THEN 'outbound' WHEN 'in' THEN 'inbound' WHEN 'part' THEN 'transit'
        WHEN 'net' THEN CASE WHEN o_site = d_site THEN 'on_site' ELSE 'on_net' END ELSE way END AS kind,
    excluded,
    CASE way WHEN 'net' THEN CASE WHEN o_site = d_site THEN 'onsite'
        WHEN o_site IS NOT NULL AND d_site IS NOT NULL THEN 'intersite' END END AS inner_class,
    CASE WHEN way = 'out' THEN l.number END AS number,
    CASE WHEN o_out AND d_out THEN b.site WHEN way = 'in' THEN d_site ELSE o_site END AS site,
    coalesce(CASE WHEN o_out AND d_out THEN b.evidence ELSE pl.evidence END, 'none') AS site_evidence,
    CASE way WHEN 'net' THEN d_site END AS other_site,
    own.device AS device, far.device AS trunk,
    CASE way WHEN 'in' THEN coalesce(p1.listed, p2.listed, p3.listed, hunt_pilot) END AS public_number,
    CASE WHEN way = 'in' AND up IS NOT NULL THEN d_site END AS answered_by,
    ((last_redirect IS NOT NULL)::INT
        + coalesce(original_called <> last_redirect, false)::INT)::SMALLINT AS transfers_before_answer,
    cause::SMALLINT AS cause,
    up IS NOT NULL AND coalesce(cause IN {DROPPED_CAUSES}, false) AS dropped,
    poor, CASE WHEN poor IS NOT NULL THEN 'reported' END AS quality_evidence,
    CASE WHEN excluded IS NULL THEN n.redial_of END AS redial_of, epoch(start)::BIGINT AS started
"""


def lined_sql(source: str) -> str:
    """Return the query of all lines that records of `source` head."""
    head = ", ".join(_HEAD)
    way = """CASE WHEN recording THEN 'recording' WHEN d_out THEN 'out' WHEN o_out THEN 'in'
        WHEN bridge THEN 'conference' ELSE 'net' END"""
    alone = f"(SELECT * FROM {source} ANTI JOIN joined USING (rid))"
    # What can have come in from outside and gone out again: little, so the rest is not looked at twice.
    through = f"(FROM {alone} WHERE d_trunk = 'pstn' AND (direction IS NOT NULL OR o_trunk = 'pstn' OR NOT o_known))"
    return f"""
        WITH line AS NOT MATERIALIZED (
            SELECT {head}, {way} AS way, up, seconds, 1 AS records, day, row_key AS first_key, rid AS call,
                began AS begins, {_CAUSE} AS cause
            FROM ({marked_sql(alone)})
            UNION ALL
            SELECT {head}, 'in', up, seconds, 1, day, row_key, rid, began, {_CAUSE}
            FROM ({marked_sql(through)}) WHERE o_out AND d_out AND NOT recording
            UNION ALL
            SELECT {head}, way, up, seconds, records, day, first_key, call, begins, cause FROM talks
        )
        SELECT line.*, CASE WHEN up IS NULL THEN origination ELSE make_timestamptz(up * 1000000) END AS start,
            xor(row_key, CASE way WHEN 'in' THEN 1 ELSE 0 END) AS line_key,
            coalesce(up + seconds, began) AS stopped,
            CASE WHEN way IN ('recording', 'conference', 'consultation') THEN way
                WHEN way = 'part' THEN 'inner_leg' END AS excluded,
            q.poor
        FROM line LEFT JOIN heard q USING (call)
    """


def line_up(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill `troubled` with the lines that were poor or dropped."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE suspected AS
        SELECT rowid AS rid FROM records WHERE {_CAUSE} IN {DROPPED_CAUSES} AND up IS NOT NULL AND calling IS NOT NULL
        UNION SELECT call FROM heard WHERE poor
        UNION SELECT j.rid FROM joined j JOIN heard q ON q.call = j.call WHERE poor
    """)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE suspects AS
        SELECT * FROM {_EVERY} SEMI JOIN suspected USING (rid) WHERE up IS NOT NULL AND calling IS NOT NULL
    """)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE troubled AS
        SELECT sid, calling, called, line_key, stopped FROM ({lined_sql("suspects")})
        WHERE up IS NOT NULL AND excluded IS NULL AND calling IS NOT NULL
            AND (coalesce(poor, false) OR cause IN {DROPPED_CAUSES})
    """)


def repeat(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill `redialled` (rid, redial_of): records that repeat a poor or dropped line of the same party."""
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE redialled AS
        SELECT n.rowid AS rid, arg_max(t.line_key, t.stopped) AS redial_of
        FROM records n JOIN troubled t ON n.calling = t.calling AND n.called = t.called AND n.sid = t.sid
            AND n.began BETWEEN t.stopped AND t.stopped + {REDIAL_SECONDS} AND n.row_key <> t.line_key
        GROUP BY n.rowid
    """)


def of_days(zone: ZoneInfo, days: Sequence[date]) -> str:
    """Return the query of the lines that began on consecutive UTC days: all but their prices."""
    month = offset_sql(zone, "start", days[0], days[-1] + timedelta(days=1))
    inside = f"day BETWEEN DATE '{days[0]}' AND DATE '{days[-1]}'"
    records = f"(SELECT rowid AS rid, * FROM records WHERE {inside})"
    return f"""
        WITH l AS NOT MATERIALIZED (
            SELECT *, make_timestamp(epoch_us(start) + {month}) AS clock FROM ({lined_sql(records)}) WHERE {inside}
        )
        SELECT {_COLUMNS}
        FROM l
        LEFT JOIN redirecting b ON b.number = CASE WHEN l.o_out AND l.d_out THEN l.last_redirect END AND b.lday = l.lday
        LEFT JOIN public p1 ON p1.number = CASE WHEN l.way = 'in' THEN l.original_called END AND p1.lday = l.lday
        LEFT JOIN public p2 ON p2.number = CASE WHEN l.way = 'in' THEN l.hunt_pilot END AND p2.lday = l.lday
        LEFT JOIN public p3 ON p3.number = CASE WHEN l.way = 'in' THEN l.called END AND p3.lday = l.lday
        LEFT JOIN redialled n ON n.rid = l.rid
        LEFT JOIN places pl ON pl.place = CASE l.way WHEN 'in' THEN l.d_place ELSE l.o_place END
        LEFT JOIN names own ON own.name = CASE l.way WHEN 'in' THEN l.d_name ELSE l.o_name END
        LEFT JOIN names far ON far.name = CASE WHEN l.way = 'in' AND l.o_trunk IS NOT NULL THEN l.o_name
            WHEN l.way = 'out' AND l.d_trunk IS NOT NULL THEN l.d_name END
    """


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
        ), told AS (
            SELECT coalesce(j.call, r.rid) AS call,
                bool_or(coalesce(said.poor, CASE WHEN severe IS NOT NULL AND r.seconds > 0
                    THEN severe > r.seconds * CASE WHEN r.seconds >= {LONG_SECONDS}
                        THEN {POOR_SEVERE_LONG} ELSE {POOR_SEVERE_SHORT} END END)) AS poor
            FROM (SELECT rowid AS rid, * FROM records) r JOIN said USING (source, system, call_ref)
            LEFT JOIN joined j USING (rid) GROUP BY ALL
            UNION ALL
            SELECT coalesce(j.call, r.rid), r.mos < {POOR_MOS}
            FROM (SELECT rowid AS rid, mos FROM records WHERE mos IS NOT NULL) r LEFT JOIN joined j USING (rid)
        )
        SELECT call, bool_or(poor) AS poor FROM told GROUP BY call HAVING poor IS NOT NULL
    """)
