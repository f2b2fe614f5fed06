"""`callgauge estate`: whether the estate's files are sound, and how they fit what is in the store."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from api.progress import say

if TYPE_CHECKING:
    from analytics.sites import Estate
    from analytics.store.lake import Lake
    from analytics.usage.pairs import Pair
    from analytics.usage.unmapped import Unmapped
    from collector.estate.problems import Problem

FAULTY = 1
"""Exit status: the estate has errors, or does not know what was asked for."""
UNUSABLE = 2
"""Exit status: wrong options, no such folder or store."""

app = typer.Typer(help="The estate: sites, networks, devices, numbers.", rich_markup_mode=None)

EstateFolder = Annotated[
    Path, typer.Option("--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="Folder of the estate.")
]
StoreFolder = Annotated[
    Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="Folder of the store.")
]
DEFAULT_ESTATE = Path("estate")
DEFAULT_STORE = Path("callgauge-store")


class TextOrJson(StrEnum):
    """How an answer is written."""

    TEXT = "text"
    JSON = "json"


class TableFormat(StrEnum):
    """How a table is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Measure(StrEnum):
    """What the cells of a matrix hold."""

    CALLS = "calls"
    MINUTES = "minutes"


@app.callback(invoke_without_command=True)
def estate_group(context: typer.Context) -> None:
    """Check the estate's files, and hold them against what is in the store."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def check(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder of the estate, in place of --estate.")
    ] = None,
    estate: EstateFolder = DEFAULT_ESTATE,
    output: Annotated[TextOrJson, typer.Option("--format", "-f", help="How to write what is wrong.")] = TextOrJson.TEXT,
) -> None:
    """Find overlaps, gaps, unknown names and rows that can never match; status 1 if there are errors."""
    from collector.estate.all_files import check_folder

    root = folder or estate
    if not root.is_dir():
        _fail(f"{root}: there is no such folder")
    read, problems = check_folder(root)
    errors = sum(problem.severity == "error" for problem in problems)
    if output is TextOrJson.JSON:
        _print_json(_checked(read, problems))
    else:
        _print([*map(str, problems), _verdict(read, errors, len(problems) - errors)])
    if errors:
        raise typer.Exit(FAULTY)


def _verdict(estate: Estate, errors: int, warnings: int) -> str:
    found = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}" if errors or warnings else "no problem"
    sizes = ", ".join(_count(size, name) for name, size in _sizes(estate).items())
    return f"{estate.settings.name or 'The estate'}: {found}; {sizes}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name if number == 1 else name + 's'}"


def _sizes(estate: Estate) -> dict[str, int]:
    return {
        "site": len({site.site for site in estate.sites}),
        "subnet": len(estate.subnets),
        "pool": len(estate.pools),
        "device": len({device.device.upper() for device in estate.devices}),
        "number range": len(estate.ranges),
        "trunk": len({trunk.device.upper() for trunk in estate.trunks}),
    }


def _checked(estate: Estate, problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "estate": estate.settings.name,
        "digest": estate.digest,
        "errors": sum(problem.severity == "error" for problem in problems),
        "warnings": sum(problem.severity == "warning" for problem in problems),
        "rows": {name.replace(" ", "_") + "s": size for name, size in _sizes(estate).items()},
        "problems": [
            {
                "file": problem.origin.file,
                "line": problem.origin.line,
                "severity": problem.severity,
                "code": problem.code,
                "sentence": problem.sentence,
            }
            for problem in problems
        ],
    }


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="NUMBER|DEVICE|ADDRESS", help="What to look for.")],
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Day, or time (local unless it has an offset); now by default.")
    ] = None,
    estate: EstateFolder = DEFAULT_ESTATE,
    partition: Annotated[str | None, typer.Option(help="Partition that a number is in.")] = None,
    output: Annotated[TextOrJson, typer.Option("--format", "-f", help="How to write it.")] = TextOrJson.TEXT,
) -> None:
    """Say where a number, device or address is at a time, by which row; status 1 if the estate does not say."""
    from analytics.attribution import Attributor
    from api.estate_show import answers, mentions, shown_json, shown_lines

    known = _load(estate)
    day = _local_day(at, known)
    asked = Attributor(known)
    rows, found = mentions(asked, what), answers(asked, what, partition, day)
    if output is TextOrJson.JSON:
        _print_json(shown_json(what, day, rows, found, asked))
    else:
        _print(shown_lines(what, day, rows, found, asked))
    if not any(row.holds(day) for row in rows):
        raise typer.Exit(FAULTY)


@app.command()
def unmapped(
    estate: EstateFolder = DEFAULT_ESTATE,
    store: StoreFolder = DEFAULT_STORE,
    since: Annotated[str | None, typer.Option(metavar="DAY", help="First local day; all by default.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DAY", help="Last local day, included.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also list what other evidence gives a site each time.")
    ] = False,
    show_numbers: Annotated[
        bool, typer.Option("--show-numbers", help="Print extensions and users' device names in full.")
    ] = False,
    output: Annotated[TableFormat, typer.Option("--format", "-f", help="How to write it.")] = TableFormat.TABLE,
) -> None:
    """List trunks, devices, networks and extensions that the store shows and the estate does not know."""
    from zoneinfo import ZoneInfo

    known = _load(estate)
    zone = ZoneInfo(known.settings.timezone)
    first, end = _midnight(since, zone, 0), _midnight(until, zone, 1)
    with _opened(store) as lake:
        found = _find_unmapped(lake, known, first, end, show_numbers)
    rows = [row for row in found if everything or row.without_site or row.kind == "trunk"]
    hidden = len(found) - len(rows)
    if output is TableFormat.JSON:
        _print_json({"estate": known.settings.name, "unmapped": [_unmapped_json(row, zone) for row in rows]})
        return
    heads = ("kind", "name", "sides", "without site", "first seen", "last seen", "seen in", "likely site")
    cells = [
        (
            row.kind,
            row.name,
            str(row.sides),
            str(row.without_site),
            f"{row.first.astimezone(zone):%Y-%m-%d %H:%M}",
            f"{row.last.astimezone(zone):%Y-%m-%d %H:%M}",
            " ".join(row.seen_in),
            row.likely_site or "",
        )
        for row in rows
    ]
    if output is TableFormat.CSV:
        _print_csv([name.replace(" ", "_") for name in heads], cells)
        return
    _print_table(heads, cells, right={2, 3})
    more = f"; {hidden} more have a site by other evidence (--all)" if hidden else ""
    _print([f"{_count(len(rows), 'thing')} that the estate does not know{more}"])


def _find_unmapped(
    lake: Lake, estate: Estate, since: datetime | None, until: datetime | None, show_numbers: bool
) -> list[Unmapped]:
    from analytics.attribution import Attributor
    from analytics.usage.unmapped import find_unmapped

    connection = lake.connect()
    views = [
        lake.view(connection, table, name=table, since=since, until=until) for table in ("cdr_rows", "calls", "streams")
    ]
    return find_unmapped(connection, Attributor(estate), views, show_numbers=show_numbers)


def _unmapped_json(row: Unmapped, zone: Any) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "name": row.name,
        "sides": row.sides,
        "without_site": row.without_site,
        "first_seen": row.first.astimezone(zone).isoformat(),
        "last_seen": row.last.astimezone(zone).isoformat(),
        "seen_in": list(row.seen_in),
        "likely_site": row.likely_site,
    }


@app.command()
def pairs(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="Month by the estate's calendar.")],
    store: StoreFolder = DEFAULT_STORE,
    matrix: Annotated[
        Measure | None, typer.Option(help="Print a matrix of calls or minutes instead of a list of pairs.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Print counts under 5 too.")] = False,
    output: Annotated[TableFormat, typer.Option("--format", "-f", help="How to write it.")] = TableFormat.TABLE,
) -> None:
    """Print who calls whom: calls and minutes from site to site in a month."""
    wanted = _month(month)
    with _opened(store) as lake:
        found = _find_pairs(lake, wanted)
    if output is TableFormat.JSON:
        _print_json({"month": month, "pairs": [_pair_json(pair, exact) for pair in found]})
        return
    heads, cells = _matrix(found, matrix, exact) if matrix else _pair_list(found, exact)
    if output is TableFormat.CSV:
        _print_csv(heads, cells)
        return
    _print_table(heads, cells, right=set(range(1 if matrix else 2, len(heads))))
    held = sum(pair.small for pair in found)
    note = f"; {held} of fewer than 5 calls are held back (--exact)" if held and not exact else ""
    _print([f"{_count(len(found), 'pair')} of sites in {month}{note}"])


def _find_pairs(lake: Lake, month: int) -> list[Pair]:
    from datetime import UTC, timedelta

    from analytics.usage.pairs import site_pairs

    connection = lake.connect()
    first = datetime(month // 100, month % 100, 1, tzinfo=UTC)
    # The month is that of the answer in local time; a call may have begun in the days before.
    view = lake.view(connection, "usage", since=first - timedelta(days=2), until=first + timedelta(days=33))
    return site_pairs(connection, view, month)


def _pair_json(pair: Pair, exact: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"site": pair.site, "other_site": pair.other_site, "held_back": pair.small and not exact}
    if row["held_back"]:
        return {**row, "calls": None, "answered": None, "seconds": None}
    return {**row, "calls": pair.calls, "answered": pair.answered, "seconds": pair.seconds}


def _pair_list(found: Sequence[Pair], exact: bool) -> tuple[list[str], list[tuple[str, ...]]]:
    rows: list[tuple[str, ...]] = [
        (pair.site, pair.other_site, "<5", "", "")
        if pair.small and not exact
        else (pair.site, pair.other_site, str(pair.calls), str(pair.answered), _minutes(pair))
        for pair in found
    ]
    return ["site", "other_site", "calls", "answered", "minutes"], rows


def _matrix(found: Sequence[Pair], measure: Measure, exact: bool) -> tuple[list[str], list[tuple[str, ...]]]:
    """A row for each calling site, a column for each called one."""
    cells = {}
    for pair in found:
        value = str(pair.calls) if measure is Measure.CALLS else _minutes(pair)
        cells[pair.site, pair.other_site] = "<5" if pair.small and not exact else value
    rows, columns = sorted({pair.site for pair in found}), sorted({pair.other_site for pair in found})
    table = [(site, *(cells.get((site, other), "") for other in columns)) for site in rows]
    return ["from", *columns], table


def _minutes(pair: Pair) -> str:
    return f"{pair.seconds / 60:.1f}"


def _load(folder: Path) -> Estate:
    from collector.estate.folder import load_estate
    from collector.estate.problems import EstateError

    try:
        return load_estate(folder)
    except EstateError as error:
        _fail(str(error))


@contextmanager
def _opened(folder: Path) -> Iterator[Lake]:
    """The store; what it cannot do is one line and status 2."""
    from analytics.store.lake import Lake
    from analytics.store.settings import StoreError

    try:
        yield Lake.open(folder)
    except StoreError as error:
        _fail(str(error))


def _local_day(text: str | None, estate: Estate) -> date:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(estate.settings.timezone)
    if text is None:
        return datetime.now(zone).date()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _fail(f"--at {text!r} is no time such as 2025-10-01 or 2025-10-01T09:15")
    return moment.date() if moment.tzinfo is None else moment.astimezone(zone).date()


def _midnight(text: str | None, zone: Any, days_later: int) -> datetime | None:
    """Begin of a local day, or of a later one."""
    from datetime import timedelta

    if text is None:
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=days_later)
    except (ValueError, OverflowError):
        _fail(f"{text!r} is no day such as 2025-10-01")
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _month(text: str) -> int:
    try:
        month = datetime.strptime(text, "%Y-%m")
    except ValueError:
        _fail(f"--month {text!r} is no month such as 2025-10")
    return month.year * 100 + month.month


def _fail(sentence: str) -> NoReturn:
    say(sentence)
    raise typer.Exit(UNUSABLE)


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _print_json(body: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(body, indent=2) + "\n")


def _print_csv(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(heads)
    # A leading apostrophe keeps a spreadsheet from taking a name for a formula.
    writer.writerows([f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in row] for row in rows)


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> None:
    import shutil

    from api.layout import Heading, Screen, clean, table

    if not rows:
        return
    # Names come from packets and records, of any length; an address of either family stays whole.
    least = {"name": 45}
    headings = [Heading(name, right=index in right, least=least.get(name)) for index, name in enumerate(heads)]
    screen = Screen(width=shutil.get_terminal_size((100, 24)).columns)
    _print(table(headings, [[clean(cell) for cell in row] for row in rows], screen, indent=0))
