"""`callgauge report`: savings, costs, sites and public access, in the format that was asked for."""

from __future__ import annotations

import os
import re
import shutil
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say

if TYPE_CHECKING:
    from analytics.cost.document import Document

UNUSABLE = 2
"""Exit status: nothing could be reported."""
MOST_MONTHS = 120
FIRST_YEAR = 1980
"""Before it there are no records of calls in files."""
LEAST_WIDTH = 60
PLAIN_WIDTH = 100
"""Columns where there is no terminal."""
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


class Report(StrEnum):
    """What is reported."""

    SAVINGS = "savings"
    COSTS = "costs"
    SITES = "sites"
    ACCESS = "access"


class Format(StrEnum):
    """How it is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    XLSX = "xlsx"
    HTML = "html"


def report(
    name: Annotated[Report, typer.Argument(metavar="savings|costs|sites|access", help="What to report.")],
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="The month, or the last one.")],
    months: Annotated[
        int, typer.Option("--months", metavar="N", min=1, max=MOST_MONTHS, help="So many months, the last is --month.")
    ] = 1,
    site: Annotated[str | None, typer.Option("--site", metavar="SITE", help="This site alone.")] = None,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.TABLE,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write here; with csv a folder, made if absent.")
    ] = None,
    section: Annotated[
        str | None, typer.Option("--section", metavar="NAME", help="With csv: this table; the first otherwise.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Show counts under 5 too: they may name people.")] = False,
    store: Annotated[Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="The store.")] = Path(
        "callgauge-store"
    ),
    estate: Annotated[
        Path, typer.Option("--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="The estate.")
    ] = Path("estate"),
) -> int:
    """Say what sites cost, what was saved, and how the public was answered."""
    from analytics.store.settings import StoreError
    from api.report.making import ReportError, Request, make, months_to
    from collector.estate.problems import EstateError

    try:
        last = _month(month)
        _check(format_, out, section)
        now = datetime.now(UTC)
        document = make(Request(name.value, months_to(last, months), store, estate, now, site, exact))
        for line in _written(document, format_, out, section):
            say(line)
    except (StoreError, EstateError, ReportError) as error:
        say(str(error))
        return UNUSABLE
    return 0


def _month(text: str) -> int:
    """A month as yyyymm."""
    from api.report.making import ReportError

    match = _MONTH.fullmatch(text)
    if match is None:
        raise ReportError(f"--month {text} is no month; write it as 2025-10")
    if int(match[1]) < FIRST_YEAR:
        raise ReportError(f"--month {text}: months before {FIRST_YEAR} hold no records of calls")
    return int(match[1]) * 100 + int(match[2])


def _check(format_: Format, out: Path | None, section: str | None) -> None:
    """Refuse what cannot be written before the work is done."""
    from api.report.making import ReportError

    if format_ is Format.XLSX and out is None:
        raise ReportError("--format xlsx writes a file: add --out FILE.xlsx")
    if section is not None and (format_ is not Format.CSV or out is not None):
        raise ReportError("--section belongs to --format csv on standard output")
    if out is None:
        return
    if format_ is Format.CSV and out.exists() and not out.is_dir():
        raise ReportError(f"--format csv writes a table each into a folder: {out} is a file")
    if format_ is not Format.CSV and out.is_dir():
        raise ReportError(f"--out {out} is a folder; name a file")


def _written(document: Document, format_: Format, out: Path | None, section: str | None) -> list[str]:
    """Write a report; ReportError names the file that cannot be written."""
    from api.report.making import ReportError

    try:
        return write(document, format_, out, section)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = out if out is not None else "standard output"
        raise ReportError(f"cannot write {where}: {error.strerror or error}") from None


def write(document: Document, format_: Format, out: Path | None, section: str | None) -> list[str]:
    """Write a report; return what to say of it."""
    if format_ is Format.CSV:
        return _write_csv(document, out, section)
    if format_ is Format.XLSX:
        from api.report.workbook import as_xlsx

        return _to_file(as_xlsx(document), out)
    text = _text(document, format_, out)
    if out is None:
        sys.stdout.write(text)
        return []
    return _to_file(text.encode("utf-8", "replace"), out)


def _text(document: Document, format_: Format, out: Path | None) -> str:
    if format_ is Format.JSON:
        from api.report.data import as_json

        return as_json(document)
    if format_ is Format.HTML:
        from api.report.page import as_html

        return as_html(document)
    from api.layout import Screen
    from api.report.text import as_table

    terminal = sys.stdout.isatty() and out is None
    columns = (
        shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
    )
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return as_table(document, Screen(max(LEAST_WIDTH, columns), colour))


def _write_csv(document: Document, out: Path | None, section: str | None) -> list[str]:
    from api.report.data import as_csv, as_csv_files
    from api.report.making import ReportError

    if out is None:
        try:
            text = as_csv(document, section)
        except KeyError:
            known = ", ".join(one.name for one in document.sections)
            raise ReportError(f"there is no table {section or ''}; there are {known}") from None
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(newline="")
        sys.stdout.write(text)
        return []
    out.mkdir(parents=True, exist_ok=True)
    files = as_csv_files(document)
    for name, text in files.items():
        (out / name).write_bytes(text.encode("utf-8", "replace"))
    return [f"wrote {', '.join(files)} to {out}"]


def _to_file(data: bytes, out: Path | None) -> list[str]:
    if out is None:
        return []
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(data)
    return [f"wrote {out}"]
