"""SIP (RFC 3261): from bytes to messages.

`parse` is the whole reader, obvious and slow; `parse_batch` gives the same for many messages at once and fast.
`looks_like_sip` tells SIP from everything else that uses its ports, `frame_length` cuts messages out of a stream.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from collector.protocols.sip_message import (
    HEADER_SECTION_LIMIT,
    HeaderSection,
    SipError,
    SipMessage,
    split_header_section,
)
from collector.protocols.sip_numba_fns import COLUMNS, KEPT_COLUMNS, SDP, index_messages
from collector.protocols.sip_patterns import CLASSES, NAMES, PATTERN_OF_HEADER, PATTERNS
from collector.protocols.sip_validate import (
    content_length_defects,
    cseq_number,
    header_defects,
    request_uri_defects,
)
from collector.protocols.sip_values import TOKEN, NameAddr, SipUri, Via, parse_name_addr, parse_via, split_unquoted

__all__ = [
    "NameAddr",
    "SipError",
    "SipMessage",
    "SipUri",
    "Via",
    "frame_length",
    "looks_like_sip",
    "parse",
    "parse_batch",
]

BODY_LIMIT = 1 << 20
"""Largest Content-Length that a stream may ask its reader to wait for."""

# One string for each, however many messages carry it.
_KNOWN_WORDS = {
    word: word
    for word in (
        *("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "PRACK", "UPDATE", "INFO", "REFER", "SUBSCRIBE"),
        *("NOTIFY", "PUBLISH", "MESSAGE", "OK", "Trying", "Ringing", "Session Progress", "Accepted", "Unauthorized"),
        *("Proxy Authentication Required", "Busy Here", "Request Terminated", "Not Found", "Temporarily Unavailable"),
        *("Service Unavailable", "Call/Transaction Does Not Exist", "Not Acceptable Here", "Request Timeout"),
        *("Forbidden", "Decline", "Server Internal Error"),
    )
}

_STATUS_LINE = re.compile(
    r"(?P<version>SIP/[0-9]+\.[0-9]+)(?P<gap>[ \t]+)(?P<code>[0-9]+)(?:(?P<gap2>[ \t])(?P<reason>.*))?", re.I
)
_REQUEST_LINE = re.compile(
    rf"(?P<lead>[ \t]*)(?P<method>{TOKEN})(?P<gap>[ \t]+)(?P<uri>\S(?:.*?\S)?)(?P<gap2>[ \t]+)"
    r"(?P<version>SIP/[0-9]+\.[0-9]+)(?P<tail>[ \t]*)",
    re.I,
)
_FIRST_OCTETS = re.compile(rf"[ \t]*(?:{TOKEN}(?:[ \t/][^\x00-\x08\x0a-\x1f]*)?)?\r?".encode())


class _StartLine:
    """What the first line says; `defects` collects while it is read."""

    __slots__ = ("defects", "method", "reason_phrase", "request_uri", "status")

    def __init__(self) -> None:
        self.method = ""
        self.status = 0
        self.reason_phrase = ""
        self.request_uri = ""
        self.defects: list[str] = []


def _parse_start_line(line: str) -> _StartLine:
    start = _StartLine()
    status_line = _STATUS_LINE.fullmatch(line)
    if status_line is not None:
        code = status_line["code"]
        start.reason_phrase = status_line["reason"] or ""
        if status_line["gap2"] != " ":
            start.defects.append("reason_phrase_missing")
        # RFC 3261 7.2 defines six classes of three digits; a longer number is kept out of tables that count by code.
        if len(code) != 3 or not 100 <= int(code) <= 699:
            start.defects.append("status_code_out_of_range")
        start.status = int(code) if len(code) == 3 else 0
        _check_version(start, status_line["version"])
        if status_line["gap"] != " ":
            start.defects.append("start_line_whitespace")
        return start
    request_line = _REQUEST_LINE.fullmatch(line)
    if request_line is None:
        raise SipError("start_line_unusable")
    start.method = request_line["method"]
    start.request_uri = request_line["uri"]
    _check_version(start, request_line["version"])
    if request_line["lead"] or request_line["gap"] != " " or request_line["gap2"] != " ":
        start.defects.append("start_line_whitespace")
    if request_line["tail"]:
        start.defects.append("start_line_trailing_space")
    start.defects += request_uri_defects(start.request_uri)
    return start


def _check_version(start: _StartLine, version: str) -> None:
    if version[4:] != "2.0":
        start.defects.append("version_unsupported")


def parse(data: bytes) -> SipMessage:
    """Read one message as a datagram or a framed stream held it.

    Whatever breaks RFC 3261 is named in `defects` and the rest is still given.
    Raises SipError only when the first line is neither a request line nor a status line.
    """
    raw = bytes(data)
    section = split_header_section(raw)
    start = _parse_start_line(section.start_line)
    first: dict[str, str] = {}
    for name, value in section.fields:
        first.setdefault(name, value)
    cseq, cseq_method, _ = cseq_number(first.get("cseq", ""))
    lengths = [value for name, value in section.fields if name == "content-length"]
    length, length_defects = content_length_defects(lengths, len(raw) - section.body_start)
    defects = [*start.defects, *section.defects, *header_defects(section.fields), *length_defects]
    if start.method and cseq_method and start.method != cseq_method:  # RFC 3261 8.1.1.5
        defects.append("cseq_method_mismatch")
    if length and "content-type" not in first:  # RFC 3261 20.15
        defects.append("missing_content_type")
    return SipMessage(
        raw,
        start.method,
        start.status,
        start.reason_phrase,
        start.request_uri,
        first.get("call-id", ""),
        cseq,
        cseq_method,
        _tag(first.get("from", "")),
        _tag(first.get("to", "")),
        _branch(section),
        section.body_start,
        section.body_start + length,
        tuple(dict.fromkeys(defects)),
    )


def _tag(value: str) -> str:
    return parse_name_addr(value)[0].params.get("tag", "") if value else ""


def _branch(section: HeaderSection) -> str:
    for name, value in section.fields:
        if name == "via":
            via, _ = parse_via(split_unquoted(value, ",")[0])
            return via.params.get("branch", "") if via is not None else ""
    return ""


def looks_like_sip(data: bytes | bytearray | memoryview) -> bool:
    """True when the first line is a request line or a status line of any SIP version."""
    head = bytes(data[:HEADER_SECTION_LIMIT]).lstrip(b"\r\n")
    line = head.partition(b"\n")[0].removesuffix(b"\r")
    if b"SIP/" not in line.upper():
        return False
    try:
        _parse_start_line(line.decode("latin-1"))
    except SipError:
        return False
    return True


def frame_length(buffer: bytes | bytearray | memoryview) -> int | None:
    """Octets of the first message in a stream, None while more is needed (RFC 3261 7.5, 18.3).

    A stream's message without Content-Length ends with its headers. The caller removes keep-alives first.
    Raises SipError when the buffer does not begin with SIP or its length cannot be known.
    """
    head = bytes(buffer[: HEADER_SECTION_LIMIT + 4])
    newline = head.find(b"\n")
    if newline < 0:
        if len(head) > HEADER_SECTION_LIMIT or not _FIRST_OCTETS.fullmatch(head):
            raise SipError("start_line_unusable")
        return None
    if not looks_like_sip(head[: newline + 1]):
        raise SipError("start_line_unusable")
    if head.find(b"\n\r\n") < 0 and head.find(b"\n\n") < 0:
        if len(head) > HEADER_SECTION_LIMIT:
            raise SipError("header_section_too_long")
        return None
    section = split_header_section(head)
    if "header_end_missing" in section.defects:
        raise SipError("header_section_too_long")
    for name, value in section.fields:
        if name == "content-length":
            if not (value.isascii() and value.isdigit()):
                raise SipError("content_length_malformed")
            significant = value.lstrip("0") or "0"
            if len(significant) > 7 or int(significant) > BODY_LIMIT:
                raise SipError("content_length_out_of_range")
            total = section.body_start + int(significant)
            return total if total <= len(buffer) else None
    return section.body_start


def parse_batch(
    window: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], count: int
) -> list[SipMessage | SipError]:
    """Read the first `count` messages that lie in a window of octets, each as `parse` reads it.

    The kernel says where the fields of plain messages are; only the others are parsed.
    """
    offsets, lengths = offsets[:count], lengths[:count]
    return messages_at(window, offsets, lengths, index_batch(window, offsets, lengths))


def index_batch(
    window: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Where the fields of messages lie: a row of `sip_numba_fns` for each."""
    rows = np.empty((len(offsets), COLUMNS), dtype=np.int64)
    window = window.view()
    window.flags.writeable = False  # one kind of window, mapped or not: for each the kernel would be compiled anew
    index_messages(window, offsets, lengths, len(offsets), rows, CLASSES, NAMES, PATTERNS, PATTERN_OF_HEADER)
    return rows


class BatchIndex:
    """Indexes batches in arrays of its own: with new ones each of many small batches costs more than its messages."""

    def __init__(self, size: int) -> None:
        self._offsets = np.zeros(size, np.int64)
        self._lengths = np.zeros(size, np.int64)
        self._rows = np.zeros((size, COLUMNS), np.int64)
        self._given: npt.NDArray[np.uint8] | None = None
        self._window = np.zeros(0, np.uint8)

    def index(
        self, window: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Offsets, lengths and `index_batch` of at most `size` messages, valid until the next call."""
        count = len(offsets)
        self._offsets[:count] = offsets
        self._lengths[:count] = lengths
        if self._given is not window:
            self._given = window
            self._window = window.view()
            self._window.flags.writeable = False
        index_messages(
            self._window, self._offsets, self._lengths, count, self._rows, CLASSES, NAMES, PATTERNS, PATTERN_OF_HEADER
        )
        return self._offsets[:count], self._lengths[:count], self._rows[:count]


def messages_at(
    window: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    raws: Sequence[bytes] | None = None,
) -> list[SipMessage | SipError]:
    """The messages of an index; `raws`, where somebody has them already, are the same octets one by one."""
    columns = rows[:, :KEPT_COLUMNS].T.tolist()
    octets = window.data
    if raws is None:
        ends = (offsets + lengths).tolist()
        raws = [octets[start:end].tobytes() for start, end in zip(offsets.tolist(), ends, strict=True)]
    known = _KNOWN_WORDS.get
    found: list[SipMessage | SipError] = []
    for (
        raw, mask, status, _, target, target_end, call_id, call_id_end, cseq, method, method_end, from_tag,
        from_tag_end, to_tag, to_tag_end, branch, branch_end, body, body_end, content_type,
    ) in zip(raws, *columns, strict=True):  # fmt: skip
        if not mask or not (raw.isascii() or _is_utf8(raw[:body])):
            found.append(_parse_or_error(raw))
            continue
        text = str(raw, "latin-1")  # what is cut out of it is ASCII, and offsets stay those of the octets
        cseq_method = text[method:method_end]
        cseq_method = known(cseq_method, cseq_method)
        target_text = text[target:target_end]
        if body_end > body and text[content_type : content_type + 17] == "application/sdp\r\n":
            mask |= SDP
        found.append(
            SipMessage(
                raw,
                "" if status else cseq_method,
                status,
                known(target_text, target_text) if status else "",
                "" if status else target_text,
                text[call_id:call_id_end],
                cseq,
                cseq_method,
                text[from_tag:from_tag_end],
                text[to_tag:to_tag_end],
                text[branch:branch_end],
                body,
                body_end,
                (),
                mask,
            )
        )
    return found


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parse_or_error(raw: bytes) -> SipMessage | SipError:
    try:
        return parse(raw)
    except SipError as error:
        return SipError(error.defect)  # a new one: the one caught holds its frames, and they the octets
