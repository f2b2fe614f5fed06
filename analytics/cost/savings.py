"""Savings over some months: both methods, site by site and in total, month by month, and a year of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.cost.bounds import (
    IN_POINT,
    IN_RANGE,
    between,
    enter_highest,
    enter_highest_index,
    labels_of,
    month_range,
    site_range,
    sum_ranges,
)
from analytics.cost.claim import judge_claim, unstated_sites
from analytics.cost.elements import ElementKind, Side
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import held
from analytics.cost.months import months_between, spoken, spoken_span
from analytics.cost.names import key_of, one_part, sum_of
from analytics.cost.sensitivity import Estimate, estimates
from analytics.cost.statement import CostFacts, MonthStatement, SiteMonth, Standing, month_statement, total
from analytics.cost.verdict import Verdict

TOTAL = "total"
"""Prefix of the figures of all months and of all sites that are compared, and of the range of these."""
WHOLE = "whole"
"""Prefix of the range over all sites, where some cannot be compared."""
LAST_LEGACY_MONTH = 202701
"""After 31 January 2027 lines of the old telephone network cannot be bought in the United Kingdom."""
YEAR = 12


@dataclass(frozen=True, slots=True)
class Savings:
    """Figures of some months, and what they are of."""

    facts: CostFacts
    book: Book
    months: tuple[MonthStatement, ...]
    """Months that hold usage, in order."""
    without_usage: tuple[int, ...]
    """Months that were asked for and hold none: left out."""
    site_prefixes: dict[str, str]
    """Prefix of the figures of each site that the point total or the range holds, over all its months."""
    estimates: tuple[Estimate, ...]
    verdict: Verdict
    whole: str
    """Prefix of the range over all sites: `TOTAL` where all of them are compared."""
    annual_months: int
    """Months that the annual figures are made from; 12: a whole year."""

    @property
    def span(self) -> str:
        """What the months are called."""
        return spoken_span(one.month for one in self.months)

    @property
    def notional(self) -> bool:
        """Whether the legacy system could no longer be bought in one of the months."""
        return any(one.month > LAST_LEGACY_MONTH for one in self.months)

    def sites(self, *standings: Standing) -> list[SiteMonth]:
        """Return site-months of some standings."""
        return [site for one in self.months for site in one.standing(*standings)]

    @property
    def unstated(self) -> list[str]:
        """Sites of which nothing is stated: in no range."""
        return unstated_sites(self.months)

    @property
    def partial(self) -> str:
        """Says which part of the estate is compared, e.g. `the 1 of 2 sites that can be compared`; empty: all of it."""
        there = self.sites(Standing.COMPARED, Standing.INCOMPLETE, Standing.UNSTATED)
        compared = [site for site in there if site.standing is Standing.COMPARED]
        if len(compared) == len(there):
            return ""
        what = "sites" if len(self.months) == 1 else "site-months"
        return f"the {len(compared):,} of {len(there):,} {what} that can be compared"

    def left_out(self) -> list[SiteMonth]:
        """Return site-months that are in neither total nor range, but those of closed sites that cost nothing."""
        out = self.sites(Standing.UNSTATED, Standing.OPENED, Standing.NOT_OPEN)
        return [site for site in out if site.standing is not Standing.NOT_OPEN or site.usage or self._stated(site)]

    def _stated(self, site: SiteMonth) -> bool:
        """Whether an element is stated, or placed, for a site in a month in which it is not open."""
        elements = (one for one in self.facts.costs.elements if one.site == site.site)
        return bool(site.lines) or any(held(element, site.month) for element in elements)


def month_prefix(month: int) -> str:
    """Return the prefix of a month's totals."""
    return key_of(month, "#all")


def make_savings(facts: CostFacts, months: Sequence[int]) -> Savings:
    """Compute the savings of some months (yyyymm)."""
    book = Book()
    with_usage = {one.month for one in facts.usage.sums}
    wanted = sorted(set(months))
    statements = tuple(month_statement(book, facts, month) for month in wanted if month in with_usage)
    span = spoken_span(one.month for one in statements)
    for one in statements:
        enter_highest(book, facts, one)
        enter_highest_index(book, one)
        prefix = month_prefix(one.month)
        total(book, prefix, spoken(one.month), _prefixes(one, Standing.COMPARED), _prefixes(one, Standing.NOWHERE))
    compared = [prefix for one in statements for prefix in _prefixes(one, Standing.COMPARED)]
    months_with = [month_prefix(one.month) for one in statements if one.standing(Standing.COMPARED)]
    lost = [
        prefix
        for one in statements
        if not one.standing(Standing.COMPARED)
        for prefix in _prefixes(one, Standing.NOWHERE)
    ]
    total(book, TOTAL, span, months_with if compared else [], lost)
    whole = _ranges(book, facts, statements, span)
    site_prefixes = _site_totals(book, facts, statements, span)
    _coverage(book, statements)
    in_total = [site for one in statements for site in one.standing(Standing.COMPARED, Standing.NOWHERE)]
    _shares(book, in_total)
    verdict = judge_claim(book, facts, statements, TOTAL, whole)
    annual_months = _annual(book, facts, statements, in_total)
    without = tuple(month for month in wanted if month not in with_usage)
    found = tuple(estimates(book, in_total, TOTAL)) if compared else ()
    return Savings(facts, book, statements, without, site_prefixes, found, verdict, whole, annual_months)


def _prefixes(statement: MonthStatement, standing: Standing) -> list[str]:
    return [site.prefix for site in statement.standing(standing)]


def _ranges(book: Book, facts: CostFacts, statements: Sequence[MonthStatement], span: str) -> str:
    """Enter the ranges of the compared sites and, where others are not known in full, of all; return their prefix."""
    wanted: list[tuple[str, tuple[Standing, ...]]] = [(TOTAL, IN_POINT)]
    if any(one.standing(Standing.INCOMPLETE) for one in statements):
        wanted.append((WHOLE, IN_RANGE))
    any_compared = any(one.standing(Standing.COMPARED) for one in statements)
    for name, standings in wanted:
        of = "" if name == TOTAL else ", all sites"
        parts = []
        for one in statements:
            prefix = month_prefix(one.month) if name == TOTAL else key_of(one.month, "#whole")
            sites = one.standing(*standings)
            spread = month_range(book, sites, prefix, labels_of(spoken(one.month) + of), between(one, facts.settings))
            parts += [spread] if sites else []
        sum_ranges(book, name, labels_of(span + of), parts if name == WHOLE or any_compared else [])
    return wanted[-1][0]


def _site_totals(book: Book, facts: CostFacts, statements: Sequence[MonthStatement], span: str) -> dict[str, str]:
    """Enter each site's totals over its months, and their range over all allocation keys."""
    members: dict[str, list[SiteMonth]] = defaultdict(list)
    for one in statements:
        for site in one.standing(*IN_RANGE):
            members[site.site].append(site)
    counted = {one.month: between(one, facts.settings) for one in statements}
    prefixes = {}
    for name, sites in sorted(members.items()):
        prefixes[name] = prefix = key_of("site", one_part(name))
        compared = [site.prefix for site in sites if site.standing is Standing.COMPARED]
        nowhere = [site.prefix for site in sites if site.standing is Standing.NOWHERE]
        if nowhere:
            book.compute(f"{prefix}.ip", "IP actual, no site", "money", sum_of([f"{one}.ip" for one in nowhere]))
            continue
        why = next((site.why for site in sites if site.why), "no site can be compared")
        total(book, prefix, f"{name}, {span}", compared, why=why)
        ranges = [site_range(book, site, counted[site.month], over_keys=True) for site in sites]
        sum_ranges(book, prefix, labels_of(f"{name}, {span}"), ranges)
    return prefixes


def _coverage(book: Book, statements: Sequence[MonthStatement]) -> None:
    """Enter how many of the open sites are compared, months together, and of how many calls no site is known."""
    compared = sum(len(one.standing(Standing.COMPARED)) for one in statements)
    there = compared + sum(len(one.standing(Standing.INCOMPLETE, Standing.UNSTATED)) for one in statements)
    made = "estate and usage"
    book.enter("coverage.compared", "Sites compared × months", "count", compared, Evidence.MEASURED, made)
    book.enter("coverage.open", "Sites open × months", "count", there, Evidence.MEASURED, made)
    formula = "round({coverage.compared} / {coverage.open} * 100, 2)"
    book.compute("coverage", "Sites covered", "percent", formula)


def _shares(book: Book, sites: Sequence[SiteMonth]) -> None:
    """Enter which part of today's cost is allocated by a key, and which is estimated."""
    lines = [line for site in sites for line in site.of(Side.IP, ElementKind.FIXED, ElementKind.ONE_OFF)]
    for evidence in (Evidence.ALLOCATED, Evidence.ESTIMATED):
        keys = [line.key for line in lines if book[line.key].evidence is evidence]
        label = f"Today's cost that is {evidence}"
        book.compute(f"share.{evidence}.amount", label, "money", sum_of(keys))
        formula = f"round({{share.{evidence}.amount}} / {{{TOTAL}.ip}} * 100, 2)"
        book.compute(f"share.{evidence}", f"Share of today's cost that is {evidence}", "percent", formula)


def _annual(book: Book, facts: CostFacts, statements: Sequence[MonthStatement], sites: Sequence[SiteMonth]) -> int:
    """Enter the saving of a year: the sum of its twelve months, or of the n that are there × 12 ÷ n.

    What is paid once is not multiplied. Returns how many months it is made from.
    """
    last = [one.month for one in statements][-YEAR:]
    whole = len(last) == YEAR and months_between(last[0], last[-1]) == YEAR - 1
    one_off = [line.key for site in sites for line in site.of(Side.IP, ElementKind.ONE_OFF)]
    book.compute("one_off", "Paid once", "money", sum_of(one_off))
    for method in (1, 2):
        key, label = f"annual.s{method}", f"Saving a year by method {method}"
        if whole:
            book.compute(key, label, "money", sum_of([f"{month_prefix(month)}.s{method}" for month in last]))
        else:
            count = len(statements)
            formula = f"round(({{{TOTAL}.s{method}}} + {{one_off}}) / {count} * 12 - {{one_off}}, 2)"
            book.compute(key, f"{label}, from {count} months", "money", formula, Evidence.ESTIMATED)
    book.compute("annual.least", "Saving a year by the lesser method", "money", "min({annual.s1}, {annual.s2})")
    for number, benefit in enumerate(facts.settings.benefits):
        cost = book.enter(
            f"benefit.{number}.cost", benefit.name, "money", benefit.cost, Evidence.MEASURED, "estate.toml"
        )
        formula = f"round({{annual.least}} / {{{cost.key}}}, 1)"
        book.compute(f"benefit.{number}", f"{benefit.name}s a year", "count", formula)
    return YEAR if whole else len(statements)
