"""Tariffs as facts: dated versions of rows, bands and terms, each with the line that states it.

Prices are whole atoms (see `analytics.cost.money`); a price per minute is kept as atoms per second, which is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from analytics.cost.money import Rounding
from analytics.sites import Origin

DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
"""Kinds of day. A holiday is no weekday where the tariff has holidays: only `holiday` and `every` take it."""
HOLIDAY = 7
MINUTES_PER_DAY = 1_440
ANYTIME = "anytime"
"""Band of every time where a version has no bands."""

LONGEST_CALL_SECONDS = 31 * 86_400
"""A record of a longer call is a defect: it is not rated."""
LONGEST_INCREMENT_SECONDS = 86_400
HIGHEST_PRICE = Decimal(10_000)
"""Currency units. With it no call's price leaves 64 bits."""


class TariffError(ValueError):
    """A tariff that cannot rate."""


class Crossing(StrEnum):
    """What becomes of a call that goes on over a change of band, or of tariff."""

    START = "start"
    """The whole call has the price of its start."""
    SPLIT = "split"
    """Each second has the price of its time."""


@dataclass(frozen=True, slots=True)
class BandRule:
    """Times of a band: local time of some kinds of day, from a minute up to another that is not in it."""

    band: str
    days: frozenset[int]
    """Indexes into `DAY_NAMES`."""
    first_minute: int
    end_minute: int
    origin: Origin

    def holds(self, day_kind: int, minute: int) -> bool:
        """Whether a minute of a kind of day is in it."""
        return day_kind in self.days and self.first_minute <= minute < self.end_minute


@dataclass(frozen=True, slots=True)
class RateRow:
    """One price."""

    prefix: str
    """E.164 digits; of a short code, where `number_class` is its class, the digits dialled; empty for every number."""
    number_class: str
    """Class that it holds for; empty where the prefix says all."""
    band: str
    """Band that it holds in; empty for every band."""
    connection_fee: int
    """Atoms for each call that lasts."""
    per_second: int
    """Atoms."""
    service_per_second: int
    """Atoms of service charge on top."""
    service_per_call: int
    """Atoms of service charge for each call that lasts."""
    minimum_seconds: int
    first_increment: int
    """Seconds that are charged at once."""
    next_increment: int
    """Seconds by which it goes on."""
    cap: int | None
    """Atoms that no call exceeds, all charges together; None without."""
    origin: Origin

    def rated_seconds(self, seconds: int) -> int:
        """Seconds charged for so many real ones: none for none, else at least the minimum, in whole increments."""
        if seconds <= 0:
            return 0
        over = max(seconds, self.minimum_seconds) - self.first_increment
        return self.first_increment + (-(-over // self.next_increment) * self.next_increment if over > 0 else 0)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a version says of itself."""

    currency: str
    """ISO 4217."""
    unit: Decimal
    """Worth of a 1 in its prices [currency units]: 0.01 for pence."""
    band_crossing: Crossing
    tariff_change: Crossing
    """What becomes of a call that goes on when the next version begins."""
    rounding: Rounding
    is_vat_included: bool
    has_holidays: bool
    """Whether holidays of the estate are days of their own kind."""
    origin: Origin


@dataclass(frozen=True, slots=True)
class Inclusive:
    """Minutes of some classes that the rental pays for."""

    classes: frozenset[str]
    minutes: int
    """Minutes a local month."""
    is_per_site: bool
    """Whether each site has its own; else the estate has them together."""
    origin: Origin


@dataclass(frozen=True, slots=True)
class TariffVersion:
    """A tariff from a local day until its next version begins."""

    name: str
    valid_from: date
    rows: tuple[RateRow, ...]
    bands: tuple[BandRule, ...]
    terms: Terms
    inclusive: tuple[Inclusive, ...] = ()

    @property
    def label(self) -> str:
        """Name that rated lines carry, e.g. `ip@2025-04-01`."""
        return f"{self.name}@{self.valid_from}"

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of its bands in the order of their rules."""
        return tuple(dict.fromkeys(rule.band for rule in self.bands)) or (ANYTIME,)

    def band_at(self, day_kind: int, minute: int) -> str | None:
        """Band of a minute of a kind of day: that of the first rule that holds; None where none does."""
        if not self.bands:
            return ANYTIME
        return next((rule.band for rule in self.bands if rule.holds(day_kind, minute)), None)


@dataclass(frozen=True, slots=True)
class TariffBook:
    """All versions of all tariffs."""

    versions: tuple[TariffVersion, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its tariffs."""
        return tuple(sorted({version.name for version in self.versions}))

    def named(self, name: str) -> tuple[TariffVersion, ...]:
        """Return the versions of one tariff, earliest first; none where there is no such tariff."""
        return tuple(sorted((one for one in self.versions if one.name == name), key=lambda one: one.valid_from))


def match_rows(rows: Iterable[RateRow], number_class: str, number: str) -> list[RateRow]:
    """Return the rows that a destination falls under, best first: the first that holds in a band is its price there.

    The longest prefix comes first, a prefix before a class, a prefix with a class before the same without, a row for
    a band before one for all. `number` is E.164 with its +, or the digits of a short code.
    """
    digits = number.removeprefix("+")
    has_e164 = number.startswith("+")
    found = [
        row
        for row in rows
        if row.number_class in ("", number_class)
        and (not row.prefix or ((has_e164 or row.number_class) and digits.startswith(row.prefix)))
    ]
    return sorted(found, key=lambda row: (-len(row.prefix), not row.number_class, not row.band, row.origin.line))
