"""One call: what packets, records and telephones say of it, where they disagree, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from call_facts import NOON, at, call, lake_at, put, record, report, stream

from analytics.questions.asking import key_text
from analytics.questions.comparing import Comparison
from analytics.questions.one_call import CallPage, one_call
from analytics.questions.records import same_number
from analytics.store.lake import Lake

BACK: dict[str, Any] = {
    "from_address": "10.9.0.2:24080",
    "to_address": "10.1.4.7:16402",
    "site": "northgate",
    "other_site": "ashcombe",
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Call 1 with both streams; nothing else is said of it."""
    lake = lake_at(tmp_path)
    put(lake, "calls", call(1), call(2, 5, calling="+441134960999"), call(3, 7_200))
    put(lake, "streams", stream(11, 1), stream(12, 1, **BACK), stream(21, 2, 10), stream(31, 3, 7_205))
    interval = {"stream_key": 12, "source": "tap", "seconds": 10.0, "packets": 500, "expected": 500, "lost": 0}
    put(lake, "intervals", *({**interval, "start": at(5 + 10 * number), "jitter_ms": 2.0} for number in (1, 0)))
    return lake


def page(lake: Lake, key: int = 1) -> CallPage:
    found = one_call(lake, key_text(key))
    assert found is not None
    return found


def about(found: CallPage, what: str, stream: int | None = None) -> Comparison:
    of = "call" if stream is None else key_text(stream)
    (one,) = [each for each in found.comparison if each.what == what and each.about == of]
    return one


def test_call_that_is_not_there_is_none(lake: Lake) -> None:
    assert one_call(lake, key_text(4)) is None


def test_page_holds_streams_intervals_and_terms(lake: Lake) -> None:
    found = page(lake)
    assert [one.key for one in found.streams] == [key_text(11), key_text(12)]
    assert [(one.stream_key, one.start.second) for one in found.intervals] == [(key_text(12), 5), (key_text(12), 15)]
    assert not found.records
    assert not found.reports
    assert not found.comparison
    assert not found.taps
    assert found.call.codecs == ("PCMA",)
    terms = found.terms[0]
    assert terms.r_factor == pytest.approx(93.2062, abs=1e-3)
    assert terms.steps[0].r + sum(step.change for step in terms.steps[1:]) == pytest.approx(terms.r_factor)
    assert terms.command == "callgauge mos --codec PCMA --plc --delay 60 --loss 0"


def test_terms_that_do_not_give_the_stored_r_are_not_shown(lake: Lake) -> None:
    put(lake, "calls", call(8))
    put(lake, "streams", stream(81, 8, r_factor=80.0), stream(82, 8, mos_model="another model"))
    assert page(lake, 8).terms == ()


def test_what_happened_is_in_order_of_time(lake: Lake) -> None:
    put(lake, "cdr_rows", record(1, 1, origination=at(1)))
    found = [(one.what, (one.at - NOON).total_seconds()) for one in page(lake).events]
    assert found[:3] == [("invite", 0), ("record begins", 1), ("ringing", 1.2)]
    assert [seconds for _, seconds in found] == sorted(seconds for _, seconds in found)


def test_same_call_at_another_tap_is_named(lake: Lake) -> None:
    put(lake, "calls", call(77, 1, source="other tap", call_id="call-1@pbx"))
    assert [(one.key, one.source) for one in page(lake).taps] == [(key_text(77), "other tap")]


def test_record_with_the_same_parties_and_time_is_of_the_call(lake: Lake) -> None:
    put(lake, "cdr_rows", record(5), record(6, 3_000), record(7, 0, calling="60999", orig_ip="10.1.4.8"))
    found = page(lake)
    assert [(one.line, one.call_ref) for one in found.records] == [(5, key_text(5))]
    assert "calling number and called number and caller's address and callee's address agree" in found.records[0].match


def test_records_that_share_the_reference_come_with_it(lake: Lake) -> None:
    later = record(
        6, 70, call_ref=5, calling="x", called="y", original_called="y", orig_ip=None, dest_ip=None, seconds=9
    )
    put(lake, "cdr_rows", record(5), later)
    found = page(lake)
    assert [(one.line, one.match) for one in found.records][1] == (6, "has the same call reference")
    talk = about(found, "talk time")
    assert (talk.said[1].value, talk.differs) == (69.0, True)
    assert "2 records" in talk.why


def test_record_with_one_party_alone_is_not_taken_for_the_call(lake: Lake) -> None:
    put(lake, "cdr_rows", record(5, calling="60999", orig_ip=None, dest_ip=None))
    assert page(lake).records == ()


def test_record_that_agrees_differs_in_nothing(lake: Lake) -> None:
    put(lake, "cdr_rows", record(5))
    assert {one.what: one.differs for one in page(lake).comparison} == {
        "begin": False, "answer": False, "talk time": False, "end": False,
    }  # fmt: skip


def test_clock_that_is_ahead_is_told_from_digits_that_were_still_to_dial(lake: Lake) -> None:
    put(lake, "cdr_rows", record(5, 12))
    found = about(page(lake), "begin")
    assert found.differs
    assert found.why == "the record's clock is 12 s ahead: its answer is, too"
    put(lake, "cdr_rows", record(6, 7_200, origination=at(7_190)))
    assert about(page(lake, 3), "begin").why.startswith("the record begins 10 s earlier, with the handset lifted")


def test_answer_that_passed_no_tap_is_named(lake: Lake) -> None:
    put(lake, "calls", call(8, 300, answer=None, seconds=None, state="failed", status=486, streams=0))
    put(lake, "cdr_rows", record(8, 300))
    found = page(lake, 8)
    assert about(found, "answer").differs
    assert "another leg" in about(found, "answer").why
    # RFC 3398 8.2.6.1: 486 is cause 17; the record says 16.
    assert about(found, "end").differs


def test_busy_call_and_cause_17_agree(lake: Lake) -> None:
    put(lake, "calls", call(8, 300, answer=None, seconds=None, state="failed", status=486, streams=0))
    put(lake, "cdr_rows", record(8, 300, connect=None, seconds=0, orig_cause=0, dest_cause=17))
    found = page(lake, 8)
    assert not about(found, "end").differs
    assert not about(found, "answer").differs


def test_cmr_is_compared_with_the_stream_that_its_telephone_heard(lake: Lake) -> None:
    put(lake, "cdr_rows", record(5))
    put(lake, "phone_reports", report(5, packets_received=2_700, packets_lost=300, jitter_ms=12.0, mos_lqk_mean=3.1))
    found = page(lake)
    assert [one.match for one in found.reports] == ["has the call reference of its record"]
    assert not [one for one in found.comparison if one.about == key_text(11)], "the other telephone reported nothing"
    received = about(found, "packets received", 12)
    assert [(one.who, one.value) for one in received.said] == [("packets", 3_000.0), ("CMR SEP0001", 2_700.0)]
    assert received.why == "packets that passed the tap did not arrive, or the report covers a part of the stream"
    assert about(found, "packets lost", 12).why == "they were lost behind the tap, on the way to the telephone"
    assert about(found, "jitter", 12).why == "it grows behind the tap, on the way to the telephone"
    assert about(found, "MOS", 12).why.startswith("MLQK rates how much was concealed")


def test_packets_that_only_the_telephone_had_are_the_taps_loss(lake: Lake) -> None:
    put(lake, "calls", call(8, 300))
    put(lake, "streams", stream(81, 8, 305, packets=2_700, lost=300, **BACK))
    put(lake, "cdr_rows", record(8, 300))
    put(lake, "phone_reports", report(8, 366))
    found = page(lake, 8)
    assert "the tap missed packets" in about(found, "packets received", 81).why
    assert "capture health" in about(found, "packets lost", 81).why


def test_few_packets_under_way_are_no_difference(lake: Lake) -> None:
    put(lake, "cdr_rows", record(5))
    put(lake, "phone_reports", report(5, packets_received=2_988))
    assert not about(page(lake), "packets received", 12).differs


def test_rfc_6035_report_is_found_by_call_id_and_each_side_by_its_address(lake: Lake) -> None:
    common: dict[str, Any] = {
        "source": "vq-rtcpxr", "call_id": "call-1@pbx", "kind": "session", "leg": 0, "call_ref": 99,
        "device": "phone", "local_address": "10.1.4.7:16402", "remote_address": "10.9.0.2:24080",
        "packets_sent": None, "packets_received": None, "packets_lost": None,
    }  # fmt: skip
    local = report(1, side="local", loss_percent=4.0, jitter_ms=2.5, mos_cq=3.2, **common)
    remote = report(2, side="remote", loss_percent=0.0, jitter_ms=2.0, mos_cq=4.3, **common)
    interval = report(3, side="local", loss_percent=50.0, **{**common, "kind": "interval"})
    put(lake, "phone_reports", local, remote, interval)
    found = page(lake)
    assert len(found.reports) == 3
    heard_here, heard_there = about(found, "loss", 12), about(found, "loss", 11)
    assert [one.value for one in heard_here.said] == [0.0, 4.0], "intervals do not speak of the whole stream"
    assert heard_here.why == "they were lost behind the tap, on the way to the telephone"
    assert [one.value for one in heard_there.said] == [0.0, 0.0]
    assert heard_there.said[1].who == "RFC 6035 phone (told by the far end)"
    assert about(found, "MOS", 12).why == "the telephone lost or threw away what had still passed the tap"
    assert not about(found, "MOS", 11).differs


def test_codec_by_other_spelling_is_the_same(lake: Lake) -> None:
    put(lake, "cdr_rows", record(5))
    put(lake, "phone_reports", report(5, codec="G.711 A-law".replace(" A-law", "A")))
    assert not about(page(lake), "codec", 12).differs


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+442079460123", "902079460123", True),
        ("+441134960101", "60101", True),
        ("+441134960101", "01", False),
        ("60101", "60102", False),
        ("jane.roe", "Jane.Roe", True),
        (None, "60101", False),
        ("", "", False),
    ],
)
def test_numbers_match_by_their_ends(one: str | None, other: str | None, same: bool) -> None:
    assert same_number(one, other) is same
