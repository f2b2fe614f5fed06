"""What an INVITE says of the call that its leg belongs to: the evidence by which `legs` joins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from collector.protocols.sip import SipMessage
from collector.protocols.sip_values import unquote_string

NO_SESSION = ("", "0" * 32)
"""Halves of a Session-ID that name nobody (RFC 7989)."""
CALL_ID_HEADERS = ("x-cid", "x-call-id", "x-original-call-id")
"""Headers in which the second leg of a back-to-back user agent names the Call-ID of the first."""
SHARED_HEADERS = ("cisco-guid", "av-global-session-id", "x-genesys-calluuid")
"""Headers whose whole value all legs of a call share."""

_RECORDED_SESSION = re.compile(rb"<(?:\w+:)?sipSessionID>([^<]{1,128})<")


def joins_of(message: SipMessage, limit: int) -> Iterator[tuple[str, str]]:
    """Evidence in an INVITE as (kind, value), of at most `limit` recorded sessions."""
    for name, value in message.fields:
        if name in CALL_ID_HEADERS:
            yield name, unquote_string(value)
        elif name in SHARED_HEADERS:
            yield name, value
        elif name == "p-charging-vector":
            yield "icid-value", _parameter(value, "icid-value")
    if b"sipSessionID" in message.raw and message.content_type != "application/sdp":
        # SIPREC metadata (RFC 7865) tell the recorder whose session it records.
        for recorded in _RECORDED_SESSION.findall(message.raw)[:limit]:
            local, _, remote = recorded.decode("ascii", "replace").strip().lower().partition(";remote=")
            yield from session_joins(local, remote)
            yield from session_joins(remote, local)


def session_joins(caller: str, callee: str) -> Iterator[tuple[str, str]]:
    """The caller's half is its own in every call, the callee's is not: a conference has one for all (RFC 7989)."""
    if caller in NO_SESSION:
        return
    yield "session-id", caller
    if callee not in NO_SESSION:
        yield "session-id", ";".join(sorted((caller, callee)))


def _parameter(value: str, name: str) -> str:
    for part in value.split(";"):
        key, _, content = part.partition("=")
        if key.strip().lower() == name:
            return unquote_string(content.strip())
    return ""
