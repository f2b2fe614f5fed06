"""What has to be told together, in slices of bounded size: a stop ends thousands of calls at one time."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Hashable, Iterable, Iterator


def slices(ties: Iterable[Collection[Hashable]], at_most: int) -> Iterator[list[int]]:
    """Places of items, those with a tie in common always in one slice; a slice has more than `at_most` only for that.

    Slices, and what is tied in them, come in the order of their first items. Ties are asked for one by one, and those
    of an item are not kept together.
    """
    made: list[int] = []
    for places in _together(ties):
        if made and len(made) + len(places) > at_most:
            yield made
            made = []
        made += places
    if made:
        yield made


def _together(ties: Iterable[Collection[Hashable]]) -> Iterable[Collection[int]]:
    parent = array("q")

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    holders: dict[Hashable, int] = {}
    for place, own in enumerate(ties):
        parent.append(place)
        for tie in own:
            one, other = sorted((root(place), root(holders.setdefault(tie, place))))
            parent[other] = one
    together: dict[int, list[int]] = {}
    for place in range(len(parent)):
        together.setdefault(root(place), []).append(place)
    return together.values()
