"""P-RTP-Stat in BYE and its answer: real calls of sipp through Kamailio, by HEP, live from a capture, and replayed."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hep_senders import free_port, kamailio, need, process
from hep_traffic import Delivered, on_loopback, running

from analytics.store.lake import Lake
from api.main import shell
from collector.capture import columns as c
from collector.device_statistics import DeviceStatisticsBook
from collector.facts import Endpoint
from collector.protocols.rtp_stat import RtpStatistics
from collector.protocols.sip import SipMessage, index_batch, parse
from collector.receivers.hep import HepSettings

CALLS = 5
ENDS_OF_BYE = "CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
STATS = "P-RTP-Stat: PS=10{number},OS=17200,PR=20{number},OR=17028,PL=3,JI=4,LA=7"


def scenario(tmp_path: Path, name: str) -> Path:
    """The scenario that sipp itself has, with statistics in the BYE, or in the answer to it."""
    text = subprocess.run(["sipp", "-sd", name], capture_output=True, text=True, check=False).stdout
    header = STATS.format(number="[call_number]")
    if name == "uac":
        text, made = re.subn(r"(CSeq: \d+ BYE\n)", rf"\1      {header}\n", text)
    else:
        at = text.rindex("SIP/2.0 200 OK")
        text, made = text[:at] + text[at:].replace("[last_CSeq:]", f"[last_CSeq:]\n      {header}", 1), 1
    if made != 1 or header not in text:
        pytest.skip("this sipp's own scenario is another")
    path = tmp_path / f"{name}.xml"
    path.write_text(text[text.index("<?xml") :], encoding="utf-8")
    return path


def make_calls(tmp_path: Path, proxy: int, callee: int) -> None:
    answering = ("sipp", "-sf", scenario(tmp_path, "uas"), "-i", "127.0.0.1", "-p", str(callee), "-nostdin")
    with process(*answering, cwd=tmp_path):
        time.sleep(1.0)
        subprocess.run(
            ["sipp", "-sf", scenario(tmp_path, "uac"), f"127.0.0.1:{proxy}", "-i", "127.0.0.1",
             "-p", str(free_port()), "-m", str(CALLS), "-r", "10", "-d", "200", "-nostdin", "-timeout", "40"],
            cwd=tmp_path, check=True, capture_output=True, timeout=50,
        )  # fmt: skip


def check(rows: list[dict[str, Any]]) -> None:
    """A row of each side of each call, though each message was seen on both sides of the proxy."""
    assert len(rows) == 2 * CALLS
    assert len({row["row_key"] for row in rows}) == 2 * CALLS
    assert len({row["call_id"] for row in rows}) == CALLS
    for row in rows:
        assert (row["source"], row["kind"], row["side"], row["device"]) == ("rtp-stat", "bye", "local", "127.0.0.1")
        assert (row["packets_lost"], row["jitter_ms"], row["latency_ms"]) == (3, 4, 7)
    # sipp numbers the calls of each side from 1.
    expected = sorted(2 * [int(f"10{number}") for number in range(1, CALLS + 1)])
    assert sorted(row["packets_sent"] for row in rows) == expected
    assert sorted(row["packets_received"] for row in rows) == [100 + number for number in expected]


def test_statistics_that_kamailio_traces_become_reports_once(tmp_path: Path) -> None:
    need("kamailio", "sipp")
    delivered = Delivered()

    def call(hep: int) -> None:
        callee = free_port()
        with kamailio(tmp_path, hep, callee) as proxy:
            make_calls(tmp_path, proxy, callee)

    async def scene() -> None:
        async with running(HepSettings(on_loopback("udp")), delivered) as source:
            await asyncio.to_thread(call, source.addresses[0].port)
            await asyncio.sleep(0.3)

    asyncio.run(scene())
    assert len(delivered.calls) == CALLS
    check(list(delivered.rows))


def reports(store: Path) -> list[dict[str, Any]]:
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        view = lake.view(connection, "phone_reports")
        found = connection.sql(f"SELECT * FROM {view} ORDER BY reported").to_arrow_table()
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows


def test_statistics_on_the_wire_become_reports_live_and_replayed(tmp_path: Path) -> None:
    need("kamailio", "sipp", "tcpdump")
    if os.geteuid() != 0:
        pytest.skip("only root may capture here")
    callee, capture = free_port(), tmp_path / "capture.pcap"
    with kamailio(tmp_path, free_port(), callee) as proxy:
        ports = f"udp port {proxy} or udp port {callee}"
        words = ("tcpdump", "-i", "lo", "-U", "-s", "0", "-w", capture, ports)
        with process(*words, cwd=tmp_path, until=b"listening on"):
            make_calls(tmp_path, proxy, callee)
            time.sleep(1.0)
    assert shell(["replay", str(capture), "--store", str(tmp_path / "replayed")]) == 0
    check(reports(tmp_path / "replayed"))
    live = ["collect", "--read", str(capture), "--store", str(tmp_path / "live"), "--name", "york-1"]
    assert shell(live) == 0
    rows = reports(tmp_path / "live")
    check(rows)
    assert {row["system"] for row in rows} == {"york-1"}
    with closing(Lake.open(tmp_path / "live")) as lake, closing(lake.connect()) as connection:
        view = lake.view(connection, "calls")
        found = connection.execute(f"SELECT count(*), count(DISTINCT call_id) FROM {view}").fetchone()
    assert found == (CALLS, CALLS)


def bye(call_id: str, header: str = "P-RTP-Stat: PS=1,PR=2\r\n", cseq: int = 2, name: str = "BYE") -> bytes:
    return (
        f"{name} sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call_id}{cseq}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} {name}\r\n{header}Content-Length: 0\r\n\r\n"
    ).encode()


def in_window(book: DeviceStatisticsBook, messages: list[bytes]) -> None:
    """Give messages as the datagrams of one window."""
    window = np.frombuffer(b"".join(messages) + bytes(8), np.uint8)
    lengths = np.array([len(one) for one in messages], np.int64)
    offsets = np.cumsum(lengths) - lengths
    packets = np.zeros((len(messages), c.PENDING_COLUMNS), np.int64)
    packets[:, c.PENDING_AT] = np.arange(len(messages))
    book.take_packets(
        window, packets, offsets, lengths, index_batch(window, offsets, lengths), lambda *_: Endpoint("192.0.2.1", 5060)
    )


def test_datagrams_give_what_their_messages_give_one_by_one() -> None:
    messages = [
        bye("a"), bye("b", ""), bye("c", "X-RTP-Stat: PS=4\r\n"), bye("d", name="INFO"), b"no SIP at all", bye("a"),
        bye("a", cseq=3), bye("e", "P-RTP-Stat: nothing\r\n"), bye("f").replace(b"CSeq: 2 BYE", b"CSeq : 2\t BYE"),
        b"BYE", bye("g").replace(b"SIP/2.0 200", b""), "BYE é RTP-Stat".encode(), bye("é"),
    ]  # fmt: skip
    book, other = DeviceStatisticsBook(100), DeviceStatisticsBook(100)
    in_window(book, messages)
    for number, raw in enumerate(messages):
        try:
            message: SipMessage = parse(raw)
        except ValueError:
            continue
        other.take(message, number, Endpoint("192.0.2.1", 5060))
    found = book.fetch()
    assert [(one.call_id, one.at) for one in found] == [("a", 0), ("c", 2), ("a", 6), ("f", 8), ("g", 10), ("é", 12)]
    assert found == other.fetch()
    assert found[0].statistics == RtpStatistics(packets_sent=1, packets_received=2)
    assert book.fetch() == ()


def test_beyond_the_limit_statistics_are_counted_and_not_kept() -> None:
    book = DeviceStatisticsBook(2)
    in_window(book, [bye(str(number)) for number in range(5)])
    assert (len(book.fetch()), book.dropped) == (2, 3)
