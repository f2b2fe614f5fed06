"""Counts of a report: entered with those that are too small to be told held back, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

from analytics.cost.disclosure import REASONS, Held, held_back
from analytics.cost.figures import Book, Evidence, Figure


class Counts:
    """Counts by key with their labels and what binds them, entered into a book together."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._counts: dict[str, int] = {}
        self._labels: dict[str, str] = {}
        self._relations: list[tuple[str, ...]] = []
        self._sums: dict[str, tuple[str, ...]] = {}
        self._known: dict[str, int] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._counts

    def add(self, key: str, label: str, count: int) -> str:
        """Add a count; return its key."""
        self._counts[key] = count
        self._labels[key] = label
        return key

    def add_sum(self, key: str, label: str, parts: Sequence[str]) -> str:
        """Add the sum of other counts, bound to them; return its key. That sum becomes its formula."""
        self.add(key, label, sum(self._counts[part] for part in parts))
        self.bind(*parts, key)
        self._sums[key] = tuple(parts)
        return key

    def bind(self, *keys: str) -> None:
        """Say that one of some counts is the sum of the others."""
        self._relations.append(keys)

    def know(self, key: str, count: int, parts: Sequence[str]) -> None:
        """Say what some counts add up to, as it is told elsewhere."""
        self._known[key] = count
        self.bind(*parts, key)

    def held(self, also: Mapping[str, Held] = MappingProxyType({})) -> dict[str, Held]:
        """Return which counts are held back; `also` are held back elsewhere."""
        return held_back({**self._counts, **self._known}, self._relations, also=also, told=self._known)

    def enter(self, book: Book, *, exact: bool, also: Mapping[str, Held] = MappingProxyType({})) -> dict[str, Held]:
        """Enter all counts; return those that were held back (none if `exact`); `also` are held back elsewhere.

        A count that is the sum of counts that are told is their formula, any other is a measured input.
        """
        held = {} if exact else self.held(also)
        sums = self._sums
        for key in self._ordered():
            label = self._labels[key]
            if key in held:
                why = REASONS[held[key]]
                book.hold_back(key, label, "calls", Evidence.MEASURED, held[key].value, why, self._source)
            elif sums.get(key) and not any(part in held for part in sums[key]):
                book.compute(key, label, "calls", f"sum({', '.join(f'{{{part}}}' for part in sums[key])})")
            else:
                book.enter(key, label, "calls", self._counts[key], Evidence.MEASURED, self._source)
        return held

    def _ordered(self) -> list[str]:
        """Keys in an order in which a sum comes after its parts."""
        done: dict[str, None] = {}

        def visit(key: str) -> None:
            if key in done:
                return
            for part in self._sums.get(key, ()):
                visit(part)
            done[key] = None

        for key in self._counts:
            visit(key)
        return list(done)


def name_part(name: str | None) -> str:
    """A name as part of a key: `#all` and `#none` are ours, so a name that begins with # gets one more."""
    if name is None:
        return "#none"
    return f"#{name}" if name.startswith("#") else name


def enter_held(
    book: Book,
    key: str,
    label: str,
    unit: str,
    value: Decimal | int | None,
    source: str,
    *,
    held: Held | None,
    why: str,
) -> Figure:
    """Enter a measurement of calls; missing where there is none, held back where the count of its calls is."""
    if held is not None:
        return book.hold_back(key, label, unit, Evidence.MEASURED, Held.COMPLEMENT.value, REASONS[held], source)
    if value is None:
        return book.miss(key, label, unit, why, source)
    return book.enter(key, label, unit, value, Evidence.MEASURED, source)


def said(figure: Figure) -> str:
    """A count in a sentence."""
    return figure.shown or "an unknown number of" if figure.value is None else f"{figure.value:,}"


def first_held(held: Mapping[str, Held], keys: Iterable[str]) -> Held | None:
    """How the first of some counts that is held back is shown; None where all are told."""
    return next((held[key] for key in keys if key in held), None)
