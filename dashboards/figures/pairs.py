"""Pairs of sites: a map in which a sick link is a cell and a sick site a cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from analytics.questions.pairs import PairQuality
from dashboards.palette import GREY, LAYOUT

OUTSIDE: Final = "outside"
LEAST: Final = 20
"""Fewer rated streams are shown hollow."""
MOST_SITES: Final = 40
"""Sites of the map: those with the most poor streams."""


class PairMap(NamedTuple):
    """Share of poor streams from site to site."""

    sites: tuple[str, ...]
    """Names, in the estate's order, so that those of one region stand together."""
    keys: tuple[str, ...]
    """Their keys; empty for the outside."""
    poor_percent: tuple[tuple[float | None, ...], ...]
    """By sender and receiver [%]; None: nothing was heard, or too little to judge."""
    said: tuple[tuple[str, ...], ...]
    few: tuple[tuple[int, int], ...]
    """Cells, as receiver and sender, with too few streams to judge."""
    left_out: int
    """Sites past `MOST_SITES`."""


def pair_map(pairs: Sequence[PairQuality], names: Mapping[str, str]) -> PairMap:
    """Return the map of pairs; `names` are the estate's sites in its order."""
    heard: dict[str, int] = {}
    for one in pairs:
        for site in (one.site, one.other_site):
            heard[site or ""] = heard.get(site or "", 0) + one.poor.number * 1_000 + one.streams
    kept = sorted(heard, key=lambda site: -heard[site])[:MOST_SITES]
    order = {site: place for place, site in enumerate(names)}
    keys = sorted(kept, key=lambda site: (site == "", order.get(site, len(order)), site))
    place = {site: at for at, site in enumerate(keys)}
    values: list[list[float | None]] = [[None] * len(keys) for _ in keys]
    said = [["nothing heard"] * len(keys) for _ in keys]
    few = []
    for one in pairs:
        row, column = place.get(one.site or ""), place.get(one.other_site or "")
        if row is None or column is None:
            continue
        poor = one.poor
        told = f"{poor.number:,} of {poor.of:,} streams poor"
        if poor.value is not None and poor.low is not None and poor.high is not None:
            told += f", {100 * poor.value:.0f} % ({100 * poor.low:.0f} to {100 * poor.high:.0f} %)"
        if one.loss_percent is not None:
            told += f"<br>loss {one.loss_percent:.2f} %"
        if one.jitter_ms is not None:
            told += f", jitter {one.jitter_ms:.1f} ms"
        said[row][column] = told
        if poor.value is not None and poor.of >= LEAST:
            values[row][column] = 100 * poor.value
        else:
            few.append((column, row))
    shown = tuple(names.get(site, site) or OUTSIDE for site in keys)
    return PairMap(
        shown, tuple(keys), tuple(map(tuple, values)), tuple(map(tuple, said)), tuple(few), len(heard) - len(kept)
    )


def heatmap(of: PairMap) -> Any:
    """Return the figure: rows send, columns receive; hollow where there are few streams."""
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.add_heatmap(
        x=of.sites, y=of.sites, z=of.poor_percent, text=of.said, zmin=0, zmax=50, colorscale="Cividis",
        reversescale=True, hovertemplate="from %{y}<br>to %{x}<br>%{text}<extra></extra>", xgap=1, ygap=1,
        colorbar={"title": {"text": "poor %"}, "ticksuffix": " %"},
    )  # fmt: skip
    figure.add_scatter(
        x=[of.sites[column] for column, _ in of.few],
        y=[of.sites[row] for _, row in of.few],
        text=[of.said[row][column] for column, row in of.few],
        mode="markers",
        name="few streams",
        marker={"symbol": "circle-open", "size": 7, "color": GREY},
        hovertemplate="from %{y}<br>to %{x}<br>%{text}<extra></extra>",
        showlegend=False,
    )
    layout = {**LAYOUT, "height": 240 + 15 * len(of.sites), "hovermode": "closest"}
    figure.update_layout(**layout)
    figure.update_xaxes(type="category", tickangle=-60, automargin=True, showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True, showgrid=False)
    return figure
