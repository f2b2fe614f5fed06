"""Real captures against tshark: every stream agrees, or one table says why tshark is wrong or counts otherwise.

The witness is `shared/pcaps/golden`, written by tshark 4.0; streams of captures without signalling come from its RTP
heuristics. Jitter is compared to 0.005 ms: tshark prints three decimals, and its mean counts the first packet, which
has no difference to anything, as one without jitter.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from api.replay import replay_files
from collector.facts import CallState, Replay, Stream

JITTER_TOLERANCE_MS = 0.005
DELTA_TOLERANCE_MS = 0.0015

Key = tuple[str, int, str, int, int]


class Witness(NamedTuple):
    """A line of `tshark -z rtp,streams`; jitter is None where tshark did not know the clock and printed zeros."""

    packets: int
    lost: int
    max_delta_ms: float
    mean_jitter_ms: float | None
    max_jitter_ms: float | None


class Differs(NamedTuple):
    """What is true where tshark says otherwise: values in place of its own, fields that mean something else."""

    why: str
    true: Mapping[str, float] = {}  # never written to
    incomparable: tuple[str, ...] = ()


JITTER = ("mean_jitter_ms", "max_jitter_ms")
NOISE = "its jitter counts comfort noise of payload type 19, or reads type 13 against a clock it does not have"
FUZZED = "one packet with a changed bit in its address or SSRC: a stream needs two packets in sequence (RFC 3550 A.1)"
GARBLED = "a changed bit made a payload type of its own, which has no clock that could be compared"
ALONE = "too few packets in sequence to be told from chance (RFC 3550 A.1) where no signalling announced them"
MIRRORED = "the tap saw {} datagrams twice, with the same IP identification: tshark counts them as negative loss"

DIFFERENCES: Mapping[tuple[str, int], Differs] = {
    ("ndpi_fuzz_2006_06_26_2594", 0x3796CB71): Differs(GARBLED, incomparable=JITTER),
    ("heplify_sip_ipv4_tcp", 0x5A3361B3): Differs("the mean counts the first of 24 packets", incomparable=JITTER[:1]),
    ("heplify_sip_ipv4_tcp", 0x42F433D4): Differs("the mean counts the first of 42 packets", incomparable=JITTER[:1]),
    ("ndpi_fax_call_t38_ca_tdm_sip_fb_1", 0x0EAF0EAF): Differs(
        "27 packets that it decodes as T.38 because of the SDP are RTP: same SSRC, numbers 1846 to 1872, PCMA; "
        "the numbering ran on with the time while this direction was not seen: 1,712 numbers in 34 s at 20 ms are no "
        "loss of the network",
        {"packets": 159, "lost": 0},
        JITTER,
    ),
    ("ndpi_fax_call_t38_ca_tdm_sip_fb_1", 0x17D90134): Differs(
        "the timestamp begins anew after 286 ms without a packet (numbers 1144 and 1145): it leaves that time out",
        {"max_delta_ms": 286.074},
        JITTER,
    ),
    ("russo_fax_sip_passthru_ogw", 0x114CF505): Differs(
        "at a change of codec it keeps measuring with the clock of before", incomparable=JITTER[1:]
    ),
    ("sipp_dtmf_2833_1", 0x0E05384E): Differs(
        "two packets came twice, under identifications of their own: duplicates fill no holes", {"lost": 0}, JITTER
    ),
    ("russo_sccp_dtmf_oob", 0x000006A9): Differs(MIRRORED.format(10), {"packets": 893, "lost": 0}),
    ("russo_sccp_dtmf_oob", 0x315D0E61): Differs(MIRRORED.format(5), {"packets": 239, "lost": 0}),
    ("russo_h323_ss_hold_resume", 0x000079FE): Differs(NOISE, incomparable=JITTER),
    ("russo_sip_basic_do_183", 0x00007AD2): Differs(NOISE, incomparable=JITTER),
    ("russo_sip_recording_ora", 0xC0E1D031): Differs(NOISE, incomparable=JITTER),
    ("russo_rtp_lmr_g711ulaw_mcast_hoot", 0x1EF0040F): Differs(
        "numbers 9385 and 9386 are missing, which 2 packets that the tap saw twice (same IP identification) hide",
        {"packets": 219, "lost": 2},
        JITTER,
    ),
    ("russo_sip_dtmf_nte_rfc4733", 0x4092C643): Differs(
        "only telephone-events were captured: the numbers between them were voice that the capture left out, and "
        "their timestamps stand still (RFC 4733 2.2.1); it leaves out the times between events",
        {"lost": 0, "max_delta_ms": 439.98},
        JITTER,
    ),
    ("russo_dtmf_relay_digitdrop", 0x090DDF7B): Differs(
        "the gateway left out the 18 packets that carried telephone-events before it, and jitter over events says "
        "nothing, for they repeat their timestamp",
        {"lost": 0},
        JITTER,
    ),
}

ONLY_TSHARK: Mapping[str, tuple[str, frozenset[int]]] = {
    "ndpi_fuzz_2006_06_26_2594": (FUZZED, frozenset({0x3796CB71, 0x37968BAA, 0xAAAAAAAA})),
    "ndpi_stun_dtls_rtp": (
        "inside the channel data of TURN over TCP (RFC 8656 12.5), which is counted, not opened",
        frozenset({0x2F696C70, 0x321D28BB}),
    ),
    "ndpi_discord": (ALONE, frozenset({0xACE3, 0x24B18, 0x23C06, 0xA1F9, 0xA139})),
}
"""Streams that only tshark lists."""

SIP_DIFFERS: Mapping[str, str] = {
    "ndpi_fuzz_2006_06_26_2594": "every octet may be wrong: tshark drops messages whose start line or length it "
    "dislikes, we name what is wrong with them and list what can be listed",
    "ndpi_http_on_sip_port": "it calls everything on port 5060 SIP",
}

LINE = re.compile(
    r"\s*[\d.]+\s+[\d.]+\s+(?P<src>\S+)\s+(?P<sport>\d+)\s+(?P<dst>\S+)\s+(?P<dport>\d+)\s+0x(?P<ssrc>[0-9A-F]{8})\s+"
    r"(?P<payload>.+?)\s+(?P<packets>\d+)\s+(?P<lost>-?\d+) \(-?[\d.]+%\)\s+\S+\s+\S+\s+(?P<delta>[\d.-]+)\s+\S+\s+"
    r"(?P<mean>[\d.-]+)\s+(?P<max>[\d.-]+)"
)


def witnesses(path: Path) -> dict[Key, Witness]:
    found = {}
    for each in map(LINE.match, path.read_text().splitlines()):
        if each is None:
            continue
        key = (each["src"], int(each["sport"]), each["dst"], int(each["dport"]), int(each["ssrc"], 16))
        # a stream of telephone-events or an unnamed dynamic type has no clock there
        jitter = [float(each[name]) for name in ("mean", "max")] if "g7" in each["payload"].lower() else [None, None]
        found[key] = Witness(int(each["packets"]), int(each["lost"]), float(each["delta"]), jitter[0], jitter[1])
    return found


def key_of(stream: Stream) -> Key:
    return (stream.src.ip, stream.src.port, stream.dst.ip, stream.dst.port, stream.ssrc)


def measured(stream: Stream) -> dict[str, float | None]:
    jitter = stream.jitter_ms
    return {
        "packets": stream.packets,
        "lost": stream.lost,
        "max_delta_ms": stream.max_delta_ms or 0.0,
        "mean_jitter_ms": jitter.mean if jitter else None,
        "max_jitter_ms": jitter.max if jitter else None,
    }


class Corpus:
    """The captures, each replayed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with (folder / "manifest.csv").open(newline="") as rows:
            self.manifest = {row["file"].rsplit(".", 1)[0]: row for row in csv.DictReader(rows)}
        self.replay = cache(self._replay)

    def _replay(self, stem: str) -> Replay:
        return replay_files([self.folder / self.manifest[stem]["file"]])

    def only_stream(self, stem: str) -> Stream:
        (stream,) = self.replay(stem).streams
        return stream

    def codes(self, stem: str) -> Counter[str]:
        return Counter(finding.code for stream in self.replay(stem).streams for finding in stream.findings)

    def golden(self, stem: str) -> Path:
        """What tshark lists: by heuristics where no signalling announces anything."""
        heuristic = self.folder / "golden" / f"{stem}.rtp_streams.heuristic.txt"
        return heuristic if heuristic.exists() else self.folder / "golden" / f"{stem}.rtp_streams.txt"


@pytest.fixture(scope="session")
def corpus(shared: Path) -> Corpus:
    return Corpus(shared / "pcaps")


def stems() -> Iterator[str]:
    """For parametrization, which happens before fixtures: empty where the folder is missing."""
    manifest = Path(__file__).resolve().parents[2] / "shared" / "pcaps" / "manifest.csv"
    if manifest.exists():
        with manifest.open(newline="") as rows:
            yield from (row["file"].rsplit(".", 1)[0] for row in csv.DictReader(rows))


@pytest.mark.parametrize("stem", list(stems()))
def test_capture_is_read_to_its_end(corpus: Corpus, stem: str) -> None:
    capture = corpus.replay(stem).capture
    assert capture.packets == int(corpus.manifest[stem]["packets"])
    assert capture.stopped is None
    expected = {"ether": "ethernet", "linux-sll": "linux_cooked_v1", "rawip": "raw_ip", "rawip4": "raw_ip"}
    assert set(capture.link_types) == {expected[corpus.manifest[stem]["linktype"]]}


@pytest.mark.parametrize("stem", list(stems()))
def test_streams_agree_with_tshark_or_the_table_says_why_not(corpus: Corpus, stem: str) -> None:
    expected = witnesses(corpus.golden(stem))
    found = {key_of(stream): measured(stream) for stream in corpus.replay(stem).streams}
    assert len(found) == len(corpus.replay(stem).streams)
    assert set(found) - set(expected) == set()
    missing = set(expected) - set(found)
    assert {key[-1] for key in missing} <= (ONLY_TSHARK[stem][1] if stem in ONLY_TSHARK else set())
    for key, values in found.items():
        differs = DIFFERENCES.get((stem, key[-1]), Differs("agrees"))
        for field, witnessed in expected[key]._asdict().items():
            truth = differs.true.get(field, witnessed)
            if truth is None or field in differs.incomparable:
                continue
            tolerance = {"packets": 0, "lost": 0, "max_delta_ms": DELTA_TOLERANCE_MS}.get(field, JITTER_TOLERANCE_MS)
            value = values[field]
            assert value is not None, (hex(key[-1]), field, differs.why)
            assert abs(value - truth) <= tolerance, (hex(key[-1]), field, value, truth, differs.why)


def test_every_difference_in_the_table_is_one(corpus: Corpus) -> None:
    """An entry that tshark agrees with would hide a defect to come."""
    for (stem, ssrc), differs in DIFFERENCES.items():
        lines = [each for key, each in witnesses(corpus.golden(stem)).items() if key[-1] == ssrc]
        assert lines, (stem, hex(ssrc))
        for field, truth in differs.true.items():
            assert any(getattr(line, field) != truth for line in lines), (stem, hex(ssrc), field)
    for stem, (_, ssrcs) in ONLY_TSHARK.items():
        assert ssrcs <= {key[-1] for key in witnesses(corpus.golden(stem))}


@pytest.mark.parametrize("stem", [stem for stem in stems() if stem not in SIP_DIFFERS])
def test_sip_agrees_with_tshark_but_where_the_table_says_why_not(corpus: Corpus, stem: str) -> None:
    replay = corpus.replay(stem)
    methods: Counter[str] = Counter()
    responses: Counter[str] = Counter()
    call_ids: set[str] = set()
    with (corpus.folder / "golden" / f"{stem}.sip.csv").open(newline="") as rows:
        for row in csv.DictReader(rows):  # a frame of TCP may hold several messages
            methods.update(filter(None, row["sip.Method"].split("|")))
            responses.update(filter(None, row["sip.Status-Code"].split("|")))
            call_ids.update(filter(None, row["sip.Call-ID"].split("|")))
    assert replay.sip.messages == methods.total() + responses.total()
    assert replay.sip.call_ids == len(call_ids)
    assert {leg.call_id for call in replay.calls for leg in call.legs} <= call_ids
    assert (dict(replay.sip.methods), dict(replay.sip.responses)) == (methods, responses)


NO_STREAM = [
    "ast_fax_crash", "heplify_erspan_sip_ipv4_udp", "heplify_sip_ipv4_tcp_retrans", "ndpi_http_on_sip_port",
    "ndpi_ip_fragmented_garbage", "ndpi_rtcp_multiple_pkts_in_the_same_datagram", "ndpi_sip_hello", "ndpi_webex",
    "ndpi_zoom", "russo_sip_tls_aes_cm_128_hmac_sha1_80", "tcpdump_rtp_seg_fault_1",
]  # fmt: skip


@pytest.mark.parametrize("stem", NO_STREAM)
def test_what_only_resembles_media_is_no_stream(corpus: Corpus, stem: str) -> None:
    assert corpus.replay(stem).streams == ()


@pytest.mark.parametrize(
    "stem",
    ["ndpi_http_on_sip_port", "ndpi_zoom", "ndpi_teams", "ndpi_discord", "ast_fax_crash", "ndpi_ip_fragmented_garbage",
     "russo_sip_tls_aes_cm_128_hmac_sha1_80", "russo_mgcp_fxs_outbound", "russo_sccp_hw_conf"],
)  # fmt: skip
def test_what_only_resembles_sip_is_no_message(corpus: Corpus, stem: str) -> None:
    replay = corpus.replay(stem)
    assert (replay.sip.messages, replay.sip.call_ids, replay.calls) == (0, 0, ())


def test_register_that_nobody_answers_is_no_call(corpus: Corpus) -> None:
    sip = corpus.replay("ndpi_webex").sip
    assert (sip.messages, sip.call_ids, dict(sip.methods), dict(sip.responses)) == (22, 1, {"REGISTER": 22}, {})
    assert corpus.replay("ndpi_webex").calls == ()


def test_keep_alives_on_the_sip_port_are_no_messages(corpus: Corpus) -> None:
    sip = corpus.replay("ndpi_sip_hello").sip
    assert (sip.messages, dict(sip.methods), dict(sip.responses)) == (8, {"REGISTER": 4}, {"401": 2, "200": 2})
    assert sip.call_ids == 1


def test_fuzzed_capture_names_its_defects(corpus: Corpus) -> None:
    replay = corpus.replay("ndpi_fuzz_2006_06_26_2594")
    assert replay.capture.defects["ip_header_bad"] > 0
    assert sum(replay.sip.defects.values()) > 10
    assert 20 <= replay.sip.call_ids <= 30


def test_retransmitted_segments_give_no_message_twice(corpus: Corpus) -> None:
    sip = corpus.replay("heplify_sip_ipv4_tcp_retrans").sip
    assert (sip.messages, sip.call_ids, dict(sip.methods)) == (8, 1, {"REGISTER": 4})


@pytest.mark.parametrize(
    ("stem", "messages", "call_ids"), [("heplify_erspan_sip_ipv4_udp", 140, 7), ("heplify_ipip0", 8, 3)]
)
def test_signalling_inside_tunnels_is_read(corpus: Corpus, stem: str, messages: int, call_ids: int) -> None:
    sip = corpus.replay(stem).sip
    assert (sip.messages, sip.call_ids) == (messages, call_ids)


def test_call_over_sctp_with_several_bodies_failed(corpus: Corpus) -> None:
    (call,) = corpus.replay("heplify_sip_sctp").calls
    assert (call.state, call.status, call.legs[0].transport) == (CallState.FAILED, 403, "sctp")


def test_second_to_header_is_a_named_defect(corpus: Corpus) -> None:
    replay = corpus.replay("suri_sip_header_multi_value")
    assert replay.sip.defects["duplicate_to"] == 1
    assert len(replay.calls) == 1


def test_mirror_copies_are_named_and_counted_once(corpus: Corpus) -> None:
    found = {stream.ssrc: stream.mirror_copies for stream in corpus.replay("russo_sccp_dtmf_oob").streams}
    assert found == {0x0C686E39: 0, 0x000006A9: 10, 0x315D0E61: 5}
    assert corpus.codes("russo_sccp_dtmf_oob")["mirror_copies"] == 2


def test_copies_that_hide_losses_are_told_apart(corpus: Corpus) -> None:
    stream = corpus.only_stream("russo_rtp_lmr_g711ulaw_mcast_hoot")
    assert (stream.packets, stream.mirror_copies, stream.lost, stream.call_id) == (219, 2, 2, None)
    assert "multicast" in corpus.codes("russo_rtp_lmr_g711ulaw_mcast_hoot")


def test_duplicates_are_named_and_lose_nothing(corpus: Corpus) -> None:
    stream = corpus.only_stream("sipp_dtmf_2833_1")
    assert (stream.packets, stream.expected, stream.lost, stream.duplicates) == (10, 8, 0, 2)
    assert [event.event for event in stream.telephone_events] == [1]


def test_fax_numbering_that_ran_on_is_no_loss(corpus: Corpus) -> None:
    streams = {stream.ssrc: stream for stream in corpus.replay("ndpi_fax_call_t38_ca_tdm_sip_fb_1").streams}
    stream = streams[0x0EAF0EAF]
    assert (stream.packets, stream.lost) == (159, 0)
    assert sum(stream.not_network.values()) == 1712
    assert not {"burst_loss"} & {finding.code for finding in stream.findings}


def test_copies_of_signalling_are_known_as_such(corpus: Corpus) -> None:
    sip = corpus.replay("ndpi_fax_call_t38_ca_tdm_sip_fb_1").sip
    assert (sip.messages, sip.copies, sip.retransmissions) == (92, 23, 0)


def test_events_without_their_voice_are_no_loss(corpus: Corpus) -> None:
    stream = corpus.only_stream("russo_sip_dtmf_nte_rfc4733")
    assert (stream.packets, stream.lost, dict(stream.not_network)) == (86, 0, {"event_only": 195})
    assert [event.event for event in stream.telephone_events] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 11]
    assert "event_only" in corpus.codes("russo_sip_dtmf_nte_rfc4733")


def test_gateway_that_drops_voice_under_digits_loses_nothing(corpus: Corpus) -> None:
    streams = [each for each in corpus.replay("russo_dtmf_relay_digitdrop").streams if each.ssrc == 0x090DDF7B]
    assert {each.packets: (each.lost, dict(each.not_network)) for each in streams} == {
        337: (0, {"digits": 18}),
        355: (0, {}),
    }
    assert {each.packets: [event.event for event in each.telephone_events] for each in streams}[355] == [1, 2, 3]


def test_two_hops_of_one_call_are_two_media(corpus: Corpus) -> None:
    replay = corpus.replay("russo_dtmf_relay_digitdrop")
    assert len(replay.calls) == 1
    assert len(replay.calls[0].legs) == 2
    assert [(each.ssrc, each.placement.heard) for each in replay.streams if each.placement.role == "primary"] == [
        (0x090DDF7B, 2),
        (0xC639C9D4, 2),
    ]


def test_recording_is_two_media_in_three_places_and_one_call(corpus: Corpus) -> None:
    replay = corpus.replay("russo_sip_recording_ora")
    assert len(replay.calls) == 1
    assert len(replay.calls[0].legs) == 3
    places: dict[int, set[int]] = {}
    for stream in replay.streams:
        places.setdefault(stream.ssrc, set()).add(stream.placement.medium)
        assert stream.placement.heard == 3
    assert {ssrc: len(media) for ssrc, media in places.items()} == {0x1F367BFF: 1, 0xC0E1D031: 1}
    roles = Counter(stream.placement.role for stream in replay.streams)
    assert roles == {"primary": 2, "hop": 2, "fork": 2}


def test_music_to_a_group_is_named(corpus: Corpus) -> None:
    (music,) = [each for each in corpus.replay("russo_rtp_mcast_moh").streams if each.dst.ip == "239.1.1.1"]
    assert (music.packets, music.lost) == (10_027, 0)
    assert corpus.codes("russo_rtp_mcast_moh")["multicast"] == 1
    (call,) = corpus.replay("russo_rtp_mcast_moh").calls
    assert "hold" in {span.what for leg in call.legs for span in leg.spans}


def test_ssrc_used_for_several_destinations_is_several_streams(corpus: Corpus) -> None:
    replay = corpus.replay("russo_sip_hold_transfer")
    assert len(replay.streams) == 6
    assert sum(stream.lost for stream in replay.streams) == 0
    assert len([stream for stream in replay.streams if stream.ssrc == 0x00007A88]) == 3
    assert len({stream.placement.medium for stream in replay.streams}) == 6
    assert {stream.call_id for stream in replay.streams} == {replay.calls[0].call_id}


def test_fax_passed_through_changes_its_codec_without_loss(corpus: Corpus) -> None:
    streams = corpus.replay("russo_fax_sip_passthru_ogw").streams
    for stream in streams:
        assert (stream.lost, {change.new for change in stream.codec_changes} <= {"PCMU", "G729"}) == (0, True)
        assert stream.codec_changes
    assert corpus.codes("russo_fax_sip_passthru_ogw")["silence"] == 1


@pytest.mark.parametrize("stem", ["russo_sip_basic_do_183", "russo_sip_basic_eo_180"])
def test_silence_without_a_missing_number_is_no_loss(corpus: Corpus, stem: str) -> None:
    assert [stream.lost for stream in corpus.replay(stem).streams if stream.lost] == []
    assert max(stream.max_delta_ms or 0 for stream in corpus.replay(stem).streams) > 900


@pytest.mark.parametrize(
    ("stem", "codec", "clock_rate", "ptime_ms"),
    [
        ("russo_rtp_sip_g711ulaw_10ms", "PCMU", 8000, 10),
        ("russo_rtp_sip_isac", "ISAC", 16000, 30),
        ("russo_rtp_g729abr8", "G729", 8000, 20),
        ("sipp_g711a", "PCMA", 8000, 30),
        ("ast_a_party_g711a", "PCMA", 8000, 20),
    ],
)
def test_codec_clock_and_packet_time(corpus: Corpus, stem: str, codec: str, clock_rate: int, ptime_ms: float) -> None:
    for stream in corpus.replay(stem).streams:
        assert (stream.codec, stream.clock_rate, stream.ptime_ms) == (codec, clock_rate, ptime_ms)


@pytest.mark.parametrize(("stem", "packets"), [("ast_opus_fec_full", 3000), ("ast_opus1", 765)])
def test_clock_of_an_unannounced_payload_type_is_inferred(corpus: Corpus, stem: str, packets: int) -> None:
    stream = corpus.only_stream(stem)
    assert (stream.packets, stream.lost, stream.clock_rate) == (packets, 0, 48_000)
    assert (stream.codec, stream.clock_rate_source) == (None, "inferred")
    assert "clock_inferred" in corpus.codes(stem)


def test_digits_of_an_unannounced_stream_are_read(corpus: Corpus) -> None:
    digits = {event.event for event in corpus.only_stream("ast_opus1").telephone_events}
    assert set(range(10)) <= digits


def test_loss_of_a_carrier_is_a_burst(corpus: Corpus) -> None:
    stream = corpus.only_stream("ast_carrier_g711u")
    assert (stream.expected, stream.lost) == (814, 14)
    assert "burst_loss" in corpus.codes("ast_carrier_g711u")


def test_media_between_stun_and_dtls_is_found(corpus: Corpus) -> None:
    stream = corpus.only_stream("ndpi_stun_dtls_rtp")
    assert (stream.ssrc, stream.payload_types, stream.packets, stream.lost) == (0x6D1C3CFA, (111,), 11, 0)


def test_longer_session_interval_is_asked_for_once(corpus: Corpus) -> None:
    (call,) = corpus.replay("russo_sip_session_refresh_422").calls
    assert (call.state, len(call.legs)) == (CallState.COMPLETED, 1)
    assert dict(corpus.replay("russo_sip_session_refresh_422").sip.responses)["422"] == 1
    assert call.duration_ms == pytest.approx(1_339_270, abs=1)


def test_transfer_names_its_target(corpus: Corpus) -> None:
    (call,) = corpus.replay("russo_sip_refer_transfer").calls
    assert [leg.transferred_to is not None for leg in call.legs] == [True]


def test_garbage_fragments_give_nothing_and_are_counted(corpus: Corpus) -> None:
    replay = corpus.replay("ndpi_ip_fragmented_garbage")
    assert (replay.capture.packets, replay.streams, replay.calls) == (1252, (), ())
    assert sum(replay.capture.defects.values()) > 0
