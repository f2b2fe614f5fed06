"""The lake holds what it acknowledged, once, as it was given."""

from __future__ import annotations

import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, QueryBuilder
from lake_rows import BEGIN, rows

from analytics.store import schema
from analytics.store.delta import first_line
from analytics.store.lake import Appended, Lake
from analytics.store.settings import StoreError


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(tmp_path / "store", create=True)


def read(lake: Lake, table: str, **question: Any) -> pa.Table:
    connection = lake.connect()
    name = lake.view(connection, table, **question)
    order = ", ".join(f'"{column.name}"' for column in schema.table(table).columns)
    return connection.sql(f'SELECT * FROM "{name}" ORDER BY {order}').to_arrow_table()


@pytest.mark.parametrize("name", [table.name for table in schema.TABLES])
def test_every_table_gives_back_its_rows_through_the_view_and_through_deltalake(lake: Lake, name: str) -> None:
    given = rows(name, range(1, 200), step_s=3_600)
    assert lake.append(name, given, batch="a") == Appended(199, 1)
    assert read_sorted(read(lake, name)) == read_sorted(given)
    foreign = DeltaTable(lake.folder(name)).to_pyarrow_table()
    assert read_sorted(foreign.select(given.column_names)) == read_sorted(given)


@pytest.mark.parametrize("name", [table.name for table in schema.TABLES])
def test_every_table_is_read_by_its_clock(lake: Lake, name: str) -> None:
    given = rows(name, range(1, 100), step_s=43_200)
    lake.append(name, given, batch="a")
    since, until = datetime(2025, 11, 1, tzinfo=UTC), datetime(2025, 11, 7, 12, tzinfo=UTC)
    clock = schema.table(name).clock

    def within(row: dict[str, Any]) -> bool:
        at = row[clock]
        moment = at if isinstance(at, datetime) else datetime(at.year, at.month, at.day, tzinfo=UTC)
        return since <= moment < until

    expected = [row for row in read_sorted(given) if within(row)]
    assert expected
    assert read_sorted(read(lake, name, since=since, until=until)) == expected
    dataset = DeltaTable(lake.folder(name)).to_pyarrow_dataset()
    value = since.date() if schema.table(name).column(clock).kind is schema.Kind.DATE else since
    foreign = dataset.to_table(filter=pc.field(clock) >= pa.scalar(value, given.schema.field(clock).type))
    later = [row for row in read_sorted(given) if row[clock] >= value]
    assert read_sorted(foreign.select(given.column_names)) == later


def test_deltalake_prunes_by_our_statistics_and_loses_nothing(lake: Lake) -> None:
    for site in ("Ængland", "Zürich ’", "A\x7f"):
        lake.append("intervals", rows("intervals", range(10), site=site), batch=site)
    table = DeltaTable(lake.folder("intervals"))
    for site in ("Ængland", "Zürich ’", "A\x7f"):
        query = f"SELECT count(*) AS n FROM t WHERE site = '{site}' AND start >= '2025-10-01T00:00:03Z'"
        found = pa.table(QueryBuilder().register("t", table).execute(query).read_all())
        assert found.column("n").to_pylist() == [7]
        assert read(lake, "intervals", only={"site": [site]}).num_rows == 10


def read_sorted(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: [(value is None, value) for value in row.values()])


def test_a_batch_is_appended_once(lake: Lake) -> None:
    assert lake.append("intervals", rows("intervals", range(10)), batch="a") == Appended(10, 1)
    assert lake.append("intervals", rows("intervals", range(10)), batch="a") == Appended(0, 1, already=True)
    assert read(lake, "intervals").num_rows == 10


def test_a_view_stands_on_one_version(lake: Lake) -> None:
    lake.append("intervals", rows("intervals", range(10)), batch="a")
    connection = lake.connect()
    lake.view(connection, "intervals", name="before")
    lake.append("intervals", rows("intervals", range(10)), batch="b")
    assert connection.execute("SELECT count(*) FROM before").fetchone() == (10,)
    assert read(lake, "intervals", version=1).num_rows == 10
    assert read(lake, "intervals").num_rows == 20


def test_a_table_that_was_never_written_is_empty_and_typed(lake: Lake) -> None:
    empty = read(lake, "usage")
    assert empty.num_rows == 0
    assert empty.schema.field("day").type == pa.date32()
    assert lake.version("usage") is None
    assert lake.transaction("usage", "a") is None


def test_a_view_holds_the_rows_from_since_until_before_until(lake: Lake) -> None:
    lake.append("intervals", rows("intervals", range(72), step_s=3_600), batch="a")
    since, until = BEGIN + timedelta(hours=20), BEGIN + timedelta(hours=30)
    found = read(lake, "intervals", since=since, until=until)
    assert found.column("start").to_pylist() == [since + timedelta(hours=hour) for hour in range(10)]


def test_threads_append_and_read_through_one_lake(lake: Lake) -> None:
    def work(thread: int) -> list[Appended]:
        done = []
        for number in range(12):
            done.append(lake.append("intervals", rows("intervals", range(5)), batch=f"same {number}"))
            done.append(lake.append("usage", rows("usage", range(5)), batch=f"{thread} {number}"))
            assert read(lake, "intervals").num_rows % 5 == 0
        return done

    with ThreadPoolExecutor(4) as threads:
        done = [one for result in threads.map(work, range(4)) for one in result]
    assert sum(one.rows for one in done) == 12 * 5 + 4 * 12 * 5
    assert read(lake, "intervals").num_rows == 12 * 5
    assert read(lake, "usage").num_rows == 4 * 12 * 5


def test_rows_may_come_as_a_stream(lake: Lake) -> None:
    def stream() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(given.schema, given.to_batches(max_chunksize=7))

    given = rows("intervals", range(50))
    assert lake.append("intervals", stream(), batch="a").rows == 50
    assert lake.append("intervals", stream(), batch="b", live_now=BEGIN).rows == 50
    assert read(lake, "intervals").num_rows == 100


def test_replaced_partitions_hold_the_new_rows_alone(lake: Lake) -> None:
    lake.append("usage", rows("usage", range(72), step_s=3_600), batch="a")
    connection = lake.connect()
    connection.register("new", rows("usage", [30], step_s=3_600))
    lake.append_query("usage", connection, "SELECT * FROM new", batch=None, replace=[date(2025, 10, 2)])
    days = read(lake, "usage").column("day").to_pylist()
    assert [days.count(date(2025, 10, day)) for day in (1, 2, 3)] == [24, 1, 24]


def change(table: pa.Table, **columns: Any) -> pa.Table:
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def test_what_the_schema_forbids_is_refused_by_name_and_leaves_nothing(lake: Lake) -> None:
    good = rows("intervals", range(3))
    refused = {
        "table intervals has no column color": good.append_column("color", pa.array([1, 2, 3])),
        "column packets of table intervals must not be empty": change(good, packets=pa.array([1, None, 3])),
        "column packets of table intervals must not be empty and is not given": good.drop_columns(["packets"]),
        "column packets of table intervals is BIGINT, not VARCHAR": change(good, packets=pa.array(["1", "2", "3"])),
        "column start of table intervals is TIMESTAMP WITH TIME ZONE, not TIMESTAMP": change(
            good, start=good.column("start").cast(pa.timestamp("us"))
        ),
        "column day of table intervals must not be empty": change(good, day=pa.nulls(3, pa.date32())),
        "column day of table intervals must be the UTC day of start: a row of 2025-10-01T00:00:00+00:00 stands under "
        "2025-10-02": change(good, day=pa.array([date(2025, 10, 2)] * 3)),
    }
    for sentence, table in refused.items():
        with pytest.raises(StoreError) as error:
            lake.append("intervals", table, batch="a")
        assert str(error.value) == sentence
    assert not list(lake.folder("intervals").rglob("*.parquet"))
    assert lake.append("intervals", good, batch="a").rows == 3


def test_a_partition_takes_plain_words_only(lake: Lake) -> None:
    for word in ("../x", "a/b", "", "a b", "%2e"):
        with pytest.raises(StoreError, match="column step of table site_minutes"):
            lake.append("site_minutes", rows("site_minutes", range(3), step=word), batch="a")
    assert not list(lake.root.rglob("*.parquet"))


def test_columns_may_come_in_any_order_and_width(lake: Lake) -> None:
    good = rows("streams", range(5))
    given = change(good, ssrc=good.column("ssrc").cast(pa.uint32()), dscp=good.column("dscp").cast(pa.int64()))
    lake.append("streams", given.select(list(reversed(given.column_names))), batch="a")
    assert read_sorted(read(lake, "streams")) == read_sorted(good)
    with pytest.raises(StoreError, match="streams"):
        lake.append("streams", change(good, dscp=pa.array([1 << 20] * 5)), batch="b")


def test_only_the_owner_may_look_into_a_store(lake: Lake) -> None:
    assert lake.root.stat().st_mode & 0o777 == 0o700


def test_a_store_is_made_only_when_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store in"):
        Lake.open(tmp_path / "store")
    assert not (tmp_path / "store").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="neither a store nor empty"):
        Lake.open(tmp_path, create=True)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("3", "the settings are no object"),
        ('{"keep": 1}', "there is no setting keep"),
        ('{"memory_mb": "1"}', "memory_mb must be a whole number from 0 on"),
        ('{"orphan_hours": -1}', "orphan_hours must be a number from 0 on"),
        ('{"durable": 1}', "durable must be true or false"),
        ('{"keep_days": 3}', "keep_days must name tables with their days"),
        ('{"keep_days": {"call": 3}}', "keep_days names call, which is no table"),
        ('{"keep_days": {"calls": 1.5}}', "keep_days of calls must be whole days or null"),
    ],
)
def test_wrong_settings_are_named(lake: Lake, settings: str, sentence: str) -> None:
    marker = lake.root / "callgauge-store.json"
    marker.write_text(f'{{"format": 1, "settings": {settings}}}')
    with pytest.raises(StoreError) as error:
        Lake.open(lake.root)
    assert str(error.value) == f"{marker}: {sentence}"


@pytest.mark.parametrize(("text", "sentence"), [("{", "cannot be read"), ('{"format": 9}', "has format 9")])
def test_a_store_of_another_format_is_not_touched(lake: Lake, text: str, sentence: str) -> None:
    (lake.root / "callgauge-store.json").write_text(text)
    with pytest.raises(StoreError, match=sentence):
        Lake.open(lake.root, create=True)


def test_a_store_whose_making_was_cut_short_is_made_whole(tmp_path: Path) -> None:
    (tmp_path / "callgauge-store.json.4711").write_text("")
    assert Lake.open(tmp_path, create=True).append("intervals", rows("intervals", range(3)), batch="a").rows == 3
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_many_may_make_the_same_store_at_once(tmp_path: Path) -> None:
    for number in range(10):
        root = tmp_path / str(number)
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(lambda _, root=root: Lake.open(root, create=True).root, range(8)))
        assert made == [root] * 8
        assert [path.name for path in root.iterdir()] == ["callgauge-store.json"]


@pytest.mark.parametrize("name", ["site=A", "a*", "a?", "[ab]", "a%20b"])
def test_a_store_may_not_lie_where_its_path_reads_as_a_pattern(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="must hold none of"):
        Lake.open(tmp_path / name / "store", create=True)


def test_a_store_may_have_any_other_name(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "it's a {store} ’ #1" / "store", create=True)
    assert lake.append("intervals", rows("intervals", range(3)), batch="a").rows == 3
    assert read(lake, "intervals").num_rows == 3
    assert DeltaTable(lake.folder("intervals")).to_pyarrow_table().num_rows == 3


def test_a_full_disk_is_said_with_the_table_and_its_folder(lake: Lake) -> None:
    made = rows("calls", range(3)).to_batches()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    lake.append("calls", rows("calls", range(3, 6)), batch="a")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
        with pytest.raises(
            StoreError, match=f"rows of table calls cannot be written to {lake.root}/calls: File too large"
        ):
            lake.append_batches("calls", made, batch="b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert len(lake.files("calls")) == 1


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "Generic LocalFileSystem error: Unable to open file /srv/store/calls/_delta_log/3.json: "
            "Read-only file system (os error 30)\nstack backtrace",
            "/srv/store/calls/_delta_log/3.json: Read-only file system",
        ),
        ("[Errno 28] Error writing bytes to file", "No space left on device"),
        ("Kernel error: Generic delta kernel error: no such thing\nmore", "no such thing"),
        ("x" * 5_000, "x" * 300 + "…"),
        ("", "OSError"),
    ],
)
def test_errors_of_other_libraries_are_passed_on_in_one_line_of_words(said: str, sentence: str) -> None:
    assert first_line(OSError(said)) == sentence
