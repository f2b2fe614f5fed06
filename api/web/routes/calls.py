"""Calls: search, and one call with all that is known of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from analytics.questions.calls import CallRow, Order, Search, numbers_in, search_calls
from analytics.questions.one_call import CallPage, one_call
from analytics.questions.words import KEYS, Condition, Text, condition, parse_words
from api.masking import EMERGENCY
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept, Cursor, Format, Since, Until, form, link, rows_of, span
from api.web.context import Context, Here
from api.web.examples import described
from api.web.noting import note, shown
from api.web.problems import Problem
from api.web.shapes import answered, columns, flat
from api.web.streaming import Form, streamed

router = APIRouter(tags=["calls"])
Sees = Annotated[Caller, allowed(Right.CALLS)]
Key = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Key of the call.", examples=["0f3c5a7e9b1d2c4e"])]
MOST_EXPORTED: Final = 1_000_000
PAGE_EXPORTED: Final = 2_000
STAND_IN = re.compile(r"p-[a-z2-7]{8}")
MOST_DAYS_BY_NAME: Final = timedelta(days=31)

Words = Annotated[
    str,
    Query(
        alias="q",
        max_length=2_000,
        description=f"Words that all hold: `site:ashcombe mos<3 codec:pcma state:failed`. Keys: {', '.join(KEYS)}.",
        examples=["site:ashcombe mos<3"],
    ),
]
Limit = Annotated[
    int | None,
    Query(
        ge=1, le=MOST_EXPORTED, description="Rows: 50 if not given and 1,000 at most as JSON; of CSV and NDJSON all."
    ),
]


def _word(key: str) -> object:
    rule = KEYS[key]
    return Query(max_length=200, description=f"The word `{key}`: {rule.doc}.")


Sorted = Annotated[Order, Query(description="newest, oldest, or worst (lowest MOS) first.")]
SiteWord = Annotated[str | None, _word("site")]
NumberWord = Annotated[str | None, _word("number")]
QualityWord = Annotated[str | None, _word("quality")]
StatusWord = Annotated[str | None, _word("status")]
StateWord = Annotated[str | None, _word("state")]
CodecWord = Annotated[str | None, _word("codec")]


class Calls(NamedTuple):
    """A page of calls."""

    since: datetime
    until: datetime
    link: str
    """This very question with absolute times."""
    next: str | None
    """The next page; None at the end."""
    cursor: str | None
    """The next page's `cursor`."""
    calls: tuple[CallRow, ...]


@router.get("/calls", summary="Search calls", **described(Calls))
def calls(
    request: Request,
    here: Here,
    caller: Sees,
    q: Words = "",
    site: SiteWord = None,
    number: NumberWord = None,
    quality: QualityWord = None,
    status: StatusWord = None,
    state: StateWord = None,
    codec: CodecWord = None,
    order: Sorted = Order.NEWEST,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    cursor: Cursor = None,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return calls that began in a span, the last 24 hours if none is given, and that meet all words.

    A person's number is searched as it is shown: by its stand-in (`number:p-k3x7q2ma`), in 31 days at most, or by its
    digits with the right to see numbers.
    """
    begin, end = span(here, since, until, timedelta(hours=24))
    named = {"site": site, "number": number, "quality": quality, "status": status, "state": state, "codec": codec}
    words = [*parse_words(q), *(condition(key, ":", [value]) for key, value in named.items() if value is not None)]
    note(request, caller, "calls.search", noted(words), since=begin.isoformat(), until=end.isoformat())
    search = permitted(here, caller, Search(begin, end, tuple(words), order))
    as_ = form(accept, given)
    if as_ is not Form.JSON:
        names = columns(CallRow)
        rows = rows_of(_all(here, request, caller, search, limit or MOST_EXPORTED, cursor), names, flat)
        return streamed(as_, names, rows, "calls")
    found = search_calls(here.lake, search, min(limit or 50, 1_000), cursor)
    more = None if found.cursor is None else link(request, found.since, found.until, cursor=found.cursor)
    itself = link(request, found.since, found.until, cursor=None)
    page = tuple(masked(request, caller, row) for row in found.rows)
    return answered(Calls(found.since, found.until, itself, more, found.cursor, page))


def noted(words: list[Condition]) -> str:
    """Words as the audit log keeps them: without the digits of anybody."""
    return " ".join(f"{word.key}{word.operator}…" if word.seeks_person else str(word) for word in words)


def _all(
    here: Context, request: Request, caller: Caller, search: Search, limit: int, cursor: str | None
) -> Iterator[CallRow]:
    left = limit
    while left > 0:
        found = search_calls(here.lake, search, min(left, PAGE_EXPORTED), cursor)
        for row in found.rows:
            yield masked(request, caller, row)
        left -= len(found.rows)
        cursor = found.cursor
        if cursor is None:
            return


def masked(request: Request, caller: Caller, row: CallRow) -> CallRow:
    """Return a call as the caller may see it."""
    return row._replace(calling=shown(request, caller, row.calling), called=shown(request, caller, row.called))


def permitted(here: Context, caller: Caller, search: Search) -> Search:
    """Return a search as the caller may make it; Problem 403 where it would tell whose number is whose.

    Stand-ins of numbers become the numbers themselves.
    """
    words: list[Condition] = []
    for word in search.words:
        rule = KEYS[word.key]
        stand_ins = {value for value in word.values if STAND_IN.fullmatch(value.casefold())}
        if not isinstance(rule, Text) or not rule.numbers:
            words.append(word)
            continue
        others = [value for value in word.values if value not in stand_ins and value not in EMERGENCY]
        if not caller.may(Right.NUMBERS) and word._replace(values=tuple(others)).seeks_person:
            said = (
                "Searching by the digits of a number takes the right 'numbers'; search by the name shown in its place."
            )
            raise Problem(403, "not_allowed", said)
        if stand_ins:
            found = _named(here, search, {value.casefold() for value in stand_ins})
            kept = [value for value in word.values if value not in stand_ins]
            word = word._replace(values=(*kept, *(f"={number}" for number in found)) or ("=",))
        words.append(word)
    return Search(search.since, search.until, tuple(words), search.order)


def _named(here: Context, search: Search, names: set[str]) -> list[str]:
    """Return the numbers that stand-ins stand for, among those of the span."""
    if search.until - search.since > MOST_DAYS_BY_NAME:
        raise Problem(
            422, "invalid", "A stand-in for a number is looked up in 31 days at most: ask for a shorter span."
        )
    return [one for one in numbers_in(here.lake, search.since, search.until) if here.masks.number(one) in names]


@router.get("/calls/{key}", summary="One call", **described(CallPage, table=False))
def call(
    request: Request,
    here: Here,
    caller: Sees,
    key: Key,
    source: Annotated[str | None, Query(max_length=200, description="Source, where two saw the same call.")] = None,
) -> Response:
    """Return a call with its streams, intervals and MOS terms, and what records and telephones say beside them."""
    note(request, caller, "call.view", key)
    found = one_call(here.lake, key, source=source)
    if found is None:
        raise Problem(404, "not_found", "There is no call with this key.")
    return answered(page_masked(request, caller, found))


def page_masked(request: Request, caller: Caller, page: CallPage) -> CallPage:
    """Return the page of a call as the caller may see it."""

    def hidden(number: str | None) -> str | None:
        return shown(request, caller, number)

    return page._replace(
        call=masked(request, caller, page.call),
        taps=tuple(masked(request, caller, one) for one in page.taps),
        records=tuple(
            one._replace(
                calling=hidden(one.calling),
                original_called=hidden(one.original_called),
                called=hidden(one.called),
                last_redirect=hidden(one.last_redirect),
            )
            for one in page.records
        ),
        reports=tuple(one._replace(directory_number=hidden(one.directory_number)) for one in page.reports),
    )
