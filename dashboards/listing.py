"""Lists of calls and of streams: filters typed as words and kept in the URL, a histogram, and rows as wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import dash_ag_grid as dag
from dash import Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from analytics.questions.asking import QuestionError
from analytics.questions.calls import Order, Search
from analytics.questions.over_time import counts_over_time
from analytics.questions.words import KEYS, Condition, parse_words
from api.web.asked import span
from api.web.problems import Problem
from api.web.rights import Right
from api.web.routes.calls import noted, permitted
from dashboards.figures.listing import bars, histogram
from dashboards.graphs import graph
from dashboards.pages import Asker, Callbacks, Page, View
from dashboards.parts import DASH, as_table, empty, failed, page

BLOCK: Final = 100
"""Rows that are fetched at a time."""
SPANS: Final = (("1h", "1 hour"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))
ORDERS: Final = (("newest", "newest first"), ("worst", "worst first"), ("oldest", "oldest first"))
Row = Mapping[str, Any]
Fetched = tuple[Sequence[Row], str | None]
Fetch = Callable[[Asker, Search, str | None, str], Fetched]
"""Gives rows of a search from a cursor on, in a zone, and the cursor of what follows."""


def listing(path: str, title: str, table: str, columns: Sequence[Mapping[str, Any]], fetch: Fetch, place: int) -> Page:
    """Return the page of a list; `table` is `calls` or `streams`."""

    def layout(view: View) -> Component:
        try:
            search = _search(view, view.query)
        except (QuestionError, Problem) as error:
            said = error.detail if isinstance(error, Problem) else str(error)
            return page(title, _form(path, view.query), failed(said[:1].upper() + said[1:], still="Change the filter."))
        asked_span = {"since": search.since.isoformat(), "until": search.until.isoformat()}
        view.note(f"{table}.search", noted(list(search.words)), **asked_span)
        zone = view.here.estate().settings.timezone
        buckets = counts_over_time(view.here.lake, table, permitted(view.here, view.caller, search))
        count, poor = sum(one.number for one in buckets), sum(one.poor for one in buckets)
        local = ZoneInfo(zone)
        since, until = search.since.astimezone(local), search.until.astimezone(local)
        span_said = f"{since:%d %b %H:%M} to {until:%d %b %H:%M} {zone}"
        sentence = f"{count:,} {table} from {span_said}, {poor:,} of them poor."
        if not count:
            asked = "Widen the span or take a word away." if search.words else "Live traffic or a replay fills it."
            command = "" if search.words else "callgauge collect -i eth0 --store DIR"
            return page(
                sentence, _form(path, view.query), _chips(path, view.query, search.words), empty(asked, command)
            )
        over_time = histogram(buckets, zone)
        rows = [
            (f"{at:%d %b %H:%M}", f"{bad + good + none:,}", f"{bad:,}", f"{none:,}")
            for at, bad, good, none in zip(
                over_time.starts, over_time.poor, over_time.others, over_time.unrated, strict=True
            )
        ]
        drawn = graph(bars(over_time), id=f"{table}-histogram")
        return page(
            sentence,
            _form(path, view.query),
            _chips(path, view.query, search.words),
            drawn,
            as_table(("From", table.capitalize(), "Poor", "Unrated"), rows),
            dcc.Store(id=f"{table}-asked", data={"query": dict(view.query), **asked_span}),
            dcc.Location(id=f"{table}-go", refresh=True),
            dcc.Store(id=f"{table}-cursors", data={"0": None}),
            _grid(table, columns),
            _exports(table, view.query, search),
        )

    def register(callbacks: Callbacks) -> None:
        _register(callbacks, table, fetch)

    return Page(path, title, Right.CALLS, layout, register, place=place)


def _search(asker: Asker, query: Mapping[str, str]) -> Search:
    since, until = span(asker.here, query.get("since") or None, query.get("until") or None, timedelta(hours=24))
    order = query.get("order", "newest")
    if order not in set(Order):
        raise QuestionError(f"there is no order {order[:20]}: {', '.join(Order)}")
    return Search(since, until, parse_words(query.get("q", "")), Order(order))


def _form(path: str, query: Mapping[str, str]) -> Component:
    """Return the filter as a plain form: what it asks for stands in the URL."""
    since = query.get("since", "24h")
    chosen = list(SPANS) if since in dict(SPANS) else [(since, "as chosen"), *SPANS]
    hidden = [dcc.Input(type="hidden", name="until", value=query["until"])] if query.get("until") else []
    return html.Form(
        [
            html.Label(
                [
                    html.Span("Filter", className="quiet"),
                    dcc.Input(
                        name="q",
                        value=query.get("q", ""),
                        placeholder="site:ashcombe mos<3 codec:pcma state:failed",
                        type="search",
                        autoComplete="off",
                        className="filter",
                    ),
                ]
            ),
            html.Label([html.Span("Since", className="quiet"), _select("since", chosen, since)]),
            html.Label([html.Span("Order", className="quiet"), _select("order", ORDERS, query.get("order", "newest"))]),
            *hidden,
            html.Button("Show", type="submit", className="plain-button"),
            html.Details(
                [
                    html.Summary("Words"),
                    html.Dl([html.Div([html.Dt(key), html.Dd(rule.doc)]) for key, rule in KEYS.items()]),
                ],
                className="as-table words",
            ),
        ],
        method="GET",
        action=path,
        className="filters",
    )


def _select(name: str, choices: Sequence[tuple[str, str]], chosen: str) -> Component:
    options = [html.Option(said, value=value, selected=value == chosen) for value, said in choices]
    return html.Select(options, name=name, className="choice")


def _chips(path: str, query: Mapping[str, str], words: Sequence[Condition]) -> Component:
    """Return each word with a way to take it away."""
    chips = []
    for place, word in enumerate(words):
        others = " ".join(str(one) for at, one in enumerate(words) if at != place)
        href = f"{path}?{urlencode({**query, 'q': others})}"
        chips.append(html.A([str(word), " ×"], href=href, className="chip", title="take this word away"))
    return html.Div(chips, className="chips")


def _grid(table: str, columns: Sequence[Mapping[str, Any]]) -> Component:
    made: Component = dag.AgGrid(
        id=f"{table}-grid",
        columnDefs=[dict(column) for column in columns],
        defaultColDef={"resizable": True, "sortable": False, "suppressHeaderMenuButton": True},
        rowModelType="infinite",
        dashGridOptions={
            "cacheBlockSize": BLOCK,
            "maxBlocksInCache": 50,
            "infiniteInitialRowCount": 1,
            "rowHeight": 30,
            "headerHeight": 34,
            "animateRows": False,
        },
        className="rows",
        style={"height": "62vh"},
    )
    return made


def _exports(table: str, query: Mapping[str, str], search: Search) -> Component:
    named = {key: query[key] for key in ("q", "order") if query.get(key)}
    named |= {"since": search.since.isoformat(), "until": search.until.isoformat()}
    links = [
        html.A(form.upper(), href=f"/api/v1/{table}?{urlencode({**named, 'format': form})}", className="plain-button")
        for form in ("csv", "ndjson", "json")
    ]
    return html.Div([html.Span("Export what is seen", className="quiet"), *links], className="controls")


def _register(callbacks: Callbacks, table: str, fetch: Fetch) -> None:
    @callbacks.callback(
        Output(f"{table}-grid", "getRowsResponse"),
        Output(f"{table}-cursors", "data"),
        Input(f"{table}-grid", "getRowsRequest"),
        State(f"{table}-asked", "data"),
        State(f"{table}-cursors", "data"),
        prevent_initial_call=True,
    )
    def rows(
        asker: Asker, request: Mapping[str, Any] | None, asked: Mapping[str, Any] | None, cursors: dict[str, str | None]
    ) -> Any:
        if request is None or asked is None:
            return None, cursors
        # The span is that of the moment at which the page was made: rows that come later move nothing.
        query = {**asked["query"], "since": asked["since"], "until": asked["until"]}
        search = permitted(asker.here, asker.caller, _search(asker, query))
        zone = asker.here.estate().settings.timezone
        wanted = int(request["startRow"])
        at = max(int(known) for known in cursors if int(known) <= wanted)
        cursor = cursors[str(at)]
        while True:
            found, following = fetch(asker, search, cursor, zone)
            if following is not None:
                cursors[str(at + BLOCK)] = following
            if at >= wanted or following is None:
                break
            at, cursor = at + BLOCK, following
        count = None if following is not None else at + len(found)
        return {"rowData": [dict(row) for row in found], "rowCount": count}, cursors

    @callbacks.callback(
        Output(f"{table}-go", "href"),
        Input(f"{table}-histogram", "selectedData"),
        State(f"{table}-asked", "data"),
        prevent_initial_call=True,
    )
    def narrow(asker: Asker, chosen: Mapping[str, Any] | None, asked: Mapping[str, Any] | None) -> Any:
        ends = (chosen or {}).get("range", {}).get("x")
        if asked is None or not ends:
            return no_update
        zone = ZoneInfo(asker.here.estate().settings.timezone)
        since, until = (_moment(str(end), zone) for end in ends)
        named = {key: value for key, value in asked["query"].items() if key in ("q", "order")}
        return f"/{table}?{urlencode({**named, 'since': since, 'until': until})}"


def _moment(text: str, zone: ZoneInfo) -> str:
    """Return a time as a figure's axis has it, which is local and says no zone, with its zone."""
    at = datetime.fromisoformat(text).replace(tzinfo=None)
    return at.replace(tzinfo=zone).astimezone(UTC).isoformat(timespec="seconds")


def shown(number: float | None, digits: int) -> str:
    """Return a number of a row as text, or the dash."""
    return DASH if number is None else f"{number:,.{digits}f}"
