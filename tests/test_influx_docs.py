"""docs/influxdb.md says what InfluxDB is given. Run as a program, this brings its generated tables up to date."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from influxd_server import cached, version  # noqa: E402

from analytics.store.influx import InfluxSettings  # noqa: E402
from analytics.store.influx_flux import EVERY, LOOK_BACK  # noqa: E402
from analytics.store.influx_points import MEASUREMENTS, Measurement  # noqa: E402
from analytics.store.influx_writer import DEAD_LETTERS, REFUSED  # noqa: E402
from api.main import shell  # noqa: E402

PAGE = ROOT / "docs" / "influxdb.md"


def measurement(one: Measurement) -> str:
    lines = [
        f"### {one.name}",
        "",
        f"{one.doc} In the {'bucket' if one.kept == 'fine' else 'long bucket'}. Series: {one.series}.",
        "",
        "| tag | holds |",
        "|---|---|",
        *(f"| `{tag.name}` | {tag.doc} |" for tag in one.tags),
    ]
    if one.name.endswith("_hour"):
        return "\n".join([*lines, "", "Fields: the same."])
    lines += ["", "| field | type | unit | adds up by | holds |", "|---|---|---|---|---|"]
    for field in one.fields:
        kind = "float" if field.kind == "DOUBLE" else "integer"
        lines.append(f"| `{field.name}` | {kind} | {field.unit} | {field.how} | {field.doc} |")
    return "\n".join(lines)


def measurements() -> str:
    return "\n\n".join(measurement(one) for one in MEASUREMENTS)


def settings() -> str:
    """The settings with their defaults and docs, from the source of the dataclass."""
    body = ast.parse(inspect.getsource(InfluxSettings)).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(after, ast.Expr)
            assert isinstance(after.value, ast.Constant)
            docs[statement.target.id] = str(after.value.value)
    default = InfluxSettings()
    rows = [
        f"| `{one.name}` | {getattr(default, one.name) or 'none'} | {docs[one.name]} |"
        for one in dataclasses.fields(InfluxSettings)
    ]
    return "\n".join(["| setting | default | holds |", "|---|---|---|", *rows])


def section(name: str) -> str:
    match = re.search(
        rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert match is not None
    return match[1]


def test_the_measurements_are_those_of_the_code() -> None:
    assert section("measurements") == measurements(), "run: python tests/test_influx_docs.py"


def test_the_settings_are_those_of_the_code() -> None:
    assert section("settings") == settings(), "run: python tests/test_influx_docs.py"


def test_figures_in_the_text_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    default = InfluxSettings()
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    assert f"sums hours of the last {LOOK_BACK // hour} hours every {EVERY // minute} minutes" in text
    assert f"Hours older than {LOOK_BACK * 3 / 4 // hour:.0f} hours are read from their sums" in text
    assert timedelta(days=1) == LOOK_BACK / 2
    assert f"again after {default.retry_seconds:g} s" in text
    assert f"at most {default.retry_most_seconds:g} s" in text
    assert f"({', '.join(str(status) for status in sorted(REFUSED))}: " in text
    assert f"`{DEAD_LETTERS}`" in text
    assert f"InfluxDB {version()}," in text
    assert cached().parent.parts[-2:] == ("callgauge", "influxd")


@pytest.mark.parametrize("command", ["init", "health"])
def test_commands_and_their_options_are_documented(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["influx", command, "--help"]) == 0
    text = PAGE.read_text(encoding="utf-8")
    assert f"callgauge influx {command}" in text
    said = capsys.readouterr().out
    for option in set(re.findall(r"--[a-z][a-z-]+", said)) - {"--help"}:
        assert f"`{option}`" in text, option


def test_defaults_of_the_options_are_those_of_the_settings() -> None:
    text = PAGE.read_text(encoding="utf-8")
    default = InfluxSettings()
    for name in ("url", "org", "bucket", "long_bucket"):
        row = f"| `--{name.replace('_', '-')}` | `CALLGAUGE_INFLUX_{name.upper()}` | `{getattr(default, name)}` |"
        assert row in text


def write(name: str, content: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    parts = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    PAGE.write_text(parts.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text), encoding="utf-8")


if __name__ == "__main__":
    write("measurements", measurements())
    write("settings", settings())
