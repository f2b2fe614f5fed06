"""Each capture of sample_pcaps gives the answer that its endpoints and the relay wrote down (docs/samples.md)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from api.replay import replay_files
from collector.facts import Call, Replay, Stream
from collector.reader import CaptureReader

SAMPLES = Path(__file__).resolve().parents[1] / "sample_pcaps"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.pcap"))


@cache
def replayed(name: str) -> Replay:
    return replay_files([SAMPLES / f"{name}.pcap"])


@cache
def expected(name: str) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = json.loads((SAMPLES / "expected" / f"{name}.json").read_text())
    return answer


def each(kind: str, known: str = "ssrc") -> pytest.MarkDecorator:
    """One case for each call, or each stream whose answer is known in the field, of each sample."""
    cases = [(name, one) for name in NAMES for one in expected(name)[kind] if one.get(known, kind) is not None]
    return pytest.mark.parametrize(("name", "true"), cases, ids=[name for name, _ in cases])


def stream_of(name: str, true: Mapping[str, Any]) -> Stream:
    (stream,) = [one for one in replayed(name).streams if one.ssrc == int(true["ssrc"], 16)]
    return stream


def call_of(name: str, true: Mapping[str, Any]) -> Call:
    (call,) = [one for one in replayed(name).calls if one.call_id == true["call_id"]]
    return call


def test_every_sample_has_an_answer_and_every_answer_a_sample() -> None:
    assert NAMES
    assert sorted(path.stem for path in (SAMPLES / "expected").glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_read_to_the_end_without_defects(name: str) -> None:
    replay = replayed(name)
    assert replay.capture.stopped is None
    assert not replay.sip.defects
    assert not any(leg.defects for call in replay.calls for leg in call.legs)


@pytest.mark.parametrize("name", NAMES)
def test_signalling_is_counted_as_it_was_sent(name: str) -> None:
    sip, true = replayed(name).sip, expected(name)["sip"]
    heard = 2 if name == "mirrored" else 1  # that tap saw every message twice
    assert (sip.messages, sip.copies) == (heard * true["messages"], (heard - 1) * true["messages"])
    assert sip.methods == {method: heard * count for method, count in true["methods"].items()}
    assert sip.responses == {status: heard * count for status, count in true["responses"].items()}


@pytest.mark.parametrize("name", NAMES)
def test_only_the_calls_and_streams_that_took_place_are_found(name: str) -> None:
    replay, true = replayed(name), expected(name)
    assert sorted(call.call_id for call in replay.calls) == sorted(call["call_id"] for call in true["calls"])
    assert sorted(stream.ssrc for stream in replay.streams) == sorted(int(one["ssrc"], 16) for one in true["streams"])


@each("calls")
def test_calls_end_as_they_were_made_to_end(name: str, true: Mapping[str, Any]) -> None:
    call = call_of(name, true)
    assert (call.state, call.status, call.hung_up_by) == (true["state"], true["status"], true["hung_up_by"])
    assert true["from_user"] in call.from_uri
    assert true["to_user"] in call.to_uri
    (leg,) = call.legs
    assert (leg.invites, leg.forks) == (true["invites"], true["forks"])
    assert sum(span.what == "hold" for span in leg.spans) == true["holds"]


@each("streams")
def test_streams_hold_what_the_relay_let_through(name: str, true: Mapping[str, Any]) -> None:
    stream = stream_of(name, true)
    assert (stream.src, stream.dst) == ((true["src"], true["src_port"]), (true["dst"], true["dst_port"]))
    for what in ("packets", "expected", "lost", "duplicates", "mirror_copies", "reordered"):
        assert (what, getattr(stream, what)) == (what, true[what])
    assert sum(run.count for run in stream.loss_runs) == len(true["loss_runs"])
    assert sum(run.packets for run in stream.missing) == true["lost"]


@each("streams")
def test_streams_have_the_codec_that_was_negotiated(name: str, true: Mapping[str, Any]) -> None:
    stream = stream_of(name, true)
    assert (stream.codec, stream.clock_rate) == (true["codec"], true["clock_rate"])
    assert list(stream.payload_types) == true["payload_types"]
    assert stream.ptime_ms == 20
    assert stream.call_id == expected(name)["calls"][0]["call_id"]


@each("streams")
def test_keys_are_read_as_they_were_pressed(name: str, true: Mapping[str, Any]) -> None:
    assert [event.event for event in stream_of(name, true).telephone_events] == true["events"]


@each("streams", known="far_end_lost")
def test_losses_that_the_far_end_reported_are_shown(name: str, true: Mapping[str, Any]) -> None:
    far_end = stream_of(name, true).far_end
    assert far_end is not None
    assert far_end.cumulative_lost == true["far_end_lost"]


@pytest.mark.parametrize("name", NAMES)
def test_faults_are_named(name: str) -> None:
    replay = replayed(name)
    found = Counter(finding.code for call in replay.calls for finding in call.findings)
    found += Counter(finding.code for stream in replay.streams for finding in stream.findings)
    for code in expected(name)["findings"]:
        assert found[code] > 0
    if name == "clean_pcma":
        assert not found


def test_hold_lasts_as_long_as_it_was_held() -> None:
    (call,) = replayed("hold_resume").calls
    ((hold,),) = [[span for span in leg.spans if span.what == "hold"] for leg in call.legs]
    assert hold.end is not None
    assert (hold.end - hold.start) / 1e9 == pytest.approx(3.0, abs=0.5)


def test_both_directions_of_a_call_are_heard_but_of_the_blocked_one() -> None:
    directions = {name: len(replayed(name).streams) for name in NAMES if expected(name)["streams"]}
    assert directions.pop("one_way") == 1
    assert set(directions.values()) == {2}


@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_when_waiting_questions_are_answered(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In windows of a few packets each question of the kernel is answered before much was walked past it.
    monkeypatch.setattr(CaptureReader, "window", 2048)
    path = SAMPLES / f"{name}.pcap"
    small, whole = replay_files([path]), replayed(name)
    assert (small.calls, small.streams, small.sip) == (whole.calls, whole.streams, whole.sip)
