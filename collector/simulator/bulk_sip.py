"""Large SIP captures with known totals: attempts of every outcome, overlapping in time, at an exact message count."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from heapq import heappop, heappush
from pathlib import Path
from random import Random

from collector.facts import Endpoint
from collector.simulator.frames import frame, udp_packet
from collector.simulator.signalling import MILLISECOND, CallPlan, Media, SipMessage, call_messages

EPOCH = 1_700_000_000_000_000
"""Start of every capture [µs]."""
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
SIP_PORT = 5060
_CALLS_PER_SECOND = 40
_OUTCOMES = (
    ("completed", False, 0.60, 7),
    ("completed", True, 0.14, 10),
    ("busy", False, 0.08, 4),
    ("cancelled", False, 0.08, 7),
    ("unanswered", False, 0.05, 5),
    ("not_found", False, 0.03, 4),
    ("unavailable", False, 0.02, 4),
)
"""Outcome, challenged, share of attempts, messages without retransmissions."""


@dataclass(frozen=True, slots=True)
class SipSize:
    """How much a SIP capture holds; retransmissions make up what the calls lack of `messages`."""

    messages: int = 200_000
    calls: int = 28_000
    seed: int = 3


@dataclass(slots=True)
class SipTruth:
    """What the capture holds."""

    messages: int = 0
    calls: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    challenged: int = 0
    retransmissions: int = 0
    methods: dict[str, int] = field(default_factory=dict)
    responses: dict[str, int] = field(default_factory=dict)


def write_sip(path: Path, size: SipSize) -> SipTruth:
    """Write a SIP capture and, beside it as `<name>.truth.json`, what it holds."""
    plans = _plans(size)
    outcomes = Counter(plan.outcome for plan in plans)
    truth = SipTruth(
        calls=len(plans),
        outcomes=dict(outcomes),
        challenged=sum(plan.challenged for plan in plans),
        retransmissions=sum(len(plan.retransmitted) for plan in plans),
    )
    methods: Counter[str] = Counter()
    responses: Counter[str] = Counter()
    with path.open("wb") as out:
        out.write(PCAP_HEADER)
        for message in in_time_order(plans):
            word = message.payload.split(b" ", 2)
            (responses if word[0] == b"SIP/2.0" else methods)[word[word[0] == b"SIP/2.0"].decode()] += 1
            truth.messages += 1
            out.write(record(message))
    truth.methods, truth.responses = dict(sorted(methods.items())), dict(sorted(responses.items()))
    path.with_name(path.name + ".truth.json").write_text(json.dumps({"size": asdict(size), **asdict(truth)}) + "\n")
    return truth


def in_time_order(plans: Iterable[CallPlan]) -> Iterator[SipMessage]:
    """The messages of plans that come in order of start, merged; holds only what is still to come of begun calls."""
    waiting: list[tuple[int, int, SipMessage]] = []
    number = 0
    for plan in plans:
        while waiting and waiting[0][0] < plan.start:
            yield heappop(waiting)[2]
        for message in call_messages(plan):
            heappush(waiting, (message.at, number, message))
            number += 1
    while waiting:
        yield heappop(waiting)[2]


def record(message: SipMessage) -> bytes:
    """One record of a microsecond pcap, over Ethernet and UDP, marked CS3."""
    data = frame(udp_packet(message.src, message.dst, message.payload, dscp=24))
    seconds, rest = divmod(message.at, 1_000_000_000)
    return struct.pack("<IIII", seconds, rest // 1000, len(data), len(data)) + data


def _plans(size: SipSize) -> list[CallPlan]:
    rng = Random(size.seed)
    weights = [share for _, _, share, _ in _OUTCOMES]
    chosen = rng.choices(_OUTCOMES, weights, k=size.calls)
    lacking = size.messages - sum(messages for *_, messages in chosen)
    completed = [number for number, (outcome, *_) in enumerate(chosen) if outcome == "completed"]
    if not 0 <= lacking <= 3 * len(completed):
        raise ValueError(f"{size.messages} messages do not fit {size.calls} calls")
    repeated: dict[int, tuple[str, ...]] = {}
    for slot in rng.sample(range(3 * len(completed)), lacking):
        number = completed[slot // 3]
        repeated[number] = (*repeated.get(number, ()), ("INVITE", "200", "BYE")[slot % 3])
    starts = sorted(rng.randrange(size.calls * 1_000_000 // _CALLS_PER_SECOND) for _ in chosen)
    plans = []
    for number, (outcome, challenged, _, _) in enumerate(chosen):
        plan = _plan(number, starts[number], rng)
        plans.append(replace(plan, outcome=outcome, challenged=challenged, retransmitted=repeated.get(number, ())))
    return plans


def _plan(number: int, start: int, rng: Random) -> CallPlan:
    phone = f"198.18.{number // 200 % 200}.{number % 200 + 1}"
    gateway = f"198.19.0.{rng.randrange(8) + 1}"
    return CallPlan(
        call_id=f"{rng.getrandbits(64):016x}{number:08x}@{phone}",
        caller=Endpoint(phone, SIP_PORT),
        callee=Endpoint(gateway, SIP_PORT),
        caller_user=str(100_000 + number),
        callee_user=str(rng.randrange(200_000, 900_000)),
        start=(EPOCH + start) * 1000,
        ring_after=rng.randrange(80, 1_500) * MILLISECOND,
        answer_after=rng.randrange(2_000, 20_000) * MILLISECOND,
        talk=rng.randrange(5_000, 180_000) * MILLISECOND,
        hung_up_by=rng.choice(("caller", "callee")),
        caller_media=Media(Endpoint(phone, 16384 + 2 * (number % 8000))),
        callee_media=Media(Endpoint(gateway, 10_000 + 2 * (number % 25_000))),
    )
