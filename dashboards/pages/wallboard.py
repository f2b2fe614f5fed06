"""The wallboard: who is bad now?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from dash import Input, Output, dcc, html, no_update, set_props
from dash import callback_context as context
from dash.development.base_component import Component

from api.web.hub import News
from api.web.rights import Right
from dashboards.figures.wallboard import HOURS, Board, Tile, board, changed
from dashboards.pages import Asker, Callbacks, Page, View
from dashboards.parts import aria, empty, failed, mark, missing, percent, term, value

STILL_THERE_S: Final = 15.0
AGAIN_MS: Final = 5_000
KIOSK_ROWS: Final = 5
"""Sites that need attention which a kiosk has room for: the style sheet hides the others there."""
LOWEST_MOS: Final = 1.0
HIGHEST_MOS: Final = 4.5
_UNSCALED: Final = "vector-effect='non-scaling-stroke'"


def layout(view: View) -> Component:
    """Return the page as it is now; news come by the callback."""
    news = view.here.hub.news
    if news.now is None:
        news = News(0, view.here.clock(), view.here.hub.look(view.here.clock()))
    return _whole(board_of(view, news))


def _whole(shown: Board) -> Component:
    if not shown.stations and not shown.others:
        what = "An estate says which sites there are, and packets or records fill them."
        return html.Div(
            [
                html.H1("No site is known yet.", className="answer"),
                empty(what, "callgauge demo"),
                dcc.Interval(id="wallboard-again", interval=AGAIN_MS),
            ],
            id="wallboard-empty",
        )
    return html.Div([_head(shown), _attention(shown), *_kinds(shown), html.Div(id="wallboard-live")], className="board")


def board_of(asker: Asker, news: News) -> Board:
    """Return the wallboard's data of a look."""
    zone = asker.here.estate().settings.timezone

    def made(of: News) -> Board:
        at = datetime.fromtimestamp(of.at / 1e9, UTC)
        now = of.now
        return board(now.sites, at, zone, now.since, now.only, now.past, now.silenced, now.calls)

    shown: Board = asker.here.hub.once("wallboard", news, made)
    return shown


def _head(shown: Board) -> Component:
    return html.Div(
        [
            html.H1(shown.sentence, id="wallboard-sentence"),
            html.Span(_as_of(shown), id="wallboard-as-of", className="as-of"),
            html.Div(id="wallboard-problem", **aria(live="polite")),
        ],
        className="board-head",
    )


def _as_of(shown: Board) -> Component:
    data: dict[str, Any] = {"data-as-of": shown.as_of}
    return html.Span(f"as of {shown.as_of} · {shown.zone}", **data)


def _attention(shown: Board) -> Component:
    return html.Ul(_rows(shown), id="wallboard-attention", className="attention", **aria(live="polite"))


def _rows(shown: Board) -> list[Component]:
    rows: list[Component] = []
    for one in shown.attention:
        since = f"since {one.since}" if one.since else "for hours"
        rows.append(
            html.Li(
                [
                    dcc.Link(one.name, href=f"/site/{quote(one.site, safe='')}", className="name"),
                    mark(one.state),
                    html.Span(one.said, className="what"),
                    html.Span(since, className="since"),
                    dcc.Link("calls", href=f"/calls?q=site:{quote(one.site, safe='')}", className="more"),
                ]
            )
        )
    if len(rows) > KIOSK_ROWS:
        rows.append(html.Li(f"and {len(rows) - KIOSK_ROWS} more", className="rest"))
    return rows


def _kinds(shown: Board) -> list[Component]:
    kinds: list[Component] = []
    for tiles, one, many, size in (
        (shown.stations, "station", "stations", "large"),
        (shown.others, "office", "offices", "small"),
    ):
        if tiles:
            heading = html.H2(f"{len(tiles)} {one if len(tiles) == 1 else many}")
            of = [_tile(each) for each in tiles]
            kinds.append(html.Section([heading, html.Div(of, className=f"tiles {size}")], className="kinds"))
    return kinds


def _tile(one: Tile) -> Component:
    return html.Div(_inside(one), id={"type": "wallboard-tile", "site": one.site}, className="tile-place")


def _inside(one: Tile, more: str = "") -> Component:
    """Return a tile.

    All of it is one property of its place: of several that come at once, a browser may leave out the words.
    """
    why = "nothing was heard in the window"
    poor = missing(why) if one.poor_percent is None else f"{'≈' if one.hollow else ''}{one.poor_percent:.0f}"
    facts: list[tuple[Any, Any, str]] = [
        (value(one.calls, 0, "no minute within the window"), "calls", ""),
        (value(one.mos, 2, why), term("MOS", "MOS ●"), ""),
        (poor, "poor %", "wide"),
        (percent(one.loss_percent), "loss %", "wide"),
        (value(one.jitter_ms, 1, why), "jitter ms", "wide"),
    ]
    inside = [
        html.Div([html.Span(one.name, className="name"), mark(one.state)], className="top"),
        html.Div([html.Span([each, html.Small(of)], className=kind) for each, of, kind in facts], className="facts"),
        _trend(one),
    ]
    href = f"/site/{quote(one.site, safe='')}"
    made: Component = html.A(inside, href=href, className=f"tile is-{one.state}{more}", title=one.reason)
    return made


def _trend(one: Tile) -> Component:
    """Return the last 24 hours as a line over its past: masks over the ink, seen in the dark as in the light."""
    line, pen = [], "M"
    for hour, mos in enumerate(one.trend):
        # A single hour between gaps would leave no trace without its step to the right.
        line.append("" if mos is None else f"{pen}{_at(hour)} {_high(mos)}h1")
        pen = "M" if mos is None else "L"
    known = [each for each in one.trend if each is not None]
    said = f"MOS of 24 hours, {min(known):.2f} to {max(known):.2f}" if known else "no MOS in 24 hours"
    past = [
        f"M{_at(hour - 0.5)} {_high(band[1] + 0.02)}H{_at(hour + 0.5)}V{_high(band[0] - 0.02)}H{_at(hour - 0.5)}Z"
        for hour, band in enumerate(one.past)
        if band is not None
    ]
    drawn = _masked(f"<path d='{''.join(line)}' fill='none' stroke='#000' stroke-width='1.6' {_UNSCALED}/>")
    behind = _masked(f"<path d='{''.join(past)}' stroke='#000' stroke-width='3' {_UNSCALED}/>")
    return html.Div([html.I(style=behind, className="past"), html.I(style=drawn)], className="trend", title=said)


def _masked(inside: str) -> dict[str, str]:
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 101 24' preserveAspectRatio='none'>{inside}</svg>"
    image = f'url("data:image/svg+xml,{quote(svg)}")'
    return {"maskImage": image, "WebkitMaskImage": image}


def _at(hour: float) -> str:
    return f"{min(max(hour, 0.0), HOURS - 1) * 100 / (HOURS - 1):.1f}"


def _high(mos: float) -> str:
    return f"{(HIGHEST_MOS - mos) / (HIGHEST_MOS - LOWEST_MOS) * 20 + 2:.1f}"


def register(callbacks: Callbacks) -> None:
    """Have tiles changed as news come."""

    @callbacks.callback(
        Output("wallboard-empty", "children"), Input("wallboard-again", "n_intervals"), prevent_initial_call=True
    )
    def begin(asker: Asker, _count: int | None) -> Any:
        shown = board_of(asker, asker.here.hub.news) if asker.here.hub.news.now is not None else None
        return _whole(shown) if shown is not None and (shown.stations or shown.others) else no_update

    @callbacks.callback(
        Output("wallboard-live", "title"), Input("wallboard-live", "id"), websocket=True, persistent=True
    )
    async def follow(asker: Asker, _shown: str) -> str:
        websocket = context.websocket
        before: tuple[Tile, ...] = ()
        looked = asyncio.get_running_loop().time()
        async for news in asker.here.hub.watch():
            if websocket.is_shutdown:
                break
            if asyncio.get_running_loop().time() - looked > STILL_THERE_S:
                looked = asyncio.get_running_loop().time()
                if not await _still_there(asker, websocket):
                    break
            if news.now is None:
                continue
            shown = board_of(asker, news)
            _tell(shown, news, before)
            before = (*shown.stations, *shown.others)
        return ""


def _tell(shown: Board, news: News, before: tuple[Tile, ...]) -> None:
    set_props("wallboard-as-of", {"children": _as_of(shown)})
    if news.problem:
        since = datetime.fromtimestamp(news.since / 1e9, ZoneInfo(shown.zone))
        said = failed(f"The store does not answer: {news.problem}", f"{since:%H:%M:%S %Z}", "Tiles are as before.")
        set_props("wallboard-problem", {"children": said})
        return
    for one in changed(before, (*shown.stations, *shown.others)):
        inside = _inside(one, " changed" if before else "")
        set_props({"type": "wallboard-tile", "site": one.site}, {"children": inside})
    set_props("wallboard-sentence", {"children": shown.sentence})
    set_props("wallboard-attention", {"children": _rows(shown)})
    set_props("wallboard-problem", {"children": None})


async def _still_there(asker: Asker, websocket: Any) -> bool:
    """Whether the page is still open and its reader still signed in."""
    serve = asker.here.settings.serve
    if not asker.here.accounts.still(
        asker.caller, asker.here.clock(), idle_hours=serve.session_idle_hours, hours=serve.session_hours
    ):
        set_props("wallboard-problem", {"children": failed("You are signed out.", still="Load the page to sign in.")})
        return False
    try:
        return await websocket.get_prop("wallboard-live", "id", 10.0) is not None
    except TimeoutError:
        return False


PAGE = Page("/", "Wallboard", Right.AGGREGATES, layout, register, place=0)
