"""Streams: searched like calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from analytics.questions.asking import begun, key_text
from analytics.questions.calls import Search, continued, cursor_after, found_rows
from analytics.store.schema import STREAMS

if TYPE_CHECKING:
    from analytics.store.lake import Lake


class StreamRow(NamedTuple):
    """One RTP stream over its whole life."""

    key: str
    """16 hexadecimal digits."""
    source: str
    call_key: str | None
    """Its call; None where no signalling was seen for it."""
    start: datetime
    end: datetime
    from_address: str
    """Sender, address:port."""
    to_address: str
    site: str | None
    other_site: str | None
    ssrc: int
    codec: str | None
    packets: int
    expected: int
    lost: int
    loss_percent: float | None
    """Packets lost out of those expected [%]."""
    loss_runs: int | None
    """Runs of lost packets."""
    jitter_ms: float | None
    """Interarrival jitter at the end (RFC 3550 A.8) [ms]."""
    pdv_p95_ms: float | None
    """95th percentile of packet delay variation (RFC 5481) [ms]."""
    burst_ratio: float | None
    r_factor: float | None
    mos: float | None
    """MOS-CQE of G.107."""
    mos_model: str | None
    """Model, codec terms, delay basis, buffer: enough to compute the MOS again."""
    why_no_mos: str | None
    dscp: int | None
    """Mark of most of its packets at the tap."""
    evidence: str


class StreamList(NamedTuple):
    """One page of streams."""

    rows: tuple[StreamRow, ...]
    cursor: str | None
    since: datetime
    until: datetime


COLUMNS: Final = (
    "stream_key", "source", "call_key", 'epoch_us("start")', 'epoch_us("end")', "from_address", "to_address", "site",
    "other_site", "ssrc", "codec", "packets", "expected", "lost", "100.0 * lost / nullif(expected, 0)", "loss_runs",
    "jitter_ms", "pdv_p95_ms", "burst_ratio", "r_factor", "mos", "mos_model", "why_no_mos", "dscp", "evidence",
)  # fmt: skip


def search_streams(lake: Lake, search: Search, limit: int = 100, cursor: str | None = None) -> StreamList:
    """Return a page of streams; QuestionError where the search or the cursor has no meaning."""
    search, after = continued(search, limit, cursor)
    with lake.reading() as connection:
        rows = found_rows(lake, connection, STREAMS.name, "stream_key", COLUMNS, search, limit + 1, after)
    more = cursor_after(search, rows[limit - 1], 3, 20) if len(rows) > limit else None
    return StreamList(tuple(stream_of(row) for row in rows[:limit]), more, search.since, search.until)


def stream_of(row: Sequence[Any]) -> StreamRow:
    """Return a stream from a row of COLUMNS."""
    call = None if row[2] is None else key_text(row[2])
    return StreamRow(key_text(row[0]), row[1], call, begun(row[3]), begun(row[4]), *row[5:25])
