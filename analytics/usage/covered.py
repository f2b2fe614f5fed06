"""What inclusive minutes take off the usage lines of whole months: sums by month, site and class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
from numpy.typing import NDArray

from analytics.cost.inclusive import Lines, inclusive_in, use_up
from analytics.cost.rating import Rater
from analytics.cost.tariff import RateRow
from analytics.store.cost_queries import CoveredSum

_FAR = """
CREATE OR REPLACE TEMP TABLE inclusive_far AS
SELECT (row_number() OVER ())::INTEGER - 1 AS far, * FROM (
    SELECT DISTINCT site, number_class, destination, {tariff}_tariff AS tariff, {tariff}_row AS price
    FROM {view} WHERE {concerned} ORDER BY ALL)
"""
_LINES = """
SELECT u.month, f.far, epoch(u.start)::BIGINT AS start, u.line_key, u.seconds, u.{tariff}_seconds AS rated
FROM (SELECT * FROM {view} WHERE {concerned}) u JOIN inclusive_far f ON u.site IS NOT DISTINCT FROM f.site
    AND u.number_class = f.number_class AND u.destination IS NOT DISTINCT FROM f.destination
    AND u.{tariff}_tariff = f.tariff AND u.{tariff}_row = f.price
"""
Whole = NDArray[np.int64]


def covered_sums(
    connection: duckdb.DuckDBPyConnection, view: str, months: Sequence[int], raters: Mapping[str, Rater | None]
) -> tuple[CoveredSum, ...]:
    """Sum what inclusive minutes cover in some months; `raters` by tariff: `ip` and `legacy`.

    Months are whole: minutes are used up by all of a month's calls. A line is priced again by what it keeps of the
    number that was called and by the row that priced it.
    """
    found: list[CoveredSum] = []
    for tariff, rater in raters.items():
        if rater is None:
            continue
        for month in months:
            classes = sorted({name for one in inclusive_in(rater, month) for name in one.classes})
            if classes:
                found += _of_month(connection, view, tariff, rater, month, classes)
    return tuple(found)


def _of_month(
    connection: duckdb.DuckDBPyConnection, view: str, tariff: str, rater: Rater, month: int, classes: Sequence[str]
) -> list[CoveredSum]:
    names = ", ".join(f"'{name}'" for name in classes)
    concerned = f"month = {int(month)} AND excluded IS NULL AND {tariff}_row IS NOT NULL AND number_class IN ({names})"
    words = {"tariff": tariff, "view": view, "concerned": concerned}
    connection.execute(_FAR.format(**words))
    far = connection.execute("SELECT site, number_class, destination, tariff, price FROM inclusive_far ORDER BY far")
    kinds = far.fetchall()
    connection.execute(_LINES.format(**words))
    held = connection.fetchnumpy()
    if not kinds:
        return []
    groups = _groups(rater, [row[1:] for row in kinds])
    sites = sorted({row[0] for row in kinds if row[0] is not None})
    index = held["far"].astype(np.int64)
    of_site = np.array([-1 if row[0] is None else sites.index(row[0]) for row in kinds], np.int32)
    of_class = np.array([classes.index(row[1]) for row in kinds], np.int32)
    lines = Lines(
        held["month"].astype(np.int32),
        of_site[index],
        of_class[index],
        held["start"].astype(np.int64),
        held["line_key"].astype(np.int64),
        held["seconds"].astype(np.int32),
        groups[index],
        held["rated"].astype(np.int32),
    )
    covered = use_up(rater, lines, classes)
    sums: dict[tuple[str | None, str], list[int]] = defaultdict(lambda: [0, 0])
    for column, amounts in enumerate((covered.seconds, covered.credit)):
        for (site, number_class, *_), amount in zip(kinds, _by_kind(index, amounts, len(kinds)), strict=True):
            sums[site, number_class][column] += amount
    ordered = sorted(sums.items(), key=lambda item: (item[0][0] or "", item[0][1]))
    return [
        CoveredSum(month, site, tariff, number_class, seconds, atoms)
        for (site, number_class), (seconds, atoms) in ordered
        if seconds
    ]


def _by_kind(index: Whole, amounts: Whole, count: int) -> list[int]:
    """Exact sums of amounts by kind: in whole numbers, as floats would lose atoms."""
    sums = np.zeros(count, np.int64)
    np.add.at(sums, index, amounts)
    return [int(one) for one in sums]


def _groups(rater: Rater, kinds: Sequence[tuple[str, str | None, str, int]]) -> NDArray[np.int32]:
    """Groups of what lines keep of their numbers; the digits of the row that priced them where it looked at more."""
    rows: dict[tuple[str, int], RateRow] = {
        (version.label, row.origin.line): row for version in rater.tariff for row in version.rows
    }
    numbers = []
    for number_class, destination, tariff, price in kinds:
        kept = destination or ""
        row = rows.get((tariff, price))
        looked_at = f"{'+' if kept.startswith('+') else ''}{row.prefix}" if row is not None and row.prefix else ""
        numbers.append((number_class, looked_at if looked_at.startswith(kept) else kept))
    groups = rater.groups(numbers)
    # A rater learns of new groups when it rates: here it only prices again.
    rater.rate(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
    return groups
