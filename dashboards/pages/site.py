"""One site: what is wrong here, and is it us?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from dash import Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from analytics.questions.alerts import alert_history
from analytics.questions.asking import QuestionError, Share
from analytics.questions.one_site import SiteDetail, site_detail
from analytics.questions.pairs import PairQuality, site_pairs
from analytics.questions.path import path_health
from analytics.questions.sites import (
    DEFAULT_LEVELS,
    Measures,
    SiteNow,
    SiteState,
    measures_of,
    site_series,
    state_of,
)
from api.web.asked import present
from api.web.kept import kept_of
from api.web.problems import Problem
from api.web.reporting import Asked, Reports
from api.web.rights import Right
from api.web.routes.sites import sites_here
from collector.transport.agents import read_agents
from dashboards.figures.alerts import timeline
from dashboards.figures.site import Way, lanes, over_time, ways_figure
from dashboards.graphs import graph
from dashboards.pages import Asker, Callbacks, Page, View
from dashboards.parts import as_of, as_table, block, empty, evidence, failed, mark, page, percent, table, term, value
from dashboards.spans import Chosen, choices, chosen, permanent

MOST_WAYS = 25
AGAIN_MS: Final = 10_000


def layout(view: View) -> Component:
    """Return the page of the site that stands in the path; without one, all sites to choose from."""
    if len(view.rest) != 1:
        every = dcc.Interval(id="site-all-again", interval=AGAIN_MS)
        return html.Div([every, html.Div(_all(view), id="site-all")], className="page")
    site = _site(view, view.rest[0])
    path = f"/site/{quote(view.rest[0], safe='')}"
    if site is None:
        return page(
            "There is no such site.", empty("The estate says which sites there are.", "callgauge estate check DIR")
        )
    try:
        span = chosen(view, view.query)
    except QuestionError as error:
        return page(site.name, choices(path, view.query), failed(str(error)))
    past = bool(view.query.get("until"))
    shown = _then(view, site, span) if past else _now(view, site)
    live = [] if past else [dcc.Interval(id="site-again", interval=AGAIN_MS), dcc.Store(id="site-of", data=site.site)]
    return html.Div(
        [
            html.Div(shown, id="site-now"),
            *live,
            choices(path, view.query),
            _over_time(view, site.site, span),
            _ways(view, site.site, span),
            _detail(view, site.site, span),
            *_cost(view, site.site),
            permanent(path, view.query, span),
        ],
        className="page",
    )


def register(callbacks: Callbacks) -> None:
    """Renew what is so now, and tell the month's cost when it is worked out."""

    @callbacks.callback(
        Output("site-all", "children"), Input("site-all-again", "n_intervals"), prevent_initial_call=True
    )
    def all_again(asker: Asker, _count: int | None) -> Any:
        return _all(asker)

    @callbacks.callback(
        Output("site-now", "children"),
        Input("site-again", "n_intervals"),
        State("site-of", "data"),
        prevent_initial_call=True,
    )
    def again(asker: Asker, _count: int | None, key: Any) -> Any:
        site = _site(asker, str(key))
        return no_update if site is None else _now(asker, site)

    @callbacks.callback(Output("site-cost", "children"), Input("site-cost-of", "data"), right=Right.MONEY)
    def cost(asker: Asker, key: Any) -> Any:
        local = present(asker.here).astimezone(ZoneInfo(asker.here.estate().settings.timezone))
        asked = Asked("costs", local.year * 100 + local.month, 1, str(key))
        try:
            return Reports(asker.here, kept_of(asker.connection)).document(asked).sentence
        except Problem as problem:
            return problem.detail


def _site(asker: Asker, key: str) -> SiteNow | None:
    return next((one for one in sites_here(asker.here) if one.site == key), None)


def _now(asker: Asker, site: SiteNow) -> list[Component]:
    """Return how the site is now."""
    zone = asker.here.estate().settings.timezone
    sentence = [site.name or site.site, " ", mark(site.state.value), f" · {site.reason}"]
    return [_head(sentence, [as_of(present(asker.here), zone)]), _facts(asker, site, site.measures, site.calls_now)]


def _then(view: View, site: SiteNow, span: Chosen) -> list[Component]:
    """Return how the site was in a span that is over: the same tomorrow as today."""
    rows = view.here.series.totals([site.site], span.since, span.until).to_pylist()
    of = measures_of(rows[0], (span.until - span.since).total_seconds()) if rows else None
    state, said = SiteState.NO_DATA, "no call and no stream"
    if of is not None:
        state = state_of(of.calls, of.streams, of.poor, DEFAULT_LEVELS)
        said = f"{of.poor.number:,} of {of.poor.of:,} streams poor"
        if of.poor.value is not None and of.poor.low is not None and of.poor.high is not None:
            said += f" ({100 * of.poor.value:.1f} %, {100 * of.poor.low:.1f} to {100 * of.poor.high:.1f} %)"
    sentence = [site.name or site.site, " ", mark(state.value), f" · {said}; {span.said}"]
    return [_head(sentence, []), _facts(view, site, of, None)]


def _head(sentence: list[Any], beside: list[Component]) -> Component:
    made: Component = html.Div([html.H1(sentence, className="answer"), *beside], className="answer-line")
    return made


def _all(asker: Asker) -> list[Component]:
    found = sites_here(asker.here)
    rows = [
        (
            dcc.Link(one.name or one.site, href=f"/site/{quote(one.site, safe='')}"),
            one.kind or "not in the estate",
            mark(one.state.value),
            value(one.calls_now, 0, "no minute within the window"),
            value(None if one.measures is None else one.measures.mos, 2),
        )
        for one in found
    ]
    if not rows:
        what = "No site is known yet: an estate says which there are, and packets or records fill them."
        return [html.H1("Which site?", className="answer"), empty(what, "callgauge init")]
    now = as_of(present(asker.here), asker.here.estate().settings.timezone)
    return [_head(["Which site?"], [now]), table(("Site", "Kind", "State", "Calls now", "MOS"), rows)]


def _facts(asker: Asker, site: SiteNow, of: Measures | None, calls_now: float | None) -> Component:
    """Return figures: of now, or of a span that is over (`calls_now` is None)."""
    up: tuple[Component | str, Component | str]
    if calls_now is None and of is not None:
        up = ("Calls up, mean", value(of.busy, 2))
    else:
        up = (term("calls now", "Calls now"), value(calls_now, 0, "no minute within the window"))
    facts: list[tuple[Component | str, Component | str]] = [
        ("Kind", site.kind or "not in the estate"),
        up,
        (term("MOS", "MOS ●"), value(None if of is None else of.mos, 2)),
        (term("loss", "Loss %"), percent(None if of is None else of.loss_percent)),
        (term("jitter", "Jitter ms"), value(None if of is None else of.jitter_ms, 1)),
        ("Failed of calls begun", "—" if of is None else f"{of.failed:,} of {of.calls:,}"),
    ]
    channels = _channels(asker, site.site)
    if channels is not None:
        facts.append(("Channels", f"{channels:,}"))
    if asker.may(Right.CALLS):
        facts.append(("Calls", dcc.Link("list them", href=f"/calls?q=site:{quote(site.site, safe='')}&order=worst")))
    return html.Dl([html.Div([html.Dt(name), html.Dd(said)]) for name, said in facts], className="facts-list")


def _channels(asker: Asker, site: str) -> int | None:
    """Return how many calls the site's trunks carry; None where no trunk of it says so."""
    stated = [one.channels for one in asker.here.estate().trunks if one.site == site and one.channels is not None]
    return sum(stated) if stated else None


def _over_time(view: View, site: str, span: Chosen) -> Component:
    length = span.until - span.since
    step = "minute" if length <= timedelta(hours=3) else "hour" if length <= timedelta(days=10) else "day"
    zone = view.here.estate().settings.timezone
    points = site_series(view.here.series, [site], span.since, span.until, step, zone=zone, band=True)
    if not points:
        return block("Over time", empty(f"Nothing was heard of it from {span.said}."))
    shown = lanes(points, zone)
    rows = [
        (f"{at:%d %b %H:%M}", *(value(lane.values[place], 2) for lane in shown))
        for place, at in enumerate(shown[0].times)
    ]
    heads = ("From", *(f"{lane.name} {lane.unit}".strip() for lane in shown))
    local = ZoneInfo(zone)
    whole = (span.since.astimezone(local), span.until.astimezone(local))
    drawn = over_time(shown, _alerts(view, site, span), whole, _channels(view, site))
    said = "Grey: own past. Thin bars: 95 % interval. Hollow: fewer than 20 rated streams."
    return block(
        f"By {step}, {span.said}",
        html.P(said, className="quiet"),
        graph(drawn, id="site-lanes"),
        as_table(heads, rows),
        of="measured",
    )


def _alerts(view: View, site: str, span: Chosen) -> list[tuple[datetime, datetime, str]]:
    """Return when alerts of the site held in a span."""
    changes = alert_history(view.here.lake, span.since, span.until, site=site)
    until = min(span.until, present(view.here))
    shown = timeline(changes, span.since, until, {}, {}, view.here.estate().settings.timezone)
    return [(held.since, held.until, line.rule.replace("_", " ")) for line in shown.lines for held in line.held]


def _ways(view: View, site: str, span: Chosen) -> Component:
    names = {one.site: one.name for one in view.here.estate().sites}
    pairs = site_pairs(view.here.lake, span.since, span.until, site=site)
    if not pairs:
        return block("With whom", empty("No stream was heard in the span."))
    others: dict[str | None, dict[str, PairQuality]] = {}
    for one in pairs:
        if one.site == site:
            others.setdefault(one.other_site, {})["sent"] = one
        if one.other_site == site:
            others.setdefault(one.site, {})["received"] = one
    ways = []
    for other, both in others.items():
        streams = sum(each.streams for each in both.values())
        name = "outside" if other is None else names.get(other, other)
        shares = {way: each.poor for way, each in both.items()}
        ways.append(Way(name, shares.get("sent"), shares.get("received"), streams))
    ways.sort(key=lambda way: -way.streams)
    rows = [(way.name, f"{way.streams:,}", *_way(way.sent), *_way(way.received)) for way in ways]
    shown = ways[:MOST_WAYS]
    left = f"Drawn are the {MOST_WAYS} with the most streams of {len(ways)}; the table has all."
    heads = ("Other side", "Streams", "Sent, poor %", "95 %", "Received, poor %", "95 %")
    return block(
        "With whom: all bad, the fault is here; one bad, it is there",
        *([html.P(left, className="quiet")] if len(ways) > MOST_WAYS else []),
        graph(ways_figure(shown), id="site-ways"),
        as_table(heads, rows),
        of="measured",
    )


def _way(of: Share | None) -> tuple[Component | str, Component | str]:
    if of is None or of.value is None or of.low is None or of.high is None:
        return value(None, 0, "no stream was rated"), value(None, 0, "no stream was rated")
    return f"{100 * of.value:.0f}", f"{100 * of.low:.0f} to {100 * of.high:.0f}"


def _detail(view: View, site: str, span: Chosen) -> Component:
    """Return what its streams were marked with, how they are known, and by whom they were captured."""
    of = site_detail(view.here.lake, site, span.since, span.until)
    rows = [
        ("DSCP of what it sent", _marks(of.sent_marks)),
        ("DSCP of what it received", _marks(of.received_marks)),
        ("How streams are known", _known(of.evidence)),
        ("Capture now", _capture(view, site)),
    ]
    inside: list[Component] = [
        html.Dl([html.Div([html.Dt(name), html.Dd(said)]) for name, said in rows], className="facts-list wide")
    ]
    if view.may(Right.CALLS) and of.devices:
        inside.append(_devices(of))
    return block("Marks, evidence, capture" + (", devices" if len(inside) > 1 else ""), *inside)


def _marks(of: Mapping[int | None, int]) -> str:
    whole = sum(of.values())
    if not whole:
        return "no stream"
    said = []
    for dscp, count in of.items():
        name = "not known" if dscp is None else f"{dscp} (no priority)" if dscp == 0 else str(dscp)
        said.append(f"{name}: {count:,} of {whole:,}")
    return ", ".join(said)


def _known(of: Mapping[str, int]) -> list[Any]:
    if not of:
        return ["no stream"]
    return [part for kind, count in of.items() for part in (evidence(kind), f" {kind} {count:,}  ")]


def _capture(view: View, site: str) -> str:
    """Return whether what is measured of the site comes in whole."""
    own = [one for one in read_agents(view.here.store) if one.site == site]
    if own:
        return ", ".join(
            f"agent {one.agent or one.identity[:8]} {'online' if one.online else 'offline'}, "
            f"{one.lost + one.spool_dropped + one.queue_dropped:,} messages lost"
            for one in own
        )
    found = path_health(view.here.lake, present(view.here))
    running = [one for one in found.processes if one.command == "collect" and one.state == "running"]
    silent = [one.name for one in found.processes if one.command == "collect" and one.state == "silent"]
    if not running and not silent:
        return "no collector runs"
    problems = [problem for one in running for problem in one.problems]
    dropped = sum(sum(step.lost.values()) for one in running for step in one.steps[:1])
    parts = [f"no agent of its own; {len(running)} collector{'s run' if len(running) != 1 else ' runs'}"]
    parts += [f"{', '.join(silent)} fell silent"] if silent else []
    parts.append("; ".join(problems) if problems else f"{dropped:,} packets lost at capture")
    return "; ".join(parts)


def _devices(of: SiteDetail) -> Component:
    rows = [
        (one.address, f"{one.streams:,}", f"{one.poor.number:,} of {one.poor.of:,}", _way(one.poor)[1],
         value(one.mos, 2, "no stream was rated"), percent(one.loss_percent))
        for one in of.devices
    ]  # fmt: skip
    heads = ("Device", "Streams", "Poor", "95 % of poor", "MOS", "Loss %")
    more = of.addresses - len(of.devices)
    caption = "Most poor streams first" + (f"; {more:,} more devices are not shown" if more else "")
    return table(heads, rows, caption)


def _cost(view: View, site: str) -> list[Component]:
    """Return the place of this month's cost, for those who may see money: it is worked out when the rest is there."""
    if not view.may(Right.MONEY):
        return []
    return [
        block(
            "Cost this month",
            dcc.Store(id="site-cost-of", data=site),
            html.P("being worked out …", id="site-cost", role="status"),
            dcc.Link("this site's costs", href=f"/costs?site={quote(site, safe='')}"),
        )
    ]


PAGE = Page("/site", "Sites", Right.AGGREGATES, layout, register, place=10)
