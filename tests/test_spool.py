"""The spool keeps what it acknowledged, in order, through kills, cuts, flipped octets, full disks and its own bound."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spool_writer import payload

from analytics.store.spool import Spool, SpoolCounts, SpoolError, SpoolSettings
from analytics.store.spool_segments import HEADER, encode, scan

TESTS = Path(__file__).resolve().parent
SMALL = SpoolSettings(octets=4_000, segment_octets=500, durable=False)


def segments(root: Path) -> list[Path]:
    return sorted(root.glob("*.segment"))


def drained(spool: Spool, records: int = 1_000) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    while peeked := spool.peek(records=records):
        found += [(one.sequence, one.payload) for one in peeked]
        spool.acknowledge(peeked[-1].sequence)
    return found


def adds_up(counts: SpoolCounts) -> bool:
    return counts.appended == counts.acknowledged + counts.dropped + counts.damaged + counts.waiting


def test_records_come_back_in_order_across_segments_and_openings(tmp_path: Path) -> None:
    payloads = [bytes([number]) * number for number in range(200)]
    for begin in range(0, 200, 50):
        with Spool.open(tmp_path / "spool", SpoolSettings(octets=1 << 20, segment_octets=1_000)) as spool:
            assert spool.append(payloads[begin : begin + 50]) == begin + 50
    with Spool.open(tmp_path / "spool") as spool:
        assert spool.counts()[:5] == (200, 0, 0, 0, 200)
        assert drained(spool, records=7) == list(enumerate(payloads, 1))
        assert spool.counts()[:5] == (200, 200, 0, 0, 0)
    with Spool.open(tmp_path / "spool") as spool:
        assert spool.peek() == []
        assert spool.counts().octets == 0
        assert spool.append([b"next"]) == 201


def test_a_peek_leaves_records_and_is_bounded_by_octets_and_records(tmp_path: Path) -> None:
    with Spool.open(tmp_path) as spool:
        spool.append([b"a" * 100, b"b" * 100, b"c" * 100])
        assert [one.sequence for one in spool.peek(octets=200)] == [1, 2]
        assert [one.sequence for one in spool.peek(octets=1)] == [1]
        assert [one.sequence for one in spool.peek(records=2)] == [1, 2]
        assert [one.sequence for one in spool.peek(after=2)] == [3]
        spool.acknowledge(2)
        spool.acknowledge(1)
        assert [one.payload for one in spool.peek()] == [b"c" * 100]
        spool.acknowledge(99)
        assert spool.counts()[:5] == (3, 3, 0, 0, 0)


def test_at_the_bound_the_oldest_segment_goes_whole_and_is_counted(tmp_path: Path) -> None:
    with Spool.open(tmp_path, SMALL) as spool:
        for number in range(1, 201):
            spool.append([b"%03d" % number + b"." * 77])
            assert sum(path.stat().st_size for path in segments(tmp_path)) <= SMALL.octets
        counts = spool.counts()
        # A record takes 100 octets: 5 a segment, 8 segments.
        assert counts[:6] == (200, 0, 160, 0, 40, 4_000)
        assert [one.payload[:3] for one in spool.peek()] == [b"%03d" % number for number in range(161, 201)]
        spool.acknowledge(163)
        spool.append([b"x" * 80])
        assert spool.counts()[:5] == (201, 3, 162, 0, 36)
    with Spool.open(tmp_path, SMALL) as spool:
        assert spool.counts()[:5] == (201, 3, 162, 0, 36)


def test_what_does_not_fit_at_all_is_refused_and_drops_nothing(tmp_path: Path) -> None:
    with Spool.open(tmp_path, SMALL) as spool:
        spool.append([b"kept"])
        with pytest.raises(SpoolError, match="over half of the spool's bound"):
            spool.append([b"x" * 2_001])
        assert drained(spool) == [(1, b"kept")]
    with pytest.raises(SpoolError, match="at least two segments"):
        Spool.open(tmp_path, SpoolSettings(octets=10, segment_octets=6))


def test_a_spool_belongs_to_one_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from analytics.store.spool import Spool, SpoolError\n"
        "try: Spool.open(Path(sys.argv[1]))\nexcept SpoolError as error: print(error)"
    )
    with Spool.open(tmp_path) as spool:
        said = subprocess.run(
            [sys.executable, "-c", code, tmp_path], cwd=TESTS.parent, capture_output=True, text=True, check=True
        )
        assert said.stdout == f"another process has the spool in {tmp_path}\n"
        spool.append([b"x"])
    with pytest.raises(SpoolError, match="is closed"):
        spool.append([b"x"])
    Spool.open(tmp_path).close()


def test_a_spool_that_cannot_be_made_gives_the_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SpoolError, match="no spool can be made in"):
        Spool.open(tmp_path / "file" / "spool")


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    promised: set[int] = set()
    for number in range(50):
        with subprocess.Popen(
            [sys.executable, TESTS / "spool_writer.py", root], stdout=subprocess.PIPE, env=environment
        ) as child:
            assert child.stdout is not None
            said = [child.stdout.readline(), child.stdout.readline()]
            time.sleep(number % 10 * 0.002)
            child.kill()
            said += child.stdout.read().splitlines(keepends=True)
        begun, *appended = [int(line) for line in said if line.endswith(b"\n")]
        promised |= set(range(begun + 1, appended[-1] + 1))
    with Spool.open(root, SpoolSettings(segment_octets=50_000)) as spool:
        before = spool.counts()
        waiting = dict(drained(spool))
        after = spool.counts()
    assert adds_up(before)
    assert adds_up(after)
    assert (after.dropped, after.waiting) == (0, 0)
    done = before.acknowledged + before.damaged
    assert {sequence for sequence in promised if sequence > done} <= set(waiting)
    assert len(waiting) == after.acknowledged - before.acknowledged
    assert all(found == payload(sequence) for sequence, found in waiting.items())
    assert len(promised) > 200


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_cut_or_flipped_end_costs_only_what_was_hit(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("spool")
    payloads = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=12))
    with Spool.open(root) as spool:
        for one in payloads:
            spool.append([one])
    (segment,) = segments(root)
    whole = segment.read_bytes()
    ends = [0]
    for one in payloads:
        ends.append(ends[-1] + HEADER.size + len(one))
    if data.draw(st.booleans(), label="cut"):
        cut = data.draw(st.integers(0, len(whole)), label="at")
        segment.write_bytes(whole[:cut])
        expected = {number for number, end in enumerate(ends) if number > 0 and end <= cut}
    else:
        at = data.draw(st.integers(0, len(whole) - 1), label="octet")
        segment.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
        hit = next(number for number, end in enumerate(ends) if at < end)
        expected = set(range(1, len(payloads) + 1)) - {hit}
    with Spool.open(root) as spool:
        later = spool.append([b"later"])
        found = drained(spool)
        assert found == [(number, payloads[number - 1]) for number in sorted(expected)] + [(later, b"later")]
        assert later > max(expected, default=0)
        assert adds_up(spool.counts())
        assert spool.counts().waiting == 0


def test_damage_within_a_segment_is_counted_exactly(tmp_path: Path) -> None:
    with Spool.open(tmp_path, SMALL) as spool:
        for number in range(20):
            spool.append([b"%02d" % number + b"." * 78])
    second = segments(tmp_path)[1]
    broken = bytearray(second.read_bytes())
    broken[120] ^= 1
    broken[450] ^= 1
    second.write_bytes(broken)
    segments(tmp_path)[2].write_bytes(b"")
    with Spool.open(tmp_path, SMALL) as spool:
        assert [sequence for sequence, _ in drained(spool)] == [1, 2, 3, 4, 5, 6, 8, 9, 16, 17, 18, 19, 20]
        assert spool.counts()[:5] == (20, 13, 0, 7, 0)


def test_without_its_position_a_spool_gives_its_records_again_under_a_new_identity(tmp_path: Path) -> None:
    with Spool.open(tmp_path) as spool:
        spool.append([b"a", b"b", b"c"])
        spool.acknowledge(2)
        identity = spool.identity
    with Spool.open(tmp_path) as spool:
        assert spool.identity == identity
    position = tmp_path / "position"
    position.write_bytes(bytes(position.stat().st_size))
    with Spool.open(tmp_path) as spool:
        assert spool.identity != identity
        assert [one.payload for one in spool.peek()] == [b"a", b"b", b"c"]
        assert adds_up(spool.counts())


@pytest.mark.parametrize("slot", [0, 512])
def test_a_cut_write_of_the_position_falls_back_to_the_one_before(tmp_path: Path, slot: int) -> None:
    with Spool.open(tmp_path) as spool:
        spool.append([b"a", b"b", b"c", b"d"])
        for sequence in (1, 2, 3):
            spool.acknowledge(sequence)
    position = tmp_path / "position"
    broken = bytearray(position.read_bytes())
    broken[slot + 30] ^= 255
    position.write_bytes(broken)
    with Spool.open(tmp_path) as spool:
        assert spool.peek()[0].sequence in {3, 4}
        assert adds_up(spool.counts())


def fill(spool: Spool) -> None:
    while True:
        spool.append([payload(spool.counts().appended + 1)])


def test_a_full_disk_gives_one_error_and_keeps_what_was_acknowledged(small_disk: Path) -> None:
    with Spool.open(small_disk / "spool", SpoolSettings(segment_octets=10_000)) as spool:
        with pytest.raises(SpoolError, match="cannot be written: the disk is full"):
            fill(spool)
        appended = spool.counts().appended
        assert appended > 5
        for _ in range(3):
            with pytest.raises(SpoolError, match="the disk is full"):
                spool.append([b"x" * 60_000])
        # Acknowledging needs no room, and makes some.
        assert spool.peek(records=4)[-1].payload == payload(4)
        spool.acknowledge(appended - 1)
        assert spool.append([b"again"]) == appended + 1
        assert drained(spool) == [(appended, payload(appended)), (appended + 1, b"again")]
        assert spool.counts()[:5] == (appended + 1, appended + 1, 0, 0, 0)


def test_a_full_disk_survives_reopening(small_disk: Path) -> None:
    with Spool.open(small_disk / "spool") as spool, pytest.raises(SpoolError):
        fill(spool)
    with Spool.open(small_disk / "spool") as spool:
        appended = spool.counts().appended
        assert spool.counts()[:5] == (appended, 0, 0, 0, appended)
        assert drained(spool) == [(number, payload(number)) for number in range(1, appended + 1)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.binary(max_size=120), max_size=4)),
        st.tuples(st.just("acknowledge"), st.integers(0, 6)),
        st.tuples(st.just("open"), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_a_spool_is_a_list_that_loses_only_what_it_counts(
    steps: list[tuple[str, list[bytes] | int | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("spool")
    spool = Spool.open(root, SMALL)
    plain: list[tuple[int, bytes]] = []
    appended = acknowledged = dropped = 0
    for step, value in steps:
        if isinstance(value, list):
            spool.append(value)
            plain += enumerate(value, appended + 1)
            appended += len(value)
            gone = spool.counts().dropped - dropped
            dropped += gone
            plain = plain[gone:]
        elif isinstance(value, int) and plain:
            upto = plain[min(value, len(plain) - 1)][0]
            spool.acknowledge(upto)
            acknowledged += sum(sequence <= upto for sequence, _ in plain)
            plain = [one for one in plain if one[0] > upto]
        elif step == "open":
            spool.close()
            spool = Spool.open(root, SMALL)
        assert [tuple(one) for one in spool.peek()] == plain
        assert spool.counts()[:5] == (appended, acknowledged, dropped, 0, len(plain))
        assert spool.counts().octets <= SMALL.octets
    spool.close()


@settings(max_examples=200)
@given(noise=st.binary(max_size=60), payloads=st.lists(st.binary(max_size=30), max_size=5), more=st.binary(max_size=60))
def test_records_amid_any_octets_are_found(noise: bytes, payloads: list[bytes], more: bytes) -> None:
    records = b"".join(encode(number, one) for number, one in enumerate(payloads, 1))
    found, end = scan(noise + records + more, after=0)
    data = noise + records + more
    assert [(one.sequence, data[one.offset : one.offset + one.octets]) for one in found] == list(enumerate(payloads, 1))
    assert end == (len(noise) + len(records) if payloads else 0)


def test_threads_share_a_spool(tmp_path: Path) -> None:
    def write(spool: Spool, name: int) -> None:
        for number in range(200):
            spool.append([b"%d %d" % (name, number)])

    with Spool.open(tmp_path, SpoolSettings(durable=False, segment_octets=1_000)) as spool:
        threads = [threading.Thread(target=write, args=(spool, name)) for name in range(4)]
        for thread in threads:
            thread.start()
        found: list[tuple[int, bytes]] = []
        while any(thread.is_alive() for thread in threads):
            found += drained(spool)
        found += drained(spool)
    assert [sequence for sequence, _ in found] == list(range(1, 801))
    for name in range(4):
        mine = [one for _, one in found if one.startswith(b"%d " % name)]
        assert mine == [b"%d %d" % (name, number) for number in range(200)]
