"""Rows that claim the same name, address or number at the same time, and the days that none claims."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

from analytics.attribution import FIRST_DAY, LAST_DAY, Span
from analytics.sites import NumberRange, Origin, Subnet
from collector.estate.problems import Problems

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Holding(NamedTuple):
    """What a row claims, and when."""

    key: str
    name: str
    """The key as people read it, e.g. `the device SEP001122334455`."""
    spans: tuple[Span, ...]
    origin: Origin


def days(span: Span) -> str:
    """Days in words: `on 2025-10-01`, `from 2025-10-01 to 2025-10-31`, `until …`, `from … on`, `at all times`."""
    first, last = date.fromordinal(span.first), date.fromordinal(span.last)
    if span.first == span.last:
        return f"on {first}"
    if span.first == FIRST_DAY:
        return "at all times" if span.last == LAST_DAY else f"until {last}"
    return f"from {first} on" if span.last == LAST_DAY else f"from {first} to {last}"


def common_days(one: Sequence[Span], other: Sequence[Span]) -> Span | None:
    """The first days that lie in both."""
    for span in one:
        for second in other:
            if span.first <= second.last and second.first <= span.last:
                return Span(max(span.first, second.first), min(span.last, second.last))
    return None


def check_names(holdings: Iterable[Holding], code: str, problems: Problems, *, gaps: bool) -> None:
    """Note each row that claims a name while another holds it, and, if wanted, days between two rows of a name."""
    grouped: dict[str, list[tuple[Span, Holding]]] = defaultdict(list)
    for holding in holdings:
        for span in holding.spans:
            grouped[holding.key].append((span, holding))
    for found in grouped.values():
        found.sort(key=lambda item: (item[0], item[1].origin.line))
        until, holder = found[0]
        for span, holding in found[1:]:
            if span.first <= until.last:
                _note_overlap(holder, holding, code, problems)
            elif gaps and span.first > until.last + 1 and holding is not holder:
                gap = Span(until.last + 1, span.first - 1)
                sentence = f"{holding.name} has no row {days(gap)}, between line {holder.origin.line} and this one"
                problems.warning(holding.origin, "gap", sentence)
            if span.last >= until.last:
                until, holder = span, holding


def _note_overlap(one: Holding, other: Holding, code: str, problems: Problems) -> None:
    earlier, later = sorted((one, other), key=lambda holding: holding.origin.line)
    shared = common_days(earlier.spans, later.spans)
    if shared is not None and earlier is not later:
        sentence = f"{later.name} is on line {earlier.origin.line} too {days(shared)}"
        problems.error(later.origin, code, sentence)


class _Claim(NamedTuple):
    network: Network
    row: Subnet
    spans: tuple[Span, ...]


def check_subnets(subnets: Sequence[tuple[Subnet, tuple[Span, ...]]], problems: Problems) -> None:
    """Note networks claimed twice, networks inside one of another site, and networks that their parts wholly cover."""
    claims = [_Claim(ipaddress.ip_network(row.subnet), row, spans) for row, spans in subnets if spans]
    holdings = [
        Holding(claim.row.subnet, f"the network {claim.row.subnet}", claim.spans, claim.row.origin) for claim in claims
    ]
    check_names(holdings, "overlapping_subnets", problems, gaps=False)
    claims.sort(key=lambda claim: (claim.network.version, int(claim.network.network_address), claim.network.prefixlen))
    _check_nested(claims, problems)
    _check_covered(claims, problems)


def _check_nested(claims: Sequence[_Claim], problems: Problems) -> None:
    """Note networks inside one of another site: the longest prefix wins, which may not be meant."""
    around: list[_Claim] = []
    for claim in claims:
        while around and not _inside(claim.network, around[-1].network):
            around.pop()
        for outer in reversed(around):
            shared = common_days(claim.spans, outer.spans)
            if outer.network == claim.network or shared is None:
                continue
            if outer.row.site != claim.row.site:
                sentence = (
                    f"{claim.row.subnet} of site {claim.row.site} lies in {outer.row.subnet} of site {outer.row.site} "
                    f"(line {outer.row.origin.line}) {days(shared)}: the longer prefix wins"
                )
                problems.warning(claim.row.origin, "nested_subnet", sentence)
            break
        around.append(claim)


def _check_covered(claims: Sequence[_Claim], problems: Problems) -> None:
    """Note networks of which no address is left beside their parts, all days considered."""
    for at, claim in enumerate(claims):
        covered: list[Network] = []
        for index in range(at + 1, len(claims)):
            inner = claims[index]
            if not _inside(inner.network, claim.network):
                break
            if inner.network != claim.network and all(_spanned(span, inner.spans) for span in claim.spans):
                covered.append(inner.network)
        if covered and _size_together(covered) == claim.network.num_addresses:
            sentence = f"{claim.row.subnet} can never match: longer prefixes of other rows cover all its addresses"
            problems.warning(claim.row.origin, "dead_row", sentence)


def _spanned(span: Span, others: Sequence[Span]) -> bool:
    return any(other.first <= span.first and span.last <= other.last for other in others)


def _size_together(networks: Iterable[Network]) -> int:
    """Addresses of networks in order, those inside another counted once."""
    size, last = 0, None
    for network in networks:
        if last is None or not _inside(network, last):
            size += network.num_addresses
            last = network
    return size


def _inside(inner: Network, outer: Network) -> bool:
    if inner.version != outer.version or inner.prefixlen < outer.prefixlen:
        return False
    shift = outer.max_prefixlen - outer.prefixlen
    return int(inner.network_address) >> shift == int(outer.network_address) >> shift


def check_ranges(ranges: Sequence[tuple[NumberRange, tuple[Span, ...]]], problems: Problems) -> None:
    """Note ranges of one partition that share numbers and days."""
    grouped: dict[tuple[str | None, int], list[tuple[NumberRange, tuple[Span, ...]]]] = defaultdict(list)
    for row, spans in ranges:
        if spans:
            grouped[row.partition, len(row.first)].append((row, spans))
    for found in grouped.values():
        found.sort(key=lambda item: (item[0].first, item[0].origin.line))
        open_ranges: list[tuple[NumberRange, tuple[Span, ...]]] = []
        for row, spans in found:
            open_ranges = [item for item in open_ranges if item[0].last >= row.first]
            for other, other_spans in open_ranges:
                shared = common_days(spans, other_spans)
                if shared is not None:
                    _note_shared_numbers(row, other, shared, problems)
                    break
            open_ranges.append((row, spans))


def _note_shared_numbers(row: NumberRange, other: NumberRange, shared: Span, problems: Problems) -> None:
    earlier, later = sorted((row, other), key=lambda item: item.origin.line)
    first, last = max(row.first, other.first), min(row.last, other.last)
    numbers = first if first == last else f"{first} to {last}"
    sentence = (
        f"{numbers} of site {later.site} is on line {earlier.origin.line} too (site {earlier.site}) {days(shared)}"
    )
    problems.error(later.origin, "overlapping_ranges", sentence)
