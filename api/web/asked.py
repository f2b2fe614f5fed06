"""What a request asks for in its query: spans of time, words, pages; and links that mean the same tomorrow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import Header, Query
from starlette.requests import Request

from analytics.questions.asking import QuestionError
from api.web.context import Context
from api.web.streaming import Form, wanted

EARLIEST: Final = datetime(1980, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
UNITS: Final[Mapping[str, timedelta]] = {
    "m": timedelta(minutes=1), "min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}  # fmt: skip
_AGO = re.compile(r"(\d{1,5})(m|min|h|d|w)", re.ASCII)

Since = Annotated[
    str | None,
    Query(
        max_length=40,
        description="Begin: a time with its zone (2025-10-01T00:00:00Z), or so long before `until` (15m, 24h, 7d, 4w).",
        examples=["2025-10-01T08:00:00Z"],
    ),
]
Until = Annotated[
    str | None,
    Query(max_length=40, description="End, not included: a time with its zone; now if not given.",
          examples=["2025-10-01T18:00:00Z"]),
]  # fmt: skip
Cursor = Annotated[
    str | None,
    Query(max_length=600, description="From the page before; holds its `until`, so that new rows move nothing."),
]
Accept = Annotated[str, Header(include_in_schema=False)]
Format = Annotated[
    Form | None,
    Query(
        alias="format", description="json, csv or ndjson; else the header Accept says (text/csv, application/x-ndjson)."
    ),
]


def present(here: Context) -> datetime:
    """Return the time now."""
    return datetime.fromtimestamp(here.clock() / 1e9, UTC)


def span(here: Context, since: str | None, until: str | None, default: timedelta) -> tuple[datetime, datetime]:
    """Return the span that is asked for; QuestionError where it has no meaning."""
    now = present(here)
    end = now if until is None else _absolute(until, "until")
    if since is None:
        begin = end - default
    else:
        ago = _AGO.fullmatch(since)
        begin = _absolute(since, "since") if ago is None else _before(end, int(ago[1]) * UNITS[ago[2]])
    if begin >= end:
        raise QuestionError("the span is empty: `since` must lie before `until`")
    return begin, end


def _before(end: datetime, length: timedelta) -> datetime:
    return max(EARLIEST, end - length) if length < end - EARLIEST else EARLIEST


def _absolute(text: str, name: str) -> datetime:
    # A + in a query that was not quoted comes as a blank.
    try:
        at = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
    except ValueError:
        raise QuestionError(f"`{name}` is no time: write 2025-10-01T08:00:00Z, or as `since` also 24h") from None
    if at.tzinfo is None:
        raise QuestionError(f"`{name}` needs a zone: 2025-10-01T08:00:00Z")
    # Near the ends of the calendar a change of zone leaves it.
    if not EARLIEST.year <= at.year <= LATEST.year:
        raise QuestionError(f"`{name}` must lie in the years {EARLIEST.year} to {LATEST.year}")
    return at.astimezone(UTC)


def stamp(at: datetime) -> str:
    """Return a time as links hold it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def link(request: Request, since: datetime, until: datetime, **more: str | None) -> str:
    """Return the path of a request with absolute times, that shows the same thing tomorrow."""
    kept = [(key, value) for key, value in request.query_params.multi_items() if key not in ("since", "until", *more)]
    given = [(key, value) for key, value in more.items() if value is not None]
    times = [("since", stamp(since)), ("until", stamp(until))]
    return f"{quote(request.url.path)}?{urlencode([*kept, *times, *given])}"


def form(accept: str, given: Form | None) -> Form:
    """Return the form of a list."""
    return wanted(accept, given)


def rows_of(values: Iterable[Any], columns: list[str], flat: Callable[[Any], Mapping[str, Any]]) -> Iterable[list[Any]]:
    """Yield answers as rows of a table."""
    for value in values:
        row = flat(value)
        yield [row.get(name) for name in columns]
