"""What a working thread found, until the loop takes it: bounded by rows, and what is given up is counted."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable

from collector.capture.files import CaptureError
from collector.live.source import Deliver, Found

TURN_ROWS = 500
"""Rows that may wait where whoever puts more in can wait."""
ROWS_LIMIT = 500_000
"""Rows that wait: some minutes of 10,000 calls."""


class Outbox:
    """Takes from a thread without letting it wait, unless it asks to.

    Beyond the limit the oldest intervals are given up first.
    """

    def __init__(self, limit: int = ROWS_LIMIT) -> None:
        self._limit = limit
        self._waiting: deque[Found] = deque()
        self._rows = 0
        self._lock = threading.Condition()
        self._abandoned = False
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._closed = False
        self.lost: Counter[str] = Counter()

    def put(self, found: Found) -> None:
        """Take what was found; from any thread."""
        with self._lock:
            self._waiting.append(found)
            self._rows += _size(found)
            if self._rows > self._limit:
                self._give_up()
        self._loop.call_soon_threadsafe(self._news.set)

    def put_in_turn(self, found: Found) -> None:
        """The same for a thread that has nothing else to do: it waits while much was put in and not yet taken."""
        with self._lock:
            self._lock.wait_for(lambda: self._rows < TURN_ROWS or self._abandoned)
        self.put(found)

    def close(self) -> None:
        """Nothing more comes; from any thread."""
        self._closed = True
        self._loop.call_soon_threadsafe(self._news.set)

    async def pass_on(self, deliver: Deliver) -> None:
        """Deliver everything in order until it is closed and empty."""
        try:
            while True:
                self._news.clear()
                while (found := self._take()) is not None:
                    await deliver(found)
                if self._closed and not self._waiting:
                    return
                await self._news.wait()
        finally:
            with self._lock:
                self._abandoned = True
                self._lock.notify_all()

    async def work(
        self, working: Callable[[Outbox], None], deliver: Deliver, stop: Callable[[], None], name: str
    ) -> None:
        """Deliver what `working` puts in, which runs in a thread and closes the outbox; CaptureError where it fails."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.pass_on(deliver), name=f"outbox of {name}")
                try:
                    await asyncio.to_thread(working, self)
                finally:
                    # Where this task is cancelled the thread still has to come to its end.
                    stop()
        except* CaptureError as group:
            raise group.exceptions[0] from None

    def _take(self) -> Found | None:
        with self._lock:
            if not self._waiting:
                return None
            found = self._waiting.popleft()
            self._rows -= _size(found)
            self._lock.notify_all()
            return found

    def _give_up(self) -> None:
        for place, found in enumerate(self._waiting):
            if self._rows <= self._limit:
                return
            self.lost["points_not_stored"] += len(found.points)
            self._rows -= len(found.points)
            self._waiting[place] = found._replace(points=())
        while self._rows > self._limit and self._waiting:
            found = self._waiting.popleft()
            self._rows -= _size(found)
            self.lost["calls_not_stored"] += len(found.calls)
            self.lost["streams_not_stored"] += len(found.streams)


def _size(found: Found) -> int:
    rows = sum(map(len, found.rows.values()))
    return 1 + len(found.calls) + len(found.streams) + len(found.points) + len(found.reports) + rows
