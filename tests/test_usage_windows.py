"""Lines do not depend on how the days are cut into windows that are joined at once."""

from __future__ import annotations

import random
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from records_made import record, records
from test_usage_lines import ESTATE

from analytics.store.lake import Lake
from analytics.usage import derive as deriving
from analytics.usage.derive import Book, derive, held_days

MIDNIGHT = 1_759_968_000  # 2025-10-09 00:00 UTC
DAYS = 7
RATED = datetime(2026, 1, 1, tzinfo=UTC)
PARTIES = (
    ("5001", "901134960123", "SEP_A1", "SIPTRUNK"),
    ("01134960123", "5002", "SIPTRUNK", "SEP_A2"),
    ("5001", "5002", "SEP_A1", "SEP_A2"),
    ("5002", "901134960123", "SEP_A2", "SIPTRUNK"),
)


def anything(seed: int) -> list[dict[str, Any]]:
    """Records that share legs and calls at random, many of them near midnight, some dropped by the network."""
    draw = random.Random(seed)
    made = []
    for key in range(1, 140):
        late, early = 86_400 - draw.randrange(4_000), draw.randrange(120)
        near = (draw.randrange(86_400), late, early, 86_400 - early)
        at = MIDNIGHT + draw.randrange(DAYS) * 86_400 + draw.choice(near)
        seconds = draw.choice((0, 1, 30, 600, 3_600, 7_200, 50_000, 100_000))
        calling, called, origin, target = draw.choice(PARTIES)
        legs = draw.randrange(1, 60), draw.randrange(1, 60)
        devices = {"orig_device": origin, "dest_device": target}
        causes = {"orig_cause": 0, "dest_cause": draw.choice((16, 16, 41, 38))}
        made.append(record(key, draw.randrange(1, 80), legs, at, seconds, calling, called, **devices, **causes))
    return made


def lines_of(root: Path, rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    with closing(Lake.open(root, create=True)) as lake, closing(lake.connect()) as connection:
        lake.append("cdr_rows", records(*rows), batch="rows")
        derive(lake, connection, Book(ESTATE, None, None, None), list(held_days(lake)), RATED)
        lake.view(connection, "usage")
        return connection.execute(
            "SELECT day, line_key, call_key, records, seconds, kind, excluded, redial_of, dropped, cause, "
            "epoch(start), site, month FROM usage ORDER BY ALL"
        ).fetchall()


@pytest.mark.parametrize("seed", range(3))
def test_small_windows_give_the_lines_of_one_that_holds_all(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = anything(seed)
    whole = lines_of(tmp_path / "whole", rows)
    assert any(row[3] > 1 for row in whole), "nothing was joined"
    monkeypatch.setattr(deriving, "ROWS_AT_ONCE", 20)
    assert lines_of(tmp_path / "cut", rows) == whole
