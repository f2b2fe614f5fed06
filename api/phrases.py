"""Phrases that name no person: what a masked report shows in place of words that a device made up.

A device may write anything into a reason phrase (RFC 3261 7.2) or a Reason text (RFC 3326 2), a subscriber's number or
name among them, so only phrases known beforehand are repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

METHODS = frozenset(
    {
        *("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "PRACK", "UPDATE", "INFO", "REFER", "SUBSCRIBE"),
        *("NOTIFY", "PUBLISH", "MESSAGE"),
    }
)
"""IANA's registry of SIP methods."""
SIP_PHRASES: Mapping[int, str] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    424: "Bad Location Information",
    425: "Bad Alert Message",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    555: "Push Notification Service Not Supported",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
    608: "Rejected",
}
"""IANA's registry of SIP response codes."""
SIP_CLASSES: Mapping[int, str] = {
    1: "Provisional",
    2: "Success",
    3: "Redirection",
    4: "Client Error",
    5: "Server Error",
    6: "Global Failure",
}
"""Names of the classes for codes without a phrase (RFC 3261 7.2)."""
CAUSE_PHRASES: Mapping[int, str] = {
    1: "Unallocated (unassigned) number",
    2: "No route to specified transit network",
    3: "No route to destination",
    4: "Send special information tone",
    5: "Misdialled trunk prefix",
    6: "Channel unacceptable",
    7: "Call awarded and being delivered in an established channel",
    8: "Preemption",
    16: "Normal call clearing",
    17: "User busy",
    18: "No user responding",
    19: "No answer from user (user alerted)",
    20: "Subscriber absent",
    21: "Call rejected",
    22: "Number changed",
    23: "Redirection to new destination",
    25: "Exchange routing error",
    26: "Non-selected user clearing",
    27: "Destination out of order",
    28: "Invalid number format (address incomplete)",
    29: "Facility rejected",
    30: "Response to STATUS ENQUIRY",
    31: "Normal, unspecified",
    34: "No circuit/channel available",
    38: "Network out of order",
    41: "Temporary failure",
    42: "Switching equipment congestion",
    43: "Access information discarded",
    44: "Requested circuit/channel not available",
    46: "Precedence call blocked",
    47: "Resource unavailable, unspecified",
    50: "Requested facility not subscribed",
    55: "Incoming calls barred within CUG",
    57: "Bearer capability not authorized",
    58: "Bearer capability not presently available",
    63: "Service or option not available, unspecified",
    65: "Bearer capability not implemented",
    79: "Service or option not implemented, unspecified",
    81: "Invalid call reference value",
    88: "Incompatible destination",
    95: "Invalid message, unspecified",
    96: "Mandatory information element is missing",
    97: "Message type non-existent or not implemented",
    98: "Message not compatible with call state",
    99: "Information element non-existent or not implemented",
    100: "Invalid information element contents",
    101: "Message not compatible with call state",
    102: "Recovery on timer expiry",
    103: "Parameter non-existent or not implemented, passed on",
    111: "Protocol error, unspecified",
    127: "Interworking, unspecified",
}
"""Definitions of Q.850 Table 1."""
COMMON_PHRASES = """
    accepted; address incomplete; all circuits busy; allocated circuit not found; authentication required; bad request;
    busy; busy everywhere; busy here; bye; call being forwarded; call cancelled; call canceled; call clearing;
    call completed; call completed elsewhere; call ended; call failed; call forwarded; call leg does not exist;
    call limit reached; call progress; call rejected; call released; call terminated; call transferred; cancelled;
    canceled; circuit channel congestion; completed elsewhere; codec mismatch; congestion; connection timed out;
    declined; destination out of order; destination unreachable; does not exist; error; exchange routing error;
    extension not found; failed; forbidden; forwarded; gateway timeout; global decline; hangup; hung up;
    incompatible destination; incomplete address; internal error; internal server error; invalid number;
    invalid number format; max call duration exceeded; maximum calls in progress; media timeout; network failure;
    network out of order; no answer; no answer from user; no channel available; no circuit available;
    no circuit channel available; no media; no response; no route; no route to destination; no rtp; no such user;
    no user responding; normal call clearing; normal clearing; normal release; normal temporary failure;
    normal unspecified; not acceptable; not acceptable here; not available; not found; not registered; number changed;
    number not in service; originator cancel; picked off; preempted; progress; protocol error; recovery on timer expire;
    recovery on timer expiry; redirected; rejected; request cancelled; request canceled; request terminated;
    request timeout; requested channel not available; ringing; rtp timeout; server internal error; server time out;
    server timeout; service not available; service unavailable; session completed; session expired; session timeout;
    session timer expired; success; subscriber absent; temporarily not available; temporarily unavailable;
    temporary failure; terminated; timeout; timed out; transaction timeout; transferred; trying; unallocated number;
    unassigned number; unauthorized; unavailable; unsupported media type; user absent; user alerting no answer;
    user busy; user not found; user not registered; user unavailable; ok
"""
"""What devices of many makers write, without case and punctuation."""


def plain(phrase: str) -> str:
    """A phrase without its case and punctuation: devices differ in both."""
    return " ".join(re.findall(r"[^\W_]+", phrase.casefold()))


KNOWN = frozenset(
    plain(phrase)
    for phrase in (*COMMON_PHRASES.split(";"), *SIP_PHRASES.values(), *SIP_CLASSES.values(), *CAUSE_PHRASES.values())
)


def status_phrase(status: int | None, phrase: str) -> str:
    """A reason phrase where it is a known one, else the standard one of its code."""
    if not phrase or plain(phrase) in KNOWN:
        return phrase
    if status is None:
        return ""
    return SIP_PHRASES.get(status) or SIP_CLASSES.get(status // 100, "")


def reason_text(protocol: str, cause: int | None, text: str) -> str:
    """The text of a Reason header where it is a known one, else the standard one of its cause."""
    if not text or plain(text) in KNOWN:
        return text
    if protocol.upper() == "SIP":
        return status_phrase(cause, text)
    return CAUSE_PHRASES.get(cause, "") if cause is not None and protocol.upper() == "Q.850" else ""
