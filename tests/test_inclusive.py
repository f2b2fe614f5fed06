"""Inclusive minutes are used up in order, whatever the order of the rows."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from fractions import Fraction

import numpy as np
import reference_rater as reference
from tariffs_made import as_facts

from analytics.cost.inclusive import Covered, Lines, inclusive_in, use_up
from analytics.cost.money import ATOMS_PER_UNIT
from analytics.cost.rating import Rater
from analytics.cost.tariff import Inclusive
from analytics.sites import Origin

CLASSES = ("geographic", "mobile", "international")
NUMBERS = (("geographic", "+442079460018"), ("mobile", "+447400123456"), ("international", "+12125550123"))
OCTOBER, NOVEMBER = 1759273200, 1761955200
EVERY = reference.Band("offpeak", (*reference.DAYS, "holiday"), "00:00", "24:00")
ZERO = Fraction(0)


def rater(*inclusive: Inclusive, splits: bool = False) -> Rater:
    bands = [reference.Band("peak", reference.DAYS[:5], "07:00", "19:00"), EVERY]

    def row(number_class: str, band: str, minute: str, **others: Fraction) -> reference.Row:
        plain = reference.Row("", number_class, band, ZERO, Fraction(minute), ZERO, ZERO, 0, 60, 60, None)
        return plain._replace(**others)  # type: ignore[arg-type]

    rows = [
        row("geographic", "peak", "4", connection=Fraction(5)),
        row("geographic", "offpeak", "1", connection=Fraction(5)),
        row("mobile", "", "13", service_minute=Fraction(2), cap=Fraction(60)),
        row("international", "", "10"),
    ]
    (facts,) = as_facts([reference.Version(date(2020, 1, 1), rows, bands, splits, True, False)])
    return Rater([replace(facts, inclusive=inclusive)], "Europe/London")


def rule(minutes: int, *classes: str, is_per_site: bool = True) -> Inclusive:
    return Inclusive(frozenset(classes), minutes, is_per_site, Origin("inclusive.csv", 2))


def lines(rated: Rater, rows: list[tuple[int, int, int, int, int]]) -> Lines:
    """Lines of (start, line_key, site, class, seconds)."""
    start, key, site, number_class, seconds = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    group = rated.groups(NUMBERS)[number_class]
    charged = rated.rate(start, seconds.astype(np.int32), group).rated_seconds
    month = np.where(start < NOVEMBER, 202510, 202511)
    small = np.int32
    return Lines(
        month.astype(small),
        site.astype(small),
        number_class.astype(small),
        start,
        key,
        seconds.astype(small),
        group,
        charged,
    )


def pounds(covered: Covered) -> list[Fraction]:
    return [Fraction(int(atoms), ATOMS_PER_UNIT) for atoms in covered.credit]


def test_the_first_calls_of_a_month_are_covered_and_one_in_part() -> None:
    peak = OCTOBER + 9 * 3600
    made = rater(rule(5, "geographic"))
    rows = [(peak + 600, 9, 0, 0, 100), (peak, 1, 0, 0, 170), (peak, 2, 1, 0, 60), (peak + 700, 3, 0, 0, 60)]
    covered = use_up(made, lines(made, rows), CLASSES)
    # Site 0: 3 minutes, then 2, then none are left. Connection fees stay.
    assert covered.seconds.tolist() == [120, 180, 60, 0]
    assert pounds(covered) == [8, 12, 4, 0]


def test_what_a_month_did_not_use_is_lost() -> None:
    made = rater(rule(2, "geographic"))
    rows = [(NOVEMBER - 1, 1, 0, 0, 60), (NOVEMBER, 1, 0, 0, 600), (OCTOBER, 7, -1, 0, 60), (OCTOBER, 8, 0, 2, 60)]
    covered = use_up(made, lines(made, rows), CLASSES)
    assert covered.seconds.tolist() == [60, 120, 0, 0]


def test_service_charges_stay_and_a_cap_bounds_what_is_left() -> None:
    made = rater(rule(4, "mobile"))
    # 10 minutes cost 150, capped at 60; with 4 covered they cost 98, still 60. 4 minutes: 60, of which 8 are service.
    far = OCTOBER + 40 * 86_400 - OCTOBER % 60
    covered = use_up(made, lines(made, [(OCTOBER, 1, 0, 1, 600), (far, 1, 0, 1, 240)]), CLASSES)
    assert covered.seconds.tolist() == [240, 240]
    assert pounds(covered) == [0, 52]


def test_covered_seconds_are_the_first_of_a_call_that_crosses_a_band() -> None:
    made = rater(rule(1, "geographic"), splits=True)
    late = OCTOBER + 19 * 3600 - 30  # 30 s before the peak ends
    covered = use_up(made, lines(made, [(late, 1, 0, 0, 120)]), CLASSES)
    assert pounds(covered) == [Fraction(4 * 30 + 1 * 30, 60)]


def test_many_lines_are_covered_as_one_by_one_in_any_order() -> None:
    rnd = random.Random(11)
    rules = (rule(90, "geographic", "international"), rule(300, "mobile", is_per_site=False))
    made = rater(*rules)
    rows = [
        (
            OCTOBER + 3600 * 6 * rnd.randrange(4 * 50),
            key,
            rnd.randrange(-1, 4),
            rnd.randrange(3),
            rnd.choice((0, 30, 200, 900)),
        )
        for key in range(2_000)
    ]
    left: dict[tuple[int, int, int], int] = {}
    expected = {}
    for start, key, site, number_class, seconds in sorted(rows):
        index = 1 if number_class == 1 else 0
        pool = (start >= NOVEMBER, index, site if rules[index].is_per_site else 0)
        if site < 0 and rules[index].is_per_site:
            expected[key] = 0
            continue
        rest = left.get(pool, rules[index].minutes * 60)
        charged = -(-seconds // 60) * 60
        expected[key] = min(rest, charged)
        left[pool] = rest - expected[key]
    for _ in range(3):
        rnd.shuffle(rows)
        given = lines(made, rows)
        covered = use_up(made, given, CLASSES)
        assert covered.seconds.tolist() == [expected[row[1]] for row in rows]
        cost = made.rate(given.start, given.seconds, given.group).cost
        assert (covered.credit >= 0).all()
        assert (covered.credit <= cost).all()
    assert 0 in left.values()


def test_a_months_minutes_are_those_of_its_first_day() -> None:
    made = rater(rule(1, "mobile"))
    (one,) = made.tariff
    later = replace(one, valid_from=date(2025, 10, 15), inclusive=(rule(2, "mobile"),))
    both = Rater([one, later], "Europe/London")
    assert [inclusive_in(both, month)[0].minutes for month in (202509, 202510, 202511)] == [1, 1, 2]
    alone = Rater([later], "Europe/London")
    assert [len(inclusive_in(alone, month)) for month in (202509, 202510, 202511)] == [0, 1, 1]


def test_no_lines_have_no_credit() -> None:
    made = rater(rule(1, "mobile"))
    none = np.empty(0, np.int64)
    small = none.astype(np.int32)
    covered = use_up(made, Lines(small, small, small, none, none, small, small, small), CLASSES)
    assert len(covered.credit) == 0
