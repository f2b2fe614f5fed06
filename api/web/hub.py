"""What is so now, looked up once a second and handed to all who watch, however many they are.

A watcher that is slower than the news misses what lies between: it gets the newest, never a queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

EVERY_S: Final = 1.0
AT_ONCE: Final = 20
"""Watchers that are told in one go: the next ones after a pause, in which others who ask have their turn."""
PAUSE_S: Final = 0.005
_logger = logging.getLogger("callgauge.web")


@dataclass(frozen=True, slots=True)
class News:
    """What was found at one look."""

    number: int
    """Counts up with each look."""
    at: int
    """When [ns since 1970]."""
    now: Any
    """What is so; None where it could not be found."""
    problem: str = ""
    """Why it could not."""
    since: int = 0
    """Since when it could not [ns since 1970]; 0: it could."""


@dataclass(slots=True)
class LiveHub:
    """Looks and tells. `look` runs in a thread."""

    look: Callable[[int], Any]
    clock: Callable[[], int]
    every: float = EVERY_S
    _news: News = field(default_factory=lambda: News(0, 0, None))
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)
    watching: int = 0
    """How many watch now."""
    told: int = 0
    """News that were handed to watchers."""
    missed: int = 0
    """News that watchers were too slow for."""
    _made: dict[str, tuple[int, Any]] = field(default_factory=dict)

    @property
    def news(self) -> News:
        """The newest."""
        return self._news

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            began = asyncio.get_running_loop().time()
            await self.turn()
            await asyncio.sleep(max(0.05, self.every - (asyncio.get_running_loop().time() - began)))

    async def turn(self) -> None:
        """Look once and tell."""
        at = self.clock()
        try:
            now = await asyncio.to_thread(self.look, at)
            made = News(self._news.number + 1, at, now)
        except Exception as error:
            # What cannot be looked up now may be there again a second later; those who watch are told.
            if not self._news.problem:
                _logger.exception("the live view finds nothing")
            made = News(self._news.number + 1, at, self._news.now, str(error), self._news.since or at)
        self._news = made
        waiting, self._waiting = self._waiting, []
        for begin in range(0, len(waiting), AT_ONCE):
            if begin:
                await asyncio.sleep(PAUSE_S)
            for one in waiting[begin : begin + AT_ONCE]:
                if not one.done():
                    one.set_result(None)

    def once(self, kind: str, news: News, make: Callable[[News], Any]) -> Any:
        """Return what `make` makes of news, made once for all who want the same kind of it."""
        number, made = self._made.get(kind, (0, None))
        if number != news.number or news.number == 0:
            made = make(news)
            self._made[kind] = (news.number, made)
        return made

    async def watch(self) -> AsyncIterator[News]:
        """Yield the newest at once, then each that is newer."""
        self.watching += 1
        seen = 0
        try:
            while True:
                if (number := self._news.number) > seen:
                    self.missed += number - seen - 1 if seen else 0
                    self.told += 1
                    seen = number
                    yield self._news
                else:
                    coming: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.append(coming)
                    await coming
        finally:
            self.watching -= 1
