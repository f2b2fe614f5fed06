"""The workbook computes: anew from its formulas it gives what the book of figures holds."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from excel_evaluator import Evaluator
from openpyxl.worksheet.worksheet import Worksheet
from report_documents import HOSTILE, savings_example

from analytics.cost.document import Document, Head, Ref, Row, Section
from analytics.cost.figures import Book, Evidence
from analytics.cost.formula import FormulaError
from api.report.workbook import Place, as_xlsx, excel_formula, letters, sheet_names

PENNY = Decimal("0.005")


def every_operator() -> Document:
    """Figures of every operator and function of the formula language, the ties of rounding among them."""
    book = Book()
    for name, value in (("a", "18.788"), ("b", "2.805"), ("c", "-7"), ("d", "60")):
        book.enter(name, name, "factor", Decimal(value), Evidence.MEASURED, f"inputs.csv:{name}")
    formulas = (
        "round({a} * 1.0412, 2)",
        "round({b}, 2)",
        "-({a} - {b}) / {d}",
        "sum({a}, {b}, {c}, {d})",
        "sum({a}, {c}, {d} * 2)",
        "min({a}, {b}) + max({c}, {d}, 3)",
        "{a} - ({b} - {c}) * ({d} + 1) / 2",
        "{a} - ({b} - ({c} - 2)) / ({d} / 3) * 5",
        "-({a} + {b}) * -({c} - 1) + 4",
        "sum({f0}, {f1})",
        " + ".join(["{a} * 2 - {b}"] * 60),
    )
    rows = []
    for index, formula in enumerate(formulas):
        book.compute(f"f{index}", f"result {index}", "money", formula)
        rows.append(Row((formula, Ref(f"f{index}"))))
    section = Section("Results", "Results", "All of it.", (Head("Formula"), Head("Result", "money")), tuple(rows))
    return Document("costs", "Operators", "All of it.", (), (section,), book, "GBP")


def many_terms(terms: int) -> Document:
    """A sum of very many figures that lie in two places, so that no range holds them."""
    book = Book()
    keys = []
    for index in range(terms):
        book.enter(f"x{index}", f"x{index}", "money", Decimal(index), Evidence.MEASURED, "x.csv")
        book.enter(f"y{index}", f"y{index}", "money", Decimal(1), Evidence.MEASURED, "y.csv")
        keys.append(f"{{x{index}}}")
    book.compute("sum", "sum", "money", f"sum({', '.join(keys)})")
    section = Section("s", "s", "s", (Head("Name"), Head("Sum", "money")), (Row(("All", Ref("sum")), total=True),))
    return Document("costs", "t", "s", (), (section,), book, "GBP")


def opened(document: Document) -> tuple[openpyxl.Workbook, openpyxl.Workbook]:
    """The workbook twice: with formulas, and with the values that were written beside them."""
    data = as_xlsx(document)
    return openpyxl.load_workbook(io.BytesIO(data)), openpyxl.load_workbook(io.BytesIO(data), data_only=True)


def trace_rows(sheet: Worksheet) -> dict[str, int]:
    """Line of each figure in the trace, by key."""
    return {str(row[0].value): row[0].row for row in sheet.iter_rows(min_row=2)}


def very_long() -> Document:
    """A formula of thousands of operands, as an estate of many sites makes them."""
    book = Book()
    for index in range(3000):
        book.enter(f"x{index}", f"x{index}", "money", Decimal(index), Evidence.MEASURED, "x.csv")
    book.compute("long", "long", "money", " - ".join(f"{{x{index}}}" for index in range(3000)))
    section = Section("s", "s", "s", (Head("Name"), Head("Sum", "money")), (Row(("All", Ref("long"))),))
    return Document("costs", "t", "s", (), (section,), book, "GBP")


DOCUMENTS: dict[str, Callable[[], Document]] = {
    "savings": savings_example,
    "operators": every_operator,
    "many terms": lambda: many_terms(700),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_computed_anew_every_figure_is_what_the_book_holds(name: str) -> None:
    document = DOCUMENTS[name]()
    formulas, values = opened(document)
    evaluator = Evaluator(formulas)
    for key, row in trace_rows(formulas["Trace"]).items():
        figure = document.book[key]
        if figure.value is None:
            assert values["Trace"].cell(row, 3).value == (figure.shown or "—")
            continue
        assert abs(evaluator.value("Trace", row, 3) - figure.value) < Decimal("1e-9"), key
        assert abs(Decimal(repr(values["Trace"].cell(row, 3).value)) - figure.value) < Decimal("1e-6"), key


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_spreadsheet_computes_the_same(name: str, tmp_path: Path) -> None:
    soffice = shutil.which("soffice")
    if soffice is None:
        pytest.skip("no LibreOffice here (Debian: libreoffice-calc) to compute the workbook a second time")
    document = DOCUMENTS[name]()
    formulas, _ = opened(document)
    # openpyxl keeps formulas without their values, so LibreOffice has to compute them.
    formulas.save(tmp_path / "bare.xlsx")
    command = [
        soffice,
        f"-env:UserInstallation=file://{tmp_path}/profile",
        "--headless",
        "--convert-to",
        "xlsx:Calc MS Excel 2007 XML",
    ]
    subprocess.run(
        [*command, "--outdir", str(tmp_path / "out"), str(tmp_path / "bare.xlsx")],
        check=True,
        capture_output=True,
        timeout=200,
    )
    computed = openpyxl.load_workbook(tmp_path / "out" / "bare.xlsx", data_only=True)["Trace"]
    for key, row in trace_rows(computed).items():
        held = document.book.value(key)
        if held is not None:
            assert abs(Decimal(repr(computed.cell(row, 3).value)) - held) < Decimal("1e-6"), key


def test_a_total_is_a_formula_over_the_lines_above_it() -> None:
    formulas, _ = opened(savings_example())
    sheet = formulas["Sites"]
    assert sheet["D5"].value == "=$B$5-$C$5"
    assert sheet["B9"].value == "=SUM($B$5:$B$7)"
    assert sheet["E9"].value == "=100*$D$9/$B$9"


def test_the_trace_names_key_formula_inputs_source_and_reason() -> None:
    document = savings_example()
    _, values = opened(document)
    rows = {row[0]: row for row in values["Trace"].iter_rows(min_row=2, values_only=True)}
    assert set(rows) == {figure.key for figure in document.book}
    assert rows["site.0.saving"][1:8] == (
        "saving, Ashcombe",
        852.49,
        "money",
        "allocated",
        "‹legacy, Ashcombe› - ‹IP, Ashcombe›",
        "site.0.legacy site.0.ip",
        None,
    )
    assert rows["site.0.legacy"][7] == "elements.csv:0"
    assert rows["site.3.legacy"][8] == "no baseline bill"


def test_text_that_looks_like_a_formula_is_text() -> None:
    formulas, _ = opened(savings_example())
    cell = formulas["Sites"]["A7"]
    assert (cell.value, cell.data_type) == (HOSTILE, "s")
    assert sum(str(c.value).startswith("=HYPER") and c.data_type == "f" for ws in formulas for r in ws for c in r) == 0


def test_a_missing_figure_tells_its_reason_and_each_value_its_evidence() -> None:
    formulas, _ = opened(savings_example())
    sheet = formulas["Sites"]
    assert sheet["B8"].value == "—"
    assert "no baseline bill" in sheet["B8"].comment.text
    assert sheet["B5"].number_format == '#,##0.00" ●"'
    assert sheet["C5"].number_format == '#,##0.00" ◐"'


def test_the_same_report_is_the_same_file() -> None:
    assert as_xlsx(savings_example()) == as_xlsx(savings_example())


def test_sheets_have_names_that_a_spreadsheet_bears() -> None:
    names = ["Trace", "trace", "a" * 40, "a" * 41, "x/y[z]", "it's", ""]
    sections = [Section(name, "t", "s", (), ()) for name in names]
    made = sheet_names(sections)
    assert len({name.lower() for name in made}) == len(names)
    assert all(1 <= len(name) <= 31 and not set(name) & set("[]:*?/\\'") for name in made)
    assert not {"trace", "summary"} & {name.lower() for name in made}


@pytest.mark.parametrize(("column", "name"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA")])
def test_columns_are_named_as_spreadsheets_name_them(column: int, name: str) -> None:
    assert letters(column) == name


def test_a_formula_that_is_too_long_for_a_spreadsheet_is_a_value_with_its_formula_in_the_trace() -> None:
    document = very_long()
    assert document.book.value("long") == -sum(range(1, 3000))
    formulas, values = opened(document)
    assert formulas["S"]["B5"].value == -sum(range(1, 3000))
    row = trace_rows(formulas["Trace"])["long"]
    assert values["Trace"].cell(row, 6).value.startswith("‹x0› - ‹x1› - ‹x2›")


def test_only_cells_below_each_other_become_a_range() -> None:
    places = {f"k{row}": Place("S", row, 1) for row in range(5)} | {"side": Place("S", 5, 2), "far": Place("T x", 9, 1)}
    formula = "sum({k0}, {k1}, {k2}, {k4}, {side}, {far}, 2)"
    assert excel_formula(formula, places, "S") == "=SUM($B$1:$B$3,$B$5,$C$6,'T x'!$B$10,2)"
    assert excel_formula("sum({k0}, {k1})", places, "T x") == "=SUM('S'!$B$1:$B$2)"


@pytest.mark.parametrize(
    "formula", ["{a} ** 2", "open({a})", "{a} +", "{a}.real", "", "({a}", "{a} {a}", "round({a})", "max()"]
)
def test_what_is_not_in_the_formula_language_is_refused(formula: str) -> None:
    with pytest.raises(FormulaError):
        excel_formula(formula, {"a": Place("S", 0, 0)}, "S")


def headlined() -> Document:
    """A document with the figures that stand first in a report of savings."""
    document = savings_example()
    document.book.compute("headline", "Saving by the lesser method", "percent", "{total.share}")
    document.book.compute("headline.money", "Saving", "money", "{total.saving}")
    return document


@pytest.mark.parametrize("make", [savings_example, headlined])
def test_the_summary_computes_its_figures_and_says_that_its_sentences_do_not(make: Callable[[], Document]) -> None:
    document = make()
    formulas, values = opened(document)
    sheet = formulas["Summary"]
    texts = [str(cell.value) for row in sheet.iter_rows() for cell in row if cell.value]
    assert any(text.startswith("Figures compute anew. Sentences, notes and words like a verdict are") for text in texts)
    keys = ("headline", "headline.money") if "headline" in document.book else ("total.legacy", "total.share")
    evaluator = Evaluator(formulas)
    found = {str(row[0].value): row[1] for row in sheet.iter_rows(max_col=2) if row[0].value}
    for key in keys:
        figure = document.book[key]
        cell = found[figure.label]
        assert str(cell.value).startswith("='")
        assert abs(evaluator.value("Summary", cell.row, 2) - (figure.value or 0)) < PENNY
        assert abs(Decimal(repr(values["Summary"].cell(cell.row, 2).value)) - (figure.value or 0)) < PENNY


def test_every_sheet_of_a_table_says_that_its_words_are_not_computed_anew() -> None:
    formulas, _ = opened(savings_example())
    for name in formulas.sheetnames[1:-1]:
        assert str(formulas[name].cell(3, 1).value).startswith("Figures compute anew.")
