"""Names of figures: their parts joined, with nothing in them that a formula would read as its own.

A part that is no site but stands where one could begins with #: no row of the estate's files can.
"""

from __future__ import annotations

from collections.abc import Sequence

_OTHER_SIGNS = str.maketrans("{}", "()")


def key_of(*parts: object) -> str:
    """Return the key of a figure, e.g. `202510.A.ip.Support@18`."""
    return ".".join(str(part).translate(_OTHER_SIGNS) for part in parts)


def one_part(name: str) -> str:
    """Return a name as one part of a key: without the dots that part the parts."""
    return name.replace(".", "·")


def sum_of(keys: Sequence[str]) -> str:
    """Return the formula of a sum of figures; 0 where there are none."""
    return f"sum({', '.join(f'{{{key}}}' for key in keys)})" if keys else "0"
