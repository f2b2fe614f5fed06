"""A year of 70 sites as the API serves it: site minutes, calls of the year and their streams, made once and kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lake import MINUTES, SITES

if TYPE_CHECKING:
    from analytics.store.lake import Lake

YEAR = 2025
NOW = datetime(YEAR, 12, 31, 23, 39, 30, tzinfo=UTC)
"""What the server takes for the present when it starts: there are facts of the minutes that come then, too."""
TELEPHONES = 200
"""At each site."""
OUTSIDE = 200_000
"""Numbers of the world outside."""
# Three of four calls begin between 8 and 18 o'clock; a third is from outside, and one in twelve streams is poor.
_CALLS = f"""
SELECT CAST(hash(i) >> 1 AS BIGINT) AS call_key, 'core' AS source, 'a84b4c76e' || i || '@pbx.example' AS call_id, begun,
    talk, CASE WHEN i % 10 < 8 THEN begun + to_milliseconds(4000 + hash(i, 2) % 9000) END AS answer,
    CASE WHEN i % 10 < 8 THEN 'completed' WHEN i % 10 = 8 THEN 'unanswered' ELSE 'failed' END AS state,
    CAST(CASE WHEN i % 10 < 8 THEN 200 WHEN i % 10 = 8 THEN 487 ELSE 503 END AS SMALLINT) AS status,
    hash(i, 3) % {SITES} AS here, hash(i, 4) % {SITES} AS there, hash(i, 5) % 3 = 0 AS outside, i,
    CASE WHEN hash(i, 6) % 12 = 0 THEN 1.2 + hash(i, 7) % 2300 / 1e3 ELSE 4.0 + hash(i, 7) % 400 / 1e3 END AS mos
FROM (
    SELECT i, 10 + hash(i, 1) % 600 AS talk,
        TIMESTAMPTZ '{{begin}} 00:00:00+00' + to_days(CAST(i % {{days}} AS INTEGER))
        + to_seconds(CASE WHEN hash(i, 8) % 4 < 3 THEN 28800 + hash(i, 9) % 36000 ELSE hash(i, 9) % 86400 END) AS begun
    FROM range({{first}}, {{last}}) r(i)
)
"""  # noqa: S608 - our own numbers
_NUMBER = "'+441134' || lpad(({site} * {telephones} + hash(i, {salt}) % {telephones})::VARCHAR, 6, '0')"
_FAR = f"'+44207' || lpad((hash(i, 12) % {OUTSIDE})::VARCHAR, 7, '0')"
CALLS = f"""
SELECT CAST(begun AS DATE) AS day, call_key, source, call_id, begun AS start, answer,
    coalesce(answer + to_seconds(talk), begun + to_seconds(20)) AS "end", state, status,
    CASE WHEN answer IS NOT NULL THEN talk::DOUBLE END AS seconds, 200 + hash(i, 13) % 3000::DOUBLE AS pdd_ms,
    CASE WHEN outside THEN {_FAR} ELSE {_NUMBER.format(site="here", telephones=TELEPHONES, salt=10)} END AS calling,
    {_NUMBER.format(site="there", telephones=TELEPHONES, salt=11)} AS called,
    '10.' || here || '.0.10' AS from_address, '10.' || there || '.0.10' AS to_address,
    CASE WHEN NOT outside THEN 'Site ' || here END AS site, 'Site ' || there AS other_site, 1::SMALLINT AS legs,
    CAST(CASE WHEN answer IS NULL THEN 0 ELSE 2 END AS SMALLINT) AS streams,
    CASE WHEN answer IS NOT NULL THEN mos END AS mos
FROM ({_CALLS})
"""  # noqa: S608 - our own numbers
STREAMS = f"""
SELECT CAST(answer AS DATE) AS day, CAST(hash(i, 20 + way) >> 1 AS BIGINT) AS stream_key, source, call_key,
    answer AS start, answer + to_seconds(talk) AS "end",
    '10.' || CASE WHEN way = 0 THEN here ELSE there END || '.1.' || 1 + hash(i, 10) % 200 || ':16384' AS from_address,
    '10.' || CASE WHEN way = 0 THEN there ELSE here END || '.1.' || 1 + hash(i, 11) % 200 || ':16384' AS to_address,
    'Site ' || CASE WHEN way = 0 THEN here ELSE there END AS site,
    'Site ' || CASE WHEN way = 0 THEN there ELSE here END AS other_site,
    CAST(hash(i, 22 + way) % 4294967296 AS BIGINT) AS ssrc, CASE WHEN i % 5 = 0 THEN 'G729' ELSE 'PCMA' END AS codec,
    CAST(talk * 50 AS BIGINT) AS packets, CAST(talk * 50 + hash(i, 24) % 90 AS BIGINT) AS expected,
    CAST(hash(i, 24) % 90 AS BIGINT) AS lost, CAST(3 AS BIGINT) AS loss_runs,
    hash(i, 25 + way) % 40000 / 1e3 AS jitter_ms,
    hash(i, 27) % 60000 / 1e3 AS pdv_p95_ms, 1.2::DOUBLE AS burst_ratio, 20 * mos::DOUBLE AS r_factor,
    mos + way * 0.1::DOUBLE AS mos, 'G.107 (2015); PCMA Ie 0 Bpl 25.1 (PLC); Ppl 0.4 % BurstR 1.2' AS mos_model,
    CAST(NULL AS VARCHAR) AS why_no_mos, CAST(CASE WHEN i % 15 = 0 THEN 0 ELSE 46 END AS SMALLINT) AS dscp,
    'measured' AS evidence
FROM ({_CALLS}), range(2) w(way) WHERE answer IS NOT NULL
"""  # noqa: S608 - our own numbers


def store(folder: Path, calls: int, months: int) -> Path:
    """Return the store with so many calls, spread over the last months of the year; made once."""
    from analytics.store.lake import Lake
    from analytics.store.settings import LakeSettings

    path = folder / f"api-{calls}-{months}"
    lake = Lake.open(path, create=True, settings=LakeSettings(durable=False))
    connection = lake.connect()
    for number in range(months):
        _month(lake, connection, 13 - months + number, calls * number // months, calls * (number + 1) // months)
    connection.close()
    lake.close()
    return path


def _month(lake: Lake, connection: object, month: int, first: int, last: int) -> None:
    import duckdb

    from analytics.store.site_minutes import append_minutes_query

    assert isinstance(connection, duckdb.DuckDBPyConnection)
    begin = datetime(YEAR, month, 1, tzinfo=UTC)
    days = (datetime(YEAR + month // 12, month % 12 + 1, 1, tzinfo=UTC) - begin).days
    batch = f"{begin.date()}"
    if lake.transaction("streams", batch) is not None:
        return
    minutes = MINUTES.format(begin=begin.date(), minutes=days * 1_440, sites=SITES)
    append_minutes_query(lake, connection, minutes, batch=batch)
    made = {"begin": begin.date(), "days": days, "first": first, "last": last}
    lake.append_query("calls", connection, CALLS.format(**made), batch=batch)
    lake.append_query("streams", connection, STREAMS.format(**made), batch=batch)
