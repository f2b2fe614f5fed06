"""One round of a watched folder, in a process of its own: some files into the store, joined and rated.

`callgauge collect` runs it as a child: the live path keeps its processor and its memory, and whatever a file does to
the reader ends one round. What is to be done comes as JSON on stdin, what came of it goes to stdout.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.cdr.watching import AGAIN, GROWS, IN, IN_PART, WAITS, Due, FeedFolder

if TYPE_CHECKING:
    from analytics.store.lake import Lake
    from collector.cdr.importing import Import
    from collector.cdr.journal import Journal


@dataclass(slots=True)
class RoundTask:
    """What a round is to do."""

    store: str
    estate: str | None
    rejects: str
    folder: FeedFolder
    files: Sequence[Due] = ()
    rate: bool = False
    """Rate days whose records are not rated yet."""
    look: bool = False
    """Look which feeds are silent."""

    def as_json(self) -> str:
        """As the child reads it."""
        paths = {name: str(path) for name, path in asdict(self.folder).items() if isinstance(path, Path)}
        return json.dumps({**asdict(self), "folder": asdict(self.folder) | paths, "files": list(self.files)})


@dataclass(slots=True)
class RoundResult:
    """What came of it."""

    outcomes: dict[str, str] = field(default_factory=dict)
    """By path, as `FolderWatch.tell` takes them; a file that is not named was not tried."""
    sentences: dict[str, str] = field(default_factory=dict)
    """Why a file could not be used, by path."""
    rows: int = 0
    kept: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rated_lines: int = 0
    rated_days: int = 0
    is_rated: bool = False
    feeds: list[dict[str, Any]] | None = None
    """Feeds of the store, as `FeedState` has them."""
    busy: bool = False
    """Another import was running: nothing was done."""
    problem: str | None = None
    """Why nothing, or not all, could be done."""


def main() -> None:
    """Do one round."""
    task = read_task(json.load(sys.stdin))
    result = do(task, datetime.now(UTC))
    json.dump(asdict(result), sys.stdout)
    sys.stdout.write("\n")


def read_task(stated: dict[str, Any]) -> RoundTask:
    """Read a task from its JSON."""
    folder = stated["folder"]
    for name in ("path", "mapping", "move_to"):
        folder[name] = None if folder[name] is None else Path(folder[name])
    files = [Due(path, (stamp[0], stamp[1]), *told) for path, stamp, *told in stated["files"]]
    return RoundTask(**{**stated, "folder": FeedFolder(**folder), "files": files})


def do(task: RoundTask, now: datetime) -> RoundResult:
    """Bring the files into the store; every error that is nobody's defect stands in the result."""
    from analytics.store.settings import StoreError
    from api.settings_error import SettingsError
    from collector.cdr.files import CdrError
    from collector.cdr.journal import BusyError
    from collector.cdr.mapping import MappingError
    from collector.estate.problems import EstateError

    result = RoundResult()
    try:
        _do(task, now, result)
    except BusyError:
        result.busy = True
    except (CdrError, MappingError, EstateError, StoreError, SettingsError) as error:
        result.problem = str(error)
    except OSError as error:
        result.problem = f"{error.filename or task.store}: {error.strerror}"
    return result


def _do(task: RoundTask, now: datetime, result: RoundResult) -> None:
    from analytics.store.lake import Lake
    from collector.cdr.journal import sole_import

    with (
        closing(Lake.open(Path(task.store), create=True)) as lake,
        sole_import(lake.root, lambda _: None, wait=False) as journal,
    ):
        if task.files:
            _import(lake, journal, task, now, result)
        if task.rate and task.estate is not None:
            _rate(lake, Path(task.estate), now, result)
        if task.look:
            from api.feed_states import feed_states, local_days

            days = local_days(None if task.estate is None else Path(task.estate))
            result.feeds = [asdict(one) for one in feed_states(lake, now, days)]


def _import(lake: Lake, journal: Journal, task: RoundTask, now: datetime, result: RoundResult) -> None:
    from api.cdr import import_settings
    from collector.cdr.files import Found, Watched
    from collector.cdr.importing import Import
    from collector.cdr.rejects import Rejects

    folder, estate = task.folder, None if task.estate is None else Path(task.estate)
    settings = import_settings(folder.format, folder.mapping, folder.zone or None, estate, folder.system)
    stamps = {Path(due.path): due.stamp for due in task.files}
    seen = {Path(due.path): Watched(due.is_settled, due.is_over) for due in task.files}
    with Rejects(Path(task.rejects), now) as rejects:
        run = Import(settings, rejects)
        run.into(lake, journal, run.identify(Found(tuple(stamps), (), (), stamps), seen), now)
    result.rows, result.kept = run.summary.rows, run.summary.kept.total()
    result.rejected = dict(run.summary.rejected)
    result.sentences = {str(skip.path): skip.sentence for skip in run.summary.skipped}
    reasons = {str(skip.path): skip.reason for skip in run.summary.skipped}
    for due in task.files:
        result.outcomes[due.path] = outcome(run, due, reasons.get(due.path))
        if result.outcomes[due.path] == GROWS and due.is_resting:
            result.outcomes[due.path] = IN
        if result.outcomes[due.path] == IN and folder.after != "keep":
            put_away(folder, due, result)


def outcome(run: Import, due: Due, skipped: str | None) -> str:
    """What came of a file, as `FolderWatch.tell` takes it; `skipped` is why it was left alone."""
    if skipped is None:
        file = run.told[Path(due.path)]
        if file.sha256 not in run.in_lake:
            return AGAIN  # read together with one that changed
        return IN_PART if file.has_rest else GROWS if file.is_added_to else IN
    if skipped == "changed" or not os.path.lexists(due.path):
        return AGAIN  # a file that was renamed meanwhile is found under its other name
    if skipped in WAITS or due.is_settled:
        return skipped
    # It goes on growing: its first line, or the rest of a packed file, is still to come.
    return "changing" if skipped == "unreadable" else AGAIN


def put_away(folder: FeedFolder, due: Due, result: RoundResult) -> None:
    """Move or delete a file that is in the store, unless it has changed since."""
    path = Path(due.path)
    try:
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) != due.stamp:
            return
        if folder.after == "delete":
            path.unlink()
        elif folder.move_to is not None:
            target = folder.move_to / path.relative_to(folder.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, _free(target))
    except FileNotFoundError:
        return  # somebody else put it away
    except (OSError, shutil.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        result.problem = f"{path} is in the store and cannot be put away: {reason}"


def _free(target: Path) -> Path:
    """A name that no other file has."""
    number = 1
    free = target
    while os.path.lexists(free):
        free = target.with_name(f"{target.name}.{number}")
        number += 1
    return free


def _rate(lake: Lake, estate: Path, now: datetime, result: RoundResult) -> None:
    from api.usage import influx_settings, load_book, rate_pending, tell_influx

    influx = influx_settings()
    made = rate_pending(lake, load_book(estate), estate, now)
    tell_influx(lake, influx, made.made)
    result.rated_lines, result.rated_days, result.is_rated = made.lines, made.days, True


if __name__ == "__main__":
    main()
