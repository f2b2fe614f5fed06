"""Equipment impairment Ie and packet-loss robustness Bpl by codec (ITU-T G.113 Appendix I), each with its source.

A codec without a published narrowband value has none here: it is missing with a reason, never a neighbour's number.
Codecs are named as in RTP (RFC 3551, RFC 4856), upper case.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class CodecImpairment(NamedTuple):
    """What G.107 needs to know of a codec."""

    codec: str
    concealment: str
    """`PLC` or `no PLC` where the receiver decides, `native` where the decoder itself conceals losses."""
    ie: float
    bpl: float | None
    """None: no published value; a stream with loss cannot be rated."""
    look_ahead_ms: float
    """What the encoder waits for beyond its packet [ms]."""
    source: str
    provisional: bool
    """True: taken from secondary sources on the 2007 edition, not from the current text of the Recommendation."""


LEAST_BPL_FOR_BURSTS = 16.0
"""G.113 uses burst ratios other than 1 only with codecs of at least this Bpl."""

_APPENDIX_I = "G.113 (2007) Appendix I"
_TABLE_I_1 = "G.113 (2007) table I.1, no Bpl published"


def _native(codec: str, ie: float, bpl: float | None, look_ahead_ms: float, source: str) -> CodecImpairment:
    return CodecImpairment(
        codec, "native", float(ie), None if bpl is None else float(bpl), float(look_ahead_ms), source, provisional=True
    )


def _g711(codec: str) -> tuple[CodecImpairment, CodecImpairment]:
    return (
        CodecImpairment(codec, "no PLC", 0.0, 4.3, 0.0, "G.113 (2024) table I.4; the default of G.107 (2015)", False),
        CodecImpairment(codec, "PLC", 0.0, 25.1, 0.0, f"{_APPENDIX_I}: G.711 with PLC, 10 ms packets", True),
    )


CODECS: tuple[CodecImpairment, ...] = (
    *_g711("PCMA"),
    *_g711("PCMU"),
    # RTP has one name for G.729 and G.729A; the value of the weaker one with voice activity detection is the safe one.
    _native("G729", 11, 19, 5, f"{_APPENDIX_I}: G.729A with VAD"),
    _native("G723", 15, 16.1, 7.5, f"{_APPENDIX_I}: G.723.1 at 6.3 kbit/s with VAD"),
    _native("GSM-EFR", 5, 10, 0, f"{_APPENDIX_I}: GSM-EFR at 12.2 kbit/s"),
    _native("GSM", 20, None, 0, f"{_TABLE_I_1}: GSM full rate"),
    _native("GSM-HR-08", 23, None, 4.4, f"{_TABLE_I_1}: GSM half rate"),
    _native("G726-40", 2, None, 0, f"{_TABLE_I_1}: ADPCM at 40 kbit/s"),
    _native("G726-32", 7, None, 0, f"{_TABLE_I_1}: ADPCM at 32 kbit/s"),
    _native("G726-24", 25, None, 0, f"{_TABLE_I_1}: ADPCM at 24 kbit/s"),
    _native("G726-16", 50, None, 0, f"{_TABLE_I_1}: ADPCM at 16 kbit/s"),
    _native("G728", 7, None, 0, f"{_TABLE_I_1}: LD-CELP at 16 kbit/s"),
)

_ALIASES: Mapping[str, str] = MappingProxyType(
    {"G711A": "PCMA", "G711U": "PCMU", "G.711A": "PCMA", "G.711U": "PCMU", "ALAW": "PCMA", "ULAW": "PCMU"}
    | {"G.729": "G729", "G729A": "G729", "G.729A": "G729", "G729AB": "G729", "G7231": "G723", "G.723.1": "G723"}
    | {"G723.1": "G723", "G721": "G726-32", "GSM-FR": "GSM", "GSM-HR": "GSM-HR-08", "AMRWB": "AMR-WB"}
)

_NEEDS_G107_1 = "is wideband, which needs G.107.1: no narrowband value applies"
_WITHOUT_VALUE: Mapping[str, str] = MappingProxyType(
    {
        "AMR": "no ITU value for AMR",
        "ILBC": "no verified ITU value for ILBC",
        "SPEEX": "no ITU value for SPEEX",
        "OPUS": "no ITU value for OPUS",
        "SILK": "no ITU value for SILK",
        "ISAC": "no ITU value for ISAC",
        "L16": "no ITU value for L16",
        "G722": f"G722 {_NEEDS_G107_1}",
        "G7221": f"G7221 {_NEEDS_G107_1}",
        "AMR-WB": f"AMR-WB {_NEEDS_G107_1}",
        "EVS": f"EVS {_NEEDS_G107_1}",
        "TELEPHONE-EVENT": "TELEPHONE-EVENT carries no speech",
        "CN": "CN carries no speech",
    }
)


def canonical_name(codec: str) -> str:
    """The RTP name, upper case, of a codec that may be spelt otherwise (`g711a`, `G.729`)."""
    name = codec.strip().upper()
    return _ALIASES.get(name, name)


def known_codecs() -> tuple[str, ...]:
    """Names that have a value here, each once, in table order."""
    return tuple(dict.fromkeys(row.codec for row in CODECS))


def codecs_without_value() -> Mapping[str, str]:
    """Names that are known to have no value here, with the reason."""
    return _WITHOUT_VALUE


def impairment(codec: str | None, plc: bool) -> CodecImpairment | None:
    """Ie and Bpl of a codec, or None: `why_missing` says why. `plc` decides only where concealment is not native."""
    if codec is None:
        return None
    wanted = ("native", "PLC" if plc else "no PLC")
    name = canonical_name(codec)
    return next((row for row in CODECS if row.codec == name and row.concealment in wanted), None)


def why_missing(codec: str | None) -> str:
    """The reason why `impairment` has no row for this codec."""
    if codec is None:
        return "codec unknown"
    name = canonical_name(codec)
    return _WITHOUT_VALUE.get(name, f"no ITU value for {name}")
