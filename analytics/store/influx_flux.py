"""Flux, the language that InfluxDB 2 is asked in: literals, sums by hour, and the task that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from analytics.store.influx import InfluxSettings, Kept
from analytics.store.influx_points import HOURS, MEASUREMENTS, Measurement

LOOK_BACK = timedelta(hours=48)
"""How far back the task sums hours anew [h]: later than a day, live rows are put aside and not counted."""
EVERY = timedelta(minutes=15)
"""How often the task runs [min]."""


def text(value: str) -> str:
    """Return a string literal."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def time(at: datetime) -> str:
    """Return a time literal [µs]."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def any_of(column: str, values: Sequence[str]) -> str:
    """Return the condition that a column is one of some values; false where there is none."""
    return " or ".join(f"r[{text(column)}] == {text(value)}" for value in values) or "false"


def named(name: str) -> Measurement:
    """Return a measurement by its name; KeyError where there is none."""
    return next(one for one in MEASUREMENTS if one.name == name)


def newest_time(measurement: Measurement, settings: InfluxSettings) -> str:
    """Return the query for the time of the newest point of a measurement."""
    return _one_time(measurement, settings, "last", "max")


def oldest_time(measurement: Measurement, settings: InfluxSettings) -> str:
    """Return the query for the time of the oldest point of a measurement."""
    return _one_time(measurement, settings, "first", "min")


def _one_time(measurement: Measurement, settings: InfluxSettings, of_series: str, of_all: str) -> str:
    counted = f"r._measurement == {text(measurement.name)} and r._field == {text(measurement.fields[0].name)}"
    return (
        f"from(bucket: {text(settings.name(measurement.kept))})\n"
        f"    |> range(start: 0) |> filter(fn: (r) => {counted})\n"
        f'    |> {of_series}() |> group() |> {of_all}(column: "_time") |> keep(columns: ["_time"])\n'
    )


def sum_hours(fine: str, settings: InfluxSettings, begin: str, end: str, *, option: str = "") -> str:
    """Return the program that sums whole hours of a measurement, from the hour of `begin` to `end`.

    `begin` and `end` are Flux times or durations. An hour that is summed again overwrites itself.
    """
    head = ['import "date"', option, f"begin = date.truncate(t: {begin}, unit: 1h)", f"end = {end}"]
    parts = []
    for how in ("sum", "min", "max"):
        fields = [field.name for field in named(fine).fields if field.how == how]
        parts.append(
            f"from(bucket: {text(settings.bucket)})\n"
            "    |> range(start: begin, stop: end)\n"
            f"    |> filter(fn: (r) => r._measurement == {text(fine)} and ({any_of('_field', fields)}))\n"
            f'    |> aggregateWindow(every: 1h, fn: {how}, timeSrc: "_start", createEmpty: false)\n'
            f'    |> set(key: "_measurement", value: {text(HOURS[fine].name)})\n'
            f"    |> to(bucket: {text(settings.name(Kept.LONG))}, org: {text(settings.org)})\n"
            f'    |> yield(name: "{how}")'
        )
    return "\n".join(head + parts) + "\n"


def hour_task(name: str, fine: str, settings: InfluxSettings) -> str:
    """Return the task that keeps the sums of hours."""
    option = f"option task = {{name: {text(name)}, every: {EVERY // timedelta(minutes=1)}m, offset: 1m}}"
    back = f"-{LOOK_BACK // timedelta(hours=1)}h"
    return sum_hours(fine, settings, f"date.add(d: {back}, to: now())", "now()", option=option)
