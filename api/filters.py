"""The words of `--filter`: `codec:pcma mos<3 state:failed`, typed once and tested on calls and streams alike.

A stream is kept when it meets every word; words that only a call can answer are asked of its call. A call is kept when
it meets every word that a call can answer, and one of its streams meets all the others.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from api.masking import Pseudonyms, split_uri
from api.rated import Rated, RatedCall, RatedStream
from collector.facts import CallState, Endpoint

Comparison = Callable[[float, float], bool]
COMPARISONS: Mapping[str, Comparison] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    ":": operator.eq,
    "!=": operator.ne,
}
WORD = re.compile(r"(?P<key>[a-z_]+)(?P<operator><=|>=|!=|<|>|=|:)(?P<value>\"[^\"]*\"|[^\s\"]+)", re.IGNORECASE)
UNITS: Mapping[str, float] = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
"""Seconds in each unit of a duration."""

FINDING_CODES = (
    "answer_not_acknowledged",
    "answer_not_seen",
    "burst_loss",
    "capture_drops",
    "capture_without_times",
    "clock_inferred",
    "clock_unknown",
    "codec_change",
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
    "redirected",
    "reordered",
    "sequence_restart",
    "silence",
    "srtp",
    "stray_bye",
    "t38",
    "timestamp_jump",
    "transfer_failed",
)
"""Codes of all findings; docs/output.md says what each means."""


class FilterError(ValueError):
    """A word of an expression that has no meaning; says which and what would have."""


class Number(NamedTuple):
    """A key that compares numbers; a missing number matches nothing."""

    doc: str
    stream: Callable[[RatedStream], float | None] | None = None
    call: Callable[[RatedCall], float | None] | None = None
    duration: bool = False
    """Takes a unit: `pdd>3s`, `duration<2min`; without one, seconds."""


class Text(NamedTuple):
    """A key that compares text; any of the candidates may match."""

    doc: str
    stream: Callable[[RatedStream], tuple[str, ...]] | None = None
    call: Callable[[RatedCall], tuple[str, ...]] | None = None
    prefix: bool = False
    """The beginning of a value is enough."""
    person: Callable[[RatedCall], str] | None = None
    """URI of the person who is asked for, too."""
    known: tuple[str, ...] = ()
    """All values that there are, where they can be listed; any other is a slip of the pen."""


def seconds(milliseconds: float | None) -> float | None:
    """Milliseconds as seconds."""
    return None if milliseconds is None else milliseconds / 1000


def either(*sides: Endpoint) -> tuple[str, ...]:
    """Addresses with and without their ports."""
    return tuple(text for side in sides for text in (side.ip, str(side)))


def user_and_uri(uri: str) -> tuple[str, ...]:
    """A URI, and its user part alone."""
    parts = split_uri(uri)
    return (uri,) if parts is None else (uri, parts.user)


def masked_party(uri: str, names: Pseudonyms) -> tuple[str, ...]:
    """A masked URI, its name and its host: what a report shows of a person."""
    masked = names.uri(uri)
    parts = split_uri(masked)
    return (masked,) if parts is None else (masked, parts.user, parts.host, parts.host.partition(":")[0])


KEYS: Mapping[str, Number | Text] = {
    "mos": Number("MOS", lambda s: s.quality.mos, lambda c: c.mos),
    "r": Number("R factor", lambda s: s.quality.r_factor),
    "loss": Number("packets lost in the network [%]", lambda s: s.stream.loss_percent),
    "lost": Number("packets lost in the network", lambda s: s.stream.lost),
    "jitter": Number(
        "mean interarrival jitter [ms]", lambda s: None if s.stream.jitter_ms is None else s.stream.jitter_ms.mean
    ),
    "gap": Number("largest time between packets [ms]", lambda s: s.stream.max_delta_ms),
    "burst": Number("burst ratio", lambda s: s.stream.burst_ratio),
    "packets": Number("packets of the stream", lambda s: s.stream.packets),
    "pdd": Number("post-dial delay", call=lambda c: seconds(c.call.post_dial_delay_ms), duration=True),
    "duration": Number("answer to BYE", call=lambda c: seconds(c.call.duration_ms), duration=True),
    "status": Number("final status of the INVITE", call=lambda c: c.call.status),
    "legs": Number("legs of the call", call=lambda c: len(c.call.legs)),
    "codec": Text("codec", lambda s: (s.stream.codec or "none",)),
    "ssrc": Text("SSRC, as 0x0123ABCD", lambda s: (f"0x{s.stream.ssrc:08X}",)),
    "dscp": Text(
        "a DSCP seen",
        lambda s: tuple(str(dscp) for dscp in s.stream.dscp),
        known=tuple(str(dscp) for dscp in range(64)),
    ),
    "role": Text("primary, hop or fork", lambda s: (s.stream.placement.role,), known=("primary", "hop", "fork")),
    "state": Text(
        "completed, failed, cancelled, unanswered or in-progress",
        call=lambda c: (c.call.state.value.replace(" ", "-"), c.call.state.value),
        known=tuple(state.value.replace(" ", "-") for state in CallState),
    ),
    "from": Text(
        "where it comes from: the beginning of an address, for a call also of the caller",
        lambda s: either(s.stream.src),
        lambda c: tuple(text for leg in c.call.legs for text in either(leg.src)),
        prefix=True,
        person=lambda c: c.call.from_uri,
    ),
    "to": Text(
        "where it goes to: the beginning of an address, for a call also of the callee",
        lambda s: either(s.stream.dst),
        lambda c: tuple(text for leg in c.call.legs for text in either(leg.dst)),
        prefix=True,
        person=lambda c: c.call.to_uri,
    ),
    "ip": Text(
        "an address on either side, or its beginning",
        lambda s: either(s.stream.src, s.stream.dst),
        lambda c: tuple(text for leg in c.call.legs for text in either(leg.src, leg.dst)),
        prefix=True,
    ),
    "call": Text(
        "a Call-ID, or its beginning",
        lambda s: (s.stream.call_id or "none",),
        lambda c: (c.call.call_id, *(leg.call_id for leg in c.call.legs)),
        prefix=True,
    ),
    "finding": Text(
        "code of a finding",
        lambda s: tuple(finding.code for finding in s.stream.findings),
        lambda c: (
            *(finding.code for finding in c.call.findings),
            *(finding.code for leg in c.call.legs for finding in leg.findings),
            *(finding.code for rated in c.streams for finding in rated.stream.findings),
        ),
        known=FINDING_CODES,
    ),
}


class Word(NamedTuple):
    """One parsed word, ready to ask of a stream or a call; None where that side cannot answer."""

    source: str
    stream: Callable[[RatedStream], bool] | None
    call: Callable[[RatedCall], bool] | None


def parse_filter(expression: str, names: Pseudonyms | None = None) -> tuple[Word, ...]:
    """Read an expression; FilterError names the first word that has no meaning.

    With `names`, people are asked for by their masked names alone and in full: otherwise a number could be found out
    digit by digit.
    """
    words: list[Word] = []
    position = 0
    while position < len(expression):
        if expression[position].isspace():
            position += 1
            continue
        match = WORD.match(expression, position)
        if match is None:
            culprit = expression[position:].split()[0]
            raise FilterError(f"--filter: “{culprit}” is not KEY:VALUE or KEY<NUMBER; keys are {', '.join(KEYS)}")
        words.append(parse_word(match, names))
        position = match.end()
    if not words:
        raise FilterError("--filter: the expression is empty")
    return tuple(words)


def parse_word(match: re.Match[str], names: Pseudonyms | None) -> Word:
    """Bind one word to its key."""
    key, symbol, value = match["key"].lower(), match["operator"], match["value"].strip('"')
    rule = KEYS.get(key)
    if rule is None:
        raise FilterError(f"--filter: there is no key “{match['key']}”; keys are {', '.join(KEYS)}")
    if isinstance(rule, Number):
        return number_word(match[0], rule, symbol, value)
    if symbol not in (":", "=", "!="):
        raise FilterError(f"--filter: “{match[0]}” compares text, which takes : or != only")
    return text_word(match[0], rule, symbol == "!=", tuple(part.casefold() for part in value.split(",") if part), names)


def number_word(source: str, rule: Number, symbol: str, value: str) -> Word:
    """A word that compares a number."""
    parts = re.fullmatch(r"(-?\d+(?:\.\d+)?)([a-z%]*)", value, re.IGNORECASE)
    if parts is None:
        raise FilterError(f"--filter: “{source}” needs a number, not “{value}”")
    limit, unit = float(parts[1]), parts[2].lower()
    if rule.duration:
        if unit not in UNITS:
            raise FilterError(f"--filter: “{source}” has an unknown unit “{parts[2]}”; ms, s, min and h are known")
        limit *= UNITS[unit]
    elif unit and f"[{unit}]" not in rule.doc:
        raise FilterError(f"--filter: “{source}” takes a bare number ({rule.doc})")
    compare, of_stream, of_call = COMPARISONS[symbol], rule.stream, rule.call

    def holds(number: float | None) -> bool:
        return number is not None and compare(number, limit)

    return Word(
        source,
        None if of_stream is None else lambda stream: holds(of_stream(stream)),
        None if of_call is None else lambda call: holds(of_call(call)),
    )


def check_known(source: str, rule: Text, wanted: tuple[str, ...]) -> None:
    """Refuse a value that nothing can have, and a word without any."""
    if not wanted:
        raise FilterError(f"--filter: “{source}” names no value")
    for value in wanted if rule.known else ():
        if value.replace(" ", "-") not in rule.known:
            raise FilterError(f"--filter: “{source}” has an unknown value “{value}”; known are {listed(rule.known)}")


def listed(values: tuple[str, ...]) -> str:
    """Values as a sentence names them; whole numbers by the first and the last."""
    return f"{values[0]} to {values[-1]}" if values[0].isdigit() else ", ".join(values)


def text_word(source: str, rule: Text, negated: bool, wanted: tuple[str, ...], names: Pseudonyms | None) -> Word:
    """A word that compares text; several values with commas are alternatives."""
    check_known(source, rule, wanted)
    of_stream, of_call, person = rule.stream, rule.call, rule.person

    def fits(candidates: tuple[str, ...], prefix: bool) -> bool:
        folded = [candidate.casefold() for candidate in candidates]
        if prefix:
            return any(candidate.startswith(wanted) for candidate in folded)
        return any(candidate in wanted for candidate in folded)

    def names_person(call: RatedCall) -> bool:
        if person is None:
            return False
        if names is None:
            return fits(user_and_uri(person(call)), rule.prefix)
        return fits(masked_party(person(call), names), False)

    return Word(
        source,
        None if of_stream is None else lambda stream: fits(of_stream(stream), rule.prefix) != negated,
        None if of_call is None else lambda call: (fits(of_call(call), rule.prefix) or names_person(call)) != negated,
    )


OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
ADDRESS_OR_NAME = re.compile(
    rf"{OCTET}(?:\.{OCTET}){{0,3}}\.?(?::\d{{0,5}})?|\[?[\da-f]{{0,4}}(?::[\da-f]{{0,4}}){{1,7}}\]?|p\d+|0x[\da-f]{{1,8}}",
    re.IGNORECASE,
)
"""What is no person's number: the beginning of an address, a masked name, an SSRC."""


def masked_expression(expression: str, names: Pseudonyms) -> str:
    """An expression as a masked report repeats it: without people's numbers and names."""

    def shown(part: str) -> str:
        return part if ADDRESS_OR_NAME.fullmatch(part) else names.text(part)

    def word(match: re.Match[str]) -> str:
        rule = KEYS.get(match["key"].lower())
        if isinstance(rule, Number) or match["key"].lower() == "call":
            return match[0]
        return match["key"] + match["operator"] + ",".join(map(shown, match["value"].split(",")))

    return WORD.sub(word, expression)


def select(rated: Rated, words: tuple[Word, ...]) -> Rated:
    """The calls and streams that match; the capture's totals stay those of the whole capture."""
    call_of = {leg.call_id: call for call in rated.calls for leg in call.call.legs}
    call_of.update({call.call.call_id: call for call in rated.calls})

    def stream_matches(stream: RatedStream) -> bool:
        call = call_of.get(stream.stream.call_id) if stream.stream.call_id is not None else None
        return all(
            word.stream(stream) if word.stream else call is not None and word.call is not None and word.call(call)
            for word in words
        )

    def call_matches(call: RatedCall) -> bool:
        if not all(word.call(call) for word in words if word.call):
            return False
        tests = [word.stream for word in words if word.call is None and word.stream is not None]
        return not tests or any(all(test(stream) for test in tests) for stream in call.streams)

    return rated._replace(
        streams=tuple(stream for stream in rated.streams if stream_matches(stream)),
        calls=tuple(call for call in rated.calls if call_matches(call)),
    )
