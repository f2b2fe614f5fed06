"""Announcements of media without end: those of calls that are gone are forgotten."""

from __future__ import annotations

from collections import deque

from collector.media.book import MediaBook

KEEPS = 60_000_000_000
"""How long announcements of a call that is gone still explain streams [ns]."""


class LiveBook(MediaBook):
    """All announcements of calls that go on or ended lately."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._leaving: deque[tuple[int, frozenset[str]]] = deque()

    @property
    def kept(self) -> int:
        """Announcements and calls with spans that are kept."""
        return len(self._order) + len(self._spans)

    def let_go(self, call_ids: list[str], now: int) -> None:
        """Forget calls that are gone, a while later; `now` in ns."""
        if call_ids:
            self._leaving.append((now, frozenset(call_ids)))
        gone: set[str] = set()
        while self._leaving and now - self._leaving[0][0] >= KEEPS:
            gone |= self._leaving.popleft()[1]
        if gone:
            self._drop(gone - self._open.keys())

    def _drop(self, gone: set[str]) -> None:
        kept = type(self._order)()
        forgotten = self.forgotten
        for entry in self._order:
            if entry.call_id in gone:
                self._forget(entry)
            else:
                kept.append(entry)
        self._order = kept
        self.forgotten = forgotten
        for call_id in gone:
            self._spans.pop(call_id, None)
        self._span_order = deque(call_id for call_id in self._span_order if call_id in self._spans)
