"""Who says what of a call: packets, records and telephones side by side, where they disagree, and the likely reason.

They measure at different places with different clocks, and define the same word differently; a difference within the
tolerance given here is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from analytics.questions.calls import CallRow
from analytics.questions.records import RecordRow, ReportRow, host
from analytics.questions.streams import StreamRow

CLOCK_S: Final = 2.0
"""Begins further apart are told: records have whole seconds [s]."""
TALK_S: Final = 2.0
"""Talk times further apart are told: two whole seconds may be cut off [s]."""
PACKETS: Final = 0.005
"""Share of packets by which counts may differ: the last ones of a call are under way."""
FEW_PACKETS: Final = 10
LOSS_POINTS: Final = 0.5
JITTER_MS: Final = 5.0
MOS_POINTS: Final = 0.5
CAUSES: Final[Mapping[int, frozenset[int]]] = MappingProxyType(
    {
        404: frozenset({1, 2, 3}),
        403: frozenset({21, 55, 57, 87}),
        408: frozenset({18, 102}),
        410: frozenset({22}),
        480: frozenset({18, 19, 20, 31}),
        484: frozenset({28}),
        486: frozenset({17}),
        487: frozenset({16, 19, 31}),
        488: frozenset({65, 70, 79, 88}),
        500: frozenset({41}),
        502: frozenset({27, 38}),
        503: frozenset({27, 34, 38, 41, 42, 44, 47, 58, 63}),
        504: frozenset({102}),
        600: frozenset({17}),
        603: frozenset({21}),
    }
)
"""Q.850 causes that go with a final status (RFC 3398 7.2.4.1 and 8.2.6.1, and what systems write)."""
NORMAL: Final = frozenset({0, 16, 31})


class Saying(NamedTuple):
    """What one of them says."""

    who: str
    """packets, or the source of a record or report with its device."""
    evidence: str
    """measured or reported."""
    value: float | str


class Comparison(NamedTuple):
    """One thing that at least two of them speak of."""

    what: str
    unit: str
    about: str
    """The call, or a stream's key."""
    said: tuple[Saying, ...]
    differs: bool
    why: str
    """The likely reason of a difference; empty where there is none."""


def compared(
    call: CallRow, streams: Sequence[StreamRow], records: Sequence[RecordRow], reports: Sequence[ReportRow]
) -> tuple[Comparison, ...]:
    """Return all that can be compared, of the call first and then stream by stream."""
    found = list(_call(call, records)) if records else []
    for stream in streams:
        heard = [one for one in reports if receiver(one, call, records) == host(stream.to_address)]
        found += _stream(stream, heard)
    return tuple(found)


def receiver(report: ReportRow, call: CallRow, records: Sequence[RecordRow]) -> str | None:
    """Return the address of the device whose reception a report speaks of; None where that cannot be told."""
    told = report.remote_address if report.side == "remote" else report.local_address
    if told is not None:
        return host(told)
    for record in records:
        if report.leg and report.call_ref == record.call_ref:
            if report.leg == record.orig_leg:
                return record.orig_ip or host(call.from_address)
            if report.leg == record.dest_leg:
                return record.dest_ip or host(call.to_address)
    return report.device if report.source == "rtp-stat" else None


def _packets(value: float | str) -> Saying:
    return Saying("packets", "measured", value)


def _call(call: CallRow, records: Sequence[RecordRow]) -> list[Comparison]:
    first = records[0]
    who = f"{first.source} record"
    talk = sum(one.seconds for one in records)
    apart = (first.origination - call.start).total_seconds()
    clock = _clock(call, first, apart)
    found = [
        Comparison(
            "begin",
            "time",
            "call",
            (_packets(_time(call.start)), Saying(who, "reported", _time(first.origination))),
            abs(apart) > CLOCK_S,
            clock if abs(apart) > CLOCK_S else "",
        )
    ]
    answered = any(one.connect is not None and one.seconds > 0 for one in records)
    packets_say = call.answer is not None
    why = ""
    if answered != packets_say:
        why = (
            "the answer passed no tap: another leg of the call was answered"
            if answered
            else "a call of less than a second has 0 in its record, or the record is of a leg that nobody took"
        )
    words = {True: "answered", False: "not answered"}
    found.append(
        Comparison(
            "answer",
            "",
            "call",
            (_packets(words[packets_say]), Saying(who, "reported", words[answered])),
            answered != packets_say,
            why,
        )
    )
    if call.seconds is not None:
        differs = abs(talk - call.seconds) > TALK_S
        said = (_packets(call.seconds), Saying(who, "reported", float(talk)))
        found.append(Comparison("talk time", "s", "call", said, differs, _talk(call, records, talk) if differs else ""))
    cause = next((one for record in records for one in (record.orig_cause, record.dest_cause) if one), None)
    if cause is not None and call.status is not None:
        found.append(_ending(call, who, cause))
    return found


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clock(call: CallRow, record: RecordRow, apart: float) -> str:
    later = "later" if apart > 0 else "earlier"
    if record.connect is not None and call.answer is not None:
        answers = (record.connect - call.answer).total_seconds()
        if abs(answers - apart) <= CLOCK_S:
            return f"the record's clock is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}: its answer is, too"
        return f"the record begins {abs(apart):.0f} s {later}, with the handset lifted and digits still to dial"
    return f"the record begins {abs(apart):.0f} s {later}: clocks differ, or digits were still to dial"


def _talk(call: CallRow, records: Sequence[RecordRow], talk: int) -> str:
    if call.end is None or call.state == "in progress":
        return "the packets end before the call does"
    if len(records) > 1:
        return f"the call has {len(records)} records: what was said after a transfer passed no tap, or counts twice"
    hold = records[0].hold_seconds
    if talk < (call.seconds or 0) and hold:
        return f"the record leaves {hold} s on hold out"
    if talk > (call.seconds or 0):
        return "the record goes on: packets of the end were lost at the tap, or a party was moved to another leg"
    return "the record ends sooner: the far leg was cleared before the near one"


def _ending(call: CallRow, who: str, cause: int) -> Comparison:
    status = call.status or 0
    said = (_packets(f"SIP {status}"), Saying(who, "reported", f"Q.850 cause {cause & 127}"))
    # CUCM has causes of its own above 127, for normal ends of transfers and conferences.
    expected = NORMAL if status < 300 else CAUSES.get(status, frozenset())
    differs = cause < 128 and bool(expected) and cause not in expected
    why = ""
    if differs and status < 300:
        why = "the call was cut off after it was answered: the record names the failure, the answer went through"
    elif differs:
        why = "each names the end of its own leg: a gateway translates causes, or the call went on elsewhere"
    return Comparison("end", "", "call", said, differs, why)


def _stream(stream: StreamRow, reports: Sequence[ReportRow]) -> list[Comparison]:
    whole = [one for one in reports if one.kind not in ("interval", "alert")] or list(reports)
    if not whole:
        return []
    codecs = [(one, _codec(one.codec)) for one in whole if one.codec]
    found = []
    if stream.codec and codecs:
        differs = any(codec != _codec(stream.codec) for _, codec in codecs)
        said = (_packets(stream.codec), *(Saying(_who(one), "reported", one.codec or "") for one, _ in codecs))
        why = "the codec changed during the call, or the report is of the other direction" if differs else ""
        found.append(Comparison("codec", "", stream.key, said, differs, why))
    for what, unit, measured, told, limit in (
        (
            "packets received",
            "packets",
            stream.packets,
            "packets_received",
            max(FEW_PACKETS, PACKETS * stream.expected),
        ),
        ("packets lost", "packets", stream.lost, "packets_lost", max(FEW_PACKETS, PACKETS * stream.expected)),
        ("loss", "%", stream.loss_percent, "loss_percent", LOSS_POINTS),
        ("jitter", "ms", stream.jitter_ms, "jitter_ms", JITTER_MS),
    ):
        values = [(one, getattr(one, told)) for one in whole if getattr(one, told) is not None]
        if measured is None or not values:
            continue
        said = (_packets(float(measured)), *(Saying(_who(one), "reported", float(value)) for one, value in values))
        far = max((value - measured for _, value in values), key=abs)
        differs = abs(far) > limit
        why = _reason(what, far, stream) if differs else ""
        found.append(Comparison(what, unit, stream.key, said, differs, why))
    return [*found, *_quality(stream, whole)]


def _quality(stream: StreamRow, reports: Sequence[ReportRow]) -> list[Comparison]:
    values: list[tuple[str, float, bool]] = []
    for one in reports:
        for name, value in (
            ("MOSCQ", one.mos_cq),
            ("MOSLQ", one.mos_lq),
            ("MLQKav", one.mos_lqk_mean),
            ("MLQK", one.mos_lqk),
        ):
            if value is not None:
                values.append((f"{_who(one)} {name}", value, name.startswith("MLQK")))
                break
    if stream.mos is None or not values:
        return []
    far = max((value - stream.mos for _, value, _ in values), key=abs)
    differs = abs(far) > MOS_POINTS
    why = ""
    if differs and any(concealed for _, _, concealed in values):
        why = "MLQK rates how much was concealed and knows no delay; MLQK alone is of the last 8 s"
    elif differs and far < 0:
        why = "the telephone lost or threw away what had still passed the tap"
    elif differs:
        why = "listening quality leaves delay out, and the loss that the tap saw may be the tap's own"
    said = (_packets(stream.mos), *(Saying(who, "reported", value) for who, value, _ in values))
    return [Comparison("MOS", "MOS", stream.key, said, differs, why)]


def _reason(what: str, far: float, stream: StreamRow) -> str:
    if what == "jitter":
        if far > 0:
            return "it grows behind the tap, on the way to the telephone"
        return "the telephone tells its jitter at the end of the call, smoothed over the last packets"
    if what == "packets received":
        if far < 0:
            return "packets that passed the tap did not arrive, or the report covers a part of the stream"
        return "the tap missed packets that arrived: it began later, or dropped them (see its capture health)"
    if far > 0:
        return "they were lost behind the tap, on the way to the telephone"
    if stream.lost > 0:
        return "the tap missed packets that arrived: look at its capture health"
    return "telephones count late packets as received, also where packets came twice"


def _who(report: ReportRow) -> str:
    named = {"cucm": "CMR", "vq-rtcpxr": "RFC 6035", "rtp-stat": "BYE", "rtcp": "RTCP", "hep-report": "HEP"}
    side = " (told by the far end)" if report.side == "remote" else ""
    name = named.get(report.source, report.source)
    return f"{name} {report.device}{side}" if report.device else f"{name}{side}"


_SAME: Final[Mapping[str, str]] = MappingProxyType(
    {"g711a": "pcma", "g711alaw": "pcma", "alaw": "pcma", "g711u": "pcmu", "g711ulaw": "pcmu", "ulaw": "pcmu",
     "g711mulaw": "pcmu", "g729a": "g729", "g729ab": "g729", "g729annexa": "g729",
     "g72264k": "g722"}
)  # fmt: skip


def _codec(name: str | None) -> str:
    plain = (name or "").casefold().replace(".", "").replace("-", "").replace("_", "").replace("/8000", "")
    return _SAME.get(plain, plain)
