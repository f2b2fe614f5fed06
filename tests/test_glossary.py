"""The glossary of the documentation is that of the pages. Running this file writes it anew."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from dashboards.glossary import GLOSSARY  # noqa: E402

PAGE = ROOT / "docs" / "glossary.md"


def written() -> str:
    """The page."""
    rows = [
        f"| {word} | {meaning} |" for word, meaning in sorted(GLOSSARY.items(), key=lambda each: each[0].casefold())
    ]
    return "\n".join(["# Glossary", "", "The words of the pages, as they say them on hover.", "", "| word | means |",
                      "|---|---|", *rows, ""])  # fmt: skip


def test_the_glossary_is_that_of_the_pages() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "run: python tests/test_glossary.py"


def test_every_definition_is_a_sentence() -> None:
    assert all(meaning.endswith((".", ").")) or meaning[-1] in ".]" for meaning in GLOSSARY.values())
    assert all("|" not in word + meaning for word, meaning in GLOSSARY.items())


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
