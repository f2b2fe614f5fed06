"""What has to be told together, in slices of bounded size: a stop ends thousands of calls at one time."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence


def slices(ties: Sequence[Collection[Hashable]], at_most: int) -> Iterator[list[int]]:
    """Places of items, those with a tie in common always in one slice; a slice has more than `at_most` only for that.

    Slices, and what is tied in them, come in the order of their first items.
    """
    parent = list(range(len(ties)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    holders: dict[Hashable, int] = {}
    for place, own in enumerate(ties):
        for tie in own:
            one, other = sorted((root(place), root(holders.setdefault(tie, place))))
            parent[other] = one
    together: dict[int, list[int]] = {}
    for place in range(len(ties)):
        together.setdefault(root(place), []).append(place)
    made: list[int] = []
    for places in together.values():
        if made and len(made) + len(places) > at_most:
            yield made
            made = []
        made += places
    if made:
        yield made
