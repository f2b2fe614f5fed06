"""Whether packets that look like RTP are RTP."""

from __future__ import annotations

from collector.media.book import Negotiated
from collector.media.reports import StreamReport
from collector.protocols.rtp import STATIC_FORMATS

PLAUSIBLE_PACKETS = 4
PLAUSIBLE_SHARE = 0.5
PLAUSIBLE_STEPS = 3
COMFORT_NOISE_TYPES = (13, 19)


def is_plausible(report: StreamReport, negotiated: Negotiated | None) -> bool:
    """Whether this is RTP: announced by SDP and in sequence (RFC 3550 A.1); unannounced, it must show more.

    Two numbers in sequence happen by chance in other protocols; at least four packets do not that fill half of the
    numbers they span, or follow one another directly several times, under a few payload types that RFC 3551 assigns or
    leaves dynamic. So a stream is not hidden by its losses.
    """
    if negotiated is not None:
        return True
    known = all(number in STATIC_FORMATS or number >= 96 or number in COMFORT_NOISE_TYPES for number in report.types)
    return (
        known
        and report.packets >= PLAUSIBLE_PACKETS
        and (
            report.packets - report.duplicates >= PLAUSIBLE_SHARE * report.expected
            or report.sequential >= PLAUSIBLE_STEPS
        )
        and len(report.types) <= 4
    )
