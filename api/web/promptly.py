"""How a process that answers many at once keeps its pauses short."""

from __future__ import annotations

import gc
import sys
from typing import Final

TURN_S: Final = 0.0005
"""A thread that computes gives way so soon to one that has to answer; Python's own 5 ms, which a request meets a dozen
times where others compute, add up to what a person sees."""


def settle() -> None:
    """Let threads take shorter turns, and never again search for garbage in what is there by now.

    What a server has loaded stays until its end: each full search of it would hold all answers up for 0.1 s.
    """
    sys.setswitchinterval(TURN_S)
    gc.collect()
    gc.freeze()
