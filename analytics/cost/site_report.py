"""What each site did: calls, minutes and cost by class, channels busy and needed, bad quality, days that stand out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from analytics.cost.allocation import place_parts
from analytics.cost.channels import enter_channels
from analytics.cost.counts import Counts, name_part, said
from analytics.cost.disclosure import SMALL, Held
from analytics.cost.document import Cell, Document, Head, Plot, Ref, Row, Section, Shape
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import penny
from analytics.cost.money import ATOMS_PER_UNIT, from_atoms, round_money
from analytics.cost.months import spoken_span
from analytics.cost.names import key_of, sum_of
from analytics.cost.outliers import HIGHEST_Z, LEAST_WEEKS, Judgement, Measure, Outlier
from analytics.cost.traffic import Traffic
from analytics.cost.usage_cells import NO_SITE, WAYS, UsageCell, UsageCells, held_in_all, site_key
from analytics.cost.words import said_money
from analytics.sites import EstateSettings, Site, Trunk
from analytics.store.cost_queries import ExcludedSum, Usage
from analytics.store.site_queries import QualitySum

_AS_CALLS = "not told, as the number of calls is not"
_QUALITY = ("known", "poor", "dropped", "redials")
"""Counts of calls by their quality."""
_ROUNDED = "minutes of each site and class, rounded"


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """All that the report is made from."""

    settings: EstateSettings
    sites: tuple[Site, ...]
    trunks: tuple[Trunk, ...]
    months: tuple[int, ...]
    usage: Usage
    site_traffic: Mapping[str | None, Traffic]
    """Calls over the public network by the site that pays or answers."""
    all_traffic: Traffic
    group_traffic: Mapping[str, Traffic]
    """The same by the trunks that carried them (`channels.group_of`)."""
    quality: tuple[QualitySum, ...]
    judgement: Judgement
    sources: tuple[tuple[str, str], ...] = ()
    only: str | None = None
    """The one site that is reported; None: all."""


def sites_document(facts: SiteFacts, *, exact: bool = False) -> Document:
    """Describe what each site did; counts under 5 and their minutes are held back unless `exact`, money never is."""
    book = Book()
    report = _Report(facts, book, exact=exact)
    report.enter()
    sections = [
        report.site_section(),
        report.class_section(),
        *enter_channels(
            book,
            facts.settings,
            facts.trunks,
            facts.months,
            report.named(facts.site_traffic),
            facts.all_traffic,
            {} if facts.only else facts.group_traffic,
            facts.usage.source,
        ),
        report.quality_section(),
        outlier_section(book, facts),
        report.detail_section(),
    ]
    return Document(
        name="sites",
        title=f"Sites of {facts.settings.name}, {spoken_span(facts.months)}",
        sentence=report.sentence(),
        facts=tuple(report.facts()),
        sections=tuple(sections),
        book=book,
        currency=facts.settings.currency,
        sources=facts.sources,
    )


class _Report:
    """Enters the figures of the report and makes its tables."""

    def __init__(self, facts: SiteFacts, book: Book, *, exact: bool) -> None:
        self._facts = facts
        self._book = book
        self._exact = exact
        self._held: dict[str, Held] = {}
        self._cells = UsageCells(facts.usage, facts.months, facts.only)
        self._sums = self._cells.sums
        self._sites = self._cells.sites

    def named(self, traffic: Mapping[str | None, Traffic]) -> dict[str, Traffic]:
        """Traffic by the name of its site, those that are reported."""
        found = {site or NO_SITE: one for site, one in traffic.items()}
        return {site: found[site] for site in sorted(found) if self._facts.only in (None, site)}

    def enter(self) -> None:
        """Enter calls, minutes and cost of all cells and of what they add up to."""
        self._costs()
        counts = Counts(self._facts.usage.source)
        self._cells.count(counts)
        self._quality_counts(counts, self._quality())
        self._held = counts.enter(self._book, exact=self._exact, also=self._held_elsewhere())
        self._minutes()
        for key, label, cells in self._cells.totals():
            self._book.compute(
                f"{key}.cost", f"{label}, cost today", "money", sum_of([cell.key("cost") for cell in cells])
            )

    def _held_elsewhere(self) -> dict[str, Held]:
        """Counts of the one site that is reported that the report of all sites holds back."""
        only = self._facts.only
        if only is None:
            return {}
        counts = Counts(self._facts.usage.source)
        self._quality_counts(counts, self._facts.quality)
        everywhere = {**held_in_all(self._facts.usage, self._facts.months), **counts.held()}
        own = [cell.key("calls") for cell in self._cells.all]
        own += [site_key(only, "calls"), *(site_key(only, way, "calls") for way in WAYS)]
        own += [key_of("quality", name_part(only), measure) for measure in _QUALITY]
        return {key: everywhere[key] for key in own if key in everywhere}

    def _costs(self) -> None:
        """Enter the cost of each cell: a site's month is rounded once, its classes are placed to add up to it."""
        for site in self._sites:
            keys: dict[UsageCell, list[str]] = defaultdict(list)
            for month in self._facts.months:
                parts = {
                    cell: sum(one.ip_atoms for one in self._sums[cell] if one.month == month)
                    for cell in self._cells.of(site)
                }
                line = from_atoms(sum(parts.values()))
                exact = [Fraction(atoms, ATOMS_PER_UNIT) for atoms in parts.values()]
                for (cell, atoms), placed in zip(parts.items(), place_parts(line, exact), strict=True):
                    keys[cell].append(self._cost(cell, month, atoms, placed))
            for cell, parts_of in keys.items():
                self._book.compute(cell.key("cost"), f"{cell.label}, cost today", "money", sum_of(parts_of))

    def _cost(self, cell: UsageCell, month: int, atoms: int, placed: Decimal) -> str:
        key = f"{month}.{cell.key('cost')}"
        label = f"{cell.label}, cost today, {month}"
        self._book.enter(f"{key}.atoms", f"{label}, exact", "atoms", atoms, Evidence.MEASURED, self._facts.usage.source)
        formula = f"round({{{key}.atoms}} / {ATOMS_PER_UNIT}, 2)"
        ending = penny(placed, Decimal(atoms) / ATOMS_PER_UNIT)
        self._book.compute(key, label, "money", formula + ending)
        return key

    def _minutes(self) -> None:
        """Enter minutes; where the calls are held back, so are they. Totals are sums of the rounded lines."""
        for cell in self._cells.all:
            seconds = self._cells.seconds([cell])
            self._of_calls(cell.key("minutes"), f"{cell.label}, minutes", cell.key("calls"), seconds)
        for key, label, cells in self._cells.totals():
            parts = {cell.key("minutes"): self._cells.seconds([cell]) for cell in cells}
            self._sum_of_minutes(f"{key}.minutes", f"{label}, minutes", f"{key}.calls", parts)

    def _sum_of_minutes(self, key: str, label: str, calls: str, seconds: Mapping[str, int]) -> None:
        """Enter the sum of minutes (key: talk time) as their lines are rounded, told or not."""
        book, source = self._book, self._facts.usage.source
        if calls in self._held:
            book.hold_back(key, label, "minutes", Evidence.MEASURED, Held.COMPLEMENT.value, _AS_CALLS, source)
        elif any(book.value(part) is None for part in seconds):
            rounded = sum((round_money(Decimal(one) / 60, 2) for one in seconds.values()), Decimal(0))
            book.enter(key, label, "minutes", rounded, Evidence.MEASURED, f"{source}: {_ROUNDED}")
        else:
            book.compute(key, label, "minutes", sum_of(list(seconds)))

    def _of_calls(self, key: str, label: str, calls: str, seconds: int) -> None:
        """Enter minutes of calls, held back where their count is."""
        source = self._facts.usage.source
        if calls in self._held:
            self._book.hold_back(key, label, "minutes", Evidence.MEASURED, Held.COMPLEMENT.value, _AS_CALLS, source)
            return
        self._book.enter(f"{key}.seconds", f"{label}, as seconds", "seconds", seconds, Evidence.MEASURED, source)
        self._book.compute(key, label, "minutes", f"round({{{key}.seconds}} / 60, 2)")

    def site_section(self) -> Section:
        """One line a site."""

        def cells(prefix: str) -> tuple[Cell, ...]:
            calls = [Ref(f"{prefix}.{way}.calls") for way in WAYS]
            return (*calls, *(Ref(f"{prefix}.{measure}") for measure in ("calls", "minutes", "cost")))

        order = sorted(self._sites, key=lambda site: -(self._book.value(key_of("site", site, "cost")) or Decimal(0)))
        names = {site.site: site.name for site in self._facts.sites if site.name != site.site}
        rows = [
            Row((site, names.get(site, ""), *cells(key_of("site", site))), note=self._unrated(site)) for site in order
        ]
        rows.append(Row(("All", "", *cells("all")), total=True))
        heads = (
            Head("Site"),
            Head("Name"),
            Head("Outside", "calls"),
            Head("Inbound", "calls"),
            Head("Internal", "calls"),
        )
        return Section(
            "sites",
            "Sites",
            "Dearest first; cost is that of today's tariff.",
            (*heads, Head("Calls", "calls"), Head("Minutes", "minutes"), Head("Cost", "money")),
            tuple(rows),
            plot=Plot(Shape.BARS, columns=(7,)),
        )

    def _unrated(self, site: str) -> str:
        """What a site's cost does not hold."""
        without = sum(one.ip_unrated_lines for cell in self._cells.of(site) for one in self._sums[cell])
        if not without:
            return ""
        told = f"{without:,} calls" if self._exact or without >= SMALL else "some calls"
        return f"{told} without a price: not in the cost"

    def class_section(self) -> Section:
        """One line a class over all sites."""
        measures = ("calls", "minutes", "cost")
        prefixes = [(name, key_of("class", way, name)) for way, name in self._cells.classes]
        prefixes.sort(key=lambda item: -(self._book.value(f"{item[1]}.cost") or Decimal(0)))
        rows = [Row((name, *(Ref(f"{prefix}.{one}") for one in measures))) for name, prefix in prefixes]
        rows.append(Row(("All", *(Ref(key_of("all", one)) for one in measures)), total=True))
        return Section(
            "classes",
            "Classes of numbers",
            "All sites together, dearest first.",
            (Head("Class"), Head("Calls", "calls"), Head("Minutes", "minutes"), Head("Cost", "money")),
            tuple(rows),
            plot=Plot(Shape.BARS, columns=(3,)),
        )

    def detail_section(self) -> Section:
        """One line a site and class."""
        measures = ("calls", "minutes", "cost")
        rows = [
            Row((cell.site, cell.number_class, *(Ref(cell.key(one)) for one in measures))) for cell in self._cells.all
        ]
        rows.append(Row(("All", "", *(Ref(key_of("all", one)) for one in measures)), total=True))
        return Section(
            "site_classes",
            "Sites by class",
            "Every site's calls by class; classes of a site add up to its line.",
            (Head("Site"), Head("Class"), Head("Calls", "calls"), Head("Minutes", "minutes"), Head("Cost", "money")),
            tuple(rows),
        )

    def _quality(self) -> list[QualitySum]:
        return [one for one in self._facts.quality if self._facts.only in (None, one.site or NO_SITE)]

    def _quality_counts(self, counts: Counts, quality: Sequence[QualitySum]) -> None:
        for one in quality:
            site = one.site or NO_SITE
            for measure in _QUALITY:
                counts.add(key_of("quality", name_part(site), measure), f"{site}, {measure}", getattr(one, measure))
        for measure in _QUALITY:
            keys = [key_of("quality", name_part(one.site or NO_SITE), measure) for one in quality]
            counts.add_sum(f"quality.#all.{measure}", f"all sites, {measure}", keys)

    def quality_section(self) -> Section:
        """What bad quality cost: calls that only repeat a poor or dropped one."""
        book, source = self._book, self._facts.usage.source
        measures = (*_QUALITY, "minutes", "cost")
        rows, costs = [], []
        minutes: dict[str, int] = {}
        for one in self._quality():
            site = one.site or NO_SITE
            prefix = key_of("quality", name_part(site))
            calls = f"{prefix}.redials"
            self._of_calls(f"{prefix}.minutes", f"{site}, minutes of repeats", calls, one.redial_seconds)
            book.enter(
                f"{prefix}.atoms",
                f"{site}, price of repeats, exact",
                "atoms",
                one.redial_atoms,
                Evidence.MEASURED,
                source,
            )
            book.compute(
                f"{prefix}.cost",
                f"{site}, cost of repeats",
                "money",
                f"round({{{prefix}.atoms}} / {ATOMS_PER_UNIT}, 2)",
            )
            minutes[f"{prefix}.minutes"] = one.redial_seconds
            costs.append(f"{prefix}.cost")
            note = "" if not one.redials_unrated else "some repeats have no price"
            rows.append(Row((site, *(Ref(f"{prefix}.{measure}") for measure in measures)), note=note))
        self._sum_of_minutes("quality.#all.minutes", "all sites, minutes of repeats", "quality.#all.redials", minutes)
        book.compute("quality.#all.cost", "all sites, cost of repeats", "money", sum_of(costs))
        rows.append(Row(("All", *(Ref(f"quality.#all.{measure}") for measure in measures)), total=True))
        return Section(
            "quality",
            "What bad quality cost",
            "A repeat is a call that the same party makes again within 60 s after a poor or dropped one.",
            (
                Head("Site"),
                Head("Quality known", "calls"),
                Head("Poor", "calls"),
                Head("Dropped", "calls"),
                Head("Repeats", "calls"),
                Head("Minutes", "minutes"),
                Head("Cost", "money"),
            ),
            tuple(rows),
        )

    def sentence(self) -> str:
        """The answer."""
        book = self._book
        cost = book["all.cost"].value
        if not self._cells.all or cost is None:
            return "No calls are known."
        who = self._facts.only or f"{len([site for site in self._sites if site != NO_SITE])} sites"
        found = len(outliers_of(self._facts))
        days = {0: "no day stands out", 1: "1 day stands out"}.get(found, f"{found} days stand out")
        outliers = f"{days} from a site's own past"
        short = short_sites(self._facts)
        ending = outliers
        if short and not found:
            ending += f" (before some days of {len(short)} sites there is not enough history)"
        if not found and set(self._sites) <= {site or NO_SITE for site in self._facts.judgement.unjudged}:
            ending = "there is not enough history to tell days that stand out"
        money = said_money(cost, self._facts.settings.currency)
        return f"{who}: {said(book['all.calls'])} calls, {money} by today's tariff; {ending}."

    def facts(self) -> Iterable[tuple[str, str]]:
        """Short lines under the answer."""
        excluded = [one for one in self._facts.usage.excluded if one.month in self._facts.months]
        if excluded and not self._facts.only:
            told = ", ".join(f"{reason} {self._count(lines)}" for reason, lines in _by_reason(excluded).items())
            yield "No usage", f"legs that are counted nowhere: {told}"
        if not self._exact:
            yield "Small counts", "counts of 1 to 4 are shown as <5, and as * what would give them away; money is whole"

    def _count(self, lines: int) -> str:
        """A count in a sentence."""
        return f"{lines:,}" if self._exact or not 0 < lines < SMALL else Held.SMALL.value


def _by_reason(excluded: Iterable[ExcludedSum]) -> dict[str, int]:
    reasons: dict[str, int] = defaultdict(int)
    for one in excluded:
        reasons[one.reason] += one.lines
    return dict(reasons)


def outliers_of(facts: SiteFacts) -> list[Outlier]:
    """Days that stand out, of the sites that are reported."""
    return [one for one in facts.judgement.outliers if facts.only in (None, one.site or NO_SITE)]


def short_sites(facts: SiteFacts) -> list[str]:
    """Reported sites that have too short a past before some day."""
    return [site or NO_SITE for site in facts.judgement.too_short if facts.only in (None, site or NO_SITE)]


def outlier_section(book: Book, facts: SiteFacts) -> Section:
    """Days that stand out from the site's own past."""
    rows = []
    for number, one in enumerate(outliers_of(facts)):
        prefix = key_of("outlier", number)
        what = f"{one.site or NO_SITE}, {one.day}, {one.measure}"
        source = facts.usage.source
        minutes: tuple[Cell, Cell] = ("", "")
        money: tuple[Cell, Cell] = ("", "")
        for name, amount in (("value", one.value), ("usual", one.usual)):
            if one.measure is Measure.INTERNATIONAL:
                book.enter(
                    f"{prefix}.{name}.seconds", f"{what}, {name}, s", "seconds", amount, Evidence.MEASURED, source
                )
                book.compute(
                    f"{prefix}.{name}", f"{what}, {name}", "minutes", f"round({{{prefix}.{name}.seconds}} / 60, 2)"
                )
            else:
                book.enter(
                    f"{prefix}.{name}.atoms", f"{what}, {name}, exact", "atoms", amount, Evidence.MEASURED, source
                )
                formula = f"round({{{prefix}.{name}.atoms}} / {ATOMS_PER_UNIT}, 2)"
                book.compute(f"{prefix}.{name}", f"{what}, {name}", "money", formula)
        pair = (Ref(f"{prefix}.value"), Ref(f"{prefix}.usual"))
        if one.measure is Measure.INTERNATIONAL:
            minutes = pair
        else:
            money = pair
        z = book.enter(f"{prefix}.z", f"{what}, robust z", "score", Decimal(f"{one.z:.1f}"), Evidence.MODELLED, source)
        weeks = book.enter(f"{prefix}.weeks", f"{what}, weeks compared", "count", one.weeks, Evidence.MEASURED, source)
        rows.append(
            Row(
                (
                    f"{one.day:%a %Y-%m-%d}",
                    one.site or NO_SITE,
                    one.part.value,
                    one.measure.value,
                    *minutes,
                    *money,
                    Ref(z.key),
                    Ref(weeks.key),
                )
            )
        )
    short = short_sites(facts)
    notes = (
        [f"Not enough history (fewer than {LEAST_WEEKS} weeks) before some days: {'; '.join(short)}"] if short else []
    )
    none = "None was found." if not short else "None was found where there is enough history; see below."
    return Section(
        "outliers",
        "Days that stand out",
        f"Compared with the same weekday and part of the day of the weeks before; robust z of {HIGHEST_Z:.0f} or more. "
        + (none if not rows else "Look at the calls before you judge: a day may have its reason."),
        (
            Head("Day"),
            Head("Site"),
            Head("When"),
            Head("What"),
            Head("Minutes", "minutes"),
            Head("Usual", "minutes"),
            Head("Cost", "money"),
            Head("Usual", "money"),
            Head("Robust z", "score"),
            Head("Weeks", "count"),
        ),
        tuple(rows),
        tuple(notes),
    )
