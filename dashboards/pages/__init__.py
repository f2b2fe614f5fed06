'''The pages. Each is a module here with a `PAGE`; it is found by that, and nothing else has to be changed.

    """Pairs of sites: which link is bad?"""

    from dash import Input, Output, dcc, html

    def layout(view: View) -> Component:              # runs in a thread: it may ask the store
        found = site_pairs(view.here.lake, since, until)
        return page("No pair of sites is bad.", dcc.Graph(id="pairs-map", figure=heatmap(pairs_data(found))))

    def register(callbacks: Callbacks) -> None:
        @callbacks.callback(Output("pairs-detail", "children"), Input("pairs-map", "clickData"))
        def show(asker: Asker, clicked: Any) -> Component:   # runs in a thread, after the right was checked
            ...

    PAGE = Page("/pairs", "Pairs", Right.AGGREGATES, layout, register, place=30)

`/pairs` and all below it (`/pairs/ashcombe/northgate`) come here; what is below stands in `view.rest`, the query in
`view.query`. Ids of components begin with the page's name. A page about people calls `view.note("call.view", key)`
before it shows anything, and shows numbers by `view.number(…)` only. Figures are made in `dashboards/figures`, parts
such as states, missing values and empty pages in `dashboards.parts`, colours in `dashboards.palette`.
A live page has an async callback with `websocket=True, persistent=True` and follows `asker.here.hub.watch()`: see
`wallboard`. Links within are plain `dcc.Link` or anchors; filters are kept in the URL (`dcc.Location` "shell-url").
'''

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

from dash import Dash
from dash.development.base_component import Component
from starlette.requests import HTTPConnection

from api.web.access import caller_of
from api.web.context import Context, context_of
from api.web.envelope import CONNECTION
from api.web.noting import note
from api.web.problems import Problem
from api.web.rights import Caller, Right


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and whom to ask."""

    here: Context
    caller: Caller
    connection: HTTPConnection

    def may(self, right: Right) -> bool:
        """Whether the caller has a right: parts of a page may take another than the page itself."""
        return self.caller.may(right)

    def number(self, number: str | None) -> str | None:
        """Return a person's number as the caller may see it."""
        return number if self.caller.numbers else self.here.masks.number(number)

    def note(self, what: str, of: str = "", **more: Any) -> None:
        """Note a look at people's data in the audit log, before it is shown."""
        note(self.connection, self.caller, what, of, **more)


@dataclass(frozen=True, slots=True)
class View(Asker):
    """A page as it was asked for."""

    rest: tuple[str, ...] = ()
    """Parts of the path below the page's own."""
    query: Mapping[str, str] = ()  # type: ignore[assignment]
    """Parameters behind the `?`."""


class Callbacks:
    """Takes the callbacks of a page: each checks the page's right, and what is not async runs in a thread."""

    def __init__(self, dash: Dash, right: Right) -> None:
        self.dash = dash
        self._right = right

    def callback(self, *dependencies: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """As `dash.callback`; the function gets an `Asker` first. `right=` takes another than the page's."""
        right = options.pop("right", self._right)

        def take(function: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(function)
            async def answering(*values: Any, **named: Any) -> Any:
                asker = asking(right)
                if inspect.iscoroutinefunction(function):
                    return await function(asker, *values, **named)
                return await asyncio.to_thread(function, asker, *values, **named)

            self.dash.callback(*dependencies, **options)(answering)
            return function

        return take


def asking(right: Right) -> Asker:
    """Return who asks now; Problem where that may not be."""
    connection = CONNECTION.get()
    caller = None if connection is None else caller_of(connection)
    if connection is None or caller is None:
        raise Problem(401, "not_signed_in", "This takes a sign-in.")
    if not caller.may(right):
        raise Problem(403, "not_allowed", f"This takes the right {right.value!r}.")
    return Asker(context_of(connection), caller, connection)


def nothing(_callbacks: Callbacks) -> None:
    """Register no callbacks."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the dashboards."""

    path: str
    """`/` or like `/calls`."""
    title: str
    right: Right
    """What it takes to see it."""
    layout: Callable[[View], Component]
    register: Callable[[Callbacks], None] = nothing
    place: int | None = None
    """Where it stands in the navigation; None: it is reached from other pages only."""


def pages() -> tuple[Page, ...]:
    """Return all pages in the order of the navigation; those that are not in it come last."""
    return tuple(sorted(_found(), key=lambda page: (page.place is None, page.place or 0, page.path)))


def _found() -> Iterator[Page]:
    for module in pkgutil.iter_modules(__path__):
        page = getattr(importlib.import_module(f"{__name__}.{module.name}"), "PAGE", None)
        if isinstance(page, Page):
            yield page
