"""What alerts ask: streams as heard now, calls that ended, traffic and feeds beside their own past, cost by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from analytics.cost.outliers import MOST_WEEKS, Judgement, Past, judge
from analytics.questions.asking import POOR_MOS, begun, check_span, micros
from analytics.store import site_queries
from analytics.store.schema import CALLS, INTERVALS, SITE_MINUTES, STREAMS, USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from analytics.sites import Estate
    from analytics.store.lake import Lake

LEAST_PACKETS: Final = 100
"""A stream of which fewer packets were expected in the span says nothing (2 s of speech)."""
LONGEST_CALL: Final = timedelta(hours=6)
"""How long before a span calls are looked for that ended in it."""
LEAST_TALK_S: Final = 5
"""Shorter calls say nothing of their audio [s]."""
LEAST_NUMBERS: Final = 3
"""What fewer numbers are called through is a telephone."""
USER_CHOICES: Final = (404, 480, 484, 486, 487, 600, 603, 604)
"""Final statuses that a user's own doing gives: the network did its part (the idea of NER, ITU-T E.425)."""
WEEKS: Final = 8
WEEK: Final = timedelta(weeks=1)


class Heard(NamedTuple):
    """Streams to or from a site in a span, each counted once, by what was heard of it within the span."""

    site: str
    direction: str
    """`to` or `from` the site: of a call there is one stream each way."""
    rated: int
    """Streams with a MOS."""
    poor: int
    """Of those, with a mean MOS under 3.6."""
    mos: float | None
    """Mean of the streams' MOS."""
    expected: int
    """Packets."""
    lost: int
    """Packets; one stream's gain by duplicates takes no other's loss away."""
    intervals: int
    """Intervals with a jitter."""
    jitter_ms: float | None
    """Mean interarrival jitter over these [ms]."""
    since: datetime | None = None
    """End of the oldest stream that was counted, where the newest so many were; else all of the span were."""


class PairHeard(NamedTuple):
    """Streams from one site to another in a span."""

    from_site: str
    to_site: str
    rated: int
    poor: int
    mos: float | None
    expected: int
    lost: int
    since: datetime | None = None
    """As in `Heard`."""


class HeardNow(NamedTuple):
    """Streams of a span by site and by pair of sites."""

    sites: tuple[Heard, ...]
    pairs: tuple[PairHeard, ...]


class Ended(NamedTuple):
    """Calls of a site that ended in a span."""

    site: str
    attempts: int
    """Calls from the site."""
    failed: int
    """Of those, failed by the network: not for a wrong number, a busy or an absent user."""
    with_media: int
    """Answered calls from or to the site that were heard at all."""
    one_way: int
    """Of those, with all media from one host."""


class Gateway(NamedTuple):
    """What became of calls through a gateway, trunk or exchange: the newest call of each number that was called."""

    address: str
    """Where calls were sent."""
    numbers: int
    """Different numbers: who is called again and again counts once, for these calls tell nothing of the others."""
    failed: int
    """Of those, failed by the network, or without any sign of life."""
    since: datetime
    """When the oldest of these calls began."""


class Traffic(NamedTuple):
    """What a site did in a span, and in the same span of the weeks before."""

    site: str
    seen: int
    """Calls begun and streams heard."""
    before: tuple[int | None, ...]
    """Calls a week, from the last week back; None where nothing is known of that week."""


class DayCost(NamedTuple):
    """Cost of local days, each beside the same weekdays before."""

    days: tuple[date, ...]
    judgement: Judgement
    sites: tuple[str, ...]
    """Sites with any line in the past."""


def heard_now(lake: Lake, since: datetime, until: datetime) -> HeardNow:
    """Return the streams of a span, going on or over, from their intervals; where there are none, from `streams`."""
    check_span(since, until)
    with lake.reading() as connection:
        intervals = lake.query(connection, INTERVALS.name, since=since, until=until)
        found = _heard(connection, _by_intervals(intervals))
        if found.sites:
            return found
        streams = lake.query(connection, STREAMS.name, since=since - LONGEST_CALL, until=until)
        return _heard(connection, _by_streams(streams, since, until))


def heard_last(lake: Lake, since: datetime, until: datetime, most: int) -> HeardNow:
    """Return the newest rated streams that ended in a span, so many of each site and direction or pair.

    Those that have fewer are left out. Jitter is not told.
    """
    check_span(since, until)
    with lake.reading() as connection:
        streams = lake.query(connection, STREAMS.name, since=since - LONGEST_CALL, until=until)
        rows = connection.execute(
            f"""
            WITH rated AS MATERIALIZED (
                SELECT site, other_site, mos, expected, greatest(lost, 0) AS lost, epoch_us("end") AS over
                FROM ({streams}) WHERE expected >= {LEAST_PACKETS} AND mos IS NOT NULL
                    AND epoch_us("end") >= {micros(since)} AND epoch_us("end") < {micros(until)}
            ), ends AS (
                SELECT site AS place, 'from' AS direction, NULL AS other, mos, expected, lost, over FROM rated
                UNION ALL SELECT other_site, 'to', NULL, mos, expected, lost, over FROM rated
                UNION ALL SELECT site, 'pair', other_site, mos, expected, lost, over FROM rated WHERE site <> other_site
            ), newest AS (
                SELECT * FROM ends WHERE place IS NOT NULL
                QUALIFY row_number() OVER (PARTITION BY place, direction, other ORDER BY over DESC) <= {int(most)}
            )
            SELECT place, direction, other, count(*), count(*) FILTER (mos < {POOR_MOS}), avg(mos),
                sum(expected)::BIGINT, sum(lost)::BIGINT, min(over)
            FROM newest GROUP BY place, direction, other HAVING count(*) >= {int(most)} ORDER BY ALL
            """  # noqa: S608 - names of the schema and our own numbers
        ).fetchall()
    sites = tuple(Heard._make([row[0], row[1], *row[3:8], 0, None, begun(row[8])]) for row in rows if row[1] != "pair")
    pairs = tuple(PairHeard._make([row[0], row[2], *row[3:8], begun(row[8])]) for row in rows if row[1] == "pair")
    return HeardNow(sites, pairs)


def _by_intervals(intervals: str) -> str:
    return f"""
        SELECT site, other_site, sum(expected)::BIGINT AS expected, greatest(sum(lost), 0)::BIGINT AS lost,
            sum(mos * expected) FILTER (mos IS NOT NULL) / nullif(sum(expected) FILTER (mos IS NOT NULL), 0) AS mos,
            sum(jitter_ms) AS jitter_sum, count(jitter_ms) AS intervals
        FROM ({intervals}) GROUP BY stream_key, source, site, other_site HAVING sum(expected) >= {LEAST_PACKETS}
    """  # noqa: S608 - names of the schema


def _by_streams(streams: str, since: datetime, until: datetime) -> str:
    return f"""
        SELECT site, other_site, expected, greatest(lost, 0) AS lost, mos, jitter_ms AS jitter_sum,
            (jitter_ms IS NOT NULL)::INTEGER AS intervals
        FROM ({streams}) WHERE expected >= {LEAST_PACKETS}
            AND epoch_us("end") >= {micros(since)} AND epoch_us("end") < {micros(until)}
    """  # noqa: S608 - names of the schema


def _heard(connection: duckdb.DuckDBPyConnection, streams: str) -> HeardNow:
    quality = f"count(mos), count(*) FILTER (mos < {POOR_MOS}), avg(mos), sum(expected)::BIGINT, sum(lost)::BIGINT"
    rows = connection.execute(
        f"""
        WITH heard AS MATERIALIZED ({streams}), ends AS (
            SELECT site AS place, 'from' AS direction, * FROM heard WHERE site IS NOT NULL
            UNION ALL SELECT other_site, 'to', * FROM heard WHERE other_site IS NOT NULL
        )
        SELECT place, direction, NULL, {quality}, sum(intervals)::BIGINT, sum(jitter_sum) / nullif(sum(intervals), 0)
        FROM ends GROUP BY place, direction
        UNION ALL SELECT site, 'pair', other_site, {quality}, NULL, NULL
        FROM heard WHERE site <> other_site GROUP BY site, other_site ORDER BY ALL
        """  # noqa: S608 - names of the schema
    ).fetchall()
    sites = tuple(Heard(row[0], row[1], *row[3:]) for row in rows if row[1] != "pair")
    return HeardNow(sites, tuple(PairHeard(row[0], row[2], *row[3:8]) for row in rows if row[1] == "pair"))


def ended_calls(lake: Lake, since: datetime, until: datetime) -> tuple[Ended, ...]:
    """Return the calls that ended in a span, by site."""
    check_span(since, until)
    with lake.reading() as connection:
        calls = lake.query(connection, CALLS.name, since=since - LONGEST_CALL, until=until)
        streams = lake.query(connection, STREAMS.name, since=since - LONGEST_CALL, until=until)
        choices = ", ".join(map(str, USER_CHOICES))
        rows = connection.execute(
            f"""
            WITH ended AS MATERIALIZED (
                SELECT call_key, source, site, other_site, state, status,
                    answer IS NOT NULL AND seconds >= {LEAST_TALK_S} AS talked
                FROM ({calls})
                WHERE epoch_us("end") >= {micros(since)} AND epoch_us("end") < {micros(until)}
            ), media AS (
                SELECT call_key, source, count(DISTINCT regexp_replace(from_address, ':[0-9]+$', '')) AS hosts
                FROM ({streams}) WHERE call_key IS NOT NULL AND expected >= {LEAST_PACKETS}
                    AND call_key IN (SELECT call_key FROM ended WHERE talked) GROUP BY call_key, source
            ), sides AS (
                SELECT site AS place, call_key, source, true AS own, state, status, talked
                FROM ended WHERE site IS NOT NULL
                UNION ALL SELECT other_site, call_key, source, false, state, status, talked
                FROM ended WHERE other_site IS NOT NULL AND other_site IS DISTINCT FROM site
            )
            SELECT place, count(*) FILTER (own AND state <> 'in progress'),
                count(*) FILTER (own AND state = 'failed' AND coalesce(status, 0) NOT IN ({choices})),
                count(hosts) FILTER (talked), count(*) FILTER (talked AND hosts = 1)
            FROM sides LEFT JOIN media USING (call_key, source) GROUP BY place ORDER BY place
            """  # noqa: S608 - names of the schema and our own numbers
        ).fetchall()
    return tuple(Ended(*row) for row in rows)


def gateways_now(lake: Lake, since: datetime, until: datetime, longest: datetime, most: int) -> tuple[Gateway, ...]:
    """Return what became of calls to each address: those begun in a span, and where they are fewer the newest `most`.

    These are looked for from `longest` on. Telephones are left out: hardly more than one number leads to them. A call
    that is going on counts as soon as it is answered.
    """
    check_span(longest, until)
    choices = ", ".join(map(str, USER_CHOICES))
    with lake.reading() as connection:
        calls = lake.query(connection, CALLS.name, since=longest, until=until)
        rows = connection.execute(
            f"""
            WITH tried AS (
                SELECT to_address, epoch_us("start") AS begun, coalesce(called, call_key::VARCHAR) AS number,
                    (state = 'failed' AND coalesce(status, 0) NOT IN ({choices}))
                        OR (state = 'unanswered' AND coalesce(status, 408) = 408 AND pdd_ms IS NULL) AS failed
                FROM ({calls})
                WHERE to_address IS NOT NULL AND epoch_us("start") >= {micros(longest)}
                    AND (epoch_us(answer) < {micros(until)}
                        OR (epoch_us("end") < {micros(until)} AND state <> 'in progress'))
            ), newest AS (
                SELECT * FROM tried QUALIFY row_number() OVER (PARTITION BY to_address, number ORDER BY begun DESC) = 1
            ), counted AS (
                SELECT * FROM newest
                QUALIFY begun >= {micros(since)}
                    OR row_number() OVER (PARTITION BY to_address ORDER BY begun DESC) <= {int(most)}
            )
            SELECT to_address, count(*), count(*) FILTER (failed), min(begun)
            FROM counted GROUP BY to_address HAVING count(*) >= {LEAST_NUMBERS} ORDER BY to_address
            """  # noqa: S608 - names of the schema and our own numbers
        ).fetchall()
    return tuple(Gateway(row[0], row[1], row[2], begun(row[3])) for row in rows)


def traffic_now(lake: Lake, since: datetime, until: datetime, zone: str) -> tuple[Traffic, ...]:
    """Return what each site did in a span, beside the same span by the zone's clock in the weeks before."""
    check_span(since, until)
    spans = [(since, until)]
    for back in range(1, WEEKS + 1):
        spans.append((weeks_before(since, back, zone), weeks_before(until, back, zone)))
    counted: list[dict[str, int]] = []
    with lake.reading() as connection:
        for begin, end in spans:
            minutes = lake.query(connection, SITE_MINUTES.name, since=begin, until=end, only={"step": ["minute"]})
            rows = connection.execute(
                f"SELECT site, sum(calls)::BIGINT FROM ({minutes}) GROUP BY site"  # noqa: S608 - names of the schema
            ).fetchall()
            counted.append(dict(rows))
        intervals = lake.query(connection, INTERVALS.name, since=since, until=until)
        going = dict(
            connection.execute(
                f"""
                SELECT place, count(DISTINCT stream_key) FROM (
                    SELECT site AS place, stream_key FROM ({intervals})
                    UNION ALL SELECT other_site, stream_key FROM ({intervals})
                ) WHERE place IS NOT NULL GROUP BY place
                """  # noqa: S608 - names of the schema
            ).fetchall()
        )
    now, past = counted[0], counted[1:]
    sites = sorted({site for of_week in counted for site in of_week} | set(going))
    return tuple(
        Traffic(
            site,
            now.get(site, 0) + going.get(site, 0),
            tuple(of_week.get(site, 0) if of_week else None for of_week in past),
        )
        for site in sites
    )


def weeks_before(at: datetime, weeks: int, zone: str) -> datetime:
    local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - weeks * WEEK
    return local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def day_cost(lake: Lake, estate: Estate, days: Sequence[date], until: datetime | None = None) -> DayCost:
    """Return what the calls of local days cost, each day beside the same weekdays before.

    Of calls that begin after `until` nothing is known yet: a day that is not over is out of line as soon as its part is
    so beside whole days.
    """
    zone = ZoneInfo(estate.settings.timezone)
    last = max(days)
    end = datetime(last.year, last.month, last.day, tzinfo=zone).astimezone(UTC) + timedelta(days=1, hours=1)
    begin = end - timedelta(weeks=MOST_WEEKS, days=2 + (last - min(days)).days)
    end = end if until is None else min(end, until)
    with lake.reading() as connection:
        usage = f"({lake.query(connection, USAGE.name, since=begin, until=end)})"
        hours = site_queries.watched_hours(connection, usage)
        recorded = site_queries.recorded_days(connection, usage)
        first = {site: Past(of) for site, of in site_queries.first_days(connection, usage).items()}
    found = judge(hours, days, recorded, first, estate.settings.timezone, estate.holidays)
    known = not recorded.isdisjoint(days)
    return DayCost(tuple(days), found, tuple(sorted(site for site in first if site is not None)) if known else ())


def sources_of_sites(lake: Lake, since: datetime, until: datetime) -> dict[str, frozenset[str]]:
    """Return the sites that each source (agent, collector) measured in a span, where no other did."""
    check_span(since, until)
    with lake.reading() as connection:
        intervals = lake.query(connection, INTERVALS.name, since=since, until=until)
        rows = connection.execute(
            f"""
            SELECT place, min(source) FROM (
                SELECT site AS place, source FROM ({intervals})
                UNION ALL SELECT other_site, source FROM ({intervals})
            ) WHERE place IS NOT NULL GROUP BY place HAVING count(DISTINCT source) = 1
            """  # noqa: S608 - names of the schema
        ).fetchall()
    found: dict[str, set[str]] = {}
    for site, source in rows:
        found.setdefault(source, set()).add(site)
    return {source: frozenset(sites) for source, sites in found.items()}
