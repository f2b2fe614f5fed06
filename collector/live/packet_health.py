"""How far a source of packets came, in the terms that all sources share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from collector.live.engine import LiveEngine
from collector.live.source import SourceHealth


def packet_health(
    name: str,
    engine: LiveEngine,
    lost: Mapping[str, int],
    *,
    running: bool,
    problem: str | None,
    restarts: int = 0,
) -> SourceHealth:
    """How far an engine came with packets; `lost` is what was lost around it, by reason."""
    counts, counted = engine.counts(), engine.counted
    together = Counter(counts.lost)
    together.update(lost)
    return SourceHealth(
        name=name,
        kind="packets",
        running=running,
        seen=counts.packets,
        parsed=counts.parsed,
        matched=max(0, counts.parsed - counts.unmatched),
        calls=counted["calls"],
        streams=counted["streams"],
        points=counted["points"],
        calls_now=counts.calls_now,
        streams_now=counts.streams_now,
        last_at=counts.last_at,
        lost={reason: count for reason, count in sorted(together.items()) if count},
        restarts=restarts,
        problem=problem,
    )
