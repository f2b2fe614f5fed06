"""Hides people's numbers and dialled digits: what a report shows by default.

A person becomes `p1`, `p2`, ... in order of appearance: the same within one report, and nothing of the number is kept
in it. Partial digits or plain hashes would be reversible by trying all numbers of a site.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import unquote

from api.phrases import METHODS, reason_text, status_phrase
from api.rated import Quality, Rated, RatedCall, RatedStream
from collector.facts import (
    Call,
    CodecFormat,
    FarEnd,
    Finding,
    Leg,
    NegotiatedMedia,
    Reason,
    Replay,
    SipTotals,
    Stream,
    TelephoneEvent,
)

EMERGENCY = frozenset({"112", "999", "911", "000"})
"""Never masked: they name a service, and hiding them would hide the calls that matter most."""
NOBODY = frozenset({"", "anonymous", "unavailable", "unknown"})
"""User parts that name no person (RFC 3323 4.1.1.3)."""
SERVICE = re.compile(r"urn:service:[a-z.\-]+", re.IGNORECASE)
"""Names a service, such as `urn:service:sos` (RFC 5031 4.2)."""
MASKED_DIGIT = -1
"""`TelephoneEvent.event` of a hidden digit."""
LAST_DIGIT = 15
"""Events 0 to 15 are digits, `*`, `#` and A to D (RFC 4733 3.2)."""
MASK = "***"
"""Stands for a number in free text that no URI has named."""

SCHEME = re.compile(r"\b(sips?|tel|im|pres):", re.IGNORECASE)
PLAIN_NUMBER = re.compile(r"sips?:\+?([1-9]\d{3,14})@[^@]*", re.ASCII)
HOST = re.compile(r"(?:\[[\da-fA-F:.]+\]|[\w.\-]+)(?::\d+)?")
HOST_AND_END = re.compile(rf"({HOST.pattern})(?=\s*(?:$|[;?,>]))")
BRACKET_END = re.compile(r">(?=\s*(?:[;,]|$))")
NUMBER = re.compile(r"\+?[\-.() ]*\d[\d\-.() ]*")
SEPARATORS = re.compile(r"[-.() ]")
PARAMETERS = re.compile(r"[;,?]")
INTERNATIONAL_PREFIX = re.compile(r"^(?:\+|00(?=[1-9]\d{6}))")
"""`+`, or `00` before as many digits as only a subscriber's number has."""
SHORTEST_WORD = 5
"""Shorter user parts are not looked for in free text: they would match counts and status codes."""
WORD = re.compile(r"\+?[\w.'\-]{3,}")
PART = re.compile(r"[^\W\d_]{3,}")
"""A given or family name inside a user part such as `jane.roe`."""
BETWEEN_DIGITS = re.compile(r"[^\w+]|_")
DIGITS = re.compile(r"\+?\(?\d(?:[\W_]*\d){4,}")
"""Five digits or more, whatever stands between them: too long for a status code or a cause."""
LONG_DIGITS = re.compile(r"(=?)(\+?\d(?:[-.() ]{0,2}\d){6,})")
"""As long as a subscriber's number; parameters of codecs are shorter, but for bit rates."""
BIT_RATE = re.compile(r"=[1-9]\d{6,8}")
HOST_DIGITS = re.compile(r"\+?\d{7,}")
"""No part of an IP address is so long."""
TEXT_URI = re.compile(
    r"""
    \b(?:sips?|im|pres):
      (?: (?: [^\s<>"]*@ | [^<>"@]*@ ) (?: \[[\da-f:.]+\] | [\w.\-]+ )? (?: :\d+ )? (?: [;?][^\s<>"]* )?
        | [^\s<>"]* )
    | \btel: [\s+\d().\-]* [^\s<>"]*
    | (?:^|(?<=[\s<>"])) [^\s<>"]+@ [\w.\-]*
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""URIs in free text; from a scheme to an `@`, whatever stands between, for user parts may hold nearly anything."""


class UriParts(NamedTuple):
    """A SIP or tel URI taken apart; parameters, headers and whatever else follows are left out."""

    scheme: str
    user: str
    host: str


def split_uri(value: str) -> UriParts | None:
    """Parts of a URI or name-addr; None without a known scheme.

    The user part is all up to the last `@`: it may hold `; , ? '` and parameters of its own (RFC 3261 25.1). Without
    an `@` only an IP address is surely no person.
    """
    match = SCHEME.search(value)
    if match is None:
        return None
    rest = value[match.end() :].strip()
    if "<" in value[: match.start()]:
        rest = BRACKET_END.split(rest, maxsplit=1)[0]
    user, at, tail = rest.rpartition("@")
    if match[1].lower() == "tel":
        return UriParts(match[1], rest, "")
    found = HOST_AND_END.match(tail)
    host = found[1] if found is not None else ""
    if at:
        return UriParts(match[1], user, host)
    return UriParts(match[1], "", host) if is_address(host) else UriParts(match[1], rest, "")


def is_address(host: str) -> bool:
    """Whether a host is an IP address, with or without a port."""
    bare = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return False
    return True


def number_key(written: str) -> str | None:
    """A number without its visual separators (RFC 3966 5.1.1) and international prefix; None when it is none."""
    if not NUMBER.fullmatch(written):
        return None
    return INTERNATIONAL_PREFIX.sub("", SEPARATORS.sub("", written))


class Pseudonyms:
    """Gives each user part its name; one object serves one report."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._parts: dict[str, str] = {}
        self._uris: dict[str, str] = {}
        self._hosts: dict[str, str] = {}

    def meet(self, value: str) -> None:
        """Name the person of a URI, of which nothing else is kept."""
        plain = PLAIN_NUMBER.fullmatch(value)
        if plain is not None:
            # Most URIs of most captures, and a capture may hold a million.
            if plain[1] not in self._names:
                self._names[plain[1]] = f"p{len(self._names) + 1}"
            return
        parts = split_uri(value)
        if parts is not None and parts.user:
            self.name(parts.user)

    def name(self, user: str) -> str:
        """Name of a user part."""
        plain = user if user.isalnum() else unquote(user.partition(":")[0]).strip()
        # Parameters of a number are no part of it (RFC 3966 3); elsewhere they may tell people apart.
        number = number_key(PARAMETERS.split(plain, maxsplit=1)[0].strip())
        key = plain.casefold() if number is None else number
        if key in EMERGENCY or key in NOBODY:
            return key
        known = self._names.get(key)
        if known is None:
            known = self._names[key] = f"p{len(self._names) + 1}"
            if number is None:
                for part in PART.findall(key):
                    self._parts.setdefault(part, known)
        return known

    def uri(self, value: str) -> str:
        """A URI, name-addr or bare user with its person replaced; display name, password and parameters are dropped."""
        masked = self._uris.get(value)
        if masked is None:
            masked = self._uris[value] = self._masked(value)
        return masked

    def _masked(self, value: str) -> str:
        parts = split_uri(value)
        if parts is None:
            bare = value.strip()
            return bare if SERVICE.fullmatch(bare) else self.name(bare)
        scheme, user, host = parts
        if not host:
            return f"{scheme}:{self.name(user)}"
        return f"{scheme}:{self.name(user)}@{self.host(host)}" if user else f"{scheme}:{self.host(host)}"

    def host(self, host: str) -> str:
        """A host as it is, unless a number stands in its place."""
        masked = self._hosts.get(host)
        if masked is None:
            if number_key(host.partition(":")[0]) is not None and not is_address(host):
                masked = self.name(host)
            else:
                masked = HOST_DIGITS.sub(lambda match: self.name(match[0]), host)
            self._hosts[host] = masked
        return masked

    def text(self, value: str) -> str:
        """Free text without URIs, without runs of five digits or more, and without the people named so far."""
        return self._between_uris(value, self._words)

    def media(self, value: str) -> str:
        """A codec's name or parameters without URIs and without digits that may be a person's number."""
        return self._between_uris(value, lambda plain: LONG_DIGITS.sub(self._long_digits, plain))

    def _between_uris(self, value: str, mask: Callable[[str], str]) -> str:
        pieces: list[str] = []
        end = 0
        if ":" in value or "@" in value:
            for match in TEXT_URI.finditer(value):
                pieces += mask(value[end : match.start()]), self._text_uri(match[0])
                end = match.end()
        return "".join((*pieces, mask(value[end:])))

    def _text_uri(self, found: str) -> str:
        if SCHEME.search(found):
            return self.uri(found)
        user, _, host = found.rpartition("@")
        return f"{self.name(user)}@{self.host(host)}"

    def _words(self, plain: str) -> str:
        if len(plain) < 3:
            return plain
        return WORD.sub(self._word, DIGITS.sub(self._digits, plain))

    def _digits(self, match: re.Match[str]) -> str:
        return self._names.get(INTERNATIONAL_PREFIX.sub("", BETWEEN_DIGITS.sub("", match[0])), MASK)

    def _long_digits(self, match: re.Match[str]) -> str:
        if BIT_RATE.fullmatch(match[0]):
            return match[0]
        return match[1] + self._names.get(number_key(match[2]) or "", MASK)

    def _word(self, match: re.Match[str]) -> str:
        word = match[0].casefold()
        known = self._names.get(word.rstrip(".")) if len(word) >= SHORTEST_WORD else None
        return known or PART.sub(lambda part: self._parts.get(part[0].casefold(), part[0]), match[0])

    def maybe(self, value: str | None) -> str | None:
        """`uri`, or None."""
        return None if value is None else self.uri(value)


def name_people(replay: Replay, names: Pseudonyms) -> None:
    """Name the parties of all calls in their order: so a name is the same in each format and choice of one input."""
    for call in replay.calls:
        names.meet(call.from_uri)
        names.meet(call.to_uri)
        for leg in call.legs:
            for uri in (leg.from_uri, leg.to_uri, leg.request_uri, leg.transferred_to):
                if uri is not None and uri != call.from_uri and uri != call.to_uri:
                    names.meet(uri)


def mask_replay(replay: Replay, names: Pseudonyms) -> Replay:
    """A replay that names no person and holds no dialled digit."""
    # People first: their names are then found in all texts.
    name_people(replay, names)
    calls = tuple(mask_call(call, names) for call in replay.calls)
    streams = tuple(mask_stream(stream, names) for stream in replay.streams)
    sip = mask_sip(replay.sip)
    return replace(replay, sip=sip, calls=calls, streams=streams, notes=mask_findings(replay.notes, names))


def mask_sip(totals: SipTotals) -> SipTotals:
    """Totals without methods that a device made up: they are counted as `other`."""
    return replace(totals, methods=mask_methods(totals.methods), transactions=mask_methods(totals.transactions))


def mask_methods(counted: Mapping[str, int]) -> Mapping[str, int]:
    """Requests by registered method."""
    masked: Counter[str] = Counter()
    for method, count in counted.items():
        masked[method if method in METHODS else "other"] += count
    return dict(masked)


def mask_rated(rated: Rated, names: Pseudonyms) -> Rated:
    """A rated replay that names no person; names follow the whole replay, whatever was chosen of it."""
    replay = mask_replay(rated.replay, names)
    calls = {id(plain): masked for plain, masked in zip(rated.replay.calls, replay.calls, strict=True)}
    streams = {id(plain): masked for plain, masked in zip(rated.replay.streams, replay.streams, strict=True)}

    def masked_stream(stream: RatedStream) -> RatedStream:
        return RatedStream(streams[id(stream.stream)], mask_quality(stream.quality, names))

    return Rated(
        replay,
        tuple(map(masked_stream, rated.streams)),
        tuple(
            call._replace(call=calls[id(call.call)], streams=tuple(map(masked_stream, call.streams)))
            for call in rated.calls
        ),
        rated.scores,
    )


def mask_rated_call(rated: RatedCall, names: Pseudonyms) -> RatedCall:
    """A call with its streams that names no person."""
    call = mask_call(rated.call, names)
    return rated._replace(call=call, streams=tuple(mask_rated_stream(stream, names) for stream in rated.streams))


def mask_rated_stream(rated: RatedStream, names: Pseudonyms) -> RatedStream:
    """A stream that names no person."""
    return RatedStream(mask_stream(rated.stream, names), mask_quality(rated.quality, names))


def mask_quality(quality: Quality, names: Pseudonyms) -> Quality:
    """A rating whose explanation, which may quote the codec's name, names no person."""
    return quality if quality.reason is None else quality._replace(reason=names.media(quality.reason))


def mask_call(call: Call, names: Pseudonyms) -> Call:
    """A call that names no person."""
    from_uri, to_uri = names.uri(call.from_uri), names.uri(call.to_uri)
    return replace(
        call,
        from_uri=from_uri,
        to_uri=to_uri,
        legs=tuple(mask_leg(leg, names) for leg in call.legs),
        status_text=None if call.status_text is None else status_phrase(call.status, call.status_text),
        reason=mask_reason(call.reason, names),
        findings=mask_findings(call.findings, names),
    )


def mask_leg(leg: Leg, names: Pseudonyms) -> Leg:
    """A leg that names no person."""
    from_uri, to_uri, request_uri = names.uri(leg.from_uri), names.uri(leg.to_uri), names.uri(leg.request_uri)
    return replace(
        leg,
        from_uri=from_uri,
        to_uri=to_uri,
        request_uri=request_uri,
        transferred_to=names.maybe(leg.transferred_to),
        status_text=None if leg.status_text is None else status_phrase(leg.status, leg.status_text),
        reason=mask_reason(leg.reason, names),
        media=tuple(mask_media(media, names) for media in leg.media),
        findings=mask_findings(leg.findings, names),
    )


def mask_stream(stream: Stream, names: Pseudonyms) -> Stream:
    """A stream without dialled digits and without a person in its CNAME."""
    return replace(
        stream,
        codec=None if stream.codec is None else names.media(stream.codec),
        codec_changes=tuple(
            change._replace(old=names.media(change.old), new=names.media(change.new)) for change in stream.codec_changes
        ),
        telephone_events=tuple(mask_event(event) for event in stream.telephone_events),
        far_end=mask_far_end(stream.far_end, names),
        findings=mask_findings(stream.findings, names),
    )


def mask_event(event: TelephoneEvent) -> TelephoneEvent:
    """A telephone-event that no longer says which digit it was; flash and tones stay."""
    return event._replace(event=MASKED_DIGIT) if 0 <= event.event <= LAST_DIGIT else event


def mask_far_end(far_end: FarEnd | None, names: Pseudonyms) -> FarEnd | None:
    """A far end whose CNAME (user@host, RFC 3550 6.5.1) names no person."""
    if far_end is None or far_end.cname is None:
        return far_end
    user, at, host = far_end.cname.rpartition("@")
    if SCHEME.search(far_end.cname):
        cname = names.uri(far_end.cname)
    elif at:
        cname = f"{names.name(user)}@{names.host(host)}"
    else:
        cname = host if is_address(host) else names.name(host)
    return far_end._replace(cname=cname)


def mask_media(media: NegotiatedMedia, names: Pseudonyms) -> NegotiatedMedia:
    """A media line whose words, all free for a device to choose, hold no number."""
    return media._replace(
        endpoint=media.endpoint._replace(ip=names.host(media.endpoint.ip)),
        rtcp=None if media.rtcp is None else media.rtcp._replace(ip=names.host(media.rtcp.ip)),
        kind=names.media(media.kind),
        protocol=names.media(media.protocol),
        formats={number: mask_format(codec, names) for number, codec in media.formats.items()},
    )


def mask_format(codec: CodecFormat, names: Pseudonyms) -> CodecFormat:
    """A payload format without a number in its name or parameters."""
    return codec._replace(name=names.media(codec.name), fmtp=names.media(codec.fmtp))


def mask_reason(reason: Reason | None, names: Pseudonyms) -> Reason | None:
    """A Reason whose text names no person."""
    if reason is None:
        return None
    text = reason_text(reason.protocol, reason.cause, reason.text)
    return reason._replace(protocol=names.media(reason.protocol), text=text)


OWN_WORDS = frozenset(
    {
        "answer_not_acknowledged",
        "answer_not_seen",
        "burst_loss",
        "capture_drops",
        "clock_inferred",
        "clock_unknown",
        "digits_dropped",
        "dscp_mixed",
        "dscp_zero",
        "duplicates",
        "event_only",
        "fork",
        "forked",
        "heard_more_than_once",
        "hold",
        "hop",
        "joined_in_the_middle",
        "media_not_listed",
        "mirror_copies",
        "multicast",
        "no_media",
        "one_way_audio",
        "pause",
        "reordered",
        "sequence_restart",
        "silence",
        "srtp",
        "stray_bye",
        "t38",
        "timestamp_jump",
        "transfer_failed",
    }
)
"""Findings that quote no message: their sentences hold counts, times and addresses of packets."""


def mask_finding(finding: Finding, names: Pseudonyms) -> Finding:
    """A finding whose sentence names no person."""
    if finding.code in OWN_WORDS:
        return finding
    mask = names.media if finding.code == "codec_change" else names.text
    return finding._replace(text=mask(finding.text))


def mask_findings(findings: tuple[Finding, ...], names: Pseudonyms) -> tuple[Finding, ...]:
    """Findings whose sentences name no person."""
    return tuple(mask_finding(finding, names) for finding in findings)
