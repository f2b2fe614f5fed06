"""The data path as a bar for each step: shares of what came to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from analytics.questions.path import PathStep

LEAST: Final = 0.4
"""A share that is not nothing is drawn no thinner [%]."""
MOST_REASONS: Final = 4


class Flow(NamedTuple):
    """What became of what came to a step, as shares of it [%]."""

    step: str
    meaning: str
    passed: float
    waiting: float
    lost: float
    aside: float
    counts: str
    lost_by: str
    """Most frequent reasons of loss."""
    aside_by: str
    said: str
    """All of it in words, for those who see no bar."""


def flows(steps: Sequence[PathStep]) -> tuple[Flow, ...]:
    """Return the steps; thin parts are widened so that they can be seen, at the cost of the widest."""
    return tuple(map(_flow, steps))


def _flow(one: PathStep) -> Flow:
    lost, aside = sum(one.lost.values()), sum(one.aside.values())
    # Several messages in one packet are counted as less than nothing aside: more passes than came.
    parts = [one.passed, max(0, one.waiting), max(0, lost), max(0, aside)]
    shares = _shares(parts, max(one.came, sum(parts)))
    said = f"{one.step}: {one.passed:,} of {one.came:,} {one.unit} passed, {lost:,} lost, {aside:,} aside"
    return Flow(
        one.step,
        one.meaning,
        *shares,
        f"{one.passed:,} of {one.came:,} {one.unit}",
        _reasons(one.lost),
        _reasons(one.aside),
        said,
    )


def _shares(parts: Sequence[int], of: int) -> tuple[float, float, float, float]:
    if not of:
        return 0.0, 0.0, 0.0, 0.0
    shares = [100 * part / of for part in parts]
    widened = [max(LEAST, share) if share > 0 else 0.0 for share in shares]
    widest = widened.index(max(widened))
    widened[widest] -= sum(widened) - sum(shares)
    return widened[0], widened[1], widened[2], widened[3]


def _reasons(of: Mapping[str, int]) -> str:
    ranked = sorted(((count, name) for name, count in of.items() if count > 0), key=lambda one: (-one[0], one[1]))
    said = [f"{count:,} {name.replace('_', ' ')}" for count, name in ranked[:MOST_REASONS]]
    return ", ".join(said) + (f", {len(ranked) - MOST_REASONS} more reasons" if len(ranked) > MOST_REASONS else "")
