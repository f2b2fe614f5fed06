"""Rows held in memory are those of the table's newest version, whatever was appended, replaced or compacted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from call_facts import NOON, call, put, stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics.questions.asking import key_number, key_text
from analytics.questions.calls import Order, Search, hold_calls, search_calls
from analytics.questions.one_call import one_call
from analytics.questions.words import parse_words
from analytics.store.arrow_rows import arrow_table
from analytics.store.lake import Lake
from analytics.store.maintenance import merge
from analytics.store.schema import CALLS
from analytics.store.settings import LakeSettings

DAY = 86_400


def open_lake(folder: Path, held_rows: int = 1_000) -> Lake:
    return Lake.open(folder / "store", create=True, settings=LakeSettings(held_rows=held_rows))


def keys(lake: Lake, words: str = "", order: Order = Order.NEWEST, limit: int = 100) -> list[int]:
    search = Search(NOON - timedelta(days=400), NOON + timedelta(days=2), parse_words(words), order)
    found: list[int] = []
    cursor = None
    while True:
        page = search_calls(lake, search, limit, cursor)
        found += [key_number(row.key) for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            return found


def test_nothing_is_held_until_somebody_asks_for_it(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    put(lake, "calls", call(1))
    assert lake.held("calls") is None
    hold_calls(lake)
    assert lake.held("calls") is not None


def test_settings_may_hold_nothing(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, 0)
    put(lake, "calls", call(1))
    hold_calls(lake)
    assert lake.held("calls") is None
    assert keys(lake) == [1]


def test_call_that_is_appended_later_is_found(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    hold_calls(lake)
    assert keys(lake) == []
    put(lake, "calls", call(1))
    assert keys(lake) == [1]
    put(lake, "calls", call(2, 60), call(3, -5 * DAY))
    assert keys(lake) == [2, 1, 3]
    assert one_call(lake, key_text(3)) is not None


def test_days_beyond_what_is_held_are_read_from_files(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, 4)
    for day in range(6):
        put(lake, "calls", call(10 * day, -day * DAY), call(10 * day + 1, -day * DAY + 60, mos=5 - day))
    hold_calls(lake)
    held = lake.held("calls")
    assert held is not None
    assert held.since == (NOON - timedelta(days=1)).replace(hour=0)
    expected = [1, 0, 11, 10, 21, 20, 31, 30, 41, 40, 51, 50]
    assert keys(lake) == keys(lake, limit=1) == expected
    assert keys(lake, order=Order.OLDEST, limit=5) == expected[::-1]
    assert keys(lake, "mos<3", Order.WORST) == [51, 41, 31]
    assert one_call(lake, key_text(51)) is not None


def test_compaction_changes_nothing_that_is_found(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    for number in range(5):
        put(lake, "calls", call(number, 60 * number))
    hold_calls(lake)
    assert keys(lake) == [4, 3, 2, 1, 0]
    merge(lake, CALLS)
    assert keys(lake) == [4, 3, 2, 1, 0]
    put(lake, "calls", call(9, 600))
    assert keys(lake) == [9, 4, 3, 2, 1, 0]


def test_words_of_streams_are_asked_of_calls_in_memory(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    put(lake, "calls", call(1), call(2, 60), call(3, -3 * DAY))
    put(lake, "streams", stream(11, 1, codec="G729"), stream(31, 3, -3 * DAY, codec="G729"))
    hold_calls(lake)
    assert keys(lake, "codec:g729") == [1, 3]


NUMBERS = (
    "+442079460123", "02079460123", "0123", "123", "jane", "JANE0123", "460123@pbx", "*0123", "1.23", "+123", " 123",
    "0207 946 0123", "9460123#", "２０１２３",
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.sampled_from(NUMBERS) | st.text("0123 +.*#a", max_size=6), min_size=1, max_size=6),
    sign=st.sampled_from([":", "!="]),
    asked=st.lists(
        st.sampled_from([*NUMBERS, "0123*", "020*", "01-23", "=+442079460123", "=jane", "=JANE0123", "="]),
        min_size=1,
        max_size=3,
    ),
)
def test_numbers_are_found_in_memory_as_in_files(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[str], sign: str, asked: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("numbers")
    lake, files = open_lake(folder), Lake.open(folder / "store")
    put(lake, "calls", *(call(at, at, calling=one, called=numbers[at - 1]) for at, one in enumerate(numbers)))
    hold_calls(lake)
    words = f'number{sign}"{",".join(asked)}"'
    assert keys(lake, words) == keys(files, words)
    lake.close()
    files.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["append", "replace", "compact"]), st.integers(0, 3), st.integers(1, 3)), max_size=7
    ),
    most=st.sampled_from([2, 5, 1_000]),
)
def test_memory_and_files_answer_alike(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]], most: int
) -> None:
    folder = tmp_path_factory.mktemp("held")
    lake, files = open_lake(folder, most), Lake.open(folder / "store")
    number = 0
    for what, day, count in steps:
        if what == "compact":
            if lake.version("calls") is not None:
                merge(lake, CALLS)
        else:
            rows = [call(number + one, -day * DAY + one) for one in range(count)]
            number += count
            gone = [(NOON - timedelta(days=day)).date()] if what == "replace" else None
            lake.append_batches("calls", arrow_table(CALLS, rows).to_batches(), batch=f"b{number}", replace=gone)
        hold_calls(lake)
        for order in Order:
            assert keys(lake, "status:200", order, 3) == keys(files, "status:200", order)
    lake.close()
    files.close()
