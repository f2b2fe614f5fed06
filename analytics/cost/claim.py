"""The claim held against the figures: margins, minutes of records and invoices, and the elements of both sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from analytics.cost.bounds import unbounded
from analytics.cost.elements import ElementKind, Invoice, Side
from analytics.cost.figures import Book, Evidence
from analytics.cost.months import spoken, spoken_span
from analytics.cost.names import key_of, one_part, sum_of
from analytics.cost.statement import CostFacts, MonthStatement, SiteMonth, Standing
from analytics.cost.verdict import Margins, MinutesCheck, Verdict, judge
from analytics.cost.words import said_list

CLAIM = "claim"
TOLERANCE = "claim.tolerance"
OUTGOING = ("outbound", "transit")
"""Kinds of lines that a supplier's invoice counts."""


def judge_claim(book: Book, facts: CostFacts, statements: Sequence[MonthStatement], total: str, whole: str) -> Verdict:
    """Enter the claim's figures over some months, and judge it.

    `total` is the prefix of the totals of the compared sites, `whole` that of the range over all sites: a claim is of
    all of them, so where nothing is stated of one there is no range to prove or refute it by.
    """
    settings = facts.settings
    source = "estate.toml"
    book.enter(CLAIM, "Claimed saving, more than", "percent", settings.claim_percent, Evidence.MEASURED, source)
    tolerance = settings.minutes_tolerance_percent
    book.enter(TOLERANCE, "Tolerance of minutes", "percent", tolerance, Evidence.MEASURED, source)
    minutes = [check for one in statements for check in minutes_checks(book, facts, one)]
    differences = same_elements([site for one in statements for site in one.standing(Standing.COMPARED)])
    causes = dict.fromkeys(cause for one in statements for cause in unbounded(book, one, settings))
    margins, unstated = _margins(book, total, whole), unstated_sites(statements)
    if unstated:
        causes[f"nothing is stated of what {said_list(unstated)} cost and costs"] = None
        margins = replace(margins, low=(None, None), high=(None, None))
    return judge(settings.claim_percent, margins, minutes, tolerance, differences, list(causes))


def unstated_sites(statements: Sequence[MonthStatement]) -> list[str]:
    """Return the open sites of which nothing is stated in some month: no range holds them."""
    return sorted({site.site for one in statements for site in one.standing(Standing.UNSTATED)})


def margin_key(method: int, end: str = "") -> str:
    """Return the key of how far a saving is over the claim, at its point or one end."""
    return key_of("margin", f"m{method}", *([end] if end else []))


def _margins(book: Book, total: str, whole: str) -> Margins:
    """Enter how far savings are over the claim: the point of the compared sites, the ends of all."""
    ends = {"": "", "low": "high", "high": "low"}
    values: dict[str, list[Decimal | None]] = defaultdict(list)
    for end, other in ends.items():
        for method in (1, 2):
            legacy = f"{whole}.m{method}.{end}" if end else f"{total}.m{method}"
            ip = f"{whole}.ip.{other}" if other else f"{total}.ip"
            label = f"Saving by method {method} less the claimed one" + (f", {end}" if end else "")
            formula = f"{{{legacy}}} - {{{ip}}} - {{{legacy}}} * {{{CLAIM}}} / 100"
            values[end].append(book.compute(margin_key(method, end), label, "money", formula).value)
    return Margins(*((values[end][0], values[end][1]) for end in ends))


def minutes_checks(book: Book, facts: CostFacts, statement: MonthStatement) -> list[MinutesCheck]:
    """Enter minutes of records and invoices of a month: of the whole estate, or of each site that has invoices."""
    month = statement.month
    invoices = [
        one for one in facts.costs.invoices if one.month == month and one.side is Side.IP and one.minutes is not None
    ]
    whole = [one for one in invoices if one.site is None]
    if whole or not invoices:
        return [_minutes(book, facts, statement, None, whole)]
    sites = [one.site for one in statement.standing(Standing.COMPARED)]
    return [_minutes(book, facts, statement, site, [one for one in invoices if one.site == site]) for site in sites]


def minutes_key(month: int, site: str | None, name: str) -> str:
    """Return the key of `records`, `invoiced` or `apart` minutes."""
    return key_of(month, "#minutes", one_part(site) if site else "#all", name)


def _minutes(
    book: Book, facts: CostFacts, statement: MonthStatement, site: str | None, invoices: Sequence[Invoice]
) -> MinutesCheck:
    month, name = statement.month, spoken(statement.month) + (f", {site}" if site else "")
    seconds = sum(
        one.seconds
        for held in statement.sites
        if site is None or held.site == site
        for one in held.usage
        if one.kind in OUTGOING
    )
    key = minutes_key(month, site, "seconds")
    book.enter(key, f"Outgoing talk time, {name}", "seconds", seconds, Evidence.MEASURED, facts.usage.source)
    records = book.compute(
        minutes_key(month, site, "records"), f"Minutes of the records, {name}", "minutes", f"round({{{key}}} / 60, 4)"
    )
    invoiced = minutes_key(month, site, "invoiced")
    if invoices:
        parts = []
        for one in invoices:
            label, source = (
                f"Minutes invoiced, {name}",
                f"{one.origin}: {one.source}" if one.source else str(one.origin),
            )
            part = f"{invoiced}@{one.origin.line}"
            parts.append(book.enter(part, label, "minutes", one.minutes or 0, Evidence.MEASURED, source).key)
        book.compute(invoiced, f"Minutes of the invoices, {name}", "minutes", sum_of(parts))
    else:
        book.miss(invoiced, f"Minutes of the invoices, {name}", "minutes", f"no invoice states minutes for {name}")
    formula = f"round(({{{records.key}}} - {{{invoiced}}}) / {{{invoiced}}} * 100, 2)"
    book.compute(minutes_key(month, site, "apart"), f"Records over invoices, {name}", "percent", formula)
    return MinutesCheck(name, records.value or Decimal(0), book.value(invoiced))


def same_elements(sites: Sequence[SiteMonth]) -> list[str]:
    """Return what is paid for on one side alone, a sentence for each, with the sites and months it is so at.

    Call charges stand on both sides always. A row of 0.00 says that nothing was paid; no row says nothing.
    """
    found: dict[str, tuple[set[str], set[int]]] = {}

    def note(what: str, site: SiteMonth) -> None:
        names, months = found.setdefault(what, (set(), set()))
        names.add(site.site)
        months.add(site.month)

    for site in sites:
        paid: dict[Side, dict[str, None]] = {Side.LEGACY: {}, Side.IP: {}}
        for line in site.of(Side.LEGACY, ElementKind.FIXED) + site.of(Side.IP, ElementKind.FIXED):
            element = line.element
            if element.pays_for is None:
                note(f"{element.element} ({element.origin}) does not say what it pays for", site)
            else:
                paid[element.side][element.pays_for] = None
        for what in sorted({*paid[Side.LEGACY], *paid[Side.IP]}):
            if what not in paid[Side.IP]:
                note(f"the baseline pays for {what} and today's elements do not", site)
            elif what not in paid[Side.LEGACY]:
                note(f"today's elements pay for {what} and the baseline does not", site)
    return [f"{_upper(what)}: {_listed(names)}, {spoken_span(months)}." for what, (names, months) in found.items()]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown) if len(shown) <= 5 else f"{', '.join(shown[:5])} and {len(shown) - 5} more sites"
