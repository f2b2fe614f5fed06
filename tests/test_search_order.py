"""Orders of searches: every row once, in one order, whatever the length of pages; and no cursor breaks anything."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from call_facts import NOON, call, lake_at, put, stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web_app import App, application

from analytics.questions.asking import QuestionError, key_number, pack
from analytics.questions.calls import Order, Search, hold_calls, search_calls
from analytics.questions.path import imports
from analytics.questions.streams import search_streams
from analytics.store.lake import Lake
from api.web.rights import Role

DAY = timedelta(days=1)
SPAN = Search(NOON - 3 * DAY, NOON + DAY)
MOS = (2.1, None, 4.2, None, 3.6, 2.1, None)
ROWS = [call(n, 40 * (n // 2) - 86_400 * (n % 3), mos=MOS[n % 7], state="failed" if n % 5 == 0 else "completed",
             streams=0) for n in range(60)]  # fmt: skip
STREAMS = [stream(n, None, 40 * (n // 2), mos=MOS[n % 7]) for n in range(40)]
SURROGATE = "\ud800"


@pytest.fixture(scope="module", params=["files", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = lake_at(tmp_path_factory.mktemp("order"))
    put(made, "calls", *ROWS[:30])
    put(made, "calls", *ROWS[30:])
    put(made, "streams", *STREAMS)
    if request.param == "memory":
        hold_calls(made)
    return made


def ordered(rows: list[dict[str, Any]], key: str, order: Order) -> list[int]:
    """All rows in their order, by Python alone."""
    if order is Order.WORST:
        chosen = sorted(rows, key=lambda row: (row["mos"] is None, row["mos"] or 0.0, row[key]))
    else:
        chosen = sorted(rows, key=lambda row: (row["start"], row[key]), reverse=order is Order.NEWEST)
    return [row[key] for row in chosen]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.sampled_from(Order), limits=st.lists(st.integers(1, 70), min_size=1, max_size=4))
def test_pages_of_any_length_hold_all_rows_in_their_order(lake: Lake, order: Order, limits: list[int]) -> None:
    for search, rows, key in ((search_calls, ROWS, "call_key"), (search_streams, STREAMS, "stream_key")):
        seen: list[int] = []
        cursor, turn = None, 0
        while True:
            asked = Search(SPAN.since, SPAN.until, order=order)
            page = search(lake, asked, limits[turn % len(limits)], cursor)
            seen += [key_number(row.key) for row in page.rows]
            cursor, turn = page.cursor, turn + 1
            if cursor is None:
                break
        assert seen == ordered(rows, key, order)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with application(tmp_path_factory.mktemp("order") / "store") as made:
        put(made.context.lake, "calls", *ROWS)
        put(made.context.lake, "streams", *STREAMS)
        yield made


@pytest.mark.parametrize("limit", [7, 100, 1_000, None])
@pytest.mark.parametrize("form", ["json", "csv", "ndjson"])
@pytest.mark.parametrize("table", ["calls", "streams"])
def test_worst_first_loses_nothing_in_any_form(app: App, table: str, form: str, limit: int | None) -> None:
    query: dict[str, Any] = {"since": "2025-09-01T00:00:00Z", "until": "2025-10-03T00:00:00Z", "order": "worst"}
    headers = app.headers(Role.ENGINEER)
    count = len(ROWS if table == "calls" else STREAMS)
    if form == "json":
        query["limit"] = limit or 50
        keys: list[str] = []
        path: str | None = f"/api/v1/{table}"
        while path:
            answer = app.client.get(path, headers=headers, params=query or None).json()
            keys += [row["key"] for row in answer[table]]
            path, query = answer["next"], {}
        assert len(keys) == len(set(keys)) == count
        return
    query |= {"format": form} | ({} if limit is None else {"limit": limit})
    lines = app.client.get(f"/api/v1/{table}", headers=headers, params=query).text.strip().splitlines()
    assert len(lines) - (form == "csv") == min(count, limit or count)


HOSTILE = [10**40, -(10**18), 10**18, -(2**63) - 1, 2**63, 1e308, SURROGATE, "\x00", "", None, True, [], {}, -1, 0, 3.6]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.sampled_from(Order),
    place=st.integers(0, 5),
    value=st.sampled_from(HOSTILE) | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
)
def test_a_changed_cursor_is_refused_or_asks_for_rows(lake: Lake, order: Order, place: int, value: Any) -> None:
    search = Search(SPAN.since, SPAN.until, order=order)
    cursor = search_calls(lake, search, 5).cursor
    assert cursor is not None
    values = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    values[place] = value
    for find in (search_calls, search_streams):
        try:
            find(lake, search, 5, pack(values))
        except QuestionError:
            continue


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(HOSTILE) | st.integers(), min_size=3, max_size=3))
def test_a_changed_cursor_of_imports_is_refused_or_asks_for_rows(lake: Lake, values: list[Any]) -> None:
    try:
        imports(lake, NOON - DAY, NOON, cursor=pack(values))
    except QuestionError:
        return


@pytest.mark.parametrize("value", [10**40, -(10**20), SURROGATE])
@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_hostile_cursors_are_answered_as_problems(app: App, place: int, value: Any) -> None:
    query: dict[str, str | int] = {"since": "2025-09-01T00:00:00Z", "until": "2025-10-03T00:00:00Z", "limit": 5}
    headers = app.headers(Role.ENGINEER)
    cursor = app.client.get("/api/v1/calls", headers=headers, params=query).json()["cursor"]
    values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    values[place] = value
    answer = app.client.get("/api/v1/calls", headers=headers, params=query | {"cursor": pack(values)})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:callgauge:problem:invalid"
