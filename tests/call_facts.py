"""Facts of calls for tests, as rows of the lake: a plain call between two sites, changed where a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from analytics.questions.asking import micros
from analytics.sites import Estate, EstateSettings, Origin, Site, Validity
from analytics.store.arrow_rows import arrow_table
from analytics.store.lake import Lake
from analytics.store.schema import table
from analytics.store.site_minutes import append_minutes

NOON = datetime(2025, 10, 1, 12, tzinfo=UTC)
MODEL = (
    "G.107 (2015); PCMA Ie 0 Bpl 25.1 (PLC); Ppl 0 % BurstR 1, loss as seen at the tap; delay echo-free, "
    "Ta 60 ms = packetisation 20 ms + assumed buffer 40 ms + network unknown, not counted"
)
SITES = (("ashcombe", "Ashcombe", "station"), ("northgate", "Northgate", "office"))


def at(seconds: float, begin: datetime = NOON) -> int:
    return micros(begin + timedelta(seconds=seconds))


def lake_at(folder: Path) -> Lake:
    return Lake.open(folder / "store", create=True)


def estate(zone: str = "Europe/London") -> Estate:
    sites = tuple(
        Site(site, name, kind, None, "normal", Validity(), Origin("sites.csv", 1)) for site, name, kind in SITES
    )
    return Estate(EstateSettings("County", timezone=zone), sites=sites, digest="0" * 64)


def put(lake: Lake, name: str, *rows: dict[str, Any]) -> None:
    """Append rows, each append a batch of its own."""
    lake.append(name, arrow_table(table(name), rows), batch=f"{lake.version(name)}")


def call(number: int, start: float = 0, **changed: Any) -> dict[str, Any]:
    """A call of 60 s that is answered after 5 s; `start` is seconds after noon."""
    return {
        "call_key": number, "source": "tap", "call_id": f"call-{number}@pbx", "start": at(start),
        "answer": at(start + 5), "end": at(start + 65), "state": "completed", "status": 200, "seconds": 60.0,
        "pdd_ms": 1_200.0, "calling": "+441134960101", "called": "+442079460123", "from_address": "10.1.4.7",
        "to_address": "10.9.0.2", "site": "ashcombe", "other_site": "northgate", "legs": 1, "streams": 2, "mos": 4.2,
    } | changed  # fmt: skip


def stream(number: int, of: int | None = None, start: float = 5, **changed: Any) -> dict[str, Any]:
    """A stream of 60 s with 3,000 packets."""
    return {
        "stream_key": number, "source": "tap", "call_key": of, "start": at(start), "end": at(start + 60),
        "from_address": "10.1.4.7:16402", "to_address": "10.9.0.2:24080", "site": "ashcombe",
        "other_site": "northgate", "ssrc": 0x01234567, "codec": "PCMA", "packets": 3_000, "expected": 3_000, "lost": 0,
        "loss_runs": 0, "jitter_ms": 2.0, "pdv_p95_ms": 5.0, "burst_ratio": None, "r_factor": 93.2062077232757,
        "mos": 4.4, "mos_model": MODEL, "why_no_mos": None, "dscp": 46, "evidence": "measured",
    } | changed  # fmt: skip


def record(number: int, start: float = 0, **changed: Any) -> dict[str, Any]:
    """A CUCM record of such a call."""
    return {
        "source": "cucm", "system": "County", "file_key": 7, "line": number, "row_key": number, "call_ref": number,
        "orig_leg": 2 * number, "dest_leg": 2 * number + 1, "origination": at(start), "connect": at(start + 5),
        "disconnect": at(start + 65), "seconds": 60, "calling": "60101", "original_called": "902079460123",
        "called": "902079460123", "orig_device": "SEP0001", "dest_device": "TRUNK", "orig_ip": "10.1.4.7",
        "dest_ip": "10.9.0.2", "orig_cause": 16, "dest_cause": 0,
    } | changed  # fmt: skip


def report(number: int, reported: float = 66, **changed: Any) -> dict[str, Any]:
    """What the caller's telephone said of such a call (CMR)."""
    return {
        "source": "cucm", "system": "County", "file_key": 8, "line": number, "row_key": number, "call_ref": number,
        "leg": 2 * number, "reported": at(reported), "device": "SEP0001", "directory_number": "60101",
        "packets_sent": 3_000, "packets_received": 3_000, "packets_lost": 0, "jitter_ms": 2.0,
    } | changed  # fmt: skip


def minute(site: str, start: float = 0, begin: datetime = NOON, **changed: Any) -> dict[str, Any]:
    """A minute of a site with four good streams of two calls; `start` is seconds after `begin`."""
    return {
        "site": site, "start": at(start, begin), "calls": 2, "answered": 2, "failed": 0, "streams": 4, "rated": 4,
        "poor": 0, "mos_sum": 16.8, "mos_min": 4.1, "packets": 12_000, "expected": 12_000, "lost": 0,
        "jitter_sum_ms": 8.0, "jitter_max_ms": 3.0, "busy_seconds": 120.0,
    } | changed  # fmt: skip


def put_minutes(lake: Lake, *rows: dict[str, Any]) -> None:
    """Append minutes and their hours."""
    declared = table("site_minutes")
    made = arrow_table(declared, [{"month": None, "step": "minute", **row} for row in rows])
    kept = [name for name in made.column_names if name not in ("month", "step")]
    append_minutes(lake, pa.table(made.select(kept)), batch=f"{lake.version('site_minutes')}")
