"""What the estate states of costs: elements, allocation keys, baseline and invoices, each row with its line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from analytics.cost.elements import Baseline, Costs, Element, ElementKind, Invoice, KeyValue, PaysFor, Side
from analytics.cost.figures import Evidence
from collector.estate.cost_columns import BASELINE, ELEMENTS, EVERY_SITE, EVIDENCE, INVOICES, KEYS
from collector.estate.problems import EstateError, Problem, Problems, nearest, shown
from collector.estate.settings import read_settings
from collector.estate.table import Cells, TableFile, read_table
from collector.estate.tariffs import FOLDER, read_tariffs

Row = TypeVar("Row")

LONGEST_AMORTISATION = 600
"""Months."""
_MONTH = re.compile(r"(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])")
_BRACES = re.compile(r"[{}]")
_MONEY_PLACES = 8


def read_costs(root: Path, sites: Collection[str]) -> tuple[Costs, list[Problem]]:
    """Cost rows that can be used, and all problems by file and line. `sites` are those of sites.csv."""
    problems = Problems()

    def rows(declared: TableFile, make: Callable[[Cells], Row]) -> tuple[Row, ...]:
        made = ((cells, make(cells)) for cells in read_table(root, declared.name, declared, problems))
        return tuple(row for cells, row in made if cells.usable)

    keys = rows(KEYS, lambda cells: _key(cells, sites))
    known = {one.key for one in keys}
    costs = Costs(
        elements=rows(ELEMENTS, lambda cells: _element(cells, sites, known)),
        keys=keys,
        baselines=rows(BASELINE, lambda cells: _baseline(cells, sites)),
        invoices=rows(INVOICES, lambda cells: _invoice(cells, sites)),
    )
    _check_overlaps(costs, problems)
    _check_weights(keys, problems)
    return costs, list(problems)


def load_costs(root: Path, sites: Collection[str]) -> Costs:
    """Cost rows and the tariffs that can be used; EstateError names the first error of a cost row."""
    costs, problems = read_costs(root, sites)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1:,} more: callgauge estate check)" if len(errors) > 1 else ""
        raise EstateError(f"{root / str(errors[0].origin)}: {errors[0].sentence}{more}")
    if not (root / FOLDER).is_dir():
        return costs
    # What is wrong with settings and tariffs is said by those that rate by them.
    return replace(costs, tariffs=read_tariffs(root, read_settings(root, Problems()))[0])


def _site(cells: Cells, sites: Collection[str], also: str | None = None) -> str:
    site = cells.text("site")
    if site and site != also and site not in sites:
        cells.wrong("unknown_site", f"site {shown(site)} is not in sites.csv{nearest(site, sites)}")
    return site


def _key(cells: Cells, sites: Collection[str]) -> KeyValue:
    value = _not_negative(cells, "value")
    return KeyValue(
        cells.text("key"), _site(cells, sites), Decimal(0) if value is None else value, cells.validity(), cells.origin
    )


def _not_negative(cells: Cells, name: str) -> Decimal | None:
    number = cells.decimal(name)
    if number is not None and number < 0:
        cells.wrong("negative_number", f"{name} {number} is below 0")
    return number


def _money(cells: Cells, name: str) -> Decimal | None:
    amount = cells.decimal(name)
    if amount is not None and amount != round(amount, _MONEY_PLACES):
        cells.wrong("bad_number", f"{name} {amount} has more than {_MONEY_PLACES} decimals")
    return amount


def _share(cells: Cells, name: str) -> Decimal | None:
    share = cells.decimal(name)
    if share is not None and not 0 <= share <= 1:
        cells.wrong("bad_share", f"{name} {share} is not from 0 to 1")
    return share


def _ordered(cells: Cells, low: Decimal | None, middle: Decimal | None, high: Decimal | None, name: str) -> None:
    """Note bounds that do not hold what they bound."""
    given = [one for one in (low, middle, high) if one is not None]
    if given != sorted(given):
        cells.wrong("bounds_reversed", f"{name} is not between its low and high bounds")


def _element(cells: Cells, sites: Collection[str], keys: Collection[str]) -> Element:
    site = _site(cells, sites, EVERY_SITE)
    pays_for = cells.text("pays_for") and cells.word("pays_for", tuple(PaysFor))
    side = cells.word("side", tuple(Side))
    kind = cells.word("kind", tuple(ElementKind))
    evidence = cells.word("evidence", EVIDENCE)
    element = Element(
        side=Side(side) if side in tuple(Side) else Side.IP,
        site=None if site == EVERY_SITE else site,
        element=_BRACES.sub("", cells.text("element")),
        kind=ElementKind(kind) if kind in tuple(ElementKind) else ElementKind.FIXED,
        pays_for=PaysFor(pays_for) if pays_for in tuple(PaysFor) else None,
        amount=_money(cells, "amount"),
        evidence=Evidence(evidence) if evidence in EVIDENCE else Evidence.MISSING,
        origin=cells.origin,
        key=cells.optional("key"),
        alternatives=tuple(dict.fromkeys(cells.text("alternatives").split())),
        share=_share(cells, "share"),
        share_low=_share(cells, "share_low"),
        share_high=_share(cells, "share_high"),
        low=_money(cells, "low"),
        high=_money(cells, "high"),
        amortise_months=cells.whole("amortise_months"),
        source=cells.text("source"),
        valid=cells.validity(),
    )
    _check_element(cells, element, keys)
    return element


def _check_element(cells: Cells, element: Element, keys: Collection[str]) -> None:
    """Note what does not go together in one row."""
    missing = element.evidence is Evidence.MISSING
    if missing != (element.amount is None):
        sentence = "evidence is missing and an amount is stated" if missing else "no amount is stated: missing is not 0"
        cells.wrong("amount_and_evidence", sentence)
    if element.site is None and element.key is None:
        cells.wrong("no_key", "an amount of the whole estate (site *) needs an allocation key")
    if element.site is not None and (element.key or element.alternatives):
        cells.wrong("key_without_use", "an allocation key is for site * alone")
    for key in filter(None, (element.key, *element.alternatives)):
        if key not in keys:
            cells.wrong("unknown_key", f"allocation key {shown(key)} is not in keys.csv{nearest(key, keys)}")
    if element.kind is ElementKind.USAGE and element.side is Side.IP:
        cells.wrong("ip_usage", "call charges of the ip side come from rated calls, not from here")
    if element.kind is ElementKind.ONE_OFF and element.side is Side.LEGACY:
        cells.wrong("legacy_one_off", "one-off costs are the ip side's")
    if (element.kind is ElementKind.ONE_OFF or element.amortise_months) and element.valid.first is None:
        cells.wrong("no_begin", "a one-off or amortised amount needs valid_from")
    if element.amortise_months is not None and not 1 <= element.amortise_months <= LONGEST_AMORTISATION:
        cells.wrong("bad_number", f"amortise_months is not from 1 to {LONGEST_AMORTISATION}")
    if element.share is None and (element.share_low is not None or element.share_high is not None):
        cells.wrong("bounds_without_share", "bounds of the share are stated, and no share")
    _ordered(cells, element.low, element.amount, element.high, "amount")
    _ordered(cells, element.share_low, element.share, element.share_high, "share")
    if element.pays_for is None and element.kind is ElementKind.FIXED:
        cells.warn("no_pays_for", "the row does not say what it pays for: both sides cannot be held against each other")
    if element.evidence is Evidence.ESTIMATED and element.high is None:
        cells.warn("estimate_without_range", "an estimate without a highest amount: a range cannot be told")


def _baseline(cells: Cells, sites: Collection[str]) -> Baseline:
    baseline = Baseline(
        site=_site(cells, sites),
        minutes=_not_negative(cells, "baseline_minutes"),
        index_factor=_not_negative(cells, "index_factor"),
        index_series=cells.text("index_series"),
        origin=cells.origin,
        index_low=_not_negative(cells, "index_low"),
        index_high=_not_negative(cells, "index_high"),
        source=cells.text("source"),
        valid=cells.validity(),
    )
    _ordered(cells, baseline.index_low, baseline.index_factor, baseline.index_high, "index_factor")
    if baseline.index_factor is not None and not baseline.index_series:
        cells.warn("index_without_series", "the index factor does not say which series it comes from")
    return baseline


def _invoice(cells: Cells, sites: Collection[str]) -> Invoice:
    text, side = cells.text("month"), cells.word("side", tuple(Side))
    month = _MONTH.fullmatch(text)
    if month is None:
        cells.wrong("bad_month", f"month {shown(text)} is no month as YYYY-MM")
    return Invoice(
        month=int(month[1] + month[2]) if month else 0,
        side=Side(side) if side in tuple(Side) else Side.IP,
        site=_site(cells, sites) or None,
        minutes=_not_negative(cells, "minutes"),
        amount=_money(cells, "amount"),
        source=cells.text("source"),
        origin=cells.origin,
    )


def _check_overlaps(costs: Costs, problems: Problems) -> None:
    """Note rows that say the same thing for the same day: it would count twice."""
    groups: dict[tuple[object, ...], list[Element | KeyValue | Baseline]] = defaultdict(list)
    for element in costs.elements:
        groups["element", element.side, element.site, element.element].append(element)
    for value in costs.keys:
        groups["key", value.key, value.site].append(value)
    for baseline in costs.baselines:
        groups["baseline", baseline.site].append(baseline)
    for rows in groups.values():
        for index, row in enumerate(rows):
            twin = next((other for other in rows[:index] if other.valid.overlaps(row.valid)), None)
            if twin is not None:
                sentence = f"the same as on line {twin.origin.line}, for days that both rows hold"
                problems.error(row.origin, "stated_twice", sentence)


def _check_weights(keys: Collection[KeyValue], problems: Problems) -> None:
    """Note keys whose weights are all 0 on a day on which they have any: nothing can be placed by them."""
    by_name: dict[str, list[KeyValue]] = defaultdict(list)
    for one in keys:
        by_name[one.key].append(one)
    for name, rows in by_name.items():
        days = {one.valid.first or date.min for one in rows}
        days |= {one.valid.last + timedelta(days=1) for one in rows if one.valid.last not in (None, date.max)}
        for day in sorted(days):
            held = [one for one in rows if one.valid.holds(day)]
            if held and not any(one.value for one in held):
                since = "" if day == date.min else f" from {day}"
                sentence = f"all weights of the key {shown(name)} are 0{since}: nothing can be placed by it"
                problems.error(held[0].origin, "weights_all_0", sentence)
                break
