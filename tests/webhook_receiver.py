"""A receiver of webhooks as a process of its own, that fails in many ways: `python webhook_receiver.py LOG [CERT]`.

Prints its port, and writes each request as a line of JSON. The path says how it answers: /ok, /500, /429/SECONDS,
/429-date, /410, /redirect, /slow/SECONDS, /half, /silent, /fail/TIMES (500 so often, then 200), /503, /long, /endless.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Receiver(ThreadingHTTPServer):
    """Counts what came on each path."""

    daemon_threads = True

    def __init__(self, log: Path) -> None:
        self.log = log
        self.seen: dict[str, int] = {}
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Answering)

    def note(self, path: str, headers: dict[str, str], body: str) -> int:
        """Write a request down; return how many came on this path before."""
        with self.lock:
            before = self.seen.get(path, 0)
            self.seen[path] = before + 1
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"at": time.time(), "path": path, "headers": headers, "body": body}) + "\n")
        return before


class Answering(BaseHTTPRequestHandler):
    """Answers as the path says."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        before = self.server.note(self.path, {k.lower(): v for k, v in self.headers.items()}, body.decode())
        kind, _, argument = self.path.strip("/").partition("/")
        getattr(self, f"answer_{kind.replace('-', '_')}")(argument, before)

    def plain(self, status: int, text: str = "", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def answer_ok(self, _argument: str, _before: int) -> None:
        self.plain(200, "ok")

    def answer_elsewhere(self, _argument: str, _before: int) -> None:
        self.plain(200, "nobody should come here")

    def answer_500(self, _argument: str, _before: int) -> None:
        self.plain(500, "out of order")

    def answer_503(self, _argument: str, _before: int) -> None:
        self.plain(503, "too busy")

    def answer_429(self, argument: str, before: int) -> None:
        if before:
            self.plain(200, "ok")
        else:
            self.plain(429, "", Retry_After=argument)

    def answer_429_date(self, argument: str, before: int) -> None:
        if before:
            self.plain(200, "ok")
        else:
            at = datetime.now(UTC) + timedelta(seconds=float(argument))
            self.plain(503, "", Retry_After=format_datetime(at, usegmt=True))

    def answer_410(self, _argument: str, _before: int) -> None:
        self.plain(410)

    def answer_redirect(self, _argument: str, _before: int) -> None:
        self.plain(302, "", Location="/elsewhere")

    def answer_fail(self, argument: str, before: int) -> None:
        self.plain(500 if before < int(argument) else 204)

    def answer_slow(self, argument: str, _before: int) -> None:
        time.sleep(float(argument))
        with suppress(BrokenPipeError):
            self.plain(200, "at last")

    def answer_drip(self, argument: str, _before: int) -> None:
        """Octet by octet, each within any timeout between two reads."""
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        with suppress(ConnectionError):
            for _ in range(int(float(argument) * 10)):
                self.wfile.write(b".")
                self.wfile.flush()
                time.sleep(0.1)

    def answer_half(self, _argument: str, _before: int) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b"half of it")
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer_silent(self, _argument: str, _before: int) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer_long(self, _argument: str, _before: int) -> None:
        self.plain(200, "x" * 5_000_000)

    def answer_endless(self, _argument: str, _before: int) -> None:
        """200, and octets for as long as anybody takes them."""
        self.send_response(200)
        self.end_headers()
        with suppress(ConnectionError):
            while True:
                self.wfile.write(b"x" * 65_536)

    def log_message(self, *_words: object) -> None:
        """Nothing on stderr."""


def main() -> None:
    """Serve until killed."""
    receiver = Receiver(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
        receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    sys.stdout.write(f"{receiver.server_address[1]}\n")
    sys.stdout.flush()
    receiver.serve_forever()


if __name__ == "__main__":
    main()
