"""The wallboard's data: which sites need attention, and every site's tile."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from analytics.questions.sites import ATTENTION, Band, SiteNow, SiteState

HOURS: Final = 24
STATIONS: Final = "station"


class Tile(NamedTuple):
    """One site."""

    site: str
    name: str
    kind: str
    state: str
    """As `parts.MARKS` has it."""
    reason: str
    calls: float | None
    """Calls up now [erlang]."""
    mos: float | None
    poor_percent: float | None
    """Share of streams that are poor [%]."""
    hollow: bool
    """Whether there are too few streams to judge by that share."""
    loss_percent: float | None
    jitter_ms: float | None
    trend: tuple[float | None, ...]
    """MOS of the last 24 hours by the hour, the oldest first; None where nothing was heard."""
    past: tuple[tuple[float, float] | None, ...] = ()
    """Where it lay at those hours in the weeks before, 10th to 90th percentile; None where too little is known."""


class Attention(NamedTuple):
    """A site that somebody should look at."""

    site: str
    name: str
    state: str
    said: str
    """Its figures in a few words."""
    since: str
    """Local time since when it is so, HH:MM; empty: for longer than is looked back."""


class Board(NamedTuple):
    """All of the wallboard."""

    sentence: str
    attention: tuple[Attention, ...]
    stations: tuple[Tile, ...]
    others: tuple[Tile, ...]
    calls: float | None
    as_of: str
    """Local time of the look, HH:MM:SS and the zone's letters."""
    zone: str


def board(
    sites: Sequence[SiteNow],
    now: datetime,
    zone: str,
    since: Mapping[str, datetime] | None = None,
    only: Mapping[str, str] | None = None,
    past: Mapping[str, Mapping[datetime, Band]] | None = None,
    silenced: Collection[str] = (),
    calls: float | None = None,
) -> Board:
    """Return the wallboard at `now`; `since`: how long a site is so; `only`: with whom alone; `past`: its own past.

    Of `silenced` sites nobody wants to be told; `calls` are those that collectors count this second.
    """
    tiles = [tile(one, (past or {}).get(one.site, {}), silenced=one.site in silenced) for one in sites]
    known, alone = since or {}, only or {}
    heard = [one for one in sites if one.site not in silenced]
    attention = tuple(
        Attention(
            one.site,
            one.name or one.site,
            one.state.value,
            figures(one) + (f" · with {alone[one.site]} only" if one.site in alone else ""),
            local_time(known.get(one.site), zone),
        )
        for state in ATTENTION
        for one in sorted((each for each in heard if each.state is state), key=_worst_first)
    )
    if calls is None:
        counted = [one.calls_now for one in sites if one.calls_now is not None]
        calls = sum(counted) if counted else None
    local = now.astimezone(ZoneInfo(zone))
    return Board(
        sentence(len(attention), len(sites), calls),
        attention,
        tuple(one for one in tiles if one.kind == STATIONS),
        tuple(one for one in tiles if one.kind != STATIONS),
        calls,
        f"{local:%H:%M:%S %Z}",
        zone,
    )


def local_time(at: datetime | None, zone: str) -> str:
    """Return the local time of day; empty where there is none."""
    return "" if at is None else f"{at.astimezone(ZoneInfo(zone)):%H:%M}"


def sentence(bad: int, of: int, calls: float | None) -> str:
    """Return the answer to "who is bad now?" in a sentence."""
    if of == 0:
        return "No site is known yet"
    if bad == 0:
        said = "The site is normal" if of == 1 else f"None of {of} sites needs attention"
    else:
        said = f"{bad} of {of} sites need{'s' if bad == 1 else ''} attention"
    return said if calls is None else f"{said} · {calls:,.0f} calls now"


def tile(one: SiteNow, past: Mapping[datetime, Band] | None = None, *, silenced: bool = False) -> Tile:
    """Return the tile of a site; `past` by the begin of the hour."""
    of = one.measures
    poor = None if of is None else of.poor.value
    return Tile(
        one.site,
        one.name or one.site,
        one.kind,
        "silenced" if silenced and one.state in ATTENTION else one.state.value,
        one.reason,
        one.calls_now,
        None if of is None else of.mos,
        None if poor is None else 100 * poor,
        one.state is SiteState.FEW,
        None if of is None else of.loss_percent,
        None if of is None else of.jitter_ms,
        trend(one),
        tuple((band.low, band.high) if (band := (past or {}).get(start)) is not None else None for start in hours(one)),
    )


def trend(one: SiteNow) -> tuple[float | None, ...]:
    """Return the MOS of each of the last 24 hours."""
    by_hour = {point.start: point.mos for point in one.trend}
    return tuple(by_hour.get(start) for start in hours(one))


def hours(one: SiteNow) -> tuple[datetime, ...]:
    """Return the begins of the last 24 hours, the oldest first."""
    last = one.until.replace(minute=0, second=0, microsecond=0)
    return tuple(last - timedelta(hours=back) for back in range(HOURS - 1, -1, -1))


def figures(one: SiteNow) -> str:
    """Return what is wrong at a site, in figures."""
    of = one.measures
    if one.by_alert or of is None or of.poor.value is None or of.poor.low is None or of.poor.high is None:
        return one.reason
    poor = f"{100 * of.poor.value:.0f} % poor ({100 * of.poor.low:.0f}–{100 * of.poor.high:.0f} %, n {of.poor.of:,})"
    loss = "" if of.loss_percent is None else f" · loss {of.loss_percent:.2f} %"
    jitter = "" if of.jitter_ms is None else f" · jitter {of.jitter_ms:.1f} ms"
    return f"{poor}{loss}{jitter}"


def changed(before: Iterable[Tile], now: Iterable[Tile]) -> tuple[Tile, ...]:
    """Return the tiles that are not as before."""
    known = {one.site: one for one in before}
    return tuple(one for one in now if known.get(one.site) != one)


def _worst_first(one: SiteNow) -> tuple[float, str]:
    low = one.measures.poor.low if one.measures is not None else None
    return (-(low or 0.0), one.site)
