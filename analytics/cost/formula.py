"""The formula language of figures, read into a tree: what computes figures and what translates them walk the same one.

Numbers, `{key}` of another figure, + - * / and parentheses, `round(x, places)` (half away from zero), `sum(a, b, …)`,
`min(a, b, …)`, `max(a, b, …)`. Operands in a row are one node: there may be thousands of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(r"\s*(?:\{(?P<key>[^{}]+)\}|(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-z]+)|(?P<sign>[-+*/(),]))")
FEWEST = {"round": 2, "sum": 0, "min": 1, "max": 1}
"""Functions, and the arguments that each needs."""


class FormulaError(ValueError):
    """A formula that cannot be read or names a figure that is not there."""


class Number(NamedTuple):
    """A number by its digits."""

    text: str


class Reference(NamedTuple):
    """Another figure."""

    key: str


class Negative(NamedTuple):
    """The negative of something."""

    operand: Node


class Chain(NamedTuple):
    """Operands of one rank, computed from left to right: all signs are + and -, or all are * and /."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


class Call(NamedTuple):
    """A function of some arguments; the second argument of `round` is a whole number."""

    function: str
    arguments: tuple[Node, ...]


Node = Number | Reference | Negative | Chain | Call


@lru_cache(maxsize=256)
def read(formula: str) -> Node:
    """Read a formula; FormulaError where it is none."""
    reader = _Reader(formula)
    node = reader.chain("+-")
    if reader.sign:
        raise FormulaError(f"not a formula: {formula}")
    return node


class _Reader:
    """Reads tokens one after another; `sign` is the one that is next, empty at the end."""

    def __init__(self, formula: str) -> None:
        self._formula = formula
        self._at = 0
        self.sign = ""
        self._kind = ""
        self._next()

    def _next(self) -> None:
        match = _TOKEN.match(self._formula, self._at)
        if match is None:
            if self._formula[self._at :].strip():
                raise FormulaError(f"not in the formula language: {self._formula[self._at :]}")
            self._kind = self.sign = ""
            return
        self._at = match.end()
        self._kind = match.lastgroup or ""
        self.sign = match[self._kind]

    def _take(self, sign: str) -> None:
        if self._kind != "sign" or self.sign != sign:
            raise FormulaError(f"not a formula: {self._formula}")
        self._next()

    def _is(self, signs: str) -> bool:
        return self._kind == "sign" and self.sign in signs

    def chain(self, signs: str) -> Node:
        """Operands joined by signs of one rank."""
        first = self._operand(signs)
        rest: list[tuple[str, Node]] = []
        while self._is(signs):
            sign = self.sign
            self._next()
            rest.append((sign, self._operand(signs)))
        return Chain(first, tuple(rest)) if rest else first

    def _operand(self, signs: str) -> Node:
        return self.chain("*/") if signs == "+-" else self._factor()

    def _factor(self) -> Node:
        kind, text = self._kind, self.sign
        if self._is("-"):
            self._next()
            return Negative(self._factor())
        if self._is("("):
            self._next()
            inner = self.chain("+-")
            self._take(")")
            return inner
        if kind not in ("key", "number", "name"):
            raise FormulaError(f"not a formula: {self._formula}")
        self._next()
        if kind == "name":
            return _checked(text, self._arguments(), self._formula)
        return Number(text) if kind == "number" else Reference(text)

    def _arguments(self) -> list[Node]:
        self._take("(")
        arguments: list[Node] = []
        while not self._is(")"):
            if arguments:
                self._take(",")
            arguments.append(self.chain("+-"))
        self._next()
        return arguments


def _checked(function: str, arguments: Sequence[Node], formula: str) -> Call:
    if function not in FEWEST or len(arguments) < FEWEST[function]:
        raise FormulaError(f"not in the formula language: {function} in {formula}")
    if function == "round":
        places = arguments[1]
        if len(arguments) != FEWEST["round"] or not isinstance(places, Number) or not places.text.isdigit():
            raise FormulaError(f"round takes an amount and a whole number of places: {formula}")
    return Call(function, tuple(arguments))
