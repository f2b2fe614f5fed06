"""The kernel that indexes SIP messages: where the fields lie in those written the usual way, and which are not.

A message is plain when every octet of its header section was recognised as what RFC 3261 allows, by patterns stricter
than the grammar (`sip_patterns`): no folding, no escapes, no blanks that need not be there, nothing outside ASCII but
in display names and free text. Of a plain message whose headers are UTF-8 `sip.parse` finds no defect and the same
fields; everything else is left to it.

The patterns are tables that one small loop walks: a function for each pattern took four times as long to compile.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from collector.accelerate import njit, njit_inline
from collector.loads import be64

Octets = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

# The constants stand in this file, and the tables are arguments, because the compiled kernel that is kept on disk holds
# the values of all globals and is renewed only when this file changes.

HEADERS: Final = (
    "via",
    "from",
    "to",
    "call-id",
    "cseq",
    "contact",
    "content-length",
    "content-type",
    "max-forwards",
    "date",
    "expires",
    "route",
    "record-route",
    "min-expires",
    "retry-after",
    "session-expires",
    "timestamp",
    "warning",
    "reason",
    "session-id",
    "replaces",
    "x-cid",
    "x-call-id",
    "x-original-call-id",
    "cisco-guid",
    "av-global-session-id",
    "x-genesys-calluuid",
    "p-charging-vector",
)
"""Headers that the kernel knows; the bit of each in a message's presence mask is its place here plus one."""


def presence_bit(name: str) -> int:
    """Bit of a known header in the presence mask."""
    return 1 << HEADERS.index(name) + 1


def _bits(*names: str) -> int:
    return sum(presence_bit(name) for name in names)


PLAIN: Final = 1
"""Bit of the presence mask: the message was recognised as plain."""
SDP: Final = 1 << (len(HEADERS) + 1)
"""Bit of the presence mask: the body is known to be application/sdp."""
MANDATORY_BITS: Final = _bits("via", "from", "to", "call-id", "cseq")
CONTENT_LENGTH_BIT: Final = presence_bit("content-length")
CONTENT_TYPE_BIT: Final = presence_bit("content-type")
JOINING_BITS: Final = _bits(*HEADERS[HEADERS.index("session-id") :])
"""Headers that may join a leg to others."""
SINGLE_BITS: Final = (
    _bits(*(set(HEADERS) - {"via", "contact", "route", "record-route", "warning", "reason"})) & ~JOINING_BITS
)
"""Headers of which a second one is a defect."""

# One row of the index; positions count from the start of the message, a pair is start and end.
MASK, STATUS, METHOD_END, TARGET, TARGET_END, CALL_ID, CALL_ID_END, CSEQ, CSEQ_METHOD, CSEQ_METHOD_END = range(10)
FROM_TAG, FROM_TAG_END, TO_TAG, TO_TAG_END, BRANCH, BRANCH_END, BODY, BODY_END, CONTENT_TYPE = range(10, 19)
KEPT_COLUMNS: Final = 19
COLUMNS: Final = 21
"""With two for what is checked and not kept."""

TEXT: Final = 1
TOKEN: Final = 2
HEX: Final = 4
"""Classes of octets that the kernel itself asks for; `sip_patterns` has more."""

IS, IS_EITHER_CASE, RUN, LOOK, NUMBER, IPV6, AFTER_NONE_OF, MARK, JUMP, OVER, DONE = range(11)
"""Operations: `IS` one octet, `IS_EITHER_CASE` one letter; `RUN` of `low` to `high` octets of a class, as many as
there are; `LOOK` for a run
of a class that one octet ends, or stay; `NUMBER` into a column, at least `low` and below `high`; `IPV6` up to its
bracket; `AFTER_NONE_OF` not behind an octet; `MARK` the position in a column; `JUMP`; `OVER` at the end of the value;
`DONE` anywhere."""

START_LINE: Final = len(HEADERS) + 1
"""The start line's place among the patterns of the headers."""
SHAPES: Final = 128
NAME_LIMIT: Final = 20
"""Length of the longest known header name."""

_BLANKS: Final = 0x2020202020202020
_ONES: Final = 0x0101010101010101
_HIGHEST_BITS: Final = -0x7F7F7F7F7F7F7F80

SECTION_LIMIT = 65000
"""Longer header sections are left to the slow reader, which cuts them."""


@njit_inline
def _ipv6_end(window: Octets, at: int, end: int, classes: Integers) -> int:
    """Position after the bracket that closes an IPv6 reference of hexadecimal groups, else -1."""
    groups = 0
    gaps = 0
    digits = 0
    colons = 0
    while at < end:
        octet = int(window[at])
        if octet == 58:
            colons += 1
            digits = 0
            if colons == 2:
                gaps += 1
        elif classes[octet] & HEX:
            # A single colon may not come before the first group (RFC 3986 3.2.2).
            if colons > 2 or (colons == 1 and groups == 0):
                return -1
            colons = 0
            if digits == 0:
                groups += 1
            digits += 1
            if digits > 4:
                return -1
        else:
            if octet != 93 or colons == 1 or colons > 2 or gaps > 1:
                return -1
            return at + 1 if (groups < 8 if gaps else groups == 8) else -1
        at += 1
    return -1


@njit_inline
def _match(
    window: Octets, at: int, end: int, start: int, step: int, row: Integers, classes: Integers, patterns: Integers
) -> int:
    """Walk the pattern that begins at `step`: the position after what it matched, or -1."""
    while step >= 0:
        instruction = patterns[step]
        operation = instruction[0]
        operand = instruction[1]
        step += 1
        if operation in (IS, IS_EITHER_CASE):
            if at < end and (window[at] == operand or (operation == IS_EITHER_CASE and window[at] | 32 == operand)):
                at += 1
            else:
                step = instruction[4]
        elif operation in (RUN, LOOK):
            stop = at
            while stop < end and classes[window[stop]] & operand:
                stop += 1
            if operation == RUN:
                stop = min(stop, at + instruction[3])
                if stop - at < instruction[2]:
                    step = instruction[4]
                at = stop
            elif stop > at and stop < end and window[stop] == instruction[2]:
                at = stop + 1
            else:
                step = instruction[4]
        elif operation == MARK:
            row[operand] = at - start
        elif operation == JUMP:
            step = instruction[4]
        elif operation in (OVER, DONE):
            if operation == DONE or at == end:
                return at
            step = instruction[4]
        elif operation == NUMBER:
            value = 0
            stop = at
            while stop < end and stop - at <= instruction[4] and 48 <= window[stop] <= 57:
                value = value * 10 + int(window[stop]) - 48
                stop += 1
            if stop == at or stop - at > instruction[4] or not instruction[2] <= value < instruction[3]:
                return -1
            row[operand] = value
            at = stop
        elif operation == IPV6:
            at = _ipv6_end(window, at, end, classes)
            if at < 0:
                return -1
        elif operation == AFTER_NONE_OF and window[at - 1] == operand:
            return -1
    return -1


@njit_inline
def _header_number(window: Octets, at: int, end: int, names: Integers) -> int:
    """Number of a known header by its name, 0 for any other."""
    length = end - at
    if length > NAME_LIMIT:
        return 0
    first, middle, last = int(window[at]) | 32, int(window[at + length // 2]) | 32, int(window[end - 1]) | 32
    name = names[(length + 30 * first + middle + 2 * last) % SHAPES]
    for place in range(length):
        if window[at + place] | 32 != name[place]:
            return 0
    return int(name[NAME_LIMIT + 1]) if name[length] == 0 else 0


@njit_inline
def _is_whole(window: Octets, start: int, end: int, body: int, mask: int, row: Integers) -> bool:
    """What can be said once all headers were seen: none missing, lengths and methods that agree."""
    if mask & MANDATORY_BITS != MANDATORY_BITS or body - start > SECTION_LIMIT:
        return False
    length = end - body
    if mask & CONTENT_LENGTH_BIT:
        if row[BODY_END] > length:
            return False
        length = row[BODY_END]
    if length > 0 and not mask & CONTENT_TYPE_BIT:
        return False
    row[BODY] = body - start
    row[BODY_END] = body - start + length
    if row[STATUS] != 0:
        return True
    if row[METHOD_END] != row[CSEQ_METHOD_END] - row[CSEQ_METHOD]:
        return False
    place = 0
    while place < row[METHOD_END] and window[start + place] == window[start + row[CSEQ_METHOD] + place]:
        place += 1
    return bool(place == row[METHOD_END])


@njit_inline
def _text_end(window: Octets, at: int, end: int, classes: Integers) -> int:
    """Position of the first octet that is no text."""
    while at + 8 <= end:
        # Eight octets at a time: a highest bit is set where one is below a blank, above a tilde or not ASCII.
        octets = be64(window, at)
        if (octets | (octets - _BLANKS) | (octets + _ONES)) & _HIGHEST_BITS:
            break
        at += 8
    while at < end and classes[window[at]] & TEXT:
        at += 1
    return at


@njit_inline
def _index_message(
    window: Octets,
    start: int,
    end: int,
    row: Integers,
    classes: Integers,
    names: Integers,
    patterns: Integers,
    pattern_of_header: Integers,
) -> bool:
    # The start line goes round the loop like a header: each place that calls `_match` would compile it once more.
    at = start
    stop = end
    following = -1
    step = pattern_of_header[0, START_LINE]
    mask = PLAIN
    while True:
        if step >= 0:
            at = _match(window, at, stop, start, step, row, classes, patterns)
            if at < 0:
                return False
        if following >= 0:
            at = following
        if at + 1 >= end:
            return False
        if window[at] == 13:
            row[MASK] = mask
            return bool(window[at + 1] == 10) and _is_whole(window, start, end, at + 2, mask, row)
        name_end = at
        while name_end < end and classes[window[name_end]] & TOKEN:
            name_end += 1
        if name_end in (at, end) or window[name_end] != 58:
            return False
        header = _header_number(window, at, name_end, names)
        at = name_end + 1
        stop = _text_end(window, at, end, classes)
        if stop + 1 >= end or window[stop] != 13 or window[stop + 1] != 10:
            return False
        following = stop + 2
        bit = 1 << header if header else 0
        if mask & bit & SINGLE_BITS:
            return False
        step = pattern_of_header[1 if mask & bit else 0, header]
        mask |= bit
        while at < stop and window[at] == 32:
            at += 1
        while stop > at and window[stop - 1] == 32:
            stop -= 1


@njit
def index_messages(
    window: Octets,
    offsets: Integers,
    lengths: Integers,
    count: int,
    rows: Integers,
    classes: Integers,
    names: Integers,
    patterns: Integers,
    pattern_of_header: Integers,
) -> None:
    """Index the first `count` messages of a window into `rows` (count x COLUMNS); MASK is 0 where one is not plain.

    The last four arguments are the tables of `sip_patterns`.
    """
    for number in range(count):
        start = offsets[number]
        end = start + lengths[number]
        row = rows[number]
        row[:] = 0
        within = 0 <= start <= end <= len(window)
        if not within or not _index_message(window, start, end, row, classes, names, patterns, pattern_of_header):
            row[MASK] = 0
