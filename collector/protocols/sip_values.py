"""The grammar of SIP header values (RFC 3261 25.1): lists, parameters, addresses, URIs, Via.

Every function here takes unfolded text and never fails: it gives what can be made of the value together with the
snake_case names of its defects, because a capture must be listed even where a device broke the rules.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"  # noqa: S105 - the grammar's word for it
_TOKEN = re.compile(TOKEN)
_DISPLAY_TOKENS = re.compile(rf"{TOKEN}(?:[ \t]+{TOKEN})*")
# RFC 3261 25.1 gen-value: token / host / quoted-string; host adds the colon and brackets of IPv6.
_PARAMETER_VALUE = re.compile(r'[A-Za-z0-9\-.!%*_+`\'~:\[\]]+|"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*")
_USER = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+")
_PASSWORD = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2})*")
_HOSTNAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9\-_.]*[A-Za-z0-9_.])?")
_URI_PARAMETER = re.compile(
    r"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2})+(?:=(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|%[0-9A-Fa-f]{2})*)?"
)
_BLANK = re.compile(r"\s")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


class SipUri(NamedTuple):
    """A SIP, SIPS or tel URI (RFC 3261 19.1, RFC 3966); of any other scheme only `scheme` and `text` are filled."""

    scheme: str
    """Lower case."""
    user: str
    """Unescaped; of a tel URI the number."""
    password: str
    host: str
    """Without the brackets of an IPv6 reference."""
    port: int | None
    params: Mapping[str, str]
    """Unescaped, names in lower case; a parameter without a value has ''."""
    headers: Mapping[str, str]
    text: str
    """The URI as it stood on the wire."""


class NameAddr(NamedTuple):
    """The value of From, To, Contact, Route and their like (RFC 3261 20.10)."""

    display: str
    uri: SipUri
    params: Mapping[str, str]
    """Header parameters, names in lower case, quotes removed."""


class Via(NamedTuple):
    """One Via value (RFC 3261 20.42)."""

    transport: str
    """Upper case."""
    host: str
    port: int | None
    params: Mapping[str, str]


def split_unquoted(value: str, separator: str) -> list[str]:
    """Parts between separators that stand outside quoted strings and angle brackets, blanks around them removed."""
    if separator not in value:
        return [value.strip()]
    if '"' not in value and "<" not in value:
        return [part.strip() for part in value.split(separator)]
    parts: list[str] = []
    start = 0
    quoted = bracketed = escaped = False
    for position, character in enumerate(value):
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character == "<":
            bracketed = True
        elif character == ">":
            bracketed = False
        elif character == separator and not bracketed:
            parts.append(value[start:position].strip())
            start = position + 1
    parts.append(value[start:].strip())
    return parts


def unquote_string(value: str) -> str:
    """The content of a quoted-string (RFC 3261 25.1), or the value itself when it is not quoted."""
    if len(value) >= 2 and value[0] == '"' == value[-1]:
        return _QUOTED_PAIR.sub(r"\1", value[1:-1])
    return value


def parse_parameters(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Header parameters that follow a value, `text` beginning at their first semicolon or being empty."""
    params: dict[str, str] = {}
    defects: list[str] = []
    for part in split_unquoted(text, ";")[1:] if text else ():
        if not part:
            defects.append("empty_parameter")
            continue
        name, equals, value = part.partition("=")
        name = name.strip()
        value = value.strip()
        if not _TOKEN.fullmatch(name) or (equals and not _PARAMETER_VALUE.fullmatch(value)):
            defects.append("parameter_malformed")
        params.setdefault(name.lower(), unquote_string(value))
    return params, tuple(defects)


def _closing_quote(value: str) -> int:
    """Position of the quote that closes the one at position 0, or -1."""
    position = 1
    while position < len(value):
        if value[position] == "\\":
            position += 1
        elif value[position] == '"':
            return position
        position += 1
    return -1


def _split_display(value: str) -> tuple[str, str, tuple[str, ...]]:
    """Display name, what follows it, defects."""
    if value.startswith('"'):
        close = _closing_quote(value)
        if close < 0:
            before, bracket, after = value.partition("<")
            return before[1:].strip(), bracket + after, ("quoted_string_unterminated",)
        return unquote_string(value[: close + 1]), value[close + 1 :].lstrip(), ()
    display, bracket, after = value.partition("<")
    display = display.strip()
    # A bracket behind a semicolon or a quote stands in a parameter of an addr-spec, not around a URI.
    if not bracket or ";" in display or '"' in display:
        return "", value, ()
    if display and not _DISPLAY_TOKENS.fullmatch(display):
        return display, bracket + after, ("display_name_not_quoted",)
    return display, bracket + after, ()


def parse_name_addr(value: str) -> tuple[NameAddr, tuple[str, ...]]:
    """One name-addr or addr-spec with its parameters, and its defects."""
    display, rest, found = _split_display(value.strip())
    defects = list(found)
    if rest.startswith("<"):
        inside, bracket, after = rest[1:].partition(">")
        after = after.strip()
        if not bracket:
            defects.append("brackets_unbalanced")
        elif after and not after.startswith(";"):
            defects.append("parameter_malformed")
            after = after[after.find(";") :] if ";" in after else ""
    else:
        # RFC 3261 20.10: without brackets a semicolon begins header parameters, and the URI may hold no ? , or ;
        inside, semicolon, tail = rest.partition(";")
        inside = inside.rstrip()
        after = semicolon + tail
        if "?" in inside or "," in inside or display:
            defects.append("name_addr_missing_brackets")
    if inside != inside.strip():
        defects.append("addr_spec_whitespace")
    uri, uri_defects = parse_uri(inside.strip())
    params, parameter_defects = parse_parameters(after)
    defects += [*uri_defects, *parameter_defects]
    return NameAddr(display, uri, params), tuple(dict.fromkeys(defects))


def parse_host_port(text: str) -> tuple[str, int | None, tuple[str, ...]]:
    """A hostport (RFC 3261 25.1) or sent-by, blanks allowed around its colon."""
    defects: list[str] = []
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        rest = rest.strip()
        colon = rest[:1]
        digits = rest[1:].strip()
        if not bracket or (rest and colon != ":"):
            defects.append("host_malformed")
        elif not _is_ipv6(host):
            defects.append("ipv6_address_malformed")
    else:
        host, colon, digits = text.partition(":")
        host = host.rstrip()
        digits = digits.lstrip()
        if ":" in digits:
            return _bare_ipv6(text)
        if not _HOSTNAME.fullmatch(host):
            defects.append("host_malformed")
    if not colon:
        return host, None, tuple(defects)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 5 or not 0 < int(digits) < 65536:
        defects.append("port_malformed")
        return host, None, tuple(defects)
    return host, int(digits), tuple(defects)


def _bare_ipv6(text: str) -> tuple[str, int | None, tuple[str, ...]]:
    """What is meant by an address without brackets, where its port can be told from its last group at all."""
    if _is_ipv6(text):
        return text, None, ("ipv6_without_brackets",)
    host, _, digits = text.rpartition(":")
    if _is_ipv6(host) and digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536:
        return host, int(digits), ("ipv6_without_brackets",)
    return text, None, ("host_malformed",)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _unescape(text: str) -> str:
    return unquote(text, errors="backslashreplace") if "%" in text else text


def _uri_pairs(text: str, separator: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(separator):
        name, _, value = part.partition("=")
        if name:
            pairs.setdefault(_unescape(name).lower(), _unescape(value))
    return pairs


def parse_uri(text: str) -> tuple[SipUri, tuple[str, ...]]:
    """A URI as SIP carries it, and its defects. Escapes (RFC 3261 19.1.2) are undone in what is returned."""
    scheme, colon, rest = text.partition(":")
    spaces: tuple[str, ...] = ("addr_spec_whitespace",) if _BLANK.search(text) else ()
    if not colon or not _SCHEME.fullmatch(scheme):
        return SipUri("", "", "", "", None, {}, {}, text), (*spaces, "uri_scheme_missing")
    scheme = scheme.lower()
    if scheme == "tel":
        number, _, tail = rest.partition(";")
        return SipUri(scheme, _unescape(number), "", "", None, _uri_pairs(tail, ";"), {}, text), spaces
    if scheme not in ("sip", "sips"):
        return SipUri(scheme, "", "", "", None, {}, {}, text), spaces
    return _parse_sip_uri(scheme, rest, text, spaces)


def _parse_sip_uri(scheme: str, rest: str, text: str, found: tuple[str, ...]) -> tuple[SipUri, tuple[str, ...]]:
    defects = list(found)
    userinfo, at, after = rest.partition("@")
    if not at:
        userinfo, after = "", rest
    user, colon, password = userinfo.partition(":")
    if at and not (_USER.fullmatch(user) and _PASSWORD.fullmatch(password)):
        defects.append("uri_user_malformed")
    location, _, header_text = after.partition("?")
    host_port, semicolon, parameter_text = location.partition(";")
    host, port, host_defects = parse_host_port(host_port.rstrip())
    defects += host_defects
    if semicolon and not all(_URI_PARAMETER.fullmatch(part.strip()) for part in parameter_text.split(";")):
        defects.append("uri_parameter_malformed")
    uri = SipUri(
        scheme,
        _unescape(user),
        _unescape(password) if colon else "",
        host,
        port,
        _uri_pairs(parameter_text, ";"),
        _uri_pairs(header_text, "&"),
        text,
    )
    return uri, tuple(defects)


def parse_via(value: str) -> tuple[Via | None, tuple[str, ...]]:
    """One Via value; None when no sent-protocol and sent-by can be told apart in it."""
    head, semicolon, rest = value.strip().partition(";")
    sent_protocol = head.split("/")
    if len(sent_protocol) != 3:
        return None, ("via_malformed",)
    name, version, tail = (part.strip() for part in sent_protocol)
    transport_and_host = tail.split(None, 1)
    if len(transport_and_host) != 2 or not all(map(_TOKEN.fullmatch, (name, version, transport_and_host[0]))):
        return None, ("via_malformed",)
    defects: list[str] = []
    if name.upper() != "SIP" or version != "2.0":
        defects.append("version_unsupported")
    host, port, host_defects = parse_host_port(transport_and_host[1].rstrip())
    params, parameter_defects = parse_parameters(semicolon + rest)
    defects += [*host_defects, *parameter_defects]
    return Via(transport_and_host[0].upper(), host, port, params), tuple(defects)
