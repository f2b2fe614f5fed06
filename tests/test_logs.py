"""Logs are lines that programs read: one event each, whatever a value holds."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.logs import FORMATS, MOST_CHARACTERS, ROOT, JsonFormatter, LogfmtFormatter, event, log_to_stderr


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    logger = logging.getLogger(ROOT)
    before, raising = (logger.handlers[:], logger.level), logging.raiseExceptions
    yield
    logger.handlers[:], logger.level = before
    logging.raiseExceptions = raising


def logged(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    log_to_stderr(form, level, stream)
    return stream


def test_an_event_is_a_line_of_json() -> None:
    stream = logged("json")
    event("store", "append_failed", logging.WARNING, rows=12, reason="no space left on device")
    said = json.loads(stream.getvalue())
    assert datetime.fromisoformat(said.pop("at")).tzinfo is not None
    assert said == {
        "level": "warning",
        "event": "append_failed",
        "part": "store",
        "rows": 12,
        "reason": "no space left on device",
    }


def test_logfmt_quotes_what_is_not_plain() -> None:
    stream = logged("logfmt")
    event("store", "append_failed", rows=12, free=None, whole=True, reason='no "space"\nleft')
    assert re.sub(r"^at=\S+ ", "", stream.getvalue()) == (
        'level=info event=append_failed part=store rows=12 free=null whole=true reason="no \\"space\\"\\nleft"\n'
    )


def test_a_sentence_of_another_part_is_kept_as_what_was_said() -> None:
    stream = logged("json")
    logging.getLogger("callgauge.agent").warning("%s", "the broker cannot be reached")
    said = json.loads(stream.getvalue())
    assert (said["event"], said["part"], said["said"]) == ("said", "agent", "the broker cannot be reached")


def test_people_read_a_sentence() -> None:
    stream = logged("text")
    logging.getLogger("callgauge.agent").warning("%s", "the broker\ncannot be reached")
    event("estate", "reloaded", sites=70)
    assert stream.getvalue() == "callgauge: the broker cannot be reached\ncallgauge: estate: reloaded sites=70\n"


def test_what_is_below_the_level_is_not_logged() -> None:
    stream = logged("json", "warning")
    event("store", "appended")
    assert stream.getvalue() == ""


def test_logging_again_does_not_say_things_twice() -> None:
    logged("json")
    stream = logged("json")
    event("store", "appended")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize(("name", "fields"), [("Append failed", {}), ("appended", {"level_": 1, "at": 2})])
def test_names_of_events_are_fit_to_be_searched_for(name: str, fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="snake_case"):
        event("store", name, **fields)


def record(text: str) -> logging.LogRecord:
    made = logging.LogRecord("callgauge.x", logging.INFO, "", 0, "happened", None, None)
    made.__dict__["fields"] = {"part": "x", "reason": text}
    return made


@given(st.text(max_size=3 * MOST_CHARACTERS))
def test_any_value_stays_in_its_line_and_is_read_back(text: str) -> None:
    written = JsonFormatter().format(record(text.encode("utf-8", "replace").decode()))
    assert "\n" not in written
    read = json.loads(written)["reason"]
    assert len(read) <= MOST_CHARACTERS
    assert "\n" not in LogfmtFormatter().format(record(text))


def test_every_format_has_a_name() -> None:
    assert set(FORMATS) == {"text", "logfmt", "json"}
