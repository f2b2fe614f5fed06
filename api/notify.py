"""What systemd is told of a process by its datagram socket: ready, stopping, reloading, alive (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def reloading() -> str:
    """Return the message that begins a reload; `READY` ends it. It carries the clock by which systemd orders them."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}"


def status(sentence: str) -> str:
    """Return one line for `systemctl status`."""
    return "STATUS=" + " ".join(sentence.split())


def notify(*messages: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send messages to whoever started us; False where nobody asked for them, or does not listen any more."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as telling:
        telling.settimeout(1.0)
        try:
            # A name that begins with @ is in Linux's abstract namespace.
            telling.connect("\0" + address[1:] if address.startswith("@") else address)
            telling.send("\n".join(messages).encode())
        except OSError:
            return False
    return True


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return how often to say that we are alive [s], half of what systemd waits; None where it does not ask."""
    stated = environment.get("WATCHDOG_USEC", "")
    if (
        not stated.isdecimal()
        or not int(stated)
        or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid())
    ):
        return None
    return int(stated) / 2e6
