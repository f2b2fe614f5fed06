"""When alerts held: a line for each, a bar from where it fired to where it was over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from analytics.questions.alerts import AlertChange
from dashboards.palette import GREY, GRID, LAYOUT, ORANGE, VERMILION

LEAST_SHARE: Final = 0.004
"""A bar is at least this share of the figure wide, so that it can be seen."""
MOST_LINES: Final = 24
"""Alerts that are drawn; those that held last come first."""
OVER: Final = frozenset({"normal", "pending"})
"""States in which an alert does not hold."""
COLOURS: Final[Mapping[str, str]] = {"critical": VERMILION, "warning": ORANGE, "info": GREY}


class Held(NamedTuple):
    """A time in which an alert held."""

    since: datetime
    until: datetime
    going_on: bool
    """Whether it holds still at the end of the figure."""


class AlertLine(NamedTuple):
    """One alert over time."""

    name: str
    rule: str
    severity: str
    held: tuple[Held, ...]


class Timeline(NamedTuple):
    """Alerts over a span, the one that held last first."""

    lines: tuple[AlertLine, ...]
    left_out: int
    since: datetime
    until: datetime


def timeline(
    changes: Iterable[AlertChange],
    since: datetime,
    until: datetime,
    severities: Mapping[str, str],
    names: Mapping[str, str],
    zone: str,
) -> Timeline:
    """Return when the alerts of changes held; one that is over before it began in the span held from its start."""
    local = ZoneInfo(zone)
    begin, end = since.astimezone(local), until.astimezone(local)
    by_alert: dict[str, list[AlertChange]] = {}
    for change in sorted(changes, key=lambda one: one.at):
        by_alert.setdefault(change.fingerprint, []).append(change)
    lines = []
    for of_one in by_alert.values():
        held = _held(of_one, begin, end, local)
        if not held:
            continue
        first = of_one[0]
        place = "" if first.site is None else f"{names.get(first.site, first.site)}: "
        severity = severities.get(first.rule, "info")
        lines.append(AlertLine(f"{place}{first.rule.replace('_', ' ')}", first.rule, severity, held))
    lines.sort(key=lambda one: (one.held[-1].until, one.held[-1].since), reverse=True)
    return Timeline(tuple(lines[:MOST_LINES]), max(0, len(lines) - MOST_LINES), begin, end)


def _held(changes: Sequence[AlertChange], begin: datetime, end: datetime, local: ZoneInfo) -> tuple[Held, ...]:
    found: list[Held] = []
    # What recovers or is over without having fired here fired before the span.
    fired = begin if changes[0].state in ("normal", "recovering") else None
    for change in changes:
        at = change.at.astimezone(local)
        if change.state == "firing" and fired is None:
            fired = at
        elif change.state in OVER and fired is not None:
            found.append(Held(fired, at, going_on=False))
            fired = None
    return (*found, Held(fired, end, going_on=True)) if fired is not None else tuple(found)


def over_days(shown: Timeline) -> Any:
    """Return the figure: a bar for each time in which an alert held."""
    from plotly.graph_objects import Bar, Figure

    figure = Figure()
    least = LEAST_SHARE * (shown.until - shown.since).total_seconds() * 1e3
    # Two alerts of one name share a line.
    order = list(dict.fromkeys(line.name for line in shown.lines))
    for severity, colour in COLOURS.items():
        bars = [(line, held) for line in shown.lines if line.severity == severity for held in line.held]
        if not bars:
            continue
        figure.add_trace(
            Bar(
                base=[held.since for _, held in bars],
                x=[max(least, (held.until - held.since).total_seconds() * 1e3) for _, held in bars],
                y=[line.name for line, _ in bars],
                orientation="h",
                name=severity,
                marker_color=colour,
                marker_pattern_shape="/" if severity == "warning" else "",
                customdata=[_said(held) for _, held in bars],
                hovertemplate="%{y}: %{customdata}<extra></extra>",
            )
        )
    height = 84 + 24 * len(order)
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0}
    margin = {"l": 52, "r": 12, "t": 30, "b": 36}
    figure.update_layout(
        **{**LAYOUT, "height": height, "hovermode": "closest", "barmode": "overlay", "legend": legend, "margin": margin}
    )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(type="date", range=[shown.since, shown.until], gridcolor=GRID)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=order[::-1], automargin=True)
    return figure


def _said(held: Held) -> str:
    end = "now" if held.going_on else f"{held.until:%d %b %H:%M}"
    return f"{held.since:%d %b %H:%M} to {end}"
