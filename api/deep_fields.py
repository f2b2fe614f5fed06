"""Fields of Wireshark's decode that cannot name a person: all that `--deep` prints while people are masked.

Each field of SIP and SDP stands here with the shape that its value must have, for a device may write a number or a name
into any text: what has another shape is left out. Fields of RTP and RTCP are numbers of the media itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from api.phrases import METHODS

ADDRESS = r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+)"
WHOLE = r"-?\d{1,10}"
METHOD = f"(?:{'|'.join(sorted(METHODS))})"
OPTION_TAGS = (
    r"(?:100rel|timer|replaces|norefersub|nosub|outbound|path|gruu|precondition|histinfo|eventlist|join|from-change"
    r"|early-session|sec-agree|tdialog|answermode|policy|resource-priority|privacy|pref|ice|trickle-ice|siprec)"
)
PROFILE = r"(?:RTP/S?AVPF?|UDP/TLS/RTP/SAVPF?|udptl|UDPTL)"
CODEC = (
    r"(?:PCMU|PCMA|G72[1-9](?:-\d\d|D|E|1)?|AAL2-G726-\d\d|GSM(?:-EFR|-HR-08)?|iLBC|speex|opus|AMR(?:-WB\+?)?|EVS|LPC"
    r"|DVI4|L16|L8|SILK|CN|telephone-event|red|rtx|ulpfec|H26[1345]|VP[89]|AV1)"
)
ATTRIBUTE = (
    rf"(?:rtpmap:\d{{1,3}} {CODEC}/\d{{4,6}}(?:/\d{{1,2}})?|(?:max)?ptime:\d{{1,4}}(?:\.\d{{1,3}})?"
    rf"|sendrecv|sendonly|recvonly|inactive|rtcp-mux|rtcp-rsize|rtcp:\d{{1,5}}(?: IN IP[46] {ADDRESS})?"
    r"|setup:(?:active|passive|actpass|holdconn)|fmtp:\d{1,3} (?:0-1[1-6]|mode=\d\d|annexb=(?:yes|no))"
    r"|T38(?:FaxVersion|MaxBitRate|FaxMaxBuffer|FaxMaxDatagram):\d{1,6})"
)


def shape(label: str, value: str) -> re.Pattern[str]:
    """What Wireshark prints for a field whose value is plain."""
    return re.compile(rf"{label}: (?:{value})", re.IGNORECASE)


def list_of(value: str) -> str:
    """Values with commas between them."""
    return rf"{value}(?:, ?{value})*"


SIP_SHAPES: Mapping[str, re.Pattern[str]] = {
    "method": shape("Method", METHOD),
    "status_code": shape("Status-Code", r"\d{3}"),
    "resend": shape("Resent Packet", "(?:True|False)"),
    "resend_original": shape("Suspected resend of frame", WHOLE),
    "via_transport": shape("Transport", "(?:UDP|TCP|TLS|WSS?|SCTP)"),
    "via_sent_by_address": shape("Sent-by Address", ADDRESS),
    "via_sent_by_port": shape("Sent-by port", WHOLE),
    # Call-IDs are shown as they are in every report.
    "call_id": shape("Call-ID", ".*"),
    "cseq": shape("CSeq", rf"{WHOLE} {METHOD}"),
    "max_forwards": shape("Max-Forwards", r"\d{1,3}"),
    "allow": shape("Allow", list_of(METHOD)),
    "supported": shape("Supported", list_of(OPTION_TAGS)),
    "require": shape("Require", list_of(OPTION_TAGS)),
    "session_expires": shape("Session-Expires", r"\d{1,6}(?:;refresher=ua[cs])?"),
    "min_se": shape("Min-SE", r"\d{1,6}"),
    "rseq": shape("RSeq", WHOLE),
    "rack": shape("RAck", rf"{WHOLE} {WHOLE} {METHOD}"),
    "expires": shape("Expires", WHOLE),
    "retry_after": shape("Retry-After", r"\d{1,6}"),
    "content_type": shape("Content-Type", "(?:application/(?:sdp|isup|dtmf-relay)|message/sipfrag|multipart/mixed)"),
    "content_length": shape("Content-Length", WHOLE),
    "response_time": shape(r"Response Time \(ms\)", WHOLE),
    "release_time": shape(r"Release Time \(ms\)", WHOLE),
    "sdp_connection_info": shape(r"Connection Information \(c\)", rf"IN IP[46] {ADDRESS}(?:/\d{{1,3}}){{0,2}}"),
    "sdp_media": shape(
        r"Media Description, name and address \(m\)",
        rf"(?:audio|video|image) \d{{1,5}} {PROFILE}(?: \d{{1,3}}){{1,64}}|image \d{{1,5}} udptl t38",
    ),
    "sdp_media_attr": shape(r"Media Attribute \(a\)", ATTRIBUTE),
}
"""Fields of SIP and SDP, and what their lines look like."""
NUMBERS_OF_MEDIA: Mapping[str, frozenset[str]] = {
    "rtp": frozenset(
        {"version", "padding", "ext", "cc", "marker", "seq", "extseq", "timestamp", "ssrc", "setup_frame"}
    ),
    "rtcp": frozenset(
        {
            *("version", "padding", "rc", "pt", "length", "senderssrc", "timestamp_ntp_msw", "timestamp_ntp_lsw"),
            *("timestamp_ntp", "timestamp_rtp", "sender_packetcount", "sender_octetcount", "ssrc_identifier"),
            *("ssrc_fraction", "ssrc_cum_nr", "ssrc_ext_high", "ssrc_high_seq", "ssrc_high_cycles", "ssrc_jitter"),
            *("ssrc_lsr", "ssrc_dlsr", "lsr_frame", "lsr_frame_captured", "roundtrip_delay", "xr_bt", "xr_bl"),
            *(f"xr_voipmetrics_{name}" for name in ("burstdensity", "gapdensity", "burstduration", "gapduration")),
            *(f"xr_voipmetrics_{name}" for name in ("rtdelay", "esdelay", "signallevel", "noiselevel", "rerl", "gmin")),
            *(f"xr_voipmetrics_{name}" for name in ("rfactor", "extrfactor", "moslq", "moscq", "plc", "jba", "jbrate")),
            *(f"xr_voipmetrics_{name}" for name in ("jbnominal", "jbmax", "jbabsmax")),
        }
    ),
    "rtpevent": frozenset({"end_of_event", "volume", "duration"}),
}
"""Fields of RTP, RTCP and telephone-events, all of them numbers: names by pyshark."""


def names_nobody(layer: str, name: str, shown: str) -> bool:
    """Whether a field may be printed while people are masked."""
    if layer in NUMBERS_OF_MEDIA:
        return name in NUMBERS_OF_MEDIA[layer]
    known = SIP_SHAPES.get(name)
    return known is not None and known.fullmatch(shown) is not None
