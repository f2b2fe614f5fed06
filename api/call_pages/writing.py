"""The file itself, piece by piece: head, lists, and a section for each call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from api import __version__
from api.call_pages.facts import (
    MOST_CALLS,
    CallView,
    Ladder,
    StreamView,
    chosen,
    intervals_by_stream,
    view_of,
)
from api.call_pages.plots import lanes, late_bars, text, waterfall
from api.call_pages.style import STYLE
from api.rated import Rated, RatedCall, RatedStream, worst_streams
from api.terminal import call_findings, party
from api.terminal_call import sentence
from api.wording import MISSING, count, decimals, duration, moment, percent, plural, time_of_day
from collector.facts import Stream

MOST_LISTED_STREAMS: Final = 200
MOST_OCTETS: Final = 24_000_000
"""Length from which no further call is added [characters]."""
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing in the file may load or run anything, whatever a packet held."""


def call_pages(rated: Rated, masked: bool, most: int = MOST_CALLS) -> Iterator[str]:
    """Yield the file; what it shows is what the replay holds, masked before or not."""
    calls, left_out = chosen(rated, most)
    numbers = {id(call.call): number for number, call in enumerate(calls, 1)}
    head = _head(rated, masked)
    yield head
    yield _call_list(calls, left_out)
    yield _stream_list(rated, numbers)
    intervals = intervals_by_stream(rated)
    written = len(head)
    for number, call in enumerate(calls, 1):
        section = _call(view_of(call, intervals), number)
        written += len(section)
        if written > MOST_OCTETS:
            yield f'<p class="quiet">{len(calls) - number + 1} further calls would make this file too long.</p>'
            break
        yield section
    yield "</body></html>\n"


def _head(rated: Rated, masked: bool) -> str:
    replay = rated.replay
    capture = replay.capture
    files = ", ".join(name.rpartition("/")[2] for name in capture.files)
    states = Counter(call.call.state.value for call in rated.calls)
    said = ", ".join(f"{number:,} {state}" for state, number in states.most_common())
    span = None if capture.first is None or capture.last is None else (capture.last - capture.first) / 1e6
    facts = [
        ("Capture", files),
        ("From", f"{moment(capture.first)} UTC"),
        ("Length", duration(span)),
        ("Packets", count(capture.packets)),
        ("Lost by the tap", "it does not say" if capture.dropped is None else count(capture.dropped)),
        ("Calls", f"{len(rated.calls):,}" + (f": {said}" if said else "")),
        ("Streams", count(len(rated.streams))),
        ("Reading stopped", capture.stopped or ""),
        ("People", "masked (p1, p2, …), digits hidden" if masked else "shown"),
        ("Made by", f"callgauge {__version__}"),
    ]
    notes = "".join(f"<li>{text(note.text)}</li>" for note in replay.notes)
    defects = ", ".join(f"{number:,} {name}" for name, number in sorted(capture.defects.items()))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(files)} · Callgauge</title><style>{STYLE}</style></head><body>"
        f"<h1>{text(_answer(rated))}</h1>{_facts(facts)}"
        + (f"<h3>Of the capture</h3><ul>{notes}</ul>" if notes else "")
        + (f'<p class="quiet">Not used: {text(defects)}</p>' if defects else "")
    )


def _answer(rated: Rated) -> str:
    """Return what stands first: how many calls, and how many need a look."""
    calls = len(rated.calls)
    failed = sum(call.call.state.value == "failed" for call in rated.calls)
    poor = sum(call.mos is not None and call.mos < 3.6 for call in rated.calls)
    parts = [f"{failed:,} failed"] if failed else []
    parts += [f"{poor:,} sound poor (MOS under 3.6)"] if poor else []
    return f"{plural(calls, 'call')}: {', '.join(parts) if parts else 'none failed, none sounds poor'}."


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<div><dt>{text(name)}</dt><dd>{text(said)}</dd></div>" for name, said in facts if said)
    return f"<dl>{rows}</dl>"


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th{' class=n' if name.startswith('#') else ''}>{text(name.lstrip('#'))}</th>" for name in heads)
    return f'<div class="box" tabindex="0"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _call_list(calls: Sequence[RatedCall], left_out: int) -> str:
    rows = []
    for number, each in enumerate(calls, 1):
        call = each.call
        found = next((finding.text for finding in call_findings(each)), "")
        state = f"{call.state.value} {call.status or ''}".strip()
        css = ' class="bad"' if call.state.value == "failed" else ""
        rows.append(
            f'<tr><td><a href="#call-{number}">{time_of_day(call.start)}</a></td>'
            f"<td>{text(party(call.from_uri))} → {text(party(call.to_uri))}</td><td{css}>{text(state)}</td>"
            f'<td class="n">{duration(call.duration_ms)}</td><td class="n">{decimals(each.mos, 2)}</td>'
            f'<td class="n">{len(each.streams)}</td><td class="wide">{text(found)}</td></tr>'
        )
    more = f'<p class="quiet">The worst {len(calls)} are here; {left_out:,} more are not.</p>' if left_out else ""
    heads = ("UTC", "Parties", "State", "#Length", "#MOS", "#Streams", "First finding")
    return f"<section><h2>Calls, failed and worst first</h2>{_table(heads, rows)}{more}</section>"


def _stream_list(rated: Rated, numbers: dict[int, int]) -> str:
    worst, primary = worst_streams(rated.streams, MOST_LISTED_STREAMS)
    of_call = {
        id(stream.stream): numbers[id(call.call)]
        for call in rated.calls
        if id(call.call) in numbers
        for stream in call.streams
    }
    rows = [_stream_row(one, of_call.get(id(one.stream))) for one in worst]
    more = primary - len(worst)
    said = f'<p class="quiet">{more:,} more are not listed.</p>' if more > 0 else ""
    heads = ("From → to", "Codec", "#MOS", "#Loss %", "#Jitter ms", "#PDV p95 ms", "DSCP", "Call")
    return f"<section><h2>Streams, worst first</h2>{_table(heads, rows)}{said}</section>" if rows else ""


def _stream_row(one: RatedStream, number: int | None) -> str:
    stream = one.stream
    link = MISSING if number is None else f'<a href="#call-{number}">{number}</a>'
    return (
        f"<tr><td>{text(stream.src)} → {text(stream.dst)}</td><td>{text(stream.codec or MISSING)}</td>"
        f'<td class="n">{decimals(one.quality.mos, 2)}</td><td class="n">{percent(stream.loss_percent)}</td>'
        f'<td class="n">{_jitter(stream)}</td>'
        f'<td class="n">{decimals(stream.pdv_ms.p95 if stream.pdv_ms else None, 1)}</td>'
        f"<td>{_dscp(stream)}</td><td>{link}</td></tr>"
    )


def _jitter(stream: Stream) -> str:
    return decimals(stream.jitter_ms.mean if stream.jitter_ms else None, 1)


def _dscp(stream: Stream) -> str:
    return ", ".join(map(str, sorted(stream.dscp))) or MISSING


def _call(view: CallView, number: int) -> str:
    call = view.rated.call
    status = MISSING if call.status is None else f"{call.status} {call.status_text or ''}".strip()
    reason = "" if call.reason is None else f"{call.reason.protocol} {call.reason.cause or ''} {call.reason.text}"
    facts = [
        ("From", call.from_uri),
        ("To", call.to_uri),
        ("Began", f"{moment(call.start)} UTC"),
        ("Status", status),
        ("Reason", " ".join(reason.split())),
        ("Post-dial delay", duration(call.post_dial_delay_ms)),
        ("Length", duration(call.duration_ms)),
        ("Hung up by", call.hung_up_by or ""),
        ("Legs", f"{len(call.legs)}" + (f", joined by {', '.join(call.joined_by)}" if call.joined_by else "")),
        ("Call-ID", call.call_id),
    ]
    found = "".join(f"<li>{text(one)}</li>" for one in view.findings)
    streams = "".join(_stream(one, view) for one in view.streams)
    more = f'<p class="quiet">{view.streams_left_out} further streams.</p>' if view.streams_left_out else ""
    return (
        f'<section id="call-{number}"><h2>{number}. {text(sentence(view.rated))}</h2>{_facts(facts)}'
        + (f"<h3>Findings</h3><ul>{found}</ul>" if found else "")
        + f"<h3>Ladder, UTC</h3>{_ladder(view.ladder)}"
        + (f'<h3>Streams</h3><div class="streams">{streams}</div>{more}' if streams else "<p>No media was seen.</p>")
        + '<p class="quiet"><a href="#">To the top</a></p></section>'
    )


def _ladder(shown: Ladder) -> str:
    if not shown.rungs:
        return '<p class="quiet">Its messages were not seen.</p>'
    ends = "".join(
        f'<div class="end" style="grid-column:{2 * place + 2}/span 2">{text(end)}</div>'
        for place, end in enumerate(shown.ends)
    )
    rows = [f'<div class="rung ends-row"><div></div>{ends}</div>']
    for rung in shown.rungs:
        left, right = min(rung.source, rung.target), max(rung.source, rung.target)
        way = "right" if rung.target > rung.source else "left" if rung.target < rung.source else "self"
        columns = f"{2 * left + 3}/{max(2 * right + 3, 2 * left + 4)}"
        rows.append(
            f'<div class="rung"><div class="at">{rung.at}<small>{rung.gap}</small></div>'
            f'<div class="arrow {way} is-{rung.kind}" style="grid-column:{columns}">{text(rung.label)}</div></div>'
        )
    left_out = f'<p class="quiet">{shown.left_out:,} further messages.</p>' if shown.left_out else ""
    body = f'<div class="ladder" style="--ends:{len(shown.ends)}">{"".join(rows)}</div>'
    return f'<div class="box" tabindex="0">{body}</div>{left_out}'


def _stream(view: StreamView, call: CallView) -> str:
    rated = view.rated
    stream, quality = rated
    mos = f"MOS {quality.mos:.2f}, R {decimals(quality.r_factor, 1)} ●" if quality.mos is not None else "no MOS"
    facts = (
        f"{stream.codec or 'codec not known'}, {count(stream.packets)} packets, {percent(stream.loss_percent)} % lost, "
        f"jitter {_jitter(stream)} ms, DSCP {_dscp(stream)}"
    )
    why = f'<p class="quiet">{text(quality.reason)}</p>' if quality.reason else ""
    terms = f"<h4>Where the R went</h4>{waterfall(view.terms)}" if view.terms is not None else ""
    command = f"<p><code>{text(quality.command)}</code></p>" if quality.command else ""
    begin, end = time_of_day(call.begin), time_of_day(call.end)
    table = _as_table(view, call)
    return (
        f"<div><h4>{text(stream.src)} → {text(stream.dst)} · {mos}</h4>"
        f'<p class="quiet">{text(facts)}</p>{why}{lanes(view, begin, end)}{table}'
        f"<h4>Delay variation</h4>{late_bars(view.late)}{terms}{command}</div>"
    )


def _as_table(view: StreamView, call: CallView) -> str:
    """Return the values of the plots as a table, folded away."""
    span = call.end - call.begin
    runs = "".join(
        f"<tr><td>{time_of_day(run.at)}</td><td>{run.packets:,}</td><td>{text(run.cause)}</td></tr>"
        for run in view.rated.stream.missing[:100]
    )
    rated = "".join(
        f"<tr><td>{time_of_day(round(call.begin + point.begin * span))}</td><td>{decimals(point.value, 2)}</td></tr>"
        for point in view.mos
    )
    inside = f"<table><tr><th>Missing until</th><th>packets</th><th>cause</th></tr>{runs}</table>" if runs else ""
    inside += f"<table><tr><th>10 s from</th><th>MOS</th></tr>{rated}</table>" if rated else ""
    return f"<details><summary>Show as table</summary>{inside}</details>" if inside else ""
