"""What the telephone system's records and the telephones themselves say of a call that packets show.

Records name a call by numbers and their own clock, packets by Call-ID and the tap's clock: which record is of a call
is found by its parties and its times, and said with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from analytics.questions.asking import begun, key_number, key_text, micros, moment
from analytics.questions.calls import LONGEST, CallRow
from analytics.store.schema import CDR_ROWS, PHONE_REPORTS

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake

NEAR: Final = timedelta(seconds=30)
"""How far the begin of a record may be from that of the call: clocks differ, and dialling takes its time."""
LATE: Final = timedelta(hours=1)
"""How long after its end a report of a call may come."""
LEAST_TAIL: Final = 3
"""Digits in which a short number must end a long one, to be the same: extensions are that long."""


SUBSCRIBER: Final = 9
"""Digits that tell one subscriber from another, whatever stands before them."""


class RecordRow(NamedTuple):
    """A call detail record of the call."""

    source: str
    """cucm, asterisk, freeswitch, avaya, or the name of a mapping."""
    system: str
    line: int
    """Line in its file."""
    file_key: str
    """Its file in `imports`, 16 hexadecimal digits."""
    call_ref: str
    """The system's own reference of the call, 16 hexadecimal digits."""
    orig_leg: int
    dest_leg: int
    origination: datetime
    connect: datetime | None
    disconnect: datetime | None
    seconds: int
    """Talk time as recorded [s]."""
    calling: str | None
    original_called: str | None
    called: str | None
    last_redirect: str | None
    orig_device: str | None
    dest_device: str | None
    orig_ip: str | None
    dest_ip: str | None
    orig_cause: int | None
    dest_cause: int | None
    codec: str | None
    hold_seconds: int | None
    mos: float | None
    """MOS that the system wrote into the record."""
    match: str
    """Why it is of this call."""


class ReportRow(NamedTuple):
    """What a device said of the call."""

    source: str
    """cucm (CMR), freeswitch, vq-rtcpxr (RFC 6035), rtp-stat (BYE), rtcp, hep-report."""
    system: str
    kind: str | None
    """session, interval, alert or bye; None: from a record."""
    side: str | None
    """local: measured by the device itself; remote: told to it by the far end."""
    call_ref: str
    leg: int
    reported: datetime
    device: str | None
    directory_number: str | None
    local_address: str | None
    remote_address: str | None
    codec: str | None
    packets_sent: int | None
    packets_received: int | None
    packets_lost: int | None
    discarded: int | None
    loss_percent: float | None
    discard_percent: float | None
    jitter_ms: float | None
    max_jitter_ms: float | None
    latency_ms: float | None
    one_way_delay_ms: float | None
    round_trip_ms: float | None
    concealment_ratio: float | None
    severely_concealed_seconds: float | None
    mos_lqk: float | None
    """MLQK: MOS-LQ of the last 8 s."""
    mos_lqk_mean: float | None
    mos_lqk_min: float | None
    mos_lq: float | None
    mos_cq: float | None
    r_factor: float | None
    match: str
    """Why it is of this call."""


_RECORD: Final = (
    "source", "system", "line", "file_key", "call_ref", "orig_leg", "dest_leg", "epoch_us(origination)",
    "epoch_us(connect)", "epoch_us(disconnect)", "seconds", "calling", "original_called", "called", "last_redirect",
    "orig_device", "dest_device", "orig_ip", "dest_ip", "orig_cause", "dest_cause", "codec", "hold_seconds", "mos",
    "call_label",
)  # fmt: skip
_REPORT: Final = (
    "source", "system", "kind", "side", "call_ref", "leg", "epoch_us(reported)", "device", "directory_number",
    "local_address", "remote_address", "codec", "packets_sent", "packets_received", "packets_lost", "discarded",
    "loss_percent", "discard_percent", "jitter_ms", "max_jitter_ms", "latency_ms", "one_way_delay_ms", "round_trip_ms",
    "concealment_ratio", "severely_concealed_seconds", "mos_lqk", "mos_lqk_mean", "mos_lqk_min", "mos_lq", "mos_cq",
    "r_factor",
)  # fmt: skip


def records_of(lake: Lake, connection: duckdb.DuckDBPyConnection, call: CallRow) -> tuple[RecordRow, ...]:
    """Return the records of a call in order of time: the one that fits best, and those that share its reference."""
    near = lake.query(connection, CDR_ROWS.name, since=call.start - NEAR, until=call.start + NEAR)
    rows = connection.execute(f"SELECT {', '.join(_RECORD)} FROM ({near})").fetchall()  # noqa: S608 - own names
    fits = [(fit[0], row, fit[1]) for row in rows if (fit := _fit(call, row)) is not None]
    if not fits:
        return ()
    _, best, why = max(fits, key=lambda one: (one[0], -one[1][2]))
    wide = lake.query(
        connection, CDR_ROWS.name, since=call.start - NEAR, until=(call.end or call.start + LONGEST) + LATE
    )
    same = connection.execute(
        f"SELECT {', '.join(_RECORD)} FROM ({wide}) WHERE source = ? AND system = ? AND call_ref = ? "  # noqa: S608
        "ORDER BY origination, line LIMIT 50",
        [best[0], best[1], best[4]],
    ).fetchall()
    return tuple(_record(row, why if row == best else "has the same call reference") for row in same)


def _record(row: Sequence[Any], why: str) -> RecordRow:
    return RecordRow._make(
        [
            *row[:3],
            key_text(row[3]),
            key_text(row[4]),
            *row[5:7],
            begun(row[7]),
            moment(row[8]),
            moment(row[9]),
            *row[10:24],
            why,
        ]
    )


def _fit(call: CallRow, row: Sequence[Any]) -> tuple[float, str] | None:
    """How well a record fits a call, and why; None where it does not."""
    label = row[24]
    if label is not None and label == call.call_id:
        return 1e6, "names this Call-ID"
    apart = abs(row[7] - micros(call.start)) / 1e6
    calling = same_number(call.calling, row[11])
    called = any(same_number(call.called, number) for number in (row[13], row[12]))
    from_ip = row[17] is not None and row[17] == host(call.from_address)
    to_ip = row[18] is not None and row[18] == host(call.to_address)
    parties = calling + called + 0.5 * (from_ip + to_ip)
    # One side alone is not enough: a switchboard's number is in many calls of a minute.
    if parties < 1.5 or apart > NEAR.total_seconds():
        return None
    agree = [name for name, fits in (("calling number", calling), ("called number", called)) if fits]
    agree += [name for name, fits in (("caller's address", from_ip), ("callee's address", to_ip)) if fits]
    talk = 0.0 if call.seconds is None else abs(call.seconds - row[10])
    return 1_000 * parties - apart - min(talk, 600), f"{' and '.join(agree)} agree, begins {apart:.0f} s apart"


def same_number(one: str | None, other: str | None) -> bool:
    """Whether two spellings may be one number: one is the end of the other, prefixes and access digits aside."""
    if not one or not other:
        return False
    first, second = (re.sub(r"[^0-9*#]", "", text).lstrip("0") for text in (one, other))
    if not first or not second:
        return one.casefold() == other.casefold()
    short, long = sorted((first, second), key=len)
    # 9 020 7946 0123 and +44 20 7946 0123 have their last digits in common.
    tail = short[-SUBSCRIBER:]
    return first == second or (len(short) >= LEAST_TAIL and long.endswith(tail))


def host(address: str | None) -> str | None:
    """Return an address without its port."""
    if address is None:
        return None
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.rpartition(":")[0] if address.count(":") == 1 else address


def reports_of(
    lake: Lake, connection: duckdb.DuckDBPyConnection, call: CallRow, records: Sequence[RecordRow]
) -> tuple[ReportRow, ...]:
    """Return what devices said of a call: by its Call-ID, or by the reference of its records; in order of time."""
    until = (call.end or call.start + LONGEST) + LATE
    rows = lake.query(connection, PHONE_REPORTS.name, since=call.start - NEAR, until=until)
    references = sorted({(one.source, one.system, key_number(one.call_ref)) for one in records})
    wanted = ["call_id = ?", *["(source = ? AND system = ? AND call_ref = ?)"] * len(references)]
    values: list[Any] = [call.call_id, *(value for reference in references for value in reference)]
    found = connection.execute(
        f"SELECT {', '.join(_REPORT)}, call_id FROM ({rows}) WHERE {' OR '.join(wanted)} "  # noqa: S608 - own names
        "ORDER BY reported, source, leg, side LIMIT 200",
        values,
    ).fetchall()
    return tuple(
        ReportRow._make(
            [
                *row[:4],
                key_text(row[4]),
                row[5],
                begun(row[6]),
                *row[7:31],
                "names this Call-ID" if row[31] == call.call_id else "has the call reference of its record",
            ]
        )
        for row in found
    )
