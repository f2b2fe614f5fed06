"""Real senders: what Kamailio, sngrep and rtpengine send as HEP becomes calls and reports."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hep_senders import free_port, kamailio, need, process, sipp_calls
from hep_traffic import Delivered, on_loopback, running

from collector.engine import Engine
from collector.facts import CallState
from collector.receivers.hep import HepSettings
from collector.receivers.hep_source import HepSource


@pytest.mark.parametrize("version", [1, 2, 3])
def test_calls_that_kamailio_traces_are_told(tmp_path: Path, version: int) -> None:
    need("kamailio", "sipp")
    delivered = Delivered()

    async def scene() -> None:
        async with running(HepSettings(on_loopback("udp")), delivered) as source:
            await asyncio.to_thread(make_calls, source.addresses[0].port)
            await asyncio.sleep(0.3)
        health = source.health()
        assert health.lost == {}
        assert health.seen == health.parsed >= 5 * 12, "every message on both hops"

    def make_calls(hep: int) -> None:
        callee = free_port()
        with kamailio(tmp_path, hep, callee, version) as proxy:
            sipp_calls(tmp_path, 5, proxy, callee)

    asyncio.run(scene())
    assert len(delivered.calls) == 5
    for call in delivered.calls:
        assert call.state is CallState.COMPLETED
        assert call.status == 200
        assert call.duration_ms is not None
        assert 150 < call.duration_ms < 3000, "sipp holds for 200 ms"
        assert {call.legs[0].src.ip, call.legs[0].dst.ip} == {"127.0.0.1"}
        assert abs(call.start - time.time_ns()) < 60 * 10**9


def test_calls_that_sngrep_forwards_are_told(tmp_path: Path, shared: Path) -> None:
    need("sngrep")
    path = shared / "pcaps" / "sngrep_aaa.pcap"
    engine = Engine()
    engine.read([str(path)])
    expected = engine.finish()
    delivered = Delivered()

    async def scene() -> None:
        async with running(HepSettings(on_loopback("udp")), delivered) as source:
            await asyncio.to_thread(forward, source)
        assert source.receiver.received == expected.sip.messages
        assert source.health().lost == {}

    def forward(source: HepSource) -> None:
        to = f"udp:127.0.0.1:{source.addresses[0].port}"
        with process("sngrep", "-N", "-q", "-H", to, "-I", path, cwd=tmp_path):
            until = time.monotonic() + 20
            while source.receiver.received < expected.sip.messages and time.monotonic() < until:
                time.sleep(0.1)

    asyncio.run(scene())
    told = sorted((call.call_id, call.state, call.status, call.from_uri, call.to_uri) for call in delivered.calls)
    assert told == sorted(
        (call.call_id, call.state, call.status, call.from_uri, call.to_uri) for call in expected.calls
    )


SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"


def bencode(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(bencode(each) for each in value) + b"e"
    octets = value.encode()
    return b"%d:%s" % (len(octets), octets)


def ask(control: int, command: dict[str, Any]) -> bytes:
    """Send a command of rtpengine's control protocol and give the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"cookie " + bencode(command), ("127.0.0.1", control))
        return client.recv(0x10000)


def media_port(reply: bytes) -> int:
    found = re.search(rb"m=audio (\d+)", reply)
    assert found is not None, reply
    return int(found[1])


def test_rtcp_that_rtpengine_sees_becomes_reports_of_its_call(tmp_path: Path) -> None:
    need("rtpengine")
    delivered = Delivered()

    async def scene() -> None:
        async with running(HepSettings(on_loopback("udp")), delivered) as source:
            await asyncio.to_thread(relay_a_call, source.addresses[0].port)
            await asyncio.sleep(0.3)
        assert source.intake.taken["rtcp"] >= 3
        assert source.health().lost == {}

    def relay_a_call(hep: int) -> None:
        control = free_port()
        command = (
            "rtpengine", "--foreground", "--log-stderr", "--log-level=6", "--table=-1", "--interface=127.0.0.1",
            f"--listen-ng=127.0.0.1:{control}", f"--homer=127.0.0.1:{hep}", "--homer-protocol=udp", "--homer-id=2002",
            "--port-min=30000", "--port-max=30999", "--num-threads=2",
        )  # fmt: skip
        with process(*command, cwd=tmp_path, until=b"Startup complete"):
            call: dict[str, Any] = {"call-id": "relayed", "ICE": "remove", "from-tag": "a"}
            callers, callees = rtp_and_rtcp(), rtp_and_rtcp()
            offer = SDP.format(port=callers[0].getsockname()[1])
            ask(control, call | {"command": "offer", "sdp": offer})
            answer = SDP.format(port=callees[0].getsockname()[1])
            reply = ask(control, call | {"command": "answer", "to-tag": "b", "sdp": answer})
            relay = media_port(reply)
            for number in range(50):
                rtp = struct.pack("!BBHII", 0x80, 8, number, number * 160, 0x1111) + bytes(160)
                callers[0].sendto(rtp, ("127.0.0.1", relay))
                time.sleep(0.002)
            for number in range(3):
                # SR with one report block: 7 lost in all, jitter of 80 units of an 8 kHz clock.
                report = struct.pack("!BBHIQIII", 0x81, 200, 12, 0x1111, 1 << 32, 0, 50 + number, 50 * 172)
                report += struct.pack("!IIIIII", 0x2222, 7, 1000, 80, 0, 0)
                callers[1].sendto(report + struct.pack("!BBHI", 0x80, 202, 1, 0x1111), ("127.0.0.1", relay + 1))
                time.sleep(0.05)
            time.sleep(0.5)
            ask(control, call | {"command": "delete", "to-tag": "b"})
            for each in (*callers, *callees):
                each.close()

    asyncio.run(scene())
    rows = [row for row in delivered.rows if row["source"] == "rtcp" and row["packets_lost"] == 7]
    assert rows
    assert {row["call_id"] for row in rows} == {"relayed"}
    assert {row["packets_sent"] for row in rows} == {52}


def rtp_and_rtcp() -> tuple[socket.socket, socket.socket]:
    """Sockets on two ports of which the second follows the first."""
    for _ in range(100):
        first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        first.bind(("127.0.0.1", 0))
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            second.bind(("127.0.0.1", first.getsockname()[1] + 1))
        except OSError:
            first.close()
            second.close()
            continue
        return first, second
    pytest.skip("no two ports in a row are free")
