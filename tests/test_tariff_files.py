"""Tariff files are read or refused at their line, whatever they hold."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.cost.money import per_minute_to_atoms, to_atoms
from analytics.cost.tariff import Crossing
from analytics.sites import EstateSettings
from collector.estate.problems import EstateError
from collector.estate.tariffs import FILES, load_tariffs, read_tariffs

EXAMPLE = Path(__file__).parent / "data" / "cost_example_estate"
SETTINGS = EstateSettings("example")
VERSION = Path("tariffs", "legacy", "2025-04-01")
RATES_HEAD = "prefix,class,band,connection_fee,per_minute,service_per_minute,minimum_seconds,increment,cap\n"
Edit = Callable[[str], str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example estate's tariffs."""
    shutil.copytree(EXAMPLE / "tariffs", tmp_path / "tariffs")
    return tmp_path


def found(root: Path) -> list[tuple[str, int, str, str]]:
    """File, line, severity and code of each problem of the legacy tariff, without the note on classes not covered."""
    _, problems = read_tariffs(root, SETTINGS)
    return [
        (Path(one.origin.file).name, one.origin.line, one.severity, one.code)
        for one in problems
        if one.code != "class_without_rate" and "ip/" not in one.origin.file
    ]


def test_the_example_reads_as_it_is_written() -> None:
    book = load_tariffs(EXAMPLE, SETTINGS)
    assert book.names == ("ip", "legacy")
    (legacy,) = book.named("legacy")
    assert (legacy.label, legacy.valid_from) == ("legacy@2025-04-01", date(2025, 4, 1))
    assert legacy.terms.unit == Decimal("0.01")
    assert (legacy.terms.band_crossing, legacy.terms.tariff_change) == (Crossing.START, Crossing.START)
    row = legacy.rows[0]
    assert (str(row.origin), row.number_class, row.band) == (f"{VERSION.as_posix()}/rates.csv:3", "geographic", "peak")
    assert row.connection_fee == to_atoms(Decimal("0.05"))
    assert row.per_second == per_minute_to_atoms(Decimal("0.04"))
    assert (row.first_increment, row.next_increment, row.cap) == (60, 60, None)
    assert [legacy.band_at(day, minute) for day, minute in ((0, 419), (4, 420), (4, 1139), (4, 1140), (7, 600))] == [
        "offpeak",
        "peak",
        "peak",
        "offpeak",
        "offpeak",
    ]
    assert found(EXAMPLE) == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (",geografic,,,1,,,60/60,", "unknown_class"),
        (",unknown,,,1,,,60/60,", "unknown_class"),
        (",,,,1,,,60/60,", "no_destination"),
        ("0845,,,,1,,,60/60,", "bad_prefix"),
        ("4412345678901234,,,,1,,,60/60,", "bad_prefix"),
        ("44x,,,,1,,,60/60,", "not_digits"),
        (",pager_076,evening,,1,,,60/60,", "unknown_band"),
        (",pager_076,,,-1,,,60/60,", "negative_price"),
        (",pager_076,,-0.5,1,,,60/60,", "negative_price"),
        (",pager_076,,,0.0000001,,,60/60,", "too_many_decimals"),
        (",pager_076,,,1,,,60/60,0.0000001", "too_many_decimals"),
        (",pager_076,,,1000001,,,60/60,", "price_too_high"),
        (",pager_076,,,1e3,,,60/60,", "bad_number"),
        (",pager_076,,,,,,60/60,", "blank_field"),
        (",pager_076,,,1,,,,", "blank_field"),
        (",pager_076,,,1,,,60,", "bad_increment"),
        (",pager_076,,,1,,,60/0,", "bad_increment"),
        (",pager_076,,,1,,,86401/1,", "bad_increment"),
        (",pager_076,,,1,,86401,1/1,", "bad_minimum"),
        (",pager_076,,,1,,1.5,1/1,", "bad_number"),
        (",pager_076,,,1,,", "ragged_row"),
    ],
)
def test_a_wrong_rate_is_refused_at_its_line(folder: Path, line: str, code: str) -> None:
    (folder / VERSION / "rates.csv").write_text(f"{RATES_HEAD},geographic,,,1,,,60/60,\n# a comment\n{line}\n")
    problems = found(folder)
    assert ("rates.csv", 4, "error", code) in problems
    assert {place[:3] for place in problems} == {("rates.csv", 4, "error")}
    with pytest.raises(EstateError, match=r"rates\.csv:4: "):
        load_tariffs(folder, SETTINGS)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([",mobile,,,1,,,1/1,", ",mobile,,,2,,,1/1,"], (3, "error", "duplicate_rate")),
        (["447,,peak,,1,,,1/1,", "447,,peak,,2,,,1/1,", "447,,,,2,,,1/1,"], (3, "error", "duplicate_rate")),
        ([",mobile,peak,,1,,,1/1,"], (2, "error", "band_without_rate")),
        (["447,,peak,,1,,,1/1,"], (2, "warning", "band_without_rate")),
        (
            [",mobile,peak,,1,,,1/1,", ",mobile,,,2,,,1/1,", ",mobile,offpeak,,1,,,1/1,"],
            (3, "warning", "unreachable_rate"),
        ),
        ([",mobile,,5,1,,,1/1,4"], (2, "warning", "cap_below_fee")),
        (["999123,,,,1,,,1/1,"], (2, "warning", "unassigned_prefix")),
        (["4479,geographic,,,1,,,1/1,"], (2, "warning", "unreachable_rate")),
    ],
)
def test_rates_are_held_against_each_other(folder: Path, lines: list[str], expected: tuple[int, str, str]) -> None:
    (folder / VERSION / "rates.csv").write_text(RATES_HEAD + "\n".join(lines) + "\n")
    assert [one for one in found(folder) if one[0] == "rates.csv"] == [("rates.csv", *expected)]


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ("peak,mon-fri,07:00,19:00\noffpeak,mon-sun,00:00,24:00\n", (3, "error", "band_gap")),
        ("peak,mon-fri,07:00,19:00\noffpeak,sat sun holiday,00:00,24:00\n", (3, "error", "band_gap")),
        ("peak,mon-fri,19:00,07:00\noffpeak,every,00:00,24:00\n", (2, "error", "ends_before_begin")),
        ("peak,mon-fry,07:00,19:00\noffpeak,every,00:00,24:00\n", (2, "error", "bad_days")),
        ("peak,mon-fri,7:00,19:00\noffpeak,every,00:00,24:00\n", (2, "error", "bad_clock")),
        ("peak,mon-fri,07:00,24:01\noffpeak,every,00:00,24:00\n", (2, "error", "bad_clock")),
        ("1,mon-fri,07:00,19:00\npeak,sat,00:00,24:00\noffpeak,every,00:00,24:00\n", (2, "error", "bad_band")),
        ("offpeak,every,00:00,24:00\npeak,mon-fri,07:00,19:00\n", (3, "warning", "unreachable_band")),
    ],
)
def test_bands_must_cover_the_week_once(folder: Path, bands: str, expected: tuple[int, str, str]) -> None:
    (folder / VERSION / "bands.csv").write_text("band,days,from,to\n" + bands)
    problems = {one for one in found(folder) if one[0] == "bands.csv"}
    assert problems == {("bands.csv", *expected)}


def test_days_may_go_over_the_end_of_the_week(folder: Path) -> None:
    (folder / VERSION / "bands.csv").write_text(
        "band,days,from,to\noffpeak,fri-mon holiday,00:00,24:00\npeak,tue-thu,00:00,24:00\n"
    )
    (version,) = load_tariffs(folder, SETTINGS).named("legacy")
    assert [version.band_at(day, 0) for day in range(8)] == [
        *("offpeak", "peak", "peak", "peak", "offpeak", "offpeak", "offpeak"),
        "offpeak",
    ]


def test_a_tariff_without_bands_has_one(folder: Path) -> None:
    (folder / VERSION / "bands.csv").unlink()
    (folder / VERSION / "rates.csv").write_text(f"{RATES_HEAD},geographic,,,1,,,60/60,\n")
    (version,) = load_tariffs(folder, SETTINGS).named("legacy")
    assert (version.band_names, version.band_at(3, 600)) == (("anytime",), "anytime")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda text: text.replace("unit,pence", "unit,shillings"), (3, "error", "bad_term")),
        (lambda text: text.replace("band_crossing,start", "band_crossing,end"), (4, "error", "bad_term")),
        (lambda text: text.replace("vat,excluded\n", ""), (0, "error", "missing_term")),
        (lambda text: text + "colour,red\n", (9, "error", "unknown_word")),
        (lambda text: text + "vat,excluded\n", (9, "error", "duplicate_term")),
        (lambda text: text.replace("GBP", "pounds"), (2, "error", "bad_term")),
        (lambda text: text.replace("GBP", "EUR"), (2, "error", "currency_mixed")),
        (lambda text: text.replace("excluded", "included"), (2, "error", "vat_mixed")),
    ],
)
def test_terms_must_say_everything(folder: Path, edit: Edit, expected: tuple[int, str, str]) -> None:
    terms = folder / VERSION / "terms.csv"
    terms.write_text(edit(terms.read_text()))
    assert [one for one in found(folder) if one[0] == "terms.csv"] == [("terms.csv", *expected)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("geographic mobile,500,site\nmobile,100,estate\n", (3, "error", "duplicate_inclusive")),
        ("geografic,500,site\n", (2, "error", "unknown_class")),
        ("geographic,-5,site\n", (2, "error", "bad_number")),
        ("geographic,500,person\n", (2, "error", "unknown_word")),
        ("pager_076,500,site\n", (2, "warning", "inclusive_without_rate")),
    ],
)
def test_inclusive_minutes_are_checked(folder: Path, rows: str, expected: tuple[int, str, str]) -> None:
    (folder / VERSION / "inclusive.csv").write_text("classes,minutes,per\n" + rows)
    assert [one for one in found(folder) if one[0] == "inclusive.csv"] == [("inclusive.csv", *expected)]


def test_folders_that_are_no_versions_are_named(folder: Path) -> None:
    for name in ("2025-13-01", "2026.1.1", "20260401", "1960-01-01", "old", "2025-04-01 copy"):
        (folder / "tariffs" / "legacy" / name).mkdir()
    (folder / "tariffs" / "legacy" / "2026-04-01").write_text("x")
    (folder / "tariffs" / "notes.txt").write_text("x")
    (folder / VERSION / "rate.csv").write_text("x")
    assert found(folder) == [
        ("tariffs", 0, "warning", "unknown_file"),
        ("legacy", 0, "error", "bad_version"),
        ("legacy", 0, "warning", "bad_version"),
        ("legacy", 0, "error", "bad_version"),
        ("legacy", 0, "warning", "unknown_file"),
        ("legacy", 0, "error", "bad_version"),
        ("legacy", 0, "error", "bad_version"),
        ("legacy", 0, "warning", "bad_version"),
        ("2025-04-01", 0, "warning", "unknown_file"),
    ]
    shutil.rmtree(folder / "tariffs" / "legacy")
    assert ("legacy", 0, "error", "missing_tariff") in found(folder)
    shutil.rmtree(folder / "tariffs")
    assert ("tariffs", 0, "error", "missing_folder") in found(folder)


@pytest.mark.parametrize("name", ["2025-4-1", "april", ""])
def test_a_tariff_whose_only_version_is_wrongly_named_is_missing(folder: Path, name: str) -> None:
    version = folder / VERSION
    if name:
        version.rename(version.with_name(name))
    else:
        shutil.rmtree(version)
    expected = [("legacy", 0, "error", "missing_tariff")]
    assert [one for one in found(folder) if one[3] == "missing_tariff"] == expected
    with pytest.raises(EstateError, match="legacy: "):
        load_tariffs(folder, SETTINGS)


def test_a_file_in_place_of_a_version_leaves_the_tariff_missing(folder: Path) -> None:
    shutil.rmtree(folder / VERSION)
    (folder / VERSION).write_text("no folder")
    assert ("legacy", 0, "error", "missing_tariff") in found(folder)


def test_a_missing_tariff_names_one_like_it(folder: Path) -> None:
    (folder / "tariffs" / "legacy").rename(folder / "tariffs" / "Legacy")
    _, problems = read_tariffs(folder, SETTINGS)
    (missing,) = (str(one) for one in problems if one.code == "missing_tariff")
    assert missing == (
        "tariffs/legacy: error: there is no version of the legacy tariff legacy, which estate.toml names "
        "(did you mean Legacy?) [missing_tariff]"
    )


def test_strange_names_and_folders_in_place_of_files_do_no_harm(folder: Path) -> None:
    for name in ("a\nb", "x" * 200, "\udcff", "-"):
        (folder / "tariffs" / name).mkdir()
        (folder / "tariffs" / "legacy" / name).mkdir()
        (folder / VERSION / name).mkdir()
    (folder / "tariffs" / "legacy" / "2026-01-01").write_text("no folder")
    rates = folder / VERSION / "rates.csv"
    rates.unlink()
    rates.mkdir()
    _, problems = read_tariffs(folder, SETTINGS)
    assert all("\n" not in str(problem) for problem in problems)
    errors = [(problem.origin.file, problem.code) for problem in problems if problem.severity == "error"]
    assert errors == [(f"{VERSION.as_posix()}/rates.csv", "unreadable_file")]


def test_what_differs_between_versions_is_noted(folder: Path) -> None:
    later = folder / "tariffs" / "legacy" / "2026-01-01"
    shutil.copytree(folder / VERSION, later)
    assert [one.label for one in load_tariffs(folder, SETTINGS).named("legacy")] == [
        "legacy@2025-04-01",
        "legacy@2026-01-01",
    ]
    assert found(folder) == [("2026-01-01", 0, "warning", "same_version")]


PIECES = (
    *(b",", b"\n", b"\r\n", b'"', b"#", b"-", b"44", b"geographic", b"peak", b"60/60", b"1.5", b"mon-fri", b"every"),
    *(b"07:00", b"24:00", b"\xff", b"\x00", b"9" * 30, "é".encode(), b"\xef\xbb\xbf", b"unit,pence\n", b"key,value\n"),
    *(b"prefix,class,band,per_minute,increment\n", b"band,days,from,to\n", b"classes,minutes,per\n"),
)
pieces = st.sampled_from(PIECES)
contents = st.one_of(st.binary(max_size=300), st.lists(pieces, max_size=40).map(b"".join))


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from([declared.name for declared in FILES]), data=contents, mode=st.sampled_from(["new", "add"]))
def test_any_bytes_give_facts_or_problems(name: str, data: bytes, mode: str) -> None:
    with TemporaryDirectory() as made:
        root = Path(made)
        shutil.copytree(EXAMPLE / "tariffs", root / "tariffs")
        path = root / VERSION / name
        before = path.read_bytes() if path.exists() and mode == "add" else b""
        path.write_bytes(before + data)
        book, problems = read_tariffs(root, SETTINGS)
        is_sound = not any(problem.severity == "error" for problem in problems)
        assert not is_sound or len(book.named("legacy")) == 1
        for problem in problems:
            assert "\n" not in str(problem)


def test_terms_without_a_row_are_an_error_and_not_a_tariff_less(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tariffs", tmp_path / "tariffs")
    (tmp_path / VERSION / "terms.csv").write_bytes(b"key,value")
    _, problems = read_tariffs(tmp_path, SETTINGS)
    assert [(one.severity, one.code) for one in problems if one.severity == "error"] == [("error", "missing_term")]
