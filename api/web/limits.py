"""How much one caller may ask for, and how much was asked for in all."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict
from typing import Final

from starlette.types import Scope

MOST_CALLERS: Final = 10_000
SIGN_INS: Final = 10
"""Sign-ins of one name or from one address before it has to wait."""
SIGN_IN_S: Final = 300.0


class Bucket:
    """A token bucket for each key; the least recently used key goes when there are too many."""

    def __init__(self, most: float, per_second: float) -> None:
        self._most = most
        self._per_second = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float, count: float = 1.0) -> int:
        """Take from a bucket at `now` [s]; return the seconds to wait where it holds too little, else 0."""
        left, at = self._left.pop(key, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        enough = left >= count
        self._left[key] = (left - count if enough else left, now)
        if len(self._left) > MOST_CALLERS:
            self._left.popitem(last=False)
        return 0 if enough else max(1, math.ceil((count - left) / self._per_second))


class Limits:
    """The limits of one application, and what it counts for its metrics."""

    def __init__(self, requests_per_minute: int) -> None:
        self._requests = Bucket(requests_per_minute, requests_per_minute / 60)
        self._sign_ins = Bucket(SIGN_INS, SIGN_INS / SIGN_IN_S)
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """Answers by method, route and status."""
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        """Seconds that they took, by method and route."""

    def take(self, key: str, now: float) -> int:
        """Count a request of a caller at `now` [s]; return the seconds to wait where there were too many, else 0."""
        return self._requests.take(key, now)

    def sign_in(self, keys: tuple[str, ...], now: float) -> int:
        """Count a sign-in that is tried, for each key; return the seconds to wait where there were too many, else 0."""
        return max(self._sign_ins.take(key, now) for key in keys)

    def note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer."""
        if scope["type"] != "http":
            return
        route = scope.get("route")
        path = getattr(route, "path", None) or ("/_dash" if scope["path"].startswith("/_dash") else "other")
        if scope["path"].startswith("/api/v1/") and not path.startswith("/api/v1"):
            path = f"/api/v1{path}"
        self.requests[scope["method"], path, status] += 1
        self.seconds[scope["method"], path] += seconds
