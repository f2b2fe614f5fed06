"""FreeSWITCH's records: CSV of two templates, spreadsheets' dates, and JSON with the quality of a leg."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cdr_reading import present, reasons, rows_of, without_place
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.cdr import freeswitch
from collector.cdr.rows import ReadSettings, key64

A, B = "d80e22e0-4c15-11ea-97a0-9dd79410affb", "b9d0a33e-4c15-11ea-978a-9dd79410affb"
PLAIN = (
    f'"Ann","1002","01134960000","default","2020-02-10 22:41:00","2020-02-10 22:41:02","2020-02-10 22:41:11",'
    f'"11","9","NORMAL_CLEARING","{A}","{B}","acc","PCMU","PCMA"'
)


def document(**changes: Any) -> dict[str, Any]:
    """A small record of mod_json_cdr."""
    return {
        "core-uuid": "x",
        "switchname": "fs1",
        "variables": {
            "uuid": A,
            "start_uepoch": "1515666344534355",
            "answer_uepoch": "1515666347954373",
            "end_uepoch": "1515666415494269",
            "duration": "71",
            "billsec": "68",
            "hangup_cause": "NORMAL_CLEARING",
            **changes,
        },
        "callflow": [{"caller_profile": {"caller_id_number": "1001", "destination_number": "1002"}}],
    }


def test_a_file_that_a_spreadsheet_saved_is_read_and_marked(shared: Path) -> None:
    data = (shared / "cdr" / "freeswitch_cdr_csv_excel_mangled.csv").read_bytes()
    assert freeswitch.sniff(data) == freeswitch.EXAMPLE
    rows, rejects = rows_of(freeswitch.read, data, "Asia/Shanghai")
    assert (len(rows), rejects) == (10, [])
    assert {row["time_note"] for row in rows} == {"minute_resolution"}
    assert (
        rows[1].items()
        >= {
            "origination": "2020-02-10 14:40:00",
            "disconnect": "2020-02-10 14:41:00",
            "seconds": 61,
            "calling": "1002",
            "called": "&",
            "codec": "PCMU",
            "account": "1002",
            "orig_cause": 16,
        }.items()
    )
    assert (rows[2]["seconds"], rows[2].get("connect"), rows[2]["orig_cause"]) == (0, None, 18)


def test_records_of_one_uuid_share_their_key_and_leg_and_differ_where_their_cause_does(shared: Path) -> None:
    rows, _ = rows_of(freeswitch.read, (shared / "cdr" / "freeswitch_cdr_csv_excel_mangled.csv").read_bytes())
    same = without_place(rows[7:10])
    assert same[0] == same[1]
    assert {**same[2], "orig_cause": 16} == same[0]
    assert same[2]["orig_cause"] == 17


def test_the_a_and_the_b_record_of_a_call_agree_on_it() -> None:
    a, b = (
        rows_of(freeswitch.read, line.encode())[0][0] for line in (PLAIN, PLAIN.replace(f'"{A}","{B}"', f'"{B}","{A}"'))
    )
    assert a["call_ref"] == b["call_ref"]
    assert {a["orig_leg"], a["dest_leg"]} == {b["orig_leg"], b["dest_leg"]} == {key64("leg", A), key64("leg", B)}
    assert a["row_key"] != b["row_key"]


def test_the_shorter_template_has_no_codecs() -> None:
    line = PLAIN.removesuffix(',"PCMU","PCMA"')
    assert freeswitch.sniff(line.encode()) == freeswitch.SQLITE
    assert "codec" not in rows_of(freeswitch.read, line.encode())[0][0]


def test_a_real_json_record_says_who_called_whom_and_how_it_sounded(shared: Path) -> None:
    data = (shared / "cdr" / "freeswitch_json_cdr_1.json").read_bytes()
    assert freeswitch.sniff(data) == freeswitch.JSON
    (batch,) = freeswitch.read_json(io.BytesIO(data), ReadSettings())
    (row,), (report,) = batch.cdr_rows.to_pylist(), batch.phone_reports.to_pylist()
    assert batch.rejects == ()
    a, b = "3da8bf84-c133-4959-9e24-e72875cb33a1", "f52c26f1-b018-4963-bf6d-a3111d1a0320"
    assert (
        present(row).items()
        >= {
            "system": "FSDev1",
            "line": 1,
            "call_label": a,
            "calling": "1001",
            "called": "1002",
            "origination": "2018-01-11 10:25:44",
            "connect": "2018-01-11 10:25:47",
            "disconnect": "2018-01-11 10:26:55",
            "seconds": 68,
            "hold_seconds": 67,
            "codec": "PCMU",
            "mos": 4.5,
            "orig_ip": "10.10.10.100",
            "orig_device": "sofia/internal/1001@10.10.10.204",
            "orig_leg": key64("leg", a),
            "dest_leg": key64("leg", b),
        }.items()
    )
    assert (
        present(report).items()
        >= {
            "system": "FSDev1",
            "leg": key64("leg", a),
            "packets_received": 3329,
            "packets_sent": 0,
            "skipped": 10,
            "discarded": 0,
            "device": "sofia/internal/1001@10.10.10.204",
        }.items()
    )
    assert report["packets_lost"] is None
    assert report["mos_lqk"] is None


@pytest.mark.parametrize(
    "write",
    [
        lambda documents: json.dumps(documents),
        lambda documents: json.dumps(documents, indent=2),
        lambda documents: "\n".join(json.dumps(one) for one in documents),
        lambda documents: "\r\n".join(json.dumps(one) for one in documents) + "\r\n",
        lambda documents: "".join(json.dumps(one, indent="\t") for one in documents),
        lambda documents: "\ufeff" + ",\n".join(json.dumps(one) for one in documents),
    ],
    ids=["array", "indented array", "one a line", "CRLF", "one after another", "mark and commas"],
)
def test_one_object_an_array_and_one_a_line_give_the_same_rows(write: Callable[[list[dict[str, Any]]], str]) -> None:
    documents = [document(), document(uuid=B, sip_from_display='brackets } ] " and \\ in a name'), document(uuid=A)]
    rows, rejects = rows_of(freeswitch.read_json, write(documents).encode())
    assert rejects == []
    assert [(row["line"], row["call_label"]) for row in rows] == [(1, A), (2, B), (3, A)]


def test_a_cut_line_of_json_spoils_only_itself() -> None:
    whole = json.dumps(document())
    rows, rejects = rows_of(freeswitch.read_json, f"{whole[:90]}\n{whole}\n{whole[:-1]}\n{whole}".encode())
    assert ([row["line"] for row in rows], rejects) == ([2, 4], [(1, "malformed_json"), (3, "malformed_json")])


def test_a_b_leg_has_the_call_of_its_originator() -> None:
    record = document(uuid=B, channel_name="sofia/gateway-out/0113496000@192.0.2.7:5060")
    record["callflow"][0]["caller_profile"]["originator"] = {"originator_caller_profiles": [{"uuid": A}]}
    row = rows_of(freeswitch.read_json, json.dumps(record).encode())[0][0]
    first = rows_of(freeswitch.read_json, json.dumps(document(bridge_uuid=B)).encode())[0][0]
    assert (row["call_ref"], row["orig_leg"], row["dest_leg"]) == (
        first["call_ref"], first["orig_leg"], first["dest_leg"],
    )  # fmt: skip
    assert row["dest_device"] == "sofia/gateway-out/192.0.2.7"
    assert row["dest_cause"] == 16


def test_a_bridge_to_a_gateway_names_it() -> None:
    record = document(last_app="bridge", last_arg="[a=1]sofia/gateway/carrier/0113496000")
    assert rows_of(freeswitch.read_json, json.dumps(record).encode())[0][0]["dest_device"] == "sofia/gateway/carrier"


def test_encoded_values_are_decoded() -> None:
    record = document(accountcode="North%20office")
    assert rows_of(freeswitch.read_json, json.dumps(record).encode())[0][0]["account"] == "North office"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uuid": "one"}, "bad_uuid"),
        ({"start_uepoch": "0"}, "no_start"),
        ({"start_uepoch": "soon"}, "bad_time"),
        ({"start_uepoch": "99999999999999999999"}, "bad_time"),
        ({"answer_uepoch": "1515666343954373"}, "answer_before_start"),
        ({"answer_uepoch": "1515666417954373"}, "end_before_answer"),
        ({"billsec": "-1"}, "negative_number"),
        ({"billsec": "680"}, "billsec_exceeds_duration"),
        ({"duration": "a"}, "bad_number"),
    ],
)
def test_mangled_objects_are_rejected_by_name(changes: dict[str, str], reason: str) -> None:
    assert reasons(freeswitch.read_json, json.dumps(document(**changes))) == [reason]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1", "not_an_object"),
        ('{"variables": 1}', "no_variables"),
        ('{"a": ' * 100 + "1" + "}" * 100, "nested_too_deep"),
        ('{"variables": {"uuid": "', "malformed_json"),
        ('{"variables": NaN}', "no_variables"),
        ("not json", "malformed_json"),
    ],
)
def test_what_is_no_record_is_rejected_by_name(text: str, reason: str) -> None:
    assert reasons(freeswitch.read_json, text) == [reason]


def test_a_record_of_many_megabytes_is_rejected_and_what_follows_on_its_own_line_is_read() -> None:
    huge = json.dumps(document(accountcode="9" * (5 << 20)))
    rows, rejects = rows_of(
        freeswitch.read_json, f"{json.dumps(document())}\n{huge}\n{json.dumps(document())}".encode()
    )
    assert ([row["line"] for row in rows], rejects) == ([1, 3], [(2, "record_too_long")])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (PLAIN[:60], "unterminated_quote"),
        (PLAIN.replace(',"PCMA"', ""), "column_count"),
        (PLAIN.replace(A, "d80e22e0"), "bad_uuid"),
        (PLAIN.replace('"11"', '"x"'), "bad_number"),
        (PLAIN.replace('"9"', '"-9"'), "negative_number"),
        (PLAIN.replace("2020-02-10 22:41:02", "2020-02-10 22:42:02"), "end_before_answer"),
        (PLAIN.replace("2020-02-10 22:41:00", "2020-02-31 22:41:00"), "bad_time"),
    ],
)
def test_mangled_lines_are_rejected_by_name(line: str, reason: str) -> None:
    assert reasons(freeswitch.read, line) == [reason]


@settings(deadline=None)
@given(st.binary(max_size=400))
@example(b'{"a":"\\')
@example(b"[[[[[[")
@example(b'{"variables":{"uuid":"\\ud800"}}')
def test_any_octets_are_read_or_rejected(data: bytes) -> None:
    freeswitch.sniff(data)
    rows_of(freeswitch.read, data)
    rows_of(freeswitch.read_json, data)


@settings(deadline=None)
@given(st.data())
def test_any_change_to_a_json_record_is_read_or_rejected(data: st.DataObject) -> None:
    text = json.dumps(document(bridge_uuid=B))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    rows_of(
        freeswitch.read_json, (text[:start] + data.draw(st.text(max_size=6)) + text[end:]).encode("utf-8", "replace")
    )


@settings(deadline=None)
@given(st.integers(0, 10))
def test_a_file_split_anywhere_gives_the_same_rows(shared: Path, at: int) -> None:
    lines = (shared / "cdr" / "freeswitch_cdr_csv_excel_mangled.csv").read_bytes().splitlines(keepends=True)
    parts = [rows_of(freeswitch.read, b"".join(part))[0] for part in (lines[:at], lines[at:])]
    assert without_place(parts[0] + parts[1]) == without_place(rows_of(freeswitch.read, b"".join(lines))[0])
