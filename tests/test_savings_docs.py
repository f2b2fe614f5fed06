"""The page on savings says what the code does. Run as a program, this brings its generated parts up to date."""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from cost_example import OCTOBER, example_facts, example_usage  # noqa: E402

from analytics.cost.savings_document import savings_document  # noqa: E402
from analytics.cost.verdict import Margins, Outcome, judge  # noqa: E402
from collector.estate.cost_columns import COST_FILES, EVIDENCE  # noqa: E402

PAGE = ROOT / "docs" / "savings.md"


def files() -> str:
    """The files and their columns as Markdown."""
    parts = []
    for declared in COST_FILES:
        rows = [
            f"| `{column.name}`{' (needed)' if column.needed else ''} | {column.doc.replace('|', '/')} |"
            for column in declared.columns
        ]
        head = [f"### {declared.name}", "", declared.doc, "", "| column | holds |", "|---|---|"]
        parts.append("\n".join([*head, *rows]))
    return "\n\n".join(parts)


def part(name: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", text, re.DOTALL)
    assert match is not None, f"the page has no part {name}"
    return match[1]


def test_the_columns_are_those_that_are_read() -> None:
    assert part("files") == files(), "run: python tests/test_savings_docs.py"


def test_every_word_of_evidence_is_explained() -> None:
    table = PAGE.read_text(encoding="utf-8").rsplit("| evidence |", 1)[1]
    assert re.findall(r"^\| `(\w+)` \| ", table, re.MULTILINE) == list(EVIDENCE)


def test_the_rules_are_those_that_are_judged_by() -> None:
    none = (None, None)
    verdict = judge(Decimal(30), Margins(none, none, none), (), Decimal(2), (), ())
    said = [f"({check.letter}) {check.rule}" for check in verdict.checks]
    rules = [rule.replace("30 %", "N %").replace("2 %", "the tolerance") for rule in said]
    text = part("outcomes")
    assert re.findall(r"^  - (\(.*)$", text, re.M) == rules
    assert re.findall(r"\*\*(.+?)\*\*", text) == [Outcome.ESTABLISHED, Outcome.REFUTED, Outcome.NOT_ESTABLISHED]


def test_the_answer_is_that_of_the_worked_example() -> None:
    folder = ROOT.parent / "shared" / "golden" / "cost_example"
    if not folder.is_dir():
        pytest.skip("the worked example is not here")
    document = savings_document(example_facts(example_usage(folder)), [OCTOBER])
    assert part("answer") == f"    {document.sentence}"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    made = f"<!-- files: begin -->\n{files()}\n<!-- files: end -->"
    filled = re.sub(r"<!-- files: begin -->.*<!-- files: end -->", lambda _: made, text, flags=re.DOTALL)
    PAGE.write_text(filled, encoding="utf-8")
