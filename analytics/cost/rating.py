"""Rating: calls in columns, priced exactly in whole atoms under the version of a tariff that held at their time.

The rules, for one call (docs/tariffs.md says them in full):

- The row of the call's start gives connection fee, minimum, increments, service charge per call and cap.
- Seconds charged are the real ones, at least the minimum, rounded up to whole increments over the whole call.
- Without splitting, each charged second costs what the row of the start says. With splitting, charged seconds follow
  each other from the start on, and each costs what the row of its own local time says: so a longer call never costs
  less, whatever bands and increments are.
- The cap bounds the sum. A call of 0 s costs nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.cost.local_time import DAY_S, LAST_SECOND, LocalTime
from analytics.cost.tariff import (
    HOLIDAY,
    LONGEST_CALL_SECONDS,
    LONGEST_INCREMENT_SECONDS,
    MINUTES_PER_DAY,
    Crossing,
    RateRow,
    TariffError,
    TariffVersion,
    match_rows,
)

Seconds = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLOCK = 65_536
"""Calls rated at a time: their columns stay in the processor's cache."""
MOST_GROUPS = 100_000
NO_CAP = 2**63 - 1

RATED, NO_VERSION, NO_RATE, NO_BAND, TOO_LONG, NEGATIVE, NO_TIME = range(7)
REASONS = ("", "no_version", "no_rate", "no_band", "too_long", "negative_seconds", "time_out_of_range")
"""Why a call has no price: before the first version, no row for its class and band, no band at its time, longer than
31 days, ends before it begins, not from 1970 to 2106."""


class RatedColumns(NamedTuple):
    """What was charged, a row a call."""

    version: NDArray[np.int16]
    """Index into `Rater.versions`; −1 where there is no price."""
    row: NDArray[np.int32]
    """Line of the row of its start in that version's rates.csv; 0 where there is no price."""
    rated_seconds: NDArray[np.int32]
    segments: NDArray[np.int16]
    """Spans of one band and version that the charged seconds lie in; 0 for a call of 0 s."""
    cost: NDArray[np.int64]
    """Atoms; 0 where there is no price, and `why` says so."""
    why: NDArray[np.int8]
    """Index into `Rater.reasons`; 0 where it is rated."""


class _Prices:
    """Columns of all rows of all versions; the last one stands for no row."""

    def __init__(self, rows: Sequence[RateRow]) -> None:
        def column(values: Iterable[int]) -> Seconds:
            return np.array([*values, 0], np.int64)

        self.line = column(row.origin.line for row in rows)
        self.per_call = column(row.connection_fee + row.service_per_call for row in rows)
        self.per_second = column(row.per_second + row.service_per_second for row in rows)
        self.without_service = column(row.per_second for row in rows)
        self.minimum = column(row.minimum_seconds for row in rows)
        self.first = column(row.first_increment for row in rows)
        self.next = column(row.next_increment for row in rows)
        self.next[-1] = 1
        self.cap = column(NO_CAP if row.cap is None else row.cap for row in rows)


class _Bands:
    """Bands of all versions by kind of day and minute."""

    def __init__(self, versions: Sequence[TariffVersion]) -> None:
        self.band: NDArray[np.int64] = np.full((len(versions), 8, MINUTES_PER_DAY), -1, np.int64)
        self.left: NDArray[np.int64] = np.zeros((len(versions), 8, MINUTES_PER_DAY), np.int64)
        """Minutes until another band begins or the day ends."""
        for index, version in enumerate(versions):
            names = version.band_names
            for kind in range(8):
                until = MINUTES_PER_DAY
                for minute in reversed(range(MINUTES_PER_DAY)):
                    band = version.band_at(kind, minute)
                    number = -1 if band is None else names.index(band)
                    self.band[index, kind, minute] = number
                    if minute + 1 < MINUTES_PER_DAY and self.band[index, kind, minute + 1] != number:
                        until = minute + 1
                    self.left[index, kind, minute] = until - minute


class _Place(NamedTuple):
    """Where calls stand in the bands at an instant."""

    band: Seconds
    left: Seconds
    """Seconds until another band may begin."""


class _Calls(NamedTuple):
    """Calls with what their start decides."""

    start: Seconds
    group: NDArray[np.int32]
    version: Seconds
    place: _Place
    row: Seconds
    charged: Seconds

    def some(self, which: NDArray[np.intp]) -> _Calls:
        """Return these calls alone."""
        place = _Place(self.place.band[which], self.place.left[which])
        start, group, version, _, row, charged = self
        return _Calls(start[which], group[which], version[which], place, row[which], charged[which])


class Rater:
    """Rates calls under all versions of one tariff."""

    def __init__(self, versions: Sequence[TariffVersion], zone: str, holidays: Collection[date] = ()) -> None:
        """`versions` are of one tariff in any order; `holidays` are local days. TariffError where none can rate."""
        ordered = sorted(versions, key=lambda version: version.valid_from)
        if not ordered or len({version.valid_from for version in ordered}) != len(ordered):
            raise TariffError("a tariff needs versions, each with a day of its own")
        self.tariff = tuple(ordered)
        self.holidays = frozenset(holidays)
        self.versions = tuple(version.label for version in ordered)
        self.reasons = REASONS
        self.local = LocalTime(zone)
        rows = [row for version in ordered for row in version.rows]
        _check_range(rows)
        self._row_index = {id(row): index for index, row in enumerate(rows)}
        self._by_prefix = [_by_prefix(version.rows) for version in ordered]
        self._prices = _Prices(rows)
        self._no_row = len(rows)
        self._bands = _Bands(ordered)
        self._begins = np.array([self.local.midnight(version.valid_from) for version in ordered], np.int64)
        self._splits_bands = np.array([one.terms.band_crossing is Crossing.SPLIT for one in ordered])
        self._splits_tariffs = np.array([one.terms.tariff_change is Crossing.SPLIT for one in ordered])
        self._has_holidays = np.array([one.terms.has_holidays for one in ordered])
        days = np.arange(LAST_SECOND // DAY_S + 40)
        self._weekday = ((days + 3) % 7).astype(np.int64)  # 1970-01-01 was a Thursday
        self._day_kind = self._weekday.copy()
        for holiday in holidays:
            number = (holiday - date(1970, 1, 1)).days
            if 0 <= number < len(days):
                self._day_kind[number] = HOLIDAY
        self._groups: dict[tuple[tuple[int, ...], ...], int] = {}
        self._known: dict[tuple[str, str], int] = {}
        self._most_bands = max(len(version.band_names) for version in ordered)
        self._longest_prefix = max((len(row.prefix) for row in rows), default=0)
        self._table: NDArray[np.int64] = np.empty((0, len(ordered), self._most_bands), np.int64)

    def groups(self, destinations: Iterable[tuple[str, str]]) -> NDArray[np.int32]:
        """Return for each (number_class, number) the group of destinations that cost the same as it.

        `number` is E.164 with its +, or the digits of a short code. Groups stay the same for the life of the rater.
        """
        return np.array([self.group(number_class, number) for number_class, number in destinations], np.int32)

    def group(self, number_class: str, number: str) -> int:
        """Return the group of one destination."""
        # No row looks at more digits, so numbers that begin alike share their entry.
        key = (number_class, number[: self._longest_prefix + 1])
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MOST_GROUPS:
                self._known.clear()
            found = self._known[key] = self._enter(number_class, key[1])
        return found

    def _enter(self, number_class: str, number: str) -> int:
        rows = tuple(self._rows_of(index, number_class, number) for index in range(len(self.tariff)))
        return self._groups.setdefault(rows, len(self._groups))

    def _rows_of(self, version: int, number_class: str, number: str) -> tuple[int, ...]:
        """Row for each band of a version."""
        by_prefix, digits = self._by_prefix[version], number.removeprefix("+")
        near = [row for length in range(len(digits) + 1) for row in by_prefix.get(digits[:length], ())]
        found = match_rows(near, number_class, number)
        chosen = []
        for band in self.tariff[version].band_names:
            best = next((row for row in found if row.band in ("", band)), None)
            chosen.append(self._no_row if best is None else self._row_index[id(best)])
        return (*chosen, *[self._no_row] * (self._most_bands - len(chosen)))

    def rate(self, start: NDArray[np.int64], seconds: NDArray[np.int32], group: NDArray[np.int32]) -> RatedColumns:
        """Rate calls: start [s since the epoch, UTC], talk time [s], group of the destination, each a column."""
        if not len(start) == len(seconds) == len(group):
            raise ValueError("columns of calls must have one length")
        if len(self._table) != len(self._groups):
            self._table = np.array(list(self._groups), np.int64).reshape(-1, len(self.tariff), self._most_bands)
        count = len(start)
        if count and not 0 <= int(group.min()) <= int(group.max()) < len(self._table):
            raise ValueError("a group that this rater did not give")
        out = RatedColumns(
            np.full(count, -1, np.int16),
            np.zeros(count, np.int32),
            np.zeros(count, np.int32),
            np.zeros(count, np.int16),
            np.zeros(count, np.int64),
            np.zeros(count, np.int8),
        )
        for first in range(0, count, BLOCK):
            part = slice(first, first + BLOCK)
            block = RatedColumns._make(column[part] for column in out)
            self._rate_block(start[part].astype(np.int64), seconds[part].astype(np.int64), group[part], block)
        return out

    def _rate_block(self, start: Seconds, seconds: Seconds, group: NDArray[np.int32], out: RatedColumns) -> None:
        why = out.why
        why[(start < 0) | (start > LAST_SECOND)] = NO_TIME
        why[seconds > LONGEST_CALL_SECONDS] = TOO_LONG
        why[seconds < 0] = NEGATIVE
        is_sound = why == RATED
        if not is_sound.any():
            return
        if not is_sound.all():
            # Their columns must hold something that can be looked up; it is not used.
            start, seconds = np.where(is_sound, start, start[is_sound][0]), np.where(is_sound, seconds, 0)
        calls = self._begin(start, seconds, group)
        why[(calls.version < 0) & is_sound] = NO_VERSION
        why[(calls.place.band < 0) & (why == RATED)] = NO_BAND
        why[(calls.row == self._no_row) & (why == RATED)] = NO_RATE
        prices = self._prices
        cost, segments = self._sums(calls, prices.per_second, why)
        cost = np.minimum(cost + prices.per_call[calls.row], prices.cap[calls.row])
        is_rated = why == RATED
        is_charged = is_rated & (calls.charged > 0)
        out.version[:] = np.where(is_rated, calls.version, -1)
        out.row[:] = np.where(is_rated, prices.line[calls.row], 0)
        out.rated_seconds[:] = np.where(is_rated, calls.charged, 0)
        out.segments[:] = np.where(is_charged, segments, 0)
        out.cost[:] = np.where(is_charged, cost, 0)

    def credit(
        self,
        start: NDArray[np.int64],
        seconds: NDArray[np.int32],
        group: NDArray[np.int32],
        covered: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Return what rated calls cost less [atoms] when their first `covered` charged seconds have no price a minute.

        Connection fee and service charges stay; a cap bounds the price before and after.
        """
        credit = np.zeros(len(start), np.int64)
        concerned = np.flatnonzero(covered > 0)
        for first in range(0, len(concerned), BLOCK):
            which = concerned[first : first + BLOCK]
            calls = self._begin(start[which].astype(np.int64), seconds[which].astype(np.int64), group[which])
            why = np.zeros(len(which), np.int8)
            row, prices = calls.row, self._prices
            full = self._sums(calls, prices.per_second, why)[0] + prices.per_call[row]
            begun = calls._replace(charged=np.minimum(covered[which], calls.charged))
            free = self._sums(begun, prices.without_service, why)[0]
            credit[which] = np.minimum(full, prices.cap[row]) - np.minimum(full - free, prices.cap[row])
        return credit

    def _begin(self, start: Seconds, seconds: Seconds, group: NDArray[np.int32]) -> _Calls:
        """Look up what the start of calls decides; a version of −1 is none, and the first stands for it."""
        self.local.cover(int(start.min()), int(start.max()) + LONGEST_CALL_SECONDS + LONGEST_INCREMENT_SECONDS)
        version = np.searchsorted(self._begins, start, side="right") - 1
        place = self._place(np.maximum(version, 0), start)
        row = self._table[group, version, place.band]
        return _Calls(start, group, version, place, row, self._charged(row, seconds))

    def _place(self, version: Seconds, instants: Seconds) -> _Place:
        local = self.local.at(instants)
        day = local // DAY_S
        second = local - day * DAY_S
        minute = second // 60
        kind = np.where(self._has_holidays[version], self._day_kind[day], self._weekday[day])
        left = self._bands.left[version, kind, minute] * 60 - (second - minute * 60)
        return _Place(self._bands.band[version, kind, minute], left)

    def _charged(self, row: Seconds, seconds: Seconds) -> Seconds:
        """Seconds charged, as `RateRow.rated_seconds`."""
        first, step = self._prices.first[row], self._prices.next[row]
        over = np.maximum(np.maximum(seconds, self._prices.minimum[row]) - first, 0)
        charged: Seconds = first + (over + step - 1) // step * step
        charged[seconds == 0] = 0
        return charged

    def _sums(self, calls: _Calls, per_second: Seconds, why: NDArray[np.int8]) -> tuple[Seconds, NDArray[np.int16]]:
        """Price of all charged seconds, and the spans they lie in; why there is none is noted."""
        cost: Seconds = per_second[calls.row] * calls.charged
        segments = np.ones(len(cost), np.int16)
        crossing = self._crossing(calls) & (why == RATED)
        if crossing.any():
            which = np.flatnonzero(crossing)
            cost[which], segments[which], why[which] = self._split(calls.some(which), per_second)
        return cost, segments

    def _crossing(self, calls: _Calls) -> Mask:
        """Calls that may lie in several spans."""
        crossing: Mask = calls.charged > calls.place.left
        end = calls.start + calls.charged
        if self.local.changes_within(int(calls.start.min()), int(end.max())):
            crossing |= self.local.next_change(calls.start) < end
        crossing &= (self._splits_bands | self._splits_tariffs)[calls.version]
        return crossing

    def _split(self, calls: _Calls, per_second: Seconds) -> tuple[Seconds, NDArray[np.int16], NDArray[np.int8]]:
        """Price calls span by span, all at once: a turn is the next span of each that still lasts."""
        cost = np.zeros(len(calls.start), np.int64)
        segments = np.zeros(len(cost), np.int16)
        why = np.zeros(len(cost), np.int8)
        version, band = np.full(len(cost), -1, np.int64), calls.place.band
        which = np.arange(len(cost))
        at, left = calls.start, calls.charged
        while len(which):
            begun = np.searchsorted(self._begins, at, side="right") - 1
            own = calls.version[which]
            now = np.where(self._splits_tariffs[own], begun, own)
            place = self._place(now, at)
            is_new = now != version
            now_band = np.where(self._splits_bands[own] | is_new, place.band, band)
            segments[which] += is_new | (now_band != band)
            row = self._table[calls.group[which], now, now_band]
            why[which[row == self._no_row]] = NO_RATE
            why[which[now_band < 0]] = NO_BAND
            step = np.minimum(np.minimum(left, place.left), self.local.next_change(at) - at)
            cost[which] += per_second[row] * step
            lasts = left > step
            which, at, left = which[lasts], (at + step)[lasts], (left - step)[lasts]
            version, band = now[lasts], now_band[lasts]
        return cost, segments, why


def _by_prefix(rows: Iterable[RateRow]) -> dict[str, list[RateRow]]:
    """Rows by their prefix: price lists of all the world have thousands."""
    found: dict[str, list[RateRow]] = defaultdict(list)
    for row in rows:
        found[row.prefix].append(row)
    return dict(found)


def _check_range(rows: Sequence[RateRow]) -> None:
    """TariffError where the price of a call could leave 64 bits, or a row cannot count seconds."""
    longest = LONGEST_CALL_SECONDS + LONGEST_INCREMENT_SECONDS
    dearest = max((row.per_second + row.service_per_second for row in rows), default=0)
    for row in rows:
        if min(row.connection_fee, row.per_second, row.service_per_second, row.service_per_call, row.cap or 0) < 0:
            raise TariffError(f"{row.origin}: a price is negative")
        if row.connection_fee + row.service_per_call + dearest * longest > NO_CAP:
            raise TariffError(f"{row.origin}: prices this high leave 64 bits")
        if not (0 < row.first_increment <= LONGEST_INCREMENT_SECONDS >= row.next_increment > 0):
            raise TariffError(f"{row.origin}: increments must be from 1 s to 1 day")
        if not 0 <= row.minimum_seconds <= LONGEST_INCREMENT_SECONDS:
            raise TariffError(f"{row.origin}: the minimum must be from 0 s to 1 day")
