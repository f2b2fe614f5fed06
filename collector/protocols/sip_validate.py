"""What RFC 3261 leaves no room for: each rule looks at a message's header fields and names what breaks it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from collector.protocols.sip_values import TOKEN, parse_name_addr, parse_uri, parse_via, split_unquoted

Fields = tuple[tuple[str, str], ...]

MANDATORY = ("via", "from", "to", "call-id", "cseq")
"""RFC 3261 8.1.1, without Max-Forwards: RFC 2543 requests have none and are still welcome (RFC 4475 3.4.1)."""

# RFC 3261 7.3.1: only list headers may stand on several lines.
SINGLE = frozenset(
    {
        "call-id",
        "content-length",
        "content-type",
        "cseq",
        "date",
        "expires",
        "from",
        "max-forwards",
        "min-expires",
        "retry-after",
        "session-expires",
        "timestamp",
        "to",
    }
)

CSEQ_LIMIT = 2**31  # RFC 3261 8.1.1.5
_DELTA_LIMIT = 2**32  # RFC 3261 20.19
_MAX_FORWARDS_LIMIT = 256  # RFC 3261 20.22

_CALL_ID_WORD = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]+"
_CALL_ID = re.compile(rf"{_CALL_ID_WORD}(?:@{_CALL_ID_WORD})?")
_CSEQ = re.compile(rf"(\d+)\s+({TOKEN})", re.ASCII)
_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} ([A-Z]+)", re.ASCII)
_MEDIA_TYPE = re.compile(rf"{TOKEN}\s*/\s*{TOKEN}\s*(?:;.*)?", re.DOTALL)
_NUMBER = re.compile(r"\d+", re.ASCII)
_WARNING_CODE = re.compile(r"(\d+)\s", re.ASCII)


def cseq_number(value: str) -> tuple[int, str, tuple[str, ...]]:
    """Number (-1 when unusable), method and defects of a CSeq value (RFC 3261 20.16)."""
    match = _CSEQ.fullmatch(value)
    if match is None:
        return -1, "", ("cseq_malformed",)
    significant = match[1].lstrip("0") or "0"
    if len(significant) > 10 or int(significant) >= CSEQ_LIMIT:
        return -1, match[2], ("cseq_out_of_range",)
    return int(significant), match[2], ()


def _bounded(name: str, limit: int) -> Callable[[str], tuple[str, ...]]:
    def check(value: str) -> tuple[str, ...]:
        number = _NUMBER.match(value)
        if number is None or value[number.end() : number.end() + 1] not in ("", ";", "(", " ", "\t"):
            return (f"{name}_malformed",)
        significant = number[0].lstrip("0")
        if len(significant) > 10 or int(significant or "0") >= limit:
            return (f"{name}_out_of_range",)
        return ()

    return check


def _check_call_id(value: str) -> tuple[str, ...]:
    return () if _CALL_ID.fullmatch(value) else ("call_id_malformed",)


def _check_cseq(value: str) -> tuple[str, ...]:
    return cseq_number(value)[2]


def _check_address(value: str) -> tuple[str, ...]:
    return parse_name_addr(value)[1]


def _check_addresses(value: str) -> tuple[str, ...]:
    if value == "*":
        return ()
    return tuple(defect for part in split_unquoted(value, ",") for defect in _check_address(part))


def _check_via(value: str) -> tuple[str, ...]:
    return tuple(defect for part in split_unquoted(value, ",") for defect in parse_via(part)[1])


def _check_date(value: str) -> tuple[str, ...]:
    match = _DATE.fullmatch(value)
    if match is None:
        return ("date_malformed",)
    return () if match[1] == "GMT" else ("date_timezone",)  # RFC 3261 20.17


def _check_content_type(value: str) -> tuple[str, ...]:
    return () if _MEDIA_TYPE.fullmatch(value) else ("content_type_malformed",)


def _check_warning(value: str) -> tuple[str, ...]:
    for part in split_unquoted(value, ","):
        code = _WARNING_CODE.match(part)
        if code is None:
            return ("warning_malformed",)
        if len(code[1]) != 3:  # RFC 3261 20.43
            return ("warning_code_out_of_range",)
    return ()


RULES: dict[str, Callable[[str], tuple[str, ...]]] = {
    "call-id": _check_call_id,
    "contact": _check_addresses,
    "content-type": _check_content_type,
    "cseq": _check_cseq,
    "date": _check_date,
    "expires": _bounded("expires", _DELTA_LIMIT),
    "from": _check_address,
    "max-forwards": _bounded("max_forwards", _MAX_FORWARDS_LIMIT),
    "min-expires": _bounded("min_expires", _DELTA_LIMIT),
    "record-route": _check_addresses,
    "retry-after": _bounded("retry_after", _DELTA_LIMIT),
    "route": _check_addresses,
    "session-expires": _bounded("session_expires", _DELTA_LIMIT),
    "to": _check_address,
    "via": _check_via,
    "warning": _check_warning,
}
"""Header to the rule for one of its lines."""


def header_defects(fields: Fields) -> Iterable[str]:
    """Defects of the headers, each by itself and as a set."""
    counts = Counter(name for name, _ in fields)
    for name in MANDATORY:
        if not counts[name]:
            yield f"missing_{name.replace('-', '_')}"
    for name, count in counts.items():
        if count > 1 and name in SINGLE:
            yield f"duplicate_{name.replace('-', '_')}"
    for name, value in fields:
        rule = RULES.get(name)
        if rule is not None:
            yield from rule(value)


def request_uri_defects(uri: str) -> Iterable[str]:
    """Defects of a Request-URI (RFC 3261 19.1.1 table 1, 7.1)."""
    if uri.startswith("<"):
        yield "request_uri_brackets"
        uri = uri.strip("<>")
    parsed, defects = parse_uri(uri)
    if parsed.headers:
        yield "request_uri_headers"
    for defect in defects:
        yield "request_uri_whitespace" if defect == "addr_spec_whitespace" else defect


def content_length_defects(values: list[str], available: int) -> tuple[int, tuple[str, ...]]:
    """Octets of the body and what is wrong with its announced length (RFC 3261 18.3, 20.14).

    Octets past the announced length are discarded and no defect (RFC 4475 3.1.1.8).
    """
    if not values:
        return available, ()
    value = values[0]
    if not (value.isascii() and value.isdigit()):
        return available, ("content_length_malformed",)
    significant = value.lstrip("0")
    if len(significant) > 9 or int(significant or "0") > available:
        return available, ("content_length_mismatch",)
    return int(significant or "0"), ()
