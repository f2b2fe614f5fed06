"""The costs report: what each site costs in a month, element by element and class by class."""

from __future__ import annotations

from collections.abc import Sequence

from analytics.cost.charges import UNPRICED, said_lines, unpriced_lines
from analytics.cost.document import Cell, Document, Head, Plot, Ref, Row, Section, Shape
from analytics.cost.elements import ElementKind, Side
from analytics.cost.figures import Book
from analytics.cost.lines import NO_SITE, Line
from analytics.cost.months import spoken
from analytics.cost.names import key_of, sum_of
from analytics.cost.statement import CostFacts, SiteMonth, month_statement, open_parts
from analytics.cost.terms import TARIFFS, rounding_of, said_mix
from analytics.cost.usage_sections import NO_SITE_NAME, class_charges, unrated
from analytics.cost.words import said_list, said_money

_TODAY = (ElementKind.FIXED, ElementKind.ONE_OFF)
_BILLED = (ElementKind.FIXED, ElementKind.USAGE)


def costs_document(facts: CostFacts, month: int, site: str | None = None) -> Document:
    """Describe what all sites, or one, cost in a month (yyyymm) as a report."""
    book = Book()
    statement = month_statement(book, facts, month)
    sites = [one for one in statement.sites if site in (None, one.site) and (one.lines or one.usage)]
    totals = _enter_totals(book, sites)
    made = (
        _sites(book, sites, totals),
        _elements(book, sites, Side.IP, totals["elements"]),
        class_charges(book, sites),
        _elements(book, sites, Side.LEGACY, totals["billed"]),
        unrated(book, facts.usage, {month}, site),
    )
    count = sum(one.site != NO_SITE for one in sites)
    where = site or f"{count:,} site{'s' if count != 1 else ''}"
    return Document(
        name="costs",
        title=f"Costs, {where}, {spoken(month)}",
        sentence=_answer(book, facts, sites, totals, f"{where}, {spoken(month)}"),
        facts=tuple(_facts(book, facts, sites, totals)),
        sections=made,
        book=book,
        currency=facts.settings.currency,
        sources=facts.sources,
    )


def _facts(book: Book, facts: CostFacts, sites: Sequence[SiteMonth], totals: dict[str, str]) -> list[tuple[str, str]]:
    """Short lines under the answer."""
    mix = said_mix(facts.settings, sites[0].vat) if sites else ""
    calls = f"{said_money(book.value(totals['ip_calls']), facts.settings.currency)} by the tariff of today"
    lines = sum(unpriced_lines(site.usage, "ip") for site in sites)
    if lines:
        calls += f", but for {said_lines(lines)}"
    told = [("VAT", mix or "all amounts are without it"), ("Calls", calls)]
    if sites:
        rounded = [rounding_of(facts.costs, facts.settings, tariff, sites[0].month) for tariff in TARIFFS]
        said = [f"{rounding.name.lower().replace('_', ' ')} by {version}" for rounding, version in rounded if version]
        if said:
            told.append(("Rounding", f"call charges {', '.join(said)}; all else half up"))
    parts = open_parts(facts, sites)
    if parts:
        told.append(("Open for a part", f"{said_list(parts)}: cost elements count for these days"))
    return told


def _enter_totals(book: Book, sites: Sequence[SiteMonth]) -> dict[str, str]:
    """Enter the sums of the sites' lines: of what is known; the rows say what is missing."""
    labels = {
        "elements": "IP cost elements",
        "ip_calls": "Call charges today",
        "ip": "IP actual",
        "billed": "Legacy as billed",
    }
    keys = {}
    for name, label in labels.items():
        key = keys[name] = key_of("all", name)
        book.compute(key, f"{label}, all", "money", sum_of([site.key(name) for site in sites]))
    return keys


def _answer(book: Book, facts: CostFacts, sites: Sequence[SiteMonth], totals: dict[str, str], what: str) -> str:
    value = book.value(totals["ip"])
    if not sites:
        return f"Nothing is known of {what}."
    if value is None and sites[0].vat:
        return f"What {what} cost is not added up: {said_mix(facts.settings, sites[0].vat)}."
    if value is None:
        gaps = [_name(site) for site in sites if book.value(site.key("ip")) is None]
        return f"What {what} cost is not known in full: something is missing at {said_list(gaps)}."
    lines = sum(unpriced_lines(site.usage, "ip") for site in sites)
    less = f" Not in it: {said_lines(lines)}." if lines else ""
    return f"{said_money(value, facts.settings.currency)}: {what}, cost elements and calls.{less}"


def _name(site: SiteMonth) -> str:
    return NO_SITE_NAME if site.site == NO_SITE else site.site


def _sites(book: Book, sites: Sequence[SiteMonth], totals: dict[str, str]) -> Section:
    names = ("elements", "ip_calls", "ip", "billed")
    rows = [Row((_name(site), *(Ref(site.key(name)) for name in names)), note=_note(book, site)) for site in sites]
    rows.append(Row(("All", *(Ref(totals[name]) for name in names)), total=True))
    heads = (
        Head("Site"),
        Head("IP cost elements", "money"),
        Head("Call charges", "money"),
        Head("IP actual", "money"),
        Head("Legacy as billed", "money"),
    )
    return Section(
        "sites",
        "Site by site",
        "Totals are sums of the lines.",
        heads,
        tuple(rows),
        plot=Plot(Shape.BARS, columns=(3,)),
    )


def _note(book: Book, site: SiteMonth) -> str:
    """Say why a site's cost is not known, or which part of it."""
    lines = unpriced_lines(site.usage, "ip")
    return book[site.key("ip")].why or (f"{UNPRICED} are not in it" if lines else "")


def _elements(book: Book, sites: Sequence[SiteMonth], side: Side, total: str) -> Section:
    """Cost elements of a side, site by site, each with how well it is known."""
    rows: list[Row] = []
    for site in sites:
        for line in site.of(side, *(_TODAY if side is Side.IP else _BILLED)):
            rows.append(_element_row(book, line, _name(site)))
    rows.append(Row(("All", "", "", "", Ref(total)), total=True))
    heads = (Head("Site"), Head("Element"), Head("Evidence"), Head("Key"), Head("Amount", "money"))
    today = side is Side.IP
    return Section(
        "elements" if today else "legacy",
        "Cost elements today" if today else "The legacy bill",
        "What is placed by a key adds up to its amount over all sites."
        if today
        else "As billed in the baseline, at its prices.",
        heads,
        tuple(rows),
    )


def _element_row(book: Book, line: Line, site: str) -> Row:
    figure = book[line.key]
    cells: tuple[Cell, ...] = (site, line.element.element, str(figure.evidence), line.element.key or "", Ref(line.key))
    note = str(line.element.origin) + (f": {line.element.source}" if line.element.source else "")
    return Row(cells, note=note)
