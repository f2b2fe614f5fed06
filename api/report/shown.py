"""How a figure reads: decimals by its unit, separators, a mark for its evidence, a dash where it is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from analytics.cost.document import Cell, Document, Head, Ref, Section
from analytics.cost.figures import Evidence, Figure
from analytics.cost.money import ATOMS_PER_UNIT, round_money
from api import wording

TEXT = "text"
MISSING = wording.MISSING


class UnitForm(NamedTuple):
    """How figures of a unit are shown."""

    places: int
    heading: str
    """Stands in the heading of the column; `{money}` is the currency; empty where the label says enough."""
    word: str = ""
    """Follows the number in a line of its own."""
    whole: bool = False
    """Whole values go without decimals."""


UNITS: Mapping[str, UnitForm] = {
    "money": UnitForm(2, "{money}"),
    "percent": UnitForm(2, "%", "%"),
    "minutes": UnitForm(2, "min", "min"),
    "seconds": UnitForm(1, "s", "s", whole=True),
    "calls": UnitForm(0, "", "calls"),
    "channels": UnitForm(0, "", "channels"),
    "erlang": UnitForm(2, "E", "E"),
    "ratio": UnitForm(4, ""),
    "factor": UnitForm(4, ""),
    "count": UnitForm(1, "", whole=True),
    "score": UnitForm(1, ""),
    "atoms": UnitForm(0, "{money}"),
}
_OTHER = UnitForm(4, "", whole=True)

SIGNS: Mapping[str, str] = {"GBP": "£", "EUR": "€", "USD": "$"}

MARKS: Mapping[Evidence, str] = {
    Evidence.MEASURED: "●",
    Evidence.REPORTED: "◐",
    Evidence.ALLOCATED: "◐",
    Evidence.ESTIMATED: "○",
    Evidence.MODELLED: "○",
    Evidence.MISSING: "◌",
}
MARK_WORDS: Mapping[str, str] = {
    "●": "measured",
    "◐": "reported by a device, or allocated by a stated key",
    "○": "estimated or modelled",
    "◌": "a part is missing: the figure holds what is known",
}
MOST_LABELS = 3
"""Figures that are named with the reason why they are missing."""
STAND_FOR_A_FORMULA = "=+-@\t\r"
"""First characters at which a spreadsheet takes text for a formula."""


def form(unit: str) -> UnitForm:
    """How figures of a unit are shown."""
    return UNITS.get(unit, _OTHER)


def places(unit: str, value: Decimal) -> int:
    """Decimals that a value is shown with."""
    how = form(unit)
    return 0 if how.whole and value == value.to_integral_value() else how.places


def currency_sign(currency: str) -> str:
    """The sign of a currency, or its code where it has none of its own."""
    return SIGNS.get(currency, currency)


def heading(head: Head, currency: str) -> str:
    """Label of a column with its unit."""
    if head.unit == TEXT:
        return head.label
    unit = form(head.unit).heading.format(money=currency_sign(currency))
    return f"{head.label} [{unit}]" if unit else head.label


def number(figure: Figure) -> str:
    """A figure's value with separators; a dash where it is missing, its stand-in where it is held back.

    What is counted in atoms to be exact is shown in the currency, with all its decimals.
    """
    if figure.value is None:
        return figure.shown or MISSING
    if figure.unit == "atoms":
        return _unrounded(figure.value / ATOMS_PER_UNIT)
    rounded = round_money(figure.value, places(figure.unit, figure.value))
    return f"{abs(rounded) if rounded == 0 else rounded:,}".replace("-", "−")


def with_unit(figure: Figure, currency: str) -> str:
    """A figure in a line of its own: number and unit."""
    text = number(figure)
    if figure.value is None:
        return text
    if figure.unit in ("money", "atoms"):
        sign = currency_sign(currency)
        return text.replace("−", f"−{sign}", 1) if text.startswith("−") else f"{sign}{text}"
    return f"{text} {form(figure.unit).word}".rstrip()


def _unrounded(amount: Decimal) -> str:
    """An amount with two decimals or as many as it has, to a millionth of a penny."""
    whole, _, decimals = f"{round_money(amount, 8):,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}".replace("-", "−")


def exact(figure: Figure) -> str:
    """A figure's value as it is held, for programs: no exponent, money with two decimals or more; empty if none."""
    if figure.value is None:
        return ""
    text = f"{figure.value:f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}" if figure.unit == "money" else text


def to_places(figure: Figure, most: int) -> str:
    """A figure's value as `exact`, but rounded where it does not end within so many decimals."""
    text = exact(figure)
    if figure.value is None or len(text.partition(".")[2]) <= most:
        return text
    return f"{round_money(figure.value, most):f}"


def mark(figure: Figure) -> str:
    """Sign of a figure's evidence; empty where it is missing."""
    is_told = figure.value is not None or (figure.shown and figure.evidence is not Evidence.MISSING)
    return MARKS[figure.evidence] if is_told else ""


def figure_of(cell: Cell, document: Document) -> Figure | None:
    """The figure that a cell holds; None for text."""
    return document.book[cell.key] if isinstance(cell, Ref) else None


def figures_of(section: Section, document: Document) -> list[Figure]:
    """Figures of a section, in reading order."""
    return [document.book[cell.key] for row in section.rows for cell in row.cells if isinstance(cell, Ref)]


def one_mark(figures: Iterable[Figure]) -> str | None:
    """The mark that all of some figures share; None where they differ. Those without one do not count."""
    marks = {sign for figure in figures if (sign := mark(figure))}
    return marks.pop() if len(marks) == 1 else None


def reasons(section: Section, document: Document) -> list[str]:
    """Why figures are missing or held back, a line for each first cause with the labels of the figures it struck."""
    labels: dict[tuple[str, str], dict[str, None]] = {}
    for figure in figures_of(section, document):
        if figure.value is None:
            cause = first_cause(figure, document)
            if cause.why:
                labels.setdefault((cause.shown or MISSING, cause.why), {})[cause.label] = None
    return [
        # What is held back is said by its own sign; naming each such figure would only repeat the table.
        f"{sign} {why}" if sign != MISSING else f"{sign} {some(list(names))}: {why}"
        for (sign, why), names in labels.items()
    ]


def some(words: Sequence[str]) -> str:
    """A few words, and how many more there are."""
    more = f" and {len(words) - MOST_LABELS} more" if len(words) > MOST_LABELS else ""
    # Labels have commas of their own.
    return "; ".join(words[:MOST_LABELS]) + more


def first_cause(figure: Figure, document: Document) -> Figure:
    """The input whose absence left a figure without a value; the figure itself where all its inputs are there."""
    for key in figure.inputs:
        if document.book.value(key) is None:
            return first_cause(document.book[key], document)
    return figure


def formula_in_words(figure: Figure, document: Document, *, atoms: bool = False) -> str:
    """A figure's formula with the labels of its inputs in place of their keys.

    Amounts are in the currency; with `atoms` exact ones are as they are held, 6 × 10^9 atoms a unit of it.
    """
    text = figure.formula if atoms else figure.formula.replace(f" / {ATOMS_PER_UNIT}", "")
    for key in figure.inputs:
        text = text.replace("{" + key + "}", f"‹{document.book[key].label}›")
    return text


def inert(text: str) -> str:
    """Text that a spreadsheet takes for text: one that would be a formula is led by an apostrophe."""
    return f"'{text}" if text[:1] and text[0] in STAND_FOR_A_FORMULA else text
