"""RTCP by hand from RFC 3550 and RFC 3611, by tshark on real captures, and by any bytes at all."""

from __future__ import annotations

import csv
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.utils import PcapReader

from collector.protocols.rtcp import (
    MAX_PACKETS,
    Application,
    DelaySinceLastReceiverReport,
    EncryptedReport,
    ExtendedReport,
    Feedback,
    Goodbye,
    OtherBlock,
    OtherPacket,
    ReceiverReferenceTime,
    ReceiverReport,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    StatisticsSummary,
    UnparsedTail,
    VoipMetrics,
    looks_like_rtcp,
    parse_compound,
)

BLOCK = bytes.fromhex("11223344 40 FFFFFE 00010203 00000050 89ABCDEF 00018000")
SR = bytes.fromhex("81C8000C 0A0B0C0D E5A1B2C389ABCDEF 00001F40 00000064 00003E80") + BLOCK
RR = bytes.fromhex("81C90007 0A0B0C0D") + BLOCK
EMPTY_RR = bytes.fromhex("80C90001 0A0B0C0D")
# One chunk: CNAME "a@b" and a NAME that is not kept, one null to end, one to fill the word.
SDES = bytes.fromhex("81CA0004 0A0B0C0D 0103 614062 0203 426F62 0000")
BYE = bytes.fromhex("81CB0003 0A0B0C0D 06") + b"camera" + b"\0"
APP = bytes.fromhex("85CC0003 0A0B0C0D") + b"TEST" + bytes(4)
READ = ReportBlock(0x11223344, 64, -2, 0x10203, 80, 0x89ABCDEF, 0x18000)


def xr(*blocks: bytes) -> bytes:
    content = bytes.fromhex("0A0B0C0D") + b"".join(blocks)
    return struct.pack("!BBH", 0x80, 207, len(content) // 4) + content


# RFC 3611 4.7, field by field.
VOIP_METRICS = bytes.fromhex(
    "07000008 11223344"
    "80 40 C0 01"  # loss 50 %, discard 25 %, burst density 75 %, gap density 1/256
    "0078 2710"  # burst 120 ms, gap 10000 ms
    "0096 0050"  # round trip 150 ms, end system 80 ms
    "E2 BA 37 10"  # signal -30, noise -70 dBm0, RERL 55 dB, Gmin 16
    "5D 7F 29 27"  # R 93, no external R, MOS-LQ 4.1, MOS-CQ 3.9
    "F5 00 0028"  # PLC 3, JBA 3, rate 5; nominal 40 ms
    "0050 00C8"  # maximum 80 ms, absolute maximum 200 ms
)


def test_a_compound_of_sr_sdes_and_bye_is_read_field_by_field() -> None:
    sender, description, goodbye = parse_compound(SR + SDES + BYE)
    assert sender == SenderReport(0x0A0B0C0D, 0xE5A1B2C389ABCDEF, 8000, 100, 16000, (READ,))
    assert isinstance(description, SourceDescription)
    assert dict(description.cnames) == {0x0A0B0C0D: "a@b"}
    assert goodbye == Goodbye((0x0A0B0C0D,), "camera")


def test_cumulative_lost_is_signed() -> None:
    (report,) = parse_compound(RR)
    assert report == ReceiverReport(0x0A0B0C0D, (READ,))
    assert READ.cumulative_lost == -2


def test_reduced_size_packets_stand_alone() -> None:
    assert parse_compound(APP) == (Application(0x0A0B0C0D, "TEST", 5),)
    feedback = bytes.fromhex("81CD0003 0A0B0C0D 11223344 00010000")
    assert parse_compound(feedback) == (Feedback(205, 1, 0x0A0B0C0D, 0x11223344),)
    picture_loss = bytes.fromhex("81CE0002 0A0B0C0D 11223344")
    assert parse_compound(picture_loss) == (Feedback(206, 1, 0x0A0B0C0D, 0x11223344),)
    assert parse_compound(bytes.fromhex("80D10001 0A0B0C0D")) == (OtherPacket(209, 4),)


def test_several_chunks_are_kept_apart() -> None:
    data = bytes.fromhex("82CA0005 00000001 0102 6162 00000000 00000002 0101 63 00".replace(" ", ""))
    (description,) = parse_compound(data)
    assert isinstance(description, SourceDescription)
    assert dict(description.cnames) == {1: "ab", 2: "c"}


def test_text_from_the_wire_is_safe_to_print() -> None:
    (goodbye,) = parse_compound(bytes.fromhex("81CB0003 0A0B0C0D 06 1B5B32 4AFF41 00"))
    assert isinstance(goodbye, Goodbye)
    assert goodbye.reason == "\ufffd[2J\ufffdA"


def test_goodbye_without_a_reason() -> None:
    assert parse_compound(bytes.fromhex("81CB0001 0A0B0C0D")) == (Goodbye((0x0A0B0C0D,), None),)


def test_voip_metrics_are_read_field_by_field() -> None:
    (report,) = parse_compound(xr(VOIP_METRICS))
    assert report == ExtendedReport(
        0x0A0B0C0D,
        (
            VoipMetrics(
                *(0x11223344, 50.0, 25.0, 75.0, 100 / 256, 120, 10000, 150, 80, -30, -70, 55, 16),
                *(93, None, 4.1, 3.9, 3, 3, 5, 40, 80, 200),
            ),
        ),
    )


def test_unavailable_quality_fields_are_none_and_not_127() -> None:
    silent = VOIP_METRICS.replace(bytes.fromhex("E2BA3710 5D7F2927"), bytes.fromhex("7F7F7F10 7F7F7F7F"))
    (report,) = parse_compound(xr(silent))
    assert isinstance(report, ExtendedReport)
    block = report.blocks[0]
    assert isinstance(block, VoipMetrics)
    assert (block.signal_level, block.noise_level, block.rerl) == (None, None, None)
    assert (block.r_factor, block.ext_r_factor, block.mos_lq, block.mos_cq) == (None, None, None, None)


def test_quality_values_out_of_their_range_are_ignored_as_the_rfc_says() -> None:
    filler = VOIP_METRICS.replace(bytes.fromhex("5D7F2927"), bytes.fromhex("65FF0033"))
    (report,) = parse_compound(xr(filler))
    assert isinstance(report, ExtendedReport)
    block = report.blocks[0]
    assert isinstance(block, VoipMetrics)
    assert (block.r_factor, block.ext_r_factor, block.mos_lq, block.mos_cq) == (None, None, None, None)


def test_time_marks_and_statistics_of_extended_reports() -> None:
    reference = bytes.fromhex("04000002 E5A1B2C389ABCDEF")
    dlrr = bytes.fromhex("05000006 00000001 B2C389AB 00010000 00000002 00000000 00000000")
    summary = bytes.fromhex(
        "06E80009 11223344 0001 03E9 00000005 00000002 00000010 00000090 00000040 00000020 3C403E01"
    )
    unknown = bytes.fromhex("FE000001 DEADBEEF")
    (report,) = parse_compound(xr(reference, dlrr, summary, unknown))
    assert isinstance(report, ExtendedReport)
    assert report.blocks == (
        ReceiverReferenceTime(0xE5A1B2C389ABCDEF),
        DelaySinceLastReceiverReport(1, 0xB2C389AB, 65536),
        DelaySinceLastReceiverReport(2, 0, 0),
        StatisticsSummary(0x11223344, 1, 1001, 5, 2, (16, 144, 64, 32), (60, 64, 62, 1)),
        OtherBlock(254, 4),
    )


def test_statistics_that_their_flags_disown_are_none() -> None:
    summary = bytes.fromhex("06800009 11223344 0001 03E9 00000005") + bytes(24)
    (report,) = parse_compound(xr(summary))
    assert isinstance(report, ExtendedReport)
    assert report.blocks == (StatisticsSummary(0x11223344, 1, 1001, 5, None, None, None),)


def test_padding_of_the_last_packet_is_left_out() -> None:
    padded = bytes.fromhex("A0C90002 0A0B0C0D 00000004")
    assert parse_compound(SR + padded)[1] == ReceiverReport(0x0A0B0C0D, ())


@pytest.mark.parametrize(
    ("octets", "defect"),
    [
        ("", "rtcp_short"),
        ("80C9", "rtcp_short"),
        ("40C90001 0A0B0C0D", "rtcp_version"),
        ("80000001 0A0B0C0D", "rtcp_type"),
        ("80C90002 0A0B0C0D", "rtcp_length"),
        ("81C90001 0A0B0C0D", "rtcp_report_count"),
        ("80C80001 0A0B0C0D", "rtcp_report_count"),
        ("80C90000", "rtcp_report_count"),
        ("A0C90001 0A0B0C00", "rtcp_padding"),
        ("A0C90001 0A0B0C03", "rtcp_padding"),
        ("A0C90001 0A0B0C08", "rtcp_padding"),
        ("A0C90002 0A0B0C0D 00000004 80C90001 0A0B0C0D", "rtcp_padding"),
        ("82CA0002 0A0B0C0D 00000000", "rtcp_sdes"),
        ("81CA0002 0A0B0C0D 01096162", "rtcp_sdes"),
        ("82CB0001 0A0B0C0D", "rtcp_bye"),
        ("81CB0002 0A0B0C0D 09616263", "rtcp_bye"),
        ("80CC0001 0A0B0C0D", "rtcp_app"),
        ("81CD0001 0A0B0C0D", "rtcp_feedback"),
        ("80CF0002 0A0B0C0D 07000008", "rtcp_xr"),
        ("80CF0003 0A0B0C0D 07000001 00000000", "rtcp_xr"),
        ("80CF0000", "rtcp_xr"),
    ],
)
def test_a_first_packet_that_lies_is_refused_by_name(octets: str, defect: str) -> None:
    with pytest.raises(RtcpError) as refused:
        parse_compound(bytes.fromhex(octets))
    assert refused.value.defect == defect


@pytest.mark.parametrize(
    ("tail", "defect"),
    [("80C9", "rtcp_short"), ("81C90001 0A0B0C0D", "rtcp_report_count"), ("82CA0002 0A0B0C0D 00000000", "rtcp_sdes")],
)
def test_a_later_packet_that_lies_is_a_counted_tail(tail: str, defect: str) -> None:
    rest = bytes.fromhex(tail)
    assert parse_compound(RR + rest) == (*parse_compound(RR), UnparsedTail(len(rest), defect))


def test_endless_compounds_and_reports_are_cut_and_counted() -> None:
    packets = parse_compound(bytes.fromhex("80CB0000") * 16000)
    assert len(packets) == MAX_PACKETS + 1
    assert packets[-1] == UnparsedTail(4 * (16000 - MAX_PACKETS), "rtcp_too_many")
    with pytest.raises(RtcpError, match="more than 64 XR blocks"):
        parse_compound(xr(*[bytes.fromhex("FE000000")] * 100))


def test_of_srtcp_only_the_clear_part_is_read() -> None:
    assert parse_compound(SR + SDES, encrypted=True) == (EncryptedReport(200, 0x0A0B0C0D, 72, None),)
    padded = bytes.fromhex("A1C90007 0A0B0C0D") + BLOCK + bytes.fromhex("80000001") + bytes(10)
    assert parse_compound(padded, encrypted=True) == (EncryptedReport(201, 0x0A0B0C0D, 46, None),)


def test_ciphertext_is_suspected_and_never_read_as_a_report() -> None:
    # A clear header, 24 octets that would be a report block, the SRTCP index with its E bit, a tag of 10 octets.
    noise = bytes(range(37, 61)) + bytes.fromhex("80000001") + bytes(range(200, 210))
    assert parse_compound(bytes.fromhex("81C90007 0A0B0C0D") + noise) == (
        EncryptedReport(201, 0x0A0B0C0D, 46, "srtcp_suspected"),
    )


def test_a_datagram_cut_by_the_snap_length_keeps_its_first_report() -> None:
    front = (SR + SDES)[: len(SR) + 12]
    assert parse_compound(front, cut=True) == (parse_compound(SR)[0], UnparsedTail(12, "rtcp_length"))


def test_rtcp_is_told_from_rtp_and_others() -> None:
    assert looks_like_rtcp(SR + SDES)
    assert looks_like_rtcp(EMPTY_RR)
    assert not looks_like_rtcp(bytes.fromhex("80C90002 0A0B0C0D"))  # longer than the datagram
    assert not looks_like_rtcp(bytes.fromhex("8000 0001 0000 0000 0A0B0C0D"))  # RTP, PCMU
    assert not looks_like_rtcp(bytes.fromhex("000100002112A442") + bytes(12))  # STUN
    assert not looks_like_rtcp(b"\x80\xc9")
    generic_nack = bytes.fromhex("80C10001 0A0B0C0D")
    assert not looks_like_rtcp(generic_nack)
    assert looks_like_rtcp(generic_nack, muxed=True)


def datagrams(capture: Path) -> dict[int, bytes]:
    """UDP payloads of a capture by frame number, read by scapy."""
    with PcapReader(str(capture)) as frames:
        return {n: bytes(frame[UDP].payload) for n, frame in enumerate(frames, 1) if UDP in frame}


def first_blocks(packets: tuple[RtcpPacket, ...]) -> list[tuple[int, ...]]:
    reports = [packet for packet in packets if isinstance(packet, SenderReport | ReceiverReport)]
    return [
        (b.ssrc, b.fraction_lost, b.cumulative_lost, b.interarrival_jitter, b.last_sr, b.delay_since_last_sr)
        for report in reports
        for b in report.blocks
    ]


CAPTURES = (
    "heplify_sip_ipv4_tcp.pcap",
    "ndpi_rtcp_multiple_pkts_in_the_same_datagram.pcap",
    "russo_dtmf_relay_digitdrop.pcapng",
    "russo_fax_sip_passthru_ogw.pcapng",
    "russo_h323_ss_hold_resume.pcapng",
    "russo_rtp_mcast_moh.pcapng",
    "sngrep_aaa.pcap",
)


@pytest.mark.parametrize("capture", CAPTURES)
def test_real_reports_are_read_as_tshark_reads_them(shared: Path, capture: str) -> None:
    payloads = datagrams(shared / "pcaps" / capture)
    golden = shared / "pcaps" / "golden" / f"{capture.rpartition('.')[0]}.rtcp.csv"
    with golden.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert rows
    for row in rows:
        payload = payloads[int(row["frame.number"])]
        assert looks_like_rtcp(payload)
        packets = parse_compound(payload)
        senders = [packet.ssrc for packet in packets if isinstance(packet, SenderReport | ReceiverReport)]
        assert senders == ([int(row["rtcp.senderssrc"], 16)] if row["rtcp.senderssrc"] else [])
        assert len(packets) == len(row["rtcp.pt"].split("|"))
        fields = ("fraction", "cum_nr", "jitter", "lsr", "dlsr")
        told = [row[f"rtcp.ssrc.{name}"] for name in fields]
        identifier = row["rtcp.ssrc.identifier"].split("|")[0]
        expected = [(int(identifier, 16), *map(int, told))] if told[0] else []
        assert first_blocks(packets) == expected


def test_ciphertext_of_a_real_call_is_not_read_where_tshark_reads_it(shared: Path) -> None:
    # The capture's RTCP is encrypted past its first eight octets: tshark's report blocks there (cumulative loss of
    # millions, jitter of days) are ciphertext.
    payloads = datagrams(shared / "pcaps" / "ndpi_discord.pcap")
    rtcp = [payload for payload in payloads.values() if looks_like_rtcp(payload)]
    assert len(rtcp) == 16
    for payload in rtcp:
        (packet,) = parse_compound(payload)
        assert isinstance(packet, EncryptedReport)
        assert packet.defect == "srtcp_suspected"


def read_or_refused(data: bytes, encrypted: bool = False) -> tuple[RtcpPacket, ...]:
    try:
        return parse_compound(data, encrypted)
    except RtcpError:
        return ()


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, encrypted: bool) -> None:
    packets = read_or_refused(data, encrypted)
    assert len(packets) <= MAX_PACKETS + 1


@given(
    st.lists(st.sampled_from([SR, RR, SDES, BYE, APP, xr(VOIP_METRICS)]), min_size=1, max_size=6),
    st.data(),
)
def test_real_compounds_with_flipped_bits_or_cut_anywhere_are_read_or_refused(
    parts: list[bytes], data: st.DataObject
) -> None:
    octets = bytearray(b"".join(parts))
    assert len(parse_compound(bytes(octets))) == len(parts)
    for _ in range(data.draw(st.integers(0, 8))):
        octets[data.draw(st.integers(0, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(octets)))
    assert len(read_or_refused(bytes(octets[:cut]))) <= len(parts) + 2
