"""Rows of plain calls made of their columns: what `lake_rows` makes of the same calls one by one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analytics.store.arrow_rows import DAY_US, arrow_schema
from analytics.store.schema import CALLS, MESSAGES, Table
from api.lake_rows import MICRO_NS, NOWHERE, Minutes, Places, key64, user_of
from collector import plain_calls_numba_fns as k
from collector.dialogs import uri_text
from collector.facts import CallState
from collector.media.streams import address
from collector.metrics import CALL_STATES
from collector.plain_calls import outcomes_of
from collector.protocols.sip import parse
from collector.received_list import PlainTold

Integers = NDArray[np.int64]

_PARTY = rb":[^<\r\n]*<sips?:([A-Za-z0-9_.+-]{1,64})@[^<>@\"\r\n]{0,200}>[^<\"\r\n]*\r\n"
_FROM, _TO = (re.compile(rb"\r\n(?i:" + name + rb")" + _PARTY) for name in (b"from|f", b"to|t"))
"""A From or To as nearly all are: of these the user part is what `user_of` finds."""


def plain_tables(told: PlainTold, source: str, places: Places | None, minutes: Minutes) -> tuple[pa.Table, pa.Table]:
    """Tables of `calls` and `messages`; each call is counted in its minute."""
    call_ids = told.excerpt.call_ids()
    starts = told.excerpt.calls[:, k.START].tolist()
    keys = np.array([key64("call", source, *each) for each in zip(call_ids, map(str, starts), strict=True)], np.int64)
    return _calls(told, source, call_ids, keys, places, minutes), _messages(told, source, keys)


def _calls(
    told: PlainTold, source: str, call_ids: list[str], keys: Integers, places: Places | None, minutes: Minutes
) -> pa.Table:
    excerpt = told.excerpt
    outcomes = outcomes_of(excerpt.calls, told.now)
    answered, end, status = outcomes.answered, outcomes.end, outcomes.status
    first = excerpt.entries[np.flatnonzero(np.diff(excerpt.numbers, prepend=-1))]
    messages = excerpt.firsts()
    calling = [_user(message, _FROM, "from") for message in messages]
    called = [_user(message, _TO, "to") for message in messages]
    from_address = _texts(first[:, k.J_SRC_HI], first[:, k.J_SRC_LO], np.zeros(len(first), np.int64), address_alone)
    to_address = _texts(first[:, k.J_DST_HI], first[:, k.J_DST_LO], np.zeros(len(first), np.int64), address_alone)
    sides = [NOWHERE] * len(call_ids)
    if places is not None:
        of_parties = places.of_parties
        ends = zip(
            from_address.to_pylist(), to_address.to_pylist(), calling, called, outcomes.start.tolist(), strict=True
        )
        sides = [of_parties(*each) for each in ends]
        failed = (outcomes.state == CALL_STATES.index(CallState.FAILED)).tolist()
        times = zip(outcomes.start.tolist(), answered.tolist(), end.tolist(), failed, strict=True)
        for of_call, (start, answer, over, is_failed) in zip(sides, times, strict=True):
            minutes.add(of_call, start, answer or None, over or None, is_failed)
    states = pa.array([state.value for state in CALL_STATES])
    talked = (answered > 0) & (end >= answered)
    rang = (outcomes.indicated > 0) & (outcomes.indicated >= outcomes.start)
    return _table(
        CALLS,
        len(call_ids),
        {
            "call_key": keys,
            "source": source,
            "call_id": pa.array(call_ids, pa.string()),
            "start": outcomes.start // MICRO_NS,
            "answer": _known(answered // MICRO_NS, answered > 0),
            "end": _known(end // MICRO_NS, end > 0),
            "state": states.take(pa.array(outcomes.state)),
            "status": _known(status, status > 0),
            "seconds": _known((end - answered) / 1e6 / 1_000, talked),
            "pdd_ms": _known((outcomes.indicated - outcomes.start) / 1e6, rang),
            "calling": pa.array(calling, pa.string()),
            "called": pa.array(called, pa.string()),
            "from_address": from_address,
            "to_address": to_address,
            "site": pa.array([each.site for each in sides], pa.string()),
            "other_site": pa.array([each.other_site for each in sides], pa.string()),
            "legs": np.ones(len(call_ids), np.int64),
            "streams": np.zeros(len(call_ids), np.int64),
        },
    )


def _messages(told: PlainTold, source: str, keys: Integers) -> pa.Table:
    entries, numbers = told.excerpt.entries, told.excerpt.numbers
    if not told.limits.max_steps:
        entries, numbers = entries[:0], numbers[:0]
    ports, status = entries[:, k.J_PORTS], entries[:, k.J_STATUS]
    return _table(
        MESSAGES,
        len(entries),
        {
            "call_key": keys[numbers],
            "source": source,
            "at": entries[:, k.J_AT] // MICRO_NS,
            "leg": np.ones(len(entries), np.int64),
            "from_address": _texts(entries[:, k.J_SRC_HI], entries[:, k.J_SRC_LO], ports >> 16, address_and_port),
            "to_address": _texts(entries[:, k.J_DST_HI], entries[:, k.J_DST_LO], ports & 0xFFFF, address_and_port),
            "method": pa.array(k.METHOD_NAMES).take(pa.array(entries[:, k.J_METHOD])),
            "status": _known(status, status > 0),
            "cseq": entries[:, k.J_CSEQ],
            "repeated": np.zeros(len(entries), np.int64),
        },
    )


def _known(values: NDArray[Any], where: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=~where)


def _table(of: Table, rows: int, columns: dict[str, Any]) -> pa.Table:
    """A table with all its columns; its day follows from its clock."""
    made = []
    for field in arrow_schema(of):
        values = columns.get(field.name)
        if field.name == of.partition:
            values = pa.array((columns[of.clock] // DAY_US).astype(np.int32))
        if values is None:
            made.append(pa.nulls(rows, field.type))
        elif isinstance(values, str):
            made.append(pa.repeat(pa.scalar(values, field.type), rows))
        else:
            made.append((values if isinstance(values, pa.Array) else pa.array(values)).cast(field.type))
    return pa.Table.from_arrays(made, schema=arrow_schema(of))


def address_alone(hi: int, lo: int, port: int) -> str:
    """Text of an address."""
    return address(hi, lo)


def address_and_port(hi: int, lo: int, port: int) -> str:
    """Text of an endpoint, as `facts.Endpoint` has it."""
    text = address(hi, lo)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _texts(hi: Integers, lo: Integers, ports: Integers, text: Callable[[int, int, int], str]) -> pa.Array:
    """Texts of endpoints, each made once however often it comes."""
    if ((hi == 0) & (lo >> 32 == 0xFFFF)).all():
        encoded = pa.array((lo & 0xFFFFFFFF) << 16 | ports).dictionary_encode()
        known = [text(0, 0xFFFF << 32 | each >> 16, each & 0xFFFF) for each in encoded.dictionary.to_pylist()]
        return pa.array(known, pa.string()).take(encoded.indices)
    keys = list(zip(hi.tolist(), lo.tolist(), ports.tolist(), strict=True))
    texts = {key: text(*key) for key in set(keys)}
    return pa.array([texts[key] for key in keys], pa.string())


def _user(message: bytes, pattern: re.Pattern[bytes], name: str) -> str | None:
    found = pattern.search(message, 0, message.find(b"\r\n\r\n") + 2)
    if found is not None:
        return found[1].decode()
    return user_of(uri_text(parse(message).header(name)))
