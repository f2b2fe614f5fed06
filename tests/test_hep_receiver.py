"""The HEP source on real sockets: everything sent becomes calls, and what cannot is counted by its reason."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from hep_traffic import ALICE, BOB, Delivered, call_messages, call_packets, on_loopback, running, send_stream, send_udp
from hypothesis import given
from hypothesis import strategies as st

from collector.calls import CallLimits
from collector.facts import CallState
from collector.live.source import Found
from collector.protocols.hep import RTCP, SIP, HepPacket, serialize
from collector.receivers.hep import HepReceiver, HepSettings, ReceivedMessage
from collector.receivers.listening import ConnectionLimits, Listen, ListenError, listen_address
from collector.receivers.sip_intake import SipIntake


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("udp:127.0.0.1:9061", Listen("udp", "127.0.0.1", 9061)),
        ("tcp:[::1]:9062", Listen("tcp", "::1", 9062)),
        ("tls:[2001:db8::1]", Listen("tls", "2001:db8::1", 9060)),
        ("udp::9063", Listen("udp", "", 9063)),
        ("tcp:hep.example.com", Listen("tcp", "hep.example.com", 9060)),
    ],
)
def test_addresses_are_read(text: str, address: Listen) -> None:
    assert listen_address(text, 9060) == address


@pytest.mark.parametrize(
    "text", ["", "9060", "http:127.0.0.1", "udp:::1:9060", "udp:a:70000", "tcp:[::1:9060", "tcp:a:b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ListenError):
        listen_address(text, 9060)


def test_calls_over_udp_and_tcp_are_delivered_once_each() -> None:
    delivered = Delivered()

    async def scene() -> None:
        async with running(HepSettings(on_loopback("udp", "tcp")), delivered) as source:
            udp, tcp = source.addresses
            ids = [f"call-{number}" for number in range(40)]
            await send_udp(udp, [packet for call_id in ids[:20] for packet in call_packets(call_id)])
            await send_stream(tcp, b"".join(packet for call_id in ids[20:] for packet in call_packets(call_id)), 777)
        health = source.health()
        assert (health.seen, health.parsed, health.calls, health.lost) == (240, 240, 40, {})

    asyncio.run(scene())
    assert delivered.call_ids == sorted(f"call-{number}" for number in range(40))
    assert {call.state for call in delivered.calls} == {CallState.COMPLETED}
    assert {call.from_uri for call in delivered.calls} == {"sip:1001@example.com"}


def test_a_call_that_came_octet_by_octet_is_delivered() -> None:
    delivered = Delivered()

    async def scene() -> None:
        async with running(HepSettings(on_loopback("tcp")), delivered) as source:
            await send_stream(source.addresses[0], b"".join(call_packets("slowly")), 1)

    asyncio.run(scene())
    assert delivered.call_ids == ["slowly"]


def test_calls_over_tls_are_delivered(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate and is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    delivered = Delivered()

    async def scene() -> None:
        settings = HepSettings(on_loopback("tls"), certificate=certificate, key=key)
        async with running(settings, delivered) as source:
            client = ssl.create_default_context(cafile=str(certificate))
            packets = b"".join(call_packets("secret"))
            await send_stream(source.addresses[0], packets, ssl=client, server_hostname="localhost")

    asyncio.run(scene())
    assert delivered.call_ids == ["secret"]


def test_tls_without_a_certificate_is_refused() -> None:
    async def scene() -> None:
        receiver = HepReceiver(HepSettings(on_loopback("udp", "tls")), SipIntake(""), time.time_ns)
        with pytest.raises(ListenError, match="certificate"):
            await receiver.open()

    asyncio.run(scene())


def test_an_address_in_use_is_refused_by_name() -> None:
    async def scene() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            address = Listen("udp", "127.0.0.1", taken.getsockname()[1])
            receiver = HepReceiver(HepSettings((address,)), SipIntake(""), time.time_ns)
            with pytest.raises(ListenError, match="cannot listen on udp:127"):
                await receiver.open()

    asyncio.run(scene())


def test_a_flood_of_nonsense_is_counted_and_calls_come_through() -> None:
    delivered = Delivered()
    chance = random.Random(20)
    nonsense = [chance.randbytes(chance.randrange(1, 300)) for _ in range(500)]
    nonsense += [serialize(HepPacket(3, SIP, 0, ALICE, BOB, 17, chance.randbytes(90))) for _ in range(500)]
    call = call_packets("through")
    nonsense += [packet[: chance.randrange(6, len(packet))] for packet in call * 80]
    chance.shuffle(nonsense)

    async def scene() -> None:
        async with running(HepSettings(on_loopback("udp", "tcp")), delivered) as source:
            udp, tcp = source.addresses
            await send_udp(udp, [*nonsense, *call_packets("over-udp")])
            await send_stream(tcp, chance.randbytes(100_000) + b"".join(call_packets("over-tcp")))
        receiver, intake = source.receiver, source.intake
        assert receiver.received == receiver.handed_on + receiver.malformed.total()
        assert receiver.received == len(nonsense) + 12
        assert receiver.handed_on == intake.taken.total() == 500 + 12
        assert intake.refused.total() == 500
        assert receiver.malformed["cut_short"] >= 480
        assert receiver.skipped_octets >= 100_000
        assert source.health().parsed == 12

    asyncio.run(scene())
    assert delivered.call_ids == ["over-tcp", "over-udp"]


def test_packets_without_the_key_are_refused() -> None:
    delivered = Delivered()

    async def scene() -> None:
        async with running(HepSettings(on_loopback("udp"), auth_key=b"secret"), delivered) as source:
            await send_udp(source.addresses[0], [*call_packets("without"), *call_packets("with", auth_key=b"secret")])
        assert source.receiver.malformed == {"auth_key_wrong": 6}
        assert source.health().lost == {"hep_auth_key_wrong": 6}

    asyncio.run(scene())
    assert delivered.call_ids == ["with"]


def test_a_connection_that_dawdles_over_a_message_is_closed() -> None:
    async def scene() -> None:
        limits = ConnectionLimits(message_seconds=0.2, idle_seconds=60)
        async with running(HepSettings(on_loopback("tcp"), limits=limits), Delivered()) as source:
            address = source.addresses[0]
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(b"HEP3\x01")
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(_read_to_end(reader), 10)
            writer.close()
            assert source.health().lost == {"closed_slow": 1, "hep_cut_short": 1}
            assert not source.receiver.ports.connections

    asyncio.run(scene())


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    if not await reader.read():
        raise ConnectionResetError


def test_connections_past_the_limit_are_refused_and_counted() -> None:
    delivered = Delivered()

    async def scene() -> None:
        settings = HepSettings(on_loopback("tcp"), limits=ConnectionLimits(connections=2))
        async with running(settings, delivered) as source:
            address = source.addresses[0]
            held = [await asyncio.open_connection(address.host, address.port) for _ in range(2)]
            refused, closed = await asyncio.open_connection(address.host, address.port)
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(_read_to_end(refused), 10)
            closed.close()
            held[0][1].write(b"".join(call_packets("held")))
            await held[0][1].drain()
            await asyncio.sleep(0.1)
            for _, writer in held:
                writer.close()
        assert source.receiver.ports.counts["connections_refused"] == 1
        assert source.health().lost == {"connections_refused": 1}

    asyncio.run(scene())
    assert delivered.call_ids == ["held"]


def test_a_stop_loses_nothing_that_was_sent_before_it() -> None:
    delivered = Delivered()

    async def scene() -> None:
        async with running(HepSettings(on_loopback("udp", "tcp")), delivered) as source:
            udp, tcp = source.addresses
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                # All of it lies in the kernel's buffers when the stop comes: this loop has not turned meanwhile.
                for number in range(20):
                    for packet in call_packets(f"udp-{number}"):
                        sender.sendto(packet, (udp.host, udp.port))
            stream = socket.create_connection((tcp.host, tcp.port))
            stream.sendall(b"".join(packet for number in range(20) for packet in call_packets(f"tcp-{number}")))
            going_on = call_packets("going-on")[:4]
            stream.sendall(b"".join(going_on))
        stream.close()
        assert source.receiver.received == 244
        assert source.receiver.ports.kernel_drops == 0

    asyncio.run(scene())
    assert len(set(delivered.call_ids)) == 41
    states = {call.call_id: call.state for call in delivered.calls}
    assert states.pop("going-on") is CallState.IN_PROGRESS
    assert set(states.values()) == {CallState.COMPLETED}


def test_calls_are_delivered_while_the_source_runs_and_not_before_their_grace() -> None:
    delivered = Delivered()

    async def scene() -> float:
        async with running(HepSettings(on_loopback("udp")), delivered) as source:
            await send_udp(source.addresses[0], call_packets("soon"))
            sent = time.monotonic()
            while not delivered.calls:
                await asyncio.sleep(0.1)
                assert time.monotonic() - sent < 60
            return time.monotonic() - sent

    assert asyncio.run(scene()) >= 4.9, "a BYE's own grace had to pass"


def test_messages_are_taken_while_a_delivery_waits() -> None:
    class Slow(Delivered):
        def __init__(self) -> None:
            super().__init__()
            self.may = asyncio.Event()

        async def __call__(self, found: Found) -> None:
            await self.may.wait()
            await super().__call__(found)

    async def scene() -> Slow:
        delivered = Slow()
        async with running(HepSettings(on_loopback("udp")), delivered, flush_seconds=0.1) as source:
            row = "P-RTP-Stat: PS=1,PR=2"
            await send_udp(source.addresses[0], call_packets("first", row))
            await asyncio.sleep(0.5)
            await send_udp(source.addresses[0], call_packets("second"))
            await asyncio.sleep(0.2)
            assert (source.receiver.received, delivered.rows) == (12, [])
            delivered.may.set()
        return delivered

    delivered = asyncio.run(scene())
    assert delivered.call_ids == ["first", "second"]
    assert len(delivered.rows) == 1


def test_senders_over_tcp_wait_for_a_store_that_is_slow_and_lose_nothing() -> None:
    class Slow(Delivered):
        async def __call__(self, found: Found) -> None:
            await asyncio.sleep(0.5)
            await super().__call__(found)

    delivered = Slow()

    async def scene() -> None:
        limits = CallLimits(max_calls=200, max_other_call_ids=50)
        async with running(HepSettings(on_loopback("tcp")), delivered, 0.1, limits) as source:
            # Many times what the tables hold: the sender must be made to wait.
            data = [packet for number in range(1500) for packet in call_packets(f"call-{number}")]
            for place in range(0, len(data), 60):
                await send_stream(source.addresses[0], b"".join(data[place : place + 60]))
        assert source.receiver.ports.counts["pauses"] > 0
        assert source.receiver.received == 9000
        assert source.health().lost == {}

    asyncio.run(scene())
    assert len(set(delivered.call_ids)) == len(delivered.calls) == 1500


# --- what becomes of messages ---------------------------------------------------------------------------------------

NOW = 1_700_000_000 * 10**9


def received(payload: bytes, kind: int = SIP, at: int = NOW, correlation_id: str | None = None) -> ReceivedMessage:
    return ReceivedMessage(at, at, ALICE, BOB, "udp", kind, payload, 2001, correlation_id)


def test_statistics_of_a_bye_become_a_row(shared: Path) -> None:
    intake = SipIntake("here")
    header = (shared / "vq" / "sip_bye_cisco_rtp_stats.txt").read_text().splitlines()[1]
    intake.take([received(payload) for payload, _ in call_messages("one", header)])
    _, (row,) = intake.harvest(NOW)
    assert (row["source"], row["call_id"], row["packets_sent"], row["packets_lost"]) == ("rtp-stat", "one", 3775, 0)
    assert (row["latency_ms"], row["jitter_ms"], row["device"]) == (4, 0, "192.0.2.1")


def test_a_captured_publish_becomes_rows_of_both_sides(shared: Path) -> None:
    intake = SipIntake("here")
    body = (shared / "vq" / "vq_snom710_local_remote.txt").read_bytes()
    head = call_messages("publish")[0][0].replace(b"INVITE", b"PUBLISH").replace(
        b"Content-Length: 0", b"Content-Type: application/vq-rtcpxr\r\nContent-Length: %d" % len(body)
    )  # fmt: skip
    intake.take([received(head + body)])
    _, rows = intake.harvest(NOW)
    assert [(row["side"], row["mos_cq"], row["call_id"]) for row in rows] == [
        ("local", 3.9, "b4d42387@pbx"),
        ("remote", 4.1, "b4d42387@pbx"),
    ]
    assert len({row["row_key"] for row in rows}) == 2
    assert rows[0]["directory_number"] == "102"
    assert rows[0]["device"] == "snom710/8.7.3.201309022318"
    assert rows[0]["reported"] == NOW // 1000, "the telephone's clock says the year 2000"


def test_rtcp_as_json_becomes_a_row_once_its_source_is_silent(shared: Path) -> None:
    intake = SipIntake("here")
    payload = (shared / "vq" / "hep_type5_rtcp.json").read_bytes()
    intake.take([received(payload, RTCP, NOW, "one"), received(payload, RTCP, NOW + 5 * 10**9, "one")])
    assert intake.harvest(NOW + 30 * 10**9) == ([], [])
    _, (row,) = intake.harvest(NOW + 70 * 10**9)
    assert (row["source"], row["call_id"], row["packets_lost"], row["packets_sent"]) == ("rtcp", "one", 0, 4017)
    assert row["jitter_ms"] is None, "no description told the clock rate"
    assert intake.rest(NOW) == ([], [])


def test_messages_that_overtook_each_other_are_put_in_order() -> None:
    told = []
    for order in (range(6), (1, 0, 3, 2, 5, 4), (5, 4, 3, 2, 1, 0)):
        intake = SipIntake("here")
        messages = [
            ReceivedMessage(
                NOW + place * 10**8, NOW, *((ALICE, BOB) if by_caller else (BOB, ALICE)), "udp", SIP, raw, 1, None
            )
            for place, (raw, by_caller) in enumerate(call_messages("one"))
        ]
        intake.take([messages[place] for place in order])
        told.append(intake.calls.rest())
    assert told[0] == told[1] == told[2]


def test_kinds_that_say_nothing_of_calls_are_counted() -> None:
    intake = SipIntake("here")
    intake.take([received(b"text", 100), received(b"{}", 35), received(b"?", 250), received(b"{}", RTCP)])
    assert intake.taken == {"log": 1, "mos_short": 1, "unknown": 1, "rtcp": 1}
    assert intake.ignored == 2
    assert intake.refused == {"rtcp_json_not_rtcp": 1, "report_not_a_report": 1}


def test_reports_of_agents_become_a_row_for_each_direction() -> None:
    intake = SipIntake("here")
    of_stream = {
        "CORRELATION_ID": "one",
        "TOTAL_PK": 1500,
        "PACKET_LOSS": 3,
        "MEAN_JITTER": 2.5,
        "MOS": 4.38,
        "RFACTOR": 92.4,
    }
    inward = {"INC_ID": "two", "INC_MOS": 420, "INC_RVAL": 8500, "INC_RTP_PK": 5000, "INC_RTP_PK_LOSS": 12}
    outward = {"OUT_ID": "two", "OUT_MOS": 410, "OUT_RTP_PK": 4990, "OUT_RTCP_AVG_LAT": 32}
    both = inward | outward | {"INC_RTP_AVG_JITTER": 8}
    intake.take([received(json.dumps(of_stream).encode(), 34), received(json.dumps(both).encode(), 38)])
    _, rows = intake.harvest(NOW)
    shown = (
        "call_id",
        "packets_received",
        "packets_sent",
        "packets_lost",
        "jitter_ms",
        "mos_lq",
        "r_factor",
        "round_trip_ms",
    )
    assert [tuple(row[name] for name in shown) for row in rows] == [
        ("one", 1500, None, 3, 2.5, 4.38, 92.4, None),
        ("two", 5000, None, 12, 8, 4.2, 85, None),
        ("two", None, 4990, None, None, 4.1, None, 32),
    ]
    assert {row["source"] for row in rows} == {"hep-report"}
    assert len({row["row_key"] for row in rows}) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ssrc", "report_blocks", "TOTAL_PK", "INC_MOS", "MOS", "packets_lost"]), inner
        )
    ),
    max_leaves=9,
).map(lambda value: json.dumps(value).encode())


@given(st.sampled_from([RTCP, 34, 35, 38]), JSON | st.binary(max_size=200))
def test_any_report_is_taken_or_refused_by_name(kind: int, payload: bytes) -> None:
    intake = SipIntake("here")
    intake.take([received(payload, kind)])
    _, rows = intake.rest(NOW)
    assert intake.refused.total() in (0, 1)
    assert not (rows and intake.refused)
