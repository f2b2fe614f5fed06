"""Calls cost to the atom what the tariff says, and what an independent rater in fractions says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import reference_rater as reference
from tariffs_made import DESTINATIONS, ZONES, as_facts, random_start, random_tariff

from analytics.cost.money import ATOMS_PER_UNIT, per_minute_to_atoms, to_atoms
from analytics.cost.numbers import classify
from analytics.cost.rating import RatedColumns, Rater
from analytics.cost.tariff import Crossing, RateRow, TariffError, TariffVersion
from analytics.sites import DialPlan, EstateSettings, Origin
from collector.estate.tariffs import read_tariffs

EXAMPLE = Path(__file__).parent / "data" / "cost_example_estate"
PLAN = DialPlan(None, "9", (4,), "56", "", ("999", "112"), Origin("dialplans.csv", 2))


@pytest.fixture(scope="module")
def example() -> dict[str, Rater]:
    book, problems = read_tariffs(EXAMPLE, EstateSettings("example"))
    assert [problem for problem in problems if problem.severity == "error"] == []
    return {name: Rater(book.named(name), "Europe/London") for name in ("ip", "legacy")}


def pence(rater: Rater, start: int, seconds: int, number_class: str, number: str) -> Fraction:
    """Price of one call; fails where it has none."""
    group = rater.groups([(number_class, number)])
    rated = rater.rate(np.array([start], np.int64), np.array([seconds], np.int32), group)
    assert rater.reasons[rated.why[0]] == ""
    return Fraction(int(rated.cost[0]) * 100, ATOMS_PER_UNIT)


@pytest.mark.parametrize(
    ("start", "seconds", "dialled", "legacy", "ip"),
    [
        (1759306500, 125, "902079460018", "17.0", "1.25"),
        (1759341570, 600, "907400123456", "135.0", "18.0"),
        (1759395600, 301, "intersite", "29.0", "0"),
        (1759496400, 480, "901134960123", "37.0", "4.8"),
        (1759777200, 61, "903001231234", "8.0", "0.61"),
        (1759831200, 180, "908451234567", "23.0", "9.0"),
        (1759932000, 90, "90012125550123", "25.0", "1.8"),
        (1759971600, 240, "999", "0", "0"),
        (1759275000, 60, "902079460018", "6.5", "0.6"),
        (1761438600, 30, "907400123456", "13.5", "0.9"),
        (1761442200, 30, "907400123456", "13.5", "0.9"),
        (1761955190, 20, "902079460018", "6.5", "0.2"),
        (1760212800, 120, "9116123", "0", "0"),
        (1760346000, 60, "onsite", "0", "0"),
        (1760432400, 0, "902079460018", "0", "0"),
    ],
)
def test_the_worked_example_costs_what_it_says(
    example: dict[str, Rater], start: int, seconds: int, dialled: str, legacy: str, ip: str
) -> None:
    read = classify(dialled, PLAN) if dialled[0].isdigit() else None
    where = (read.number_class, read.number) if read else (dialled, "")
    assert pence(example["legacy"], start, seconds, *where) == Fraction(Decimal(legacy))
    assert pence(example["ip"], start, seconds, *where) == Fraction(Decimal(ip))


def test_a_hundred_thousand_calls_cost_what_the_reference_says() -> None:
    rnd = random.Random(20251026)
    holidays = frozenset({date(2025, 10, 27), date(2025, 10, 31)})
    priced = crossed = 0
    for turn in range(200):
        zone = ZONES[turn % len(ZONES)]
        versions = random_tariff(rnd)
        rater = Rater(as_facts(versions), zone, holidays)
        groups = rater.groups(DESTINATIONS)
        picks = [rnd.randrange(len(DESTINATIONS)) for _ in range(500)]
        starts = [random_start(rnd, ZoneInfo(zone)) for _ in picks]
        lengths = [
            rnd.choice((0, rnd.randint(1, 90), rnd.randint(1, 900), rnd.randint(60, 3_000), 20_000 * (turn % 9 == 0)))
            for _ in picks
        ]
        rated = rater.rate(np.array(starts, np.int64), np.array(lengths, np.int32), groups[picks])
        for index, pick in enumerate(picks):
            expected = reference.price(
                versions, ZoneInfo(zone), holidays, starts[index], lengths[index], *DESTINATIONS[pick]
            )
            if expected is None:
                assert rated.why[index] != 0
                assert rated.version[index] == -1
                continue
            priced += 1
            crossed += expected.segments > 1
            got = reference.Priced(
                int(rated.version[index]),
                int(rated.row[index]) - 2,
                int(rated.rated_seconds[index]),
                int(rated.segments[index]),
                Fraction(int(rated.cost[index]), ATOMS_PER_UNIT),
            )
            assert (rated.why[index], got) == (0, expected), (turn, starts[index], lengths[index], DESTINATIONS[pick])
    assert priced > 60_000
    assert crossed > 3_000


EVERY_DAY = (*reference.DAYS, "holiday")
LONDON = "Europe/London"
NIGHT = [reference.Band("night", EVERY_DAY, "01:00", "02:00"), reference.Band("day", EVERY_DAY, "00:00", "24:00")]


def row(minute: str, band: str = "", **others: Any) -> reference.Row:
    """A row for geographic numbers, by the second without any other charge."""
    zero = Fraction(0)
    plain = reference.Row("", "geographic", band, zero, Fraction(minute), zero, zero, 0, 1, 1, None)
    return plain._replace(**others)


def version(rows: list[reference.Row], bands: list[reference.Band], **others: Any) -> reference.Version:
    return reference.Version(date(2020, 1, 1), rows, bands, True, True, True)._replace(**others)


def price(rater: Rater, start: datetime, seconds: int) -> Fraction:
    """Price of a call to a geographic number [pounds]."""
    return pence(rater, int(start.timestamp()), seconds, "geographic", "+442079460018") / 100


@pytest.mark.parametrize(
    ("start", "seconds", "night_seconds"),
    [
        # 26 October 2025: 01:00 to 02:00 comes twice, so the night band lasts two real hours.
        (datetime(2025, 10, 25, 23, 59, 30, tzinfo=UTC), 30 + 7200 + 30, 7200),
        (datetime(2025, 10, 26, 0, 59, 59, tzinfo=UTC), 2, 2),
        # 30 March 2025: 01:00 to 02:00 does not come, so the night band does not either.
        (datetime(2025, 3, 30, 0, 59, 30, tzinfo=UTC), 60, 0),
        (datetime(2025, 3, 29, 0, 59, 30, tzinfo=UTC), 60, 30),
    ],
)
def test_bands_go_by_the_wall_clock_and_lengths_by_real_seconds(
    start: datetime, seconds: int, night_seconds: int
) -> None:
    rater = Rater(as_facts([version([row("60", "night"), row("120", "day")], NIGHT)]), LONDON)
    assert price(rater, start, seconds) == night_seconds * 1 + (seconds - night_seconds) * 2


def test_a_band_whose_end_the_clocks_skip_ends_with_them() -> None:
    early = [reference.Band("early", EVERY_DAY, "00:00", "01:30"), reference.Band("late", EVERY_DAY, "01:30", "24:00")]
    rater = Rater(as_facts([version([row("60", "early"), row("120", "late")], early)]), LONDON)
    # 10 minutes before 01:00 GMT, which is 02:00 BST: 01:30 does not come.
    assert price(rater, datetime(2025, 3, 30, 0, 50, tzinfo=UTC), 1200) == 600 * 1 + 600 * 2
    assert price(rater, datetime(2025, 3, 29, 0, 50, tzinfo=UTC), 1200) == 1200


def test_a_version_begins_at_local_midnight() -> None:
    old = version([row("60")], [NIGHT[1]], splits_tariffs=False)
    new = version([row("120")], [NIGHT[1]], valid_from=date(2025, 10, 1))
    midnight = datetime(2025, 9, 30, 23, 0, tzinfo=UTC)
    last = midnight - timedelta(seconds=1)
    by_start = Rater(as_facts([old, new]), LONDON)
    assert [price(by_start, last, 10), price(by_start, midnight, 10)] == [10, 20]
    by_second = Rater(as_facts([old._replace(splits_tariffs=True), new]), LONDON)
    assert price(by_second, last, 10) == 1 + 9 * 2
    before_any = by_second.rate(np.array([0], np.int64), np.array([60], np.int32), by_second.groups(DESTINATIONS[:1]))
    assert by_second.reasons[before_any.why[0]] == "no_version"


def test_a_holiday_is_no_weekday_where_the_tariff_has_holidays() -> None:
    bands = [
        reference.Band("peak", reference.DAYS[:5], "00:00", "24:00"),
        reference.Band("offpeak", EVERY_DAY, "00:00", "24:00"),
    ]
    rows = [row("120", "peak"), row("60", "offpeak")]
    christmas = date(2025, 12, 25)
    noon = datetime(2025, 12, 25, 12, tzinfo=UTC)  # a Thursday
    assert price(Rater(as_facts([version(rows, bands)]), LONDON, {christmas}), noon, 10) == 10
    assert price(Rater(as_facts([version(rows, bands, has_holidays=False)]), LONDON, {christmas}), noon, 10) == 20


def test_charged_seconds_go_on_where_the_call_left_off() -> None:
    # 30 s of day, then night: 31 s are charged as 60, of which 30 lie in the night.
    rows = [row("60", "night"), row("120", "day", first=60, following=60, connection=Fraction(3))]
    rater = Rater(as_facts([version(rows, NIGHT)]), LONDON)
    start = datetime(2025, 6, 2, 0, 59, 30, tzinfo=ZoneInfo(LONDON))
    assert price(rater, start, 31) == price(rater, start, 1) == 3 + 30 * 2 + 30 * 1
    assert price(rater, start, 61) == 3 + 30 * 2 + 90 * 1


@pytest.mark.parametrize(
    ("first", "following", "minimum", "seconds", "charged"),
    [
        (60, 60, 0, 1, 60),
        (60, 60, 0, 60, 60),
        (60, 60, 0, 61, 120),
        (30, 6, 0, 30, 30),
        (30, 6, 0, 31, 36),
        (30, 6, 0, 42, 42),
        (1, 1, 0, 125, 125),
        (1, 1, 60, 5, 60),
        (60, 60, 90, 5, 120),
        (60, 60, 90, 0, 0),
        (1, 60, 0, 2, 61),
    ],
)
def test_increments_and_minimum(first: int, following: int, minimum: int, seconds: int, charged: int) -> None:
    one = row("60", first=first, following=following, minimum=minimum)
    facts = as_facts([version([one], [NIGHT[1]])])
    assert facts[0].rows[0].rated_seconds(seconds) == charged
    assert price(Rater(facts, LONDON), datetime(2025, 6, 2, tzinfo=UTC), seconds) == charged


def test_a_cap_bounds_all_charges_together() -> None:
    one = row("60", connection=Fraction(2), service_call=Fraction(1), service_minute=Fraction(60), cap=Fraction(15))
    rater = Rater(as_facts([version([one], [NIGHT[1]])]), LONDON)
    prices = [price(rater, datetime(2025, 6, 2, tzinfo=UTC), seconds) for seconds in (0, 1, 6, 7, 9_999)]
    assert prices == [0, 5, 15, 15, 15]


def test_a_longer_call_never_costs_less() -> None:
    rnd = random.Random(7)
    for turn in range(60):
        zone = ZONES[turn % len(ZONES)]
        rater = Rater(as_facts(random_tariff(rnd)), zone)
        lengths = np.arange(0, 6_000, dtype=np.int32)
        for group in rater.groups(DESTINATIONS):
            start = np.full(len(lengths), random_start(rnd, ZoneInfo(zone)), np.int64)
            rated = rater.rate(start, lengths, np.full(len(lengths), group, np.int32))
            # A call that goes on into a band without a price has none; shorter ones may.
            costs = rated.cost[rated.why == 0]
            assert (np.diff(costs) >= 0).all()
            assert (np.diff(rated.rated_seconds[rated.why == 0]) >= 0).all()


def test_calls_cost_the_same_however_they_are_cut_into_parts(example: dict[str, Rater]) -> None:
    rnd = np.random.default_rng(5)
    count = 150_000
    start = rnd.integers(1759273200, 1759273200 + 40 * 86_400, count)
    seconds = rnd.integers(0, 4_000, count).astype(np.int32)
    rater = example["legacy"]
    groups = rater.groups(DESTINATIONS)[rnd.integers(0, len(DESTINATIONS), count)]
    whole = rater.rate(start, seconds, groups)
    order = rnd.permutation(count)
    parts = [rater.rate(start[some], seconds[some], groups[some]) for some in np.array_split(order, 7)]
    for name in RatedColumns._fields:
        pieces = [getattr(part, name) for part in parts]
        assert (getattr(whole, name)[order] == np.concatenate(pieces)).all()


def test_a_record_that_cannot_be_says_why(example: dict[str, Rater]) -> None:
    rater = example["legacy"]
    group = rater.groups([("geographic", "+442079460018"), ("personal_070", "+447012345678")])
    start = np.array([1759306500, -1, 2**32, 1759306500, 1759306500, 2**62, -(2**62), 1759306500, 1], np.int64)
    seconds = np.array([60, 60, 60, -1, 32 * 86_400, 60, 60, 60, 60], np.int32)
    rated = rater.rate(start, seconds, group[[0, 0, 0, 0, 0, 0, 0, 1, 0]])
    assert [rater.reasons[why] for why in rated.why] == [
        "",
        "time_out_of_range",
        "time_out_of_range",
        "negative_seconds",
        "too_long",
        "time_out_of_range",
        "time_out_of_range",
        "no_rate",
        "no_version",
    ]
    assert rated.cost[1:].tolist() == [0] * 8
    assert rated.version[1:].tolist() == [-1] * 8
    with pytest.raises(ValueError, match="group"):
        rater.rate(start[:1], seconds[:1], np.array([999], np.int32))
    with pytest.raises(ValueError, match="one length"):
        rater.rate(start, seconds, group)
    empty = rater.rate(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
    assert len(empty.cost) == 0


def dear(facts: Sequence[TariffVersion], **changes: int) -> list[TariffVersion]:
    rows: tuple[RateRow, ...] = tuple(replace(one, **changes) for one in facts[0].rows)  # type: ignore[arg-type]
    return [replace(facts[0], rows=rows)]


def test_the_dearest_call_a_file_can_state_stays_within_64_bits() -> None:
    most = per_minute_to_atoms(Decimal(10_000))
    fee = to_atoms(Decimal(10_000))
    facts = as_facts([version([row("1")], [NIGHT[1]])])
    facts = dear(facts, per_second=most, service_per_second=most, connection_fee=fee, service_per_call=fee)
    seconds = 31 * 86_400
    assert price(Rater(facts, LONDON), datetime(2025, 6, 2, tzinfo=UTC), seconds) == 20_000 + Fraction(
        20_000 * seconds, 60
    )
    with pytest.raises(TariffError, match="64 bits"):
        Rater(dear(facts, per_second=4 * most), LONDON)
    with pytest.raises(TariffError, match="negative"):
        Rater(dear(facts, per_second=-1), LONDON)
    with pytest.raises(TariffError, match="increments"):
        Rater(dear(facts, next_increment=0), LONDON)
    with pytest.raises(TariffError, match="versions"):
        Rater([*facts, *facts], LONDON)


def test_the_crossing_rule_is_that_of_the_version_in_which_a_call_begins() -> None:
    old = version([row("60")], [NIGHT[1]], splits_tariffs=True)
    new = version([row("120")], [NIGHT[1]], valid_from=date(2025, 10, 1), splits_tariffs=False)
    newest = version([row("600")], [NIGHT[1]], valid_from=date(2025, 10, 2))
    facts = as_facts([newest, old, new])
    assert facts[1].terms.tariff_change is Crossing.SPLIT
    rater = Rater(facts, LONDON)
    assert rater.versions == ("t@2020-01-01", "t@2025-10-01", "t@2025-10-02")
    day = 86_400
    begin = datetime(2025, 9, 30, 22, 59, 59, tzinfo=UTC)
    assert price(rater, begin, day + 2) == 1 + 2 * day + 10
    assert price(rater, begin + timedelta(seconds=1), day + 1) == 2 * (day + 1)
