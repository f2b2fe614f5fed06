"""Calls and their price by site and UTC day, from `usage`, for plots of InfluxDB."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from analytics.cost.money import ATOMS_PER_UNIT
from analytics.store.influx_points import CostDay
from analytics.store.schema import USAGE

if TYPE_CHECKING:
    from analytics.store.lake import Lake


def cost_days(lake: Lake, first: date, last: date) -> Sequence[CostDay]:
    """Return the calls of some UTC days, both included, by day, site and kind.

    Excluded lines are no usage; an inbound or unanswered call without a price is not unrated, for it costs nothing.
    Money is a float here: for plots. What is charged is read from the lake.
    """
    since = datetime.combine(first, time(), UTC)
    until = datetime.combine(last + timedelta(days=1), time(), UTC)
    unrated = "kind <> 'inbound' AND seconds > 0"
    with closing(lake.connect()) as connection:
        view = lake.view(connection, USAGE.name, since=since, until=until)
        rows = connection.execute(
            f"""
            SELECT day, site, kind, count(*), sum(seconds)::BIGINT,
                coalesce(sum(ip_cost), 0)::BIGINT, count(*) FILTER (ip_cost IS NULL AND {unrated}),
                coalesce(sum(legacy_cost), 0)::BIGINT, count(*) FILTER (legacy_cost IS NULL AND {unrated})
            FROM {view} WHERE excluded IS NULL GROUP BY ALL ORDER BY ALL
            """  # noqa: S608
        ).fetchall()
    return [
        CostDay(day, site, kind, lines, seconds, ip / ATOMS_PER_UNIT, ip_not, legacy / ATOMS_PER_UNIT, legacy_not)
        for day, site, kind, lines, seconds, ip, ip_not, legacy, legacy_not in rows
    ]
