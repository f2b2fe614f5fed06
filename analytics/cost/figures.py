"""Figures that carry their proof: each has a value, its evidence, and the formula or the source it comes from.

A report is a `Book` of figures. An input is a value with a source (file:line, or rows of the lake). Every other figure
is computed here from a formula over other figures, so what is printed as its formula is what made it, in every format.

The formula language: numbers, `{key}` of another figure, + - * / and parentheses, `round(x, places)` (half away from
zero, as finance and spreadsheets round), `sum(a, b, …)`, `min(a, b, …)`, `max(a, b, …)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, InvalidOperation
from enum import StrEnum

from analytics.cost.formula import Call, Chain, FormulaError, Negative, Node, Number, Reference, read
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
    return _compute(read(formula), values)


_OPERATORS: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": _PRECISE.add,
    "-": _PRECISE.subtract,
    "*": _PRECISE.multiply,
    "/": _PRECISE.divide,
}


def _compute(node: Node, values: Mapping[str, Decimal]) -> Decimal:
    match node:
        case Number(text):
            return Decimal(text)
        case Reference(key):
            if key not in values:
                raise FormulaError(f"there is no figure {key}")
            return values[key]
        case Negative(operand):
            return _PRECISE.minus(_compute(operand, values))
        case Chain(first, rest):
            value = _compute(first, values)
            for sign, operand in rest:
                value = _OPERATORS[sign](value, _compute(operand, values))
            return value
        case Call("round", (amount, Number(places))):
            return round_money(_compute(amount, values), int(places))
        case Call("sum", arguments):
            return sum((_compute(argument, values) for argument in arguments), Decimal(0))
        case Call(function, arguments):
            return {"min": min, "max": max}[function](_compute(argument, values) for argument in arguments)
