"""The example estate is what its script writes, is sound, and puts each telephone where it stands."""

from __future__ import annotations

import importlib.util
from collections import Counter
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

from analytics.attribution import Attributor
from collector.estate.all_files import check_folder
from collector.estate.folder import files_of, load_estate

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FOLDER = EXAMPLES / "estate"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_estate", EXAMPLES / "make_estate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_folder_is_what_the_script_writes(script: ModuleType, tmp_path: Path) -> None:
    script.make(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in files_of(tmp_path)}
    kept = {path.relative_to(FOLDER): path.read_bytes() for path in files_of(FOLDER)}
    kept.pop(Path("invoices.csv"), None)  # comes with the records that it bills: make_records.py
    assert made == kept


def test_it_has_no_problem() -> None:
    _, problems = check_folder(FOLDER)
    assert [str(problem) for problem in problems] == []


def test_it_has_16_stations_and_54_offices_under_one_control_room() -> None:
    estate = load_estate(FOLDER)
    assert Counter(site.kind for site in estate.sites) == {"station": 16, "office": 54}
    assert [site.site for site in estate.sites if site.priority == "control_room"] == ["S01"]
    assert len({site.name for site in estate.sites}) == 70


def test_bank_holidays_are_eight_a_year_on_working_days() -> None:
    days = load_estate(FOLDER).holidays
    assert Counter(day.year for day in days) == {2025: 8, 2026: 8, 2027: 8}
    assert all(day.weekday() < 5 for day in days)
    # Good Friday and Easter Monday go by Easter Sunday: 20 April 2025, 5 April 2026, 28 March 2027.
    for easter in (date(2025, 4, 20), date(2026, 4, 5), date(2027, 3, 28)):
        assert {date.fromordinal(easter.toordinal() - 2), date.fromordinal(easter.toordinal() + 1)} <= days


def test_all_evidence_of_a_site_agrees() -> None:
    asked = Attributor(load_estate(FOLDER))
    day = date(2025, 10, 1)
    # S03 is the third station, O05 the fifth office.
    for given, site, evidence in (
        ({"device": "SEP02005E000031"}, "S03", "pool"),
        ({"address": "10.22.9.200"}, "S03", "subnet"),
        ({"address": "2001:db8:3::77"}, "S03", "subnet"),
        ({"number": "50299"}, "S03", "number"),
        ({"number": "01134960025"}, "S03", "number"),
        ({"address": "10.60.4.63"}, "O05", "subnet"),
        ({"number": "60040"}, "O05", "number"),
        ({"number": "01144960049"}, "O05", "number"),
        ({"device": "SEP02005E000019"}, "O40", "pool"),
    ):
        found = asked.attribute(**given, day=day)
        assert (found.site, found.evidence) == (site, evidence), given
    assert asked.attribute(device="SEP02005E000019", day=date(2025, 9, 30)).site == "S02"
    assert asked.attribute(address="10.60.53.1", day=date(2025, 9, 14)).site is None
    assert asked.attribute(address="10.60.53.1", day=date(2025, 9, 15)).site == "O54"


def test_its_public_numbers_are_from_ranges_kept_for_drama() -> None:
    estate = load_estate(FOLDER)
    kept = ("0113496", "0114496", "03069990")
    outside = [row.first for row in estate.ranges if len(row.first) > 5]
    outside += [row.number for row in estate.public_numbers if len(row.number) > 5]
    assert len(outside) > 70
    assert all(number.startswith(kept) for number in outside)
