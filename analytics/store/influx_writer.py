"""Points on their way to InfluxDB: through the spool on disk, in batches, tried again until the server has them.

`put` returns when the points are in the spool; `run` sends what is in it, oldest first. Points leave the spool when the
server has taken them, or has refused them for what they are: then they stand in the dead-letter file with its reason.
Whatever else fails (no server, no bucket, a token that was withdrawn) is waited for, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analytics.store.influx import InfluxError, InfluxSettings, Kept, asked_wait, refusal, said_by, status_of
from analytics.store.influx_flux import LOOK_BACK, named, newest_time, oldest_time, sum_hours
from analytics.store.influx_points import HOURS, Points, chunks
from analytics.store.spool import Spool, SpoolCounts, Spooled
from analytics.store.whole_lines import append_whole

if TYPE_CHECKING:
    from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync

COMPRESSION = 1
"""Level of gzip: higher ones take longer than the network saves."""
PEEKED = 64
PEEKED_OCTETS = 4 << 20
REFUSED = frozenset({400, 413, 422})
"""Answers that blame the points themselves: bad line, too large, conflict of types, older than the bucket keeps."""
FOUND_BEFORE_WHOLE = 32
"""Refused lines in one record after which the rest of it is not searched for more of them, but put aside as pieces."""
DEAD_LETTERS = "dead-letters.jsonl"
LATE_HOURS = "late-hours.json"
LOOK_AGAIN = timedelta(hours=1)
"""How often hours are looked for that the server's task did not sum [h]."""
_VERSION = 1
_SECOND = 1_000_000_000
_HOUR = 3_600 * _SECOND
_DAY = 24 * _HOUR


class WriterCounts(NamedTuple):
    """What became of points since the process began; what the spool held then is written and dead, but not put."""

    put: int
    """Points taken: written + dead + dropped + waiting, but for those that the process before left in the spool."""
    written: int
    dead: int
    """Points that the server refused."""
    dead_unkept: int
    """Of those, not in the dead-letter file, for it was at its bound."""
    dropped: int
    """Points that went unsent with the spool's oldest segment, for it was at its bound."""
    failures: int
    """Requests that failed and were tried again."""
    spool: SpoolCounts
    """The same of records, each up to a batch of points, since the spool was made: these add up."""
    trouble: str
    """Why nothing is written now, in one sentence; empty where all is well."""


class _Record(NamedTuple):
    sequence: int
    kept: Kept
    measurement: str
    points: int
    first: int
    last: int
    replaces: tuple[int, int] | None
    body: bytes
    """Line protocol, gzip: members one after the other are one stream, so records are merged as they are."""


class _Answer(Enum):
    TAKEN = "taken"
    REFUSED = "refused"


def encode_record(points: Points) -> bytes:
    """Return points as a record of the spool: a line of JSON that says what they are, and gzip."""
    stated = {
        "version": _VERSION,
        "kept": points.measurement.kept.value,
        "measurement": points.measurement.name,
        "points": len(points.lines),
        "first": points.first,
        "last": points.last,
        "replaces": points.replaces,
    }
    lines = b"".join(line + b"\n" for line in points.lines)
    return json.dumps(stated).encode() + b"\n" + gzip.compress(lines, COMPRESSION, mtime=0)


def _decode_record(sequence: int, payload: bytes) -> _Record:
    head, _, body = payload.partition(b"\n")
    stated = json.loads(head)
    if stated["version"] != _VERSION:
        raise InfluxError(f"the spool holds points of version {stated['version']}, which this version cannot send")
    replaces = stated["replaces"]
    return _Record(
        sequence,
        Kept(stated["kept"]),
        stated["measurement"],
        stated["points"],
        stated["first"],
        stated["last"],
        None if replaces is None else (replaces[0], replaces[1]),
        body,
    )


class InfluxWriter:
    """Writes points of one process. `put` and `run` belong to one event loop; the spool belongs to the writer."""

    def __init__(
        self, settings: InfluxSettings, spool: Spool, *, clock: Callable[[], datetime], jitter: random.Random
    ) -> None:
        self.settings = settings
        self.spool = spool
        self._clock = clock
        self._jitter = jitter
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._dead_letters = DeadLetters(spool.root / DEAD_LETTERS, settings.dead_letter_octets)
        self._late = LateHours(spool.root / LATE_HOURS)
        self._put = self._written = self._dead = self._dropped = self._failures = 0
        self._in_hand = self._dropped_upto = 0
        """Sequences up to which records were read, and up to which what was dropped is counted."""
        self._counting = threading.Lock()
        self._trouble = ""
        spool.on_drop = self._count_dropped

    async def put(self, points: Points) -> None:
        """Take points; when it returns they are on disk. SpoolError where the disk is full: they were not taken."""
        if not points.lines and points.replaces is None:
            return
        records = await asyncio.to_thread(
            lambda: [encode_record(part) for part in chunks(points, self.settings.batch_points)]
        )
        # One append, so that either all of them are taken or none.
        await asyncio.to_thread(self.spool.append, records)
        self._put += len(points.lines)
        self._empty.clear()
        self._more.set()

    def _count_dropped(self, records: Sequence[Spooled]) -> None:
        """Count points that the spool drops; in the thread that appends."""
        with self._counting:
            for one in records:
                if one.sequence > self._in_hand:
                    self._dropped += _decode_record(one.sequence, one.payload).points
                    self._dropped_upto = one.sequence

    def _take_in_hand(self, records: Sequence[_Record]) -> None:
        """Note what is going to be sent, though the spool may drop it meanwhile, or already has."""
        with self._counting:
            self._in_hand = records[-1].sequence
            self._dropped -= sum(one.points for one in records if one.sequence <= self._dropped_upto)

    async def flush(self) -> None:
        """Wait until the spool is empty; for as long as the server is away, if it is."""
        if (await asyncio.to_thread(self.spool.counts)).waiting:
            await self._empty.wait()

    def counts(self) -> WriterCounts:
        """Return what became of points."""
        return WriterCounts(
            self._put,
            self._written,
            self._dead,
            self._dead_letters.unkept,
            self._dropped,
            self._failures,
            self.spool.counts(),
            self._trouble,
        )

    async def run(self) -> None:
        """Send what is in the spool until cancelled; what was not acknowledged then stays in it."""
        from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync

        async with InfluxDBClientAsync(
            url=self.settings.url,
            token=self.settings.token,
            org=self.settings.org,
            timeout=round(self.settings.timeout_seconds * 1_000),
            ssl_ca_cert=self.settings.ca_file or None,
        ) as client:
            looked: datetime | None = None
            while True:
                if looked is None or self._clock() - looked > LOOK_AGAIN:
                    await self._sum_missed_hours(client)
                    looked = self._clock()
                self._more.clear()
                before = await asyncio.to_thread(self.spool.counts)
                peeked = await asyncio.to_thread(self.spool.peek, PEEKED, PEEKED_OCTETS)
                if not peeked:
                    # What was damaged at the end is waited for by nobody.
                    await asyncio.to_thread(self.spool.acknowledge, before.appended)
                    await self._sum_noted_hours(client)
                    if not self._more.is_set():
                        self._empty.set()
                        await self._wait_for_more()
                    continue
                records = [_decode_record(one.sequence, one.payload) for one in peeked]
                self._take_in_hand(records)
                for lot in _lots(_groups(records, self.settings.batch_points), self.settings.requests):
                    async with asyncio.TaskGroup() as tasks:
                        for group in lot:
                            tasks.create_task(self._deliver(client, group))
                    await self._note_late_hours(client, [record for group in lot for record in group])
                    await asyncio.to_thread(self.spool.acknowledge, lot[-1][-1].sequence)

    async def _wait_for_more(self) -> None:
        try:
            async with asyncio.timeout(LOOK_AGAIN.total_seconds()):
                await self._more.wait()
        except TimeoutError:
            return

    async def _deliver(self, client: InfluxDBClientAsync, group: Sequence[_Record]) -> None:
        """Send records of one bucket as one request; return when the server has them or they are put aside."""
        first = group[0]
        if first.replaces is not None:
            await self._delete(client, first, first.replaces)
        points = sum(record.points for record in group)
        if points:
            answer, reason = await self._write(client, first.kept, b"".join(record.body for record in group))
            if answer is _Answer.TAKEN:
                self._written += points
            else:
                for record in group:
                    await self._search(client, record, reason)

    async def _write(self, client: InfluxDBClientAsync, kept: Kept, body: bytes) -> tuple[_Answer, str]:
        """Send a body until the server takes or refuses it."""
        from influxdb_client.service.write_service import WriteService

        service = WriteService(client.api_client)  # type: ignore[no-untyped-call]
        bucket = self.settings.name(kept)

        async def attempt() -> None:
            await service.post_write_async(  # type: ignore[no-untyped-call]
                org=self.settings.org, bucket=bucket, body=body, precision="ns", content_encoding="gzip"
            )

        return await self._persist(attempt)

    async def _delete(self, client: InfluxDBClientAsync, record: _Record, span: tuple[int, int]) -> None:
        begin, end = (_rfc3339(at) for at in span)

        async def attempt() -> None:
            await client.delete_api().delete(
                begin, end, f'_measurement="{record.measurement}"', self.settings.name(record.kept), self.settings.org
            )

        answer, reason = await self._persist(attempt)
        if answer is _Answer.REFUSED:
            await self._put_aside(record.kept, [], f"delete refused: {reason}")

    async def _note_late_hours(self, client: InfluxDBClientAsync, records: Sequence[_Record]) -> None:
        """Note hours that the server's task no longer looks at, before their minutes are acknowledged."""
        horizon = _nanoseconds(self._clock() - LOOK_BACK / 2)
        for name in HOURS:
            late = [record for record in records if record.measurement == name and record.first < horizon]
            if not late:
                continue
            first, last = min(one.first for one in late), max(one.last for one in late)
            if not await asyncio.to_thread(self._late.note, name, first, last):
                await self._sum(client, name, first, last)

    async def _sum_noted_hours(self, client: InfluxDBClientAsync) -> None:
        for name, (first, last) in self._late.spans.copy().items():
            await self._sum(client, name, first, last)
            await asyncio.to_thread(self._late.forget, name)

    async def _sum_missed_hours(self, client: InfluxDBClientAsync) -> None:
        """Have the server sum the hours that its task did not: it was away for long, or its task is new."""
        now = self._clock()
        for name, hours in HOURS.items():
            begin = await self._time(client, newest_time(hours, self.settings))
            begin = begin or await self._time(client, oldest_time(named(name), self.settings))
            if begin is not None and begin < now - LOOK_BACK / 2:
                await self._sum(client, name, _nanoseconds(begin), _nanoseconds(now))

    async def _time(self, client: InfluxDBClientAsync, flux: str) -> datetime | None:
        """Return the one time that a query finds; None where it finds none, or there is no such bucket yet."""
        found: list[datetime] = []

        async def attempt() -> None:
            tables = await client.query_api().query(flux)
            found[:] = [record["_time"] for table in tables for record in table.records]

        await self._persist(attempt)
        return found[0] if found else None

    async def _sum(self, client: InfluxDBClientAsync, name: str, first: int, last: int) -> None:
        """Have the server sum hours, a day at a time, so that no request takes long."""
        # An hour is summed whole: the sum of a part of it would overwrite the sum of all.
        begin, end = first // _HOUR * _HOUR, (last // _HOUR + 1) * _HOUR
        for at in range(begin, end, _DAY):
            flux = sum_hours(name, self.settings, _rfc3339(at), _rfc3339(min(at + _DAY, end)))

            async def attempt(flux: str = flux) -> None:
                await client.query_api().query_raw(flux)

            answer, reason = await self._persist(attempt)
            if answer is _Answer.REFUSED:
                await self._put_aside(Kept.LONG, [], f"sums of hours refused: {reason}")

    async def _persist(self, attempt: Callable[[], Awaitable[None]]) -> tuple[_Answer, str]:
        """Make a request until it is taken or refused, waiting longer from failure to failure."""
        from aiohttp import ClientError
        from influxdb_client.client.exceptions import InfluxDBError

        wait = self.settings.retry_seconds
        while True:
            asked = 0.0
            try:
                await attempt()
            except InfluxDBError as error:
                if status_of(error) in REFUSED:
                    self._trouble = ""
                    return _Answer.REFUSED, f"{status_of(error)}: {said_by(error)}"
                self._trouble = refusal(self.settings, error)
                asked = asked_wait(error)
            except (ClientError, TimeoutError, OSError) as error:
                said = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self._trouble = f"InfluxDB at {self.settings.url} does not answer: {said}"
            else:
                self._trouble = ""
                return _Answer.TAKEN, ""
            self._failures += 1
            await asyncio.sleep(max(asked, wait * (0.5 + self._jitter.random() / 2)))
            wait = min(wait * 2, self.settings.retry_most_seconds)

    async def _search(self, client: InfluxDBClientAsync, record: _Record, reason: str) -> None:
        """Send a record in halves until the lines that the server refuses stand alone, and put those aside."""
        lines = gzip.decompress(record.body).splitlines(keepends=True)
        pieces = [lines]
        found = 0
        while pieces:
            piece = pieces.pop()
            answer, reason = await self._write(
                client, record.kept, gzip.compress(b"".join(piece), COMPRESSION, mtime=0)
            )
            if answer is _Answer.TAKEN:
                self._written += len(piece)
            elif len(piece) > 1 and found < FOUND_BEFORE_WHOLE:
                middle = len(piece) // 2
                pieces += [piece[middle:], piece[:middle]]
            else:
                found += 1
                await self._put_aside(record.kept, piece, reason)

    async def _put_aside(self, kept: Kept, lines: Sequence[bytes], reason: str) -> None:
        self._dead += len(lines)
        letter = {
            "at": self._clock().isoformat(),
            "bucket": self.settings.name(kept),
            "reason": reason,
            "lines": [line.decode(errors="replace").rstrip("\n") for line in lines],
        }
        await asyncio.to_thread(self._dead_letters.add, letter, len(lines))


class DeadLetters:
    """Points that the server refused, a line of JSON each time, in a file of bounded size."""

    def __init__(self, path: Path, octets: int) -> None:
        self.path = path
        self.octets = octets
        self.unkept = 0

    def add(self, letter: Mapping[str, object], points: int) -> None:
        """Write a letter; what the bound or the disk has no room for is counted and not written."""
        line = json.dumps(letter, ensure_ascii=False).encode() + b"\n"
        try:
            with self.path.open("ab", buffering=0) as file:
                if file.tell() + len(line) > self.octets:
                    self.unkept += points
                    return
                append_whole(file, line)
        except OSError:
            self.unkept += points


class LateHours:
    """Spans whose hours are still to be summed, by measurement [ns since the epoch]; the file outlives the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spans: dict[str, tuple[int, int]] = {}
        try:
            stated = json.loads(path.read_text(encoding="utf-8"))
            self.spans = {name: (int(span[0]), int(span[1])) for name, span in stated.items() if name in HOURS}
        except (OSError, ValueError, TypeError, LookupError, AttributeError):
            # None was written, or it was cut: what it told is found by the hours that are missing.
            return

    def note(self, name: str, first: int, last: int) -> bool:
        """Widen the span of a measurement; False where that cannot be written, and the hours must be summed now."""
        begin, end = self.spans.get(name, (first, last))
        wider = (min(begin, first), max(end, last))
        if self.spans.get(name) == wider:
            return True
        return self._keep({**self.spans, name: wider})

    def forget(self, name: str) -> None:
        """Be done with the span of a measurement."""
        self._keep({other: span for other, span in self.spans.items() if other != name})

    def _keep(self, spans: dict[str, tuple[int, int]]) -> bool:
        scratch = self.path.with_suffix(".new")
        try:
            with scratch.open("wb") as file:
                file.write(json.dumps(spans).encode())
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self.path)
        except OSError:
            return False
        self.spans = spans
        return True


def _groups(records: Sequence[_Record], most: int) -> list[list[_Record]]:
    """Return records in order, those together that may go in one request."""
    groups: list[list[_Record]] = []
    points = 0
    for record in records:
        points += record.points
        if groups and record.replaces is None and record.kept is groups[-1][0].kept and points <= most:
            groups[-1].append(record)
        else:
            groups.append([record])
            points = record.points
    return groups


def _lots(groups: Sequence[list[_Record]], most: int) -> list[list[list[_Record]]]:
    """Return groups in lots that may be sent at once; one that replaces what is there goes alone."""
    lots: list[list[list[_Record]]] = []
    for group in groups:
        alone = group[0].replaces is not None or (lots and lots[-1][0][0].replaces is not None)
        if lots and not alone and len(lots[-1]) < most:
            lots[-1].append(group)
        else:
            lots.append([group])
    return lots


def _rfc3339(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp()) * _SECOND
