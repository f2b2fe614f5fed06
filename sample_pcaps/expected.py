"""The expected answer of a sample, from the story, the relay's log and what the endpoints printed."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

CLOCK_RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 8000, "OPUS": 48000}
"""RTP clocks (RFC 3551 4.5.2: G.722 counts 8000; RFC 7587 4.1)."""
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8, "G722": 9}
"""Static payload types (RFC 3551 6); any other codec has one from 96 on."""
TELEPHONE_EVENT = 101
"""The number that baresip gives telephone-events."""
VIA_PRINTED = re.compile(r"(UDP|TCP) (\S+) -> (\S+)\r?\n((?:[A-Z]+ \S+ SIP/2\.0|SIP/2\.0 \d{3} .*)\r?\n)((?:.+\r?\n)*)")


@dataclass(frozen=True, slots=True)
class Story:
    """What was planned."""

    text: str
    codec: str | None = None
    hung_up_by: str = "caller"
    events: tuple[int, ...] = ()
    """Telephone-event codes, in order."""
    holds: int = 0
    seen_twice: bool = False
    invites: int = 1
    forks: int = 1
    states: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """Start of the Call-ID to state and final status; empty: every call completes with 200."""
    findings: tuple[str, ...] = ()


def write_expected(path: Path, name: str, story: Story, tap: tuple[str, str], folder: Path) -> None:
    """Write the answer as JSON."""
    relay = json.loads((folder / "relay.json").read_text())
    messages = _messages(relay, folder)
    seen = 2 if story.seen_twice else 1
    answer = {
        "capture": f"{name}.pcap",
        "story": story.text,
        "made_with": _endpoints(folder),
        "sip": _sip(messages),
        "calls": _calls(messages, story),
        "streams": [
            {**_stream(stream, tap[0], story, seen), "far_end_lost": _far_end_lost(stream, folder)}
            for stream in relay["streams"]
            if _sequence(stream, tap[0])
        ],
        "rtcp_packets": relay["rtcp"] * seen,
        "findings": list(story.findings),
        "endpoints_say": _summaries(folder),
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(answer, indent=1) + "\n")


def _messages(relay: Mapping[str, Any], folder: Path) -> list[tuple[str, str]]:
    """First line and Call-ID of each SIP message: from the relay over UDP, from the caller's own trace over TCP."""
    if relay["sip"]:
        return [(first_line, call_id) for _, _, first_line, call_id in relay["sip"]]
    trace = (folder / "baresip-left.txt").read_text(errors="replace")
    found = VIA_PRINTED.findall(trace)
    return [
        (first.strip(), re.search(r"^Call-ID: (\S+)", headers, re.MULTILINE)[1])  # type: ignore[index]
        for _, _, _, first, headers in found
    ]


def _sip(messages: Iterable[tuple[str, str]]) -> dict[str, Any]:
    methods: Counter[str] = Counter()
    responses: Counter[str] = Counter()
    for first_line, _ in messages:
        words = first_line.split(" ")
        if words[0] == "SIP/2.0":
            responses[words[1]] += 1
        else:
            methods[words[0]] += 1
    return {
        "messages": sum(methods.values()) + sum(responses.values()),
        "methods": dict(sorted(methods.items())),
        "responses": dict(sorted(responses.items())),
    }


def _calls(messages: Iterable[tuple[str, str]], story: Story) -> list[dict[str, Any]]:
    calls = []
    for call_id in dict.fromkeys(call_id for _, call_id in messages):
        state, status = "completed", 200
        for prefix, planned in story.states.items():
            if call_id.startswith(f"{prefix}-"):
                state, status = planned
        calls.append(
            {
                "call_id": call_id,
                "from_user": "1001",
                "to_user": "1002",
                "state": state,
                "status": status,
                "hung_up_by": story.hung_up_by if state == "completed" else None,
                "invites": story.invites,
                "forks": story.forks,
                "holds": story.holds,
            }
        )
    return calls


def _sequence(stream: Mapping[str, Any], side: str) -> list[int]:
    """Sequence numbers in the order in which the tap saw them: what left the relay, where the tap is behind it."""
    from_left = stream["src"][1] < 20000
    behind = side == ("right" if from_left else "left")
    numbers: list[int] = stream["went"] if behind else stream["came"]
    return numbers


def _stream(stream: Mapping[str, Any], side: str, story: Story, seen: int) -> dict[str, Any]:
    places = unwrapped(_sequence(stream, side))
    distinct = sorted(set(places))
    missing = [place for place in range(distinct[0], distinct[-1] + 1) if place not in set(places)]
    runs = [len(list(run)) for _, run in groupby(enumerate(missing), lambda pair: pair[1] - pair[0])]
    new = [place not in places[:position] for position, place in enumerate(places)]
    late = [place < max(places[: position + 1]) for position, place in enumerate(places)]
    types = Counter(stream["payload_types"])
    _check_codec(set(types), str(story.codec))
    return {
        "src": stream["src"][0],
        "src_port": stream["src"][1],
        "dst": stream["dst"][0],
        "dst_port": stream["dst"][1],
        "ssrc": f"0x{stream['ssrc']:08x}",
        "payload_types": list(dict.fromkeys(stream["payload_types"])),
        "packets_by_payload_type": {str(number): count for number, count in types.items()},
        "codec": story.codec,
        "clock_rate": CLOCK_RATES[str(story.codec)],
        "packets": len(places),
        "expected": distinct[-1] - distinct[0] + 1,
        "lost": len(missing),
        "loss_runs": runs,
        "duplicates": len(places) - len(distinct),
        "mirror_copies": len(places) * (seen - 1),
        "reordered": sum(first and behind for first, behind in zip(new, late, strict=True)),
        "events": list(story.events) if stream["src"][1] < 20000 else [],
    }


def _check_codec(seen: set[int], codec: str) -> None:
    """The endpoints must have spoken the codec that was planned."""
    planned = PAYLOAD_TYPES.get(codec)
    voice = seen - {TELEPHONE_EVENT}
    if voice != {planned} if planned is not None else any(number < 96 for number in voice):
        raise RuntimeError(f"{codec} was planned, payload types {sorted(seen)} were sent")


def unwrapped(numbers: Sequence[int]) -> list[int]:
    """Sequence numbers counted on past 65535."""
    places = [numbers[0]]
    for number in numbers[1:]:
        places.append(places[-1] + (number - places[-1] + 32768) % 65536 - 32768)
    return places


def _summaries(folder: Path) -> dict[str, str]:
    """What each baresip printed of its own call at the end (packets received and sent, lost, jitter ...)."""
    lines = {}
    for side in ("left", "right"):
        printed = folder / f"baresip-{side}.txt"
        if printed.exists():
            found = re.findall(r"EX=BareSip;.+", printed.read_text(errors="replace"))
            lines[side] = found[-1] if found else ""
    return lines


def _far_end_lost(stream: Mapping[str, Any], folder: Path) -> int | None:
    """What the sender printed as the losses that the other side reported to it by RTCP: the second number of PL."""
    side = "left" if stream["src"][1] < 20000 else "right"
    found = re.search(r"PL=-?\d+,(-?\d+);", _summaries(folder).get(side, ""))
    return int(found[1]) if found else None


def _endpoints(folder: Path) -> str:
    """The programs that called each other, with their versions."""
    asked = {"baresip": "-v", "linphonec": "--version", "sipp": "-v"}
    used = [name for name in asked if list(folder.glob(f"{name.removesuffix('c')}-*"))] or ["sipp"]
    versions = []
    for name in used:
        printed = subprocess.run([name, asked[name]], capture_output=True, text=True, check=False).stdout  # noqa: S603
        version = re.search(r"(?:SIPp|baresip|version:) v?(\d[\d.]+\d)", printed)
        versions.append(f"{name} {version[1] if version else ''}".strip())
    return ", ".join(versions)
