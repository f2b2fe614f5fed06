"""What alerts asked at many moments of the past, all at once: as `watching` answers at each of them, by one reading.

Who asks at each moment anew reads the same rows some twenty times; here rows meet the moments whose window they lie in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from analytics.questions.asking import POOR_MOS, begun, check_span, micros
from analytics.questions.watching import (
    LEAST_NUMBERS,
    LEAST_PACKETS,
    LEAST_TALK_S,
    LONGEST_CALL,
    USER_CHOICES,
    WEEKS,
    Ended,
    Gateway,
    Heard,
    HeardNow,
    PairHeard,
    Traffic,
    weeks_before,
)
from analytics.store.schema import CALLS, INTERVALS, SITE_MINUTES, STREAMS

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake

MOST_MET: Final = 4_000_000
"""Rows times moments that meet at once."""
_QUALITY: Final = f"count(mos), count(*) FILTER (mos < {POOR_MOS}), avg(mos), sum(expected)::BIGINT, sum(lost)::BIGINT"


def heard_at(lake: Lake, moments: Sequence[datetime], window: timedelta) -> dict[datetime, HeardNow]:
    """Return the streams of the window before each moment, as `heard_now` does."""
    since, until = _span(moments, window)
    with lake.reading() as connection:
        intervals = lake.query(connection, INTERVALS.name, since=since, until=until)
        met = f"""
            SELECT moment, site, other_site, sum(expected)::BIGINT AS expected,
                greatest(sum(lost), 0)::BIGINT AS lost,
                sum(mos * expected) FILTER (mos IS NOT NULL)
                    / nullif(sum(expected) FILTER (mos IS NOT NULL), 0) AS mos,
                sum(jitter_ms) AS jitter_sum, count(jitter_ms) AS intervals
            FROM moments JOIN (SELECT *, epoch_us(start) AS begun FROM ({intervals})) AS of
                ON of.begun >= moment - {_micros(window)} AND of.begun < moment
            GROUP BY moment, stream_key, source, site, other_site HAVING sum(expected) >= {LEAST_PACKETS}
        """  # noqa: S608 - names of the schema and our own numbers
        found = _heard(moments, _met(connection, met, moments), newest=False)
        missing = [moment for moment in moments if not found[moment].sites]
        if not missing:
            return found
        # Where intervals are not kept whole streams tell.
        streams = lake.query(connection, STREAMS.name, since=missing[0] - window - LONGEST_CALL, until=missing[-1])
        met = f"""
            SELECT moment, site, other_site, expected, greatest(lost, 0) AS lost, mos, jitter_ms AS jitter_sum,
                (jitter_ms IS NOT NULL)::INTEGER AS intervals
            FROM moments JOIN (SELECT *, epoch_us("end") AS over FROM ({streams})) AS of
                ON of.over >= moment - {_micros(window)} AND of.over < moment
            WHERE expected >= {LEAST_PACKETS}
        """  # noqa: S608 - names of the schema and our own numbers
        return found | _heard(missing, _met(connection, met, missing), newest=False)


def _met(connection: duckdb.DuckDBPyConnection, met: str, moments: Sequence[datetime]) -> list[tuple[Any, ...]]:
    """Rows of streams that met moments, by moment, place, direction and other place."""
    return connection.execute(
        f"""
        WITH moments AS (SELECT unnest($moments) AS moment), met AS MATERIALIZED ({met}), ends AS (
            SELECT site AS place, 'from' AS direction, * FROM met WHERE site IS NOT NULL
            UNION ALL SELECT other_site, 'to', * FROM met WHERE other_site IS NOT NULL
        )
        SELECT moment, place, direction, NULL, {_QUALITY}, sum(intervals)::BIGINT,
            sum(jitter_sum) / nullif(sum(intervals), 0)
        FROM ends GROUP BY moment, place, direction
        UNION ALL SELECT moment, site, 'pair', other_site, {_QUALITY}, NULL, NULL
        FROM met WHERE site <> other_site GROUP BY moment, site, other_site ORDER BY ALL
        """,  # noqa: S608 - names of the schema and our own numbers
        {"moments": [micros(moment) for moment in moments]},
    ).fetchall()


def heard_last_at(lake: Lake, moments: Sequence[datetime], longest: timedelta, most: int) -> dict[datetime, HeardNow]:
    """Return the newest streams before each moment, as `heard_last` does."""
    since, until = _span(moments, longest)
    window = f"w AS (PARTITION BY place, direction, other ORDER BY over ROWS {int(most) - 1} PRECEDING)"
    with lake.reading() as connection:
        streams = lake.query(connection, STREAMS.name, since=since - LONGEST_CALL, until=until)
        rows = connection.execute(
            f"""
            WITH moments AS (SELECT unnest($moments) AS moment), rated AS MATERIALIZED (
                SELECT site, other_site, mos, expected, greatest(lost, 0) AS lost, epoch_us("end") AS over
                FROM ({streams}) WHERE expected >= {LEAST_PACKETS} AND mos IS NOT NULL
            ), ends AS (
                SELECT site AS place, 'from' AS direction, NULL AS other, mos, expected, lost, over FROM rated
                UNION ALL SELECT other_site, 'to', NULL, mos, expected, lost, over FROM rated
                UNION ALL SELECT site, 'pair', other_site, mos, expected, lost, over FROM rated WHERE site <> other_site
            ), rolled AS (
                SELECT place, direction, other, over, count(*) OVER w AS rated,
                    count(*) FILTER (mos < {POOR_MOS}) OVER w AS poor, avg(mos) OVER w AS mos,
                    (sum(expected) OVER w)::BIGINT AS expected,
                    (sum(lost) OVER w)::BIGINT AS lost, min(over) OVER w AS oldest,
                    coalesce(lead(over) OVER (PARTITION BY place, direction, other ORDER BY over), {_ENDLESS}) AS next
                FROM ends WHERE place IS NOT NULL WINDOW {window}
            )
            SELECT moment, place, direction, other, rated, poor, mos, expected, lost, oldest
            FROM moments JOIN (SELECT * FROM rolled WHERE rated = {int(most)}) AS of
                ON of.over < moment AND of.next >= moment
            WHERE oldest >= moment - {_micros(longest)} ORDER BY ALL
            """,  # noqa: S608 - names of the schema and our own numbers
            {"moments": [micros(moment) for moment in moments]},
        ).fetchall()
    return _heard(moments, rows, newest=True)


def _heard(moments: Sequence[datetime], rows: Sequence[tuple[Any, ...]], *, newest: bool) -> dict[datetime, HeardNow]:
    sites: dict[int, list[Heard]] = defaultdict(list)
    pairs: dict[int, list[PairHeard]] = defaultdict(list)
    for moment, place, direction, other, *counts in rows:
        since = begun(counts[5]) if newest else None
        if direction == "pair":
            pairs[moment].append(PairHeard._make([place, other, *counts[:5], since]))
        else:
            jitter = (0, None) if newest else counts[5:7]
            sites[moment].append(Heard._make([place, direction, *counts[:5], *jitter, since]))
    known = {moment: micros(moment) for moment in moments}
    return {moment: HeardNow(tuple(sites[at]), tuple(pairs[at])) for moment, at in known.items()}


def ended_at(lake: Lake, moments: Sequence[datetime], window: timedelta) -> dict[datetime, tuple[Ended, ...]]:
    """Return the calls that ended in the window before each moment, as `ended_calls` does."""
    since, until = _span(moments, window)
    choices = ", ".join(map(str, USER_CHOICES))
    with lake.reading() as connection:
        calls = lake.query(connection, CALLS.name, since=since - LONGEST_CALL, until=until)
        streams = lake.query(connection, STREAMS.name, since=since - LONGEST_CALL, until=until)
        rows = connection.execute(
            f"""
            WITH moments AS (SELECT unnest($moments) AS moment), ended AS MATERIALIZED (
                SELECT call_key, source, site, other_site, state, status, epoch_us("end") AS over,
                    answer IS NOT NULL AND seconds >= {LEAST_TALK_S} AS talked
                FROM ({calls}) WHERE epoch_us("end") >= {micros(since)} AND epoch_us("end") < {micros(until)}
            ), media AS (
                SELECT call_key, source, count(DISTINCT regexp_replace(from_address, ':[0-9]+$', '')) AS hosts
                FROM ({streams}) WHERE call_key IS NOT NULL AND expected >= {LEAST_PACKETS}
                    AND call_key IN (SELECT call_key FROM ended WHERE talked) GROUP BY call_key, source
            ), sides AS (
                SELECT site AS place, call_key, source, true AS own, state, status, talked, over
                FROM ended WHERE site IS NOT NULL
                UNION ALL SELECT other_site, call_key, source, false, state, status, talked, over
                FROM ended WHERE other_site IS NOT NULL AND other_site IS DISTINCT FROM site
            ), heard AS MATERIALIZED (
                SELECT place, own, state, status, talked, over, hosts
                FROM sides LEFT JOIN media USING (call_key, source)
            )
            SELECT moment, place, count(*) FILTER (own AND state <> 'in progress'),
                count(*) FILTER (own AND state = 'failed' AND coalesce(status, 0) NOT IN ({choices})),
                count(hosts) FILTER (talked), count(*) FILTER (talked AND hosts = 1)
            FROM moments JOIN heard ON heard.over >= moment - {_micros(window)} AND heard.over < moment
            GROUP BY moment, place ORDER BY moment, place
            """,  # noqa: S608 - names of the schema and our own numbers
            {"moments": [micros(moment) for moment in moments]},
        ).fetchall()
    found: dict[int, list[Ended]] = defaultdict(list)
    for moment, *row in rows:
        found[moment].append(Ended(*row))
    return {moment: tuple(found[micros(moment)]) for moment in moments}


def gateways_at(
    lake: Lake, moments: Sequence[datetime], window: timedelta, longest: timedelta, most: int
) -> dict[datetime, tuple[Gateway, ...]]:
    """Return what became of calls to each address before each moment, as `gateways_now` does."""
    since, until = _span(moments, longest)
    choices = ", ".join(map(str, USER_CHOICES))
    found: dict[int, list[Gateway]] = defaultdict(list)
    with lake.reading() as connection:
        calls = lake.query(connection, CALLS.name, since=since, until=until)
        tried = f"""
            SELECT to_address, epoch_us("start") AS begun, coalesce(called, call_key::VARCHAR) AS number,
                (state = 'failed' AND coalesce(status, 0) NOT IN ({choices}))
                    OR (state = 'unanswered' AND coalesce(status, 408) = 408 AND pdd_ms IS NULL) AS failed,
                least(epoch_us(answer), CASE WHEN state <> 'in progress' THEN epoch_us("end") END) AS known
            FROM ({calls}) WHERE to_address IS NOT NULL
                AND (answer IS NOT NULL OR ("end" IS NOT NULL AND state <> 'in progress'))
            """  # noqa: S608 - names of the schema and our own numbers
        (count,) = connection.execute(f"SELECT count(*) FROM ({tried})").fetchone() or (0,)  # noqa: S608
        at_once = max(1, MOST_MET // max(1, count))
        for first in range(0, len(moments), at_once):
            some = [micros(moment) for moment in moments[first : first + at_once]]
            rows = connection.execute(
                f"""
                WITH moments AS (SELECT unnest($moments) AS moment), tried AS MATERIALIZED ({tried}), newest AS (
                    SELECT moment, to_address, begun, failed
                    FROM moments JOIN tried ON begun >= moment - {_micros(longest)} AND known < moment
                    QUALIFY row_number() OVER (PARTITION BY moment, to_address, number ORDER BY begun DESC) = 1
                ), counted AS (
                    SELECT * FROM newest QUALIFY begun >= moment - {_micros(window)}
                        OR row_number() OVER (PARTITION BY moment, to_address ORDER BY begun DESC) <= {int(most)}
                )
                SELECT moment, to_address, count(*), count(*) FILTER (failed), min(begun)
                FROM counted GROUP BY moment, to_address HAVING count(*) >= {LEAST_NUMBERS} ORDER BY moment, to_address
                """,  # noqa: S608 - our own numbers
                {"moments": some},
            ).fetchall()
            for moment, address, numbers, failed, oldest in rows:
                found[moment].append(Gateway(address, numbers, failed, begun(oldest)))
    return {moment: tuple(found[micros(moment)]) for moment in moments}


def traffic_at(
    lake: Lake, moments: Sequence[datetime], window: timedelta, zone: str
) -> dict[datetime, tuple[Traffic, ...]]:
    """Return what each site did in the window before each moment and in the weeks before, as `traffic_now` does."""
    since, until = _span(moments, window)
    counted: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    going: dict[int, dict[str, int]] = defaultdict(dict)
    with lake.reading() as connection:
        for back in range(WEEKS + 1):
            spans = [
                (micros(moment), *(micros(weeks_before(at, back, zone)) for at in (moment - window, moment)))
                for moment in moments
            ]
            begin, end = min(one[1] for one in spans), max(one[2] for one in spans)
            minutes = lake.query(
                connection, SITE_MINUTES.name, since=begun(begin), until=begun(end), only={"step": ["minute"]}
            )
            rows = connection.execute(
                f"""
                WITH spans AS (SELECT unnest($moments) AS moment, unnest($begins) AS begins, unnest($ends) AS ends),
                of_minutes AS (
                    SELECT site, epoch_us(start) AS begun, sum(calls)::BIGINT AS calls FROM ({minutes}) GROUP BY ALL
                )
                SELECT moment, site, sum(calls)::BIGINT FROM spans JOIN of_minutes
                    ON of_minutes.begun >= begins AND of_minutes.begun < ends GROUP BY moment, site
                """,  # noqa: S608 - names of the schema
                dict(zip(("moments", "begins", "ends"), map(list, zip(*spans, strict=True)), strict=True)),
            ).fetchall()
            for moment, site, calls in rows:
                counted[moment, back][site] = calls
        intervals = lake.query(connection, INTERVALS.name, since=since, until=until)
        rows = connection.execute(
            f"""
            WITH moments AS (SELECT unnest($moments) AS moment), ends AS MATERIALIZED (
                SELECT site AS place, stream_key, epoch_us(start) AS begun FROM ({intervals}) WHERE site IS NOT NULL
                UNION ALL SELECT other_site, stream_key, epoch_us(start) FROM ({intervals}) WHERE other_site IS NOT NULL
            )
            SELECT moment, place, count(DISTINCT stream_key) FROM moments JOIN ends
                ON ends.begun >= moment - {_micros(window)} AND ends.begun < moment GROUP BY moment, place
            """,  # noqa: S608 - names of the schema
            {"moments": [micros(moment) for moment in moments]},
        ).fetchall()
        for moment, site, streams in rows:
            going[moment][site] = streams
    return {moment: _traffic(micros(moment), counted, going) for moment in moments}


def _traffic(
    at: int, counted: Mapping[tuple[int, int], dict[str, int]], going: Mapping[int, dict[str, int]]
) -> tuple[Traffic, ...]:
    weeks = [counted.get((at, back), {}) for back in range(WEEKS + 1)]
    now, past, on = weeks[0], weeks[1:], going.get(at, {})
    sites = sorted({site for of_week in weeks for site in of_week} | set(on))
    return tuple(
        Traffic(
            site,
            now.get(site, 0) + on.get(site, 0),
            tuple(of_week.get(site, 0) if of_week else None for of_week in past),
        )
        for site in sites
    )


_ENDLESS: Final = 1 << 62


def _micros(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _span(moments: Sequence[datetime], window: timedelta) -> tuple[datetime, datetime]:
    """The time that windows before moments in order cover."""
    if any(after <= before for before, after in pairwise(moments)):
        raise ValueError("moments are in order of time")
    since, until = moments[0] - window, moments[-1]
    check_span(since, until)
    return since, until
