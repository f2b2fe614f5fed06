"""A report for the terminal: the answer first, then its tables; nothing is cut that a person must add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analytics.cost.document import Document, Section
from api.layout import GAP, Heading, Piece, Screen, Style, clean, table, width, wrap
from api.report.shown import (
    MARK_WORDS,
    MISSING,
    TEXT,
    figure_of,
    figures_of,
    heading,
    mark,
    number,
    one_mark,
    reasons,
    some,
)

INDENT = 2
LEAST_NAME = 12
"""Columns that a name keeps where a line is too long."""
WIDEST_NAME = 24
"""Columns of a name for which a table is rather cut into pieces than the name."""
NAMING = 2
"""Texts of a row that name it where its note stands below the table."""
MOST_REASONS = 5
"""Reasons under a table: the rest stands in the other formats."""


def as_table(document: Document, screen: Screen) -> str:
    """Return the report as lines of text, ended by a line feed."""
    lines = [screen.paint(clean(document.title), Style.DIM), *sentence(document.sentence, screen, Style.BOLD)]
    lines.extend(facts(document, screen))
    for section in document.sections:
        lines.extend(["", *section_lines(section, document, screen)])
    lines.extend(["", *footer(document, screen)])
    return "\n".join(lines).rstrip("\n") + "\n"


def sentence(text: str, screen: Screen, style: Style = Style.PLAIN, indent: str = "") -> list[str]:
    """A sentence over as many lines as it needs."""
    room = screen.width - len(indent)
    return [indent + screen.paint(line, style) for line in wrap(clean(text).split(), " ", room)]


def facts(document: Document, screen: Screen) -> Iterator[str]:
    """Short lines under the answer."""
    room = max((width(clean(name)) for name, _ in document.facts), default=0)
    for name, value in document.facts:
        label = clean(name)
        lead = INDENT + room + GAP
        first, *rest = wrap(clean(value).split(), " ", max(20, screen.width - lead)) or [""]
        yield " " * INDENT + screen.paint(label, Style.DIM) + " " * (room - width(label) + GAP) + first
        yield from (" " * lead + line for line in rest)


def section_lines(section: Section, document: Document, screen: Screen) -> Iterator[str]:
    """One section: title, sentence, table, notes, reasons."""
    shared = one_mark(figures_of(section, document))
    told = screen.paint(f"  {shared} {MARK_WORDS[shared]}", Style.DIM) if shared else ""
    yield screen.paint(clean(section.title), Style.BOLD) + told
    yield from sentence(section.sentence, screen)
    if section.rows:
        yield from tables(section, document, screen, marked=shared is None)
    for note in section.notes:
        yield from sentence(note, screen, indent=" " * INDENT)
    why = reasons(section, document)
    for reason in why[:MOST_REASONS]:
        yield from sentence(reason, screen, Style.DIM, " " * INDENT)
    if len(why) > MOST_REASONS:
        yield " " * INDENT + screen.paint(f"{MISSING} {len(why) - MOST_REASONS} more reasons: --format json", Style.DIM)


def tables(section: Section, document: Document, screen: Screen, *, marked: bool) -> Iterator[str]:
    """The table, in as many pieces side by side as the screen's width asks for; each names its rows again."""
    heads = [
        Heading(clean(heading(head, document.currency)), right=head.unit != TEXT, least=LEAST_NAME)
        if head.unit == TEXT
        else Heading(clean(heading(head, document.currency)), right=True)
        for head in section.heads
    ]
    rows = [row_cells(section, index, document, marked=marked) for index in range(len(section.rows))]
    if any(row.note for row in section.rows) and notes_fit(heads, rows, section, screen.width - INDENT):
        heads.append(Heading("", prose=True))
        for cells, row in zip(rows, section.rows, strict=True):
            cells.append(Piece(clean(row.note), Style.DIM))
        below = []
    else:
        below = list(notes_below(section))
    for number_of_panel, columns in enumerate(panels(heads, rows, screen.width - INDENT)):
        if number_of_panel:
            yield ""
        yield from table(
            [heads[index] for index in columns], [[row[index] for index in columns] for row in rows], screen, INDENT
        )
    for note in below:
        yield from sentence(note, screen, Style.DIM, " " * INDENT)


def notes_fit(heads: Sequence[Heading], rows: Sequence[Sequence[Piece]], section: Section, room: int) -> bool:
    """Whether all notes stand whole beside their lines."""
    needed = [room_of(head, [row[index].text for row in rows]) for index, head in enumerate(heads)]
    longest = max(width(clean(row.note)) for row in section.rows)
    return sum(needed) + GAP * len(needed) + longest <= room


def notes_below(section: Section) -> Iterator[str]:
    """Notes of rows as sentences, each once, after the names of its rows."""
    names: dict[str, dict[str, None]] = {}
    for row in section.rows:
        if row.note:
            texts = [str(cell) for cell in row.cells if isinstance(cell, str) and cell]
            names.setdefault(row.note, {})[", ".join(texts[:NAMING])] = None
    for note, of in names.items():
        yield f"{some(list(of))}: {note}"


def row_cells(section: Section, index: int, document: Document, *, marked: bool) -> list[Piece]:
    """Cells of one row as text; totals are bold."""
    row = section.rows[index]
    style = Style.BOLD if row.total else Style.PLAIN
    cells: list[Piece] = []
    for cell in row.cells:
        figure = figure_of(cell, document)
        if figure is None:
            cells.append(Piece(clean(str(cell)), style))
        else:
            sign = f" {mark(figure) or ' '}" if marked else ""
            cells.append(Piece(number(figure) + sign, style))
    return cells


def panels(heads: Sequence[Heading], rows: Sequence[Sequence[Piece]], room: int) -> list[list[int]]:
    """Columns of each piece of a table. Column 0 names the rows and stands in each piece."""
    needed = [room_of(head, [row[index].text for row in rows]) for index, head in enumerate(heads)]
    pieces: list[list[int]] = [[0]]
    used = needed[0]
    for index in range(1, len(heads)):
        if used + GAP + needed[index] > room and len(pieces[-1]) > 1:
            pieces.append([0])
            used = needed[0]
        pieces[-1].append(index)
        used += GAP + needed[index]
    return pieces


def room_of(head: Heading, texts: Sequence[str]) -> int:
    """Columns that a column of a table asks for: numbers and notes all they need, names up to a limit."""
    least = width(head.name)
    whole = max([least, *map(width, texts)])
    return whole if head.least is None else max(least, min(WIDEST_NAME, whole))


def footer(document: Document, screen: Screen) -> Iterator[str]:
    """What the marks mean, and what the report was made from."""
    used = {mark(figure) for section in document.sections for figure in figures_of(section, document)}
    legend = "   ".join(f"{sign} {words}" for sign, words in MARK_WORDS.items() if sign in used)
    if legend:
        yield from (screen.paint(line, Style.DIM) for line in wrap(legend.split(" "), " ", screen.width))
    if document.sources:
        made = "made from " + "; ".join(f"{clean(name)} {clean(version)}" for name, version in document.sources)
        yield from sentence(made, screen, Style.DIM)
