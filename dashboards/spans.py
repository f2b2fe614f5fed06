"""The span that a page speaks of: chosen by links, kept in the URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from dash import dcc, html
from dash.development.base_component import Component

from api.web.asked import span
from dashboards.pages import Asker

SPANS: Final = (("1h", "1 hour"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))


class Chosen(NamedTuple):
    """A span."""

    since: datetime
    until: datetime
    said: str
    """In words, by the estate's clock."""


def chosen(asker: Asker, query: Mapping[str, str], default: str = "24h") -> Chosen:
    """Return the span that the URL asks for; QuestionError where it has no meaning."""
    since, until = span(asker.here, query.get("since") or default, query.get("until") or None, timedelta(days=1))
    zone = asker.here.estate().settings.timezone
    begin, end = since.astimezone(ZoneInfo(zone)), until.astimezone(ZoneInfo(zone))
    return Chosen(since, until, f"{begin:%d %b %H:%M} to {end:%d %b %H:%M} {zone}")


def choices(
    path: str, query: Mapping[str, str], default: str = "24h", of: Sequence[tuple[str, str]] = SPANS
) -> Component:
    """Return the spans as links, and one that holds absolute times for others."""
    now = query.get("since") or default
    others = {key: value for key, value in query.items() if key not in ("since", "until")}
    links = [
        dcc.Link(
            said,
            href=f"{path}?{urlencode({**others, 'since': value})}",
            className="plain-button current" if value == now and "until" not in query else "plain-button",
        )
        for value, said in of
    ]
    return html.Div(links, className="controls")


def permanent(path: str, query: Mapping[str, str], of: Chosen) -> Component:
    """Return a link that shows the same thing tomorrow."""
    named = {**query, "since": of.since.isoformat(timespec="seconds"), "until": of.until.isoformat(timespec="seconds")}
    return html.A("Link with absolute times", href=f"{path}?{urlencode(named)}", className="quiet")
