"""What the text report shows, and that it fits."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from builders import NO_METRICS, SECOND, START, failed_call, make_call, make_leg, make_replay, make_stream
from hypothesis import given
from hypothesis import strategies as st

from api.layout import Heading, Piece, Screen, Style, clean, cut, cut_pair, spread, table, width, wrap
from api.masking import Pseudonyms
from api.rated import rate_replay
from api.terminal import CallIds, TextOptions, call_line, render_summary
from api.terminal_call import render_call
from api.wording import duration, moment, nearest_rank, percent
from collector.facts import CallState, Finding, Placement, Replay, Stream

OPTIONS = TextOptions(("evening.pcapng",))


def masked(options: TextOptions = OPTIONS) -> TextOptions:
    return options._replace(names=Pseudonyms())


def summary(replay: Replay, columns: int = 100, options: TextOptions = OPTIONS, colour: bool = False) -> str:
    return render_summary(rate_replay(replay), masked(options), Screen(columns, colour))


def test_totals_stand_first() -> None:
    first, since, unused, sip, rtp, *_ = summary(make_replay()).splitlines()
    assert first.split("   ") == ["evening.pcapng", "21.0 s · 1,234 packets · tap lost —"]
    assert since.strip() == "from 2025-10-03 14:05:10.123 UTC"
    assert unused.strip() == "not used: 2 ip_truncated"
    assert sip.startswith("SIP   2 calls: 1 completed · 1 failed  ")
    assert sip.endswith("ASR 50.0 %   NER 50.0 %   PDD 1.0 s")
    # 32 of 1,500 expected packets were lost; means of jitter are 2.125 and 31.4.
    assert rtp.startswith("RTP   3 streams: 2.13 % lost · jitter 2.1 ms (p95 31.4)")
    assert "MOS" in rtp


def test_ratios_without_attempts_are_a_dash() -> None:
    sip = replace(make_replay().sip, metrics=NO_METRICS)
    assert "ASR —   NER —   PDD —" in summary(make_replay(sip=sip, calls=()))


def test_a_capture_without_sip_or_rtp_says_so() -> None:
    sip = replace(make_replay().sip, messages=0, metrics=NO_METRICS)
    text = summary(make_replay(sip=sip, calls=(), streams=()))
    assert "SIP   no signalling" in text
    assert "RTP   no streams" in text
    assert "Calls" not in text


def test_a_talker_heard_in_three_places_counts_once() -> None:
    places = tuple(
        make_stream(ssrc=n, placement=Placement(1, role, 3)) for n, role in enumerate(("primary", "hop", "fork"))
    )
    text = summary(make_replay(streams=places))
    assert "RTP   1 stream: 0.20 % lost" in text
    assert "2 more streams of media already counted" in text


def test_the_worst_stream_comes_first_with_its_finding_below() -> None:
    lines = summary(make_replay()).splitlines()
    at = next(index for index, text in enumerate(lines) if text.startswith("Streams, worst first"))
    assert "10.9.0.2:24080 → 10.1.4.7:16402" in lines[at + 2]
    assert lines[at + 3].strip() == "31 s of bursts from 14:05:10"


def test_states_are_told_by_shape_and_only_trouble_is_coloured() -> None:
    plain = summary(make_replay())
    assert "■  failed" in plain
    coloured = summary(make_replay(), colour=True)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    assert "\x1b[38;5;166mfailed" in coloured
    assert "\x1b[38;5;166mcompleted" not in coloured


def test_the_summary_names_nobody() -> None:
    replay = make_replay(
        calls=(make_call(findings=(Finding("redirected", "to sip:bob@b"),)), failed_call()),
        notes=(Finding("note", "sip:carol@c"),),
    )
    text = summary(replay)
    for person in ("1632960", "alice", "bob", "carol"):
        assert person not in text
    assert "alice" in render_summary(rate_replay(replay), OPTIONS, Screen())


def test_alike_findings_are_one_line() -> None:
    streams = tuple(
        make_stream(ssrc=n, findings=(Finding("mirror_copies", f"{n} mirror copies, counted once", n),))
        for n in (5, 9, 7)
    )
    text = summary(make_replay(streams=streams))
    assert "3 streams  mirror copies (21 packets), e.g. 9 mirror copies, counted once" in text


def test_top_bounds_the_tables_and_puts_the_worst_calls_first() -> None:
    calls = (*(make_call(call_id=f"good-call-{n}", start=START + n) for n in range(20)), failed_call())
    text = summary(make_replay(calls=calls), options=TextOptions(("f.pcap",), top=3))
    assert "Calls, 3 of 21, worst first" in text
    assert text.count("good-call-") == 2
    assert "Next: callgauge replay f.pcap --call f00d-1@10." in text


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (("f.pcap",), "callgauge replay f.pcap --call f00d-1@10."),
        (("a b.pcap", "c.pcap"), "callgauge replay 'a b.pcap' c.pcap --call f00d-1@10."),
        (("-dash.pcap",), "callgauge replay ./-dash.pcap --call f00d-1@10."),
        (
            ("/captures/" + "long/" * 30 + "f.pcap",),
            f"callgauge replay /captures/{'long/' * 30}f.pcap --call f00d-1@10.",
        ),
        (tuple(f"/captures/evening/{n}.pcap" for n in range(9)), "the same files with --call f00d-1@10."),
        (("a\x1bb.pcap",), "the same file with --call f00d-1@10."),
    ],
)
def test_the_next_step_can_be_pasted_as_it_stands(files: tuple[str, ...], hint: str) -> None:
    text = summary(make_replay(), options=TextOptions(files))
    assert f"\nNext: {hint}\n" in text


def test_where_reading_stopped_is_shown() -> None:
    capture = replace(make_replay().capture, stopped="evening.pcapng: cut at byte 4096 in packet 12")
    assert "■ evening.pcapng: cut at byte 4096 in packet 12" in summary(make_replay(capture=capture))


def test_a_filter_says_what_it_left() -> None:
    text = summary(make_replay(), options=TextOptions(("f",), filter="mos<3"))
    assert "Filter mos<3: 2 of 2 calls, 3 of 3 streams" in text


@pytest.mark.parametrize("columns", [80, 100, 140])
@pytest.mark.parametrize("replay", [make_replay(), make_replay(streams=(), calls=())], ids=["full", "empty"])
def test_no_line_is_wider_than_the_screen(columns: int, replay: Replay) -> None:
    long = make_stream(
        findings=(Finding("x", "word " * 60),), codec="A-VERY-LONG-CODEC-NAME-OF-SOME-VENDOR", call_id="c" * 300
    )
    wide = make_call(from_uri="sip:" + "漢字" * 60 + "@h", call_id="c" * 300)
    replay = replace(replay, streams=(*replay.streams, long), calls=(*replay.calls, wide))
    rated = rate_replay(replay)
    for text in (
        render_summary(rated, OPTIONS, Screen(columns)),
        render_call(rated.calls[-1], OPTIONS, Screen(columns)),
    ):
        for line in text.splitlines():
            assert width(line) <= columns or "Next:" in line, line


def test_a_call_is_shown_with_all_that_was_measured() -> None:
    text = render_call(rate_replay(make_replay()).calls[0], masked(), Screen(100))
    assert text.startswith("p1 → p2: completed, 10.0 s, MOS ")
    for part in (
        "a84b4c76e66710@10.1.4.7",
        "10.1.4.7:5060 → 10.9.0.2:5060",
        "14:05:15.123 hold end not seen",
        "PCMA 8, TELEPHONE-EVENT 101",
        "SSRC 0x000000FF",
        "469 of 500 expected",
        "31 lost, 6.20 %",
        "mean 31.4 ms, max 80.0 ms, last 12.0 ms",
        "p50 1.0 ms, p95 4.0 ms, p99 8.0 ms, max 20.0 ms",
        "46 (499 packets)",
        "• flash",
        "42.0 ms (both halves)",
        "callgauge mos --codec PCMA --plc",
        "31 s of bursts from 14:05:10",
    ):
        assert part in text
    assert "1632960" not in text


def test_digits_are_shown_on_request() -> None:
    assert "events          5 flash" in render_call(rate_replay(make_replay()).calls[0], OPTIONS, Screen(100))


def test_text_from_packets_cannot_command_the_terminal() -> None:
    hostile = "\x1b[2J\x07\u202eevil\r\n"
    call = make_call(status_text=hostile, call_id=f"id{hostile}", from_uri=f"sip:{hostile}@h", state=CallState.FAILED)
    stream: Stream = make_stream(codec=hostile, call_id=call.call_id, findings=(Finding(hostile, hostile),))
    rated = rate_replay(make_replay(calls=(call,), streams=(stream,)))
    for text in (
        render_summary(rated, TextOptions((f"{hostile}.pcap",)), Screen()),
        render_call(rated.calls[0], OPTIONS, Screen()),
        call_line(call),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_a_call_that_ends_is_one_line() -> None:
    line = call_line(make_call())
    assert line == "14:05:22.123  completed    +441632960001 → +441632960002  10.0 s  a84b4c76e66710@10.1.4.7"
    assert "503 Service Unavailable" in call_line(failed_call())


def test_call_ids_are_shortened_to_what_tells_them_apart() -> None:
    ids = CallIds(["abcdefghijklmnop-1", "abcdefghijklmnop-2", "short", "zzzzzzzzzzzzzzzz"])
    assert ids.short("abcdefghijklmnop-1") == "abcdefghijklmnop-1"
    assert ids.short("zzzzzzzzzzzzzzzz") == "zzzzzzzzzz"
    assert ids.short("short") == "short"
    assert ids.short(None) == "—"


@given(st.lists(st.text("abc", min_size=1, max_size=30), min_size=1, max_size=20, unique=True))
def test_a_short_call_id_begins_exactly_one_call_id_or_is_whole(call_ids: list[str]) -> None:
    ids = CallIds(call_ids)
    for call_id in call_ids:
        short = ids.short(call_id)
        assert call_id.startswith(short)
        assert short == call_id or [other for other in call_ids if other.startswith(short)] == [call_id]


@given(st.text(max_size=60), st.integers(min_value=1, max_value=40))
def test_a_cut_text_fits_and_keeps_both_ends(text: str, room: int) -> None:
    shown = cut(text, room)
    assert width(shown) <= room
    if width(text) <= room:
        assert shown == text


def test_a_long_value_is_cut_in_the_middle() -> None:
    assert cut("a84b4c76e66710@10.1.4.7", 11) == "a84b4….1.4.7"[:5] + "…" + "1.4.7"
    assert cut_pair("10.100.200.30 → 10.9.0.2", " → ", 20) == "10.1…0.30 → 10.9.0.2"


def test_widths_are_measured() -> None:
    assert width("漢字") == 4
    assert width("é") == 1
    lines = table([Heading("a"), Heading("b", right=True)], [["漢字", "1"], ["x", Piece("22", Style.BOLD)]], Screen(40))
    assert lines == ["  a      b", "  漢字   1", "  x     22"]


def test_the_widest_column_gives_way_first() -> None:
    lines = table([Heading("a", least=4), Heading("b")], [["x" * 50, "y" * 10]], Screen(30), indent=0)
    assert width(lines[1]) == 30
    assert lines[1].endswith("y" * 10)


def test_two_ends_of_a_line_move_apart_where_they_do_not_fit() -> None:
    assert spread("left", "right", 20) == "left           right"
    assert spread("left", "right", 9) == "left\n    right"


def test_wrapping_keeps_every_word() -> None:
    assert wrap(["one", "two", "three"], " ", 8) == ["one two", "three"]
    assert wrap([], " ", 8) == []


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "—"),
        (0.0, "0 ms"),
        (340.4, "340 ms"),
        (12_400, "12.4 s"),
        (59_990, "1 min 00 s"),
        (192_000, "3 min 12 s"),
        (7_440_000, "2 h 04 min"),
    ],
)
def test_lengths_of_time_read_well(milliseconds: float | None, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "—"), (0.0, "0.00"), (0.001, "<0.01"), (0.005, "0.01"), (6.2, "6.20"), (100.0, "100.00")]
)
def test_little_loss_is_kept_apart_from_none(value: float | None, text: str) -> None:
    assert percent(value) == text


def test_any_time_stamp_can_be_shown() -> None:
    assert moment(START) == "2025-10-03 14:05:10.123"
    assert moment(2**63 - 1).startswith("2262-04-11")
    assert moment(2**80).startswith("epoch ")
    assert moment(-(2**63)).startswith("1677-09-21")
    assert START % SECOND == 123_456_789


def test_percentiles_are_by_nearest_rank() -> None:
    # The textbook case: 15, 20, 35, 40, 50; P5 = 15, P30 = 20, P40 = 20, P50 = 35, P100 = 50.
    values = [35.0, 20.0, 15.0, 50.0, 40.0]
    assert [nearest_rank(values, p) for p in (5, 30, 40, 50, 100)] == [15.0, 20.0, 20.0, 35.0, 50.0]
    assert nearest_rank([], 50) is None


def test_clean_keeps_ordinary_text() -> None:
    assert clean("Zoë → 10.1.4.7 “x”") == "Zoë → 10.1.4.7 “x”"


def test_a_leg_with_more_to_tell_tells_it() -> None:
    leg = make_leg(transferred_to="sip:x@y", replaces="other@host", defects={"bad_via": 2})
    rated = rate_replay(make_replay(calls=(make_call(legs=(leg,)),)))
    text = render_call(rated.calls[0], OPTIONS, Screen())
    assert "transferred to sip:x@y" in text
    assert "replaces other@host" in text
    assert "defects: 2 bad_via" in text
