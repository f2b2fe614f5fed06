"""Calls that the kernel follows are told as the assembler tells them, whatever is said in whatever order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_scenario import ALICE, BOB, CAROL, SECOND, START, sdp

from collector.call_list import CallList
from collector.calls import CallLimits
from collector.capture import columns as c
from collector.engine import Engine, EngineLimits
from collector.facts import Call, CallState, Endpoint, Replay, SipTotals
from collector.media.book import MediaBook
from collector.media.streams import address
from collector.plain_calls import PlainLimits
from collector.protocols.sip import parse
from collector.signalling import Signalling

SOME = PlainLimits(calls=100, text=1 << 16)
NONE = PlainLimits(calls=0)


@dataclass(frozen=True)
class Sent:
    """One message on its way."""

    text: bytes
    at: int
    src: Endpoint = ALICE
    dst: Endpoint = BOB
    transport: str = "udp"


@dataclass
class Feeder:
    """Feeds messages as captures bring them: datagrams in batches, others one by one."""

    plain: PlainLimits
    limits: CallLimits = field(default_factory=CallLimits)

    def __post_init__(self) -> None:
        self.book = MediaBook()
        self.signalling = Signalling(
            self.limits, self.book, lambda hi, lo, port: Endpoint(address(hi, lo), port), self.plain
        )

    def send(self, messages: Sequence[Sent], batch: int = 4096) -> None:
        waiting: list[Sent] = []
        for message in messages:
            if message.transport == "udp" and len(waiting) < batch:
                waiting.append(message)
                continue
            self._take(waiting)
            waiting = [message] if message.transport == "udp" else []
            if message.transport != "udp":
                self.signalling.feed(parse(message.text), message.at, message.src, message.dst, message.transport)
        self._take(waiting)

    def _take(self, messages: list[Sent]) -> None:
        if not messages:
            return
        packets = np.zeros((len(messages), c.PENDING_COLUMNS), np.int64)
        position = 7
        for packet, message in zip(packets, messages, strict=True):
            packet[[c.PAYLOAD, c.PAYLOAD_CAPTURED, c.PAYLOAD_LENGTH]] = position, len(message.text), len(message.text)
            packet[c.SRC_LO], packet[c.SPORT] = word(message.src.ip), message.src.port
            packet[c.DST_LO], packet[c.DPORT] = word(message.dst.ip), message.dst.port
            packet[c.PENDING_AT] = message.at
            position += len(message.text) + 3
        window = np.frombuffer(b"\0" * 7 + b"\0\0\0".join(message.text for message in messages), np.uint8)
        self.signalling.take_packets(window, packets)


def word(ip: str) -> int:
    return 0xFFFF << 32 | int.from_bytes(bytes(map(int, ip.split("."))), "big")


def told(
    messages: Sequence[Sent], plain: PlainLimits, batch: int = 4096, limits: CallLimits | None = None
) -> tuple[Sequence[Call], SipTotals]:
    feeder = Feeder(plain, limits or CallLimits())
    feeder.send(messages, batch)
    return feeder.signalling.finish(max((message.at for message in messages), default=0))


def assert_same(
    messages: Sequence[Sent], batch: int = 4096, limits: CallLimits | None = None, plain: PlainLimits = SOME
) -> Sequence[Call]:
    calls, totals = told(messages, plain, batch, limits)
    expected_calls, expected_totals = told(messages, NONE, batch, limits)
    assert totals == expected_totals
    assert tuple(calls) == tuple(expected_calls)
    if isinstance(calls, CallList):
        assert calls.states() == {state: n for state in CallState if (n := sum(call.state is state for call in calls))}
        assert sorted(calls.post_dial_delays()) == sorted(
            call.post_dial_delay_ms for call in expected_calls if call.post_dial_delay_ms is not None
        )
        assert sorted(calls.leg_call_ids()) == sorted(leg.call_id for call in expected_calls for leg in call.legs)
    return calls


def plain_of(calls: Sequence[Call]) -> int:
    return len(calls) - len(calls.made()) if isinstance(calls, CallList) else 0


# --- messages -----------------------------------------------------------------------------------------------------


def message(
    line: str,
    method: str,
    call_id: str,
    *,
    cseq: int = 1,
    tags: tuple[str, str] = ("a", ""),
    branch: str = "z9hG4bK1",
    headers: Iterable[str] = (),
    body: str = "",
    content_type: str = "application/sdp",
) -> bytes:
    lines = [
        line,
        f"Via: SIP/2.0/UDP 10.0.0.1:5060;branch={branch}",
        f"From: <sip:alice@example.com>;tag={tags[0]}",
        "To: <sip:bob@example.com>" + (f";tag={tags[1]}" if tags[1] else ""),
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        *headers,
        *([f"Content-Type: {content_type}"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", body]).encode()


def request(method: str, call_id: str, **how: object) -> bytes:
    return message(f"{method} sip:bob@example.com SIP/2.0", method, call_id, **how)  # type: ignore[arg-type]


def response(status: int, method: str, call_id: str, **how: object) -> bytes:
    return message(f"SIP/2.0 {status} Whatever", method, call_id, **how)  # type: ignore[arg-type]


AB, BA = ("a", "b"), ("b", "a")


def script(call_id: str) -> dict[str, tuple[bytes, bool]]:
    """Messages by name, and whether the caller sends them."""
    offer, answer = sdp(), sdp("10.1.0.2", 5000)
    held, fax = sdp(direction="sendonly", version=2), sdp(media="image", version=3)

    def of(raw: bytes, caller: bool = True) -> tuple[bytes, bool]:
        return raw, caller

    return {
        "invite": of(request("INVITE", call_id, body=offer)),
        "trying": of(response(100, "INVITE", call_id), False),
        "ringing": of(response(180, "INVITE", call_id, tags=AB), False),
        "progress": of(response(183, "INVITE", call_id, tags=AB, body=answer), False),
        "ok": of(response(200, "INVITE", call_id, tags=AB, body=answer), False),
        "ack": of(request("ACK", call_id, tags=AB, branch="z9hG4bKack")),
        "bye": of(request("BYE", call_id, tags=AB, cseq=9, branch="z9hG4bK9")),
        "bye ok": of(response(200, "BYE", call_id, tags=AB, cseq=9, branch="z9hG4bK9"), False),
        "bye back": of(request("BYE", call_id, tags=BA, cseq=5, branch="z9hG4bK5"), False),
        "bye back ok": of(response(200, "BYE", call_id, tags=BA, cseq=5, branch="z9hG4bK5")),
        "challenge": of(response(407, "INVITE", call_id, tags=("a", "p")), False),
        "challenge ack": of(request("ACK", call_id, tags=("a", "p"))),
        "invite 2": of(request("INVITE", call_id, cseq=2, branch="z9hG4bK2", body=offer)),
        "ringing 2": of(response(180, "INVITE", call_id, cseq=2, branch="z9hG4bK2", tags=AB), False),
        "ok 2": of(response(200, "INVITE", call_id, cseq=2, branch="z9hG4bK2", tags=AB, body=answer), False),
        "ack 2": of(request("ACK", call_id, cseq=2, tags=AB, branch="z9hG4bKack2")),
        "cancel": of(request("CANCEL", call_id)),
        "cancel ok": of(response(200, "CANCEL", call_id, tags=AB), False),
        "terminated": of(response(487, "INVITE", call_id, tags=AB), False),
        "busy": of(response(486, "INVITE", call_id, tags=AB), False),
        "timeout": of(response(408, "INVITE", call_id, tags=AB), False),
        "failure ack": of(request("ACK", call_id, tags=AB)),
        # What is not plain, each in its way.
        "stray bye": of(request("BYE", call_id, tags=("x", "y"), cseq=12, branch="z9hG4bK12")),
        "stray bye refused": of(response(481, "BYE", call_id, tags=("x", "y"), cseq=12, branch="z9hG4bK12"), False),
        "stray bye accepted": of(response(200, "BYE", call_id, tags=("x", "y"), cseq=12, branch="z9hG4bK12"), False),
        "reused": of(request("INVITE", call_id, tags=("r", ""), branch="z9hG4bKr", body=offer)),
        "reused busy": of(response(486, "INVITE", call_id, tags=("r", "s"), branch="z9hG4bKr"), False),
        "forged ok": of(response(200, "INVITE", call_id, tags=("a", "z"), branch="z9hG4bKforged"), False),
        "half a bye": of(request("BYE", call_id, tags=("a", ""), cseq=13, branch="z9hG4bK13")),
        "other fork": of(response(180, "INVITE", call_id, tags=("a", "c")), False),
        "moved": of(response(302, "INVITE", call_id, tags=AB, headers=["Contact: <sip:c@d>"]), False),
        "grown": of(response(180, "INVITE", call_id, tags=AB, headers=["Server: x"]), False),
        "held": of(request("INVITE", call_id, cseq=3, tags=AB, branch="z9hG4bK3", body=held)),
        "held ok": of(response(200, "INVITE", call_id, cseq=3, tags=AB, branch="z9hG4bK3", body=answer), False),
        "fax": of(request("INVITE", call_id, cseq=4, tags=BA, branch="z9hG4bK4", body=fax), False),
        "update": of(request("UPDATE", call_id, cseq=6, tags=AB, branch="z9hG4bK6", body=held)),
        "prack": of(request("PRACK", call_id, cseq=7, tags=AB, branch="z9hG4bK7")),
        "info": of(request("INFO", call_id, cseq=8, tags=AB, branch="z9hG4bK8")),
        "register": of(request("REGISTER", call_id, cseq=10, branch="z9hG4bK10")),
        "options": of(request("OPTIONS", call_id, cseq=11, branch="z9hG4bK11")),
        "options ok": of(response(200, "OPTIONS", call_id, cseq=11, branch="z9hG4bK11"), False),
        "named": of(request("INVITE", call_id, headers=["Session-ID: 0a1b;remote=2c"], body=offer)),
        "pointing": of(request("INVITE", call_id, headers=["X-CID: call-0@h"], body=offer)),
        "replacing": of(request("INVITE", call_id, headers=["Replaces: call-1@h;to-tag=b;from-tag=a"], body=offer)),
        "why": of(request("BYE", call_id, tags=AB, cseq=9, branch="z9hG4bK9", headers=["Reason: Q.850;cause=16"])),
        "odd": of(request("INVITE", call_id, headers=["Max-Forwards: 300"], body=offer)),
        "umlaut": of(request("ACK", call_id, tags=AB, headers=["Subject: \u00fc"])),
        "long": of(request("INVITE", call_id, headers=["X: " + "y" * 5000], body=offer)),
        "text": of(request("INVITE", call_id, body="hello", content_type="text/plain")),
        "no body": of(request("INVITE", call_id)),
        "bad sdp": of(request("INVITE", call_id, body="v=1\r\n")),
        "rubbish": of(b"INVITE me\r\n\r\n"),
    }


REUSED = ["invite", "ok", "ack", "bye", "bye ok", "reused", "reused busy"]
COMPLETED = ["invite", "trying", "ringing", "ok", "ack", "bye", "bye ok"]
FLOWS = [
    COMPLETED,
    ["invite", "trying", "progress", "ringing", "ok", "ack", "bye back", "bye back ok"],
    ["invite", "challenge", "challenge ack", "invite 2", "ringing 2", "ok 2", "ack 2", "bye", "bye ok"],
    ["invite", "trying", "ringing", "cancel", "cancel ok", "terminated", "failure ack"],
    ["invite", "trying", "ringing", "busy", "failure ack"],
    ["invite", "trying", "timeout", "failure ack"],
    ["invite", "trying", "ringing", "ok", "ack"],
    ["invite", "trying"],
    ["no body", "ringing", "ok", "ack", "bye", "bye ok"],
    ["bad sdp", "ok", "ack", "bye"],
]  # fmt: skip
GAPS = [1, 20, 49, 50, 51, 500, 2000, 33_000, 181_000]
NAMES = sorted(script("x"))


def timed(steps: Iterable[tuple[int, str, int, str]]) -> list[Sent]:
    """Messages of (call, name, gap before it in ms, transport)."""
    at = START
    sent = []
    for call, name, gap, transport in steps:
        at += gap * 1_000_000
        raw, of_caller = script(f"call-{call}@h")[name]
        src, dst = (ALICE, BOB) if of_caller else (BOB, ALICE)
        if transport == "hop":
            src = CAROL
        sent.append(Sent(raw, at, src, dst, "tcp" if transport == "tcp" and name != "rubbish" else "udp"))
    return sent


def flow(names: Iterable[str], call: int = 0, gap: int = 500) -> list[Sent]:
    return timed((call, name, gap, "udp") for name in names)


# --- promises -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", FLOWS, ids=" ".join)
def test_ordinary_calls_are_plain_and_told_alike(names: list[str]) -> None:
    calls = assert_same(flow(names))
    unacknowledged = "ok" in names and "ack" not in names
    assert plain_of(calls) == (0 if unacknowledged else 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", range(len(COMPLETED) + 1))
def test_a_message_anywhere_in_a_call_changes_nothing_but_what_it_says(name: str, place: int) -> None:
    assert_same(flow([*COMPLETED[:place], name, *COMPLETED[place:]]))


@pytest.mark.parametrize("gap", GAPS)
def test_retransmissions_and_copies_are_told_apart(gap: int) -> None:
    again = [(0, name, wait, "udp") for name in COMPLETED for wait in (500, gap)]
    assert_same(timed(again))


steps = st.tuples(
    st.integers(0, 3),
    st.sampled_from(NAMES),
    st.sampled_from(GAPS),
    st.sampled_from(["udp"] * 12 + ["tcp", "hop"]),
)


@st.composite
def captures(draw: st.DrawFn) -> list[Sent]:
    """Calls that go on side by side, with messages lost, repeated, out of order, or from another story."""
    waiting = []
    for call in range(draw(st.integers(1, 4))):
        names = list(draw(st.sampled_from(FLOWS)))
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.integers(0, len(names)))
            change = draw(st.sampled_from(["drop", "repeat", "swap", "insert"]))
            if change == "insert":
                names.insert(place, draw(st.sampled_from(NAMES)))
            elif place < len(names):
                if change == "drop":
                    del names[place]
                elif change == "repeat":
                    names.insert(place, names[place])
                else:
                    names.insert(0, names.pop(place))
        waiting.append([(call, name) for name in names])
    mixed = []
    while any(waiting):
        chosen = draw(st.sampled_from([names for names in waiting if names]))
        call, name = chosen.pop(0)
        transport = draw(st.sampled_from(["udp"] * 12 + ["tcp", "hop"]))
        mixed.append((call, name, draw(st.sampled_from(GAPS)), transport))
    return timed(mixed)


@settings(max_examples=400, deadline=None)
@given(captures(), st.sampled_from([1, 2, 3, 4096]))
def test_calls_are_told_alike_whatever_happens_to_them(messages: list[Sent], batch: int) -> None:
    assert_same(messages, batch)


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=25).map(timed))
def test_any_messages_are_told_alike(messages: list[Sent]) -> None:
    assert_same(messages)


@settings(max_examples=100, deadline=None)
@given(captures(), st.integers(1, 4))
def test_small_tables_are_told_alike(messages: list[Sent], size: int) -> None:
    assert_same(messages, limits=CallLimits(max_calls=size, max_other_call_ids=2))


@settings(max_examples=100, deadline=None)
@given(captures(), st.sampled_from([4096, 1 << 13]), st.sampled_from([200, 1500, 1 << 20]))
def test_a_packed_journal_is_told_alike(messages: list[Sent], text: int, packed: int) -> None:
    assert_same(messages, plain=PlainLimits(100, text, packed))


@settings(max_examples=200, deadline=None)
@given(captures(), st.integers(0, 30))
def test_whoever_asks_where_media_goes_hears_the_same_at_any_time(messages: list[Sent], when: int) -> None:
    answers = []
    for plain in (SOME, NONE):
        feeder = Feeder(plain)
        heard = []
        for part in (messages[:when], messages[when:]):
            feeder.send(part)
            now = part[-1].at if part else START
            for src, dst in ((("10.1.0.1", 4000), ("10.1.0.2", 5000)), (("10.1.0.2", 5000), ("10.1.0.1", 4000))):
                heard.append(feeder.book.lookup(Endpoint(*src), Endpoint(*dst), now - 10 * SECOND, now))
                heard.append(feeder.book.lookup_rtcp(Endpoint(src[0], src[1] + 1), Endpoint(*dst), now, now))
        answers.append((heard, feeder.signalling.finish(messages[-1].at if messages else 0)))
    assert answers[0] == answers[1]


def test_places_of_the_first_hold_failed_calls_and_those_with_findings() -> None:
    story = [*COMPLETED, "info"]
    messages = [
        *(sent for call in range(6) for sent in flow(FLOWS[4] if call % 2 else FLOWS[0], call)),
        *flow([*FLOWS[0], "moved"], 7),
        *flow(["invite", "moved"], 8),
        *flow(story, 9),
    ]
    calls = assert_same(messages)
    assert isinstance(calls, CallList)
    chosen = [calls[place] for place in calls.places_of_first(2)]
    assert [call.call_id for call in chosen if call.state is CallState.FAILED] == ["call-1@h", "call-3@h", "call-8@h"]
    assert "redirected" in [finding.code for call in chosen for finding in call.findings]


# --- captures -----------------------------------------------------------------------------------------------------


def replayed(path: Path, plain: PlainLimits) -> Replay:
    engine = Engine(EngineLimits(plain=plain))
    engine.read([str(path)])
    return engine.finish()


def test_real_captures_are_told_alike(shared: Path) -> None:
    for path in sorted((shared / "pcaps").glob("*.pcap*")):
        mine, reference = replayed(path, PlainLimits()), replayed(path, NONE)
        assert tuple(mine.calls) == tuple(reference.calls), path.name
        assert (mine.sip, mine.streams, mine.capture) == (reference.sip, reference.streams, reference.capture), (
            path.name
        )


def test_a_call_is_found_by_the_beginning_of_its_call_id() -> None:
    calls = assert_same(
        [sent for call in (1, 2, 12) for sent in flow(COMPLETED if call != 2 else ["invite", "moved"], call)]
    )
    assert isinstance(calls, CallList)
    found = {
        wanted: [calls[place].call_id for place in calls.places_of(wanted)] for wanted in ("call-1", "call-2@", "x")
    }
    assert found == {"call-1": ["call-12@h", "call-1@h"], "call-2@": ["call-2@h"], "x": []}


def test_a_call_that_never_stops_repeating_itself_is_told_alike() -> None:
    assert_same(flow([*COMPLETED, *["bye ok"] * 100]))
    assert_same(timed((0, name, 33_000, "udp") for name in [*COMPLETED, *["bye ok"] * 100, "invite", "busy"]))


@pytest.mark.parametrize("gap", [500, 33_000])
def test_a_call_id_used_again_is_told_alike(gap: int) -> None:
    assert_same(flow(REUSED, gap=gap))
    assert_same(flow(["invite", "busy", "failure ack", "reused", "reused busy"], gap=gap))
    assert_same(flow([*REUSED, "invite 2", "ok 2", "ack 2", "bye", "bye ok", "reused"], gap=gap))


def test_a_call_of_many_transactions_is_told_alike() -> None:
    statuses = [
        Sent(response(status, "INVITE", "call-0@h", tags=AB), START + status * SECOND) for status in range(101, 140)
    ]
    (invite,) = flow(["invite"])
    assert_same([replace(invite, at=START), *statuses])


@pytest.mark.parametrize("lines", [1, 3, 64, 65])
@pytest.mark.parametrize("limits", [CallLimits(), CallLimits(max_media=2)], ids=["usual", "small"])
def test_many_lines_of_media_are_told_alike(lines: int, limits: CallLimits) -> None:
    body = sdp() + "".join(f"m=audio {6000 + 2 * line} RTP/AVP 8\r\n" for line in range(lines))
    messages = flow(COMPLETED)
    messages[0] = replace(messages[0], text=request("INVITE", "call-0@h", body=body))
    assert_same(messages, limits=limits)


@pytest.mark.parametrize("length", [1, 8, 127, 128, 129, 300, 1100])
def test_call_ids_of_any_length_are_told_alike(length: int) -> None:
    messages = flow(COMPLETED)
    for call_id in (b"x" * length, b"x" * (length - 1) + b"y"):
        messages += [replace(sent, text=sent.text.replace(b"call-0@h", call_id)) for sent in flow(COMPLETED)]
    calls = assert_same(messages)
    assert plain_of(calls) == (3 if length <= 128 else 1)


def test_the_kernel_without_compiler_tells_the_same() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    chosen = "ordinary_calls or retransmissions or many"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", chosen, __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
