"""Pairs of sites: which way is bad?"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from dash import Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from analytics.questions.asking import QuestionError
from analytics.questions.pairs import PairQuality, site_pairs
from api.web.rights import Right
from dashboards.figures.pairs import LEAST, OUTSIDE, by_region, heatmap, is_poor, pair_map
from dashboards.graphs import graph
from dashboards.pages import Asker, Callbacks, Page, View
from dashboards.parts import block, empty, failed, page, percent, table, value
from dashboards.spans import Chosen, choices, chosen, permanent

MOST_ROWS = 50


def layout(view: View) -> Component:
    """Return the map of pairs, or of one pair its own page."""
    try:
        span = chosen(view, view.query)
    except QuestionError as error:
        return page("Pairs", choices("/pairs", view.query), failed(str(error)))
    names = by_region(view.here.estate().sites)
    pairs = site_pairs(view.here.lake, span.since, span.until)
    if len(view.rest) == 2:
        wanted = {view.rest, view.rest[::-1]}
        pairs = tuple(one for one in pairs if (one.site or OUTSIDE, one.other_site or OUTSIDE) in wanted)
    path = "/".join(["/pairs", *view.rest])
    bad = [one for one in pairs if is_poor(one)]
    if not pairs:
        return page(f"No stream was heard from {span.said}.", choices(path, view.query), _nothing())
    inside = [one for one in bad if one.site is not None and one.other_site is not None]
    if bad:
        more = f", {len(inside)} of them between two sites" if inside else ""
        sentence = f"{len(bad)} of {len(pairs)} ways are poor{more}; {span.said}."
    else:
        sentence = f"None of {len(pairs)} ways is poor; {span.said}."
    shown = pair_map(pairs, names)
    rows = [_row(one, names) for one in pairs[:MOST_ROWS]]
    heads = ("From", "To", "Poor %", "95 % interval", "Poor", "Streams", "MOS", "Loss %", "Jitter ms", "DSCP 0", "")
    more_rows = [_more(len(pairs) - MOST_ROWS, span)] if len(pairs) > MOST_ROWS else []
    drawn: list[Component] = []
    if len(view.rest) != 2:
        left_out = (
            [html.P(f"{shown.left_out} quieter sites are left out.", className="quiet")] if shown.left_out else []
        )
        said = (
            "Rows send, columns receive; sites of one region stand together. "
            f"Hollow: fewer than {LEAST} rated streams, coloured where any was poor. "
            "A number: poor beyond chance [%]. A click leads to the pair."
        )
        drawn = [
            html.P(said, className="quiet"),
            graph(heatmap(shown), 340 + 12 * len(shown.sites), id="pairs-map"),
            *left_out,
            dcc.Location(id="pairs-go"),
        ]
    return page(
        sentence,
        choices(path, view.query),
        *drawn,
        block("Ways, most poor streams first", table(heads, rows, css="pairs"), *more_rows, of="measured"),
        permanent(path, view.query, span),
    )


def _row(one: PairQuality, names: dict[str, str]) -> tuple[Component | str, ...]:
    poor = one.poor
    interval = "—" if poor.low is None or poor.high is None else f"{100 * poor.low:.0f} to {100 * poor.high:.0f}"
    both = (("from_site", one.site), ("to_site", one.other_site))
    words = " ".join(f"{word}:{site}" for word, site in both if site is not None)
    return (
        _site(one.site, names),
        _site(one.other_site, names),
        value(None if poor.value is None else 100 * poor.value, 0, "no stream was rated"),
        interval,
        f"{poor.number:,}",
        f"{one.streams:,}",
        value(one.mos, 2, "no stream was rated"),
        percent(one.loss_percent),
        value(one.jitter_ms, 1),
        f"{one.unmarked:,}",
        dcc.Link("streams", href=f"/streams?{urlencode({'q': words, 'order': 'worst'})}"),
    )


def _nothing() -> Component:
    """Return what would fill the page."""
    said = "Streams of sites that talk to each other fill this page: widen the span, or have packets collected."
    return empty(said, "callgauge collect -i eth0 --store DIR --estate DIR")


def _more(count: int, span: Chosen) -> Component:
    """Return how many ways are not in the table, and where all of them are."""
    asked = urlencode({"since": _absolute(span.since), "until": _absolute(span.until), "format": "csv"})
    return html.P(
        [f"and {count:,} more ways: ", html.A("all of them as CSV", href=f"/api/v1/pairs?{asked}", download="")],
        className="quiet",
    )


def _absolute(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def register(callbacks: Callbacks) -> None:
    """Have a click on a cell lead to the pair's page."""

    @callbacks.callback(
        Output("pairs-go", "href"),
        Input("pairs-map", "clickData"),
        State("shell-url", "search"),
        prevent_initial_call=True,
    )
    def go(asker: Asker, clicked: Any, search: str | None) -> Any:
        try:
            of = clicked["points"][0]["customdata"]
            way = str(of if isinstance(of, str) else of[0])
            query = dict(parse_qsl((search or "").removeprefix("?")))
            span = chosen(asker, query)
        except (KeyError, IndexError, TypeError, QuestionError):
            return no_update
        asked = urlencode({"since": _absolute(span.since), "until": _absolute(span.until)})
        return f"/pairs/{'/'.join(quote(part, safe='') for part in way.split('/')[:2])}?{asked}"


def _site(site: str | None, names: dict[str, str]) -> Component | str:
    return OUTSIDE if site is None else dcc.Link(names.get(site, site), href=f"/site/{quote(site, safe='')}")


PAGE = Page("/pairs", "Pairs", Right.AGGREGATES, layout, register, place=30)
