"""Costs of a month, down to the lines that make up a charge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from analytics.cost.names import key_of, one_part
from analytics.questions.charged import MOST_LINES, Charge, ChargedLine, ChargedLines, charged_lines
from api.web import reporting
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept, Cursor, Format, form, rows_of
from api.web.context import Here
from api.web.examples import described
from api.web.noting import note
from api.web.problems import Problem
from api.web.shapes import answered, columns, flat
from api.web.streaming import Form, streamed

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


class Lines(NamedTuple):
    """A page of the lines that make up a charge, oldest first."""

    charge: Charge
    """What is charged."""
    currency: str
    in_all: int
    """Lines of all pages."""
    next: str | None
    """The next page; None at the end."""
    cursor: str | None
    """The next page's `cursor`."""
    lines: tuple[ChargedLine, ...]


@router.get("/costs/lines", summary="Lines of a charge", **described(Lines))
def cost_lines(
    request: Request,
    here: Here,
    reports: reporting.ReportsHere,
    caller: Annotated[Caller, allowed(Right.MONEY)],
    site: Annotated[str, Query(max_length=200, description="The site that pays; * for lines at no site.")],
    number_class: Annotated[str, Query(max_length=100, description="Class of the far number, or inbound.")],
    month: reporting.Month = None,
    tariff: Annotated[Literal["ip", "legacy"], Query(description="Today's tariff, or the one before.")] = "ip",
    limit: Annotated[int, Query(ge=1, le=MOST_LINES, description="Rows of a page.")] = 100,
    cursor: Cursor = None,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return the lines of a site, month and class with their tariff rows, files and, with the right, numbers.

    Lines of a class whose count is not told, for it could name people, take the right to see numbers.
    """
    charge = Charge(reporting.month_number(here, month), site, number_class, tariff)
    check_told(reports, charge, caller)
    zone, currency = here.estate().settings.timezone, here.estate().settings.currency
    as_ = form(accept, given)
    label = f"{charge.month} {site} {number_class}"
    note(request, caller, "costs.lines", label, tariff=tariff, format=as_.value)

    def page(after: str | None, most: int) -> ChargedLines:
        return charged_lines(here.lake, charge, zone, numbers=caller.numbers, limit=most, cursor=after)

    if as_ is not Form.JSON:
        names = columns(ChargedLine)

        def every() -> Iterator[ChargedLine]:
            after = cursor
            while True:
                found = page(after, MOST_LINES)
                yield from found.rows
                after = found.cursor
                if after is None:
                    return

        return streamed(as_, names, rows_of(every(), names, flat), "lines")
    found = page(cursor, limit)
    kept = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    more = None if found.cursor is None else f"{request.url.path}?{urlencode([*kept, ('cursor', found.cursor)])}"
    return answered(Lines(charge, currency, found.in_all, more, found.cursor, found.rows))


def check_told(reports: reporting.Reports, charge: Charge, caller: Caller) -> None:
    """Refuse lines of a class whose number is held back; Problem 403, or 404 where there are none."""
    book = reports.document(reporting.Asked("costs", charge.month)).book
    key = key_of(charge.month, one_part(charge.site), f"class.{charge.number_class}.lines")
    if key not in book:
        raise Problem(404, "not_found", "There is no charge of that site, month and class.")
    if book.value(key) is None and not caller.may(Right.NUMBERS):
        raise Problem(403, "not_allowed", "So few lines may name people: they take the right 'numbers'.")
