"""Inclusive minutes take off whole months of usage lines what they take off the lines one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import duckdb
import numpy as np
import pytest
import reference_rater as reference
from tariffs_made import as_facts
from test_savings import OCTOBER, Rows, calls, facts_of, site, value

from analytics.cost.money import to_atoms
from analytics.cost.rating import Rater
from analytics.cost.savings import TOTAL, make_savings
from analytics.cost.tariff import Inclusive
from analytics.sites import Origin
from analytics.store.cost_queries import CoveredSum
from analytics.store.schema import USAGE
from analytics.usage.covered import covered_sums

NOON = int(datetime(2025, 10, 1, 12, tzinfo=UTC).timestamp())
ALL_DAY = reference.Band("offpeak", (*reference.DAYS, "holiday"), "00:00", "24:00")


def rater(*inclusive: Inclusive) -> Rater:
    """Geographic numbers at 4 a minute, those of +4420 at 1, mobiles at 10, by whole minutes."""
    nothing = Fraction(0)

    def row(prefix: str, number_class: str, minute: int) -> reference.Row:
        return reference.Row(prefix, number_class, "", nothing, Fraction(minute), nothing, nothing, 0, 60, 60, None)

    rows = [row("", "geographic", 4), row("4420", "", 1), row("", "mobile", 10)]
    (facts,) = as_facts([reference.Version(date(2020, 1, 1), rows, [ALL_DAY], False, True, False)])
    return Rater([replace(facts, inclusive=inclusive)], "Europe/London")


def rule(minutes: int, *classes: str, is_per_site: bool) -> Inclusive:
    return Inclusive(frozenset(classes), minutes, is_per_site, Origin("inclusive.csv", 2))


Call = tuple[int, str | None, str, str, int]
"""Begin after noon [s], site, class, number, seconds."""


def rated_lines(connection: duckdb.DuckDBPyConnection, made: Rater, some: list[Call], month: int = OCTOBER) -> None:
    """Fill `lines` with rated calls, as `usage` has them: the number without its last three digits."""
    columns = ", ".join(f'"{column.name}" {column.kind}' for column in USAGE.columns)
    connection.execute(f"CREATE OR REPLACE TABLE lines ({columns})")
    connection.execute("SET TimeZone = 'UTC'")
    group = made.groups([(number_class, number) for _, _, number_class, number, _ in some])
    begin = np.array([NOON + one[0] for one in some], np.int64)
    rated = made.rate(begin, np.array([one[4] for one in some], np.int32), group)
    for index, (_, where, number_class, number, seconds) in enumerate(some):
        connection.execute(
            "INSERT INTO lines (line_key, month, start, site, number_class, destination, seconds, ip_tariff, ip_row, "
            "ip_seconds, ip_cost, kind) VALUES (?, ?, to_timestamp(?), ?, ?, ?, ?, ?, ?, ?, ?, 'outbound')",
            [
                index,
                month,
                int(begin[index]),
                where,
                number_class,
                number[:-3],
                seconds,
                made.versions[rated.version[index]],
                int(rated.row[index]),
                int(rated.rated_seconds[index]),
                int(rated.cost[index]),
            ],
        )


def test_minutes_are_used_up_by_begin_for_each_site_and_summed_by_class() -> None:
    made = rater(rule(5, "geographic", "mobile", is_per_site=True))
    some: list[Call] = [
        (600, "A", "mobile", "+447400123456", 600),  # after site A's calls below: 1 of its 10 minutes is left
        (0, "A", "geographic", "+441134960123", 110),  # 2 minutes
        (60, "A", "geographic", "+442079460018", 100),  # 2 minutes, of another row
        (0, "B", "geographic", "+441134960123", 60),  # 1 minute of site B's own
        (0, None, "geographic", "+441134960123", 60),  # minutes for each site are for no call without one
        (0, "B", "international", "+12125550123", 60),
    ]
    with duckdb.connect() as connection:
        rated_lines(connection, made, some[:5])
        found = covered_sums(connection, "lines", [OCTOBER], {"ip": made, "legacy": None})
    assert found == (
        CoveredSum(OCTOBER, "A", "ip", "geographic", 240, to_atoms(Decimal(2 * 4 + 2 * 1))),
        CoveredSum(OCTOBER, "A", "ip", "mobile", 60, to_atoms(Decimal(10))),
        CoveredSum(OCTOBER, "B", "ip", "geographic", 60, to_atoms(Decimal(4))),
    )


def test_minutes_of_the_estate_are_used_up_together() -> None:
    made = rater(rule(3, "geographic", is_per_site=False))
    some: list[Call] = [
        (0, None, "geographic", "+441134960123", 60),
        (60, "A", "geographic", "+441134960123", 60),
        (120, "B", "geographic", "+441134960123", 600),
    ]
    with duckdb.connect() as connection:
        rated_lines(connection, made, some)
        found = covered_sums(connection, "lines", [OCTOBER], {"ip": made})
    assert [(one.site, one.seconds) for one in found] == [(None, 60), ("A", 60), ("B", 60)]


def test_months_without_lines_or_inclusive_minutes_have_none() -> None:
    made = rater(rule(3, "geographic", is_per_site=False))
    with duckdb.connect() as connection:
        rated_lines(connection, made, [(0, "A", "geographic", "+441134960123", 60)])
        assert covered_sums(connection, "lines", [202511], {"ip": made}) == ()
        assert covered_sums(connection, "lines", [OCTOBER], {"ip": rater(), "legacy": None}) == ()


@pytest.mark.parametrize(("tariff", "saved"), [("ip", "503.00"), ("legacy", "497.00")])
def test_what_is_inclusive_is_taken_off_the_line_of_its_site(tariff: str, saved: str) -> None:
    rows = Rows()
    rows.plain_site("A")
    facts = facts_of(rows, [site("A")], [calls("A")])
    covered = (CoveredSum(OCTOBER, "A", tariff, "geographic", 180, to_atoms(Decimal(3))),)
    savings = make_savings(replace(facts, usage=replace(facts.usage, covered=covered)), [OCTOBER])
    assert value(savings, f"{TOTAL}.s2") == Decimal(saved)
