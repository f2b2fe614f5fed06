"""Amounts cut into shares that add up to the penny."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction


def place(total: Decimal, weights: Sequence[Decimal], places: int = 2) -> list[Decimal]:
    """Cut a total into shares by weight, each with so many decimals, that add up to the total exactly.

    Shares are cut down, and the units left over go to the largest remainders, the earlier share first where they are
    equal (largest remainder, Hamilton's method). A negative total is placed as its amount is. ValueError where the
    total has more decimals, a weight is negative, or all weights are 0.
    """
    scale = 10**places
    units = Fraction(abs(total)) * scale
    if units.denominator != 1:
        raise ValueError(f"{total} has more than {places} decimals")
    weight = [Fraction(one) for one in weights]
    whole = sum(weight, Fraction(0))
    if whole <= 0 or min(weight) < 0:
        raise ValueError("weights are not negative, and not all 0")
    exact = [units * one / whole for one in weight]
    shares = [one.numerator // one.denominator for one in exact]
    order = sorted(range(len(exact)), key=lambda index: (shares[index] - exact[index], index))
    for index in order[: int(units) - sum(shares)]:
        shares[index] += 1
    sign = -1 if total < 0 else 1
    return [Decimal(sign * share).scaleb(-places) for share in shares]


def place_parts(total: Decimal, parts: Sequence[Fraction], places: int = 2) -> list[Decimal]:
    """Round parts so that they add up to a total that was rounded from their exact sum: class lines of a site's line.

    Each is its part cut down, or one unit more, by largest remainder. ValueError where the total is not such a sum.
    """
    scale = 10**places
    exact = [part * scale for part in parts]
    units = [one.numerator // one.denominator for one in exact]
    left = int(total * scale) - sum(units)
    if not 0 <= left <= len(units):
        raise ValueError(f"{total} is not the rounded sum of its parts")
    order = sorted(range(len(exact)), key=lambda index: (units[index] - exact[index], index))
    for index in order[:left]:
        units[index] += 1
    return [Decimal(unit).scaleb(-places) for unit in units]
