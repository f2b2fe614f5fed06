"""Sections of the savings report: tables of figures, each with a sentence that says what it shows."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from analytics.cost.claim import CLAIM, minutes_key
from analytics.cost.document import Head, Plot, Ref, Row, Section, Shape
from analytics.cost.elements import ElementKind, Side
from analytics.cost.months import spoken
from analytics.cost.names import key_of, sum_of
from analytics.cost.savings import LAST_LEGACY_MONTH, TOTAL, YEAR, Savings, month_prefix
from analytics.cost.statement import SiteMonth, Standing
from analytics.cost.usage_sections import NO_SITE_NAME
from analytics.cost.words import said_claim, said_list, said_money, said_number, said_range

HEADLINE = "headline"
"""Prefix of the result that stands first: by the method that saves less."""

_HEADS = (
    Head("IP actual", "money"),
    Head("Legacy as billed", "money"),
    Head("Legacy, method 1", "money"),
    Head("Legacy, method 2", "money"),
    Head("Saving 1", "money"),
    Head("Saving 1", "percent"),
    Head("Saving 2", "money"),
    Head("Saving 2", "percent"),
)
_NAMES = ("ip", "billed", "m1", "m2", "s1", "p1", "s2", "p2")


def enter_headline(savings: Savings) -> None:
    """Enter the result that stands first, and its range: by the method that saves less, and at most by the other.

    Both are of the compared sites. Where others are not known the range over all sites is entered beside it.
    """
    book, lesser = savings.book, "by the method that saves less"
    book.compute(HEADLINE, f"Saving {lesser}", "percent", f"min({{{TOTAL}.p1}}, {{{TOTAL}.p2}})")
    book.compute(f"{HEADLINE}.money", f"Saving {lesser}", "money", f"min({{{TOTAL}.s1}}, {{{TOTAL}.s2}})")
    for end, of in (("low", "min"), ("high", "max")):
        formula = f"{of}({{{TOTAL}.p1.{end}}}, {{{TOTAL}.p2.{end}}})"
        book.compute(f"{HEADLINE}.{end}", f"Saving by either method, {end}", "percent", formula)
        key, label = f"{HEADLINE}.all.{end}", f"Saving by either method, all sites, {end}"
        if savings.unstated:
            book.miss(key, label, "percent", f"nothing is stated of what {said_list(savings.unstated)} cost and costs")
        else:
            formula = f"{of}({{{savings.whole}.p1.{end}}}, {{{savings.whole}.p2.{end}}})"
            book.compute(key, label, "percent", formula)


def range_of_all(savings: Savings) -> str:
    """Return the range over all sites as it stands in a sentence."""
    book = savings.book
    return said_range(book.value(f"{HEADLINE}.all.low"), book.value(f"{HEADLINE}.all.high"))


def said_gap(savings: Savings) -> str:
    """Say by how much the methods differ, e.g. `£430.23, 0.72 points, method 2 the lower`; nothing where unknown."""
    book, difference = savings.book, key_of(TOTAL, "gap", "p")
    gap, points = book.value(f"{TOTAL}.gap"), book.value(difference)
    if gap is None or points is None:
        return ""
    money = said_money(abs(gap), savings.facts.settings.currency)
    lower = f", method {1 if gap > 0 else 2} the lower" if gap else ""
    return f"{money}, {said_number(abs(points))} points{lower}"


def methods(savings: Savings) -> Section:
    """Both methods in total."""
    book = savings.book
    rows = []
    for number, name in ((1, "Ledger baseline"), (2, "Same calls re-rated")):
        cells = [f"{TOTAL}.m{number}", f"{TOTAL}.ip", f"{TOTAL}.s{number}", f"{TOTAL}.p{number}"]
        cells += [f"{TOTAL}.p{number}.low", f"{TOTAL}.p{number}.high"]
        rows.append(Row((f"Method {number}", name, *(Ref(key) for key in cells))))
    difference = key_of(TOTAL, "gap", "p")
    book.compute(difference, "Method 2 less method 1", "percent", f"{{{TOTAL}.p2}} - {{{TOTAL}.p1}}")
    rows.append(
        Row(
            (
                "Difference",
                "method 2 less method 1",
                Ref(f"{TOTAL}.gap"),
                "",
                Ref(f"{TOTAL}.gap"),
                Ref(difference),
                "",
                "",
            )
        )
    )
    gap = said_gap(savings)
    differ = f"The methods differ by {gap}" if gap else "How far the methods differ is not known"
    heads = (
        Head("Method"),
        Head("What it does"),
        Head("Legacy", "money"),
        Head("IP actual", "money"),
        Head("Saving", "money"),
        Head("Saving", "percent"),
        Head("Lowest", "percent"),
        Head("Highest", "percent"),
    )
    return Section(
        "methods",
        "Both methods",
        f"{differ}: method 1 scales the old bill's call charges by minutes, method 2 rates each call as it was.",
        heads,
        tuple(rows),
    )


def sites(savings: Savings) -> Section:
    """All compared sites, by money saved, and those that are not known in full."""
    book = savings.book
    standing: dict[str, list[SiteMonth]] = defaultdict(list)
    for site in savings.sites(Standing.COMPARED, Standing.INCOMPLETE):
        standing[site.site].append(site)

    def rank(name: str) -> tuple[bool, Decimal, str]:
        saved = book.value(f"{savings.site_prefixes[name]}.s2")
        return saved is None, -(saved or Decimal(0)), name

    rows = []
    for name in sorted(standing, key=rank):
        prefix = savings.site_prefixes[name]
        cells = [Ref(f"{prefix}.{column}") for column in (*_NAMES, "p2.low", "p2.high")]
        reasons = dict.fromkeys(site.why for site in standing[name] if site.why)
        rows.append(Row((name, *cells), note="; ".join(reasons)))
    if savings.sites(Standing.NOWHERE):
        lost = savings.site_prefixes[savings.sites(Standing.NOWHERE)[0].site]
        rows.append(Row((NO_SITE_NAME, Ref(f"{lost}.ip"), *[""] * 9), note="a cost today, and no saving"))
    cells = [Ref(f"{TOTAL}.{column}") for column in (*_NAMES, "p2.low", "p2.high")]
    rows.append(Row(("All", *cells), total=True))
    losers = [name for name in standing if (book.value(f"{savings.site_prefixes[name]}.s2") or Decimal(0)) < 0]
    unknown = [name for name, months in standing.items() if all(one.standing is Standing.INCOMPLETE for one in months)]
    known = len(standing) - len(unknown)
    sentence = f"{known:,} site{'s' if known != 1 else ''}, by money saved."
    if losers:
        sentence += f" {said_list(sorted(losers))} cost more than before."
    elif known:
        sentence += " None costs more than before."
    if unknown:
        sentence += f" Not known: {said_list(sorted(unknown))}."
    return Section(
        "sites",
        "Site by site",
        sentence,
        (Head("Site"), *_HEADS, Head("Lowest", "percent"), Head("Highest", "percent")),
        tuple(rows),
        notes=("Totals are sums of the lines. Lowest and highest are of method 2, over all allocation keys.",),
        plot=Plot(Shape.DUMBBELLS, columns=(4, 1)),
    )


def left_out(savings: Savings) -> Section | None:
    """Sites left out on both sides, with what they cost today."""
    rows = [
        Row((site.site, spoken(site.month), site.standing.value, Ref(site.key("ip"))), note=site.why)
        for site in savings.left_out()
    ]
    if not rows:
        return None
    return Section(
        "left_out",
        "Left out",
        "Like for like: these are left out on both sides, and in no total above.",
        (Head("Site"), Head("Month"), Head("Why"), Head("IP actual", "money")),
        tuple(rows),
    )


def waterfall(savings: Savings) -> Section:
    """From the legacy cost to today's, element by element."""
    book, members = savings.book, savings.sites(Standing.COMPARED)
    groups: dict[tuple[Side, str], list[str]] = defaultdict(list)
    for site in savings.sites(Standing.COMPARED, Standing.NOWHERE):
        for line in site.lines:
            counted = line.element.side is Side.IP or (
                site.standing is Standing.COMPARED and line.element.kind is ElementKind.FIXED
            )
            if counted:
                groups[line.element.side, line.element.element].append(line.key)
    rows = [Row(("Legacy, method 2", Ref(f"{TOTAL}.m2")), total=True)]
    steps = [(name, keys) for (side, name), keys in groups.items() if side is Side.LEGACY]
    steps.append(("Call charges, re-rated", [site.key("rerated") for site in members]))
    gone = []
    for number, (name, keys) in enumerate(steps):
        key = key_of("waterfall", "legacy", number)
        gone.append(key)
        book.compute(key, f"No more: {name}", "money", f"0 - {sum_of(keys)}")
        rows.append(Row((f"− {name}", Ref(key))))
    index = key_of("waterfall", "index")
    book.compute(index, "No more: rise of prices since the baseline", "money", f"0 - {{{TOTAL}.m2}} - {sum_of(gone)}")
    rows.append(Row(("− Rise of prices since the baseline", Ref(index))))
    steps = [(name, keys) for (side, name), keys in groups.items() if side is Side.IP]
    today = savings.sites(Standing.COMPARED, Standing.NOWHERE)
    steps.append(("Call charges", [site.key("ip_calls") for site in today]))
    for number, (name, keys) in enumerate(steps):
        key = key_of("waterfall", "ip", number)
        book.compute(key, f"Today: {name}", "money", sum_of(keys))
        rows.append(Row((f"+ {name}", Ref(key))))
    rows.append(Row(("IP actual", Ref(f"{TOTAL}.ip")), total=True))
    return Section(
        "waterfall",
        "From legacy to IP",
        "What went, and what came in its place.",
        (Head("Element"), Head("Amount", "money")),
        tuple(rows),
        plot=Plot(Shape.WATERFALL),
    )


def months(savings: Savings) -> Section:
    """Month by month."""
    ranges = ("m2.low", "m2.high", "p2.low", "p2.high")
    rows = []
    for one in savings.months:
        note = "notional: the old lines can no longer be bought" if one.month > LAST_LEGACY_MONTH else ""
        prefix = month_prefix(one.month)
        rows.append(Row((spoken(one.month), *(Ref(f"{prefix}.{name}") for name in (*_NAMES, *ranges))), note=note))
    rows += [Row((spoken(month), *[""] * 12), note="no usage in the store") for month in savings.without_usage]
    rows.append(Row(("All", *(Ref(f"{TOTAL}.{name}") for name in (*_NAMES, *ranges))), total=True))
    asked = len(savings.months) + len(savings.without_usage)
    sentence = f"{len(savings.months)} of the {asked} months asked for hold usage."
    heads = (
        Head("Month"),
        *_HEADS,
        Head("Legacy, lowest", "money"),
        Head("Legacy, highest", "money"),
        Head("Saving 2, lowest", "percent"),
        Head("Saving 2, highest", "percent"),
    )
    return Section(
        "months", "Month by month", sentence, heads, tuple(rows), plot=Plot(Shape.MONTHS, columns=(4, 1, 9, 10))
    )


def year(savings: Savings) -> Section:
    """A year of it, and what that buys."""
    book, count = savings.book, savings.annual_months
    rows = [
        Row(("Saving a year, method 1", Ref("annual.s1"), "")),
        Row(("Saving a year, method 2", Ref("annual.s2"), "")),
        Row(("Paid once in these months", Ref("one_off"), "")),
    ]
    for number, benefit in enumerate(savings.facts.settings.benefits):
        rows.append(Row((f"{benefit.name}s that the lesser buys", "", Ref(f"benefit.{number}"))))
    made = "It is the sum of its twelve months."
    if count != YEAR:
        some = f"{count} month{'s' if count != 1 else ''}"
        made = f"It is estimated from {some}: a year has seasons that they may not show."
    saved = said_money(book.value("annual.least"), savings.facts.settings.currency)
    part = f", of {savings.partial}" if savings.partial else ""
    sentence = f"{saved} a year by the method that saves less{part}. {made}"
    heads = (Head("What"), Head("Amount", "money"), Head("Number", "count"))
    return Section("year", "A year", sentence, heads, tuple(rows))


def sensitivity(savings: Savings) -> Section:
    """What each estimate alone could change."""
    rows = [
        Row(
            (
                one.label,
                Ref(one.least("low")),
                Ref(one.least("high")),
                Ref(one.key(1, "low")),
                Ref(one.key(1, "high")),
                Ref(one.key(2, "low")),
                Ref(one.key(2, "high")),
            ),
            note=one.origin,
        )
        for one in savings.estimates
    ]
    heads = (
        Head("Estimate"),
        Head("At its low end", "percent"),
        Head("At its high end", "percent"),
        Head("Method 1, low", "percent"),
        Head("Method 1, high", "percent"),
        Head("Method 2, low", "percent"),
        Head("Method 2, high", "percent"),
    )
    if savings.estimates:
        sentence = (
            f"{savings.estimates[0].label} matters most. Each is tried alone; the saving is by the lesser method."
        )
    else:
        sentence = "No figure of the total is an estimate with bounds."
    lines = (("saving", HEADLINE), ("claim", CLAIM))
    keys = (
        "Allocation keys move money between sites; their shares add up to the same amount, so the total does not move "
        "with them unless a site that takes a share is left out."
    )
    return Section(
        "sensitivity",
        "What each estimate could change",
        sentence,
        heads,
        tuple(rows),
        notes=(keys,),
        plot=Plot(Shape.TORNADO, columns=(1, 2), lines=lines),
    )


def checks(savings: Savings) -> Section:
    """The four rules, and why one fails."""
    verdict = savings.verdict
    rows = [
        Row((f"({check.letter})", check.rule, "holds" if check.holds else "fails"), note=" ".join(check.reasons))
        for check in verdict.checks
    ]
    whole = ", over all sites" if savings.partial else ""
    claim = said_claim(savings.book.value(CLAIM))
    sentence = f"The claim of more than {claim} is {verdict.outcome}: {range_of_all(savings)}{whole}."
    return Section(
        "checks", "Why this verdict", sentence, (Head("Rule"), Head("What it asks"), Head("Result")), tuple(rows)
    )


def minutes(savings: Savings) -> Section:
    """Minutes of records and invoices."""
    rows = []
    for one in savings.months:
        for name in [None, *sorted(site.site for site in one.sites)]:
            if minutes_key(one.month, name, "records") in savings.book:
                cells = [Ref(minutes_key(one.month, name, cell)) for cell in ("records", "invoiced", "apart")]
                rows.append(Row((spoken(one.month), name or "All", *cells)))
    heads = (
        Head("Month"),
        Head("Site"),
        Head("Records", "minutes"),
        Head("Invoices", "minutes"),
        Head("Apart", "percent"),
    )
    return Section(
        "minutes",
        "Records against invoices",
        "Outgoing calls that left the estate, as talked; a supplier's billing month may begin on another day.",
        heads,
        tuple(rows),
    )
