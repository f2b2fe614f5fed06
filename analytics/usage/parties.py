"""Who is on each side of a record, and what class a dialled number has.

Millions of records name a few thousand devices and numbers: each distinct one is looked up once for all local days on
which the estate is the same, in the stated order (device, subnet, number range), and joined back. Local days come from
the zone's own changes of offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from analytics.attribution import Attribution, Attributor
from analytics.cost.number_classes import UNKNOWN
from analytics.cost.numbers import Destination, NumberReader
from analytics.sites import DialPlan, Estate
from analytics.usage.records import MOST_DAYS, NEEDED

_DAY = timedelta(days=1)
FURTHEST = MOST_DAYS + 2
"""Days by which the local day of a record of a call that goes on over the window may lie outside it."""


def offset_sql(zone: ZoneInfo, column: str, first: date, last: date) -> str:
    """Return SQL for the zone's offset from UTC [µs] at a time column whose values lie in UTC days first to last.

    The offset is sought hour by hour around days on which it differs: exact for zones that change on whole hours.
    """
    steps: list[tuple[datetime, int]] = []
    day = datetime(first.year, first.month, first.day, tzinfo=UTC) - _DAY
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + 2 * _DAY
    before = _offset(zone, day)
    base = before
    while day < end:
        after = _offset(zone, day + _DAY)
        if after != before:
            for minutes in range(0, 24 * 60, 15):
                moment = day + timedelta(minutes=minutes + 15)
                if (now := _offset(zone, moment)) != before:
                    steps.append((moment, now))
                    before = now
        before = after
        day += _DAY
    if not steps:
        return f"{base}000000::BIGINT"
    cases = " ".join(
        f"WHEN {column} >= TIMESTAMPTZ '{moment:%Y-%m-%d %H:%M:%S}+00' THEN {now}000000"
        for moment, now in reversed(steps)
    )
    return f"(CASE {cases} ELSE {base}000000 END)::BIGINT"


def _same_day(changes: Sequence[date], column: str, first: date, last: date) -> str:
    """Return SQL for the day that stands for a local day: the last one on which the estate changed, else the first."""
    days = [day for day in changes if first < day <= last]
    if not days:
        return f"DATE '{first}'"
    cases = " ".join(f"WHEN {column} >= DATE '{day}' THEN DATE '{day}'" for day in reversed(days))
    return f"CASE {cases} ELSE DATE '{first}' END"


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None  # an aware datetime has one
    return round(offset.total_seconds())


_DAY_OF = ("lday", pa.date32())
_FOUND = [("site", pa.string()), ("place", pa.int32()), ("known", pa.bool_())]
_DEVICE = pa.schema([("device", pa.string()), _DAY_OF, ("name", pa.int32()), *_FOUND, ("trunk", pa.string())])
_ADDRESS = pa.schema([("address", pa.string()), _DAY_OF, *_FOUND])
_NUMBER = pa.schema([("number", pa.string()), ("partition", pa.string()), _DAY_OF, *_FOUND])
_PLACE = pa.schema([("place", pa.int32()), ("evidence", pa.string())])
_NAME = pa.schema([("name", pa.int32()), ("device", pa.string())])


def sides(
    connection: duckdb.DuckDBPyConnection, attributor: Attributor, zone: ZoneInfo, first: date, last: date
) -> None:
    """Fill `records` from `once`: each with its local day, and site, evidence and trunk of both sides.

    For all days on which the estate is the same, the first of them stands: what it says of a party is looked up once.
    """
    offset = offset_sql(zone, "origination", first, last)
    local = f"CAST(make_timestamp(epoch_us(origination) + {offset}) AS DATE)"
    day = _same_day(attributor.change_days, local, first - FURTHEST * _DAY, last + FURTHEST * _DAY)
    connection.execute(f"CREATE OR REPLACE TEMP VIEW keyed AS SELECT *, {day} AS lday FROM once")
    # Millions of records hold an index of what is said of each side, and not its words.
    places: dict[str, int] = {}
    if _devices(connection, attributor, places):
        _addresses(connection, attributor, places)
        _numbers(connection, attributor, places)
    else:
        _fill(connection, "by_address", _columns(_ADDRESS.names, ()), _ADDRESS)
        _fill(connection, "by_number", _columns(_NUMBER.names, ()), _NUMBER)
    _fill(connection, "places", {"place": list(places.values()), "evidence": list(places)}, _PLACE)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE systems AS
        SELECT source, system, row_number() OVER (ORDER BY source, system)::SMALLINT AS sid
        FROM (SELECT DISTINCT source, system FROM once)
    """)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE records AS
        SELECT systems.sid, k.lday, {", ".join(f"k.{name}" for name in NEEDED)},
            epoch(k.origination)::BIGINT AS began, epoch(k.connect)::BIGINT AS up,
            coalesce(epoch(k.disconnect), epoch(k.connect) + k.seconds, epoch(k.origination))::BIGINT AS ended,
            {_side("o")}, {_side("d")}
        FROM keyed k JOIN systems ON systems.source = k.source AND systems.system = k.system
        {_joins("orig", "calling", "o")} {_joins("dest", "called", "d")}
    """)


_WHERE = ("device", "address", "number")


def _side(short: str) -> str:
    """Columns of one side."""
    found = [f"{short}_{name}" for name in _WHERE]
    site = ", ".join(f"{table}.site" for table in found)
    place = ", ".join(f"{table}.place" for table in found)
    known = " OR ".join(f"{table}.known IS NOT NULL" for table in found)
    return (
        f"{short}_device.name AS {short}_name, coalesce({site}) AS {short}_site, coalesce({place}) AS {short}_place, "
        f"{short}_device.trunk AS {short}_trunk, ({known}) AS {short}_known"
    )


def _joins(side: str, number: str, short: str) -> str:
    """Join the looked-up values, each only where what comes before it in the stated order knew nothing."""
    device, address, numbered = (f"{short}_{name}" for name in _WHERE)
    return f"""
        LEFT JOIN by_device {device} ON {device}.device = k.{side}_device AND {device}.lday = k.lday
        LEFT JOIN by_address {address} ON {address}.lday = k.lday
            AND {address}.address = CASE WHEN {device}.known IS NULL THEN k.{side}_ip END
        LEFT JOIN by_number {numbered} ON {numbered}.lday = k.lday
            AND {numbered}.number = CASE WHEN {device}.known IS NULL AND {address}.known IS NULL THEN k.{number} END
            AND {numbered}.partition = coalesce(k.{number}_partition, '')
    """


def _fill(
    connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, Sequence[object]], types: pa.Schema
) -> None:
    """Make a temporary table of looked-up values."""
    connection.register("looked_up", pa.table(columns, schema=types))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM looked_up")
    connection.unregister("looked_up")


def _said(found: Attribution) -> str:
    return f"{found.evidence} {found.origin}" if found.origin else found.evidence


def _devices(connection: duckdb.DuckDBPyConnection, attributor: Attributor, places: dict[str, int]) -> bool:
    """Fill `by_device` and `names` with all devices; return whether the estate does not know some of them."""
    rows = connection.execute(
        "SELECT orig_device AS device, lday FROM keyed UNION SELECT dest_device, lday FROM keyed"
    ).fetchall()
    kept: list[tuple[object, ...]] = []
    names: dict[str, int] = {}
    all_known = True
    for device, day in rows:
        if device is None:
            all_known = False
            continue
        name = names.setdefault(device, len(names))
        trunk = attributor.trunk(device, day)
        if trunk is not None:
            kept.append(
                (device, day, name, trunk.site, _place(places, f"trunk {trunk.origin}"), True, trunk.kind.value)
            )
            continue
        found = attributor.attribute(device=device, address=None, number=None, partition=None, day=day)
        if found.site is None:
            all_known = False
            kept.append((device, day, name, None, None, None, None))
        else:
            kept.append((device, day, name, found.site, _place(places, _said(found)), True, None))
    _fill(connection, "by_device", _columns(_DEVICE.names, kept), _DEVICE)
    _fill(connection, "names", {"name": list(names.values()), "device": list(names)}, _NAME)
    return not all_known


def _place(places: dict[str, int], said: str) -> int:
    """Index of what is said of a side."""
    return places.setdefault(said, len(places))


def _columns(names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> dict[str, Sequence[object]]:
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _addresses(connection: duckdb.DuckDBPyConnection, attributor: Attributor, places: dict[str, int]) -> None:
    """Fill `by_address` for sides whose device is not known."""
    rows = connection.execute("""
        SELECT DISTINCT orig_ip, k.lday FROM keyed k
        ANTI JOIN (FROM by_device WHERE known) d ON d.device = k.orig_device AND d.lday = k.lday
        WHERE orig_ip IS NOT NULL
        UNION
        SELECT DISTINCT dest_ip, k.lday FROM keyed k
        ANTI JOIN (FROM by_device WHERE known) d ON d.device = k.dest_device AND d.lday = k.lday
        WHERE dest_ip IS NOT NULL
    """).fetchall()
    kept = []
    for address, day in rows:
        found = attributor.attribute(device=None, address=address, number=None, partition=None, day=day)
        if found.site is not None:
            kept.append((address, day, found.site, _place(places, _said(found)), True))
    _fill(connection, "by_address", _columns(_ADDRESS.names, kept), _ADDRESS)


def _numbers(connection: duckdb.DuckDBPyConnection, attributor: Attributor, places: dict[str, int]) -> None:
    """Fill `by_number` for sides whose device and address are not known."""
    rows = connection.execute("""
        SELECT DISTINCT calling, calling_partition, k.lday FROM keyed k
        ANTI JOIN (FROM by_device WHERE known) d ON d.device = k.orig_device AND d.lday = k.lday
        WHERE calling IS NOT NULL AND NOT EXISTS (FROM by_address a WHERE a.address = k.orig_ip AND a.lday = k.lday)
        UNION
        SELECT DISTINCT called, called_partition, k.lday FROM keyed k
        ANTI JOIN (FROM by_device WHERE known) d ON d.device = k.dest_device AND d.lday = k.lday
        WHERE called IS NOT NULL AND NOT EXISTS (FROM by_address a WHERE a.address = k.dest_ip AND a.lday = k.lday)
    """).fetchall()
    kept = []
    for number, partition, day in rows:
        found = attributor.attribute(device=None, address=None, number=number, partition=partition, day=day)
        if found.site is not None:
            kept.append((number, partition or "", day, found.site, _place(places, _said(found)), True))
    _fill(connection, "by_number", _columns(_NUMBER.names, kept), _NUMBER)


def dialled(connection: duckdb.DuckDBPyConnection, attributor: Attributor, country: str) -> list[Destination]:
    """Fill `dialled` (text, plan, sent, number, inside) and `planned` (site, lday, plan); return the destinations.

    What the network was sent (outpulsed digits) is read without the access digit that the dialled digits have.
    """
    rows = connection.execute("SELECT DISTINCT coalesce(o_site, ''), lday FROM records").fetchall()
    plans: list[DialPlan | None] = []
    kept = []
    for site, day in rows:
        plan = attributor.plan(site or None, day)
        if plan not in plans:
            plans.append(plan)
        kept.append((site, day, plans.index(plan)))
    types = [("site", pa.string()), ("lday", pa.date32()), ("plan", pa.int32())]
    _fill(connection, "planned", _columns(("site", "lday", "plan"), kept), pa.schema(types))
    texts = connection.execute("""
        SELECT coalesce(outpulsed_called, called) AS text, plan, outpulsed_called IS NOT NULL AS sent
        FROM records r JOIN planned p ON p.site = coalesce(r.o_site, '') AND p.lday = r.lday WHERE text IS NOT NULL
        UNION
        SELECT calling, plan, true
        FROM records r JOIN planned p ON p.site = coalesce(r.o_site, '') AND p.lday = r.lday
        WHERE calling IS NOT NULL AND NOT o_known
    """).fetchall()
    found: list[Destination] = []
    index: dict[Destination, int] = {}
    numbers = []
    readers = [(NumberReader(plan, country), NumberReader(_without_access(plan), country)) for plan in plans]
    for text, plan_id, sent in texts:
        destination = readers[plan_id][sent].read(text)
        at = index.setdefault(destination, len(found))
        if at == len(found):
            found.append(destination)
        # What is no number of the public network did not go there, unless a trunk says so.
        inside = destination.internal or destination.number_class == UNKNOWN
        numbers.append((text, plan_id, sent, at, inside))
    types = [
        ("text", pa.string()),
        ("plan", pa.int32()),
        ("sent", pa.bool_()),
        ("number", pa.int32()),
        ("inside", pa.bool_()),
    ]
    _fill(connection, "dialled", _columns(("text", "plan", "sent", "number", "inside"), numbers), pa.schema(types))
    return found


def _without_access(plan: DialPlan | None) -> DialPlan | None:
    if plan is None:
        return None
    return replace(plan, access_digits="")


def redirected(connection: duckdb.DuckDBPyConnection, attributor: Attributor) -> None:
    """Fill `redirecting` (number, lday, site, evidence): who sent calls from outside out again and so pays for them."""
    rows = connection.execute(
        "SELECT DISTINCT last_redirect, lday FROM marked WHERE o_out AND d_out AND last_redirect IS NOT NULL"
    ).fetchall()
    kept = []
    for number, day in rows:
        found = attributor.attribute(device=None, address=None, number=number, partition=None, day=day)
        if found.site is not None:
            kept.append((number, day, found.site, _said(found)))
    names = ("number", "lday", "site", "evidence")
    types = [("number", pa.string()), ("lday", pa.date32()), ("site", pa.string()), ("evidence", pa.string())]
    _fill(connection, "redirecting", _columns(names, kept), pa.schema(types))


def listed(connection: duckdb.DuckDBPyConnection, estate: Estate, attributor: Attributor) -> None:
    """Fill `public` (number, lday, listed): public numbers as records may spell them, on the days of the window."""
    days = [day for (day,) in connection.execute("SELECT DISTINCT lday FROM records").fetchall()]
    digits = {public.number.removeprefix("+") for public in estate.public_numbers}
    kept = []
    for number in sorted({spelled for plain in digits for spelled in (plain, f"+{plain}")}):
        for day in days:
            public = attributor.public_number(number, day)
            if public is not None:
                kept.append((number, day, public.number))
    types = [("number", pa.string()), ("lday", pa.date32()), ("listed", pa.string())]
    _fill(connection, "public", _columns(("number", "lday", "listed"), kept), pa.schema(types))
