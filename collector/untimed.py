"""Facts of a capture that holds no times (pcapng simple packet blocks alone): what needs a clock is missing, not 0."""

from __future__ import annotations

from dataclasses import replace

from collector.facts import Call, SipTotals, Stream


def untimed_stream(stream: Stream) -> Stream:
    """A stream without what arrival times would have told."""
    return replace(
        stream,
        jitter_ms=None,
        ipdv_ms=None,
        pdv_ms=None,
        mean_delta_ms=None,
        max_delta_ms=None,
        clock_drift_ppm=None,
        delay_histogram=(),
    )


def untimed_call(call: Call) -> Call:
    """A call without durations."""
    return replace(call, post_dial_delay_ms=None, setup_ms=None, duration_ms=None)


def untimed_totals(sip: SipTotals) -> SipTotals:
    """Totals without mean delays; counts and ratios need no clock."""
    metrics = replace(
        sip.metrics,
        registration_request_delay_ms=None,
        session_request_delay_ms=None,
        failed_session_request_delay_ms=None,
        session_disconnect_delay_ms=None,
        session_duration_ms=None,
    )
    return replace(sip, metrics=metrics)
