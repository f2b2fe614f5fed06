from __future__ import annotations

import csv
import gzip
import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cucm_records import line, table

from analytics.store.lake import Lake
from api.main import shell
from collector.cdr.files import discover
from collector.cdr.importing import Import, ImportSettings
from collector.cdr.journal import sole_import
from collector.cdr.rejects import Rejects

ROOT = Path(__file__).resolve().parents[1]


def record(number: int, **changes: str) -> str:
    return line(globalCallID_callId=str(number), pkid=f'"{number:08}-0000-4000-8000-000000000000"', **changes)


def name_of(minute: int, sequence: int, record_: str = "cdr") -> str:
    return f"{record_}_Cluster1_02_2025100108{minute:02}_{sequence}"


def feed(folder: Path, files: int, rows: int = 3) -> None:
    """One file a minute, each with its own records."""
    folder.mkdir(exist_ok=True)
    for k in range(files):
        lines = [record(k * rows + n) for n in range(rows)]
        (folder / name_of(k, 100 + k)).write_bytes(table(lines))


def run(*arguments: str | Path) -> int:
    return shell(["cdr", "import", "--settle", "0", *map(str, arguments)])


def counted(store: Path, table_: str = "cdr_rows") -> list[tuple[int, int]]:
    """Rows by file, and rows of each file that differ."""
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        view = lake.view(connection, table_)
        sql = f"SELECT count(*), count(DISTINCT line) FROM {view} GROUP BY file_key"
        return connection.execute(sql).fetchall()


def imports_of(store: Path) -> list[tuple[str, int, int, int]]:
    if not (store / "callgauge-store.json").exists():
        return []
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        view = lake.view(connection, "imports")
        return connection.execute(f"SELECT name, rows, kept, rejected FROM {view} ORDER BY name").fetchall()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLGAUGE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("CALLGAUGE_ESTATE", raising=False)
    return tmp_path


def test_a_folder_is_imported_and_again_nothing_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 5)
    assert run(here / "in") == 0
    said = capsys.readouterr().out
    assert "5 found, 5 imported (5 cucm cdr)" in said
    assert "15 read, 15 kept (15 cdr)" in said
    assert "calls     15" in said
    assert run(here / "in") == 0
    assert "0 imported" in capsys.readouterr().out
    assert counted(here / "store") == [(3, 3)] * 5
    assert len(imports_of(here / "store")) == 5


def test_the_store_and_the_rejects_are_no_records(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 1)
    (here / "bad").write_bytes(table([record(9), "1,2"]))
    assert run(".") == 1
    capsys.readouterr()
    assert run(".") == 0
    assert "2 found, 0 imported" in capsys.readouterr().out


def test_the_same_content_under_other_names_packed_or_not_counts_once(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(here / "in", 1)
    (first,) = (here / "in").iterdir()
    (here / "in" / "copy").write_bytes(first.read_bytes())
    (here / "in" / "packed.gz").write_bytes(gzip.compress(first.read_bytes()))
    assert run(here / "in") == 0
    assert "2 imported before, or the same as another" in capsys.readouterr().out
    assert run(here / "in" / "packed.gz") == 0
    assert counted(here / "store") == [(3, 3)]


def test_records_that_stand_in_two_files_are_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a").write_bytes(table([record(1), record(2)]))
    (here / "b").write_bytes(table([record(2), record(3), record(3)]))
    assert run(here / "a", here / "b") == 0
    said = capsys.readouterr().out
    assert "copies    2 records" in said
    assert "calls     3" in said
    (here / "c").write_bytes(table([record(1), record(4)]))
    assert run(here / "c") == 0
    assert "copies    1 records" in capsys.readouterr().out


def test_both_kinds_of_records_of_a_folder_go_to_their_tables(here: Path) -> None:
    (here / "in").mkdir()
    (here / "in" / name_of(1, 7)).write_bytes(table([record(1)]))
    (here / "in" / name_of(1, 8, "cmr")).write_bytes(table([line("cmr"), line("cmr", callIdentifier="102")], "cmr"))
    assert run(here / "in") == 0
    assert counted(here / "store") == [(1, 1)]
    assert counted(here / "store", "phone_reports") == [(2, 2)]


def test_rejects_are_written_with_file_line_and_reason(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad").write_bytes(table([record(1), "1,2,3", record(2, duration="long"), record(3)]))
    assert run(here / "bad", "--rejects", here / "rejects.csv") == 1
    said = capsys.readouterr().out
    assert "rejected  2" in said
    assert "1 wrong_columns" in said
    assert "1 not_a_number:duration" in said
    assert str(here / "rejects.csv") in said
    written = (here / "rejects.csv").read_text(encoding="utf-8").splitlines()
    assert written[0] == "imported,file,line,reason,record"
    when, _, rest = written[1].partition(",")
    assert datetime.fromisoformat(when).tzinfo is not None
    assert rest == 'bad,4,wrong_columns,"1,2,3"'
    assert written[2].startswith(f"{when},bad,5,not_a_number:duration,")
    assert (here / "rejects.csv").stat().st_mode & 0o077 == 0
    assert imports_of(here / "store") == [("bad", 4, 2, 2)]


def test_rejects_of_an_import_stay_when_the_next_has_some(here: Path) -> None:
    for number, name in enumerate(("first", "second", "third")):
        (here / name).write_bytes(table([record(number), "1,2,3"]))
        assert run(here / name, "--rejects", here / "rejects.csv") == 1
    with (here / "rejects.csv").open(encoding="utf-8", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["first", "second", "third"]


@pytest.mark.parametrize("where", ["/dev/full", "gone/rejects.csv"])
def test_a_file_counts_as_imported_only_when_its_rejects_are_written(
    here: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    (here / "bad").write_bytes(table([record(1), "1,2,3"]))
    assert run(here / "bad", "--rejects", where) == 2
    said = capsys.readouterr().err
    assert f"{where}: rejected records cannot be written: No " in said
    assert said.count("\n") == 1
    assert imports_of(here / "store") == []
    assert run(here / "bad", "--rejects", here / "rejects.csv") == 1
    assert imports_of(here / "store") == [("bad", 2, 1, 1)]
    assert counted(here / "store") == [(1, 1)]
    assert len((here / "rejects.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_one_bad_file_does_not_stop_the_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 2)
    packed = gzip.compress(table([record(k) for k in range(500)]))
    (here / "in" / "cut.gz").write_bytes(packed[: len(packed) // 2])
    (here / "in" / "picture").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    (here / "in" / "no_lines").write_bytes(b"7" * 3_000_000)
    (here / "in" / "width").write_bytes((",".join(record(1).split(",")[:112]) + "\n").encode())
    (here / "in" / "empty").write_bytes(b"")
    (here / "in" / ".hidden").write_bytes(table([record(77)]))
    (here / "in" / ("_" + name_of(9, 109))).write_bytes(table([record(78)]))
    (here / "in" / "names").write_bytes(table([]))
    os.mkfifo(here / "in" / "pipe")
    assert run(here / "in") == 1
    said = capsys.readouterr().out
    assert "11 found, 3 imported (3 cucm cdr)" in said
    for reason in ("1 unreadable", "2 unknown_format", "1 unknown_columns", "1 empty", "1 hidden", "1 unfinished"):
        assert f"skipped   {reason}\n" in said
    assert "cut.gz: gzip stream cut" in said
    assert "112 columns without names or types; known are 94, 129 and 133" in said
    assert sorted(counted(here / "store")) == [(3, 3), (3, 3)]


def test_what_is_still_being_written_is_left_for_the_next_time(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 2)
    growing = here / "in" / name_of(5, 105)
    growing.write_bytes(table([record(50)]))
    stop = threading.Event()

    def write() -> None:
        with growing.open("ab") as file:
            while not stop.wait(0.02):
                file.write(record(51).encode() + b"\n")
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert run(here / "in", "--settle", "0.3") == 0
    finally:
        stop.set()
        writer.join()
    assert "1 changing" in capsys.readouterr().out
    assert counted(here / "store") == [(3, 3)] * 2
    assert run(here / "in") == 0
    assert len(counted(here / "store")) == 3


def test_a_dry_run_says_what_would_be_kept_and_keeps_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 3)
    (here / "in" / name_of(5, 107)).write_bytes(table([record(70), "1,2"]))
    assert run(here / "in", "--dry-run") == 1
    said = capsys.readouterr().out
    assert "11 read, 10 good (10 cdr)" in said
    assert "4 files by the numbers" in said
    assert "nothing was kept" in said
    assert not (here / "store").exists()


def test_files_that_are_missing_are_found_by_number(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 12)
    for k in (4, 5, 9):
        (here / "in" / name_of(k, 100 + k)).unlink()
    assert run(here / "in") == 0
    said = capsys.readouterr().out
    assert "missing   3 files by the numbers" in said
    assert "Cluster1_02 cdr: 104 to 105, between 2025-10-01 08:03 and 08:06 UTC" in said
    assert "Cluster1_02 cdr: 109, between" in said


def test_a_file_that_comes_late_closes_its_gap(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 6)
    late = (here / "in" / name_of(3, 103)).rename(here / name_of(3, 103))
    assert run(here / "in") == 0
    assert "missing   1 file by" in capsys.readouterr().out
    assert run(late) == 0
    assert "missing" not in capsys.readouterr().out
    (here / name_of(8, 108)).write_bytes(table([record(800)]))
    assert run(here / name_of(8, 108)) == 0
    assert "missing   2 files" in capsys.readouterr().out


def test_a_gap_between_two_imports_is_found_however_long_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cdr_C_01_202510010800_7", "cdr_C_01_202510031200_95", "cdr_C_02_202510031200_40"):
        (here / name).write_bytes(table([record(int(name[-1]) + 10)]))
    assert run(here / "cdr_C_01_202510010800_7") == 0
    assert "missing" not in capsys.readouterr().out
    assert run(here / "cdr_C_01_202510031200_95", here / "cdr_C_02_202510031200_40") == 0
    assert "C_01 cdr: 8 to 94, between 2025-10-01 08:00 and 12:00 UTC" in capsys.readouterr().out


def test_gaps_of_earlier_imports_are_not_said_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 12)
    (here / "in" / name_of(5, 105)).unlink()
    assert run(here / "in") == 0
    said = capsys.readouterr().out
    assert "missing   1 file by" in said
    assert "silent    1 minute without a file" in said
    (here / name_of(12, 112)).write_bytes(table([record(800)]))
    assert run(here / name_of(12, 112)) == 0
    said = capsys.readouterr().out
    assert "missing" not in said
    assert "silent" not in said


def test_every_file_of_the_collection_is_imported_with_the_records_its_manifest_states(
    here: Path, shared: Path
) -> None:
    run(shared / "cdr")
    found = {name: rows for name, rows, _, _ in imports_of(here / "store")}
    with (shared / "cdr" / "manifest.csv").open(encoding="utf-8") as manifest:
        for row in csv.DictReader(manifest):
            # The manifest counts lines; those of names and types are no records, and JSON is one over many lines.
            heading = {"cucm_v15": 2, "cucm_cis": 2, "cucm_fix": 1}.get(row["file"][:8], 0)
            stated = 1 if row["fields"] == "json" else int(row["rows"]) - heading
            assert found.pop(row["file"]) == stated, row["file"]
    assert not found


def test_names_of_files_may_be_any_octets(here: Path) -> None:
    (here / "in").mkdir()
    Path(os.fsdecode(os.fsencode(here / "in") + b"/M\xfcller \xe2\x98\x8e\n.csv")).write_bytes(
        table([record(1), "1,2"])
    )
    assert run(here / "in") == 1
    assert [name for name, *_ in imports_of(here / "store")] == ["M\\udcfcller ☎\n.csv"]


def test_folders_that_are_left_alone_are_counted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 1)
    feed(here / "in" / ".old", 2)
    feed(here / "elsewhere", 3)
    (here / "in" / "round").symlink_to(here / "in")
    (here / "in" / "away").symlink_to(here / "elsewhere")
    (here / "in" / "itself").symlink_to("itself")
    assert run(here / "in") == 1
    said = capsys.readouterr().out
    assert "5 found, 1 imported (1 cucm cdr)" in said
    assert f"skipped   1 hidden\n          {here}/in/.old: is a hidden folder\n" in said
    assert "skipped   2 linked_folder\n" in said
    assert "skipped   1 unreadable\n" in said


def test_a_name_of_a_file_takes_one_line_of_the_summary(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "in").mkdir()
    (here / "in" / "a\nmissing   9 files\x1b[31m\u202e").write_bytes(b"nothing")
    assert run(here / "in") == 1
    said = capsys.readouterr().out
    assert "\nmissing" not in said
    assert "\x1b" not in said
    assert "\u202e" not in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["in", "--format", "vhs"], "there is no format vhs"),
        (["in", "--zone", "Mars/Olympus"], "there is no time zone Mars/Olympus"),
        (["in", "--mapping", "gone.toml"], "gone.toml"),
        (["in", "--estate", "gone"], "gone"),
    ],
)
def test_mistakes_are_told_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    feed(here / "in", 1)
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_only_the_format_that_is_named_is_tried(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feed(here / "in", 1)
    assert run(here / "in", "--format", "asterisk") == 1
    assert "1 unknown_format" in capsys.readouterr().out


KILLED = """
import os, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from analytics.store.lake import Lake
from collector.cdr.files import discover
from collector.cdr.importing import Import, ImportSettings
from collector.cdr.journal import sole_import
from collector.cdr.rejects import Rejects

left, real = int(sys.argv[3]), os.fsync

def fsync(number):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(number)

os.fsync = fsync
lake = Lake.open(Path(sys.argv[2]), create=True)
run = Import(ImportSettings(group_files=2), Rejects())
files = run.identify(discover([Path(sys.argv[1])], time.time_ns()))
with sole_import(lake.root, print) as journal:
    run.into(lake, journal, files, datetime.now(UTC))
"""


def test_a_kill_at_any_step_counts_no_file_twice_and_loses_none(here: Path) -> None:
    feed(here / "in", 4)
    (here / "in" / "reports").write_bytes(table([line("cmr")], "cmr"))
    asterisk = '"","5001","901130001111","d","","SIP/1","SIP/2","Dial","x","2025-10-01 08:00:00","2025-10-01 08:00:05",'
    asterisk += '"2025-10-01 08:02:10","130","125","ANSWERED","DOCUMENTATION"\n'
    (here / "in" / "Master.csv").write_text(asterisk, encoding="utf-8")
    kills = half_done = 0
    for step in range(1, 200):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(here / "in"), str(here / "store"), str(step)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        rows = counted(here / "store") if (here / "store" / "callgauge-store.json").exists() else []
        assert all(row in ((3, 3), (1, 1)) for row in rows), f"a file counts twice after a kill at step {step}"
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        half_done += len(rows) > len(imports_of(here / "store"))
    assert kills > 5
    assert half_done > 1, "no kill came between the rows of files and their names in `imports`"
    assert sorted(counted(here / "store")) == [(1, 1)] + [(3, 3)] * 4
    assert counted(here / "store", "phone_reports") == [(1, 1)]
    assert sorted((rows, kept) for _, rows, kept, _ in imports_of(here / "store")) == [(1, 1)] * 2 + [(3, 3)] * 4


KILLED_BETWEEN = """
import os, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from analytics.store.lake import Lake
from collector.cdr.files import discover
from collector.cdr.importing import Import, ImportSettings
from collector.cdr.journal import sole_import
from collector.cdr.rejects import Rejects

class Killed(Import):
    def _acknowledge(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)

lake = Lake.open(Path(sys.argv[2]), create=True)
run = Killed(ImportSettings(), Rejects())
files = run.identify(discover([Path(sys.argv[1])], time.time_ns()))
with sole_import(lake.root, print) as journal:
    run.into(lake, journal, files, datetime.now(UTC))
"""


@pytest.mark.parametrize("files", [1, 5])
def test_a_group_whose_rows_a_dead_import_wrote_is_counted_whole_and_its_rejects_are_written(
    here: Path, files: int
) -> None:
    rows = 3_000 // files
    (here / "in").mkdir()
    for k in range(files):
        lines = [record(k * rows + n) for n in range(rows)]
        (here / "in" / f"file{k}").write_bytes(table([*lines, "garbage,line", "1,2"]))
    command = [sys.executable, "-c", KILLED_BETWEEN, str(here / "in"), str(here / "store")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (len(counted(here / "store")), imports_of(here / "store")) == (files, [])
    # In this window the rows are many more batches than wait for the lake.
    with Rejects(here / "rejects.csv") as rejects, closing(Lake.open(here / "store")) as lake:
        again = Import(ImportSettings(window=1 << 17), rejects)
        found = again.identify(discover([here / "in"], 0))
        with sole_import(lake.root, print) as journal:
            again.into(lake, journal, found, datetime.now(UTC))
            assert journal.pending == set()
    assert imports_of(here / "store") == [(f"file{k}", rows + 2, rows, 2) for k in range(files)]
    assert counted(here / "store") == [(rows, rows)] * files
    assert (again.summary.rows, again.summary.rejected.total()) == (3_000 + 2 * files, 2 * files)
    assert len((here / "rejects.csv").read_text(encoding="utf-8").splitlines()) == 1 + 2 * files


@pytest.mark.parametrize("how", ["grown", "other", "alike", "shorter", "gone"])
def test_a_file_that_changes_after_it_was_hashed_keeps_its_group_out(here: Path, how: str) -> None:
    feed(here / "in", 3)
    victim = here / "in" / name_of(1, 101)
    run_ = Import(ImportSettings(), Rejects(here / "rejects.csv"))
    files = run_.identify(discover([here / "in"], 0))
    whole = victim.read_bytes()
    if how == "gone":
        victim.unlink()
    else:
        alike = whole.replace(b"901130001111", b"901130002222")
        changed = {"grown": whole + b"1,2,3\n", "other": whole + whole, "alike": alike, "shorter": whole[:-9]}
        victim.write_bytes(changed[how])
    with closing(Lake.open(here / "store", create=True)) as lake, sole_import(lake.root, print) as journal:
        run_.into(lake, journal, files, datetime.now(UTC))
        assert journal.pending == set()
    assert [skip.reason for skip in run_.summary.skipped] == ["changed"]
    assert (run_.summary.failed, run_.summary.rejected.total()) == (True, 0)
    assert (counted(here / "store"), imports_of(here / "store")) == ([], [])
    victim.write_bytes(whole)
    assert run(here / "in") == 0
    assert counted(here / "store") == [(3, 3)] * 3


def test_two_imports_at_once_count_each_file_once(here: Path) -> None:
    feed(here / "in", 6)
    command = [sys.executable, "-m", "api.main", "cdr", "import", str(here / "in"), "--store", str(here / "store")]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for one in both:
        one.communicate()
        assert one.returncode == 0
    assert counted(here / "store") == [(3, 3)] * 6


def test_times_of_the_summary_are_those_of_the_records(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a").write_bytes(table([record(1, dateTimeOrigination="1759306500"), record(2)]))
    assert run(here / "a") == 0
    assert "from 2025-10-01 08:15:00 to 2025-10-01 08:15:00 UTC" in capsys.readouterr().out


def test_many_small_files_become_one_file_of_the_lake(here: Path) -> None:
    feed(here / "in", 40)
    assert run(here / "in") == 0
    with closing(Lake.open(here / "store")) as lake:
        assert len(lake.files("cdr_rows")) == 1
