"""One call as the assembler sees it: outcomes, transactions, retransmissions, forks."""

from __future__ import annotations

import pytest
from sip_scenario import ALICE, BOB, CAROL, PROXY, Scenario, at, codes, sdp, seconds

from collector.facts import CallState, Endpoint, Reason


def test_an_answered_call_has_its_times_and_parties() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.hang_up(63)
    calls, totals = scenario.finish()
    (call,) = calls
    assert call.state is CallState.COMPLETED
    assert (call.status, call.status_text) == (200, "OK")
    assert (call.from_uri, call.to_uri) == ("sip:alice@example.com", "sip:bob@example.com")
    assert (call.post_dial_delay_ms, call.setup_ms, call.duration_ms) == (1000.0, 3000.0, 60000.0)
    assert (call.start, call.answered, call.end) == (at(0), at(3), at(63))
    assert call.hung_up_by == "caller"
    assert call.findings == ()
    (leg,) = call.legs
    assert (leg.src, leg.dst, leg.transport) == (ALICE, BOB, "udp")
    assert (leg.request_uri, leg.messages, leg.invites, leg.forks) == ("sip:bob@example.com", 7, 1, 1)
    assert totals.messages == 7
    assert totals.methods == {"ACK": 1, "BYE": 1, "INVITE": 1}
    assert totals.responses == {"100": 1, "180": 1, "200": 2}
    assert totals.transactions == {"BYE": 1}


def test_the_callee_hangs_up_whatever_address_the_bye_came_from() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.request(10, PROXY, ALICE, "BYE", 1, from_tag="b", to_tag="a")
    assert scenario.call().hung_up_by == "callee"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (302, CallState.FAILED),
        (404, CallState.FAILED),
        (408, CallState.UNANSWERED),
        (480, CallState.UNANSWERED),
        (486, CallState.FAILED),
        (487, CallState.CANCELLED),
        (488, CallState.FAILED),
        (503, CallState.FAILED),
        (600, CallState.FAILED),
        (603, CallState.FAILED),
    ],
)
def test_a_final_response_says_how_the_attempt_ended(status: int, state: CallState) -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(2, BOB, ALICE, status, "Whatever It Says")
    scenario.request(2.1, ALICE, BOB, "ACK", to_tag="b", branch="z9hG4bK-1-a")
    call = scenario.call()
    assert (call.state, call.status, call.status_text) == (state, status, "Whatever It Says")
    assert (call.answered, call.end, call.duration_ms, call.hung_up_by) == (None, at(2), None, None)
    assert call.post_dial_delay_ms == 2000.0


def test_the_post_dial_delay_ends_at_the_first_ringing_not_at_the_final_response() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(0.5, BOB, ALICE, 183, "Session Progress")
    scenario.response(1.5, BOB, ALICE, 180, "Ringing")
    scenario.response(9, BOB, ALICE, 486, "Busy Here")
    assert scenario.call().post_dial_delay_ms == 500.0


def test_cancel_and_487_is_a_call_the_caller_gave_up() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(1, BOB, ALICE, 180, "Ringing")
    scenario.request(5, ALICE, BOB, "CANCEL")
    scenario.response(5.1, BOB, ALICE, 200, "OK", "CANCEL")
    scenario.response(5.2, BOB, ALICE, 487, "Request Terminated")
    scenario.request(5.3, ALICE, BOB, "ACK", to_tag="b", branch="z9hG4bK-1-a")
    call = scenario.call()
    assert (call.state, call.status, call.end) == (CallState.CANCELLED, 487, at(5.2))


def test_a_cancel_that_says_no_answer_leaves_the_call_unanswered() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(1, BOB, ALICE, 180, "Ringing")
    scenario.request(30, ALICE, BOB, "CANCEL", headers=('Reason: Q.850;cause=19;text="no answer"',))
    scenario.response(30.2, BOB, ALICE, 487, "Request Terminated")
    call = scenario.call()
    assert (call.state, call.reason) == (CallState.UNANSWERED, Reason("Q.850", 19, "no answer"))


def test_a_cancel_that_crosses_the_answer_does_not_cancel() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.request(5, ALICE, BOB, "CANCEL")
    scenario.response(5.05, BOB, ALICE, 200, "OK")
    scenario.request(5.1, ALICE, BOB, "ACK", to_tag="b")
    scenario.hang_up(5.2)
    assert scenario.call().state is CallState.COMPLETED


def test_an_invite_nobody_answers_is_unanswered_after_timer_b_and_in_progress_before() -> None:
    for now, state in ((20, CallState.IN_PROGRESS), (33, CallState.UNANSWERED)):
        scenario = Scenario()
        scenario.request(0, ALICE, BOB, "INVITE")
        call = scenario.call(now)
        assert (call.state, call.status, call.end, call.post_dial_delay_ms) == (state, None, None, None)


def test_a_ringing_call_is_in_progress_until_timer_c() -> None:
    for now, state in ((170, CallState.IN_PROGRESS), (190, CallState.UNANSWERED)):
        scenario = Scenario()
        scenario.request(0, ALICE, BOB, "INVITE")
        scenario.response(1, BOB, ALICE, 180, "Ringing")
        assert scenario.call(now).state is state


def test_an_answered_call_without_bye_is_in_progress_at_the_end_of_the_capture() -> None:
    scenario = Scenario()
    scenario.answered()
    call = scenario.call(4000)
    assert (call.state, call.end, call.duration_ms) == (CallState.IN_PROGRESS, None, None)


def test_retransmissions_are_counted_and_change_nothing() -> None:
    scenario = Scenario()
    for copy in range(201):
        scenario.request(copy * 0.5, ALICE, BOB, "INVITE", body=sdp())
    for copy in range(3):
        scenario.response(101 + copy * 0.5, BOB, ALICE, 486, "Busy Here")
    calls, totals = scenario.finish()
    (leg,) = calls[0].legs
    assert (leg.invites, leg.retransmissions, leg.messages, leg.end) == (1, 202, 204, at(101))
    assert totals.metrics.attempts == 1
    assert (totals.messages, totals.retransmissions, totals.methods) == (204, 202, {"INVITE": 201})


def test_the_same_message_at_a_second_tap_or_hop_is_no_retransmission() -> None:
    scenario = Scenario()
    first_via = "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK-1-a"
    scenario.request(0, ALICE, PROXY, "INVITE")
    scenario.request(0.001, ALICE, PROXY, "INVITE")  # mirrored twice
    scenario.request(0.01, PROXY, BOB, "INVITE", branch="z9hG4bK-hop2", via=(first_via,))
    scenario.response(1.0, BOB, PROXY, 180, "Ringing", branch="z9hG4bK-hop2")
    scenario.response(1.01, PROXY, ALICE, 180, "Ringing")
    scenario.response(2.0, BOB, PROXY, 200, "OK", branch="z9hG4bK-hop2")
    scenario.response(2.01, PROXY, ALICE, 200, "OK")
    calls, totals = scenario.finish()
    (leg,) = calls[0].legs
    assert (leg.src, leg.dst, leg.invites, leg.forks, leg.retransmissions) == (ALICE, PROXY, 1, 1, 0)
    assert (totals.messages, totals.copies, totals.metrics.attempts) == (7, 1, 1)
    assert totals.methods == {"INVITE": 3}
    assert "heard_more_than_once" in codes(leg)


@pytest.mark.parametrize(
    ("cancelled", "status", "reason", "state"),
    [
        (False, 480, "", CallState.UNANSWERED),
        (False, 480, "Q.850;cause=19", CallState.UNANSWERED),
        (False, 480, "Q.850;cause=17", CallState.FAILED),
        (False, 408, "Q.850;cause=21", CallState.FAILED),
        (False, 486, "Q.850;cause=19", CallState.FAILED),
        (False, 487, "", CallState.CANCELLED),
        (False, 487, "Q.850;cause=102", CallState.UNANSWERED),
        (True, 408, "", CallState.CANCELLED),
        (True, 480, "Q.850;cause=21", CallState.CANCELLED),
        (True, 486, "", CallState.CANCELLED),
        (True, 487, "SIP;cause=480", CallState.UNANSWERED),
    ],
)
def test_states_take_precedence_as_the_docs_say(cancelled: bool, status: int, reason: str, state: CallState) -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", body=sdp())
    scenario.response(1, BOB, ALICE, 180, "Ringing")
    if cancelled:
        scenario.request(5, ALICE, BOB, "CANCEL")
    headers = (f"Reason: {reason}",) if reason else ()
    scenario.response(6, BOB, ALICE, status, "Phrase", headers=headers)
    calls, _ = scenario.finish()
    assert calls[0].state is state


@pytest.mark.parametrize(("copies", "said"), [(1, "1 message heard again"), (2, "2 messages heard again")])
def test_messages_heard_again_are_counted_in_words(copies: int, said: str) -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE")
    for copy in range(copies):
        scenario.request(0.001 * (copy + 1), ALICE, PROXY, "INVITE")
    calls, _ = scenario.finish()
    (finding,) = [found for found in calls[0].legs[0].findings if found.code == "heard_more_than_once"]
    assert finding.text == f"{said} at another hop or tap"


def test_a_challenge_and_its_retry_are_one_attempt() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(0.1, BOB, ALICE, 407, "Proxy Authentication Required", to_tag="p")
    scenario.request(0.2, ALICE, BOB, "ACK", to_tag="p", branch="z9hG4bK-1-a")
    # A person types the password: longer than any transaction lives.
    scenario.request(50, ALICE, BOB, "INVITE", 2)
    scenario.response(51, BOB, ALICE, 180, "Ringing", cseq=2)
    scenario.response(52, BOB, ALICE, 200, "OK", cseq=2)
    scenario.request(52.1, ALICE, BOB, "ACK", 2, to_tag="b")
    calls, totals = scenario.finish()
    (leg,) = calls[0].legs
    assert (leg.invites, leg.forks, leg.status, leg.state) == (2, 1, 200, CallState.IN_PROGRESS)
    assert (leg.start, leg.ringing, leg.answered) == (at(0), at(51), at(52))
    assert (totals.metrics.attempts, totals.metrics.answered) == (1, 1)


def test_the_retry_has_its_own_time_to_be_answered() -> None:
    for now, state in ((60, CallState.IN_PROGRESS), (90, CallState.UNANSWERED)):
        scenario = Scenario()
        scenario.request(0, ALICE, BOB, "INVITE")
        scenario.response(0.05, BOB, ALICE, 100, "Trying", to_tag="")
        scenario.response(0.1, BOB, ALICE, 407, "Proxy Authentication Required", to_tag="p")
        scenario.request(50, ALICE, BOB, "INVITE", 2)
        assert scenario.call(now).state is state


def test_a_challenge_that_nobody_takes_up_fails_with_its_status() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(0.1, BOB, ALICE, 401, "Unauthorized")
    call = scenario.call(100)
    assert (call.state, call.status, call.end) == (CallState.FAILED, 401, at(0.1))


def test_a_longer_session_interval_after_422_is_the_same_attempt() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", headers=("Session-Expires: 120",))
    scenario.response(0.1, BOB, ALICE, 422, "Session Interval Too Small", to_tag="x", headers=("Min-SE: 1800",))
    scenario.request(0.2, ALICE, BOB, "INVITE", 2, headers=("Session-Expires: 1800",))
    scenario.response(1, BOB, ALICE, 200, "OK", cseq=2)
    calls, totals = scenario.finish()
    assert (calls[0].status, calls[0].legs[0].invites, totals.metrics.attempts) == (200, 2, 1)


def test_of_several_forks_the_one_that_answers_wins() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE")
    scenario.request(0.01, PROXY, BOB, "INVITE", branch="z9hG4bK-fork1")
    scenario.request(0.02, PROXY, CAROL, "INVITE", branch="z9hG4bK-fork2")
    scenario.response(1, BOB, PROXY, 180, "Ringing", to_tag="b", branch="z9hG4bK-fork1")
    scenario.response(1.5, CAROL, PROXY, 180, "Ringing", to_tag="c", branch="z9hG4bK-fork2")
    scenario.response(4, CAROL, PROXY, 200, "OK", to_tag="c", branch="z9hG4bK-fork2")
    scenario.response(4.01, PROXY, ALICE, 200, "OK", to_tag="c")
    scenario.request(4.02, PROXY, BOB, "CANCEL", branch="z9hG4bK-fork1")
    scenario.response(4.1, BOB, PROXY, 487, "Request Terminated", to_tag="b", branch="z9hG4bK-fork1")
    scenario.request(4.2, ALICE, CAROL, "ACK", to_tag="c")
    scenario.request(9, CAROL, ALICE, "BYE", 1, from_tag="c", to_tag="a")
    calls, totals = scenario.finish()
    (call,) = calls
    assert (call.state, call.status, call.answered, call.hung_up_by) == (CallState.COMPLETED, 200, at(4), "callee")
    assert (call.legs[0].forks, call.legs[0].invites, totals.metrics.attempts) == (2, 1, 1)
    assert "forked" in codes(call)


def test_a_fork_that_fails_or_is_cancelled_by_the_proxy_does_not_decide_for_the_caller() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE")
    scenario.request(0.01, PROXY, BOB, "INVITE", branch="z9hG4bK-fork1")
    scenario.request(0.02, PROXY, CAROL, "INVITE", branch="z9hG4bK-fork2")
    scenario.response(1, BOB, PROXY, 603, "Decline", to_tag="b", branch="z9hG4bK-fork1")
    scenario.request(1.1, PROXY, CAROL, "CANCEL", branch="z9hG4bK-fork2")
    scenario.response(1.2, PROXY, ALICE, 603, "Decline", to_tag="b")
    scenario.response(1.3, CAROL, PROXY, 487, "Request Terminated", to_tag="c", branch="z9hG4bK-fork2")
    call = scenario.call()
    assert (call.state, call.status) == (CallState.FAILED, 603)


def test_a_second_2xx_that_is_hung_up_at_once_does_not_end_the_call() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE")
    scenario.response(3, PROXY, ALICE, 200, "OK", to_tag="b")
    scenario.response(3.1, PROXY, ALICE, 200, "OK", to_tag="c")
    scenario.request(3.2, ALICE, PROXY, "ACK", to_tag="b")
    scenario.request(3.3, ALICE, PROXY, "BYE", 2, to_tag="c")
    scenario.response(3.4, PROXY, ALICE, 200, "OK", "BYE", 2, to_tag="c")
    scenario.request(30, PROXY, ALICE, "BYE", 1, from_tag="b", to_tag="a")
    call = scenario.call()
    assert (call.end, call.duration_ms, call.hung_up_by) == (at(30), 27000.0, "callee")


@pytest.mark.parametrize(
    ("from_tag", "to_tag", "status"),
    [
        ("x", "y", 481),
        ("x", "", 481),
        ("x", "y", 200),
        ("a", "y", 481),
        ("a", "", 481),
        ("x", "b", 481),
        ("y", "a", 481),
    ],
)
def test_a_bye_of_no_dialog_of_the_call_ends_nothing(from_tag: str, to_tag: str, status: int) -> None:
    """RFC 3261 12.2.2: a request belongs to a dialog by both of its tags."""
    scenario = Scenario()
    scenario.answered()
    scenario.request(5, CAROL, BOB, "BYE", 12, from_tag=from_tag, to_tag=to_tag)
    scenario.response(5.1, BOB, CAROL, status, "Whatever", "BYE", 12, from_tag=from_tag, to_tag=to_tag)
    scenario.hang_up(33)
    calls, totals = scenario.finish()
    (call,) = calls
    assert (call.state, call.duration_ms, call.hung_up_by) == (CallState.COMPLETED, 30000.0, "caller")
    assert [(finding.code, finding.packets) for finding in call.findings] == [("stray_bye", 1)]
    assert totals.transactions == {"BYE": 2}


def test_a_bye_of_no_dialog_leaves_a_call_in_progress() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.request(5, CAROL, BOB, "BYE", 12, from_tag="x", to_tag="y")
    scenario.response(5.1, BOB, CAROL, 481, "Unknown", "BYE", 12, from_tag="x", to_tag="y")
    scenario.response(6.1, BOB, CAROL, 481, "Unknown", "BYE", 13, from_tag="x", to_tag="y")
    call = scenario.call()
    assert (call.state, call.end, codes(call)) == (CallState.IN_PROGRESS, None, ["stray_bye"])


def test_the_answer_to_a_foreign_bye_does_not_confirm_the_calls_own() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.request(33, ALICE, BOB, "BYE", 9, to_tag="b")
    scenario.response(33.1, BOB, CAROL, 200, "OK", "BYE", 12, from_tag="x", to_tag="y")
    scenario.response(34, BOB, ALICE, 200, "OK", "BYE", 9)
    _, totals = scenario.finish()
    assert totals.metrics.session_disconnect_delay_ms == 1000.0


def test_a_bye_ends_a_call_whose_answer_was_lost_and_whose_tag_nobody_knows() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(1, BOB, ALICE, 180, "Ringing", to_tag="c")
    scenario.request(9, BOB, ALICE, "BYE", 1, from_tag="b", to_tag="a")
    call = scenario.call()
    assert (call.state, call.end, call.hung_up_by) == (CallState.COMPLETED, at(9), "callee")
    assert codes(call) == ["answer_not_seen"]


def test_a_response_of_another_transaction_does_not_answer_the_call() -> None:
    """RFC 3261 17.1.3: a response belongs to a request by the branch of its topmost Via."""
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(0.5, CAROL, ALICE, 200, "OK", to_tag="z", branch="z9hG4bK-forged")
    scenario.response(1, BOB, ALICE, 486, "Busy Here")
    scenario.request(1.1, ALICE, BOB, "ACK", to_tag="b", branch="z9hG4bK-1-a")
    leg = scenario.leg()
    assert (leg.state, leg.status, leg.end, leg.defects) == (CallState.FAILED, 486, at(1), {"response_unmatched": 1})


def test_a_response_on_a_hop_whose_invite_the_tap_missed_still_counts() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE")
    scenario.response(1, BOB, PROXY, 200, "OK", branch="z9hG4bK-missed")
    assert scenario.call().status == 200


def test_a_call_id_used_again_after_the_bye_is_another_call() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.hang_up(5)
    scenario.request(100, ALICE, BOB, "INVITE", 1, from_tag="r")
    scenario.response(101, BOB, ALICE, 486, "Busy Here", cseq=1, from_tag="r", to_tag="s")
    calls, totals = scenario.finish()
    first, second = calls
    assert (first.state, first.status, first.duration_ms) == (CallState.COMPLETED, 200, 2000.0)
    assert (second.state, second.status, second.start, second.end) == (CallState.FAILED, 486, at(100), at(101))
    assert first.call_id == second.call_id == scenario.call_id
    assert [len(call.legs) for call in calls] == [1, 1]
    assert (totals.metrics.attempts, totals.call_ids) == (2, 1)


def test_a_caller_that_keeps_its_tag_too_calls_again_after_the_bye() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.hang_up(5)
    scenario.request(7, ALICE, BOB, "INVITE", 10)
    scenario.response(8, BOB, ALICE, 200, "OK", cseq=10, to_tag="c")
    scenario.request(8.1, ALICE, BOB, "ACK", 10, to_tag="c")
    scenario.request(9, ALICE, BOB, "BYE", 11, to_tag="c")
    calls, totals = scenario.finish()
    assert [call.duration_ms for call in calls] == [2000.0, 1000.0]
    assert totals.metrics.attempts == 2


@pytest.mark.parametrize(("later", "attempts"), [(2, 1), (31, 1), (34, 2)])
def test_a_failure_is_followed_by_another_call_once_its_transactions_are_over(later: float, attempts: int) -> None:
    """A back-to-back user agent that keeps the Call-ID may try the next destination with a tag of its own."""
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(1, BOB, ALICE, 486, "Busy Here")
    scenario.request(1 + later, PROXY, CAROL, "INVITE", from_tag="r")
    calls, totals = scenario.finish()
    assert (len(calls), totals.metrics.attempts) == (attempts, attempts)


def test_a_bye_without_its_invite_is_listed_and_says_so() -> None:
    scenario = Scenario()
    scenario.request(0, BOB, ALICE, "BYE", 7, from_tag="b", to_tag="a")
    scenario.response(0.1, ALICE, BOB, 200, "OK", "BYE", 7, from_tag="b", to_tag="a")
    calls, totals = scenario.finish()
    (call,) = calls
    assert (call.state, call.end, call.answered, call.hung_up_by) == (CallState.COMPLETED, at(0), None, None)
    assert (call.post_dial_delay_ms, call.duration_ms) == (None, None)
    assert codes(call) == ["joined_in_the_middle"]
    assert totals.metrics.attempts == 0


def test_a_call_first_heard_at_its_re_invite_is_listed_with_its_media() -> None:
    scenario = Scenario()
    scenario.request(0, BOB, ALICE, "INVITE", 7, from_tag="b", to_tag="a", body=sdp("10.1.0.2", 5000))
    scenario.response(0.1, ALICE, BOB, 200, "OK", cseq=7, from_tag="b", to_tag="a", body=sdp("10.1.0.1", 4000))
    scenario.request(5, ALICE, BOB, "BYE", 3, to_tag="b")
    calls, totals = scenario.finish()
    (leg,) = calls[0].legs
    assert (leg.state, leg.invites, leg.answered) == (CallState.COMPLETED, 0, None)
    assert {media.endpoint for media in leg.media} == {Endpoint("10.1.0.2", 5000), Endpoint("10.1.0.1", 4000)}
    assert codes(leg) == ["joined_in_the_middle"]
    assert totals.metrics.attempts == 0


def test_an_answer_whose_invite_was_missed_makes_a_call_but_no_attempt() -> None:
    scenario = Scenario()
    scenario.response(0, BOB, ALICE, 180, "Ringing")
    scenario.response(2, BOB, ALICE, 200, "OK")
    scenario.request(2.1, ALICE, BOB, "ACK", to_tag="b")
    scenario.hang_up(12)
    calls, totals = scenario.finish()
    (call,) = calls
    assert (call.state, call.answered, call.duration_ms) == (CallState.COMPLETED, at(2), 10000.0)
    assert (call.legs[0].src, call.legs[0].dst) == (ALICE, BOB)
    assert "joined_in_the_middle" in codes(call)
    assert totals.metrics.attempts == 0


def test_one_direction_alone_still_shows_that_the_call_was_answered() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.request(4, ALICE, BOB, "ACK", to_tag="b")
    scenario.request(9, ALICE, BOB, "BYE", 2, to_tag="b")
    call = scenario.call()
    assert (call.state, call.answered, call.status, call.hung_up_by) == (CallState.COMPLETED, at(4), None, "caller")
    assert codes(call) == ["answer_not_seen"]


def test_the_ack_of_a_failure_is_no_answer() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.request(4, ALICE, BOB, "ACK", to_tag="b", branch="z9hG4bK-1-a")
    assert scenario.call(5).answered is None


def test_a_redirection_names_its_target_and_its_retry_is_the_same_attempt() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(1, BOB, ALICE, 302, "Moved Temporarily", headers=("Contact: <sip:carol@example.net>",))
    scenario.request(1.1, ALICE, BOB, "ACK", to_tag="b", branch="z9hG4bK-1-a")
    (finding,) = scenario.call().findings
    assert (finding.code, finding.text) == ("redirected", "redirected to sip:carol@example.net")

    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(1, BOB, ALICE, 302, "Moved Temporarily", headers=("Contact: <sip:carol@example.net>",))
    scenario.request(1.2, ALICE, CAROL, "INVITE", 2)
    scenario.response(2, CAROL, ALICE, 200, "OK", cseq=2, to_tag="c")
    scenario.request(2.1, ALICE, CAROL, "ACK", 2, to_tag="c")
    calls, totals = scenario.finish()
    assert (calls[0].status, calls[0].findings, totals.metrics.attempts) == (200, (), 1)


def test_the_reason_of_bye_prefers_q850() -> None:
    scenario = Scenario()
    scenario.answered()
    reasons = ('Reason: SIP;cause=200;text="done", Q.850;cause=16;text="Normal call clearing"',)
    scenario.request(9, ALICE, BOB, "BYE", 2, to_tag="b", headers=reasons)
    assert scenario.call().reason == Reason("Q.850", 16, "Normal call clearing")


def test_the_reason_of_a_final_response_is_kept() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(1, BOB, ALICE, 503, "Service Unavailable", headers=("Reason: Q.850;cause=34",))
    assert scenario.call().reason == Reason("Q.850", 34, "")


def test_refer_names_the_target_and_notify_the_failure() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.request(10, ALICE, BOB, "REFER", 2, to_tag="b", headers=("Refer-To: <sip:carol@example.com>",))
    scenario.response(10.1, BOB, ALICE, 202, "Accepted", "REFER", 2)
    fragment = {"content_type": "message/sipfrag;version=2.0", "from_tag": "b", "to_tag": "a"}
    scenario.request(10.2, BOB, ALICE, "NOTIFY", 1, body="SIP/2.0 100 Trying", **fragment)  # type: ignore[arg-type]
    scenario.request(12, BOB, ALICE, "NOTIFY", 2, body="SIP/2.0 200 OK", **fragment)  # type: ignore[arg-type]
    scenario.hang_up(13)
    calls, totals = scenario.finish()
    assert (calls[0].legs[0].transferred_to, codes(calls[0])) == ("sip:carol@example.com", [])
    assert totals.transactions == {"BYE": 1, "NOTIFY": 2, "REFER": 1}

    scenario = Scenario()
    scenario.answered()
    scenario.request(10, ALICE, BOB, "REFER", 2, to_tag="b", headers=("Refer-To: <sip:carol@example.com>",))
    scenario.request(12, BOB, ALICE, "NOTIFY", 2, body="SIP/2.0 486 Busy Here", **fragment)  # type: ignore[arg-type]
    assert codes(scenario.call()) == ["transfer_failed"]


def test_other_methods_are_transactions_and_never_calls() -> None:
    scenario = Scenario()
    for number, method in enumerate(("REGISTER", "OPTIONS", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "INFO")):
        scenario.call_id = f"other-{number}"
        scenario.request(number, ALICE, BOB, method)
        scenario.response(number + 0.1, BOB, ALICE, 200, "OK", method)
    calls, totals = scenario.finish()
    assert calls == ()
    assert set(totals.transactions.values()) == {1}
    assert (len(totals.transactions), totals.call_ids, totals.metrics.attempts) == (7, 7, 0)


def test_a_registration_nobody_answers_is_one_transaction() -> None:
    scenario = Scenario()
    for copy in range(22):
        scenario.request(copy * 4.0, ALICE, BOB, "REGISTER")
    calls, totals = scenario.finish()
    assert calls == ()
    assert (totals.transactions, totals.retransmissions) == ({"REGISTER": 1}, 21)
    assert totals.metrics.ineffective_registration_percent == 100.0


def test_prack_and_update_belong_to_the_call() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", headers=("Supported: 100rel",))
    scenario.response(1, BOB, ALICE, 183, "Session Progress", headers=("RSeq: 1",), body=sdp("10.1.0.2", 5000))
    scenario.request(1.1, ALICE, BOB, "PRACK", 2, to_tag="b", headers=("RAck: 1 1 INVITE",), body=sdp())
    scenario.response(1.2, BOB, ALICE, 200, "OK", "PRACK", 2)
    scenario.request(1.3, ALICE, BOB, "UPDATE", 3, to_tag="b", body=sdp(port=4100))
    scenario.response(1.4, BOB, ALICE, 200, "OK", "UPDATE", 3, body=sdp("10.1.0.2", 5000))
    scenario.response(2, BOB, ALICE, 200, "OK")
    calls, totals = scenario.finish()
    (leg,) = calls[0].legs
    assert totals.transactions == {"PRACK": 1, "UPDATE": 1}
    ports = [(media.role, media.endpoint.port, seconds(media.since), seconds(media.until)) for media in leg.media]
    assert ports == [("callee", 5000, 1.0, None), ("caller", 4000, 1.1, 1.3), ("caller", 4100, 1.3, None)]


def test_defects_are_counted_by_leg_and_for_the_capture() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", cseq_method="OPTIONS")
    scenario.assembler.feed_defect("start_line_unusable")
    calls, totals = scenario.finish()
    assert calls[0].legs[0].defects == {"cseq_method_mismatch": 1}
    assert totals.defects == {"cseq_method_mismatch": 1, "start_line_unusable": 1}


def test_a_b2bua_that_keeps_the_call_id_is_neither_a_fork_nor_a_second_attempt() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE")
    scenario.request(0.1, PROXY, BOB, "INVITE", 77, from_tag="p")
    scenario.response(1, BOB, PROXY, 180, "Ringing", cseq=77, from_tag="p", to_tag="x")
    scenario.response(1.1, PROXY, ALICE, 180, "Ringing")
    scenario.response(3, BOB, PROXY, 200, "OK", cseq=77, from_tag="p", to_tag="x")
    scenario.response(3.1, PROXY, ALICE, 200, "OK")
    scenario.request(3.2, ALICE, PROXY, "ACK", to_tag="b")
    scenario.request(9, BOB, PROXY, "BYE", 1, from_tag="x", to_tag="p")
    scenario.request(9.1, PROXY, ALICE, "BYE", 1, from_tag="b", to_tag="a")
    calls, totals = scenario.finish()
    (leg,) = calls[0].legs
    assert (leg.forks, leg.invites, leg.hung_up_by, leg.end, totals.metrics.attempts) == (1, 1, "callee", at(9.1), 1)


def test_an_invite_without_a_usable_cseq_is_still_an_attempt() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", 99999999999)
    scenario.request(2, ALICE, BOB, "CANCEL", 99999999999)
    call = scenario.call()
    assert (call.state, call.legs[0].invites, codes(call)) == (CallState.CANCELLED, 1, [])
