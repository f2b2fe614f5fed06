"""Graphs on pages: every figure is put there the same way."""

from __future__ import annotations

from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from dashboards.palette import GRAPH

ZERO = "rgba(138, 143, 152, 0.4)"


def graph(figure: Any, least: int = 0, **named: Any) -> Component:
    """Return a Plotly figure as a component; `named` are properties such as `id`.

    `least` is the width under which it says nothing any more [px]: on a narrower page it scrolls in its own box.
    """
    # Axes of figures in parts take what Plotly draws on a white ground: a line that is white in the dark.
    figure.update_xaxes(zerolinecolor=ZERO)
    figure.update_yaxes(zerolinecolor=ZERO)
    height = figure.layout.height
    # Without it the place of a figure is as high as Plotly's own default.
    style = {} if height is None else {"height": f"{height}px"}
    shown: Component = dcc.Graph(figure=figure, config=GRAPH.copy(), style=style, **named)  # type: ignore[arg-type]
    if not least:
        return shown
    made: Component = html.Div(html.Div(shown, style={"minWidth": f"{least}px"}), className="figure-box")
    return made
