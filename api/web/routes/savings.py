"""Savings: the answer for all, and the whole report for those who may see money."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.report.making import months_to
from api.web import reporting
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept
from api.web.context import Here
from api.web.examples import described
from api.web.shapes import answered

router = APIRouter(tags=["money"])


class Fact(NamedTuple):
    """A short line under an answer."""

    name: str
    value: str


class Savings(NamedTuple):
    """What was saved, in a sentence."""

    title: str
    sentence: str
    """The answer, with its range and what was claimed."""
    facts: tuple[Fact, ...]
    """Coverage, range, and what is not known."""
    months: tuple[str, ...]
    digest: str
    """SHA-256 of the whole report: it says which numbers this is about."""


@router.get("/savings", summary="Was it saved?", **described(Savings, table=False))
def savings(
    here: Here,
    reports: reporting.ReportsHere,
    _caller: Annotated[Caller, allowed(Right.SUMMARY)],
    month: reporting.Month = None,
    months: reporting.Months = 1,
) -> Response:
    """Return the verdict on the claimed savings of some months, without lines or classes of numbers."""
    last = reporting.month_number(here, month)
    asked = reporting.Asked("savings", last, months)
    made = reports.document(asked)
    spoken = tuple(f"{one // 100}-{one % 100:02d}" for one in months_to(last, months))
    facts = tuple(Fact(name, value) for name, value in made.facts)
    return answered(Savings(made.title, made.sentence, facts, spoken, reports.digest(asked)))


@router.get(
    "/savings/report",
    summary="Savings in full",
    response_class=Response,
    responses=reporting.report_answers(reporting.EXAMPLE),
)
def savings_report(
    request: Request,
    here: Here,
    reports: reporting.ReportsHere,
    caller: Annotated[Caller, allowed(Right.MONEY)],
    month: reporting.Month = None,
    months: reporting.Months = 1,
    site: reporting.OneSite = None,
    exact: reporting.Exact = False,
    section: reporting.SectionAsked = None,
    given: reporting.FormatAsked = None,
    accept: Accept = "",
) -> Response:
    """Return the report of savings: both methods, by site and element, the range, and each figure's proof."""
    reporting.check_exact(request, caller, exact, "savings")
    last = reporting.month_number(here, month)
    asked = reporting.Asked("savings", last, months, site, exact)
    return reports.answer(asked, reporting.report_form(accept, given), section)
