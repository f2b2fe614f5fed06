"""`callgauge collect --cdr`: folders that real processes write into, slowly, and collectors that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cucm_records import line, table
from test_cdr_grown import text_of

from analytics.store.lake import Lake
from api.cdr_feed import FAILED, CdrFeed, FeedPlace
from collector.cdr.files import CdrError
from collector.cdr.watching import FeedFolder, FeedSettings
from collector.live.source import Found

ROOT = Path(__file__).resolve().parents[1]
SFTP_SERVERS = (Path("/usr/lib/openssh/sftp-server"), Path("/usr/libexec/openssh/sftp-server"))
RUN = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from api.main import run; run()"
QUICK = FeedSettings(poll_seconds=0.3, settle_seconds=0.3, over_seconds=60, rate_seconds=0.5)
SETTINGS = """
store = "store"
[cdr]
folders = ["in"]
poll_seconds = 0.3
settle_seconds = 0.3
[process]
health_seconds = 0.2
log = "json"
"""
CUCM_WRITER = """
import sys, time
path, data = sys.argv[1], open(sys.argv[2], "rb").read()
with open(path, "wb", buffering=0) as file:
    for at in range(0, len(data), len(data) // 6):
        file.write(data[at : at + len(data) // 6])
        time.sleep(0.25)
"""
ASTERISK_WRITER = """
import gzip, os, sys, time
folder, lines = sys.argv[1], open(sys.argv[2], "rb").read().splitlines(keepends=True)
live = os.path.join(folder, "Master.csv")
for number, line in enumerate(lines):
    if number == 35:
        # Rotated as logrotate does it: renamed, a line still added under the new name, then packed.
        os.rename(live, live + ".1")
        with open(live + ".1", "ab") as file:
            file.write(line)
        time.sleep(0.7)
        with open(live + ".1", "rb") as file, gzip.open(os.path.join(folder, "new.tmp"), "wb") as packed:
            packed.write(file.read())
        os.rename(os.path.join(folder, "new.tmp"), live + ".1.gz")
        os.remove(live + ".1")
        continue
    with open(live, "ab", buffering=0) as file:
        file.write(line[:40])
        time.sleep(0.05)
        file.write(line[40:])
"""


def call(number: int) -> str:
    return line(
        "cdr", globalCallID_callId=str(number), pkid=f'"{number:08x}-bd2d-48d4-ae03-7ee3766d6048"',
        origLegCallIdentifier=str(2 * number), destLegIdentifier=str(2 * number + 1),
    )  # fmt: skip


def cucm(folder: Path, number: int, calls: int = 3) -> tuple[str, bytes]:
    del folder
    return f"cdr_Cluster1_02_2025100108{number:02d}_{100 + number}", table(
        [call(1_000 * number + k) for k in range(calls)]
    )


@contextmanager
def collecting(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "callgauge.toml").write_text(SETTINGS, encoding="utf-8")
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(
            [sys.executable, "-c", RUN, "collect", *words], cwd=folder, env={**os.environ}, stderr=log, text=True
        ) as child,
    ):
        try:
            yield child
        finally:
            child.kill()


def stop(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGTERM)
    assert child.wait(40) == 0


def eventually(is_so: Callable[[], bool], seconds: float = 50) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.1)


def refs(store: Path) -> Counter[int]:
    """Rows of each call."""
    if not (store / "cdr_rows" / "_delta_log").is_dir():
        return Counter()
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        view = lake.view(connection, "cdr_rows")
        return Counter(dict(connection.execute(f"SELECT call_ref, count(*) FROM {view} GROUP BY 1").fetchall()))


def said(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8")


def test_what_real_writers_leave_in_a_folder_is_read_once_and_whole(tmp_path: Path) -> None:
    into = tmp_path / "in"
    into.mkdir()
    (tmp_path / "cucm").write_bytes(cucm(into, 5, 20)[1])
    (tmp_path / "asterisk").write_text(text_of("asterisk", 60).replace("what,is,this\n", ""))
    (into / "junk").write_bytes(b"\x89PNG\r\n\x1a\n")
    with collecting(tmp_path) as child:
        writers = [
            subprocess.Popen([sys.executable, "-c", CUCM_WRITER, into / cucm(into, 5)[0], tmp_path / "cucm"]),
            subprocess.Popen([sys.executable, "-c", ASTERISK_WRITER, into, tmp_path / "asterisk"]),
        ]
        # By temporary name and rename, as (S)FTP pushes and rsync do it; and one that comes later with an older name.
        for number in (9, 7):
            name, data = cucm(into, number)
            with (into / f"_{name}").open("wb") as file:
                file.write(data[:1_000])
                file.flush()
                time.sleep(1.0)
                file.write(data[1_000:])
            (into / f"_{name}").rename(into / name)
        for writer in writers:
            assert writer.wait(30) == 0
        eventually(lambda: sum(refs(tmp_path / "store").values()) >= 54 + 20 + 6)
        time.sleep(1.5)
        stop(child)
    found = refs(tmp_path / "store")
    assert (len(found), set(found.values())) == (54 + 20 + 6, {1})
    assert "junk was left alone: is of no format that is known" in said(tmp_path)
    assert said(tmp_path).count("junk was left alone") == 1
    rejects = tmp_path / "store" / "_cdr_import" / "rejects.csv"
    assert not rejects.exists()
    (health,) = [json.loads(path.read_text()) for path in (tmp_path / "store" / "_health").glob("*.json")]
    steps = {(one["step"], one["unit"]): one for one in health["steps"]}
    # A writer may take its file away between two looks.
    lost = {name: count for name, count in steps["parsed", "files"]["lost"].items() if name != "gone"}
    assert lost == {"unknown_format": 1}
    assert (steps["stored", "records"]["came"], steps["stored", "records"]["passed"]) == (80, 80)


def test_files_that_a_real_sftp_server_writes_slowly_are_read_when_they_are_whole(tmp_path: Path) -> None:
    server = next((path for path in SFTP_SERVERS if path.exists()), None)
    if server is None or shutil.which("sftp") is None:
        pytest.skip("OpenSSH's sftp and sftp-server are not installed")
    into = tmp_path / "in"
    into.mkdir()
    names = []
    for number in (1, 2):
        name, data = cucm(into, number, 900)
        names.append(name)
        (tmp_path / name).write_bytes(data)
    # One under its own name all the while, the other as CUCM pushes it: renamed when it is there.
    batch = f"put {tmp_path / names[0]} {into / names[0]}\nput {tmp_path / names[1]} {into / '_'}{names[1]}\n"
    (tmp_path / "batch").write_text(f"{batch}rename {into / '_'}{names[1]} {into / names[1]}\n")
    feed, reported = feed_of(tmp_path, FeedFolder(into))
    words = ["sftp", "-D", str(server), "-l", "1500", "-B", "8192", "-R", "2", "-b", str(tmp_path / "batch")]
    seen: list[int] = []

    def is_all_there() -> bool:
        seen.append(sum(path.stat().st_size for path in into.glob("cdr_*")))
        return feed.health().parsed == 2

    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sending:
        run_until(feed, is_all_there)
        assert sending.wait(20) == 0
    assert len(set(seen)) > 5, "it was not slow"
    found = refs(tmp_path / "store")
    assert (len(found), set(found.values())) == (1_800, {1})
    assert (feed.health().seen, feed.health().lost, reported) == (2, {}, [])


def test_a_collector_that_is_killed_again_and_again_reads_every_row_once(tmp_path: Path) -> None:
    into = tmp_path / "in"
    into.mkdir()
    for number in range(12):
        name, data = cucm(into, number, 50)
        (into / name).write_bytes(data)
    text = text_of("asterisk", 400)
    rows = text.count("Dial")
    for round_ in range(4):
        (into / "Master.csv").write_text(text[: len(text) * (round_ + 1) // 5])
        with collecting(tmp_path) as child:
            # While it starts, while its reader runs, and while rows are written.
            time.sleep(1.2 + 0.9 * round_)
            children = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True).stdout.split()
            child.kill()
            for pid in children if round_ % 2 else ():
                os.kill(int(pid), signal.SIGKILL)
    (into / "Master.csv").write_text(text)
    with collecting(tmp_path) as child:
        eventually(lambda: sum(refs(tmp_path / "store").values()) >= 12 * 50 + rows)
        time.sleep(1.5)
        stop(child)
    found = refs(tmp_path / "store")
    assert (len(found), set(found.values())) == (12 * 50 + rows, {1})


def run_until(feed: CdrFeed, is_so: Callable[[], bool]) -> None:
    """Run a feed until something is so."""

    async def deliver(found: Found) -> None:
        raise AssertionError(found)

    async def main() -> None:
        async with asyncio.timeout(50), asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.run(deliver))
            while not is_so():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            feed.stop()

    asyncio.run(main())


def feed_of(tmp_path: Path, folder: FeedFolder, estate: Path | None = None) -> tuple[CdrFeed, list[str]]:
    reported: list[str] = []
    settings = FeedSettings(
        (folder,), QUICK.poll_seconds, QUICK.settle_seconds, 1.0, resting_hours=1.5 / 3_600, rate_seconds=0.5
    )
    return CdrFeed(settings, FeedPlace(tmp_path / "store", estate), reported.append), reported


@pytest.mark.parametrize("after", ["move", "delete"])
def test_files_are_put_away_when_they_are_in_the_store(tmp_path: Path, after: str) -> None:
    into, done = tmp_path / "in", tmp_path / "in" / "done"
    (into / "node2").mkdir(parents=True)
    name, data = cucm(into, 1)
    (into / "node2" / name).write_bytes(data)
    (into / "junk").write_text("no record\n")
    (into / "Master.csv").write_text(text_of("asterisk", 3))
    if after == "move":
        (done / "node2").mkdir(parents=True)
        (done / "node2" / name).write_text("an older file of this name")
    feed, _ = feed_of(tmp_path, FeedFolder(into, after=after, move_to=done if after == "move" else None))
    run_until(feed, lambda: not (into / "Master.csv").exists() and not (into / "node2" / name).exists())
    assert sum(refs(tmp_path / "store").values()) == 6
    assert (into / "junk").exists()
    if after == "move":
        assert (done / "node2" / f"{name}.1").read_bytes() == data
        assert (done / "Master.csv").exists()
        assert (done / "node2" / name).read_text() == "an older file of this name"
    health = feed.health()
    assert (health.seen, health.parsed, health.lost) == (3, 2, {"unknown_format": 1})


def test_a_file_that_kills_its_reader_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a library does that breaks on it: the process is gone as soon as the file is opened.
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import os, sys
            def look(event, words):
                if event == "open" and str(words[0]).endswith("poison"):
                    os._exit(139)
            sys.addaudithook(look)
            """
        )
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    into = tmp_path / "in"
    into.mkdir()
    for number in range(4):
        name, data = cucm(into, number)
        (into / (name if number != 2 else "poison")).write_bytes(data)
    feed, reported = feed_of(tmp_path, FeedFolder(into))
    run_until(feed, lambda: feed.health().parsed == 3 and bool(feed.health().lost))
    health = feed.health()
    assert (health.seen, health.parsed, health.lost, health.problem) == (4, 3, {FAILED: 1}, None)
    assert sum(refs(tmp_path / "store").values()) == 9
    assert any("poison was left alone" in sentence for sentence in reported)


def test_records_are_joined_and_rated_as_an_import_does_it(tmp_path: Path) -> None:
    into = tmp_path / "in"
    into.mkdir()
    name, data = cucm(into, 1)
    (into / name).write_bytes(data)
    feed, reported = feed_of(tmp_path, FeedFolder(into), ROOT / "examples" / "estate")
    run_until(feed, lambda: any("rated" in sentence for sentence in reported))
    with closing(Lake.open(tmp_path / "store")) as lake, closing(lake.connect()) as connection:
        view = lake.view(connection, "usage")
        assert connection.execute(f"SELECT count(*) FROM {view}").fetchone() == (3,)


def test_a_broken_estate_is_told_and_what_is_imported_stays(tmp_path: Path) -> None:
    into, estate = tmp_path / "in", tmp_path / "estate"
    into.mkdir()
    estate.mkdir()
    (estate / "estate.toml").write_text("no toml at all\n")
    (into / "Master.csv").write_text(text_of("asterisk", 3))
    feed, _ = feed_of(tmp_path, FeedFolder(into, zone="UTC"), estate)
    run_until(feed, lambda: feed.health().parsed == 1 and feed.health().problem is not None)
    assert "estate.toml" in str(feed.health().problem)
    assert sum(refs(tmp_path / "store").values()) == 3


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        (FeedFolder(Path("nowhere")), "nowhere: no such folder"),
        (FeedFolder(Path(), after="move"), "files are moved to a folder that is named"),
        (FeedFolder(Path(), after="burn"), "files can be kept, moved or deleted, not burn"),
    ],
)
def test_a_folder_that_cannot_be_watched_is_told_at_once(tmp_path: Path, folder: FeedFolder, sentence: str) -> None:
    with pytest.raises(CdrError, match=sentence):
        CdrFeed(FeedSettings((folder,)), FeedPlace(tmp_path, None), print)
