"""Calls and streams found by words, in pages that new rows do not move, from facts in a real store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from call_facts import NOON, call, lake_at, put, stream
from hypothesis import given
from hypothesis import strategies as st

from analytics.questions.asking import QuestionError, key_number, key_text, pack, unpack
from analytics.questions.calls import Order, Search, search_calls
from analytics.questions.streams import search_streams
from analytics.questions.words import KEYS, parse_words, where
from analytics.store.lake import Lake

DAY = timedelta(days=1)


def found(lake: Lake, words: str, order: Order = Order.NEWEST) -> list[int]:
    search = Search(NOON - 400 * DAY, NOON + DAY, parse_words(words), order)
    return [key_number(row.key) for row in search_calls(lake, search, 100).rows]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Five calls; call 2 is poor and G.729, call 3 failed, call 4 is of the day before, call 5 of a year before."""
    lake = lake_at(tmp_path)
    put(
        lake,
        "calls",
        call(1),
        call(2, 60, mos=2.1, calling="020 7946-0123", called="1234"),
        call(3, 120, state="failed", status=486, answer=None, seconds=None, mos=None, streams=0, called="jane.roe"),
        call(4, -86_400, site="northgate", other_site=None, pdd_ms=4_000.0, seconds=3_700.0),
        call(5, -364 * 86_400, state="in progress", status=None, end=None, calling=None, from_address="10.10.0.1"),
    )
    put(
        lake,
        "streams",
        stream(11, 1, 5, jitter_ms=9.0),
        stream(12, 1, 5, lost=30, packets=2_970),
        stream(21, 2, 65, codec="G729", mos=2.1, lost=300, packets=2_700, dscp=0),
        stream(41, 4, -86_395),
        stream(99, None, 300, mos=1.5),
    )
    return lake


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [3, 2, 1, 4, 5]),
        ("mos<3.6", [2]),
        ("quality:poor", [2]),
        ("quality:unrated", [3]),
        ("quality:good,unrated", [3, 1, 4, 5]),
        ("site:ashcombe", [3, 2, 1, 5]),
        ("site:ASHCOMBE,northgate", [3, 2, 1, 4, 5]),
        ("from_site:northgate", [4]),
        ("to_site!=northgate", [4]),
        ("state:failed", [3]),
        ("state:in-progress", [5]),
        ('state:"in progress"', [5]),
        ("status:486", [3]),
        ("status:4xx", [3]),
        ("status!=2xx", [3, 5]),
        ("pdd>3s", [4]),
        ("duration>1h", [4]),
        ("duration>=3700", [4]),
        ("codec:g729", [2]),
        ("loss>5", [2]),
        ("jitter>5 loss>0.5", []),  # one stream has the jitter, the other the loss
        ("dscp:0 quality:poor", [2]),
        ("from:10.10.", [5]),
        ("from:10.1.", [3, 2, 1, 4]),
        ("ip:10.9.0.2", [3, 2, 1, 4, 5]),
        ("call:call-3", [3]),
        (f"call:{key_text(2)}", [2]),
        ("source:ta", [3, 2, 1, 4, 5]),
        ("source:other", []),
    ],
)
def test_words_choose_calls(lake: Lake, words: str, expected: list[int]) -> None:
    assert found(lake, words) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+442079460123", [3, 2, 1, 4, 5]),  # call 2 has it as 020 7946-0123
        ("02079460123", [3, 2, 1, 4, 5]),
        ("00442079460123", [3, 2, 1, 4, 5]),
        ("1234", [2]),
        ("0123", []),  # the end of a number is no number
        ("+44113*", [3, 1, 4]),
        ("jane.roe", [3]),
        ("=+441134960101", [3, 1, 4]),
        ("=441134960101", []),
    ],
)
def test_numbers_are_the_same_with_and_without_prefix(tmp_path: Path, number: str, expected: list[int]) -> None:
    made = lake_at(tmp_path)
    put(
        made,
        "calls",
        call(1),
        call(2, 60, calling="020 7946-0123", called="1234"),
        call(3, 120, calling="+441134960101", called="jane.roe") | {"called": "jane.roe"},
        call(4, -86_400),
        call(5, -364 * 86_400, calling=None),
    )
    if number in ("+442079460123", "02079460123", "00442079460123"):
        expected = [one for one in expected if one != 3]
    assert found(made, f"number:{number}") == expected


def test_worst_calls_come_first_and_unrated_ones_last(lake: Lake) -> None:
    assert found(lake, "", Order.WORST) == [2, 1, 4, 5, 3]
    assert found(lake, "state:failed", Order.WORST) == [3]
    assert found(lake, "", Order.OLDEST) == [5, 4, 1, 2, 3]


def test_call_says_what_its_streams_had(lake: Lake) -> None:
    row = search_calls(lake, Search(NOON, NOON + DAY, parse_words(f"call:{key_text(1)}"))).rows[0]
    assert row.codecs == ("PCMA",)
    assert row.loss_percent == pytest.approx(1.0)
    assert row.jitter_ms == 9.0


def test_streams_are_found_by_their_own_words_and_by_those_of_their_call(lake: Lake) -> None:
    def streams(words: str, order: Order = Order.NEWEST) -> list[int]:
        search = Search(NOON - 2 * DAY, NOON + DAY, parse_words(words), order)
        return [key_number(row.key) for row in search_streams(lake, search).rows]

    assert streams("") == [99, 21, 12, 11, 41]
    assert streams("", Order.WORST)[:2] == [99, 21]
    assert streams("jitter>5") == [11]
    assert streams("pdd>3s") == [41]
    assert streams("site:ashcombe duration>1h") == [41]
    assert streams("ssrc:0x01234567") == [99, 21, 12, 11, 41]


@pytest.mark.parametrize("order", list(Order))
def test_pages_hold_every_call_once_while_new_ones_come(tmp_path: Path, order: Order) -> None:
    lake = lake_at(tmp_path)
    put(lake, "calls", *(call(number, 60 * (number // 3), mos=1 + number % 7 / 2) for number in range(40)))
    search = Search(NOON - DAY, NOON + DAY, order=order)
    seen: list[int] = []
    cursor = None
    for turn in range(20):
        page = search_calls(lake, search, 7, cursor)
        seen += [key_number(row.key) for row in page.rows]
        put(lake, "calls", call(1_000 + turn, 86_399, mos=0.5 if order is Order.NEWEST else 5.0))
        cursor = page.cursor
        if cursor is None:
            break
    old = [number for number in seen if number < 1_000]
    assert sorted(old) == list(range(40))


def test_cursor_of_another_search_is_refused(lake: Lake) -> None:
    search = Search(NOON - 400 * DAY, NOON + DAY)
    cursor = search_calls(lake, search, 2).cursor
    assert cursor is not None
    with pytest.raises(QuestionError, match="another search"):
        search_calls(lake, Search(NOON - DAY, NOON + DAY), 2, cursor)
    with pytest.raises(QuestionError, match="another search"):
        search_calls(lake, Search(search.since, search.until, parse_words("mos<3")), 2, cursor)


@given(st.text(max_size=80))
def test_any_text_for_a_cursor_is_read_or_refused(text: str) -> None:
    try:
        unpack(text, [str, int])
    except QuestionError:
        return
    assert unpack(pack(unpack(text, [str, int])), [str, int])


@given(
    st.text(max_size=60) | st.sampled_from(["mos<", "site:", 'call:"', "number:=", "status:9xx", "ssrc:0x", "r<1e9"])
)
def test_any_words_are_read_or_refused(text: str) -> None:
    try:
        words = parse_words(text)
    except QuestionError:
        return
    for table in ("calls", "streams"):
        made = where(words, table)
        assert made.sql.count("?") == len(made.parameters)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("speed>3", "no key “speed”"),
        ("mos", "is not KEY:VALUE"),
        ("mos<good", "needs a number"),
        ("mos<3s", "bare number"),
        ("pdd>3parsecs", "unknown unit"),
        ("site<3", "compares text"),
        ("state:dead", "unknown value"),
        ("status:99", "100 to 699"),
        ("site:,", "names no value"),
    ],
)
def test_word_without_meaning_is_named(words: str, said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        parse_words(words)


@pytest.mark.parametrize(
    ("word", "seeks"),
    [
        ("number:1234", True),
        ("number:jane", True),
        ("number:==+44", True),
        ("number:10.1.4.7", True),
        ("from:10.1.", False),
        ("from:fe80::1", False),
        ("from:1234", True),
        ("to:jane.roe", True),
        ("call:1234", False),
        ("site:1234", False),
    ],
)
def test_word_tells_whether_it_asks_for_a_person(word: str, seeks: bool) -> None:
    assert parse_words(word)[0].seeks_person is seeks


def test_every_key_says_what_it_is() -> None:
    assert all(rule.doc for rule in KEYS.values())


def test_keys_of_64_bits_are_text_and_back() -> None:
    for number in (0, 1, -1, 2**63 - 1, -(2**63)):
        assert key_number(key_text(number)) == number
    for wrong in ("", "g" * 16, "0" * 15, "0" * 17, "ABCDEF0123456789"):
        with pytest.raises(QuestionError):
            key_number(wrong)
