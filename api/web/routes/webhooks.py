"""Webhooks: where alerts are sent, every attempt to deliver, tests and replays."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from analytics.alerts.facts import Matcher
from api.alerts import outbox
from api.alerts.bodies import when
from api.alerts.book import BookError
from api.alerts.links import link_base
from api.alerts.outbox import Attempt, Endpoint
from api.alerts.shown import endpoint_json, message_json
from api.alerts.trying import put_test, try_now
from api.web.access import Caller, Right, allowed
from api.web.context import Here
from api.web.noting import note
from api.web.problems import Problem
from api.web.routes.alerts import Label, open_book

router = APIRouter(tags=["webhooks"])
Admin = Annotated[Caller, allowed(Right.ADMIN)]
NAME = r"^[A-Za-z0-9_.\-]{1,64}$"
Name = Annotated[str, Path(pattern=NAME, examples=["on-call"])]
MessageId = Annotated[str, Path(pattern=r"^msg_[0-9a-f]{32}$", examples=["msg_d28447373761465e85b845553a9848b4"])]


class EndpointShown(BaseModel):
    """Where alerts are sent, without its secret."""

    name: str = Field(examples=["on-call"])
    url: str = Field(examples=["https://hooks.example/…"], description="Without its path, which may be secret.")
    shape: str = Field(examples=["alertmanager"])
    labels: dict[str, list[str]] = Field(examples=[{"severity": ["critical"]}], description="Alerts that it gets.")
    made: str = Field(examples=["2025-10-01T13:00:00.000Z"])
    disabled: bool = Field(examples=[False])
    disabled_why: str = Field(examples=[""])
    waiting: int = Field(examples=[0], description="Messages that wait.")
    failed_attempts: int = Field(examples=[0], description="Most failed attempts of one of them.")


class EndpointMade(EndpointShown):
    """An endpoint with its secret, which is shown this once."""

    secret: str = Field(examples=["whsec_…"])


class EndpointGiven(BaseModel):
    """Where alerts shall be sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"additionalProperties": False})
    name: Annotated[str, Field(pattern=NAME, examples=["on-call"])]
    url: Annotated[str, Field(max_length=2_048, examples=["https://hooks.example/alerts"])]
    shape: Annotated[str, Field(pattern=f"^({'|'.join(outbox.SHAPES)})$", examples=["alertmanager"])] = "alertmanager"
    labels: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=64)], list[Label]],
        Field(max_length=10, examples=[{"severity": ["critical"]}]),
    ] = {}


class AttemptShown(BaseModel):
    """One attempt to deliver."""

    at: str = Field(examples=["2025-10-01T13:00:05.000Z"])
    took_ms: int = Field(examples=[38])
    status: int | None = Field(examples=[200], description="None: no answer came.")
    outcome: str = Field(examples=["delivered"], description="delivered, failed, refused or disabled.")
    note: str = Field(examples=["ok"])


class DeliveryShown(BaseModel):
    """A message and its attempts."""

    id: str = Field(examples=["msg_d28447373761465e85b845553a9848b4"], description="`webhook-id` of every attempt.")
    endpoint: str = Field(examples=["on-call"])
    group: dict[str, str] = Field(examples=[{"alertname": "site_degraded", "site": "ashcombe"}])
    event: str = Field(examples=["first"], description="first, more, resolved, repeat or test.")
    state: str = Field(examples=["delivered"], description="waiting, delivered, given_up or dropped.")
    made: str = Field(examples=["2025-10-01T13:00:05.000Z"])
    next_attempt: str | None = Field(examples=[None])
    attempts: list[AttemptShown]


@router.get("/webhooks", summary="All endpoints")
def endpoints(here: Here, _caller: Admin) -> list[EndpointShown]:
    """Return where alerts are sent, and what waits there."""
    with open_book(here) as book:
        return [EndpointShown(**endpoint_json(one, outbox.backlog(book, one.name))) for one in outbox.endpoints(book)]


@router.post("/webhooks", summary="Add an endpoint", status_code=201)
def add(request: Request, here: Here, caller: Admin, given: EndpointGiven) -> EndpointMade:
    """Send alerts somewhere from now on. The secret is in the answer, and is shown nowhere again."""
    matcher = Matcher(tuple(sorted((name, tuple(values)) for name, values in given.labels.items() if values)))
    with open_book(here) as book:
        try:
            made = outbox.add_endpoint(book, given.name, given.url, given.shape, matcher, here.clock())
        except BookError as error:
            raise Problem(422, "invalid", f"{error}.".capitalize()) from None
    note(request, caller, "webhook.add", made.name, numbers=False, to=made.shown_url)
    return _made(made)


@router.delete("/webhooks/{name}", summary="Remove an endpoint", status_code=204)
def remove(request: Request, here: Here, caller: Admin, name: Name) -> None:
    """Forget an endpoint, its secret and its log."""
    with open_book(here) as book:
        try:
            outbox.remove_endpoint(book, name)
        except BookError as error:
            raise _missing(error) from None
    note(request, caller, "webhook.remove", name, numbers=False)


@router.post("/webhooks/{name}/rotate", summary="Give an endpoint a new secret")
def rotate(request: Request, here: Here, caller: Admin, name: Name) -> EndpointMade:
    """Return the new secret, this once; for a day the old one signs beside it."""
    with open_book(here) as book:
        try:
            made = outbox.rotate_secret(book, name, here.clock())
        except BookError as error:
            raise _missing(error) from None
    note(request, caller, "webhook.rotate", name, numbers=False)
    return _made(made)


@router.post("/webhooks/{name}/enable", summary="Enable an endpoint", status_code=204)
def enable(request: Request, here: Here, caller: Admin, name: Name) -> None:
    """Send to an endpoint again that was disabled; what waits goes at once."""
    with open_book(here) as book:
        try:
            outbox.enable_endpoint(book, name, here.clock())
        except BookError as error:
            raise _missing(error) from None
    note(request, caller, "webhook.enable", name, numbers=False)


@router.post("/webhooks/{name}/test", summary="Send a test")
def test(request: Request, here: Here, caller: Admin, name: Name) -> AttemptShown:
    """Send a test alert now, and return what came of it."""
    with open_book(here) as book:
        try:
            to = outbox.endpoint(book, name)
        except BookError as error:
            raise _missing(error) from None
        note(request, caller, "webhook.test", name, numbers=False)
        key = put_test(book, to, here.clock(), link_base(here.settings))
        return _attempt(asyncio.run(try_now(book, to, key, here.settings.alerts, here.clock)))


@router.get("/deliveries", summary="Messages and their attempts")
def deliveries(
    here: Here,
    _caller: Admin,
    endpoint: Annotated[str | None, Query(pattern=NAME, examples=["on-call"])] = None,
    most: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> list[DeliveryShown]:
    """Return the newest messages with every attempt to deliver them."""
    with open_book(here) as book:
        found = outbox.messages(book, endpoint, most)
        return [DeliveryShown(**message_json(one, outbox.attempts(book, one.id))) for one in found]


@router.post("/deliveries/{id}/replay", summary="Send a message once more", status_code=202)
def replay(request: Request, here: Here, caller: Admin, id: MessageId) -> DeliveryShown:
    """Put a message in the queue once more, under the same id."""
    with open_book(here) as book:
        try:
            made = outbox.replay(book, id, here.clock())
        except BookError as error:
            raise _missing(error) from None
        note(request, caller, "webhook.replay", id, numbers=False)
        return DeliveryShown(**message_json(made, outbox.attempts(book, id)))


def _missing(error: BookError) -> Problem:
    return Problem(404, "not_found", f"{error}.".capitalize())


def _made(made: Endpoint) -> EndpointMade:
    return EndpointMade(**endpoint_json(made, outbox.Backlog(0, 0, None)), secret=made.secret)


def _attempt(one: Attempt) -> AttemptShown:
    return AttemptShown(at=when(one.at), took_ms=one.took_ms, status=one.status, outcome=one.outcome, note=one.note)
