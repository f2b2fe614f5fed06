"""Sums of usage lines are those of the lines, for any partition of them, and each line is in one sum."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.store.cost_queries import Usage, usage_sums, utc_span
from analytics.store.schema import USAGE

MONTHS = (202509, 202510)
NAMES = (
    *("month", "site", "kind", "number_class", "excluded", "answered", "seconds"),
    *("ip_cost", "ip_seconds", "ip_why", "legacy_cost", "legacy_seconds", "legacy_why"),
)

atoms = st.none() | st.integers(0, 2**53)
lines = st.fixed_dictionaries(
    {
        "month": st.sampled_from((*MONTHS, 202511)),
        "site": st.sampled_from(("A", "B", None)),
        "kind": st.sampled_from(("outbound", "inbound", "on_net")),
        "number_class": st.sampled_from(("geographic", "intersite", None)),
        "excluded": st.sampled_from((None, None, None, "recording")),
        "answered": st.booleans(),
        "seconds": st.integers(0, 10_000),
        "ip_cost": atoms,
        "ip_seconds": st.none() | st.integers(0, 10_000),
        "ip_why": st.sampled_from((None, "no_row")),
        "legacy_cost": atoms,
        "legacy_seconds": st.none() | st.integers(0, 10_000),
        "legacy_why": st.sampled_from((None, "no_row")),
    }
)
Line = dict[str, object]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def summed(connection: duckdb.DuckDBPyConnection, rows: list[Line]) -> Usage:
    columns = ", ".join(f'"{name}" {USAGE.column(name).kind}' for name in NAMES)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE lines ({columns})")
    if rows:
        marks = ", ".join("?" * len(NAMES))
        connection.executemany(f"INSERT INTO lines VALUES ({marks})", [[row[name] for name in NAMES] for row in rows])
    return usage_sums(connection, "lines", MONTHS)


def whole(rows: list[Line], name: str) -> int:
    return sum(value for row in rows if isinstance(value := row[name], int))


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(lines, max_size=30))
def test_sums_are_those_of_the_lines(connection: duckdb.DuckDBPyConnection, rows: list[Line]) -> None:
    usage = summed(connection, rows)
    held = [row for row in rows if row["month"] in MONTHS]
    kept = [row for row in held if row["excluded"] is None]
    assert sum(one.lines for one in usage.sums) == len(kept)
    assert sum(one.lines for one in usage.excluded) == len(held) - len(kept)
    assert sum(one.seconds for one in usage.sums) == whole(kept, "seconds")
    assert sum(one.ip_atoms for one in usage.sums) == whole(kept, "ip_cost")
    assert sum(one.legacy_atoms for one in usage.sums) == whole(kept, "legacy_cost")
    priced = [row for row in kept if isinstance(row["legacy_cost"], int) and row["legacy_cost"] > 0]
    assert sum(one.legacy_chargeable_seconds for one in usage.sums) == whole(priced, "seconds")
    for tariff in ("ip", "legacy"):
        bare = [
            row for row in kept if row[f"{tariff}_cost"] is None and row["kind"] != "inbound" and row["seconds"] != 0
        ]
        assert sum(one.lines for one in usage.unrated if one.tariff == tariff) == len(bare)
        assert sum(getattr(one, f"{tariff}_unrated_lines") for one in usage.sums) == len(bare)
        assert sum(getattr(one, f"{tariff}_unrated_seconds") for one in usage.sums) == whole(bare, "seconds")
    groups = [(one.month, one.site, one.kind, one.number_class) for one in usage.sums]
    assert len(groups) == len(set(groups))


def test_no_lines_and_no_months_are_no_sums(connection: duckdb.DuckDBPyConnection) -> None:
    assert summed(connection, []) == Usage()
    assert usage_sums(connection, "lines", []) == Usage()


def test_the_span_of_a_month_is_in_utc_with_a_day_to_spare_before() -> None:
    # 1 October 2025 begins at 23:00 UTC of the day before; 1 November at midnight UTC.
    assert utc_span([202510], "Europe/London") == (
        datetime(2025, 9, 29, 23, tzinfo=UTC),
        datetime(2025, 11, 1, tzinfo=UTC),
    )
    assert utc_span([202512, 202501], "UTC") == (datetime(2024, 12, 31, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
