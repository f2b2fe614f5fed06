"""Lines at the end of a file: all of them or none, also where the disk is full."""

from __future__ import annotations

import os
from typing import BinaryIO


def append_whole(file: BinaryIO, data: bytes) -> None:
    """Append to a file that is open for that, unbuffered, as far as the disk; after an OSError it is as before."""
    before = file.seek(0, os.SEEK_END)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(file.fileno(), rest) :]
        os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), before)
        raise
