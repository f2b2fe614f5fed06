"""One call in full: what happened, its legs, what was negotiated, and every measure of its streams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from api.layout import Cell, Heading, Screen, Style, clean, cut, table, wrap
from api.masking import MASKED_DIGIT, mask_rated_call
from api.rated import Quality, RatedCall, RatedStream
from api.terminal import TextOptions, call_findings, mos_cell, party
from api.wording import MISSING, count, decimals, duration, moment, percent, plural, time_of_day
from collector.facts import BurstGap, Call, FarEnd, Leg, NegotiatedMedia, Spread, Stream, TelephoneEvent

DIGITS = "0123456789*#ABCD"
"""Events 0 to 15 (RFC 4733 3.2)."""
FLASH = 16
PLAIN_RTP = "RTP/AVP"
"""Goes without saying."""
INDENT = "  "
MOST_OF_A_NAME = 24
LABEL = 16


def render_call(rated: RatedCall, options: TextOptions, screen: Screen) -> str:
    """The report on one call."""
    if options.names is not None:
        rated = mask_rated_call(rated, options.names)
    blocks = [
        [screen.paint(sentence(rated), Style.BOLD), *facts(rated.call, screen)],
        legs_block(rated.call.legs, screen),
        media_block(rated.call.legs, screen),
        *(stream_block(stream, number, screen) for number, stream in enumerate(rated.streams, 1)),
        findings_block(rated, screen),
    ]
    if options.names is not None:
        blocks.append([screen.paint("People and digits are masked; --show-numbers shows them.", Style.DIM)])
    return "\n".join("\n".join(block) + "\n" for block in blocks if block)


def sentence(rated: RatedCall) -> str:
    """What happened, as a person would say it."""
    call = rated.call
    parties = (cut(party(uri), MOST_OF_A_NAME) for uri in (call.from_uri, call.to_uri))
    words = [f"{' → '.join(parties)}: {call.state.value}"]
    if call.duration_ms is not None:
        words.append(duration(call.duration_ms))
    elif call.status is not None and call.status >= 300:
        words.append(f"{call.status} {clean(call.status_text or '')}".strip())
    if rated.mos is not None:
        words.append(f"MOS {rated.mos:.2f}")
    return ", ".join(words)


def labelled(label: str, text: str, screen: Screen) -> list[str]:
    """One fact with its label, wrapped where it is long."""
    room = screen.width - LABEL - len(INDENT)
    lines = [cut(line, room) for line in wrap(text.split(" "), " ", room)]
    first = INDENT + screen.paint(f"{label:<{LABEL}}", Style.DIM)
    return [f"{first}{lines[0] if lines else MISSING}", *(" " * (LABEL + len(INDENT)) + line for line in lines[1:])]


def facts(call: Call, screen: Screen) -> list[str]:
    """Times, parties and outcome."""
    status = MISSING if call.status is None else f"{call.status} {call.status_text or ''}".strip()
    reason = call.reason
    pairs = [
        ("Call-ID", call.call_id),
        ("from", call.from_uri),
        ("to", call.to_uri),
        ("status", status),
        ("reason", "" if reason is None else f"{reason.protocol} {count(reason.cause)} {reason.text}".strip()),
        ("start", f"{moment(call.start)} UTC"),
        ("post-dial delay", duration(call.post_dial_delay_ms)),
        ("set-up", duration(call.setup_ms)),
        ("answered", MISSING if call.answered is None else f"{moment(call.answered)} UTC"),
        ("end", "not seen" if call.end is None else f"{moment(call.end)} UTC"),
        ("duration", duration(call.duration_ms)),
        ("hung up by", call.hung_up_by or MISSING),
        ("legs joined by", ", ".join(call.joined_by)),
    ]
    return [line for label, text in pairs if text for line in labelled(label, clean(text), screen)]


def legs_block(legs: Sequence[Leg], screen: Screen) -> list[str]:
    """Legs with their signalling."""
    headings = [
        Heading("Call-ID", least=12),
        Heading("from → to", least=24, joint=" → "),
        Heading("by"),
        Heading("state"),
        Heading("status", right=True),
    ]
    rows: list[list[Cell]] = [
        [
            clean(leg.call_id),
            f"{leg.src} → {leg.dst}",
            leg.transport,
            leg.state.value,
            MISSING if leg.status is None else str(leg.status),
        ]
        for leg in legs
    ]
    lines = table(headings, rows, screen)
    block = [screen.paint("Legs", Style.BOLD), lines[0]]
    for leg, text in zip(legs, lines[1:], strict=True):
        block.append(text)
        block.extend(screen.paint(f"    {cut(clean(event), screen.width - 4)}", Style.DIM) for event in leg_events(leg))
    return block


def leg_events(leg: Leg) -> Iterable[str]:
    """What happened on a leg."""
    repeats = f", {plural(leg.retransmissions, 'retransmission')}" if leg.retransmissions else ""
    forks = f", answered by {leg.forks:,} forks" if leg.forks > 1 else ""
    yield f"{plural(leg.messages, 'message')}, {plural(leg.invites, 'INVITE')} to the answer{repeats}{forks}"
    for span in leg.spans:
        end = "end not seen" if span.end is None else f"to {time_of_day(span.end)}"
        yield f"{time_of_day(span.start)} {span.what} {end}"
    if leg.transferred_to is not None:
        yield f"transferred to {leg.transferred_to}"
    if leg.replaces is not None:
        yield f"replaces {leg.replaces}"
    if leg.defects:
        yield "defects: " + ", ".join(f"{number:,} {name}" for name, number in sorted(leg.defects.items()))


def media_block(legs: Sequence[Leg], screen: Screen) -> list[str]:
    """What each side announced."""
    rows = [media_cells(media) for leg in legs for media in leg.media]
    if not rows:
        return []
    headings = [
        Heading("since"),
        Heading("side"),
        Heading("medium", least=8),
        Heading("wants it at", least=16),
        Heading("direction"),
        Heading("ptime", right=True),
        Heading("formats", least=12),
    ]
    return [screen.paint("Negotiated media", Style.BOLD), *table(headings, rows, screen)]


def media_cells(media: NegotiatedMedia) -> list[Cell]:
    """One media line."""
    formats = ", ".join(f"{codec.name} {payload_type}" for payload_type, codec in media.formats.items())
    return [
        time_of_day(media.since),
        media.role,
        clean(media.kind if media.protocol == PLAIN_RTP else f"{media.kind} {media.protocol}"),
        str(media.endpoint),
        media.direction,
        decimals(media.ptime_ms, 0),
        clean(formats),
    ]


def stream_block(rated: RatedStream, number: int, screen: Screen) -> list[str]:
    """One stream with all its measures."""
    stream, quality = rated
    role = (
        "" if stream.placement.role == "primary" else f"   {stream.placement.role} of medium {stream.placement.medium}"
    )
    title = f"Stream {number}   {stream.src} → {stream.dst}   SSRC 0x{stream.ssrc:08X}{role}"
    lines = [screen.paint(cut(title, screen.width), Style.BOLD)]
    pairs = [*quality_pairs(quality), *codec_pairs(stream), *count_pairs(stream), *time_pairs(stream)]
    pairs += [*story_pairs(stream), *far_end_pairs(stream.far_end)]
    for label, text in pairs:
        style = mos_cell(quality.mos, quality.r_factor).style if label == "MOS" else Style.PLAIN
        lines.extend(screen.paint(line, style) for line in labelled(label, clean(text), screen))
    return lines


def quality_pairs(quality: Quality) -> Iterable[tuple[str, str]]:
    """How it sounds."""
    if quality.mos is None:
        yield "MOS", f"{MISSING} ({quality.reason})"
        return
    yield (
        "MOS",
        f"{mos_cell(quality.mos, quality.r_factor).text}   R {decimals(quality.r_factor, 1)}   {quality.evidence}",
    )
    yield "model", quality.model or MISSING
    for note in quality.notes:
        yield "", note
    if quality.command is not None:
        yield "again", quality.command


def codec_pairs(stream: Stream) -> Iterable[tuple[str, str]]:
    """What is carried."""
    clock = "clock unknown" if stream.clock_rate is None else f"{stream.clock_rate:,} Hz ({stream.clock_rate_source})"
    types = ", ".join(map(str, stream.payload_types))
    secured = ", SRTP: headers alone were read" if stream.encrypted else ""
    yield "codec", f"{stream.codec or MISSING}, {clock}, ptime {decimals(stream.ptime_ms, 1)} ms, PT {types}{secured}"
    for change in stream.codec_changes:
        yield "", f"{time_of_day(change.at)} {change.old} → {change.new}"


def count_pairs(stream: Stream) -> Iterable[tuple[str, str]]:
    """Packets and their loss."""
    yield (
        "packets",
        f"{count(stream.packets)} of {count(stream.expected)} expected, {count(stream.octets)} octets, "
        f"{time_of_day(stream.first)} to {time_of_day(stream.last)}",
    )
    yield (
        "loss",
        f"{count(stream.lost)} lost, {percent(stream.loss_percent)} %; {count(stream.duplicates)} duplicates, "
        f"{count(stream.reordered)} reordered, {plural(stream.mirror_copies, 'mirror copy', 'mirror copies')}",
    )
    if stream.not_network:
        parts = ", ".join(f"{number:,} by {cause}" for cause, number in sorted(stream.not_network.items()))
        yield "not loss", f"missing, but not lost in the network: {parts}"
    if stream.burst_gap is not None and stream.lost:
        yield "bursts", f"burst ratio {decimals(stream.burst_ratio, 2)}; {burst_words(stream.burst_gap)}"
    if stream.loss_runs:
        yield "loss runs", ", ".join(f"{bin_words(run.low, run.high)}: {run.count:,}" for run in stream.loss_runs)
    shown = [f"{time_of_day(run.at)} {run.packets:,} ({run.cause})" for run in stream.missing[:6]]
    if shown:
        hidden = stream.missing_total - len(shown)
        yield "missing runs", ", ".join(shown) + (f", {hidden:,} more" if hidden > 0 else "")


def burst_words(value: BurstGap) -> str:
    """Bursts and gaps."""
    return (
        f"{plural(value.bursts, 'burst')} of {duration(value.burst_duration_ms)} at {percent(value.burst_density)} %, "
        f"gaps of {duration(value.gap_duration_ms)} at {percent(value.gap_density)} %"
    )


def bin_words(low: float, high: float | None) -> str:
    """A class of a histogram, named by its ends; a class of one whole number by that."""
    if high is None:
        return f"{low:g}+"
    return f"{low:g}" if high - low == 1 and low == int(low) else f"{low:g} to <{high:g}"


def time_pairs(stream: Stream) -> Iterable[tuple[str, str]]:
    """Jitter and delay variation."""
    jitter = stream.jitter_ms
    if jitter is None:
        yield "jitter", MISSING
    else:
        yield "jitter", f"mean {jitter.mean:.1f} ms, max {jitter.max:.1f} ms, last {jitter.last:.1f} ms"
    yield "IPDV", spread_words(stream.ipdv_ms)
    yield "PDV", spread_words(stream.pdv_ms)
    if stream.delay_histogram:
        bins = [f"{bin_words(each.low, each.high)}: {each.count:,}" for each in stream.delay_histogram if each.count]
        yield "PDV classes ms", ", ".join(bins)
    yield (
        "packet gaps",
        f"mean {decimals(stream.mean_delta_ms, 1)} ms, max {decimals(stream.max_delta_ms, 1)} ms; "
        f"clock drift {decimals(stream.clock_drift_ppm, 1)} ppm",
    )


def spread_words(value: Spread | None) -> str:
    """A distribution."""
    if value is None:
        return MISSING
    return f"p50 {value.p50:.1f} ms, p95 {value.p95:.1f} ms, p99 {value.p99:.1f} ms, max {value.max:.1f} ms"


def story_pairs(stream: Stream) -> Iterable[tuple[str, str]]:
    """What else was seen."""
    yield "DSCP", ", ".join(f"{dscp} ({number:,} packets)" for dscp, number in sorted(stream.dscp.items())) or MISSING
    if stream.comfort_noise_packets or stream.talk_spurts:
        yield (
            "speech",
            f"{plural(stream.talk_spurts, 'talk spurt')}, {count(stream.comfort_noise_packets)} comfort noise packets",
        )
    if stream.telephone_events:
        yield "events", " ".join(event_words(event) for event in stream.telephone_events)
    if stream.segments > 1:
        yield "segments", f"{stream.segments:,}: the sequence restarted"
    if stream.placement.heard > 1:
        yield (
            "medium",
            f"{stream.placement.medium}, heard in {stream.placement.heard:,} places, here {stream.placement.role}",
        )


def event_words(event: TelephoneEvent) -> str:
    """One telephone-event."""
    if event.event == MASKED_DIGIT:
        return "•"
    if 0 <= event.event < len(DIGITS):
        return DIGITS[event.event]
    return "flash" if event.event == FLASH else f"event {event.event}"


def far_end_pairs(far_end: FarEnd | None) -> Iterable[tuple[str, str]]:
    """The receiver's view."""
    if far_end is None:
        return
    yield (
        "far end",
        "no receiver reports"
        if not far_end.reports
        else f"reported by RTCP: {plural(far_end.reports, 'report')}, lost {count(far_end.cumulative_lost)} "
        f"(worst {percent(far_end.fraction_lost_max)} %), jitter max {decimals(far_end.jitter_ms_max, 1)} ms",
    )
    if far_end.round_trip_ms is not None:
        yield "round trip", f"{far_end.round_trip_ms:.1f} ms ({far_end.round_trip_basis})"
    if far_end.xr is not None:
        yield (
            "XR",
            ", ".join(f"{name} {MISSING if value is None else f'{value:g}'}" for name, value in far_end.xr.items()),
        )
    if far_end.cname is not None:
        yield "CNAME", far_end.cname


def findings_block(rated: RatedCall, screen: Screen) -> list[str]:
    """Findings of the call, its legs and its streams."""
    lines: list[str] = []
    for finding in dict.fromkeys(call_findings(rated)):
        at = "" if finding.at is None else f"{time_of_day(finding.at)}  "
        words = wrap(f"{at}{clean(finding.text)}".split(" "), " ", screen.width - len(INDENT))
        lines.extend(INDENT + cut(line, screen.width - len(INDENT)) for line in words)
    return [screen.paint("Findings", Style.BOLD), *lines] if lines else []
