"""Calls of received messages: each told once, soon after its end, and forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from sip_scenario import ALICE, BOB, SECOND, START, Scenario, at

from collector.calls import CallAssembler, CallLimits
from collector.facts import Call, CallState, Endpoint
from collector.protocols.sip import parse
from collector.received_calls import ReceivedCalls


@dataclass
class Received(Scenario):
    """A scenario whose messages arrive when they were sent, by a receiver's clock that may differ."""

    ahead: float = 0
    """How far the sender's clock is ahead [s]."""

    def send(self, when: float, src: Endpoint, dst: Endpoint, text: str) -> None:
        assert isinstance(self.assembler, ReceivedCalls)
        self.assembler.take(parse(text.encode()), at(when + self.ahead), src, dst, "udp", at(when))


def scenario(calls: ReceivedCalls, call_id: str = "one", ahead: float = 0) -> Received:
    return Received(call_id, calls, ahead=ahead)


def test_a_call_is_told_once_five_seconds_after_its_end() -> None:
    calls = ReceivedCalls()
    one = scenario(calls)
    one.answered()
    one.hang_up(10)
    assert calls.harvest(at(14)) == []
    (call,) = calls.harvest(at(20))
    assert (call.call_id, call.state) == ("one", CallState.COMPLETED)
    assert calls.harvest(at(25)) == []
    assert calls.rest() == []


def test_a_told_call_is_the_call_of_a_capture() -> None:
    calls, capture = ReceivedCalls(), CallAssembler()
    for each in (scenario(calls), Scenario("one", capture)):
        each.answered()
        each.hang_up(10)
    expected, _ = capture.finish(at(20))
    assert tuple(calls.harvest(at(20))) == expected


def test_nothing_is_kept_of_a_call_once_copies_of_its_messages_are_over() -> None:
    calls = ReceivedCalls()
    for number in range(100):
        one = scenario(calls, f"call-{number}")
        one.answered()
        one.hang_up(10)
    assert len(calls.harvest(at(20))) == 100
    assert calls.open_legs == 100
    calls.harvest(at(60))
    assert calls.open_legs == 0
    assert not calls._groups._parent
    assert not calls._heard


def test_what_calls_announced_is_forgotten_with_them_and_what_goes_on_is_not() -> None:
    calls = ReceivedCalls()
    scenario(calls, "goes on").answered()
    for number in range(50):
        one = scenario(calls, f"call-{number}", ahead=7_200 if number % 2 else -7_200)
        one.answered()
        one.hang_up(10)
    announced = len(calls.book)
    assert announced > 100
    calls.harvest(at(20))
    assert len(calls.book) == announced, "RTCP may still come"
    for later in (60, 95):
        calls.harvest(at(later))
    assert len(calls.book) == 2, "those of the call that goes on"
    assert calls.book.forgotten == 0


def test_a_late_copy_of_a_told_call_is_no_call() -> None:
    calls = ReceivedCalls()
    one = scenario(calls)
    one.answered()
    one.hang_up(10)
    assert len(calls.harvest(at(20))) == 1
    one.hang_up(21)
    assert calls.harvest(at(30)) == []
    assert calls.harvest(at(100)) == []
    assert calls.rest() == []


def test_clocks_of_senders_do_not_matter() -> None:
    calls = ReceivedCalls()
    for call_id, ahead in (("early", -7200), ("late", 7200), ("true", 0)):
        one = scenario(calls, call_id, ahead)
        one.answered()
        one.hang_up(10)
    assert calls.harvest(at(13)) == []
    assert {call.call_id for call in calls.harvest(at(20))} == {"early", "late", "true"}
    calls.harvest(at(60))
    assert calls.open_legs == 0


def test_an_attempt_that_nobody_answers_is_told_when_its_timers_are_over() -> None:
    calls = ReceivedCalls()
    scenario(calls).request(0, ALICE, BOB, "INVITE")
    assert calls.harvest(at(200)) == []
    (call,) = calls.harvest(at(400))
    assert call.state is CallState.UNANSWERED
    assert calls.open_legs == 0


def test_a_call_whose_bye_was_lost_is_told_after_four_hours() -> None:
    calls = ReceivedCalls()
    scenario(calls).answered()
    assert calls.harvest(at(3 * 3600)) == []
    (call,) = calls.harvest(at(5 * 3600))
    assert (call.state, call.end) == (CallState.IN_PROGRESS, None)
    assert calls.open_legs == 0


def test_calls_going_on_are_told_when_the_collector_stops() -> None:
    calls = ReceivedCalls()
    scenario(calls, "up").answered()
    over = scenario(calls, "over")
    over.answered()
    over.hang_up(10)
    assert {call.call_id: call.state for call in calls.rest()} == {
        "up": CallState.IN_PROGRESS,
        "over": CallState.COMPLETED,
    }
    assert calls.rest() == []


def test_a_flood_of_calls_is_told_or_counted() -> None:
    calls = ReceivedCalls(CallLimits(max_calls=50, max_other_call_ids=10))
    for number in range(1000):
        scenario(calls, f"call-{number}").request(number / 1000, ALICE, BOB, "INVITE")
    told: list[Call] = [*calls.harvest(START + 2 * SECOND), *calls.rest()]
    assert len({call.call_id for call in told}) == len(told)
    assert len(told) + calls.unlisted == 1000
    assert calls.open_legs <= 50


def test_registrations_without_end_are_bounded() -> None:
    calls = ReceivedCalls(CallLimits(max_calls=50, max_other_call_ids=10))
    for number in range(1000):
        scenario(calls, f"register-{number}").request(number, ALICE, BOB, "REGISTER")
    assert len(calls._heard) <= 120
    calls.harvest(at(2000))
    assert not calls._heard
    assert calls.harvest(at(3000)) == []
