"""Asterisk's records: columns told by content, forks and Local channels as one call, and what is rejected."""

from __future__ import annotations

from pathlib import Path

import pytest
from cdr_reading import reasons, rows_of, without_place
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.cdr import asterisk

PLAIN = (
    '"","200","0113496000","office","""Ann"" <200>","PJSIP/200-0000000a","PJSIP/trunk-0000000b","Dial",'
    '"PJSIP/0113496000@trunk,60","2025-07-01 10:00:00","2025-07-01 10:00:05","2025-07-01 10:01:05",65,60,'
    '"ANSWERED","DOCUMENTATION"'
)
UNIQUE = ',"1751360400.10",""'
LINKED = ',"","1751360400.10",7'


@pytest.mark.parametrize(
    ("file", "columns", "rows"),
    [
        ("asterisk_master_21col_masked.csv", 21, 84),
        ("asterisk_custom_19col_Master.csv", 19, 14),
        ("asterisk_testsuite_Master.csv", 18, 2),
        ("asterisk_testsuite_Master2.csv", 18, 1),
    ],
)
def test_real_files_give_as_many_rows_as_they_have(shared: Path, file: str, columns: int, rows: int) -> None:
    data = (shared / "cdr" / file).read_bytes()
    names = asterisk.sniff(data)
    assert names is not None
    assert len(names) == columns
    got, rejects = rows_of(asterisk.read, data)
    assert (len(got), rejects) == (rows, [])


def test_an_unterminated_quote_rejects_its_line_by_name(shared: Path) -> None:
    data = (shared / "cdr" / "asterisk_testsuite_buggy.csv").read_bytes()
    assert asterisk.sniff(data) is not None
    assert rows_of(asterisk.read, data) == ([], [(1, "unterminated_quote")])


@pytest.mark.parametrize(("file", "rows"), [("CELMaster1", 16), ("CELMaster2", 14)])
def test_channel_events_are_refused_by_name(shared: Path, file: str, rows: int) -> None:
    data = (shared / "cdr" / f"asterisk_testsuite_{file}.csv").read_bytes()
    assert asterisk.sniff(data) == asterisk.CEL
    assert rows_of(asterisk.read, data) == ([], [(line, "channel_event") for line in range(1, rows + 1)])


def test_fields_of_a_real_record_are_those_in_the_file(shared: Path) -> None:
    rows, _ = rows_of(asterisk.read, (shared / "cdr" / "asterisk_master_21col_masked.csv").read_bytes())
    answered = next(row for row in rows if row["call_label"] == "1706407446.50" and row["seconds"] == 17)
    assert (
        answered.items()
        >= {
            "source": "asterisk",
            "system": "",
            "calling": "89021069927",
            "called": "211553",
            "called_partition": "stadion-pstn",
            "orig_device": "SIP/211553",
            "dest_device": "SIP/301",
            "origination": "2024-01-28 02:04:12",
            "connect": "2024-01-28 02:04:12",
            "disconnect": "2024-01-28 02:04:29",
        }.items()
    )
    named = next(row for row in rows if row["system"])
    assert named["system"] == "mainserverdss"


def test_the_two_halves_of_a_local_channel_are_one_leg(shared: Path) -> None:
    rows, _ = rows_of(asterisk.read, (shared / "cdr" / "asterisk_master_21col_masked.csv").read_bytes())
    call = [row for row in rows if row["call_label"] == "1706407446.50"]
    assert len(call) == 5
    assert len({row["call_ref"] for row in call}) == 1
    outer = next(
        row for row in call if row["orig_device"] == "SIP/211553" and row["dest_device"] == "Local/ch1@TimeDelay"
    )
    inner = next(row for row in call if row["orig_device"] == "Local/ch1@TimeDelay")
    assert outer["dest_leg"] == inner["orig_leg"]
    assert len({row["orig_leg"] for row in call if row["orig_device"] == "SIP/211553"}) == 1


def test_a_fork_that_nobody_answers_has_no_talk_time_though_the_dial_plan_answered(shared: Path) -> None:
    rows, _ = rows_of(asterisk.read, (shared / "cdr" / "asterisk_master_21col_masked.csv").read_bytes())
    forks = [row for row in rows if row["call_label"] == "1706369600.6" and "dest_device" in row]
    assert [(row["seconds"], row.get("connect"), row["dest_cause"]) for row in forks] == [(0, None, 19)] * 2
    (end,) = (row for row in rows if row["call_label"] == "1706369600.6" and "dest_device" not in row)
    assert (end["seconds"], end.get("connect")) == (0, None)


def test_cdr_custom_begins_with_the_caller_id_and_may_have_no_answer(shared: Path) -> None:
    data = (shared / "cdr" / "asterisk_custom_19col_Master.csv").read_bytes()
    rows, _ = rows_of(asterisk.read, data, zone="Europe/Moscow")
    assert (
        rows[1].items()
        >= {
            "calling": "client2",
            "called": "1234",
            "origination": "2023-07-25 22:52:11",
            "seconds": 0,
            "dest_cause": 19,
        }.items()
    )
    assert "connect" not in rows[1]
    assert "time_note" not in rows[1]
    assert {row["time_note"] for row in rows_of(asterisk.read, data)[0]} == {"zone_doubtful"}


def test_columns_are_told_by_what_stands_in_them() -> None:
    base = len(asterisk.BASE)
    for extra, width in (("", 16), (UNIQUE, 18), (UNIQUE + LINKED, 21), (LINKED, 19), (',"1751360400.10"', 17)):
        columns = asterisk.sniff((PLAIN + extra + "\n").encode())
        assert columns is not None
        assert len(columns) == width
        assert columns[:base] == asterisk.BASE
    assert asterisk.sniff(b"") is None
    assert asterisk.sniff(b"a,b,c\n1,2,3\n") is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (PLAIN[: PLAIN.index('"ANSWERED"')].rstrip(","), "column_count"),
        (PLAIN[:-4], "unterminated_quote"),
        (PLAIN.replace(",65,60,", ",six,60,"), "bad_number"),
        (PLAIN.replace(",65,60,", ",65,-60,"), "negative_number"),
        (PLAIN.replace(",65,60,", ",65,99999999999,"), "number_out_of_range"),
        (PLAIN.replace(",65,60,", ",65,600,"), "billsec_exceeds_duration"),
        (PLAIN.replace("2025-07-01 10:00:00", "0000-07-01 10:00:00"), "bad_time"),
        (PLAIN.replace("2025-07-01 10:00:00", "2025-02-31 10:00:00"), "bad_time"),
        (PLAIN.replace("2025-07-01 10:00:00", "soon"), "bad_time"),
        (PLAIN.replace("2025-07-01 10:00:05", "2025-07-01 10:02:05"), "end_before_answer"),
        (PLAIN.replace("2025-07-01 10:00:05", "2025-07-01 09:00:05"), "answer_before_start"),
        (PLAIN.replace("2025-07-01 10:00:05", ""), "answered_without_time"),
        (PLAIN.replace("ANSWERED", "PERHAPS"), "unknown_disposition"),
        (PLAIN + UNIQUE + ',"","1751360400.10"', "column_count"),
        (PLAIN + "\0", "nul_character"),
        (PLAIN.replace("0113496000", "9" * 70_000), "line_too_long"),
        (PLAIN.replace('"200"', '"200"x'), "malformed_quotes"),
    ],
)
def test_mangled_lines_are_rejected_by_name(line: str, reason: str) -> None:
    assert reasons(asterisk.read, line) == [reason]


def test_a_rejected_line_spoils_no_other() -> None:
    long = PLAIN.replace("0113496000", "9" * 70_000)
    data = "\n".join([PLAIN, "", long, PLAIN.replace("200", "201"), '"'])
    rows, rejects = rows_of(asterisk.read, data.encode())
    assert [(row["line"], row["calling"]) for row in rows] == [(1, "200"), (4, "201")]
    assert rejects == [(3, "line_too_long"), (5, "unterminated_quote")]


def test_undecodable_octets_are_kept_as_replacement_characters() -> None:
    rows, _ = rows_of(asterisk.read, PLAIN.encode().replace(b"0113496000", b"01134\xff\xfe"))
    assert rows[0]["called"] == "01134��"


def test_a_queue_is_the_hunt_pilot() -> None:
    line = PLAIN.replace('"Dial","PJSIP/0113496000@trunk,60"', '"Queue","front,t,,,30"')
    assert rows_of(asterisk.read, line.encode())[0][0]["hunt_pilot"] == "front"


def test_batches_are_bounded_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.cdr.rows.BATCH_ROWS", 3)
    monkeypatch.setattr("collector.cdr.rows.BATCH_REJECTS", 2)
    lines = [PLAIN if number % 3 else "cut," + PLAIN[:40] for number in range(20)]
    rows, rejects = rows_of(asterisk.read, "\n".join(lines).encode())
    assert [row["line"] for row in rows] == [number + 1 for number in range(20) if number % 3]
    assert len(rejects) == 7


@settings(deadline=None)
@given(st.binary(max_size=400))
@example(b'\xff\xfe\r\r\n"')
@example(PLAIN.encode().replace(b",", b"\r"))
def test_any_octets_are_read_or_rejected(data: bytes) -> None:
    asterisk.sniff(data)
    rows, rejects = rows_of(asterisk.read, data, "Europe/London")
    assert len(rows) + len(rejects) <= data.count(b"\n") + 1


@settings(deadline=None)
@given(st.data())
def test_any_change_to_a_record_is_read_or_rejected(data: st.DataObject) -> None:
    line = (PLAIN + UNIQUE + LINKED).encode()
    start = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(start, len(line)))
    mangled = line[:start] + data.draw(st.binary(max_size=8)).replace(b"\n", b"") + line[end:]
    rows, rejects = rows_of(asterisk.read, mangled, "Europe/London")
    assert len(rows) + len(rejects) <= 1


@settings(deadline=None)
@given(st.integers(0, 84))
def test_a_file_split_anywhere_gives_the_same_rows(shared: Path, at: int) -> None:
    lines = (shared / "cdr" / "asterisk_master_21col_masked.csv").read_bytes().splitlines(keepends=True)
    whole, _ = rows_of(asterisk.read, b"".join(lines))
    parts = [rows_of(asterisk.read, b"".join(part))[0] for part in (lines[:at], lines[at:])]
    assert without_place(parts[0] + parts[1]) == without_place(whole)
