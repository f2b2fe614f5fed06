"""Programs that send HEP for a living, started by tests on loopback: Kamailio's siptrace, sipp, rtpengine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MODULES = (Path("/usr/lib/x86_64-linux-gnu/kamailio/modules"), Path("/usr/lib/aarch64-linux-gnu/kamailio/modules"))

KAMAILIO = """
debug=-1
log_stderror=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:127.0.0.1:{port}
mpath="{modules}"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
loadmodule "siptrace.so"
modparam("siptrace", "duplicate_uri", "sip:127.0.0.1:{hep};transport=udp")
modparam("siptrace", "hep_mode_on", 1)
modparam("siptrace", "hep_version", {version})
modparam("siptrace", "hep_capture_id", 2001)
modparam("siptrace", "trace_to_database", 0)
modparam("siptrace", "trace_on", 1)
modparam("siptrace", "trace_mode", 1)
request_route {{
    $du = "sip:127.0.0.1:{callee}";
    forward();
}}
"""


def need(*programs: str) -> None:
    """Skip where a program is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def process(
    *command: str | Path, cwd: Path, until: bytes = b"", ours: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs for as long as the block; `until`: wait for that in its output.

    Where that does not come the test is skipped, or fails where the program is `ours`.
    """
    log = cwd / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        patience = time.monotonic() + (60 if ours else 20)
        while until not in log.read_bytes():
            if child.poll() is not None or time.monotonic() > patience:
                assert not ours, log.read_text(errors="replace")
                pytest.skip(f"{command[0]} does not run here: {log.read_text(errors='replace')[-300:]}")
            time.sleep(0.05)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def kamailio(tmp_path: Path, hep: int, callee: int, version: int = 3) -> Iterator[int]:
    """A proxy that forwards to `callee` and sends all it sees to `hep`; gives its port."""
    need("kamailio")
    modules = next((folder for folder in MODULES if (folder / "siptrace.so").exists()), None)
    if modules is None:
        pytest.skip("Kamailio's siptrace module is not installed")
    port = free_port()
    config = tmp_path / "kamailio.cfg"
    config.write_text(KAMAILIO.format(port=port, modules=modules, hep=hep, callee=callee, version=version))
    command = ("kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-Y", tmp_path, "-w", tmp_path, "-f", config)
    with process(*command, "-P", tmp_path / "kamailio.pid", cwd=tmp_path):
        _wait_for_udp(port)
        yield port


def _wait_for_udp(port: int) -> None:
    """A port is in use once nobody else may bind it."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.05)
    pytest.skip(f"nothing listens on UDP port {port}")


def sipp_calls(tmp_path: Path, calls: int, proxy: int, callee: int) -> None:
    """Let sipp make calls through a proxy to sipp."""
    need("sipp")
    answering = ("sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", str(callee), "-nostdin")
    with process(*answering, cwd=tmp_path):
        _wait_for_udp(callee)
        subprocess.run(
            ["sipp", "-sn", "uac", f"127.0.0.1:{proxy}", "-i", "127.0.0.1", "-p", str(free_port()), "-m", str(calls),
             "-r", "10", "-d", "200", "-nostdin", "-timeout", "40"],
            cwd=tmp_path, check=True, capture_output=True, timeout=50,
        )  # fmt: skip


LINPHONE = """
[sip]
auto_net_state_mon=0
sip_port={port}
sip_tcp_port=0
sip_tls_port=0
default_proxy=0
[proxy_0]
reg_proxy=<sip:127.0.0.1:{callee}>
reg_identity=sip:tester@127.0.0.1
reg_sendregister=0
quality_reporting_enabled=1
quality_reporting_collector=sip:collector@127.0.0.1:{collector}
"""


def linphone_call(tmp_path: Path, collector: int, callee: int) -> None:
    """Let Linphone call sipp and publish its report of the call."""
    need("linphonec", "sipp")
    (tmp_path / ".local" / "share" / "linphone").mkdir(parents=True)
    config = tmp_path / "linphonerc"
    config.write_text(LINPHONE.format(port=free_port(), callee=callee, collector=collector))
    log = tmp_path / "linphonec.out"
    with process("sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", str(callee), "-nostdin", cwd=tmp_path):
        _wait_for_udp(callee)
        with log.open("wb") as output:
            child = subprocess.Popen(
                ["linphonec", "-c", config], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            )  # fmt: skip
        assert child.stdin is not None
        try:
            for line, until in (
                ("soundcard use files", b"Using wav files"),
                (f"call sip:echo@127.0.0.1:{callee}", b"Media streams established"),
                ("terminate", b"ended"),
            ):
                child.stdin.write(line.encode() + b"\n")
                child.stdin.flush()
                _wait_for_output(log, until)
            time.sleep(2)
            child.stdin.write(b"quit\n")
            child.stdin.flush()
            child.wait(15)
        finally:
            child.stdin.close()
            child.kill()
            child.wait()


def _wait_for_output(log: Path, text: bytes) -> None:
    until = time.monotonic() + 15
    while text not in log.read_bytes():
        if time.monotonic() > until:
            pytest.skip(f"Linphone does not call here: {log.read_text(errors='replace')[-300:]}")
        time.sleep(0.1)
