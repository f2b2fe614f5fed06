"""Whole processes, timed from start to exit, with the most memory they held."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Run(NamedTuple):
    """One process."""

    seconds: float
    cpu_seconds: float
    """Time on processors, user and system; tells a slow program from a busy machine."""
    peak_mib: float
    """Most resident memory (ru_maxrss) [MiB]; pages of files that the process maps count too."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to measure."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    before: Callable[[], object] | None = None
    """Done before each run, outside the time."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All runs of one command."""

    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        """Median time."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        """Median time on processors."""
        return statistics.median(run.cpu_seconds for run in self.runs)

    @property
    def peak_mib(self) -> float:
        """Median of the peaks [MiB]."""
        return statistics.median(run.peak_mib for run in self.runs)


class CommandFailedError(RuntimeError):
    """A measured process ended with an error, so its time says nothing."""


def once(command: Command) -> Run:
    """Run it; its output goes to the null device, its complaints are shown when it fails."""
    if command.before:
        command.before()
    environment = {**os.environ, **command.environment}
    began = time.perf_counter()
    process = subprocess.Popen(
        list(command.arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=command.folder,
        env=environment,
    )
    assert process.stderr is not None
    complaints = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        said = complaints.decode(errors="replace").strip()[-500:]
        raise CommandFailedError(f"{' '.join(command.arguments)} ended with {process.returncode}: {said}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def interleaved(commands: Mapping[str, Command], times: int, files: Sequence[Path] = ()) -> dict[str, Measured]:
    """Run each command so many times, taking turns, after all files were read once into the page cache."""
    for path in files:
        warm(path)
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(times):
        for name, command in commands.items():
            runs[name].append(once(command))
    return {name: Measured(tuple(kept)) for name, kept in runs.items()}


def warm(path: Path) -> None:
    """Read a file once, so that nobody pays for the disk."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass
