"""Alerts as JSON in the book, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from analytics.alerts.facts import Alert, Comparison, Kind, Labels, Matcher, Phase, Rule, Sample, State


def labels_text(labels: Labels) -> str:
    """Return labels as one text, the same for the same labels."""
    return json.dumps(dict(labels), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def text_labels(text: str) -> Labels:
    """Return labels from their text."""
    return tuple(sorted(json.loads(text).items()))


def matcher_text(matcher: Matcher) -> str:
    """Return a matcher as text."""
    return json.dumps({name: list(values) for name, values in matcher.labels}, sort_keys=True, ensure_ascii=False)


def text_matcher(text: str) -> Matcher:
    """Return a matcher from its text."""
    return Matcher(tuple(sorted((name, tuple(values)) for name, values in json.loads(text).items())))


def sample_text(sample: Sample) -> str:
    """Return a sample as text."""
    return json.dumps(asdict(sample), ensure_ascii=False)


def text_sample(text: str) -> Sample:
    """Return a sample from its text."""
    return _sample(json.loads(text))


def alert_text(alert: Alert) -> str:
    """Return an alert as text."""
    return json.dumps(asdict(alert), ensure_ascii=False)


def text_alert(text: str) -> Alert:
    """Return an alert from its text."""
    stated = json.loads(text)
    return Alert(
        _rule(stated["rule"]),
        _sample(stated["sample"]),
        _state(stated["state"]),
        stated["reason"],
        stated["resolved_at"],
    )


def _rule(stated: Mapping[str, Any]) -> Rule:
    only = tuple((name, tuple(values)) for name, values in stated["only"])
    return Rule(**{**stated, "kind": Kind(stated["kind"]), "test": Comparison(stated["test"]), "only": only})


def _sample(stated: Mapping[str, Any]) -> Sample:
    return Sample(
        **{
            **stated,
            "labels": tuple((name, value) for name, value in stated["labels"]),
            "values": tuple((name, value) for name, value in stated["values"]),
            "covers": tuple(stated["covers"]),
        }
    )


def _state(stated: Mapping[str, Any]) -> State:
    return State(**{**stated, "phase": Phase(stated["phase"])})
