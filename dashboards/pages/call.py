"""One call: what happened to it?"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from dash import dcc, html
from dash.development.base_component import Component

from analytics.questions.asking import QuestionError
from analytics.questions.comparing import Comparison, Saying
from analytics.questions.one_call import CallPage, one_call
from analytics.questions.streams import StreamRow
from analytics.questions.terms import StreamTerms
from api.web.rights import Right
from dashboards.figures.call import Ladder, ladder, length, over_time, sentence, tracks, waterfall
from dashboards.graphs import graph
from dashboards.pages import Page, View
from dashboards.parts import as_table, block, empty, evidence, missing, page, percent, table, term, value


def layout(view: View) -> Component:
    """Return the page of the call whose key stands in the path."""
    if len(view.rest) != 1:
        return page("Which call?", empty("Calls are found on the page of calls.", "/calls"))
    view.note("call.view", view.rest[0])
    try:
        found = one_call(view.here.lake, view.rest[0], source=view.query.get("source"))
    except QuestionError as error:
        return page("There is no such call.", html.P(str(error)))
    if found is None:
        return page("There is no such call.", html.P("It may be older than what the store keeps."))
    zone = view.here.estate().settings.timezone
    return page(
        sentence(found, zone),
        _facts(view, found, zone),
        _ladder(ladder(found.ladder, zone), found, zone),
        _streams(found, zone),
        _terms(found),
        _who_says_what(found),
        _events(found, zone),
    )


def _facts(view: View, found: CallPage, zone: str) -> Component:
    call, local = found.call, ZoneInfo(zone)
    names = {site.site: site.name for site in view.here.estate().sites}

    def party(number: str | None, address: str | None, site: str | None) -> list[Component | str]:
        said: list[Component | str] = [
            missing("the signalling names nobody") if number is None else (view.number(number) or "")
        ]
        if site is not None:
            said += [" · ", dcc.Link(names.get(site, site), href=f"/site/{quote(site, safe='')}")]
        return [*said, f" · {address}"] if address else said

    facts: list[tuple[Component | str, Any]] = [
        ("From", party(call.calling, call.from_address, call.site)),
        ("To", party(call.called, call.to_address, call.other_site)),
        ("Began", f"{call.start.astimezone(local):%A %d %B %Y, %H:%M:%S.%f}"[:-3] + f" {zone}"),
        ("Status", "—" if call.status is None else str(call.status)),
        (
            term("PDD", "Post-dial delay s"),
            value(None if call.pdd_ms is None else call.pdd_ms / 1e3, 2, "no ringing seen"),
        ),
        (term("MOS"), value(call.mos, 2, "no stream could be rated")),
        ("Codecs", ", ".join(call.codecs) or "—"),
        ("Call-ID", html.Code(call.call_id)),
        ("Seen by", ", ".join([call.source, *(tap.source for tap in found.taps)])),
    ]
    rows = [html.Div([html.Dt(name), html.Dd(said)]) for name, said in facts]
    return html.Dl(rows, className="facts-list")


def _ladder(shown: Ladder, found: CallPage, zone: str) -> Component:
    if not shown.rungs:
        why = "No messages of this call are kept: they live shorter than the call, or its source saw none."
        return block("Ladder", empty(why))
    columns = len(shown.ends)
    head = [
        html.Div(end, className="ladder-end", style={"gridColumn": f"{2 * place + 2} / span 2"})
        for place, end in enumerate(shown.ends)
    ]
    rows: list[Component] = [
        html.Div([html.Div("", className="ladder-time"), *head], className="ladder-row ladder-head")
    ]
    answered = False
    for rung in shown.rungs:
        rows.append(_rung(rung.at, rung.gap, rung.source, rung.target, rung.label, rung.kind))
        if not answered and rung.kind == "request" and rung.label.startswith("ACK") and found.streams:
            answered = True
            rows.append(_media(found, columns))
    style = {"--columns": str(columns)}
    more = [html.P(f"{shown.left_out} messages of further endpoints are left out.")] if shown.left_out else []
    body = html.Div(rows, className="ladder", style=style, tabIndex=0, role="group")
    plain = [
        (rung.at, rung.gap, shown.ends[rung.source], shown.ends[rung.target], rung.label, str(rung.leg))
        for rung in shown.rungs
    ]
    listed = as_table(("Time", "Since before", "From", "To", "Message", "Leg"), plain)
    return block(f"Ladder, {zone}", html.Div(body, className="table-box"), *more, listed, of="measured")


def _rung(at: str, gap: str, source: int, target: int, label: str, kind: str) -> Component:
    left, right = min(source, target), max(source, target)
    way = "right" if target > source else "left" if target < source else "self"
    start, end = 2 * left + 3, max(2 * right + 3, 2 * left + 4)
    arrow = html.Div(label, className=f"arrow {way} is-{kind}", style={"gridColumn": f"{start} / {end}"})
    return html.Div([html.Div([at, html.Small(gap)], className="ladder-time"), arrow], className="ladder-row")


def _media(found: CallPage, columns: int) -> Component:
    """Return the band of media between the ends; its shade is the loss of the worst stream."""
    worst = max((one.loss_percent or 0.0 for one in found.streams), default=0.0)
    shade = min(0.9, 0.12 + worst / 12)
    count = len(found.streams)
    seconds = found.call.seconds
    said = f"media: {count} stream{'s' if count != 1 else ''}, {worst:.2f} % lost at worst"
    said += "" if seconds is None else f", {length(seconds)}"
    band = html.Div(said, className="media", style={"gridColumn": f"3 / {2 * columns + 1}", "--shade": f"{shade:.2f}"})
    return html.Div([html.Div("", className="ladder-time"), band], className="ladder-row")


def _streams(found: CallPage, zone: str) -> Component:
    if not found.streams:
        return block("Streams", empty("No media of this call was seen."))
    heads = ("From → to", "Codec", "MOS", "R", "Loss %", "Runs", "Jitter ms", "PDV p95 ms", "Burst ratio", "DSCP")
    listed = table(heads, [_stream(one) for one in found.streams])
    with_pieces = tracks(found, zone)
    kind = found.streams[0].evidence
    if not with_pieces:
        return block("Streams", listed, empty("Intervals of these streams are no longer kept."), of=kind)
    drawn = graph(over_time(with_pieces), 280 * len(with_pieces), id="call-streams")
    rows = [
        (
            track.name,
            f"{at:%H:%M:%S}",
            percent(loss),
            value(jitter, 1),
            value(mos, 2, "not rated"),
        )
        for track in with_pieces
        for at, loss, jitter, mos in zip(track.times, track.loss_percent, track.jitter_ms, track.mos, strict=True)
    ]
    pieces = as_table(("Stream", "Middle of interval", "Loss %", "Jitter ms", "MOS"), rows)
    return block("Streams", listed, drawn, pieces, of=kind)


def _stream(one: StreamRow) -> tuple[Component | str, ...]:
    return (
        f"{one.from_address} → {one.to_address}",
        one.codec or missing("neither SDP nor a static payload type says it"),
        value(one.mos, 2, one.why_no_mos or "not rated"),
        value(one.r_factor, 1, one.why_no_mos or "not rated"),
        percent(one.loss_percent),
        value(one.loss_runs, 0, "not measured"),
        value(one.jitter_ms, 1, "clock rate not known"),
        value(one.pdv_p95_ms, 1, "clock rate not known"),
        value(one.burst_ratio, 2, "no loss"),
        value(one.dscp, 0, "not known"),
    )


def _terms(found: CallPage) -> Component:
    if not found.terms:
        return block("Where the R went", empty("No stream of this call has a rating that can be taken apart."))
    names = {one.key: f"{one.from_address} → {one.to_address}" for one in found.streams}
    return block("Where the R went", html.Div([_one_of(one, names) for one in found.terms], className="side-by-side"))


def _one_of(terms: StreamTerms, names: dict[str, str]) -> Component:
    steps = [(step.name, step.clause, step.inputs, f"{step.change:+.2f}", f"{step.r:.2f}") for step in terms.steps]
    command = f"call-command-{terms.stream_key}"
    return html.Div(
        [
            html.H3(f"{names.get(terms.stream_key, '')} · R {terms.r_factor:.1f}, MOS {terms.mos:.2f}"),
            graph(waterfall(terms)),
            html.Div([html.Code(terms.command, id=command), dcc.Clipboard(target_id=command)], className="command"),
            as_table(("Term", "Clause of G.107", "Inputs", "Adds", "R"), steps),
        ]
    )


def _who_says_what(found: CallPage) -> Component:
    if not found.comparison:
        return block("Who says what", empty("Only packets speak of this call: no record or report was matched to it."))
    people = list(dict.fromkeys(one.who for row in found.comparison for one in row.said))
    names = {one.key: f"{one.from_address} → {one.to_address}" for one in found.streams}
    rows = [_compared(row, people, names) for row in found.comparison]
    heads = ("", "About", *people, "Likely reason")
    return block("Who says what", table(heads, rows))


def _compared(row: Comparison, people: list[str], names: dict[str, str]) -> tuple[Component | str, ...]:
    said = {one.who: one for one in row.said}
    what = f"{row.what} {row.unit}".strip()
    mark = html.Span(["≠ ", what], className="mark state-degraded", title="they disagree") if row.differs else what
    cells = [_said(said.get(who)) for who in people]
    return (mark, names.get(row.about, row.about), *cells, row.why if row.differs else "")


def _said(one: Saying | None) -> Component | str:
    if one is None:
        return missing("says nothing of it")
    shown = f"{one.value:,.2f}".rstrip("0").rstrip(".") if isinstance(one.value, float) else str(one.value)
    return html.Span([shown, " ", evidence(one.evidence)])


def _events(found: CallPage, zone: str) -> Component:
    local = ZoneInfo(zone)
    rows = [
        (
            f"{one.at.astimezone(local):%H:%M:%S.%f}"[:-3],
            one.what,
            one.seen_by,
            " → ".join(filter(None, (one.from_address, one.to_address))),
            one.detail,
        )
        for one in found.events
    ]
    return block("What happened", table(("Time", "What", "Seen by", "Between", ""), rows, css="words"))


PAGE = Page("/call", "Call", Right.CALLS, layout)
