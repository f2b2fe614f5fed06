"""Memory of a process that runs for years, given back to the system (Linux with glibc; elsewhere nothing happens).

What a harvest takes for a moment is freed in pieces all over the heap, and code that ran once stays mapped: without
these the process keeps the size of its largest moment.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

M_TRIM_THRESHOLD = -1  # mallopt(3)
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
LARGE = 256 << 10
"""Blocks from here on are mapped one by one, and go back as they are freed [octets]; stated, it does not grow."""
ARENAS = 2
LARGE_LIBRARY = 4 << 20
"""Code of libraries from here on is worth giving back while they work [octets]."""
PACE_S = 0.005
"""How often that is done [s]: what is used again is mapped again, at some microseconds for each 64 KiB. Every 20 ms the
code of a commit of 10,000 calls' ends stood in memory nearly whole, 20 MB more."""

_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (r-xp|r--p) \S+ \S+ \S+ +/\S+\.so\S*$")


def settle_allocator() -> bool:
    """Have freed memory go back to the system; whether that can be had. To be called before threads begin."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        settings = ((M_ARENA_MAX, ARENAS), (M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, LARGE))
        return all(mallopt(name, value) == 1 for name, value in settings)
    return False


def release() -> None:
    """Give back what is free: of the heap, and code of libraries that is not in use now."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    _let_go(code_of_libraries())


class LargeLibraries:
    """Code of the large libraries that are loaded by now."""

    def __init__(self) -> None:
        self._code = [mapping for mapping in code_of_libraries() if mapping[1] >= LARGE_LIBRARY]

    def let_go(self) -> None:
        """Give back their pages; what still runs has its own mapped again as it comes to them."""
        _let_go(self._code)


@contextmanager
def sparing() -> Iterator[None]:
    """While large libraries work one after another, keep only the code that is in use in memory, not all they used."""
    over = threading.Event()
    code = LargeLibraries()

    def spare() -> None:
        while not over.wait(PACE_S):
            code.let_go()

    sparing = threading.Thread(target=spare, name="spare-memory", daemon=True)
    sparing.start()
    try:
        yield
    finally:
        over.set()
        sparing.join()


def _let_go(code: list[tuple[int, int]]) -> None:
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        for begin, length in code:
            # These pages were never written to: the next use reads them again from the page cache.
            library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


def give_back(array: NDArray[Any], begin: int, end: int) -> None:
    """Give back the pages in which rows from `begin` to before `end` lie alone; all of them are zero from then on."""
    stride = array.strides[0]
    first = -(-(array.ctypes.data + begin * stride) // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (array.ctypes.data + end * stride - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if length <= 0:
        return
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


def code_of_libraries() -> list[tuple[int, int]]:
    """Where libraries' code and constants are mapped, none of which the linker changed: address and octets of each."""
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:
        return []
    found: list[tuple[int, int]] = []
    mapping: tuple[int, int] | None = None
    for line in lines:
        if line.startswith("Anonymous:"):
            if mapping is not None and line.split()[1] == "0":
                found.append(mapping)
            mapping = None
        elif mapping is None and (match := _MAPPING.match(line)):
            begin, end = int(match[1], 16), int(match[2], 16)
            mapping = (begin, end - begin)
    return found
