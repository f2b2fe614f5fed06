"""Who calls whom: calls and talk time from site to site in a month."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import duckdb

SMALL_COUNT = 5
"""Fewer calls than these are not told apart: in a small office they could name the people who called."""


class Pair(NamedTuple):
    """Calls from one site to another, or within a site."""

    site: str
    other_site: str
    calls: int
    """Attempts, answered or not."""
    answered: int
    seconds: int
    """Talk time of their lines [s]."""

    @property
    def small(self) -> bool:
        """Whether it is held back unless exact figures are asked for."""
        return self.calls < SMALL_COUNT


def site_pairs(connection: duckdb.DuckDBPyConnection, usage: str, month: int) -> list[Pair]:
    """Return pairs of a month (yyyymm) from a view of `usage`, most calls first; excluded lines do not count."""
    rows = connection.execute(
        "SELECT site, other_site, count(DISTINCT call_key), count(DISTINCT call_key) FILTER (answered), "
        f"sum(seconds)::BIGINT FROM {usage} "
        "WHERE month = ? AND excluded IS NULL AND site IS NOT NULL AND other_site IS NOT NULL "
        "GROUP BY site, other_site ORDER BY 3 DESC, site, other_site",
        [month],
    ).fetchall()
    return [Pair(*row) for row in rows]
