"""Small counts are not told: a count under 5 could name people, and so could one that is left when others are known.

Counts that add up are bound by relations: one of a relation's counts is the sum of the others. Where a relation hides
one count alone, the rest would give it away, so the smallest of the rest is held back too (complementary suppression).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

SMALL = 5
"""Counts from 1 up to below this are not told; 0 is."""


class Held(StrEnum):
    """How a count that is held back is shown."""

    SMALL = "<5"
    COMPLEMENT = "*"


REASONS: Mapping[Held, str] = {
    Held.SMALL: "fewer than 5 calls: not told, to name nobody",
    Held.COMPLEMENT: "not told: with it a count under 5 could be computed",
}


def held_back(
    counts: Mapping[str, int],
    relations: Iterable[Sequence[str]],
    *,
    also: Mapping[str, Held] = MappingProxyType({}),
    told: Collection[str] = frozenset(),
) -> dict[str, Held]:
    """Return which counts are held back, and how each is shown.

    `also` are held back elsewhere and so here; `told` are known from elsewhere, and so is what they give away: to
    hold that back would protect nobody.
    """
    bound = [list(relation) for relation in relations]
    known = set(told)
    while True:
        held = _closed(counts, bound, also, known)
        lone = {
            key
            for relation in bound
            if known & set(relation) and sum(one in held for one in relation) == 1
            for key in relation
            if key in held
        }
        if not lone:
            return held
        known |= lone


def _closed(
    counts: Mapping[str, int], relations: Sequence[Sequence[str]], also: Mapping[str, Held], known: Collection[str]
) -> dict[str, Held]:
    """Hold back small counts and what would give them away."""
    held = {key: Held.SMALL for key, count in counts.items() if 0 < count < SMALL and key not in known}
    held |= {key: how for key, how in also.items() if key not in held and key not in known and counts.get(key)}
    changed = True
    while changed:
        changed = False
        for relation in relations:
            open_keys = [key for key in relation if key not in held and key not in known and counts[key] > 0]
            if _gives_away(counts, relation, held) and open_keys:
                held[min(open_keys, key=lambda key: counts[key])] = Held.COMPLEMENT
                changed = True
    return held


def _gives_away(counts: Mapping[str, int], relation: Sequence[str], held: Mapping[str, Held]) -> bool:
    """Whether the open counts of a relation tell what it hides: one alone, or some that make less than 5 together."""
    hidden = [counts[key] for key in relation if key in held]
    return bool(hidden) and (len(hidden) == 1 or sum(hidden) < SMALL)
