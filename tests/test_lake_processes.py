"""Appends by several processes, and by processes that are killed: all that was acknowledged is there, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(scenario: str, folder: Path) -> None:
    """Run a scenario of `lake_processes.py` in an interpreter without threads, which can fork."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "lake_processes.py"), scenario, str(folder)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_nothing_acknowledged_is_lost_or_counted_twice_by_200_kills_at_any_instant(tmp_path: Path) -> None:
    run("kills", tmp_path)


def test_two_processes_append_at_once_while_a_third_compacts_and_a_fourth_reads(tmp_path: Path) -> None:
    run("four_at_once", tmp_path)


def test_the_same_batches_from_two_processes_count_once(tmp_path: Path) -> None:
    run("same_batches", tmp_path)


def test_partitions_replaced_by_two_processes_hold_the_rows_of_one(tmp_path: Path) -> None:
    run("replacing", tmp_path)


def test_a_table_that_stays_busy_is_told_in_one_sentence(tmp_path: Path) -> None:
    run("busy", tmp_path)
