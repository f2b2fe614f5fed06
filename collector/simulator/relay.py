"""A bridge between two interfaces that impairs RTP by a seeded script and writes down what became of each packet.

Every frame passes unchanged from one interface to the other, so endpoints keep their own addresses; only RTP is lost,
delayed, duplicated or overtaken. Run it as root where both interfaces are:

    python -m collector.simulator.relay --left veth-a --right veth-b --script script.json --log fates.json

It stops at SIGTERM and then writes the log. The script holds a seed and the rules of each direction:
`{"seed": 7, "left_to_right": {"loss": 0.01, "jitter_ms": 8}, "right_to_left": {}}`.
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from heapq import heappop, heappush
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import NamedTuple

from collector.facts import Endpoint
from collector.simulator.frames import checksum

MILLISECOND = 1_000_000
"""Nanoseconds in a millisecond."""
_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_UDP = 17
_RTCP_TYPES = range(192, 224)
"""Second octets that are RTCP when RTP and RTCP share a port (RFC 5761 4)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What happens to the RTP of one direction; rates are shares from 0 to 1."""

    loss: float = 0.0
    """Chance of independent loss."""
    burst_enter: float = 0.0
    """Chance to begin losing everything (Gilbert)."""
    burst_leave: float = 1.0
    """Chance to end it again, before each packet."""
    delay_ms: float = 0.0
    """Delay of every packet."""
    jitter_ms: float = 0.0
    """Further delay, spread evenly from 0 to this; packets keep their order."""
    overtaken: float = 0.0
    """Chance that a packet is held back until after those that follow it."""
    overtaken_ms: float = 50.0
    duplicate: float = 0.0
    """Chance that a packet is delivered a second time."""
    duplicate_ms: float = 5.0
    spared: int = 10
    """The first packets pass untouched."""
    blocked: bool = False
    """No media and no RTCP passes, as behind a firewall."""


class Fate(NamedTuple):
    """What happens to one packet."""

    lost: bool = False
    delay: int = 0
    """Held back for [ns]."""
    ordered: bool = True
    """It must not pass the packet before it."""
    copy_after: int | None = None
    """A second copy follows, this much later [ns]."""


class Impairment:
    """Decides the fates of one direction's packets, one after the other."""

    def __init__(self, rules: Rules, seed: int) -> None:
        self.rules = rules
        self._random = Random(seed)
        self._losing = False
        self._decided = 0

    def decide(self) -> Fate:
        """Fate of the next packet; every packet takes the same number of draws, so that one rule moves no other."""
        rules, draw = self.rules, self._random.random
        burst, loss, jitter, overtaken, duplicate = draw(), draw(), draw(), draw(), draw()
        self._decided += 1
        if rules.blocked:
            return Fate(lost=True)
        if self._decided <= rules.spared:
            return Fate(delay=int(rules.delay_ms * MILLISECOND))
        self._losing = burst >= rules.burst_leave if self._losing else burst < rules.burst_enter
        if self._losing or loss < rules.loss:
            return Fate(lost=True)
        held_back = overtaken < rules.overtaken
        delay = rules.delay_ms + rules.jitter_ms * jitter + (rules.overtaken_ms if held_back else 0)
        copy_after = int(rules.duplicate_ms * MILLISECOND) if duplicate < rules.duplicate else None
        return Fate(False, int(delay * MILLISECOND), not held_back, copy_after)


class Datagram(NamedTuple):
    """The UDP datagram inside a frame."""

    src: Endpoint
    dst: Endpoint
    ip_offset: int
    payload: bytes


def datagram(frame: bytes) -> Datagram | None:
    """The UDP datagram of an Ethernet frame; None for all else (fragments and extension headers included)."""
    if len(frame) < 42:
        return None
    if frame[12:14] == b"\x08\x00" and frame[23] == _UDP and not frame[20] & 0x3F and not frame[21]:
        udp = 14 + 4 * (frame[14] & 15)
        source, target = frame[26:30], frame[30:34]
    elif frame[12:14] == b"\x86\xdd" and frame[20] == _UDP and len(frame) >= 62:
        udp = 54
        source, target = frame[22:38], frame[38:54]
    else:
        return None
    if len(frame) < udp + 8:
        return None
    src_port, dst_port, length = struct.unpack_from("!HHH", frame, udp)
    payload = frame[udp + 8 : udp + length]
    return Datagram(
        Endpoint(str(ip_address(source)), src_port), Endpoint(str(ip_address(target)), dst_port), 14, payload
    )


def is_rtp(payload: bytes) -> bool:
    """Version 2 and no RTCP packet type (RFC 5761 4)."""
    return len(payload) >= 12 and payload[0] >> 6 == 2 and payload[1] not in _RTCP_TYPES


@dataclass(slots=True)
class StreamLog:
    """What the relay did to one RTP stream, sequence numbers throughout."""

    src: Endpoint
    dst: Endpoint
    ssrc: int
    came: list[int] = field(default_factory=list)
    payload_types: list[int] = field(default_factory=list)
    """Payload type of each that came."""
    went: list[int] = field(default_factory=list)
    """In the order in which they left, second copies included."""
    lost: list[int] = field(default_factory=list)
    duplicated: list[int] = field(default_factory=list)


class SipLine(NamedTuple):
    """A SIP message that passed over UDP."""

    src: Endpoint
    dst: Endpoint
    first_line: str
    call_id: str


@dataclass(slots=True)
class Log:
    """All that the relay saw and did."""

    streams: dict[tuple[Endpoint, Endpoint, int], StreamLog] = field(default_factory=dict)
    sip: list[SipLine] = field(default_factory=list)
    rtcp: int = 0
    frames: int = 0

    def written(self) -> dict[str, object]:
        """As JSON values."""
        streams = [asdict(stream) for stream in self.streams.values()]
        return {"frames": self.frames, "rtcp": self.rtcp, "sip": self.sip, "streams": streams}


class Relay:
    """Frames in, frames out with the time at which each is due; reads no clock and touches no socket."""

    def __init__(self, script: Mapping[str, object]) -> None:
        seed = int(str(script.get("seed", 0)))
        self.log = Log()
        self._impairments = []
        for side, name in enumerate(("left_to_right", "right_to_left")):
            rules = script.get(name, {})
            if not isinstance(rules, Mapping):
                raise ValueError(f"{name} must be an object of rules")
            self._impairments.append(Impairment(Rules(**rules), 2 * seed + side))
        self._last_due: dict[tuple[Endpoint, Endpoint, int], int] = {}
        self._due: list[tuple[int, int, int, bytes]] = []
        self._number = 0

    def take(self, side: int, frame: bytes, now: int) -> None:
        """A frame came in on a side: 0 left, 1 right."""
        self.log.frames += 1
        inner = datagram(frame)
        if inner is None or not is_rtp(inner.payload):
            passes = inner is None or self._noted(inner, blocked=self._impairments[side].rules.blocked)
            if passes:
                self._keep(now, side, frame)
            return
        stream = self._stream(inner)
        seq = int.from_bytes(inner.payload[2:4])
        stream.came.append(seq)
        stream.payload_types.append(inner.payload[1] & 127)
        fate = self._impairments[side].decide()
        if fate.lost:
            stream.lost.append(seq)
            return
        key = (inner.src, inner.dst, stream.ssrc)
        due = now + fate.delay
        if fate.ordered:
            due = self._last_due[key] = max(due, self._last_due.get(key, 0) + 1)
        self._keep(due, side, frame)
        if fate.copy_after is not None:
            stream.duplicated.append(seq)
            self._keep(due + fate.copy_after, side, renumbered(frame))

    def due(self, now: int) -> list[tuple[int, bytes]]:
        """Frames to send now, each with the side it came from, in order."""
        ready = []
        while self._due and self._due[0][0] <= now:
            _, _, side, frame = heappop(self._due)
            inner = datagram(frame)
            if inner is not None and is_rtp(inner.payload):
                self._stream(inner).went.append(int.from_bytes(inner.payload[2:4]))
            ready.append((side, frame))
        return ready

    def wait(self, now: int) -> float | None:
        """Seconds until the next frame is due; None: nothing waits."""
        return max(0, self._due[0][0] - now) / 1e9 if self._due else None

    def _keep(self, due: int, side: int, frame: bytes) -> None:
        self._number += 1
        heappush(self._due, (due, self._number, side, frame))

    def _stream(self, inner: Datagram) -> StreamLog:
        ssrc = int.from_bytes(inner.payload[8:12])
        key = (inner.src, inner.dst, ssrc)
        return self.log.streams.setdefault(key, StreamLog(inner.src, inner.dst, ssrc))

    def _noted(self, inner: Datagram, *, blocked: bool) -> bool:
        """Write down RTCP and SIP; only RTCP is stopped where media is blocked."""
        if len(inner.payload) >= 8 and inner.payload[0] >> 6 == 2:
            self.log.rtcp += not blocked
            return not blocked
        head = inner.payload.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
        if "SIP/2.0" in head[0]:
            call_id = next((line[8:].strip() for line in head if line.lower().startswith("call-id:")), "")
            self.log.sip.append(SipLine(inner.src, inner.dst, head[0], call_id))
        return True


def renumbered(frame: bytes) -> bytes:
    """The frame under another IPv4 identification, as a packet sent twice has it; IPv6 has none."""
    if frame[12:14] != b"\x08\x00":
        return frame
    header = bytearray(frame[14 : 14 + 4 * (frame[14] & 15)])
    header[4:6] = struct.pack("!H", (int.from_bytes(header[4:6]) + 32768 | 1) % 65536)
    header[10:12] = b"\0\0"
    header[10:12] = struct.pack("!H", checksum(bytes(header)))
    return frame[:14] + bytes(header) + frame[14 + len(header) :]


def run(left: str, right: str, relay: Relay) -> None:
    """Bridge the two interfaces until SIGTERM or SIGINT."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    sockets = []
    for name in (left, right):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        tap.bind((name, _ETH_P_ALL))
        tap.setblocking(False)
        sockets.append(tap)
    print("ready", flush=True)  # noqa: T201 the recipe waits for this line
    while not stopping:
        wait = relay.wait(time.monotonic_ns())
        readable, _, _ = select.select(sockets, [], [], 0.2 if wait is None else min(wait, 0.2))
        for tap in readable:
            data, address = tap.recvfrom(65536)
            if address[2] != _PACKET_OUTGOING:
                relay.take(sockets.index(tap), data, time.monotonic_ns())
        for side, frame in relay.due(time.monotonic_ns()):
            sockets[1 - side].send(frame)
    for tap in sockets:
        tap.close()


def main() -> None:
    """Run the relay as a process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--left", required=True)
    parser.add_argument("--right", required=True)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()
    relay = Relay(json.loads(arguments.script.read_text()))
    run(arguments.left, arguments.right, relay)
    arguments.log.write_text(json.dumps(relay.log.written(), indent=1) + "\n")


if __name__ == "__main__":
    main()
