"""What is wrong with a file of the estate, and where."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from analytics.sites import Origin

Severity = Literal["error", "warning"]

MOST_OF_A_KIND = 100
"""Problems of one code shown for a file; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One defect."""

    origin: Origin
    severity: Severity
    code: str
    """Short name of the kind, e.g. `overlapping_subnets`."""
    sentence: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.severity}: {self.sentence} [{self.code}]"


class EstateError(ValueError):
    """The estate cannot be used; says the file, the line and why."""


class Problems:
    """Problems as they are found, so many of a kind in each file and the rest counted."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._counts: Counter[tuple[str, str, Severity]] = Counter()

    def error(self, origin: Origin, code: str, sentence: str) -> None:
        """Note what makes the estate unusable."""
        self._note(Problem(origin, "error", code, sentence))

    def warning(self, origin: Origin, code: str, sentence: str) -> None:
        """Note what is probably not meant."""
        self._note(Problem(origin, "warning", code, sentence))

    def extend(self, problems: Iterable[Problem]) -> None:
        """Note problems that another part found."""
        for problem in problems:
            self._note(problem)

    def _note(self, problem: Problem) -> None:
        kind = (problem.origin.file, problem.code, problem.severity)
        self._counts[kind] += 1
        if self._counts[kind] <= MOST_OF_A_KIND:
            self._found.append(problem)

    def __iter__(self) -> Iterator[Problem]:
        """All that was noted, by file and line (whole files last), and how many more there are of a kind."""
        yield from sorted(self._found, key=lambda problem: (problem.origin.file, problem.origin.line or sys.maxsize))
        for (file, code, severity), count in self._counts.items():
            if count > MOST_OF_A_KIND:
                sentence = f"{count - MOST_OF_A_KIND:,} more of this kind in this file"
                yield Problem(Origin(file, 0), severity, code, sentence)


def shown(text: str) -> str:
    """Text of a file as it stands in a sentence: short, in quotes, nothing that a terminal obeys."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def nearest(text: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` for the known word that is most like the text; empty where none is."""
    if len(text) > 100:
        return ""
    close = difflib.get_close_matches(text.casefold(), {word.casefold(): word for word in known}, n=1, cutoff=0.6)
    originals = {word.casefold(): word for word in known}
    return f" (did you mean {originals[close[0]]}?)" if close else ""


class Suggestions:
    """`nearest` among the same known words again and again: each text is looked for once, and only so many."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = tuple(known)
        self._found: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """As `nearest`; empty after so many different texts."""
        if text not in self._found:
            if len(self._found) >= MOST_OF_A_KIND:
                return ""
            self._found[text] = nearest(text, self._known)
        return self._found[text]
