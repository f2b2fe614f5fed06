"""The report that an engineer reads: totals first, then what is worst, then findings in words, then where to go on."""

from __future__ import annotations

import shlex
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest
from pathlib import Path
from typing import NamedTuple

from api.layout import Cell, Heading, Piece, Screen, Style, clean, cut, cut_end, spread, table, width, wrap
from api.masking import OWN_WORDS, Pseudonyms, mask_finding, mask_rated_call, mask_rated_stream, mask_sip, split_uri
from api.rated import (
    Rated,
    RatedCall,
    RatedStream,
    RatedStreams,
    call_order,
    candidates,
    leg_call_ids,
    post_dial_delays,
    sketches,
    states,
    worst_streams,
)
from api.tables import FindingRow, finding_rows
from api.wording import (
    MISSING,
    count,
    decimals,
    duration,
    moment,
    nearest_rank,
    percent,
    plural,
    time_of_day,
)
from collector.facts import Call, CallState, Finding

POOR_R = 60.0
"""Below: nearly all users dissatisfied (G.107 Annex B)."""
FAIR_R = 70.0
"""Below: many users dissatisfied (G.107 Annex B)."""
UNFINISHED = "burst_loss"
"""The finding of which the sketch of a plain stream knows only the beginning."""
SHORT_ID = 10
"""Characters of a Call-ID that are shown, more where they do not tell calls apart."""
PART_OF_A_CALL = frozenset({"ACK", "BYE", "CANCEL", "PRACK", "UPDATE"})
"""Requests that go without saying."""
ALL_FITS = 92
"""Narrower screens show streams without ports and burst ratios: half an address helps nobody."""
MOST_DEFECTS = 8
"""Kinds of defects that are listed."""


class TextOptions(NamedTuple):
    """What the text report needs to know beyond the facts."""

    files: tuple[str, ...]
    top: int = 10
    names: Pseudonyms | None = None
    """Masks people; None shows them."""
    filter: str | None = None


class CallIds:
    """Shortens Call-IDs to beginnings that are unique among those of the report: `--call` takes them."""

    def __init__(self, call_ids: Iterable[str]) -> None:
        self._ordered = sorted(set(call_ids))

    def short(self, call_id: str | None) -> str:
        """The beginning to show."""
        if call_id is None:
            return MISSING
        index = bisect_left(self._ordered, call_id)
        if self._ordered[index : index + 1] != [call_id]:
            return call_id
        neighbours = self._ordered[max(0, index - 1) : index] + self._ordered[index + 1 : index + 2]
        shared = max((common_prefix(call_id, other) for other in neighbours), default=0)
        return call_id[: max(SHORT_ID, shared + 1)]


def common_prefix(one: str, other: str) -> int:
    """How many first characters two texts share."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def render_summary(rated: Rated, options: TextOptions, screen: Screen) -> str:
    """The report on a whole capture; only what is printed is masked, for a capture may hold a million calls."""
    if options.names is not None:
        rated = rated._replace(replay=replace(rated.replay, sip=mask_sip(rated.replay.sip)))
    replay = rated.replay
    ids = CallIds(leg_call_ids(replay.calls))
    blocks = [
        totals(rated, screen),
        shown(rated, options, screen),
        calls_block(rated, options, ids, screen),
        streams_block(rated, options, ids, screen),
        findings_block(rated, ids, options, screen),
        next_block(rated, options, ids, screen),
    ]
    return "\n".join("\n".join(block) + "\n" for block in blocks if block)


def totals(rated: Rated, screen: Screen) -> list[str]:
    """Three lines that answer first: the input, its signalling, its media."""
    lines = [*capture_lines(rated, screen), *sip_lines(rated, screen), *rtp_lines(rated, screen)]
    stopped = rated.replay.capture.stopped
    if stopped is not None:
        lines.append(screen.paint("■ " + cut(clean(stopped), screen.width - 2), Style.VERMILION))
    return lines


def capture_lines(rated: Rated, screen: Screen) -> list[str]:
    """Which capture, how long, how much, what the tap lost."""
    capture = rated.replay.capture
    names = ["standard input" if name == "-" else clean(Path(name).name) for name in capture.files]
    name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more" if names else "no input"
    length = None if capture.first is None or capture.last is None else (capture.last - capture.first) / 1e6
    facts = [duration(length), plural(capture.packets, "packet")]
    if capture.interfaces != 1:
        facts.append(plural(capture.interfaces, "interface"))
    facts.append(f"tap lost {count(capture.dropped)}")
    right = " · ".join(facts)
    first = cut(name, max(12, screen.width - len(right) - 3))
    lines = [screen.paint(first, Style.BOLD) + "   " + right]
    if capture.first is not None:
        lines.append(screen.paint(f"      from {moment(capture.first)} UTC", Style.DIM))
    if capture.defects:
        defects = most_frequent(capture.defects)
        lines.extend(
            screen.paint(line, Style.DIM) for line in wrap(["      not used:", *defects], " ", screen.width, " " * 16)
        )
    return lines


def by_count(items: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """The most frequent first."""
    return sorted(items, key=lambda item: (-item[1], item[0]))


def most_frequent(counters: Mapping[str, int]) -> list[str]:
    """Counters in words, rare ones left to the other formats."""
    ordered = by_count(counters.items())
    words = [f"{number:,} {clean(name)}" for name, number in ordered[:MOST_DEFECTS]]
    hidden = len(ordered) - len(words)
    return [*words, f"and {plural(hidden, 'rarer kind')}"] if hidden > 0 else words


def sip_lines(rated: Rated, screen: Screen) -> list[str]:
    """Calls by their state, and the ratios."""
    replay = rated.replay
    if not replay.sip.messages:
        return ["SIP   no signalling"]
    numbers = states(replay.calls)
    parts = " · ".join(f"{numbers[state]:,} {state.value}" for state in CallState if numbers[state])
    left = f"SIP   {plural(len(replay.calls), 'call')}" + (f": {parts}" if parts else "")
    delays = post_dial_delays(replay.calls)
    delay = sum(delays) / len(delays) if delays else None
    metrics = replay.sip.metrics
    right = (
        f"ASR {ratio(metrics.asr_percent)}   NER {ratio(metrics.ner_percent)}   PDD {duration(delay)}"
        if metrics.attempts
        else f"ASR {MISSING}   NER {MISSING}   PDD {MISSING}"
    )
    lines = spread(left, right, screen.width).splitlines()
    others = [
        f"{number:,} {clean(name)}"
        for name, number in by_count(replay.sip.transactions.items())
        if name not in PART_OF_A_CALL
    ]
    if others:
        lines.append(screen.paint(cut("      also " + " · ".join(others), screen.width), Style.DIM))
    if replay.sip.unlisted:
        lines.append(f"      {plural(replay.sip.unlisted, 'more Call-ID')} than the table holds: counted, not listed")
    if replay.sip.defects:
        defects = most_frequent(replay.sip.defects)
        lines.extend(
            screen.paint(line, Style.DIM) for line in wrap(["      defects:", *defects], " ", screen.width, " " * 15)
        )
    return lines


def ratio(value: float | None) -> str:
    """A share of calls."""
    return MISSING if value is None else f"{value:.1f} %"


def rtp_lines(rated: Rated, screen: Screen) -> list[str]:
    """Streams, their loss and jitter; a talker heard in several places counts once."""
    streams = sketches(rated.replay.streams)
    if not streams:
        return ["RTP   no streams"]
    scores = rated.scores
    primary = [stream for stream in streams if stream.role == "primary"]
    expected = sum(stream.expected for stream in primary)
    loss = 100 * sum(stream.lost for stream in primary) / expected if expected else None
    jitters = [stream.jitter_mean_ms for stream in primary if stream.jitter_mean_ms is not None]
    again = len(streams) - len(primary)
    left = (
        f"RTP   {plural(len(primary), 'stream')}: {percent(loss)} % lost · "
        f"jitter {decimals(nearest_rank(jitters, 50), 1)} ms (p95 {decimals(nearest_rank(jitters, 95), 1)})"
    )
    right = f"MOS {decimals(nearest_rank(scores, 50), 2)} (p5 {decimals(nearest_rank(scores, 5), 2)})"
    lines = spread(left, right if scores else f"MOS {MISSING}", screen.width).splitlines()
    if again:
        lines.append(screen.paint(f"      {plural(again, 'more stream')} of media already counted", Style.DIM))
    if rated.replay.unlisted_streams:
        unlisted = plural(rated.replay.unlisted_streams, "more stream")
        lines.append(f"      {unlisted} than the table holds: counted, not listed")
    return lines


def shown(rated: Rated, options: TextOptions, screen: Screen) -> list[str]:
    """What a filter left."""
    if options.filter is None:
        return []
    calls, streams = len(rated.calls), len(rated.streams)
    replay = rated.replay
    return [
        f"Filter {cut(clean(options.filter), screen.width - 50)}: "
        f"{calls:,} of {plural(len(replay.calls), 'call')}, {streams:,} of {plural(len(replay.streams), 'stream')}"
    ]


STATE_MARKS = {CallState.FAILED: ("■", Style.VERMILION), CallState.UNANSWERED: ("▲", Style.AMBER)}


def calls_block(rated: Rated, options: TextOptions, ids: CallIds, screen: Screen) -> list[str]:
    """Calls: all in order where they fit, else those to look at first."""
    if not rated.calls:
        return []
    rows = rated.calls
    title = "Calls"
    if len(rows) > options.top:
        rows = nsmallest(options.top, candidates(rows, options.top), key=call_rank)
        title = f"Calls, {options.top:,} of {len(rated.calls):,}, worst first"
    if options.names is not None:
        rows = [mask_rated_call(row, options.names) for row in rows]
    headings = [
        Heading(""),
        Heading("state"),
        Heading("PDD s", right=True),
        Heading("duration", right=True),
        Heading("MOS", right=True),
        Heading("status", right=True),
        Heading("from → to", least=14, joint=" → "),
        Heading("call", least=SHORT_ID),
    ]
    lines = table(headings, [call_cells(row, ids) for row in rows], screen)
    return [screen.paint(title, Style.BOLD), lines[0], *explained(lines[1:], map(outcome, rows), screen)]


def explained(lines: Iterable[str], texts: Iterable[str], screen: Screen) -> Iterable[str]:
    """Rows of a table, each with what there is to say of it on a quiet line below."""
    for line, text in zip(lines, texts, strict=True):
        yield line
        if text:
            yield screen.paint(f"        {cut_end(clean(text), screen.width - 8)}", Style.DIM)


def call_rank(rated: RatedCall) -> tuple[bool, float, bool, int]:
    """Order of calls, with the findings of their streams."""
    return call_order(rated.call, rated.mos, any(call_findings(rated)))


def call_cells(rated: RatedCall, ids: CallIds) -> list[Cell]:
    """One row of the calls."""
    call = rated.call
    mark, style = STATE_MARKS.get(call.state, ("", Style.PLAIN))
    ringing = None if call.post_dial_delay_ms is None else call.post_dial_delay_ms / 1000
    return [
        Piece(mark, style),
        Piece(call.state.value, style),
        decimals(ringing, 2),
        duration(call.duration_ms),
        mos_cell(rated.mos, worst_r(rated)),
        MISSING if call.status is None else str(call.status),
        f"{party(call.from_uri)} → {party(call.to_uri)}",
        clean(ids.short(call.call_id)),
    ]


def worst_r(rated: RatedCall) -> float | None:
    """R of the stream that gave the call its MOS."""
    for stream in rated.streams:
        if stream.quality.mos is not None and stream.quality.mos == rated.mos:
            return stream.quality.r_factor
    return None


def party(uri: str) -> str:
    """Who, in short: the user part of a URI, else its host."""
    parts = split_uri(uri)
    return clean(uri if parts is None else parts.user or parts.host) or MISSING


def call_findings(rated: RatedCall) -> Iterable[Finding]:
    """Findings of a call, its legs and its streams."""
    yield from signalling_findings(rated)
    for stream in rated.streams:
        yield from stream.stream.findings


def signalling_findings(rated: RatedCall) -> Iterable[Finding]:
    """Findings of a call and its legs."""
    yield from rated.call.findings
    for leg in rated.call.legs:
        yield from leg.findings


def outcome(rated: RatedCall) -> str:
    """Reason and own findings in one phrase; a plain 200 goes without saying, streams speak for themselves."""
    call = rated.call
    parts = []
    if call.status is not None and call.status != 200 and call.status_text:
        parts.append(call.status_text)
    if call.reason is not None and call.reason.cause not in (None, 16, 200):
        parts.append(f"{call.reason.protocol} {call.reason.cause} {call.reason.text}".strip())
    parts.extend(dict.fromkeys(finding.text for finding in signalling_findings(rated)))
    return "; ".join(parts)


def mos_cell(mos: float | None, r_factor: float | None) -> Piece:
    """A MOS; states are told apart by shape, too."""
    text = decimals(mos, 2)
    if mos is None or r_factor is None or r_factor >= FAIR_R:
        return Piece(text)
    return Piece(f"■ {text}", Style.VERMILION) if r_factor < POOR_R else Piece(f"▲ {text}", Style.AMBER)


STREAM_HEADINGS = (
    Heading("MOS", right=True),
    Heading("loss %", right=True),
    Heading("jitter ms", right=True),
    Heading("burst", right=True),
    Heading("codec", least=5),
    Heading("from → to", least=24, joint=" → "),
    Heading("call", least=SHORT_ID),
)


def streams_block(rated: Rated, options: TextOptions, ids: CallIds, screen: Screen) -> list[str]:
    """The worst streams, each with what was found of it on a line below."""
    worst, primary = worst_streams(rated.streams, options.top)
    if not primary:
        return []
    if options.names is not None:
        worst = [mask_rated_stream(stream, options.names) for stream in worst]
    title = "Streams, worst first" if len(worst) == primary else f"Worst {len(worst):,} of {primary:,} streams"
    wide = screen.width >= ALL_FITS
    headings = [heading for heading in STREAM_HEADINGS if wide or heading.name != "burst"]
    lines = table(headings, [stream_cells(stream, ids, wide) for stream in worst], screen)
    measured = screen.paint("   ● measured at the tap", Style.DIM)
    whys = map(stream_words, worst)
    return [screen.paint(title, Style.BOLD) + measured, lines[0], *explained(lines[1:], whys, screen)]


def stream_words(rated: RatedStream) -> str:
    """Why a stream is as it is."""
    words = [finding.text for finding in rated.stream.findings]
    if rated.quality.mos is None and rated.quality.reason:
        words.insert(0, f"no MOS: {rated.quality.reason}")
    return "; ".join(words)


def stream_cells(rated: RatedStream, ids: CallIds, wide: bool) -> list[Cell]:
    """One row of the streams."""
    stream, quality = rated
    burst = [decimals(stream.burst_ratio, 1)] if wide else []
    return [
        mos_cell(quality.mos, quality.r_factor),
        percent(stream.loss_percent),
        decimals(stream.jitter_ms.mean if stream.jitter_ms else None, 1),
        *burst,
        clean(stream.codec or MISSING),
        f"{stream.src} → {stream.dst}" if wide else f"{stream.src.ip} → {stream.dst.ip}",
        clean(ids.short(stream.call_id)),
    ]


def findings_block(rated: Rated, ids: CallIds, options: TextOptions, screen: Screen) -> list[str]:
    """Findings, one line for each kind: how many, in words, where."""
    groups = finding_groups(rated)
    if not groups:
        return []
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    rows: list[list[Cell]] = []
    for (subject, code), members in ordered[: max(options.top, 10)]:
        where = first_ids(members, ids)
        places = " ".join(map(clean, where[:2])) + (" …" if len(where) > 2 else "")
        how_many = "" if subject == "capture" else plural(len(members), subject)
        if options.names is not None and code not in OWN_WORDS:
            members = [row._replace(finding=mask_finding(row.finding, options.names)) for row in members]
        rows.append([how_many, group_words(members), places])
    headings = [Heading("", right=True), Heading("", least=30, prose=True), Heading("", least=SHORT_ID)]
    lines = table(headings, rows, screen)[1:]
    hidden = len(ordered) - len(rows)
    if hidden:
        lines.append(f"  {plural(hidden, 'more kind')} in the other formats")
    return [screen.paint("Findings", Style.BOLD), *lines]


def finding_groups(rated: Rated) -> Mapping[tuple[str, str], list[FindingRow]]:
    """Findings by subject and code; sentences that were not finished are where it shows."""
    groups: dict[tuple[str, str], list[FindingRow]] = {}
    streams = rated.streams
    if not isinstance(streams, RatedStreams):
        for row in finding_rows(rated):
            groups.setdefault((row.subject, row.finding.code), []).append(row)
        return groups
    for row in finding_rows(rated._replace(streams=())):
        groups.setdefault((row.subject, row.finding.code), []).append(row)
    bursts: list[int] = []
    for place, sketch in enumerate(streams.sketches):
        for finding in sketch.findings:
            groups.setdefault(("stream", finding.code), []).append(FindingRow("stream", sketch.call_id, None, finding))
            if finding.code == UNFINISHED:
                bursts.append(place)
    if bursts:
        groups["stream", UNFINISHED] = finished(groups["stream", UNFINISHED], bursts, streams)
    return groups


def finished(members: list[FindingRow], places: Sequence[int], streams: RatedStreams) -> list[FindingRow]:
    """Findings of the streams at these places with whole sentences, as far as `group_words` can tell the difference."""
    beginnings = {row.finding.text.partition(" over ")[0] for row in members}
    largest = max(range(len(members)), key=lambda number: members[number].finding.packets or 0)
    for number in [largest] if len(beginnings) > 1 else range(len(members)):
        whole = next(each for each in streams[places[number]].stream.findings if each.code == UNFINISHED)
        members[number] = members[number]._replace(finding=whole)
    return members


def first_ids(members: Iterable[FindingRow], ids: CallIds) -> list[str]:
    """The first calls that are concerned, up to three."""
    found: dict[str, None] = {}
    for row in members:
        if row.call_id is not None:
            found[ids.short(row.call_id)] = None
            if len(found) > 2:
                break
    return list(found)


def group_words(members: Sequence[FindingRow]) -> str:
    """A group's sentence; where the members' differ, that of the largest with the packets of all."""
    texts = dict.fromkeys(row.finding.text for row in members)
    largest = max(members, key=lambda row: row.finding.packets or 0).finding
    if len(texts) == 1:
        return clean(largest.text)
    packets = sum(row.finding.packets or 0 for row in members)
    name = clean(largest.code.replace("_", " "))
    number = f" ({plural(packets, 'packet')})" if packets else ""
    return f"{name}{number}, e.g. {clean(largest.text)}"


def next_block(rated: Rated, options: TextOptions, ids: CallIds, screen: Screen) -> list[str]:
    """Where to go on, and what was hidden."""
    lines = []
    worst = min(candidates(rated.calls, 1), key=call_rank, default=None)
    if worst is not None and "-" not in options.files:
        lines.append(f"Next: {next_command(options.files, ids.short(worst.call.call_id), screen.width)}")
    if options.names is not None and rated.replay.calls:
        note = "People are masked: p1, p2, … are the same throughout this report; --show-numbers names them."
        lines.extend(screen.paint(line, Style.DIM) for line in wrap(note.split(), " ", screen.width))
    return lines


def next_command(files: Sequence[str], call_id: str, columns: int) -> str:
    """What shows a call, to be pasted as it stands; where files are too many for a line, what to add to the command."""
    option = f"--call {shlex.quote(clean(call_id))}"
    names = [f"./{name}" if name.startswith("-") else name for name in files]
    command = " ".join(["callgauge replay", *map(shlex.quote, names), option])
    printable = all(clean(name) == name for name in names)
    if printable and (len(files) == 1 or width(f"Next: {command}") <= columns):
        return command
    return f"the same {'file' if len(files) == 1 else 'files'} with {option}"


def call_line(call: Call) -> str:
    """One line for a call that has just ended, for whoever watches a pipe."""
    status = "" if call.status in (None, 200) else f"  {call.status} {clean(call.status_text or '')}".rstrip()
    length = "" if call.duration_ms is None else f"  {duration(call.duration_ms)}"
    ended = call.end if call.end is not None else call.start
    return (
        f"{time_of_day(ended)}  {call.state.value:<11}  {party(call.from_uri)} → {party(call.to_uri)}"
        f"{length}{status}  {clean(call.call_id[:24])}"
    )
