from __future__ import annotations

import re
from pathlib import Path

import pytest
from cucm_records import line, read, table

from analytics.store.schema import CDR_ROWS, PHONE_REPORTS, Table
from api.main import shell
from collector.cdr.cucm_rows import LINE_REASONS, METRICS, RECEIVE_CODEC, SHAPES, SLOT_REASONS
from collector.cdr.importing import FAILURES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cdr.md"


def part(name: str) -> list[tuple[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name}: begin -->\n(.*?)\n<!-- {name}: end -->", text, re.DOTALL)
    assert match is not None
    rows = [row.strip("| ").split(" | ", 1) for row in match[1].splitlines()[2:]]
    return [(first, second) for first, second in rows]


def names(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)


@pytest.mark.parametrize(("record", "lake"), [("cdr", CDR_ROWS), ("cmr", PHONE_REPORTS)])
def test_every_field_that_is_kept_is_documented(record: str, lake: Table, tmp_path: Path) -> None:
    rows = part(f"{record} fields")
    told = {name for field, _ in rows for name in names(field)}
    fields = set(SHAPES[record].fields)
    if record == "cmr":
        metrics = "MLQK MLQKav MLQKmn MLQKmx CCR ICRmx CS SCS maxJitter VoOneWayDelayMs VoPktDis"
        fields |= {RECEIVE_CODEC, METRICS, *metrics.split()}
    assert told == fields
    columns = {column.name for column in lake.columns}
    filled = {name for field, column in rows for name in names(column)[: 2 if "day" in column else 1]}
    assert filled - {"orig_leg", "dest_leg", "cdr_rows"} <= columns
    (row,) = read(tmp_path / "file", table([line(record)], record)).rows
    made = set(row) - {"source", "line"}
    assert filled - {"cdr_rows"} == made


def test_every_reason_for_a_reject_is_documented() -> None:
    told = {name for reason, _ in part("reasons") for name in names(reason)}
    assert told == {*LINE_REASONS.values(), *SLOT_REASONS.values(), "line_too_long", "unknown_columns"}


def test_every_reason_to_leave_a_file_alone_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## What is left alone")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\d) \|$", text, re.MULTILINE)
    assert {reason for reason, status in rows if status == "1"} == FAILURES
    sources = [(ROOT / "collector" / "cdr" / name).read_text() for name in ("files.py", "importing.py")]
    made = {reason for source in sources for reason in re.findall(r'Skipped\([^")]*"(\w+)"', source)}
    assert {reason for reason, _ in rows} == made


def test_every_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["cdr", "import", "--help"]) == 0
    exist = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    text = PAGE.read_text(encoding="utf-8").partition("## Options")[2].partition("\n## ")[0]
    told = {
        name for row in re.findall(r"^\| (`--.*?) \|", text, re.MULTILINE) for name in re.findall(r"--[a-z-]+", row)
    }
    assert told == exist
