"""Every page in a browser, signed in as every role, over a small demonstration that a process serves.

No request may leave, nothing may be said in the console, and at 390 px nothing is wider than the screen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser
from web_app import served
from web_browser import Watched, browser, sign_in, watched

from analytics.store.lake import Lake
from api.demo_past import ESTATE, STORE, TRUTH, DemoSize, make_past
from api.web.accounts import Accounts
from api.web.rights import RIGHTS, Right, Role
from collector.simulator.faults import CONGESTED_SITE, FRAUD_SITE, MISMARKED_SITE, ONE_WAY_SITE, FaultKind
from dashboards.pages import pages

SENTENCES = {
    "/": "site",
    "/site": "Which site?",
    "/calls": "calls from",
    "/streams": "streams from",
    "/call": "Which call?",
    "/pairs": "ways",
    "/alerts": "alert",
    "/data-path": "run",
    "/savings": "saved",
    "/costs": "£",
    "/access": "called",
    "/audit": "lines are in the log",
    "/people": "may come in",
}
"""Words of the sentence that each page begins with."""
DRAWN = ("/calls", "/streams", "/pairs", "/savings", "/costs", "/access")
"""Pages whose figures need nothing but the demonstration's past."""
NARROW, WIDE = 390, 1_440


class Site(NamedTuple):
    """A server, and a token of each role."""

    url: str
    tokens: dict[Role, str]
    call: str
    """Key of a call with streams and a ladder."""
    truth: dict[str, Any]
    """What was simulated."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def site(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("demo")
    now = datetime.now(UTC).replace(microsecond=0)
    make_past(folder, now, DemoSize(months=1, calls_a_day=200))
    with closing(Lake.open(folder / STORE)) as lake, closing(lake.connect()) as connection:
        lake.view(connection, "calls")
        found = connection.execute(
            "SELECT call_key FROM calls WHERE mos IS NOT NULL AND start > ? ORDER BY start DESC LIMIT 1",
            [now - timedelta(days=2)],
        ).fetchone()
        assert found is not None
    limit = {"CALLGAUGE_SERVE_REQUESTS_PER_MINUTE": "1000000"}
    with served(folder / STORE, "--estate", str(folder / ESTATE), environment=limit) as server:
        with closing(Accounts(folder / STORE)) as accounts:
            tokens = {role: accounts.add_token(role.value, role, int(now.timestamp()) * 10**9)[1] for role in Role}
        yield Site(server.url, tokens, f"{found[0] % (1 << 64):016x}", json.loads((folder / TRUTH).read_text("ascii")))


@pytest.fixture(scope="module")
def roles(site: Site, chromium: Browser) -> Iterator[dict[Role, Watched]]:
    """A browser's window of each role, signed in."""
    with ExitStack() as stack:
        found = {}
        for role in Role:
            window = stack.enter_context(watched(chromium, site.url, width=WIDE))
            sign_in(window, site.tokens[role])
            found[role] = window
        yield found


@pytest.fixture(scope="module")
def telephone(site: Site, chromium: Browser) -> Iterator[Watched]:
    with watched(chromium, site.url, width=NARROW, height=844) as found:
        sign_in(found, site.tokens[Role.ADMIN])
        yield found


def shown(found: Watched, path: str) -> str:
    """Go to a page and return its sentence."""
    found.page.goto(path)
    found.page.wait_for_selector("#shell-main h1")
    return found.page.inner_text("#shell-main h1")


def quiet(found: Watched, path: str) -> None:
    """Nothing was wrong so far, and nothing was asked of anybody else."""
    assert not found.errors, path
    assert not found.outside, path


def test_every_page_has_its_sentence_here() -> None:
    assert {page.path for page in pages()} == set(SENTENCES)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_sees_the_pages_it_may_and_is_told_of_the_others(roles: dict[Role, Watched], role: Role) -> None:
    found = roles[role]
    for page in pages():
        said = shown(found, page.path)
        if page.right in RIGHTS[role]:
            assert SENTENCES[page.path] in said, page.path
            assert found.page.locator("#shell-main .failed").count() == 0, page.path
        else:
            assert said == page.title
            assert page.right.value in found.page.inner_text("#shell-main .failed")
        quiet(found, page.path)


def test_one_site_and_one_call_say_what_is_known_of_them(site: Site, roles: dict[Role, Watched]) -> None:
    found = roles[Role.ENGINEER]
    shown(found, f"/site/{CONGESTED_SITE}?since=7d")
    found.page.wait_for_selector("#site-lanes .main-svg")
    assert "Completed" in shown(found, f"/call/{site.call}")
    found.page.wait_for_selector("#call-streams .main-svg")
    assert found.page.locator(".ladder .arrow").count() >= 4
    quiet(found, "site and call")


def test_a_site_in_a_span_that_is_over_says_the_same_tomorrow(site: Site, roles: dict[Role, Watched]) -> None:
    found = roles[Role.VIEWER]
    since, until, words = days(site, 1)
    said = shown(found, f"/site/{MISMARKED_SITE}?{words}")
    streams = sum(
        counts[3]
        for hour, counts in site.truth["hours"][MISMARKED_SITE].items()
        if since <= int(hour) < until
    )  # fmt: skip
    assert f"of {streams:,} streams poor" in said
    assert "00:00 to" in said
    assert found.page.locator("[data-as-of]").count() == 0
    found.page.wait_for_selector("#site-lanes .main-svg")
    spanned = found.page.evaluate("document.querySelector('#site-lanes .js-plotly-plot').layout.xaxis.range")
    local = [datetime.fromtimestamp(at, ZoneInfo(site.truth["zone"])) for at in (since, until)]
    assert [one[:16].replace("T", " ") for one in spanned] == [f"{at:%Y-%m-%d %H:%M}" for at in local]


def test_a_site_tells_of_marks_and_capture_to_all_of_devices_and_money_to_some(
    site: Site, roles: dict[Role, Watched]
) -> None:
    for role in (Role.VIEWER, Role.ENGINEER, Role.FINANCE):
        found = roles[role]
        shown(found, f"/site/{MISMARKED_SITE}?since=7d")
        found.page.wait_for_selector("[data-as-of]")
        body = found.page.inner_text("#shell-main")
        assert "0 (no priority): " in body.partition("DSCP of what it sent")[2].partition("received")[0]
        assert "Capture now" in body
        assert ("Most poor streams first" in body) == (Right.CALLS in RIGHTS[role])
        assert found.page.locator("#site-cost").count() == (Right.MONEY in RIGHTS[role])
        if Right.MONEY in RIGHTS[role]:
            found.page.wait_for_selector("#site-cost:has-text('£')")
        quiet(found, role)


def table(found: Watched, heading: str) -> list[list[str]]:
    """Cells of the table that begins with the heading, opened where it is folded."""
    found.page.wait_for_selector("#shell-main table.plain", state="attached")
    rows: list[list[str]] = found.page.evaluate(
        "heading => { const found = [...document.querySelectorAll('#shell-main table')]"
        ".find(one => one.rows[0].innerText === '' ? one.rows[0].textContent.startsWith(heading)"
        " : one.rows[0].innerText.startsWith(heading));"
        "return [...found.rows].map(row => [...row.cells].map(cell => cell.textContent.trim())); }",
        heading,
    )
    return rows


def days(site: Site, ago: int) -> tuple[int, int, str]:
    """Begin and end of the last whole days before the end of what was simulated, and how a page is asked for them."""
    zone = ZoneInfo(site.truth["zone"])
    until = datetime.fromtimestamp(site.truth["end"], zone).replace(hour=0, minute=0, second=0, microsecond=0)
    since = (until - timedelta(days=ago)).astimezone(UTC)
    words = f"since={since:%Y-%m-%dT%H:%M:%SZ}&until={until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return int(since.timestamp()), int(until.timestamp()), words


@pytest.mark.parametrize("place", [CONGESTED_SITE, ONE_WAY_SITE, MISMARKED_SITE])
def test_the_page_of_a_site_says_of_each_hour_what_was_simulated(
    site: Site, roles: dict[Role, Watched], place: str
) -> None:
    found = roles[Role.ENGINEER]
    since, until, words = days(site, 7)
    shown(found, f"/site/{place}?{words}")
    heading, *rows = table(found, "From")
    at = {name.split(" ")[0]: number for number, name in enumerate(heading)}
    zone = ZoneInfo(site.truth["zone"])
    told = {row[0]: (row[at["Loss"]], row[at["Failed"]]) for row in rows if row[at["Loss"]] != "—"}
    true = {
        f"{datetime.fromtimestamp(int(hour), zone):%-d %b %H:%M}": (f"{100 * lost / expected:.2f}", f"{failed:.2f}")
        for hour, (_, _, failed, _, expected, lost) in site.truth["hours"][place].items()
        if since <= int(hour) < until and expected
    }
    assert told == true
    assert len(true) > 20


def test_lists_count_the_calls_and_streams_that_were_simulated(site: Site, roles: dict[Role, Watched]) -> None:
    found = roles[Role.ENGINEER]
    for ago in (1, 3, 7):
        since, until, words = days(site, ago)
        hours = [one for of_site in site.truth["hours"].values() for one in of_site.items()]
        within = [counts for hour, counts in hours if since <= int(hour) < until]
        for path, column in (("/calls", 0), ("/streams", 3)):
            said = shown(found, f"{path}?{words}").split(" ")[0].replace(",", "")
            assert said == str(sum(one[column] for one in within)), (path, ago)


def test_costs_show_the_fraud_at_its_site_alone(site: Site, roles: dict[Role, Watched]) -> None:
    fault = next(one for one in site.truth["faults"] if one["kind"] == FaultKind.TOLL_FRAUD)
    month = datetime.fromtimestamp(fault["since"], ZoneInfo(site.truth["zone"]))
    found = roles[Role.FINANCE]
    shown(found, f"/costs?month={month:%Y-%m}")
    premium = [row for row in table(found, "SiteClass") if row[1] == "premium_09"]
    assert [(row[0], row[2]) for row in premium] == [(FRAUD_SITE, "120")]


@pytest.mark.parametrize("path", DRAWN)
def test_each_figure_has_its_table(roles: dict[Role, Watched], path: str) -> None:
    found = roles[Role.ADMIN]
    shown(found, f"{path}?since=7d" if path in ("/calls", "/streams", "/pairs") else path)
    found.page.wait_for_selector("#shell-main .js-plotly-plot .main-svg")
    figures = found.page.locator("#shell-main .js-plotly-plot").count()
    tables = found.page.locator("#shell-main summary", has_text="Show as table").count()
    plain = found.page.locator("#shell-main table.plain").count()
    assert figures >= 1
    assert tables >= figures or plain >= figures
    quiet(found, path)


def test_a_click_on_the_map_leads_to_the_pair_and_keeps_the_span(site: Site, roles: dict[Role, Watched]) -> None:
    found = roles[Role.VIEWER]
    _, _, words = days(site, 7)
    shown(found, f"/pairs?{words}")
    found.page.wait_for_selector("#pairs-map .main-svg")
    cell = found.page.locator("#pairs-map .scatterlayer .point").first
    cell.scroll_into_view_if_needed()
    at = cell.bounding_box()
    assert at is not None
    found.page.mouse.click(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    found.page.wait_for_url("**/pairs/*/*")
    found.page.wait_for_selector("#pairs-map", state="detached")
    found.page.wait_for_selector("#shell-main td a[href^='/streams']")
    assert found.page.locator("#shell-main td a[href^='/streams']").count() in (1, 2)
    assert found.page.url.endswith(words.replace("Z", "+00:00").replace(":", "%3A").replace("+", "%2B"))
    quiet(found, "/pairs")


BUTTONS = """() => [...document.querySelectorAll('#shell-main .js-plotly-plot .modebar-btn')].map(one => {
    one.click();
    return one.dataset.title || one.dataset.attr || one.href;
})"""
LINKS = "() => [...document.querySelectorAll('a[href], form[action]')].map(one => one.href || one.action)"


def test_no_button_of_a_figure_and_no_link_leads_outside(site: Site, roles: dict[Role, Watched]) -> None:
    found, opened = roles[Role.ADMIN], list[str]()
    found.page.context.on("page", lambda other: opened.append(other.url))
    plots = (f"/site/{CONGESTED_SITE}?since=7d", f"/call/{site.call}", f"/costs?site={FRAUD_SITE}")
    for path in (*SENTENCES, *plots):
        shown(found, path)
        if path in (*DRAWN, *plots):
            found.page.wait_for_selector("#shell-main .js-plotly-plot .modebar-btn", state="attached")
        pressed = found.page.evaluate(BUTTONS)
        assert pressed or path not in (*DRAWN, *plots)
        assert not [title for title in pressed if title and ("cloud" in title.lower() or "share" in title.lower())]
        assert found.page.locator("[class*=cloud-dialog]").count() == 0, path
        assert all(href.startswith((site.url, "javascript:")) for href in found.page.evaluate(LINKS)), path
        quiet(found, path)
    assert not opened


def test_nothing_is_wider_than_a_telephone(site: Site, telephone: Watched) -> None:
    for path in (*SENTENCES, f"/site/{CONGESTED_SITE}?since=7d", f"/call/{site.call}"):
        shown(telephone, path)
        telephone.page.wait_for_timeout(150)
        assert telephone.page.evaluate("document.documentElement.scrollWidth") <= NARROW, path
        quiet(telephone, path)


def test_the_keyboard_reaches_every_link_and_shows_where_it_is(roles: dict[Role, Watched]) -> None:
    found = roles[Role.ENGINEER]
    shown(found, "/data-path")
    found.page.evaluate("document.body.focus()")
    wanted = found.page.locator("a[href]:visible, button:visible, summary:visible").count()
    reached = set()
    for _ in range(wanted + 60):
        found.page.keyboard.press("Tab")
        at = found.page.evaluate(
            "(() => { const e = document.activeElement; if (!e || e === document.body) return null;"
            "const all = [...document.querySelectorAll('a[href], button, summary')];"
            "return [all.indexOf(e), getComputedStyle(e).outlineStyle, e.className]; })()"
        )
        if at is not None and at[0] >= 0:
            assert at[1] != "none", at
            reached.add(at[0])
    assert len(reached) >= wanted


def test_an_alert_is_silenced_and_told_of_again_by_those_who_may(roles: dict[Role, Watched]) -> None:
    for role in Role:
        found = roles[role]
        shown(found, "/alerts")
        buttons = found.page.locator("#shell-main button:has-text('Silence')").count()
        if Right.ACT not in RIGHTS[role]:
            assert not buttons, role
        quiet(found, "/alerts")


def test_the_log_can_be_verified_on_its_page(roles: dict[Role, Watched]) -> None:
    found = roles[Role.AUDITOR]
    shown(found, "/audit")
    found.page.click("#audit-verify")
    found.page.wait_for_selector("#audit-verified span")
    assert "Whole" in found.page.inner_text("#audit-verified")
    quiet(found, "/audit")


def test_a_figure_of_a_report_opens_its_proof(roles: dict[Role, Watched]) -> None:
    found = roles[Role.FINANCE]
    shown(found, "/savings")
    found.page.locator("#shell-main summary").first.click()
    found.page.locator("[data-figure]:visible").first.click()
    found.page.wait_for_selector(".proof .panel")
    quiet(found, "/savings")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_on_their_ground(site: Site, chromium: Browser, scheme: str) -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.2 1.4.3), of plain and of quiet words."""
    with watched(chromium, site.url, scheme=scheme) as found:
        sign_in(found, site.tokens[Role.ADMIN])
        shown(found, "/data-path")
        colours = found.page.evaluate(
            "['--ink', '--quiet', '--link', '--vermilion-ink', '--amber-ink', '--ground', '--panel'].map("
            "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
        )
        *inks, ground, panel = [luminance(colour) for colour in colours]
        for ink in inks:
            for behind in (ground, panel):
                high, low = max(ink, behind), min(ink, behind)
                assert (high + 0.05) / (low + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    plain = colour.lstrip("#")
    whole = "".join(2 * digit for digit in plain) if len(plain) == 3 else plain
    parts = [int(whole[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
