"""The JSON report: a contract, described by `api/schema/replay.schema.json` and docs/output.md.

Every object that may hold a null says why in `null_reasons`. Times are epoch seconds with microseconds, shares are
percent, durations milliseconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from api import __version__
from api.masking import MASKED_DIGIT
from api.rated import Quality, Rated, RatedCall, RatedStream
from collector.facts import (
    Bin,
    Call,
    CaptureFacts,
    CodecFormat,
    Endpoint,
    FarEnd,
    Finding,
    Leg,
    MissingRun,
    NegotiatedMedia,
    Reason,
    SipTotals,
    Spread,
    Stream,
    TelephoneEvent,
)

Json = dict[str, object]
REPORT_VERSION = 1
"""Grows when a field changes its meaning or goes; new fields do not change it."""
DECIMALS = 6


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None:
        """Take more."""


class Selection(NamedTuple):
    """What was left out of `calls` and `streams`, and whether people are named."""

    filter: str | None = None
    call: str | None = None
    masked: bool = True


def render_json(rated: Rated, selection: Selection) -> str:
    """The report as JSON text with its digest, each call and each stream on a line of its own."""
    return "".join(json_chunks(rated, selection))


def json_chunks(rated: Rated, selection: Selection) -> Iterator[str]:
    """The report's text in pieces, one for a call or stream: a large report is never held as a whole.

    The digest is the SHA-256 of the canonical JSON (without `digest`, keys sorted, no white space, ASCII), taken on the
    way: calls come before streams in both orders, and all else is small.
    """
    replay = rated.replay
    head: Json = {
        "callgauge": {"version": __version__, "report": REPORT_VERSION},
        "selection": selection_object(selection),
        "capture": capture_object(replay.capture),
        "sip": sip_object(replay.sip),
    }
    tail: Json = {"unlisted_streams": replay.unlisted_streams, "notes": findings(replay.notes)}
    small = {key: canonical(value) for key, value in (head | tail).items()}
    digest = hashlib.sha256(b'{"callgauge":' + small["callgauge"] + b',"calls":')
    yield "{\n" + "".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n" for key, value in head.items())
    yield from list_chunks("calls", (call_object(call) for call in rated.calls), digest)
    for key in ("capture", "notes", "selection", "sip"):
        digest.update(f',"{key}":'.encode() + small[key])
    digest.update(b',"streams":')
    yield from list_chunks("streams", (stream_object(stream) for stream in rated.streams), digest)
    digest.update(b',"unlisted_streams":' + small["unlisted_streams"] + b"}")
    yield "".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n" for key, value in tail.items())
    yield f'"digest": "{digest.hexdigest()}"\n}}\n'


def list_chunks(key: str, objects: Iterable[Json], digest: Digest) -> Iterator[str]:
    """A list with a line for each object (the standard library indents ten times slower), taken into the digest."""
    digest.update(b"[")
    yield f'"{key}": ['
    between = ""
    for each in objects:
        digest.update(between.encode() + canonical(each))
        yield f"{between}\n{json.dumps(each, allow_nan=False)}"
        between = ","
    digest.update(b"]")
    yield f"{between and chr(10)}],\n"


def canonical(value: object) -> bytes:
    """A value as the digest takes it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def explained(values: Json, reasons: Mapping[str, str]) -> Json:
    """An object with the reason of each of its nulls beside it."""
    why = {key: reasons.get(key, "not a finite number") for key, value in values.items() if value is None}
    return {**values, "null_reasons": why}


def seconds(nanoseconds: int | None) -> float | None:
    """Epoch seconds from nanoseconds, rounded half up to the microsecond.

    A double holds every microsecond until the year 2255, and the division is correctly rounded: no drift.
    """
    return None if nanoseconds is None else ((nanoseconds + 500) // 1000) / 1_000_000


def number(value: float | None) -> float | None:
    """A measure with its noise digits cut."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return round(value, DECIMALS) + 0.0


def selection_object(selection: Selection) -> Json:
    """What the reader asked for."""
    return explained(
        {"filter": selection.filter, "call": selection.call, "numbers_masked": selection.masked},
        {"filter": "no filter asked for", "call": "all calls asked for"},
    )


def counts(values: Mapping[str, int]) -> dict[str, int]:
    """Counters in the order of their names."""
    return {str(key): values[key] for key in sorted(values)}


def capture_object(capture: CaptureFacts) -> Json:
    """Where the facts come from."""
    return explained(
        {
            # Base names: the digest must not depend on the folder.
            "files": [Path(name).name for name in capture.files],
            "packets": capture.packets,
            "first": seconds(capture.first),
            "last": seconds(capture.last),
            "link_types": list(capture.link_types),
            "interfaces": capture.interfaces,
            "dropped": capture.dropped,
            "defects": counts(capture.defects),
            "stopped": capture.stopped,
        },
        {
            "first": "no packets",
            "last": "no packets",
            "dropped": "the capture does not say",
            "stopped": "all of the input was read",
        },
    )


RATIOS = ("asr_percent", "ner_percent", "ser_percent", "seer_percent", "isa_percent", "scr_percent")
DELAYS: Mapping[str, str] = {
    "registration_request_delay_ms": "no registration seen to succeed",
    "ineffective_registration_percent": "no registration attempts",
    "session_request_delay_ms": "no attempt seen to reach a ringing indication",
    "failed_session_request_delay_ms": "no failed attempt",
    "session_disconnect_delay_ms": "no BYE seen with its answer",
    "session_duration_ms": "no session seen from answer to end",
}


def sip_object(sip: SipTotals) -> Json:
    """All SIP, counted."""
    metrics = sip.metrics
    values: Json = {"attempts": metrics.attempts, "answered": metrics.answered, "completed": metrics.completed}
    for name in (*RATIOS, *DELAYS):
        values[name] = number(getattr(metrics, name))
    nothing = "no session attempts" if metrics.attempts == 0 else "nothing left to divide by"
    return {
        "messages": sip.messages,
        "copies": sip.copies,
        "retransmissions": sip.retransmissions,
        "call_ids": sip.call_ids,
        "methods": counts(sip.methods),
        "responses": counts(sip.responses),
        "transactions": counts(sip.transactions),
        "defects": counts(sip.defects),
        "metrics": explained(values, {**dict.fromkeys(RATIOS, nothing), **DELAYS}),
        "unlisted": sip.unlisted,
    }


def endpoint(side: Endpoint) -> Json:
    """An address and its port."""
    return {"ip": side.ip, "port": side.port}


def findings(values: Iterable[Finding]) -> list[Json]:
    """Findings; here a null means that the field does not apply."""
    return [
        {"code": value.code, "text": value.text, "packets": value.packets, "at": seconds(value.at)} for value in values
    ]


def reason_object(reason: Reason | None) -> Json | None:
    """A Reason header value."""
    if reason is None:
        return None
    return explained(
        {"protocol": reason.protocol, "cause": reason.cause, "text": reason.text}, {"cause": "the header has none"}
    )


def call_object(rated: RatedCall) -> Json:
    """One call with its legs; its streams name it by `call_id`."""
    call = rated.call
    return explained(
        {
            "call_id": call.call_id,
            "state": call.state.value,
            "status": call.status,
            "status_text": call.status_text,
            "reason": reason_object(call.reason),
            "from_uri": call.from_uri,
            "to_uri": call.to_uri,
            "start": seconds(call.start),
            "answered": seconds(call.answered),
            "end": seconds(call.end),
            "post_dial_delay_ms": number(call.post_dial_delay_ms),
            "setup_ms": number(call.setup_ms),
            "duration_ms": number(call.duration_ms),
            "hung_up_by": call.hung_up_by,
            "mos": number(rated.mos),
            "streams": len(rated.streams),
            "joined_by": list(call.joined_by),
            "legs": [leg_object(leg) for leg in call.legs],
            "findings": findings(call.findings),
        },
        {**CALL_REASONS, "duration_ms": why_no_duration(call), "mos": rated.mos_reason or "not rated"},
    )


CALL_REASONS: Mapping[str, str] = {
    "status": "no final response seen",
    "status_text": "no final response seen",
    "reason": "no Reason header seen",
    "answered": "not seen to be answered",
    "end": "not seen to end",
    "post_dial_delay_ms": "no ringing indication or final response seen",
    "setup_ms": "not seen to be answered",
    "hung_up_by": "no BYE seen",
}
LEG_REASONS: Mapping[str, str] = {
    **CALL_REASONS,
    "ringing": "no ringing indication seen",
    "session_id": "no Session-ID header seen",
    "transferred_to": "not transferred",
    "replaces": "replaces no other dialog",
}


def why_no_duration(call: Call) -> str:
    """Why a call has no duration."""
    return "not seen to be answered" if call.answered is None else "not seen to end"


def leg_object(leg: Leg) -> Json:
    """One Call-ID."""
    return explained(
        {
            "call_id": leg.call_id,
            "src": endpoint(leg.src),
            "dst": endpoint(leg.dst),
            "transport": leg.transport,
            "from_uri": leg.from_uri,
            "to_uri": leg.to_uri,
            "request_uri": leg.request_uri,
            "state": leg.state.value,
            "status": leg.status,
            "status_text": leg.status_text,
            "reason": reason_object(leg.reason),
            "start": seconds(leg.start),
            "ringing": seconds(leg.ringing),
            "answered": seconds(leg.answered),
            "end": seconds(leg.end),
            "hung_up_by": leg.hung_up_by,
            "session_id": leg.session_id,
            "invites": leg.invites,
            "retransmissions": leg.retransmissions,
            "forks": leg.forks,
            "messages": leg.messages,
            "media": [media_object(media) for media in leg.media],
            "spans": [
                explained(
                    {"start": seconds(span.start), "end": seconds(span.end), "what": span.what},
                    {"end": "not seen to end"},
                )
                for span in leg.spans
            ],
            "transferred_to": leg.transferred_to,
            "replaces": leg.replaces,
            "defects": counts(leg.defects),
            "findings": findings(leg.findings),
        },
        LEG_REASONS,
    )


def media_object(media: NegotiatedMedia) -> Json:
    """One media line."""
    return explained(
        {
            "role": media.role,
            "kind": media.kind,
            "protocol": media.protocol,
            "endpoint": endpoint(media.endpoint),
            "rtcp": None if media.rtcp is None else endpoint(media.rtcp),
            "formats": [format_object(payload_type, media.formats[payload_type]) for payload_type in media.formats],
            "ptime_ms": number(media.ptime_ms),
            "direction": media.direction,
            "since": seconds(media.since),
            "until": seconds(media.until),
        },
        {"rtcp": "no RTCP for this medium", "ptime_ms": "SDP names none", "until": "held until the end"},
    )


def format_object(payload_type: int, codec: CodecFormat) -> Json:
    """One payload format."""
    return {
        "payload_type": payload_type,
        "name": codec.name,
        "clock_rate": codec.clock_rate,
        "channels": codec.channels,
        "fmtp": codec.fmtp,
    }


def stream_object(rated: RatedStream) -> Json:
    """One RTP stream with everything measured of it."""
    stream, quality = rated
    return explained({**identity(stream), **measures(stream), **rating(quality), **story(stream)}, reasons(rated))


def identity(stream: Stream) -> Json:
    """Which stream it is."""
    return {
        "src": stream.src.ip,
        "src_port": stream.src.port,
        "dst": stream.dst.ip,
        "dst_port": stream.dst.port,
        "ssrc": f"0x{stream.ssrc:08X}",
        "payload_types": list(stream.payload_types),
        "codec": stream.codec,
        "clock_rate": stream.clock_rate,
        "clock_rate_source": stream.clock_rate_source,
        "ptime_ms": number(stream.ptime_ms),
        "encrypted": stream.encrypted,
        "call_id": stream.call_id,
        "first": seconds(stream.first),
        "last": seconds(stream.last),
    }


def measures(stream: Stream) -> Json:
    """Counts and times."""
    jitter, burst_gap = stream.jitter_ms, stream.burst_gap
    return {
        "packets": stream.packets,
        "octets": stream.octets,
        "expected": stream.expected,
        "lost": stream.lost,
        "loss_percent": number(stream.loss_percent),
        "duplicates": stream.duplicates,
        "mirror_copies": stream.mirror_copies,
        "reordered": stream.reordered,
        "jitter_ms": None
        if jitter is None
        else {"mean": number(jitter.mean), "max": number(jitter.max), "last": number(jitter.last)},
        "ipdv_ms": spread(stream.ipdv_ms),
        "pdv_ms": spread(stream.pdv_ms),
        "mean_delta_ms": number(stream.mean_delta_ms),
        "max_delta_ms": number(stream.max_delta_ms),
        "clock_drift_ppm": number(stream.clock_drift_ppm),
        "burst_gap": None
        if burst_gap is None
        else {
            name: number(value) if isinstance(value, float) else value for name, value in burst_gap._asdict().items()
        },
        "burst_ratio": number(stream.burst_ratio),
        "loss_runs": bins(stream.loss_runs),
        "delay_histogram": bins(stream.delay_histogram),
    }


def rating(quality: Quality) -> Json:
    """How it sounds."""
    return {
        "mos": number(quality.mos),
        "r_factor": number(quality.r_factor),
        "mos_model": quality.model,
        "mos_command": quality.command,
        "mos_notes": list(quality.notes),
        "evidence": quality.evidence,
    }


def story(stream: Stream) -> Json:
    """What happened on the way."""
    return {
        "dscp": {str(dscp): stream.dscp[dscp] for dscp in sorted(stream.dscp)},
        "codec_changes": [
            {"at": seconds(change.at), "old": change.old, "new": change.new} for change in stream.codec_changes
        ],
        "comfort_noise_packets": stream.comfort_noise_packets,
        "talk_spurts": stream.talk_spurts,
        "telephone_events": [event_object(event) for event in stream.telephone_events],
        "missing_runs": [missing_object(run) for run in stream.missing],
        "missing_total": stream.missing_total,
        "not_network": counts(stream.not_network),
        "far_end": far_end_object(stream.far_end),
        "placement": stream.placement._asdict(),
        "segments": stream.segments,
        "findings": findings(stream.findings),
    }


def reasons(rated: RatedStream) -> Mapping[str, str]:
    """Why each field of a stream may be null."""
    stream, quality = rated
    untimed = "clock rate unknown" if stream.clock_rate is None else "too few packets"
    unnamed = "payload type not named by SDP or RFC 3551"
    unrated = quality.reason or "not rated"
    lossless = "no loss" if stream.lost == 0 else "too few packets"
    return {
        "codec": unnamed,
        "clock_rate": unnamed,
        "clock_rate_source": unnamed,
        "ptime_ms": "not in SDP and not constant in the packets",
        "call_id": "no signalling seen for it",
        "loss_percent": "no packets expected",
        **dict.fromkeys(("jitter_ms", "ipdv_ms", "pdv_ms", "clock_drift_ppm"), untimed),
        **dict.fromkeys(("mean_delta_ms", "max_delta_ms"), "too few packets"),
        **dict.fromkeys(("burst_gap", "burst_ratio"), lossless),
        **dict.fromkeys(("mos", "r_factor", "mos_model", "mos_command"), unrated),
        "far_end": "no RTCP seen for it",
    }


def spread(value: Spread | None) -> Json | None:
    """A distribution."""
    return None if value is None else {name: number(part) for name, part in value._asdict().items()}


def bins(values: Iterable[Bin]) -> list[Json]:
    """A histogram; `high` null is an open class."""
    return [{"low": value.low, "high": value.high, "count": value.count} for value in values]


def event_object(event: TelephoneEvent) -> Json:
    """One telephone-event, its digit null when masked."""
    return explained(
        {
            "at": seconds(event.at),
            "event": None if event.event == MASKED_DIGIT else event.event,
            "duration_ms": number(event.duration_ms),
            "volume_dbm0": event.volume_dbm0,
            "packets": event.packets,
            "ended": event.ended,
        },
        {"event": "masked"},
    )


def missing_object(run: MissingRun) -> Json:
    """One run of missing packets."""
    return {
        "at": seconds(run.at),
        "packets": run.packets,
        "duration_ms": number(run.duration_ms),
        "cause": run.cause,
    }


def far_end_object(far_end: FarEnd | None) -> Json | None:
    """What RTCP says."""
    if far_end is None:
        return None
    no_report, no_trip = "no report block seen", "no report that refers to a sender report seen"
    xr = far_end.xr
    return explained(
        {
            "evidence": "reported",
            "reports": far_end.reports,
            "fraction_lost_max": number(far_end.fraction_lost_max),
            "cumulative_lost": far_end.cumulative_lost,
            "jitter_ms_max": number(far_end.jitter_ms_max),
            "jitter_ms_last": number(far_end.jitter_ms_last),
            "round_trip_ms": number(far_end.round_trip_ms),
            "round_trip_basis": far_end.round_trip_basis,
            "xr": None
            if xr is None
            else explained({name: xr[name] for name in sorted(xr)}, dict.fromkeys(xr, "the device says unavailable")),
            "cname": far_end.cname,
            "bye": far_end.bye,
        },
        {
            **dict.fromkeys(("fraction_lost_max", "cumulative_lost", "jitter_ms_max", "jitter_ms_last"), no_report),
            **dict.fromkeys(("round_trip_ms", "round_trip_basis"), no_trip),
            "xr": "no VoIP metrics block seen",
            "cname": "no SDES seen",
        },
    )
