"""Is a claimed saving proven? Four rules, and a reason in a plain sentence for each that fails.

A claim of more than N % is established only when (a) both methods exceed it, (b) so does the lower bound of both over
allocation keys and missing data, of all sites together, (c) the minutes of the records and of the invoices agree within
the tolerance, and (d) the baseline and today hold the same elements. It is refuted when not even the upper bound of
either method exceeds it. Otherwise it is not established.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from analytics.cost.words import said_list


class Outcome(StrEnum):
    """What can be said of a claim."""

    ESTABLISHED = "established"
    REFUTED = "refuted"
    NOT_ESTABLISHED = "not established"


@dataclass(frozen=True, slots=True)
class Check:
    """One rule, and why it fails; no reason: it holds."""

    letter: str
    rule: str
    reasons: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the rule is kept."""
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Margins:
    """How far savings are over the claim [currency units]: saving less claim × legacy cost; None: not known."""

    point: tuple[Decimal | None, Decimal | None]
    """By method 1 and method 2."""
    low: tuple[Decimal | None, Decimal | None]
    high: tuple[Decimal | None, Decimal | None]


@dataclass(frozen=True, slots=True)
class MinutesCheck:
    """Minutes of the records and of the invoices in a month."""

    name: str
    """The month, and the site where invoices are by site."""
    records: Decimal
    invoiced: Decimal | None
    """None where no invoice states them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome and the rules."""

    outcome: Outcome
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason why the claim is not established."""
        return tuple(reason for check in self.checks for reason in check.reasons)


def judge(
    claim: Decimal,
    margins: Margins,
    minutes: Sequence[MinutesCheck],
    tolerance: Decimal,
    differences: Sequence[str],
    unbounded: Sequence[str],
) -> Verdict:
    """Judge a claim of more than `claim` %.

    `differences` says which elements stand on one side alone; `unbounded` what keeps a lower bound from being known.
    """
    checks = (
        Check("a", f"both methods exceed {plain(claim)} %", _points(claim, margins.point)),
        Check("b", f"the lower bound of both methods exceeds {plain(claim)} %", _lows(claim, margins.low, unbounded)),
        Check(
            "c",
            f"minutes of records and invoices agree within {plain(tolerance)} %",
            (*(reason for one in minutes for reason in _minutes(one, tolerance)), *_no_invoice(minutes)),
        ),
        Check("d", "baseline and today hold the same elements", tuple(differences)),
    )
    if all(check.holds for check in checks):
        return Verdict(Outcome.ESTABLISHED, checks)
    if all(high is not None and high <= 0 for high in margins.high):
        return Verdict(Outcome.REFUTED, checks)
    return Verdict(Outcome.NOT_ESTABLISHED, checks)


def plain(number: Decimal) -> str:
    """Return a number without needless zeros."""
    return f"{number.normalize():f}"


def _points(claim: Decimal, margins: Sequence[Decimal | None]) -> tuple[str, ...]:
    reasons = []
    for method, margin in enumerate(margins, start=1):
        if margin is None:
            reasons.append(f"Method {method} gives no saving: nothing can be compared.")
        elif margin <= 0:
            reasons.append(f"Method {method} saves not more than {plain(claim)} %.")
    return tuple(reasons)


def _lows(claim: Decimal, margins: Sequence[Decimal | None], unbounded: Sequence[str]) -> tuple[str, ...]:
    reasons = []
    for method, margin in enumerate(margins, start=1):
        if margin is None and not unbounded:
            reasons.append(f"The lower bound of method {method} is not known.")
        elif margin is not None and margin <= 0:
            reasons.append(f"By method {method} the saving may be not more than {plain(claim)} %.")
    if any(margin is None for margin in margins):
        reasons += [f"There is no lower bound: {name}." for name in unbounded]
    return tuple(reasons)


def _minutes(check: MinutesCheck, tolerance: Decimal) -> tuple[str, ...]:
    if check.invoiced is None:
        return ()
    apart = abs(check.records - check.invoiced)
    if apart * 100 <= tolerance * check.invoiced:
        return ()
    said = f"{check.name}: the records hold {check.records:,.1f} minutes, the invoices {check.invoiced:,.1f}"
    if not check.invoiced:
        return (f"{said}.",)
    return (f"{said}: {apart * 100 / check.invoiced:.1f} % apart, more than {plain(tolerance)} %.",)


def _no_invoice(minutes: Sequence[MinutesCheck]) -> tuple[str, ...]:
    if not minutes:
        return ("There is no month to hold against an invoice.",)
    bare = [one.name for one in minutes if one.invoiced is None]
    return (f"No invoice states minutes for {said_list(bare)}.",) if bare else ()
