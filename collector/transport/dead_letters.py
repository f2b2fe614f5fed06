"""Messages that are none, kept with the reason: a line of JSON each, bounded, the oldest half going first."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import NamedTuple

from analytics.store.settings import StoreError
from analytics.store.whole_lines import append_whole

FOLDER = "dead-letters"


class Letter(NamedTuple):
    """A message that was refused."""

    received: int
    """When it came [ns since 1970]."""
    topic: str
    reason: str
    detail: str
    payload: bytes


class DeadLetters:
    """The file of one worker: two halves, so that the older one can go as a whole."""

    def __init__(self, store: Path, worker: str, octets: int) -> None:
        """`octets`: most that both halves take together."""
        self._path = store / FOLDER / f"{worker}.jsonl"
        self._octets = octets
        self.written = 0
        """Letters written since the start."""

    def write(self, letters: list[Letter]) -> None:
        """Write letters, on the disk when this returns; StoreError where that fails."""
        if not letters:
            return
        lines = b"".join(_line(one) for one in letters)
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size + len(lines) > self._octets // 2:
                self._path.replace(self._path.with_suffix(".old.jsonl"))
            number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with os.fdopen(number, "ab", buffering=0) as file:
                append_whole(file, lines)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from error
        self.written += len(letters)


def _line(letter: Letter) -> bytes:
    fields = letter._asdict() | {"payload": base64.b64encode(letter.payload).decode()}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
