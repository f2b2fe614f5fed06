"""The whole of it: rules read, the loop and the deliveries run side by side; in `serve`, or alone."""

from __future__ import annotations

import asyncio
import logging
import tomllib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from analytics.alerts.grouping import Timing
from analytics.alerts.muting import maintenance_of
from analytics.alerts.rules import RuleError, rules_of
from api.alerts import outbox
from api.alerts.addresses import networks
from api.alerts.book import Book
from api.alerts.delivery import Delivery
from api.alerts.links import link_base, link_warning
from api.alerts.loop import Alerting, Turn, Watch, evaluating
from api.alerts.sampler import Sampler
from api.alerts.savings import InBackground, sample_savings

if TYPE_CHECKING:
    from analytics.sites import Estate
    from analytics.store.lake import Lake
    from api.alerts.settings import AlertSettings
    from api.settings import Settings

STAND_BY_S: Final = 2.0
"""How often a process that stands by looks whether the turn is free [s]."""
AGAIN_S: Final = 10.0
MOST_OCTETS: Final = 1 << 20
_logger = logging.getLogger("callgauge.alerts")


def read_watch(settings: AlertSettings, zone: str = "UTC", public_url: str = "") -> Watch:
    """Return what is watched, with what the file of rules says; RuleError names what is wrong in it."""
    stated: dict[str, Any] = {}
    if settings.rules is not None:
        try:
            if settings.rules.stat().st_size > MOST_OCTETS:
                raise RuleError(f"{settings.rules} is too large for a file of rules")
            stated = tomllib.loads(settings.rules.read_text(encoding="utf-8"))
        except OSError as error:
            raise RuleError(f"{settings.rules} cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RuleError(f"{settings.rules} is no TOML: {error}") from error
    unknown = sorted(set(stated) - {"rules", "maintenance"})
    if unknown:
        raise RuleError(f"{settings.rules}: there is no section {unknown[0]}; there are rules and maintenance")
    try:
        rules = rules_of(_table(stated, "rules"))
        windows = maintenance_of(_table(stated, "maintenance"), zone)
    except RuleError as error:
        raise RuleError(f"{settings.rules}: {error}") from error
    timing = Timing(settings.group_wait_seconds, settings.group_interval_seconds, settings.repeat_seconds)
    return Watch(rules, windows, timing, public_url, zone)


def _table(stated: dict[str, Any], name: str) -> dict[str, Any]:
    table = stated.get(name, {})
    if not isinstance(table, dict):
        raise RuleError(f"{name} must be a table")
    return table


def zone_of(estate: Estate | None) -> str:
    """Return the zone that maintenance windows hold in where they name none."""
    return "UTC" if estate is None else estate.settings.timezone


async def run_alerts(
    lake: Lake, estate: Callable[[], Estate | None], settings: Settings, clock: Callable[[], int]
) -> None:
    """Look for alerts and deliver them until cancelled; stands by while another process of the store does it.

    RuleError or ValueError where the settings cannot be used, BookError where the book cannot be opened.
    """
    given = settings.alerts
    watch = read_watch(given, zone_of(estate()), link_base(settings))
    allowed = networks(given.allowed_networks)
    book = await asyncio.to_thread(Book.open, lake.root)
    turn = Turn(book)
    savings = None if settings.estate is None else InBackground(partial(sample_savings, lake.root, settings.estate))
    try:
        while not await asyncio.to_thread(turn.take):  # noqa: ASYNC110 - the other is another process
            await asyncio.sleep(STAND_BY_S)
        alerting = Alerting(book, Sampler(lake, estate, savings), watch, clock())
        delivery = Delivery(book, clock, allowed, given.timeout_seconds, given.keep_days)
        if outbox.endpoints(book) and (warning := link_warning(settings)):
            _logger.warning("%s", warning)
        _logger.info("%d rules are watched", sum(rule.enabled for rule in watch.rules))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(evaluating(alerting, lake, given.every_seconds, clock, delivery.put), name="alerts")
            tasks.create_task(delivery.run(), name="webhooks")
    finally:
        turn.give_back()
        if savings is not None:
            savings.close()
        book.close()


async def kept_running(make: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run something until cancelled, and begin it anew where it fails: what runs beside it goes on."""
    while True:
        task = asyncio.ensure_future(make())
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("alerts have failed and begin anew: %s", error, exc_info=error)
        await asyncio.sleep(AGAIN_S)
