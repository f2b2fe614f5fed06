"""SDP (RFC 8866): what one side of a session announces about where and how it takes media."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from collector.facts import CodecFormat, Endpoint
from collector.protocols.rtp import STATIC_FORMATS

MEDIA_LIMIT = 64
"""Media lines that are kept of one description."""
CANDIDATE_LIMIT = 64
"""ICE candidates that are kept of one media line."""

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

    __slots__ = (
        "address",
        "candidates",
        "defects",
        "direction",
        "fmtp",
        "label",
        "maxptime_ms",
        "media",
        "mid",
        "mux",
        "ptime_ms",
        "rtcp",
        "rtpmap",
        "secure",
    )

    def __init__(self, defects: list[str], media: str = "") -> None:
        self.media = media
        self.defects = defects
        self.address = ""
        self.direction = ""
        self.rtpmap: dict[str, str] = {}
        self.fmtp: dict[str, str] = {}
        self.ptime_ms: float | None = None
        self.maxptime_ms: float | None = None
        self.rtcp: tuple[int, str] | None = None
        self.mux = False
        self.secure = False
        self.candidates: list[IceCandidate] = []
        self.mid = ""
        self.label = ""


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
    defects: list[str] = []
    session = section = _Section(defects)
    sections: list[_Section] = []
    origin_line: str | None = None
    name: str | None = None
    seen = ""
    for line in body.decode("utf-8", "backslashreplace").replace("\r\n", "\n").split("\n"):
        letter = line[:2]
        if letter == "a=":
            attribute, _, value = line[2:].partition(":")
            reader = _ATTRIBUTES.get(attribute)
            if reader is not None:
                reader(section, value)
            elif attribute.rstrip() in _DIRECTIONS:
                section.direction = attribute.rstrip()
        elif letter == "m=":
            section = _Section(defects, line)
            if len(sections) < MEDIA_LIMIT:
                sections.append(section)
            else:
                defects.append("media_unlisted")
        elif letter == "c=":
            _read_connection(section, line)
        elif letter == "o=":
            origin_line = line[2:] if origin_line is None else origin_line
        elif letter == "s=":
            name = line[2:] if name is None else name
        elif line and not (letter[1:] == "=" and "a" <= letter[0] <= "z"):
            defects.append("line_malformed")
            continue
        seen += letter
    if not seen:
        raise SdpError("no_usable_line")
    origin = _read_origin(origin_line, defects)
    _check_presence(seen, defects)
    media = [line for line in (_finish_media(found, session) for found in sections) if line is not None]
    direction = session.direction or "sendrecv"
    return SessionDescription(
        origin, (name or "").strip(), session.address, direction, tuple(media), tuple(dict.fromkeys(defects))
    )


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


def _finish_media(section: _Section, session: _Section) -> MediaLine | None:
    defects = section.defects
    words = section.media[2:].split()
    if len(words) < 3:
        defects.append("media_malformed")
        return None
    kind, port_text, protocol, *names = words
    count = 1
    if "/" in port_text:
        port_text, _, count_text = port_text.partition("/")
        count = _digits(count_text, 65536)
    port = _digits(port_text, 65536)
    if port < 0 or count < 0:
        defects.append("media_malformed")
        return None
    if not names:
        defects.append("media_malformed")
    address = section.address or session.address
    if not address:
        defects.append("connection_missing")
    mux = section.mux or session.mux
    is_rtp = "RTP/" in protocol
    return MediaLine(
        kind,
        port,
        count,
        protocol,
        address,
        section.direction or session.direction or "sendrecv",
        _formats(section, names) if is_rtp else {},
        tuple(names),
        session.ptime_ms if section.ptime_ms is None else section.ptime_ms,
        session.maxptime_ms if section.maxptime_ms is None else section.maxptime_ms,
        _rtcp(section.rtcp, address, port, mux) if is_rtp and port else None,
        mux,
        section.secure or session.secure or "SAVP" in protocol,
        tuple(section.candidates or session.candidates),
        section.mid,
        section.label,
    )


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
