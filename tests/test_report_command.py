"""`callgauge report` from an estate and a store on disk, in every format, and what it says where it cannot."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from estate_files import write_estate
from usage_rows import LONDON, inbound, line, usage_table

from analytics.cost.money import to_atoms
from analytics.store.lake import Lake
from api.main import UNUSABLE, shell

ROOT = Path(__file__).resolve().parents[1]
COSTS = {
    "elements.csv": "side,site,element,kind,amount,evidence,key,alternatives,share,share_low,share_high,low,high,"
    "amortise_months,source,valid_from,valid_to\n"
    "legacy,A,Lines,fixed,100.00,measured,,,,,,,,,bill,,\n"
    "legacy,A,Calls,usage,50.00,measured,,,,,,,,,bill,,\n"
    "legacy,B,Lines,fixed,80.00,measured,,,,,,,,,bill,,\n"
    "ip,A,Licences,fixed,60.00,measured,,,,,,,,,contract,,\n"
    "ip,B,Licences,fixed,20.00,measured,,,,,,,,,contract,,\n",
    "baseline.csv": "site,baseline_minutes,index_factor,index_series,source,valid_from,valid_to\n"
    "A,40,1,none,bill,,\nB,0,1,none,bill,,\n",
}
REPORTS = ("savings", "costs", "sites", "access")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a store with a month of usage, and of its estate."""
    root = tmp_path_factory.mktemp("report")
    (root / "estate").mkdir()
    write_estate(root / "estate", dict(COSTS))
    ten = datetime(2025, 10, 1, 10, tzinfo=LONDON)
    rows = [line(ten + timedelta(minutes=7 * n), 60, ip_cost=to_atoms(Decimal("0.012")), trunk="GW") for n in range(40)]
    rows += [line(ten + timedelta(minutes=5 * n), 90, site="B", ip_cost=to_atoms(Decimal("0.005"))) for n in range(9)]
    rows += [inbound(ten + timedelta(minutes=3 * n), None if n % 5 == 0 else 2 * n, site="B") for n in range(30)]
    lake = Lake.open(root / "store", create=True)
    lake.append("usage", usage_table(rows), batch="october")
    lake.close()
    return root / "store", root / "estate"


@pytest.fixture
def ask(places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> Ask:
    return Ask(places, capsys)


class Ask:
    """Runs the command; status, standard output and standard error."""

    def __init__(self, places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        self._places = places
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        store, estate = self._places
        status = shell(["report", *arguments, "--store", str(store), "--estate", str(estate)])
        said = self._capsys.readouterr()
        return status, said.out, said.err


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_written_in_every_format(ask: Ask, name: str, tmp_path: Path) -> None:
    month = (name, "--month", "2025-10")
    status, table, said = ask(*month)
    assert (status, said) == (0, "")
    status, text, _ = ask(*month, "--format", "json")
    body = json.loads(text)
    assert (status, body["report"]) == (0, name)
    assert body["sentence"] in " ".join(table.split())
    status, text, _ = ask(*month, "--format", "csv")
    assert (status, next(csv.reader(io.StringIO(text)))[-3:]) == (0, ["row", "evidence", "note"])
    status, text, _ = ask(*month, "--format", "html")
    assert (status, text.startswith("<!doctype html>")) == (0, True)
    status, text, said = ask(*month, "--format", "xlsx", "--out", str(tmp_path / "new" / "r.xlsx"))
    assert (status, text, said) == (0, "", f"callgauge: wrote {tmp_path}/new/r.xlsx\n")
    sheets = openpyxl.load_workbook(tmp_path / "new" / "r.xlsx").sheetnames
    assert (sheets[0], sheets[-1], len(sheets)) == ("Summary", "Trace", len(body["sections"]) + 2)


@pytest.mark.parametrize("name", REPORTS)
def test_all_formats_hold_the_figures_of_the_json(ask: Ask, name: str, tmp_path: Path) -> None:
    month = (name, "--month", "2025-10")
    figures = json.loads(ask(*month, "--format", "json")[1])["figures"]
    assert ask(*month, "--format", "csv", "--out", str(tmp_path / "csv"))[0] == 0
    with (tmp_path / "csv" / "figures.csv").open(newline="") as file:
        told = {row["key"]: row["value"] for row in csv.DictReader(file)}
    assert set(told) == set(figures)
    ask(*month, "--format", "xlsx", "--out", str(tmp_path / "r.xlsx"))
    trace = openpyxl.load_workbook(tmp_path / "r.xlsx", data_only=True)["Trace"]
    for key, _, value, *_ in trace.iter_rows(min_row=2, values_only=True):
        held = figures[key]["value"]
        if held is None:
            assert value in ("—", "<5", "*")
        else:
            assert abs(Decimal(repr(value)) - Decimal(held)) < Decimal("1e-6")
            assert abs(Decimal(told[key]) - Decimal(held)) <= Decimal("1e-12")


def test_the_same_question_gives_the_same_bytes(ask: Ask) -> None:
    assert ask("sites", "--month", "2025-10", "-f", "json")[1] == ask("sites", "--month", "2025-10", "-f", "json")[1]


@pytest.mark.parametrize("name", REPORTS)
def test_one_site_is_reported_alone(ask: Ask, name: str) -> None:
    status, text, said = ask(name, "--month", "2025-10", "--site", "A", "--format", "json")
    if name == "access":
        assert (status, said) == (0, "")
        return
    body = json.loads(text)
    columns = [column["label"] for column in body["sections"][0]["columns"]]
    named = {row["cells"][columns.index("Site")] for row in body["sections"][0]["rows"] if not row["total"]}
    assert (status, named) == (0, {"A"})


def test_sites_of_the_store_are_counted_and_priced(ask: Ask) -> None:
    text = ask("sites", "--month", "2025-10", "--format", "csv")[1]
    rows = {row["Site"]: row for row in csv.DictReader(io.StringIO(text))}
    assert (rows["A"]["Calls"], rows["A"]["Cost [£]"], rows["A"]["Minutes [min]"]) == ("40", "0.48", "40.00")
    assert (rows["B"]["Calls"], rows["B"]["Cost [£]"]) == ("39", "0.05")
    assert (rows["All"]["Calls"], rows["All"]["Cost [£]"]) == ("79", "0.53")


def test_access_is_that_of_the_rows_by_plain_counting(ask: Ask) -> None:
    text = ask("access", "--month", "2025-10", "--format", "csv")[1]
    row = next(csv.DictReader(io.StringIO(text)))
    waits = sorted(2 * n for n in range(30) if n % 5)
    assert (row["Number"], row["Known from"], row["Offered"], row["Answered"]) == ("Calls 101", "CDR", "30", "24")
    assert row["Median [s]"] == str(waits[11])
    assert row["In time [%]"].startswith(str(Decimal(100 * sum(wait <= 20 for wait in waits)) / 30)[:6])


def test_a_table_is_chosen_by_its_name(ask: Ask) -> None:
    assert ask("sites", "--month", "2025-10", "-f", "csv", "--section", "quality")[1].startswith(
        "Site,Name,Quality known"
    )
    status, _, said = ask("sites", "--month", "2025-10", "-f", "csv", "--section", "nothing")
    assert (status, said.startswith("callgauge: there is no table nothing; there are sites, classes")) == (
        UNUSABLE,
        True,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sites", "--month", "2025-13"), "--month 2025-13 is no month; write it as 2025-10"),
        (("sites", "--month", "9999-12"), "December 9999 lies in the future: there is nothing to report of it"),
        (("savings", "--month", "9999-12", "--months", "12"), "December 9999 lies in the future"),
        (("savings", "--month", "0000-01"), "--month 0000-01: months before 1980 hold no records of calls"),
        (("savings", "--month", "0001-01", "--months", "12"), "--month 0001-01: months before 1980"),
        (("sites", "--month", "2025-09"), "the store holds no usage of September 2025"),
        (("access", "--month", "2025-09"), "the store holds no usage of September 2025"),
        (
            ("savings", "--month", "2025-09", "--months", "12"),
            "the store holds no usage of October 2024 to September 2025",
        ),
        (("sites", "--month", "1980-01", "--months", "120"), "the store holds no usage of February 1970 to"),
        (("sites", "--month", "2025-10", "--out", "/dev/full"), "cannot write /dev/full: No space left on device"),
        (("sites", "--month", "2025-10", "--out", "/dev/null/x/y"), "cannot write /dev/null/x/y: "),
        (("sites", "--month", "2025-10", "--format", "xlsx"), "--format xlsx writes a file: add --out FILE.xlsx"),
        (("sites", "--month", "2025-10", "--section", "x"), "--section belongs to --format csv"),
        (("sites", "--month", "2025-10", "--site", "Z"), "the estate knows no site Z"),
        (("costs", "--month", "2025-10", "--months", "2"), "costs are those of one month"),
        (("nothing", "--month", "2025-10"), "Invalid value"),
        (("sites",), "Missing option '--month'"),
        (("sites", "--month", "2025-10", "--out", "."), "--out . is a folder; name a file"),
    ],
)
def test_what_cannot_be_reported_is_one_sentence_and_status_2(ask: Ask, arguments: tuple[str, ...], said: str) -> None:
    status, out, told = ask(*arguments)
    assert (status, out, told.count("\n")) == (UNUSABLE, "", 1)
    assert said in told


def test_without_a_store_or_an_estate_it_says_so(
    places: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, estate = map(str, places)
    asked = ["report", "sites", "--month", "2025-10"]
    assert shell([*asked, "--store", str(tmp_path / "none"), "--estate", estate]) == UNUSABLE
    assert capsys.readouterr().err == f"callgauge: there is no store in {tmp_path}/none\n"
    assert shell([*asked, "--store", store, "--estate", str(tmp_path / "none")]) == UNUSABLE
    assert "there is no such folder" in capsys.readouterr().err


def test_months_are_added_up(ask: Ask) -> None:
    one = json.loads(ask("sites", "--month", "2025-10", "-f", "json")[1])
    three = json.loads(ask("sites", "--month", "2025-11", "--months", "3", "-f", "json")[1])
    assert three["title"].endswith("September 2025 to November 2025")
    assert three["figures"]["all.cost"]["value"] == one["figures"]["all.cost"]["value"] == "0.53"


def test_a_csv_on_standard_output_ends_its_lines_as_rfc_4180_says(places: tuple[Path, Path]) -> None:
    store, estate = map(str, places)
    command = [sys.executable, "-m", "api.main", "report", "access", "--month", "2025-10", "--format", "csv"]
    done = subprocess.run([*command, "--store", store, "--estate", estate], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.count(b"\r\n") == done.stdout.count(b"\n") > 1
