"""docs/usage.md says what the code does. Run as a program, this brings its generated table up to date."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from analytics.usage import derive, lines, records  # noqa: E402
from analytics.usage.changes import REASONS  # noqa: E402

PAGE = ROOT / "docs" / "usage.md"
MARKS = re.compile(r"(<!-- reasons: begin -->\n)(.*?)(<!-- reasons: end -->)", re.DOTALL)


def reasons() -> str:
    """Why a line moves, as Markdown."""
    rows = "".join(f"| `{name}` | {doc} |\n" for name, doc in REASONS.items())
    return f"| reason | means |\n|---|---|\n{rows}"


def test_the_reasons_of_a_change_are_all_there() -> None:
    match = MARKS.search(PAGE.read_text(encoding="utf-8"))
    assert match is not None
    assert match[2] == reasons(), "run: python tests/test_usage_docs.py"


def test_the_numbers_on_the_page_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"more than {records.MAX_GAP_SECONDS:,} s lie between" in page
    assert f"more than {lines.POOR_LOSS:.0%} of packets lost".replace("%", " %") in page
    assert f"conceal ratio over {lines.POOR_CONCEALMENT}" in page
    assert f"a MOS in the record under {lines.POOR_MOS}," in page
    assert f"over {lines.POOR_SEVERE_LONG:.0%} of a call of {lines.LONG_SECONDS} s".replace("%", " %") in page
    assert f"({lines.POOR_SEVERE_SHORT:.0%} of a shorter one)".replace("%", " %") in page
    assert f"({', '.join(map(str, lines.DROPPED_CAUSES))})" in page
    assert f"within {lines.REDIAL_SECONDS} s of a poor or dropped one" in page
    assert f"without its last {derive.KEPT_DIGITS} digits" in page


if __name__ == "__main__":
    PAGE.write_text(MARKS.sub(rf"\g<1>{reasons()}\g<3>", PAGE.read_text(encoding="utf-8")), encoding="utf-8")
