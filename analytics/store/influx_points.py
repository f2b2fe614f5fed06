"""Facts as points of InfluxDB: the measurements, each declared once, and their line protocol.

Tags are names of sites, sources and kinds of call: never a call, stream, address or number, so that their combinations
stay bounded. Two points never overwrite each other unless they are the same fact: rows of one batch that share tags and
time are summed before they are written, and the time of a point is the begin of its minute or interval plus less than
a second, in nanoseconds, that tells its batch (see `part_of`). Written again, a batch overwrites itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from analytics.store.influx import InfluxError, Kept
from analytics.store.schema import SITE_MINUTES, Kind
from analytics.store.site_minutes import GREATEST, LEAST, SUMS

PART_NS = 1_000_000_000
"""The nanoseconds that tell batches apart: always less than this."""
POOR_MOS = 3.6
MICROSECOND_NS = 1_000
DAY_NS = 86_400 * PART_NS


class Tag(NamedTuple):
    """One tag."""

    name: str
    doc: str


class Field(NamedTuple):
    """One field: `how` it adds up over points is sum, min or max."""

    name: str
    kind: Kind
    how: str
    doc: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement."""

    name: str
    doc: str
    kept: Kept
    tags: tuple[Tag, ...]
    fields: tuple[Field, ...]
    series: str
    """What bounds the number of its series, in words."""

    def field(self, name: str) -> Field:
        """Return a field by its name; KeyError where there is none."""
        for one in self.fields:
            if one.name == name:
                return one
        raise KeyError(f"the measurement {self.name} has no field {name}")


_SOURCE = Tag("source", "the collector, agent or import that counted it")
_SITE_FIELDS = tuple(
    Field(name, column.kind, "min" if name in LEAST else "max" if name in GREATEST else "sum", column.doc, column.unit)
    for name in SUMS
    for column in [SITE_MINUTES.column(name)]
)

SITE_MINUTE = Measurement(
    "site_minute",
    "What each site did in a minute, as in the lake's `site_minutes`.",
    Kept.FINE,
    (Tag("site", "site"), _SOURCE),
    _SITE_FIELDS,
    "sites × sources that see them",
)

STREAM_INTERVAL = Measurement(
    "stream_interval",
    "The streams from one site to another in an interval (10 s unless set otherwise), summed.",
    Kept.FINE,
    (
        Tag("site", "site of the senders; absent: not attributed"),
        Tag("other_site", "site of the receivers; absent: not attributed"),
        _SOURCE,
    ),
    (
        Field("streams", Kind.LONG, "sum", "streams that were heard", "streams"),
        Field("rated", Kind.LONG, "sum", "of those, with a MOS", "streams"),
        Field("poor", Kind.LONG, "sum", "of those, with a MOS under 3.6", "streams"),
        Field("mos_sum", Kind.DOUBLE, "sum", "sum of their MOS", "MOS"),
        Field("mos_min", Kind.DOUBLE, "min", "lowest MOS; absent: none rated", "MOS"),
        Field("packets", Kind.LONG, "sum", "packets received", "packets"),
        Field("expected", Kind.LONG, "sum", "packets expected", "packets"),
        Field("lost", Kind.LONG, "sum", "packets lost; may be negative", "packets"),
        Field("timed", Kind.LONG, "sum", "of the streams, with a jitter", "streams"),
        Field("jitter_sum_ms", Kind.DOUBLE, "sum", "sum of their jitter", "ms"),
        Field("jitter_max_ms", Kind.DOUBLE, "max", "highest jitter; absent: none timed", "ms"),
        Field("stream_seconds", Kind.DOUBLE, "sum", "length of the streams' intervals", "s"),
    ),
    "pairs of sites that talk to each other × sources that see them",
)

COST_SITE_DAY = Measurement(
    "cost_site_day",
    "Calls of a site on a UTC day and their price under both tariffs; a day that is written again replaces the day.",
    Kept.LONG,
    (Tag("site", "site that pays; absent: not attributed"), Tag("kind", "outbound, inbound, on_net, on_site, transit")),
    (
        Field("lines", Kind.LONG, "sum", "usage lines", "lines"),
        Field("seconds", Kind.LONG, "sum", "talk time", "s"),
        Field("ip_cost", Kind.DOUBLE, "sum", "price today of the lines that have one", "currency units"),
        Field("ip_unrated", Kind.LONG, "sum", "lines without a price today", "lines"),
        Field("legacy_cost", Kind.DOUBLE, "sum", "price under the old tariff of the lines with one", "currency units"),
        Field("legacy_unrated", Kind.LONG, "sum", "lines without a price under the old tariff", "lines"),
    ),
    "sites × 5 kinds",
)


def _by_hour(measurement: Measurement, name: str) -> Measurement:
    doc = f"`{measurement.name}` summed by UTC hour, by a task of the server."
    return Measurement(name, doc, Kept.LONG, measurement.tags, measurement.fields, measurement.series)


SITE_HOUR = _by_hour(SITE_MINUTE, "site_hour")
STREAM_HOUR = _by_hour(STREAM_INTERVAL, "stream_hour")
HOURS: Mapping[str, Measurement] = {SITE_MINUTE.name: SITE_HOUR, STREAM_INTERVAL.name: STREAM_HOUR}
"""What is summed by hour into what."""
MEASUREMENTS = (SITE_MINUTE, STREAM_INTERVAL, COST_SITE_DAY, SITE_HOUR, STREAM_HOUR)


class Points(NamedTuple):
    """Points ready to be written."""

    measurement: Measurement
    lines: tuple[bytes, ...]
    """Line protocol, times in nanoseconds."""
    first: int
    """Earliest time [ns since the epoch]."""
    last: int
    """Latest time [ns since the epoch]."""
    replaces: tuple[int, int] | None = None
    """Begin and end of the span of the measurement that is deleted before [ns since the epoch]."""


def part_of(batch: str, sequence: int) -> int:
    """Return the nanoseconds that tell a batch from others of its source: numbered ones never share theirs.

    `batch` and `sequence` as for `Lake.append`. Batches of different names meet with odds of one in 10^9.
    """
    return (int.from_bytes(hashlib.sha256(batch.encode()).digest()[:8]) + sequence) % PART_NS


def site_minute_points(rows: pa.Table, *, source: str, batch: str, sequence: int = 0) -> Points:
    """Turn rows of `site_minutes` (whole minutes; `month` and `step` are not looked at) into points.

    InfluxError where a row begins within a minute or a name cannot be a tag.
    """
    starts = rows.column("start").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    if pc.any(pc.not_equal(pc.multiply(pc.divide(starts, 60_000_000), 60_000_000), starts)).as_py():
        raise InfluxError("rows for measurement site_minute are no whole minutes")
    columns = {"site": rows.column("site"), "source": _same(source, rows.num_rows), "time": starts}
    for field in SITE_MINUTE.fields:
        if field.name in rows.column_names:
            columns[field.name] = rows.column(field.name)
        else:
            columns[field.name] = pa.nulls(rows.num_rows, pa.float64())
    return _points(SITE_MINUTE, pa.table(columns), part_of(batch, sequence))


def stream_interval_points(rows: pa.Table, *, source: str, batch: str, sequence: int = 0, seconds: int = 10) -> Points:
    """Sum rows of `intervals` by pair of sites and by slot of `seconds`, and turn them into points."""
    slot = seconds * 1_000_000
    starts = rows.column("start").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    mos, jitter = rows.column("mos"), rows.column("jitter_ms")
    columns = {
        "site": rows.column("site"),
        "other_site": rows.column("other_site"),
        "source": _same(source, rows.num_rows),
        "time": pc.multiply(pc.divide(starts, slot), slot),
        "streams": pa.array([1] * rows.num_rows, pa.int64()),
        "rated": pc.is_valid(mos).cast(pa.int64()),
        "poor": pc.fill_null(pc.less(mos, POOR_MOS), False).cast(pa.int64()),
        "mos_sum": pc.fill_null(mos, 0.0),
        "mos_min": mos,
        "timed": pc.is_valid(jitter).cast(pa.int64()),
        "jitter_sum_ms": pc.fill_null(jitter, 0.0),
        "jitter_max_ms": jitter,
        "stream_seconds": rows.column("seconds"),
    } | {name: rows.column(name) for name in ("packets", "expected", "lost")}
    return _points(STREAM_INTERVAL, pa.table(columns), part_of(batch, sequence))


class CostDay(NamedTuple):
    """Calls of a site on a UTC day."""

    day: date
    site: str | None
    kind: str
    lines: int
    seconds: int
    ip_cost: float
    """Currency units."""
    ip_unrated: int
    legacy_cost: float
    legacy_unrated: int


def cost_points(rows: Sequence[CostDay], first: date, last: date) -> Points:
    """Turn all calls of some days, both included, into points that replace those days."""
    columns: dict[str, pa.Array] = {
        "time": pa.array([_day_us(row.day) for row in rows], pa.int64()),
        "site": pa.array([row.site for row in rows], pa.string()),
        "kind": pa.array([row.kind for row in rows], pa.string()),
    }
    for field in COST_SITE_DAY.fields:
        kind = pa.float64() if field.kind is Kind.DOUBLE else pa.int64()
        columns[field.name] = pa.array([getattr(row, field.name) for row in rows], kind)
    span = (_day_us(first) * MICROSECOND_NS, _day_us(last) * MICROSECOND_NS + DAY_NS)
    return _points(COST_SITE_DAY, pa.table(columns), 0)._replace(replaces=span)


def chunks(points: Points, most: int) -> Iterator[Points]:
    """Cut points into parts of bounded number; the first carries what is replaced."""
    yield points._replace(lines=points.lines[:most])
    for begin in range(most, len(points.lines), most):
        yield points._replace(lines=points.lines[begin : begin + most], replaces=None)


def _day_us(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _same(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), count)


def _points(measurement: Measurement, rows: pa.Table, part: int) -> Points:
    """Sum rows that share tags and time, and write each as a line."""
    keys = ["time", *(tag.name for tag in measurement.tags)]
    how = [(field.name, field.how) for field in measurement.fields]
    grouped = rows.group_by(keys, use_threads=False).aggregate(how)
    if not grouped.num_rows:
        return Points(measurement, (), 0, 0)
    times = pc.add(pc.multiply(grouped.column("time").cast(pa.int64()), MICROSECOND_NS), part)
    tags = _joined(
        ",",
        [pa.repeat(pa.scalar(measurement.name), grouped.num_rows)]
        + [_tag(tag.name, grouped.column(tag.name)) for tag in sorted(measurement.tags)],
    )
    fields = _joined(",", [_field(field, grouped.column(f"{field.name}_{field.how}")) for field in measurement.fields])
    lines = pc.cast(_joined(" ", [tags, fields, times.cast(pa.string())]), pa.binary()).to_pylist()
    bounds = pc.min_max(times).as_py()
    return Points(measurement, tuple(lines), bounds["min"], bounds["max"])


def _joined(separator: str, parts: Sequence[pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(*parts, separator, null_handling="skip")


def _tag(name: str, values: pa.Array) -> pa.Array:
    """Return `name=value`, escaped; NULL where there is none."""
    # A line ends at a line feed and a backslash would escape what follows it: neither can be written in a tag.
    unfit = pc.match_substring_regex(values, r"[\x00-\x1f\x7f]|\\$|^$")
    if pc.any(unfit).as_py():
        wrong = values.filter(unfit)[0].as_py()
        raise InfluxError(f"{wrong!r} cannot be the tag {name} of a point")
    values = pc.replace_substring_regex(values, r"([,= ])", r"\\\1")
    return pc.binary_join_element_wise(f"{name}=", values, "")


def _field(field: Field, values: pa.Array) -> pa.Array:
    """Return `name=value`; NULL where there is none."""
    if field.kind is Kind.DOUBLE:
        values = values.cast(pa.float64())
        values = pc.if_else(pc.is_finite(values), values, None)
        return pc.binary_join_element_wise(f"{field.name}=", values.cast(pa.string()), "")
    return pc.binary_join_element_wise(f"{field.name}=", values.cast(pa.int64()).cast(pa.string()), "i", "")
