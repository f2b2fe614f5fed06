"""The run that brings files of call records into the lake: each file once, however often it is tried or killed.

Order of what becomes durable: the journal names a group of files, their rows are appended in one commit for each
table, their rejects are written, `imports` names them in one commit, the journal forgets them. A file counts as
imported once `imports` names it. A group whose rows were written before a kill is read again only to count it and to
write its rejects: its rows are in the lake, all or none.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from analytics.store.schema import CDR_ROWS, IMPORTS, PHONE_REPORTS
from collector.cdr import asterisk, avaya, cucm, freeswitch, mapped
from collector.cdr.cutting import WINDOW, FileChangedError, Tally
from collector.cdr.detect import FORMATS, detect
from collector.cdr.files import CdrFile, Found, Layout, Skipped, Watched, identify
from collector.cdr.grown import unread
from collector.cdr.journal import Journal
from collector.cdr.ledger import (
    calls_and_copies,
    connected,
    imported_ends,
    imported_keys,
    imports_table,
    missing,
    missing_around,
    present,
)
from collector.cdr.mapping import Mapping as FileMapping
from collector.cdr.rejects import Rejects
from collector.cdr.rows import ReadSettings
from collector.cdr.sequence import Gap, Silence
from collector.cdr.staging import STAGED, Staged, make_tables

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake

GROUP_OCTETS: Final = 512 << 20
"""Octets of CUCM files whose rows go into the lake in one commit: about a million rows, which are then rated while the
next are read."""
ROW_GROUP_OCTETS: Final = 64 << 20
"""The same for formats whose rows are gathered in temporary tables first."""
GROUP_FILES: Final = 20_000
LONG_CALL: Final = timedelta(hours=6)
"""Calls are seldom longer; a longer one means that its day is rated twice."""
READERS: Final = {"asterisk": asterisk.stage, "freeswitch": freeswitch.stage, "avaya": avaya.stage}


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """How files are read."""

    formats: tuple[str, ...] = FORMATS
    """Formats that files may be of."""
    mapping: FileMapping | None = None
    """Columns of a format that is told by a mapping file; then no other is tried."""
    read: ReadSettings = ReadSettings()  # noqa: RUF009 - frozen
    group_octets: int = GROUP_OCTETS
    group_files: int = GROUP_FILES
    window: int = WINDOW
    """Octets of CUCM files that are cut at a time."""


@dataclass(slots=True)
class Summary:
    """What an import did."""

    found: int = 0
    """Files found, skipped ones too."""
    imported: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Files that were read, by format and record."""
    already: int = 0
    """Files that were imported before, or that are the same as another."""
    skipped: list[Skipped] = field(default_factory=list)
    rows: int = 0
    """Records in the files that were read."""
    kept: Counter[str] = field(default_factory=Counter)
    """Records kept, by `cdr` and `cmr`."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Records rejected, by reason."""
    refused: dict[Path, str] = field(default_factory=dict)
    """Files that broke off while they were read."""
    calls: int = 0
    """Calls of the kept records, by their own number of the call and the day."""
    copies: int = 0
    """Kept records that another record repeats exactly; they count once in usage."""
    gaps: list[Gap] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None

    @property
    def failed(self) -> bool:
        """Whether something that was meant to be imported was not."""
        return bool(self.rejected or self.refused or any(skip.reason in FAILURES for skip in self.skipped))


FAILURES: Final = frozenset({"unknown_format", "unknown_columns", "missing_column", "unreadable", "changed"})
"""Reasons for a skipped file that are somebody's mistake; the others are as they should be."""
CHANGED: Final = "changed while it was read; it and what was read with it are left for the next time"


@dataclass(slots=True)
class Progress:
    """How far a run has come: each octet is hashed, then read."""

    packets: int = 0
    """Records so far."""
    position: int = 0
    size: int | None = None


Report = Callable[[Progress], None]


class Import:
    """One run over files."""

    def __init__(self, settings: ImportSettings, rejects: Rejects, report: Report = lambda _: None) -> None:
        self._settings = settings
        self._rejects = rejects
        self._report = report
        self.progress = Progress()
        self.summary = Summary()
        self.told: dict[Path, CdrFile] = {}
        """Files that can be read, by path; several may hold the same."""
        self.in_lake: set[str] = set()
        """SHA-256 of files all of which is imported, now or before."""

    def identify(self, found: Found, watched: Mapping[Path, Watched] | None = None) -> list[CdrFile]:
        """Hash files and tell what they hold, each content once; two at a time, for hashing takes a core."""
        self.summary.found = len(found.files) + len(found.skipped)
        self.summary.skipped += found.skipped
        self.progress.size = 2 * sum(found.stamps[path][0] for path in found.files)
        told = partial(_detect, self._settings)
        files: dict[str, CdrFile] = {}
        with ThreadPoolExecutor(2, thread_name_prefix="cdr-hash") as pool:
            seen = watched or {}
            looked = pool.map(lambda path: identify(path, found.stamps[path], told, seen.get(path)), found.files)
            for path, each in zip(found.files, looked, strict=True):
                self._advance(found.stamps[path][0])
                if isinstance(each, Skipped):
                    self.summary.skipped.append(each)
                    continue
                self.told[path] = each
                if files.setdefault(each.sha256, each) is not each:
                    self.summary.already += 1
        return list(files.values())

    def into(
        self,
        lake: Lake,
        journal: Journal,
        files: Sequence[CdrFile],
        now: datetime | Callable[[], datetime],
        landed: Callable[[date], None] = lambda _: None,
    ) -> None:
        """Bring files into the lake that are not there, group by group.

        `landed` is told, after each group but the last, up to which UTC day the records should all be there: it may
        rate them. Then `now` must be a clock, for only what was rated after a file came has seen its records.
        """
        known = imported_keys(lake, [file.file_key for file in files])
        self.in_lake.update(file.sha256 for file in files if file.file_key in known)
        journal.forget(journal.pending & known)
        wanted = self._unread(lake, journal, [file for file in files if file.file_key not in known])
        self.summary.already += len(self.in_lake)
        groups = list(self._groups(wanted))
        for number, group in enumerate(groups, 1):
            keys = [file.file_key for file in group]
            half_done = present(lake, journal.pending.intersection(keys))
            journal.add(keys)
            staged = self._append_group(lake, group, half_done)
            if staged is None:
                journal.forget(set(keys).difference(*half_done.values()))
                continue
            self._acknowledge(lake, group, staged, now() if callable(now) else now)
            journal.forget(keys)
            whole = whole_until(group, [file for other in groups[number:] for file in other])
            if whole is not None:
                landed(whole)
        self._look_back(lake, wanted)

    def _unread(self, lake: Lake, journal: Journal, files: Sequence[CdrFile]) -> list[CdrFile]:
        """Of files that grow, the parts that were not read when they were shorter; the others as they are."""
        found = [file for file in files if not file.is_added_to]
        added_to = [file for file in files if file.is_added_to]
        half_done = frozenset().union(*present(lake, journal.pending).values()) if added_to else frozenset()
        for source in sorted({file.format for file in added_to}):
            of_source = [file for file in added_to if file.format == source]
            ends = imported_ends(lake, source, max(file.size for file in of_source))
            for file in of_source:
                parts = unread(file, ends, half_done) if ends or half_done else [file]
                if parts is None:
                    self.summary.skipped.append(Skipped(file.path, "changed", CHANGED))
                elif not parts:
                    self.in_lake.add(file.sha256)
                else:
                    found += parts
        return found

    def try_out(self, connection: duckdb.DuckDBPyConnection, files: Sequence[CdrFile]) -> None:
        """Read files and say what would be kept, without keeping it."""
        for group in self._groups(files):
            staged: Mapping[int, Staged] = {}
            if group[0].format == cucm.FORMAT:
                tallies: dict[int, Tally] = {}
                for _ in cucm.record_batches(group, group[0].record, self._rejects, tallies):
                    pass
                staged = {key: cucm.staged(tally) for key, tally in tallies.items()}
            else:
                make_tables(connection)
                staged = self._stage(connection, group)
            for file in group:
                self._count(file, staged[file.file_key])
        self.summary.gaps, self.summary.silences = missing(files)
        self._close()

    def _groups(self, files: Sequence[CdrFile]) -> Iterator[list[CdrFile]]:
        """Files of one format and kind of record, in order of their time and name, bounded in octets and number.

        Reports come first: a day whose records are there is then whole.
        """
        group: list[CdrFile] = []
        octets = 0
        first = datetime.min.replace(tzinfo=UTC)
        for file in sorted(files, key=lambda one: (one.format, one.record == "cdr", one.minute or first, one.name)):
            most = self._settings.group_octets if file.format == cucm.FORMAT else ROW_GROUP_OCTETS
            is_other = bool(group) and (file.format, file.record) != (group[0].format, group[0].record)
            if group and (is_other or octets + file.size > most or len(group) >= self._settings.group_files):
                yield group
                group, octets = [], 0
            group.append(file)
            octets += file.size
        if group:
            yield group

    def _append_group(
        self, lake: Lake, group: Sequence[CdrFile], half_done: Mapping[str, frozenset[int]]
    ) -> Mapping[int, Staged] | None:
        """Append the rows of a group; None where a file changed meanwhile, so that nothing of the group was kept."""
        mark = self._rejects.mark()
        append = self._append_cut if group[0].format == cucm.FORMAT else self._append_staged
        try:
            return append(lake, group, half_done)
        except FileChangedError as error:
            self._rejects.undo(mark)
            self.summary.skipped.append(Skipped(error.file.path, "changed", CHANGED))
            return None

    def _append_cut(
        self, lake: Lake, group: Sequence[CdrFile], half_done: Mapping[str, frozenset[int]]
    ) -> Mapping[int, Staged]:
        """CUCM: batches go from the reader to Parquet without resting anywhere."""
        record = group[0].record
        table = CDR_ROWS.name if record == "cdr" else PHONE_REPORTS.name
        tallies: dict[int, Tally] = {}
        cut = cucm.record_batches(group, record, self._rejects, tallies, self._settings.window)
        batches = self._watched(cut, group, tallies)
        with cucm.ahead(batches) as made:
            rows = (_without(batch, half_done[table]) for batch in made)
            lake.append_batches(table, rows, batch=_batch_name(group))
            # The lake asks for no rows of a group that it holds already: the counts and rejects come of reading them.
            for _ in made:
                pass
        return {key: cucm.staged(tally) for key, tally in tallies.items()}

    def _watched(
        self, batches: Iterator[pa.RecordBatch], group: Sequence[CdrFile], tallies: Mapping[int, Tally]
    ) -> Iterator[pa.RecordBatch]:
        """Pass batches on, telling how far they are."""
        octets = sum(file.size for file in group)
        before = self.progress.position
        for batch in batches:
            self.progress.packets += batch.num_rows
            self.progress.position = before + min(sum(tally.octets for tally in tallies.values()), octets)
            self._report(self.progress)
            yield batch
        self.progress.position = before + octets

    def _append_staged(
        self, lake: Lake, group: Sequence[CdrFile], half_done: Mapping[str, frozenset[int]]
    ) -> Mapping[int, Staged]:
        """Other formats: rows rest in temporary tables."""
        with connected(lake) as connection:
            make_tables(connection)
            staged = self._stage(connection, group)
            for file in group:
                if not file.is_unchanged:
                    raise FileChangedError(file)
            for table, temporary in STAGED.items():
                sql = f"SELECT * FROM {temporary}" + _except(half_done[table])  # noqa: S608 - own names
                lake.append_query(table, connection, sql, batch=_batch_name(group))
        return staged

    def _stage(self, connection: duckdb.DuckDBPyConnection, group: Sequence[CdrFile]) -> Mapping[int, Staged]:
        format_, mapping = group[0].format, self._settings.mapping
        if format_ in READERS:
            staged = READERS[format_](connection, group, self._rejects, self._settings.read)
        elif mapping is not None:
            staged = mapped.stage(connection, group, self._rejects, mapping, self._settings.read)
        else:
            raise ValueError(f"there is no reader for {format_}")
        self.progress.packets += sum(one.kept for one in staged.values())
        self._advance(sum(file.size for file in group))
        return staged

    def _acknowledge(self, lake: Lake, group: Sequence[CdrFile], staged: Mapping[int, Staged], now: datetime) -> None:
        """Name the files in `imports`: from now on they count as imported."""
        self._rejects.settle()
        rows = [(file, staged[file.file_key], self._rejects.of(file)) for file in group]
        lake.append(IMPORTS.name, imports_table(rows, now), batch=f"imports {_batch_name(group)}")
        for file in group:
            self._count(file, staged[file.file_key])
            self.in_lake.add(file.sha256)

    def _count(self, file: CdrFile, staged: Staged) -> None:
        summary = self.summary
        summary.imported[file.format, file.record] += 1
        summary.rows += staged.rows
        summary.kept[file.record] += staged.kept
        for moment in (staged.first, staged.last):
            if moment is not None:
                summary.first = moment if summary.first is None else min(summary.first, moment)
                summary.last = moment if summary.last is None else max(summary.last, moment)

    def _look_back(self, lake: Lake, files: Sequence[CdrFile]) -> None:
        """Count calls and copies, and find files that are missing beside those that came."""
        self._close()
        summary = self.summary
        if summary.first is not None and summary.last is not None and summary.kept["cdr"]:
            keys = [file.file_key for file in files if file.record == "cdr"]
            summary.calls, summary.copies = calls_and_copies(lake, keys, summary.first, summary.last)
        named = [file for file in files if file.minute is not None]
        if named:
            summary.gaps, summary.silences = missing_around(lake, named)

    def _close(self) -> None:
        self.summary.rejected = Counter(self._rejects.reasons)
        self.summary.refused = dict(self._rejects.refused)

    def _advance(self, octets: int) -> None:
        self.progress.position += octets
        self._report(self.progress)


def whole_until(group: Iterable[CdrFile], left: Iterable[CdrFile]) -> date | None:
    """Last UTC day of which the files that are left should hold no record; None where none are left, or no name tells.

    A record is written when its call ends, into the file that is closed next.
    """
    closed, to_come = [file.minute for file in group], [file.minute for file in left]
    if not to_come or None in closed or None in to_come:
        return None
    written = min(max(minute for minute in closed if minute), min(minute for minute in to_come if minute))
    return (written.astimezone(UTC) - LONG_CALL).date() - timedelta(days=1)


def _detect(settings: ImportSettings, head: bytes, name: str) -> Layout | None:
    if settings.mapping is None:
        return detect(head, name, settings.formats)
    columns = mapped.sniff(head, settings.mapping)
    is_added_to = "\n".encode(settings.mapping.encoding) == b"\n"
    return None if columns is None else Layout(settings.mapping.source, "cdr", columns, is_added_to=is_added_to)


def _batch_name(group: Sequence[CdrFile]) -> str:
    """Name of a group by its content, for the lake's own guard against appending it twice."""
    digest = hashlib.sha256()
    for file in group:
        digest.update(file.sha256.encode("ascii"))
    return f"cdr {digest.hexdigest()}"


def _without(batch: pa.RecordBatch, keys: Collection[int]) -> pa.RecordBatch:
    """Leave out rows of files whose rows are in the lake already."""
    if not keys:
        return batch
    return batch.filter(pc.invert(pc.is_in(batch["file_key"], pa.array(sorted(keys), pa.int64()))))


def _except(keys: Collection[int]) -> str:
    """SQL that leaves out files whose rows are in the lake already."""
    return f" WHERE file_key NOT IN ({', '.join(map(str, sorted(keys)))})" if keys else ""
