"""What a section looks like: data from the section first, then a drawing of it.

`plot_of` gives a NamedTuple of plain values, which tests read; `draw` makes SVG of it. Positions along x are percents
of the drawing's width, so that text keeps its size on a telephone, on a wide screen and on paper. Nothing is told by
colour alone: each state has a shape, a hatching or a sign too. Colours are of Okabe and Ito's palette.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from analytics.cost.document import Document, Ref, Row, Section, Shape
from analytics.cost.figures import Figure
from api.report.shown import TEXT, heading, number, with_unit
from api.report.site_names import NAME

Value = Decimal | None


class Line(NamedTuple):
    """A line drawn across: what it is, and where."""

    label: str
    at: Decimal
    shown: str


class Step(NamedTuple):
    """One bar of a waterfall, from where to where."""

    label: str
    begin: Decimal
    end: Decimal
    level: bool
    """Whether it stands on 0 and not on the bar before."""
    shown: str


class Waterfall(NamedTuple):
    """From one level to another in steps."""

    steps: tuple[Step, ...]
    left_out: tuple[str, ...]
    """Rows without a value."""


class Month(NamedTuple):
    """One month; None is a gap."""

    label: str
    legacy: Value
    ip: Value
    low: Value
    high: Value


class Months(NamedTuple):
    """Two costs over time, and the range of the first."""

    months: tuple[Month, ...]
    names: tuple[str, str]
    lines: tuple[Line, ...]


class Span(NamedTuple):
    """Two values of one row."""

    label: str
    first: Decimal
    second: Decimal
    shown: str


class Dumbbells(NamedTuple):
    """Rows with a value before and one after."""

    spans: tuple[Span, ...]
    names: tuple[str, str]
    left_out: tuple[str, ...]


class Tornado(NamedTuple):
    """What each estimate could change, the widest first."""

    spans: tuple[Span, ...]
    names: tuple[str, str]
    lines: tuple[Line, ...]
    left_out: tuple[str, ...]


class Bars(NamedTuple):
    """Rows with one bar for each series."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Value, ...], tuple[str, ...]], ...]
    lines: tuple[Line, ...]


class Histogram(NamedTuple):
    """Counts by bucket, a row of bars for each row; `target` is the number of buckets within the target."""

    buckets: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Value, ...], tuple[str, ...], int | None], ...]


class Heatmap(NamedTuple):
    """Values of rows by columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Value, ...], tuple[str, ...]], ...]


Drawing = Waterfall | Months | Dumbbells | Tornado | Bars | Histogram | Heatmap


def plot_of(section: Section, document: Document) -> Drawing | None:
    """What a section's plot shows; None where it asks for none or has nothing to draw."""
    if section.plot is None or not section.rows:
        return None
    columns = section.plot.columns or tuple(i for i, head in enumerate(section.heads) if head.unit != TEXT)
    reader = _Reader(section, document, columns)
    match section.plot.shape:
        case Shape.WATERFALL:
            return reader.waterfall()
        case Shape.MONTHS:
            return reader.months()
        case Shape.DUMBBELLS:
            spans, left_out = reader.spans()
            return Dumbbells(spans, reader.two_names(), left_out)
        case Shape.TORNADO:
            spans, left_out = reader.spans()
            ordered = tuple(sorted(spans, key=lambda span: -abs(span.second - span.first)))
            return Tornado(ordered, reader.two_names(), reader.lines(), left_out)
        case Shape.BARS:
            return Bars(reader.names(), reader.values(), reader.lines())
        case Shape.HISTOGRAM:
            return reader.histogram()
        case Shape.HEATMAP:
            return Heatmap(reader.names(), reader.values())


class _Reader:
    """Reads the cells of a section that its plot needs."""

    def __init__(self, section: Section, document: Document, columns: Sequence[int]) -> None:
        self._section = section
        self._document = document
        self._columns = columns

    def names(self) -> tuple[str, ...]:
        return tuple(self._section.heads[column].label for column in self._columns)

    def two_names(self) -> tuple[str, str]:
        names = self.names()
        return names[0], names[1] if len(names) > 1 else ""

    def lines(self) -> tuple[Line, ...]:
        found = []
        for label, key in self._section.plot.lines if self._section.plot else ():
            figure = self._document.book[key]
            if figure.value is not None:
                found.append(Line(label, figure.value, with_unit(figure, self._document.currency)))
        return tuple(found)

    def _label(self, row: Row) -> str:
        """What a row is called: a site by its code and its name."""
        name = str(row.cells[1]) if len(row.cells) > 1 and self._section.heads[1].label == NAME else ""
        return f"{row.cells[0]} {name}".rstrip()

    def _rows(self) -> list[Row]:
        return [row for row in self._section.rows if not row.total]

    def _figure(self, row: Row, turn: int) -> Figure | None:
        if turn >= len(self._columns) or self._columns[turn] >= len(row.cells):
            return None
        cell = row.cells[self._columns[turn]]
        return self._document.book[cell.key] if isinstance(cell, Ref) else None

    def _value(self, row: Row, turn: int) -> Value:
        figure = self._figure(row, turn)
        return None if figure is None else figure.value

    def _shown(self, row: Row, turn: int) -> str:
        figure = self._figure(row, turn)
        return "" if figure is None else number(figure)

    def waterfall(self) -> Waterfall:
        steps: list[Step] = []
        left_out = []
        reached = Decimal(0)
        for row in self._section.rows:
            value = self._value(row, 0)
            label = str(row.cells[0])
            if value is None:
                left_out.append(label)
                continue
            begin = Decimal(0) if row.total else reached
            reached = begin + value
            shown = self._shown(row, 0)
            steps.append(Step(label, begin, reached, row.total, shown if row.total or value < 0 else f"+{shown}"))
        return Waterfall(tuple(steps), tuple(left_out))

    def months(self) -> Months:
        months = (Month(str(row.cells[0]), *(self._value(row, turn) for turn in range(4))) for row in self._rows())
        return Months(tuple(months), self.two_names(), self.lines())

    def spans(self) -> tuple[tuple[Span, ...], tuple[str, ...]]:
        spans, left_out = [], []
        for row in self._rows():
            first, second = self._value(row, 0), self._value(row, 1)
            if first is None or second is None:
                left_out.append(self._label(row))
            else:
                shown = f"{self._shown(row, 0)} → {self._shown(row, 1)}"
                spans.append(Span(self._label(row), first, second, shown))
        return tuple(spans), tuple(left_out)

    def values(self) -> tuple[tuple[str, tuple[Value, ...], tuple[str, ...]], ...]:
        turns = range(len(self._columns))
        return tuple(
            (
                self._label(row),
                tuple(self._value(row, turn) for turn in turns),
                tuple(self._shown(row, turn) for turn in turns),
            )
            for row in self._rows()
        )

    def histogram(self) -> Histogram:
        buckets = self.names()
        bounds = [upper_bound(bucket) for bucket in buckets]
        targets = {line.label: line.at for line in self.lines()}
        everywhere = targets.get("target")
        rows = []
        for label, values, shown in self.values():
            target = targets.get(label, everywhere)
            inside = None if target is None else sum(1 for bound in bounds if bound is not None and bound <= target)
            rows.append((label, values, shown, inside))
        return Histogram(buckets, tuple(rows))


def upper_bound(bucket: str) -> Decimal | None:
    """Upper end of a bucket by its label, `≤ 10`; None for the last one, `> 60`."""
    match = re.search(r"≤\s*([\d.]+)", bucket)
    return Decimal(match[1]) if match else None


def alternative(section: Section, document: Document) -> str:
    """What a plot shows, for people who do not see it; its table follows it."""
    heads = ", ".join(heading(head, document.currency) for head in section.heads[1:])
    return f"{section.title}: {section.sentence} The table after this plot holds its values ({heads})."
