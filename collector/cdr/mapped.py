"""Any CSV, read by a mapping file (`collector.cdr.mapping`).

- One record a line; a quote that is not closed at its end rejects the line.
- `row_key` is a hash of the column `record` where it is mapped, else of the whole line.
- `call_ref` is a hash of the column `call`, else of `record`, else of the whole line: then each record is a call.
- `orig_leg` and `dest_leg` are hashes of the call and the columns of those names, else of the two devices; 0 where
  neither is there.
- Without `connect`, an answered call was answered at its begin plus `ring_seconds`, else at `disconnect` less
  `seconds`. Without `seconds` the length is connect to disconnect.
- Whether a call was answered is said by the words of `answered`, else by a time of answer, else by a length over 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from collector.cdr.files import MissingColumnError
from collector.cdr.local_time import SECOND, LocalClock, Times, Wall, resolve
from collector.cdr.mapping import COLUMNS, EPOCHS
from collector.cdr.mapping import Mapping as FileMapping
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
    split,
    text_lines,
    whole,
)

if TYPE_CHECKING:
    import duckdb

    from collector.cdr.files import CdrFile
    from collector.cdr.rejects import Rejects
    from collector.cdr.staging import Staged

_EPOCH = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)
TEXTS = frozenset(name for name, kind in COLUMNS.items() if kind == "text") - {"record", "call", "orig_leg", "dest_leg"}


def sniff(head: bytes, mapping: FileMapping) -> tuple[str, ...] | None:
    """Name the columns where the first octets have the heading, or as many columns, as the mapping names.

    Raises `MissingColumnError` for a file that has some of the mapped columns and not all.
    """
    lines = head.decode(mapping.encoding, "replace").removeprefix("\ufeff").split("\n")
    for line in [line.rstrip("\r") for line in lines[mapping.skip_lines :] if line.strip()][:1]:
        try:
            fields = split(line, mapping.delimiter, mapping.quote)
        except RowError:
            return None
        missing = [column for column in mapping.columns if _place(mapping, column, fields) is None]
        if len(missing) == len(mapping.columns):
            return None
        if missing:
            named = ", ".join(f"{mapping.columns[column]!r} for {column}" for column in missing)
            raise MissingColumnError(f"lacks a column that the mapping names: {named}")
        return tuple(fields) if mapping.header else tuple(str(place) for place in range(1, len(fields) + 1))
    return None


def read(stream: BinaryIO, mapping: FileMapping, settings: ReadSettings = UNTOLD) -> Iterator[Batch]:
    """Read a file in batches; what is no record is rejected by name. Raises ValueError for an unknown zone."""
    clock = LocalClock(mapping.zone or settings.zone)
    return batches(_records(stream, mapping, clock), mapping.source, settings)


def stage(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[CdrFile],
    rejects: Rejects,
    mapping: FileMapping,
    settings: ReadSettings = UNTOLD,
) -> Mapping[int, Staged]:
    """Stage files for the lake."""
    head = mapping.skip_lines + int(mapping.header)
    return stage_batches(connection, files, rejects, settings, lambda stream, told: read(stream, mapping, told), head)


def places(mapping: FileMapping, fields: Sequence[str]) -> dict[str, int]:
    """Find where each mapped column stands, from 0; RowError where the file has it not."""
    found: dict[str, int] = {}
    for column in mapping.columns:
        place = _place(mapping, column, fields)
        if place is None:
            raise RowError(f"missing_column:{column}")
        found[column] = place
    return found


def _place(mapping: FileMapping, column: str, fields: Sequence[str]) -> int | None:
    """Where a mapped column stands, from 0; None where the file has it not."""
    where = mapping.columns[column]
    if isinstance(where, int):
        return where - 1 if 0 < where <= len(fields) else None
    wanted = where.casefold() if mapping.header else None
    return next((place for place, name in enumerate(fields) if name.casefold() == wanted), None)


def _records(stream: BinaryIO, mapping: FileMapping, clock: LocalClock) -> Iterator[tuple[int, Parsed | Reject]]:
    lines = text_lines(stream, mapping.encoding)
    where: dict[str, int] | None = None
    width = 0
    read_time = time_reader(mapping, clock)
    for number, line in lines:
        if number <= mapping.skip_lines:
            continue
        if isinstance(line, Reject):
            yield number, line
            continue
        try:
            fields = split(line, mapping.delimiter, mapping.quote)
            if where is None and mapping.header:
                where, width = places(mapping, fields), len(fields)
                continue
            if where is None or not mapping.header:
                where = places(mapping, fields)
            if mapping.header and len(fields) != width:
                raise RowError("column_count")
            yield number, parse({name: fields[place] for name, place in where.items()}, fields, mapping, read_time)
        except RowError as error:
            yield number, reject(number, error.reason, line)
            if where is None and mapping.header:
                # Without its heading nothing of the file can be told.
                yield from ((n, _headless(n, rest)) for n, rest in islice(lines, None))


def _headless(number: int, line: str | Reject) -> Reject:
    return line if isinstance(line, Reject) else reject(number, "no_heading", line)


def time_reader(mapping: FileMapping, clock: LocalClock) -> Callable[[str], Wall]:
    """Return what reads a time as the mapping says."""
    if not mapping.formats:
        return lambda text: _iso(text, clock)

    def read_time(text: str) -> Wall:
        for one in mapping.formats:
            try:
                return _epoch(text, one) if one in EPOCHS else clock.of(datetime.strptime(text, one))
            except RowError as error:
                if error.reason != "bad_time":
                    raise
            except (ValueError, OverflowError):
                continue
        raise RowError("bad_time")

    return read_time


def _iso(text: str, clock: LocalClock) -> Wall:
    try:
        return clock.read(text)
    except RowError as error:
        if error.reason != "bad_time":
            raise
    try:
        return clock.of(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise RowError("bad_time") from None


def _epoch(text: str, kind: str) -> Wall:
    number, _, fraction = text.partition(".")
    if not (number.isascii() and number.isdecimal()) or (
        fraction and not (fraction.isascii() and fraction.isdecimal())
    ):
        raise RowError("bad_time")
    per = {"epoch": SECOND, "epoch_ms": 1_000, "epoch_us": 1}[kind]
    if len(number) > 17:
        raise RowError("time_out_of_range")
    exact = int(number) * per + (int(fraction[:6].ljust(6, "0")) * per // SECOND if fraction else 0)
    if not 0 < exact < 4_102_444_800 * SECOND:  # 2100-01-01
        raise RowError("time_out_of_range")
    return Wall(exact, exact)


def parse(
    record: Mapping[str, str], fields: Sequence[str], mapping: FileMapping, read_time: Callable[[str], Wall]
) -> Parsed:
    """Read one record; RowError names what is wrong with it."""
    start, connect, end = (
        read_time(text) if (text := record.get(name, "")) else None for name in ("origination", "connect", "disconnect")
    )
    if start is None:
        raise RowError("no_start")
    seconds = _seconds(record, "seconds", mapping)
    times = resolve(start, connect, end)
    row: Row = {
        **{name: value for name, value in mapping.constants.items() if name in TEXTS or name == "direction"},
        **{name: record[name] or None for name in TEXTS & record.keys()},
        **_talk(times, seconds, _seconds(record, "ring_seconds", mapping), _answered(record, mapping)),
        "origination": times.start,
        "time_note": times.note,
        "queue_seconds": _seconds(record, "queue_seconds", mapping),
        "hold_seconds": _seconds(record, "hold_seconds", mapping),
        **{name: whole(record[name]) for name in ("orig_cause", "dest_cause") if record.get(name)},
        **_keys(record, fields, mapping),
    }
    if word := record.get("direction", ""):
        way = mapping.directions.get(word.lower())
        if way is None:
            raise RowError("unknown_direction")
        row["direction"] = way
    if score := record.get("mos", ""):
        row["mos"] = _score(score)
    row["system"] = row.get("system") or ""
    return Parsed(row)


def _talk(times: Times, seconds: int | None, ring: int | None, answered: bool | None) -> Row:
    """Answer, end and length of talk from those that are there."""
    connect, end = times.answer, times.end
    if answered is None:
        answered = bool(seconds) if connect is None else True
    if not answered:
        return {"connect": None, "disconnect": end, "seconds": 0}
    if connect is None and ring is not None:
        connect = times.start + ring * SECOND
    if connect is None:
        connect = times.start if end is None or seconds is None else end - seconds * SECOND
    if end is None:
        end = connect + (seconds or 0) * SECOND
    if connect < times.start:
        raise RowError("seconds_exceed_call")
    if end < connect:
        raise RowError("end_before_answer")
    return {
        "connect": connect,
        "disconnect": end,
        "seconds": (end - connect) // SECOND if seconds is None else seconds,
    }


def _answered(record: Mapping[str, str], mapping: FileMapping) -> bool | None:
    return record["answered"].lower() in mapping.answered if "answered" in record else None


def _keys(record: Mapping[str, str], fields: Sequence[str], mapping: FileMapping) -> Row:
    line = "\x1f".join(fields)
    own = record.get("record") or line
    call = record.get("call") or own
    legs = {
        side: record.get(f"{side}_leg") or record.get(f"{side}_device") or mapping.constants.get(f"{side}_device", "")
        for side in ("orig", "dest")
    }
    return {
        "row_key": key64(mapping.source, own),
        "call_ref": key64(mapping.source, call),
        "call_label": record.get("call") or record.get("record") or None,
        **{f"{side}_leg": key64("leg", call, leg) if leg else 0 for side, leg in legs.items()},
    }


def _seconds(record: Mapping[str, str], name: str, mapping: FileMapping) -> int | None:
    """Read a length in the mapping's unit [s]; None where the record has none."""
    text = record.get(name, "")
    if not text:
        return None
    if mapping.unit == "seconds":
        return whole(text)
    if mapping.unit == "milliseconds":
        return whole(text) // 1_000
    if mapping.unit == "minutes":
        whole_minutes, _, fraction = text.partition(".")
        part = whole(fraction or "0") * 60 // 10 ** len(fraction or "0") if len(fraction) <= 9 else 0
        return _bounded(whole(whole_minutes) * 60 + part)
    parts = text.split(":")
    if len(parts) != len(mapping.unit.split(":")):
        raise RowError("bad_duration")
    seconds = 0
    for place, part_text in enumerate(parts):
        number = whole(part_text)
        if place and number > 59:
            raise RowError("bad_duration")
        seconds = seconds * 60 + number
    return _bounded(seconds)


def _bounded(seconds: int) -> int:
    if seconds > MOST:
        raise RowError("number_out_of_range")
    return seconds


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        raise RowError("bad_number") from None
    if not 1 <= score <= 5:
        raise RowError("number_out_of_range")
    return score
