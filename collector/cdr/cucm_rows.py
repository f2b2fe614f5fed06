"""CUCM's records as columns of the lake: which fields are kept, what is rejected, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.cdr.cucm_layout import CDR, CMR, canonical, cells_of, is_names, is_types, record_named
from collector.cdr.cutting import WIDEST, Binding, Cut, Tally
from collector.cdr.cutting_numba_fns import (
    CONTROL_CHARACTER,
    NOT_A_NUMBER,
    SLOT_FAULT,
    STRAY_QUOTE,
    UNCLOSED_QUOTE,
    WRONG_COLUMNS,
    read_keys,
    read_numbers,
    read_texts,
)
from collector.cdr.files import LayoutError
from collector.cdr.phone_metrics_numba_fns import read_metrics
from collector.cdr.rejects import Rejects

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

EARLIEST: Final = 946_684_800
"""2000-01-01 UTC [s]: no CUCM is older."""
LATEST: Final = 4_102_444_800
"""2100-01-01 UTC [s]."""
MOST: Final = (1 << 31) - 1
MILLION: Final = 1_000_000
DAY: Final = 86_400
TOLERANCE: Final = 2
"""Seconds by which times of a record may contradict each other: each is rounded by itself."""
LONGEST: Final = 366 * DAY
"""Seconds; CUCM's timer cuts calls after 35,791 minutes at most, unless it is off."""

CODECS: Final[Mapping[int, str]] = {
    2: "PCMA",
    4: "PCMU",
    6: "G722",
    9: "G723",
    10: "G728",
    11: "G729",  # G.729, and its annexes A, B and AB: RTP has one name for all (RFC 3551 4.5.6)
    12: "G729",
    15: "G729",
    16: "G729",
    18: "GSM",
    19: "GSM-HR-08",
    20: "GSM-EFR",
    82: "G726-32",
    86: "ILBC",
    89: "ISAC",
    90: "OPUS",
    107: "T38",
}
"""Names as in RTP, by payloadCapability (the guide's "Codec types")."""

KEY: Final = "pkid"
METRICS: Final = "varVQMetrics"
RECORD_TYPE: Final = "cdrRecordType"
MANAGER: Final = "globalCallID_callManagerId"
CALL: Final = "globalCallID_callId"
CLUSTER: Final = "globalCallId_ClusterID"
RECEIVE_CODEC: Final = "VoRxCodec"

# Faults of a row besides those that cutting finds.
NO_CALL_ID: Final = 10
NO_TIME: Final = 11
TIME_OUT_OF_RANGE: Final = 12
OTHER_RECORD: Final = 13
CONNECT_BEFORE_ORIGINATION: Final = 14
DISCONNECT_BEFORE_ORIGINATION: Final = 15
DISCONNECT_BEFORE_CONNECT: Final = 16
DURATION_EXCEEDS_TIMES: Final = 17
DURATION_SHORT_OF_TIMES: Final = 18
OUT_OF_RANGE: Final = 3
INVALID_ENCODING: Final = 4
LINE_REASONS: Final = {
    WRONG_COLUMNS: "wrong_columns",
    UNCLOSED_QUOTE: "unclosed_quote",
    STRAY_QUOTE: "stray_quote",
    NO_CALL_ID: "no_call_id",
    NO_TIME: "no_time",
    TIME_OUT_OF_RANGE: "time_out_of_range",
    OTHER_RECORD: "record_type",
    CONNECT_BEFORE_ORIGINATION: "connect_before_origination",
    DISCONNECT_BEFORE_ORIGINATION: "disconnect_before_origination",
    DISCONNECT_BEFORE_CONNECT: "disconnect_before_connect",
    DURATION_EXCEEDS_TIMES: "duration_exceeds_times",
    DURATION_SHORT_OF_TIMES: "duration_short_of_times",
}
SLOT_REASONS: Final = {
    NOT_A_NUMBER: "not_a_number",
    OUT_OF_RANGE: "number_out_of_range",
    CONTROL_CHARACTER: "control_character",
    INVALID_ENCODING: "invalid_encoding",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What is kept of a kind of record: each field has a slot, numbers first, then texts, then the key and the rest."""

    record: str
    code: int
    """Value of cdrRecordType."""
    clock: str
    """Field that says when."""
    times: tuple[str, ...]
    """Fields that hold seconds since the epoch."""
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields by slot."""
        return (*self.numbers, *self.texts, *self.others)


CDR_SHAPE: Final = Shape(
    CDR,
    1,
    "dateTimeOrigination",
    ("dateTimeOrigination", "dateTimeConnect", "dateTimeDisconnect"),
    (
        RECORD_TYPE,
        MANAGER,
        CALL,
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
    ),
    (
        CLUSTER,
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
    ),
    (KEY,),
)
CMR_SHAPE: Final = Shape(
    CMR,
    2,
    "dateTimeStamp",
    ("dateTimeStamp",),
    (
        RECORD_TYPE,
        MANAGER,
        CALL,
        "callIdentifier",
        "dateTimeStamp",
        "numberPacketsSent",
        "numberPacketsReceived",
        "numberPacketsLost",
        "jitter",
        "latency",
    ),
    (CLUSTER, "directoryNum", "deviceName", RECEIVE_CODEC),
    (KEY, METRICS),
)
SHAPES: Final = {CDR: CDR_SHAPE, CMR: CMR_SHAPE}
SHORT: Final = ("duration", "lastRedirectRedirectReason", "lastRedirectRedirectOnBehalfOf", "joinOnBehalfOf")
"""Fields that the lake keeps in 32 bits; none of them is negative."""
MEMBERS: Final[Mapping[str, str]] = {
    "mlqk": "mos_lqk",
    "mlqkav": "mos_lqk_mean",
    "mlqkmn": "mos_lqk_min",
    "mlqkmx": "mos_lqk_max",
    "ccr": "concealment_ratio",
    "icrmx": "interval_concealment_max",
    "cs": "concealed_seconds",
    "scs": "severely_concealed_seconds",
    "maxjitter": "max_jitter_ms",
    "voonewaydelayms": "one_way_delay_ms",
    "vopktdis": "discarded",
}
"""Column of `phone_reports` for each member of varVQMetrics."""
GREATEST: Final[Mapping[str, float]] = {
    "mos_lqk": 5.0,
    "mos_lqk_mean": 5.0,
    "mos_lqk_min": 5.0,
    "mos_lqk_max": 5.0,
    "concealment_ratio": 1.0,
    "interval_concealment_max": 1.0,
}
"""The most that these can be; none is below 0. A MOS is 1 to 5 (ITU-T P.800), below where it was not measured."""
ZERO_IS_NONE: Final = ("mos_lqk", "mos_lqk_mean", "mos_lqk_min", "mos_lqk_max", "one_way_delay_ms")


def fnv(text: bytes) -> int:
    """FNV-1a 64 as a signed number."""
    key = 0xCBF29CE484222325
    for octet in text:
        key = ((key ^ octet) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return key - (1 << 64) if key >> 63 else key


def binder(shape: Shape) -> Callable[[tuple[str, ...]], Binding]:
    """Return what says where the columns of a file go."""
    fields = ["" if field == RECEIVE_CODEC else canonical(field) for field in shape.fields]

    @lru_cache(64)
    def bind(columns: tuple[str, ...]) -> Binding:
        names = [canonical(name) for name in columns]
        place = {name: column for column, name in enumerate(names) if name}
        wanted = np.array([place.get(field, -1) for field in fields], np.int64)
        allowed = np.zeros(WIDEST + 1, np.int64)
        if len(columns) <= WIDEST:
            allowed[len(columns)] = 1
        return Binding(wanted, allowed, names[:1] == [canonical(RECORD_TYPE)])

    return bind


def header_reader(shape: Shape) -> Callable[[bytes], tuple[str, ...] | str | None]:
    """Return what reads a line that starts with no number: names of columns, None for types, else a reason."""

    def header(line: bytes) -> tuple[str, ...] | str | None:
        cells = cells_of(line)
        if is_types(cells):
            return None
        if not is_names(cells):
            return f"not_a_number:{RECORD_TYPE}"
        try:
            return tuple(cells) if record_named(cells) == shape.record else "record_type"
        except LayoutError:
            return "unknown_columns"

    return header


class RowReader:
    """Makes columns of rows that were cut. One thread uses it, for kernels keep the arrays they saw last."""

    def __init__(self, shape: Shape, rejects: Rejects) -> None:
        self.shape = shape
        self._rejects = rejects
        self._slot = {field: slot for slot, field in enumerate(shape.fields)}
        self._members = np.array([fnv(name.encode()) for name in MEMBERS], np.int64)

    def batch(self, cut: Cut) -> pa.RecordBatch | None:
        """Return the rows that are kept, and reject the others; None where none is kept."""
        rows = cut.rows
        if not rows:
            self._reject(cut, cut.fault[:0])
            return None
        numbers = {field: self._numbers(cut, field) for field in self.shape.numbers}
        metrics = self._metrics(cut) if self.shape is CMR_SHAPE else {}
        beyond = np.zeros(rows, np.uint8)
        texts = {field: self._text(cut, field, beyond) for field in self.shape.texts}
        self._check_encoding(cut, beyond)
        self._check(cut, numbers, metrics)
        keys = np.empty(rows, np.int64)
        read_keys(cut.window, rows, self._slot[KEY], cut.starts, cut.ends, cut.begins, cut.finishes, keys)
        fault = cut.fault[:rows]
        seconds = numbers[self.shape.clock][0]
        self._reject(cut, fault)
        self._tally(cut, fault, seconds)
        columns = self._common(cut, keys, numbers, texts)
        columns |= _cdr(numbers, texts) if self.shape is CDR_SHAPE else _cmr(numbers, texts, metrics)
        batch = pa.RecordBatch.from_pydict(columns)
        if not fault.any():
            return batch
        kept = batch.filter(pa.array(fault == 0))
        return kept if kept.num_rows else None

    def _numbers(self, cut: Cut, field: str) -> tuple[Integers, Flags]:
        values, given = np.empty(cut.rows, np.int64), np.empty(cut.rows, np.uint8)
        read_numbers(cut.window, cut.rows, self._slot[field], cut.starts, cut.ends, values, given, cut.fault)
        return values, given.view(np.bool_)

    def _text(self, cut: Cut, field: str, beyond: npt.NDArray[np.uint8]) -> pa.Array:
        rows, slot = cut.rows, self._slot[field]
        lengths = cut.ends[slot, :rows] - cut.starts[slot, :rows]
        offsets = np.empty(rows + 1, np.int32)
        text = np.empty(max(int(lengths.sum()), 1), np.uint8)
        read_texts(cut.window, rows, slot, cut.starts, cut.ends, offsets, text, cut.fault, beyond)
        return pa.Array.from_buffers(pa.string(), rows, [_bits(lengths > 0), pa.py_buffer(offsets), pa.py_buffer(text)])

    def _metrics(self, cut: Cut) -> dict[str, npt.NDArray[np.float64]]:
        values = np.empty((len(MEMBERS), cut.rows), np.float64)
        read_metrics(
            cut.window,
            cut.rows,
            self._slot[METRICS],
            cut.starts,
            cut.ends,
            self._members,
            fnv(RECEIVE_CODEC.lower().encode()),
            values,
            self._slot[RECEIVE_CODEC],
        )
        return dict(zip(MEMBERS.values(), values, strict=True))

    def _check_encoding(self, cut: Cut, beyond: npt.NDArray[np.uint8]) -> None:
        """Only kept texts count: a name in another code page does not lose the call it stands in."""
        for row in np.flatnonzero(beyond).tolist():
            for field in self.shape.texts:
                slot = self._slot[field]
                text = cut.window[cut.starts[slot, row] : cut.ends[slot, row]].tobytes()
                try:
                    text.decode("utf-8")
                except UnicodeDecodeError:
                    if not cut.fault[row]:
                        cut.fault[row] = SLOT_FAULT * INVALID_ENCODING + slot

    def _check(
        self,
        cut: Cut,
        numbers: Mapping[str, tuple[Integers, Flags]],
        metrics: Mapping[str, npt.NDArray[np.float64]],
    ) -> None:
        """Find what is wrong with rows that could be cut; the first fault of a row counts."""
        fault = cut.fault[: cut.rows]

        def mark(wrong: Flags, code: int) -> None:
            fault[wrong & (fault == 0)] = code

        clock, has_clock = numbers[self.shape.clock]
        kind, _ = numbers[RECORD_TYPE]
        mark(kind != self.shape.code, OTHER_RECORD)
        mark(~numbers[CALL][1], NO_CALL_ID)
        mark(~has_clock | (clock == 0), NO_TIME)
        for field in self.shape.times:
            values = numbers[field][0]
            mark((values != 0) & ((values < EARLIEST) | (values >= LATEST)), TIME_OUT_OF_RANGE)
        for field in SHORT if self.shape is CDR_SHAPE else ():
            values = numbers[field][0]
            mark((values < 0) | (values > MOST), SLOT_FAULT * OUT_OF_RANGE + self._slot[field])
        for field in (MANAGER, CALL):
            values = numbers[field][0]
            mark((values < 0) | (values > MOST), SLOT_FAULT * OUT_OF_RANGE + self._slot[field])
        for name, greatest in GREATEST.items() if metrics else ():
            # Comparisons with NaN, which is no value, are false.
            wrong = (metrics[name] < 0) | (metrics[name] > greatest)
            mark(wrong, SLOT_FAULT * OUT_OF_RANGE + self._slot[METRICS])
        if self.shape is CDR_SHAPE:
            for wrong, code in _contradictions(numbers, self._slot["duration"]):
                mark(wrong, code)

    def _reject(self, cut: Cut, fault: Integers) -> None:
        """Say what was rejected, file by file and in order of lines."""
        if not cut.odd and not fault.any():
            return
        rejected: dict[int, list[tuple[Tally, int, str, bytes]]] = {}
        for tally, begin, end in cut.segments:
            for row in (np.flatnonzero(fault[begin:end]) + begin).tolist():
                one = (tally, int(cut.lines[row]), self._reason(int(fault[row])), cut.record(row))
                rejected.setdefault(tally.file.file_key, []).append(one)
        for one in cut.odd:
            one[0].rows += 1
            rejected.setdefault(one[0].file.file_key, []).append(one)
        for of_file in rejected.values():
            for tally, line, reason, record in sorted(of_file, key=lambda one: one[1]):
                self._rejects.add(tally.file, line, reason, record)

    def _tally(self, cut: Cut, fault: Integers, seconds: Integers) -> None:
        for tally, begin, end in cut.segments:
            tally.rows += end - begin
            times = seconds[begin:end]
            wrong = fault[begin:end] != 0
            if wrong.any():
                times = times[~wrong]
            if times.size:
                tally.see(times.size, int(times.min()) * MILLION, int(times.max()) * MILLION)

    def _reason(self, fault: int) -> str:
        kind, slot = divmod(fault, SLOT_FAULT)
        return f"{SLOT_REASONS[kind]}:{self.shape.fields[slot]}" if kind else LINE_REASONS[fault]

    def _common(
        self,
        cut: Cut,
        keys: Integers,
        numbers: Mapping[str, tuple[Integers, Flags]],
        texts: Mapping[str, pa.Array],
    ) -> dict[str, pa.Array]:
        clock = numbers[self.shape.clock][0]
        # A copy, for the arrays of the cut are used again while Arrow holds the column.
        lines = cut.lines[: cut.rows].astype(np.int32)
        files = np.repeat(
            np.array([tally.file.file_key for tally, _, _ in cut.segments], np.int64),
            np.array([end - begin for _, begin, end in cut.segments], np.int64),
        )
        return {
            "day": _fixed(pa.date32(), (clock // DAY).astype(np.int32)),
            "source": pa.repeat("cucm", cut.rows),
            "system": texts[CLUSTER].fill_null(""),
            "file_key": _fixed(pa.int64(), files),
            "line": _fixed(pa.int32(), lines),
            "row_key": _fixed(pa.int64(), keys),
            "call_ref": _fixed(pa.int64(), (numbers[MANAGER][0] << 32) | numbers[CALL][0]),
        }


def _contradictions(numbers: Mapping[str, tuple[Integers, Flags]], duration_slot: int) -> Iterator[tuple[Flags, int]]:
    """Times and lengths that no call can have, with their faults; a time of 0 is none."""
    begin, connect, end = (numbers[field][0] for field in CDR_SHAPE.times)
    duration, has_duration = numbers["duration"]
    is_answered, has_end, says_connect = connect != 0, end != 0, numbers["dateTimeConnect"][1]
    yield is_answered & (connect < begin - TOLERANCE), CONNECT_BEFORE_ORIGINATION
    yield has_end & (end < begin - TOLERANCE), DISCONNECT_BEFORE_ORIGINATION
    yield is_answered & has_end & (end < connect - TOLERANCE), DISCONNECT_BEFORE_CONNECT
    talk = np.where(is_answered, end - connect, 0)
    is_known = has_duration & says_connect & (has_end | ~is_answered)
    yield is_known & (duration > talk + TOLERANCE), DURATION_EXCEEDS_TIMES
    yield is_known & (duration < talk - TOLERANCE), DURATION_SHORT_OF_TIMES
    yield (connect > begin + LONGEST) | (end > begin + LONGEST), TIME_OUT_OF_RANGE
    yield duration > LONGEST, SLOT_FAULT * OUT_OF_RANGE + duration_slot


def _cdr(numbers: Mapping[str, tuple[Integers, Flags]], texts: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    connect, disconnect = numbers["dateTimeConnect"][0], numbers["dateTimeDisconnect"][0]
    duration, has_duration = numbers["duration"]
    counted = np.where((connect > 0) & (disconnect > connect), disconnect - connect, 0)
    seconds = np.where(has_duration, duration, np.minimum(counted, MOST))
    waited, says_wait = numbers["totalWaitTimeInQueue"]
    queued = says_wait & ((numbers["wasCallQueued"][0] == 1) | (waited > 0))
    return {
        "orig_leg": _fixed(pa.int64(), numbers["origLegCallIdentifier"][0]),
        "dest_leg": _fixed(pa.int64(), numbers["destLegIdentifier"][0]),
        "origination": _time(numbers["dateTimeOrigination"][0]),
        "connect": _time(connect, connect != 0),
        "disconnect": _time(disconnect, disconnect != 0),
        "seconds": _fixed(pa.int32(), seconds.astype(np.int32)),
        "calling": texts["callingPartyNumber"],
        "calling_partition": texts["callingPartyNumberPartition"],
        "original_called": texts["originalCalledPartyNumber"],
        "called": texts["finalCalledPartyNumber"],
        "called_partition": texts["finalCalledPartyNumberPartition"],
        "outpulsed_called": texts["outpulsedCalledPartyNumber"],
        "last_redirect": texts["lastRedirectDn"],
        "hunt_pilot": texts["huntPilotDN"],
        "orig_device": texts["origDeviceName"],
        "dest_device": texts["destDeviceName"],
        "orig_ip": _address(texts["origIpv4v6Addr"], numbers["origIpAddr"][0]),
        "dest_ip": _address(texts["destIpv4v6Addr"], numbers["destIpAddr"][0]),
        "orig_cause": _cause(numbers["origCause_value"]),
        "dest_cause": _cause(numbers["destCause_value"]),
        "redirect_reason": _short(numbers["lastRedirectRedirectReason"]),
        "redirect_behalf": _short(numbers["lastRedirectRedirectOnBehalfOf"]),
        "join_behalf": _short(numbers["joinOnBehalfOf"]),
        "orig_conversation": _given(numbers["origConversationId"]),
        "dest_conversation": _given(numbers["destConversationId"]),
        "queue_seconds": _fixed(pa.int32(), np.clip(waited, 0, MOST).astype(np.int32), queued),
        "codec": _codec(numbers["origMediaCap_payloadCapability"][0]),
    }


def _cmr(
    numbers: Mapping[str, tuple[Integers, Flags]],
    texts: Mapping[str, pa.Array],
    metrics: Mapping[str, npt.NDArray[np.float64]],
) -> dict[str, pa.Array]:
    columns = {
        "leg": _fixed(pa.int64(), numbers["callIdentifier"][0]),
        "reported": _time(numbers["dateTimeStamp"][0]),
        "device": texts["deviceName"],
        "directory_number": texts["directoryNum"],
        "packets_sent": _given(numbers["numberPacketsSent"]),
        "packets_received": _given(numbers["numberPacketsReceived"]),
        "packets_lost": _given(numbers["numberPacketsLost"]),
        "jitter_ms": _double(*numbers["jitter"]),
        "latency_ms": _double(*numbers["latency"]),
        "codec": texts[RECEIVE_CODEC],
    }
    for name, values in metrics.items():
        is_value = ~np.isnan(values)
        if name in ZERO_IS_NONE:
            is_value &= values != 0
        if name == "discarded":
            is_value &= np.abs(values) < 2.0**53
            columns[name] = _fixed(pa.int64(), np.where(is_value, values, 0).astype(np.int64), is_value)
        else:
            columns[name] = _double(values, is_value)
    return columns


def _bits(given: Flags) -> pa.Buffer | None:
    """Arrow's validity bitmap; None where every value is given."""
    return None if given.all() else pa.py_buffer(np.packbits(given, bitorder="little"))


def _fixed(kind: pa.DataType, values: npt.NDArray[np.generic], given: Flags | None = None) -> pa.Array:
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None if given is None else _bits(given), pa.py_buffer(values)])


def _time(seconds: Integers, given: Flags | None = None) -> pa.Array:
    return _fixed(pa.timestamp("us", tz="UTC"), seconds * MILLION, given)


def _given(number: tuple[Integers, Flags]) -> pa.Array:
    return _fixed(pa.int64(), *number)


def _short(number: tuple[Integers, Flags]) -> pa.Array:
    return _fixed(pa.int32(), number[0].astype(np.int32), number[1])


def _double(values: npt.NDArray[np.generic], given: Flags) -> pa.Array:
    return _fixed(pa.float64(), values.astype(np.float64), given)


def _cause(number: tuple[Integers, Flags]) -> pa.Array:
    """Causes are unsigned 32-bit numbers, which some exports write as signed ones."""
    values, given = number
    return _fixed(pa.int64(), np.where(values < 0, values + (1 << 32), values), given)


def address(number: int) -> str:
    """Read a signed 32-bit number as an IPv4 address, least octet first (the guide's "IP addresses")."""
    return ".".join(str(number >> shift & 255) for shift in (0, 8, 16, 24))


def _address(texts: pa.Array, numbers: Integers) -> pa.Array:
    """The address as text where there is one, else the number's; 0 is none."""
    by_number = texts.is_null().to_numpy(zero_copy_only=False) & (numbers != 0)
    if not by_number.any():
        return texts
    distinct, places = np.unique(np.where(by_number, numbers, 0), return_inverse=True)
    words = pa.array([address(int(number)) for number in distinct], pa.string())
    return pc.if_else(pa.array(by_number), words.take(pa.array(places)), texts)


def _codec(capability: Integers) -> pa.Array:
    """Name the codecs; one without a name here is given by its number, 0 is none."""
    codes, places = np.unique(capability, return_inverse=True)
    names = [CODECS.get(int(code), f"payloadCapability {code}") if code else None for code in codes]
    return pa.array(names, pa.string()).take(pa.array(places))
