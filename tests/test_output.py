"""The JSON contract and the tables."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import (
    METRICS,
    NO_METRICS,
    START,
    failed_call,
    make_call,
    make_far_end,
    make_leg,
    make_replay,
    make_stream,
)
from hypothesis import given
from hypothesis import strategies as st

from api.json_output import Selection, number, render_json, seconds
from api.masking import Pseudonyms, mask_rated
from api.rated import rate_replay
from api.tables import CALLS, FINDINGS, STREAMS, Kind, csv_cell, csv_text, tables, write_parquet
from collector.facts import CodecChange, Endpoint, Finding, Placement, Replay, TelephoneEvent


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads((resources.files("api") / "schema" / "replay.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def rendered(replay: Replay, selection: Selection = Selection()) -> Any:  # noqa: B008 - frozen
    return json.loads(render_json(rate_replay(replay), selection))


REPLAYS = {
    "ordinary": make_replay(),
    "empty": make_replay(
        calls=(),
        streams=(),
        capture=replace(make_replay().capture, packets=0, first=None, last=None, stopped="f: cut at byte 24"),
        sip=replace(make_replay().sip, messages=0, metrics=NO_METRICS),
    ),
    "sparse": make_replay(
        calls=(
            make_call(
                legs=(make_leg(session_id="ab", transferred_to="sip:x@y", replaces="z", defects={"bad_via": 1}),),
                end=None,
                duration_ms=None,
                post_dial_delay_ms=None,
                status=None,
                status_text=None,
            ),
        ),
        streams=(
            make_stream(
                mean_delta_ms=None,
                max_delta_ms=None,
                loss_percent=None,
                codec_changes=(CodecChange(START, "PCMA", "PCMU"),),
                far_end=make_far_end()._replace(
                    fraction_lost_max=None, cumulative_lost=None, round_trip_ms=None, xr=None, cname=None
                ),
                not_network={"hold": 4},
            ),
        ),
        notes=(Finding("mirror_port", "every packet came twice"),),
    ),
}


@pytest.mark.parametrize("name", REPLAYS)
@pytest.mark.parametrize("masked", [True, False])
def test_a_report_obeys_its_schema(name: str, masked: bool, validator: jsonschema.Draft202012Validator) -> None:
    rated = rate_replay(REPLAYS[name])
    if masked:
        rated = mask_rated(rated, Pseudonyms())
    validator.validate(json.loads(render_json(rated, Selection("mos<3", "a84", masked))))


def test_the_schema_admits_no_unknown_field(validator: jsonschema.Draft202012Validator) -> None:
    report = rendered(make_replay())
    report["streams"][0]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        validator.validate(report)


def nulls(value: Any, path: str = "") -> Iterator[tuple[str, str, dict[str, str] | None]]:
    if isinstance(value, dict):
        for key, each in value.items():
            if each is None:
                yield path, key, value.get("null_reasons")
            else:
                yield from nulls(each, f"{path}.{key}")
    elif isinstance(value, list):
        for each in value:
            yield from nulls(each, path)


@pytest.mark.parametrize("name", REPLAYS)
def test_every_null_has_its_reason_beside_it(name: str) -> None:
    for path, key, why in nulls(rendered(REPLAYS[name])):
        if key in ("packets", "at") and path.endswith(("findings", "notes")):
            continue  # does not apply
        if key == "high":
            continue  # an open class
        assert why is not None, f"{path}.{key}"
        assert why[key], f"{path}.{key}"


def test_the_digest_can_be_computed_again_as_the_docs_say() -> None:
    text = render_json(rate_replay(make_replay()), Selection())
    report = json.loads(text)
    digest = report.pop("digest")
    again = json.dumps(report, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(again.encode()).hexdigest() == digest


def test_the_digest_changes_with_any_value() -> None:
    other = make_replay(streams=(make_stream(lost=2),))
    assert rendered(make_replay())["digest"] != rendered(other)["digest"]


def test_the_same_facts_give_the_same_bytes_whatever_the_folder() -> None:
    here = make_replay()
    there = make_replay(capture=replace(here.capture, files=("elsewhere/evening.pcapng",)))
    one, other = (render_json(rate_replay(each), Selection()) for each in (here, there))
    assert one == other
    assert json.loads(one)["capture"]["files"] == ["evening.pcapng"]


def test_a_stream_has_the_fields_of_the_contract() -> None:
    stream = rendered(make_replay())["streams"][1]
    assert stream["src"] == "10.9.0.2"
    assert stream["src_port"] == 24080
    assert stream["ssrc"] == "0x000000FF"
    assert stream["payload_types"] == [8, 101]
    assert stream["jitter_ms"] == {"mean": 31.4, "max": 80.0, "last": 12.0}
    assert stream["loss_percent"] == 6.2
    assert stream["evidence"] == "measured"
    assert stream["mos_model"].startswith("G.107")
    assert stream["findings"] == [
        {
            "code": "burst_loss",
            "text": "31 s of bursts from 14:05:10",
            "packets": 31,
            "at": 1759500310.123457,
        }
    ]


def test_a_stream_of_unknown_codec_has_no_mos_and_says_why() -> None:
    stream = rendered(make_replay())["streams"][2]
    assert stream["mos"] is None
    assert stream["evidence"] == "missing"
    assert stream["null_reasons"]["mos"] == "codec unknown"


def test_a_call_sounds_like_the_worst_of_its_primary_streams() -> None:
    fork = make_stream(placement=Placement(1, "fork", 2), loss_percent=50.0, lost=250)
    report = rendered(make_replay(streams=(*make_replay().streams, fork)))
    scores = [stream["mos"] for stream in report["streams"]]
    assert scores[3] < scores[1] < scores[0]
    assert report["calls"][0]["mos"] == scores[1]
    assert report["calls"][1]["mos"] is None
    assert report["calls"][1]["null_reasons"]["mos"] == "no RTP seen"


@given(st.integers(min_value=0, max_value=2**33 * 10**9))
def test_times_are_rounded_to_the_microsecond_and_never_drift(nanoseconds: int) -> None:
    exact = (Decimal(nanoseconds) / 10**9).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    assert Decimal(repr(seconds(nanoseconds))).quantize(Decimal("0.000001")) == exact
    assert Decimal(repr(seconds(nanoseconds))) == exact


def test_what_is_no_finite_number_is_missing() -> None:
    assert number(math.nan) is None
    assert number(math.inf) is None
    assert number(-0.0000001) == 0
    assert str(number(-0.0000001)) == "0.0"


def test_an_undecodable_header_does_not_break_the_report(validator: jsonschema.Draft202012Validator) -> None:
    text = render_json(rate_replay(make_replay(calls=(make_call(status_text="\udcff\x00\u2028"),))), Selection())
    assert text.isascii()
    validator.validate(json.loads(text))


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_one_row_per_call_stream_and_finding() -> None:
    calls, streams, findings = (read_csv(csv_text(table)) for table in tables(rate_replay(make_replay())))
    assert [row["call_id"] for row in calls] == ["a84b4c76e66710@10.1.4.7", "f00d-1@10.1.4.8"]
    assert calls[0]["start"] == "1759500310.123457"
    assert calls[1]["duration_ms"] == ""
    assert calls[1]["reason_cause"] == "34"
    assert [row["ssrc"] for row in streams] == ["0x1234ABCD", "0x000000FF", "0x00000007"]
    assert streams[2]["jitter_mean_ms"] == ""
    assert streams[2]["mos_model"] == "codec unknown"
    assert [(row["subject"], row["code"]) for row in findings] == [
        ("stream", "burst_loss"),
        ("stream", "mirror_copies"),
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_csv_text_that_a_spreadsheet_would_compute_is_defused(start: str) -> None:
    hostile = f'{start}HYPERLINK("http://x","y")'
    (calls, _, _) = tables(rate_replay(make_replay(calls=(make_call(status_text=hostile),))))
    assert read_csv(csv_text(calls))[0]["status_text"] == "'" + hostile


def test_csv_numbers_may_be_negative() -> None:
    assert csv_cell(Kind.NUMBER, -12.5) == "-12.5"
    assert csv_cell(Kind.FLAG, False) == "false"
    assert csv_cell(Kind.TEXT, None) == ""


def test_parquet_is_typed_with_units_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = tables(rate_replay(make_replay()))
    for table in made:
        write_parquet(table, tmp_path / f"{table.name}.parquet")
        write_parquet(table, tmp_path / f"{table.name}.again")
        assert (tmp_path / f"{table.name}.parquet").read_bytes() == (tmp_path / f"{table.name}.again").read_bytes()
    streams = pq.read_table(tmp_path / "streams.parquet")
    assert streams.schema.field("first").type == pa.timestamp("us", tz="UTC")
    assert streams.schema.field("loss_percent").type == pa.float64()
    assert streams.schema.field("loss_percent").metadata[b"unit"] == b"%"
    assert streams.schema.field("lost").type == pa.int64()
    assert streams.schema.field("encrypted").type == pa.bool_()
    assert streams.column("lost").to_pylist() == [1, 31, 0]
    assert streams.column("jitter_mean_ms").to_pylist() == [2.125, 31.4, None]
    calls = pq.read_table(tmp_path / "calls.parquet")
    assert calls.column("start").cast(pa.int64()).to_pylist()[0] == 1759500310123457


def test_parquet_takes_an_empty_report_and_undecodable_text(tmp_path: Path) -> None:
    write_parquet(tables(rate_replay(make_replay(calls=(), streams=())))[0], tmp_path / "calls.parquet")
    assert pq.read_table(tmp_path / "calls.parquet").num_rows == 0
    hostile = make_replay(calls=(make_call(status_text="\udcff"),))
    write_parquet(tables(rate_replay(hostile))[0], tmp_path / "hostile.parquet")
    assert pq.read_table(tmp_path / "hostile.parquet").column("status_text").to_pylist() == ["?"]


@pytest.mark.parametrize("columns", [CALLS, STREAMS, FINDINGS])
def test_column_names_are_unique_and_say_their_unit(columns: Any) -> None:
    names = [column.name for column in columns]
    assert len(names) == len(set(names))
    for column in columns:
        assert column.doc
        assert not column.name.endswith("_ms") or column.unit == "ms"
        assert not column.name.endswith("_percent") or column.unit == "%"


def test_no_number_and_no_digit_is_in_a_masked_report_of_any_format() -> None:
    event = TelephoneEvent(START, 7, 100.0, -10, 8, True)
    replay = make_replay(streams=(make_stream(telephone_events=(event,)),), calls=(make_call(), failed_call()))
    masked = mask_rated(rate_replay(replay), Pseudonyms())
    texts = [render_json(masked, Selection()), *(csv_text(table) for table in tables(masked))]
    for text in texts:
        assert "1632960" not in text
        assert "alice" not in text
    (shown,) = json.loads(texts[0])["streams"][0]["telephone_events"]
    assert shown["event"] is None
    assert shown["null_reasons"] == {"event": "masked"}


def test_ipv6_addresses_stand_bare_in_their_own_field() -> None:
    stream = rendered(make_replay())["streams"][2]
    assert (stream["src"], stream["src_port"]) == ("2001:db8::7", 4000)
    assert str(Endpoint("2001:db8::7", 4000)) == "[2001:db8::7]:4000"


def test_metrics_without_attempts_are_missing_not_zero() -> None:
    metrics = rendered(REPLAYS["empty"])["sip"]["metrics"]
    assert metrics["asr_percent"] is None
    assert metrics["null_reasons"]["asr_percent"] == "no session attempts"
    assert METRICS.asr_percent == 50.0
