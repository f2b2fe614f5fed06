"""Public access: who was answered in time, said with small counts held back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from analytics.cost.access import BUCKETS, AccessFacts, access_document, bounds_of
from analytics.cost.document import Document, Ref, Section
from analytics.sites import EstateSettings, Origin, PublicNumber, Validity
from analytics.store.site_queries import AccessSum

D = Decimal
EMERGENCY = PublicNumber("999", "Emergency", None, 10, D("0.9"), Validity(), Origin("public_numbers.csv", 2))
SWITCHBOARD = PublicNumber("01134960000", "Switchboard", "A", 45, D("0.8"), Validity(), Origin("public_numbers.csv", 3))
SETTINGS = EstateSettings("Loamshire Police")
BOUNDS = bounds_of(SETTINGS, (EMERGENCY, SWITCHBOARD))


def calls(name: str, waits: dict[int, int], lost: int, known_from: str = "CDR", moved: int | None = 40) -> AccessSum:
    """Calls by seconds waited (how many each), and calls that nobody answered."""
    answered = sum(waits.values())
    within = tuple(sum(count for waited, count in waits.items() if waited <= bound) for bound in BOUNDS)
    return AccessSum(name, known_from, answered + lost, answered, answered, moved, 3, 9, 12, within)


def facts(*numbers: AccessSum) -> AccessFacts:
    return AccessFacts(SETTINGS, (EMERGENCY, SWITCHBOARD), (202510,), numbers, (), {})


def section(document: Document, name: str) -> Section:
    return next(one for one in document.sections if one.name == name)


def cells(document: Document, name: str, row: int) -> list[str]:
    """A row as text: values plainly, what is not told as its sign."""
    found = []
    for cell in section(document, name).rows[row].cells:
        if isinstance(cell, Ref):
            figure = document.book[cell.key]
            found.append(figure.shown or "—" if figure.value is None else f"{figure.value.normalize():f}")
        else:
            found.append(cell)
    return found


def test_targets_of_all_numbers_are_among_the_spans_that_times_are_counted_in() -> None:
    assert tuple(sorted({*BUCKETS, 10, 20, 45})) == BOUNDS


def test_the_share_in_time_is_of_all_offered_calls() -> None:
    document = access_document(facts(calls("999", {4: 80, 10: 12, 11: 8}, 20)))
    row = cells(document, "numbers", 0)
    assert row[:10] == ["Emergency 999", "CDR", "120", "100", "20", "40", "3", "9", "12", "10"]
    assert row[10].startswith("76.66666")
    assert row[11:] == ["90", "missed"]
    assert document.sentence == (
        "People called 120 times; 1 of 1 public numbers missed the goal, "
        "worst Emergency 999: 76.7 % answered within 10 s, goal 90 %."
    )


def test_a_number_that_reaches_its_goal_says_so() -> None:
    document = access_document(facts(calls("999", {4: 95}, 5)))
    assert cells(document, "numbers", 0)[-3:] == ["95", "90", "met"]
    assert "every public number with known times reached its goal" in document.sentence


def test_each_number_has_its_own_target_and_others_that_of_the_estate() -> None:
    document = access_document(facts(calls("01134960000", {44: 50}, 0), calls("Desk", {21: 50}, 0)))
    assert cells(document, "numbers", 0)[9:] == ["45", "100", "80", "met"]
    assert cells(document, "numbers", 1)[9:] == ["20", "0", "90", "missed"]
    assert document.book["number.Desk.target"].source == "estate.toml"
    assert document.book["number.01134960000.target"].source == "public_numbers.csv:3"


def test_few_abandoned_calls_at_a_site_are_not_told_and_cannot_be_computed_there() -> None:
    at_site = replace(facts(), sites=(calls("A", {4: 95}, 2), calls("B", {4: 60}, 40)))
    document = access_document(at_site)
    row = cells(document, "sites", 0)
    assert row[2:5] == ["97", "*", "<5"]
    assert (row[10], row[-1]) == ("—", "not known")
    assert cells(document, "sites", 1)[2:5] == ["100", "*", "*"]
    assert cells(document, "sites", 2)[2:5] == ["197", "155", "42"]
    told = {figure.value for figure in document.book if figure.key.startswith("site.A.") and figure.unit == "calls"}
    assert not told & {D(95), D(2)}
    assert "Small counts" in dict(document.facts)


def test_with_exact_all_counts_are_told() -> None:
    document = access_document(replace(facts(), sites=(calls("A", {4: 95}, 2),)), exact=True)
    assert cells(document, "sites", 0)[2:5] == ["97", "95", "2"]


def test_few_abandoned_calls_to_a_public_number_are_told() -> None:
    document = access_document(facts(calls("999", {4: 95}, 2)))
    assert cells(document, "numbers", 0)[2:5] == ["97", "95", "2"]
    assert cells(document, "numbers", 0)[-1] == "met"


def test_numbers_known_from_packets_alone_say_so() -> None:
    document = access_document(facts(calls("999", {4: 95}, 5, "packets", None)))
    assert cells(document, "numbers", 0)[1] == "packets"
    assert cells(document, "numbers", 0)[5] == "—"
    assert dict(document.facts)["From packets"] == "no records of Emergency 999: counted from signalling"
    assert dict(document.facts)["No calls"] == "nothing is known of Switchboard 01134960000"
    assert document.book["number.999.moved"].why.startswith("packets do not say")


def test_a_number_that_nobody_answered_has_no_times_and_no_zeros() -> None:
    nobody = AccessSum("999", "CDR", 30, 0, 0, 0, None, None, None, (0,) * len(BOUNDS))
    document = access_document(facts(nobody))
    assert cells(document, "numbers", 0)[6:9] == ["—", "—", "—"]
    assert document.book["number.999.median"].why == "no call was answered"
    assert cells(document, "numbers", 0)[10] == "0"


def test_hours_add_up_to_the_day() -> None:
    document = access_document(replace(facts(calls("999", {4: 95}, 2)), hours={9: (50, 48), 10: (47, 47)}))
    assert cells(document, "hours", 9) == ["09:00", "48", "2", "50"]
    assert cells(document, "hours", 24) == ["All", "95", "2", "97"]


def test_no_call_at_all_is_a_sentence() -> None:
    document = access_document(facts())
    assert document.sentence == "No call to a public number is known."


@pytest.mark.parametrize("name", ["all", "#all", "none", "{x}", "999.offered"])
def test_a_queue_or_site_may_be_called_anything(name: str) -> None:
    made = replace(facts(calls("999", {4: 95}, 5), calls(name, {4: 60}, 9)), sites=(calls(name, {4: 155}, 14),))
    document = access_document(made)
    assert cells(document, "numbers", 1)[2:5] == ["69", "60", "9"]
    assert cells(document, "sites", 1)[2:5] == ["169", "155", "14"]


def test_what_public_numbers_tell_of_the_only_site_is_told_of_it_too() -> None:
    document = access_document(replace(facts(calls("999", {4: 95}, 2)), sites=(calls("A", {4: 95}, 2),)))
    assert cells(document, "sites", 0)[2:5] == cells(document, "numbers", 0)[2:5] == ["97", "95", "2"]
    assert cells(document, "sites", 1)[2:5] == ["97", "95", "2"]


def test_what_sites_hold_back_cannot_be_computed_from_public_numbers() -> None:
    numbers = (calls("999", {4: 95}, 2), calls("01134960000", {4: 60}, 40))
    at_sites = (calls("A", {4: 90}, 3), calls("B", {4: 65}, 39))
    document = access_document(replace(facts(*numbers), sites=at_sites))
    # 42 abandoned calls are told of the numbers: to tell 39 of B would tell 3 of A.
    assert [cells(document, "sites", row)[4] for row in range(3)] == ["<5", "*", "42"]


def test_one_site_alone_holds_back_what_the_report_of_all_holds_back() -> None:
    numbers = (calls("999", {4: 155}, 42),)
    at_sites = (calls("A", {4: 90}, 3), calls("B", {4: 65}, 39))
    whole = replace(facts(*numbers), sites=at_sites)
    alone = replace(whole, numbers=(), sites=at_sites[1:], hours={}, every_number=numbers, every_site=at_sites)
    assert cells(access_document(alone), "sites", 0)[4] == "*"


def test_without_calls_to_public_numbers_there_is_no_line_of_zeros() -> None:
    document = access_document(facts())
    assert section(document, "numbers").rows == ()
    assert not [figure for figure in document.book if figure.unit == "calls"]
