"""The lines of one site in a report of all: nothing is computed anew, so each figure is the one of the whole report."""

from __future__ import annotations

from dataclasses import replace

from analytics.cost.document import Document, Ref, Row, Section
from analytics.cost.figures import Book
from api.report.shown import with_unit

SITE = "Site"
"""Label of the column that names a site."""

SITES = "sites"
"""Name of the section with a line a site."""
_OF_ANY = frozenset({"VAT", "Rounding", "Calls between sites", "Small counts"})
"""Facts that hold of one site as of all."""


class NoSuchSiteError(LookupError):
    """No line of the report is of the site."""


def of_site(document: Document, site: str) -> Document:
    """Return the lines of a site; NoSuchSiteError where there is none. What is not by site is left out."""
    sections = []
    for section in document.sections:
        rows = _rows(section, site)
        if rows:
            sentence = f"{site} alone: the report of all sites has the totals."
            sections.append(replace(section, sentence=sentence, rows=rows, plot=None))
    if not sections:
        raise NoSuchSiteError(site)
    return replace(
        document,
        title=f"{document.title}: {site}",
        sentence=f"{_answer(document, sections, site)} The report of all sites says: {document.sentence}",
        facts=tuple((name, value if name in _OF_ANY else f"of all sites: {value}") for name, value in document.facts),
        sections=tuple(sections),
        book=_needed(document.book, sections),
    )


def _answer(document: Document, sections: list[Section], site: str) -> str:
    """What the line of the site in the table of sites says; that lines follow where there is none."""
    for section in sections:
        if section.name != SITES:
            continue
        cells = section.rows[0].cells
        found = {(head.label, head.unit): cell for head, cell in zip(section.heads, cells, strict=True)}
        told = []
        for method in (1, 2):
            money, share = (found.get((f"Saving {method}", unit)) for unit in ("money", "percent"))
            if isinstance(money, Ref) and isinstance(share, Ref) and document.book.value(money.key) is not None:
                amounts = [with_unit(document.book[ref.key], document.currency) for ref in (share, money)]
                told.append(f"{amounts[0]} ({amounts[1]}) by method {method}")
        why = f": {section.rows[0].note.rstrip('.')}" if section.rows[0].note else ""
        return f"{site} saved {' and '.join(told)}." if told else f"What {site} saved is not known{why}."
    return f"The lines of {site} alone."


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
