"""Graphs on pages: every figure is put there the same way."""

from __future__ import annotations

from typing import Any

from dash import dcc
from dash.development.base_component import Component

from dashboards.palette import GRAPH


def graph(figure: Any, **named: Any) -> Component:
    """Return a Plotly figure as a component; `named` are properties such as `id`."""
    height = figure.layout.height
    # Without it the place of a figure is as high as Plotly's own default.
    style = {} if height is None else {"height": f"{height}px"}
    shown: Component = dcc.Graph(figure=figure, config=GRAPH.copy(), style=style, **named)  # type: ignore[arg-type]
    return shown
