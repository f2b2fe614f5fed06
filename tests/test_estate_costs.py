"""What the estate states of costs is read row by row, and what does not go together is named at its line."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from cost_example import ESTATE
from hypothesis import given
from hypothesis import strategies as st

from analytics.cost.elements import ElementKind, PaysFor, Side
from analytics.cost.figures import Evidence
from analytics.sites import IntersiteCalls, Origin
from collector.estate.cost_columns import COST_FILES
from collector.estate.costs import load_costs, read_costs
from collector.estate.problems import EstateError, Problems
from collector.estate.settings import parse_settings

HEADER = (
    "side,site,element,kind,pays_for,amount,evidence,key,alternatives,share,share_low,share_high,low,high,"
    "amortise_months,source,valid_from,valid_to\n"
)


def write(folder: Path, elements: str = "", keys: str = "", baseline: str = "", invoices: str = "") -> Path:
    (folder / "elements.csv").write_text(HEADER + elements)
    (folder / "keys.csv").write_text("key,site,value,valid_from,valid_to\nhandsets,A,80,,\nhandsets,B,20,,\n" + keys)
    head = "site,baseline_minutes,index_factor,index_low,index_high,index_series,source,valid_from,valid_to\n"
    (folder / "baseline.csv").write_text(head + baseline)
    (folder / "invoices.csv").write_text("month,side,site,minutes,amount,source\n" + invoices)
    return folder


def test_a_row_says_what_its_columns_say(tmp_path: Path) -> None:
    row = "ip,*,WAN,fixed,network,1500.00,estimated,handsets,calls,0.12,0.10,0.15,1400,1600,,contract,2025-04-01,\n"
    costs, problems = read_costs(write(tmp_path, row, keys="calls,A,1,,\n"), {"A", "B"})
    assert problems == []
    (element,) = costs.elements
    assert (element.side, element.site, element.kind) == (Side.IP, None, ElementKind.FIXED)
    assert (element.pays_for, element.evidence) == (PaysFor.NETWORK, Evidence.ESTIMATED)
    assert (element.key, element.alternatives) == ("handsets", ("calls",))
    bounds = (element.share_low, element.share, element.share_high, element.low, element.amount, element.high)
    assert bounds == tuple(map(Decimal, ("0.10", "0.12", "0.15", "1400", "1500.00", "1600")))
    assert element.origin == Origin("elements.csv", 2)
    assert element.valid.first == date(2025, 4, 1)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("ip,C,Support,fixed,system,1,measured,,,,,,,,,,,", "unknown_site"),
        ("voip,A,Support,fixed,system,1,measured,,,,,,,,,,,", "unknown_word"),
        ("ip,A,Support,monthly,system,1,measured,,,,,,,,,,,", "unknown_word"),
        ("ip,A,Support,fixed,people,1,measured,,,,,,,,,,,", "unknown_word"),
        ("ip,A,Support,fixed,system,1,guessed,,,,,,,,,,,", "unknown_word"),
        ("ip,A,Support,fixed,system,,measured,,,,,,,,,,,", "amount_and_evidence"),
        ("ip,A,Support,fixed,system,0,missing,,,,,,,,,,,", "amount_and_evidence"),
        ("ip,*,Support,fixed,system,1,measured,,,,,,,,,,,", "no_key"),
        ("ip,A,Support,fixed,system,1,measured,handsets,,,,,,,,,,", "key_without_use"),
        ("ip,*,Support,fixed,system,1,measured,handset,,,,,,,,,,", "unknown_key"),
        ("ip,*,Support,fixed,system,1,measured,handsets,minutes,,,,,,,,,", "unknown_key"),
        ("ip,A,Calls,usage,,1,measured,,,,,,,,,,,", "ip_usage"),
        ("legacy,A,Survey,one_off,,1,measured,,,,,,,,,,2025-10-01,", "legacy_one_off"),
        ("ip,A,Migration,one_off,,1,measured,,,,,,,,,,,", "no_begin"),
        ("ip,A,Capital,fixed,system,1,measured,,,,,,,,60,,,", "no_begin"),
        ("ip,A,Capital,fixed,system,1,measured,,,,,,,,0,,2025-01-01,", "bad_number"),
        ("ip,A,WAN,fixed,network,1,measured,,,1.2,,,,,,,,", "bad_share"),
        ("ip,A,WAN,fixed,network,1,measured,,,,0.1,0.2,,,,,,", "bounds_without_share"),
        ("ip,A,WAN,fixed,network,5,estimated,,,,,,6,9,,,,", "bounds_reversed"),
        ("ip,A,WAN,fixed,network,1,measured,,,0.5,0.6,0.7,,,,,,", "bounds_reversed"),
        ("ip,A,WAN,fixed,network,0.123456789,measured,,,,,,,,,,,", "bad_number"),
    ],
)
def test_a_row_that_does_not_go_together_is_named_and_left_out(tmp_path: Path, row: str, code: str) -> None:
    costs, problems = read_costs(write(tmp_path, row + "\n"), {"A", "B"})
    assert costs.elements == ()
    assert (code, "elements.csv:2") in [(problem.code, str(problem.origin)) for problem in problems]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("ip,A,Support,fixed,,1,measured,,,,,,,,,,,", "no_pays_for"),
        ("ip,A,Staff,fixed,staff,1,estimated,,,,,,,,,,,", "estimate_without_range"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning_and_the_row_stays(tmp_path: Path, row: str, code: str) -> None:
    costs, problems = read_costs(write(tmp_path, row + "\n"), {"A", "B"})
    assert len(costs.elements) == 1
    assert [(problem.severity, problem.code) for problem in problems] == [("warning", code)]


def test_what_is_stated_twice_for_a_day_would_count_twice_and_is_an_error(tmp_path: Path) -> None:
    rows = (
        "ip,A,Support,fixed,system,1,measured,,,,,,,,,,,2025-09-30\n"
        "ip,A,Support,fixed,system,2,measured,,,,,,,,,,2025-10-01,\n"
        "ip,A,Support,fixed,system,3,measured,,,,,,,,,,2025-12-01,\n"
    )
    folder = write(tmp_path, rows, keys="handsets,A,81,,\n", baseline="A,1,1,,,x,,,\nA,2,1,,,x,,,\n")
    _, problems = read_costs(folder, {"A", "B"})
    assert [(problem.code, str(problem.origin)) for problem in problems] == [
        ("stated_twice", "baseline.csv:3"),
        ("stated_twice", "elements.csv:4"),
        ("stated_twice", "keys.csv:4"),
    ]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (
            "beds,A,0,,\nbeds,B,0.00,,\n",
            [("keys.csv:4", "all weights of the key 'beds' are 0: nothing can be placed by it")],
        ),
        # The only weight that is not 0 ends in September.
        (
            "beds,A,0,,\nbeds,B,7,,2025-09-30\n",
            [("keys.csv:4", "all weights of the key 'beds' are 0 from 2025-10-01: nothing can be placed by it")],
        ),
        ("beds,A,0,,\nbeds,B,7,,\n", []),
        ("beds,A,7,,2025-09-30\n", []),
    ],
)
def test_a_key_whose_weights_are_all_0_places_nothing_and_is_an_error(
    tmp_path: Path, keys: str, found: list[tuple[str, str]]
) -> None:
    _, problems = read_costs(write(tmp_path, keys=keys), {"A", "B"})
    assert [(str(problem.origin), problem.sentence) for problem in problems] == found
    assert {problem.code for problem in problems} <= {"weights_all_0"}


def test_costs_are_loaded_with_the_tariffs_that_calls_are_rated_by(tmp_path: Path) -> None:
    assert load_costs(ESTATE, {"A", "B"}).tariffs.names == ("ip", "legacy")
    assert load_costs(write(tmp_path), {"A", "B"}).tariffs.names == ()


def test_other_files_name_their_problems_too(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        keys="handsets,B,-1,2030-01-01,\n",
        baseline="A,-5,1,,,x,,,\nB,100,1.0412,,,,,,\n",
        invoices="2025-13,ip,,1,1,\n2025-10,isp,,1,1,\n2025-10,ip,C,1,1,\n2025-10,ip,,1.5,,\n",
    )
    costs, problems = read_costs(folder, {"A", "B"})
    assert [(problem.code, str(problem.origin)) for problem in problems if problem.severity == "error"] == [
        ("negative_number", "baseline.csv:2"),
        ("bad_month", "invoices.csv:2"),
        ("unknown_word", "invoices.csv:3"),
        ("unknown_site", "invoices.csv:4"),
        ("negative_number", "keys.csv:4"),
    ]
    assert [problem.code for problem in problems if problem.severity == "warning"] == ["index_without_series"]
    (invoice,) = costs.invoices
    assert (invoice.month, invoice.site, invoice.minutes, invoice.amount) == (202510, None, Decimal("1.5"), None)


def test_an_estate_without_costs_is_no_error(tmp_path: Path) -> None:
    costs, problems = read_costs(tmp_path, {"A"})
    assert (costs.elements, costs.keys, costs.baselines, costs.invoices, problems) == ((), (), (), (), [])


def test_loading_names_the_first_error_with_its_file_and_line(tmp_path: Path) -> None:
    folder = write(tmp_path, "ip,C,Support,fixed,system,1,measured,,,,,,,,,,,\n")
    with pytest.raises(EstateError, match=r"elements\.csv:2: site 'C' is not in sites\.csv"):
        load_costs(folder, {"A", "B"})


def test_the_example_has_no_problem() -> None:
    _, problems = read_costs(ESTATE, {"A", "B"})
    assert problems == []


@given(st.binary(max_size=400), st.sampled_from([declared.name for declared in COST_FILES]))
def test_any_bytes_give_rows_or_named_problems(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("costs")
    write(folder)
    header = (folder / name).read_bytes().split(b"\n", 1)[0] + b"\n"
    (folder / name).write_bytes(header + data)
    _, problems = read_costs(folder, {"A", "B"})
    assert all(problem.origin.file == name and problem.sentence for problem in problems if problem.severity == "error")


@pytest.mark.parametrize(
    ("said", "found", "codes"),
    [
        ("", IntersiteCalls.CHARGED, []),
        ('[legacy]\nintersite_calls = "carried"\n', IntersiteCalls.CARRIED, []),
        ('[legacy]\nintersite_calls = "free"\n', IntersiteCalls.CHARGED, ["bad_value"]),
    ],
)
def test_the_estate_says_what_calls_between_sites_cost(said: str, found: IntersiteCalls, codes: list[str]) -> None:
    problems = Problems()
    settings = parse_settings(f'[estate]\nname = "small"\n{said}'.encode(), problems)
    assert settings.intersite_calls is found
    assert settings.intersite_stated is bool(said)
    assert [problem.code for problem in problems] == codes
