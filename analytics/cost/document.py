"""What a report is, before it is a table, a page or a workbook: sentences, tables of figures, and plots.

Numbers are never text here: a cell refers to a figure of the book, so every format can show its formula and inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
    plot: str = ""
    """`waterfall`, `months`, `dumbbells`, `tornado`, `bars`, `histogram`, `heatmap`; empty: no plot."""


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
