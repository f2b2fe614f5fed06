"""An explained price is the rated one, with every step of the sum."""

from __future__ import annotations

import random
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
from tariffs_made import DESTINATIONS, ZONES, as_facts, random_start, random_tariff

from analytics.cost.explain import explain
from analytics.cost.rating import Rater


def test_explained_and_rated_prices_are_the_same() -> None:
    rnd = random.Random(1027)
    holidays = frozenset({date(2025, 10, 27)})
    crossed = 0
    for turn in range(60):
        zone = ZONES[turn % len(ZONES)]
        versions = as_facts(random_tariff(rnd))
        rater = Rater(versions, zone, holidays)
        for _ in range(25):
            called = rnd.choice(DESTINATIONS)
            start, seconds = random_start(rnd, ZoneInfo(zone)), rnd.choice((-1, 0, 50, 3_000, 20_000, 3_000_000))
            rated = rater.rate(np.array([start], np.int64), np.array([seconds], np.int32), rater.groups([called]))
            told = explain(versions, zone, holidays, start, seconds, called)
            row = told.row
            expected = (
                rater.reasons[rated.why[0]],
                int(rated.cost[0]),
                int(rated.rated_seconds[0]),
                int(rated.segments[0]),
                int(rated.row[0]),
            )
            lasting = [span for span in told.spans if span.seconds]
            crossed += len(lasting) > 1
            got = (told.why, told.cost, told.rated_seconds, len(lasting), row.origin.line if row else 0)
            assert got == expected
            assert sum(span.seconds for span in told.spans) == told.rated_seconds
            if row is not None:
                assert told.version is not None
                assert told.version.label == rater.versions[rated.version[0]]
                fixed = (row.connection_fee + row.service_per_call) * bool(told.rated_seconds)
                assert told.sum == fixed + sum(span.cost + span.service for span in told.spans)
    assert crossed > 30


def test_what_is_not_from_this_age_is_not_priced() -> None:
    versions = as_facts(random_tariff(random.Random(3)))
    assert explain(versions, "Europe/London", (), -5, 10, DESTINATIONS[0]).why == "time_out_of_range"
    assert explain(versions, "Europe/London", (), 2**40, 10, DESTINATIONS[0]).why == "time_out_of_range"
