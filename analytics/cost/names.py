"""Names of figures: their parts joined, with nothing in them that a formula would read as its own."""

from __future__ import annotations

from collections.abc import Sequence


def key_of(*parts: object) -> str:
    """Return the key of a figure, e.g. `202510.A.ip.Support@18`."""
    return ".".join(str(part) for part in parts).replace("{", "(").replace("}", ")")


def sum_of(keys: Sequence[str]) -> str:
    """Return the formula of a sum of figures; 0 where there are none."""
    return f"sum({', '.join(f'{{{key}}}' for key in keys)})" if keys else "0"
