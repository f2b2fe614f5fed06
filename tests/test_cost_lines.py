"""Cost elements become lines by month and site, and every way of cutting them adds up to the penny."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.cost.allocation import place, place_parts
from analytics.cost.elements import Costs, Element, ElementKind, KeyValue, PaysFor, Side
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import NO_SITE, Line, element_lines
from analytics.cost.money import round_money
from analytics.cost.months import (
    days_held,
    last_day,
    months_after,
    months_between,
    spoken_span,
    twelve_months_to,
)
from analytics.sites import Origin, Site, Validity

D = Decimal
OCTOBER = 202510
amounts = st.integers(-(10**9), 10**9).map(lambda pence: Decimal(pence).scaleb(-2))
weights = st.lists(st.decimals(0, 10**6, places=2), min_size=1, max_size=40).filter(lambda some: sum(some) > 0)


def element(amount: str | None = "100.00", **changes: object) -> Element:
    made = Element(
        side=Side.IP,
        site="A",
        element="Support",
        kind=ElementKind.FIXED,
        pays_for=PaysFor.SYSTEM,
        amount=None if amount is None else D(amount),
        evidence=Evidence.MEASURED if amount is not None else Evidence.MISSING,
        origin=Origin("elements.csv", 2),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def key(name: str, **values: str) -> list[KeyValue]:
    return [
        KeyValue(name, site, D(value), Validity(), Origin("keys.csv", line))
        for line, (site, value) in enumerate(values.items(), start=2)
    ]


def lines_of(made: Element, keys: list[KeyValue] | None = None, month: int = OCTOBER) -> tuple[Book, list[Line]]:
    book = Book()
    return book, element_lines(book, Costs((made,), tuple(keys or ())), month)


def values(book: Book, lines: list[Line]) -> dict[str, Decimal | None]:
    return {line.site: book.value(line.key) for line in lines}


@given(amounts, weights)
def test_shares_add_up_to_their_amount_and_each_is_within_a_penny_of_exact(total: Decimal, some: list[Decimal]) -> None:
    shares = place(total, some)
    assert sum(shares) == total
    whole = sum(Fraction(one) for one in some)
    for share, weight in zip(shares, some, strict=True):
        assert abs(Fraction(share) - Fraction(total) * Fraction(weight) / whole) < Fraction(1, 100)


def test_the_largest_remainder_has_the_penny_and_the_first_of_equals() -> None:
    assert place(D("0.10"), [D(1), D(1), D(1)]) == [D("0.04"), D("0.03"), D("0.03")]
    assert place(D("1.00"), [D(1), D(5), D(1)]) == [D("0.14"), D("0.72"), D("0.14")]  # 14.28…, 71.42…, 14.28… pence
    assert place(D("-0.10"), [D(1), D(1), D(1)]) == [D("-0.04"), D("-0.03"), D("-0.03")]


@pytest.mark.parametrize("wrong", [[], [D(0)], [D(-1), D(2)]])
def test_no_amount_is_placed_by_weights_that_are_none(wrong: list[Decimal]) -> None:
    with pytest.raises(ValueError, match="weights"):
        place(D(1), wrong)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_classes_add_up_to_the_line_that_was_rounded_from_their_exact_sum(atoms: list[int]) -> None:
    parts = [Fraction(one, 6_000_000_000) for one in atoms]
    exact = sum(parts, Fraction(0))
    line = round_money(D(exact.numerator) / D(exact.denominator))
    placed = place_parts(line, parts)
    assert sum(placed) == line
    assert all(abs(Fraction(one) - part) < Fraction(1, 100) for one, part in zip(placed, parts, strict=True))


@given(st.integers(0, 10**8), st.lists(st.integers(0, 500), min_size=1, max_size=20).filter(any))
def test_an_allocated_element_adds_up_to_its_amount_over_its_sites(pence: int, some: list[int]) -> None:
    amount = D(pence).scaleb(-2)
    keys = key("handsets", **{f"S{index}": str(one) for index, one in enumerate(some)})
    book, lines = lines_of(element(str(amount), site=None, key="handsets"), keys)
    assert sum(value for value in values(book, lines).values() if value is not None) == amount
    assert all(book[line.key].evidence is Evidence.ALLOCATED for line in lines)


def test_the_voice_share_is_taken_before_the_amount_is_placed() -> None:
    made = element("1500.00", site=None, key="handsets", share=D("0.12"))
    book, lines = lines_of(made, key("handsets", A="80", B="20"))
    assert values(book, lines) == {"A": D("144.00"), "B": D("36.00")}


@given(st.integers(1, 10**9), st.integers(1, 120))
def test_spread_capital_adds_up_to_its_amount_over_its_months(pence: int, months: int) -> None:
    amount = D(pence).scaleb(-2)
    made = element(str(amount), amortise_months=months, valid=Validity(date(2025, 4, 1)))
    total = D(0)
    for index in range(-1, months + 1):
        book, lines = lines_of(made, month=months_after(202504, index))
        assert len(lines) == (0 <= index < months)
        total += sum((book.value(line.key) or D(0) for line in lines), D(0))
    assert total == amount


def test_a_part_of_a_month_counts_by_its_days_and_a_change_of_price_counts_once() -> None:
    first, second = Validity(None, date(2025, 10, 10)), Validity(date(2025, 10, 11), None)
    book, lines = lines_of(element("310.00", valid=first))
    assert values(book, lines) == {"A": D("100.00")}  # 10 of 31 days
    book, lines = lines_of(element("620.00", valid=second))
    assert values(book, lines) == {"A": D("420.00")}  # 21 of 31 days
    assert lines_of(element(valid=first), month=202511)[1] == []


def test_what_is_paid_once_counts_in_its_month_alone() -> None:
    made = element("9000.00", kind=ElementKind.ONE_OFF, valid=Validity(date(2025, 10, 17)))
    assert values(*lines_of(made)) == {"A": D("9000.00")}
    assert lines_of(made, month=202511)[1] == []
    assert lines_of(made, month=202509)[1] == []


def test_what_is_missing_is_not_0_and_has_no_highest_amount_unless_one_is_stated() -> None:
    book, (line,) = lines_of(element(None))
    assert book[line.key].value is None
    assert "Support is missing" in book[line.key].why
    assert (book.value(line.low), book.value(line.high)) == (D(0), None)
    book, (line,) = lines_of(element(None, low=D(10), high=D(90)))
    assert (book.value(line.key), book.value(line.low), book.value(line.high)) == (None, D(10), D(90))


def test_an_estimate_has_its_bounds_and_without_them_nothing_holds_it() -> None:
    book, (line,) = lines_of(element(evidence=Evidence.ESTIMATED, low=D(80), high=D(130)))
    assert (book.value(line.low), book.value(line.key), book.value(line.high)) == (D(80), D(100), D(130))
    book, (line,) = lines_of(element(evidence=Evidence.ESTIMATED))
    assert (book.value(line.low), book.value(line.high)) == (D(0), None)


def test_bounds_of_amount_and_share_multiply() -> None:
    made = element("1000.00", share=D("0.12"), share_low=D("0.10"), share_high=D("0.20"), high=D(1500))
    book, (line,) = lines_of(made)
    # 1,000 × 0.10, 1,000 × 0.12, 1,500 × 0.20
    assert (book.value(line.low), book.value(line.key), book.value(line.high)) == (D(100), D(120), D(300))


def test_a_credit_is_lowest_where_most_of_it_is_taken() -> None:
    book, (line,) = lines_of(element("-100.00", share=D("0.5"), share_low=D("0.2"), share_high=D("0.8")))
    assert (book.value(line.low), book.value(line.key), book.value(line.high)) == (D(-80), D(-50), D(-20))


def test_other_keys_move_money_between_sites_and_not_the_total() -> None:
    made = element("100.00", site=None, key="handsets", alternatives=("calls",))
    keys = key("handsets", A="80", B="20") + key("calls", A="50", B="50")
    book, lines = lines_of(made, keys)
    assert values(book, lines) == {"A": D(80), "B": D(20)}
    spread = {line.site: (book.value(line.range_low), book.value(line.range_high)) for line in lines}
    assert spread == {"A": (D(50), D(80)), "B": (D(20), D(50))}
    assert [(line.low, line.high) for line in lines] == [(line.key, line.key) for line in lines]
    for place_in in range(2):
        assert sum(book.value(line.by_key[place_in][0]) or D(0) for line in lines) == D(100)


def test_an_amount_whose_key_has_no_value_in_the_month_is_at_no_site() -> None:
    book, (line,) = lines_of(element("100.00", site=None, key="handsets"))
    assert (line.site, book.value(line.key)) == (NO_SITE, D(100))


def test_months_are_counted_as_people_count_them() -> None:
    assert twelve_months_to(202510)[0] == 202411
    assert len(twelve_months_to(202510)) == 12
    assert months_after(202512, 1) == 202601
    assert months_after(202601, -1) == 202512
    assert months_between(202411, 202510) == 11
    assert last_day(202402) == date(2024, 2, 29)
    assert days_held(Validity(date(2025, 10, 30)), OCTOBER) == 2
    assert spoken_span([202510]) == "October 2025"
    assert spoken_span([202511, 202510]) == "October 2025 to November 2025"
    assert spoken_span([202510, 202512]) == "2 months of October 2025 to December 2025"
    assert spoken_span([]) == "no month"


def there(name: str, first: date | None, last: date | None) -> Site:
    return Site(name, name, "office", None, "normal", Validity(first, last), Origin("sites.csv", 2))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "150.00"),  # 310.00 × 15 ÷ 31
        ({"valid": Validity(date(2025, 10, 11))}, "50.00"),  # from 11 to 15
        ({"valid": Validity(date(2025, 10, 16))}, None),
        ({"amortise_months": 10, "valid": Validity(date(2025, 1, 1))}, "15.00"),  # 31.00 a month
        ({"kind": ElementKind.ONE_OFF, "valid": Validity(date(2025, 10, 1))}, "310.00"),
        # A bill's call charges are scaled by minutes, which end with the site as well.
        ({"kind": ElementKind.USAGE, "side": Side.LEGACY}, "310.00"),
    ],
)
def test_an_element_counts_on_the_days_on_which_its_site_is_there(
    changes: dict[str, object], expected: str | None
) -> None:
    book, made = Book(), element("310.00", **changes)
    lines = element_lines(book, Costs((made,)), OCTOBER, [there("A", None, date(2025, 10, 15))])
    assert [book.value(line.key) for line in lines] == ([] if expected is None else [D(expected)])
    assert not element_lines(Book(), Costs((made,)), OCTOBER, [there("A", None, date(2025, 8, 31))])


def test_a_site_that_closes_and_opens_again_in_a_month_has_the_days_of_both() -> None:
    book = Book()
    sites = [there("A", None, date(2025, 10, 5)), there("A", date(2025, 10, 22), None)]
    (line,) = element_lines(book, Costs((element("310.00"),)), OCTOBER, sites)
    assert book.value(line.key) == D("150.00")  # 5 and 10 days
