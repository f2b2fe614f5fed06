from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.accelerate import njit
from collector.cdr.cucm import ahead
from collector.cdr.cucm_rows import fnv
from collector.cdr.cutting_numba_fns import POSITION, ROWS, cut_lines, zeros
from collector.loads import le64, trailing_zeros

WORDS = st.integers(-(2**63), 2**63 - 1)


def batch(number: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": [number]})


def numbers(taken: Iterator[pa.RecordBatch]) -> list[int]:
    return [one["n"][0].as_py() for one in taken]


def test_batches_come_in_order_from_their_own_thread() -> None:
    with ahead(batch(k) for k in range(20)) as taken:
        assert numbers(taken) == list(range(20))


def test_the_error_of_the_thread_is_raised_where_batches_are_taken() -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield batch(1)
        raise ValueError("broke off")

    with ahead(broken()) as taken:
        assert next(taken)["n"][0].as_py() == 1
        with pytest.raises(ValueError, match="broke off"):
            next(taken)


def test_only_a_few_batches_are_made_before_they_are_wanted() -> None:
    made: list[int] = []

    def source() -> Iterator[pa.RecordBatch]:
        for k in range(100):
            made.append(k)
            yield batch(k)

    with ahead(source(), depth=2) as taken:
        next(taken)
        time.sleep(0.2)
        assert len(made) <= 5
    assert not [thread for thread in threading.enumerate() if thread.name == "cdr-reader"]


def test_words_are_loaded_within_bounds_least_octet_first() -> None:
    window = np.frombuffer(bytes(range(1, 11)), np.uint8)
    assert le64(window, 1) == 0x0908070605040302
    for at in (-1, 3):
        with pytest.raises(IndexError):
            le64(window, at)


@njit
def count_zeros(words: np.ndarray, counts: np.ndarray) -> int:
    for k in range(words.shape[0]):
        counts[k] = trailing_zeros(words[k])
    return 0


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8))
def test_trailing_zeros_are_counted_alike_in_both_modes(words: list[int]) -> None:
    words += [0, 1, -(2**63), -1]
    counts = np.zeros(len(words), np.int64)
    count_zeros(np.array(words, np.int64), counts)
    expected = [next((bit for bit in range(64) if word >> bit & 1), 64) for word in words]
    assert counts.tolist() == expected == [trailing_zeros(word) for word in words]


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=8))
def test_an_octet_of_zero_is_found_and_no_other(octets: bytes) -> None:
    with np.errstate(over="ignore"):
        found = int(zeros(np.int64(int.from_bytes(octets, "little", signed=True)))) & (2**64 - 1)  # type: ignore[arg-type]
    assert found.to_bytes(8, "little") == bytes(0x80 if octet == 0 else 0 for octet in octets)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_cells_are_counted_as_a_walk_over_octets_counts_them(data: bytes) -> None:
    data = data.replace(b"\x01", b",").replace(b"\x02", b'"').replace(b"\x03", b"\n") + b',",",\n'
    window = np.frombuffer(data + b"\n" * 8, np.uint8).copy()
    lines = [text for text in data.split(b"\n")[:-1] if text.removesuffix(b"\r").strip(b" \t")]
    rows = len(lines) + 2
    place = np.zeros((1, rows), np.int32)
    at, begins, finishes, fault = (np.zeros(rows, np.int64) for _ in range(4))
    state = np.zeros(3, np.int64)
    allowed = np.zeros(200, np.int64)
    counted = []
    for width in range(1, 70):
        allowed[:] = 0
        allowed[width] = 1
        state[:] = 0
        # No slot has a column, so that only the number of cells and open quotes are faults.
        cut_lines(
            window, len(data), 1, 0, np.array([-1]), allowed, np.zeros(100, np.int32), np.zeros(1, np.int64),
            place, place.copy(), at, begins, finishes, fault, state,
        )  # fmt: skip
        assert (state[ROWS], state[POSITION]) == (len(lines), len(data))
        counted.append(fault[: len(lines)].tolist())
    for k, text in enumerate(lines):
        cells = 1
        quoted = False
        for octet in text:
            quoted ^= octet == 34
            cells += octet == 44 and not quoted
        faults = [column[k] for column in counted]
        assert faults == ([2] * 69 if quoted else [0 if width == cells else 1 for width in range(1, 70)])


@pytest.mark.parametrize(
    ("text", "hashed"), [(b"", 0xCBF29CE484222325), (b"a", 0xAF63DC4C8601EC8C), (b"foobar", 0x85944171F73967E8)]
)
def test_keys_are_hashed_as_fnv_says(text: bytes, hashed: int) -> None:
    # Test vectors of draft-eastlake-fnv, FNV-1a 64.
    assert fnv(text) & (2**64 - 1) == hashed
