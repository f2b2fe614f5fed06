"""How many calls or streams of a search began when: what stands above their list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from analytics.questions.asking import POOR_MOS, check_span, micros
from analytics.questions.calls import Search, meeting

if TYPE_CHECKING:
    from analytics.store.lake import Lake


class Bucket(NamedTuple):
    """A part of the span."""

    start: datetime
    number: int
    poor: int
    """Of these, with a MOS under 3.6."""
    unrated: int
    """Of these, without a MOS."""


def counts_over_time(lake: Lake, table: str, search: Search, buckets: int = 60) -> tuple[Bucket, ...]:
    """Return the counts of a search over `calls` or `streams` in parts of the same length, those of 0 among them."""
    check_span(search.since, search.until)
    width = max(1, -(-(micros(search.until) - micros(search.since)) // buckets))
    begin = micros(search.since)
    with lake.reading() as connection:
        rows = lake.query(connection, table, since=search.since, until=search.until)
        wanted, parameters = meeting(lake, connection, table, search, search.since, search.until)
        found = connection.execute(
            f'SELECT (epoch_us("start") - {begin}) // {width}, count(*), count(*) FILTER (mos < {POOR_MOS}), '  # noqa: S608
            f"count(*) FILTER (mos IS NULL) FROM ({rows}) WHERE {wanted} GROUP BY 1",
            parameters,
        ).fetchall()
    known = {int(number): counts for number, *counts in found}
    made = []
    for number in range(buckets):
        start = search.since + timedelta(microseconds=number * width)
        if start >= search.until:
            break
        made.append(Bucket(start, *known.get(number, (0, 0, 0))))
    return tuple(made)
