"""Avaya IP Office SMDR: lengths, sides of a call, and what is rejected."""

from __future__ import annotations

from pathlib import Path

import pytest
from cdr_reading import reasons, rows_of, without_place
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.cdr import avaya

OUT = (
    "2015/03/01 03:28:55,00:11:03,5,206,O,6045003722,6045003722,77,0,1008747,0,E218,Ann,T9014,Line 14.0,30,15"
    ",,,,,,,,,,,,,"
)


def test_a_real_file_gives_as_many_rows_as_it_has(shared: Path) -> None:
    data = (shared / "cdr" / "avaya_ipoffice_smdr_masked.txt").read_bytes()
    assert avaya.sniff(data) == avaya.COLUMNS
    rows, rejects = rows_of(avaya.read, data, "America/Vancouver")
    assert (len(rows), rejects) == (8, [])
    # 01:06:28 Pacific standard time, ringing 6 s, talking 3 min 37 s.
    assert (
        rows[1].items()
        >= {
            "origination": "2015-03-01 09:06:28",
            "connect": "2015-03-01 09:06:34",
            "disconnect": "2015-03-01 09:10:11",
            "seconds": 217,
            "hold_seconds": 0,
            "calling": "6044308265",
            "called": "203",
            "direction": "in",
            "orig_device": "T9001",
            "dest_device": "E218",
            "call_label": "1008742",
        }.items()
    )
    assert (rows[3]["seconds"], rows[3].get("connect"), rows[3]["disconnect"]) == (0, None, "2015-03-01 09:21:42")
    assert [row["direction"] for row in rows] == ["in"] * 7 + ["out"]


def test_a_call_between_extensions_is_internal() -> None:
    line = OUT.replace(",77,0,", ",77,1,").replace("T9014,Line 14.0", "E219,Bob")
    assert rows_of(avaya.read, line.encode())[0][0]["direction"] == "internal"


def test_time_on_hold_and_parked_is_part_of_the_length() -> None:
    row = rows_of(avaya.read, OUT.encode())[0][0]
    assert (row["seconds"], row["hold_seconds"]) == (663 + 45, 45)
    assert (row["connect"], row["disconnect"]) == ("2015-03-01 03:29:00", "2015-03-01 03:40:48")
    assert (row["orig_device"], row["dest_device"], row["account"]) == ("E218", "T9014", "77")


def test_segments_of_one_call_share_the_line() -> None:
    second = OUT.replace("E218,Ann", "E219,Bob")
    first, other = rows_of(avaya.read, f"{OUT.replace(',1008747,0,', ',1008747,1,')}\n{second}".encode())[0]
    assert first["call_ref"] == other["call_ref"]
    assert first["dest_leg"] == other["dest_leg"]
    assert first["orig_leg"] != other["orig_leg"]
    # 5 s of ringing, 663 s and 45 s on hold: the second segment begins then, with its own ringing.
    assert (first["disconnect"], other["origination"]) == ("2015-03-01 03:40:48", "2015-03-01 03:40:48")
    assert (other["connect"], other["seconds"]) == ("2015-03-01 03:40:53", 708)


def test_a_call_id_that_comes_again_after_a_restart_is_another_call() -> None:
    rows, _ = rows_of(avaya.read, f"{OUT}\n{OUT.replace('2015/03/01', '2015/04/01')}".encode())
    assert rows[0]["call_ref"] != rows[1]["call_ref"]


def test_a_heading_and_columns_of_later_releases_are_left_out() -> None:
    rows, rejects = rows_of(avaya.read, f"Call Start,Connected Time,Ring\n{OUT},192.0.2.1,1,192.0.2.2,2\n".encode())
    assert ([row["line"] for row in rows], rejects) == ([2], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (OUT[:-5], "column_count"),
        (OUT[:40], "column_count"),
        (OUT.replace("00:11:03", "11 min"), "bad_duration"),
        (OUT.replace("00:11:03", "00:61:03"), "bad_duration"),
        (OUT.replace("00:11:03", "-00:11:03"), "negative_number"),
        (OUT.replace(",30,15,", ",-30,15,"), "negative_number"),
        (OUT.replace("00:11:03,5", "00:11:03,five"), "bad_number"),
        (OUT.replace("2015/03/01", "0000/03/01"), "bad_time"),
        (OUT.replace("2015/03/01", "2015/02/31"), "bad_time"),
        (OUT.replace(",O,", ",X,"), "unknown_direction"),
        (OUT.replace(",1008747,", ",,"), "bad_call_id"),
        (OUT.replace(",1008747,0,", ",1008747,2,"), "bad_flag"),
    ],
)
def test_mangled_lines_are_rejected_by_name(line: str, reason: str) -> None:
    assert reasons(avaya.read, line) == [reason]


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 150))
def test_any_octets_are_read_or_rejected(data: bytes, at: int) -> None:
    for mangled in (data, OUT.encode()[:at] + data + OUT.encode()[at:]):
        avaya.sniff(mangled)
        rows_of(avaya.read, mangled, "Europe/London")


@settings(deadline=None)
@given(st.integers(0, 8))
def test_a_file_split_anywhere_gives_the_same_rows(shared: Path, at: int) -> None:
    lines = (shared / "cdr" / "avaya_ipoffice_smdr_masked.txt").read_bytes().splitlines(keepends=True)
    parts = [rows_of(avaya.read, b"".join(part))[0] for part in (lines[:at], lines[at:])]
    assert without_place(parts[0] + parts[1]) == without_place(rows_of(avaya.read, b"".join(lines))[0])
