"""What a re-rate moves: lines as they are in the lake against lines as they would be made now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date

import duckdb
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Change:
    """Lines of one month that move for one reason, under one tariff."""

    month: int
    """yyyymm, as it would be now."""
    old_site: str | None
    """Site that pays as the lines are; None: not attributed, or the lines are new."""
    new_site: str | None
    """Site that would pay; None: not attributed, or the lines are gone."""
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


@dataclass(slots=True)
class Changes:
    """All that moves."""

    moved: list[Change] = field(default_factory=list)
    lines: int = 0
    """Usage lines that move under either tariff, each once."""
    days: int = 0
    """Days with such lines."""
    looked: int = 0
    """Days that were compared."""


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

_PAIRS = """
    SELECT '{side}' AS side, coalesce(n.line_key, o.line_key) AS line_key, coalesce(n.month, o.month) AS month,
        o.site AS old_site, n.site AS new_site, o.{side}_cost AS was, n.{side}_cost AS becomes,
        o.{side}_tariff || ':' || o.{side}_row AS old_row, n.{side}_tariff || ':' || n.{side}_row AS new_row,
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
            WHEN was <> becomes OR o.{side}_seconds IS DISTINCT FROM n.{side}_seconds THEN 'price' END AS reason
    FROM (SELECT * FROM {usage} WHERE day = DATE '{day}') o FULL OUTER JOIN made_now n USING (line_key)
"""


def compare_day(
    connection: duckdb.DuckDBPyConnection, usage: str, made: pa.Table | None, day: date, into: Changes
) -> None:
    """Compare the lines of a day in the view `usage` with those that would be made now; None where there are none."""
    if made is None:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE made_now AS FROM {usage} LIMIT 0")
    else:
        connection.register("made_arrow", made)
        connection.execute("CREATE OR REPLACE TEMP TABLE made_now AS FROM made_arrow")
        connection.unregister("made_arrow")
    pairs = " UNION ALL ".join(_PAIRS.format(side=side, usage=usage, day=day) for side in ("ip", "legacy"))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE moving AS SELECT * FROM ({pairs}) WHERE reason IS NOT NULL")
    rows = connection.execute("""
        SELECT month, old_site, new_site, side, reason,
            coalesce(CASE reason WHEN 'site' THEN old_site WHEN 'class' THEN old_class ELSE old_row END, '') AS before_,
            coalesce(CASE reason WHEN 'site' THEN new_site WHEN 'class' THEN new_class ELSE new_row END, '') AS after_,
            count(*), coalesce(sum(was), 0)::BIGINT, coalesce(sum(becomes), 0)::BIGINT
        FROM moving GROUP BY ALL ORDER BY ALL
    """).fetchall()
    into.moved += [Change(*row) for row in rows]
    ((counted,),) = connection.execute("SELECT count(DISTINCT line_key) FROM moving").fetchall()
    into.lines += counted
    into.days += bool(counted)
    into.looked += 1


def added_up(changes: Iterable[Change]) -> list[Change]:
    """Add changes of several days that are alike in all but their numbers."""
    sums: dict[tuple[object, ...], Change] = {}
    for change in changes:
        key = (
            change.month,
            change.old_site,
            change.new_site,
            change.side,
            change.reason,
            change.before,
            change.after,
        )
        have = sums.get(key, replace(change, lines=0, old_atoms=0, new_atoms=0))
        sums[key] = replace(
            have,
            lines=have.lines + change.lines,
            old_atoms=have.old_atoms + change.old_atoms,
            new_atoms=have.new_atoms + change.new_atoms,
        )
    return sorted(
        sums.values(), key=lambda c: (c.month, c.new_site or c.old_site or "", c.side, c.reason, c.before, c.after)
    )


@dataclass(frozen=True, slots=True)
class SiteMove:
    """What a site's charge was for the lines that move, and what it would be."""

    month: int
    site: str | None
    side: str
    old_atoms: int
    new_atoms: int


def by_site(changes: Iterable[Change]) -> list[SiteMove]:
    """Add up by site: what moves from one site to another is taken from the one and laid on the other."""
    sums: dict[tuple[int, str, str], list[int]] = {}
    for change in changes:
        if change.reason != "added":
            sums.setdefault((change.month, change.old_site or "", change.side), [0, 0])[0] += change.old_atoms
        if change.reason != "gone":
            sums.setdefault((change.month, change.new_site or "", change.side), [0, 0])[1] += change.new_atoms
    return [SiteMove(month, site or None, side, *atoms) for (month, site, side), atoms in sorted(sums.items())]
