"""Kernels that tell what a UDP payload is by its first octets (RFC 7983, with SIP and keep-alives before it)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit_inline
from collector.capture.columns import (
    DTLS,
    KEEP_ALIVE,
    KIND_RTCP,
    KIND_SIP,
    KIND_UDP,
    PAYLOAD,
    PAYLOAD_CAPTURED,
    PAYLOAD_LENGTH,
    RTCP_CUT,
    RTCP_PACKETS,
    SIP_CUT,
    SIP_PACKETS,
    STUN,
    TURN_CHANNEL,
    UDP_OTHER,
    ZRTP,
)
from collector.loads import be16

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]


@njit_inline
def is_sip(window: Octets, at: int, end: int) -> bool:
    """A start line that names SIP: `SIP/` first, or after a space in the first line (RFC 3261 7.1, 7.2)."""
    for i in range(at, min(end, at + 16384) - 3):
        octet = window[i]
        if octet == 10 or octet == 13:
            return False
        if octet == 83 and window[i + 1] == 73 and window[i + 2] == 80 and window[i + 3] == 47:  # SIP/
            return i == at or window[i - 1] == 32 or window[i - 1] == 9
    return False


@njit_inline
def is_keep_alive(window: Octets, at: int, end: int, length: int) -> bool:
    """Nothing, or a few CR, LF and NUL (RFC 5626 3.5.1 and what devices make of it)."""
    if length > 4:
        return False
    for i in range(at, end):  # noqa: SIM110
        if window[i] != 13 and window[i] != 10 and window[i] != 0:
            return False
    return True


@njit_inline
def is_rtcp(window: Octets, at: int, captured: int, length: int) -> bool:
    """RFC 5761 4: packet types 192 to 223 with a length field that fits."""
    if captured < 4:
        return False
    kind = window[at + 1]
    return 192 <= kind <= 223 and (be16(window, at + 2) + 1) * 4 <= length


@njit_inline
def skip_line_ends(window: Octets, packet: Integers) -> None:
    """Let a SIP message begin with its start line: CRLF may come before it (RFC 3261 7.5)."""
    begin = packet[PAYLOAD]
    end = begin + packet[PAYLOAD_CAPTURED]
    at = begin
    while at < end and (window[at] == 13 or window[at] == 10):
        at += 1
    if at > begin and is_sip(window, at, end):
        packet[PAYLOAD] = at
        packet[PAYLOAD_CAPTURED] -= at - begin
        packet[PAYLOAD_LENGTH] -= at - begin


@njit_inline
def udp_kind(window: Octets, packet: Integers, counters: Integers) -> int:
    """RFC 7983, with SIP and keep-alives before it: KIND_SIP, KIND_RTCP, KIND_UDP for RTP, 0 for the rest."""
    skip_line_ends(window, packet)
    at = packet[PAYLOAD]
    captured = packet[PAYLOAD_CAPTURED]
    length = packet[PAYLOAD_LENGTH]
    if captured <= 0 or length <= 4:
        if is_keep_alive(window, at, at + max(captured, 0), length):
            counters[KEEP_ALIVE] += 1
        else:
            counters[UDP_OTHER] += 1
        return 0
    first = window[at]
    if 128 <= first <= 191:
        if is_rtcp(window, at, captured, length):
            counters[RTCP_PACKETS] += 1
            if captured < length:
                counters[RTCP_CUT] += 1
                return 0
            return KIND_RTCP
        return KIND_UDP
    if first >= 33 and first < 127 and is_sip(window, at, at + captured):
        counters[SIP_PACKETS] += 1
        if captured < length:
            counters[SIP_CUT] += 1
        return KIND_SIP
    if first <= 3:
        counters[STUN] += 1
    elif 16 <= first <= 19:
        counters[ZRTP] += 1
    elif 20 <= first <= 63:
        counters[DTLS] += 1
    elif 64 <= first <= 79 and captured >= 4 and be16(window, at + 2) + 4 <= length and not 65 <= first <= 79:
        counters[TURN_CHANNEL] += 1
    else:
        counters[UDP_OTHER] += 1
    return 0
