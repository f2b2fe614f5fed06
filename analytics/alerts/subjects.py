"""What an alert is about, and whether that is still there: of what is gone no alert is left standing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from analytics.alerts.facts import PAIR, Kind, Labels, Matcher, Rule, Sample
from analytics.alerts.sampling import Span

LISTED: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.DELIVERY: "the endpoint was removed",
        Kind.EVALUATION: "the rule is not asked any more",
        Kind.CAPTURE: "the collector is not known any more",
        Kind.FEED_SILENT: "nothing is known of the feed any more",
        Kind.TRUNK_FAILURES: "nobody calls through it any more",
    }
)
"""Kinds whose samples name all that there is: what is missing among them is not there any more."""
HEARD: Final = frozenset(
    {Kind.SITE_POOR, Kind.PAIR_POOR, Kind.SITE_LOSS, Kind.SITE_JITTER, Kind.ONE_WAY, Kind.SETUP_FAILURES}
)
"""Kinds that rest on what is heard of a site, whatever the estate says of it."""


def sampled(
    rule: Rule,
    samples: Iterable[Sample],
    known: Iterable[Labels],
    sites: Collection[str] | None,
    span: Span,
    covers: Mapping[Labels, tuple[str, ...]] = MappingProxyType({}),
    problem: str = "",
) -> dict[Labels, Sample]:
    """Return samples by label: those measured, and of each that was `known` before and was not, that it was not.

    `sites` are those that the estate names, None where there is no estate. A site that it does not name, and that was
    not heard within the window, is gone.
    """
    known = frozenset(known)
    found = {one.labels: one for one in samples}
    for labels in known - set(found):
        gone = "" if problem else _why_gone(rule, labels)
        covered = covers.get(labels, ())
        found[labels] = Sample(labels, span.since, span.until, None, None, problem=problem, covers=covered, gone=gone)
    if problem or sites is None:
        return found
    kept = {}
    for labels, one in found.items():
        site = next((value for name, value in labels if name in ("site", *PAIR) and value not in sites), None)
        if site is None or _heard(rule, one, span):
            kept[labels] = one
        elif labels in known:
            kept[labels] = replace(one, numerator=None, gone=one.gone or f"the estate does not name {site} any more")
    return kept


def _why_gone(rule: Rule, labels: Labels) -> str:
    if not Matcher(rule.only).fits(dict(labels)):
        return "the rule is not asked of it any more"
    return LISTED.get(rule.kind, "")


def _heard(rule: Rule, sample: Sample, span: Span) -> bool:
    return rule.kind in HEARD and sample.numerator is not None and sample.since >= span.since
