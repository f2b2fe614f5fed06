"""Calls of the invented county as they happen: a capture in real time, as a tap at its core would write it.

`python -m collector.simulator.live ESTATE | callgauge collect --read -`: a pcap without end to standard output. SIP and
RTP are whole packets; what networks do to them (`live_faults`) comes and goes by the clock.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import BinaryIO, NamedTuple

from analytics.sites import Estate
from collector.facts import Endpoint
from collector.simulator.capture_writer import pcap
from collector.simulator.faults import (
    CONGESTED_SITE,
    DEAD_TRUNK,
    MISMARKED_SITE,
    ONE_WAY_SITE,
    Fault,
    FaultKind,
)
from collector.simulator.frames import frame, udp_packet
from collector.simulator.heard import BEST_EFFORT, EXPEDITED, HeardSimulator, gateway
from collector.simulator.signalling import CallPlan, Media, call_messages

NS = 1_000_000_000
TICK_NS = 20_000_000
PACKET_NS = 20_000_000
SAMPLES = 160
CONCURRENT = 60
"""Calls that go on at a time."""
TALK_S = 55.0
LONGEST_S, SHORTEST_S = 300, 12
SIP_PORT = 5060
SIGNALLING_DSCP = 24
WATCHED_SHARE = 0.08
"""Share of calls of each site with a fault: so that a quarter of an hour holds enough of them."""
CYCLE_S, CONGESTED_S = 1_500, 780
"""The congested line is so for 13 minutes out of 25."""
OUTAGE_EVERY_S, OUTAGE_S = 2_700, 180
"""The trunk is dead for 3 minutes out of 45."""
_UDP_SUM = 40
"""Octets before the checksum of UDP over Ethernet and IPv4."""
_RTP = 42


def live_faults(began: int, at: int) -> tuple[Fault, ...]:
    """Return the faults that are there at a moment of a simulation [s since the epoch]."""
    since = at - began
    found = [
        Fault(FaultKind.ONE_WAY_NAT, ONE_WAY_SITE, began, at + 1),
        Fault(FaultKind.MISMARKED_DSCP, MISMARKED_SITE, began, at + 1),
    ]
    if since % CYCLE_S < CONGESTED_S:
        first = at - since % CYCLE_S
        found.append(Fault(FaultKind.CONGESTED_WAN, CONGESTED_SITE, first, first + CONGESTED_S))
    if since >= OUTAGE_EVERY_S and since % OUTAGE_EVERY_S < OUTAGE_S:
        first = at - since % OUTAGE_EVERY_S
        found.append(Fault(FaultKind.DEAD_TRUNK, DEAD_TRUNK, first, first + OUTAGE_S))
    return tuple(found)


class Party(NamedTuple):
    """One end of a call."""

    device: str
    site: str | None
    user: str
    address: str


@dataclass(slots=True)
class Talking:
    """One direction of the media of a call."""

    octets: bytearray
    """Its next packet, as a frame."""
    sites: tuple[str | None, str | None]
    """Of sender and receiver."""
    next_at: int
    until: int
    sequence: int
    timestamp: int
    losing: bool = False
    """Whether a burst of losses goes on."""
    _packed: struct.Struct = field(default_factory=lambda: struct.Struct("!HI"))

    def packet(self) -> bytes:
        """The packet that is due, after which the next one is."""
        self._packed.pack_into(self.octets, _RTP + 2, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF)
        self.sequence += 1
        self.timestamp += SAMPLES
        self.next_at += PACKET_NS
        return bytes(self.octets)


class LiveCounty:
    """Calls that come, talk and end; `frames_until` gives what a tap sees, in order of time."""

    def __init__(self, estate: Estate, began: int, seed: int = 1) -> None:
        """`began` is nanoseconds since the epoch."""
        self._dice = Random(seed)
        self._began = began // NS
        known = HeardSimulator(estate, seed, 0, ())
        self._trunks = known.trunks
        self._parties = [
            Party(phone.device, phone.site, phone.extension, known.addresses[phone.device]) for phone in known.phones
        ]
        self._watched = [
            [party for party in self._parties if party.site == site]
            for site in (CONGESTED_SITE, ONE_WAY_SITE, MISMARKED_SITE)
        ]
        self._far = known.far_number
        self._waiting: list[tuple[int, int, bytes]] = []
        self._number = 0
        self._talking: list[Talking] = []
        self._next_call = began
        self._begun = 0

    def frames_until(self, now: int) -> Iterator[tuple[int, bytes]]:
        """Yield what is captured before a moment [ns since the epoch] and was not yielded yet."""
        while self._next_call < now:
            self._begin(self._next_call)
            # As many as talk at a time begin in the first seconds.
            pause = 5 / CONCURRENT if self._begun < CONCURRENT else self._dice.expovariate(CONCURRENT / TALK_S)
            self._next_call += round(pause * NS)
        faults = live_faults(self._began, now // NS)
        for talking in self._talking:
            while talking.next_at < min(now, talking.until):
                self._send(talking, faults)
        self._talking = [talking for talking in self._talking if talking.next_at < talking.until]
        while self._waiting and self._waiting[0][0] < now:
            at, _, octets = heappop(self._waiting)
            yield at, octets

    def _begin(self, at: int) -> None:
        """Let a call begin: out, in, or from telephone to telephone."""
        dice = self._dice
        self._begun += 1
        one = self._any_party()
        trunk = dice.choice(self._trunks)
        outside = Party(trunk, None, self._far(), gateway(trunk))
        kind = dice.random()
        if kind < 0.40:
            caller, callee = one, outside
        elif kind < 0.65:
            caller, callee = outside, one
        else:
            caller, callee = one, dice.choice([party for party in self._parties if party is not one])
        talk = min(LONGEST_S, max(SHORTEST_S, dice.expovariate(1 / TALK_S)))
        outcome = dice.choices(("completed", "unanswered", "busy", "cancelled"), (92, 3, 3, 2))[0]
        faults = live_faults(self._began, at // NS)
        if trunk in (caller.device, callee.device) and any(fault.place == trunk for fault in faults):
            outcome = "unavailable"
        ports = tuple(16_384 + 4 * dice.randrange(4_000) for _ in range(2))
        media = [Media(Endpoint(party.address, port)) for party, port in zip((caller, callee), ports, strict=True)]
        plan = CallPlan(
            call_id=f"{dice.getrandbits(64):016x}@{caller.address}",
            caller=Endpoint(caller.address, SIP_PORT),
            callee=Endpoint(callee.address, SIP_PORT),
            caller_user=caller.user,
            callee_user=callee.user,
            start=at,
            outcome=outcome,
            answer_after=round(dice.uniform(1.5, 6) * NS),
            talk=round(talk * NS),
            caller_media=media[0],
            callee_media=media[1],
        )
        for message in call_messages(plan):
            packet = udp_packet(message.src, message.dst, message.payload, dscp=SIGNALLING_DSCP)
            self._put(message.at, frame(packet))
        if outcome == "completed":
            answered = at + plan.answer_after
            self._talk(caller, callee, media, answered, answered + plan.talk)
            self._talk(callee, caller, media[::-1], answered + 7_000_000, answered + plan.talk)

    def _any_party(self) -> Party:
        """Somebody; sites with a fault are more often heard than others."""
        luck = self._dice.random() / WATCHED_SHARE
        return self._dice.choice(self._watched[int(luck)] if luck < len(self._watched) else self._parties)

    def _talk(self, sender: Party, receiver: Party, media: Sequence[Media], since: int, until: int) -> None:
        dice = self._dice
        sequence, timestamp, ssrc = dice.getrandbits(16), dice.getrandbits(32), dice.getrandbits(32)
        header = struct.pack("!BBHII", 0x80, 8, sequence, timestamp, ssrc)
        marked = BEST_EFFORT if sender.site == MISMARKED_SITE else EXPEDITED
        packet = udp_packet(media[0].endpoint, media[1].endpoint, header + bytes([0xD5]) * SAMPLES, dscp=marked)
        octets = bytearray(frame(packet))
        # RFC 768: no checksum; it would have to be made anew for each packet.
        octets[_UDP_SUM : _UDP_SUM + 2] = b"\0\0"
        self._talking.append(Talking(octets, (sender.site, receiver.site), since, until, sequence, timestamp))

    def _send(self, talking: Talking, faults: Sequence[Fault]) -> None:
        at = talking.next_at
        octets = talking.packet()
        delay, enter, leave = 1_500_000, 0.00004, 0.5
        for fault in faults:
            if fault.kind is FaultKind.ONE_WAY_NAT and talking.sites[1] == fault.place:
                return
            if fault.kind is FaultKind.CONGESTED_WAN and fault.place in talking.sites:
                delay, enter, leave = 45_000_000, 0.03, 0.35
            elif fault.kind is FaultKind.MISMARKED_DSCP and talking.sites[0] == fault.place:
                delay, enter, leave = 9_000_000, 0.002, 0.5
        if talking.losing:
            talking.losing = self._dice.random() >= leave
        else:
            talking.losing = self._dice.random() < enter
        if not talking.losing:
            self._put(at + round(self._dice.random() * delay), octets)

    def _put(self, at: int, octets: bytes) -> None:
        self._number += 1
        heappush(self._waiting, (at, self._number, octets))


def record(at: int, octets: bytes) -> bytes:
    """One record of a pcap with nanoseconds."""
    seconds, rest = divmod(at, NS)
    return struct.pack("<IIII", seconds, rest, len(octets), len(octets)) + octets


def write_live(county: LiveCounty, out: BinaryIO, seconds: float | None = None) -> None:
    """Write packets as their time comes, for so long, or until the reader is gone."""
    out.write(pcap((), nanoseconds=True))
    begun = time.monotonic()
    while seconds is None or time.monotonic() - begun < seconds:
        out.write(b"".join(record(at, octets) for at, octets in county.frames_until(time.time_ns())))
        out.flush()
        time.sleep(TICK_NS / NS)


def main() -> None:
    """Write the calls of the estate that is named."""
    from collector.estate.folder import load_estate

    estate = load_estate(Path(sys.argv[1]))
    try:
        write_live(LiveCounty(estate, time.time_ns()), sys.stdout.buffer)
    except (BrokenPipeError, KeyboardInterrupt):
        # The reader is gone: what was not written is nobody's.
        sys.stderr.close()


if __name__ == "__main__":
    main()
