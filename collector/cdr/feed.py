"""Files that a CUCM feed lost in a span of time, told from the names of those that were imported."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from analytics.store.schema import IMPORTS
from collector.cdr.sequence import Gap, Seen, gaps

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake

_STAMP: Final = "%Y%m%d%H%M"
_NAMED: Final = """
    SELECT node, record, sequence, regexp_extract(name, '_([0-9]{{12}})_[0-9]+', 1) AS minute
    FROM {view} WHERE sequence IS NOT NULL AND node IS NOT NULL
"""


def missing_between(lake: Lake, since: datetime, until: datetime) -> list[Gap]:
    """Return the numbers of files that are missing from feeds between two moments, in order of time."""
    with closing(lake.connect()) as connection:
        view = lake.view(connection, IMPORTS.name)
        span = [f"{moment.astimezone(UTC):{_STAMP}}" for moment in (since, until)]
        rows = _around(connection, view, span)
    seen = [
        Seen(node, record, datetime.strptime(minute, _STAMP).replace(tzinfo=UTC), sequence)
        for node, record, minute, sequence in rows
    ]
    found = [gap for gap in gaps(seen) if gap.before > since and gap.after < until]
    return sorted(found, key=lambda gap: (gap.after, gap.node, gap.record))


def _around(connection: duckdb.DuckDBPyConnection, view: str, span: list[str]) -> list[tuple[str, str, str, int]]:
    """Files of the span and the nearest about it, of nodes whose numbers in it are not all there.

    A feed has a file a minute: a year of them is read only where something is missing.
    """
    return connection.execute(
        f"""
        WITH named AS ({_NAMED.format(view=view)}),
        near AS (
            SELECT * FROM named WHERE minute BETWEEN $1 AND $2
            UNION SELECT * FROM named WHERE minute < $1
                  QUALIFY row_number() OVER (PARTITION BY node, record ORDER BY minute DESC, sequence DESC) = 1
            UNION SELECT * FROM named WHERE minute > $2
                  QUALIFY row_number() OVER (PARTITION BY node, record ORDER BY minute, sequence) = 1
        ),
        whole AS (SELECT node, max(sequence) - min(sequence) + 1 = count(DISTINCT sequence) AS is_whole
                  FROM near GROUP BY node)
        SELECT node, record, minute, sequence FROM near JOIN whole USING (node) WHERE NOT is_whole
        """,  # noqa: S608 - own names
        span,
    ).fetchall()
