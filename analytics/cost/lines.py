"""Lines: what of each cost element falls on each site in a month, as figures with their formulas.

A part of a month counts by its days. Capital is spread so that its months add up to it to the penny. An amount of the
whole estate is placed over the sites by its key, by largest remainder, so that the shares add up to it; every other
key that might be used, and the bounds of an estimate, give the line its range.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from analytics.cost.allocation import place
from analytics.cost.elements import Costs, Element, ElementKind, KeyValue
from analytics.cost.figures import Book, Evidence, weakest
from analytics.cost.money import round_money
from analytics.cost.months import days_held, days_of, last_day, month_of, months_between, spoken
from analytics.cost.names import key_of, one_part
from analytics.sites import Site, Validity

NO_SITE = "*"
"""Stands for the site of what can be put at none."""


class End(StrEnum):
    """Which value of an uncertain amount is meant."""

    POINT = ""
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Line:
    """One element at one site in one month: keys of its figures."""

    month: int
    site: str
    element: Element
    key: str
    low: str
    """Lowest, by the stated allocation key; `key` itself where the amount is certain."""
    high: str
    range_low: str
    """Lowest over all allocation keys as well."""
    range_high: str
    by_key: tuple[tuple[str, str], ...] = ()
    """Low and high by each allocation key, the stated one first; empty where there is no other key."""


def name_of(element: Element) -> str:
    """Return the name of an element in keys of figures: two rows may say the same one for different days."""
    return one_part(f"{element.element}@{element.origin.line}")


def element_lines(book: Book, costs: Costs, month: int, sites: Iterable[Site] = ()) -> list[Line]:
    """Enter the figures of all elements that a month holds, and return their lines.

    An element of a site counts on the days on which its site, one of `sites`, is there; of a site that is not among
    them, always.
    """
    there: dict[str, list[Validity]] = defaultdict(list)
    for site in sites:
        there[site.site].append(site.valid)
    lines = []
    for element in costs.elements:
        if not held(element, month):
            continue
        if element.site is None:
            lines += _allocated(book, costs.keys, element, month)
            continue
        days = days_there(element, there.get(element.site, ()), month)
        if days:
            lines.append(_of_site(book, element, element.site, month, days))
    return lines


def days_there(element: Element, there: Sequence[Validity], month: int) -> int:
    """Return on how many days of a month an element holds and its site is there; `there` empty: it always is.

    What is scaled by minutes is not cut by its site's days as well; what is spread over months, or paid once, is not
    cut by its own.
    """
    if element.kind is ElementKind.USAGE:
        is_there = not there or any(days_held(one, month) for one in there)
        return days_held(element.valid, month) if is_there else 0
    valid = Validity() if element.kind is ElementKind.ONE_OFF or element.amortise_months else element.valid
    return sum(days_held(_both(valid, one), month) for one in there or (Validity(),))


def _both(one: Validity, other: Validity) -> Validity:
    """Return the days that two validities share."""
    first = max(filter(None, (one.first, other.first)), default=None)
    last = min(filter(None, (one.last, other.last)), default=None)
    return Validity(first, last)


def held(element: Element, month: int) -> bool:
    """Whether an element costs anything in a month."""
    first = element.valid.first
    if element.kind is ElementKind.ONE_OFF or element.amortise_months:
        if first is None:
            return False
        age = months_between(month_of(first), month)
        spread = element.amortise_months or 1
        return 0 <= age < spread and days_held(element.valid, month) > 0
    return days_held(element.valid, month) > 0


def _of_site(book: Book, element: Element, site: str, month: int, days: int) -> Line:
    prefix, label = key_of(month, one_part(site), element.side, name_of(element)), f"{element.element}, {site}"
    point, low, high = (_month_amount(book, element, prefix, label, month, end, days) for end in End)
    return Line(month, site, element, point, low, high, low, high)


def _allocated(book: Book, keys: Sequence[KeyValue], element: Element, month: int) -> list[Line]:
    prefix = key_of(month, f"#{element.side}", name_of(element))
    pools = [_month_amount(book, element, prefix, element.element, month, end) for end in End]
    names = (element.key or "", *element.alternatives)
    weights = {name: _weights(book, keys, name, month) for name in names}
    sites = sorted({site for name in names for site in weights[name]})
    if not sites:
        return [Line(month, NO_SITE, element, pools[0], pools[1], pools[2], pools[1], pools[2])]
    point, low, high = (_placed(book, element, pool, weights, names[0], sites, month) for pool in pools)
    if len(names) == 1:
        return [Line(month, site, element, point[site], low[site], high[site], low[site], high[site]) for site in sites]
    others = [
        (
            _placed(book, element, pools[1], weights, name, sites, month),
            _placed(book, element, pools[2], weights, name, sites, month),
        )
        for name in names[1:]
    ]
    return [
        _over_keys(book, Line(month, site, element, point[site], low[site], high[site], "", ""), others)
        for site in sites
    ]


def _over_keys(book: Book, line: Line, others: Sequence[tuple[dict[str, str], dict[str, str]]]) -> Line:
    """Give a line its range over the other allocation keys."""
    by_key = ((line.low, line.high), *((low[line.site], high[line.site]) for low, high in others))
    label = f"{line.element.element}, {line.site}, over the allocation keys"
    lowest = ", ".join(f"{{{low}}}" for low, _ in by_key)
    highest = ", ".join(f"{{{high}}}" for _, high in by_key)
    range_low = book.compute(f"{line.key}.lowest", f"{label}, lowest", "money", f"min({lowest})").key
    range_high = book.compute(f"{line.key}.highest", f"{label}, highest", "money", f"max({highest})").key
    return replace(line, range_low=range_low, range_high=range_high, by_key=by_key)


def _amount_and_share(element: Element, end: End) -> tuple[Decimal | None, Decimal | None]:
    """What an element is taken for at one end: amount and share; no amount where that end is not known."""
    if end is End.POINT:
        return element.amount, element.share
    if end is End.LOW:
        certain = Decimal(0) if element.uncertain else element.amount
        amount = certain if element.low is None else element.low
    else:
        certain = None if element.uncertain else element.amount
        amount = certain if element.high is None else element.high
    small = element.share if element.share_low is None else element.share_low
    large = element.share if element.share_high is None else element.share_high
    # A credit is lowest where most of it is taken.
    credit = amount is not None and amount < 0
    return amount, small if (end is End.LOW) != credit else large


def _month_amount(
    book: Book, element: Element, prefix: str, label: str, month: int, end: End, days: int | None = None
) -> str:
    """Enter what an element costs in a month, before it is allocated; return the figure's key.

    `days`: on so many the element holds and its site is there; None: all on which the element holds.
    """
    amount, share = _amount_and_share(element, end)
    if end is not End.POINT and (amount, share) == (element.amount, element.share):
        return prefix
    key = f"{prefix}.{end}" if end else prefix
    shown = f"{label}, {end}" if end else label
    source = f"{element.origin}: {element.source}" if element.source else str(element.origin)
    if amount is None:
        why = f"{element.element} is {element.evidence}"
        why += "" if end is End.POINT else " and no highest amount is stated"
        return book.miss(key, shown, "money", f"{why} ({element.origin})", source).key
    spread = _spread(element, month, days_held(element.valid, month) if days is None else days)
    evidence = element.evidence if end is End.POINT else Evidence.ESTIMATED
    if share is None and spread == "{}" and amount == round(amount, 2):
        return book.enter(key, f"{shown}, {spoken(month)}", "money", amount, evidence, source).key
    stated = book.enter(f"{key}.stated", f"{shown}, as stated", "money", amount, evidence, source).key
    formula = spread.replace("{}", f"{{{stated}}}")
    if share is not None:
        bounded = element.share_low is not None or element.share_high is not None
        known = Evidence.ESTIMATED if bounded else Evidence.ALLOCATED
        part = book.enter(f"{key}.share", f"{shown}, share that is voice", "ratio", share, known, source).key
        formula = f"round(({formula}) * {{{part}}}, 2)"
    elif not element.amortise_months:
        # Spread capital is rounded already, and its months must stay what adds up to it.
        formula = f"round({formula}, 2)"
    return book.compute(key, f"{shown}, {spoken(month)}", "money", formula).key


def _spread(element: Element, month: int, days: int) -> str:
    """Return the formula of a month's part of an amount, with `{}` for the amount."""
    first, whole = element.valid.first, days_of(month)
    if element.amortise_months and first is not None:
        age, months = months_between(month_of(first), month), element.amortise_months
        part = f"round({{}} * {age + 1} / {months}, 2) - round({{}} * {age} / {months}, 2)"
        # Its own days do not cut it: only its site's do, when it closes before the capital is paid off.
        return part if element.site is None or days == whole else f"round(({part}) * {days} / {whole}, 2)"
    if element.kind is ElementKind.ONE_OFF or days == whole:
        return "{}"
    return f"{{}} * {days} / {whole}"


def _weights(book: Book, keys: Iterable[KeyValue], name: str, month: int) -> dict[str, str]:
    """Enter a key's values on the last day of a month; return the figures' keys by site."""
    day = last_day(month)
    figures: dict[str, str] = {}
    for value in keys:
        if value.key != name or not value.valid.holds(day):
            continue
        key = key_of(month, "#key", one_part(name), one_part(value.site))
        if key not in book:
            book.enter(key, f"{name}, {value.site}", "count", value.value, Evidence.MEASURED, str(value.origin))
        figures[value.site] = key
    total = key_of(month, "#key", one_part(name), "")
    if total not in book:
        if figures:
            formula = f"sum({', '.join(f'{{{key}}}' for key in figures.values())})"
            if any(book.value(key) for key in figures.values()):
                book.compute(total, f"{name}, all sites", "count", formula)
            else:
                book.miss(total, f"{name}, all sites", "count", f"all weights of the key {name} are 0 on {day}")
        else:
            book.miss(total, f"{name}, all sites", "count", f"no value of the key {name} holds on {day}")
    return figures


def _placed(
    book: Book,
    element: Element,
    pool: str,
    weights: dict[str, dict[str, str]],
    name: str,
    sites: Sequence[str],
    month: int,
) -> dict[str, str]:
    """Enter each site's share of an amount by one key; return the figures' keys by site."""
    figures, whole = weights[name], key_of(month, "#key", one_part(name), "")
    values = [(book.value(figures[site]) or Decimal(0)) if site in figures else Decimal(0) for site in sites]
    amount = book.value(pool)
    shares = place(amount, values) if amount is not None and sum(values) > 0 else None
    by = f"by {name}" if name != element.key else ""
    end = pool.removeprefix(key_of(month, f"#{element.side}", name_of(element)))
    placed = {}
    for index, site in enumerate(sites):
        key = key_of(month, one_part(site), element.side, name_of(element), *filter(None, [one_part(by)])) + end
        placed[site] = key
        if key in book:
            continue
        label = " ".join(filter(None, (f"{element.element}, {site}", by, end.strip("."))))
        formula = f"round({{{pool}}} * {{{figures[site]}}} / {{{whole}}}, 2)" if site in figures else f"0 * {{{pool}}}"
        if shares is not None and amount is not None and site in figures:
            formula += penny(shares[index], amount * values[index] / sum(values))
        evidence = weakest(iter((book[pool].evidence, Evidence.ALLOCATED)))
        book.compute(key, f"{label}, {spoken(month)}", "money", formula, evidence)
    return placed


def penny(placed: Decimal, exact: Decimal) -> str:
    """Return what placing adds to an amount that is rounded by itself, as a formula's end: nothing, or a penny."""
    off = placed - round_money(exact)
    return "" if not off else f" {'+' if off > 0 else '-'} {abs(off)}"
