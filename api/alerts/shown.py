"""Alerts, rules, silences and deliveries as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from analytics.alerts.facts import Alert, Change, Comparison, Rule
from analytics.alerts.muting import Acknowledgement, Silence
from analytics.alerts.wording import described, length, link, local_stamp, measured_value, number, stamp, summary
from api.alerts.bodies import when
from api.alerts.keeping import Kept
from api.alerts.outbox import TEST, Attempt, Backlog, Endpoint, Message


def alert_json(alert: Alert, kept: Kept, base: str = "", seen: Acknowledgement | None = None) -> dict[str, Any]:
    """Return an alert for programs."""
    sample, rule = alert.sample, alert.rule
    acknowledged = seen is not None and seen.fired_at == alert.state.fired_at
    return {
        "fingerprint": alert.fingerprint,
        "rule": rule.name,
        "severity": rule.severity,
        "labels": dict(sample.labels),
        "state": alert.state.phase.value,
        "active": alert.state.active,
        "since": when(alert.state.since),
        "fired_at": None if alert.state.fired_at is None else when(alert.state.fired_at),
        "summary": summary(rule, sample),
        "description": described(alert),
        "numerator": sample.numerator,
        "denominator": sample.denominator,
        "counted": rule.counted,
        "value": measured_value(sample),
        "unit": rule.unit or "share",
        "values": dict(sample.values),
        "window": {"from": when(sample.since), "to": when(sample.until), "seconds": rule.window_s},
        "link": link(rule, sample, base),
        "muted": kept.muted,
        "acknowledged_by": seen.author if acknowledged and seen is not None else None,
    }


def alert_lines(alert: Alert, kept: Kept, base: str = "", zone: str = "UTC") -> list[str]:
    """Return an alert for people, its times by the clock of a zone."""
    since = local_stamp(alert.state.fired_at or alert.state.since, zone)
    lines = [
        f"{alert.fingerprint}  {alert.rule.severity.upper()}  {alert.state.phase.value} since {since}",
        f"  {summary(alert.rule, alert.sample)}",
        f"  {described(alert, zone)}",
        f"  {link(alert.rule, alert.sample, base)}",
    ]
    return [*lines, f"  not told: {kept.muted}"] if kept.muted else lines


def rule_json(rule: Rule) -> dict[str, Any]:
    """Return a rule for programs."""
    return {
        "name": rule.name,
        "kind": rule.kind.value,
        "summary": rule.summary,
        "test": rule.test.value,
        "raise_at": rule.raise_at,
        "clear_at": rule.clear_at,
        "unit": rule.unit or "share",
        "counted": rule.counted,
        "minimum": rule.minimum,
        "window_s": rule.window_s,
        "longest_s": rule.longest_s,
        "for_s": rule.for_s,
        "keep_firing_s": rule.keep_firing_s,
        "every_s": rule.every_s,
        "severity": rule.severity,
        "inhibited_by_capture": rule.of_capture,
        "only": {name: list(values) for name, values in rule.only},
        "enabled": rule.enabled,
    }


def rule_lines(rules: Iterable[Rule]) -> list[str]:
    """Return rules as a table."""
    heads = ("rule", "raises", "clears", "of at least", "window", "for", "keeps", "severity")
    rows = [heads, *(rule_cells(rule) for rule in rules)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def rule_cells(rule: Rule) -> tuple[str, ...]:
    """Return what is shown of a rule."""
    if rule.test is Comparison.SHARE:
        levels = (
            f"lower bound over {number(100 * rule.raise_at)} %",
            f"upper bound under {number(100 * rule.clear_at)} %",
        )
    else:
        over, under = ("over", "under") if rule.test is Comparison.ABOVE else ("under", "over")
        levels = f"{over} {number(rule.raise_at)} {rule.unit}", f"{under} {number(rule.clear_at)} {rule.unit}"
    return (
        rule.name,
        *levels,
        f"{number(rule.minimum)} {rule.counted}",
        length(rule.window_s),
        length(rule.for_s),
        length(rule.keep_firing_s),
        rule.severity if rule.enabled else "off",
    )


def change_json(change: Change) -> dict[str, Any]:
    """Return a change of state for programs."""
    return {
        "at": when(change.at),
        "rule": change.rule,
        "fingerprint": change.fingerprint,
        "labels": dict(change.labels),
        "before": change.before.value,
        "state": change.state.phase.value,
        "active": change.state.active,
        "numerator": change.numerator,
        "denominator": change.denominator,
        "reason": change.reason,
    }


def change_line(change: Change) -> str:
    """Return a change of state as a line."""
    labels = ", ".join(f"{name} {value}" for name, value in change.labels)
    state = change.state.phase.value
    return f"{stamp(change.at)}  {change.rule}  {labels}  {change.before.value} -> {state}: {change.reason}"


def silence_json(one: Silence) -> dict[str, Any]:
    """Return a silence for programs."""
    return {
        "key": one.key,
        "labels": {name: list(values) for name, values in one.matcher.labels},
        "from": when(one.since),
        "until": when(one.until),
        "author": one.author,
        "comment": one.comment,
    }


def silence_line(one: Silence) -> str:
    """Return a silence as a line."""
    labels = " ".join(f"{name}={value}" for name, values in one.matcher.labels for value in values)
    comment = f": {one.comment}" if one.comment else ""
    return f"{one.key}  {labels}  {stamp(one.since)} to {stamp(one.until)}  by {one.author}{comment}"


def endpoint_json(one: Endpoint, waits: Backlog) -> dict[str, Any]:
    """Return an endpoint for programs, without its secret."""
    return {
        "name": one.name,
        "url": one.shown_url,
        "shape": one.shape,
        "labels": {name: list(values) for name, values in one.matcher.labels},
        "made": when(one.made),
        "disabled": one.disabled_at is not None,
        "disabled_why": one.disabled_why,
        "waiting": waits.waiting,
        "failed_attempts": waits.tried,
    }


def message_json(one: Message, tried: Sequence[Attempt]) -> dict[str, Any]:
    """Return a message with its attempts for programs."""
    return {
        "id": one.id,
        "endpoint": one.endpoint,
        "group": _group(one),
        "event": one.event,
        "state": one.state,
        "made": when(one.made),
        "next_attempt": when(one.next_at) if one.state == "waiting" else None,
        "attempts": [
            {"at": when(each.at), "took_ms": each.took_ms, "status": each.status, "outcome": each.outcome,
             "note": each.note}
            for each in tried
        ],
    }  # fmt: skip


def _group(one: Message) -> dict[str, str]:
    """Labels of its group; what keeps tests apart is nobody's label."""
    return {name: value for name, value in one.labels if one.event != TEST or name != TEST}


def message_lines(one: Message, tried: Sequence[Attempt]) -> list[str]:
    """Return a message with its attempts for people."""
    group = ", ".join(f"{name} {value}" for name, value in _group(one).items()) or "test"
    ahead = f", next attempt {stamp(one.next_at)}" if one.state == "waiting" else ""
    lines = [f"{one.id}  {one.endpoint}  {stamp(one.made)}  {one.event}  {group}  {one.state}{ahead}"]
    for each in tried:
        status = "no answer" if each.status is None else f"status {each.status}"
        note = f": {each.note}" if each.note else ""
        lines.append(f"  {stamp(each.at)}  {each.outcome}, {status}, {each.took_ms} ms{note}")
    return lines
