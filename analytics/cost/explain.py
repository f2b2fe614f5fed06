"""One call's price in full: the row and band that hold and why, the seconds charged, each step of the sum.

This goes call by call over the facts themselves, not over the rater's tables; a test holds both to the same answer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile

from analytics.cost.local_time import LAST_SECOND, LocalTime
from analytics.cost.tariff import (
    DAY_NAMES,
    HOLIDAY,
    LONGEST_CALL_SECONDS,
    LONGEST_INCREMENT_SECONDS,
    MINUTES_PER_DAY,
    BandRule,
    Crossing,
    RateRow,
    TariffVersion,
    match_rows,
)


@dataclass(frozen=True, slots=True)
class Span:
    """Charged seconds in one band of one version."""

    begin: datetime
    """On the local clock, with its offset."""
    seconds: int
    version: TariffVersion
    band: str
    rule: BandRule | None
    """Row of bands.csv that holds at its begin; None where the version has no bands."""
    day_kind: str
    """One of `DAY_NAMES`."""
    row: RateRow

    @property
    def cost(self) -> int:
        """Price of its seconds [atoms], without service charge."""
        return self.seconds * self.row.per_second

    @property
    def service(self) -> int:
        """Service charge of its seconds [atoms]."""
        return self.seconds * self.row.service_per_second


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a call's price comes about."""

    begin: datetime
    """On the local clock, with its offset."""
    seconds: int
    rated_seconds: int
    version: TariffVersion | None
    spans: tuple[Span, ...]
    """The first one's row gives connection fee, minimum, increments, service charge per call and cap."""
    sum: int
    """Atoms before the cap."""
    cost: int
    """Atoms."""
    why: str
    """One of `rating.REASONS`; empty where it has a price."""

    @property
    def row(self) -> RateRow | None:
        """Row of its start; None where it has no price."""
        return self.spans[0].row if self.spans else None


class _NoPriceError(Exception):
    """A span without a price."""


class _Walk:
    """The spans of one call."""

    def __init__(
        self, versions: Sequence[TariffVersion], local: LocalTime, holidays: Collection[date], called: tuple[str, str]
    ) -> None:
        self._versions = sorted(versions, key=lambda version: version.valid_from)
        self._local = local
        self._holidays = holidays
        self._called = called

    def version_at(self, when: datetime) -> TariffVersion | None:
        """Version that holds on a local day."""
        begun = list(takewhile(lambda version: version.valid_from <= when.date(), self._versions))
        return begun[-1] if begun else None

    def span(self, version: TariffVersion, instant: int, seconds: int) -> Span:
        """Span from an instant on; _NoPriceError where it has none."""
        when = self._local.clock(instant)
        kind = self.day_kind(version, when)
        minute = when.hour * 60 + when.minute
        band = version.band_at(kind, minute)
        if band is None:
            raise _NoPriceError("no_band")
        rows = match_rows(version.rows, *self._called)
        row = next((one for one in rows if one.band in ("", band)), None)
        if row is None:
            raise _NoPriceError("no_rate")
        rule = next((one for one in version.bands if one.holds(kind, minute)), None)
        return Span(when, seconds, version, band, rule, DAY_NAMES[kind], row)

    def day_kind(self, version: TariffVersion, when: datetime) -> int:
        """Index into `DAY_NAMES` of a local day."""
        is_holiday = version.terms.has_holidays and when.date() in self._holidays
        return HOLIDAY if is_holiday else when.weekday()

    def until_edge(self, version: TariffVersion, instant: int) -> int:
        """Seconds until a band, a day or the offset may change."""
        when = self._local.clock(instant)
        minute = when.hour * 60 + when.minute
        edges = [MINUTES_PER_DAY, *(edge for rule in version.bands for edge in (rule.first_minute, rule.end_minute))]
        seconds = (min(edge for edge in edges if edge > minute) - minute) * 60 - when.second
        changes = self._local.transitions
        return min([seconds, *(int(change) - instant for change in changes if change > instant)])

    def spans(self, first: Span, start: int, charged: int) -> list[Span]:
        """Charged seconds in spans of one band and version."""
        terms = first.version.terms
        found = [first]
        done = 0
        while done < charged:
            at = start + done
            when = self._local.clock(at)
            version = self.version_at(when) if terms.tariff_change is Crossing.SPLIT else first.version
            if version is None:
                raise _NoPriceError("no_version")
            last = found[-1]
            if done and (terms.band_crossing is Crossing.SPLIT or version is not last.version):
                new = self.span(version, at, 0)
                if (new.version.label, new.band) != (last.version.label, last.band):
                    found.append(new)
                    last = new
            step = min(charged - done, self.until_edge(version, at))
            found[-1] = Span(last.begin, last.seconds + step, *_rest(last))
            done += step
        return found


def _rest(span: Span) -> tuple[TariffVersion, str, BandRule | None, str, RateRow]:
    return span.version, span.band, span.rule, span.day_kind, span.row


def explain(
    versions: Sequence[TariffVersion],
    zone: str,
    holidays: Collection[date],
    start: int,
    seconds: int,
    called: tuple[str, str],
) -> Explanation:
    """Price one call: start [s since the epoch], talk time [s], and what was called as (number_class, number)."""
    local = LocalTime(zone)
    begin = local.clock(min(max(start, 0), LAST_SECOND))
    if not 0 <= start <= LAST_SECOND:
        return Explanation(begin, seconds, 0, None, (), 0, 0, "time_out_of_range")
    if not 0 <= seconds <= LONGEST_CALL_SECONDS:
        why = "negative_seconds" if seconds < 0 else "too_long"
        return Explanation(begin, seconds, 0, None, (), 0, 0, why)
    local.cover(start, start + LONGEST_CALL_SECONDS + LONGEST_INCREMENT_SECONDS)
    walk = _Walk(versions, local, holidays, called)
    version = walk.version_at(begin)
    if version is None:
        return Explanation(begin, seconds, 0, None, (), 0, 0, "no_version")
    try:
        first = walk.span(version, start, 0)
        charged = first.row.rated_seconds(seconds)
        if not charged:
            return Explanation(begin, seconds, 0, version, (first,), 0, 0, "")
        spans = tuple(walk.spans(first, start, charged))
    except _NoPriceError as none:
        return Explanation(begin, seconds, 0, version, (), 0, 0, str(none))
    row = first.row
    total = row.connection_fee + row.service_per_call + sum(span.cost + span.service for span in spans)
    cost = total if row.cap is None else min(total, row.cap)
    return Explanation(begin, seconds, charged, version, spans, total, cost, "")
