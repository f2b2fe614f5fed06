"""Calls as a sequence of which most are made only when somebody looks at them.

Totals and the order of calls come from columns; `dialogs` is told what a plain call said when its facts are wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from collector.facts import Call, CallState
from collector.metrics import CALL_STATES, PlainOutcomes

Integers = NDArray[np.int64]

AT_ONCE = 256
"""Calls that are made together when all are wanted."""


class Outline(NamedTuple):
    """What orders need of a plain call."""

    call_id: str
    failed: bool
    start: int


class CallList(Sequence[Call]):
    """Calls in the order of their beginning: those that were made, and plain ones still in columns.

    `make` gives the plain calls of some numbers; of plain calls nothing can be found.
    """

    def __init__(
        self,
        made: Sequence[Call],
        outcomes: PlainOutcomes,
        call_ids: Sequence[str],
        make: Callable[[Sequence[int]], list[Call]],
    ) -> None:
        self._made = made
        self._outcomes = outcomes
        self._call_ids = call_ids
        self._make = make
        self._known: dict[int, Call] = {}
        starts = np.concatenate([outcomes.start, np.array([call.start for call in made], np.int64)])
        self._order = self._in_order(starts)

    def _in_order(self, starts: Integers) -> Integers:
        order = np.argsort(starts, kind="stable")
        same = np.flatnonzero(np.diff(starts[order]) == 0)
        if len(same):
            begins = same[np.concatenate([[True], np.diff(same) > 1])]
            for begin in begins.tolist():
                end = begin + 1
                while end < len(order) and starts[order[end]] == starts[order[begin]]:
                    end += 1
                order[begin:end] = sorted(order[begin:end].tolist(), key=self._call_id)
        return order

    def _call_id(self, number: int) -> str:
        plain = len(self._call_ids)
        return self._call_ids[number] if number < plain else self._made[number - plain].call_id

    def _numbered(self, numbers: Sequence[int]) -> tuple[Call, ...]:
        plain = len(self._call_ids)
        missing = [number for number in numbers if number < plain and number not in self._known]
        self._known.update(zip(missing, self._make(missing), strict=True))
        return tuple(self._known[number] if number < plain else self._made[number - plain] for number in numbers)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> Call: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Call, ...]: ...
    def __getitem__(self, place: int | slice) -> Call | tuple[Call, ...]:
        if isinstance(place, slice):
            return self._numbered(self._order[place].tolist())
        return self._numbered([int(self._order[place])])[0]

    def __iter__(self) -> Iterator[Call]:
        for begin in range(0, len(self), AT_ONCE):
            yield from self[begin : begin + AT_ONCE]

    def passing(self) -> Iterator[Call]:
        """Every call once; those that are made for it are not kept, so that memory does not grow with them."""
        plain = len(self._call_ids)
        for begin in range(0, len(self), AT_ONCE):
            numbers = self._order[begin : begin + AT_ONCE].tolist()
            missing = [number for number in numbers if number < plain and number not in self._known]
            fresh = dict(zip(missing, self._make(missing), strict=True))
            for number in numbers:
                yield self._made[number - plain] if number >= plain else fresh.get(number) or self._known[number]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def leg_call_ids(self) -> Iterable[str]:
        """Call-IDs of all legs."""
        return chain(self._call_ids, (leg.call_id for call in self._made for leg in call.legs))

    def places_of(self, beginning: str) -> list[int]:
        """Places of the calls that have a leg whose Call-ID begins so."""
        plain = len(self._call_ids)
        numbers = [number for number, call_id in enumerate(self._call_ids) if call_id.startswith(beginning)]
        for number, call in enumerate(self._made, plain):
            if any(leg.call_id.startswith(beginning) for leg in call.legs):
                numbers.append(number)
        places: list[int] = np.flatnonzero(np.isin(self._order, numbers)).tolist()
        return places

    def made(self) -> Sequence[Call]:
        """The calls that are not plain: only of these anything was found."""
        return self._made

    def replace_made(self, made: Sequence[Call]) -> None:
        """Put others in place of the calls that are not plain, one for one and with the same beginnings."""
        self._made = made

    def outlines(self) -> Iterator[Outline | Call]:
        """All in order: plain ones as what orders need of them, the others themselves."""
        plain = len(self._call_ids)
        failed = (self._outcomes.state == CALL_STATES.index(CallState.FAILED)).tolist()
        starts = self._outcomes.start.tolist()
        for number in self._order.tolist():
            if number < plain:
                yield Outline(self._call_ids[number], failed[number], starts[number])
            else:
                yield self._made[number - plain]

    def states(self) -> Counter[CallState]:
        """Calls by state."""
        counts = np.bincount(self._outcomes.state, minlength=len(CALL_STATES)).tolist()
        states = Counter(call.state for call in self._made)
        states.update({state: count for state, count in zip(CALL_STATES, counts, strict=True) if count})
        return states

    def post_dial_delays(self) -> Sequence[float]:
        """All that are known [ms]."""
        start, indicated = self._outcomes.start, self._outcomes.indicated
        plain: list[float] = ((indicated - start)[indicated >= start] / 1e6).tolist()
        return [*plain, *(call.post_dial_delay_ms for call in self._made if call.post_dial_delay_ms is not None)]

    def places_of_first(self, most: int) -> list[int]:
        """Places of the calls that can be among the first `most` when failed ones come first, then those with findings.

        All that are not plain are among them.
        """
        plain = len(self._call_ids)
        failed = np.zeros(len(self._order), np.bool_)
        failed[:plain] = self._outcomes.state == CALL_STATES.index(CallState.FAILED)
        placed = failed[self._order]
        is_plain = self._order < plain
        chosen = (
            np.flatnonzero(is_plain & placed)[:most],
            np.flatnonzero(is_plain & ~placed)[:most],
            np.flatnonzero(~is_plain),
        )
        return sorted(np.concatenate(chosen).tolist())
