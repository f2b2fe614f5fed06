"""Pages over a store in which there is nothing yet: each says what would fill it, and by which command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from web_app import application
from web_browser import Watched, browser, sign_in, watched

from api.web.rights import Role


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def bare(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    store = tmp_path_factory.mktemp("bare") / "store"
    with (
        application(store, dashboards=True) as made,
        watched(chromium, str(made.client.base_url)) as found,
    ):
        sign_in(found, made.tokens[Role.ADMIN])
        yield found


@pytest.mark.parametrize(
    "path", ["/", "/site", "/calls", "/streams", "/pairs", "/alerts", "/data-path", "/savings", "/costs", "/access"]
)
def test_an_empty_page_names_the_command_that_fills_it(bare: Watched, path: str) -> None:
    found = bare
    found.page.goto(path)
    found.page.wait_for_selector("#shell-main h1")
    said = found.page.locator("#shell-main .empty code").all_inner_texts()
    assert any(re.match("callgauge [a-z]+", one) for one in said), said
    assert not found.page.locator("#shell-main a[href*='format=']").count(), "nothing can be downloaded"
    assert not found.errors
