"""What is not there: months without records, days without any, files that a feed lost, and months that go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from analytics.cost.months import first_day, last_day, month_of, months_between, spoken
from collector.cdr.sequence import Gap

if TYPE_CHECKING:
    import duckdb

Fact = tuple[str, str]
MOST_SPANS = 4
"""Spans of days or gaps that are named: the rest is counted."""
SATURDAY, SUNDAY = 5, 6
_DAY = timedelta(days=1)


def recorded_local_days(
    connection: duckdb.DuckDBPyConnection, usage: str, months: Sequence[int], zone: str
) -> dict[int, set[date]]:
    """Return the local days with any line of each month that has some."""
    listed = ", ".join(str(int(month)) for month in months)
    rows = connection.execute(
        f"SELECT DISTINCT month, epoch(start)::BIGINT // 900 FROM {usage} WHERE month IN ({listed})"  # noqa: S608
    ).fetchall()
    local = ZoneInfo(zone)
    found: dict[int, set[date]] = {}
    for month, quarter in rows:
        found.setdefault(month, set()).add(datetime.fromtimestamp(quarter * 900, UTC).astimezone(local).date())
    return found


def month_facts(months: Sequence[int], days: Mapping[int, set[date]], today: date) -> list[Fact]:
    """Say which months hold nothing, and which is not over."""
    facts = []
    empty = [month for month in months if month not in days]
    if empty:
        spans = [(run[0], run[-1]) for run in _runs(empty)]
        told = [spoken(one) if one == last else f"{spoken(one)} to {spoken(last)}" for one, last in spans]
        facts.append(("Months without records", f"{_some(told)}: in no figure here"))
    if month_of(today) in months:
        facts.append(("Not over", f"{spoken(month_of(today))} goes on: its calls are those of a part of it"))
    return facts


def _runs(months: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for month in sorted(months):
        if runs and months_between(runs[-1][-1], month) == 1:
            runs[-1].append(month)
        else:
            runs.append([month])
    return runs


def day_facts(
    months: Sequence[int], days: Mapping[int, set[date]], holidays: Collection[date], today: date
) -> list[Fact]:
    """Say on which days of months with records there are none.

    Saturdays, Sundays and holidays are named only where others of these months have records: a place may be closed.
    """

    def kind(day: date) -> int:
        return SUNDAY if day in holidays else day.weekday()

    recorded = {day for of_month in days.values() for day in of_month}
    usual = {kind(day) for day in recorded} | set(range(SATURDAY))
    missing = []
    for month in sorted(set(months) & set(days)):
        day = first_day(month)
        while day <= last_day(month) and day < today:
            if day not in recorded and kind(day) in usual:
                missing.append(day)
            day += _DAY
    if not missing:
        return []
    count = f"{len(missing):,} days" if len(missing) != 1 else "1 day"
    return [("Days without records", f"{count}: {_some(_spans(missing))}")]


def _spans(days: Sequence[date]) -> list[str]:
    """Days that follow each other as one span."""
    spans = []
    for _, group in groupby(enumerate(days), lambda item: item[1].toordinal() - item[0]):
        run = [day for _, day in group]
        spans.append(f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}")
    return spans


def feed_facts(gaps: Sequence[Gap]) -> list[Fact]:
    """Say which numbered files of a feed are missing."""
    if not gaps:
        return []
    files = sum(gap.files for gap in gaps)
    told = [
        f"{gap.files:,} of {gap.node} ({gap.record}) between {gap.after:%Y-%m-%d %H:%M} and "
        f"{gap.before:%Y-%m-%d %H:%M} UTC"
        for gap in gaps
    ]
    count = f"{files:,} files did" if files != 1 else "1 file did"
    return [("Missing files", f"{count} not come: {_some(told)}")]


def _some(told: Sequence[str]) -> str:
    more = f"; and {len(told) - MOST_SPANS:,} more" if len(told) > MOST_SPANS else ""
    return "; ".join(told[:MOST_SPANS]) + more
