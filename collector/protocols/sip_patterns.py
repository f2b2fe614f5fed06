"""Patterns of SIP header values written the usual way, as tables for the kernel of `sip_numba_fns`.

A pattern is a list of instructions. Each looks at the octets from the current position on and either goes on to the
next instruction or, where its octets are not there, to another one; without another one the pattern does not match.
Every pattern is stricter than RFC 3261 25.1: what it matches is free of every defect that `sip_validate` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from collector.protocols.sip_numba_fns import (
    AFTER_NONE_OF,
    BODY_END,
    BRANCH,
    CALL_ID,
    CALL_ID_END,
    COLUMNS,
    CONTENT_TYPE,
    CSEQ,
    CSEQ_METHOD,
    CSEQ_METHOD_END,
    DONE,
    FROM_TAG,
    HEADERS,
    HEX,
    IPV6,
    IS,
    IS_EITHER_CASE,
    JUMP,
    LOOK,
    MARK,
    METHOD_END,
    NAME_LIMIT,
    NUMBER,
    OVER,
    RUN,
    SHAPES,
    START_LINE,
    STATUS,
    TARGET,
    TARGET_END,
    TEXT,
    TO_TAG,
    TOKEN,
)

Integers = npt.NDArray[np.int64]

_COMPACT: Final = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
    "x": "session-expires",
}


_DIGIT, _ALNUM, _HOST, _USER, _URI_PARAMETER, _WORD, _VALUE, _TEL, _SPACE, _QUOTED, _UPPER, _LOWER, _NO_COMMA = (
    1 << bit for bit in range(3, 16)
)
_PRINTABLE: Final = 1 << 16
_LETTERS_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERS_LOWER = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_ALPHANUMERIC = _LETTERS_UPPER + _LETTERS_LOWER + _DIGITS


def _frozen(table: Integers) -> Integers:
    table.flags.writeable = False
    return table


def _octet_classes() -> Integers:
    printable = "".join(map(chr, range(0x20, 0x7F)))
    text = printable + "".join(map(chr, range(0x80, 0x100)))
    classes = np.zeros(256, dtype=np.int64)
    for bit, members in (
        (TEXT, text),
        (_PRINTABLE, printable),
        (TOKEN, _ALPHANUMERIC + "-.!%*_+`'~"),
        (_DIGIT, _DIGITS),
        (_ALNUM, _ALPHANUMERIC),
        (_HOST, _ALPHANUMERIC + "-."),
        (_USER, _ALPHANUMERIC + "-_.!~*'()+"),
        (_URI_PARAMETER, _ALPHANUMERIC + "-_.!~*'()/:+"),
        (_WORD, _ALPHANUMERIC + "-.!%*_+`'~()<>:\\\"/[]?{}"),
        (_VALUE, _ALPHANUMERIC + "-.!%*_+`'~:[]"),
        (HEX, "0123456789abcdefABCDEF"),
        (_TEL, _ALPHANUMERIC + "-_.!~*'()+"),
        (_SPACE, " "),
        (_QUOTED, text.replace('"', "").replace("\\", "")),
        (_UPPER, _LETTERS_UPPER),
        (_LOWER, _LETTERS_LOWER),
        (_NO_COMMA, text.replace(",", "")),
    ):
        for member in members.encode("latin-1"):
            classes[member] |= bit
    return classes


CLASSES: Final = _frozen(_octet_classes())
"""Classes of each octet, one bit each."""

_SCRATCH: Final = COLUMNS - 2
_FAIL: Final = -1
_MANY: Final = 1 << 30


class _Label:
    """A place in the pattern table that is jumped to, perhaps before it is known."""

    __slots__ = ("step",)

    def __init__(self) -> None:
        self.step = _FAIL


class _Assembler:
    """Writes patterns one after another into one table."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int, int | _Label]] = []

    def here(self) -> int:
        return len(self._rows)

    def place(self, label: _Label) -> None:
        label.step = len(self._rows)

    def add(self, operation: int, operand: int = 0, low: int = 0, high: int = 0, other: int | _Label = _FAIL) -> None:
        self._rows.append((operation, operand, low, high, other))

    def octets(self, text: str) -> None:
        for octet in text.encode():
            self.add(IS, octet)

    def choose(self, character: str, other: _Label) -> None:
        self.add(IS, ord(character), other=other)

    def run(self, members: int, low: int = 1, high: int = _MANY, other: int | _Label = _FAIL) -> None:
        self.add(RUN, members, low, high, other)

    def number(self, column: int, low: int, high: int, digits: int) -> None:
        self.add(NUMBER, column, low, high, digits)

    def mark(self, column: int) -> None:
        self.add(MARK, column)

    def jump(self, label: _Label) -> None:
        self.add(JUMP, other=label)

    def table(self) -> Integers:
        rows = [(*row[:4], row[4].step if isinstance(row[4], _Label) else row[4]) for row in self._rows]
        return np.array(rows, dtype=np.int64)


def _host_port(code: _Assembler) -> None:
    name, port, end = _Label(), _Label(), _Label()
    code.choose("[", name)
    code.add(IPV6)
    code.jump(port)
    code.place(name)
    code.run(_ALNUM)
    code.run(_HOST, 0)
    code.add(AFTER_NONE_OF, ord("-"))
    code.place(port)
    code.choose(":", end)
    code.number(_SCRATCH, 1, 65536, 5)
    code.place(end)


def _uri(code: _Assembler, *, with_parameters: bool) -> None:
    """sip, sips or tel without password, escapes and headers."""
    tel, secure, parameters, end = _Label(), _Label(), _Label(), _Label()
    code.choose("s", tel)
    code.octets("ip")
    code.choose("s", secure)
    code.place(secure)
    code.octets(":")
    host = _Label()
    code.add(LOOK, _USER, ord("@"), 0, host)
    code.place(host)
    _host_port(code)
    code.jump(parameters)
    code.place(tel)
    code.octets("tel:")
    code.run(_TEL)
    code.place(parameters)
    if with_parameters:
        code.choose(";", end)
        code.run(_URI_PARAMETER)
        code.choose("=", parameters)
        code.run(_URI_PARAMETER)
        code.jump(parameters)
    code.place(end)


def _parameters(code: _Assembler, wanted: str, column: int, *, quoted: bool) -> None:
    """Header parameters; the value of the first one called `wanted` is marked in `column` and the one after it."""
    first, whole, rest, more, end = (_Label() for _ in range(5))
    code.place(first)
    code.choose(";", end)
    for place, letter in enumerate(wanted):
        code.add(IS_EITHER_CASE, ord(letter), other=rest if place else whole)
    # A wanted parameter without a value is left to the slow reader: behind it `whole` finds no further octet.
    code.choose("=", whole)
    code.mark(column)
    code.run(_VALUE)
    code.mark(column + 1)
    code.jump(more)
    code.place(whole)
    code.run(TOKEN)
    code.place(rest)
    code.run(TOKEN, 0)
    _parameter_value(code, first, quoted=quoted)
    code.place(more)
    code.choose(";", end)
    code.run(TOKEN)
    _parameter_value(code, more, quoted=quoted)
    code.place(end)


def _parameter_value(code: _Assembler, following: _Label, *, quoted: bool) -> None:
    token = _Label()
    code.choose("=", following)
    if quoted:
        code.choose('"', token)
        code.run(_QUOTED, 0)
        code.octets('"')
        code.jump(following)
        code.place(token)
    code.run(_VALUE)
    code.jump(following)


def _address(code: _Assembler, column: int, *, several: bool) -> None:
    """name-addr or addr-spec with its parameters, and where the header is a list, more of them."""
    start, bare, unquoted, inside, plain, end = (_Label() for _ in range(6))
    code.place(start)
    code.choose('"', bare)
    code.run(_QUOTED, 0)
    code.octets('"')
    code.run(_SPACE, 0)
    code.octets("<")
    code.jump(inside)
    code.place(bare)
    code.choose("<", unquoted)
    code.jump(inside)
    code.place(unquoted)
    code.add(LOOK, TOKEN | _SPACE, ord("<"), 0, plain)
    code.place(inside)
    _uri(code, with_parameters=True)
    code.octets(">")
    _parameters(code, "tag", column, quoted=True)
    code.jump(end)
    code.place(plain)
    _uri(code, with_parameters=False)
    _parameters(code, "tag", column, quoted=False)
    code.place(end)
    if several:
        another = _Label()
        code.add(OVER, other=another)
        code.place(another)
        code.octets(",")
        code.run(_SPACE, 0)
        code.jump(start)
    else:
        code.add(OVER)


def _via(code: _Assembler, column: int) -> None:
    code.octets("SIP/2.0/")
    code.run(TOKEN)
    code.octets(" ")
    _host_port(code)
    _parameters(code, "branch", column, quoted=True)
    code.add(OVER)


def _contact(code: _Assembler) -> None:
    some = _Label()
    code.choose("*", some)
    code.add(OVER)
    code.place(some)
    _address(code, _SCRATCH, several=True)


def _call_id(code: _Assembler) -> None:
    second = _Label()
    code.mark(CALL_ID)
    code.run(_WORD)
    code.mark(CALL_ID_END)
    code.add(OVER, other=second)
    code.place(second)
    code.octets("@")
    code.run(_WORD)
    code.mark(CALL_ID_END)
    code.add(OVER)


def _cseq(code: _Assembler) -> None:
    code.number(CSEQ, 0, 1 << 31, 10)
    code.octets(" ")
    code.mark(CSEQ_METHOD)
    code.run(TOKEN)
    code.mark(CSEQ_METHOD_END)
    code.add(OVER)


def _content_type(code: _Assembler) -> None:
    parameters = _Label()
    code.mark(CONTENT_TYPE)
    code.run(TOKEN)
    code.octets("/")
    code.run(TOKEN)
    code.add(OVER, other=parameters)
    code.place(parameters)
    code.octets(";")
    code.add(DONE)


def _content_length(code: _Assembler) -> None:
    code.number(BODY_END, 0, 10**9, 9)
    code.add(OVER)


def _bounded(code: _Assembler, limit: int) -> None:
    parameters = _Label()
    code.number(_SCRATCH, 0, limit, 9)
    code.add(OVER, other=parameters)
    code.place(parameters)
    code.octets(";")
    code.add(DONE)


def _date(code: _Assembler) -> None:
    """RFC 3261 20.17: `Sat, 13 Nov 2010 23:29:00 GMT`."""
    for character in "Aaa, 00 Aaa 0000 00:00:00 ":
        members = {"A": _UPPER, "a": _LOWER, "0": _DIGIT}.get(character)
        if members is None:
            code.octets(character)
        else:
            code.run(members, 1, 1)
    code.octets("GMT")
    code.add(OVER)


def _warning(code: _Assembler) -> None:
    code.run(_DIGIT, 3, 3)
    code.octets(" ")
    code.run(_NO_COMMA)
    code.add(OVER)


def _start_line(code: _Assembler) -> None:
    method, rest, end = _Label(), _Label(), _Label()
    for place, character in enumerate("SIP/"):
        code.choose(character, rest if place else method)
    code.octets("2.0 ")
    code.number(STATUS, 100, 700, 3)
    code.octets(" ")
    code.mark(TARGET)
    code.run(_PRINTABLE, 0)
    code.mark(TARGET_END)
    code.jump(end)
    code.place(method)
    code.run(TOKEN)
    code.place(rest)
    code.run(TOKEN, 0)
    code.mark(METHOD_END)
    code.octets(" ")
    code.mark(TARGET)
    _uri(code, with_parameters=True)
    code.mark(TARGET_END)
    code.octets(" SIP/2.0")
    code.place(end)
    code.octets("\r\n")
    code.add(DONE)


def _assemble() -> tuple[Integers, Integers]:
    """The table, and where the pattern of each header begins: for its first line, and for one that repeats it."""
    code = _Assembler()
    begins = np.full((2, START_LINE + 1), _FAIL, dtype=np.int64)
    begins[0, START_LINE] = code.here()
    _start_line(code)
    for name, write in _WRITERS.items():
        begins[:, HEADERS.index(name) + 1] = code.here()
        write(code)
    begins[1, HEADERS.index("via") + 1] = code.here()
    _via(code, _SCRATCH)
    return code.table(), begins


def _address_list(code: _Assembler) -> None:
    _address(code, _SCRATCH, several=True)


def _delta_seconds(code: _Assembler) -> None:
    _bounded(code, 1 << 32)


_WRITERS: Final[Mapping[str, Callable[[_Assembler], None]]] = {
    "via": lambda code: _via(code, BRANCH),
    "from": lambda code: _address(code, FROM_TAG, several=False),
    "to": lambda code: _address(code, TO_TAG, several=False),
    "call-id": _call_id,
    "cseq": _cseq,
    "contact": _contact,
    "content-length": _content_length,
    "content-type": _content_type,
    "max-forwards": lambda code: _bounded(code, 256),
    "date": _date,
    "expires": _delta_seconds,
    "route": _address_list,
    "record-route": _address_list,
    "min-expires": _delta_seconds,
    "retry-after": _delta_seconds,
    "session-expires": _delta_seconds,
    "warning": _warning,
}
"""Headers without a pattern may hold any text."""


def _names() -> Integers:
    """By shape, the letters of the known header name of that shape and the header's number, else zeros."""
    names = np.zeros((SHAPES, NAME_LIMIT + 2), dtype=np.int64)
    spelled = [(name, number) for number, name in enumerate(HEADERS, 1)]
    spelled += [(short, HEADERS.index(name) + 1) for short, name in _COMPACT.items()]
    for name, number in spelled:
        row = names[(len(name) + 30 * ord(name[0]) + ord(name[len(name) // 2]) + 2 * ord(name[-1])) % SHAPES]
        if row[-1]:
            raise AssertionError(f"two header names of one shape: {name}")
        row[: len(name)] = list(name.encode())
        row[-1] = number
    return names


NAMES: Final = _frozen(_names())
PATTERNS, PATTERN_OF_HEADER = map(_frozen, _assemble())
