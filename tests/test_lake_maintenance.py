"""Compaction, retention, vacuum and forgetting change what they should, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from lake_rows import BEGIN, rows

from analytics.store import schema
from analytics.store.checking import check
from analytics.store.delta import LOG
from analytics.store.forget import Wanted, forget
from analytics.store.history import version_at, versions
from analytics.store.lake import Lake
from analytics.store.maintenance import CRUMBS, Maintained, maintain, merge, merge_crumbs, unnamed
from analytics.store.settings import LakeSettings, StoreError

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2025, 10, 10, tzinfo=UTC)
INTERVALS = schema.INTERVALS


def opened(folder: Path, **settings: Any) -> Lake:
    settings = {"keep_days": {"intervals": None}, **settings}
    return Lake.open(folder / "store", create=True, settings=LakeSettings(durable=False, **settings))


def read(lake: Lake, table: str, **question: Any) -> list[dict[str, Any]]:
    connection = lake.connect()
    name = lake.view(connection, table, **question)
    return sorted(connection.sql(f'SELECT * FROM "{name}"').to_arrow_table().to_pylist(), key=repr)


def parquet_files(lake: Lake, table: str) -> list[Path]:
    return [path for path in lake.folder(table).rglob("*.parquet") if path.parent.name != LOG]


def test_compaction_keeps_the_rows_and_merges_the_files_of_each_partition(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    for number in range(30):
        lake.append("intervals", rows("intervals", range(number * 5, number * 5 + 5), step_s=1_800), batch=str(number))
    before = read(lake, "intervals")
    version = lake.version("intervals")
    days = {file.partition["day"] for file in lake.files("intervals")}
    merged, made = merge(lake, INTERVALS)
    assert (merged, made) == (len(before) // 5 + len(days) - 1, len(days))
    assert len(lake.files("intervals")) == len(days)
    assert read(lake, "intervals") == before
    assert read(lake, "intervals", version=version) == before
    assert DeltaTable(lake.folder("intervals")).to_pyarrow_table().num_rows == len(before)
    assert merge(lake, INTERVALS) == (0, 0)


def test_what_live_appends_made_is_merged_once_there_is_much_of_it(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    assert merge_crumbs(lake, INTERVALS) == (0, 0)
    appended = 0

    def append(batches: int) -> None:
        nonlocal appended
        for _ in range(batches):
            lake.append("intervals", rows("intervals", range(appended, appended + 2)), batch=str(appended))
            appended += 2

    append(CRUMBS - 1)
    assert merge_crumbs(lake, INTERVALS) == (0, 0)
    append(1)
    assert merge_crumbs(lake, INTERVALS) == (CRUMBS, 1)
    append(CRUMBS - 2)
    assert merge_crumbs(lake, INTERVALS) == (0, 0)
    assert len(lake.files("intervals")) == CRUMBS - 1
    append(1)
    assert merge_crumbs(lake, INTERVALS) == (CRUMBS, 1)
    assert [row["stream_key"] for row in read(lake, "intervals")] == [
        row["stream_key"] for row in sorted(rows("intervals", range(appended)).to_pylist(), key=repr)
    ]
    assert len(read(lake, "intervals")) == appended == 4 * CRUMBS - 2


def test_compacted_files_are_sorted_and_say_that_no_data_changed(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    for number in (3, 1, 2):
        lake.append("intervals", rows("intervals", range(number * 10, number * 10 + 10)), batch=str(number))
    merge(lake, INTERVALS)
    connection = lake.connect()
    (file,) = lake.files("intervals")
    path = lake.folder("intervals") / file.path
    starts = connection.execute(f"SELECT epoch_us(start) FROM read_parquet('{path}')").fetchall()
    assert starts == sorted(starts)
    log = sorted((lake.folder("intervals") / LOG).glob("*.json"))[-1].read_text().splitlines()
    actions = [json.loads(line) for line in log]
    changes = [action[key]["dataChange"] for action in actions for key in ("add", "remove") if key in action]
    assert changes == [False] * 4


def test_compaction_gives_way_to_who_changed_its_files(tmp_path: Path) -> None:
    lake, other = opened(tmp_path), opened(tmp_path)
    for number in range(4):
        lake.append("intervals", rows("intervals", range(5)), batch=str(number))
    stale = lake.snapshot("intervals")
    connection = other.connect()
    connection.register("one", rows("intervals", [1]))
    other.append_query("intervals", connection, "SELECT * FROM one", batch=None, replace=[BEGIN.date()])
    lake.__dict__["snapshot"] = lambda *_, **__: stale
    assert merge(lake, INTERVALS) == (0, 0)
    assert len(read(other, "intervals")) == 1
    assert len(unnamed(other, INTERVALS)) == 0


def test_retention_takes_whole_partitions_and_leaves_the_rest(tmp_path: Path) -> None:
    lake = opened(tmp_path, keep_days={"intervals": 3}, history_days=0)
    lake.append("intervals", rows("intervals", range(240), step_s=3_600), batch="a")
    done = maintain(lake, INTERVALS, now=NOW)
    assert done.rows_expired == 24 * 6
    assert {row["day"] for row in read(lake, "intervals")} == {date(2025, 10, day) for day in (7, 8, 9, 10)}
    assert maintain(lake, INTERVALS, now=NOW).rows_expired == 0


def test_a_table_may_be_kept_for_ever(tmp_path: Path) -> None:
    lake = opened(tmp_path, keep_days={"intervals": None})
    lake.append("intervals", rows("intervals", range(24), step_s=3_600), batch="a")
    assert maintain(lake, INTERVALS, now=NOW + timedelta(days=40_000)).rows_expired == 0


def test_vacuum_removes_what_no_version_within_the_history_names(tmp_path: Path) -> None:
    lake = opened(tmp_path, history_days=5)
    for number in range(6):
        lake.append("intervals", rows("intervals", range(5)), batch=str(number))
    kept = maintain(lake, INTERVALS, now=datetime.now(UTC))
    assert (kept.files_merged, kept.files_removed) == (6, 0)
    assert len(parquet_files(lake, "intervals")) == 7
    without = opened(tmp_path, history_days=0)
    assert maintain(without, INTERVALS, now=datetime.now(UTC)).files_removed == 6
    assert len(parquet_files(lake, "intervals")) == 1
    assert len(read(lake, "intervals")) == 30
    for version in (6, 60):
        with pytest.raises(StoreError, match=rf"table intervals( at| has no) version {version}"):
            read(lake, "intervals", version=version)


def test_leftovers_are_removed_once_they_are_old_and_files_being_written_are_not(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    lake.append("intervals", rows("intervals", range(5)), batch="a")
    folder = parquet_files(lake, "intervals")[0].parent
    old, young = folder / "old-0.parquet", folder / "young-0.parquet"
    for path in (old, young):
        path.write_bytes(b"PAR1")
    os.utime(old, (time.time() - 90_000,) * 2)
    codes = {finding.code for finding in check(lake, now=datetime.now(UTC))[1]}
    assert codes == {"leftover", "unfinished"}
    done = maintain(lake, INTERVALS, now=datetime.now(UTC))
    assert done.files_removed == 1
    assert young.exists()
    assert not old.exists()


def test_the_log_stays_short(tmp_path: Path) -> None:
    lake = opened(tmp_path, history_days=0)
    for number in range(60):
        lake.append("intervals", rows("intervals", range(2)), batch="agent", sequence=number)
    assert list((lake.folder("intervals") / LOG).glob("*.checkpoint.parquet"))
    done = maintain(lake, INTERVALS, now=datetime.now(UTC))
    assert done.versions_removed == 50
    assert len(list((lake.folder("intervals") / LOG).iterdir())) < 20
    assert len(read(opened(tmp_path), "intervals")) == 120
    assert lake.append("intervals", rows("intervals", range(2)), batch="agent", sequence=59).already
    assert lake.transaction("intervals", "agent") == 59


def test_old_versions_go_by_number_too_and_the_rest_can_be_read(tmp_path: Path) -> None:
    lake = opened(tmp_path, history_versions=60)
    for number in range(120):
        lake.append("intervals", rows("intervals", [number]), batch="agent", sequence=number)
    gathered = {int(path.name[:20]) for path in (lake.folder("intervals") / LOG).glob("*.checkpoint.parquet")}
    assert gathered == {50, 75, 100}
    idle = opened(tmp_path)
    assert idle.version("intervals") == 120
    lake.append("intervals", rows("intervals", [120]), batch="agent", sequence=120)
    done = maintain(lake, INTERVALS, now=datetime.now(UTC))
    assert done.versions_removed == 50
    for version in (50, 51, 80, 121):
        assert len(read(opened(tmp_path), "intervals", version=version)) == version
    with pytest.raises(StoreError, match="has no version 49, or not any more"):
        read(opened(tmp_path), "intervals", version=49)
    assert len(read(idle, "intervals")) == 121


def test_a_reader_that_slept_through_a_cleaning_of_the_log_sees_the_newest_version(tmp_path: Path) -> None:
    idle, lake = opened(tmp_path, history_days=0), opened(tmp_path, history_days=0)
    lake.append("intervals", rows("intervals", range(5)), batch="a")
    assert len(read(idle, "intervals")) == 5
    for number in range(30):
        lake.append("intervals", rows("intervals", [number]), batch=str(number))
    maintain(lake, INTERVALS, now=datetime.now(UTC) + timedelta(days=1))
    assert not (lake.folder("intervals") / LOG / "00000000000000000002.json").exists()
    assert len(read(idle, "intervals")) == 35


def test_batches_are_remembered_for_as_long_as_set(tmp_path: Path) -> None:
    lake = opened(tmp_path, batch_days=400)
    lake.append("intervals", rows("intervals", range(2)), batch="file")
    handle = DeltaTable(lake.folder("intervals"))
    assert handle.metadata().configuration["delta.setTransactionRetentionDuration"] == "interval 400 days"
    maintain(lake, INTERVALS, now=datetime.now(UTC))
    assert opened(tmp_path).append("intervals", rows("intervals", range(2)), batch="file").already
    shorter = opened(tmp_path, batch_days=0)
    maintain(shorter, INTERVALS, now=datetime.now(UTC))
    assert opened(tmp_path).transaction("intervals", "file") is None


CHILD = """
import re, sys
from datetime import UTC, datetime
from pathlib import Path
from analytics.store import schema
from analytics.store.lake import Lake
from analytics.store.maintenance import maintain
done = maintain(Lake.open(Path(sys.argv[1])), schema.STREAMS, now=datetime(2025, 10, 2, tzinfo=UTC))
# Not ru_maxrss: that begins with what the process held that started this one.
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
print(done.files_merged, done.files_made, int(peak[1]) // 1024)
"""
STREAM_ROWS = """
SELECT DATE '2025-10-01' AS day, CAST(hash(i) >> 1 AS BIGINT) AS stream_key, 'capture' AS source,
    CAST(hash(i // 2) >> 1 AS BIGINT) AS call_key,
    TIMESTAMPTZ '2025-10-01 00:00:00+00' + to_microseconds(CAST(hash(i) % 86400000000 AS BIGINT)) AS start,
    TIMESTAMPTZ '2025-10-02 00:00:00+00' AS "end",
    '10.' || hash(i) % 200 || '.1.9:' || hash(i + 2) % 65536 AS from_address,
    '10.' || hash(i + 3) % 200 || '.1.9:' || hash(i + 5) % 65536 AS to_address, 'S' || hash(i) % 70 AS site,
    'S' || hash(i + 3) % 70 AS other_site, CAST(hash(i + 6) % 4294967296 AS BIGINT) AS ssrc, 'PCMA' AS codec,
    9000 AS packets, 9000 AS expected, 0 AS lost, 2 AS loss_runs, (hash(i + 9) % 10000) / 1e3 AS jitter_ms,
    (hash(i + 10) % 30000) / 1e3 AS pdv_p95_ms, 1.0::DOUBLE AS burst_ratio, (hash(i) % 93000) / 1e3 AS r_factor,
    (hash(i + 12) % 4400) / 1e3 AS mos, 'G.107' AS mos_model, CAST(NULL AS VARCHAR) AS why_no_mos,
    CAST(46 AS SMALLINT) AS dscp, 'measured' AS evidence
FROM range({0}, {1}) AS numbers(i)
"""


def test_compaction_is_bounded_in_memory(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    connection = lake.connect()
    for number in range(8):
        sql = STREAM_ROWS.format(number * 125_000, number * 125_000 + 125_000)
        lake.append_query("streams", connection, sql, batch=str(number))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(lake.root)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    merged, made, peak_mib = map(int, done.stdout.split())
    assert (merged, made) == (8, 1)
    assert peak_mib <= 600
    assert sum(file.rows for file in lake.files("streams")) == 1_000_000


def test_forgotten_rows_are_nowhere_on_the_disk(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    secret = "0800123456789"
    for number in range(4):
        called = secret if number == 2 else f"00{number}"
        lake.append("cdr_rows", rows("cdr_rows", range(10), called=called), batch=str(number))
    merge(lake, schema.CDR_ROWS)
    lake.append("cdr_rows", rows("cdr_rows", range(7), calling=secret), batch="later")
    lake.append(
        "cdr_rows", rows("cdr_rows", range(5), calling=secret, step_s=0, begin=BEGIN), batch="live", live_now=NOW
    )
    wanted = Wanted(numbers=(secret,))
    would = forget(lake, schema.CDR_ROWS, wanted, now=datetime.now(UTC), dry_run=True)
    assert (would.rows, would.quarantined) == (17, 5)
    assert len(read(lake, "cdr_rows")) == 47
    done = forget(lake, schema.CDR_ROWS, wanted, now=datetime.now(UTC), dry_run=False)
    assert (done.rows, done.quarantined) == (17, 5)
    assert [row for row in read(lake, "cdr_rows") if secret in row.values()] == []
    assert len(read(lake, "cdr_rows")) == 30
    connection = lake.connect()
    for path in lake.root.rglob("*.parquet"):
        if path.parent.name == LOG:
            assert secret.encode() not in path.read_bytes()
        else:
            (held,) = connection.execute(
                f"SELECT count(*) FROM read_parquet('{path}') WHERE calling = '{secret}' OR called = '{secret}'"
            ).fetchall()
            assert held == (0,), path
    assert not any(secret in path.read_text() for path in lake.root.rglob("*.json"))
    assert forget(lake, schema.CDR_ROWS, wanted, now=datetime.now(UTC), dry_run=False).rows == 0


def test_files_of_an_append_at_work_are_not_forgotten_but_told(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    lake.append("cdr_rows", rows("cdr_rows", range(3), calling="1"), batch="a")
    file = parquet_files(lake, "cdr_rows")[0]
    copy = file.with_name("being-written.parquet")
    copy.write_bytes(file.read_bytes())
    wanted = Wanted(numbers=("1",))
    done = forget(lake, schema.CDR_ROWS, wanted, now=datetime.now(UTC), dry_run=False)
    assert (done.rows, done.files_removed, done.unfinished) == (3, 1, 1)
    later = datetime.now(UTC) + timedelta(days=2)
    done = forget(lake, schema.CDR_ROWS, wanted, now=later, dry_run=False)
    assert (done.rows, done.files_removed, done.unfinished) == (0, 1, 0)
    assert parquet_files(lake, "cdr_rows") == []


@pytest.mark.parametrize(
    ("table", "wanted", "left"),
    [
        ("cdr_rows", Wanted(before=date(2025, 10, 2)), 24),
        ("cdr_rows", Wanted(calls=("7",)), 47),
        ("usage", Wanted(sites=("site 7 ’”\\",)), 47),
        ("usage", Wanted(devices=("device 7 ’”\\",), before=date(2025, 10, 2)), 47),
        ("usage", Wanted(numbers=("1",)), 48),
        ("site_minutes", Wanted(numbers=("1",), before=date(2026, 1, 1)), 48),
    ],
)
def test_rows_are_forgotten_by_what_is_given(tmp_path: Path, table: str, wanted: Wanted, left: int) -> None:
    lake = opened(tmp_path)
    lake.append(table, rows(table, range(48), step_s=3_600), batch="a")
    forget(lake, schema.table(table), wanted, now=datetime.now(UTC), dry_run=False)
    assert len(read(lake, table)) == left


def test_the_log_names_no_person(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    for table in schema.TABLES:
        lake.append(table.name, rows(table.name, range(3), step_s=60), batch="a")
        log = (lake.folder(table.name) / LOG / "00000000000000000001.json").read_text()
        adds = [json.loads(line)["add"] for line in log.splitlines() if "add" in json.loads(line)]
        for add in adds:
            bounds = json.loads(add["stats"])["minValues"]
            kinds = {name: table.column(name).kind for name in bounds}
            assert all(kind in {schema.Kind.TIME, schema.Kind.DATE} or name == "site" for name, kind in kinds.items())


def test_old_versions_are_listed_and_found_by_time(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    lake.append("intervals", rows("intervals", range(5)), batch="a")
    between = datetime.now(UTC)
    time.sleep(0.01)
    lake.append("intervals", rows("intervals", range(7)), batch="b")
    merge(lake, INTERVALS)
    told = [(version.number, version.what, version.rows) for version in versions(lake, INTERVALS)]
    assert told == [(3, "compaction", None), (2, "append", 7), (1, "append", 5), (0, "made", None)]
    assert version_at(lake, INTERVALS, between) == 1
    with pytest.raises(StoreError, match="has no version from before"):
        version_at(lake, INTERVALS, NOW - timedelta(days=10_000))


def test_a_damaged_store_is_told_in_one_sentence_each(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    for name in ("intervals", "usage", "calls", "streams", "alerts"):
        lake.append(name, rows(name, range(5)), batch="a")
    parquet_files(lake, "intervals")[0].unlink()
    cut = parquet_files(lake, "usage")[0]
    cut.write_bytes(cut.read_bytes()[:-100])
    (lake.folder("calls") / LOG / "00000000000000000001.json").write_text('{"add":{"path":')
    middle = parquet_files(lake, "streams")[0]
    octets = bytearray(middle.read_bytes())
    octets[4:400] = bytes(396)
    middle.write_bytes(octets)
    for path in (lake.folder("alerts") / LOG).iterdir():
        path.unlink()
    fresh = opened(tmp_path)
    found = {finding.table: finding for finding in check(fresh, now=NOW, deep=True)[1]}
    assert {table: finding.code for table, finding in found.items()} == {
        "intervals": "file_gone",
        "usage": "file_damaged",
        "calls": "log_unreadable",
        "streams": "file_damaged",
        "alerts": "log_gone",
    }
    assert not any(finding.harmless or "\n" in finding.sentence for finding in found.values())
    for name in ("intervals", "usage", "calls"):
        with pytest.raises(StoreError, match=name):
            read(fresh, name)


def test_a_whole_store_has_no_findings(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    lake.append("intervals", rows("intervals", range(5)), batch="a")
    checked, findings = check(lake, now=NOW, deep=True)
    assert [(one.table, one.files, one.rows) for one in checked] == [("intervals", 1, 5)]
    assert findings == []


def test_the_future_is_found(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    lake.append("intervals", rows("intervals", range(5), begin=NOW + timedelta(days=30)), batch="a")
    (finding,) = check(lake, now=NOW)[1]
    assert finding.sentence == "table intervals has 5 rows of 2025-11-09, which is in the future"


def test_rows_of_a_wrong_clock_are_put_aside_and_counted(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    good = rows("intervals", range(6), begin=NOW - timedelta(hours=1))
    wrong = pa.concat_tables(
        [
            rows("intervals", range(4), begin=datetime(2016, 1, 1, tzinfo=UTC)),
            rows("intervals", [0], begin=NOW + timedelta(days=2)),
        ]
    )
    batch = pa.concat_tables([good, wrong])
    done = lake.append("intervals", batch, batch="agent", sequence=1, live_now=NOW)
    assert (done.rows, done.quarantined) == (6, 5)
    assert done.reason == "5 rows were put aside: 4 with start more than 24 h ago, 1 more than 1 h ahead"
    assert {row["day"] for row in read(lake, "intervals")} == {date(2025, 10, 9)}
    assert lake.append("intervals", batch, batch="agent", sequence=1, live_now=NOW).already
    (finding,) = check(lake, now=NOW)[1]
    assert (finding.code, finding.harmless) == ("quarantine", True)
    assert finding.sentence.startswith("quarantine holds 5 rows (")
    assert lake.append("intervals", wrong, batch="file").rows == 5


def test_quarantine_is_bounded(tmp_path: Path) -> None:
    lake = opened(tmp_path, quarantine_mb=0)
    lake.append("intervals", rows("intervals", range(4)), batch="agent", sequence=1, live_now=NOW)
    done = lake.append("intervals", rows("intervals", range(4)), batch="agent", sequence=2, live_now=NOW)
    assert done.quarantined == 4
    assert done.reason.endswith("quarantine is full, they were not kept")
    assert not list((lake.root / "quarantine").rglob("*.parquet"))


def test_a_column_that_was_declared_later_is_null_in_earlier_rows(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    lake.append("intervals", rows("intervals", range(5)), batch="a")
    later = schema.Table(
        **{
            **{name: getattr(INTERVALS, name) for name in schema.Table.__slots__},
            "columns": (*INTERVALS.columns, schema.Column("loudness", schema.Kind.DOUBLE, "x", missing="not measured")),
        }
    )
    original = schema.TABLES
    try:
        schema.TABLES = tuple(later if table is INTERVALS else table for table in original)
        fresh = opened(tmp_path)
        assert [row["loudness"] for row in read(fresh, "intervals")] == [None] * 5
        fresh.append("intervals", rows("intervals", range(3), loudness=1.5), batch="b")
        assert sorted(row["loudness"] or 0 for row in read(fresh, "intervals")) == [0] * 5 + [1.5] * 3
        merge(fresh, later)
        assert len(fresh.files("intervals")) == 1
        assert sorted(row["loudness"] or 0 for row in read(fresh, "intervals")) == [0] * 5 + [1.5] * 3
    finally:
        schema.TABLES = original
    with pytest.raises(StoreError, match="of another version of Callgauge: column loudness is not declared"):
        opened(tmp_path).version("intervals")


def test_nothing_is_done_to_a_table_that_was_never_written(tmp_path: Path) -> None:
    lake = opened(tmp_path)
    assert maintain(lake, schema.USAGE, now=NOW) == Maintained("usage")
    assert forget(lake, schema.USAGE, Wanted(sites=("A",)), now=datetime.now(UTC), dry_run=False).rows == 0
    assert not lake.folder("usage").exists()
