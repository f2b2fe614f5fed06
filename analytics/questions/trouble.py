"""Sites in trouble: since when, and whether with one other site alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from analytics.questions.pairs import PairQuality
from analytics.questions.sites import DEFAULT_LEVELS, MINUTE, WINDOW, Levels, SiteState, judge, measures_of
from analytics.store.site_minutes import GREATEST, LEAST, SUMS

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
    minutes: dict[str, dict[datetime, Mapping[str, Any]]] = {}
    for row in series.series(sites, until - back - window, until, "minute").to_pylist():
        minutes.setdefault(row["site"], {})[row["start"]] = row
    found = []
    for site in sites:
        end, of = until, minutes.get(site, {})
        while until - end < back and _in_trouble(of, end - MINUTE, window, levels):
            end -= MINUTE
        found.append(Since(site, end, until - end < back))
    return tuple(found)


def _in_trouble(rows: Mapping[datetime, Mapping[str, Any]], end: datetime, window: timedelta, levels: Levels) -> bool:
    steps = int(window / MINUTE)
    within = [row for step in range(1, steps + 1) if (row := rows.get(end - step * MINUTE)) is not None]
    if not within:
        return False
    total = {name: _together(name, [row[name] for row in within]) for name in SUMS}
    return judge(measures_of(total, window.total_seconds()), window, levels)[0] in TROUBLE


def _together(name: str, values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    if name in LEAST or name in GREATEST:
        return (min(known) if name in LEAST else max(known)) if known else None
    return sum(known)


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
