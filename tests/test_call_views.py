"""A call that several agents saw is one call with a view of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filled_rows import filled

from analytics.store.lake import Lake
from analytics.store.schema import CALLS
from analytics.usage.views import one_call_two_views

BEGIN = datetime(2025, 10, 1, 12, tzinfo=UTC)
Seen = tuple[str, str, float, float | None]
"""Source, Call-ID, start after BEGIN [s], MOS."""


def views(root: Path, seen: list[Seen], skews: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    lake = Lake.open(root / "store", create=True)
    made = [
        {
            "day": (BEGIN + timedelta(seconds=at)).date(),
            "call_key": number,
            "source": source,
            "call_id": call_id,
            "start": BEGIN + timedelta(seconds=at),
            "state": "completed",
            "site": source,
            "mos": mos,
        }
        for number, (source, call_id, at, mos) in enumerate(seen)
    ]
    lake.append("calls", filled(CALLS, made), batch="a")
    connection = lake.connect()
    lake.view(connection, "calls")
    name = one_call_two_views(connection, "calls", skews=skews)
    found = connection.sql(f"SELECT * FROM {name} ORDER BY start, call_id").to_arrow_table()
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def keys(rows: list[dict[str, Any]]) -> list[list[int]]:
    return [[view["call_key"] for view in row["views"]] for row in rows]


def test_two_agents_that_saw_a_call_give_one_call(tmp_path: Path) -> None:
    (row,) = views(tmp_path, [("york", "a", 0.0, 4.2), ("leeds", "a", 0.04, 3.1)])
    assert (row["call_id"], row["sources"], row["start"]) == ("a", 2, BEGIN)
    assert row["spread_ms"] == 40
    assert row["mos"] == 3.1
    assert row["mos_spread"] == pytest.approx(1.1)
    assert [view["source"] for view in row["views"]] == ["york", "leeds"]
    assert [view["mos"] for view in row["views"]] == [4.2, 3.1]


def test_calls_of_other_ids_stay_apart(tmp_path: Path) -> None:
    assert keys(views(tmp_path, [("york", "a", 0, None), ("leeds", "b", 0, None)])) == [[0], [1]]


def test_a_call_id_that_comes_again_later_is_another_call(tmp_path: Path) -> None:
    seen: list[Seen] = [("york", "a", 0, None), ("leeds", "a", 61, None), ("york", "a", 61.5, None)]
    assert keys(views(tmp_path, seen)) == [[0], [1, 2]]
    seen = [("york", "a", 0, None), ("leeds", "a", 60, None)]
    assert keys(views(tmp_path / "b", seen)) == [[0, 1]]


def test_two_calls_of_one_agent_are_never_one(tmp_path: Path) -> None:
    # A Call-ID that was used twice in a minute, seen at two places.
    seen: list[Seen] = [("york", "a", 0, 4.0), ("leeds", "a", 1, 3.0), ("york", "a", 20, 4.0), ("leeds", "a", 21, 3.0)]
    assert keys(views(tmp_path, seen)) == [[0, 1], [2, 3]]


def test_clocks_are_corrected_first(tmp_path: Path) -> None:
    seen: list[Seen] = [("york", "a", 0, None), ("leeds", "a", 7_200.25, None)]
    assert keys(views(tmp_path, seen)) == [[0], [1]]
    (row,) = views(tmp_path / "b", seen, {"leeds": 7_200_000.5, "hull": 1.0})
    assert keys([row]) == [[0, 1]]
    assert row["spread_ms"] == pytest.approx(249.5)
    assert row["start"] == BEGIN
    assert row["views"][1]["start"] == BEGIN + timedelta(microseconds=249_500)
    assert row["views"][1]["stated"] == BEGIN + timedelta(seconds=7_200.25)


def test_a_name_in_quotes_does_no_harm(tmp_path: Path) -> None:
    seen: list[Seen] = [("o'brien", "a'); DROP", 0, None), ("leeds", "a'); DROP", 9, None)]
    assert keys(views(tmp_path, seen, {"o'brien": -500})) == [[0, 1]]


def test_each_row_is_in_one_call(tmp_path: Path) -> None:
    seen: list[Seen] = [
        (f"site{number % 5}", f"id{number % 7}", number * 13.7 % 900, None if number % 3 else 4.0)
        for number in range(300)
    ]
    rows = views(tmp_path, seen)
    found = [key for row in rows for key in keys([row])[0]]
    assert sorted(found) == list(range(300))
    for row in rows:
        assert row["sources"] == len(row["views"]) == len({view["source"] for view in row["views"]})
        assert row["mos_spread"] is None or row["mos_spread"] == 0


def test_no_calls_give_no_rows(tmp_path: Path) -> None:
    assert views(tmp_path, []) == []
