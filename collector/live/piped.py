"""A capture that another program writes, as a live source: `ssh SITE tcpdump -w - | callgauge collect --read -`."""

from __future__ import annotations

import threading
import time
from collections import Counter

from collector.capture.files import Source, open_source
from collector.live.engine import LiveEngine, LiveSettings
from collector.live.glance import Glance
from collector.live.outbox import Outbox
from collector.live.packet_health import packet_health
from collector.live.source import Deliver, SourceHealth


class PipedSource:
    """Reads a pipe until it ends or is told to stop."""

    def __init__(self, path: str, live: LiveSettings = LiveSettings()) -> None:  # noqa: B008  # immutable
        """`path` names a file or FIFO; `-` is standard input. CaptureError where it cannot be opened."""
        self._name = "standard input" if path == "-" else path
        self._source: Source = open_source(path)
        self._engine = LiveEngine(live)
        self._lost: Counter[str] = Counter()
        self._outbox: Outbox | None = None
        self._stopping = threading.Event()
        self._running = False
        self._problem: str | None = None

    @property
    def name(self) -> str:
        """What it reads."""
        return self._name

    @property
    def glance(self) -> Glance | None:
        """What goes on, as of a second ago."""
        return self._engine.glance

    async def run(self, deliver: Deliver) -> None:
        """Read until the end or `stop`. Raises CaptureError where what comes is no capture."""
        outbox = self._outbox = Outbox()
        try:
            await outbox.work(self._work, deliver, self.stop, self.name)
        finally:
            self._running = False
            self._source.close()

    def stop(self) -> None:
        """Read no more; what was read is still measured."""
        self._stopping.set()
        self._source.cancel()

    def _work(self, outbox: Outbox) -> None:
        try:
            cut = self._engine.follow(self._source, outbox.put, time.monotonic, self._began)
            if not self._stopping.is_set():
                self._problem = cut or "it has ended"
                self._lost["packets_cut"] += cut is not None
            for found in self._engine.finish_live():
                outbox.put_in_turn(found)
        finally:
            outbox.close()

    def _began(self) -> None:
        self._running = True

    def health(self) -> SourceHealth:
        """How it goes."""
        lost = Counter(self._lost)
        if self._outbox is not None:
            lost.update(self._outbox.lost)
        return packet_health(self.name, self._engine, lost, running=self._running, problem=self._problem)
