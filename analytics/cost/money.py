"""Money: exact whole numbers inside, `Decimal` at the edge, one place that rounds.

A price per minute times whole seconds is a sixtieth of the price's last digit. So money inside is counted in atoms:
1 unit of currency (one pound) = 60 × 10^8 atoms. A price may have up to 8 decimals of the unit (a millionth of a
penny), and a second at any such price per minute is a whole number of atoms. 64 bits hold 1.5 × 10^9 units.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from enum import StrEnum

DECIMALS = 8
ATOMS_PER_UNIT = 60 * 10**DECIMALS
_EXACT = Context(prec=60)


class Rounding(StrEnum):
    """How money is rounded, named as the `decimal` module names it."""

    HALF_UP = ROUND_HALF_UP
    HALF_EVEN = ROUND_HALF_EVEN
    HALF_DOWN = ROUND_HALF_DOWN
    UP = ROUND_UP
    DOWN = ROUND_DOWN


def to_atoms(amount: Decimal) -> int:
    """Return an amount [currency units] as atoms, exactly; ValueError where it has more than 8 decimals."""
    scaled = _EXACT.multiply(amount, Decimal(10**DECIMALS))
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{amount} has more than {DECIMALS} decimals")
    return int(scaled) * 60


def per_minute_to_atoms(price: Decimal) -> int:
    """Return a price per minute [currency units] as atoms per second, exactly; ValueError as `to_atoms`."""
    return to_atoms(price) // 60


def round_money(amount: Decimal, places: int = 2, rounding: Rounding = Rounding.HALF_UP) -> Decimal:
    """Round an amount. All money that Callgauge shows was rounded here, once."""
    return amount.quantize(Decimal(1).scaleb(-places), rounding=rounding.value, context=_EXACT)


def from_atoms(atoms: int, places: int = 2, rounding: Rounding = Rounding.HALF_UP) -> Decimal:
    """Return atoms as an amount [currency units], rounded once by `round_money`'s rule.

    60 × 10^8 has a factor of three, so a quotient may not end: it is rounded from the whole remainder, not from digits.
    """
    scale = ATOMS_PER_UNIT // 10**places
    quotient, remainder = divmod(abs(atoms), scale)
    # Two more digits say whether the rest is none, under, at or over one half, which is all that rounding asks.
    rest = (remainder > 0) + (2 * remainder >= scale) + (2 * remainder > scale)
    tail = {0: "00", 1: "25", 2: "50", 3: "75"}[rest]
    sign = "-" if atoms < 0 else ""
    return round_money(Decimal(f"{sign}{quotient}.{tail}").scaleb(-places, _EXACT), places, rounding)


def exact(atoms: int, digits: int = 12) -> str:
    """Return atoms as a decimal string for people: exact where it ends within `digits`, else cut and marked with …."""
    whole, rest = divmod(abs(atoms), ATOMS_PER_UNIT)
    scaled, left = divmod(rest * 10**digits, ATOMS_PER_UNIT)
    text = f"{whole}.{scaled:0{digits}d}"
    text = text.rstrip("0") if not left else text + "…"
    text = text + "0" * max(0, 2 - len(text.partition(".")[2])) if not left else text
    return f"-{text}" if atoms < 0 else text
