"""Call charges of a site and month: exact by class, and its line, rounded once by the terms of the tariff.

A line without a price is not known, and not 0: a class of which no line has one has no charge, nor has a site of which
nothing that costs has one. What is known in part is shown as that part, and its evidence is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import NO_SITE, penny
from analytics.cost.money import ATOMS_PER_UNIT, Rounding, from_atoms
from analytics.cost.names import sum_of
from analytics.cost.terms import rounding_of

if TYPE_CHECKING:
    from analytics.cost.statement import CostFacts, SiteMonth
    from analytics.store.cost_queries import UsageSum


@dataclass(slots=True)
class _Class:
    """Calls of one class."""

    atoms: int = 0
    lines: int = 0
    """Lines without a price."""
    seconds: int = 0
    """Talk seconds without a price."""
    talked: int = 0


def unpriced_lines(sums: Sequence[UsageSum], tariff: str) -> int:
    """Return how many lines have no price under a tariff, `ip` or `legacy`."""
    return sum(one.ip_unrated_lines if tariff == "ip" else one.legacy_unrated_lines for one in sums)


def unpriced_seconds(sums: Sequence[UsageSum], tariff: str) -> int:
    """Return the talk seconds of the lines that have no price under a tariff."""
    return sum(one.ip_unrated_seconds if tariff == "ip" else one.legacy_unrated_seconds for one in sums)


UNPRICED = "lines without a price"
"""How lines of a site or class are spoken of: how many there are could give away counts that are not told."""


def said_lines(lines: int) -> str:
    """Say how many lines of all sites have no price."""
    return f"{lines:,} line{'s' if lines != 1 else ''} without a price"


def enter_charges(
    book: Book, facts: CostFacts, site: SiteMonth, name: str, label: str, sums: Sequence[UsageSum]
) -> None:
    """Enter exact charges by class, less what inclusive minutes cover, and the site's line `name`.

    `name` is `ip_calls` or `rerated`; of the latter its exact sum `rerated.atoms` as well.
    """
    tariff = "ip" if name == "ip_calls" else "legacy"
    by_class: dict[str, _Class] = defaultdict(_Class)
    for one in sums:
        held = by_class[one.number_class or "inbound"]
        held.atoms += one.ip_atoms if tariff == "ip" else one.legacy_atoms
        held.lines += unpriced_lines([one], tariff)
        held.seconds += unpriced_seconds([one], tariff)
        held.talked += one.seconds
    keys = [
        key
        for number_class, held in sorted(by_class.items())
        if (key := _enter_class(book, facts, site, f"{site.key(name)}.{number_class}", (label, number_class), held))
    ]
    lines = sum(held.lines for held in by_class.values())
    exact = int(sum((book.value(key) or Decimal(0) for key in keys), Decimal(0)))
    if lines and not exact:
        book.miss(site.key(name), label, "money", UNPRICED, facts.usage.source)
        if tariff == "legacy":
            book.miss(f"{site.key(name)}.atoms", f"{label}, exact", "atoms", UNPRICED, facts.usage.source)
        return
    evidence = Evidence.MISSING if lines else None
    if lines:
        label = f"{label}, but for {UNPRICED}"
    rounding, version = rounding_of(facts.costs, facts.settings, tariff, site.month)
    off = "" if rounding is Rounding.HALF_UP else penny(from_atoms(exact, rounding=rounding), from_atoms(exact))
    shown = label if rounding is Rounding.HALF_UP else f"{label}, rounded {rounding.name.lower()} by {version}"
    book.compute(site.key(name), shown, "money", f"round({sum_of(keys)} / {ATOMS_PER_UNIT}, 2){off}", evidence)
    if tariff == "legacy":
        book.compute(f"{site.key(name)}.atoms", f"{label}, exact", "atoms", sum_of(keys), evidence)


def _enter_class(
    book: Book, facts: CostFacts, site: SiteMonth, prefix: str, labels: tuple[str, str], held: _Class
) -> str | None:
    """Enter a class's exact charge; return the figure's key, None where nothing of it is known."""
    source = facts.usage.source
    number_class = labels[1]
    shown, key = ", ".join(labels), f"{prefix}.atoms"
    if held.lines and not held.atoms and held.seconds >= held.talked:
        book.miss(prefix, shown, "money", UNPRICED, source)
        return None
    evidence = Evidence.MISSING if held.lines else Evidence.MEASURED
    if held.lines:
        shown = f"{shown}, but for {UNPRICED}"
    tariff = "ip" if prefix.startswith(f"{site.key('ip_calls')}.") else "legacy"
    covered = [
        one.atoms
        for one in facts.usage.covered
        if (one.tariff, one.month, one.number_class) == (tariff, site.month, number_class)
        and (one.site or NO_SITE) == site.site
    ]
    if not covered:
        return book.enter(key, f"{shown}, exact", "atoms", held.atoms, evidence, source).key
    whole, free = f"{key}.whole", f"{key}.inclusive"
    book.enter(whole, f"{shown}, before inclusive minutes", "atoms", held.atoms, evidence, source)
    book.enter(free, f"{shown}, inclusive", "atoms", covered[-1], Evidence.MEASURED, source)
    return book.compute(key, f"{shown}, exact", "atoms", f"{{{whole}}} - {{{free}}}").key
