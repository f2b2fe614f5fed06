"""Sections about usage lines that several reports share: charges by class, and what is in no charge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from fractions import Fraction

from analytics.cost.allocation import place_parts
from analytics.cost.charges import UNPRICED, unpriced_lines
from analytics.cost.document import Cell, Head, Ref, Row, Section
from analytics.cost.figures import Book, Evidence
from analytics.cost.lines import NO_SITE
from analytics.cost.money import ATOMS_PER_UNIT, from_atoms
from analytics.cost.months import spoken
from analytics.cost.names import key_of, sum_of
from analytics.cost.statement import SiteMonth
from analytics.store.cost_queries import Usage

NO_SITE_NAME = "(no site)"
MOST_ROWS = 500
"""Rows of what has no price or no site: the rest is summed into one."""


def enter_class_charges(book: Book, site: SiteMonth, name: str) -> dict[str, str]:
    """Enter charges by class so that they add up to the site's line; return the figures' keys by class.

    `name` is `ip_calls` or `rerated`. Each is its exact charge rounded, or a penny beside it: largest remainder.
    """
    prefix, suffix = f"{site.key(name)}.", ".atoms"
    exact = [key for key in book[site.key(name)].inputs if key.startswith(prefix)]
    atoms = [int(book.value(key) or 0) for key in exact]
    line = book.value(site.key(name))
    if line is None or not exact:
        return {}
    placed = place_parts(line, [Fraction(one, ATOMS_PER_UNIT) for one in atoms])
    keys = {}
    for key, held, share in zip(exact, atoms, placed, strict=True):
        number_class = key.removeprefix(prefix).removesuffix(suffix)
        off = share - from_atoms(held)
        penny = f" {'+' if off > 0 else '-'} {abs(off)}" if off else ""
        label = f"{book[site.key(name)].label}, {number_class}"
        made = f"round({{{key}}} / {ATOMS_PER_UNIT}, 2){penny}"
        keys[number_class] = book.compute(f"{prefix}{number_class}", label, "money", made).key
    return keys


def class_charges(book: Book, sites: Sequence[SiteMonth]) -> Section:
    """Calls and charges by class, site by site: class lines add up to the site's line to the penny."""
    rows: list[Row] = []
    for site in sites:
        if not site.usage:
            continue
        today, legacy = enter_class_charges(book, site, "ip_calls"), enter_class_charges(book, site, "rerated")
        name = NO_SITE_NAME if site.site == NO_SITE else site.site
        counts = _counts(book, site)
        for number_class, (lines, minutes) in counts.items():
            costs = [
                _charge(book, keys, f"{site.key(line)}.{number_class}", number_class)
                for line, keys in (("ip_calls", today), ("rerated", legacy))
            ]
            note = _unpriced_note(site, number_class)
            rows.append(Row((name, number_class, Ref(lines), Ref(minutes), *costs), note=note))
        totals = [Ref(key) for key in _count_totals(book, site, name, list(counts))]
        rows.append(Row((name, "All", *totals, Ref(site.key("ip_calls")), Ref(site.key("rerated"))), total=True))
    heads = (
        Head("Site"),
        Head("Class"),
        Head("Lines", "count"),
        Head("Talk time", "minutes"),
        Head("Today", "money"),
        Head("Legacy tariff", "money"),
    )
    return Section(
        "calls",
        "Calls by class",
        "A line is a leg of a call. Charges are rounded once for each site; classes share that line to the penny.",
        heads,
        tuple(rows),
    )


def _charge(book: Book, keys: dict[str, str], key: str, number_class: str) -> Cell:
    """Return the cell of a class's charge: a dash where no line of it has a price."""
    if number_class in keys:
        return Ref(keys[number_class])
    return Ref(key) if key in book else ""


def _unpriced_note(site: SiteMonth, number_class: str) -> str:
    """Say that lines of a class have no price, and are in no charge."""
    sums = [one for one in site.usage if (one.number_class or "inbound") == number_class]
    said = [tariff for tariff in ("ip", "legacy") if unpriced_lines(sums, tariff)]
    return f"{UNPRICED}, {' and '.join(said)}" if said else ""


def _counts(book: Book, site: SiteMonth) -> dict[str, tuple[str, str]]:
    """Enter lines and minutes by class; return the figures' keys."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one in site.usage:
        held = sums[one.number_class or "inbound"]
        held[0] += one.lines
        held[1] += one.seconds
    source = book[site.key("seconds")].source
    keys = {}
    for number_class, (lines, seconds) in sorted(sums.items()):
        key, label = site.key(f"class.{number_class}"), f"{site.site}, {number_class}"
        book.enter(f"{key}.lines", f"Lines, {label}", "count", lines, Evidence.MEASURED, source)
        book.enter(f"{key}.seconds", f"Talk time, {label}", "seconds", seconds, Evidence.MEASURED, source)
        book.compute(f"{key}.minutes", f"Minutes, {label}", "minutes", f"round({{{key}.seconds}} / 60, 4)")
        keys[number_class] = (f"{key}.lines", f"{key}.minutes")
    return keys


def _count_totals(book: Book, site: SiteMonth, name: str, classes: Sequence[str]) -> tuple[str, str]:
    """Enter lines and minutes of all classes; return the figures' keys."""
    lines, minutes = site.key("class.all.lines"), site.key("class.all.minutes")
    prefixes = [site.key(f"class.{number_class}") for number_class in classes]
    book.compute(lines, f"Lines, {name}, all classes", "count", sum_of([f"{one}.lines" for one in prefixes]))
    seconds = sum_of([f"{one}.seconds" for one in prefixes])
    book.compute(minutes, f"Minutes, {name}, all classes", "minutes", f"round({seconds} / 60, 4)")
    return lines, minutes


def unrated(book: Book, usage: Usage, months: Collection[int], site: str | None = None) -> Section:
    """Lines without a price or a site, and those that are no usage, of some months and one site or all."""
    found: list[tuple[tuple[str, str, str, str], int, int]] = []
    without_price = 0
    for one in usage.unrated:
        if one.month in months and site in (None, one.site):
            why = " ".join(filter(None, (one.number_class, one.reason)))
            cells = (spoken(one.month), one.site or NO_SITE_NAME, f"no price, {one.tariff}", why)
            found.append((cells, one.lines, one.seconds))
            without_price += one.lines if one.tariff == "ip" else 0
    if site is None:
        for lost in usage.sums:
            if lost.site is None and lost.month in months:
                why = " ".join(filter(None, (lost.kind, lost.number_class)))
                found.append(((spoken(lost.month), NO_SITE_NAME, "no site", why), lost.lines, lost.seconds))
        for gone in usage.excluded:
            if gone.month in months:
                found.append(((spoken(gone.month), "", "no usage", gone.reason), gone.lines, gone.seconds))
    if len(found) > MOST_ROWS:
        rest = found[MOST_ROWS - 1 :]
        cells = ("", "", "the rest", f"{len(rest):,} more rows")
        found[MOST_ROWS - 1 :] = [(cells, sum(one[1] for one in rest), sum(one[2] for one in rest))]
    rows = []
    for number, (cells, lines, seconds) in enumerate(found):
        label, key = ", ".join(filter(None, cells)), key_of("outside", number)
        book.enter(f"{key}.lines", f"Lines, {label}", "count", lines, Evidence.MEASURED, usage.source)
        book.enter(f"{key}.seconds", f"Talk time, {label}", "seconds", seconds, Evidence.MEASURED, usage.source)
        rows.append(Row((*cells, Ref(f"{key}.lines"), Ref(f"{key}.seconds"))))
    sentence = f"{without_price:,} lines have no price today: they are in no charge. Missing is not 0."
    heads = (
        Head("Month"),
        Head("Site"),
        Head("What"),
        Head("Why"),
        Head("Lines", "count"),
        Head("Talk time", "seconds"),
    )
    return Section("unrated", "What is in no charge", sentence, heads, tuple(rows))
