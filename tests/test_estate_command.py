"""The command says what is wrong with an estate, where things are, and who calls whom."""

from __future__ import annotations

import csv
import io
import json
import shutil
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from estate_files import with_rows, write_estate
from filled_rows import filled
from records_made import moment, record, records

from analytics.store.lake import Lake
from analytics.store.schema import USAGE
from api.main import shell

TARIFFS = Path(__file__).parent / "data" / "cost_example_estate" / "tariffs"
T = 1_759_306_500  # 2025-10-01 09:15 BST


@pytest.fixture
def estate(tmp_path: Path) -> Path:
    (tmp_path / "estate").mkdir()
    return write_estate(tmp_path / "estate")


def usage(key: int, site: str, other: str | None, seconds: int, **fields: Any) -> dict[str, Any]:
    return {
        "day": moment(T).date(),
        "origination": moment(T),
        "start": moment(T),
        "month": 202510,
        "line_key": key,
        "call_key": key,
        "source": "cucm",
        "system": "x",
        "kind": "on_net",
        "seconds": seconds,
        "answered": seconds > 0,
        "site": site,
        "other_site": other,
        **fields,
    }


@pytest.fixture
def store(tmp_path: Path) -> Path:
    lake = Lake.open(tmp_path / "store", create=True)
    rows = [usage(key, "A", "B", 90) for key in range(1, 7)]
    rows += [
        usage(7, "A", "B", 0),
        usage(8, "A", "B", 30, call_key=1),  # a second line of call 1
        usage(9, "B", "A", 60),
        usage(10, "A", None, 60, kind="outbound"),
        usage(11, "A", "B", 60, excluded="recording"),
        usage(12, "A", "B", 60, month=202509),
        # Answered after midnight on 1 October, begun before.
        usage(13, "B", "B", 6, day=date(2025, 9, 30), origination=moment(T) - timedelta(hours=10)),
    ]
    lake.append("usage", filled(USAGE, rows), batch="usage")
    lake.append(
        "cdr_rows",
        records(
            record(1, 1, (1, 2), T, 60, "5001", "902079460018", orig_device="SEP_X", dest_device="GW2"),
            record(2, 2, (3, 4), T + 86_400, 60, "7001", "6001", orig_device="=SEP", dest_device="SEP_B"),
        ),
        batch="cdr",
    )
    lake.close()
    return tmp_path / "store"


def test_a_sound_estate_ends_with_status_0(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["estate", "check", "--estate", str(estate)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "Loamshire Police: 0 errors, 1 warning; 2 sites, 2 subnets, 1 pool, 2 devices, 2 number ranges, 2 trunks"
    )


def test_errors_are_printed_with_file_and_line_and_end_with_status_1(
    estate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_estate(estate, with_rows("subnets.csv", "10.3.0.1/24,A,,"))
    assert shell(["estate", "check", str(estate)]) == 1
    assert capsys.readouterr().out.splitlines()[0] == (
        "subnets.csv:4: error: subnet '10.3.0.1/24' is no network: bits after the prefix are set; "
        "its network is 10.3.0.0/24 [host_bits_set]"
    )


def test_problems_as_json(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_estate(estate, with_rows("subnets.csv", "10.3.0.1/24,A,,") | with_rows("trunks.csv", "GW2,pstn,A,,,"))
    assert shell(["estate", "check", str(estate), "--format", "json"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert (body["estate"], body["errors"], body["warnings"]) == ("Loamshire Police", 1, 2)
    assert [(row["file"], row["line"], row["severity"], row["code"]) for row in body["problems"]] == [
        ("subnets.csv", 4, "error", "host_bits_set"),
        ("tariffs", 0, "warning", "no_tariffs"),
        ("trunks.csv", 4, "warning", "no_channels"),
    ]
    assert body["rows"]["sites"] == 2


def test_files_of_costs_and_tariffs_are_checked_too(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (estate / "keys.csv").write_text("key,site,value\nhandsets,X,80\n")
    (estate / "tariffs" / "ip" / "2025-04-01").mkdir(parents=True)
    assert shell(["estate", "check", str(estate)]) == 1
    out = capsys.readouterr().out
    assert "keys.csv:2: error:" in out
    assert "tariffs/ip/2025-04-01/rates.csv: error:" in out
    assert "tariffs/legacy: error: there is no version of the legacy tariff legacy" in out


def test_tariffs_that_the_settings_name_must_be_there(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["estate", "check", str(estate)]) == 0
    assert "tariffs: warning: there is no folder of tariffs: no call has a price" in capsys.readouterr().out
    with (estate / "estate.toml").open("a", encoding="utf-8") as file:
        file.write('[tariffs]\nip = "ip"\n')
    assert shell(["estate", "check", str(estate), "--format", "json"]) == 1
    errors = [row for row in json.loads(capsys.readouterr().out)["problems"] if row["severity"] == "error"]
    assert [(row["file"], row["code"]) for row in errors] == [
        ("tariffs", "missing_folder"),
        ("tariffs/ip", "missing_tariff"),
        ("tariffs/legacy", "missing_tariff"),
    ]


def test_a_version_that_is_not_named_by_a_day_is_an_error(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ip/2025-4-1", "legacy/2025-04-01"):
        shutil.copytree(TARIFFS / "legacy" / "2025-04-01", estate / "tariffs" / name)
    for command in (["estate", "check", str(estate)], ["tariff", "check", "--estate", str(estate)]):
        assert shell(command) == 1
        out = capsys.readouterr().out
        assert "tariffs/ip: error: the folder '2025-4-1' is not named by the day its version begins" in out
        assert "tariffs/ip: error: there is no version of the ip tariff ip, which estate.toml names" in out


def test_show_says_where_a_device_is_and_by_which_rows(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["estate", "show", "SEP_B", "--estate", str(estate), "--at", "2025-10-01"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "SEP_B is at site B (Brook, office) on 2025-10-01 by its pool: pools.csv:2 through devices.csv:3",
        "  holds  devices.csv:3  device in pool DP_B, at all times",
    ]


def test_show_knows_numbers_addresses_and_times(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell(["estate", "show", "5001", "--estate", str(estate), "--at", "2025-10-01", "--format", "json"])
    body = json.loads(capsys.readouterr().out)
    assert (body["site"], body["evidence"], body["origin"]) == ("A", "number", "numbers.csv:2")
    # 23:30 UTC is 00:30 of the next local day in summer; site B begins on 2025-01-01.
    for at, day in (("2025-06-30T23:30Z", "2025-07-01"), ("2025-06-30T23:30", "2025-06-30")):
        shell(["estate", "show", "10.2.0.7", "--estate", str(estate), "--at", at, "--format", "json"])
        body = json.loads(capsys.readouterr().out)
        assert (body["day"], body["site"], body["origin"]) == (day, "B", "subnets.csv:3")
    assert body["rows"] == [
        {
            "says": "network 10.2.0.0/24, site B",
            "days": "from 2025-01-01 on",
            "holds": True,
            "origin": "subnets.csv:3",
        }
    ]


def test_show_ends_with_status_1_where_the_estate_does_not_say(
    estate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell(["estate", "show", "10.2.0.7", "--estate", str(estate), "--at", "2024-12-31"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "10.2.0.7 is at no site on 2024-12-31",
        "         subnets.csv:3  network 10.2.0.0/24, site B, from 2025-01-01 on",
    ]
    assert shell(["estate", "show", "SEP-B", "--estate", str(estate)]) == 1
    assert "the estate does not speak of it (did you mean SEP_B?)" in capsys.readouterr().out


def test_show_tells_trunks_and_public_numbers(estate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["estate", "show", "gw", "--estate", str(estate), "--at", "2025-10-01"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "gw has no site of its own on 2025-10-01",
        "  holds  trunks.csv:2  pstn trunk of site A, 30 channels, at all times",
    ]
    assert shell(["estate", "show", "101", "--estate", str(estate), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["public_number"] == "public_numbers.csv:2"


def test_unmapped_as_csv_is_no_formula_for_a_spreadsheet(
    estate: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell(["estate", "unmapped", "--estate", str(estate), "--store", str(store), "--format", "csv"]) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [
        ["kind", "name", "sides", "without_site", "first_seen", "last_seen", "seen_in", "likely_site"],
        ["trunk", "GW2", "1", "1", "2025-10-01 09:15", "2025-10-01 09:15", "cdr_rows", ""],
        ["device", "'=SEP", "1", "1", "2025-10-02 09:15", "2025-10-02 09:15", "cdr_rows", ""],
        ["number", "700x", "1", "1", "2025-10-02 09:15", "2025-10-02 09:15", "cdr_rows", ""],
    ]


def test_a_very_long_name_does_not_widen_the_table(
    estate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = record(1, 1, (1, 2), T, 60, "7001", "6001", orig_device="X" * 5_000 + "\u202e", dest_device="SEP_B")
    with closing(Lake.open(tmp_path / "other", create=True)) as lake:
        lake.append("cdr_rows", records(long), batch="cdr")
    assert shell(["estate", "unmapped", "--estate", str(estate), "--store", str(tmp_path / "other")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) < 200
    assert "\u202e" not in said


def test_unmapped_by_local_days_and_all(estate: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["--estate", str(estate), "--store", str(store)]
    assert (
        shell(["estate", "unmapped", *places, "--since", "2025-10-01", "--until", "2025-10-01", "--all", "-f", "json"])
        == 0
    )
    body = json.loads(capsys.readouterr().out)
    assert [(row["kind"], row["name"], row["without_site"]) for row in body["unmapped"]] == [
        ("trunk", "GW2", 1),
        ("device", "SEP_X", 0),
    ]
    assert body["unmapped"][0]["first_seen"] == "2025-10-01T09:15:00+01:00"
    assert shell(["estate", "unmapped", *places, "--until", "2025-10-01"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 thing that the estate does not know; 1 more have a site by other evidence (--all)"
    )


def test_pairs_hold_small_counts_back(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["estate", "pairs", "--store", str(store), "--month", "2025-10", "--format", "csv"]) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [
        ["site", "other_site", "calls", "answered", "minutes"],
        ["A", "B", "7", "6", "9.5"],
        ["B", "A", "<5", "", ""],
        ["B", "B", "<5", "", ""],
    ]
    assert shell(["estate", "pairs", "--store", str(store), "--month", "2025-10", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][1] == {
        "site": "B", "other_site": "A", "held_back": True, "calls": None, "answered": None, "seconds": None,
    }  # fmt: skip


def test_pairs_in_full_and_as_a_matrix(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    month = ["--store", str(store), "--month", "2025-10", "--format", "csv"]
    assert shell(["estate", "pairs", *month, "--exact"]) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out)))[1:] == [
        ["A", "B", "7", "6", "9.5"],
        ["B", "A", "1", "1", "1.0"],
        ["B", "B", "1", "1", "0.1"],
    ]
    assert shell(["estate", "pairs", *month, "--matrix", "minutes"]) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [
        ["from", "A", "B"],
        ["A", "", "9.5"],
        ["B", "<5", "<5"],
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "{absent}"], "there is no such folder"),
        (["show", "x", "--estate", "{estate}", "--at", "yesterday"], "--at 'yesterday' is no time"),
        (["show", "x", "--estate", "{absent}"], "there is no such folder"),
        (["unmapped", "--estate", "{estate}", "--store", "{absent}"], "there is no store"),
        (["unmapped", "--estate", "{estate}", "--store", "{store}", "--since", "soon"], "'soon' is no day"),
        (["unmapped", "--estate", "{estate}", "--store", "{store}", "--until", "9999-12-31"], "is no day"),
        (["pairs", "--store", "{store}", "--month", "October"], "--month 'October' is no month"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(
    estate: Path, store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    places = {"estate": str(estate), "store": str(store), "absent": str(store / "absent")}
    assert shell(["estate", *(argument.format(**places) for argument in arguments)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert sentence in told.err
    assert told.err.count("\n") == 1


def test_a_store_that_has_lost_files_is_one_line_and_status_2(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (store / "usage" / "_delta_log").iterdir():
        path.write_bytes(b"x")
    assert shell(["estate", "pairs", "--store", str(store), "--month", "2025-10"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_group_alone_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["estate"]) == 0
    assert "unmapped" in capsys.readouterr().out
