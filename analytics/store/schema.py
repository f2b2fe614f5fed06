"""Every table of the lake, each column declared once: name, type, unit, what a missing value means, doc.

Tables are created, checked and documented from here. A missing value is NULL, never 0.
Times are microseconds since the epoch, UTC. Money is a whole number of atoms (see `analytics.cost.money`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Type of a column, named as DuckDB names it."""

    BOOLEAN = "BOOLEAN"
    SHORT = "SMALLINT"
    INTEGER = "INTEGER"
    LONG = "BIGINT"
    DOUBLE = "DOUBLE"
    TEXT = "VARCHAR"
    DATE = "DATE"
    TIME = "TIMESTAMP WITH TIME ZONE"


class Grain(StrEnum):
    """How a table is cut into partitions by its first column."""

    DAY = "day"
    """One partition a UTC day; the column is a DATE."""
    MONTH = "month"
    """One partition a UTC month; the column is the DATE of its first day."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    kind: Kind
    doc: str
    unit: str = ""
    missing: str = ""
    """What NULL means here; empty where the column is never NULL."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: partition column first, `clock` the time that retention, quarantine and pruning go by."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    partition: str
    grain: Grain
    clock: str
    sort: tuple[str, ...]
    """Order of rows within a file: what queries filter on most."""
    keep_days: int | None
    """Retention unless set otherwise [days]; None keeps for ever."""
    personal: bool = False
    """Whether rows name people (numbers, devices): such tables live shorter."""
    also_partition: tuple[str, ...] = ()
    """Further partition columns after the first."""

    def column(self, name: str) -> Column:
        """Return a column by its name; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"the table {self.name} has no column {name}")


def _c(name: str, kind: Kind, doc: str, unit: str = "", missing: str = "") -> Column:
    return Column(name, kind, doc, unit, missing)


B, S, I, L, D, T, DAY, TIME = (  # noqa: E741
    Kind.BOOLEAN,
    Kind.SHORT,
    Kind.INTEGER,
    Kind.LONG,
    Kind.DOUBLE,
    Kind.TEXT,
    Kind.DATE,
    Kind.TIME,
)
_UNKNOWN = "not known"
_NEVER_ANSWERED = "never answered"

CALLS = Table(
    "calls",
    "Calls seen in packets: one row a call, all its legs.",
    (
        _c("day", DAY, "UTC day of `start`"),
        _c("call_key", L, "first 64 bits of SHA-256 of source and Call-ID; unique within a source"),
        _c("source", T, "what it was read from: SHA-256 of the capture, or the agent's name"),
        _c("call_id", T, "Call-ID of its first leg"),
        _c("start", TIME, "first INVITE"),
        _c("answer", TIME, "first 2xx", missing=_NEVER_ANSWERED),
        _c("end", TIME, "last message or packet", missing="still going on when the source ended"),
        _c("state", T, "completed, unanswered, failed, in progress, …, as in `callgauge replay`"),
        _c("status", S, "final SIP status", missing="none seen"),
        _c("seconds", D, "answer to end", "s", _NEVER_ANSWERED),
        _c("pdd_ms", D, "INVITE to first ringing indication", "ms", "none seen"),
        _c("calling", T, "calling number or user as signalled", missing=_UNKNOWN),
        _c("called", T, "called number or user as signalled", missing=_UNKNOWN),
        _c("from_address", T, "address of the first leg's sender", missing=_UNKNOWN),
        _c("to_address", T, "address of the first leg's receiver", missing=_UNKNOWN),
        _c("site", T, "calling site", missing="not attributed"),
        _c("other_site", T, "called site", missing="not attributed"),
        _c("legs", S, "legs joined"),
        _c("streams", S, "RTP streams"),
        _c("mos", D, "lowest MOS-CQE of its streams", "MOS", "no stream could be rated"),
    ),
    "day",
    Grain.DAY,
    "start",
    ("start",),
    keep_days=396,
    personal=True,
)

STREAMS = Table(
    "streams",
    "RTP streams, one row a stream over its whole life.",
    (
        _c("day", DAY, "UTC day of `start`"),
        _c("stream_key", L, "first 64 bits of SHA-256 of source, addresses, SSRC and start"),
        _c("source", T, "what it was read from: SHA-256 of the capture, or the agent's name"),
        _c("call_key", L, "its call in `calls`", missing="no signalling seen for it"),
        _c("start", TIME, "first packet"),
        _c("end", TIME, "last packet"),
        _c("from_address", T, "sender, address:port"),
        _c("to_address", T, "receiver, address:port"),
        _c("site", T, "site of the sender", missing="not attributed"),
        _c("other_site", T, "site of the receiver", missing="not attributed"),
        _c("ssrc", L, "synchronisation source"),
        _c("codec", T, "codec by SDP or static payload type", missing=_UNKNOWN),
        _c("packets", L, "packets received", "packets"),
        _c("expected", L, "packets expected (RFC 3550 A.3)", "packets"),
        _c("lost", L, "packets lost on the way to the tap; may be negative", "packets"),
        _c("loss_runs", L, "runs of lost packets", "runs", "not measured"),
        _c("jitter_ms", D, "interarrival jitter at the end (RFC 3550 A.8)", "ms", "clock rate not known"),
        _c("pdv_p95_ms", D, "95th percentile of packet delay variation (RFC 5481)", "ms", "clock rate not known"),
        _c("burst_ratio", D, "BurstR of G.107", "ratio", "no loss, or not measured"),
        _c("r_factor", D, "R of G.107", "R", "not rated"),
        _c("mos", D, "MOS-CQE of G.107", "MOS", "not rated: `why_no_mos` says why"),
        _c("mos_model", T, "model, codec terms, delay basis, buffer: enough to compute it again", missing="not rated"),
        _c("why_no_mos", T, "reason", missing="rated"),
        _c("dscp", S, "mark of most of its packets at the capture point", missing=_UNKNOWN),
        _c("evidence", T, "measured, reported, modelled"),
    ),
    "day",
    Grain.DAY,
    "start",
    ("start",),
    keep_days=396,
    personal=True,
)

INTERVALS = Table(
    "intervals",
    "Streams cut into intervals (10 s unless set otherwise).",
    (
        _c("day", DAY, "UTC day of `start`"),
        _c("stream_key", L, "its stream in `streams`"),
        _c("source", T, "what it was read from"),
        _c("start", TIME, "begin of the interval"),
        _c("seconds", D, "length", "s"),
        _c("site", T, "site of the sender", missing="not attributed"),
        _c("other_site", T, "site of the receiver", missing="not attributed"),
        _c("packets", L, "packets received", "packets"),
        _c("expected", L, "packets expected", "packets"),
        _c("lost", L, "packets lost; may be negative", "packets"),
        _c("jitter_ms", D, "interarrival jitter at its end", "ms", "clock rate not known"),
        _c("mos", D, "MOS-CQE of G.107", "MOS", "not rated"),
    ),
    "day",
    Grain.DAY,
    "start",
    ("start",),
    keep_days=92,
)

MESSAGES = Table(
    "messages",
    "SIP messages of the calls in `calls`, for their ladders: one row a message and hop; nothing of its text.",
    (
        _c("day", DAY, "UTC day of `at`"),
        _c("call_key", L, "its call in `calls`"),
        _c("source", T, "what it was read from"),
        _c("at", TIME, "when it was first heard"),
        _c("leg", S, "leg of the call, from 1"),
        _c("from_address", T, "sender, address:port"),
        _c("to_address", T, "receiver, address:port"),
        _c("method", T, "method of the request, or of the request that is answered"),
        _c("status", S, "status of a response", missing="it is a request"),
        _c("cseq", L, "sequence number of the request"),
        _c("repeated", S, "how often it was sent again on this hop", "times"),
    ),
    "day",
    Grain.DAY,
    "at",
    ("at",),
    keep_days=92,
    personal=True,
)

SITE_MINUTES = Table(
    "site_minutes",
    "What each site did, minute by minute, and the same by hour: sums only, so that rows add up.",
    (
        _c("month", DAY, "first day of the UTC month of `start`"),
        _c("step", T, "`minute` or `hour`; an append writes both in one commit, so they are never out of step"),
        _c("site", T, "site"),
        _c("start", TIME, "begin of the minute or hour"),
        _c("calls", I, "calls begun", "calls"),
        _c("answered", I, "of those, answered", "calls"),
        _c("failed", I, "of those, failed", "calls"),
        _c("streams", I, "streams that were heard", "streams"),
        _c("rated", I, "of those, with a MOS", "streams"),
        _c("poor", I, "of those, with a MOS under 3.6", "streams"),
        _c("mos_sum", D, "sum of their MOS", "MOS"),
        _c("mos_min", D, "lowest MOS", "MOS", "none rated"),
        _c("packets", L, "packets received", "packets"),
        _c("expected", L, "packets expected", "packets"),
        _c("lost", L, "packets lost", "packets"),
        _c("jitter_sum_ms", D, "sum of the streams' jitter", "ms"),
        _c("jitter_max_ms", D, "highest jitter", "ms", "no stream"),
        _c("busy_seconds", D, "seconds in which a call was up, summed over calls", "s"),
    ),
    "month",
    Grain.MONTH,
    "start",
    ("start", "site"),
    keep_days=2_557,
    also_partition=("step",),
)

CDR_ROWS = Table(
    "cdr_rows",
    "Call detail records as the telephone system wrote them, one row a record, whatever the system.",
    (
        _c("day", DAY, "UTC day of `origination`"),
        _c("source", T, "cucm, asterisk, freeswitch, avaya, or the name of a mapping"),
        _c("system", T, "cluster or exchange; empty where the records do not say"),
        _c("file_key", L, "first 64 bits of SHA-256 of the file: see `imports`"),
        _c("line", I, "line of the record in its file, from 1 (JSON: record)"),
        _c("row_key", L, "64-bit hash of the record's own key (CUCM pkid); with the other columns it finds copies"),
        _c("call_ref", L, "CUCM: callManagerId × 2^32 + callId; else 64-bit hash of linkedid or uuid"),
        _c("call_label", T, "linkedid or uuid as written", missing="CUCM: `call_ref` says it"),
        _c("orig_leg", L, "leg of the calling side; 0 none"),
        _c("dest_leg", L, "leg of the called side; 0 none"),
        _c("origination", TIME, "when the calling party went off hook or the call came in"),
        _c("connect", TIME, "when it was answered", missing=_NEVER_ANSWERED),
        _c("disconnect", TIME, "when it ended", missing=_UNKNOWN),
        _c("seconds", I, "talk time, whole seconds as recorded", "s"),
        _c("calling", T, "calling number as recorded", missing="empty"),
        _c("calling_partition", T, "its partition", missing="empty"),
        _c("original_called", T, "number first called, as recorded", missing="empty"),
        _c("called", T, "number finally called, as recorded: access digit kept", missing="empty"),
        _c("called_partition", T, "its partition", missing="empty"),
        _c("outpulsed_called", T, "called number as sent to the network", missing="empty"),
        _c("last_redirect", T, "last number that redirected", missing="empty"),
        _c("hunt_pilot", T, "hunt pilot or queue", missing="none"),
        _c("orig_device", T, "calling device, trunk or channel", missing="empty"),
        _c("dest_device", T, "called device, trunk or channel", missing="empty"),
        _c("orig_ip", T, "address of the calling device", missing="none recorded"),
        _c("dest_ip", T, "address of the called device", missing="none recorded"),
        _c("orig_cause", L, "cause on the calling side; CUCM's unsigned 32-bit value, else Q.850", missing="none"),
        _c("dest_cause", L, "cause on the called side", missing="none"),
        _c("redirect_reason", I, "CUCM lastRedirectRedirectReason (354 = recording)", missing="not CUCM"),
        _c("redirect_behalf", I, "CUCM lastRedirectRedirectOnBehalfOf (27 = recording)", missing="not CUCM"),
        _c("join_behalf", I, "CUCM joinOnBehalfOf (10 transfer, 4 conference, 16 pickup)", missing="not CUCM"),
        _c("orig_conversation", L, "CUCM origConversationId: conference, or the recorded leg", missing="not CUCM"),
        _c("dest_conversation", L, "CUCM destConversationId", missing="not CUCM"),
        _c("queue_seconds", I, "time in a queue before an agent", "s", "not recorded"),
        _c("codec", T, "codec of the calling side", missing=_UNKNOWN),
        _c("direction", T, "in, out or internal, where the system itself says so", missing="not said"),
        _c("account", T, "account code", missing="empty"),
        _c(
            "time_note",
            T,
            "`ambiguous_hour`: local time without offset in the autumn hour",
            missing="times are certain",
        ),
        _c("mos", D, "MOS the system wrote into the record", "MOS", "none"),
        _c("hold_seconds", I, "time on hold or parked, within `seconds`", "s", "not recorded"),
    ),
    "day",
    Grain.DAY,
    "origination",
    ("origination",),
    keep_days=396,
    personal=True,
)

PHONE_REPORTS = Table(
    "phone_reports",
    "What devices said of their own calls (CUCM CMR, FreeSWITCH callStats, RFC 6035, BYE): evidence `reported`.",
    (
        _c("day", DAY, "UTC day of `reported`"),
        _c("source", T, "cucm, freeswitch, vq-rtcpxr, rtp-stat, …"),
        _c("system", T, "cluster or exchange; the collector's name for what it received"),
        _c("file_key", L, "first 64 bits of SHA-256 of the file; 0 for what was received"),
        _c("line", I, "line of the record in its file, from 1; 0 for what was received"),
        _c("row_key", L, "64-bit hash of the record's own key"),
        _c("call_ref", L, "as in `cdr_rows`; 64-bit hash of the Call-ID for what was received"),
        _c("leg", L, "leg that it speaks of, as in `cdr_rows`; 0 for what was received"),
        _c("reported", TIME, "when the device reported (CUCM: on-hook reply)"),
        _c("device", T, "device", missing="empty"),
        _c("directory_number", T, "its number", missing="empty"),
        _c("packets_sent", L, "RTP packets sent", "packets", "not reported"),
        _c("packets_received", L, "RTP packets received", "packets", "not reported"),
        _c(
            "packets_lost",
            L,
            "expected less received: late ones are not lost, may be negative",
            "packets",
            "not reported",
        ),
        _c("jitter_ms", D, "jitter at the end of the call", "ms", "not reported"),
        _c("latency_ms", D, "latency as the device defines it (one way or round trip: not said)", "ms", "not reported"),
        _c("mos_lqk", D, "MLQK: MOS-LQ of the last 8 s", "MOS", "no MLQK, or 0"),
        _c("mos_lqk_mean", D, "MLQKav", "MOS", "no MLQKav, or 0"),
        _c("mos_lqk_min", D, "MLQKmn", "MOS", "no MLQKmn, or 0"),
        _c("mos_lqk_max", D, "MLQKmx", "MOS", "no MLQKmx, or 0"),
        _c("concealment_ratio", D, "CCR: cumulative conceal ratio", "ratio", "not reported"),
        _c("interval_concealment_max", D, "ICRmx", "ratio", "not reported"),
        _c("concealed_seconds", D, "CS", "s", "not reported"),
        _c("severely_concealed_seconds", D, "SCS: seconds with more than 5 % concealed", "s", "not reported"),
        _c("codec", T, "VoRxCodec as written", missing="not reported"),
        _c("max_jitter_ms", D, "maxJitter", "ms", "not reported"),
        _c("one_way_delay_ms", D, "VoOneWayDelayMs", "ms", "not reported, or 0"),
        _c("discarded", L, "VoPktDis: packets the buffer threw away", "packets", "not reported"),
        _c("skipped", L, "FreeSWITCH skip_packet_count: reads that found no packet", "packets", "not reported"),
        _c("call_id", T, "Call-ID that it speaks of", missing="records that name calls otherwise"),
        _c("kind", T, "session, interval, alert (RFC 6035) or bye (statistics headers)", missing="CDR"),
        _c("side", T, "local: measured by the device itself; remote: told to it by the far end", missing="CDR"),
        _c("start", TIME, "begin of what was measured, by the device's clock", missing="not reported"),
        _c("stop", TIME, "end of what was measured, by the device's clock", missing="not reported"),
        _c("local_address", T, "the device's media address, address:port", missing="not reported"),
        _c("remote_address", T, "the far end's media address, address:port", missing="not reported"),
        _c("loss_percent", D, "NLR: lost on the network", "%", "not reported"),
        _c("discard_percent", D, "JDR: thrown away by the jitter buffer", "%", "not reported"),
        _c("burst_density_percent", D, "BLD: lost or thrown away within bursts", "%", "not reported"),
        _c("burst_ms", D, "BD: mean length of bursts", "ms", "not reported"),
        _c("round_trip_ms", D, "RTD", "ms", "not reported, or 0"),
        _c("end_system_delay_ms", D, "ESD", "ms", "not reported, or 0"),
        _c("mos_lq", D, "MOSLQ", "MOS", "not reported, or 0 or 127"),
        _c("mos_cq", D, "MOSCQ", "MOS", "not reported, or 0 or 127"),
        _c("r_factor", D, "RCQ", "R", "not reported, or 0 or 127"),
    ),
    "day",
    Grain.DAY,
    "reported",
    ("reported",),
    keep_days=396,
    personal=True,
)

USAGE = Table(
    "usage",
    "Usage lines: one row a leg of a call, attributed, classed and rated under both tariffs; names no person.",
    (
        _c("day", DAY, "UTC day of `origination`"),
        _c("line_key", L, "64-bit hash of system, leg and start: unique within the day"),
        _c("call_key", L, "64-bit hash of the call's first record: lines of one call share it"),
        _c("source", T, "cucm, asterisk, …"),
        _c("system", T, "cluster or exchange"),
        _c("file_key", L, "file of its first record: see `imports` and `cdr_rows`"),
        _c("line", I, "line of its first record in that file"),
        _c("records", S, "records joined into this leg"),
        _c("origination", TIME, "begin of the attempt"),
        _c("start", TIME, "when it was answered, else the begin of the attempt"),
        _c("month", I, "month of `start` in the estate's zone, as yyyymm: the month that is billed"),
        _c("seconds", I, "talk time of the leg over all its records", "s"),
        _c("answered", B, "whether it was answered"),
        _c("seconds_to_answer", I, "attempt to answer", "s", _NEVER_ANSWERED),
        _c("kind", T, "outbound, inbound, on_net, on_site, transit, recording, consultation or conference"),
        _c(
            "excluded",
            T,
            "why the line is no usage: recording, consultation, conference, inner_leg",
            missing="it is usage",
        ),
        _c(
            "number_class",
            T,
            "class of the far number: geographic, mobile, …, intersite, onsite",
            missing="inbound, or excluded",
        ),
        _c(
            "destination",
            T,
            "first digits of the far number in E.164, as many as tell its class",
            missing="inbound, or none",
        ),
        _c("site", T, "site that pays: of the party that made, forwarded or took the call", missing="not attributed"),
        _c("site_evidence", T, "device, subnet, number or none, and the row of the estate that said so"),
        _c("other_site", T, "site at the other end", missing="outside, or not attributed"),
        _c("device", T, "device of the estate's side", missing=_UNKNOWN),
        _c("trunk", T, "gateway or trunk it went through", missing="none"),
        _c(
            "public_number",
            T,
            "public number, hunt pilot or queue that was called from outside",
            missing="not such a call",
        ),
        _c("answered_by", T, "site that answered an inbound call", missing="not answered, or not inbound"),
        _c("transfers_before_answer", S, "times it was redirected before a person answered", "times"),
        _c("cause", S, "Q.850 cause of its end", missing="none recorded"),
        _c("dropped", B, "ended by a failure and not by a party"),
        _c("poor", B, "a report or stream of it was poor", missing="no quality is known"),
        _c("quality_evidence", T, "measured or reported", missing="no quality is known"),
        _c(
            "redial_of",
            L,
            "line_key of the poor or dropped call that the same party repeated within 60 s",
            missing="not a redial",
        ),
        _c("ip_tariff", T, "tariff version of today's price, name@date", missing="not rated: `ip_why`"),
        _c("ip_row", I, "line of the matched row in that version's rates.csv", missing="not rated"),
        _c("ip_seconds", I, "seconds charged after minimum and increment", "s", "not rated"),
        _c("ip_segments", S, "spans it was cut into at bands or changes of tariff", "spans", "not rated"),
        _c("ip_cost", L, "price today, exact", "atoms", "not rated"),
        _c("ip_why", T, "why there is no price", missing="rated"),
        _c("legacy_tariff", T, "tariff version of the system it replaced", missing="not rated: `legacy_why`"),
        _c("legacy_row", I, "line of the matched row", missing="not rated"),
        _c("legacy_seconds", I, "seconds charged", "s", "not rated"),
        _c("legacy_segments", S, "spans it was cut into", "spans", "not rated"),
        _c("legacy_cost", L, "price under the old tariff, exact", "atoms", "not rated"),
        _c("legacy_why", T, "why there is no price", missing="rated"),
    ),
    "day",
    Grain.DAY,
    "origination",
    ("origination",),
    keep_days=761,
)

RATINGS = Table(
    "ratings",
    "Days that were joined and rated into `usage`, and from what: the newest row of a day counts.",
    (
        _c("month", DAY, "first day of the UTC month of `rated`"),
        _c("rated_day", DAY, "day of `usage`"),
        _c("rated", TIME, "moment from which on records were not seen by it"),
        _c("records", L, "records of the day, copies counted once", "records"),
        _c("estate", T, "SHA-256 of the estate's files", missing="rated without an estate"),
        _c("tariffs", T, "SHA-256 of the tariffs' files", missing="rated without tariffs"),
    ),
    "month",
    Grain.MONTH,
    "rated",
    ("rated_day",),
    keep_days=2_557,
)

ELEMENTS = Table(
    "elements",
    "Cost elements as the estate stated them for a month, kept when a report was made from them.",
    (
        _c("month", DAY, "first day of the month"),
        _c("site", T, "site"),
        _c("side", T, "legacy or ip"),
        _c("element", T, "name of the element"),
        _c("kind", T, "fixed or usage"),
        _c("amount", L, "amount of the month for the site", "atoms", "`evidence` is missing"),
        _c("currency", T, "ISO 4217"),
        _c("evidence", T, "measured, allocated, estimated or missing"),
        _c("key", T, "allocation key", missing="not allocated"),
        _c("stated_at", T, "file:line in the estate"),
        _c("estate", T, "SHA-256 of the estate's files"),
    ),
    "month",
    Grain.MONTH,
    "month",
    ("site", "side"),
    keep_days=2_557,
)

IMPORTS = Table(
    "imports",
    "Files that were read in, and what became of their rows.",
    (
        _c("month", DAY, "first day of the UTC month of `imported`"),
        _c("file_key", L, "first 64 bits of SHA-256 of the file's bytes, unpacked"),
        _c("sha256", T, "SHA-256 of the file's bytes, unpacked"),
        _c("name", T, "file name, without its folder"),
        _c("source", T, "cucm, asterisk, …, capture"),
        _c("record", T, "cdr, cmr or capture"),
        _c("imported", TIME, "when it was read in"),
        _c("rows", L, "records in the file, less those that were read when it was shorter", "records"),
        _c("kept", L, "records kept", "records"),
        _c("rejected", L, "records rejected", "records"),
        _c("first", TIME, "earliest time in the file", missing="no record was kept"),
        _c("last", TIME, "latest time in the file", missing="no record was kept"),
        _c("node", T, "CUCM: cluster and node in the name", missing="the name does not say"),
        _c("sequence", L, "CUCM: sequence number in the name", missing="the name does not say"),
        _c("octets", L, "length of the file then, unpacked", "octets", "imported before this was kept"),
    ),
    "month",
    Grain.MONTH,
    "imported",
    ("imported",),
    keep_days=2_557,
)

ALERTS = Table(
    "alerts",
    "Alerts and their changes of state.",
    (
        _c("month", DAY, "first day of the UTC month of `at`"),
        _c("at", TIME, "when the state changed"),
        _c("rule", T, "rule"),
        _c("fingerprint", T, "hash of its labels"),
        _c("site", T, "site", missing="not of one site"),
        _c("state", T, "normal, pending, firing, recovering, no_data, error"),
        _c("numerator", D, "measured count or value", missing="no data"),
        _c("denominator", D, "of how many", missing="no data"),
        _c("reason", T, "why the state changed"),
    ),
    "month",
    Grain.MONTH,
    "at",
    ("at",),
    keep_days=2_557,
)

TABLES: tuple[Table, ...] = (
    CALLS,
    STREAMS,
    INTERVALS,
    MESSAGES,
    SITE_MINUTES,
    CDR_ROWS,
    PHONE_REPORTS,
    USAGE,
    RATINGS,
    ELEMENTS,
    IMPORTS,
    ALERTS,
)


def table(name: str) -> Table:
    """Return a table by its name; KeyError where there is none."""
    for one in TABLES:
        if one.name == name:
            return one
    raise KeyError(f"there is no table {name}")
