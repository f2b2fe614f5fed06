"""Any bytes in any file of an estate give problems or an estate, never another error."""

from __future__ import annotations

import ipaddress
import tempfile
from datetime import date, timedelta
from pathlib import Path

import pytest
from estate_files import SOUND, Changes, write_estate
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.attribution import Attributor, parse_address
from analytics.sites import Estate, EstateSettings, NumberRange, Origin, Site, Subnet, Validity
from collector.estate.columns import FILES
from collector.estate.folder import load_estate, read_estate
from collector.estate.problems import EstateError

NAMES = sorted(SOUND)
CELLS = st.one_of(
    st.sampled_from(
        [
            "",
            "A",
            "B",
            "2025-01-01",
            "2025-02-30",
            "10.1.0.0/24",
            "::/0",
            "0.0.0.0/0",
            "5000",
            "6099",
            "pstn",
            '"',
            "DP_B",
        ]
    ),
    st.text(max_size=8),
)


def read_changed(changes: Changes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_estate(Path(folder), changes)
        estate, problems = read_estate(root)
        for problem in problems:
            assert problem.origin.file
            assert "\n" not in str(problem)
        asked = Attributor(estate)
        for address, number in (("10.1.0.9", "5001"), ("::1", "+44"), ("é", "٣")):
            asked.attribute(device="SEP_A", address=address, number=number, partition="x", day=date(2025, 10, 1))
        if any(problem.severity == "error" for problem in problems):
            with pytest.raises(EstateError):
                load_estate(root)
        else:
            assert load_estate(root) == estate


@given(st.sampled_from(NAMES), st.binary(max_size=300))
@settings(deadline=None, max_examples=150)
def test_any_bytes_as_a_file(name: str, data: bytes) -> None:
    read_changed({name: data})


@given(st.sampled_from(NAMES), st.integers(0, 400), st.binary(min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_bytes_changed_within_a_file(name: str, at: int, data: bytes) -> None:
    sound = SOUND[name].encode()
    at %= len(sound)
    read_changed({name: sound[:at] + data + sound[at + len(data) :]})


@given(st.sampled_from(FILES), st.lists(st.lists(CELLS, min_size=7, max_size=7), max_size=6))
@settings(deadline=None, max_examples=200)
def test_rows_of_likely_fields(declared: object, rows: list[list[str]]) -> None:
    table = next(file for file in FILES if file is declared)
    width = len(table.columns)
    lines = [",".join(table.names()), *(",".join((row * 2)[:width]) for row in rows)]
    read_changed({table.name: "\n".join(lines).encode("utf-8", "surrogatepass")})


@given(
    st.one_of(
        st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){2,4}", fullmatch=True),
        st.ip_addresses().map(str),
        st.text("0123456789.:+_ ٣af", max_size=12),
    )
)
def test_an_address_is_read_as_by_the_standard_library(text: str) -> None:
    expected: tuple[int, int] | None
    try:
        address = ipaddress.ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        expected = (4, int(mapped)) if mapped is not None else (address.version, int(address))
    except ValueError:
        expected = None
    if text.count(":") != 1:  # with one it is an address and a port
        assert parse_address(text) == expected


DAYS = st.one_of(st.none(), st.integers(0, 30).map(lambda offset: date(2025, 10, 1) + timedelta(offset)))


def is_there(site: str, day: date, estate: Estate) -> bool:
    return any(row.site == site and row.valid.holds(day) for row in estate.sites)


@given(
    st.lists(st.tuples(DAYS, DAYS), min_size=2, max_size=2),
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 8), st.sampled_from("AB"), DAYS, DAYS), max_size=8),
    st.integers(0, 255),
    st.integers(0, 30),
)
@settings(max_examples=300)
def test_the_subnet_found_is_the_longest_of_all_that_hold(
    sites: list[tuple[date | None, date | None]],
    subnets: list[tuple[int, int, str, date | None, date | None]],
    host: int,
    offset: int,
) -> None:
    day = date(2025, 10, 1) + timedelta(offset)
    estate = Estate(
        EstateSettings("x"),
        sites=tuple(
            Site(name, name, "office", None, "normal", Validity(*valid), Origin("sites.csv", line))
            for line, (name, valid) in enumerate(zip("AB", sites, strict=True), start=2)
        ),
        subnets=tuple(
            Subnet(
                str(ipaddress.ip_network((0x0A000000 + low, 32 - bits), strict=False)),
                site,
                Validity(first, last),
                Origin("subnets.csv", line),
            )
            for line, (low, bits, site, first, last) in enumerate(subnets, start=2)
        ),
    )
    address = ipaddress.ip_address(0x0A000000 + host)
    matching = [
        (-ipaddress.ip_network(row.subnet).prefixlen, row.origin.line, row.site)
        for row in estate.subnets
        if address in ipaddress.ip_network(row.subnet) and row.valid.holds(day) and is_there(row.site, day, estate)
    ]
    expected = min(matching)[1:] if matching else None
    found = Attributor(estate).attribute(address=str(address), day=day)
    assert (None if found.origin is None else (found.origin.line, found.site)) == expected


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.sampled_from(["", "P"]), DAYS, DAYS), max_size=8),
    st.integers(0, 99),
    st.sampled_from([None, "P", "Q"]),
    st.integers(0, 30),
)
@settings(max_examples=300)
def test_the_range_found_is_the_narrowest_of_the_partition_then_of_none(
    ranges: list[tuple[int, int, str, date | None, date | None]], number: int, partition: str | None, offset: int
) -> None:
    day = date(2025, 10, 1) + timedelta(offset)
    rows = tuple(
        NumberRange(
            f"{min(a, b):02}", f"{max(a, b):02}", part or None, "A", Validity(*valid), Origin("numbers.csv", line)
        )
        for line, (a, b, part, *valid) in enumerate(ranges, start=2)
    )
    site = Site("A", "A", "office", None, "normal", Validity(), Origin("sites.csv", 2))
    matching = [
        (row.partition is None, int(row.last) - int(row.first), row.origin.line)
        for row in rows
        if int(row.first) <= number <= int(row.last) and row.partition in (None, partition) and row.valid.holds(day)
    ]
    found = Attributor(Estate(EstateSettings("x"), sites=(site,), ranges=rows)).attribute(
        number=f"{number:02}", partition=partition, day=day
    )
    best = min(matching)[:2] if matching else None
    if best is None or found.origin is None:
        assert best is None
        assert found.origin is None
    else:
        row = next(row for row in rows if row.origin == found.origin)
        assert (row.partition is None, int(row.last) - int(row.first)) == best
