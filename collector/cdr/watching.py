"""Folders of call records that are watched: which files are there, which are to be read now, and what came of them.

Files are told apart by name, size and time of change, and known as done by them. How long a file has not changed is
measured by whoever looks, from look to look: clocks of file servers are not those of this machine.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Final, NamedTuple

Stamp = tuple[int, int]
"""Size [octets] and time of change [ns]."""

TEMPORARY: Final = (
    "_*", ".*", "~*", "*~", "*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.upload", "*.swp", "*.lock",
)  # fmt: skip
NAMED: Final = 1_000
"""Files that cannot be used whose names are kept; all are counted."""
DEPTH: Final = 16
"""Folders within folders that are looked into."""
IN, IN_PART, GROWS, AGAIN = "in", "in_part", "grows", "again"
"""What came of a file: all of it is in; all but a line that has no end yet; all of it, and more may come; not tried."""
WAITS: Final = frozenset({"changing", "cut_row"})
"""Outcomes of files that are not whole."""
_FRESH, _SETTLED, _OVER, _RESTING = range(4)


@dataclass(frozen=True, slots=True)
class FeedFolder:
    """One folder that call records come into."""

    path: Path
    format: str = "auto"
    """`cucm`, `asterisk`, `freeswitch`, `avaya`, or `auto`, which tries them all."""
    mapping: Path | None = None
    """Mapping file, for any other CSV."""
    zone: str = ""
    """Zone of local times; empty: the estate's."""
    system: str = ""
    """Name of an exchange that gives none."""
    after: str = "keep"
    """What becomes of a file that is in the store: `keep`, `move` or `delete`."""
    move_to: Path | None = None
    """Where it is moved to."""


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """How folders of call records are watched."""

    folders: tuple[FeedFolder, ...] = ()
    """Folders: a path each, or a table of `path`, `format`, `mapping`, `zone`, `system`, `after` and `move_to`."""
    poll_seconds: float = 30.0
    """How often a folder is looked into [s]."""
    settle_seconds: float = 10.0
    """A file that comes whole is read when it has not changed for so long [s]."""
    over_seconds: float = 600.0
    """A file that ends within a record is read as it stands when it has not changed for so long [s]."""
    resting_hours: float = 24.0
    """A file that lines are added to is moved or deleted when it has not changed for so long [h]."""
    rate_seconds: float = 300.0
    """How often days with new records are rated anew [s]."""
    look_seconds: float = 300.0
    """How often it is looked whether a feed has fallen silent [s]."""
    round_files: int = 5_000
    """Files that are read at a time."""
    temporary: tuple[str, ...] = TEMPORARY
    """Names of files that are not finished."""
    rejects: Path | None = None
    """File of rejected records; one within the store if not given."""


class Listing(NamedTuple):
    """What lies in a folder."""

    files: dict[str, Stamp]
    temporary: int = 0
    """Files with names of what is not finished."""
    problem: str | None = None
    """Why it, or a folder within, cannot be looked into."""


def listed(folder: Path, temporary: Sequence[str], apart: Collection[str] = ()) -> Listing:
    """Look into a folder and all below it, but not into those `apart` (real paths) nor into links to folders."""
    files: dict[str, Stamp] = {}
    unfinished = 0
    problem: str | None = None
    unlike = re.compile("|".join(translate(pattern) for pattern in temporary) or r"(?!)")
    names_apart = {os.path.basename(path) for path in apart}  # noqa: PTH119
    left = [(str(folder), 0)]
    while left:
        here, depth = left.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if depth < DEPTH and not entry.name.startswith(".") and os.path.realpath(entry) not in apart:
                            left.append((entry.path, depth + 1))
                    elif unlike.match(entry.name):
                        unfinished += 1
                    elif entry.name in names_apart and os.path.realpath(entry) in apart:
                        continue
                    elif (stamp := _stamp(entry)) is not None:
                        files[entry.path] = stamp
        except OSError as error:
            problem = problem or f"{here} cannot be looked into: {error.strerror}"
    return Listing(files, unfinished, problem)


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    """None for what is no file, is empty, or is gone again."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) and status.st_size else None


class Due(NamedTuple):
    """A file that is to be read now."""

    path: str
    stamp: Stamp
    is_settled: bool
    is_over: bool
    is_resting: bool
    """It has not changed for so long that nobody adds lines to it any more."""


def _step_of(due: Due) -> int:
    return _RESTING if due.is_resting else _OVER if due.is_over else _SETTLED if due.is_settled else _FRESH


@dataclass(slots=True)
class _Open:
    """A file that is not done."""

    stamp: Stamp
    first_seen: float
    since: float
    """When it was first seen as it is now."""
    tried: int = -1
    """How long it had not changed when it was last tried, as a step; -1 never."""
    comes_whole: bool = False


@dataclass(slots=True)
class FeedCounts:
    """What became of the files of a folder since it is watched."""

    seen: int = 0
    """Files; one that could not be used and has changed counts again."""
    taken: int = 0
    """Of these, in the store."""
    lost: Counter[str] = field(default_factory=Counter)
    """Of these, those that could not be used, by reason."""
    rows: int = 0
    """Records read."""
    kept: int = 0
    """Records in the store."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Records rejected, by reason."""
    last_at: int | None = None
    """When a file was last taken [ns since the epoch]."""


class FolderWatch:
    """One folder; times are seconds of a clock that only goes on."""

    def __init__(self, settings: FeedSettings, folder: FeedFolder) -> None:
        self.folder = folder
        self.counts = FeedCounts()
        self.bad: dict[str, str] = {}
        """Files there now that cannot be used, with the reason; at most `NAMED`."""
        self.temporary = 0
        self.problem: str | None = None
        self._settings = settings
        self._open: dict[str, _Open] = {}
        self._unusable: set[int] = set()
        """Of these that are done, those that could not be used."""
        self._done: dict[int, int] = {}
        """Files that are done: hash of the path, and of what it was then. A folder may hold a year of minutes."""

    @property
    def waiting(self) -> int:
        """Files that are not whole, or not read yet."""
        return self.counts.seen - self.counts.taken - self.counts.lost.total()

    def look(self, listing: Listing, now: float) -> None:
        """Take in what lies in the folder now."""
        self.temporary, self.problem = listing.temporary, listing.problem
        if listing.problem is not None and not listing.files:
            return
        for path, stamp in listing.files.items():
            name = hash(path)
            if self._done.get(name) == hash(stamp):
                continue
            known = self._open.get(path)
            if known is None:
                if name in self._unusable:
                    self._unusable.discard(name)
                    self.bad.pop(path, None)
                    del self._done[name]
                is_known = name in self._done
                self._open[path] = _Open(stamp, now - is_known * self._settings.settle_seconds, now)
                self.counts.seen += not is_known
            elif known.stamp != stamp:
                known.stamp, known.since, known.tried = stamp, now, -1
        for path in [path for path in self._open if path not in listing.files]:
            if hash(path) not in self._done:
                self.counts.lost["gone"] += 1
            del self._open[path]
        if len(self._done) > len(listing.files):
            names = {hash(path) for path in listing.files}
            self._done = {name: stamp for name, stamp in self._done.items() if name in names}
            self._unusable &= names
        self.bad = {path: why for path, why in self.bad.items() if path in listing.files}

    def due(self, now: float, most: int) -> list[Due]:
        """Files to read now, the longest known first."""
        found = []
        for path, known in self._open.items():
            step = self._step(known, now)
            if step <= known.tried or now - known.first_seen < self._settings.settle_seconds:
                continue
            if known.comes_whole and step == _FRESH:
                continue
            found.append(Due(path, known.stamp, step >= _SETTLED, step >= _OVER, step >= _RESTING))
            if len(found) >= most:
                break
        return found

    def _step(self, known: _Open, now: float) -> int:
        rested = now - known.since
        limits = self._settings
        if rested >= 3_600 * limits.resting_hours and self.folder.after != "keep":
            return _RESTING
        return _OVER if rested >= limits.over_seconds else _SETTLED if rested >= limits.settle_seconds else _FRESH

    def tell(self, due: Due, outcome: str) -> None:
        """Say what came of a file: `IN`, `IN_PART`, `GROWS`, `AGAIN`, one of `WAITS`, or why it cannot be used."""
        known = self._open.get(due.path)
        if known is None or outcome == AGAIN:
            return
        is_new = hash(due.path) not in self._done
        if outcome in (IN, IN_PART, GROWS):
            if is_new:
                self.counts.taken += 1
            self._done[hash(due.path)] = hash(due.stamp)
            if outcome == IN or (outcome == GROWS and self.folder.after == "keep"):
                self._close(due)
            else:
                known.tried = max(_SETTLED if outcome == IN_PART else _OVER, known.tried, _step_of(due))
        elif outcome in WAITS:
            known.comes_whole = outcome == "changing"
            known.tried = max(_step_of(due), _FRESH if known.comes_whole else _SETTLED)
        else:
            self.counts.seen += not is_new
            self.counts.lost[outcome] += 1
            self._unusable.add(hash(due.path))
            self._done[hash(due.path)] = hash(due.stamp)
            if len(self.bad) < NAMED:
                self.bad[due.path] = outcome
            self._close(due)

    @property
    def has_open(self) -> bool:
        """Whether files are there that are not done."""
        return bool(self._open)

    def _close(self, due: Due) -> None:
        """Done with it, unless it has changed meanwhile."""
        if self._open[due.path].stamp == due.stamp:
            del self._open[due.path]
