"""Local times: the hour that happens twice, the hour that does not, and what a record's other times say about it.

Clocks of Europe/London went back on 2025-10-26 at 01:00 UTC (02:00 BST became 01:00 GMT) and forward on 2025-03-30 at
01:00 UTC (01:00 GMT became 02:00 BST).
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.cdr.local_time import SECOND, LocalClock, resolve
from collector.cdr.rows import RowError

LONDON = LocalClock("Europe/London")


def utc(micros: int | None) -> str | None:
    if micros is None:
        return None
    return datetime.fromtimestamp(micros / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S")


def read(start: str, answer: str | None, end: str | None, duration: int | None = None) -> list[str | None]:
    times = resolve(
        LONDON.read(start),
        None if answer is None else LONDON.read(answer),
        None if end is None else LONDON.read(end),
        duration,
    )
    return [utc(times.start), utc(times.answer), utc(times.end), times.note]


def test_summer_and_winter_are_read_by_their_offsets() -> None:
    assert read("2025-07-01 12:00:00", None, None)[0] == "2025-07-01 11:00:00"
    assert read("2025-12-01 12:00:00", None, None)[0] == "2025-12-01 12:00:00"


def test_a_call_within_the_hour_that_happens_twice_is_ambiguous_and_taken_as_the_first_pass() -> None:
    got = read("2025-10-26 01:10:00", "2025-10-26 01:10:05", "2025-10-26 01:20:05", 605)
    assert got == ["2025-10-26 00:10:00", "2025-10-26 00:10:05", "2025-10-26 00:20:05", "ambiguous_hour"]


def test_a_call_that_begins_before_the_hour_is_certain_by_its_length() -> None:
    # 00:50 BST is 23:50 UTC; 30 minutes later it is 00:20 UTC, the first pass.
    assert read("2025-10-26 00:50:00", None, "2025-10-26 01:20:00", 1_800) == [
        "2025-10-25 23:50:00", None, "2025-10-26 00:20:00", None,
    ]  # fmt: skip
    # 90 minutes later it is 01:20 UTC, the second pass.
    assert read("2025-10-26 00:50:00", None, "2025-10-26 01:20:00", 5_400) == [
        "2025-10-25 23:50:00", None, "2025-10-26 01:20:00", None,
    ]  # fmt: skip


def test_a_call_that_ends_after_the_hour_is_certain_by_its_length() -> None:
    assert read("2025-10-26 01:50:00", None, "2025-10-26 02:10:00", 1_200) == [
        "2025-10-26 01:50:00", None, "2025-10-26 02:10:00", None,
    ]  # fmt: skip


def test_an_end_before_the_start_on_the_wall_is_the_clock_going_back() -> None:
    assert read("2025-10-26 01:55:00", "2025-10-26 01:58:00", "2025-10-26 01:05:00", 600) == [
        "2025-10-26 00:55:00", "2025-10-26 00:58:00", "2025-10-26 01:05:00", None,
    ]  # fmt: skip


def test_an_absolute_time_in_the_record_settles_the_hour() -> None:
    wall = LONDON.read("2025-10-26 01:30:00")
    for true in ("2025-10-26 00:30:00", "2025-10-26 01:30:00"):
        anchor = int(datetime.fromisoformat(true + "+00:00").timestamp()) * SECOND
        times = resolve(wall, None, None, None, anchor)
        assert (utc(times.start), times.note) == (true, None)


def test_an_absolute_time_that_contradicts_the_zone_is_said() -> None:
    anchor = int(datetime(2025, 7, 1, 12, tzinfo=UTC).timestamp()) * SECOND
    # Written in UTC, read as British summer time: an hour before its own channel.
    assert resolve(LONDON.read("2025-07-01 12:00:00"), None, None, None, anchor).note == "zone_doubtful"
    assert resolve(LONDON.read("2025-07-01 13:00:00"), None, None, None, anchor).note is None


def test_a_time_that_the_clocks_skipped_is_named() -> None:
    assert read("2025-03-30 01:30:00", None, None) == ["2025-03-30 01:30:00", None, None, "skipped_hour"]


def test_times_without_seconds_are_marked() -> None:
    assert read("2020/2/10 22:41", None, None) == ["2020-02-10 22:41:00", None, None, "minute_resolution"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0000-01-01 00:00:00", "bad_time"),
        ("2025-02-31 00:00:00", "bad_time"),
        ("2025-13-01 00:00:00", "bad_time"),
        ("2025-01-01 24:00:00", "bad_time"),
        ("2025-01-01 00:00:60", "bad_time"),
        ("2025-01-01", "bad_time"),
        ("1969-12-31 00:00:00", "time_out_of_range"),
        ("2100-01-01 00:00:00", "time_out_of_range"),
        ("", "bad_time"),
    ],
)
def test_what_is_no_time_is_rejected_by_name(text: str, reason: str) -> None:
    with pytest.raises(RowError, match=f"^{reason}$"):
        LONDON.read(text)


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (("2025-07-01 12:00:10", "2025-07-01 12:00:05", None), "answer_before_start"),
        (("2025-07-01 12:00:00", "2025-07-01 12:00:05", "2025-07-01 12:00:04"), "end_before_answer"),
        (("2025-07-01 12:00:10", None, "2025-07-01 12:00:05"), "end_before_start"),
    ],
)
def test_times_that_run_backwards_are_rejected_by_name(times: tuple[str, str | None, str | None], reason: str) -> None:
    with pytest.raises(RowError, match=f"^{reason}$"):
        read(*times)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone is called 'Mars/Olympus'"):
        LocalClock("Mars/Olympus")


@settings(deadline=None)
@given(st.datetimes(datetime(1971, 1, 1), datetime(2099, 12, 30)), st.integers(0, 7_200), st.integers(0, 7_200))
def test_a_call_written_in_local_time_comes_back_as_it_was_unless_it_is_marked(
    start: datetime, ring: int, talk: int
) -> None:
    zone = ZoneInfo("Europe/London")
    first = int(start.replace(tzinfo=UTC, microsecond=0).timestamp())
    begin, answer, end = (
        LONDON.read(datetime.fromtimestamp(moment, zone).strftime("%Y-%m-%d %H:%M:%S"))
        for moment in (first, first + ring, first + ring + talk)
    )
    times = resolve(begin, answer, end, ring + talk)
    got = [time // SECOND for time in times[:3] if isinstance(time, int)]
    if times.note is None:
        assert got == [first, first + ring, first + ring + talk]
    else:
        assert times.note == "ambiguous_hour"
        assert got[2] - got[0] == pytest.approx(ring + talk, abs=2)
