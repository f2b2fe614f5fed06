"""The shell and the wallboard in a browser that cannot reach anything but the server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import Browser
from web_app import App, application
from web_browser import browser, sign_in, watched

from analytics.questions.asking import share
from analytics.questions.sites import Measures, SiteNow, SiteState
from analytics.store.arrow_rows import arrow_schema
from analytics.store.schema import SITE_MINUTES
from analytics.store.site_minutes import append_minutes
from api.web.looking import LiveNow
from api.web.rights import Role
from dashboards.pages import pages
from dashboards.parts import MARKS
from dashboards.shell import page_of


def minutes(site: str, now: datetime, poor: int, of: int) -> pa.Table:
    """A minute of a site with so many poor streams."""
    names = [field for field in arrow_schema(SITE_MINUTES) if field.name not in ("month", "step")]
    row = {field.name: 0 for field in names} | {
        "site": site, "start": now.replace(second=0, microsecond=0), "calls": of, "answered": of, "streams": of,
        "rated": of, "poor": poor, "mos_sum": 4.2 * of - poor, "mos_min": 2.0, "packets": 100, "expected": 102,
        "lost": 2, "jitter_sum_ms": 3.0 * of, "jitter_max_ms": 9.0, "busy_seconds": 60.0,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=pa.schema(names))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with application(tmp_path_factory.mktemp("shell") / "store", dashboards=True) as made:
        now = datetime.now(UTC) - timedelta(minutes=2)
        append_minutes(made.context.lake, minutes("ashcombe", now, 30, 60), batch="one", sequence=1)
        append_minutes(made.context.lake, minutes("northgate", now, 0, 60), batch="one", sequence=2)
        yield made


def url(site: App) -> str:
    return str(site.client.base_url)


def test_no_request_leaves_and_nothing_fails(site: App, chromium: Browser) -> None:
    with watched(chromium, url(site)) as found:
        sign_in(found, site.tokens[Role.ADMIN])  # once: an address may try only so often
        for page in pages():
            if page.place is None:
                continue
            found.page.goto(page.path)
            found.page.wait_for_selector("#shell-main h1")
            found.page.wait_for_timeout(500)
            assert not found.outside, page.path
            assert not found.errors, page.path


def test_the_navigation_shows_what_a_role_may_see(site: App, chromium: Browser) -> None:
    for role in (Role.VIEWER, Role.FINANCE):
        with watched(chromium, url(site)) as found:
            sign_in(found, site.tokens[role])
            shown = set(found.page.locator("#shell-head .nav-link").all_inner_texts())
        from api.web.rights import RIGHTS

        assert shown == {page.title for page in pages() if page.place is not None and page.right in RIGHTS[role]}


def test_the_wallboard_says_who_is_bad_and_changes_without_loading(site: App, chromium: Browser) -> None:
    with watched(chromium, url(site)) as found:
        sign_in(found, site.tokens[Role.VIEWER])
        tile = found.page.locator('a.tile[href="/site/ashcombe"]')
        assert "is-bad" in (tile.get_attribute("class") or "")
        assert "bad" in tile.inner_text()
        assert found.page.locator("#wallboard-sentence").inner_text().startswith("1 of 2 sites needs attention")
        assert "50 % poor" in found.page.locator(".attention li").first.inner_text()
        before = found.page.inner_text("#wallboard-as-of")
        now = datetime.now(UTC) - timedelta(minutes=1)
        append_minutes(site.context.lake, minutes("northgate", now, 200, 200), batch="two", sequence=1)
        found.page.wait_for_selector('a.tile.is-bad[href="/site/northgate"]', timeout=10_000)
        assert found.page.inner_text("#wallboard-sentence").startswith("2 of 2 sites need attention")
        assert found.page.inner_text("#wallboard-as-of") != before
        assert not found.errors


TILES = """() => [...document.querySelectorAll('a.tile')].map(one => [
    one.className.match(/is-(\\w+)/)[1], one.querySelector('.mark').className.match(/state-(\\w+)/)[1],
    one.querySelector('.mark').textContent, one.title])"""


def test_word_and_colour_of_a_tile_change_together(tmp_path: Path, chromium: Browser) -> None:
    states = (SiteState.FEW, SiteState.NO_DATA, SiteState.NORMAL, SiteState.BAD)
    until = datetime.now(UTC)

    def look(now: int) -> LiveNow:
        """Every site in another state at each look."""
        turn, found = now // 1_000_000_000, []
        for number in range(40):
            state = states[(number + turn) % len(states)]
            of = Measures(9, 9, 0, 9, share(number, 60), 4.0, 2.0, 1_000, 1_020, 20, 1.96, 3.0, 9.0, 2.0)
            known = None if state is SiteState.NO_DATA else of
            name = f"s{number}"
            found.append(SiteNow(name, name, "office", None, state, state.value, until, until, known, 3.0, None, ()))
        return LiveNow(tuple(found), {})

    with application(tmp_path / "store", dashboards=True) as made, watched(chromium, url(made)) as found:
        made.context.hub.look = look
        while made.context.hub.news.now is None or not made.context.hub.news.now.sites:
            time.sleep(0.1)
        sign_in(found, made.tokens[Role.VIEWER])
        found.page.wait_for_selector("a.tile.changed")
        seen = set()
        for _ in range(25):
            tiles = found.page.evaluate(TILES)
            assert len(tiles) == 40
            for colour, of_mark, word, title in tiles:
                assert colour == of_mark == title
                assert MARKS[colour].word in word
            seen.add(tiles[0][0])
            found.page.wait_for_timeout(200)
        assert len(seen) >= 3
        assert not found.errors


def test_nothing_is_wider_than_a_telephone(site: App, chromium: Browser) -> None:
    with watched(chromium, url(site), width=390, height=844) as found:
        sign_in(found, site.tokens[Role.VIEWER])
        assert found.page.evaluate("document.documentElement.scrollWidth") <= 390


SPILT = """() => [...document.querySelectorAll('.tile .mark, .tiles.large .facts')].filter(one =>
    one.getBoundingClientRect().bottom > one.closest('.tile').getBoundingClientRect().bottom + 0.5 ||
    one.getBoundingClientRect().height < 8).map(one => one.closest('.tile').textContent)"""


def test_a_kiosk_shows_the_word_of_every_tile_however_long_names_are(tmp_path: Path, chromium: Browser) -> None:
    until = datetime.now(UTC)
    of = Measures(9, 9, 0, 9, share(40, 60), 4.0, 2.0, 1_000, 1_020, 20, 1.96, 3.0, 9.0, 2.0)
    found = []
    for number in range(70):
        state = SiteState.BAD if number % 10 == 3 else SiteState.FEW
        kind, name = (
            ("station", f"Station {number}") if number < 16 else ("office", f"Fallowfield Neighbourhood {number}")
        )
        found.append(SiteNow(name, name, kind, None, state, state.value, until, until, of, 3.0, None, ()))
    now = LiveNow(tuple(found), {})
    with (
        application(tmp_path / "store", dashboards=True) as made,
        watched(chromium, url(made), width=1_920, height=1_080) as seen,
    ):
        made.context.hub.look = lambda _now: now
        while made.context.hub.news.now is not now:
            time.sleep(0.1)
        sign_in(seen, made.tokens[Role.VIEWER])
        seen.page.goto("/?kiosk")
        seen.page.wait_for_selector(".kiosk .tile.is-bad")
        assert seen.page.locator(".tile").count() == 70
        assert seen.page.evaluate(SPILT) == []
        said = [one for one in seen.page.locator(".attention li").all() if one.is_visible()]
        assert len(said) == 6
        assert said[-1].inner_text() == "and 2 more"


def test_a_wallboard_without_a_site_begins_when_one_is_heard(tmp_path: Path, chromium: Browser) -> None:
    with application(tmp_path / "store", dashboards=True) as made, watched(chromium, url(made)) as found:
        sign_in(found, made.tokens[Role.VIEWER])
        assert "No site is known yet" in found.page.inner_text("#shell-main h1")
        now = datetime.now(UTC) - timedelta(minutes=1)
        append_minutes(made.context.lake, minutes("ashcombe", now, 30, 60), batch="one", sequence=1)
        found.page.wait_for_selector("a.tile.is-bad", timeout=20_000)
        found.page.wait_for_selector("[data-as-of]")
        before = found.page.inner_text("#wallboard-as-of")
        found.page.wait_for_function(
            "before => document.querySelector('#wallboard-as-of').innerText != before", arg=before
        )
        assert not found.errors


def test_a_kiosk_scrolls_nothing(site: App, chromium: Browser) -> None:
    with watched(chromium, url(site), width=1_920, height=1_080) as found:
        sign_in(found, site.tokens[Role.VIEWER])
        found.page.goto("/?kiosk")
        found.page.wait_for_selector(".kiosk .board")
        assert found.page.evaluate("document.documentElement.scrollHeight") <= 1_080
        assert not found.page.is_visible("#shell-head nav")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system(site: App, chromium: Browser, scheme: str) -> None:
    with watched(chromium, url(site), scheme=scheme) as found:
        sign_in(found, site.tokens[Role.VIEWER])
        assert found.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == scheme


def test_a_wrong_link_leads_people_to_a_page_with_a_way_back_and_programs_to_a_problem(
    site: App, chromium: Browser
) -> None:
    with watched(chromium, url(site)) as found:
        sign_in(found, site.tokens[Role.VIEWER])
        answer = found.page.goto("/nothing-of-ours")
        assert answer is not None
        assert answer.status == 404
        found.page.wait_for_selector("#shell-main h1:has-text('There is no such page.')")
        assert "/nothing-of-ours" in found.page.inner_text("#shell-main")
        found.page.click("#shell-main a:has-text('first page')")
        found.page.wait_for_selector("#wallboard-sentence")
    headers = site.headers(Role.VIEWER)
    for path, accept in (("/nothing-of-ours", "*/*"), ("/api/v1/nothing", "text/html")):
        got = site.client.get(path, headers={**headers, "Accept": accept})
        assert got.status_code == 404
        assert got.headers["content-type"] == "application/problem+json"


def test_the_navigation_of_a_telephone_shows_the_page_that_one_is_on(site: App, chromium: Browser) -> None:
    with watched(chromium, url(site), width=390, height=844) as found:
        sign_in(found, site.tokens[Role.ADMIN])
        found.page.goto("/people")
        found.page.wait_for_selector("#shell-main h1:has-text('may come in')")
        current = found.page.locator(".nav-link[aria-current]")
        current.wait_for()
        box = current.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert "gradient" in found.page.evaluate("getComputedStyle(document.querySelector('nav')).backgroundImage")
        assert "0 people and 5 tokens may come in" in found.page.inner_text("#shell-main h1")


def test_a_path_leads_to_the_longest_page_that_it_begins_with() -> None:
    found = pages()
    first = page_of(found, "/")
    assert first is not None
    assert first[0].path == "/"
    assert page_of(found, "/no-such-page") is None
