"""RFC 6076 and E.425 metrics of captures whose answers can be counted by hand."""

from __future__ import annotations

import pytest
from sip_scenario import ALICE, BOB, PROXY, Scenario, limited

from collector.calls import CallAssembler
from collector.facts import SignallingMetrics


def fail(assembler: CallAssembler, number: int, status: int, *headers: str, ring: bool = False) -> None:
    scenario = Scenario(f"failed-{number}-{status}", assembler)
    scenario.request(0, ALICE, BOB, "INVITE")
    if ring:
        scenario.response(1, BOB, ALICE, 180, "Ringing")
    scenario.response(2, BOB, ALICE, status, "Failed", headers=headers)


def answer(assembler: CallAssembler, number: int, talk: float | None = 60) -> None:
    scenario = Scenario(f"answered-{number}", assembler)
    scenario.answered()
    if talk is not None:
        scenario.hang_up(3 + talk)


def metrics_of(assembler: CallAssembler) -> SignallingMetrics:
    return assembler.finish(Scenario().last + 1000 * 1_000_000_000)[1].metrics


def test_no_attempts_give_no_ratio() -> None:
    metrics = metrics_of(CallAssembler())
    assert (metrics.attempts, metrics.answered, metrics.completed) == (0, 0, 0)
    assert metrics.asr_percent is metrics.ner_percent is metrics.ser_percent is metrics.seer_percent is None
    assert metrics.isa_percent is metrics.scr_percent is metrics.ineffective_registration_percent is None
    assert metrics.session_request_delay_ms is metrics.session_duration_ms is None


def test_the_ratios_of_ten_attempts() -> None:
    assembler = CallAssembler()
    for number in range(3):
        answer(assembler, number)
    answer(assembler, 3, talk=None)  # answered, never hung up
    for number, status in enumerate((486, 480, 404, 503, 302, 408)):
        fail(assembler, number, status)
    metrics = metrics_of(assembler)
    assert (metrics.attempts, metrics.answered, metrics.completed) == (10, 4, 3)
    assert metrics.asr_percent == 40.0
    assert metrics.ner_percent == 60.0  # 4 answers, 486, 480
    assert metrics.ser_percent == pytest.approx(100 * 4 / 9)  # one 3xx leaves the denominator (4.6)
    assert metrics.seer_percent == pytest.approx(100 * 6 / 9)  # 480 and 486 join the numerator (4.7)
    assert metrics.isa_percent == 20.0  # 408, 503 (4.8)
    assert metrics.scr_percent == 30.0  # 4.9


@pytest.mark.parametrize(
    ("status", "header", "ring", "effective"),
    [
        (486, "", False, True),
        (600, "", False, True),
        (603, "", False, True),
        (480, "", True, True),
        (480, "Reason: Q.850;cause=38", False, False),  # network out of order
        (500, "Reason: Q.850;cause=17", False, True),  # user busy behind a gateway
        (403, "Reason: Q.850;cause=21", False, True),
        (404, "", False, False),
        (503, "", False, False),
        (408, "", True, True),
        (408, "", False, False),
        (487, "", True, True),
    ],
)
def test_network_effectiveness_forgives_what_people_decide(
    status: int, header: str, ring: bool, effective: bool
) -> None:
    assembler = CallAssembler()
    fail(assembler, 0, status, *([header] if header else []), ring=ring)
    assert metrics_of(assembler).ner_percent == (100.0 if effective else 0.0)


def test_an_attempt_without_any_response_counts_as_408() -> None:
    assembler = CallAssembler()
    Scenario("silent", assembler).request(0, ALICE, BOB, "INVITE")
    metrics = metrics_of(assembler)
    assert (metrics.attempts, metrics.isa_percent, metrics.ner_percent) == (1, 100.0, 0.0)
    assert metrics.failed_session_request_delay_ms is None


def test_delays_and_durations_are_means_over_the_attempts_that_have_them() -> None:
    assembler = CallAssembler()
    answer(assembler, 0, talk=60)
    answer(assembler, 1, talk=30)
    fail(assembler, 0, 404)
    fail(assembler, 1, 486, ring=True)
    fail(assembler, 2, 302)
    metrics = metrics_of(assembler)
    assert metrics.session_request_delay_ms == 1000.0  # INVITE to 180 (4.3.1)
    assert metrics.failed_session_request_delay_ms == 2000.0  # INVITE to the failure (4.3.2)
    assert metrics.session_disconnect_delay_ms == pytest.approx(50.0)  # BYE to 200 (4.4)
    assert metrics.session_duration_ms == 45000.0  # 200 to BYE (4.5)


def test_a_challenge_is_no_failure_of_the_session() -> None:
    assembler = CallAssembler()
    fail(assembler, 0, 401)
    metrics = metrics_of(assembler)
    assert (metrics.attempts, metrics.failed_session_request_delay_ms) == (1, None)


def test_further_legs_are_no_attempts() -> None:
    assembler = CallAssembler()
    for name in ("one", "two"):
        scenario = Scenario(name, assembler)
        scenario.request(0, ALICE, PROXY, "INVITE", headers=("Cisco-Guid: 1-2-3-4",))
        scenario.response(1, PROXY, ALICE, 200, "OK")
    assert (metrics_of(assembler).attempts, metrics_of(CallAssembler()).attempts) == (1, 0)


def test_a_registration_with_its_challenge_is_one_attempt_from_the_first_request_on() -> None:
    scenario = Scenario("registration")
    scenario.request(0, ALICE, BOB, "REGISTER")
    scenario.response(0.1, BOB, ALICE, 401, "Unauthorized", "REGISTER")
    scenario.request(0.2, ALICE, BOB, "REGISTER", 2)
    scenario.response(0.25, BOB, ALICE, 200, "OK", "REGISTER", 2)
    scenario.request(3000, ALICE, BOB, "REGISTER", 3)  # a refresh under the same Call-ID
    scenario.response(3000.05, BOB, ALICE, 200, "OK", "REGISTER", 3)
    metrics = metrics_of(scenario.assembler)
    assert metrics.registration_request_delay_ms == pytest.approx((250 + 50) / 2)
    assert metrics.ineffective_registration_percent == 0.0


def test_ineffective_registrations_leave_challenges_out() -> None:
    assembler = CallAssembler()
    for number, status in enumerate((200, 401, 403, 503)):
        scenario = Scenario(f"registration-{number}", assembler)
        scenario.request(0, ALICE, BOB, "REGISTER")
        scenario.response(1, BOB, ALICE, status, "So It Is", "REGISTER")
    Scenario("silent", assembler).request(0, ALICE, BOB, "REGISTER")
    assert metrics_of(assembler).ineffective_registration_percent == 60.0  # 403, 503, no answer of 5


def test_calls_past_the_table_stay_in_the_metrics() -> None:
    assembler = limited(max_calls=5)
    for number in range(20):
        answer(assembler, number)
    fail(assembler, 0, 486)
    calls, totals = assembler.finish(Scenario().last + 1000 * 1_000_000_000)
    assert (len(calls), totals.unlisted, totals.call_ids) == (5, 16, 21)
    assert (totals.metrics.attempts, totals.metrics.answered, totals.metrics.completed) == (21, 20, 20)
