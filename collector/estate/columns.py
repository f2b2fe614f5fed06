"""Every file of the estate that says where things are, each column declared once."""

from __future__ import annotations

from collector.estate.table import Column, TableFile

SETTINGS_FILE = "estate.toml"

_SITE = Column("site", "site, as in sites.csv", needed=True)
_FROM = Column("valid_from", "first local day on which the row holds, YYYY-MM-DD; blank: since its site began")
_TO = Column("valid_to", "last local day on which the row holds; blank: as long as its site")

SITES = TableFile(
    "sites.csv",
    "Stations, offices and other places. A site that changes its name, kind or parent has a row for each time.",
    (
        Column("site", "short key, used by all other files", needed=True),
        Column("name", "name for people; blank: the key"),
        Column("kind", "station, office, or another word", needed=True),
        Column("parent", "site that it belongs to; blank: none"),
        Column("priority", "priority class such as control_room; blank: normal"),
        Column("valid_from", "first local day of the site, YYYY-MM-DD; blank: since ever"),
        Column("valid_to", "last local day of the site; blank: still there"),
    ),
    needed=True,
)
SUBNETS = TableFile(
    "subnets.csv",
    "Networks of addresses at a site. The longest prefix wins.",
    (Column("subnet", "IPv4 or IPv6 network as 10.1.2.0/24, host bits zero", needed=True), _SITE, _FROM, _TO),
)
POOLS = TableFile(
    "pools.csv",
    "Device pools of the telephone system. A device that names a pool is where its pool is.",
    (Column("pool", "name of the pool", needed=True), _SITE, _FROM, _TO),
)
DEVICES = TableFile(
    "devices.csv",
    "Telephones and other devices that stay where they are.",
    (
        Column(
            "device", "device name as the records write it, e.g. SEP001122334455; case does not matter", needed=True
        ),
        Column("site", "site, as in sites.csv; blank: that of the pool"),
        Column("pool", "pool, as in pools.csv; used where site is blank"),
        _FROM,
        _TO,
    ),
)
NUMBERS = TableFile(
    "numbers.csv",
    "Ranges of extensions or numbers of a site.",
    (
        Column("first", "first number, digits only", needed=True),
        Column("last", "last number, as many digits as the first; the same for one number", needed=True),
        Column("partition", "partition that the numbers are in; blank: any"),
        _SITE,
        _FROM,
        _TO,
    ),
)
TRUNK_KINDS = ("pstn", "recording", "internal")
TRUNKS = TableFile(
    "trunks.csv",
    "Gateways and trunks, by the device name that the records use.",
    (
        Column("device", "device name as the records write it; case does not matter", needed=True),
        Column(
            "kind",
            "pstn: leads to the public network; recording: to a recorder; internal: to another exchange of the estate",
            needed=True,
        ),
        Column("site", "site whose channels it holds; blank: the whole estate"),
        Column("channels", "channels paid for; blank: not known"),
        _FROM,
        _TO,
    ),
)
DIAL_PLANS = TableFile(
    "dialplans.csv",
    "How people at a site dial.",
    (
        Column("site", "site, as in sites.csv; blank: every site without a row of its own"),
        Column("access_digits", "dialled before an outside number, e.g. 9; blank: none"),
        Column("extension_digits", "lengths of extensions, separated by spaces, e.g. 4 or 4 5; blank: none"),
        Column("extension_first", "digits that an extension may begin with, e.g. 5678; blank: any"),
        Column("area_code", "area code that a short local number stands in, e.g. 0113; blank: none is assumed"),
        Column("emergency", "numbers matched before all else, separated by spaces, e.g. 999 112"),
        _FROM,
        _TO,
    ),
)
PUBLIC_NUMBERS = TableFile(
    "public_numbers.csv",
    "Numbers, hunt pilots and queues that the public calls.",
    (
        Column("number", "digits as the records write them, or the name of a queue", needed=True),
        Column("label", "name for people", needed=True),
        Column("site", "site that answers; blank: none in particular"),
        Column("target_seconds", "answer within this is on target [s]; blank: as estate.toml"),
        Column("target_share", "share of calls that should be on target, 0 to 1; blank: as estate.toml"),
        _FROM,
        _TO,
    ),
)
HOLIDAYS = TableFile(
    "holidays.csv",
    "Public holidays, for tariffs that treat them apart.",
    (Column("date", "local day, YYYY-MM-DD", needed=True), Column("name", "name of the holiday")),
)
OTHER_FILES = ("elements.csv", "keys.csv", "baseline.csv", "invoices.csv")
"""Files of what things cost, declared where they are read."""
TARIFFS_FOLDER = "tariffs"
FILES = (SITES, SUBNETS, POOLS, DEVICES, NUMBERS, TRUNKS, DIAL_PLANS, PUBLIC_NUMBERS, HOLIDAYS)

SETTINGS_KEYS: dict[str, dict[str, str]] = {
    "estate": {
        "name": "name of the estate, needed",
        "timezone": "zone of local days and bands, Europe/London by default",
        "country": "ISO 3166 code of the country that numbers are dialled from, GB by default",
        "currency": "ISO 4217 code of all amounts, GBP by default",
    },
    "tariffs": {
        "ip": "folder under tariffs/ with today's prices, ip by default",
        "legacy": "folder under tariffs/ with the old system's prices, legacy by default",
    },
    "legacy": {
        "intersite_calls": "calls between sites under the old system: charged (billed, the default) or carried "
        "(private circuits carried them); not stated, the range of a saving holds both",
    },
    "claim": {
        "percent": 'saving that is claimed [%], "30" by default',
        "minutes_tolerance_percent": 'how far the records may be from the invoice [%], "2" by default',
    },
    "access": {
        "target_seconds": "answer within this is on target unless public_numbers.csv says otherwise [s], 20 by default",
        "target_share": 'share of calls that should be on target, 0 to 1, "0.90" by default',
    },
    "benefit": {
        "name": "what a saving buys, e.g. constable-year; the section may stand several times as [[benefit]]",
        "cost": "what one costs, in the estate's currency",
    },
}
"""Sections of `estate.toml`, their keys and what each says."""
