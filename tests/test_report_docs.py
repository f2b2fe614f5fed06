"""docs/reports.md says what the reports do."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from report_documents import savings_example
from test_access_report import calls, facts
from test_site_report import FACTS

from analytics.cost import channels, outliers, traffic
from analytics.cost.disclosure import SMALL, Held
from analytics.cost.money import ATOMS_PER_UNIT, to_atoms
from analytics.usage.lines import REDIAL_SECONDS
from api.main import shell
from api.report.command import LEAST_WIDTH, Format, Report
from api.report.data import FORMAT_VERSION, MOST_DECIMALS, as_csv, as_json
from api.report.shown import MARK_WORDS, STAND_FOR_A_FORMULA, UNITS
from api.report.workbook import LONGEST_FORMULA, TRACE_HEADS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "reports.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())


def part(title: str) -> str:
    """What stands under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """Names in the first column of tables."""
    return re.findall(r"^\| `(\w+)`", text, re.MULTILINE)


def test_every_option_and_report_and_format_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["report", "--help"]) == 0
    exist = set(re.findall(r"--[a-z]+", capsys.readouterr().out))
    assert set(re.findall(r"^\| `(--[a-z]+)", part("Options"), re.MULTILINE)) == exist
    assert first_cells(PAGE.partition("## Options")[0]) == [name.value for name in Report]
    formats = r"\|".join(name.value for name in Format)
    assert f"`--format {formats}`" in part("Options")
    assert {f"**{name.value}**" for name in Format} <= set(re.findall(r"\*\*\w+\*\*", part("Formats")))


def test_every_sign_and_unit_is_documented() -> None:
    signs = dict(re.findall(r"^\| (\S+) \| (.+) \|$", part("How figures read"), re.MULTILINE))
    for sign, words in MARK_WORDS.items():
        assert signs[sign] == words
    assert {held.value for held in Held} <= set(signs)
    assert first_cells(part("How figures read")) == list(UNITS)
    assert f"{ATOMS_PER_UNIT:,} atoms" in FLAT


def names(value: Any) -> set[str]:
    """Names of all fields of a JSON value; keys of figures are no fields."""
    if isinstance(value, list):
        return set().union(*map(names, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    return set(value) | set().union(*(names(one) for one in value.values()))


def test_every_field_of_the_json_is_documented() -> None:
    body = json.loads(as_json(savings_example()))
    figures = body.pop("figures")
    told = set(re.findall(r"`(\w+)`", part("Formats").partition("**json**")[2]))
    assert names(body) | {"figures"} | names(list(figures.values())) <= told
    assert f"| `format_version` | {FORMAT_VERSION} |" in PAGE


def test_csv_and_workbook_are_as_documented() -> None:
    heads = as_csv(savings_example()).partition("\r\n")[0].split(",")
    assert first_cells(part("Formats").partition("**json**")[0]) == heads[-3:]
    assert f"cut to {MOST_DECIMALS} decimals" in FLAT
    for sign in STAND_FOR_A_FORMULA.strip():
        assert f"`{sign}`" in FLAT
    assert f"more than {LONGEST_FORMULA:,} characters" in FLAT
    assert ", ".join(head.lower() for head in TRACE_HEADS) in FLAT
    assert f"the width, {LEAST_WIDTH} at least" in FLAT


def test_every_table_of_sites_and_access_is_documented() -> None:
    from analytics.cost.access import access_document
    from analytics.cost.site_report import sites_document

    of_sites = {section.name for section in sites_document(FACTS).sections}
    assert set(first_cells(part("Sites"))) == of_sites
    of_access = {section.name for section in access_document(facts(calls("999", {4: 95}, 5))).sections}
    assert set(first_cells(part("Public access"))) == of_access | {"sites", "hours"}


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    assert f"counts under {SMALL}" in FLAT
    assert f"from z = {outliers.HIGHEST_Z:.0f} on" in FLAT
    assert f"fewer than {outliers.LEAST_WEEKS} such weekdays" in FLAT
    assert f"up to {outliers.MOST_WEEKS} weeks" in FLAT
    assert outliers.LEAST[outliers.Measure.INTERNATIONAL] == 10 * 60
    assert outliers.LEAST[outliers.Measure.PREMIUM] == to_atoms(Decimal(2))
    assert "from 10 minutes or 2 currency units on" in FLAT
    assert outliers.FLOOR[outliers.Measure.INTERNATIONAL] == 60
    assert outliers.FLOOR[outliers.Measure.PREMIUM] == to_atoms(Decimal("0.20"))
    assert "1 minute or 0.20 currency units at least" in FLAT
    assert f"within {REDIAL_SECONDS} s after" in FLAT
    assert [f"{100 * share:f}".rstrip("0").rstrip(".") for share in traffic.BLOCKING] == ["1", "0.1"]
    assert (traffic.HOUR_S, traffic.STEP_S) == (3_600, 900)
    assert channels.SHARED
