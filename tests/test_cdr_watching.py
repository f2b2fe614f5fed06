"""What a watched folder gives to read when, by looks at it; clocks of file servers do not count."""

from __future__ import annotations

import os
from pathlib import Path

from collector.cdr.watching import (
    AGAIN,
    GROWS,
    IN,
    IN_PART,
    TEMPORARY,
    Due,
    FeedFolder,
    FeedSettings,
    FolderWatch,
    Listing,
    listed,
)

SETTINGS = FeedSettings(settle_seconds=10, over_seconds=100, resting_hours=1)


def watch(after: str = "keep") -> FolderWatch:
    return FolderWatch(SETTINGS, FeedFolder(Path("/cdr"), after=after))


def look(of: FolderWatch, now: float, **files: int) -> list[Due]:
    """Look at files of so many octets; what is due."""
    of.look(Listing({name: (size, size) for name, size in files.items()}), now)
    return of.due(now, 100)


def test_a_file_is_due_when_it_was_seen_unchanged_for_the_settling_time() -> None:
    one = watch()
    assert look(one, 0, a=5) == []
    assert look(one, 9, a=5) == []
    assert look(one, 10, a=5) == [Due("a", (5, 5), is_settled=True, is_over=False, is_resting=False)]


def test_a_file_that_goes_on_changing_is_due_as_unsettled_and_then_only_if_lines_are_added_to_it() -> None:
    one = watch()
    look(one, 0, a=5)
    look(one, 9, a=6)
    (due,) = look(one, 12, a=7)
    assert not due.is_settled
    one.tell(due, "changing")
    assert look(one, 15, a=8) == []
    (settled,) = look(one, 25, a=8)
    assert settled.is_settled
    one.tell(settled, IN)
    assert look(one, 40, a=8) == []


def test_what_was_added_to_a_file_that_is_in_is_due_at_once() -> None:
    one = watch()
    look(one, 0, a=5)
    (due,) = look(one, 10, a=5)
    one.tell(due, GROWS)
    (more,) = look(one, 11, a=6)
    assert more.stamp == (6, 6)
    one.tell(more, GROWS)
    assert (one.counts.seen, one.counts.taken, one.waiting) == (1, 1, 0)


def test_a_line_without_end_is_waited_for_and_then_taken_as_it_stands() -> None:
    one = watch()
    look(one, 0, a=5)
    (due,) = look(one, 10, a=5)
    one.tell(due, IN_PART)
    assert look(one, 99, a=5) == []
    (over,) = look(one, 100, a=5)
    assert over.is_over
    one.tell(over, IN)
    assert look(one, 500, a=5) == []


def test_a_file_that_cannot_be_used_is_tried_again_only_when_it_has_changed() -> None:
    one = watch()
    look(one, 0, a=5)
    (due,) = look(one, 10, a=5)
    one.tell(due, "unknown_format")
    assert one.bad == {"a": "unknown_format"}
    assert look(one, 5_000, a=5) == []
    assert look(one, 5_010, a=6) == []
    (again,) = look(one, 5_020, a=6)
    one.tell(again, IN)
    assert (one.counts.seen, one.counts.taken, dict(one.counts.lost), one.waiting) == (2, 1, {"unknown_format": 1}, 0)
    assert not one.bad


def test_what_could_not_be_tried_is_due_again_and_what_is_gone_unread_is_counted() -> None:
    one = watch()
    look(one, 0, a=5, b=5)
    due = look(one, 10, a=5, b=5)
    for each in due:
        one.tell(each, AGAIN)
    assert look(one, 11, a=5, b=5) == due
    assert len(look(one, 12, a=5)) == 1
    assert (one.counts.seen, dict(one.counts.lost), one.waiting) == (2, {"gone": 1}, 1)


def test_a_file_that_grew_while_it_was_read_is_due_again() -> None:
    one = watch()
    look(one, 0, a=5)
    (due,) = look(one, 10, a=5)
    one.look(Listing({"a": (9, 9)}), 11)
    one.tell(due, GROWS)
    assert [each.stamp for each in look(one, 21, a=9)] == [(9, 9)]


def test_a_file_that_may_grow_is_put_away_when_it_rested() -> None:
    one = watch("delete")
    look(one, 0, a=5)
    (due,) = look(one, 10, a=5)
    one.tell(due, GROWS)
    assert look(one, 3_599, a=5) == []
    (resting,) = look(one, 3_600, a=5)
    assert resting.is_resting


def test_a_folder_that_cannot_be_looked_into_loses_no_file() -> None:
    one = watch()
    look(one, 0, a=5)
    one.look(Listing({}, 0, "/cdr cannot be looked into: Stale file handle"), 5)
    assert one.problem is not None
    assert not one.counts.lost
    assert len(look(one, 10, a=5)) == 1


def test_a_late_file_with_an_old_name_and_an_old_time_is_due() -> None:
    one = watch()
    look(one, 0, cdr_9=5)
    (due,) = look(one, 10, cdr_9=5)
    one.tell(due, IN)
    one.look(Listing({"cdr_9": (5, 5), "cdr_1": (5, 1)}), 20)
    one.look(Listing({"cdr_9": (5, 5), "cdr_1": (5, 1)}), 30)
    assert [each.path for each in one.due(30, 100)] == ["cdr_1"]


def test_the_done_files_of_a_folder_are_forgotten_when_they_leave_it() -> None:
    one = watch()
    look(one, 0, **{f"f{number}": 5 for number in range(50)})
    for due in look(one, 10, **{f"f{number}": 5 for number in range(50)}):
        one.tell(due, IN)
    look(one, 20)
    assert not one._done
    assert not one.has_open


def test_names_of_what_is_unfinished_empty_files_links_and_our_own_are_left_out(tmp_path: Path) -> None:
    for name in ("_cdr_1", ".hidden", "a.tmp", "b.part", "c.filepart", "d~", "cdr_1", "Master.csv.1", "rejects.csv"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").write_text("")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "inside").write_text("x")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "cdr_2").write_text("x")
    (tmp_path / "circle").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = listed(tmp_path, TEMPORARY, {str(tmp_path / "store"), str(tmp_path / "rejects.csv")})
    assert sorted(Path(path).relative_to(tmp_path).as_posix() for path in found.files) == [
        "Master.csv.1", "below/cdr_2", "cdr_1",
    ]  # fmt: skip
    assert (found.temporary, found.problem) == (6, None)
    assert listed(tmp_path / "nowhere", TEMPORARY).problem is not None
