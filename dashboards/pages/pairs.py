"""Pairs of sites: which way is bad?"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from dash import dcc, html
from dash.development.base_component import Component

from analytics.questions.asking import QuestionError
from analytics.questions.pairs import PairQuality, site_pairs
from api.web.rights import Right
from dashboards.figures.pairs import LEAST, OUTSIDE, heatmap, pair_map
from dashboards.graphs import graph
from dashboards.pages import Page, View
from dashboards.parts import block, empty, failed, page, percent, table, value
from dashboards.spans import choices, chosen, permanent

MOST_ROWS = 50


def layout(view: View) -> Component:
    """Return the map of pairs, or of one pair its own page."""
    try:
        span = chosen(view, view.query)
    except QuestionError as error:
        return page("Pairs", choices("/pairs", view.query), failed(str(error)))
    names = {site.site: site.name for site in view.here.estate().sites}
    pairs = site_pairs(view.here.lake, span.since, span.until)
    if len(view.rest) == 2:
        wanted = {view.rest, view.rest[::-1]}
        pairs = tuple(one for one in pairs if (one.site or OUTSIDE, one.other_site or OUTSIDE) in wanted)
    path = "/".join(["/pairs", *view.rest])
    bad = [one for one in pairs if one.poor.low is not None and one.poor.of >= LEAST and one.poor.low > 0.05]
    if not pairs:
        return page(f"No stream was heard from {span.said}.", choices(path, view.query), empty("Widen the span."))
    inside = [one for one in bad if one.site is not None and one.other_site is not None]
    if bad:
        more = f", {len(inside)} of them between two sites" if inside else ""
        sentence = f"{len(bad)} of {len(pairs)} ways are poor{more}; {span.said}."
    else:
        sentence = f"None of {len(pairs)} ways is poor; {span.said}."
    shown = pair_map(pairs, names)
    rows = [_row(one, names) for one in pairs[:MOST_ROWS]]
    heads = ("From", "To", "Streams", "Poor", "Poor %", "95 % interval", "MOS", "Loss %", "Jitter ms", "DSCP 0", "")
    more_rows = (
        [html.P(f"and {len(pairs) - MOST_ROWS:,} more ways", className="quiet")] if len(pairs) > MOST_ROWS else []
    )
    drawn: list[Component] = []
    if len(view.rest) != 2:
        left_out = (
            [html.P(f"{shown.left_out} quieter sites are left out.", className="quiet")] if shown.left_out else []
        )
        said = f"Rows send, columns receive. Hollow: fewer than {LEAST} rated streams."
        drawn = [html.P(said, className="quiet"), graph(heatmap(shown), 900, id="pairs-map"), *left_out]
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
        f"{one.streams:,}",
        f"{poor.number:,}",
        value(None if poor.value is None else 100 * poor.value, 0, "no stream was rated"),
        interval,
        value(one.mos, 2, "no stream was rated"),
        percent(one.loss_percent),
        value(one.jitter_ms, 1),
        f"{one.unmarked:,}",
        dcc.Link("streams", href=f"/streams?{urlencode({'q': words, 'order': 'worst'})}"),
    )


def _site(site: str | None, names: dict[str, str]) -> Component | str:
    return OUTSIDE if site is None else dcc.Link(names.get(site, site), href=f"/site/{quote(site, safe='')}")


PAGE = Page("/pairs", "Pairs", Right.AGGREGATES, layout, place=30)
