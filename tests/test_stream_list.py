"""Streams that stay in columns until somebody looks at them: nobody can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.layout import Screen
from api.rated import RatedCalls, RatedStreams, rate, rate_replay, survey
from api.replay import ReplaySettings, replay_files
from api.terminal import TextOptions, render_summary
from collector.call_list import CallList
from collector.engine import EngineLimits
from collector.facts import Replay
from collector.media.stream_list import StreamList, sketch_of
from collector.plain_calls import PlainLimits
from collector.simulator.bulk_rtp import RtpSize, write_rtp

SAMPLES = sorted((Path(__file__).resolve().parents[1] / "sample_pcaps").glob("*.pcap"))
MADE_AT_ONCE = ReplaySettings(EngineLimits(plain=PlainLimits(calls=0), plain_streams=False))
"""Neither calls nor streams stay in columns."""


@pytest.fixture(scope="module")
def bulk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bulk") / "bulk.pcap"
    write_rtp(path, RtpSize(packets=40_000, calls=40, concurrent=10))
    return path


def summary(replay: Replay, top: int, whole: bool) -> str:
    rated = rate_replay(replay) if whole else survey(replay)
    return render_summary(rated, TextOptions(replay.capture.files, top), Screen())


def both(path: Path) -> tuple[Replay, Replay]:
    return replay_files([path]), replay_files([path], MADE_AT_ONCE)


def test_most_streams_of_a_plain_capture_stay_in_columns(bulk: Path) -> None:
    streams = replay_files([bulk]).streams
    assert isinstance(streams, StreamList)
    assert sum(sketch.is_plain for sketch in streams.sketches) == len(streams) == 80


def test_calls_whose_media_is_plain_stay_in_columns(bulk: Path) -> None:
    replay = replay_files([bulk])
    assert isinstance(replay.calls, CallList)
    assert (len(replay.calls), len(replay.calls.made())) == (40, 0)
    assert all(leg.media for call in replay.calls for leg in call.legs)
    assert isinstance(survey(replay).calls, RatedCalls)


def test_a_call_heard_from_one_side_is_found_as_ever(bulk: Path, tmp_path: Path) -> None:
    octets, at, kept = bulk.read_bytes(), 24, []
    while at < len(octets):
        size = 16 + int.from_bytes(octets[at + 8 : at + 12], "little")
        answers = octets[at + 43] == 19 and octets[at + 50 : at + 52] != b"\x13\xc4"  # media from 198.19.0.0/16
        if not answers or octets[at + 45] % 4:
            kept.append(octets[at : at + size])
        at += size
    path = tmp_path / "one-way.pcap"
    path.write_bytes(octets[:24] + b"".join(kept))
    late, early = both(path)
    assert {finding.code for call in late.calls for finding in call.findings} == {"one_way_audio"}
    assert isinstance(late.calls, CallList)
    assert 0 < len(late.calls.made()) < len(late.calls)
    assert tuple(late.calls) == early.calls
    assert tuple(late.streams) == early.streams
    assert late.sip == early.sip
    assert summary(late, 5, whole=False) == summary(early, 5, whole=True)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_streams_of_the_samples_are_the_same_either_way(path: Path) -> None:
    late, early = both(path)
    assert tuple(late.streams) == early.streams
    assert tuple(late.calls) == tuple(early.calls)
    assert summary(late, 2, whole=False) == summary(early, 2, whole=True)


@pytest.mark.parametrize("top", [3, 100])
def test_the_summary_is_the_same_either_way(bulk: Path, top: int) -> None:
    late, early = both(bulk)
    assert summary(late, top, whole=False) == summary(early, top, whole=True)
    assert tuple(late.streams) == early.streams


def test_a_sketch_says_what_its_stream_says(bulk: Path) -> None:
    streams = replay_files([bulk]).streams
    assert isinstance(streams, StreamList)
    for sketch, stream in zip(streams.sketches, streams, strict=True):
        whole = sketch_of(stream)
        assert sketch._replace(findings=(), is_plain=False) == whole._replace(findings=())
        assert [each[0::2] for each in sketch.findings] == [each[0::2] for each in whole.findings]
        assert all(one.text in other.text for one, other in zip(sketch.findings, whole.findings, strict=True))


def test_scores_are_those_of_the_full_ratings(bulk: Path) -> None:
    streams = replay_files([bulk]).streams
    assert isinstance(streams, StreamList)
    assert list(RatedStreams(streams).scores) == [rate(stream).mos for stream in streams]
