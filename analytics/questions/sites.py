"""Sites: how each is now, and how it was over time beside its own past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from analytics.alerts.of_sites import SiteAlert
from analytics.questions.asking import QuestionError, Share, check_span, share
from analytics.store.series import summed

if TYPE_CHECKING:
    from analytics.sites import Estate
    from analytics.store.lake import Lake
    from analytics.store.series import SiteSeries

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(weeks=1)
WINDOW: Final = timedelta(minutes=15)
TREND: Final = timedelta(hours=24)
BAND_WEEKS: Final = 8
LEAST_WEEKS: Final = 4
"""Fewer weeks of the past make no band."""
MOST_POINTS: Final = 20_000
STEP_SECONDS: Final[Mapping[str, int]] = {"minute": 60, "hour": 3_600, "day": 86_400}


class SiteState(StrEnum):
    """How a site is: by the quality of its streams, or worse where an alert of it holds."""

    NORMAL = "normal"
    DEGRADED = "degraded"
    BAD = "bad"
    FEW = "few"
    """Too few streams to judge."""
    NO_DATA = "no_data"
    CAPTURE = "capture"
    """The capture is unhealthy: what it measures is in doubt, and nothing is judged by it."""


ATTENTION: Final = (SiteState.BAD, SiteState.DEGRADED, SiteState.CAPTURE)
"""States in which somebody should look, the worst first."""
_RANK: Final = {SiteState.DEGRADED: 1, SiteState.BAD: 2, SiteState.CAPTURE: 3}


class Levels(NamedTuple):
    """From where on a site is not normal: the lower end of the interval of the share of poor streams must be above."""

    least_streams: int = 20
    """Fewer rated streams are not judged."""
    degraded: float = 0.05
    bad: float = 0.20


DEFAULT_LEVELS: Final = Levels()


class Measures(NamedTuple):
    """What a site did in a span; a stream or call counts where and when it began."""

    calls: int
    answered: int
    failed: int
    streams: int
    """Streams that were heard."""
    poor: Share
    """Streams with a MOS under 3.6, out of those with a MOS."""
    mos: float | None
    """Mean MOS-CQE of the rated streams."""
    mos_min: float | None
    packets: int
    expected: int
    lost: int
    loss_percent: float | None
    """Packets lost out of those expected [%]; None where no packet was expected."""
    jitter_ms: float | None
    """Mean of the streams' interarrival jitter at their end [ms]."""
    jitter_max_ms: float | None
    busy: float
    """Calls that were up at a time, mean over the span [erlang]."""


class SiteNow(NamedTuple):
    """One site in the window that ends now."""

    site: str
    name: str
    """Its name in the estate; empty where the estate does not know it."""
    kind: str
    """`station`, `office`, …; empty where the estate does not know it."""
    parent: str | None
    state: SiteState
    reason: str
    """The state in a sentence with its numbers."""
    since: datetime
    until: datetime
    measures: Measures | None
    """None: nothing was heard of the site in the window."""
    calls_now: float | None
    """Calls up in its newest whole minute, mean [erlang]; None where that is older than the window."""
    newest: datetime | None
    """Begin of its newest minute within the last 24 hours."""
    trend: tuple[TrendPoint, ...]
    """The last 24 hours by the hour, those without any stream or call left out."""
    alert: SiteAlert | None = None
    """The worst alert of it that holds; None where none does."""

    @property
    def by_alert(self) -> bool:
        """Whether it is the alert that says how the site is: then the reason is what the alert says."""
        return self.alert is not None and self.reason == self.alert.said


class TrendPoint(NamedTuple):
    """One hour of the trend."""

    start: datetime
    calls: int
    poor: Share
    mos: float | None


class Band(NamedTuple):
    """Where a value lay on the same weekday and hour of the weeks before."""

    low: float
    """10th percentile."""
    high: float
    """90th percentile."""
    weeks: int
    """Of how many weeks."""


class Bands(NamedTuple):
    """Bands of one step; None where too few weeks are known. Percentiles interpolate linearly."""

    poor: Band | None
    """Share of poor streams [0 to 1]."""
    mos: Band | None
    loss_percent: Band | None
    jitter_ms: Band | None
    calls: Band | None
    """Calls begun in a step."""
    busy: Band | None


class SitePoint(NamedTuple):
    """One step of a site's series; a step of which nothing is known has no point."""

    site: str
    start: datetime
    seconds: int
    """Length of the step [s]; a local day may have 23 or 25 hours."""
    measures: Measures
    bands: Bands | None
    """The site's own past; None where it was not asked for, and of months."""


def measures_of(row: Mapping[str, Any], seconds: float) -> Measures:
    """Return measures from sums as `site_minutes` has them."""
    rated, streams, expected = int(row["rated"]), int(row["streams"]), int(row["expected"])
    lost = int(row["lost"])
    return Measures(
        int(row["calls"]),
        int(row["answered"]),
        int(row["failed"]),
        streams,
        share(int(row["poor"]), rated),
        row["mos_sum"] / rated if rated else None,
        row["mos_min"],
        int(row["packets"]),
        expected,
        lost,
        100.0 * lost / expected if expected else None,
        row["jitter_sum_ms"] / streams if streams and row["jitter_max_ms"] is not None else None,
        row["jitter_max_ms"],
        row["busy_seconds"] / seconds if seconds > 0 else 0.0,
    )


def sites_now(
    lake: Lake,
    series: SiteSeries,
    estate: Estate,
    now: datetime,
    window: timedelta = WINDOW,
    *,
    levels: Levels = DEFAULT_LEVELS,
) -> tuple[SiteNow, ...]:
    """Return all sites of the estate on the day, and any others that were heard, in the estate's order.

    The window ends with the minute that `now` lies in, so that the newest facts are in it.
    """
    if window < MINUTE or window > DAY:
        raise QuestionError("a window has from 1 minute to 24 hours")
    until = now.replace(second=0, microsecond=0) + MINUTE
    since = until - window
    minutes = series.series(None, since, until, "minute")
    rows = {row["site"]: row for row in summed(minutes, ["site"]).to_pylist()}
    last = _newest_minutes(minutes.select(["site", "start", "busy_seconds"]).to_pylist())
    trends: dict[str, list[TrendPoint]] = {}
    hours = series.series(None, until - TREND, until, "hour")
    for hour in hours.select(["site", "start", "calls", "rated", "poor", "mos_sum"]).to_pylist():
        rated = hour["rated"]
        mos = hour["mos_sum"] / rated if rated else None
        point = TrendPoint(hour["start"].astimezone(UTC), hour["calls"], share(hour["poor"], rated), mos)
        trends.setdefault(hour["site"], []).append(point)
    known = {site.site: site for site in _sites_on(estate, now)}
    found = []
    for site in [*known, *sorted((set(rows) | set(trends)) - set(known))]:
        row = rows.get(site)
        measures = None if row is None else measures_of(row, window.total_seconds())
        state, reason = judge(measures, window, levels)
        newest = last.get(site)
        said = known.get(site)
        trend = tuple(trends.get(site, ()))
        found.append(
            SiteNow(
                site,
                said.name if said else "",
                said.kind if said else "",
                said.parent if said else None,
                state,
                reason,
                since,
                until,
                measures,
                None if newest is None else newest["busy_seconds"] / 60,
                newest["start"].astimezone(UTC) if newest else trend[-1].start if trend else None,
                trend,
            )
        )
    return tuple(found)


def with_alerts(sites: Iterable[SiteNow], worst: Mapping[str, SiteAlert]) -> tuple[SiteNow, ...]:
    """Return sites with the worst alert of each: where that is worse than what the streams say, it is the state."""
    return tuple(_with_alert(one, worst.get(one.site)) for one in sites)


def _with_alert(one: SiteNow, alert: SiteAlert | None) -> SiteNow:
    if alert is None:
        return one
    state = SiteState(alert.state)
    if _RANK[state] > _RANK.get(one.state, 0):
        return one._replace(state=state, reason=alert.said, alert=alert)
    return one._replace(alert=alert)


def _sites_on(estate: Estate, now: datetime) -> list[Any]:
    day = now.astimezone(ZoneInfo(estate.settings.timezone)).date()
    return [site for site in estate.sites if site.valid.holds(day)]


def _newest_minutes(rows: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the newest minute of each site; rows are in order of time."""
    return {row["site"]: row for row in rows}


def judge(measures: Measures | None, window: timedelta, levels: Levels) -> tuple[SiteState, str]:
    """Return the state of a site and why."""
    minutes = int(window.total_seconds() // 60)
    if measures is None or (measures.streams == 0 and measures.calls == 0):
        return SiteState.NO_DATA, f"no call and no stream in {minutes} min"
    poor = measures.poor
    state = state_of(measures.calls, measures.streams, poor, levels)
    if poor.value is None or poor.low is None or poor.high is None:
        return state, f"no stream with a MOS in {minutes} min, {measures.calls:,} calls"
    said = f"{poor.number:,} of {poor.of:,} streams poor in {minutes} min"
    if state is SiteState.FEW:
        return state, f"{said}: fewer than {levels.least_streams} are not judged"
    said += f" ({100 * poor.value:.1f} %, {100 * poor.low:.1f} to {100 * poor.high:.1f} %)"
    above = {SiteState.BAD: levels.bad, SiteState.DEGRADED: levels.degraded}
    return state, f"{said}; {state.value} above {100 * above[state]:g} %" if state in above else said


def state_of(calls: int, streams: int, poor: Share, levels: Levels) -> SiteState:
    """Return the state of a site in a window: of the share of poor streams the lower bound decides."""
    if (streams == 0 and calls == 0) or poor.low is None:
        return SiteState.NO_DATA
    if poor.of < levels.least_streams:
        return SiteState.FEW
    if poor.low > levels.bad:
        return SiteState.BAD
    return SiteState.DEGRADED if poor.low > levels.degraded else SiteState.NORMAL


def site_series(
    series: SiteSeries,
    sites: Sequence[str] | None,
    since: datetime,
    until: datetime,
    step: str,
    *,
    zone: str = "UTC",
    band: bool = False,
) -> tuple[SitePoint, ...]:
    """Return points of sites by minute, hour, day or month, in order of time and site.

    Days and months are those of `zone`. With `band`, each point but months has its site's own past beside it.
    """
    check_span(since, until)
    seconds = STEP_SECONDS.get(step, 28 * 86_400)
    if (until - since).total_seconds() / seconds * len(sites or ()) > MOST_POINTS:
        raise QuestionError(f"more than {MOST_POINTS:,} points: ask for a shorter span or a longer step")
    rows = series.series(sites, since, until, step, zone=zone).to_pylist()
    if len(rows) > MOST_POINTS:
        raise QuestionError(f"{len(rows):,} points: ask for a shorter span or a longer step")
    past = _Past(series, sites, rows, step, zone) if band and step != "month" and rows else None
    points = []
    for row in rows:
        length = _length(row["start"], step, zone)
        measures = measures_of(row, length)
        points.append(
            SitePoint(
                row["site"],
                row["start"].astimezone(UTC),
                length,
                measures,
                past.bands(row["site"], row["start"]) if past is not None else None,
            )
        )
    return tuple(points)


def _length(start: datetime, step: str, zone: str) -> int:
    if step in ("minute", "hour"):
        return STEP_SECONDS[step]
    local = start.astimezone(ZoneInfo(zone)).date()
    after = local + DAY if step == "day" else _next_month(local)
    end = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(zone))
    return int((end.astimezone(UTC) - start.astimezone(UTC)).total_seconds())


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


_VALUES: Final = ("poor", "mos", "loss_percent", "jitter_ms", "calls", "busy")


class _Past:
    """The weeks before a span, by site and begin of the step (of an hour for minutes), by the zone's clock."""

    def __init__(
        self,
        series: SiteSeries,
        sites: Sequence[str] | None,
        points: Sequence[Mapping[str, Any]],
        step: str,
        zone: str,
    ) -> None:
        self._zone = ZoneInfo(zone)
        self._step = step
        of = "day" if step == "day" else "hour"
        locals_ = {self._local(point["start"]) for point in points}
        weeks = {local - number * WEEK for local in locals_ for number in range(1, BAND_WEEKS + 1)}
        # In the autumn an hour of the clock is there twice.
        moments = {at.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for at in weeks for fold in (0, 1)}
        found = series.series(sites, min(moments), max(moments) + DAY, of, zone=zone)
        # Of the weeks between only few steps are wanted: the others never become Python's.
        wanted = pc.is_in(found.column("start"), value_set=pa.array(sorted(moments), found.schema.field("start").type))
        rows = found.filter(wanted).to_pylist()
        scale = 60.0 if step == "minute" else 1.0
        self._known: dict[tuple[str, datetime], tuple[float | None, ...]] = {}
        for row in rows:
            one = measures_of(row, STEP_SECONDS[of])
            values = (one.poor.value, one.mos, one.loss_percent, one.jitter_ms, one.calls / scale, one.busy)
            self._known[row["site"], self._local(row["start"])] = values
        self._found: dict[tuple[str, datetime], Bands] = {}

    def _local(self, start: datetime) -> datetime:
        """The step's begin on the zone's clock, without zone; minutes are put to their hour."""
        local = start.astimezone(self._zone).replace(tzinfo=None)
        return local.replace(hour=0, minute=0) if self._step == "day" else local.replace(minute=0)

    def bands(self, site: str, start: datetime) -> Bands:
        """Bands of one step."""
        local = self._local(start)
        found = self._found.get((site, local))
        if found is None:
            weeks = [self._known.get((site, local - number * WEEK)) for number in range(1, BAND_WEEKS + 1)]
            columns = [[week[index] for week in weeks if week is not None] for index in range(len(_VALUES))]
            found = self._found[site, local] = Bands._make(_band(column) for column in columns)
        return found


def _band(values: Sequence[float | None]) -> Band | None:
    known = [value for value in values if value is not None]
    if len(known) < LEAST_WEEKS:
        return None
    known.sort()
    return Band(_quantile(known, 0.1), _quantile(known, 0.9), len(known))


def _quantile(values: Sequence[float], part: float) -> float:
    """Quantile of sorted values, interpolated linearly between the two nearest ranks."""
    place = part * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])
