"""CUCM files for tests, and a slow reader of them that follows their description word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from collector.cdr import cucm
from collector.cdr.cucm_layout import ORDER, cells_of, is_names, is_types
from collector.cdr.cutting import WINDOW, Tally
from collector.cdr.detect import detect
from collector.cdr.files import CdrFile, Skipped, identify
from collector.cdr.rejects import Rejects

CALL = {
    "cdrRecordType": "1",
    "globalCallID_callManagerId": "2",
    "globalCallID_callId": "25447",
    "origLegCallIdentifier": "101",
    "dateTimeOrigination": "1759306500",
    "origIpAddr": "-1139627840",
    "callingPartyNumber": '"5001"',
    "origCause_value": "16",
    "origMediaCap_payloadCapability": "4",
    "destLegIdentifier": "102",
    "destIpAddr": "239138826",
    "originalCalledPartyNumber": '"901130001111"',
    "finalCalledPartyNumber": '"901130001111"',
    "destCause_value": "0",
    "dateTimeConnect": "1759306505",
    "dateTimeDisconnect": "1759306630",
    "lastRedirectDn": '""',
    "pkid": '"ed56fecd-bd2d-48d4-ae03-7ee3766d6048"',
    "duration": "125",
    "origDeviceName": '"SEP000000000001"',
    "destDeviceName": '"GW-A"',
    "lastRedirectRedirectOnBehalfOf": "0",
    "lastRedirectRedirectReason": "0",
    "joinOnBehalfOf": "0",
    "globalCallId_ClusterID": '"Cluster1"',
    "wasCallQueued": "0",
    "totalWaitTimeInQueue": "0",
}
REPORT = {
    "cdrRecordType": "2",
    "globalCallID_callManagerId": "2",
    "globalCallID_callId": "25447",
    "directoryNum": '"5001"',
    "callIdentifier": "101",
    "dateTimeStamp": "1759306630",
    "numberPacketsSent": "559",
    "numberPacketsReceived": "555",
    "numberPacketsLost": "-3",
    "jitter": "2",
    "latency": "1",
    "pkid": '"60e07196-5c4f-407d-8c0b-01c8ebf8e164"',
    "globalCallId_ClusterID": '"Cluster1"',
    "deviceName": '"SEP000000000001"',
    "varVQMetrics": '"MLQK=4.5000;MLQKav=4.4000;ICR=0.0000;CCR=0.0011;ICRmx=0.0034;CS=1;SCS=0;MLQKvr=0.95"',
}
BASE = {"cdr": CALL, "cmr": REPORT}


def line(record: str = "cdr", columns: Sequence[str] | None = None, /, **changes: str) -> str:
    """One record as a line without its end."""
    values = {**BASE[record], **changes}
    return ",".join(values.get(name, "") for name in columns or ORDER[record])


def table(lines: Iterable[str], record: str = "cdr", columns: Sequence[str] | None = None) -> bytes:
    """A file with names, types and records."""
    names = list(columns or ORDER[record])
    head = [",".join(f'"{name}"' for name in names), ",".join("INTEGER" for _ in names)]
    return ("\n".join([*head, *lines]) + "\n").encode()


@dataclass
class Read:
    """What came of a file."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[tuple[int, str]] = field(default_factory=list)
    tally: Tally | None = None


class Listed(Rejects):
    """Rejects that are kept in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, int, str]] = []
        self.records: list[bytes] = []

    def add(self, file: CdrFile, line: int, reason: str, record: str | bytes) -> None:
        super().add(file, line, reason, record)
        self.all.append((file.name, line, reason))
        self.records.append(record if isinstance(record, bytes) else record.encode())


def told(path: Path) -> CdrFile | Skipped:
    """What a file is."""
    return identify(path, None, detect)


def read_files(files: Sequence[CdrFile], window: int = WINDOW) -> dict[str, Read]:
    """Read files of one kind together; what came of each by its name."""
    rejects = Listed()
    tallies: dict[int, Tally] = {}
    names = {file.file_key: file.name for file in files}
    found = {file.name: Read() for file in files}
    for batch in cucm.record_batches(files, files[0].record, rejects, tallies, window):
        for row in pa.Table.from_batches([batch]).to_pylist():
            found[names[row.pop("file_key")]].rows.append(row)
    for name, number, reason in rejects.all:
        found[name].rejects.append((number, reason))
    for key, tally in tallies.items():
        found[names[key]].tally = tally
    return found


def read(path: Path, data: bytes, window: int = WINDOW) -> Read:
    """Write a file and read it."""
    path.write_bytes(data)
    file = told(path)
    assert isinstance(file, CdrFile), file
    return read_files([file], window)[file.name]


def present(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is not missing of a row."""
    return {name: value for name, value in row.items() if value is not None}


# The slow reader.

NUMBERS = [
    "cdrRecordType",
    "globalCallID_callManagerId",
    "globalCallID_callId",
    "origLegCallIdentifier",
    "destLegIdentifier",
    "dateTimeOrigination",
    "dateTimeConnect",
    "dateTimeDisconnect",
    "duration",
    "origIpAddr",
    "destIpAddr",
    "origCause_value",
    "destCause_value",
    "lastRedirectRedirectReason",
    "lastRedirectRedirectOnBehalfOf",
    "joinOnBehalfOf",
    "origConversationId",
    "destConversationId",
    "wasCallQueued",
    "totalWaitTimeInQueue",
    "origMediaCap_payloadCapability",
]
TEXTS = [
    "globalCallId_ClusterID",
    "callingPartyNumber",
    "callingPartyNumberPartition",
    "originalCalledPartyNumber",
    "finalCalledPartyNumber",
    "finalCalledPartyNumberPartition",
    "outpulsedCalledPartyNumber",
    "lastRedirectDn",
    "huntPilotDN",
    "origDeviceName",
    "destDeviceName",
    "origIpv4v6Addr",
    "destIpv4v6Addr",
]
KEPT = [*NUMBERS, *TEXTS, "pkid"]


class WrongError(Exception):
    """A record is rejected; the message is the reason."""


def slow_cells(text: bytes) -> list[bytes]:
    """Cells of a line: a comma between quotes does not part them."""
    cells, cell, quoted = [], b"", False
    for k in range(len(text)):
        octet = text[k : k + 1]
        if octet == b'"':
            quoted = not quoted
        if octet == b"," and not quoted:
            cells.append(cell)
            cell = b""
        else:
            cell += octet
    if quoted:
        raise WrongError("unclosed_quote")
    return [*cells, cell]


def slow_content(cell: bytes) -> bytes:
    """A cell without spaces and quotes around it."""
    cell = cell.strip(b" \t")
    if not cell.startswith(b'"'):
        return cell
    if len(cell) < 2 or not cell.endswith(b'"'):
        raise WrongError("stray_quote")
    return cell[1:-1].strip(b" \t")


def slow_row(text: bytes, columns: Sequence[str]) -> dict[str, Any]:
    """What a CDR's line says, or WrongError."""
    cells = slow_cells(text)
    if len(cells) != len(columns):
        raise WrongError("wrong_columns")
    content = {name: slow_content(cells[columns.index(name)]) if name in columns else b"" for name in KEPT}
    numbers: dict[str, int | None] = {}
    for name in NUMBERS:
        if content[name] and not re.fullmatch(rb"[+-]?[0-9]{1,18}", content[name]):
            raise WrongError(f"not_a_number:{name}")
        numbers[name] = int(content[name]) if content[name] else None
    texts: dict[str, str | None] = {}
    for name in TEXTS:
        found = content[name]
        for k, octet in enumerate(found):
            if octet < 32:
                raise WrongError(f"control_character:{name}")
            if octet == 34 and found[:k].count(b'"') % 2 == 0 and found[k + 1 : k + 2] != b'"':
                raise WrongError("stray_quote")
        content[name] = found.replace(b'""', b'"')
    for name in TEXTS:
        try:
            texts[name] = content[name].decode("utf-8") or None
        except UnicodeDecodeError:
            raise WrongError(f"invalid_encoding:{name}") from None
    slow_check(numbers)
    return slow_columns(numbers, texts)


def slow_check(numbers: Mapping[str, int | None]) -> None:
    """What must hold of a record."""
    if numbers["cdrRecordType"] != 1:
        raise WrongError("record_type")
    if numbers["globalCallID_callId"] is None:
        raise WrongError("no_call_id")
    if not numbers["dateTimeOrigination"]:
        raise WrongError("no_time")
    for name in ("dateTimeOrigination", "dateTimeConnect", "dateTimeDisconnect"):
        if numbers[name] and not 946684800 <= (numbers[name] or 0) < 4102444800:
            raise WrongError("time_out_of_range")
    for name in (
        "duration",
        "lastRedirectRedirectReason",
        "lastRedirectRedirectOnBehalfOf",
        "joinOnBehalfOf",
        "globalCallID_callManagerId",
        "globalCallID_callId",
    ):
        if not 0 <= (numbers[name] or 0) < 2**31:
            raise WrongError(f"number_out_of_range:{name}")
    slow_check_times(numbers)


def slow_check_times(numbers: Mapping[str, int | None]) -> None:
    """What must hold of a call's times and length, give or take two seconds."""
    begin, connect, end = (numbers[f"dateTime{name}"] or 0 for name in ("Origination", "Connect", "Disconnect"))
    if connect and connect < begin - 2:
        raise WrongError("connect_before_origination")
    if end and end < begin - 2:
        raise WrongError("disconnect_before_origination")
    if connect and end and end < connect - 2:
        raise WrongError("disconnect_before_connect")
    length = numbers["duration"]
    if length is not None and numbers["dateTimeConnect"] is not None and (end or not connect):
        talk = end - connect if connect else 0
        if length > talk + 2:
            raise WrongError("duration_exceeds_times")
        if length < talk - 2:
            raise WrongError("duration_short_of_times")
    if max(connect, end) - begin > 366 * 86_400:
        raise WrongError("time_out_of_range")
    if (length or 0) > 366 * 86_400:
        raise WrongError("number_out_of_range:duration")


def slow_columns(numbers: Mapping[str, int | None], texts: Mapping[str, str | None]) -> dict[str, Any]:
    """A few columns of the row, enough to see every kind of field."""
    connect, disconnect = numbers["dateTimeConnect"] or 0, numbers["dateTimeDisconnect"] or 0
    talk = disconnect - connect if 0 < connect < disconnect else 0
    cause = numbers["destCause_value"]
    return {
        "call_ref": ((numbers["globalCallID_callManagerId"] or 0) << 32) | (numbers["globalCallID_callId"] or 0),
        "orig_leg": numbers["origLegCallIdentifier"] or 0,
        "dest_leg": numbers["destLegIdentifier"] or 0,
        "seconds": talk if numbers["duration"] is None else numbers["duration"],
        "system": texts["globalCallId_ClusterID"] or "",
        "calling": texts["callingPartyNumber"],
        "called": texts["finalCalledPartyNumber"],
        "hunt_pilot": texts["huntPilotDN"],
        "dest_device": texts["destDeviceName"],
        "dest_cause": cause + 2**32 if cause is not None and cause < 0 else cause,
        "join_behalf": numbers["joinOnBehalfOf"],
    }


def slow_read(data: bytes, columns: Sequence[str], first: int) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Number of each record's line, and its row or the reason why it is rejected."""
    for number, text in enumerate(data.split(b"\n"), first):
        text = text.removesuffix(b"\r")
        begin = text.strip(b" \t")
        if not begin:
            continue
        opened = begin[1:] if begin.startswith(b'"') and len(begin) > 1 else begin
        if opened[:1].isalpha():
            cells = cells_of(text)
            if is_types(cells):
                continue
            assert not is_names(cells)
            yield number, "not_a_number:cdrRecordType"
            continue
        try:
            yield number, slow_row(text, columns)
        except WrongError as wrong:
            yield number, str(wrong)
