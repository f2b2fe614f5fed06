"""Reports of costs and savings tell no small count that the report of sites holds back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from cost_example import OCTOBER, example_facts
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.cost.costs_document import costs_document
from analytics.cost.document import Document, Ref, Section
from analytics.cost.outliers import Judgement
from analytics.cost.savings_document import savings_document
from analytics.cost.site_report import SiteFacts, sites_document
from analytics.cost.traffic import Traffic
from analytics.cost.withholding import withheld
from analytics.store.cost_queries import ExcludedSum, UnratedSum, Usage, UsageSum
from api.report.data import as_json

CLASSES = ("geographic", "mobile", "premium_09")
Lines = dict[tuple[str | None, str], int]


def usage_of(lines: Lines) -> Usage:
    """Outgoing calls of a minute each, by site and class."""
    sums = [
        UsageSum(OCTOBER, site, "outbound", name, count, count, 60 * count, 0, 60 * count, 0, 0, 0, 0, 0, 0, 0)
        for (site, name), count in lines.items()
    ]
    return Usage(tuple(sums))


def told(usage: Usage, site: str | None = None) -> Document:
    return withheld(costs_document(example_facts(usage), OCTOBER, site), usage, (OCTOBER,))


def section(document: Document, name: str) -> Section:
    return next(one for one in document.sections if one.name == name)


def shown(document: Document, name: str = "calls") -> dict[tuple[str, ...], list[str]]:
    """Rows of a table by their text; figures as they are shown."""
    found = {}
    for row in section(document, name).rows:
        figures = [document.book[cell.key] for cell in row.cells if isinstance(cell, Ref)]
        texts = tuple(str(cell) for cell in row.cells if not isinstance(cell, Ref))
        found[texts] = [one.shown or "—" if one.value is None else f"{one.value:f}" for one in figures]
    return found


LINES: Lines = {("A", "geographic"): 50, ("A", "mobile"): 21, ("A", "premium_09"): 3, ("B", "geographic"): 60}


def test_few_lines_of_a_class_and_their_minutes_are_not_told_and_cannot_be_computed() -> None:
    document = told(usage_of(LINES))
    rows = shown(document)
    assert rows["A", "premium_09"][:2] == ["<5", "*"]
    assert rows["A", "mobile"][:2] == ["*", "*"]
    assert rows["A", "All"][:2] == ["74", "74.0000"]
    assert rows["B", "geographic"][0] == "60"
    values = {figure.value for figure in document.book if figure.unit in ("count", "minutes")}
    assert not values & {Decimal(3), Decimal(21)}
    assert Decimal(180) not in {figure.value for figure in document.book if figure.unit == "seconds"}
    assert dict(document.facts)["Small counts"].startswith("counts of 1 to 4 are shown as <5")


def test_money_is_whole_and_every_formula_that_is_left_has_all_its_inputs() -> None:
    facts = example_facts(usage_of(LINES))
    whole, document = costs_document(facts, OCTOBER), told(usage_of(LINES))
    for figure in document.book:
        if figure.unit == "money":
            assert (figure.value, figure.formula) == (whole.book.value(figure.key), whole.book[figure.key].formula)
        if figure.value is not None:
            assert all(document.book.value(key) is not None for key in figure.inputs)
    assert '"value": "180"' not in as_json(document)


def test_without_small_counts_nothing_changes() -> None:
    usage = usage_of({("A", "geographic"): 50, ("B", "mobile"): 5})
    whole = costs_document(example_facts(usage), OCTOBER)
    document = withheld(whole, usage, (OCTOBER,))
    assert (as_json(document), document.facts) == (as_json(whole), whole.facts)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(("A", "B", None)), st.sampled_from(CLASSES)), st.integers(1, 9), min_size=1
    )
)
def test_costs_tell_no_count_that_the_report_of_sites_holds_back(lines: Lines) -> None:
    usage = usage_of(lines)
    cost_facts = example_facts(usage)
    nothing = Judgement((), ())
    facts = SiteFacts(
        cost_facts.settings, cost_facts.sites, (), (OCTOBER,), usage, {}, Traffic(0, None, 0), {}, (), nothing
    )
    sites = sites_document(facts).book
    for only in (None, "A"):
        rows = shown(told(usage, only))
        for site, name in lines:
            if only in (None, site):
                cells = rows[site or "(no site)", name]
                key = f"class.{site or 'no site'}.outside.{name}.calls"
                assert sites.value(key) is not None or not cells[0].isdigit()
                assert sites.value(key) is not None or cells[1] == "*"


def test_few_lines_without_a_price_or_without_use_are_not_told() -> None:
    usage = replace(
        usage_of(LINES),
        unrated=(UnratedSum(OCTOBER, "A", "ip", "mobile", "no_row", 2, 77),),
        excluded=(ExcludedSum(OCTOBER, "recording", 4, 61), ExcludedSum(OCTOBER, "consultation", 5, 62)),
    )
    facts = example_facts(usage)
    for made in (costs_document(facts, OCTOBER), savings_document(facts, [OCTOBER])):
        document = withheld(made, usage, (OCTOBER,))
        rows = shown(document, "unrated")
        assert [cells for texts, cells in rows.items() if "no price, ip" in texts] == [["<5", "*"]]
        assert [cells for texts, cells in rows.items() if "recording" in texts] == [["<5", "*"]]
        assert [cells for texts, cells in rows.items() if "consultation" in texts] == [["5", "62"]]
        assert section(document, "unrated").sentence.startswith("<5 lines have no price today")


def test_calls_at_no_site_are_no_site_more() -> None:
    usage = usage_of({("A", "geographic"): 50, ("B", "geographic"): 50, (None, "geographic"): 50})
    document = costs_document(example_facts(usage), OCTOBER)
    assert document.title == "Costs, 2 sites, October 2025"
    assert ("(no site)", "geographic") in shown(document)
