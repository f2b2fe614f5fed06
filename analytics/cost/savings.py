"""Savings over some months: both methods, site by site and in total, month by month, and a year of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.cost.figures import Book
from analytics.cost.months import spoken, spoken_span
from analytics.cost.names import key_of
from analytics.cost.statement import CostFacts, MonthStatement, Standing, month_statement, total

TOTAL = "total"
"""Prefix of the figures of all sites and months."""
LAST_LEGACY_MONTH = 202701
"""After 31 January 2027 lines of the old telephone network cannot be bought in the United Kingdom."""


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
    """Prefix of the figures of each compared site over all its months."""

    @property
    def span(self) -> str:
        """What the months are called."""
        return spoken_span(one.month for one in self.months)

    @property
    def notional(self) -> bool:
        """Whether the legacy system could no longer be bought in one of the months."""
        return any(one.month > LAST_LEGACY_MONTH for one in self.months)


def month_prefix(month: int) -> str:
    """Return the prefix of a month's totals."""
    return key_of(month, "all")


def make_savings(facts: CostFacts, months: Sequence[int]) -> Savings:
    """Compute the savings of some months (yyyymm)."""
    book = Book()
    with_usage = {one.month for one in facts.usage.sums}
    wanted = sorted(set(months))
    statements = tuple(month_statement(book, facts, month) for month in wanted if month in with_usage)
    prefixes: dict[str, list[str]] = defaultdict(list)
    nowhere: list[str] = []
    for one in statements:
        compared = [site.prefix for site in one.standing(Standing.COMPARED)]
        lost = [site.prefix for site in one.standing(Standing.NOWHERE)]
        total(book, month_prefix(one.month), spoken(one.month), compared, lost)
        for site in one.standing(Standing.COMPARED):
            prefixes[site.site].append(site.prefix)
        nowhere += lost
    span = spoken_span(one.month for one in statements)
    site_prefixes = {}
    for name, parts in sorted(prefixes.items()):
        site_prefixes[name] = key_of("site", name)
        total(book, site_prefixes[name], f"{name}, {span}", parts)
    total(book, TOTAL, f"all compared sites, {span}", list(site_prefixes.values()), nowhere)
    without = tuple(month for month in wanted if month not in with_usage)
    return Savings(facts, book, statements, without, site_prefixes)
