"""The kernel that walks a window of a capture: records, packets, RTP in place; everything else waits for Python.

Symbols: `window` holds `length` octets of the capture; `context`, `interfaces`, `counters`, `packet`, `pending` and
`flows` are as in `capture.columns`, the arrays of the stream table as in `media.columns`; `slots` is the hash table
from a stream's key to row + 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.capture.columns import (
    DPORT,
    DSCP,
    DST_HI,
    DST_LO,
    DTLS,
    EVENT_COUNT,
    FIRST,
    FORMAT,
    FORMAT_PCAP,
    FRAGMENTS,
    FREE_ROW,
    INTERFACE_UNKNOWN,
    INTERFACES,
    IP_ID,
    KEEP_ALIVE,
    KIND_FRAGMENT,
    KIND_RTCP,
    KIND_SCTP,
    KIND_SIP,
    KIND_TCP,
    KIND_UDP,
    LAST,
    LINK_TYPE,
    PACKET_COLUMNS,
    PAYLOAD,
    PAYLOAD_CAPTURED,
    PAYLOAD_LENGTH,
    PENDING_AT,
    PENDING_COUNT,
    PENDING_FLOW,
    PENDING_KIND,
    PENDING_ROWS,
    POSITION,
    RECORD_HEADER,
    ROWS_USED,
    RTCP_CUT,
    RTCP_PACKETS,
    RTP_HEADER_CUT,
    RTP_HEADER_LIES,
    RTP_PACKETS,
    RTP_ROWS_EXHAUSTED,
    RTP_STRAY,
    RTP_UNVALIDATED,
    SCTP_PACKETS,
    SIP_CUT,
    SIP_PACKETS,
    SNAP_LENGTH,
    SPORT,
    SRC_HI,
    SRC_LO,
    STOP_BLOCK,
    STOP_CORRUPT,
    STOP_EVENTS,
    STOP_FORMAT,
    STOP_MORE,
    STOP_PENDING,
    STOP_ROW,
    STOP_ROWS,
    STOP_TIME,
    STOP_VALUE,
    STUN,
    SWAPPED,
    TCP_FLAGS,
    TCP_FLOW_SLOTS,
    TCP_IGNORED,
    TCP_SEGMENTS,
    TICKS_PER_SECOND,
    TIME_OFFSET,
    TTL,
    TURN_CHANNEL,
    UDP_OTHER,
    UNTIL,
    ZRTP,
)
from collector.capture.columns import (
    PACKETS as PACKETS_SEEN,
)
from collector.capture.dissect_numba_fns import dissect
from collector.loads import be16, be32, le32
from collector.media.columns import (
    AFTER_COMFORT_NOISE,
    CLOCK,
    COMFORT_NOISE,
    DSCP_NOW,
    DSCP_RUN,
    EVENT_ROWS,
    EVENT_TYPE,
    HELD_AT,
    HELD_OCTETS,
    HELD_TIMESTAMP,
    KEY_DST_HI,
    KEY_DST_LO,
    KEY_PORTS,
    KEY_SRC_HI,
    KEY_SRC_LO,
    KEY_SSRC,
    LAST_AT,
    LAST_TIMESTAMP,
    LOG_TYPE,
    MAX_DELTA,
    MAX_SEQ,
    NEXT_FREE,
    OCTETS,
    PACKETS,
    PAYLOAD_TYPE,
    PAYLOAD_TYPE_RUN,
    PREVIOUS_AT,
    RESTART_OF,
    SAMPLES,
    SAMPLES_PER_ROW,
    SERIAL,
    SPURTS,
    STATE,
    STATE_CLOSED,
    STATE_PROBATION,
    STATE_VALID,
    TTL_LAST,
    TYPE_CLOCK,
    TYPE_COUNT,
    TYPE_NUMBER,
    TYPE_SLOTS,
)
from collector.media.table_numba_fns import (
    COPY,
    HELD,
    RESTARTED,
    add_sample,
    log_event,
    open_row,
    take_sequence,
    take_telephone_event,
    vote_step,
    work_out,
)

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Histograms = NDArray[np.int32]

MAX_RECORD = 1 << 18
"""A packet record longer than this is no packet (the pcap format's own bound, 262,144 octets)."""

MAX_BLOCK = 1 << 25

# --- records ----------------------------------------------------------------------------------------------------

DATA = 0
DATA_END = 1
WIRE_END = 2
AT = 3
LINK = 4
NEXT = 5
RECORD_COLUMNS = 8

NO_STOP = -1
SKIP = -2


@njit_inline
def u32(window: Octets, at: int, swapped: int) -> int:
    return be32(window, at) if swapped else le32(window, at)


@njit_inline
def nanoseconds(ticks: int, per_second: int) -> int:
    """Capture ticks in ns; hostile values wrap, they do not fail."""
    if per_second == 1_000_000:
        return ticks * 1000
    if per_second == 1_000_000_000:
        return ticks
    seconds = ticks // per_second
    rest = ticks - seconds * per_second
    if per_second < 9_000_000_000:
        return seconds * 1_000_000_000 + rest * 1_000_000_000 // per_second
    if per_second % 1_000_000_000 == 0:
        return seconds * 1_000_000_000 + rest // (per_second // 1_000_000_000)
    return seconds * 1_000_000_000 + np.int64(rest * (1e9 / per_second))  # the product would leave 64 bits


@njit_inline
def pcap_record(window: Octets, length: int, context: Integers, interfaces: Integers, record: Integers) -> int:
    """One record of a classic pcap file (draft-ietf-opsawg-pcap 5)."""
    at = context[POSITION]
    header = context[RECORD_HEADER]
    if length - at < header:
        return STOP_MORE
    swapped = context[SWAPPED]
    captured = u32(window, at + 8, swapped)
    wire = u32(window, at + 12, swapped)
    if captured > MAX_RECORD and captured > interfaces[0, SNAP_LENGTH]:
        return STOP_CORRUPT
    if captured > MAX_BLOCK:
        return STOP_CORRUPT
    if length - at < header + captured:
        return STOP_MORE
    fraction = u32(window, at + 4, swapped)
    per_second = interfaces[0, TICKS_PER_SECOND]
    record[AT] = u32(window, at, swapped) * 1_000_000_000 + (fraction * 1000 if per_second == 1_000_000 else fraction)
    record[AT] += interfaces[0, TIME_OFFSET]
    record[DATA] = at + header
    record[DATA_END] = at + header + captured
    record[WIRE_END] = at + header + max(wire, captured)
    record[LINK] = interfaces[0, LINK_TYPE]
    record[NEXT] = at + header + captured
    return NO_STOP


@njit_inline
def pcapng_block(
    window: Octets, length: int, context: Integers, interfaces: Integers, counters: Integers, record: Integers
) -> int:
    """One block of a pcapng file (draft-ietf-opsawg-pcapng 4); blocks that hold no packet go to Python."""
    at = context[POSITION]
    if length - at < 12:
        return STOP_MORE
    swapped = context[SWAPPED]
    kind = u32(window, at, swapped)
    if kind == 0x0A0D0D0A:
        return STOP_BLOCK
    size = u32(window, at + 4, swapped)
    if size < 12 or size & 3 or size > MAX_BLOCK:
        return STOP_CORRUPT
    if kind != 6 and kind != 3 and kind != 2:
        return STOP_BLOCK
    if length - at < size:
        return STOP_MORE
    if u32(window, at + size - 4, swapped) != size or size < (16 if kind == 3 else 32):
        return STOP_CORRUPT
    record[NEXT] = at + size
    if kind == 3:  # simple packet: interface 0, no time
        index = 0
        wire = u32(window, at + 8, swapped)
        captured = min(wire, size - 16)
        if interfaces[0, SNAP_LENGTH] > 0:
            captured = min(captured, interfaces[0, SNAP_LENGTH])
        data = at + 12
        stamp = max(context[LAST], 0)
    else:
        if kind == 6:
            index = u32(window, at + 8, swapped)
        else:  # obsolete packet block: interface and drops, 16 bits each
            index = be16(window, at + 8) if swapped else np.int64(window[at + 8]) | (np.int64(window[at + 9]) << 8)
        captured = u32(window, at + 20, swapped)
        wire = u32(window, at + 24, swapped)
        data = at + 28
        if captured > size - 32:
            return STOP_CORRUPT
        stamp = 0
    if index >= context[INTERFACES]:
        counters[INTERFACE_UNKNOWN] += 1
        return SKIP
    if kind != 3:
        ticks = (u32(window, at + 12, swapped) << 32) | u32(window, at + 16, swapped)
        stamp = nanoseconds(ticks, interfaces[index, TICKS_PER_SECOND]) + interfaces[index, TIME_OFFSET]
    record[AT] = stamp
    record[DATA] = data
    record[DATA_END] = data + captured
    record[WIRE_END] = data + max(wire, captured)
    record[LINK] = interfaces[index, LINK_TYPE]
    return NO_STOP


# --- what a UDP payload is --------------------------------------------------------------------------------------


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


# --- the stream table --------------------------------------------------------------------------------------------


@njit_inline
def key_slot(packet: Integers, ports: int, ssrc: int, mask: int) -> int:
    h = packet[SRC_LO] * 0x1E3779B97F4A7C15
    h ^= packet[DST_LO] * 0x42B2AE3D27D4EB4F
    h ^= (packet[SRC_HI] ^ (packet[DST_HI] << 1)) * 0x165667B19E3779F9
    h ^= (ports << 32 | ssrc) * 0x27D4EB2F165667C5
    h ^= h >> 31
    h *= 0x3C79AC492BA7B653
    h ^= h >> 33
    return h & mask


@njit
def rebuild_slots(slots: Integers, counts: Integers, used: int) -> None:
    """Enter every open row into an emptied hash table."""
    slots[:] = 0
    mask = slots.shape[0] - 1
    for row in range(used):
        if counts[row, STATE] == STATE_PROBATION or counts[row, STATE] == STATE_VALID:
            slot = key_slot(counts[row], counts[row, KEY_PORTS], counts[row, KEY_SSRC], mask)
            while slots[slot] != 0:
                slot = (slot + 1) & mask
            slots[slot] = row + 1


@njit_inline
def same_key(counts: Integers, row: int, packet: Integers, ports: int, ssrc: int) -> bool:
    return (
        counts[row, KEY_SSRC] == ssrc
        and counts[row, KEY_PORTS] == ports
        and counts[row, KEY_SRC_LO] == packet[SRC_LO]
        and counts[row, KEY_DST_LO] == packet[DST_LO]
        and counts[row, KEY_SRC_HI] == packet[SRC_HI]
        and counts[row, KEY_DST_HI] == packet[DST_HI]
    )


@njit_inline
def take_row(context: Integers, counts: Integers) -> int:
    """A row for a new stream, zeroed by whoever freed it; -1 when there is none."""
    row = context[FREE_ROW]
    if row >= 0:
        context[FREE_ROW] = counts[row, NEXT_FREE]
        counts[row, NEXT_FREE] = 0
        return row
    row = context[ROWS_USED]
    if row >= counts.shape[0]:
        return -1
    context[ROWS_USED] = row + 1
    return row


@njit_inline
def set_key(counts: Integers, row: int, packet: Integers, ports: int, ssrc: int) -> None:
    counts[row, KEY_SSRC] = ssrc
    counts[row, KEY_PORTS] = ports
    counts[row, KEY_SRC_LO] = packet[SRC_LO]
    counts[row, KEY_DST_LO] = packet[DST_LO]
    counts[row, KEY_SRC_HI] = packet[SRC_HI]
    counts[row, KEY_DST_HI] = packet[DST_HI]


@njit_inline
def count_type(types: Integers, row: int, payload_type: int, packets: int) -> int:
    """Add packets of a payload type to the row's table; returns its slot, the last one when the table is full."""
    for k in range(TYPE_SLOTS):
        number = types[row, 3 * k + TYPE_NUMBER]
        if number == payload_type + 1 or number == 0 or k == TYPE_SLOTS - 1:
            if number == 0:
                types[row, 3 * k + TYPE_NUMBER] = payload_type + 1
            types[row, 3 * k + TYPE_COUNT] += packets
            return k
    return 0


@njit_inline
def change_type(
    counts: Integers,
    sums: Floats,
    types: Integers,
    samples: Integers,
    delays: Floats,
    ipdv: Histograms,
    pdv: Histograms,
    log: Integers,
    context: Integers,
    row: int,
    payload_type: int,
    at: int,
) -> None:
    """The stream goes on with another payload type: settle what was measured with the old one's clock."""
    if counts[row, PACKETS] > 0:
        count_type(types, row, counts[row, PAYLOAD_TYPE], counts[row, PAYLOAD_TYPE_RUN])
        log_event(log, context, counts, row, LOG_TYPE, at, counts[row, PAYLOAD_TYPE], payload_type, 0, 0)
    before = counts[row, CLOCK]
    slot = count_type(types, row, payload_type, 0)
    now = types[row, 3 * slot + TYPE_CLOCK]
    if now != before:
        if before > 0:
            work_out(counts, sums, samples, delays, ipdv, pdv, row)
        counts[row, SAMPLES] = 0
        counts[row, PREVIOUS_AT] = -1
    counts[row, CLOCK] = now
    counts[row, PAYLOAD_TYPE] = payload_type
    counts[row, PAYLOAD_TYPE_RUN] = 0


@njit_inline
def is_telephone_event(
    window: Octets, packet: Integers, at: int, octets: int, payload_type: int, known: int, voice: int
) -> bool:
    """By SDP's payload types, else by shape (RFC 4733 2.3): four octets in a dynamic type that is not the voice's.

    `known` holds SDP's types, `voice` is the type of the voice packets or -1. Gateways send events of their own under
    types that no SDP named, so shape counts beside SDP.
    """
    if known >= 0 and (payload_type == known & 255 or payload_type == known >> 8):
        return True
    if payload_type < 96 or octets != 4 or payload_type == voice:
        return False
    if voice >= 0 or at + 2 > packet[PAYLOAD] + packet[PAYLOAD_CAPTURED]:
        return True
    return window[at] <= 16 and window[at + 1] & 0x40 == 0


@njit_inline
def rtp_header(window: Octets, packet: Integers, counters: Integers) -> tuple[int, int]:
    """RFC 3550 5.1: offset of the payload and its length on the wire, (-1, 0) when this cannot be RTP."""
    at = packet[PAYLOAD]
    captured = packet[PAYLOAD_CAPTURED]
    length = packet[PAYLOAD_LENGTH]
    if length < 12:
        return -1, 0
    if captured < 12:
        counters[RTP_HEADER_CUT] += 1
        return -1, 0
    header = 12 + 4 * np.int64(window[at] & 15)
    if window[at] & 0x10 and captured >= header + 4:
        header += 4 + 4 * be16(window, at + header + 2)
    padding = 0
    if window[at] & 0x20 and captured == length:
        padding = np.int64(window[at + length - 1])
    if header + padding > length:
        counters[RTP_HEADER_LIES] += 1
        return -1, 0
    return at + header, length - header - padding


@njit_inline
def take_rtp(
    window: Octets,
    packet: Integers,
    at: int,
    context: Integers,
    counters: Integers,
    slots: Integers,
    counts: Integers,
    sums: Floats,
    types: Integers,
    dscp: Integers,
    samples: Integers,
    delays: Floats,
    ipdv: Histograms,
    pdv: Histograms,
    log: Integers,
) -> int:
    """Measure one RTP packet; returns a stop code or NO_STOP."""
    payload, octets = rtp_header(window, packet, counters)
    if payload < 0:
        return NO_STOP
    start = packet[PAYLOAD]
    payload_type = np.int64(window[start + 1] & 127)
    marker = np.int64(window[start + 1] >> 7)
    seq = be16(window, start + 2)
    timestamp = be32(window, start + 4)
    ssrc = be32(window, start + 8)
    ports = (packet[SPORT] << 16) | packet[DPORT]
    mask = slots.shape[0] - 1
    slot = key_slot(packet, ports, ssrc, mask)
    row = slots[slot] - 1
    while row >= 0 and not same_key(counts, row, packet, ports, ssrc):
        slot = (slot + 1) & mask
        row = slots[slot] - 1
    counters[RTP_PACKETS] += 1
    stop = NO_STOP
    outcome = 0
    if row < 0:
        row = take_row(context, counts)
        if row < 0:
            counters[RTP_ROWS_EXHAUSTED] += 1
            return STOP_ROWS
        slots[slot] = row + 1
        set_key(counts, row, packet, ports, ssrc)
        open_row(counts, context, row, seq, at, packet[IP_ID])
        counts[row, SPURTS] = 1 - marker
        if context[FREE_ROW] < 0 and context[ROWS_USED] >= counts.shape[0]:
            stop = STOP_ROWS
    else:
        outcome = take_sequence(log, context, counts, row, seq, at, packet[IP_ID], packet[TTL])
        if outcome == COPY:
            return NO_STOP
        if outcome == HELD:
            if counts[row, STATE] == STATE_PROBATION:  # it never was a stream: begin anew with this packet
                counters[RTP_UNVALIDATED] += counts[row, PACKETS]
                clear_row(counts, sums, types, dscp, ipdv, pdv, row)
                set_key(counts, row, packet, ports, ssrc)
                open_row(counts, context, row, seq, at, packet[IP_ID])
            else:
                if counts[row, HELD_AT] > 0:
                    counters[RTP_STRAY] += 1
                counts[row, HELD_AT] = at
                counts[row, HELD_TIMESTAMP] = timestamp
                counts[row, HELD_OCTETS] = octets
                return NO_STOP
        elif outcome == RESTARTED:
            closed = row
            row = take_row(context, counts)
            if row < 0:
                counters[RTP_ROWS_EXHAUSTED] += 1
                return STOP_ROWS
            counts[closed, STATE] = STATE_CLOSED
            slots[slot] = row + 1
            set_key(counts, row, packet, ports, ssrc)
            open_row(counts, context, row, (seq - 1) & 0xFFFF, counts[closed, HELD_AT], packet[IP_ID])
            counts[row, RESTART_OF] = counts[closed, SERIAL]
            counts[row, PACKETS] = 1
            counts[row, OCTETS] = counts[closed, HELD_OCTETS]
            counts[row, PAYLOAD_TYPE] = payload_type
            counts[row, PAYLOAD_TYPE_RUN] = 1
            count_type(types, row, payload_type, 0)
            counts[row, DSCP_NOW] = packet[DSCP]
            counts[row, DSCP_RUN] = 1
            counts[row, SPURTS] = 1
            counts[row, LAST_TIMESTAMP] = counts[closed, HELD_TIMESTAMP]
            add_sample(counts, samples, row, counts[closed, HELD_AT], counts[closed, HELD_TIMESTAMP], 0)
            counts[closed, HELD_AT] = 0
            outcome = take_sequence(log, context, counts, row, seq, at, packet[IP_ID], packet[TTL])
            if context[FREE_ROW] < 0 and context[ROWS_USED] >= counts.shape[0]:
                stop = STOP_ROWS
        if counts[row, HELD_AT] > 0:  # the sequence went on as before: the packet held was a stray
            counters[RTP_STRAY] += 1
            counts[row, HELD_AT] = 0

    delta = at - counts[row, LAST_AT]
    if delta > counts[row, MAX_DELTA] and counts[row, AFTER_COMFORT_NOISE] == 0:  # comfort noise announces silence
        counts[row, MAX_DELTA] = delta
    counts[row, LAST_AT] = at
    counts[row, TTL_LAST] = packet[TTL]
    counts[row, OCTETS] += octets
    if packet[DSCP] != counts[row, DSCP_NOW]:
        dscp[row, counts[row, DSCP_NOW]] += counts[row, DSCP_RUN]
        counts[row, DSCP_NOW] = packet[DSCP]
        counts[row, DSCP_RUN] = 0
    counts[row, DSCP_RUN] += 1

    voice = counts[row, PAYLOAD_TYPE] if counts[row, PAYLOAD_TYPE_RUN] > 0 else -1
    if is_telephone_event(window, packet, payload, octets, payload_type, counts[row, EVENT_TYPE], voice):
        counts[row, PACKETS] += 1
        count_type(types, row, payload_type, 1)
        word = -1
        if octets >= 4 and payload + 4 <= start + packet[PAYLOAD_CAPTURED]:
            word = be32(window, payload)
        take_telephone_event(log, context, counts, row, at, timestamp, word)
    elif payload_type == 13 or payload_type == 19:  # comfort noise, RFC 3389 and the number in use before it
        counts[row, PACKETS] += 1
        counts[row, COMFORT_NOISE] += 1
        counts[row, AFTER_COMFORT_NOISE] = 1
        count_type(types, row, payload_type, 1)
        if counts[row, CLOCK] == 8000:
            add_sample(counts, samples, row, at, timestamp, 0)
    else:
        if counts[row, PAYLOAD_TYPE_RUN] == 0 or payload_type != counts[row, PAYLOAD_TYPE]:
            if counts[row, PAYLOAD_TYPE_RUN] == 0:
                counts[row, PAYLOAD_TYPE] = payload_type
                count_type(types, row, payload_type, 0)  # its place in the order of appearance
            else:
                change_type(counts, sums, types, samples, delays, ipdv, pdv, log, context, row, payload_type, at)
        counts[row, PACKETS] += 1
        counts[row, PAYLOAD_TYPE_RUN] += 1
        if marker or counts[row, AFTER_COMFORT_NOISE]:
            counts[row, SPURTS] += 1
            counts[row, AFTER_COMFORT_NOISE] = 0
        elif counts[row, MAX_SEQ] & 0xFFFF == seq:
            vote_step(counts, row, (timestamp - counts[row, LAST_TIMESTAMP]) & 0xFFFFFFFF)
        counts[row, LAST_TIMESTAMP] = timestamp
        if counts[row, CLOCK] != -2:
            add_sample(counts, samples, row, at, timestamp, marker)
    if counts[row, SAMPLES] == SAMPLES_PER_ROW and counts[row, CLOCK] > 0:
        work_out(counts, sums, samples, delays, ipdv, pdv, row)
    if stop == NO_STOP and counts[row, STATE] == STATE_VALID:
        unknown = counts[row, CLOCK]
        if (unknown == 0 and counts[row, PAYLOAD_TYPE_RUN] > 0) or (
            unknown == -1 and counts[row, SAMPLES] == SAMPLES_PER_ROW
        ):
            context[STOP_ROW] = row
            return STOP_FORMAT
    return stop


@njit_inline
def clear_row(
    counts: Integers,
    sums: Floats,
    types: Integers,
    dscp: Integers,
    ipdv: Histograms,
    pdv: Histograms,
    row: int,
) -> None:
    counts[row] = 0
    sums[row] = 0.0
    types[row] = 0
    dscp[row] = 0
    ipdv[row] = 0
    pdv[row] = 0


# --- the walk ----------------------------------------------------------------------------------------------------


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
    a = packet[SRC_LO] * 0x1E3779B97F4A7C15 ^ packet[SRC_HI] ^ packet[SPORT] * 0x27D4EB2F165667C5
    b = packet[DST_LO] * 0x1E3779B97F4A7C15 ^ packet[DST_HI] ^ packet[DPORT] * 0x27D4EB2F165667C5
    h = (a + b) * 0x3C79AC492BA7B653
    return h ^ (h >> 29)


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
def udp_kind(window: Octets, packet: Integers, counters: Integers) -> int:
    """RFC 7983, with SIP and keep-alives before it: KIND_SIP, KIND_RTCP, KIND_UDP for RTP, 0 for the rest."""
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


@njit
def walk(
    window: Octets,
    length: int,
    context: Integers,
    interfaces: Integers,
    counters: Integers,
    packet: Integers,
    record: Integers,
    pending: Integers,
    flows: Integers,
    slots: Integers,
    counts: Integers,
    sums: Floats,
    types: Integers,
    dscp: Integers,
    samples: Integers,
    delays: Floats,
    ipdv: Histograms,
    pdv: Histograms,
    log: Integers,
) -> int:
    """Walk the window from context[POSITION] until Python is needed; returns why (STOP_...)."""
    while True:
        if context[PENDING_COUNT] == PENDING_ROWS:
            return STOP_PENDING
        if context[EVENT_COUNT] > EVENT_ROWS - 8:
            return STOP_EVENTS
        if context[FORMAT] == FORMAT_PCAP:
            status = pcap_record(window, length, context, interfaces, record)
        else:
            status = pcapng_block(window, length, context, interfaces, counters, record)
        if status >= 0:
            return status
        if status == NO_STOP and record[AT] > context[UNTIL]:
            context[STOP_VALUE] = record[AT]
            return STOP_TIME
        context[POSITION] = record[NEXT]
        context[PACKETS_SEEN] += 1
        if status == SKIP:
            continue
        at = record[AT]
        context[FIRST] = min(context[FIRST], at)
        context[LAST] = max(context[LAST], at)
        kind = dissect(window, record[DATA], record[DATA_END], record[WIRE_END], record[LINK], packet, counters)
        if kind == KIND_UDP:
            kind = udp_kind(window, packet, counters)
            if kind == KIND_UDP:
                stop = take_rtp(
                    window, packet, at, context, counters, slots, counts, sums, types, dscp, samples, delays, ipdv,
                    pdv, log,
                )  # fmt: skip
                if stop != NO_STOP:
                    return stop
            elif kind != 0:
                let_wait(pending, context, packet, kind, at, 0)
        elif kind == KIND_TCP:
            take_tcp(packet, at, context, counters, pending, flows)
        elif kind == KIND_FRAGMENT:
            counters[FRAGMENTS] += 1
            let_wait(pending, context, packet, kind, at, 0)
        elif kind == KIND_SCTP:
            counters[SCTP_PACKETS] += 1
            let_wait(pending, context, packet, kind, at, 0)
