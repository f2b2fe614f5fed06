"""What is worth saying about a stream or a call, in words; every code is listed here once, with its meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from collector.facts import Call, CallState, Endpoint, Finding, NegotiatedMedia
from collector.media.missing import Run
from collector.media.reports import StreamReport

CODES: Mapping[str, str] = MappingProxyType(
    {
        "capture_drops": "The capturing side says that it lost packets.",
        "burst_loss": "Packets were lost in bursts: how long they lasted and when the first began.",
        "capture_without_times": "The capture holds no times: delays, durations and rates are missing.",
        "clock_inferred": "The payload type's clock was read from the packets, because no SDP named it.",
        "clock_unknown": "The payload type's clock could not be told, so jitter and delay are missing.",
        "codec_change": "The stream changed its codec.",
        "digits_dropped": "A gateway left out the voice packets under telephone-events: not network loss.",
        "dscp_mixed": "Packets of the stream were marked with several DSCPs.",
        "dscp_zero": "No packet of the stream was marked for voice (DSCP 0).",
        "duplicates": "The sender or the network sent packets twice.",
        "event_only": "Only telephone-events were captured; the voice packets between them are not network loss.",
        "fork": "A copy of a stream heard elsewhere, sent to a recorder.",
        "hold": "Packets are missing while the call was on hold: not network loss.",
        "hop": "The same packets were heard again further on; the last hop counts.",
        "mirror_copies": "The tap saw packets twice; each was counted once.",
        "multicast": "Media sent to a group, not a call's own.",
        "no_media": "An answered call of which no media was seen.",
        "one_way_audio": "An answered call in which only one side was heard.",
        "pause": "The sender paused and its numbering jumped: not network loss.",
        "reordered": "Packets arrived out of order.",
        "sequence_restart": "The sequence numbers began anew.",
        "silence": "Nothing was sent for a while and no number is missing: silence suppression or hold.",
        "srtp": "The media is encrypted; headers were measured.",
        "t38": "Packets are missing while the call sent fax by T.38: not network loss.",
        "timestamp_jump": "The timestamps jumped by themselves; no delay was read from it.",
    }
)

SILENCE_MS = 1000.0
REORDERED_PERCENT = 0.1

NOT_LOSS = {
    "digits": ("digits_dropped", "a gateway left out {n} packets under telephone-events"),
    "event_only": ("event_only", "only telephone-events were captured: {n} other packets are missing here"),
    "hold": ("hold", "{n} packets missing while on hold"),
    "pause": ("pause", "numbering jumped by {n} over a pause"),
    "t38": ("t38", "{n} packets missing while the call sent T.38 fax"),
}


def plural(count: int, word: str) -> str:
    """`1 packet`, `2 packets`, `2 copies`."""
    if count == 1:
        return f"1 {word}"
    return f"{count:,} {word[:-1]}ies" if word.endswith("y") else f"{count:,} {word}s"


def of_loss(report: StreamReport, listed: Sequence[Run], not_network: Mapping[str, int]) -> list[Finding]:
    """Bursts of network loss, and what only looks like loss."""
    found = []
    for cause, packets in sorted(not_network.items()):
        code, text = NOT_LOSS[cause]
        at = next((run.at - run.duration_ns for run in listed if run.cause == cause), report.first)
        found.append(Finding(code, text.format(n=f"{packets:,}"), packets, at))
    if report.bursts and report.burst_lost > sum(not_network.values()):
        bursts = [run for run in listed if run.cause == "network" and run.packets >= 2]
        first = min((run.at - run.duration_ns for run in bursts), default=None)
        last = max((run.at for run in bursts), default=None)
        text = burst_words(report.burst_lost, report.bursts)
        if first is not None and last is not None and last - first >= 1_000_000_000:
            text += f" over {(last - first) / 1e9:.0f} s"
        found.append(Finding("burst_loss", text, report.burst_lost, first))
    return found


def burst_words(lost: int, bursts: int) -> str:
    """The beginning of what is said of bursts."""
    return f"{plural(lost, 'packet')} lost in {plural(bursts, 'burst')}"


ENCRYPTED = Finding("srtp", "encrypted (SRTP)")


def to_group(ip: str) -> Finding:
    """Media sent to a multicast group."""
    return Finding("multicast", f"sent to group {ip}")


class Marks(Protocol):
    """What is read of packets for findings: a report, or columns of one (names as there)."""

    @property
    def copies(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def packets(self) -> int: ...
    @property
    def reordered(self) -> int: ...
    @property
    def dscp(self) -> Mapping[int, int]: ...
    @property
    def serials(self) -> tuple[int, ...]: ...
    @property
    def timestamp_jumps(self) -> int: ...
    @property
    def max_delta_ms(self) -> float | None: ...
    @property
    def lost(self) -> int: ...


def of_packets(report: Marks) -> list[Finding]:
    """Copies, duplicates, order, marks, silence, restarts."""
    found = []
    if report.copies:
        found.append(Finding("mirror_copies", plural(report.copies, "mirror copy"), report.copies))
    if report.duplicates:
        found.append(Finding("duplicates", plural(report.duplicates, "duplicate"), report.duplicates))
    if report.packets and 100.0 * report.reordered / report.packets >= REORDERED_PERCENT:
        found.append(Finding("reordered", f"{plural(report.reordered, 'packet')} out of order", report.reordered))
    if set(report.dscp) == {0}:
        found.append(Finding("dscp_zero", "DSCP 0", report.dscp[0]))
    elif len(report.dscp) > 1:
        marks = ", ".join(f"{mark} ({count:,})" for mark, count in sorted(report.dscp.items()))
        found.append(Finding("dscp_mixed", f"DSCP {marks}"))
    if len(report.serials) > 1:
        restarts = len(report.serials) - 1
        found.append(Finding("sequence_restart", f"sequence numbers began anew {_times(restarts)}"))
    if report.timestamp_jumps:
        found.append(Finding("timestamp_jump", f"timestamps jumped {_times(report.timestamp_jumps)}"))
    if report.max_delta_ms is not None and report.max_delta_ms >= SILENCE_MS and not report.lost:
        found.append(Finding("silence", f"silent for up to {report.max_delta_ms / 1000:.1f} s, nothing missing"))
    return found


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


class Heard(Protocol):
    """What calls need of a stream: a stream, or a sketch of one (names as there)."""

    @property
    def src(self) -> Endpoint: ...
    @property
    def dst(self) -> Endpoint: ...
    @property
    def call_id(self) -> str | None: ...
    @property
    def codec(self) -> str | None: ...
    @property
    def not_network(self) -> Mapping[str, int]: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


def on_calls(calls: Sequence[Call], streams: Iterable[Heard]) -> Sequence[Call]:
    """Calls with what their media says of them."""
    by_call: dict[str, list[Heard]] = {}
    for stream in streams:
        if stream.call_id is not None:
            by_call.setdefault(stream.call_id, []).append(stream)
    if not by_call:
        return calls
    return tuple(_on_call(call, by_call) for call in calls)


ANSWER_LEAST_MS = 2000.0
"""An answered call shorter than this need not have been heard from both sides."""


def _on_call(call: Call, by_call: Mapping[str, Sequence[Heard]]) -> Call:
    if call.answered is None or call.state is CallState.FAILED:
        return call
    found = []
    for leg in call.legs:
        audio = [media for media in leg.media if media.kind == "audio" and media.protocol.startswith(("RTP", "UDP"))]
        heard = [stream for stream in by_call.get(leg.call_id, ()) if stream.last >= call.answered]
        if any("event_only" in stream.not_network or stream.codec == "TELEPHONE-EVENT" for stream in heard):
            continue  # whoever captured only the events left out more than this
        if not audio or leg.answered is None or not _is_two_way(leg.media, leg.answered):
            continue
        listening = {media.endpoint: media.role for media in audio}
        if heard:
            finding = one_way(heard, listening)
            if finding is not None and finding not in found:
                found.append(finding)
    if call.duration_ms is not None and call.duration_ms < ANSWER_LEAST_MS:
        found = []
    if not found and not any(by_call.get(leg.call_id) for leg in call.legs):
        found = [Finding("no_media", "no media seen")] if any(leg.media for leg in call.legs) else []
    return replace(call, findings=(*call.findings, *found)) if found else call


def _is_two_way(media: Sequence[NegotiatedMedia], answered: int) -> bool:
    """Whether both sides once agreed to send and receive sound after the answer."""
    roles = {
        each.role
        for each in media
        if each.kind == "audio" and each.direction == "sendrecv" and (each.until is None or each.until > answered)
    }
    return {"caller", "callee"} <= roles


def one_way(streams: Sequence[Heard], listening: Mapping[Endpoint, str]) -> Finding | None:
    """Whether only one side of an answered two-way call was heard; `listening` says which side receives where.

    A stream's side is that of its sender: the side that does not own its destination.
    """
    heard: dict[str, Heard] = {}
    for stream in streams:
        side = listening.get(stream.dst)
        if side is not None:
            heard.setdefault("callee" if side == "caller" else "caller", stream)
        elif stream.src in listening:
            heard.setdefault(listening[stream.src], stream)
    if len(heard) != 1:
        return None
    (_, stream) = next(iter(heard.items()))
    return Finding("one_way_audio", f"one-way audio from {stream.src.ip}", None, stream.first)
