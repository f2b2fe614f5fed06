"""`callgauge tariff` says what a call costs with its arithmetic, and what is wrong with a tariff."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from api.main import shell

EXAMPLE = Path(__file__).parent / "data" / "cost_example_estate"


def explain(*options: str, estate: Path = EXAMPLE) -> int:
    return shell(["tariff", "explain", *options, "--estate", str(estate)])


def test_a_price_is_explained_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    status = explain("908451234567", "--at", "2025-10-07T11:00", "--for", "3m", "--tariff", "legacy", "--site", "B")
    assert status == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert lines[0].startswith("Number   908451234567 is +448451234567, service_084, region GB, assigned")
    assert "; 9 was taken off before" in lines[0]
    assert "Start    Tue 2025-10-07 11:00:00 BST (2025-10-07 10:00:00 UTC)" in lines
    assert "Row      tariffs/legacy/2025-04-01/rates.csv:11: service_084 in any band" in lines
    assert "Band     peak: tue 11:00 BST lies in 07:00 to 19:00 of tariffs/legacy/2025-04-01/bands.csv:2" in lines
    assert "Seconds  180 real, 180 charged: 60 s first, then by 60 s" in lines
    amounts = [line.split()[:2] for line in text.partition("Price")[2].splitlines()]
    steps = [Decimal(words[0]) for words in amounts]
    assert steps == [Decimal(one) for one in ("0.05", "0.12", "0.06", "0.23", "0.23")]


def test_both_tariffs_are_told_unless_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("902079460018", "--at", "2025-10-01T08:15Z", "--for", "125s", "-f", "json") == 0
    body = json.loads(capsys.readouterr().out)
    assert body["e164"] == "+442079460018"
    assert body["start"] == "2025-10-01T09:15:00+01:00"
    assert [(one["tariff"], one["price"], one["rated_seconds"]) for one in body["tariffs"]] == [
        ("ip@2025-04-01", "0.0125", 125),
        ("legacy@2025-04-01", "0.17", 180),
    ]
    assert [one["rounded"] for one in body["tariffs"]] == ["0.01", "0.17"]


def test_a_call_over_a_band_is_told_span_by_span(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "estate")
    version = tmp_path / "estate" / "tariffs" / "legacy" / "2025-04-01"
    terms = version / "terms.csv"
    terms.write_text(terms.read_text().replace("band_crossing,start", "band_crossing,split"))
    (version / "inclusive.csv").write_text("classes,minutes,per\nmobile,100,site\n")
    words = ("907400123456", "--at", "2025-10-01T18:59:30", "--for", "600", "--tariff", "legacy")
    assert explain(*words, "-f", "json", estate=tmp_path / "estate") == 0
    (told,) = json.loads(capsys.readouterr().out)["tariffs"]
    spans = [(one["begin"], one["seconds"], one["band"], one["per_minute"], one["amount"]) for one in told["spans"]]
    assert spans == [
        ("2025-10-01T18:59:30+01:00", 30, "peak", "0.13", "0.065"),
        ("2025-10-01T19:00:00+01:00", 570, "offpeak", "0.085", "0.8075"),
    ]
    assert told["price"] == "0.9225"
    assert explain(*words, estate=tmp_path / "estate") == 0
    out = capsys.readouterr().out
    assert "570 s in offpeak from 19:00:00 BST on (legacy@2025-04-01, " in out
    assert "Note     100 minutes a month for each site are inclusive and may cover it" in out


def test_a_short_call_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("902079460018", "--at", "2025-10-14T10:00", "--for", "0s", "--tariff", "legacy") == 0
    assert "Price    0.00 GBP: a call of 0 s costs nothing" in capsys.readouterr().out


def test_an_emergency_call_is_free_and_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("9999", "--at", "2025-10-09T02:00", "--for", "240s", "-f", "json") == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["number"], body["emergency"], body["number_class"]) == ("999", True, "emergency")
    assert [one["atoms"] for one in body["tariffs"]] == [0, 0]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("907012345678", "Price    none: no row holds for this number and band [no_rate]"),
        ("9011349", "9011349 is no number: digits are missing [too_short]"),
        ("9001212555", "9001212555 is no number: digits are missing [too_short]; 9 was taken off before"),
        ("9001212555", "Price    none: no row can hold for what is no number [no_rate]"),
    ],
)
def test_what_has_no_price_says_why(number: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(number, "--at", "2025-10-09T02:00", "--for", "240s") == 1
    assert reason in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("5001", "--at", "2025-10-01T09:15", "--for", "9s"), "5001 is an extension: say --class intersite or"),
        (("999", "--at", "yesterday", "--for", "9s"), "--at 'yesterday' is no time such as"),
        (("999", "--at", "2025-10-26T01:30", "--for", "9s"), "this time came twice; write its offset"),
        (("999", "--at", "2025-03-30T01:30", "--for", "9s"), "clocks went forward over this time, it was never"),
        (("999", "--at", "2025-13-01", "--for", "9s"), "--at '2025-13-01' is no time"),
        (("999", "--at", "2025-10-01", "--for", "soon"), "--for 'soon' is no length such as 125s"),
        (("999", "--at", "2025-10-01", "--for", ""), "--for '' is no length such as 125s"),
        (("999", "--at", "2025-10-01", "--for", "9s", "--tariff", "x"), "the estate has no tariff x; it has ip, leg"),
        (("999", "--at", "2025-10-01", "--for", "9s", "--site", "Z"), "the estate has no site Z on 2025-10-01"),
        (("999", "--at", "2025-10-01", "--for", "9s", "--class", "Z"), "there is no class Z; classes are"),
    ],
)
def test_wrong_options_are_one_sentence(
    options: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(*options) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert sentence in said.err


def test_a_class_may_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("6001", "--at", "2025-10-02T10:00", "--for", "301s", "--class", "intersite", "-f", "json")
    assert explain(*words) == 0
    assert [one["price"] for one in json.loads(capsys.readouterr().out)["tariffs"]] == ["0.00", "0.29"]


def test_checked_tariffs_name_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["tariff", "check", "--estate", str(EXAMPLE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Tariffs: 0 errors, 2 warnings; usable: ip@2025-04-01 (10 rows), legacy@2025-04-01 (14 rows)"
    shutil.copytree(EXAMPLE, tmp_path / "estate")
    rates = tmp_path / "estate" / "tariffs" / "ip" / "2025-04-01" / "rates.csv"
    rates.write_text(rates.read_text() + ",mobile,,1,,1/1\n")
    assert shell(["tariff", "check", "--estate", str(tmp_path / "estate"), "--format", "json"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert (body["errors"], [one["tariff"] for one in body["versions"]]) == (1, ["legacy@2025-04-01"])
    (error,) = (one for one in body["problems"] if one["severity"] == "error")
    assert (error["file"], error["line"], error["code"]) == (
        "tariffs/ip/2025-04-01/rates.csv",
        13,
        "duplicate_rate",
    )
    assert explain("999", "--at", "2025-10-01", "--for", "9s", estate=tmp_path / "estate") == 2
    assert "rates.csv:13: mobile in every band has its price in line 5 already" in capsys.readouterr().err
    assert shell(["tariff", "check", "--estate", str(tmp_path / "none")]) == 2
