"""`callgauge cdr`: call detail records into the store."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import Bar, say

if TYPE_CHECKING:
    from analytics.usage.derive import Book, Derived
    from collector.cdr.importing import ImportSettings, Summary
    from collector.cdr.rejects import Rejects

PARTLY = 1
"""Exit status: something that was meant to be imported was not."""
UNUSABLE = 2
DEFAULT_STORE = Path("callgauge-store")
DEFAULT_REJECTS = Path("callgauge-rejects.csv")

app = typer.Typer(help="Call detail records: bring them into the store.", no_args_is_help=True)


@app.callback()
def cdr() -> None:
    """Call detail records: bring them into the store."""


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files or folders; .gz and .zst as they are.")],
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="The store, made if absent.")
    ] = DEFAULT_STORE,
    estate: Annotated[
        Path | None,
        typer.Option(
            "--estate",
            metavar="DIR",
            envvar="CALLGAUGE_ESTATE",
            help="The estate: its zone reads local times, its tariffs rate.",
        ),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="NAME", help="auto, cucm, asterisk, freeswitch or avaya.")
    ] = "auto",
    mapping: Annotated[
        Path | None, typer.Option("--mapping", metavar="FILE", help="Columns of any other CSV, described in FILE.")
    ] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", metavar="ZONE", help="Zone of local times in records, e.g. Europe/London.")
    ] = None,
    system: Annotated[str, typer.Option("--system", metavar="NAME", help="Name of an exchange that gives none.")] = "",
    rejects: Annotated[
        Path, typer.Option("--rejects", metavar="FILE", help="Where rejected records are added.")
    ] = DEFAULT_REJECTS,
    settle: Annotated[
        float, typer.Option("--settle", metavar="S", min=0, help="Look twice at files that changed within S seconds.")
    ] = 2.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check, keep nothing.")] = False,
    progress: Annotated[
        bool | None,
        typer.Option("--progress/--no-progress", help="A bar on stderr; by itself when stderr is a terminal."),
    ] = None,
) -> int:
    """Import call detail records, each file once."""
    from analytics.store.settings import StoreError
    from api.usage import load_book
    from collector.cdr.files import CdrError
    from collector.cdr.mapping import MappingError
    from collector.cdr.rejects import Rejects
    from collector.estate.problems import EstateError

    bar = Bar(sys.stderr.isatty() if progress is None else progress, "records")
    try:
        settings = import_settings(format_, mapping, zone, estate, system)
        book = None if estate is None or dry_run else load_book(estate)
        with Rejects(rejects, datetime.now(UTC)) as refused:
            summary, rated = _run(paths, store, settings, refused, settle, dry_run, estate, book, bar)
    except (CdrError, MappingError, EstateError, StoreError) as error:
        say(str(error))
        return UNUSABLE
    finally:
        bar.close()
    from api.cdr_summary import lines, rated_line

    for line in lines(summary, refused, dry_run):
        typer.echo(line)
    if not dry_run:
        typer.echo(rated_line(rated))
    return PARTLY if summary.failed else 0


def import_settings(
    format_: str, mapping: Path | None, zone: str | None, estate: Path | None, system: str
) -> ImportSettings:  # fmt: skip
    """How files are read; CdrError, MappingError or EstateError where that cannot be."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from collector.cdr.detect import FORMATS
    from collector.cdr.files import CdrError
    from collector.cdr.importing import ImportSettings
    from collector.cdr.mapping import read_mapping
    from collector.cdr.rows import ReadSettings

    if format_ not in ("auto", *FORMATS):
        raise CdrError(f"there is no format {format_}: auto, {', '.join(sorted(FORMATS))}, or a --mapping")
    if zone is None:
        zone = _zone_of(estate)
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CdrError(f"there is no time zone {zone}") from None
    return ImportSettings(
        formats=FORMATS if format_ == "auto" else (format_,),
        mapping=None if mapping is None else read_mapping(mapping),
        read=ReadSettings(zone=zone, system=system),
    )


def _zone_of(estate: Path | None) -> str:
    """The estate's zone; UTC where there is no estate."""
    if estate is None:
        return "UTC"
    from collector.estate.folder import load_estate

    return load_estate(estate).settings.timezone


def _run(
    paths: list[Path],
    store: Path,
    settings: ImportSettings,
    rejects: Rejects,
    settle: float,
    dry_run: bool,
    estate: Path | None,
    book: Book | None,
    bar: Bar,
) -> tuple[Summary, Derived | None]:
    from collector.cdr.files import discover, settled
    from collector.cdr.importing import Import

    ours = [path for path in (store, rejects.path) if path is not None]
    found = discover(paths, time.time_ns(), int(settle * 1e9), ours)
    if found.fresh:
        time.sleep(settle)
        found = settled(found)
    run = Import(settings, rejects, bar.update)
    files = run.identify(found)
    if dry_run:
        import duckdb

        with duckdb.connect(config={"memory_limit": "384MB", "threads": 2}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            run.try_out(connection, files)
        return run.summary, None
    from analytics.store.lake import Lake
    from api.alongside import Alongside
    from api.usage import influx_settings, rate_pending, tell_influx
    from collector.cdr.journal import sole_import

    influx = influx_settings()
    now = partial(datetime.now, UTC)
    with closing(Lake.open(store, create=True)) as lake, sole_import(lake.root, bar.note) as journal:
        if book is None or estate is None:
            run.into(lake, journal, files, now())
            return run.summary, None
        with Alongside(lake, book, now) as alongside:
            run.into(lake, journal, files, now, alongside.until)
            already = alongside.finish()
        rated = rate_pending(lake, book, estate, now(), already=already)
        tell_influx(lake, influx, rated.made)
    return run.summary, rated
