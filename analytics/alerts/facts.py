"""What alerts are made of: rules, samples, states, changes. Times are nanoseconds since 1970, UTC."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

NS: Final = 1_000_000_000
Labels = tuple[tuple[str, str], ...]
"""Names and values, ordered by name: they say which alert it is."""


class Kind(StrEnum):
    """What a rule asks."""

    SITE_POOR = "site_poor"
    PAIR_POOR = "pair_poor"
    SITE_LOSS = "site_loss"
    SITE_JITTER = "site_jitter"
    ONE_WAY = "one_way"
    SETUP_FAILURES = "setup_failures"
    TRUNK_FAILURES = "trunk_failures"
    NO_TRAFFIC = "no_traffic"
    FEED_SILENT = "feed_silent"
    CAPTURE = "capture"
    COST = "cost"
    SAVINGS = "savings"
    EVALUATION = "evaluation"
    DELIVERY = "delivery"


class Comparison(StrEnum):
    """How a sample is held against the levels."""

    SHARE = "share"
    """Share of numerator in denominator: Wilson's lower bound over the raise level, upper bound under the clear one."""
    ABOVE = "above"
    """The value over the raise level; under the clear one."""
    BELOW = "below"
    """The value under the raise level; over the clear one."""


class Phase(StrEnum):
    """State of an alert."""

    NORMAL = "normal"
    PENDING = "pending"
    """Over the raise level, but not for long enough yet."""
    FIRING = "firing"
    RECOVERING = "recovering"
    """Under the clear level, but not for long enough yet; the alert still holds."""
    NO_DATA = "no_data"
    """Too little was measured to say anything: what held before still holds."""
    ERROR = "error"
    """It could not be measured: what held before still holds."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is watched, and from when it is told."""

    name: str
    kind: Kind
    summary: str
    """One line for people; `{label}` stands for a label's value."""
    test: Comparison
    raise_at: float
    """Level that raises, in the unit of the sample's value."""
    clear_at: float
    """Level that clears."""
    unit: str = ""
    """Unit of the value and the levels; empty for a share."""
    counted: str = "calls"
    """What the denominator counts."""
    window_s: float = 600.0
    """Span that a sample looks back over [s]."""
    minimum: float = 20.0
    """Least denominator that says anything; less is no data."""
    longest_s: float = 0.0
    """Where the window holds less, the newest `minimum` calls of so long before count [s]; 0: they do not."""
    for_s: float = 0.0
    """How long it must be over the level before it fires [s]."""
    keep_firing_s: float = 300.0
    """How long it must be under the clear level before it is over [s]."""
    every_s: float = 5.0
    """How often it is asked [s]."""
    severity: str = "warning"
    """`critical`, `warning` or `info`."""
    of_capture: bool = False
    """Whether it rests on packets: an unhealthy capture of the site inhibits it."""
    only: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Labels and the values that they must have; empty: all."""
    enabled: bool = True

    @property
    def digest(self) -> str:
        """Hash of all that decides: with another rule a state begins anew."""
        decides = (
            self.kind,
            self.test,
            self.raise_at,
            self.clear_at,
            self.window_s,
            self.minimum,
            self.longest_s,
            self.only,
        )
        return hashlib.sha256(repr(decides).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured answer: of one alert, over one span."""

    labels: Labels
    since: int
    until: int
    numerator: float | None
    """Measured count or value; None: nothing was measured."""
    denominator: float | None
    """Of how many."""
    value: float | None = None
    """What the levels of `above` and `below` are held against."""
    values: tuple[tuple[str, float], ...] = ()
    """What else was measured, with the unit in the name."""
    problem: str = ""
    """Why it could not be measured, in words."""
    note: str = ""
    """What it adds for people."""
    covers: tuple[str, ...] = ()
    """Sites of which this, while it fires, makes all other measurement doubtful."""
    least: float | None = None
    """What of the denominator is enough here, where that is not the rule's `minimum`."""
    gone: str = ""
    """Why there is nothing to measure any more, in words: what it was about is gone, and its alert with it."""


@dataclass(frozen=True, slots=True)
class State:
    """Where an alert stands."""

    phase: Phase
    since: int
    """When it came into this phase."""
    fired_at: int | None = None
    """When the alert began that still holds; None: none holds."""
    rule: str = ""
    """Digest of the rule that it was made with."""
    streak_since: int | None = None
    """Since when it has been over the raise level (pending) or under the clear level (recovering) without a break."""

    @property
    def active(self) -> bool:
        """Whether there is an alert: also while it recovers, or nothing can be said."""
        return self.fired_at is not None


class Change(NamedTuple):
    """A change of state, as it goes into the history."""

    at: int
    rule: str
    labels: Labels
    before: Phase
    state: State
    numerator: float | None
    denominator: float | None
    reason: str

    @property
    def fingerprint(self) -> str:
        """Of the alert that changed."""
        return fingerprint(self.rule, self.labels)


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as people and programs see it: its state, and what was measured last."""

    rule: Rule
    sample: Sample
    state: State
    reason: str
    resolved_at: int | None = None
    """When it ended; None while it holds, or where there is none."""

    @property
    def labels(self) -> Labels:
        """All labels: what it is about, the rule's name and severity."""
        return labelled({**dict(self.sample.labels), "alertname": self.rule.name, "severity": self.rule.severity})

    @property
    def fingerprint(self) -> str:
        """Hash of what it is about."""
        return fingerprint(self.rule.name, self.sample.labels)


@dataclass(frozen=True, slots=True)
class Matcher:
    """Labels and the values that they may have; all must fit. `site` fits also either end of a pair."""

    labels: tuple[tuple[str, tuple[str, ...]], ...] = field(default_factory=tuple)

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether labels have these values; `*` at the end of a value stands for anything."""
        return all(any(_like(one, value) for one in _found(labels, name) for value in values)
                   for name, values in self.labels)  # fmt: skip


PAIR: Final = ("from_site", "to_site")


def _found(labels: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = (name, *PAIR) if name == "site" else (name,)
    return tuple(labels[one] for one in names if one in labels)


def _like(value: str, wanted: str) -> bool:
    return value.startswith(wanted[:-1]) if wanted.endswith("*") else value == wanted


def labelled(labels: Mapping[str, str]) -> Labels:
    """Return labels in their order."""
    return tuple(sorted(labels.items()))


def fingerprint(rule: str, labels: Labels) -> str:
    """Return the hash of an alert's labels: 16 hexadecimal digits, the same for ever."""
    parts = [("alertname", rule), *labels]
    octets = b"".join(f"{len(part.encode())}:{part}".encode() for pair in sorted(parts) for part in pair)
    return hashlib.sha256(octets).hexdigest()[:16]
