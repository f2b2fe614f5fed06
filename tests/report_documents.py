"""Documents made by hand, for the tests of the formats: a savings report of sites, months and estimates."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from analytics.cost.document import Cell, Document, Head, Plot, Ref, Row, Section, Shape
from analytics.cost.figures import Book, Evidence

HOSTILE = '=HYPERLINK("http://x","<b>&\'")</script><img src=x onerror=alert(1)>'
"""A site's name that tries to be a formula, a tag and a quotation."""


def site_section(book: Book, sites: Sequence[tuple[str, str, str]]) -> Section:
    """A line for each site (name, legacy, IP) and a total; an empty legacy is missing."""
    rows = []
    for index, (name, legacy, ip) in enumerate(sites):
        key = f"site.{index}"
        if legacy:
            book.enter(
                f"{key}.legacy", f"legacy, {name}", "money", Decimal(legacy), Evidence.MEASURED, f"elements.csv:{index}"
            )
        else:
            book.miss(f"{key}.legacy", f"legacy, {name}", "money", "no baseline bill", "baseline.csv")
        book.enter(f"{key}.ip", f"IP, {name}", "money", Decimal(ip), Evidence.ALLOCATED, f"elements.csv:{index + 100}")
        book.compute(f"{key}.saving", f"saving, {name}", "money", f"{{{key}.legacy}} - {{{key}.ip}}")
        book.compute(f"{key}.share", f"saving share, {name}", "percent", f"100 * {{{key}.saving}} / {{{key}.legacy}}")
        rows.append(Row((name, *cells(key)), note="" if legacy else "left out of the totals"))
    counted = [index for index, (_, legacy, _) in enumerate(sites) if legacy]
    for column in ("legacy", "ip", "saving"):
        parts = ", ".join(f"{{site.{index}.{column}}}" for index in counted)
        book.compute(f"total.{column}", f"{column}, all sites", "money", f"sum({parts})")
    book.compute("total.share", "saving share, all sites", "percent", "100 * {total.saving} / {total.legacy}")
    rows.append(Row(("Total", *cells("total")), total=True))
    heads = (
        Head("Site"),
        Head("Legacy", "money"),
        Head("IP", "money"),
        Head("Saving", "money"),
        Head("Share", "percent"),
    )
    return Section(
        "sites",
        "Site by site",
        "All sites cost less than before.",
        heads,
        tuple(rows),
        plot=Plot(Shape.DUMBBELLS, (1, 2)),
    )


def cells(key: str) -> tuple[Cell, ...]:
    return tuple(Ref(f"{key}.{column}") for column in ("legacy", "ip", "saving", "share"))


def months_section(book: Book) -> Section:
    """A year with one month missing and a range about the legacy cost."""
    rows = []
    for turn in range(12):
        month = f"2025-{turn + 1:02d}"
        values = (2500 + 37 * turn, 1300 + (turn * 53) % 90, 2350 + 37 * turn, 2700 + 37 * turn)
        refs: list[Cell] = []
        for name, value in zip(("legacy", "ip", "low", "high"), values, strict=True):
            key = f"{month}.{name}"
            if turn == 6:
                book.miss(key, f"{name}, {month}", "money", "no records of this month")
            else:
                book.enter(key, f"{name}, {month}", "money", Decimal(value), Evidence.ESTIMATED, "elements.csv:9")
            refs.append(Ref(key))
        rows.append(Row((month, *refs)))
    heads = (Head("Month"), *(Head(name, "money") for name in ("Legacy", "IP", "Lowest legacy", "Highest legacy")))
    return Section("months", "Twelve months", "One month has no records.", heads, tuple(rows), plot=Plot(Shape.MONTHS))


def waterfall_section(book: Book) -> Section:
    """From the legacy cost to the cost today, by element."""
    steps = (
        ("Line rental", -232),
        ("ISDN30 channels", -502),
        ("Call charges", -316),
        ("WAN share", 180),
        ("Capital", 300),
    )
    book.enter("from", "legacy", "money", Decimal("2541.20"), Evidence.MEASURED, "elements.csv")
    rows = [Row(("Legacy", Ref("from")), total=True)]
    for name, value in steps:
        book.enter(f"step.{name}", f"change of {name}", "money", Decimal(value), Evidence.MEASURED, "elements.csv")
        rows.append(Row((name, Ref(f"step.{name}"))))
    parts = ", ".join(f"{{step.{name}}}" for name, _ in steps)
    book.compute("to", "IP", "money", f"{{from}} + sum({parts})")
    rows.append(Row(("IP", Ref("to")), total=True))
    return Section(
        "elements",
        "From legacy to IP",
        "Call charges and channels fall most.",
        (Head("Element"), Head("Change", "money")),
        tuple(rows),
        plot=Plot(Shape.WATERFALL),
    )


def tornado_section(book: Book) -> Section:
    """What each estimate could change."""
    book.enter("claim", "claim", "percent", Decimal(30), Evidence.MEASURED, "estate.toml")
    rows = []
    for name, low, high in (("WAN share", "28.9", "49.8"), ("Handset rental", "47", "50.2"), ("Staff", "44.1", "49.9")):
        book.enter(f"low.{name}", f"lowest with {name}", "percent", Decimal(low), Evidence.ESTIMATED, "elements.csv:3")
        book.enter(
            f"high.{name}", f"highest with {name}", "percent", Decimal(high), Evidence.ESTIMATED, "elements.csv:3"
        )
        rows.append(Row((name, Ref(f"low.{name}"), Ref(f"high.{name}"))))
    return Section(
        "sensitivity",
        "What each estimate could change",
        "The share of the WAN alone could refute the claim.",
        (Head("Estimate"), Head("Lowest", "percent"), Head("Highest", "percent")),
        tuple(rows),
        plot=Plot(Shape.TORNADO, lines=(("claim", "claim"), ("result", "total.share"))),
    )


def answers_section(book: Book) -> Section:
    """Seconds to answer by bucket, one count held back."""
    buckets = ("≤ 5", "≤ 10", "≤ 20", "≤ 60", "> 60")
    book.enter("target.999", "target of 999", "seconds", Decimal(10), Evidence.MEASURED, "public_numbers.csv:2")
    rows = []
    for name, counts in (("999", (610, 212, 33, 9, 0)), ("Switchboard", (120, 340, 280, 61, None))):
        refs: list[Cell] = []
        for bucket, count in zip(buckets, counts, strict=True):
            key = f"{name}.{bucket}"
            if count is None:
                book.hold_back(key, f"{name}, {bucket} s", "calls", Evidence.MEASURED, "<5", "fewer than 5 calls")
            else:
                book.enter(key, f"{name}, {bucket} s", "calls", count, Evidence.MEASURED, "usage")
            refs.append(Ref(key))
        rows.append(Row((name, *refs)))
    return Section(
        "answers",
        "Seconds to answer",
        "999 is answered within 10 s.",
        (Head("Number"), *(Head(bucket, "calls") for bucket in buckets)),
        tuple(rows),
        plot=Plot(Shape.HISTOGRAM, lines=(("999", "target.999"),)),
    )


EXAMPLE_SITES = (
    ("Ashcombe", "1914.28", "1061.79"),
    ("Dunmere", "682.46", "259.81"),
    (HOSTILE, "88.05", "120.60"),
    ("Port Lane", "", "75.00"),
)


def savings_example(sites: Sequence[tuple[str, str, str]] = EXAMPLE_SITES) -> Document:
    """A report with a section of each shape."""
    book = Book()
    by_site = site_section(book, sites)
    sections = (
        by_site,
        waterfall_section(book),
        months_section(book),
        tornado_section(book),
        answers_section(book),
    )
    return Document(
        "savings",
        "Savings of Northmoor, October 2025",
        "Not established: 46.29 % saved in October 2025, but 1 site of 4 has no baseline.",
        (("Claim", "more than 30 %"), ("Coverage", "3 of 4 sites"), ("Range", "28.90 % to 50.20 %")),
        sections,
        book,
        "GBP",
        (("estate", "sha256:0123abcd"), ("usage", "version 7")),
    )
