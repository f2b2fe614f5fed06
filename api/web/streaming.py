"""Lists as they come: JSON lines (NDJSON) and CSV (RFC 4180), written while they are read.

An operation asks `wanted(accept, given)` which form, and answers `streamed(form, columns, rows, name)`. A failure after
the first row cannot change the status any more: the last line then says that the list is not whole.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from starlette.responses import StreamingResponse

CHUNK_ROWS: Final = 256
CUT_SHORT: Final = "callgauge: the list ends here, for reading it failed"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_logger = logging.getLogger("callgauge.web")


class Form(StrEnum):
    """How a list is answered; by the query parameter `format`, else by the header Accept."""

    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"


MEDIA: Final = {Form.CSV: "text/csv; charset=utf-8", Form.NDJSON: "application/x-ndjson"}


def wanted(accept: str, given: Form | None = None) -> Form:
    """Return the form that a request wants."""
    if given is not None:
        return given
    if "text/csv" in accept:
        return Form.CSV
    return Form.NDJSON if "application/x-ndjson" in accept or "application/ndjson" in accept else Form.JSON


def streamed(form: Form, columns: Sequence[str], rows: Iterable[Sequence[Any]], name: str) -> StreamingResponse:
    """Return rows as CSV or NDJSON; `rows` is read in a thread while it is sent, `name` is that of the file."""
    lines = csv_chunks(columns, rows) if form is Form.CSV else ndjson_chunks(columns, rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form.value}"'}
    return StreamingResponse(_guarded(lines, form), media_type=MEDIA[form], headers=headers)


def csv_chunks(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield rows as CSV with a heading: missing values are empty, and nothing begins a formula of a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    for count, row in enumerate(rows, 1):
        writer.writerow([_cell(value) for value in row])
        if count % CHUNK_ROWS == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def ndjson_chunks(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield rows as JSON, a line each."""
    lines: list[str] = []
    for row in rows:
        lines.append(json.dumps(dict(zip(columns, row, strict=True)), default=_plain, allow_nan=False))
        if len(lines) == CHUNK_ROWS:
            yield "\n".join(lines) + "\n"
            lines.clear()
    if lines:
        yield "\n".join(lines) + "\n"


def _guarded(chunks: Iterator[str], form: Form) -> Iterator[str]:
    try:
        yield from chunks
    except Exception:
        _logger.exception("a list was cut short")
        yield f"{CUT_SHORT}\r\n" if form is Form.CSV else json.dumps({"error": CUT_SHORT}) + "\n"


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
