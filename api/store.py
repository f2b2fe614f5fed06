"""`callgauge store`: what the store holds, whether it is whole, its upkeep, forgetting, and its past."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say

if TYPE_CHECKING:
    from analytics.store.lake import Lake
    from analytics.store.schema import Table

FOUND = 1
"""Exit status: something is lost or wrong, or could not be done for one of several tables."""
UNUSABLE = 2
MASK = "***"

app = typer.Typer(help="The store: what it holds, whether it is whole, and its upkeep.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="Folder of the store.")]
TableName = Annotated[str | None, typer.Option("--table", metavar="NAME", help="Only this table.")]
DEFAULT = Path("callgauge-store")


class Format(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class Shown(StrEnum):
    """How a check is written."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def store() -> None:
    """Look after the store."""


@contextmanager
def _opened(folder: Path) -> Iterator[Lake]:
    from contextlib import closing

    from analytics.store.lake import Lake

    with closing(Lake.open(folder)) as lake:
        yield lake


def _guarded(work: Callable[[], int]) -> int:
    """Run the work of a command; what the store cannot do is one line and a status."""
    from analytics.store.settings import StoreError

    try:
        return work()
    except StoreError as error:
        say(str(error))
        return UNUSABLE


def _tables(name: str | None) -> list[Table]:
    from analytics.store import schema
    from analytics.store.settings import StoreError

    if name is None:
        return list(schema.TABLES)
    try:
        return [schema.table(name)]
    except KeyError as error:
        known = ", ".join(table.name for table in schema.TABLES)
        raise StoreError(f"there is no table {name}; there are {known}") from error


@app.command()
def tables(store: Folder = DEFAULT) -> int:
    """List the tables: rows, files, size, first and last day."""

    def work() -> int:
        with _opened(store) as lake:
            typer.echo(f"{'table':<16}{'rows':>14}{'files':>8}{'MB':>10}{'version':>9}  from        to")
            for table in _tables(None):
                version = lake.version(table.name)
                if version is None:
                    continue
                files = lake.files(table.name)
                begins = sorted(file.partition[table.partition] for file in files)
                span = f"{begins[0]}  {begins[-1]}" if begins else ""
                rows, megabytes = sum(file.rows for file in files), sum(file.size for file in files) / 1e6
                typer.echo(
                    f"{table.name:<16}{rows:>14,}{len(files):>8}{megabytes:>10,.1f}{version:>9}  {span}".rstrip()
                )
        return 0

    return _guarded(work)


@app.command()
def check(
    store: Folder = DEFAULT,
    deep: Annotated[bool, typer.Option("--deep", help="Read every value of every file too.")] = False,
    format_: Annotated[Shown, typer.Option("--format", help="How to write it.")] = Shown.TEXT,
) -> int:
    """Check that everything is there and as declared; status 1 when something is lost or wrong."""

    def work() -> int:
        from analytics.store.checking import as_json, check

        with _opened(store) as lake:
            checked, findings = check(lake, now=datetime.now(UTC), deep=deep)
        if format_ is Shown.JSON:
            typer.echo(as_json(checked, findings))
        else:
            for one in checked:
                held = f"{one.rows:,} rows in {one.files} files, {one.octets / 1e6:,.1f} MB"
                typer.echo(f"{one.table}: version {one.version}, {held}")
            for finding in findings:
                typer.echo(f"{'note' if finding.harmless else 'WRONG'}: {finding.sentence}")
            wrong = sum(1 for finding in findings if not finding.harmless)
            typer.echo("everything is whole" if not wrong else f"{wrong} findings")
        return FOUND if any(not finding.harmless for finding in findings) else 0

    return _guarded(work)


@app.command()
def compact(store: Folder = DEFAULT, table: TableName = None) -> int:
    """Apply retention, merge small files, remove what no version needs any more, shorten the log."""

    def work() -> int:
        from analytics.store.maintenance import maintain_all

        with _opened(store) as lake:
            done = maintain_all(lake, _tables(table), now=datetime.now(UTC))
        for one in done:
            if one.problem:
                say(one.problem)
            else:
                typer.echo(
                    f"{one.table}: {one.rows_expired:,} rows past their time, {one.files_merged} files merged into "
                    f"{one.files_made}, {one.files_removed} files removed ({one.octets_freed / 1e6:,.1f} MB), "
                    f"{one.versions_removed} old log entries removed"
                )
        return FOUND if any(one.problem for one in done) else 0

    return _guarded(work)


@app.command()
def forget(
    store: Folder = DEFAULT,
    table: TableName = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="DATE", help="Rows before this UTC day; needs --table.")
    ] = None,
    call: Annotated[
        list[str] | None, typer.Option("--call", metavar="KEY", help="Rows of this call, by its key or Call-ID.")
    ] = None,
    number: Annotated[
        list[str] | None, typer.Option("--number", metavar="N", help="Rows with this number, as it was recorded.")
    ] = None,
    device: Annotated[list[str] | None, typer.Option("--device", metavar="D", help="Rows of this device.")] = None,
    site: Annotated[list[str] | None, typer.Option("--site", metavar="S", help="Rows of this site.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> int:
    """Delete rows for good: from the tables, and from every file on the disk, old versions and quarantine included."""

    def work() -> int:
        from analytics.store.forget import Wanted, forget
        from analytics.store.settings import StoreError

        wanted = Wanted(_day(before), tuple(call or ()), tuple(number or ()), tuple(device or ()), tuple(site or ()))
        if wanted == Wanted():
            raise StoreError("say what to forget: --before, --call, --number, --device or --site")
        if wanted.before is not None and table is None:
            raise StoreError("--before needs --table: the tables differ in what they are kept for")
        with _opened(store) as lake:
            done = [forget(lake, one, wanted, now=datetime.now(UTC), dry_run=dry_run) for one in _tables(table)]
        verb = "would be forgotten" if dry_run else "forgotten"
        for one in done:
            if one.rows or one.quarantined or one.files_removed:
                typer.echo(
                    f"{one.table}: {one.rows:,} rows {verb}, {one.quarantined:,} in quarantine; "
                    f"{one.files_rewritten} files {'to be ' if dry_run else ''}rewritten, "
                    f"{one.files_removed} {'to be ' if dry_run else ''}removed from the disk"
                )
        typer.echo(f"{sum(one.rows + one.quarantined for one in done):,} rows {verb}")
        unfinished = sum(one.unfinished for one in done)
        if unfinished and not dry_run:
            say(f"{unfinished} files that are being written, or were left unfinished, hold such rows too: forget again")
        return FOUND if unfinished and not dry_run else 0

    return _guarded(work)


def _day(text: str | None) -> date | None:
    from analytics.store.settings import StoreError

    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise StoreError(f"{text} is no day: write it as 2025-10-31") from error


def _moment(text: str) -> datetime:
    from analytics.store.settings import StoreError

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise StoreError(f"{text} is no time: write it as 2025-10-31T12:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@app.command("as-of")
def as_of(
    table: Annotated[str, typer.Option("--table", metavar="NAME", help="The table.")],
    store: Folder = DEFAULT,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="How many versions to list.")] = 20,
    version: Annotated[int | None, typer.Option("--version", metavar="N", min=0, help="Rows of this version.")] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="TIME", help="Rows of the newest version at this time (UTC).")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="How to write rows.")] = Format.CSV,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write rows to FILE; else to stdout.")
    ] = None,
    show_numbers: Annotated[
        bool, typer.Option("--show-numbers", help="Show people's numbers and devices; masked otherwise.")
    ] = False,
) -> int:
    """Print the versions of a table, or the rows as they stood at one of them."""

    def work() -> int:
        from analytics.store.history import version_at, versions
        from analytics.store.settings import StoreError

        declared = _tables(table)[0]
        with _opened(store) as lake:
            if version is None and time is None:
                for one in versions(lake, declared, last):
                    rows = "" if one.rows is None else f"{one.rows:,} rows"
                    typer.echo(f"{one.number:>8}  {one.at:%Y-%m-%dT%H:%M:%S}Z  {one.what:<18} {rows}".rstrip())
                return 0
            if version is not None and time is not None:
                raise StoreError("give --version or --time, not both")
            if format_ is Format.PARQUET and out is None:
                raise StoreError("Parquet needs --out FILE")
            number = version if version is not None else version_at(lake, declared, _moment(time or ""))
            written = _write_rows(lake, declared, number, format_, out, show_numbers)
        say(f"{written:,} rows of version {number} of table {table}" + (f" written to {out}" if out else ""))
        return 0

    return _guarded(work)


def _harmless(table: Table) -> str:
    """SQL of texts that a spreadsheet does not compute: an apostrophe stands before those that begin as a formula."""
    from analytics.store.files import identifier
    from analytics.store.schema import Kind

    names = [identifier(column.name) for column in table.columns if column.kind is Kind.TEXT]
    return ", ".join(
        f"CASE WHEN regexp_matches({name}, '^[=+@\\t\\r\\n-]') THEN '''' || {name} ELSE {name} END AS {name}"
        for name in names
    )


def _write_rows(lake: Lake, table: Table, version: int, format_: Format, out: Path | None, show_numbers: bool) -> int:
    """Write the rows of a version, times as ISO 8601; return how many."""
    import shutil
    from tempfile import TemporaryDirectory

    import duckdb

    from analytics.store.files import identifier, literal
    from analytics.store.forget import DEVICES, NUMBERS
    from analytics.store.lake import TEMPORARY
    from analytics.store.settings import StoreError

    hidden = (NUMBERS | DEVICES) & {column.name for column in table.columns} if table.personal else frozenset()
    masks = [
        f"CASE WHEN {identifier(one)} IS NOT NULL THEN '{MASK}' END AS {identifier(one)}" for one in sorted(hidden)
    ]
    masked = f" REPLACE ({', '.join(masks)})" if masks and not show_numbers else ""
    connection = lake.connect()
    try:
        name = lake.view(connection, table.name, version=version)
        order = ", ".join(identifier(one) for one in (table.partition, *table.sort))
        query = f"SELECT *{masked} FROM {name} ORDER BY {order}"  # noqa: S608 - quoted
        harmless = _harmless(table)
        if format_ is Format.CSV and harmless:
            query = f"SELECT * REPLACE ({harmless}) FROM ({query})"  # noqa: S608 - quoted
        options = {
            Format.CSV: "FORMAT csv, HEADER, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%fZ'",
            Format.JSON: "FORMAT json, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%fZ'",
            Format.PARQUET: "FORMAT parquet, COMPRESSION zstd",
        }[format_]
        with TemporaryDirectory(dir=lake.root / TEMPORARY) as scratch:
            # Not to /dev/stdout: opening that would cut a file that stdout is appended to.
            target = Path(scratch) / "rows" if out is None else out
            rows = int(connection.execute(f"COPY ({query}) TO {literal(str(target))} ({options})").fetchall()[0][0])
            if out is None:
                sys.stdout.flush()
                with target.open("rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
        return rows
    except duckdb.Error as error:
        raise StoreError(f"rows cannot be written: {str(error).splitlines()[0]}") from error
    finally:
        connection.close()
