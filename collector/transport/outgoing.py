"""Which messages of an agent are on their way, which are done with, and which to send again. Pure: `now` is given."""

from __future__ import annotations

from collections.abc import Iterable

from analytics.store.received import WINDOW


class Outgoing:
    """Messages between the spool and the centre's receipt, by their sequence.

    A message is sent again when no receipt came in time, at growing distances: the centre may be away for hours, and
    the broker would keep every copy for it. From the oldest to the newest there are never more than `window` numbers,
    so that the centre can tell what it has (see `analytics.store.received`).
    """

    def __init__(self, window: int, patience: float, most_patience: float) -> None:
        """`patience` and `most_patience`: first and longest time to wait for a receipt [s]."""
        if not 0 < window <= WINDOW:
            raise ValueError(f"a window of messages is 1 to {WINDOW}")
        self._window = window
        self._patience = patience
        self._most_patience = most_patience
        self._due: dict[int, float] = {}
        self._tries: dict[int, int] = {}
        self.newest = 0
        """Highest sequence that was sent."""
        self.sent_again = 0

    @property
    def room(self) -> int:
        """How many sequences after the newest may be sent now."""
        if not self._due:
            return self._window
        return max(0, min(self._due) + self._window - 1 - self.newest)

    @property
    def oldest(self) -> int | None:
        """Lowest sequence on its way."""
        return min(self._due, default=None)

    def __len__(self) -> int:
        return len(self._due)

    def sent(self, sequence: int, now: float) -> None:
        """A message went to the broker."""
        tries = self._tries.get(sequence, 0)
        self.sent_again += tries > 0
        self._tries[sequence] = tries + 1
        self._due[sequence] = now + min(self._patience * 2**tries, self._most_patience)
        self.newest = max(self.newest, sequence)

    def received(self, ranges: Iterable[tuple[int, int]]) -> int | None:
        """The centre has what lies in these ranges, ends included; return up to where all is done with."""
        known = sorted(self._due)
        for first, last in ranges:
            for sequence in known:
                if first <= sequence <= last:
                    self._forget(sequence)
        return (min(self._due) - 1 if self._due else self.newest) or None

    def dropped_below(self, floor: int) -> None:
        """What lies below was dropped from the spool, for it was full."""
        for sequence in [one for one in self._due if one < floor]:
            self._forget(sequence)
        self.newest = max(self.newest, floor - 1)

    def overdue(self, now: float) -> list[int]:
        """Return the messages to send again, oldest first."""
        return sorted(sequence for sequence, due in self._due.items() if due <= now)

    def all_due(self, now: float) -> None:
        """The connection is new: what it carried may be lost, and the centre may have been waiting for it."""
        for sequence in self._due:
            self._due[sequence] = now
            self._tries[sequence] = 1

    def unheard(self, sequence: int, now: float) -> None:
        """Nobody listens: the broker kept no copy, so asking again costs it nothing."""
        if sequence in self._due:
            self._due[sequence] = now + self._patience
            self._tries[sequence] = 1

    def _forget(self, sequence: int) -> None:
        self._due.pop(sequence, None)
        self._tries.pop(sequence, None)
