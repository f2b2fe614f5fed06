"""Graphs on pages: every figure is put there the same way."""

from __future__ import annotations

from typing import Any

from dash import dcc
from dash.development.base_component import Component

from dashboards.palette import GRAPH


def graph(figure: Any, **named: Any) -> Component:
    """Return a Plotly figure as a component; `named` are properties such as `id`."""
    shown: Component = dcc.Graph(figure=figure, config=GRAPH.copy(), **named)  # type: ignore[arg-type]
    return shown
