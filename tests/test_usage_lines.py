"""Which lines come of which records: expected values by hand from Cisco's own examples of transfers and conferences."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from records_made import record, records, reports

from analytics.sites import (
    Device,
    DialPlan,
    Estate,
    EstateSettings,
    NumberRange,
    Origin,
    PublicNumber,
    Site,
    Subnet,
    Trunk,
    TrunkKind,
    Validity,
)
from analytics.store.lake import Lake
from analytics.usage.derive import Book, prepare
from analytics.usage.lines import of_days

T = 1_759_306_500  # 2025-10-01 09:15 BST, a Wednesday
HERE = Origin("here.csv", 1)
ALWAYS = Validity()


def device(name: str, site: str) -> Device:
    return Device(name, site, None, ALWAYS, HERE)


ESTATE = Estate(
    EstateSettings("Test"),
    sites=tuple(Site(name, name, "station", None, "normal", ALWAYS, HERE) for name in "AB"),
    subnets=(Subnet("10.2.0.0/16", "B", ALWAYS, HERE),),
    devices=(device("SEP_A1", "A"), device("SEP_A2", "A"), device("SEP_B1", "B"), device("SEP_B2", "B")),
    ranges=(NumberRange("5000", "5999", None, "A", ALWAYS, HERE), NumberRange("6000", "6999", None, "B", ALWAYS, HERE)),
    trunks=(
        Trunk("SIPTRUNK", TrunkKind.PSTN, None, 30, ALWAYS, HERE),
        Trunk("RECTRUNK", TrunkKind.RECORDING, None, None, ALWAYS, HERE),
    ),
    plans=(DialPlan(None, "9", (4,), "56", "", ("999", "112"), HERE),),
    public_numbers=(PublicNumber("01134960101", "Front desk", "A", 20, Decimal("0.9"), ALWAYS, HERE),),
)

Line = dict[str, Any]


class Desk:
    """Takes records in and says which lines came of them."""

    def __init__(self, root: Path) -> None:
        self.lake = Lake.open(root, create=True)

    def lines(self, *rows: dict[str, Any], heard: pa.Table | None = None, estate: Estate = ESTATE) -> list[Line]:
        self.lake.append("cdr_rows", records(*rows), batch=f"rows {len(rows)} {rows[0]['row_key']}")
        if heard is not None:
            self.lake.append("phone_reports", heard, batch="heard")
        connection = self.lake.connect()
        days = [date(2025, 9, 30), date(2025, 10, 1)]
        book = Book(estate, None, None, None)
        prepare(self.lake, connection, book, days)
        made: list[Line] = []
        for day in days:
            found = connection.execute(
                f"SELECT * EXCLUDE (origination, start) FROM ({of_days(book.zone, [day])}) ORDER BY started, line_key"
            )
            names = [column[0] for column in found.description]
            made += [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return made


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "store")
    yield made
    made.lake.close()


def only(lines: list[Line], **wanted: Any) -> Line:
    """The one line that is no record of something else, with these values."""
    used = [line for line in lines if line["excluded"] is None]
    assert len(used) == 1, used
    assert {name: used[0][name] for name in wanted} == wanted
    return used[0]


def test_a_call_to_the_public_network_is_an_outbound_line_of_the_caller_s_site(desk: Desk) -> None:
    made = desk.lines(
        record(1, 1, (101, 102), T, 125, "5001", "902079460018", orig_device="SEP_A1", dest_device="SIPTRUNK")
    )
    only(
        made, kind="outbound", seconds=125, site="A", site_evidence="device here.csv:1", trunk="SIPTRUNK", month=202510
    )


def test_a_blind_transfer_is_billed_by_its_trunk_leg_as_one_call_of_the_first_caller(desk: Desk) -> None:
    split = {"orig_cause": 393216, "dest_cause": 393216}
    made = desk.lines(
        record(1, 4, (131, 132), T, 120, "5001", "901134960123", orig_device="SEP_A1", dest_device="SIPTRUNK", **split),
        record(2, 5, (133, 134), T + 110, None, "5001", "6001", orig_device="SEP_A1", dest_device="SEP_B1", **split),
        record(
            3, 4, (132, 134), T + 120, 360, "01134960123", "6001",
            orig_device="SIPTRUNK", dest_device="SEP_B1", join_behalf=10,
        ),
    )  # fmt: skip
    only(made, kind="outbound", seconds=480, site="A", records=2)
    assert [line["excluded"] for line in made if line["excluded"]] == ["consultation"]
    assert len({line["call_key"] for line in made}) == 1


def test_a_conference_bills_the_outside_party_s_leg_from_set_up_to_end(desk: Desk) -> None:
    split = {"orig_cause": 393216, "dest_cause": 393216}
    bridge = "b00105401002"
    made = desk.lines(
        record(1, 1, (101, 102), T, 60, "5001", "5002", orig_device="SEP_A1", dest_device="SEP_A2", **split),
        record(
            2, 2, (103, 106), T + 40, 20, "5001", "901134960123", orig_device="SEP_A1", dest_device="SIPTRUNK", **split
        ),
        record(3, 1, (101, 111), T + 60, 360, "5001", bridge, orig_device="SEP_A1", orig_conversation=1),
        record(4, 1, (102, 112), T + 60, 360, "5002", bridge, orig_device="SEP_A2", orig_conversation=1),
        record(5, 1, (106, 113), T + 60, 360, "01134960123", bridge, orig_device="SIPTRUNK", orig_conversation=1),
    )
    out = [line for line in made if line["kind"] == "outbound"]
    assert [(line["seconds"], line["site"]) for line in out] == [(380, "A")]
    assert [line["kind"] for line in made if line["excluded"]] == ["conference", "conference"]
    assert [(line["kind"], line["seconds"]) for line in made if line["kind"] == "on_site"] == [("on_site", 60)]
    assert len({line["call_key"] for line in made}) == 1


def test_recording_legs_are_no_usage(desk: Desk) -> None:
    made = desk.lines(
        record(1, 1, (101, 102), T, 125, "5001", "902079460018", orig_device="SEP_A1", dest_device="SIPTRUNK"),
        record(
            2, 14, (221, 222), T + 1, 124, "b002179144511001", "5990",
            orig_device="SEP_A1", dest_device="RECTRUNK", redirect_reason=354, orig_conversation=101,
        ),
        record(3, 15, (223, 224), T + 1, 124, "b002179144511001", "5990", redirect_behalf=27, orig_conversation=101),
    )  # fmt: skip
    only(made, kind="outbound", seconds=125)
    assert [line["excluded"] for line in made if line["excluded"]] == ["recording", "recording"]


def test_calls_inside_are_told_apart_by_site(desk: Desk) -> None:
    made = desk.lines(
        record(1, 1, (1, 2), T, 301, "5002", "6001", orig_device="SEP_A2", dest_device="SEP_B1"),
        record(2, 2, (3, 4), T, 60, "6001", "6002", orig_device="SEP_B1", dest_device="SEP_B2"),
        record(3, 3, (5, 6), T, 60, "5001", "7777", orig_device="SEP_A1", dest_device="SEP_X"),
    )
    assert [(line["kind"], line["inner_class"], line["site"], line["other_site"]) for line in made[:2]] == [
        ("on_net", "intersite", "A", "B"),
        ("on_site", "onsite", "B", "B"),
    ]


def test_an_address_and_then_a_number_say_where_an_unknown_device_is(desk: Desk) -> None:
    made = desk.lines(
        record(
            1, 1, (1, 2), T, 9, "5001", "902079460018", orig_device="SEP_N", orig_ip="10.2.3.4", dest_device="SIPTRUNK"
        ),
        record(
            2, 2, (3, 4), T, 9, "5001", "902079460018", orig_device="SEP_N", orig_ip="10.9.3.4", dest_device="SIPTRUNK"
        ),
        record(3, 3, (5, 6), T, 9, "7001", "902079460018", orig_device="SEP_N", dest_device="SIPTRUNK"),
    )
    assert [(line["site"], line["site_evidence"]) for line in made] == [
        ("B", "subnet here.csv:1"),
        ("A", "number here.csv:1"),
        (None, "none"),
    ]


def test_an_inbound_call_belongs_to_the_site_that_takes_it(desk: Desk) -> None:
    made = desk.lines(
        record(
            1, 1, (1, 2), T, 300, "01134960123", "5001", orig_device="SIPTRUNK", dest_device="SEP_A1",
            original_called="01134960101", last_redirect="01134960101",
        ),
    )  # fmt: skip
    only(
        made, kind="inbound", site="A", answered_by="A", public_number="01134960101", trunk="SIPTRUNK",
        transfers_before_answer=1, seconds_to_answer=0,
    )  # fmt: skip


def test_an_inbound_call_that_nobody_took_was_not_answered_by_a_site(desk: Desk) -> None:
    made = desk.lines(
        record(
            1, 1, (1, 2), T, None, "01134960123", "5001", orig_device="SIPTRUNK", dest_device="SEP_A1", dest_cause=19
        )
    )
    only(made, kind="inbound", site="A", answered_by=None, answered=False, seconds=0, cause=19, seconds_to_answer=None)


def test_a_call_forwarded_out_again_is_paid_by_who_forwarded_it(desk: Desk) -> None:
    made = desk.lines(
        record(
            1, 1, (1, 2), T, 300, "01134960123", "907400123456", orig_device="SIPTRUNK", dest_device="SIPTRUNK",
            original_called="6001", last_redirect="6001",
        ),
    )  # fmt: skip
    out = [line for line in made if line["kind"] == "outbound"]
    assert [(line["site"], line["seconds"]) for line in out] == [("B", 300)]
    assert [line["kind"] for line in made if line["kind"] != "outbound"] == ["inbound"]


def test_a_record_that_came_twice_counts_once(desk: Desk) -> None:
    row = record(1, 1, (101, 102), T, 125, "5001", "902079460018", orig_device="SEP_A1", dest_device="SIPTRUNK")
    only(desk.lines(row, {**row, "file_key": 2, "line": 77}), kind="outbound", seconds=125, file_key=1)


def test_the_month_is_that_of_the_start_in_local_time(desk: Desk) -> None:
    half_past_midnight_local = 1_759_275_000  # 30 September 23:30 UTC is 1 October 00:30 BST
    made = desk.lines(
        record(
            1,
            1,
            (1, 2),
            half_past_midnight_local,
            60,
            "5001",
            "902079460018",
            orig_device="SEP_A1",
            dest_device="SIPTRUNK",
        )
    )
    only(made, month=202510, day=date(2025, 9, 30))


def test_a_call_again_within_a_minute_of_a_dropped_one_is_a_redial(desk: Desk) -> None:
    far = {"orig_device": "SEP_A1", "dest_device": "SIPTRUNK"}
    made = desk.lines(
        record(1, 1, (1, 2), T, 30, "5001", "902079460018", **far, dest_cause=41),
        record(2, 2, (3, 4), T + 80, 200, "5001", "902079460018", **far),
        record(3, 3, (5, 6), T + 85, 200, "5002", "902079460018", **far),
        record(4, 4, (7, 8), T + 95, 200, "5001", "902079460018", **far),
    )
    assert [line["dropped"] for line in made] == [True, False, False, False]
    assert [line["redial_of"] for line in made] == [None, 10, None, None]


def test_a_report_of_heavy_loss_makes_a_call_poor(desk: Desk) -> None:
    def heard(key: int, ref: int, lost: int) -> dict[str, Any]:
        return {
            "day": date(2025, 10, 1), "source": "cucm", "system": "Cluster1", "file_key": 2, "line": key,
            "row_key": key, "call_ref": ref, "leg": 1, "reported": record(1, 1, (1, 2), T, 1, "", "")["origination"],
            "packets_received": 900, "packets_lost": lost,
        }  # fmt: skip

    far = {"orig_device": "SEP_A1", "dest_device": "SIPTRUNK"}
    made = desk.lines(
        record(1, 1, (1, 2), T, 30, "5001", "902079460018", **far),
        record(2, 2, (3, 4), T + 1, 30, "5001", "902079460018", **far),
        record(3, 3, (5, 6), T + 2, 30, "5001", "902079460018", **far),
        heard=reports(heard(1, 1, 100), heard(2, 2, 2)),
    )
    assert [(line["poor"], line["quality_evidence"]) for line in made] == [
        (True, "reported"),
        (False, "reported"),
        (None, None),
    ]


def test_a_call_that_a_colleague_picks_up_is_one_inbound_call(desk: Desk) -> None:
    split = {"orig_cause": 393216, "dest_cause": 393216}
    made = desk.lines(
        record(2, 2, (13, 14), T + 4, None, "5002", "**3", orig_device="SEP_A2", **split),
        record(
            1, 1, (11, 13), T, 60, "01134960123", "5002", orig_device="SIPTRUNK", dest_device="SEP_A2",
            original_called="5001", last_redirect="5001", redirect_reason=5, join_behalf=16,
        ),
    )  # fmt: skip
    only(made, kind="inbound", seconds=60, site="A", transfers_before_answer=1)
    assert [line["excluded"] for line in made if line["excluded"]] == ["consultation"]


def test_two_consultations_over_a_trunk_are_charged_as_calls_of_their_own(desk: Desk) -> None:
    split = {"orig_cause": 393216, "dest_cause": 393216}
    made = desk.lines(
        record(1, 1, (1, 2), T, 100, "01134960123", "5001", orig_device="SIPTRUNK", dest_device="SEP_A1", **split),
        record(2, 2, (3, 4), T + 90, 10, "5001", "902079460018", orig_device="SEP_A1", dest_device="SIPTRUNK", **split),
        record(
            3, 1, (2, 4), T + 100, 50, "01134960123", "902079460018", orig_device="SIPTRUNK", dest_device="SIPTRUNK"
        ),
    )
    # The way in ran 100 s to the desk and 50 s beyond, the way out 10 + 50 s; leg 2 is the desk's and is not charged.
    assert sorted((line["kind"], line["seconds"], line["site"]) for line in made if line["excluded"] is None) == [
        ("inbound", 50, None),
        ("inbound", 100, "A"),
        ("outbound", 60, "A"),
    ]


def test_forks_of_one_asterisk_call_are_one_line_of_the_time_it_was_up(desk: Desk) -> None:
    fork: dict[str, Any] = {"source": "asterisk", "orig_device": "SIPTRUNK", "orig_cause": None, "dest_cause": None}
    made = desk.lines(
        record(1, 7, (100, 201), T, None, "01134960123", "5001", dest_device="SEP_A1", **fork),
        record(2, 7, (100, 202), T, 40, "01134960123", "5001", dest_device="SEP_B1", **fork),
        record(3, 7, (301, 302), T, 40, "01134960123", "5001", **{**fork, "orig_device": "Local/5001@in"}),
    )
    only(made, kind="inbound", seconds=40, records=3, site="B", answered_by="B")


def test_the_wait_is_counted_from_the_first_ring_and_the_answer_from_who_talked(desk: Desk) -> None:
    fork: dict[str, Any] = {"source": "asterisk", "orig_device": "SIPTRUNK", "orig_cause": None, "dest_cause": None}
    made = desk.lines(
        record(1, 7, (100, 201), T, 0, "01134960123", "5001", dest_device="SEP_A1", **fork),
        record(2, 7, (100, 202), T + 12, 40, "01134960123", "5001", dest_device="SEP_B1", **fork),
    )
    only(made, kind="inbound", site="B", answered_by="B", seconds_to_answer=0, seconds=40)


def test_a_low_mos_in_the_record_makes_a_call_poor(desk: Desk) -> None:
    leg = {"source": "freeswitch", "orig_device": "SEP_A1", "dest_device": "SIPTRUNK"}
    made = desk.lines(
        record(1, 7, (100, 201), T, 61, "5001", "902079460018", mos=3.2, **leg),
        record(2, 8, (101, 202), T + 1, 60, "5001", "902079460019", mos=4.4, **leg),
    )
    assert [line["poor"] for line in made] == [True, False]


def test_both_records_of_a_freeswitch_call_are_one_line(desk: Desk) -> None:
    leg = {"source": "freeswitch", "orig_device": "SEP_A1", "dest_device": "SIPTRUNK"}
    made = desk.lines(
        record(1, 7, (100, 201), T, 61, "5001", "902079460018", **leg),
        record(2, 7, (201, 100), T + 1, 60, "5001", "902079460018", **leg),
    )
    only(made, kind="outbound", seconds=61, records=2)


def test_an_inner_record_of_a_call_with_an_outside_leg_is_no_call_of_its_own(desk: Desk) -> None:
    made = desk.lines(
        record(
            1, 7, (100, 201), T, 40, "01134960123", "5001", source="asterisk", orig_device="SIPTRUNK", dest_device="Q"
        ),
        record(2, 7, (301, 302), T, 40, "5001", "5002", source="asterisk", orig_device="SEP_A1", dest_device="SEP_A2"),
    )
    only(made, kind="inbound", seconds=40)
    assert [(line["kind"], line["excluded"]) for line in made if line["excluded"]] == [("transit", "inner_leg")]


def test_a_call_that_is_passed_on_inside_is_two_conversations(desk: Desk) -> None:
    split = {"orig_cause": 393216, "dest_cause": 393216}
    made = desk.lines(
        record(1, 4, (131, 132), T, 30, "5001", "5002", orig_device="SEP_A1", dest_device="SEP_A2", **split),
        record(2, 5, (133, 134), T + 20, None, "5002", "6001", orig_device="SEP_A2", dest_device="SEP_B1", **split),
        record(
            3, 4, (131, 134), T + 30, 3000, "5001", "6001", orig_device="SEP_A1", dest_device="SEP_B1", join_behalf=10
        ),
    )
    used = [(line["kind"], line["site"], line["other_site"], line["seconds"]) for line in made if not line["excluded"]]
    assert used == [("on_site", "A", "A", 30), ("on_net", "A", "B", 3000)]


def test_the_cause_of_a_transferred_leg_is_that_of_its_end(desk: Desk) -> None:
    split = {"orig_cause": 393216, "dest_cause": 393216}
    made = desk.lines(
        record(1, 4, (131, 132), T, 120, "5001", "901134960123", orig_device="SEP_A1", dest_device="SIPTRUNK", **split),
        record(
            3, 4, (132, 134), T + 120, 60, "01134960123", "5002", orig_device="SIPTRUNK", dest_device="SEP_A2",
            orig_cause=41, dest_cause=0, join_behalf=10,
        ),
        record(4, 6, (140, 141), T + 200, 10, "5001", "901134960123", orig_device="SEP_A1", dest_device="SIPTRUNK"),
    )  # fmt: skip
    assert [(line["seconds"], line["cause"], line["dropped"]) for line in made] == [(180, 41, True), (10, 16, False)]
    assert made[1]["redial_of"] == made[0]["line_key"]


def test_who_forwards_a_call_out_again_pays_for_the_way_in_too(desk: Desk) -> None:
    made = desk.lines(
        record(
            1, 1, (1, 2), T, 300, "01134960123", "907400123456", orig_device="SIPTRUNK", dest_device="SIPTRUNK",
            original_called="6001", last_redirect="6001",
        ),
    )  # fmt: skip
    assert sorted((line["kind"], line["site"], line["site_evidence"]) for line in made) == [
        ("inbound", "B", "number here.csv:1"),
        ("outbound", "B", "number here.csv:1"),
    ]
