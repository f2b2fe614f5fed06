"""Every defect of an estate is found at its line, and a sound estate has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from estate_files import SOUND, Changes, only_rows, with_rows, write_estate

from collector.estate.folder import load_estate, read_estate
from collector.estate.problems import EstateError


def found(folder: Path, changes: Changes) -> list[str]:
    """Problems as `file:line severity code`."""
    _, problems = read_estate(write_estate(folder, changes))
    return [f"{one.origin.file}:{one.origin.line} {one.severity} {one.code}" for one in problems]


def test_a_sound_estate_has_no_problem(tmp_path: Path) -> None:
    assert found(tmp_path, {}) == []


FILE_CASES: dict[str, tuple[Changes, list[str]]] = {
    "missing needed file": ({"sites.csv": None}, ["sites.csv:0 error missing_file"]),
    "missing settings": ({"estate.toml": None}, ["estate.toml:0 error missing_file"]),
    "no site": (only_rows("sites.csv"), ["sites.csv:1 error no_sites"]),
    "optional file": ({"holidays.csv": None, "trunks.csv": None}, []),
    "empty file": ({"trunks.csv": ""}, ["trunks.csv:1 error empty_file"]),
    "comments only": ({"trunks.csv": "# none yet\n\n"}, ["trunks.csv:1 error empty_file"]),
    "byte order mark": ({"trunks.csv": b"\xef\xbb\xbf" + SOUND["trunks.csv"].encode()}, []),
    "windows line ends": ({"trunks.csv": SOUND["trunks.csv"].replace("\n", "\r\n")}, []),
    "no line end at the end": ({"trunks.csv": SOUND["trunks.csv"].rstrip()}, []),
    "comment and blank lines": (
        {"holidays.csv": "# of England\ndate,name\n\n# 2025\n2025-13-25,Christmas\n"},
        ["holidays.csv:5 error bad_date"],
    ),
    "not UTF-8": (
        with_rows("holidays.csv", "2026-01-01,X") | {"holidays.csv": b"date,name\n2026-01-01,N\xe9\n"},
        ["holidays.csv:2 error not_utf8"],
    ),
    "NUL": ({"holidays.csv": b"date,name\n2026-01-01,N\0\n"}, ["holidays.csv:2 error control_character"]),
    "old line end": ({"holidays.csv": "date,name\r2026-01-01,N\r"}, ["holidays.csv:1 error control_character"]),
    "ragged": (
        with_rows("holidays.csv", "2026-01-01", "2026-01-01,N,"),
        [
            "holidays.csv:3 error ragged_row",
            "holidays.csv:4 error ragged_row",
        ],
    ),
    "quote not closed spoils its line only": (
        with_rows("holidays.csv", '2026-01-01,"N', "2026-13-01,N"),
        ["holidays.csv:3 error bad_quotes", "holidays.csv:4 error bad_date"],
    ),
    "quoted comma": (with_rows("holidays.csv", '2026-01-01,"New Year, a holiday"'), []),
    "huge field": (with_rows("holidays.csv", f"2026-01-01,{'N' * 1001}"), ["holidays.csv:3 error huge_field"]),
    "huge line": (with_rows("holidays.csv", f"2026-01-01,{'N' * 200_000}"), ["holidays.csv:3 error line_too_long"]),
    "missing column": ({"trunks.csv": "device,site\nGW,A\n"}, ["trunks.csv:1 error missing_column"]),
    "unknown column": (
        {"trunks.csv": "device,kind,sight,channels\nGW,pstn,A,30\n"},
        ["trunks.csv:1 error unknown_column"],
    ),
    "column twice": ({"holidays.csv": "date,date\n2025-12-25,x\n"}, ["holidays.csv:1 error duplicate_column"]),
    "many columns": ({"holidays.csv": "," * 70 + "\n"}, ["holidays.csv:1 error too_many_columns"]),
    "a note is allowed": ({"holidays.csv": "date,name,note\n2025-12-25,Christmas,moves\n"}, []),
    "unknown file": ({"holidys.csv": "date\n"}, ["holidys.csv:0 warning unknown_file"]),
}

FIELD_CASES: dict[str, tuple[Changes, list[str]]] = {
    "dates": (
        with_rows("holidays.csv", "2025-02-29,x", "1/2/2025,x", "20250201,x", "2025-12-26T00:00,x", "0001-01-01,x"),
        [f"holidays.csv:{line} error bad_date" for line in range(3, 8)],
    ),
    "holiday twice": (with_rows("holidays.csv", "2025-12-25,Again"), ["holidays.csv:3 warning duplicate_row"]),
    "ends before it begins": (
        with_rows("trunks.csv", "GW2,pstn,A,30,2025-10-02,2025-10-01"),
        ["trunks.csv:4 error ends_before_begin"],
    ),
    "blank needed field": (with_rows("pools.csv", ",A,,"), ["pools.csv:3 error blank_field"]),
    "subnets": (
        with_rows("subnets.csv", "10.3.0.1/24,A,,", "10.3.0.0,A,,", "10.3.0.0/33,A,,", "10.256.0.0/24,A,,", "x/24,A,,"),
        [
            "subnets.csv:4 error host_bits_set",
            *(f"subnets.csv:{line} error bad_subnet" for line in range(5, 9)),
        ],
    ),
    "netmask in words": (with_rows("subnets.csv", "10.3.0.0/255.255.255.0,A,,"), ["subnets.csv:4 error bad_subnet"]),
    "range backwards": (with_rows("numbers.csv", "5299,5200,,A,,"), ["numbers.csv:4 error range_backwards"]),
    "range of two lengths": (with_rows("numbers.csv", "5200,52999,,A,,"), ["numbers.csv:4 error range_lengths"]),
    "not digits": (
        with_rows(
            "numbers.csv", "52xx,52xx,,A,,", "+4411,+4412,,A,,", "５２００,５２００,,A,,", f"{'5' * 25},{'5' * 25},,A,,"
        ),
        [f"numbers.csv:{line} error not_digits" for line in (4, 4, 5, 5, 6, 6, 7, 7)],
    ),
    "public number not digits": (
        with_rows("public_numbers.csv", "0113 496,x,,,,,", "Front desk,x,,,,,"),
        ["public_numbers.csv:3 error not_digits"],
    ),
    "trunk kind": (with_rows("trunks.csv", "GW2,ptsn,A,30,,"), ["trunks.csv:4 error unknown_word"]),
    "channels": (with_rows("trunks.csv", "GW2,pstn,A,many,,"), ["trunks.csv:4 error bad_number"]),
    "share": (with_rows("public_numbers.csv", "102,x,,,1.1,,"), ["public_numbers.csv:3 error bad_number"]),
    "device without place": (with_rows("devices.csv", "SEP_C,,,,"), ["devices.csv:4 error no_place"]),
    "dial plan lists": (
        only_rows("dialplans.csv", ",9,4;5,,,999,,", "A,9,4,,,999/112,,", "B,9,16,,,,,"),
        [
            "dialplans.csv:2 error not_digits",
            "dialplans.csv:3 error not_digits",
            "dialplans.csv:4 error bad_number",
            "numbers.csv:2 warning no_plan",
            "numbers.csv:3 warning no_plan",
        ],
    ),
}

SITE_CASES: dict[str, tuple[Changes, list[str]]] = {
    "unknown parent": (
        with_rows("sites.csv", "C,,office,Ashby,,,", "D,,office,A,,,") | with_rows("subnets.csv", "10.3.0.0/24,C,,"),
        ["sites.csv:4 error unknown_parent", "sites.csv:5 warning bare_site"],
    ),
    "its own parent": (
        only_rows("sites.csv", "A,,station,A,,,", "B,,office,,,,"),
        ["sites.csv:2 error parent_loop"],
    ),
    "parents in a circle": (
        only_rows("sites.csv", "A,,station,B,,,", "B,,office,A,,,"),
        ["sites.csv:2 error parent_loop", "sites.csv:3 error parent_loop"],
    ),
    "no circle at any one time": (
        only_rows(
            "sites.csv",
            "A,,station,,,,2024-12-31",
            "A,,station,B,,2025-01-01,",
            "B,,office,A,,,2024-12-31",
            "B,,office,,,2025-01-01,",
        ),
        [],
    ),
    "a circle from a day on": (
        only_rows("sites.csv", "A,,station,,,,2024-12-31", "A,,station,B,,2025-01-01,", "B,,office,A,,,"),
        ["sites.csv:3 error parent_loop"],
    ),
    "child outlives its parent": (
        only_rows("sites.csv", "A,,station,,,,2025-06-30", "B,,office,A,,2025-01-01,"),
        ["sites.csv:3 warning outside_parent"],
    ),
    "two rows of a site at a time": (
        with_rows("sites.csv", "B,Brook House,office,A,,2026-01-01,"),
        ["sites.csv:4 error overlapping_sites"],
    ),
    "a site away for a while": (
        only_rows("sites.csv", "A,,station,,,,", "B,,office,A,,,2025-03-31", "B,,office,A,,2025-05-01,"),
        ["sites.csv:4 warning gap"],
    ),
    "same row twice": (with_rows("pools.csv", "DP_B,B,,"), ["pools.csv:3 error duplicate_row"]),
    "unknown site in every file": (
        with_rows("subnets.csv", "10.3.0.0/24,X,,")
        | with_rows("pools.csv", "DP_X,X,,")
        | with_rows("devices.csv", "SEP_X,X,,,", "SEP_Y,,DP_X,,")
        | with_rows("numbers.csv", "5100,5199,,X,,")
        | with_rows("trunks.csv", "GW_X,pstn,X,30,,")
        | with_rows("dialplans.csv", "X,9,4,,,999,,")
        | with_rows("public_numbers.csv", "102,x,X,,,,"),
        [
            "devices.csv:4 error unknown_site",
            "devices.csv:5 warning dead_row",
            "dialplans.csv:3 error unknown_site",
            "numbers.csv:4 error unknown_site",
            "pools.csv:3 error unknown_site",
            "public_numbers.csv:3 error unknown_site",
            "subnets.csv:4 error unknown_site",
            "trunks.csv:4 error unknown_site",
        ],
    ),
    "unknown pool": (with_rows("devices.csv", "SEP_C,,DP_C,,"), ["devices.csv:4 error unknown_pool"]),
    "unused pool": (with_rows("pools.csv", "DP_A,A,,"), ["pools.csv:3 warning unused_pool"]),
    "row that begins before its site": (
        with_rows("devices.csv", "SEP_C,B,,2024-12-31,"),
        ["devices.csv:4 warning outside_site"],
    ),
    "row that ends before its site begins": (
        with_rows("subnets.csv", "10.3.0.0/24,B,,2024-12-31"),
        ["subnets.csv:4 warning dead_row"],
    ),
    "device that ends before its pool begins": (
        with_rows("devices.csv", "SEP_C,,DP_B,,2024-12-31"),
        ["devices.csv:4 warning dead_row"],
    ),
    "device away for a while": (
        with_rows("devices.csv", "SEP_C,A,,,2025-03-31", "SEP_C,B,,2025-04-02,"),
        ["devices.csv:5 warning gap"],
    ),
    "device that moves from one day to the next": (
        with_rows("devices.csv", "SEP_C,A,,,2025-03-31", "SEP_C,B,,2025-04-01,"),
        [],
    ),
}

OVERLAP_CASES: dict[str, tuple[Changes, list[str]]] = {
    "device at two sites": (with_rows("devices.csv", "sep_a,B,,,"), ["devices.csv:4 error overlapping_devices"]),
    "device at two sites for a day": (
        with_rows("devices.csv", "SEP_C,A,,,2025-03-31", "SEP_C,B,,2025-03-31,"),
        ["devices.csv:5 error overlapping_devices"],
    ),
    "pool at two sites": (with_rows("pools.csv", "DP_B,A,,"), ["pools.csv:3 error overlapping_pools"]),
    "telephone that is a trunk": (
        with_rows("trunks.csv", "sep_a,pstn,,3,,"),
        ["trunks.csv:4 error device_and_trunk"],
    ),
    "telephone that becomes a trunk": (
        {
            **with_rows("devices.csv", "SEP_C,A,,,2025-03-31"),
            **with_rows("trunks.csv", "SEP_C,pstn,,3,2025-04-01,"),
        },
        [],
    ),
    "trunk of two kinds": (with_rows("trunks.csv", "REC,internal,,,,"), ["trunks.csv:4 error overlapping_trunks"]),
    "two plans": (with_rows("dialplans.csv", ",0,4,,,999,,"), ["dialplans.csv:3 error overlapping_plans"]),
    "public number twice": (
        with_rows("public_numbers.csv", "101,Other,B,,,,"),
        ["public_numbers.csv:3 error overlapping_public_numbers"],
    ),
    "subnet of two sites": (
        with_rows("subnets.csv", "10.2.0.0/24,A,2026-01-01,"),
        ["subnets.csv:4 error overlapping_subnets"],
    ),
    "subnet that changes hands": (
        only_rows("subnets.csv", "10.1.0.0/24,A,,2025-09-30", "10.1.0.0/24,B,2025-10-01,"),
        [],
    ),
    "subnet of a site that closed": (
        only_rows("sites.csv", "A,,station,,,,2025-09-30", "B,,office,,,2025-10-01,")
        | only_rows("subnets.csv", "10.1.0.0/24,A,,", "10.1.0.0/24,B,,"),
        [],
    ),
    "subnet inside one of another site": (
        with_rows("subnets.csv", "10.1.0.128/25,B,,"),
        ["subnets.csv:4 warning nested_subnet"],
    ),
    "subnet inside one of the same site": (with_rows("subnets.csv", "10.1.0.128/25,A,,"), []),
    "subnet inside one of another site that is gone": (
        only_rows("subnets.csv", "10.1.0.0/16,A,,2024-12-31", "10.1.0.0/24,B,,"),
        [],
    ),
    "subnet that its parts cover": (
        only_rows("subnets.csv", "10.1.0.0/24,A,,", "10.1.0.0/25,A,,", "10.1.0.128/26,A,,", "10.1.0.192/26,A,,"),
        ["subnets.csv:2 warning dead_row"],
    ),
    "subnet that its parts cover for a time only": (
        only_rows("subnets.csv", "10.1.0.0/24,A,,", "10.1.0.0/25,A,,", "10.1.0.128/25,A,,2030-01-01"),
        [],
    ),
    "IPv6 subnets": (
        with_rows(
            "subnets.csv", "2001:db8::/48,A,,", "2001:db8:0:1::/64,B,,", "2001:db8:1::/48,A,,", "2001:DB8:1:0::/48,B,,"
        ),
        ["subnets.csv:5 warning nested_subnet", "subnets.csv:7 error overlapping_subnets"],
    ),
    "ranges that share numbers": (
        with_rows("numbers.csv", "5090,5199,,B,,", "4990,5000,,A,,"),
        [
            "numbers.csv:4 error overlapping_ranges",
            "numbers.csv:5 error overlapping_ranges",
            "numbers.csv:5 warning plan_mismatch",
        ],
    ),
    "a range within another": (with_rows("numbers.csv", "5050,5050,,B,,"), ["numbers.csv:4 error overlapping_ranges"]),
    "ranges of two partitions": (with_rows("numbers.csv", "5090,5099,PT_B,B,,", "5090,5099,PT_A,A,,"), []),
    "ranges one after the other": (
        only_rows("numbers.csv", "5000,5099,,A,,2025-09-30", "5000,5099,,B,2025-10-01,"),
        [],
    ),
    "trunk without channels": (with_rows("trunks.csv", "GW2,pstn,A,,,"), ["trunks.csv:4 warning no_channels"]),
    "extensions of a length that the plan lacks": (
        with_rows("numbers.csv", "52000,52999,,A,,"),
        ["numbers.csv:4 warning plan_mismatch"],
    ),
    "extensions of a beginning that the plan lacks": (
        with_rows("numbers.csv", "7000,7099,,A,,"),
        ["numbers.csv:4 warning plan_mismatch"],
    ),
    "public numbers are no extensions": (with_rows("numbers.csv", "01134960100,01134960199,,A,,"), []),
    "no extensions of a length": (
        only_rows("dialplans.csv", ",9,4 5,,,999,,"),
        ["dialplans.csv:2 warning plan_mismatch"],
    ),
}

CASES = FILE_CASES | FIELD_CASES | SITE_CASES | OVERLAP_CASES


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_defect_is_found_at_its_line(tmp_path: Path, case: str) -> None:
    changes, expected = CASES[case]
    assert found(tmp_path, changes) == expected


SETTINGS_CASES = {
    '[estate]\nname = "x': "estate.toml:2 error bad_toml",
    "a = " + "[" * 5000: "estate.toml:1 error bad_toml",
    "[estate]\n": "estate.toml:1 error missing_key",
    '[estate]\nname = "x"\nzone = "UTC"\n': "estate.toml:3 error unknown_key",
    '[estates]\nname = "x"\n[estate]\nname = "y"\n': "estate.toml:1 error unknown_key",
    '[estate]\nname = "x"\ntimezone = "Europe/Londn"\n': "estate.toml:3 error bad_value",
    '[estate]\nname = "x"\ntimezone = "Europe"\n': "estate.toml:3 error bad_value",
    '[estate]\nname = "x"\ncountry = "uk."\n': "estate.toml:3 error bad_value",
    "[estate]\nname = 5\n": "estate.toml:2 error bad_value",
    '[estate]\nname = "x"\n[claim]\npercent = 30.5\n': "estate.toml:4 error bad_value",
    '[estate]\nname = "x"\n[claim]\npercent = "130"\n': "estate.toml:4 error bad_value",
    '[estate]\nname = "x"\n[tariffs]\nip = "../x"\n': "estate.toml:4 error bad_value",
    '[estate]\nname = "x"\n[access]\ntarget_seconds = "2.5"\n': "estate.toml:4 error bad_value",
    '[estate]\nname = "x"\n[[benefit]]\nname = "constable-year"\n': "estate.toml:3 error bad_value",
    'benefit = 5\n[estate]\nname = "x"\n': "estate.toml:1 error bad_value",
}


@pytest.mark.parametrize("text", SETTINGS_CASES, ids=lambda text: repr(text[-30:]))
def test_a_defect_of_the_settings_is_found_at_its_line(tmp_path: Path, text: str) -> None:
    assert SETTINGS_CASES[text] in found(tmp_path, {"estate.toml": text})


def test_settings_that_are_not_utf8_are_found_at_their_line(tmp_path: Path) -> None:
    assert found(tmp_path, {"estate.toml": b'[estate]\nname = "N\xe9"\n'}) == ["estate.toml:2 error not_utf8"]


def test_problems_of_a_kind_are_counted_after_the_first_hundred(tmp_path: Path) -> None:
    _, problems = read_estate(write_estate(tmp_path, with_rows("holidays.csv", *["2025-02-30,x"] * 250)))
    assert len(problems) == 101
    assert problems[-1].sentence == "150 more of this kind in this file"


SENTENCES: dict[str, tuple[Changes, str]] = {
    "column": ({"trunks.csv": "device,kind,chanels\nGW,pstn,30\n"}, "did you mean channels?"),
    "site": (with_rows("devices.csv", "SEP_C,a,,,"), "'a' is no site (did you mean A?)"),
    "file": ({"holidys.csv": "date\n"}, "did you mean holidays.csv?"),
    "host bits": (with_rows("subnets.csv", "10.3.0.1/24,A,,"), "its network is 10.3.0.0/24"),
    "device": (
        with_rows("devices.csv", "SEP_C,A,,,2025-03-31", "SEP_C,B,,2025-03-01,"),
        "the device SEP_C is on line 4 too from 2025-03-01 to 2025-03-31",
    ),
    "gap": (
        with_rows("devices.csv", "SEP_C,A,,,2025-03-31", "SEP_C,B,,2025-04-02,"),
        "the device SEP_C has no row on 2025-04-01, between line 4 and this one",
    ),
    "range": (
        with_rows("numbers.csv", "5090,5199,,B,,"),
        "5090 to 5099 of site B is on line 2 too (site A) from 2025-01-01 on",
    ),
    "circle": (only_rows("sites.csv", "A,,station,B,,,", "B,,office,A,,,"), "circle: A > B > A"),
    "terminal codes": ({"trunks.csv": "device,kind\n\x1b]0;x,pstn\n"}, "the line holds the character '\\x1b'"),
}


@pytest.mark.parametrize("case", SENTENCES, ids=str)
def test_the_sentence_says_what_to_mend(tmp_path: Path, case: str) -> None:
    changes, part = SENTENCES[case]
    _, problems = read_estate(write_estate(tmp_path, changes))
    assert any(part in problem.sentence for problem in problems), [str(problem) for problem in problems]


def test_loading_names_the_file_and_line_of_the_first_error(tmp_path: Path) -> None:
    root = write_estate(tmp_path, with_rows("subnets.csv", "10.3.0.1/24,A,,", "x,A,,"))
    with pytest.raises(EstateError, match=r"subnets\.csv:4: subnet '10\.3\.0\.1/24' is no network.*1 more"):
        load_estate(root)
    with pytest.raises(EstateError, match="there is no such folder"):
        load_estate(tmp_path / "absent")


def test_warnings_do_not_hinder_loading(tmp_path: Path) -> None:
    estate = load_estate(write_estate(tmp_path, with_rows("trunks.csv", "GW2,pstn,A,,,")))
    assert [trunk.channels for trunk in estate.trunks] == [30, None, None]


def test_the_digest_follows_names_and_bytes(tmp_path: Path) -> None:
    first = load_estate(write_estate(tmp_path)).digest
    assert load_estate(tmp_path).digest == first
    (tmp_path / "README").write_text("not part of it")
    assert load_estate(tmp_path).digest == first
    write_estate(tmp_path, {"holidays.csv": SOUND["holidays.csv"] + "\n"})
    assert load_estate(tmp_path).digest != first


def test_a_folder_in_place_of_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "trunks.csv").mkdir()
    assert found(tmp_path, {"trunks.csv": None}) == ["trunks.csv:0 error unreadable_file"]
