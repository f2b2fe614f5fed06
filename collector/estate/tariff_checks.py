"""A tariff held against itself, its other versions and the estate: what is missing, double or can never matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import pairwise

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from analytics.cost.number_classes import (
    ANYWHERE,
    DESIGNATIONS,
    ELSEWHERE,
    EMERGENCY,
    INTERNAL,
    INTERNATIONAL,
    SHORT_CODES,
    SHORT_OTHER,
    SHORT_RANGES,
    UNITED_KINGDOM,
    UNKNOWN,
)
from analytics.cost.tariff import DAY_NAMES, HOLIDAY, MINUTES_PER_DAY, RateRow, TariffBook, TariffVersion
from analytics.sites import EstateSettings, Origin
from collector.estate.problems import Problems, nearest

HOME = "44"
SHORT_CLASSES = frozenset({EMERGENCY, SHORT_OTHER, *SHORT_CODES.values(), *SHORT_RANGES.values()})
"""Classes whose numbers are dialled digits and no E.164."""
OFCOM_COUNTRIES = ("GB", "GG", "IM", "JE")


def check_version(version: TariffVersion, folder: str, settings: EstateSettings, problems: Problems) -> None:
    """Note what is wrong with one version."""
    _check_bands(version, folder, problems)
    _check_rates(version, problems)
    _check_prefixes(version, settings, problems)
    _check_classes(version, folder, settings, problems)
    _check_inclusive(version, problems)
    if version.terms.currency != settings.currency:
        sentence = f"the currency is {version.terms.currency}, that of the estate {settings.currency}"
        problems.error(version.terms.origin, "currency_mixed", sentence)


def check_book(book: TariffBook, names: Collection[str], settings: EstateSettings, problems: Problems) -> None:
    """Note what is wrong between tariffs; `names` are those with a version, sound or not."""
    used = {"ip": settings.ip_tariff, "legacy": settings.legacy_tariff}
    for side, name in used.items():
        if name not in names:
            hint = nearest(name, book.names)
            sentence = f"there is no version of the {side} tariff {name}, which estate.toml names{hint}"
            problems.error(Origin(f"tariffs/{name}", 0), "missing_tariff", sentence)
    for name in book.names:
        for version, later in pairwise(book.named(name)):
            if _prices(version) == _prices(later):
                at = Origin(f"tariffs/{name}/{later.valid_from}", 0)
                problems.warning(at, "same_version", f"nothing differs from {version.label}")
    compared = [version for version in book.versions if version.name in used.values()]
    for version in compared[1:]:
        if version.terms.is_vat_included != compared[0].terms.is_vat_included:
            sentence = f"{version.label} and {compared[0].label} differ in VAT: their prices do not compare"
            problems.error(version.terms.origin, "vat_mixed", sentence)


def _prices(version: TariffVersion) -> tuple[object, ...]:
    """All that a version says, without the places where it says so."""
    nowhere = Origin("", 0)
    rows = tuple(replace(row, origin=nowhere) for row in version.rows)
    bands = tuple(replace(rule, origin=nowhere) for rule in version.bands)
    inclusive = tuple(replace(row, origin=nowhere) for row in version.inclusive)
    return rows, bands, inclusive, replace(version.terms, origin=nowhere)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _gaps(version: TariffVersion, kind: int) -> Iterator[tuple[int, int]]:
    """Times of a kind of day that have no band."""
    at = 0
    for first, end in sorted((rule.first_minute, rule.end_minute) for rule in version.bands if kind in rule.days):
        if first > at:
            yield at, first
        at = max(at, end)
    if at < MINUTES_PER_DAY:
        yield at, MINUTES_PER_DAY


def _check_bands(version: TariffVersion, folder: str, problems: Problems) -> None:
    if not version.bands:
        return
    kinds = range(8 if version.terms.has_holidays else 7)
    at = Origin(f"{folder}/bands.csv", version.bands[-1].origin.line)
    for kind in kinds:
        for first, end in _gaps(version, kind):
            sentence = f"{DAY_NAMES[kind]} from {_clock(first)} to {_clock(end)} has no band"
            problems.error(at, "band_gap", sentence)
    taken: set[tuple[int, int]] = set()
    for rule in version.bands:
        own = {(kind, minute) for kind in rule.days for minute in range(rule.first_minute, rule.end_minute)}
        if rule.days == {HOLIDAY} and not version.terms.has_holidays:
            problems.warning(rule.origin, "unreachable_band", "the terms say holidays no: this row never holds")
        elif own <= taken:
            problems.warning(rule.origin, "unreachable_band", "rows above hold at all its times: this row never does")
        taken |= own


def _check_rates(version: TariffVersion, problems: Problems) -> None:
    entries: dict[tuple[str, str], list[RateRow]] = defaultdict(list)
    for row in version.rows:
        entries[row.prefix, row.number_class].append(row)
        if row.cap is not None and row.cap < row.connection_fee + row.service_per_call:
            problems.warning(row.origin, "cap_below_fee", "the cap is below what each call costs at once")
    for (prefix, number_class), rows in entries.items():
        _check_entry(version, prefix, number_class, rows, problems)


def _check_entry(
    version: TariffVersion, prefix: str, number_class: str, rows: list[RateRow], problems: Problems
) -> None:
    """Rows of one prefix and class: each band once."""
    what = " ".join(filter(None, (prefix, number_class)))
    seen: dict[str, RateRow] = {}
    for row in rows:
        if row.band in seen:
            band = f"band {row.band}" if row.band else "every band"
            sentence = f"{what} in {band} has its price in line {seen[row.band].origin.line} already"
            problems.error(row.origin, "duplicate_rate", sentence)
        seen.setdefault(row.band, row)
    missing = [band for band in version.band_names if band not in seen]
    every = seen.get("")
    if every is not None:
        if not missing:
            problems.warning(every.origin, "unreachable_rate", f"every band of {what} has a row of its own")
        return
    if missing and prefix:
        sentence = f"{what} has no row for {', '.join(missing)}: there a shorter prefix or the class counts"
        problems.warning(rows[0].origin, "band_without_rate", sentence)
    elif missing:
        problems.error(rows[0].origin, "band_without_rate", f"{what} has no row for {', '.join(missing)}")


def _check_prefixes(version: TariffVersion, settings: EstateSettings, problems: Problems) -> None:
    """Prefixes that no number can have."""
    codes = {str(code) for code in COUNTRY_CODE_TO_REGION_CODE}
    for row in version.rows:
        if not row.prefix or row.number_class in SHORT_CLASSES:
            continue
        if not any(code.startswith(row.prefix) or row.prefix.startswith(code) for code in codes):
            problems.warning(row.origin, "unassigned_prefix", f"no country's numbers begin with {row.prefix}")
        elif row.number_class and settings.country in OFCOM_COUNTRIES and not _may_have(row.prefix, row.number_class):
            sentence = f"no number under {row.prefix} is {row.number_class}: this row never holds"
            problems.warning(row.origin, "unreachable_rate", sentence)


def _may_have(prefix: str, number_class: str) -> bool:
    """Whether numbers dialled from the United Kingdom under a prefix may have a class."""
    if len(prefix) < 2 and HOME.startswith(prefix):
        return True
    if not prefix.startswith(HOME):
        return number_class == INTERNATIONAL
    national = prefix.removeprefix(HOME)
    longest = max((key for key in DESIGNATIONS if national.startswith(key)), key=len, default="")
    classes = {DESIGNATIONS[key] for key in DESIGNATIONS if key == longest or key.startswith(national)}
    if "mobile" in classes:
        classes.add("mobile_crown_dep")
    return number_class in classes


def _check_classes(version: TariffVersion, folder: str, settings: EstateSettings, problems: Problems) -> None:
    own = UNITED_KINGDOM if settings.country in OFCOM_COUNTRIES else ELSEWHERE
    expected = [name for name in (*ANYWHERE, *own) if name not in (UNKNOWN, INTERNAL)]
    covered = {row.number_class for row in version.rows if not row.prefix}
    missing = [name for name in expected if name not in covered]
    if missing:
        sentence = f"no row covers, but for prefixes: {', '.join(missing)}"
        problems.warning(Origin(f"{folder}/rates.csv", 1), "class_without_rate", sentence)


def _check_inclusive(version: TariffVersion, problems: Problems) -> None:
    seen: set[str] = set()
    priced = {row.number_class for row in version.rows}
    for row in version.inclusive:
        for number_class in sorted(row.classes - priced):
            problems.warning(row.origin, "inclusive_without_rate", f"no row of rates.csv is for {number_class}")
        for number_class in sorted(row.classes & seen):
            sentence = f"{number_class} has inclusive minutes in a row above already"
            problems.error(row.origin, "duplicate_inclusive", sentence)
        seen |= row.classes
