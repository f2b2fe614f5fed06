"""The server's process: the context made from the settings, and uvicorn until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial

import uvicorn

from analytics.questions.calls import hold_calls
from analytics.sites import Estate, EstateSettings
from analytics.store.lake import Lake
from analytics.store.series import LakeSeries, SiteSeries
from analytics.store.settings import StoreError
from api.alerts.addresses import networks
from api.alerts.running import kept_running, read_watch, run_alerts
from api.logs import event
from api.metrics import metrics_address
from api.settings import Settings
from api.web.accounts import Accounts
from api.web.app import build
from api.web.audit import AuditLog
from api.web.context import Context
from api.web.hub import LiveHub
from api.web.looking import Look
from api.web.masks import Masks
from api.web.promptly import settle
from collector.estate.folder import load_estate


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
            config = uvicorn.Config(
                build(
                    context,
                    beside=[
                        partial(kept_running, partial(run_alerts, lake, context.estate, settings, time.time_ns)),
                        partial(calls_held, lake),
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
            uvicorn.Server(config).run()


async def calls_held(lake: Lake) -> None:
    """Read the newest calls into memory, where searches find them; until then, and without, they read files."""
    try:
        await asyncio.to_thread(hold_calls, lake)
    except StoreError as error:
        event("serve", "calls_not_held", logging.WARNING, reason=str(error))
    settle()


def make_context(settings: Settings, lake: Lake) -> Context:
    """Return the surroundings that the settings describe."""
    estate = Estate(EstateSettings("")) if settings.estate is None else load_estate(settings.estate)
    series = site_series(settings, lake)

    def the_estate() -> Estate:
        return estate

    accounts = Accounts(lake.root)
    return Context(
        settings=settings,
        lake=lake,
        series=series,
        estate=the_estate,
        clock=time.time_ns,
        accounts=accounts,
        audit=AuditLog(lake.root),
        masks=Masks(accounts.secret("masks")),
        hub=LiveHub(Look(lake, series, the_estate), time.time_ns),
    )


def site_series(settings: Settings, lake: Lake) -> SiteSeries:
    """Return sites over time as the store that is set answers it."""
    if not settings.wants("influx"):
        return LakeSeries(lake)
    from analytics.store.influx_queries import InfluxSeries

    return InfluxSeries(settings.influx, clock=lambda: datetime.now(UTC))
