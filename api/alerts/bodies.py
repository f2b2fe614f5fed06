"""What is sent: Alertmanager's body of version 4 with measured values, the shapes of Slack and Teams, signatures."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from analytics.alerts.facts import NS, Alert, Labels
from analytics.alerts.grouping import episode
from analytics.alerts.wording import described, link, local_stamp, measured_value, summary

MOST_OCTETS: Final = 20_000
"""Longest body (Standard Webhooks 1.0 asks for less than 20 kB); alerts beyond it are counted and left out."""
ENDLESS: Final = "0001-01-01T00:00:00Z"
"""`endsAt` of an alert that holds: the zero time of Go, as Alertmanager writes it."""


class Group(NamedTuple):
    """What one notification tells."""

    labels: Labels
    alerts: tuple[Alert, ...]
    receiver: str
    external_url: str
    zone: str = "UTC"
    """Times in sentences are by its clock."""


def body(shape: str, group: Group) -> bytes:
    """Return the body of a notification, at most `MOST_OCTETS` long."""
    for kept in _fewer(len(group.alerts)):
        made = _SHAPES[shape](group._replace(alerts=group.alerts[:kept]), len(group.alerts) - kept)
        octets = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
        if len(octets) <= MOST_OCTETS:
            return octets
    raise ValueError("a notification without any alert does not fit")


def _fewer(count: int) -> list[int]:
    found = [count]
    while found[-1]:
        found.append(found[-1] // 2)
    return found


def alertmanager(group: Group, left_out: int) -> dict[str, Any]:
    """Return Alertmanager's body."""
    alerts = [_alert(alert, group) for alert in group.alerts]
    return {
        "version": "4",
        "groupKey": group_key(group),
        "truncatedAlerts": left_out,
        "status": _status(group),
        "receiver": group.receiver,
        "groupLabels": dict(group.labels),
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": group.external_url,
        "alerts": alerts,
    }


def group_key(group: Group) -> str:
    """Return what names the group: the same at each notification."""
    inner = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in group.labels)
    return f"{group.receiver}:{{{inner}}}"


def _status(group: Group) -> str:
    return "firing" if any(alert.resolved_at is None for alert in group.alerts) else "resolved"


def _alert(alert: Alert, group: Group) -> dict[str, Any]:
    evidence = link(alert.rule, alert.sample, group.external_url)
    return {
        "status": "firing" if alert.resolved_at is None else "resolved",
        "labels": dict(alert.labels),
        "annotations": {
            "summary": summary(alert.rule, alert.sample),
            "description": described(alert, group.zone),
            "link": evidence,
        },
        "startsAt": when(alert.state.fired_at or alert.state.since),
        "endsAt": ENDLESS if alert.resolved_at is None else when(alert.resolved_at),
        "generatorURL": evidence,
        "fingerprint": alert.fingerprint,
        "values": _values(alert),
        "episode": episode(alert),
    }


def _values(alert: Alert) -> dict[str, float | str | None]:
    sample = alert.sample
    return {
        "numerator": sample.numerator,
        "denominator": sample.denominator,
        "counted": alert.rule.counted,
        "value": measured_value(alert.sample),
        "unit": alert.rule.unit or "share",
        "window_s": alert.rule.window_s,
        "from": when(sample.since),
        "to": when(sample.until),
        "raise_at": alert.rule.raise_at,
        "clear_at": alert.rule.clear_at,
        **dict(sample.values),
    }


def _common(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not tables:
        return {}
    first, *others = tables
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}


def when(at: int) -> str:
    """Return a time [ns] as RFC 3339 with milliseconds."""
    return datetime.fromtimestamp(at / NS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _title(group: Group) -> str:
    firing = sum(alert.resolved_at is None for alert in group.alerts)
    first = next((alert for alert in group.alerts if alert.resolved_at is None), None) or next(iter(group.alerts), None)
    text = summary(first.rule, first.sample) if first is not None else "Alerts"
    return f"[FIRING {firing}] {text}" if firing else f"[RESOLVED] {text}"


def _lines(group: Group) -> list[tuple[str, str]]:
    found = []
    for alert in group.alerts:
        state = "firing since" if alert.resolved_at is None else "resolved at"
        at = alert.state.fired_at if alert.resolved_at is None else alert.resolved_at
        began = local_stamp(at or alert.state.since, group.zone)
        text = f"{summary(alert.rule, alert.sample)}: {state} {began}. {described(alert, group.zone)}"
        found.append((text, link(alert.rule, alert.sample, group.external_url)))
    return found


def slack(group: Group, left_out: int) -> dict[str, Any]:
    """Return what Slack's incoming webhooks take."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _title(group)[:150]}},
    ]
    for text, address in _lines(group)[:45]:
        shown = _escaped(text)[:2_800]
        if group.external_url:
            shown = f"{shown} <{address}|evidence>"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": shown}})
    left_out += max(0, len(group.alerts) - 45)
    if left_out:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"and {left_out} more"}]})
    return {"text": _escaped(_title(group)), "blocks": blocks}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def teams(group: Group, left_out: int) -> dict[str, Any]:
    """Return an Adaptive Card as Teams' workflows take it."""
    parts: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": _title(group), "weight": "Bolder", "size": "Medium", "wrap": True,
         "color": "Attention" if _status(group) == "firing" else "Good"},
    ]  # fmt: skip
    parts += [{"type": "TextBlock", "text": text, "wrap": True} for text, _ in _lines(group)]
    if left_out:
        parts.append({"type": "TextBlock", "text": f"and {left_out} more", "isSubtle": True})
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": parts,
    }
    lines = _lines(group)
    if lines and group.external_url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Evidence", "url": lines[0][1]}]
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


_SHAPES: Final = {"alertmanager": alertmanager, "slack": slack, "teams": teams}


def headers(key: str, now: int, octets: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of Standard Webhooks 1.0; several secrets give several signatures."""
    timestamp = str(now // NS)
    signed = f"{key}.{timestamp}.".encode() + octets
    signatures = [f"v1,{base64.b64encode(_mac(secret, signed)).decode()}" for secret in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": key,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


def _mac(secret: str, signed: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise ValueError("the secret is no base64") from error
    return hmac.new(key, signed, hashlib.sha256).digest()
