"""What is looked up for the live view: sites as they are, and what collectors say of this very second."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from analytics.alerts.facts import Rule
from analytics.alerts.rules import DEFAULTS
from analytics.questions.pairs import site_pairs
from analytics.questions.sites import (
    HOUR,
    MINUTE,
    TREND,
    WINDOW,
    Band,
    SiteNow,
    site_series,
    sites_now,
    with_alerts,
)
from analytics.questions.trouble import TROUBLE, only_with, troubled_since
from analytics.sites import Estate
from analytics.store.lake import Lake
from analytics.store.schema import SITE_MINUTES
from analytics.store.series import SiteSeries
from api.alerts.book import FILE as BOOK
from api.alerts.book import FOLDER as ALERTS
from api.alerts.book import Book
from api.alerts.keeping import read_silences
from api.alerts.of_sites import alerts_of_sites

FOLDER: Final = "live"
STALE: Final = timedelta(seconds=10)
"""What a collector said longer ago is not so now."""
AGAIN_NS: Final = 5_000_000_000
"""Sites are looked up anew when so much time has passed, or when something new was stored."""
MOST_OCTETS: Final = 4_194_304


class LiveNow(NamedTuple):
    """What is so now."""

    sites: tuple[SiteNow, ...]
    live: Mapping[str, Mapping[str, Any]]
    """What each collector wrote last, by its name; without those that fell silent."""
    since: Mapping[str, datetime] = MappingProxyType({})
    """Since when a site that needs attention is so; without those that are so for longer than is looked back."""
    only: Mapping[str, str] = MappingProxyType({})
    """Other site that a site's trouble is with alone."""
    past: Mapping[str, Mapping[datetime, Band]] = MappingProxyType({})
    """Where a site's MOS lay in each of the last 24 hours in the weeks before."""
    silenced: frozenset[str] = frozenset()
    """Sites all of whose alerts somebody asked not to be told of now, or that only silenced alerts make worse."""

    @property
    def calls(self) -> int | None:
        """Calls that collectors have going on this second; None where none of them says so."""
        said = [one.get("calls_now") for one in self.live.values()]
        counted = [one for one in said if isinstance(one, int)]
        return sum(counted) if counted else None


@dataclass(slots=True)
class Look:
    """Looks; what has not changed is not looked up again."""

    lake: Lake
    series: SiteSeries
    estate: Callable[[], Estate]
    rules: Sequence[Rule] = DEFAULTS
    """Rules of alerts that are watched."""
    _sites: tuple[SiteNow, ...] = ()
    _of: tuple[int, int | None] = field(default=(0, None))
    _since: Mapping[str, datetime] = field(default_factory=dict)
    _only: Mapping[str, str] = field(default_factory=dict)
    _past: dict[str, dict[datetime, Band]] = field(default_factory=dict)
    _past_of: datetime | None = None
    _silenced: frozenset[str] = frozenset()

    def __call__(self, now: int) -> LiveNow:
        """Return what is so at `now` [ns since 1970]."""
        version = self.lake.version(SITE_MINUTES.name)
        at, of = self._of
        if now - at >= AGAIN_NS or version != of:
            moment = datetime.fromtimestamp(now / 1e9, UTC)
            worst = alerts_of_sites(self.lake.root, self.rules)
            self._sites = with_alerts(sites_now(self.lake, self.series, self.estate(), moment), worst)
            if at:  # the first look does not wait for eight weeks to be read
                self._look_back(moment)
            self._of = (now, version)
            self._trouble(moment)
            quiet = {one.site for one in self._sites if one.by_alert and one.alert is not None and one.alert.muted}
            self._silenced = silenced_sites(self.lake.root, now, [one.site for one in self._sites]) | quiet
        live = live_files(self.lake.root / FOLDER, now)
        return LiveNow(self._sites, live, self._since, self._only, self._past, self._silenced)

    def _look_back(self, now: datetime) -> None:
        until = now.replace(minute=0, second=0, microsecond=0) + HOUR
        if until == self._past_of:
            return
        zone = self.estate().settings.timezone
        found: dict[str, dict[datetime, Band]] = {}
        for point in site_series(self.series, None, until - TREND, until, "hour", zone=zone, band=True):
            if point.bands is not None and point.bands.mos is not None:
                found.setdefault(point.site, {})[point.start] = point.bands.mos
        self._past, self._past_of = found, until

    def _trouble(self, now: datetime) -> None:
        sites = [one.site for one in self._sites if one.state in TROUBLE and not one.by_alert]
        found = troubled_since(self.series, sites, now)
        self._since = {one.site: one.at for one in found if one.whole}
        self._since |= {one.site: one.alert.since for one in self._sites if one.by_alert and one.alert is not None}
        pairs = site_pairs(self.lake, now - WINDOW, now + MINUTE) if sites else ()
        names = {one.site: one.name or one.site for one in self._sites}
        only = {site: only_with(site, pairs) for site in sites}
        self._only = {site: names.get(other, other) for site, other in only.items() if other is not None}


def silenced_sites(store: Path, now: int, sites: Sequence[str]) -> frozenset[str]:
    """Return the sites of which a silence that names nothing but sites holds at `now` [ns since 1970]."""
    if not (store / ALERTS / BOOK).exists():
        return frozenset()
    with closing(Book.open(store)) as book:
        holding = [one.matcher for one in read_silences(book, now) if one.since <= now < one.until]
    whole = [one for one in holding if {name for name, _ in one.labels} == {"site"}]
    return frozenset(site for site in sites if any(one.fits({"site": site}) for one in whole))


def live_files(folder: Path, now: int) -> dict[str, Mapping[str, Any]]:
    """Return what collectors wrote into `folder` lately, by name; what cannot be read is left out."""
    found: dict[str, Mapping[str, Any]] = {}
    oldest = now / 1e9 - STALE.total_seconds()
    for path in sorted(folder.glob("*.json")):
        try:
            stat = path.stat()
            if stat.st_mtime < oldest or stat.st_size > MOST_OCTETS:
                continue
            stated = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # it was just replaced or taken away; the next second has it
        if isinstance(stated, dict):
            found[path.stem] = stated
    return found
