"""The statement of a month: what each site costs today, and what it would cost under the system it had, by two methods.

Method 1, the ledger: the baseline bill, its call charges scaled by minutes, times the index. Method 2, the
counterfactual: the baseline's fixed lines and the same calls re-rated under the legacy tariff, times the index.
A site is compared only where every one of its figures is known: a point total holds no guess. What is not known enters
the range (`analytics.cost.bounds`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from analytics.cost.charges import UNPRICED, enter_charges, unpriced_lines
from analytics.cost.elements import Baseline, Costs, ElementKind, Side
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import NO_SITE, Line, element_lines
from analytics.cost.money import ATOMS_PER_UNIT
from analytics.cost.months import days_held, days_of, last_day, spoken
from analytics.cost.names import key_of, one_part, sum_of
from analytics.cost.number_classes import INTERSITE
from analytics.cost.terms import said_mix, with_vat
from analytics.sites import EstateSettings, IntersiteCalls, Site
from analytics.store.cost_queries import Usage, UsageSum

TOTALS = (
    ("ip", "IP actual"),
    ("billed", "Legacy as billed"),
    ("m1", "Legacy by method 1"),
    ("m2", "Legacy by method 2"),
)
"""Names of the figures that add up over sites and months, and what they are called."""


@dataclass(frozen=True, slots=True)
class CostFacts:
    """All that reports of costs and savings are made from."""

    settings: EstateSettings
    sites: tuple[Site, ...]
    costs: Costs
    usage: Usage
    sources: tuple[tuple[str, str], ...] = ()
    """Name and digest or version of the estate, the tariffs and the lake's tables."""


class Standing(StrEnum):
    """Whether a site is compared in a month."""

    COMPARED = "compared"
    INCOMPLETE = "incomplete"
    """Something is not known: it counts in the range alone."""
    UNSTATED = "nothing stated"
    """Nothing is stated of what it cost and costs: left out on both sides, and not covered."""
    OPENED = "opened since"
    """It never had the old system: like for like leaves it out on both sides."""
    NOT_OPEN = "not open"
    """Closed, or not open yet: left out on both sides."""
    NOWHERE = "at no site"
    """Calls and amounts that no site can be found for: they cost, and save nothing."""


@dataclass(frozen=True, slots=True)
class SiteMonth:
    """Keys of a site's figures in a month."""

    month: int
    site: str
    standing: Standing
    why: str
    lines: tuple[Line, ...]
    baseline: Baseline | None
    usage: tuple[UsageSum, ...]
    prefix: str
    vat: tuple[str, ...] = ()
    """Sides whose tariff holds VAT: no sum with cost elements is made of their charges."""

    def key(self, name: str) -> str:
        """Return the key of one of its figures: `ip`, `billed`, `m1`, `m2`, `s1`, `p1`, …"""
        return f"{self.prefix}.{name}"

    def of(self, side: Side, *kinds: ElementKind) -> list[Line]:
        """Return its lines of a side and some kinds."""
        return [line for line in self.lines if line.element.side is side and line.element.kind in kinds]


@dataclass(frozen=True, slots=True)
class MonthStatement:
    """All sites in a month."""

    month: int
    sites: tuple[SiteMonth, ...]
    has_usage: bool

    def standing(self, *standings: Standing) -> list[SiteMonth]:
        """Return the sites of some standings."""
        return [one for one in self.sites if one.standing in standings]


def month_statement(book: Book, facts: CostFacts, month: int) -> MonthStatement:
    """Enter all figures of a month, site by site."""
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in element_lines(book, facts.costs, month, facts.sites):
        lines[line.site].append(line)
    usage: dict[str, list[UsageSum]] = defaultdict(list)
    for one in facts.usage.sums:
        if one.month == month:
            usage[one.site or NO_SITE].append(one)
    baselines = {one.site: one for one in facts.costs.baselines if one.valid.holds(last_day(month))}
    open_on = _open_sites(facts.sites, month)
    since_ever = {one.site for one in facts.sites if one.valid.first is None}
    names = sorted({*open_on, *lines, *usage, *baselines} - {NO_SITE}) + [NO_SITE] * (NO_SITE in {*lines, *usage})
    had_legacy = {one.site for one in facts.costs.baselines} | {
        line.site for line in _all_lines(lines) if line.element.side is Side.LEGACY
    }
    sites = []
    vat = with_vat(facts.costs, facts.settings, month)
    for name in names:
        prefix = key_of(month, one_part(name))
        baseline = baselines.get(name)
        held, calls = tuple(lines[name]), tuple(usage[name])
        begun = Standing.NOT_OPEN if open_on.get(name) is False else Standing.COMPARED
        draft = SiteMonth(month, name, begun, "", held, baseline, calls, prefix, vat)
        _enter(book, facts, draft)
        new = name in open_on and name not in since_ever
        standing, why = _standing(book, draft, open_on.get(name), had_legacy=name in had_legacy, new=new)
        sites.append(replace(draft, standing=standing, why=why))
    return MonthStatement(month, tuple(sites), bool(usage))


def _all_lines(lines: Mapping[str, Iterable[Line]]) -> list[Line]:
    return [line for of_site in lines.values() for line in of_site]


def _open_sites(sites: Sequence[Site], month: int) -> dict[str, bool]:
    """Return whether each site is open in a month; the value is False where it is not."""
    opened: dict[str, bool] = {}
    for site in sites:
        opened[site.site] = opened.get(site.site, False) or days_held(site.valid, month) > 0
    return opened


def open_parts(facts: CostFacts, sites: Iterable[SiteMonth]) -> list[str]:
    """Return those that are open on some days of their month alone, e.g. `B (15 of 31 days of October 2025)`."""
    found = []
    for site in sites:
        rows = [one.valid for one in facts.sites if one.site == site.site]
        days, whole = sum(days_held(valid, site.month) for valid in rows), days_of(site.month)
        if 0 < days < whole:
            found.append(f"{site.site} ({days} of {whole} days of {spoken(site.month)})")
    return found


def _standing(
    book: Book, site: SiteMonth, is_open: bool | None, *, had_legacy: bool, new: bool
) -> tuple[Standing, str]:
    if site.site == NO_SITE:
        return Standing.NOWHERE, "no site is known for these calls or amounts"
    if is_open is False:
        return Standing.NOT_OPEN, f"not open in {spoken(site.month)}"
    if not site.lines and site.baseline is None:
        return Standing.UNSTATED, f"no cost element and no baseline is stated for {spoken(site.month)}"
    if new and not had_legacy:
        return Standing.OPENED, "it has no baseline and no legacy cost element: it never had the old system"
    for name in ("m1", "m2", "ip"):
        figure = book[site.key(name)]
        if figure.value is None:
            return Standing.INCOMPLETE, figure.why
    return Standing.COMPARED, ""


def chargeable(sums: Iterable[UsageSum], intersite: IntersiteCalls) -> list[UsageSum]:
    """Return the sums whose calls the legacy system charged: not those that its private circuits carried."""
    carried = intersite is IntersiteCalls.CARRIED
    return [one for one in sums if not (carried and one.number_class == INTERSITE)]


def _enter(book: Book, facts: CostFacts, site: SiteMonth) -> None:
    """Enter the figures of one site in one month."""
    source = facts.usage.source
    name, when = site.site if site.site != NO_SITE else "no site", spoken(site.month)
    legacy_calls = chargeable(site.usage, facts.settings.intersite_calls)
    enter_charges(book, facts, site, "ip_calls", f"Call charges today, {name}", site.usage)
    enter_charges(book, facts, site, "rerated", f"The same calls under the legacy tariff, {name}", legacy_calls)
    seconds, label = sum(one.legacy_chargeable_seconds for one in legacy_calls), f"Legacy-chargeable talk time, {name}"
    unpriced = unpriced_lines(legacy_calls, "legacy")
    if unpriced and not seconds:
        book.miss(site.key("seconds"), label, "seconds", UNPRICED, source)
    else:
        evidence = Evidence.MISSING if unpriced else Evidence.MEASURED
        label += f", but for {UNPRICED}" if unpriced else ""
        book.enter(site.key("seconds"), label, "seconds", seconds, evidence, source)
    book.compute(
        site.key("minutes"),
        f"Legacy-chargeable minutes, {name}",
        "minutes",
        f"round({{{site.key('seconds')}}} / 60, 4)",
    )
    fixed = site.of(Side.LEGACY, ElementKind.FIXED)
    usage = site.of(Side.LEGACY, ElementKind.USAGE)
    today = site.of(Side.IP, ElementKind.FIXED, ElementKind.ONE_OFF)
    nothing = site.site == NO_SITE or site.standing is Standing.NOT_OPEN
    if fixed or usage or nothing:
        book.compute(site.key("fixed"), f"Legacy fixed lines, {name}", "money", sum_of([line.key for line in fixed]))
    else:
        why = f"no legacy cost element is stated for {when}"
        book.miss(site.key("fixed"), f"Legacy fixed lines, {name}", "money", why)
    book.compute(
        site.key("usage"), f"Legacy call charges as billed, {name}", "money", sum_of([line.key for line in usage])
    )
    book.compute(
        site.key("billed"), f"Legacy as billed, {name}", "money", f"{{{site.key('fixed')}}} + {{{site.key('usage')}}}"
    )
    if today or nothing:
        book.compute(site.key("elements"), f"IP cost elements, {name}", "money", sum_of([line.key for line in today]))
    else:
        book.miss(
            site.key("elements"), f"IP cost elements, {name}", "money", f"no IP cost element is stated for {when}"
        )
    ip, label = site.key("ip"), f"IP actual, {name}, {when}"
    if "ip" in site.vat:
        book.miss(ip, label, "money", said_mix(facts.settings, ("ip",)))
    else:
        book.compute(ip, label, "money", f"{{{site.key('elements')}}} + {{{site.key('ip_calls')}}}")
    _baseline(book, site, name)
    _methods(book, facts, site, name, when)


def _baseline(book: Book, site: SiteMonth, name: str) -> None:
    """Enter the baseline's minutes and index of a site."""
    minutes, index = site.key("baseline_minutes"), site.key("index")
    baseline = site.baseline
    said = (
        f"{baseline.origin}: {baseline.source}" if baseline and baseline.source else str(baseline and baseline.origin)
    )
    if baseline is None or baseline.minutes is None:
        book.miss(minutes, f"Baseline minutes, {name}", "minutes", f"no baseline minutes are stated for {name}")
    else:
        book.enter(minutes, f"Baseline minutes, {name}", "minutes", baseline.minutes, Evidence.MEASURED, said)
    if baseline is None or baseline.index_factor is None:
        book.miss(index, f"Index factor, {name}", "factor", f"no index factor is stated for {name}")
        return
    series = baseline.index_series
    evidence = (
        Evidence.MEASURED
        if series and baseline.index_low is None and baseline.index_high is None
        else Evidence.ESTIMATED
    )
    label = f"Index factor, {name}" + (f" ({series})" if series else "")
    book.enter(index, label, "factor", baseline.index_factor, evidence, said)


def scaled_usage(usage: str, seconds: str, baseline_minutes: str) -> str:
    """Return the formula of the baseline's call charges scaled to the minutes of the month."""
    return f"{{{usage}}} * ({{{seconds}}} / 60) / {{{baseline_minutes}}}"


def _methods(book: Book, facts: CostFacts, site: SiteMonth, name: str, when: str) -> None:
    """Enter both methods, their difference, the savings and their shares."""
    fixed, index = f"{{{site.key('fixed')}}}", f"{{{site.key('index')}}}"
    m1, label = site.key("m1"), f"Legacy by method 1, {name}, {when}"
    has_usage = bool(site.of(Side.LEGACY, ElementKind.USAGE))
    # A bill of 0.00 for calls stays 0.00 whatever it is scaled by, and may be for 0 minutes.
    if book.value(site.key("seconds" if not has_usage else "usage")) == 0:
        book.compute(m1, label, "money", f"round({fixed} * {index}, 2)")
    elif not has_usage:
        why = f"calls were made, and no call charges of the baseline bill are stated for {name}"
        book.miss(m1, label, "money", why)
    elif book.value(site.key("baseline_minutes")) == 0:
        why = f"the baseline bill of {name} has call charges and 0 minutes: they cannot be scaled"
        book.miss(m1, label, "money", why)
    else:
        scaled = scaled_usage(site.key("usage"), site.key("seconds"), site.key("baseline_minutes"))
        book.compute(m1, label, "money", f"round(({fixed} + {scaled}) * {index}, 2)")
    m2, label = site.key("m2"), f"Legacy by method 2, {name}, {when}"
    if "legacy" in site.vat:
        book.miss(m2, label, "money", said_mix(facts.settings, ("legacy",)))
    else:
        book.compute(m2, label, "money", rerated_cost(site.key("fixed"), site.key("rerated.atoms"), site.key("index")))
    savings(book, site.prefix, name)


def rerated_cost(fixed: str, atoms: str, index: str) -> str:
    """Return the formula of method 2: exact until the site's line of the month, and rounded there once."""
    return f"round(({{{fixed}}} + {{{atoms}}} / {ATOMS_PER_UNIT}) * {{{index}}}, 2)"


def savings(book: Book, prefix: str, name: str) -> None:
    """Enter what follows from `ip`, `m1` and `m2` under a prefix."""
    for method in (1, 2):
        legacy, ip = f"{prefix}.m{method}", f"{prefix}.ip"
        book.compute(f"{prefix}.s{method}", f"Saving by method {method}, {name}", "money", f"{{{legacy}}} - {{{ip}}}")
        formula = f"round(({{{legacy}}} - {{{ip}}}) / {{{legacy}}} * 100, 2)"
        book.compute(f"{prefix}.p{method}", f"Saving by method {method}, {name}, of legacy", "percent", formula)
    book.compute(f"{prefix}.gap", f"Method 2 less method 1, {name}", "money", f"{{{prefix}.m2}} - {{{prefix}.m1}}")


def total(
    book: Book,
    prefix: str,
    label: str,
    compared: Sequence[str],
    nowhere: Sequence[str] = (),
    why: str = "no site can be compared",
) -> None:
    """Enter totals: `ip`, `billed`, `m1`, `m2` and what follows, from the prefixes of the lines they add up.

    What is at no site (`nowhere`) costs today, and saves nothing.
    """
    for name, shown in TOTALS:
        parts = [*compared, *nowhere] if name == "ip" else compared
        if compared:
            book.compute(f"{prefix}.{name}", f"{shown}, {label}", "money", sum_of([f"{part}.{name}" for part in parts]))
        else:
            book.miss(f"{prefix}.{name}", f"{shown}, {label}", "money", why)
    savings(book, prefix, label)
