"""The lines of one site in a report of all: nothing is computed anew, so each figure is the one of the whole report."""

from __future__ import annotations

from dataclasses import replace

from analytics.cost.document import Document, Ref, Row, Section
from analytics.cost.figures import Book

SITE = "Site"
"""Label of the column that names a site."""


class NoSuchSiteError(LookupError):
    """No line of the report is of the site."""


def of_site(document: Document, site: str) -> Document:
    """Return the lines of a site; NoSuchSiteError where there is none. What is not by site is left out."""
    sections = []
    for section in document.sections:
        rows = _rows(section, site)
        if rows:
            sections.append(replace(section, rows=rows, plot=None))
    if not sections:
        raise NoSuchSiteError(site)
    return replace(
        document,
        title=f"{document.title}: {site}",
        sentence=f"The lines of {site} alone. The report of all sites says: {document.sentence}",
        sections=tuple(sections),
        book=_needed(document.book, sections),
    )


def _rows(section: Section, site: str) -> tuple[Row, ...]:
    """Rows that a column `Site` gives to the site; totals are of all sites and go."""
    columns = [index for index, head in enumerate(section.heads) if head.label == SITE]
    if not columns:
        return ()
    return tuple(row for row in section.rows if not row.total and row.cells[columns[0]] == site)


def _needed(book: Book, sections: list[Section]) -> Book:
    """The figures that the sections show, and all that those are computed from, in their order."""
    wanted: set[str] = set()
    waiting = [cell.key for section in sections for row in section.rows for cell in row.cells if isinstance(cell, Ref)]
    waiting += [key for section in sections if section.plot for _, key in section.plot.lines]
    while waiting:
        key = waiting.pop()
        if key not in wanted:
            wanted.add(key)
            waiting.extend(book[key].inputs)
    return Book.of(figure for figure in book if figure.key in wanted)
