"""Whether the report says what the generator wrote down: a fast wrong answer is worth nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from benchmarks.captures import Capture
from benchmarks.measure import Command


def differences(capture: Capture, command: Command) -> list[str]:
    """Totals of the report that are not those of the generator."""
    printed = subprocess.run(list(command.arguments), cwd=command.folder, check=True, capture_output=True).stdout
    found = json.loads(printed)
    pairs = _rtp_pairs(found, capture.truth) if "rtp" in capture.truth else _sip_pairs(found, capture.truth)
    return [f"{name}: {ours} found, {true} written" for name, ours, true in pairs if ours != true]


def _rtp_pairs(found: Mapping[str, Any], truth: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    names = ("packets", "expected", "lost", "duplicates", "reordered")
    sums = [(name, sum(stream[name] for stream in found["streams"]), truth["rtp"][name]) for name in names]
    joined = sum(stream["call_id"] is not None for stream in found["streams"])
    return [
        *sums,
        ("streams", len(found["streams"]), len(truth["streams"])),
        ("streams joined to calls", joined, len(truth["streams"])),
        ("calls", len(found["calls"]), truth["calls"]),
        ("messages", found["sip"]["messages"], truth["sip_messages"]),
    ]


def _sip_pairs(found: Mapping[str, Any], truth: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    completed = sum(call["state"] == "completed" for call in found["calls"])
    return [
        ("messages", found["sip"]["messages"], truth["messages"]),
        ("calls", len(found["calls"]), truth["calls"]),
        ("completed", completed, truth["outcomes"]["completed"]),
        *((name, found["sip"]["methods"].get(name, 0), count) for name, count in truth["methods"].items()),
        *((name, found["sip"]["responses"].get(name, 0), count) for name, count in truth["responses"].items()),
    ]
