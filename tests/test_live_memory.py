"""Memory given back: what is said to be zero is zero, what lies beside it stays, and code still runs."""

from __future__ import annotations

import mmap
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from collector.live.memory import PACE_S, code_of_libraries, give_back, release, sparing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives back pages")
ROW = 1344  # octets, so that rows do not begin with pages


def resident() -> int:
    """Pages of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_rows_given_back_are_zero_and_the_rows_beside_them_are_kept() -> None:
    array = np.ones((40_960, ROW), np.uint8)
    array[10_000:20_000] = 0  # as freed rows are
    before = resident()
    give_back(array, 10_000, 20_000)
    assert before - resident() > 0.9 * 10_000 * ROW / mmap.PAGESIZE
    assert not array[10_000:20_000].any()
    assert array[:10_000].all()
    assert array[20_000:].all()


def test_rows_within_one_page_are_left_alone() -> None:
    array = np.ones((64, 16), np.uint8)
    give_back(array, 10, 12)
    assert array.all()


def test_libraries_still_work_when_their_code_was_given_back() -> None:
    assert code_of_libraries()
    packed = zlib.compress(b"voice " * 1000)
    release()
    assert zlib.decompress(packed) == b"voice " * 1000
    assert np.linalg.norm(np.array([3.0, 4.0])) == 5.0


def test_libraries_work_while_their_code_is_given_back_time_and_again() -> None:
    matrix = np.eye(64)
    with sparing():
        until = time.monotonic() + 5 * PACE_S
        while time.monotonic() < until:
            assert np.linalg.det(matrix) == 1.0
