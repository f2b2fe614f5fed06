"""A report as one page: no script, nothing fetched, readable on a telephone and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from importlib.resources import files

from analytics.cost.document import Document, Ref, Row, Section
from analytics.cost.figures import Figure
from api.report.drawing import draw
from api.report.plots import alternative, plot_of
from api.report.shown import (
    MARK_WORDS,
    MARKS,
    TEXT,
    figures_of,
    formula_in_words,
    heading,
    mark,
    number,
    one_mark,
    reasons,
    with_unit,
)

MANY_COLUMNS = 9
"""Tables of more columns are printed small."""
MORE_COLUMNS = 13
"""Tables of more columns are printed on landscape pages, too."""
LONGEST_HEADING = 150
"""Characters of an answer that stand as a heading."""
MOST_OPEN = 1_000
"""Figures up to which the trace is open: longer ones are laid out when someone opens them or follows a link there."""
MOST_INPUTS = 12
"""Inputs that a figure's proof lists: the rest stands in the trace."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The page may fetch nothing and run nothing, whatever a name in it says."""
HATCHES = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line x1="0" y1="0" x2="0" y2="5"/></pattern>'
    '<pattern id="gap" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">'
    '<line x1="0" y1="0" x2="0" y2="6"/></pattern></defs></svg>'
)


def as_html(document: Document) -> str:
    """Return the report as one self-contained page. The same document gives the same bytes."""
    return "".join(Page(document).parts())


def text(value: str) -> str:
    """Text as it may stand in a page."""
    return escape("".join(sign if sign.isprintable() or sign == " " else "\ufffd" for sign in value))


def divided(sentence: str) -> tuple[str, str]:
    """What stands as the heading, and the rest: a long answer goes on in smaller print after whole sentences."""
    ends = [match.end() for match in re.finditer(r"\.(?= |$)", sentence)]
    if len(sentence) <= LONGEST_HEADING or not ends:
        return sentence, ""
    end = max([end for end in ends if end <= LONGEST_HEADING], default=ends[0])
    return sentence[:end], sentence[end:].strip()


class Page:
    """Makes the page of one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._turns = {figure.key: index for index, figure in enumerate(document.book)}

    def parts(self) -> Iterator[str]:
        """The page, piece by piece."""
        document = self._document
        style = (files("api.report") / "page.css").read_text(encoding="utf-8")
        yield (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{text(document.title)}</title><style>{style}</style></head><body>{HATCHES}"
        )
        yield from self._header()
        yield "<main>"
        for index, section in enumerate(document.sections):
            yield from self._section(section, index)
        yield "</main>"
        yield from self._sources()
        yield from self._trace()
        yield "</body></html>\n"

    def _header(self) -> Iterator[str]:
        document = self._document
        answer, rest = divided(document.sentence)
        yield f'<header><p class="title">{text(document.title)}</p><h1>{text(answer)}</h1>'
        if rest:
            yield f'<p class="rest">{text(rest)}</p>'
        if document.facts:
            lines = (f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in document.facts)
            yield f'<dl class="facts">{"".join(lines)}</dl>'
        links = " ".join(
            f'<a href="#s{index}">{text(section.title)}</a>' for index, section in enumerate(document.sections)
        )
        yield f'<nav aria-label="Sections">{links} <a href="#sources">Sources</a> <a href="#trace">Trace</a></nav>'
        keys = " ".join(f"<span>{sign} {text(words)}</span>" for sign, words in MARK_WORDS.items())
        yield (
            f'<p class="key">{keys} <span>— missing: the reason is below the table</span> '
            '<span class="screen">Each figure opens its formula and inputs.</span></p></header>'
        )

    def _section(self, section: Section, index: int) -> Iterator[str]:
        shared = one_mark(figures_of(section, self._document))
        told = f"<small>{shared} {text(MARK_WORDS[shared])}</small>" if shared else ""
        columns = len(section.heads)
        many = f' class="many{" more" * (columns > MORE_COLUMNS)}"' if columns > MANY_COLUMNS else ""
        yield f'<section id="s{index}"{many}><h2>{text(section.title)}{told}</h2><p>{text(section.sentence)}</p>'
        plot = plot_of(section, self._document)
        if plot is not None:
            label = text(alternative(section, self._document))
            yield f'<figure role="img" aria-label="{label}">{draw(plot, f"p{index}")}</figure>'
        if section.rows:
            yield from self._table(section, marked=shared is None)
        notes = [text(note) for note in section.notes]
        notes.extend(text(reason) for reason in reasons(section, self._document))
        if notes:
            yield f'<ul class="n">{"".join(f"<li>{note}</li>" for note in notes)}</ul>'
        yield "</section>"

    def _table(self, section: Section, *, marked: bool) -> Iterator[str]:
        noted = any(row.note for row in section.rows)
        heads = "".join(
            f'<th scope="col"{"" if head.unit == TEXT else " class=f"}>'
            f"{text(heading(head, self._document.currency))}</th>"
            for head in section.heads
        )
        yield f'<div class="wide"><table><thead><tr>{heads}{"<th></th>" if noted else ""}</tr></thead><tbody>'
        for row in section.rows:
            yield self._row(row, marked=marked, noted=noted)
        yield "</tbody></table></div>"

    def _row(self, row: Row, *, marked: bool, noted: bool) -> str:
        cells = [
            f'<td class="f">{self._opening(self._document.book[cell.key], marked=marked)}</td>'
            if isinstance(cell, Ref)
            else f"<td>{text(cell)}</td>"
            for cell in row.cells
        ]
        note = f'<td class="note">{text(row.note)}</td>' if noted else ""
        return f"<tr{' class=total' if row.total else ''}>{''.join(cells)}{note}</tr>"

    def _opening(self, figure: Figure, *, marked: bool) -> str:
        """A figure that opens its proof."""
        sign = f"<i>{mark(figure) or '&#8199;'}</i>" if marked else ""
        shown = text(number(figure))
        if figure.value is None:
            shown = f'<span class="no" title="{text(figure.why)}">{shown}</span>'
        return (
            f'<details class="p" name="p"><summary>{shown}{sign}</summary>'
            f'<div class="proof">{self._proof(figure)}</div></details>'
        )

    def _proof(self, figure: Figure) -> str:
        parts = [
            f"<p><b>{text(figure.label)}</b> {text(with_unit(figure, self._document.currency))}"
            f" · {MARKS[figure.evidence]} {figure.evidence.value}</p>"
        ]
        if figure.why:
            parts.append(f"<p>{text(figure.why)}</p>")
        if figure.source:
            parts.append(f"<p>Source: <code>{text(figure.source)}</code></p>")
        if figure.formula:
            inputs = figure.inputs
            words = formula_in_words(figure, self._document) if len(inputs) <= MOST_INPUTS else self._many(figure)
            parts.append(f"<p>= <code>{text(words)}</code></p>")
            parts.append(f"<table>{''.join(self._input(key) for key in inputs[:MOST_INPUTS])}</table>")
            if len(inputs) > MOST_INPUTS:
                parts.append(f"<p>… {len(inputs) - MOST_INPUTS} more inputs</p>")
        parts.append(f'<p><a href="#f{self._turns[figure.key]}">in the trace</a></p>')
        return "".join(parts)

    def _many(self, figure: Figure) -> str:
        """A formula of very many inputs, cut."""
        words = formula_in_words(figure, self._document)
        return words if len(words) < 600 else words[:600] + "…"

    def _input(self, key: str) -> str:
        figure = self._document.book[key]
        shown = text(with_unit(figure, self._document.currency))
        origin = text(figure.source or "computed")
        return (
            f'<tr><td><a href="#f{self._turns[key]}">{text(figure.label)}</a></td>'
            f'<td class="f">{shown} {mark(figure)}</td><td class="note">{origin}</td></tr>'
        )

    def _sources(self) -> Iterator[str]:
        rows = "".join(
            f"<tr><td>{text(name)}</td><td><code>{text(version)}</code></td></tr>"
            for name, version in self._document.sources
        )
        yield (
            '<section id="sources"><h2>Sources</h2><p>What this report was made from.</p>'
            f"<table>{rows}</table></section>"
        )

    def _trace(self) -> Iterator[str]:
        heads = "".join(
            f'<th scope="col"{" class=f" if label == "Value" else ""}>{label}</th>'
            for label in ("Figure", "Value", "Evidence", "Formula or source", "Key")
        )
        opened = " open" if len(self._turns) <= MOST_OPEN else ""
        yield (
            '<section id="trace"><h2>Trace</h2>'
            f"<details{opened}><summary>Every figure with its formula or source: {len(self._turns):,}</summary>"
            f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>'
        )
        for figure in self._document.book:
            yield self._trace_row(figure)
        yield "</tbody></table></div></details></section>"

    def _trace_row(self, figure: Figure) -> str:
        origin = self._linked(figure) if figure.formula else f"<code>{text(figure.source)}</code>"
        why = f" {text(figure.why)}" if figure.why else ""
        return (
            f'<tr id="f{self._turns[figure.key]}"><td>{text(figure.label)}</td>'
            f'<td class="f">{text(with_unit(figure, self._document.currency))}</td>'
            f"<td>{MARKS[figure.evidence]} {figure.evidence.value}</td><td>{origin}{why}</td>"
            f"<td><code>{text(figure.key)}</code></td></tr>"
        )

    def _linked(self, figure: Figure) -> str:
        """A formula whose inputs lead to their lines."""
        parts: list[str] = []
        rest = figure.formula
        while rest:
            before, opened, after = rest.partition("{")
            parts.append(text(before))
            key, closed, rest = after.partition("}")
            if opened and closed:
                label = text(self._document.book[key].label)
                parts.append(f'<a href="#f{self._turns[key]}">{label}</a>')
        return f"= {''.join(parts)}"
