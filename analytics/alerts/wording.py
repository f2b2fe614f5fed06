"""What is said of an alert: numerator, denominator, window, and a link with absolute times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from analytics.alerts.facts import NS, Alert, Comparison, Kind, Rule, Sample

PAGES: Final = {
    Kind.SITE_POOR: "streams?q={direction}_site:{site} quality:poor",
    Kind.PAIR_POOR: "streams?q=from_site:{from_site} to_site:{to_site} quality:poor",
    Kind.SITE_LOSS: "streams?q={direction}_site:{site} lost>0",
    Kind.SITE_JITTER: "streams?q={direction}_site:{site}",
    Kind.ONE_WAY: "calls?q=site:{site} streams:1",
    Kind.SETUP_FAILURES: "calls?q=from_site:{site} state:failed",
    Kind.TRUNK_FAILURES: "calls?q=to:{gateway} state:failed,unanswered",
    Kind.NO_TRAFFIC: "site/{site}",
    Kind.FEED_SILENT: "data-path",
    Kind.CAPTURE: "data-path",
    Kind.COST: "savings",
    Kind.SAVINGS: "savings",
    Kind.EVALUATION: "alerts",
    Kind.DELIVERY: "alerts",
}
"""Page of the dashboards that shows the evidence, and the words that choose it."""


def number(value: float) -> str:
    """Return a number with as many digits as people need."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


def length(seconds: float) -> str:
    """Return a length of time in its largest whole unit."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds == size == 86_400:
            return "1 day"
        if seconds >= size and not seconds % size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds)} s"


def measured(rule: Rule, sample: Sample) -> str:
    """Say what was measured: always of how many."""
    numerator, denominator = sample.numerator or 0.0, sample.denominator or 0.0
    if rule.test is Comparison.SHARE:
        counted = f"{rule.counted} {sample.note}".rstrip()
        return f"{number(numerator)} of {number(denominator)} {counted} ({number(100 * numerator / denominator)} %)"
    unit = f" {rule.unit}" if rule.unit else ""
    note = f"; {sample.note}" if sample.note else ""
    value = numerator if sample.value is None else sample.value
    if rule.unit == "%":
        return f"{number(value)} % ({number(numerator)} of {number(denominator)} {rule.counted}){note}"
    return f"{number(value)}{unit} over {number(denominator)} {rule.counted}{note}"


def measured_value(sample: Sample) -> float | None:
    """Return what was held against the levels: the value, else the share; None where nothing was measured."""
    if sample.value is not None or sample.numerator is None or not sample.denominator:
        return sample.value
    return round(sample.numerator / sample.denominator, 4)


def stamp(at: int) -> str:
    """Return a time [ns] as RFC 3339 has it, whole seconds."""
    return datetime.fromtimestamp(at // NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_stamp(at: int, zone: str) -> str:
    """Return a time [ns] by the clock of a zone, as people read it."""
    if zone == "UTC":
        return stamp(at)
    return f"{datetime.fromtimestamp(at // NS, UTC).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z}"


def summary(rule: Rule, sample: Sample) -> str:
    """Return the rule's line with the labels put in."""
    text = rule.summary
    for name, value in sample.labels:
        text = text.replace(f"{{{name}}}", value)
    return text


def described(alert: Alert, zone: str = "UTC") -> str:
    """Return what people read of an alert, its times by the clock of a zone."""
    since, until = (local_stamp(at, zone) for at in (alert.sample.since, alert.sample.until))
    return f"{alert.reason}. Measured from {since} to {until}."


def link(rule: Rule, sample: Sample, base: str = "") -> str:
    """Return the address of the evidence; its times are absolute, so that it shows the same tomorrow."""
    page, _, words = PAGES[rule.kind].partition("?q=")
    for name, value in sample.labels:
        page = page.replace(f"{{{name}}}", quote(value, safe=""))
        words = words.replace(f"{{{name}}}", f'"{value}"' if " " in value else value)
    asked = ([("q", words)] if words else []) + [("since", stamp(sample.since)), ("until", stamp(sample.until))]
    return f"{base.rstrip('/')}/{page}?{urlencode(asked)}"
