"""What the tariffs of a month say of the charges rated by them: rounding, VAT, and the highest price they know."""

from __future__ import annotations

from typing import NamedTuple

from analytics.cost.elements import Costs
from analytics.cost.money import Rounding
from analytics.cost.months import first_day, last_day
from analytics.cost.tariff import TariffVersion
from analytics.sites import EstateSettings

TARIFFS = ("ip", "legacy")
"""Sides that calls are rated for."""


class HighestPrice(NamedTuple):
    """What no call that is priced by a tariff exceeds: each part is the highest of any row."""

    per_call: int
    """Connection fee and service charge of a call [atoms]."""
    per_second: int
    """Price and service charge of a charged second [atoms]."""
    extra_seconds: int
    """Seconds that may be charged over those talked: the largest minimum or increment."""
    source: str


def tariff_name(settings: EstateSettings, side: str) -> str:
    """Return the name of the tariff that a side is rated by."""
    return settings.ip_tariff if side == "ip" else settings.legacy_tariff


def in_force(costs: Costs, settings: EstateSettings, side: str, month: int) -> tuple[TariffVersion, ...]:
    """Return the versions that hold on a day of a month, earliest first."""
    named = costs.tariffs.named(tariff_name(settings, side))
    begun = [one for one in named if one.valid_from <= last_day(month)]
    before = [one for one in begun if one.valid_from <= first_day(month)]
    return tuple(begun[max(0, len(before) - 1) :])


def rounding_of(costs: Costs, settings: EstateSettings, side: str, month: int) -> tuple[Rounding, str]:
    """Return how call charges of a site and month are rounded, and by which version: that of the month's end.

    Half up, and no version, where none is known.
    """
    versions = in_force(costs, settings, side, month)
    return (versions[-1].terms.rounding, versions[-1].label) if versions else (Rounding.HALF_UP, "")


def with_vat(costs: Costs, settings: EstateSettings, month: int) -> tuple[str, ...]:
    """Return the sides whose prices hold VAT in a month. Cost elements never do: such amounts do not add up."""
    return tuple(
        side
        for side in TARIFFS
        if any(version.terms.is_vat_included for version in in_force(costs, settings, side, month))
    )


def said_mix(settings: EstateSettings, sides: tuple[str, ...]) -> str:
    """Say that amounts with VAT stand beside amounts without it; nothing where no side holds VAT."""
    if not sides:
        return ""
    names = list(dict.fromkeys(tariff_name(settings, side) for side in sides))
    who = f"tariff {names[0]} includes" if len(names) == 1 else f"tariffs {' and '.join(names)} include"
    return f"amounts mix: {who} VAT, the cost elements do not"


def highest_price(costs: Costs, settings: EstateSettings, side: str, month: int) -> HighestPrice | None:
    """Return the highest price of a month's versions; None where no version with a price is known."""
    versions = in_force(costs, settings, side, month)
    rows = [row for version in versions for row in version.rows]
    if not rows:
        return None
    return HighestPrice(
        max(row.connection_fee + row.service_per_call for row in rows),
        max(row.per_second + row.service_per_second for row in rows),
        max(max(row.minimum_seconds, row.first_increment, row.next_increment) for row in rows),
        ", ".join(version.label for version in versions),
    )
