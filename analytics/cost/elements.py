"""Cost elements: what the estate states that each side costs a month, and what of it falls on each site.

An element is measured, allocated by a key, estimated within bounds, or missing; missing is never 0. All amounts are
without VAT, in the estate's currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from analytics.cost.figures import Evidence
from analytics.cost.tariff import TariffBook
from analytics.sites import Origin, Validity

ALWAYS = Validity()
NO_TARIFFS = TariffBook()


class Side(StrEnum):
    """What is compared."""

    LEGACY = "legacy"
    """The system that was replaced."""
    IP = "ip"
    """Telephony over the IP network: today."""


class ElementKind(StrEnum):
    """How an element moves with use."""

    FIXED = "fixed"
    """The same each month, whatever is said over it."""
    USAGE = "usage"
    """The baseline bill's call charges; the IP side's come from rated calls."""
    ONE_OFF = "one_off"
    """Paid once, in the month of `valid_from`: migration, dual running."""


class PaysFor(StrEnum):
    """What an element pays for: the same must stand on both sides before they are compared."""

    ACCESS = "access"
    """Exchange lines and ISDN channels; SIP channels."""
    NETWORK = "network"
    """Private circuits; the voice share of the WAN."""
    SYSTEM = "system"
    """Exchange and handsets: rental, maintenance, depreciation; licences, support, capital."""
    CHANGES = "changes"
    """Moves, adds and changes."""
    STAFF = "staff"
    POWER = "power"
    """Power, cooling, rooms."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Element:
    """One row of elements.csv."""

    side: Side
    site: str | None
    """None: allocated over the sites by `key`."""
    element: str
    kind: ElementKind
    pays_for: PaysFor | None
    """None where the row does not say; call charges need not."""
    amount: Decimal | None
    """A month's, or to be spread over `amortise_months`; None where it is missing."""
    evidence: Evidence
    origin: Origin
    key: str | None = None
    alternatives: tuple[str, ...] = ()
    """Other keys that might be used: they give the range."""
    share: Decimal | None = None
    """Part of the amount that is voice, 0 to 1; None: all of it."""
    share_low: Decimal | None = None
    share_high: Decimal | None = None
    low: Decimal | None = None
    """Lowest amount; None: 0 where the amount is an estimate or missing."""
    high: Decimal | None = None
    """Highest amount; None: not known where the amount is an estimate or missing."""
    amortise_months: int | None = None
    source: str = ""
    valid: Validity = ALWAYS

    @property
    def uncertain(self) -> bool:
        """Whether its amount could be another one."""
        return self.evidence in (Evidence.ESTIMATED, Evidence.MISSING)


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One row of keys.csv: a site's weight in an allocation key."""

    key: str
    site: str
    value: Decimal
    valid: Validity
    origin: Origin


@dataclass(frozen=True, slots=True)
class Baseline:
    """One row of baseline.csv: what the legacy bill was for, and what prices have done since."""

    site: str
    minutes: Decimal | None
    """Chargeable minutes a month that the baseline bill's call charges were for."""
    index_factor: Decimal | None
    index_series: str
    """Name of the series that the factor was read from."""
    origin: Origin
    index_low: Decimal | None = None
    index_high: Decimal | None = None
    source: str = ""
    valid: Validity = ALWAYS


@dataclass(frozen=True, slots=True)
class Invoice:
    """One row of invoices.csv: what a supplier billed."""

    month: int
    side: Side
    site: str | None
    """None: the whole estate."""
    minutes: Decimal | None
    amount: Decimal | None
    source: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Costs:
    """All that the estate states of costs, over all time."""

    elements: tuple[Element, ...] = ()
    keys: tuple[KeyValue, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    invoices: tuple[Invoice, ...] = ()
    tariffs: TariffBook = NO_TARIFFS
    """Those that calls are rated by: their terms, and the highest prices that they know."""
