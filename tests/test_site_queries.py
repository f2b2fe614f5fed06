"""What reports ask of the lake, against plain counting of the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_rows import arrow_schema
from usage_rows import OCTOBER, inbound, line, usage_table

from analytics.cost.outliers import HourSum
from analytics.store.lake import Lake
from analytics.store.schema import CALLS
from analytics.store.site_queries import (
    AccessSum,
    QualitySum,
    access_by_number,
    access_by_site,
    any_rows,
    first_days,
    local_span,
    offered_by_hour,
    outside_calls,
    packets_by_number,
    quality_sums,
    recorded_days,
    watched_hours,
)
from api.wording import nearest_rank

TEN = datetime(2025, 10, 1, 10, tzinfo=UTC)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def usage_view(connection: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]) -> str:
    connection.register("made", usage_table(rows))
    return "made"


def test_a_call_holds_its_channel_from_the_attempt_to_the_end_of_the_talk(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = [
        line(TEN, 60, waited=9, trunk="GW"),
        line(TEN, trunk="GW", answered=False),
        line(TEN, 60, site=None, kind="inbound"),
        line(TEN, 60, kind="on_net", number_class="intersite"),
        line(TEN, 60, excluded="recording"),
        line(TEN + timedelta(days=31), 60),
    ]
    calls = outside_calls(connection, usage_view(connection, rows), OCTOBER)
    begin = int(TEN.timestamp())
    assert calls.places == ((None, None), ("A", "GW"))
    begins, ends = calls.of(lambda site, trunk: (site, trunk) == ("A", "GW"))
    assert sorted(zip(begins.tolist(), ends.tolist(), strict=True)) == [(begin, begin), (begin, begin + 69)]
    begins, ends = calls.of(lambda site, _: site is None)
    assert (begins.tolist(), ends.tolist()) == ([begin], [begin + 63])


def test_a_repeat_of_a_bad_call_is_counted_with_its_minutes_and_cost(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [
        line(TEN, 10, poor=True, line_key=7),
        line(TEN + timedelta(seconds=40), 90, redial_of=7, ip_cost=120, poor=False),
        line(TEN + timedelta(seconds=50), 30, redial_of=7, ip_cost=None),
        line(TEN, 10, dropped=True, site="B"),
        line(TEN, 10, redial_of=7, excluded="consultation"),
    ]
    found = quality_sums(connection, usage_view(connection, rows), [OCTOBER])
    assert found == [QualitySum("A", 3, 2, 1, 0, 2, 120, 120, 1), QualitySum("B", 1, 0, 0, 1, 0, 0, 0, 0)]


def test_watched_calls_are_summed_by_the_hour_in_which_they_were_answered(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    late = TEN + timedelta(minutes=59, seconds=58)
    rows = [
        line(late, 60, number_class="international", ip_cost=5),
        line(TEN + timedelta(hours=1), 30, number_class="international", ip_cost=None),
        line(TEN, 60, number_class="geographic", ip_cost=5),
    ]
    view = usage_view(connection, rows)
    assert watched_hours(connection, view) == [HourSum("A", "international", TEN + timedelta(hours=1), 2, 90, 5)]
    assert recorded_days(connection, view) == {date(2025, 10, 1)}
    assert first_days(connection, view) == {"A": date(2025, 10, 1)}
    assert any_rows(connection, view, [OCTOBER])
    assert not any_rows(connection, view, [202511])


WAITS = st.lists(st.one_of(st.none(), st.integers(0, 130)), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(waits=WAITS)
def test_access_agrees_with_plain_counting(waits: list[int | None]) -> None:
    bounds = (5, 10, 60)
    rows = [inbound(TEN + timedelta(minutes=number), waited) for number, waited in enumerate(waits)]
    with duckdb.connect() as connection:
        (found,) = access_by_number(connection, usage_view(connection, rows), [OCTOBER], bounds)
    known = [waited for waited in waits if waited is not None]
    ranks = [nearest_rank(known, percentile) for percentile in (50, 90, 95)]
    within = tuple(sum(waited <= bound for waited in known) for bound in bounds)
    assert found == AccessSum._make(["101", "CDR", len(waits), len(known), len(known), 0, *ranks, within])


def test_a_call_with_two_lines_of_a_number_is_one_call(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [
        inbound(TEN, None, call_key=5, site="A"),
        inbound(TEN, 12, call_key=5, site="B", transfers_before_answer=2),
        inbound(TEN, 4, number="Desk"),
        line(TEN, kind="inbound", number_class=None),
    ]
    view = usage_view(connection, rows)
    found = {row.name: row for row in access_by_number(connection, view, [OCTOBER], (10,))}
    assert found["101"] == AccessSum("101", "CDR", 1, 1, 1, 1, 12, 12, 12, (0,))
    assert found["Desk"] == AccessSum("Desk", "CDR", 1, 1, 1, 0, 4, 4, 4, (1,))
    assert [row.name for row in access_by_site(connection, view, [OCTOBER], (10,))] == ["A", "B"]


def test_hours_of_the_day_are_local_on_both_sides_of_a_change(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [inbound(TEN, 1), inbound(datetime(2025, 10, 30, 10, tzinfo=UTC), None)]
    found = offered_by_hour(connection, usage_view(connection, rows), [OCTOBER], "Europe/London")
    assert found == {11: (1, 1), 10: (1, 0)}


def test_packets_tell_of_numbers_without_records(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    def call(called: str | None, waited: float | None) -> dict[str, Any]:
        row: dict[str, Any] = {column.name: None for column in CALLS.columns}
        answer = None if waited is None else TEN + timedelta(seconds=waited)
        return row | {
            "day": TEN.date(), "call_key": 1, "source": "tap", "call_id": "x", "start": TEN, "answer": answer,
            "state": "completed", "called": called, "legs": 1, "streams": 2,
        }  # fmt: skip

    calls = [
        call("+441134960123", 3.9),
        call("+441134960123", None),
        call("101", 2.0),
        call("5001", 1.0),
        call(None, 1.0),
    ]
    lake = Lake.open(tmp_path / "store", create=True)
    lake.append("calls", pa.Table.from_pylist(calls, schema=arrow_schema(CALLS)), batch="calls")
    public = {"+441134960123": "441134960123", "101": "101"}
    with lake.connect() as stored:
        view = lake.view(stored, "calls")
        found = packets_by_number(stored, view, lambda number, _: public.get(number), {"101"}, (3, 10))
    lake.close()
    assert found == [AccessSum("441134960123", "packets", 2, 1, 1, None, 3, 3, 3, (1, 1))]


def test_a_span_of_months_begins_and_ends_at_local_midnight() -> None:
    assert local_span([202510], "Europe/London") == (
        datetime(2025, 9, 30, 23, tzinfo=UTC),
        datetime(2025, 11, 1, tzinfo=UTC),
    )
