"""The worked example of a month at two sites: its calls as usage lines, rated here by hand in plain decimals.

Nothing of the program rates or joins anything here: what the queries and the savings read was made by other means.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

import duckdb

from analytics.cost.money import ATOMS_PER_UNIT, to_atoms
from analytics.cost.statement import CostFacts
from analytics.store.cost_queries import Usage, usage_sums
from analytics.store.schema import USAGE
from collector.estate.costs import load_costs
from collector.estate.folder import load_estate

ESTATE = Path(__file__).parent / "data" / "cost_example_estate"
OCTOBER = 202510
LONDON = ZoneInfo("Europe/London")
SITE_OF = {"5": "A", "6": "B"}
COLUMNS = tuple(column.name for column in USAGE.columns)


@dataclass(frozen=True)
class Leg:
    """One leg of the example: what all its records together say."""

    connect: int
    seconds: int
    site: str
    kind: str
    number_class: str | None
    excluded: str | None = None
    dialled: str = ""


def class_of(called: str) -> tuple[str, str]:
    """Kind and class of a number of the example, read by eye."""
    classes = {
        "902079460018": "geo",
        "901134960123": "geo",
        "901134960999": "geo",
        "907400123456": "mobile",
        "903001231234": "geo",
        "908451234567": "084",
        "90012125550123": "intl_us",
        "999": "free",
        "9116123": "free",
    }
    return "outbound", classes[called]


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "calls.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def legs_of(rows: Iterable[dict[str, str]]) -> list[tuple[int, Leg]]:
    """Each row as a leg, n times; the transfer's two records are one leg of 480 s, its consultation none."""
    legs = []
    for row in rows:
        name, connect, seconds = row["row"], int(row["connect"]), int(row["duration"])
        site = SITE_OF.get(row["calling"][0], "A")
        if name == "c4a":
            leg = Leg(connect, 480, "A", "outbound", "geo", dialled=row["called"])
        elif name == "c4b":
            leg = Leg(connect, 0, "A", "consultation", None, "consultation")
        elif name == "c4c":
            continue
        elif row["redirect_reason"] == "354":
            leg = Leg(connect, seconds, "A", "recording", None, "recording")
        elif row["orig_dev"] == "SIPTRUNK":
            leg = Leg(connect, seconds, "A", "inbound", None)
        elif row["dest_dev"].startswith("SEP"):
            on_site = SITE_OF[row["called"][0]] == site
            leg = Leg(connect, seconds, site, "on_site" if on_site else "on_net", "onsite" if on_site else "intersite")
        else:
            leg = Leg(connect, seconds, site, *class_of(row["called"]), dialled=row["called"])
        legs.append((int(row["n"]), leg))
    return legs


def read_rates(folder: Path) -> dict[tuple[str, str, str], dict[str, Decimal]]:
    with (folder / "rates.csv").open(newline="") as file:
        return {
            (row["tariff"], row["class"], row["band"]): {
                name: Decimal(row[name]) for name in ("connect_p", "rate_p_per_min", "service_p_per_min", "increment_s")
            }
            for row in csv.DictReader(file)
        }


def price(rates: dict[tuple[str, str, str], dict[str, Decimal]], tariff: str, leg: Leg) -> int | None:
    """Price of a leg in atoms, by the example's own rates: band by start, connection fee, whole increments."""
    if leg.number_class is None or leg.excluded:
        return None
    if not leg.seconds:
        return 0
    local = datetime.fromtimestamp(leg.connect, LONDON)
    band = "peak" if local.weekday() < 5 and 7 <= local.hour < 19 else "offpeak"
    rate = rates[tariff, leg.number_class, band]
    step = int(rate["increment_s"])
    charged = -(-leg.seconds // step) * step
    per_minute = rate["rate_p_per_min"] + rate["service_p_per_min"]
    # Pence to pounds, and a sixtieth of a minute's price, as whole atoms.
    atoms = to_atoms(rate["connect_p"] / 100) + to_atoms(per_minute / 100) // 60 * charged
    assert Decimal(atoms) / ATOMS_PER_UNIT * 6000 == rate["connect_p"] * 60 + per_minute * charged
    return atoms


def month_of_leg(leg: Leg) -> int:
    local = datetime.fromtimestamp(leg.connect, LONDON)
    return local.year * 100 + local.month


def usage_table(
    connection: duckdb.DuckDBPyConnection, folder: Path, legs: Sequence[tuple[int, Leg]] | None = None
) -> str:
    """Create the table `usage` of the example, columns as the lake has them; return its name."""
    columns = ", ".join(f'"{column.name}" {column.kind}' for column in USAGE.columns)
    connection.execute(f"CREATE OR REPLACE TABLE usage ({columns})")
    rates = read_rates(folder)
    rows: list[dict[str, object]] = []
    for count, leg in legs if legs is not None else legs_of(read_rows(folder)):
        if not leg.connect:
            continue
        for _ in range(count):
            rows.append(_row(leg, price(rates, "ip", leg), price(rates, "legacy", leg), len(rows)))
    marks = ", ".join("?" * len(rows[0]))
    names = ", ".join(rows[0])
    connection.execute("BEGIN")
    connection.executemany(f"INSERT INTO usage ({names}) VALUES ({marks})", [list(row.values()) for row in rows])
    connection.execute("COMMIT")
    return "usage"


def _row(leg: Leg, ip: int | None, legacy: int | None, key: int) -> dict[str, object]:
    unpriced = leg.kind == "inbound" or leg.excluded
    return {
        "line_key": key,
        "call_key": key,
        "month": month_of_leg(leg),
        "seconds": leg.seconds,
        "answered": True,
        "kind": leg.kind,
        "excluded": leg.excluded,
        "number_class": leg.number_class,
        "site": leg.site,
        "ip_cost": ip,
        "ip_seconds": None if unpriced else leg.seconds,
        "legacy_cost": legacy,
        "legacy_seconds": None if unpriced else leg.seconds,
    }


def example_usage(folder: Path, legs: Sequence[tuple[int, Leg]] | None = None) -> Usage:
    with duckdb.connect() as connection:
        return usage_sums(connection, usage_table(connection, folder, legs), [202509, OCTOBER, 202511])


def example_facts(usage: Usage) -> CostFacts:
    estate = load_estate(ESTATE)
    costs = load_costs(ESTATE, {site.site for site in estate.sites})
    return CostFacts(estate.settings, estate.sites, costs, usage, (("estate", estate.digest),))


def by_month(usage: Usage) -> dict[int, int]:
    lines: dict[int, int] = defaultdict(int)
    for one in usage.sums:
        lines[one.month] += one.lines
    return dict(lines)


CLUSTER = "StandAloneCluster"
COPIES = 10_000
"""Room between the identifiers of the example's rows for their copies."""
WITHOUT_CONNECT = {"c4b": 1_759_496_510, "c9": 1_759_975_200}
"""When attempts that were never answered began: during the transfer, and an hour after the emergency calls."""


def write_cucm_files(example: Path, fields: Path, out: Path, *, files: int = 1) -> list[Path]:
    """Write the example as CUCM writes call detail records: each row n times, with identifiers of its own.

    `fields` lists the columns of a record; rows are dealt out over so many files, which are numbered in sequence.
    """
    with fields.open(newline="") as file:
        columns = [(row["field"], row["type"]) for row in csv.DictReader(file) if row["record"] == "CDR"]
    records = [cucm_record(row, copy) for row in read_rows(example) for copy in range(int(row["n"]))]
    records.sort(key=lambda record: int(record["dateTimeDisconnect"]))
    written = []
    size = -(-len(records) // files)
    for number in range(files):
        path = out / f"cdr_{CLUSTER}_01_2025110100{number:02d}_{number + 1}"
        lines = [",".join(f'"{name}"' for name, _ in columns), ",".join(kind for _, kind in columns)]
        for record in records[number * size : (number + 1) * size]:
            lines.append(",".join(cucm_field(record.get(name, ""), kind) for name, kind in columns))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        written.append(path)
    return written


def cucm_field(value: object, kind: str) -> str:
    """A field as CUCM writes it: text in quotes, a number that is not set as 0."""
    return str(value or 0) if kind == "INTEGER" else f'"{value}"'


def cucm_record(row: dict[str, str], copy: int) -> dict[str, int | str]:
    """One record of the example, by the names of its columns."""

    def apart(identifier: str) -> int:
        return int(identifier) * COPIES + copy if int(identifier) else 0

    connect, seconds = int(row["connect"]), int(row["duration"])
    began = connect - 5 if connect else WITHOUT_CONNECT[row["row"]]
    recorded = row["redirect_reason"] == "354"
    return {
        "cdrRecordType": 1,
        "globalCallID_callManagerId": 1,
        "globalCallID_callId": apart(row["callid"]),
        "globalCallId_ClusterID": CLUSTER,
        "origLegCallIdentifier": apart(row["orig_leg"]),
        "destLegIdentifier": apart(row["dest_leg"]),
        "dateTimeOrigination": connect if row["row"] == "c4c" else began,
        "dateTimeConnect": connect,
        "dateTimeDisconnect": connect + seconds if connect else began + 8,
        "duration": seconds,
        "callingPartyNumber": row["calling"],
        "originalCalledPartyNumber": row["called"],
        "finalCalledPartyNumber": row["called"],
        "origDeviceName": row["orig_dev"],
        "destDeviceName": row["dest_dev"],
        "origCause_value": int(row["orig_cause"]),
        "destCause_value": int(row["dest_cause"]),
        "origCalledPartyRedirectReason": int(row["redirect_reason"]),
        "lastRedirectRedirectReason": int(row["redirect_reason"]),
        "origCalledPartyRedirectOnBehalfOf": 27 if recorded else 0,
        "lastRedirectRedirectOnBehalfOf": 27 if recorded else 0,
        "joinOnBehalfOf": int(row["join_on_behalf"]),
        "origConversationId": apart(row["orig_conv_id"]),
        "origNodeId": 1,
        "destNodeId": 1,
        "pkid": str(uuid5(NAMESPACE_OID, f"{row['row']}/{copy}")),
    }
