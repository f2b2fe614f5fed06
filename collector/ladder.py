"""The ladder of a leg: its messages in order, who sent them to whom, and what of them was sent again.

Kept where somebody asks for it, in five numbers a message: a live collector holds those of every call that goes on.
"""

from __future__ import annotations

from array import array

from collector.facts import Endpoint, Step
from collector.protocols.sip import SipMessage
from collector.transactions import Heard

_AT, _WAY, _WHAT, _CSEQ, _REPEATED, _COLUMNS = range(6)
_WAYS_LIMIT = 32
"""Pairs of sender and receiver of one leg; a message of any further one is counted, not kept."""
_METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "REFER", "NOTIFY", "INFO", "OPTIONS", "MESSAGE",
            "SUBSCRIBE", "REGISTER", "PUBLISH")  # fmt: skip
_OTHER = len(_METHODS)
_CODES = {method: code for code, method in enumerate(_METHODS)}
_CSEQ_SHIFT = 32


class Ladder:
    """Messages of one leg."""

    __slots__ = ("_kept", "_limit", "_ways", "left_out")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = array("q")
        self._ways: tuple[tuple[Endpoint, Endpoint], ...] = ()
        self.left_out = 0
        """Messages past the limit."""

    def add(self, heard: Heard, message: SipMessage, at: int, src: Endpoint, dst: Endpoint) -> None:
        """Take a message, `at` in ns; one that a tap gave twice was sent once."""
        if heard is Heard.COPY:
            return
        way = self._way(src, dst)
        what = _code(message)
        cseq = min(message.cseq, (1 << _CSEQ_SHIFT) - 1) << 8 | _method_code(message.method or message.cseq_method)
        if heard is Heard.AGAIN and self._repeat(way, what, cseq):
            return
        if way < 0 or len(self._kept) >= self._limit * _COLUMNS:
            self.left_out += 1
            return
        self._kept.extend((at, way, what, cseq, 0))

    def _way(self, src: Endpoint, dst: Endpoint) -> int:
        way = (src, dst)
        if way in self._ways:
            return self._ways.index(way)
        if len(self._ways) >= _WAYS_LIMIT:
            return -1
        self._ways = (*self._ways, way)
        return len(self._ways) - 1

    def _repeat(self, way: int, what: int, cseq: int) -> bool:
        """Count a repetition at the message that it repeats; whether that is here."""
        kept = self._kept
        for place in range(len(kept) - _COLUMNS, -1, -_COLUMNS):
            if kept[place + _WAY] == way and kept[place + _WHAT] == what and kept[place + _CSEQ] == cseq:
                kept[place + _REPEATED] += 1
                return True
        return False

    def steps(self) -> tuple[Step, ...]:
        """The messages in the order of their first appearance."""
        kept = self._kept
        found = []
        for place in range(0, len(kept), _COLUMNS):
            at, way, what, cseq, repeated = kept[place : place + _COLUMNS]
            src, dst = self._ways[way]
            status = what if what > 0 else None
            method = _name(cseq & 0xFF)
            found.append(Step(at, src, dst, method, status, cseq >> 8, repeated))
        return tuple(found)


def _code(message: SipMessage) -> int:
    """A status above 0; a request is 0 and less."""
    return -_method_code(message.method) if message.method else message.status


def _method_code(method: str) -> int:
    return _CODES.get(method, _OTHER)


def _name(code: int) -> str:
    return _METHODS[code] if code < _OTHER else "other"
