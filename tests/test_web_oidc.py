"""Sign-in by OpenID Connect, against a provider in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from oidc_provider import CLIENT, SECRET
from web_app import QUIET, App, application, free_port

from api.web.oidc import role_of
from api.web.rights import Role
from api.web.settings import OidcSettings


class Signing(NamedTuple):
    site: App
    issuer: str
    opened: ExitStack

    def sign_in(self, person: dict[str, Any], fault: str = "") -> tuple[httpx.Client, httpx.Response]:
        """Go the way of a browser; the browser and the answer at its end."""
        httpx.post(f"{self.issuer}/next", json={"person": person, "fault": fault}).raise_for_status()
        browser = self.opened.enter_context(httpx.Client(base_url=self.site.client.base_url, timeout=30))
        answer = browser.get("/sign-in/oidc?next=/api/v1/self")
        for _ in range(6):
            if not answer.is_redirect:
                break
            answer = browser.get(answer.headers["location"], headers={"Accept": "text/html"})
        return browser, answer


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signing]:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    provider = subprocess.Popen([sys.executable, str(Path(__file__).with_name("oidc_provider.py")), str(port)])
    try:
        for _ in range(200):
            try:
                httpx.get(f"{issuer}/keys")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        oidc = OidcSettings(
            issuer=issuer, client_id=CLIENT, client_secret=SECRET, admins=("chiefs",), viewers=("staff",)
        )
        with application(tmp_path_factory.mktemp("oidc") / "store", QUIET, oidc) as site, ExitStack() as opened:
            yield Signing(site, issuer, opened)
    finally:
        provider.terminate()
        provider.wait(10)


AMY = {"sub": "1", "preferred_username": "amy", "groups": ["staff"]}


def test_a_person_comes_in_with_the_role_of_the_group(signing: Signing) -> None:
    browser, answer = signing.sign_in(AMY)
    assert answer.json()["name"] == "amy"
    assert answer.json()["role"] == "viewer"
    assert "callgauge_oidc" not in {cookie.name for cookie in browser.cookies.jar if cookie.value}


def test_the_role_is_that_of_today(signing: Signing) -> None:
    signing.sign_in({"sub": "2", "preferred_username": "bob", "groups": ["staff"]})
    _, answer = signing.sign_in({"sub": "2", "preferred_username": "bob", "groups": ["staff", "chiefs"]})
    assert answer.json()["role"] == "admin"


def test_who_is_in_no_group_stays_outside(signing: Signing) -> None:
    browser, answer = signing.sign_in({"sub": "3", "preferred_username": "eve", "groups": ["others"]})
    assert answer.status_code == 403
    assert "none of the groups" in answer.text
    assert browser.get("/api/v1/self").status_code == 401


def test_a_name_that_somebody_else_has_is_not_taken_over(signing: Signing) -> None:
    signing.site.context.accounts.add_person("carl", Role.ADMIN, 0, password="a long password of carl")
    _, answer = signing.sign_in({"sub": "4", "preferred_username": "carl", "groups": ["staff"]})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "fault",
    ["nonce", "issuer", "audience", "expired", "signature", "unsigned", "other_person", "refused", "state"],
)
def test_an_answer_that_is_not_right_lets_nobody_in(signing: Signing, fault: str) -> None:
    browser, answer = signing.sign_in(AMY, fault)
    assert answer.status_code == 403
    assert browser.get("/api/v1/self").status_code == 401


def test_a_provider_that_is_away_leaves_the_password(tmp_path: Path) -> None:
    oidc = OidcSettings(issuer=f"http://127.0.0.1:{free_port()}", client_id=CLIENT, client_secret=SECRET)
    with application(tmp_path / "store", QUIET, oidc) as site:
        answer = site.client.get("/sign-in/oidc")
        assert answer.status_code == 503
        assert 'name="password"' in answer.text


@pytest.mark.parametrize(
    ("groups", "role"),
    [(["staff"], Role.VIEWER), ("chiefs", Role.ADMIN), (["chiefs", "staff"], Role.ADMIN), ([], None), (None, None)],
)
def test_the_highest_group_counts(groups: object, role: Role | None) -> None:
    assert role_of(OidcSettings(admins=("chiefs",), viewers=("staff",)), groups) is role
