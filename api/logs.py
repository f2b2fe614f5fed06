"""Logs of processes that stay: a line an event on stderr, as logfmt or JSON, each with a name and fields.

What is logged names parts, files, addresses of ours and counts; never a telephone number, a person or a device.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

ROOT: Final = "callgauge"
"""Name of the logger that all of ours are under."""
MOST_CHARACTERS = 1_000
"""Longest value of a field; the rest of it is cut."""
Value = str | int | float | bool | None
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PLAIN = re.compile(r"[\w.:/@,+%-]+", re.ASCII)
_TAKEN = frozenset({"at", "level", "event"})


def event(part: str, name: str, /, level: int = logging.INFO, **fields: Value) -> None:
    """Log an event of a part; its name is short snake_case, the same each time, so that it can be searched for."""
    if not _NAME.fullmatch(name) or _TAKEN & set(fields):
        raise ValueError(f"{name}: an event's name is snake_case, and its fields are none of {sorted(_TAKEN)}")
    logging.getLogger(f"{ROOT}.{part}").log(level, name, extra={"fields": {"part": part, **fields}})


def fields_of(record: logging.LogRecord) -> dict[str, Value]:
    """What a line says: when, how bad, what, and the fields. A plain sentence becomes the field `said`."""
    said: dict[str, Value] = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
    }
    fields = getattr(record, "fields", None)
    if fields is None:
        part = record.name.removeprefix(f"{ROOT}.")
        said |= {"event": "said", "part": part, "said": record.getMessage()}
    else:
        said |= {"event": record.getMessage(), **fields}
    if record.exc_info and record.exc_info[0] is not None:
        said |= {"error": record.exc_info[0].__name__, "reason": str(record.exc_info[1])}
    return {name: _short(value) for name, value in said.items()}


def _short(value: Value) -> Value:
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        return value[: MOST_CHARACTERS - 1] + "…"
    return value


class LogfmtFormatter(logging.Formatter):
    """`at=… level=info event=store_failed said="no space left"`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line."""
        return " ".join(f"{name}={_logfmt(value)}" for name, value in fields_of(record).items())


class JsonFormatter(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line."""
        return json.dumps(fields_of(record), ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`callgauge: sentence`, as the command speaks to people."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line."""
        fields = fields_of(record)
        if fields["event"] == "said":
            sentence = str(fields["said"])
            if "error" in fields:
                sentence += f" ({fields['error']}: {fields['reason']})"
        else:
            shown = " ".join(
                f"{name}={_logfmt(value)}" for name, value in fields.items() if name not in _TAKEN | {"part"}
            )
            sentence = f"{fields['part']}: {str(fields['event']).replace('_', ' ')} {shown}".rstrip()
        return f"{ROOT}: {' '.join(sentence.split())}"


def _logfmt(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


FORMATS: Final = {"text": TextFormatter, "logfmt": LogfmtFormatter, "json": JsonFormatter}


def log_to_stderr(form: str = "text", level: str = "info", stream: TextIO | None = None) -> None:
    """Log what happens from now on to stderr, in one of `FORMATS`."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(FORMATS[form]())
    logger = logging.getLogger(ROOT)
    for before in list(logger.handlers):
        logger.removeHandler(before)
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    # A reader of stderr that is gone must not end a collector.
    logging.raiseExceptions = False
