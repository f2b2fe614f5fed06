"""Figures as they stand within a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from analytics.cost.money import round_money

SIGNS = {"GBP": "£", "EUR": "€", "USD": "$"}
NOT_KNOWN = "not known"


def said_money(value: Decimal | None, currency: str) -> str:
    """Return an amount as people write it: £1,275.14."""
    if value is None:
        return NOT_KNOWN
    sign = SIGNS.get(currency, f"{currency} ")
    return f"{'−' if value < 0 else ''}{sign}{abs(round_money(value)):,}"


def said_percent(value: Decimal | None) -> str:
    """Return a percentage with two decimals: 49.11 %."""
    return NOT_KNOWN if value is None else f"{said_number(round_money(value))} %"


def said_claim(value: Decimal | None) -> str:
    """Return a percentage as it was claimed, without needless zeros: 30 %."""
    return NOT_KNOWN if value is None else f"{value.normalize():f} %"


def said_number(value: Decimal | None) -> str:
    """Return a number with separators."""
    return NOT_KNOWN if value is None else f"{value:,}".replace("-", "−")


def said_range(low: Decimal | None, high: Decimal | None) -> str:
    """Return a range of percentages, either end of which may not be known."""
    if low is None and high is None:
        return "range not known"
    if low is None:
        return f"at most {said_percent(high)}"
    if high is None:
        return f"at least {said_percent(low)}"
    return f"range {said_number(round_money(low))} to {said_percent(high)}"


def said_list(words: Sequence[str], most: int = 5) -> str:
    """Return some words one after another, and how many more there are."""
    shown = list(words[:most])
    return ", ".join(shown) + (f" and {len(words) - most} more" if len(words) > most else "")
