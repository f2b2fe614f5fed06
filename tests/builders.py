"""Facts made by hand: each builder gives something ordinary, and a test overrides what it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from collector.facts import (
    Bin,
    BurstGap,
    Call,
    CallState,
    CaptureFacts,
    CodecFormat,
    Endpoint,
    FarEnd,
    Finding,
    Jitter,
    Leg,
    MissingRun,
    NegotiatedMedia,
    Placement,
    Reason,
    Replay,
    SignallingMetrics,
    SipTotals,
    Span,
    Spread,
    Stream,
    TelephoneEvent,
)

SECOND = 1_000_000_000
START = 1_759_500_310 * SECOND + 123_456_789
"""2025-10-03 14:05:10.123456789 UTC."""
CALLER = Endpoint("10.1.4.7", 5060)
CALLEE = Endpoint("10.9.0.2", 5060)


def make_stream(**overrides: Any) -> Stream:
    """Ten seconds of G.711 with one packet lost."""
    stream = Stream(
        src=Endpoint("10.1.4.7", 16402),
        dst=Endpoint("10.9.0.2", 24080),
        ssrc=0x1234ABCD,
        payload_types=(8, 101),
        codec="PCMA",
        clock_rate=8000,
        clock_rate_source="static",
        ptime_ms=20.0,
        call_id="a84b4c76e66710@10.1.4.7",
        encrypted=False,
        packets=499,
        octets=79840,
        expected=500,
        lost=1,
        loss_percent=0.2,
        duplicates=0,
        mirror_copies=0,
        reordered=0,
        jitter_ms=Jitter(2.125, 9.8, 1.5),
        ipdv_ms=Spread(0.5, 2.0, 4.0, 9.0),
        pdv_ms=Spread(1.0, 4.0, 8.0, 20.0),
        mean_delta_ms=20.04,
        max_delta_ms=40.0,
        clock_drift_ppm=12.5,
        burst_gap=BurstGap(0, 0.0, 0.2, 0.0, 10000.0),
        burst_ratio=1.0,
        loss_runs=(Bin(1, 2, 1),),
        delay_histogram=(Bin(0, 5, 480), Bin(5, None, 19)),
        dscp={46: 499},
        codec_changes=(),
        comfort_noise_packets=0,
        talk_spurts=1,
        telephone_events=(),
        missing=(MissingRun(START + 3 * SECOND, 1, 40.0, "network"),),
        missing_total=1,
        not_network={},
        far_end=None,
        placement=Placement(1, "primary", 1),
        segments=1,
        first=START + 2 * SECOND,
        last=START + 12 * SECOND,
        findings=(),
    )
    return replace(stream, **overrides)


def make_far_end() -> FarEnd:
    """A receiver that sent two reports and a VoIP metrics block without MOS."""
    return FarEnd(
        reports=2,
        fraction_lost_max=0.4,
        cumulative_lost=1,
        jitter_ms_max=3.0,
        jitter_ms_last=2.0,
        round_trip_ms=42.0,
        round_trip_basis="both halves",
        xr={"r_factor": 90, "mos_lq": None},
        cname="alice@10.9.0.2",
        bye=True,
    )


def make_media(**overrides: Any) -> NegotiatedMedia:
    """One audio line of the caller."""
    media = NegotiatedMedia(
        endpoint=Endpoint("10.1.4.7", 16402),
        kind="audio",
        protocol="RTP/AVP",
        formats={8: CodecFormat("PCMA", 8000), 101: CodecFormat("TELEPHONE-EVENT", 8000, 1, "0-16")},
        ptime_ms=None,
        direction="sendrecv",
        rtcp=Endpoint("10.1.4.7", 16403),
        role="caller",
        since=START,
        until=None,
    )
    return media._replace(**overrides)


def make_leg(**overrides: Any) -> Leg:
    """A leg that was answered after two seconds and hung up after ten more."""
    leg = Leg(
        call_id="a84b4c76e66710@10.1.4.7",
        src=CALLER,
        dst=CALLEE,
        transport="udp",
        from_uri="sip:+441632960001@10.1.4.7",
        to_uri="sip:+441632960002@10.9.0.2",
        request_uri="sip:+441632960002@10.9.0.2;user=phone",
        state=CallState.COMPLETED,
        status=200,
        status_text="OK",
        reason=None,
        start=START,
        ringing=START + SECOND,
        answered=START + 2 * SECOND,
        end=START + 12 * SECOND,
        hung_up_by="caller",
        session_id=None,
        invites=1,
        retransmissions=0,
        forks=1,
        messages=7,
        media=(make_media(),),
        spans=(Span(START + 5 * SECOND, None, "hold"),),
        transferred_to=None,
        replaces=None,
        defects={},
    )
    return replace(leg, **overrides)


def make_call(**overrides: Any) -> Call:
    """A call of one leg; overrides that a leg has, too, are given to it as well."""
    names = {"call_id", "from_uri", "to_uri", "state", "status", "status_text", "reason", "start", "answered", "end"}
    leg = make_leg(**{name: value for name, value in overrides.items() if name in names})
    call = Call(
        call_id=leg.call_id,
        legs=(leg,),
        joined_by=(),
        state=leg.state,
        status=leg.status,
        status_text=leg.status_text,
        reason=leg.reason,
        from_uri=leg.from_uri,
        to_uri=leg.to_uri,
        start=leg.start,
        answered=leg.answered,
        end=leg.end,
        post_dial_delay_ms=1000.0,
        setup_ms=2000.0,
        duration_ms=10000.0,
        hung_up_by="caller",
    )
    return replace(call, **overrides)


def failed_call(call_id: str = "f00d-1@10.1.4.8") -> Call:
    """A call that the callee's side refused as busy everywhere."""
    return make_call(
        call_id=call_id,
        state=CallState.FAILED,
        status=503,
        status_text="Service Unavailable",
        reason=Reason("Q.850", 34, "no circuit available"),
        from_uri="sip:alice@10.1.4.8",
        to_uri="tel:999",
        answered=None,
        setup_ms=None,
        duration_ms=None,
        hung_up_by=None,
        start=START + 20 * SECOND,
        end=START + 21 * SECOND,
    )


NO_METRICS = SignallingMetrics(0, 0, 0, None, None, None, None, None, None, None, None, None, None, None, None)
METRICS = SignallingMetrics(2, 1, 1, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0, None, None, 1000.0, 1000.0, 3.5, 10000.0)


def make_replay(**overrides: Any) -> Replay:
    """Two calls, one of them with both its streams, one stream without signalling."""
    worse = make_stream(
        src=Endpoint("10.9.0.2", 24080),
        dst=Endpoint("10.1.4.7", 16402),
        ssrc=0xFF,
        packets=469,
        lost=31,
        loss_percent=6.2,
        burst_ratio=3.8,
        jitter_ms=Jitter(31.4, 80.0, 12.0),
        telephone_events=(TelephoneEvent(START, 5, 100.0, -10, 8, True), TelephoneEvent(START, 16, 50.0, -10, 3, True)),
        far_end=make_far_end(),
        placement=Placement(2, "primary", 1),
        findings=(Finding("burst_loss", "31 s of bursts from 14:05:10", 31, START),),
    )
    stray = make_stream(
        src=Endpoint("2001:db8::7", 4000),
        dst=Endpoint("2001:db8::9", 4002),
        ssrc=7,
        payload_types=(99,),
        codec=None,
        clock_rate=None,
        clock_rate_source=None,
        ptime_ms=None,
        call_id=None,
        jitter_ms=None,
        ipdv_ms=None,
        pdv_ms=None,
        clock_drift_ppm=None,
        burst_gap=None,
        burst_ratio=None,
        lost=0,
        loss_percent=0.0,
        placement=Placement(3, "primary", 1),
        mirror_copies=12,
        findings=(Finding("mirror_copies", "12 mirror copies, counted once", 12, None),),
    )
    replay = Replay(
        capture=CaptureFacts(
            files=("/some/folder/evening.pcapng",),
            packets=1234,
            first=START,
            last=START + 21 * SECOND,
            link_types=("ethernet",),
            interfaces=1,
            dropped=None,
            defects={"ip_truncated": 2},
            stopped=None,
        ),
        sip=SipTotals(
            messages=9,
            retransmissions=1,
            call_ids=2,
            methods={"INVITE": 2, "BYE": 1, "ACK": 2},
            responses={"200": 2, "503": 1},
            transactions={},
            defects={},
            metrics=METRICS,
        ),
        calls=(make_call(), failed_call()),
        streams=(make_stream(), worse, stray),
    )
    return replace(replay, **overrides)
