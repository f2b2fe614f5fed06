"""When a group of alerts is told: at first after a short wait, then on changes, then again every so often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from analytics.alerts.facts import NS, Alert, Labels

GROUP_BY: Final = ("alertname", "site")


@dataclass(frozen=True, slots=True)
class Timing:
    """How groups wait."""

    group_wait_s: float = 5.0
    """How long a new group waits for more alerts before it is told [s]."""
    group_interval_s: float = 300.0
    """Least time between two notifications of a group [s]."""
    repeat_interval_s: float = 14_400.0
    """How often an alert that holds is told again [s]."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a group that waits or was told."""

    first_at: int
    """When its first alert came [ns since 1970]."""
    at: int | None = None
    """When it was told last; None: not yet."""
    firing: frozenset[str] = frozenset()
    """Alerts told as firing, and not yet as resolved: `fingerprint@begin`."""


class Decision(NamedTuple):
    """What to do with a group now."""

    reason: str
    """Why it is told: first, more, resolved, repeat; empty: it is not."""
    told: Told | None
    """What is known then; None: the group is forgotten."""
    resolved: frozenset[str] = frozenset()
    """Those to be told as resolved."""


def group_labels(alert: Alert, by: Sequence[str] = GROUP_BY) -> Labels:
    """Return the labels that an alert is grouped by; a pair of sites goes by both its ends."""
    names = {name for label in by for name in ((label, "from_site", "to_site") if label == "site" else (label,))}
    return tuple(pair for pair in alert.labels if pair[0] in names)


def grouped(alerts: Iterable[Alert], by: Sequence[str] = GROUP_BY) -> Mapping[Labels, list[Alert]]:
    """Return alerts by their group."""
    found: dict[Labels, list[Alert]] = {}
    for alert in alerts:
        found.setdefault(group_labels(alert, by), []).append(alert)
    return found


def episode(alert: Alert) -> str:
    """Return the name of one occurrence of an alert: the same labels may fire again later."""
    return f"{alert.fingerprint}@{alert.state.fired_at}"


def decide(
    now: int,
    told: Told | None,
    firing: frozenset[str],
    active: frozenset[str],
    timing: Timing,
    acknowledged: frozenset[str] = frozenset(),
) -> Decision:
    """Decide of one group of one receiver.

    `firing` are the occurrences that may be told, `active` all that hold, muted ones too: what was told as firing and
    holds no more is told as resolved, even amid a silence. What ends before it was told is never told.
    """
    if told is None:
        if not firing:
            return Decision("", None)
        told = Told(now)
    ended = told.firing - active
    if told.at is None:
        if not firing:
            return Decision("", None)
        if now - told.first_at < timing.group_wait_s * NS:
            return Decision("", told)
        return Decision("first", Told(told.first_at, now, firing))
    if now - told.at < timing.group_interval_s * NS:
        return Decision("", told)
    remaining = (told.firing - ended) | firing
    if firing - told.firing:
        return Decision("more", Told(told.first_at, now, remaining), ended)
    if ended:
        return Decision("resolved", Told(told.first_at, now, remaining) if remaining else None, ended)
    if firing - acknowledged and now - told.at >= timing.repeat_interval_s * NS:
        return Decision("repeat", Told(told.first_at, now, remaining))
    return Decision("", told if told.firing else None)
