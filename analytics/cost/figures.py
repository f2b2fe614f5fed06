"""Figures that carry their proof: each has a value, its evidence, and the formula or the source it comes from.

A report is a `Book` of figures. An input is a value with a source (file:line, or rows of the lake). Every other figure
is computed here from a formula over other figures, so what is printed as its formula is what made it, in every format.

The formula language: numbers, `{key}` of another figure, + - * / and parentheses, `round(x, places)` (half away from
zero, as finance and spreadsheets round), `sum(a, b, …)`, `min(a, b, …)`, `max(a, b, …)`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, InvalidOperation
from enum import StrEnum

from analytics.cost.money import round_money

_PRECISE = Context(prec=40, traps=[InvalidOperation, DivisionByZero])
_REFERENCE = re.compile(r"\{([^{}]+)\}")


class Evidence(StrEnum):
    """Where a figure comes from; missing is never 0."""

    MEASURED = "measured"
    REPORTED = "reported"
    ALLOCATED = "allocated"
    ESTIMATED = "estimated"
    MODELLED = "modelled"
    MISSING = "missing"


_WEAKEST_FIRST = (
    Evidence.MISSING,
    Evidence.ESTIMATED,
    Evidence.MODELLED,
    Evidence.ALLOCATED,
    Evidence.REPORTED,
    Evidence.MEASURED,
)


def weakest(evidence: Iterator[Evidence]) -> Evidence:
    """Return the weakest of several kinds of evidence: what is computed is no better than its inputs."""
    return min(evidence, key=_WEAKEST_FIRST.index, default=Evidence.MEASURED)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a report."""

    key: str
    """Unique in its book, e.g. `savings.A.method1`."""
    label: str
    unit: str
    """`money`, `percent`, `minutes`, `seconds`, `calls`, `channels`, `erlang`, `ratio`, `factor`, `count`,
    `score`, `atoms`."""
    value: Decimal | None
    """None where it is missing: `why` says why."""
    evidence: Evidence
    formula: str = ""
    """What it was computed from; empty for an input."""
    source: str = ""
    """Where an input comes from: file:line, or table and version of the lake."""
    why: str = ""
    """Reason why there is no value."""
    shown: str = ""
    """What stands where a value is held back, e.g. `<5`; empty: a dash."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the figures its formula reads, in order."""
        return tuple(dict.fromkeys(_REFERENCE.findall(self.formula)))


class FormulaError(ValueError):
    """A formula that cannot be read or names a figure that is not there."""


class Book:
    """Figures by key, in the order they were entered."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    @classmethod
    def of(cls, figures: Iterable[Figure]) -> Book:
        """Return a book of figures that were computed before, in their order."""
        book = cls()
        for figure in figures:
            book._enter(figure)
        return book

    def __getitem__(self, key: str) -> Figure:
        return self._figures[key]

    def __contains__(self, key: object) -> bool:
        return key in self._figures

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._figures.values())

    def __len__(self) -> int:
        return len(self._figures)

    def value(self, key: str) -> Decimal | None:
        """Return a figure's value."""
        return self._figures[key].value

    def _enter(self, figure: Figure) -> Figure:
        if figure.key in self._figures:
            raise FormulaError(f"the figure {figure.key} is there already")
        self._figures[figure.key] = figure
        return figure

    def enter(self, key: str, label: str, unit: str, value: Decimal | int, evidence: Evidence, source: str) -> Figure:
        """Enter an input with its source."""
        return self._enter(Figure(key, label, unit, Decimal(value), evidence, source=source))

    def miss(self, key: str, label: str, unit: str, why: str, source: str = "") -> Figure:
        """Enter a figure that is missing, with the reason."""
        return self._enter(Figure(key, label, unit, None, Evidence.MISSING, source=source, why=why))

    def hold_back(
        self, key: str, label: str, unit: str, evidence: Evidence, shown: str, why: str, source: str = ""
    ) -> Figure:
        """Enter a figure that is known and not told (a small count), with what is shown in its place."""
        return self._enter(Figure(key, label, unit, None, evidence, source=source, why=why, shown=shown))

    def compute(self, key: str, label: str, unit: str, formula: str, evidence: Evidence | None = None) -> Figure:
        """Enter what a formula gives; missing, with the reason, where an input is missing or a divisor is 0."""
        names = tuple(dict.fromkeys(_REFERENCE.findall(formula)))
        absent = [name for name in names if name not in self._figures]
        if absent:
            raise FormulaError(f"the formula of {key} names figures that are not there: {', '.join(absent)}")
        missing = [self._figures[name] for name in names if self._figures[name].value is None]
        if missing:
            why = f"needs {missing[0].label}: {missing[0].why}"
            return self._enter(Figure(key, label, unit, None, Evidence.MISSING, formula, why=why))
        values = {name: value for name in names if (value := self._figures[name].value) is not None}
        try:
            value = evaluate(formula, values)
        except DivisionByZero:
            return self._enter(Figure(key, label, unit, None, Evidence.MISSING, formula, why="divides by 0"))
        except InvalidOperation:
            return self._enter(Figure(key, label, unit, None, Evidence.MISSING, formula, why="divides 0 by 0"))
        held = evidence or weakest(self._figures[name].evidence for name in names)
        return self._enter(Figure(key, label, unit, value, held, formula))


def evaluate(formula: str, values: Mapping[str, Decimal]) -> Decimal:
    """Compute a formula exactly (40 digits); FormulaError where it is none."""
    order = list(dict.fromkeys(_REFERENCE.findall(formula)))
    names = {key: f"_{index}" for index, key in enumerate(order)}
    text = _REFERENCE.sub(lambda match: names[match[1]], formula)
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise FormulaError(f"not a formula: {formula}") from error
    return _walk(tree.body, {names[key]: values[key] for key in order}, text)


_OPERATORS: Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: _PRECISE.add,
    ast.Sub: _PRECISE.subtract,
    ast.Mult: _PRECISE.multiply,
    ast.Div: _PRECISE.divide,
}


def _walk(node: ast.expr, values: Mapping[str, Decimal], text: str) -> Decimal:
    match node:
        case ast.Constant(value=int() | float()):
            # The digits as written: a float in between would round them.
            return Decimal(ast.get_source_segment(text, node) or "")
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _PRECISE.minus(_walk(operand, values, text))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _OPERATORS[type(operator)](_walk(left, values, text), _walk(right, values, text))
        case ast.Call(func=ast.Name(id="round"), args=[amount, ast.Constant(value=int() as places)]):
            return round_money(_walk(amount, values, text), places)
        case ast.Call(func=ast.Name(id="sum"), args=args):
            return sum((_walk(arg, values, text) for arg in args), Decimal(0))
        case ast.Call(func=ast.Name(id="min"), args=[_, *_] as args):
            return min(_walk(arg, values, text) for arg in args)
        case ast.Call(func=ast.Name(id="max"), args=[_, *_] as args):
            return max(_walk(arg, values, text) for arg in args)
        case _:
            raise FormulaError(f"not in the formula language: {ast.unparse(node)}")
