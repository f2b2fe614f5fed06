"""Received calls that stay in columns are told, and become rows, as the assembler's are, whatever comes in between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_scenario import ALICE, BOB, SECOND, START
from test_plain_calls import COMPLETED, FLOWS, NAMES, Sent, captures, flow, request, response, steps, timed

from api.collecting import LiveRows
from collector.calls import CallLimits
from collector.capture import columns as c
from collector.facts import Call, Endpoint
from collector.live.source import Found
from collector.protocols.hep import SIP
from collector.protocols.sip import SipError, parse
from collector.received_calls import ReceivedCalls
from collector.received_list import ReceivedCallList
from collector.received_plain import ReceivedSip
from collector.receivers.hep_frames import Frames, ReceivedMessage, with_messages

LIMITS = CallLimits(max_calls=100, max_other_call_ids=50, max_steps=64)
Part = tuple[list[Sent], int]
"""Messages that come together, and how long nothing comes after them [s]; then somebody asks."""


def batch_of(messages: Sequence[Sent], arrived: int) -> Frames:
    received = [
        ReceivedMessage(each.at, arrived, each.src, each.dst, each.transport, SIP, each.text, None, None)
        for each in messages
    ]
    rows = np.zeros((len(received), c.PENDING_COLUMNS), np.int64)
    made = with_messages(Frames(np.zeros(0, np.uint8), rows), dict(enumerate(received)))
    assert made is not None
    return made


def in_columns(parts: Iterable[Part], calls: ReceivedSip) -> list[list[Call]]:
    """What is told after each part, and at the end."""
    found, arrived = [], START
    for messages, pause in parts:
        batch = batch_of(messages, arrived)
        calls.take_packets(batch.window, batch.rows, arrived)
        arrived += pause * SECOND
        found.append(list(calls.harvest(arrived)))
    return [*found, list(calls.rest())]


def one_by_one(parts: Iterable[Part], calls: ReceivedCalls) -> list[list[Call]]:
    found, arrived = [], START
    for messages, pause in parts:
        for each in messages:
            try:
                message = parse(each.text)
            except SipError:
                continue
            calls.take(message, each.at, each.src, each.dst, each.transport, arrived)
        arrived += pause * SECOND
        found.append(list(calls.harvest(arrived)))
    return [*found, list(calls.rest())]


def in_order(calls: Iterable[Call]) -> list[Call]:
    return sorted(calls, key=lambda call: (call.start, call.call_id, repr(call)))


def assert_same(parts: Sequence[Part]) -> None:
    found = in_columns(parts, ReceivedSip(LIMITS))
    expected = one_by_one(parts, ReceivedCalls(LIMITS))
    assert list(map(in_order, found)) == list(map(in_order, expected))


@st.composite
def parts_of(draw: st.DrawFn, messages: st.SearchStrategy[list[Sent]]) -> list[Part]:
    """Messages cut into what comes together.

    Whoever begins a call makes transactions forgotten of those that ended half a minute before, by the senders' clocks:
    so it matters who is forgotten first, where both the senders' time and ours pass. Here it is either.
    """
    left = draw(messages)
    long = left[-1].at - left[0].at > 30 * SECOND if left else False
    parts = []
    while left:
        size = draw(st.integers(1, len(left)))
        parts.append(
            (left[:size], draw(st.sampled_from([0, 1, 4, 6] if long else [0, 1, 4, 6, 20, 33, 400, 5 * 3600])))
        )
        left = left[size:]
    return parts


@pytest.mark.parametrize("names", FLOWS, ids=" ".join)
def test_ordinary_calls_are_told_alike(names: list[str]) -> None:
    assert_same([(flow(names), 0)])
    assert_same([(flow(names), 6)])
    assert_same([([each], 6) for each in flow(names)])


@pytest.mark.parametrize("name", NAMES)
def test_a_message_after_a_call_was_told_is_taken_alike(name: str) -> None:
    messages = flow([*COMPLETED, name])
    for pause in (6, 33, 40):
        assert_same([(messages[:-1], pause), (messages[-1:], pause), (messages[-1:], pause)])


def test_octets_that_are_no_message_say_nothing_of_the_time() -> None:
    assert_same([(timed([(0, "invite", 1, "udp"), (0, "rubbish", 33_000, "udp")]), 0)])


@settings(max_examples=400, deadline=None)
@given(parts_of(captures()))
def test_calls_are_told_alike_whatever_happens_to_them(parts: list[Part]) -> None:
    assert_same(parts)


@settings(max_examples=200, deadline=None)
@given(parts_of(st.lists(steps, max_size=25).map(timed)))
def test_any_messages_are_told_alike(parts: list[Part]) -> None:
    assert_same(parts)


def rows_of(calls: Sequence[Call]) -> dict[str, pa.Table]:
    made = LiveRows("here", None).rows(Found(START, calls=calls))
    return {
        name: table.sort_by([(column, "ascending") for column in table.column_names]) for name, table in made.items()
    }


def assert_rows_same(messages: Sequence[Sent]) -> ReceivedCallList:
    calls = ReceivedSip(LIMITS)
    batch = batch_of(messages, START)
    calls.take_packets(batch.window, batch.rows, START)
    told = calls.rest()
    assert isinstance(told, ReceivedCallList)
    assert rows_of(told) == rows_of(list(told))
    return told


@settings(max_examples=300, deadline=None)
@given(captures())
def test_rows_made_of_columns_are_those_of_the_calls(messages: list[Sent]) -> None:
    assert_rows_same(messages)


PARTIES = [
    "<sip:alice@example.com>;tag=a",
    "sip:alice@example.com;tag=a",
    '"Alice" <sip:alice@example.com>;tag=a',
    '"<sip:mallory@x>" <sip:alice@example.com>;tag=a',
    "Alice <sips:+44.20-79460123@[2001:db8::1]:5061;transport=tcp>;tag=a",
    "<sip:al%69ce@example.com>;tag=a",
    "<sip:alice;phone-context=x@example.com>;tag=a",
    "<sip:alice:secret@example.com>;tag=a",
    "<SIP:alice@example.com>;tag=a",
    "<sip:example.com>;tag=a",
    "<sip:192.0.2.7>;tag=a",
    "<tel:+442079460123>;tag=a",
    "<urn:service:sos>;tag=a",
    "<sip:a@b?Subject=c%40d>;tag=a",
    "<sip:alice@" + "h" * 300 + ".example>;tag=a",
    "<sip:" + "1" * 90 + "@example.com>;tag=a",
]


@pytest.mark.parametrize("name", ["From", "f", "FROM"])
@pytest.mark.parametrize("party", PARTIES)
def test_numbers_are_read_alike_of_any_party(party: str, name: str) -> None:
    sent = []
    for number, each in enumerate(flow(COMPLETED)):
        text = each.text.replace(b"From: <sip:alice@example.com>;tag=a", f"{name}: {party}".encode())
        text = text.replace(b"To: <sip:bob@example.com>", b"To: " + party.partition(";tag")[0].encode())
        sent.append(Sent(text, START + number, each.src, each.dst))
    assert_rows_same(sent)


def test_a_party_that_stands_in_a_body_is_nobody() -> None:
    body = "v=0\r\nFrom: <sip:mallory@example.com>\r\n"
    sent = [
        Sent(request("INVITE", "one", body=body).replace(b"<sip:alice@example.com>", b"<tel:1>"), START),
        Sent(response(486, "INVITE", "one", tags=("a", "b")), START + SECOND, BOB, ALICE),
    ]
    assert len(assert_rows_same(sent)) == 1


@pytest.mark.parametrize("ends", [("2001:db8::1", "2001:db8::2"), ("10.0.0.1", "10.0.0.1"), ("::1", "fe80::1")])
def test_addresses_of_both_families_are_written_alike(ends: tuple[str, str]) -> None:
    one, other = Endpoint(ends[0], 5060), Endpoint(ends[1], 65_535)
    sent = [
        Sent(each.text, each.at, *((one, other) if each.src == ALICE else (other, one))) for each in flow(COMPLETED)
    ]
    assert len(assert_rows_same(sent).plain) == 1


def many(count: int) -> list[Sent]:
    return timed((number, name, 1, "udp") for number in range(count) for name in COMPLETED)


@pytest.mark.parametrize("size", [1, 2, 10, 64])
@pytest.mark.parametrize("at_once", [1, 7, 700])
def test_full_tables_tell_every_call_once_and_lose_none_while_somebody_fetches(size: int, at_once: int) -> None:
    calls = ReceivedSip(CallLimits(max_calls=size, max_other_call_ids=2, max_steps=64), text=1 << 16)
    told: list[Call] = []
    messages = many(100)
    for place in range(0, len(messages), at_once):
        batch = batch_of(messages[place : place + at_once], START)
        for begin in range(0, len(batch.rows), 4):
            calls.take_packets(batch.window, batch.rows[begin : begin + 4], START)
            told += calls.harvest(START)
    told += calls.rest()
    assert calls.unlisted == 0
    found = sorted(call.call_id for call in told)
    assert sorted(set(found)) == sorted(f"call-{number}@h" for number in range(100))
    assert len(found) == 100 or size < 10, "a call was forgotten before its last message"


def test_calls_past_what_may_wait_are_counted() -> None:
    calls = ReceivedSip(CallLimits(max_calls=10, max_other_call_ids=2, max_steps=64), text=1 << 16)
    for each in range(0, 700, 7):
        batch = batch_of(many(100)[each : each + 7], START)
        calls.take_packets(batch.window, batch.rows, START)
    assert calls.crowded
    assert len(calls.rest()) + calls.unlisted == 100


def test_calls_that_go_on_outlast_full_tables() -> None:
    calls = ReceivedSip(CallLimits(max_calls=100, max_other_call_ids=2, max_steps=64), text=1 << 16)
    going_on = [
        Sent(each.text.replace(b"call-0@h", f"going-on-{number}@h".encode()), each.at, each.src, each.dst)
        for number in range(80)
        for each in flow(COMPLETED)[:5]
    ]
    ends = [
        Sent(each.text.replace(b"call-0@h", f"going-on-{number}@h".encode()), each.at, each.src, each.dst)
        for number in range(80)
        for each in flow(COMPLETED)[5:]
    ]
    told: list[Call] = []
    for message in [*going_on, *many(300), *ends]:
        batch = batch_of([message], START)
        calls.take_packets(batch.window, batch.rows, START)
        told += calls.harvest(START)
    told += calls.rest()
    found = {call.call_id: call for call in told if call.call_id.startswith("going-on")}
    assert (len(found), calls.unlisted) == (80, 0)
    assert {len(call.legs[0].steps) for call in found.values()} == {7}


def test_nothing_is_kept_of_calls_that_were_told() -> None:
    calls = ReceivedSip(LIMITS)
    for round_number in range(3):
        for place in range(0, 420, 70):
            batch = batch_of(many(60)[place : place + 70], START + round_number * 100 * SECOND)
            calls.take_packets(batch.window, batch.rows, START + round_number * 100 * SECOND)
        assert len(calls.harvest(START + (round_number * 100 + 20) * SECOND)) == 60
        assert calls.open_legs == 60
        assert not calls.harvest(START + (round_number * 100 + 40) * SECOND)
        assert calls.open_legs == 0


def test_media_of_plain_calls_is_found_while_it_is_asked_for_and_when_rows_move() -> None:
    calls = ReceivedSip(LIMITS)
    going_on, over = flow(COMPLETED[:5]), many(60)[7:]
    reference = ReceivedCalls(LIMITS)
    for messages in (over[:210], going_on, over[210:]):
        batch = batch_of(messages, START)
        calls.take_packets(batch.window, batch.rows, START)
        for each in messages:
            reference.take(parse(each.text), each.at, each.src, each.dst, "udp", START)
        ends = Endpoint("10.1.0.1", 4000), Endpoint("10.1.0.2", 5000), START, START + 3600 * SECOND
        found, wanted = calls.book.lookup(*ends), reference.book.lookup(*ends)
        assert (found is None) == (wanted is None)
        calls.harvest(START + 20 * SECOND)
        reference.harvest(START + 20 * SECOND)
        calls.harvest(START + 50 * SECOND)
        reference.harvest(START + 50 * SECOND)
