"""SDP (RFC 8866): what one side of a session announces about where and how it takes media."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from collector.facts import CodecFormat, Endpoint
from collector.protocols.rtp import STATIC_FORMATS

MEDIA_LIMIT = 64
"""Media lines that are kept of one description."""
CANDIDATE_LIMIT = 64
"""ICE candidates that are kept of one media line."""

_REMEMBERED_LENGTH = 2048
# The session part of nearly every call, read at once; every other one is read line by line.
_ORDINARY_SESSION = re.compile(
    r"\nv=0\no=(\S+) (\S+) (\S+) IN IP[46] (\S+)\ns=([^\n]*)\nc=IN IP[46] (\S+)\n(t=)[0-9]+ [0-9]+", re.ASCII
)

_ORDINARY = re.compile(
    r"v=0\r?\no=([!-~]+) ([!-~]+) ([!-~]+) IN IP[46] ([!-~]+)\r?\ns=([ -~]*)\r?\n"
    r"c=IN IP[46] ([!-.0-~][!-~]*)\r?\nt=[0-9]+ [0-9]+\r?\nm=([!-~]+) ([0-9]{1,5}) ([!-~][ -~]*)\r?(?:\n(.*))?",
    re.ASCII | re.DOTALL,
)
"""A session without attributes of its own and, if nothing below begins with m=, one medium: what phones write."""

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_NOWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - an address in a message, nothing binds to it
_DISCARD_PORT = 9  # RFC 8840 4.1.1: 0.0.0.0 with port 9 means that ICE will tell, not that the call is on hold

_WELL_KNOWN: Final[Mapping[str, CodecFormat]] = MappingProxyType(
    {
        "PCMU/8000": STATIC_FORMATS[0],
        "PCMA/8000": STATIC_FORMATS[8],
        "G722/8000": STATIC_FORMATS[9],
        "G729/8000": STATIC_FORMATS[18],
        "CN/8000": STATIC_FORMATS[13],
        "GSM/8000": STATIC_FORMATS[3],
        "telephone-event/8000": CodecFormat("TELEPHONE-EVENT", 8000),
        "telephone-event/48000": CodecFormat("TELEPHONE-EVENT", 48000),
        "opus/48000/2": CodecFormat("OPUS", 48000, 2),
    }
)
"""The encodings that make up most rtpmap lines, as written there."""


class SdpError(ValueError):
    """A body that holds no line of SDP; `defect` is the reason as a name to count by."""

    def __init__(self, defect: str) -> None:
        super().__init__(defect)
        self.defect = defect


class Origin(NamedTuple):
    """The o= line (RFC 8866 5.2)."""

    username: str
    session_id: str
    session_version: str
    """A new version is a new offer or answer; the same one repeats the last (RFC 3264 8)."""
    address: str


class IceCandidate(NamedTuple):
    """One address where media may be sent to or come from (RFC 8839 5.1)."""

    endpoint: Endpoint
    component: int
    """1 RTP, 2 RTCP."""
    kind: str
    """`host`, `srflx`, `prflx` or `relay`."""
    transport: str
    """`UDP` or `TCP`."""


class MediaLine(NamedTuple):
    """One m= line with its attributes, the session's ones where it has none of its own."""

    kind: str
    """`audio`, `video`, `image`, ..."""
    port: int
    """0: refused or ended (RFC 3264 6)."""
    port_count: int
    protocol: str
    """As written: `RTP/AVP`, `UDP/TLS/RTP/SAVPF`, `udptl`, ..."""
    address: str
    """IP address or host name of the media's own or the session's c= line; '' without one."""
    direction: str
    """As seen by the side that announced it; default `sendrecv` (RFC 8866 6.7)."""
    formats: Mapping[int, CodecFormat]
    """Payload type to format in order of preference; RTP only. A dynamic type without rtpmap is left out."""
    format_names: tuple[str, ...]
    """The formats as the m= line lists them."""
    ptime_ms: float | None
    maxptime_ms: float | None
    rtcp: Endpoint | None
    """Where RTCP is taken: a=rtcp (RFC 3605), the same port under rtcp-mux (RFC 5761), else the next one."""
    rtcp_mux: bool
    encrypted: bool
    """SRTP by its profile, an a=crypto or an a=fingerprint."""
    candidates: tuple[IceCandidate, ...]
    mid: str
    label: str

    @property
    def endpoint(self) -> Endpoint:
        """Where the side that announced it takes the media."""
        return Endpoint(self.address, self.port)

    @property
    def is_rtp(self) -> bool:
        """True for every RTP profile."""
        return "RTP/" in self.protocol

    @property
    def is_t38(self) -> bool:
        """True for fax by T.38, over UDPTL or RTP."""
        return any(name.lower() == "t38" for name in self.format_names) or any(
            codec.name == "T38" for codec in self.formats.values()
        )

    @property
    def on_hold(self) -> bool:
        """The side that announced it wants to hear nothing (RFC 3264 8.4), or says so as RFC 2543 B.5 did."""
        if not self.port:
            return False
        if self.direction in ("sendonly", "inactive"):
            return True
        return self.address in _NOWHERE and self.port != _DISCARD_PORT


class SessionDescription(NamedTuple):
    """One SDP body."""

    origin: Origin | None
    name: str
    address: str
    """Of the session's c= line, '' without one."""
    direction: str
    media: tuple[MediaLine, ...]
    defects: tuple[str, ...]
    """What breaks RFC 8866, as names to count by, each once."""


class _Section:
    """What was read of the session part or of one media part."""

    origin: str | None = None
    name: str | None = None
    letters: str = ""
    address: str = ""
    direction: str = ""
    ptime_ms: float | None = None
    maxptime_ms: float | None = None
    rtcp: tuple[int, str] | None = None
    mux: bool = False
    secure: bool = False
    mid: str = ""
    label: str = ""

    def __init__(self) -> None:
        self.defects: list[str] = []
        self.rtpmap: dict[str, str] = {}
        self.fmtp: dict[str, str] = {}
        self.candidates: list[IceCandidate] = []


class _Media(NamedTuple):
    """What a media part says apart from its kind and port; one of it serves all calls of the same device."""

    protocol: str
    names: tuple[str, ...]
    formats: Mapping[int, CodecFormat]
    address: str
    direction: str
    ptime_ms: float | None
    maxptime_ms: float | None
    rtcp: tuple[int, str] | None
    mux: bool
    secure: bool
    candidates: tuple[IceCandidate, ...]
    mid: str
    label: str
    defects: tuple[str, ...]

    @property
    def is_rtp(self) -> bool:
        return "RTP/" in self.protocol


def _digits(text: str, limit: int) -> int:
    """The number, -1 when it is none or at `limit` or above."""
    if not text.isdigit() or not text.isascii() or len(text) > 10:
        return -1
    number = int(text)
    return number if number < limit else -1


def _milliseconds(section: _Section, text: str) -> float | None:
    text = text.strip()
    if len(text) > 8 or not text.isascii() or not text.replace(".", "", 1).isdigit() or not float(text):
        section.defects.append("ptime_malformed")
        return None
    return float(text)


def _read_rtpmap(section: _Section, value: str) -> None:
    number, _, encoding = value.strip().partition(" ")
    section.rtpmap.setdefault(number, encoding)


def _read_fmtp(section: _Section, value: str) -> None:
    number, _, parameters = value.strip().partition(" ")
    section.fmtp.setdefault(number, parameters.strip())


def _read_ptime(section: _Section, value: str) -> None:
    section.ptime_ms = _milliseconds(section, value)


def _read_maxptime(section: _Section, value: str) -> None:
    section.maxptime_ms = _milliseconds(section, value)


def _read_rtcp(section: _Section, value: str) -> None:
    words = value.split()
    port = _digits(words[0], 65536) if words else -1
    if port < 0 or len(words) not in (1, 4):
        section.defects.append("rtcp_malformed")
        return
    section.rtcp = port, words[3] if len(words) == 4 else ""


def _read_rtcp_mux(section: _Section, _value: str) -> None:
    section.mux = True


def _read_security(section: _Section, _value: str) -> None:
    section.secure = True


def _read_mid(section: _Section, value: str) -> None:
    section.mid = value.strip()


def _read_label(section: _Section, value: str) -> None:
    section.label = value.strip()


def _read_candidate(section: _Section, value: str) -> None:
    words = value.split()
    port = _digits(words[5], 65536) if len(words) >= 8 else -1
    component = _digits(words[1], 257) if len(words) >= 8 else -1
    if port < 0 or component < 0 or words[6] != "typ":
        section.defects.append("candidate_malformed")
    elif len(section.candidates) < CANDIDATE_LIMIT:
        section.candidates.append(IceCandidate(Endpoint(words[4], port), component, words[7], words[2].upper()))


_ATTRIBUTES: Final[Mapping[str, Callable[[_Section, str], None]]] = MappingProxyType(
    {
        "rtpmap": _read_rtpmap,
        "fmtp": _read_fmtp,
        "ptime": _read_ptime,
        "maxptime": _read_maxptime,
        "rtcp": _read_rtcp,
        "rtcp-mux": _read_rtcp_mux,
        "crypto": _read_security,
        "fingerprint": _read_security,
        "mid": _read_mid,
        "label": _read_label,
        "candidate": _read_candidate,
    }
)


def parse_sdp(body: bytes) -> SessionDescription:
    """Read a session description; lines may end in LF alone (RFC 8866 5).

    Raises SdpError when there is no line that could be SDP; everything else is tolerated and named in `defects`.
    """
    ordinary = _read_ordinary(body) if body.isascii() else None
    if ordinary is not None:
        return ordinary
    text = "\n" + body.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    session_part, *media_parts = text.split("\nm=", MEDIA_LIMIT + 1)
    origin, session = _read_session(session_part)
    if not session.letters and not media_parts:
        raise SdpError("no_usable_line")
    defects = session.defects
    if len(media_parts) > MEDIA_LIMIT:
        defects.append("media_unlisted")
    media = [line for line in (_media_line(part, session) for part in media_parts[:MEDIA_LIMIT]) if line is not None]
    return SessionDescription(
        origin,
        (session.name or "").strip(),
        session.address,
        session.direction or "sendrecv",
        tuple(media),
        tuple(dict.fromkeys(defects)) if defects else (),
    )


def _read_ordinary(body: bytes) -> SessionDescription | None:
    """What `parse_sdp` gives for a description in the usual form; None for all others."""
    if len(body) > _REMEMBERED_LENGTH:
        return None
    found = _ORDINARY.fullmatch(body.decode("ascii"))
    if found is None:
        return None
    username, session_id, version, origin_address, name, address, kind, port_text, formats, attributes = found.groups()
    port = int(port_text)
    if port > 65535 or (attributes and (attributes.startswith("m=") or "\nm=" in attributes)):
        return None
    media = _remembered_media(formats, attributes.replace("\r\n", "\n") if attributes else "")
    session_address = address.partition("/")[0]
    line = MediaLine(
        kind,
        port,
        1,
        media.protocol,
        media.address or session_address,
        media.direction or "sendrecv",
        media.formats,
        media.names,
        media.ptime_ms,
        media.maxptime_ms,
        _rtcp(media.rtcp, media.address or session_address, port, media.mux) if port and media.is_rtp else None,
        media.mux,
        media.secure,
        media.candidates,
        media.mid,
        media.label,
    )
    origin = Origin(username, session_id, version, origin_address)
    return SessionDescription(
        origin, name.strip(), session_address, "sendrecv", (line,), tuple(dict.fromkeys(media.defects))
    )


def _read_session(part: str) -> tuple[Origin | None, _Section]:
    ordinary = _ORDINARY_SESSION.fullmatch(part)
    if ordinary is not None:
        session = _Section()
        username, session_id, session_version, origin_address, session.name, address, session.letters = (
            ordinary.groups()
        )
        session.address = address.partition("/")[0]
        return Origin(username, session_id, session_version, origin_address), session
    session = _read_lines(part)
    origin = _read_origin(session.origin, session.defects)
    _check_presence(session.letters, session.defects)
    return origin, session


def _read_lines(part: str) -> _Section:
    section = _Section()
    for line in part.split("\n"):
        letter = line[:2]
        if letter == "a=":
            attribute, _, value = line[2:].partition(":")
            reader = _ATTRIBUTES.get(attribute)
            if reader is not None:
                reader(section, value)
            elif attribute.rstrip() in _DIRECTIONS:
                section.direction = attribute.rstrip()
        elif letter == "c=":
            _read_connection(section, line)
        elif letter == "o=":
            section.origin = line[2:] if section.origin is None else section.origin
        elif letter == "s=":
            section.name = line[2:] if section.name is None else section.name
        elif line and not (letter[1:] == "=" and "a" <= letter[0] <= "z"):
            section.defects.append("line_malformed")
            continue
        section.letters += letter
    return section


def _check_presence(seen: str, defects: list[str]) -> None:
    """RFC 8866 5: v, o, s and t are mandatory."""
    if not seen.startswith("v="):
        defects.append("version_not_first")
    if "o=" not in seen:
        defects.append("origin_missing")
    if "s=" not in seen:
        defects.append("session_name_missing")
    if "t=" not in seen:
        defects.append("timing_missing")


def _read_origin(line: str | None, defects: list[str]) -> Origin | None:
    if line is None:
        return None
    words = line.split()
    if len(words) < 6:
        defects.append("origin_malformed")
        return None
    # A user name may not hold blanks (RFC 8866 5.2), but some do; the other fields are counted from the end.
    if len(words) > 6:
        defects.append("origin_malformed")
    return Origin(" ".join(words[:-5]), words[-5], words[-4], words[-1])


def _read_connection(section: _Section, line: str) -> None:
    words = line[2:].split()
    if len(words) != 3 or words[0] != "IN" or words[1] not in ("IP4", "IP6"):
        section.defects.append("connection_malformed")
        if len(words) < 3:
            return
    if not section.address:  # RFC 8866 5.7: further lines are further layers of a multicast
        section.address = words[2].partition("/")[0]


def _media_line(part: str, session: _Section) -> MediaLine | None:
    line, _, attributes = part.partition("\n")
    words = line.split(None, 2)
    count = 1
    port_text = words[1] if len(words) == 3 else ""
    if "/" in port_text:
        port_text, _, count_text = port_text.partition("/")
        count = _digits(count_text, 65536)
    port = _digits(port_text, 65536)
    if port < 0 or count < 0:
        session.defects.append("media_malformed")
        return None
    read = _read_media if len(part) > _REMEMBERED_LENGTH else _remembered_media
    media = read(words[2], attributes)
    session.defects += media.defects
    address = media.address or session.address
    if not address:
        session.defects.append("connection_missing")
    mux = media.mux or session.mux
    return MediaLine(
        words[0],
        port,
        count,
        media.protocol,
        address,
        media.direction or session.direction or "sendrecv",
        media.formats,
        media.names,
        session.ptime_ms if media.ptime_ms is None else media.ptime_ms,
        session.maxptime_ms if media.maxptime_ms is None else media.maxptime_ms,
        _rtcp(media.rtcp, address, port, mux) if port and media.is_rtp else None,
        mux,
        media.secure or session.secure,
        media.candidates or tuple(session.candidates),
        media.mid,
        media.label,
    )


def _read_media(protocol_and_formats: str, attributes: str) -> _Media:
    section = _read_lines(attributes)
    protocol, *names = protocol_and_formats.split()
    if not names:
        section.defects.append("media_malformed")
    return _Media(
        protocol,
        tuple(names),
        MappingProxyType(_formats(section, names) if "RTP/" in protocol else {}),
        section.address,
        section.direction,
        section.ptime_ms,
        section.maxptime_ms,
        section.rtcp,
        section.mux,
        section.secure or "SAVP" in protocol,
        tuple(section.candidates),
        section.mid,
        section.label,
        tuple(section.defects),
    )


@lru_cache(maxsize=512)
def _remembered_media(protocol_and_formats: str, attributes: str) -> _Media:
    """`_read_media`, remembered, for a device writes the same lines in every call.

    Pure memoisation and no state: the answer follows from the two texts alone and cannot be changed, so a text read
    again and one remembered are the same; 512 answers to texts of at most `_REMEMBERED_LENGTH` bound the memory.
    """
    return _read_media(protocol_and_formats, attributes)


def _rtcp(announced: tuple[int, str] | None, address: str, port: int, mux: bool) -> Endpoint | None:
    if mux:
        return Endpoint(address, port)
    if announced is not None:
        return Endpoint(announced[1] or address, announced[0]) if announced[0] else None
    return Endpoint(address, port + 1) if port < 65535 else None


def _formats(section: _Section, names: list[str]) -> dict[int, CodecFormat]:
    formats: dict[int, CodecFormat] = {}
    for text in names:
        number = _digits(text, 128)
        if number < 0:
            section.defects.append("payload_type_malformed")
            continue
        encoding = section.rtpmap.get(text)
        codec = STATIC_FORMATS.get(number) if encoding is None else _WELL_KNOWN.get(encoding)
        if codec is None:
            codec = _read_encoding(encoding, number, section.defects)
            if codec is None:
                continue
        parameters = section.fmtp.get(text)
        formats.setdefault(number, codec._replace(fmtp=parameters) if parameters else codec)
    return formats


def _read_encoding(encoding: str | None, number: int, defects: list[str]) -> CodecFormat | None:
    """`name/clock rate[/channels]` (RFC 8866 6.6); a broken one leaves what RFC 3551 says of the number."""
    if encoding is None:
        defects.append("rtpmap_missing")
        return None
    name, *rest = encoding.strip().split("/")
    clock_rate = _digits(rest[0].strip(), 1_000_000_000) if rest else -1
    channels = _digits(rest[1].strip(), 256) if len(rest) > 1 and rest[1] else 1
    if not name or clock_rate <= 0 or channels < 1:
        defects.append("rtpmap_malformed")
        return STATIC_FORMATS.get(number)
    return CodecFormat(name.upper(), clock_rate, channels)
