"""What pages say when the server under them is gone."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from web_app import served
from web_browser import browser, sign_in, watched

from dashboards.parts import MARKS


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


def test_a_page_says_since_when_it_is_not_renewed_and_a_filter_keeps_it(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = tmp_path_factory.mktemp("dead") / "store"
    with served(store) as server, watched(chromium, server.url) as old, watched(chromium, server.url) as listed:
        sign_in(old, server.token)
        listed.page.context.add_cookies(old.page.context.cookies())  # type: ignore[arg-type]
        old.page.clock.install()
        old.page.goto("/alerts")
        old.page.wait_for_selector("#shell-main h1")
        while not old.page.locator("[data-as-of]").count():
            old.page.clock.run_for(10_000)
            old.page.wait_for_timeout(500)
        listed.page.goto("/calls")
        listed.page.fill("input[name=q]", "state:failed")
        assert not old.page.locator("body.stale").count()
        server.process.send_signal(signal.SIGSTOP)
        at = old.page.locator("[data-as-of]").first.get_attribute("data-as-of")
        old.page.fill("#alerts-why", "what somebody typed")
        old.page.clock.run_for(33_000)
        expect(old.page.locator("body.stale #shell-notes")).to_contain_text(f"since {at}")
        ground = "getComputedStyle(document.querySelector('.page')).backgroundImage"
        assert "repeating-linear-gradient" in old.page.evaluate(ground)
        listed.page.press("input[name=q]", "Enter")
        expect(listed.page.locator("#shell-notes")).to_contain_text("The server does not answer", timeout=20_000)
        assert listed.page.locator("#shell-main h1").count() == 1
        assert listed.page.input_value("input[name=q]") == "state:failed"
        old.page.clock.run_for(60_000)
        server.process.send_signal(signal.SIGCONT)
        while old.page.locator("body.stale").count():
            old.page.clock.run_for(10_000)
            old.page.wait_for_timeout(500)
        assert not old.page.inner_text("#shell-notes")
        assert old.page.input_value("#alerts-why") == "what somebody typed"
        server.process.kill()
        server.process.wait()
        listed.page.press("input[name=q]", "Enter")
        listed.page.wait_for_timeout(1_000)
        assert listed.page.input_value("input[name=q]") == "state:failed"


def test_no_sign_is_an_emoji_or_put_together_of_several() -> None:
    for one in MARKS.values():
        assert re.fullmatch("|[a-z]+|[\u25a0-\u25ff]", one.shape), one
