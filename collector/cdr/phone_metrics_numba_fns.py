"""A kernel that reads what telephones report of their calls: `MLQK=4.5000;CCR=0.0011;…;VoRxCodec=G.711 u-la`.

Members are kept apart by `;`, name from value by `=` or `:`; which members there are, and their order, vary with the
telephone's load (Cisco Call Detail Records Administration Guide, varVQMetrics). Upper and lower case are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.cdr.cutting_numba_fns import (
    COLON,
    COMMA,
    DIGIT_0,
    DIGIT_9,
    EQUALS,
    FNV_OFFSET,
    FNV_PRIME,
    MINUS,
    POINT,
    SEMICOLON,
    SPACE,
    UPPER_A,
    UPPER_Z,
)

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]
Places = NDArray[np.int32]
Numbers = NDArray[np.float64]


@njit_inline
def lower_case(octet: int) -> int:
    return octet + 32 if UPPER_A <= octet <= UPPER_Z else octet


@njit_inline
def decimal(window: Octets, at: int, end: int) -> float:
    """Read a decimal number; NaN where there is none."""
    while at < end and window[at] == SPACE:
        at += 1
    while end > at and window[end - 1] == SPACE:
        end -= 1
    sign = 1.0
    if at < end and window[at] == MINUS:
        sign = -1.0
        at += 1
    value = 0.0
    scale = 0.0
    digits = 0
    while at < end:
        octet = window[at]
        if octet == POINT and scale == 0.0:
            scale = 1.0
        elif DIGIT_0 <= octet <= DIGIT_9:
            value = value * 10.0 + (int(octet) - DIGIT_0)
            scale *= 10.0
            digits += 1
        else:
            return np.nan
        at += 1
    if digits == 0 or digits > 15:
        return np.nan
    return sign * value / scale if scale > 0.0 else sign * value


@njit
def read_metrics(
    window: Octets,
    rows: int,
    slot: int,
    starts: Places,
    ends: Places,
    names: Integers,
    text_name: int,
    values: Numbers,
    text_slot: int,
) -> int:
    """Read the members that `names` hashes (FNV-1a 64 of the name in lower case) into values[name, row], else NaN.

    The member `text_name` holds a text: starts and ends of `text_slot` receive where it lies.
    """
    for row in range(rows):
        for k in range(names.shape[0]):
            values[k, row] = np.nan
        at = int(starts[slot, row])
        end = int(ends[slot, row])
        starts[text_slot, row] = at
        ends[text_slot, row] = at
        while at < end:
            while at < end and (window[at] == SPACE or window[at] == SEMICOLON or window[at] == COMMA):
                at += 1
            name = FNV_OFFSET
            while at < end and window[at] != EQUALS and window[at] != COLON and window[at] != SEMICOLON:
                if window[at] != SPACE:
                    name = (name ^ np.int64(lower_case(window[at]))) * FNV_PRIME
                at += 1
            begin = at + 1
            if at < end and window[at] == SEMICOLON:
                continue
            while at < end and window[at] != SEMICOLON:
                at += 1
            if begin > at:
                break
            if name == text_name:
                starts[text_slot, row] = begin
                ends[text_slot, row] = at
            for k in range(names.shape[0]):
                if names[k] == name:
                    values[k, row] = decimal(window, begin, at)
    return rows
