"""One SIP message: the fields that every message is asked for, and the rest of its headers on demand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from collector.facts import Reason
from collector.protocols.sip_numba_fns import HEADERS, JOINING_BITS, SDP, presence_bit
from collector.protocols.sip_values import NameAddr, Via, parse_name_addr, parse_parameters, parse_via, split_unquoted

HEADER_SECTION_LIMIT = 65536
"""Most octets of a start line and its headers that are looked at."""

# RFC 3261 7.3.3 and the compact forms that later RFCs registered with IANA.
LONG_NAMES = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "n": "identity-info",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}

# RFC 3261 7.3.1: only headers whose grammar is a comma-separated list may be split, never Date or WWW-Authenticate.
LIST_HEADERS = frozenset(
    {
        "accept",
        "accept-contact",
        "accept-encoding",
        "accept-language",
        "alert-info",
        "allow",
        "allow-events",
        "call-info",
        "contact",
        "content-encoding",
        "content-language",
        "diversion",
        "error-info",
        "history-info",
        "in-reply-to",
        "p-asserted-identity",
        "p-associated-uri",
        "p-preferred-identity",
        "path",
        "proxy-require",
        "reason",
        "record-route",
        "reject-contact",
        "remote-party-id",
        "request-disposition",
        "require",
        "route",
        "service-route",
        "supported",
        "unsupported",
        "user-to-user",
        "via",
        "warning",
    }
)

_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
# RFC 3261 25.1 quoted-pair: behind a backslash any octet but CR and LF may stand.
_CONTROL = re.compile(rb"(?<!\\)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SECTION_END = re.compile(rb"\r?\n\r?\n")
_MULTIPART_BOUNDARY_LIMIT = 70  # RFC 2046 5.1.1
_PART_LIMIT = 64
_SESSION_ID = presence_bit("session-id")
_PRESENCE = {name: presence_bit(name) for name in HEADERS}
_REASON = presence_bit("reason")


class SipError(ValueError):
    """Bytes that cannot be used as SIP at all; `defect` is the reason as a name to count by."""

    def __init__(self, defect: str) -> None:
        super().__init__(defect)
        self.defect = defect


class HeaderSection(NamedTuple):
    """The lines in front of a message's body."""

    start_line: str
    fields: tuple[tuple[str, str], ...]
    """Long name in lower case and unfolded value, in the order of the wire."""
    body_start: int
    defects: tuple[str, ...]


def decode(octets: bytes) -> str:
    """Text of a header: UTF-8 (RFC 3261 7), and for octets that are not an escape that keeps them apart."""
    return octets.decode("utf-8", "backslashreplace")


def split_header_section(raw: bytes) -> HeaderSection:
    """Cut a message into start line, header fields and the offset of its body.

    Lines may end in LF alone and blank lines may come first (RFC 3261 7.5): both occur on real wires.
    """
    begin = len(raw) - len(raw.lstrip(b"\r\n"))
    defects: list[str] = []
    end = _SECTION_END.search(raw, begin, begin + HEADER_SECTION_LIMIT)
    if end is None:
        defects.append("header_end_missing")
        section = raw[begin : begin + HEADER_SECTION_LIMIT]
        body_start = len(raw)
    else:
        section = raw[begin : end.start()]
        body_start = end.end()
    text = decode(section)
    line_ends = section.count(b"\r\n")
    if section.count(b"\n") != line_ends or section.count(b"\r") != line_ends or (end and end[0] != b"\r\n\r\n"):
        defects.append("line_end_not_crlf")
    if _CONTROL.search(section):
        defects.append("control_character")
    if not section.isascii() and not _is_utf8(section):
        defects.append("encoding_not_utf8")
    start_line, _, rest = text.partition("\n")
    fields, field_defects = _split_fields(rest)
    return HeaderSection(start_line.removesuffix("\r"), fields, body_start, (*defects, *field_defects))


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _split_fields(text: str) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    fields: list[tuple[str, str]] = []
    defects: list[str] = []
    for line in _unfold(text):
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not _TOKEN.fullmatch(name):
            defects.append("header_line_malformed")
            continue
        name = name.lower()
        fields.append((LONG_NAMES.get(name, name), value.strip(" \t\r")))
    return tuple(fields), tuple(defects)


def _unfold(text: str) -> list[str]:
    """Logical lines: a line that begins with a blank continues the one before it (RFC 3261 7.3.1)."""
    if "\n " not in text and "\n\t" not in text:
        return [line for line in text.split("\n") if line and line != "\r"]
    logical: list[list[str]] = []
    for line in text.split("\n"):
        if line[:1] in (" ", "\t") and logical:
            logical[-1].append(line.strip(" \t\r"))
        elif line and line != "\r":
            logical.append([line.rstrip(" \t\r")])
    return [" ".join(parts) for parts in logical]


def _plain_fields(section: str) -> Iterator[tuple[str, str]]:
    """The fields of a header section that is known to be plain: no folding, every line a name, a colon and a value."""
    for line in section.split("\r\n")[1:-2]:
        name, _, value = line.partition(":")
        name = name.lower()
        yield LONG_NAMES.get(name, name), value.strip(" ")


class SipMessage:
    """A SIP request or response.

    The slots are filled when it is made; everything else is read from `raw` when asked for. Treat it as read-only.
    """

    __slots__ = (
        "_fields",
        "body_end",
        "body_start",
        "branch",
        "call_id",
        "cseq",
        "cseq_method",
        "defects",
        "from_tag",
        "method",
        "presence",
        "raw",
        "reason_phrase",
        "request_uri",
        "status",
        "to_tag",
    )

    def __init__(
        self,
        raw: bytes,
        method: str,
        status: int,
        reason_phrase: str,
        request_uri: str,
        call_id: str,
        cseq: int,
        cseq_method: str,
        from_tag: str,
        to_tag: str,
        branch: str,
        body_start: int,
        body_end: int,
        defects: tuple[str, ...] = (),
        presence: int = 0,
    ) -> None:
        self.raw = raw
        self.method = method
        """Request method, '' for a response."""
        self.status = status
        """Status code, 0 for a request and for a response whose code has not three digits."""
        self.reason_phrase = reason_phrase
        self.request_uri = request_uri
        self.call_id = call_id
        self.cseq = cseq
        """CSeq number, -1 when missing or out of range."""
        self.cseq_method = cseq_method
        self.from_tag = from_tag
        self.to_tag = to_tag
        self.branch = branch
        """Branch of the topmost Via, '' without one."""
        self.body_start = body_start
        self.body_end = body_end
        self.defects = defects
        """What breaks RFC 3261, as names to count by, each once."""
        self.presence = presence
        """Presence mask of `sip_numba_fns`: 0 when nothing is known, and then every header is looked for."""
        self._fields: tuple[tuple[str, str], ...] | None = None

    def __repr__(self) -> str:
        what = self.method or f"{self.status} {self.reason_phrase}"
        return f"<SipMessage {what} call_id={self.call_id!r} cseq={self.cseq} {self.cseq_method}>"

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Every header in wire order: long name in lower case, unfolded value."""
        if self._fields is None:
            if self.presence:
                self._fields = tuple(_plain_fields(self.raw[: self.body_start].decode()))
            else:
                self._fields = split_header_section(self.raw).fields
        return self._fields

    def header(self, name: str) -> str | None:
        """First value of a header, unfolded and not split at commas; compact and long names are the same."""
        wanted = name.lower()
        wanted = LONG_NAMES.get(wanted, wanted)
        fields: Iterable[tuple[str, str]] = self._fields or ()
        if self._fields is None and self.presence:
            if not self.presence & _PRESENCE.get(wanted, self.presence):
                return None
            fields = _plain_fields(self.raw[: self.body_start].decode())
        elif self._fields is None:
            fields = self.fields
        for field_name, value in fields:
            if field_name == wanted:
                return value
        return None

    def headers(self, name: str) -> list[str]:
        """Every value of a header; lines are split at commas where the header's grammar is a list."""
        wanted = name.lower()
        wanted = LONG_NAMES.get(wanted, wanted)
        lines = [value for field_name, value in self.fields if field_name == wanted]
        if wanted not in LIST_HEADERS:
            return lines
        return [part for line in lines for part in split_unquoted(line, ",") if part]

    def _address(self, name: str) -> NameAddr | None:
        value = self.header(name)
        return None if value is None else parse_name_addr(value)[0]

    @property
    def from_(self) -> NameAddr | None:
        """The From header, None when missing."""
        return self._address("from")

    @property
    def to(self) -> NameAddr | None:
        """The To header, None when missing."""
        return self._address("to")

    @property
    def contacts(self) -> list[NameAddr]:
        """Contact values, `*` left out."""
        return [parse_name_addr(value)[0] for value in self.headers("contact") if value != "*"]

    @property
    def via(self) -> list[Via]:
        """Via values from the topmost down, unusable ones left out."""
        return [via for via, _ in map(parse_via, self.headers("via")) if via is not None]

    @property
    def body(self) -> bytes:
        """The body as Content-Length bounds it; octets past it are no part of the message (RFC 3261 18.3)."""
        return self.raw[self.body_start : self.body_end]

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters, '' when missing."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def sdp_body(self) -> bytes | None:
        """The session description: the body itself or the first such part of a multipart body (RFC 5621).

        A body that nothing names is taken for SDP when it begins like it: such gateways exist, and their media too.
        """
        if self.body_start >= self.body_end:
            return None
        if self.presence & SDP:
            return self.body
        content_type = self.header("content-type")
        if content_type is None:
            return self.body if self.body.startswith(b"v=0") else None
        return _find_sdp(content_type, self.body)

    @property
    def may_join(self) -> bool:
        """Whether it may hold evidence that joins its leg to others (`joining`)."""
        return not self.presence or bool(self.presence & JOINING_BITS) or b"sipSessionID" in self.raw

    @property
    def session_id(self) -> tuple[str, str] | None:
        """Session-ID as (local, remote) of its sender (RFC 7989); remote is '' in the form of RFC 7329."""
        value = None if self.presence and not self.presence & _SESSION_ID else self.header("session-id")
        if value is None:
            return None
        local, semicolon, rest = value.partition(";")
        params, _ = parse_parameters(semicolon + rest)
        return local.strip().lower(), params.get("remote", "").lower()

    @property
    def reasons(self) -> list[Reason]:
        """Reason values (RFC 3326)."""
        found: list[Reason] = []
        if self.presence and not self.presence & _REASON:
            return found
        for value in self.headers("reason"):
            protocol, semicolon, rest = value.partition(";")
            params, _ = parse_parameters(semicolon + rest)
            cause = params.get("cause", "")
            number = int(cause) if cause.isascii() and cause.isdigit() and len(cause) <= 9 else None
            found.append(Reason(protocol.strip().upper(), number, params.get("text", "")))
        return found


def _find_sdp(content_type: str, body: bytes) -> bytes | None:
    media_type, semicolon, rest = content_type.partition(";")
    media_type = media_type.strip().lower()
    if media_type == "application/sdp":
        return body
    if not media_type.startswith("multipart/"):
        return None
    boundary = parse_parameters(semicolon + rest)[0].get("boundary", "")
    if not boundary or len(boundary) > _MULTIPART_BOUNDARY_LIMIT:
        return None
    # RFC 2046 5.1.1: the line end in front of a delimiter belongs to the delimiter; SDP's own last one is needed.
    for part in body.split(b"--" + boundary.encode("utf-8", "replace"), _PART_LIMIT)[1:]:
        if part.startswith(b"--"):
            break
        head, content = _split_part(part)
        for name, value in head:
            if name == "content-type" and value.partition(";")[0].strip().lower() == "application/sdp":
                return content
    return None


def _split_part(part: bytes) -> tuple[tuple[tuple[str, str], ...], bytes]:
    part = part[part.find(b"\n") + 1 :]
    end = _SECTION_END.search(part)
    if end is None:
        return (), b""
    fields, _ = _split_fields(decode(part[: end.start()]))
    return fields, part[end.end() :]
