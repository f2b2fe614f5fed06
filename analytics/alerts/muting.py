"""Who need not hear of an alert: silences, maintenance windows, inhibition, acknowledgement.

None of these changes an alert's state: it is shown and kept in the history as it is, and only not told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from analytics.alerts.facts import NS, PAIR, Alert, Matcher
from analytics.alerts.rules import RuleError, labels_of

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that are not told for a time."""

    key: int
    matcher: Matcher
    since: int
    until: int
    author: str
    comment: str

    def holds(self, now: int) -> bool:
        """Whether it holds at a moment."""
        return self.since <= now < self.until


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A window that comes again every week, by the clock of a zone: 01:00 stays 01:00 in summer."""

    name: str
    matcher: Matcher
    zone: str
    days: frozenset[int]
    """Weekdays on which it begins, 0 is Monday."""
    begin: time
    end: time
    """Not after `begin`: on the next day."""
    first: date | None = None
    last: date | None = None
    """Local days, both included, on which it begins."""

    def holds(self, now: int) -> bool:
        """Whether it holds at a moment."""
        local = datetime.fromtimestamp(now // NS, UTC).astimezone(ZoneInfo(self.zone))
        return any(self._holds_from(local.date() - timedelta(days=back), now) for back in (0, 1))

    def _holds_from(self, day: date, now: int) -> bool:
        if day.weekday() not in self.days or not (self.first or day) <= day <= (self.last or day):
            return False
        zone = ZoneInfo(self.zone)
        after = day + timedelta(days=1) if self.end <= self.begin else day
        # Of an hour that comes twice in autumn, all of it: the first begin and the second end.
        begin = datetime.combine(day, self.begin, zone).timestamp()
        end = datetime.combine(after, self.end, zone).replace(fold=1).timestamp()
        return begin * NS <= now < end * NS


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody has seen an alert and takes care of it: it is not told again until it is over."""

    fingerprint: str
    fired_at: int
    """Of the alert: a later one with the same labels is another."""
    at: int
    author: str
    comment: str


def muted_by(
    alert: Alert,
    now: int,
    silences: Iterable[Silence],
    windows: Iterable[Maintenance],
    doubtful: Collection[str],
) -> str:
    """Return why an alert is not told, in words; empty where it is. `doubtful` are sites of unhealthy captures."""
    labels = dict(alert.labels)
    for silence in silences:
        if silence.holds(now) and silence.matcher.fits(labels):
            why = f": {silence.comment}" if silence.comment else ", who gave no reason"
            return f"silenced by {silence.author}{why}"
    for window in windows:
        if window.matcher.fits(labels) and window.holds(now):
            return f"maintenance {window.name}"
    if alert.rule.of_capture:
        sites = [labels[name] for name in ("site", *PAIR) if labels.get(name) in doubtful]
        if sites:
            return f"the capture of {sites[0]} is unhealthy"
    return ""


def doubtful_sites(alerts: Iterable[Alert]) -> frozenset[str]:
    """Return the sites whose measurements are in doubt, by the alerts that say so."""
    return frozenset(site for alert in alerts if alert.state.active for site in alert.sample.covers)


def maintenance_of(stated: Mapping[str, Any], zone: str) -> tuple[Maintenance, ...]:
    """Return a file's maintenance windows; `zone` holds where they name none. RuleError."""
    return tuple(_window(str(name), given, zone) for name, given in stated.items())


def _window(name: str, given: Any, zone: str) -> Maintenance:
    where = f"maintenance {name}"
    if not isinstance(given, Mapping):
        raise RuleError(f"{where}: it must be a table")
    unknown = sorted(set(given) - {"labels", "zone", "days", "from", "to", "first", "last"})
    if unknown:
        raise RuleError(f"{where}: there is no setting {unknown[0]}")
    named = given.get("zone", zone)
    days = given.get("days", list(DAYS))
    if not isinstance(days, list) or not days or any(day not in DAYS for day in days):
        raise RuleError(f"{where}: days are some of {', '.join(DAYS)}")
    try:
        ZoneInfo(named)
    except (ZoneInfoNotFoundError, ValueError, TypeError) as error:
        raise RuleError(f"{where}: there is no zone {named}; an example is Europe/London") from error
    return Maintenance(
        name,
        Matcher(labels_of(given.get("labels", {}), f"{where}: labels")),
        named,
        frozenset(DAYS.index(day) for day in days),
        _time(given.get("from"), f"{where}: from"),
        _time(given.get("to"), f"{where}: to"),
        _date(given.get("first"), f"{where}: first"),
        _date(given.get("last"), f"{where}: last"),
    )


def _time(given: Any, where: str) -> time:
    if isinstance(given, time):
        return given
    try:
        return time.fromisoformat(given).replace(tzinfo=None)
    except (TypeError, ValueError) as error:
        raise RuleError(f"{where} must be a time as 01:30") from error


def _date(given: Any, where: str) -> date | None:
    if given is None or (isinstance(given, date) and not isinstance(given, datetime)):
        return given
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError) as error:
        raise RuleError(f"{where} must be a day as 2026-01-31") from error
