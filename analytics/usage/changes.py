"""What a re-rate moves: lines as they are in the lake against lines as they would be made now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Change:
    """Lines of one month and site that move for one reason, under one tariff."""

    month: int
    """yyyymm."""
    site: str | None
    """Site that pays, as it would be now; None: not attributed."""
    side: str
    """`ip` or `legacy`."""
    reason: str
    """See `REASONS`."""
    before: str
    """Row of the tariff as it is: version:line; site or class where that is the reason."""
    after: str
    """The same as it would be."""
    lines: int
    old_atoms: int
    new_atoms: int


REASONS = {
    "added": "the line is new: its records came in late, or are joined otherwise",
    "gone": "the line is no more: its records are joined otherwise, or were forgotten",
    "site": "another site pays",
    "class": "the number is classed otherwise, or the line is another kind of call",
    "version": "another version of the tariff holds",
    "row": "another row of the same version matches",
    "price": "the same row has another price or increment",
    "seconds": "the talk time is another",
    "rated": "the line had no price",
    "unrated": "the line has no price now",
}
"""Why a line moves; the first that holds is given."""


def changes_of_day(connection: duckdb.DuckDBPyConnection, usage: str, made: pa.Table, day: date) -> list[Change]:
    """Compare the lines of a day in the view `usage` with those that would be made now."""
    connection.register("made_now", made)
    found: list[Change] = []
    for side in ("ip", "legacy"):
        rows = connection.execute(f"""
            WITH old AS (SELECT * FROM {usage} WHERE day = DATE '{day}'),
            pair AS (
                SELECT coalesce(n.month, o.month) AS month, coalesce(n.site, o.site) AS site,
                    o.{side}_cost AS was, n.{side}_cost AS becomes,
                    o.{side}_tariff || ':' || o.{side}_row AS old_row,
                    n.{side}_tariff || ':' || n.{side}_row AS new_row,
                    o.site AS old_site, n.site AS new_site,
                    o.kind || ' ' || coalesce(o.number_class, '') AS old_class,
                    n.kind || ' ' || coalesce(n.number_class, '') AS new_class,
                    CASE WHEN o.line_key IS NULL THEN 'added' WHEN n.line_key IS NULL THEN 'gone'
                        WHEN o.site IS DISTINCT FROM n.site THEN 'site'
                        WHEN old_class <> new_class THEN 'class'
                        WHEN was IS NULL AND becomes IS NULL THEN NULL
                        WHEN was IS NULL THEN 'rated' WHEN becomes IS NULL THEN 'unrated'
                        WHEN o.{side}_tariff IS DISTINCT FROM n.{side}_tariff THEN 'version'
                        WHEN o.{side}_row IS DISTINCT FROM n.{side}_row THEN 'row'
                        WHEN o.seconds <> n.seconds THEN 'seconds'
                        WHEN was <> becomes OR o.{side}_seconds IS DISTINCT FROM n.{side}_seconds THEN 'price' END
                        AS reason
                FROM old o FULL OUTER JOIN made_now n USING (line_key)
            )
            SELECT month, site, reason, coalesce(CASE reason WHEN 'site' THEN old_site WHEN 'class' THEN old_class
                    ELSE old_row END, '') AS before_,
                coalesce(CASE reason WHEN 'site' THEN new_site WHEN 'class' THEN new_class
                    ELSE new_row END, '') AS after_,
                count(*), coalesce(sum(was), 0)::BIGINT, coalesce(sum(becomes), 0)::BIGINT
            FROM pair WHERE reason IS NOT NULL GROUP BY ALL ORDER BY ALL
        """).fetchall()
        found += [
            Change(month, site, side, reason, before, after, lines, int(old), int(new))
            for month, site, reason, before, after, lines, old, new in rows
        ]
    connection.unregister("made_now")
    return found


def added_up(changes: Iterable[Change]) -> list[Change]:
    """Add changes of several days that are alike in all but their numbers."""
    sums: dict[tuple[object, ...], Change] = {}
    for change in changes:
        key = (change.month, change.site, change.side, change.reason, change.before, change.after)
        have = sums.get(key)
        sums[key] = (
            change
            if have is None
            else Change(
                change.month,
                change.site,
                change.side,
                change.reason,
                change.before,
                change.after,
                have.lines + change.lines,
                have.old_atoms + change.old_atoms,
                have.new_atoms + change.new_atoms,
            )
        )
    return sorted(sums.values(), key=lambda c: (c.month, c.site or "", c.side, c.reason, c.before, c.after))
