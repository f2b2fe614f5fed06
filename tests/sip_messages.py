"""SIP messages for tests, written for them, and the shape in which a batch takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def as_batch(
    raws: Sequence[bytes], gap: bytes = b"\x00INVITE sip:"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """A window with the messages and something else between them, where each is, and how many."""
    window = bytearray(gap)
    offsets: list[int] = []
    for raw in raws:
        offsets.append(len(window))
        window += raw + gap
    return (
        np.frombuffer(bytes(window), dtype=np.uint8),
        np.array(offsets, dtype=np.int64),
        np.array([len(raw) for raw in raws], dtype=np.int64),
        len(raws),
    )
