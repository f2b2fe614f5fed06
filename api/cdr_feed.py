"""Watched folders of call records as a live source: looked into every so often, what is whole stored in rounds."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from analytics.feeds import FeedState
from api.cdr_round import RoundResult, RoundTask
from api.feed_states import feed_line
from api.wording import plural
from collector.cdr.files import CdrError
from collector.cdr.journal import FOLDER
from collector.cdr.watching import AGAIN, Due, FeedFolder, FeedSettings, FolderWatch, listed
from collector.live.source import Deliver, SourceHealth

STOP_S: Final = 20.0
"""How long a round may go on when everything has to stop [s]; it is taken up where it was left."""
ROOT: Final = str(Path(__file__).resolve().parents[1])
FAILED: Final = "reader_failed"
"""A file that ended the process that read it."""


@dataclass(frozen=True, slots=True)
class FeedPlace:
    """Where records go."""

    store: Path
    estate: Path | None
    config: Path | None = None
    """Settings file that was named."""


class CdrFeed:
    """Watches folders until told to stop; one round at a time, in a child process."""

    def __init__(self, settings: FeedSettings, place: FeedPlace, report: Callable[[str], None]) -> None:
        """Raises CdrError where a folder is none, or files are to be moved nowhere."""
        for folder in settings.folders:
            _check(folder)
        self._settings = settings
        self._place = place
        self._report = report
        self.watches = [FolderWatch(settings, folder) for folder in settings.folders]
        self._stopping = asyncio.Event()
        self._running = False
        self._restarts = 0
        self._problem: str | None = None
        self._rating_problem: str | None = None
        self._rate_due = self._look_due = 0.0
        self._is_rated = place.estate is None
        self._feeds: tuple[FeedState, ...] = ()
        self._most = settings.round_files
        """Files that are read together: fewer after a round that came to no end, until one file is left."""
        store = place.store.resolve()
        rejects = settings.rejects or store / FOLDER / "rejects.csv"
        self._rejects = rejects
        self._apart = frozenset(
            os.path.realpath(path)
            for path in (store, rejects, *(f.move_to for f in settings.folders if f.move_to is not None))
        )

    @property
    def name(self) -> str:
        """The folders."""
        return "cdr " + " ".join(str(watch.folder.path) for watch in self.watches)

    def stop(self) -> None:
        """Begin no further round."""
        self._stopping.set()

    async def run(self, deliver: Deliver) -> None:
        """Watch until `stop`; rows go into the store by themselves, so nothing is delivered."""
        del deliver
        self._running = True
        try:
            while not self._stopping.is_set():
                for watch in self.watches:
                    await self._look(watch)
                await self._look_back()
                is_soon = any(watch.has_open for watch in self.watches)
                wait = self._settings.settle_seconds if is_soon else self._settings.poll_seconds
                await self._pause(min(wait, self._settings.poll_seconds))
        finally:
            self._running = False

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _look(self, watch: FolderWatch) -> None:
        """Look into a folder, and take in what is whole, until there is nothing more."""
        while not self._stopping.is_set():
            found = await asyncio.to_thread(listed, watch.folder.path, self._settings.temporary, self._apart)
            watch.look(found, time.monotonic())
            due = watch.due(time.monotonic(), self._most)
            if not due or not await self._round(watch, due):
                return

    async def _round(self, watch: FolderWatch, due: Sequence[Due]) -> bool:
        """Take files in; whether there may be more to do at once."""
        result = await self._child(self._task(watch.folder, due))
        if result is None:
            return await self._break_down(watch, due)
        self._most = min(2 * self._most, self._settings.round_files)
        self._problem = result.problem
        if result.busy:
            return False
        self._count(watch, result)
        for one in due:
            watch.tell(one, result.outcomes.get(one.path, AGAIN))
            why = result.sentences.get(one.path)
            if why is not None and one.path in watch.bad:
                self._report(f"{one.path} was left alone: {why}")
        return any(outcome != AGAIN for outcome in result.outcomes.values())

    def _task(
        self, folder: FeedFolder, due: Sequence[Due] = (), *, rate: bool = False, look: bool = False
    ) -> RoundTask:  # fmt: skip
        estate = None if self._place.estate is None else str(self._place.estate)
        return RoundTask(str(self._place.store), estate, str(self._rejects), folder, due, rate, look)

    async def _break_down(self, watch: FolderWatch, due: Sequence[Due]) -> bool:
        """A round came to no end: half of its files are tried, and in the end the one that does it is left alone."""
        if self._stopping.is_set():
            return False
        self._restarts += 1
        problem = self._problem
        if len(due) == 1:
            if await self._child(self._task(watch.folder)) is None:
                return False  # without any file, too: it is not the file
            watch.tell(due[0], FAILED)
            self._report(f"{due[0].path} was left alone: {problem}")
            self._problem = None
        self._most = max(1, len(due) // 2)
        return True

    def _count(self, watch: FolderWatch, result: RoundResult) -> None:
        counts = watch.counts
        counts.rows += result.rows
        counts.kept += result.kept
        counts.rejected.update(result.rejected)
        if result.rows:
            counts.last_at = time.time_ns()
            self._is_rated = self._place.estate is None

    async def _look_back(self) -> None:
        """Rate what came, and see which feeds are silent, every so often."""
        now = time.monotonic()
        rate, look = not self._is_rated and now >= self._rate_due, now >= self._look_due
        if self._stopping.is_set() or not (rate or look):
            return
        result = await self._child(self._task(self.watches[0].folder, rate=rate, look=look))
        now = time.monotonic()
        if rate:
            self._rate_due = now + self._settings.rate_seconds
        if look:
            self._look_due = now + self._settings.look_seconds
        if result is None:
            self._rating_problem = self._problem
            return
        self._rating_problem = result.problem
        self._is_rated |= result.is_rated
        if result.rated_lines:
            self._report(f"rated {plural(result.rated_lines, 'usage line')} of {plural(result.rated_days, 'day')}")
        if result.feeds is not None:
            self._see(tuple(FeedState(**one) for one in result.feeds))

    def _see(self, feeds: tuple[FeedState, ...]) -> None:
        """Say which feeds have fallen silent, and which came back."""
        before = {(one.kind, one.source, one.name) for one in self._feeds if one.is_silent}
        for one in feeds:
            if one.is_silent != ((one.kind, one.source, one.name) in before):
                self._report(feed_line(one))
        self._feeds = feeds

    async def _child(self, task: RoundTask) -> RoundResult | None:
        """Run a round; None where it came to no end."""
        paths = [ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        config = {} if self._place.config is None else {"CALLGAUGE_CONFIG": str(self._place.config)}
        environment = {**os.environ, **config, "PYTHONPATH": os.pathsep.join(paths)}
        # In a session of its own: a terminal's Ctrl-C is ours to pass on.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "api.cdr_round",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.TaskGroup() as tasks:
                ending = tasks.create_task(self._end_late(process), name="end of a round")
                said, complained = await process.communicate(task.as_json().encode())
                ending.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        return self._told(process.returncode, said, complained)

    async def _end_late(self, process: asyncio.subprocess.Process) -> None:
        """When everything has to stop, a round may go on for a little while: it loses nothing, and is gone on with."""
        await self._stopping.wait()
        await asyncio.sleep(STOP_S)
        with suppress(ProcessLookupError):
            process.kill()

    def _told(self, status: int | None, said: bytes, complained: bytes) -> RoundResult | None:
        if status == 0:
            return RoundResult(**json.loads(said))
        last = complained.decode(errors="replace").strip().splitlines()[-1:]
        how = f"killed by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
        self._problem = f"the process that reads files was {how}" + "".join(f": {line}" for line in last)
        return None

    def health(self) -> SourceHealth:
        """How it goes."""
        counts = [watch.counts for watch in self.watches]
        lost: Counter[str] = Counter()
        for one in counts:
            lost.update(one.lost)
        last = [one.last_at for one in counts if one.last_at is not None]
        taken = sum(one.taken for one in counts)
        return SourceHealth(
            name=self.name,
            kind="files",
            running=self._running,
            seen=sum(one.seen for one in counts),
            parsed=taken,
            matched=taken,
            calls=0,
            streams=0,
            points=0,
            calls_now=0,
            streams_now=0,
            last_at=max(last, default=None),
            lost={name: count for name, count in sorted(lost.items()) if count},
            restarts=self._restarts,
            problem=next(filter(None, (self._problem, self._rating_problem, *(w.problem for w in self.watches))), None),
            feeds=self._feeds,
            records=sum(one.rows for one in counts),
            records_kept=sum(one.kept for one in counts),
            records_rejected=dict(sum((one.rejected for one in counts), Counter())),
        )


def _check(folder: FeedFolder) -> None:
    if not folder.path.is_dir():
        raise CdrError(f"{folder.path}: no such folder")
    if folder.after not in ("keep", "move", "delete"):
        raise CdrError(f"{folder.path}: files can be kept, moved or deleted, not {folder.after}")
    if (folder.after == "move") != (folder.move_to is not None):
        raise CdrError(f"{folder.path}: files are moved to a folder that is named: after = move and move_to")
