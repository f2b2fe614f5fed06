"""Figures of reports: what `api.report.plots` says a section shows, drawn by Plotly."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from api.report.plots import Bars, Drawing, Dumbbells, Heatmap, Histogram, Line, Months, Tornado, Waterfall
from dashboards.palette import BAND, BLUE, GREY, GRID, LAYOUT, ORANGE, SERIES, SKY, VERMILION

ROW_PX, THIN_PX, MANY = 19, 15, 40
"""Height of a row of a plot that has one a site, and of one that has many rows."""
FEW, ABREAST = 6, 3
"""Histograms that stand one below the other, and how many stand side by side where there are more."""
LEAST_PX = 220
LONGEST_LABEL = 34


def drawn(drawing: Drawing, unit: str) -> Any:
    """Return the Plotly figure of a section's plot; `unit` is written at its axis."""
    makers: dict[type[Any], Callable[[Any, str], Any]] = {
        Waterfall: _waterfall,
        Months: _months,
        Dumbbells: _dumbbells,
        Tornado: _tornado,
        Bars: _bars,
        Histogram: _histogram,
        Heatmap: _heatmap,
    }
    figure = makers[type(drawing)](drawing, unit)
    figure.update_xaxes(gridcolor=GRID, automargin=True)
    figure.update_yaxes(gridcolor=GRID, automargin=True)
    return figure


def _figure(height: int, **layout: Any) -> Any:
    from plotly.graph_objects import Figure

    figure = Figure()
    # The legend stands close above the plot, however tall that is.
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0}
    above = {"legend": legend, "margin": {"l": 52, "r": 12, "t": 34, "b": 36}}
    figure.update_layout(**{**LAYOUT, **above, "height": max(LEAST_PX, height), "hovermode": "closest", **layout})
    return figure


def _rows_px(count: int) -> int:
    return count * (ROW_PX if count <= MANY else THIN_PX)


def _downwards(figure: Any, count: int) -> None:
    """Set the first row on top, without the room that Plotly leaves for its markers."""
    figure.update_yaxes(range=[count - 0.5, -0.5], type="category")


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _lines(figure: Any, lines: tuple[Line, ...], *, across: bool) -> None:
    for line in lines:
        said = f"{line.label} {line.shown}"
        if across:
            figure.add_vline(float(line.at), line_dash="dash", line_color=VERMILION, annotation_text=said)
        else:
            figure.add_hline(float(line.at), line_dash="dash", line_color=VERMILION, annotation_text=said)


def _waterfall(plot: Waterfall, unit: str) -> Any:
    figure = _figure(360, showlegend=False)
    steps = plot.steps
    figure.add_waterfall(
        x=[_short(step.label) for step in steps],
        y=[_number(step.end if step.level else step.end - step.begin) for step in steps],
        measure=["absolute" if step.level else "relative" for step in steps],
        text=[step.shown for step in steps],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{x}: %{text}<extra></extra>",
        decreasing_marker_color=BLUE,
        increasing_marker_color=VERMILION,
        totals_marker_color=GREY,
        connector_line_color=GREY,
    )
    figure.update_yaxes(title_text=unit, rangemode="tozero")
    return figure


def _months(plot: Months, unit: str) -> Any:
    figure = _figure(320, hovermode="x unified")
    labels = [month.label for month in plot.months]
    low, high = [_number(month.low) for month in plot.months], [_number(month.high) for month in plot.months]
    if any(value is not None for value in low):
        figure.add_scatter(x=labels, y=high, line_width=0, showlegend=False, hoverinfo="skip")
        figure.add_scatter(
            x=labels, y=low, line_width=0, fill="tonexty", fillcolor=BAND, name="range", hoverinfo="skip"
        )
    legacy, ip = [_number(month.legacy) for month in plot.months], [_number(month.ip) for month in plot.months]
    figure.add_scatter(x=labels, y=legacy, name=plot.names[0], mode="lines+markers", line_color=ORANGE, line_dash="dot")
    figure.add_scatter(x=labels, y=ip, name=plot.names[1], mode="lines+markers", line_color=BLUE)
    _lines(figure, plot.lines, across=False)
    figure.update_yaxes(title_text=unit, rangemode="tozero")
    figure.update_xaxes(type="category")
    return figure


def _dumbbells(plot: Dumbbells, unit: str) -> Any:
    labels = [_short(span.label) for span in plot.spans]
    figure = _figure(90 + _rows_px(len(labels)))
    for label, span in zip(labels, plot.spans, strict=True):
        colour = VERMILION if span.second > span.first else GREY
        ends = [float(span.first), float(span.second)]
        figure.add_scatter(x=ends, y=[label, label], mode="lines", line_color=colour, line_width=2, showlegend=False)
    marker = {"size": 9, "symbol": "circle-open", "color": ORANGE, "line": {"width": 2}}
    figure.add_scatter(
        x=[float(span.first) for span in plot.spans], y=labels, mode="markers", name=plot.names[0], marker=marker
    )
    figure.add_scatter(
        x=[float(span.second) for span in plot.spans],
        y=labels,
        mode="markers",
        name=plot.names[1],
        marker={"size": 9, "color": BLUE},
        text=[span.shown for span in plot.spans],
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    _downwards(figure, len(labels))
    figure.update_xaxes(title_text=unit, rangemode="tozero")
    return figure


def _tornado(plot: Tornado, unit: str) -> Any:
    labels = [_short(span.label) for span in plot.spans]
    figure = _figure(110 + ROW_PX * len(labels), showlegend=False)
    lows = [min(float(span.first), float(span.second)) for span in plot.spans]
    figure.add_bar(
        y=labels,
        x=[abs(float(span.second - span.first)) for span in plot.spans],
        base=lows,
        orientation="h",
        marker_color=SKY,
        text=[span.shown for span in plot.spans],
        textposition="none",
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    _lines(figure, plot.lines, across=True)
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title_text=unit)
    return figure


def _bars(plot: Bars, unit: str) -> Any:
    figure = _figure(110 + _rows_px(len(plot.rows) * max(1, len(plot.names))), barmode="group")
    labels = [_short(label) for label, _, _ in plot.rows]
    for place, name in enumerate(plot.names):
        figure.add_bar(
            y=labels,
            x=[_number(values[place]) for _, values, _ in plot.rows],
            text=[shown[place] for _, _, shown in plot.rows],
            textposition="none",
            hovertemplate="%{y}: %{text}<extra></extra>",
            name=name,
            orientation="h",
            marker_color=SERIES[place % len(SERIES)],
        )
    _lines(figure, plot.lines, across=True)
    _downwards(figure, len(labels))
    figure.update_xaxes(title_text=unit)
    return figure


def _histogram(plot: Histogram, unit: str) -> Any:
    from plotly.subplots import make_subplots

    count = max(1, len(plot.rows))
    columns = 1 if count <= FEW else ABREAST
    rows = -(-count // columns)
    figure = make_subplots(
        rows=rows, cols=columns, shared_xaxes=True, shared_yaxes="all", vertical_spacing=min(0.06, 0.4 / rows),
        horizontal_spacing=0.03, subplot_titles=[_short(row[0]) for row in plot.rows],
    )  # fmt: skip
    for place, (label, values, shown, inside) in enumerate(plot.rows):
        bought = [BLUE if inside is not None and at < inside else GREY for at in range(len(values))]
        figure.add_bar(
            x=list(plot.buckets), y=[_number(value) for value in values], text=list(shown), name=label,
            marker_color=bought, row=place // columns + 1, col=place % columns + 1,
            hovertemplate="%{x}: %{text}<extra></extra>", textposition="none",
        )  # fmt: skip
    figure.update_layout(**{**LAYOUT, "height": 60 + 100 * rows, "showlegend": False, "hovermode": "closest"})
    figure.update_layout(margin={"l": 52, "r": 12, "t": 30, "b": 36})
    figure.update_annotations(font_size=12)
    return figure


def _heatmap(plot: Heatmap, unit: str) -> Any:
    figure = _figure(90 + ROW_PX * len(plot.rows))
    figure.add_heatmap(
        x=list(plot.columns),
        y=[_short(label) for label, _, _ in plot.rows],
        z=[[_number(value) for value in values] for _, values, _ in plot.rows],
        text=[list(shown) for _, _, shown in plot.rows],
        texttemplate="%{text}",
        colorscale="Cividis",
        hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category")
    return figure
