"""Two endpoints in network namespaces, the relay between them, and tcpdump: the bench on which samples are made.

    cg-left (192.0.2.10, 2001:db8:a::10)  --  cg-relay  --  cg-right (198.51.100.20, 2001:db8:b::20)

Nothing leaves the namespaces, whose addresses are those set aside for documentation (RFC 5737, RFC 3849). Needs root
and, from Debian, iproute2, ethtool, tcpdump, baresip, sip-tester and linphone-cli.
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LEFT, RIGHT = "192.0.2.10", "198.51.100.20"
LEFT6, RIGHT6 = "2001:db8:a::10", "2001:db8:b::20"
_SIDES = {"left": (LEFT, LEFT6, "10"), "right": (RIGHT, RIGHT6, "20")}
_MODULES = "/usr/lib/baresip/modules"
_CONTROL = """
import json, socket, sys
command = json.dumps({"command": sys.argv[1], "params": sys.argv[2], "token": "1"})
with socket.create_connection(("127.0.0.1", 4444), timeout=5) as link:
    link.sendall(f"{len(command)}:{command},".encode())
    print(link.recv(65536).decode())
"""


def run(*command: str) -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def inside(side: str, *command: str) -> list[str]:
    """The command line that runs `command` in the namespace of a side."""
    return ["ip", "netns", "exec", f"cg-{side}", *command]


@dataclass(slots=True)
class Process:
    """A program in a namespace and the file with all it printed."""

    running: subprocess.Popen[bytes]
    printed: Path

    def wait_for(self, words: str, seconds: float = 10.0, times: int = 1) -> None:
        """Wait until it has printed `words` so many times."""
        for _ in range(int(seconds * 20)):
            if self.text().count(words) >= times:
                return
            time.sleep(0.05)
        raise TimeoutError(f"{self.printed.name} never said {words!r}:\n{self.text()[-2000:]}")

    def text(self) -> str:
        """Everything printed so far."""
        return self.printed.read_text(errors="replace")

    def say(self, line: str) -> None:
        """Type a line to it."""
        assert self.running.stdin is not None
        self.running.stdin.write(f"{line}\n".encode())
        self.running.stdin.flush()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to end and wait until it has."""
        if self.running.poll() is None:
            self.running.send_signal(number)
            self.running.wait(10)


class Lab:
    """The namespaces while they stand, and the programs in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[Process] = []

    def start(self, side: str, name: str, *command: str, cwd: Path | None = None) -> Process:
        """Start a program in the namespace of a side."""
        printed = self.folder / f"{name}.txt"
        with printed.open("wb") as out:
            # ip netns exec replaces itself by the command, so that a signal reaches the program
            running = subprocess.Popen(  # noqa: S603
                inside(side, *command), stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=cwd or self.folder
            )
        process = Process(running, printed)
        self._processes.append(process)
        return process

    def relay(self, script: Mapping[str, object]) -> Process:
        """Start the relay with its script; its log appears as relay.json when it is stopped."""
        (self.folder / "script.json").write_text(json.dumps(script))
        module = [sys.executable, "-m", "collector.simulator.relay", "--left", "left", "--right", "right"]
        files = ["--script", str(self.folder / "script.json"), "--log", str(self.folder / "relay.json")]
        process = self.start("relay", "relay", *module, *files, cwd=PROJECT)
        process.wait_for("ready")
        return process

    def capture(self, side: str, path: Path, interface: str) -> Process:
        """Start tcpdump; everything but ARP, neighbour discovery and the like is kept."""
        options = ["-Z", "root", "-U", "--immediate-mode", "-B", "8192", "-s", "0", "-i", interface, "-w", str(path)]
        process = self.start(side, f"tcpdump-{path.stem}", "tcpdump", *options, "udp or tcp")
        process.wait_for("listening on")
        return process

    def baresip(
        self, side: str, user: str, *, account: str = "", config: Sequence[str] = (), v6: bool = False
    ) -> Process:
        """Start a baresip that plays a tone and answers at once; the control port is 4444 in its namespace."""
        address = _SIDES[side][1] if v6 else _SIDES[side][0]
        host = f"[{address}]" if v6 else address
        home = self.folder / f"baresip-{side}"
        home.mkdir()
        modules = ("g711", "g722", "opus", "ausine", "aufile", "ctrl_tcp", "rtcpsummary")
        lines = [
            f"sip_listen {host}:5060",
            f"audio_source ausine,{440 if side == 'left' else 620}",
            f"audio_player aufile,{home}/heard.wav",
            f"audio_alert aufile,{home}/alert.wav",
            "ausrc_srate 48000",
            "auplay_srate 48000",
            "ausrc_channels 2",
            "call_local_timeout 120",
            "rtp_tos 184",
            "rtp_ports 16384-16484" if side == "left" else "rtp_ports 20000-20100",
            "rtcp_mux no",
            "net_interface eth0",
            "ctrl_tcp_listen 127.0.0.1:4444",
            f"module_path {_MODULES}",
            *(f"module {name}.so" for name in modules),
            "module_tmp uuid.so",
            "module_tmp account.so",
            "module_app menu.so",
            *config,
        ]
        (home / "config").write_text("\n".join(lines) + "\n")
        (home / "accounts").write_text(f"<sip:{user}@{host}>;regint=0;answermode=auto{account}\n")
        (home / "contacts").write_text("")
        family = "-6" if v6 else "-4"
        process = self.start(side, f"baresip-{side}", "baresip", "-f", str(home), "-s", "-v", family)
        process.wait_for("baresip is ready")
        return process

    def linphone(self, side: str, user: str) -> Process:
        """Start a linphonec that plays a tone; it takes its commands on stdin (`say`)."""
        address = _SIDES[side][0]
        home = self.folder / f"linphone-{side}"
        for part in (".local/share/linphone", ".config/linphone"):
            (home / part).mkdir(parents=True)
        _write_tone(home / "tone.wav", 440)
        settings = f"""[sip]
sip_port=5060
sip_tcp_port=0
sip_tls_port=0
guess_hostname=0
contact="Caller" <sip:{user}@{address}>
[rtp]
audio_rtp_port=16384
[video]
enabled=0
capture=0
display=0
"""
        (home / "settings").write_text(settings)
        command = ["env", f"HOME={home}", "linphonec", "-c", str(home / "settings"), "-d", "6", "-l", f"{home}/log"]
        process = self.start(side, f"linphone-{side}", *command)
        for line in ("soundcard use files", f"play {home}/tone.wav"):
            time.sleep(1.0)
            process.say(line)
        return process

    def command(self, side: str, command: str, parameters: str = "") -> str:
        """Give a baresip one of the commands of its menu."""
        line = inside(side, sys.executable, "-c", _CONTROL, command, parameters)
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout  # noqa: S603

    def sipp(self, side: str, name: str, scenario: Path, *options: str, remote: str = "") -> Process:
        """Start a sipp on a scenario file; it keeps its messages in <name>_messages.log."""
        where = ["-i", _SIDES[side][0], "-p", "5060", "-mi", _SIDES[side][0], "-nostdin"]
        log = ["-trace_msg", "-message_file", str(self.folder / f"{name}_messages.log")]
        return self.start(
            side, name, "sipp", "-sf", str(scenario), *where, *log, *options, *([remote] if remote else [])
        )

    def stop(self) -> None:
        """End all programs that were started."""
        for process in reversed(self._processes):
            process.stop()
            if process.running.stdin:
                process.running.stdin.close()


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """Set up the namespaces, hand them out, and remove them whatever happened."""
    folder.mkdir(parents=True, exist_ok=True)
    bench = Lab(folder)
    _remove()
    try:
        _build()
        yield bench
    finally:
        bench.stop()
        _remove()


def _write_tone(path: Path, hertz: int, seconds: int = 20) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        samples = (int(8000 * math.sin(2 * math.pi * hertz * place / 8000)) for place in range(8000 * seconds))
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


def _build() -> None:
    for side in ("left", "relay", "right"):
        run("ip", "netns", "add", f"cg-{side}")
        run(*inside(side, "ip", "link", "set", "lo", "up"))
    # the relay's namespace only bridges: without addresses it sends nothing of its own
    run(*inside("relay", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"))
    for side, (v4, v6, mac) in _SIDES.items():
        near = ["name", "eth0", "netns", f"cg-{side}", "address", f"02:00:00:00:00:{mac}"]
        run("ip", "link", "add", *near, "type", "veth", "peer", "name", side, "netns", "cg-relay")
        # without this, frames carry checksums that only a network card would have filled in
        run(*inside(side, "ethtool", "-K", "eth0", "tx", "off", "gso", "off", "tso", "off", "gro", "off"))
        run(*inside("relay", "ip", "link", "set", side, "promisc", "on", "up"))
        run(*inside(side, "ip", "address", "add", f"{v4}/24", "dev", "eth0"))
        run(*inside(side, "ip", "-6", "address", "add", f"{v6}/64", "dev", "eth0", "nodad"))
        run(*inside(side, "ip", "link", "set", "eth0", "up"))
        run(*inside(side, "ip", "route", "add", "default", "dev", "eth0"))
        run(*inside(side, "ip", "-6", "route", "add", "2001:db8::/32", "dev", "eth0"))
    time.sleep(1.0)


def _remove() -> None:
    listed = run("ip", "netns", "list")
    for side in ("left", "relay", "right"):
        if f"cg-{side}" in listed.split():
            run("ip", "netns", "delete", f"cg-{side}")


def is_root() -> bool:
    """Namespaces and packet sockets need root."""
    return os.geteuid() == 0
