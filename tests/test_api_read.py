"""What the API answers to those who read: over HTTP, from facts in a real store."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from call_facts import NOON, call, minute, put, put_minutes, record, report, stream
from jsonschema import Draft202012Validator
from web_app import App, application

from analytics.questions.asking import key_text
from api.web.rights import Role

SPAN = {"since": "2025-10-01T11:00:00Z", "until": "2025-10-01T14:00:00Z"}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """Calls of one noon, with all that is said of the first."""
    with application(tmp_path / "store") as app:
        lake = app.context.lake
        put(lake, "calls", call(1), call(2, 60, mos=2.0), call(3, 120, calling="=1+1", called="999"))
        back = {"from_address": "10.9.0.2:24080", "to_address": "10.1.4.7:16402"}
        heard = stream(12, 1) | back | {"site": "northgate", "other_site": "ashcombe"}
        put(lake, "streams", stream(11, 1), heard, stream(21, 2, 65))
        put(lake, "cdr_rows", record(1))
        put(lake, "phone_reports", report(1))
        put_minutes(lake, minute("ashcombe"), minute("northgate", 60))
        yield app


def ask(app: App, path: str, role: Role = Role.ENGINEER, token: str = "", **query: str | int) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else app.headers(role)
    return app.client.get(f"/api/v1{path}", params={**SPAN, **query}, headers=headers)


def numbers_token(app: App) -> str:
    return app.context.accounts.add_token("detective", Role.ENGINEER, app.context.clock(), numbers=True)[1]


def test_answers_are_as_the_document_says(app: App) -> None:
    document = app.client.get("/api/v1/openapi.json").json()
    for path in ("/sites", "/series", "/sites/ashcombe/series", "/pairs", "/calls", "/streams", "/imports", "/health",
                 f"/calls/{key_text(1)}"):  # fmt: skip
        answer = ask(app, path)
        assert answer.status_code == 200, path
        template = path.replace("ashcombe", "{site}").replace(key_text(1), "{key}")
        schema = document["paths"][f"/api/v1{template}"]["get"]["responses"]["200"]["content"]["application/json"]
        Draft202012Validator({**schema["schema"], "components": document["components"]}).validate(answer.json())


def test_examples_of_the_document_are_as_its_schemas_say(app: App) -> None:
    document = app.client.get("/api/v1/openapi.json").json()
    seen = 0
    for path, operations in document["paths"].items():
        content = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        told = content.get("application/json", {})
        if "example" in told:
            seen += 1
            validator = Draft202012Validator({**told["schema"], "components": document["components"]})
            assert [(path, error.message) for error in validator.iter_errors(told["example"])] == []
    assert seen >= 12


def test_numbers_are_masked_but_for_who_may_see_them(app: App) -> None:
    masked = ask(app, "/calls").json()["calls"]
    assert masked[0]["called"] == "999", "services are not masked"
    assert masked[2]["calling"].startswith("p-")
    assert "0123" not in json.dumps(ask(app, f"/calls/{key_text(1)}").json()["records"])
    open_ = ask(app, f"/calls/{key_text(1)}", token=numbers_token(app)).json()
    assert open_["call"]["calling"] == "+441134960101"
    assert open_["records"][0]["called"] == "902079460123"


def test_person_is_searched_by_the_name_that_is_shown(app: App) -> None:
    name = ask(app, "/calls").json()["calls"][1]["calling"]
    assert len(ask(app, "/calls", number=name).json()["calls"]) == 2
    assert ask(app, "/calls", number="p-aaaaaaaa").json()["calls"] == []
    refused = ask(app, "/calls", number="01134960101")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:callgauge:problem:not_allowed")
    assert ask(app, "/calls", q="from:0113").status_code == 403
    assert len(ask(app, "/calls", token=numbers_token(app), number="01134960101").json()["calls"]) == 2


def test_looks_at_calls_are_in_the_audit_log_without_numbers(app: App) -> None:
    ask(app, "/calls", token=numbers_token(app), number="01134960101", q="mos<3")
    entry = next(app.context.audit.backwards())
    assert (entry.what, entry.of, entry.numbers) == ("calls.search", "mos<3 number:…", True)
    ask(app, f"/calls/{key_text(1)}")
    assert next(app.context.audit.backwards()).of == key_text(1)


def test_pages_lead_to_one_another_with_absolute_times(app: App) -> None:
    first = ask(app, "/calls", limit=2).json()
    assert [one["key"] for one in first["calls"]] == [key_text(3), key_text(2)]
    put(app.context.lake, "calls", call(9, 3_600))
    second = app.client.get(first["next"], headers=app.headers(Role.ENGINEER)).json()
    assert [one["key"] for one in second["calls"]] == [key_text(1)]
    assert second["next"] is None
    relative = app.client.get("/api/v1/calls?since=24h", headers=app.headers(Role.ENGINEER)).json()
    assert "since=24h" not in relative["link"]
    assert datetime.fromisoformat(relative["until"]) - datetime.fromisoformat(relative["since"]) == timedelta(days=1)


@pytest.mark.parametrize("path", ["/sites", "/series", "/pairs", "/calls", "/streams", "/imports"])
def test_lists_come_as_csv_and_as_lines_of_json_alike(app: App, path: str) -> None:
    told = ask(app, path, format="csv")
    assert told.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(told.text)))
    lines = [json.loads(line) for line in ask(app, path, format="ndjson").text.splitlines()]
    by_header = app.client.get(
        f"/api/v1{path}", params=SPAN, headers={**app.headers(Role.ENGINEER), "Accept": "application/x-ndjson"}
    )
    assert by_header.headers["content-type"] == "application/x-ndjson"
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        assert set(row) == set(line)


def test_csv_of_calls_holds_no_formula_and_no_number(app: App) -> None:
    text = ask(app, "/calls", format="csv").text
    assert "0123" not in text
    told = ask(app, "/calls", token=numbers_token(app), format="csv").text
    assert "'=1+1" in told
    assert "'+441134960101" in told


def test_export_goes_over_all_pages(app: App) -> None:
    put(app.context.lake, "calls", *(call(100 + number, 200 + number / 10) for number in range(2_500)))
    rows = list(csv.DictReader(io.StringIO(ask(app, "/calls", format="csv").text)))
    assert len({row["key"] for row in rows}) == len(rows) == 2_503
    assert len(ask(app, "/calls", format="ndjson", limit=7).text.splitlines()) == 7


def test_pair_of_few_streams_is_shown_to_those_alone_who_may_see_calls(app: App) -> None:
    assert len(ask(app, "/pairs").json()["pairs"]) == 2
    viewer = ask(app, "/pairs", Role.VIEWER).json()
    assert (viewer["pairs"], viewer["withheld"]) == ([], 2)


def test_call_says_who_says_what(app: App) -> None:
    found = ask(app, f"/calls/{key_text(1)}").json()
    assert {one["what"] for one in found["comparison"]} >= {"begin", "answer", "talk time", "packets received"}
    assert found["events"][0]["what"] in ("invite", "record begins")


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/calls", {"since": "yesterday"}, 422),
        ("/calls", {"since": "2025-10-01T00:00:00"}, 422),
        ("/calls", {"since": "2025-10-02T00:00:00Z", "until": "2025-10-01T00:00:00Z"}, 422),
        ("/calls", {"since": "0001-01-01T00:00:00Z"}, 422),
        ("/calls", {"cursor": "x"}, 422),
        ("/calls", {"limit": 0}, 422),
        ("/calls", {"q": "speed>3"}, 422),
        ("/calls/xyz", {}, 422),
        (f"/calls/{key_text(99)}", {}, 404),
        ("/sites/nowhere", {}, 404),
        ("/series", {"since": "2020-01-01T00:00:00Z", "step": "minute", "site": "a"}, 422),
        ("/pairs", {"since": "2020-01-01T00:00:00Z"}, 422),
    ],
)
def test_question_without_meaning_is_a_problem_with_its_reason(
    app: App, path: str, query: dict[str, Any], status: int
) -> None:
    answer = ask(app, path, **query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 10


@pytest.mark.parametrize("path", ["/costs", "/savings", "/savings/report", "/reports/access"])
def test_reports_without_an_estate_say_so(app: App, path: str) -> None:
    answer = app.client.get(f"/api/v1{path}", headers=app.headers(Role.FINANCE))
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:callgauge:problem:no_estate")


def test_small_counts_take_the_right_to_see_numbers(app: App) -> None:
    assert app.client.get("/api/v1/costs?exact=true", headers=app.headers(Role.FINANCE)).status_code == 403


def test_sites_now_have_what_was_just_stored(app: App) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    for expected in (2, 4):
        put_minutes(app.context.lake, minute("ashcombe", 0, now))
        found = {one["site"]: one for one in ask(app, "/sites").json()["sites"]}
        assert found["ashcombe"]["measures"]["calls"] == expected


def test_data_path_names_its_tables(app: App) -> None:
    found = {one["table"]: one for one in ask(app, "/health", Role.VIEWER).json()["tables"]}
    assert (found["calls"]["rows"], found["calls"]["newest"]) == (
        3,
        (NOON + timedelta(minutes=2)).isoformat()[:19] + "Z",
    )
