"""The server's process: the context made from the settings, and uvicorn until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from analytics.health import ProcessHealth, balanced
from analytics.questions.calls import hold_calls
from analytics.sites import Estate, EstateSettings
from analytics.store.lake import Lake
from analytics.store.series import LakeSeries, SiteSeries
from analytics.store.settings import StoreError
from api.alerts.addresses import networks
from api.alerts.running import kept_running, read_watch, run_alerts
from api.beside import Beside
from api.logs import event
from api.metrics import metrics_address
from api.path_health import process_health
from api.settings import Settings
from api.web.accounts import Accounts
from api.web.app import build
from api.web.audit import AuditLog
from api.web.context import Context
from api.web.hub import LiveHub
from api.web.looking import Look
from api.web.masks import Masks
from api.web.promptly import settle
from api.wording import plural
from collector.estate.folder import load_estate


class EstateAsRead:
    """The estate of a folder as it was last read; empty where there is none."""

    def __init__(self, folder: Path | None) -> None:
        """Read it. EstateError where it has a fault."""
        self._folder = folder
        self._estate = Estate(EstateSettings("")) if folder is None else load_estate(folder)

    def __call__(self) -> Estate:
        """Return it."""
        return self._estate

    def reload(self) -> str:
        """Read it anew; what to say of it. EstateError where it has a fault: the one before stays."""
        if self._folder is None:
            return "there is no estate to read anew"
        self._estate = load_estate(self._folder)
        return f"the estate was read anew: {plural(len(self._estate.sites), 'site')}"


def serve_until_stopped(settings: Settings) -> None:
    """Serve; StoreError, EstateError or ValueError where that cannot begin."""
    host, port = metrics_address(settings.serve.listen)
    lake = Lake.open(settings.store, create=True, settings=settings.lake_settings())
    with closing(lake):
        context = make_context(settings, lake)
        read_watch(settings.alerts)
        networks(settings.alerts.allowed_networks)
        with closing(context.accounts):
            first = context.accounts.first_token(context.clock())
            if first is not None:
                context.audit.append(context.clock(), "nobody", "token.first_start")
                sys.stdout.write(f"first start: this admin token is shown once: {first}\n")
                sys.stdout.flush()
            serve = settings.serve
            beside = beside_serving(context, lambda: server.started)
            config = uvicorn.Config(
                build(
                    context,
                    beside=[
                        partial(kept_running, partial(run_alerts, lake, context.estate, settings, time.time_ns)),
                        partial(calls_held, lake),
                        beside.run,
                    ],
                ),
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(serve.proxies),
                forwarded_allow_ips=list(serve.proxies),
                timeout_graceful_shutdown=3,
                h11_max_incomplete_event_size=32_768,
                ws_max_size=serve.body_octets,
                limit_concurrency=2_000,
            )
            server = uvicorn.Server(config)
            for number in (signal.SIGTERM, signal.SIGINT):
                # The server raises again, at its end, what told it to end: the last word would not be written.
                signal.signal(number, _ended)
            server.run()
            beside.last_word()


def _ended(_number: int, _frame: FrameType | None) -> None:
    """Take a signal that was followed already."""


def beside_serving(context: Context, ready: Callable[[], bool]) -> Beside:
    """Return what a server does beside serving: its health, signs of life, and reading the estate anew at SIGHUP."""
    settings, began = context.settings, context.clock()
    # It has metrics of its own, where it serves: `process.metrics` is for processes that do not.
    process = replace(settings.process, metrics="")
    name = settings.name or os.uname().nodename

    def health(ended: bool) -> ProcessHealth:
        hub = context.hub
        told, missed = hub.told, hub.missed
        shown = balanced("shown", "events", told + missed, told, aside={"slow_watcher": missed}, rest="waiting")
        problem = hub.news.problem
        return process_health(
            "serve",
            name,
            began,
            context.clock(),
            process.health_seconds,
            [shown],
            gauges={"live_clients": hub.watching},
            problems=[f"what is so now cannot be found: {problem}"] if problem and not ended else [],
            ended=ended,
        )

    return Beside(process, context.store, health, ready, context.reload)


async def calls_held(lake: Lake) -> None:
    """Read the newest calls into memory, where searches find them; until then, and without, they read files."""
    try:
        await asyncio.to_thread(hold_calls, lake)
    except StoreError as error:
        event("serve", "calls_not_held", logging.WARNING, reason=str(error))
    settle()


def make_context(settings: Settings, lake: Lake) -> Context:
    """Return the surroundings that the settings describe."""
    estate = EstateAsRead(settings.estate)
    series = site_series(settings, lake)
    accounts = Accounts(lake.root)
    return Context(
        settings=settings,
        lake=lake,
        series=series,
        estate=estate,
        reload=estate.reload,
        clock=time.time_ns,
        accounts=accounts,
        audit=AuditLog(lake.root),
        masks=Masks(accounts.secret("masks")),
        hub=LiveHub(Look(lake, series, estate, read_watch(settings.alerts).rules), time.time_ns),
    )


def site_series(settings: Settings, lake: Lake) -> SiteSeries:
    """Return sites over time as the store that is set answers it."""
    if not settings.wants("influx"):
        return LakeSeries(lake)
    from analytics.store.influx_queries import InfluxSeries

    return InfluxSeries(settings.influx, clock=lambda: datetime.now(UTC))
