"""Where the bytes of a capture come from: files, compressed files, pipes; and windows over them that read ahead.

A source never fails for what is inside it: a stream that is cut or corrupt delivers what can be read, and says why it
ended in `Source.problem`. `CaptureError` is for what cannot be opened at all, and for a record no window can hold.
"""

from __future__ import annotations

import hashlib
import os
import select
import stat
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import zstandard

Bytes = npt.NDArray[np.uint8]

GZIP_MAGIC: Final = b"\x1f\x8b"  # RFC 1952 2.3.1
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878 3.1.1
ZSTD_BLOCK_MAX: Final = 128 << 10  # RFC 8878 3.1.1.2.4
WINDOW: Final = 4 << 20
HEADROOM: Final = 1 << 20
RECORD_LIMIT: Final = 64 << 20

_CHUNK: Final = 32 << 10
_PIECE: Final = 256 << 10


class CaptureError(ValueError):
    """The input cannot be opened or held; the message is one line that names it."""


class _Raw:
    """The bytes as they lie on disk or come down a pipe, with a way to wake a read that waits on a silent pipe."""

    def __init__(self, descriptor: int, owned: bool, live: bool, report: Callable[[str], None]) -> None:
        self._file = open(descriptor, "rb", buffering=0, closefd=owned)  # noqa: SIM115  # closed in close()
        self._live = live
        self._report = report
        self._wake_in, self._wake_out = os.pipe() if live else (-1, -1)
        self._pushed = b""
        self.position = 0

    def read_into(self, view: memoryview) -> int:
        if self._pushed:
            count = min(len(view), len(self._pushed))
            view[:count] = self._pushed[:count]
            self._pushed = self._pushed[count:]
        else:
            count = self._read_file(view)
        self.position += count
        return count

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        with memoryview(data) as view:
            count = self.read_into(view)
        return bytes(data[:count])

    def peek_start(self, size: int) -> bytes:
        """The first bytes, fewer only at the end; they are read again by what follows."""
        data = b""
        # More than asked, so that what came down a pipe in one go is not torn apart.
        while len(data) < size and (more := self.read(_CHUNK)):
            data += more
        self._pushed = data
        self.position = 0
        return data[:size]

    def cancel(self) -> None:
        if self._live:
            os.write(self._wake_out, b"\0")

    def close(self) -> None:
        self._file.close()
        if self._live:
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._live = False

    def _read_file(self, view: memoryview) -> int:
        try:
            if self._live and self._wake_in in select.select([self._file.fileno(), self._wake_in], [], [])[0]:
                return 0
            return self._file.readinto(view) or 0
        except OSError as error:
            self._report(f"reading failed at byte {self.position}: {error.strerror}")
            return 0


class Source:
    """Uncompressed bytes of one input, delivered in order. Made by `open_source`.

    Closing is the caller's (`with`); only `cancel` may be called from another thread than the one that reads.
    """

    def __init__(self, name: str, descriptor: int, owned: bool) -> None:
        status = os.fstat(descriptor)
        self.name = name
        self.live = not stat.S_ISREG(status.st_mode)
        """True for a pipe or device: data arrive when they arrive."""
        self.size: int | None = None if self.live else status.st_size
        """Bytes on disk, compressed if the file is; None for a pipe."""
        self.problem: str | None = None
        """Why the input ended before its proper end; None as long as nothing is wrong."""
        self._raw = _Raw(descriptor, owned, self.live, self._report)
        self._pieces: Iterator[bytes] | None = None
        self._piece = memoryview(b"")
        self._sniffed = False
        self._digest: hashlib._Hash | None = None

    def watch(self) -> None:
        """Take the SHA-256 of what is read from now on, unpacked."""
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str | None:
        """Hash of what was read since `watch`, lower-case hexadecimal; None without it."""
        return None if self._digest is None else self._digest.hexdigest()

    @property
    def position(self) -> int:
        """Bytes of the file (compressed, if it is) that have been taken so far."""
        return self._raw.position

    def read_into(self, view: memoryview) -> int:
        """Fill the start of `view` with what comes next; 0 at the end, or when it cannot be read further."""
        count = self._read_into(view)
        if self._digest is not None:
            self._digest.update(view[:count])
        return count

    def _read_into(self, view: memoryview) -> int:
        if not self._sniffed:
            self._sniff()
        if self._pieces is None:
            return self._raw.read_into(view)
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def cancel(self) -> None:
        """Make a read that waits on a silent pipe return 0."""
        self._raw.cancel()

    def close(self) -> None:
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sniff(self) -> None:
        # Only now, not when opening: a pipe may stay silent for long.
        magic = self._raw.peek_start(4)
        self._sniffed = True
        if magic.startswith(GZIP_MAGIC):
            self._pieces = _gunzip(self._raw, self._report)
        elif magic == ZSTD_MAGIC or _is_skippable(magic):
            self._pieces = _unzstd(self._raw, self._report)

    def _report(self, problem: str) -> None:
        self.problem = self.problem or problem


def open_source(path: str) -> Source:
    """Open a capture file, plain or compressed with gzip or zstd (told by content), or `-` for standard input.

    Raises `CaptureError` when there is nothing to read there.
    """
    if path == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise CaptureError("standard input is closed")
        if sys.stdin.isatty():
            raise CaptureError("standard input is a terminal: pipe a capture into it")
        return Source("standard input", sys.stdin.fileno(), owned=False)
    if Path(path).is_dir():
        raise CaptureError(f"{path}: is a directory, not a capture file")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file") from None
    except PermissionError:
        raise CaptureError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise CaptureError(f"{path!r}: not a file name") from None
    return Source(path, descriptor, owned=True)


def _gunzip(raw: _Raw, report: Callable[[str], None]) -> Iterator[bytes]:
    """Members one after another (RFC 1952 2.2), padding with zeros between and after them allowed."""
    engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
    first, fresh, data = True, True, b""
    while data := data or raw.read(_CHUNK):
        if fresh and not first:
            data = data.lstrip(b"\0")
            if not data:
                continue
        # zlib keeps back what it had decoded when it fails, so the state before is kept to go again in smaller steps.
        before = engine.copy()
        try:
            piece = engine.decompress(data, _PIECE)
        except zlib.error as error:
            if fresh and not first:
                report(f"gzip stream followed by something else at compressed byte {raw.position - len(data)}")
                return
            piece, used = _salvage(before, data)
            if piece:
                yield piece
            report(f"gzip stream corrupt at compressed byte {raw.position - len(data) + used}: {_reason(error)}")
            return
        fresh = False
        if piece:
            yield piece
        data = engine.unconsumed_tail
        if engine.eof:
            data = engine.unused_data
            engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
            first, fresh = False, True
    if not fresh:
        report(f"gzip stream cut at compressed byte {raw.position}")


def _salvage(engine: zlib._Decompress, data: bytes) -> tuple[bytes, int]:
    """What still decodes of `data` before the byte that breaks it, and where that byte is."""
    pieces: list[bytes] = []
    at, step = 0, len(data)
    while step and at < len(data):
        trial = engine.copy()
        try:
            pieces.append(trial.decompress(data[at : at + step]))
        except zlib.error:
            step //= 2
            continue
        engine = trial
        at += step
    return b"".join(pieces), at


def _reason(error: Exception) -> str:
    return str(error).rpartition(": ")[2]


def _is_skippable(magic: bytes) -> bool:
    return len(magic) == 4 and magic[0] & 0xF0 == 0x50 and magic[1:] == b"\x2a\x4d\x18"  # RFC 8878 3.1.2


class _CutError(Exception):
    """The input ended inside a frame."""


class _Exact:
    """Reads exactly as many bytes as asked."""

    def __init__(self, raw: _Raw) -> None:
        self._raw = raw

    def take(self, size: int, may_end: bool = False) -> bytes:
        data = self._raw.read(size)
        while len(data) < size:
            more = self._raw.read(size - len(data))
            if not more:
                if may_end and not data:
                    return b""
                raise _CutError
            data += more
        return data


def _unzstd(raw: _Raw, report: Callable[[str], None]) -> Iterator[bytes]:
    """Frames one after another (RFC 8878 3.1), fed block by block: a block is at most 128 KiB however small it came."""
    exact = _Exact(raw)
    try:
        while magic := exact.take(4, may_end=True):
            if _is_skippable(magic):
                left = int.from_bytes(exact.take(4), "little")
                while left:
                    left -= len(exact.take(min(left, _PIECE)))
            elif magic == ZSTD_MAGIC:
                yield from _zstd_frame(exact)
            else:
                report(f"zstd stream followed by something else at compressed byte {raw.position - 4}")
                return
    except _CutError:
        report(f"zstd stream cut at compressed byte {raw.position}")
    except zstandard.ZstdError as error:
        report(f"zstd stream corrupt at compressed byte {raw.position}: {_reason(error)}")


def _zstd_frame(exact: _Exact) -> Iterator[bytes]:
    engine = zstandard.ZstdDecompressor().decompressobj()
    descriptor = exact.take(1)
    flags = descriptor[0]  # RFC 8878 3.1.1.1.1
    single_segment = flags >> 5 & 1
    content_size = (single_segment, 2, 4, 8)[flags >> 6]
    dictionary_id = (0, 1, 2, 4)[flags & 3]
    header = exact.take(1 - single_segment + dictionary_id + content_size)
    engine.decompress(ZSTD_MAGIC + descriptor + header)
    last = 0
    while not last:
        block = exact.take(3)  # RFC 8878 3.1.1.2
        field = int.from_bytes(block, "little")
        last, kind, size = field & 1, field >> 1 & 3, field >> 3
        if kind == 3 or size > ZSTD_BLOCK_MAX:
            raise zstandard.ZstdError("block header impossible")
        body = exact.take(1 if kind == 1 else size)
        checksum = exact.take(4) if last and flags >> 2 & 1 else b""
        if piece := engine.decompress(block + body + checksum):
            yield piece


class Windows:
    """Contiguous windows over a source, read ahead by a thread while the consumer works on the one before.

    Two buffers take turns. Each has room in front of its data for what the consumer left of the window before, so only
    that tail is ever copied. From a file a window is always full (so windows are the same on every run); from a pipe
    it is what has come, so that a live capture is seen as it happens.
    """

    def __init__(
        self, source: Source, size: int = WINDOW, headroom: int = HEADROOM, record_limit: int = RECORD_LIMIT
    ) -> None:
        self.source = source
        self.offset = 0
        """Where the present window begins in the uncompressed input."""
        self.leftover: Bytes = np.empty(0, np.uint8)
        """After the end: the bytes that the consumer did not take."""
        self._headroom = headroom
        self._record_limit = record_limit
        self._buffers = [np.empty(headroom + size, np.uint8) for _ in range(2)]
        self._filled = [headroom, headroom]
        self._free = [True, True]
        self._taking: int | None = None
        self._array = self.leftover
        self._start = 0
        self._end = 0
        self._ended = False
        self._stop = False
        self._changed = threading.Condition()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="capture-reader")
        self._reader = self._executor.submit(self._read_ahead)

    def advance(self, consumed: int) -> Bytes | None:
        """The next window: what the consumer left of the last one (all but its first `consumed` bytes), then new data.

        None at the end, with `leftover` set. The array is valid until the next call. Raises `CaptureError` when the
        consumer leaves more than the record limit, ValueError when it claims more than there was.
        """
        if not 0 <= consumed <= self._end - self._start:
            raise ValueError(f"{consumed} bytes consumed of a window of {self._end - self._start}")
        self._start += consumed
        self.offset += consumed
        with self._changed:
            if self._taking is not None and self._extend():
                return self._array[self._start : self._end]
            following = 0 if self._taking is None else 1 - self._taking
            tail = self._end - self._start
            if tail > self._record_limit:
                raise CaptureError(
                    f"{self.source.name}: no record ends within {self._record_limit >> 20} MiB after byte {self.offset}"
                )
            whole = not self.source.live or tail > self._headroom
            self._changed.wait_for(lambda: self._ended or self._has(following, whole))
            if not self._has(following, whole=False):
                self.leftover = self._array[self._start : self._end]
                self._reader.result()
                return None
            self._move_to(following)
        return self._array[self._start : self._end]

    def wait(self, seconds: float) -> bool:
        """Whether within a time there is more than was seen, or the end: `advance` answers at once then."""
        with self._changed:
            return self._changed.wait_for(self._has_more, seconds)

    def close(self) -> None:
        """Stop the thread, also when it waits on a silent pipe. The source stays open."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self.source.cancel()
        self._executor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has(self, index: int, whole: bool) -> bool:
        filled = self._filled[index]
        return filled == len(self._buffers[index]) if whole else filled > self._headroom

    def _has_more(self) -> bool:
        if self._ended or self._taking is None:
            return self._ended or self._has(0, whole=False)
        return self._filled[self._taking] > self._end or self._has(1 - self._taking, whole=False)

    def _extend(self) -> bool:
        """Wait until the buffer in use has more than was seen of it; False when nothing more will come into it."""
        index = self._taking
        assert index is not None
        buffer = self._buffers[index]
        if self._array is not buffer:
            return False
        self._changed.wait_for(lambda: self._ended or self._filled[index] > self._end or self._end == len(buffer))
        if self._filled[index] == self._end:
            return False
        self._end = self._filled[index]
        return True

    def _move_to(self, following: int) -> None:
        tail = self._array[self._start : self._end]
        buffer, filled = self._buffers[following], self._filled[following]
        if len(tail) <= self._headroom:
            start = self._headroom - len(tail)
            buffer[start : self._headroom] = tail
            self._array, self._start, self._end = buffer, start, filled
        else:
            self._array = np.concatenate((tail, buffer[self._headroom : filled]))
            self._start, self._end = 0, len(self._array)
        if self._taking is not None:
            self._release(self._taking)
        self._taking = following
        self._changed.notify_all()

    def _release(self, index: int) -> None:
        self._filled[index] = self._headroom
        self._free[index] = True

    def _read_ahead(self) -> None:
        index = 0
        try:
            while self._fill(index):
                index = 1 - index
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _fill(self, index: int) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stop or self._free[index])
            self._free[index] = False
        buffer = self._buffers[index]
        end = self._headroom
        while end < len(buffer) and not self._stop:
            count = self.source.read_into(buffer.data[end:])
            if not count:
                return False
            end += count
            with self._changed:
                self._filled[index] = end
                self._changed.notify_all()
        return not self._stop
