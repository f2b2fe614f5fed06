"""Captures that people send: analysed in a process of its own, which a hostile capture may bring down alone."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple

from api.web.problems import Problem

AT_ONCE: Final = 2
"""Captures that are analysed at a time."""
_ROOT: Final = Path(__file__).resolve().parents[2]
"""Where the packages are, if they are not installed."""
_UNUSABLE: Final = 2
_SAID: Final = 300


class Analysed(NamedTuple):
    """What came of a capture."""

    report: Path
    """The report as JSON, in a folder that the caller removes."""
    whole: bool
    """Whether the capture could be read to its end."""


async def received(chunks: AsyncIterator[bytes], into: Path, most: int) -> int:
    """Write what is sent into a file; return its octets. Problem 413 where it is too much, 422 where it is nothing."""
    size = 0
    with into.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise Problem(413, "too_large", f"A capture may have {most:,} octets.")
            await asyncio.to_thread(file.write, chunk)
    if not size:
        raise Problem(422, "no_capture", "Nothing was sent: the body of the request is the capture.")
    return size


async def analysed(capture: Path, seconds: float, *, show_numbers: bool) -> Analysed:
    """Replay a capture into a report beside it. Problem 422 where it is none, or takes too long or too much."""
    report, said = capture.with_suffix(".json"), capture.with_suffix(".txt")
    command = [sys.executable, "-m", "api.web.bounded", str(math.ceil(seconds)), "replay", str(capture)]
    command += ["--format", "json", "--no-progress"]
    if show_numbers:
        command.append("--show-numbers")
    with report.open("wb") as out, said.open("wb") as words:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=words,
            env=_environment(),
            cwd=_ROOT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds):
                status = await process.wait()
        except TimeoutError:
            status = None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    if status is None or status == -signal.SIGXCPU:
        raise Problem(
            422, "takes_too_long", f"The analysis took longer than {seconds:g} s: send a part of the capture."
        )
    if status not in (0, 1):
        words_of = said.read_text(errors="replace").replace(str(capture), "the capture").strip().splitlines()[-1:]
        detail = words_of[0][:_SAID] if words_of and status == _UNUSABLE else "The analysis came to no end."
        raise Problem(422, "no_capture", detail)
    return Analysed(report, status == 0)


def folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder that nobody else sees, gone when it is closed."""
    return tempfile.TemporaryDirectory(prefix="callgauge-upload-", ignore_cleanup_errors=True)


def _environment() -> dict[str, str]:
    keep = ("PATH", "LANG", "LC_ALL", "HOME", "NUMBA_CACHE_DIR", "CALLGAUGE_CACHE", "TMPDIR", "PYTHONPATH")
    return {name: os.environ[name] for name in keep if name in os.environ}
