"""One document, five formats: each is parsed back, and in each the lines add up to the totals to the penny."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_documents import EXAMPLE_SITES, HOSTILE, savings_example

from analytics.cost.document import Document, Head, Ref, Row, Section
from analytics.cost.figures import Book, Evidence, Figure
from api.layout import Screen, width
from api.report.data import as_csv, as_csv_files, as_json
from api.report.page import as_html, divided
from api.report.shown import formula_in_words, heading, inert, number, some, with_unit
from api.report.text import as_table
from api.report.workbook import as_xlsx

Lines = list[tuple[bool, list[Decimal | None]]]
"""Rows of a table as read back: whether a total, and its three sums of money."""
WIDE = Screen(200)


def decimal(text: str) -> Decimal | None:
    """A number as a person reads it; None for a dash."""
    text = re.sub(r"[●◐○\s,]", "", text).replace("−", "-")
    return None if text in ("—", "") else Decimal(text)


def from_json(document: Document) -> Lines:
    section = json.loads(as_json(document))["sections"][0]
    return [
        (row["total"], [None if cell["value"] is None else Decimal(cell["value"]) for cell in row["cells"][1:4]])
        for row in section["rows"]
    ]


def from_csv(document: Document) -> Lines:
    rows = list(csv.DictReader(io.StringIO(as_csv(document), newline="")))
    return [(row["row"] == "total", [decimal(value) for value in list(row.values())[1:4]]) for row in rows]


def from_table(document: Document) -> Lines:
    text = as_table(document, WIDE).partition("Site by site")[2].split("\n")
    body = [line for line in text[3:] if line]
    rows: Lines = []
    for line in body:
        values = re.findall(r"(?<= )[−\d,]+\.\d\d(?= |$)|(?<= )—(?= |$)", line)
        rows.append((line.strip().startswith("Total"), [decimal(value) for value in values[-4:][:3]]))
        if rows[-1][0]:
            break
    return rows


class Cells(HTMLParser):
    """Text of the cells of a page's first table of sites; what a cell opens is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[bool, list[str]]] = []
        self.tags: list[str] = []
        self._proof = 0
        self._in_cell = False
        self._section = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "section":
            self._section = given.get("id") == "s0"
        if self._proof or given.get("class") == "proof":
            self._proof += tag == "div"
        elif tag == "tr" and self._section:
            self.rows.append((given.get("class") == "total", []))
        elif tag == "td" and self._section:
            self.rows[-1][1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if self._proof:
            self._proof -= tag == "div"
        elif tag == "td":
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell and not self._proof:
            self.rows[-1][1][-1] += data


def from_html(document: Document) -> Lines:
    parser = Cells()
    parser.feed(as_html(document))
    return [(total, [decimal(cell) for cell in cells[1:4]]) for total, cells in parser.rows if cells]


def from_xlsx(document: Document) -> Lines:
    sheet = openpyxl.load_workbook(io.BytesIO(as_xlsx(document)), data_only=True)["Sites"]
    rows: Lines = []
    for row in sheet.iter_rows(min_row=5, values_only=True):
        if row[0] is None:
            break
        money = [None if value == "—" else Decimal(str(value)).quantize(Decimal("0.01")) for value in row[1:4]]
        rows.append((row[0] == "Total", money))
    return rows


READERS: Mapping[str, Callable[[Document], Lines]] = {
    "json": from_json,
    "csv": from_csv,
    "table": from_table,
    "html": from_html,
    "xlsx": from_xlsx,
}


def sums(lines: Lines) -> list[Decimal]:
    """Sums of the lines that count: those with all their values."""
    whole = [values for total, values in lines if not total and None not in values]
    return [sum((value for value in column if value is not None), Decimal(0)) for column in zip(*whole, strict=True)]


@pytest.mark.parametrize("name", READERS)
def test_lines_add_up_to_the_total_in(name: str) -> None:
    lines = READERS[name](savings_example())
    assert [total for total, _ in lines] == [False, False, False, False, True]
    assert sums(lines) == lines[-1][1] == [Decimal("2684.79"), Decimal("1442.20"), Decimal("1242.59")]


@pytest.mark.parametrize("name", READERS)
def test_a_missing_figure_is_no_zero_in(name: str) -> None:
    assert READERS[name](savings_example())[3][1] == [None, Decimal("75.00"), None]


PENCE = st.integers(0, 10**9).map(lambda pence: f"{Decimal(pence).scaleb(-2):.2f}")
SITES = st.lists(st.tuples(st.from_regex(r"[A-Z][a-z]{2,8}", fullmatch=True), PENCE, PENCE), min_size=1, max_size=7)


@settings(max_examples=25, deadline=None)
@given(sites=SITES)
def test_whatever_the_sites_all_formats_hold_the_same_lines_and_they_add_up(
    sites: list[tuple[str, str, str]],
) -> None:
    document = savings_example([(f"{name}x", legacy, ip) for name, legacy, ip in sites])
    expected = from_json(document)
    assert sums(expected) == expected[-1][1]
    for name, reader in READERS.items():
        assert reader(document) == expected, name


def test_json_is_the_same_bytes_each_time_and_its_digest_holds() -> None:
    text = as_json(savings_example())
    assert text == as_json(savings_example())
    body = json.loads(text)
    digest = body.pop("digest")
    held = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert digest == f"sha256:{hashlib.sha256(held).hexdigest()}"


def test_json_carries_each_figures_proof_with_values_as_text() -> None:
    figures: dict[str, Any] = json.loads(as_json(savings_example()))["figures"]
    saving = figures["site.0.saving"]
    assert saving["value"] == "852.49"
    assert saving["formula"] == "{site.0.legacy} - {site.0.ip}"
    assert saving["inputs"] == ["site.0.legacy", "site.0.ip"]
    assert saving["evidence"] == "allocated"
    assert figures["site.0.legacy"]["source"] == "elements.csv:0"
    assert figures["site.3.legacy"] | {"label": ""} == {
        "label": "",
        "value": None,
        "unit": "money",
        "shown": "—",
        "evidence": "missing",
        "formula": "",
        "inputs": [],
        "source": "baseline.csv",
        "why": "no baseline bill",
    }


def test_the_csv_folder_holds_each_section_and_the_proof_of_every_figure() -> None:
    document = savings_example()
    files = as_csv_files(document)
    assert set(files) == {f"{section.name}.csv" for section in document.sections} | {"figures.csv", "report.csv"}
    figures = {row["key"]: row for row in csv.DictReader(io.StringIO(files["figures.csv"], newline=""))}
    assert len(figures) == len(document.book)
    assert figures["total.saving"]["formula"] == "sum({site.0.saving}, {site.1.saving}, {site.2.saving})"
    assert figures["Switchboard.> 60"]["value"] == "<5"


def test_csv_says_why_a_value_is_missing_and_how_sure_a_line_is() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(savings_example()), newline="")))
    assert rows[0]["evidence"] == "allocated"
    assert "legacy, Port Lane: no baseline bill" in rows[3]["note"]


def test_no_text_in_csv_is_a_formula() -> None:
    for content in as_csv_files(savings_example()).values():
        for row in csv.reader(io.StringIO(content, newline="")):
            for cell in row:
                assert not cell.startswith(("=", "+", "@", "\t", "\r"))
                assert not cell.startswith("-") or re.fullmatch(r"-[\d.]+", cell)


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1"])
def test_text_that_a_spreadsheet_would_run_is_made_inert(text: str) -> None:
    assert inert(text) == f"'{text}"
    assert inert("Ashcombe") == "Ashcombe"


def test_a_page_runs_nothing_and_fetches_nothing_whatever_a_site_is_called() -> None:
    page = as_html(savings_example())
    parser = Cells()
    parser.feed(page)
    assert parser.rows[3][1][0] == HOSTILE
    assert not set(parser.tags) & {"script", "img", "link", "iframe", "object"}
    assert "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "url(http" not in page
    assert "@import" not in page


def test_each_figure_of_a_page_opens_its_formula_and_leads_to_its_inputs() -> None:
    page = as_html(savings_example())
    assert "‹legacy, Ashcombe› - ‹IP, Ashcombe›" in page
    targets = set(re.findall(r' id="(\w+)"', page))
    assert set(re.findall(r'href="#(\w+)"', page)) <= targets


def test_a_page_says_its_answer_before_all_else() -> None:
    document = savings_example()
    body = as_html(document).partition("<body>")[2]
    assert body.index("<h1>Not established") < body.index("<dl") < body.index("<section")


def test_a_long_answer_goes_on_below_its_heading_and_loses_nothing() -> None:
    short = "Established: 31.4 % saved. Claim: more than 30 %."
    reasons = "No invoice states minutes for 12 months. " * 5
    assert divided(short) == (short, "")
    heading_, rest = divided(f"{short} {reasons}")
    assert heading_.startswith(short)
    assert len(heading_) <= 150
    assert f"{heading_} {rest}" == f"{short} {reasons}".strip()
    assert divided("word " * 60) == ("word " * 60, "")


def test_a_table_fits_its_screen_and_loses_no_digit() -> None:
    document = savings_example([*EXAMPLE_SITES, ("Sites with a very long name indeed", "1234567.89", "0.01")])
    for room in (60, 80, 100, 140):
        text = as_table(document, Screen(room))
        assert max(width(line) for line in text.split("\n")) <= room
        for figure in ("1,234,567.89", "1,237,252.68", "3,107.00"):
            assert figure in text


def test_colour_is_only_where_it_is_asked_for() -> None:
    assert "\x1b" not in as_table(savings_example(), Screen(100))
    assert "\x1b[1m" in as_table(savings_example(), Screen(100, colour=True))


def test_a_hostile_name_commands_no_terminal() -> None:
    text = as_table(savings_example([("A\x1b[2J\u202eB", "1.00", "2.00")]), Screen(100))
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("unit", "value", "shown", "told"),
    [
        ("money", "1234.5", "1,234.50", "£1,234.50"),
        ("money", "-0.005", "−0.01", "−£0.01"),
        ("money", "-0.004", "0.00", "£0.00"),
        ("percent", "44.535", "44.54", "44.54 %"),
        ("calls", "1200", "1,200", "1,200 calls"),
        ("seconds", "12", "12", "12 s"),
        ("seconds", "12.25", "12.3", "12.3 s"),
        ("factor", "1.0412", "1.0412", "1.0412"),
        ("erlang", "1.5", "1.50", "1.50 E"),
        # 6 × 10^9 atoms are one unit of currency: 60 seconds a minute, 8 decimals.
        ("atoms", "4951020000000", "825.17", "£825.17"),
        ("atoms", "-73", "−0.00000001", "−£0.00000001"),
        ("atoms", "7210000000", "1.20166667", "£1.20166667"),
    ],
)
def test_numbers_read_as_people_write_them(unit: str, value: str, shown: str, told: str) -> None:
    figure = Figure("k", "l", unit, Decimal(value), Evidence.MEASURED)
    assert number(figure) == shown
    assert with_unit(figure, "GBP") == told


def test_formula_in_words_is_of_the_currency_and_not_of_atoms() -> None:
    book = Book()
    book.enter("a.atoms", "Calls, exact", "atoms", 4_951_020_000_000, Evidence.MEASURED, "usage, version 1")
    made = book.compute("a", "Calls", "money", "round({a.atoms} / 6000000000, 2)")
    document = replace(savings_example(), book=book)
    assert formula_in_words(made, document) == "round(‹Calls, exact›, 2)"
    assert "6000000000" in formula_in_words(made, document, atoms=True)


def test_a_heading_names_the_unit_once() -> None:
    assert heading(Head("Saving", "money"), "GBP") == "Saving [£]"
    assert heading(Head("Saving", "money"), "SEK") == "Saving [SEK]"
    assert heading(Head("Calls", "calls"), "GBP") == "Calls"
    assert heading(Head("Site"), "GBP") == "Site"


def test_a_report_without_rows_is_written_in_every_format() -> None:
    section = Section("empty", "Nothing", "There are no calls.", (Head("Site"),), ())
    document = Document("sites", "Sites", "There are no calls.", (), (section,), Book(), "GBP")
    assert "There are no calls." in as_table(document, Screen(80))
    assert "There are no calls." in as_html(document)
    assert json.loads(as_json(document))["figures"] == {}
    assert as_csv(document).startswith("Site,")
    assert as_xlsx(document).startswith(b"PK")


def test_a_section_is_chosen_by_its_name_and_another_is_an_error() -> None:
    document = savings_example()
    assert as_csv(document, "months").startswith("Month,")
    with pytest.raises(KeyError):
        as_csv(document, "nothing")


def test_a_figure_in_two_places_is_one_figure() -> None:
    book = Book()
    book.enter("a", "a", "money", Decimal(1), Evidence.MEASURED, "x.csv:1")
    twice = (Row(("first", Ref("a"))), Row(("second", Ref("a"))))
    section = Section("s", "s", "s", (Head("Name"), Head("a", "money")), twice)
    document = Document("savings", "t", "s", (), (section,), book, "GBP")
    sheet = openpyxl.load_workbook(io.BytesIO(as_xlsx(document)))["S"]
    assert (sheet["B5"].value, sheet["B6"].value) == (1, "=$B$5")


def noted(*notes: str) -> Document:
    """A table of the names that rows have beside their notes."""
    book = Book()
    rows = []
    for index, note in enumerate(notes):
        book.enter(f"x{index}", f"x{index}", "money", index, Evidence.MEASURED, "x.csv")
        rows.append(Row((f"S{index}", "Lines, all", Ref(f"x{index}")), note=note))
    section = Section("s", "s", "s", (Head("Site"), Head("What"), Head("Sum", "money")), tuple(rows))
    return Document("costs", "t", "s.", (), (section,), book, "GBP")


REASON = "the bill of the baseline month states no minutes for this site, so its call charges cannot be scaled"


@pytest.mark.parametrize("columns", [60, 100, 132, 200])
def test_no_reason_is_cut_on_any_screen(columns: int) -> None:
    text = as_table(noted(REASON, "", REASON, "bill"), Screen(columns))
    assert "…" not in text
    assert REASON in " ".join(text.split())
    assert all(width(line) <= columns for line in text.split("\n"))


def test_notes_stand_beside_their_lines_where_they_fit_and_once_below_where_they_do_not() -> None:
    assert re.search(r"S0 +Lines, all +0.00 +bill", as_table(noted("bill"), Screen(60)))
    below = " ".join(as_table(noted(REASON, REASON), Screen(60)).split())
    assert f"S0, Lines, all; S1, Lines, all: {REASON}" in below


def test_labels_that_hold_commas_are_told_apart() -> None:
    assert some(["legacy, A", "legacy, B", "IP, A", "IP, B"]) == "legacy, A; legacy, B; IP, A and 1 more"
