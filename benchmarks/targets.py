"""What was promised, what was found, and how both are shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: a limit that must hold, one that is aimed at, and what was measured, all in the same unit."""

    name: str
    unit: str
    must: float
    aim: float
    measured: float
    more_is_better: bool
    note: str = ""

    def met(self, limit: float) -> bool:
        """Whether the measured value is on the right side of a limit."""
        return self.measured >= limit if self.more_is_better else self.measured <= limit


def table(targets: Iterable[Target]) -> str:
    """One line for each promise."""
    lines = [f"{'':36}{'must':>7}{'aim':>7}{'measured':>10}"]
    for target in targets:
        verdict = "aim met" if target.met(target.aim) else "met" if target.met(target.must) else "NOT MET"
        numbers = f"{target.must:7g}{target.aim:7g}{target.measured:10.2f}"
        lines.append(f"{target.name:36}{numbers} {target.unit:10} {verdict:8} {target.note}".rstrip())
    return "\n".join(lines)
