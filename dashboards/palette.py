"""Colours that most people can tell apart (Okabe and Ito 2008), and how figures look in the dark and in the light.

Colour never stands alone: each state has a word and a shape beside it, see `parts.mark`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8A8F98"
"""Readable on both grounds."""
SERIES: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)
"""Order of lines in a figure."""
BAND: Final = "rgba(138, 143, 152, 0.22)"
"""The past behind a line."""

GRID: Final = "rgba(138, 143, 152, 0.25)"
"""Lines behind a figure."""

_AXIS: Final = MappingProxyType({"gridcolor": GRID, "zerolinecolor": "rgba(138, 143, 152, 0.4)", "linecolor": GREY})
LAYOUT: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": GREY},
        "colorway": list(SERIES),
        "margin": {"l": 52, "r": 12, "t": 12, "b": 36},
        "hovermode": "x unified",
        "xaxis": dict(_AXIS),
        "yaxis": dict(_AXIS),
        "legend": {"orientation": "h", "y": 1.08, "x": 0},
    }
)
"""For `figure.update_layout(**LAYOUT)`: grounds show through, and the style sheet sets the ink of words."""
GRAPH: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {
        "displaylogo": False,
        "responsive": True,
        "modeBarButtonsToRemove": ["lasso2d", "select2d"],
        # Plotly offers to upload a figure to its makers unless it is told not to.
        "showSendToCloud": False,
        "plotlyServerURL": "",
    }
)
"""For `dcc.Graph(config=GRAPH.copy())`: no button leads to anybody outside."""
