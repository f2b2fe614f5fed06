"""What several processes do to one lake at once. A program, for it forks: its tests run it in a clean interpreter."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from lake_rows import rows

from analytics.store import schema
from analytics.store.checking import check
from analytics.store.delta import open_table
from analytics.store.lake import Lake
from analytics.store.maintenance import maintain, merge, unnamed
from analytics.store.settings import LakeSettings, StoreError

ROWS = 20
KILLS = 200
MOST_SECONDS = 80
INTERVALS = schema.INTERVALS


def opened(root: Path, *, durable: bool = False, orphan_hours: float = 24) -> Lake:
    settings = LakeSettings(durable=durable, orphan_hours=orphan_hours, keep_days={"intervals": None}, threads=1)
    return Lake.open(root, create=True, settings=settings)


@contextmanager
def forked(work: Callable[[int], None]) -> Iterator[tuple[int, int]]:
    """Run work in a forked child with the writing end of a pipe; the parent has used no library with threads yet."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        with suppress(BaseException):
            os.close(reader)
            work(writer)
            status = 0
        os._exit(status)
    os.close(writer)
    try:
        yield process, reader
    finally:
        os.close(reader)


def append_all(root: Path, source: str, batches: int, writer: int) -> None:
    """Append batch after batch, from the first on as after any restart, and tell of each that it is in."""
    lake = opened(root)
    for number in range(batches):
        lake.append("intervals", batch_rows(source, number), batch=f"{source} {number}")
        os.write(writer, f"{number}\n".encode())


def batch_rows(source: str, number: int) -> pa.Table:
    return rows("intervals", range(ROWS), step_s=7_200, stream_key=number, source=source)


def in_child(work: Callable[[], object]) -> None:
    """Run assertions in a child: the parent must stay free of threads, that it may fork on."""

    def told(writer: int) -> None:
        try:
            work()
        except BaseException as error:
            os.write(writer, repr(error).encode()[:4_000])
            raise

    with forked(told) as (process, reader):
        said = b""
        while part := os.read(reader, 4_096):
            said += part
        _, status = os.waitpid(process, 0)
    assert status == 0, said.decode()


def counted(lake: Lake) -> Counter[tuple[str, int]]:
    connection = lake.connect()
    name = lake.view(connection, "intervals")
    return Counter(
        {
            (source, number): count
            for source, number, count in connection.execute(
                f"SELECT source, stream_key, count(*) FROM {name} GROUP BY ALL"
            ).fetchall()
        }
    )


def kills(folder: Path) -> None:
    root = folder / "store"
    chance = random.Random(20_251_001)
    acknowledged: set[int] = set()
    began = time.monotonic()
    first = 0
    killed = 0
    while killed < KILLS and time.monotonic() - began < MOST_SECONDS:
        killed += 1

        def work(writer: int, first: int = first) -> None:
            lake = opened(root)
            for number in range(max(0, first - 2), 1_000_000):
                lake.append("intervals", batch_rows("kill", number), batch=f"kill {number}")
                os.write(writer, f"{number}\n".encode())
                if number % 7 == 6:
                    merge(lake, INTERVALS)

        with forked(work) as (process, reader):
            time.sleep(0.02 + chance.random() * 0.25)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            said = b""
            while part := os.read(reader, 65_536):
                said += part
        acknowledged |= {int(line) for line in said.split()}
        first = max(acknowledged, default=-1) + 1

    def look() -> None:
        lake = opened(root)
        found = counted(lake)
        assert set(found.values()) <= {ROWS}
        assert {("kill", number) for number in acknowledged} <= set(found)
        # What was in when the kill came, but was not told any more, is there at most once and whole.
        assert len(found) - len(acknowledged) <= KILLS
        findings = check(lake, now=datetime.now(UTC))[1]
        assert all(finding.harmless for finding in findings), findings
        left = unnamed(lake, INTERVALS)
        assert left, "no kill came while a file was written"
        assert any(finding.code == "unfinished" for finding in findings)
        maintain(opened(root, orphan_hours=0), INTERVALS, now=datetime.now(UTC))
        assert counted(opened(root)) == found
        assert unnamed(opened(root), INTERVALS) == []

    in_child(look)
    assert killed >= KILLS // 4, "the machine is too slow for this"
    assert len(acknowledged) > 20


def four_at_once(folder: Path) -> None:
    root = folder / "store"
    batches = 25

    def compacts(writer: int) -> None:
        lake = opened(root)
        merged = 0
        for _ in range(12):
            if lake.version("intervals") is not None:
                merged += merge(lake, INTERVALS)[0]
            time.sleep(0.05)
        assert merged
        os.write(writer, b"done\n")

    def reads(writer: int) -> None:
        lake = opened(root)
        before: Counter[tuple[str, int]] = Counter()
        for _ in range(40):
            now = counted(lake)
            assert set(now.values()) <= {ROWS}, "half a commit was seen"
            assert before <= now, "a commit went away"
            before = now
            time.sleep(0.02)
        os.write(writer, b"done\n")

    with (
        forked(lambda writer: append_all(root, "one", batches, writer)) as one,
        forked(lambda writer: append_all(root, "two", batches, writer)) as two,
        forked(compacts) as three,
        forked(reads) as four,
    ):
        statuses = [os.waitpid(process, 0)[1] for process, _ in (one, two, three, four)]
        assert statuses == [0, 0, 0, 0]

    def look() -> None:
        assert counted(opened(root)) == {(source, n): ROWS for source in ("one", "two") for n in range(batches)}

    in_child(look)


def same_batches(folder: Path) -> None:
    root = folder / "store"
    with (
        forked(lambda writer: append_all(root, "same", 15, writer)) as one,
        forked(lambda writer: append_all(root, "same", 15, writer)) as two,
    ):
        assert [os.waitpid(process, 0)[1] for process, _ in (one, two)] == [0, 0]

    def look() -> None:
        lake = opened(root)
        assert counted(lake) == {("same", n): ROWS for n in range(15)}
        assert unnamed(lake, INTERVALS) == []

    in_child(look)


def replacing(folder: Path) -> None:
    root = folder / "store"

    def replaces(source: str, writer: int) -> None:
        lake = opened(root)
        connection = lake.connect()
        connection.register("new", rows("usage", range(ROWS), source=source))
        for _ in range(10):
            lake.append_query(
                "usage", connection, "SELECT * FROM new", batch=None, replace=[datetime(2025, 10, 1, tzinfo=UTC).date()]
            )
        os.write(writer, b"done\n")

    with (
        forked(lambda writer: replaces("one", writer)) as one,
        forked(lambda writer: replaces("two", writer)) as two,
    ):
        assert [os.waitpid(process, 0)[1] for process, _ in (one, two)] == [0, 0]

    def look() -> None:
        lake = opened(root)
        connection = lake.connect()
        name = lake.view(connection, "usage")
        assert connection.execute(f"SELECT count(*), count(DISTINCT source) FROM {name}").fetchall() == [(ROWS, 1)]

    in_child(look)


def busy(folder: Path) -> None:
    def look() -> None:
        lake = Lake.open(folder / "store", create=True, settings=LakeSettings(commit_seconds=0))
        lake.append("intervals", batch_rows("a", 0), batch="a")
        stale = open_table(lake.root, INTERVALS)
        opened(folder / "store").append("intervals", batch_rows("b", 0), batch="b")
        lake.__dict__["_current"] = lambda _handles, _table: stale
        with pytest.raises(StoreError, match="table intervals is busy: no commit in 0 s"):
            lake.append("intervals", batch_rows("c", 0), batch="c")

    in_child(look)


SCENARIOS: Mapping[str, Callable[[Path], None]] = {
    scenario.__name__: scenario for scenario in (kills, four_at_once, same_batches, replacing, busy)
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
