"""Inclusive minutes as a table of credits: what each site's call charges are less by, under either tariff."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from analytics.cost.document import Document, Head, Ref, Row, Section
from analytics.cost.figures import Book
from analytics.cost.lines import NO_SITE
from analytics.cost.money import ATOMS_PER_UNIT
from analytics.cost.months import spoken
from analytics.cost.names import key_of, one_part, sum_of
from analytics.cost.usage_sections import NO_SITE_NAME
from analytics.store.cost_queries import Usage

NAME = "inclusive"
_LINE_OF = {"ip": "ip_calls", "legacy": "rerated"}
_SAID = {"ip": "today", "legacy": "legacy"}


def with_credits(document: Document, usage: Usage, months: Collection[int], only: str | None = None) -> Document:
    """Return a report of costs or savings with the credits of its months, of all sites or one, before its last table.

    The charges in its other tables are after these credits.
    """
    found: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    for one in usage.covered:
        site = one.site or NO_SITE
        key = key_of(one.month, one_part(site), _LINE_OF[one.tariff])
        key = f"{key}.{one.number_class}.atoms.inclusive"
        if one.month in months and only in (None, site) and key in document.book:
            found[one.month, site, one.tariff].append(key)
    if not found:
        return document
    book = Book.of(document.book)
    section = _section(book, found)
    return replace(document, book=book, sections=(*document.sections[:-1], section, *document.sections[-1:]))


def _section(book: Book, found: dict[tuple[int, str, str], list[str]]) -> Section:
    rows = []
    of_tariff: dict[str, list[str]] = defaultdict(list)
    for (month, site, tariff), parts in sorted(found.items()):
        name = NO_SITE_NAME if site == NO_SITE else site
        key = key_of("credit", month, one_part(site), tariff)
        label = f"Inclusive minutes, {_SAID[tariff]}, {name}, {spoken(month)}"
        book.compute(key, label, "money", f"round((0 - {sum_of(parts)}) / {ATOMS_PER_UNIT}, 2)")
        of_tariff[tariff].append(key)
        cells = [Ref(key) if tariff == column else "" for column in _SAID]
        rows.append(Row((spoken(month), name, *cells)))
    totals = []
    for tariff, said in _SAID.items():
        key = key_of("credit", "#all", tariff)
        if of_tariff[tariff]:
            book.compute(key, f"Inclusive minutes, {said}, all", "money", sum_of(of_tariff[tariff]))
        totals.append(Ref(key) if of_tariff[tariff] else "")
    rows.append(Row(("All", "", *totals), total=True))
    return Section(
        NAME,
        "Credit of inclusive minutes",
        "What the tariffs' inclusive minutes take off the charges of the same calls. Charges in the other tables are "
        "after it; a whole month of calls uses the minutes up.",
        (Head("Month"), Head("Site"), Head("Today", "money"), Head("Legacy tariff", "money")),
        tuple(rows),
    )
