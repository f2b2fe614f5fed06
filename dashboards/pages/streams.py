"""Streams: which media was heard where, and how well?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from analytics.questions.calls import Search
from analytics.questions.streams import StreamRow, search_streams
from dashboards.listing import BLOCK, Fetched, listing, shown
from dashboards.pages import Asker

COLUMNS = (
    {"field": "began", "headerName": "Began", "width": 165, "cellRenderer": "markdown"},
    {"field": "seconds", "headerName": "Length s", "width": 95, "type": "rightAligned"},
    {"field": "mos", "headerName": "MOS", "width": 80, "type": "rightAligned"},
    {"field": "loss", "headerName": "Loss %", "width": 85, "type": "rightAligned"},
    {"field": "runs", "headerName": "Runs", "width": 75, "type": "rightAligned"},
    {"field": "jitter", "headerName": "Jitter ms", "width": 95, "type": "rightAligned"},
    {"field": "burst", "headerName": "Burst ratio", "width": 105, "type": "rightAligned"},
    {"field": "packets", "headerName": "Packets", "width": 95, "type": "rightAligned"},
    {"field": "codec", "headerName": "Codec", "width": 90},
    {"field": "dscp", "headerName": "DSCP", "width": 75, "type": "rightAligned"},
    {"field": "from", "headerName": "From", "width": 175},
    {"field": "site", "headerName": "Site", "width": 180},
    {"field": "to", "headerName": "To", "width": 175},
    {"field": "other_site", "headerName": "Site", "width": 180},
    {"field": "ssrc", "headerName": "SSRC", "width": 110},
    {"field": "evidence", "headerName": "Evidence", "width": 105},
)


def fetch(asker: Asker, search: Search, cursor: str | None, zone: str) -> Fetched:
    """Return the next streams as rows of the grid."""
    found = search_streams(asker.here.lake, search, BLOCK, cursor)
    names = {site.site: site.name for site in asker.here.estate().sites}
    local = ZoneInfo(zone)
    return [_row(one, names, local) for one in found.rows], found.cursor


def _row(stream: StreamRow, names: Mapping[str, str], local: ZoneInfo) -> Mapping[str, Any]:
    began = f"{stream.start.astimezone(local):%Y-%m-%d %H:%M:%S}"
    return {
        "began": began if stream.call_key is None else f"[{began}](/call/{stream.call_key})",
        "seconds": f"{(stream.end - stream.start).total_seconds():,.0f}",
        "mos": ("■ " if stream.mos is not None and stream.mos < 3.6 else "") + shown(stream.mos, 2),
        "loss": shown(stream.loss_percent, 2),
        "runs": shown(stream.loss_runs, 0),
        "jitter": shown(stream.jitter_ms, 1),
        "burst": shown(stream.burst_ratio, 2),
        "packets": f"{stream.packets:,}",
        "codec": stream.codec or "—",
        "dscp": "—" if stream.dscp is None else stream.dscp,
        "from": stream.from_address,
        "site": "—" if stream.site is None else names.get(stream.site, stream.site),
        "to": stream.to_address,
        "other_site": "—" if stream.other_site is None else names.get(stream.other_site, stream.other_site),
        "ssrc": f"0x{stream.ssrc:08X}",
        "evidence": stream.evidence,
    }


PAGE = listing("/streams", "Streams", "streams", COLUMNS, fetch, place=25)
