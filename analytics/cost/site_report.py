"""What each site did: calls, minutes and cost by class, channels busy and needed, bad quality, days that stand out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from analytics.cost.allocation import place_parts
from analytics.cost.channels import enter_channels
from analytics.cost.counts import Counts, name_part, said
from analytics.cost.disclosure import Held
from analytics.cost.document import Cell, Document, Head, Plot, Ref, Row, Section, Shape
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import penny
from analytics.cost.money import ATOMS_PER_UNIT, from_atoms
from analytics.cost.months import spoken_span
from analytics.cost.names import key_of, sum_of
from analytics.cost.outliers import HIGHEST_Z, LEAST_WEEKS, Judgement, Measure, Outlier
from analytics.cost.traffic import Traffic
from analytics.cost.words import said_money
from analytics.sites import EstateSettings, Site, Trunk
from analytics.store.cost_queries import ExcludedSum, Usage, UsageSum
from analytics.store.site_queries import QualitySum

NO_SITE = "no site"
_AS_CALLS = "not told, as the number of calls is not"
WAYS = ("outside", "inbound", "internal")
"""Calls to the public network, calls from it, and calls within the estate."""
_WAY_OF = {"outbound": "outside", "inbound": "inbound"}


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


@dataclass(frozen=True, slots=True)
class _Cell:
    """Calls of one site, way and class."""

    site: str
    way: str
    number_class: str

    def key(self, measure: str) -> str:
        return key_of("class", self.site, self.way, self.number_class, measure)

    @property
    def label(self) -> str:
        return f"{self.site}, {self.number_class}"


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
        self._sums: dict[_Cell, list[UsageSum]] = defaultdict(list)
        for one in facts.usage.sums:
            site = one.site or NO_SITE
            if one.month in facts.months and facts.only in (None, site):
                way = _WAY_OF.get(one.kind, "internal")
                self._sums[_Cell(site, way, one.number_class or way)].append(one)
        self._cells = sorted(
            self._sums, key=lambda cell: (cell.site == NO_SITE, cell.site, cell.way, cell.number_class)
        )
        self._sites = list(dict.fromkeys(cell.site for cell in self._cells))
        self._classes = sorted({(cell.way, cell.number_class) for cell in self._cells})

    def named(self, traffic: Mapping[str | None, Traffic]) -> dict[str, Traffic]:
        """Traffic by the name of its site, those that are reported."""
        found = {site or NO_SITE: one for site, one in traffic.items()}
        return {site: found[site] for site in sorted(found) if self._facts.only in (None, site)}

    def of(self, site: str | None = None, way: str | None = None, number_class: str | None = None) -> list[_Cell]:
        """Cells of a site, a way, a class, or all."""
        return [
            cell
            for cell in self._cells
            if site in (None, cell.site) and way in (None, cell.way) and number_class in (None, cell.number_class)
        ]

    def enter(self) -> None:
        """Enter calls, minutes and cost of all cells and of what they add up to."""
        self._costs()
        counts = Counts(self._facts.usage.source)
        for cell in self._cells:
            counts.add(cell.key("calls"), f"{cell.label}, calls", sum(one.lines for one in self._sums[cell]))
        for key, label, cells in self._totals():
            counts.add_sum(f"{key}.calls", f"{label}, calls", [cell.key("calls") for cell in cells])
        for site in self._sites:
            counts.bind(*(key_of("site", site, way, "calls") for way in WAYS), key_of("site", site, "calls"))
        self._quality_counts(counts)
        self._held = counts.enter(self._book, exact=self._exact)
        self._minutes()
        for key, label, cells in self._totals():
            self._book.compute(
                f"{key}.cost", f"{label}, cost today", "money", sum_of([cell.key("cost") for cell in cells])
            )

    def _totals(self) -> list[tuple[str, str, list[_Cell]]]:
        """What cells add up to: prefix of the figures, label, cells."""
        totals = [
            (key_of("site", site, way), f"{site}, {way}", self.of(site, way)) for site in self._sites for way in WAYS
        ]
        totals += [(key_of("site", site), site, self.of(site)) for site in self._sites]
        totals += [
            (key_of("class", way, name), f"all sites, {name}", self.of(None, way, name)) for way, name in self._classes
        ]
        totals += [(key_of("all", way), f"all sites, {way}", self.of(None, way)) for way in WAYS]
        return [*totals, ("all", "all sites", self.of())]

    def _costs(self) -> None:
        """Enter the cost of each cell: a site's month is rounded once, its classes are placed to add up to it."""
        for site in self._sites:
            keys: dict[_Cell, list[str]] = defaultdict(list)
            for month in self._facts.months:
                parts = {
                    cell: sum(one.ip_atoms for one in self._sums[cell] if one.month == month) for cell in self.of(site)
                }
                line = from_atoms(sum(parts.values()))
                exact = [Fraction(atoms, ATOMS_PER_UNIT) for atoms in parts.values()]
                for (cell, atoms), placed in zip(parts.items(), place_parts(line, exact), strict=True):
                    keys[cell].append(self._cost(cell, month, atoms, placed))
            for cell, parts_of in keys.items():
                self._book.compute(cell.key("cost"), f"{cell.label}, cost today", "money", sum_of(parts_of))

    def _cost(self, cell: _Cell, month: int, atoms: int, placed: Decimal) -> str:
        key = f"{month}.{cell.key('cost')}"
        label = f"{cell.label}, cost today, {month}"
        self._book.enter(f"{key}.atoms", f"{label}, exact", "atoms", atoms, Evidence.MEASURED, self._facts.usage.source)
        formula = f"round({{{key}.atoms}} / {ATOMS_PER_UNIT}, 2)"
        ending = penny(placed, Decimal(atoms) / ATOMS_PER_UNIT)
        self._book.compute(key, label, "money", formula + ending)
        return key

    def _minutes(self) -> None:
        """Enter minutes; where the calls are held back, so are they."""
        for cell in self._cells:
            seconds = sum(one.seconds for one in self._sums[cell])
            self._of_calls(cell.key("minutes"), f"{cell.label}, minutes", "minutes", cell.key("calls"), seconds)
        for key, label, cells in self._totals():
            parts = [cell.key("minutes") for cell in cells]
            if any(part in self._book and self._book.value(part) is None for part in parts):
                seconds = sum(one.seconds for cell in cells for one in self._sums[cell])
                calls = f"{key}.calls"
                self._of_calls(f"{key}.minutes", f"{label}, minutes", "minutes", calls, seconds)
            else:
                self._book.compute(f"{key}.minutes", f"{label}, minutes", "minutes", sum_of(parts))

    def _of_calls(self, key: str, label: str, unit: str, calls: str, seconds: int) -> None:
        """Enter minutes of calls, held back where their count is."""
        source = self._facts.usage.source
        if calls in self._held:
            self._book.hold_back(key, label, unit, Evidence.MEASURED, Held.COMPLEMENT.value, _AS_CALLS, source)
            return
        self._book.enter(f"{key}.seconds", f"{label}, as seconds", "seconds", seconds, Evidence.MEASURED, source)
        self._book.compute(key, label, unit, f"round({{{key}.seconds}} / 60, 2)")

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
        without = sum(one.ip_unrated_lines for cell in self.of(site) for one in self._sums[cell])
        if not without:
            return ""
        told = f"{without:,} calls" if self._exact or without >= 5 else "some calls"
        return f"{told} without a price: not in the cost"

    def class_section(self) -> Section:
        """One line a class over all sites."""
        measures = ("calls", "minutes", "cost")
        prefixes = [(name, key_of("class", way, name)) for way, name in self._classes]
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
        rows = [Row((cell.site, cell.number_class, *(Ref(cell.key(one)) for one in measures))) for cell in self._cells]
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

    def _quality_counts(self, counts: Counts) -> None:
        for one in self._quality():
            site = one.site or NO_SITE
            for measure in ("known", "poor", "dropped", "redials"):
                counts.add(key_of("quality", name_part(site), measure), f"{site}, {measure}", getattr(one, measure))
        for measure in ("known", "poor", "dropped", "redials"):
            keys = [key_of("quality", name_part(one.site or NO_SITE), measure) for one in self._quality()]
            counts.add_sum(f"quality.#all.{measure}", f"all sites, {measure}", keys)

    def quality_section(self) -> Section:
        """What bad quality cost: calls that only repeat a poor or dropped one."""
        book, source = self._book, self._facts.usage.source
        measures = ("known", "poor", "dropped", "redials", "minutes", "cost")
        rows, minutes, costs = [], [], []
        for one in self._quality():
            site = one.site or NO_SITE
            prefix = key_of("quality", name_part(site))
            calls = f"{prefix}.redials"
            self._of_calls(f"{prefix}.minutes", f"{site}, minutes of repeats", "minutes", calls, one.redial_seconds)
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
            minutes.append(f"{prefix}.minutes")
            costs.append(f"{prefix}.cost")
            note = "" if not one.redials_unrated else "some repeats have no price"
            rows.append(Row((site, *(Ref(f"{prefix}.{measure}") for measure in measures)), note=note))
        if any(book.value(key) is None for key in minutes):
            seconds = sum(one.redial_seconds for one in self._quality())
            calls = "quality.#all.redials"
            self._of_calls("quality.#all.minutes", "all sites, minutes of repeats", "minutes", calls, seconds)
        else:
            book.compute("quality.#all.minutes", "all sites, minutes of repeats", "minutes", sum_of(minutes))
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
        if not self._cells or cost is None:
            return "No calls are known."
        who = self._facts.only or f"{len([site for site in self._sites if site != NO_SITE])} sites"
        found = len(outliers_of(self._facts))
        days = {0: "no day stands out", 1: "1 day stands out"}.get(found, f"{found} days stand out")
        outliers = f"{days} from a site's own past"
        short = len(self._facts.judgement.too_short)
        ending = outliers if found or not short else "there is not enough history to tell days that stand out"
        money = said_money(cost, self._facts.settings.currency)
        return f"{who}: {said(book['all.calls'])} calls, {money} by today's tariff; {ending}."

    def facts(self) -> Iterable[tuple[str, str]]:
        """Short lines under the answer."""
        excluded = [one for one in self._facts.usage.excluded if one.month in self._facts.months]
        if excluded and not self._facts.only:
            told = ", ".join(f"{reason} {lines:,}" for reason, lines in _by_reason(excluded).items())
            yield "No usage", f"legs that are counted nowhere: {told}"
        if not self._exact:
            yield "Small counts", "counts of 1 to 4 are shown as <5, and as * what would give them away; money is whole"


def _by_reason(excluded: Iterable[ExcludedSum]) -> dict[str, int]:
    reasons: dict[str, int] = defaultdict(int)
    for one in excluded:
        reasons[one.reason] += one.lines
    return dict(reasons)


def outliers_of(facts: SiteFacts) -> list[Outlier]:
    """Days that stand out, of the sites that are reported."""
    return [one for one in facts.judgement.outliers if facts.only in (None, one.site or NO_SITE)]


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
    short = [site or NO_SITE for site in facts.judgement.too_short if facts.only in (None, site or NO_SITE)]
    notes = [f"Not enough history (fewer than {LEAST_WEEKS} weeks): {', '.join(short)}"] if short else []
    return Section(
        "outliers",
        "Days that stand out",
        f"Compared with the same weekday and part of the day of the weeks before; robust z of {HIGHEST_Z:.0f} or more. "
        + ("None was found." if not rows else "Look at the calls before you judge: a day may have its reason."),
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
