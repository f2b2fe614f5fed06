"""Savings over some months: both methods, site by site and in total, month by month, and a year of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.cost.bounds import IN_RANGE, Range, enter_dearest, month_range, site_range, sum_ranges
from analytics.cost.claim import judge_claim
from analytics.cost.elements import ElementKind, Side
from analytics.cost.figures import Book, Evidence
from analytics.cost.months import months_between, spoken, spoken_span
from analytics.cost.names import key_of, one_part, sum_of
from analytics.cost.sensitivity import Estimate, estimates
from analytics.cost.statement import CostFacts, MonthStatement, SiteMonth, Standing, month_statement, total
from analytics.cost.verdict import Verdict

TOTAL = "total"
"""Prefix of the figures of all sites and months."""
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

    def left_out(self) -> list[SiteMonth]:
        """Return site-months that are in neither total nor range, but those of closed sites that cost nothing."""
        held = self.sites(Standing.UNSTATED, Standing.OPENED, Standing.NOT_OPEN)
        return [site for site in held if site.standing is not Standing.NOT_OPEN or site.lines or site.usage]


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
    month_ranges = []
    for one in statements:
        enter_dearest(book, one, facts.usage.source)
        prefix = month_prefix(one.month)
        total(book, prefix, spoken(one.month), _prefixes(one, Standing.COMPARED), _prefixes(one, Standing.NOWHERE))
        spread = month_range(book, one, prefix, spoken(one.month), facts.settings.intersite_calls)
        if one.standing(*IN_RANGE):
            month_ranges.append(spread)
    site_prefixes = _site_totals(book, facts, statements, span)
    compared = [prefix for one in statements for prefix in _prefixes(one, Standing.COMPARED)]
    months_with = [month_prefix(one.month) for one in statements if one.standing(Standing.COMPARED)]
    lost = [
        prefix
        for one in statements
        if not one.standing(Standing.COMPARED)
        for prefix in _prefixes(one, Standing.NOWHERE)
    ]
    total(book, TOTAL, span, months_with if compared else [], lost)
    sum_ranges(book, TOTAL, span, month_ranges)
    _coverage(book, statements)
    in_total = [site for one in statements for site in one.standing(Standing.COMPARED, Standing.NOWHERE)]
    _shares(book, in_total)
    verdict = judge_claim(book, facts, statements, TOTAL)
    annual_months = _annual(book, facts, statements, in_total)
    without = tuple(month for month in wanted if month not in with_usage)
    found = tuple(estimates(book, in_total, TOTAL)) if compared else ()
    return Savings(facts, book, statements, without, site_prefixes, found, verdict, annual_months)


def _prefixes(statement: MonthStatement, standing: Standing) -> list[str]:
    return [site.prefix for site in statement.standing(standing)]


def _site_totals(book: Book, facts: CostFacts, statements: Sequence[MonthStatement], span: str) -> dict[str, str]:
    """Enter each site's totals over its months, and their range over all allocation keys."""
    members: dict[str, list[SiteMonth]] = defaultdict(list)
    for one in statements:
        for site in one.standing(*IN_RANGE):
            members[site.site].append(site)
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
        ranges: list[Range] = [site_range(book, site, facts.settings.intersite_calls, over_keys=True) for site in sites]
        sum_ranges(book, prefix, f"{name}, {span}", ranges)
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
