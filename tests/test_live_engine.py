"""A capture without end: what it gives is what a replay of the same packets gives, and nothing of it stays."""

from __future__ import annotations

import os
import random
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from collector.calls import CallLimits
from collector.capture.files import CaptureError, Source
from collector.engine import Engine, EngineLimits
from collector.facts import Call, Replay, Stream
from collector.live.engine import LiveEngine, LiveSettings
from collector.live.source import Found
from collector.simulator.bulk_rtp import RtpSize, write_rtp
from collector.simulator.bulk_sip import PCAP_HEADER

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((ROOT / "sample_pcaps").glob("*.pcap"))
REAL = (
    "ast_a_party_g711a.pcap", "ast_opus1.pcap", "russo_fax_sip_passthru_ogw.pcapng", "sngrep_rtp_hold.pcap",
)  # fmt: skip


def slices(data: bytes, seed: int) -> list[bytes]:
    """The octets in pieces of any size, as a pipe may give them."""
    rng = random.Random(seed)
    pieces, at = [], 0
    while at < len(data):
        size = rng.choice((1, 17, 1000, 4096, 1 << 16, 1 << 20))
        pieces.append(data[at : at + size])
        at += size
    return pieces


class Steps:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def followed(engine: LiveEngine, data: bytes, seed: int = 1) -> list[Found]:
    """What the engine finds in a capture that comes down a pipe."""
    reading, writing = os.pipe()

    def write() -> None:
        # A capture whose damage ends it is not read to its end.
        with suppress(BrokenPipeError), os.fdopen(writing, "wb", buffering=0) as pipe:
            for piece in slices(data, seed):
                pipe.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    found: list[Found] = []
    engine.follow(Source("pipe", reading, owned=True), found.append, Steps())
    writer.join()
    return found


def replayed(path: Path) -> Replay:
    engine = Engine(EngineLimits(calls=CallLimits(max_steps=LiveSettings().steps)))
    engine.read([str(path)])
    return engine.finish()


def calls_of(found: list[Found]) -> list[Call]:
    return sorted((call for each in found for call in each.calls), key=lambda call: (call.start, call.call_id))


def streams_of(found: list[Found]) -> list[Stream]:
    return in_order(stream for each in found for stream in each.streams)


def in_order(streams: object) -> list[Stream]:
    """Media are numbered through a replay, and through each harvest: numbers are left out."""
    assert hasattr(streams, "__iter__")
    unnumbered = [replace(stream, placement=stream.placement._replace(medium=0)) for stream in streams]
    return sorted(unnumbered, key=lambda stream: (stream.first, stream.src, stream.dst, stream.ssrc))


def assert_same(path: Path, data: bytes | None = None) -> list[Found]:
    engine = LiveEngine()
    found = followed(engine, path.read_bytes() if data is None else data)
    found.extend(engine.finish_live())
    expected = replayed(path)
    assert calls_of(found) == list(expected.calls)
    assert streams_of(found) == in_order(expected.streams)
    assert sum(point.interval.packets for each in found for point in each.points) == sum(
        stream.packets for stream in expected.streams
    )
    return found


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_slices_of_a_sample_give_the_calls_and_streams_of_its_replay(path: Path) -> None:
    assert_same(path)


@pytest.mark.parametrize("name", REAL)
def test_slices_of_a_real_capture_give_the_calls_and_streams_of_its_replay(shared: Path, name: str) -> None:
    paths = list((shared / "pcaps").rglob(name))
    if not paths:
        pytest.skip(f"{name} is not among the shared captures")
    assert_same(paths[0])


@pytest.fixture(scope="module")
def many_calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "calls.pcap"
    write_rtp(path, RtpSize(packets=120_000, calls=60, concurrent=15))
    return path


def test_calls_that_come_and_go_are_handed_out_as_they_end_and_are_those_of_the_replay(many_calls: Path) -> None:
    found = assert_same(many_calls)
    assert len(found) > 5
    assert sum(bool(each.calls) for each in found) > 3
    for each in found:
        together = {stream.call_id for stream in each.streams}
        assert together <= {leg.call_id for call in each.calls for leg in call.legs}


def test_intervals_of_a_stream_follow_one_another_and_add_up_to_it(many_calls: Path) -> None:
    found = assert_same(many_calls)
    points: dict[tuple[object, ...], list[tuple[int, int, int, int, int]]] = {}
    for point in (point for each in found for point in each.points):
        key = (point.stream.src, point.stream.dst, point.stream.ssrc, point.stream.first)
        points.setdefault(key, []).append(point.interval[:5])
    streams = streams_of(found)
    assert set(points) == {(stream.src, stream.dst, stream.ssrc, stream.first) for stream in streams}
    for stream in streams:
        of_stream = points[stream.src, stream.dst, stream.ssrc, stream.first]
        assert [begin for begin, *_ in of_stream] == [stream.first, *(end for _, end, *_ in of_stream[:-1])]
        assert of_stream[-1][1] == stream.last
        assert sum(each[3] for each in of_stream) == stream.expected
        assert sum(each[4] for each in of_stream) == stream.lost


def test_nothing_is_kept_of_what_was_handed_out(many_calls: Path) -> None:
    engine = LiveEngine()
    found = followed(engine, many_calls.read_bytes())
    last = max(stream.last for stream in streams_of(found))
    later = [engine.harvest(last + seconds * 10**9) for seconds in (60, 130, 200)]
    assert len(calls_of([*found, *later])) == 60
    counts = engine.counts()
    assert (counts.calls_now, counts.streams_now) == (0, 0)
    assert engine.held() == dict.fromkeys(engine.held(), 0)
    assert not calls_of(list(engine.finish_live()))


def test_more_streams_than_rows_are_counted_and_all_of_them_told(many_calls: Path) -> None:
    engine = LiveEngine(LiveSettings(rows=16))
    found = [*followed(engine, many_calls.read_bytes()), *engine.finish_live()]
    assert engine.counts().lost["streams_evicted"] > 0
    told = sum(stream.packets for stream in streams_of(found))
    unbelieved = engine.counts().lost.get("packets_not_believed", 0)
    exhausted = engine.counts().lost.get("packets_rtp_rows_exhausted", 0)
    assert told + unbelieved + exhausted == 120_000


def test_more_calls_than_the_table_holds_are_counted(many_calls: Path) -> None:
    engine = LiveEngine(LiveSettings(calls=8))
    found = followed(engine, many_calls.read_bytes())
    assert engine.held()["calls"] <= 8
    found.extend(engine.finish_live())
    told = {call.call_id for call in calls_of(found)}
    assert engine.counts().lost["calls_evicted"] >= 60 - len(told) > 0
    assert told <= {call.call_id for call in replayed(many_calls).calls}


def test_where_no_packets_come_time_goes_on_by_the_clock() -> None:
    """A point is delivered a second after its interval of 10 s is over, whether or not traffic goes on."""
    path = next(path for path in SAMPLES if path.name == "clean_pcma.pcap")
    reading, writing = os.pipe()
    engine = LiveEngine()
    found: list[Found] = []
    pipe = os.fdopen(writing, "wb", buffering=0)
    expected = sum(stream.packets for stream in replayed(path).streams)
    # The pipe stays open and silent; the clock goes on as the engine asks for it.
    writer = threading.Thread(target=pipe.write, args=(path.read_bytes(),))
    writer.start()

    def deliver(each: Found) -> None:
        found.append(each)
        if sum(point.interval.packets for each in found for point in each.points) == expected:
            writer.join()
            pipe.close()

    class Going(Steps):
        def __call__(self) -> float:
            self.seconds += 0.5
            return self.seconds

    clock = Going()
    engine.follow(Source("pipe", reading, owned=True), deliver, clock)
    assert sum(point.interval.packets for each in found for point in each.points) == expected
    assert clock.seconds < 60


def test_what_is_no_capture_is_refused_by_name() -> None:
    with pytest.raises(CaptureError, match="pipe: "):
        followed(LiveEngine(), b"GET / HTTP/1.1\r\n\r\n" * 10)


def test_a_capture_that_is_cut_is_followed_by_the_next_one(many_calls: Path) -> None:
    """A child that was killed leaves half a record; the next child's capture begins with a header."""
    data = many_calls.read_bytes()
    engine = LiveEngine()
    middle = len(data) // 2
    at = 24
    while at < middle:
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    found = followed(engine, data[: at + 20])
    found += followed(engine, PCAP_HEADER + data[at:], seed=2)
    found.extend(engine.finish_live())
    expected = replayed(many_calls)
    assert calls_of(found) == list(expected.calls)
    assert streams_of(found) == in_order(expected.streams)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_packets_are_counted_and_stop_nothing(seed: int) -> None:
    rng = random.Random(seed)
    for name in ("hold_resume.pcap", "outcomes.pcap"):
        data = bytearray(next(path for path in SAMPLES if path.name == name).read_bytes())
        for _ in range(200):
            data[rng.randrange(24, len(data))] ^= 1 << rng.randrange(8)
        engine = LiveEngine(LiveSettings(interval_s=1, rows=32, calls=4))
        found = [*followed(engine, bytes(data), seed), *engine.finish_live()]
        assert engine.held()["streams"] == 0
        assert len(calls_of(found)) < 1000
        assert engine.counts().packets > 0
