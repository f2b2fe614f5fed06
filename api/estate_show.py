"""`callgauge estate show`: every row of the estate that speaks of a number, device or address, and what follows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

from analytics.attribution import Attribution, Attributor, Span, parse_address, span_of
from analytics.sites import Estate, Origin, Validity
from collector.estate.overlaps import days
from collector.estate.problems import nearest


class Mention(NamedTuple):
    """A row that speaks of it."""

    says: str
    spans: tuple[Span, ...]
    """Days on which the row and its site hold."""
    origin: Origin

    def holds(self, day: date) -> bool:
        """Whether it holds on a local day."""
        return any(span.first <= day.toordinal() <= span.last for span in self.spans)


class Answer(NamedTuple):
    """Where it is by one kind of evidence."""

    asked_as: str
    found: Attribution


def mentions(asked: Attributor, what: str) -> list[Mention]:
    """Rows that speak of a name, number or address at any time."""
    own = (Mention(says, (span_of(valid),), origin) for says, valid, origin in _sites(asked, what))
    rows = (*_names(asked, what), *_numbers(asked, what), *_networks(asked, what))
    return [*own, *(Mention(says, asked.days_held(site, valid), origin) for says, site, valid, origin in rows)]


Row = tuple[str, str | None, Validity, Origin]
"""What it says, its site, its validity, where it stands."""


def _sites(asked: Attributor, what: str) -> Iterator[tuple[str, Validity, Origin]]:
    for site in asked.estate.sites:
        if site.site == what:
            under = f" under {site.parent}" if site.parent else ""
            yield f"site {site.name}, {site.kind}, {site.priority}{under}", site.valid, site.origin


def _names(asked: Attributor, what: str) -> Iterator[Row]:
    name = what.upper()
    for device in asked.estate.devices:
        if device.device.upper() == name:
            place = f"at site {device.site}" if device.site else f"in pool {device.pool}"
            yield f"device {place}", device.site, device.valid, device.origin
    for pool in asked.estate.pools:
        if pool.pool == what:
            yield f"pool of site {pool.site}", pool.site, pool.valid, pool.origin
    for trunk in asked.estate.trunks:
        if trunk.device.upper() == name:
            channels = f", {trunk.channels} channels" if trunk.channels else ""
            at = f" of site {trunk.site}" if trunk.site else ""
            yield f"{trunk.kind} trunk{at}{channels}", trunk.site, trunk.valid, trunk.origin


def _numbers(asked: Attributor, what: str) -> Iterator[Row]:
    digits = what.removeprefix("+")
    for public in asked.estate.public_numbers:
        if public.number == digits:
            at = f" at site {public.site}" if public.site else ""
            yield f"public number {public.label}{at}", public.site, public.valid, public.origin
    for row in asked.estate.ranges:
        if len(row.first) == len(digits) and row.first <= digits <= row.last:
            within = f" in partition {row.partition}" if row.partition else ""
            yield f"number {row.first} to {row.last}{within}, site {row.site}", row.site, row.valid, row.origin


def _networks(asked: Attributor, what: str) -> Iterator[Row]:
    parsed = parse_address(what)
    if parsed is None:
        return
    version, value = parsed
    for subnet in asked.estate.subnets:
        network = ipaddress.ip_network(subnet.subnet)
        shift = network.max_prefixlen - network.prefixlen
        if network.version == version and int(network.network_address) >> shift == value >> shift:
            yield f"network {subnet.subnet}, site {subnet.site}", subnet.site, subnet.valid, subnet.origin


def answers(asked: Attributor, what: str, partition: str | None, day: date) -> list[Answer]:
    """Where it is on a day: asked as a device, an address and a number, each alone, in the order of evidence."""
    tries = (
        Answer("device", asked.attribute(device=what, day=day)),
        Answer("address", asked.attribute(address=what, day=day)),
        Answer("number", asked.attribute(number=what, partition=partition, day=day)),
    )
    return [answer for answer in tries if answer.found.site is not None]


def days_text(spans: Sequence[Span]) -> str:
    """Days of a row in words."""
    return " and ".join(map(days, spans)) or "never: its site is not there then"


def shown_json(what: str, day: date, rows: list[Mention], found: list[Answer], asked: Attributor) -> dict[str, Any]:
    """What is known of it, for programs."""
    return {
        "asked": what,
        "day": day.isoformat(),
        "site": found[0].found.site if found else None,
        "evidence": found[0].found.evidence if found else "none",
        "origin": str(found[0].found.origin) if found else None,
        "through": str(found[0].found.through) if found and found[0].found.through else None,
        "trunk": (trunk := asked.trunk(what, day)) and str(trunk.origin),
        "public_number": (public := asked.public_number(what, day)) and str(public.origin),
        "rows": [
            {
                "says": row.says,
                "days": days_text(row.spans),
                "holds": row.holds(day),
                "origin": str(row.origin),
            }
            for row in rows
        ],
    }


def shown_lines(what: str, day: date, rows: list[Mention], found: list[Answer], asked: Attributor) -> list[str]:
    """What is known of it, for people."""
    lines = []
    for answer in found:
        place = answer.found
        site = asked.site(place.site or "", day)
        name = f" ({site.name}, {site.kind})" if site else ""
        through = f" through {place.through}" if place.through else ""
        lines.append(f"{what} is at site {place.site}{name} on {day} by its {place.evidence}: {place.origin}{through}")
    if not found:
        known = any(row.holds(day) for row in rows)
        lines.append(f"{what} {'has no site of its own' if known else 'is at no site'} on {day}")
    for row in rows:
        mark = "holds" if row.holds(day) else "     "
        lines.append(f"  {mark}  {row.origin}  {row.says}, {days_text(row.spans)}")
    if not rows:
        lines.append(f"  the estate does not speak of it{nearest(what, _known(asked.estate))}")
    return lines


def _known(estate: Estate) -> set[str]:
    """Names that a slip of the pen may have been meant for."""
    names = {device.device for device in estate.devices} | {trunk.device for trunk in estate.trunks}
    return names | {site.site for site in estate.sites} | {pool.pool for pool in estate.pools}
