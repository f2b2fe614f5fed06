"""Calls cost to the atom what the tariff says, and what an independent rater in fractions says."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from analytics.cost.money import ATOMS_PER_UNIT
from analytics.cost.numbers import classify
from analytics.cost.rating import Rater
from analytics.sites import DialPlan, EstateSettings, Origin
from collector.estate.tariffs import read_tariffs

EXAMPLE = Path(__file__).parent / "data" / "cost_example_estate"
PLAN = DialPlan(None, "9", (4,), "56", "", ("999", "112"), Origin("dialplans.csv", 2))


@pytest.fixture(scope="module")
def example() -> dict[str, Rater]:
    book, problems = read_tariffs(EXAMPLE, EstateSettings("example"))
    assert [problem for problem in problems if problem.severity == "error"] == []
    return {name: Rater(book.named(name), "Europe/London") for name in ("ip", "legacy")}


def pence(rater: Rater, start: int, seconds: int, number_class: str, number: str) -> Fraction:
    """Price of one call; fails where it has none."""
    group = rater.groups([(number_class, number)])
    rated = rater.rate(np.array([start], np.int64), np.array([seconds], np.int32), group)
    assert rater.reasons[rated.why[0]] == ""
    return Fraction(int(rated.cost[0]) * 100, ATOMS_PER_UNIT)


@pytest.mark.parametrize(
    ("start", "seconds", "dialled", "legacy", "ip"),
    [
        (1759306500, 125, "902079460018", "17.0", "1.25"),
        (1759341570, 600, "907400123456", "135.0", "18.0"),
        (1759395600, 301, "intersite", "29.0", "0"),
        (1759496400, 480, "901134960123", "37.0", "4.8"),
        (1759777200, 61, "903001231234", "8.0", "0.61"),
        (1759831200, 180, "908451234567", "23.0", "9.0"),
        (1759932000, 90, "90012125550123", "25.0", "1.8"),
        (1759971600, 240, "999", "0", "0"),
        (1759275000, 60, "902079460018", "6.5", "0.6"),
        (1761438600, 30, "907400123456", "13.5", "0.9"),
        (1761442200, 30, "907400123456", "13.5", "0.9"),
        (1761955190, 20, "902079460018", "6.5", "0.2"),
        (1760212800, 120, "9116123", "0", "0"),
        (1760346000, 60, "onsite", "0", "0"),
        (1760432400, 0, "902079460018", "0", "0"),
    ],
)
def test_the_worked_example_costs_what_it_says(
    example: dict[str, Rater], start: int, seconds: int, dialled: str, legacy: str, ip: str
) -> None:
    read = classify(dialled, PLAN) if dialled[0].isdigit() else None
    where = (read.number_class, read.number) if read else (dialled, "")
    assert pence(example["legacy"], start, seconds, *where) == Fraction(Decimal(legacy))
    assert pence(example["ip"], start, seconds, *where) == Fraction(Decimal(ip))
