"""What the words of --filter keep."""

from __future__ import annotations

import pytest
from builders import failed_call, make_call, make_replay, make_stream
from hypothesis import given
from hypothesis import strategies as st

from api.filters import KEYS, FilterError, masked_expression, parse_filter, select
from api.masking import Pseudonyms, name_people
from api.rated import rate_replay
from collector.facts import Endpoint, Finding


def kept(expression: str) -> tuple[list[str], list[int]]:
    """Calls and streams that an expression keeps: `a84…` has streams 0x1234ABCD (MOS 4.4) and 0xFF (MOS 3.7)."""
    chosen = select(rate_replay(make_replay()), parse_filter(expression))
    return [call.call.call_id[:4] for call in chosen.calls], [stream.stream.ssrc for stream in chosen.streams]


GOOD, BAD, STRAY = 0x1234ABCD, 0xFF, 7


@pytest.mark.parametrize(
    ("expression", "calls", "streams"),
    [
        ("codec:pcma", ["a84b"], [GOOD, BAD]),
        ("codec!=pcma", [], [STRAY]),
        ("codec:pcma,none", ["a84b"], [GOOD, BAD, STRAY]),
        ("loss>1", ["a84b"], [BAD]),
        ("loss>1%", ["a84b"], [BAD]),
        ("loss<=0.2", ["a84b"], [GOOD, STRAY]),
        ("jitter>30ms", ["a84b"], [BAD]),
        ("mos<4", ["a84b"], [BAD]),
        ("mos>4", [], [GOOD]),
        ("codec:pcma loss>1", ["a84b"], [BAD]),
        ("codec:g729 loss>1", [], []),
        ("state:failed", ["f00d"], []),
        ("state:completed", ["a84b"], [GOOD, BAD]),
        ("state:completed,failed", ["a84b", "f00d"], [GOOD, BAD]),
        ("state:completed loss>1", ["a84b"], [BAD]),
        ("status>=500", ["f00d"], []),
        ("pdd>900ms", ["a84b", "f00d"], [GOOD, BAD]),
        ("pdd>1.5s", [], []),
        ("duration<1min", ["a84b"], [GOOD, BAD]),
        ("from:10.1.", ["a84b", "f00d"], [GOOD]),
        ("to:10.1.", [], [BAD]),
        ("ip:2001:db8::", [], [STRAY]),
        ("from:10.1.4.7:16402", [], [GOOD]),
        ("from:alice", ["f00d"], []),
        ("call:a84b", ["a84b"], [GOOD, BAD]),
        ("finding:mirror_copies", [], [STRAY]),
        ("finding:burst_loss", ["a84b"], [BAD]),
        ("ssrc:0x000000ff", ["a84b"], [BAD]),
        ("dscp:46", ["a84b"], [GOOD, BAD, STRAY]),
        ("role:primary", ["a84b"], [GOOD, BAD, STRAY]),
        ("packets=469 lost:31", ["a84b"], [BAD]),
        ('state:"in progress"', [], []),
    ],
)
def test_words_keep_calls_and_streams(expression: str, calls: list[str], streams: list[int]) -> None:
    assert kept(expression) == (calls, streams)


def kept_masked(expression: str) -> list[str]:
    rated, names = rate_replay(make_replay()), Pseudonyms()
    name_people(rated.replay, names)
    return [call.call.call_id[:4] for call in select(rated, parse_filter(expression, names)).calls]


@pytest.mark.parametrize(
    ("expression", "calls"),
    [
        ("from:+44", []),
        ("from:+441632960001", []),
        ("from:sip:+441632960001@10.1.4.7", []),
        ("from!=+44", ["a84b", "f00d"]),
        ("from:alice", []),
        ("from:al", []),
        ("to:+441632960002", []),
        ("from:p1", ["a84b"]),
        ("from:p", []),
        ("from:P3", ["f00d"]),
        ("from:p1,p3", ["a84b", "f00d"]),
        ("from:sip:p1@10.1.4.7", ["a84b"]),
        ("to:p2", ["a84b"]),
        ("to:999", ["f00d"]),
        ("from:10.1.4.8", ["f00d"]),
        ("from:10.1.", ["a84b", "f00d"]),
    ],
)
def test_people_are_asked_for_by_their_masked_names_alone(expression: str, calls: list[str]) -> None:
    assert kept_masked(expression) == calls


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("from:+447700 mos<3", "from:*** mos<3"),
        ("from:07700900111,10.1.,p2", "from:***,10.1.,p2"),
        ('to:"07700 900111"', 'to:"***"'),
        ("to:sip:jane@h", "to:sip:p4@h"),
        ("from:alice.smith", "from:p3.smith"),
        ("ip:2001:db8::1 from:10.1.4.7:5060", "ip:2001:db8::1 from:10.1.4.7:5060"),
        ("packets>100000 ssrc:0x12345678 call:a84b4c76e66710", "packets>100000 ssrc:0x12345678 call:a84b4c76e66710"),
        ("from:447.700.900.111", "from:***"),
        ("state:failed,unanswered codec:g729", "state:failed,unanswered codec:g729"),
    ],
)
def test_a_masked_report_repeats_a_filter_without_people(expression: str, shown: str) -> None:
    names = Pseudonyms()
    name_people(make_replay(), names)
    assert masked_expression(expression, names) == shown


def test_one_stream_must_meet_all_words_for_its_call_to_be_kept() -> None:
    assert kept("loss>1 jitter<5") == ([], [])


def test_a_missing_number_matches_neither_side() -> None:
    assert STRAY not in kept("jitter<1000")[1]
    assert STRAY not in kept("jitter>=0")[1]
    assert STRAY not in kept("jitter!=5")[1]


def test_a_finding_of_the_call_itself_counts() -> None:
    replay = make_replay(calls=(make_call(findings=(Finding("one_way_audio", "x"),)), failed_call()), streams=())
    assert len(select(rate_replay(replay), parse_filter("finding:one_way_audio")).calls) == 1


def test_a_stream_outside_every_call_meets_no_word_of_calls() -> None:
    replay = make_replay(streams=(make_stream(call_id="unknown", src=Endpoint("1.2.3.4", 5)),))
    assert select(rate_replay(replay), parse_filter("state!=failed")).streams == ()


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("pcma", "“pcma” is not KEY:VALUE"),
        ("site:ashcombe", "no key “site”"),
        ("mos<low", "needs a number, not “low”"),
        ("codec<pcma", "takes : or !="),
        ("pdd>3parsec", "unknown unit “parsec”"),
        ("lost>3ms", "bare number"),
        ("codec:pcma and mos<3", "“and” is not"),
        (
            "state:nosuch",
            "unknown value “nosuch”; known are completed, failed, cancelled, unanswered, in-progress",
        ),
        ("state!=failed,lost", "unknown value “lost”"),
        ("role:leg", "known are primary, hop, fork"),
        ("dscp:64", "unknown value “64”; known are 0 to 63"),
        ("finding:one_way", "unknown value “one_way”; known are answer_not_acknowledged, "),
        ("codec:,", "“codec:,” names no value"),
    ],
)
def test_a_word_without_meaning_is_named(expression: str, part: str) -> None:
    with pytest.raises(FilterError) as error:
        parse_filter(expression)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused_with_a_sentence(expression: str) -> None:
    complaint = complaint_about(expression)
    if complaint is None:
        select(rate_replay(make_replay()), parse_filter(expression))
    else:
        assert complaint.startswith("--filter: ")


def complaint_about(expression: str) -> str | None:
    try:
        parse_filter(expression)
    except FilterError as error:
        return str(error)
    return None


def test_every_key_answers_for_a_call_or_a_stream() -> None:
    for key, rule in KEYS.items():
        assert rule.stream or rule.call, key
        assert rule.doc, key
