"""Inclusive minutes stand as credits in tables of costs and savings."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from cost_example import OCTOBER, example_facts

from analytics.cost.costs_document import costs_document
from analytics.cost.credits import with_credits
from analytics.cost.document import Document, Ref
from analytics.cost.money import to_atoms
from analytics.cost.savings_document import savings_document
from analytics.store.cost_queries import CoveredSum, Usage, UsageSum
from api.report.one_site import of_site

D = Decimal


def used(site: str, number_class: str, pounds: str) -> UsageSum:
    atoms = to_atoms(D(pounds))
    return UsageSum(OCTOBER, site, "outbound", number_class, 20, 20, 600, atoms, 600, atoms, 600, 600, 0, 0, 0, 0)


def covered(site: str, tariff: str, number_class: str, pounds: str) -> CoveredSum:
    return CoveredSum(OCTOBER, site, tariff, number_class, 60, to_atoms(D(pounds)))


USAGE = Usage(
    (used("A", "geographic", "9.00"), used("A", "mobile", "5.00"), used("B", "mobile", "3.00")),
    covered=(
        covered("A", "ip", "geographic", "2.003"),
        covered("A", "ip", "mobile", "1.003"),
        covered("A", "legacy", "mobile", "0.50"),
        covered("B", "ip", "mobile", "1.25"),
    ),
)


def rows(document: Document) -> list[tuple[str | Decimal | None, ...]]:
    section = next(one for one in document.sections if one.name == "inclusive")
    return [
        tuple(document.book.value(cell.key) if isinstance(cell, Ref) else cell for cell in row.cells)
        for row in section.rows
    ]


@pytest.mark.parametrize("name", ["costs", "savings"])
def test_the_credit_of_each_site_and_tariff_is_a_line(name: str) -> None:
    facts = example_facts(USAGE)
    made = costs_document(facts, OCTOBER) if name == "costs" else savings_document(facts, [OCTOBER])
    assert rows(with_credits(made, USAGE, [OCTOBER])) == [
        ("October 2025", "A", D("-3.01"), ""),
        ("October 2025", "A", "", D("-0.50")),
        ("October 2025", "B", D("-1.25"), ""),
        ("All", "", D("-4.26"), D("-0.50")),
    ]


def test_the_credit_is_what_the_charge_is_less_by() -> None:
    document = with_credits(costs_document(example_facts(USAGE), OCTOBER), USAGE, [OCTOBER])
    without = costs_document(example_facts(replace(USAGE, covered=())), OCTOBER)
    for site, credit in (("A", D("-3.01")), ("B", D("-1.25"))):
        key = f"{OCTOBER}.{site}.ip_calls"
        before, after = without.book.value(key), document.book.value(key)
        assert before is not None
        assert after is not None
        assert after - before == credit


def test_one_site_has_its_own_credit() -> None:
    facts = example_facts(USAGE)
    assert rows(with_credits(costs_document(facts, OCTOBER, "B"), USAGE, [OCTOBER], "B")) == [
        ("October 2025", "B", D("-1.25"), ""),
        ("All", "", D("-1.25"), ""),
    ]
    alone = of_site(with_credits(savings_document(facts, [OCTOBER]), USAGE, [OCTOBER]), "B")
    assert rows(alone) == [("October 2025", "B", D("-1.25"), "")]


def test_without_inclusive_minutes_there_is_no_such_table() -> None:
    usage = replace(USAGE, covered=())
    made = costs_document(example_facts(usage), OCTOBER)
    assert with_credits(made, usage, [OCTOBER]) is made
