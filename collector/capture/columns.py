"""Columns of the arrays that the packet kernels share with Python: each is declared here once.

`packet` is what the dissector says of the packet in hand; a row of `pending` is a packet that Python must see;
`context` is where the walk stands; `interfaces` says how to read each capture interface; `counters` counts what was
seen and what was wrong. All are int64.
"""

from __future__ import annotations

from typing import Final

# --- what the dissector found in a packet -----------------------------------------------------------------------
SRC_HI: Final = 0  # IPv6 address, upper 64 bits; IPv4 is mapped (RFC 4291 2.5.5.2)
SRC_LO: Final = 1
DST_HI: Final = 2
DST_LO: Final = 3
SPORT: Final = 4
DPORT: Final = 5
IP_PROTOCOL: Final = 6
DSCP: Final = 7
TTL: Final = 8
IP_ID: Final = 9
PAYLOAD: Final = 10  # offset in the window
PAYLOAD_CAPTURED: Final = 11  # octets of it that the capture holds
PAYLOAD_LENGTH: Final = 12  # octets of it on the wire
TCP_SEQ: Final = 13
TCP_FLAGS: Final = 14
FRAGMENT_OFFSET: Final = 15
FRAGMENT_MORE: Final = 16
FRAGMENT_ID: Final = 17
IP_VERSION: Final = 18
TCP_ACK: Final = 19
PACKET_COLUMNS: Final = 20

# --- kinds of packets -------------------------------------------------------------------------------------------
KIND_OTHER: Final = 0
KIND_UDP: Final = 1
KIND_TCP: Final = 2
KIND_SCTP: Final = 3
KIND_FRAGMENT: Final = 4
KIND_SIP: Final = 5
KIND_RTCP: Final = 6
KIND_QUESTION: Final = 7  # no packet: a stream row asks for the clock of its payload type

# --- a packet that waits for Python: the packet columns, then these ----------------------------------------------
PENDING_KIND: Final = 20
PENDING_AT: Final = 21  # arrival [ns]
PENDING_FLOW: Final = 22  # slot of the flow in the table of TCP flows that are not SIP; of a question the row
PENDING_COLUMNS: Final = 24
PENDING_ROWS: Final = 4096

# --- what is read from an RTP header (RFC 3550 5.1), beside the packet columns --------------------------------------
RTP_TYPE: Final = 24
RTP_MARKER: Final = 25
RTP_SEQ: Final = 26
RTP_TIMESTAMP: Final = 27
RTP_SSRC: Final = 28
RTP_PAYLOAD: Final = 29  # offset in the window
RTP_OCTETS: Final = 30  # of the payload on the wire
RTP_DUPLICATE: Final = 31  # 1: its number was taken before
ALL_PACKET_COLUMNS: Final = 32

# --- where the walk stands --------------------------------------------------------------------------------------
POSITION: Final = 0  # in the window
FORMAT: Final = 1
SWAPPED: Final = 2  # the file's byte order is big-endian
RECORD_HEADER: Final = 3  # octets of a pcap record header
PENDING_COUNT: Final = 4
EVENT_COUNT: Final = 5
PACKETS: Final = 6
FIRST: Final = 7  # earliest arrival [ns]
LAST: Final = 8
INTERFACES: Final = 9
STOP_ROW: Final = 10  # stream row that a stop is about
STOP_VALUE: Final = 11
NEXT_SERIAL: Final = 12
ROWS_USED: Final = 13
FREE_ROW: Final = 14  # head of the list of free rows, -1 when empty
UNTIL: Final = 15  # packets later than this wait [ns]
AHEAD_BEGIN: Final = 16  # rows of `ahead` that are in use, from here ...
AHEAD_END: Final = 17  # ... to before this
AGAIN: Final = 18  # 1: the packet in hand was not taken, its turn comes first
CONTEXT_COLUMNS: Final = 24

# --- packets that were looked at before their turn -----------------------------------------------------------------
AHEAD_POSITION: Final = 0  # of the record in the window
AHEAD_ROW: Final = 1  # of the stream, as far as could be told without comparing keys; -1 none
AHEAD_COLUMNS: Final = 2
AHEAD_PACKETS: Final = 32

FORMAT_PCAP: Final = 1
FORMAT_PCAPNG: Final = 2

# --- how to read an interface -----------------------------------------------------------------------------------
LINK_TYPE: Final = 0
TICKS_PER_SECOND: Final = 1
TIME_OFFSET: Final = 2  # [ns]
SNAP_LENGTH: Final = 3
INTERFACE_COLUMNS: Final = 4
INTERFACE_ROWS: Final = 1024

# --- why the walk returned to Python ----------------------------------------------------------------------------
STOP_MORE: Final = 0  # the window ends within a record
STOP_PENDING: Final = 1  # the list of waiting packets is full
STOP_EVENTS: Final = 2  # the list of stream events is full
STOP_BLOCK: Final = 3  # a pcapng block that is not a packet
STOP_FORMAT: Final = 4  # a stream row wants to know its payload type's clock
STOP_ROWS: Final = 5  # no row is free for a new stream
STOP_CORRUPT: Final = 6  # the record at POSITION cannot be one
STOP_TIME: Final = 7  # the next packet is later than UNTIL; STOP_VALUE says when
STOP_JOBS: Final = 8  # the list of what is to be worked out is full

# --- counters ---------------------------------------------------------------------------------------------------
COUNTER_NAMES: Final = (
    "not_ip",
    "ip_header_bad",
    "ip_header_cut",
    "ip_length_lies",
    "udp_header_cut",
    "udp_length_lies",
    "tcp_header_bad",
    "tunnels_too_deep",
    "link_type_unsupported",
    "interface_unknown",
    "other_protocol",
    "udp_other",
    "keep_alive",
    "stun",
    "dtls",
    "zrtp",
    "turn_channel",
    "rtp_header_lies",
    "rtp_header_cut",
    "rtcp_cut",
    "sip_cut",
    "rtp_stray",
    "rtp_rows_exhausted",
    "rtp_packets",
    "sip_packets",
    "rtcp_packets",
    "tcp_segments",
    "tcp_ignored",
    "sctp_packets",
    "fragments",
    "tunnelled",
    "rtp_unvalidated",
    "time_missing",
)
NOT_IP: Final = 0
IP_HEADER_BAD: Final = 1
IP_HEADER_CUT: Final = 2
IP_LENGTH_LIES: Final = 3
UDP_HEADER_CUT: Final = 4
UDP_LENGTH_LIES: Final = 5
TCP_HEADER_BAD: Final = 6
TUNNELS_TOO_DEEP: Final = 7
LINK_TYPE_UNSUPPORTED: Final = 8
INTERFACE_UNKNOWN: Final = 9
OTHER_PROTOCOL: Final = 10
UDP_OTHER: Final = 11
KEEP_ALIVE: Final = 12
STUN: Final = 13
DTLS: Final = 14
ZRTP: Final = 15
TURN_CHANNEL: Final = 16
RTP_HEADER_LIES: Final = 17
RTP_HEADER_CUT: Final = 18
RTCP_CUT: Final = 19
SIP_CUT: Final = 20
RTP_STRAY: Final = 21
RTP_ROWS_EXHAUSTED: Final = 22
RTP_PACKETS: Final = 23
SIP_PACKETS: Final = 24
RTCP_PACKETS: Final = 25
TCP_SEGMENTS: Final = 26
TCP_IGNORED: Final = 27
SCTP_PACKETS: Final = 28
FRAGMENTS: Final = 29
TUNNELLED: Final = 30
RTP_UNVALIDATED: Final = 31
TIME_MISSING: Final = 32
COUNTERS: Final = 33

DEFECTS: Final = (
    IP_HEADER_BAD,
    IP_HEADER_CUT,
    IP_LENGTH_LIES,
    UDP_HEADER_CUT,
    UDP_LENGTH_LIES,
    TCP_HEADER_BAD,
    TUNNELS_TOO_DEEP,
    LINK_TYPE_UNSUPPORTED,
    INTERFACE_UNKNOWN,
    RTP_HEADER_LIES,
    RTP_HEADER_CUT,
    RTCP_CUT,
    SIP_CUT,
    RTP_STRAY,
    RTP_ROWS_EXHAUSTED,
    RTP_UNVALIDATED,
    TIME_MISSING,
)
"""Counters that say something was wrong or could not be used; the others only say what was seen."""

TCP_FLOW_SLOTS: Final = 65536
