"""SIP messages cut out of a stream of bytes (RFC 3261 18.3), also when the stream is joined late or has holes."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final, NamedTuple

from collector.facts import Endpoint
from collector.protocols.sip import BODY_LIMIT, SipError, frame_length, looks_like_sip
from collector.protocols.sip_message import HEADER_SECTION_LIMIT

STREAM_LIMIT: Final = HEADER_SECTION_LIMIT + BODY_LIMIT
"""Most bytes one message can make its reader hold."""
START_LINE_LIMIT: Final = 8 << 10

_METHODS: Final = "INVITE|ACK|BYE|CANCEL|REGISTER|OPTIONS|PRACK|SUBSCRIBE|NOTIFY|PUBLISH|INFO|REFER|MESSAGE|UPDATE"
# A body need not end its line, so a message may begin anywhere; the methods are named because a body may also hold
# lines of other protocols in the same form.
_START: Final = re.compile(
    rf"(?:{_METHODS}) [A-Za-z][^\s]{{0,{START_LINE_LIMIT}}} SIP/2\.0\r?\n|SIP/2\.0 [1-6]\d\d ".encode()
)
_COMMON_LINE: Final = re.compile(rf"(?:{_METHODS}) sips?:[!-~]+ SIP/2\.0\r\n|SIP/2\.0 [1-6]\d\d [ -~]*\r\n".encode())
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_CONTENT_LENGTH: Final = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*(\d{1,8})[ \t]*\r?\n", re.I)
_LINE_ENDS: Final = re.compile(rb"[\r\n]+")


class Message(NamedTuple):
    """One SIP message as a stream carried it."""

    at: int
    """When the segment that completed it was captured [ns since the epoch]."""
    src: Endpoint
    dst: Endpoint
    transport: str
    """`tcp`, `ws` or `sctp`."""
    data: bytes
    cut: bool = False
    """The end is missing: not captured, cut by the snap length, or the stream ended."""


class Frame(NamedTuple):
    data: bytes
    cut: bool


class SipFramer:
    """Collects one direction of a stream and gives out its messages.

    Not being SIP is no error here: the reader then looks for the next start line, and `confirmed` stays False as long
    as there was none.
    """

    __slots__ = (
        "_aligned",
        "_buffer",
        "_checked",
        "_counts",
        "_defects",
        "_header_end",
        "_need",
        "_passed_over",
        "_searched",
        "_seeking",
        "_skip",
        "_started",
        "confirmed",
    )

    def __init__(self, defects: Counter[str], counts: Counter[str]) -> None:
        self.confirmed = False
        self._passed_over = b""
        """What came before the first message: its beginning may yet come, late."""
        self._defects = defects
        self._counts = counts
        self._buffer = bytearray()
        self._aligned = False
        """A message ended where the next begins, so its first line is not the rest of something else."""
        self._seeking = False
        self._skip = 0
        self._begin()

    def __len__(self) -> int:
        return len(self._buffer) + len(self._passed_over)

    @property
    def plausible(self) -> bool:
        """What is held may still become a message."""
        return self.confirmed or self._skip > 0 or (bool(self._buffer) and not self._seeking)

    def feed(self, data: bytes) -> list[Frame]:
        """The messages that `data`, the next bytes of the stream, complete."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        self._buffer += data
        frames: list[Frame] = []
        while self._find_start():
            try:
                size = self._measure()
            except SipError:
                self._reject(frames)
                continue
            if size is None:
                break
            frames.append(Frame(bytes(self._buffer[:size]), cut=False))
            self._drop(size)
            self.confirmed = self._aligned = True
        return frames

    def prepend(self, data: bytes) -> list[Frame]:
        """Bytes that belong just before all others, where the stream was joined and segments came out of order."""
        data += self._passed_over
        self._passed_over = b""
        if self.confirmed:
            # What follows is given out already; only whole messages still count.
            frames = SipFramer(Counter(), Counter()).feed(data)
            if not frames:
                self._pass_over(data)
            return frames
        self._buffer[:0] = data
        self._seeking = False
        self._begin()
        return self.feed(b"")

    def gap(self, size: int) -> list[Frame]:
        """`size` bytes of the stream will never come; gives what there is of the message they were part of."""
        remaining = self._skip or (self._need - len(self._buffer) if self._need else 0)
        frames = self._cut() if not self._skip else []
        self._drop(len(self._buffer))
        self._skip = max(remaining - size, 0)
        self._aligned = remaining >= size
        return frames

    def finish(self) -> list[Frame]:
        """What is left of a message when the stream ends."""
        frames = self._cut()
        if frames:
            self._defects["stream_message_incomplete"] += 1
        self._drop(len(self._buffer))
        return frames

    def _cut(self) -> list[Frame]:
        if self._seeking or not self._started:
            return []
        self.confirmed = True
        return [Frame(bytes(self._buffer), cut=True)]

    def _begin(self) -> None:
        self._started = False
        """The first line is complete and is SIP."""
        self._header_end = 0
        self._searched = 0
        self._checked = 0
        self._need = 0

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._seeking = False
        self._begin()

    def _pass_over(self, data: bytes | bytearray) -> None:
        self._passed_over += bytes(data)
        if len(self._passed_over) > HEADER_SECTION_LIMIT:
            self._passed_over = b""

    def _find_start(self) -> bool:
        """Bring the next message to the front of the buffer; False when more bytes are needed for that."""
        if self._seeking:
            # No start line can have become complete without a line end.
            found = _START.search(self._buffer) if self._buffer.find(b"\n", self._searched) >= 0 else None
            if found is None:
                self._forget()
                return False
            if not self.confirmed:
                self._pass_over(self._buffer[: found.start()])
            self._drop(found.start())
        elif self._buffer.startswith((b"\r", b"\n")):
            # RFC 5626 3.5.1: CRLFs between messages keep the connection open.
            ends = _LINE_ENDS.match(self._buffer)
            self._drop(ends.end() if ends else 0)
            self._counts["stream_keep_alives"] += 1
        return bool(self._buffer)

    def _forget(self) -> None:
        """Throw away what cannot hold the beginning of a start line."""
        keep = max(self._buffer.rfind(b"\n") + 1, len(self._buffer) - START_LINE_LIMIT)
        if not self.confirmed:
            self._pass_over(self._buffer[:keep])
        del self._buffer[:keep]
        self._searched = len(self._buffer)

    def _reject(self, frames: list[Frame]) -> None:
        """What is in front is no message that can be measured: look further on for the next."""
        if self._header_end:
            # Its length is what is wrong; the parser shall say so.
            frames.append(Frame(bytes(self._buffer[: self._header_end]), cut=False))
            self._drop(self._header_end)
            self.confirmed = True
        elif self._started:
            # No header section ends here, so none of the lines that look like a start line is one.
            self._drop(HEADER_SECTION_LIMIT)
        elif _START.match(self._buffer):
            self._drop(1)
        else:
            # A first line that is none stays in the buffer: a start line may stand in its middle.
            self._begin()
        if self.confirmed:
            self._defects["stream_resynchronised"] += 1
        self._seeking, self._aligned = True, False

    def _measure(self) -> int | None:
        """Length of the message in front, None while it is not complete. Raises SipError when it is none."""
        buffer = self._buffer
        if len(buffer) < self._need:
            return None
        if not self._header_end:
            searched, self._searched = self._searched, len(buffer)
            if not self._started and not self._check_first_line(searched):
                return None
            end = _HEADER_END.search(buffer, max(searched - 3, 0))
            if end is None and len(buffer) <= HEADER_SECTION_LIMIT:
                return None
            if end is None or end.end() > HEADER_SECTION_LIMIT:
                raise SipError("header_section_too_long")
            self._header_end = end.end()
        size = frame_length(buffer)
        if size is None:
            # Asking again for every segment of a long body would read the header each time.
            length = _CONTENT_LENGTH.search(buffer, 0, self._header_end)
            self._need = max(self._header_end + int(length[1]) if length else 0, len(buffer) + 1)
        return size

    def _check_first_line(self, searched: int) -> bool:
        """False while the first line is not complete; `searched` bytes are known to hold no line end."""
        buffer = self._buffer
        newline = buffer.find(b"\n", searched)
        if newline < 0:
            if len(buffer) > START_LINE_LIMIT:
                raise SipError("start_line_unusable")
            if len(buffer) >= 2 * self._checked:
                self._checked = len(buffer)
                frame_length(buffer)
            return False
        line = bytes(buffer[: newline + 1])
        if newline > START_LINE_LIMIT or not (_COMMON_LINE.fullmatch(line) or looks_like_sip(line)):
            raise SipError("start_line_unusable")
        if not self._aligned and _START.search(line, 1):
            raise SipError("start_line_unusable")
        self._started = True
        return True
