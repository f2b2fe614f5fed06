"""The parts of the transport that need no broker: what is sent again, what is lost, whose clock is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.store.received import WINDOW
from analytics.store.settings import StoreError
from collector.transport.agents import Agents, Skew, read_agents, read_noted, write_agents
from collector.transport.dead_letters import DeadLetters, Letter
from collector.transport.notes import (
    NoteError,
    Receipt,
    Refusal,
    Status,
    ranges,
    read_receipt,
    read_status,
    receipts_topic,
    topic,
)
from collector.transport.outgoing import Outgoing
from collector.transport.payload import Batch, Clocks

S = 1_000_000_000
STATUS = Status("york", "00" * 8, True, "1.0", 5, 6, 7, 8, 9)


def test_a_message_without_receipt_is_sent_again_at_growing_distances() -> None:
    out = Outgoing(8, 15, 100)
    out.sent(1, 0)
    times: list[float] = []
    now = 0.0
    while len(times) < 5:
        now += 1
        if out.overdue(now) == [1]:
            times.append(now)
            out.sent(1, now)
    assert [after - before for before, after in zip([0.0, *times], times, strict=False)] == [15, 30, 60, 100, 100]
    assert out.sent_again == 5


def test_what_is_acknowledged_is_what_all_before_is_done_with() -> None:
    out = Outgoing(8, 15, 100)
    for sequence in (1, 2, 4, 5):
        out.sent(sequence, 0)
    assert out.received([(2, 2)]) is None
    # 3 was damaged on the disk and never sent.
    assert out.received([(1, 1)]) == 3
    assert out.received([(9, 99), (5, 5)]) == 3
    assert out.received([(4, 4)]) == 5
    assert len(out) == 0


def test_a_new_connection_makes_all_due_and_nobody_listening_costs_no_patience() -> None:
    out = Outgoing(8, 10, 1_000)
    for sequence in (1, 2):
        out.sent(sequence, 0)
        out.sent(sequence, 10)
    out.all_due(11)
    assert out.overdue(11) == [1, 2]
    out.sent(1, 11)
    for now in (20, 40, 60):
        out.unheard(1, now)
        assert 1 not in out.overdue(now + 9)
        assert 1 in out.overdue(now + 10)


@given(st.data())
def test_the_window_is_never_left(data: st.DataObject) -> None:
    window = data.draw(st.integers(1, 20))
    out = Outgoing(window, 1, 10)
    appended = cursor = 0
    for now in range(data.draw(st.integers(1, 60))):
        appended += data.draw(st.integers(0, 30))
        if data.draw(st.integers(0, 9)) == 0:
            cursor = data.draw(st.integers(cursor, appended))
        out.dropped_below(cursor + 1)
        for sequence in range(max(out.newest, cursor) + 1, min(appended, out.newest + out.room) + 1):
            out.sent(sequence, now)
        on_their_way = [one for one in range(1, appended + 1) if one in out._due]
        assert not on_their_way or on_their_way[-1] - on_their_way[0] < window
        assert all(one > cursor for one in on_their_way)
        if on_their_way:
            some = data.draw(st.sets(st.sampled_from(on_their_way)))
            upto = out.received(ranges(some))
            left = [one for one in on_their_way if one not in some]
            assert upto is None or all(one > upto for one in left)
            cursor = max(cursor, upto or 0)
    # With every receipt in, all goes out in the end.
    for now in range(100, 100 + appended + 1):
        for sequence in range(max(out.newest, cursor) + 1, min(appended, out.newest + out.room) + 1):
            out.sent(sequence, now)
        cursor = max(cursor, out.received([(1, appended)]) or 0) if appended else 0
    assert cursor == appended


def test_a_window_beyond_what_the_store_tells_apart_is_refused() -> None:
    Outgoing(WINDOW, 1, 1)
    with pytest.raises(ValueError, match="1 to 1024"):
        Outgoing(WINDOW + 1, 1, 1)


def test_notes_are_read_as_they_were_written() -> None:
    assert read_status(bytes(STATUS)) == STATUS
    receipt = Receipt(((1, 4), (7, 7)), (Refusal(7, "bad_rows"),))
    assert read_receipt(bytes(receipt)) == receipt


@given(st.one_of(st.binary(max_size=200), st.text(max_size=50).map(str.encode)))
def test_any_bytes_are_a_note_or_the_one_error(data: bytes) -> None:
    for read in (read_status, read_receipt):
        with pytest.raises(NoteError):
            read(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*json.loads(bytes(STATUS)), "done", "refused"]), JSON)
def test_any_value_in_a_note_is_a_note_or_the_one_error(name: str, value: object) -> None:
    fields = json.loads(bytes(STATUS)) | {"done": [[1, 2]], "refused": []}
    data = json.dumps(fields | {name: value}).encode()
    for read in (read_status, read_receipt):
        try:
            read(data)
        except NoteError:
            continue


def test_what_would_grow_without_bound_is_no_note() -> None:
    for data in (
        b'{"v":1,"done":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        json.dumps({"v": 1, "done": [[1, 1]] * 5_000, "refused": []}).encode(),
        bytes(replace(STATUS, version="x" * 70_000)),
        bytes(replace(STATUS, version="x" * 65)),
    ):
        for read in (read_status, read_receipt):
            with pytest.raises(NoteError):
                read(data)


def test_topics_are_of_plain_names_alone() -> None:
    assert topic("york-1", "calls") == "callgauge/v1/york-1/calls"
    assert receipts_topic("york", "ab") == "callgauge/v1/york/receipts/ab"
    for name in ("", "+", "a/b", "#", "a b", "york\n", "é"):
        with pytest.raises(ValueError, match="no site's name"):
            topic(name, "calls")


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_what_they_were_made_of(numbers: set[int]) -> None:
    made = ranges(numbers)
    assert {number for first, last in made for number in range(first, last + 1)} == numbers
    assert all(after > before + 1 for (_, before), (after, _) in pairwise(made))


def test_the_skew_is_that_of_the_fastest_message() -> None:
    assert Skew().estimate is None
    skew = Skew()
    # Two hours behind, with 80, 5 and 900 ms on the way.
    for number, delay in enumerate((80, 5, 900)):
        sent = number * S
        skew.add(sent, sent + 7_200 * S + delay * 1_000_000)
    assert skew.estimate == -(7_200 * S + 5_000_000), skew
    # The clock is set right: the old samples would say that it is ahead by nothing, which is so.
    skew.add(7_300 * S, 7_300 * S + 1_000)
    assert skew.estimate == -1_000


def test_old_samples_of_a_clock_go() -> None:
    skew = Skew()
    skew.add(100 * S, 100 * S)
    skew.add(300 * S, 310 * S)
    assert skew.estimate == -10 * S


def batch(sequence: int, floor: int) -> Batch:
    return Batch("york", "ab", "intervals", sequence, floor, Clocks(0, 0), pa.table({}))


def stored(agents: Agents, sequence: int, floor: int, at_s: int, again: bool = False) -> None:
    agents.stored("york", batch(sequence, floor), at_s * S, rows=1, aside=0, again=again, wrong=False)


def test_numbers_that_no_worker_has_and_the_agent_is_done_with_are_lost() -> None:
    agents = Agents()
    stored(agents, 10, 10, 0)
    stored(agents, 11, 10, 1)
    stored(agents, 20, 15, 6)
    # 12 to 14 are done with by the agent's word; another worker has 13, and says so in time.
    agents.receipted("york", "ab", [(13, 13)])
    stored(agents, 21, 15, 8)
    assert agents.seen()[0].lost == 0
    stored(agents, 22, 15, 12)
    assert agents.seen()[0].lost == 2
    # 12 comes late after all.
    stored(agents, 12, 15, 13)
    assert agents.seen()[0].lost == 1
    stored(agents, 12, 15, 14, again=True)
    (seen,) = agents.seen()
    assert (seen.lost, seen.messages, seen.again, seen.last_sequence) == (1, 6, 1, 22)


def test_what_workers_noted_is_added_up(tmp_path: Path) -> None:
    one, two = Agents(), Agents()
    stored(one, 1, 1, 5)
    stored(two, 2, 1, 6)
    two.status("york", replace(STATUS, identity="ab", online=False), 7 * S, retained=False)
    for name, agents in (("one", one), ("two", two)):
        write_agents(tmp_path, name, agents.seen())
    (seen,) = read_agents(tmp_path)
    assert (seen.messages, seen.rows, seen.online, seen.last_seen, seen.last_sequence) == (2, 2, False, 7 * S, 2)
    # A worker that is started again goes on counting.
    again = Agents(read_noted(tmp_path, "two"))
    stored(again, 3, 1, 8)
    assert again.seen()[0].messages == 2
    (tmp_path / "agents/two.json").write_text("[{}]")
    with pytest.raises(StoreError, match="cannot be read"):
        read_agents(tmp_path)


def test_a_retained_status_says_nothing_of_now() -> None:
    agents = Agents()
    agents.status("york", STATUS, 9 * S, retained=True)
    (seen,) = agents.seen()
    assert (seen.online, seen.last_seen, seen.skew_ms) == (True, 0, None)


def test_dead_letters_take_no_more_disk_than_allowed(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, "one", 10_000)
    for number in range(300):
        letters.write([Letter(number, "callgauge/v1/york/calls", "bad_mark", "begins with 00", bytes(90))])
    files = sorted((tmp_path / "dead-letters").iterdir())
    assert [path.name for path in files] == ["one.jsonl", "one.old.jsonl"]
    assert sum(path.stat().st_size for path in files) <= 10_000
    assert letters.written == 300
    last = json.loads(files[0].read_text().splitlines()[-1])
    assert (last["received"], last["reason"]) == (299, "bad_mark")
    assert files[0].stat().st_mode & 0o077 == 0
