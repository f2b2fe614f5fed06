"""Reports for the served faces: the documents of `callgauge report`, kept until the store or the estate changes."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from fastapi import Depends, Query
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from api.report.making import ReportError, Request, make, months_to
from api.web.access import Caller, Right
from api.web.context import Context, Here
from api.web.kept import Kept, KeptHere
from api.web.noting import note
from api.web.problems import Problem
from collector.estate.problems import EstateError

if TYPE_CHECKING:
    from analytics.cost.document import Document

MOST_MONTHS: Final = 120
FIRST_YEAR: Final = 1980
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
MADE_FROM: Final = ("usage", "imports", "ratings", "cdr_rows")
"""Tables that reports read."""
WITH_CALLS: Final = frozenset({"sites", "access"})
"""Reports that read calls of packets as well: those come all the time."""


class ReportForm(StrEnum):
    """Formats of a report."""

    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"
    HTML = "html"


MEDIA: Final = {
    ReportForm.JSON: "application/json",
    ReportForm.CSV: "text/csv; charset=utf-8",
    ReportForm.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ReportForm.HTML: "text/html; charset=utf-8",
}
PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""A page of a report stands alone: it has its style and its drawings in it, and no script."""
Month = Annotated[
    str | None,
    Query(
        pattern=r"^\d{4}-(0[1-9]|1[0-2])$",
        description="The month, or the last of several; the one before the present if not given.",
        examples=["2025-10"],
    ),
]
Months = Annotated[int, Query(ge=1, le=MOST_MONTHS, description="So many months, of which `month` is the last.")]
OneSite = Annotated[str | None, Query(max_length=200, description="This site alone.")]
FormatAsked = Annotated[
    ReportForm | None,
    Query(alias="format", description="json, csv (one table), xlsx or html; else the header Accept says."),
]
SectionAsked = Annotated[str | None, Query(max_length=100, description="With csv: this table; the first if not given.")]
Exact = Annotated[
    bool, Query(description="Show counts under 5 too, which may name people: takes the right to see numbers.")
]


class Asked(NamedTuple):
    """A report that is asked for."""

    name: str
    """savings, costs, sites or access."""
    month: int
    """The last month, as yyyymm."""
    months: int = 1
    site: str | None = None
    exact: bool = False


def month_number(here: Context, text: str | None) -> int:
    """Return a month as yyyymm; the one before the present month, by the estate's clock, where none is given."""
    if text is None:
        now = datetime.fromtimestamp(here.clock() / 1e9, ZoneInfo(here.estate().settings.timezone))
        return (now.year - 1) * 100 + 12 if now.month == 1 else now.year * 100 + now.month - 1
    match = _MONTH.fullmatch(text)
    if match is None or int(match[1]) < FIRST_YEAR:
        raise Problem(422, "invalid", f"`month` is written as 2025-10, from {FIRST_YEAR} on.")
    return int(match[1]) * 100 + int(match[2])


class Reports:
    """Reports as one request may have them."""

    def __init__(self, here: Context, kept: Kept) -> None:
        self._here = here
        self._kept = kept

    def document(self, asked: Asked) -> Document:
        """Return a report; Problem 404 where there is none, with the reason."""
        estate = self._estate()
        now = datetime.fromtimestamp(self._here.clock() / 1e9, UTC)

        def making() -> Document:
            months = months_to(asked.month, asked.months)
            try:
                return make(Request(asked.name, months, self._here.store, estate, now, asked.site, asked.exact))
            except ReportError as error:
                raise Problem(404, "no_report", f"{error}.") from error
            except EstateError as error:
                raise Problem(503, "estate_unreadable", f"The estate cannot be read: {error}") from error

        found: Document = self._kept.get(("document", asked), _token(self._here, estate, asked), making)
        return found

    def octets(self, asked: Asked, form: ReportForm, section: str | None = None) -> bytes:
        """Return a report in a format; Problem 404 where there is none, or no such table in it."""
        token = _token(self._here, self._estate(), asked)
        key = ("report", asked, form, section)
        found: bytes = self._kept.get(key, token, lambda: _written(self.document(asked), form, section))
        return found

    def digest(self, asked: Asked) -> str:
        """Return the digest that the report's JSON names."""
        token = _token(self._here, self._estate(), asked)
        key = ("digest", asked)
        made: str = self._kept.get(key, token, lambda: str(json.loads(self.octets(asked, ReportForm.JSON))["digest"]))
        return made

    def answer(self, asked: Asked, form: ReportForm, section: str | None = None) -> Response:
        """Return a report in a format as a response."""
        headers = {}
        if form in (ReportForm.CSV, ReportForm.XLSX):
            headers["Content-Disposition"] = f'attachment; filename="{asked.name}.{form.value}"'
        elif form is ReportForm.HTML:
            headers["Content-Security-Policy"] = PAGE_POLICY
        return Response(self.octets(asked, form, section), headers=headers, media_type=MEDIA[form])

    def _estate(self) -> Path:
        estate = self._here.settings.estate
        if estate is None:
            raise Problem(404, "no_estate", "Reports need an estate: start `callgauge serve` with --estate DIR.")
        return estate


async def _reports_of(here: Here, kept: KeptHere) -> Reports:
    return Reports(here, kept)


ReportsHere = Annotated[Reports, Depends(_reports_of)]
"""The type of a route's parameter that wants reports."""


def _token(here: Context, estate: Path, asked: Asked) -> Hashable:
    """What a report depends on: versions of tables, the estate's files, and the local day."""
    files = tuple(
        (str(path), stat.st_size, stat.st_mtime_ns)
        for path in sorted(estate.rglob("*"))
        if path.suffix in (".csv", ".toml") and (stat := path.stat())
    )
    now = datetime.fromtimestamp(here.clock() / 1e9, UTC)
    local = now.astimezone(ZoneInfo(here.estate().settings.timezone)).date()
    tables = (*MADE_FROM, "calls") if asked.name in WITH_CALLS else MADE_FROM
    return (*(here.lake.version(table) for table in tables), files, local)


def report_form(accept: str, given: ReportForm | None) -> ReportForm:
    """Return the format that a request wants."""
    if given is not None:
        return given
    for form in (ReportForm.XLSX, ReportForm.CSV, ReportForm.JSON, ReportForm.HTML):
        if MEDIA[form].partition(";")[0] in accept:
            return form
    return ReportForm.JSON


def _written(made: Document, form: ReportForm, section: str | None) -> bytes:
    if form is ReportForm.JSON:
        from api.report.data import as_json

        return as_json(made).encode("utf-8", "replace")
    if form is ReportForm.XLSX:
        from api.report.workbook import as_xlsx

        return as_xlsx(made)
    if form is ReportForm.HTML:
        from api.report.page import as_html

        return as_html(made).encode("utf-8", "replace")
    from api.report.data import as_csv

    try:
        return as_csv(made, section).encode("utf-8", "replace")
    except KeyError:
        known = ", ".join(one.name for one in made.sections)
        raise Problem(404, "not_found", f"There is no such table; there are {known}.") from None


def check_exact(request: HttpRequest, caller: Caller, exact: bool, name: str) -> None:
    """Let small counts be shown to those alone who may see numbers, and note it; Problem 403."""
    if not exact:
        return
    if not caller.may(Right.NUMBERS):
        raise Problem(403, "not_allowed", "Counts under 5 may name people: `exact` takes the right 'numbers'.")
    note(request, caller, "report.exact", name)


def report_answers(example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of an operation that answers a report."""
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}, "example": example}}
    content |= {
        MEDIA[form].partition(";")[0]: {
            "schema": {"type": "string"} | ({"format": "binary"} if form.value == "xlsx" else {})
        }
        for form in (ReportForm.CSV, ReportForm.XLSX, ReportForm.HTML)
    }
    return {200: {"description": "The report, figures with their formula, inputs and sources", "content": content}}


EXAMPLE: Final[dict[str, Any]] = {
    "format_version": 1,
    "report": "savings",
    "title": "Savings, October 2025",
    "sentence": "Established: 31.4 % saved in October 2025 (range 30.2 to 32.9 %). Claim: more than 30 %.",
    "currency": "GBP",
    "facts": [{"name": "Coverage", "value": "97 % of sites"}],
    "sections": [
        {
            "name": "months",
            "title": "Months",
            "sentence": "Each month by both methods.",
            "columns": [{"label": "Month", "unit": "text"}, {"label": "Saved", "unit": "percent"}],
            "rows": [{"cells": ["2025-10", {"figure": "saved.202510", "value": "31.4"}], "total": False, "note": ""}],
            "notes": [],
        }
    ],
    "figures": {
        "saved.202510": {
            "label": "saved in October 2025",
            "value": "31.4",
            "unit": "percent",
            "shown": "31.4 %",
            "evidence": "measured",
            "formula": "({legacy} - {ip}) / {legacy} * 100",
            "inputs": ["legacy", "ip"],
            "source": "",
            "why": "",
        }
    },
    "sources": [{"name": "usage", "version": "version 12"}],
    "digest": "sha256:5f0c7e9d2b7a4f0e9c1d3b5a7f90e2c4d6b8a0f1e3c5d7b9a1f3e5c7d9b0a2f4",
}
