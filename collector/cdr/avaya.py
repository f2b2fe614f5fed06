"""Avaya IP Office SMDR: 30 columns, more in later releases (Manager manual, appendix SMDR); local times.

- The total length of a record is connected + ring + hold + park time, each rounded up to whole seconds. `connect` is
  the call's start plus the ring time, `disconnect` that plus the rest.
- `seconds` is connected + hold + park time: what other systems record as answer to end, and what a line is charged
  for. `hold_seconds` is the part on hold or parked. A record with a connected time of 0 was never answered.
- All segments of a transferred call carry the call id and the start of the first one, and Continuation is 1 on all but
  the last. The length of each is its own, so a segment begins where the one before it in the file has ended.
- `call_ref` is a hash of call id and call start: the id begins again when the system restarts.
- `orig_leg` and `dest_leg` are hashes of the call and the two party devices, so segments of a call share the line.
- For calls from outside the line (`T…`) is the calling side whichever party it is, for calls to outside the called one.
- `row_key` is a hash of the whole record, for a record has no key of its own.
- `direction` is `internal` where Is_Internal is 1 and neither party is a line, else `in` or `out` as Direction says:
  real files have Is_Internal 1 on calls that came in on a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final

from collector.cdr.local_time import SECOND, LocalClock, resolve
from collector.cdr.row_staging import stage_batches
from collector.cdr.rows import (
    MOST,
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

COLUMNS: Final = (
    "call_start",
    "connected_time",
    "ring_time",
    "caller",
    "direction",
    "called_number",
    "dialled_number",
    "account",
    "is_internal",
    "call_id",
    "continuation",
    "party1_device",
    "party1_name",
    "party2_device",
    "party2_name",
    "hold_time",
    "park_time",
    "auth_valid",
    "auth_code",
    "user_charged",
    "call_charge",
    "currency",
    "amount_at_last_user_change",
    "call_units",
    "units_at_last_user_change",
    "cost_per_unit",
    "mark_up",
    "external_targeting_cause",
    "external_targeter_id",
    "external_targeted_number",
)
OPEN_CALLS: Final = 4_096
"""Calls of several segments that are followed at once."""
MOST_COLUMNS: Final = 40
"""Later releases add columns at the end, which are left out."""
_START = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", re.ASCII)
_LENGTH = re.compile(r"(-?)(\d{1,5}):([0-5]\d):([0-5]\d)", re.ASCII)


def sniff(head: bytes) -> tuple[str, ...] | None:
    """Name the columns where the first lines are SMDR."""
    for fields in sample(head):
        if (
            len(COLUMNS) <= len(fields) <= MOST_COLUMNS
            and _START.fullmatch(fields[0])
            and _LENGTH.fullmatch(fields[1])
            and fields[4] in ("I", "O")
        ):
            return COLUMNS
    return None


def read(stream: BinaryIO, settings: ReadSettings = UNTOLD) -> Iterator[Batch]:
    """Read a file in batches; what is no record is rejected by name. Raises ValueError for an unknown zone."""
    return batches(_records(stream, settings, LocalClock(settings.zone)), "avaya", settings)


def stage(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[CdrFile],
    rejects: Rejects,
    settings: ReadSettings = UNTOLD,
) -> Mapping[int, Staged]:
    """Stage files for the lake."""
    # Where a segment begins is told by those before it.
    return stage_batches(connection, files, rejects, settings, read, head=None)


def _records(stream: BinaryIO, settings: ReadSettings, clock: LocalClock) -> Iterator[tuple[int, Parsed | Reject]]:
    passed = Passed()
    for number, line in text_lines(stream, settings.encoding):
        if isinstance(line, Reject):
            yield number, line
            continue
        if line.lower().startswith(("call start,", "callstart,")):  # a heading that exports put in front
            continue
        try:
            yield number, parse(split(line), clock, passed)
        except RowError as error:
            yield number, reject(number, error.reason, line)


class Passed:
    """How long calls have lasted whose next segments are still to come; the oldest are forgotten."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], int] = {}

    def add(self, call: tuple[str, str], seconds: int, continues: bool) -> int:
        """Add a segment; return how long its call had lasted before it [s]."""
        before = self._seconds.pop(call, 0)
        if continues:
            if len(self._seconds) >= OPEN_CALLS:
                self._seconds.pop(next(iter(self._seconds)))
            self._seconds[call] = min(before + seconds, MOST)
        return before


def parse(fields: Sequence[str], clock: LocalClock, passed: Passed) -> Parsed:
    """Read one record; RowError names what is wrong with it."""
    if not len(COLUMNS) <= len(fields) <= MOST_COLUMNS:
        raise RowError("column_count")
    record = dict(zip(COLUMNS, fields, strict=False))
    if record["direction"] not in ("I", "O"):
        raise RowError("unknown_direction")
    if record["is_internal"] not in ("0", "1") or record["continuation"] not in ("0", "1"):
        raise RowError("bad_flag")
    if not record["call_id"].isdecimal():
        raise RowError("bad_call_id")
    times = resolve(clock.read(record["call_start"]), None, None)
    connected = _length(record["connected_time"])
    held = whole(record["hold_time"] or "0") + whole(record["park_time"] or "0")
    answered = connected > 0
    ring = whole(record["ring_time"] or "0")
    call = (record["call_id"], record["call_start"])
    start = times.start + passed.add(call, ring + connected + held, record["continuation"] == "1") * SECOND
    answer = start + ring * SECOND
    row: Row = {
        "origination": start,
        "connect": answer if answered else None,
        "disconnect": answer + (connected + held) * SECOND,
        "seconds": connected + held if answered else 0,
        "hold_seconds": held,
        "time_note": times.note,
        "row_key": key64("avaya", *fields),
        **_parties(record),
    }
    return Parsed(row)


def _length(text: str) -> int:
    """Read HH:MM:SS [s]."""
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise RowError("bad_duration")
    seconds = int(match[2]) * 3_600 + int(match[3]) * 60 + int(match[4])
    if match[1] and seconds:
        raise RowError("negative_number")
    return seconds


def _parties(record: Mapping[str, str]) -> Row:
    call = f"{record['call_id']}@{record['call_start']}"
    first, second = record["party1_device"], record["party2_device"]
    on_line = first.startswith("T") or second.startswith("T")
    direction = {"I": "in", "O": "out"}[record["direction"]]
    if record["is_internal"] == "1" and not on_line:
        direction = "internal"
    if (direction == "in" and second.startswith("T")) or (direction == "out" and first.startswith("T")):
        first, second = second, first
    return {
        "call_ref": key64("avaya", call),
        "call_label": record["call_id"],
        "orig_leg": key64("leg", call, first) if first else 0,
        "dest_leg": key64("leg", call, second) if second else 0,
        "calling": record["caller"] or None,
        "original_called": record["dialled_number"] or record["called_number"] or None,
        "called": record["called_number"] or record["dialled_number"] or None,
        "orig_device": first or None,
        "dest_device": second or None,
        "direction": direction,
        "account": record["account"] or None,
    }
