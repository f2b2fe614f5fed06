"""Who is on each side of a record, and what class a dialled number has.

Millions of records name a few thousand devices and numbers: each distinct one is looked up once a local day, in the
stated order (device, subnet, number range), and joined back. Local days come from the zone's own changes of offset.
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
from analytics.cost.numbers import Destination, classify
from analytics.sites import DialPlan

_DAY = timedelta(days=1)


def offset_sql(zone: ZoneInfo, column: str, first: date, last: date) -> str:
    """Return SQL for the zone's offset from UTC [s] at a time column whose values lie in UTC days first to last.

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
        return str(base)
    cases = " ".join(
        f"WHEN {column} >= TIMESTAMPTZ '{moment:%Y-%m-%d %H:%M:%S}+00' THEN {now}" for moment, now in reversed(steps)
    )
    return f"(CASE {cases} ELSE {base} END)"


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None  # an aware datetime has one
    return round(offset.total_seconds())


_SIDE = pa.schema([("site", pa.string()), ("evidence", pa.string()), ("trunk", pa.string()), ("known", pa.bool_())])


def sides(
    connection: duckdb.DuckDBPyConnection, attributor: Attributor, zone: ZoneInfo, first: date, last: date
) -> None:
    """Fill `sided`: the records with site, evidence and trunk of both sides."""
    began = offset_sql(zone, "origination", first, last)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE keyed AS SELECT rid, "
        f"CAST(make_timestamp((began + {began}) * 1000000) AS DATE) AS lday, orig_device, dest_device, "
        "orig_ip, dest_ip, calling, calling_partition, called, called_partition FROM records"
    )
    _devices(connection, attributor)
    _addresses(connection, attributor)
    _numbers(connection, attributor)
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE sided AS
        SELECT k.rid, k.lday,
            coalesce(od.site, oa.site, onr.site) AS o_site,
            coalesce(od.evidence, oa.evidence, onr.evidence, 'none') AS o_evidence,
            od.trunk AS o_trunk, coalesce(od.known, oa.known, onr.known, false) AS o_known,
            coalesce(dd.site, da.site, dnr.site) AS d_site,
            coalesce(dd.evidence, da.evidence, dnr.evidence, 'none') AS d_evidence,
            dd.trunk AS d_trunk, coalesce(dd.known, da.known, dnr.known, false) AS d_known
        FROM keyed k
        LEFT JOIN by_device od ON od.device = k.orig_device AND od.lday = k.lday
        LEFT JOIN by_address oa ON od.known IS NULL AND oa.address = k.orig_ip AND oa.lday = k.lday
        LEFT JOIN by_number onr ON od.known IS NULL AND oa.known IS NULL AND onr.number = k.calling
            AND onr.partition IS NOT DISTINCT FROM k.calling_partition AND onr.lday = k.lday
        LEFT JOIN by_device dd ON dd.device = k.dest_device AND dd.lday = k.lday
        LEFT JOIN by_address da ON dd.known IS NULL AND da.address = k.dest_ip AND da.lday = k.lday
        LEFT JOIN by_number dnr ON dd.known IS NULL AND da.known IS NULL AND dnr.number = k.called
            AND dnr.partition IS NOT DISTINCT FROM k.called_partition AND dnr.lday = k.lday
    """)


def _fill(
    connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, Sequence[object]], types: pa.Schema
) -> None:
    """Make a temporary table of looked-up values."""
    connection.register("looked_up", pa.table(columns, schema=types))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM looked_up")
    connection.unregister("looked_up")


def _said(found: Attribution) -> str:
    return f"{found.evidence} {found.origin}" if found.origin else found.evidence


def _devices(connection: duckdb.DuckDBPyConnection, attributor: Attributor) -> None:
    """Fill `by_device` with the devices and trunks that the estate knows."""
    rows = connection.execute("""
        SELECT DISTINCT orig_device AS device, lday FROM keyed WHERE orig_device IS NOT NULL
        UNION SELECT DISTINCT dest_device, lday FROM keyed WHERE dest_device IS NOT NULL
    """).fetchall()
    kept: list[tuple[object, ...]] = []
    for device, day in rows:
        trunk = attributor.trunk(device, day)
        if trunk is not None:
            kept.append((device, day, trunk.site, f"trunk {trunk.origin}", trunk.kind.value, True))
            continue
        found = attributor.attribute(device=device, address=None, number=None, partition=None, day=day)
        if found.site is not None:
            kept.append((device, day, found.site, _said(found), None, True))
    names = ("device", "lday", "site", "evidence", "trunk", "known")
    _fill(
        connection,
        "by_device",
        _columns(names, kept),
        pa.schema([("device", pa.string()), ("lday", pa.date32()), *_SIDE]),
    )


def _columns(names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> dict[str, Sequence[object]]:
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _addresses(connection: duckdb.DuckDBPyConnection, attributor: Attributor) -> None:
    """Fill `by_address` for sides whose device is not known."""
    rows = connection.execute("""
        SELECT DISTINCT orig_ip, k.lday FROM keyed k
        ANTI JOIN by_device d ON d.device = k.orig_device AND d.lday = k.lday
        WHERE orig_ip IS NOT NULL
        UNION
        SELECT DISTINCT dest_ip, k.lday FROM keyed k
        ANTI JOIN by_device d ON d.device = k.dest_device AND d.lday = k.lday
        WHERE dest_ip IS NOT NULL
    """).fetchall()
    kept = []
    for address, day in rows:
        found = attributor.attribute(device=None, address=address, number=None, partition=None, day=day)
        if found.site is not None:
            kept.append((address, day, found.site, _said(found), True))
    types = [("address", pa.string()), ("lday", pa.date32()), ("site", pa.string()), ("evidence", pa.string())]
    names = ("address", "lday", "site", "evidence", "known")
    _fill(connection, "by_address", _columns(names, kept), pa.schema([*types, ("known", pa.bool_())]))


def _numbers(connection: duckdb.DuckDBPyConnection, attributor: Attributor) -> None:
    """Fill `by_number` for sides whose device and address are not known."""
    rows = connection.execute("""
        SELECT DISTINCT calling, calling_partition, k.lday FROM keyed k
        ANTI JOIN by_device d ON d.device = k.orig_device AND d.lday = k.lday
        WHERE calling IS NOT NULL AND NOT EXISTS (FROM by_address a WHERE a.address = k.orig_ip AND a.lday = k.lday)
        UNION
        SELECT DISTINCT called, called_partition, k.lday FROM keyed k
        ANTI JOIN by_device d ON d.device = k.dest_device AND d.lday = k.lday
        WHERE called IS NOT NULL AND NOT EXISTS (FROM by_address a WHERE a.address = k.dest_ip AND a.lday = k.lday)
    """).fetchall()
    kept = []
    for number, partition, day in rows:
        found = attributor.attribute(device=None, address=None, number=number, partition=partition, day=day)
        if found.site is not None:
            kept.append((number, partition, day, found.site, _said(found), True))
    types = [
        ("number", pa.string()),
        ("partition", pa.string()),
        ("lday", pa.date32()),
        ("site", pa.string()),
        ("evidence", pa.string()),
        ("known", pa.bool_()),
    ]
    names = ("number", "partition", "lday", "site", "evidence", "known")
    _fill(connection, "by_number", _columns(names, kept), pa.schema(types))


def dialled(connection: duckdb.DuckDBPyConnection, attributor: Attributor, country: str) -> list[Destination]:
    """Fill `dialled` (text, plan, number) and `planned` (site, lday, plan); return the destinations by `number`.

    What the network was sent (outpulsed digits) is read without the access digit that the dialled digits have.
    """
    rows = connection.execute("SELECT DISTINCT o_site, lday FROM sided").fetchall()
    plans: list[DialPlan | None] = []
    kept = []
    for site, day in rows:
        plan = attributor.plan(site, day)
        if plan not in plans:
            plans.append(plan)
        kept.append((site, day, plans.index(plan)))
    _fill(
        connection,
        "planned",
        _columns(("site", "lday", "plan"), kept),
        pa.schema([("site", pa.string()), ("lday", pa.date32()), ("plan", pa.int32())]),
    )
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE spoken AS
        SELECT r.rid, p.plan, coalesce(r.outpulsed_called, r.called) AS text, r.outpulsed_called IS NOT NULL AS sent
        FROM records r JOIN sided s USING (rid)
        JOIN planned p ON p.site IS NOT DISTINCT FROM s.o_site AND p.lday = s.lday
    """)
    texts = connection.execute("""
        SELECT DISTINCT text, plan, sent FROM spoken WHERE text IS NOT NULL
        UNION
        SELECT DISTINCT r.calling, p.plan, true FROM records r JOIN sided s USING (rid)
        JOIN planned p ON p.site IS NOT DISTINCT FROM s.o_site AND p.lday = s.lday
        WHERE r.calling IS NOT NULL AND NOT s.o_known
    """).fetchall()
    found: list[Destination] = []
    index: dict[Destination, int] = {}
    numbers = []
    for text, plan_id, sent in texts:
        plan = plans[plan_id]
        destination = classify(text, _without_access(plan) if sent else plan, country)
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
        ("internal", pa.bool_()),
    ]
    _fill(connection, "dialled", _columns(("text", "plan", "sent", "number", "internal"), numbers), pa.schema(types))
    return found


def _without_access(plan: DialPlan | None) -> DialPlan | None:
    if plan is None:
        return None
    return replace(plan, access_digits="")


def redirected(connection: duckdb.DuckDBPyConnection, attributor: Attributor) -> None:
    """Fill `redirected` (rid, site, evidence): who sent a call from outside on to the outside, and so pays for it."""
    rows = connection.execute("""
        SELECT DISTINCT r.last_redirect, s.lday FROM marked m JOIN records r USING (rid) JOIN sided s USING (rid)
        WHERE m.o_out AND m.d_out AND r.last_redirect IS NOT NULL
    """).fetchall()
    kept = []
    for number, day in rows:
        found = attributor.attribute(device=None, address=None, number=number, partition=None, day=day)
        if found.site is not None:
            kept.append((number, day, found.site, _said(found)))
    names = ("number", "lday", "site", "evidence")
    types = [("number", pa.string()), ("lday", pa.date32()), ("site", pa.string()), ("evidence", pa.string())]
    _fill(connection, "redirecting", _columns(names, kept), pa.schema(types))
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE redirected AS
        SELECT m.rid, d.site, d.evidence FROM marked m JOIN records r USING (rid) JOIN sided s USING (rid)
        JOIN redirecting d ON d.number = r.last_redirect AND d.lday = s.lday WHERE m.o_out AND m.d_out
    """)


def listed(connection: duckdb.DuckDBPyConnection, attributor: Attributor) -> None:
    """Fill `listed` (rid, label): inbound records whose pilot, first or final called number is a public one."""
    rows = connection.execute("""
        WITH inward AS (
            SELECT r.*, s.lday FROM marked m JOIN records r USING (rid) JOIN sided s USING (rid) WHERE m.o_out)
        SELECT hunt_pilot, lday FROM inward WHERE hunt_pilot IS NOT NULL
        UNION SELECT original_called, lday FROM inward WHERE original_called IS NOT NULL
        UNION SELECT called, lday FROM inward WHERE called IS NOT NULL
    """).fetchall()
    kept = []
    for number, day in rows:
        public = attributor.public_number(number, day)
        if public is not None:
            kept.append((number, day, public.number))
    types = [("number", pa.string()), ("lday", pa.date32()), ("label", pa.string())]
    _fill(connection, "public", _columns(("number", "lday", "label"), kept), pa.schema(types))
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE listed AS
        SELECT m.rid, coalesce(o.label, h.label, c.label) AS label
        FROM marked m JOIN records r USING (rid) JOIN sided s USING (rid)
        LEFT JOIN public o ON o.number = r.original_called AND o.lday = s.lday
        LEFT JOIN public h ON h.number = r.hunt_pilot AND h.lday = s.lday
        LEFT JOIN public c ON c.number = r.called AND c.lday = s.lday
        WHERE m.o_out AND coalesce(o.label, h.label, c.label) IS NOT NULL
    """)
