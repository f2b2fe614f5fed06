"""Site pairs: how streams from each site to each other site fared."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from analytics.questions.asking import POOR_MOS, Share, check_span, share
from analytics.store.schema import STREAMS

if TYPE_CHECKING:
    from analytics.store.lake import Lake

OUTSIDE: Final = None
"""A side that is no site of the estate."""


class PairQuality(NamedTuple):
    """Streams from one site to another, begun in a span; a site of None is not attributed, as the outside world."""

    site: str | None
    """Where they were sent."""
    other_site: str | None
    """Where they were received."""
    streams: int
    poor: Share
    """Streams with a MOS under 3.6, out of those with a MOS."""
    mos: float | None
    """Mean MOS-CQE."""
    mos_min: float | None
    packets: int
    expected: int
    lost: int
    loss_percent: float | None
    """Packets lost out of those expected [%]."""
    jitter_ms: float | None
    """Mean interarrival jitter at the streams' end [ms]."""
    unmarked: int
    """Streams most of whose packets had DSCP 0 at the tap."""


def site_pairs(lake: Lake, since: datetime, until: datetime, *, site: str | None = None) -> tuple[PairQuality, ...]:
    """Return pairs of sites with any stream in a span, `site` on either side, most poor streams first."""
    check_span(since, until)
    with lake.reading() as connection:
        streams = lake.query(connection, STREAMS.name, since=since, until=until)
        chosen = "" if site is None else " AND (site = $site OR other_site = $site)"
        rows = connection.execute(
            f"""
            SELECT site, other_site, count(*), count(*) FILTER (mos < {POOR_MOS}), count(mos), avg(mos), min(mos),
                sum(packets)::BIGINT, sum(expected)::BIGINT, sum(lost)::BIGINT, avg(jitter_ms),
                count(*) FILTER (dscp = 0)
            FROM ({streams}) WHERE (site IS NOT NULL OR other_site IS NOT NULL){chosen}
            GROUP BY site, other_site ORDER BY 4 DESC, 3 DESC, site NULLS LAST, other_site NULLS LAST
            """,  # noqa: S608 - names of the schema
            {} if site is None else {"site": site},
        ).fetchall()
    return tuple(
        PairQuality(
            row[0],
            row[1],
            row[2],
            share(row[3], row[4]),
            row[5],
            row[6],
            row[7],
            row[8],
            row[9],
            100.0 * row[9] / row[8] if row[8] else None,
            row[10],
            row[11],
        )
        for row in rows
    )
