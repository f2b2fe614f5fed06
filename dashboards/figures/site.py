"""A site over time: lanes on one axis, each beside the site's own past."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from analytics.questions.asking import Share
from analytics.questions.sites import Band, SitePoint
from dashboards.palette import BAND, BLUE, GREY, GRID, LAYOUT, ORANGE, PURPLE, SKY, VERMILION

LEAST: Final = 20
"""Fewer rated streams make a hollow point."""
FAR: Final = 5
"""A capacity of more than so many times the most calls is not drawn to scale."""


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
    sure: tuple[tuple[float, float] | None, ...] = ()
    """Interval of a share [%], 95 % (Wilson); empty for what is no share."""


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
                tuple(None if one is None else _interval(one.measures.poor) for _, one in with_gaps)
                if name == "Poor"
                else (),
            )
        )
    return tuple(made)


def _interval(of: Share) -> tuple[float, float] | None:
    return None if of.low is None or of.high is None else (100 * of.low, 100 * of.high)


class Run(NamedTuple):
    """A piece of a band without a gap."""

    times: tuple[datetime, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def runs(lane: Lane) -> tuple[Run, ...]:
    """Return the pieces of a lane's own past: where nothing is known of it there is a gap, never a line across."""
    step = min((after - one for one, after in pairwise(lane.times)), default=timedelta(hours=1))
    found: list[list[tuple[datetime, float, float]]] = [[]]
    for at, low, high in zip(lane.times, lane.low, lane.high, strict=True):
        if low is None or high is None:
            found.append([])
            continue
        if found[-1] and at - found[-1][-1][0] > 1.5 * step:
            found.append([])
        found[-1].append((at, low, high))
    return tuple(_run(piece, step) for piece in found if piece)


def _run(piece: list[tuple[datetime, float, float]], step: timedelta) -> Run:
    if len(piece) == 1:
        # One step alone has no width: a quarter of a step on either side can be seen.
        at, low, high = piece[0]
        return Run((at - step / 4, at + step / 4), (low, low), (high, high))
    return Run(tuple(one[0] for one in piece), tuple(one[1] for one in piece), tuple(one[2] for one in piece))


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


def over_time(
    found: Sequence[Lane],
    spans: Sequence[tuple[datetime, datetime, str]] = (),
    whole: tuple[datetime, datetime] | None = None,
    channels: int | None = None,
) -> Any:
    """Return the figure; `spans` are alerts, drawn across all lanes.

    `whole` is the span that is asked for, by the estate's clock; `channels` how many calls the site's trunks carry.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(found), cols=1, shared_xaxes=True, vertical_spacing=0.022)
    named = False
    for row, (lane, colour) in enumerate(zip(found, _COLOURS, strict=True), 1):
        if pieces := runs(lane):
            figure.add_scatter(
                x=[at for one in pieces for at in (*one.times, *one.times[::-1], None)],
                y=[value for one in pieces for value in (*one.high, *one.low[::-1], None)],
                mode="lines", line_width=0, fill="toself", fillcolor=BAND, name="own past", hoverinfo="skip",
                showlegend=not named, row=row, col=1,
            )  # fmt: skip
            named = True
        symbols = ["circle-open" if hollow and lane.name in ("Poor", "MOS") else "circle" for hollow in lane.hollow]
        figure.add_scatter(
            x=lane.times, y=lane.values, name=lane.name, mode="lines+markers", line_color=colour, connectgaps=False,
            marker={"size": 4, "symbol": symbols}, showlegend=False, row=row, col=1, error_y=_sure(lane),
            hovertemplate=f"%{{y:.2f}} {lane.unit}" + ("%{customdata}" if lane.sure else ""),
            customdata=["" if one is None else f" ({one[0]:.1f} to {one[1]:.1f} %)" for one in lane.sure],
        )  # fmt: skip
        figure.update_yaxes(title_text=f"{lane.name}<br>{lane.unit}", row=row, col=1, rangemode="tozero")
        if lane.name == "MOS":
            figure.update_yaxes(range=[1, 4.5], row=row, col=1)
    if channels and found:
        _capacity(figure, found[0], channels, whole or (found[0].times[0], found[0].times[-1]))
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
    figure.update_xaxes(gridcolor=GRID, **({} if whole is None else {"range": list(whole)}))
    figure.update_yaxes(gridcolor=GRID)
    return figure


def _sure(lane: Lane) -> dict[str, Any] | None:
    if not lane.sure:
        return None
    both = [(value, one) for value, one in zip(lane.values, lane.sure, strict=True)]
    above = [0 if value is None or one is None else one[1] - value for value, one in both]
    below = [0 if value is None or one is None else value - one[0] for value, one in both]
    return {"type": "data", "array": above, "arrayminus": below, "color": GREY, "thickness": 1, "width": 2}


def _capacity(figure: Any, lane: Lane, channels: int, whole: tuple[datetime, datetime]) -> None:
    """Draw what the site's trunks carry; a line far above all calls is told in words, for it would press them flat."""
    most = max((value for value in (*lane.values, *lane.high) if value is not None), default=0.0)
    said = f"capacity {channels:,} calls"
    if channels > FAR * most:
        figure.add_annotation(
            x=0, y=1, xref="x domain", yref="y domain", text=f"{said}, far above", showarrow=False, xanchor="left",
            yanchor="top",
        )  # fmt: skip
        return
    figure.add_scatter(
        x=list(whole), y=[channels, channels], mode="lines", name=said, hovertemplate=said, row=1, col=1,
        line={"color": GREY, "dash": "dash", "width": 1},
    )  # fmt: skip


class Way(NamedTuple):
    """Quality with one other site."""

    name: str
    sent: Share | None
    """Poor of what the site sent there; None where it sent nothing."""
    received: Share | None
    """Poor of what came from there."""
    streams: int


APART: Final = 0.17
"""What is sent lies so far above what is received, in rows: neither covers the other."""


def ways_figure(ways: Sequence[Way]) -> Any:
    """Return a dot for each direction of each pair: the fault is here if all are bad, and there if one is."""
    from plotly.graph_objects import Figure

    figure = Figure()
    for name, shares, colour, symbol, off in (
        ("sent there", [way.sent for way in ways], ORANGE, "triangle-right", -APART),
        ("received from there", [way.received for way in ways], BLUE, "circle", APART),
    ):
        known = [
            (row, 100 * of.value, 100 * of.low, 100 * of.high, of)
            for row, of in enumerate(shares)
            if of is not None and of.value is not None and of.low is not None and of.high is not None
        ]
        figure.add_scatter(
            x=[value for _, value, _, _, _ in known],
            y=[row + off for row, *_ in known],
            mode="markers",
            name=name,
            marker={
                "size": 8,
                "color": colour,
                "symbol": [symbol if of.of >= LEAST else f"{symbol}-open" for *_, of in known],
            },
            error_x={
                "type": "data", "array": [high - value for _, value, _, high, _ in known],
                "arrayminus": [value - low for _, value, low, _, _ in known],
                "color": colour, "thickness": 1, "width": 0,
            },
            customdata=[
                f"{ways[row].name}, {name}: {of.number:,} of {of.of:,} streams poor, "
                f"{value:.0f} % ({low:.0f} to {high:.0f} %)"
                for row, value, low, high, of in known
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )  # fmt: skip
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0}
    margin = {"l": 52, "r": 12, "t": 34, "b": 36}
    figure.update_layout(
        **{**LAYOUT, "height": 110 + 22 * len(ways), "hovermode": "closest", "legend": legend, "margin": margin}
    )
    figure.update_xaxes(title_text="poor %", range=[-2, 102], gridcolor=GRID)
    figure.update_yaxes(
        tickvals=list(range(len(ways))), ticktext=[way.name for way in ways], range=[len(ways) - 0.5, -0.5],
        automargin=True, zeroline=False,
    )  # fmt: skip
    return figure
