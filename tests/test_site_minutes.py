"""Hour rows are the sums of their minutes, however minutes come in, and series are exact."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_rows import ARROW

from analytics.store import schema
from analytics.store.checking import check
from analytics.store.lake import Lake
from analytics.store.maintenance import merge
from analytics.store.settings import LakeSettings, StoreError
from analytics.store.site_minutes import GREATEST, LEAST, SUMS, append_minutes, site_series

MINUTE = timedelta(minutes=1)
BEGIN = datetime(2025, 10, 25, 20, tzinfo=UTC)
Row = dict[str, Any]


def opened(folder: Path) -> Lake:
    return Lake.open(folder / "store", create=True, settings=LakeSettings(durable=False))


def minute(site: str, number: int, value: int) -> Row:
    """A row whose numbers are exact in binary, so that sums do not depend on their order."""
    row: Row = {"site": site, "start": BEGIN + number * MINUTE}
    for place, name in enumerate(SUMS):
        whole = schema.SITE_MINUTES.column(name).kind in {schema.Kind.INTEGER, schema.Kind.LONG}
        row[name] = value + place if whole else (value + place) / 64
    if value % 3 == 0:
        row["mos_min"] = row["jitter_max_ms"] = None
    return row


def arrow(rows: Sequence[Row]) -> pa.Table:
    names = ("site", "start", *SUMS)
    kinds = pa.schema([(name, ARROW[schema.SITE_MINUTES.column(name).kind]) for name in names])
    return pa.Table.from_pylist(list(rows), schema=kinds)


def expected(rows: Iterable[Row], since: datetime, until: datetime, step: str, zone: str) -> list[Row]:
    """The slow and obvious reference: add up minute by minute."""
    found: dict[tuple[datetime, str], Row] = {}
    for row in rows:
        if not since <= row["start"] < until:
            continue
        begin = step_begin(row["start"], step, zone)
        of = found.setdefault((begin, row["site"]), {"site": row["site"], "start": begin})
        for name in SUMS:
            both = [value for value in (of.get(name), row[name]) if value is not None]
            join = min if name in LEAST else max if name in GREATEST else sum
            of[name] = join(both) if both else None
    return [found[key] for key in sorted(found)]


def step_begin(at: datetime, step: str, zone: str) -> datetime:
    if step == "minute":
        return at
    if step == "hour":
        return at.replace(minute=0)
    local = at.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0)
    return (local.replace(day=1) if step == "month" else local).astimezone(UTC)


MINUTES = st.lists(
    st.builds(minute, st.sampled_from("AB"), st.integers(0, 60 * 14), st.integers(0, 50)), min_size=1, max_size=40
)

ENDS = st.integers(0, 60 * 14)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=MINUTES,
    cuts=st.lists(st.integers(0, 40), max_size=4),
    ends=st.tuples(st.integers(0, 840), st.integers(0, 840)),
)
def test_any_batches_of_the_same_minutes_give_the_same_hours(
    rows: list[Row], cuts: list[int], ends: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = opened(Path(folder))
        edges = [0, *sorted(cuts), len(rows)]
        for number, (begin, end) in enumerate(pairwise(edges)):
            append_minutes(lake, arrow(rows[begin:end]), batch=str(number))
        since, until = (BEGIN + end * MINUTE for end in sorted(ends))
        for merged in (False, True):
            if merged:
                merge(lake, schema.SITE_MINUTES)
            connection = lake.connect()
            for step, zone in (("minute", "UTC"), ("hour", "UTC"), ("day", "Europe/London"), ("month", "Asia/Kolkata")):
                found = site_series(lake, connection, None, since, until, step, zone=zone).to_pylist()
                assert found == expected(rows, since, until, step, zone)
            whole = site_series(lake, connection, ["B"], BEGIN, BEGIN + timedelta(days=2), "hour").to_pylist()
            assert whole == expected(
                [row for row in rows if row["site"] == "B"], BEGIN, BEGIN + timedelta(days=2), "hour", "UTC"
            )
            assert check(lake, now=BEGIN)[1] == []
            connection.close()


def test_days_are_local_when_clocks_change(tmp_path: Path) -> None:
    # 26 October 2025 has 25 hours in London and begins at 23:00 UTC.
    rows = [minute("A", 60 * hour, 1) for hour in range(60)]
    lake = opened(tmp_path)
    append_minutes(lake, arrow(rows), batch="a")
    connection = lake.connect()
    since, until = BEGIN, BEGIN + timedelta(hours=60)
    days = site_series(lake, connection, ["A"], since, until, "day", zone="Europe/London").to_pylist()
    assert [(day["start"], day["calls"]) for day in days] == [
        (datetime(2025, 10, 24, 23, tzinfo=UTC), 3),
        (datetime(2025, 10, 25, 23, tzinfo=UTC), 25),
        (datetime(2025, 10, 27, tzinfo=UTC), 24),
        (datetime(2025, 10, 28, tzinfo=UTC), 8),
    ]


def test_long_series_read_hour_rows(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    append_minutes(lake, arrow([minute("A", number, 1) for number in range(600)]), batch="a")
    connection = lake.connect()
    asked: list[tuple[Any, int]] = []
    query = lake.query

    def listening(*arguments: Any, **question: Any) -> str:
        sql = query(*arguments, **question)
        (count,) = connection.execute(f"SELECT count(*) FROM ({sql})").fetchall()
        asked.append((question["only"]["step"], count[0]))
        return sql

    lake.__dict__["query"] = listening
    site_series(lake, connection, None, BEGIN + 5 * MINUTE, BEGIN + 595 * MINUTE, "day")
    assert asked == [(["minute"], 55), (["hour"], 8), (["minute"], 55)]
    few = site_series(lake, connection, None, BEGIN, BEGIN + timedelta(days=1), "day", columns=["calls"])
    assert few.column_names == ["site", "start", "calls"]


def test_minutes_and_hours_come_in_one_commit(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    done = append_minutes(lake, arrow([minute("A", number, 1) for number in range(90)]), batch="a")
    assert (done.rows, done.version) == (92, 1)
    assert append_minutes(lake, arrow([minute("A", 0, 1)]), batch="a").already
    assert {file.partition["step"] for file in lake.files("site_minutes")} == {"minute", "hour"}


def test_compaction_merges_rows_of_the_same_minute(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    for number in range(5):
        append_minutes(lake, arrow([minute("A", 0, 1)]), batch=str(number))
    merge(lake, schema.SITE_MINUTES)
    assert sorted((file.partition["step"], file.rows) for file in lake.files("site_minutes")) == [
        ("hour", 1),
        ("minute", 1),
    ]


def test_what_is_no_minute_is_refused(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    row = minute("A", 0, 1)
    for wrong, sentence in (
        (arrow([{**row, "start": BEGIN + timedelta(seconds=5)}]), "1 rows for table site_minutes are no whole minutes"),
        (arrow([row]).append_column("step", pa.array(["hour"])), "1 rows for table site_minutes are no whole minutes"),
        (arrow([row]).append_column("colour", pa.array(["red"])), "table site_minutes has no column colour"),
        (arrow([row]).drop_columns(["calls"]), "column calls of table site_minutes must not be empty and is not given"),
        (arrow([{**row, "calls": None}]), "column calls of table site_minutes must not be empty"),
        (arrow([{**row, "site": None}]), "column site of table site_minutes must not be empty"),
    ):
        with pytest.raises(StoreError) as error:
            append_minutes(lake, wrong, batch="a")
        assert str(error.value) == sentence
    with pytest.raises(StoreError, match="table site_minutes has no sum cost"):
        site_series(lake, lake.connect(), None, BEGIN, BEGIN, "day", columns=["cost"])
    with pytest.raises(StoreError, match="a series has steps of minute, hour, day, month, not year"):
        site_series(lake, lake.connect(), None, BEGIN, BEGIN, "year")


def test_hours_out_of_step_are_found(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    append_minutes(lake, arrow([minute("A", 0, 1)]), batch="a")
    alone = {"month": BEGIN.date().replace(day=1), "step": "hour", **minute("A", 0, 1)}
    lake.append("site_minutes", pa.Table.from_pylist([alone], schema=_whole()), batch="b")
    (finding,) = check(lake, now=BEGIN)[1]
    assert finding.sentence == "table site_minutes has 1 hours of 2025-10 that are not the sums of their minutes"


def _whole() -> pa.Schema:
    return pa.schema([(column.name, ARROW[column.kind]) for column in schema.SITE_MINUTES.columns])
