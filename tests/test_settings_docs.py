"""docs/settings.md names every setting. Run as a program, this brings its tables up to date."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from api.settings import ASKED_BY, SECRETS, Settings, all_keys, load  # noqa: E402
from api.settings_command import plain, toml  # noqa: E402
from api.settings_words import doc_of, kind_of  # noqa: E402

PAGE = ROOT / "docs" / "settings.md"


def tables() -> str:
    """The settings by section, as Markdown."""
    parts: list[str] = []
    section: str | None = None
    for key in all_keys():
        if key.section != section:
            section = key.section
            parts += ["", f"### [{section}]" if section else "### Before all sections", ""]
            parts += ["| setting | type | default | what it is |", "|---|---|---|---|"]
        default = "" if plain(key.default) in (None, "") else f"`{toml(plain(key.default))}`"
        kind = f"{kind_of(key)}, secret" if key.path in SECRETS else kind_of(key)
        doc = doc_of(key).replace("|", "\\|")
        parts.append(f"| `{key.path.rpartition('.')[2]}` | {kind} | {default} | {doc} |")
    return "\n".join(parts[1:])


def test_every_setting_is_documented_with_its_default() -> None:
    match = re.search(r"<!-- settings: begin -->\n(.*?)\n?<!-- settings: end -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert match is not None
    assert match[1] == tables(), "run: python tests/test_settings_docs.py"


def test_the_example_is_a_settings_file(tmp_path: Path) -> None:
    match = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    path = tmp_path / "callgauge.toml"
    (tmp_path / "token").write_text("t\n")
    path.write_text(match[1].replace("/etc/callgauge/influx.token", "token"), encoding="utf-8")
    found = load(path, {})
    assert found.process.metrics == "127.0.0.1:9464"
    assert found.packets.interfaces == ("eth1",)


def test_what_asks_for_a_part_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for section, name in ASKED_BY.items():
        if section != "broker":
            assert f"`{section}.{name}`" in text


def test_no_setting_is_without_words() -> None:
    for key in all_keys():
        assert len(doc_of(key)) > 8, key.path
    assert all(dataclasses.is_dataclass(one) for one in (Settings,))


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    made = re.sub(
        r"(<!-- settings: begin -->\n).*?(<!-- settings: end -->)",
        lambda match: match[1] + tables() + "\n" + match[2],
        page,
        flags=re.DOTALL,
    )
    PAGE.write_text(made, encoding="utf-8")
