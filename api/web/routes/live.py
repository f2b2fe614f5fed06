"""What is so now, as it changes: server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from api.web.access import Caller, Right, allowed
from api.web.context import Context, Here
from api.web.hub import News
from api.web.problems import Problem

router = APIRouter(tags=["live"])
AGAIN_S: Final = 15.0
"""How often it is asked whether whoever watches may still."""
_EXAMPLE: Final = (
    'id: 41\nevent: live\ndata: {"at":"2025-10-01T13:05:10+00:00","calls_now":214.0,"problem":null,"since":null,'
    '"sites":[{"site":"ashcombe","state":"degraded","since":"2025-10-01T12:50:00+00:00","alert":null,'
    '"calls_now":4.0,"mos":3.94,"poor_percent":12.5,"loss_percent":2.1,"jitter_ms":6.2}],"collectors":{}}\n\n'
)


@router.get(
    "/live",
    summary="What is so now, each second",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `live`, each with the whole of what is so: whoever is slow misses some, and has the "
            "newest all the same. `state` events come before it for sites whose state is another than before.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
async def live(
    here: Here,
    caller: Annotated[Caller, allowed(Right.AGGREGATES)],
    events: Annotated[int | None, Query(ge=1, le=3_600, description="End after so many looks.")] = None,
) -> StreamingResponse:
    """Follow all sites: their state, calls and quality, and what collectors count this second."""
    if here.hub.watching >= here.settings.serve.live_clients:
        raise Problem(503, "too_many_live", "Too many watch already.", headers={"Retry-After": "10"})
    return StreamingResponse(
        _events(here, caller, events),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


async def _events(here: Context, caller: Caller, most: int | None) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    asked, count = loop.time(), 0
    states: dict[str, str] = {}
    serve = here.settings.serve
    yield b"retry: 2000\n\n"
    async for news in here.hub.watch():
        if loop.time() - asked > AGAIN_S:
            asked = loop.time()
            if not here.accounts.still(
                caller, here.clock(), idle_hours=serve.session_idle_hours, hours=serve.session_hours
            ):
                return
        now: dict[str, str] = here.hub.once("states", news, _states)
        if states and now != states:
            for site in [site for site, state in now.items() if states.get(site) != state]:
                changed = {"site": site, "state": now[site], "before": states.get(site), "at": _time(news.at)}
                yield f"event: state\ndata: {json.dumps(changed)}\n\n".encode()
        states = now
        yield here.hub.once("events", news, _octets)
        count += 1
        if most is not None and count >= most:
            return


def _states(news: News) -> dict[str, str]:
    return {} if news.now is None else {one.site: one.state.value for one in news.now.sites}


def _octets(news: News) -> bytes:
    return event(news).encode()


def event(news: News) -> str:
    """Return news as an event."""
    said: dict[str, Any] = {
        "at": _time(news.at),
        "problem": news.problem or None,
        "problem_since": _time(news.since) if news.since else None,
    }
    if news.now is not None:
        counted = [one.calls_now for one in news.now.sites if one.calls_now is not None]
        said |= {
            "calls_now": sum(counted) if counted else None,
            "sites": [_site(one, news.now.since.get(one.site)) for one in news.now.sites],
            "collectors": dict(news.now.live),
        }
    return f"id: {news.number}\nevent: live\ndata: {json.dumps(said, separators=(',', ':'))}\n\n"


def _site(one: Any, since: datetime | None) -> dict[str, Any]:
    of = one.measures
    return {
        "site": one.site,
        "state": one.state.value,
        "since": None if since is None else since.isoformat(),
        "alert": None if one.alert is None else one.alert.rule,
        "calls_now": one.calls_now,
        "mos": None if of is None else of.mos,
        "poor_percent": None if of is None or of.poor.value is None else 100 * of.poor.value,
        "loss_percent": None if of is None else of.loss_percent,
        "jitter_ms": None if of is None else of.jitter_ms,
    }


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1e9, UTC).isoformat(timespec="milliseconds")
