"""The questions of `SiteSeries`, answered by InfluxDB.

Old hours are read from their sums, newer ones and what is left at both ends from minutes: as long as minutes are kept,
the answers are the lake's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa

from analytics.store.influx import InfluxError, InfluxSettings, opened
from analytics.store.influx_flux import LOOK_BACK, any_of, text, time
from analytics.store.influx_points import SITE_HOUR, SITE_MINUTE, Measurement
from analytics.store.series import SERIES, TOTALS, summed
from analytics.store.site_minutes import HOUR, STEPS

MINUTE = timedelta(minutes=1)
WINDOWS = {"minute": "1m", "hour": "1h", "day": "1d", "month": "1mo"}


class _Part(NamedTuple):
    """Which points to read, and from when to when."""

    measurement: Measurement
    since: datetime
    until: datetime


class InfluxSeries:
    """InfluxDB's answers. `clock` says which hours are old enough to be read from their sums."""

    def __init__(self, settings: InfluxSettings, *, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self._clock = clock

    def series(
        self, sites: Sequence[str] | None, since: datetime, until: datetime, step: str, *, zone: str = "UTC"
    ) -> pa.Table:
        """See `SiteSeries`. A step of minutes finds none that the bucket no longer keeps."""
        if step not in STEPS:
            raise InfluxError(f"a series has steps of {', '.join(STEPS)}, not {step}")
        local = ZoneInfo(zone if step in {"day", "month"} else "UTC")
        parts = self._parts(since, until, whole_hours=step != "minute" and _whole_hours(local, since, until))
        window = (
            f"option location = timezone.location(name: {text(zone)})\n" if local.key != "UTC" else "",
            WINDOWS[step],
        )
        found = self._ask(sites, parts, window)
        starts = [_floor(at, step, local) for at in found.column("start").to_pylist()]
        found = found.set_column(1, SERIES.field("start"), pa.array(starts, SERIES.field("start").type))
        return summed(found, ["site", "start"]).select(SERIES.names).cast(SERIES)

    def totals(self, sites: Sequence[str] | None, since: datetime, until: datetime) -> pa.Table:
        """See `SiteSeries`."""
        found = self._ask(sites, self._parts(since, until, whole_hours=True), None)
        return summed(found, ["site"]).select(TOTALS.names).cast(TOTALS)

    def latest(self, sites: Sequence[str] | None, since: datetime, until: datetime) -> pa.Table:
        """See `SiteSeries`."""
        parts = self._parts(since, until, whole_hours=False)
        if not parts or (sites is not None and not sites):
            return SERIES.empty_table()
        counted = any_of("_field", [SITE_MINUTE.fields[0].name])
        flux = (
            self._from(parts[0], sites, counted)
            + '    |> group(columns: ["site"]) |> max(column: "_time")\n'
            + '    |> keep(columns: ["site", "_time"]) |> group()\n'
        )
        newest = {row["site"]: _floor(_parsed(row["_time"]), "minute", ZoneInfo("UTC")) for row in self._rows(flux)}
        if not newest:
            return SERIES.empty_table()
        found = self.series(sorted(newest), min(newest.values()), max(newest.values()) + MINUTE, "minute")
        kept = [newest[site] == at for site, at in zip(*(found.column(i).to_pylist() for i in (0, 1)), strict=True)]
        return found.filter(pa.array(kept, pa.bool_()))

    def _parts(self, since: datetime, until: datetime, *, whole_hours: bool) -> list[_Part]:
        since, until = _up(since.astimezone(UTC), MINUTE), _up(until.astimezone(UTC), MINUTE)
        summed_until = _down(self._clock().astimezone(UTC) - LOOK_BACK * 3 / 4, HOUR)
        first, last = _up(since, HOUR), min(_down(until, HOUR), summed_until)
        if not whole_hours or first >= last:
            parts = [_Part(SITE_MINUTE, since, until)]
        else:
            parts = [
                _Part(SITE_MINUTE, since, first),
                _Part(SITE_HOUR, first, last),
                _Part(SITE_MINUTE, last, until),
            ]
        return [part for part in parts if part.since < part.until]

    def _from(self, part: _Part, sites: Sequence[str] | None, fields: str) -> str:
        chosen = "" if sites is None else f" and ({any_of('site', sites)})"
        return (
            f"from(bucket: {text(self.settings.name(part.measurement.kept))})\n"
            f"    |> range(start: {time(part.since)}, stop: {time(part.until)})\n"
            f"    |> filter(fn: (r) => r._measurement == {text(part.measurement.name)} and ({fields}){chosen})\n"
        )

    def _ask(self, sites: Sequence[str] | None, parts: Sequence[_Part], window: tuple[str, str] | None) -> pa.Table:
        """Return rows of sums: `site`, `start` (any moment within the step), fields; some may share site and step."""
        if not parts or (sites is not None and not sites):
            return SERIES.empty_table()
        tables = [self._ask_part(sites, part, window) for part in parts]
        return pa.concat_tables(tables)

    def _ask_part(self, sites: Sequence[str] | None, part: _Part, window: tuple[str, str] | None) -> pa.Table:
        streams = []
        for how in ("sum", "min", "max"):
            fields = [field.name for field in part.measurement.fields if field.how == how]
            if window is None:
                reduced = f"    |> {how}()\n    |> map(fn: (r) => ({{r with _time: {time(part.since)}}}))\n"
            else:
                reduced = (
                    f'    |> aggregateWindow(every: {window[1]}, fn: {how}, timeSrc: "_start", createEmpty: false)\n'
                )
            streams.append(
                self._from(part, sites, any_of("_field", fields))
                # Right behind the filter the storage engine itself sums; sources are added up by whoever asks.
                + reduced
                + "    |> toFloat()\n"
                + '    |> keep(columns: ["site", "source", "_field", "_time", "_value"])\n'
            )
        head = 'import "timezone"\n' + (window[0] if window else "")
        flux = (
            head
            + "\n".join(f"{name} = {stream}" for name, stream in zip("abc", streams, strict=True))
            + "union(tables: [a, b, c])\n"
            + "    |> group()\n"
            + '    |> pivot(rowKey: ["site", "source", "_time"], columnKey: ["_field"], valueColumn: "_value")\n'
        )
        rows = list(self._rows(flux))
        columns: list[pa.Array] = []
        for field in SERIES:
            if field.name == "site":
                columns.append(pa.array([row["site"] for row in rows], field.type))
            elif field.name == "start":
                columns.append(pa.array([_parsed(row["_time"]) for row in rows], field.type))
            else:
                values = [_number(row.get(field.name), whole=pa.types.is_integer(field.type)) for row in rows]
                columns.append(pa.array(values, field.type))
        return pa.Table.from_arrays(columns, schema=SERIES)

    def _rows(self, flux: str) -> list[dict[str, str]]:
        with opened(self.settings) as client:
            answer = client.query_api().query_raw(flux)
            data = answer.data.decode()
        lines = [line for line in data.splitlines() if line and not line.startswith("#")]
        return list(csv.DictReader(io.StringIO("\n".join(lines))))


def _number(value: str | None, *, whole: bool) -> int | float | None:
    if value is None or value == "":
        return None
    number = float(value)
    return int(number) if whole else number


def _parsed(value: str) -> datetime:
    # Nanoseconds that tell batches apart are more digits than a datetime holds.
    seconds, _, _ = value.rstrip("Z").partition(".")
    return datetime.fromisoformat(seconds).replace(tzinfo=UTC)


def _down(at: datetime, unit: timedelta) -> datetime:
    return at - (at - datetime(1970, 1, 1, tzinfo=UTC)) % unit


def _up(at: datetime, unit: timedelta) -> datetime:
    return at + (datetime(1970, 1, 1, tzinfo=UTC) - at) % unit


def _floor(at: datetime, step: str, zone: ZoneInfo) -> datetime:
    """Return the begin of the step that holds a moment, in UTC."""
    if step in {"minute", "hour"}:
        return _down(at, MINUTE if step == "minute" else HOUR)
    begin = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return (begin.replace(day=1) if step == "month" else begin).astimezone(UTC)


def _whole_hours(zone: ZoneInfo, since: datetime, until: datetime) -> bool:
    """Whether a zone's days begin with hours of UTC all the time."""
    moments = [since + timedelta(days=number) for number in range((until - since).days + 2)]
    return not any((at.astimezone(zone).utcoffset() or timedelta()) % HOUR for at in moments)
