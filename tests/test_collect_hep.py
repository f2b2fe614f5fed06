"""`callgauge collect --hep`: calls that Kamailio traces come into the store as they end, and a stop loses none."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hep_senders import free_port, kamailio, need, process, sipp_calls
from hep_traffic import call_packets
from test_sip_publish import publish

from analytics.store.lake import Lake
from api import collect as collect_module
from collector.protocols.sip import parse

ROOT = Path(__file__).resolve().parents[1]


def command(store: Path, *options: str) -> tuple[str | Path, ...]:
    run = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from api.main import run; run()"
    return (sys.executable, "-c", run, "collect", "--store", store, "--name", "here", *options)


def rows_of(store: Path, table: str) -> list[dict[str, Any]]:
    lake = Lake.open(store)
    try:
        with closing(lake.connect()) as connection:
            lake.view(connection, table)
            found: list[dict[str, Any]] = connection.sql(f"SELECT * FROM {table}").to_arrow_table().to_pylist()
            return found
    finally:
        lake.close()


def wait_for(store: Path, table: str, count: int, seconds: float) -> list[dict[str, Any]]:
    until = time.monotonic() + seconds
    while len(found := rows_of(store, table)) < count:
        assert time.monotonic() < until, f"{len(found)} rows after {seconds} s"
        time.sleep(0.5)
    return found


def stop(child: subprocess.Popen[bytes]) -> int:
    child.send_signal(signal.SIGTERM)
    return child.wait(40)


def test_calls_of_kamailio_are_in_the_store_while_it_is_being_collected(tmp_path: Path) -> None:
    need("kamailio", "sipp")
    store, hep, callee = tmp_path / "store", free_port(), free_port()
    with process(
        *command(store, "--hep", f"udp:127.0.0.1:{hep}"), cwd=tmp_path, until=b"collecting from", ours=True
    ) as child:
        wait_until_bound(hep)
        with kamailio(tmp_path, hep, callee) as proxy:
            sipp_calls(tmp_path, 5, proxy, callee)
        found = wait_for(store, "calls", 5, 60)
        assert {row["state"] for row in found} == {"completed"}
        assert {row["source"] for row in found} == {"here"}
        assert {row["called"] for row in found} == {"service"}
        assert stop(child) == 0
    assert len(rows_of(store, "calls")) == 5


def test_a_stop_keeps_what_was_received_a_moment_before(tmp_path: Path) -> None:
    store, hep, sip = tmp_path / "store", free_port(socket.SOCK_STREAM), free_port()
    options = ("--hep", f"tcp:127.0.0.1:{hep}", "--publish", f"udp:127.0.0.1:{sip}")
    with process(*command(store, *options), cwd=tmp_path, until=b"collecting from publish", ours=True) as child:
        wait_until_bound(sip)
        with closing(connected(hep)) as sender:
            packets = [
                packet for number in range(50) for packet in call_packets(f"call-{number}", "P-RTP-Stat: PS=9,PR=8")
            ]
            sender.sendall(b"".join(packets))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                phone.settimeout(10)
                phone.sendto(publish(7), ("127.0.0.1", sip))
                assert parse(phone.recv(4096)).status == 200
            assert stop(child) == 0
    assert len(rows_of(store, "calls")) == 50
    reports = rows_of(store, "phone_reports")
    assert sorted({row["source"] for row in reports}) == ["rtp-stat", "vq-rtcpxr"]
    assert len(reports) == 51
    (published,) = [row for row in reports if row["source"] == "vq-rtcpxr"]
    assert (published["call_id"], published["mos_cq"], published["packets_sent"]) == ("call-7", 4.0, None)


@pytest.mark.parametrize("address", ["9060", "http:127.0.0.1:1", "tls:127.0.0.1:0", "udp:203.0.113.1:9"])
def test_an_address_that_cannot_be_had_is_one_line(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect_module.collect(hep=[address], store=tmp_path / "store") == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert any(address in line for line in said)
    assert not any("Traceback" in line for line in said)


def wait_until_bound(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on {port}")


def connected(port: int) -> socket.socket:
    until = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)
