"""Streams: search."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from analytics.questions.calls import Order, Search
from analytics.questions.streams import StreamRow, search_streams
from analytics.questions.words import condition, parse_words
from api.web.asked import Accept, Cursor, Format, Since, Until, form, link, rows_of, span
from api.web.context import Context, Here
from api.web.examples import described
from api.web.noting import note
from api.web.routes.calls import (
    MOST_EXPORTED,
    PAGE_EXPORTED,
    CodecWord,
    Limit,
    QualityWord,
    Sees,
    SiteWord,
    Sorted,
    Words,
    noted,
    permitted,
)
from api.web.shapes import answered, columns, flat
from api.web.streaming import Form, streamed

router = APIRouter(tags=["calls"])


class Streams(NamedTuple):
    """A page of streams."""

    since: datetime
    until: datetime
    link: str
    """This very question with absolute times."""
    next: str | None
    """The next page; None at the end."""
    cursor: str | None
    """The next page's `cursor`."""
    streams: tuple[StreamRow, ...]


@router.get("/streams", summary="Search streams", **described(Streams))
def streams(
    request: Request,
    here: Here,
    caller: Sees,
    q: Words = "",
    site: SiteWord = None,
    quality: QualityWord = None,
    codec: CodecWord = None,
    order: Sorted = Order.NEWEST,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    cursor: Cursor = None,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return RTP streams that began in a span, the last 24 hours if none is given, and that meet all words."""
    begin, end = span(here, since, until, timedelta(hours=24))
    named = {"site": site, "quality": quality, "codec": codec}
    words = [*parse_words(q), *(condition(key, ":", [value]) for key, value in named.items() if value is not None)]
    note(request, caller, "streams.search", noted(words), since=begin.isoformat(), until=end.isoformat())
    search = permitted(here, caller, Search(begin, end, tuple(words), order))
    as_ = form(accept, given)
    if as_ is not Form.JSON:
        names = columns(StreamRow)
        return streamed(as_, names, rows_of(_all(here, search, limit or MOST_EXPORTED, cursor), names, flat), "streams")
    found = search_streams(here.lake, search, min(limit or 50, 1_000), cursor)
    more = None if found.cursor is None else link(request, found.since, found.until, cursor=found.cursor)
    itself = link(request, found.since, found.until, cursor=None)
    return answered(Streams(found.since, found.until, itself, more, found.cursor, found.rows))


def _all(here: Context, search: Search, limit: int, cursor: str | None) -> Iterator[StreamRow]:
    left = limit
    while left > 0:
        found = search_streams(here.lake, search, min(left, PAGE_EXPORTED), cursor)
        yield from found.rows
        left -= len(found.rows)
        cursor = found.cursor
        if cursor is None:
            return
