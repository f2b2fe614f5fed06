"""The page of documentation tells of the pages there are, of their rights and of their parameters."""

from __future__ import annotations

import re
from pathlib import Path

from api.call_pages.facts import BUFFER_MS, MOST_CALLS
from dashboards.figures.site import LEAST
from dashboards.pages import pages

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: cells
    for line in TEXT.partition("## Pages")[2].partition("\n\n- ")[0].splitlines()
    if line.startswith("| ")
    and "`/" in line
    and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5
}
MODULES = {
    "Calls": "listing",
    "Streams": "listing",
    "Savings": "reports",
    "Costs": "reports",
    "Public access": "reports",
}


def test_every_page_is_told_with_its_right_and_no_other() -> None:
    told = {(name, cells[1].split("`")[1].split("/KEY")[0], cells[3].strip("`")) for name, cells in ROWS.items()}
    exist = {(page.title, page.path, page.right.value) for page in pages()}
    assert told == exist


def test_every_parameter_that_is_told_is_read() -> None:
    for page in pages():
        name = page.title
        folder = ROOT / "dashboards"
        at = folder / f"{MODULES[name]}.py" if name in MODULES else None
        own = at or folder / f"{page.layout.__module__.removeprefix('dashboards.').replace('.', '/')}.py"
        source = own.read_text(encoding="utf-8")
        if '"kiosk"' not in source:
            source += (folder / "shell.py").read_text(encoding="utf-8") if page.path == "/" else ""
        source += (folder / "spans.py").read_text(encoding="utf-8") if "chosen(" in source else ""
        for parameter in re.findall(r"`([a-z]+)`", ROWS[name][4]):
            assert f'"{parameter}"' in source, (name, parameter)


def test_limits_that_are_told_are_those_of_the_code() -> None:
    assert f"at most {MOST_CALLS};" in TEXT
    assert f"buffer of {BUFFER_MS:g} ms" in TEXT
    assert f"fewer than {LEAST} rated streams" in TEXT


def test_pictures_are_there_and_small() -> None:
    pictures = re.findall(r"\]\((images/[a-z-]+\.png)\)", TEXT)
    assert pictures
    for name in pictures:
        assert (ROOT / "docs" / name).stat().st_size < 250_000, name
