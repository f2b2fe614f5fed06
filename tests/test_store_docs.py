"""docs/store.md says what the store does. Run as a program, this brings its generated tables up to date."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from analytics.store import schema  # noqa: E402
from analytics.store.lake import Lake  # noqa: E402
from analytics.store.settings import LakeSettings  # noqa: E402
from api.main import shell  # noqa: E402

PAGE = ROOT / "docs" / "store.md"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def table_of(table: schema.Table) -> str:
    keys = ", ".join(f"`{name}`" for name in (table.partition, *table.also_partition))
    kept = "for ever" if table.keep_days is None else f"{table.keep_days} days"
    personal = "names people; " if table.personal else ""
    head = f"{table.doc} Partitions: {keys} (by {table.grain}); {personal}kept {kept}."
    rows = [
        f"| `{column.name}` | {column.kind} | {cell(column.unit)} | {cell(column.doc)} | {cell(column.missing)} |"
        for column in table.columns
    ]
    lines = [
        f"### {table.name}",
        "",
        head,
        "",
        "| column | type | unit | holds | NULL means |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *rows])


def tables() -> str:
    return "\n\n".join(table_of(table) for table in schema.TABLES)


def settings() -> str:
    """The settings with their defaults and docs, from the source of the dataclass."""
    body = ast.parse(inspect.getsource(LakeSettings)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(after, ast.Expr)
            assert isinstance(after.value, ast.Constant)
            docs[statement.target.id] = str(after.value.value)
    defaults = LakeSettings()
    rows = [
        f"| `{one.name}` | {getattr(defaults, one.name) or 'none'} | {cell(docs[one.name])} |"
        for one in dataclasses.fields(LakeSettings)
    ]
    return "\n".join(["| setting | default | holds |", "|---|---|---|", *rows])


def section(name: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", text, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_tables_are_those_of_the_schema() -> None:
    assert section("tables") == tables(), "run: python tests/test_store_docs.py"


def test_the_settings_are_those_of_the_code() -> None:
    assert section("settings") == settings(), "run: python tests/test_store_docs.py"


def test_the_settings_of_the_example_are_read(tmp_path: Path) -> None:
    example = re.search(r"^    (\{.*\})$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert example is not None
    Lake.open(tmp_path / "store", create=True)
    (tmp_path / "store" / "callgauge-store.json").write_text(example[1], encoding="utf-8")
    read = Lake.open(tmp_path / "store").settings
    assert read == LakeSettings(keep_days={"calls": 92, "imports": None}, history_days=14)


def test_figures_in_the_text_are_the_defaults() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("<!-- settings: begin -->")[0]
    default = LakeSettings()
    assert f"for {default.batch_days} days\n  (`batch_days`)" in text
    assert f"for {default.history_days} days (`history_days`)" in text
    assert f"more than {default.quarantine_past_hours:g} hours old (`quarantine_past_hours`)" in text
    assert f"{default.quarantine_days} days and up to {default.quarantine_mb} MB" in text
    assert f"keeps to {default.memory_mb} MB of memory" in text
    assert max(table.keep_days or 0 for table in schema.TABLES if table.personal) < default.batch_days


@pytest.mark.parametrize("command", ["tables", "check", "compact", "forget", "as-of"])
def test_commands_and_their_options_are_documented(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["store", command, "--help"]) == 0
    text = PAGE.read_text(encoding="utf-8")
    assert f"callgauge store {command}" in text
    for option in set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}:
        assert option in text, option


def test_the_example_for_programs_runs(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "store", create=True)
    connection = lake.connect()
    lake.view(connection, "usage")
    assert connection.sql("SELECT site, sum(seconds) FROM usage GROUP BY site").fetchall() == []


def write(name: str, content: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    parts = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    PAGE.write_text(parts.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    write("tables", tables())
    write("settings", settings())
