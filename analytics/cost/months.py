"""Months as whole numbers, yyyymm, in the estate's zone: what is billed and compared."""

from __future__ import annotations

from calendar import month_name, monthrange
from collections.abc import Iterable
from datetime import date

from analytics.sites import Validity


def first_day(month: int) -> date:
    """Return the first day of a month."""
    return date(month // 100, month % 100, 1)


def last_day(month: int) -> date:
    """Return the last day of a month."""
    return date(month // 100, month % 100, days_of(month))


def days_of(month: int) -> int:
    """Return how many days a month has."""
    return monthrange(month // 100, month % 100)[1]


def month_of(day: date) -> int:
    """Return the month that a day lies in."""
    return day.year * 100 + day.month


def months_after(month: int, count: int) -> int:
    """Return the month `count` months later; earlier where it is negative."""
    ordinal = month // 100 * 12 + month % 100 - 1 + count
    return ordinal // 12 * 100 + ordinal % 12 + 1


def months_between(first: int, last: int) -> int:
    """Return how many months lie from one to the other: 0 where they are the same."""
    return (last // 100 - first // 100) * 12 + last % 100 - first % 100


def twelve_months_to(month: int) -> tuple[int, ...]:
    """Return the twelve months that end with a month."""
    return tuple(months_after(month, back) for back in range(-11, 1))


def days_held(valid: Validity, month: int) -> int:
    """Return on how many days of a month a row holds."""
    first, last = first_day(month), last_day(month)
    begin = first if valid.first is None else max(first, valid.first)
    end = last if valid.last is None else min(last, valid.last)
    return max(0, (end - begin).days + 1)


def spoken(month: int) -> str:
    """Return a month as people say it: October 2025."""
    return f"{month_name[month % 100]} {month // 100}"


def spoken_span(months: Iterable[int]) -> str:
    """Return some months as people say them: one, all of a run, or how many of which."""
    ordered = sorted(months)
    if not ordered:
        return "no month"
    if len(ordered) == 1:
        return spoken(ordered[0])
    span = f"{spoken(ordered[0])} to {spoken(ordered[-1])}"
    if months_between(ordered[0], ordered[-1]) + 1 == len(ordered):
        return span
    return f"{len(ordered)} months of {span}"
