"""What records and streams show and the estate does not know: trunks, devices, addresses, extensions.

A side of a record is one party of it. A device is taken for a trunk where most numbers on its side are too long for
extensions, or emergency numbers, and its name is no telephone's. Numbers outside are never kept: here they only say
that a side is outside.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple
from zoneinfo import ZoneInfo

from analytics.attribution import Attribution, Attributor, parse_address

if TYPE_CHECKING:
    import duckdb

Kind = Literal["trunk", "device", "address", "number"]
KINDS: tuple[Kind, ...] = ("trunk", "device", "address", "number")

ROWS_FETCHED = 10_000
BLOCK_BITS = {4: 8, 6: 64}
"""Addresses are shown by /24, or /64 of IPv6: that is how networks are planned."""
LONGEST_EXTENSION = 7
NAMED_FOR_USERS = re.compile(r"(CSF|TCT|BOT|TAB).+")
"""Softphones, whose device name ends in the user's name."""
TELEPHONE = re.compile(r"(SEP|ATA)[0-9A-F]{12}.*|" + NAMED_FOR_USERS.pattern)
"""Device names that CUCM gives telephones: their own number may be as long as one outside."""
PEER = re.compile(r"((?:PJSIP|SIP|IAX2|SCCP|sofia|DAHDI)/(?:[^/]*/)?)([^/@]+)(@.*)?")
EXTENSION = re.compile(r"[0-9]{2,7}")


class Unmapped(NamedTuple):
    """One thing that the estate does not know."""

    kind: Kind
    name: str
    sides: int
    """Sides of records, calls and streams that show it."""
    without_site: int
    """Of those, how many no other evidence gives a site."""
    first: datetime
    last: datetime
    """Begin of the first and last of them, UTC."""
    seen_in: tuple[str, ...]
    """Tables that show it."""
    likely_site: str | None
    """Site that other evidence gives most of the others; None where it gives none."""


@dataclass(slots=True)
class _Tally:
    sides: int = 0
    without_site: int = 0
    first_us: int = 2**62
    last_us: int = -(2**62)
    tables: set[str] = field(default_factory=set)
    sites: Counter[str] = field(default_factory=Counter)


class _Side(NamedTuple):
    """Sides of one table that are alike."""

    table: str
    day: date
    device: str | None
    address: str | None
    number: str | None
    """Extension; None for numbers outside."""
    partition: str | None
    sides: int
    first_us: int
    last_us: int


class Unknowns:
    """Collects what the estate does not know."""

    def __init__(self, attributor: Attributor, *, show_numbers: bool = False) -> None:
        self._attributor = attributor
        self._show_numbers = show_numbers
        self._tallies: dict[tuple[Kind, str], _Tally] = {}

    def add(self, side: _Side, trunks: frozenset[str]) -> None:
        """Look one group of sides up."""
        asked = self._attributor
        if side.device and asked.trunk(side.device, side.day) is not None:
            return
        found = asked.attribute(
            device=side.device, address=side.address, number=side.number, partition=side.partition, day=side.day
        )
        is_trunk = False
        if side.device and found.evidence not in ("device", "pool"):
            is_trunk = side.device in trunks
            name = side.device
            if not self._show_numbers:
                name = shown_trunk(name) if is_trunk else shown_device(name)
            self._count("trunk" if is_trunk else "device", name, side, found)
        if is_trunk:
            return
        if side.address and asked.attribute(address=side.address, day=side.day).site is None:
            block = address_block(side.address)
            if block:
                self._count("address", block, side, found)
        if side.number and not self._is_known_number(side.number, side.partition, side.day):
            self._count("number", side.number if self._show_numbers else shown_number(side.number), side, found)

    def _is_known_number(self, number: str, partition: str | None, day: date) -> bool:
        asked = self._attributor
        if asked.public_number(number, day) is not None:
            return True
        return asked.attribute(number=number, partition=partition, day=day).site is not None

    def _count(self, kind: Kind, name: str, side: _Side, found: Attribution) -> None:
        tally = self._tallies.setdefault((kind, name), _Tally())
        tally.sides += side.sides
        tally.first_us = min(tally.first_us, side.first_us)
        tally.last_us = max(tally.last_us, side.last_us)
        tally.tables.add(side.table)
        if found.site is None:
            tally.without_site += side.sides
        else:
            tally.sites[found.site] += side.sides

    def found(self) -> list[Unmapped]:
        """All of it: trunks first, then what leaves most sides without a site."""
        rows = [
            Unmapped(
                kind,
                name,
                tally.sides,
                tally.without_site,
                _instant(tally.first_us),
                _instant(tally.last_us),
                tuple(sorted(tally.tables)),
                max(sorted(tally.sites), key=tally.sites.__getitem__) if tally.sites else None,
            )
            for (kind, name), tally in self._tallies.items()
        ]
        return sorted(rows, key=lambda row: (KINDS.index(row.kind), -row.without_site, -row.sides, row.name))


def _instant(microseconds: int) -> datetime:
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def shown_device(device: str) -> str:
    """A device name without what names its user: softphones as `CSF*`, peers as `PJSIP/500x` or `PJSIP/*`."""
    softphone = NAMED_FOR_USERS.fullmatch(device)
    if softphone:
        return f"{softphone[1]}*"
    peer = PEER.fullmatch(device)
    if peer:
        user = shown_number(peer[2]) if EXTENSION.fullmatch(peer[2]) else "*"
        return f"{peer[1]}{user}{peer[3] or ''}"
    return device


def shown_trunk(device: str) -> str:
    """A trunk's name, as `shown_device` where it is a peer by number."""
    peer = PEER.fullmatch(device)
    return shown_device(device) if peer and EXTENSION.fullmatch(peer[2]) else device


def shown_number(number: str) -> str:
    """An extension's range of ten, e.g. `512x`."""
    return f"{number[:-1]}x"


def address_block(address: str) -> str:
    """The /24 of an IPv4 address or /64 of an IPv6 one; empty where it is none, or one that no site has."""
    parsed = parse_address(address)
    if parsed is None:
        return ""
    version, value = parsed
    bits = BLOCK_BITS[version]
    length = (32 if version == 4 else 128) - bits
    network = value >> bits << bits
    block: ipaddress.IPv4Network | ipaddress.IPv6Network
    block = ipaddress.IPv4Network((network, length)) if version == 4 else ipaddress.IPv6Network((network, length))
    never = block.is_unspecified or block.is_loopback or block.is_multicast or value == 0
    return "" if never else str(block)


def find_unmapped(
    connection: duckdb.DuckDBPyConnection,
    attributor: Attributor,
    views: Iterable[str],
    *,
    show_numbers: bool = False,
) -> list[Unmapped]:
    """Return what the views of lake tables (some of cdr_rows, calls, streams, named so) show and the estate lacks."""
    unknowns = Unknowns(attributor, show_numbers=show_numbers)
    for table in views:
        if not _gather(connection, attributor, table):
            continue
        trunks = _trunks(connection)
        for side in _sides(connection, table):
            unknowns.add(side, trunks)
    return unknowns.found()


_PARTIES = {
    "cdr_rows": (
        "origination",
        ("orig_device", "orig_ip", "calling", "calling_partition"),
        ("dest_device", "dest_ip", "called", "called_partition"),
    ),
    "calls": ("start", ("NULL", "from_address", "calling", "NULL"), ("NULL", "to_address", "called", "NULL")),
    "streams": ("start", ("NULL", "from_address", "NULL", "NULL"), ("NULL", "to_address", "NULL", "NULL")),
}
"""By table: its time, and device, address, number, partition of both sides."""

_HOST = (
    r"CASE WHEN starts_with({0}, '[') THEN regexp_extract({0}, '^\[([^\]]*)\]', 1) "
    "WHEN length({0}) - length(replace({0}, ':', '')) = 1 THEN split_part({0}, ':', 1) ELSE {0} END"
)


def _gather(connection: duckdb.DuckDBPyConnection, attributor: Attributor, table: str) -> bool:
    """Fill `unmapped_sides` with the sides of a table, alike ones together; whether there are any."""
    from analytics.usage.parties import offset_sql

    time, *parties = _PARTIES[table]
    first, last = connection.execute(f"SELECT min(day), max(day) FROM {table}").fetchall()[0]
    if first is None:
        return False
    zone = ZoneInfo(attributor.estate.settings.timezone)
    offset = offset_sql(zone, time, first, last)
    selects = " UNION ALL ".join(
        f"SELECT {time} AS began, make_timestamp(epoch_us({time}) + {offset})::DATE AS lday, "
        f"CAST({device} AS VARCHAR) AS device, {_HOST.format(f'CAST({address} AS VARCHAR)')} AS address, "
        f"CAST({number} AS VARCHAR) AS number, CAST({partition} AS VARCHAR) AS partition FROM {table}"
        for device, address, number, partition in parties
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE unmapped_sides AS "
        f"WITH side AS ({selects}), "
        f"told AS (SELECT *, coalesce({_is_extension(attributor)}, false) AS inside FROM side) "
        "SELECT lday, device, address, CASE WHEN inside THEN number END AS number, "
        "CASE WHEN inside THEN partition END AS partition, count(*) AS sides, "
        "count_if(NOT inside AND regexp_full_match(number, '\\+?[0-9*#]+')) AS outside, "
        "epoch_us(min(began)) AS first_us, epoch_us(max(began)) AS last_us FROM told GROUP BY ALL"
    )
    return True


def _is_extension(attributor: Attributor) -> str:
    """SQL condition: `number` is short enough for an extension and no emergency number, or in a range of the estate."""
    estate = attributor.estate
    emergency = {number for plan in estate.plans for number in plan.emergency}
    dialled = emergency | {f"{plan.access_digits}{number}" for plan in estate.plans for number in plan.emergency}
    parts = [f"length(number) BETWEEN 2 AND {LONGEST_EXTENSION}"]
    parts += [
        f"(length(number) = {len(first)} AND number BETWEEN '{first}' AND '{last}')"
        for first, last in sorted({(row.first, row.last) for row in estate.ranges})
        if len(first) > LONGEST_EXTENSION
    ]
    but = f" AND number NOT IN ({', '.join(repr(number) for number in sorted(dialled))})" if dialled else ""
    return f"(regexp_full_match(number, '[0-9]+') AND ({' OR '.join(parts)}){but})"


def _trunks(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Devices on whose side most numbers are none of the estate's extensions."""
    rows = connection.execute(
        "SELECT device FROM unmapped_sides WHERE device IS NOT NULL GROUP BY device "
        "HAVING sum(outside) > coalesce(sum(sides) FILTER (number IS NOT NULL), 0)"
    ).fetchall()
    return frozenset(device for (device,) in rows if not TELEPHONE.fullmatch(device))


def _sides(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[_Side]:
    result = connection.execute(
        "SELECT lday, device, address, number, partition, sides, first_us, last_us FROM unmapped_sides"
    )
    while rows := result.fetchmany(ROWS_FETCHED):
        for day, *rest in rows:
            yield _Side(table, day, *rest)
