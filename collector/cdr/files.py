"""Files of call detail records: found in folders, told apart from what is unfinished or foreign, and hashed.

A folder may be written to while it is read: CUCM's (S)FTP push gives a file its name without the leading `_` only when
it is whole (Cisco CDR Administration Guide, CDR repository manager). Other writers do not, so a file that changed a
moment ago is looked at twice.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from collector.capture.files import CaptureError, open_source

HEAD: Final = 64 << 10
"""Octets of a file that tell its format."""
PIECE: Final = 4 << 20
_NAME = re.compile(r"(?P<tag>[^_]+)_(?P<node>.+_\d+)_(?P<minute>\d{12})_(?P<sequence>\d{1,18})(?:\.\w+)*")
"""CUCM's names: tag_clusterId_nodeId_yyyymmddhhmm_sequence, the time in UTC."""


class CdrError(ValueError):
    """The run cannot go on; the message is one line."""


class LayoutError(ValueError):
    """A file is of a known format, and its columns are not; the message continues the file's name."""


class MissingColumnError(LayoutError):
    """A file has the columns of a mapping but for some."""


class Skipped(NamedTuple):
    """A file that was left alone."""

    path: Path
    reason: str
    """unfinished, changing, hidden, linked_folder, empty, not_a_file, unreadable, unknown_format, unknown_columns or
    missing_column."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file holds, told by its first octets."""

    format: str
    """cucm, asterisk, freeswitch, avaya, or the name of a mapping."""
    record: str
    """`cdr` or `cmr`."""
    columns: tuple[str, ...] = ()
    """Names of its columns in the file's order; empty where the format has none."""
    first_line: int = 1
    """Line of the first record, from 1."""
    is_added_to: bool = False
    """Whether systems add lines to such a file as calls end."""


Detect = Callable[[bytes, str], Layout | None]
"""Tells what a file holds by its first octets and its name."""


@dataclass(frozen=True, slots=True)
class CdrFile:
    """One file that is going to be read."""

    path: Path
    name: str
    """File name, without its folder."""
    format: str
    record: str
    """`cdr` or `cmr`."""
    sha256: str
    """Of its octets, unpacked; lower-case hexadecimal."""
    size: int
    """Octets, unpacked."""
    columns: tuple[str, ...] = ()
    first_line: int = 1
    node: str | None = None
    """CUCM: cluster and node in the name."""
    sequence: int | None = None
    """CUCM: sequence number in the name."""
    minute: datetime | None = None
    """CUCM: UTC minute in the name."""
    stamp: tuple[int, int] | None = None
    """Octets on disk and time of change [ns] when it was hashed; None where it may grow meanwhile."""
    is_added_to: bool = False
    """Whether its writer adds lines to it: then a longer file with the same begin is the same file later."""
    has_rest: bool = False
    """Whether octets follow that are no whole line yet."""
    start: int = 0
    """Octets at its begin that were read before, when it was shorter; unpacked, up to the end of a line."""
    lines_before: int = 0
    """Lines in them."""

    @property
    def is_unchanged(self) -> bool:
        """Whether it is still what was hashed, as far as size and time tell."""
        return self.stamp is None or _stamp(self.path) == self.stamp

    @property
    def file_key(self) -> int:
        """First 64 bits of the hash, as a signed number."""
        return int.from_bytes(bytes.fromhex(self.sha256[:16]), "big", signed=True)


class NameParts(NamedTuple):
    """What the name of a CUCM file says."""

    node: str
    minute: datetime
    sequence: int


def name_parts(name: str) -> NameParts | None:
    """Read a name such as `cdr_StandAloneCluster_02_201810261040_329890`; None where it is not CUCM's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        minute = datetime.strptime(match["minute"], "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    return NameParts(match["node"], minute, int(match["sequence"]))


@dataclass(frozen=True, slots=True)
class Found:
    """What lies under the paths that were named."""

    files: tuple[Path, ...]
    fresh: tuple[Path, ...]
    """Files that changed a moment ago: `settled` says later which of them are whole."""
    skipped: tuple[Skipped, ...]
    stamps: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """Size and time of change of each file and fresh file as it was found."""


def discover(paths: Sequence[Path], now_ns: int, settle_ns: int = 0, apart: Iterable[Path] = ()) -> Found:
    """Find files under paths, folders with all below them, in order of name; those `apart`, which are ours, are not.

    Files in folders that changed within `settle_ns` of `now_ns` are `fresh`; a file named itself is never.
    Raises `CdrError` for a path that does not exist.
    """
    files: dict[Path, None] = {}
    fresh: dict[Path, None] = {}
    skipped: dict[Path, Skipped] = {}
    stamps: dict[Path, tuple[int, int]] = {}
    ours = {path.resolve() for path in apart}
    for path, named in _walk(paths, ours, skipped):
        if path in files or path in fresh or path in skipped:
            continue
        left = _leave(path, named)
        if isinstance(left, Skipped):
            skipped[path] = left
            continue
        stamps[path] = (left.st_size, left.st_mtime_ns)
        is_fresh = not named and settle_ns > 0 and now_ns - left.st_mtime_ns < settle_ns
        (fresh if is_fresh else files)[path] = None
    return Found(tuple(files), tuple(fresh), tuple(skipped.values()), stamps)


def settled(found: Found) -> Found:
    """Look at fresh files again: those that did not change since are files, the others are left for the next time."""
    files, skipped = list(found.files), list(found.skipped)
    for path in found.fresh:
        if _stamp(path) == found.stamps[path]:
            files.append(path)
        else:
            skipped.append(Skipped(path, "changing", "is being written to; left for the next time"))
    return Found(tuple(sorted(files, key=_order)), (), tuple(skipped), found.stamps)


def _order(path: Path) -> tuple[str, str]:
    return path.name, str(path)


def _walk(paths: Iterable[Path], ours: set[Path], skipped: dict[Path, Skipped]) -> Iterator[tuple[Path, bool]]:
    """Each file below the paths, and whether it was named itself; folders that cannot be read are skipped."""

    def skip(error: OSError) -> None:
        path = Path(str(error.filename))
        skipped[path] = Skipped(path, "unreadable", f"cannot be read: {error.strerror}")

    for path in paths:
        if not path.is_dir():
            if not os.path.lexists(path):
                raise CdrError(f"{path}: no such file or folder")
            yield path, True
            continue
        inside: list[Path] = []
        for folder, folders, names in os.walk(path, onerror=skip):
            here = Path(folder).resolve()
            folders[:] = sorted(name for name in folders if here / name not in ours)
            left = [one for name in folders if (one := _leave_folder(Path(folder, name))) is not None]
            skipped.update((one.path, one) for one in left)
            folders[:] = [name for name in folders if Path(folder, name) not in skipped]
            inside += [Path(folder, name) for name in names if here / name not in ours]
        for each in sorted(inside, key=_order):
            yield each, False


def _leave_folder(path: Path) -> Skipped | None:
    """Why a folder within another is left alone with all in it."""
    if path.name.startswith("."):
        return Skipped(path, "hidden", "is a hidden folder")
    if path.is_symlink():
        # It may lead back to where it lies.
        return Skipped(path, "linked_folder", "is a link to a folder: name the folder itself")
    return None


def _leave(path: Path, named: bool) -> Skipped | os.stat_result:
    """Why a file is left alone without looking into it, else its status."""
    if path.name.startswith("_"):
        return Skipped(path, "unfinished", "has a leading _: its sender has not finished it")
    if path.name.startswith(".") and not named:
        return Skipped(path, "hidden", "is hidden")
    try:
        status = path.stat()
    except OSError as error:
        return Skipped(path, "unreadable", f"cannot be read: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path, "not_a_file", "is not a regular file")
    if not status.st_size:
        return Skipped(path, "empty", "is empty")
    return status


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class Watched(NamedTuple):
    """What was seen of a file while it was watched."""

    is_settled: bool
    """It has not changed for as long as a whole file takes to be whole."""
    is_over: bool
    """It has not changed for so long that nothing more is to come, whether its last line has an end or not."""


class _Hashed(NamedTuple):
    """A file that was read once."""

    whole: str
    size: int
    in_lines: str
    """Hash of it up to the end of its last line that has one."""
    size_in_lines: int
    head: bytes
    tail: bytes
    """Its last octet that is no white space."""


def _hash(path: Path, size: int) -> _Hashed | Skipped:
    """Hash a file of about `size` octets; unpacked."""
    try:
        source = open_source(str(path))
    except CaptureError as error:
        return Skipped(path, "unreadable", str(error).removeprefix(f"{path}: "))
    digest, read, head, tail = hashlib.sha256(), 0, b"", b""
    lines, in_lines = digest.copy(), 0
    with source:
        buffer = bytearray(min(PIECE, max(HEAD, size + 1)))
        view = memoryview(buffer)
        while count := source.read_into(view):
            end = buffer.rfind(b"\n", 0, count) + 1
            digest.update(view[:end])
            if end:
                lines, in_lines = digest.copy(), read + end
            digest.update(view[end:count])
            read += count
            if len(head) < HEAD:
                head += bytes(view[: min(count, HEAD - len(head))])
            tail = bytes(view[max(0, count - HEAD) : count]).rstrip()[-1:] or tail
        problem = source.problem
    if problem is not None:
        return Skipped(path, "unreadable", problem)
    return _Hashed(digest.hexdigest(), read, lines.hexdigest(), in_lines, head, tail)


def identify(
    path: Path, stamp: tuple[int, int] | None, detect: Detect, watched: Watched | None = None
) -> CdrFile | Skipped:
    """Hash a file and tell what it holds; `stamp` is its size and time of change when it was found.

    A packed file that breaks off is left alone as a whole: half of a file would be another file, with another hash.
    A file that is `watched` is taken up to the end of its last line where lines are added to it; where it comes whole,
    not before it seems to be.
    """
    hashed = _hash(path, stamp[0] if stamp else PIECE)
    if isinstance(hashed, Skipped):
        return hashed
    is_changed = stamp is not None and _stamp(path) != stamp
    if is_changed and watched is None:
        return Skipped(path, "changing", "changed while it was read; left for the next time")
    if not hashed.size:
        return Skipped(path, "empty", "is empty")
    try:
        layout = detect(hashed.head, path.name)
    except MissingColumnError as error:
        return Skipped(path, "missing_column", str(error))
    except LayoutError as error:
        return Skipped(path, "unknown_columns", str(error))
    if layout is None:
        return Skipped(path, "unknown_format", "is of no format that is known")
    sha256, size, has_rest = hashed.whole, hashed.size, False
    if watched is not None:
        why = _not_yet(hashed, layout, watched, is_changed)
        if why is not None:
            return Skipped(path, *why)
        if layout.is_added_to:
            stamp = None
            if not watched.is_over or is_changed:
                sha256, size = hashed.in_lines, hashed.size_in_lines
                has_rest = size < hashed.size
    parts = name_parts(path.name)
    return CdrFile(
        path=path,
        name=path.name.encode("utf-8", "backslashreplace").decode("utf-8"),  # names are octets, not always UTF-8
        format=layout.format,
        record=layout.record,
        sha256=sha256,
        size=size,
        columns=layout.columns,
        first_line=layout.first_line,
        node=parts.node if parts else None,
        sequence=parts.sequence if parts else None,
        minute=parts.minute if parts else None,
        stamp=stamp,
        is_added_to=layout.is_added_to,
        has_rest=has_rest,
    )


def _not_yet(hashed: _Hashed, layout: Layout, watched: Watched, is_changed: bool) -> tuple[str, str] | None:
    """Why a watched file is not read yet."""
    if layout.is_added_to:
        if not hashed.size_in_lines and not watched.is_over:
            return "cut_row", "has no whole line yet"
        return None
    if is_changed or not watched.is_settled:
        return "changing", "is being written to"
    closing = {b"{": b"}", b"[": b"]"}.get(hashed.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1])
    is_whole = hashed.size_in_lines == hashed.size if closing is None else hashed.tail == closing
    if not is_whole and not watched.is_over:
        return "cut_row", "ends within a record: the rest is still to come"
    return None
