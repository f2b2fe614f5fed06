"""Figures are what their formulas say."""

from __future__ import annotations

from decimal import Decimal

import pytest

from analytics.cost.figures import Book, Evidence, evaluate
from analytics.cost.formula import FormulaError


def book() -> Book:
    made = Book()
    made.enter("fixed", "Fixed lines", "money", Decimal("1565.00"), Evidence.MEASURED, "ledger.csv:2")
    made.enter("usage", "Call charges", "money", Decimal("273.83"), Evidence.MEASURED, "usage@3")
    made.enter("index", "Index", "factor", Decimal("1.0412"), Evidence.ESTIMATED, "baseline.csv:2")
    return made


def test_a_figure_is_computed_from_what_its_formula_names() -> None:
    made = book()
    figure = made.compute("m2", "Method 2", "money", "round(({fixed} + {usage}) * {index}, 2)")
    assert figure.value == Decimal("1914.59")  # (1565.00 + 273.83) × 1.0412 = 1914.589…, by hand
    assert figure.inputs == ("fixed", "usage", "index")


def test_what_is_computed_is_no_better_than_its_weakest_input() -> None:
    made = book()
    assert made.compute("sum", "Sum", "money", "{fixed} + {usage}").evidence is Evidence.MEASURED
    assert made.compute("m2", "Method 2", "money", "{fixed} * {index}").evidence is Evidence.ESTIMATED


def test_a_missing_input_makes_a_missing_figure_that_says_why() -> None:
    made = book()
    made.miss("support", "Support", "money", "no invoice")
    total = made.compute("total", "Total", "money", "{fixed} + {support}")
    assert total.value is None
    assert total.evidence is Evidence.MISSING
    assert total.why == "needs Support: no invoice"


@pytest.mark.parametrize("formula", ["{usage} / ({fixed} - {fixed})", "({fixed} - {fixed}) / ({usage} - {usage})"])
def test_a_divisor_of_nothing_gives_no_number(formula: str) -> None:
    assert book().compute("x", "X", "percent", formula).value is None


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("round(2.805, 2)", "2.81"),
        ("round(-2.805, 2)", "-2.81"),
        ("sum(1, 2, 3) - min(4, 5) * max(1, 2)", "-2"),
        ("-(3 - 5) / 4", "0.5"),
    ],
)
def test_the_language_computes_in_decimals(formula: str, value: str) -> None:
    assert evaluate(formula, {}) == Decimal(value)


@pytest.mark.parametrize(
    "formula", ["__import__('os')", "1 if 2 else 3", "[1]", "1 +", "x", "2 ** 3", "'a'", "round(1)"]
)
def test_what_is_not_in_the_language_is_refused(formula: str) -> None:
    with pytest.raises(FormulaError):
        evaluate(formula, {})


def test_a_key_is_entered_once_and_a_formula_names_what_is_there() -> None:
    made = book()
    with pytest.raises(FormulaError, match="there already"):
        made.miss("fixed", "Fixed", "money", "twice")
    with pytest.raises(FormulaError, match="not there: nothing"):
        made.compute("y", "Y", "money", "{nothing}")


def test_a_formula_may_have_thousands_of_operands() -> None:
    values = {str(number): Decimal(number) for number in range(5000)}
    formula = " - ".join(f"{{{number}}} * 0.5" for number in range(5000))
    assert evaluate(formula, values) == -sum(range(5000)) * Decimal("0.5")


def test_operators_bind_as_in_arithmetic() -> None:
    one = {"a": Decimal(7), "b": Decimal(2)}
    assert evaluate("{a} - {b} - 1 + {a} * {b} / 4 * 2", one) == Decimal(11)
    assert evaluate("-({a} - {b}) * 2 - ({a} - ({b} - 3)) / 4", one) == Decimal(-12)
    with pytest.raises(FormulaError):
        evaluate("{a} ** {b} + 1", one)
