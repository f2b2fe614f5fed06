"""Cost elements as rows of the lake: what the estate stated for a month when that month was rated.

Reports are made from the estate's files; these rows are what an auditor holds them against years later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from analytics.cost.figures import Book
from analytics.cost.lines import element_lines
from analytics.cost.money import to_atoms
from analytics.cost.months import first_day
from analytics.store.arrow_rows import arrow_table
from analytics.store.schema import ELEMENTS

if TYPE_CHECKING:
    from analytics.cost.elements import Costs
    from analytics.sites import Estate
    from analytics.store.lake import Lake


def element_rows(estate: Estate, costs: Costs, month: int) -> pa.Table:
    """Return the amount of each element at each site in a month (yyyymm)."""
    book = Book()
    rows = []
    for line in element_lines(book, costs, month, estate.sites):
        value = book[line.key].value
        rows.append(
            {
                "month": first_day(month),
                "site": line.site,
                "side": line.element.side.value,
                "element": line.element.element,
                "kind": line.element.kind.value,
                "amount": None if value is None else to_atoms(value),
                "currency": estate.settings.currency,
                "evidence": line.element.evidence.value,
                "key": line.element.key,
                "stated_at": str(line.element.origin),
                "estate": estate.digest,
            }
        )
    return arrow_table(ELEMENTS, rows)


def keep_elements(lake: Lake, estate: Estate, costs: Costs, months: Sequence[int]) -> int:
    """Keep the elements of some months; what this state of the estate's files said is kept once. Return the rows."""
    kept = 0
    for month in months:
        batch = f"elements {month} {estate.digest}"
        kept += lake.append(ELEMENTS.name, element_rows(estate, costs, month), batch=batch).rows
    return kept
