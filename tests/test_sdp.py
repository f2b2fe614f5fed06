"""SDP: what is announced is read as RFC 8866 and its extensions mean it, and nothing crashes the reader."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.facts import CodecFormat, Endpoint
from collector.protocols.rtp import STATIC_FORMATS
from collector.protocols.sdp import (
    CANDIDATE_LIMIT,
    MEDIA_LIMIT,
    IceCandidate,
    MediaLine,
    SdpError,
    SessionDescription,
    parse_sdp,
)

HEAD = ("v=0", "o=alice 2890844526 2890844527 IN IP4 host.example.com", "s=Call", "c=IN IP4 192.0.2.10", "t=0 0")


def described(*lines: str, head: Sequence[str] = HEAD, end: str = "\r\n") -> SessionDescription:
    return parse_sdp("".join(line + end for line in (*head, *lines)).encode())


def only(*lines: str, head: Sequence[str] = HEAD) -> MediaLine:
    (media,) = described(*lines, head=head).media
    return media


def test_an_ordinary_audio_offer() -> None:
    found = described(
        "m=audio 49170 RTP/AVP 8 0 18 101 96",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:18 G729/8000",
        "a=fmtp:18 annexb=no",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=rtpmap:96 opus/48000/2",
        "a=ptime:20",
        "a=maxptime:60",
        "a=sendrecv",
        "a=label:1",
        "a=mid:audio",
    )
    assert found.origin == ("alice", "2890844526", "2890844527", "host.example.com")
    assert (found.name, found.address, found.direction, found.defects) == ("Call", "192.0.2.10", "sendrecv", ())
    (media,) = found.media
    assert media.endpoint == Endpoint("192.0.2.10", 49170)
    assert (media.kind, media.protocol, media.port_count, media.direction) == ("audio", "RTP/AVP", 1, "sendrecv")
    assert media.formats == {
        8: CodecFormat("PCMA", 8000),
        0: CodecFormat("PCMU", 8000),
        18: CodecFormat("G729", 8000, 1, "annexb=no"),
        101: CodecFormat("TELEPHONE-EVENT", 8000, 1, "0-16"),
        96: CodecFormat("OPUS", 48000, 2),
    }
    assert list(media.formats) == [8, 0, 18, 101, 96]
    assert (media.ptime_ms, media.maxptime_ms, media.label, media.mid) == (20.0, 60.0, "1", "audio")
    assert media.rtcp == Endpoint("192.0.2.10", 49171)
    assert (media.encrypted, media.rtcp_mux, media.is_t38, media.on_hold) == (False, False, False, False)


def test_lines_may_end_in_lf_alone() -> None:
    assert described("m=audio 4000 RTP/AVP 0", end="\n") == described("m=audio 4000 RTP/AVP 0")


def test_a_media_line_takes_from_the_session_what_it_does_not_say() -> None:
    head = (*HEAD, "a=sendonly", "a=ptime:30", "a=fingerprint:sha-256 4A:AD")
    first, second = described(
        "m=audio 4000 RTP/AVP 0",
        "m=video 4002 RTP/AVP 31",
        "c=IN IP4 192.0.2.99",
        "a=recvonly",
        "a=ptime:10",
        head=head,
    ).media
    assert (first.address, first.direction, first.ptime_ms, first.encrypted) == ("192.0.2.10", "sendonly", 30.0, True)
    assert (second.address, second.direction, second.ptime_ms) == ("192.0.2.99", "recvonly", 10.0)


@pytest.mark.parametrize(
    ("connection", "address"),
    [
        ("c=IN IP6 2001:db8::20", "2001:db8::20"),
        ("c=IN IP4 media.example.com", "media.example.com"),
        ("c=IN IP4 233.252.0.1/127/3", "233.252.0.1"),
        ("c=IN IP6 ff15::101/3", "ff15::101"),
    ],
)
def test_addresses_of_every_kind(connection: str, address: str) -> None:
    assert only("m=audio 4000 RTP/AVP 0", connection).address == address


@pytest.mark.parametrize(
    ("lines", "on_hold"),
    [
        (("m=audio 4000 RTP/AVP 0",), False),
        (("m=audio 4000 RTP/AVP 0", "a=sendonly"), True),  # RFC 3264 8.4
        (("m=audio 4000 RTP/AVP 0", "a=inactive"), True),
        (("m=audio 4000 RTP/AVP 0", "a=recvonly"), False),
        (("m=audio 4000 RTP/AVP 0", "c=IN IP4 0.0.0.0"), True),  # RFC 2543 B.5
        (("m=audio 9 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 0.0.0.0"), False),  # RFC 8840 4.1.1
        (("m=audio 0 RTP/AVP 0", "a=inactive"), False),  # refused, not held
    ],
)
def test_hold_old_and_new(lines: tuple[str, ...], on_hold: bool) -> None:
    assert only(*lines).on_hold is on_hold


@pytest.mark.parametrize(
    ("lines", "rtcp"),
    [
        (("m=audio 4000 RTP/AVP 0",), Endpoint("192.0.2.10", 4001)),
        (("m=audio 4000 RTP/AVP 0", "a=rtcp:53020"), Endpoint("192.0.2.10", 53020)),  # RFC 3605 2.1
        (("m=audio 4000 RTP/AVP 0", "a=rtcp:53020 IN IP4 126.16.64.4"), Endpoint("126.16.64.4", 53020)),
        (("m=audio 4000 RTP/AVP 0", "a=rtcp:53020 IN IP6 2001:db8::1"), Endpoint("2001:db8::1", 53020)),
        (("m=audio 4000 RTP/AVP 0", "a=rtcp-mux"), Endpoint("192.0.2.10", 4000)),  # RFC 5761 5.1.1
        (("m=audio 0 RTP/AVP 0",), None),
        (("m=audio 65535 RTP/AVP 0",), None),
        (("m=image 4000 udptl t38",), None),
    ],
)
def test_where_rtcp_goes(lines: tuple[str, ...], rtcp: Endpoint | None) -> None:
    assert only(*lines).rtcp == rtcp


@pytest.mark.parametrize(
    ("lines", "encrypted"),
    [
        (("m=audio 4000 RTP/AVP 0",), False),
        (("m=audio 4000 RTP/SAVP 0",), True),
        (("m=audio 4000 RTP/SAVPF 0",), True),
        (("m=audio 4000 UDP/TLS/RTP/SAVPF 0",), True),
        (("m=audio 4000 RTP/AVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"), True),
        (("m=audio 4000 RTP/AVP 0", "a=fingerprint:sha-1 4A:AD"), True),
    ],
)
def test_srtp_is_seen_by_profile_key_or_fingerprint(lines: tuple[str, ...], encrypted: bool) -> None:
    assert only(*lines).encrypted is encrypted


def test_t38_over_udptl() -> None:
    media = only("m=image 49200 udptl t38", "a=T38FaxVersion:0")
    assert (media.is_t38, media.is_rtp, media.formats, media.format_names) == (True, False, {}, ("t38",))


def test_t38_over_rtp() -> None:
    assert only("m=audio 49200 RTP/AVP 100", "a=rtpmap:100 t38/8000").is_t38


def test_other_protocols_have_names_and_no_formats() -> None:
    media = only("m=application 32416 TCP/MRCPv2 1", "a=setup:passive")
    assert (media.protocol, media.formats, media.format_names) == ("TCP/MRCPv2", {}, ("1",))


def test_ports_in_pairs() -> None:
    media = only("m=video 49170/2 RTP/AVP 31")
    assert (media.port, media.port_count) == (49170, 2)


def test_ice_candidates_of_every_kind() -> None:
    media = only(
        "m=audio 45664 RTP/AVP 0",
        "a=candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host",
        "a=candidate:2 2 udp 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
        "a=candidate:3 1 TCP 1 2001:db8::7 9 typ relay raddr :: rport 0 tcptype active",
    )
    assert media.candidates == (
        IceCandidate(Endpoint("203.0.113.141", 8998), 1, "host", "UDP"),
        IceCandidate(Endpoint("192.0.2.3", 45664), 2, "srflx", "UDP"),
        IceCandidate(Endpoint("2001:db8::7", 9), 1, "relay", "TCP"),
    )


def test_the_static_table_fills_in_and_rtpmap_overrules_it() -> None:
    formats = only("m=audio 4000 RTP/AVP 0 3 13 9 33 2", "a=rtpmap:2 G726-32/8000", "a=rtpmap:3 L16/16000").formats
    assert formats == {
        0: CodecFormat("PCMU", 8000),
        3: CodecFormat("L16", 16000),
        13: CodecFormat("CN", 8000),
        9: CodecFormat("G722", 8000),
        33: CodecFormat("MP2T", 90000),
        2: CodecFormat("G726-32", 8000),
    }


@pytest.mark.parametrize(
    ("payload_type", "name", "clock_rate", "channels"),
    [
        (0, "PCMU", 8000, 1),
        (6, "DVI4", 16000, 1),
        (10, "L16", 44100, 2),
        (17, "DVI4", 22050, 1),
        (34, "H263", 90000, 1),
    ],
)
def test_static_formats_are_those_of_rfc_3551(payload_type: int, name: str, clock_rate: int, channels: int) -> None:
    assert STATIC_FORMATS[payload_type] == CodecFormat(name, clock_rate, channels)


def test_numbers_that_rfc_3551_reserves_have_no_static_format() -> None:
    assert not {1, 2, 19, 20, 24, 27, 29, 30, *range(35, 128)} & set(STATIC_FORMATS)


@pytest.mark.parametrize(
    ("lines", "defect"),
    [
        (("m=audio 4000 RTP/AVP 97",), "rtpmap_missing"),
        (("m=audio 4000 RTP/AVP 97", "a=rtpmap:97 speex"), "rtpmap_malformed"),
        (("m=audio 4000 RTP/AVP 97", "a=rtpmap:97 speex/0"), "rtpmap_malformed"),
        (("m=audio 4000 RTP/AVP 97", f"a=rtpmap:97 speex/{10**40}"), "rtpmap_malformed"),
        (("m=audio 4000 RTP/AVP 200",), "payload_type_malformed"),
        (("m=audio 70000 RTP/AVP 0",), "media_malformed"),
        (("m=audio",), "media_malformed"),
        (("m=audio -1 RTP/AVP 0",), "media_malformed"),
        (("m=audio 4000/x RTP/AVP 0",), "media_malformed"),
        (("c=IN IP4",), "connection_malformed"),
        (("m=audio 4000 RTP/AVP 0", "a=ptime:nan"), "ptime_malformed"),
        (("m=audio 4000 RTP/AVP 0", "a=ptime:0"), "ptime_malformed"),
        (("m=audio 4000 RTP/AVP 0", "a=rtcp:x"), "rtcp_malformed"),
        (("m=audio 4000 RTP/AVP 0", "a=candidate:1 1 UDP"), "candidate_malformed"),
        (("garbage",), "line_malformed"),
    ],
)
def test_what_is_wrong_is_named_and_the_rest_is_read(lines: tuple[str, ...], defect: str) -> None:
    found = described(*lines, "m=audio 5000 RTP/AVP 8")
    assert found.defects == (defect,)
    assert found.media[-1].formats == {8: CodecFormat("PCMA", 8000)}


@pytest.mark.parametrize(
    ("missing", "defect"),
    [(0, "version_not_first"), (1, "origin_missing"), (2, "session_name_missing"), (4, "timing_missing")],
)
def test_missing_mandatory_lines_are_named(missing: int, defect: str) -> None:
    head = [line for number, line in enumerate(HEAD) if number != missing]
    assert described("m=audio 4000 RTP/AVP 0", head=head).defects == (defect,)


def test_a_media_line_without_any_connection_is_named() -> None:
    found = described("m=audio 4000 RTP/AVP 0", head=(*HEAD[:3], HEAD[4]))
    assert found.defects == ("connection_missing",)
    assert found.media[0].address == ""


@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", b"hello", b"<xml/>", b"\x80\x00", b"Signal=5\r\nDuration=160\r\n"])
def test_no_usable_line_is_the_one_error(body: bytes) -> None:
    with pytest.raises(SdpError) as caught:
        parse_sdp(body)
    assert caught.value.defect == "no_usable_line"


def test_hostile_counts_are_bounded() -> None:
    candidates = ["a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host"] * 1000
    found = described(*(["m=audio 4000 RTP/AVP 0", *candidates] * 3), *["m=audio 4000 RTP/AVP 0"] * 1000)
    assert len(found.media) == MEDIA_LIMIT
    assert len(found.media[0].candidates) == CANDIDATE_LIMIT
    assert "media_unlisted" in found.defects


@pytest.mark.parametrize("extra", ["b=AS:80", "i=x", "a=tool:x", "a=T38FaxVersion:0"])
def test_the_session_part_reads_the_same_with_a_line_more(extra: str) -> None:
    for connection in ("c=IN IP4 192.0.2.10", "c=IN IP6 ff15::101/3", "c=IN IP4 host.example.com"):
        head = [*HEAD[:3], connection, HEAD[4]]
        assert described("m=audio 4 RTP/AVP 0", head=head) == described("m=audio 4 RTP/AVP 0", head=[*head, extra])


def test_what_one_description_says_never_shows_in_another() -> None:
    attributes = ("a=rtpmap:96 opus/48000/2", "a=ptime:40")
    first = only("m=audio 4000 RTP/AVP 96", *attributes)
    second = only("m=video 5000/2 RTP/AVP 96", *attributes, head=(*HEAD, "a=inactive"))
    assert (first.kind, first.port, first.direction, first.port_count) == ("audio", 4000, "sendrecv", 1)
    assert (second.kind, second.port, second.direction, second.port_count) == ("video", 5000, "inactive", 2)
    assert first.formats == second.formats
    with pytest.raises(TypeError):
        first.formats[0] = CodecFormat("PCMU", 8000)  # type: ignore[index]


@given(st.binary(max_size=400))
def test_any_bytes_give_a_description_or_the_one_error(body: bytes) -> None:
    with suppress(SdpError):
        parse_sdp(body)


PIECES = [
    "v=0",
    "o=",
    "s=",
    "c=",
    "t=",
    "m=audio",
    "m=image",
    "a=rtpmap:",
    "a=fmtp:",
    "a=ptime:",
    "a=rtcp:",
    "a=candidate:",
]
WORDS = [
    "0",
    "8",
    "96",
    "4000",
    "70000",
    "RTP/AVP",
    "udptl",
    "t38",
    "IN",
    "IP4",
    "IP6",
    "192.0.2.1",
    "::1",
    "opus/48000/2",
]


@given(
    st.lists(
        st.tuples(st.sampled_from(PIECES), st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=8)),
        max_size=12,
    )
)
def test_lines_in_any_order_keep_ports_and_payload_types_in_range(lines: list[tuple[str, list[str]]]) -> None:
    body = "\n".join(f"{piece} {' '.join(words)}" for piece, words in lines).encode("utf-8", "replace")
    try:
        found = parse_sdp(body)
    except SdpError:
        return
    for media in found.media:
        assert 0 <= media.port < 65536
        assert all(0 <= number < 128 and codec.clock_rate > 0 for number, codec in media.formats.items())
        assert media.rtcp is None or 0 < media.rtcp.port < 65536


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_octet_never_stops_the_reader(position: int, value: int) -> None:
    body = bytearray(("\r\n".join([*HEAD, "m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"])).encode())
    body[position % len(body)] = value
    parse_sdp(bytes(body))


PARTS = st.sampled_from(
    (
        "m=audio 49170 RTP/AVP 8 0 101",
        "m=audio 0 RTP/AVP 8",
        "m=audio 70000 RTP/AVP 8",
        "m=image 5004 udptl t38",
        "m=audio 49170/2 RTP/AVP 0 ",
        "m=audio  49170 RTP/AVP 0",
        "m=audio 49170 RTP/SAVP 111",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:8",
        "a=ptime:20",
        "a=sendonly",
        "a=rtcp:53020",
        "a=rtcp-mux",
        "c=IN IP4 192.0.2.77/127",
        "x",
        "",
        "a=label:\N{LATIN SMALL LETTER E WITH ACUTE}",
    )
)


@given(st.lists(PARTS, max_size=6), st.sampled_from(("\r\n", "\n")), st.booleans())
def test_the_usual_form_is_read_as_any_other(lines: list[str], end: str, closed: bool) -> None:
    # Bandwidth (RFC 8866 5.8) says nothing that is read here, but a session with it is not in the usual form.
    def read(head: Sequence[str]) -> SessionDescription:
        text = end.join((*head, "m=audio 16384 RTP/AVP 0", *lines)) + (end if closed else "")
        return parse_sdp(text.encode())

    assert read(HEAD) == read((*HEAD[:4], "b=AS:64", *HEAD[4:]))
    assert read((*HEAD[:2], "s= ", "c=IN IP4 /24", HEAD[4])).address == ""
