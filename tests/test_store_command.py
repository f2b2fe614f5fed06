"""`callgauge store` says in plain sentences what the store holds, and changes only what it was asked to."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lake_rows import rows

from analytics.store.lake import Lake
from analytics.store.settings import LakeSettings
from api.main import UNUSABLE, shell
from collector.cdr.journal import sole_import

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with calls of yesterday and minutes."""
    root = tmp_path / "store"
    lake = Lake.open(root, create=True, settings=LakeSettings(durable=False))
    begin = (datetime.now(UTC) - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    lake.append("calls", rows("calls", range(1, 6), begin=begin, calling="0790012345"), batch="a")
    lake.append("calls", rows("calls", range(6, 9), begin=begin), batch="b")
    return root


def store(folder: Path, *arguments: str) -> int:
    command, *rest = arguments
    return shell(["store", command, "--store", str(folder), *rest])


def test_tables_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store(folder, "tables") == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["table", "rows", "files", "MB", "version", "from", "to"]
    assert line.split()[:3] == ["calls", "8", "2"]


def test_a_whole_store_passes_its_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store(folder, "check", "--deep") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "everything is whole"


def test_what_is_lost_is_said_and_gives_status_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    victim = next((folder / "calls").glob("day=*/*.parquet"))
    victim.unlink()
    assert store(folder, "check") == 1
    out = capsys.readouterr().out
    assert f"WRONG: the file {victim} is gone, and with it " in out
    assert out.endswith("1 findings\n")
    assert store(folder, "check", "--format", "json") == 1
    assert [finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]] == ["file_gone"]
    assert store(folder, "as-of", "--table", "calls", "--version", "2") == UNUSABLE
    err = capsys.readouterr().err
    assert err == f"callgauge: the file {victim} is gone, which version 2 of table calls needs\n"


@pytest.mark.parametrize("earlier", [False, True])
def test_a_table_that_is_gone_is_said(folder: Path, capsys: pytest.CaptureFixture[str], earlier: bool) -> None:
    if earlier:
        # The store is of a version that noted no tables, and this one has written to it since.
        shutil.rmtree(folder / "_tables")
        with closing(Lake.open(folder, settings=LakeSettings(durable=False))) as lake:
            lake.append("calls", rows("calls", [9], begin=datetime.now(UTC)), batch="c")
    shutil.rmtree(folder / "calls")
    assert store(folder, "check") == 1
    assert "WRONG: table calls was made in this store and is gone\n" in capsys.readouterr().out


def test_usage_that_is_gone_is_told_by_ratings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A store of an earlier version, which does not note the tables that it makes.
    with closing(Lake.open(folder, settings=LakeSettings(durable=False))) as lake:
        lake.append("ratings", rows("ratings", range(1, 3), begin=datetime.now(UTC)), batch="a")
    assert store(folder, "check") == 1
    assert "WRONG: table usage is not there, and table ratings tells of days in it\n" in capsys.readouterr().out


def test_a_version_that_never_was_is_said_with_the_newest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store(folder, "as-of", "--table", "calls", "--version", "999") == UNUSABLE
    assert capsys.readouterr().err == "callgauge: table calls has no version 999: the newest is 2\n"


def test_a_missing_entry_of_the_log_is_said_in_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "calls" / "_delta_log" / f"{1:020d}.json").unlink()
    assert store(folder, "check") == 1
    assert "WRONG: the log of table calls cannot be read: entries of it are missing\n" in capsys.readouterr().out


def test_forgetting_in_a_damaged_table_says_which_file_and_forgets_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = next((folder / "calls").glob("day=*/*.parquet"))
    victim.unlink()
    assert store(folder, "forget", "--number", "0790012345") == UNUSABLE
    said = capsys.readouterr().err
    assert said.startswith(f"callgauge: the file {victim} is gone: what is to be forgotten in it cannot be found")
    assert said.count("\n") == 1


def test_a_file_that_is_damaged_within_is_one_line_whatever_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "store"
    with closing(Lake.open(root, create=True, settings=LakeSettings(durable=False))) as lake:
        lake.append(
            "usage", rows("usage", range(200), begin=datetime(2025, 10, 6, tzinfo=UTC), month=202510), batch="a"
        )
    for victim in (root / "usage").rglob("*.parquet"):
        octets = bytearray(victim.read_bytes())
        octets[4 : len(octets) // 3] = bytes(len(octets) // 3 - 4)
        victim.write_bytes(octets)
    example = ROOT / "examples" / "estate"
    assert shell(["report", "sites", "--store", str(root), "--month", "2025-10", "--estate", str(example)]) == UNUSABLE
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("callgauge: the store cannot be read: ")
    assert "internal error" not in said


def test_folders_that_commands_keep_in_a_store_are_no_strangers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sole_import(folder, print):
        pass
    assert store(folder, "check") == 0
    assert "is no part of the store" not in capsys.readouterr().out


def test_compaction_tells_what_it_did(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store(folder, "compact") == 0
    assert capsys.readouterr().out.startswith("calls: 0 rows past their time, 2 files merged into 1, 0 files removed")


def test_a_damaged_table_does_not_keep_the_others_from_compaction(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = Lake.open(folder, settings=LakeSettings(durable=False))
    lake.append("imports", rows("imports", range(3), begin=datetime.now(UTC)), batch="a")
    next((folder / "calls").glob("day=*/*.parquet")).unlink()
    assert store(folder, "compact") == 1
    out, err = capsys.readouterr()
    assert out.startswith("imports: ")
    assert err.count("\n") == 1
    assert "is gone: run `callgauge store check`" in err


def test_forgetting_is_counted_first_and_done_then(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store(folder, "forget", "--number", "0790012345", "--dry-run") == 0
    *_, counted, total = capsys.readouterr().out.splitlines()
    assert total == "5 rows would be forgotten"
    assert counted.endswith("1 files to be rewritten, 1 to be removed from the disk")
    assert store(folder, "forget", "--number", "0790012345") == 0
    *_, counted, total = capsys.readouterr().out.splitlines()
    assert total == "5 rows forgotten"
    assert counted.endswith("1 files rewritten, 1 removed from the disk")
    assert not any(b"0790012345" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert store(folder, "check") == 0


def test_forgetting_asks_what(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, sentence in (
        ((), "say what to forget: --before, --call, --number, --device or --site"),
        (("--before", "2025-01-01"), "--before needs --table: the tables differ in what they are kept for"),
        (("--table", "calls", "--before", "1st May"), "1st May is no day: write it as 2025-10-31"),
        (("--table", "call", "--site", "A"), "there is no table call; there are calls, streams, "),
    ):
        assert store(folder, "forget", *arguments) == UNUSABLE
        assert sentence in capsys.readouterr().err


def test_versions_are_listed_and_their_rows_written(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert store(folder, "as-of", "--table", "calls") == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [("2", "append"), ("1", "append"), ("0", "made")]
    assert store(folder, "as-of", "--table", "calls", "--last", "1") == 0
    assert capfd.readouterr().out.split()[:1] == ["2"]
    assert store(folder, "as-of", "--table", "calls", "--version", "1") == 0
    out, err = capfd.readouterr()
    table = list(csv.DictReader(io.StringIO(out)))
    assert len(table) == 5
    assert {row["calling"] for row in table} == {"***"}
    assert table[0]["start"].endswith(":01.000000Z")
    assert err == "callgauge: 5 rows of version 1 of table calls\n"
    for name in ("csv", "json", "parquet"):
        out_file = tmp_path / f"rows.{name}"
        now = datetime.now(UTC).isoformat()
        more = ["--time", now, "--format", name, "--out", str(out_file), "--show-numbers"]
        assert store(folder, "as-of", "--table", "calls", *more) == 0
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 8
    assert [json.loads(line)["calling"] for line in (tmp_path / "rows.json").read_text().splitlines()][:5] == [
        "0790012345"
    ] * 5


def test_no_cell_of_a_table_of_rows_is_computed_by_a_spreadsheet(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(Lake.open(folder, settings=LakeSettings(durable=False))) as lake:
        lake.append("calls", rows("calls", [9], begin=datetime.now(UTC), site="=1+1", call_id="-2"), batch="c")
    assert store(folder, "as-of", "--table", "calls", "--version", "3") == 0
    found = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert {"'=1+1", "'-2"} <= set(found[-1].values())
    assert not any((value or "").startswith(("=", "@")) for row in found for value in row.values())


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("tables", "check", "compact"):
        assert store(tmp_path / "none", command) == UNUSABLE
        assert "there is no store in" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_the_store_may_be_named_by_the_environment(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "api.main", "store", "tables"],
        cwd=ROOT,
        env={**os.environ, "CALLGAUGE_STORE": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "calls" in done.stdout
