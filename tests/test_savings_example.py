"""The worked example comes out to the penny, and the wrong answers that a short cut gives do not."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest
from cost_example import OCTOBER, by_month, example_facts, example_usage

from analytics.cost.savings import TOTAL, Savings, make_savings

NAMES = {
    "ip_actual": "ip",
    "legacy_as_billed": "billed",
    "m1_ledger_normalised": "m1",
    "m2_counterfactual": "m2",
    "m1_saving": "s1",
    "m2_saving": "s2",
    "m1_pct": "p1",
    "m2_pct": "p2",
}
MONTH_NAMES = {"ip_usage": "ip_calls", "legacy_usage_rerated": "rerated", "legacy_minutes": "minutes"}


@pytest.fixture(scope="module")
def folder() -> Path:
    found = Path(__file__).resolve().parents[2] / "shared" / "golden" / "cost_example"
    if not found.is_dir():
        pytest.skip("the worked example is not here")
    return found


@pytest.fixture(scope="module")
def savings(folder: Path) -> Savings:
    return make_savings(example_facts(example_usage(folder)), [OCTOBER])


def test_every_figure_of_the_worked_example_comes_out_to_the_penny(folder: Path, savings: Savings) -> None:
    with (folder / "expected.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))
    assert [row["site"] for row in expected] == ["A", "B", "ALL"]
    for row in expected:
        prefix = TOTAL if row["site"] == "ALL" else savings.site_prefixes[row["site"]]
        for column, name in NAMES.items():
            assert savings.book.value(f"{prefix}.{name}") == Decimal(row[column]), (row["site"], column)
        if row["site"] == "ALL":
            continue
        for column, name in MONTH_NAMES.items():
            assert savings.book.value(f"{OCTOBER}.{row['site']}.{name}") == Decimal(row[column]), (row["site"], column)


def test_all_calls_of_the_example_are_of_october_by_local_time(folder: Path) -> None:
    assert by_month(example_usage(folder)).keys() == {OCTOBER}
