"""The kernel that walks a window of a capture: records, packets, RTP in place; everything else waits for Python.

Symbols: `window` holds `length` octets of the capture; `arrays` says where the walk stands and what waits (see
`capture.columns`), `table` is the stream table (see `media.columns`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.capture.columns import (
    AGAIN,
    AHEAD_BEGIN,
    AHEAD_END,
    DPORT,
    DST_HI,
    DST_LO,
    EVENT_COUNT,
    FIRST,
    FORMAT,
    FORMAT_PCAP,
    FRAGMENTS,
    KIND_FRAGMENT,
    KIND_OTHER,
    KIND_QUESTION,
    KIND_SCTP,
    KIND_TCP,
    KIND_UDP,
    LAST,
    PACKET_COLUMNS,
    PACKETS,
    PAYLOAD_LENGTH,
    PENDING_AT,
    PENDING_COUNT,
    PENDING_FLOW,
    PENDING_KIND,
    PENDING_ROWS,
    POSITION,
    RECORD_HEADER,
    SCTP_PACKETS,
    SPORT,
    SRC_HI,
    SRC_LO,
    STOP_EVENTS,
    STOP_JOBS,
    STOP_PENDING,
    STOP_ROW,
    STOP_TIME,
    STOP_VALUE,
    SWAPPED,
    TCP_FLAGS,
    TCP_FLOW_SLOTS,
    TCP_IGNORED,
    TCP_SEGMENTS,
    UNTIL,
)
from collector.capture.demux_numba_fns import udp_kind
from collector.capture.dissect_numba_fns import dissect
from collector.capture.record_numba_fns import (
    AT,
    DATA,
    DATA_END,
    LINK,
    NEXT,
    NO_STOP,
    SKIP,
    TIMED,
    WIRE_END,
    pcap_record,
    pcapng_block,
)
from collector.media.columns import (
    EVENT_ROWS,
    INTERVAL_ROWS,
    JOB_ROWS,
    JOB_SAMPLES,
    SETTING_WRITTEN,
)
from collector.media.plain_rtp_numba_fns import take_plain
from collector.media.rtp_numba_fns import MIX_1, MIX_4, MIX_5, QUESTION, take_rtp
from collector.media.table import StreamArrays, WalkArrays

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]


@njit_inline
def let_wait(pending: Integers, context: Integers, packet: Integers, kind: int, at: int, flow: int) -> None:
    n = context[PENDING_COUNT]
    for k in range(PACKET_COLUMNS):
        pending[n, k] = packet[k]
    pending[n, PENDING_KIND] = kind
    pending[n, PENDING_AT] = at
    pending[n, PENDING_FLOW] = flow
    context[PENDING_COUNT] = n + 1


@njit_inline
def flow_word(packet: Integers) -> int:
    """One number for both directions of a TCP connection."""
    a = np.uint64(packet[SRC_LO]) * MIX_1 ^ np.uint64(packet[SRC_HI]) ^ np.uint64(packet[SPORT]) * MIX_4
    b = np.uint64(packet[DST_LO]) * MIX_1 ^ np.uint64(packet[DST_HI]) ^ np.uint64(packet[DPORT]) * MIX_4
    h = (a + b) * MIX_5
    return int(np.int64(h ^ (h >> np.uint64(29))))


@njit_inline
def take_tcp(
    packet: Integers, at: int, context: Integers, counters: Integers, pending: Integers, flows: Integers
) -> None:
    """Hand a segment to Python unless it is empty or of a connection known to carry no SIP."""
    counters[TCP_SEGMENTS] += 1
    word = flow_word(packet)
    slot = word & (TCP_FLOW_SLOTS - 1)
    if packet[TCP_FLAGS] & 0x02:  # SYN: a new connection may use the same ports
        if flows[slot] == word:
            flows[slot] = 0
    elif flows[slot] == word:
        counters[TCP_IGNORED] += 1
        return
    if packet[PAYLOAD_LENGTH] > 0 or packet[TCP_FLAGS] & 0x07:
        let_wait(pending, context, packet, KIND_TCP, at, word)


@njit_inline
def next_record(
    window: Octets, length: int, context: Integers, interfaces: Integers, counters: Integers, record: Integers
) -> int:
    """The next packet record; why there is none, or NO_STOP or SKIP."""
    if context[FORMAT] == FORMAT_PCAP:
        status = pcap_record(window, length, context, interfaces, record)
    else:
        status = pcapng_block(window, length, context, interfaces, counters, record)
    if status == NO_STOP and record[AT] > context[UNTIL]:
        context[STOP_VALUE] = record[AT]
        return STOP_TIME
    return status


@njit
def walk(window: Octets, length: int, arrays: WalkArrays, table: StreamArrays) -> int:
    """Walk the window from context[POSITION] until Python is needed; returns why (STOP_...)."""
    context, counters, packet, record = arrays.context, arrays.counters, arrays.packet, arrays.record
    context[AHEAD_BEGIN] = context[AHEAD_END] = 0
    plain = context[FORMAT] == FORMAT_PCAP and context[RECORD_HEADER] == 16 and context[SWAPPED] == 0
    while True:
        if context[PENDING_COUNT] == PENDING_ROWS:
            return STOP_PENDING
        if context[EVENT_COUNT] > EVENT_ROWS - 8 or table.settings[SETTING_WRITTEN] > INTERVAL_ROWS - 8:
            return STOP_EVENTS
        if table.jobs[0, JOB_SAMPLES] > JOB_ROWS - 2:
            return STOP_JOBS
        if context[AGAIN]:
            context[AGAIN] = 0
            at, kind = record[AT], KIND_UDP
        else:
            if plain:
                take_plain(window, length, arrays, table)
            status = next_record(window, length, context, arrays.interfaces, counters, record)
            if status >= 0:
                return status
            context[POSITION] = record[NEXT]
            context[PACKETS] += 1
            if status == SKIP:
                continue
            at = record[AT]
            if record[TIMED]:
                context[FIRST] = min(context[FIRST], at)
                context[LAST] = max(context[LAST], at)
            kind = dissect(window, record[DATA], record[DATA_END], record[WIRE_END], record[LINK], packet, counters)
            if kind == KIND_UDP:
                kind = udp_kind(window, packet, counters)
        flow = 0
        if kind == KIND_UDP:
            stop = take_rtp(window, packet, at, context, counters, table)
            if stop == NO_STOP:
                continue
            if stop != QUESTION:
                return stop
            kind, flow = KIND_QUESTION, context[STOP_ROW]
        elif kind == KIND_TCP:
            take_tcp(packet, at, context, counters, arrays.pending, arrays.flows)
            continue
        elif kind == KIND_FRAGMENT:
            counters[FRAGMENTS] += 1
        elif kind == KIND_SCTP:
            counters[SCTP_PACKETS] += 1
        elif kind == KIND_OTHER:
            continue
        let_wait(arrays.pending, context, packet, kind, at, flow)
