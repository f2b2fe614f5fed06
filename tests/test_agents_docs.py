"""docs/agents.md says what agents and the centre do. Run as a program, this brings its generated tables up to date."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from lake_rows import rows  # noqa: E402
from mqtt_broker import broker  # noqa: E402
from test_agents import agent, centre, made_certificates, sent, until  # noqa: E402

from analytics.store.received import WINDOW  # noqa: E402
from analytics.store.settings import LakeSettings  # noqa: E402
from analytics.store.spool import SpoolSettings  # noqa: E402
from analytics.usage.views import SECONDS  # noqa: E402
from collector.transport import agents, payload  # noqa: E402
from collector.transport.agent import AgentSettings  # noqa: E402
from collector.transport.centre import CentreSettings  # noqa: E402
from collector.transport.intake import DOUBTS, IntakeSettings  # noqa: E402
from collector.transport.notes import REFUSALS  # noqa: E402
from collector.transport.session import BrokerSettings  # noqa: E402

PAGE = ROOT / "docs" / "agents.md"
SETTINGS: tuple[type[Any], ...] = (AgentSettings, SpoolSettings, CentreSettings, IntakeSettings, BrokerSettings)
NESTED = {"broker", "intake", "spool_settings"}
"""Settings that are settings of another table."""


def settings_table(kind: type[Any]) -> str:
    """The settings with their defaults and docs, from the source of the dataclass."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(after, ast.Expr)
            docs[statement.target.id] = " ".join(ast.literal_eval(after.value).split())
    lines = ["| setting | default | holds |", "|---|---|---|"]
    for field in dataclasses.fields(kind):
        if field.name in NESTED:
            continue
        default = "needed" if field.default is dataclasses.MISSING else field.default
        shown = "" if default is None or default == "" else str(default)
        lines.append(f"| `{field.name}` | {shown} | {docs[field.name]} |")
    return "\n".join(lines)


def words(heads: str, meanings: dict[str, str]) -> str:
    lines = [f"| {heads} | means |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {told} |" for name, told in meanings.items())])


def generated() -> dict[str, str]:
    made = {kind.__name__: settings_table(kind) for kind in SETTINGS}
    return made | {"reasons": words("refused", dict(REFUSALS)), "doubts": words("put aside", dict(DOUBTS))}


def section(name: str, page: str) -> str:
    found = re.search(rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", page, re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("name", sorted(generated()))
def test_generated_tables_are_up_to_date(name: str) -> None:
    assert section(name, PAGE.read_text()) == generated()[name], f"run {Path(__file__).name} as a program"


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text().split())
    assert payload.MOST_OCTETS == 1 << 20
    assert f"at most 1 MiB and {payload.MOST_ROWS:,} rows" in page
    assert payload.SENT_OCTETS * 4 == payload.MOST_OCTETS
    assert f"more wrong than {IntakeSettings().clock_seconds:.0f} s" in page
    assert CentreSettings().group_seconds == 2
    assert agents.SAMPLES == 8
    assert agents.SAMPLE_NS == 120 * 10**9
    assert f"begin within {SECONDS} s" in page
    assert f"up to {IntakeSettings().dead_letters_mb} MB" in page
    assert (LakeSettings().quarantine_past_hours, LakeSettings().quarantine_future_hours) == (24, 1)
    assert f"at most {WINDOW:,}" in page
    for kind in payload.KINDS:
        assert f"`{kind}`" in page


def test_the_header_on_the_page_has_the_length_of_the_codes() -> None:
    table = PAGE.read_text().split("| octets | field |")[1].split("\n\n")[0]
    sizes = [cell.split("|")[1] for cell in table.splitlines()[2:-1]]
    (message,) = payload.encode("a", "calls", rows("calls", range(1)), 0)
    body = message[sum(int(size) for cell in sizes for size in cell.split(",")) :]
    assert body.startswith(b"acalls\x28\xb5\x2f\xfd"), "after the header come the names and a zstd frame"


def test_mosquitto_works_as_the_page_says(tmp_path: Path) -> None:
    conf, rules = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    made_certificates(tmp_path)
    for old, new in (("server", "broker"), ("ca", "authority")):
        for path in tmp_path.glob(f"{old}.*"):
            path.rename(path.with_stem(new))
    (tmp_path / "rules").write_text(rules)
    lines = "\n".join(line for line in conf.splitlines() if not line.startswith("listener"))
    lines = lines.replace("/etc/callgauge", str(tmp_path)) + "\n"

    async def work(port: int) -> None:
        def of(name: str) -> BrokerSettings:
            certificate, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
            return BrokerSettings(port=port, authority=tmp_path / "authority.pem", certificate=certificate, key=key)

        one, stranger = agent(tmp_path, of("york")), agent(tmp_path, of("york"), "leeds")
        two = centre(tmp_path, of("centre"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(two.run())
            tasks.create_task(one.run())
            hopeless = tasks.create_task(stranger.run())
            for part in (one, stranger):
                await part.put("intervals", rows("intervals", range(5), begin=datetime.now(UTC)))
            await until(sent(one))
            await until(lambda: stranger.counts().broker_refused > 0)
            hopeless.cancel()
            one.stop()
            two.stop()
        assert two.counts().rows == 5

    with broker(tmp_path / "broker", lines) as mosquitto:
        asyncio.run(work(mosquitto.port))


if __name__ == "__main__":
    text = PAGE.read_text()
    for name, made in generated().items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{made}\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text)
