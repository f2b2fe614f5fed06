"""Packets of interfaces as a live source: the child that captures, the thread that measures, and what is delivered."""

from __future__ import annotations

import threading
import time
from collections import Counter

from collector.capture.files import CaptureError
from collector.live.child import RING, CaptureChild, PacketSettings, program_for
from collector.live.engine import LiveEngine, LiveSettings
from collector.live.glance import Glance
from collector.live.outbox import Outbox
from collector.live.packet_health import packet_health
from collector.live.ring import RingCapture
from collector.live.source import Deliver, SourceHealth
from collector.live.warm import load_kernels

NUDGE_S = 0.5


def begun(settings: PacketSettings) -> CaptureChild | RingCapture:
    """A capture that has begun; CaptureError where it cannot."""
    return RingCapture(settings) if settings.program == RING else CaptureChild(settings)


class PacketSource:
    """Captures on interfaces until it is stopped; a child that dies is begun anew, and the measuring goes on."""

    def __init__(self, settings: PacketSettings, live: LiveSettings = LiveSettings()) -> None:  # noqa: B008  # immutable
        program_for(settings)
        self._settings = settings
        self._engine = LiveEngine(live)
        self._child: CaptureChild | RingCapture | None = None
        self._stopping = threading.Event()
        self._lost: Counter[str] = Counter()
        self._outbox: Outbox | None = None
        self._restarts = 0
        self._heard = False
        self._problem: str | None = None
        self._running = False

    @property
    def name(self) -> str:
        """The interfaces."""
        return ",".join(self._settings.interfaces)

    @property
    def glance(self) -> Glance | None:
        """What goes on, as of a second ago."""
        return self._engine.glance

    async def run(self, deliver: Deliver) -> None:
        """Capture until `stop`. Raises CaptureError where the first child cannot capture at all."""
        outbox = self._outbox = Outbox()
        try:
            await outbox.work(self._work, deliver, self.stop, self.name)
        finally:
            self._running = False

    def stop(self) -> None:
        """Take no more packets in; what the child holds is still measured."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.stop()

    def _work(self, outbox: Outbox) -> None:
        wait = self._settings.backoff_s
        try:
            load_kernels()
            while not self._stopping.is_set():
                begun = time.monotonic()
                problem = self._follow_child(outbox)
                if self._stopping.is_set():
                    break
                if not self._heard:
                    raise CaptureError(f"{self.name}: {problem}")
                self._problem, self._running = problem, False
                self._restarts += 1
                if time.monotonic() - begun > self._settings.longest_backoff_s:
                    wait = self._settings.backoff_s
                self._stopping.wait(wait)
                wait = min(2 * wait, self._settings.longest_backoff_s)
            for found in self._engine.finish_live():
                outbox.put_in_turn(found)
        finally:
            outbox.close()

    def _follow_child(self, outbox: Outbox) -> str | None:
        """One child from its beginning to its end; why it ended."""
        child = self._child = begun(self._settings)
        if self._stopping.is_set():
            child.stop()
        nudging = threading.Thread(target=self._nudge, args=(child,), name="capture-nudge", daemon=True)
        nudging.start()
        try:
            cut = self._engine.follow(child.source, outbox.put, time.monotonic, self._began)
            if cut is not None:
                self._lost["packets_cut_by_child"] += 1
        except CaptureError as error:
            cut = str(error)
        finally:
            ended = child.wait()
            self._child = None
            self._lost["kernel_drops"] += child.dropped
        return ended or cut

    def _began(self) -> None:
        self._heard = self._running = True
        self._problem = None

    def _nudge(self, child: CaptureChild | RingCapture) -> None:
        while self._child is child:
            child.nudge()
            time.sleep(NUDGE_S)

    def health(self) -> SourceHealth:
        """How it goes."""
        lost = Counter(self._lost)
        child = self._child
        if child is not None:
            lost["kernel_drops"] += child.dropped
        if self._outbox is not None:
            lost.update(self._outbox.lost)
        return packet_health(
            self.name,
            self._engine,
            lost,
            running=self._running,
            problem=self._problem,
            restarts=self._restarts,
        )
