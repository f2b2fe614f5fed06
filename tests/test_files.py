"""Bytes come out of files, compressed files and pipes as they went in; what is cut says where."""

from __future__ import annotations

import gzip
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.capture.files import CaptureError, Source, Windows, open_source

SAMPLE = random.Random(1).randbytes(300_000) + bytes(200_000) + b"INVITE sip:x SIP/2.0\r\n" * 5_000


def read_all(source: Source, step: int = 70_001) -> bytes:
    buffer, out = bytearray(step), bytearray()
    while count := source.read_into(memoryview(buffer)):
        out += buffer[:count]
    return bytes(out)


def read_file(path: Path, data: bytes) -> tuple[bytes, str | None]:
    path.write_bytes(data)
    with open_source(str(path)) as source:
        out = read_all(source)
        assert source.position == len(data) or source.problem
        return out, source.problem


def gzip_members(data: bytes) -> bytes:
    return gzip.compress(data[:250_000]) + gzip.compress(b"") + gzip.compress(data[250_000:])


def zstd_frames(data: bytes) -> bytes:
    plain = zstandard.ZstdCompressor(write_content_size=True)
    checked = zstandard.ZstdCompressor(level=19, write_checksum=True, write_content_size=False)
    skippable = b"\x52\x2a\x4d\x18\x05\0\0\0hello"
    return skippable + plain.compress(data[:250_000]) + skippable + checked.compress(data[250_000:])


@pytest.mark.parametrize("pack", [bytes, gzip_members, zstd_frames])
def test_a_file_delivers_its_bytes_whatever_its_compression(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "misleading.name"
    packed = pack(SAMPLE)
    assert read_file(path, packed) == (SAMPLE, None)
    with open_source(str(path)) as source:
        assert (source.size, source.live, source.name) == (len(packed), False, str(path))


@pytest.mark.parametrize("data", [b"", b"\x1f", b"abc", b"\x28\xb5\x2f"])
def test_a_file_shorter_than_any_magic_is_plain(tmp_path: Path, data: bytes) -> None:
    assert read_file(tmp_path / "f", data) == (data, None)


def test_zeros_after_a_gzip_member_are_padding(tmp_path: Path) -> None:
    packed = gzip.compress(b"one") + bytes(40_000) + gzip.compress(b"two") + bytes(3)
    assert read_file(tmp_path / "f", packed) == (b"onetwo", None)


@pytest.mark.parametrize(("pack", "kind"), [(gzip.compress, "gzip"), (zstandard.compress, "zstd")])
def test_something_else_after_the_compressed_stream_is_reported(
    tmp_path: Path, pack: Callable[[bytes], bytes], kind: str
) -> None:
    packed = pack(SAMPLE)
    data, problem = read_file(tmp_path / "f", packed + b"rubbish")
    assert data == SAMPLE
    assert problem == f"{kind} stream followed by something else at compressed byte {len(packed)}"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(5, 299_000), pack=st.sampled_from([gzip_members, zstd_frames]))
def test_a_cut_compressed_file_delivers_a_prefix_and_says_where_it_was_cut(
    tmp_path: Path, cut: int, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(SAMPLE)[:cut]
    data, problem = read_file(tmp_path / "f", packed)
    assert SAMPLE.startswith(data)
    assert len(data) > cut - 140_000  # the sample's start does not compress; zstd holds back one block of 128 KiB
    assert problem is None or problem.endswith(f"cut at compressed byte {cut}")
    assert problem is not None or len(data) in (0, 250_000)  # between members nothing is missing


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(5, 299_000), bit=st.integers(0, 7), pack=st.sampled_from([gzip_members, zstd_frames]))
def test_a_corrupt_compressed_file_neither_raises_nor_ends_silently_short(
    tmp_path: Path, at: int, bit: int, pack: Callable[[bytes], bytes]
) -> None:
    packed = bytearray(pack(SAMPLE))
    packed[at] ^= 1 << bit
    data, problem = read_file(tmp_path / "f", bytes(packed))
    assert problem or len(data) == len(SAMPLE) or pack is zstd_frames


def test_data_before_a_corrupt_byte_are_delivered(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(SAMPLE[:300_000]))
    packed[-6] ^= 1  # a check sum that does not agree
    data, problem = read_file(tmp_path / "f", bytes(packed))
    assert data == SAMPLE[:300_000]
    assert problem is not None
    assert "corrupt" in problem


def test_a_small_compressed_file_that_unpacks_to_gigabytes_comes_in_bounded_pieces(tmp_path: Path) -> None:
    block = b"\x02\x00\x10\x00"  # RLE block of 128 KiB of zeros, not the last
    bomb = b"\x28\xb5\x2f\xfd\x00\x58" + block * 30_000
    path = tmp_path / "bomb"
    path.write_bytes(bomb)
    buffer, total = bytearray(1 << 20), 0
    with open_source(str(path)) as source:
        while (count := source.read_into(memoryview(buffer))) and total < 50 << 20:
            total += count
            assert source.position <= 10 + total // (128 << 10) * 4 + 8
    assert total >= 50 << 20


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"]), st.binary(max_size=400))
def test_any_bytes_behind_a_magic_are_read_to_an_end(tmp_path: Path, magic: bytes, rest: bytes) -> None:
    read_file(tmp_path / "f", magic + rest)


def test_what_cannot_be_opened_says_why_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="absent: no such file"):
        open_source(str(tmp_path / "absent"))
    with pytest.raises(CaptureError, match="is a directory"):
        open_source(str(tmp_path))
    with pytest.raises(CaptureError, match="not a file name"):
        open_source("a\0b")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(CaptureError, match="cannot be read"):
        open_source(str(tmp_path / "loop"))


def consume(source: Source, takes: Callable[[int], int], size: int, headroom: int) -> tuple[bytes, int]:
    """What a consumer reads that takes `takes(available)` bytes of each window, and how many windows it saw."""
    out, windows, consumed = bytearray(), 0, 0
    with Windows(source, size, headroom) as reader:
        while (window := reader.advance(consumed)) is not None:
            assert reader.offset == len(out)
            consumed = takes(len(window))
            out += window[:consumed].tobytes()
            windows += 1
        out += reader.leftover.tobytes()
        assert reader.advance(0) is None
    return bytes(out), windows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.integers(0, 5_000),
    size=st.integers(1, 900),
    headroom=st.integers(0, 300),
    seed=st.integers(0, 9),
    compress=st.booleans(),
)
def test_windows_join_to_the_input_whatever_is_left_of_each(
    tmp_path: Path, length: int, size: int, headroom: int, seed: int, compress: bool
) -> None:
    data = random.Random(seed).randbytes(length)
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(data, 1) if compress else data)
    draw = random.Random(seed)
    with open_source(str(path)) as source:
        assert consume(source, lambda n: draw.randint(0, n), size, headroom)[0] == data


def test_a_file_comes_in_full_windows(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(SAMPLE))
    with open_source(str(path)) as source, Windows(source, 100_000, 1_000) as reader:
        lengths: list[int] = []
        while (window := reader.advance(lengths[-1] if lengths else 0)) is not None:
            lengths.append(len(window))
    assert lengths == [100_000] * (len(SAMPLE) // 100_000) + [len(SAMPLE) % 100_000]


def test_a_record_that_never_ends_is_refused_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(9 << 20))
    with open_source(str(path)) as source, Windows(source, 1 << 20, 1 << 10, record_limit=2 << 20) as reader:
        sizes = []
        for consumed in (0, 7, 0):
            window = reader.advance(consumed)
            assert window is not None
            sizes.append(len(window))
        assert sizes == [1 << 20, (2 << 20) - 7, (3 << 20) - 7]
        with pytest.raises(CaptureError, match="no record ends within 2 MiB after byte 7"):
            reader.advance(0)


def test_more_consumed_than_there_was_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    with open_source(str(tmp_path / "f")) as source, Windows(source) as reader:
        assert reader.advance(0) is not None
        with pytest.raises(ValueError, match="4 bytes consumed of a window of 3"):
            reader.advance(4)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_pipe_hands_over_what_has_come_without_waiting_for_more(fifo: Path) -> None:
    first, answered = threading.Event(), threading.Event()

    def write() -> None:
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(b"abcdef")
            first.set()
            assert answered.wait(20)
            pipe.write(b"ghi")

    writer = threading.Thread(target=write)
    writer.start()
    with open_source(str(fifo)) as source, Windows(source, 1_000, 10) as reader:
        assert (source.size, source.live) == (None, True)
        window = reader.advance(0)
        assert window is not None
        assert window.tobytes() == b"abcdef"
        answered.set()
        window = reader.advance(4)
        assert window is not None
        assert window.tobytes() == b"efghi"
        assert reader.advance(5) is None
        assert reader.leftover.tobytes() == b""
    writer.join()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1_000), size=st.integers(1, 3_000), headroom=st.integers(0, 400))
def test_windows_over_a_pipe_join_to_the_input(seed: int, size: int, headroom: int) -> None:
    draw = random.Random(seed)
    data = draw.randbytes(20_000)
    end, start = os.pipe()
    writer = threading.Thread(target=write_in_parts, args=(start, data, random.Random(seed + 1)))
    writer.start()
    with Source("pipe", end, owned=True) as source:
        assert consume(source, lambda n: draw.randint(0, n), size, headroom)[0] == data
    writer.join()


def write_in_parts(descriptor: int, data: bytes, draw: random.Random) -> None:
    at = 0
    while at < len(data):
        at += os.write(descriptor, data[at : at + draw.randint(1, 2_000)])
    os.close(descriptor)


def test_leaving_ends_the_thread_that_waits_on_a_silent_pipe() -> None:
    end, start = os.pipe()
    before = threading.active_count()
    with Source("pipe", end, owned=True) as source, Windows(source):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    os.close(start)


def test_a_failure_of_the_reading_thread_reaches_the_consumer(tmp_path: Path) -> None:
    class Broken(Source):
        def read_into(self, view: memoryview) -> int:
            raise MemoryError("no room")

    path = tmp_path / "f"
    path.write_bytes(b"x")
    with Broken("broken", os.open(path, os.O_RDONLY), owned=True) as source:
        reader = Windows(source)
        with reader, pytest.raises(MemoryError, match="no room"):
            reader.advance(0)


def test_a_read_error_is_the_end_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    with Source("write only", os.open(path, os.O_WRONLY), owned=True) as source:
        assert read_all(source) == b""
        assert source.problem == "reading failed at byte 0: Bad file descriptor"
