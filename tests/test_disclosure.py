"""No small count can be read or computed from what a report tells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analytics.cost.disclosure import SMALL, Held, held_back


def table_of(rows: list[list[int]]) -> tuple[dict[str, int], list[list[str]]]:
    """Counts of a table with its sums, and what binds them."""
    counts: dict[str, int] = {}
    relations = []
    width = len(rows[0])
    for index, row in enumerate(rows):
        keys = [f"{index}.{column}" for column in range(width)]
        counts.update(zip(keys, row, strict=True))
        counts[f"{index}.all"] = sum(row)
        relations.append([*keys, f"{index}.all"])
    for column in [*map(str, range(width)), "all"]:
        keys = [f"{index}.{column}" for index in range(len(rows))]
        counts[f"all.{column}"] = sum(counts[key] for key in keys)
        relations.append([*keys, f"all.{column}"])
    return counts, relations


def test_a_count_under_5_is_held_back_and_so_is_the_one_that_would_give_it_away() -> None:
    counts = {"offered": 40, "answered": 38, "abandoned": 2}
    held = held_back(counts, [["offered", "answered", "abandoned"]])
    assert held == {"abandoned": Held.SMALL, "answered": Held.COMPLEMENT}


def test_nothing_is_held_back_where_all_counts_are_large_or_0() -> None:
    assert held_back({"offered": 40, "answered": 40, "abandoned": 0}, [["offered", "answered", "abandoned"]]) == {}


def test_0_is_told_and_4_is_not_and_5_is() -> None:
    assert held_back({"a": 0, "b": 4, "c": 5}, []) == {"b": Held.SMALL}


TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 12), min_size=width, max_size=width), min_size=1, max_size=4)
)


@given(TABLES)
def test_no_relation_leaves_one_hidden_count_or_a_small_rest_where_more_could_be_held(rows: list[list[int]]) -> None:
    counts, relations = table_of(rows)
    held = held_back(counts, relations)
    assert all(key in held for key, count in counts.items() if 0 < count < SMALL)
    for relation in relations:
        hidden = [key for key in relation if key in held]
        assert len(hidden) != 1
        if hidden:
            everything = all(key in held or counts[key] == 0 for key in relation)
            assert sum(counts[key] for key in hidden) >= SMALL or everything


@given(TABLES)
def test_what_is_held_back_beyond_small_counts_is_not_0(rows: list[list[int]]) -> None:
    counts, relations = table_of(rows)
    for key, how in held_back(counts, relations).items():
        assert counts[key] > 0
        assert (how is Held.SMALL) == (counts[key] < SMALL)


def test_what_is_told_elsewhere_is_neither_held_back_nor_lets_others_be_read() -> None:
    counts = {"A": 2, "B": 40, "C": 60, "all": 102}
    assert held_back(counts, [["A", "B", "C", "all"]], told={"all"}) == {"A": Held.SMALL, "B": Held.COMPLEMENT}


def test_what_can_be_computed_from_what_is_told_elsewhere_is_told() -> None:
    assert held_back({"A": 2, "all": 2}, [["A", "all"]], told={"all"}) == {}
    # B is 0 and shown, so A is what is told of all.
    assert held_back({"A": 2, "B": 0, "all": 2}, [["A", "B", "all"]], told={"all"}) == {}


def test_what_another_report_holds_back_is_held_back_here_too() -> None:
    counts = {"A": 20, "B": 40, "all": 60}
    held = held_back(counts, [["A", "B", "all"]], also={"A": Held.COMPLEMENT})
    assert held == {"A": Held.COMPLEMENT, "B": Held.COMPLEMENT}


@given(TABLES)
def test_known_totals_never_leave_one_hidden_count(rows: list[list[int]]) -> None:
    counts, relations = table_of(rows)
    told = {key for key in counts if key.startswith("all.")}
    held = held_back(counts, relations, told=told)
    assert not told & set(held)
    for relation in relations:
        if told & set(relation):
            assert sum(key in held for key in relation) != 1
