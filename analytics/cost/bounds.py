"""The range of a saving: what is estimated, missing, unrated or placed by a key could be other than it was taken for.

A saving only falls with today's cost and only rises with the legacy cost, and each of those only rises with each of its
elements. So the lowest saving has every legacy element at its low end and every element of today at its high end: no
combinations need be tried. Allocation keys move money between sites; over all sites their shares add up to the same
amount, so the total keeps its range unless a site that takes a share is left out.

A line without a price costs at least nothing. At most it costs what the highest price and the highest fees of its
tariff would make of it: an assumption, which the report states. Calls between sites are billed or carried where private
circuits were paid for and the estate does not say which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analytics.cost.charges import UNPRICED, unpriced_lines, unpriced_seconds
from analytics.cost.disclosure import SMALL
from analytics.cost.elements import ElementKind, Side
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import Line
from analytics.cost.money import ATOMS_PER_UNIT
from analytics.cost.months import spoken
from analytics.cost.names import key_of, one_part, sum_of
from analytics.cost.number_classes import INTERSITE
from analytics.cost.statement import (
    TOTALS,
    CostFacts,
    MonthStatement,
    SiteMonth,
    Standing,
    chargeable,
    rerated_cost,
    scaled_usage,
)
from analytics.cost.terms import TARIFFS, highest_price, said_mix, tariff_name
from analytics.sites import EstateSettings, IntersiteCalls

RANGED = ("ip", "m1", "m2")
"""Names of the figures that have a range."""
IN_RANGE = (Standing.COMPARED, Standing.INCOMPLETE, Standing.NOWHERE)
"""Standings of the range over all sites."""
IN_POINT = (Standing.COMPARED, Standing.NOWHERE)
"""Standings of the point, and of the range that stands beside it."""


@dataclass(frozen=True, slots=True)
class Range:
    """Keys of the lowest and the highest figure, by name."""

    low: Mapping[str, str]
    high: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Between:
    """How calls between sites are counted in a month."""

    calls: IntersiteCalls
    in_doubt: bool
    """Counted as billed, and perhaps carried: a private circuit was paid for, and the estate does not say which."""


def between(statement: MonthStatement, settings: EstateSettings) -> Between:
    """Return how calls between sites are counted in a month."""
    billed = settings.intersite_calls is IntersiteCalls.CHARGED and not settings.intersite_stated
    return Between(settings.intersite_calls, billed and bool(private_circuits(statement.standing(*IN_RANGE))))


def private_circuits(sites: Sequence[SiteMonth]) -> list[str]:
    """Return legacy elements that pay for a network: they may have carried the calls between sites."""
    lines = [line for site in sites for line in site.of(Side.LEGACY, ElementKind.FIXED)]
    return list(dict.fromkeys(line.element.element for line in lines if line.element.pays_for == "network"))


@dataclass(frozen=True, slots=True)
class _Ends:
    """How one end of a site's figures is named and made."""

    name: str
    """`low`, `high` by the stated keys; `lowest`, `highest` over all keys."""
    high: bool

    def of(self, line: Line) -> str:
        """Key of a line at this end."""
        by_name = {"low": line.low, "high": line.high, "lowest": line.range_low, "highest": line.range_high}
        return by_name[self.name]


def site_range(book: Book, site: SiteMonth, intersite: Between, *, over_keys: bool) -> Range:
    """Enter the range of a site in a month: by the stated allocation keys, or over all of them."""
    if over_keys and not any(line.by_key for line in site.lines):
        over_keys = False
    low = _Ends("lowest" if over_keys else "low", high=False)
    high = _Ends("highest" if over_keys else "high", high=True)
    return Range(_end(book, site, intersite, low), _end(book, site, intersite, high))


def _end(book: Book, site: SiteMonth, intersite: Between, end: _Ends) -> dict[str, str]:
    ip = _sum_end(book, site, "elements", site.of(Side.IP, ElementKind.FIXED, ElementKind.ONE_OFF), end)
    calls = _today_end(book, site, end)
    if "ip" in site.vat or (ip, calls) == (site.key("elements"), site.key("ip_calls")):
        found = {"ip": site.key("ip")}
    else:
        found = {"ip": _compute(book, site, "ip", end, f"{{{ip}}} + {{{calls}}}")}
    fixed = _sum_end(book, site, "fixed", site.of(Side.LEGACY, ElementKind.FIXED), end)
    rerated = _rerated_end(book, site, intersite, end)
    if site.standing is Standing.NOWHERE:
        return {**found, **_nowhere(book, site, fixed, rerated, end)}
    index = _index_end(book, site, end)
    if book.value(index) is None and not end.high:
        nothing = _nothing(book, site, "legacy", end, "no index factor: at least nothing")
        return {**found, "m1": nothing, "m2": nothing}
    found["m1"] = _method_1_end(book, site, fixed, index, end, intersite)
    same = (fixed, rerated, index) == (site.key("fixed"), site.key("rerated.atoms"), site.key("index"))
    if same or "legacy" in site.vat:
        found["m2"] = site.key("m2")
    else:
        found["m2"] = _compute(book, site, "m2", end, rerated_cost(fixed, rerated, index))
    return found


def _compute(book: Book, site: SiteMonth, name: str, end: _Ends, formula: str) -> str:
    key = f"{site.key(name)}.{end.name}"
    if key in book:
        return key
    point = book[site.key(name)]
    return book.compute(key, f"{point.label}, {end.name}", point.unit, formula, Evidence.ESTIMATED).key


def _nothing(book: Book, site: SiteMonth, name: str, end: _Ends, source: str, unit: str = "money") -> str:
    key = f"{site.key(name)}.{end.name}"
    if key not in book:
        book.enter(key, f"{name} at {site.site}, {end.name}", unit, 0, Evidence.ESTIMATED, source)
    return key


def _sum_end(book: Book, site: SiteMonth, name: str, lines: Sequence[Line], end: _Ends) -> str:
    """Return the key of a sum of lines at one end; no lines are at least nothing, and at most not known."""
    if not lines:
        if book.value(site.key(name)) is not None or end.high:
            return site.key(name)
        return _nothing(book, site, name, end, "none is stated: at least nothing")
    keys = [end.of(line) for line in lines]
    if keys == [line.key for line in lines]:
        return site.key(name)
    return _compute(book, site, name, end, sum_of(keys))


def _today_end(book: Book, site: SiteMonth, end: _Ends) -> str:
    """Return the key of today's call charges at one end: at the high end with what lines without a price may cost."""
    point = site.key("ip_calls")
    lines = unpriced_lines(site.usage, "ip")
    if not lines:
        return point
    if not end.high:
        return point if book.value(point) is not None else _nothing(book, site, "ip_calls", end, UNPRICED)
    key = f"{point}.high"
    if key not in book:
        most = _at_most(book, site, point, "ip", lines, unpriced_seconds(site.usage, "ip"))
        priced = f"{{{point}}} + " if book.value(point) is not None else ""
        formula = f"round({priced}{{{most}}} / {ATOMS_PER_UNIT}, 2)"
        book.compute(key, f"{book[point].label}, high", "money", formula, Evidence.ESTIMATED)
    return key


def _rerated_end(book: Book, site: SiteMonth, intersite: Between, end: _Ends) -> str:
    """Return the key of the exact re-rated charges at one end."""
    point, sums = site.key("rerated.atoms"), chargeable(site.usage, intersite.calls)
    lines = unpriced_lines(sums, "legacy")
    if end.high:
        key = f"{point}.high"
        if not lines or key in book:
            return key if lines else point
        most = _at_most(book, site, site.key("rerated"), "legacy", lines, unpriced_seconds(sums, "legacy"))
        priced = f"{{{point}}} + " if book.value(point) is not None else ""
        return book.compute(key, f"{book[point].label}, high", "atoms", f"{priced}{{{most}}}", Evidence.ESTIMATED).key
    if book.value(point) is None:
        return _nothing(book, site, "rerated.atoms", end, UNPRICED, "atoms")
    billed = f"{site.key('rerated')}.{INTERSITE}.atoms"
    if not intersite.in_doubt or billed not in book:
        return point
    key = f"{point}.low"
    if key not in book:
        label = f"{book[point].label}, without calls between sites"
        book.compute(key, label, "atoms", f"{{{point}}} - {{{billed}}}", Evidence.ESTIMATED)
    return key


def _at_most(book: Book, site: SiteMonth, name: str, tariff: str, lines: int, seconds: int) -> str:
    """Return the key of what lines without a price cost at most by the highest price of their tariff [atoms]."""
    key, label, source = f"{name}.unrated", book[name].label, book[site.key("seconds")].source
    if f"{key}.atoms" in book:
        return f"{key}.atoms"
    call, second, extra = (key_of(site.month, "#highest", tariff, part) for part in ("call", "second", "extra"))
    shown = f"{label}: {UNPRICED}, at the highest price of the tariff"
    prices = [book.value(one) for one in (call, second, extra)]
    if lines < SMALL and None not in prices:
        fee, price, more = (int(one or 0) for one in prices)
        most = lines * fee + (seconds + lines * more) * price
        return book.enter(f"{key}.atoms", shown, "atoms", most, Evidence.ESTIMATED, f"{source}; few lines").key
    book.enter(key, f"{label}: lines without a price", "count", lines, Evidence.MEASURED, source)
    book.enter(f"{key}.seconds", f"{label}: their talk time", "seconds", seconds, Evidence.MEASURED, source)
    formula = f"{{{key}}} * {{{call}}} + ({{{key}.seconds}} + {{{key}}} * {{{extra}}}) * {{{second}}}"
    return book.compute(f"{key}.atoms", shown, "atoms", formula, Evidence.ESTIMATED).key


def enter_highest(book: Book, facts: CostFacts, statement: MonthStatement) -> None:
    """Enter the highest price of each tariff in a month: what a line without a price is assumed to cost at most."""
    sums = [one for site in statement.sites for one in site.usage]
    for tariff in TARIFFS:
        if not unpriced_lines(sums, tariff):
            continue
        name = tariff_name(facts.settings, tariff)
        found = highest_price(facts.costs, facts.settings, tariff, statement.month)
        parts = (("call", "atoms", "fee of a call"), ("second", "atoms", "price of a second"))
        for number, (part, unit, what) in enumerate((*parts, ("extra", "seconds", "time charged over that talked"))):
            key, label = key_of(statement.month, "#highest", tariff, part), f"Highest {what}, tariff {name}"
            if found is None:
                why = f"no price of the tariff {name} is known for {spoken(statement.month)}"
                book.miss(key, label, unit, why)
            else:
                book.enter(key, label, unit, int(found[number]), Evidence.ESTIMATED, found.source)


def _index_end(book: Book, site: SiteMonth, end: _Ends) -> str:
    bound = None
    if site.baseline is not None:
        bound = site.baseline.index_high if end.high else site.baseline.index_low
    if bound is None:
        return site.key("index")
    key = f"{site.key('index')}.{'high' if end.high else 'low'}"
    if key not in book:
        point = book[site.key("index")]
        book.enter(key, f"{point.label}, {end.name}", "factor", bound, Evidence.ESTIMATED, point.source)
    return key


def _method_1_end(book: Book, site: SiteMonth, fixed: str, index: str, end: _Ends, intersite: Between) -> str:
    """Return the key of method 1 at one end."""
    lines = site.of(Side.LEGACY, ElementKind.USAGE)
    usage = _sum_end(book, site, "usage", lines, end) if lines else site.key("usage")
    seconds = _seconds_end(book, site, end, intersite)
    same = (fixed, usage, seconds, index) == tuple(site.key(name) for name in ("fixed", "usage", "seconds", "index"))
    if same and book.value(site.key("m1")) is not None:
        return site.key("m1")
    scaled = scaled_usage(usage, seconds, site.key("baseline_minutes"))
    known = lines and bool(book.value(site.key("baseline_minutes"))) and book.value(usage) is not None
    idle = book.value(usage if lines else seconds) == 0
    if known and not idle:
        return _compute(book, site, "m1", end, f"round(({{{fixed}}} + {scaled}) * {{{index}}}, 2)")
    if idle or not end.high:
        return _compute(book, site, "m1", end, f"round({{{fixed}}} * {{{index}}}, 2)")
    return site.key("m1")


def _seconds_end(book: Book, site: SiteMonth, end: _Ends, intersite: Between) -> str:
    """Return the key of the chargeable talk time at one end."""
    point = site.key("seconds")
    held, sums = book[point], chargeable(site.usage, intersite.calls)
    unrated, key = unpriced_seconds(sums, "legacy"), f"{point}.{'high' if end.high else 'low'}"
    if key in book:
        return key
    if end.high:
        if not unrated:
            return point
        extra = f"{point}.unrated"
        book.enter(extra, f"{held.label}: without a price", "seconds", unrated, Evidence.MEASURED, held.source)
        formula = f"{{{point}}} + {{{extra}}}" if held.value is not None else f"{{{extra}}}"
        return book.compute(key, f"{held.label}, high", "seconds", formula, Evidence.ESTIMATED).key
    if held.value is None:
        return _nothing(book, site, "seconds", end, held.why, "seconds")
    calls = intersite_seconds(book, site) if intersite.in_doubt else None
    if calls is None:
        return point
    label = f"{held.label}, without calls between sites"
    return book.compute(key, label, "seconds", f"{{{point}}} - {{{calls}}}", Evidence.ESTIMATED).key


def intersite_seconds(book: Book, site: SiteMonth) -> str | None:
    """Return the key of the chargeable talk time between sites; None where there is none."""
    talked = sum(one.legacy_chargeable_seconds for one in site.usage if one.number_class == INTERSITE)
    key, point = site.key("seconds.intersite"), book[site.key("seconds")]
    if talked and key not in book:
        book.enter(key, f"{point.label}, between sites", "seconds", talked, Evidence.MEASURED, point.source)
    return key if talked else None


def _nowhere(book: Book, site: SiteMonth, fixed: str, rerated: str, end: _Ends) -> dict[str, str]:
    """What is at no site saves nothing at least, and at most what it cost under the legacy tariff."""
    if not end.high:
        nothing = _nothing(book, site, "legacy", end, "at no site: at least nothing")
        return {"m1": nothing, "m2": nothing}
    key = f"{site.key('legacy')}.high"
    if key not in book:
        factors = key_of(site.month, "#index", "highest")
        formula = rerated_cost(fixed, rerated, factors)
        book.compute(key, "Legacy at no site, high", "money", formula, Evidence.ESTIMATED)
    return {"m1": key, "m2": key}


def enter_highest_index(book: Book, statement: MonthStatement) -> None:
    """Enter the highest index factor of a month: that of what is at no site."""
    sites = statement.standing(*IN_RANGE)
    ends = [
        _index_end(book, site, _Ends("high", high=True)) for site in sites if book.value(site.key("index")) is not None
    ]
    # Of nothing and of one the language knows no maximum.
    formula = f"max(0, {', '.join(f'{{{key}}}' for key in ends)})" if ends else "1"
    book.compute(key_of(statement.month, "#index", "highest"), "Highest index factor", "factor", formula)


def month_range(
    book: Book, sites: Sequence[SiteMonth], prefix: str, labels: Mapping[str, str], intersite: Between
) -> Range:
    """Enter the range of the totals of a month's sites by their bounds: `ip.low`, `m1.high`, … under a prefix."""
    ranges = [site_range(book, site, intersite, over_keys=False) for site in sites]
    terms = _key_terms(book, sites)
    for name in RANGED:
        for end, of in (("low", "min"), ("high", "max")):
            parts = [(one.low if end == "low" else one.high)[name] for one in ranges]
            extra = "".join(f" + {term}" for term in terms[name, of])
            _enter_sum(book, f"{prefix}.{name}", labels[name], end, parts, extra)
    return saving_range(book, prefix, labels[""])


def _key_terms(book: Book, sites: Sequence[SiteMonth]) -> dict[tuple[str, str], list[str]]:
    """Return what other allocation keys add to totals: something only where a share falls on a site left out.

    On the legacy side shares are weighed by their sites' index.
    """
    terms: dict[tuple[str, str], list[str]] = defaultdict(list)
    groups: dict[tuple[str, int], list[tuple[SiteMonth, Line]]] = defaultdict(list)
    for site in sites:
        for line in site.lines:
            indexed = line.element.side is Side.LEGACY
            if line.by_key and not (indexed and book.value(site.key("index")) is None):
                groups[line.element.side, line.element.origin.line].append((site, line))
    for (side, _), members in groups.items():
        for of, end in (("min", 0), ("max", 1)):
            by_key = []
            for number in range(len(members[0][1].by_key)):
                cells = [(site, line.by_key[number][end]) for site, line in members]
                if any(book.value(cell) is None for _, cell in cells):
                    break
                weighed = [
                    f"{{{cell}}} * {{{site.key('index')}}}" if side == Side.LEGACY else f"{{{cell}}}"
                    for site, cell in cells
                ]
                by_key.append(f"sum({', '.join(weighed)})")
            if len(by_key) == len(members[0][1].by_key):
                for name in ("ip",) if side == Side.IP else ("m1", "m2"):
                    terms[name, of].append(f"round({of}({', '.join(by_key)}) - {by_key[0]}, 2)")
    return terms


def saving_range(book: Book, prefix: str, label: str) -> Range:
    """Enter the range of the saving from the ranges of what it is the difference of."""
    for method in (1, 2):
        for end, other in (("low", "high"), ("high", "low")):
            legacy, ip = f"{prefix}.m{method}.{end}", f"{prefix}.ip.{other}"
            shown = f"Saving by method {method}, {label}, {end}"
            difference = f"{{{legacy}}} - {{{ip}}}"
            book.compute(f"{prefix}.s{method}.{end}", shown, "money", difference)
            formula = f"round(({difference}) / {{{legacy}}} * 100, 2)"
            book.compute(f"{prefix}.p{method}.{end}", f"{shown}, of legacy", "percent", formula)
    names = (*RANGED, "s1", "s2", "p1", "p2")
    return Range(*({name: f"{prefix}.{name}.{end}" for name in names} for end in ("low", "high")))


def sum_ranges(book: Book, prefix: str, labels: Mapping[str, str], parts: Sequence[Range]) -> Range:
    """Enter the range of sums: of a site over its months, or of all months."""
    for name in RANGED:
        for end in ("low", "high"):
            keys = [(one.low if end == "low" else one.high)[name] for one in parts]
            _enter_sum(book, f"{prefix}.{name}", labels[name], end, keys)
    return saving_range(book, prefix, labels[""])


def labels_of(label: str) -> dict[str, str]:
    """Return what totals of something are called, by name; of the empty name: the thing itself."""
    return {"": label, **{name: f"{shown}, {label}" for name, shown in TOTALS}}


def _enter_sum(book: Book, key: str, label: str, end: str, parts: Sequence[str], extra: str = "") -> None:
    """Enter the sum of some figures at one end; no figures are no range, and not 0."""
    if parts:
        book.compute(f"{key}.{end}", f"{label}, {end}", "money", sum_of(parts) + extra)
    else:
        book.miss(f"{key}.{end}", f"{label}, {end}", "money", "there is nothing to compare")


def unbounded(book: Book, statement: MonthStatement, settings: EstateSettings) -> list[str]:
    """Return why today's cost has no highest amount in a month, a clause for each reason."""
    found: dict[str, None] = {}
    for site in statement.standing(*IN_RANGE):
        if site.vat:
            found[said_mix(settings, site.vat)] = None
        lines = site.of(Side.IP, ElementKind.FIXED, ElementKind.ONE_OFF)
        for line in lines:
            if book.value(line.high) is None:
                found[_no_highest(book, line)] = None
        if not lines and site.standing is not Standing.NOWHERE:
            found[f"no IP cost element is stated for {site.site} in {spoken(site.month)}"] = None
        calls = f"{site.key('ip_calls')}.high"
        if calls in book and book.value(calls) is None:
            highest = book[key_of(site.month, "#highest", "ip", "call")]
            found[f"{UNPRICED} at {site.site}, and {highest.why}"] = None
    return list(found)


def _no_highest(book: Book, line: Line) -> str:
    """Say why a line of today has no highest amount."""
    element = line.element
    weights = key_of(line.month, "#key", one_part(element.key or ""), "")
    if element.site is None and weights in book and book.value(weights) is None:
        return f"{element.element} ({element.origin}) cannot be placed: {book[weights].why}"
    how = "missing" if element.evidence is Evidence.MISSING else "an estimate"
    return f"{element.element} ({element.origin}) is {how} and no highest amount is stated"
