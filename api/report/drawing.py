"""Plots as HTML and SVG without a script: rows of label, track and value; positions along a track are percents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from html import escape
from typing import NamedTuple

from api.report.plots import (
    Bars,
    Drawing,
    Dumbbells,
    Heatmap,
    Histogram,
    Line,
    Month,
    Months,
    Tornado,
    Value,
    Waterfall,
)

ROW = 22
"""Height of a row's track [px]."""
MOST_TICKS = 6
TALL = 240
"""Height of a plot over time [px]."""
TOP, BOTTOM = 12, 24
"""Room above and below its curves [px]."""
LEGIBLE_COLUMNS = 12
"""Columns of a heatmap up to which values stand in its cells."""


class Scale(NamedTuple):
    """Values to percents of a track."""

    low: Decimal
    high: Decimal
    ticks: tuple[Decimal, ...]

    def percent(self, value: Decimal) -> float:
        """Where a value lies."""
        return float((value - self.low) / (self.high - self.low) * 100)


def scale(values: Iterable[Decimal], *, zero: bool) -> Scale:
    """A scale with round ends that holds all values, and 0 if asked for."""
    held = [*values, *([Decimal(0)] if zero else [])] or [Decimal(0)]
    low, high = min(held), max(held)
    if low == high:
        low, high = low - (low != 0 and not zero), high + 1
    step = round_step((high - low) / (MOST_TICKS - 1))
    first = (low / step).to_integral_value(ROUND_FLOOR)
    last = (high / step).to_integral_value(ROUND_CEILING)
    ticks = tuple(step * (first + turn) for turn in range(int(last - first) + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def round_step(least: Decimal) -> Decimal:
    """Smallest of 1, 2, 5 × 10^n that is not under a step."""
    power = Decimal(1).scaleb(least.adjusted())
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= least)


def tick_text(value: Decimal) -> str:
    """A tick's label, short: 1,500 is 1.5 k."""
    magnitude = abs(value)
    for limit, sign in ((Decimal(1_000_000), " m"), (Decimal(1_000), " k")):
        if magnitude >= limit:
            return f"{trimmed(value / limit)}{sign}".replace("-", "−")
    return trimmed(value).replace("-", "−")


def trimmed(value: Decimal) -> str:
    """Digits without trailing zeros or exponent."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def pc(value: float) -> str:
    """A percent as an attribute."""
    return f"{value:.2f}%"


def draw(drawing: Drawing, name: str) -> str:
    """The drawing as HTML; `name` keeps its identifiers apart from those of other drawings."""
    match drawing:
        case Waterfall():
            return draw_waterfall(drawing)
        case Months():
            return draw_months(drawing, name)
        case Dumbbells():
            return draw_dumbbells(drawing)
        case Tornado():
            return draw_tornado(drawing)
        case Bars():
            return draw_bars(drawing)
        case Histogram():
            return draw_histogram(drawing)
        case Heatmap():
            return draw_heatmap(drawing)


def row(label: str, track: str, shown: str, height: int = ROW, css: str = "") -> str:
    """One row: label, track, value."""
    return (
        f'<div class="r {css}"><span class="l">{escape(label)}</span>'
        f'<svg class="t" height="{height}" aria-hidden="true">{track}</svg><span class="v">{escape(shown)}</span></div>'
    )


def rows(content: Iterable[str], left_out: Sequence[str] = (), legend: str = "") -> str:
    """Rows of a plot, with what could not be drawn."""
    missing = f'<p class="n">Not drawn, no value: {escape(", ".join(left_out))}</p>' if left_out else ""
    return f'{legend}<div class="rows">{"".join(content)}</div>{missing}'


def grid(of: Scale, height: int = ROW) -> str:
    """Upright lines at the ticks; that of 0 is stronger."""
    return "".join(
        f'<line class="{"z" if tick == 0 else "g"}" x1="{pc(of.percent(tick))}" x2="{pc(of.percent(tick))}" '
        f'y1="0" y2="{height}"/>'
        for tick in of.ticks
    )


def axis(of: Scale) -> str:
    """Labels of the ticks."""
    last = len(of.ticks) - 1
    texts = "".join(
        f'<text x="{pc(of.percent(tick))}" y="13" text-anchor="{anchor(index, last)}">{tick_text(tick)}</text>'
        for index, tick in enumerate(of.ticks)
    )
    return row("", texts, "", 18, "a")


def anchor(index: int, last: int) -> str:
    """Where the text of a tick hangs, so that none leaves the drawing."""
    return "start" if index == 0 else "end" if index == last else "middle"


def across(lines: Sequence[Line], of: Scale, height: int = ROW) -> str:
    """Lines drawn across a row."""
    return "".join(
        f'<line class="m m{turn % 2}" x1="{pc(of.percent(line.at))}" x2="{pc(of.percent(line.at))}" y1="0" '
        f'y2="{height}"/>'
        for turn, line in enumerate(lines)
    )


def line_legend(lines: Sequence[Line]) -> str:
    """What the lines across are."""
    return "".join(
        f'<span><i class="k m m{turn % 2}"></i>{escape(line.label)} {escape(line.shown)}</span>'
        for turn, line in enumerate(lines)
    )


def legend(*entries: str) -> str:
    """A legend above a plot."""
    return f'<p class="legend">{" ".join(entries)}</p>'


def draw_waterfall(plot: Waterfall) -> str:
    """Levels from 0, steps hanging between them: a fall is plain, a rise hatched and signed."""
    of = scale((value for step in plot.steps for value in (step.begin, step.end)), zero=True)
    content = []
    for index, step in enumerate(plot.steps):
        left, right = sorted((of.percent(step.begin), of.percent(step.end)))
        css = "level" if step.level else "up" if step.end > step.begin else "down"
        joint = ""
        if index + 1 < len(plot.steps) and not plot.steps[index + 1].level:
            at = pc(of.percent(step.end))
            joint = f'<line class="j" x1="{at}" x2="{at}" y1="18" y2="{ROW}"/>'
        bar = f'<rect class="{css}" x="{pc(left)}" width="{pc(max(right - left, 0.3))}" y="4" height="14"/>'
        content.append(row(step.label, grid(of) + bar + joint, step.shown, css="tot" if step.level else ""))
    keys = legend(
        '<span><i class="k down"></i>cost falls (−)</span>', '<span><i class="k up"></i>cost rises (+), hatched</span>'
    )
    return rows([*content, axis(of)], plot.left_out, keys)


def draw_dumbbells(plot: Dumbbells) -> str:
    """A hollow circle before, a full one after; the bar between is hatched where the value rose."""
    of = scale((value for span in plot.spans for value in (span.first, span.second)), zero=True)
    content = []
    for span in plot.spans:
        first, second = of.percent(span.first), of.percent(span.second)
        left, right = sorted((first, second))
        css = "up" if span.second > span.first else "down"
        track = (
            f'<rect class="{css}" x="{pc(left)}" width="{pc(right - left)}" y="9" height="4"/>'
            f'<circle class="was" cx="{pc(first)}" cy="11" r="5"/><circle class="now" cx="{pc(second)}" cy="11" r="5"/>'
        )
        content.append(row(span.label, grid(of) + track, span.shown))
    before, after = (escape(name) for name in plot.names)
    keys = legend(
        f'<span><i class="k was"></i>{before}</span>',
        f'<span><i class="k now"></i>{after}</span>',
        '<span><i class="k up"></i>dearer than before, hatched</span>',
    )
    return rows([*content, axis(of)], plot.left_out, keys)


def draw_tornado(plot: Tornado) -> str:
    """A bar from what the low end gives to what the high end gives, across the lines."""
    values = [value for span in plot.spans for value in (span.first, span.second)]
    of = scale([*values, *(line.at for line in plot.lines)], zero=False)
    content = []
    for span in plot.spans:
        left, right = sorted((of.percent(span.first), of.percent(span.second)))
        bar = f'<rect class="down" x="{pc(left)}" width="{pc(max(right - left, 0.3))}" y="4" height="14"/>'
        content.append(row(span.label, grid(of) + bar + across(plot.lines, of), span.shown))
    return rows([*content, axis(of)], plot.left_out, legend(line_legend(plot.lines)) if plot.lines else "")


def draw_bars(plot: Bars) -> str:
    """Bars from 0, one for each series; a missing value is a hatched stub."""
    values = [value for _, held, _ in plot.rows for value in held if value is not None]
    of = scale([*values, *(line.at for line in plot.lines)], zero=True)
    series = len(plot.names)
    height = max(ROW, 12 * series + 6)
    content = []
    for label, held, shown in plot.rows:
        bars = []
        for turn, value in enumerate(held):
            top = 4 + turn * (height - 6) / series
            thick = (height - 8) / series - (2 if series > 1 else 0)
            bars.append(bar_of(value, of, top, thick, turn))
        text = " · ".join(shown)
        content.append(row(label, grid(of, height) + "".join(bars) + across(plot.lines, of, height), text, height))
    keys = [f'<span><i class="k s{turn % 4}"></i>{escape(name)}</span>' for turn, name in enumerate(plot.names)]
    told = legend(*(keys if series > 1 else []), line_legend(plot.lines)) if series > 1 or plot.lines else ""
    return rows([*content, axis(of)], legend=told)


def bar_of(value: Value, of: Scale, top: float, thick: float, turn: int) -> str:
    """One bar; where there is no value, a hatched stub."""
    zero = of.percent(Decimal(0))
    if value is None:
        return f'<rect class="none" x="{pc(zero)}" width="10" y="{top:.1f}" height="{thick:.1f}"/>'
    left, right = sorted((zero, of.percent(value)))
    return f'<rect class="s{turn % 4}" x="{pc(left)}" width="{pc(right - left)}" y="{top:.1f}" height="{thick:.1f}"/>'


def draw_histogram(plot: Histogram) -> str:
    """A row of columns for each row, each row to its own height; beyond the target columns are hatched."""
    if not plot.buckets:
        return ""
    each = 100 / len(plot.buckets)
    height = 44
    content = []
    for label, held, shown, inside in plot.rows:
        most = max([value for value in held if value is not None], default=Decimal(0)) or Decimal(1)
        columns = []
        for index, (value, text) in enumerate(zip(held, shown, strict=True)):
            late = inside is not None and index >= inside
            tall = 6.0 if value is None else float(value / most) * (height - 14)
            css = "none" if value is None else "up" if late else "down"
            columns.append(
                f'<rect class="{css}" x="{pc(index * each + 0.5)}" width="{pc(each - 1)}" '
                f'y="{height - tall:.1f}" height="{tall:.1f}"/>'
                f'<text class="c" x="{pc((index + 0.5) * each)}" y="{height - tall - 3:.1f}" '
                f'text-anchor="middle">{escape(text)}</text>'
            )
        line = ""
        if inside is not None:
            at = pc(inside * each)
            line = f'<line class="m" x1="{at}" x2="{at}" y1="0" y2="{height}"/>'
        base = f'<line class="z" x1="0" x2="100%" y1="{height}" y2="{height}"/>'
        content.append(row(label, base + "".join(columns) + line, "", height))
    texts = "".join(
        f'<text x="{pc((index + 0.5) * each)}" y="13" text-anchor="middle">{escape(bucket)}</text>'
        for index, bucket in enumerate(plot.buckets)
    )
    keys = legend(
        '<span><i class="k down"></i>within the target</span>',
        '<span><i class="k up"></i>later, hatched</span>',
        '<span><i class="k m"></i>target</span>',
    )
    return rows([*content, row("", texts, "", 18, "a")], legend=keys)


def draw_heatmap(plot: Heatmap) -> str:
    """Shaded cells, dark is much; a missing value is hatched."""
    if not plot.columns:
        return ""
    values = [value for _, held, _ in plot.rows for value in held if value is not None]
    most = max(values, default=Decimal(0)) or Decimal(1)
    each = 100 / len(plot.columns)
    told = len(plot.columns) <= LEGIBLE_COLUMNS
    content = []
    for label, held, shown in plot.rows:
        cells = []
        for index, (value, text) in enumerate(zip(held, shown, strict=True)):
            share = 0.0 if value is None else max(0.0, min(1.0, float(value / most)))
            look = 'class="none"' if value is None else f'class="h" fill-opacity="{0.06 + 0.94 * share:.2f}"'
            cells.append(
                f'<rect {look} x="{pc(index * each + 0.1)}" width="{pc(each - 0.2)}" y="1" height="{ROW - 2}">'
                f"<title>{escape(f'{label}, {plot.columns[index]}: {text}')}</title></rect>"
            )
            if told:
                css = "w" if share > 0.55 else "c"
                cells.append(
                    f'<text class="{css}" x="{pc((index + 0.5) * each)}" y="15" text-anchor="middle">'
                    f"{escape(text)}</text>"
                )
        content.append(row(label, "".join(cells), ""))
    texts = "".join(
        f'<text x="{pc((index + 0.5) * each)}" y="13" text-anchor="middle">{escape(column)}</text>'
        for index, column in enumerate(plot.columns)
        if told
    )
    return rows([*content, row("", texts, "", 18, "a")] if told else content)


def draw_months(plot: Months, name: str) -> str:
    """Two curves over months, the range of the first shaded; a month without a value is a gap."""
    if not plot.months:
        return ""
    values = [value for month in plot.months for value in month[1:] if isinstance(value, Decimal)]
    of = scale(values, zero=True)
    each = 100 / len(plot.months)
    centres = [(index + 0.5) * each for index in range(len(plot.months))]

    def y(value: Decimal) -> float:
        return TOP + (TALL - TOP - BOTTOM) * (1 - of.percent(value) / 100)

    lines = "".join(
        f'<line class="{"z" if tick == 0 else "g"}" x1="0" x2="100%" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="0" y="{y(tick) - 3:.1f}">{tick_text(tick)}</text>'
        for tick in of.ticks
    )
    area = band(plot.months, centres, of)
    curves = "".join(
        curve([month[place] for month in plot.months], centres, of, css) for place, css in ((1, "was"), (2, "now"))
    )
    plane = (
        f'<svg x="0" y="{TOP}" width="100%" height="{TALL - TOP - BOTTOM}" viewBox="0 0 100 100" '
        f'preserveAspectRatio="none">{area}{curves}</svg>'
    )
    points = "".join(
        f'<circle class="{css}" cx="{pc(at)}" cy="{y(value):.1f}" r="4"/>'
        for at, month in zip(centres, plot.months, strict=True)
        for value, css in ((month.legacy, "was"), (month.ip, "now"))
        if value is not None
    )
    texts = "".join(
        f'<text x="{pc(at)}" y="{TALL - 6}" text-anchor="middle">{escape(short_month(month.label))}</text>'
        for at, month in zip(centres, plot.months, strict=True)
    )
    before, after = (escape(text) for text in plot.names)
    ranged = any(month.low is not None and month.high is not None for month in plot.months)
    shade = f'<span><i class="k band"></i>range of {before}</span>' if ranged else ""
    keys = legend(f'<span><i class="k was"></i>{before}</span><span><i class="k now"></i>{after}</span>{shade}')
    return (
        f'{keys}<svg class="months" id="{escape(name)}" width="100%" height="{TALL}" aria-hidden="true">'
        f"{lines}{plane}{points}{texts}</svg>"
    )


def short_month(label: str) -> str:
    """`2025-10` as `10/25`, which fits a telephone; other labels stay."""
    year, dash, month = label.partition("-")
    return f"{month}/{year[2:]}" if dash and len(year) == 4 and month.isdigit() else label


def band(months: Sequence[Month], centres: Sequence[float], of: Scale) -> str:
    """The range of the first curve, in pieces where months lack it."""
    pieces: list[list[tuple[float, Decimal, Decimal]]] = [[]]
    for at, month in zip(centres, months, strict=True):
        if month.low is None or month.high is None:
            pieces.append([])
        else:
            pieces[-1].append((at, month.low, month.high))
    drawn: list[str] = []
    for piece in pieces:
        if len(piece) < 2:
            drawn.extend(
                f'<rect class="band" x="{at - 1:.2f}" width="2" y="{100 - of.percent(high):.2f}" '
                f'height="{of.percent(high) - of.percent(low):.2f}"/>'
                for at, low, high in piece
            )
            continue
        upper = [f"{at:.2f},{100 - of.percent(high):.2f}" for at, _, high in piece]
        lower = [f"{at:.2f},{100 - of.percent(low):.2f}" for at, low, _ in reversed(piece)]
        drawn.append(f'<polygon class="band" points="{" ".join([*upper, *lower])}"/>')
    return "".join(drawn)


def curve(values: Sequence[object], centres: Sequence[float], of: Scale, css: str) -> str:
    """A curve, broken where a value is missing."""
    pieces: list[list[str]] = [[]]
    for at, value in zip(centres, values, strict=True):
        if isinstance(value, Decimal):
            pieces[-1].append(f"{at:.2f},{100 - of.percent(value):.2f}")
        else:
            pieces.append([])
    return "".join(
        f'<polyline class="{css}" points="{" ".join(piece)}" vector-effect="non-scaling-stroke"/>'
        for piece in pieces
        if len(piece) > 1
    )
