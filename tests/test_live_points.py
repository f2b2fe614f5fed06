"""Packed intervals are the intervals that were packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.facts import Endpoint, Interval
from collector.live.points import Points
from collector.live.source import Point, StreamNow

WHOLE = st.integers(-(2**63), 2**63 - 1)
INTERVALS = st.tuples(WHOLE, WHOLE, WHOLE, WHOLE, WHOLE, st.none() | st.floats(0, 1e9))


@given(st.lists(INTERVALS, max_size=20), st.integers(-25, 25), st.integers(-25, 25))
def test_intervals_come_out_as_they_went_in(
    drawn: list[tuple[int, int, int, int, int, float | None]], a: int, b: int
) -> None:
    streams = [
        StreamNow(Endpoint("192.0.2.1", number), Endpoint("", 1), 1, 2, None, None, None) for number in range(20)
    ]
    points = [Point(stream, Interval(*each)) for stream, each in zip(streams, drawn, strict=False)]
    packed = Points(iter(points))
    assert list(packed) == points
    assert len(packed) == len(points)
    assert list(packed[a:b]) == points[a:b]
    if points:
        assert (packed[-1], packed[0]) == (points[-1], points[0])
