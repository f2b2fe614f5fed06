"""HEP over TCP into calls of the store, beside a bare asyncio reader of the same octets, and HEP over UDP at a pace.

python -m benchmarks.hep --serve ours|bare tcp|udp PACKETS STORE     (what the benchmark itself starts)
"""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.captures import ROOT
from benchmarks.targets import Target
from collector.facts import Endpoint
from collector.protocols.hep import MAGIC, SIP, HepPacket, serialize

if TYPE_CHECKING:
    from benchmarks.run import Bench

TCP_RATE = "HEP SIP packets over TCP"
UDP_PACE = 20_000
"""Packets a second sent over UDP."""
MESSAGES = 6
"""Of one call."""
GIVE_UP_S = 60.0


class Served(NamedTuple):
    """What a receiver found."""

    packets: int
    seconds: float
    """First packet to the last row in the store; of the bare reader to the last packet."""
    read_seconds: float
    """First packet to last."""
    calls: int
    """Stored."""


def call(number: int, now: int) -> bytes:
    """One answered call of six messages as HEP packets."""
    src, dst = Endpoint(f"10.1.{number % 70}.9", 5060), Endpoint("10.0.0.5", 5060)
    call_id = f"{number:08x}-5f3a-4e0b-{number % 65521:04x}@10.1.{number % 70}.9"
    packets = []
    for place, (start, cseq, by_caller) in enumerate(
        (
            ("INVITE sip:02079460123@10.0.0.5 SIP/2.0", "1 INVITE", True),
            ("SIP/2.0 180 Ringing", "1 INVITE", False),
            ("SIP/2.0 200 OK", "1 INVITE", False),
            ("ACK sip:02079460123@10.0.0.5 SIP/2.0", "1 ACK", True),
            ("BYE sip:02079460123@10.0.0.5 SIP/2.0", "2 BYE", True),
            ("SIP/2.0 200 OK", "2 BYE", False),
        )
    ):
        tag = "" if place == 0 else f";tag=as{number:x}"
        message = (
            f"{start}\r\nVia: SIP/2.0/UDP {src};branch=z9hG4bK{number:x}.{cseq[0]}{cseq[2]}\r\n"
            f'From: "Desk {number}" <sip:{7000 + number % 999}@10.0.0.5>;tag={number:x}\r\n'
            f"To: <sip:02079460123@10.0.0.5>{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n"
            f"Contact: <sip:{7000 + number % 999}@{src}>\r\nMax-Forwards: 70\r\nUser-Agent: Desk Phone 12.8.1\r\n"
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, REFER, NOTIFY, UPDATE\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        ends = (src, dst) if by_caller else (dst, src)
        packets.append(serialize(HepPacket(3, SIP, now + place * 1_000_000, *ends, 17, message, 2001, call_id)))
    return b"".join(packets)


def hep(bench: Bench) -> None:
    """Packets a second over TCP until all are rows of the store, and packets lost over UDP at a pace."""
    packets = bench.hep_packets // MESSAGES * MESSAGES
    now = time.time_ns()
    data = b"".join(call(number, now) for number in range(packets // MESSAGES))
    bench.say(f"HEP: {packets:,} packets, {len(data) / 1e6:.0f} MB, {len(data) // packets} octets each")
    served: dict[str, list[Served]] = {"ours": [], "bare": []}
    for _ in range(bench.runs):
        for who, runs in served.items():
            runs.append(_run(bench, who, "tcp", data, packets))
    rates = {who: statistics.median(each.packets / each.seconds for each in runs) for who, runs in served.items()}
    got = sum(each.packets for each in served["ours"])
    calls = sum(each.calls for each in served["ours"])
    lost = 100 - 100 * got / (packets * bench.runs)
    read = statistics.median(each.packets / each.read_seconds for each in served["ours"])
    note = (
        f"{lost:.3f} % lost, {calls:,} of {packets // MESSAGES * bench.runs:,} calls stored; "
        f"read at {read / 1e3:,.0f} k; a bare asyncio reader {rates['bare'] / 1e3:,.0f} k"
    )
    bench.targets.append(Target(TCP_RATE, "k/s", 100, 150, rates["ours"] / 1e3, True, note))
    share = rates["bare"] / read
    bench.targets.append(Target("the same, bare asyncio reader", "x its time", 40, 20, share, False))
    paced = packets // 4 // MESSAGES * MESSAGES
    over_udp = _run(bench, "ours", "udp", data, paced)
    lost = 100 - 100 * over_udp.packets / paced
    note = f"{paced:,} packets at {UDP_PACE / 1e3:.0f} k/s; {over_udp.calls:,} calls stored"
    bench.targets.append(Target("HEP SIP packets lost over UDP", "%", 0.1, 0, lost, False, note))
    bench.runs_by_name["hep"] = {
        **{who: [each._asdict() for each in runs] for who, runs in served.items()},
        "udp": [over_udp._asdict()],
    }


def _run(bench: Bench, who: str, transport: str, data: bytes, packets: int) -> Served:
    store = bench.folder / "hep-store"
    shutil.rmtree(store, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.hep", "--serve", who, transport, str(packets), str(store)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        if transport == "tcp":
            with socket.create_connection(("127.0.0.1", port)) as sender:
                # A sender that waits for the last octet to be taken, as a busy proxy does.
                sender.sendall(data)
                sender.shutdown(socket.SHUT_WR)
                sender.recv(1)
        else:
            _send_paced(port, data, packets)
        found = json.loads(child.stdout.readline())
    shutil.rmtree(store, ignore_errors=True)
    return Served(**found)


def _send_paced(port: int, data: bytes, packets: int) -> None:
    began = time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        for number, packet in enumerate(_split(data)):
            if number == packets:
                return
            sender.send(packet)
            if number % 20 == 19:
                time.sleep(max(0.0, began + number / UDP_PACE - time.perf_counter()))


def _split(data: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        length = int.from_bytes(data[place + 4 : place + 6], "big")
        yield data[place : place + length]
        place += length


# --- receivers, each a process of its own -----------------------------------------------------------------------------


async def serve_ours(transport: str, packets: int, store: Path) -> dict[str, Any]:
    """Callgauge as `callgauge collect --hep` runs it, stopped when all has come or nothing comes any more."""
    from api.collecting import Collection, collecting
    from collector.live.source import Deliver
    from collector.receivers.hep import HepSettings
    from collector.receivers.hep_source import HepSource
    from collector.receivers.listening import Listen

    times: list[float] = []

    class Watched(HepSource):
        async def run(self, deliver: Deliver) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(super().run(deliver))
                await self.ready.wait()
                print(self.addresses[0].port, flush=True)
                await self._watch()

        async def _watch(self) -> None:
            last, since = 0, time.perf_counter()
            while self.receiver.received < packets:
                await asyncio.sleep(0.002)
                now = time.perf_counter()
                if self.receiver.received != last:
                    last, since = self.receiver.received, now
                    if not times:
                        times.append(now)
                elif now - since > (2.0 if last else GIVE_UP_S):
                    break
            times.append(since if self.receiver.received < packets else time.perf_counter())
            self.stop()

    source = Watched(HepSettings((Listen(transport, "127.0.0.1", 0),)), "bench", time.time_ns)
    kept = Collection("bench", store, None)
    try:
        health = await collecting([source], kept.writer(), lambda _: None)
        stored = time.perf_counter() - times[0] if times else 1e-9
    finally:
        kept.close()
    seconds = times[-1] - times[0] if len(times) > 1 else 1e-9
    return {
        "packets": source.receiver.handed_on,
        "seconds": stored,
        "read_seconds": seconds,
        "calls": health.store.stored.get("calls", 0),
    }


async def serve_bare(packets: int) -> dict[str, Any]:
    """A reader that only cuts the stream into packets."""
    times: list[float] = []
    count = 0

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        times.append(time.perf_counter())
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(6)
                if head[:4] != MAGIC:
                    break
                await reader.readexactly(int.from_bytes(head[4:], "big") - 6)
                count += 1
        times.append(time.perf_counter())
        writer.close()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(read, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await done.wait()
    server.close()
    seconds = times[-1] - times[0]
    return {"packets": count, "seconds": seconds, "read_seconds": seconds, "calls": 0}


def main() -> None:
    """Serve what the benchmark sends, and print what came of it."""
    _, who, transport, packets, store = sys.argv[1:]
    gc.set_threshold(100_000, 20, 20)  # as the command sets it
    serving = serve_ours(transport, int(packets), Path(store)) if who == "ours" else serve_bare(int(packets))
    print(json.dumps(asyncio.run(serving)))


if __name__ == "__main__":
    main()
