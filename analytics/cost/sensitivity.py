"""What each estimate alone could change: the saving with it at its low and at its high end, all else as it was taken.

Only what a point total holds is tried here: what is missing has no point and shows in the range.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.cost.bounds import intersite_seconds, private_circuits
from analytics.cost.elements import ElementKind, Side
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import Line
from analytics.cost.money import ATOMS_PER_UNIT
from analytics.cost.names import key_of
from analytics.cost.number_classes import INTERSITE
from analytics.cost.statement import SiteMonth, Standing

PREFIX = "sensitivity"


@dataclass(frozen=True, slots=True)
class Estimate:
    """One estimate, and the keys of the savings [%] that its ends give, by method."""

    label: str
    origin: str
    prefix: str

    def key(self, method: int, end: str) -> str:
        """Return the key of a saving with the estimate at its `low` or `high` end."""
        return f"{self.prefix}.p{method}.{end}"

    def least(self, end: str) -> str:
        """Return the key of the lesser saving of both methods at an end."""
        return f"{self.prefix}.least.{end}"

    @property
    def spread(self) -> str:
        """Key of how far the ends are apart."""
        return f"{self.prefix}.spread"


@dataclass(frozen=True, slots=True)
class _Change:
    """What an end of an estimate adds to today's cost and to the legacy cost by each method: terms of formulas."""

    ip: tuple[str, ...] = ()
    m1: tuple[str, ...] = ()
    m2: tuple[str, ...] = ()


def estimates(book: Book, sites: Sequence[SiteMonth], total: str) -> list[Estimate]:
    """Enter what each estimate could change over some site-months, the widest first.

    `total` is the prefix of their totals.
    """
    found = [
        *_elements(book, sites, total),
        *_indexes(book, sites, total),
        *_unrated(book, sites, total),
        *_intersite(book, sites, total),
    ]
    return sorted(found, key=lambda one: (-(book.value(one.spread) or 0), one.label))


def _enter(book: Book, number: str, label: str, origin: str, total: str, low: _Change, high: _Change) -> Estimate:
    """Enter the savings that two ends give."""
    estimate = Estimate(label, origin, key_of(PREFIX, number))
    for end, change in (("low", low), ("high", high)):
        ip = " + ".join((f"{{{total}.ip}}", *change.ip))
        for method in (1, 2):
            terms = change.m1 if method == 1 else change.m2
            legacy = " + ".join((f"{{{total}.m{method}}}", *terms))
            formula = f"round((({legacy}) - ({ip})) / ({legacy}) * 100, 2)"
            shown = f"Saving by method {method}, {label} at its {end} end"
            book.compute(estimate.key(method, end), shown, "percent", formula, Evidence.ESTIMATED)
        least = f"min({{{estimate.key(1, end)}}}, {{{estimate.key(2, end)}}})"
        shown = f"Saving by the lesser method, {label} at its {end} end"
        book.compute(estimate.least(end), shown, "percent", least, Evidence.ESTIMATED)
    ends = f"{{{estimate.least('low')}}}, {{{estimate.least('high')}}}"
    book.compute(
        estimate.spread, f"{label}: how far apart", "percent", f"max({ends}) - min({ends})", Evidence.ESTIMATED
    )
    return estimate


def _elements(book: Book, sites: Sequence[SiteMonth], total: str) -> list[Estimate]:
    groups: dict[int, list[tuple[SiteMonth, Line]]] = defaultdict(list)
    for site in sites:
        for line in site.lines:
            if (line.low, line.high) != (line.key, line.key) and not _left_out(site, line):
                groups[line.element.origin.line].append((site, line))
    found = []
    for number, members in sorted(groups.items()):
        element = members[0][1].element
        low = _element_change(members, "low")
        high = _element_change(members, "high")
        label = f"{element.element}, {element.side}" + (f", {element.site}" if element.site else "")
        found.append(_enter(book, f"element.{number}", label, str(element.origin), total, low, high))
    return found


def _left_out(site: SiteMonth, line: Line) -> bool:
    """Whether a line is in no point total: the legacy side of what is at no site."""
    return site.standing is Standing.NOWHERE and line.element.side is Side.LEGACY


def _element_change(members: Sequence[tuple[SiteMonth, Line]], end: str) -> _Change:
    ip, m1, m2 = [], [], []
    for site, line in members:
        bound = line.low if end == "low" else line.high
        if bound == line.key:
            continue
        change = f"({{{bound}}} - {{{line.key}}})"
        index = f"{{{site.key('index')}}}"
        if line.element.side is Side.IP:
            ip.append(change)
        elif line.element.kind is ElementKind.USAGE:
            m1.append(f"{change} * ({{{site.key('seconds')}}} / 60) / {{{site.key('baseline_minutes')}}} * {index}")
        else:
            m1.append(f"{change} * {index}")
            m2.append(f"{change} * {index}")
    return _Change(tuple(ip), tuple(m1), tuple(m2))


def _indexes(book: Book, sites: Sequence[SiteMonth], total: str) -> list[Estimate]:
    """Index factors with bounds, those of one series together: they rise and fall as one."""
    groups: dict[str, list[SiteMonth]] = defaultdict(list)
    for site in sites:
        baseline = site.baseline
        if baseline is not None and (baseline.index_low is not None or baseline.index_high is not None):
            groups[baseline.index_series or "no series"].append(site)
    found = []
    for number, (series, members) in enumerate(sorted(groups.items())):
        origin = str(members[0].baseline and members[0].baseline.origin)
        low, high = _index_change(book, members, "low"), _index_change(book, members, "high")
        found.append(_enter(book, f"index.{number}", f"Index factor, {series}", origin, total, low, high))
    return found


def _index_change(book: Book, members: Sequence[SiteMonth], end: str) -> _Change:
    terms: dict[int, list[str]] = {1: [], 2: []}
    for site in members:
        bound = f"{site.key('index')}.{end}"
        if bound in book:
            for method, held in terms.items():
                m = f"{{{site.key(f'm{method}')}}}"
                held.append(f"({m} * {{{bound}}} / {{{site.key('index')}}} - {m})")
    return _Change((), tuple(terms[1]), tuple(terms[2]))


def _unrated(book: Book, sites: Sequence[SiteMonth], total: str) -> list[Estimate]:
    """Lines without a price: at no charge, as the total has them, or at the highest price of their tariff."""
    found = []
    today = [
        f"({{{site.key('ip_calls')}.high}} - {{{site.key('ip_calls')}}})"
        for site in sites
        if f"{site.key('ip_calls')}.high" in book and book.value(site.key("ip_calls")) is not None
    ]
    if today:
        change = _Change(ip=tuple(today))
        found.append(_enter(book, "unrated.ip", "Calls without a price today", "usage", total, _Change(), change))
    legacy = [
        site for site in sites if f"{site.key('rerated.atoms')}.high" in book and site.standing is Standing.COMPARED
    ]
    if legacy:
        m1 = tuple(
            f"{{{site.key('usage')}}} * ({{{site.key('seconds')}.unrated}} / 60) / {{{site.key('baseline_minutes')}}}"
            f" * {{{site.key('index')}}}"
            for site in legacy
            if f"{site.key('seconds')}.unrated" in book and site.of(Side.LEGACY, ElementKind.USAGE)
        )
        m2 = tuple(
            f"{{{site.key('rerated.unrated.atoms')}}} / {ATOMS_PER_UNIT} * {{{site.key('index')}}}" for site in legacy
        )
        label = "Calls without a price under the legacy tariff"
        found.append(_enter(book, "unrated.legacy", label, "usage", total, _Change(), _Change(m1=m1, m2=m2)))
    return found


def _intersite(book: Book, sites: Sequence[SiteMonth], total: str) -> list[Estimate]:
    """Calls between sites, counted as billed, where a private circuit was paid for in the month as well."""
    m1, m2 = [], []
    with_circuits = {site.month for site in sites if site.standing is Standing.COMPARED and private_circuits([site])}
    for site in sites:
        atoms = f"{site.key('rerated')}.{INTERSITE}.atoms"
        if site.standing is not Standing.COMPARED or atoms not in book or site.month not in with_circuits:
            continue
        index = f"{{{site.key('index')}}}"
        m2.append(f"(0 - {{{atoms}}} / {ATOMS_PER_UNIT} * {index})")
        if site.of(Side.LEGACY, ElementKind.USAGE):
            seconds = intersite_seconds(book, site)
            if seconds is None:
                continue
            scaled = f"{{{site.key('usage')}}} * ({{{seconds}}} / 60) / {{{site.key('baseline_minutes')}}}"
            m1.append(f"(0 - {scaled} * {index})")
    if not m2:
        return []
    label = "Calls between sites: carried, or billed"
    low = _Change(m1=tuple(m1), m2=tuple(m2))
    return [_enter(book, "intersite", label, "estate.toml", total, low, _Change())]
