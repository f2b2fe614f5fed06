"""Dialled numbers are read as the site dials them and classed as Ofcom classes them."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumber, PhoneNumberType, ValidationResult
from phonenumbers.phonemetadata import PhoneMetadata

from analytics.cost.number_classes import CLASSES
from analytics.cost.numbers import BLOCK_DIGITS, Destination, NumberReader, classify
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
        ("91414960123", "geographic", "+441134960123"),
        ("1412345678", "geographic", "+441412345678"),
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
        ("9002", "too_short"),
        ("+35", "too_short"),
        ("+999", "unassigned_code"),
        ("9001212555", "too_short"),
        ("9001555012", "too_short"),
        ("9001 555 0123", "too_short"),
        ("900118500", "too_short"),
        ("+800123456", "too_short"),
        ("+35312345678901234", "too_long"),
        ("1" * 65, "too_long"),
        ("٠١١٣٤٩٦٠١٢٣", "not_a_number"),
    ],
)
def test_what_is_no_number_says_why(dialled: str, why: str) -> None:
    read = classify(dialled, STATION)
    assert (read.number_class, read.number, read.why) == ("unknown", "", why)


def test_foreign_numbers_are_incomplete_where_the_library_says_so() -> None:
    reader = NumberReader(STATION, "GB")
    missing = (ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY)
    for code in set(phonenumbers.COUNTRY_CODE_TO_REGION_CODE) - {44}:
        for length in range(1, 16 - len(str(code))):
            national = "2345678923456789"[:length]
            found = phonenumbers.is_possible_number_with_reason(PhoneNumber(code, int(national)))
            for dialled in (f"+{code}{national}", f"900{code}{national}"):
                read = reader.read(dialled)
                why, number = ("too_short", "") if found in missing else ("", f"+{code}{national}")
                assert (read.why, read.number) == (why, number), dialled


@pytest.mark.parametrize(
    ("dialled", "number", "region", "access"),
    [
        ("0035312345678", "+35312345678", "IE", ""),
        ("00493012345678", "+493012345678", "DE", ""),
        ("0012125552368", "+12125552368", "US", ""),
        ("0080012345678", "+80012345678", "", ""),
        ("00035312345678", "+35312345678", "IE", "0"),
        ("002079460018", "+442079460018", "GB", "0"),
        ("02079460018", "+442079460018", "GB", "0"),
        ("0035300000000", "", "", "0"),
        ("00353123", "", "", "0"),
    ],
)
def test_a_whole_number_counts_where_the_access_digit_is_its_own_first(
    dialled: str, number: str, region: str, access: str
) -> None:
    read = classify(dialled, replace(STATION, access_digits="0"))
    assert (read.number, read.region, read.access) == (number, region, access)


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
        ("+1 212 555 01", "US", "unknown", "too_short"),
        ("+1 212 555 01234", "US", "unknown", "too_long"),
        ("+1 212 055 0123", "US", "unknown", "not_in_plan"),
        ("0044 20 7946", "DE", "unknown", "too_short"),
    ],
)
def test_other_countries_are_a_setting(dialled: str, country: str, number_class: str, number: str) -> None:
    plan = DialPlan(None, "9", (), "", "", (), Origin("dialplans.csv", 2))
    read = classify(dialled, plan, country)
    assert (read.number_class, read.number or read.why) == (number_class, number)


def test_every_country_has_a_reader() -> None:
    for country in phonenumbers.SUPPORTED_REGIONS:
        reader = NumberReader(STATION, country)
        for dialled in ("", "1", "9", "112", "9999", "0", "000", "00", "011", "+1", "0" * 20, "123456789", "*", "+"):
            assert reader.read(dialled).number_class in CLASSES
        example = phonenumbers.example_number(country)
        assert example is not None
        written = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        assert reader.read(written).e164 == written


def test_an_unknown_country_is_an_error() -> None:
    with pytest.raises(ValueError, match="ZZ"):
        classify("999", None, "ZZ")


def test_every_class_is_a_named_one() -> None:
    for dialled in ("999", "02079460018", "07400123456", "nobody", "61016"):
        assert classify(dialled).number_class in CLASSES


@given(st.text(max_size=80))
def test_any_text_is_a_destination(dialled: str) -> None:
    read = classify(dialled, STATION)
    assert read.number_class in CLASSES
    assert (read.number == "") == (read.number_class == "unknown") == bool(read.why)


@given(st.text("0123456789+#* ()", max_size=25))
def test_no_digits_after_an_emergency_number_hide_it(dialled: str) -> None:
    for number in ("999", "112", "9999", "9112", " 999 ", "999#"):
        assert classify(number, STATION).emergency
    read = classify(dialled, STATION)
    assert read.emergency == (read.number_class == "emergency")
    assert read.internal == (read.number_class == "internal")


def test_leading_digits_never_show_the_last_four() -> None:
    read = classify("902079460018", STATION)
    assert (read.leading(5), read.leading(99), read.leading(0)) == ("+44207", "+44207946", "+")
    assert classify("5501", STATION).leading(9) == ""
    assert Destination("unknown", "").leading(3) == ""


KINDS = {
    PhoneNumberType.FIXED_LINE: "geographic",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "geographic",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.TOLL_FREE: "freephone",
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan",
    PhoneNumberType.VOICEMAIL: "voicemail",
    PhoneNumberType.UNKNOWN: "",
}


def look_up(reader: NumberReader, national: str) -> tuple[str, str]:
    return tuple(reader._numbers.look_up(national))  # type: ignore[return-value]


def by_library(code: int, national: str) -> tuple[str, str]:
    number = PhoneNumber(country_code=code, national_number=int(national))
    return phonenumbers.region_code_for_number(number) or "", KINDS[phonenumbers.number_type(number)]


def test_every_prefix_under_44_has_the_type_of_the_library() -> None:
    rnd = random.Random(44)
    reader = NumberReader(None, "GB")
    for prefix in range(1_000, 10_000):
        for length in rnd.sample((7, 9, 10, 10, 10, 11), 2):
            national = f"{prefix}{rnd.randrange(10 ** (length - 4)):0{length - 4}}"
            assert look_up(reader, national) == by_library(44, national), national
    for national in ("8001111", "8454647", "8001112", "8454657", "1697723456", "169772345", "7624000000"):
        assert look_up(reader, national) == by_library(44, national), national


def test_every_area_under_1_has_the_type_of_the_library() -> None:
    rnd = random.Random(1)
    reader = NumberReader(None, "US")
    for area in range(200, 1_000):
        for exchange in ("555", f"{rnd.randrange(200, 1_000)}"):
            national = f"{area}{exchange}{rnd.randrange(10_000):04}"
            assert look_up(reader, national) == by_library(1, national), national
    for national in ("3101234", "5551234", "212555012", "21255501234", "2423651234", "2423"):
        assert look_up(reader, national) == by_library(1, national), national


@pytest.mark.parametrize("country", ["US", "CA", "DE", "FR", "IE", "IT", "ES", "NL", "AU", "IN", "JM", "KZ", "JE"])
def test_other_countries_have_the_types_of_the_library(country: str) -> None:
    rnd = random.Random(country)
    reader = NumberReader(None, country)
    code = phonenumbers.country_code_for_region(country)
    examples = [phonenumbers.example_number_for_type(country, kind) for kind in KINDS]
    nationals = [str(one.national_number) for one in examples if one is not None]
    nationals += [str(rnd.randrange(10 ** rnd.randint(6, 10), 10**11)) for _ in range(300)]
    nationals += [f"{rnd.choice(nationals)[:5]}{rnd.randrange(10**5):05}" for _ in range(700)]
    for national in nationals:
        assert look_up(reader, national) == by_library(code, national), national


DESCRIPTIONS = (
    *("general_desc", "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "uan"),
    *("personal_number", "pager", "voicemail"),
)
ANY_DIGIT = frozenset(range(10))
Sequences = list[tuple[frozenset[int], ...]]


def one_place(items: Sequence[Any]) -> frozenset[int]:
    """Digits that a set of a pattern takes."""
    taken: set[int] = set()
    for name, value in items:
        match str(name):
            case "LITERAL":
                taken.add(value - 48)
            case "RANGE":
                taken.update(range(value[0] - 48, value[1] - 47))
            case "CATEGORY":
                assert str(value) == "CATEGORY_DIGIT"
                taken |= ANY_DIGIT
            case other:
                raise AssertionError(other)
    return frozenset(taken)


def expand(tokens: Sequence[Any]) -> Sequences:
    """Every way to match a pattern, place by place. The patterns of the library have no loops."""
    ways: Sequences = [()]
    for name, value in tokens:
        match str(name):
            case "LITERAL" | "IN":
                places = one_place(value if str(name) == "IN" else [(name, value)])
                found: Sequences = [(places,)]
            case "BRANCH":
                found = [way for branch in value[1] for way in expand(branch)]
            case "SUBPATTERN":
                found = expand(value[-1])
            case "MAX_REPEAT":
                once = expand(value[2])
                counts = range(value[0], value[1] + 1)
                found = [sum(parts, ()) for count in counts for parts in product(once, repeat=count)]
            case other:
                raise AssertionError(other)
        ways = [before + after for before in ways for after in found]
    return ways


def patterns(code: int) -> Iterator[tuple[bool, str]]:
    """Every pattern that numbers under a code are held against, and whether it is one of leading digits."""
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        metadata: Any = PhoneMetadata.metadata_for_region(region)
        if metadata.leading_digits:
            yield True, metadata.leading_digits
        for name in DESCRIPTIONS:
            described = getattr(metadata, name)
            if described is not None and described.national_number_pattern:
                yield False, described.national_number_pattern


@pytest.mark.parametrize("code", sorted(BLOCK_DIGITS))
def test_the_last_digits_of_a_block_never_matter(code: int) -> None:
    """In no pattern does any way to match nine digits or more ask for one of the last digits."""
    cut = BLOCK_DIGITS[code]
    parse = import_module("re._parser").parse
    for is_leading, pattern in patterns(code):
        for way in expand(parse(pattern)):
            if is_leading:
                assert len(way) <= 9 - cut
            elif len(way) >= 9:
                assert all(places == ANY_DIGIT for places in way[-cut:]), pattern
