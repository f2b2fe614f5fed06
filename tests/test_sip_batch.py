"""A batch gives what the reference gives, and the kernel calls nothing plain that has a defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_messages import BYE, INVITE, OK, ORDINARY, SDP, TRYING, all_of, as_batch, lines

from collector.protocols.sip import SipError, SipMessage, parse, parse_batch
from collector.protocols.sip_numba_fns import COLUMNS, HEADERS, MASK, PLAIN, index_messages
from collector.protocols.sip_patterns import CLASSES, NAMES, PATTERN_OF_HEADER, PATTERNS
from collector.protocols.sip_validate import MANDATORY, RULES, SINGLE


def plain(raws: list[bytes]) -> list[bool]:
    """Which messages were taken as the kernel found them."""
    return [isinstance(found, SipMessage) and bool(found.presence & PLAIN) for found in parse_batch(*as_batch(raws))]


def outcome(found: SipMessage | SipError) -> dict[str, object] | str:
    return found.defect if isinstance(found, SipError) else all_of(found)


def reference(raw: bytes) -> SipMessage | SipError:
    try:
        return parse(raw)
    except SipError as error:
        return error


def assert_as_reference(raws: list[bytes]) -> None:
    for raw, found, is_plain in zip(raws, parse_batch(*as_batch(raws)), plain(raws), strict=True):
        expected = reference(raw)
        assert outcome(found) == outcome(expected)
        if is_plain:
            assert isinstance(expected, SipMessage)
            assert expected.defects == ()


def test_an_error_in_a_batch_keeps_nothing_alive() -> None:
    (found,) = parse_batch(*as_batch([b"hello"]))
    assert isinstance(found, SipError)
    assert (found.defect, found.__traceback__, found.__context__) == ("start_line_unusable", None, None)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_messages_are_plain(name: str) -> None:
    assert plain([ORDINARY[name]]) == [True]
    assert_as_reference([ORDINARY[name]])


def test_an_empty_batch_is_empty() -> None:
    assert parse_batch(*as_batch([])) == []


def test_the_kernel_knows_every_header_that_has_a_rule() -> None:
    assert {*RULES, *SINGLE, *MANDATORY} <= set(HEADERS)


@pytest.mark.parametrize(("start", "length"), [(-5, 10), (0, 10**6), (10**6, 5), (0, -1)])
def test_offsets_outside_the_window_are_never_read(start: int, length: int) -> None:
    rows = np.zeros((1, COLUMNS), dtype=np.int64)
    window = np.frombuffer(INVITE, dtype=np.uint8)
    index_messages(window, np.array([start]), np.array([length]), 1, rows, CLASSES, NAMES, PATTERNS, PATTERN_OF_HEADER)
    assert rows[0, MASK] == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Max-Forwards: 70", b"Max-Forwards: 256"),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\r\nMax-Forwards: 70"),
        (b"23:29:00 GMT", b"23:29:00 EST"),
        (b"CSeq: 314159 INVITE", b"CSeq: 314159 BYE"),
        (b"CSeq: 314159 INVITE", b"CSeq: 2147483648 INVITE"),
        (b"SIP/2.0\r\nVia", b"SIP/2.0 \r\nVia"),
        (b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia"),
        (b"To: Bob <", b"To: Bob, Jr. <"),
        (b"To: Bob <sip:bob@biloxi.example.com>", b"To: sip:bob@biloxi.example.com?subject=x"),
        (b"To: Bob <sip:bob@", b"To: Bob < sip:bob@"),
        (b"[2001:db8::9:1]", b"2001:db8::9:1"),
        (b"[2001:db8::9:1]", b"[2001:db8:::9]"),
        (b";rport\r\n", b";;rport\r\n"),
        (b":5060;branch", b":0;branch"),
        (b":5060;branch", b":65536;branch"),
        (b"Content-Type: application/sdp\r\n", b""),
        (b"Content-Length: ", b"Content-Length: 9"),
        (b"Call-ID: a84b4c76e66710@", b"Call-ID: a84b4c76e66710@@"),
        (b"Session-Expires: 1800", b"Session-Expires: soon"),
        (b"Allow: INVITE", b"Allow: \x00INVITE"),
        (b"Allow: INVITE", b"Allow: \xffINVITE"),
        (b"Allow: INVITE", b"Allow INVITE"),
        (b"\r\nAllow", b"\nAllow"),
    ],
)
def test_one_defect_is_enough_to_be_not_plain(old: bytes, new: bytes) -> None:
    assert old in INVITE
    broken = INVITE.replace(old, new, 1)
    assert plain([broken]) == [False]
    assert parse(broken).defects
    assert_as_reference([broken])


VALUES = {
    "Via": ["SIP/2.0/UDP h;branch=z9hG4bK1", "SIP/2.0/TLS [::1]:5061;BRANCH=b;branch=c", "SIP / 2.0 / UDP h", "a,b"],
    "From": ["<sip:a@b>;tag=1", "sip:a@b;tag=2", '"A \\" B" <sip:a>;tag=3', "A B<sip:b>;tag", "tel:+1;Tag=x;tag=y",
        '"\u00e4" <sip:a>;tag=4;x="\u00df"', "\u00e4 <sip:a>;tag=5"],
    "To": ["<sip:a@b>", "Bob  <sips:b:5061;lr>;x=1;tag=4", '"" <sip:a@b>;tag="q"', "sip:a;b@c", "*", "<http://x>;tag=5"],
    "Call-ID": ["1@h", "abc", "a@b@c", "", "a b", "<x>{y}"],
    "CSeq": ["1 INVITE", "0001 INVITE", "1  INVITE", "1 ACK", "2147483647 INVITE", "99999999999 INVITE", "x INVITE"],
    "Contact": ["*", "<sip:a@b>, <sip:c@d>;q=0.5", 'sip:a@b;x="<y>"', '<sip:a@b>;i="<urn:1>"', "<sip:a@b?c=d>", "a,b"],
    "Route": ["<sip:a;lr>,<sip:b>", "<sip:a;lr>;x, y <tel:1>", "<sip:a%41@b>", "<sip:[::1]:1>"],
    "Content-Type": ["application/sdp", "Application/SDP;x=y", "text / plain", "x", "application/sdp ;q=1"],
    "Content-Length": ["0", "5", "00005", "-1", "99999999999", ""],
    "Max-Forwards": ["70", "0068", "300", "x"],
    "Date": ["Sat, 13 Nov 2010 23:29:00 GMT", "Sat, 13 Nov 2010 23:29:00 UTC", "now"],
    "Expires": ["60", "60;x", "60 (min)", "4294967296"],
    "Retry-After": ["5", "5 (busy)", "5;duration=3600"],
    "Warning": ["399 h \"x\"", "1399 h \"x\"", "399 h \"x\", 300 g \"y\""],
    "Reason": ["Q.850;cause=16", "SIP ;cause=200 ;text=\"x, y\"", "Q.850"],
    "Session-ID": ["ab;remote=cd", "ab"],
    "Subject": ["hello", "h\tx", "\u00fcmlaut", "\u00a0x\u2028", "a\r\n b", ""],
}  # fmt: skip
COMPACT = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Contact": "m", "Content-Length": "l"}

header_lines = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.builds(
        lambda form, gap, value, end: f"{form}:{gap}{value}{end}",
        st.sampled_from([name, name, name.lower(), name.upper(), COMPACT.get(name, name), name + " "]),
        st.sampled_from([" ", " ", " ", "", "  ", "\r\n "]),
        st.sampled_from(VALUES[name]),
        st.sampled_from(["", "", "", " ", "\t"]),
    )
)
start_lines = st.sampled_from(
    [
        "INVITE sip:bob@b SIP/2.0",
        "INVITE sip:[::1]:5070;lr SIP/2.0",
        "INVITE tel:+1;phone-context=x SIP/2.0",
        "INVITE sip:a@b?x=y SIP/2.0",
        "INVITE sip:a@b;x= SIP/2.0",
        "INVITE  sip:b SIP/2.0",
        "SIP.1 sip:b SIP/2.0",
        "S sip:b SIP/2.0",
        "SIP/2.0 200 OK",
        "SIP/2.0 180 ",
        "SIP/2.0 180",
        "SIP/2.0 099 x",
        "sip/2.0 200 OK",
        "GET / HTTP/1.1",
    ]
)
ends = st.sampled_from(["\r\n", "\r\n", "\r\n", "\r\n", "\n"])
MANDATORY_LINES = (
    "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
    "From: <sip:a@b>;tag=1",
    "To: <sip:a@b>",
    "Call-ID: 1@h",
    "CSeq: 1 INVITE",
)


@st.composite
def assembled(draw: st.DrawFn) -> bytes:
    """A message out of right and odd parts, most often with the mandatory headers once."""
    chosen = draw(st.lists(header_lines, max_size=4))
    mandatory = [line for line in MANDATORY_LINES if draw(st.integers(0, 15))]
    end = draw(ends)
    text = end.join([draw(start_lines), *draw(st.permutations([*mandatory, *chosen])), "", ""])
    return text.encode() + draw(st.sampled_from([b"", b"", b"v=0\r\n", b"\xff\x00"]))


@settings(max_examples=400)
@given(st.lists(assembled(), min_size=1, max_size=8))
def test_assembled_messages_are_read_as_one_by_one(raws: list[bytes]) -> None:
    assert_as_reference(raws)


PIECES = [
    b'"',
    b"<",
    b">",
    b";",
    b",",
    b" ",
    b"\t",
    b"\\",
    b"@",
    b":",
    b"[",
    b"=",
    b"?",
    b"-",
    b"::",
    b"%41",
    b"tag=",
    b"\xc3\xa4",
    b"\xe4",
]
LINE_ENDS = [b"\r\n", b"\r\n "]


@settings(max_examples=400)
@given(
    st.sampled_from([INVITE, OK, BYE, TRYING]),
    st.lists(
        st.tuples(
            st.integers(0, 900),
            st.sampled_from(["replace", "insert", "delete", "cut"]),
            st.binary(min_size=1, max_size=2) | st.sampled_from([*PIECES, *LINE_ENDS]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_changed_messages_are_read_as_one_by_one(raw: bytes, changes: list[tuple[int, str, bytes]]) -> None:
    for where, kind, piece in changes:
        at = where % (len(raw) + 1)
        cut = {"replace": len(piece), "insert": 0, "delete": 2, "cut": len(raw)}[kind]
        raw = raw[:at] + (piece if kind in ("replace", "insert") else b"") + raw[at + cut :]
    assert_as_reference([raw])


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_in_a_batch_are_messages_or_errors(raws: list[bytes]) -> None:
    assert_as_reference(raws)


def test_every_truncation_is_read_as_one_by_one() -> None:
    assert_as_reference([INVITE[:length] for length in range(len(INVITE))])


def test_names_and_free_text_may_be_utf8() -> None:
    raw = INVITE.replace(b"Alice, the 1st", "J\u00fcrgen \u00a0".encode()).replace(b"Allow: ", "Allow: \u20ac".encode())
    assert plain([raw]) == [True]
    assert_as_reference([raw])


def test_a_method_that_begins_like_a_status_line_is_a_request() -> None:
    raw = lines("SIP.1 sip:b@c SIP/2.0", *MANDATORY_LINES[:4], "CSeq: 1 SIP.1")
    assert plain([raw]) == [True]
    assert_as_reference([raw])
    assert parse(raw).method == "SIP.1"


def test_the_torture_messages_are_read_as_one_by_one(shared: Path) -> None:
    assert_as_reference([path.read_bytes() for path in sorted((shared / "torture").glob("*.dat"))])


def test_a_long_header_section_is_left_to_the_reference() -> None:
    raw = lines("OPTIONS sip:b SIP/2.0", *MANDATORY_LINES[:4], "CSeq: 1 OPTIONS", "X: " + "x" * 70_000)
    assert plain([raw]) == [False]
    assert_as_reference([raw])
    assert "header_end_missing" in parse(raw).defects


def test_the_body_of_a_plain_message_may_hold_any_octets() -> None:
    raw = INVITE.replace(SDP, bytes(range(256))).replace(f"Length: {len(SDP)}".encode(), b"Length: 256")
    assert plain([raw]) == [True]
    assert_as_reference([raw])
