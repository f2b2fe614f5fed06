"""A site over time: lanes on one axis, each beside the site's own past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from analytics.questions.sites import Band, SitePoint
from dashboards.palette import BAND, BLUE, GREY, GRID, LAYOUT, ORANGE, PURPLE, SKY, VERMILION

LEAST: Final = 20
"""Fewer rated streams make a hollow point."""


class Lane(NamedTuple):
    """One value over time."""

    name: str
    unit: str
    times: tuple[datetime, ...]
    values: tuple[float | None, ...]
    low: tuple[float | None, ...]
    """Lower end of the site's own past; None where there is none."""
    high: tuple[float | None, ...]
    hollow: tuple[bool, ...]
    """Where there is too little to judge by."""


_LANES: Final[tuple[tuple[str, str, Callable[[SitePoint], float | None], Callable[[Any], Band | None], float], ...]] = (
    ("Calls up", "erlang", lambda one: one.measures.busy, lambda bands: bands.busy, 1.0),
    ("Poor", "%", lambda one: one.measures.poor.value, lambda bands: bands.poor, 100.0),
    ("Loss", "%", lambda one: one.measures.loss_percent, lambda bands: bands.loss_percent, 1.0),
    ("Jitter", "ms", lambda one: one.measures.jitter_ms, lambda bands: bands.jitter_ms, 1.0),
    ("MOS", "", lambda one: one.measures.mos, lambda bands: bands.mos, 1.0),
    ("Failed", "calls", lambda one: float(one.measures.failed), lambda bands: None, 1.0),
)
_COLOURS: Final = (GREY, VERMILION, ORANGE, PURPLE, BLUE, SKY)


def lanes(points: Sequence[SitePoint], zone: str) -> tuple[Lane, ...]:
    """Return the lanes of a site's points; where there is none for a time, the lines have a gap."""
    local = ZoneInfo(zone)
    with_gaps = _with_gaps(points)
    times = tuple(at.astimezone(local) for at, _ in with_gaps)
    made = []
    for name, unit, value, past, scale in _LANES:
        bands = [None if one is None or one.bands is None else past(one.bands) for _, one in with_gaps]
        values = [None if one is None else value(one) for _, one in with_gaps]
        made.append(
            Lane(
                name,
                unit,
                times,
                tuple(None if each is None else scale * each for each in values),
                tuple(None if band is None else scale * band.low for band in bands),
                tuple(None if band is None else scale * band.high for band in bands),
                tuple(one is not None and one.measures.poor.of < LEAST for _, one in with_gaps),
            )
        )
    return tuple(made)


def _with_gaps(points: Sequence[SitePoint]) -> list[tuple[datetime, SitePoint | None]]:
    """Return points by time, with none in between where one or more steps are missing."""
    if not points:
        return []
    step = min((after.start - one.start for one, after in pairwise(points)), default=timedelta(0))
    found: list[tuple[datetime, SitePoint | None]] = [(points[0].start, points[0])]
    for one, after in pairwise(points):
        if after.start - one.start > 1.5 * step:
            found.append((one.start + step, None))
        found.append((after.start, after))
    return found


def over_time(found: Sequence[Lane], spans: Sequence[tuple[datetime, datetime, str]] = ()) -> Any:
    """Return the figure; `spans` are alerts, drawn across all lanes."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(found), cols=1, shared_xaxes=True, vertical_spacing=0.022)
    for row, (lane, colour) in enumerate(zip(found, _COLOURS, strict=True), 1):
        if any(low is not None for low in lane.low):
            figure.add_scatter(
                x=lane.times,
                y=lane.high,
                mode="lines",
                line_width=0,
                hoverinfo="skip",
                showlegend=False,
                row=row,
                col=1,
            )
            figure.add_scatter(
                x=lane.times, y=lane.low, mode="lines", line_width=0, fill="tonexty", fillcolor=BAND, name="own past",
                hoverinfo="skip", showlegend=row == 2, row=row, col=1,
            )  # fmt: skip
        symbols = ["circle-open" if hollow and lane.name in ("Poor", "MOS") else "circle" for hollow in lane.hollow]
        figure.add_scatter(
            x=lane.times, y=lane.values, name=lane.name, mode="lines+markers", line_color=colour, connectgaps=False,
            marker={"size": 4, "symbol": symbols}, showlegend=False, row=row, col=1,
            hovertemplate=f"%{{y:.2f}} {lane.unit}",
        )  # fmt: skip
        figure.update_yaxes(title_text=f"{lane.name}<br>{lane.unit}", row=row, col=1, rangemode="tozero")
        if lane.name == "MOS":
            figure.update_yaxes(range=[1, 4.5], row=row, col=1)
    for since, until, _ in spans:
        figure.add_vrect(since, until, fillcolor=VERMILION, opacity=0.10, line_width=0, row="all", col=1)
    first = {name: since for since, _, name in reversed(spans)}
    for place, (name, since) in enumerate(sorted(first.items(), key=lambda one: one[1])):
        # Names stand in the first lane alone, one below the other: alerts of one cause come together.
        figure.add_annotation(
            x=since, y=1, xref="x", yref="y domain", text=name, showarrow=False, xanchor="right", yanchor="top",
            yshift=-13 * place, font_color=VERMILION,
        )  # fmt: skip
    figure.update_layout(**{**LAYOUT, "height": 125 * len(found) + 40, "hoversubplots": "axis"})
    figure.update_xaxes(gridcolor=GRID)
    figure.update_yaxes(gridcolor=GRID)
    return figure


class Way(NamedTuple):
    """Quality with one other site."""

    name: str
    sent: float | None
    """Poor of what the site sent there [%]."""
    received: float | None
    """Poor of what came from there [%]."""
    streams: int


def ways_figure(ways: Sequence[Way]) -> Any:
    """Return a dot for each direction of each pair: the fault is here if all are bad, and there if one is."""
    from plotly.graph_objects import Figure

    figure = Figure()
    names = [way.name for way in ways]
    for name, values, colour, symbol in (
        ("sent there", [way.sent for way in ways], ORANGE, "triangle-right"),
        ("received from there", [way.received for way in ways], BLUE, "circle"),
    ):
        figure.add_scatter(
            x=values, y=names, mode="markers", name=name, marker={"size": 9, "color": colour, "symbol": symbol},
            customdata=[way.streams for way in ways],
            hovertemplate="%{y}: %{x:.0f} % poor of %{customdata} streams<extra></extra>",
        )  # fmt: skip
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0}
    margin = {"l": 52, "r": 12, "t": 34, "b": 36}
    figure.update_layout(
        **{**LAYOUT, "height": 110 + 19 * len(ways), "hovermode": "closest", "legend": legend, "margin": margin}
    )
    figure.update_xaxes(title_text="poor %", range=[-2, 102], gridcolor=GRID)
    figure.update_yaxes(type="category", range=[len(ways) - 0.5, -0.5], automargin=True)
    return figure
