"""Usage lines made by hand, for tests of what reports ask of the lake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from lake_rows import arrow_schema

from analytics.store.schema import USAGE

LONDON = ZoneInfo("Europe/London")
OCTOBER = 202510


def line(at: datetime, seconds: int = 60, **given: Any) -> dict[str, Any]:
    """One usage line that was answered after 3 s, unless told otherwise; `at` is when the attempt began."""
    waited = given.pop("waited", 3 if given.get("answered", True) else None)
    answered = waited is not None
    start = at + timedelta(seconds=waited or 0)
    local = start.astimezone(LONDON)
    row: dict[str, Any] = {column.name: None for column in USAGE.columns}
    row |= {
        "day": at.astimezone(UTC).date(),
        "source": "cucm",
        "system": "",
        "file_key": 1,
        "line": 3,
        "records": 1,
        "origination": at.astimezone(UTC),
        "start": start.astimezone(UTC),
        "month": local.year * 100 + local.month,
        "seconds": seconds if answered else 0,
        "answered": answered,
        "seconds_to_answer": waited,
        "kind": "outbound",
        "number_class": "geographic",
        "site": "A",
        "site_evidence": "device",
        "transfers_before_answer": 0,
        "dropped": False,
        "ip_cost": 0,
        "legacy_cost": 0,
    }
    return row | given


def inbound(at: datetime, waited: int | None, number: str = "101", **given: Any) -> dict[str, Any]:
    """A call of the public that waited so long, or was not answered."""
    site = given.get("site", "A")
    fixed = {"kind": "inbound", "number_class": None, "public_number": number, "waited": waited, "ip_cost": None}
    return line(at, **{**fixed, "answered_by": site if waited is not None else None, **given})


def usage_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as the lake takes them; keys are given by position where a row has none."""
    whole = []
    for number, row in enumerate(rows, 1):
        key = row["line_key"] or number
        whole.append({**row, "line_key": key, "call_key": row["call_key"] or key})
    return pa.Table.from_pylist(whole, schema=arrow_schema(USAGE))
