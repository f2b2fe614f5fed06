from __future__ import annotations

import csv
import json
import random
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from cucm_records import CALL, Read, line, present, read, read_files, slow_read, table, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.accelerate import IS_PLAIN
from collector.cdr.cucm_layout import ORDER, WIDTHS, sniff
from collector.cdr.cucm_rows import CODECS, EARLIEST, LATEST, address
from collector.cdr.cutting import LINE_LIMIT, WINDOW
from collector.cdr.files import CdrFile, LayoutError, Skipped

COMPILED = pytest.mark.skipif(IS_PLAIN, reason="megabytes take minutes in plain Python")


def rejects_of(tmp_path: Path, data: bytes) -> list[tuple[int, str]]:
    return read(tmp_path / "cdr", data).rejects


def only(found: Read) -> dict[str, object]:
    assert (len(found.rows), found.rejects) == (1, [])
    return present(found.rows[0])


def test_every_file_of_the_collection_has_the_records_its_manifest_states(shared: Path, tmp_path: Path) -> None:
    with (shared / "cdr" / "manifest.csv").open(encoding="utf-8") as manifest:
        stated = {row["file"]: row for row in csv.DictReader(manifest) if row["file"].startswith("cucm")}
    assert len(stated) == 5
    for name, row in stated.items():
        file = told(shared / "cdr" / name)
        assert isinstance(file, CdrFile)
        found = read_files([file])[name]
        # The manifest counts lines: names and types too, where the file has them.
        assert len(found.rows) == int(row["rows"]) - (file.first_line - 1), name
        assert found.rejects == []
        assert len(file.columns) == int(row["fields"])


def test_the_answered_call_of_the_lab_comes_out_as_it_was(shared: Path) -> None:
    file = told(shared / "cdr" / "cucm_v15_lab_cdr.txt")
    assert isinstance(file, CdrFile)
    row = present(read_files([file])[file.name].rows[2])
    del row["row_key"]
    assert row == {
        "day": date(2025, 4, 18),
        "source": "cucm",
        "system": "cucmOHSUtest",
        "line": 5,
        "call_ref": (2 << 32) + 25447,
        "orig_leg": 47874239,
        "dest_leg": 47874240,
        "origination": datetime(2025, 4, 18, 16, 32, 8, tzinfo=UTC),
        "connect": datetime(2025, 4, 18, 16, 32, 10, tzinfo=UTC),
        "disconnect": datetime(2025, 4, 18, 16, 32, 21, tzinfo=UTC),
        "seconds": 11,
        "calling": "5033466594",
        "calling_partition": "OnNet",
        "original_called": "5033466593",
        "called": "5033466593",
        "called_partition": "OnNet",
        "last_redirect": "5033466593",
        "orig_device": "SEPCC7F750586B7",
        "dest_device": "SEPCC8E7148AD29",
        "orig_ip": "10.248.64.14",
        "dest_ip": "10.248.64.17",
        "orig_cause": 16,
        "dest_cause": 0,
        "redirect_reason": 0,
        "redirect_behalf": 0,
        "join_behalf": 0,
        "orig_conversation": 0,
        "dest_conversation": 0,
        "codec": "PCMU",
    }


def test_the_recording_legs_of_the_lab_say_that_they_are(shared: Path) -> None:
    file = told(shared / "cdr" / "cucm_v15_lab_cdr.txt")
    assert isinstance(file, CdrFile)
    for row in read_files([file])[file.name].rows[:2]:
        assert (row["redirect_reason"], row["redirect_behalf"], row["join_behalf"]) == (354, 27, 27)
        assert (row["dest_cause"], row["connect"], row["seconds"]) == (1459617833, None, 0)
    first, second = (row["orig_conversation"] for row in read_files([file])[file.name].rows[:2])
    assert (first, second) == (47874239, 47874240)


def test_both_legs_of_the_lab_call_report_with_text_values_and_no_mlqk(shared: Path) -> None:
    file = told(shared / "cdr" / "cucm_v15_lab_cmr.txt")
    assert isinstance(file, CdrFile)
    first, second = (present(row) for row in read_files([file])[file.name].rows)
    assert (first["leg"], second["leg"]) == (47874239, 47874240)
    assert first["call_ref"] == second["call_ref"] == (2 << 32) + 25447
    assert (first["packets_sent"], first["packets_received"], first["packets_lost"]) == (559, 555, 0)
    assert (second["concealment_ratio"], second["interval_concealment_max"]) == (0.0011, 0.0034)
    assert (second["concealed_seconds"], second["severely_concealed_seconds"]) == (1.0, 0.0)
    assert (second["codec"], second["max_jitter_ms"], second["discarded"]) == ("G.711 u-la", 8.0, 1)
    assert "mos_lqk" not in first
    assert first["one_way_delay_ms"] == 1.0
    assert "one_way_delay_ms" not in second  # VoOneWayDelayMs=0


def test_spaces_around_numbers_and_a_trunk_without_number_are_read(shared: Path) -> None:
    file = told(shared / "cdr" / "cucm_cisco_guide_12_5_cmr_sample.txt")
    assert isinstance(file, CdrFile)
    first, second = (present(row) for row in read_files([file])[file.name].rows)
    assert (first["packets_sent"], first["latency_ms"], "directory_number" in first) == (3775, 4.0, False)
    assert (second["directory_number"], second["jitter_ms"]) == ("11011", 2.0)


def test_phones_with_mlqk_report_it(shared: Path) -> None:
    file = told(shared / "cdr" / "cucm_fixture_noheader_cmr.txt")
    assert isinstance(file, CdrFile)
    row = read_files([file])[file.name].rows[0]
    scores = [row[name] for name in ("mos_lqk", "mos_lqk_mean", "mos_lqk_min", "mos_lqk_max")]
    assert scores == [3.5, 3.4, 2.1, 4.0]
    assert (row["packets_lost"], row["packets_received"]) == (10, 4990)


def test_addresses_are_signed_numbers_with_the_least_octet_first(shared: Path) -> None:
    golden = json.loads((shared / "golden" / "metrics_golden.json").read_text(encoding="utf-8"))
    known = {-1139627840: "192.168.18.188", 239138826: "10.248.64.14", -1006518518: "10.191.1.196"}
    assert {number: address(number) for number in known} == known
    assert "192.168.18.188" in json.dumps(golden)


def test_the_address_as_text_goes_before_the_number_and_0_is_none(tmp_path: Path) -> None:
    lines = [
        line(),
        line(origIpv4v6Addr='"10.1.2.3"'),
        line(origIpv4v6Addr="2001:db8::7", origIpAddr="0"),
        line(origIpAddr="0"),
        line(origIpAddr=""),
    ]
    found = read(tmp_path / "cdr", table(lines))
    assert [row["orig_ip"] for row in found.rows] == ["192.168.18.188", "10.1.2.3", "2001:db8::7", None, None]
    assert {row["dest_ip"] for row in found.rows} == {"10.248.64.14"}


def test_columns_are_bound_by_name_in_any_order_with_more_or_fewer(tmp_path: Path) -> None:
    expected = only(read(tmp_path / "cdr", table([line()])))
    names = [name for name in ORDER["cdr"] if name in CALL]
    for k in range(5):
        random.Random(k).shuffle(names)
        shuffled = [*names[:7], "somethingNew", *names[7:]]
        assert only(read(tmp_path / "cdr", table([line("cdr", shuffled)], "cdr", shuffled))) == expected


@pytest.mark.parametrize("width", [*WIDTHS["cdr"], 58, 112])
def test_columns_that_a_release_lacks_are_missing(tmp_path: Path, width: int) -> None:
    columns = ORDER["cdr"][:width]
    row = only(read(tmp_path / "cdr", table([line("cdr", columns)], "cdr", columns)))
    assert row["called"] == "901130001111"
    assert "outpulsed_called" not in row


def test_the_guides_names_of_columns_are_known(tmp_path: Path) -> None:
    other = {
        "destLegIdentifier": "destLegCallIdentifier",
        "globalCallId_ClusterID": "globalcallid_clusterid",
        "globalCallID_callId": "GlobalCallID_CallID",
    }
    head = ",".join(other.get(name, name) for name in ORDER["cdr"])
    row = only(read(tmp_path / "cdr", f"{head}\n{line()}\n".encode()))
    assert (row["dest_leg"], row["system"], row["call_ref"]) == (102, "Cluster1", (2 << 32) + 25447)
    head = ",".join(ORDER["cmr"]).replace("directoryNum,", "directoryNumber,").replace("cdrRecord", "cmrRecord")
    row = only(read(tmp_path / "cmr", f"{head}\n{line('cmr')}\n".encode()))
    assert (row["directory_number"], row["packets_lost"]) == ("5001", -3)


@pytest.mark.parametrize(("record", "width"), [(record, width) for record in WIDTHS for width in WIDTHS[record]])
def test_files_without_names_are_read_by_their_number_of_columns(tmp_path: Path, record: str, width: int) -> None:
    columns = ORDER[record][:width]
    without = only(read(tmp_path / "a", f"{line(record, columns)}\n".encode()))
    named = only(read(tmp_path / "b", table([line(record, columns)], record, columns)))
    assert without.pop("line") == 1
    assert named.pop("line") == 3
    assert without == named


@pytest.mark.parametrize(("record", "width"), [("cdr", 112), ("cdr", 60), ("cdr", 132), ("cmr", 20)])
def test_an_unknown_number_of_columns_without_names_is_not_guessed(record: str, width: int) -> None:
    with pytest.raises(LayoutError, match=f"{width} columns without names or types"):
        sniff(f"{line(record, ORDER[record][:width])}\n".encode())


def test_values_that_do_not_fit_their_places_are_not_guessed() -> None:
    columns = list(ORDER["cdr"])
    columns[8], columns[11] = columns[11], columns[8]  # a calling number where a cause should be
    text = line("cdr", columns, callingPartyNumber='"sip:anna@example.com"')
    with pytest.raises(LayoutError, match="no number where origCause_value should be"):
        sniff(f"{text}\n".encode())


def test_a_line_of_types_must_fit_the_known_order(shared: Path) -> None:
    types = (shared / "cdr" / "cucm_fixture_noheader_cdr.txt").read_bytes().split(b"\n")[0]
    layout = sniff(types + b"\n")
    assert layout is not None
    assert (layout.record, layout.columns, layout.first_line) == ("cdr", ORDER["cdr"][:112], 2)
    with pytest.raises(LayoutError, match="fit neither"):
        sniff(types.replace(b"STRING,STRING", b"STRING,INTEGER", 1) + b"\n")


@pytest.mark.parametrize(
    ("record", "lacking"),
    [
        ("cdr", ["dateTimeOrigination"]),
        ("cdr", ["globalCallID_callId"]),
        ("cdr", ["cdrRecordType"]),
        ("cdr", ["dateTimeConnect", "duration"]),
        ("cmr", ["globalCallID_callId"]),
        ("cmr", ["dateTimeStamp"]),
    ],
)
def test_a_file_without_a_needed_column_is_named(record: str, lacking: list[str]) -> None:
    names = ",".join(name for name in ORDER[record] if name not in lacking)
    with pytest.raises(LayoutError, match=f"is a CUCM file without the column {lacking[-1]}$"):
        sniff(names.encode())


def test_records_need_no_duration_where_connect_and_disconnect_are_there() -> None:
    assert sniff(",".join(name for name in ORDER["cdr"] if name != "duration").encode()) is not None


@pytest.mark.parametrize(
    "head", [b"", b"\n", b"\x00" * 64, b"1,2,3\n", b"a,b,c\n1,2,3\n", b"\x89PNG\r\n\x1a\n", b"x" * 70_000, b'"\n"']
)
def test_other_files_are_not_taken_for_cucms(head: bytes) -> None:
    assert sniff(head) is None


def test_names_and_types_within_a_file_are_no_records(tmp_path: Path) -> None:
    one = table([line()])
    other = [name for name in ORDER["cdr"] if name in CALL]
    data = one + one + table([line("cdr", other)], "cdr", other)
    found = read(tmp_path / "cdr", data)
    assert [row["line"] for row in found.rows] == [3, 6, 9]
    assert found.rejects == []
    assert {row["called"] for row in found.rows} == {"901130001111"}


@pytest.mark.parametrize("types", [True, False])
@pytest.mark.parametrize("window", [WINDOW, 1 << 17])
def test_names_in_another_order_within_a_file_bind_what_follows(tmp_path: Path, types: bool, window: int) -> None:
    backwards = list(reversed(ORDER["cdr"]))
    few = [name for name in backwards if name in CALL]
    parts = [table([line("cdr", columns)] * 200, "cdr", columns) for columns in (ORDER["cdr"], backwards, few) * 2]
    parts += parts[1:2]
    if not types:
        parts = [b"\n".join(part.split(b"\n")[:1] + part.split(b"\n")[2:]) for part in parts]
    found = read(tmp_path / "cdr", b"".join(parts), window)
    assert found.rejects == []
    assert len(found.rows) == 200 * 7
    assert {(row["called"], row["seconds"], row["line"] > 0) for row in found.rows} == {("901130001111", 125, True)}


def test_records_of_the_other_kind_are_rejected(tmp_path: Path) -> None:
    data = table([line(), line(cdrRecordType="2")]) + table([line("cmr")], "cmr")
    found = read(tmp_path / "cdr", data)
    assert len(found.rows) == 1
    assert found.rejects == [(4, "record_type"), (5, "record_type"), (7, "wrong_columns")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"globalCallID_callId": ""}, "no_call_id"),
        ({"globalCallID_callId": "x7"}, "not_a_number:globalCallID_callId"),
        ({"globalCallID_callId": "-1"}, "number_out_of_range:globalCallID_callId"),
        ({"dateTimeOrigination": "0"}, "no_time"),
        ({"dateTimeOrigination": ""}, "no_time"),
        ({"dateTimeOrigination": str(EARLIEST - 1)}, "time_out_of_range"),
        ({"dateTimeOrigination": str(LATEST)}, "time_out_of_range"),
        ({"dateTimeOrigination": "1759306500000"}, "time_out_of_range"),
        ({"dateTimeConnect": "-5"}, "time_out_of_range"),
        ({"dateTimeDisconnect": "17"}, "time_out_of_range"),
        ({"duration": "1.5"}, "not_a_number:duration"),
        ({"duration": "-1"}, "number_out_of_range:duration"),
        ({"duration": "2147483648"}, "number_out_of_range:duration"),
        ({"duration": "1234567890123456789"}, "not_a_number:duration"),
        ({"destCause_value": "0x10"}, "not_a_number:destCause_value"),
        ({"cdrRecordType": ""}, "record_type"),
        ({"cdrRecordType": "3"}, "record_type"),
        ({"finalCalledPartyNumber": '"9011300'}, "unclosed_quote"),
        ({"finalCalledPartyNumber": '"901"1300"'}, "unclosed_quote"),
        ({"finalCalledPartyNumber": '"901"1"3"'}, "stray_quote"),
        ({"finalCalledPartyNumber": '"901"x'}, "stray_quote"),
        ({"finalCalledPartyNumber": '9"0"1'}, "stray_quote"),
        ({"comment": "a,b"}, "wrong_columns"),
        ({"callingPartyNumber": '"50\x0001"'}, "control_character:callingPartyNumber"),
        ({"origIpAddr": "\x00"}, "not_a_number:origIpAddr"),
    ],
)
def test_each_defect_is_rejected_by_name_and_line(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    found = read(tmp_path / "cdr", table([line(), line(**changes), line()]))
    assert found.rejects == [(4, reason)]
    assert [row["line"] for row in found.rows] == [3, 5]
    assert found.tally is not None
    assert (found.tally.rows, found.tally.kept) == (3, 2)


def test_text_that_is_not_utf8_spoils_only_records_that_keep_it(tmp_path: Path) -> None:
    latin = "Müller".encode("latin-1")
    name = line(callingPartyUnicodeLoginUserID='"@"').encode().replace(b"@", latin)
    device = line(origDeviceName='"@"').encode().replace(b"@", latin)
    whole = line(origDeviceName='"Grüße"').encode()
    data = table([]) + name + b"\n" + device + b"\n" + whole + b"\n"
    found = read(tmp_path / "cdr", data)
    assert found.rejects == [(4, "invalid_encoding:origDeviceName")]
    assert [row["orig_device"] for row in found.rows] == ["SEP000000000001", "Grüße"]


def test_line_ends_of_windows_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    data = table([line(), line(duration="126")])
    plain = read(tmp_path / "a", data).rows
    assert read(tmp_path / "b", b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")).rows == plain
    assert read(tmp_path / "c", data.rstrip(b"\n")).rows == plain
    assert [row["line"] for row in read(tmp_path / "d", data.replace(b"\n", b"\n\n\r\n")).rows] == [7, 10]


def test_quotes_keep_commas_and_doubled_quotes_are_one(tmp_path: Path) -> None:
    row = only(read(tmp_path / "cdr", table([line(callingPartyNumber='"a,""b"""', comment='"x,y"')])))
    assert row["calling"] == 'a,"b"'


def test_a_file_of_names_only_has_no_records(tmp_path: Path) -> None:
    for data in (table([]), table([]).rstrip(b"\n"), table([]).split(b"\n")[0]):
        found = read(tmp_path / "cdr", data)
        assert (found.rows, found.rejects) == ([], [])


@COMPILED
def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    long = b"1" * (2 * LINE_LIMIT + 17)
    for window in (1 << 17, 1 << 23):
        found = read(tmp_path / "cdr", table([line()]) + long + b"\n" + table([line()]), window)
        assert [reason for _, reason in found.rejects] == ["line_too_long" if window == 1 << 17 else "wrong_columns"]
        assert [row["line"] for row in found.rows] == [3, 7]
    found = read(tmp_path / "cdr", table([line()]) + long)
    assert found.rejects == [(4, "line_too_long")] or found.rejects == [(4, "wrong_columns")]


def test_never_connected_calls_have_no_time_of_answer(tmp_path: Path) -> None:
    row = only(read(tmp_path / "cdr", table([line(dateTimeConnect="0", duration="0")])))
    assert "connect" not in row
    assert row["seconds"] == 0


def test_a_call_under_a_second_is_answered(tmp_path: Path) -> None:
    row = only(read(tmp_path / "cdr", table([line(dateTimeDisconnect="1759306505", duration="0")])))
    assert row["connect"] == datetime(2025, 10, 1, 8, 15, 5, tzinfo=UTC)
    assert row["seconds"] == 0


def test_a_missing_duration_is_connect_to_disconnect(tmp_path: Path) -> None:
    assert only(read(tmp_path / "cdr", table([line(duration="")])))["seconds"] == 125
    lines = [
        line(duration="", dateTimeConnect="0"),
        line(duration="", dateTimeDisconnect="1759306504"),
        line(duration="", dateTimeDisconnect=str(1759306505 + 300 * 86_400)),
    ]
    assert [row["seconds"] for row in read(tmp_path / "cdr", table(lines)).rows] == [0, 0, 300 * 86_400]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"duration": "2147483647"}, "duration_exceeds_times"),
        ({"duration": "600"}, "duration_exceeds_times"),
        ({"duration": "128"}, "duration_exceeds_times"),
        ({"dateTimeConnect": "0"}, "duration_exceeds_times"),
        ({"duration": "0"}, "duration_short_of_times"),
        ({"duration": "122"}, "duration_short_of_times"),
        ({"dateTimeConnect": "1759301500", "duration": "5130"}, "connect_before_origination"),
        ({"dateTimeDisconnect": "1759306502", "duration": "0"}, "disconnect_before_connect"),
        ({"dateTimeDisconnect": "1759306400", "duration": "0"}, "disconnect_before_origination"),
        (
            {"dateTimeConnect": "0", "dateTimeDisconnect": "1759306400", "duration": "0"},
            "disconnect_before_origination",
        ),
        ({"dateTimeDisconnect": "4102444799", "duration": ""}, "time_out_of_range"),
        ({"dateTimeConnect": "0", "dateTimeDisconnect": "4102444799", "duration": "0"}, "time_out_of_range"),
        ({"dateTimeDisconnect": "0", "duration": "2147483647"}, "number_out_of_range:duration"),
    ],
)
def test_times_and_lengths_that_no_call_has_are_rejected(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    found = read(tmp_path / "cdr", table([line(), line(**changes)]))
    assert (len(found.rows), found.rejects) == (1, [(4, reason)])


@pytest.mark.parametrize(
    "changes",
    [
        {"duration": "127"},
        {"duration": "123"},
        {"dateTimeConnect": "1759306498", "duration": "132"},
        {"dateTimeDisconnect": "1759306503", "duration": "0"},
        {"dateTimeConnect": "0", "duration": "0"},
        {"dateTimeConnect": "0", "duration": "0", "dateTimeDisconnect": "0"},
        {"dateTimeDisconnect": "0"},
    ],
)
def test_times_may_contradict_each_other_by_rounding(tmp_path: Path, changes: dict[str, str]) -> None:
    assert read(tmp_path / "cdr", table([line(**changes)])).rejects == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [("2701131793", 2701131793), (str(2701131793 - 2**32), 2701131793), ("393216", 393216), ("1459617833", 0x57000029)],
)
def test_causes_are_unsigned_numbers_of_32_bits(tmp_path: Path, written: str, meant: int) -> None:
    assert only(read(tmp_path / "cdr", table([line(destCause_value=written)])))["dest_cause"] == meant


def test_waiting_in_a_queue_is_kept_for_those_who_waited(tmp_path: Path) -> None:
    lines = [
        line(),
        line(wasCallQueued="1", totalWaitTimeInQueue="0"),
        line(wasCallQueued="1", totalWaitTimeInQueue="42", huntPilotDN='"7000"'),
        line(wasCallQueued="", totalWaitTimeInQueue=""),
    ]
    found = read(tmp_path / "cdr", table(lines))
    assert [row["queue_seconds"] for row in found.rows] == [None, 0, 42, None]
    assert found.rows[2]["hunt_pilot"] == "7000"


def test_codecs_are_those_of_the_guide(shared: Path, tmp_path: Path) -> None:
    with (shared / "golden" / "cucm_codes.csv").open(encoding="utf-8") as codes:
        golden = {int(row["value"]): row["meaning"] for row in csv.DictReader(codes) if row["table"] == "codec"}
    assert golden.keys() == CODECS.keys()
    alike = {"PCMA": "A-law", "PCMU": "mu-law", "GSM-HR-08": "GSM HR", "GSM": "GSM FR", "GSM-EFR": "GSM EFR"}
    for code, name in CODECS.items():
        spoken = alike.get(name, name).replace("-", " ").replace("G7", "G.7").replace("T38", "T.38").lower()
        assert spoken.split()[0].rstrip("3") in golden[code].lower().replace("-", " ") or spoken in golden[code].lower()
    lines = [line(origMediaCap_payloadCapability=code) for code in ("4", "0", "257", "")]
    found = read(tmp_path / "cdr", table(lines))
    assert [row["codec"] for row in found.rows] == ["PCMU", None, "payloadCapability 257", None]


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ("MLQK=4.5000;MLQKav=4.4000;MLQKmn=4.1;MLQKmx=4.5", (4.5, 4.4, 4.1, 4.5)),
        ("mlqk=4.5;Mlqkav = 4.4 ; mlqkmn:4.1;;MLQKmx=4.5;", (4.5, 4.4, 4.1, 4.5)),
        ("MLQK=0.0000;MLQKav=0.0000;MLQKmn=0.0000;MLQKmx=0.0000", (None,) * 4),
        ("MLQKx=1;XMLQK=2;MLQK;MLQKav=;MLQKmn=abc;MLQKmx=4.5.1", (None,) * 4),
        ("VoRxCodec=G.711 u-la;MLQK=3.9", (3.9, None, None, None)),
        ("", (None,) * 4),
        ("=;=;:;", (None,) * 4),
        ("MLQK=0.9;MLQKav=1e3", (0.9, None, None, None)),
    ],
)
def test_metrics_of_every_vintage_are_read(tmp_path: Path, metrics: str, expected: tuple[float | None, ...]) -> None:
    found = read(tmp_path / "cmr", table([line("cmr", varVQMetrics=f'"{metrics}"')], "cmr"))
    (row,) = found.rows
    assert tuple(row[name] for name in ("mos_lqk", "mos_lqk_mean", "mos_lqk_min", "mos_lqk_max")) == expected


@pytest.mark.parametrize("metrics", ["MLQK=99999", "MLQKav=5.1", "MLQKmn=-1", "CCR=-1", "CCR=1.01", "ICRmx=2"])
def test_metrics_that_nothing_can_have_are_rejected(tmp_path: Path, metrics: str) -> None:
    reports = [line("cmr", varVQMetrics=f'"{metrics}"'), line("cmr", varVQMetrics='"MLQK=5;CCR=1;ICRmx=0"')]
    found = read(tmp_path / "cmr", table(reports, "cmr"))
    assert (len(found.rows), found.rejects) == (1, [(3, "number_out_of_range:varVQMetrics")])


def test_a_record_without_pkid_is_known_by_its_whole_text(tmp_path: Path) -> None:
    lines = [line(), line(duration="126"), line(pkid=""), line(pkid="", duration="126"), line(pkid="")]
    keys = [row["row_key"] for row in read(tmp_path / "cdr", table(lines)).rows]
    assert keys[0] == keys[1]
    assert keys[2] == keys[4]
    assert len(set(keys)) == 3


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_feed_cut_into_files_anywhere_holds_the_same_rows(tmp_path: Path, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 30))
    lines = [line(globalCallID_callId=str(k), pkid=f'"{k:08}-0000-4000-8000-000000000000"') for k in range(count)]
    if count > 2:
        lines[1] = lines[1].replace("1759306500", "soon")
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=6)))
    parts = [lines[a:b] for a, b in zip([0, *cuts], [*cuts, count], strict=True)]
    files = []
    for k, part in enumerate(parts):
        path = tmp_path / f"part{k}"
        path.write_bytes(table(part) if data.draw(st.booleans()) or not part else ("\n".join(part)).encode())
        file = told(path)
        if isinstance(file, Skipped):
            assert part == [lines[1]]  # a damaged record alone says nothing of its columns
            return
        files.append(file)
    together = [row for found in read_files(list({f.sha256: f for f in files}.values())).values() for row in found.rows]
    whole = read(tmp_path / "whole", table(lines)).rows
    for row in [*together, *whole]:
        del row["line"]
    assert together == whole


CELLS = st.one_of(
    st.sampled_from(["", "0", "1", "16", " 4 ", '""', '" x "', '"a,b"', '"a""b"', '"', "\t", "Ü", "\x00", "\r", "abc"]),
    st.text(alphabet='09a",\r\x00 üÿ-+', max_size=6),
)


@given(
    st.lists(
        st.tuples(st.lists(st.tuples(st.integers(0, 132), CELLS), max_size=3), st.sampled_from(["\n", "\r\n", "\n\n"]))
    ),
    st.booleans(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mangled_records_come_out_as_the_slow_reader_says(
    tmp_path: Path, mangled: list[tuple[list[tuple[int, str]], str]], cut: bool
) -> None:
    text = ""
    for changes, end in mangled:
        cells = line().split(",")
        for column, cell in changes:
            cells[column] = cell
        text += ",".join(cells) + end
    data = text.encode("utf-8", "surrogatepass")
    compare(tmp_path, data[: len(data) * 2 // 3] if cut else data)


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_octets_become_rows_or_rejects(tmp_path: Path, data: bytes) -> None:
    compare(tmp_path, data)


def compare(tmp_path: Path, data: bytes) -> None:
    """Both readers give the same rows and rejects for what follows the names of columns."""
    head = ",".join(ORDER["cdr"]).encode() + b"\n"
    found = read(tmp_path / "any", head + data)
    slow = list(slow_read(data, ORDER["cdr"], 2))
    assert found.rejects == [(number, one) for number, one in slow if isinstance(one, str)]
    rows = [(number, one) for number, one in slow if isinstance(one, dict)]
    assert [row["line"] for row in found.rows] == [number for number, _ in rows]
    for row, (_, expected) in zip(found.rows, rows, strict=True):
        assert {name: row[name] for name in expected} == expected


@COMPILED
def test_windows_of_any_size_give_the_same_rows(tmp_path: Path) -> None:
    lines = [line(globalCallID_callId=str(k), pkid=f'"{k:08}-0000-4000-8000-000000000000"') for k in range(2_000)]
    lines[700] = "1,2"
    data = table(lines)
    whole = read(tmp_path / "cdr", data)
    assert len(whole.rows) == 1_999
    for window in (140_000, 150_001, 1 << 18):
        parts = read(tmp_path / "cdr", data, window)
        assert parts.rows == whole.rows
        assert parts.rejects == whole.rejects == [(703, "wrong_columns")]


@COMPILED
def test_kernels_wrote_no_array_that_rows_still_use(tmp_path: Path) -> None:
    # Batches of several windows are all held at once: each must have its own memory.
    lines = [line(globalCallID_callId=str(k), callingPartyNumber=f'"{k}"') for k in range(3_000)]
    rows = read(tmp_path / "cdr", table(lines), 140_000).rows
    assert [row["calling"] for row in rows] == [str(k) for k in range(3_000)]
    assert np.array([row["line"] for row in rows]).tolist() == list(range(3, 3_003))
