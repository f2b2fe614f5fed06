"""What reports of sites and of public access ask of the lake: counts, times and spans of calls, typed, no person.

Views are made by the caller (`Lake.view`): queries read `usage` or `calls` under any name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.cost.months import first_day, last_day
from analytics.cost.outliers import CLASSES, HourSum
from analytics.store.files import literal

if TYPE_CHECKING:
    import duckdb

CDR = "CDR"
PACKETS = "packets"


def local_span(months: Sequence[int], zone: str) -> tuple[datetime, datetime]:
    """Return the begin of the first of some months (yyyymm) and the end of the last, by the zone's clock, in UTC."""
    local = ZoneInfo(zone)
    begin = datetime.combine(first_day(min(months)), time(), local)
    end = datetime.combine(last_day(max(months)) + timedelta(days=1), time(), local)
    return begin.astimezone(UTC), end.astimezone(UTC)


def _months(months: Sequence[int]) -> str:
    return ", ".join(str(int(month)) for month in months) or "0"


class OutsideCalls(NamedTuple):
    """Calls from and to the public network: when each held a channel."""

    places: tuple[tuple[str | None, str | None], ...]
    """Site and trunk of each group of calls; None where not known."""
    place: NDArray[np.int32]
    """Index into `places`, ascending."""
    begins: NDArray[np.int64]
    """Begin of the attempt [s since the epoch]: setting up holds a channel too."""
    ends: NDArray[np.int64]
    """End of the talk; of a call that was not answered, its begin: records of usage hold no end of an attempt."""

    def of(self, wanted: Callable[[str | None, str | None], bool]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return begins and ends of the calls of some places."""
        codes = [code for code, (site, trunk) in enumerate(self.places) if wanted(site, trunk)]
        chosen = np.isin(self.place, np.array(codes, np.int32))
        return self.begins[chosen], self.ends[chosen]


def outside_calls(connection: duckdb.DuckDBPyConnection, view: str, month: int) -> OutsideCalls:
    """Return the calls of a month that went over the public network."""
    wanted = f"month = {int(month)} AND excluded IS NULL AND kind IN ('outbound', 'inbound')"
    places = connection.execute(
        f"SELECT DISTINCT site, trunk FROM {view} WHERE {wanted} ORDER BY ALL NULLS FIRST"  # noqa: S608
    ).fetchall()
    connection.execute("CREATE OR REPLACE TEMP TABLE places (place INTEGER, site VARCHAR, trunk VARCHAR)")
    for number, (site, trunk) in enumerate(places):
        connection.execute("INSERT INTO places VALUES (?, ?, ?)", [number, site, trunk])
    found = connection.execute(
        f"""
        SELECT p.place, epoch(u.origination)::BIGINT AS begins, epoch(u.start)::BIGINT + u.seconds AS ends
        FROM {view} u JOIN places p ON u.site IS NOT DISTINCT FROM p.site AND u.trunk IS NOT DISTINCT FROM p.trunk
        WHERE {wanted} ORDER BY p.place
        """  # noqa: S608
    ).fetchnumpy()
    return OutsideCalls(
        tuple((site, trunk) for site, trunk in places),
        np.asarray(found["place"], np.int32),
        np.asarray(found["begins"], np.int64),
        np.asarray(found["ends"], np.int64),
    )


class QualitySum(NamedTuple):
    """Calls of a site by their quality, and the calls that only repeated a bad one."""

    site: str | None
    lines: int
    known: int
    """Of those, with known quality."""
    poor: int
    dropped: int
    redials: int
    """Calls that repeat a poor or dropped one within 60 s."""
    redial_seconds: int
    redial_atoms: int
    """Exact price today of the redials that have one."""
    redials_unrated: int


def quality_sums(connection: duckdb.DuckDBPyConnection, view: str, months: Sequence[int]) -> list[QualitySum]:
    """Return the quality of the calls of some months, by site."""
    rows = connection.execute(
        f"""
        SELECT site, count(*), count(poor), count(*) FILTER (poor), count(*) FILTER (dropped), count(redial_of),
            coalesce(sum(seconds) FILTER (redial_of IS NOT NULL), 0),
            coalesce(sum(ip_cost) FILTER (redial_of IS NOT NULL), 0),
            count(*) FILTER (redial_of IS NOT NULL AND ip_cost IS NULL AND kind <> 'inbound' AND seconds > 0)
        FROM {view} WHERE month IN ({_months(months)}) AND excluded IS NULL GROUP BY site ORDER BY site
        """  # noqa: S608
    ).fetchall()
    return [QualitySum(*row) for row in rows]


def watched_hours(connection: duckdb.DuckDBPyConnection, view: str) -> list[HourSum]:
    """Return all calls of the classes that are watched, by site, class and UTC hour."""
    classes = ", ".join(sorted(literal(name) for names in CLASSES.values() for name in names))
    rows = connection.execute(
        f"""
        SELECT site, number_class, epoch(start)::BIGINT // 3600 AS hour, count(*), sum(seconds),
            coalesce(sum(ip_cost), 0)
        FROM {view} WHERE number_class IN ({classes}) AND excluded IS NULL GROUP BY 1, 2, 3 ORDER BY ALL
        """  # noqa: S608
    ).fetchall()
    return [
        HourSum(site, number_class, datetime.fromtimestamp(hour * 3600, UTC), lines, seconds, int(atoms))
        for site, number_class, hour, lines, seconds, atoms in rows
    ]


def recorded_days(connection: duckdb.DuckDBPyConnection, view: str) -> set[date]:
    """Return the UTC days that hold any line."""
    return {row[0] for row in connection.execute(f"SELECT DISTINCT day FROM {view}").fetchall()}  # noqa: S608


def first_days(connection: duckdb.DuckDBPyConnection, view: str) -> dict[str | None, date]:
    """Return the first UTC day with a line of each site."""
    return dict(connection.execute(f"SELECT site, min(day) FROM {view} GROUP BY site").fetchall())  # noqa: S608


class AccessSum(NamedTuple):
    """Calls of the public, and how long they waited."""

    name: str | None
    """Public number, hunt pilot or queue; site; or hour of the day."""
    known_from: str
    """`CDR` or `packets`."""
    offered: int
    answered: int
    timed: int
    """Of those, with a known time to answer."""
    transferred: int | None
    """Of those, redirected before a person answered; None: packets do not say."""
    median: int | None
    """Nearest rank [s]; a whole second is what records hold, packets are cut down to it."""
    p90: int | None
    p95: int | None
    within: tuple[int, ...]
    """Answered within each of the bounds asked for."""


_MEASURES = """
    count(*), count(*) FILTER (answered), count(waited), {transferred},
    quantile_disc(waited, 0.5), quantile_disc(waited, 0.9), quantile_disc(waited, 0.95)
"""


def _access(
    connection: duckdb.DuckDBPyConnection, calls: str, by: str, bounds: Sequence[int], known_from: str
) -> list[AccessSum]:
    """Sum calls (name, answered, waited, transfers) by a column."""
    transferred = "count(*) FILTER (answered AND transfers > 0)" if known_from == CDR else "NULL"
    measures = _MEASURES.format(transferred=transferred)
    counts = "".join(f", count(*) FILTER (waited <= {int(bound)})" for bound in bounds)
    rows = connection.execute(
        f"SELECT {by}, {measures}{counts} FROM ({calls}) GROUP BY 1 ORDER BY 1 NULLS LAST"  # noqa: S608
    ).fetchall()
    return [AccessSum._make([row[0], known_from, *row[1:8], tuple(row[8:])]) for row in rows]


def _public_calls(view: str, months: Sequence[int]) -> str:
    """Calls of the public as SQL: a call counts once, however many lines its number has."""
    return f"""
        SELECT public_number, call_key, bool_or(answered) AS answered,
            min(seconds_to_answer) FILTER (answered) AS waited, max(transfers_before_answer) AS transfers,
            coalesce(min(answered_by), min(site)) AS site, min(epoch(origination)::BIGINT) // 3600 AS hour
        FROM {view}
        WHERE month IN ({_months(months)}) AND excluded IS NULL AND kind = 'inbound' AND public_number IS NOT NULL
        GROUP BY public_number, call_key
    """  # noqa: S608


def access_by_number(
    connection: duckdb.DuckDBPyConnection, view: str, months: Sequence[int], bounds: Sequence[int]
) -> list[AccessSum]:
    """Return the calls to each public number, hunt pilot or queue, from records."""
    return _access(connection, _public_calls(view, months), "public_number", bounds, CDR)


def access_by_site(
    connection: duckdb.DuckDBPyConnection, view: str, months: Sequence[int], bounds: Sequence[int]
) -> list[AccessSum]:
    """Return the calls of the public by the site that answered, else that should have."""
    return _access(connection, _public_calls(view, months), "site", bounds, CDR)


def offered_by_hour(
    connection: duckdb.DuckDBPyConnection, view: str, months: Sequence[int], zone: str
) -> dict[int, tuple[int, int]]:
    """Return calls of the public and how many were answered, by hour of the local day in which they began."""
    rows = connection.execute(
        f"SELECT hour, count(*), count(*) FILTER (answered) FROM ({_public_calls(view, months)}) GROUP BY 1"  # noqa: S608
    ).fetchall()
    local = ZoneInfo(zone)
    hours: dict[int, tuple[int, int]] = {}
    for hour, offered, answered in rows:
        clock = datetime.fromtimestamp(hour * 3600, local).hour
        before = hours.get(clock, (0, 0))
        hours[clock] = (before[0] + offered, before[1] + answered)
    return hours


def packets_by_number(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    name_of: Callable[[str, date], str | None],
    without: Collection[str],
    bounds: Sequence[int],
) -> list[AccessSum]:
    """Return the calls to public numbers as packets show them, but to those in `without`; `view` is of `calls`.

    `name_of` says which public number a signalled number is on a day.
    """
    rows = connection.execute(
        f"SELECT DISTINCT called, day FROM {view} WHERE called IS NOT NULL"  # noqa: S608
    ).fetchall()
    named: list[tuple[str, date, str]] = []
    for called, day in rows:
        name = name_of(called, day)
        if name is not None and name not in without:
            named.append((called, day, name))
    connection.execute("CREATE OR REPLACE TEMP TABLE named (called VARCHAR, day DATE, number VARCHAR)")
    if named:
        connection.executemany("INSERT INTO named VALUES (?, ?, ?)", [list(row) for row in named])
    calls = f"""
        SELECT n.number, c.answer IS NOT NULL AS answered, floor(epoch(c.answer - c.start))::INTEGER AS waited
        FROM {view} c JOIN named n ON c.called = n.called AND c.day = n.day
    """  # noqa: S608
    return _access(connection, calls, "number", bounds, PACKETS)


def any_rows(connection: duckdb.DuckDBPyConnection, view: str, months: Sequence[int]) -> bool:
    """Whether a view of `usage` holds a line of some months."""
    row: tuple[Any, ...] | None = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM {view} WHERE month IN ({_months(months)}) LIMIT 1)"  # noqa: S608
    ).fetchone()
    return bool(row and row[0])
