"""HEP, the Homer encapsulation protocol: what Kamailio, OpenSIPS, Asterisk, FreeSWITCH, rtpengine and heplify send.

Versions 1 and 2 are one fixed header in front of the payload; version 3 (EEP) is a list of chunks. Pure: no clock, no
socket. What comes in is hostile; `parse` gives a packet or raises `HepError`, nothing else.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from collector.facts import Endpoint

MAGIC = b"HEP3"
HEADER = 6
"""Octets in front of the first chunk of version 3."""
MAX_CHUNKS = 64
"""Chunks of one packet; senders use about fifteen."""
MAX_UNPACKED = 1 << 18
"""Octets that a compressed payload may grow to."""
PACKET_LIMIT = 0xFFFF
"""Octets of a packet of version 3: its length has 16 bits."""
TEXT_LIMIT = 256
"""Octets of a correlation identifier or node name that are kept."""

SIP, RTCP, FULL_REPORT, SHORT_REPORT, SBC_REPORT, LOG = 0x01, 0x05, 0x22, 0x23, 0x26, 0x64
PAYLOAD_NAMES = {
    0x00: "reserved", SIP: "sip", 0x02: "xmpp", 0x03: "sdp", 0x04: "rtp", RTCP: "rtcp", 0x06: "mgcp", 0x07: "megaco",
    0x08: "m2ua", 0x09: "m3ua", 0x0A: "iax", 0x0B: "h322", 0x0C: "h321", 0x0D: "m2pa",
    FULL_REPORT: "mos_full", SHORT_REPORT: "mos_short", SBC_REPORT: "sbc_report", 0x32: "sip_json", 0x35: "dns",
    0x36: "isup", 0x37: "rtsp", 0x38: "diameter", 0x39: "gsm_map", 0x3A: "rtcp_pion", 0x3C: "cdr", 0x3D: "ng",
    0x63: "qos_99", LOG: "log",
}  # fmt: skip
"""Payload types (chunk 0x000b) by name; rtpengine sends its control messages as `ng`."""
TRANSPORTS = {6: "tcp", 17: "udp", 22: "tls", 132: "sctp"}
"""Transports by IP protocol; 22 is what Kamailio writes for TLS and WebSocket."""

_CHUNK = struct.Struct("!HHH")
_V1 = struct.Struct("!BBBBHH")
_V2_TIME = struct.Struct("<IIH")
"""Octets in the order of the sender's machine: little endian wherever this protocol is spoken."""
_V2_TIME_OCTETS = 12
_FAMILIES = {2: 4, 10: 16}
"""Octets of an address by AF_INET and AF_INET6 of Linux."""
_SIZES = {0x01: 1, 0x02: 1, 0x03: 4, 0x04: 4, 0x05: 16, 0x06: 16, 0x07: 2, 0x08: 2, 0x09: 4, 0x0A: 4, 0x0B: 1}
_MICROSECOND = 1_000


class HepError(ValueError):
    """The octets are no HEP packet; `defect` is the name to count by."""

    def __init__(self, defect: str) -> None:
        super().__init__(defect)
        self.defect = defect


class Chunk(NamedTuple):
    """A chunk that this module gives no meaning: of a vendor, or a generic one that says nothing about the call."""

    vendor: int
    kind: int
    value: bytes


class HepPacket(NamedTuple):
    """A message that somebody captured, and where."""

    version: int
    payload_type: int
    """As in `PAYLOAD_NAMES`; versions 1 and 2 carry SIP alone."""
    at: int | None
    """When it was captured, by the sender's clock [ns since the epoch]; None for version 1."""
    src: Endpoint
    dst: Endpoint
    ip_protocol: int
    """As in `TRANSPORTS`."""
    payload: bytes
    """Unpacked where it came compressed."""
    capture_id: int | None = None
    """Number of the capturing agent."""
    correlation_id: str | None = None
    """What ties it to a call: mostly its Call-ID."""
    auth_key: bytes | None = None
    node: str | None = None
    """Name of the capturing agent."""
    others: tuple[Chunk, ...] = ()

    @property
    def transport(self) -> str:
        """Transport of the captured message; `ip-N` where the number has no name."""
        return transport_name(self.ip_protocol)


def transport_name(ip_protocol: int) -> str:
    """Name of a transport; `ip-N` where the number has none."""
    return TRANSPORTS.get(ip_protocol) or f"ip-{ip_protocol}"


def transport_number(name: str) -> int:
    """The number of a transport that has this name; -1 for none."""
    found = next((number for number, each in TRANSPORTS.items() if each == name), None)
    if found is None:
        number = name.removeprefix("ip-")
        found = int(number) if name != number and number.isdecimal() else -1
    return found


def parse(data: bytes) -> HepPacket:
    """Read one packet as a datagram or `HepStream` gives it; octets behind its end are left alone. Raises HepError."""
    if data[:4] == MAGIC:
        return _parse_v3(data)
    if data[:1] in (b"\x01", b"\x02"):
        return _parse_v1(data)
    raise HepError("version_unknown" if data else "cut_short")


def _parse_v1(data: bytes) -> HepPacket:
    """Versions 1 and 2: the length counts header and addresses, and with some senders the time too."""
    if len(data) < _V1.size:
        raise HepError("cut_short")
    version, length, family, ip_protocol, src_port, dst_port = _V1.unpack_from(data)
    size = _FAMILIES.get(family)
    if size is None:
        raise HepError("family_unknown")
    addresses = _V1.size + 2 * size
    end = addresses + (_V2_TIME_OCTETS if version == 2 else 0)
    if length not in (addresses, end):
        raise HepError("length_wrong")
    if len(data) < end:
        raise HepError("cut_short")
    at = capture_id = None
    if version == 2:
        seconds, micros, capture_id = _V2_TIME.unpack_from(data, addresses)
        at = _time(seconds, micros)
    middle = _V1.size + size
    src, dst = _endpoint(data[_V1.size : middle], src_port), _endpoint(data[middle:addresses], dst_port)
    return HepPacket(version, SIP, at, src, dst, ip_protocol, data[end:], capture_id)


def _parse_v3(data: bytes) -> HepPacket:
    if len(data) < HEADER:
        raise HepError("cut_short")
    end = data[4] << 8 | data[5]
    if end < HEADER:
        raise HepError("length_wrong")
    if end > len(data):
        raise HepError("cut_short")
    known, others = _chunks(data, end)
    src, dst = _addresses(known)
    kind = known.get(0x0B)
    if kind is None:
        raise HepError("payload_type_missing")
    seconds = known.get(0x09)
    capture_id = known.get(0x0C)
    node, correlation = known.get(0x13), known.get(0x11)
    return HepPacket(
        3,
        kind[0],
        None if seconds is None else _time(_number(seconds), _number(known.get(0x0A, b""))),
        _endpoint(src, _number(known.get(0x07, b""))),
        _endpoint(dst, _number(known.get(0x08, b""))),
        _number(known.get(0x02, b"")),
        _payload(known),
        # Two octets from some senders, four from others.
        None if capture_id is None or len(capture_id) > 4 else _number(capture_id),
        None if correlation is None else _text(correlation),
        known.get(0x0E),
        None if node is None else _text(node),
        tuple(others),
    )


def _chunks(data: bytes, end: int) -> tuple[dict[int, bytes], list[Chunk]]:
    """Generic chunks that have a meaning here, the first of each kind, and all others."""
    known: dict[int, bytes] = {}
    others: list[Chunk] = []
    place, count = HEADER, 0
    unpack = _CHUNK.unpack_from
    while place < end:
        if end - place < _CHUNK.size:
            raise HepError("chunk_cut_short")
        vendor, kind, length = unpack(data, place)
        if length < _CHUNK.size or place + length > end:
            raise HepError("chunk_length_wrong")
        count += 1
        if count > MAX_CHUNKS:
            raise HepError("too_many_chunks")
        value = data[place + _CHUNK.size : place + length]
        place += length
        if vendor or (kind > 0x11 and kind != 0x13) or kind in known:
            others.append(Chunk(vendor, kind, value))
            continue
        size = _SIZES.get(kind)
        if size is not None and len(value) != size:
            raise HepError("chunk_size_wrong")
        known[kind] = value
    return known, others


def _addresses(known: dict[int, bytes]) -> tuple[bytes, bytes]:
    src, dst = known.get(0x03), known.get(0x04)
    if src is None or dst is None or known.get(0x01) == b"\x0a":
        src, dst = known.get(0x05, src), known.get(0x06, dst)
    if src is None or dst is None:
        raise HepError("address_missing")
    return src, dst


def _payload(known: dict[int, bytes]) -> bytes:
    payload = known.get(0x0F)
    if payload is not None:
        return payload
    packed = known.get(0x10)
    if packed is None:
        raise HepError("payload_missing")
    unpacker = zlib.decompressobj(wbits=47)  # zlib and gzip, whichever it is
    try:
        unpacked = unpacker.decompress(packed, MAX_UNPACKED)
    except zlib.error:
        raise HepError("compression_wrong") from None
    if unpacker.unconsumed_tail:
        raise HepError("payload_too_large")
    if not unpacker.eof:
        raise HepError("compression_wrong")
    return unpacked


def _time(seconds: int, micros: int) -> int:
    if micros >= 1_000_000:
        raise HepError("time_wrong")
    return seconds * 1_000_000_000 + micros * _MICROSECOND


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _text(octets: bytes) -> str:
    """Text of a chunk; C programs leave a zero at its end."""
    return octets[:TEXT_LIMIT].rstrip(b"\0").decode("utf-8", "backslashreplace")


@lru_cache(maxsize=16_384)
def _endpoint(octets: bytes, port: int) -> Endpoint:
    return Endpoint(str(IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets)), port)


class _Layout(NamedTuple):
    """The order in which a sender writes the chunks of fixed size, with which its packets begin."""

    end: int
    """Where they end."""
    mask: int
    """Of the octets up to there, those of the chunks' heads."""
    heads: int
    """What stands in them."""
    values: struct.Struct
    """What stands between them."""
    places: tuple[int, ...]
    """Where source, destination, ports, seconds, microseconds, payload type, protocol and agent are; -1 nowhere."""


_FORMATS = {
    0x01: "B", 0x02: "B", 0x03: "4s", 0x04: "4s", 0x05: "16s", 0x06: "16s", 0x07: "H", 0x08: "H", 0x09: "I",
    0x0A: "I", 0x0B: "B", 0x0C: "I",
}  # fmt: skip
_WANTED = ((0x03, 0x05), (0x04, 0x06), (0x07,), (0x08,), (0x09,), (0x0A,), (0x0B,), (0x02,), (0x0C,))
_LAYOUTS = 8


class HepParser:
    """Reads what `parse` reads, and the same of it, only sooner: senders write every packet in the same order.

    Remembers the orders of a few senders; a packet in another is read by `parse`.
    """

    def __init__(self) -> None:
        self._layouts: list[_Layout] = []

    def parse(self, data: bytes) -> HepPacket:
        """Read one packet. Raises HepError."""
        for number, layout in enumerate(self._layouts):
            if int.from_bytes(data[: layout.end], "big") & layout.mask == layout.heads and len(data) >= layout.end:
                if number:
                    self._layouts.insert(0, self._layouts.pop(number))
                packet = _by_layout(data, layout)
                return parse(data) if packet is None else packet
        packet = parse(data)
        if packet.version == 3:
            found = _layout_of(data)
            if found is not None:
                self._layouts.insert(0, found)
                del self._layouts[_LAYOUTS:]
        return packet


def _layout_of(data: bytes) -> _Layout | None:
    """The layout of a packet that was read; None where something is missing in front or stands there twice."""
    place, kinds = HEADER, list[int]()
    mask, form = bytearray(b"\xff" * 4 + b"\0\0"), "!6x"
    end = data[4] << 8 | data[5]
    while end - place >= _CHUNK.size:
        vendor, kind, length = _CHUNK.unpack_from(data, place)
        wanted = _FORMATS.get(kind)
        if vendor or wanted is None or length != _CHUNK.size + struct.calcsize(f"!{wanted}"):
            break
        if kind in kinds:
            return None
        kinds.append(kind)
        mask += b"\xff" * _CHUNK.size + bytes(length - _CHUNK.size)
        form += f"{_CHUNK.size}x{wanted}"
        place += length
    places = [next((kinds.index(kind) for kind in either if kind in kinds), -1) for either in _WANTED]
    if min(places[:-1]) < 0 or (0x03 in kinds and {0x05, 0x06} & set(kinds)) or (0x05 in kinds and 0x04 in kinds):
        return None
    masked = int.from_bytes(mask, "big")
    heads = int.from_bytes(data[:place], "big") & masked
    return _Layout(place, masked, heads, struct.Struct(form), tuple(places))


def _by_layout(data: bytes, layout: _Layout) -> HepPacket | None:
    """Read a packet whose first chunks are laid out so; None where the rest wants a closer look."""
    end = data[4] << 8 | data[5]
    if not layout.end <= end <= len(data):
        return None
    known: dict[int, bytes] = {}
    place = layout.end
    while end - place >= 6:
        vendor, kind, length = _CHUNK.unpack_from(data, place)
        if vendor or not 0x0E <= kind <= 0x13 or kind in known or kind == 0x12 or length < 6 or place + length > end:
            return None
        known[kind] = data[place + 6 : place + length]
        place += length
    payload = known.get(0x0F)
    if place != end or payload is None:
        return None
    values = layout.values.unpack_from(data)
    src, dst, src_port, dst_port, seconds, micros, payload_type, protocol, agent = layout.places
    if values[micros] >= 1_000_000:
        return None
    correlation, node = known.get(0x11), known.get(0x13)
    return HepPacket(
        3,
        values[payload_type],
        values[seconds] * 1_000_000_000 + values[micros] * _MICROSECOND,
        _endpoint(values[src], values[src_port]),
        _endpoint(values[dst], values[dst_port]),
        values[protocol],
        payload,
        None if agent < 0 else values[agent],
        None if correlation is None else _text(correlation),
        known.get(0x0E),
        None if node is None else _text(node),
    )


class HepStream:
    """Cuts a TCP stream into packets of version 3; what is no packet is skipped up to the next `HEP3` and counted.

    Holds at most one packet and what was fed last.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0
        """Octets between packets that were none."""
        self.resynchronised = 0
        """Times that a packet was found again behind such octets, or was looked for in vain."""

    @property
    def waiting(self) -> int:
        """Octets of a packet that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next octets; give the packets that are whole."""
        buffer = self._buffer
        buffer += data
        found: list[tuple[int, int]] = []
        place, available = 0, len(buffer)
        while available - place >= HEADER:
            if not buffer.startswith(MAGIC, place):
                place = self._skip(place)
                continue
            length = buffer[place + 4] << 8 | buffer[place + 5]
            if length < HEADER:
                place = self._skip(place)
                continue
            if available - place < length:
                break
            found.append((place, place + length))
            place += length
        with memoryview(buffer) as view:
            packets = [bytes(view[begin:end]) for begin, end in found]
        del buffer[:place]
        return packets

    def _skip(self, place: int) -> int:
        """Where the next packet may begin, behind `place`."""
        found = self._buffer.find(MAGIC, place + 1)
        if found < 0:
            found = max(place + 1, len(self._buffer) - len(MAGIC) + 1)
        self.skipped += found - place
        self.resynchronised += 1
        return found

    def finish(self) -> int:
        """Octets of a packet that the end of the stream cut off."""
        left = len(self._buffer)
        self._buffer.clear()
        return left


def serialize(packet: HepPacket, *, compressed: bool = False) -> bytes:
    """Write a packet as a sender does; `compressed` packs the payload of version 3 with zlib.

    Raises HepError where its version has no room for it.
    """
    src, dst = _octets(packet.src.ip), _octets(packet.dst.ip)
    if len(src) != len(dst):
        raise HepError("family_unknown")
    if packet.version == 3:
        return _serialize_v3(packet, src, dst, compressed)
    length = _V1.size + 2 * len(src)
    family = 2 if len(src) == 4 else 10
    head = _V1.pack(packet.version, length, family, packet.ip_protocol, packet.src.port, packet.dst.port)
    moment = b""
    if packet.version == 2:
        seconds, nanos = divmod(packet.at or 0, 1_000_000_000)
        moment = _V2_TIME.pack(seconds, nanos // _MICROSECOND, packet.capture_id or 0).ljust(_V2_TIME_OCTETS, b"\0")
    return head + src + dst + moment + packet.payload


def _serialize_v3(packet: HepPacket, src: bytes, dst: bytes, compressed: bool) -> bytes:
    is_v4 = len(src) == 4
    chunks = [
        (0x01, b"\x02" if is_v4 else b"\x0a"),
        (0x02, packet.ip_protocol.to_bytes(1, "big")),
        (0x03 if is_v4 else 0x05, src),
        (0x04 if is_v4 else 0x06, dst),
        (0x07, packet.src.port.to_bytes(2, "big")),
        (0x08, packet.dst.port.to_bytes(2, "big")),
    ]
    if packet.at is not None:
        seconds, nanos = divmod(packet.at, 1_000_000_000)
        chunks += [(0x09, seconds.to_bytes(4, "big")), (0x0A, (nanos // _MICROSECOND).to_bytes(4, "big"))]
    chunks.append((0x0B, packet.payload_type.to_bytes(1, "big")))
    if packet.capture_id is not None:
        chunks.append((0x0C, packet.capture_id.to_bytes(4, "big")))
    if packet.auth_key is not None:
        chunks.append((0x0E, packet.auth_key))
    if packet.correlation_id is not None:
        chunks.append((0x11, packet.correlation_id.encode()))
    if packet.node is not None:
        chunks.append((0x13, packet.node.encode()))
    made = [Chunk(0, kind, value) for kind, value in chunks]
    made += packet.others
    made.append(Chunk(0, 0x10, zlib.compress(packet.payload)) if compressed else Chunk(0, 0x0F, packet.payload))
    body = b"".join(_CHUNK.pack(each.vendor, each.kind, _CHUNK.size + len(each.value)) + each.value for each in made)
    if HEADER + len(body) > PACKET_LIMIT:
        raise HepError("packet_too_large")
    return MAGIC + (HEADER + len(body)).to_bytes(2, "big") + body


def _octets(ip: str) -> bytes:
    return (IPv6Address(ip) if ":" in ip else IPv4Address(ip)).packed
