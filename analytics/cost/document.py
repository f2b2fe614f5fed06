"""What a report is, before it is a table, a page or a workbook: sentences, tables of figures, and plots.

Numbers are never text here: a cell refers to a figure of the book, so every format can show its formula and inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from analytics.cost.figures import Book


@dataclass(frozen=True, slots=True)
class Ref:
    """A cell that holds a figure of the book."""

    key: str


Cell = str | Ref
"""Text, or a figure. An empty string is an empty cell."""


@dataclass(frozen=True, slots=True)
class Head:
    """Heading of a column."""

    label: str
    unit: str = "text"
    """`text`, or the unit of its figures: what `Figure.unit` says."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    cells: tuple[Cell, ...]
    total: bool = False
    note: str = ""
    """Shown beside the row: a reason, a name of a source."""


class Shape(StrEnum):
    """Shape of a plot, with the columns that it reads unless a plot names others. Column 0 names its rows.

    Rows that are totals are drawn in `waterfall` alone.
    """

    WATERFALL = "waterfall"
    """One column: a total row is a level from 0, each other row a step between levels."""
    MONTHS = "months"
    """One row a month. Two columns: legacy, IP; and two more: lowest and highest legacy."""
    DUMBBELLS = "dumbbells"
    """Two columns: from (legacy), to (IP); a row each."""
    TORNADO = "tornado"
    """Two columns: result at the low and at the high end of an estimate; `lines` holds the result itself."""
    BARS = "bars"
    """One column or several; a bar each."""
    HISTOGRAM = "histogram"
    """A row of bars for each row of the table; a column's label is its bucket, `≤ 10` or `> 60`."""
    HEATMAP = "heatmap"
    """A shaded cell for each figure."""


@dataclass(frozen=True, slots=True)
class Plot:
    """How a section is drawn."""

    shape: Shape
    columns: tuple[int, ...] = ()
    """Columns of figures in the order that the shape reads them; empty: all columns of figures, left to right."""
    lines: tuple[tuple[str, str], ...] = ()
    """Lines drawn across: label, and key of the figure that says where (a claim, a target)."""


@dataclass(frozen=True, slots=True)
class Section:
    """One question answered: a sentence, and its table."""

    name: str
    """Stable name: file name in CSV, sheet in a workbook, key in JSON."""
    title: str
    sentence: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    plot: Plot | None = None
    """How it is drawn as well; None: a table alone."""


@dataclass(frozen=True, slots=True)
class Document:
    """One report."""

    name: str
    """savings, costs, sites or access."""
    title: str
    sentence: str
    """The answer, as a person would say it."""
    facts: tuple[tuple[str, str], ...]
    """Short lines under it: coverage, range, claim."""
    sections: tuple[Section, ...]
    book: Book
    currency: str
    sources: tuple[tuple[str, str], ...] = field(default=())
    """What it was made from: name and digest or version of each (estate, tariffs, lake tables)."""
