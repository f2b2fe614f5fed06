"""The data path's health: what came to each step of a process, what went on, what was lost there and why.

Each step adds up: came = passed + waiting + lost + aside. *Lost* should have gone on and did not; *aside* is no loss:
traffic that is not telephony, rows that a rule keeps out. A process leaves its own beside the store every few seconds;
whoever asks reads all of them and adds them up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from analytics.feeds import FeedState
from analytics.store.settings import StoreError

FOLDER: Final = "_health"
VERSION: Final = 1
MOST_OCTETS: Final = 1 << 20
MOST_FILES: Final = 4_096
SILENT_AFTER: Final = 4
"""A process that is not heard for so many of its own intervals is silent."""
KEEP_DAYS: Final = 30
"""How long the last word of a process that ended is kept [days]."""
NS: Final = 1_000_000_000
STEPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "seen": "packets and messages on the wire, as far as the system tells; passed: those that reached us",
        "parsed": "passed: those understood as SIP, RTP or RTCP, or as a report; files of call records that were read",
        "matched": "passed: those that belong to a call or a stream",
        "rated": "calls, streams and intervals found; passed: those with a rating, on their way to a store",
        "stored": "rows for the store; passed: those in it",
        "spooled": "rows for the centre; passed: those in the agent's spool on disk",
        "sent": "messages of the agent's spool; passed: those that the centre has",
        "received": "messages of agents; passed: those in the store",
        "written": "points for InfluxDB; passed: those that it has",
        "shown": "events for the live view; passed: those that were handed to it",
    }
)
"""The steps in their order, and what is counted in them."""
_NAME = re.compile(r"[^A-Za-z0-9_.-]")


class HealthError(StoreError):
    """A health file cannot be written or read; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class StepCounts:
    """What became of all that came to a step, counted since the process began."""

    step: str
    """Name of `STEPS`."""
    unit: str
    """What is counted: packets, messages, facts, rows, points or events."""
    came: int
    passed: int
    waiting: int = 0
    """Neither on nor lost yet."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """By reason."""
    aside: Mapping[str, int] = field(default_factory=dict)
    """Kept out without being a loss, by reason."""

    @property
    def unexplained(self) -> int:
        """What is missing in the sum; 0 where the step adds up."""
        return self.came - self.passed - self.waiting - sum(self.lost.values()) - sum(self.aside.values())


@dataclass(frozen=True, slots=True)
class ProcessHealth:
    """One process, as it last said of itself."""

    host: str
    pid: int
    command: str
    """Its command: `collect`, `work`."""
    name: str
    version: str
    """Of Callgauge."""
    began: int
    """When it was started [ns since 1970]."""
    at: int
    """When it said this [ns since 1970]."""
    every: float
    """How often it does [s]."""
    ended: bool = False
    """Whether it came to its end in good order, and this is its last word."""
    steps: tuple[StepCounts, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    """What else was counted, in units of its own: evicted calls, refused connections."""
    gauges: Mapping[str, float] = field(default_factory=dict)
    """What is so now: calls and streams going on, times."""
    problems: tuple[str, ...] = ()
    """What does not work now, in words."""
    feeds: tuple[FeedState, ...] = ()
    """Feeds of call records, as they were when it looked last."""

    def state(self, now: int) -> str:
        """`running`, `ended`, or `silent`: it should have been heard again by `now` [ns since 1970]."""
        if self.ended:
            return "ended"
        return "running" if now - self.at <= SILENT_AFTER * self.every * NS else "silent"


def balanced(
    step: str,
    unit: str,
    came: int,
    passed: int,
    *,
    lost: Mapping[str, int] | None = None,
    aside: Mapping[str, int] | None = None,
    rest: str,
) -> StepCounts:
    """Return a step that adds up: what is left over is put under `rest`, of those aside; `waiting` is one, too.

    Counters are read while others count: read those further on first. Where more went on than came in the meantime,
    as much came.
    """
    missed = {name: count for name, count in (lost or {}).items() if count}
    kept_out = {name: count for name, count in (aside or {}).items() if count}
    came = max(came, passed + sum(missed.values()) + sum(kept_out.values()))
    left = came - passed - sum(missed.values()) - sum(kept_out.values())
    if left and rest != "waiting":
        kept_out[rest] = kept_out.get(rest, 0) + left
        left = 0
    return StepCounts(step, unit, came, passed, left, missed, kept_out)


def added(steps: Iterable[StepCounts]) -> tuple[StepCounts, ...]:
    """Add steps up by their name and unit, in the order of the path."""
    found: dict[tuple[str, str], StepCounts] = {}
    for one in steps:
        other = found.get((one.step, one.unit))
        if other is not None:
            one = StepCounts(
                one.step,
                one.unit,
                one.came + other.came,
                one.passed + other.passed,
                one.waiting + other.waiting,
                _sum(other.lost, one.lost),
                _sum(other.aside, one.aside),
            )
        found[one.step, one.unit] = one
    order = list(STEPS)
    return tuple(found[key] for key in sorted(found, key=lambda key: (order.index(key[0]), key[1])))


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}


def write_health(store: Path, health: ProcessHealth) -> None:
    """Leave a process' health beside the store, whole or not at all; HealthError where the disk fails."""
    folder = store / FOLDER
    path = folder / f"{_NAME.sub('_', health.host)[:128]}-{health.pid}.json"
    scratch = path.with_name(f".{path.name}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        scratch.write_text(json.dumps({"format": VERSION, **asdict(health)}) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise HealthError(f"health cannot be written to {folder}: {error.strerror}") from error


def read_health(store: Path) -> tuple[list[ProcessHealth], list[str]]:
    """Return what the processes of a store said last, and a sentence for each file that cannot be read."""
    found: list[ProcessHealth] = []
    problems: list[str] = []
    for path in sorted((store / FOLDER).glob("[!.]*.json"))[:MOST_FILES]:
        try:
            with path.open("rb") as file:
                data = file.read(MOST_OCTETS + 1)
            found.append(_read(data))
        except FileNotFoundError:
            continue  # forgotten by another process in this moment
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{path} cannot be read: {error}")
    return sorted(found, key=lambda one: (one.command, one.name, one.host, one.began)), problems


def forget_old(store: Path, now: int) -> int:
    """Remove the last words of processes that were not heard for long; return of how many. `now` is ns since 1970."""
    removed = 0
    for path in (store / FOLDER).glob("*.json"):
        try:
            if now / NS - path.stat().st_mtime > KEEP_DAYS * 86_400:
                path.unlink()
                removed += 1
        except OSError:
            continue  # another process was first, or the disk fails: it is only tidying
    return removed


def _read(data: bytes) -> ProcessHealth:
    if len(data) > MOST_OCTETS:
        raise ValueError("it is too large")
    stated = json.loads(data.decode("utf-8"))
    if not isinstance(stated, dict) or stated.get("format") != VERSION:
        raise ValueError(f"it is not of format {VERSION}")
    return _process(stated)


def _process(stated: Mapping[str, Any]) -> ProcessHealth:
    steps = stated.get("steps")
    if not isinstance(steps, Sequence):
        raise ValueError("it has no steps")
    values: dict[str, Any] = {"steps": tuple(_step(one) for one in steps)}
    problems = stated.get("problems")
    if not isinstance(problems, list) or any(not isinstance(one, str) for one in problems):
        raise ValueError("its problems are no sentences")
    values["problems"] = tuple(problems)
    kinds: Mapping[str, type | tuple[type, ...]] = {
        "host": str, "pid": int, "command": str, "name": str, "version": str, "began": int, "at": int,
        "every": (int, float), "ended": bool,
    }  # fmt: skip
    for name, kind in kinds.items():
        if not isinstance(stated.get(name), kind):
            raise ValueError(f"its {name} is wrong")
        values[name] = stated[name]
    values["notes"] = _counts(stated.get("notes"), (int,))
    values["gauges"] = _counts(stated.get("gauges"), (int, float))
    feeds = stated.get("feeds", [])
    if not isinstance(feeds, list):
        raise ValueError("its feeds are no list")
    values["feeds"] = tuple(_feed(one) for one in feeds)
    return ProcessHealth(**values)


def _feed(stated: Any) -> FeedState:
    if not isinstance(stated, dict) or set(stated) != {one.name for one in fields(FeedState)}:
        raise ValueError("a feed is wrong")
    texts, wholes = ("kind", "source", "name", "why"), ("last", "weeks", "silent_weeks")
    numbers = [stated["silent_s"], stated["confidence"], 0 if stated["expected"] is None else stated["expected"]]
    right = [isinstance(stated[name], str) for name in texts] + [type(stated[name]) is int for name in wholes]
    if not all(right) or any(type(number) not in (int, float) for number in numbers):
        raise ValueError("a feed is wrong")
    return FeedState(**stated)


def _step(stated: Any) -> StepCounts:
    if not isinstance(stated, dict) or set(stated) != {one.name for one in fields(StepCounts)}:
        raise ValueError("a step is wrong")
    if stated["step"] not in STEPS or not isinstance(stated["unit"], str):
        raise ValueError("a step has no name")
    if any(type(stated[name]) is not int for name in ("came", "passed", "waiting")):
        raise ValueError("a count is no number")
    return StepCounts(**{**stated, "lost": _counts(stated["lost"], (int,)), "aside": _counts(stated["aside"], (int,))})


def _counts(stated: Any, kinds: tuple[type, ...]) -> dict[str, Any]:
    if not isinstance(stated, dict) or any(type(count) not in kinds for count in stated.values()):
        raise ValueError("counts are no numbers")
    return stated
