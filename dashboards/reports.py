"""Reports as pages: the documents of `callgauge report`, each figure with its formula, inputs and source at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from dash import Input, Output, State, dcc, html
from dash.development.base_component import Component

from analytics.cost.document import Document, Section, Shape
from analytics.cost.figures import Figure
from api.report.making import months_to
from api.report.plots import plot_of
from api.report.shown import (
    figure_of,
    figures_of,
    formula_in_words,
    heading,
    mark,
    number,
    one_mark,
    reasons,
    with_unit,
)
from api.web.kept import kept_of
from api.web.problems import Problem
from api.web.reporting import Asked, Reports, month_number
from api.web.rights import Right
from dashboards.figures.report import drawn
from dashboards.graphs import graph
from dashboards.pages import Asker, Callbacks, Page, View
from dashboards.parts import empty, page
from dashboards.under_charges import lines_below

SPANS = (1, 3, 12)
"""Months that a report can be asked for with one click."""
LEAST_PX = 620
"""Width under which plots scroll in their own boxes."""
MOST_ROWS_SHOWN = 12
"""Rows of a table that is seen at once; a longer one is folded."""
FIRST = (Shape.WATERFALL, Shape.MONTHS, Shape.DUMBBELLS, Shape.TORNADO)
"""Sections with these plots come first, in this order: what changed, since when, where, and how sure that is."""


def report_page(path: str, title: str, name: str, months: int, place: int, lead: str = "") -> Page:
    """Return the page of a report; `months` is how many it is asked for unless the URL says."""

    def layout(view: View) -> Component:
        last = month_number(view.here, view.query.get("month"))
        count = _count(view.query.get("months"), months)
        site = view.query.get("site")
        asked = Asked(name, last, count, site)
        try:
            document = _reports(view).document(asked)
        except Problem as problem:
            if problem.status != 404:
                raise
            command = "callgauge cdr import FOLDER --estate DIR"
            return page(title, _controls(path, name, asked, files=False), empty(problem.detail, command))
        ordered = sorted(document.sections, key=_turn)
        body = [_section(one, document) for one in ordered]
        itself: dict[str, Any] = {"data-report": name}
        return page(
            document.sentence,
            dcc.Store(id=f"report-{name}-figure"),
            dcc.Store(id=f"report-{name}-asked", data=_query(asked)),
            html.P(lead, className="lead") if lead else html.Span(),
            _controls(path, name, asked),
            html.Dl([html.Div([html.Dt(one), html.Dd(said)]) for one, said in document.facts], className="facts-list"),
            html.Div([html.Div(id=f"report-{name}-proof", className="proof", role="status"), *body], **itself),
            _sources(document),
        )

    def register(callbacks: Callbacks) -> None:
        _register(callbacks, name, months)

    return Page(path, title, Right.MONEY, layout, register, place=place)


def _reports(asker: Asker) -> Reports:
    return Reports(asker.here, kept_of(asker.connection))


def _count(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdigit() and 1 <= int(text) <= 120 else default


def _query(asked: Asked) -> str:
    named = {"month": f"{asked.month // 100}-{asked.month % 100:02d}", "months": str(asked.months)}
    return urlencode(named | ({"site": asked.site} if asked.site else {}))


def _controls(path: str, name: str, asked: Asked, *, files: bool = True) -> Component:
    """Return the months before and after, lengths, and downloads where there is anything; all of it is links."""
    before = months_to(asked.month, 2)[0]
    after = asked.month + 1 if asked.month % 100 < 12 else asked.month + 89

    def link(said: str, to: Asked, title: str = "") -> Component:
        look = "plain-button current" if to == asked else "plain-button"
        return dcc.Link(said, href=f"{path}?{_query(to)}", className=look, title=title)

    lengths = [link("1 month" if n == 1 else f"{n} months", asked._replace(months=n)) for n in SPANS]
    forms = [
        html.A(form.upper(), href=f"/api/v1/{_download(name)}?{_query(asked)}&format={form}", className="plain-button")
        for form in ("xlsx", "csv", "json", "html")
    ]
    return html.Div(
        [
            link("←", asked._replace(month=before), "the month before"),
            html.Span(f"to {asked.month // 100}-{asked.month % 100:02d}", className="quiet"),
            link("→", asked._replace(month=after), "the next month"),
            *lengths,
            *([html.Span("Download", className="quiet push"), *forms] if files else []),
        ],
        className="controls",
    )


def _download(name: str) -> str:
    return "savings/report" if name == "savings" else f"reports/{name}"


def _section(section: Section, document: Document) -> Component:
    shared = one_mark(figures_of(section, document))
    inside: list[Component] = [html.P(section.sentence, className="lead")]
    drawing = plot_of(section, document)
    if drawing is not None:
        units = [heading(head, document.currency) for head in section.heads if head.unit != "text"]
        inside.append(
            graph(drawn(drawing, units[0].rpartition("[")[2].rstrip("]") if units and "[" in units[0] else ""))
        )
    body = _table(section, document, shared)
    if drawing is not None or len(section.rows) > MOST_ROWS_SHOWN:
        said = "Show as table" if drawing is not None else f"Show {len(section.rows):,} rows"
        inside.append(html.Details([html.Summary(said), body], className="as-table"))
    else:
        inside.append(body)
    inside += [html.P(note, className="quiet") for note in (*section.notes, *reasons(section, document))]
    title = f"{section.title} {shared}" if shared else section.title
    return html.Section([html.H2(title), *inside], className="block", id=f"report-section-{section.name}")


def _turn(section: Section) -> int:
    shape = None if section.plot is None else section.plot.shape
    return FIRST.index(shape) if shape in FIRST else len(FIRST)


def _table(section: Section, document: Document, shared: str | None) -> Component:
    with_notes = any(row.note for row in section.rows)
    heads = [
        html.Th(heading(head, document.currency), scope="col", className="text" if head.unit == "text" else "")
        for head in section.heads
    ]
    rows = []
    for row in section.rows:
        cells: list[Component] = []
        for cell in row.cells:
            figure = figure_of(cell, document)
            cells.append(html.Td(str(cell), className="text") if figure is None else html.Td(_figure(figure, shared)))
        cells += [html.Td(row.note, className="quiet")] if with_notes else []
        rows.append(html.Tr(cells, className="total" if row.total else ""))
    head = html.Thead(html.Tr([*heads, *([html.Th("", scope="col")] if with_notes else [])]))
    return html.Div(html.Table([head, html.Tbody(rows)], className="plain money"), className="table-box", tabIndex=0)


def _figure(figure: Figure, shared: str | None) -> Component:
    """Return a figure as a button: it opens its proof."""
    sign = mark(figure)
    said = number(figure) + (f" {sign}" if sign and sign != shared else "")
    named: dict[str, Any] = {"data-figure": figure.key}
    return html.Button(said, className="figure", title=figure.why or f"{figure.label}: how it is made", **named)


def _sources(document: Document) -> Component:
    rows = [html.Div([html.Dt(name), html.Dd(said)]) for name, said in document.sources]
    return html.Details([html.Summary("Made from"), html.Dl(rows, className="facts-list")], className="as-table")


def _register(callbacks: Callbacks, name: str, months: int) -> None:
    @callbacks.callback(
        Output(f"report-{name}-proof", "children"),
        Input(f"report-{name}-figure", "data"),
        State(f"report-{name}-asked", "data"),
        prevent_initial_call=True,
    )
    def prove(asker: Asker, key: str | None, query: str | None) -> Any:
        if not key or query is None:
            return None
        named = dict(parse_qsl(query))
        asked = Asked(
            name, month_number(asker.here, named.get("month")), _count(named.get("months"), months), named.get("site")
        )
        document = _reports(asker).document(asked)
        return proof(document, key, lines_below(asker, key))


def proof(document: Document, key: str, below: Component | None = None) -> Component:
    """Return how a figure is made: its formula in words, its inputs down to their sources, and what lies `below`."""
    try:
        figure = document.book[key]
    except KeyError:
        return empty("There is no such figure in this report.")
    inputs = [document.book[one] for one in figure.inputs]
    parts: list[Component] = [
        html.H3([figure.label, ": ", html.Strong(with_unit(figure, document.currency)), f" {mark(figure)}"]),
    ]
    if figure.formula:
        parts.append(html.P(["= ", html.Code(formula_in_words(figure, document))]))
    if figure.why:
        parts.append(html.P(figure.why))
    if figure.source:
        parts.append(html.P(["From ", html.Code(figure.source)]))
    if inputs:
        parts.append(_inputs(inputs, document))
    if below is not None:
        parts.append(below)
    return html.Div(parts, className="panel")


def _inputs(inputs: Sequence[Figure], document: Document) -> Component:
    rows = []
    for one in inputs:
        named: dict[str, Any] = {"data-figure": one.key}
        button = html.Button(with_unit(one, document.currency), className="figure", **named)
        rows.append(html.Tr([html.Td(one.label), html.Td([button, f" {mark(one)}"]), html.Td(one.source)]))
    return html.Table(html.Tbody(rows), className="plain")
