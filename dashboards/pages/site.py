"""One site: what is wrong here, and is it us?"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from urllib.parse import quote

from dash import dcc, html
from dash.development.base_component import Component

from analytics.questions.alerts import alert_history
from analytics.questions.asking import QuestionError
from analytics.questions.pairs import PairQuality, site_pairs
from analytics.questions.sites import SiteNow, site_series
from api.web.asked import present
from api.web.rights import Right
from api.web.routes.sites import sites_here
from dashboards.figures.alerts import timeline
from dashboards.figures.site import Way, lanes, over_time, ways_figure
from dashboards.graphs import graph
from dashboards.pages import Page, View
from dashboards.parts import as_table, block, empty, failed, mark, page, percent, table, term, value
from dashboards.spans import Chosen, choices, chosen, permanent

MOST_WAYS = 25


def layout(view: View) -> Component:
    """Return the page of the site that stands in the path; without one, all sites to choose from."""
    found = {one.site: one for one in sites_here(view.here)}
    if len(view.rest) != 1:
        return _all(tuple(found.values()))
    site = found.get(view.rest[0])
    path = f"/site/{quote(view.rest[0], safe='')}"
    if site is None:
        return page(
            "There is no such site.", empty("The estate says which sites there are.", "callgauge estate check DIR")
        )
    try:
        span = chosen(view, view.query)
    except QuestionError as error:
        return page(site.name, choices(path, view.query), failed(str(error)))
    name = site.name or site.site
    state = html.Span([name, " ", mark(site.state.value), f" · {site.reason}"])
    return page(
        state,
        choices(path, view.query),
        _facts(view, site),
        _over_time(view, site.site, span),
        _ways(view, site.site, span),
        permanent(path, view.query, span),
    )


def _all(found: tuple[SiteNow, ...]) -> Component:
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
    return page("Which site?", table(("Site", "Kind", "State", "Calls now", "MOS"), rows))


def _facts(view: View, site: SiteNow) -> Component:
    of = site.measures
    facts: list[tuple[Component | str, Component | str]] = [
        ("Kind", site.kind or "not in the estate"),
        (term("calls now", "Calls now"), value(site.calls_now, 0, "no minute within the window")),
        (term("MOS", "MOS ●"), value(None if of is None else of.mos, 2)),
        (term("loss", "Loss %"), percent(None if of is None else of.loss_percent)),
        (term("jitter", "Jitter ms"), value(None if of is None else of.jitter_ms, 1)),
        ("Failed of calls begun", "—" if of is None else f"{of.failed:,} of {of.calls:,}"),
    ]
    channels = [trunk for trunk in view.here.estate().trunks if trunk.site == site.site and trunk.channels is not None]
    if channels:
        facts.append(("Channels", f"{sum(trunk.channels or 0 for trunk in channels):,}"))
    if view.may(Right.MONEY):
        facts.append(("Cost", dcc.Link("this site's costs", href=f"/costs?site={quote(site.site, safe='')}")))
    if view.may(Right.CALLS):
        facts.append(("Calls", dcc.Link("list them", href=f"/calls?q=site:{quote(site.site, safe='')}&order=worst")))
    return html.Dl([html.Div([html.Dt(name), html.Dd(said)]) for name, said in facts], className="facts-list")


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
    title = f"By {step}, {span.said}"
    return block(
        title, graph(over_time(shown, _alerts(view, site, span)), id="site-lanes"), as_table(heads, rows), of="measured"
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
        shares = {way: 100 * each.poor.value for way, each in both.items() if each.poor.value is not None}
        streams = sum(each.streams for each in both.values())
        name = "outside" if other is None else names.get(other, other)
        ways.append(Way(name, shares.get("sent"), shares.get("received"), streams))
    ways.sort(key=lambda way: -way.streams)
    marks = Counter({"DSCP 0": sum(one.unmarked for one in pairs if one.site == site)})
    sent = sum(one.streams for one in pairs if one.site == site)
    said = f"{marks['DSCP 0']:,} of {sent:,} streams that it sent carry DSCP 0, no priority." if marks["DSCP 0"] else ""
    rows = [(way.name, f"{way.streams:,}", value(way.sent, 0), value(way.received, 0)) for way in ways]
    shown = ways[:MOST_WAYS]
    return block(
        "With whom: all bad, the fault is here; one bad, it is there",
        html.P(said, className="quiet") if said else html.Span(),
        graph(ways_figure(shown), id="site-ways"),
        as_table(("Other side", "Streams", "Sent, poor %", "Received, poor %"), rows),
        of="measured",
    )


PAGE = Page("/site", "Sites", Right.AGGREGATES, layout, place=10)
