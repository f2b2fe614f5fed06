"""What is tied stays together, everything is told once, and slices are bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.live.slices import slices


@given(st.lists(st.frozensets(st.integers(0, 30), max_size=3), max_size=60), st.integers(1, 10))
def test_every_item_is_in_one_slice_with_all_that_it_is_tied_to(ties: list[frozenset[int]], at_most: int) -> None:
    made = list(slices(ties, at_most))
    assert sorted(place for each in made for place in each) == list(range(len(ties)))
    where = {place: number for number, each in enumerate(made) for place in each}
    for one, own in enumerate(ties):
        for other in range(one):
            assert not own & ties[other] or where[one] == where[other]


@given(st.lists(st.integers(0, 10), max_size=60), st.integers(1, 10))
def test_a_slice_is_larger_than_asked_only_where_its_items_are_tied(ties: list[int], at_most: int) -> None:
    for each in slices([{tie} for tie in ties], at_most):
        assert len(each) <= at_most or len({ties[place] for place in each}) == 1


def test_a_chain_of_ties_is_one_slice() -> None:
    assert list(slices([{1}, {9}, {1, 2}, {8}, {2, 3}, {3}], 2)) == [[0, 2, 4, 5], [1, 3]]
