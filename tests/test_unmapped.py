"""What the estate does not know is counted and named, and no person's number is printed unasked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from estate_files import with_rows, write_estate
from filled_rows import filled
from records_made import moment, record, records

from analytics.attribution import Attributor
from analytics.store.lake import Lake
from analytics.store.schema import CALLS, STREAMS
from analytics.usage.unmapped import Unmapped, address_block, find_unmapped, shown_device
from collector.estate.folder import load_estate

T = 1_759_306_500  # 2025-10-01 09:15 BST


class Desk:
    """A store, and the sound estate of two sites beside it."""

    def __init__(self, root: Path) -> None:
        self.estate = write_estate(root / "estate")
        self.lake = Lake.open(root / "store", create=True)

    def cdr(self, *rows: dict[str, Any]) -> None:
        self.lake.append("cdr_rows", records(*rows), batch=f"{len(rows)} {rows[0]}")

    def find(self, *, show_numbers: bool = False, tables: tuple[str, ...] = ("cdr_rows",)) -> list[Unmapped]:
        connection = self.lake.connect()
        views = [self.lake.view(connection, table) for table in tables]
        return find_unmapped(connection, Attributor(load_estate(self.estate)), views, show_numbers=show_numbers)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "estate").mkdir()
    made = Desk(tmp_path)
    yield made
    made.lake.close()


def names(found: list[Unmapped]) -> list[tuple[str, str, int, int]]:
    return [(row.kind, row.name, row.sides, row.without_site) for row in found]


def test_a_call_of_known_parties_shows_nothing(desk: Desk) -> None:
    desk.cdr(
        record(1, 1, (101, 102), T, 60, "5001", "902079460018", orig_device="SEP_A", dest_device="GW"),
        record(2, 2, (103, 104), T, 60, "5001", "6001", orig_device="sep_a", dest_device="SEP_B"),
        record(3, 3, (105, 106), T, 60, "5001", "5001", orig_device="SEP_A", dest_device="REC"),
    )
    assert desk.find() == []


def test_an_unknown_device_is_counted_by_its_sides_and_by_those_without_a_site(desk: Desk) -> None:
    desk.cdr(
        record(1, 1, (1, 2), T, 60, "5001", "902079460018", orig_device="SEP_X", dest_device="GW"),
        record(2, 2, (3, 4), T + 100, 60, "5999", "6001", orig_device="SEP_X", dest_device="SEP_B"),
        record(3, 3, (5, 6), T + 200, 60, "5001", "5998", orig_device="SEP_A", dest_device="SEP_X"),
    )
    found = desk.find()
    # 5001 gives site A once; 5999 and 5998 are in no range.
    assert names(found) == [("device", "SEP_X", 3, 2), ("number", "599x", 2, 2)]
    assert found[0].first == datetime(2025, 10, 1, 8, 15, tzinfo=UTC)
    assert found[0].last == datetime(2025, 10, 1, 8, 18, 20, tzinfo=UTC)
    assert (found[0].seen_in, found[0].likely_site) == (("cdr_rows",), "A")


def test_a_device_whose_other_parties_are_outside_is_shown_as_a_trunk(desk: Desk) -> None:
    desk.cdr(
        record(1, 1, (1, 2), T, 60, "5001", "902079460018", orig_device="SEP_A", dest_device="GW2"),
        record(2, 2, (3, 4), T, 60, "07700900123", "6001", orig_device="GW2", dest_device="SEP_B", orig_ip="192.0.2.9"),
        record(3, 3, (5, 6), T, 60, "5001", "999", orig_device="SEP_A", dest_device="GW2"),
    )
    found = desk.find()
    assert names(found) == [("trunk", "GW2", 3, 3)]
    assert "07700900123" not in str(found)


def test_a_telephone_with_a_long_number_is_no_trunk(desk: Desk) -> None:
    desk.cdr(
        record(1, 1, (1, 2), T, 60, "4915112345678", "6001", orig_device="SEP02005E000001", dest_device="SEP_B"),
        record(2, 2, (3, 4), T, 60, "4915112345678", "6001", orig_device="PJSIP/211553", dest_device="SEP_B"),
    )
    assert names(desk.find()) == [("trunk", "PJSIP/21155x", 1, 1), ("device", "SEP02005E000001", 1, 1)]
    assert names(desk.find(show_numbers=True))[0] == ("trunk", "PJSIP/211553", 1, 1)


def test_a_conference_bridge_is_no_trunk(desk: Desk) -> None:
    desk.cdr(record(1, 1, (1, 2), T, 60, "5001", "b00105401002", orig_device="SEP_A", dest_device="CFB_2"))
    assert names(desk.find()) == [("device", "CFB_2", 1, 1)]


def test_unknown_addresses_are_shown_by_network_with_the_site_that_their_devices_have(desk: Desk) -> None:
    desk.cdr(
        record(1, 1, (1, 2), T, 60, "5001", "6001", orig_device="SEP_A", orig_ip="10.9.1.5", dest_device="SEP_B"),
        record(2, 2, (3, 4), T, 60, "5001", "6001", orig_device="SEP_A", orig_ip="10.1.0.5", dest_device="SEP_B"),
        record(3, 3, (5, 6), T, 60, "", "6001", orig_ip="10.9.1.77", dest_device="SEP_B"),
        record(4, 4, (7, 8), T, 60, "", "6001", orig_ip="2001:db8:1:2::9", dest_device="SEP_B"),
    )
    found = desk.find()
    assert names(found) == [("address", "10.9.1.0/24", 2, 1), ("address", "2001:db8:1:2::/64", 1, 1)]
    assert [row.likely_site for row in found] == ["A", None]


def test_validity_goes_by_the_local_day(desk: Desk) -> None:
    write_estate(desk.estate, with_rows("devices.csv", "SEP_X,A,,2025-10-01,"))
    midnight = 1_759_273_200  # 2025-10-01 00:00 BST = 2025-09-30 23:00 UTC
    desk.cdr(
        record(1, 1, (1, 2), midnight, 60, "5001", "6001", orig_device="SEP_X", dest_device="SEP_B"),
        record(2, 2, (3, 4), midnight - 1, 60, "5001", "6001", orig_device="SEP_X", dest_device="SEP_B"),
    )
    assert names(desk.find()) == [("device", "SEP_X", 1, 0)]


def test_streams_and_calls_show_addresses_and_extensions_too(desk: Desk) -> None:
    stream = {"day": moment(T).date(), "start": moment(T), "end": moment(T), "source": "tap", "stream_key": 1}
    call = {"day": moment(T).date(), "start": moment(T), "source": "tap", "call_key": 1}
    desk.lake.append(
        "streams",
        filled(
            STREAMS,
            [
                {**stream, "from_address": "10.9.1.5:16384", "to_address": "10.1.0.5:16384"},
                {**stream, "from_address": "[2001:db8::5]:16384", "to_address": "10.9.1.6:20000", "stream_key": 2},
            ],
        ),
        batch="streams",
    )
    desk.lake.append(
        "calls",
        filled(CALLS, [{**call, "calling": "5999", "called": "02079460018", "from_address": "10.9.1.5"}]),
        batch="calls",
    )
    found = desk.find(tables=("cdr_rows", "calls", "streams"))
    assert names(found) == [
        ("address", "10.9.1.0/24", 3, 3),
        ("address", "2001:db8::/64", 1, 1),
        ("number", "599x", 1, 1),
    ]
    assert found[0].seen_in == ("calls", "streams")


def test_numbers_and_users_device_names_are_shown_only_when_asked_for(desk: Desk) -> None:
    desk.cdr(
        record(1, 1, (1, 2), T, 60, "5991", "5992", orig_device="CSFJROE", dest_device="PJSIP/5992"),
        record(2, 2, (3, 4), T, 60, "5993", "5992", orig_device="CSFASMITH", dest_device="PJSIP/5992"),
    )
    assert names(desk.find()) == [
        ("device", "CSF*", 2, 2),
        ("device", "PJSIP/599x", 2, 2),
        ("number", "599x", 4, 4),
    ]
    assert names(desk.find(show_numbers=True)) == [
        ("device", "PJSIP/5992", 2, 2),
        ("device", "CSFASMITH", 1, 1),
        ("device", "CSFJROE", 1, 1),
        ("number", "5992", 2, 2),
        ("number", "5991", 1, 1),
        ("number", "5993", 1, 1),
    ]


def test_public_numbers_and_long_ranges_are_known(desk: Desk) -> None:
    write_estate(
        desk.estate,
        with_rows("numbers.csv", "01134960100,01134960199,,A,,")
        | with_rows("public_numbers.csv", "5555,Enquiries,A,,,,"),
    )
    desk.cdr(
        record(1, 1, (1, 2), T, 60, "01134960150", "6001", orig_device="SEP_X", dest_device="SEP_B"),
        record(2, 2, (3, 4), T, 60, "5001", "5555", orig_device="SEP_A"),
    )
    assert names(desk.find()) == [("device", "SEP_X", 1, 0)]


def test_extensions_that_no_dial_plan_knows_are_shown_and_emergency_numbers_are_not(desk: Desk) -> None:
    desk.cdr(
        record(1, 1, (1, 2), T, 60, "7123", "999"),
        record(2, 2, (3, 4), T, 60, "5001", "9999", orig_device="SEP_A"),
    )
    assert names(desk.find()) == [("number", "712x", 1, 1)]


@pytest.mark.parametrize(
    ("device", "shown"),
    [
        ("SEP001122334455", "SEP001122334455"),
        ("GW_A", "GW_A"),
        ("CSFJROE", "CSF*"),
        ("PJSIP/301", "PJSIP/30x"),
        ("PJSIP/jroe", "PJSIP/*"),
        ("sofia/internal/1001@pbx.example", "sofia/internal/100x@pbx.example"),
        ("sofia/internal/jroe@pbx.example", "sofia/internal/*@pbx.example"),
    ],
)
def test_device_names_lose_what_names_their_user(device: str, shown: str) -> None:
    assert shown_device(device) == shown


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("10.9.1.5", "10.9.1.0/24"),
        ("10.9.1.5:5060", "10.9.1.0/24"),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("0.0.0.0", ""),
        ("127.0.0.1", ""),
        ("239.1.1.1", ""),
        ("pbx.example", ""),
    ],
)
def test_addresses_are_shown_by_their_network(address: str, block: str) -> None:
    assert address_block(address) == block
