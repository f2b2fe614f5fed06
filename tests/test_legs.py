"""Legs that belong together become one call, and others do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sip_scenario import ALICE, BOB, CAROL, PROXY, START, Scenario, at, limited, sdp

from collector.calls import CallAssembler
from collector.facts import Call, CallState
from collector.legs import LegGroups

A = "a" * 32
B = "b" * 32
C = "c" * 32
NIL = "0" * 32


def through_b2bua(
    first: tuple[str, ...] = (), second: tuple[str, ...] = (), assembler: CallAssembler | None = None
) -> CallAssembler:
    """ALICE calls PROXY, which calls BOB under another Call-ID; the headers go into the two INVITEs."""
    assembler = assembler or CallAssembler()
    one = Scenario("leg-1", assembler)
    two = Scenario("leg-2", assembler)
    one.request(0, ALICE, PROXY, "INVITE", headers=first)
    two.request(0.1, PROXY, BOB, "INVITE", headers=second)
    two.response(1.0, BOB, PROXY, 180, "Ringing")
    one.response(1.1, PROXY, ALICE, 180, "Ringing")
    two.response(3.0, BOB, PROXY, 200, "OK")
    two.request(3.05, PROXY, BOB, "ACK", to_tag="b")
    one.response(3.1, PROXY, ALICE, 200, "OK")
    one.request(3.2, ALICE, PROXY, "ACK", to_tag="b")
    two.request(60, BOB, PROXY, "BYE", 1, from_tag="b", to_tag="a")
    one.request(60.1, PROXY, ALICE, "BYE", 1, from_tag="b", to_tag="a")
    return assembler


def joined(assembler: CallAssembler) -> Call:
    calls, totals = assembler.finish(at(100))
    (call,) = calls
    assert totals.metrics.attempts == 1
    return call


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ((f"Session-ID: {A};remote={NIL}",), (f"Session-ID: {A};remote={NIL}",), "session-id"),
        ((f"Session-ID: {A.upper()}",), (f"Session-ID: {A};remote={NIL}",), "session-id"),
        ((), ("X-CID: leg-1",), "X-CID"),
        ((), ("X-Call-ID: leg-1",), "X-Call-ID"),
        ((), ("X-Original-Call-ID: leg-1",), "X-Original-Call-ID"),
        (("X-CID: leg-2",), (), "X-CID"),
        (("Cisco-Guid: 1-2-3-4",), ("Cisco-Guid: 1-2-3-4",), "Cisco-Guid"),
        (
            ('P-Charging-Vector: icid-value="AyretyU0dm+6O2IrT5tAFrbHLso=";orig-ioi=home1',),
            ("P-Charging-Vector: icid-value=AyretyU0dm+6O2IrT5tAFrbHLso=",),
            "P-Charging-Vector",
        ),
    ],
)
def test_headers_join_the_two_legs_of_a_b2bua(first: tuple[str, ...], second: tuple[str, ...], name: str) -> None:
    call = joined(through_b2bua(first, second))
    assert [leg.call_id for leg in call.legs] == ["leg-1", "leg-2"]
    assert call.joined_by == (name,)
    assert (call.call_id, call.state, call.answered, call.end) == ("leg-1", CallState.COMPLETED, at(3.1), at(60.1))
    assert call.hung_up_by == "callee"


def test_media_that_passes_through_joins() -> None:
    assembler = through_b2bua()
    assembler.join_by_media([("leg-1", "leg-2"), ("leg-1", "never seen")])
    assert joined(assembler).joined_by == ("media",)


def test_legs_without_evidence_stay_apart() -> None:
    calls, totals = through_b2bua((f"Session-ID: {A};remote={NIL}",), (f"Session-ID: {B};remote={NIL}",)).finish(at(99))
    assert [len(call.legs) for call in calls] == [1, 1]
    assert [call.joined_by for call in calls] == [(), ()]
    assert totals.metrics.attempts == 2


def test_a_nil_session_identifier_joins_nobody() -> None:
    calls, _ = through_b2bua((f"Session-ID: {NIL}",), (f"Session-ID: {NIL};remote={NIL}",)).finish(at(99))
    assert len(calls) == 2


def test_a_session_id_that_only_responses_carry_joins() -> None:
    assembler = CallAssembler()
    one, two = Scenario("leg-1", assembler), Scenario("leg-2", assembler)
    one.request(0, ALICE, PROXY, "INVITE")
    two.request(0.1, PROXY, BOB, "INVITE", headers=(f"Session-ID: {A};remote={NIL}",))
    two.response(1, BOB, PROXY, 180, "Ringing", headers=(f"Session-ID: {B};remote={A}",))
    one.response(1.1, PROXY, ALICE, 180, "Ringing", headers=(f"Session-ID: {B};remote={A}",))
    call = joined(assembler)
    assert [leg.session_id for leg in call.legs] == [f"{A};remote={B}", f"{A};remote={B}"]


def test_participants_of_a_conference_share_a_half_and_are_not_one_call() -> None:
    assembler = CallAssembler()
    for number, caller in enumerate((A, B)):
        scenario = Scenario(f"leg-{number}", assembler)
        scenario.request(number, ALICE, BOB, "INVITE", headers=(f"Session-ID: {caller};remote={NIL}",))
        scenario.response(number + 0.5, BOB, ALICE, 200, "OK", headers=(f"Session-ID: {C};remote={caller}",))
    assert len(assembler.finish(at(10))[0]) == 2


def test_a_recorder_leg_is_a_leg_and_no_attempt() -> None:
    guid = ("Cisco-Guid: 1105917738-1959334377-2684127762-1015028268",)
    assembler = through_b2bua(guid, guid)
    recorder = Scenario("leg-3", assembler)
    recorder.request(3.3, PROXY, CAROL, "INVITE", headers=guid, body=sdp(direction="sendonly"))
    recorder.response(3.4, CAROL, PROXY, 200, "OK", body=sdp("10.1.0.3", 6000, direction="recvonly"))
    recorder.request(60.2, PROXY, CAROL, "BYE", 2, to_tag="b")
    call = joined(assembler)
    assert [leg.call_id for leg in call.legs] == ["leg-1", "leg-2", "leg-3"]
    assert (call.end, call.hung_up_by) == (at(60.1), "callee")


def test_a_siprec_session_joins_the_call_that_its_metadata_names() -> None:
    assembler = CallAssembler()
    call = Scenario("call", assembler)
    call.request(0, ALICE, BOB, "INVITE", headers=(f"Session-ID: {A};remote={NIL}",))
    call.response(1, BOB, ALICE, 200, "OK", headers=(f"Session-ID: {B};remote={A}",))
    metadata = f"<recording><session><sipSessionID>{B};remote={A}</sipSessionID></session></recording>"
    recorder = Scenario("recorder", assembler)
    recorder.request(1.5, PROXY, CAROL, "INVITE", body=metadata, content_type="application/rs-metadata+xml")
    assert [leg.call_id for leg in joined(assembler).legs] == ["call", "recorder"]


def test_replaces_joins_and_the_call_ends_with_the_leg_that_took_over() -> None:
    assembler = CallAssembler()
    old, new = Scenario("old@example.com", assembler), Scenario("new@example.com", assembler)
    old.answered()
    new.request(10, CAROL, ALICE, "INVITE", headers=("Replaces: old@example.com;to-tag=b;from-tag=a",))
    new.response(10.1, ALICE, CAROL, 200, "OK")
    new.request(10.2, CAROL, ALICE, "ACK", to_tag="b")
    old.request(10.3, ALICE, BOB, "BYE", 2, to_tag="b")
    new.request(50, CAROL, ALICE, "BYE", 2, to_tag="b")
    call = joined(assembler)
    assert call.joined_by == ("replaces",)
    assert [leg.replaces for leg in call.legs] == [None, "old@example.com"]
    assert (call.answered, call.end, call.duration_ms) == (at(3), at(50), 47000.0)


def test_refer_to_with_replaces_joins_the_consultation() -> None:
    assembler = CallAssembler()
    call = Scenario("call@example.com", assembler)
    consultation = Scenario("consult@example.com", assembler)
    call.answered()
    consultation.answered(start=5)
    target = "Refer-To: <sip:carol@example.com?Replaces=consult%40example.com%3Bto-tag%3Db%3Bfrom-tag%3Da>"
    call.request(12, ALICE, BOB, "REFER", 2, to_tag="b", headers=(target,))
    result = joined(assembler)
    assert [leg.call_id for leg in result.legs] == ["call@example.com", "consult@example.com"]
    assert result.legs[0].transferred_to == "sip:carol@example.com"


def test_the_leg_with_its_invite_stands_for_the_call() -> None:
    assembler = CallAssembler()
    middle, whole = Scenario("middle", assembler), Scenario("whole", assembler)
    middle.request(0, ALICE, BOB, "INVITE", 7, to_tag="b", headers=(f"Session-ID: {A};remote={B}",))
    whole.request(1, CAROL, BOB, "INVITE", headers=(f"Session-ID: {A};remote={NIL}",))
    whole.response(2, BOB, CAROL, 486, "Busy Here")
    call = joined(assembler)
    assert (call.call_id, call.start, call.state, call.status) == ("whole", at(1), CallState.FAILED, 486)


def test_a_value_that_everybody_sends_joins_no_more_than_the_limit() -> None:
    assembler = limited(max_legs=8)
    for number in range(100):
        Scenario(f"leg-{number}", assembler).request(number, ALICE, BOB, "INVITE", headers=("X-CID: 1",))
    calls, _ = assembler.finish(at(200))
    assert sum(len(call.legs) for call in calls) == 100
    assert max(len(call.legs) for call in calls) <= 8


def test_groups_forget_members_and_keep_the_rest_together() -> None:
    groups = LegGroups(limit=8)
    for call_id in ("one", "two", "three"):
        groups.note(call_id, "cisco-guid", "same")
    groups.forget("one", [("cisco-guid", "same")])
    assert sorted(groups.members("two")) == ["three", "two"]
    assert groups.joined_by("three") == ("Cisco-Guid",)
    groups.forget("two", [("cisco-guid", "same")])
    assert tuple(groups.members("three")) == ("three",)
    assert groups.joined_by("three") == ()
    groups.note("four", "cisco-guid", "same")
    assert tuple(groups.members("four")) == ("four",)


def test_joining_is_the_same_in_any_order() -> None:
    pairs = [("a", "b"), ("c", "d"), ("b", "c"), ("e", "f"), ("a", "d")]
    for turn in range(len(pairs)):
        groups = LegGroups(limit=8)
        for one, other in pairs[turn:] + pairs[:turn]:
            groups.join(one, other, "media")
        assert {frozenset(groups.members(name)) for name in "abcdef"} == {frozenset("abcd"), frozenset("ef")}


def test_starts_are_in_order() -> None:
    calls, _ = through_b2bua().finish(at(99))
    assert [call.start for call in calls] == [START, at(0.1)]


def test_a_refused_transfer_ends_with_its_own_bye_not_with_the_consultation() -> None:
    assembler = CallAssembler()
    call, consultation = Scenario("call", assembler), Scenario("consult", assembler)
    call.answered()
    consultation.answered(start=5)
    target = "Refer-To: <sip:carol@example.com?Replaces=consult%3Bto-tag%3Db%3Bfrom-tag%3Da>"
    call.request(12, ALICE, BOB, "REFER", 2, to_tag="b", headers=(target,))
    call.response(12.1, BOB, ALICE, 488, "Not Acceptable Here", "REFER", 2)
    call.request(20, BOB, ALICE, "BYE", 1, from_tag="b", to_tag="a")
    consultation.hang_up(30)
    result = joined(assembler)
    assert (result.end, result.hung_up_by) == (at(20), "callee")
    assert "transfer_failed" in [finding.code for finding in result.findings]


names = st.sampled_from("abcdefgh")


@given(st.lists(st.one_of(st.tuples(names, names), st.tuples(names)), max_size=40))
def test_groups_agree_with_a_plain_partition(actions: list[tuple[str, ...]]) -> None:
    groups = LegGroups(limit=100)
    partition = [{name} for name in "abcdefgh"]
    for action in actions:
        if len(action) == 1:
            groups.forget(action[0], [])
            partition = [part - {action[0]} for part in partition] + [{action[0]}]
        else:
            groups.join(action[0], action[1], "media")
            touched = [part for part in partition if part & set(action)]
            partition = [part for part in partition if part not in touched] + [set().union(*touched)]
    for part in partition:
        for name in part:
            assert set(groups.members(name)) == part
