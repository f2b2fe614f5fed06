"""The estate of an invented county with 16 stations and 54 offices, as files.

Names, sites and prices are invented. Numbers come from the ranges that Ofcom keeps for drama (0113 496 0xxx and the
like), addresses from private use and documentation (RFC 1918, RFC 3849), telephones have locally administered MAC
addresses. Bank holidays are those of England and Wales.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

STATIONS = (
    "Ashbourne Road", "Blackmere", "Castle Hill", "Dunfold", "Eastwick", "Fenbridge", "Garside", "Highmoor",
    "Ingleby", "Kingsford", "Larkhill", "Millbeck", "Netherton", "Oakhampton", "Priory Lane", "Ravensbourne",
)  # fmt: skip
OFFICE_TOWNS = (
    "Abbot's Ley", "Barrow End", "Coldstone", "Deepdale", "Elmstead", "Fallowfield", "Greystoke", "Hartwell",
    "Ivybridge", "Knapton", "Longmarsh", "Marlow Green", "Norcott", "Overbury", "Pennywell", "Quarrington",
    "Redcliffe", "Stonebeck",
)  # fmt: skip
OFFICE_KINDS = ("Enquiry Office", "Neighbourhood Office", "Annexe")
CONTROL_ROOM = "S01"
MOVED_TO, MOVED_ON, MOVED_UNTIL = "O40", "2025-10-01", "2025-09-30"
OPENED = {"O53": "2025-06-02", "O54": "2025-09-15"}
"""Offices that opened after the others."""
ISDN_UNTIL, SIP_FROM = "2025-03-31", "2025-04-01"

HOLIDAYS = (
    ("2025-01-01", "New Year's Day"), ("2025-04-18", "Good Friday"), ("2025-04-21", "Easter Monday"),
    ("2025-05-05", "Early May bank holiday"), ("2025-05-26", "Spring bank holiday"),
    ("2025-08-25", "Summer bank holiday"), ("2025-12-25", "Christmas Day"), ("2025-12-26", "Boxing Day"),
    ("2026-01-01", "New Year's Day"), ("2026-04-03", "Good Friday"), ("2026-04-06", "Easter Monday"),
    ("2026-05-04", "Early May bank holiday"), ("2026-05-25", "Spring bank holiday"),
    ("2026-08-31", "Summer bank holiday"), ("2026-12-25", "Christmas Day"),
    ("2026-12-28", "Boxing Day (substitute day)"),
    ("2027-01-01", "New Year's Day"), ("2027-03-26", "Good Friday"), ("2027-03-29", "Easter Monday"),
    ("2027-05-03", "Early May bank holiday"), ("2027-05-31", "Spring bank holiday"),
    ("2027-08-30", "Summer bank holiday"), ("2027-12-27", "Christmas Day (substitute day)"),
    ("2027-12-28", "Boxing Day (substitute day)"),
)  # fmt: skip

SETTINGS = """\
# The estate of an invented county. Written by examples/make_estate.py.
[estate]
name = "Loamshire Constabulary"
timezone = "Europe/London"
country = "GB"
currency = "GBP"

[tariffs]
ip = "ip"
legacy = "legacy"

[claim]
percent = "30"
minutes_tolerance_percent = "2"

[access]
target_seconds = 20
target_share = "0.90"

[[benefit]]
name = "constable-year"
cost = "55000"
"""

Rows = Iterable[Sequence[object]]


class Place(NamedTuple):
    """One site and what is at it."""

    site: str
    name: str
    kind: str
    parent: str
    priority: str
    since: str
    number: int
    """Counts stations, and apart from them offices, from 0."""

    @property
    def is_station(self) -> bool:
        """Whether it is a station."""
        return self.kind == "station"

    @property
    def telephones(self) -> int:
        """Telephones that stand there."""
        return 24 if self.is_station else 4

    @property
    def extensions(self) -> tuple[str, str]:
        """First and last extension."""
        first, size = (50_000 + 100 * self.number, 100) if self.is_station else (60_000 + 10 * self.number, 10)
        return str(first), str(first + size - 1)

    @property
    def public_numbers(self) -> tuple[str, str]:
        """First and last number that leads there from outside."""
        first = (113_496_0000 if self.is_station else 114_496_0000) + 10 * self.number
        return f"0{first}", f"0{first + 9}"


def places() -> list[Place]:
    """All sites."""
    found = []
    for number, name in enumerate(STATIONS):
        site = f"S{number + 1:02}"
        parent = "" if site == CONTROL_ROOM else CONTROL_ROOM
        priority = "control_room" if site == CONTROL_ROOM else "normal"
        found.append(Place(site, name, "station", parent, priority, "", number))
    for number in range(len(OFFICE_TOWNS) * len(OFFICE_KINDS)):
        site = f"O{number + 1:02}"
        name = f"{OFFICE_TOWNS[number // 3]} {OFFICE_KINDS[number % 3]}"
        parent = f"S{number % len(STATIONS) + 1:02}"
        found.append(Place(site, name, "office", parent, "normal", OPENED.get(site, ""), number))
    return found


def subnets(sites: Sequence[Place]) -> Iterator[Sequence[object]]:
    """Voice networks: a /22 for a station, a /26 for an office, a /64 of IPv6 for each."""
    for place in sites:
        if place.is_station:
            yield f"10.{20 + place.number}.8.0/22", place.site, "", ""
            yield f"2001:db8:{place.number + 1:x}::/64", place.site, "", ""
        else:
            yield f"10.60.{place.number}.0/26", place.site, "", ""
            yield f"2001:db8:{0x100 + place.number:x}::/64", place.site, "", ""


def devices(sites: Sequence[Place]) -> Iterator[Sequence[object]]:
    """Telephones in the pool of their site; one of them moved, one stands outside any pool."""
    serial = 0
    for place in sites:
        for at_site in range(place.telephones):
            serial += 1
            device = f"SEP02005E{serial:06X}"
            if place.site == "S02" and at_site == 0:
                yield device, "", "DP_S02", "", MOVED_UNTIL
                yield device, "", f"DP_{MOVED_TO}", MOVED_ON, ""
            else:
                yield device, "", f"DP_{place.site}", "", ""
    yield "ATA02005E0FFFFF", CONTROL_ROOM, "", "", ""


def numbers(sites: Sequence[Place]) -> Iterator[Sequence[object]]:
    """Extensions and public numbers of each site."""
    for place in sites:
        yield *place.extensions, "", place.site, "", ""
        yield *place.public_numbers, "", place.site, "", ""


def trunks(sites: Sequence[Place]) -> Iterator[Sequence[object]]:
    """SIP trunks of today, the ISDN gateways they replaced, the recorder, and the exchange of the control room."""
    yield "SIP-TRUNK-NORTH", "pstn", "", 180, SIP_FROM, ""
    yield "SIP-TRUNK-SOUTH", "pstn", "", 180, SIP_FROM, ""
    for place in sites:
        if place.is_station:
            yield f"GW-ISDN-{place.site}", "pstn", place.site, 30, "", ISDN_UNTIL
    yield "RECORDER-1", "recording", "", "", "", ""
    yield "ICCS-TRUNK", "internal", CONTROL_ROOM, 60, "", ""


def public_numbers(sites: Sequence[Place]) -> Iterator[Sequence[object]]:
    """What the public calls: 999 and 101 at the control room, and an enquiry desk at each station."""
    yield "999", "Emergency", CONTROL_ROOM, 10, "0.90", "", ""
    yield "101", "Non-emergency", CONTROL_ROOM, 60, "0.90", "", ""
    yield "03069990101", "Switchboard", CONTROL_ROOM, 30, "0.90", "", ""
    for place in sites:
        if place.is_station:
            yield place.public_numbers[0], f"{place.name} enquiry desk", place.site, "", "", "", ""


PLANS = (
    ("", "9", "5", "56", "0113", "999 112", "", ""),
    (CONTROL_ROOM, "0", "5", "56", "0113", "999 112", "", ""),
)

GEOGRAPHIC = ("geographic", "uk_wide_03")
FREE = ("freephone", "freephone_116", "emergency", "onsite", "power_105", "police_101", "nhs_111")
MOBILE = ("mobile", "mobile_crown_dep", "pager_076")
LIKE_GEOGRAPHIC = ("crown_dep", "corporate_055", "location_independent_056", "short_other")
SERVICE = {"service_084": "5.00", "service_087": "10.00", "personal_070": "30.00", "premium_09": "100.00",
           "directory_118": "250.00"}  # fmt: skip
RATES = ("prefix", "class", "band", "connection_fee", "per_minute", "service_per_minute", "increment")


def ip_rates() -> Iterator[Sequence[object]]:
    """Today's prices: by the second, no connection fee."""
    for number_class in (*GEOGRAPHIC, *LIKE_GEOGRAPHIC):
        yield "", number_class, "", "", "0.60", "", "1/1"
    for number_class in MOBILE:
        yield "", number_class, "", "", "1.80", "", "1/1"
    for number_class in (*FREE, "intersite"):
        yield "", number_class, "", "", "0", "", "1/1"
    for number_class, service in SERVICE.items():
        yield "", number_class, "", "", "1.00", service, "1/1"
    yield "1", "international", "", "", "1.20", "", "1/1"
    yield "", "international", "", "", "12.00", "", "1/1"


def legacy_rates() -> Iterator[Sequence[object]]:
    """The old prices: whole minutes, a connection fee, cheaper in the evening."""
    for number_class in (*GEOGRAPHIC, *LIKE_GEOGRAPHIC, "intersite"):
        yield "", number_class, "peak", "5.0", "4.00", "", "60/60"
        yield "", number_class, "offpeak", "5.0", "1.50", "", "60/60"
    for number_class in MOBILE:
        yield "", number_class, "peak", "5.0", "13.00", "", "60/60"
        yield "", number_class, "offpeak", "5.0", "8.50", "", "60/60"
    for number_class in FREE:
        yield "", number_class, "", "", "0", "", "60/60"
    for number_class, service in SERVICE.items():
        yield "", number_class, "", "5.0", "4.00", service, "60/60"
    yield "1", "international", "", "5.0", "10.00", "", "60/60"
    yield "", "international", "", "5.0", "25.00", "", "60/60"


BANDS = (
    ("offpeak", "holiday", "00:00", "24:00"),
    ("peak", "mon-fri", "07:00", "19:00"),
    ("offpeak", "every", "00:00", "24:00"),
)
TERMS = (
    ("currency", "GBP"), ("unit", "pence"), ("band_crossing", "start"), ("tariff_change", "start"),
    ("rounding", "half_up"), ("vat", "excluded"), ("holidays", "yes"),
)  # fmt: skip

_YEAR_FROM = "2025-04-01"
ELEMENTS_HEAD = (
    "side", "site", "element", "kind", "pays_for", "amount", "evidence", "key", "alternatives", "share", "share_low",
    "share_high", "low", "high", "amortise_months", "source", "valid_from", "valid_to",
)  # fmt: skip


def element(side: str, site: str, name: str, pays_for: str, amount: str, source: str, **other: str) -> dict[str, str]:
    """A row of elements.csv."""
    row = dict.fromkeys(ELEMENTS_HEAD, "")
    row.update(side=side, site=site, element=name, kind="fixed", pays_for=pays_for, amount=amount, source=source)
    row.update(evidence="measured")
    row.update(other)
    return row


def elements(sites: Sequence[Place], prices: Prices) -> Iterator[Sequence[object]]:
    """What each side costs a month."""
    rows = []
    for place in sites:
        lines, channels = (12, 30) if place.is_station else (4, 0)
        rental = f"{lines * 14.50:.2f}"
        rows.append(element("legacy", place.site, "PSTN line rental", "access", rental, f"{lines} lines at 14.50"))
        if channels:
            amount = f"{channels * 13.20:.2f}"
            rows.append(element("legacy", place.site, "ISDN30 channels", "access", amount, f"{channels} at 13.20"))
        system = "520.00" if place.is_station else "95.00"
        rows.append(element("legacy", place.site, "PBX maintenance", "system", system, "maintenance contract"))
        calls = f"{Decimal('318.40' if place.is_station else '19.20') * prices.old_bills:.2f}"
        bill = element("legacy", place.site, "Call charges", "", calls, "bill of the baseline month", kind="usage")
        rows.append(bill)
    by_handset = {"key": "handsets"}
    licences, capital = (f"{Decimal(amount) * prices.new_system:.2f}" for amount in (3_400, 360_000))
    rows += [
        element("legacy", "*", "Private circuits", "network", "6150.00", "30 circuits at 205.00", **by_handset),
        element("legacy", "*", "Moves and changes", "changes", "3600.00", "80 at 45.00", **by_handset),
        element("ip", "*", "WAN, share of voice", "network", "24000.00", "WAN contract", evidence="allocated",
                key="busy_hour_mbit", alternatives="handsets", share="0.12", share_low="0.08", share_high="0.16"),
        element("ip", "*", "SIP channels", "access", "2160.00", "360 at 6.00", **by_handset),
        element("ip", "*", "Licences and support", "system", licences, "support contract", **by_handset),
        element("ip", "*", "Capital", "system", capital, "project account", key="handsets", amortise_months="60",
                valid_from=_YEAR_FROM),
        element("ip", "*", "Moves and changes", "changes", "600.00", "own time sheets", evidence="estimated",
                key="handsets", low="400.00", high="900.00"),
    ]  # fmt: skip
    if prices.dear_site:
        rows.append(element("ip", prices.dear_site, "Line to the site", "network", "340.00", "carrier contract"))
    return (tuple(row[name] for name in ELEMENTS_HEAD) for row in rows)


def write(path: Path, head: Sequence[str], rows: Rows, remark: str = "") -> None:
    """Write a CSV file, with a remark in its first line if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        if remark:
            file.write(f"# {remark}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


class Prices(NamedTuple):
    """Factors on what things cost, for an estate with more calls than that of the example."""

    old_bills: Decimal = Decimal(1)
    """Call charges under the system it replaced."""
    new_system: Decimal = Decimal(1)
    """Capital, licences and support."""
    dear_site: str = ""
    """A site that costs more than before: its line is dear."""


AS_IT_IS = Prices()


def make(folder: Path, prices: Prices = AS_IT_IS) -> None:
    """Write the whole estate into a folder."""
    sites = places()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "estate.toml").write_text(SETTINGS, encoding="utf-8")
    dated = ("valid_from", "valid_to")
    site_rows = ((one.site, one.name, one.kind, one.parent, one.priority, one.since, "") for one in sites)
    write(folder / "sites.csv", ("site", "name", "kind", "parent", "priority", *dated), site_rows)
    write(folder / "subnets.csv", ("subnet", "site", *dated), subnets(sites))
    write(folder / "pools.csv", ("pool", "site", *dated), ((f"DP_{one.site}", one.site, "", "") for one in sites))
    write(folder / "devices.csv", ("device", "site", "pool", *dated), devices(sites))
    write(folder / "numbers.csv", ("first", "last", "partition", "site", *dated), numbers(sites))
    write(folder / "trunks.csv", ("device", "kind", "site", "channels", *dated), trunks(sites))
    plan = ("site", "access_digits", "extension_digits", "extension_first", "area_code", "emergency", *dated)
    write(folder / "dialplans.csv", plan, PLANS)
    public = ("number", "label", "site", "target_seconds", "target_share", *dated)
    write(folder / "public_numbers.csv", public, public_numbers(sites))
    write(folder / "holidays.csv", ("date", "name"), HOLIDAYS, "Bank holidays of England and Wales.")
    write_costs(folder, sites, prices)


def write_costs(folder: Path, sites: Sequence[Place], prices: Prices) -> None:
    """Write what things cost: tariffs, elements, keys, baseline."""
    for name, rates in (("ip", ip_rates()), ("legacy", legacy_rates())):
        version = folder / "tariffs" / name / date(2025, 4, 1).isoformat()
        write(version / "rates.csv", RATES, rates, "All prices are invented.")
        write(version / "bands.csv", ("band", "days", "from", "to"), BANDS)
        write(version / "terms.csv", ("key", "value"), TERMS)
    write(folder / "elements.csv", ELEMENTS_HEAD, elements(sites, prices), "All amounts are invented.")
    keys = [("handsets", one.site, str(one.telephones), one.since, "") for one in sites]
    keys += [("busy_hour_mbit", one.site, "1.6" if one.is_station else "0.2", one.since, "") for one in sites]
    write(folder / "keys.csv", ("key", "site", "value", "valid_from", "valid_to"), keys)
    baseline = [(one.site, "4000.00" if one.is_station else "250.00", "1.0412", "consumer prices (invented)",
                 "ledger of the baseline year") for one in sites]  # fmt: skip
    head = ("site", "baseline_minutes", "index_factor", "index_series", "source")
    write(folder / "baseline.csv", head, baseline)
