"""docs/estate.md says what the code does. Run as a program, this brings its generated parts up to date."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from api.main import shell  # noqa: E402
from collector.estate.columns import FILES, SETTINGS_KEYS  # noqa: E402

PAGE = ROOT / "docs" / "estate.md"
SOURCES = ("all_files", "checks", "folder", "overlaps", "settings", "table")
NOTING = {"error", "warning", "wrong", "warn", "_wrong", "check_apart", "check_names"}
PROBLEM_DOCS = {
    "bad_date": "no date as `YYYY-MM-DD`",
    "bad_number": "no number, or one that cannot be",
    "bad_quotes": "a quote is not closed, or stands within a field",
    "bad_subnet": "no network in CIDR notation",
    "bad_toml": "`estate.toml` is no TOML",
    "bad_value": "a setting has a value that it cannot have",
    "bare_site": "a site has no subnet, device or number range: no call will be its own",
    "blank_field": "a needed field is blank",
    "control_character": "a line holds NUL, an old line end or another control character",
    "dead_row": "a row can never match: its site or pool is not there then, or longer prefixes cover a subnet wholly",
    "device_and_trunk": "a device is in `trunks.csv` too on one day: it is a telephone or a trunk",
    "duplicate_column": "a column stands twice",
    "duplicate_row": "a row says what another says (of holidays: a warning)",
    "empty_file": "a file has no header line",
    "ends_before_begin": "`valid_to` is before `valid_from`",
    "file_too_large": "a file is too large to be kept by hand",
    "gap": "a name has rows before and after some days, and none on them",
    "host_bits_set": "an address within a network instead of the network",
    "huge_field": "a field is longer than 1000 characters",
    "line_too_long": "a line is longer than 64 KiB",
    "missing_column": "a needed column is missing",
    "missing_file": "a needed file is missing",
    "missing_folder": "there is no such folder",
    "missing_key": "a needed setting is missing",
    "nested_subnet": "a subnet lies in one of another site: the longer prefix wins",
    "no_channels": "a trunk to the public network has no channels",
    "no_place": "a device has neither a site nor a pool",
    "no_plan": "a site has extensions and no dial plan",
    "no_sites": "`sites.csv` has no row",
    "no_tariffs": "there is no folder `tariffs`, and `estate.toml` names no tariff",
    "not_digits": "a number holds something other than digits",
    "not_utf8": "bytes that are not UTF-8",
    "outside_parent": "a site is there when its parent is not",
    "outside_site": "a row's dates go beyond those of its site",
    "overlapping_devices": "a device has two rows on one day",
    "overlapping_plans": "a site has two dial plans on one day",
    "overlapping_pools": "a pool has two rows on one day",
    "overlapping_public_numbers": "a public number has two rows on one day",
    "overlapping_ranges": "two ranges of a partition share numbers on one day",
    "overlapping_sites": "a site has two rows on one day",
    "overlapping_subnets": "a subnet has two rows on one day",
    "overlapping_trunks": "a trunk has two rows on one day",
    "parent_loop": "parents run in a circle",
    "plan_mismatch": "extensions and dial plan differ in lengths or first digits",
    "ragged_row": "a row has more or fewer fields than the header",
    "range_backwards": "a range's first number comes after its last",
    "range_lengths": "a range's first and last number differ in length",
    "too_many_columns": "a header has more than 64 columns",
    "too_many_levels": "a site has more than 16 levels above it",
    "unknown_column": "a column that no file of this name has",
    "unknown_file": "a file that nothing reads",
    "unknown_key": "a setting that there is not",
    "unknown_parent": "a parent is no site",
    "unknown_pool": "a pool is not in `pools.csv`",
    "unknown_site": "a site is not in `sites.csv`",
    "unknown_word": "a word is none of those that may stand there",
    "unreadable_file": "a file cannot be read",
    "unused_pool": "no device names a pool",
}


def noted() -> Iterator[tuple[str, str]]:
    """Codes that the sources note, and how."""
    for name in SOURCES:
        for node in ast.walk(ast.parse((ROOT / "collector" / "estate" / f"{name}.py").read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            how = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if how not in NOTING:
                continue
            for argument in node.args:
                for constant in ast.walk(argument):
                    value = constant.value if isinstance(constant, ast.Constant) else None
                    if isinstance(value, str) and (
                        value in PROBLEM_DOCS or re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", value)
                    ):
                        yield value, "warning" if how.startswith("warn") else "error"


def codes() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for code, how in noted():
        if code not in NOT_CODES:
            found.setdefault(code, set()).add(how)
    found.setdefault("host_bits_set", {"error"})
    found.setdefault("not_utf8", {"error"})
    return found


NOT_CODES = {"valid_from", "valid_to", "target_seconds", "target_share", "extension_digits"}
"""Names of columns that stand in such calls too."""


def problems() -> str:
    rows = [
        f"| `{code}` | {' or '.join(sorted(codes()[code]))} | {PROBLEM_DOCS[code]} |" for code in sorted(PROBLEM_DOCS)
    ]
    return "\n".join(["| code | is | means |", "|---|---|---|", *rows])


def files() -> str:
    parts = []
    for declared in FILES:
        needed = " The file is needed." if declared.needed else ""
        rows = [
            f"| `{column.name}`{' (needed)' if column.needed else ''} | {column.doc} |" for column in declared.columns
        ]
        parts.append(
            "\n".join([f"### {declared.name}", "", declared.doc + needed, "", "| column | holds |", "|---|---|", *rows])
        )
    return "\n\n".join(parts)


def settings() -> str:
    rows = [
        f"| {'[[benefit]]' if section == 'benefit' else f'[{section}]'} | `{key}` | {doc} |"
        for section, keys in SETTINGS_KEYS.items()
        for key, doc in keys.items()
    ]
    return "\n".join(["| section | key | says |", "|---|---|---|", *rows])


PARTS = {"files": files, "settings": settings, "problems": problems}


def part(name: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    match = re.search(rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", text, re.DOTALL)
    assert match is not None, f"the page has no part {name}"
    return match[1]


@pytest.mark.parametrize("name", PARTS)
def test_the_tables_are_those_of_the_code(name: str) -> None:
    assert part(name) == PARTS[name](), "run: python tests/test_estate_docs.py"


def test_every_problem_is_documented_and_every_documented_problem_exists() -> None:
    assert set(codes()) == set(PROBLEM_DOCS)


@pytest.mark.parametrize("command", ["check", "show", "unmapped", "pairs"])
def test_every_option_is_documented_and_every_documented_option_exists(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell(["estate", command, "--help"]) == 0
    exist = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    told = PAGE.read_text(encoding="utf-8").partition(f"### callgauge estate {command}\n")[2].partition("\n#")[0]
    assert set(re.findall(r"^\| `(--[a-z-]+)` \|", told, re.MULTILINE)) == exist


def test_the_command_of_the_page_finds_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    command = re.search(r"^    callgauge (estate check .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert command is not None
    assert shell(command[1].split()) == 0
    assert "no problem" in capsys.readouterr().out


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        head, _, rest = page.partition(begin)
        page = f"{head}{begin}{make()}\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(page, encoding="utf-8")
