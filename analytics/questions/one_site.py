"""One site closer: marks of its streams by direction, its devices, and how all that is known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from analytics.questions.asking import POOR_MOS, Share, check_span, share
from analytics.store.schema import STREAMS

if TYPE_CHECKING:
    from analytics.store.lake import Lake

MOST_DEVICES: Final = 10


class Device(NamedTuple):
    """An address at the site that sent or got streams in a span."""

    address: str
    streams: int
    poor: Share
    mos: float | None
    """Mean MOS-CQE of its rated streams."""
    loss_percent: float | None
    """Packets lost out of those expected, both directions [%]."""


class SiteDetail(NamedTuple):
    """What streams of a site were like, begun in a span."""

    sent_marks: Mapping[int | None, int]
    """Streams that it sent, by DSCP (RFC 2474) at the tap, most first; None where that is not known."""
    received_marks: Mapping[int | None, int]
    """Streams that came to it."""
    evidence: Mapping[str, int]
    """Streams by how they are known: `measured`, `reported`, `modelled`."""
    devices: tuple[Device, ...]
    """Addresses with the most poor streams, then with the most streams; at most `MOST_DEVICES`."""
    addresses: int
    """How many addresses there are."""


def site_detail(lake: Lake, site: str, since: datetime, until: datetime) -> SiteDetail:
    """Return what the streams of a site were like in a span; a stream within the site counts for both directions."""
    check_span(since, until)
    with lake.reading() as connection:
        rows = lake.query(connection, STREAMS.name, since=since, until=until)
        # A stream within the site is one of its streams, and has an address of it at both ends.
        own = f"FROM ({rows}) WHERE site = $site OR other_site = $site"
        asked = {"site": site}
        marks = connection.execute(
            f"SELECT dscp, count(*) FILTER (site = $site), count(*) FILTER (other_site = $site) {own} GROUP BY dscp",
            asked,
        ).fetchall()
        kinds = connection.execute(
            f"SELECT evidence, count(*) AS n {own} GROUP BY evidence ORDER BY n DESC, evidence",
            asked,
        ).fetchall()
        devices = connection.execute(
            f"""
            WITH own AS (SELECT * {own}), ends AS (
                SELECT from_address AS address, * FROM own WHERE site = $site
                UNION ALL SELECT to_address AS address, * FROM own WHERE other_site = $site
            )
            SELECT regexp_replace(address, ':[0-9]+$', '') AS host, count(*), count(*) FILTER (mos < {POOR_MOS}),
                count(mos), avg(mos), sum(lost)::BIGINT, sum(expected)::BIGINT, count(*) OVER ()
            FROM ends GROUP BY host ORDER BY 3 DESC, 2 DESC, host LIMIT {MOST_DEVICES}
            """,  # noqa: S608
            asked,
        ).fetchall()
    return SiteDetail(
        _most_first({row[0]: row[1] for row in marks}),
        _most_first({row[0]: row[2] for row in marks}),
        {str(row[0]): row[1] for row in kinds},
        tuple(_device(row) for row in devices),
        devices[0][7] if devices else 0,
    )


def _device(row: tuple[Any, ...]) -> Device:
    host, streams, poor, rated, mos, lost, expected, _ = row
    return Device(host, streams, share(poor, rated), mos, 100 * lost / expected if expected else None)


def _most_first(of: dict[int | None, int]) -> dict[int | None, int]:
    ranked = sorted(of.items(), key=lambda one: (-one[1], -1 if one[0] is None else one[0]))
    return {mark: count for mark, count in ranked if count}
