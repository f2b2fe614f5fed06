"""A fuzzer of the whole replay: mutates captures at random and keeps every one that does anything but end in order.

    python -m tests.fuzz_replay --seconds 60 --seed 1 [--keep DIR] CAPTURE...

Without captures it takes those of `sample_pcaps/`. A finding is an exception other than the named refusal, totals
that do not add up, or a replay that takes longer than `--slow` seconds; its input stays in `--keep` and its path is
printed. The exit status is 1 when there is any.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from api.replay import ReplaySettings, replay_files
from collector.capture.files import CaptureError
from collector.engine import EngineLimits
from collector.facts import Replay
from collector.media.streams import StreamLimits

SMALL = ReplaySettings(EngineLimits(streams=StreamLimits(rows=64, reports=200)))
SAMPLES = Path(__file__).resolve().parents[1] / "sample_pcaps"
LARGEST = 300_000
"""Longer captures are cut to this many bytes: many small runs find more than few large ones."""
WORDS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Mutation = Callable[[random.Random, bytearray], None]


def flip_bits(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 2, 5, 50))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_octets(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 3, 20))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def set_word(rng: random.Random, data: bytearray) -> None:
    """An extreme value where a length may be."""
    for _ in range(rng.choice((1, 4))):
        width, code = rng.choice(((2, "H"), (4, "I")))
        at = rng.randrange(max(1, len(data) - width))
        value = rng.choice(WORDS) & (1 << 8 * width) - 1
        data[at : at + width] = struct.pack(rng.choice("<>") + code, value)


def cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def drop(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 4, 16, 60, 300))]


def repeat(rng: random.Random, data: bytearray) -> None:
    at, size = rng.randrange(len(data)), rng.choice((1, 4, 16, 200, 2_000))
    data[at:at] = data[at : at + size] * rng.choice((1, 1, 3))


def swap(rng: random.Random, data: bytearray) -> None:
    size = rng.choice((4, 60, 400))
    a, b = rng.randrange(len(data)), rng.randrange(len(data))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def insert(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.choice(
        (rng.randbytes(40), b"SIP/2.0 200 OK\r\n", b"\r\n\r\n", b'"<>;,=@[]', bytes(30), b"\xff" * 30)
    )


MUTATIONS: Sequence[Mutation] = (flip_bits, set_octets, set_word, cut, drop, repeat, swap, insert)


def mutated(rng: random.Random, seed: bytes) -> bytes:
    """The capture with a few things wrong with it; its first octets are mostly left alone, or it would be refused."""
    data = bytearray(seed)
    head = data[:24]
    for _ in range(rng.choice((1, 1, 2, 4))):
        if data:
            rng.choice(MUTATIONS)(rng, data)
    if rng.random() < 0.9:
        data[:24] = head
    return bytes(data)


def contradiction(replay: Replay) -> str | None:
    """What does not add up in a replay; None when everything does."""
    for stream in replay.streams:
        if stream.packets <= 0 or stream.lost < 0 or stream.expected < stream.lost or stream.duplicates < 0:
            return f"stream {stream.ssrc:#x} counts {stream.packets}, {stream.expected}, {stream.lost}"
        if stream.packets - stream.duplicates + stream.lost > stream.expected + stream.reordered:
            return f"stream {stream.ssrc:#x}: {stream.packets} packets, {stream.lost} lost, {stream.expected} expected"
    heard = sum(stream.packets for stream in replay.streams) + replay.sip.messages
    segments = replay.sip.messages  # one packet may hold several messages
    if heard > replay.capture.packets + segments:
        return f"{heard} packets of streams and messages in {replay.capture.packets} packets"
    if replay.sip.messages != sum(replay.sip.methods.values()) + sum(replay.sip.responses.values()):
        return f"{replay.sip.messages} messages are not the sum of methods and responses"
    if any(count <= 0 for count in (*replay.capture.defects.values(), *replay.sip.defects.values())):
        return "a defect counted zero times"
    return None


def attempt(path: Path, slow: float) -> str | None:
    """Replay a file; what is wrong with how that went."""
    began = time.monotonic()
    try:
        found = contradiction(replay_files([path], SMALL))
    except CaptureError:
        return None
    except Exception:  # noqa: BLE001  # whatever it is, it is the finding
        return traceback.format_exc()
    spent = time.monotonic() - began
    return found or (f"took {spent:.1f} s" if spent > slow else None)


def fuzz(seeds: Sequence[Path], seconds: float, seed: int, keep: Path, slow: float = 5.0) -> tuple[int, list[Path]]:
    """Mutate and replay until the time is over; how many inputs were tried, and those that found something."""
    rng = random.Random(seed)
    captures = [path.read_bytes()[:LARGEST] for path in seeds]
    path = keep / f"fuzz-{seed}.pcap"
    found: list[Path] = []
    tried = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        path.write_bytes(mutated(rng, rng.choice(captures)))
        tried += 1
        wrong = attempt(path, slow)
        if wrong is not None:
            kept = path.rename(keep / f"fuzz-{seed}-{tried}.pcap")
            found.append(kept)
            print(f"{kept}\n{wrong}", file=sys.stderr)  # noqa: T201
    path.unlink(missing_ok=True)
    return tried, found


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutate captures and replay them.")
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--slow", type=float, default=5.0)
    given = parser.parse_args()
    seeds = given.captures or sorted(SAMPLES.glob("*.pcap*"))
    tried, found = fuzz(seeds, given.seconds, given.seed, given.keep, given.slow)
    print(f"{tried} inputs, {len(found)} findings")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
