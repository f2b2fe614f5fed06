"""A tariff held against itself, its other versions and the estate: what is missing, double or can never matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from analytics.cost.number_classes import ANYWHERE, ELSEWHERE, INTERNAL, UNITED_KINGDOM, UNKNOWN
from analytics.cost.tariff import DAY_NAMES, HOLIDAY, MINUTES_PER_DAY, RateRow, TariffBook, TariffVersion
from analytics.sites import EstateSettings, Origin
from collector.estate.problems import Problems

OFCOM_COUNTRIES = ("GB", "GG", "IM", "JE")


def check_version(version: TariffVersion, folder: str, settings: EstateSettings, problems: Problems) -> None:
    """Note what is wrong with one version."""
    _check_bands(version, folder, problems)
    _check_rates(version, problems)
    _check_classes(version, folder, settings, problems)
    _check_inclusive(version, problems)
    if version.terms.currency != settings.currency:
        sentence = f"the currency is {version.terms.currency}, that of the estate {settings.currency}"
        problems.error(version.terms.origin, "currency_mixed", sentence)


def check_book(book: TariffBook, settings: EstateSettings, problems: Problems) -> None:
    """Note what is wrong between tariffs."""
    used = {"ip": settings.ip_tariff, "legacy": settings.legacy_tariff}
    for side, name in used.items():
        if name not in book.names:
            sentence = f"there is no usable version of the {side} tariff {name}, which estate.toml names"
            problems.error(Origin(f"tariffs/{name}", 0), "missing_tariff", sentence)
    compared = [version for version in book.versions if version.name in used.values()]
    for version in compared[1:]:
        if version.terms.is_vat_included != compared[0].terms.is_vat_included:
            sentence = f"{version.label} and {compared[0].label} differ in VAT: their prices do not compare"
            problems.error(version.terms.origin, "vat_mixed", sentence)


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
    for row in version.inclusive:
        for number_class in sorted(row.classes & seen):
            sentence = f"{number_class} has inclusive minutes in a row above already"
            problems.error(row.origin, "duplicate_inclusive", sentence)
        seen |= row.classes
