"""Sites that `benchmarks.soak` makes up: agents over MQTT, a sender of HEP, calls on a wire. Each says what it sent.

python -m benchmarks.soak_traffic agents FOLDER PORT SITES SECONDS
python -m benchmarks.soak_traffic hep PORT SITE,… SECONDS
python -m benchmarks.soak_traffic packets INTERFACE SITE,… SECONDS
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analytics.store.arrow_rows import arrow_table
from analytics.store.schema import table
from collector.facts import Endpoint
from collector.protocols.hep import SIP, HepPacket, serialize
from collector.simulator.frames import frame, udp_packet
from collector.simulator.sender import FrameSender
from collector.simulator.signalling import CallPlan, Media, SipMessage, call_messages

NS = 1_000_000_000
INTERVAL_S = 10
STREAMS_NOW = 20
"""Streams that go on at a site of an agent."""
ENDED = 4
"""Of these, ended in an interval: two calls."""
HEP_CALLS_A_SECOND = 10
WIRE_CALLS = 10
"""Calls that are up on the wire."""
WIRE_CALL_S = 20
HEP_CALL_S = 15
PTIME_S = 0.02
Row = dict[str, Any]


def site_name(number: int) -> str:
    """Name of a site, from 1."""
    return f"site-{number:02}"


def address(site: int, host: int = 5) -> str:
    """An address in a site's network, 10.SITE.0.0/16."""
    return f"10.{site}.0.{host}"


def rows_of(site: str, tick: int, now: int, chance: random.Random) -> dict[str, list[Row]]:
    """What an agent measured in an interval that ended now [ns]: rows by table."""
    at = now // 1_000
    start = at - INTERVAL_S * 1_000_000
    intervals = []
    for stream in range(STREAMS_NOW):
        lost = chance.choice((0, 0, 0, 2))
        intervals.append(
            {"stream_key": (tick // 15) * STREAMS_NOW + stream, "source": site, "start": start, "seconds": 10.0,
             "site": site, "other_site": site_name(1 + stream % 70), "packets": 500 - lost, "expected": 500,
             "lost": lost, "jitter_ms": chance.uniform(0, 9), "mos": 4.41 - lost / 10}
        )  # fmt: skip
    calls, streams = [], []
    for number in range(ENDED):
        key = hash((site, tick, number)) & (1 << 62) - 1
        if number % 2 == 0:
            calls.append(
                {"call_key": key, "source": site, "call_id": f"{tick}-{number}@{site}", "start": start,
                 "answer": start + 1, "end": at, "state": "completed", "status": 200, "seconds": 10.0, "site": site,
                 "legs": 1, "streams": 2, "mos": 4.4}
            )  # fmt: skip
        streams.append(
            {"stream_key": key, "source": site, "start": start, "end": at, "from_address": "192.0.2.1:10000",
             "to_address": "192.0.2.2:10000", "site": site, "ssrc": number, "codec": "PCMA", "packets": 500,
             "expected": 500, "lost": 0, "evidence": "measured", "mos": 4.4}
        )  # fmt: skip
    month = datetime.fromtimestamp(at / 1e6, UTC).date().replace(day=1)
    minute = {
        "site": site, "month": month, "step": "minute", "start": at // 60_000_000 * 60_000_000, "calls": ENDED // 2,
        "answered": ENDED // 2, "failed": 0, "streams": ENDED, "rated": ENDED, "poor": 0, "mos_sum": 4.4 * ENDED,
        "mos_min": 4.4, "packets": 500 * ENDED, "expected": 500 * ENDED, "lost": 0, "jitter_sum_ms": 1.0,
        "jitter_max_ms": 1.0, "busy_seconds": 20.0,
    }  # fmt: skip
    return {"intervals": intervals, "calls": calls, "streams": streams, "site_minutes": [minute]}


async def agents(folder: Path, port: int, sites: int, seconds: float) -> dict[str, Any]:
    """Run agents of so many sites; what they sent: rows and packets by table, and what became of the rows."""
    from analytics.store.spool import Spool
    from collector.transport.agent import Agent, AgentSettings
    from collector.transport.session import BrokerSettings

    sent: Counter[str] = Counter()
    running: list[Agent] = []
    spools: list[Spool] = []

    async def measure(agent: Agent, site: str, number: int, until: float) -> None:
        chance = random.Random(number)
        await asyncio.sleep(INTERVAL_S * number / sites)
        tick = 0
        while time.monotonic() < until:
            for kind, rows in rows_of(site, tick, time.time_ns(), chance).items():
                await agent.put(kind, arrow_table(table(kind), rows))
                sent[f"{kind} rows"] += len(rows)
                sent[f"{kind} packets"] += sum(row.get("packets", 0) for row in rows)
            tick += 1
            await asyncio.sleep(INTERVAL_S)
        agent.stop()

    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for number in range(1, sites + 1):
            site = site_name(number)
            root = folder / f"spool-{site}"
            settings = AgentSettings(site, broker=BrokerSettings(port=port), spool=root, stop_seconds=60.0)
            spool = Spool.open(root)
            agent = Agent(settings, spool, version="soak")
            running.append(agent)
            spools.append(spool)
            tasks.create_task(agent.run())
            tasks.create_task(measure(agent, site, number, until))
    counts = [agent.counts() for agent in running]
    return {
        "sent": dict(sent),
        "offered": sum(one.offered for one in counts),
        "spooled": sum(one.spooled for one in counts),
        "dropped": sum(one.queue_dropped + one.unfit for one in counts),
        "again": sum(one.sent_again for one in counts),
        "waiting": sum(spool.counts().waiting for spool in spools),
    }


def plan(number: int, sites: list[int], seconds: int, at: int) -> CallPlan:
    """A call between two of these sites, begun at `at` [ns]."""
    caller, callee = sites[number % len(sites)], sites[(number + 1) % len(sites)]
    port = 10_000 + 4 * (number % 5_000)
    formats = ((8, "PCMA/8000"),)
    return CallPlan(
        call_id=f"{number:08x}-{at}@soak.example", caller=Endpoint(address(caller), 5060),
        callee=Endpoint(address(callee, 6), 5060), caller_user=str(1_000 + number % 1_000), callee_user="500", start=at,
        answer_after=NS, talk=seconds * NS, caller_media=Media(Endpoint(address(caller, 9), port), formats),
        callee_media=Media(Endpoint(address(callee, 10), port), formats),
    )  # fmt: skip


def hep(port: int, sites: list[int], seconds: float) -> dict[str, Any]:
    """Send calls by HEP over TCP as they happen, each with a report in its BYE; none is left open."""
    due: list[tuple[int, int, SipMessage, str]] = []
    begun = time.time_ns()
    calls = messages = 0
    with socket.create_connection(("127.0.0.1", port)) as sender:
        while True:
            now = time.time_ns()
            begin = now < begun + int(seconds * NS)
            while begin and calls < (now - begun) * HEP_CALLS_A_SECOND // NS:
                of = plan(calls, sites, HEP_CALL_S, now)
                for message in call_messages(of):
                    messages += 1
                    heapq.heappush(due, (message.at, messages, message, of.call_id))
                calls += 1
            octets = b""
            while due and due[0][0] <= now:
                _, _, message, call_id = heapq.heappop(due)
                octets += _as_hep(message, call_id)
            sender.sendall(octets)
            if not begin and not due:
                return {"calls": calls, "reports": calls, "messages": messages}
            time.sleep(0.05)


def _as_hep(message: SipMessage, call_id: str) -> bytes:
    payload = message.payload
    if payload.startswith(b"BYE "):
        payload = payload.replace(b"\r\nMax-Forwards", b"\r\nP-RTP-Stat: PS=750,PR=748,PL=2\r\nMax-Forwards", 1)
    return serialize(HepPacket(3, SIP, message.at, message.src, message.dst, 17, payload, 2001, call_id))


def packets(interface: str, sites: list[int], seconds: float) -> dict[str, Any]:
    """Put calls with both their streams on a wire as they happen; none is left open."""
    due: list[tuple[int, int, Iterator[bytes]]] = []
    begun, order, calls, rtp, sip = time.time_ns(), 0, 0, 0, 0
    apart = WIRE_CALL_S * NS // WIRE_CALLS
    with FrameSender(interface) as sender:
        while True:
            now = time.time_ns()
            begin = now < begun + int(seconds * NS)
            while begin and begun + calls * apart <= now:
                of = plan(calls, sites, WIRE_CALL_S, now)
                for message in call_messages(of):
                    order, sip = order + 1, sip + 1
                    framed = frame(udp_packet(message.src, message.dst, message.payload))
                    heapq.heappush(due, (message.at, order, iter((framed,))))
                order += 1
                # From a moment after the answer to a moment before the BYE.
                heapq.heappush(due, (of.start + of.answer_after + NS // 2, order, _media(of, calls)))
                calls += 1
            while due and due[0][0] <= now:
                at, _, frames = heapq.heappop(due)
                for one in frames:
                    if one:
                        sender.send(one)
                        rtp += len(one) == 214
                        continue
                    # The end of what goes in this packet time.
                    order += 1
                    heapq.heappush(due, (at + int(PTIME_S * NS), order, frames))
                    break
            if not begin and not due:
                return {"calls": calls, "rtp": rtp, "messages": sip}
            time.sleep(0.005)


def _media(of: CallPlan, number: int) -> Iterator[bytes]:
    """Frames of both streams of a call, and nothing at the end of each packet time."""
    assert of.caller_media is not None
    assert of.callee_media is not None
    ends = of.caller_media.endpoint, of.callee_media.endpoint
    for tick in range(int((of.talk / NS - 1) / PTIME_S)):
        for side, (src, dst) in enumerate((ends, ends[::-1])):
            head = bytes((0x80, 8)) + tick.to_bytes(2, "big") + (160 * tick).to_bytes(4, "big")
            ssrc = (2 * number + side + 1).to_bytes(4, "big")
            yield frame(udp_packet(src, dst, head + ssrc + bytes(160), ip_id=tick + 1, dscp=46))
        yield b""


def main() -> None:
    """Do what the words ask for, and print what was sent as JSON."""
    match sys.argv[1:]:
        case ["agents", folder, port, sites, seconds]:
            said = asyncio.run(agents(Path(folder), int(port), int(sites), float(seconds)))
        case ["hep", port, sites, seconds]:
            said = hep(int(port), [int(one) for one in sites.split(",")], float(seconds))
        case ["packets", interface, sites, seconds]:
            said = packets(interface, [int(one) for one in sites.split(",")], float(seconds))
        case _:
            sys.exit(__doc__)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
