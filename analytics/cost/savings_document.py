"""The savings report: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from analytics.cost import savings_sections as sections
from analytics.cost.claim import CLAIM
from analytics.cost.document import Document
from analytics.cost.savings import TOTAL, YEAR, Savings, make_savings
from analytics.cost.savings_sections import HEADLINE, enter_headline
from analytics.cost.sensitivity import private_circuits
from analytics.cost.statement import CostFacts, Standing
from analytics.cost.usage_sections import unrated
from analytics.cost.verdict import Outcome
from analytics.cost.words import said_claim, said_list, said_money, said_number, said_percent, said_range
from analytics.sites import IntersiteCalls

MOST_REASONS = 4
"""Reasons in the answer; the section of the checks has them all."""


def savings_document(facts: CostFacts, months: Sequence[int]) -> Document:
    """Describe the savings of some months (yyyymm, any order) as a report."""
    return document_of(make_savings(facts, months))


def document_of(savings: Savings) -> Document:
    """Describe savings that are computed as a report. Once: it enters figures of its own."""
    enter_headline(savings.book)
    made = (
        sections.methods(savings),
        sections.checks(savings),
        sections.sites(savings),
        sections.left_out(savings),
        sections.waterfall(savings),
        sections.months(savings),
        sections.year(savings),
        sections.sensitivity(savings),
        sections.minutes(savings),
        unrated(savings.book, savings.facts.usage, {one.month for one in savings.months}),
    )
    return Document(
        name="savings",
        title=f"Savings, {savings.span}",
        sentence=answer(savings),
        facts=tuple(_facts(savings)),
        sections=tuple(section for section in made if section is not None),
        book=savings.book,
        currency=savings.facts.settings.currency,
        sources=savings.facts.sources,
    )


def answer(savings: Savings) -> str:
    """Return the verdict as a person would say it, with every reason where the claim is not established."""
    book, outcome = savings.book, savings.verdict.outcome
    claim = f"Claim: more than {said_claim(book.value(CLAIM))}."
    word = str(outcome).capitalize()
    span = f"in {savings.span}" if len(savings.months) < YEAR else f"in the {len(savings.months)} months {savings.span}"
    saved = book.value(HEADLINE)
    spread = said_range(book.value(f"{HEADLINE}.low"), book.value(f"{HEADLINE}.high"))
    if not savings.months:
        found = "the store holds no usage of these months"
    elif saved is None:
        found = f"no site can be compared {span} ({spread})"
    else:
        money = said_money(book.value(f"{HEADLINE}.money"), savings.facts.settings.currency)
        found = f"{said_percent(saved)} saved {span} ({spread}), {money}"
    text = f"{word}: {found}. {claim}"
    if outcome is Outcome.NOT_ESTABLISHED:
        reasons = savings.verdict.reasons
        more = f" And {len(reasons) - MOST_REASONS} more." if len(reasons) > MOST_REASONS else ""
        text += f" Not established because: {' '.join(reasons[:MOST_REASONS])}{more}"
    if savings.notional:
        text += " Notional: the old lines can no longer be bought."
    return text


def _facts(savings: Savings) -> list[tuple[str, str]]:
    """Short lines under the answer."""
    book, currency = savings.book, savings.facts.settings.currency
    compared, there = book.value("coverage.compared"), book.value("coverage.open")
    covered = f"{said_percent(book.value('coverage'))} ({said_number(compared)} of {said_number(there)} site-months)"
    gap = said_money(book.value(f"{TOTAL}.gap"), currency)
    how = "twelve months" if savings.annual_months == YEAR else f"estimated from {savings.annual_months}"
    facts = [
        ("Claim", f"more than {said_claim(book.value(CLAIM))}"),
        ("Methods differ by", f"{gap}, {said_number(book.value(f'{TOTAL}.gap.p'))} points"),
        ("Sites covered", covered),
        ("Allocated by a key", f"{said_percent(book.value('share.allocated'))} of today's cost"),
        ("Estimated", f"{said_percent(book.value('share.estimated'))} of today's cost"),
        ("A year", f"{said_money(book.value('annual.least'), currency)} ({how})"),
    ]
    for number, benefit in enumerate(savings.facts.settings.benefits):
        facts.append(("Buys a year", f"{said_number(book.value(f'benefit.{number}'))} {benefit.name}s"))
    facts.append(("VAT", "all amounts are without it"))
    facts.append(("Calls between sites", _intersite(savings)))
    left = sorted({site.site for site in savings.left_out()})
    if left:
        facts.append(("Left out on both sides", said_list(left)))
    return facts


def _intersite(savings: Savings) -> str:
    """Say how calls between sites are counted, and warn where they may be counted twice."""
    if savings.facts.settings.intersite_calls is IntersiteCalls.CARRIED:
        return "carried by private circuits under the old system: no call charges"
    text = "billed under the old system (intersite_calls = charged)"
    circuits = private_circuits(savings.sites(Standing.COMPARED))
    if circuits:
        text += f"; {said_list(circuits)} was paid for as well: if it carried them, they are counted twice"
    return text
