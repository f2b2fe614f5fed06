"""Pairs of sites: a map in which a sick link is a cell and a sick site a cross."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from analytics.questions.pairs import PairQuality
from analytics.sites import Site
from dashboards.palette import GREY, LAYOUT, VERMILION

OUTSIDE: Final = "outside"
LEAST: Final = 20
"""Fewer rated streams are shown hollow."""
POOR: Final = 0.05
"""A way is poor where the lower bound of its share is above this."""
MOST_SITES: Final = 150
"""Sites of the map: past so many, those with the most poor streams."""
HIGHEST: Final = 50.0
"""Share at which the colour is full [%]."""
SCALE: Final = ((0.0, "rgba(213, 94, 0, 0.09)"), (0.1, "rgba(213, 94, 0, 0.32)"), (1.0, "rgba(213, 94, 0, 1)"))
"""From nearly the ground to vermilion, in the dark as in the light: what is fine is quiet, and the worst stands out."""


class PairMap(NamedTuple):
    """Share of poor streams from site to site."""

    sites: tuple[str, ...]
    """Names, so that those of one region stand together."""
    keys: tuple[str, ...]
    """Their keys; empty for the outside."""
    poor_percent: tuple[tuple[float | None, ...], ...]
    """By sender and receiver [%]; None: nothing was heard, or too little to judge."""
    said: tuple[tuple[str, ...], ...]
    few: tuple[tuple[int, int], ...]
    """Cells, as receiver and sender, with too few streams to judge."""
    hints: tuple[bool, ...]
    """Of each of those, whether any stream was poor."""
    poor: tuple[tuple[int, int], ...]
    """Cells, as receiver and sender, of ways that are poor beyond chance."""
    left_out: int
    """Sites past `MOST_SITES`."""


def is_poor(one: PairQuality) -> bool:
    """Whether a way is poor, and not by chance of a few streams."""
    return one.poor.low is not None and one.poor.of >= LEAST and one.poor.low > POOR


def by_region(sites: Sequence[Site]) -> dict[str, str]:
    """Return the names of sites, those of one region together: a site, what hangs on it alone, then its other parts."""
    names = {one.site: one.name or one.site for one in sites}
    below: dict[str | None, list[str]] = {}
    for site, parent in {one.site: one.parent for one in sites}.items():
        below.setdefault(parent if parent in names and parent != site else None, []).append(site)
    found: dict[str, str] = {}
    waiting = below.get(None, [])[::-1]
    while waiting:
        site = waiting.pop()
        if site in found:
            continue
        found[site] = names[site]
        # What has nothing below it belongs to this site; what has is a region of its own.
        last_first = list(reversed(below.get(site, [])))
        waiting += sorted(last_first, key=lambda one: one not in below)
    # Sites that are each other's parents hang on nothing.
    return found | {site: name for site, name in names.items() if site not in found}


def pair_map(pairs: Sequence[PairQuality], names: Mapping[str, str]) -> PairMap:
    """Return the map of pairs; `names` are the estate's sites in the order in which they are shown."""
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
    few, hints, poor = [], [], []
    for one in pairs:
        row, column = place.get(one.site or ""), place.get(one.other_site or "")
        if row is None or column is None:
            continue
        said[row][column] = _said(one)
        if one.poor.value is not None and one.poor.of >= LEAST:
            values[row][column] = 100 * one.poor.value
        else:
            few.append((column, row))
            hints.append(one.poor.number > 0)
        if is_poor(one):
            poor.append((column, row))
    return PairMap(
        _unlike(keys, names),
        tuple(keys),
        tuple(map(tuple, values)),
        tuple(map(tuple, said)),
        tuple(few),
        tuple(hints),
        tuple(poor),
        len(heard) - len(kept),
    )


def _unlike(keys: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of sites, with their keys where two have the same: places on an axis are told apart by name."""
    shown = [(names.get(site) or site) if site else OUTSIDE for site in keys]
    return tuple(f"{name} ({key})" if shown.count(name) > 1 else name for key, name in zip(keys, shown, strict=True))


def _said(one: PairQuality) -> str:
    poor = one.poor
    told = f"{poor.number:,} of {poor.of:,} streams poor"
    if poor.value is not None and poor.low is not None and poor.high is not None:
        told += f", {100 * poor.value:.0f} % ({100 * poor.low:.0f} to {100 * poor.high:.0f} %)"
    if one.loss_percent is not None:
        told += f"<br>loss {one.loss_percent:.2f} %"
    if one.jitter_ms is not None:
        told += f", jitter {one.jitter_ms:.1f} ms"
    return told


def heatmap(of: PairMap) -> Any:
    """Return the figure: rows send, columns receive; hollow where there are few streams, a number where it is poor."""
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.add_heatmap(
        x=of.sites, y=of.sites, z=of.poor_percent, text=of.said, zmin=0, zmax=HIGHEST, colorscale=SCALE,
        hovertemplate="from %{y}<br>to %{x}<br>%{text}<extra></extra>", xgap=1, ygap=1, customdata=_ways(of),
        colorbar={"title": {"text": "poor %"}, "ticksuffix": " %", "thickness": 14, "outlinecolor": GREY,
                  "outlinewidth": 1},
    )  # fmt: skip
    inks = [VERMILION if hint else GREY for hint in of.hints]
    hollow = {"symbol": "circle-open", "size": 6, "color": inks, "opacity": [0.9 if hint else 0.5 for hint in of.hints]}
    _marks(figure, of, of.few, "few streams", mode="markers", marker=hollow)
    _marks(figure, of, of.poor, "poor", mode="text", texttemplate="%{customdata[1]}", textfont={"size": 10})
    figure.update_layout(**{**LAYOUT, "height": 260 + 15 * len(of.sites), "hovermode": "closest"})
    # Every site is named: a label for every other row leaves half of them without.
    axis = {"type": "category", "automargin": True, "showgrid": False, "dtick": 1, "tickfont": {"size": 10}}
    least = [-0.5, len(of.sites) - 0.5]
    figure.update_xaxes(**axis, tickangle=-90, range=least)
    figure.update_yaxes(**axis, range=least[::-1])
    return figure


def _ways(of: PairMap) -> list[list[str]]:
    """Return for each cell the path of its page."""
    return [[f"{row or OUTSIDE}/{column or OUTSIDE}" for column in of.keys] for row in of.keys]


def _marks(figure: Any, of: PairMap, cells: Collection[tuple[int, int]], name: str, **drawn: Any) -> None:
    ways = _ways(of)
    shares = [of.poor_percent[row][column] for column, row in cells]
    figure.add_scatter(
        x=[of.sites[column] for column, _ in cells],
        y=[of.sites[row] for _, row in cells],
        hovertext=[of.said[row][column] for column, row in cells],
        customdata=[
            (ways[row][column], "" if poor is None else f"{poor:.0f}")
            for (column, row), poor in zip(cells, shares, strict=True)
        ],
        hovertemplate="from %{y}<br>to %{x}<br>%{hovertext}<extra></extra>",
        name=name,
        showlegend=False,
        **drawn,
    )
