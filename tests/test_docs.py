"""The docs say what the code does. Run as a program, this brings their generated tables up to date."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from api.filters import FINDING_CODES, KEYS  # noqa: E402
from api.main import INTERNAL, INTERRUPTED, PARTLY_READ, READER_GONE, UNUSABLE, shell  # noqa: E402
from api.output import Request  # noqa: E402
from api.tables import CALLS, FINDINGS, STREAMS, Column  # noqa: E402
from collector.media.findings import CODES  # noqa: E402

README = ROOT / "README.md"
OUTPUT = ROOT / "docs" / "output.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def column_tables() -> str:
    """The columns of CSV and Parquet as Markdown."""
    parts = []
    tables: Mapping[str, tuple[Column[Any], ...]] = {
        "calls": tuple(CALLS),
        "streams": tuple(STREAMS),
        "findings": tuple(FINDINGS),
    }
    for name, columns in tables.items():
        rows = [f"| `{column.name}` | {column.kind.value} | {column.unit} | {column.doc} |" for column in columns]
        parts.append("\n".join([f"### {name}", "", "| column | type | unit | holds |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def section(page: Path, name: str) -> str:
    """What stands between the markers of a part of a page."""
    text = page.read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", text, re.DOTALL)
    assert match is not None, f"{page.name} has no part {name}"
    return match[1]


def test_the_columns_are_those_of_the_tables() -> None:
    assert section(OUTPUT, "columns") == column_tables(), "run: python tests/test_docs.py"


def test_every_option_is_documented_and_every_documented_option_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["replay", "--help"]) == 0
    exist = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    options = OUTPUT.read_text(encoding="utf-8").partition("## Options")[2].partition("\n## ")[0]
    told = {
        name for row in re.findall(r"^\| (`--.*?) \|", options, re.MULTILINE) for name in re.findall(r"--[a-z-]+", row)
    }
    assert told == exist
    assert shell(["--help"]) == 0
    for name in re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out):
        assert name in OUTPUT.read_text(encoding="utf-8")


def test_the_default_of_top_is_the_documented_one() -> None:
    assert f"rows in each table of the text report, {Request(()).top} by default" in OUTPUT.read_text(encoding="utf-8")


def test_every_exit_status_is_documented() -> None:
    statuses = {int(number) for number in re.findall(r"^\| (\d+) \|", OUTPUT.read_text(encoding="utf-8"), re.MULTILINE)}
    assert statuses == {0, PARTLY_READ, UNUSABLE, INTERNAL, INTERRUPTED, READER_GONE}


def test_every_filter_key_is_documented_with_what_it_asks() -> None:
    part = OUTPUT.read_text(encoding="utf-8").partition("## Filter")[2].partition("\n## ")[0]
    told: dict[str, str] = {}
    for keys, of in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (\w+) \|", part, re.MULTILINE):
        told.update(dict.fromkeys(re.findall(r"\w+", keys), of))
    sides = {
        key: "both" if rule.stream and rule.call else "streams" if rule.stream else "calls"
        for key, rule in KEYS.items()
    }
    assert told == sides


def schema_fields(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node.get("properties", {})
        for value in node.values():
            yield from schema_fields(value)
    elif isinstance(node, list):
        for value in node:
            yield from schema_fields(value)


def test_every_json_field_is_documented() -> None:
    schema = json.loads((ROOT / "api" / "schema" / "replay.schema.json").read_text(encoding="utf-8"))
    part = OUTPUT.read_text(encoding="utf-8").partition("## JSON")[2]
    assert set(schema_fields(schema)) <= set(re.findall(r"`(\w+)`", part)) | {"numbers_masked"}


def finding_codes() -> set[str]:
    """Codes that the collector gives to findings, as its sources name them."""
    codes: set[str] = set()
    for path in (ROOT / "collector").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding" and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    codes.add(first.value)
    return codes


def test_every_finding_is_documented() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", section(OUTPUT, "findings"), re.MULTILINE))
    assert told == finding_codes() | set(CODES)
    assert told == set(FINDING_CODES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_commands_of_the_readme_exist() -> None:
    script = (ROOT / "run").read_text(encoding="utf-8")
    lines = re.findall(r"^    (\./run .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        _, task, *words = shlex.split(line)
        assert f"\n{task})\n" in script
        for word in words:
            if word.startswith(("sample_pcaps/", "examples/")):
                assert (ROOT / word).exists(), word


@pytest.mark.parametrize("target", ["lint", "fmt", "test", "bench", "soak"])
def test_the_targets_of_make_call_the_script(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    task = done.stdout.split()[-1]
    assert done.stdout.startswith("./run ")
    assert f"\n{task})\n" in (ROOT / "run").read_text(encoding="utf-8")


def test_the_filters_of_the_docs_are_understood() -> None:
    from api.filters import parse_filter

    text = OUTPUT.read_text(encoding="utf-8")
    expressions = re.findall(r"--filter '([^']+)'", text)
    assert expressions
    for expression in [*expressions, *re.findall(r"`((?:pdd|duration)[<>][^`]+)`", text)]:
        assert parse_filter(expression)


def test_the_locks_hold_hashes_and_name_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        pinned = re.findall(r"^[a-z0-9-]+==", text, re.MULTILINE)
        assert len(pinned) > 10
        assert "://" not in text
        assert "--index" not in text
        for entry in re.split(r"\n(?=\S)", text.strip()):
            assert "--hash=sha256:" in entry


def test_the_locks_agree_with_each_other() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^(\S+==\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def printed_by(start: str, **environment: str) -> list[str]:
    """What a command of the README prints: the first one that starts so."""
    command = re.search(rf"^    \./run callgauge ({start}.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert command is not None
    done = subprocess.run(
        [sys.executable, "-P", "-m", "api.main", *shlex.split(command[1])],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def block(lines: list[str]) -> str:
    """Lines as a block of Markdown."""
    return "\n".join(f"    {line}".rstrip() for line in lines)


def report_of_the_readme() -> str:
    """What the README's first command prints."""
    return block(printed_by("replay "))


def savings_of_the_readme() -> str:
    """The head of the savings report of the README, on a store made for it."""
    with tempfile.TemporaryDirectory() as folder:
        store = {"CALLGAUGE_STORE": str(Path(folder) / "store")}
        printed_by("cdr import ", **store)
        lines = printed_by("report savings ", **store)
    return block([*lines[: lines.index("Why this verdict") - 1], "", "…"])


def test_the_readme_shows_what_its_command_prints() -> None:
    assert section(README, "look") == report_of_the_readme(), "run: python tests/test_docs.py"
    assert section(README, "savings") == savings_of_the_readme(), "run: python tests/test_docs.py"


def write(page: Path, name: str, content: str) -> None:
    """Bring a generated part of a page up to date."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, _, rest = page.read_text(encoding="utf-8").partition(begin)
    page.write_text(f"{head}{begin}{content}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write(OUTPUT, "columns", column_tables())
    write(README, "look", report_of_the_readme())
    write(README, "savings", savings_of_the_readme())
