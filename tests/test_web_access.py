"""Who may see what: every operation of the OpenAPI document against every role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_app import App, application

from api.web.rights import RIGHTS, Right, Role

EVERYBODY = "viewer engineer finance auditor admin"
TABLE = {
    "self": EVERYBODY,
    "sites": EVERYBODY,
    "series": EVERYBODY,
    "pairs": EVERYBODY,
    "live": EVERYBODY,
    "health": EVERYBODY,
    "imports": EVERYBODY,
    "alerts": EVERYBODY,
    "rules": EVERYBODY,
    "maintenance": EVERYBODY,
    "calls": "engineer admin",
    "streams": "engineer admin",
    "uploads": "engineer admin",
    "costs": "finance admin",
    "savings": "finance admin",
    "reports": "finance admin",
    "audit": "auditor admin",
    "tokens": "admin",
    "users": "admin",
    "webhooks": "admin",
    "deliveries": "admin",
}
"""Roles that may come in, by the first part of the path."""
OTHERS = {
    "GET /savings": EVERYBODY,
}
"""Operations that differ from the rest below their path."""
CHANGES_ALERTS = "engineer admin"
"""Who may do what changes an alert or keeps it silent."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with application(tmp_path_factory.mktemp("access") / "store") as made:
        yield made


def operations(site: App) -> list[tuple[str, str, dict[str, Any]]]:
    paths = site.app.openapi()["paths"]
    return [
        (method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]


def expected(method: str, path: str) -> frozenset[str]:
    below = path.removeprefix("/api/v1")
    first = below.split("/")[1]
    said = OTHERS.get(f"{method} {below}", TABLE.get(first, ""))
    if method != "GET" and first in {"alerts", "silences", "rules", "maintenance"}:
        said = CHANGES_ALERTS
    return frozenset(said.split())


def filled(path: str, operation: dict[str, Any]) -> str:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            examples = parameter.get("examples") or parameter["schema"].get("examples") or ["x"]
            example = next(iter(examples.values()))["value"] if isinstance(examples, dict) else examples[0]
            path = path.replace("{" + parameter["name"] + "}", str(example))
    return re.sub(r"\{.*?\}", "x", path)


def ask(site: App, method: str, path: str, operation: dict[str, Any], headers: dict[str, str]) -> int:
    url = filled(path, operation)
    if path.endswith("/live"):
        url += "?events=1"
    body: dict[str, Any] | None = {} if operation.get("requestBody") and "uploads" not in path else None
    return int(site.client.request(method, url, headers=headers, json=body).status_code)


def test_every_operation_is_in_the_table(site: App) -> None:
    unknown = {path for method, path, _ in operations(site) if not expected(method, path)}
    assert not unknown
    assert len(operations(site)) > 10


def test_each_role_gets_what_the_table_says_and_nothing_else(site: App) -> None:
    wrong = []
    for method, path, operation in operations(site):
        for role in Role:
            status = ask(site, method, path, operation, site.headers(role))
            allowed = role.value in expected(method, path)
            if (status == 403) == allowed or status in (401, 500):
                wrong.append(f"{method} {path} as {role}: {status}")
    assert not wrong


def test_nobody_gets_anything(site: App) -> None:
    for method, path, operation in operations(site):
        for headers in ({}, {"Authorization": "Bearer cg_00000000_none"}, {"Cookie": "callgauge_session=none"}):
            assert ask(site, method, path, operation, headers) == 401, f"{method} {path}"


def test_the_document_says_who_may(site: App) -> None:
    for method, path, operation in operations(site):
        assert frozenset(operation["x-roles"]) == expected(method, path), f"{method} {path}"


def test_no_role_has_the_right_to_numbers_by_itself() -> None:
    assert all(Right.NUMBERS not in rights for rights in RIGHTS.values())


def test_metrics_take_a_token(site: App) -> None:
    assert site.client.get("/metrics").status_code == 401
    answer = site.client.get("/metrics", headers=site.headers(Role.VIEWER))
    assert answer.status_code == 200
    assert "callgauge_http_requests_total" in answer.text


def test_an_operation_that_names_no_right_does_not_start(site: App, tmp_path: Path) -> None:
    from fastapi import FastAPI

    from api.web.app import check_rights

    app = FastAPI()

    @app.get("/api/v1/open")
    def open_() -> None:
        return None

    with pytest.raises(ValueError, match="/api/v1/open names no right"):
        check_rights(app)
