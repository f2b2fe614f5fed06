"""The savings claim as a sample: established before and not any more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from analytics.alerts.facts import NS, Sample

MONTHS: Final = 12
EVERY_S: Final = 6 * 3_600.0
"""How often it is worked out anew [s]."""


def savings_sampler(store: Path, estate: Path) -> Callable[[int], Sample]:
    """Return what samples the claim at a moment: over the twelve whole months before it, and a month earlier."""

    def sample(now: int) -> Sample:
        from analytics.cost.months import month_of, months_after
        from api.report.making import ReportError
        from collector.estate.folder import load_estate
        from collector.estate.problems import EstateError

        since = now - 365 * 86_400 * NS
        try:
            zone = ZoneInfo(load_estate(estate).settings.timezone)
            last = months_after(month_of(datetime.fromtimestamp(now // NS, UTC).astimezone(zone).date()), -1)
            newest = _outcome(store, estate, last, now)
            before = _outcome(store, estate, months_after(last, -1), now)
        except (ReportError, EstateError) as error:
            return Sample((), since, now, None, None, note=str(error))
        note = f"{newest}; a month before: {before}"
        if newest == "established":
            return Sample((), since, now, 1.0, float(MONTHS), 1.0, note=note)
        if before == "established":
            return Sample((), since, now, 0.0, float(MONTHS), -1.0, note=note)
        # Lost earlier, or never had: that is no news, and no reason to think that it is there again.
        return Sample((), since, now, None, None, note=f"the claim is {note}")

    return sample


def _outcome(store: Path, estate: Path, month: int, now: int) -> str:
    from api.report.making import Request, make, months_to

    document = make(Request("savings", months_to(month, MONTHS), store, estate, datetime.fromtimestamp(now / NS, UTC)))
    # The sentence begins with the verdict.
    return document.sentence.partition(":")[0].lower()


class InBackground:
    """Gives the newest sample at once, and makes the next one meanwhile: a year of calls takes its time."""

    def __init__(self, make: Callable[[int], Sample]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, "savings")
        self._making: Future[Sample] | None = None
        self._made_at: int | None = None
        self._newest: Sample | None = None

    def __call__(self, now: int) -> Sample:
        """Return what was found last."""
        if self._making is not None and self._making.done():
            done, self._making = self._making, None
            self._newest = done.result()
        if self._making is None and (self._made_at is None or now - self._made_at >= EVERY_S * NS):
            self._made_at = now
            self._making = self._thread.submit(self._make, now)
        return self._newest or Sample((), now, now, None, None, note="it is being worked out")

    def close(self) -> None:
        """Make no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
