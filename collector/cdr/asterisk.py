"""Asterisk's records: `cdr_csv` (Master.csv, 16 to 21 columns by options) and `cdr_custom` (19, caller id first).

Columns are those of `cdr_csv.c` and of the sample `cdr_custom.conf`. Neither file has a heading, so the columns are
told by where the times and the disposition stand. Times are local unless `usegmtime` is set (then the zone is UTC).

- One record a line; a quote that is not closed at its end rejects the line.
- `seconds` is `billsec`, but 0 where the disposition is not ANSWERED: a call that a dial plan has answered and then
  offered to telephones that nobody picks up has `billsec` in each of these records, and nobody was talked to. Nor is
  the record that ends such a call an answer: ANSWERED, without a called channel, `billsec` 0.
- `call_ref` is a hash of `linkedid`, else of `uniqueid`: forks of one Dial and both sides of a Local channel are one
  call. Without both each record is a call.
- `orig_leg` and `dest_leg` are hashes of the call and the names of `channel` and `dstchannel`; the halves `;1` and
  `;2` of a Local channel are one leg, for what leaves one half enters the other.
- `orig_device` and `dest_device` are the peers: `PJSIP/301` of `PJSIP/301-0000002a`.
- `row_key` is a hash of `uniqueid` and `sequence`, else of the whole record.
- A `uniqueid` begins with the epoch second of its channel: it settles the autumn hour, and where it contradicts the
  start the record is marked `zone_doubtful`. A system name before it becomes `system`.
- Channel events (CEL) look alike but are no records of calls: every line is rejected as `channel_event`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from collector.cdr.local_time import SECOND, LocalClock, Wall, resolve
from collector.cdr.row_staging import stage_batches
from collector.cdr.rows import (
    UNTOLD,
    Batch,
    Parsed,
    ReadSettings,
    Reject,
    Row,
    RowError,
    batches,
    key64,
    reject,
    sample,
    split,
    text_lines,
    whole,
)

if TYPE_CHECKING:
    import duckdb

    from collector.cdr.files import CdrFile
    from collector.cdr.rejects import Rejects
    from collector.cdr.staging import Staged

BASE: Final = (
    "accountcode",
    "src",
    "dst",
    "dcontext",
    "clid",
    "channel",
    "dstchannel",
    "lastapp",
    "lastdata",
    "start",
    "answer",
    "end",
    "duration",
    "billsec",
    "disposition",
    "amaflags",
)
"""Columns that every `cdr_csv` file has."""
LINKED: Final = ("peeraccount", "linkedid", "sequence")
"""What `newcdrcolumns` adds."""
CUSTOM: Final = (*BASE[4:5], *BASE[1:4], *BASE[5:], "accountcode", "uniqueid", "userfield", "sequence")
"""`cdr_custom` as its sample has it."""
CEL: Final = ("eventtype", "eventtime")
CEL_EVENTS: Final = frozenset(
    (
        "CHAN_START",
        "CHAN_END",
        "LINKEDID_END",
        "ANSWER",
        "HANGUP",
        "APP_START",
        "APP_END",
        "PARK_START",
        "PARK_END",
        "USER_DEFINED",
        "BRIDGE_START",
        "BRIDGE_END",
        "BRIDGE_ENTER",
        "BRIDGE_EXIT",
        "BRIDGE_UPDATE",
        "CONF_START",
        "CONF_END",
        "CONF_ENTER",
        "CONF_EXIT",
        "BLINDTRANSFER",
        "ATTENDEDTRANSFER",
        "TRANSFER",
        "PICKUP",
        "FORWARD",
        "3WAY_START",
        "3WAY_END",
        "HOOKFLASH",
        "LOCAL_OPTIMIZE",
        "LOCAL_OPTIMIZE_BEGIN",
        "STREAM_BEGIN",
        "STREAM_END",
        "DTMF",
    )
)
DISPOSITIONS: Final[Mapping[str, int | None]] = {
    "ANSWERED": None,
    "NO ANSWER": 19,
    "BUSY": 17,
    "FAILED": 127,
    "CONGESTION": 42,
    "UNKNOWN": None,
}
"""Causes of Q.850 4.2 that dispositions stand for; how an answered call ended is not recorded."""
_UNIQUE = re.compile(r"(?:(.+)-)?(\d{9,10})\.\d+", re.ASCII)
_CALL_OF_CHANNEL = re.compile(r"-[0-9a-f]{6,10}(?:;[12])?$", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d?-\d\d? \d\d?:\d\d(:\d\d(\.\d+)?)?|\d{9,10}(\.\d+)?", re.ASCII)


def columns_of(fields: Sequence[str]) -> tuple[str, ...] | None:
    """Name the columns of one line; None where it is no Asterisk record, `CEL` where it is an event."""
    if fields[0] in CEL_EVENTS and len(fields) > 9:
        return CEL
    if len(fields) == len(CUSTOM) and _stands(fields, CUSTOM):
        return CUSTOM
    extra = len(fields) - len(BASE)
    if not 0 <= extra <= 5 or not _stands(fields, BASE):
        return None
    linked = LINKED if extra >= 3 else ()
    own = extra - len(linked)
    if own == 2:
        return (*BASE, "uniqueid", "userfield", *linked)
    if own == 1:
        return (*BASE, "uniqueid" if _UNIQUE.fullmatch(fields[len(BASE)]) else "userfield", *linked)
    return (*BASE, *linked)


def _stands(fields: Sequence[str], names: Sequence[str]) -> bool:
    start, disposition = fields[names.index("start")], fields[names.index("disposition")]
    return disposition in DISPOSITIONS and _TIME.fullmatch(start) is not None


def sniff(head: bytes) -> tuple[str, ...] | None:
    """Name the columns where the first lines are Asterisk's; `CEL` for its channel events."""
    for fields in sample(head):
        columns = columns_of(fields)
        if columns is not None:
            return columns
    return None


def read(stream: BinaryIO, settings: ReadSettings = UNTOLD) -> Iterator[Batch]:
    """Read a file in batches; what is no record is rejected by name. Raises ValueError for an unknown zone."""
    clock = LocalClock(settings.zone)
    return batches(_records(stream, settings, clock), "asterisk", settings)


def stage(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[CdrFile],
    rejects: Rejects,
    settings: ReadSettings = UNTOLD,
) -> Mapping[int, Staged]:
    """Stage files for the lake."""
    return stage_batches(connection, files, rejects, settings, read)


def _records(stream: BinaryIO, settings: ReadSettings, clock: LocalClock) -> Iterator[tuple[int, Parsed | Reject]]:
    for number, line in text_lines(stream, settings.encoding):
        if isinstance(line, Reject):
            yield number, line
            continue
        try:
            yield number, parse(split(line), clock)
        except RowError as error:
            yield number, reject(number, error.reason, line)


def parse(fields: Sequence[str], clock: LocalClock) -> Parsed:
    """Read one record; RowError names what is wrong with it."""
    columns = columns_of(fields)
    if columns is None:
        raise RowError(_defect(fields))
    if columns is CEL:
        raise RowError("channel_event")
    record = dict(zip(columns, fields, strict=True))
    if not _whole_line(record):
        raise RowError("column_count")
    duration, billed = whole(record["duration"]), whole(record["billsec"])
    answered = record["disposition"] == "ANSWERED" and (billed > 0 or record["dstchannel"] != "")
    if billed > duration + 1:
        raise RowError("billsec_exceeds_duration")
    unique = _UNIQUE.fullmatch(record.get("uniqueid", ""))
    answer = _time(record["answer"], clock)
    times = resolve(
        clock.read(record["start"]),
        answer,
        _time(record["end"], clock),
        duration,
        int(unique[2]) * SECOND if unique else None,
    )
    if answered and times.answer is None:
        raise RowError("answered_without_time")
    row: Row = {
        "origination": times.start,
        "connect": times.answer if answered else None,
        "disconnect": times.end,
        "seconds": billed if answered else 0,
        "time_note": times.note,
        **_parties(record),
        **_keys(record, fields),
    }
    if unique and unique[1]:
        row["system"] = unique[1]
    return Parsed(row)


def _whole_line(record: Mapping[str, str]) -> bool:
    """Whether the last columns hold what belongs there: in a line with a column too few they are shifted."""
    return record.get("sequence", "0").isdecimal() and all(
        not record.get(name) or _UNIQUE.fullmatch(record[name]) for name in ("uniqueid", "linkedid")
    )


def _time(text: str, clock: LocalClock) -> Wall | None:
    return clock.read(text) if text else None


def _parties(record: Mapping[str, str]) -> Row:
    queue = record["lastdata"].split(",")[0] if record["lastapp"] == "Queue" else ""
    return {
        "calling": record["src"] or None,
        "original_called": record["dst"] or None,
        "called": record["dst"] or None,
        "called_partition": record["dcontext"] or None,
        "hunt_pilot": queue or None,
        "orig_device": _peer(record["channel"]),
        "dest_device": _peer(record["dstchannel"]),
        "dest_cause": DISPOSITIONS[record["disposition"]],
        "account": record["accountcode"] or None,
    }


def _keys(record: Mapping[str, str], fields: Sequence[str]) -> Row:
    unique, sequence = record.get("uniqueid", ""), record.get("sequence", "")
    label = record.get("linkedid") or unique
    call = label or "\x1f".join(fields)
    return {
        "row_key": key64("asterisk", unique, sequence) if unique and sequence else key64("asterisk", *fields),
        "call_ref": key64("asterisk", call),
        "call_label": label or None,
        "orig_leg": _leg(call, record["channel"]),
        "dest_leg": _leg(call, record["dstchannel"]),
    }


def _leg(call: str, channel: str) -> int:
    return key64("leg", call, channel.removesuffix(";1").removesuffix(";2")) if channel else 0


def _peer(channel: str) -> str | None:
    return _CALL_OF_CHANNEL.sub("", channel) or None


def _defect(fields: Sequence[str]) -> str:
    """Name why a line has no columns."""
    if not len(BASE) <= len(fields) <= len(BASE) + 5:
        return "column_count"
    if DISPOSITIONS.keys().isdisjoint(fields):
        return "unknown_disposition"
    return "bad_time"
