"""Sites: how they are now, and over time."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from analytics.alerts.of_sites import SiteAlert
from analytics.questions.sites import ATTENTION, WINDOW, SiteNow, SitePoint, site_series, sites_now, with_alerts
from analytics.store.schema import SITE_MINUTES
from analytics.store.series import LakeSeries
from api.alerts.of_sites import alerts_of_sites
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept, Format, Since, Until, form, link, present, rows_of, span
from api.web.context import Context, Here
from api.web.examples import described
from api.web.kept import Kept, KeptHere
from api.web.problems import Problem
from api.web.routes.alerts import watch_of
from api.web.shapes import answered, columns, encoded, flat
from api.web.streaming import Form, streamed

router = APIRouter(tags=["sites"])
Seen = Annotated[Caller, allowed(Right.AGGREGATES)]
SiteId = Annotated[str, Path(max_length=200, description="Site, as the estate names it.", examples=["ashcombe"])]
ALERTS_AGAIN_NS = 1_000_000_000
"""Alerts of sites are looked up anew when so much time has passed."""
Window = Annotated[int, Query(ge=1, le=1_440, description="Length of the window that ends now [min].")]


class Step(StrEnum):
    """Length of a step."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Sites(NamedTuple):
    """All sites now."""

    as_of: datetime
    window_minutes: int
    zone: str
    """Zone of the estate."""
    attention: int
    """Sites that are bad or degraded, or of which the capture is unhealthy."""
    sites: tuple[SiteNow, ...]


class Series(NamedTuple):
    """Points of sites over time; steps of which nothing is known have none."""

    since: datetime
    until: datetime
    step: str
    zone: str
    """Zone whose days and months are meant; minutes and hours are those of UTC."""
    link: str
    """This very question with absolute times."""
    points: tuple[SitePoint, ...]


@router.get("/sites", summary="All sites now", **described(Sites))
def sites(
    here: Here,
    kept: KeptHere,
    _caller: Seen,
    window: Window = 15,
    trend: Annotated[bool, Query(description="Add the last 24 hours of each.")] = True,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return each site with its state, its measures in the window that ends now, and the last 24 hours."""
    as_ = form(accept, given)
    if as_ is not Form.JSON:
        names = columns(SiteNow)
        return streamed(as_, names, rows_of(_now(here, kept, window), names, flat), "sites")

    found = _now(here, kept, window)

    def made() -> bytes:
        shown = found if trend else tuple(one._replace(trend=()) for one in found)
        return encoded(list(shown))

    alerts = tuple((one.site, one.alert) for one in found)
    rows: bytes = kept.get(("sites", window, trend), (_token(here), alerts), made)
    attention = sum(one.state in ATTENTION for one in found)
    head = encoded(Sites(present(here), window, here.estate().settings.timezone, attention, ()))
    return Response(head.removesuffix(b"[]}") + rows + b"}", media_type="application/json")


def sites_here(here: Context, window: timedelta = WINDOW) -> tuple[SiteNow, ...]:
    """Return all sites now, with the worst alert of each."""
    worst = alerts_of_sites(here.store, watch_of(here).rules)
    return with_alerts(sites_now(here.lake, here.series, here.estate(), present(here), window), worst)


def _token(here: Context) -> Hashable:
    """What sites now depend on: what is stored, and the present minute."""
    lake, seconds = here.lake.version(SITE_MINUTES.name), here.clock() // 1_000_000_000
    # Another store does not tell when it changed.
    return lake, seconds // 60 if isinstance(here.series, LakeSeries) else seconds // 2, here.estate().digest


def _now(here: Context, kept: Kept, window: int) -> tuple[SiteNow, ...]:
    """Return all sites now, looked up once for all who ask until something changes."""

    def made() -> tuple[SiteNow, ...]:
        return sites_now(here.lake, here.series, here.estate(), present(here), timedelta(minutes=window))

    def asked() -> dict[str, SiteAlert]:
        return alerts_of_sites(here.store, watch_of(here).rules)

    found: tuple[SiteNow, ...] = kept.get(("sites now", window), _token(here), made)
    worst: dict[str, SiteAlert] = kept.get(("alerts of sites",), here.clock() // ALERTS_AGAIN_NS, asked)
    return with_alerts(found, worst)


@router.get("/sites/{site}", summary="One site now", **described(SiteNow, table=False))
def site(here: Here, kept: KeptHere, _caller: Seen, site: SiteId, window: Window = 15) -> Response:
    """Return one site with its state, its measures in the window that ends now, and the last 24 hours."""
    for one in _now(here, kept, window):
        if one.site == site:
            return answered(one)
    raise _unknown(site)


def _unknown(site: str) -> Problem:
    return Problem(404, "not_found", f"There is no site {site} in the estate, and none was heard lately.")


Steps = Annotated[Step | None, Query(description="Length of a step; one that gives at most some 500 if not given.")]
BandAsked = Annotated[bool, Query(description="Add the site's own past to each point: same weekday and hour, 8 weeks.")]


@router.get("/sites/{site}/series", summary="One site over time", **described(Series))
def one_series(
    request: Request,
    here: Here,
    _caller: Seen,
    site: SiteId,
    since: Since = None,
    until: Until = None,
    step: Steps = None,
    band: BandAsked = False,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return what a site did, step by step, and beside it where that lay on the same weekday and hour before."""
    return _series(request, here, [site], since, until, step, band, form(accept, given))


@router.get("/series", summary="Sites over time", **described(Series))
def all_series(
    request: Request,
    here: Here,
    _caller: Seen,
    site: Annotated[list[str] | None, Query(max_length=200, description="Sites; all if not given.")] = None,
    since: Since = None,
    until: Until = None,
    step: Steps = None,
    band: BandAsked = False,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return what sites did, step by step."""
    return _series(request, here, site, since, until, step, band, form(accept, given))


def _series(
    request: Request,
    here: Context,
    sites: list[str] | None,
    since: str | None,
    until: str | None,
    step: Step | None,
    band: bool,
    as_: Form,
) -> Response:
    begin, end = span(here, since, until, timedelta(hours=24))
    chosen = step or fitting(end - begin)
    zone = here.estate().settings.timezone
    points = site_series(here.series, sites, begin, end, chosen.value, zone=zone, band=band)
    if as_ is not Form.JSON:
        names = columns(SitePoint)
        return streamed(as_, names, rows_of(points, names, flat), "series")
    itself = link(request, begin, end, step=chosen.value)
    return answered(Series(begin, end, chosen.value, zone, itself, points))


def fitting(length: timedelta) -> Step:
    """Return the shortest step with at most some 500 steps in a span."""
    hours = length.total_seconds() / 3_600
    return Step.MINUTE if hours <= 8 else Step.HOUR if hours <= 500 else Step.DAY if hours <= 12_000 else Step.MONTH
