"""Attribution answers by the stated order of evidence, by local day, with the row that says so."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from analytics.attribution import NOWHERE, Attribution, Attributor
from analytics.sites import Origin
from collector.estate.folder import load_estate

DAY = date(2025, 10, 1)

FILES = {
    "estate.toml": '[estate]\nname = "Loamshire Police"\n',
    "sites.csv": "site,name,kind,parent,priority,valid_from,valid_to\n"
    "A,Ashby,station,,,,\n"
    "B,Brook,office,A,,,2025-09-30\n"
    "C,Combe,office,A,,2025-10-01,\n",
    "subnets.csv": "subnet,site,valid_from,valid_to\n"
    "10.1.0.0/16,A,,\n"
    "10.1.2.0/24,B,,\n"
    "10.1.2.0/24,C,,\n"
    "2001:db8:1::/48,A,,\n"
    "2001:db8:1:2::/64,C,,\n",
    "pools.csv": "pool,site,valid_from,valid_to\nDP_A,A,,\nDP_MOVES,B,,2025-09-30\nDP_MOVES,C,2025-10-01,\n",
    "devices.csv": "device,site,pool,valid_from,valid_to\n"
    "SEP_A,A,,,\n"
    "SEP_POOL,,DP_MOVES,,\n"
    "SEP_BOTH,A,DP_MOVES,,\n"
    "SEP_MOVED,A,,,2025-09-30\n"
    "SEP_MOVED,C,,2025-10-01,\n",
    "numbers.csv": "first,last,partition,site,valid_from,valid_to\n"
    "5000,5999,,A,,\n"
    "5100,5199,PT_C,C,,\n"
    "441134960100,441134960199,,A,,\n",
    "trunks.csv": "device,kind,site,channels,valid_from,valid_to\nGW_A,pstn,A,30,,\nREC,recording,,,,\n",
    "dialplans.csv": "site,access_digits,extension_digits,extension_first,area_code,emergency,valid_from,valid_to\n"
    ",9,4,5678,0113,999 112,,\n"
    "C,0,4 5,,,999 112,,\n",
    "public_numbers.csv": "number,label,site,target_seconds,target_share,valid_from,valid_to\n101,Non-emergency,,,,,\n",
}


def attributor(tmp_path: Path) -> Attributor:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return Attributor(load_estate(tmp_path))


def test_a_device_goes_before_a_subnet_and_a_subnet_before_a_number(tmp_path: Path) -> None:
    asked = attributor(tmp_path)
    found = asked.attribute(device="SEP_A", address="10.1.2.9", number="5150", partition="PT_C", day=DAY)
    assert found == Attribution("A", "device", Origin("devices.csv", 2))
    found = asked.attribute(device="SEP_ELSE", address="10.1.2.9", number="5000", day=DAY)
    assert found == Attribution("C", "subnet", Origin("subnets.csv", 4))
    found = asked.attribute(device="SEP_ELSE", address="192.0.2.1", number="5000", day=DAY)
    assert found == Attribution("A", "number", Origin("numbers.csv", 2))
    assert asked.attribute(device="SEP_ELSE", address="192.0.2.1", number="7000", day=DAY) == NOWHERE
    assert asked.attribute(day=DAY) == Attribution(None, "none", None)


def test_a_device_of_a_pool_is_where_its_pool_is_that_day(tmp_path: Path) -> None:
    asked = attributor(tmp_path)
    found = asked.attribute(device="sep_pool", day=date(2025, 9, 30))
    assert found == Attribution("B", "pool", Origin("pools.csv", 3), Origin("devices.csv", 3))
    assert asked.attribute(device="SEP_POOL", day=DAY).site == "C"
    assert asked.attribute(device="SEP_BOTH", day=DAY)[:2] == ("A", "device")


def test_rows_hold_by_local_day_both_ends_included(tmp_path: Path) -> None:
    asked = attributor(tmp_path)
    assert asked.attribute(device="SEP_MOVED", day=date(2025, 9, 30)).origin == Origin("devices.csv", 5)
    assert asked.attribute(device="SEP_MOVED", day=date(2025, 10, 1)).origin == Origin("devices.csv", 6)


def test_a_row_holds_only_while_its_site_exists(tmp_path: Path) -> None:
    asked = attributor(tmp_path)
    assert asked.attribute(address="10.1.2.9", day=date(2025, 9, 30)).site == "B"
    assert asked.attribute(address="10.1.2.9", day=date(2025, 10, 1)).site == "C"


def test_the_longest_prefix_wins_in_both_families(tmp_path: Path) -> None:
    asked = attributor(tmp_path)
    for address, site in (
        ("10.1.3.1", "A"),
        ("10.1.2.255", "C"),
        ("10.2.0.0", None),
        ("2001:db8:1:2::9", "C"),
        ("2001:db8:1:3::9", "A"),
        ("2001:db8:2::1", None),
        ("::ffff:10.1.2.9", "C"),
        ("10.1.2.9:16384", "C"),
        ("[2001:db8:1:2::9]:16384", "C"),
        ("10.1.2", None),
        ("", None),
    ):
        assert asked.attribute(address=address, day=DAY).site == site, address


def test_a_range_of_the_partition_goes_before_one_without(tmp_path: Path) -> None:
    asked = attributor(tmp_path)
    for number, partition, site in (
        ("5150", "PT_C", "C"),
        ("5150", "PT_X", "A"),
        ("5150", None, "A"),
        ("5200", "PT_C", "A"),
        ("50000", None, None),
        ("500", None, None),
        ("441134960150", None, "A"),
        ("+441134960150", None, "A"),
        ("sip:5150@x", None, None),
    ):
        assert asked.attribute(number=number, partition=partition, day=DAY).site == site, (number, partition)


def test_trunks_plans_and_public_numbers_are_found_by_day(tmp_path: Path) -> None:
    asked = attributor(tmp_path)
    trunk = asked.trunk("gw_a", DAY)
    assert trunk is not None
    assert (trunk.kind.value, trunk.site, trunk.channels) == ("pstn", "A", 30)
    assert asked.trunk("GW_B", DAY) is None
    own, rest = asked.plan("C", DAY), asked.plan("A", DAY)
    assert own is not None
    assert rest is not None
    assert (own.access_digits, own.extension_digits) == ("0", (4, 5))
    assert (rest.access_digits, rest.emergency) == ("9", ("999", "112"))
    closed = asked.plan("C", date(2025, 9, 30))
    assert closed == rest
    public = asked.public_number("101", DAY)
    assert public is not None
    assert (public.label, public.target_seconds) == ("Non-emergency", 20)


def test_days_of_change_are_those_on_which_an_answer_may_differ_from_the_day_before(tmp_path: Path) -> None:
    assert attributor(tmp_path).change_days == (date(2025, 10, 1),)
