"""The counters of the parts as steps of the data path, each adding up."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from analytics.feeds import FeedState
from analytics.health import ProcessHealth, StepCounts, added, balanced
from api import __version__

if TYPE_CHECKING:
    from analytics.store.influx_writer import WriterCounts
    from analytics.store.spool import SpoolCounts
    from api.collecting import CollectHealth, StoreHealth
    from collector.live.source import SourceHealth
    from collector.transport.agent import AgentCounts
    from collector.transport.intake import IntakeCounts

_BEFORE_US = frozenset({"kernel_drops", "packets_cut_by_child"})
_NO_STREAM = frozenset({"packets_not_believed", "packets_rtp_stray"})
"""What looks like RTP and is none."""
_NO_ROOM = frozenset({"packets_rtp_rows_exhausted"})
_NOT_STORED = ("calls_not_stored", "streams_not_stored", "points_not_stored")
_ROWS = frozenset({"reports_dropped"})
_OTHERWISE = frozenset({"connections_refused", "hep_skipped_octets", "calls_evicted"})
"""Counts of sources that receive messages, which are counts of something else."""
_FACTS = ("calls", "streams", "intervals")
"""Tables with a row for each fact."""


def process_health(
    command: str,
    name: str,
    began: int,
    now: int,
    every: float,
    steps: Iterable[StepCounts],
    *,
    notes: Mapping[str, int] | None = None,
    gauges: Mapping[str, float] | None = None,
    problems: Sequence[str] = (),
    feeds: Iterable[FeedState] = (),
    ended: bool = False,
) -> ProcessHealth:
    """Return the health of this process."""
    return ProcessHealth(
        os.uname().nodename,
        os.getpid(),
        command,
        name,
        __version__,
        began,
        now,
        every,
        ended,
        added(steps),
        {key: count for key, count in sorted((notes or {}).items()) if count},
        gauges or {},
        tuple(problems),
        tuple(feeds),
    )


def collect_steps(health: CollectHealth) -> list[StepCounts]:
    """Steps from the wire to the store."""
    steps = [step for source in health.sources for step in source_steps(source)]
    steps += [rated_step(health), stored_step(health.store if health.has_store else None, health.sources)]
    outlets = health.outlets
    if outlets.agent is not None and outlets.spool is not None:
        steps += agent_steps(outlets.agent, outlets.spool)
    return steps if outlets.influx is None else [*steps, *influx_steps(outlets.influx)]


def source_steps(source: SourceHealth) -> list[StepCounts]:
    """Steps of one source up to what belongs to a call."""
    if source.kind == "files":
        return file_steps(source)
    unit = "packets" if source.kind == "packets" else "messages"
    lost = dict(source.lost)
    before = {name: lost.pop(name) for name in _BEFORE_US & set(lost)}
    none = {name: lost.pop(name) for name in _NO_STREAM & set(lost)}
    no_room = {name: lost.pop(name) for name in _NO_ROOM & set(lost)}
    unread = {name: count for name, count in lost.items() if _is_of_messages(name, source.kind)}
    # One packet may hold several messages: then more is understood than came.
    several = max(0, source.parsed + sum(unread.values()) - source.seen)
    passed = min(source.matched, source.parsed - sum(none.values()) - sum(no_room.values()))
    parsed = StepCounts("parsed", unit, source.seen, source.parsed, 0, unread, {"several_in_one_packet": -several})
    if not several:
        parsed = balanced("parsed", unit, source.seen, source.parsed, lost=unread, rest="other_traffic")
    return [
        balanced("seen", unit, source.seen + sum(before.values()), source.seen, lost=before, rest="waiting"),
        parsed,
        balanced("matched", unit, source.parsed, passed, lost=no_room, aside=none, rest="of_no_call"),
    ]


def file_steps(source: SourceHealth) -> list[StepCounts]:
    """Steps of watched folders: files up to those that were read, and their records up to the store."""
    rejected = source.records_rejected
    return [
        balanced("parsed", "files", source.seen, source.parsed, lost=source.lost, rest="waiting"),
        balanced("stored", "records", source.records, source.records_kept, lost=rejected, rest="waiting"),
    ]


def _is_of_messages(name: str, kind: str) -> bool:
    """Whether a reason counts packets (messages) that were not understood."""
    if kind == "packets":
        return name.startswith("packets_")
    return name not in _OTHERWISE | _ROWS


def rated_step(health: CollectHealth) -> StepCounts:
    """Calls, streams and intervals on their way to rows."""
    passed = sum(health.store.made.get(table, 0) for table in _FACTS)
    came = sum(source.calls + source.streams + source.points for source in health.sources)
    lost: Counter[str] = Counter()
    for source in health.sources:
        lost.update({name: source.lost[name] for name in _NOT_STORED if name in source.lost})
    return balanced("rated", "facts", came, passed, lost=lost, rest="waiting")


def stored_step(store: StoreHealth | None, sources: Sequence[SourceHealth] = ()) -> StepCounts:
    """Rows on their way into the store; without one those alone that never came to be rows."""
    dropped = sum(source.lost.get(name, 0) for source in sources for name in _ROWS)
    if store is None:
        return balanced("stored", "rows", dropped, 0, lost={"reports_dropped": dropped}, rest="waiting")
    lost = {f"{table}_not_stored": count for table, count in store.lost.items()} | {"reports_dropped": dropped}
    aside = {"time_not_believed": store.quarantined}
    came = sum(store.made.values()) + dropped
    return balanced("stored", "rows", came, sum(store.stored.values()), lost=lost, aside=aside, rest="waiting")


def source_notes(sources: Iterable[SourceHealth]) -> dict[str, int]:
    """What sources counted that is no packet or message of the path."""
    notes: Counter[str] = Counter()
    for source in sources:
        notes["restarts"] += source.restarts
        for name, count in source.lost.items() if source.kind != "files" else ():
            of_path = name in _BEFORE_US | _NO_STREAM | _NO_ROOM | _ROWS or name in _NOT_STORED
            if not of_path and not _is_of_messages(name, source.kind):
                notes[name] += count
    return dict(notes)


def collect_gauges(health: CollectHealth) -> dict[str, float]:
    """What is so now."""
    found: dict[str, float] = {
        "calls_now": sum(source.calls_now for source in health.sources),
        "streams_now": sum(source.streams_now for source in health.sources),
        "sources_running": sum(source.running for source in health.sources),
        "sources": len(health.sources),
    }
    newest = [source.last_at for source in health.sources if source.last_at is not None]
    if newest:
        found["last_seen_seconds"] = max(newest) / 1e9
    if health.store.stored_up_to is not None:
        found["stored_up_to_seconds"] = health.store.stored_up_to / 1e9
    return found


def collect_problems(health: CollectHealth) -> list[str]:
    """What does not work now."""
    found = [f"{source.name}: {source.problem}" for source in health.sources if source.problem]
    if health.store.problem:
        found.append(f"the store takes nothing: {health.store.problem}")
    found += [f"agent: {health.outlets.problem}"] if health.outlets.problem else []
    return found + ([health.outlets.influx.trouble] if health.outlets.influx and health.outlets.influx.trouble else [])


def agent_steps(agent: AgentCounts, spool: SpoolCounts) -> list[StepCounts]:
    """Steps from rows to the centre; `spool` counts since it was made, over restarts."""
    lost = {"queue_dropped": agent.queue_dropped, "unfit": agent.unfit}
    gone = {"spool_dropped": spool.dropped, "spool_damaged": spool.damaged, "refused_by_centre": agent.refused}
    return [
        balanced("spooled", "rows", agent.offered, agent.spooled, lost=lost, rest="waiting"),
        balanced("sent", "messages", spool.appended, spool.acknowledged - agent.refused, lost=gone, rest="waiting"),
    ]


def influx_steps(counts: WriterCounts) -> list[StepCounts]:
    """Points on their way to InfluxDB."""
    lost = {"refused": counts.dead, "spool_dropped": counts.dropped}
    return [balanced("written", "points", counts.put, counts.written, lost=lost, rest="waiting")]


def intake_steps(counts: IntakeCounts) -> list[StepCounts]:
    """Steps of a worker of the centre from messages to rows."""
    refused = {name: count for name, count in dict(counts.refused).items() if count}
    aside = {name: count for name, count in dict(counts.aside).items() if count}
    rows = counts.rows
    return [
        balanced(
            "received",
            "messages",
            counts.messages,
            counts.stored,
            lost=refused,
            aside={"came_again": counts.again},
            rest="waiting",
        ),
        balanced("stored", "rows", rows + sum(aside.values()), rows, aside=aside, rest="waiting"),
    ]
