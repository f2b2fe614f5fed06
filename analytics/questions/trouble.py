"""Sites in trouble: since when, and whether with one other site alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analytics.questions.asking import micros, share
from analytics.questions.pairs import PairQuality
from analytics.questions.sites import DEFAULT_LEVELS, MINUTE, WINDOW, Levels, SiteState, state_of

if TYPE_CHECKING:
    from analytics.store.series import SiteSeries

BACK: Final = timedelta(hours=6)
"""How far back it is looked for the begin."""
TROUBLE: Final = frozenset({SiteState.DEGRADED, SiteState.BAD})
MOST_OF: Final = 0.8
"""One other site has the trouble when so large a part of the poor streams is with it."""
LEAST_RATED: Final = 5
"""Fewer rated streams with all other sites together say nothing of them."""


class Since(NamedTuple):
    """Since when a site is in trouble."""

    site: str
    at: datetime
    """End of the first window in which it was."""
    whole: bool
    """Whether that is the begin; else it was so as far back as was looked."""


def troubled_since(
    series: SiteSeries,
    sites: Sequence[str],
    now: datetime,
    window: timedelta = WINDOW,
    *,
    levels: Levels = DEFAULT_LEVELS,
    back: timedelta = BACK,
) -> tuple[Since, ...]:
    """Return since when each of `sites` is degraded or bad without a break, window after window, minute by minute.

    The window that ends with the minute of `now` counts as one in which it is.
    """
    if not sites:
        return ()
    until = now.replace(second=0, microsecond=0) + MINUTE
    begin = until - back - window
    minutes = _Minutes(series.series(sites, begin, until, "minute"), begin, until)
    in_trouble: dict[tuple[int, ...], bool] = {}
    found = []
    for site in sites:
        end = until
        for sums in minutes.windows(site, window):
            if sums not in in_trouble:
                calls, streams, rated, poor = sums
                in_trouble[sums] = state_of(calls, streams, share(poor, rated), levels) in TROUBLE
            if not in_trouble[sums]:
                break
            end -= MINUTE
        found.append(Since(site, end, until - end < back))
    return tuple(found)


class _Minutes:
    """What decides of a state, minute by minute: hours of many sites have thousands of windows, so they are columns."""

    NAMES: Final = ("calls", "streams", "rated", "poor")

    def __init__(self, rows: pa.Table, begin: datetime, until: datetime) -> None:
        sites = pc.dictionary_encode(rows.column("site").combine_chunks())
        self._places = {name: place for place, name in enumerate(sites.dictionary.to_pylist())}
        started = rows.column("start").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
        where = (sites.indices.to_numpy(), (started - micros(begin)) // 60_000_000)
        sums = np.zeros((len(self._places) + 1, (until - begin) // MINUTE + 1, len(self.NAMES)), np.int64)
        for number, name in enumerate(self.NAMES):
            np.add.at(sums[:, 1:, number], where, rows.column(name).to_numpy())
        self._sums = sums.cumsum(axis=1)

    def windows(self, site: str, window: timedelta) -> list[tuple[int, ...]]:
        """Return the sums of each window of a site, from the one before the newest backwards."""
        sums, steps = self._sums[self._places.get(site, -1)], window // MINUTE
        return list(map(tuple, (sums[steps:-1] - sums[: -steps - 1])[::-1].tolist()))


def only_with(site: str, pairs: Sequence[PairQuality], levels: Levels = DEFAULT_LEVELS) -> str | None:
    """Return the other site that a site's poor streams are with, if with the rest all is well; None otherwise.

    It is then the way between the two, or the other site, that is bad.
    """
    poor: Counter[str] = Counter()
    rated: Counter[str] = Counter()
    for pair in pairs:
        for one, other in ((pair.site, pair.other_site), (pair.other_site, pair.site)):
            if one == site and other != site:
                poor[other or ""] += pair.poor.number
                rated[other or ""] += pair.poor.of
    if not poor or not (worst := poor.most_common(1)[0])[1] or not worst[0]:
        return None
    rest_rated = rated.total() - rated[worst[0]]
    rest_poor = poor.total() - worst[1]
    if worst[1] < MOST_OF * poor.total() or rest_rated < LEAST_RATED or rest_poor > levels.degraded * rest_rated:
        return None
    return worst[0]
