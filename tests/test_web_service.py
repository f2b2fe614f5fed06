"""What holds for every answer: its shape, headers, limits, sessions; live events and uploads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from web_app import App, application

from api.web.rights import Role
from api.web.settings import ServeSettings

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "a password that is long"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with application(tmp_path_factory.mktemp("service") / "store", dashboards=True) as made:
        made.context.accounts.add_person("amy", Role.ENGINEER, 0, password=PASSWORD)
        yield made


@pytest.fixture
def browser(site: App) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.client.base_url, timeout=30) as made:
        made.headers["Sec-Fetch-Site"] = "same-origin"
        answer = made.post("/sign-in", data={"name": "amy", "password": PASSWORD, "next": "/calls?q=x"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/calls?q=x"
        yield made


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("DELETE", "/api/v1/self", 405, "method_not_allowed"),
        ("GET", "/api/v1/audit?limit=0", 422, "invalid"),
        ("POST", "/api/v1/tokens", 422, "invalid"),
        ("GET", "/nothing", 404, "not_found"),
    ],
)
def test_every_error_is_a_problem(site: App, method: str, path: str, status: int, code: str) -> None:
    answer = site.client.request(method, path, headers=site.headers(Role.ADMIN))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["type"] == f"urn:callgauge:problem:{code}"
    assert said["status"] == status
    assert said["detail"]
    assert said["instance"] == path.partition("?")[0]
    assert said["request_id"] == answer.headers["x-request-id"]


def test_what_was_sent_is_not_repeated(site: App) -> None:
    answer = site.client.post(
        "/api/v1/tokens", headers=site.headers(Role.ADMIN), json={"name": "+441134960001 \x01", "role": "x"}
    )
    assert answer.status_code == 422
    assert "441134960001" not in answer.text


def test_a_method_that_is_not_there_is_told_the_others(site: App) -> None:
    answer = site.client.request("PATCH", "/api/v1/tokens", headers=site.headers(Role.ADMIN))
    assert answer.headers["allow"] == "GET, POST"


def test_a_request_id_that_was_given_is_kept_and_a_bad_one_is_not(site: App) -> None:
    assert site.client.get("/healthz", headers={"X-Request-ID": "abcd-1234"}).headers["x-request-id"] == "abcd-1234"
    assert site.client.get("/healthz", headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"


@pytest.mark.parametrize("path", ["/healthz", "/sign-in", "/api/v1/self", "/", "/nothing"])
def test_every_answer_has_the_headers_of_security(site: App, path: str) -> None:
    answer = site.client.get(path, headers=site.headers(Role.VIEWER))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "unsafe-eval" not in answer.headers["content-security-policy"]
    assert "http:" not in answer.headers["content-security-policy"].replace("https:", "")
    assert answer.headers["cache-control"] == "no-store"


def test_scripts_of_a_page_are_only_ours(site: App) -> None:
    answer = site.client.get("/", headers=site.headers(Role.VIEWER))
    scripts = answer.headers["content-security-policy"].partition("script-src ")[2].partition(";")[0]
    assert "'unsafe-inline'" not in scripts
    assert "'self'" in scripts
    assert "https://" not in answer.text


def test_a_page_without_a_sign_in_leads_to_it(site: App) -> None:
    answer = site.client.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2F"
    assert site.client.get("/_dash-layout").status_code == 401
    assert site.client.post("/_dash-update-component", json={}).status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(site: App) -> None:
    answer = site.client.post(
        "/sign-in", data={"name": "amy", "password": PASSWORD}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    site.client.cookies.clear()


def test_a_session_works_and_ends_by_signing_out(browser: httpx.Client) -> None:
    assert browser.get("/api/v1/self").json()["name"] == "amy"
    kept = dict(browser.cookies)
    assert browser.post("/sign-out").status_code == 303
    assert httpx.get(browser.base_url.join("/api/v1/self"), cookies=kept).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://elsewhere.example"},
        {"Sec-Fetch-Site": "", "Origin": "null"},
    ],
)
def test_another_site_cannot_use_the_session_to_change_anything(browser: httpx.Client, headers: dict[str, str]) -> None:
    answer = browser.post("/api/v1/uploads", content=b"x", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["type"].endswith(":other_origin")
    assert browser.post("/sign-out", headers=headers).status_code == 403
    assert browser.get("/api/v1/self").status_code == 200


def test_another_site_cannot_sign_anybody_in(site: App) -> None:
    answer = site.client.post(
        "/sign-in", data={"name": "amy", "password": PASSWORD}, headers={"Origin": "http://elsewhere.example"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_wrong_password_lets_nobody_in_and_is_noted(site: App) -> None:
    headers = {"Sec-Fetch-Site": "same-origin"}
    answer = site.client.post("/sign-in", data={"name": "amy", "password": "x"}, headers=headers)
    assert answer.status_code == 401
    log = site.client.get("/api/v1/audit", headers=site.headers(Role.AUDITOR)).json()
    assert log["entries"][0]["what"] == "sign_in.refused"


def test_guessing_passwords_has_to_wait(tmp_path: Path) -> None:
    with application(tmp_path / "store") as site:
        headers = {"Sec-Fetch-Site": "same-origin"}
        answers = [
            site.client.post("/sign-in", data={"name": "amy", "password": "x"}, headers=headers).status_code
            for _ in range(11)
        ]
        assert answers == [401] * 10 + [429]


def test_too_many_requests_have_to_wait(tmp_path: Path) -> None:
    with application(tmp_path / "store", ServeSettings(requests_per_minute=5)) as site:
        answers = [site.client.get("/api/v1/self", headers=site.headers(Role.VIEWER)) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert site.client.get("/api/v1/self", headers=site.headers(Role.ADMIN)).status_code == 200


def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(tmp_path: Path) -> None:
    with application(tmp_path / "store", ServeSettings(body_octets=1_000, upload_octets=1_000)) as site:
        headers = site.headers(Role.ADMIN)
        assert site.client.post("/api/v1/tokens", content=b"x" * 1_001, headers=headers).status_code == 413
        chunks = (b"x" * 100 for _ in range(20))
        assert site.client.post("/api/v1/tokens", content=chunks, headers=headers).status_code == 413
        answer = site.client.post("/api/v1/uploads", content=b"x" * 100_000, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["type"].endswith(":too_large")


def test_each_change_of_accounts_is_in_the_log(site: App) -> None:
    admin = site.headers(Role.ADMIN)
    made = site.client.post("/api/v1/tokens", headers=admin, json={"name": "t", "role": "viewer"}).json()
    site.client.delete(f"/api/v1/tokens/{made['id']}", headers=admin)
    person = {"name": "bob", "role": "viewer", "password": PASSWORD}
    assert site.client.post("/api/v1/users", headers=admin, json=person).status_code == 201
    assert site.client.post("/api/v1/users", headers=admin, json=person).status_code == 409
    site.client.put("/api/v1/users/bob", headers=admin, json={"role": "admin", "numbers": True})
    site.client.delete("/api/v1/users/bob", headers=admin)
    log = site.client.get("/api/v1/audit?limit=5", headers=site.headers(Role.AUDITOR)).json()
    whats = [entry["what"] for entry in log["entries"]]
    assert whats == ["user.remove", "user.change", "user.add", "token.revoke", "token.add"]
    assert log["entries"][1]["more"] == {"to": "admin", "with_numbers": True}
    assert PASSWORD not in json.dumps(log)
    verified = site.client.post("/api/v1/audit/verify", headers=site.headers(Role.AUDITOR)).json()
    assert verified["whole"]


def test_live_events_come_each_with_the_whole_of_what_is_so(site: App) -> None:
    with site.client.stream("GET", "/api/v1/live?events=2", headers=site.headers(Role.VIEWER)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join(answer.iter_text())
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    assert len(events) == 2
    assert all("sites" in event and "at" in event for event in events)


def test_only_so_many_may_watch(tmp_path: Path) -> None:
    with application(tmp_path / "store", ServeSettings(live_clients=0)) as site:
        assert site.client.get("/api/v1/live", headers=site.headers(Role.VIEWER)).status_code == 503


def test_a_capture_becomes_a_report_with_numbers_masked(site: App) -> None:
    capture = next((ROOT / "sample_pcaps").glob("*.pcap*"))
    answer = site.client.post("/api/v1/uploads", content=capture.read_bytes(), headers=site.headers(Role.ENGINEER))
    assert answer.status_code == 200
    report = answer.json()
    assert report["selection"]["numbers_masked"] is True
    assert answer.headers["x-capture-whole"] == "true"
    entry = site.client.get("/api/v1/audit?limit=1", headers=site.headers(Role.AUDITOR)).json()["entries"][0]
    assert entry["what"] == "capture.upload"


def test_numbers_of_a_capture_take_the_right(site: App) -> None:
    answer = site.client.post("/api/v1/uploads?numbers=true", content=b"x", headers=site.headers(Role.ADMIN))
    assert answer.status_code == 403


@pytest.mark.parametrize("content", [b"", b"no capture", b"\xd4\xc3\xb2\xa1"])
def test_what_is_no_capture_is_said_to_be_none(site: App, content: bytes) -> None:
    answer = site.client.post("/api/v1/uploads", content=content, headers=site.headers(Role.ENGINEER))
    assert answer.status_code == 422
    assert "/tmp" not in answer.text
    assert answer.json()["type"].endswith(":no_capture")


def test_a_capture_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    capture = next((ROOT / "sample_pcaps").glob("*.pcap*"))
    with application(tmp_path / "store", ServeSettings(upload_seconds=0.05)) as site:
        answer = site.client.post("/api/v1/uploads", content=capture.read_bytes(), headers=site.headers(Role.ENGINEER))
        assert answer.status_code == 422
        assert answer.json()["type"].endswith(":takes_too_long")
