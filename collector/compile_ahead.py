"""A process that compiles kernels while another is busy with the largest: the first run on a machine waits for half.

`python -m collector.compile_ahead` compiles all but `walk`, those first that take longest.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import numpy as np

from collector.accelerate import kernel_cache
from collector.calls import CallLimits
from collector.capture import columns as c
from collector.facts import Endpoint
from collector.media import columns as m
from collector.media.book import MediaBook
from collector.media.delay_numba_fns import work_out, work_through
from collector.media.rtp_numba_fns import rebuild_slots, settle_rows
from collector.media.table import new_context, stream_arrays
from collector.plain_calls import PlainCalls, PlainLimits
from collector.signalling import Signalling

MESSAGE = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\r\n"
SMALLEST = PlainLimits(calls=1, text=1, packed=1)


def start() -> None:
    """Begin in a process of its own, which ends by itself; not where nothing that it compiles can be kept."""
    with suppress(OSError):
        folder = kernel_cache()
        folder.mkdir(parents=True, exist_ok=True)
        if not sys.executable or not os.access(folder, os.W_OK):
            return
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        command = [sys.executable, "-P", "-m", "collector.compile_ahead"]
        os.posix_spawn(sys.executable, command, environment, file_actions=silent)


def compile_kernels() -> None:
    """Call each kernel once, with as little as it takes."""
    signalling = Signalling(CallLimits(), MediaBook(), lambda hi, lo, port: Endpoint("", port), SMALLEST)
    packets = np.zeros((1, c.PENDING_COLUMNS), np.int64)
    packets[0, c.PAYLOAD_CAPTURED] = len(MESSAGE)
    signalling.take_packets(np.frombuffer(MESSAGE, np.uint8), packets)
    table = stream_arrays(1)
    settle_rows(table, new_context(), np.zeros(1, np.int64), 0)
    PlainCalls(SMALLEST, 1).row_of("a")
    table.counts[0, m.CLOCK] = 8000
    work_out(table, 0)
    work_through(table)
    rebuild_slots(table, 0)


if __name__ == "__main__":
    compile_kernels()
