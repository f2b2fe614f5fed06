"""The estate: which sites there are, what belongs to them and since when, and who is where at a moment.

Facts are read from a folder of plain files by `collector.estate`; here is only what they mean. Validity is by local
days of the estate's zone, both ends included, as people write it: a device that moves on 1 October is `valid_to`
2025-09-30 at the old site and `valid_from` 2025-10-01 at the new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row was read: shown with all that follows from it."""

    file: str
    """File name relative to the estate's folder."""
    line: int
    """From 1; 0 is the file or folder as a whole."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Validity:
    """Local days on which a row holds, both included; None is open."""

    first: date | None = None
    last: date | None = None

    def holds(self, day: date) -> bool:
        """Whether the row holds on a local day."""
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    def overlaps(self, other: Validity) -> bool:
        """Whether two validities share a day."""
        return not (
            (self.last is not None and other.first is not None and self.last < other.first)
            or (other.last is not None and self.first is not None and other.last < self.first)
        )


class TrunkKind(StrEnum):
    """What stands behind a trunk or gateway device."""

    PSTN = "pstn"
    """Leads to the public network: calls through it are charged."""
    RECORDING = "recording"
    """Leads to a recorder: its legs are no usage."""
    INTERNAL = "internal"
    """Leads to another exchange of the same estate."""


@dataclass(frozen=True, slots=True)
class Site:
    """A station or an office."""

    site: str
    name: str
    kind: str
    """`station`, `office`, or another word."""
    parent: str | None
    priority: str
    """Priority class, e.g. `control_room`, `normal`."""
    valid: Validity
    origin: Origin


@dataclass(frozen=True, slots=True)
class Subnet:
    """A network of addresses at a site, in CIDR notation."""

    subnet: str
    site: str
    valid: Validity
    origin: Origin


@dataclass(frozen=True, slots=True)
class Pool:
    """A device pool of a site."""

    pool: str
    site: str
    valid: Validity
    origin: Origin


@dataclass(frozen=True, slots=True)
class Device:
    """A telephone or other device, at a site or in a pool."""

    device: str
    site: str | None
    pool: str | None
    valid: Validity
    origin: Origin


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Numbers of a site, first to last, digits of one length, within a partition if one is named."""

    first: str
    last: str
    partition: str | None
    site: str
    valid: Validity
    origin: Origin


@dataclass(frozen=True, slots=True)
class Trunk:
    """A gateway or trunk, by the device name the records use."""

    device: str
    kind: TrunkKind
    site: str | None
    """Site whose channels it holds; None for the whole estate."""
    channels: int | None
    """Channels paid for; None where not known."""
    valid: Validity
    origin: Origin


@dataclass(frozen=True, slots=True)
class DialPlan:
    """How people at a site dial. A plan without a site is the rest's."""

    site: str | None
    access_digits: str
    """Digit(s) before an outside number; empty where there is none."""
    extension_digits: tuple[int, ...]
    """Lengths of internal numbers."""
    extension_first: str
    """Digits that an internal number may begin with, e.g. `5678`."""
    area_code: str
    """National area code that a short local number stands in, e.g. `0113`; empty where none is assumed."""
    emergency: tuple[str, ...]
    """Numbers matched before all else."""
    origin: Origin
    valid: Validity = Validity()


@dataclass(frozen=True, slots=True)
class PublicNumber:
    """A number, hunt pilot or queue that the public calls."""

    number: str
    label: str
    site: str | None
    target_seconds: int
    """Answer within this is on target [s]."""
    target_share: Decimal
    """Share of offered calls that should be on target, 0 to 1."""
    valid: Validity
    origin: Origin


@dataclass(frozen=True, slots=True)
class Benefit:
    """A unit that a saving is given in as well, e.g. constable-years, and what one costs [currency units]."""

    name: str
    cost: Decimal


class IntersiteCalls(StrEnum):
    """What calls between two sites cost under the system that was replaced."""

    CHARGED = "charged"
    """They went over the public network, and were billed."""
    CARRIED = "carried"
    """Private circuits carried them: the rental of those is their price."""


@dataclass(frozen=True, slots=True)
class EstateSettings:
    """What `estate.toml` says."""

    name: str
    timezone: str = "Europe/London"
    country: str = "GB"
    """ISO 3166 region that numbers are dialled from."""
    currency: str = "GBP"
    ip_tariff: str = "ip"
    legacy_tariff: str = "legacy"
    tariffs_stated: bool = False
    """Whether the file names a tariff: then there must be tariffs."""
    claim_percent: Decimal = Decimal(30)
    minutes_tolerance_percent: Decimal = Decimal(2)
    """How far minutes of the records may be from minutes of the invoice."""
    target_seconds: int = 20
    target_share: Decimal = Decimal("0.90")
    benefits: tuple[Benefit, ...] = ()
    intersite_calls: IntersiteCalls = IntersiteCalls.CHARGED
    intersite_stated: bool = False
    """Whether the file says `intersite_calls`: what it says is a choice, and what it does not say is a doubt."""


@dataclass(frozen=True, slots=True)
class Estate:
    """All that is known of the estate, over all time."""

    settings: EstateSettings
    sites: tuple[Site, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    pools: tuple[Pool, ...] = ()
    devices: tuple[Device, ...] = ()
    ranges: tuple[NumberRange, ...] = ()
    trunks: tuple[Trunk, ...] = ()
    plans: tuple[DialPlan, ...] = ()
    public_numbers: tuple[PublicNumber, ...] = ()
    holidays: frozenset[date] = field(default_factory=frozenset)
    digest: str = ""
    """SHA-256 over the names and bytes of its files."""
