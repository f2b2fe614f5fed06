"""A call that several agents saw: one call with a view of each."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from analytics.store.files import identifier, literal

SECONDS = 60
"""Starts of one call lie no further apart, after their clocks are corrected [s]; a Call-ID may come again later."""


def one_call_two_views(
    connection: duckdb.DuckDBPyConnection,
    calls: str,
    *,
    skews: Mapping[str, float] | None = None,
    name: str = "calls_seen",
    seconds: float = SECONDS,
) -> str:
    """Make a view `name` of the rows of a view of `calls`, one row a call whoever saw it; return its name.

    Rows of different sources are one call where the Call-ID is the same and the starts lie within `seconds`. `skews`
    gives how far a source's clock is ahead [ms]: the centre's estimate; sources that it does not name are right. Two
    rows of one source are never one call. Columns:

    call_id      Call-ID
    start        begin by the corrected clock of who saw it first
    sources      how many saw it
    spread_ms    from the first to the last corrected start
    views        a list of structs by corrected start: source, call_key, start (corrected), stated (as it is in
                 `calls`), answer, end, site, other_site, legs, streams, mos
    mos          lowest MOS of all views
    mos_spread   highest MOS less lowest: what got worse between the places, NULL where fewer than two know one
    """
    whens = "".join(f" WHEN {literal(source)} THEN {float(skew)!r}" for source, skew in sorted((skews or {}).items()))
    # In whole microseconds: an interval of a fraction would be rounded to whole seconds.
    ahead = f"CAST(1000 * (CASE source{whens} ELSE 0.0 END) AS BIGINT)" if whens else "0"
    corrected = f"SELECT *, epoch_us(start) - {ahead} AS moment FROM {identifier(calls)}"
    gap = int(seconds * 1_000_000)
    begins = (
        "SELECT *, moment - lag(moment) OVER calls_of_id > "
        f"{gap} AS after_gap FROM ({corrected}) "
        "WINDOW calls_of_id AS (PARTITION BY call_id ORDER BY moment, source, call_key)"
    )
    numbered = (
        "SELECT *, count(*) FILTER (after_gap) OVER (PARTITION BY call_id ORDER BY moment, source, call_key) AS run "
        f"FROM ({begins})"
    )
    paired = (
        "SELECT *, row_number() OVER (PARTITION BY call_id, run, source ORDER BY moment, call_key) AS nth "
        f"FROM ({numbered})"
    )
    view = ", ".join(
        f"{quoted} := {value}"
        for quoted, value in (
            ("source", "source"),
            ("call_key", "call_key"),
            ("start", "make_timestamptz(moment)"),
            ("stated", "start"),
            ("answer", "answer"),
            ('"end"', '"end"'),
            ("site", "site"),
            ("other_site", "other_site"),
            ("legs", "legs"),
            ("streams", "streams"),
            ("mos", "mos"),
        )
    )
    connection.execute(
        f"CREATE OR REPLACE VIEW {identifier(name)} AS SELECT call_id, make_timestamptz(min(moment)) AS start, "
        "count(*) AS sources, (max(moment) - min(moment)) / 1000.0 AS spread_ms, "
        f"list(struct_pack({view}) ORDER BY moment, source) AS views, min(mos) AS mos, "
        "CASE WHEN count(mos) > 1 THEN max(mos) - min(mos) END AS mos_spread "
        f"FROM ({paired}) GROUP BY call_id, run, nth"
    )
    return name
