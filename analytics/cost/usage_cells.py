"""Calls of a site by way and class: the cells of which reports make their tables, and which counts are not told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analytics.cost.counts import Counts
from analytics.cost.disclosure import Held
from analytics.cost.names import key_of
from analytics.store.cost_queries import Usage, UsageSum

NO_SITE = "no site"
WAYS = ("outside", "inbound", "internal")
"""Calls to the public network, calls from it, and calls within the estate."""
_WAY_OF = {"outbound": "outside", "inbound": "inbound"}


@dataclass(frozen=True, slots=True)
class UsageCell:
    """Calls of one site, way and class."""

    site: str
    way: str
    number_class: str

    def key(self, measure: str) -> str:
        """Return the key of one of its figures."""
        return key_of("class", self.site, self.way, self.number_class, measure)

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.site}, {self.number_class}"


def site_key(site: str, *parts: str) -> str:
    """Return the key of a figure of a site."""
    return key_of("site", site, *parts)


class UsageCells:
    """The cells of some months, of all sites or one, and what they add up to."""

    def __init__(self, usage: Usage, months: Sequence[int], only: str | None = None) -> None:
        sums: dict[UsageCell, list[UsageSum]] = defaultdict(list)
        for one in usage.sums:
            site = one.site or NO_SITE
            if one.month in months and only in (None, site):
                way = _WAY_OF.get(one.kind, "internal")
                sums[UsageCell(site, way, one.number_class or way)].append(one)
        self.sums: Mapping[UsageCell, Sequence[UsageSum]] = dict(sums)
        self.all = sorted(sums, key=lambda cell: (cell.site == NO_SITE, cell.site, cell.way, cell.number_class))
        self.sites = list(dict.fromkeys(cell.site for cell in self.all))
        self.classes = sorted({(cell.way, cell.number_class) for cell in self.all})

    def of(self, site: str | None = None, way: str | None = None, number_class: str | None = None) -> list[UsageCell]:
        """Return cells of a site, a way, a class, or all."""
        return [
            cell
            for cell in self.all
            if site in (None, cell.site) and way in (None, cell.way) and number_class in (None, cell.number_class)
        ]

    def totals(self) -> list[tuple[str, str, list[UsageCell]]]:
        """Return what cells add up to: prefix of the figures, label, cells."""
        totals = [(site_key(site, way), f"{site}, {way}", self.of(site, way)) for site in self.sites for way in WAYS]
        totals += [(site_key(site), site, self.of(site)) for site in self.sites]
        totals += [
            (key_of("class", way, name), f"all sites, {name}", self.of(None, way, name)) for way, name in self.classes
        ]
        totals += [(key_of("all", way), f"all sites, {way}", self.of(None, way)) for way in WAYS]
        return [*totals, ("all", "all sites", self.of())]

    def count(self, counts: Counts) -> None:
        """Add the calls of all cells and of what they add up to."""
        for cell in self.all:
            counts.add(cell.key("calls"), f"{cell.label}, calls", sum(one.lines for one in self.sums[cell]))
        for key, label, cells in self.totals():
            counts.add_sum(f"{key}.calls", f"{label}, calls", [cell.key("calls") for cell in cells])
        for site in self.sites:
            counts.bind(*(site_key(site, way, "calls") for way in WAYS), site_key(site, "calls"))

    def seconds(self, cells: Iterable[UsageCell]) -> int:
        """Return the talk time of some cells [s]."""
        return sum(one.seconds for cell in cells for one in self.sums[cell])


def held_in_all(usage: Usage, months: Sequence[int]) -> dict[str, Held]:
    """Return which counts of calls a report of all sites holds back, by their keys.

    What is told of one site, or in another report of the same months, must hold back these too: what one report tells
    of a sum and another of its parts would be told together.
    """
    counts = Counts(usage.source)
    UsageCells(usage, months).count(counts)
    return counts.held()
