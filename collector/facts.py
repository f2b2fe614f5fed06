"""What a capture says, as frozen facts: endpoints, streams, calls.

Times are integer nanoseconds since the epoch as the capture stamped them, durations are milliseconds unless a name
says otherwise, shares are percent. `None` means missing, never zero; a reason stands beside it where one is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from collector.protocols.rtp_stat import RtpStatistics


class Endpoint(NamedTuple):
    """One side of a flow."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    @property
    def is_multicast(self) -> bool:
        """Whether this is a group (RFC 5771, RFC 4291 2.7), read from the text: it is asked for every stream."""
        if ":" in self.ip:
            return self.ip[:2] in ("ff", "FF")
        if self.ip[:2] not in ("22", "23"):
            return False
        first = self.ip.partition(".")[0]
        return first.isdigit() and 224 <= int(first) <= 239


class Finding(NamedTuple):
    """One thing worth saying about a stream or a call, in words and as a code to count by."""

    code: str
    """Stable name, e.g. `one_way_audio`; listed in docs/output.md."""
    text: str
    """The sentence a person reads."""
    packets: int | None = None
    """How many packets it concerns, where that has a meaning."""
    at: int | None = None
    """When it began [ns since the epoch]."""


class CodecFormat(NamedTuple):
    """One payload format of an SDP media line (RFC 8866 6.6) or of the static table (RFC 3551 6)."""

    name: str
    """Upper-case encoding name, e.g. `PCMA`, `G729`, `OPUS`, `TELEPHONE-EVENT`."""
    clock_rate: int
    """RTP timestamp clock [Hz]."""
    channels: int = 1
    fmtp: str = ""


class Spread(NamedTuple):
    """A distribution in milliseconds; percentiles by the nearest-rank rule on the histogram of docs/concepts.md."""

    p50: float
    p95: float
    p99: float
    max: float


class Jitter(NamedTuple):
    """Interarrival jitter of RFC 3550 A.8 [ms]."""

    mean: float
    max: float
    last: float


class BurstGap(NamedTuple):
    """Burst and gap loss, segmented directly (RFC 3611 4.7.2, Gmin 16)."""

    bursts: int
    burst_density: float
    """Share of packets lost inside bursts [%]."""
    gap_density: float
    """Share of packets lost outside bursts [%]."""
    burst_duration_ms: float
    """Mean length of a burst."""
    gap_duration_ms: float
    """Mean length of a gap."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One class of a histogram: `low <= value < high` (`high` None: open)."""

    low: float
    high: float | None
    count: int


class CodecChange(NamedTuple):
    at: int
    old: str
    new: str


class TelephoneEvent(NamedTuple):
    """One RFC 4733 event as its packets told it."""

    at: int
    event: int
    """Event code: 0-9 digits, 10 `*`, 11 `#`, 12-15 A-D, 16 flash."""
    duration_ms: float
    volume_dbm0: int
    packets: int
    ended: bool
    """True when a packet with the end bit was seen."""


class MissingRun(NamedTuple):
    """Consecutive sequence numbers that were never seen."""

    at: int
    """Arrival of the packet that closed the run [ns]."""
    packets: int
    duration_ms: float
    """Time between the packets on either side."""
    cause: str
    """`network`, or why it is not network loss: `hold`, `t38`, `digits`, `event_only`, `pause`."""


class FarEnd(NamedTuple):
    """What RTCP says of this stream: the receiver's report blocks and extended reports, evidence `reported`."""

    reports: int
    fraction_lost_max: float | None
    """Highest fraction lost of a report block [%]."""
    cumulative_lost: int | None
    jitter_ms_max: float | None
    jitter_ms_last: float | None
    round_trip_ms: float | None
    """Mean of the round trip between the two ends, measured at the tap from LSR and DLSR (RFC 3550 6.4.1)."""
    round_trip_basis: str | None
    """`both halves`, `receiver half` or `sender half`: which part of the path was seen."""
    xr: Mapping[str, float | int | None] | None
    """The last VoIP metrics block (RFC 3611 4.7), fields by their standard names; 127 has become None."""
    cname: str | None
    bye: bool


class Placement(NamedTuple):
    """Where a stream stands among the places where the same medium was heard."""

    medium: int
    """Number of the medium: streams that carry one talker's packets share it."""
    role: str
    """`primary`: counts for totals; `hop`: the same packets seen again further on; `fork`: a copy to a recorder."""
    heard: int
    """In how many places the medium was heard."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One RTP stream: one SSRC between two endpoints."""

    src: Endpoint
    dst: Endpoint
    ssrc: int
    payload_types: tuple[int, ...]
    """In order of first appearance."""
    codec: str | None
    """The codec of most packets, telephone-events and comfort noise left aside."""
    clock_rate: int | None
    clock_rate_source: str | None
    """`static` (RFC 3551), `sdp`, or `inferred` from the packets themselves."""
    ptime_ms: float | None
    call_id: str | None
    encrypted: bool
    """SDP negotiated SRTP: headers are measured, payload was never readable."""
    packets: int
    """Packets of the stream, mirror copies left out, duplicates counted."""
    octets: int
    """RTP payload octets of those packets, from the lengths in the headers (a snap length does not change them)."""
    expected: int
    """RFC 3550 A.3, over all segments, less what is not network loss."""
    lost: int
    loss_percent: float | None
    duplicates: int
    mirror_copies: int
    reordered: int
    jitter_ms: Jitter | None
    ipdv_ms: Spread | None
    """RFC 5481 4.1, absolute values."""
    pdv_ms: Spread | None
    """RFC 5481 4.2, against the least delay of each 10 s."""
    mean_delta_ms: float | None
    max_delta_ms: float | None
    clock_drift_ppm: float | None
    burst_gap: BurstGap | None
    burst_ratio: float | None
    """Mean loss run over the mean run of random loss of the same rate (G.107 3.5), at least 1; None without loss."""
    loss_runs: tuple[Bin, ...]
    delay_histogram: tuple[Bin, ...]
    """PDV in classes [ms]."""
    dscp: Mapping[int, int]
    """Packets by DSCP as seen at the tap."""
    codec_changes: tuple[CodecChange, ...]
    comfort_noise_packets: int
    talk_spurts: int
    telephone_events: tuple[TelephoneEvent, ...]
    missing: tuple[MissingRun, ...]
    """The first runs of missing packets, at most `missing_limit` of settings; `missing_total` counts all."""
    missing_total: int
    not_network: Mapping[str, int]
    """Sequence numbers that went missing but are not network loss, by cause."""
    far_end: FarEnd | None
    placement: Placement
    segments: int
    """1, or more when the sequence restarted."""
    first: int
    last: int
    findings: tuple[Finding, ...]


class Interval(NamedTuple):
    """A stretch of a stream, from the last packet of the one before (or its own first) to its last packet."""

    start: int
    end: int
    packets: int
    """Mirror copies left out, duplicates counted."""
    expected: int
    """RFC 3550 A.3, whatever the reason why packets are missing."""
    lost: int
    """Expected less received, duplicates not counted; negative where late packets came."""
    jitter_ms: float | None
    """Interarrival jitter at its end (RFC 3550 A.8)."""


class CallState(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNANSWERED = "unanswered"
    IN_PROGRESS = "in progress"


class Reason(NamedTuple):
    """A Reason header value (RFC 3326)."""

    protocol: str
    """`Q.850` or `SIP`."""
    cause: int | None
    text: str


class NegotiatedMedia(NamedTuple):
    """One media line as one side of a leg announced it: where it wants to receive, and what."""

    endpoint: Endpoint
    kind: str
    """`audio`, `video`, `image`, ..."""
    protocol: str
    """`RTP/AVP`, `RTP/SAVP`, `udptl`, ..."""
    formats: Mapping[int, CodecFormat]
    ptime_ms: float | None
    direction: str
    """`sendrecv`, `sendonly`, `recvonly`, `inactive`, as seen by the side that announced it."""
    rtcp: Endpoint | None
    """Where its RTCP goes; equal to `endpoint` under rtcp-mux."""
    role: str
    """`caller` or `callee`: the side that announced it."""
    since: int
    until: int | None
    """When a later description or the call's end replaced it."""
    encrypted: bool = False
    """SRTP by its profile, an `a=crypto` or an `a=fingerprint`."""


class Span(NamedTuple):
    """A time in which something held."""

    start: int
    end: int | None
    what: str


class Step(NamedTuple):
    """A message of a leg as the ladder shows it."""

    at: int
    """When it was first heard here [ns since the epoch]."""
    src: Endpoint
    dst: Endpoint
    method: str
    """Of the request, or of the request that is answered; `other` for methods that calls do not have."""
    status: int | None
    """Of a response; None: it is the request."""
    cseq: int
    repeated: int
    """How often it was sent again on this hop."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One Call-ID: a caller's INVITE and all dialogs that came of it."""

    call_id: str
    src: Endpoint
    """Who sent the first INVITE, as seen at the tap."""
    dst: Endpoint
    transport: str
    """`udp`, `tcp`, `ws`, `sctp`."""
    from_uri: str
    to_uri: str
    request_uri: str
    state: CallState
    status: int | None
    """Final status of the initial INVITE."""
    status_text: str | None
    reason: Reason | None
    start: int
    """First INVITE."""
    ringing: int | None
    answered: int | None
    end: int | None
    hung_up_by: str | None
    """`caller`, `callee`, or None."""
    session_id: str | None
    invites: int
    """Distinct INVITE transactions before the answer (authentication retries included)."""
    retransmissions: int
    forks: int
    """Distinct To tags that answered the initial INVITE."""
    messages: int
    media: tuple[NegotiatedMedia, ...]
    spans: tuple[Span, ...]
    """Holds (`hold`), T.38 (`t38`), session refreshes and the like."""
    transferred_to: str | None
    replaces: str | None
    defects: Mapping[str, int]
    findings: tuple[Finding, ...] = ()
    steps: tuple[Step, ...] = ()
    """Its messages; empty where they were not asked for (`CallLimits.max_steps`)."""
    steps_left_out: int = 0
    """Messages past that limit."""


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of one person to reach another: the legs that belong together."""

    call_id: str
    """Call-ID of the first leg."""
    legs: tuple[Leg, ...]
    joined_by: tuple[str, ...]
    """How the legs were found to belong together: `session-id`, `replaces`, `media`, a header's name."""
    state: CallState
    status: int | None
    status_text: str | None
    reason: Reason | None
    from_uri: str
    to_uri: str
    start: int
    answered: int | None
    end: int | None
    post_dial_delay_ms: float | None
    """INVITE to the first ringing indication (180, 183) or, without one, the final response."""
    setup_ms: float | None
    """INVITE to 200 OK."""
    duration_ms: float | None
    """Answer to BYE; None when never answered or not seen to end."""
    hung_up_by: str | None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class SignallingMetrics:
    """RFC 6076 and E.425 over a capture; each ratio is None with an empty denominator [%]."""

    attempts: int
    """Initial INVITEs; a challenge and its retry are one attempt, retransmissions and forks none."""
    answered: int
    completed: int
    asr_percent: float | None
    """Answer-seizure ratio (E.425)."""
    ner_percent: float | None
    """Network effectiveness ratio (E.425): answer, busy, no answer, rejection by the user, cancelled by the caller."""
    ser_percent: float | None
    """Session establishment ratio (RFC 6076 4.6)."""
    seer_percent: float | None
    """Session establishment effectiveness ratio (RFC 6076 4.7)."""
    isa_percent: float | None
    """Ineffective session attempts (RFC 6076 4.8)."""
    scr_percent: float | None
    """Session completion ratio (RFC 6076 4.9)."""
    registration_request_delay_ms: float | None
    """Mean RRD (RFC 6076 4.1)."""
    ineffective_registration_percent: float | None
    """IRA (RFC 6076 4.2)."""
    session_request_delay_ms: float | None
    """Mean successful SRD (RFC 6076 4.3.1)."""
    failed_session_request_delay_ms: float | None
    """Mean failed SRD (RFC 6076 4.3.2)."""
    session_disconnect_delay_ms: float | None
    """Mean SDD (RFC 6076 4.4)."""
    session_duration_ms: float | None
    """Mean SDT (RFC 6076 4.5)."""


@dataclass(frozen=True, slots=True)
class SipTotals:
    """All SIP of a capture, counted."""

    messages: int
    """Messages in the capture: each hop, each retransmission and each copy that a tap made."""
    retransmissions: int
    call_ids: int
    methods: Mapping[str, int]
    """Requests by method, retransmissions included."""
    responses: Mapping[str, int]
    """Responses by status code."""
    transactions: Mapping[str, int]
    """Distinct non-INVITE requests by method, e.g. REGISTER, OPTIONS, SUBSCRIBE, NOTIFY."""
    defects: Mapping[str, int]
    metrics: SignallingMetrics
    unlisted: int = 0
    """Call-IDs past the table's size: counted, not kept."""
    copies: int = 0
    """How many of `messages` a second tap or a mirrored port gave once more."""


class FileContent(NamedTuple):
    """What one input was."""

    name: str
    sha256: str
    """Of its bytes, unpacked; of a pipe, of what came down it."""
    packets: int


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """Where the facts come from and what was wrong with it."""

    files: tuple[str, ...]
    """In the order of their first packets."""
    packets: int
    first: int | None
    last: int | None
    link_types: tuple[str, ...]
    interfaces: int
    """Capture interfaces of the file that has most."""
    dropped: int | None
    """Packets that the capturing side says it lost; None when it says nothing."""
    defects: Mapping[str, int]
    """Named reasons why a packet or a part of one was not used, counted."""
    stopped: str | None
    """Where and why reading ended before the end of the input; None when all was read."""
    contents: tuple[FileContent, ...] = ()
    """Each input, in the order in which they ended; only where hashes were asked for."""


class DeviceStatistics(NamedTuple):
    """What a device counted of its own call, as it said in a BYE or its answer: evidence `reported`."""

    call_id: str
    at: int
    """When it was heard [ns since the epoch]."""
    src: Endpoint
    """Who sent it."""
    identity: str
    """Tells it from any other of the call."""
    statistics: RtpStatistics


@dataclass(frozen=True, slots=True)
class Replay:
    """Everything that one run over a capture found."""

    capture: CaptureFacts
    sip: SipTotals
    calls: Sequence[Call]
    """In the order of their beginning; of large captures each is made when it is looked at (`call_list`)."""
    streams: Sequence[Stream]
    """In the order of their first packets; of large captures each is made when it is looked at (`stream_list`)."""
    unlisted_streams: int = 0
    notes: tuple[Finding, ...] = field(default=())
    """Findings on the capture as a whole."""
    intervals: Sequence[tuple[Interval, ...]] = ()
    """Intervals of each of `streams`, in the same order; empty where they were not asked for."""
    reports: tuple[DeviceStatistics, ...] = ()
    """What devices said of their calls, in the order of the capture; empty where it was not asked for."""
