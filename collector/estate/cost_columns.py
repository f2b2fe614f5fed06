"""Every file of the estate that says what things cost, each column declared once."""

from __future__ import annotations

from analytics.cost.elements import ElementKind, PaysFor, Side
from collector.estate.table import Column, TableFile

_FROM = Column("valid_from", "first local day on which the row holds, YYYY-MM-DD; blank: since ever")
_TO = Column("valid_to", "last local day on which the row holds; blank: still")
_SOURCE = Column("source", "where the number was read: invoice, contract, ledger line")

EVIDENCE = ("measured", "allocated", "estimated", "missing")
"""Words that say how well an amount is known."""
EVERY_SITE = "*"
"""In place of a site: the amount is the whole estate's."""

ELEMENTS = TableFile(
    "elements.csv",
    "What each side costs a month, without VAT. An amount that holds for a part of a month counts by its days.",
    (
        Column("side", f"{', '.join(Side)}: the system that was replaced, or today's", needed=True),
        Column("site", "site, as in sites.csv; *: the whole estate, placed over the sites by key", needed=True),
        Column("element", "name of the element", needed=True),
        Column(
            "kind",
            f"{', '.join(ElementKind)}: usage is the call charges of the legacy bill (today's come from rated calls); "
            "one_off is paid once, in the month of valid_from",
            needed=True,
        ),
        Column("pays_for", f"{', '.join(PaysFor)}: each must stand on both sides; not for usage and one_off"),
        Column("amount", "amount a month in the estate's currency; blank where it is missing"),
        Column("evidence", f"{', '.join(EVIDENCE)}", needed=True),
        Column("key", "allocation key of keys.csv; for site * alone"),
        Column("alternatives", "other keys that might be used, separated by spaces: they give the range"),
        Column("share", "part of the amount that is voice, 0 to 1; blank: all of it"),
        Column("share_low", "lowest that the share may be"),
        Column("share_high", "highest that the share may be"),
        Column("low", "lowest that the amount may be; blank: 0 for what is estimated or missing"),
        Column("high", "highest that the amount may be; blank for what is estimated or missing: not known"),
        Column("amortise_months", "amount is spread over so many months from valid_from"),
        _SOURCE,
        _FROM,
        _TO,
    ),
)
KEYS = TableFile(
    "keys.csv",
    "Allocation keys: each site's weight. The value on the last day of a month is used.",
    (
        Column("key", "name of the key, e.g. handsets or busy_hour_mbit", needed=True),
        Column("site", "site, as in sites.csv", needed=True),
        Column("value", "its weight, 0 or more", needed=True),
        _FROM,
        _TO,
    ),
)
BASELINE = TableFile(
    "baseline.csv",
    "What the legacy bill was for, and what prices have done since.",
    (
        Column("site", "site, as in sites.csv", needed=True),
        Column("baseline_minutes", "chargeable minutes a month that the bill's call charges were for"),
        Column("index_factor", "prices of the month compared ÷ prices of the baseline, e.g. 1.0412"),
        Column("index_low", "lowest that the factor may be"),
        Column("index_high", "highest that the factor may be"),
        Column("index_series", "name of the series that the factor comes from"),
        _SOURCE,
        _FROM,
        _TO,
    ),
)
INVOICES = TableFile(
    "invoices.csv",
    "What suppliers billed for calls, to hold the records against.",
    (
        Column("month", "month by the estate's calendar, YYYY-MM", needed=True),
        Column("side", f"{', '.join(Side)}", needed=True),
        Column("site", "site, as in sites.csv; blank: the whole estate"),
        Column("minutes", "minutes of outgoing calls"),
        Column("amount", "call charges without VAT, in the estate's currency"),
        _SOURCE,
    ),
)
COST_FILES = (ELEMENTS, KEYS, BASELINE, INVOICES)
