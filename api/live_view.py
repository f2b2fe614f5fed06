"""What goes on this second, as a collector shows it: a small JSON file beside its store, written anew each second."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from analytics.quality.rating import rate_stream
from api.lake_rows import NOWHERE, Sides
from api.logs import event
from api.rated import RECEIVER_CONCEALS
from collector.live.glance import Glance, Glancing
from collector.live.source import Source, SourceHealth, StreamNow

SCHEMA: Final = 1
FOLDER: Final = "live"
EVERY_S: Final = 1.0
POLL_S: Final = 0.1
MOST_SIDES: Final = 50_000
"""Pairs of addresses whose sites are remembered."""
_NAME = re.compile(r"[^A-Za-z0-9_.-]")

SidesOf = Callable[[str, str, int], Sides]


class Store(Protocol):
    """How far storing came, as far as the live view says it."""

    @property
    def problem(self) -> str | None: ...
    @property
    def stored_up_to(self) -> int | None: ...


@dataclass(slots=True)
class _Site:
    """What is added up of a site; a stream counts at both its ends, a call too."""

    calls: int = 0
    streams: int = 0
    packets: int = 0
    expected: int = 0
    lost: int = 0
    jitters: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        percent = 100.0 * max(0, self.lost) / self.expected if self.expected > 0 else None
        return {
            "calls": self.calls,
            "streams": self.streams,
            "packets": self.packets,
            "expected": self.expected,
            "lost": self.lost,
            "loss_percent": _rounded(percent),
            "jitter_ms": _rounded(sum(self.jitters) / len(self.jitters) if self.jitters else None),
            "jitter_max_ms": _rounded(max(self.jitters, default=None)),
            "mos": _rounded(sum(self.scores) / len(self.scores) if self.scores else None),
            "mos_min": _rounded(min(self.scores, default=None)),
        }


def live_view(
    name: str, now: int, glances: Iterable[Glance], sources: Sequence[SourceHealth], store: Store, sides_of: SidesOf
) -> dict[str, Any]:
    """What goes on at `now` [ns since the epoch] as JSON has it; the site of what has none is the empty name."""
    sites: dict[str, _Site] = {}
    packets, seconds = 0, 0.0
    for glance in glances:
        seconds = max(seconds, glance.seconds)
        packets += int(glance.progress.packets.sum())
        for src, dst in glance.calls:
            for site in set(sides_of(src, dst, glance.at)):
                sites.setdefault(site or "", _Site()).calls += 1
        columns = (column.tolist() for column in glance.progress[1:])
        for stream, *numbers in zip(glance.streams, *columns, strict=True):
            for site in set(sides_of(stream.src.ip, stream.dst.ip, stream.first)):
                _add(sites.setdefault(site or "", _Site()), stream, *numbers)
    return {
        "schema": SCHEMA,
        "name": name,
        "at": now,
        "seconds": round(seconds, 3),
        "media_packets_per_second": round(packets / seconds, 1) if seconds else 0.0,
        "calls_now": sum(source.calls_now for source in sources),
        "streams_now": sum(source.streams_now for source in sources),
        "sites": {site: sites[site].told() for site in sorted(sites)},
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "running": source.running,
                "seen": source.seen,
                "lost": sum(source.lost.values()),
                "last_at": source.last_at,
                "problem": source.problem,
            }
            for source in sources
        ],
        "store": {"stored_up_to": store.stored_up_to, "problem": store.problem},
    }


def _add(site: _Site, stream: StreamNow, packets: int, expected: int, lost: int, jitter_ms: float) -> None:
    site.streams += 1
    site.packets += packets
    site.expected += expected
    site.lost += lost
    if jitter_ms == jitter_ms:  # a number
        site.jitters.append(jitter_ms)
    percent = 100.0 * lost / expected if lost > 0 and expected > 0 else 0.0
    score = _mos(stream.codec, round(percent, 2), stream.ptime_ms) if percent < 100.0 else None
    if score is not None:
        site.scores.append(score)


@lru_cache(4096)
def _mos(codec: str | None, loss_percent: float, ptime_ms: float | None) -> float | None:
    try:
        return rate_stream(codec, RECEIVER_CONCEALS, loss_percent, None, ptime_ms).mos
    except ValueError:
        return None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


class LiveFile:
    """Writes the view of some sources each second until cancelled; where the disk fails that is logged once."""

    def __init__(
        self,
        name: str,
        folder: Path,
        sources: Sequence[Source],
        store: Callable[[], Store],
        sides_of: Callable[[], SidesOf | None],
    ) -> None:
        """`folder` is the store's; `sides_of` says sites by the estate as it is now, None where there is none."""
        self._name = name
        self._folder = folder / FOLDER
        self.path = self._folder / f"{_NAME.sub('_', name)[:128] or '_'}.json"
        self._sources = sources
        self._store = store
        self._sides_of = sides_of
        self._known: dict[tuple[str, str], Sides] = {}
        self._by: SidesOf | None = None
        self._said = ""

    async def run(self, now: Callable[[], int] = time.time_ns) -> None:
        """Write until cancelled; the file goes with it."""
        try:
            while True:
                glances = self._glances()
                await asyncio.to_thread(self.write, now())
                # As soon as there is something new, and once a second where there is not.
                for _ in range(round(EVERY_S / POLL_S)):
                    await asyncio.sleep(POLL_S)
                    if self._glances() != glances:
                        break
        finally:
            self.path.unlink(missing_ok=True)

    def _glances(self) -> list[int]:
        """What tells the sources' last glances from those before."""
        return [id(source.glance) for source in self._sources if isinstance(source, Glancing)]

    def write(self, now: int) -> None:
        """Write the view of this moment."""
        self._by, before = self._sides_of(), self._by
        if self._by != before or len(self._known) > MOST_SIDES:
            self._known.clear()
        glances = [source.glance for source in self._sources if isinstance(source, Glancing)]
        health = [source.health() for source in self._sources]
        current = [glance for glance in glances if glance is not None]
        view = live_view(self._name, now, current, health, self._store(), self._sides)
        scratch = self.path.with_name(f".{self.path.name}")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            scratch.write_text(json.dumps(view, separators=(",", ":")) + "\n", encoding="utf-8")
            scratch.replace(self.path)
        except OSError as error:
            if str(error) != self._said:
                event("process", "live_view_not_written", logging.WARNING, reason=str(error))
            self._said = str(error)
        else:
            self._said = ""

    def _sides(self, src: str, dst: str, at: int) -> Sides:
        if self._by is None:
            return NOWHERE
        sides = self._known.get((src, dst))
        if sides is None:
            sides = self._known[src, dst] = self._by(src, dst, at)
        return sides
