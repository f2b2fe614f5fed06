"""RFC 6035 bodies and statistics headers: real ones read to their values, any octets read or refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.facts import Endpoint
from collector.protocols.rtp_stat import RtpStatistics, rtp_statistics
from collector.protocols.sip import parse
from collector.protocols.vq_report import BODY_LIMIT, VqError, parse_vq_report


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def body(*lines: str) -> bytes:
    return "\r\n".join(lines).encode()


def test_a_report_of_a_snom_with_loss_is_read(shared: Path) -> None:
    report = parse_vq_report((shared / "vq" / "vq_snom821_loss.txt").read_bytes())
    assert (report.kind, report.call_id) == ("session", "825962570309-8ds5sl3mca99")
    assert report.local.loss_percent == 5.5
    assert (report.local.mos_lq, report.local.mos_cq) == (3.8, 4.2)
    assert (report.local.start, report.local.stop) == (ns("2016-06-16T07:47:14"), ns("2016-06-16T07:47:21"))
    assert report.local.codec == "PCMA"
    assert report.local_address is None, "10.0.3.321 is no address"
    assert report.defects == ("address_malformed",)
    assert (report.remote_address, report.remote_ssrc) == (Endpoint("10.0.3.123", 10034), 0x1F634EA2)
    assert report.local.round_trip_ms is None, "a round trip of 0 ms was not measured"
    assert report.local.interarrival_jitter_ms == 0
    assert report.local_mac == "0004135310DB"


def test_both_sides_of_a_report_are_read(shared: Path) -> None:
    report = parse_vq_report((shared / "vq" / "vq_snom710_local_remote.txt").read_bytes())
    assert report.remote is not None
    assert (report.local.mos_cq, report.remote.mos_cq) == (3.9, 4.1)
    assert (report.local.gap_ms, report.remote.gap_ms) == (20440, 18458)
    assert (report.local.interarrival_jitter_ms, report.remote.interarrival_jitter_ms) == (1, 0)
    assert report.local.round_trip_ms == 34
    assert report.user_agent == "snom710/8.7.3.201309022318"
    assert report.local_id == '"John Doe" <sip:102@pbx.example.com>'


def test_fillers_are_missing(shared: Path) -> None:
    report = parse_vq_report((shared / "vq" / "vq_g722_burstloss_2015.txt").read_bytes())
    local = report.local
    assert (local.r_cq, local.ext_r_in, local.rerl) == (92, None, None)
    assert (local.signal_level, local.noise_level) == (-21, -64)
    assert (local.burst_density_percent, local.burst_ms, local.gap_ms, local.gmin) == (0.7, 60, 30000, 16)
    assert (local.one_way_delay_ms, local.end_system_delay_ms, local.round_trip_ms) == (88, 177, None)
    assert (local.payload_type, local.codec, local.silence_suppression) == (9, None, False)
    assert report.dialog_id == "329662837@192.168.1.21;to-tag=55cUUK26KmU4j;from-tag=2606093232"


def test_a_report_of_a_pbx_with_older_names_is_read(shared: Path) -> None:
    report = parse_vq_report((shared / "vq" / "vq_vodia_pbx_2015.txt").read_bytes())
    assert report.local_id == '"1118" <sip:1118@192.168.1.197>;tag=58a0a7b18d28deb0o0'
    assert (report.local.frame_ms, report.local.packets_per_second, report.local.plc) == (30, 33, 3)
    assert (report.local.loss_percent, report.local.mos_lq) == (0, 4.1)


def test_an_interval_report_with_colons_is_read(shared: Path) -> None:
    report = parse_vq_report((shared / "vq" / "vq_interval_opus_hepgen_SYNTHETIC.txt").read_bytes())
    assert report.kind == "interval"
    assert report.local_address == Endpoint("192.168.1.55", 30539)
    assert report.local.start == ns("2015-02-28T21:04:31") + 582_000
    assert (report.local.loss_percent, report.local.interarrival_jitter_ms) == (8, 93)
    assert (report.local.codec, report.local.sample_rate) == ("OPUS", 48000)


def test_a_fragment_is_refused(shared: Path) -> None:
    with pytest.raises(VqError, match="first_line_unknown"):
        parse_vq_report((shared / "vq" / "vq_grandstream_grp_fragment.txt").read_bytes())


def test_values_that_lack_the_space_between_them_are_told_apart(shared: Path) -> None:
    message = parse((shared / "vq" / "publish_snom821.sip").read_bytes())
    report = parse_vq_report(message.raw[message.body_start :])
    assert (report.local.jitter_buffer_max_ms, report.local.jitter_buffer_abs_max_ms) == (20, 240)


def test_an_alert_says_what_it_is_about() -> None:
    report = parse_vq_report(
        body("VQAlertReport: Type=NLR Severity=Critical Dir=local", "CallID:a", "PacketLoss:NLR=12")
    )
    assert (report.kind, report.alert) == ("alert", "Type=NLR Severity=Critical Dir=local")
    assert report.local.loss_percent == 12


@pytest.mark.parametrize(
    ("line", "defect"),
    [
        ("PacketLoss:NLR=140", "out_of_range"),
        ("QualityEst:MOSLQ=41", "out_of_range"),
        ("Delay:IAJ=soon", "number_malformed"),
        ("Timestamps:START=yesterday", "time_malformed"),
        ("Timestamps:START=0001-01-01T00:00:00+14:00", "time_malformed"),
        ("nonsense", "line_malformed"),
    ],
)
def test_what_cannot_be_is_missing_and_named(line: str, defect: str) -> None:
    report = parse_vq_report(body("VQSessionReport: CallTerm", "CallID:a", line))
    assert report.defects == (defect,)
    assert report.local.loss_percent is None
    assert report.local.mos_lq is None
    assert report.local.start is None


@pytest.mark.parametrize("filler", ["MOSLQ=0", "MOSLQ=0.0", "MOSLQ=127", "MOSLQ=12.7"])
def test_a_mos_that_was_not_computed_is_missing(filler: str) -> None:
    report = parse_vq_report(body("VQSessionReport: CallTerm", "CallID:a", f"QualityEst:{filler}"))
    assert report.local.mos_lq is None
    assert report.defects == ()


def test_a_report_without_its_call_is_refused() -> None:
    with pytest.raises(VqError, match="call_id_missing"):
        parse_vq_report(body("VQSessionReport: CallTerm", "PacketLoss:NLR=1"))


def test_a_body_that_is_too_large_is_refused() -> None:
    with pytest.raises(VqError, match="too_large"):
        parse_vq_report(b"VQSessionReport: CallTerm\r\n" + bytes(BODY_LIMIT))


LINES = st.text(st.sampled_from('PacketLoss:NLR=0.5 QualityEst:MOSLQ=JBM20;"Timestamps:START-T\n\r\t\0é'), max_size=200)


@given(st.binary(max_size=300) | LINES.map(lambda text: b"VQSessionReport: CallTerm\r\nCallID:a\r\n" + text.encode()))
def test_any_octets_are_a_report_or_one_named_error(octets: bytes) -> None:
    try:
        names = parse_vq_report(octets).defects
    except VqError as error:
        names = (error.defect,)
    assert all(name.isidentifier() for name in names)


# --- headers ------------------------------------------------------------------------------------------------------


def test_headers_of_cisco_are_read(shared: Path) -> None:
    lines = (shared / "vq" / "sip_bye_cisco_rtp_stats.txt").read_text().splitlines()
    fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines if line[0] != "#")}
    found = rtp_statistics([("p-rtp-stat", fields["p-rtp-stat"])])
    assert found == RtpStatistics(3775, 649300, 3775, 604000, 0, None, 0, 4, 98)
    found = rtp_statistics([(name, fields[name]) for name in ("rtp-txstat", "rtp-rxstat")])
    assert found == RtpStatistics(658, 105280, 657, 113004, 0, 0, 1, None, 13, None, 4.5, 4.5, 4.5, 4.5, 0, 0, 0, 0)


def test_a_header_of_another_maker_gives_its_counts(shared: Path) -> None:
    value = (shared / "vq" / "x-rtp-stat_avm_style.txt").read_text()
    found = rtp_statistics([("x-rtp-stat", value)])
    assert found == RtpStatistics(131918, 21106880, 132118, 21138880, seconds=123, codec="PCMA")


def test_a_message_without_them_says_nothing() -> None:
    assert rtp_statistics([("call-id", "PS=1"), ("p-rtp-stat", "nothing here")]) is None


@given(st.text(max_size=200) | st.text(st.sampled_from('PS=12,;JI.-VQMetrics"MLQK'), max_size=100))
def test_any_header_is_read_or_says_nothing(value: str) -> None:
    fields = [("p-rtp-stat", value), ("rtp-rxstat", value), ("x-rtp-stat", value)]
    assert rtp_statistics(fields) == rtp_statistics(reversed(fields))
