"""From reports to streams: call, codec, clock, causes of loss, place in its medium, findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from collector.facts import CodecChange, CodecFormat, FarEnd, Finding, Placement, Span, Stream
from collector.media import findings, placement
from collector.media.book import MediaBook, Negotiated
from collector.media.columns import LOG_TYPE
from collector.media.far_end import FarEnds
from collector.media.missing import Losses, as_facts, event_numbers, losses, telephone_events
from collector.media.plausibility import COMFORT_NOISE_TYPES
from collector.media.reports import StreamReport, run_bins
from collector.media.streams import EventLog, LoggedEvent
from collector.protocols.rtp import STATIC_FORMATS

MISSING_LIMIT = 64
"""Runs of missing packets listed for one stream; all are counted."""


class Context(NamedTuple):
    """What is known of a report besides its packets."""

    negotiated: Negotiated | None
    codec: CodecFormat | None
    codec_type: int | None
    """Payload type of most packets, comfort noise and telephone-events left aside."""
    clock_source: str | None
    ptime_ms: float | None


def context_of(report: StreamReport, negotiated: Negotiated | None) -> Context:
    """Negotiation, codec and packetisation of a report."""
    formats: Mapping[int, CodecFormat] = negotiated.formats if negotiated else {}
    voice = {
        number: count
        for number, count in report.types.items()
        if number not in COMFORT_NOISE_TYPES and number not in report.event_types
    }
    number = max(voice, key=lambda k: voice[k]) if voice else next(iter(report.event_types), None)
    codec = None
    source = None
    if number is not None:
        codec, source = codec_of(number, formats)
        if codec is None and number in report.event_types:
            codec, source = CodecFormat("TELEPHONE-EVENT", 8000), "static"  # RFC 4733 2.1: 8000 Hz unless SDP says more
    if codec is None and report.clock_rate:
        source = "inferred"
    clock = report.clock_rate or (codec.clock_rate if codec else None)
    return Context(negotiated, codec, number, source, ptime_of(report.step, clock, negotiated))


def codec_of(number: int, formats: Mapping[int, CodecFormat]) -> tuple[CodecFormat | None, str | None]:
    """What a payload type is, and where its clock is known from."""
    source = "sdp" if number in formats and number >= 35 else "static" if number in STATIC_FORMATS else None
    return formats.get(number) or STATIC_FORMATS.get(number), source


def ptime_of(step: int, clock: int | None, negotiated: Negotiated | None) -> float | None:
    """What the packets show, else what SDP asked for [ms]."""
    if step and clock and step < 10 * clock:
        return 1000.0 * step / clock
    return negotiated.media.ptime_ms if negotiated else None


def codec_name(number: int, formats: Mapping[int, CodecFormat]) -> str:
    """`PCMA`, or `PT 97` where nothing names the payload type."""
    codec = formats.get(number) or STATIC_FORMATS.get(number)
    return codec.name if codec else f"PT {number}"


def codec_changes(context: Context, events: Iterable[LoggedEvent]) -> tuple[CodecChange, ...]:
    """Changes of the codec, not of its payload number."""
    formats: Mapping[int, CodecFormat] = context.negotiated.formats if context.negotiated else {}
    named = [
        CodecChange(event.at, codec_name(event.a, formats), codec_name(event.b, formats))
        for event in events
        if event.kind == LOG_TYPE
    ]
    return tuple(change for change in named if change.old != change.new)


def describe(
    found: Sequence[tuple[StreamReport, Negotiated | None]],
    events: EventLog,
    book: MediaBook,
    far_ends: FarEnds,
    places: Sequence[int] = (),
    alone: Sequence[int] = (),
) -> list[Stream]:
    """Streams of plausible reports and what was negotiated for them, in the same order.

    Media are numbered by their first streams. `places` says where each report stands among all streams, when there are
    others besides, each alone in its medium, at the places `alone`.
    """
    reports = [report for report, _ in found]
    contexts = [context_of(report, negotiated) for report, negotiated in found]
    calls = [context.negotiated.call_id if context.negotiated else None for context in contexts]
    ptimes = [round((context.ptime_ms or 20.0) * 1e6) for context in contexts]
    groups = placement.media_of(reports, ptimes, calls)
    firsts = [places[group[0]] if places else group[0] for group in groups]
    placed = placement.placements(reports, groups, placement.numbers(firsts, alone))
    elsewhere: dict[int, set[int]] = {}
    for group in groups:
        if len(group) > 1 and any(reports[index].event_packets for index in group):
            numbers = set().union(*(event_numbers(events.of(reports[index].serials)) for index in group))
            elsewhere.update(dict.fromkeys(group, numbers))
    return [
        stream_of(
            report,
            contexts[index],
            events.of(report.serials),
            placed[index],
            elsewhere.get(index, set()),
            book,
            far_ends,
        )
        for index, report in enumerate(reports)
    ]


def stream_of(
    report: StreamReport,
    context: Context,
    events: Sequence[LoggedEvent],
    place: Placement,
    elsewhere: set[int],
    book: MediaBook,
    far_ends: FarEnds,
) -> Stream:
    """Everything about one stream."""
    negotiated = context.negotiated
    call_id = negotiated.call_id if negotiated else None
    spans: Sequence[Span] = book.spans(call_id) if call_id and report.lost else ()
    loss = losses(report, events, context.ptime_ms, spans, elsewhere)
    clock = report.clock_rate or (context.codec.clock_rate if context.codec else None)
    changes = codec_changes(context, events)
    encrypted = negotiated is not None and negotiated.media.encrypted
    is_voice = negotiated is None or negotiated.media.kind == "audio"
    elapsed = report.last - report.first
    return Stream(
        src=report.src,
        dst=report.dst,
        ssrc=report.ssrc,
        payload_types=tuple(report.types),
        codec=context.codec.name if context.codec else None,
        clock_rate=clock,
        clock_rate_source=context.clock_source,
        ptime_ms=context.ptime_ms,
        call_id=call_id,
        encrypted=encrypted,
        packets=report.packets,
        octets=report.octets,
        expected=loss.expected,
        lost=loss.lost,
        loss_percent=100.0 * loss.lost / loss.expected if loss.expected else None,
        duplicates=report.duplicates,
        mirror_copies=report.copies,
        reordered=report.reordered,
        jitter_ms=report.jitter,
        ipdv_ms=report.ipdv,
        pdv_ms=report.pdv,
        mean_delta_ms=elapsed / 1e6 / (report.packets - 1) if report.packets > 1 else None,
        max_delta_ms=report.max_delta_ms,
        clock_drift_ppm=report.drift_ppm,
        burst_gap=loss.burst_gap,
        burst_ratio=loss.burst_ratio,
        loss_runs=run_bins(loss.run_classes),
        delay_histogram=report.delay_histogram,
        dscp=report.dscp,
        codec_changes=changes,
        comfort_noise_packets=report.comfort_noise,
        talk_spurts=report.spurts if is_voice else 0,
        telephone_events=tuple(telephone_events(events, clock or 8000)),
        missing=as_facts(loss.listed, MISSING_LIMIT),
        missing_total=loss.runs + sum(1 for run in loss.listed if run.cause != "network"),
        not_network=loss.not_network,
        far_end=_far_end(report, negotiated, clock, far_ends, book),
        placement=place,
        segments=len(report.serials),
        first=report.first,
        last=report.last,
        findings=tuple(_findings(report, context, loss, place, changes, encrypted)),
    )


def _far_end(
    report: StreamReport, negotiated: Negotiated | None, clock: int | None, far_ends: FarEnds, book: MediaBook
) -> FarEnd | None:
    if not far_ends.packets:
        return None
    sender = book.lookup(report.dst, report.src, report.first, report.last) if negotiated else None
    rtcp = sender.media.rtcp if sender and sender.side == "dst" else None
    return far_ends.report(report.src, report.dst, report.ssrc, clock, rtcp)


def _findings(
    report: StreamReport,
    context: Context,
    loss: Losses,
    place: Placement,
    changes: Sequence[CodecChange],
    encrypted: bool,
) -> list[Finding]:
    found = findings.of_loss(report, loss.listed, loss.not_network)
    found += findings.of_packets(report)
    for change in changes[:4]:
        found.append(Finding("codec_change", f"codec changed from {change.old} to {change.new}", None, change.at))
    if context.clock_source == "inferred":
        found.append(Finding("clock_inferred", f"clock {report.clock_rate} Hz inferred from the packets"))
    elif report.clock_rate is None and report.packets > report.event_packets:
        found.append(Finding("clock_unknown", "clock unknown: no jitter"))
    if encrypted:
        found.append(findings.ENCRYPTED)
    if place.role == "hop":
        found.append(Finding("hop", f"medium {place.medium} on its way, heard in {place.heard} places"))
    elif place.role == "fork":
        found.append(Finding("fork", f"copy of medium {place.medium}, heard in {place.heard} places"))
    if report.dst.is_multicast:
        found.append(findings.to_group(report.dst.ip))
    return found
