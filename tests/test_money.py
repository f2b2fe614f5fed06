"""Money is exact inside and rounded once."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.cost.money import ATOMS_PER_UNIT, Rounding, exact, from_atoms, per_minute_to_atoms, to_atoms


def nearest(value: Fraction, rounding: Rounding) -> Fraction:
    """Round to hundredths by the textbook, on fractions alone."""
    scaled = abs(value) * 100
    low = scaled.numerator // scaled.denominator
    rest = scaled - low
    up = {
        Rounding.HALF_UP: rest >= Fraction(1, 2),
        Rounding.HALF_DOWN: rest > Fraction(1, 2),
        Rounding.HALF_EVEN: rest > Fraction(1, 2) or (rest == Fraction(1, 2) and low % 2 == 1),
        Rounding.UP: rest > 0,
        Rounding.DOWN: False,
    }[rounding]
    return (-1 if value < 0 else 1) * Fraction(low + up, 100)


@given(st.integers(-(2**62), 2**62), st.sampled_from(list(Rounding)))
def test_rounding_is_that_of_the_exact_fraction(atoms: int, rounding: Rounding) -> None:
    assert Fraction(from_atoms(atoms, 2, rounding)) == nearest(Fraction(atoms, ATOMS_PER_UNIT), rounding)


def test_half_a_penny_goes_where_the_mode_says() -> None:
    atoms = to_atoms(Decimal("2.805"))
    assert from_atoms(atoms) == Decimal("2.81")
    assert from_atoms(atoms, rounding=Rounding.HALF_EVEN) == Decimal("2.80")
    assert from_atoms(-atoms) == Decimal("-2.81")


def test_a_third_of_a_penny_is_not_lost() -> None:
    second_at_one_penny_a_minute = per_minute_to_atoms(Decimal("0.01"))
    assert second_at_one_penny_a_minute * 60 == to_atoms(Decimal("0.01"))
    assert exact(second_at_one_penny_a_minute) == "0.000166666666…"
    assert exact(to_atoms(Decimal("1.5"))) == "1.50"
    assert exact(-to_atoms(Decimal(12))) == "-12.00"


def test_a_price_finer_than_an_atom_is_refused() -> None:
    assert to_atoms(Decimal("0.00000001")) == 60
    with pytest.raises(ValueError, match="more than 8 decimals"):
        to_atoms(Decimal("0.000000001"))
