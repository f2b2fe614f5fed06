"""Kernels that cut lines of comma-separated records into cells, and read numbers, texts, keys and metrics from them.

Symbols: `window` holds octets of one or more files; a row is a line that is not blank; a slot is a column that is
kept; starts[slot, row] and ends[slot, row] are where its cell lies, without quotes and the spaces around it; a row
with fault[row] != 0 is rejected, and the number says why.

A record never goes over a line's end, so a quote that is not closed spoils one record and not the rest of the file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.loads import le64, trailing_zeros

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]
Places = NDArray[np.int32]
Numbers = NDArray[np.float64]

# Places of `state`.
POSITION = 0
ROWS = 1
LINE = 2

# Why cutting stopped.
NEED_MORE = 0
NO_ROOM = 1
NOT_A_RECORD = 2

# Faults of a row; a fault that concerns a slot is SLOT_FAULT * kind + slot.
WRONG_COLUMNS = 1
UNCLOSED_QUOTE = 2
STRAY_QUOTE = 3
SLOT_FAULT = 1_000
NOT_A_NUMBER = 1
CONTROL_CHARACTER = 2

NEW_LINE = 10
RETURN = 13
SPACE = 32
TAB = 9
QUOTE = 34
COMMA = 44
MINUS = 45
PLUS = 43
POINT = 46
DIGIT_0 = 48
DIGIT_9 = 57
SEMICOLON = 59
COLON = 58
EQUALS = 61
UPPER_A = 65
UPPER_Z = 90
LOWER_A = 97
LOWER_Z = 122

# Words of eight octets.
COMMAS = 0x2C2C2C2C2C2C2C2C
QUOTES = 0x2222222222222222
NEW_LINES = 0x0A0A0A0A0A0A0A0A
LOW_BITS = 0x7F7F7F7F7F7F7F7F
LOWEST_BITS = 0x0101010101010101
HIGH_BITS = ~LOW_BITS

FNV_OFFSET = np.int64(-3750763034362895579)  # 0xcbf29ce484222325, FNV-1a 64 (draft-eastlake-fnv)
FNV_PRIME = np.int64(0x100000001B3)


@njit_inline
def zeros(word: int) -> int:
    """The highest bit of each octet of a word that is 0 (Mycroft's test, in the form without false alarms)."""
    return ~(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS)


@njit_inline
def find_cells(window: Octets, at: int, end: int, commas: Places, line: Integers) -> int:
    """Find a line's end and the commas outside quotes; return the number of cells, or a fault below 0.

    Eight octets at a time. line[0] receives where the line ends, before its end of line; -1 where there is no end.
    """
    room = commas.shape[0]
    cells = 0
    quoted = 0
    line[0] = -1
    while at < end:
        word = le64(window, at)
        separators = zeros(word ^ COMMAS)
        quotes = zeros(word ^ QUOTES)
        lines = zeros(word ^ NEW_LINES)
        if lines != 0:
            before = (lines & -lines) - 1
            separators &= before
            quotes &= before
            line[0] = at + (trailing_zeros(lines) >> 3)
        if quotes != 0:
            within = (quotes >> 7) & LOWEST_BITS
            within ^= within << 8
            within ^= within << 16
            within ^= within << 32
            separators &= ~((within << 7) ^ quoted)
            if (within >> 56) & 1:
                quoted ^= HIGH_BITS
        elif quoted != 0:
            separators = 0
        while separators != 0:
            if cells < room:
                commas[cells] = at + (trailing_zeros(separators) >> 3)
            cells += 1
            separators &= separators - 1
        if lines != 0:
            break
        at += 8
    return -UNCLOSED_QUOTE if quoted != 0 else cells + 1


@njit_inline
def keep_cells(
    window: Octets,
    at: int,
    stop: int,
    cells: int,
    row: int,
    commas: Places,
    columns: Integers,
    starts: Places,
    ends: Places,
) -> int:
    """Note where the cells lie that have a slot, without quotes and the spaces around them; return a fault or 0."""
    for slot in range(columns.shape[0]):
        column = columns[slot]
        begin = at
        end = at
        if 0 <= column < cells:
            begin = int(commas[column - 1]) + 1 if column > 0 else at
            end = int(commas[column]) if column < cells - 1 else stop
        while begin < end and (window[begin] == SPACE or window[begin] == TAB):
            begin += 1
        while end > begin and (window[end - 1] == SPACE or window[end - 1] == TAB):
            end -= 1
        if begin < end and window[begin] == QUOTE:
            if end - begin < 2 or window[end - 1] != QUOTE:
                return STRAY_QUOTE
            begin += 1
            end -= 1
            while begin < end and (window[begin] == SPACE or window[begin] == TAB):
                begin += 1
            while end > begin and (window[end - 1] == SPACE or window[end - 1] == TAB):
                end -= 1
        starts[slot, row] = begin
        ends[slot, row] = end
    return 0


@njit
def cut_lines(
    window: Octets,
    end: int,
    is_last: int,
    starts_with_number: int,
    columns: Integers,
    allowed: Integers,
    commas: Places,
    line_end: Integers,
    starts: Places,
    ends: Places,
    lines: Integers,
    begins: Integers,
    finishes: Integers,
    fault: Integers,
    state: Integers,
) -> int:
    """Cut all whole lines before `end` into rows, from state[POSITION] and state[ROWS] on; return why it stopped.

    `columns` gives each slot its column, below 0 where there is none; allowed[n] != 0 where a line may have n cells.
    With `starts_with_number`, a line that starts otherwise is not cut: it may be the names of columns of what follows,
    or their types. Else the cell of slot 0, which is a number in every record, tells such lines, and the first cell
    where the line has another number of cells.
    `is_last`: the last line may end without a line's end. At least 8 octets of the window lie behind `end`, the first
    of them the end of a line.
    """
    at = state[POSITION]
    row = state[ROWS]
    line = state[LINE]
    room = begins.shape[0]
    stopped = NEED_MORE
    while at < end:
        cells = find_cells(window, at, end, commas, line_end)
        stop = line_end[0]
        if stop < 0 or stop >= end:
            if not is_last:
                break
            stop = end
        after = stop + 1
        if stop > at and window[stop - 1] == RETURN:
            stop -= 1
        first = at
        while first < stop and (window[first] == SPACE or window[first] == TAB):
            first += 1
        if first == stop:
            at = after
            line += 1
            continue
        if row == room:
            stopped = NO_ROOM
            break
        if window[first] == QUOTE and first + 1 < stop:
            first += 1
        if not starts_with_number and 0 < columns[0] < cells < allowed.shape[0] and allowed[cells] != 0:
            first = int(commas[columns[0] - 1]) + 1
            while first < stop and (window[first] == SPACE or window[first] == TAB or window[first] == QUOTE):
                first += 1
        elif not starts_with_number and (cells < 0 or columns[0] < 0):
            first = stop
        if first < stop and (window[first] | 32) >= LOWER_A and (window[first] | 32) <= LOWER_Z:
            stopped = NOT_A_RECORD
            break
        fault[row] = 0
        if cells < 0:
            fault[row] = -cells
        elif cells >= allowed.shape[0] or allowed[cells] == 0:
            fault[row] = WRONG_COLUMNS
        if fault[row] != 0:
            cells = 0
        wrong = keep_cells(window, at, stop, cells, row, commas, columns, starts, ends)
        if wrong != 0:
            fault[row] = wrong
            keep_cells(window, at, stop, 0, row, commas, columns, starts, ends)
        lines[row] = line
        begins[row] = at
        finishes[row] = stop
        row += 1
        line += 1
        at = after
    state[POSITION] = min(at, end)
    state[ROWS] = row
    state[LINE] = line
    return stopped


@njit
def read_numbers(
    window: Octets, rows: int, slot: int, starts: Places, ends: Places, values: Integers, given: Octets, fault: Integers
) -> int:
    """Read a slot's cells as whole numbers; an empty cell is not given, any other that is no number is a fault."""
    for row in range(rows):
        at = starts[slot, row]
        end = ends[slot, row]
        value = 0
        is_given = 0
        if at < end:
            negative = window[at] == MINUS
            if negative or window[at] == PLUS:
                at += 1
            is_given = 1 if 0 < end - at <= 18 else 0
            while at < end and is_given:
                digit = int(window[at]) - DIGIT_0
                if digit < 0 or digit > 9:
                    is_given = 0
                value = value * 10 + digit
                at += 1
            if not is_given:
                value = 0
                if fault[row] == 0:
                    fault[row] = SLOT_FAULT * NOT_A_NUMBER + slot
            elif negative:
                value = -value
        values[row] = value
        given[row] = is_given
    return rows


@njit
def read_texts(
    window: Octets,
    rows: int,
    slot: int,
    starts: Places,
    ends: Places,
    offsets: Places,
    text: Octets,
    fault: Integers,
    beyond: Octets,
) -> int:
    """Gather a slot's cells as texts, doubled quotes made single; return their length.

    beyond[row] is set where a text goes beyond ASCII; a control character is a fault.
    """
    to = 0
    for row in range(rows):
        offsets[row] = to
        at = starts[slot, row]
        end = ends[slot, row]
        while at < end:
            octet = window[at]
            if octet < SPACE:
                if fault[row] == 0:
                    fault[row] = SLOT_FAULT * CONTROL_CHARACTER + slot
            elif octet > 126:
                beyond[row] = 1
            text[to] = octet
            to += 1
            at += 1
            if octet == QUOTE:
                if at < end and window[at] == QUOTE:
                    at += 1
                elif fault[row] == 0:
                    fault[row] = STRAY_QUOTE
    offsets[rows] = to
    return to


@njit
def read_keys(
    window: Octets,
    rows: int,
    slot: int,
    starts: Places,
    ends: Places,
    begins: Integers,
    finishes: Integers,
    keys: Integers,
) -> int:
    """Hash a slot's cells with FNV-1a 64; the whole record where the cell is empty or there is none (slot < 0)."""
    for row in range(rows):
        at = begins[row]
        end = finishes[row]
        if slot >= 0 and starts[slot, row] < ends[slot, row]:
            at = int(starts[slot, row])
            end = int(ends[slot, row])
        key = FNV_OFFSET
        for k in range(at, end):
            key = (key ^ np.int64(window[k])) * FNV_PRIME
        keys[row] = key
    return rows
