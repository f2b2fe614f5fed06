"""PUBLISH with voice-quality reports: answers by RFC 3903, reports delivered once, nonsense counted."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hep_senders import free_port, linphone_call
from hep_traffic import Delivered, on_loopback
from hypothesis import given
from hypothesis import strategies as st

from collector.facts import Endpoint
from collector.protocols.sip import SipMessage, frame_length, parse
from collector.protocols.sip_publish import PublishServer
from collector.receivers.listening import ConnectionLimits
from collector.receivers.sip_publish import PublishSettings, PublishSource

PHONE = Endpoint("192.0.2.7", 5062)
SECOND = 1_000_000_000
BODY = "VQSessionReport: CallTerm\r\nCallID:{call_id}\r\nLocalMetrics:\r\nQualityEst:MOSLQ=4.1 MOSCQ=4.0\r\n"


def publish(number: int = 1, *extra: str, body: str | None = None, method: str = "PUBLISH", **headers: str) -> bytes:
    body = BODY.format(call_id=f"call-{number}") if body is None else body
    fields = {
        "Via": f"SIP/2.0/UDP 192.0.2.7:5061;branch=z9hG4bKp{number};rport",
        "From": "<sip:7@example.com>;tag=p",
        "To": "<sip:collector@example.com>",
        "Call-ID": f"publish-{number}",
        "CSeq": f"1 {method}",
        "Event": "vq-rtcpxr",
        "Content-Type": "application/vq-rtcpxr",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} sip:collector@example.com SIP/2.0", *(f"{n}: {v}" for n, v in fields.items() if v), *extra]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def answer(server: PublishServer, data: bytes, now: int = 0) -> SipMessage:
    response = server.take(data, PHONE, now).response
    assert response is not None
    message = parse(response)
    assert message.defects == ()
    return message


def test_a_report_is_answered_as_rfc_3903_says() -> None:
    server = PublishServer()
    request = publish()
    answered = server.take(request, PHONE, 0)
    assert answered.response is not None
    response = parse(answered.response)
    assert (response.status, response.reason_phrase) == (200, "OK")
    assert response.header("sip-etag")
    assert response.header("expires") == "3600"
    assert (response.call_id, response.cseq, response.cseq_method) == ("publish-1", 1, "PUBLISH")
    assert (response.from_tag, bool(response.to_tag)) == ("p", True)
    assert response.header("via") == "SIP/2.0/UDP 192.0.2.7:5061;branch=z9hG4bKp1;rport=5062;received=192.0.2.7"
    assert answered.to == PHONE
    assert answered.published is not None
    assert (answered.published.report.call_id, answered.published.report.local.mos_cq) == ("call-1", 4.0)


def test_a_real_report_of_a_snom_is_taken(shared: Path) -> None:
    answered = PublishServer().take((shared / "vq" / "publish_snom821.sip").read_bytes(), PHONE, 0)
    assert answered.response is not None
    assert parse(answered.response).status == 200
    assert answered.published is not None
    assert answered.published.report.local.mos_lq == 4.1, "its Content-Length is wrong, and cuts nothing off"


def test_a_retransmission_gets_the_same_answer_and_counts_once() -> None:
    server = PublishServer()
    first, again = server.take(publish(), PHONE, 0), server.take(publish(), PHONE, SECOND)
    assert first.response == again.response
    assert (first.published is None, again.published is None) == (False, True)
    assert server.counts == {"messages": 2, "reports": 1, "retransmissions": 1}


@pytest.mark.parametrize(
    ("request_", "status", "header"),
    [
        (publish(method="OPTIONS"), 405, ("allow", "PUBLISH")),
        (publish(method="INVITE"), 405, ("allow", "PUBLISH")),
        (publish(Event="presence"), 489, ("allow-events", "vq-rtcpxr")),
        (publish(Content_Type="text/plain"), 415, ("accept", "application/vq-rtcpxr")),
        (publish(body="no report"), 400, ("content-length", "0")),
        (publish(Expires="soon"), 400, ("content-length", "0")),
        (publish(To=""), 400, ("call-id", "publish-1")),
        (publish(CSeq="PUBLISH"), 400, ("call-id", "publish-1")),
        (publish(SIP_If_Match="unknown"), 412, ("content-length", "0")),
    ],
)
def test_what_is_no_report_is_refused_with_its_status(request_: bytes, status: int, header: tuple[str, str]) -> None:
    answered = PublishServer().take(request_, PHONE, 0)
    assert answered.response is not None
    response = parse(answered.response)
    assert response.status == status
    assert response.header(header[0]) == header[1]
    assert answered.published is None


def test_a_publication_is_refreshed_by_its_tag_until_it_expires() -> None:
    server = PublishServer()
    tag = answer(server, publish(1, Expires="60")).header("sip-etag")
    refreshed = answer(server, publish(2, Expires="60", SIP_If_Match=str(tag), body=""), 59 * SECOND)
    assert (refreshed.status, refreshed.header("expires")) == (200, "60")
    assert refreshed.header("sip-etag") != tag
    assert answer(server, publish(3, SIP_If_Match=str(tag), body=""), 59 * SECOND).status == 412
    late = publish(4, SIP_If_Match=str(refreshed.header("sip-etag")), body="")
    assert answer(server, late, 200 * SECOND).status == 412


def test_a_response_goes_where_via_says() -> None:
    server = PublishServer()
    assert server.take(publish(Via="SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx"), PHONE, 0).to == Endpoint("192.0.2.7", 5060)
    assert server.take(publish(Via="SIP/2.0/UDP 10.0.0.1:5099;branch=z9hG4bKy"), PHONE, 0).to == Endpoint(
        "192.0.2.7", 5099
    )


@pytest.mark.parametrize("data", [b"SIP/2.0 200 OK\r\n\r\n", publish(method="ACK"), b"nonsense", bytes(100)])
def test_what_is_no_request_is_not_answered(data: bytes) -> None:
    server = PublishServer()
    assert server.take(data, PHONE, 0).response is None
    assert server.counts.total() == 2


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: b"PUBLISH sip:a SIP/2.0\r\n" + text.encode()))
def test_any_octets_are_answered_or_counted(data: bytes) -> None:
    server = PublishServer()
    answered = server.take(data, PHONE, 0)
    assert server.counts.total() == 2
    if answered.response is not None:
        parse(answered.response)


@given(st.binary(max_size=60), st.sampled_from(["Via", "From", "To", "Call_ID", "Event", "SIP_If_Match", "Expires"]))
def test_any_header_leaves_a_response_that_can_be_read(value: bytes, name: str) -> None:
    text = value.decode("latin-1").replace("\n", " ")
    response = PublishServer().take(publish(1, **{name: text}), PHONE, 0).response
    if response is not None:
        assert frame_length(response) == len(response)


def test_tables_are_bounded() -> None:
    server = PublishServer(limit=100)
    for number in range(1000):
        server.take(publish(number), PHONE, number)
    assert (len(server._answers), len(server._tags)) == (100, 100)


# --- on sockets -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(
    delivered: Delivered, *transports: str, limits: ConnectionLimits | None = None
) -> AsyncIterator[PublishSource]:
    settings = PublishSettings(on_loopback(*transports), limits=limits or ConnectionLimits())
    source = PublishSource(settings, "test", time.time_ns)
    async with asyncio.TaskGroup() as group:
        group.create_task(source.run(delivered))
        await asyncio.wait_for(source.ready.wait(), 10)
        yield source
        source.stop()


def test_reports_over_udp_and_tcp_are_answered_and_delivered() -> None:
    delivered = Delivered()

    async def scene() -> None:
        async with running(delivered, "udp", "tcp") as source:
            udp, tcp = source.addresses
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                phone.setblocking(False)
                await loop.sock_connect(phone, (udp.host, udp.port))
                await loop.sock_sendall(phone, publish(1))
                assert parse(await asyncio.wait_for(loop.sock_recv(phone, 4096), 10)).status == 200
            reader, writer = await asyncio.open_connection(tcp.host, tcp.port)
            requests = b"\r\n\r\n" + publish(2) + publish(3, method="OPTIONS") + publish(4)
            for place in range(0, len(requests), 7):
                writer.write(requests[place : place + 7])
                await writer.drain()
            assert await reader.readexactly(2) == b"\r\n"
            statuses = []
            for _ in range(3):
                statuses.append(parse(await reader.readuntil(b"\r\n\r\n")).status)
            assert statuses == [200, 405, 200]
            writer.close()
        health = source.health()
        assert (health.seen, health.parsed, health.lost) == (4, 3, {"method_not_allowed": 1})

    asyncio.run(scene())
    assert sorted(row["call_id"] for row in delivered.rows) == ["call-1", "call-2", "call-4"]


def test_a_flood_of_nonsense_is_counted_and_reports_come_through() -> None:
    delivered = Delivered()
    chance = random.Random(7)

    async def scene() -> None:
        async with running(delivered, "udp", "tcp") as source:
            udp, tcp = source.addresses
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                for number in range(1000):
                    data = bytearray(publish(number))
                    for _ in range(chance.randrange(1, 30)):
                        data[chance.randrange(len(data))] = chance.randrange(256)
                    phone.sendto(data, (udp.host, udp.port))
                    if number % 50 == 0:
                        await asyncio.sleep(0.001)
                phone.sendto(publish(5000), (udp.host, udp.port))
            reader, writer = await asyncio.open_connection(tcp.host, tcp.port)
            writer.write(chance.randbytes(5000))
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(_read_to_end(reader), 10)
            writer.close()
        counts = source.server.counts
        assert counts["messages"] == 1002
        assert counts.total() == 2 * 1002
        assert source.ports.counts["closed_garbage"] == 1

    asyncio.run(scene())
    assert "call-5000" in {row["call_id"] for row in delivered.rows}


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    if not await reader.read():
        raise ConnectionResetError


def test_a_report_that_linphone_publishes_is_delivered(tmp_path: Path) -> None:
    delivered = Delivered()

    async def scene() -> None:
        async with running(delivered, "udp") as source:
            await asyncio.to_thread(linphone_call, tmp_path, source.addresses[0].port, free_port())
        assert source.health().lost == {}

    asyncio.run(scene())
    assert [row["side"] for row in delivered.rows] == ["local", "remote"]
    local = delivered.rows[0]
    assert (local["directory_number"], local["codec"], local["kind"]) == ("tester", "PCMU", "session")
    assert abs(local["stop"] * 1000 - time.time_ns()) < 60 * SECOND
