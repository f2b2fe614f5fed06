"""Where links of messages lead to, and what is said where they lead nowhere."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest
from alert_facts import append, interval

from analytics.alerts.facts import Matcher
from analytics.store.lake import Lake
from api.alerts import outbox
from api.alerts.book import Book
from api.alerts.links import link_base, link_warning
from api.alerts.running import run_alerts
from api.main import shell
from api.settings import Settings
from api.web.settings import ServeSettings


def settings(listen: str, public_url: str = "") -> Settings:
    return replace(Settings(), serve=ServeSettings(listen=listen, public_url=public_url))


@pytest.mark.parametrize(
    ("listen", "public_url", "base", "said"),
    [
        ("0.0.0.0:8080", "https://cg.example", "https://cg.example", ""),
        ("192.0.2.7:8080", "", "http://192.0.2.7:8080", ""),
        ("[2001:db8::7]:8080", "", "http://[2001:db8::7]:8080", ""),
        ("desk.example:80", "", "http://desk.example:80", ""),
        ("0.0.0.0:8080", "", "", "messages hold no usable link to the evidence, for 0.0.0.0:8080 is no place to go to"),
        ("[::]:8080", "", "", "messages hold no usable link"),
        ("192.0.2.7:0", "", "", "messages hold no usable link"),
        ("127.0.0.1:8080", "", "http://127.0.0.1:8080", "links in messages lead to http://127.0.0.1:8080, where only"),
        ("localhost:8080", "", "http://localhost:8080", "links in messages lead to http://localhost:8080"),
    ],
)
def test_links_lead_to_where_the_dashboards_are(listen: str, public_url: str, base: str, said: str) -> None:
    given = settings(listen, public_url)
    assert link_base(given) == base
    assert link_warning(given).startswith(said)
    assert bool(link_warning(given)) is bool(said)


@pytest.mark.parametrize("shape", ["alertmanager", "slack", "teams"])
def test_without_a_public_address_messages_link_to_the_one_that_is_listened_at(
    tmp_path: Path, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    lake = Lake.open(tmp_path / "store", create=True)
    now = time.time_ns()
    rows = [interval(n, now / 1e9 - 30, site=None, other="york", mos=2.0) for n in range(30)]
    append(lake, "intervals", rows, "poor")
    book = Book.open(lake.root)
    outbox.add_endpoint(book, "desk", "https://desk.invalid/", shape, Matcher(), now)
    given = settings("192.0.2.7:8080")
    quick = replace(given.alerts, group_wait_seconds=0.0, every_seconds=0.1)

    async def run() -> None:
        task = asyncio.create_task(run_alerts(lake, lambda: None, replace(given, alerts=quick), time.time_ns))
        async with asyncio.timeout(30):
            while not outbox.messages(book) and not task.done():  # noqa: ASYNC110 - the loop tells nobody here
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with caplog.at_level(logging.WARNING, "callgauge.alerts"):
        asyncio.run(run())
    body = json.loads(outbox.messages(book)[-1].body)
    assert "http://192.0.2.7:8080/streams?q=" in json.dumps(body)
    assert "serve.public_url" not in caplog.text
    book.close()
    lake.close()


def test_who_adds_an_endpoint_hears_that_links_lead_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Lake.open(tmp_path / "store", create=True).close()
    config = tmp_path / "callgauge.toml"
    for listen, said in (("0.0.0.0:8080", "no usable link"), ("192.0.2.7:80", "")):
        config.write_text(f'store = "store"\n[serve]\nlisten = "{listen}"\n')
        assert shell(["webhook", "add", f"at-{listen[:3]}".rstrip("."), "https://desk.example/"]) == 0
        assert (said in capsys.readouterr().err) if said else ("public_url" not in capsys.readouterr().err)
