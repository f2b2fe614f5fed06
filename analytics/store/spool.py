"""A queue on disk, for what cannot be sent now: bounded, in order, surviving the process and the machine.

One process holds a spool at a time. A record that `append` returned for is there after `kill -9`, and with `durable`
after a power cut; it stays until `acknowledge`, so a reader that dies sees it again: delivery is at least once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from analytics.store.settings import StoreError
from analytics.store.spool_segments import (
    HEADER,
    SLOT,
    Placed,
    Position,
    between,
    decode_positions,
    encode,
    encode_position,
    first_of,
    scan,
    segment_name,
    slot_of,
)

POSITION = "position"
_INDICES = 2
"""Segments whose index is held in memory: the one at the cursor and the one that is read ahead."""


class SpoolError(StoreError):
    """The spool cannot take or give records; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """What may be set about a spool."""

    octets: int = 1 << 30
    """Most disk that it takes; beyond, the oldest segment is dropped whole and its records are counted [octets]."""
    segment_octets: int = 8 << 20
    """Size at which a segment is closed and the next one begun [octets]."""
    durable: bool = True
    """Whether a record is on the disk, and not only in the page cache, when `append` returns."""


class Spooled(NamedTuple):
    """A record in the spool."""

    sequence: int
    payload: bytes


class SpoolCounts(NamedTuple):
    """What went through a spool since it was made: appended = acknowledged + dropped + damaged + waiting."""

    appended: int
    acknowledged: int
    dropped: int
    """Records that went unread with the oldest segment, for the spool was at its bound."""
    damaged: int
    """Records that the reader went past because their octets were not what was written."""
    waiting: int
    octets: int
    """Disk taken now [octets]."""
    torn_octets: int
    """Octets at the end that made no record when the spool was opened: a write that was cut [octets]."""


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    last: int
    octets: int


class Spool:
    """Records in order: append at one end, peek and acknowledge at the other. Threads may share it."""

    def __init__(self, root: Path, settings: SpoolSettings, lock: int, position: int, kept: Position | None) -> None:
        self.root = root
        self.settings = settings
        self._guard = threading.RLock()
        self._lock_file: int | None = lock
        self._position_file = position
        self._segments: list[_Segment] = []
        self._indices: OrderedDict[int, list[Placed]] = OrderedDict()
        self._writing: int | None = None
        self._torn = 0
        self.on_drop: Callable[[Sequence[Spooled]], None] | None = None
        """Told of the records that go unread with the oldest segment, before they are gone."""
        self._find_segments()
        first = self._segments[0].first if self._segments else 1
        # Without a readable position all there is counts as new: it arrives twice rather than not at all.
        self._position = kept or Position(0, os.urandom(8), first - 1, 0, 0, first - 1)
        last = self._segments[-1].last if self._segments else 0
        # What was cut at the end has a number all the same: it may have been sent before it was damaged.
        self._next = max(self._position.cursor, last + (1 if self._torn else 0)) + 1
        if kept is None:
            self._write_position(self._position._replace(generation=1), sync=True)
        self._remove_done()

    @classmethod
    def open(cls, root: Path, settings: SpoolSettings | None = None) -> Spool:
        """Open a spool, made where there is none; SpoolError where it cannot be, or another process has it."""
        settings = settings or SpoolSettings()
        if settings.segment_octets * 2 > settings.octets or settings.segment_octets <= 0:
            raise SpoolError("a spool must be allowed at least two segments of disk")
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(f"no spool can be made in {root}: {error.strerror}") from error
        position: int | None = None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kept = _read_position(root / POSITION)
            if kept is None:
                _make_position(root)
            position = os.open(root / POSITION, os.O_RDWR | os.O_CLOEXEC)
            return cls(root, settings, lock, position, kept)
        except BaseException as error:
            for number in (lock, position):
                if number is not None:
                    os.close(number)
            if isinstance(error, BlockingIOError):
                raise SpoolError(f"another process has the spool in {root}") from error
            if isinstance(error, OSError):
                raise SpoolError(f"the spool in {root} cannot be opened: {error.strerror}") from error
            raise

    @property
    def identity(self) -> str:
        """Return the name that makes sequences unique: made with the spool, 16 hexadecimal digits."""
        return self._position.identity.hex()

    def append(self, payloads: Sequence[bytes]) -> int:
        """Append records, all or none, and return the sequence of the last one.

        SpoolError where the disk has no room or fails; what was appended before stays.
        """
        with self._guard:
            self._check_open()
            first = self._next
            data = b"".join(encode(first + number, payload) for number, payload in enumerate(payloads))
            if not data:
                return first - 1
            if len(data) > self.settings.octets // 2:
                raise SpoolError(f"{len(data)} octets at once are over half of the spool's bound")
            self._make_room(len(data))
            try:
                self._write(first, data)
            except OSError as error:
                reason = "the disk is full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else error.strerror
                raise SpoolError(f"the spool in {self.root} cannot be written: {reason}") from error
            segment = self._segments[-1]
            index = self._indices.get(segment.first)
            for number, payload in enumerate(payloads):
                if index is not None:
                    index.append(Placed(first + number, segment.octets + HEADER.size, len(payload)))
                segment.octets += HEADER.size + len(payload)
            segment.last = first + len(payloads) - 1
            self._next = segment.last + 1
            return segment.last

    def peek(self, records: int = 1_000, octets: int = 1 << 20, *, after: int | None = None) -> list[Spooled]:
        """Return the oldest records that are not acknowledged, or those after a sequence; at least one if any is there.

        They stay. `octets` bounds their payloads together. SpoolError where the disk fails.
        """
        with self._guard:
            self._check_open()
            after = self._position.cursor if after is None else max(after, self._position.cursor)
            found: list[Spooled] = []
            try:
                for segment in self._segments:
                    if segment.last <= after:
                        continue
                    wanted: list[Placed] = []
                    for placed in between(self._index(segment), after, segment.last):
                        octets -= placed.octets
                        if (found or wanted) and (octets < 0 or len(found) + len(wanted) >= records):
                            return found + _read(segment.path, wanted)
                        wanted.append(placed)
                    found += _read(segment.path, wanted)
            except OSError as error:
                raise SpoolError(f"the spool in {self.root} cannot be read: {error.strerror}") from error
            return found

    def acknowledge(self, sequence: int) -> None:
        """Be done with every record up to this one. Needs no room on the disk; what is past already is left alone."""
        with self._guard:
            self._check_open()
            position = self._position
            sequence = min(sequence, self._next - 1)
            if sequence <= position.cursor:
                return
            try:
                intact = sum(
                    sum(1 for _ in between(self._index(segment), position.cursor, sequence))
                    for segment in self._segments
                    if segment.last > position.cursor and segment.first <= sequence
                )
                passed = sequence - position.cursor
                self._write_position(
                    position._replace(
                        generation=position.generation + 1,
                        cursor=sequence,
                        acknowledged=position.acknowledged + intact,
                        damaged=position.damaged + passed - intact,
                    ),
                    sync=False,
                )
                self._remove_done()
            except OSError as error:
                raise SpoolError(f"the spool in {self.root} cannot be acknowledged: {error.strerror}") from error

    def counts(self) -> SpoolCounts:
        """Return what went through it."""
        with self._guard:
            position = self._position
            octets = sum(segment.octets for segment in self._segments)
            waiting = self._next - 1 - position.cursor
            return SpoolCounts(
                self._next - 1,
                position.acknowledged,
                position.dropped,
                position.damaged,
                waiting,
                octets,
                self._torn,
            )

    def sync(self) -> None:
        """Put on the disk what is in the page cache: for spools that are not `durable`."""
        with self._guard:
            self._check_open()
            try:
                if self._writing is not None:
                    os.fdatasync(self._writing)
                os.fdatasync(self._position_file)
            except OSError as error:
                raise SpoolError(f"the spool in {self.root} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the folder; records stay in it."""
        with self._guard:
            if self._lock_file is None:
                return
            for number in (self._writing, self._position_file, self._lock_file):
                if number is not None:
                    os.close(number)
            self._writing = self._lock_file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._lock_file is None:
            raise SpoolError(f"the spool in {self.root} is closed")

    def _find_segments(self) -> None:
        """List the segments; only the last is read, the others end where the next one begins."""
        named = sorted((first, path) for path in self.root.iterdir() if (first := first_of(path.name)) is not None)
        for number, (first, path) in enumerate(named):
            octets = path.stat().st_size
            if number + 1 < len(named):
                last = named[number + 1][0] - 1
            else:
                placed, end = scan(path.read_bytes(), after=first - 1)
                last = placed[-1].sequence if placed else first - 1
                self._torn = octets - end
            self._segments.append(_Segment(path, first, last, octets))

    def _index(self, segment: _Segment) -> list[Placed]:
        """Return where the records of a segment lie, read once and kept for the segments that are in use."""
        index = self._indices.get(segment.first)
        if index is None:
            index, _ = scan(segment.path.read_bytes(), after=segment.first - 1)
            while index and index[-1].sequence > segment.last:
                index.pop()
            self._indices[segment.first] = index
            while len(self._indices) > _INDICES:
                self._indices.popitem(last=False)
        self._indices.move_to_end(segment.first)
        return index

    def _make_room(self, octets: int) -> None:
        """Drop oldest segments until the bound allows for more octets; begin a new segment where one is full."""
        taken = sum(segment.octets for segment in self._segments)
        try:
            if self._writing is not None and self._segments[-1].octets + octets > self.settings.segment_octets:
                self._stop_writing()
            while self._segments and taken + octets > self.settings.octets:
                oldest = self._segments[0]
                if len(self._segments) == 1:
                    self._stop_writing()
                taken -= oldest.octets
                position = self._position
                if oldest.last > position.cursor:
                    if self.on_drop is not None:
                        unread = between(self._index(oldest), position.cursor, oldest.last)
                        self.on_drop(_read(oldest.path, list(unread)))
                    self._write_position(
                        position._replace(
                            generation=position.generation + 1,
                            cursor=oldest.last,
                            dropped=position.dropped + oldest.last - position.cursor,
                        ),
                        sync=True,
                    )
                self._remove_done()
        except OSError as error:
            raise SpoolError(f"the spool in {self.root} cannot drop its oldest segment: {error.strerror}") from error

    def _write(self, first: int, data: bytes) -> None:
        """Write records at the end of the newest segment, or of a new one; after an error all is as before."""
        begun = self._writing is None
        if self._writing is None:
            path = self.root / segment_name(first)
            # A segment of that name can only hold what was cut before its first record was whole.
            self._writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            if self._segments and self._segments[-1].first == first:
                self._segments.pop()
            self._segments.append(_Segment(path, first, first - 1, 0))
            self._indices.pop(first, None)
        segment = self._segments[-1]
        try:
            rest = memoryview(data)
            at = segment.octets
            while rest:
                written = os.pwrite(self._writing, rest, at)
                rest, at = rest[written:], at + written
            if self.settings.durable:
                os.fdatasync(self._writing)
                if begun:
                    _sync_folder(self.root)
        except OSError:
            os.ftruncate(self._writing, segment.octets)
            if begun:
                self._stop_writing()
                self._segments.pop()
                segment.path.unlink(missing_ok=True)
            raise

    def _stop_writing(self) -> None:
        if self._writing is not None:
            if not self.settings.durable:
                os.fdatasync(self._writing)
            os.close(self._writing)
            self._writing = None

    def _write_position(self, position: Position, *, sync: bool) -> None:
        os.pwrite(self._position_file, encode_position(position), slot_of(position))
        if sync:
            os.fdatasync(self._position_file)
        self._position = position

    def _remove_done(self) -> None:
        """Remove segments that are read to their end; the position is on the disk before they are gone."""
        closed = self._segments if self._writing is None else self._segments[:-1]
        done = [segment for segment in closed if segment.last <= self._position.cursor]
        if not done:
            return
        os.fdatasync(self._position_file)
        for segment in done:
            segment.path.unlink(missing_ok=True)
            self._segments.remove(segment)
            self._indices.pop(segment.first, None)


def look(root: Path) -> SpoolCounts:
    """Return the counts of a spool that another process may have, as they lie on the disk; nothing is changed.

    SpoolError where there is none, or it cannot be read.
    """
    try:
        kept = decode_positions((root / POSITION).read_bytes())
        cursor = kept.cursor if kept is not None else 0
        newest, octets, torn = cursor, 0, 0
        for first, path in sorted(
            (first, path) for path in root.iterdir() if (first := first_of(path.name)) is not None
        ):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                # It was read to its end meanwhile.
                continue
            placed, end = scan(data, after=first - 1)
            newest = max([newest, *(one.sequence for one in placed[-1:])])
            octets, torn = octets + len(data), len(data) - end
    except OSError as error:
        raise SpoolError(f"the spool in {root} cannot be read: {error.strerror}") from error
    done = kept or Position(0, b"")
    return SpoolCounts(newest, done.acknowledged, done.dropped, done.damaged, newest - cursor, octets, torn)


def _read(path: Path, placed: Sequence[Placed]) -> list[Spooled]:
    """Return records that lie one after the other, with one read."""
    if not placed:
        return []
    begin = placed[0].offset
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), placed[-1].offset + placed[-1].octets - begin, begin)
    return [Spooled(one.sequence, data[one.offset - begin : one.offset - begin + one.octets]) for one in placed]


def _read_position(path: Path) -> Position | None:
    try:
        return decode_positions(path.read_bytes())
    except FileNotFoundError:
        return None


def _make_position(root: Path) -> None:
    """Make the file at its whole size: later writes to it then need no room."""
    scratch = root / f"{POSITION}.new"
    with scratch.open("wb") as file:
        file.write(bytes(2 * SLOT))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(root / POSITION)
    _sync_folder(root)


def _sync_folder(root: Path) -> None:
    number = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
