"""What stands above a list of calls or streams: how many began when, and how many of them were poor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from analytics.questions.over_time import Bucket
from dashboards.palette import GREY, LAYOUT, SKY, VERMILION


class Histogram(NamedTuple):
    """Counts over time, in three parts that add up."""

    starts: tuple[datetime, ...]
    """Local begin of each part."""
    poor: tuple[int, ...]
    others: tuple[int, ...]
    """Rated, and not poor."""
    unrated: tuple[int, ...]


def histogram(buckets: Sequence[Bucket], zone: str) -> Histogram:
    """Return the histogram of buckets."""
    local = ZoneInfo(zone)
    return Histogram(
        tuple(one.start.astimezone(local) for one in buckets),
        tuple(one.poor for one in buckets),
        tuple(one.number - one.poor - one.unrated for one in buckets),
        tuple(one.unrated for one in buckets),
    )


def bars(shown: Histogram) -> Any:
    """Return the figure; a span that is dragged over it becomes the filter."""
    from plotly.graph_objects import Figure

    figure = Figure()
    for name, counts, colour, pattern in (
        ("poor", shown.poor, VERMILION, ""),
        ("others", shown.others, SKY, ""),
        ("unrated", shown.unrated, GREY, "/"),
    ):
        figure.add_bar(x=shown.starts, y=counts, name=name, marker_color=colour, marker_pattern_shape=pattern)
    margin = {"l": 44, "r": 8, "t": 26, "b": 24}
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"}
    figure.update_layout(
        **{
            **LAYOUT,
            "height": 150,
            "barmode": "stack",
            "bargap": 0.08,
            "dragmode": "select",
            "margin": margin,
            "legend": legend,
        },
        selectdirection="h",
    )
    return figure
