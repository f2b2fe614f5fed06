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

FNV_OFFSET = np.int64(-3750763034362895579)  # 0xcbf29ce484222325, FNV-1a 64 (draft-eastlake-fnv)
FNV_PRIME = np.int64(0x100000001B3)


@njit_inline
def cut_cells(window: Octets, at: int, stop: int, row: int, slots: Integers, starts: Places, ends: Places) -> int:
    """Cut one line; return its number of cells, or a fault below 0."""
    columns = 0
    known = slots.shape[0]
    while True:
        while at < stop and (window[at] == SPACE or window[at] == TAB):
            at += 1
        begin = at
        end = at
        if at < stop and window[at] == QUOTE:
            begin += 1
            at += 1
            while True:
                while at < stop and window[at] != QUOTE:
                    at += 1
                if at == stop:
                    return -UNCLOSED_QUOTE
                at += 1
                if at == stop or window[at] != QUOTE:
                    break
                at += 1
            end = at - 1
            while at < stop and (window[at] == SPACE or window[at] == TAB):
                at += 1
            if at < stop and window[at] != COMMA:
                return -STRAY_QUOTE
        else:
            while at < stop and window[at] != COMMA:
                at += 1
            end = at
        if columns < known and slots[columns] >= 0:
            while end > begin and (window[end - 1] == SPACE or window[end - 1] == TAB):
                end -= 1
            while begin < end and (window[begin] == SPACE or window[begin] == TAB):
                begin += 1
            starts[slots[columns], row] = begin
            ends[slots[columns], row] = end
        columns += 1
        if at == stop:
            return columns
        at += 1


@njit
def cut_lines(
    window: Octets,
    end: int,
    is_last: int,
    starts_with_number: int,
    slots: Integers,
    allowed: Integers,
    starts: Places,
    ends: Places,
    lines: Integers,
    begins: Integers,
    finishes: Integers,
    fault: Integers,
    state: Integers,
) -> int:
    """Cut all whole lines before `end` into rows, from state[POSITION] and state[ROWS] on; return why it stopped.

    `slots` gives each column its slot, -1 for none; allowed[n] != 0 where a line may have n columns. With
    `starts_with_number`, a line that starts otherwise is not cut: it may be the names of columns of what follows.
    `is_last`: the last line may end without a line's end.
    """
    at = state[POSITION]
    row = state[ROWS]
    line = state[LINE]
    room = begins.shape[0]
    stopped = NEED_MORE
    while at < end:
        stop = at
        while stop < end and window[stop] != NEW_LINE:
            stop += 1
        if stop == end and not is_last:
            break
        after = stop + 1 if stop < end else stop
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
        if starts_with_number and (window[first] | 32) >= LOWER_A and (window[first] | 32) <= LOWER_Z:
            stopped = NOT_A_RECORD
            break
        cells = cut_cells(window, at, stop, row, slots, starts, ends)
        fault[row] = 0
        if cells < 0:
            fault[row] = -cells
        elif cells >= allowed.shape[0] or allowed[cells] == 0:
            fault[row] = WRONG_COLUMNS
        if fault[row] != 0:
            cells = 0
        for column in range(cells, slots.shape[0]):
            if slots[column] >= 0:
                starts[slots[column], row] = at
                ends[slots[column], row] = at
        lines[row] = line
        begins[row] = at
        finishes[row] = stop
        row += 1
        line += 1
        at = after
    state[POSITION] = at
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
                digit = window[at] - DIGIT_0
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
            if octet == QUOTE and at < end and window[at] == QUOTE:
                at += 1
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
