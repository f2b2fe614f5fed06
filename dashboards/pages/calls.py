"""Calls: which calls were there, and which were bad?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from analytics.questions.calls import CallRow, Search, search_calls
from dashboards.listing import BLOCK, Fetched, listing, shown
from dashboards.pages import Asker

COLUMNS = (
    {"field": "began", "headerName": "Began", "width": 165, "cellRenderer": "markdown"},
    {"field": "state", "headerName": "State", "width": 122},
    {"field": "status", "headerName": "Status", "width": 80, "type": "rightAligned"},
    {"field": "seconds", "headerName": "Talk s", "width": 85, "type": "rightAligned"},
    {"field": "pdd", "headerName": "PDD ms", "width": 90, "type": "rightAligned"},
    {"field": "mos", "headerName": "MOS", "width": 80, "type": "rightAligned"},
    {"field": "loss", "headerName": "Loss %", "width": 85, "type": "rightAligned"},
    {"field": "jitter", "headerName": "Jitter ms", "width": 95, "type": "rightAligned"},
    {"field": "codec", "headerName": "Codec", "width": 90},
    {"field": "calling", "headerName": "From", "width": 130},
    {"field": "site", "headerName": "Site", "width": 180},
    {"field": "called", "headerName": "To", "width": 130},
    {"field": "other_site", "headerName": "Site", "width": 180},
    {"field": "source", "headerName": "Seen by", "width": 120},
)


def fetch(asker: Asker, search: Search, cursor: str | None, zone: str) -> Fetched:
    """Return the next calls as rows of the grid."""
    found = search_calls(asker.here.lake, search, BLOCK, cursor)
    names = {site.site: site.name for site in asker.here.estate().sites}
    local = ZoneInfo(zone)
    return [_row(asker, one, names, local) for one in found.rows], found.cursor


def _row(asker: Asker, call: CallRow, names: Mapping[str, str], local: ZoneInfo) -> Mapping[str, Any]:
    return {
        "began": f"[{call.start.astimezone(local):%Y-%m-%d %H:%M:%S}](/call/{call.key})",
        "state": call.state,
        "status": "—" if call.status is None else call.status,
        "seconds": shown(call.seconds, 0),
        "pdd": shown(call.pdd_ms, 0),
        "mos": ("■ " if call.mos is not None and call.mos < 3.6 else "") + shown(call.mos, 2),
        "loss": shown(call.loss_percent, 2),
        "jitter": shown(call.jitter_ms, 1),
        "codec": ", ".join(call.codecs) or "—",
        "calling": asker.number(call.calling) or "—",
        "site": "—" if call.site is None else names.get(call.site, call.site),
        "called": asker.number(call.called) or "—",
        "other_site": "—" if call.other_site is None else names.get(call.other_site, call.other_site),
        "source": call.source,
    }


PAGE = listing("/calls", "Calls", "calls", COLUMNS, fetch, place=20)
