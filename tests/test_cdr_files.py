from __future__ import annotations

import gzip
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cucm_records import line, table
from hypothesis import given
from hypothesis import strategies as st

from collector.cdr.detect import detect
from collector.cdr.files import CdrError, CdrFile, Skipped, discover, identify, name_parts, settled
from collector.cdr.journal import Journal
from collector.cdr.rejects import Rejects
from collector.cdr.sequence import Gap, Seen, Silence, gaps, silences

NOW = 1_760_000_000_000_000_000
SECOND = 1_000_000_000
BEGIN = datetime(2025, 10, 1, 8, 0, tzinfo=UTC)


def age(path: Path, seconds: float) -> Path:
    moment = NOW - int(seconds * SECOND)
    os.utime(path, ns=(moment, moment))
    return path


def seen(minute: int, sequence: int, record: str = "cdr", node: str = "C_01") -> Seen:
    return Seen(node, record, BEGIN + timedelta(minutes=minute), sequence)


def test_folders_are_searched_and_files_come_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b/2", "a/3", "1", ".git/4", "b/.5"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    found = discover([tmp_path], NOW)
    assert [path.name for path in found.files] == ["1", "2", "3"]
    assert [(skip.path.name, skip.reason) for skip in found.skipped] == [(".git", "hidden"), (".5", "hidden")]


def test_a_path_twice_is_one_file_and_a_missing_one_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    assert discover([path, tmp_path, path], NOW).files == (path,)
    with pytest.raises(CdrError, match="no such file or folder"):
        discover([tmp_path / "gone"], NOW)


def test_a_leading_underscore_says_that_the_sender_is_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "_cdr_C_01_202510010800_1"
    path.write_text("x")
    for asked in (tmp_path, path):
        found = discover([asked], NOW)
        assert found.files == ()
        assert [skip.reason for skip in found.skipped] == ["unfinished"]


def test_files_that_changed_a_moment_ago_are_looked_at_twice(tmp_path: Path) -> None:
    for name, seconds in (("old", 60), ("done", 1), ("growing", 1), ("removed", 0.5)):
        path = tmp_path / name
        path.write_text("x")
        age(path, seconds)
    found = discover([tmp_path], NOW, 2 * SECOND)
    assert [path.name for path in found.files] == ["old"]
    assert [path.name for path in found.fresh] == ["done", "growing", "removed"]
    (tmp_path / "growing").write_text("xx")
    (tmp_path / "removed").unlink()
    later = settled(found)
    assert [path.name for path in later.files] == ["done", "old"]
    assert [(skip.path.name, skip.reason) for skip in later.skipped] == [
        ("growing", "changing"),
        ("removed", "changing"),
    ]


def test_a_file_that_is_named_itself_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "new"
    path.write_text("x")
    assert discover([age(path, 0)], NOW, 2 * SECOND).files == (path,)


def test_the_hash_is_that_of_the_octets_unpacked(tmp_path: Path) -> None:
    data = table([line()])
    (tmp_path / "plain").write_bytes(data)
    (tmp_path / "packed").write_bytes(gzip.compress(data))
    for name in ("plain", "packed"):
        file = identify(tmp_path / name, None, detect)
        assert isinstance(file, CdrFile)
        assert (file.sha256, file.size) == (hashlib.sha256(data).hexdigest(), len(data))
        first = int.from_bytes(hashlib.sha256(data).digest()[:8], "big", signed=True)
        assert file.file_key == first


def test_a_file_that_changed_since_it_was_found_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(table([line()]))
    skipped = identify(path, (1, 1), detect)
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "changing"


def test_names_of_cucms_files_tell_node_minute_and_number() -> None:
    parts = name_parts("cdr_StandAloneCluster_02_201810261040_329890")
    assert parts == ("StandAloneCluster_02", datetime(2018, 10, 26, 10, 40, tzinfo=UTC), 329890)
    parts = name_parts("cmr_My_Own_Cluster_01_202510010859_7.txt.gz")
    assert parts is not None
    assert (parts.node, parts.sequence) == ("My_Own_Cluster_01", 7)
    for other in ("Master.csv", "cdr_C_01_202513010800_1", "cdr_C_01_2025_1", "cdr__202510010800_1", ""):
        assert name_parts(other) is None


@given(st.text(max_size=60))
def test_any_name_is_read_or_not(name: str) -> None:
    parts = name_parts(name)
    assert parts is None or parts.sequence >= 0


def test_gaps_lie_between_numbers_of_one_node_and_kind() -> None:
    files = [seen(0, 10), seen(1, 11), seen(3, 14), seen(2, 12), seen(0, 70, node="C_02"), seen(9, 75, node="C_02")]
    assert gaps(files) == [
        Gap("C_01", "cdr", 13, 13, BEGIN + timedelta(minutes=2), BEGIN + timedelta(minutes=3)),
        Gap("C_02", "cdr", 71, 74, BEGIN, BEGIN + timedelta(minutes=9)),
    ]
    assert [gap.files for gap in gaps(files)] == [1, 4]


def test_numbers_that_begin_anew_are_no_gap() -> None:
    assert gaps([seen(0, 900), seen(1, 901), seen(2, 1), seen(3, 2)]) == []


def test_both_kinds_of_a_node_may_share_their_numbers_or_not() -> None:
    shared = [seen(k, 100 + 2 * k) for k in range(5)] + [seen(k, 101 + 2 * k, "cmr") for k in range(5)]
    assert gaps(shared) == []
    assert [(gap.record, gap.first) for gap in gaps(shared[:3] + shared[4:])] == [("cdr and cmr", 106)]
    apart = [seen(k, 100 + k) for k in range(5)] + [seen(k, 102 + k, "cmr") for k in range(5) if k != 2]
    assert [(gap.record, gap.first) for gap in gaps(apart)] == [("cmr", 104)]


def test_silence_is_told_only_of_a_feed_that_has_a_file_a_minute() -> None:
    each = [seen(k, k) for k in range(30) if k not in (12, 13)]
    first = BEGIN + timedelta(minutes=12)
    assert silences(each) == [Silence("C_01", "cdr", first, first + timedelta(minutes=1), 2)]
    assert silences([seen(5 * k, k) for k in range(30)]) == []
    assert silences([seen(0, 1), seen(4, 2)]) == []


@given(st.sets(st.integers(0, 60), min_size=1))
def test_gaps_and_files_make_the_whole_range(numbers: set[int]) -> None:
    files = [seen(number, number) for number in numbers]
    missing = {number for gap in gaps(files) for number in range(gap.first, gap.last + 1)}
    assert missing == set(range(min(numbers), max(numbers))) - numbers


def test_the_journal_remembers_what_is_under_way(tmp_path: Path) -> None:
    Journal(tmp_path).add([1, -2, 3])
    journal = Journal(tmp_path)
    assert journal.pending == {1, -2, 3}
    journal.forget([1, 3])
    assert Journal(tmp_path).pending == {-2}


def test_a_journal_that_cannot_be_read_stops_the_import(tmp_path: Path) -> None:
    (tmp_path / "pending.json").write_text("{")
    with pytest.raises(CdrError, match="half imported is not known"):
        Journal(tmp_path)


def test_rejects_can_be_taken_back_to_a_mark(tmp_path: Path) -> None:
    file = CdrFile(tmp_path / "a", "a", "cucm", "cdr", "00" * 32, 1)
    path = tmp_path / "rejects.csv"
    with Rejects(path) as rejects:
        empty = rejects.mark()
        rejects.add(file, 1, "wrong_columns", b"x")
        mark = rejects.mark()
        rejects.add(file, 2, "no_time", b"y")
        rejects.undo(mark)
        assert (rejects.total, rejects.of(file), dict(rejects.reasons)) == (1, 1, {"wrong_columns": 1})
        rejects.add(file, 3, "no_time", "z\0")
    earlier = "imported,file,line,reason,record\n,a,1,wrong_columns,x\n,a,3,no_time,z\\0\n"
    assert path.read_text() == earlier
    with Rejects(path, datetime(2025, 10, 1, 12, tzinfo=UTC)) as rejects:
        rejects.add(file, 1, "wrong_columns", b"x")
        rejects.undo(empty)
        rejects.add(file, 9, "no_time", b"\xff")
    assert path.read_text() == earlier + "2025-10-01T12:00:00Z,a,9,no_time,\\xff\n"


def test_a_reject_that_a_kill_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_bytes(b'imported,file,line,reason,record\r\n,a,1,wrong_columns,x\r\n,a,2,no_time,"1,')
    with Rejects(path) as rejects:
        rejects.add(CdrFile(tmp_path / "a", "a", "cucm", "cdr", "00" * 32, 1), 2, "no_time", b"1,2")
    assert path.read_text().splitlines()[1:] == [",a,1,wrong_columns,x", ',a,2,no_time,"1,2"']


def test_a_file_that_holds_something_else_than_rejects_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sums.csv"
    path.write_text("month,sum\n")
    with pytest.raises(CdrError, match=r"sums\.csv holds something else than rejected records"):
        Rejects(path)
    assert path.read_text() == "month,sum\n"


def test_no_cell_of_the_rejects_is_computed_by_a_spreadsheet(tmp_path: Path) -> None:
    file = CdrFile(tmp_path / "a", "=cmd|x", "cucm", "cdr", "00" * 32, 1)
    with Rejects(tmp_path / "rejects.csv") as rejects:
        rejects.add(file, 1, "wrong_columns", b"@SUM(1)")
    assert (tmp_path / "rejects.csv").read_text().splitlines()[1] == ",'=cmd|x,1,wrong_columns,'@SUM(1)"
