"""The worked example comes out to the penny, and the wrong answers that a short cut gives do not."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from cost_example import OCTOBER, by_month, example_facts, example_usage, legs_of, read_rows, write_cucm_files

from analytics.cost.costs_document import costs_document
from analytics.cost.document import Document, Ref, Section
from analytics.cost.figures import evaluate
from analytics.cost.money import Rounding, from_atoms
from analytics.cost.savings import TOTAL, Savings, make_savings
from analytics.cost.savings_document import savings_document
from analytics.cost.verdict import Outcome

NAMES = {
    "ip_actual": "ip",
    "legacy_as_billed": "billed",
    "m1_ledger_normalised": "m1",
    "m2_counterfactual": "m2",
    "m1_saving": "s1",
    "m2_saving": "s2",
    "m1_pct": "p1",
    "m2_pct": "p2",
}
MONTH_NAMES = {"ip_usage": "ip_calls", "legacy_usage_rerated": "rerated", "legacy_minutes": "minutes"}


@pytest.fixture(scope="module")
def folder() -> Path:
    found = Path(__file__).resolve().parents[2] / "shared" / "golden" / "cost_example"
    if not found.is_dir():
        pytest.skip("the worked example is not here")
    return found


@pytest.fixture(scope="module")
def savings(folder: Path) -> Savings:
    return make_savings(example_facts(example_usage(folder)), [OCTOBER])


def test_every_figure_of_the_worked_example_comes_out_to_the_penny(folder: Path, savings: Savings) -> None:
    with (folder / "expected.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))
    assert [row["site"] for row in expected] == ["A", "B", "ALL"]
    for row in expected:
        prefix = TOTAL if row["site"] == "ALL" else savings.site_prefixes[row["site"]]
        for column, name in NAMES.items():
            assert savings.book.value(f"{prefix}.{name}") == Decimal(row[column]), (row["site"], column)
        if row["site"] == "ALL":
            continue
        for column, name in MONTH_NAMES.items():
            assert savings.book.value(f"{OCTOBER}.{row['site']}.{name}") == Decimal(row[column]), (row["site"], column)


def test_all_calls_of_the_example_are_of_october_by_local_time(folder: Path) -> None:
    assert by_month(example_usage(folder)).keys() == {OCTOBER}


def value_set(savings: Savings) -> set[Decimal]:
    """Every value that any figure has."""
    return {figure.value for figure in savings.book if figure.value is not None}


def test_row_by_row_with_recording_legs_would_give_another_answer_that_does_not_come_out(
    folder: Path, savings: Savings
) -> None:
    rows = read_rows(folder)
    legs = legs_of(rows)
    by_row = [(n, leg) for n, leg in legs if leg.excluded is None and leg.seconds != 480]
    recordings = [
        (n, replace(leg, excluded=None, kind="outbound", number_class="geo"))
        for n, leg in legs
        if leg.excluded == "recording"
    ]
    first_record = [(n, replace(leg, seconds=120)) for n, leg in legs if leg.seconds == 480]
    wrong = make_savings(example_facts(example_usage(folder, by_row + recordings + first_record)), [OCTOBER])
    assert wrong.book.value(f"{OCTOBER}.A.ip_calls") == Decimal("25.87")
    assert Decimal("25.87") not in value_set(savings)


def test_months_by_utc_would_give_another_answer_that_does_not_come_out(folder: Path, savings: Savings) -> None:
    october_utc = [
        (n, leg) for n, leg in legs_of(read_rows(folder)) if datetime.fromtimestamp(leg.connect, UTC).month == 10
    ]
    wrong = make_savings(example_facts(example_usage(folder, october_utc)), [OCTOBER])
    assert wrong.book.value(f"{OCTOBER}.A.ip_calls") == Decimal("18.78")
    assert wrong.book.value(f"{OCTOBER}.A.rerated") == Decimal("273.77")
    assert not {Decimal("18.78"), Decimal("273.77")} & value_set(savings)


def test_leaving_out_capital_and_the_wan_would_give_another_answer_that_does_not_come_out(
    folder: Path, savings: Savings
) -> None:
    facts = example_facts(example_usage(folder))
    kept = tuple(one for one in facts.costs.elements if one.element not in ("Amortised capital", "WAN voice share"))
    wrong = make_savings(replace(facts, costs=replace(facts.costs, elements=kept)), [OCTOBER])
    assert wrong.book.value(f"{TOTAL}.p1") == Decimal("67.59")
    # The rule of equal elements sees the network that is paid for on one side alone.
    assert wrong.verdict.outcome is Outcome.NOT_ESTABLISHED
    assert any("pays for network and today's elements do not" in reason for reason in wrong.verdict.reasons)
    assert Decimal("67.59") not in value_set(savings)


def test_call_charges_alone_nominal_prices_and_even_rounding_do_not_come_out(folder: Path, savings: Savings) -> None:
    book = savings.book
    today = sum((book.value(f"{OCTOBER}.{site}.ip_calls") or Decimal(0) for site in "AB"), Decimal(0))
    legacy = sum((book.value(f"{OCTOBER}.{site}.rerated") or Decimal(0) for site in "AB"), Decimal(0))
    assert round((legacy - today) / legacy * 100, 2) == Decimal("92.60")
    billed, ip = book.value(f"{TOTAL}.billed") or Decimal(0), book.value(f"{TOTAL}.ip") or Decimal(0)
    assert round((billed - ip) / billed * 100, 2) == Decimal("47.99")
    atoms = sum(one.ip_atoms for one in savings.facts.usage.sums if one.site == "B")
    assert from_atoms(atoms, rounding=Rounding.HALF_EVEN) == Decimal("2.80")
    assert book.value(f"{OCTOBER}.B.ip_calls") == Decimal("2.81")
    assert not {Decimal("92.60"), Decimal("47.99"), Decimal("2.80")} & value_set(savings)


def test_totals_are_sums_of_lines_and_not_rounded_sums(savings: Savings) -> None:
    # Unrounded it would be 1,321.593.
    assert savings.book.value(f"{TOTAL}.ip") == Decimal("1061.79") + Decimal("259.81") == Decimal("1321.60")


def test_the_claim_of_the_example_is_established_and_every_number_has_its_formula_or_source(savings: Savings) -> None:
    assert savings.verdict.outcome is Outcome.ESTABLISHED
    for figure in savings.book:
        assert figure.formula or figure.source or figure.why, figure.key
        if figure.formula and figure.value is not None:
            inputs = {key: savings.book.value(key) or Decimal(0) for key in figure.inputs}
            assert evaluate(figure.formula, inputs) == figure.value


def test_the_document_says_the_answer_first(savings: Savings, folder: Path) -> None:
    document = savings_document(example_facts(example_usage(folder)), [OCTOBER])
    assert document.sentence == (
        "Established: 49.11 % saved in October 2025 (range 49.11 to 49.13 %), £1,275.14. Claim: more than 30 %."
    )
    names = [section.name for section in document.sections]
    assert names[:2] == ["methods", "checks"]
    assert {"sites", "waterfall", "months", "year", "sensitivity", "minutes", "unrated"} <= set(names)


def test_rows_of_both_reports_add_up_to_their_totals_to_the_penny(folder: Path) -> None:
    facts = example_facts(example_usage(folder))
    for document in (savings_document(facts, [OCTOBER]), costs_document(facts, OCTOBER)):
        for section in document.sections:
            if section.name in ("sites", "months", "elements", "legacy"):
                check_columns(document, section)


def check_columns(document: Document, section: Section) -> None:
    for column, head in enumerate(section.heads):
        cells = [(row.cells[column], row.total) for row in section.rows]
        lines = [known(document, cell) for cell, total in cells if isinstance(cell, Ref) and not total]
        totals = [known(document, cell) for cell, total in cells if isinstance(cell, Ref) and total]
        if head.unit == "money" and lines:
            assert [sum(lines, Decimal(0))] == totals, (section.name, head.label)


def known(document: Document, cell: Ref) -> Decimal:
    value = document.book.value(cell.key)
    assert value is not None
    return value


def test_classes_of_a_site_add_up_to_its_line_to_the_penny(folder: Path) -> None:
    document = costs_document(example_facts(example_usage(folder)), OCTOBER)
    (calls,) = [section for section in document.sections if section.name == "calls"]
    for site, today, legacy in (("A", "18.79", "273.83"), ("B", "2.81", "17.87")):
        rows = [row for row in calls.rows if row.cells[0] == site]
        for column, expected in ((4, today), (5, legacy)):
            cells = [(row.cells[column], row.total) for row in rows]
            lines = [document.book.value(cell.key) for cell, total in cells if isinstance(cell, Ref) and not total]
            totals = [document.book.value(cell.key) for cell, total in cells if isinstance(cell, Ref) and total]
            assert sum(one for one in lines if one is not None) == totals[0] == Decimal(expected)


def test_the_example_is_written_as_cucm_writes_it(folder: Path, tmp_path: Path) -> None:
    written = write_cucm_files(folder, folder.parent / "cucm_fields.csv", tmp_path, files=3)
    records = []
    for path in written:
        with path.open(newline="") as file:
            names, kinds, *rows = csv.reader(file)
        assert len(names) == len(kinds) == 133
        records += [dict(zip(names, row, strict=True)) for row in rows]
    assert len(records) == sum(int(row["n"]) for row in read_rows(folder)) == 2735
    assert len({record["pkid"] for record in records}) == 2735
    # A transfer's first and last record share their call and their trunk leg, as the consultation does not.
    first = {record["globalCallID_callId"]: record for record in records if record["origCause_value"] == "393216"}
    last = [record for record in records if record["joinOnBehalfOf"] == "10"]
    assert len(last) == 10
    for record in last:
        assert first[record["globalCallID_callId"]]["destLegIdentifier"] == record["origLegCallIdentifier"]
