"""Days that are rated while an import still brings the next ones are rated as they are afterwards, and once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cucm_records import line, table
from test_usage_lines import ESTATE

from analytics.store.lake import Lake
from analytics.usage.derive import Book, Derived, derive, waiting
from api.alongside import Alongside
from collector.cdr.files import discover
from collector.cdr.importing import Import, ImportSettings, whole_until
from collector.cdr.journal import sole_import
from collector.cdr.rejects import Rejects

BOOK = Book(ESTATE, None, None, None)
FIRST = 1_759_276_800
"""2025-10-01 00:00 UTC."""
DAY = 86_400
DAYS = 9


def call(number: int, at: int, seconds: int, legs: tuple[int, int], **fields: str) -> str:
    """A call to the public network."""
    times = {"dateTimeOrigination": at, "dateTimeConnect": at, "dateTimeDisconnect": at + seconds, "duration": seconds}
    own = {"globalCallID_callId": number, "origLegCallIdentifier": legs[0], "destLegIdentifier": legs[1]}
    texts = {"pkid": f'"{number}-{at}"', "origDeviceName": '"SEP_A1"', "destDeviceName": '"SIPTRUNK"'}
    return line("cdr", None, **{name: str(value) for name, value in (times | own).items()}, **texts, **fields)


def day_of_calls(day: int) -> list[str]:
    """A call at noon, one that goes on over midnight, and what the one of the day before went on as."""
    begin, legs = FIRST + day * DAY, 10 * day
    split = {"origCause_value": "393216", "destCause_value": "393216"}
    return [
        call(legs + 1, begin + DAY // 2, 65, (legs + 1, legs + 2)),
        call(legs + 3, begin + 5, 300, (legs + 6, legs - 5)),
        call(legs + 13, begin + DAY - 600, 595, (legs + 4, legs + 5), **split),
    ]


def feed(folder: Path, **more: str) -> None:
    """A file a day, and others by their name."""
    folder.mkdir()
    for day in range(DAYS):
        name = f"cdr_Cluster1_01_202510{day + 1:02d}2359_{day + 1}"
        (folder / name).write_bytes(table(day_of_calls(day)))
    for name, record in more.items():
        (folder / name).write_bytes(table([record]))


def imported(store: Path, folder: Path, landed: Callable[[Lake], Alongside] | None) -> tuple[Derived, Derived]:
    """Import with groups of two files; return what was rated meanwhile, and after it."""
    now = partial(datetime.now, UTC)
    run = Import(ImportSettings(group_files=2), Rejects())
    files = run.identify(discover([folder], 2**62))
    with closing(Lake.open(store, create=True)) as lake, sole_import(lake.root, print) as journal:
        meanwhile = Derived()
        if landed is None:
            run.into(lake, journal, files, now)
        else:
            with landed(lake) as alongside:
                run.into(lake, journal, files, now, alongside.until)
                meanwhile = alongside.finish()
        with closing(lake.connect()) as connection:
            found = waiting(lake, connection)
            return meanwhile, derive(lake, connection, BOOK, found.days, now(), None, found)


def kept(store: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        for name in ("usage", "ratings"):
            lake.view(connection, name)
        return connection.execute(query).fetchall()


LINES = """
    SELECT day, line_key, call_key, records, epoch_us(start), seconds, kind, site, number_class, destination, cause
    FROM usage ORDER BY ALL
"""


def rated_alongside(lake: Lake) -> Alongside:
    return Alongside(lake, BOOK, partial(datetime.now, UTC))


def test_days_rated_alongside_are_as_those_rated_afterwards_and_rated_once(tmp_path: Path) -> None:
    feed(tmp_path / "in")
    meanwhile, after = imported(tmp_path / "alongside", tmp_path / "in", rated_alongside)
    nothing, whole = imported(tmp_path / "afterwards", tmp_path / "in", None)
    assert kept(tmp_path / "alongside", LINES) == kept(tmp_path / "afterwards", LINES)
    # The first two of nine days are whole when the fourth has come; and no day is rated twice.
    assert {date(2025, 10, 1), date(2025, 10, 2)} <= meanwhile.made
    assert not meanwhile.made & after.made
    assert meanwhile.made | after.made == whole.made
    assert not nothing.days
    assert kept(tmp_path / "alongside", "SELECT count(*) - count(DISTINCT rated_day) FROM ratings") == [(0,)]
    # A call over midnight is one line of two records.
    assert kept(tmp_path / "alongside", "SELECT count(*) FROM usage WHERE records = 2") == [(DAYS - 1,)]


def test_a_record_that_comes_days_after_its_call_is_rated_all_the_same(tmp_path: Path) -> None:
    late = call(900, FIRST + DAY - 100, 95, (901, 902))
    feed(tmp_path / "in", cdr_Cluster1_01_202510092359_10=late)
    imported(tmp_path / "alongside", tmp_path / "in", rated_alongside)
    imported(tmp_path / "afterwards", tmp_path / "in", None)
    lines = kept(tmp_path / "alongside", LINES)
    assert lines == kept(tmp_path / "afterwards", LINES)
    assert sum(row[5] == 95 for row in lines) == 1


def test_what_goes_wrong_alongside_is_raised_and_leaves_nothing_behind(tmp_path: Path) -> None:
    feed(tmp_path / "in")

    def broken(lake: Lake) -> Alongside:
        def clock() -> datetime:
            raise OSError("no clock")

        return Alongside(lake, BOOK, clock)

    with pytest.raises(OSError, match="no clock"):
        imported(tmp_path / "store", tmp_path / "in", broken)
    # The files are imported; the days wait.
    _, after = imported(tmp_path / "store", tmp_path / "in", None)
    assert len(after.made) == DAYS


def test_days_are_whole_before_the_last_file_that_came_and_the_first_that_is_to_come(tmp_path: Path) -> None:
    feed(tmp_path / "in")
    found = Import(ImportSettings(), Rejects()).identify(discover([tmp_path / "in"], 2**62))
    files = {file.name: file for file in found}
    days = [files[f"cdr_Cluster1_01_202510{day:02d}2359_{day}"] for day in range(1, DAYS + 1)]
    assert whole_until(days[:3], days[3:]) == date(2025, 10, 2)
    assert whole_until(days[5:], days[:2]) == date(2025, 9, 30)
    assert whole_until(days, []) is None
