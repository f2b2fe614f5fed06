"""Reports, whole, in any of their formats: the same numbers as `callgauge report`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api.web import reporting
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept
from api.web.context import Here
from api.web.examples import described
from api.web.shapes import answered

router = APIRouter(tags=["reports"])
Finance = Annotated[Caller, allowed(Right.MONEY)]


class ReportName(StrEnum):
    """Reports that there are."""

    SAVINGS = "savings"
    COSTS = "costs"
    SITES = "sites"
    ACCESS = "access"


class ReportKind(NamedTuple):
    """A report that there is."""

    name: str
    meaning: str
    link: str


class ReportKinds(NamedTuple):
    """Reports that there are."""

    reports: tuple[ReportKind, ...]


MEANINGS = {
    ReportName.SAVINGS: "what was saved against the system that was replaced, and whether the claim holds",
    ReportName.COSTS: "what each site cost in a month, by element and class of numbers",
    ReportName.SITES: "calls, minutes, channels and quality of each site, and days that stand out",
    ReportName.ACCESS: "how calls of the public were answered",
}


@router.get("/reports", summary="Reports that there are", **described(ReportKinds, table=False))
def kinds(_caller: Finance) -> Response:
    """Return the names of reports."""
    found = tuple(
        ReportKind(name.value, meaning, f"/api/v1/reports/{name.value}") for name, meaning in MEANINGS.items()
    )
    return answered(ReportKinds(found))


@router.get(
    "/reports/{name}",
    summary="A report",
    response_class=Response,
    responses=reporting.report_answers(reporting.EXAMPLE),
)
def report(
    request: Request,
    here: Here,
    reports: reporting.ReportsHere,
    caller: Finance,
    name: Annotated[ReportName, Path(description="savings, costs, sites or access.")],
    month: reporting.Month = None,
    months: reporting.Months = 1,
    site: reporting.OneSite = None,
    exact: reporting.Exact = False,
    section: reporting.SectionAsked = None,
    given: reporting.FormatAsked = None,
    accept: Accept = "",
) -> Response:
    """Return a report with all its figures, each with its formula, inputs and sources."""
    reporting.check_exact(request, caller, exact, name.value)
    last = reporting.month_number(here, month)
    asked = reporting.Asked(name.value, last, months, site, exact)
    return reports.answer(asked, reporting.report_form(accept, given), section)
