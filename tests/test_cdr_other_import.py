"""Real files of Asterisk, FreeSWITCH and Avaya through the command, with the counts that their manifest states."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from analytics.store.lake import Lake
from api.main import PARTLY_READ, shell

COUNTS = {
    "asterisk_master_21col_masked.csv": (84, 0),
    "asterisk_custom_19col_Master.csv": (14, 0),
    "asterisk_testsuite_buggy.csv": (1, 1),
    "asterisk_testsuite_Master.csv": (2, 0),
    "asterisk_testsuite_Master2.csv": (1, 0),
    "asterisk_testsuite_CELMaster1.csv": (16, 16),
    "asterisk_testsuite_CELMaster2.csv": (14, 14),
    "freeswitch_cdr_csv_excel_mangled.csv": (10, 0),
    "freeswitch_json_cdr_1.json": (1, 0),
    "avaya_ipoffice_smdr_masked.txt": (8, 0),
}
"""Records and rejects of each file, by its manifest; the manifest counts lines of JSON, which are one record."""


def counted(store: Path) -> dict[str, tuple[int, int]]:
    lake = Lake.open(store)
    connection = lake.connect()
    try:
        lake.view(connection, "imports")
        found = connection.execute("SELECT name, rows, rejected FROM imports WHERE rows = kept + rejected").fetchall()
        return {name: (rows, rejected) for name, rows, rejected in found}
    finally:
        connection.close()
        lake.close()


def test_every_file_is_imported_with_the_counts_of_its_manifest(shared: Path, tmp_path: Path) -> None:
    with (shared / "cdr" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        stated = {row["file"]: int(row["rows"]) for row in csv.DictReader(file)}
    for name, (records, _) in COUNTS.items():
        assert stated[name] == (363 if name.endswith(".json") else records)
    store, rejects = tmp_path / "store", tmp_path / "rejects.csv"
    files = [str(shared / "cdr" / name) for name in COUNTS]
    words = ["cdr", "import", *files, "--store", str(store), "--zone", "UTC", "--rejects", str(rejects)]
    assert shell(words) == PARTLY_READ
    assert counted(store) == COUNTS
    with rejects.open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert {(row["file"], row["line"], row["reason"]) for row in told} == {
        ("asterisk_testsuite_buggy.csv", "1", "unterminated_quote"),
        *(("asterisk_testsuite_CELMaster1.csv", str(line), "channel_event") for line in range(1, 17)),
        *(("asterisk_testsuite_CELMaster2.csv", str(line), "channel_event") for line in range(1, 15)),
    }


def test_a_mapped_file_is_imported_and_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapping, file, store = tmp_path / "m.toml", tmp_path / "calls.csv", tmp_path / "store"
    mapping.write_text('source = "carrier"\n[columns]\norigination = "when"\nseconds = "length"\n')
    file.write_text("when,length\n2025-07-01 10:00:00,60\n2025-07-01 11:00:00,-1\n")
    words = ["cdr", "import", str(file), "--store", str(store), "--mapping", str(mapping)]
    assert shell([*words, "--rejects", str(tmp_path / "rejects.csv")]) == PARTLY_READ
    shell([*words, "--rejects", str(tmp_path / "rejects.csv")])
    assert counted(store) == {"calls.csv": (2, 1)}
    capsys.readouterr()
    (tmp_path / "other.csv").write_text("when,duration\n2025-07-01 10:00:00,60\n")
    assert shell(["cdr", "import", str(tmp_path / "other.csv"), *words[3:]]) == PARTLY_READ
    said = capsys.readouterr().out
    assert "skipped   1 missing_column\n" in said
    assert "other.csv: lacks a column that the mapping names: 'length' for seconds" in said
    mapping.write_text('source = "carrier"\n[columns]\norigination = "when"\n')
    assert shell(words) == 2
    assert "m.toml:2: columns.seconds is missing" in capsys.readouterr().err
