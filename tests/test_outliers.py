"""Days that stand out from a site's own past, and days that cannot be judged."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from analytics.cost.money import to_atoms
from analytics.cost.outliers import HourSum, Judgement, Measure, Part, Past, judge, middle, part_of, robust_z

ZONE = "Europe/London"
FRIDAY = date(2025, 10, 17)
WEEKS = [FRIDAY - timedelta(weeks=week) for week in range(1, 13)]


def calls(day: date, minutes: int, hour: int = 10, number_class: str = "international", pounds: str = "0") -> HourSum:
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    return HourSum("A", number_class, at, 7, minutes * 60, to_atoms(Decimal(pounds)))


def judged(sums: list[HourSum], recorded: list[date] = WEEKS, first: date | None = WEEKS[-1]) -> Judgement:
    return judge(sums, [FRIDAY], {*recorded, FRIDAY}, {"A": Past(first)}, ZONE)


def test_sudden_international_minutes_stand_out() -> None:
    past = [calls(day, 20 + turn % 3) for turn, day in enumerate(WEEKS)]
    (found,) = judged([*past, calls(FRIDAY, 300)]).outliers
    assert (found.site, found.day, found.part, found.measure) == ("A", FRIDAY, Part.IN_HOURS, Measure.INTERNATIONAL)
    assert (found.value, found.usual, found.weeks, found.lines) == (18_000, 21 * 60, 12, 7)
    # 0.6745 (300 - 21) / 1, by hand
    assert found.z == pytest.approx(188.1855)


def test_calls_on_some_days_only_are_usual_too() -> None:
    past = [calls(day, 15) for turn, day in enumerate(WEEKS) if turn % 4 == 0]
    assert judged([*past, calls(FRIDAY, 16)]) == Judgement((), ())


def test_what_is_usual_for_the_site_does_not() -> None:
    past = [calls(day, 300 + 20 * (turn % 5)) for turn, day in enumerate(WEEKS)]
    assert judged([*past, calls(FRIDAY, 360)]) == Judgement((), ())


def test_one_wild_day_in_the_past_hides_nothing() -> None:
    past = [calls(day, 5000 if turn == 3 else 20) for turn, day in enumerate(WEEKS)]
    assert len(judged([*past, calls(FRIDAY, 300)]).outliers) == 1


def test_a_site_that_never_made_such_calls_is_judged_by_its_zeros() -> None:
    (found,) = judged([calls(FRIDAY, 15, hour=22, number_class="premium_09", pounds="24.50")]).outliers
    assert (found.measure, found.part, found.usual) == (Measure.PREMIUM, Part.OUT_OF_HOURS, 0)
    assert found.value == to_atoms(Decimal("24.50"))


def test_too_short_a_past_is_said_and_nothing_is_guessed() -> None:
    assert judged([calls(FRIDAY, 300)], WEEKS[:7]) == Judgement((), ("A",), ("A",))
    assert judged([calls(FRIDAY, 300)], first=WEEKS[6]) == Judgement((), ("A",), ("A",))


def test_a_site_without_a_past_is_named_whatever_it_called() -> None:
    assert judged([], WEEKS[:7]) == Judgement((), ("A",), ("A",))
    assert judged([], WEEKS[:8]) == Judgement((), ())
    assert judge([], [FRIDAY], {FRIDAY}, {"A": Past(FRIDAY), None: Past(None)}, ZONE).unjudged == (None, "A")


def test_a_past_that_is_too_short_for_the_first_days_alone_is_told_from_none() -> None:
    long = [FRIDAY - timedelta(weeks=week) for week in range(20)]
    found = judge([], long, long, {"A": Past(long[-1])}, ZONE)
    assert (found.too_short, found.unjudged) == (("A",), ())


def test_days_without_any_record_are_not_zeros() -> None:
    past = [calls(day, 100) for day in WEEKS[:8]]
    assert judged([*past, calls(FRIDAY, 104)], WEEKS[:8]) == Judgement((), ())
    assert judged([*past, calls(FRIDAY, 104)], WEEKS[:8], first=None) == Judgement((), ("A",), ("A",))


def test_a_few_minutes_are_never_an_outlier() -> None:
    assert judged([calls(FRIDAY, 9)]) == Judgement((), ())


def test_parts_of_the_day_go_by_the_local_clock_and_holidays() -> None:
    london = datetime(2025, 10, 17, 6, 30, tzinfo=UTC)  # 07:30 BST
    assert part_of(london.astimezone(UTC), ()) is Part.OUT_OF_HOURS
    (found,) = judged([calls(FRIDAY, 300, hour=6)]).outliers
    assert found.part is Part.IN_HOURS
    (found,) = judge([calls(FRIDAY, 300)], [FRIDAY], {*WEEKS}, {"A": Past(WEEKS[-1])}, ZONE, {FRIDAY}).outliers
    assert found.part is Part.OUT_OF_HOURS


def test_the_median_is_the_middle_one_or_between_two() -> None:
    assert middle([5, 1, 9]) == 5
    assert middle([1, 2, 4, 9]) == 3
    with pytest.raises(ValueError, match="no past"):
        robust_z(1, [], 1)
