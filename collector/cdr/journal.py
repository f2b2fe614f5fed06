"""What makes each file count once: one import at a time, and a note of what is under way.

Rows of a group of files go into the lake in one commit, and the files into `imports` in a later one. A process may be
killed between the two. Before rows are written, the journal therefore names the files of the group; it forgets them
once `imports` names them. Files that a dead process left in the journal are looked up in the lake before they are
written again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from collector.cdr.files import CdrError


class BusyError(CdrError):
    """Another process imports into the store."""


FOLDER: Final = "_cdr_import"
"""Folder inside the store."""


class Journal:
    """Keys of files whose rows may be in the lake although `imports` does not name them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "pending.json"
        self.pending: set[int] = self._read()

    def add(self, keys: Iterable[int]) -> None:
        """Note files before their rows are written; on the disk when this returns."""
        self._write(self.pending.union(keys))

    def forget(self, keys: Iterable[int]) -> None:
        """Leave out files that `imports` names."""
        self._write(self.pending.difference(keys))

    def _read(self) -> set[int]:
        try:
            return {int(key) for key in json.loads(self._path.read_text(encoding="ascii"))}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError) as error:
            raise CdrError(f"{self._path} cannot be read: what is half imported is not known") from error

    def _write(self, keys: set[int]) -> None:
        """Replace the file whole, so that a kill leaves the old or the new one."""
        scratch = self._path.with_suffix(".new")
        with scratch.open("w", encoding="ascii") as file:
            json.dump(sorted(keys), file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.pending = keys


@contextmanager
def sole_import(store: Path, say: Callable[[str], None], *, wait: bool = True) -> Iterator[Journal]:
    """Wait until no other process imports into the store, and keep others waiting; a dead process keeps nobody.

    Raises `BusyError` where one does and nobody is to `wait`.
    """
    folder = store / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CdrError(f"{folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise BusyError(f"another import into {store} is running") from None
            say("another import into this store is running: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Journal(folder)
    finally:
        os.close(descriptor)
