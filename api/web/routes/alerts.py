"""Alerts: what holds now and why, the history, rules, silences, acknowledgement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from analytics.alerts.facts import Matcher
from analytics.questions.alerts import AlertChange, alert_history
from api.alerts import keeping
from api.alerts.book import Book, BookError
from api.alerts.loop import Watch
from api.alerts.running import read_watch, zone_of
from api.alerts.shown import alert_json, rule_json, silence_json
from api.web.access import Caller, Right, allowed
from api.web.asked import Accept, Format, Since, Until, form, rows_of, span
from api.web.context import Context, Here
from api.web.examples import described
from api.web.given import WHOLE
from api.web.noting import note
from api.web.problems import Problem
from api.web.shapes import answered, columns, flat
from api.web.streaming import Form, streamed

router = APIRouter(tags=["alerts"])
Seen = Annotated[Caller, allowed(Right.AGGREGATES)]
Acting = Annotated[Caller, allowed(Right.ACT)]
Fingerprint = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", examples=["6d4d4ef537b13977"])]
Comment = Annotated[str, Field(max_length=500, examples=["The line is being changed."])]
NS = 1_000_000_000
DAY = timedelta(days=1)
LONGEST_SILENCE = 31 * 86_400


class Window(BaseModel):
    """What a sample looked back over."""

    model_config = ConfigDict(populate_by_name=True)
    from_: str = Field(alias="from", examples=["2025-10-01T12:50:00.000Z"])
    to: str = Field(examples=["2025-10-01T13:00:00.000Z"])
    seconds: float = Field(examples=[600.0])


class AlertShown(BaseModel):
    """An alert, with what was measured of how many."""

    fingerprint: str = Field(examples=["6d4d4ef537b13977"], description="Hash of its labels: the same for ever.")
    rule: str = Field(examples=["site_degraded"])
    severity: str = Field(examples=["critical"])
    labels: dict[str, str] = Field(examples=[{"site": "ashcombe", "direction": "to"}])
    state: str = Field(examples=["firing"], description="pending, firing, recovering, no_data or error.")
    active: bool = Field(examples=[True], description="Whether it holds: also while nothing can be measured.")
    since: str = Field(examples=["2025-10-01T13:00:05.000Z"], description="When it came into this state.")
    fired_at: str | None = Field(examples=["2025-10-01T13:00:05.000Z"])
    summary: str = Field(examples=["Calls are poor at ashcombe (audio to the site)"])
    description: str = Field(examples=["12 of 24 calls (50 %) …"])
    numerator: float | None = Field(examples=[12.0])
    denominator: float | None = Field(examples=[24.0])
    counted: str = Field(examples=["calls"])
    value: float | None = Field(examples=[0.5])
    unit: str = Field(examples=["share"])
    values: dict[str, float] = Field(examples=[{"mos": 3.15, "loss_percent": 5.0}])
    window: Window
    link: str = Field(examples=["/streams?q=…&since=2025-10-01T12:50:00Z&until=2025-10-01T13:00:00Z"])
    muted: str = Field(examples=[""], description="Why it is not told; empty: it is.")
    acknowledged_by: str | None = Field(examples=[None])


class AlertsNow(BaseModel):
    """Alerts, the worst first."""

    looked_at: datetime | None = Field(description="When rules were looked at last. None: never.")
    alerts: list[AlertShown]


class RuleShown(BaseModel):
    """A rule."""

    name: str = Field(examples=["site_degraded"])
    kind: str = Field(examples=["site_poor"])
    summary: str = Field(examples=["Calls are poor at {site}"])
    test: str = Field(examples=["share"], description="share (by its 95 % interval), above or below.")
    raise_at: float = Field(examples=[0.2])
    clear_at: float = Field(examples=[0.17])
    unit: str = Field(examples=["share"])
    counted: str = Field(examples=["calls"])
    minimum: float = Field(examples=[20.0], description="Of fewer nothing is said.")
    window_s: float = Field(examples=[600.0])
    longest_s: float = Field(examples=[86_400.0], description="Sites with few calls: the newest of so long before.")
    for_s: float = Field(examples=[0.0])
    keep_firing_s: float = Field(examples=[300.0])
    every_s: float = Field(examples=[5.0])
    severity: str = Field(examples=["critical"])
    inhibited_by_capture: bool = Field(examples=[True])
    only: dict[str, list[str]] = Field(examples=[{}])
    enabled: bool = Field(examples=[True])


class SilenceShown(BaseModel):
    """Alerts that are not told for a time."""

    model_config = ConfigDict(populate_by_name=True)
    key: int = Field(examples=[1])
    labels: dict[str, list[str]] = Field(examples=[{"site": ["ashcombe"]}])
    from_: str = Field(alias="from", examples=["2025-10-01T13:00:00.000Z"])
    until: str = Field(examples=["2025-10-01T15:00:00.000Z"])
    author: str = Field(examples=["amy"])
    comment: str = Field(examples=["The line is being changed."])


Label = Annotated[str, Field(min_length=1, max_length=200, examples=["ashcombe"])]


class SilenceGiven(BaseModel):
    """What shall not be told, and for how long from now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"additionalProperties": False})
    labels: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=64, examples=["site"])],
            Annotated[list[Label], Field(min_length=1)],
        ],
        Field(min_length=1, max_length=10, examples=[{"site": ["ashcombe"]}],
              description="All labels must fit, each by any of its values; `*` at the end stands for anything."),
    ]  # fmt: skip
    seconds: Annotated[int, Field(ge=60, le=LONGEST_SILENCE, strict=True, examples=[7_200]), WHOLE]
    comment: Comment = ""


class Seeing(BaseModel):
    """An acknowledgement."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"additionalProperties": False})
    comment: Comment = ""


@contextmanager
def open_book(here: Context) -> Iterator[Book]:
    """Lend the book of the store."""
    with closing(Book.open(here.store)) as book:
        yield book


def watch_of(here: Context) -> Watch:
    """Return what is watched."""
    return read_watch(here.settings.alerts, zone_of(here.estate()), here.settings.serve.public_url)


@router.get("/alerts", summary="Alerts now")
def alerts(
    here: Here,
    _caller: Seen,
    pending: Annotated[bool, Query(description="Show also what is not an alert yet.")] = False,
) -> AlertsNow:
    """Return the alerts that hold: measured of how many, over which time, and where the evidence is."""
    watch = watch_of(here)
    with open_book(here) as book:
        found = keeping.alerts_now(book, watch.rules)
        seen = keeping.read_acknowledgements(book)
        looked = keeping.read_note(book, "looked_at")
    shown = [
        AlertShown(**alert_json(alert, kept, watch.public_url, seen.get(alert.fingerprint)))
        for alert, kept in found
        if pending or kept.state.active
    ]
    return AlertsNow(looked_at=None if looked is None else datetime.fromtimestamp(looked / NS, UTC), alerts=shown)


@router.get("/alerts/history", summary="Changes of alerts", **described(AlertChange, many=True))
def history(
    here: Here,
    _caller: Seen,
    since: Since = None,
    until: Until = None,
    rule: Annotated[str | None, Query(max_length=100, examples=["site_degraded"])] = None,
    site: Annotated[str | None, Query(max_length=200, examples=["ashcombe"])] = None,
    fingerprint: Annotated[str | None, Query(pattern=r"^[0-9a-f]{16}$")] = None,
    most: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    given: Format = None,
    accept: Accept = "",
) -> Response:
    """Return each change of state in a span, by default the last day, the newest first."""
    begin, end = span(here, since, until, DAY)
    found = alert_history(here.lake, begin, end, rule=rule, site=site, fingerprint=fingerprint, most=most)
    as_ = form(accept, given)
    if as_ is not Form.JSON:
        names = columns(AlertChange)
        return streamed(as_, names, rows_of(found, names, flat), "alerts")
    return answered(found)


@router.get("/alerts/rules", summary="Rules that are watched")
def rules(here: Here, _caller: Seen) -> list[RuleShown]:
    """Return the rules with their levels."""
    return [RuleShown(**rule_json(rule)) for rule in watch_of(here).rules]


@router.post("/alerts/{fingerprint}/acknowledge", summary="Acknowledge an alert", status_code=204)
def acknowledge(request: Request, here: Here, caller: Acting, fingerprint: Fingerprint, given: Seeing) -> None:
    """Take care of an alert: it is not told again until it is over."""
    with open_book(here) as book:
        try:
            keeping.acknowledge(book, fingerprint, here.clock(), caller.name, given.comment)
        except BookError as error:
            raise Problem(404, "not_found", f"{error}.".capitalize()) from None
    note(request, caller, "alert.acknowledge", fingerprint, numbers=False)


@router.get("/alerts/silences", summary="Silences that hold")
def silences(here: Here, _caller: Seen) -> list[SilenceShown]:
    """Return what is not told, and until when."""
    with open_book(here) as book:
        return [_silence(silence_json(one)) for one in keeping.read_silences(book, here.clock())]


@router.post("/alerts/silences", summary="Silence alerts", status_code=201)
def add_silence(request: Request, here: Here, caller: Acting, given: SilenceGiven) -> SilenceShown:
    """Tell nobody of alerts with these labels for a time; they are shown all the same."""
    matcher = Matcher(tuple(sorted((name, tuple(values)) for name, values in given.labels.items())))
    if any(not values for values in given.labels.values()):
        raise Problem(422, "invalid", "A label names no value.")
    now = here.clock()
    with open_book(here) as book:
        made = keeping.add_silence(book, matcher, now, now + given.seconds * NS, caller.name, given.comment)
    note(request, caller, "silence.add", str(made.key), numbers=False)
    return _silence(silence_json(made))


@router.delete("/alerts/silences/{key}", summary="End a silence", status_code=204)
def end_silence(
    request: Request, here: Here, caller: Acting, key: Annotated[int, Path(ge=1, le=1 << 53, examples=[1])]
) -> None:
    """Tell of alerts again from now on."""
    with open_book(here) as book:
        try:
            keeping.end_silence(book, key, here.clock())
        except BookError as error:
            raise Problem(404, "not_found", f"{error}.".capitalize()) from None
    note(request, caller, "silence.end", str(key), numbers=False)


def _silence(made: dict[str, Any]) -> SilenceShown:
    return SilenceShown(**made)
