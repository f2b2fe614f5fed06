"""The guides say what is there: commands, options, settings, files and pages. As a program it renews the roles."""

from __future__ import annotations

import re
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import typer  # noqa: E402

from api.main import with_all_commands  # noqa: E402
from api.settings import all_keys, load  # noqa: E402
from api.web.rights import RIGHTS, Right, Role  # noqa: E402

DOCS = ROOT / "docs"
NAMES = ("start", "install", "span", "cucm", "from-homer", "grafana", "accuracy", "performance", "security")
PAGES = [DOCS / f"{name}.md" for name in NAMES]


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_every_page_is_in_the_index_once() -> None:
    listed = re.findall(r"^\| .*?\|", text(DOCS / "README.md"), re.MULTILINE)
    names = [name for line in listed for name in re.findall(r"\]\(([\w-]+\.md)\)", line)]
    assert sorted(names) == sorted(page.name for page in DOCS.glob("*.md") if page.name != "README.md")


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as Git forges make them."""
    heads = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [*PAGES, DOCS / "README.md"], ids=lambda page: page.stem)
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(((?!http)[^)#]+)(#([^)]+))?\)", text(page)):
        assert (page.parent / target).exists(), target
        if anchor:
            assert anchor in anchors(page.parent / target), f"{target}#{anchor}"


@cache
def root() -> Any:
    return typer.main.get_command(with_all_commands())


def commands(page: Path) -> list[list[str]]:
    """Words after `callgauge` of each command of a page: of its blocks, and in its sentences."""
    found = re.findall(r"^    (?:[A-Z_]+=\S+ )*(?:\./run )?callgauge ([^|\n]+)", text(page), re.MULTILINE)
    found += re.findall(r"`callgauge ([^`]+)`", text(page))
    return [shlex.split(one.replace("…", "")) for one in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in commands(page):
        command, left = root(), list(words)
        while left and left[0] in getattr(command, "commands", {}):
            command = command.commands[left.pop(0)]
        assert command is not root() or words[0].startswith("--"), words
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        for word in left:
            if re.match(r"--?[a-z]", word):
                assert word in known, f"{page.name}: {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_files_and_modules_that_are_named_exist(page: Path) -> None:
    keys = {key.path for key in all_keys()}
    sections = {key.split(".")[0] for key in keys if "." in key}
    for name in re.findall(r"`([a-z]+\.[a-z_.]+)`", text(page)):
        if name.split(".")[0] in sections:
            assert name in keys, name
    for path in re.findall(r"(?<![\w/.])((?:packaging|tests|sample_pcaps|examples)/[\w./*-]+\w)", text(page)):
        assert list(ROOT.glob(path)), path
    for name in re.findall(r"python -m (benchmarks\.\w+)", text(page)):
        assert (ROOT / (name.replace(".", "/") + ".py")).exists(), name


def test_the_settings_of_the_cucm_guide_are_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", text(DOCS / "cucm.md"), re.DOTALL)
    (tmp_path / "callgauge.toml").write_text(example, encoding="utf-8")
    (folder,) = load(tmp_path / "callgauge.toml", {}).cdr.folders
    assert (folder.path, folder.format, folder.after) == (Path("/srv/cdr/cucm"), "cucm", "move")


def test_what_compose_takes_and_runs_is_told() -> None:
    import yaml  # type: ignore[import-untyped]

    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    page = text(DOCS / "install.md")
    given = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", compose))
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| .* \| (\S+) \|$", page, re.MULTILINE))
    assert {name: value.strip("`") for name, value in told.items()} == {
        name: value or "none" for name, value in given.items()
    }
    services = set(yaml.safe_load(compose)["services"])
    assert services <= set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))


def test_the_units_are_told() -> None:
    units = {path.name for path in (ROOT / "packaging" / "systemd").glob("*.service")}
    assert units == set(re.findall(r"^\| `([\w-]+\.service)` \|", text(DOCS / "install.md"), re.MULTILINE))


def test_the_dashboards_of_grafana_are_told() -> None:
    import json

    boards = [json.loads(path.read_text("utf-8")) for path in (ROOT / "packaging/grafana/dashboards").glob("*.json")]
    told = re.findall(r"^\| ([A-Z][\w ]+) \|", text(DOCS / "grafana.md"), re.MULTILINE)
    assert sorted(board["title"] for board in boards) == sorted(told)


def roles() -> str:
    """The rights of each role as Markdown."""
    rows = [f"| `{role}` | {', '.join(f'`{right}`' for right in Right if right in RIGHTS[role])} |" for role in Role]
    return "\n".join(["| role | rights |", "|---|---|", *rows])


ROLES = re.compile(r"(<!-- roles: begin -->\n)(.*?)(\n<!-- roles: end -->)", re.DOTALL)


def test_the_rights_of_the_roles_are_told() -> None:
    match = ROLES.search(text(DOCS / "security.md"))
    assert match is not None
    assert match[2] == roles(), "run: python tests/test_guides.py"


if __name__ == "__main__":
    page = DOCS / "security.md"
    page.write_text(ROLES.sub(lambda match: match[1] + roles() + match[3], text(page)), encoding="utf-8")
