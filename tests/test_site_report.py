"""Sites: calls, minutes and cost that add up; channels by Erlang B; repeats of bad calls; days that stand out."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.cost.channels import NO_TRUNK, UNKNOWN, by_group, by_site, group_of, joined, paid_for, shared
from analytics.cost.document import Document, Ref, Section
from analytics.cost.money import ATOMS_PER_UNIT, from_atoms, to_atoms
from analytics.cost.outliers import Judgement, Measure, Outlier, Part
from analytics.cost.site_report import SiteFacts, sites_document
from analytics.cost.traffic import BusyHour, Traffic
from analytics.sites import EstateSettings, Origin, Site, Trunk, TrunkKind, Validity
from analytics.store.cost_queries import ExcludedSum, Usage, UsageSum
from analytics.store.site_queries import OutsideCalls, QualitySum

D = Decimal
OCTOBER = 202510
TEN = 1_759_312_800


def used(
    site: str | None,
    kind: str,
    number_class: str | None,
    lines: int,
    seconds: int,
    atoms: int = 0,
    month: int = OCTOBER,
) -> UsageSum:
    return UsageSum(month, site, kind, number_class, lines, lines, seconds, atoms, seconds, 0, 0, 0, 0, 0, 0, 0)


def trunk(device: str, site: str | None, count: int | None, last: date | None = None) -> Trunk:
    return Trunk(device, TrunkKind.PSTN, site, count, Validity(None, last), Origin("trunks.csv", 2))


SUMS = (
    used("A", "outbound", "geographic", 100, 6_000, to_atoms(D("1.234"))),
    used("A", "outbound", "mobile", 50, 3_000, to_atoms(D("2.345"))),
    used("A", "inbound", None, 30, 900),
    used("B", "on_net", "intersite", 20, 600),
    used("B", "outbound", "geographic", 10, 61, to_atoms(D("0.005"))),
    used(None, "outbound", "geographic", 6, 60, to_atoms(D("0.005"))),
)
FACTS = SiteFacts(
    settings=EstateSettings("Loamshire Police"),
    sites=(Site("A", "Ashby", "station", None, "normal", Validity(), Origin("sites.csv", 2)),),
    trunks=(trunk("GW", "A", 6),),
    months=(OCTOBER,),
    usage=Usage(SUMS, source="usage, version 3"),
    site_traffic={"A": Traffic(150, BusyHour(TEN, 3_600), 3), "B": Traffic(10, None, 0)},
    all_traffic=Traffic(160, BusyHour(TEN, 3_600), 3),
    group_traffic={"A": Traffic(150, BusyHour(TEN, 3_600), 3)},
    quality=(QualitySum("A", 180, 90, 12, 7, 9, 605, to_atoms(D("0.5")), 0), QualitySum("B", 30, 0, 0, 0, 0, 0, 0, 0)),
    judgement=Judgement((), ()),
)


def section(document: Document, name: str) -> Section:
    return next(one for one in document.sections if one.name == name)


def rows(document: Document, name: str) -> dict[str, list[str]]:
    """Rows of a table by their first cell."""
    found = {}
    for row in section(document, name).rows:
        texts = []
        for cell in row.cells[1:]:
            figure = document.book[cell.key] if isinstance(cell, Ref) else None
            if figure is None:
                texts.append(str(cell))
            else:
                texts.append(figure.shown or "—" if figure.value is None else f"{figure.value:f}")
        found[str(row.cells[0])] = texts
    return found


def test_each_site_has_its_calls_minutes_and_cost_and_they_add_up() -> None:
    found = rows(sites_document(FACTS), "sites")
    assert list(found) == ["A", "B", "no site", "All"]
    assert found["A"] == ["Ashby", "150", "30", "0", "180", "165.00", "3.58"]
    assert found["B"] == ["", "10", "0", "20", "30", "11.02", "0.01"]
    assert found["no site"] == ["", "6", "0", "0", "6", "1.00", "0.01"]
    assert found["All"] == ["", "166", "30", "20", "216", "177.02", "3.60"]


def test_classes_of_a_site_add_up_to_its_line_to_the_penny() -> None:
    document = sites_document(FACTS)
    # 1.234 and 2.345 are 3.58 together; each rounded alone they would be 1.23 + 2.35 = 3.58 or 3.57.
    assert document.book.value("class.A.outside.geographic.cost") == D("1.23")
    assert document.book.value("class.A.outside.mobile.cost") == D("2.35")
    assert rows(document, "classes")["All"] == ["216", "177.02", "3.60"]


AMOUNTS = st.lists(st.integers(0, 3 * ATOMS_PER_UNIT), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(amounts=AMOUNTS)
def test_whatever_the_prices_lines_of_every_table_add_up_to_its_total(amounts: list[int]) -> None:
    classes = ("geographic", "mobile", "service_084")
    months = (202509, OCTOBER)
    sums: dict[tuple[int, str, str], UsageSum] = {}
    for number, atoms in enumerate(amounts):
        where = (months[number % 2], "AB"[number // 2 % 2], classes[number % 3])
        sums[where] = used(where[1], "outbound", where[2], 10, 61, atoms, where[0])
    document = sites_document(replace(FACTS, months=months, usage=Usage(tuple(sums.values())), quality=()))
    whole: dict[tuple[int, str], int] = {}
    for (month, site, _), one in sums.items():
        whole[month, site] = whole.get((month, site), 0) + one.ip_atoms
    expected = sum((from_atoms(atoms) for atoms in whole.values()), D(0))
    for name in ("sites", "classes", "site_classes"):
        lines = section(document, name).rows
        costs = [document.book.value(row.cells[-1].key) for row in lines if isinstance(row.cells[-1], Ref)]
        assert sum((cost for cost in costs[:-1] if cost is not None), D(0)) == costs[-1] == expected


def test_few_calls_of_a_class_and_their_minutes_are_not_told_but_money_is() -> None:
    few = used("B", "outbound", "premium_09", 2, 120, to_atoms(D("3.20")))
    document = sites_document(replace(FACTS, usage=Usage((*SUMS, few))))
    details = {tuple(row.cells[:2]): row for row in section(document, "site_classes").rows}
    cells = [document.book[cell.key] for cell in details["B", "premium_09"].cells[2:] if isinstance(cell, Ref)]
    assert [figure.shown for figure in cells] == ["<5", "*", ""]
    assert cells[2].value == D("3.20")
    assert D(2) not in {figure.value for figure in document.book if figure.unit in ("calls", "minutes")}
    assert D(120) not in {figure.value for figure in document.book if figure.unit == "seconds"}
    exact = sites_document(replace(FACTS, usage=Usage((*SUMS, few))), exact=True)
    assert exact.book.value("class.B.outside.premium_09.calls") == 2


def test_calls_without_a_price_are_said_beside_the_cost() -> None:
    unrated = replace(SUMS[0], ip_unrated_lines=7)
    found = section(sites_document(replace(FACTS, usage=Usage((unrated, *SUMS[1:])))), "sites").rows[0]
    assert found.note == "7 calls without a price: not in the cost"


def test_channels_are_reckoned_by_erlang_b_and_held_against_those_paid_for() -> None:
    document = sites_document(FACTS)
    found = rows(document, "channels")
    # 1 erlang needs 5 channels at 1 % and 6 at 0.1 %; 6 channels block 0.0511 % (published tables).
    assert found["A"] == ["Wed 2025-10-01 11:00", "1", "3", "5", "6", "6", "0.0511", "enough"]
    assert found["B"] == ["none", "0", "0", "0", "0", "—", "—", ""]
    assert found["All sites together"][5] == "6"
    assert document.book["channels.site.B.paid"].why == "it has no trunk of its own"
    assert rows(document, "trunks")["A"][-1] == "enough"


@pytest.mark.parametrize(("paid", "verdict"), [(4, "too few"), (5, "enough"), (6, "enough"), (9, "3 to spare")])
def test_the_verdict_on_channels_is_by_both_shares_of_blocking(paid: int, verdict: str) -> None:
    found = rows(sites_document(replace(FACTS, trunks=(trunk("GW", "A", paid),))), "channels")
    assert found["A"][-1] == verdict


def test_channels_paid_for_are_those_of_the_last_day_and_missing_where_one_trunk_states_none() -> None:
    trunks = (trunk("G1", "A", 30), trunk("G2", "A", 2), trunk("OLD", "A", 8, date(2025, 10, 30)), trunk("S", None, 60))
    assert paid_for(trunks, OCTOBER)["A"] == (32, "trunks.csv:2 trunks.csv:2")
    assert paid_for(trunks, OCTOBER)[shared("S")][0] == 60
    count, why = paid_for((*trunks, trunk("G3", "A", None)), OCTOBER)["A"]
    assert (count, why) == (None, "trunks.csv:2 states no channels of G3")


def test_calls_are_gathered_by_site_and_by_the_place_of_their_trunk() -> None:
    def month(begin: int) -> OutsideCalls:
        places = ((None, None), ("A", "gw"), ("B", "SIP"), ("B", "what"))
        begins = np.array([begin, begin, begin + 10, begin + 20], np.int64)
        return OutsideCalls(places, np.arange(4, dtype=np.int32), begins, begins + 100)

    sites = joined(by_site(month(TEN)), by_site(month(TEN + 10**6)))
    assert {site: found.calls for site, found in sites.items()} == {None: 2, "A": 2, "B": 4}
    assert sites["B"].at_once == 2
    groups = by_group(month(TEN), group_of((trunk("GW", "A", 30), trunk("SIP", None, 60))))
    assert {name: found.calls for name, found in groups.items()} == {NO_TRUNK: 1, "A": 1, shared("SIP"): 1, UNKNOWN: 1}


def test_bad_quality_costs_the_calls_that_only_repeat_another() -> None:
    found = rows(sites_document(FACTS), "quality")
    assert found["A"] == ["90", "12", "7", "9", "10.08", "0.50"]
    assert found["B"] == ["0", "0", "0", "0", "0.00", "0.00"]
    assert found["All"] == ["90", "12", "7", "9", "10.08", "0.50"]


def test_a_day_that_stands_out_is_shown_with_what_is_usual() -> None:
    outlier = Outlier("A", date(2025, 10, 18), Part.OUT_OF_HOURS, Measure.PREMIUM, to_atoms(D("94")), 0, 63.41, 12, 3)
    document = sites_document(replace(FACTS, judgement=Judgement((outlier,), ("B",))))
    (row,) = section(document, "outliers").rows
    assert row.cells[:4] == ("Sat 2025-10-18", "A", "out of hours", "premium-rate cost")
    assert document.book.value("outlier.0.value") == D("94.00")
    assert document.book.value("outlier.0.z") == D("63.4")
    assert section(document, "outliers").notes == ("Not enough history (fewer than 8 weeks) before some days: B",)
    assert document.sentence == "2 sites: 216 calls, £3.60 by today's tariff; 1 day stands out from a site's own past."


def test_one_site_alone_has_its_own_lines() -> None:
    document = sites_document(replace(FACTS, only="B"))
    assert list(rows(document, "sites")) == ["B", "All"]
    assert list(rows(document, "channels")) == ["B"]
    assert rows(document, "sites")["All"] == rows(document, "sites")["B"]
    assert document.sentence.startswith("B: 30 calls, £0.01")


@pytest.mark.parametrize(
    "name", ["all", "#all", "{x}", "A.outside", "inbound", "outside", "=1+1", "<b>", "none", "é ü"]
)
def test_a_site_may_be_called_anything(name: str) -> None:
    sums = tuple(replace(one, site=name if one.site == "A" else one.site) for one in SUMS)
    named = replace(
        FACTS,
        usage=Usage(sums),
        site_traffic={name: FACTS.site_traffic["A"]},
        quality=(FACTS.quality[0]._replace(site=name), FACTS.quality[1]),
    )
    found = rows(sites_document(named), "sites")
    assert found[name][-1] == "3.58"
    assert found["All"][-1] == "3.60"


def test_without_a_past_it_says_that_there_is_not_enough_history() -> None:
    everyone: tuple[str | None, ...] = (None, "A", "B")
    document = sites_document(replace(FACTS, judgement=Judgement((), everyone, everyone)))
    assert document.sentence.endswith("; there is not enough history to tell days that stand out.")
    assert "None was found where there is enough history" in section(document, "outliers").sentence
    document = sites_document(replace(FACTS, judgement=Judgement((), everyone, ("A",))))
    assert document.sentence.endswith("past (before some days of 3 sites there is not enough history).")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz"), st.integers(1, 9), st.integers(0, 999))))
def test_minutes_of_every_table_add_up_to_the_same_total_as_they_are_rounded(
    found: list[tuple[str, str, int, int]],
) -> None:
    sums = {(site, name): used(site, "outbound", name, lines, seconds) for site, name, lines, seconds in found}
    usage = Usage(tuple(sums.values()))
    exact = sites_document(replace(FACTS, usage=usage, quality=()), exact=True)
    rounded = sum((D(one.seconds) / 60).quantize(D("0.01"), ROUND_HALF_UP) for one in sums.values())
    for name, column in (("sites", 6), ("classes", 2), ("site_classes", 3)):
        cells = [row.cells[column] for row in section(exact, name).rows]
        values = [exact.book.value(cell.key) or D(0) for cell in cells if isinstance(cell, Ref)]
        assert sum(values[:-1], D(0)) == values[-1] == rounded
    told = sites_document(replace(FACTS, usage=usage, quality=())).book.value("all.minutes")
    assert told in (None, rounded)


TABLE = st.dictionaries(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz")), st.integers(1, 9), min_size=1)


@settings(max_examples=100, deadline=None)
@given(TABLE)
def test_the_report_of_one_site_tells_no_count_that_the_report_of_all_holds_back(
    lines: dict[tuple[str, str], int],
) -> None:
    sums = tuple(used(site, "outbound", name, count, 60 * count) for (site, name), count in lines.items())
    facts = replace(FACTS, usage=Usage(sums), quality=())
    whole = sites_document(facts).book
    for only in {site for site, _ in lines}:
        one = sites_document(replace(facts, only=only)).book
        for figure in one:
            if figure.key.startswith((f"class.{only}.", f"site.{only}.")) and figure.value is not None:
                assert whole[figure.key].value == figure.value


def test_legs_that_are_no_usage_are_not_told_where_they_are_few() -> None:
    few = Usage(SUMS, excluded=(ExcludedSum(OCTOBER, "recording", 3, 60), ExcludedSum(OCTOBER, "consultation", 5, 0)))
    told = dict(sites_document(replace(FACTS, usage=few)).facts)["No usage"]
    assert told == "legs that are counted nowhere: recording <5, consultation 5"


def test_trunks_at_no_site_have_channels_apart() -> None:
    trunks = (trunk("SBC1", None, 60), trunk("SBC2", None, 30))
    places = ((None, "SBC1"), (None, "sbc2"))
    calls = OutsideCalls(places, np.arange(2, dtype=np.int32), np.array([TEN, TEN]), np.array([TEN + 9, TEN + 9]))
    groups = by_group(calls, group_of(trunks))
    found = rows(sites_document(replace(FACTS, trunks=trunks, group_traffic=groups)), "trunks")
    assert {name: cells[5] for name, cells in found.items()} == {
        "SBC1, shared by all sites": "60",
        "SBC2, shared by all sites": "30",
    }
