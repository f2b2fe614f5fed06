"""Rows of the estate held against each other: overlaps, gaps, unknown names, rows that can never match."""

from __future__ import annotations

from analytics.sites import Estate
from collector.estate.problems import Problems


def check_estate(estate: Estate, problems: Problems) -> None:
    """Note what is wrong between rows that are each well formed."""
