"""Words that choose calls and streams of the store: `site:ashcombe mos<3 codec:pcma`, made into SQL.

The same words as `callgauge replay --filter` where the store holds what they ask for. A call is kept when it meets
every word that a call can answer, and one of its streams meets all the others; a stream when it meets every word,
and its call those that only a call can answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from analytics.questions.asking import POOR_MOS, QuestionError, key_number

WORD = re.compile(r"(?P<key>[a-z_]+)(?P<operator><=|>=|!=|<|>|=|:)(?P<value>\"[^\"]*\"|[^\s\"]+)", re.IGNORECASE)
MOST_WORDS: Final = 20
MOST_VALUES: Final = 50
MOST_LETTERS: Final = 2_000
UNITS: Final[Mapping[str, float]] = MappingProxyType(
    {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
)
"""Seconds in each unit of a duration."""
LEAST_DIGITS: Final = 7
"""Numbers of so many digits are the same with and without a prefix of country or trunk."""
STATES: Final = ("completed", "unanswered", "failed", "cancelled", "in-progress")
QUALITIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "poor": f"mos < {POOR_MOS}",
        "fair": f"mos >= {POOR_MOS} AND mos < 4.0",
        "good": "mos >= 4.0",
        "unrated": "mos IS NULL",
    }
)
"""Poor is below 3.6; good from 4.0 on (G.107 Annex B)."""


class Number(NamedTuple):
    """A word that compares a number; a missing number matches nothing."""

    doc: str
    call: str | None = None
    """SQL over `calls`."""
    stream: str | None = None
    """SQL over `streams`."""
    duration: bool = False
    """Takes a unit; SQL is in seconds."""


class Text(NamedTuple):
    """A word that compares text, whatever its case; several values with commas are alternatives."""

    doc: str
    call: tuple[str, ...] = ()
    """Columns of `calls`; any may match."""
    stream: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    """Of those, columns in which the beginning is enough."""
    numbers: tuple[str, ...] = ()
    """Of those, columns that hold people's numbers."""
    known: tuple[str, ...] = ()
    """All values that there are, where they can be listed."""


KEYS: Final[Mapping[str, Number | Text]] = MappingProxyType(
    {
        "mos": Number("MOS; of a call the lowest of its streams", "mos", "mos"),
        "quality": Text("poor (MOS under 3.6), fair, good (from 4.0 on) or unrated", known=tuple(QUALITIES)),
        "r": Number("R factor", stream="r_factor"),
        "loss": Number("packets lost [%]", stream="100.0 * lost / nullif(expected, 0)"),
        "lost": Number("packets lost", stream="lost"),
        "jitter": Number("interarrival jitter [ms]", stream="jitter_ms"),
        "pdv": Number("95th percentile of packet delay variation [ms]", stream="pdv_p95_ms"),
        "burst": Number("burst ratio", stream="burst_ratio"),
        "packets": Number("packets of the stream", stream="packets"),
        "pdd": Number("post-dial delay", "pdd_ms / 1000", duration=True),
        "duration": Number("answer to end", "seconds", duration=True),
        "status": Text("final SIP status, as 486 or 4xx", ("status",)),
        "legs": Number("legs of the call", "legs"),
        "streams": Number("streams of the call", "streams"),
        "state": Text(f"{', '.join(STATES[:-1])} or {STATES[-1]}", ("state",), known=STATES),
        "site": Text("site on either side", ("site", "other_site"), ("site", "other_site")),
        "from_site": Text("site that called or sent", ("site",), ("site",)),
        "to_site": Text("site that was called or received", ("other_site",), ("other_site",)),
        "codec": Text("codec", stream=("codec",)),
        "dscp": Text("DSCP of most of its packets", stream=("dscp",), known=tuple(map(str, range(64)))),
        "ssrc": Text("SSRC, as 0x0123ABCD", stream=("ssrc",)),
        "evidence": Text("measured, reported or modelled", stream=("evidence",)),
        "number": Text(
            "number on either side: digits, with or without prefix; 0207* for its beginning",
            ("calling", "called"),
            numbers=("calling", "called"),
        ),
        "from": Text(
            "where it comes from: the beginning of an address, or of a call the number",
            ("from_address", "calling"),
            ("from_address",),
            ("from_address",),
            ("calling",),
        ),
        "to": Text(
            "where it goes to: the beginning of an address, or of a call the number",
            ("to_address", "called"),
            ("to_address",),
            ("to_address",),
            ("called",),
        ),
        "ip": Text(
            "an address on either side, or its beginning",
            ("from_address", "to_address"),
            ("from_address", "to_address"),
            ("from_address", "to_address"),
        ),
        "call": Text("key of a call, or the beginning of its Call-ID", ("call_id",), prefix=("call_id",)),
        "source": Text("capture or agent, or its beginning", ("source",), ("source",), ("source",)),
    }
)


class Condition(NamedTuple):
    """One word: `key` of KEYS, its comparison, and its values."""

    key: str
    operator: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        value = ",".join(self.values)
        return f'{self.key}{self.operator}"{value}"' if " " in value else f"{self.key}{self.operator}{value}"

    @property
    def seeks_person(self) -> bool:
        """Whether it asks for a person's number or name, and who asks learns that it is there."""
        rule = KEYS[self.key]
        if not isinstance(rule, Text) or not rule.numbers:
            return False
        return (self.key == "number" and bool(self.values)) or not all(map(_is_address, self.values))


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions of one table as SQL with its parameters."""

    sql: str
    parameters: tuple[Any, ...]


def parse_words(text: str) -> tuple[Condition, ...]:
    """Read words; QuestionError names the first that has no meaning."""
    if len(text) > MOST_LETTERS:
        raise QuestionError(f"the filter is longer than {MOST_LETTERS:,} letters")
    found: list[Condition] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = WORD.match(text, at)
        if match is None:
            culprit = text[at:].split()[0][:60]
            raise QuestionError(f"“{culprit}” is not KEY:VALUE or KEY<NUMBER; keys are {', '.join(KEYS)}")
        value = match["value"].strip('"')
        found.append(condition(match["key"].lower(), match["operator"], value.split(",")))
        at = match.end()
    if len(found) > MOST_WORDS:
        raise QuestionError(f"a filter has at most {MOST_WORDS} words")
    return tuple(found)


def condition(key: str, operator: str, values: Sequence[str]) -> Condition:
    """Check one word; QuestionError says what is wrong with it."""
    rule = KEYS.get(key)
    kept = tuple(value for value in values if value)
    word = Condition(key, operator, kept)
    if rule is None:
        raise QuestionError(f"there is no key “{key[:60]}”; keys are {', '.join(KEYS)}")
    if not kept or len(kept) > MOST_VALUES:
        raise QuestionError(f"“{key}” names no value" if not kept else f"“{key}” names more than {MOST_VALUES} values")
    if isinstance(rule, Number):
        if len(kept) > 1:
            raise QuestionError(f"“{word}” compares with one number")
        _limit(rule, word)
        return word
    if operator not in (":", "=", "!="):
        raise QuestionError(f"“{word}” compares text, which takes : or != only")
    for value in kept:
        _check_value(rule, word, value)
    return word


def _check_value(rule: Text, word: Condition, value: str) -> None:
    folded = value.casefold().replace(" ", "-")
    if rule.known and folded not in rule.known:
        raise QuestionError(f"“{word}” has an unknown value “{value}”; known are {', '.join(rule.known)}")
    if word.key == "status" and not re.fullmatch(r"[1-6](?:\d\d|xx)", folded):
        raise QuestionError(f"“{word}”: a status is 100 to 699, or a class as 4xx")
    if word.key == "ssrc" and not re.fullmatch(r"0x[0-9a-f]{1,8}|\d{1,10}", folded):
        raise QuestionError(f"“{word}”: an SSRC is written 0x0123ABCD")


def _limit(rule: Number, word: Condition) -> float:
    parts = re.fullmatch(r"(-?\d{1,15}(?:\.\d{1,15})?)([a-z%]*)", word.values[0], re.IGNORECASE)
    if parts is None:
        raise QuestionError(f"“{word}” needs a number, not “{word.values[0][:60]}”")
    unit = parts[2].lower()
    if rule.duration:
        if unit not in UNITS:
            raise QuestionError(f"“{word}” has an unknown unit “{parts[2]}”; ms, s, min and h are known")
        return float(parts[1]) * UNITS[unit]
    if unit and f"[{unit}]" not in rule.doc:
        raise QuestionError(f"“{word}” takes a bare number ({rule.doc})")
    return float(parts[1])


def answers(word: Condition, table: str) -> bool:
    """Whether a table (`calls` or `streams`) can answer a word."""
    rule = KEYS[word.key]
    if word.key == "quality":
        return True
    return bool(rule.call if table == "calls" else rule.stream)


def where(words: Sequence[Condition], table: str) -> Where:
    """Return the conditions of those words that a table can answer; all hold."""
    parts: list[str] = []
    parameters: list[Any] = []
    for word in words:
        if answers(word, table):
            sql, values = _sql(word, table)
            parts.append(f"({sql})")
            parameters += values
    return Where(" AND ".join(parts) or "true", tuple(parameters))


def ending(column: str) -> str:
    """Return the name of the column in memory that holds a number's last four digits as a number."""
    return f"{column}_ending"


def ending_sql(column: str) -> str:
    """Return what that column is made of; of other texts it holds anything or nothing."""
    return f"TRY_CAST(right({column}, 4) AS SMALLINT)"


def narrowed(words: Sequence[Condition]) -> str:
    """Return what all rows that meet `number` words have in those columns; empty where that cannot be said.

    Whole numbers are compared a hundred times faster than texts.
    """
    parts = []
    for word in words:
        endings = [_last_digits(value) for value in word.values]
        if word.key == "number" and word.operator != "!=" and None not in endings:
            listed = ", ".join(map(str, endings))
            columns = KEYS["number"].call or ()
            parts.append(f"({' OR '.join(f'{ending(column)} IN ({listed})' for column in columns)})")
    return " AND ".join(parts)


def _last_digits(value: str) -> int | None:
    """Return what the last four letters of every column that matches a value are, where they are digits."""
    if value.endswith("*") and _digits(value):
        return None
    last = (_digits(value) or value.removeprefix("="))[-4:]
    return int(last) if re.fullmatch(r"\d{4}", last, re.ASCII) else None


def _sql(word: Condition, table: str) -> tuple[str, list[Any]]:
    rule = KEYS[word.key]
    if isinstance(rule, Number):
        expression = rule.call if table == "calls" else rule.stream
        sign = {":": "=", "!=": "<>"}.get(word.operator, word.operator)
        return f"{expression} {sign} ?", [_limit(rule, word)]
    if word.key == "quality":
        found = " OR ".join(f"({QUALITIES[value.casefold()]})" for value in word.values)
        return (f"NOT ({found})" if word.operator == "!=" else found), []
    parts: list[str] = []
    parameters: list[Any] = []
    for column in rule.call if table == "calls" else rule.stream:
        for value in word.values:
            sql, values = _matches(rule, word.key, column, value)
            parts.append(sql)
            parameters += values
    found = " OR ".join(parts)
    return (f"NOT coalesce({found}, false)" if word.operator == "!=" else found), parameters


def _matches(rule: Text, key: str, column: str, value: str) -> tuple[str, list[Any]]:
    folded = value.casefold()
    if column in rule.numbers:
        # For `number` no address is meant: a number may be written with dots.
        return ("false", []) if key != "number" and _is_address(value) else _same_number(column, value)
    if column == "status":
        return f"{column} BETWEEN ? AND ?", [int(folded[0]) * 100, int(folded[0]) * 100 + 99] if "x" in folded else [
            int(folded),
            int(folded),
        ]
    if column == "ssrc":
        return f"{column} = ?", [int(folded, 16 if folded.startswith("0x") else 10)]
    if column == "dscp":
        return f"{column} = ?", [int(folded)]
    if column == "state":
        return f"replace({column}, ' ', '-') = ?", [folded.replace(" ", "-")]
    if key == "call" and re.fullmatch(r"[0-9a-f]{16}", folded):
        return f"call_key = ? OR starts_with({column}, ?)", [key_number(folded), value]
    if column in rule.prefix:
        return f"starts_with({column}, ?)", [value]
    return f"lower({column}) = ?", [folded]


def _is_address(value: str) -> bool:
    """Whether a value is an IP address or its beginning, and no number."""
    return ("." in value or ":" in value) and re.fullmatch(r"[0-9a-fA-F.:\[\]]+", value) is not None


def _digits(value: str) -> str:
    """Digits of a number as people write it; empty where it is none."""
    bare = re.sub(r"[\s().\-]", "", value.removesuffix("*")).removeprefix("+")
    return bare if re.fullmatch(r"[\d*#]+", bare, re.ASCII) else ""


def _same_number(column: str, value: str) -> tuple[str, list[Any]]:
    digits = _digits(value)
    if not digits:
        # Users have names, too; an equals sign asks for what was signalled to the letter.
        exact = value.startswith("=")
        return (f"{column} = ?", [value[1:]]) if exact else (f"lower({column}) = ?", [value.casefold()])
    plain = f"regexp_replace({column}, '[^0-9*#]', '', 'g')"
    if value.endswith("*"):
        return f"starts_with({plain}, ?)", [digits]
    # What is cheap to look at comes first: only few numbers end alike.
    ending = digits[-4:]
    bare = digits.lstrip("0")
    if len(bare) < LEAST_DIGITS:
        return f"(ends_with({column}, ?) AND {plain} = ?)", [ending, digits]
    short = f"ltrim({plain}, '0')"
    same = f"(ends_with({short}, ?) OR (length({short}) >= {LEAST_DIGITS} AND ends_with(?, {short})))"
    return f"(ends_with({column}, ?) AND {same})", [ending, bare, bare]
