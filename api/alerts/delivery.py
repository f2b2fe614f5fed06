"""Sends what waits in the book: one task an endpoint, so that a slow one delays no other."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from analytics.alerts.facts import NS
from api.alerts import outbox
from api.alerts.addresses import Network
from api.alerts.book import Book, BookError
from api.alerts.outbox import Attempt, Endpoint, Message
from api.alerts.retrying import Next, after_attempt
from api.alerts.sending import Answer, Letter, Line, post

LOOK_S: Final = 1.0
"""How often it is looked for new endpoints and for what other processes have put down [s]."""
TIDY_S: Final = 3_600.0
_logger = logging.getLogger("callgauge.webhooks")


class Delivery:
    """Delivers until cancelled."""

    def __init__(
        self,
        book: Book,
        clock: Callable[[], int],
        allowed: Sequence[Network] = (),
        timeout_s: float = 15.0,
        keep_days: int = 30,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls` is what endpoints are trusted by, the system's authorities if not given."""
        self._book = book
        self._clock = clock
        self._line = Line(allowed, timeout_s, tls or ssl.create_default_context())
        self._keep_days = keep_days
        self.put = asyncio.Event()
        """Set by who puts messages down, so that they go at once."""
        self._wakes: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tidy(), name="webhook log")
            running: dict[str, asyncio.Task[None]] = {}
            while True:
                try:
                    names = {one.name for one in await asyncio.to_thread(outbox.endpoints, self._book)}
                except BookError as error:
                    _logger.warning("%s", error)
                    names = set(running)
                for name in names - set(running):
                    self._wakes[name] = asyncio.Event()
                    running[name] = tasks.create_task(self._serve(name), name=f"webhook {name}")
                for name in set(running) - names:
                    running.pop(name).cancel()
                await _set_within(self.put, LOOK_S)
                self.put.clear()
                for wake in self._wakes.values():
                    wake.set()

    async def _serve(self, name: str) -> None:
        while True:
            try:
                if await self.once(name):
                    continue
            except BookError as error:
                _logger.warning("%s", error)
            wake = self._wakes[name]
            await wake.wait()
            wake.clear()

    async def once(self, name: str) -> bool:
        """Send what is due to an endpoint, one message; whether there was one. BookError."""
        now = self._clock()
        endpoint, message = await asyncio.to_thread(self._due, name, now)
        if endpoint is None or message is None:
            return False
        await self.deliver(endpoint, message)
        return True

    def _due(self, name: str, now: int) -> tuple[Endpoint | None, Message | None]:
        endpoint = outbox.endpoint(self._book, name)
        if endpoint.disabled_at is not None or endpoint.not_before > now:
            return None, None
        return endpoint, outbox.due_message(self._book, name, now)[0]

    async def deliver(self, endpoint: Endpoint, message: Message) -> Attempt:
        """Try to send a message once, and put down what came of it. BookError."""
        begun = self._clock()
        letter = Letter(endpoint.url, message.id, message.body, endpoint.secrets_at(begun), begun)
        answer = await post(letter, self._line)
        return await asyncio.to_thread(self._note, endpoint, message, answer, begun)

    def _note(self, endpoint: Endpoint, message: Message, answer: Answer, begun: int) -> Attempt:
        now = self._clock()
        spread = random.random()
        decision = after_attempt(now, message.attempts, answer.status, answer.retry_after, spread)
        outcome = {Next.DELIVERED: "delivered", Next.DISABLE: "disabled"}.get(decision.next, "failed")
        outcome = "refused" if answer.refused else outcome
        attempt = Attempt(message.id, endpoint.name, begun, answer.took_ms, answer.status, outcome, answer.note)
        match decision.next:
            case Next.DELIVERED:
                outbox.note_delivered(self._book, attempt, now)
            case Next.DISABLE:
                outbox.note_disabled(self._book, attempt, "it answered 410 Gone", now)
            case Next.AGAIN | Next.GIVE_UP:
                outbox.note_failed(self._book, attempt, decision.at, decision.rest_until, now)
        if decision.next is not Next.DELIVERED:
            said = answer.note if answer.status is None else f"status {answer.status}"
            _logger.warning("endpoint %s: %s (%s)", endpoint.name, outcome, said)
        return attempt

    async def _tidy(self) -> None:
        while True:
            try:
                before = self._clock() - self._keep_days * 86_400 * NS
                await asyncio.to_thread(outbox.forget_done, self._book, before)
            except BookError as error:
                _logger.warning("%s", error)
            await asyncio.sleep(TIDY_S)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
