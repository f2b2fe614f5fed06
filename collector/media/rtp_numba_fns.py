"""Kernels of the stream table: one RTP packet finds its stream's row and updates it.

Symbols: `packet` holds the columns of the packet in hand, RTP's among them; `row` is a stream's row; `slots` is the
hash table from a stream's key to row + 1.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.accelerate import njit, njit_inline
from collector.capture.columns import (
    AGAIN,
    DPORT,
    DSCP,
    DST_HI,
    DST_LO,
    EVENT_COUNT,
    FREE_ROW,
    IP_ID,
    PAYLOAD,
    PAYLOAD_CAPTURED,
    PAYLOAD_LENGTH,
    ROWS_USED,
    RTP_DUPLICATE,
    RTP_HEADER_CUT,
    RTP_HEADER_LIES,
    RTP_MARKER,
    RTP_OCTETS,
    RTP_PACKETS,
    RTP_PAYLOAD,
    RTP_ROWS_EXHAUSTED,
    RTP_SEQ,
    RTP_SSRC,
    RTP_STRAY,
    RTP_TIMESTAMP,
    RTP_TYPE,
    RTP_UNVALIDATED,
    SPORT,
    SRC_HI,
    SRC_LO,
    STOP_FORMAT,
    STOP_ROW,
    STOP_ROWS,
    TTL,
)
from collector.capture.record_numba_fns import NO_STOP
from collector.loads import be16, be32
from collector.media.columns import (
    AFTER_COMFORT_NOISE,
    CLOCK,
    CLOCK_ASKED,
    COMFORT_NOISE,
    DSCP_NOW,
    DSCP_RUN,
    EVENT_ROWS,
    EVENT_TYPE,
    HELD_AT,
    HELD_OCTETS,
    HELD_TIMESTAMP,
    INTERVAL_PACKETS,
    INTERVAL_ROWS,
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
    RESTART_OF,
    SAMPLES,
    SAMPLES_PER_ROW,
    SERIAL,
    SETTING_ASKED,
    SETTING_INTERVAL,
    SETTING_WRITTEN,
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
    WINDOW_BITS,
)
from collector.media.delay_numba_fns import add_sample, close_delays, hand_out, vote_step, work_out
from collector.media.event_numba_fns import (
    close_telephone_event,
    end_interval,
    log_event,
    take_telephone_event,
    write_interval,
)
from collector.media.sequence_numba_fns import (
    COPY,
    DUPLICATE,
    HELD,
    RESTARTED,
    close_cluster,
    open_row,
    slide,
    take_sequence,
)
from collector.media.table import StreamArrays

Octets = NDArray[np.uint8]
Integers = NDArray[np.int64]


QUESTION = -3
"""What `take_rtp` says beside the reasons to stop: the row in context[STOP_ROW] asks for its clock and goes on."""
SURELY_VOICE = 16
"""Octets that no telephone-event has (RFC 4733 2.3: four an event)."""

MIX_1: Final = np.uint64(0x1E3779B97F4A7C15)
MIX_2: Final = np.uint64(0x42B2AE3D27D4EB4F)
MIX_3: Final = np.uint64(0x165667B19E3779F9)
MIX_4: Final = np.uint64(0x27D4EB2F165667C5)
MIX_5: Final = np.uint64(0x3C79AC492BA7B653)


@njit_inline
def read_rtp(window: Octets, packet: Integers, counters: Integers) -> bool:
    """RFC 3550 5.1: the header's fields into the packet's columns; False when this cannot be RTP."""
    at = packet[PAYLOAD]
    captured = packet[PAYLOAD_CAPTURED]
    length = packet[PAYLOAD_LENGTH]
    if length < 12:
        return False
    if captured < 12:
        counters[RTP_HEADER_CUT] += 1
        return False
    header = 12 + 4 * np.int64(window[at] & 15)
    if window[at] & 0x10 and captured >= header + 4:
        header += 4 + 4 * be16(window, at + header + 2)
    padding = 0
    if window[at] & 0x20 and captured == length:
        padding = np.int64(window[at + length - 1])
    if header + padding > length:
        counters[RTP_HEADER_LIES] += 1
        return False
    packet[RTP_TYPE] = window[at + 1] & 127
    packet[RTP_MARKER] = window[at + 1] >> 7
    packet[RTP_SEQ] = be16(window, at + 2)
    packet[RTP_TIMESTAMP] = be32(window, at + 4)
    packet[RTP_SSRC] = be32(window, at + 8)
    packet[RTP_PAYLOAD] = at + header
    packet[RTP_OCTETS] = length - header - padding
    packet[RTP_DUPLICATE] = 0
    return True


@njit_inline
def mixed_key(src_hi: int, src_lo: int, dst_hi: int, dst_lo: int, ports: int, ssrc: int, mask: int) -> int:
    """Where a key is looked for first. Unsigned: the compiler supposes that signed numbers never overflow."""
    h = np.uint64(src_lo) * MIX_1
    h ^= np.uint64(dst_lo) * MIX_2
    h ^= (np.uint64(src_hi) ^ (np.uint64(dst_hi) << np.uint64(1))) * MIX_3
    h ^= (np.uint64(ports) << np.uint64(32) | np.uint64(ssrc)) * MIX_4
    h ^= h >> np.uint64(31)
    h *= MIX_5
    h ^= h >> np.uint64(33)
    return int(np.int64(h & np.uint64(mask)))


@njit_inline
def key_slot(words: Integers, ports: int, ssrc: int, mask: int) -> int:
    """The same where `words` begins with the addresses, in a packet and in a row alike."""
    return mixed_key(words[SRC_HI], words[SRC_LO], words[DST_HI], words[DST_LO], ports, ssrc, mask)


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
def set_key(counts: Integers, row: int, packet: Integers, ports: int, ssrc: int) -> None:
    counts[row, KEY_SSRC] = ssrc
    counts[row, KEY_PORTS] = ports
    counts[row, KEY_SRC_LO] = packet[SRC_LO]
    counts[row, KEY_DST_LO] = packet[DST_LO]
    counts[row, KEY_SRC_HI] = packet[SRC_HI]
    counts[row, KEY_DST_HI] = packet[DST_HI]


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
def clear_row(table: StreamArrays, row: int) -> None:
    counts = table.counts
    sums = table.sums
    types = table.types
    dscp = table.dscp
    ipdv = table.ipdv
    pdv = table.pdv
    counts[row] = 0
    sums[row] = 0.0
    types[row] = 0
    dscp[row] = 0
    ipdv[row] = 0
    pdv[row] = 0


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
def change_type(table: StreamArrays, context: Integers, row: int, payload_type: int, at: int) -> None:
    """The stream goes on with another payload type: settle what was measured with the old one's clock."""
    counts = table.counts
    types = table.types
    if counts[row, PACKETS] > 0:
        count_type(types, row, counts[row, PAYLOAD_TYPE], counts[row, PAYLOAD_TYPE_RUN])
        log_event(table, context, row, LOG_TYPE, at, counts[row, PAYLOAD_TYPE], payload_type, 0, 0)
    before = counts[row, CLOCK]
    slot = count_type(types, row, payload_type, 0)
    now = types[row, 3 * slot + TYPE_CLOCK]
    if now != before:
        hand_out(table, row, before, 1)
    counts[row, CLOCK] = now
    counts[row, PAYLOAD_TYPE] = payload_type
    counts[row, PAYLOAD_TYPE_RUN] = 0


@njit_inline
def find_slot(table: StreamArrays, packet: Integers, ports: int) -> int:
    """The slot that holds the packet's stream, or the free one where it would stand."""
    slots = table.slots
    mask = slots.shape[0] - 1
    slot = key_slot(packet, ports, packet[RTP_SSRC], mask)
    row = slots[slot] - 1
    while row >= 0 and not same_key(table.counts, row, packet, ports, packet[RTP_SSRC]):
        slot = (slot + 1) & mask
        row = slots[slot] - 1
    return slot


@njit_inline
def begin_stream(table: StreamArrays, context: Integers, packet: Integers, ports: int, seq: int, at: int) -> int:
    """A row for a new stream; -1 when there is none."""
    counts = table.counts
    row = take_row(context, counts)
    if row >= 0:
        set_key(counts, row, packet, ports, packet[RTP_SSRC])
        open_row(counts, context, row, seq, at, packet[IP_ID])
    return row


@njit_inline
def begin_anew(table: StreamArrays, context: Integers, counters: Integers, row: int, packet: Integers, at: int) -> None:
    """What was on probation never was a stream: its row begins once more with this packet (RFC 3550 A.1)."""
    counts = table.counts
    counters[RTP_UNVALIDATED] += counts[row, PACKETS]
    ports = counts[row, KEY_PORTS]
    clear_row(table, row)
    set_key(counts, row, packet, ports, packet[RTP_SSRC])
    open_row(counts, context, row, packet[RTP_SEQ], at, packet[IP_ID])


@njit_inline
def hold_back(table: StreamArrays, counters: Integers, row: int, packet: Integers, at: int) -> None:
    """Keep a packet out of sequence until the next one tells whether the sequence restarted; another was a stray."""
    counts = table.counts
    if counts[row, HELD_AT] > 0:
        counters[RTP_STRAY] += 1
    counts[row, HELD_AT] = at
    counts[row, HELD_TIMESTAMP] = packet[RTP_TIMESTAMP]
    counts[row, HELD_OCTETS] = packet[RTP_OCTETS]


@njit_inline
def restart(table: StreamArrays, context: Integers, closed: int, packet: Integers) -> int:
    """The sequence began anew with the packet held back: close the row and open the next with it; -1 without room."""
    counts = table.counts
    held_at = counts[closed, HELD_AT]
    row = begin_stream(table, context, packet, counts[closed, KEY_PORTS], (packet[RTP_SEQ] - 1) & 0xFFFF, held_at)
    if row < 0:
        return row
    counts[closed, STATE] = STATE_CLOSED
    counts[closed, HELD_AT] = 0
    counts[row, RESTART_OF] = counts[closed, SERIAL]
    counts[row, PACKETS] = 1
    counts[row, OCTETS] = counts[closed, HELD_OCTETS]
    counts[row, PAYLOAD_TYPE] = packet[RTP_TYPE]
    counts[row, PAYLOAD_TYPE_RUN] = 1
    count_type(table.types, row, packet[RTP_TYPE], 0)
    counts[row, DSCP_NOW] = packet[DSCP]
    counts[row, DSCP_RUN] = 1
    counts[row, SPURTS] = 1
    counts[row, LAST_TIMESTAMP] = counts[closed, HELD_TIMESTAMP]
    add_sample(table, row, held_at, counts[closed, HELD_TIMESTAMP], (packet[RTP_SEQ] - 1) & 0xFFFF, 0, 0)
    return row


@njit_inline
def place(table: StreamArrays, context: Integers, counters: Integers, packet: Integers, at: int) -> int:
    """The row that the packet is to be measured in, its sequence number taken; -1 when it is not to be measured."""
    counts = table.counts
    ports = (packet[SPORT] << 16) | packet[DPORT]
    slot = find_slot(table, packet, ports)
    row = table.slots[slot] - 1
    if row < 0:
        row = begin_stream(table, context, packet, ports, packet[RTP_SEQ], at)
        if row < 0:
            counters[RTP_ROWS_EXHAUSTED] += 1
            return -1
        table.slots[slot] = row + 1
        counts[row, SPURTS] = 1 - packet[RTP_MARKER]
        return row
    outcome = take_sequence(table, context, row, packet[RTP_SEQ], at, packet[IP_ID], packet[TTL])
    packet[RTP_DUPLICATE] = outcome == DUPLICATE
    if outcome == COPY:
        return -1
    if outcome == HELD:
        if counts[row, STATE] == STATE_PROBATION:
            begin_anew(table, context, counters, row, packet, at)
            return row
        hold_back(table, counters, row, packet, at)
        return -1
    if outcome == RESTARTED:
        row = restart(table, context, row, packet)
        if row < 0:
            counters[RTP_ROWS_EXHAUSTED] += 1
            return -1
        table.slots[slot] = row + 1
        take_sequence(table, context, row, packet[RTP_SEQ], at, packet[IP_ID], packet[TTL])
    elif counts[row, HELD_AT] > 0:  # the sequence went on as before: the packet held was a stray
        counters[RTP_STRAY] += 1
        counts[row, HELD_AT] = 0
    return row


@njit_inline
def take_marks(table: StreamArrays, row: int, packet: Integers, at: int) -> None:
    """What every packet of a stream adds: time since the one before, octets, DSCP."""
    counts = table.counts
    delta = at - counts[row, LAST_AT]
    if delta > counts[row, MAX_DELTA] and counts[row, AFTER_COMFORT_NOISE] == 0:  # comfort noise announces silence
        counts[row, MAX_DELTA] = delta
    counts[row, LAST_AT] = at
    counts[row, TTL_LAST] = packet[TTL]
    counts[row, PACKETS] += 1
    counts[row, OCTETS] += packet[RTP_OCTETS]
    if packet[DSCP] != counts[row, DSCP_NOW]:
        if counts[row, DSCP_RUN] > 0:  # to add 0 would take the memory of a row that most streams never need
            table.dscp[row, counts[row, DSCP_NOW]] += counts[row, DSCP_RUN]
        counts[row, DSCP_NOW] = packet[DSCP]
        counts[row, DSCP_RUN] = 0
    counts[row, DSCP_RUN] += 1


@njit_inline
def is_telephone_event(window: Octets, packet: Integers, known: int, voice: int) -> bool:
    """By SDP's payload types, else by shape (RFC 4733 2.3): four octets in a dynamic type that is not the voice's.

    `known` holds SDP's types, `voice` is the type of the voice packets or -1. Gateways send events of their own under
    types that no SDP named, so shape counts beside SDP.
    """
    payload_type = packet[RTP_TYPE]
    if known >= 0 and (payload_type == known & 255 or payload_type == known >> 8):
        return True
    if payload_type < 96 or packet[RTP_OCTETS] != 4 or payload_type == voice:
        return False
    at = packet[RTP_PAYLOAD]
    if voice >= 0 or at + 2 > packet[PAYLOAD] + packet[PAYLOAD_CAPTURED]:
        return True
    return window[at] <= 16 and window[at + 1] & 0x40 == 0


@njit_inline
def take_event(table: StreamArrays, context: Integers, window: Octets, row: int, packet: Integers, at: int) -> None:
    """A telephone-event packet: no jitter, for events repeat their timestamp (RFC 4733 2.2.1)."""
    count_type(table.types, row, packet[RTP_TYPE], 1)
    word = -1
    if packet[RTP_OCTETS] >= 4 and packet[RTP_PAYLOAD] + 4 <= packet[PAYLOAD] + packet[PAYLOAD_CAPTURED]:
        word = be32(window, packet[RTP_PAYLOAD])
    take_telephone_event(table, context, row, at, packet[RTP_TIMESTAMP], word)


@njit_inline
def take_noise(table: StreamArrays, row: int, packet: Integers, at: int) -> None:
    """Comfort noise: it keeps the voice's timestamps where the voice has its clock (RFC 3389 4)."""
    counts = table.counts
    counts[row, COMFORT_NOISE] += 1
    counts[row, AFTER_COMFORT_NOISE] = 1
    count_type(table.types, row, packet[RTP_TYPE], 1)
    if counts[row, CLOCK] == 8000:
        add_sample(table, row, at, packet[RTP_TIMESTAMP], packet[RTP_SEQ], 0, packet[RTP_DUPLICATE])


@njit_inline
def take_voice(table: StreamArrays, context: Integers, row: int, packet: Integers, at: int) -> None:
    """A packet of the codec: payload type, talk spurt, packetisation time, a sample for jitter."""
    counts = table.counts
    payload_type = packet[RTP_TYPE]
    if counts[row, PAYLOAD_TYPE_RUN] == 0:
        counts[row, PAYLOAD_TYPE] = payload_type
        count_type(table.types, row, payload_type, 0)  # its place in the order of appearance
    elif payload_type != counts[row, PAYLOAD_TYPE]:
        change_type(table, context, row, payload_type, at)
    counts[row, PAYLOAD_TYPE_RUN] += 1
    if packet[RTP_MARKER] or counts[row, AFTER_COMFORT_NOISE]:
        counts[row, SPURTS] += 1
        counts[row, AFTER_COMFORT_NOISE] = 0
    elif counts[row, MAX_SEQ] & 0xFFFF == packet[RTP_SEQ]:
        vote_step(counts, row, (packet[RTP_TIMESTAMP] - counts[row, LAST_TIMESTAMP]) & 0xFFFFFFFF)
    counts[row, LAST_TIMESTAMP] = packet[RTP_TIMESTAMP]
    if counts[row, CLOCK] != -2:
        add_sample(table, row, at, packet[RTP_TIMESTAMP], packet[RTP_SEQ], packet[RTP_MARKER], packet[RTP_DUPLICATE])


@njit_inline
def wants_format(counts: Integers, row: int) -> bool:
    """Whether Python should be asked for the clock: of a stream just proved, or once 64 packets could tell it."""
    if counts[row, STATE] != STATE_VALID:
        return False
    clock = counts[row, CLOCK]
    if clock == 0:
        return counts[row, PAYLOAD_TYPE_RUN] > 0
    return clock == -1 and counts[row, SAMPLES] == SAMPLES_PER_ROW


@njit_inline
def may_wait(packet: Integers) -> bool:
    """Whether the answer to a question changes nothing for packets like this one: a static type, and no event's size.

    Until the answer comes packets are only kept, at most as many as a row has room for.
    """
    return bool(packet[RTP_TYPE] < 96 and packet[RTP_OCTETS] >= SURELY_VOICE)


@njit_inline
def needs_answer(table: StreamArrays, packet: Integers) -> int:
    """The row whose question must be answered before this packet is taken; -1 where none must."""
    counts = table.counts
    row = table.slots[find_slot(table, packet, (packet[SPORT] << 16) | packet[DPORT])] - 1
    if row < 0 or counts[row, CLOCK] != CLOCK_ASKED:
        return -1
    same = packet[RTP_TYPE] == counts[row, PAYLOAD_TYPE]
    if same and may_wait(packet) and counts[row, SAMPLES] < table.samples.shape[1] // 2 - 2:
        return -1
    return row


@njit_inline
def take_rtp(
    window: Octets, packet: Integers, at: int, context: Integers, counters: Integers, table: StreamArrays
) -> int:
    """Measure one RTP packet; returns a stop code, NO_STOP or QUESTION."""
    if not read_rtp(window, packet, counters):
        return NO_STOP
    if table.settings[SETTING_ASKED] > 0:
        asking = needs_answer(table, packet)
        if asking >= 0:
            context[STOP_ROW] = asking
            context[AGAIN] = 1
            return STOP_FORMAT
    counters[RTP_PACKETS] += 1
    row = place(table, context, counters, packet, at)
    if row >= 0:
        counts = table.counts
        take_marks(table, row, packet, at)
        voice = counts[row, PAYLOAD_TYPE] if counts[row, PAYLOAD_TYPE_RUN] > 0 else -1
        if is_telephone_event(window, packet, counts[row, EVENT_TYPE], voice):
            take_event(table, context, window, row, packet, at)
        elif packet[RTP_TYPE] == 13 or packet[RTP_TYPE] == 19:  # RFC 3389, and the number in use before it
            take_noise(table, row, packet, at)
        else:
            take_voice(table, context, row, packet, at)
        if counts[row, SAMPLES] >= table.samples.shape[1] // 2 and counts[row, CLOCK] > 0:
            hand_out(table, row, counts[row, CLOCK], 0)
            end_interval(table, row)
        if wants_format(counts, row):
            context[STOP_ROW] = row
            if counts[row, CLOCK] < 0 or not may_wait(packet):
                return STOP_FORMAT
            counts[row, CLOCK] = CLOCK_ASKED
            table.settings[SETTING_ASKED] += 1
            return QUESTION
    if context[FREE_ROW] < 0 and context[ROWS_USED] >= table.counts.shape[0]:
        return STOP_ROWS
    return NO_STOP


@njit
def rebuild_slots(table: StreamArrays, used: int) -> None:
    """Enter every open row into an emptied hash table."""
    slots = table.slots
    counts = table.counts
    slots[:] = 0
    mask = slots.shape[0] - 1
    for row in range(used):
        if counts[row, STATE] == STATE_PROBATION or counts[row, STATE] == STATE_VALID:
            slot = key_slot(counts[row], counts[row, KEY_PORTS], counts[row, KEY_SSRC], mask)
            while slots[slot] != 0:
                slot = (slot + 1) & mask
            slots[slot] = row + 1


@njit_inline
def settle(table: StreamArrays, context: Integers, row: int) -> None:
    """A stream's end: work out what waits and let the window run empty."""
    counts = table.counts
    if counts[row, CLOCK] > 0 and counts[row, SAMPLES] > 0:
        work_out(table, row)
    close_delays(table, row)
    close_telephone_event(table, context, row)
    newest = counts[row, MAX_SEQ]
    slide(counts, row, WINDOW_BITS)
    counts[row, MAX_SEQ] = newest
    close_cluster(counts, row)
    if table.settings[SETTING_INTERVAL] > 0 and counts[row, PACKETS] > counts[row, INTERVAL_PACKETS]:
        write_interval(table, row)


@njit
def settle_rows(table: StreamArrays, context: Integers, rows: Integers, begin: int) -> int:
    """Settle rows from place `begin` on; the place of the first for which a list of events or intervals had no room."""
    for place in range(begin, rows.shape[0]):
        if context[EVENT_COUNT] > EVENT_ROWS - 8 or table.settings[SETTING_WRITTEN] > INTERVAL_ROWS - 8:
            return place
        settle(table, context, rows[place])
    return rows.shape[0]
