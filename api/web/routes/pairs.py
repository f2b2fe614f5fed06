"""Pairs of sites."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from analytics.questions.asking import QuestionError
from analytics.questions.pairs import PairQuality, site_pairs
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept, Format, Since, Until, form, link, rows_of, span
from api.web.context import Here
from api.web.examples import described
from api.web.shapes import answered, columns, flat
from api.web.streaming import Form, streamed

router = APIRouter(tags=["sites"])
FEWEST: Final = 5
"""Pairs with fewer streams are shown to those alone who may see calls: in a small office they could name people."""
LONGEST: Final = timedelta(days=92)


class Pairs(NamedTuple):
    """Pairs of sites in a span."""

    since: datetime
    until: datetime
    link: str
    """This very question with absolute times."""
    withheld: int
    """Pairs with fewer than 5 streams, which are not shown without the right to see calls."""
    pairs: tuple[PairQuality, ...]


@router.get("/pairs", summary="Quality from site to site", **described(Pairs))
def pairs(
    request: Request,
    here: Here,
    caller: Annotated[Caller, allowed(Right.AGGREGATES)],
    site: Annotated[str | None, Query(max_length=200, description="Only pairs with this site on either side.")] = None,
    since: Since = None,
    until: Until = None,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return how streams from each site to each other fared; the last 24 hours if no span is given, 92 days at most."""
    begin, end = span(here, since, until, timedelta(hours=24))
    if end - begin > LONGEST:
        raise QuestionError(f"pairs are answered for {LONGEST.days} days at most")
    found = site_pairs(here.lake, begin, end, site=site)
    shown = found if caller.may(Right.CALLS) else tuple(one for one in found if one.streams >= FEWEST)
    as_ = form(accept, given)
    if as_ is not Form.JSON:
        names = columns(PairQuality)
        return streamed(as_, names, rows_of(shown, names, flat), "pairs")
    return answered(Pairs(begin, end, link(request, begin, end), len(found) - len(shown), shown))
