"""Files of SQLite that only their owner may read."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read, unless there is one; OSError.

    Without a descriptor of it: where one is closed, the system drops all locks that this process holds on the file
    (fcntl(2)), also those of SQLite in other threads. Then another process takes itself for the only one, and removes
    the log of what was written under those who still write.
    """
    with suppress(FileExistsError):
        os.mknod(path, stat.S_IFREG | 0o600)
