"""The savings claim as a sample: established before and not any more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from analytics.alerts.facts import NS, Sample
from analytics.store.settings import StoreError

MONTHS: Final = 12
EVERY_S: Final = 6 * 3_600.0
"""How often it is worked out anew [s]."""


def sample_savings(store: Path, estate: Path, now: int) -> Sample:
    """Return the claim at a moment: over the twelve whole months before it, and a month earlier. StoreError."""
    from analytics.cost.months import month_of, months_after
    from api.report.making import ReportError
    from collector.estate.folder import load_estate
    from collector.estate.problems import EstateError

    since = now - 365 * 86_400 * NS
    try:
        zone = ZoneInfo(load_estate(estate).settings.timezone)
        last = months_after(month_of(datetime.fromtimestamp(now // NS, UTC).astimezone(zone).date()), -1)
        newest = _outcome(store, estate, last, now)
        try:
            before = _outcome(store, estate, months_after(last, -1), now)
        except ReportError:
            before = "not known"
    except (ReportError, EstateError) as error:
        return Sample((), since, now, None, None, note=str(error))
    return claim_sample(newest, before, since, now)


def claim_sample(newest: str, before: str, since: int, now: int) -> Sample:
    """Return the sample of two verdicts, the newest and that of a month before."""
    note = f"{newest}; a month before: {before}"
    if newest == "established":
        return Sample((), since, now, 1.0, float(MONTHS), 1.0, note=note)
    if before == "established":
        return Sample((), since, now, 0.0, float(MONTHS), 0.0, note=note)
    # Lost earlier, or never had: that is no news, and no reason to think that it is there again.
    return Sample((), since, now, None, None, note=f"the claim is {note}")


def _outcome(store: Path, estate: Path, month: int, now: int) -> str:
    from api.report.making import Request, make, months_to

    document = make(Request("savings", months_to(month, MONTHS), store, estate, datetime.fromtimestamp(now / NS, UTC)))
    # The sentence begins with the verdict.
    return document.sentence.partition(":")[0].lower()


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1)


class InBackground:
    """Gives the newest sample at once, and makes the next one meanwhile: a year of calls takes its time."""

    def __init__(self, make: Callable[[int], Sample]) -> None:
        self._make = make
        # A process of its own: it computes for seconds, and nothing else should wait for that.
        self._process = _process()
        self._making: Future[Sample] | None = None
        self._made_at: int | None = None
        self._newest: Sample | None = None

    def __call__(self, now: int) -> Sample:
        """Return what was found last."""
        if self._making is not None and self._making.done():
            done, self._making = self._making, None
            try:
                self._newest = done.result()
            except BrokenProcessPool as error:
                self._process = _process()
                raise StoreError("the process that works the savings out was killed") from error
        if self._making is None and (self._made_at is None or now - self._made_at >= EVERY_S * NS):
            self._made_at = now
            self._making = self._process.submit(self._make, now)
        return self._newest or Sample((), now, now, None, None, note="it is being worked out")

    def close(self) -> None:
        """Make no more: what is being made is given up, for nobody would wait for it."""
        self._process.shutdown(wait=False, cancel_futures=True)
        # Python would wait for the end of its work at its own end, and be killed meanwhile by who told it to end.
        for child in active_children():
            child.terminate()
