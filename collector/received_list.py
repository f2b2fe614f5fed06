"""Received calls as a sequence: those that were made, and plain ones still in columns, made when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import overload

from collector.calls import CallLimits
from collector.dialogs import Surroundings
from collector.facts import Call
from collector.media.book import MediaBook
from collector.negotiation import FormatTable
from collector.plain_calls import Excerpt
from collector.signalling import call_of_entries


@dataclass(frozen=True, slots=True)
class PlainTold:
    """Plain calls that are over, of one leg each, of which nothing was sent again."""

    excerpt: Excerpt
    transports: tuple[str, ...]
    now: int
    """How they are told stands at this time of the senders' clocks [ns]."""
    limits: CallLimits
    closing: bool
    """Whether nothing more was going to be heard of them."""

    def __len__(self) -> int:
        return len(self.excerpt.calls)

    def call(self, number: int) -> Call:
        """The facts of one of them."""
        limits = self.limits
        around = Surroundings(MediaBook(), FormatTable(), limits.max_media, limits.max_forks, limits.max_steps)
        return call_of_entries(self.excerpt.told(number), around, self.now, self.transports[number], self.closing)


class ReceivedCallList(Sequence[Call]):
    """Calls in the order in which they were told: those that are plain behind the others."""

    def __init__(self, made: Sequence[Call], plain: Sequence[PlainTold] = ()) -> None:
        self.made = made
        """Calls that are not plain."""
        self.plain = tuple(each for each in plain if len(each))

    def __len__(self) -> int:
        return len(self.made) + sum(map(len, self.plain))

    @overload
    def __getitem__(self, place: int) -> Call: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Call, ...]: ...
    def __getitem__(self, place: int | slice) -> Call | tuple[Call, ...]:
        if isinstance(place, slice):
            return tuple(self[each] for each in range(len(self))[place])
        number = range(len(self))[place]
        if number < len(self.made):
            return self.made[number]
        number -= len(self.made)
        for each in self.plain:
            if number < len(each):
                return each.call(number)
            number -= len(each)
        raise IndexError(place)

    def __iter__(self) -> Iterator[Call]:
        return chain(self.made, (each.call(number) for each in self.plain for number in range(len(each))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
