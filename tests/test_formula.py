"""The formula language: what is read is computed as arithmetic does, and nothing else is read."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from analytics.cost.figures import evaluate
from analytics.cost.formula import Call, Chain, FormulaError, Negative, Number, Reference, read


def test_operands_in_a_row_are_one_node_by_rank() -> None:
    product = Chain(Reference("b.c"), (("*", Number("2.50")),))
    assert read("{a} - {b.c} * 2.50 + 1") == Chain(Reference("a"), (("-", product), ("+", Number("1"))))
    assert read("-{a}") == Negative(Reference("a"))
    assert read("round(({a}), 2)") == Call("round", (Reference("a"), Number("2")))
    assert read("sum()") == Call("sum", ())


@pytest.mark.parametrize(
    "text",
    ["", " ", "{a} +", "+ {a}", "({a}", "{a})", "{a} {b}", "{}", "a", "{a} ** 2", "{a} // 2", "{a} % 2", "1e5", "0x10",
     "round({a})", "round({a}, {b})", "round({a}, 2.5)", "min()", "open({a})", "sum({a},)", "sum(,{a})", "{a}.b",
     "{a}[0]", "lambda: 1", "1_000"],
)  # fmt: skip
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(FormulaError):
        read(text)


@given(st.text(alphabet="{}ab.01 +-*/(),roundsmix", max_size=30))
def test_any_text_is_a_formula_or_refused_by_name(text: str) -> None:
    try:
        read(text)
    except FormulaError:
        return


WHOLE = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(" ".join),
        inner.map("({})".format),
        inner.map("-({})".format),
    ),
    max_leaves=8,
)


def exactly(text: str) -> Fraction:
    """Python's own reading of the same text, in exact fractions."""
    names = {f"f{number}": Fraction(number) for number in range(100)}
    spelled = "".join(f"f{part}" if part.isdigit() else part for part in _split(text))
    return Fraction(eval(spelled, {"__builtins__": {}}, names))


def _split(text: str) -> list[str]:
    parts: list[str] = []
    for sign in text:
        if sign.isdigit() and parts and parts[-1].isdigit():
            parts[-1] += sign
        else:
            parts.append(sign)
    return parts


@given(WHOLE)
def test_formulas_are_computed_as_python_computes_them_in_fractions(text: str) -> None:
    try:
        expected = exactly(text)
    except ZeroDivisionError:
        reject()
    found = Fraction(evaluate(text, {}))
    assert abs(found - expected) <= abs(expected) * Fraction(1, 10**30) + Fraction(1, 10**25)


def test_thousands_of_operands_and_arguments_are_read() -> None:
    values = {str(number): Decimal(number) for number in range(20_000)}
    keys = [f"{{{number}}}" for number in range(20_000)]
    assert evaluate(" - ".join(keys), values) == -sum(range(20_000))
    assert evaluate(f"sum({', '.join(keys)})", values) == sum(range(20_000))
