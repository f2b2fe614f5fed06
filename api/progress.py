"""What is said on stderr while captures are read: a bar on long runs, notes, results of a pipe's interruption."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LONG_RUN_S = 0.7
"""A bar for less would only flicker."""


class Position(Protocol):
    """How far a run has come."""

    @property
    def packets(self) -> int:
        """Packets read so far."""

    @property
    def position(self) -> int:
        """Bytes read so far."""

    @property
    def size(self) -> int | None:
        """Bytes in all; None for a pipe."""


def say(sentence: str, who: str = "callgauge") -> None:
    """One line on stderr, for whoever still reads it."""
    try:
        print(f"{who}: {sentence}", file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        # Nobody does. Python would try once more at exit, and change the exit status.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class Bar:
    """A progress bar on stderr that appears once a run turns out to be long; rich is imported only then."""

    def __init__(self, wanted: bool, what: str = "packets") -> None:
        self._wanted = wanted
        self._what = what
        self._started = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def update(self, progress: Position) -> None:
        """Show how far the run has come."""
        if not self._wanted:
            return
        if self._bar is None:
            if time.monotonic() - self._started < LONG_RUN_S:
                return
            self._open(progress)
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, completed=progress.position, total=progress.size, packets=f"{progress.packets:,}"
            )

    def note(self, sentence: str) -> None:
        """One line on stderr, above the bar."""
        if self._bar is None:
            say(sentence)
        else:
            self._bar.console.print(f"callgauge: {sentence}", markup=False, highlight=False)

    def _open(self, progress: Position) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("reading"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn(f"{{task.fields[packets]}} {self._what}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("reading", total=progress.size, packets="0")
        self._bar.start()

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


@contextmanager
def first_interrupt_waits() -> Iterator[None]:
    """Let the first Ctrl-C end the program that feeds the pipe, and report what came; the second one ends us.

    The terminal sends the signal to both ends of the pipe: tcpdump ends and flushes, which ends our input.
    """

    def waits(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("waiting for the end of the input; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, waits)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
