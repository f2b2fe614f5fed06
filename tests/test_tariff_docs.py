"""docs/tariffs.md says what the code does. Run as a program, this brings its generated parts up to date."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from analytics.cost import rating  # noqa: E402
from analytics.cost.money import ATOMS_PER_UNIT, DECIMALS  # noqa: E402
from analytics.cost.number_classes import ANYWHERE, ELSEWHERE, UNITED_KINGDOM  # noqa: E402
from analytics.cost.tariff import HIGHEST_PRICE  # noqa: E402
from api.main import shell  # noqa: E402
from api.tariff_shown import UNKNOWN, WHY  # noqa: E402
from collector.estate.tariffs import FILES, TERM_VALUES  # noqa: E402

PAGE = ROOT / "docs" / "tariffs.md"
EXAMPLE = ROOT / "tests" / "data" / "cost_example_estate"
SOURCES = (ROOT / "collector" / "estate" / "tariffs.py", ROOT / "collector" / "estate" / "tariff_checks.py")

TERM_DOCS = {
    "currency": "three capital letters, ISO 4217; that of the estate",
    "unit": "what a 1 in its prices is worth",
    "band_crossing": "price of a call that goes on over a change of band",
    "tariff_change": "price of a call that goes on when the next version begins",
    "rounding": "how a line of call charges is rounded to the penny",
    "vat": "whether its prices hold VAT; the tariffs that are compared must agree",
    "holidays": "whether holidays of `holidays.csv` are days of their own",
}
PROBLEM_DOCS = {
    "bad_band": "a band's name is not letters, digits, `-` and `_`, beginning with a letter",
    "bad_clock": "a time of day is not `HH:MM`",
    "bad_days": "a word of `days` is not known",
    "bad_increment": "an increment is not two numbers of seconds from 1 to 86400",
    "bad_minimum": "the minimum is more than a day",
    "bad_prefix": "a prefix begins with 0 or is longer than E.164",
    "bad_term": "a term has a value that it cannot have",
    "bad_version": "a version's folder is not named by the day it begins (an error where the name looks like a day)",
    "band_gap": "a time of the week has no band",
    "band_without_rate": "a class has a price in some bands only (error), or a prefix has (warning)",
    "cap_below_fee": "the cap is below what each call costs at once",
    "class_without_rate": "classes of the country that no row without a prefix covers",
    "currency_mixed": "the currency is not that of the estate",
    "duplicate_inclusive": "a class has inclusive minutes twice",
    "duplicate_rate": "prefix, class and band have a price already",
    "duplicate_term": "a term stands twice",
    "ends_before_begin": "a band's time ends before it begins",
    "inclusive_without_rate": "a class has inclusive minutes and no price",
    "missing_folder": "there is no folder `tariffs`",
    "missing_tariff": "a tariff that `estate.toml` names has no version",
    "missing_term": "a term is not stated",
    "negative_price": "a price is below 0",
    "no_destination": "a row has neither prefix nor class",
    "price_too_high": "a price is above 10,000 units",
    "same_version": "a version says nothing new",
    "too_many_decimals": "a price has more than 8 decimals of the unit",
    "too_many_versions": "there are more than 1,000 versions",
    "unassigned_prefix": "no country has numbers under the prefix",
    "unknown_band": "the band is not in `bands.csv`",
    "unknown_class": "there is no such class, or it is `unknown`, which has no price",
    "unknown_file": "a file or folder that is not read",
    "unreachable_band": "rows above hold at all times of this one, or it is for holidays that the terms do not know",
    "unreachable_rate": "no call can have this row",
    "unreadable_file": "a folder cannot be read",
    "vat_mixed": "tariffs that are compared differ in VAT",
}
"""Problems of tariffs alone; those of every CSV file of the estate are told where the estate is."""


def problem_codes() -> set[str]:
    """Codes as the sources give them."""
    codes = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            place = {"error": 1, "warning": 1, "wrong": 0}.get(node.func.attr)
            if place is not None:
                code = node.args[place]
                assert isinstance(code, ast.Constant), ast.unparse(node)
                codes.add(str(code.value))
    return codes


def rows(heads: str, table: Mapping[str, str]) -> str:
    """A table of names and what they mean."""
    return "\n".join([heads, "|---|---|", *(f"| `{name}` | {doc} |" for name, doc in table.items())])


def class_tables() -> str:
    """Every class of number."""
    parts = {"class": ANYWHERE, "class under +44": UNITED_KINGDOM, "class of other home countries": ELSEWHERE}
    return "\n\n".join(rows(f"| {head} | holds |", table) for head, table in parts.items())


def file_tables() -> str:
    """Every file and its columns."""
    parts = []
    for declared in FILES:
        needed = "" if declared.needed else " May be absent."
        columns = {column.name: column.doc + (" (needed)" if column.needed else "") for column in declared.columns}
        parts.append(f"### {declared.name}\n\n{declared.doc}{needed}\n\n" + rows("| column | holds |", columns))
    return "\n\n".join(parts)


def term_table() -> str:
    """Every key of terms.csv and its values."""
    lines = ["| key | values | says |", "|---|---|---|"]
    for key, values in TERM_VALUES.items():
        lines.append(f"| `{key}` | {', '.join(f'`{value}`' for value in values)} | {TERM_DOCS[key]} |")
    return "\n".join(lines)


def explained() -> str:
    """What the page's command prints for the example estate."""
    command = re.search(r"^    callgauge (tariff explain .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert command is not None
    with redirect_stdout(io.StringIO()) as out:
        assert shell([*command[1].split(), "--estate", str(EXAMPLE)]) == 0
    return "\n".join(f"    {line}".rstrip() for line in out.getvalue().splitlines())


GENERATED: Mapping[str, Callable[[], str]] = {
    "explained": explained,
    "classes": class_tables,
    "unknown": lambda: rows("| why | means |", UNKNOWN),
    "files": file_tables,
    "terms": term_table,
    "reasons": lambda: rows("| why | means |", WHY),
    "problems": lambda: rows("| code | means |", PROBLEM_DOCS),
}


def section(name: str) -> str:
    """What stands between the markers of a part of the page."""
    match = re.search(
        rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert match is not None, name
    return match[1]


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_parts_are_those_of_the_code(name: str) -> None:
    assert section(name) == GENERATED[name](), "run: python tests/test_tariff_docs.py"


def test_every_problem_of_tariffs_is_documented() -> None:
    assert set(PROBLEM_DOCS) == problem_codes()


def test_every_reason_has_its_sentence() -> None:
    assert set(WHY) == set(rating.REASONS) - {""}


def test_every_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    exist = set()
    for command in ("explain", "check"):
        assert shell(["tariff", command, "--help"]) == 0
        exist |= set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    told = set(re.findall(r"^\| `(--[a-z-]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert told == exist - {"--help"}


def fields(body: object) -> set[str]:
    """Every key in a JSON answer."""
    if isinstance(body, dict):
        return set(body).union(*map(fields, body.values()))
    return set().union(*map(fields, body)) if isinstance(body, list) else set()


def test_every_json_field_is_documented_and_every_documented_one_exists(capsys: pytest.CaptureFixture[str]) -> None:
    call = ("908451234567", "--at", "2025-10-07T11:00", "--for", "3m")
    for words in (("explain", *call), ("check",)):
        assert shell(["tariff", *words, "--format", "json", "--estate", str(EXAMPLE)]) == 0
    explained_body, _, checked_body = capsys.readouterr().out.partition("\n}\n")
    exist = fields(json.loads(explained_body + "}")) | fields(json.loads(checked_body))
    told = PAGE.read_text(encoding="utf-8").partition("With `--format json`")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", told)) - {"explain", "check"} == exist


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"{ATOMS_PER_UNIT:,} are one unit" in text
    assert f"at most {DECIMALS} decimals of the currency unit" in text
    assert f"at most {HIGHEST_PRICE:,} units" in text


def write() -> None:
    """Bring the generated parts up to date."""
    for name, make in GENERATED.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
        PAGE.write_text(f"{head}{begin}{make()}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
