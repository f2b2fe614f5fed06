"""A month of call detail records as a CUCM cluster of 70 sites writes them, with what is true of them.

`python -m benchmarks.records FOLDER COUNT` makes the records, a file a day, and the estate they belong to, in FOLDER.
Of 50 records, 25 are calls to the public network, 10 between telephones, 7 from outside, 4 recording legs, 1 an
attempt that nobody answered and 3 one transferred call.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from collector.cdr.cucm_layout import CDR, HOLDS_TEXT, ORDER

ROOT = Path(__file__).resolve().parents[1]
SITES = 70
DEVICES = 5_000
FAR_NUMBERS = 50_000
DAYS = 31
FIRST = 1_759_276_800
"""2025-10-01 00:00 UTC."""
DEVICE = "'SEP' || lpad({}::VARCHAR, 12, '0')"

_CALLS = f"""
    SELECT i, i % 50 AS p, {FIRST} + i * {DAYS * 86_400} // {{count}} AS t,
        1 + hash(i) % 600 AS talk, hash(i, 1) % {DEVICES} AS a, hash(i, 2) % {DEVICES} AS b,
        lpad((hash(i, 3) % {FAR_NUMBERS})::VARCHAR, 6, '0') AS far
    FROM range({{first}}, {{last}}) r(i)
"""  # noqa: S608 -- our own numbers
# The three records of a transfer share their parties: all are made from the number of the first.
_SHAPED = f"""
    SELECT c.* EXCLUDE (a, b, far, t), coalesce(h.a, c.a) AS a, coalesce(h.b, c.b) AS b, coalesce(h.far, c.far) AS far,
        coalesce(h.t, c.t) AS t, h.talk AS first_talk
    FROM ({_CALLS}) c LEFT JOIN ({_CALLS}) h ON c.p >= 47 AND h.i = c.i - c.p + 47
"""  # noqa: S608 -- our own numbers
_VALUES = {
    "cdrRecordType": "1",
    "globalCallID_callManagerId": "1",
    "globalCallID_callId": "CASE p WHEN 49 THEN i - 2 ELSE i END + 1",
    "origLegCallIdentifier": "CASE p WHEN 49 THEN 2 * (i - 2) + 2 ELSE 2 * i + 1 END",
    "destLegIdentifier": "CASE p WHEN 49 THEN 2 * (i - 1) + 2 ELSE 2 * i + 2 END",
    "dateTimeOrigination": "CASE p WHEN 48 THEN greatest(t + 1, t + first_talk - 5) "
    "WHEN 49 THEN t + 5 + first_talk ELSE t END",
    "dateTimeConnect": "CASE WHEN p IN (46, 48) THEN 0 WHEN p = 49 THEN t + 5 + first_talk ELSE t + 5 END",
    "dateTimeDisconnect": "CASE p WHEN 46 THEN t + 20 WHEN 48 THEN t + 5 + first_talk "
    "WHEN 49 THEN t + 5 + first_talk + talk ELSE t + 5 + talk END",
    "duration": "CASE WHEN p IN (46, 48) THEN 0 ELSE talk END",
    "callingPartyNumber": "CASE WHEN p BETWEEN 35 AND 41 OR p = 49 THEN '01134' || far "
    "WHEN p BETWEEN 42 AND 45 THEN 'b0021791445' ELSE (5000 + a % 2000)::VARCHAR END",
    "originalCalledPartyNumber": "{called}",
    "finalCalledPartyNumber": "{called}",
    "origDeviceName": f"CASE WHEN p BETWEEN 35 AND 41 OR p = 49 THEN 'TRUNK' ELSE {DEVICE.format('a')} END",
    "destDeviceName": "CASE WHEN p < 25 OR p IN (46, 47) THEN 'TRUNK' WHEN p BETWEEN 42 AND 45 THEN 'RECORDER' "
    f"ELSE {DEVICE.format('b')} END",
    "origCause_value": "CASE WHEN p IN (47, 48) THEN 393216 WHEN p = 46 THEN 0 ELSE 16 END",
    "destCause_value": "CASE WHEN p IN (47, 48) THEN 393216 WHEN p = 46 THEN 19 ELSE 0 END",
    "lastRedirectRedirectReason": "CASE WHEN p BETWEEN 42 AND 45 THEN 354 ELSE 0 END",
    "lastRedirectRedirectOnBehalfOf": "CASE WHEN p BETWEEN 42 AND 45 THEN 27 ELSE 0 END",
    "joinOnBehalfOf": "CASE p WHEN 49 THEN 10 ELSE 0 END",
    "globalCallId_ClusterID": "'County'",
    "pkid": "printf('%08x-%04x-4000-8000-%012x', i, i % 65536, hash(i, 4) % 281474976710656)",
    "origIpv4v6Addr": "'10.' || (a % 70) || '.' || (a % 250) || '.' || (1 + a % 200)",
    "destIpv4v6Addr": "'10.' || (b % 70) || '.' || (b % 250) || '.' || (1 + b % 200)",
    "origMediaCap_payloadCapability": "2",
    "destMediaCap_payloadCapability": "2",
    "origDeviceSessionID": "printf('%032x', hash(i, 5))",
    "destDeviceSessionID": "printf('%032x', hash(i, 6))",
    "callingPartyUnicodeLoginUserID": "'user' || a",
}
_CALLED = (
    "CASE WHEN p < 25 OR p IN (46, 47) THEN '902079' || far WHEN p BETWEEN 42 AND 45 THEN '8999' "
    "ELSE (5000 + b % 2000)::VARCHAR END"
)


class Month(NamedTuple):
    """Records, the estate they belong to, and what is true of them."""

    files: Path
    estate: Path
    truth: Mapping[str, Any]


def prepared(folder: Path, count: int) -> Month:
    """The month with so many records, made once; its name tells the generator too."""
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    made = folder / f"records-{count}-{source}"
    if not (made / "truth.json").exists():
        print(f"making {made}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "benchmarks.records", str(made), str(count)], cwd=ROOT, check=True)
    return Month(made / "cdr", made / "estate", json.loads((made / "truth.json").read_text()))


def make(folder: Path, count: int) -> None:
    """Write records, estate and truth."""
    count -= count % 50  # whole transfers
    (folder / "cdr").mkdir(parents=True, exist_ok=True)
    heads = heading()
    with duckdb.connect(config={"threads": 2, "memory_limit": "2GB"}) as connection:
        for day in range(DAYS):
            first, last = (count * each // DAYS // 50 * 50 for each in (day, day + 1))
            last = count if day == DAYS - 1 else last
            body = folder / "body.csv"
            connection.execute(_day_sql(count, first, last, body))
            path = folder / "cdr" / f"cdr_County_01_202510{day + 1:02d}2359_{day + 1}"
            with path.open("wb") as file:
                file.write(heads)
                file.flush()
                subprocess.run(["cat", str(body)], stdout=file, check=True)
            body.unlink()
        truth = _truth(connection, count)
    make_estate(folder / "estate")
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def heading() -> bytes:
    """Names and types, as CUCM begins its files."""
    texts = [name for name, is_text in zip(ORDER[CDR], HOLDS_TEXT[CDR], strict=True) if is_text]
    names = ",".join(f'"{name}"' for name in ORDER[CDR])
    kinds = ",".join("VARCHAR(50)" if name in texts else "INTEGER" for name in ORDER[CDR])
    return f"{names}\n{kinds}\n".encode()


def _day_sql(count: int, first: int, last: int, path: Path) -> str:
    texts = [name for name, is_text in zip(ORDER[CDR], HOLDS_TEXT[CDR], strict=True) if is_text]
    cells = []
    for name in ORDER[CDR]:
        value = _VALUES.get(name, "''" if name in texts else "0").replace("{called}", _CALLED)
        cells.append(f"({value}) AS {name}")
    calls = _SHAPED.replace("{count}", str(count)).replace("{first}", str(first)).replace("{last}", str(last))
    quoted = ", ".join(texts)
    return (
        f"COPY (SELECT {', '.join(cells)} FROM ({calls}) ORDER BY i) TO '{path}' "  # noqa: S608 -- our own text
        f"(FORMAT csv, HEADER false, FORCE_QUOTE ({quoted}))"
    )


def _truth(connection: duckdb.DuckDBPyConnection, count: int) -> dict[str, Any]:
    """Lines, seconds and price of the calls to the public network, by arithmetic on the generator's own numbers."""
    calls = _CALLS.replace("{count}", str(count)).replace("{first}", "0").replace("{last}", str(count))
    row = connection.execute(
        f"SELECT count(*) FILTER (p < 25 OR p IN (46, 47)), sum(talk) FILTER (p < 25 OR p IN (47, 49)) FROM ({calls})"  # noqa: S608
    ).fetchone()
    assert row is not None
    # 0.6 p a minute by the second: 0.01 p a second.
    return {
        "records": count,
        "lines": count - count // 50,
        "outbound_lines": row[0],
        "outbound_seconds": row[1],
        "ip_pounds": f"{row[1] / 10_000:.4f}",
    }


def make_estate(folder: Path) -> None:
    """Write the estate: sites, devices, trunks, a dial plan and two tariffs."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "estate.toml": '[estate]\nname = "County"\ntimezone = "Europe/London"\ncountry = "GB"\ncurrency = "GBP"\n',
        "sites.csv": "site,name,kind,parent,priority,valid_from,valid_to\n"
        + "".join(f"s{n:02d},Site {n},{'station' if n < 16 else 'office'},,normal,,\n" for n in range(SITES)),
        "devices.csv": "device,site,pool,valid_from,valid_to\n"
        + "".join(f"SEP{n:012d},s{n % SITES:02d},,,\n" for n in range(DEVICES)),
        "trunks.csv": "device,kind,site,channels,valid_from,valid_to\nTRUNK,pstn,,600,,\nRECORDER,recording,,,,\n",
        "dialplans.csv": "site,access_digits,extension_digits,extension_first,area_code,emergency\n,9,4,56,,999 112\n",
    }
    rates = {"ip": ("0", "0.60", "1/1"), "legacy": ("5.0", "4.00", "60/60")}
    for name, (fee, minute, increment) in rates.items():
        rows = "".join(
            f",{each},,{fee if price != '0' else '0'},{price},{increment}\n"
            for each, price in (
                ("geographic", minute),
                ("intersite", minute if name == "legacy" else "0"),
                ("onsite", "0"),
            )
        )
        version = f"tariffs/{name}/2025-01-01"
        texts[f"{version}/rates.csv"] = f"prefix,class,band,connection_fee,per_minute,increment\n{rows}"
        texts[f"{version}/terms.csv"] = (
            "key,value\ncurrency,GBP\nunit,pence\nband_crossing,start\ntariff_change,start\nvat,excluded\nholidays,no\n"
            "rounding,half_up\n"
        )
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
