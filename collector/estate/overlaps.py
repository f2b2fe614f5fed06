"""Rows that claim the same name, address or number at the same time, and the days that none claims."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Generic, NamedTuple, TypeVar

from analytics.attribution import FIRST_DAY, LAST_DAY, Span
from analytics.sites import NumberRange, Origin, Subnet
from collector.estate.problems import Problems

Row = TypeVar("Row")
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


def check_apart(ones: Iterable[Holding], others: Iterable[Holding], code: str, problems: Problems) -> None:
    """Note each name of one file that another file claims on the same days as something else."""
    held: dict[str, list[Holding]] = defaultdict(list)
    for one in ones:
        held[one.key].append(one)
    for other in others:
        for one in held.get(other.key, ()):
            shared = common_days(one.spans, other.spans)
            if shared is not None:
                where = f"line {one.origin.line} of {one.origin.file}"
                problems.error(other.origin, code, f"{other.name} is {one.name} on {where} too {days(shared)}")
                break


class _Timeline(Generic[Row]):
    """Rows of one claim in order of time, so that one that holds on given days is found without looking at all."""

    def __init__(self, rows: Iterable[tuple[Row, Sequence[Span]]]) -> None:
        self.rows = list(rows)
        held = [(span, number) for number, (_, spans) in enumerate(self.rows) for span in spans]
        self._held = sorted(held)
        self._firsts = [span.first for span, _ in self._held]
        self._reach: list[int] = []
        """The last day of all up to each."""
        for span, _ in self._held:
            self._reach.append(max(span.last, self._reach[-1]) if self._reach else span.last)

    def meeting(self, spans: Sequence[Span]) -> tuple[Row, Span] | None:
        """A row that shares days with these, and the first such days."""
        for wanted in spans:
            for span, row in self._from(wanted.last, wanted.first):
                return row, Span(max(span.first, wanted.first), min(span.last, wanted.last))
        return None

    def covers(self, span: Span) -> bool:
        """Whether one row holds on all of these days."""
        return next(self._from(span.first, span.last), None) is not None

    def _from(self, begins_by: int, lasts_to: int) -> Iterator[tuple[Span, Row]]:
        """Rows that begin by one day and last to another at least."""
        at = bisect_right(self._firsts, begins_by) - 1
        while at >= 0 and self._reach[at] >= lasts_to:
            span, number = self._held[at]
            if span.last >= lasts_to:
                yield span, self.rows[number][0]
            at -= 1


class _Place(NamedTuple):
    """A network and the rows that claim it."""

    network: Network
    claims: _Timeline[Subnet]


def check_subnets(subnets: Sequence[tuple[Subnet, tuple[Span, ...]]], problems: Problems) -> None:
    """Note networks claimed twice, networks inside one of another site, and networks that their parts wholly cover."""
    named = [Holding(row.subnet, f"the network {row.subnet}", spans, row.origin) for row, spans in subnets if spans]
    check_names(named, "overlapping_subnets", problems, gaps=False)
    grouped: dict[str, list[tuple[Subnet, tuple[Span, ...]]]] = defaultdict(list)
    for row, spans in subnets:
        if spans:
            grouped[row.subnet].append((row, spans))
    places = [_Place(ipaddress.ip_network(subnet), _Timeline(rows)) for subnet, rows in grouped.items()]
    places.sort(key=lambda place: (place.network.version, int(place.network.network_address), place.network.prefixlen))
    _check_nested(places, problems)
    _check_covered(places, problems)


def _check_nested(places: Sequence[_Place], problems: Problems) -> None:
    """Note networks inside one of another site: the longest prefix wins, which may not be meant."""
    around: list[_Place] = []
    for place in places:
        while around and not _inside(place.network, around[-1].network):
            around.pop()
        for row, spans in place.claims.rows:
            met = next(filter(None, (outer.claims.meeting(spans) for outer in reversed(around))), None)
            if met is not None and met[0].site != row.site:
                outer, shared = met
                sentence = (
                    f"{row.subnet} of site {row.site} lies in {outer.subnet} of site {outer.site} "
                    f"(line {outer.origin.line}) {days(shared)}: the longer prefix wins"
                )
                problems.warning(row.origin, "nested_subnet", sentence)
        around.append(place)


def _check_covered(places: Sequence[_Place], problems: Problems) -> None:
    """Note networks of which no address is left beside their parts, all days considered."""
    for at, place in enumerate(places):
        end = at + 1
        while end < len(places) and _inside(places[end].network, place.network):
            end += 1
        if _size_together(inner.network for inner in places[at + 1 : end]) < place.network.num_addresses:
            continue
        for row, spans in place.claims.rows:
            inside = (
                inner.network for inner in places[at + 1 : end] if all(inner.claims.covers(span) for span in spans)
            )
            if _size_together(inside) == place.network.num_addresses:
                sentence = f"{row.subnet} can never match: longer prefixes of other rows cover all its addresses"
                problems.warning(row.origin, "dead_row", sentence)


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
    grouped: dict[tuple[str | None, int], dict[tuple[str, str], list[tuple[NumberRange, tuple[Span, ...]]]]]
    grouped = defaultdict(lambda: defaultdict(list))
    named = []
    for row, spans in ranges:
        if spans:
            grouped[row.partition, len(row.first)][row.first, row.last].append((row, spans))
            key = f"{row.first} {row.last} {row.partition or ''}"
            named.append(Holding(key, f"the range {row.first} to {row.last}", spans, row.origin))
    check_names(named, "overlapping_ranges", problems, gaps=False)
    for found in grouped.values():
        before: list[tuple[str, _Timeline[NumberRange]]] = []
        for (first, last), rows in sorted(found.items()):
            before = [item for item in before if item[0] >= first]
            for row, spans in rows:
                met = next(filter(None, (other.meeting(spans) for _, other in before)), None)
                if met is not None:
                    _note_shared_numbers(row, *met, problems)
            before.append((last, _Timeline(rows)))


def _note_shared_numbers(row: NumberRange, other: NumberRange, shared: Span, problems: Problems) -> None:
    earlier, later = sorted((row, other), key=lambda item: item.origin.line)
    first, last = max(row.first, other.first), min(row.last, other.last)
    numbers = first if first == last else f"{first} to {last}"
    sentence = (
        f"{numbers} of site {later.site} is on line {earlier.origin.line} too (site {earlier.site}) {days(shared)}"
    )
    problems.error(later.origin, "overlapping_ranges", sentence)
