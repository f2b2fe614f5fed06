"""Random tariffs, as plain tuples for the reference and as facts for the rater."""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import reference_rater as reference

from analytics.cost.money import Rounding, per_minute_to_atoms, to_atoms
from analytics.cost.tariff import DAY_NAMES, BandRule, Crossing, RateRow, TariffVersion, Terms
from analytics.sites import Origin

ZONES = ("Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns")
BANDS: tuple[list[reference.Band], ...] = (
    [reference.Band("peak", ("mon", "tue", "wed", "thu", "fri"), "07:00", "19:00")],
    [
        reference.Band("weekend", ("sat", "sun", "holiday"), "00:00", "24:00"),
        reference.Band("peak", ("mon", "tue", "wed", "thu", "fri"), "08:30", "18:01"),
        reference.Band("evening", (*reference.DAYS, "holiday"), "18:01", "23:59"),
    ],
    [reference.Band("night", (*reference.DAYS, "holiday"), "01:00", "02:30")],
    [],
)
EVERY = reference.Band("offpeak", (*reference.DAYS, "holiday"), "00:00", "24:00")
DESTINATIONS = (
    ("geographic", "+442079460018"),
    ("geographic", "+441134960123"),
    ("mobile", "+447400123456"),
    ("international", "+12125550123"),
    ("directory_118", "118500"),
    ("onsite", ""),
    ("premium_09", "+449051234567"),
)


def random_rows(rnd: random.Random, bands: list[str]) -> list[reference.Row]:
    """Rows that cover most destinations, some by several rows."""
    rows = []
    places = [("", name) for name, _ in DESTINATIONS[:-1]]
    places += [("4420", ""), ("44207", "geographic"), ("1", ""), ("1212", "international"), ("118500", "directory_118")]
    places += [("118", ""), ("4", ""), ("4420", "geographic"), ("1212", "")]
    for prefix, number_class in places:
        for band in rnd.choice((["", *bands], [""], bands, bands[:1])):
            decimals = rnd.choice((0, 2, 4, 8))

            def money(most: int, places: int = decimals) -> Fraction:
                return Fraction(rnd.randint(0, most * 10**places), 10**places) if rnd.random() < 0.7 else Fraction(0)

            rows.append(
                reference.Row(
                    prefix=prefix,
                    number_class=number_class,
                    band=band,
                    connection=money(2),
                    minute=money(9),
                    service_minute=money(3),
                    service_call=money(2),
                    minimum=rnd.choice((0, 0, 1, 30, 61, 180)),
                    first=rnd.choice((1, 1, 6, 30, 60, 120)),
                    following=rnd.choice((1, 1, 6, 7, 60)),
                    cap=rnd.choice((None, None, Fraction(5), Fraction(50))),
                )
            )
    rnd.shuffle(rows)
    return rows


def random_tariff(rnd: random.Random) -> list[reference.Version]:
    """One to three versions around the end of October 2025."""
    begins = sorted(rnd.sample([date(2025, 1, 1), date(2025, 10, 26), date(2025, 10, 29), date(2025, 11, 1)], 3))
    versions = []
    for begin in begins[: rnd.randint(1, 3)]:
        bands = [*rnd.choice(BANDS), *([EVERY] if rnd.random() < 0.9 else [])]
        if not bands:
            bands = [EVERY]
        names = list(dict.fromkeys(band.name for band in bands))
        splits = rnd.random() < 0.7, rnd.random() < 0.7
        versions.append(reference.Version(begin, random_rows(rnd, names), bands, *splits, rnd.random() < 0.5))
    return versions


def decimal(amount: Fraction) -> Decimal:
    return Decimal(amount.numerator) / Decimal(amount.denominator)


def minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def as_facts(versions: list[reference.Version]) -> list[TariffVersion]:
    """The same tariff as the rater takes it; a row's line is its index + 2."""
    facts = []
    for version in versions:
        rows = tuple(
            RateRow(
                prefix=row.prefix,
                number_class=row.number_class,
                band=row.band,
                connection_fee=to_atoms(decimal(row.connection)),
                per_second=per_minute_to_atoms(decimal(row.minute)),
                service_per_second=per_minute_to_atoms(decimal(row.service_minute)),
                service_per_call=to_atoms(decimal(row.service_call)),
                minimum_seconds=row.minimum,
                first_increment=row.first,
                next_increment=row.following,
                cap=None if row.cap is None else to_atoms(decimal(row.cap)),
                origin=Origin("rates.csv", index + 2),
            )
            for index, row in enumerate(version.rows)
        )
        bands = tuple(
            BandRule(
                band.name,
                frozenset(DAY_NAMES.index(day) for day in band.days),
                minutes(band.begin),
                minutes(band.end),
                Origin("bands.csv", index + 2),
            )
            for index, band in enumerate(version.bands)
        )
        terms = Terms(
            "GBP",
            Decimal(1),
            Crossing.SPLIT if version.splits_bands else Crossing.START,
            Crossing.SPLIT if version.splits_tariffs else Crossing.START,
            Rounding.HALF_UP,
            False,
            version.has_holidays,
            Origin("terms.csv", 1),
        )
        facts.append(TariffVersion("t", version.valid_from, rows, bands, terms))
    return facts


def random_start(rnd: random.Random, zone: ZoneInfo) -> int:
    """Mostly just before something changes: a band, a day, a month, a version, an offset."""
    day = rnd.choice(
        [date(2025, 10, 25) + timedelta(days=n) for n in range(9)] + [date(2025, 3, 30), date(2025, 11, 2)]
    )
    hour, minute = rnd.choice([(0, 0), (1, 0), (2, 0), (2, 30), (7, 0), (8, 30), (18, 1), (19, 0), (23, 59), (12, 0)])
    when = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=rnd.randint(0, 1))
    return int(when.timestamp()) - rnd.choice((0, 1, 29, 30, 59, 60, 61, 600, rnd.randint(0, 3600)))
