"""Computes a workbook anew from its formulas alone: an evaluator of the few functions that reports use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from openpyxl.utils import range_boundaries

Number = Decimal
_PRECISE = Context(prec=50)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Z]+(?=\())"
    r"|(?P<cell>(?:'(?:[^']|'')+'!)?\$?[A-Z]+\$?\d+(?::\$?[A-Z]+\$?\d+)?)|(?P<sign>[-+*/(),]))"
)


class Evaluator:
    """Values of cells, each computed once from what its formula reads."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self._known: dict[tuple[str, int, int], Any] = {}

    def value(self, sheet: str, row: int, column: int) -> Any:
        """Value of a cell, rows and columns from 1."""
        at = (sheet, row, column)
        if at not in self._known:
            held = self._book[sheet].cell(row, column).value
            self._known[at] = self._compute(held, sheet) if str(held).startswith("=") else self._plain(held)
        return self._known[at]

    def _plain(self, held: Any) -> Any:
        return Decimal(repr(held)) if isinstance(held, int | float) else held

    def _compute(self, formula: str, sheet: str) -> Decimal:
        tokens = []
        at = 1
        while at < len(formula):
            match = _TOKEN.match(formula, at)
            assert match is not None, formula[at:]
            tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
            at = match.end()
        parser = _Parser(tokens, lambda cells: self._cells(cells, sheet))
        result = parser.sum()
        assert parser.done(), formula
        return result

    def _cells(self, name: str, sheet: str) -> Iterator[Decimal]:
        if "!" in name:
            quoted, _, name = name.rpartition("!")
            sheet = quoted[1:-1].replace("''", "'")
        left, top, right, bottom = range_boundaries(name.replace("$", ""))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                value = self.value(sheet, row, column)
                assert isinstance(value, Decimal), f"{sheet} {row} {column} holds {value!r}"
                yield value


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], cells: Callable[[str], Iterator[Decimal]]) -> None:
        self._tokens = tokens
        self._cells = cells
        self._at = 0

    def done(self) -> bool:
        return self._at == len(self._tokens)

    def _peek(self) -> str:
        return self._tokens[self._at][1] if not self.done() else ""

    def _take(self) -> tuple[str, str]:
        self._at += 1
        return self._tokens[self._at - 1]

    def sum(self) -> Decimal:
        total = self._product()
        while self._peek() in ("+", "-"):
            add = _PRECISE.add if self._take()[1] == "+" else _PRECISE.subtract
            total = add(total, self._product())
        return total

    def _product(self) -> Decimal:
        total = self._factor()
        while self._peek() in ("*", "/"):
            multiply = _PRECISE.multiply if self._take()[1] == "*" else _PRECISE.divide
            total = multiply(total, self._factor())
        return total

    def _factor(self) -> Decimal:
        kind, text = self._take()
        if text == "-":
            return -self._factor()
        if kind == "number":
            return Decimal(text)
        if text == "(":
            inner = self.sum()
            assert self._take()[1] == ")"
            return inner
        if kind == "cell":
            (value,) = self._cells(text)
            return value
        assert kind == "name", text
        return self._function(text)

    def _function(self, name: str) -> Decimal:
        assert self._take()[1] == "("
        args: list[Decimal] = []
        while True:
            if self._tokens[self._at][0] == "cell" and ":" in self._peek():
                args.extend(self._cells(self._take()[1]))
            else:
                args.append(self.sum())
            if self._take()[1] == ")":
                break
        if name == "ROUND":
            return args[0].quantize(Decimal(1).scaleb(-int(args[1])), ROUND_HALF_UP)
        if name == "SUM":
            return sum(args, Decimal(0))
        assert name in ("MIN", "MAX"), name
        return min(args) if name == "MIN" else max(args)
