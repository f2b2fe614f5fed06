"""The range of a saving: what is estimated, missing, unrated or placed by a key could be other than it was taken for.

A saving only falls with today's cost and only rises with the legacy cost, and each of those only rises with each of its
elements. So the lowest saving has every legacy element at its low end and every element of today at its high end: no
combinations need be tried. Allocation keys move money between sites; over all sites their shares add up to the same
amount, so the total keeps its range unless a site that takes a share is left out.

A line without a price is taken between nothing and the dearest line of the month that has one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analytics.cost.elements import ElementKind, Side
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import Line
from analytics.cost.money import ATOMS_PER_UNIT
from analytics.cost.months import spoken
from analytics.cost.names import key_of, sum_of
from analytics.cost.statement import MonthStatement, SiteMonth, Standing, chargeable, scaled_usage
from analytics.sites import IntersiteCalls

RANGED = ("ip", "m1", "m2")
"""Names of the figures that have a range."""
IN_RANGE = (Standing.COMPARED, Standing.INCOMPLETE, Standing.NOWHERE)


@dataclass(frozen=True, slots=True)
class Range:
    """Keys of the lowest and the highest figure, by name."""

    low: Mapping[str, str]
    high: Mapping[str, str]


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


def site_range(book: Book, site: SiteMonth, intersite: IntersiteCalls, *, over_keys: bool) -> Range:
    """Enter the range of a site in a month: by the stated allocation keys, or over all of them."""
    if over_keys and not any(line.by_key for line in site.lines):
        over_keys = False
    low = _Ends("lowest" if over_keys else "low", high=False)
    high = _Ends("highest" if over_keys else "high", high=True)
    return Range(_end(book, site, intersite, low), _end(book, site, intersite, high))


def _end(book: Book, site: SiteMonth, intersite: IntersiteCalls, end: _Ends) -> dict[str, str]:
    ip = _sum_end(book, site, "elements", site.of(Side.IP, ElementKind.FIXED, ElementKind.ONE_OFF), end)
    calls = _calls_end(book, site, "ip", end, IntersiteCalls.CHARGED)
    if (ip, calls) == (site.key("elements"), site.key("ip_calls")):
        found = {"ip": site.key("ip")}
    else:
        found = {"ip": _compute(book, site, "ip", end, f"{{{ip}}} + {{{calls}}}")}
    fixed = _sum_end(book, site, "fixed", site.of(Side.LEGACY, ElementKind.FIXED), end)
    rerated = _calls_end(book, site, "legacy", end, intersite)
    if site.standing is Standing.NOWHERE:
        return {**found, **_nowhere(book, site, fixed, rerated, end)}
    index = _index_end(book, site, end)
    if book.value(index) is None and not end.high:
        nothing = _nothing(book, site, "legacy", end, "no index factor: at least nothing")
        return {**found, "m1": nothing, "m2": nothing}
    found["m1"] = _method_1_end(book, site, fixed, index, end, intersite)
    if (fixed, rerated, index) == (site.key("fixed"), site.key("rerated"), site.key("index")):
        found["m2"] = site.key("m2")
    else:
        formula = f"round(({{{fixed}}} + {{{rerated}}}) * {{{index}}}, 2)"
        found["m2"] = _compute(book, site, "m2", end, formula)
    return found


def _compute(book: Book, site: SiteMonth, name: str, end: _Ends, formula: str) -> str:
    key = f"{site.key(name)}.{end.name}"
    if key in book:
        return key
    point = book[site.key(name)]
    return book.compute(key, f"{point.label}, {end.name}", point.unit, formula, Evidence.ESTIMATED).key


def _nothing(book: Book, site: SiteMonth, name: str, end: _Ends, source: str) -> str:
    key = f"{site.key(name)}.{end.name}"
    if key not in book:
        book.enter(key, f"{name} at {site.site}, {end.name}", "money", 0, Evidence.ESTIMATED, source)
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


def _calls_end(book: Book, site: SiteMonth, tariff: str, end: _Ends, intersite: IntersiteCalls) -> str:
    """Return the key of call charges at one end: at the high end with what lines without a price may cost."""
    name = "ip_calls" if tariff == "ip" else "rerated"
    sums = site.usage if tariff == "ip" else chargeable(site.usage, intersite)
    lines = sum(one.ip_unrated_lines if tariff == "ip" else one.legacy_unrated_lines for one in sums)
    if not lines or not end.high:
        return site.key(name)
    key = f"{site.key(name)}.high"
    if key in book:
        return key
    unrated = f"{site.key(name)}.unrated"
    label = book[site.key(name)].label
    source = book[site.key("seconds")].source
    book.enter(unrated, f"{label}: lines without a price", "count", lines, Evidence.MEASURED, source)
    dearest = key_of(site.month, "#dearest", tariff)
    formula = f"round({{{site.key(name)}}} + {{{unrated}}} * {{{dearest}}} / {ATOMS_PER_UNIT}, 2)"
    return book.compute(key, f"{label}, high", "money", formula, Evidence.ESTIMATED).key


def enter_dearest(book: Book, statement: MonthStatement, source: str) -> None:
    """Enter the dearest line of a month under each tariff: what a line without a price costs at most."""
    for tariff in ("ip", "legacy"):
        sums = [one for site in statement.sites for one in site.usage]
        atoms = max((one.ip_dearest if tariff == "ip" else one.legacy_dearest for one in sums), default=0)
        key, label = key_of(statement.month, "#dearest", tariff), f"Dearest line under the {tariff} tariff"
        if atoms:
            book.enter(key, label, "atoms", atoms, Evidence.MEASURED, source)
        else:
            book.miss(key, label, "atoms", f"no line of the month has a price under the {tariff} tariff")


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


def _method_1_end(book: Book, site: SiteMonth, fixed: str, index: str, end: _Ends, intersite: IntersiteCalls) -> str:
    """Return the key of method 1 at one end."""
    lines = site.of(Side.LEGACY, ElementKind.USAGE)
    usage = _sum_end(book, site, "usage", lines, end) if lines else site.key("usage")
    seconds = site.key("seconds")
    unrated = sum(one.legacy_unrated_seconds for one in chargeable(site.usage, intersite))
    if unrated and end.high:
        seconds = f"{site.key('seconds')}.high"
        if seconds not in book:
            extra = f"{site.key('seconds')}.unrated"
            point = book[site.key("seconds")]
            book.enter(extra, f"{point.label}: without a price", "seconds", unrated, Evidence.MEASURED, point.source)
            book.compute(seconds, f"{point.label}, high", "seconds", f"{{{site.key('seconds')}}} + {{{extra}}}")
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


def _nowhere(book: Book, site: SiteMonth, fixed: str, rerated: str, end: _Ends) -> dict[str, str]:
    """What is at no site saves nothing at least, and at most what it cost under the legacy tariff."""
    if not end.high:
        nothing = _nothing(book, site, "legacy", end, "at no site: at least nothing")
        return {"m1": nothing, "m2": nothing}
    key = f"{site.key('legacy')}.high"
    if key not in book:
        factors = key_of(site.month, "#index", "highest")
        formula = f"round(({{{fixed}}} + {{{rerated}}}) * {{{factors}}}, 2)"
        book.compute(key, "Legacy at no site, high", "money", formula, Evidence.ESTIMATED)
    return {"m1": key, "m2": key}


def month_range(book: Book, statement: MonthStatement, prefix: str, label: str, intersite: IntersiteCalls) -> Range:
    """Enter the range of a month's totals by the bounds of its sites: `ip.low`, `m1.high`, … under a prefix."""
    sites = statement.standing(*IN_RANGE)
    highest = key_of(statement.month, "#index", "highest")
    factors = [site.key("index") for site in sites if book.value(site.key("index")) is not None]
    ends = [_index_end(book, site, _Ends("high", high=True)) for site in sites if site.key("index") in factors]
    # Of nothing and of one the language knows no maximum.
    formula = f"max(0, {', '.join(f'{{{key}}}' for key in ends)})" if ends else "1"
    book.compute(highest, "Highest index factor", "factor", formula)
    ranges = [site_range(book, site, intersite, over_keys=False) for site in sites]
    terms = _key_terms(book, sites)
    for name in RANGED:
        for end, of in (("low", "min"), ("high", "max")):
            parts = [(one.low if end == "low" else one.high)[name] for one in ranges]
            extra = "".join(f" + {term}" for term in terms[name, of])
            _enter_sum(book, f"{prefix}.{name}", end, parts, extra)
    return saving_range(book, prefix, label)


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


def sum_ranges(book: Book, prefix: str, label: str, parts: Sequence[Range]) -> Range:
    """Enter the range of sums: of a site over its months, or of all months."""
    for name in RANGED:
        for end in ("low", "high"):
            keys = [(one.low if end == "low" else one.high)[name] for one in parts]
            _enter_sum(book, f"{prefix}.{name}", end, keys)
    return saving_range(book, prefix, label)


def _enter_sum(book: Book, key: str, end: str, parts: Sequence[str], extra: str = "") -> None:
    """Enter the sum of some figures at one end; no figures are no range, and not 0."""
    label = f"{book[key].label}, {end}"
    if parts:
        book.compute(f"{key}.{end}", label, "money", sum_of(parts) + extra)
    else:
        book.miss(f"{key}.{end}", label, "money", "there is nothing to compare")


def unbounded(book: Book, statement: MonthStatement) -> list[str]:
    """Return why today's cost has no highest amount in a month, a clause for each reason."""
    found: dict[str, None] = {}
    for site in statement.standing(*IN_RANGE):
        lines = site.of(Side.IP, ElementKind.FIXED, ElementKind.ONE_OFF)
        for line in lines:
            if book.value(line.high) is None:
                element = line.element
                how = "missing" if element.evidence is Evidence.MISSING else "an estimate"
                found[f"{element.element} ({element.origin}) is {how} and no highest amount is stated"] = None
        if not lines and site.standing is not Standing.NOWHERE:
            found[f"no IP cost element is stated for {site.site} in {spoken(site.month)}"] = None
        calls = f"{site.key('ip_calls')}.high"
        if calls in book and book.value(calls) is None:
            found[f"no call of {spoken(site.month)} has a price today"] = None
    return list(found)
