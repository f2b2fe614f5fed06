"""The savings claim as an alert: lost is what was established a month before and is not any more."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import pytest

from analytics.alerts.facts import NS, Sample
from analytics.alerts.rules import DEFAULTS
from analytics.alerts.states import Side, judge
from api.alerts import savings
from api.alerts.savings import InBackground, sample_savings
from api.main import shell

ROOT = Path(__file__).resolve().parents[1]
ESTATE = ROOT / "examples" / "estate"
NOVEMBER = round(datetime(2025, 11, 9, tzinfo=UTC).timestamp()) * NS
RULE = next(rule for rule in DEFAULTS if rule.name == "savings_claim_lost")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("savings") / "store"
    words = ["cdr", "import", str(ROOT / "examples" / "records"), "--estate", str(ESTATE), "--store", str(folder)]
    assert shell(words) == 0
    return folder


def test_the_claim_is_judged_as_the_report_judges_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = [
        "report",
        "savings",
        "--month",
        "2025-10",
        "--months",
        "12",
        "--estate",
        str(ESTATE),
        "--store",
        str(store),
    ]
    assert shell(report) == 0
    text = capsys.readouterr().out
    found = sample_savings(store, ESTATE, NOVEMBER)
    verdict = next(word for word in ("Established", "Refuted", "Not established") if f"{word}: " in text)
    assert verdict.lower() in found.note
    expected = {"Established": Side.CLEAR, "Refuted": Side.NO_DATA, "Not established": Side.NO_DATA}[verdict]
    assert judge(RULE, found).side is expected


def test_without_records_nothing_is_said(tmp_path: Path) -> None:
    from analytics.store.lake import Lake

    Lake.open(tmp_path / "store", create=True).close()
    found = sample_savings(tmp_path / "store", ESTATE, NOVEMBER)
    assert found.numerator is None
    assert judge(RULE, found).side is Side.NO_DATA


def test_it_is_worked_out_apart_and_given_when_it_is_there(store: Path) -> None:
    ask = InBackground(partial(sample_savings, store, ESTATE))
    try:
        first = ask(NOVEMBER)
        assert first.note == "it is being worked out"
        end = time.monotonic() + 60
        while (found := ask(NOVEMBER)).note == first.note:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert found == sample_savings(store, ESTATE, NOVEMBER)
    finally:
        ask.close()


@pytest.mark.parametrize(
    ("newest", "before", "side"),
    [
        ("established", "established", Side.CLEAR),
        ("established", "refuted", Side.CLEAR),
        ("refuted", "established", Side.RAISED),
        ("not established", "established", Side.RAISED),
        ("not established", "not established", Side.NO_DATA),
        ("refuted", "not established", Side.NO_DATA),
    ],
)
def test_lost_is_what_was_established_before(newest: str, before: str, side: Side) -> None:
    found: Sample = savings.claim_sample(newest, before, 0, 1)
    verdict = judge(RULE, found)
    assert verdict.side is side
    assert newest in found.note


def long_work(_: int) -> Sample:
    time.sleep(120)
    raise AssertionError("nobody waits for this")


def test_what_is_being_worked_out_is_given_up_at_the_end() -> None:
    background = InBackground(long_work)
    background(NOVEMBER)
    children = active_children()
    assert children
    background.close()
    for child in children:
        child.join(20)
        assert not child.is_alive()
