"""Calls that are all up at one time, as a capturing program would write them: for what live capture holds of memory.

    python -m benchmarks.many_calls CALLS SECONDS > capture.pcap

Sets all calls up within their first ten seconds, sends both their streams (G.711, 20 ms) for so long, one in four of
them with losses, and then ends all calls within one second of capture time. Nothing waits for a clock.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from benchmarks.live import RTP_AT, SAMPLES, signalling, streams

HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 1)
"""Of a classic capture in nanoseconds, Ethernet."""
RECORD = 16
SNAP = 64
"""Octets kept of a media packet; all of its headers."""
TICKS_PER_SECOND = 50
SETUP_S = 10
NS = 1_000_000_000
LOSS = 0.005


def written(to: BinaryIO, calls: int, seconds: int, begin: int) -> Iterator[str]:
    """Write the capture, its first packet at `begin` [ns]; yields the name of each stage as it begins."""
    to.write(HEADER)
    setup, ending = signalling(calls)
    yield "setup"
    _messages(to, setup, begin, SETUP_S * NS)
    frames = streams(calls)
    records = np.zeros((len(frames), RECORD + SNAP), np.uint8)
    records[:, RECORD:] = frames[:, :SNAP]
    head = records[:, :RECORD].view("<u4")
    head[:, 2], head[:, 3] = SNAP, frames.shape[1]
    draw = np.random.default_rng(1)
    lossy = np.arange(len(frames)) % 4 == 3
    spread = np.arange(len(frames), dtype=np.int64) * (NS // TICKS_PER_SECOND) // len(frames)
    media = begin + SETUP_S * NS
    at = RECORD + RTP_AT
    yield "media"
    for tick in range(seconds * TICKS_PER_SECOND):
        times = media + tick * (NS // TICKS_PER_SECOND) + spread
        head[:, 0], head[:, 1] = times // NS, times % NS
        records[:, at + 2 : at + 4] = np.array([tick & 0xFFFF], ">u2").view(np.uint8)
        records[:, at + 4 : at + 8] = np.array([tick * SAMPLES], ">u4").view(np.uint8)
        lost = lossy & (draw.random(len(frames)) < LOSS)
        to.write((records[~lost] if lost.any() else records).tobytes())
    yield "end"
    _messages(to, ending, media + seconds * NS, NS)
    to.flush()


def _messages(to: BinaryIO, frames: list[bytes], begin: int, within: int) -> None:
    for number, frame in enumerate(frames):
        at = begin + number * within // len(frames)
        to.write(np.array([at // NS, at % NS, len(frame), len(frame)], "<u4").tobytes() + frame)


def main() -> None:
    """Write what the command line, or the environment of a capturing child, asks for; wait to be ended if a child."""
    given = os.environ.get("BENCH_CALLS", "").split(":") if len(sys.argv) != 3 else [*sys.argv[1:], ""]
    calls, seconds, said = given
    begin = time.time_ns() - (SETUP_S + int(seconds) + 1) * NS

    def say(stage: str) -> None:
        if said:
            with Path(said).open("a") as stages:
                stages.write(f"{stage}\n")

    for stage in written(sys.stdout.buffer, int(calls), int(seconds), begin):
        say(stage)
    say("written")
    if said:
        time.sleep(600)


if __name__ == "__main__":
    main()
