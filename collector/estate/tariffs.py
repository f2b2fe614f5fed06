"""Tariffs of the estate's folder: `tariffs/<name>/<YYYY-MM-DD>/` with rates, bands, terms and inclusive minutes.

Any bytes give facts or problems with file:line. A version with an error is left out, so nothing is rated by halves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from analytics.cost.money import Rounding, per_minute_to_atoms, to_atoms
from analytics.cost.number_classes import CLASSES, UNKNOWN
from analytics.cost.tariff import (
    ANYTIME,
    DAY_NAMES,
    HIGHEST_PRICE,
    LONGEST_INCREMENT_SECONDS,
    MINUTES_PER_DAY,
    BandRule,
    Crossing,
    Inclusive,
    RateRow,
    TariffBook,
    TariffVersion,
    Terms,
)
from analytics.sites import EstateSettings, Origin
from collector.estate.problems import EstateError, Problem, Problems, nearest, shown
from collector.estate.table import Cells, Column, TableFile, read_table
from collector.estate.tariff_checks import check_book, check_version

FOLDER = "tariffs"
MOST_VERSIONS = 1_000
LONGEST_PREFIX = 15

RATES = TableFile(
    "rates.csv",
    "Prices. Each row is for a prefix, for a class, or for a prefix within a class.",
    (
        Column("prefix", "E.164 digits, e.g. 44845; with a class of short codes the digits dialled, e.g. 118500"),
        Column("class", "class of number; blank: every class under the prefix"),
        Column("band", "band of bands.csv; blank: every band"),
        Column("connection_fee", "price of each call that lasts; blank: none"),
        Column("per_minute", "price of a minute", needed=True),
        Column("service_per_minute", "service charge of a minute, on top; blank: none"),
        Column("service_per_call", "service charge of each call that lasts; blank: none"),
        Column("minimum_seconds", "seconds charged at least; blank: none"),
        Column("increment", "seconds charged first, and by which it goes on: 60/60, 30/6, 1/1", needed=True),
        Column("cap", "price that no call exceeds, all charges together; blank: none"),
    ),
    needed=True,
)
BANDS = TableFile(
    "bands.csv",
    "Times of each band on the local clock; the first row that holds wins. Without the file all times are one band.",
    (
        Column("band", "name of the band", needed=True),
        Column("days", "mon-fri, sat, sun, holiday, every, or several of them separated by spaces", needed=True),
        Column("from", "first minute, HH:MM", needed=True),
        Column("to", "minute at which it ends, HH:MM; 24:00 is the end of the day", needed=True),
    ),
)
TERMS = TableFile(
    "terms.csv",
    "What the version says of itself; each key once, all of them needed.",
    (Column("key", "one of the keys below", needed=True), Column("value", "its value", needed=True)),
    needed=True,
)
INCLUSIVE = TableFile(
    "inclusive.csv",
    "Minutes a month that the rental pays for.",
    (
        Column("classes", "classes of number, separated by spaces", needed=True),
        Column("minutes", "whole minutes a local month", needed=True),
        Column("per", "site: each site has them; estate: all sites together", needed=True),
    ),
)
FILES = (RATES, BANDS, TERMS, INCLUSIVE)

TERM_VALUES: Mapping[str, tuple[str, ...]] = {
    "currency": (),
    "unit": ("pence", "pounds", "0.01", "1"),
    "band_crossing": tuple(one.value for one in Crossing),
    "tariff_change": tuple(one.value for one in Crossing),
    "rounding": tuple(one.name.lower() for one in Rounding),
    "vat": ("excluded", "included"),
    "holidays": ("yes", "no"),
}
"""Keys of terms.csv and what each may say; currency is three capital letters."""
UNITS = {"pence": Decimal("0.01"), "0.01": Decimal("0.01"), "pounds": Decimal(1), "1": Decimal(1)}

Row = TypeVar("Row")

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_BAND = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_INCREMENT = re.compile(r"([0-9]{1,5})/([0-9]{1,5})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LIKE_A_DATE = re.compile(r"[0-9]+(?:[-_. ]?[0-9]+)*")


def read_tariffs(root: Path, settings: EstateSettings) -> tuple[TariffBook, list[Problem]]:
    """Every version of every tariff without an error, and all problems by file and line."""
    problems = Problems()
    versions = []
    folders = [(folder, day) for folder in _version_folders(root, problems) if (day := _begin(root, folder, problems))]
    for folder, valid_from in folders:
        version = _read_version(root, folder, valid_from, settings, problems)
        if version is not None:
            versions.append(version)
    book = TariffBook(tuple(versions))
    check_book(book, {folder.parent.name for folder, _ in folders}, settings, problems)
    return book, list(problems)


def load_tariffs(root: Path, settings: EstateSettings) -> TariffBook:
    """Every version of every tariff; EstateError with file:line where one has an error."""
    book, problems = read_tariffs(root, settings)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1:,} more: callgauge tariff check)" if len(errors) > 1 else ""
        raise EstateError(f"{root / str(errors[0].origin)}: {errors[0].sentence}{more}")
    return book


def _version_folders(root: Path, problems: Problems) -> list[Path]:
    """Folders of versions, relative to the estate's."""
    try:
        tariffs = sorted(path for path in (root / FOLDER).iterdir() if not path.name.startswith("."))
        found = []
        for tariff in tariffs:
            if not tariff.is_dir() or not _NAME.fullmatch(tariff.name):
                problems.warning(Origin(FOLDER, 0), "unknown_file", f"{shown(tariff.name)} is no folder of a tariff")
                continue
            found += [path for path in sorted(tariff.iterdir()) if not path.name.startswith(".")]
    except FileNotFoundError:
        problems.error(Origin(FOLDER, 0), "missing_folder", "there is no folder of tariffs")
        return []
    except OSError as error:
        problems.error(Origin(FOLDER, 0), "unreadable_file", f"the folder cannot be read: {error.strerror}")
        return []
    if len(found) > MOST_VERSIONS:
        problems.error(Origin(FOLDER, 0), "too_many_versions", f"{len(found):,} versions, more than {MOST_VERSIONS:,}")
    return [path.relative_to(root) for path in found[:MOST_VERSIONS]]


def _begin(root: Path, folder: Path, problems: Problems) -> date | None:
    """Day on which the version of a folder begins; None where it is no version, which is noted."""
    at = Origin(folder.parent.as_posix(), 0)
    if not (root / folder).is_dir():
        problems.warning(at, "unknown_file", f"{shown(folder.name)} is no folder of a version")
        return None
    valid_from = _day_of(folder.name)
    if valid_from is None:
        sentence = f"the folder {shown(folder.name)} is not named by the day its version begins, YYYY-MM-DD: not read"
        # What looks like a day is meant as a version, and the one before it must not hold on in its place.
        if _LIKE_A_DATE.fullmatch(folder.name):
            problems.error(at, "bad_version", sentence)
        else:
            problems.warning(at, "bad_version", sentence)
    return valid_from


def _read_version(
    root: Path, folder: Path, valid_from: date, settings: EstateSettings, problems: Problems
) -> TariffVersion | None:
    """One version; None where it has an error."""
    own = Problems()
    name = folder.as_posix()
    _note_strange_files(root, folder, own)
    terms = _read_terms(read_table(root, f"{name}/{TERMS.name}", TERMS, own), Origin(f"{name}/{TERMS.name}", 0), own)
    unit = terms.unit if terms else Decimal(1)
    bands = _rows(root, name, BANDS, own, _band)
    names = tuple(dict.fromkeys(rule.band for rule in bands)) or (ANYTIME,)
    rows = _rows(root, name, RATES, own, lambda cells: _rate(cells, unit, names))
    inclusive = _rows(root, name, INCLUSIVE, own, _inclusive)
    version = None
    if terms is not None:
        version = TariffVersion(folder.parent.name, valid_from, rows, bands, terms, inclusive)
        check_version(version, name, settings, own)
    found = list(own)
    problems.extend(found)
    return None if any(problem.severity == "error" for problem in found) else version


def _day_of(name: str) -> date | None:
    try:
        return date.fromisoformat(name) if _DATE.fullmatch(name) and 1970 <= int(name[:4]) <= 2105 else None
    except ValueError:
        return None


def _note_strange_files(root: Path, folder: Path, problems: Problems) -> None:
    known = {declared.name for declared in FILES}
    try:
        names = sorted(path.name for path in (root / folder).iterdir())
    except OSError as error:
        problems.error(Origin(folder.as_posix(), 0), "unreadable_file", f"cannot be read: {error.strerror}")
        return
    for name in names:
        if name not in known and not name.startswith("."):
            sentence = f"{shown(name)} is not read{nearest(name, known)}"
            problems.warning(Origin(folder.as_posix(), 0), "unknown_file", sentence)


def _rows(
    root: Path, folder: str, declared: TableFile, problems: Problems, make: Callable[[Cells], Row]
) -> tuple[Row, ...]:
    made = ((cells, make(cells)) for cells in read_table(root, f"{folder}/{declared.name}", declared, problems))
    return tuple(row for cells, row in made if cells.usable)


def _read_terms(rows: list[Cells], at: Origin, problems: Problems) -> Terms | None:
    """Terms; None where one is missing or wrong."""
    values: dict[str, str] = {}
    usable = True
    for cells in rows:
        key = cells.word("key", tuple(TERM_VALUES))
        if not cells.usable:
            usable = False
            continue
        if key in values:
            cells.wrong("duplicate_term", f"{key} stands twice")
        value = cells.text("value")
        if key == "currency":
            if not re.fullmatch("[A-Z]{3}", value):
                cells.wrong("bad_term", f"currency {shown(value)} is no three capital letters")
        elif value not in TERM_VALUES[key]:
            cells.wrong("bad_term", f"{key} {shown(value)} is none of {', '.join(TERM_VALUES[key])}")
        usable = usable and cells.usable
        values[key] = value
    missing = [key for key in TERM_VALUES if key not in values]
    # A file that cannot be read at all was told already; one with a heading alone was not.
    told = any(problem.severity == "error" for problem in problems)
    if missing and (rows or not usable or not told):
        problems.error(at, "missing_term", f"the terms do not say: {', '.join(missing)}")
    if missing or not usable:
        return None
    return Terms(
        currency=values["currency"],
        unit=UNITS[values["unit"]],
        band_crossing=Crossing(values["band_crossing"]),
        tariff_change=Crossing(values["tariff_change"]),
        rounding=Rounding[values["rounding"].upper()],
        is_vat_included=values["vat"] == "included",
        has_holidays=values["holidays"] == "yes",
        origin=Origin(at.file, rows[0].origin.line),
    )


def _rate(cells: Cells, unit: Decimal, bands: tuple[str, ...]) -> RateRow:
    prefix = cells.digits("prefix")
    number_class = cells.text("class")
    if number_class == UNKNOWN:
        cells.wrong("unknown_class", "what is no number has no price: there is no row for the class unknown")
    elif number_class and number_class not in CLASSES:
        cells.wrong("unknown_class", f"there is no class {shown(number_class)}{nearest(number_class, CLASSES)}")
    if not prefix and not number_class:
        cells.wrong("no_destination", "the row has neither a prefix nor a class")
    if len(prefix) > LONGEST_PREFIX:
        cells.wrong("bad_prefix", f"the prefix has {len(prefix)} digits, more than the {LONGEST_PREFIX} of E.164")
    if prefix.startswith("0"):
        cells.wrong(
            "bad_prefix", f"the prefix {prefix} is not E.164: no such number begins with 0, write 44845 for 0845"
        )
    band = cells.text("band")
    if band and band not in bands:
        cells.wrong("unknown_band", f"there is no band {shown(band)} in bands.csv{nearest(band, bands)}")
    first, following = _increment(cells)
    minimum = cells.whole("minimum_seconds") or 0
    if minimum > LONGEST_INCREMENT_SECONDS:
        cells.wrong("bad_minimum", f"minimum_seconds {minimum} is more than a day")
    return RateRow(
        prefix=prefix,
        number_class=number_class,
        band=band,
        connection_fee=_price(cells, "connection_fee", unit) or 0,
        per_second=_per_second(cells, "per_minute", unit),
        service_per_second=_per_second(cells, "service_per_minute", unit),
        service_per_call=_price(cells, "service_per_call", unit) or 0,
        minimum_seconds=minimum,
        first_increment=first,
        next_increment=following,
        cap=_price(cells, "cap", unit),
        origin=cells.origin,
    )


def _amount(cells: Cells, name: str, unit: Decimal) -> Decimal | None:
    """A price in currency units; None where it is blank or wrong, which is noted."""
    stated = cells.decimal(name)
    if stated is None:
        return None
    amount = stated * unit
    if stated.is_signed() and stated:
        cells.wrong("negative_price", f"{name} {stated} is negative")
    elif amount > HIGHEST_PRICE:
        cells.wrong("price_too_high", f"{name} {stated} is more than {HIGHEST_PRICE:,} of the currency")
    else:
        return amount
    return None


def _price(cells: Cells, name: str, unit: Decimal) -> int | None:
    amount = _amount(cells, name, unit)
    try:
        return None if amount is None else to_atoms(amount)
    except ValueError:
        cells.wrong("too_many_decimals", f"{name} {cells.text(name)} has more decimals than are counted")
        return None


def _per_second(cells: Cells, name: str, unit: Decimal) -> int:
    amount = _amount(cells, name, unit)
    try:
        return 0 if amount is None else per_minute_to_atoms(amount)
    except ValueError:
        cells.wrong("too_many_decimals", f"{name} {cells.text(name)} has more decimals than are counted")
        return 0


def _increment(cells: Cells) -> tuple[int, int]:
    text = cells.text("increment")
    match = _INCREMENT.fullmatch(text)
    first, following = (int(match[1]), int(match[2])) if match else (0, 0)
    if 0 < first <= LONGEST_INCREMENT_SECONDS and 0 < following <= LONGEST_INCREMENT_SECONDS:
        return first, following
    cells.wrong("bad_increment", f"increment {shown(text)} is no pair of seconds from 1 to 86400 such as 60/60 or 30/6")
    return 1, 1


def _band(cells: Cells) -> BandRule:
    band = cells.text("band")
    if not _BAND.fullmatch(band):
        cells.wrong("bad_band", f"band {shown(band)} is no short name of letters and digits")
    first, end = _minute(cells, "from"), _minute(cells, "to")
    if first is not None and end is not None and end <= first:
        sentence = (
            f"from {cells.text('from')} to {cells.text('to')} is no time: one that goes on over midnight is two rows"
        )
        cells.wrong("ends_before_begin", sentence)
    return BandRule(band, _days(cells), first or 0, end or 0, cells.origin)


def _minute(cells: Cells, name: str) -> int | None:
    text = cells.text(name)
    match = _CLOCK.fullmatch(text)
    if match is None:
        cells.wrong("bad_clock", f"{name} {shown(text)} is no time of day as HH:MM")
        return None
    return int(match[1]) * 60 + int(match[2]) if match[1] else MINUTES_PER_DAY


def _days(cells: Cells) -> frozenset[int]:
    found: set[int] = set()
    for word in cells.text("days").split():
        first, dash, last = word.partition("-")
        if word == "every":
            found.update(range(len(DAY_NAMES)))
        elif first in DAY_NAMES and not dash:
            found.add(DAY_NAMES.index(first))
        elif first in DAY_NAMES[:7] and last in DAY_NAMES[:7]:
            begin, end = DAY_NAMES.index(first), DAY_NAMES.index(last)
            found.update(day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0)))
        else:
            sentence = f"days {shown(word)} is none of {', '.join(DAY_NAMES)}, every, or two days with a dash between"
            cells.wrong("bad_days", sentence)
    return frozenset(found)


def _inclusive(cells: Cells) -> Inclusive:
    classes = cells.text("classes").split()
    for number_class in classes:
        if number_class not in CLASSES:
            cells.wrong("unknown_class", f"there is no class {shown(number_class)}{nearest(number_class, CLASSES)}")
    per = cells.word("per", ("site", "estate"))
    return Inclusive(frozenset(classes), cells.whole("minutes") or 0, per == "site", cells.origin)
