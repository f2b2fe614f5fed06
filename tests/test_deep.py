"""Wireshark's decode of one call: the right frames, nothing secret, a clear line without tshark."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from builders import SECOND, make_call, make_leg, make_replay, make_stream
from capture_files import CALLEE, CALLER, DIGITS, GOOD_CALL, PACKETS_EACH_WAY, REFUSED_CALL, START_S, write_capture

from api.deep import (
    MOST_FRAMES,
    TsharkError,
    decode_call,
    display_filter,
    field_texts,
    quoted,
    require_tshark,
    stream_filter,
)
from api.main import UNUSABLE, shell
from api.masking import Pseudonyms
from api.rated import RatedCall, rate_replay
from collector.facts import Endpoint
from collector.simulator.capture_writer import pcap
from collector.simulator.frames import frame, udp_packet
from collector.simulator.signalling import CallPlan, Media, call_messages
from collector.simulator.traffic import StreamPlan, captured, framed

CALL_PACKETS = 150

with_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def rated_call(call_id: str, with_media: bool = True) -> RatedCall:
    leg = make_leg(call_id=call_id, src=Endpoint(CALLER, 5060), dst=Endpoint(CALLEE, 5060))
    first, last = (START_S + 2) * SECOND, (START_S + 8) * SECOND
    there = make_stream(
        call_id=call_id, src=Endpoint(CALLER, 16402), dst=Endpoint(CALLEE, 24080), ssrc=0xA1, first=first, last=last
    )
    back = make_stream(
        call_id=call_id, src=Endpoint(CALLEE, 24080), dst=Endpoint(CALLER, 16402), ssrc=0xB2, first=first, last=last
    )
    streams = (there, back) if with_media else ()
    replay = make_replay(calls=(make_call(call_id=call_id, legs=(leg,)),), streams=streams)
    return rate_replay(replay).calls[0]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_capture(tmp_path_factory.mktemp("deep") / "evening.pcap"))


@with_tshark
def test_the_frames_of_a_call_are_decoded_and_no_others(capture: str) -> None:
    text = decode_call([capture], rated_call(REFUSED_CALL, with_media=False), None)
    assert text.count("\nframe ") == 3  # INVITE, 503, ACK
    assert "Status-Line: SIP/2.0 503 Service Unavailable" in text
    assert GOOD_CALL not in text
    assert f"sip:{DIGITS[1]}@{CALLEE}" in text


@with_tshark
def test_media_is_decoded_with_its_headers_and_without_its_payload(capture: str) -> None:
    text = decode_call([capture], rated_call(GOOD_CALL), None)
    assert text.count("\nframe ") == min(MOST_FRAMES, 6 + 2 * PACKETS_EACH_WAY - 1)
    assert "Sequence number: 1000" in text
    assert "Media Attribute (a): rtpmap:8 PCMA/8000" in text
    assert "Payload: " not in text
    assert "d5:d5" not in text
    assert f"the first {MOST_FRAMES:,} frames" in text


@with_tshark
def test_nobody_is_named_while_people_are_masked(capture: str) -> None:
    text = decode_call([capture], rated_call(GOOD_CALL), Pseudonyms())
    assert "Method: INVITE" in text
    assert f"Call-ID: {GOOD_CALL}" in text
    assert "Media Attribute (a): rtpmap:8 PCMA/8000" in text
    assert "Sequence number: 1000" in text
    for number in DIGITS:
        assert number not in text


@with_tshark
def test_a_call_that_tshark_does_not_find_is_said(capture: str) -> None:
    assert "tshark finds no such frames" in decode_call([capture], rated_call("absent", with_media=False), None)


@with_tshark
def test_what_tshark_cannot_read_is_an_error_of_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(b"no capture" * 10)
    with pytest.raises(TsharkError, match="broken"):
        decode_call([str(broken)], rated_call(GOOD_CALL), None)


@with_tshark
def test_a_cut_capture_is_decoded_as_far_as_it_goes(capture: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(Path(capture).read_bytes()[:-20])
    text = decode_call([str(cut)], rated_call(REFUSED_CALL, with_media=False), None)
    assert text.count("\nframe ") == 2
    assert "cut.pcap" in text


@with_tshark
@pytest.mark.parametrize("call_id", ['a"b\\c', "a || frame", "é\udcff", "{}<>"])
def test_a_hostile_call_id_is_only_ever_a_string_of_the_filter(call_id: str, capture: str) -> None:
    chosen = quoted(call_id)
    assert chosen.isascii()
    assert chosen.count('"') == 2
    assert decode_call([capture], rated_call(call_id, with_media=False), None).count("\nframe ") == 0


def test_the_filter_names_call_ids_and_both_directions_of_media() -> None:
    chosen = display_filter(rated_call(GOOD_CALL))
    assert f'sip.Call-ID == "{GOOD_CALL}"' in chosen
    assert "udp.srcport == 16402 && udp.dstport == 24080 && rtp.ssrc == 0x000000a1" in chosen
    assert "udp.srcport == 24080 && udp.dstport == 16402 && rtp.ssrc == 0x000000b2" in chosen
    # Six seconds of media and a tenth on either side.
    assert "frame.time_epoch >= 1759500311.900000000 && frame.time_epoch <= 1759500318.100000000" in chosen


def test_a_capture_without_times_is_not_asked_for_times() -> None:
    assert "time_epoch" not in stream_filter(make_stream(first=0, last=0), make_call())
    assert "frame.time_epoch >= 0.000000000 &&" in stream_filter(make_stream(first=1, last=2), make_call())


def receiver_report(of: int, about: int) -> bytes:
    """RFC 3550 6.4.2, one report block."""
    return struct.pack("!BBHII20x", 0x81, 201, 7, of, about)


def calls_on_the_same_ports(ssrcs: Sequence[tuple[int, int]]) -> bytes:
    """Calls of five seconds, one every eight, each with media both ways and two reports of each side."""
    caller, callee = Endpoint(CALLER, 16402), Endpoint(CALLEE, 24080)
    found: list[tuple[int, bytes]] = []
    for number, (there, back) in enumerate(ssrcs):
        start = START_S * SECOND + number * 8 * SECOND
        plan = CallPlan(
            f"call-{number}@x",
            Endpoint(CALLER, 5060),
            Endpoint(CALLEE, 5060),
            *DIGITS,
            start,
            answer_after=SECOND,
            talk=5 * SECOND,
            caller_media=Media(caller),
            callee_media=Media(callee),
        )
        for said in call_messages(plan):
            found.append((said.at, frame(udp_packet(said.src, said.dst, said.payload))))
        talk = StreamPlan(src=caller, dst=callee, ssrc=there, packets=CALL_PACKETS, start=start + 2 * SECOND)
        heard = replace(talk, src=callee, dst=caller, ssrc=back)
        found += [framed(packet) for packet in captured([talk, heard])]
        for at in (start + 3 * SECOND, start + 5 * SECOND):
            for src, dst, of, about in ((caller, callee, there, back), (callee, caller, back, there)):
                ends = src._replace(port=src.port + 1), dst._replace(port=dst.port + 1)
                found.append((at, frame(udp_packet(*ends, receiver_report(of, about)))))
    return pcap(sorted(found))


@with_tshark
@pytest.mark.parametrize(
    "ssrcs", [[(0xA1, 0xB1), (0xA2, 0xB2), (0xA3, 0xB3)], [(0xA1, 0xB1)] * 3], ids=["own ssrc", "same ssrc"]
)
def test_later_calls_on_the_same_ports_keep_their_frames(
    ssrcs: list[tuple[int, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "three.pcap"
    path.write_bytes(calls_on_the_same_ports(ssrcs))
    assert shell(["replay", str(path), "--deep", "call-1@x"]) == 0
    decoded = capsys.readouterr().out.partition("Wireshark's decode")[2]
    assert set(re.findall(r"Call-ID: (\S+)", decoded)) == {"call-1@x"}
    at = [float(time) - START_S for time in re.findall(r"^frame \d+  ([\d.]+)  ", decoded, re.MULTILINE)]
    assert all(8 <= time <= 8 + 6.1 for time in at)
    assert decoded.count("\n  RTP\n") == 2 * CALL_PACKETS
    assert decoded.count("\n  RTCP\n") == 4
    assert decoded.count("\n  SIP\n") == 7  # INVITE, 100, 180, 200, ACK, BYE, 200
    assert "the first 500 frames" not in decoded


def test_a_call_of_very_many_streams_is_asked_for_some_of_them() -> None:
    streams = tuple(make_stream(call_id=GOOD_CALL, ssrc=ssrc) for ssrc in range(5000))
    rated = rate_replay(make_replay(calls=(make_call(call_id=GOOD_CALL),), streams=streams)).calls[0]
    assert len(display_filter(rated)) < 100_000  # Linux takes 131,071 octets in one argument


def test_keys_and_credentials_are_never_printed() -> None:
    fields = [
        ("sdp_media_attr", "Media Attribute (a): crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET"),
        ("authorization", "Authorization: Digest username=..."),
        ("rtp_payload", "Payload: d5d5"),
        ("method", "Method: INVITE"),
    ]
    assert list(field_texts("sip", fields, False)) == ["Method: INVITE"]


def test_the_digit_of_an_event_is_masked() -> None:
    fields = [("event_id", "Event ID: DTMF Four 4 (4)"), ("duration", "Event Duration: 640")]
    assert list(field_texts("rtpevent", fields, True)) == ["Event Duration: 640"]
    assert len(list(field_texts("rtpevent", fields, False))) == 2


def test_a_cname_is_left_out_while_people_are_masked() -> None:
    sip = [("sdp_media_attr", "Media Attribute (a): ssrc:1 cname:alice@host")]
    rtcp = [("sdes_text", "Text: alice@host"), ("senderssrc", "Sender SSRC: 0x1")]
    assert list(field_texts("sip", sip, True)) == []
    assert list(field_texts("rtcp", rtcp, True)) == ["Sender SSRC: 0x1"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("user_agent", "User-Agent: Jane Roe's iPhone"),
        ("server", "Server: jane-laptop"),
        ("status_line", "Status-Line: SIP/2.0 404 Jane Roe unknown"),
        ("reason", 'Reason: Q.850;cause=1;text="07700900999 unknown"'),
        ("sdp_media_attr", "Media Attribute (a): mid:jane"),
        ("sdp_media_attr", "Media Attribute (a): fmtp:101 0-15;07700900111"),
        ("sdp_media_attr", "Media Attribute (a): rtpmap:101 JANE/8000"),
        ("sdp_media_attr", "Media Attribute (a): label:jane"),
        ("sdp_media", "Media Description, name and address (m): jane 4000 RTP/AVP 0"),
        ("sdp_connection_info", "Connection Information (c): IN IP4 janes-laptop.local"),
        ("via_sent_by_address", "Sent-by Address: janes-laptop.local"),
        ("session_id", "Session-ID: 07700900111"),
        ("event", "Event: jane"),
        ("supported", "Supported: timer, jane"),
        ("content_type", "Content-Type: multipart/mixed;boundary=jane"),
        ("retry_after", "Retry-After: 60 (jane is out)"),
        ("method", "Method: JANE"),
        ("cseq", "CSeq: 1 JANE"),
        ("from_user", "SIP from address User Part: jane"),
        ("a_field_of_tomorrow", "New: jane"),
    ],
)
def test_a_field_that_may_name_a_person_is_left_out_while_people_are_masked(name: str, shown: str) -> None:
    for layer in ("sip", "sdp"):
        assert list(field_texts(layer, [(name, shown)], True)) == []
        assert list(field_texts(layer, [(name, shown)], False)) == [shown]


@pytest.mark.parametrize(
    ("layer", "name"),
    [("rtp", "p_type"), ("rtp", "setup"), ("rtp", "ext_rfc5285_data"), ("rtcp", "bye_reason"), ("rtcp", "app_name")],
)
def test_only_numbers_of_the_media_are_printed_while_people_are_masked(layer: str, name: str) -> None:
    assert list(field_texts(layer, [(name, "Text: jane")], True)) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("status_code", "Status-Code: 486"),
        ("cseq", "CSeq: 102 INVITE"),
        ("allow", "Allow: INVITE, ACK, BYE,CANCEL"),
        ("supported", "Supported: 100rel, timer, replaces"),
        ("session_expires", "Session-Expires: 1800;refresher=uac"),
        ("sdp_connection_info", "Connection Information (c): IN IP6 2001:db8::1"),
        ("sdp_media", "Media Description, name and address (m): audio 16402 RTP/AVP 8 0 101"),
        ("sdp_media_attr", "Media Attribute (a): rtpmap:101 telephone-event/8000"),
        ("sdp_media_attr", "Media Attribute (a): fmtp:101 0-15"),
        ("sdp_media", "Media Description, name and address (m): image 4000 udptl t38"),
        ("sdp_media_attr", "Media Attribute (a): ptime:20"),
        ("sdp_media_attr", "Media Attribute (a): maxptime:150"),
        ("sdp_media_attr", "Media Attribute (a): sendonly"),
    ],
)
def test_what_names_nobody_is_printed_while_people_are_masked(name: str, shown: str) -> None:
    assert list(field_texts("sip", [(name, shown)], True)) == [shown]


def test_without_tshark_there_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(TsharkError, match="tshark"):
        require_tshark()
    assert shell(["replay", "any.pcap", "--deep", GOOD_CALL]) == UNUSABLE
    captured = capsys.readouterr()
    assert captured.err == "callgauge: --deep needs tshark, which is not installed (Debian: apt-get install tshark)\n"
