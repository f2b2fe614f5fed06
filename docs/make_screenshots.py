"""Make the pictures of the documentation from a running demonstration, by playwright and Chromium.

callgauge demo DIR --listen 127.0.0.1:8080
python docs/make_screenshots.py http://127.0.0.1:8080 DIR/people.json docs/images
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
MOST_OCTETS = 250_000


class Picture(NamedTuple):
    """A page to be taken."""

    name: str
    path: str
    width: int
    height: int
    scheme: str
    ready: str
    """What must be there first."""


PICTURES = (
    Picture("wallboard", "/", 1_440, 900, "dark", "a.tile"),
    Picture("alerts", "/alerts", 1_440, 900, "light", ".js-plotly-plot .main-svg"),
    Picture("call", "", 1_440, 1_160, "light", "#call-streams .main-svg"),
    Picture("savings", "/savings", 1_440, 900, "light", ".js-plotly-plot .main-svg"),
    Picture("telephone", "/", 390, 844, "dark", "a.tile"),
)


def worst_call(page: Page) -> str:
    """Return the path of a call that sounds bad."""
    page.goto("/calls?q=mos<3.4+state:completed&order=newest&since=2h")
    return str(page.locator(".ag-cell a").first.get_attribute("href"))


def main(url: str, people: str, folder: str, *names: str) -> None:
    """Take each picture, or those that are named, signed in as somebody who sees all pages."""
    password = json.loads(Path(people).read_text(encoding="ascii"))["admin"]
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for picture in PICTURES:
            if names and picture.name not in names:
                continue
            context = browser.new_context(
                viewport={"width": picture.width, "height": picture.height},
                color_scheme="dark" if picture.scheme == "dark" else "light",
                base_url=url,
            )
            page = context.new_page()
            page.goto("/sign-in")
            page.fill("input[name=name]", "admin")
            page.fill("input[name=password]", password)
            page.click("button[type=submit]")
            page.wait_for_selector("#shell-main h1")
            page.goto(picture.path or worst_call(page))
            page.wait_for_selector(picture.ready, timeout=60_000)
            page.wait_for_timeout(1_500)
            path = out / f"{picture.name}.png"
            page.screenshot(path=str(path))
            size = path.stat().st_size
            sys.stderr.write(f"{path} {size:,} octets{'' if size < MOST_OCTETS else ': TOO LONG'}\n")
            context.close()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
