"""The assembler on captures that go on for long, or that want to exhaust it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from sip_scenario import ALICE, BOB, CAROL, PROXY, Scenario, at, limited, sdp

from collector.calls import CallAssembler, CallLimits
from collector.facts import CallState, Endpoint
from collector.protocols.sip import SipError, parse


def test_a_call_is_given_once_when_its_grace_is_over_and_again_at_the_end() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.hang_up(10)
    assert scenario.assembler.ended() == []
    Scenario("other", scenario.assembler).request(14, CAROL, BOB, "OPTIONS")
    assert scenario.assembler.ended() == []
    Scenario("another", scenario.assembler).request(16, CAROL, BOB, "OPTIONS")
    (call,) = scenario.assembler.ended()
    assert (call.call_id, call.state) == (scenario.call_id, CallState.COMPLETED)
    assert scenario.assembler.ended() == []
    calls, totals = scenario.assembler.finish(at(17))
    assert calls == (call,)
    assert totals.metrics.attempts == 1


def test_calls_are_given_as_they_end() -> None:
    assembler = CallAssembler()
    given_ids = []
    for number in range(10):
        scenario = Scenario(f"call-{number}", assembler)
        scenario.request(number * 10, ALICE, BOB, "INVITE")
        scenario.response(number * 10 + 1, BOB, ALICE, 486, "Busy Here")
        given_ids += [call.call_id for call in assembler.ended()]
    assert given_ids == [f"call-{number}" for number in range(9)]


def test_a_call_id_used_for_ever_is_bounded_and_every_attempt_counted() -> None:
    assembler = limited(max_calls=4)
    given_states = []
    for number in range(50):
        scenario = Scenario("one", assembler)
        scenario.request(number * 60, ALICE, BOB, "INVITE", from_tag=f"r{number}")
        scenario.response(number * 60 + 1, BOB, ALICE, 486, "Busy Here", from_tag=f"r{number}", to_tag="s")
        given_states += [(call.start, call.state) for call in assembler.ended()]
    calls, totals = assembler.finish(at(3000))
    assert given_states == [(at(number * 60), CallState.FAILED) for number in range(49)]
    assert [call.start for call in calls] == [at(number * 60) for number in range(46, 50)]
    assert (totals.metrics.attempts, totals.call_ids, totals.unlisted) == (50, 1, 46)


def test_a_joined_call_is_given_when_its_last_leg_ended() -> None:
    assembler = CallAssembler()
    first, second = Scenario("one", assembler), Scenario("two", assembler)
    first.answered()
    second.request(0.5, PROXY, BOB, "INVITE", headers=("X-CID: one",))
    second.response(2, BOB, PROXY, 200, "OK")
    first.hang_up(20)
    Scenario("clock", assembler).request(40, CAROL, BOB, "OPTIONS")
    assert assembler.ended() == []
    second.request(41, BOB, PROXY, "BYE", 1, from_tag="b", to_tag="a")
    Scenario("clock", assembler).request(60, CAROL, BOB, "OPTIONS", 2)
    (call,) = assembler.ended()
    assert [leg.call_id for leg in call.legs] == ["one", "two"]


def test_a_challenge_is_not_given_as_an_ended_call() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(0.1, BOB, ALICE, 401, "Unauthorized")
    Scenario("clock", scenario.assembler).request(40, CAROL, BOB, "OPTIONS")
    assert scenario.assembler.ended() == []


def test_messages_long_after_the_end_do_not_begin_a_new_call() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.hang_up(10)
    for number in range(3):
        Scenario(f"later-{number}", scenario.assembler).request(100 + number, ALICE, BOB, "INVITE")
    scenario.request(110, ALICE, BOB, "BYE", 9, to_tag="b")
    calls, totals = scenario.finish()
    assert (len(calls), calls[0].end, calls[0].legs[0].retransmissions) == (4, at(10), 1)
    assert totals.retransmissions == 1


def test_finished_calls_make_room_before_running_ones() -> None:
    assembler = limited(max_calls=3)
    Scenario("running", assembler).answered()
    for number in range(10):
        scenario = Scenario(f"failed-{number}", assembler)
        scenario.request(10 + number, ALICE, BOB, "INVITE")
        scenario.response(10.5 + number, BOB, ALICE, 486, "Busy Here")
    calls, totals = assembler.finish(at(60))
    assert [call.call_id for call in calls] == ["running", "failed-8", "failed-9"]
    assert (totals.unlisted, totals.metrics.attempts) == (8, 11)


def test_very_many_call_ids_keep_the_tables_at_their_size() -> None:
    assembler = CallAssembler(CallLimits(max_calls=100, max_other_call_ids=50))
    invite = b"INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>\r\n"
    for number in range(20_000):
        method = (b"INVITE", b"REGISTER")[number % 2]
        data = invite.replace(b"INVITE", method) + b"Call-ID: %d\r\nCSeq: 1 %s\r\n\r\n" % (number, method)
        assembler.feed(parse(data), at(number * 0.001), ALICE, BOB, "udp")
    calls, totals = assembler.finish(at(100))
    assert len(calls) == 100
    assert (totals.call_ids, totals.unlisted, totals.metrics.attempts) == (20_000, 9_900 + 9_950, 10_000)
    assert totals.metrics.ineffective_registration_percent == 100.0


def test_very_many_methods_statuses_and_transactions_stay_bounded() -> None:
    assembler = CallAssembler()
    for number in range(3000):
        text = (
            f"M{number} sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{number}\r\nFrom: <sip:a>;tag=1\r\n"
            f"To: <sip:b>\r\nCall-ID: one\r\nCSeq: {number} M{number}\r\n\r\n"
        )
        assembler.feed(parse(text.encode()), at(number), ALICE, BOB, "udp")
    _, totals = assembler.finish(at(4000))
    assert sum(totals.methods.values()) == 3000
    assert len(totals.methods) <= 257
    assert len(totals.transactions) <= 257


def test_very_many_forks_and_hops_stay_bounded() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE", body=sdp())
    for number in range(1000):
        source = Endpoint(f"10.2.{number // 250}.{number % 250}", 5060)
        scenario.request(0.1, source, BOB, "INVITE", branch=f"z9hG4bK-f{number}", body=sdp(port=2000 + 2 * number))
        answer = sdp("10.1.0.2", 2000 + 2 * number)
        scenario.response(1, source, ALICE, 183, "Session Progress", to_tag=f"t{number}", body=answer)
        scenario.response(2, source, ALICE, 200, "OK", to_tag=f"t{number}", body=answer)
    leg = scenario.leg()
    assert leg.forks <= 32
    assert len(leg.media) <= 64


def test_a_message_without_a_call_id_is_counted_and_makes_no_call() -> None:
    assembler = CallAssembler()
    assembler.feed(parse(b"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n"), at(0), ALICE, BOB, "udp")
    calls, totals = assembler.finish(at(1))
    assert calls == ()
    assert totals.methods == {"INVITE": 1}


def test_identifiers_and_texts_of_any_length_are_not_kept() -> None:
    scenario = Scenario(call_id="x" * 5000)
    scenario.request(0, ALICE, BOB, "INVITE")
    calls, totals = scenario.finish()
    assert (calls, totals.messages, totals.defects["identifier_too_long"]) == ((), 1, 1)

    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", headers=tuple(f"X-CID: {number}{'y' * 2000}" for number in range(100)))
    scenario.response(1, BOB, ALICE, 500, "z" * 9000)
    leg = scenario.leg()
    assert len(leg.status_text or "") == 1024
    assert leg.state is CallState.FAILED


METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "REFER", "NOTIFY", "REGISTER", "OPTIONS", "INFO")
BODIES = ("", sdp(), sdp(direction="inactive"), sdp("0.0.0.0"), sdp(media="image"), "v=0\r\nm=audio", "SIP/2.0 486 x")
tags = st.sampled_from(("", "a", "b", "c"))
steps = st.tuples(
    st.sampled_from(METHODS),
    st.sampled_from((0, 100, 180, 183, 200, 202, 302, 401, 407, 422, 480, 486, 487, 503, 603)),
    st.integers(0, 3),
    tags,
    tags,
    st.sampled_from(BODIES),
    st.sampled_from(("", "z9hG4bK-x", "z9hG4bK-y")),
    st.sampled_from((0.0, 0.001, 0.6, 40.0, 200.0)),
    st.booleans(),
    st.sampled_from(("one", "two")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=30))
def test_any_order_of_messages_gives_consistent_facts(
    script: list[tuple[str, int, int, str, str, str, str, float, bool, str]],
) -> None:
    assembler = CallAssembler()
    now = 0.0
    for method, status, cseq, from_tag, to_tag, body, branch, wait, forward, call_id in script:
        now += wait
        scenario = Scenario(call_id, assembler)
        src, dst = (ALICE, BOB) if forward else (BOB, ALICE)
        headers = ("X-CID: one", "Replaces: two;to-tag=a;from-tag=b", "Refer-To: <sip:c@d?Replaces=one>")
        if status:
            scenario.response(
                now, src, dst, status, "R", method, cseq, from_tag=from_tag, to_tag=to_tag, branch=branch, body=body
            )
        else:
            scenario.request(
                now, src, dst, method, cseq, from_tag=from_tag, to_tag=to_tag, branch=branch, headers=headers, body=body
            )
    calls, totals = assembler.finish(at(now))
    assert totals.messages == len(script)
    assert totals.messages == sum(totals.methods.values()) + sum(totals.responses.values())
    # An ended call's Call-ID may begin another call; no message belongs to two of them.
    assert sum(leg.messages for call in calls for leg in call.legs) <= len(script)
    assert all(len({leg.call_id for leg in call.legs}) <= 2 for call in calls)
    for call in calls:
        assert (call.duration_ms is None) or call.duration_ms >= 0
        for leg in call.legs:
            assert (leg.state is CallState.COMPLETED) <= (leg.end is not None)
            assert (leg.answered is not None) <= (leg.state in (CallState.COMPLETED, CallState.IN_PROGRESS))
            assert leg.ringing is None or leg.ringing >= leg.start
            assert all(media.until is None or media.until >= media.since for media in leg.media)
            assert all(span.end is None or span.end >= span.start for span in leg.spans)
            if leg.end is not None:
                assert all(media.until is not None for media in leg.media)


@given(st.binary(max_size=200))
def test_whatever_parses_can_be_fed(noise: bytes) -> None:
    assembler = CallAssembler()
    for data in (noise, b"SIP/2.0 200 OK\r\n" + noise, b"INVITE sip:b SIP/2.0\r\nCall-ID: 1\r\n" + noise):
        try:
            message = parse(data)
        except SipError as error:
            assembler.feed_defect(error.defect)
        else:
            assembler.feed(message, at(0), ALICE, BOB, "udp")
    _, totals = assembler.finish(at(0))
    assert totals.messages + sum(totals.defects.values()) >= 3
