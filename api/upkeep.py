"""Upkeep of a store by the process that appends to it without end, so that its files stay few."""

from __future__ import annotations

import asyncio
import logging

from analytics.store.lake import Lake
from analytics.store.maintenance import merge_crumbs
from analytics.store.schema import CALLS, CDR_ROWS, INTERVALS, MESSAGES, PHONE_REPORTS, SITE_MINUTES, STREAMS
from analytics.store.settings import StoreError
from collector.live.memory import release

EVERY_S = 60.0
APPENDED = (CALLS, MESSAGES, STREAMS, INTERVALS, SITE_MINUTES, PHONE_REPORTS, CDR_ROWS)
"""Tables that live sources append to."""
_logger = logging.getLogger("callgauge.upkeep")


async def tend(lake: Lake, every: float = EVERY_S) -> None:
    """Merge what live appends made, now and then, until cancelled; a merge that fails is said once."""
    said = ""
    while True:
        await asyncio.sleep(every)
        for table in APPENDED:
            try:
                await asyncio.to_thread(merge_crumbs, lake, table)
            except StoreError as error:
                if str(error) != said:
                    _logger.warning("small files are not merged: %s", error)
                said = str(error)
        # What a merge took for a moment.
        await asyncio.to_thread(release)
