"""SIP over WebSocket (RFC 6455, RFC 7118): the handshake, then messages out of frames."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from enum import IntEnum
from typing import Final, NamedTuple

from collector.capture.framing import STREAM_LIMIT, Frame
from collector.protocols.sip import looks_like_sip

HANDSHAKE_LIMIT: Final = 16 << 10
MESSAGE_LIMIT: Final = STREAM_LIMIT

_SIP_START: Final = re.compile(rb"(?:SIP/2\.0 \d|[A-Z]{3,16} [A-Za-z]{2,8}:)")
_FLUSH: Final = b"\x00\x00\xff\xff"  # RFC 7692 7.2.2


class Opcode(IntEnum):
    """RFC 6455 11.8."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class FrameHeader(NamedTuple):
    """RFC 6455 5.2."""

    fin: bool
    compressed: bool
    """RSV1, which permessage-deflate sets on the first frame of a message (RFC 7692 6)."""
    opcode: int
    mask: bytes
    """Four bytes, or none."""
    size: int
    """Header length [octets]."""
    length: int
    """Payload length [octets]."""


def parse_frame_header(data: bytes | bytearray) -> FrameHeader | None:
    """The header at the start of `data`; None while more bytes are needed. Raises ValueError when it is none."""
    if len(data) < 2:
        return None
    first, second = data[0], data[1]
    opcode, length = first & 0x0F, second & 0x7F
    if first & 0x30:
        raise ValueError("ws_reserved_bits")
    if opcode not in Opcode._value2member_map_:
        raise ValueError("ws_opcode_unknown")
    if opcode >= Opcode.CLOSE and (not first & 0x80 or length > 125 or first & 0x40):  # RFC 6455 5.5
        raise ValueError("ws_control_frame_malformed")
    extended = {126: 2, 127: 8}.get(length, 0)
    size = 2 + extended + (4 if second & 0x80 else 0)
    if len(data) < size:
        return None
    if extended:
        length = int.from_bytes(data[2 : 2 + extended], "big")
        if length < (126 if extended == 2 else 1 << 16) or length >> 63:
            raise ValueError("ws_length_malformed")
    mask = bytes(data[size - 4 : size]) if second & 0x80 else b""
    return FrameHeader(bool(first & 0x80), bool(first & 0x40), opcode, mask, size, length)


def unmask(payload: bytes, mask: bytes, offset: int = 0) -> bytes:
    """The payload without its mask (RFC 6455 5.3); `offset` is where in the frame it begins."""
    if not mask or not payload:
        return payload
    turned = mask[offset & 3 :] + mask[: offset & 3]
    key = turned * (len(payload) // 4 + 1)
    value = int.from_bytes(payload, "little") ^ int.from_bytes(key[: len(payload)], "little")
    return value.to_bytes(len(payload), "little")


def starts_sip_frame(data: bytes | bytearray) -> bool:
    """True for the beginning of an unfragmented, uncompressed frame that holds SIP: how a late join is recognised."""
    try:
        header = parse_frame_header(data)
    except ValueError:
        return False
    if header is None or not header.fin or header.compressed or header.opcode not in (Opcode.TEXT, Opcode.BINARY):
        return False
    payload = unmask(bytes(data[header.size : header.size + min(header.length, 64)]), header.mask)
    return _SIP_START.match(payload) is not None


class Handshake:
    """The HTTP request or response with which a WebSocket opens (RFC 6455 4)."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> bytes | None:
        """None until the header section is complete, then what comes after it.

        Raises ValueError when it is no upgrade to SIP or longer than any honest one.
        """
        searched = max(len(self._buffer) - 3, 0)
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n", searched)
        if end < 0:
            if len(self._buffer) > HANDSHAKE_LIMIT:
                raise ValueError("ws_handshake_too_long")
            return None
        if not opens_sip(bytes(self._buffer[:end])):
            raise ValueError("not_websocket")
        return bytes(self._buffer[end + 4 :])


def opens_sip(head: bytes) -> bool:
    """True when an HTTP header section asks for, or grants, a WebSocket with the subprotocol `sip` (RFC 7118 4)."""
    first, *lines = head.split(b"\r\n")
    upgrade, protocols = False, set[bytes]()
    for line in lines:
        name, _, value = line.partition(b":")
        tokens = {token.strip().lower() for token in value.split(b",")}
        match name.strip().lower():
            case b"upgrade":
                upgrade = upgrade or b"websocket" in tokens
            case b"sec-websocket-protocol":
                protocols |= tokens
    if first.startswith(b"GET "):
        return upgrade and b"sip" in protocols
    return upgrade and first.startswith(b"HTTP/1.1 101") and (b"sip" in protocols or not protocols)


class WebSocketReader:
    """One direction of an open WebSocket; every message of it is one SIP message (RFC 7118 5)."""

    __slots__ = (
        "_aligned",
        "_buffer",
        "_compressed",
        "_counts",
        "_defects",
        "_header",
        "_inflater",
        "_message",
        "_skip",
    )

    def __init__(self, defects: Counter[str], counts: Counter[str]) -> None:
        self._defects = defects
        self._counts = counts
        self._buffer = bytearray()
        self._header: FrameHeader | None = None
        self._message: bytearray | None = None
        self._compressed = False
        self._inflater: zlib._Decompress | None = None
        self._skip = 0
        self._aligned = True

    def __len__(self) -> int:
        return len(self._buffer) + len(self._message or b"")

    @property
    def plausible(self) -> bool:
        return True

    def feed(self, data: bytes) -> list[Frame]:
        """The messages that `data`, the next bytes of the stream, complete."""
        if not self._aligned:
            # Where a segment begins, a frame often does.
            if not _may_be_frame(data):
                return []
            self._aligned = True
        self._buffer += data
        frames: list[Frame] = []
        while self._aligned and self._take(frames):
            pass
        return frames

    def gap(self, size: int) -> list[Frame]:
        """`size` bytes of the stream will never come."""
        remaining = self._skip
        if self._header is not None:
            remaining = self._header.length - len(self._buffer)
        self._lose()
        self._skip = max(remaining - size, 0)
        self._aligned = remaining >= size
        return []

    def finish(self) -> list[Frame]:
        """What is left when the stream ends: nothing that could be used."""
        self._lose()
        return []

    def _lose(self) -> None:
        if self._message is not None or self._header is not None:
            self._defects["ws_message_incomplete"] += 1
        self._buffer.clear()
        self._header, self._message = None, None
        # Later messages may refer to what was lost (RFC 7692 7.2.3.2); those that do fail to inflate.
        self._inflater = None

    def _take(self, frames: list[Frame]) -> bool:
        """Deal with one more header or payload; False when it is not complete."""
        if self._skip:
            skipped = min(self._skip, len(self._buffer))
            del self._buffer[:skipped]
            self._skip -= skipped
            return not self._skip and bool(self._buffer)
        if self._header is None:
            return self._take_header()
        if len(self._buffer) < self._header.length:
            return False
        header, self._header = self._header, None
        payload = unmask(bytes(self._buffer[: header.length]), header.mask)
        del self._buffer[: header.length]
        self._take_payload(header, payload, frames)
        return True

    def _take_header(self) -> bool:
        try:
            header = parse_frame_header(self._buffer)
        except ValueError as error:
            self._defects[str(error)] += 1
            self._lose()
            self._aligned = False
            return False
        if header is None:
            return False
        del self._buffer[: header.size]
        if header.length + len(self._message or b"") > MESSAGE_LIMIT:
            self._defects["ws_message_too_long"] += 1
            self._message = None
            self._skip = header.length
            return True
        self._header = header
        return True

    def _take_payload(self, header: FrameHeader, payload: bytes, frames: list[Frame]) -> None:
        if header.opcode >= Opcode.CLOSE:
            self._counts["ws_control_frames"] += 1
            return
        if header.opcode == Opcode.CONTINUATION:
            if self._message is None:
                self._defects["ws_continuation_without_start"] += 1
                return
        else:
            if self._message is not None:
                self._defects["ws_message_incomplete"] += 1
            self._message, self._compressed = bytearray(), header.compressed
        self._message += payload
        if header.fin:
            message, self._message = bytes(self._message), None
            self._finish_message(message, frames)

    def _finish_message(self, message: bytes, frames: list[Frame]) -> None:
        if self._compressed:
            try:
                message = self._inflate(message)
            except (ValueError, zlib.error) as error:
                self._defects["ws_deflate_corrupt" if isinstance(error, zlib.error) else str(error)] += 1
                self._inflater = None
                return
        if not message.strip(b"\r\n"):
            self._counts["stream_keep_alives"] += 1
        elif looks_like_sip(message):
            frames.append(Frame(message, cut=False))
        else:
            self._defects["ws_not_sip"] += 1

    def _inflate(self, message: bytes) -> bytes:
        inflater = self._inflater or zlib.decompressobj(-zlib.MAX_WBITS)
        data = inflater.decompress(message + _FLUSH, MESSAGE_LIMIT)
        if inflater.unconsumed_tail:
            raise ValueError("ws_message_too_long")
        if inflater.eof:  # a final block ends the stream, not the context (RFC 7692 7.2.3.5)
            inflater = zlib.decompressobj(-zlib.MAX_WBITS, zdict=data[-(1 << 15) :])
        self._inflater = inflater
        return data


def _may_be_frame(data: bytes) -> bool:
    try:
        header = parse_frame_header(data)
    except ValueError:
        return False
    return header is not None and header.length <= MESSAGE_LIMIT and header.opcode != Opcode.CONTINUATION
