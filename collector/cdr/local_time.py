"""Local times without an offset, as telephone systems write them, brought to UTC.

An hour in autumn happens twice and an hour in spring not at all. A record has several times and a length: where these
leave only one reading of an autumn time, that reading is certain; where they leave two, the earlier one is taken and
the record is marked `ambiguous_hour`. A time that the clocks skipped is read by the offset before the change (a clock
that was not put forward) and marked `skipped_hour`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collector.cdr.rows import RowError

SECOND = 1_000_000
"""Microseconds."""
AMBIGUOUS = "ambiguous_hour"
SKIPPED = "skipped_hour"
MINUTE_ONLY = "minute_resolution"
"""The times have no seconds: a spreadsheet has saved the file."""
ZONE_DOUBTFUL = "zone_doubtful"
"""The record carries an absolute time too, and the two disagree: the zone of the settings is not the system's."""
FIRST_YEAR, LAST_YEAR = 1970, 2099
SLACK = 2 * SECOND
"""How far a written length may be from the difference of two written times: each is cut to whole seconds."""
CACHED = 65_536
"""Minutes whose offset is remembered."""
_STAMP = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?", re.ASCII)
_EPOCH = re.compile(r"(\d{9,10})(?:\.(\d{1,6}))?", re.ASCII)


class Wall(NamedTuple):
    """One time of a record: its one or two readings in UTC [µs since the epoch]."""

    early: int
    late: int
    """Differs from `early` only in an hour that happens twice."""
    note: str = ""
    step: int = SECOND
    """What it is cut to [µs]."""


class Times(NamedTuple):
    """The times of a record in UTC [µs since the epoch], and what is uncertain about them."""

    start: int
    answer: int | None
    end: int | None
    note: str | None


class LocalClock:
    """Reads local times of one zone. Raises ValueError for a zone that this machine does not know."""

    def __init__(self, zone: str) -> None:
        try:
            self._zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"no time zone is called {zone!r}") from error
        self._minutes: dict[tuple[int, int, int, int, int], Wall] = {}
        self._texts: dict[str, Wall] = {}
        """Minutes by their first 17 characters, `2025-10-26 01:30:`."""

    def read(self, text: str) -> Wall:
        """Read `2025-10-26 01:30:00`, with `/`, a fraction, no seconds, or as epoch seconds; RowError otherwise."""
        known = self._texts.get(text[:17])
        if known is not None and len(text) == 19 and "00" <= text[17:] <= "59" and text[17:].isdecimal():
            return self._later(known, int(text[17:]) * SECOND)
        match = _STAMP.fullmatch(text)
        if match is None:
            return _epoch(text)
        year, _, month, day, hour, minute, second, fraction = match.groups()
        wall = self._minute(int(year), int(month), int(day), int(hour), int(minute))
        if second is None:
            return wall._replace(step=60 * SECOND)
        if int(second) > 59:
            raise RowError("bad_time")
        if len(text) == 19:
            if len(self._texts) >= CACHED:
                self._texts.clear()
            self._texts[text[:17]] = wall
        return self._later(wall, int(second) * SECOND + int((fraction or "").ljust(6, "0")))

    def of(self, moment: datetime) -> Wall:
        """Read a datetime: by its own offset where it has one. RowError outside the years that are taken."""
        if moment.tzinfo is not None:
            exact = _micros(moment)
            return Wall(exact, exact)
        wall = self._minute(moment.year, moment.month, moment.day, moment.hour, moment.minute)
        return self._later(wall, moment.second * SECOND + moment.microsecond)

    @staticmethod
    def _later(wall: Wall, more: int) -> Wall:
        return Wall(wall.early + more, wall.late + more, wall.note, wall.step)

    def _minute(self, year: int, month: int, day: int, hour: int, minute: int) -> Wall:
        key = (year, month, day, hour, minute)
        known = self._minutes.get(key)
        if known is None:
            if len(self._minutes) >= CACHED:
                self._minutes.clear()
            known = self._minutes[key] = self._place(key)
        return known

    def _place(self, key: tuple[int, int, int, int, int]) -> Wall:
        try:
            first = datetime(*key, tzinfo=self._zone)
        except ValueError:
            raise RowError("bad_time") from None
        early, late = _micros(first), _micros(first.replace(fold=1))
        if early < late:
            return Wall(early, late, AMBIGUOUS)
        # PEP 495: in a gap the second reading lies before the first.
        return Wall(early, early, SKIPPED if late < early else "")


def _micros(moment: datetime) -> int:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise RowError("time_out_of_range")
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def _epoch(text: str) -> Wall:
    match = _EPOCH.fullmatch(text)
    if match is None:
        raise RowError("bad_time")
    exact = int(match[1]) * SECOND + int((match[2] or "").ljust(6, "0"))
    if exact >= 4_102_444_800 * SECOND:  # 2100-01-01
        raise RowError("time_out_of_range")
    return Wall(exact, exact)


def resolve(
    start: Wall, answer: Wall | None, end: Wall | None, duration: int | None = None, anchor: int | None = None
) -> Times:
    """Choose the readings of a record's times that agree with each other.

    `duration` is start to end [s] as written, `anchor` an absolute time just before the start [µs]. Raises RowError
    where the times run backwards in every reading.
    """
    walls = [wall for wall in (start, answer, end) if wall is not None]
    step = max(wall.step for wall in walls)
    notes = {wall.note for wall in walls} - {"", AMBIGUOUS}
    if step > SECOND:
        notes.add(MINUTE_ONLY)
    if any(wall.early != wall.late for wall in walls):
        chosen, certain = _readings(start, answer, end, duration, anchor, step)
        if not certain:
            notes.add(AMBIGUOUS)
    else:
        chosen = (start.early, None if answer is None else answer.early, None if end is None else end.early)
    _in_order(*chosen)
    if anchor is not None and _doubtful(chosen[0], anchor):
        notes.add(ZONE_DOUBTFUL)
    return Times(*chosen, " ".join(sorted(notes)) or None)


_Chosen = tuple[int, int | None, int | None]


def _readings(
    start: Wall, answer: Wall | None, end: Wall | None, duration: int | None, anchor: int | None, step: int
) -> tuple[_Chosen, bool]:
    """Return the first reading that agrees with itself, and whether it is the only one."""
    choices: list[Sequence[int | None]] = [
        (None,) if wall is None else (wall.early,) if wall.early == wall.late else (wall.early, wall.late)
        for wall in (start, answer, end)
    ]
    fitting: list[_Chosen] = []
    for first, second, third in product(*choices):
        assert first is not None  # a record always has a start
        one = (first, second, third)
        if _agrees(one, duration, step):
            fitting.append(one)
    near = [one for one in fitting if anchor is not None and -SLACK <= one[0] - anchor <= 60 * SECOND]
    if len(near) == 1:
        return near[0], True
    if not fitting:
        return (start.early, answer and answer.early, end and end.early), False
    return fitting[0], len(fitting) == 1


def _agrees(times: _Chosen, duration: int | None, step: int) -> bool:
    start, end = times[0], times[2]
    known = [time for time in times if time is not None]
    if known != sorted(known):
        return False
    if duration is None or end is None:
        return True
    return abs(end - start - duration * SECOND) <= max(SLACK, step)


def _in_order(start: int, answer: int | None, end: int | None) -> None:
    if answer is not None and answer < start:
        raise RowError("answer_before_start")
    if end is not None and answer is not None and end < answer:
        raise RowError("end_before_answer")
    if end is not None and end < start:
        raise RowError("end_before_start")


def _doubtful(start: int, anchor: int) -> bool:
    """Whether a start contradicts the absolute time of the same record: before it, or whole hours after it."""
    hours, rest = divmod(start - anchor + SLACK, 3_600 * SECOND)
    return start < anchor - 60 * SECOND or (1 <= hours <= 14 and rest <= 2 * SLACK)
