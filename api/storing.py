"""A capture on its way into the store: its calls, streams and site minutes, once however often it is replayed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analytics.attribution import Attributor
from analytics.store.arrow_rows import arrow_reader, arrow_table
from analytics.store.files import literal
from analytics.store.lake import Lake
from analytics.store.schema import CALLS, IMPORTS, INTERVALS, MESSAGES, PHONE_REPORTS, SITE_MINUTES, STREAMS
from analytics.store.settings import StoreError
from analytics.store.site_minutes import append_minutes
from api.lake_rows import Minutes, Places, call_rows, import_rows, interval_rows, message_rows, stream_rows
from api.wording import plural
from collector.estate.folder import load_estate
from collector.receivers.report_rows import device_rows

if TYPE_CHECKING:
    from analytics.sites import Estate
    from api.rated import Rated


TABLES = ((CALLS, call_rows), (STREAMS, stream_rows))


class Kept(NamedTuple):
    """What became of a capture."""

    sentence: str
    """One line for the person who asked."""
    complete: bool
    """Whether all of it is in the store."""


class Store:
    """A store that a capture is going to be kept in, opened before hours of reading."""

    def __init__(self, root: Path, estate: Path | None) -> None:
        """Open it, made if absent. Raises StoreError, and EstateError where the estate has a fault."""
        self._root = root
        self._estate: Estate | None = None if estate is None else load_estate(estate)
        self._lake = Lake.open(root, create=True)

    def close(self) -> None:
        """Let go of it."""
        self._lake.close()

    def keep(self, rated: Rated, now: int) -> Kept:
        """Keep all of a capture; `now` is nanoseconds since the epoch. Raises nothing: the report is still to come."""
        try:
            return self._keep(rated, now)
        except StoreError as error:
            return Kept(f"not all was stored, replay again: {error}", False)

    def _keep(self, rated: Rated, now: int) -> Kept:
        capture = rated.replay.capture
        hashes = sorted({content.sha256 for content in capture.contents})
        present = self._present(hashes)
        if hashes and present.issuperset(hashes):
            sites = "" if self._estate is None else ", and its calls keep the sites that they were stored with"
            return Kept(f"{self._root} holds this capture already; nothing was stored{sites}", True)
        if present:
            names = ", ".join(content.name for content in capture.contents if content.sha256 in present)
            return Kept(
                f"nothing was stored: {self._root} holds {names} already, and calls that go on from file to file "
                "would count twice",
                False,
            )
        if capture.first is None:
            return Kept("nothing was stored: the capture holds no times", False)
        return self._append(rated, hashes, now)

    def _append(self, rated: Rated, hashes: list[str], now: int) -> Kept:
        """Append table by table; `imports` comes last, so that a run that was killed is taken up again."""
        source = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        batch = f"capture {source}"
        places = None if self._estate is None else Places(Attributor(self._estate))
        minutes = Minutes()
        already = False
        for table, made in TABLES:
            rows = arrow_reader(table, made(rated, source, places, minutes))
            already |= self._lake.append(table.name, rows, batch=batch).already
        cut = arrow_reader(INTERVALS, interval_rows(rated, source, places))
        self._lake.append(INTERVALS.name, cut, batch=batch)
        reports = arrow_reader(PHONE_REPORTS, device_rows(rated.replay.reports, source))
        self._lake.append(PHONE_REPORTS.name, reports, batch=batch)
        self._lake.append(MESSAGES.name, arrow_reader(MESSAGES, message_rows(rated, source)), batch=batch)
        told = ""
        if places is not None:
            if already:
                # A run that was killed wrote rows of it, and what of them was counted here cannot be known.
                minutes = Minutes()
                for _, made in TABLES:
                    for _ in made(rated, source, places, minutes):
                        pass
            of_sites = minutes.rows()
            if of_sites:
                columns = arrow_table(SITE_MINUTES, of_sites).drop_columns(["month", "step"])
                append_minutes(self._lake, columns, batch=batch)
            told = f", {plural(len(of_sites), 'minute')} of sites"
        if self._lake.append(IMPORTS.name, arrow_table(IMPORTS, import_rows(rated, now)), batch=batch).already:
            return Kept(f"{self._root} holds this capture already: another replay stored it meanwhile", True)
        calls, streams = plural(len(rated.calls), "call"), plural(len(rated.streams), "stream")
        return Kept(f"stored in {self._root}: {calls}, {streams}{told}", True)

    def _present(self, hashes: list[str]) -> set[str]:
        """Files of these that the store holds."""
        if not hashes or self._lake.version(IMPORTS.name) is None:
            return set()
        connection = self._lake.connect()
        try:
            self._lake.view(connection, IMPORTS.name)
            wanted = ", ".join(literal(each) for each in hashes)
            found = connection.execute(
                f"SELECT DISTINCT sha256 FROM imports WHERE source = 'capture' AND sha256 IN ({wanted})"  # noqa: S608
            ).fetchall()
        finally:
            connection.close()
        return {str(row[0]) for row in found}
