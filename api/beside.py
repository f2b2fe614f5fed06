"""What a process that stays does beside its work: health, metrics, signs of life, and reading the estate anew."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analytics.health import HealthError, ProcessHealth, forget_old, write_health
from api.logs import event
from api.metrics import MetricsServer, metrics_address
from api.notify import READY, WATCHDOG, notify, reloading, status, watchdog_seconds
from collector.estate.problems import EstateError
from collector.receivers.listening import ListenError

POLL_S = 0.1
_logger = logging.getLogger("callgauge.process")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How a process that stays speaks of itself."""

    log: str = "text"
    """How it logs on stderr: `text`, `logfmt` or `json`."""
    log_level: str = "info"
    """What it logs from: `debug`, `info`, `warning` or `error`."""
    health_seconds: float = 10.0
    """How often its health is written beside the store [s]."""
    metrics: str = ""
    """Address as HOST:PORT where Prometheus finds its metrics; empty: nowhere."""


def stop_signals() -> tuple[signal.Signals, ...]:
    """Signals that end a process in good order: also a hangup, where people watch it and their terminal closes."""
    stops = (signal.SIGTERM, signal.SIGINT)
    return (*stops, signal.SIGHUP) if sys.stderr.isatty() else stops


class Beside:
    """Runs beside the work until cancelled. What fails in it is logged; the work goes on."""

    def __init__(
        self,
        settings: ProcessSettings,
        store: Path,
        health: Callable[[bool], ProcessHealth],
        ready: Callable[[], bool],
        reload: Callable[[], str],
    ) -> None:
        """`health` gives what holds now, told whether the process has ended; `reload` says what it did."""
        self._settings = settings
        self._store = store
        self._health = health
        self._ready = ready
        self._reload = reload
        self._reload_wanted = asyncio.Event()
        self._said = ""

    def report(self, sentence: str) -> None:
        """Say a line of how the work goes."""
        _logger.info("%s", sentence)

    async def run(self) -> None:
        """Work until cancelled. ListenError where the metrics can have no such address."""
        loop = asyncio.get_running_loop()
        by_signal = signal.SIGHUP not in stop_signals()
        if by_signal:
            loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        metrics = MetricsServer(lambda: self._health(False))
        try:
            if self._settings.metrics:
                await self._listen(metrics)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tell_health(), name="health")
                tasks.create_task(self._tell_readiness(), name="readiness")
                tasks.create_task(self._reload_when_told(), name="reload")
                tasks.create_task(self._live(), name="watchdog")
        finally:
            if by_signal:
                loop.remove_signal_handler(signal.SIGHUP)
                # What is in hand is still being stored.
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            await metrics.close()

    def last_word(self) -> None:
        """Write the health of a process that has ended in good order."""
        self._write(ended=True)

    async def _listen(self, metrics: MetricsServer) -> None:
        try:
            host, port = metrics_address(self._settings.metrics)
            await metrics.open(host, port)
        except ValueError as error:
            raise ListenError(str(error)) from error
        except OSError as error:
            raise ListenError(f"metrics cannot be served on {self._settings.metrics}: {error.strerror}") from error
        event("process", "metrics_served", address=self._settings.metrics)

    async def _tell_health(self) -> None:
        await asyncio.to_thread(forget_old, self._store, time.time_ns())
        while True:
            await asyncio.to_thread(self._write)
            await asyncio.sleep(self._settings.health_seconds)

    def _write(self, ended: bool = False) -> None:
        try:
            write_health(self._store, self._health(ended))
        except HealthError as error:
            if str(error) != self._said:
                event("process", "health_not_written", logging.WARNING, reason=str(error))
            self._said = str(error)
        else:
            self._said = ""

    async def _tell_readiness(self) -> None:
        while not self._ready():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        notify(READY, status("working"))

    async def _reload_when_told(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            notify(reloading())
            try:
                event("process", "reloaded", said=await asyncio.to_thread(self._reload))
            except EstateError as error:
                event("process", "reload_refused", logging.ERROR, reason=str(error), kept="the estate before")
            notify(READY)

    async def _live(self) -> None:
        """Show that the loop turns: where it hangs, systemd begins the process anew."""
        every = watchdog_seconds()
        while every is not None:
            notify(WATCHDOG)
            await asyncio.sleep(every)
