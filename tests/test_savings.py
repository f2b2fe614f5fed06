"""Savings of small estates by hand: what is compared, what is left out, the range, a year, what an estimate moves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.cost.costs_document import costs_document
from analytics.cost.document import Ref
from analytics.cost.elements import Baseline, Costs, Element, ElementKind, Invoice, KeyValue, PaysFor, Side
from analytics.cost.figures import Evidence, evaluate
from analytics.cost.money import Rounding, to_atoms
from analytics.cost.months import months_after
from analytics.cost.savings import TOTAL, WHOLE, Savings, make_savings, month_prefix
from analytics.cost.savings_document import savings_document
from analytics.cost.statement import CostFacts, Standing
from analytics.cost.tariff import Crossing, RateRow, TariffBook, TariffVersion, Terms
from analytics.cost.verdict import Outcome
from analytics.sites import Benefit, EstateSettings, IntersiteCalls, Origin, Site, Validity
from analytics.store.cost_queries import UnratedSum, Usage, UsageSum

D = Decimal
OCTOBER = 202510
ALWAYS = Validity()


def site(name: str, valid: Validity = ALWAYS) -> Site:
    return Site(name, name, "office", None, "normal", valid, Origin("sites.csv", 2))


def calls(
    where: str | None,
    *,
    month: int = OCTOBER,
    ip: str = "10.00",
    legacy: str = "100.00",
    minutes: int = 1000,
    number_class: str = "geographic",
    unrated: int = 0,
) -> UsageSum:
    """Rated outgoing calls of a site."""
    return UsageSum(
        month=month,
        site=where,
        kind="on_net" if number_class == "intersite" else "outbound",
        number_class=number_class,
        lines=100,
        answered=100,
        seconds=minutes * 60,
        ip_atoms=to_atoms(D(ip)),
        ip_seconds=minutes * 60,
        legacy_atoms=to_atoms(D(legacy)),
        legacy_seconds=minutes * 60,
        legacy_chargeable_seconds=minutes * 60,
        ip_unrated_lines=unrated,
        ip_unrated_seconds=unrated * 60,
        legacy_unrated_lines=unrated,
        legacy_unrated_seconds=unrated * 60,
    )


class Rows:
    """Elements with a line of their own each."""

    def __init__(self) -> None:
        self.elements: list[Element] = []

    def add(self, side: Side, where: str | None, amount: str | None, **changes: object) -> None:
        made = Element(
            side=side,
            site=where,
            element=f"element {len(self.elements)}",
            kind=ElementKind.FIXED,
            pays_for=PaysFor.SYSTEM,
            amount=None if amount is None else D(amount),
            evidence=Evidence.MEASURED if amount is not None else Evidence.MISSING,
            origin=Origin("elements.csv", len(self.elements) + 2),
        )
        self.elements.append(replace(made, **changes))  # type: ignore[arg-type]

    def plain_site(self, where: str, legacy: str = "900.00", ip: str = "490.00", usage: str = "100.00") -> None:
        """A site with what every site has: the legacy bill 1,000, today 500, unless told otherwise."""
        self.add(Side.LEGACY, where, legacy)
        self.add(Side.LEGACY, where, usage, kind=ElementKind.USAGE, pays_for=None)
        self.add(Side.IP, where, ip)


def baseline(where: str, index: str | None = "1", minutes: str | None = "1000", **changes: object) -> Baseline:
    made = Baseline(
        where,
        None if minutes is None else D(minutes),
        None if index is None else D(index),
        "a series",
        Origin("baseline.csv", 2),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def facts_of(
    rows: Rows,
    sites: Sequence[Site],
    usage: Sequence[UsageSum],
    baselines: Sequence[Baseline] | None = None,
    **changes: object,
) -> CostFacts:
    held = [baseline(one.site) for one in sites] if baselines is None else baselines
    months = sorted({one.month for one in usage})
    minutes = {
        month: sum(one.seconds for one in usage if one.month == month and one.kind == "outbound") for month in months
    }
    invoices = tuple(
        Invoice(month, Side.IP, None, D(minutes[month]) / 60, None, "", Origin("invoices.csv", 2)) for month in months
    )
    return CostFacts(
        EstateSettings("small", **changes),  # type: ignore[arg-type]
        tuple(sites),
        Costs(tuple(rows.elements), (), tuple(held), invoices),
        Usage(tuple(usage)),
    )


def value(savings: Savings, key: str) -> Decimal:
    found = savings.book.value(key)
    assert found is not None, (key, savings.book[key].why)
    return found


def standings(savings: Savings) -> dict[str, Standing]:
    return {one.site: one.standing for month in savings.months for one in month.sites}


def test_both_methods_of_a_plain_site() -> None:
    rows = Rows()
    rows.plain_site("A")
    savings = make_savings(
        facts_of(rows, [site("A")], [calls("A", minutes=500, legacy="80.00")], [baseline("A", "1.10")]), [OCTOBER]
    )
    assert value(savings, f"{TOTAL}.ip") == D(500)
    assert value(savings, f"{TOTAL}.billed") == D(1000)
    assert value(savings, f"{TOTAL}.m1") == D(1045)  # (900 + 100 × 500 ÷ 1,000) × 1.10
    assert value(savings, f"{TOTAL}.m2") == D(1078)  # (900 + 80) × 1.10
    assert value(savings, f"{TOTAL}.gap") == D(33)
    assert savings.verdict.outcome is Outcome.ESTABLISHED


def test_a_site_with_something_missing_counts_in_the_range_alone() -> None:
    rows = Rows()
    rows.plain_site("A")
    rows.plain_site("B")
    rows.add(Side.IP, "B", None, low=D(10), high=D(60))
    savings = make_savings(facts_of(rows, [site("A"), site("B")], [calls("A"), calls("B")]), [OCTOBER])
    assert standings(savings) == {"A": Standing.COMPARED, "B": Standing.INCOMPLETE}
    assert value(savings, f"{TOTAL}.s2") == D(500)
    assert value(savings, "coverage") == D(50)
    # The range beside the point is of the same site; that over both stands apart.
    assert (value(savings, f"{TOTAL}.s2.low"), value(savings, f"{TOTAL}.s2.high")) == (D(500), D(500))
    assert (value(savings, f"{WHOLE}.s2.low"), value(savings, f"{WHOLE}.s2.high")) == (D(940), D(990))


def test_what_is_missing_today_without_a_highest_amount_leaves_a_highest_saving_alone() -> None:
    rows = Rows()
    rows.plain_site("A")
    rows.add(Side.IP, "A", None, element="Staff")
    document = savings_document(facts_of(rows, [site("A")], [calls("A")]), [OCTOBER])
    assert document.sentence.startswith("Not established: no site can be compared in October 2025 (at most 50.00 %).")
    assert "There is no lower bound: Staff (elements.csv:5) is missing and no highest amount is stated." in (
        document.sentence
    )


def test_what_is_missing_of_the_legacy_bill_can_only_raise_the_saving() -> None:
    rows = Rows()
    rows.plain_site("A")
    rows.add(Side.LEGACY, "A", None)
    savings = make_savings(facts_of(rows, [site("A")], [calls("A")]), [OCTOBER])
    assert savings.book.value(f"{TOTAL}.s2") is None
    assert value(savings, f"{WHOLE}.s2.low") == D(500)
    assert savings.book.value(f"{WHOLE}.s2.high") is None


def test_a_bill_of_nothing_for_calls_is_not_scaled() -> None:
    rows = Rows()
    rows.plain_site("A", usage="0.00")
    savings = make_savings(facts_of(rows, [site("A")], [calls("A")], [baseline("A", minutes="0")]), [OCTOBER])
    assert (value(savings, f"{TOTAL}.m1"), value(savings, f"{TOTAL}.m2")) == (D(900), D(1000))
    rows = Rows()
    rows.plain_site("A")
    savings = make_savings(facts_of(rows, [site("A")], [calls("A")], [baseline("A", minutes="0")]), [OCTOBER])
    assert standings(savings) == {"A": Standing.INCOMPLETE}
    assert value(savings, f"{WHOLE}.m1.low") == D(900)
    said = "the baseline bill of A has call charges and 0 minutes: they cannot be scaled"
    assert savings.sites(Standing.INCOMPLETE)[0].why == said


def test_an_answer_names_some_reasons_and_counts_the_rest() -> None:
    rows = Rows()
    for name in ("one", "two", "three", "four", "five", "six"):
        rows.plain_site(name)
        rows.add(Side.IP, name, None)
    sites = [site(name) for name in ("one", "two", "three", "four", "five", "six")]
    document = savings_document(facts_of(rows, sites, [calls("one")]), [OCTOBER])
    assert document.sentence.endswith("And 4 more.")
    (checks,) = [section for section in document.sections if section.name == "checks"]
    assert checks.rows[1].note.count("There is no lower bound") == 6


@pytest.mark.parametrize("gap", ["index", "minutes", "baseline"])
def test_a_site_without_its_baseline_saves_at_least_what_its_fixed_lines_say(gap: str) -> None:
    rows = Rows()
    rows.plain_site("A")
    held = {"index": [baseline("A", None)], "minutes": [baseline("A", minutes=None)], "baseline": []}[gap]
    savings = make_savings(facts_of(rows, [site("A")], [calls("A")], held), [OCTOBER])
    assert standings(savings) == {"A": Standing.INCOMPLETE}
    low = {"index": D(-500), "minutes": D(400), "baseline": D(-500)}[gap]
    assert value(savings, f"{WHOLE}.s1.low") == low
    assert savings.book.value(f"{WHOLE}.s1.high") is None
    assert savings.verdict.outcome is Outcome.NOT_ESTABLISHED


def test_sites_opened_since_or_closed_are_left_out_on_both_sides() -> None:
    rows = Rows()
    for name in "ABC":
        rows.plain_site(name)
    rows.elements = [one for one in rows.elements if not (one.site == "B" and one.side is Side.LEGACY)]
    sites = [site("A"), site("B", Validity(date(2025, 1, 1))), site("C", Validity(None, date(2025, 8, 31)))]
    savings = make_savings(facts_of(rows, sites, [calls("A"), calls("B")], [baseline("A"), baseline("C")]), [OCTOBER])
    assert standings(savings) == {"A": Standing.COMPARED, "B": Standing.OPENED, "C": Standing.NOT_OPEN}
    assert value(savings, f"{TOTAL}.ip") == D(500)
    assert value(savings, f"{TOTAL}.s2.low") == value(savings, f"{TOTAL}.s2") == D(500)
    document = savings_document(savings.facts, [OCTOBER])
    (left,) = [section for section in document.sections if section.name == "left_out"]
    assert [row.cells[0] for row in left.rows] == ["B", "C"]


def test_a_site_that_nothing_is_stated_of_is_not_covered_and_one_side_alone_is_incomplete() -> None:
    rows = Rows()
    rows.plain_site("A")
    rows.add(Side.IP, "C", "40.00")
    facts = facts_of(rows, [site("A"), site("B"), site("C")], [calls("A"), calls("B", ip="3.00")], [baseline("A")])
    savings = make_savings(facts, [OCTOBER])
    assert standings(savings) == {"A": Standing.COMPARED, "B": Standing.UNSTATED, "C": Standing.INCOMPLETE}
    assert round(value(savings, "coverage"), 1) == D("33.3")
    assert value(savings, f"{TOTAL}.s2") == D(500)
    assert value(savings, f"{WHOLE}.s2.low") == D(460)
    # The claim is of all sites, and no range holds B.
    assert savings.verdict.outcome is Outcome.NOT_ESTABLISHED
    sentence = savings_document(facts, [OCTOBER]).sentence
    assert "at the 1 of 3 sites that can be compared" in sentence
    assert "over all sites: range not known" in sentence
    assert "There is no lower bound: nothing is stated of what B cost and costs." in sentence


def test_calls_at_no_site_cost_today_and_save_nothing() -> None:
    rows = Rows()
    rows.plain_site("A")
    savings = make_savings(facts_of(rows, [site("A")], [calls("A"), calls(None, ip="7.00", legacy="70.00")]), [OCTOBER])
    assert value(savings, f"{TOTAL}.ip") == D(507)
    assert value(savings, f"{TOTAL}.s2") == value(savings, f"{TOTAL}.s2.low") == D(493)
    assert value(savings, f"{TOTAL}.s2.high") == D(563)


def version(name: str, day: date, row: dict[str, int], **terms: object) -> TariffVersion:
    """A version with one row for all numbers; prices in pence, and per second."""
    pence = to_atoms(D("0.01"))
    at = Origin(f"tariffs/{name}/{day}/rates.csv", 2)
    made = RateRow(
        "", "geographic", "", row["fee"] * pence, row["second"] * pence, 0, 0, 0, row["step"], row["step"], None, at
    )
    said = Terms("GBP", D(1), Crossing.START, Crossing.START, Rounding.HALF_UP, False, False, at)
    return TariffVersion(name, day, (made,), (), replace(said, **terms))  # type: ignore[arg-type]


def tariffs(**terms: object) -> TariffBook:
    """Today 10 p a call and 1 p a second; before 100 p a call and 2 p a second, in whole minutes."""
    day = date(2025, 1, 1)
    return TariffBook(
        (
            version("ip", day, {"fee": 10, "second": 1, "step": 1}, **terms),
            version("legacy", day, {"fee": 100, "second": 2, "step": 60}, **terms),
        )
    )


def with_tariffs(facts: CostFacts, book: TariffBook) -> CostFacts:
    return replace(facts, costs=replace(facts.costs, tariffs=book))


def test_calls_without_a_price_are_between_nothing_and_the_highest_price_of_their_tariff() -> None:
    rows = Rows()
    rows.plain_site("A")
    facts = with_tariffs(facts_of(rows, [site("A")], [calls("A", unrated=3)]), tariffs())
    savings = make_savings(facts, [OCTOBER])
    # 3 lines of 60 s today: 3 × 0.10 + (180 + 3 × 1) × 0.01; before: 3 × 1.00 + (180 + 3 × 60) × 0.02.
    assert value(savings, f"{TOTAL}.s2.low") == D(500) - D("2.13")
    assert value(savings, f"{TOTAL}.s2.high") == D(500) + D("10.20")
    # Method 1: 100.00 × 3 minutes ÷ 1,000.
    assert value(savings, f"{TOTAL}.s1.high") == D("500.30")
    assert {one.label for one in savings.estimates} == {
        "Calls without a price today",
        "Calls without a price under the legacy tariff",
    }
    assert savings.book[f"{OCTOBER}.A.ip_calls"].evidence is Evidence.MISSING
    assert savings.book[f"{TOTAL}.ip"].evidence is Evidence.MISSING
    assert savings_document(facts, [OCTOBER]).sentence.endswith(
        "Assumed: no call without a price costs more than the highest price of its tariff."
    )


def test_a_claim_that_calls_without_a_price_could_break_is_not_established() -> None:
    rows = Rows()
    rows.plain_site("A")
    facts = facts_of(rows, [site("A")], [calls("A", unrated=3)], claim_percent=D("49.8"))
    # At 502.13 today the saving is 49.79 %.
    assert make_savings(with_tariffs(facts, tariffs()), [OCTOBER]).verdict.outcome is Outcome.NOT_ESTABLISHED
    # Without a price that is known nothing bounds them, whatever the claim.
    facts = facts_of(rows, [site("A")], [calls("A", unrated=3)])
    verdict = make_savings(facts, [OCTOBER]).verdict
    assert verdict.outcome is Outcome.NOT_ESTABLISHED
    assert verdict.reasons == (
        "There is no lower bound: lines without a price at A, and no price of the tariff ip is known for October 2025.",
    )


def test_a_site_whose_calls_have_no_price_has_no_cost_of_0() -> None:
    rows = Rows()
    rows.plain_site("A")
    usage = [
        replace(calls("A", number_class="mobile", ip="0", unrated=100, minutes=100), legacy_unrated_lines=0),
        calls("A"),
    ]
    document = costs_document(facts_of(rows, [site("A")], usage), OCTOBER)
    (table,) = [section for section in document.sections if section.name == "calls"]
    (row,) = [row for row in table.rows if row.cells[1] == "mobile"]
    assert isinstance(row.cells[4], Ref)
    mobile = document.book[row.cells[4].key]
    assert (mobile.value, mobile.why) == (None, "lines without a price")
    assert row.note == "lines without a price, ip"
    assert document.book.value("all.ip_calls") == D(10)
    assert dict(document.facts)["Calls"] == "£10.00 by the tariff of today, but for 100 lines without a price"
    assert document.sentence.endswith("Not in it: 100 lines without a price.")
    # And where nothing else costs, nothing is known.
    facts = facts_of(rows, [site("A")], usage[:1])
    assert costs_document(facts, OCTOBER).book.value("all.ip_calls") is None
    savings = make_savings(with_tariffs(facts, tariffs()), [OCTOBER])
    assert standings(savings) == {"A": Standing.INCOMPLETE}
    # 100 lines of 60 s: 100 × 0.10 + 6,100 × 0.01 = 71.00 at most.
    assert (value(savings, f"{WHOLE}.ip.low"), value(savings, f"{WHOLE}.ip.high")) == (D(490), D(561))


def test_calls_that_all_lack_a_legacy_price_are_in_the_range_alone() -> None:
    rows = Rows()
    rows.plain_site("A")
    call = replace(calls("A", legacy="0", unrated=100, minutes=100), ip_unrated_lines=0, legacy_chargeable_seconds=0)
    savings = make_savings(with_tariffs(facts_of(rows, [site("A")], [call]), tariffs()), [OCTOBER])
    assert standings(savings) == {"A": Standing.INCOMPLETE}
    assert (value(savings, f"{WHOLE}.m1.low"), value(savings, f"{WHOLE}.m2.low")) == (D(900), D(900))
    # 100 minutes of the bill's 1,000; 100 × 1.00 + (6,000 + 100 × 60) × 0.02 = 340.00.
    assert (value(savings, f"{WHOLE}.m1.high"), value(savings, f"{WHOLE}.m2.high")) == (D(910), D(1240))


def test_what_is_said_of_a_part_of_the_estate_says_so() -> None:
    rows = Rows()
    rows.plain_site("A")
    rows.plain_site("B")
    rows.add(Side.IP, "B", None, low=D(10), high=D(60))
    facts = facts_of(
        rows, [site("A"), site("B")], [calls("A"), calls("B")], benefits=(Benefit("constable-year", D(1000)),)
    )
    document = savings_document(facts, [OCTOBER])
    assert document.sentence == (
        "Established: 50.00 % saved in October 2025 at the 1 of 2 sites that can be compared "
        "(range 50.00 to 50.00 %), £500.00; over all sites: range 47.00 to 49.50 %. Claim: more than 30 %."
    )
    told = dict(document.facts)
    assert told["A year"] == "£6,000.00 (estimated from 1, of the compared sites)"
    assert told["Buys a year"] == "6.0 constable-years, by the compared sites"
    by_name = {section.name: section.sentence for section in document.sections}
    assert by_name["sites"] == "1 site, by money saved. None costs more than before. Not known: B."
    assert by_name["checks"].endswith("range 47.00 to 49.50 %, over all sites.")
    assert "of the 1 of 2 sites that can be compared" in by_name["year"]
    # A claim between the compared site and the range of all is not proven.
    above = replace(facts, settings=replace(facts.settings, claim_percent=D(48)))
    assert make_savings(above, [OCTOBER]).verdict.outcome is Outcome.NOT_ESTABLISHED


def test_prices_with_vat_are_not_added_to_amounts_without_it() -> None:
    rows = Rows()
    rows.plain_site("A")
    facts = with_tariffs(facts_of(rows, [site("A")], [calls("A")]), tariffs(is_vat_included=True))
    document = savings_document(facts, [OCTOBER])
    mix = "amounts mix: tariffs ip and legacy include VAT, the cost elements do not"
    assert document.sentence.startswith(f"Not established: nothing is compared in October 2025, {mix}.")
    assert dict(document.facts)["VAT"] == mix
    assert [document.book.value(f"{TOTAL}.{name}") for name in ("ip", "m2", "s1", "s2")] == [None] * 4
    today = costs_document(facts, OCTOBER)
    assert "without" not in dict(today.facts)["VAT"]
    assert today.sentence.endswith(f"is not added up: {mix}.")
    assert today.book.value("all.ip_calls") == D(10)


def test_call_charges_are_rounded_by_the_version_at_the_end_of_the_month() -> None:
    rows = Rows()
    rows.plain_site("A")
    usage = [calls("A", ip="10.005"), calls("A", number_class="mobile", ip="1.00")]
    even = version("ip", date(2025, 10, 15), {"fee": 0, "second": 1, "step": 1}, rounding=Rounding.HALF_EVEN)
    book = TariffBook((*tariffs().versions, even))
    facts = with_tariffs(facts_of(rows, [site("A")], usage), book)
    document = costs_document(facts, OCTOBER)
    line = document.book[f"{OCTOBER}.A.ip_calls"]
    assert line.value == D("11.00")  # 11.005 to the even penny
    assert line.label.endswith("rounded half_even by ip@2025-10-15")
    assert dict(document.facts)["Rounding"] == (
        "call charges half even by ip@2025-10-15, half up by legacy@2025-01-01; all else half up"
    )
    parts = [document.book.value(f"{line.key}.{name}") for name in ("geographic", "mobile")]
    assert sum(filter(None, parts), D(0)) == D("11.00")
    usage = [replace(one, month=202509) for one in usage]
    earlier = with_tariffs(facts_of(rows, [site("A")], usage), book)
    assert costs_document(earlier, 202509).book.value("202509.A.ip_calls") == D("11.01")


def test_method_2_is_rounded_once() -> None:
    rows = Rows()
    rows.plain_site("A")
    usage = [calls("A", legacy="100.004")]
    savings = make_savings(facts_of(rows, [site("A")], usage, [baseline("A", "1.5")]), [OCTOBER])
    assert value(savings, f"{TOTAL}.m2") == D("1500.01")  # (900 + 100.004) × 1.5 = 1,500.006
    assert value(savings, f"{OCTOBER}.A.rerated") == D("100.00")


def test_elements_count_for_the_days_on_which_their_site_is_open() -> None:
    rows = Rows()
    rows.plain_site("B", legacy="310.00", ip="62.00")
    rows.add(Side.IP, "B", "6200.00", amortise_months=20, valid=Validity(date(2025, 1, 1)))
    rows.add(Side.IP, "B", "31.00", valid=Validity(date(2025, 10, 11)))
    facts = facts_of(rows, [site("B", Validity(None, date(2025, 10, 15)))], [calls("B")])
    savings = make_savings(facts, [OCTOBER])
    # 15 of 31 days; capital 310.00 a month; the last one from 11 to 15 October. The bill's call charges stay.
    assert value(savings, f"{TOTAL}.billed") == D(150) + D(100)
    assert value(savings, f"{TOTAL}.ip") == D(30) + D(150) + D(5) + D(10)
    told = dict(savings_document(facts, [OCTOBER]).facts)["Open for a part"]
    assert told == "B (15 of 31 days of October 2025): cost elements count for these days"
    assert dict(costs_document(facts, OCTOBER).facts)["Open for a part"] == told


def test_every_figure_is_what_its_formula_gives_whatever_is_in_doubt() -> None:
    rows = Rows()
    for name in "ABC":
        rows.plain_site(name)
    rows.add(Side.LEGACY, "A", "50.00", pays_for=PaysFor.NETWORK)
    rows.add(Side.IP, "B", None, low=D(10), high=D(60))
    usage = [
        calls("A", ip="10.005", legacy="99.995", unrated=7),
        calls("A", number_class="intersite", legacy="30.00", ip="0.00", minutes=200),
        calls("B", number_class="mobile", unrated=2),
        calls("C", ip="0", legacy="0", unrated=100, minutes=100),
        calls(None, ip="7.00", legacy="70.00", unrated=1),
    ]
    facts = facts_of(rows, [site("A"), site("B"), site("C", Validity(None, date(2025, 10, 9)))], usage)
    document = savings_document(with_tariffs(facts, tariffs(rounding=Rounding.HALF_EVEN)), [OCTOBER])
    book = document.book
    assert "at the 1 of 3 sites" in document.sentence
    for figure in book:
        assert figure.formula or figure.source or figure.why, figure.key
        if figure.formula and figure.value is not None:
            assert evaluate(figure.formula, {key: book.value(key) or D(0) for key in figure.inputs}) == figure.value
    for prefix in (TOTAL, WHOLE):
        for name in ("ip", "m1", "m2", "s1", "s2"):
            low, high = book.value(f"{prefix}.{name}.low"), book.value(f"{prefix}.{name}.high")
            assert low is not None
            assert high is not None
            assert low <= high
            if prefix == TOTAL:
                assert low <= (book.value(f"{TOTAL}.{name}") or D(0)) <= high


def test_a_key_whose_weights_are_all_0_is_the_reason_that_is_given() -> None:
    rows = Rows()
    rows.plain_site("A")
    rows.add(Side.IP, None, "50.00", element="Support", key="handsets")
    facts = facts_of(rows, [site("A")], [calls("A")])
    zero = KeyValue("handsets", "A", D(0), ALWAYS, Origin("keys.csv", 2))
    verdict = make_savings(replace(facts, costs=replace(facts.costs, keys=(zero,))), [OCTOBER]).verdict
    assert (
        "There is no lower bound: Support (elements.csv:5) cannot be placed: "
        "all weights of the key handsets are 0 on 2025-10-31." in verdict.reasons
    )


@pytest.mark.parametrize(
    ("legacy", "said"),
    [
        ("143.00", "£43.00, 2.06 points, method 1 the lower"),
        ("57.00", "£43.00, 2.25 points, method 2 the lower"),
        ("100.00", "£0.00, 0.00 points"),
    ],
)
def test_the_methods_differ_by_an_amount_and_which_is_lower(legacy: str, said: str) -> None:
    rows = Rows()
    rows.plain_site("A")
    # Method 1: 1,000 and 50.00 %. Method 2: 543 of 1,043, 52.06 %; 457 of 957, 47.75 %.
    document = savings_document(facts_of(rows, [site("A")], [calls("A", legacy=legacy)]), [OCTOBER])
    assert dict(document.facts)["Methods differ by"] == said


def test_calls_between_sites_are_billed_or_carried_as_the_estate_says() -> None:
    rows = Rows()
    rows.plain_site("A")
    rows.add(Side.LEGACY, "A", "50.00", pays_for=PaysFor.NETWORK, element="Private circuit")
    rows.add(Side.IP, "A", "20.00", pays_for=PaysFor.NETWORK)
    usage = [calls("A"), calls("A", number_class="intersite", legacy="30.00", ip="0.00", minutes=200)]
    charged = make_savings(facts_of(rows, [site("A")], usage), [OCTOBER])
    assert value(charged, f"{TOTAL}.m1") == D(1070)  # 900 + 50 + 100 × 1,200 ÷ 1,000
    assert value(charged, f"{TOTAL}.m2") == D(1080)
    assert [one.origin for one in charged.estimates] == ["estate.toml"]
    carried_facts = facts_of(rows, [site("A")], usage, intersite_calls=IntersiteCalls.CARRIED)
    carried = make_savings(carried_facts, [OCTOBER])
    assert value(carried, f"{TOTAL}.m1") == value(carried, f"{TOTAL}.m2") == D(1050)
    # What the row of the tornado says is what the other setting gives.
    low = charged.estimates[0]
    assert value(charged, low.key(2, "low")) == value(carried, f"{TOTAL}.p2")
    assert value(charged, low.key(1, "low")) == value(carried, f"{TOTAL}.p1")
    told = dict(savings_document(charged.facts, [OCTOBER]).facts)["Calls between sites"]
    assert told.endswith(
        "Private circuit was paid for as well: if it carried them, they count twice, and the range holds both"
    )
    # What the estate does not say is in the range; what it says is a choice.
    for method in (1, 2):
        assert value(charged, f"{TOTAL}.m{method}.low") == D(1050)
        assert value(charged, f"{TOTAL}.m{method}.high") == value(charged, f"{TOTAL}.m{method}")
    doubted = facts_of(rows, [site("A")], usage, claim_percent=D(51))  # carried it is 530 of 1,050, 50.48 %
    assert make_savings(doubted, [OCTOBER]).verdict.outcome is Outcome.NOT_ESTABLISHED
    stated = replace(doubted, settings=replace(doubted.settings, intersite_stated=True))
    chosen = make_savings(stated, [OCTOBER])
    assert chosen.verdict.outcome is Outcome.ESTABLISHED
    assert value(chosen, f"{TOTAL}.m2.low") == D(1080)
    assert "a choice, in no range" in dict(savings_document(stated, [OCTOBER]).facts)["Calls between sites"]


def test_an_estimate_alone_gives_what_the_whole_gives_with_it_at_its_end() -> None:
    def made(staff: str, index: str) -> Savings:
        rows = Rows()
        rows.plain_site("A")
        rows.add(Side.IP, "A", staff, evidence=Evidence.ESTIMATED, low=D(20), high=D(140))
        held = [baseline("A", index, index_low=D("1.01"), index_high=D("1.09"))]
        return make_savings(facts_of(rows, [site("A")], [calls("A")], held), [OCTOBER])

    savings = made("80.00", "1.05")
    by_label = {one.label: one for one in savings.estimates}
    staff, index = by_label["element 3, ip, A"], by_label["Index factor, a series"]
    assert value(savings, staff.key(2, "low")) == value(made("20.00", "1.05"), f"{TOTAL}.p2")
    assert value(savings, staff.key(1, "high")) == value(made("140.00", "1.05"), f"{TOTAL}.p1")
    assert value(savings, index.key(2, "low")) == value(made("80.00", "1.01"), f"{TOTAL}.p2")
    assert value(savings, index.key(1, "high")) == value(made("80.00", "1.09"), f"{TOTAL}.p1")
    assert [value(savings, one.spread) for one in savings.estimates] == sorted(
        (value(savings, one.spread) for one in savings.estimates), reverse=True
    )


YEAR = [months_after(OCTOBER, back) for back in range(-11, 1)]


def year_of(months: Sequence[int], benefits: tuple[Benefit, ...] = ()) -> Savings:
    rows = Rows()
    rows.plain_site("A")
    rows.add(Side.IP, "A", "1200.00", kind=ElementKind.ONE_OFF, pays_for=None, valid=Validity(date(2025, 3, 9)))
    usage = [calls("A", month=month) for month in months]
    return make_savings(facts_of(rows, [site("A")], usage, benefits=benefits), YEAR)


def test_a_year_is_the_sum_of_its_twelve_months() -> None:
    savings = year_of(YEAR, (Benefit("constable-year", D(1000)),))
    assert value(savings, "annual.s2") == D(12 * 500 - 1200) == value(savings, f"{TOTAL}.s2")
    assert savings.book["annual.s2"].evidence is not Evidence.ESTIMATED
    assert value(savings, "benefit.0") == D("4.8")
    assert value(savings, f"{month_prefix(202503)}.s2") == D(-700)


def test_a_year_from_fewer_months_is_an_estimate_and_pays_once_what_is_paid_once() -> None:
    savings = year_of([202502, 202503, 202504])
    assert value(savings, f"{TOTAL}.s2") == D(3 * 500 - 1200)
    assert value(savings, "annual.s2") == D(12 * 500 - 1200)
    assert savings.book["annual.s2"].evidence is Evidence.ESTIMATED
    assert len(savings.without_usage) == 9
    assert "estimated from 3" in dict(savings_document(savings.facts, [202502, 202503, 202504]).facts)["A year"]


def test_months_that_the_old_lines_cannot_be_bought_in_are_notional() -> None:
    rows = Rows()
    rows.plain_site("A")
    for month, notional in ((202701, False), (202702, True)):
        document = savings_document(facts_of(rows, [site("A")], [calls("A", month=month)]), [month])
        assert ("Notional" in document.sentence) is notional


def test_a_claim_above_the_range_is_refuted() -> None:
    rows = Rows()
    rows.plain_site("A", ip="690.00")
    savings = make_savings(facts_of(rows, [site("A")], [calls("A")]), [OCTOBER])
    assert value(savings, f"{TOTAL}.p2") == D(30)  # not more than 30 %
    assert savings.verdict.outcome is Outcome.REFUTED


def test_nothing_at_all_is_not_established_and_not_an_error() -> None:
    document = savings_document(facts_of(Rows(), [site("A")], []), [OCTOBER])
    assert document.sentence.startswith("Not established: the store holds no usage of these months.")


def test_reasons_for_no_price_are_listed_with_their_lines() -> None:
    rows = Rows()
    rows.plain_site("A")
    facts = facts_of(rows, [site("A")], [calls("A", unrated=2)])
    unrated = (UnratedSum(OCTOBER, "A", "ip", "no_row", "premium_09", 2, 120),)
    document = savings_document(replace(facts, usage=replace(facts.usage, unrated=unrated)), [OCTOBER])
    (section,) = [one for one in document.sections if one.name == "unrated"]
    assert section.rows[0].cells[:4] == ("October 2025", "A", "no price, ip", "premium_09 no_row")


def test_no_name_of_a_site_or_an_element_is_taken_for_another_figure() -> None:
    rows = Rows()
    names = ("all", "key", "ip", "legacy", "minutes", "index", "A", "A.ip", "{A}", "site", "total")
    for name in names:
        rows.plain_site(name)
    rows.add(Side.IP, "A", "1.00", element="Call charges")
    rows.add(Side.LEGACY, "A", "1.00", element="Call charges, re-rated")
    rows.add(Side.IP, "A", "1.00", element="{ip}.calls")
    facts = facts_of(rows, [site(name) for name in names], [calls("A"), calls("ip")])
    document = savings_document(facts, [OCTOBER])
    assert costs_document(facts, OCTOBER).book.value("all.ip") == document.book.value(f"{TOTAL}.ip")


@settings(max_examples=25, deadline=None)
@given(
    charges=st.lists(
        st.tuples(
            st.sampled_from(("A", "B", "C", None)),
            st.sampled_from(("geographic", "mobile", "intersite", "premium_09")),
            st.integers(0, 10**13),
            st.integers(0, 10**13),
        ),
        max_size=20,
        unique_by=lambda one: one[:2],
    )
)
def test_lines_add_up_to_totals_and_classes_to_lines_for_any_calls(
    charges: list[tuple[str | None, str, int, int]],
) -> None:
    rows = Rows()
    for name in "ABC":
        rows.plain_site(name)
    usage = [
        replace(calls(where, number_class=number_class), ip_atoms=ip, legacy_atoms=legacy)
        for where, number_class, ip, legacy in charges
    ] or [calls("A")]
    facts = facts_of(rows, [site(name) for name in "ABC"], usage)
    savings = make_savings(facts, [OCTOBER])
    lines = [one.prefix for one in savings.sites(Standing.COMPARED)]
    lost = [one.prefix for one in savings.sites(Standing.NOWHERE)]
    assert len(lines) == 3
    for name in ("ip", "m1", "m2", "billed"):
        parts = [*lines, *lost] if name == "ip" else lines
        assert sum(value(savings, f"{part}.{name}") for part in parts) == value(savings, f"{TOTAL}.{name}")
    (table,) = [section for section in costs_document(facts, OCTOBER).sections if section.name == "calls"]
    document = costs_document(facts, OCTOBER)
    for where in {row.cells[0] for row in table.rows}:
        for column in (4, 5):
            held = [(row.cells[column], row.total) for row in table.rows if row.cells[0] == where]
            amounts = [(document.book.value(cell.key), total) for cell, total in held if isinstance(cell, Ref)]
            placed = sum((amount for amount, total in amounts if amount is not None and not total), D(0))
            assert [placed] == [amount for amount, total in amounts if total]


pence = st.integers(0, 200_000).map(lambda amount: D(amount).scaleb(-2))


@st.composite
def bounded(draw: st.DrawFn) -> tuple[Decimal, Decimal, Decimal]:
    low, point, high = sorted([draw(pence), draw(pence), draw(pence)])
    return low, point, high


@settings(max_examples=40, deadline=None)
@given(
    legacy=st.lists(bounded(), min_size=2, max_size=2),
    today=st.lists(bounded(), min_size=2, max_size=2),
    shared=bounded(),
    index=st.sampled_from([("1", "1", "1"), ("0.9", "1.04", "1.2")]),
    by=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    closed=st.booleans(),
)
def test_no_combination_of_ends_and_keys_is_outside_the_range(
    legacy: list[tuple[Decimal, Decimal, Decimal]],
    today: list[tuple[Decimal, Decimal, Decimal]],
    shared: tuple[Decimal, Decimal, Decimal],
    index: tuple[str, str, str],
    by: list[int],
    closed: bool,
) -> None:
    def estimate(bounds: tuple[Decimal, Decimal, Decimal], **changes: object) -> dict[str, object]:
        return {"evidence": Evidence.ESTIMATED, "low": bounds[0], "high": bounds[2], **changes}

    rows = Rows()
    for name, one, other in zip("AB", legacy, today, strict=True):
        rows.add(Side.LEGACY, name, str(one[1]), **estimate(one))
        rows.add(Side.LEGACY, name, "100.00", kind=ElementKind.USAGE, pays_for=None)
        rows.add(Side.IP, name, str(other[1]), **estimate(other))
    rows.add(Side.IP, None, str(shared[1]), **estimate(shared, key="first", alternatives=("second",)))
    sites = [site("A"), site("B", Validity(None, date(2025, 1, 31)) if closed else ALWAYS)]
    held = [baseline(name, index[1], index_low=D(index[0]), index_high=D(index[2])) for name in "AB"]
    facts = facts_of(rows, sites, [calls("A")] if closed else [calls("A"), calls("B")], held)
    keys = tuple(
        KeyValue(name, where, D(weight), ALWAYS, Origin("keys.csv", 2))
        for (name, where), weight in zip(itertools.product(("first", "second"), "AB"), by, strict=True)
    )
    savings = make_savings(replace(facts, costs=replace(facts.costs, keys=keys)), [OCTOBER])
    count = 1 if closed else 2
    for ends in itertools.product((0, 1, 2), repeat=4):
        for weights in (by[:2], by[2:]):
            factor, left = D(index[ends[0]]), D(0)
            for place in range(count):
                left += round((legacy[place][ends[1]] + D(100)) * factor, 2) - today[place][ends[2]] - D(10)
            part = D(weights[0]) / sum(weights) if closed else D(1)
            left -= shared[ends[3]] * part
            for method in (1, 2):
                low, high = value(savings, f"{TOTAL}.s{method}.low"), value(savings, f"{TOTAL}.s{method}.high")
                assert low - D("0.02") <= left <= high + D("0.02")
