"""What alerts that hold make of a site: bad, degraded, or not to be judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from analytics.alerts.facts import NS, Alert, Kind, Phase
from analytics.alerts.wording import length, measured

PHRASES: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.ONE_WAY: "audio in one direction only",
        Kind.NO_TRAFFIC: "hardly any calls",
        Kind.SETUP_FAILURES: "calls fail to set up",
        Kind.SITE_POOR: "poor audio {direction} the site",
        Kind.SITE_LOSS: "packets lost {direction} the site",
        Kind.SITE_JITTER: "high jitter {direction} the site",
    }
)
"""What an alert of a site's own quality says of it; of those of equal severity the first named comes first."""
STATES: Final[Mapping[str, str]] = MappingProxyType({"critical": "bad", "warning": "degraded"})
"""What an alert makes of its site, by its severity; others change nothing."""
CAPTURE: Final = "capture"
_WORST: Final = (CAPTURE, *STATES.values())


class SiteAlert(NamedTuple):
    """The worst alert of a site that holds, also while nothing newer can be measured."""

    rule: str
    severity: str
    """critical or warning."""
    state: str
    """What it makes of the site: bad, degraded, or capture (what is measured of it is in doubt)."""
    said: str
    """What was measured of how many, in which time."""
    since: datetime
    """When it began."""
    fingerprint: str
    """Hash of its labels."""
    muted: str
    """Why it is not told, in words; empty where it is."""


def worst_of_sites(alerts: Iterable[tuple[Alert, str]]) -> dict[str, SiteAlert]:
    """Return the worst alert that holds of each site; beside each alert stands why it is not told, or nothing.

    Alerts of pairs speak of a way and not of a site. One that somebody silenced stands behind all that are told. Where
    the capture is unhealthy, that stands before all that it measured.
    """
    found: dict[str, list[tuple[tuple[object, ...], SiteAlert]]] = {}
    for alert, muted in alerts:
        if alert.state.fired_at is None:
            continue
        site = dict(alert.sample.labels).get("site")
        if alert.rule.kind is Kind.CAPTURE:
            for covered in alert.sample.covers:
                found.setdefault(covered, []).append(_ranked(alert, CAPTURE, _doubt(alert), muted))
        elif site is not None and alert.rule.kind in PHRASES and alert.rule.severity in STATES:
            made = _ranked(alert, STATES[alert.rule.severity], _said(alert), muted)
            found.setdefault(site, []).append(made)
    return {site: min(of, key=lambda pair: pair[0])[1] for site, of in sorted(found.items())}


def _ranked(alert: Alert, state: str, said: str, muted: str) -> tuple[tuple[object, ...], SiteAlert]:
    began = alert.state.fired_at or alert.state.since
    since = datetime.fromtimestamp(began // NS, UTC)
    kind = alert.rule.kind
    order = list(PHRASES).index(kind) if kind in PHRASES else 0
    # A capture in doubt is so whoever was told of it.
    rank = (bool(muted) and state != CAPTURE, _WORST.index(state), order, began, alert.fingerprint)
    return rank, SiteAlert(alert.rule.name, alert.rule.severity, state, said, since, alert.fingerprint, muted)


def _said(alert: Alert) -> str:
    rule, sample = alert.rule, alert.sample
    phrase = PHRASES[rule.kind].replace("{direction}", dict(sample.labels).get("direction", "at"))
    said = f"{phrase}: {measured(rule, sample)} in {length(rule.window_s)}"
    if alert.state.phase in (Phase.NO_DATA, Phase.ERROR):
        said += "; nothing measured since says that it is over"
    return said


def _doubt(alert: Alert) -> str:
    named = dict(alert.sample.labels).get("collector", "its collector")
    said = f"{measured(alert.rule, alert.sample)} in {length(alert.rule.window_s)}"
    return f"the capture by {named} is unhealthy, quality is not judged: {said}"
