"""What may be set of alerts and webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """How alerts are looked for, grouped and delivered."""

    rules: Path | None = None
    """TOML file of rules and maintenance windows; without, the defaults hold."""
    every_seconds: float = 5.0
    """How often rules are looked at [s]; each has its own pace besides."""
    group_wait_seconds: float = 5.0
    """How long a new group of alerts waits for more before it is told [s]."""
    group_interval_seconds: float = 300.0
    """Least time between two notifications of a group [s]."""
    repeat_seconds: float = 14_400.0
    """How often an alert that holds is told again [s]."""
    allowed_networks: tuple[str, ...] = ()
    """Private networks that webhooks may go to, as 10.1.2.0/24; all others are refused."""
    timeout_seconds: float = 15.0
    """How long one delivery may take, from the look-up of the name to the last octet of the answer [s]."""
    keep_days: int = 30
    """How long deliveries that are done stay in the log [days]."""
