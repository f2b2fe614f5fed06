"""The capturing program as a child: it holds the privilege and writes a capture into a pipe, which we only read."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from collector.capture.files import CaptureError, Source

PIPE_OCTETS = 1 << 20
"""Size asked of the pipe: what comes while our process does something else for a while."""
PACE_S = 0.004
"""How long what comes is gathered before it is read [s]: a capturing program writes 4 KiB at a time."""
STDERR_LINES = 20
DUMPCAP_HOLDS_S = 0.5
"""How long the kernel may hold packets back before dumpcap sees them: twice its read timeout [s]."""
TCPDUMP_HOLDS_S = 1.5
"""The same for tcpdump, which asks for a timeout of 1 s."""
STOP_S = 10.0
"""How long a child may take to write what it holds and end [s]."""
F_SETPIPE_SZ = 1031  # fcntl(2)

PROGRAMS = ("dumpcap", "tcpdump")
RING = "ring"
"""No program: this process reads the kernel's ring itself."""
_TCPDUMP_DROPS = re.compile(r"(\d+) packets? dropped by kernel")


@dataclass(frozen=True, slots=True)
class PacketSettings:
    """What to capture, and how."""

    interfaces: tuple[str, ...]
    """Names as the capturing program knows them; `any` where the system has it."""
    bpf: str = ""
    """Capture filter in libpcap's language; empty: everything."""
    snaplen: int = 65_535
    """Octets captured of a packet."""
    buffer_mb: int = 128
    """Kernel buffer of each interface [MiB]."""
    program: str = ""
    """`dumpcap` or `tcpdump`, empty for the first of them that is installed; `ring`: none, the kernel's own ring."""
    backoff_s: float = 0.5
    """First wait before a child that died is begun anew; doubled each time up to `longest_backoff_s` [s]."""
    longest_backoff_s: float = 30.0


def program_for(settings: PacketSettings) -> str:
    """Path of the capturing program, `ring` where none is wanted; CaptureError where there is none that can do it."""
    if settings.program == RING:
        return RING
    names = (settings.program,) if settings.program else PROGRAMS
    path = next((found for found in map(shutil.which, names) if found), None)
    if path is None:
        raise CaptureError(f"{' and '.join(names)} not found: install one to capture")
    if len(settings.interfaces) > 1 and os.path.basename(path) == "tcpdump":  # noqa: PTH119
        raise CaptureError("tcpdump captures one interface: install dumpcap, or name the interface any")
    return path


def command(program: str, settings: PacketSettings) -> list[str]:
    """The child's command line."""
    snaplen, buffer_mb = str(settings.snaplen), settings.buffer_mb
    if program.endswith("tcpdump"):
        words = [program, "-n", "-i", settings.interfaces[0], "-s", snaplen, "-B", str(buffer_mb << 10), "-w", "-"]
        return [*words, "--", settings.bpf] if settings.bpf else words
    words = [program, "-q", "-s", snaplen, "-B", str(buffer_mb)]
    if settings.bpf:
        words += ["-f", settings.bpf]
    for interface in settings.interfaces:
        words += ["-i", interface]
    return [*words, "-w", "-"]


class PipeSource(Source):
    """The pipe from a child; what comes is gathered for a moment, so that it is read in large pieces."""

    def read_into(self, view: memoryview) -> int:
        """Fill the start of `view` with what comes next; 0 at the end."""
        time.sleep(PACE_S)
        return super().read_into(view)


class CaptureChild:
    """One run of the capturing program."""

    def __init__(self, settings: PacketSettings) -> None:
        program = program_for(settings)
        reading, writing = os.pipe()
        try:
            # In a session of its own: a terminal's Ctrl-C is ours to pass on.
            self._process = subprocess.Popen(  # noqa: S603
                command(program, settings),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            os.close(reading)
            raise CaptureError(f"{program} cannot be run: {error.strerror}") from error
        finally:
            os.close(writing)
        with suppress(OSError):  # more than this user may have
            fcntl.fcntl(reading, F_SETPIPE_SZ, PIPE_OCTETS)
        self.source = PipeSource(",".join(settings.interfaces), reading, owned=True)
        self._is_tcpdump = program.endswith("tcpdump")
        self._said: deque[str] = deque(maxlen=STDERR_LINES)
        self.dropped = 0
        """Packets that the kernel dropped so far, as tcpdump says it; dumpcap writes it into the capture at its end."""
        self._listening = threading.Event()
        self._stopping = False
        self._listener = threading.Thread(target=self._listen, name="capture-child", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.decode(errors="replace").strip()
            self._said.append(text)
            if found := _TCPDUMP_DROPS.search(text):
                self.dropped = int(found[1])
            elif "listening on" in text:
                self._listening.set()

    def nudge(self) -> None:
        """Have it write what it holds and say what was dropped; dumpcap does the first by itself."""
        # Before it listens these signals would end it.
        if self._is_tcpdump and self._listening.is_set() and self._process.poll() is None:
            self._process.send_signal(signal.SIGUSR2)
            self._process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """Have it end once it has seen what the kernel holds; may be called more than once, and from any thread.

        Told at once to end, it would leave the packets of the last moment unread.
        """
        if self._stopping:
            return
        self._stopping = True
        ending = threading.Timer(TCPDUMP_HOLDS_S if self._is_tcpdump else DUMPCAP_HOLDS_S, self._end)
        ending.daemon = True
        ending.start()

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT if self._is_tcpdump else signal.SIGTERM)

    def wait(self) -> str | None:
        """Wait for its end; why it ended in words, None where it was told to."""
        try:
            status = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._listener.join(STOP_S)
        if self._stopping:
            return None
        said = [line for line in self._said if line and not line.startswith(("Capturing on", "File:", "Packets"))]
        how = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
        program = "tcpdump" if self._is_tcpdump else "dumpcap"
        return f"{program} {how}" + (f": {' '.join(said[:2])}" if said else "")
