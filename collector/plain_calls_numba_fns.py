"""The kernel that follows plain calls: one INVITE, perhaps challenged, that one side answers, refuses or gives up on.

It takes the index of each message (`sip_numba_fns`) and keeps what an outcome needs as numbers in the row of its call.
It has no opinion on anything else: a call that does what is not written here is left to `dialogs` from that message
on, and because the octets of every message are kept in a journal, `dialogs` can be told all that came before.

Of a call that stays plain no finding can be made, and nothing joins it to another.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from collector.accelerate import njit, njit_inline
from collector.capture.columns import (
    DPORT,
    DST_HI,
    DST_LO,
    PAYLOAD,
    PAYLOAD_CAPTURED,
    PENDING_AT,
    SPORT,
    SRC_HI,
    SRC_LO,
)
from collector.loads import be64
from collector.protocols.sip_numba_fns import (
    BODY,
    BODY_END,
    BRANCH,
    BRANCH_END,
    CALL_ID,
    CALL_ID_END,
    CONTENT_TYPE,
    CONTENT_TYPE_BIT,
    CSEQ,
    CSEQ_METHOD,
    CSEQ_METHOD_END,
    FROM_TAG,
    FROM_TAG_END,
    JOINING_BITS,
    MASK,
    STATUS,
    TO_TAG,
    TO_TAG_END,
    presence_bit,
)

Octets = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

# --- one call: times in ns, 0 where there is none; tags and branches are hashes, 0 where there is none ------------
OWNER, HASH, ID_LENGTH, START, TRIED_AT, INVITE_CSEQ, INVITES, CALLER_TAG, CALLEE_TAG, FIRST_BRANCH = range(10)
PROVISIONAL_AT, RINGING, ANSWERED, FINAL_AT, FINAL_STATUS, ENDED, CANCELLED, BYE_AT, BYE_CONFIRMED = range(10, 19)
ACKNOWLEDGED, MEDIA_LINES, MESSAGES, TRANSACTIONS, LAST_ENTRY = range(19, 24)
CALL_COLUMNS: Final = 24

PLAIN_CALL: Final = 1
LEFT: Final = 2
"""Owners: the kernel itself, and `dialogs`."""

ID_WORDS: Final = 16
"""Longest Call-ID that is followed, in words of eight octets."""
SEEN_LIMIT: Final = 16
"""Transactions of a call that are told apart: key, hop, time and size of the first message of each."""
MESSAGE_LIMIT: Final = 64
LONG_MESSAGE: Final = 4096
LONG_MESSAGE_WORDS: Final = LONG_MESSAGE // 8

# --- one message in the journal -----------------------------------------------------------------------------------
J_CALL, J_AT, J_SRC_HI, J_SRC_LO, J_DST_HI, J_DST_LO, J_PORTS, J_TEXT, J_LENGTH, J_BEGUN, J_METHOD, J_STATUS = range(12)
J_AGAIN, J_BEFORE, J_BODY, J_CSEQ = range(12, 16)
JOURNAL_COLUMNS: Final = 16
"""An entry names the one before it of the same call, counted from 1; 0 for none. Text is counted in words.

Where a message has a body, J_BODY holds where it begins, where it ends, and whether To has a tag: 16 bits each.
"""

# --- where the kernel stands --------------------------------------------------------------------------------------
CALLS_USED, CALLS_LIMIT, JOURNAL_USED, TEXT_USED, TEXT_BASE, LAST_BEGUN, MEDIA_LIMIT, SEED, STOP = range(9)
CONTEXT_COLUMNS: Final = 9

STOP_DONE, STOP_UNINDEXED, STOP_CALLS, STOP_JOURNAL, STOP_TEXT = range(5)
"""Why it returned: all taken; a message that must be parsed; a table is full."""

# --- what becomes of a message ------------------------------------------------------------------------------------
VERDICT, VERDICT_CALL, VERDICT_BEGUN = range(3)
VERDICT_COLUMNS: Final = 3
TAKEN, PASSED, LEAVING = range(3)
"""Verdicts: taken; left to `dialogs`; the same, and its call from here on."""

INVITE, ACK, BYE, CANCEL, OTHER_OF_CALL, OTHER = range(6)
METHOD_NAMES: Final = ("INVITE", "ACK", "BYE", "CANCEL")


def _packed(word: bytes) -> int:
    return int.from_bytes(word, "big")


_INVITE, _ACK, _BYE, _CANCEL, _PRACK, _UPDATE = map(
    _packed, (b"INVITE", b"ACK", b"BYE", b"CANCEL", b"PRACK", b"UPDATE")
)
_SDP_1, _SDP_2, _SDP_LENGTH = _packed(b"applicat"), _packed(b"ion/sdp\r"), 17

_REASON: Final = presence_bit("reason")
_SESSION_ID: Final = presence_bit("session-id")

TIMER_B: Final = 32_000_000_000
COPY_WINDOW: Final = 50_000_000
"""As in `transactions`."""

_NOT_ASCII: Final = -0x7F7F7F7F7F7F7F80
"""The highest bit of each of eight octets."""
_EIGHT_M: Final = 0x6D6D6D6D6D6D6D6D
_ONES: Final = 0x0101010101010101
_FACTOR: Final = 0x2545F4914F6CDD1D
_HASH_BITS: Final = (1 << 62) - 1
"""Hashes have 62 bits, so that Python's unbounded integers give the same."""


@njit_inline
def _word(window: Octets, at: int, end: int) -> int:
    """Eight octets as a signed word, most significant first, zeros past the end."""
    if end - at >= 8:
        return be64(window, at)
    value = 0
    for place in range(8):
        octet = int(window[at + place]) if at + place < end else 0
        value = octet - ((octet & 128) << 1) if place == 0 else value * 256 + octet
    return value


@njit_inline
def _mixed(value: int, word: int) -> int:
    value = ((int(value) ^ int(word)) * _FACTOR) & _HASH_BITS
    return value ^ (value >> 31)


@njit
def _hash(window: Octets, at: int, end: int, seed: int) -> int:
    """Hash of some octets, 0 for none."""
    if at >= end:
        return 0
    value = _mixed(seed, end - at)
    while at < end:
        value = _mixed(value, _word(window, at, end))
        at += 8
    return value | 1


@njit_inline
def _copy(window: Octets, at: int, end: int, words: Integers, place: int) -> int:
    """Copy octets as words; all words or-ed together."""
    found = 0
    while at < end:
        word = _word(window, at, end)
        words[place] = word
        found |= word
        place += 1
        at += 8
    return found


@njit_inline
def _method(window: Octets, at: int, end: int) -> int:
    if end - at > 6:
        return OTHER
    word = 0
    while at < end:
        word = word * 256 + int(window[at])
        at += 1
    if word == _INVITE:
        return INVITE
    if word == _ACK:
        return ACK
    if word == _BYE:
        return BYE
    if word == _CANCEL:
        return CANCEL
    return OTHER_OF_CALL if word in (_PRACK, _UPDATE) else OTHER


@njit_inline
def _find(
    window: Octets, at: int, end: int, enter: bool, context: Integers, slots: Integers, calls: Integers, ids: Integers
) -> int:
    """Row of the call with this Call-ID; -1 without one, unless it is to be entered and a row is free."""
    fresh = int(context[CALLS_USED])
    spare = ids[fresh]
    spare[:] = 0
    _copy(window, at, end, spare, 0)
    value = context[SEED]
    words = (end - at + 7) // 8
    for place in range(words):
        value = _mixed(value, spare[place])
    slot = value & (len(slots) - 1)
    while slots[slot]:
        row = int(slots[slot]) - 1
        if calls[row, HASH] == value:
            same = 0
            while same < ID_WORDS and ids[row, same] == spare[same]:
                same += 1
            if same == ID_WORDS:
                return row
        slot = (slot + 1) & (len(slots) - 1)
    if not enter or fresh >= context[CALLS_LIMIT]:
        return -1
    calls[fresh, OWNER] = LEFT
    calls[fresh, HASH] = value
    calls[fresh, ID_LENGTH] = end - at
    slots[slot] = fresh + 1
    context[CALLS_USED] = fresh + 1
    return fresh


@njit_inline
def _media_lines(window: Octets, at: int, end: int) -> int:
    """At least as many as a description has lines `m=`."""
    lines = 0
    while at + 1 < end:
        if at + 8 <= end:
            differing = be64(window, at) ^ _EIGHT_M
            if not (differing - _ONES) & ~differing & _NOT_ASCII:
                at += 8  # none of the eight octets is an m
                continue
        if window[at] == 109 and window[at + 1] == 61:
            lines += 1
        at += 1
    return lines


@njit_inline
def _begins_plain(window: Octets, start: int, index: Integers, method: int) -> bool:
    """An INVITE outside a dialog that nothing joins to another call, with SDP alone or without a body."""
    if method != INVITE or index[STATUS] or index[TO_TAG] < index[TO_TAG_END] or index[MASK] & JOINING_BITS:
        return False
    if index[FROM_TAG] == index[FROM_TAG_END]:
        return False
    if index[BODY_END] <= index[BODY]:
        return True
    at = start + index[CONTENT_TYPE]
    return bool(
        index[MASK] & CONTENT_TYPE_BIT
        and index[CONTENT_TYPE] + _SDP_LENGTH <= index[BODY]
        and be64(window, at) == _SDP_1
        and be64(window, at + 8) == _SDP_2
        and window[at + 16] == 10
    )


@njit_inline
def _heard(seen: Integers, known: int, key: int, hop: int, at: int, size: int, status: int) -> int:
    """As `transactions.heard_before`: 0 the first time, 1 again, -1 for what is not plain."""
    for place in range(known):
        if seen[place] == key:
            since = seen[2 * SEEN_LIMIT + place]
            grown = 100 < status < 200 and seen[3 * SEEN_LIMIT + place] != size
            if seen[SEEN_LIMIT + place] != hop or grown or at - since < COPY_WINDOW:
                return -1
            seen[2 * SEEN_LIMIT + place] = at
            return 1
    if known == SEEN_LIMIT:
        return -1
    seen[known] = key
    seen[SEEN_LIMIT + known] = hop
    seen[2 * SEEN_LIMIT + known] = at
    seen[3 * SEEN_LIMIT + known] = size
    return 0


@njit_inline
def _is_dialog(call: Integers, one: int, other: int) -> bool:
    """Whether both tags are those of the dialog, in either direction (RFC 3261 12.2.2)."""
    of_caller = one == call[CALLER_TAG] and other == call[CALLEE_TAG]
    return bool(of_caller or (one == call[CALLEE_TAG] and other == call[CALLER_TAG]))


@njit_inline
def _follow_request(call: Integers, method: int, at: int, cseq: int, caller: int, callee: int, branch: int) -> bool:
    """A request heard for the first time, `caller` and `callee` being the tags of From and To."""
    if method == INVITE:
        # The caller answers a challenge; all else that an INVITE can mean later on is not plain.
        if callee or caller != call[CALLER_TAG] or cseq <= call[INVITE_CSEQ] or call[BYE_AT]:
            return False
        if call[FINAL_STATUS] not in (401, 407):
            return False
        call[CALLEE_TAG] = call[PROVISIONAL_AT] = call[FINAL_AT] = call[FINAL_STATUS] = 0
        call[ENDED] = call[CANCELLED] = 0
        call[TRIED_AT] = at
        call[INVITE_CSEQ] = cseq
        call[FIRST_BRANCH] = branch
        call[INVITES] += 1
        return True
    if method == ACK:
        undecided = call[ANSWERED] == 0 and call[FINAL_STATUS] == 0
        if caller != call[CALLER_TAG] or undecided:
            return False
        call[ACKNOWLEDGED] = 1
        return True
    if method == BYE:
        if call[ANSWERED] == 0 or call[ENDED]:
            return False
        if not _is_dialog(call, caller, callee):
            return False
        call[BYE_AT] = call[ENDED] = at
        return True
    if caller != call[CALLER_TAG] or branch != call[FIRST_BRANCH] or call[ANSWERED] or call[FINAL_AT]:
        return False
    call[CANCELLED] = call[ENDED] = at
    return True


@njit_inline
def _follow_response(call: Integers, method: int, status: int, at: int, cseq: int, caller: int, callee: int) -> bool:
    """A response heard for the first time."""
    if method != INVITE:
        if method == BYE:
            if call[BYE_AT] == 0 or not _is_dialog(call, caller, callee):
                return False
            if call[BYE_CONFIRMED] == 0 and 200 <= status < 300:
                call[BYE_CONFIRMED] = at
        return True
    if caller != call[CALLER_TAG] or cseq != call[INVITE_CSEQ]:
        return False
    challenge = status in (401, 407)
    if status > 100 and callee and not challenge:
        if call[CALLEE_TAG] != 0 and call[CALLEE_TAG] != callee:
            return False
        call[CALLEE_TAG] = callee
    if status < 200:
        call[PROVISIONAL_AT] = at
        if call[RINGING] == 0 and status in (180, 183):
            call[RINGING] = at
        return True
    if call[FINAL_AT] or 300 <= status < 400 or status in (422, 423, 494) or (status < 300 and callee == 0):
        return False
    call[FINAL_AT] = at
    call[FINAL_STATUS] = status
    if status < 300:
        call[ANSWERED] = at
        call[CANCELLED] = call[ENDED] = 0
    else:
        call[ENDED] = 0 if challenge else at
    return True


@njit_inline
def _follow(
    window: Octets, packet: Integers, index: Integers, method: int, begun: int, seed: int, limit: int, call: Integers,
    seen: Integers,
) -> int:  # fmt: skip
    """Let a call take its next message: 0 a new one, 1 heard again, -1 when the call is plain no longer."""
    start, at, status = packet[PAYLOAD], packet[PENDING_AT], index[STATUS]
    call[MESSAGES] += 1
    call[MEDIA_LINES] += _media_lines(window, start + index[BODY], start + index[BODY_END])
    odd = method >= OTHER_OF_CALL or index[MASK] & (_REASON | _SESSION_ID)
    if odd or call[MESSAGES] > MESSAGE_LIMIT or call[MEDIA_LINES] > limit:
        return -1
    if call[ENDED] and begun - call[ENDED] > TIMER_B:
        # Perhaps another attempt under the same Call-ID.
        return -1 if method == INVITE and status == 0 and index[TO_TAG] == index[TO_TAG_END] else 1
    caller = _hash(window, start + index[FROM_TAG], start + index[FROM_TAG_END], seed)
    callee = _hash(window, start + index[TO_TAG], start + index[TO_TAG_END], seed)
    branch = _hash(window, start + index[BRANCH], start + index[BRANCH_END], seed)
    key = _mixed(_mixed(_mixed(caller, callee), index[CSEQ]), method << 10 | status)
    hop = _mixed(_mixed(_mixed(branch, packet[SRC_HI]), packet[SRC_LO]), packet[SPORT])
    heard = _heard(seen, call[TRANSACTIONS], key, hop, at, packet[PAYLOAD_CAPTURED], status)
    if heard != 0:
        return heard
    call[TRANSACTIONS] += 1
    cseq = index[CSEQ]
    if call[START] == 0:
        call[START] = call[TRIED_AT] = at
        call[INVITES] = 1
        call[INVITE_CSEQ] = cseq
        call[CALLER_TAG] = caller
        call[FIRST_BRANCH] = branch
        return 0
    if status:
        if method == INVITE and branch != call[FIRST_BRANCH]:
            return -1
        return 0 if _follow_response(call, method, status, at, cseq, caller, callee) else -1
    return 0 if _follow_request(call, method, at, cseq, caller, callee, branch) else -1


@njit_inline
def _take(
    window: Octets, packet: Integers, index: Integers, method: int, row: int, context: Integers, call: Integers,
    seen: Integers, journal: Integers, text: Integers,
) -> int:  # fmt: skip
    """Let a plain call take a message and enter it in the journal, or leave the call to `dialogs`."""
    start, length = packet[PAYLOAD], packet[PAYLOAD_CAPTURED]
    again = -1
    if not _copy(window, start, start + length, text, context[TEXT_USED]) & _NOT_ASCII:
        begun, seed, limit = context[LAST_BEGUN], context[SEED], context[MEDIA_LIMIT]
        again = _follow(window, packet, index, method, begun, seed, limit, call, seen)
    if again < 0:
        call[OWNER] = LEFT
        return LEAVING
    entry = journal[context[JOURNAL_USED]]
    entry[J_CALL] = row
    entry[J_AT] = packet[PENDING_AT]
    entry[J_SRC_HI] = packet[SRC_HI]
    entry[J_SRC_LO] = packet[SRC_LO]
    entry[J_DST_HI] = packet[DST_HI]
    entry[J_DST_LO] = packet[DST_LO]
    entry[J_PORTS] = packet[SPORT] << 16 | packet[DPORT]
    entry[J_TEXT] = context[TEXT_BASE] + context[TEXT_USED]
    entry[J_LENGTH] = length
    entry[J_BEGUN] = context[LAST_BEGUN]
    entry[J_METHOD] = method
    entry[J_STATUS] = index[STATUS]
    entry[J_AGAIN] = again
    entry[J_CSEQ] = index[CSEQ]
    entry[J_BEFORE] = call[LAST_ENTRY]
    entry[J_BODY] = 0
    if index[BODY_END] > index[BODY]:
        tagged = 1 if index[TO_TAG_END] > index[TO_TAG] else 0
        entry[J_BODY] = index[BODY] | index[BODY_END] << 16 | tagged << 32
    context[JOURNAL_USED] += 1
    call[LAST_ENTRY] = context[JOURNAL_USED]
    context[TEXT_USED] += (length + 7) // 8
    return TAKEN


@njit
def find_call(octets: Octets, length: int, context: Integers, slots: Integers, calls: Integers, ids: Integers) -> int:
    """Row of a Call-ID, entered as left to `dialogs` if it is new; -1 when the table is full."""
    return _find(octets, 0, length, True, context, slots, calls, ids)


@njit
def place_calls(count: int, slots: Integers, calls: Integers) -> int:
    """Enter the first `count` calls, none of which is known, in a table of slots; their number."""
    for row in range(count):
        slot = calls[row, HASH] & (len(slots) - 1)
        while slots[slot]:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = row + 1
    return count


@njit
def follow_calls(
    window: Octets, packets: Integers, indexed: Integers, number: int, context: Integers, slots: Integers,
    calls: Integers, ids: Integers, seen: Integers, journal: Integers, text: Integers, verdicts: Integers,
) -> int:  # fmt: skip
    """Take messages from `number` on, a verdict for each; the number of the first that was not taken.

    `ids` has one row more than there may be calls, and `verdicts` a row for each of `packets`.
    """
    context[STOP] = STOP_DONE
    while number < len(packets):
        packet, index = packets[number], indexed[number]
        start, length = packet[PAYLOAD], packet[PAYLOAD_CAPTURED]
        id_at, id_end = start + index[CALL_ID], start + index[CALL_ID_END]
        foreign = id_end - id_at > 8 * ID_WORDS or length > LONG_MESSAGE or packet[PENDING_AT] <= 0
        if index[MASK] == 0 or foreign:
            context[STOP] = STOP_UNINDEXED
            return number
        if context[JOURNAL_USED] >= len(journal):
            context[STOP] = STOP_JOURNAL
            return number
        if context[TEXT_USED] + LONG_MESSAGE_WORDS > len(text):
            context[STOP] = STOP_TEXT
            return number
        method = _method(window, start + index[CSEQ_METHOD], start + index[CSEQ_METHOD_END])
        used = context[CALLS_USED]
        # Only a method that calls alone have begins one.
        row = _find(window, id_at, id_end, method != OTHER, context, slots, calls, ids)
        if row < 0 and method != OTHER:
            context[STOP] = STOP_CALLS
            return number
        if row == used:
            context[LAST_BEGUN] = max(context[LAST_BEGUN], packet[PENDING_AT])
            calls[row, START:] = 0
            calls[row, OWNER] = PLAIN_CALL if _begins_plain(window, start, index, method) else LEFT
        verdict = PASSED
        if row >= 0 and calls[row, OWNER] == PLAIN_CALL:
            verdict = _take(window, packet, index, method, row, context, calls[row], seen[row], journal, text)
        verdicts[number, VERDICT] = verdict
        verdicts[number, VERDICT_CALL] = row
        verdicts[number, VERDICT_BEGUN] = context[LAST_BEGUN]
        number += 1
    return number
