"""The estate's folder: its facts, and everything that is wrong with it."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from analytics.sites import (
    Device,
    DialPlan,
    Estate,
    EstateSettings,
    NumberRange,
    Origin,
    Pool,
    PublicNumber,
    Site,
    Subnet,
    Trunk,
    TrunkKind,
)
from collector.estate import columns
from collector.estate.checks import check_estate
from collector.estate.problems import EstateError, Problem, Problems, nearest, shown
from collector.estate.settings import read_settings
from collector.estate.table import Cells, TableFile, read_table

Row = TypeVar("Row")

_PREFIX_LENGTH = re.compile(r"[0-9A-Fa-f:.]+/[0-9]{1,3}")
_QUEUE_NAME = re.compile(r"[^\W\d].{0,99}")
_DIGIT_LIST = re.compile(r"[0-9]{1,24}(?: +[0-9]{1,24}){0,19}")
LONGEST_EXTENSION = 15
LONGEST_TARGET_S = 86_400


def read_estate(root: Path) -> tuple[Estate, list[Problem]]:
    """Facts of the folder without the rows that cannot be used, and all problems by file and line."""
    problems = Problems()
    if not root.is_dir():
        problems.error(Origin(str(root), 0), "missing_folder", "there is no such folder")
        return Estate(EstateSettings("")), list(problems)
    settings = read_settings(root, problems)

    def rows(declared: TableFile, make: Callable[[Cells], Row]) -> tuple[Row, ...]:
        made = ((cells, make(cells)) for cells in read_table(root, declared.name, declared, problems))
        return tuple(row for cells, row in made if cells.usable)

    estate = Estate(
        settings=settings,
        sites=rows(columns.SITES, _site),
        subnets=rows(columns.SUBNETS, _subnet),
        pools=rows(columns.POOLS, _pool),
        devices=rows(columns.DEVICES, _device),
        ranges=rows(columns.NUMBERS, _range),
        trunks=rows(columns.TRUNKS, _trunk),
        plans=rows(columns.DIAL_PLANS, _plan),
        public_numbers=rows(columns.PUBLIC_NUMBERS, lambda cells: _public_number(cells, settings)),
        holidays=_holidays(read_table(root, columns.HOLIDAYS.name, columns.HOLIDAYS, problems)),
        digest=_digest(root),
    )
    if estate.sites:
        check_estate(estate, problems)
    elif not any(problem.origin.file == columns.SITES.name for problem in problems):
        problems.error(Origin(columns.SITES.name, 1), "no_sites", "the file has no row")
    _check_files(root, problems)
    return estate, list(problems)


def load_estate(root: Path) -> Estate:
    """Facts of the folder; EstateError names the first error."""
    estate, problems = read_estate(root)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1:,} more: callgauge estate check)" if len(errors) > 1 else ""
        where = first.origin if first.origin.file == str(root) else root / str(first.origin)
        raise EstateError(f"{where}: {first.sentence}{more}")
    return estate


def files_of(root: Path) -> list[Path]:
    """Files that an estate consists of, in a fixed order: `.csv` and `.toml` in its folder, and its tariffs."""
    tariffs = f"{columns.TARIFFS_FOLDER}/*/*/*"
    found = [path for pattern in ("*", tariffs) for path in root.glob(pattern) if path.suffix in (".csv", ".toml")]
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _check_files(root: Path, problems: Problems) -> None:
    """Note files that nothing reads: most often a name with a slip in it."""
    known = {columns.SETTINGS_FILE, *columns.OTHER_FILES, *(declared.name for declared in columns.FILES)}
    for path in files_of(root):
        name = path.relative_to(root).as_posix()
        if name not in known and not name.startswith(f"{columns.TARIFFS_FOLDER}/"):
            problems.warning(Origin(name, 0), "unknown_file", f"nothing reads this file{nearest(name, known)}")


def _digest(root: Path) -> str:
    """SHA-256 over names and bytes of the files; what cannot be read counts by its name."""
    digest = hashlib.sha256()
    for path in files_of(root):
        digest.update(os.fsencode(path.relative_to(root)) + b"\0")
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:
            digest.update(b"unreadable")
    return digest.hexdigest()


def _site(cells: Cells) -> Site:
    site = cells.text("site")
    return Site(
        site=site,
        name=cells.text("name") or site,
        kind=cells.text("kind"),
        parent=cells.optional("parent"),
        priority=cells.text("priority") or "normal",
        valid=cells.validity(),
        origin=cells.origin,
    )


def _subnet(cells: Cells) -> Subnet:
    text = cells.text("subnet")
    if not _PREFIX_LENGTH.fullmatch(text):
        cells.wrong("bad_subnet", f"subnet {shown(text)} is no network such as 10.1.2.0/24 or 2001:db8::/64")
    else:
        try:
            text = str(ipaddress.ip_network(text))
        except ValueError as error:
            code = "host_bits_set" if "host bits" in str(error) else "bad_subnet"
            cells.wrong(code, f"subnet {shown(text)} is no network: {_network_defect(text, error)}")
    return Subnet(text, cells.text("site"), cells.validity(), cells.origin)


def _network_defect(text: str, error: ValueError) -> str:
    if "host bits" not in str(error):
        return "an address has four numbers up to 255 and a prefix length up to 32, or IPv6 with up to 128"
    return f"bits after the prefix are set; its network is {ipaddress.ip_network(text, strict=False)}"


def _pool(cells: Cells) -> Pool:
    return Pool(cells.text("pool"), cells.text("site"), cells.validity(), cells.origin)


def _device(cells: Cells) -> Device:
    site, pool = cells.optional("site"), cells.optional("pool")
    if site is None and pool is None:
        cells.wrong("no_place", "the device has neither a site nor a pool")
    return Device(cells.text("device"), site, pool, cells.validity(), cells.origin)


def _range(cells: Cells) -> NumberRange:
    first, last = cells.digits("first"), cells.digits("last")
    if cells.usable and len(first) != len(last):
        cells.wrong("range_lengths", f"first has {len(first)} digits, last {len(last)}: a range is of one length")
    elif cells.usable and first > last:
        cells.wrong("range_backwards", f"first {first} comes after last {last}")
    return NumberRange(first, last, cells.optional("partition"), cells.text("site"), cells.validity(), cells.origin)


def _trunk(cells: Cells) -> Trunk:
    kind = cells.word("kind", columns.TRUNK_KINDS)
    return Trunk(
        device=cells.text("device"),
        kind=TrunkKind(kind) if kind in columns.TRUNK_KINDS else TrunkKind.INTERNAL,
        site=cells.optional("site"),
        channels=cells.whole("channels"),
        valid=cells.validity(),
        origin=cells.origin,
    )


def _plan(cells: Cells) -> DialPlan:
    return DialPlan(
        site=cells.optional("site"),
        access_digits=cells.digits("access_digits"),
        extension_digits=_extension_lengths(cells),
        extension_first=cells.digits("extension_first"),
        area_code=cells.digits("area_code"),
        emergency=_digit_list(cells, "emergency"),
        valid=cells.validity(),
        origin=cells.origin,
    )


def _digit_list(cells: Cells, name: str) -> tuple[str, ...]:
    text = cells.text(name)
    if text and not _DIGIT_LIST.fullmatch(text):
        cells.wrong("not_digits", f"{name} {shown(text)} is no list of numbers separated by spaces")
        return ()
    return tuple(text.split())


def _extension_lengths(cells: Cells) -> tuple[int, ...]:
    lengths = tuple(int(text) for text in _digit_list(cells, "extension_digits"))
    for length in lengths:
        if not 1 <= length <= LONGEST_EXTENSION:
            sentence = f"extension_digits {length} is no length of an extension, 1 to {LONGEST_EXTENSION}"
            cells.wrong("bad_number", sentence)
    return tuple(sorted(set(lengths)))


def _public_number(cells: Cells, settings: EstateSettings) -> PublicNumber:
    number = cells.text("number")
    if not _QUEUE_NAME.fullmatch(number):
        cells.digits("number")
    seconds, share = cells.whole("target_seconds"), cells.decimal("target_share")
    if seconds is not None and seconds > LONGEST_TARGET_S:
        cells.wrong("bad_number", f"target_seconds {seconds} is more than a day")
    if share is not None and not Decimal(0) <= share <= Decimal(1):
        cells.wrong("bad_number", f"target_share {share} is not between 0 and 1")
    return PublicNumber(
        number=number,
        label=cells.text("label"),
        site=cells.optional("site"),
        target_seconds=settings.target_seconds if seconds is None else seconds,
        target_share=settings.target_share if share is None else share,
        valid=cells.validity(),
        origin=cells.origin,
    )


def _holidays(rows: Iterable[Cells]) -> frozenset[date]:
    lines: dict[date, int] = {}
    for cells in rows:
        day = cells.day("date")
        if day is not None and lines.setdefault(day, cells.origin.line) != cells.origin.line:
            cells.warn("duplicate_row", f"{day} is on line {lines[day]} too")
    return frozenset(lines)
