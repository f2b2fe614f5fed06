"""A report for programs: JSON with every figure's proof, and CSV, a table for each section."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from analytics.cost.document import Document, Ref, Row, Section
from analytics.cost.figures import Evidence, Figure, weakest
from api.report.shown import exact, figure_of, heading, inert, number, to_places

FORMAT_VERSION = 1
"""Rises when a field of the JSON changes its meaning."""
MOST_DECIMALS = 12
"""Decimals in CSV of a value that does not end; JSON holds all that were computed."""

Line = Sequence[str]


def as_json(document: Document) -> str:
    """Return the report as JSON. The same document gives the same bytes; `digest` is SHA-256 over the rest."""
    body = json_body(document)
    digest = hashlib.sha256(canonical(body)).hexdigest()
    return json.dumps({**body, "digest": f"sha256:{digest}"}, ensure_ascii=False, indent=1) + "\n"


def canonical(body: Mapping[str, Any]) -> bytes:
    """Bytes that the digest is taken over: keys sorted, no blanks, UTF-8."""
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8", "replace")


def json_body(document: Document) -> dict[str, Any]:
    """The report without its digest."""
    return {
        "format_version": FORMAT_VERSION,
        "report": document.name,
        "title": document.title,
        "sentence": document.sentence,
        "currency": document.currency,
        "facts": [{"name": name, "value": value} for name, value in document.facts],
        "sections": [section_json(section, document) for section in document.sections],
        "figures": {figure.key: figure_json(figure) for figure in document.book},
        "sources": [{"name": name, "version": version} for name, version in document.sources],
    }


def section_json(section: Section, document: Document) -> dict[str, Any]:
    """One section; its figures by key with their values."""
    return {
        "name": section.name,
        "title": section.title,
        "sentence": section.sentence,
        "columns": [{"label": head.label, "unit": head.unit} for head in section.heads],
        "rows": [
            {
                "cells": [
                    {"figure": cell.key, "value": value_text(document.book[cell.key])}
                    if isinstance(cell, Ref)
                    else cell
                    for cell in row.cells
                ],
                "total": row.total,
                "note": row.note,
            }
            for row in section.rows
        ],
        "notes": list(section.notes),
    }


def figure_json(figure: Figure) -> dict[str, Any]:
    """A figure with its proof. `value` is a decimal in a string, or null with the reason in `why`."""
    return {
        "label": figure.label,
        "value": value_text(figure),
        "unit": figure.unit,
        "shown": number(figure),
        "evidence": figure.evidence.value,
        "formula": figure.formula,
        "inputs": list(figure.inputs),
        "source": figure.source,
        "why": figure.why,
    }


def value_text(figure: Figure) -> str | None:
    """A figure's value as a decimal; None where it is missing or held back."""
    return None if figure.value is None else exact(figure)


def as_csv(document: Document, section: str | None = None) -> str:
    """Return one section as CSV (RFC 4180, UTF-8): the named one, else the first; KeyError where there is none."""
    for one in document.sections:
        if section is None or one.name == section:
            return csv_text(section_lines(one, document))
    raise KeyError(section)


def as_csv_files(document: Document) -> dict[str, str]:
    """Return the whole report as CSV files by name: one a section, and the proof of every figure."""
    files = {f"{section.name}.csv": csv_text(section_lines(section, document)) for section in document.sections}
    files["figures.csv"] = csv_text(figure_lines(document))
    files["report.csv"] = csv_text(report_lines(document))
    return files


def csv_text(lines: Sequence[Line]) -> str:
    """Lines as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(lines)
    return buffer.getvalue()


def section_lines(section: Section, document: Document) -> list[Line]:
    """Heading and rows of a section."""
    heads = [inert(heading(head, document.currency)) for head in section.heads]
    lines: list[Line] = [[*heads, "row", "evidence", "note"]]
    lines.extend(row_line(row, document) for row in section.rows)
    return lines


def row_line(row: Row, document: Document) -> Line:
    """One row: values exact, the weakest evidence among them, the reason of what is missing."""
    figures = [figure for cell in row.cells if (figure := figure_of(cell, document)) is not None]
    cells = [csv_value(document.book[cell.key]) if isinstance(cell, Ref) else inert(cell) for cell in row.cells]
    held = [figure.evidence for figure in figures if figure.value is not None]
    evidence = weakest(iter(held)).value if held else Evidence.MISSING.value if figures else ""
    missing = (f"{figure.label}: {figure.why}" for figure in figures if figure.value is None and figure.why)
    note = "; ".join(filter(None, [row.note, *dict.fromkeys(missing)]))
    return [*cells, "total" if row.total else "line", evidence, inert(note)]


def csv_value(figure: Figure) -> str:
    """A figure in a CSV cell; empty where missing, its stand-in where it is held back."""
    return figure.shown if figure.value is None else to_places(figure, MOST_DECIMALS)


def figure_lines(document: Document) -> list[Line]:
    """The proof of every figure."""
    lines: list[Line] = [
        ("key", "label", "value", "unit", "evidence", "formula", "inputs", "source", "why"),
    ]
    for figure in document.book:
        texts = (figure.formula, " ".join(figure.inputs), figure.source, figure.why)
        lines.append(
            (
                inert(figure.key),
                inert(figure.label),
                csv_value(figure),
                figure.unit,
                figure.evidence.value,
                *map(inert, texts),
            )
        )
    return lines


def report_lines(document: Document) -> list[Line]:
    """The answer, the facts under it, and what the report was made from."""
    lines: list[Line] = [("part", "name", "value"), ("sentence", inert(document.title), inert(document.sentence))]
    lines.extend(("fact", inert(name), inert(value)) for name, value in document.facts)
    lines.extend(
        (f"sentence of {section.name}", inert(section.title), inert(section.sentence)) for section in document.sections
    )
    lines.extend(("source", inert(name), inert(version)) for name, version in document.sources)
    return lines
