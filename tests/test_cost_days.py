"""Days of cost for plots are the sums of usage lines."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from usage_rows import inbound, line, usage_table

from analytics.cost.money import ATOMS_PER_UNIT
from analytics.store.cost_days import cost_days
from analytics.store.influx_points import CostDay
from analytics.store.lake import Lake

TEN = datetime(2025, 10, 1, 10, tzinfo=UTC)


def test_lines_are_summed_by_day_site_and_kind(tmp_path: Path) -> None:
    pound = ATOMS_PER_UNIT
    rows = [
        line(TEN, 60, ip_cost=pound, legacy_cost=2 * pound),
        line(TEN, 30, ip_cost=None, legacy_cost=pound // 2),
        line(TEN, answered=False, ip_cost=None, legacy_cost=None),
        line(TEN, 60, excluded="recording", ip_cost=pound),
        line(TEN, 60, site=None, ip_cost=0, legacy_cost=0),
        inbound(TEN, 5, legacy_cost=None),
        line(TEN + timedelta(days=1), 7, ip_cost=pound, legacy_cost=pound),
        line(TEN + timedelta(days=2), 7),
    ]
    with closing(Lake.open(tmp_path / "store", create=True)) as lake:
        assert cost_days(lake, TEN.date(), TEN.date()) == []
        lake.append("usage", usage_table(rows), batch="rows")
        found = cost_days(lake, date(2025, 10, 1), date(2025, 10, 2))
    assert sorted(found, key=repr) == sorted(
        [
            CostDay(date(2025, 10, 1), "A", "inbound", 1, 60, 0.0, 0, 0.0, 0),
            CostDay(date(2025, 10, 1), "A", "outbound", 3, 90, 1.0, 1, 2.5, 0),
            CostDay(date(2025, 10, 1), None, "outbound", 1, 60, 0.0, 0, 0.0, 0),
            CostDay(date(2025, 10, 2), "A", "outbound", 1, 7, 1.0, 0, 1.0, 0),
        ],
        key=repr,
    )
