"""Days of usage do not depend on when their records come, nor on how long those are kept."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from records_made import arrow, moment, record, records
from test_usage_lines import ESTATE

from analytics.store.lake import Lake
from analytics.store.schema import IMPORTS
from analytics.usage.derive import Book, derive, pending

MIDNIGHT = 1_759_968_000  # 2025-10-09 00:00 UTC
SPLIT = {"orig_cause": 393216, "dest_cause": 393216}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


class Desk:
    """Takes files of records in, one after the other, and rates what waits."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake.open(root, create=True)
        self._files = 0

    def take(self, *rows: Row, table: str = "cdr_rows", made: pa.Table | None = None) -> None:
        self._files += 1
        rows = tuple({**row, "file_key": self._files} for row in rows)
        self.lake.append(table, made if made is not None else records(*rows), batch=f"file {self._files}")
        at = NOW + timedelta(minutes=self._files)
        imported = {
            "month": date(2026, 1, 1), "file_key": self._files, "sha256": "", "name": "", "source": "cucm",
            "record": "cdr", "imported": at, "rows": 1, "kept": 1, "rejected": 0,
        }  # fmt: skip
        self.lake.append("imports", arrow(IMPORTS, [imported]), batch=f"imports {self._files}")
        with closing(self.lake.connect()) as connection:
            book = Book(ESTATE, None, None, None)
            derive(self.lake, connection, book, pending(self.lake, connection), at + timedelta(seconds=1))

    def lines(self) -> list[tuple[Any, ...]]:
        with closing(self.lake.connect()) as connection:
            self.lake.view(connection, "usage")
            return connection.execute(
                "SELECT kind, site, seconds, records, line_key, call_key FROM usage WHERE excluded IS NULL ORDER BY ALL"
            ).fetchall()


def out(key: int, at: int, seconds: int, legs: tuple[int, int], back: bool = False) -> Row:
    """A piece of one call to the public network that is passed from desk to desk."""
    if back:
        return record(
            key, 4, legs, at, seconds, "01134960123", "5002", orig_device="SIPTRUNK", dest_device="SEP_A2",
            join_behalf=10, **SPLIT,
        )  # fmt: skip
    return record(
        key, 4, legs, at, seconds, "5001", "901134960123", orig_device="SEP_A1", dest_device="SIPTRUNK", **SPLIT
    )


TWO = (out(1, MIDNIGHT - 600, 600, (1, 2)), out(2, MIDNIGHT, 3_600, (2, 3), back=True))
LONG = (
    out(1, MIDNIGHT - 600, 600, (1, 2)),
    out(2, MIDNIGHT, 43_200, (2, 3), back=True),
    out(3, MIDNIGHT + 43_200, 43_760, (2, 4), back=True),
    out(4, MIDNIGHT + 86_960, 100_000, (2, 5), back=True),
)


@pytest.mark.parametrize("pieces", [TWO, LONG], ids=["over one midnight", "over two"])
def test_the_pieces_of_a_call_may_come_in_any_order(pieces: tuple[Row, ...], tmp_path: Path) -> None:
    seconds = sum(row["seconds"] for row in pieces)
    for number, order in enumerate(permutations(pieces)):
        desk = Desk(tmp_path / str(number))
        for row in order:
            desk.take(row)
        # One line, headed by the first record: its key is 10, by hand.
        assert desk.lines() == [("outbound", "A", seconds, len(pieces), 10, 10)], [row["line"] for row in order]
        desk.lake.close()


def test_lines_outlive_their_records(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "store")
    first, late = out(1, MIDNIGHT + 50, 65, (1, 2)), out(2, MIDNIGHT + 900, 30, (7, 8)) | {"call_ref": 9}
    desk.take(first)
    before = desk.lines()
    assert [line[2] for line in before] == [65]
    with closing(desk.lake.connect()) as connection:
        empty = f"SELECT * FROM ({desk.lake.query(connection, 'cdr_rows')}) LIMIT 0"
        desk.lake.append_query("cdr_rows", connection, empty, batch=None, replace=[moment(MIDNIGHT).date()])
    desk.take(late)
    assert sorted(line[2] for line in desk.lines()) == [30, 65]


def test_a_report_of_the_day_after_is_heard(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "store")
    desk.take(out(1, MIDNIGHT - 70, 60, (1, 2)))
    report = {
        "day": date(2025, 10, 9), "source": "cucm", "system": "Cluster1", "file_key": 2, "line": 3, "row_key": 77,
        "call_ref": 4, "leg": 1, "reported": moment(MIDNIGHT + 1), "packets_received": 900, "packets_lost": 100,
    }  # fmt: skip
    from records_made import reports

    desk.take(table="phone_reports", made=reports(report))
    with closing(desk.lake.connect()) as connection:
        desk.lake.view(connection, "usage")
        assert connection.execute("SELECT poor FROM usage").fetchall() == [(True,)]
