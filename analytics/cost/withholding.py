"""Small counts of lines taken out of a report that was made with all of them: costs and savings.

Money is told whole. What a count that is not told would be an input of stands as an input itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from analytics.cost.disclosure import REASONS, SMALL, Held, held_back
from analytics.cost.document import Document, Ref, Row, Section
from analytics.cost.figures import Book, Figure
from analytics.cost.usage_cells import NO_SITE, UsageCells, held_in_all, site_key
from analytics.cost.usage_sections import NO_SITE_NAME
from analytics.store.cost_queries import Usage

CALLS, OUTSIDE = "calls", "unrated"
"""Sections that hold counts of lines."""
_AS_LINES = "not told, as the number of lines is not"
SAID = ("Small counts", "counts of 1 to 4 are shown as <5, and as * what would give them away; money is whole")
_FEW_LINES = re.compile(r"(?<![\d,.])[1-4] lines?\b")
_CUT = "computed with counts that are not told"


def withheld(document: Document, usage: Usage, months: Sequence[int]) -> Document:
    """Return a report of costs or savings without its small counts, and without what would give them away."""
    held: dict[str, Held] = {}
    for section in document.sections:
        if section.name == CALLS:
            held |= _classes(section, document.book, usage, months)
        elif section.name == OUTSIDE:
            held |= _outside(section, document.book)
    facts = tuple((name, _few(value)) for name, value in document.facts)
    sections = tuple(_told(section) for section in document.sections)
    if held or (facts, sections) != (document.facts, document.sections):
        facts += (SAID,)
    sentence = _few(document.sentence)
    return replace(document, sentence=sentence, facts=facts, sections=sections, book=_without(document.book, held))


def _few(text: str) -> str:
    """A sentence without the numbers of few lines in it."""
    return _FEW_LINES.sub("<5 lines", text)


def _told(section: Section) -> Section:
    rows = tuple(row if not row.note else replace(row, note=_few(row.note)) for row in section.rows)
    return replace(section, sentence=_few(section.sentence), rows=rows, notes=tuple(map(_few, section.notes)))


def _refs(row: Row) -> list[str]:
    return [cell.key for cell in row.cells if isinstance(cell, Ref)]


def _classes(section: Section, book: Book, usage: Usage, months: Sequence[int]) -> dict[str, Held]:
    """Lines and talk time by site and class: first cells of a row are the site and the class."""
    also = _held_elsewhere(usage, months)
    lines: dict[str, int] = {}
    minutes: dict[str, str] = {}
    forced: dict[str, Held] = {}
    relations: dict[str, list[str]] = defaultdict(list)
    for row in section.rows:
        refs = _refs(row)
        if len(refs) < 2 or book[refs[0]].value is None:
            continue
        site, number_class = str(row.cells[0]), "" if row.total else str(row.cells[1])
        lines[refs[0]] = int(book.value(refs[0]) or 0)
        minutes[refs[0]] = refs[1]
        relations[site].append(refs[0])
        how = also.get((NO_SITE if site == NO_SITE_NAME else site, number_class))
        if how is not None:
            forced[refs[0]] = how
    held = held_back(lines, relations.values(), also=forced)
    found = dict(held)
    for key in held:
        of = minutes[key]
        found[of] = Held.COMPLEMENT
        if not book[of].formula.startswith("round(sum("):
            found |= dict.fromkeys(book[of].inputs, Held.COMPLEMENT)
    return found


def _held_elsewhere(usage: Usage, months: Sequence[int]) -> dict[tuple[str, str], Held]:
    """What the report of sites holds back, by site and class; class "" is the whole site."""
    held = held_in_all(usage, months)
    found: dict[tuple[str, str], Held] = {}
    cells = UsageCells(usage, months)
    for cell in cells.all:
        if cell.key("calls") in held:
            for name in {cell.number_class, "inbound" if cell.number_class == cell.way else cell.number_class}:
                found[cell.site, name] = held[cell.key("calls")]
    for site in cells.sites:
        if site_key(site, "calls") in held:
            found[site, ""] = held[site_key(site, "calls")]
    return found


def _outside(section: Section, book: Book) -> dict[str, Held]:
    """Lines and talk time of what is in no charge."""
    found: dict[str, Held] = {}
    for row in section.rows:
        refs = _refs(row)
        if refs and 0 < (book.value(refs[0]) or 0) < SMALL:
            found[refs[0]] = Held.SMALL
            found |= dict.fromkeys(refs[1:], Held.COMPLEMENT)
    return found


def _without(book: Book, held: Mapping[str, Held]) -> Book:
    """The book with those figures held back; what was computed from them is an input."""
    return Book.of(_figure(figure, held) for figure in book)


def _figure(figure: Figure, held: Mapping[str, Held]) -> Figure:
    how = held.get(figure.key)
    if how is not None:
        why = REASONS[how] if figure.unit in ("count", "calls") else _AS_LINES
        return replace(figure, value=None, formula="", why=why, shown=how.value)
    figure = replace(figure, label=_few(figure.label), why=_few(figure.why))
    return replace(figure, formula="", source=_CUT) if _any(figure.inputs, held) else figure


def _any(keys: Iterable[str], held: Mapping[str, Held]) -> bool:
    return any(key in held for key in keys)
