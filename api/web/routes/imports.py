"""Files that were read in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from analytics.questions.path import MOST_ROWS, ImportList, ImportRow, imports
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept, Cursor, Format, Since, Until, form, link, rows_of, span
from api.web.context import Here
from api.web.examples import described
from api.web.shapes import answered, columns, flat
from api.web.streaming import Form, streamed

router = APIRouter(tags=["data path"])


class Imports(NamedTuple):
    """A page of imported files, newest first."""

    since: datetime
    until: datetime
    link: str
    """This very question with absolute times."""
    next: str | None
    """The next page; None at the end."""
    cursor: str | None
    """The next page's `cursor`."""
    imports: tuple[ImportRow, ...]


@router.get("/imports", summary="Imported files", **described(Imports))
def imported(
    request: Request,
    here: Here,
    _caller: Annotated[Caller, allowed(Right.AGGREGATES)],
    source: Annotated[str | None, Query(max_length=100, description="cucm, asterisk, …, capture.")] = None,
    record: Annotated[str | None, Query(max_length=20, description="cdr, cmr or capture.")] = None,
    rejected: Annotated[bool, Query(description="Only files with rejected records.")] = False,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows of a page.")] = 100,
    cursor: Cursor = None,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return files that were read in within a span, the last 31 days if none is given, and what became of them."""
    begin, end = span(here, since, until, timedelta(days=31))

    def page(after: str | None, most: int) -> ImportList:
        return imports(here.lake, begin, end, source=source, record=record, rejected=rejected, limit=most, cursor=after)

    as_ = form(accept, given)
    if as_ is not Form.JSON:
        names = columns(ImportRow)

        def every() -> Iterator[ImportRow]:
            after = cursor
            while True:
                found = page(after, MOST_ROWS)
                yield from found.rows
                after = found.cursor
                if after is None:
                    return

        return streamed(as_, names, rows_of(every(), names, flat), "imports")
    found = page(cursor, limit)
    more = None if found.cursor is None else link(request, found.since, found.until, cursor=found.cursor)
    itself = link(request, found.since, found.until, cursor=None)
    return answered(Imports(found.since, found.until, itself, more, found.cursor, found.rows))
