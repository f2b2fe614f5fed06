"""docs/api.md names every operation. Run as a program, this brings its table up to date."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from analytics.questions.words import KEYS  # noqa: E402
from analytics.store.lake import Lake  # noqa: E402
from api.settings import Settings  # noqa: E402
from api.web.app import build  # noqa: E402
from api.web.serving import make_context  # noqa: E402

PAGE = ROOT / "docs" / "api.md"
METHODS = ("get", "post", "put", "patch", "delete")


def document(folder: Path) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    lake = Lake.open(folder / "store", create=True)
    context = make_context(Settings(store=lake.root), lake)
    try:
        return build(context, dashboards=False).openapi()
    finally:
        context.accounts.close()
        lake.close()


def operations(described: dict[str, Any]) -> str:
    """A table of all operations."""
    lines = ["| operation | what it answers | right | roles |", "|---|---|---|---|"]
    for path, methods in sorted(described["paths"].items()):
        for method in METHODS:
            found = methods.get(method)
            if found is not None and path.startswith("/api/"):
                rights = ", ".join(f"`{right}`" for right in found.get("x-rights", []))
                roles = ", ".join(found.get("x-roles", []))
                lines.append(f"| `{method.upper()} {path}` | {found['summary']} | {rights} | {roles} |")
    return "\n".join(lines)


def words() -> str:
    """A table of all words of a search."""
    lines = ["| word | what it asks for |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{key}` | {rule.doc.replace('|', '/')} |" for key, rule in KEYS.items())])


def between(name: str, page: str) -> str:
    match = re.search(rf"<!-- {name}: begin -->\n(.*?)\n<!-- {name}: end -->", page, re.DOTALL)
    assert match is not None
    return match[1]


def test_every_operation_is_in_the_page_and_no_other(tmp_path: Path) -> None:
    assert between("operations", PAGE.read_text(encoding="utf-8")) == operations(document(tmp_path))


def test_every_word_of_a_search_is_in_the_page() -> None:
    assert between("words", PAGE.read_text(encoding="utf-8")) == words()


def test_every_operation_has_a_summary_a_description_and_a_right(tmp_path: Path) -> None:
    for path, methods in document(tmp_path)["paths"].items():
        for method in METHODS:
            found = methods.get(method)
            if found is not None and path.startswith("/api/"):
                assert found.get("summary"), path
                assert found.get("description"), path
                assert found.get("x-rights"), path


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        made = {"operations": operations(document(Path(name))), "words": words()}
    for part, table in made.items():
        head, tail = f"<!-- {part}: begin -->\n", f"\n<!-- {part}: end -->"
        text = text.replace(head + between(part, text) + tail, head + table + tail)
    PAGE.write_text(text, encoding="utf-8")
