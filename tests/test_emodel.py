# ruff: noqa: SIM300 - R is a quantity, not a constant
"""G.107 against independent vectors and against what the Recommendation itself states."""

from __future__ import annotations

import csv
import math
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.quality.emodel import (
    PARAMETER_RANGES,
    EModelParameters,
    beyond_permitted,
    effective_equipment_impairment,
    mos_from_r,
    rate,
    user_satisfaction,
    waterfall,
)

INPUTS = ("T", "Tr", "Ta", "Ie", "Bpl", "Ppl", "BurstR", "A", "TELR", "WEPL", "STMR", "qdu", "sT", "mT")
TERMS = ("Ro", "Is", "Idte", "Idle", "Idd", "Ie_eff", "R", "MOS")


def golden_rows(shared: Path, model: str) -> list[dict[str, str]]:
    with (shared / "golden" / "emodel.csv").open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["model"] == model]


def test_every_term_agrees_with_the_independent_vectors(shared: Path) -> None:
    rows = golden_rows(shared, "G107")
    assert len(rows) > 60
    for row in rows:
        rating = rate(EModelParameters(**{name: float(row[name]) for name in INPUTS}))
        for term in TERMS:
            assert getattr(rating, term) == pytest.approx(float(row[term]), abs=1e-4), (row["id"], term)


def test_mos_of_r_agrees_with_the_independent_vectors(shared: Path) -> None:
    rows = golden_rows(shared, "map_NB")
    assert len(rows) >= 10
    for row in rows:
        assert mos_from_r(float(row["R"])) == pytest.approx(float(row["MOS"]), abs=1e-6), row["id"]


def test_defaults_give_the_documented_93_2_and_4_41() -> None:
    rating = rate(EModelParameters())
    assert round(rating.R, 1) == 93.2
    assert round(rating.MOS, 2) == 4.41
    assert rating.No == pytest.approx(-61.179214, abs=1e-6)


def test_every_parameter_has_a_range_that_holds_its_default() -> None:
    assert [field.name for field in fields(EModelParameters)] == list(PARAMETER_RANGES)
    assert beyond_permitted(EModelParameters()) == ()
    for allowed in PARAMETER_RANGES.values():
        assert allowed.low <= allowed.permitted_low < allowed.permitted_high <= allowed.high


@pytest.mark.parametrize("name", list(PARAMETER_RANGES))
@pytest.mark.parametrize("wrong", ["below", "above", "nan", "inf"])
def test_a_value_out_of_range_is_refused_by_name_and_range(name: str, wrong: str) -> None:
    allowed = PARAMETER_RANGES[name]
    value = {"below": allowed.low - 0.01, "above": allowed.high * 1.01 + 1, "nan": math.nan, "inf": math.inf}[wrong]
    with pytest.raises(ValueError, match=rf"^{name} must be from {allowed.low:g} to ") as refused:
        EModelParameters(**{name: value})
    assert f"to {allowed.high:g}" in str(refused.value)


def test_lstr_follows_stmr_and_dr_unless_given() -> None:
    assert rate(EModelParameters(STMR=12)).No == rate(EModelParameters(STMR=12, LSTR=15)).No
    assert rate(EModelParameters(STMR=12, LSTR=13)).No > rate(EModelParameters(STMR=12)).No


def test_values_the_recommendation_does_not_cover_are_named() -> None:
    assert beyond_permitted(EModelParameters(Ppl=50, BurstR=9)) == (
        "Ppl 50 is outside 0 to 20, the range of G.107 (2015)",
        "BurstR 9 is outside 1 to 8, the range of G.107 (2015)",
    )


@pytest.mark.parametrize(
    ("r", "words"),
    [
        (93.2, "very satisfied"),
        (90, "very satisfied"),
        (89.99, "satisfied"),
        (80, "satisfied"),
        (70, "some users dissatisfied"),
        (60, "many users dissatisfied"),
        (50, "nearly all users dissatisfied"),
        (49.99, "not recommended"),
    ],
)
def test_satisfaction_is_classified_by_r(r: float, words: str) -> None:
    assert user_satisfaction(r) == words


def test_loss_is_percent_and_bursts_weigh_more() -> None:
    assert effective_equipment_impairment(Ie=0, Bpl=4.3, Ppl=4.3, BurstR=1) == pytest.approx(47.5)
    assert effective_equipment_impairment(Ie=11, Bpl=19, Ppl=0, BurstR=1) == 11
    assert effective_equipment_impairment(Ie=0, Bpl=25.1, Ppl=5, BurstR=2) == pytest.approx(95 * 5 / 27.6)


def random_parameters() -> st.SearchStrategy[EModelParameters]:
    spans = {name: st.floats(allowed.low, allowed.high) for name, allowed in PARAMETER_RANGES.items()}
    return st.builds(EModelParameters, **spans)


@given(random_parameters())
def test_all_accepted_parameters_give_finite_terms_that_add_up(parameters: EModelParameters) -> None:
    rating = rate(parameters)
    values = [getattr(rating, field.name) for field in fields(rating) if field.name != "parameters"]
    assert all(isinstance(value, float) and math.isfinite(value) for value in values)
    assert rating.R == pytest.approx(rating.Ro - rating.Is - rating.Id - rating.Ie_eff + rating.A)
    assert 1 <= rating.MOS <= 4.5


@given(random_parameters())
def test_the_waterfall_ends_at_the_rating(parameters: EModelParameters) -> None:
    steps = waterfall(rate(parameters))
    assert steps[0].r == pytest.approx(93.206208, abs=1e-6)
    assert sum(step.change for step in steps) == pytest.approx(steps[-1].r)
    assert steps[-1].r == pytest.approx(rate(parameters).R, abs=1e-6)


@given(st.floats(-50, 150), st.floats(-50, 150))
def test_mos_never_falls_as_r_rises(low: float, high: float) -> None:
    assert mos_from_r(min(low, high)) <= mos_from_r(max(low, high)) + 1e-12
