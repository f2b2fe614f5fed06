"""docs/alerts.md says what the code does. Run as a program, this brings its generated parts up to date."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from analytics.alerts.facts import NS, Alert, Kind, Phase, Sample, State, labelled  # noqa: E402
from analytics.alerts.grouping import Timing  # noqa: E402
from analytics.alerts.muting import maintenance_of  # noqa: E402
from analytics.alerts.rules import DEFAULTS, SETTABLE, rules_of  # noqa: E402
from analytics.alerts.sampling import LEAST_WEEKS  # noqa: E402
from analytics.alerts.wording import length  # noqa: E402
from analytics.cost.outliers import HIGHEST_Z  # noqa: E402
from analytics.health import KEEP_DAYS  # noqa: E402
from analytics.questions.asking import POOR_MOS  # noqa: E402
from analytics.questions.watching import LEAST_TALK_S, USER_CHOICES, WEEKS  # noqa: E402
from api.alerts.bodies import MOST_OCTETS, Group, body, headers  # noqa: E402
from api.alerts.commands import app as alerts_app  # noqa: E402
from api.alerts.loop import GAP_S, OVERDUE_ATTEMPTS, OVERDUE_S  # noqa: E402
from api.alerts.outbox import ROTATION_S, SHAPES, new_secret  # noqa: E402
from api.alerts.retrying import JITTER, SCHEDULE_S  # noqa: E402
from api.alerts.settings import AlertSettings  # noqa: E402
from api.alerts.shown import rule_cells  # noqa: E402
from api.alerts.webhook_commands import app as webhook_app  # noqa: E402

PAGE = ROOT / "docs" / "alerts.md"
BEGIN = 1_767_607_200 * NS


def rules() -> str:
    """The default rules, as Markdown."""
    heads = ("rule", "tells", "raises", "clears", "of at least", "window", "for", "keeps firing", "severity")
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for rule in DEFAULTS:
        name, *cells = rule_cells(rule)
        rows.append(f"| `{name}` | {rule.summary} | {' | '.join(cells)} |")
    return "\n".join(rows)


def settable() -> str:
    """What a file may say of a rule."""
    return ", ".join(f"`{name}`" for name in sorted(SETTABLE))


def example() -> str:
    """A body."""
    values = (("mos", 3.15), ("loss_percent", 5.0), ("jitter_ms", 2.0))
    sample = Sample(labelled({"site": "S02", "direction": "to"}), BEGIN, BEGIN + 600 * NS, 12, 24, values=values)
    state = State(Phase.FIRING, BEGIN + 600 * NS, BEGIN + 600 * NS, DEFAULTS[0].digest)
    alert = Alert(DEFAULTS[0], sample, state, "12 of 24 calls (50 %), 95 % interval 31.4 to 68.6 %: the lower bound is "
                  "over 20 %")  # fmt: skip
    group = Group((("alertname", "site_degraded"), ("site", "S02")), (alert,), "on-call", "https://callgauge.example")
    made = json.dumps(json.loads(body("alertmanager", group)), indent=2, ensure_ascii=False)
    return "\n".join(f"    {line}" for line in made.splitlines())


def part(name: str) -> str:
    """What stands between the markers of a part."""
    match = re.search(rf"<!-- {name}: begin -->\n?(.*?)\n?<!-- {name}: end -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert match is not None, name
    return match[1]


def words() -> str:
    """The page as one line."""
    return " ".join(PAGE.read_text(encoding="utf-8").split())


def test_the_rules_on_the_page_are_the_defaults() -> None:
    assert part("rules") == rules(), "run: python tests/test_alert_docs.py"
    assert part("settable") == settable(), "run: python tests/test_alert_docs.py"


def test_the_body_on_the_page_is_what_is_sent() -> None:
    assert part("body") == example(), "run: python tests/test_alert_docs.py"


def test_the_example_of_rules_is_understood() -> None:
    stated = tomllib.loads("\n".join(line[4:] for line in part("example").splitlines()))
    made = {rule.name: rule for rule in rules_of(stated["rules"])}
    assert made["control_room"].only == (("site", ("S01",)),)
    assert not made["jitter"].enabled
    assert [window.name for window in maintenance_of(stated["maintenance"], "UTC")] == ["backup"]


def test_the_code_on_the_page_verifies_a_delivery() -> None:
    space: dict[str, object] = {}
    exec("\n".join(line[4:] for line in part("verify").splitlines()), space)
    take = space["take"]
    assert callable(take)
    secret, now = new_secret(), round(datetime.now(UTC).timestamp()) * NS
    assert take(b"{}", headers("msg_1", now, b"{}", [secret]), secret) == {}


def test_every_command_is_on_the_page() -> None:
    for name, app in (("alerts", alerts_app), ("webhook", webhook_app)):
        commands = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
        told = set(re.findall(rf"^\| `callgauge {name} (\w+)", PAGE.read_text("utf-8"), re.MULTILINE))
        assert told == commands


def test_every_state_is_on_the_page() -> None:
    told = re.findall(r"^\| `(\w+)` \|", words_of("## States", "## When"), re.MULTILINE)
    assert told == [phase.value for phase in Phase]


def words_of(begin: str, end: str) -> str:
    return PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0]


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    page = words()
    given, timing = AlertSettings(), Timing()
    waits = [length(seconds).replace("1 day", "24 h") for seconds in SCHEDULE_S]
    assert f"again after {', '.join(waits[:-1])} and {waits[-1]}, each longer by up to a fifth" in page
    assert JITTER == 1 / 5
    assert f"({', '.join(map(str, USER_CHOICES))}) is no failure" in page
    assert f"mean MOS under {POOR_MOS}." in page
    assert f"call of {LEAST_TALK_S} s or more" in page
    assert f"weekday of the {WEEKS} weeks before" in page
    assert f"at least {LEAST_WEEKS} weeks are known" in page
    feed = next(rule for rule in DEFAULTS if rule.kind is Kind.FEED_SILENT)
    assert f"sure to {feed.raise_at:g} % that this is not usual" in page
    assert f"fewer than {feed.minimum:g} weeks, say nothing" in page
    assert f"robust z of {HIGHEST_Z:g} and more" in page
    assert f"is told {length(given.group_wait_seconds)} after its first alert" in page
    assert f"at most every {length(given.group_interval_seconds)}" in page
    assert f"again every {length(given.repeat_seconds)} while" in page
    assert (timing.group_wait_s, timing.group_interval_s, timing.repeat_interval_s) == (
        given.group_wait_seconds, given.group_interval_seconds, given.repeat_seconds,
    )  # fmt: skip
    assert f"within {length(given.timeout_seconds)} from the look-up" in page
    assert f"for {given.keep_days} days" in page
    assert f"at most {MOST_OCTETS // 1_000} kB" in page
    assert KEEP_DAYS == 30
    assert "taken out of `_health` (by itself after 30 days)" in page
    assert GAP_S == 120
    assert "after two minutes in which nobody looked" in page
    assert OVERDUE_ATTEMPTS == 3
    assert "or failed three times, is an alert" in page
    assert f"for which a message waits for {length(OVERDUE_S)}" in page
    assert ROTATION_S == 86_400
    assert all(f"`{shape}`" in page for shape in SHAPES)
    quiet = [rule for rule in DEFAULTS if rule.longest_s]
    assert {(rule.name, rule.longest_s, rule.minimum) for rule in quiet} == {
        ("site_degraded", 86_400, 20), ("site_pair_degraded", 86_400, 20), ("trunk_failures", 3 * 86_400, 12),
    }  # fmt: skip
    assert "the newest 12 of three days count" in page
    assert "newest 20 calls that ended within the last day" in page


def write(name: str, content: str, edge: str = "\n") -> None:
    """Bring a part of the page up to date."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, _, rest = text.partition(begin)
    PAGE.write_text(f"{head}{begin}{edge}{content}{edge}{end}{rest.partition(end)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write("rules", rules())
    write("settable", settable(), edge="")
    write("body", example())
