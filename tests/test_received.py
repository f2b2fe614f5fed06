"""Parts that their sources number count once, in whatever order they come and whoever brings them."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_rows import rows

from analytics.store.lake import Lake
from analytics.store.received import BITS, SLOTS, WINDOW, Part, append_received, is_in, marked
from analytics.store.settings import LakeSettings, StoreError


def opened(root: Path) -> Lake:
    return Lake.open(root, create=True, settings=LakeSettings(durable=False, threads=1))


@given(st.data())
def test_numbers_within_the_window_are_in_when_they_were_marked_and_only_then(data: st.DataObject) -> None:
    known: dict[str, int] = {}
    reference: set[int] = set()
    floor = data.draw(st.integers(0, 1 << 40))
    for _ in range(data.draw(st.integers(1, 30))):
        # What a source has on its way lies in a window that moves on.
        floor += data.draw(st.integers(0, 3 * WINDOW))
        numbers = data.draw(st.sets(st.integers(floor, floor + WINDOW - 1), min_size=1, max_size=8))
        for number in numbers:
            assert is_in(known.get, "a", number) == (number in reference)
        before = dict(known)
        known |= marked(known.get, [("a", number) for number in numbers])
        reference |= numbers
        assert all(known[name] >= value for name, value in before.items()), "a transaction's number went down"
        assert all(is_in(known.get, "a", number) for number in reference)
        assert not is_in(known.get, "b", min(numbers))
    assert len(known) <= SLOTS


def test_what_is_older_than_all_that_is_remembered_counts_as_there() -> None:
    nothing: dict[str, int] = {}
    known = marked(nothing.get, [("a", 5_000)])
    assert is_in(known.get, "a", 5_000 - BITS * SLOTS)
    assert marked(known.get, [("a", 5_000 - BITS * SLOTS)]) == {}


def test_parts_in_any_order_and_again_are_appended_once(tmp_path: Path) -> None:
    lake = opened(tmp_path / "store")
    numbers = list(range(1, 41)) * 2
    random.Random(5).shuffle(numbers)
    already = 0
    while numbers:
        some, numbers = numbers[:7], numbers[7:]
        parts = [Part("a", number, rows("intervals", range(3), stream_key=number)) for number in set(some)]
        already += len(append_received(lake, "intervals", parts).already) + len(some) - len(set(some))
    connection = lake.connect()
    lake.view(connection, "intervals")
    found = connection.execute("SELECT stream_key, count(*) FROM intervals GROUP BY 1 ORDER BY 1").fetchall()
    assert found == [(number, 3) for number in range(1, 41)]
    assert already == 40


def test_two_workers_with_the_same_parts_at_once_append_them_once(tmp_path: Path) -> None:
    root = tmp_path / "store"
    opened(root).append("intervals", rows("intervals", range(1), stream_key=0), batch="first")
    counted: Counter[str] = Counter()
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        lake = opened(root)
        numbers = list(range(1, 31))
        random.Random(seed).shuffle(numbers)
        try:
            for begin in range(0, 30, 3):
                parts = [Part("a", one, rows("intervals", range(2), stream_key=one)) for one in numbers[begin:][:3]]
                added = append_received(lake, "intervals", parts)
                counted["rows"] += added.rows
                counted["already"] += len(added.already)
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert counted == {"rows": 60, "already": 30}
    lake = opened(root)
    connection = lake.connect()
    lake.view(connection, "intervals")
    assert connection.execute("SELECT count(*), count(DISTINCT stream_key) FROM intervals").fetchall() == [(61, 31)]


def test_a_part_without_rows_keeps_its_number(tmp_path: Path) -> None:
    lake = opened(tmp_path / "store")
    empty = rows("intervals", range(0))
    assert append_received(lake, "intervals", [Part("a", 7, empty)]).already == frozenset()
    assert append_received(lake, "intervals", [Part("a", 7, empty)]).already == {("a", 7)}


def test_minutes_come_with_their_hours(tmp_path: Path) -> None:
    lake = opened(tmp_path / "store")
    minutes = rows("site_minutes", range(60), step_s=60, step="minute", site="A", calls=2)
    assert append_received(lake, "site_minutes", [Part("a", 1, minutes)]).rows == 60
    connection = lake.connect()
    lake.view(connection, "site_minutes")
    found = connection.execute("SELECT step, count(*), CAST(sum(calls) AS INT) FROM site_minutes GROUP BY 1 ORDER BY 1")
    assert found.fetchall() == [("hour", 1, 120), ("minute", 60, 120)]


def test_rows_that_do_not_fit_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    lake = opened(tmp_path / "store")
    wrong = rows("intervals", range(2)).drop_columns(["source"])
    with pytest.raises(StoreError, match="source"):
        append_received(lake, "intervals", [Part("a", 1, wrong)])
    assert append_received(lake, "intervals", [Part("a", 1, rows("intervals", range(2)))]).rows == 2
