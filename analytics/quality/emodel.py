# ruff: noqa: N803, N806, N815, SIM300 - the names are those of the Recommendation
"""The E-model of ITU-T G.107 (06/2015), narrowband: from planning parameters to R and MOS.

One function per clause, the equation number on its line. Logarithms are base 10, delays are milliseconds, levels are
decibels, `Ppl` is a percentage (0 to 100). Every function is pure; `rate` puts them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import NamedTuple

MODEL = "G.107 (2015)"


class ParameterRange(NamedTuple):
    """What a parameter is and which values it may take."""

    meaning: str
    unit: str
    low: float
    """Least value that the arithmetic here accepts."""
    high: float
    permitted_low: float
    """Least value for which the Recommendation gives the model (table of defaults and permitted ranges, clause 7.7), as
    secondary sources quote it; `Nfor` has no range there."""
    permitted_high: float


PARAMETER_RANGES: Mapping[str, ParameterRange] = MappingProxyType(
    {
        "SLR": ParameterRange("send loudness rating", "dB", -20, 40, 0, 18),
        "RLR": ParameterRange("receive loudness rating", "dB", -20, 40, -5, 14),
        "STMR": ParameterRange("sidetone masking rating", "dB", 0, 40, 10, 20),
        "Dr": ParameterRange("D-value of the telephone, receive side", "dB", -20, 20, -3, 3),
        "LSTR": ParameterRange("listener sidetone rating", "dB", -20, 60, 13, 23),
        "Ds": ParameterRange("D-value of the telephone, send side", "dB", -20, 20, -3, 3),
        "TELR": ParameterRange("talker echo loudness rating", "dB", 0, 110, 5, 65),
        "WEPL": ParameterRange("weighted echo path loss", "dB", 0, 150, 5, 110),
        "T": ParameterRange("mean one-way delay of the echo path", "ms", 0, 10_000, 0, 500),
        "Tr": ParameterRange("round-trip delay in a 4-wire loop", "ms", 0, 20_000, 0, 1000),
        "Ta": ParameterRange("absolute one-way delay, mouth to ear", "ms", 0, 10_000, 0, 500),
        "qdu": ParameterRange("quantization distortion units", "", 1, 100, 1, 14),
        "Ie": ParameterRange("equipment impairment factor", "", 0, 95, 0, 40),
        "Bpl": ParameterRange("packet-loss robustness factor", "", 1, 1000, 4.3, 40),
        "Ppl": ParameterRange("packet-loss probability", "%", 0, 100, 0, 20),
        "BurstR": ParameterRange("burst ratio", "", 1, 1e9, 1, 8),
        "Nc": ParameterRange("circuit noise at the 0 dBr point", "dBm0p", -120, 0, -80, -40),
        "Nfor": ParameterRange("noise floor at the receive side", "dBmp", -120, 0, -120, 0),
        "Ps": ParameterRange("room noise at the send side", "dB(A)", 0, 120, 35, 85),
        "Pr": ParameterRange("room noise at the receive side", "dB(A)", 0, 120, 35, 85),
        "A": ParameterRange("advantage factor", "", 0, 20, 0, 20),
        "sT": ParameterRange("delay sensitivity", "", 0.1, 4, 0.4, 1),
        "mT": ParameterRange("minimum perceivable delay", "ms", 1, 1000, 20, 150),
    }
)


@dataclass(frozen=True, slots=True)
class EModelParameters:
    """The input of G.107, defaults of clause 7.7; meaning, unit and range of each stand in `PARAMETER_RANGES`.

    Raises `ValueError`, naming the parameter and its range, for a value that is not a number or out of range.
    """

    SLR: float = 8.0
    RLR: float = 2.0
    STMR: float = 15.0
    Dr: float = 3.0
    LSTR: float | None = None
    """None: STMR + Dr, the relation that clause 7.7 fixes."""
    Ds: float = 3.0
    TELR: float = 65.0
    WEPL: float = 110.0
    T: float = 0.0
    Tr: float = 0.0
    Ta: float = 0.0
    qdu: float = 1.0
    Ie: float = 0.0
    Bpl: float = 4.3
    Ppl: float = 0.0
    BurstR: float = 1.0
    Nc: float = -70.0
    Nfor: float = -64.0
    Ps: float = 35.0
    Pr: float = 35.0
    A: float = 0.0
    sT: float = 1.0
    mT: float = 100.0

    def __post_init__(self) -> None:
        for name, value in self.items():
            allowed = PARAMETER_RANGES[name]
            # Written so that NaN, for which every comparison is false, is refused too.
            if not allowed.low <= value <= allowed.high:
                unit = f" {allowed.unit}" if allowed.unit else ""
                raise ValueError(f"{name} must be from {allowed.low:g} to {allowed.high:g}{unit}, got {value:g}")

    def items(self) -> list[tuple[str, float]]:
        """Every parameter that has a value, in the order of the class; `LSTR` only when it was given."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [(name, value) for name, value in pairs if value is not None]


DEFAULT_PARAMETERS = EModelParameters()


@dataclass(frozen=True, slots=True)
class Rating:
    """Every term of one rating on the R scale, except `No` [dBm0p] and `MOS` [1 to 4.5]."""

    parameters: EModelParameters
    No: float
    Ro: float
    Iolr: float
    Ist: float
    Iq: float
    Is: float
    Idte: float
    Idle: float
    Idd: float
    Id: float
    Ie_eff: float
    A: float
    R: float
    MOS: float


class Step(NamedTuple):
    """One bar of a waterfall: what took R from the value before to the value after."""

    name: str
    clause: str
    inputs: str
    change: float
    r: float
    """R after the step."""


def noise_sum(SLR: float, RLR: float, Ds: float, LSTR: float, Nc: float, Nfor: float, Ps: float, Pr: float) -> float:
    """No, the power sum of the noise sources [dBm0p] (clause 7.2)."""
    OLR = SLR + RLR
    Nos = Ps - SLR - Ds - 100 + 0.004 * (Ps - OLR - Ds - 14) ** 2  # (7-4)
    Pre = Pr + 10 * math.log10(1 + 10 ** ((10 - LSTR) / 10))  # (7-6)
    Nor = RLR - 121 + Pre + 0.008 * (Pre - 35) ** 2  # (7-5)
    Nfo = Nfor + RLR  # (7-7)
    return 10 * math.log10(10 ** (Nc / 10) + 10 ** (Nos / 10) + 10 ** (Nor / 10) + 10 ** (Nfo / 10))  # (7-3)


def basic_signal_to_noise(SLR: float, No: float) -> float:
    """Ro (clause 7.2)."""
    return 15 - 1.5 * (SLR + No)  # (7-2)


def loudness_impairment(SLR: float, RLR: float, No: float) -> float:
    """Iolr, too low an overall loudness (clause 7.3.1)."""
    Xolr = SLR + RLR + 0.2 * (64 + No - RLR)  # (7-10)
    return float(20 * ((1 + (Xolr / 8) ** 8) ** (1 / 8) - Xolr / 8))  # (7-9)


def sidetone_impairment(STMR: float, TELR: float, T: float) -> float:
    """Ist, sidetone that is not optimum (clause 7.3.2)."""
    STMRo = -10 * math.log10(10 ** (-STMR / 10) + math.exp(-T / 4) * 10 ** (-TELR / 10))  # (7-12)
    return float(
        12 * (1 + ((STMRo - 13) / 6) ** 8) ** (1 / 8)
        - 28 * (1 + ((STMRo + 1) / 19.4) ** 35) ** (1 / 35)
        - 13 * (1 + ((STMRo - 3) / 33) ** 13) ** (1 / 13)
        + 29
    )  # (7-11)


def quantizing_impairment(Ro: float, qdu: float) -> float:
    """Iq, quantizing distortion (clause 7.3.3)."""
    Q = 37 - 15 * math.log10(qdu)  # (7-17)
    G = 1.07 + 0.258 * Q + 0.0602 * Q**2  # (7-16)
    Z = 46 / 30 - G / 40  # (7-15)
    Y = (Ro - 100) / 15 + 46 / 8.4 - G / 9  # (7-14)
    return 15 * math.log10(1 + 10**Y + 10**Z)  # (7-13)


def talker_echo_impairment(No: float, RLR: float, STMR: float, TELR: float, T: float, Ist: float) -> float:
    """Idte, talker echo (clause 7.4.1); slightly negative just above T = 1 ms, as the equations have it."""
    if T < 1:  # below 1 ms the echo is sidetone
        return 0.0
    TERV = TELR - 40 * math.log10((1 + T / 10) / (1 + T / 150)) + 6 * math.exp(-0.3 * T**2)  # (7-22)
    if STMR < 9:
        TERV += Ist / 2  # (7-23)
    Roe = -1.5 * (No - RLR)  # (7-20)
    Re = 80 + 2.5 * (TERV - 14)  # (7-21)
    Idte = ((Roe - Re) / 2 + math.sqrt((Roe - Re) ** 2 / 4 + 100) - 1) * (1 - math.exp(-T))  # (7-19)
    if STMR > 20:
        return math.hypot(Idte, Ist)  # (7-24)
    return Idte


def listener_echo_impairment(Ro: float, WEPL: float, Tr: float) -> float:
    """Idle, listener echo (clause 7.4.2)."""
    Rle = 10.5 * (WEPL + 7) * (Tr + 1) ** -0.25  # (7-26)
    return float((Ro - Rle) / 2 + math.sqrt((Ro - Rle) ** 2 / 4 + 169))  # (7-25)


def absolute_delay_impairment(Ta: float, sT: float, mT: float) -> float:
    """Idd, too long a delay even without echo (clause 7.4.3)."""
    if Ta <= mT:
        return 0.0
    X = math.log10(Ta / mT) / math.log10(2)  # (7-28)
    n = 6 * sT
    return float(25 * ((1 + X**n) ** (1 / n) - 3 * (1 + (X / 3) ** n) ** (1 / n) + 2))  # (7-27)


def effective_equipment_impairment(Ie: float, Bpl: float, Ppl: float, BurstR: float) -> float:
    """Ie,eff, the codec together with packet loss (clause 7.5); `Ppl` in percent."""
    return Ie + (95 - Ie) * Ppl / (Ppl / BurstR + Bpl)  # (7-29)


def mos_from_r(R: float) -> float:
    """MOS-CQE on the narrowband scale (Annex B, B-4), never below 1: the cubic alone dips under it for 0 < R < 6.52."""
    if R <= 0:
        return 1.0
    if R >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * R + R * (R - 60) * (100 - R) * 7e-6)  # (B-4)


def user_satisfaction(R: float) -> str:
    """The class of users' satisfaction by R, not by MOS (Annex B, table B.1; G.109)."""
    classes = (
        (90, "very satisfied"),
        (80, "satisfied"),
        (70, "some users dissatisfied"),
        (60, "many users dissatisfied"),
        (50, "nearly all users dissatisfied"),
    )
    return next((words for least, words in classes if R >= least), "not recommended")


def rate(parameters: EModelParameters) -> Rating:
    """All terms of R = Ro - Is - Id - Ie,eff + A (7-1) and the MOS of it."""
    p = parameters
    LSTR = p.STMR + p.Dr if p.LSTR is None else p.LSTR
    No = noise_sum(p.SLR, p.RLR, p.Ds, LSTR, p.Nc, p.Nfor, p.Ps, p.Pr)
    Ro = basic_signal_to_noise(p.SLR, No)
    Iolr = loudness_impairment(p.SLR, p.RLR, No)
    Ist = sidetone_impairment(p.STMR, p.TELR, p.T)
    Iq = quantizing_impairment(Ro, p.qdu)
    Is = Iolr + Ist + Iq  # (7-8)
    Idte = talker_echo_impairment(No, p.RLR, p.STMR, p.TELR, p.T, Ist)
    Idle = listener_echo_impairment(Ro, p.WEPL, p.Tr)
    Idd = absolute_delay_impairment(p.Ta, p.sT, p.mT)
    Id = Idte + Idle + Idd  # (7-18)
    Ie_eff = effective_equipment_impairment(p.Ie, p.Bpl, p.Ppl, p.BurstR)
    R = Ro - Is - Id - Ie_eff + p.A  # (7-1)
    return Rating(p, No, Ro, Iolr, Ist, Iq, Is, Idte, Idle, Idd, Id, Ie_eff, p.A, R, mos_from_r(R))


def waterfall(rating: Rating) -> tuple[Step, ...]:
    """Where the R went, from the R of all defaults (93.2) to the R of this rating; the changes add up exactly."""
    p, default = rating.parameters, rate(DEFAULT_PARAMETERS)
    changes = (
        ("noise and loudness", "7.2", "Ro", rating.Ro - default.Ro),
        ("simultaneous", "7.3", f"Is {rating.Is:.2f}", default.Is - rating.Is),
        ("talker echo", "7.4.1", f"T {p.T:g} ms, TELR {p.TELR:g} dB", default.Idte - rating.Idte),
        ("listener echo", "7.4.2", f"Tr {p.Tr:g} ms, WEPL {p.WEPL:g} dB", default.Idle - rating.Idle),
        ("delay", "7.4.3", f"Ta {p.Ta:g} ms", default.Idd - rating.Idd),
        ("codec", "7.5", f"Ie {p.Ie:g}", -p.Ie),
        ("loss", "7.5", f"Ppl {p.Ppl:g} %, BurstR {p.BurstR:g}, Bpl {p.Bpl:g}", p.Ie - rating.Ie_eff),
        ("advantage", "7.6", f"A {p.A:g}", p.A),
    )
    r = default.R
    steps = [Step("all defaults", "7.7", "", r, r)]
    for name, clause, inputs, change in changes:
        r += change
        steps.append(Step(name, clause, inputs, change, r))
    return tuple(steps)


def beyond_permitted(parameters: EModelParameters) -> tuple[str, ...]:
    """Which parameters the Recommendation does not cover: the arithmetic goes on, the model is extrapolated there."""
    notes = []
    for name, value in parameters.items():
        permitted = PARAMETER_RANGES[name]
        if not permitted.permitted_low <= value <= permitted.permitted_high:
            span = f"{permitted.permitted_low:g} to {permitted.permitted_high:g}"
            notes.append(f"{name} {value:g} is outside {span}, the range of {MODEL}")
    return tuple(notes)
