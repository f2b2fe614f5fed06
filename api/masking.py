"""Hides people's numbers and dialled digits: what a report shows by default.

A person becomes `p1`, `p2`, ... in order of appearance: the same within one report, and nothing of the number is kept
in it. Partial digits or plain hashes would be reversible by trying all numbers of a site.
"""

from __future__ import annotations

import re
from dataclasses import replace

from api.rated import Rated, RatedCall, RatedStream
from collector.facts import Call, FarEnd, Finding, Leg, Reason, Replay, Stream, TelephoneEvent

EMERGENCY = frozenset({"112", "999", "911", "000"})
"""Never masked: they name a service, and hiding them would hide the calls that matter most."""
NOBODY = frozenset({"", "anonymous", "unavailable", "unknown"})
"""User parts that name no person (RFC 3323 4.1.1.3)."""
MASKED_DIGIT = -1
"""`TelephoneEvent.event` of a hidden digit."""
LAST_DIGIT = 15
"""Events 0 to 15 are digits, `*`, `#` and A to D (RFC 4733 3.2)."""

URI = re.compile(r"(?i)\b(sips?|tel|im|pres):([^\s<>\"',;?]*)([^\s<>\"',]*)")
NUMBER = re.compile(r"\+?[\d\-.() ]+")
SEPARATORS = re.compile(r"[-.() ]")
SHORTEST_WORD = 5
"""Shorter user parts are not looked for in free text: they would match counts and status codes."""
WORD = re.compile(rf"\+?[\w.]{{{SHORTEST_WORD},}}")


class Pseudonyms:
    """Gives each user part its name; one object serves one report."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._uris: dict[str, str] = {}

    def name(self, user: str) -> str:
        """Name of a user part."""
        # Visual separators do not make another number (RFC 3966 5.1.1).
        key = SEPARATORS.sub("", user) if NUMBER.fullmatch(user) else user.casefold()
        if key in EMERGENCY or key in NOBODY:
            return user
        return self._names.setdefault(key, f"p{len(self._names) + 1}")

    def uri(self, value: str) -> str:
        """A URI, name-addr or bare user with its person replaced; display name, password and parameters are dropped."""
        masked = self._uris.get(value)
        if masked is None:
            match = URI.search(value)
            masked = self._masked(match) if match is not None else self.name(value.strip())
            self._uris[value] = masked
        return masked

    def text(self, value: str) -> str:
        """Free text with every URI and every user part named so far replaced."""
        if ":" in value:
            value = URI.sub(self._masked, value)
        return WORD.sub(self._known, value) if len(value) >= SHORTEST_WORD else value

    def _known(self, match: re.Match[str]) -> str:
        word = match[0]
        return self._names.get(word) or self._names.get(word.casefold()) or word

    def _masked(self, match: re.Match[str]) -> str:
        scheme, body, _ = match.groups()
        if scheme.lower() == "tel":
            return f"{scheme}:{self.name(body)}"
        user, at, host = body.rpartition("@")
        return f"{scheme}:{self.name(user.partition(':')[0])}{at}{host}" if at else f"{scheme}:{host}"

    def maybe(self, value: str | None) -> str | None:
        """`uri`, or None."""
        return None if value is None else self.uri(value)


def mask_replay(replay: Replay, names: Pseudonyms) -> Replay:
    """A replay that names no person and holds no dialled digit."""
    # Calls first: the names that they teach are then found in the texts of streams.
    calls = tuple(mask_call(call, names) for call in replay.calls)
    streams = tuple(mask_stream(stream, names) for stream in replay.streams)
    return replace(replay, calls=calls, streams=streams, notes=mask_findings(replay.notes, names))


def mask_rated(rated: Rated, names: Pseudonyms) -> Rated:
    """A rated replay that names no person; names follow the whole replay, whatever was chosen of it."""
    replay = mask_replay(rated.replay, names)
    calls = {id(plain): masked for plain, masked in zip(rated.replay.calls, replay.calls, strict=True)}
    streams = {id(plain): masked for plain, masked in zip(rated.replay.streams, replay.streams, strict=True)}

    def masked_stream(stream: RatedStream) -> RatedStream:
        return stream._replace(stream=streams[id(stream.stream)])

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
    return rated._replace(stream=mask_stream(rated.stream, names))


def mask_call(call: Call, names: Pseudonyms) -> Call:
    """A call that names no person."""
    from_uri, to_uri = names.uri(call.from_uri), names.uri(call.to_uri)
    return replace(
        call,
        from_uri=from_uri,
        to_uri=to_uri,
        legs=tuple(mask_leg(leg, names) for leg in call.legs),
        status_text=None if call.status_text is None else names.text(call.status_text),
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
        status_text=None if leg.status_text is None else names.text(leg.status_text),
        reason=mask_reason(leg.reason, names),
        findings=mask_findings(leg.findings, names),
    )


def mask_stream(stream: Stream, names: Pseudonyms) -> Stream:
    """A stream without dialled digits and without a person in its CNAME."""
    return replace(
        stream,
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
    if URI.search(far_end.cname):
        return far_end._replace(cname=names.uri(far_end.cname))
    user, at, host = far_end.cname.rpartition("@")
    return far_end._replace(cname=f"{names.name(user)}@{host}" if at else names.text(host))


def mask_reason(reason: Reason | None, names: Pseudonyms) -> Reason | None:
    """A Reason whose text names no person."""
    return None if reason is None else reason._replace(text=names.text(reason.text))


def mask_findings(findings: tuple[Finding, ...], names: Pseudonyms) -> tuple[Finding, ...]:
    """Findings whose sentences name no person."""
    return tuple(finding._replace(text=names.text(finding.text)) for finding in findings)
