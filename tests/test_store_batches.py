from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from analytics.store import batches
from analytics.store.lake import Lake
from analytics.store.settings import StoreError

START = datetime(2025, 10, 26, 23, 59, tzinfo=UTC)


def alerts(moments: list[datetime], state: str = "firing") -> pa.RecordBatch:
    count = len(moments)
    return pa.RecordBatch.from_pydict(
        {
            "state": pa.array([state] * count),
            "at": pa.array(moments, pa.timestamp("us", tz="UTC")),
            "month": pa.array([moment.date().replace(day=1) for moment in moments], pa.date32()),
            "rule": pa.array(["loss"] * count),
            "fingerprint": pa.array([str(k) for k in range(count)]),
            "site": pa.array([None if k % 2 else "A" for k in range(count)], pa.string()),
            "reason": pa.array(["rose"] * count),
        }
    )


def rows_of(lake: Lake) -> list[tuple[object, ...]]:
    with closing(lake.connect()) as connection:
        view = lake.view(connection, "alerts")
        sql = f'SELECT month, epoch_us("at"), rule, site, numerator FROM {view} ORDER BY "at"'
        return connection.execute(sql).fetchall()


def test_batches_of_several_partitions_come_back_as_they_were(tmp_path: Path) -> None:
    moments = [START + timedelta(days=7 * k, microseconds=k) for k in range(40)]
    with closing(Lake.open(tmp_path / "store", create=True)) as lake:
        appended = lake.append_batches("alerts", [alerts(moments[:25]), alerts(moments[25:])], batch="one")
        assert (appended.rows, appended.already) == (40, False)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        expected = [
            (
                moment.date().replace(day=1),
                (moment - epoch) // timedelta(microseconds=1),
                "loss",
                None if k % 2 else "A",
                None,
            )
            for k, moment in zip([*range(25), *range(15)], moments, strict=True)
        ]
        assert rows_of(lake) == expected


def test_the_same_batch_again_appends_nothing(tmp_path: Path) -> None:
    with closing(Lake.open(tmp_path / "store", create=True)) as lake:
        lake.append_batches("alerts", [alerts([START])], batch="one")
        assert lake.append_batches("alerts", [alerts([START])], batch="one").already
        assert len(rows_of(lake)) == 1


def test_a_file_knows_the_span_of_its_times_so_that_it_can_be_left_out(tmp_path: Path) -> None:
    with closing(Lake.open(tmp_path / "store", create=True)) as lake:
        lake.append_batches("alerts", [alerts([START, START + timedelta(days=3)])], batch="one")
        (file,) = lake.files("alerts")
        assert file.rows == 2
        assert file.minimum["at"] == START
        assert file.maximum["at"] == START + timedelta(days=3)


def test_more_partitions_than_files_may_be_open_still_all_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "OPEN_FILES", 2)
    moments = [datetime(2020 + k // 12, 1 + k % 12, 5, tzinfo=UTC) for k in range(30)]
    with closing(Lake.open(tmp_path / "store", create=True)) as lake:
        lake.append_batches("alerts", [alerts(moments), alerts(moments)], batch="one")
        assert len(rows_of(lake)) == 60


def test_few_rows_wait_in_memory_however_many_partitions_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "GATHERED", 10)
    moments = [datetime(2020 + k // 12, 1 + k % 12, 5, tzinfo=UTC) for k in range(30)]
    with closing(Lake.open(tmp_path / "store", create=True)) as lake:
        lake.append_batches("alerts", [alerts(moments), alerts(moments)], batch="one")
        assert len(rows_of(lake)) == 60


def test_an_error_while_batches_come_leaves_neither_rows_nor_files(tmp_path: Path) -> None:
    def broken() -> object:
        yield alerts([START])
        raise ValueError("the source broke off")

    with closing(Lake.open(tmp_path / "store", create=True)) as lake:
        with pytest.raises(ValueError, match="broke off"):
            lake.append_batches("alerts", broken(), batch="one")  # type: ignore[arg-type]
        assert rows_of(lake) == []
        assert list((tmp_path / "store" / "alerts").rglob("*.parquet")) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rule": pa.array([None], pa.string())}, "must not be empty"),
        ({"rule": pa.array([1], pa.int64())}, "is VARCHAR, not int64"),
        ({"colour": pa.array(["red"])}, "has no column colour"),
        ({"month": pa.array([date(2025, 9, 1)], pa.date32())}, "must be the UTC month of at"),
    ],
)
def test_rows_that_do_not_fit_the_schema_are_refused(
    tmp_path: Path, change: dict[str, pa.Array], complaint: str
) -> None:
    columns = dict(zip(alerts([START]).schema.names, alerts([START]).columns, strict=True)) | change
    with closing(Lake.open(tmp_path / "store", create=True)) as lake:
        with pytest.raises(StoreError, match=complaint):
            lake.append_batches("alerts", [pa.RecordBatch.from_pydict(columns)], batch="one")
        assert rows_of(lake) == []
