"""Where the R of a stored stream went: the terms of its rating, computed again from what the store keeps of it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from analytics.quality.emodel import DEFAULT_PARAMETERS, MODEL, EModelParameters, rate, waterfall
from analytics.quality.rating import ECHO_FREE, delay_parameters

_NUMBER: Final = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_CODEC = re.compile(rf"(\S+) Ie {_NUMBER} Bpl (?:{_NUMBER}|none published) \((.*?)\)")
_LOSS = re.compile(rf"Ppl {_NUMBER} % BurstR {_NUMBER}")
_DELAY = re.compile(rf"delay (echo-free|full), Ta {_NUMBER} ms")
TOLERANCE: Final = 0.01
"""How far R may be from the stored one: the inputs are kept with six digits."""


class TermStep(NamedTuple):
    """One step from the R of all defaults to the R of the stream."""

    name: str
    clause: str
    """Clause of G.107."""
    inputs: str
    change: float
    """What it adds to R."""
    r: float
    """R after it."""


class StreamTerms(NamedTuple):
    """Where the R of a stream went."""

    stream_key: str
    r_factor: float
    mos: float
    steps: tuple[TermStep, ...]
    model: str
    """Model, inputs and assumptions in words."""
    command: str
    """The `callgauge mos` command that computes it again."""


def terms_of(stream_key: str, model: str | None, r_factor: float | None) -> StreamTerms | None:
    """Return the terms of a stored rating; None where there is none, or its words do not give the stored R."""
    if model is None or r_factor is None or not model.startswith(MODEL):
        return None
    codec, loss, delay = _CODEC.search(model), _LOSS.search(model), _DELAY.search(model)
    if codec is None or loss is None or delay is None:
        return None
    bpl = DEFAULT_PARAMETERS.Bpl if codec[3] is None else float(codec[3])
    ta, basis = float(delay[2]), delay[1]
    try:
        parameters = EModelParameters(
            Ie=float(codec[2]), Bpl=bpl, Ppl=float(loss[1]), BurstR=float(loss[2]), **delay_parameters(ta, basis)
        )
    except ValueError:
        return None
    rating = rate(parameters)
    if abs(rating.R - r_factor) > TOLERANCE:
        return None
    words = ["callgauge mos --codec", codec[1], *(["--plc"] if codec[4] == "PLC" else [])]
    words += ["--delay", delay[2], "--loss", loss[1]]
    words += ["--burst-ratio", loss[2]] if parameters.BurstR != 1 else []
    words += ["--delay-basis", basis] if basis != ECHO_FREE else []
    steps = tuple(TermStep(*step) for step in waterfall(rating))
    return StreamTerms(stream_key, rating.R, rating.MOS, steps, model, " ".join(words))
