"""`callgauge alerts` and `callgauge webhook`."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alert_facts import NS, append, interval, receiving

from analytics.alerts.facts import Phase
from analytics.alerts.grouping import Timing
from analytics.alerts.rules import DEFAULTS
from analytics.store.lake import Lake
from api.alerts import keeping
from api.alerts.book import Book
from api.alerts.loop import Alerting, Watch
from api.alerts.sampler import Sampler
from api.main import shell


class Desk:
    """A folder with settings and a store, and commands in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.store = folder / "store"
        self._capsys = capsys
        (folder / "callgauge.toml").write_text('store = "store"\n[alerts]\nallowed_networks = ["127.0.0.0/8"]\n')
        with_lake = Lake.open(self.store, create=True)
        with_lake.close()

    def run(self, *words: str, status: int = 0) -> str:
        assert shell(list(words)) == status, self._capsys.readouterr()
        out, said = self._capsys.readouterr()
        return str(out if status == 0 else out + said)

    def said(self) -> tuple[str, str]:
        """What was written since the last command."""
        out, said = self._capsys.readouterr()
        return str(out), str(said)

    def poor(self) -> None:
        """A site that is poor now, and the loop has seen it."""
        now = time.time_ns()
        lake = Lake.open(self.store)
        rows = [interval(n, now / NS - 30, site=None, other="york", mos=2.0) for n in range(30)]
        append(lake, "intervals", rows, "poor")
        book = Book.open(self.store)
        Alerting(book, Sampler(lake, lambda: None, None), Watch(DEFAULTS, timing=Timing(0, 60, 60)), now).step(now)
        book.close()
        lake.close()


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, capsys)


def test_alerts_are_listed_with_what_was_measured_and_a_link_with_absolute_times(desk: Desk) -> None:
    assert desk.run("alerts", "list") == "no alert holds\n"
    desk.poor()
    text = desk.run("alerts", "list")
    assert "Calls are poor at york (audio to the site)" in text
    assert "30 of 30 calls (100 %)" in text
    assert re.search(r"Measured from \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ to ", text)
    assert re.search(r"/streams\?q=to_site%3Ayork\S+&since=\d{4}-\S+&until=\d{4}-\S+", text)
    (alert,) = json.loads(desk.run("alerts", "list", "--format", "json"))
    assert (alert["numerator"], alert["denominator"], alert["state"]) == (30, 30, "firing")


def test_an_alert_is_acknowledged_and_silenced(desk: Desk) -> None:
    desk.poor()
    (alert,) = json.loads(desk.run("alerts", "list", "--format", "json"))
    assert "is acknowledged by" in desk.run("alerts", "ack", alert["fingerprint"], "--comment", "on it")
    assert "no alert" in desk.run("alerts", "ack", "0" * 16, status=2)
    assert desk.run("alerts", "silence") == "nothing is silenced\n"
    made = desk.run("alerts", "silence", "site=york", "severity=critical", "--for", "30m", "--comment", "works")
    assert made.startswith("1  severity=critical site=york  ")
    assert desk.run("alerts", "silence") == made
    desk.run("alerts", "silence", "--end", "1")
    assert "no silence" in desk.run("alerts", "silence", "--end", "1", status=2)
    assert "is no label" in desk.run("alerts", "silence", "york", status=2)
    assert "is no length" in desk.run("alerts", "silence", "site=york", "--for", "soon", status=2)


def test_rules_are_shown_and_a_wrong_file_of_rules_is_named(desk: Desk) -> None:
    text = desk.run("alerts", "rules")
    assert all(rule.name in text for rule in DEFAULTS)
    (desk.folder / "rules.toml").write_text(
        "[rules.jitter]\nraise_at = 50\n[maintenance.works]\nfrom = 01:00:00\nto = 02:00:00\n"
    )
    with (desk.folder / "callgauge.toml").open("a") as file:
        file.write('rules = "rules.toml"\n')
    text = desk.run("alerts", "rules")
    assert "over 50 ms" in text
    assert "maintenance works: 01:00 to 02:00 UTC" in text
    found = {one["name"]: one for one in json.loads(desk.run("alerts", "rules", "--format", "json"))}
    assert found["jitter"]["raise_at"] == 50
    for wrong, said in (
        ("[rules.jitter]\nraise_at = 1\n", "clear_at must not be over"),
        ("[rule.jitter]\n", "no section rule"),
        ("[", "no TOML"),
        ("rules = 3", "rules must be a table"),
    ):
        (desk.folder / "rules.toml").write_text(wrong)
        refused = desk.run("alerts", "rules", status=2)
        assert "rules.toml" in refused
        assert said in refused


def test_rules_are_replayed_over_history(desk: Desk) -> None:
    begin = 1_767_607_200
    lake = Lake.open(desk.store)
    rows = [interval(n, begin + 10 * step, site=None, other="york", mos=2.0) for step in range(6) for n in range(30)]
    append(lake, "intervals", rows, "poor")
    lake.close()
    span = ["alerts", "test", "--from", "2026-01-05T10:00Z", "--to", "2026-01-05T10:30Z"]
    text = desk.run(*span, "--rule", "site_degraded")
    assert re.match(r"2026-01-05T10:0\d:\d\dZ  site_degraded  direction to, site york  \w+ -> firing: ", text)
    found = json.loads(desk.run(*span, "--rule", "site_degraded", "--format", "json", "--step", "1m"))
    assert (found[0]["state"], found[0]["at"]) == ("firing", "2026-01-05T10:01:00.000Z")
    assert "nothing would have been told" in desk.run(*span, "--rule", "jitter")
    assert "there is no rule x" in desk.run(*span, "--rule", "x", status=2)
    assert "--to lies after" in desk.run(
        "alerts", "test", "--from", "2026-01-05T10:00Z", "--to", "2026-01-05T10:00Z", status=2
    )  # fmt: skip
    assert "is no time" in desk.run("alerts", "test", "--from", "yesterday", "--to", "2026-01-05T10:00Z", status=2)
    # Nothing of it is kept.
    book = Book.open(desk.store)
    assert keeping.read_states(book) == []
    assert keeping.read_changes(book) == []
    book.close()


def test_the_future_is_not_replayed(desk: Desk) -> None:
    words = ["alerts", "test", "--rule", "no_traffic"]
    now = datetime.now(UTC)
    assert "in the future" in desk.run(*words, "--from", "2130-01-01T00:00Z", "--to", "2130-01-02T00:00Z", status=2)
    begin = (now - timedelta(hours=1)).isoformat()
    assert shell([*words, "--from", begin, "--to", "2130-01-01T00:00Z"]) == 0
    out, said = desk.said()
    assert "replayed up to now" in said
    assert "looked every 10 s" in out


@pytest.mark.parametrize("text", ["2026-01-05T10:00", "2026-01-05", "20260105"])
def test_a_time_without_a_zone_is_refused(desk: Desk, text: str) -> None:
    for words in (["test", "--from", text, "--to", "2026-01-06T10:00Z"], ["silence", "site=york", "--from", text]):
        assert f"{text} needs a zone" in desk.run("alerts", *words, status=2)


def test_an_endpoint_is_added_tested_and_its_log_read(desk: Desk) -> None:
    with receiving(desk.folder) as receiver:
        made = desk.run("webhook", "add", "desk", receiver.url("ok"), "--match", "severity=critical")
        secret = made.split()[-1]
        assert secret.startswith("whsec_")
        assert "already" in desk.run("webhook", "add", "desk", receiver.url("ok"), status=2)
        listed = desk.run("webhook", "list")
        assert "severity=critical" in listed
        assert secret not in listed
        assert "delivered, status 200" in desk.run("webhook", "test", "desk")
        log = desk.run("webhook", "log", "desk")
        key = log.split()[0]
        assert "test" in log
        assert "delivered, status 200" in log
        assert key in desk.run("webhook", "replay", key)
        (message,) = json.loads(desk.run("webhook", "log", "--format", "json"))
        assert len(message["attempts"]) == 2
        assert [one["headers"]["webhook-id"] for one in receiver.got()] == [key, key]
        assert desk.run("webhook", "rotate", "desk").split()[-1] != secret
        desk.run("webhook", "add", "broken", receiver.url("500"))
        assert "failed, status 500" in desk.run("webhook", "test", "broken", status=1)
        desk.run("webhook", "enable", "broken")
        desk.run("webhook", "remove", "broken")
        assert "no endpoint broken" in desk.run("webhook", "test", "broken", status=2)
        assert "no message" in desk.run("webhook", "replay", "msg_0", status=2)


def test_without_a_store_there_is_nothing_to_say(desk: Desk) -> None:
    for words in (["alerts", "list"], ["webhook", "list"], ["alerts", "silence"]):
        assert "there is no store" in desk.run(*words, "--store", "elsewhere", status=2)
    (desk.folder / "callgauge.toml").write_text('[alerts]\nallowed_networks = ["here"]\n')
    assert "allowed_networks" in desk.run("alerts", "run", status=2)


def test_phases_are_named_as_the_schema_says() -> None:
    assert {phase.value for phase in Phase} == {"normal", "pending", "firing", "recovering", "no_data", "error"}
