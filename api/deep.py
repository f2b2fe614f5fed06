"""Wireshark's own decode of one call's frames, through pyshark: a second opinion beside our report."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from api.deep_fields import names_nobody
from api.layout import clean
from api.masking import Pseudonyms
from api.rated import RatedCall, RatedStream
from collector.facts import Call, Stream

if TYPE_CHECKING:
    from pyshark.packet.packet import Packet

DEFAULT_SIP_PORT = 5060
MOST_FRAMES = 500
"""A call of an hour has 360,000 frames; Wireshark itself is the place to read them all."""
MOST_STREAMS = 100
"""A call of a dozen legs has half of that."""
MARGIN = 100_000_000
"""How far from the first and last packet that counted its mirror copies may lie [ns]."""
REPORT_MARGIN = 10_000_000_000
"""How far from them reports may lie where the call's own times are not known [ns]."""
LAYERS = ("sip", "sdp", "rtp", "rtpevent", "rtcp")
SECRET_FIELD = re.compile(r"crypto|key|payload|auth|msg_body|_ws_")
SECRET_VALUE = re.compile(r"crypto:|inline:|authorization:", re.IGNORECASE)
"""Never printed: media, credentials, SRTP keys; and Wireshark's own bookkeeping."""


class TsharkError(ValueError):
    """tshark is not installed or cannot read the capture; one line for people."""


def require_tshark() -> None:
    """Raise `TsharkError` when tshark is not there."""
    if shutil.which("tshark") is None:
        raise TsharkError("--deep needs tshark, which is not installed (Debian: apt-get install tshark)")


def display_filter(rated: RatedCall) -> str:
    """Wireshark's filter for a call: its Call-IDs, and each of its streams for as long as that lasted.

    Ports, and even an SSRC, serve one call after another.
    """
    call_ids = dict.fromkeys([rated.call.call_id, *(leg.call_id for leg in rated.call.legs)])
    parts = [f"sip.Call-ID == {quoted(call_id)}" for call_id in call_ids]
    parts.extend(stream_filter(rated_stream.stream, rated.call) for rated_stream in decoded_streams(rated))
    return " || ".join(parts)


def quoted(text: str) -> str:
    """A string of the display filter language, bytes outside letters and digits escaped."""
    safe = "".join(sign if (sign.isalnum() and sign.isascii()) or sign in "@.-_~" else escaped(sign) for sign in text)
    return f'"{safe}"'


def escaped(sign: str) -> str:
    """One character as the bytes that it has on the wire."""
    return "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "surrogateescape"))


def decoded_streams(rated: RatedCall) -> tuple[RatedStream, ...]:
    """The streams whose packets are looked for: a command line holds the filters of so many."""
    return rated.streams[:MOST_STREAMS]


def stream_filter(stream: Stream, call: Call) -> str:
    """RTP of one stream, and RTCP from and about its sender: both directions, on the ports beside it (RFC 3550 11)."""
    src, dst = stream.src, stream.dst
    address = "ipv6.addr" if ":" in src.ip else "ip.addr"
    ssrc = f"0x{stream.ssrc:08x}"
    rtp = f"udp.srcport == {src.port} && udp.dstport == {dst.port} && rtp.ssrc == {ssrc}"
    rtcp = f"udp.port in {{{src.port}, {src.port + 1}, {dst.port}, {dst.port + 1}}}"
    rtcp += f" && (rtcp.senderssrc == {ssrc} || rtcp.ssrc.identifier == {ssrc})"
    if stream.last > 0:  # else the capture has no times
        rtp += between(stream.first - MARGIN, stream.last + MARGIN)
        rtcp += between(*report_times(stream, call))
    return f"({address} == {src.ip} && {address} == {dst.ip} && (({rtp}) || ({rtcp})))"


def report_times(stream: Stream, call: Call) -> tuple[int, int]:
    """When reports on a stream may come: in its call, or two intervals (RFC 3550 6.2) past the stream."""
    first = call.start if call.start <= stream.first else stream.first - REPORT_MARGIN
    last = stream.last + REPORT_MARGIN if call.end is None else max(stream.last, call.end) + MARGIN
    return first, last


def between(first: int, last: int) -> str:
    """A time of capture."""
    return f" && frame.time_epoch >= {epoch(first)} && frame.time_epoch <= {epoch(last)}"


def epoch(nanoseconds: int) -> str:
    """A time as the display filter takes it: seconds since the epoch, never before it."""
    seconds, rest = divmod(max(0, nanoseconds), 1_000_000_000)
    return f"{seconds}.{rest:09d}"


def decode_hints(rated: RatedCall) -> dict[str, str]:
    """What tshark cannot know of a capture that was joined in the middle: which ports carry RTP and SIP."""
    hints = {f"udp.port=={stream.stream.dst.port}": "rtp" for stream in decoded_streams(rated)}
    for leg in rated.call.legs:
        if leg.dst.port != DEFAULT_SIP_PORT and leg.transport in ("udp", "tcp"):
            hints[f"{leg.transport}.port=={leg.dst.port}"] = "sip"
    return hints


def decode_call(files: Sequence[str], rated: RatedCall, names: Pseudonyms | None) -> str:
    """Frames of a call as tshark reads them, a summary line each and the fields of SIP, SDP, RTP and RTCP below.

    `names` masks people: only fields that name nobody are printed; None prints every field.
    """
    chosen = display_filter(rated)
    lines = ["", f"Wireshark's decode of the frames that match: {chosen}"]
    if len(rated.streams) > MOST_STREAMS:
        lines.append(f"… the first {MOST_STREAMS} of {len(rated.streams):,} streams")
    count = 0
    for path in files:
        try:
            for packet in frames(path, chosen, decode_hints(rated)):
                count += 1
                if count > MOST_FRAMES:
                    break
                lines.extend(packet_lines(packet, names))
        except TsharkError as error:
            # A cut capture ends so after all that could be read.
            if not count:
                raise
            lines.append(f"… {error}")
    if count > MOST_FRAMES:
        lines.append(f"… the first {MOST_FRAMES:,} frames; Wireshark shows all with the filter above")
    elif not count:
        lines.append("… tshark finds no such frames")
    if names is not None:
        lines.append("Fields that may name people are left out; --show-numbers prints all.")
    return "\n".join(lines) + "\n"


def frames(path: str, chosen: str, hints: dict[str, str]) -> Iterator[Packet]:
    """Frames of one file that match, from tshark through pyshark."""
    import pyshark
    from pyshark.capture.capture import TSharkCrashException

    # pyshark takes the thread's event loop, and there is none once another was run and closed in it.
    try:
        asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())
    capture = pyshark.FileCapture(path, display_filter=chosen, decode_as=hints, keep_packets=False)
    try:
        try:
            yield from capture
        finally:
            capture.close()
            _forget_watcher()
    except TSharkCrashException as error:
        # tshark has ended by itself; pyshark would end it again, and complain on stderr when it is collected.
        capture._running_processes.clear()
        said = re.search(r"Last error line: (?:tshark: )?(.*)", str(error))
        raise TsharkError(f"tshark could not read on in {path}: {said[1] if said else 'it ended early'}") from None


def _forget_watcher() -> None:
    """Let asyncio watch children in its own way again: pyshark's watcher serves its own loop alone."""
    if sys.version_info < (3, 12):
        asyncio.get_event_loop_policy().set_child_watcher(None)  # type: ignore[arg-type]  # None is what it begins with


def packet_lines(packet: Packet, names: Pseudonyms | None) -> Iterator[str]:
    """One frame."""
    network = packet.ipv6 if "IPV6" in packet else packet.ip if "IP" in packet else None
    ends = f"{network.src} → {network.dst}" if network is not None else ""
    yield f"\nframe {packet.number}  {packet.sniff_timestamp}  {ends}  {packet.highest_layer}  {packet.length} octets"
    for layer in packet.layers:
        if layer.layer_name in LAYERS:
            yield f"  {layer.layer_name.upper()}"
            yield from (f"    {text}" for text in field_texts(layer.layer_name, layer_fields(layer), names is not None))


def layer_fields(layer: object) -> Iterator[tuple[str, str]]:
    """Names and printed forms of a layer's fields, repeated ones too."""
    for name in getattr(layer, "field_names", ()):
        container = layer.get_field(name)  # type: ignore[attr-defined]  # pyshark has no types
        for field in getattr(container, "all_fields", (container,)):
            shown = getattr(field, "showname", None)
            if shown:
                yield name, str(shown)


def field_texts(layer: str, fields: Iterable[tuple[str, str]], masked: bool) -> Iterator[str]:
    """Fields that may be printed."""
    for name, shown in fields:
        if SECRET_FIELD.search(name) or SECRET_VALUE.search(shown):
            continue
        if not masked or names_nobody(layer, name, shown):
            yield clean(shown)
