"""The worst alert of each site, out of the book."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from analytics.alerts.facts import Rule
from analytics.alerts.of_sites import SiteAlert, worst_of_sites
from api.alerts.book import FILE, FOLDER, Book
from api.alerts.keeping import alerts_now


def alerts_of_sites(store: Path, rules: Iterable[Rule]) -> dict[str, SiteAlert]:
    """Return the worst alert that holds of each site of a store; BookError where its book cannot be read."""
    if not (store / FOLDER / FILE).exists():
        return {}
    with closing(Book.open(store)) as book:
        return worst_of_sites((alert, kept.muted) for alert, kept in alerts_now(book, rules))
