"""The worked example from CUCM files to finance's figures, to the penny, however the files come."""

from __future__ import annotations

import csv
import gzip
import os
import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cost_example import COPIES, ESTATE, OCTOBER, example_facts, write_cucm_files
from test_savings_example import NAMES

from analytics.cost.money import Rounding, from_atoms
from analytics.cost.savings import TOTAL, Savings, make_savings
from analytics.store.cost_queries import Usage, usage_sums
from analytics.store.lake import Lake
from api.main import shell


@pytest.fixture(scope="module")
def files(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The example's records as six files of a cluster."""
    golden = shared / "golden"
    out = tmp_path_factory.mktemp("cdr")
    return write_cucm_files(golden / "cost_example", golden / "cucm_fields.csv", out, files=6)


def bring_in(paths: Sequence[Path], store: Path) -> None:
    """Import and rate, as a person would."""
    rejects = store.parent / "rejects.csv"
    arguments = [*map(str, paths), "--store", str(store), "--estate", str(ESTATE), "--rejects", str(rejects)]
    assert shell(["cdr", "import", *arguments, "--settle", "0", "--no-progress"]) == 0


def lines_of(store: Path) -> list[tuple[Any, ...]]:
    """All usage lines but for the file and line that each was read from."""
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        lake.view(connection, "usage")
        return connection.execute(
            "SELECT * EXCLUDE (file_key, line, origination, start), epoch_us(origination), epoch_us(start) "
            "FROM usage ORDER BY day, line_key"
        ).fetchall()


def usage_of(store: Path) -> Usage:
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        return usage_sums(connection, lake.view(connection, "usage"), [OCTOBER])


@pytest.fixture(scope="module")
def store(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lake") / "store"
    bring_in(files, made)
    return made


@pytest.fixture(scope="module")
def savings(store: Path) -> Savings:
    return make_savings(example_facts(usage_of(store)), [OCTOBER])


def test_every_figure_comes_out_to_the_penny(savings: Savings, shared: Path) -> None:
    with (shared / "golden" / "cost_example" / "expected.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            prefix = TOTAL if row["site"] == "ALL" else savings.site_prefixes[row["site"]]
            for column, name in NAMES.items():
                assert savings.book.value(f"{prefix}.{name}") == Decimal(row[column]), (row["site"], column)


def test_the_call_charges_of_each_site_are_those_of_the_example(store: Path) -> None:
    sums: dict[str, list[int]] = {"A": [0, 0, 0], "B": [0, 0, 0]}
    for one in usage_of(store).sums:
        assert one.site is not None
        sums[one.site][0] += one.ip_atoms
        sums[one.site][1] += one.legacy_atoms
        sums[one.site][2] += one.legacy_chargeable_seconds
    pounds = {site: (from_atoms(ip), from_atoms(legacy)) for site, (ip, legacy, _) in sums.items()}
    assert pounds == {
        "A": (Decimal("18.79"), Decimal("273.83")),
        "B": (Decimal("2.81"), Decimal("17.87")),
    }
    assert {site: round(seconds / 60, 4) for site, (*_, seconds) in sums.items()} == {"A": 3436.3333, "B": 219.5}


def test_the_wrong_answers_do_not_come_out(savings: Savings, store: Path) -> None:
    """Recording legs rated row by row, months by UTC, capital left out, charges alone, no index, half to even."""
    rounded = {figure.value.quantize(Decimal("0.01")) for figure in savings.book if figure.value is not None}
    for wrong in ("25.87", "18.78", "273.77", "67.59", "92.60", "47.99"):
        assert Decimal(wrong) not in rounded, wrong
    ip_of_b = sum(one.ip_atoms for one in usage_of(store).sums if one.site == "B")
    assert from_atoms(ip_of_b, rounding=Rounding.HALF_EVEN) == Decimal("2.80")
    assert from_atoms(ip_of_b) == Decimal("2.81")


def test_both_half_past_ones_of_the_night_the_clock_goes_back_count(store: Path) -> None:
    short = [one for one in usage_of(store).sums if one.site == "B" and one.number_class == "mobile"]
    assert [(one.lines, one.seconds) for one in short] == [(2, 60)]


def records_of(files: Sequence[Path]) -> tuple[list[str], list[str]]:
    """The two heading lines, and all records."""
    lines = [path.read_text(encoding="utf-8").splitlines() for path in files]
    return lines[0][:2], [record for each in lines for record in each[2:]]


@pytest.mark.parametrize("seed", range(2))
def test_records_split_in_any_way_and_brought_in_any_order_give_the_same_lines(
    files: list[Path], store: Path, tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    heads, records = records_of(files)
    dice.shuffle(records)
    cuts = sorted(dice.sample(range(1, len(records)), 7))
    parts = [records[a:b] for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    parts[0] = [*parts[0], *parts[1][:50]]  # and some records come twice
    other = tmp_path / "store"
    drop = tmp_path / "drop"
    drop.mkdir()
    for number, part in enumerate(parts):
        text = "\n".join([*heads, *part, ""]).encode()
        path = drop / f"cdr_Example_01_2025110100{number:02d}_{number + 1}{'.gz' if number % 2 else ''}"
        path.write_bytes(gzip.compress(text) if number % 2 else text)
        if number in (2, 5, 7):  # a few at a time, over several runs
            bring_in([drop], other)
    assert lines_of(other) == lines_of(store)


def test_the_same_files_again_change_nothing(files: list[Path], store: Path) -> None:
    before = lines_of(store)
    bring_in(files, store)
    assert lines_of(store) == before


def test_an_unchanged_tariff_moves_no_line_and_a_changed_one_says_which(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell(["rerate", "--dry-run", "--store", str(store), "--estate", str(ESTATE)]) == 0
    assert capsys.readouterr().out.startswith("No line would move: 14 days")
    changed = tmp_path / "estate"
    for folder, _, names in os.walk(ESTATE):
        for name in names:
            source = Path(folder) / name
            target = changed / source.relative_to(ESTATE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source.read_text(encoding="utf-8").replace(",mobile,,1.80,", ",mobile,,2.00,"))
    assert shell(["rerate", "--dry-run", "--store", str(store), "--estate", str(changed)]) == 0
    told = capsys.readouterr().out
    # 36,000 s at A and 60 s at B, a fifth of a penny more a minute: 120 p and 0.2 p, by hand.
    assert told.startswith("62 usage lines of 2 days would move: ip 1.2020, legacy 0.0000 GBP.")
    moved = [line.split() for line in told.splitlines() if line.startswith("2025-10")]
    assert moved == [
        ["2025-10", "A", "ip", "10.8000", "12.0000", "1.2000"],
        ["2025-10", "B", "ip", "0.0180", "0.0200", "0.0020"],
        ["2025-10", "A", "ip", "price", "60", "10.8000", "12.0000", "1.2000", "ip@2025-04-01:5"],
        ["2025-10", "B", "ip", "price", "2", "0.0180", "0.0200", "0.0020", "ip@2025-04-01:5"],
    ]
    assert shell(["rerate", "--dry-run", "--store", str(store), "--estate", str(ESTATE)]) == 0
    assert "No line would move" in capsys.readouterr().out


def test_a_telephone_that_moves_takes_its_charges_from_one_site_to_the_other(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "estate"
    shutil.copytree(ESTATE, moved)
    devices = moved / "devices.csv"
    devices.write_text(devices.read_text(encoding="utf-8").replace("SEP_A1,A", "SEP_A1,B"), encoding="utf-8")
    assert shell(["rerate", "--dry-run", "--store", str(store), "--estate", str(moved)]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("2025-10")]
    sites = [row for row in told if len(row) == 6]
    # All of A's charges today are of that telephone but c15's 20 s at 0.01 p: 18.788 and 0.002 pounds, by hand.
    assert [row for row in sites if row[2] == "ip"] == [
        ["2025-10", "A", "ip", "18.7860", "0.0000", "-18.7860"],
        ["2025-10", "B", "ip", "0.0000", "18.7860", "18.7860"],
    ]


def test_late_records_of_a_transfer_join_the_call_that_was_rated_without_them(
    files: list[Path], tmp_path: Path
) -> None:
    heads, records = records_of(files)
    transfers = [record for record in records if ',"901134960123",' in record and ",393216," in record]
    of_transfers = [record for record in records if int(record.split(",")[2]) // COPIES in (4, 5)]
    finals = [record for record in of_transfers if record not in transfers]
    first, late = tmp_path / "cdr_E_01_202511010000_1", tmp_path / "cdr_E_01_202511010001_2"
    first.write_text("\n".join([*heads, *transfers, ""]), encoding="utf-8")
    late.write_text("\n".join([*heads, *finals, ""]), encoding="utf-8")
    made = tmp_path / "store"
    bring_in([first], made)
    seconds = [(one.lines, one.seconds) for one in usage_of(made).sums if one.kind == "outbound"]
    assert seconds == [(10, 1_200)]
    bring_in([late], made)
    seconds = [(one.lines, one.seconds) for one in usage_of(made).sums if one.kind == "outbound"]
    assert seconds == [(10, 4_800)]


def test_lines_of_a_day_do_not_depend_on_when_it_is_rated(files: list[Path], store: Path, tmp_path: Path) -> None:
    from analytics.usage.derive import derive
    from api.usage import load_book

    before = lines_of(store)
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        days = [row[0] for row in before]
        for day in sorted(set(days)):
            derive(lake, connection, load_book(ESTATE), [day], datetime.now(UTC))
    assert lines_of(store) == before


def test_the_cost_elements_of_the_month_are_kept_beside_its_lines(store: Path) -> None:
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        lake.view(connection, "elements")
        sums = connection.execute(
            "SELECT site, side, sum(amount) FROM elements WHERE month = DATE '2025-10-01' GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    # Sums of the worked example's ledger, by hand.
    assert [(site, side, from_atoms(int(atoms))) for site, side, atoms in sums] == [
        ("A", "ip", Decimal("1043.00")),
        ("A", "legacy", Decimal("1883.40")),
        ("B", "ip", Decimal("257.00")),
        ("B", "legacy", Decimal("657.80")),
    ]
