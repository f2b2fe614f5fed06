"""SIP messages: starts, headers, addresses, bodies and streams, by RFC 3261 and what RFC 4475 asks beyond the files."""

from __future__ import annotations

import gzip
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sip_messages import BYE, INVITE, OK, ORDINARY, SDP, all_of, lines

from collector.facts import Reason
from collector.protocols.sip import SipError, frame_length, looks_like_sip, parse
from collector.protocols.sip_values import parse_name_addr, parse_uri, parse_via, split_unquoted

BASE = (
    "Via: SIP/2.0/UDP host.example.com;branch=z9hG4bK1",
    "From: <sip:a@example.com>;tag=1",
    "To: <sip:b@example.com>",
    "Call-ID: 1@example.com",
    "CSeq: 8 OPTIONS",
)


def request(*more: str, start: str = "OPTIONS sip:user@example.com SIP/2.0", body: bytes = b"") -> bytes:
    """An OPTIONS whose headers are replaced by those of the same name in `more`, the others added."""
    names = {line.partition(":")[0].strip().lower() for line in more}
    return lines(start, *(line for line in BASE if line.partition(":")[0].lower() not in names), *more, body=body)


def defects(*more: str, start: str = "OPTIONS sip:user@example.com SIP/2.0", body: bytes = b"") -> tuple[str, ...]:
    return parse(request(*more, start=start, body=body)).defects


def test_an_invite_is_read_whole() -> None:
    found = parse(INVITE)
    assert found.defects == ()
    assert (found.method, found.status, found.request_uri) == (
        "INVITE",
        0,
        "sip:bob@biloxi.example.com:5080;transport=tcp",
    )
    assert (found.call_id, found.cseq, found.cseq_method) == (
        "a84b4c76e66710@pc33.atlanta.example.com",
        314159,
        "INVITE",
    )
    assert (found.from_tag, found.to_tag, found.branch) == ("1928301774", "", "z9hG4bKnashds8")
    assert found.from_ is not None
    assert found.from_.display == "Alice, the 1st"
    assert (found.from_.uri.user, found.from_.uri.host, found.from_.uri.params) == (
        "+441632960001",
        "atlanta.example.com",
        {"user": "phone"},
    )
    assert found.session_id == ("ab30317f1a784dc48ff824d0d3715d86", "0" * 32)
    assert found.sdp_body() == SDP
    assert found.headers("record-route") == ["<sip:p1.example.com;lr>", "<sip:p2.example.com:5061;lr=on>"]
    assert found.headers("allow") == ["INVITE", "ACK", "BYE"]
    (contact,) = found.contacts
    assert contact.params == {"+sip.instance": "<urn:uuid:0>", "expires": "60"}


def test_compact_forms_are_the_long_names() -> None:
    found = parse(OK)
    assert (found.status, found.reason_phrase, found.method, found.request_uri) == (200, "OK", "", "")
    assert (found.call_id, found.from_tag, found.to_tag, found.branch) == (
        "a84b4c76e66710",
        "1928301774",
        "a6c85cf",
        "z9hG4bKnashds8",
    )
    assert found.header("Call-ID") == found.header("i") == "a84b4c76e66710"
    assert found.to is not None
    assert (found.to.uri.scheme, found.to.uri.user) == ("tel", "+441632960002")
    assert found.contacts == []
    assert found.via[0].port == 5060


def test_reasons_of_both_protocols() -> None:
    assert parse(BYE).reasons == [Reason("Q.850", 16, "Normal call clearing"), Reason("SIP", 200, "")]
    assert parse(request("Reason: Q.850 ;cause=abc", "Reason: foo")).reasons == [
        Reason("Q.850", None, ""),
        Reason("FOO", None, ""),
    ]
    assert parse(INVITE).reasons == []


def test_a_session_id_of_the_old_form_has_no_remote() -> None:
    assert parse(request("Session-ID: F81D4FAE7DEC11D0A76500A0C91E6BF6")).session_id == (
        "f81d4fae7dec11d0a76500a0c91e6bf6",
        "",
    )
    assert parse(BYE).session_id is None


# RFC 4475, by the kind of message where its file is not beside the project


def test_rfc4475_intmeth_every_character_that_the_grammar_allows() -> None:
    method = "!interesting-Method0123456789_*+`.%indeed'~"
    raw = lines(
        f"{method} sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
        "@example.com SIP/2.0",
        "Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~",
        'To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)@example.com>',
        "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>"
        ";fromParam''~+*_!.-%=\"\u0440\";tag=_token~1'+`*%!-.",
        "Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
        f"CSeq: 139122385 {method}",
    )
    found = parse(raw)
    assert found.method == found.cseq_method == method
    assert found.from_tag == "_token~1'+`*%!-."
    assert found.branch == "z9hG4bK-.!%66*_+`'~"
    assert found.from_ is not None
    assert found.from_.display == "token1~` token2'+_ token3*%!.-"
    assert found.call_id == "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    assert found.defects == ()


def test_rfc4475_escnull_escaped_nulls_are_kept() -> None:
    uri, found = parse_uri("sip:null-%00-null@example.com")
    assert (uri.user, found) == ("null-\x00-null", ())


def test_rfc4475_esc02_percent_outside_uris_is_no_escape() -> None:
    raw = request('From: "%Z%45" <sip:resource@example.com>;tag=f232jadfj23', "Contact: <sip:alias1@host1.example.com>")
    assert parse(raw).defects == ()
    from_ = parse(raw).from_
    assert from_ is not None
    assert from_.display == "%Z%45"


def test_rfc4475_lwsdisp_no_blank_between_name_and_bracket() -> None:
    address, found = parse_name_addr("caller<sip:caller@example.com>;tag=323")
    assert (address.display, address.params, found) == ("caller", {"tag": "323"}, ())


def test_rfc4475_dblreq_what_follows_the_body_in_a_datagram_is_discarded() -> None:
    found = parse(request("Content-Length: 0") + INVITE)
    assert (found.method, found.body, found.defects) == ("OPTIONS", b"", ())


def test_rfc4475_unreason_and_noreason() -> None:
    found = parse(lines("SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e", *BASE))
    assert (found.reason_phrase, found.defects) == ("= 2**3 * 5**2 \u043d\u043e", ())
    found = parse(lines("SIP/2.0 100 ", *BASE))
    assert (found.status, found.reason_phrase, found.defects) == (100, "", ())
    assert parse(lines("SIP/2.0 100", *BASE)).defects == ("reason_phrase_missing",)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("Via: SIP/2.0/UDP 192.0.2.15;;,;,,",), "empty_parameter"),  # badinv01
        (('Contact: "Joe" <sip:joe@example.org>;;;;',), "empty_parameter"),
        (("Content-Length: 9999",), "content_length_mismatch"),  # clerr
        (("Content-Length: -999",), "content_length_malformed"),  # ncl
        (('To: "Mr. J. User <sip:j.user@example.com>',), "quoted_string_unterminated"),  # quotbal
        (("Max-Forwards: 300",), "max_forwards_out_of_range"),  # scalar02
        (("Expires: 10000000000000000000000000000000000000000000000",), "expires_out_of_range"),
        (("Retry-After: 949302838503028349304023988",), "retry_after_out_of_range"),
        (("CSeq: 36893488147419103232 OPTIONS",), "cseq_out_of_range"),
        (("CSeq: 2147483648 OPTIONS",), "cseq_out_of_range"),  # RFC 3261 8.1.1.5: below 2**31
        (("Max-Forwards: 1", "Max-Forwards: 2"), "duplicate_max_forwards"),  # multi01
        (("Call-ID: 1", "i: 2"), "duplicate_call_id"),
        (("CSeq: 5 OPTIONS", "CSeq: 59 OPTIONS"), "duplicate_cseq"),
        (("From: <sip:a@b>;tag=1", "f: <sip:c@d>;tag=2"), "duplicate_from"),
        (("To: <sip:a@b>", "t: <sip:c@d>"), "duplicate_to"),
        (("Content-Length: 0", "L: 0"), "duplicate_content_length"),  # mcl01
        (("Date: Fri, 01 Jan 2010 16:00:00 EST",), "date_timezone"),
        (("Date: tomorrow",), "date_malformed"),
        (("Call-ID: a b",), "call_id_malformed"),
        (("CSeq: OPTIONS 8",), "cseq_malformed"),
        (("no colon here",), "header_line_malformed"),
        (("(name): value",), "header_line_malformed"),
        (("Via: SIP/2.0 UDP host",), "via_malformed"),
        (("Via: SIP/2.0/UDP host:99999",), "port_malformed"),
        (("Via: SIP/2.0/UDP ho_st:x",), "port_malformed"),
        (("Via: SIP/2.0/UDP 2001:db8::9;branch=z9hG4bK1",), "ipv6_without_brackets"),
        (("Via: SIP/2.0/UDP [2001:db8::g]",), "ipv6_address_malformed"),
        (("From: <sip:a@b;tag=1",), "brackets_unbalanced"),
        (("From: a@b;tag=1",), "uri_scheme_missing"),
        (("From: <sip:a b@c>;tag=1",), "addr_spec_whitespace"),
        (("From: <sip:a<b@c>;tag=1",), "uri_user_malformed"),
        (("Subject: a\x1b[2J",), "control_character"),
        (("Warning: 1812 overture \"x\"",), "warning_code_out_of_range"),
        (("Content-Type: sdp",), "content_type_malformed"),
    ],
)  # fmt: skip
def test_each_kind_of_defect_has_a_name(more: tuple[str, ...], expected: str) -> None:
    assert expected in defects(*more)
    assert parse(request(*more)).method == "OPTIONS"


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("OPTIONS <sip:user@example.com> SIP/2.0", "request_uri_brackets"),  # ltgtruri
        ("OPTIONS sip:user@example.com; lr SIP/2.0", "request_uri_whitespace"),  # lwsruri
        ("OPTIONS  sip:user@example.com SIP/2.0", "start_line_whitespace"),  # lwsstart
        ("OPTIONS sip:user@example.com SIP/2.0  ", "start_line_trailing_space"),  # trws
        ("OPTIONS sip:user@example.com?Route=%3Csip:x%3E SIP/2.0", "request_uri_headers"),  # escruri
        ("OPTIONS sip:user@example.com SIP/7.0", "version_unsupported"),  # badvers
        ("OPTIONS example.com SIP/2.0", "uri_scheme_missing"),
        ("BYE sip:user@example.com SIP/2.0", "cseq_method_mismatch"),  # mismatch01
        ("SIP/2.0 4294967301 better not", "status_code_out_of_range"),  # bigcode
        ("SIP/2.0 700 x", "status_code_out_of_range"),
        ("SIP/2.0 099 x", "status_code_out_of_range"),
    ],
)
def test_each_defect_of_a_start_line_has_a_name(start: str, expected: str) -> None:
    assert defects(start=start) == (expected,)


@pytest.mark.parametrize("missing", range(5))
def test_each_mandatory_header_is_missed_by_name(missing: int) -> None:
    name = BASE[missing].partition(":")[0].lower().replace("-", "_")
    found = parse(lines("OPTIONS sip:a SIP/2.0", *(line for line in BASE if line != BASE[missing])))
    assert found.defects == (f"missing_{name}",)


def test_a_body_that_nothing_names_is_a_defect_and_sdp_when_it_looks_so() -> None:
    found = parse(request(f"Content-Length: {len(SDP)}", body=SDP))
    assert found.defects == ("missing_content_type",)
    assert found.sdp_body() == SDP
    assert parse(request(body=b"hello")).sdp_body() is None


def test_lines_that_end_in_lf_are_read_and_named() -> None:
    found = parse(INVITE.replace(b"\r\n", b"\n"))
    assert found.call_id == parse(INVITE).call_id
    assert "line_end_not_crlf" in found.defects


def test_blank_lines_before_a_message_are_skipped() -> None:
    assert parse(b"\r\n\r\n" + BYE).defects == ()
    assert parse(b"\r\n\r\n" + BYE).call_id == parse(BYE).call_id


def test_a_cut_message_gives_what_is_there() -> None:
    found = parse(INVITE[: INVITE.index(b"Contact")])
    assert found.call_id == parse(INVITE).call_id
    assert found.defects == ("header_end_missing",)


# Start lines


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\r\n\r\n",
        b"\x00\x00\x00\x00",
        b"GET / HTTP/1.1\r\nHost: sip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\n\r\n",
        b"SIP/2.0\r\n\r\n",
        b"SIP/2.0 OK\r\n\r\n",
        b"INVITE SIP/2.0\r\n\r\n",
        b"INVITE sip:a@b\r\n\r\n",
        b"IN<VITE sip:a@b SIP/2.0\r\n\r\n",
        b"INVITE sip:a@b SIP/two\r\n\r\n",
        b"Via: SIP/2.0/UDP host\r\n\r\n",
    ],
)
def test_what_is_not_sip_is_the_one_error(data: bytes) -> None:
    assert not looks_like_sip(data)
    with pytest.raises(SipError) as caught:
        parse(data)
    assert caught.value.defect == "start_line_unusable"


@pytest.mark.parametrize("name", ORDINARY)
def test_what_is_sip_looks_like_it_in_any_kind_of_buffer(name: str) -> None:
    assert all(looks_like_sip(kind(ORDINARY[name])) for kind in (bytes, bytearray, memoryview))
    assert looks_like_sip(ORDINARY[name].partition(b"\r\n")[0])


# Addresses


@pytest.mark.parametrize(
    ("text", "user", "password", "host", "port", "params", "headers"),
    [
        (
            "sip:alice:secretword@atlanta.com;transport=tcp",
            "alice",
            "secretword",
            "atlanta.com",
            None,
            {"transport": "tcp"},
            {},
        ),
        (
            "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
            "alice",
            "",
            "atlanta.com",
            None,
            {},
            {"subject": "project x", "priority": "urgent"},
        ),
        (
            "sip:+1-212-555-1212:1234@gateway.com;user=phone",
            "+1-212-555-1212",
            "1234",
            "gateway.com",
            None,
            {"user": "phone"},
            {},
        ),
        (
            "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
            "",
            "",
            "atlanta.com",
            None,
            {"method": "REGISTER"},
            {"to": "alice@atlanta.com"},
        ),
        ("SIP:alice;day=tuesday@atlanta.com:5061", "alice;day=tuesday", "", "atlanta.com", 5061, {}, {}),
        ("sip:%61lice@[2001:db8::10]:5070;lr", "alice", "", "2001:db8::10", 5070, {"lr": ""}, {}),
        ("tel:+358-555-1234567;ext=1;postd=pp22", "+358-555-1234567", "", "", None, {"ext": "1", "postd": "pp22"}, {}),
    ],
)
def test_uris_of_rfc_3261_19_1_3_and_rfc_3966(
    text: str, user: str, password: str, host: str, port: int | None, params: dict[str, str], headers: dict[str, str]
) -> None:
    uri, found = parse_uri(text)
    assert found == ()
    assert (uri.user, uri.password, uri.host, uri.port) == (user, password, host, port)
    assert (uri.params, uri.headers, uri.text) == (params, headers, text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("sip:a@2001:db8::1", "2001:db8::1", None), ("sip:a@fe80:0:0:0:1:2:3:4:5060", "fe80:0:0:0:1:2:3:4", 5060)],
)
def test_bare_ipv6_addresses_are_understood_and_named(text: str, host: str, port: int | None) -> None:
    uri, found = parse_uri(text)
    assert (uri.host, uri.port, found) == (host, port, ("ipv6_without_brackets",))


def test_quoted_strings_keep_commas_brackets_and_escapes() -> None:
    raw = request('Contact: "A, <B>; \\"C\\"" <sip:c@d>;q=0.7;x="1,2;3", <sip:e@f>, sip:g@h;y="<urn:i>"')
    first, second, third = parse(raw).contacts
    assert (first.display, first.uri.text) == ('A, <B>; "C"', "sip:c@d")
    assert first.params == {"q": "0.7", "x": "1,2;3"}
    assert second.uri.user == "e"
    assert (third.uri.text, third.params) == ("sip:g@h", {"y": "<urn:i>"})
    assert parse(raw).defects == ()


def test_only_list_headers_are_split_at_commas() -> None:
    found = parse(request("Date: Sat, 13 Nov 2010 23:29:00 GMT", "Supported: a, b", "k: c", "Subject: x, y"))
    assert found.headers("date") == ["Sat, 13 Nov 2010 23:29:00 GMT"]
    assert found.headers("supported") == ["a", "b", "c"]
    assert found.headers("subject") == ["x, y"]
    assert found.header("supported") == "a, b"
    assert found.header("x-none") is None
    assert found.headers("x-none") == []


def test_via_of_every_transport_and_port() -> None:
    via, found = parse_via("SIP / 2.0 / tls  [2001:db8::1] : 65535 ; branch = z9hG4bK1 ; received=\"q\"")  # fmt: skip
    assert via is not None
    assert (via.transport, via.host, via.port) == ("TLS", "2001:db8::1", 65535)
    assert (via.params, found) == ({"branch": "z9hG4bK1", "received": "q"}, ())


# Bodies


def multipart(boundary: str, *parts: tuple[str, bytes]) -> bytes:
    whole = b"preamble\r\n"
    for content_type, content in parts:
        whole += f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode() + content + b"\r\n"
    return whole + f"--{boundary}--\r\nepilogue".encode()


def test_sdp_is_found_inside_a_multipart_body() -> None:
    parts = ("application/isup;version=x", b"\x01\x02--"), ("Application/SDP", SDP), ("text/plain", b"x")
    body = multipart("unique-1", *parts)
    found = parse(request('Content-Type: multipart/mixed;boundary="unique-1"', body=body))
    description = found.sdp_body()
    assert description is not None
    assert description.rstrip() == SDP.rstrip()
    assert found.content_type == "multipart/mixed"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/mixed", multipart("b", ("application/sdp", SDP))),
        ("multipart/mixed;boundary=other", multipart("b", ("application/sdp", SDP))),
        ("multipart/mixed;boundary=b", multipart("b", ("text/plain", b"x"))),
        ("application/dtmf-relay", b"Signal=5\r\n"),
        ("application/sdp", b""),
    ],
)
def test_where_there_is_no_sdp_none_is_found(content_type: str, body: bytes) -> None:
    assert parse(request(f"Content-Type: {content_type}", body=body)).sdp_body() is None


def test_a_body_of_any_octets_is_left_alone() -> None:
    body = gzip.compress(SDP, mtime=0)
    found = parse(request("Content-Type: application/sdp", "Content-Encoding: gzip", f"l: {len(body)}", body=body))
    assert (found.body, found.defects) == (body, ())


# Streams


@pytest.mark.parametrize("name", ORDINARY)
def test_a_stream_is_cut_where_a_message_ends_however_it_arrives(name: str) -> None:
    raw = ORDINARY[name]
    for length in range(len(raw)):
        assert frame_length(raw[:length]) is None
    for kind in (bytes, bytearray, memoryview):
        assert frame_length(kind(raw)) == len(raw)
        assert frame_length(kind(raw + INVITE)) == len(raw)


@pytest.mark.parametrize(
    ("buffer", "defect"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "start_line_unusable"),
        (b"GET / HTTP/1.1\r\n", "start_line_unusable"),
        (b"x" * 70_000, "start_line_unusable"),
        (b"OPTIONS sip:a SIP/2.0\r\nX: " + b"x" * 70_000, "header_section_too_long"),
        (lines("OPTIONS sip:a SIP/2.0", "X: " + "x" * 65_509), "header_section_too_long"),
        (request("Content-Length: -1"), "content_length_malformed"),
        (request("l: 99999999999999999999"), "content_length_out_of_range"),
        (request("l: 1048577"), "content_length_out_of_range"),
    ],
)
def test_a_stream_that_cannot_be_cut_is_the_one_error(buffer: bytes, defect: str) -> None:
    with pytest.raises(SipError) as caught:
        frame_length(buffer)
    assert caught.value.defect == defect


def test_a_stream_message_without_length_ends_with_its_headers() -> None:
    assert frame_length(request() + b"v=0") == len(request())


def test_folded_and_compact_lengths_frame_a_stream() -> None:
    raw = request("L :\r\n  3", body=b"abc")
    assert frame_length(raw) == len(raw)
    assert frame_length(raw[:-1]) is None


# Hostile input


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_the_one_error(data: bytes) -> None:
    with suppress(SipError):
        all_of(parse(data))
    with suppress(SipError):
        length = frame_length(data)
        assert length is None or 0 < length <= len(data)
    looks_like_sip(data)


@given(st.sampled_from(sorted(ORDINARY)), st.integers(0, 900), st.binary(max_size=4), st.integers(0, 8))
def test_a_changed_message_is_a_message_or_the_one_error(name: str, where: int, new: bytes, old: int) -> None:
    raw = ORDINARY[name]
    at = where % len(raw)
    with suppress(SipError):
        all_of(parse(raw[:at] + new + raw[at + old :]))


@given(st.text(alphabet='"<>;,:@[]=? \\ab%1', max_size=40))
def test_any_text_is_an_address_with_or_without_defects(text: str) -> None:
    parse_name_addr(text)
    parse_via(text)
    parse_uri(text)
    assert sum(map(len, split_unquoted(text, ","))) <= len(text)


@pytest.mark.parametrize("filler", [*' \t"<;,\\:@(0/=[%', "\r\n "])
def test_long_runs_of_one_character_do_not_hang_the_reader(filler: str) -> None:
    run = filler * (60_000 // len(filler))
    for name in ("Via", "From", "Contact", "CSeq", "Call-ID", "Content-Length", "Warning", "Date", "Expires"):
        all_of(parse(request(f"{name}: a{run}b")))
        all_of(parse(request(f"{name}: SIP/2.0/UDP h{run}x")))
    for start in (f"OPTIONS sip:{run}x SIP/2.0", f"OPTIONS{run}x", f"SIP/2.0 {run}x"):
        with suppress(SipError):
            all_of(parse(request(start=start)))
    parse_uri(f"sip:{run}x")
