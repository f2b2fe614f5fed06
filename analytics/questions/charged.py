"""Lines behind a charge: the usage lines of a site, month and class, each with the row of the tariff and its record."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from analytics.cost.lines import NO_SITE
from analytics.cost.money import ATOMS_PER_UNIT, round_money
from analytics.questions.asking import QuestionError, begun, key_text, pack, unpack
from analytics.store.cost_queries import utc_span
from analytics.store.schema import CDR_ROWS, IMPORTS, USAGE

if TYPE_CHECKING:
    from analytics.store.lake import Lake

MOST_LINES: Final = 1000
PLACES: Final = 6
"""Decimals that the price of one line is told with: it is rounded with the others of its site, not by itself."""
TARIFFS: Final = ("ip", "legacy")


class ChargedLine(NamedTuple):
    """A leg of a call that is in a charge."""

    start: datetime
    """When it was answered, else the begin of the attempt."""
    origination: datetime
    """Begin of the attempt."""
    seconds: int
    """Talk time [s]."""
    charged_seconds: int | None
    """After minimum and increment [s]; None: it has no price."""
    cost: str | None
    """Price in the estate's currency, before rounding, to six decimals; None: it has no price."""
    why: str | None
    """Why it has no price; None: it has one."""
    tariff: str | None
    """Version of the tariff, name@date."""
    tariff_row: int | None
    """Line of the row in that version's rates.csv."""
    destination: str | None
    """First digits of the far number, as many as tell its class."""
    trunk: str | None
    """Gateway or trunk that it went through."""
    file: str | None
    """Name of the imported file of its first record; None: the store has no such import any more."""
    line: int
    """Line of its first record in that file."""
    file_key: str
    """The file in `imports`, 16 hexadecimal digits."""
    calling: str | None
    """Calling number as recorded, for those with the right to see numbers."""
    called: str | None
    """Called number as recorded, for those with the right to see numbers."""


class ChargedLines(NamedTuple):
    """A page of lines in order of time."""

    rows: tuple[ChargedLine, ...]
    cursor: str | None
    in_all: int
    """Lines of all pages."""


class Charge(NamedTuple):
    """What is charged."""

    month: int
    """yyyymm."""
    site: str
    """`*`: lines at no site."""
    number_class: str
    """Class of the far number, or `inbound`."""
    tariff: str = "ip"
    """ip or legacy."""


def charged_lines(
    lake: Lake, charge: Charge, zone: str, *, numbers: bool = False, limit: int = 100, cursor: str | None = None
) -> ChargedLines:
    """Return lines that make up a charge, oldest first; their numbers only where `numbers`."""
    if not 1 <= limit <= MOST_LINES:
        raise QuestionError(f"a page has from 1 to {MOST_LINES:,} rows")
    if charge.tariff not in TARIFFS:
        raise QuestionError("the tariff is ip or legacy")
    since, until = utc_span([charge.month], zone)
    paid = charge.tariff
    values: list[object] = [charge.month, charge.number_class]
    where = "month = ? AND excluded IS NULL AND coalesce(number_class, 'inbound') = ?"
    if charge.site == NO_SITE:
        where += " AND site IS NULL"
    else:
        where += " AND site = ?"
        values.append(charge.site)
    after = ""
    if cursor is not None:
        after = "WHERE (began, line_key) > (?, ?)"
        values += unpack(cursor, [int, int])
    with lake.reading() as connection:
        usage = lake.query(connection, USAGE.name, since=since, until=until)
        files = lake.query(connection, IMPORTS.name)
        records = lake.query(connection, CDR_ROWS.name, since=since, until=until)
        party = (
            f"(SELECT file_key, line, any_value(calling) AS calling, any_value(called) AS called "  # noqa: S608
            f"FROM ({records}) WHERE (file_key, line) IN (SELECT (file_key, line) FROM page) GROUP BY ALL)"
            if numbers
            else "(SELECT NULL::BIGINT AS file_key, 0 AS line, NULL::VARCHAR AS calling, NULL::VARCHAR AS called)"
        )
        found = connection.execute(
            f"""
            WITH lines AS (SELECT *, epoch_us(start) AS began FROM ({usage}) WHERE {where}),
            page AS (SELECT *, (SELECT count(*) FROM lines) AS in_all FROM lines {after}
                     ORDER BY began, line_key LIMIT {limit + 1}),
            named AS (SELECT file_key, any_value(name) AS name FROM ({files}) GROUP BY file_key)
            SELECT began, epoch_us(origination), seconds, {paid}_seconds, {paid}_cost, {paid}_why, {paid}_tariff,
                   {paid}_row, destination, trunk, named.name, page.line, page.file_key, party.calling, party.called,
                   line_key, in_all
            FROM page LEFT JOIN named USING (file_key)
            LEFT JOIN {party} AS party ON party.file_key = page.file_key AND party.line = page.line
            ORDER BY began, line_key
            """,  # noqa: S608 -- own names
            values,
        ).fetchall()
    more = pack([found[limit - 1][0], found[limit - 1][15]]) if len(found) > limit else None
    rows = tuple(
        ChargedLine._make(
            [begun(row[0]), begun(row[1]), *row[2:4], _price(row[4]), *row[5:12], key_text(row[12]), *row[13:15]]
        )
        for row in found[:limit]
    )
    return ChargedLines(rows, more, found[0][16] if found else 0)


def _price(atoms: int | None) -> str | None:
    """Return what a line costs, in the currency."""
    return None if atoms is None else f"{round_money(Decimal(atoms) / ATOMS_PER_UNIT, PLACES):f}"
