"""A browser whose way to the outside is cut, and which tells of every error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")


class Watched(NamedTuple):
    """A page, and what was wrong on it."""

    page: Page
    errors: list[str]
    """Errors in the console, exceptions and failed requests."""
    outside: list[str]
    """Requests to anywhere else."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium, where it is."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield made
        made.close()


@contextmanager
def watched(
    made: Browser, url: str, *, width: int = 1_440, height: int = 900, scheme: str = "light"
) -> Iterator[Watched]:
    """A page of its own in a browser, on a server at `url`."""
    context = made.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        base_url=url,
    )
    page = context.new_page()
    page.set_default_timeout(90_000)  # other tests may keep the machine busy
    found = Watched(page, [], [])

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.errors.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            found.outside.append(request.url)

    page.on("console", said)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", asked)
    yield found
    context.close()


def sign_in(found: Watched, token: str) -> None:
    """Sign in by a token."""
    found.page.goto("/sign-in")
    found.page.fill("#password", token)
    found.page.click("button[type=submit]")
    found.page.wait_for_selector("#shell-main h1")
