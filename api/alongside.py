"""Rating days while an import still brings the next ones: the two take turns on the processors' cores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from analytics.store.lake import Lake
    from analytics.usage.derive import Book, Derived


class _LeftOffError(Exception):
    """The import broke off: what is not rated yet is not wanted any more."""


class Alongside:
    """Rates in a thread of its own. Whatever it leaves out, and what later files touch again, is pending as ever."""

    def __init__(self, lake: Lake, book: Book, clock: Callable[[], datetime]) -> None:
        self._lake = lake
        self._book = book
        self._clock = clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rating")
        self._lock = threading.Lock()
        self._limit = self._done = date.min
        self._runs: list[Future[Derived]] = []
        self._is_running = False
        self._is_left_off = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_left_off = True
        self._pool.shutdown()

    def until(self, whole: date) -> None:
        """Rate what has all its records; `whole` is the last UTC day of which none should be missing."""
        with self._lock:
            # Calls of a day go on into the next one.
            self._limit = max(self._limit, whole - timedelta(days=1))
            if self._limit > self._done and not self._is_running:
                self._is_running = True
                self._runs.append(self._pool.submit(self._work))

    def finish(self) -> Derived:
        """Wait for what is being rated, and return all that was; raise what went wrong."""
        from analytics.usage.derive import Derived

        return sum((run.result() for run in self._runs), Derived())

    def _work(self) -> Derived:
        from analytics.usage.derive import Derived, derive, waiting
        from api.usage import roomy

        made = Derived()
        with roomy(self._lake) as connection:
            while (limit := self._next()) is not None:
                now = self._clock()
                found = waiting(self._lake, connection)
                days = [day for day in found.days if day <= limit]
                made += derive(self._lake, connection, self._book, days, now, self._go_on, found)
        return made

    def _next(self) -> date | None:
        """The limit to rate up to; None, and the run is over, where all of it is rated."""
        with self._lock:
            if self._limit <= self._done or self._is_left_off:
                self._is_running = False
                return None
            self._done = self._limit
            return self._limit

    def _go_on(self, *_: int) -> None:
        if self._is_left_off:
            raise _LeftOffError
