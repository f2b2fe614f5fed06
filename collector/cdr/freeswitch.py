"""FreeSWITCH's records: `mod_cdr_csv` (template `example`, 15 columns; `mod_cdr_sqlite`, 13) and `mod_json_cdr`.

The columns of both are told by content. A CSV file has local times without an offset; a file that a spreadsheet has
saved (`2020/2/10 22:41`) is read too, its records marked `minute_resolution`. JSON is one object, an array, or one
object a line; its times are exact.

- `seconds` is `billsec`: answer to end, time on hold included; `hold_seconds` says how much of it was hold.
- Each channel has one record under its `uuid`, so `row_key` is a hash of the uuid. Records of one uuid that agree in
  all else are copies; one that differs, in `hangup_cause` say, stays a row of its own with the same legs and times.
- `call_ref` is a hash of the a leg's uuid. JSON names it (`call_uuid`, or the originator of a b leg). In CSV the
  smaller of `uuid` and `bleg_uuid` stands for the pair, so that an a and a b record of one call agree.
- `orig_leg` is a hash of the a leg's uuid and `dest_leg` of the b leg's. CSV does not say which a record is: its own
  uuid is `orig_leg` there. An a and a b record of one call share both legs.
- `orig_device` and `dest_device` are channel names without what is of one call: `sofia/internal/1001@pbx`, and
  `sofia/external/192.0.2.7` on other profiles, whose user part is a caller's number; a bridge to a gateway is
  `sofia/gateway/NAME`.
- `hangup_cause` becomes its number of Q.850 4.2; FreeSWITCH's own causes the number that is nearest in meaning.
- `callStats` becomes a phone report of the leg and its `mos` also stands in the record. `skip_packet_count` is kept as
  `skipped`: it counts reads that found no packet, which is not loss, so `packets_lost` stays empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import unquote

from collector.cdr.json_records import json_records
from collector.cdr.local_time import LocalClock, Times, Wall, resolve
from collector.cdr.q850 import FREESWITCH_CAUSES
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

SQLITE: Final = (
    "caller_id_name",
    "caller_id_number",
    "destination_number",
    "context",
    "start_stamp",
    "answer_stamp",
    "end_stamp",
    "duration",
    "billsec",
    "hangup_cause",
    "uuid",
    "bleg_uuid",
    "accountcode",
)
EXAMPLE: Final = (*SQLITE, "read_codec", "write_codec")
JSON: Final = ("variables", "callflow", "callStats")
_MARKS: Final = (b'"variables"', b'"callflow"', b'"channel_data"', b'"core-uuid"')
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_TIME = re.compile(r"\d{4}[-/]\d\d?[-/]\d\d? \d\d?:\d\d(:\d\d)?", re.ASCII)
_SOFIA = re.compile(r"sofia/([^/]+)/(?:([^@]*)@)?([^:@;]*)(?::\d+)?")
_GATEWAY = re.compile(r"(?:\[[^\]]*\])?(sofia/gateway/[^/]+)/")


def columns_of(fields: Sequence[str]) -> tuple[str, ...] | None:
    """Name the columns of one line of CSV; None where it is none of FreeSWITCH's."""
    columns = {len(SQLITE): SQLITE, len(EXAMPLE): EXAMPLE}.get(len(fields))
    if columns is None or not _UUID.fullmatch(fields[10]):
        return None
    return columns if _TIME.fullmatch(fields[4]) or _TIME.fullmatch(fields[6]) else None


def sniff(head: bytes) -> tuple[str, ...] | None:
    """Name the columns where the first octets are FreeSWITCH's CSV, `JSON` where they are its JSON."""
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin[:1] in (b"{", b"["):
        return JSON if any(mark in begin for mark in _MARKS) else None
    for fields in sample(head):
        columns = columns_of(fields)
        if columns is not None:
            return columns
    return None


def read(stream: BinaryIO, settings: ReadSettings = UNTOLD) -> Iterator[Batch]:
    """Read a CSV file in batches; what is no record is rejected by name. Raises ValueError for an unknown zone."""
    clock = LocalClock(settings.zone)
    return batches(_csv_records(stream, settings, clock), "freeswitch", settings)


def read_json(stream: BinaryIO, settings: ReadSettings = UNTOLD) -> Iterator[Batch]:
    """Read JSON in batches; the line of a record is its number."""
    return batches(_json_records(stream, LocalClock(settings.zone)), "freeswitch", settings)


def stage(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[CdrFile],
    rejects: Rejects,
    settings: ReadSettings = UNTOLD,
) -> Mapping[int, Staged]:
    """Stage files for the lake."""
    staged: dict[int, Staged] = {}
    for file in files:
        reader = read_json if file.columns == JSON else read
        staged.update(stage_batches(connection, [file], rejects, settings, reader))
    return staged


def _csv_records(stream: BinaryIO, settings: ReadSettings, clock: LocalClock) -> Iterator[tuple[int, Parsed | Reject]]:
    for number, line in text_lines(stream, settings.encoding):
        if isinstance(line, Reject):
            yield number, line
            continue
        try:
            yield number, parse(split(line), clock)
        except RowError as error:
            yield number, reject(number, error.reason, line)


def parse(fields: Sequence[str], clock: LocalClock) -> Parsed:
    """Read one line of CSV; RowError names what is wrong with it."""
    columns = {len(SQLITE): SQLITE, len(EXAMPLE): EXAMPLE}.get(len(fields))
    if columns is None:
        raise RowError("column_count")
    record = dict(zip(columns, fields, strict=True))
    own, other = record["uuid"], record["bleg_uuid"]
    if not _UUID.fullmatch(own) or (other and not _UUID.fullmatch(other)):
        raise RowError("bad_uuid")
    duration, billed = _lengths(record)
    answer = clock.read(record["answer_stamp"]) if record["answer_stamp"] else None
    end = clock.read(record["end_stamp"]) if record["end_stamp"] else None
    times = resolve(clock.read(record["start_stamp"]), answer, end, duration)
    return Parsed(
        {
            **_times(times, billed),
            "row_key": key64("freeswitch", own),
            "call_ref": key64("freeswitch", min(own, other) if other else own),
            "call_label": own,
            "orig_leg": key64("leg", own),
            "dest_leg": key64("leg", other) if other else 0,
            "calling": record["caller_id_number"] or None,
            "original_called": record["destination_number"] or None,
            "called": record["destination_number"] or None,
            "called_partition": record["context"] or None,
            "orig_cause": _cause(record["hangup_cause"]),
            "codec": record.get("read_codec") or None,
            "account": record["accountcode"] or None,
        }
    )


def _lengths(record: Mapping[str, str]) -> tuple[int, int]:
    duration, billed = whole(record["duration"]), whole(record["billsec"])
    if billed > duration + 1:
        raise RowError("billsec_exceeds_duration")
    return duration, billed


def _times(times: Times, billed: int) -> Row:
    return {
        "origination": times.start,
        "connect": times.answer,
        "disconnect": times.end,
        "seconds": billed if times.answer is not None else 0,
        "time_note": times.note,
    }


def _cause(name: str) -> int | None:
    """Number of Q.850 for a cause; 127 (interworking, unspecified) for one that is not known."""
    return FREESWITCH_CAUSES.get(name, 127) if name and name != "NONE" else None


def _json_records(stream: BinaryIO, clock: LocalClock) -> Iterator[tuple[int, Parsed | Reject]]:
    for number, document in json_records(stream):
        if isinstance(document, Reject):
            yield number, document
            continue
        try:
            yield number, parse_json(document.value, clock)
        except RowError as error:
            yield number, reject(number, error.reason, document.text)


class _Variables:
    """Texts of one JSON record; values are percent-encoded where the module is set to encode them."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        variables = document.get("variables")
        self._variables: Mapping[str, Any] = variables if isinstance(variables, Mapping) else {}
        self.profiles = [
            profile
            for flow in _items(document.get("callflow"))
            if isinstance(profile := flow.get("caller_profile"), Mapping)
        ]

    def __getitem__(self, name: str) -> str:
        return _text(self._variables.get(name))

    def profile(self, name: str) -> str:
        """A field of the channel's last profile: who called whom at the end."""
        return _text(self.profiles[0].get(name)) if self.profiles else ""

    def first_profile(self, name: str) -> str:
        """A field of its first profile."""
        return _text(self.profiles[-1].get(name)) if self.profiles else ""

    @property
    def originator(self) -> str:
        """Uuid of the leg that made this one; empty where this is an a leg."""
        for profile in self.profiles:
            inner = profile.get("originator")
            if isinstance(inner, Mapping):
                for one in _items(inner.get("originator_caller_profiles")):
                    return _text(one.get("uuid"))
        return self["originating_leg_uuid"]


def _items(value: object) -> list[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, Mapping)]


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = str(value)
    if "%" in text:
        text = unquote(text)
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd").strip()


def parse_json(document: object, clock: LocalClock) -> Parsed:
    """Read one record of `mod_json_cdr`; RowError names what is wrong with it."""
    if not isinstance(document, Mapping):
        raise RowError("not_an_object")
    if not isinstance(document.get("variables"), Mapping):
        raise RowError("no_variables")
    about = _Variables(document)
    own = about["uuid"]
    if not _UUID.fullmatch(own):
        raise RowError("bad_uuid")
    duration, billed = _lengths({name: about[name] or "0" for name in ("duration", "billsec")})
    start = _moment(about, "start", clock)
    if start is None:
        raise RowError("no_start")
    times = resolve(start, _moment(about, "answer", clock), _moment(about, "end", clock), duration)
    row: Row = {
        **_times(times, billed),
        **_legs(about, own),
        **_parties(about),
        "row_key": key64("freeswitch", own),
        "call_label": own,
        "hold_seconds": whole(about["hold_accum_seconds"] or "0"),
        "codec": about["read_codec"] or None,
        "account": about["accountcode"] or None,
    }
    report = _report(document, row, own)
    if report is not None:
        row["mos"] = report.pop("mos")
        report["directory_number"] = row["calling"] if not about.originator else row["called"]
    if system := _text(document.get("switchname")):
        for each in (row, report or {}):
            each["system"] = system
    return Parsed(row, report)


def _moment(about: _Variables, name: str, clock: LocalClock) -> Wall | None:
    """Exact time by microseconds, else by seconds, else the local stamp; None where it never came."""
    micros = about[f"{name}_uepoch"]
    if micros:
        if not micros.isdecimal() or not micros.isascii():
            raise RowError("bad_time")
        if not micros.strip("0"):
            return None
        if len(micros) < 15:
            raise RowError("time_out_of_range")
        return clock.read(f"{micros[:-6]}.{micros[-6:]}")
    seconds = about[f"{name}_epoch"]
    if seconds:
        return clock.read(seconds) if seconds.strip("0") else None
    stamp = about[f"{name}_stamp"]
    return clock.read(stamp) if stamp else None


def _legs(about: _Variables, own: str) -> Row:
    maker = about.originator
    first = maker or about["call_uuid"] or own
    other = own if maker else (about["bleg_uuid"] or about["bridge_uuid"] or about["last_bridge_to"])
    return {
        "call_ref": key64("freeswitch", first),
        "orig_leg": key64("leg", maker or own),
        "dest_leg": key64("leg", other) if other else 0,
    }


def _parties(about: _Variables) -> Row:
    is_b_leg = bool(about.originator)
    channel, bridged = device_of(about["channel_name"]), device_of(about["bridge_channel"])
    gateway = _GATEWAY.match(about["last_arg"]) if about["last_app"] == "bridge" else None
    address = about["sip_network_ip"] or about.profile("network_addr")
    cause = _cause(about["hangup_cause"])
    queue = about["cc_queue"] or about["fifo_name"]
    return {
        "calling": about.first_profile("caller_id_number") or about["sip_from_user"] or None,
        "original_called": about.first_profile("destination_number") or about["sip_req_user"] or None,
        "called": about.profile("destination_number") or about["sip_req_user"] or None,
        "called_partition": about.profile("context") or None,
        "last_redirect": about["last_redirect"] or None,
        "hunt_pilot": queue or None,
        "orig_device": (bridged if is_b_leg else channel) or None,
        "dest_device": (channel if is_b_leg else (gateway[1] if gateway else bridged)) or None,
        "orig_ip": None if is_b_leg else address or None,
        "dest_ip": address or None if is_b_leg else None,
        "orig_cause": None if is_b_leg else cause,
        "dest_cause": cause if is_b_leg else _cause(about["bridge_hangup_cause"]),
    }


def device_of(channel: str) -> str:
    """Return a channel's name without what belongs to one call: the port, and on outer profiles the user part."""
    match = _SOFIA.fullmatch(channel)
    if match is None:
        return channel
    profile, user, host = match.groups()
    return f"sofia/{profile}/{user}@{host}" if user and profile.startswith("internal") else f"sofia/{profile}/{host}"


def _report(document: Mapping[str, Any], row: Row, own: str) -> Row | None:
    """Read `callStats` of the audio that the leg sent and received."""
    stats = document.get("callStats")
    audio = stats.get("audio") if isinstance(stats, Mapping) else None
    if not isinstance(audio, Mapping):
        return None
    received, sent = (
        {} if not isinstance(part := audio.get(way), Mapping) else part for way in ("inbound", "outbound")
    )
    return {
        "row_key": key64("freeswitch", own),
        "call_ref": row["call_ref"],
        "leg": key64("leg", own),
        "reported": row["disconnect"] or row["origination"],
        "device": row["dest_device"] if row["dest_leg"] == key64("leg", own) else row["orig_device"],
        "codec": row["codec"],
        "packets_received": _count(received, "packet_count"),
        "packets_sent": _count(sent, "packet_count"),
        "discarded": _count(received, "flush_packet_count"),
        "skipped": _count(received, "skip_packet_count"),
        "mos": _score(received.get("mos")),
    }


def _count(stats: Mapping[str, Any], name: str) -> int | None:
    text = _text(stats.get(name))
    return whole(text) if text else None


def _score(value: object) -> float | None:
    """A MOS of 1 to 5; None where the record holds another number."""
    try:
        score = float(_text(value))
    except ValueError:
        return None
    return score if 1 <= score <= 5 else None
