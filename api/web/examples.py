"""Examples of answers for the OpenAPI document, made from the classes of the answers and a book of values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, get_args, get_origin, get_type_hints

from api.web.shapes import is_shaped, names, plain, shape

_START: Final = datetime(2025, 10, 1, 13, 5, 10, tzinfo=UTC)
_SAID: Final = "8 of 64 streams poor in 15 min (12.5 %, 6.5 to 22.8 %); degraded above 5 %"
_SHA: Final = "5f0c7e9d2b7a4f0e9c1d3b5a7f90e2c4d6b8a0f1e3c5d7b9a1f3e5c7d9b0a2f4"
_LINK: Final = "/api/v1/…?since=2025-10-01T12:00:00Z&until=2025-10-01T13:00:00Z"
VALUES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "as_of": _START, "site": "ashcombe", "other_site": "northgate", "name": "Ashcombe", "kind": "station",
        "parent": "north", "zone": "Europe/London", "state": "degraded", "reason": _SAID, "window_minutes": 15,
        "attention": 1, "since": _START - timedelta(minutes=15), "until": _START, "newest": _START.replace(second=0),
        "calls_now": 4.0, "calls": 31, "answered": 28, "failed": 1, "streams": 64, "number": 8, "of": 64,
        "value": 0.125, "low": 0.065, "high": 0.228, "mos": 3.94, "mos_min": 2.41, "packets": 9590, "expected": 9600,
        "numerator": 8.0, "denominator": 64.0,
        "lost": 10, "loss_percent": 0.104, "jitter_ms": 6.2, "jitter_max_ms": 31.4, "busy": 3.7, "step": "hour",
        "start": _START, "seconds": 192.4, "answer": _START + timedelta(seconds=6), "weeks": 8, "unmarked": 0,
        "end": _START + timedelta(seconds=198), "link": _LINK,
        "next": f"{_LINK}&cursor=WyIz", "cursor": "WyIz", "withheld": 0,
        "key": "0f3c5a7e9b1d2c4e", "call_key": "0f3c5a7e9b1d2c4e",
        "stream_key": "7a1c3e5f9b2d4c6e", "source": "ashcombe-tap", "call_id": "a84b4c76e66710@pbx.example",
        "status": 200, "pdd_ms": 1830.0, "calling": "p-k3x7q2ma", "called": "p-b5n1t8wz", "legs": 1,
        "from_address": "10.1.4.7:16402", "to_address": "10.9.0.2:24080", "codecs": ["PCMA"], "codec": "PCMA",
        "ssrc": 19088743, "loss_runs": 4, "pdv_p95_ms": 12.8, "burst_ratio": 1.4, "r_factor": 78.1, "dscp": 46,
        "mos_model": "G.107 (2015); PCMA Ie 0 Bpl 25.1 (PLC); Ppl 0.104 % BurstR 1.4", "why_no_mos": "codec not known",
        "evidence": "measured", "unit": "ms", "sha256": _SHA, "digest": f"sha256:{_SHA}", "record": "cdr",
        "imported": _START, "rows": 1204, "kept": 1203, "rejected": 1, "first": _START - timedelta(hours=1),
        "last": _START, "node": "County_01", "sequence": 418, "month": "2025-10", "host": "tap1", "pid": 4711,
        "command": "collect", "version": "0.1.0", "came": 120400, "passed": 120388, "waiting": 0,
        "unexplained": 0, "system": "County",
        "rule": "packet_loss", "severity": "warning", "fingerprint": "6d4d4ef537b13977", "muted": "",
        "said": "packets lost to the site: 2.4 % (740 of 31,200 packets) in 5 min",
        "title": "Savings", "currency": "GBP",
    }
)  # fmt: skip
"""What a field of a name shows; others show what their type allows."""


def sample(kind: type[Any]) -> dict[str, Any]:
    """Return an example of an answer."""
    hints = get_type_hints(kind)
    made: dict[str, Any] = {}
    for name in names(kind):
        made[name] = _one(hints[name], name)
    return made


def _one(hint: Any, name: str) -> Any:
    if is_shaped(hint):
        return sample(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return VALUES[name] if isinstance(VALUES.get(name), list) else [_one(arguments[0], "")]
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {}
    if arguments:
        inner = next(one for one in arguments if one is not type(None))
        return sample(inner) if is_shaped(inner) else _value(inner, name)
    return _value(hint, name)


def _value(hint: Any, name: str) -> Any:
    # A null would be left out of the document, and then the example lacked a field.
    found = VALUES.get(name)
    if isinstance(hint, type):
        if issubclass(hint, Enum):
            values = [one.value for one in hint]
            return found if found in values else values[0]
        if isinstance(found, hint) or (hint is float and isinstance(found, int)):
            return _written(found)
        if hint is int and isinstance(found, float):
            return int(found)
        plainest: Mapping[Any, Any] = {str: "…", int: 0, float: 0.0, bool: False, datetime: _written(_START)}
        return plainest.get(hint)
    return plain(found)


def _written(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def described(kind: type[Any], *, table: bool = True, many: bool = False) -> dict[str, Any]:
    """Return what the decorator of an operation says of its answer.

    `table`: it answers CSV and NDJSON as well; `many`: the answer is a list of it.
    """
    example = sample(kind)
    content: dict[str, Any] = {"application/json": {"example": [example] if many else example}}
    if table:
        content |= {"text/csv": {"schema": {"type": "string"}}, "application/x-ndjson": {"schema": {"type": "string"}}}
    of: Any = shape(kind)
    return {"response_model": list[of] if many else of, "responses": {200: {"content": content}}}
