"""How checked tariffs and explained prices are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analytics.cost.explain import Explanation, Span
from analytics.cost.money import exact, from_atoms
from analytics.cost.number_classes import UNKNOWN as UNKNOWN_CLASS
from analytics.cost.numbers import Destination
from analytics.cost.tariff import RateRow, TariffBook
from analytics.sites import DialPlan
from collector.estate.problems import Problem

WHY = {
    "no_version": "the call is before the first version of the tariff",
    "no_rate": "no row holds for this number and band",
    "no_band": "no band holds at this time",
    "too_long": "a call longer than 31 days is a defect",
    "negative_seconds": "the call ends before it begins",
    "time_out_of_range": "the time is not from 1970 to 2106",
}
UNKNOWN = {
    "empty": "there are no digits",
    "not_a_number": "it holds something other than digits",
    "feature_code": "it is a feature code of the exchange",
    "too_short": "digits are missing",
    "too_long": "it has too many digits",
    "unassigned_code": "no country has this code",
    "not_in_plan": "the numbering plan has no such numbers",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The call that is to be explained."""

    dialled: str
    read: Destination
    plan: DialPlan | None
    number_class: str
    begin: datetime
    """On the local clock, with its offset."""
    seconds: int


def verdict(book: TariffBook, errors: int, warnings: int) -> str:
    """One line on checked tariffs."""
    found = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}" if errors or warnings else "no problem"
    sound = ", ".join(f"{one.label} ({_count(len(one.rows), 'row')})" for one in book.versions)
    return f"Tariffs: {found}; usable: {sound or 'none'}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name if number == 1 else name + 's'}"


def checked_json(book: TariffBook, problems: Sequence[Problem]) -> dict[str, Any]:
    """Checked tariffs."""
    return {
        "errors": sum(problem.severity == "error" for problem in problems),
        "warnings": sum(problem.severity == "warning" for problem in problems),
        "versions": [{"tariff": version.label, "rows": len(version.rows)} for version in book.versions],
        "problems": [
            {
                "file": problem.origin.file,
                "line": problem.origin.line,
                "severity": problem.severity,
                "code": problem.code,
                "sentence": problem.sentence,
            }
            for problem in problems
        ],
    }


def explained_lines(asked: Asked, explained: Sequence[tuple[str, Explanation]]) -> list[str]:
    """Explained prices for people."""
    utc = asked.begin.astimezone(UTC)
    lines = [f"Number   {_number(asked)}"]
    if asked.plan is not None:
        lines.append(f"         read by the dial plan of {asked.plan.origin}")
    lines.append(f"Start    {asked.begin:%a %Y-%m-%d %H:%M:%S} {asked.begin.tzname()} ({utc:%Y-%m-%d %H:%M:%S} UTC)")
    for name, one in explained:
        lines += ["", *_tariff_lines(asked, name, one)]
    return lines


def _number(asked: Asked) -> str:
    read = asked.read
    if read.why:
        text = f"{asked.dialled} is no number: {UNKNOWN[read.why]} [{read.why}]"
    else:
        region = f", region {read.region}" if read.region else ""
        text = f"{asked.dialled} is {read.number}, {read.number_class}{region}"
        if read.valid is not None:
            text += ", assigned" if read.valid else ", not known to be assigned"
    if read.access:
        text += f"; {read.access} was taken off before"
    if asked.number_class != read.number_class:
        text += f"; rated as {asked.number_class}"
    return text


def _tariff_lines(asked: Asked, name: str, one: Explanation) -> list[str]:
    lines = [f"Tariff   {one.version.label if one.version else name}"]
    row = one.row
    if row is None or one.version is None:
        is_number = one.why != "no_rate" or asked.number_class != UNKNOWN_CLASS
        reason = WHY[one.why] if is_number else "no row can hold for what is no number"
        return [*lines, f"Price    none: {reason} [{one.why}]"]
    currency = one.version.terms.currency
    lines += [f"Row      {row.origin}: {_what(row)}", f"Band     {_band(one.spans[0])}"]
    lines.append(f"Seconds  {one.seconds:,} real, {one.rated_seconds:,} charged: {_increments(row)}")
    if not one.rated_seconds:
        return [*lines, f"Price    0.00 {currency}: a call of 0 s costs nothing"]
    steps = _steps(one, row)
    width = max(len(amount) for amount, _ in steps)
    for index, (amount, what) in enumerate(steps):
        lines.append(f"{'Price' if not index else '':<9}{amount:>{width}}  {what}")
    lines.append(f"{'':<9}{exact(one.cost):>{width}}  {currency} in all, exactly")
    rounding = one.version.terms.rounding
    rounded = from_atoms(one.cost, 2, rounding)
    lines.append(f"{'':<9}{rounded:>{width}}  rounded {rounding.name.lower()}, were it a line of a report")
    lines += [f"Note     {note}" for note in _notes(one)]
    return lines


def _what(row: RateRow) -> str:
    parts = [
        f"prefix {row.prefix}" if row.prefix else "",
        row.number_class,
        f"in {row.band}" if row.band else "in any band",
    ]
    return " ".join(part for part in parts if part)


def _band(span: Span) -> str:
    clock = f"{span.day_kind} {span.begin:%H:%M} {span.begin.tzname()}"
    if span.rule is None:
        return f"{span.band}: the version has no bands"
    first, end = span.rule.first_minute, span.rule.end_minute
    times = f"{first // 60:02}:{first % 60:02} to {end // 60:02}:{end % 60:02}"
    return f"{span.band}: {clock} lies in {times} of {span.rule.origin}"


def _increments(row: RateRow) -> str:
    minimum = f"at least {row.minimum_seconds} s, " if row.minimum_seconds else ""
    return f"{minimum}{row.first_increment} s first, then by {row.next_increment} s"


def _steps(one: Explanation, row: RateRow) -> list[tuple[str, str]]:
    """Each step of the sum: amount and what it is for."""
    steps = []
    if row.connection_fee:
        steps.append((exact(row.connection_fee), "connection fee"))
    if row.service_per_call:
        steps.append((exact(row.service_per_call), "service charge of the call"))
    for index, span in enumerate(one.spans):
        where = f"{span.seconds:,} s in {span.band}"
        if index:
            where += f" from {span.begin:%H:%M:%S} {span.begin.tzname()} on ({span.version.label}, {span.row.origin})"
        steps.append((exact(span.cost), f"{where} at {exact(span.row.per_second * 60)} a minute"))
        if span.service:
            per_minute = exact(span.row.service_per_second * 60)
            steps.append((exact(span.service), f"{where}, service charge at {per_minute} a minute"))
    if one.cost != one.sum:
        steps.append((exact(one.cost - one.sum), f"over the cap of {exact(row.cap or 0)}"))
    return steps


def _notes(one: Explanation) -> list[str]:
    if one.version is None or one.row is None:
        return []
    return [
        f"{inclusive.minutes:,} minutes a month for {'each site' if inclusive.is_per_site else 'the estate'} are "
        f"inclusive and may cover it ({inclusive.origin})"
        for inclusive in one.version.inclusive
        if one.row.number_class in inclusive.classes
    ]


def explained_json(asked: Asked, explained: Sequence[tuple[str, Explanation]]) -> dict[str, Any]:
    """Explained prices; money as exact strings of currency units, or cut and marked with … where they do not end."""
    read = asked.read
    return {
        "dialled": asked.dialled,
        "number": read.number,
        "e164": read.e164,
        "number_class": asked.number_class,
        "read_as": read.number_class,
        "why_unknown": read.why,
        "region": read.region,
        "assigned": read.valid,
        "taken_off": read.access,
        "emergency": read.emergency,
        "dial_plan": str(asked.plan.origin) if asked.plan else None,
        "start": asked.begin.isoformat(),
        "seconds": asked.seconds,
        "tariffs": [_tariff_json(name, one) for name, one in explained],
    }


def _tariff_json(name: str, one: Explanation) -> dict[str, Any]:
    row = one.row
    body: dict[str, Any] = {
        "tariff": one.version.label if one.version else name,
        "why_no_price": one.why,
        "row": str(row.origin) if row else None,
        "rated_seconds": one.rated_seconds if row else None,
    }
    if row is None or one.version is None:
        return {**body, "price": None}
    return {
        **body,
        "currency": one.version.terms.currency,
        "connection_fee": exact(row.connection_fee),
        "service_per_call": exact(row.service_per_call),
        "minimum_seconds": row.minimum_seconds,
        "increment": f"{row.first_increment}/{row.next_increment}",
        "cap": None if row.cap is None else exact(row.cap),
        "spans": [_span_json(span) for span in one.spans],
        "steps": [{"amount": amount, "what": what} for amount, what in _steps(one, row)] if one.rated_seconds else [],
        "atoms": one.cost,
        "price": exact(one.cost),
        "rounded": str(from_atoms(one.cost, 2, one.version.terms.rounding)),
        "rounding": one.version.terms.rounding.name.lower(),
        "notes": _notes(one),
    }


def _span_json(span: Span) -> dict[str, Any]:
    return {
        "begin": span.begin.isoformat(),
        "seconds": span.seconds,
        "tariff": span.version.label,
        "day": span.day_kind,
        "band": span.band,
        "band_row": str(span.rule.origin) if span.rule else None,
        "row": str(span.row.origin),
        "per_minute": exact(span.row.per_second * 60),
        "service_per_minute": exact(span.row.service_per_second * 60),
        "amount": exact(span.cost),
        "service": exact(span.service),
    }
