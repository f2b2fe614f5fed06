"""Points say what the facts say, in line protocol, with bounded tags and no two facts at one place."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influx_facts import interval, intervals, minute, minutes, table

from analytics.store.influx import InfluxError
from analytics.store.influx_points import (
    COST_SITE_DAY,
    MEASUREMENTS,
    PART_NS,
    CostDay,
    chunks,
    cost_points,
    part_of,
    site_minute_points,
    stream_interval_points,
)

TEN = datetime(2026, 3, 1, 10, tzinfo=UTC)
TEN_NS = 1_772_359_200_000_000_000


def parsed(line: bytes) -> tuple[str, dict[str, str], dict[str, str], int]:
    """Read a line as the documentation of line protocol says, by hand."""
    parts: list[list[str]] = [[""]]
    escaped = False
    for sign in line.decode():
        if escaped:
            parts[-1][-1] += sign if sign in ",= " else "\\" + sign
            escaped = False
        elif sign == "\\":
            escaped = True
        elif sign == " ":
            parts.append([""])
        elif sign == ",":
            parts[-1].append("")
        else:
            parts[-1][-1] += "\0" if sign == "=" else sign
    (name, *tags), fields, (time,) = parts
    return (
        name,
        {key: value for key, _, value in (one.partition("\0") for one in tags)},
        {key: value for key, _, value in (one.partition("\0") for one in fields)},
        int(time),
    )


def test_a_site_minute_is_one_line_with_its_fields_typed() -> None:
    row: dict[str, Any] = dict.fromkeys(minutes(TEN, 1, 0, share=1)[0]) | {
        "site": "Elm, North=1", "start": TEN, "calls": 3, "answered": 2, "failed": 0, "streams": 4, "rated": 0,
        "poor": 0, "mos_sum": 0.0, "packets": 5_999, "expected": 6_000, "lost": 1, "jitter_sum_ms": 2.5,
        "jitter_max_ms": 1e-7, "busy_seconds": 60.25,
    }  # fmt: skip
    points = site_minute_points(table([row]), source="tap one", batch="b", sequence=5)
    (line,) = points.lines
    at = TEN_NS + part_of("b", 5)
    assert line == (
        rb"site_minute,site=Elm\,\ North\=1,source=tap\ one calls=3i,answered=2i,failed=0i,streams=4i,rated=0i,poor=0i,"
        rb"mos_sum=0,packets=5999i,expected=6000i,lost=1i,jitter_sum_ms=2.5,jitter_max_ms=1e-7,busy_seconds=60.25 %d"
        % at
    )
    assert (points.first, points.last) == (at, at)


def test_numbered_batches_of_a_source_never_share_a_place_and_one_written_again_does() -> None:
    places = {part_of("agent-7", sequence) for sequence in range(20_000)}
    assert len(places) == 20_000
    assert all(0 <= place < PART_NS for place in places)
    rows = table(minutes(TEN, 20, 1))
    first = site_minute_points(rows, source="a", batch="agent", sequence=1)
    again = site_minute_points(rows, source="a", batch="agent", sequence=1)
    late = site_minute_points(rows, source="a", batch="agent", sequence=2)
    assert first == again
    assert not {parsed(line)[3] for line in first.lines} & {parsed(line)[3] for line in late.lines}


def test_rows_of_one_batch_that_share_a_minute_are_summed() -> None:
    import random

    rows = [minute("Ash", TEN, random.Random(seed)) for seed in range(5)]
    (line,) = site_minute_points(table(rows), source="a", batch="b").lines
    fields = parsed(line)[2]
    for name in ("calls", "packets", "lost"):
        assert fields[name] == f"{sum(row[name] for row in rows)}i"
    assert float(fields["mos_sum"]) == sum(row["mos_sum"] for row in rows)
    assert float(fields["mos_min"]) == min(row["mos_min"] for row in rows if row["mos_min"] is not None)
    assert float(fields["jitter_max_ms"]) == max(
        row["jitter_max_ms"] for row in rows if row["jitter_max_ms"] is not None
    )


TAGS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1).filter(lambda name: name[-1] != "\\")


@given(site=TAGS, source=TAGS, value=st.floats(allow_nan=True, allow_infinity=True))
def test_any_name_and_number_is_read_back_as_it_was(site: str, source: str, value: float) -> None:
    row = dict.fromkeys(minutes(TEN, 1, 0, share=1)[0]) | {"site": site, "start": TEN, "calls": 1, "mos_sum": value}
    (line,) = site_minute_points(table([row]), source=source, batch="b").lines
    name, tags, fields, _ = parsed(line)
    assert (name, tags) == ("site_minute", {"site": site, "source": source})
    if value in {float("inf"), float("-inf")} or value != value:
        assert fields == {"calls": "1i"}
    else:
        assert float(fields["mos_sum"]) == value


@pytest.mark.parametrize("site", ["two\nlines", "ends\\", "", "bell\x07"])
def test_a_name_that_cannot_be_a_tag_is_refused_by_name(site: str) -> None:
    row = minutes(TEN, 1, 0, share=1)[0] | {"site": site}
    with pytest.raises(InfluxError, match="cannot be the tag site of a point"):
        site_minute_points(table([row]), source="a", batch="b")


def test_a_row_within_a_minute_is_refused() -> None:
    row = minutes(TEN + timedelta(seconds=1), 1, 0, share=1)[0]
    with pytest.raises(InfluxError, match="no whole minutes"):
        site_minute_points(table([row]), source="a", batch="b")


def test_streams_of_one_pair_and_slot_are_one_point() -> None:
    rows = intervals(
        interval(TEN + timedelta(seconds=12), "Ash", "Elm", mos=4.0, jitter_ms=2.0, lost=5),
        interval(TEN + timedelta(seconds=19.9), "Ash", "Elm", mos=3.5, seconds=4.5, lost=-1),
        interval(TEN + timedelta(seconds=20), "Ash", "Elm"),
        interval(TEN + timedelta(seconds=12), "Elm", "Ash"),
        interval(TEN + timedelta(seconds=12), None, None),
    )
    lines = [parsed(line) for line in stream_interval_points(rows, source="a", batch="b").lines]
    at = {(tags.get("site"), tags.get("other_site"), time - part_of("b", 0)): fields for _, tags, fields, time in lines}
    second = 1_000_000_000
    assert set(at) == {
        ("Ash", "Elm", TEN_NS + 10 * second),
        ("Ash", "Elm", TEN_NS + 20 * second),
        ("Elm", "Ash", TEN_NS + 10 * second),
        (None, None, TEN_NS + 10 * second),
    }
    assert at["Ash", "Elm", TEN_NS + 10 * second] == {
        "streams": "2i", "rated": "2i", "poor": "1i", "mos_sum": "7.5", "mos_min": "3.5", "packets": "1000i",
        "expected": "1000i", "lost": "4i", "timed": "1i", "jitter_sum_ms": "2", "jitter_max_ms": "2",
        "stream_seconds": "14.5",
    }  # fmt: skip
    assert at[None, None, TEN_NS + 10 * second]["mos_sum"] == "0"
    assert "mos_min" not in at[None, None, TEN_NS + 10 * second]


def test_days_of_cost_replace_their_span() -> None:
    rows = [CostDay(date(2026, 3, 1), "Ash", "outbound", 3, 180, 1.25, 1, 2.5, 0)]
    points = cost_points(rows, date(2026, 3, 1), date(2026, 3, 2))
    day = TEN_NS - 36_000_000_000_000
    assert points.lines == (
        b"cost_site_day,kind=outbound,site=Ash lines=3i,seconds=180i,ip_cost=1.25,ip_unrated=1i,legacy_cost=2.5,"
        b"legacy_unrated=0i %d" % day,
    )
    assert points.replaces == (day, day + 2 * 86_400_000_000_000)
    assert cost_points([], date(2026, 3, 1), date(2026, 3, 1)).lines == ()


def test_no_measurement_has_a_tag_that_grows_with_calls() -> None:
    tags = {tag.name for measurement in MEASUREMENTS for tag in measurement.tags}
    assert tags == {"site", "other_site", "source", "kind"}
    assert len({measurement.name for measurement in MEASUREMENTS}) == len(MEASUREMENTS)
    assert COST_SITE_DAY.field("ip_cost").unit == "currency units"


def test_chunks_hold_all_lines_and_replace_once() -> None:
    points = site_minute_points(table(minutes(TEN, 50, 2)), source="a", batch="b")._replace(replaces=(1, 2))
    parts = list(chunks(points, 7))
    assert sum((part.lines for part in parts), ()) == points.lines
    assert [part.replaces for part in parts] == [(1, 2)] + [None] * (len(parts) - 1)
