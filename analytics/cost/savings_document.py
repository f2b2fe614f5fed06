"""The savings report: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from analytics.cost.document import Document, Head, Plot, Ref, Row, Section, Shape
from analytics.cost.savings import TOTAL, Savings, make_savings, month_prefix
from analytics.cost.statement import CostFacts

_MONEY_HEADS = (
    Head("IP actual", "money"),
    Head("Legacy as billed", "money"),
    Head("Legacy, method 1", "money"),
    Head("Legacy, method 2", "money"),
    Head("Saving 1", "money"),
    Head("Saving 1", "percent"),
    Head("Saving 2", "money"),
    Head("Saving 2", "percent"),
)
_MONEY_NAMES = ("ip", "billed", "m1", "m2", "s1", "p1", "s2", "p2")


def savings_document(facts: CostFacts, months: Sequence[int]) -> Document:
    """Describe the savings of some months (yyyymm, any order) as a report."""
    savings = make_savings(facts, months)
    return Document(
        name="savings",
        title=f"Savings, {savings.span}",
        sentence="",
        facts=(("VAT", "all amounts are without VAT"),),
        sections=(_sites(savings), _months(savings)),
        book=savings.book,
        currency=facts.settings.currency,
        sources=facts.sources,
    )


def _cells(prefix: str) -> tuple[Ref, ...]:
    return tuple(Ref(f"{prefix}.{name}") for name in _MONEY_NAMES)


def _sites(savings: Savings) -> Section:
    rows = [Row((site, *_cells(prefix))) for site, prefix in savings.site_prefixes.items()]
    rows.append(Row(("All", *_cells(TOTAL)), total=True))
    return Section(
        "sites",
        "Site by site",
        "Totals are sums of the lines.",
        (Head("Site"), *_MONEY_HEADS),
        tuple(rows),
        plot=Plot(Shape.DUMBBELLS, columns=(4, 1)),
    )


def _months(savings: Savings) -> Section:
    rows = [Row((str(one.month), *_cells(month_prefix(one.month)))) for one in savings.months]
    rows.append(Row(("All", *_cells(TOTAL)), total=True))
    return Section(
        "months",
        "Month by month",
        "",
        (Head("Month"), *_MONEY_HEADS),
        tuple(rows),
        plot=Plot(Shape.MONTHS, columns=(4, 1)),
    )
