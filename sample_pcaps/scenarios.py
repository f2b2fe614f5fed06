"""The SIP dialogues that sipp plays: one side's steps each, as sipp's XML (sipp.readthedocs.io, scenario reference)."""

from __future__ import annotations

SDP = """v=0
o=- 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio {port} RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=ptime:20"""

_ECHOED = """[last_Via:]
[last_From:]
[last_To:]{tag}
[last_Call-ID:]
[last_CSeq:]"""


def scenario(*steps: str) -> str:
    """A whole scenario file."""
    return '<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="sample">\n' + "\n".join(steps) + "\n</scenario>\n"


def pause(milliseconds: int) -> str:
    """Wait."""
    return f'<pause milliseconds="{milliseconds}"/>'


def receive(what: str, *, optional: bool = False, auth: bool = False) -> str:
    """Expect a request by its method or a response by its status."""
    kind = "response" if what.isdigit() else "request"
    return f'<recv {kind}="{what}"{" optional=" + chr(34) + "true" + chr(34) if optional else ""}' + (
        ' auth="true"/>' if auth else "/>"
    )


def request(method: str, cseq: int, *, branch: str = "[branch]", body: bool = False, credentials: bool = False) -> str:
    """The caller's request; `branch` names the INVITE's where RFC 3261 17.1.1.3 or 9.1 wants the same."""
    lines = [
        f"{method} sip:1002@[remote_ip]:[remote_port] SIP/2.0",
        f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}",
        'From: "Caller" <sip:1001@[local_ip]:[local_port]>;tag=c[call_number]',
        "To: <sip:1002@[remote_ip]:[remote_port]>" + ("[peer_tag_param]" if method in ("ACK", "BYE") else ""),
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:1001@[local_ip]:[local_port]>",
        *(["[authentication username=1001 password=sample]"] if credentials else []),
        "Max-Forwards: 70",
    ]
    return _send([*lines, *_content(16384 if body else 0)], repeated=method != "ACK")


def response(status: int, phrase: str, *, tag: str = ";tag=b1", body: bool = False, extra: str = "") -> str:
    """The callee's response to the last request."""
    lines = [f"SIP/2.0 {status} {phrase}", *_ECHOED.format(tag=tag).split("\n")]
    lines.append("Contact: <sip:1002@[local_ip]:[local_port]>")
    lines += [extra] if extra else []
    return _send([*lines, *_content(20000 if body else 0)], repeated=body)


def _content(port: int) -> list[str]:
    if not port:
        return ["Content-Length: 0", ""]
    return ["Content-Type: application/sdp", "Content-Length: [len]", "", *SDP.format(port=port).split("\n")]


def _send(lines: list[str], *, repeated: bool) -> str:
    retransmitted = ' retrans="500"' if repeated else ""
    return f"<send{retransmitted}><![CDATA[\n\n" + "\n".join(lines) + "\n]]></send>"


def refusal(status: int, phrase: str, after_ms: int, *, ringing: bool) -> tuple[str, str]:
    """Caller and callee of an attempt that is refused."""
    tones = [response(180, "Ringing")] if ringing else []
    caller = scenario(
        request("INVITE", 1, body=True),
        receive("100"),
        *([receive("180")] if ringing else []),
        receive(str(status)),
        request("ACK", 1, branch=f"[branch-{4 if ringing else 3}]"),
        pause(200),
    )
    callee = scenario(
        receive("INVITE"),
        response(100, "Trying", tag=""),
        *tones,
        pause(after_ms),
        response(status, phrase),
        receive("ACK"),
    )
    return caller, callee


def cancellation(after_ms: int) -> tuple[str, str]:
    """Caller and callee of an attempt that the caller gives up."""
    caller = scenario(
        request("INVITE", 1, body=True),
        receive("100"),
        receive("180"),
        pause(after_ms),
        request("CANCEL", 1, branch="[branch-4]"),
        receive("200"),
        receive("487"),
        request("ACK", 1, branch="[branch-7]"),
        pause(200),
    )
    # the 487 answers the INVITE, whose CSeq line the CANCEL has replaced as the last one seen
    refused = response(487, "Request Terminated").replace("[last_CSeq:]", "CSeq: 1 INVITE")
    callee = scenario(
        receive("INVITE"),
        response(100, "Trying", tag=""),
        response(180, "Ringing"),
        receive("CANCEL"),
        response(200, "OK"),
        refused,
        receive("ACK"),
    )
    return caller, callee


def challenge(talk_ms: int) -> tuple[str, str]:
    """Caller and callee of a call whose first INVITE is challenged; each is a SIP dialogue without media."""
    caller = scenario(
        request("INVITE", 1, body=True),
        receive("407", auth=True),
        request("ACK", 1, branch="[branch-2]"),
        request("INVITE", 2, body=True, credentials=True),
        receive("100"),
        receive("180"),
        receive("200"),
        request("ACK", 2),
        pause(talk_ms),
        request("BYE", 3),
        receive("200"),
    )
    realm = 'Proxy-Authenticate: Digest realm="sample.example", nonce="0123456789abcdef", algorithm=MD5'
    callee = scenario(
        receive("INVITE"),
        response(407, "Proxy Authentication Required", tag=";tag=a1", extra=realm),
        receive("ACK"),
        receive("INVITE"),
        response(100, "Trying", tag=""),
        response(180, "Ringing"),
        pause(300),
        response(200, "OK", body=True),
        receive("ACK"),
        receive("BYE"),
        response(200, "OK", tag=""),
        pause(200),
    )
    return caller, callee


def fork(talk_ms: int) -> tuple[str, str]:
    """Caller and callee of a call that rings at two phones, of which the second answers (RFC 3261 12.1, 13.2.2.4)."""
    caller = scenario(
        request("INVITE", 1, body=True),
        receive("100"),
        receive("180"),
        receive("180"),
        receive("200"),
        request("ACK", 1),
        pause(talk_ms),
        request("BYE", 2),
        receive("200"),
    )
    callee = scenario(
        receive("INVITE"),
        response(100, "Trying", tag=""),
        response(180, "Ringing", tag=";tag=desk"),
        response(180, "Ringing", tag=";tag=mobile"),
        pause(300),
        response(200, "OK", tag=";tag=mobile", body=True),
        receive("ACK"),
        receive("BYE"),
        response(200, "OK", tag=""),
        pause(200),
    )
    return caller, callee
