"""Rules as data: the defaults, and what a file changes of them or adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from analytics.alerts.facts import Comparison, Kind, Rule
from analytics.proportion import wilson

SEVERITIES: Final = ("critical", "warning", "info")
DEFAULTS: Final = (
    Rule(
        "site_degraded",
        Kind.SITE_POOR,
        "Calls are poor at {site} (audio {direction} the site)",
        Comparison.SHARE,
        raise_at=0.20,
        clear_at=0.17,
        counted="calls",
        longest_s=86_400,
        severity="critical",
        of_capture=True,
    ),
    Rule(
        "site_pair_degraded",
        Kind.PAIR_POOR,
        "Calls are poor from {from_site} to {to_site}",
        Comparison.SHARE,
        raise_at=0.25,
        clear_at=0.17,
        counted="calls",
        longest_s=86_400,
        of_capture=True,
    ),
    Rule(
        "packet_loss",
        Kind.SITE_LOSS,
        "Packets are lost at {site} (audio {direction} the site)",
        Comparison.ABOVE,
        raise_at=2.0,
        clear_at=1.0,
        unit="%",
        counted="packets",
        window_s=300,
        minimum=10_000,
        for_s=30,
        of_capture=True,
    ),
    Rule(
        "jitter",
        Kind.SITE_JITTER,
        "Jitter is high at {site} (audio {direction} the site)",
        Comparison.ABOVE,
        raise_at=30.0,
        clear_at=20.0,
        unit="ms",
        counted="stream intervals",
        window_s=300,
        minimum=30,
        for_s=30,
        of_capture=True,
    ),
    Rule(
        "one_way_audio",
        Kind.ONE_WAY,
        "Calls of {site} have audio in one direction only",
        Comparison.SHARE,
        raise_at=0.10,
        clear_at=0.10,
        counted="answered calls",
        window_s=3600,
        minimum=40,
        severity="critical",
        of_capture=True,
    ),
    Rule(
        "setup_failures",
        Kind.SETUP_FAILURES,
        "Calls from {site} fail to set up",
        Comparison.SHARE,
        raise_at=0.20,
        clear_at=0.17,
        counted="ended calls",
        severity="critical",
        of_capture=True,
    ),
    Rule(
        "trunk_failures",
        Kind.TRUNK_FAILURES,
        "Calls through {gateway} fail to set up",
        Comparison.SHARE,
        raise_at=0.25,
        clear_at=0.25,
        counted="numbers called",
        window_s=300,
        minimum=12,
        longest_s=3 * 86_400,
        every_s=15,
        severity="critical",
    ),
    Rule(
        "no_traffic",
        Kind.NO_TRAFFIC,
        "No calls at {site} where there always are some",
        Comparison.BELOW,
        raise_at=5.0,
        clear_at=20.0,
        unit="%",
        counted="calls usual at this weekday and hour",
        window_s=3600,
        minimum=10,
        for_s=300,
        every_s=60,
        severity="critical",
        of_capture=True,
    ),
    Rule(
        "cdr_feed_silent",
        Kind.FEED_SILENT,
        "Call records of {feed} have stopped coming",
        Comparison.ABOVE,
        raise_at=99.0,
        clear_at=50.0,
        unit="% sure that its silence is not usual",
        counted="weeks before",
        window_s=56 * 86_400,
        minimum=3,
        keep_firing_s=0,
        every_s=300,
    ),
    Rule(
        "capture_unhealthy",
        Kind.CAPTURE,
        "The capture by {collector} is unhealthy: what it measures is in doubt",
        Comparison.ABOVE,
        raise_at=1.0,
        clear_at=0.2,
        unit="%",
        counted="packets and messages",
        window_s=300,
        minimum=1,
        for_s=10,
    ),
    Rule(
        "cost_out_of_line",
        Kind.COST,
        "Cost is out of line at {site}: {measure}",
        Comparison.ABOVE,
        raise_at=0.5,
        clear_at=0.5,
        unit="outliers",
        counted="parts of two days",
        window_s=2 * 86_400,
        minimum=1,
        keep_firing_s=0,
        every_s=900,
    ),
    Rule(
        "savings_claim_lost",
        Kind.SAVINGS,
        "The savings claim was established and is not any more",
        Comparison.BELOW,
        raise_at=0.5,
        clear_at=0.5,
        unit="claims established",
        counted="months",
        window_s=365 * 86_400,
        minimum=1,
        keep_firing_s=0,
        every_s=300,
    ),
    Rule(
        "evaluation_failed",
        Kind.EVALUATION,
        "The rule {rule} cannot be evaluated",
        Comparison.ABOVE,
        raise_at=0.5,
        clear_at=0.5,
        unit="failed",
        counted="evaluations",
        window_s=300,
        minimum=1,
        for_s=300,
        keep_firing_s=0,
    ),
    Rule(
        "webhook_failing",
        Kind.DELIVERY,
        "Alerts do not reach the endpoint {endpoint}",
        Comparison.ABOVE,
        raise_at=0.5,
        clear_at=0.5,
        unit="disabled or overdue",
        counted="endpoints",
        window_s=900,
        minimum=1,
        keep_firing_s=0,
        severity="critical",
    ),
)
"""What is watched unless a file says otherwise."""
SETTABLE: Final = frozenset(
    {"raise_at", "clear_at", "window_s", "longest_s", "minimum", "for_s", "keep_firing_s", "every_s", "severity",
     "summary", "only", "enabled"}
)  # fmt: skip
"""What a file may say of a rule."""


class RuleError(ValueError):
    """A rule cannot be used; the message names it."""


def rules_of(stated: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Return the rules with what a file's table `rules` changes or adds (`like` names a default); RuleError."""
    found = {rule.name: rule for rule in DEFAULTS}
    for name, changes in stated.items():
        if not isinstance(changes, Mapping):
            raise RuleError(f"rule {name}: it must be a table")
        like = changes.get("like", name)
        base = next((rule for rule in DEFAULTS if rule.name == like), None)
        if base is None:
            raise RuleError(f"rule {name}: there is no rule {like!r}; `like` names one of the defaults")
        if not name.replace("_", "").isalnum():
            raise RuleError(f"rule {name}: a name is made of letters, digits and _")
        found[name] = _changed(name, base, changes)
    for rule in found.values():
        check(rule)
    return tuple(found.values())


def _changed(name: str, base: Rule, changes: Mapping[str, Any]) -> Rule:
    unknown = sorted(set(changes) - SETTABLE - {"like"})
    if unknown:
        raise RuleError(f"rule {name}: there is no setting {unknown[0]}")
    values: dict[str, Any] = {"name": name}
    for key in sorted(SETTABLE & set(changes)):
        value = changes[key]
        if key == "only":
            values[key] = labels_of(value, f"rule {name}: only")
            continue
        default = getattr(base, key)
        kind = float if isinstance(default, int | float) and not isinstance(default, bool) else type(default)
        if isinstance(value, bool) is not (kind is bool) or not isinstance(
            value, int | float if kind is float else kind
        ):
            raise RuleError(f"rule {name}: {key} must be {_KINDS[kind]}")
        values[key] = kind(value)
    return replace(base, **values)


_KINDS: Final[Mapping[type, str]] = {float: "a number", bool: "true or false", str: "a text"}


def labels_of(stated: Any, where: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return labels with the values they may have, from a table of texts or lists of texts; RuleError."""
    if not isinstance(stated, Mapping):
        raise RuleError(f"{where} must name labels with their values")
    found = []
    for name, given in stated.items():
        values = [given] if isinstance(given, str) else given
        if not isinstance(values, list) or not values or any(not isinstance(one, str) for one in values):
            raise RuleError(f"{where}: {name} must be a text or a list of texts")
        found.append((str(name), tuple(values)))
    return tuple(sorted(found))


def check(rule: Rule) -> None:
    """Refuse a rule that could never clear, would flap or asks nothing; RuleError."""
    if rule.severity not in SEVERITIES:
        raise RuleError(f"rule {rule.name}: severity must be one of {', '.join(SEVERITIES)}")
    if not (1 <= rule.window_s <= 366 * 86_400 and 1 <= rule.every_s <= 86_400):
        raise RuleError(f"rule {rule.name}: window_s lies within 1 s and 366 days, every_s within 1 s and a day")
    if rule.longest_s and not rule.window_s <= rule.longest_s <= 7 * 86_400:
        raise RuleError(f"rule {rule.name}: longest_s is 0, or lies within window_s and 7 days")
    if rule.for_s < 0 or rule.keep_firing_s < 0 or rule.minimum < 0:
        raise RuleError(f"rule {rule.name}: for_s, keep_firing_s and minimum must not be negative")
    if rule.test is Comparison.SHARE:
        _check_share(rule)
    elif rule.test is Comparison.ABOVE and rule.clear_at > rule.raise_at:
        raise RuleError(f"rule {rule.name}: clear_at must not be over raise_at")
    elif rule.test is Comparison.BELOW and rule.clear_at < rule.raise_at:
        raise RuleError(f"rule {rule.name}: clear_at must not be under raise_at")


def _check_share(rule: Rule) -> None:
    if not 0 < rule.raise_at < 1 or not 0 < rule.clear_at <= 1 or rule.minimum < 1:
        raise RuleError(f"rule {rule.name}: levels are shares between 0 and 1, and minimum is at least 1")
    if rule.clear_at > rule.raise_at:
        raise RuleError(f"rule {rule.name}: clear_at must not be over raise_at: both could hold at once")
    best = wilson(0, rule.minimum).high
    if best >= rule.clear_at:
        raise RuleError(
            f"rule {rule.name}: with {rule.minimum:g} {rule.counted}, none of them bad, the upper bound is {best:.3f}: "
            "it would never clear; raise clear_at or minimum"
        )


def enabled(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return the rules that are asked."""
    return tuple(rule for rule in rules if rule.enabled)
