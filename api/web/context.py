"""What every request needs, made once at the start and handed down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from analytics.sites import Estate
from analytics.store.lake import Lake
from analytics.store.series import SiteSeries
from api.settings import Settings
from api.web.accounts import Accounts
from api.web.audit import AuditLog
from api.web.masks import Masks

if TYPE_CHECKING:
    from api.web.hub import LiveHub

Clock = Callable[[], int]
"""Time now [ns since 1970]."""


@dataclass(frozen=True, slots=True)
class Context:
    """The application's surroundings."""

    settings: Settings
    lake: Lake
    series: SiteSeries
    """Sites over time, from the store that is set: the lake or InfluxDB."""
    estate: Callable[[], Estate]
    """The estate as last read, empty where none is set. Called anew each time, for it may be read again."""
    reload: Callable[[], str]
    """Reads the estate anew; what to say of it. EstateError where it has a fault: the one before stays."""
    clock: Clock
    accounts: Accounts
    audit: AuditLog
    masks: Masks
    """Names that stand for people's numbers."""
    hub: LiveHub
    """What is so now, looked up once a second for all who watch."""

    @property
    def store(self) -> Path:
        """Folder of the store."""
        return self.lake.root


def context_of(connection: HTTPConnection) -> Context:
    """Return the context of the application that serves a request."""
    found = connection.app.state.context
    assert isinstance(found, Context)
    return found


async def _here(connection: HTTPConnection) -> Context:
    # Dependencies that are no coroutines are each sent to a thread, which takes longer than they do.
    return context_of(connection)


Here = Annotated[Context, Depends(_here)]
"""The type of a route's parameter that wants the context."""
