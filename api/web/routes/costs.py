"""Costs of a month."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.web import reporting
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept
from api.web.context import Here

router = APIRouter(tags=["money"])


@router.get(
    "/costs",
    summary="Costs of a month",
    response_class=Response,
    responses=reporting.report_answers({**reporting.EXAMPLE, "report": "costs", "title": "Costs, October 2025"}),
)
def costs(
    request: Request,
    here: Here,
    reports: reporting.ReportsHere,
    caller: Annotated[Caller, allowed(Right.MONEY)],
    month: reporting.Month = None,
    site: reporting.OneSite = None,
    exact: reporting.Exact = False,
    section: reporting.SectionAsked = None,
    given: reporting.FormatAsked = None,
    accept: Accept = "",
) -> Response:
    """Return what each site cost in a month, by element and class of numbers: the report of costs."""
    reporting.check_exact(request, caller, exact, "costs")
    last = reporting.month_number(here, month)
    asked = reporting.Asked("costs", last, 1, site, exact)
    return reports.answer(asked, reporting.report_form(accept, given), section)
