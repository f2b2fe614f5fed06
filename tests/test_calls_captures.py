"""Calls of real captures, with what reading their messages by eye says of them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from api.replay import replay_files
from collector.facts import Call, CallState, Replay

TSHARK_DIFFERS = {
    # Every octet of this capture may be corrupt: tshark drops messages whose start line or length it dislikes, we name
    # what is wrong with them and list them still.
    "ndpi_fuzz_2006_06_26_2594",
}


def replayed(shared: Path, stem: str) -> Replay:
    (path,) = (shared / "pcaps").glob(f"{stem}.pcap*")
    return replay_files([path])


def only_call(shared: Path, stem: str) -> Call:
    (call,) = replayed(shared, stem).calls
    return call


def after(call: Call, at: int | None) -> float | None:
    return None if at is None else round((at - call.start) / 1e9, 3)


def witnessed(golden: Path) -> tuple[Counter[str], Counter[str], set[str]]:
    methods: Counter[str] = Counter()
    responses: Counter[str] = Counter()
    call_ids: set[str] = set()
    with golden.open(newline="") as rows:
        for row in csv.DictReader(rows):
            methods.update(filter(None, row["sip.Method"].split("|")))
            responses.update(filter(None, row["sip.Status-Code"].split("|")))
            call_ids.update(filter(None, row["sip.Call-ID"].split("|")))
    return methods, responses, call_ids


def test_message_counts_agree_with_tshark(shared: Path) -> None:
    for golden in sorted((shared / "pcaps" / "golden").glob("*.sip.csv")):
        stem = golden.name.removesuffix(".sip.csv")
        methods, responses, call_ids = witnessed(golden)
        if stem in TSHARK_DIFFERS or not call_ids:
            continue
        sip = replayed(shared, stem).sip
        assert sip.messages == sum(methods.values()) + sum(responses.values()), stem
        assert sip.call_ids == len(call_ids), stem
        assert (dict(sip.methods), dict(sip.responses)) == (methods, responses), stem


def test_hold_and_transfer_inside_one_call_id(shared: Path) -> None:
    call = only_call(shared, "russo_sip_hold_transfer")
    (leg,) = call.legs
    assert (call.state, call.hung_up_by, call.reason) == (CallState.COMPLETED, "callee", ("Q.850", 16, ""))
    assert call.post_dial_delay_ms == pytest.approx(111.002)
    assert call.setup_ms == pytest.approx(5818.018)
    spans = [(span.what, after(call, span.start), after(call, span.end)) for span in leg.spans]
    assert spans == [("hold", 8.369, 8.386), ("hold", 14.68, 14.779), ("refresh", 14.742, 14.743)]
    heard_at = [str(media.endpoint) for media in leg.media if media.role == "callee" and media.direction == "sendrecv"]
    assert heard_at == ["10.10.214.57:32518", "10.180.110.48:24648", "10.10.214.56:17666"]


def test_an_automatic_refer_transfer(shared: Path) -> None:
    call = only_call(shared, "russo_sip_refer_transfer")
    assert call.legs[0].transferred_to == "sip:1024@10.180.110.48"
    # Both sides send BYE in the same millisecond; the caller's was first.
    assert (call.state, call.hung_up_by) == (CallState.COMPLETED, "caller")


def test_a_longer_session_interval_and_its_refresh(shared: Path) -> None:
    replay = replayed(shared, "russo_sip_session_refresh_422")
    (call,) = replay.calls
    (leg,) = call.legs
    assert (leg.invites, leg.forks, call.status, replay.sip.metrics.attempts) == (2, 1, 200, 1)
    assert [(span.what, after(call, span.start)) for span in leg.spans] == [("refresh", 901.097)]
    assert call.duration_ms == pytest.approx(1339269.975)


def test_a_recorded_call_is_one_attempt_with_three_legs(shared: Path) -> None:
    replay = replayed(shared, "russo_sip_recording_ora")
    (call,) = replay.calls
    assert (len(call.legs), replay.sip.metrics.attempts, call.hung_up_by) == (3, 1, "callee")
    assert {"Cisco-Guid", "session-id"} <= set(call.joined_by)


def test_attempts_among_registrations(shared: Path) -> None:
    replay = replayed(shared, "sngrep_aaa")
    outcomes = [(call.state, call.status, call.legs[0].invites) for call in replay.calls]
    assert outcomes == [
        (CallState.CANCELLED, 408, 1),
        (CallState.FAILED, 403, 2),
        (CallState.FAILED, 403, 2),
        (CallState.FAILED, 480, 2),  # its Reason says Q.850 21: rejected
    ]
    assert (replay.sip.retransmissions, replay.sip.transactions) == (14, {"CANCEL": 1, "REGISTER": 18})


def test_a_registration_that_nobody_answers(shared: Path) -> None:
    sip = replayed(shared, "ndpi_webex").sip
    # Two transactions of eleven requests each: CSeq 4 and 5 under branches of their own.
    assert (sip.transactions, sip.retransmissions, sip.call_ids) == ({"REGISTER": 2}, 20, 1)
    assert sip.metrics.ineffective_registration_percent == 100.0


def test_a_refused_fax_switch_on_a_capture_of_several_taps(shared: Path) -> None:
    replay = replayed(shared, "ndpi_fax_call_t38_ca_tdm_sip_fb_1")
    assert [(call.state, call.legs[0].invites, call.legs[0].forks) for call in replay.calls] == [
        (CallState.COMPLETED, 1, 1),
        (CallState.COMPLETED, 1, 1),
    ]
    spans = [[span.what for span in call.legs[0].spans] for call in replay.calls]
    assert spans == [["t38_offer"], ["t38_offer"]]
    assert replay.sip.copies == 23  # one of the taps gave each packet twice


def test_a_transfer_that_was_refused_across_a_b2bua_that_keeps_the_call_id(shared: Path) -> None:
    calls = replayed(shared, "heplify_erspan_sip_ipv4_udp").calls
    (transferred,) = (call for call in calls if "replaces" in call.joined_by)
    assert "transfer_failed" in [finding.code for finding in transferred.findings]
    assert all(leg.forks == 1 for call in calls for leg in call.legs)
