"""The shell around all pages: Dash on the application, navigation by rights, and what stands there while a page comes.

Everything a page loads comes from here: it works where there is no way to the outside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, set_props
from dash.backends import _fastapi
from dash.development.base_component import Component
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.web.context import Context
from api.web.envelope import CONNECTION
from api.web.problems import Problem
from api.web.rights import Caller, Right
from dashboards.pages import Callbacks, Page, View, asking, pages
from dashboards.parts import aria, failed, page, skeleton

ASSETS: Final = Path(__file__).parent / "assets"
MOST_PATH: Final = 2_048
_NO_PAGES: Final = ("/api/", "/assets/", "/_dash", "/metrics", "/healthz")
"""What programs ask for, and what pages load."""
_logger = logging.getLogger("callgauge.web")
_INDEX: Final = """<!doctype html>
<html lang="en"><head>{%metas%}<meta name="color-scheme" content="light dark"><title>{%title%}</title>
<script src="/assets/scheme.js"></script><link rel="icon" href="/assets/icon.svg">{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body></html>"""
_POLICY: Final = (
    "default-src 'self'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)


_serving: Any = _fastapi
"""Dash's own functions have no types."""


class _Backend(_fastapi.FastAPIDashServer):
    """Dash's server, but for the paths of pages: those are ours, for others belong to the API."""

    def setup_index(self, dash_app: Dash) -> None:
        """Leave `/` to `mount`."""

    def _setup_catchall(self) -> None:
        """Take no paths that nobody knows."""


def mount(app: FastAPI, context: Context) -> None:
    """Put the dashboards on an application."""
    dash: Any = Dash(
        "callgauge",
        backend=_Backend,
        server=False,
        assets_folder=str(ASSETS),
        assets_ignore=r"scheme\.js",
        index_string=_INDEX,
        title="Callgauge",
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=True,
        add_log_handler=False,
        on_error=_on_error,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
        websocket_heartbeat_interval=15_000,
        websocket_inactivity_timeout=0,
    )
    dash.init_app(app)
    found = pages()
    dash.layout = lambda: _layout(found)
    _register(dash, found)
    for each in found:
        each.register(Callbacks(dash, each.right))
    dash._setup_server()
    policy = _POLICY.format(hashes=" ".join(dash.csp_hashes()))

    async def index(request: Request, status: int = 200) -> HTMLResponse:
        token = _serving.set_current_request(request)
        try:
            return HTMLResponse(dash.index(), status, {"Content-Security-Policy": policy})
        finally:
            _serving.reset_current_request(token)

    async def page_of_one(request: Request) -> HTMLResponse:
        return await index(request)

    _answer_people(app, index)

    for each in found:
        app.add_api_route(each.path, page_of_one, methods=["GET"], include_in_schema=False)
        if each.path != "/":
            app.add_api_route(f"{each.path}/{{rest:path}}", page_of_one, methods=["GET"], include_in_schema=False)


def _answer_people(app: FastAPI, index: Callable[[Request, int], Awaitable[Response]]) -> None:
    """Have whoever follows a wrong link in a browser see a page with a way back; programs get what they got."""
    to_programs: Any = app.exception_handlers[HTTPException]

    async def not_found(request: Request, error: Exception) -> Response:
        in_browser = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        missing = isinstance(error, HTTPException) and error.status_code == 404
        if missing and in_browser and not request.url.path.startswith(_NO_PAGES):
            return await index(request, 404)
        answer: Response = await to_programs(request, error)
        return answer

    app.add_exception_handler(HTTPException, not_found)


def _layout(found: tuple[Page, ...]) -> Component:
    connection = CONNECTION.get()
    caller = asking(Right.SELF).caller if connection is not None else None
    provider: Component = dmc.MantineProvider(
        html.Div(
            [
                dcc.Location(id="shell-url", refresh=False),
                html.A("Skip to the page", href="#shell-main", className="skip"),
                html.Header(_head(found, caller), id="shell-head"),
                html.Div(id="shell-problem", **aria(live="assertive")),
                html.Div(id="shell-notes", **aria(live="assertive")),
                html.Main(skeleton(), id="shell-main", tabIndex=-1),
                html.Div(id="shell-title", hidden=True),
            ],
            id="shell",
        ),
        theme={"fontFamily": "system-ui, sans-serif", "primaryColor": "blue", "defaultRadius": "sm"},
        defaultColorScheme="auto",
    )
    return provider


def _head(found: tuple[Page, ...], caller: Caller | None) -> list[Component]:
    shown = [each for each in found if each.place is not None and caller is not None and caller.may(each.right)]
    links = [dcc.Link(each.title, href=each.path, className="nav-link") for each in shown]
    who = [] if caller is None else [html.Span(f"{caller.name} · {caller.role.value}", className="who")]
    return [
        html.Span("Callgauge", className="brand"),
        html.Nav(links, **aria(label="Pages")),
        html.Div(
            [
                *who,
                html.Button("◐", id="shell-scheme", title="Dark, light, or as the system", className="plain-button"),
                html.Form(
                    html.Button("Sign out", type="submit", className="plain-button"), action="/sign-out", method="POST"
                ),
            ],
            className="right",
        ),
    ]


def _register(dash: Any, found: tuple[Page, ...]) -> None:
    dash.clientside_callback(
        ClientsideFunction("callgauge", "scheme"),
        Output("shell-scheme", "aria-label"),
        Input("shell-scheme", "n_clicks"),
    )
    dash.clientside_callback(
        ClientsideFunction("callgauge", "arrive"),
        Output("shell-title", "title"),
        Input("shell-title", "children"),
        State("shell-url", "pathname"),
    )

    async def show(path: str | None, search: str | None) -> tuple[Component, str, str, None]:
        query = dict(parse_qsl((search or "")[1:MOST_PATH], keep_blank_values=True))
        shown, title = await asyncio.to_thread(_page, found, (path or "/")[:MOST_PATH], query)
        return shown, title, "kiosk" if "kiosk" in query else "", None

    dash.callback(
        Output("shell-main", "children"),
        Output("shell-title", "children"),
        Output("shell", "className"),
        Output("shell-problem", "children"),
        Input("shell-url", "pathname"),
        State("shell-url", "search"),
        running=[(Output("shell-main", "className"), "coming", "")],
    )(show)


def _page(found: tuple[Page, ...], path: str, query: dict[str, str]) -> tuple[Component, str]:
    chosen = page_of(found, path)
    if chosen is None:
        asked = html.P(["Nothing is at ", html.Code(path[:200]), ". Pages are in the navigation above."])
        return page("There is no such page.", asked, html.P(dcc.Link("To the first page", href="/"))), "No such page"
    one, rest = chosen
    try:
        asker = asking(one.right)
        return one.layout(View(asker.here, asker.caller, asker.connection, rest, query)), one.title
    except Problem as problem:
        return page(one.title, failed(problem.detail, still="Other pages are in the navigation above.")), one.title
    except Exception:
        # A page that fails leaves the others; the log has the reason, which may be about people.
        connection = CONNECTION.get()
        request_id = "" if connection is None else connection.scope["state"]["request_id"]
        _logger.exception("page %s failed, request %s", one.path, request_id)
        said = failed("This page cannot be shown.", still=f"The log says why, under the request id {request_id}.")
        return page(one.title, said), one.title


def page_of(found: tuple[Page, ...], path: str) -> tuple[Page, tuple[str, ...]] | None:
    """Return the page that a path leads to, and the parts of the path below it."""
    parts = tuple(unquote(part) for part in path.split("/") if part)
    for one in sorted(found, key=lambda each: -len(each.path)):
        own = tuple(part for part in one.path.split("/") if part)
        if parts[: len(own)] == own and (own or not parts):
            return one, parts[len(own) :]
    return None


def _on_error(error: Exception) -> None:
    if isinstance(error, Problem):
        said, still = error.detail, "Sign in again, or go to another page."
    else:
        _logger.error("a callback failed", exc_info=error)
        said, still = "What was just asked for did not work.", "What is shown is as before; the log says why."
    set_props("shell-problem", {"children": failed(said, still=still)})
