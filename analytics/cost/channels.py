"""Channels: how many were busy at once, how many the busy hour needs, and how many are paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from zoneinfo import ZoneInfo

from analytics.cost.document import Head, Ref, Row, Section
from analytics.cost.figures import Book, Evidence
from analytics.cost.months import last_day
from analytics.cost.names import key_of
from analytics.cost.traffic import BLOCKING, BusyHour, Traffic, busier, channels_needed, erlang_b, traffic_of
from analytics.sites import EstateSettings, Trunk, TrunkKind
from analytics.store.site_queries import OutsideCalls

SHARED = "shared by all sites"
"""What is said beside a trunk that the estate places at no site: its channels are its own."""
UNKNOWN = "trunks that the estate does not know"
NO_TRUNK = "no trunk recorded"
NOTHING = Traffic(0, None, 0)

Grouping = Callable[[str | None], str]
Key = TypeVar("Key")


def shared(device: str) -> str:
    """What a trunk is called that the estate places at no site."""
    return f"{device}, {SHARED}"


def group_of(trunks: Sequence[Trunk]) -> Grouping:
    """Return which group of channels a trunk belongs to: that of its site, or its own where it is at none."""
    places = {trunk.device.upper(): trunk.site or shared(trunk.device) for trunk in trunks}

    def group(device: str | None) -> str:
        return NO_TRUNK if device is None else places.get(device.upper(), UNKNOWN)

    return group


def by_site(calls: OutsideCalls) -> dict[str | None, Traffic]:
    """Return the traffic of each site."""
    names = dict.fromkeys(site for site, _ in calls.places)
    return {name: traffic_of(*calls.of(lambda site, _, name=name: site == name)) for name in names}  # type: ignore[misc]


def by_group(calls: OutsideCalls, group: Grouping) -> dict[str, Traffic]:
    """Return the traffic of each group of trunks."""
    names = dict.fromkeys(group(trunk) for _, trunk in calls.places)
    return {name: traffic_of(*calls.of(lambda _, trunk, name=name: group(trunk) == name)) for name in names}  # type: ignore[misc]


def joined(one: Mapping[Key, Traffic], other: Mapping[Key, Traffic]) -> dict[Key, Traffic]:
    """Join the traffic of two months."""
    return {key: busier(one.get(key, NOTHING), other.get(key, NOTHING)) for key in {**one, **other}}


def paid_for(trunks: Sequence[Trunk], month: int) -> dict[str, tuple[int | None, str]]:
    """Return channels paid for by group on the last day of a month, and where that is stated or why it is not."""
    paid: dict[str, tuple[int | None, str]] = {}
    for trunk in trunks:
        if trunk.kind is not TrunkKind.PSTN or not trunk.valid.holds(last_day(month)):
            continue
        group = trunk.site or shared(trunk.device)
        before, said = paid.get(group, (0, ""))
        if trunk.channels is None:
            paid[group] = (None, f"{trunk.origin} states no channels of {trunk.device}")
        elif before is not None:
            paid[group] = (before + trunk.channels, f"{said} {trunk.origin}".strip())
    return paid


def enter_channels(
    book: Book,
    settings: EstateSettings,
    trunks: Sequence[Trunk],
    months: Sequence[int],
    sites: Mapping[str, Traffic],
    whole: Traffic,
    groups: Mapping[str, Traffic],
    source: str,
) -> list[Section]:
    """Enter channels by site and by group of trunks; return their tables."""
    paid = paid_for(trunks, max(months))
    table = _Table(book, ZoneInfo(settings.timezone), source)
    own = {site: paid.get(site, (None, "it has no trunk of its own")) for site in sites}
    total = [count for count, _ in paid.values()]
    known = sum(count for count in total if count is not None) if total and None not in total else None
    stated = " ".join(said for _, said in paid.values()) if known is not None else "not every trunk states its channels"
    rows = [table.row("site", site, traffic, *own[site]) for site, traffic in sites.items()]
    if len(sites) > 1:
        rows.append(table.row("whole", "All sites together", whole, known, stated))
    sections = [
        Section(
            "channels",
            "Channels by site",
            "Calls over the public network, as if each site had channels of its own. The busy hour is the busiest full "
            "hour from any quarter; traffic is occupied time, set-up included.",
            _heads("Site"),
            tuple(rows),
            ("Unanswered attempts hold a channel too, but records do not say how long: they are left out.",),
        )
    ]
    if groups:
        rows = [
            table.row("group", name, traffic, *paid.get(name, (None, "the estate places no channels here")))
            for name, traffic in sorted(groups.items())
        ]
        sections.append(
            Section(
                "trunks",
                "Channels by trunk",
                "The same calls by the trunks that carried them, against the channels paid for.",
                _heads("Trunks at"),
                tuple(rows),
            )
        )
    return sections


def _heads(name: str) -> tuple[Head, ...]:
    needed = (Head(f"Needed at {Decimal(100 * share).normalize():f} %", "channels") for share in BLOCKING)
    return (
        Head(name),
        Head("Busy hour"),
        Head("Traffic", "erlang"),
        Head("Most at once", "channels"),
        *needed,
        Head("Paid for", "channels"),
        Head("Blocked", "percent"),
        Head("Verdict"),
    )


class _Table:
    """Enters figures of channels, row by row."""

    def __init__(self, book: Book, zone: ZoneInfo, source: str) -> None:
        self._book = book
        self._zone = zone
        self._source = source

    def row(self, kind: str, name: str, traffic: Traffic, paid: int | None, stated: str) -> Row:
        """Enter the figures of one group of channels; return its row."""
        book, source = self._book, self._source
        prefix = key_of("channels", kind, name)
        seconds = traffic.busy.seconds if traffic.busy else 0
        book.enter(
            f"{prefix}.seconds", f"{name}, occupied in the busy hour", "seconds", seconds, Evidence.MEASURED, source
        )
        book.compute(f"{prefix}.erlang", f"{name}, traffic of the busy hour", "erlang", f"{{{prefix}.seconds}} / 3600")
        book.enter(f"{prefix}.most", f"{name}, most at once", "channels", traffic.at_once, Evidence.MEASURED, source)
        needed = []
        for share in BLOCKING:
            key = f"{prefix}.needed.{share}"
            count = channels_needed(float(traffic.erlang), float(share))
            said = f"Erlang B of {prefix}.erlang at {share}"
            book.enter(key, f"{name}, channels needed at {share}", "channels", count, Evidence.MODELLED, said)
            needed.append(Ref(key))
        if paid is None:
            book.miss(f"{prefix}.paid", f"{name}, channels paid for", "channels", stated)
            book.miss(f"{prefix}.blocked", f"{name}, share blocked", "percent", stated)
        else:
            book.enter(f"{prefix}.paid", f"{name}, channels paid for", "channels", paid, Evidence.MEASURED, stated)
            share = Decimal(f"{100 * erlang_b(float(traffic.erlang), paid):.4f}")
            said = f"Erlang B of {prefix}.erlang on {prefix}.paid channels"
            book.enter(f"{prefix}.blocked", f"{name}, share blocked", "percent", share, Evidence.MODELLED, said)
        refs = (
            Ref(f"{prefix}.erlang"),
            Ref(f"{prefix}.most"),
            *needed,
            Ref(f"{prefix}.paid"),
            Ref(f"{prefix}.blocked"),
        )
        return Row((name, self._spoken(traffic.busy), *refs, self._verdict(prefix)))

    def _spoken(self, busy: BusyHour | None) -> str:
        return "none" if busy is None else f"{datetime.fromtimestamp(busy.begin, self._zone):%a %Y-%m-%d %H:%M}"

    def _verdict(self, prefix: str) -> str:
        """Whether the channels paid for are what the busy hour needs, in a word."""
        paid = self._book.value(f"{prefix}.paid")
        least, ample = (self._book.value(f"{prefix}.needed.{share}") for share in BLOCKING)
        if paid is None or least is None or ample is None:
            return ""
        return "too few" if paid < least else f"{paid - ample:f} to spare" if paid > ample else "enough"
