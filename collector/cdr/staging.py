"""Temporary tables that readers put rows into before the lake takes them, columns exactly as its schema has them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from analytics.store.schema import CDR_ROWS, PHONE_REPORTS, Table

if TYPE_CHECKING:
    import duckdb

STAGED: Final = {CDR_ROWS.name: "staged_cdr_rows", PHONE_REPORTS.name: "staged_phone_reports"}
"""Temporary table of each table of the lake."""


class Staged(NamedTuple):
    """What became of one file."""

    rows: int
    """Records in it."""
    kept: int
    """Records staged as rows of `cdr_rows` or, for a file of reports, of `phone_reports`."""
    first: datetime | None = None
    """Earliest time of a kept record; None where none was kept."""
    last: datetime | None = None


def make_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the temporary tables, empty."""
    for table in (CDR_ROWS, PHONE_REPORTS):
        columns = ", ".join(f'"{column.name}" {column.kind.value}' for column in table.columns)
        connection.execute(f"create or replace temp table {STAGED[table.name]} ({columns})")


def staged_table(table: Table) -> str:
    """Name of the temporary table for a table of the lake."""
    return STAGED[table.name]
