"""A report as a workbook that computes: each figure stands once, its formula reads the cells of its inputs.

A figure's home is the first cell of a section that holds it, else its line of the sheet `Trace`; every other place
refers to its home. What a spreadsheet would compute is written beside each formula, so that readers who do not
compute see the same.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from analytics.cost.document import Document, Ref, Section
from analytics.cost.figures import Figure
from analytics.cost.formula import Call, Chain, Negative, Node, Number, Reference, read
from api.report.shown import (
    MARK_WORDS,
    MISSING,
    TEXT,
    figure_of,
    formula_in_words,
    heading,
    mark,
    places,
)

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

TRACE = "Trace"
SUMMARY = "Summary"
TRACE_HEADS = ("Key", "Label", "Value", "Unit", "Evidence", "Formula", "Inputs", "Source", "Why missing")
VALUE_COLUMN = 2
HEAD_ROW = 3
"""Row of the headings of a section's table, from 0: title, sentence, blank."""
LONGEST_NAME = 31
LONGEST_FORMULA = 8192
MOST_ARGUMENTS = 255
"""What a spreadsheet bears."""
LONGEST_TEXT = 32_767
A4 = 9
LINE_PT = 15
LINE_CHARACTERS = 95
"""Characters that fit a line of the summary's wide column, and the height of a line [pt]: rows do not grow by
themselves in every spreadsheet."""
_NOT_IN_NAMES = re.compile(r"[\[\]:*?/\\']")
_MADE = datetime(2000, 1, 1)
FIXED = "Figures compute anew. Sentences, notes and words like a verdict are as computed when this file was made."
"""What is said on every sheet that holds text: a spreadsheet does not write it anew."""
HEADLINE = ("headline", "headline.low", "headline.high", "headline.money")
"""Keys of the figures of a savings report that stand first, where it has them."""
AMBER = "#B8860B"


class Place(NamedTuple):
    """A cell, counted from 0."""

    sheet: str
    row: int
    column: int

    def absolute(self, seen_from: str) -> str:
        """The cell as a formula on a sheet names it."""
        cell = f"${letters(self.column)}${self.row + 1}"
        return cell if self.sheet == seen_from else f"'{self.sheet}'!{cell}"


def letters(column: int) -> str:
    """Name of a column, from 0: A, B, … AA."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def as_xlsx(document: Document) -> bytes:
    """Return the report as a workbook (Office Open XML). The same document gives the same bytes."""
    import xlsxwriter

    buffer = io.BytesIO()
    with xlsxwriter.Workbook(
        buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    ) as book:
        book.set_properties({"title": document.title, "created": _MADE})
        Sheets(document, book).write()
    return buffer.getvalue()


def sheet_names(sections: Sequence[Section]) -> list[str]:
    """A sheet name for each section: allowed, short enough, unique whatever its case."""
    taken = {TRACE.lower(), SUMMARY.lower()}
    names = []
    for section in sections:
        base = _NOT_IN_NAMES.sub(" ", section.name).strip()[:LONGEST_NAME] or "Section"
        name, turn = base[:1].upper() + base[1:], 1
        while name.lower() in taken:
            turn += 1
            name = f"{base[: LONGEST_NAME - 4]} {turn}"
        taken.add(name.lower())
        names.append(name)
    return names


def homes(document: Document, names: Sequence[str]) -> dict[str, Place]:
    """Where each figure stands."""
    found: dict[str, Place] = {}
    for name, section in zip(names, document.sections, strict=True):
        for index, row in enumerate(section.rows):
            for column, cell in enumerate(row.cells):
                if isinstance(cell, Ref):
                    found.setdefault(cell.key, Place(name, HEAD_ROW + 1 + index, column))
    for index, figure in enumerate(document.book):
        found.setdefault(figure.key, Place(TRACE, 1 + index, VALUE_COLUMN))
    return found


def excel_formula(formula: str, places_of: Mapping[str, Place], sheet: str) -> str:
    """Translate a figure's formula for a cell on a sheet; FormulaError where it is none."""
    return "=" + _translate(read(formula), places_of, sheet)


def _translate(node: Node, cells: Mapping[str, Place], sheet: str) -> str:
    match node:
        case Number(text):
            return text
        case Reference(key):
            return cells[key].absolute(sheet)
        case Negative(operand):
            return f"(-{_operand(operand, cells, sheet)})"
        case Chain(first, rest):
            # Spreadsheets too compute from left to right, and * and / before + and -.
            parts = [_operand(first, cells, sheet)]
            parts += [f"{sign}{_operand(operand, cells, sheet)}" for sign, operand in rest]
            return "".join(parts)
        case Call("round", arguments):
            return f"ROUND({','.join(_translate(argument, cells, sheet) for argument in arguments)})"
        case Call(function, arguments):
            return _call(function.upper(), arguments, cells, sheet)


def _operand(node: Node, cells: Mapping[str, Place], sheet: str) -> str:
    inner = _translate(node, cells, sheet)
    return f"({inner})" if isinstance(node, Chain) else inner


def _call(function: str, arguments: Sequence[Node], cells: Mapping[str, Place], sheet: str) -> str:
    if not arguments:
        return "0"
    parts = list(_ranges(arguments, cells, sheet))
    while len(parts) > MOST_ARGUMENTS:
        parts = [
            f"{function}({','.join(parts[start : start + MOST_ARGUMENTS])})"
            for start in range(0, len(parts), MOST_ARGUMENTS)
        ]
    return f"{function}({','.join(parts)})"


def _ranges(arguments: Sequence[Node], cells: Mapping[str, Place], sheet: str) -> Iterator[str]:
    """Arguments, cells that lie below each other as one range."""
    first: Place | None = None
    last: Place | None = None
    for argument in arguments:
        place = cells[argument.key] if isinstance(argument, Reference) else None
        if last is not None and first is not None:
            if place is not None and place == last._replace(row=last.row + 1):
                last = place
                continue
            yield _range(first, last, sheet)
        first = last = place
        if place is None:
            yield _translate(argument, cells, sheet)
    if first is not None and last is not None:
        yield _range(first, last, sheet)


def _range(first: Place, last: Place, sheet: str) -> str:
    if first == last:
        return first.absolute(sheet)
    return f"{first.absolute(sheet)}:{last._replace(sheet=sheet).absolute(sheet)}"


class Sheets:
    """Writes a document into an open workbook."""

    def __init__(self, document: Document, book: Workbook) -> None:
        self._document = document
        self._book = book
        self._names = sheet_names(document.sections)
        self._homes = homes(document, self._names)
        self._formats: dict[tuple[tuple[str, Any], ...], Any] = {}

    def write(self) -> None:
        """Write all sheets: summary, sections, trace."""
        self._summary()
        for name, section in zip(self._names, self._document.sections, strict=True):
            self._section(self._book.add_worksheet(name), name, section)
        self._trace()

    def _format(self, **properties: Any) -> Any:
        key = tuple(sorted(properties.items()))
        if key not in self._formats:
            self._formats[key] = self._book.add_format({"valign": "top", **properties})
        return self._formats[key]

    def _text(self, sheet: Worksheet, row: int, column: int, text: str, **properties: Any) -> None:
        sheet.write_string(row, column, text[:LONGEST_TEXT], self._format(**properties))

    def _page(self, sheet: Worksheet) -> None:
        sheet.set_paper(A4)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.set_margins(left=0.5, right=0.5, top=0.6, bottom=0.6)
        sheet.set_footer("&L&8&A&R&8&P / &N")
        sheet.hide_gridlines(2)

    def _summary(self) -> None:
        document = self._document
        sheet = self._book.add_worksheet(SUMMARY)
        self._page(sheet)
        sheet.set_column(0, 0, 30)
        sheet.set_column(1, 1, 100)
        self._text(sheet, 0, 0, document.title, font_color="#666666")
        sheet.merge_range(1, 0, 1, 1, "", self._format())
        self._text(sheet, 1, 0, document.sentence, bold=True, font_size=14, text_wrap=True)
        sheet.set_row(1, 20 * (1 + len(document.sentence) // 90))
        self._text(sheet, 2, 0, FIXED, font_color="#666666", italic=True)
        row = self._headline(sheet, 4)
        for name, value in document.facts:
            self._text(sheet, row, 0, name, font_color="#666666")
            self._text(sheet, row, 1, value, text_wrap=True)
            sheet.set_row(row, LINE_PT * (1 + len(value) // LINE_CHARACTERS))
            row += 1
        row += 1
        for name, section in zip(self._names, document.sections, strict=True):
            sheet.write_url(
                row, 0, f"internal:'{name}'!A1", self._format(font_color="#0072B2", underline=1), section.title
            )
            self._text(sheet, row, 1, section.sentence, text_wrap=True)
            sheet.set_row(row, LINE_PT * (1 + len(section.sentence) // LINE_CHARACTERS))
            row += 1
        row += 1
        for sign, words in MARK_WORDS.items():
            self._text(sheet, row, 0, sign)
            self._text(sheet, row, 1, words)
            row += 1
        row += 1
        for source, version in document.sources:
            self._text(sheet, row, 0, source, font_color="#666666")
            self._text(sheet, row, 1, version, font_color="#666666")
            row += 1

    def _headline(self, sheet: Worksheet, row: int) -> int:
        """The figures that stand first, computed; return the row after them."""
        figures = [self._document.book[key] for key in HEADLINE if key in self._document.book]
        totals = [line for section in self._document.sections[:1] for line in section.rows if line.total]
        if not figures:
            figures = [one for line in totals for cell in line.cells if (one := figure_of(cell, self._document))]
        for figure in figures:
            self._text(sheet, row, 0, figure.label, text_wrap=True)
            self._figure(sheet, Place(SUMMARY, row, 1), figure, {}, align="left")
            sheet.set_row(row, LINE_PT * (1 + len(figure.label) // 28))
            row += 1
        return row + bool(figures)

    def _section(self, sheet: Worksheet, name: str, section: Section) -> None:
        self._page(sheet)
        self._text(sheet, 0, 0, section.title, bold=True, font_size=14)
        self._text(sheet, 1, 0, section.sentence)
        self._text(sheet, 2, 0, FIXED, font_color="#666666", italic=True)
        noted = len(section.heads)
        for column, head in enumerate(section.heads):
            align = "left" if head.unit == TEXT else "right"
            label = heading(head, self._document.currency)
            indent = self._indent(section, column)
            self._text(sheet, HEAD_ROW, column, label, bold=True, bottom=1, align=align, text_wrap=True, **indent)
            sheet.set_column(column, column, self._width(section, column))
        if any(row.note for row in section.rows):
            self._text(sheet, HEAD_ROW, noted, "Note", bold=True, bottom=1)
            sheet.set_column(noted, noted, 50)
        sheet.freeze_panes(HEAD_ROW + 1, 1)
        sheet.repeat_rows(HEAD_ROW)
        row_number = HEAD_ROW + 1
        for row in section.rows:
            line = {"bold": True, "top": 1} if row.total else {}
            for column, cell in enumerate(row.cells):
                figure = figure_of(cell, self._document)
                if figure is None:
                    self._text(sheet, row_number, column, str(cell), **line, **self._indent(section, column))
                else:
                    self._figure(sheet, Place(name, row_number, column), figure, line)
            if row.note:
                self._text(sheet, row_number, noted, row.note, font_color="#666666", italic=True)
            row_number += 1
        for note in section.notes:
            row_number += 1
            self._text(sheet, row_number, 0, note, font_color="#666666", italic=True)

    def _indent(self, section: Section, column: int) -> dict[str, int]:
        """Text that follows a number keeps away from it."""
        heads = section.heads
        return {"indent": 1} if column and heads[column].unit == TEXT and heads[column - 1].unit != TEXT else {}

    def _width(self, section: Section, column: int) -> float:
        if section.heads[column].unit != TEXT:
            return 16
        texts = (str(row.cells[column]) for row in section.rows if column < len(row.cells))
        return min(48, max([14, *(len(text) + 2 for text in texts)]))

    def _figure(
        self, sheet: Worksheet, place: Place, figure: Figure, line: Mapping[str, Any], align: str = "right"
    ) -> None:
        """A figure in its cell: value or formula where it is at home, elsewhere a reference to its home."""
        if figure.value is None:
            properties = {**line, "align": align, "font_color": AMBER}
            self._text(sheet, place.row, place.column, figure.shown or MISSING, **properties)
            if figure.why:
                sheet.write_comment(place.row, place.column, figure.why[:LONGEST_TEXT], {"author": "", "x_scale": 2})
            return
        look = self._format(**line, align=align, num_format=number_format(figure))
        home = self._homes[figure.key]
        formula = ""
        if place != home:
            formula = f"={home.absolute(place.sheet)}"
        elif figure.formula:
            formula = excel_formula(figure.formula, self._homes, place.sheet)
        if formula and len(formula) <= LONGEST_FORMULA:
            sheet.write_formula(place.row, place.column, formula, look, float(figure.value))
        else:
            sheet.write_number(place.row, place.column, float(figure.value), look)

    def _trace(self) -> None:
        sheet = self._book.add_worksheet(TRACE)
        self._page(sheet)
        for column, (label, room) in enumerate(zip(TRACE_HEADS, (34, 44, 16, 10, 11, 70, 50, 44, 44), strict=True)):
            self._text(sheet, 0, column, label, bold=True, bottom=1)
            sheet.set_column(column, column, room)
        sheet.freeze_panes(1, 1)
        sheet.repeat_rows(0)
        sheet.autofilter(0, 0, max(1, len(self._document.book)), len(TRACE_HEADS) - 1)
        for index, figure in enumerate(self._document.book):
            row = index + 1
            texts = (
                (0, figure.key),
                (1, figure.label),
                (3, figure.unit),
                (4, figure.evidence.value),
                (5, formula_in_words(figure, self._document, atoms=True)),
                (6, " ".join(figure.inputs)),
                (7, figure.source),
                (8, figure.why),
            )
            for column, text in texts:
                if text:
                    self._text(sheet, row, column, text)
            self._figure(sheet, Place(TRACE, row, VALUE_COLUMN), figure, {})


def number_format(figure: Figure) -> str:
    """Number format of a figure: decimals of its unit, and the mark of its evidence."""
    value = figure.value if figure.value is not None else Decimal(0)
    digits = places(figure.unit, value)
    decimals = "." + "0" * digits if digits else ""
    sign = mark(figure)
    return f'#,##0{decimals}" {sign}"' if sign else f"#,##0{decimals}"
