"""Records in the store -> rated usage lines: what `cdr import` ends with, and `callgauge rerate`."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import Bar, say

if TYPE_CHECKING:
    import duckdb

    from analytics.store.influx import InfluxSettings
    from analytics.store.lake import Lake
    from analytics.usage.changes import Changes
    from analytics.usage.derive import Book, Derived

UNUSABLE = 2
MEMORY_MB = 1_100
"""Memory of the connection that joins and rates [MB]: a million records and their lines, then it spills."""


def load_book(root: Path) -> Book:
    """Read the estate and its tariffs. EstateError where either has an error."""
    from analytics.cost.rating import Rater
    from analytics.usage.derive import Book
    from collector.estate.folder import load_estate
    from collector.estate.tariffs import load_tariffs

    estate = load_estate(root)
    settings = estate.settings
    tariffs = load_tariffs(root, settings)

    def rater(name: str) -> Rater | None:
        versions = tariffs.named(name)
        return Rater(versions, settings.timezone, estate.holidays) if versions else None

    digest = tariff_digest(root) if tariffs.versions else None
    return Book(estate, rater(settings.ip_tariff), rater(settings.legacy_tariff), digest)


def tariff_digest(root: Path) -> str:
    """SHA-256 over the names and bytes of the tariffs' files."""
    digest = hashlib.sha256()
    for path in sorted((root / "tariffs").rglob("*.csv")):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@contextmanager
def roomy(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the memory that joining and rating takes."""
    with closing(lake.connect()) as connection:
        connection.execute(f"SET memory_limit = '{MEMORY_MB}MB'")
        yield connection


def rate_pending(
    lake: Lake,
    book: Book,
    estate: Path,
    now: datetime,
    progress: Callable[[int, int], None] | None = None,
    already: Derived | None = None,
) -> Derived:
    """Rate the days whose records are not in `usage` yet; return what was made, with what was `already` just before.

    Nobody else may import meanwhile.
    """
    from analytics.usage.derive import Derived, derive, waiting

    before = already or Derived()
    with roomy(lake) as connection:
        found = waiting(lake, connection)
        made = derive(lake, connection, book, found.days, now, progress, found)
    _keep_elements(lake, book, sorted(before.made.union(found.days)), estate)
    return before + made


def _keep_elements(lake: Lake, book: Book, days: Sequence[date], root: Path) -> None:
    """Keep the cost elements of the months that these days' calls are billed in."""
    if not days:
        return
    from analytics.store.element_rows import keep_elements
    from collector.estate.costs import load_costs

    with closing(lake.connect()) as connection:
        lake.view(connection, "usage", name="usage_rated")
        listed = ", ".join(f"DATE '{day}'" for day in days)
        months = connection.execute(
            f"SELECT DISTINCT month FROM usage_rated WHERE day IN ({listed}) ORDER BY month"  # noqa: S608 -- days
        ).fetchall()
    costs = load_costs(root, {site.site for site in book.estate.sites})
    keep_elements(lake, book.estate, costs, [month for (month,) in months])


def rerate(
    store: Annotated[Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="The store.")] = Path(
        "callgauge-store"
    ),
    estate: Annotated[
        Path, typer.Option("--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="The estate and its tariffs.")
    ] = Path("estate"),
    since: Annotated[
        str | None, typer.Option("--since", metavar="DAY", help="First UTC day to rate anew, as 2025-10-01.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="DAY", help="Last UTC day, itself included.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would move and why; change nothing.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Print money to its last digit, not to the penny.")] = False,
) -> int:
    """Join, attribute and rate the records in the store anew, after a change of tariff or estate."""
    from analytics.store.lake import Lake
    from analytics.store.settings import StoreError
    from collector.cdr.files import CdrError
    from collector.cdr.journal import sole_import
    from collector.estate.problems import EstateError

    bar = Bar(sys.stderr.isatty(), "days")
    influx = influx_settings()
    try:
        first, last = _day(since, "--since"), _day(until, "--until")
        book = load_book(estate)
        with closing(Lake.open(store)) as lake, sole_import(lake.root, bar.note):
            days = _days(lake, first, last)
            if not days:
                say("the store holds no records of these days")
                return UNUSABLE
            changes = _changes(lake, book, days)
            if not dry_run:
                made = _derive(lake, book, days)
                _keep_elements(lake, book, days, estate)
                tell_influx(lake, influx, made.made)
    except (StoreError, EstateError, CdrError, ValueError) as error:
        say(str(error))
        return UNUSABLE
    finally:
        bar.close()
    for line in told(changes, book.estate.settings.currency, dry_run, exact):
        typer.echo(line)
    return 0


def _day(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{option}: {text} is not a day; write it as 2025-10-01") from None


def _days(lake: Lake, first: date | None, last: date | None) -> list[date]:
    from analytics.usage.derive import held_days

    return [day for day in held_days(lake) if (first is None or first <= day) and (last is None or day <= last)]


def _derive(lake: Lake, book: Book, days: Sequence[date]) -> Derived:
    from analytics.usage.derive import derive

    with roomy(lake) as connection:
        return derive(lake, connection, book, days, datetime.now(UTC))


def influx_settings() -> InfluxSettings | None:
    """Where costs go beside the store, as the settings say. SettingsError where they are wrong."""
    from api.settings import load

    settings = load()
    return settings.influx if settings.wants("influx") else None


def tell_influx(lake: Lake, influx: InfluxSettings | None, days: Collection[date]) -> None:
    """Write the cost of days that were rated to InfluxDB, where one is set; the store has them whatever comes of it."""
    if influx is None or not days:
        return
    from analytics.store.settings import StoreError
    from api.cost_outlet import send_costs

    try:
        said = send_costs(lake, influx, days, datetime.now(UTC).date())
    except StoreError as error:
        said = f"the cost of days was not handed to InfluxDB (callgauge rerate does it again): {error}"
    if said:
        say(said)


def _changes(lake: Lake, book: Book, days: Sequence[date]) -> Changes:
    """What would move, day by day."""
    import pyarrow as pa

    from analytics.usage.changes import Changes, added_up, compare_day
    from analytics.usage.derive import chunks, held_days, kept_batches, prepare, rated_batches

    found = Changes()
    with roomy(lake) as connection:
        usage = lake.view(connection, "usage", name="usage_before")
        for chunk in chunks(days, held_days(lake)):
            window = prepare(lake, connection, book, chunk)
            for day in chunk:
                made = list(rated_batches(connection, book, window.destinations, [day]))
                lines = [pa.Table.from_batches(made)] if made else []
                kept = list(kept_batches(lake, connection, [day]))
                if kept:
                    lines.append(pa.Table.from_batches(kept))
                now = pa.concat_tables(lines, promote_options="permissive") if lines else None
                compare_day(connection, usage, now, day, found)
    found.moved = added_up(found.moved)
    return found


def told(changes: Changes, currency: str, dry_run: bool, exact: bool) -> list[str]:
    """Say what moves, as lines of text: in all, by site and tariff, then by reason and row."""
    from analytics.cost.money import exact as exactly
    from analytics.cost.money import from_atoms
    from analytics.usage.changes import REASONS, by_site

    if not changes.moved:
        return [f"No line {'would move' if dry_run else 'moved'}: {changes.looked:,} days rated as before."]
    # Rows of rounded numbers would not add up; four decimals show what a single short call is worth.
    places = 4 if any(abs(change.new_atoms - change.old_atoms) < 60_000_000 for change in changes.moved) else 2

    def money(atoms: int) -> str:
        return exactly(atoms) if exact else f"{from_atoms(atoms, places):,}"

    def name(site: str | None) -> str:
        return site or "not attributed"

    def month(yyyymm: int) -> str:
        return f"{yyyymm // 100}-{yyyymm % 100:02d}"

    sums = []
    for side in ("ip", "legacy"):
        moved = sum(change.new_atoms - change.old_atoms for change in changes.moved if change.side == side)
        sums.append(f"{side} {money(moved)}")
    would = "would move" if dry_run else "moved"
    head = f"{changes.lines:,} usage lines of {changes.days:,} days {would}: {', '.join(sums)} {currency}."
    amounts = (f"before {currency}", f"after {currency}", "difference")
    sites = [("month", "site", "tariff", *amounts)]
    sites += [
        (month(m.month), name(m.site), m.side, money(m.old_atoms), money(m.new_atoms), money(m.new_atoms - m.old_atoms))
        for m in by_site(changes.moved)
    ]
    rows = [("month", "site", "tariff", "why", "lines", *amounts, "row")]
    rows += [
        (
            month(c.month),
            name(c.new_site if c.reason != "gone" else c.old_site),
            c.side,
            c.reason,
            f"{c.lines:,}",
            money(c.old_atoms),
            money(c.new_atoms),
            money(c.new_atoms - c.old_atoms),
            c.before if c.before == c.after else f"{c.before or '—'} → {c.after or '—'}",
        )
        for c in changes.moved
    ]
    why = [f"  {reason}: {REASONS[reason]}" for reason in dict.fromkeys(change.reason for change in changes.moved)]
    return [head, "", *_columns(sites, {3, 4, 5}), "", *_columns(rows, {4, 5, 6, 7}), "", "Why", *why]


def _columns(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    """Rows as lines of text, in columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
