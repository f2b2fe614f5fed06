"""Rows of the estate held against each other: unknown names, dates, gaps, rows that can never match.

Who shares a name, an address or a number with another at the same time is in `overlaps`. A row counts on the days on
which it and its site hold, as in `analytics.attribution`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeAlias, TypeVar

from analytics.attribution import ALWAYS, FIRST_DAY, Attributor, Span, merged, site_spans, span_of, within
from analytics.sites import (
    Device,
    DialPlan,
    Estate,
    NumberRange,
    Origin,
    Pool,
    PublicNumber,
    Site,
    Subnet,
    Trunk,
    TrunkKind,
)
from collector.estate.overlaps import Holding, check_apart, check_names, check_ranges, check_subnets, days
from collector.estate.problems import Problems, Suggestions, shown

MOST_LEVELS = 16
"""Levels of sites: deeper is a mistake."""
LONGEST_EXTENSION = 7
"""Digits: longer ranges are public numbers, of which no plan for extensions speaks."""

Placed: TypeAlias = Subnet | Pool | Device | NumberRange | Trunk | DialPlan | PublicNumber
AnyRow = TypeVar("AnyRow", Site, Subnet, Pool, Device, NumberRange, Trunk, DialPlan, PublicNumber)
Spans: TypeAlias = Mapping[str, tuple[Span, ...]]

_NO_ORIGIN = Origin("", 0)


def check_estate(estate: Estate, problems: Problems) -> None:
    """Note what is wrong between rows that are each well formed."""
    estate = _without_duplicates(estate, problems)
    sites = site_spans(estate.sites)
    _check_sites(estate.sites, sites, problems)
    groups: tuple[Sequence[Placed], ...] = (
        estate.subnets,
        estate.pools,
        estate.devices,
        estate.ranges,
        estate.trunks,
        estate.plans,
        estate.public_numbers,
    )
    suggest = Suggestions(sites)
    for rows in groups:
        for row in rows:
            _check_place(row, sites, suggest, problems)
    _check_pools(estate, sites, problems)
    _check_names(estate, sites, problems)
    check_subnets([(row, _holds(row, sites)) for row in estate.subnets], problems)
    check_ranges([(row, _holds(row, sites)) for row in estate.ranges], problems)
    _check_bare_sites(estate, problems)
    _check_trunks(estate.trunks, problems)
    _check_plans(estate, sites, problems)


def _without_duplicates(estate: Estate, problems: Problems) -> Estate:
    """The estate with each row once; the others are noted."""
    return replace(
        estate,
        sites=_once(estate.sites, problems),
        subnets=_once(estate.subnets, problems),
        pools=_once(estate.pools, problems),
        devices=_once(estate.devices, problems),
        ranges=_once(estate.ranges, problems),
        trunks=_once(estate.trunks, problems),
        plans=_once(estate.plans, problems),
        public_numbers=_once(estate.public_numbers, problems),
    )


def _once(rows: tuple[AnyRow, ...], problems: Problems) -> tuple[AnyRow, ...]:
    seen: dict[AnyRow, AnyRow] = {}
    for row in rows:
        first = seen.setdefault(replace(row, origin=_NO_ORIGIN), row)
        if first is not row:
            problems.error(row.origin, "duplicate_row", f"the row says the same as line {first.origin.line}")
    return tuple(seen.values())


def _check_sites(rows: Sequence[Site], sites: Spans, problems: Problems) -> None:
    holdings = [Holding(row.site, f"the site {row.site}", (span_of(row.valid),), row.origin) for row in rows]
    check_names(holdings, "overlapping_sites", problems, gaps=True)
    suggest = Suggestions(sites)
    for row in rows:
        if row.parent is None:
            continue
        if row.parent not in sites:
            sentence = f"the parent {shown(row.parent)} is no site{suggest(row.parent)}"
            problems.error(row.origin, "unknown_parent", sentence)
        elif within(span_of(row.valid), sites[row.parent]) != (span_of(row.valid),):
            sentence = (
                f"site {row.site} is there {days(span_of(row.valid))}, its parent {row.parent} only "
                f"{_days_of(sites[row.parent])}"
            )
            problems.warning(row.origin, "outside_parent", sentence)
    _check_loops(rows, problems)


def _check_loops(rows: Sequence[Site], problems: Problems) -> None:
    """Note loops: one that begins on a day is met from the row that begins on that day."""
    by_site: dict[str, list[Site]] = defaultdict(list)
    for row in rows:
        by_site[row.site].append(row)
    for row in rows:
        day = row.valid.first or date.fromordinal(FIRST_DAY)
        path = [row.site]
        at: Site | None = row
        while at is not None and at.parent is not None and at.parent not in path and len(path) <= MOST_LEVELS:
            path.append(at.parent)
            at = next((above for above in by_site[at.parent] if above.valid.holds(day)), None)
        if at is None or at.parent is None:
            continue
        if at.parent == row.site:
            problems.error(row.origin, "parent_loop", f"the parents run in a circle: {' > '.join([*path, row.site])}")
        elif len(path) > MOST_LEVELS:
            problems.error(
                row.origin, "too_many_levels", f"site {row.site} has more than {MOST_LEVELS} levels above it"
            )


def _days_of(spans: Sequence[Span]) -> str:
    return " and ".join(days(span) for span in spans[:3]) + (" and so on" if len(spans) > 3 else "")


def _holds(row: Placed, sites: Spans) -> tuple[Span, ...]:
    """Days on which a row and its site hold."""
    return within(span_of(row.valid), (ALWAYS,) if row.site is None else sites.get(row.site, ()))


def _check_place(row: Placed, sites: Spans, suggest: Suggestions, problems: Problems) -> None:
    """Note a site that is unknown, and a row that holds when its site does not."""
    if row.site is None:
        return
    spans = sites.get(row.site)
    if spans is None:
        problems.error(row.origin, "unknown_site", f"{shown(row.site)} is no site{suggest(row.site)}")
        return
    stated = span_of(row.valid)
    if not within(stated, spans):
        sentence = f"the row can never match: it holds {days(stated)}, site {row.site} {_days_of(spans)}"
        problems.warning(row.origin, "dead_row", sentence)
    elif (row.valid.first and stated.first < spans[0].first) or (row.valid.last and stated.last > spans[-1].last):
        sentence = f"the row holds {days(stated)}, but site {row.site} only {_days_of(spans)}"
        problems.warning(row.origin, "outside_site", sentence)


def _check_pools(estate: Estate, sites: Spans, problems: Problems) -> None:
    """Note pools that are unknown, that no device names, or that do not hold when their device does."""
    pools: dict[str, list[Span]] = defaultdict(list)
    for pool in estate.pools:
        pools[pool.pool].extend(_holds(pool, sites))
    suggest = Suggestions(pools)
    named = set()
    for device in estate.devices:
        if device.pool is None:
            continue
        named.add(device.pool)
        if device.pool not in pools:
            problems.error(device.origin, "unknown_pool", f"{shown(device.pool)} is no pool{suggest(device.pool)}")
        elif device.site is None and not within(span_of(device.valid), merged(pools[device.pool])):
            sentence = f"the row can never match: pool {device.pool} is at no site {days(span_of(device.valid))}"
            problems.warning(device.origin, "dead_row", sentence)
    for pool in estate.pools:
        if pool.pool not in named:
            problems.warning(pool.origin, "unused_pool", f"no device names the pool {pool.pool}")


def _check_names(estate: Estate, sites: Spans, problems: Problems) -> None:
    """Note names that two rows claim at the same time, and devices and pools that are nowhere for a while."""

    def holdings(rows: Sequence[tuple[str, str, Placed]]) -> list[Holding]:
        return [Holding(key, name, _holds(row, sites), row.origin) for key, name, row in rows]

    devices = holdings([(row.device.upper(), f"the device {row.device}", row) for row in estate.devices])
    check_names(devices, "overlapping_devices", problems, gaps=True)
    pools = holdings([(row.pool, f"the pool {row.pool}", row) for row in estate.pools])
    check_names(pools, "overlapping_pools", problems, gaps=True)
    trunks = holdings([(row.device.upper(), f"the trunk {row.device}", row) for row in estate.trunks])
    check_names(trunks, "overlapping_trunks", problems, gaps=True)
    check_apart(devices, trunks, "device_and_trunk", problems)
    plans = holdings([(row.site or "", f"the plan of {row.site or 'the other sites'}", row) for row in estate.plans])
    check_names(plans, "overlapping_plans", problems, gaps=True)
    numbers = holdings([(row.number, f"the number {row.number}", row) for row in estate.public_numbers])
    check_names(numbers, "overlapping_public_numbers", problems, gaps=False)


def _check_bare_sites(estate: Estate, problems: Problems) -> None:
    """Note sites at which nothing can ever be attributed."""
    named = {device.pool for device in estate.devices if device.site is None}
    placed = {subnet.site for subnet in estate.subnets} | {row.site for row in estate.ranges}
    placed |= {device.site for device in estate.devices if device.site is not None}
    placed |= {pool.site for pool in estate.pools if pool.pool in named}
    for site in {row.site: row for row in estate.sites}.values():
        if site.site not in placed:
            sentence = f"site {site.site} has no subnet, device or number range: no call will ever be its own"
            problems.warning(site.origin, "bare_site", sentence)


def _check_trunks(trunks: Sequence[Trunk], problems: Problems) -> None:
    for trunk in trunks:
        if trunk.kind is TrunkKind.PSTN and not trunk.channels:
            sentence = f"the channels of {trunk.device} are not given: busy hours cannot be held against them"
            problems.warning(trunk.origin, "no_channels", sentence)


def _check_plans(estate: Estate, sites: Spans, problems: Problems) -> None:
    """Note extensions that the dial plan of their site does not know, and lengths of which no site has extensions."""
    asked = Attributor(estate)
    unplanned: set[str] = set()
    lengths: dict[Origin, set[int]] = defaultdict(set)
    for row in estate.ranges:
        held = _holds(row, sites)
        if not held or len(row.first) > LONGEST_EXTENSION:
            continue
        plan = asked.plan(row.site, date.fromordinal(held[-1].last))
        if plan is None:
            if row.site not in unplanned:
                unplanned.add(row.site)
                sentence = f"site {row.site} has extensions but no dial plan, and there is none for the other sites"
                problems.warning(row.origin, "no_plan", sentence)
            continue
        lengths[plan.origin].add(len(row.first))
        if len(row.first) not in plan.extension_digits:
            sentence = (
                f"extensions of {len(row.first)} digits, but the dial plan of site {row.site} "
                f"({plan.origin}) knows {' and '.join(map(str, plan.extension_digits)) or 'none'}"
            )
            problems.warning(row.origin, "plan_mismatch", sentence)
        elif plan.extension_first and not set(_first_digits(row)) <= set(plan.extension_first):
            sentence = (
                f"extensions from {row.first} to {row.last}, but those of the dial plan of site {row.site} "
                f"({plan.origin}) begin with {' or '.join(plan.extension_first)}"
            )
            problems.warning(row.origin, "plan_mismatch", sentence)
    for plan in estate.plans:
        idle = [length for length in plan.extension_digits if length not in lengths[plan.origin]]
        if lengths[plan.origin] and idle:
            sentence = f"extensions of {' and '.join(map(str, idle))} digits are dialled, but no number range has them"
            problems.warning(plan.origin, "plan_mismatch", sentence)


def _first_digits(row: NumberRange) -> str:
    return "0123456789"[int(row.first[0]) : int(row.last[0]) + 1]
