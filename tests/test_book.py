"""The book finds what was negotiated for a stream by endpoint and time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.facts import CodecFormat, Endpoint, NegotiatedMedia, Span
from collector.media.book import MediaBook

SECOND = 1_000_000_000
PHONE = Endpoint("10.0.0.1", 4000)
GATEWAY = Endpoint("10.0.0.2", 5000)
STRANGER = Endpoint("192.0.2.7", 9999)
PCMA = CodecFormat("PCMA", 8000)
OPUS = CodecFormat("OPUS", 48000, 2)
EVENT = CodecFormat("TELEPHONE-EVENT", 8000)


def media(
    endpoint: Endpoint = PHONE,
    since: int = 0,
    formats: dict[int, CodecFormat] | None = None,
    role: str = "caller",
    rtcp: Endpoint | None = None,
) -> NegotiatedMedia:
    wanted = {8: PCMA} if formats is None else formats
    return NegotiatedMedia(endpoint, "audio", "RTP/AVP", wanted, 20.0, "sendrecv", rtcp, role, since * SECOND, None)


def found(book: MediaBook, src: Endpoint, dst: Endpoint, first: float, last: float) -> tuple[str, str] | None:
    hit = book.lookup(src, dst, round(first * SECOND), round(last * SECOND))
    return None if hit is None else (hit.call_id, hit.side)


def test_the_receivers_announcement_counts_before_the_senders() -> None:
    book = MediaBook()
    book.announce(media(PHONE, formats={96: OPUS}), "call")
    book.announce(media(GATEWAY, formats={97: OPUS}, role="callee"), "call")
    hit = book.lookup(PHONE, GATEWAY, SECOND, 9 * SECOND)
    assert hit is not None
    assert (hit.call_id, hit.side, hit.media.endpoint) == ("call", "dst", GATEWAY)
    assert hit.formats == {96: OPUS, 97: OPUS}


def test_the_senders_announcement_serves_where_the_receivers_was_not_seen() -> None:
    book = MediaBook()
    book.announce(media(PHONE), "call")
    assert found(book, PHONE, STRANGER, 1, 9) == ("call", "src")
    assert found(book, STRANGER, Endpoint("10.0.0.1", 4002), 1, 9) is None


def test_the_receivers_number_wins_where_both_sides_gave_it_a_meaning() -> None:
    book = MediaBook()
    book.announce(media(PHONE, formats={101: EVENT, 96: OPUS}), "call")
    book.announce(media(GATEWAY, formats={96: EVENT}, role="callee"), "call")
    hit = book.lookup(PHONE, GATEWAY, SECOND, 2 * SECOND)
    assert hit is not None
    assert hit.formats == {101: EVENT, 96: EVENT}


def test_a_port_that_a_later_call_reuses_belongs_to_each_in_its_time() -> None:
    book = MediaBook()
    book.announce(media(since=0), "first")
    book.end("first", 100 * SECOND)
    book.announce(media(since=200), "second")
    assert found(book, STRANGER, PHONE, 1, 99) == ("first", "dst")
    assert found(book, STRANGER, PHONE, 201, 299) == ("second", "dst")
    assert found(book, STRANGER, PHONE, 120, 150) is None


def test_a_stream_that_outlasts_its_call_a_little_stays_with_it() -> None:
    book = MediaBook()
    book.announce(media(since=0), "first")
    book.end("first", 100 * SECOND)
    book.announce(media(since=101), "second")
    assert found(book, STRANGER, PHONE, 1, 101.5) == ("first", "dst")
    assert found(book, STRANGER, PHONE, 100.9, 160) == ("second", "dst")
    book = MediaBook()
    book.announce(media(since=0), "first")
    book.end("first", 100 * SECOND)
    assert found(book, STRANGER, PHONE, 104, 104.5) == ("first", "dst")
    assert found(book, STRANGER, PHONE, 106, 107) is None


def test_early_media_may_overtake_its_announcement() -> None:
    book = MediaBook()
    book.announce(media(since=10), "call")
    assert found(book, STRANGER, PHONE, 9.2, 9.5) == ("call", "dst")
    assert found(book, STRANGER, PHONE, 5, 8) is None


def test_of_calls_that_never_ended_the_latest_wins() -> None:
    book = MediaBook()
    book.announce(media(since=0), "first")
    book.announce(media(since=50), "second")
    assert found(book, STRANGER, PHONE, 49.9, 90) == ("second", "dst")
    assert found(book, STRANGER, PHONE, 1, 40) == ("first", "dst")


def test_of_two_calls_the_one_that_announced_both_ends_wins() -> None:
    book = MediaBook()
    book.announce(media(PHONE, since=0), "both")
    book.announce(media(GATEWAY, since=1, role="callee"), "both")
    book.announce(media(GATEWAY, since=2), "other")
    assert found(book, PHONE, GATEWAY, 3, 9) == ("both", "dst")


def test_a_stream_across_a_codec_change_knows_both_formats() -> None:
    book = MediaBook()
    old, new = media(since=0, formats={8: PCMA}), media(since=10, formats={96: OPUS})
    book.announce(old, "call")
    book.withdraw(old, "call", 10 * SECOND)
    book.announce(new, "call")
    hit = book.lookup(STRANGER, PHONE, SECOND, 60 * SECOND)
    assert hit is not None
    assert (hit.media, hit.formats) == (new, {8: PCMA, 96: OPUS})


def test_a_group_belongs_to_a_call_only_when_the_call_asked_first() -> None:
    group = Endpoint("239.1.1.1", 16384)
    book = MediaBook()
    book.announce(media(group, since=40), "call")
    assert found(book, GATEWAY, group, 0, 200) is None
    assert found(book, GATEWAY, group, 41, 200) == ("call", "dst")


def test_zeros_are_no_endpoint() -> None:
    book = MediaBook()
    book.announce(media(Endpoint("0.0.0.0", 4000)), "call")
    book.announce(media(Endpoint("::", 4000)), "call")
    book.announce(media(Endpoint("10.0.0.1", 0)), "call")
    for endpoint in (Endpoint("0.0.0.0", 4000), Endpoint("::", 4000), Endpoint("10.0.0.1", 0)):
        assert found(book, endpoint, endpoint, 0, 9) is None


def test_rtcp_is_found_by_its_own_endpoint() -> None:
    book = MediaBook()
    book.announce(media(rtcp=Endpoint("10.0.0.1", 4001)), "call")
    hit = book.lookup_rtcp(STRANGER, Endpoint("10.0.0.1", 4001), SECOND, SECOND)
    assert hit is not None
    assert (hit.call_id, hit.side) == ("call", "dst")
    assert book.lookup_rtcp(STRANGER, PHONE, SECOND, SECOND) is None


def test_rtcp_elsewhere_and_rtcp_on_the_same_port_are_found() -> None:
    book = MediaBook()
    elsewhere = Endpoint("10.0.0.9", 7000)
    book.announce(media(rtcp=elsewhere), "elsewhere")
    book.announce(media(GATEWAY, rtcp=GATEWAY, role="callee"), "muxed")
    assert getattr(book.lookup_rtcp(STRANGER, elsewhere, SECOND, SECOND), "call_id", None) == "elsewhere"
    assert getattr(book.lookup_rtcp(STRANGER, GATEWAY, SECOND, SECOND), "call_id", None) == "muxed"
    assert book.lookup_rtcp(STRANGER, Endpoint("10.0.0.1", 4001), SECOND, SECOND) is None


def test_ipv6_endpoints_are_found() -> None:
    book = MediaBook()
    endpoint = Endpoint("2001:db8::1", 4000)
    book.announce(media(endpoint), "call")
    assert found(book, STRANGER, endpoint, 1, 2) == ("call", "dst")


def test_a_span_that_ends_replaces_the_open_one() -> None:
    book = MediaBook()
    book.note_span("call", Span(20, None, "t38"))
    book.note_span("call", Span(10, None, "hold"))
    book.note_span("call", Span(10, 15, "hold"))
    assert book.spans("call") == (Span(10, 15, "hold"), Span(20, None, "t38"))
    assert book.spans("other") == ()


def test_the_book_is_bounded_and_counts_what_it_forgets() -> None:
    book = MediaBook(size=100)
    for number in range(1000):
        book.announce(media(Endpoint("10.0.0.1", 1024 + number), since=number), f"call-{number}")
        book.note_span(f"call-{number}", Span(number, None, "hold"))
    assert book.forgotten == 900
    assert found(book, STRANGER, Endpoint("10.0.0.1", 1024), 0, 9) is None
    assert found(book, STRANGER, Endpoint("10.0.0.1", 2023), 999, 1005) == ("call-999", "dst")
    assert book.spans("call-0") == ()


def test_one_endpoint_in_very_many_calls_stays_bounded() -> None:
    book = MediaBook()
    for number in range(5000):
        book.announce(media(since=number), f"call-{number}")
    assert found(book, STRANGER, PHONE, 4999, 5010) == ("call-4999", "dst")


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.integers(0, 3)), max_size=20),
    st.integers(0, 120),
    st.integers(0, 60),
)
def test_a_hit_always_held_at_some_time_of_the_stream(
    calls: list[tuple[int, int, int]], first: int, length: int
) -> None:
    book = MediaBook()
    until = {}
    for number, (since, duration, port) in enumerate(calls):
        book.announce(media(Endpoint("10.0.0.1", 4000 + port), since=since), f"{number}")
        book.end(f"{number}", (since + duration) * SECOND)
        until[f"{number}"] = since + duration
    hit = book.lookup(STRANGER, PHONE, first * SECOND, (first + length) * SECOND)
    held = [
        number
        for number, (since, duration, port) in enumerate(calls)
        if port == 0 and since - 1 <= first + length and since + duration + 5 >= first
    ]
    assert (hit is None) == (not held)
    if hit is not None:
        assert int(hit.call_id) in held
