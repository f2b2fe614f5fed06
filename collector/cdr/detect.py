"""What a file of records holds, told by its content and not by its name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

from collector.cdr.cucm_layout import sniff as sniff_cucm
from collector.cdr.files import Layout

FORMATS: Final = ("cucm", "freeswitch", "avaya", "asterisk")
"""In the order they are tried: the strictest first."""


def detect(head: bytes, name: str, formats: Sequence[str] = FORMATS) -> Layout | None:
    """Tell what a file holds by its first octets; `formats` are those it may be of."""
    del name  # names are made by people; only content counts
    for each in formats:
        layout = sniff_cucm(head) if each == "cucm" else _sniff(each, head)
        if layout is not None:
            return layout
    return None


def _sniff(format_: str, head: bytes) -> Layout | None:
    module = importlib.import_module(f"collector.cdr.{format_}")
    columns: tuple[str, ...] | None = module.sniff(head)
    # mod_json_cdr writes a file for each call; all the others add lines to one.
    is_added_to = columns != getattr(module, "JSON", None)
    return None if columns is None else Layout(format_, "cdr", columns, is_added_to=is_added_to)
