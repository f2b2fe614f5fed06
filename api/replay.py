"""From capture files to everything found in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collector.calls import CallLimits
from collector.engine import Engine, EngineLimits, Progress
from collector.facts import Call, Replay
from collector.media.streams import StreamLimits

__all__ = ["Progress", "ReplaySettings", "replay_files"]

INTERVAL_NS = 10_000_000_000
DRAWN_NS = 1_000_000_000
STEPS = 200
"""Messages of a leg that its ladder keeps."""
REPORTS = 1_000_000
"""Statistics of devices that are kept of a capture."""


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What a replay may be told."""

    limits: EngineLimits = field(default_factory=EngineLimits)
    digest: bool = False
    """Take the hash of every input."""

    @classmethod
    def to_draw(cls) -> ReplaySettings:
        """Return the settings of a replay whose calls are going to be drawn: with ladders, and intervals of 1 s."""
        return cls(EngineLimits(StreamLimits(interval_ns=DRAWN_NS), CallLimits(max_steps=STEPS)))

    @classmethod
    def to_keep(cls) -> ReplaySettings:
        """Return the settings of a replay whose streams are going to be kept: hashed, in intervals, with ladders."""
        limits = EngineLimits(StreamLimits(interval_ns=INTERVAL_NS), CallLimits(max_steps=STEPS, max_reports=REPORTS))
        return cls(limits, digest=True)


def replay_files(
    paths: Sequence[str | Path],
    settings: ReplaySettings = ReplaySettings(),  # immutable
    on_progress: Callable[[Progress], None] | None = None,
    on_call: Callable[[Call], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Replay:
    """Replay captures as one, in the order of their first packets; `-` is standard input.

    `on_call` hears of calls as they end, `on_note` what a person should know while it runs. Raises CaptureError when
    an input cannot be opened or is no capture.
    """
    from collector.accelerate import is_compiled

    if not is_compiled():
        from collector.compile_ahead import start

        if on_note is not None:
            on_note("compiling kernels (first run on this machine)")
        start()
    engine = Engine(settings.limits, on_call, settings.digest)
    names = [str(path) for path in paths]
    engine.read(names, on_progress)
    return engine.finish()
