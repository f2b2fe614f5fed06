"""SIP messages for tests, the shape in which a batch takes them, and all that is read of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from collector.protocols.sip import SipMessage

PUBLIC = [name for name in SipMessage.__slots__ if name not in ("_fields", "presence")]


def as_batch(
    raws: Sequence[bytes], gap: bytes = b"\x00INVITE sip:"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """A window with the messages and something else between them, where each is, and how many."""
    window = bytearray(gap)
    offsets: list[int] = []
    for raw in raws:
        offsets.append(len(window))
        window += raw + gap
    return (
        np.frombuffer(bytes(window), dtype=np.uint8),
        np.array(offsets, dtype=np.int64),
        np.array([len(raw) for raw in raws], dtype=np.int64),
        len(raws),
    )


def all_of(message: SipMessage) -> dict[str, object]:
    """Every field and everything that is read on demand."""
    lazy = {
        "fields": message.fields,
        "from": message.from_,
        "to": message.to,
        "contacts": message.contacts,
        "via": message.via,
        "content_type": message.content_type,
        "sdp": message.sdp_body(),
        "session_id": message.session_id,
        "reasons": message.reasons,
    }
    return {name: getattr(message, name) for name in PUBLIC} | lazy


def lines(*texts: str, body: bytes = b"") -> bytes:
    """A message of these lines, CRLF after each and an empty one before the body."""
    return "".join(text + "\r\n" for text in (*texts, "")).encode() + body


SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

INVITE = lines(
    "INVITE sip:bob@biloxi.example.com:5080;transport=tcp SIP/2.0",
    "Via: SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bKnashds8;rport",
    "Via: SIP/2.0/TCP [2001:db8::9:1];branch=z9hG4bKold;received=192.0.2.9",
    "Max-Forwards: 70",
    'From: "Alice, the 1st" <sip:+441632960001@atlanta.example.com;user=phone>;tag=1928301774',
    "To: Bob <sip:bob@biloxi.example.com>",
    "Call-ID: a84b4c76e66710@pc33.atlanta.example.com",
    "CSeq: 314159 INVITE",
    'Contact: <sip:alice@192.0.2.4:5060>;+sip.instance="<urn:uuid:0>";expires=60',
    "Record-Route: <sip:p1.example.com;lr>, <sip:p2.example.com:5061;lr=on>",
    "Date: Sat, 13 Nov 2010 23:29:00 GMT",
    "Session-Expires: 1800;refresher=uac",
    "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000",
    "Allow: INVITE, ACK, BYE",
    "Content-Type: application/sdp",
    f"Content-Length: {len(SDP)}",
    body=SDP,
)

OK = lines(
    "SIP/2.0 200 OK",
    "v: SIP/2.0/UDP 192.0.2.4:5060;rport=5060;branch=z9hG4bKnashds8",
    "f: sip:alice@atlanta.example.com;tag=1928301774",
    "t: <tel:+441632960002>;tag=a6c85cf",
    "i: a84b4c76e66710",
    "CSeq: 314159 INVITE",
    "m: *",
    'Warning: 399 gw "all is well"',
    "Expires: 3600",
    "l: 0",
)

BYE = lines(
    "BYE sip:alice@192.0.2.4 SIP/2.0",
    "Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKnew",
    "From: <sip:bob@biloxi.example.com>;tag=a6c85cf",
    "To: <sip:alice@atlanta.example.com>;tag=1928301774",
    "Call-ID: a84b4c76e66710@pc33.atlanta.example.com",
    "CSeq: 231 BYE",
    'Reason: Q.850;cause=16;text="Normal call clearing", SIP;cause=200',
    "Content-Length: 0",
)

TRYING = lines(
    "SIP/2.0 100 ",
    "Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKnashds8",
    "From: <sip:alice@atlanta.example.com>;tag=1928301774",
    "To: <sip:bob@biloxi.example.com>",
    "Call-ID: a84b4c76e66710@pc33.atlanta.example.com",
    "CSeq: 314159 INVITE",
)

ORDINARY = {"INVITE": INVITE, "OK": OK, "BYE": BYE, "TRYING": TRYING}
"""Messages as most devices write them."""
