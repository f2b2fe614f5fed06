"""RTP payload formats that need no signalling (RFC 3551)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from collector.facts import CodecFormat

STATIC_FORMATS: Final[Mapping[int, CodecFormat]] = MappingProxyType(
    {
        0: CodecFormat("PCMU", 8000),
        3: CodecFormat("GSM", 8000),
        4: CodecFormat("G723", 8000),
        5: CodecFormat("DVI4", 8000),
        6: CodecFormat("DVI4", 16000),
        7: CodecFormat("LPC", 8000),
        8: CodecFormat("PCMA", 8000),
        9: CodecFormat("G722", 8000),  # RFC 3551 4.5.2: the clock stays 8000 although G.722 samples at 16 kHz
        10: CodecFormat("L16", 44100, 2),
        11: CodecFormat("L16", 44100),
        12: CodecFormat("QCELP", 8000),
        13: CodecFormat("CN", 8000),
        14: CodecFormat("MPA", 90000),
        15: CodecFormat("G728", 8000),
        16: CodecFormat("DVI4", 11025),
        17: CodecFormat("DVI4", 22050),
        18: CodecFormat("G729", 8000),
        25: CodecFormat("CELB", 90000),
        26: CodecFormat("JPEG", 90000),
        28: CodecFormat("NV", 90000),
        31: CodecFormat("H261", 90000),
        32: CodecFormat("MPV", 90000),
        33: CodecFormat("MP2T", 90000),
        34: CodecFormat("H263", 90000),
    }
)
"""Payload type to format (RFC 3551 6, tables 4 and 5)."""
