"""What the API and the dashboards ask about sites over time, whatever store answers.

Answers are Arrow tables with the columns of `SERIES`, ordered by `start` and `site`. Both stores give the same answers
to the same facts; sums of floats may differ in their last digit, for their order is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from analytics.store.arrow_rows import arrow_schema
from analytics.store.schema import SITE_MINUTES
from analytics.store.site_minutes import GREATEST, LEAST, SUMS, merged, site_series

if TYPE_CHECKING:
    from analytics.store.lake import Lake

SERIES: pa.Schema = pa.schema([arrow_schema(SITE_MINUTES).field(name) for name in ("site", "start", *SUMS)])
"""Columns of `series` and `latest`: `start` is the begin of the step; the others add up as in `site_minutes`."""
TOTALS: pa.Schema = pa.schema([field for field in SERIES if field.name != "start"])
"""Columns of `totals`."""


class SiteSeries(Protocol):
    """The questions. `sites` None means all; a span is since <= start of the minute < until. StoreError on failure."""

    def series(
        self, sites: Sequence[str] | None, since: datetime, until: datetime, step: str, *, zone: str = "UTC"
    ) -> pa.Table:
        """Return one row a site and step (minute, hour, day, month) that holds any minute.

        Days and months are those of `zone`, minutes and hours those of UTC.
        """
        ...

    def totals(self, sites: Sequence[str] | None, since: datetime, until: datetime) -> pa.Table:
        """Return one row a site: the sums of its minutes in a span."""
        ...

    def latest(self, sites: Sequence[str] | None, since: datetime, until: datetime) -> pa.Table:
        """Return one row a site: its newest minute in a span."""
        ...


class LakeSeries:
    """The lake's answers."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def series(
        self, sites: Sequence[str] | None, since: datetime, until: datetime, step: str, *, zone: str = "UTC"
    ) -> pa.Table:
        """See `SiteSeries`."""
        with self.lake.reading() as connection:
            return site_series(self.lake, connection, sites, since, until, step, zone=zone).cast(SERIES)

    def totals(self, sites: Sequence[str] | None, since: datetime, until: datetime) -> pa.Table:
        """See `SiteSeries`."""
        return summed(self.series(sites, since, until, "hour"), ["site"]).cast(TOTALS)

    def latest(self, sites: Sequence[str] | None, since: datetime, until: datetime) -> pa.Table:
        """See `SiteSeries`."""
        only: dict[str, Sequence[str]] = {"step": ["minute"]} | ({} if sites is None else {"site": sites})
        with self.lake.reading() as connection:
            minutes = self.lake.query(
                connection, SITE_MINUTES.name, since=since.astimezone(UTC), until=until.astimezone(UTC), only=only
            )
            newest = f"SELECT * FROM ({minutes}) QUALIFY start = max(start) OVER (PARTITION BY site)"  # noqa: S608
            columns = ", ".join(SERIES.names)
            found = connection.sql(f"SELECT {columns} FROM ({merged(newest)}) ORDER BY start, site")  # noqa: S608
            return found.to_arrow_table().cast(SERIES)


def summed(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return one row for each value of some columns, in their order reversed: the others summed, least or greatest."""
    aggregated = [(name, "min" if name in LEAST else "max" if name in GREATEST else "sum") for name in SUMS]
    grouped = rows.group_by(list(keys), use_threads=False).aggregate(aggregated)
    columns = {key: grouped.column(key) for key in keys}
    columns |= {name: grouped.column(f"{name}_{how}") for name, how in aggregated}
    return pa.table(columns).sort_by([(key, "ascending") for key in reversed(keys)])
