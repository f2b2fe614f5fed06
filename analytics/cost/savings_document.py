"""The savings report: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from analytics.cost import savings_sections as sections
from analytics.cost.bounds import private_circuits
from analytics.cost.charges import unpriced_lines
from analytics.cost.claim import CLAIM
from analytics.cost.document import Document
from analytics.cost.savings import YEAR, Savings, make_savings
from analytics.cost.savings_sections import HEADLINE, enter_headline, range_of_all, said_gap
from analytics.cost.statement import CostFacts, Standing, chargeable, open_parts
from analytics.cost.terms import TARIFFS, said_mix
from analytics.cost.usage_sections import unrated
from analytics.cost.verdict import Outcome
from analytics.cost.words import NOT_KNOWN, said_claim, said_list, said_money, said_number, said_percent, said_range
from analytics.sites import IntersiteCalls

MOST_REASONS = 4
"""Reasons in the answer; the section of the checks has them all."""


def savings_document(facts: CostFacts, months: Sequence[int]) -> Document:
    """Describe the savings of some months (yyyymm, any order) as a report."""
    return document_of(make_savings(facts, months))


def document_of(savings: Savings) -> Document:
    """Describe savings that are computed as a report. Once: it enters figures of its own."""
    enter_headline(savings)
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
    mix = vat_mix(savings)
    if not savings.months:
        found = "the store holds no usage of these months"
    elif mix:
        found = f"nothing is compared {span}, {mix}"
    elif saved is None:
        found = f"no site can be compared {span} ({range_of_all(savings)})"
    else:
        money = said_money(book.value(f"{HEADLINE}.money"), savings.facts.settings.currency)
        part = f" at {savings.partial}" if savings.partial else ""
        found = f"{said_percent(saved)} saved {span}{part} ({spread}), {money}"
        found += f"; over all sites: {range_of_all(savings)}" if savings.partial else ""
    text = f"{word}: {found}. {claim}"
    if outcome is Outcome.NOT_ESTABLISHED:
        reasons = savings.verdict.reasons
        more = f" And {len(reasons) - MOST_REASONS} more." if len(reasons) > MOST_REASONS else ""
        text += f" Not established because: {' '.join(reasons[:MOST_REASONS])}{more}"
    if outcome is not Outcome.NOT_ESTABLISHED and any(_unpriced(savings)):
        text += " Assumed: no call without a price costs more than the highest price of its tariff."
    if savings.notional:
        text += " Notional: the old lines can no longer be bought."
    return text


def _facts(savings: Savings) -> list[tuple[str, str]]:
    """Short lines under the answer."""
    book, currency = savings.book, savings.facts.settings.currency
    compared, there = book.value("coverage.compared"), book.value("coverage.open")
    covered = f"{said_percent(book.value('coverage'))} ({said_number(compared)} of {said_number(there)} site-months)"
    how = "twelve months" if savings.annual_months == YEAR else f"estimated from {savings.annual_months}"
    how += ", of the compared sites" if savings.partial else ""
    annual = book.value("annual.least")
    facts = [
        ("Claim", f"more than {said_claim(book.value(CLAIM))}"),
        ("Methods differ by", said_gap(savings) or NOT_KNOWN),
        ("Sites covered", covered),
        *(
            (
                label,
                NOT_KNOWN
                if (share := book.value(f"share.{name}")) is None
                else f"{said_percent(share)} of today's cost",
            )
            for label, name in (("Allocated by a key", "allocated"), ("Estimated", "estimated"))
        ),
        ("A year", NOT_KNOWN if annual is None else f"{said_money(annual, currency)} ({how})"),
    ]
    for number, benefit in enumerate(savings.facts.settings.benefits):
        count = book.value(f"benefit.{number}")
        part = ", by the compared sites" if savings.partial else ""
        facts.append(("Buys a year", NOT_KNOWN if count is None else f"{said_number(count)} {benefit.name}s{part}"))
    facts.append(("VAT", vat_mix(savings) or "all amounts are without it"))
    today, legacy = _unpriced(savings)
    if today or legacy:
        said = f"{today:,} lines today, {legacy:,} under the legacy tariff: not in the result"
        facts.append(("No price", f"{said}; in the range at most the highest price of the tariff, an assumption"))
    parts = open_parts(savings.facts, savings.sites(Standing.COMPARED, Standing.INCOMPLETE))
    if parts:
        facts.append(("Open for a part", f"{said_list(parts)}: cost elements count for these days"))
    facts.append(("Calls between sites", _intersite(savings)))
    left = sorted({site.site for site in savings.left_out()})
    if left:
        facts.append(("Left out on both sides", said_list(left)))
    return facts


def _share(value: Decimal | None) -> str:
    return NOT_KNOWN if value is None else f"{said_percent(value)} of today's cost"


def vat_mix(savings: Savings) -> str:
    """Say that amounts with and without VAT stand beside each other; nothing where all are without it."""
    sides = {side for site in savings.sites(*Standing) for side in site.vat}
    return said_mix(savings.facts.settings, tuple(side for side in TARIFFS if side in sides))


def _unpriced(savings: Savings) -> tuple[int, int]:
    """Return how many lines have no price today and under the legacy tariff, over all sites."""
    sums = [one for site in savings.sites(*Standing) for one in site.usage]
    legacy = chargeable(sums, savings.facts.settings.intersite_calls)
    return unpriced_lines(sums, "ip"), unpriced_lines(legacy, "legacy")


def _intersite(savings: Savings) -> str:
    """Say how calls between sites are counted, and warn where they may be counted twice."""
    settings = savings.facts.settings
    if settings.intersite_calls is IntersiteCalls.CARRIED:
        return "carried by private circuits under the old system: no call charges"
    circuits = said_list(private_circuits(savings.sites(Standing.COMPARED)))
    if settings.intersite_stated:
        text = "billed under the old system, as the estate states (intersite_calls = charged)"
        if circuits:
            text += f": a choice, in no range; {circuits} was paid for as well: if it carried them, they count twice"
        return text
    text = "taken as billed under the old system (the estate states no intersite_calls)"
    if circuits:
        text += f"; {circuits} was paid for as well: if it carried them, they count twice, and the range holds both"
    return text
