"""Answers kept as long as what they were made from is the same; many who ask at once wait for one making."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

MOST: Final = 64
MOST_OF: Final[Mapping[str, int]] = MappingProxyType({"document": 3, "report": 24})
"""Answers of a kind that are kept; the one that was not asked for longest goes first. Documents are large."""
Asked = tuple[Hashable, ...]
"""What was asked; the first says the kind of answer."""


class Kept:
    """Answers by what was asked, each with a token of what it was made from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Asked, threading.Lock] = {}
        self._answers: OrderedDict[Asked, tuple[Hashable, Any]] = OrderedDict()

    def get(self, asked: Asked, token: Hashable, make: Callable[[], Any]) -> Any:
        """Return the answer that was made under this token, or make it; an error is passed on and not kept."""
        found = self._found(asked, token)
        if found is not None:
            return found[0]
        with self._lock:
            making = self._making.setdefault(asked, threading.Lock())
        try:
            with making:
                found = self._found(asked, token)
                if found is not None:
                    return found[0]
                made = make()
                with self._lock:
                    self._keep(asked, token, made)
                return made
        finally:
            with self._lock:
                if not making.locked():
                    self._making.pop(asked, None)

    def _keep(self, asked: Asked, token: Hashable, made: Any) -> None:
        self._answers[asked] = (token, made)
        self._answers.move_to_end(asked)
        alike = [one for one in self._answers if one[0] == asked[0]]
        for one in alike[: max(0, len(alike) - MOST_OF.get(str(asked[0]), MOST))]:
            del self._answers[one]

    def _found(self, asked: Asked, token: Hashable) -> tuple[Any] | None:
        with self._lock:
            held = self._answers.get(asked)
            if held is None or held[0] != token:
                return None
            self._answers.move_to_end(asked)
            return (held[1],)


def kept_of(connection: HTTPConnection) -> Kept:
    """Return the kept answers of the application that serves a request."""
    state = connection.app.state
    found = getattr(state, "kept", None)
    if found is None:
        found = state.kept = Kept()
    assert isinstance(found, Kept)
    return found


async def _kept_here(connection: HTTPConnection) -> Kept:
    return kept_of(connection)


KeptHere = Annotated[Kept, Depends(_kept_here)]
"""The type of a route's parameter that wants the kept answers."""
