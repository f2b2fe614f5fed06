"""Calls get the streams that are theirs."""

from __future__ import annotations

from builders import SECOND, START, failed_call, make_call, make_replay, make_stream

from api.rated import rate_replay


def test_of_calls_that_use_one_call_id_in_turn_each_gets_the_streams_of_its_own_time() -> None:
    answered = make_call(call_id="one", start=START, end=START + 12 * SECOND)
    refused = failed_call("one")
    stream = make_stream(call_id="one", first=START + 2 * SECOND, last=START + 12 * SECOND)
    rated = rate_replay(make_replay(calls=(answered, refused), streams=(stream,))).calls
    assert [[each.stream for each in call.streams] for call in rated] == [[stream], []]
    assert [call.mos is None for call in rated] == [False, True]


def test_a_call_that_has_its_call_id_for_itself_gets_all_its_streams() -> None:
    call = make_call(call_id="one", start=START, end=START + 12 * SECOND)
    late = make_stream(call_id="one", first=START + 13 * SECOND, last=START + 14 * SECOND)
    (rated,) = rate_replay(make_replay(calls=(call,), streams=(late,))).calls
    assert [each.stream for each in rated.streams] == [late]
