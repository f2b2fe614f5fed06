"""Dialled numbers are read as the site dials them and classed as Ofcom classes them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from analytics.cost.number_classes import CLASSES
from analytics.cost.numbers import classify
from analytics.sites import DialPlan, Origin

STATION = DialPlan(None, "9", (4, 5), "5678", "0113", ("999", "112"), Origin("dialplans.csv", 2))

SHORT = {"101", "111", "105", "999", "112", "123"}


def test_every_row_of_the_golden_numbers_has_its_class(shared: Path) -> None:
    with (shared / "golden" / "uk_numbers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 41
    for row in rows:
        read = classify(row["dialled"], STATION)
        expected = "geographic" if row["our_class"] == "strip access digit" else row["our_class"]
        assert read.number_class == expected, row
        digits = row["dialled"].replace(" ", "")
        if digits == "902079460018":
            assert read.e164 == "+442079460018"
        elif read.internal or digits in SHORT or digits.startswith("11"):
            assert (read.e164, read.number) == ("", digits)
        else:
            assert read.e164 == row["e164"]
            assert read.valid in (None, row["pn_valid"] == "True")
            assert read.region == row["pn_region"]
        assert read.emergency == (row["emergency"] == "True")
        # Without a plan the same outside numbers read the same.
        if not read.internal and not read.access:
            assert classify(row["dialled"])[:2] == read[:2]


@pytest.mark.parametrize(
    ("dialled", "number_class", "number"),
    [
        ("9999", "emergency", "999"),
        ("9112", "emergency", "112"),
        ("999", "emergency", "999"),
        ("999#", "emergency", "999"),
        ("+44999", "emergency", "999"),
        ("918000", "emergency", "18000"),
        ("9141999", "emergency", "999"),
        ("sip:112@example.org", "emergency", "112"),
        ("urn:service:sos.police", "emergency", "sos"),
        ("61016", "internal", "61016"),
        ("5501", "internal", "5501"),
        ("961016", "short_other", "61016"),
        ("9101", "police_101", "101"),
        ("9118500", "directory_118", "118500"),
        ("9116123", "freephone_116", "116123"),
        ("902079460018#", "geographic", "+442079460018"),
        ("914102079460018", "geographic", "+442079460018"),
        ("1470 0300 123 1234", "uk_wide_03", "+443001231234"),
        ("+44 (0)20 7946 0018", "geographic", "+442079460018"),
        ("9+442079460018", "geographic", "+442079460018"),
        ("sip:+442079460018@example.org;user=phone", "geographic", "+442079460018"),
        ("sips:902079460018@10.0.0.1:5061", "geographic", "+442079460018"),
        ("tel:+44-20-7946-0018", "geographic", "+442079460018"),
        ("94960123", "geographic", "+441134960123"),
        ("442079460018", "geographic", "+442079460018"),
        ("2079460018", "geographic", "+442079460018"),
        ("9004930123456", "international", "+4930123456"),
        ("90044 1534 123456", "crown_dep", "+441534123456"),
        ("901624654321", "crown_dep", "+441624654321"),
    ],
)
def test_a_number_is_read_as_it_was_dialled(dialled: str, number_class: str, number: str) -> None:
    read = classify(dialled, STATION)
    assert (read.number_class, read.number, read.why) == (number_class, number, "")
    assert read.emergency == (number_class == "emergency")


@pytest.mark.parametrize(
    ("dialled", "why"),
    [
        ("", "empty"),
        ("#", "empty"),
        ("*21*5501#", "feature_code"),
        ("alice", "not_a_number"),
        ("sip:alice@example.org", "not_a_number"),
        ("b002179144511001", "not_a_number"),
        ("9+44+2079460018", "not_a_number"),
        ("90113496012", "too_short"),
        ("9011349601234", "too_long"),
        ("904012345678", "not_in_plan"),
        ("900999123456", "unassigned_code"),
        ("+3531", "too_short"),
        ("+35312345678901234", "too_long"),
        ("1" * 65, "too_long"),
        ("٠١١٣٤٩٦٠١٢٣", "not_a_number"),
    ],
)
def test_what_is_no_number_says_why(dialled: str, why: str) -> None:
    read = classify(dialled, STATION)
    assert (read.number_class, read.number, read.why) == ("unknown", "", why)


@pytest.mark.parametrize(
    ("dialled", "country", "number_class", "number"),
    [
        ("0113534960123", "US", "international", "+3534960123"),
        ("1 212 555 0123", "US", "geographic", "+12125550123"),
        ("(212) 555-0123", "US", "geographic", "+12125550123"),
        ("1 800 234 5678", "US", "freephone", "+18002345678"),
        ("1 900 234 5678", "US", "premium", "+19002345678"),
        ("1 242 365 1234", "US", "international", "+12423651234"),
        ("911", "US", "emergency", "911"),
        ("9911", "US", "emergency", "911"),
        ("112", "DE", "emergency", "112"),
        ("030 123456", "DE", "geographic", "+4930123456"),
        ("0151 23456789", "DE", "mobile", "+4915123456789"),
        ("0180 1 123456", "DE", "shared_cost", "+491801123456"),
        ("0044 20 7946 0018", "DE", "international", "+442079460018"),
    ],
)
def test_other_countries_are_a_setting(dialled: str, country: str, number_class: str, number: str) -> None:
    plan = DialPlan(None, "9", (), "", "", (), Origin("dialplans.csv", 2))
    read = classify(dialled, plan, country)
    assert (read.number_class, read.number) == (number_class, number)


def test_an_unknown_country_is_an_error() -> None:
    with pytest.raises(ValueError, match="ZZ"):
        classify("999", None, "ZZ")


def test_every_class_is_a_named_one() -> None:
    for dialled in ("999", "02079460018", "07400123456", "nobody", "61016"):
        assert classify(dialled).number_class in CLASSES
