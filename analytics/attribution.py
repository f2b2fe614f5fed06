"""Where a party was on a day: by its device, else its address, else its number, with the row that says so.

The order is that of the evidence: a device row names the thing itself; an address says which network it was
plugged into; a number says only whose number it is, though its owner may sit elsewhere.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from analytics.sites import Device, DialPlan, Estate, NumberRange, Origin, PublicNumber, Site, Trunk, Validity

Evidence = Literal["device", "pool", "subnet", "number", "none"]
Row = TypeVar("Row")

FIRST_DAY = date.min.toordinal()
LAST_DAY = date.max.toordinal()
MOST_REMEMBERED = 65_536
"""Addresses whose numeric form is kept [addresses]."""


class Attribution(NamedTuple):
    """A site, and what says so."""

    site: str | None
    evidence: Evidence
    origin: Origin | None
    """Row of the estate that names the site."""
    through: Origin | None = None
    """Row of the device, where its pool names the site."""


NOWHERE = Attribution(None, "none", None)


class Span(NamedTuple):
    """Days on which something holds, both included, as proleptic Gregorian ordinals."""

    first: int
    last: int


ALWAYS = Span(FIRST_DAY, LAST_DAY)


def span_of(valid: Validity) -> Span:
    """Days of a validity."""
    return Span(
        FIRST_DAY if valid.first is None else valid.first.toordinal(),
        LAST_DAY if valid.last is None else valid.last.toordinal(),
    )


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order, those that touch or overlap made one."""
    whole: list[Span] = []
    for span in sorted(spans):
        if whole and span.first <= whole[-1].last + 1:
            whole[-1] = Span(whole[-1].first, max(whole[-1].last, span.last))
        else:
            whole.append(span)
    return tuple(whole)


def site_spans(sites: Iterable[Site]) -> dict[str, tuple[Span, ...]]:
    """Days on which each site exists."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for site in sites:
        spans[site.site].append(span_of(site.valid))
    return {site: merged(found) for site, found in spans.items()}


def within(span: Span, spans: Sequence[Span]) -> tuple[Span, ...]:
    """The days of a span that lie in any of the others."""
    common = (Span(max(span.first, other.first), min(span.last, other.last)) for other in spans)
    return tuple(found for found in common if found.first <= found.last)


class _DatedRow(Protocol):
    @property
    def valid(self) -> Validity: ...


class _Dated(Generic[Row]):
    """Rows of one key, each with its days; where several hold, the later line of the file is not heard."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, Row]] = []

    def add(self, span: Span, row: Row) -> None:
        self._rows.append((span.first, span.last, row))

    def on(self, day: int) -> Row | None:
        for first, last, row in self._rows:
            if first <= day <= last:
                return row
        return None


class _Ranges:
    """Number ranges of one partition and length."""

    __slots__ = ("_firsts", "_reach", "_rows")

    def __init__(self, rows: Iterable[tuple[NumberRange, Span]]) -> None:
        self._rows = sorted(rows, key=lambda item: (item[0].first, item[0].last, item[0].origin.line))
        self._firsts = [row.first for row, _ in self._rows]
        self._reach: list[str] = []
        """The furthest last number of all ranges up to each: beyond it none further back can match."""
        for row, _ in self._rows:
            self._reach.append(max(row.last, self._reach[-1]) if self._reach else row.last)

    def on(self, number: str, day: int) -> NumberRange | None:
        """The narrowest range that holds the number on the day."""
        best: NumberRange | None = None
        at = bisect_right(self._firsts, number) - 1
        while at >= 0 and self._reach[at] >= number:
            row, span = self._rows[at]
            if row.last >= number and span.first <= day <= span.last and (best is None or _width(row) < _width(best)):
                best = row
            at -= 1
        return best


def _width(row: NumberRange) -> int:
    return int(row.last) - int(row.first)


class Attributor:
    """The estate, arranged to be asked about millions of calls.

    A row holds on the days of its validity on which its site exists too. Device names match whatever their case;
    numbers match digit for digit, a leading `+` aside.
    """

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self._sites = site_spans(estate.sites)
        self._site_rows: dict[str, _Dated[Site]] = defaultdict(_Dated)
        for site in estate.sites:
            self._site_rows[site.site].add(span_of(site.valid), site)
        self._devices: dict[str, _Dated[Device]] = defaultdict(_Dated)
        for device in estate.devices:
            for span in self.days_held(device.site, device.valid):
                self._devices[device.device.upper()].add(span, device)
        self._pools = self._answers(((pool.pool, pool.site, pool.valid, pool.origin) for pool in estate.pools), "pool")
        self._networks = self._arrange_networks()
        self._ranges = self._arrange_ranges()
        self._trunks: dict[str, _Dated[Trunk]] = defaultdict(_Dated)
        for trunk in estate.trunks:
            for span in self.days_held(trunk.site, trunk.valid):
                self._trunks[trunk.device.upper()].add(span, trunk)
        self._plans: dict[str | None, _Dated[DialPlan]] = defaultdict(_Dated)
        for plan in estate.plans:
            for span in self.days_held(plan.site, plan.valid):
                self._plans[plan.site].add(span, plan)
        self._public: dict[str, _Dated[PublicNumber]] = defaultdict(_Dated)
        for number in estate.public_numbers:
            for span in self.days_held(number.site, number.valid):
                self._public[number.number].add(span, number)
        self._addresses: dict[str, tuple[int, int] | None] = {}
        self.change_days = self._changes()

    def attribute(
        self,
        *,
        device: str | None = None,
        address: str | None = None,
        number: str | None = None,
        partition: str | None = None,
        day: date,
    ) -> Attribution:
        """Say at which site a party was on a local day: by device (or its pool), then subnet, then number range.

        `address` may carry a port. A range of the party's own partition goes before one without partition.
        """
        ordinal = day.toordinal()
        found = self._by_device(device, ordinal) if device else None
        if found is None and address:
            found = self._by_address(address, ordinal)
        if found is None and number:
            found = self._by_number(number, partition, ordinal)
        return NOWHERE if found is None else found

    def days_held(self, site: str | None, valid: Validity) -> tuple[Span, ...]:
        """Days on which a row of that site and validity holds: its own, while its site exists."""
        return within(span_of(valid), (ALWAYS,) if site is None else self._sites.get(site, ()))

    def site(self, site: str, day: date) -> Site | None:
        """Return the site as it was on a day; None where it was not."""
        rows = self._site_rows.get(site)
        return None if rows is None else rows.on(day.toordinal())

    def trunk(self, device: str, day: date) -> Trunk | None:
        """Return the trunk or gateway of that device name on a day."""
        rows = self._trunks.get(device.upper())
        return None if rows is None else rows.on(day.toordinal())

    def plan(self, site: str | None, day: date) -> DialPlan | None:
        """Return how people at a site dial on a day: the site's own plan, else the one without a site."""
        for key in dict.fromkeys((site, None)):
            rows = self._plans.get(key)
            found = None if rows is None else rows.on(day.toordinal())
            if found is not None:
                return found
        return None

    def public_number(self, number: str, day: date) -> PublicNumber | None:
        """Return what is known of a number that the public calls."""
        rows = self._public.get(number.removeprefix("+"))
        return None if rows is None else rows.on(day.toordinal())

    def _by_device(self, device: str, day: int) -> Attribution | None:
        rows = self._devices.get(device.upper())
        row = None if rows is None else rows.on(day)
        if row is None:
            return None
        if row.site is not None:
            return Attribution(row.site, "device", row.origin)
        pool = self._pools.get(row.pool or "")
        found = None if pool is None else pool.on(day)
        return None if found is None else found._replace(through=row.origin)

    def _by_address(self, address: str, day: int) -> Attribution | None:
        if address in self._addresses:
            parsed = self._addresses[address]
        else:
            parsed = parse_address(address)
            if len(self._addresses) >= MOST_REMEMBERED:
                self._addresses.clear()
            self._addresses[address] = parsed
        if parsed is None:
            return None
        version, value = parsed
        for shift, networks in self._networks[version]:
            rows = networks.get(value >> shift)
            found = None if rows is None else rows.on(day)
            if found is not None:
                return found
        return None

    def _by_number(self, number: str, partition: str | None, day: int) -> Attribution | None:
        digits = number.removeprefix("+")
        for key in dict.fromkeys((partition or None, None)):
            ranges = self._ranges.get((key, len(digits)))
            row = None if ranges is None else ranges.on(digits, day)
            if row is not None:
                return Attribution(row.site, "number", row.origin)
        return None

    def _answers(
        self, rows: Iterable[tuple[str, str, Validity, Origin]], evidence: Evidence
    ) -> dict[str, _Dated[Attribution]]:
        arranged: dict[str, _Dated[Attribution]] = defaultdict(_Dated)
        for key, site, valid, origin in rows:
            for span in self.days_held(site, valid):
                arranged[key].add(span, Attribution(site, evidence, origin))
        return dict(arranged)

    def _arrange_networks(self) -> dict[int, list[tuple[int, dict[int, _Dated[Attribution]]]]]:
        """By IP version: networks by their prefix, longest prefixes first."""
        lengths: dict[tuple[int, int], dict[int, _Dated[Attribution]]] = {}
        for subnet in self.estate.subnets:
            network = ipaddress.ip_network(subnet.subnet)
            shift = network.max_prefixlen - network.prefixlen
            networks = lengths.setdefault((network.version, shift), defaultdict(_Dated))
            for span in self.days_held(subnet.site, subnet.valid):
                answer = Attribution(subnet.site, "subnet", subnet.origin)
                networks[int(network.network_address) >> shift].add(span, answer)
        return {
            version: [(shift, dict(lengths[key, shift])) for key, shift in sorted(lengths) if key == version]
            for version in (4, 6)
        }

    def _arrange_ranges(self) -> dict[tuple[str | None, int], _Ranges]:
        grouped: dict[tuple[str | None, int], list[tuple[NumberRange, Span]]] = defaultdict(list)
        for row in self.estate.ranges:
            for span in self.days_held(row.site, row.valid):
                grouped[row.partition, len(row.first)].append((row, span))
        return {key: _Ranges(rows) for key, rows in grouped.items()}

    def _changes(self) -> tuple[date, ...]:
        """Local days on which anything holds or holds no longer for the first time."""
        estate = self.estate
        groups: tuple[Sequence[_DatedRow], ...] = (
            estate.sites,
            estate.subnets,
            estate.pools,
            estate.devices,
            estate.ranges,
            estate.trunks,
            estate.plans,
            estate.public_numbers,
        )
        spans = {span_of(row.valid) for rows in groups for row in rows}
        days = {span.first for span in spans} | {span.last + 1 for span in spans}
        return tuple(date.fromordinal(day) for day in sorted(days) if FIRST_DAY < day <= LAST_DAY)


def parse_address(text: str) -> tuple[int, int] | None:
    """IP version and value of an address, with a port or without; None where it is none.

    An IPv4 address inside IPv6 (::ffff:0:0/96, RFC 4291 2.5.5.2) is that IPv4 address.
    """
    host = text
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    if "." in host and ":" not in host:
        value = _ipv4(host)
        return None if value is None else (4, value)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


def _ipv4(text: str) -> int | None:
    """Value of a dotted address: `ipaddress` takes four times as long, and records hold little else."""
    parts = text.split(".")
    if len(parts) != 4 or not text.isascii():
        return None
    value = 0
    for part in parts:
        if not part.isdigit() or len(part) > 3 or (part[0] == "0" and part != "0"):
            return None
        value = value << 8 | int(part)
    return value if all(int(part) <= 255 for part in parts) else None
