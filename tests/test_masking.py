"""People's numbers and digits stay hidden, and nothing of them can be won back."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from builders import START, failed_call, make_call, make_far_end, make_leg, make_replay, make_stream
from hypothesis import given
from hypothesis import strategies as st

from api.masking import MASKED_DIGIT, OWN_WORDS, Pseudonyms, mask_call, mask_event, mask_rated, mask_replay, name_people
from api.rated import rate_replay
from collector.facts import CodecChange, CodecFormat, Endpoint, Finding, NegotiatedMedia, Reason, TelephoneEvent


@pytest.mark.parametrize(
    ("uri", "masked"),
    [
        ("sip:+441632960001@10.1.4.7", "sip:p1@10.1.4.7"),
        ("sips:alice:secret@example.org:5061;transport=tls", "sips:p1@example.org:5061"),
        ('"Alice Smith" <sip:alice@example.org>;tag=1', "sip:p1@example.org"),
        ("tel:+44-1632-960-001;phone-context=+44", "tel:p1"),
        ("sip:alice@[2001:db8::1]:5060", "sip:p1@[2001:db8::1]:5060"),
        ("sip:10.1.4.7", "sip:10.1.4.7"),
        ("sip:anonymous@anonymous.invalid", "sip:anonymous@anonymous.invalid"),
        ("sip:999@pbx", "sip:999@pbx"),
        ("tel:112", "tel:112"),
        ("1001", "p1"),
        ("", ""),
        ("urn:service:sos", "urn:service:sos"),
        ("sip:+447700900111;phone-context=x@jroe.example;user=phone", "sip:p1@jroe.example"),
        ("sip:+358-555-1234567;postd=pp22@foo.com;user=phone", "sip:p1@foo.com"),
        ("sip:+14085551212;rn=+14085550100;npdi@carrier.net", "sip:p1@carrier.net"),
        ("sip:07700900111,99@h", "sip:p1@h"),
        ("sip:07700900111?x@h", "sip:p1@h"),
        ("sip:jane;roe@h", "sip:p1@h"),
        ("sip:o'brien.jane@h", "sip:p1@h"),
        ("sip:a&b=c+d$e!f~g*h(i)/j@h", "sip:p1@h"),
        ("sip:jane@roe@h", "sip:p1@h"),
        ("sip:447700900111", "sip:p1"),
        ("sip:447700900111:5060", "sip:p1"),
        ("sip:x@447700900111", "sip:p1@p2"),
        ("sip:+447700900111 @h", "sip:p1@h"),
        ("sip:jane\troe@h", "sip:p1@h"),
        ('sip:ja"ne<roe>@h', "sip:p1@h"),
        ("sip: jane roe", "sip:p1"),
        ("sip:+447700900111@jane roe", "sip:p1"),
        ("sip:jane.roe", "sip:p1"),
        ("sip:999;x=jane@h", "sip:999@h"),
        ("tel:07700 900 111", "tel:p1"),
        ("mailto:jane@h", "p1"),
    ],
)
def test_a_uri_keeps_its_host_and_loses_its_person(uri: str, masked: str) -> None:
    assert Pseudonyms().uri(uri) == masked


def test_one_number_has_one_name_however_it_is_written() -> None:
    names = Pseudonyms()
    written = ["sip:+441632960001@a", "tel:+44-1632-960-001", "sip:+44(1632)960001@b"]
    written += ["sip:00441632960001@c", "sip:441632960001;npdi@d", "sip:%2B441632960001:secret@e"]
    assert {names.uri(uri).partition(":")[2].partition("@")[0] for uri in written} == {"p1"}
    assert names.uri("sip:+441632960002@a") == "sip:p2@a"


@given(st.text(st.sampled_from("0123456789"), min_size=4, max_size=15).filter(lambda user: user not in ("0000",)))
def test_a_name_holds_nothing_of_the_number(user: str) -> None:
    assert Pseudonyms().uri(f"sip:{user}@h") == "sip:p1@h"


def test_known_numbers_and_uris_are_found_in_free_text() -> None:
    names = Pseudonyms()
    names.uri("sip:+441632960001@a")
    assert names.text("moved to sip:bob@b, was +441632960001") == "moved to sip:p2@b, was p1"
    assert names.text("404 of 1200 packets") == "404 of 1200 packets"


USER_SIGNS = st.characters(codec="utf-8")


@given(st.text(USER_SIGNS, max_size=20), st.text(USER_SIGNS, max_size=20))
def test_whatever_stands_around_a_number_it_is_masked(before: str, after: str) -> None:
    for value in (
        f"sip:{before}7700900111{after}@h",
        f"sip:{before}7700900111{after}",
        f"tel:{before}7700900111{after}",
    ):
        assert "7700900111" not in Pseudonyms().uri(value)
        assert "7700900111" not in Pseudonyms().text(value)


@pytest.mark.parametrize(
    "written",
    [
        "447700900111",
        "07700900111",
        "+44 7700 900111",
        "07700 900111",
        "07700-900-777",
        "(07700) 900.777",
        "07700/900777",
    ],
)
def test_a_number_in_free_text_is_masked_in_every_spelling(written: str) -> None:
    names = Pseudonyms()
    names.uri("sip:+447700900111@h")
    masked = names.text(f"call to {written}, unknown")
    assert masked in ("call to p1, unknown", "call to ***, unknown")


def test_names_inside_a_user_part_are_found_in_free_text() -> None:
    names = Pseudonyms()
    names.uri("sip:jane.roe@h")
    assert names.text("Jane Roe rejected") == "p1 p1 rejected"
    assert names.text("ROE, jane@elsewhere, sip:proxy then john@h") == "p1, p2@elsewhere, sip:p3@h"


@pytest.mark.parametrize(
    ("status", "phrase", "shown"),
    [
        (404, "Subscriber 07700-900-777 Jane Roe unknown", "Not Found"),
        (486, "Busy here", "Busy Here"),
        (480, "Temporarily not available", "Temporarily not available"),
        (503, "SERVICE_UNAVAILABLE", "SERVICE_UNAVAILABLE"),
        (499, "Jane", "Client Error"),
        (200, "", ""),
    ],
)
def test_a_phrase_that_a_device_made_up_gives_way_to_the_standard_one(status: int, phrase: str, shown: str) -> None:
    masked = mask_call(make_call(status=status, status_text=phrase), Pseudonyms()).status_text
    assert masked is not None
    assert masked.casefold() == shown.casefold()


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (Reason("Q.850", 1, "07700900999 unknown"), "Unallocated (unassigned) number"),
        (Reason("SIP", 200, "Call completed elsewhere"), "Call completed elsewhere"),
        (Reason("SIP", 404, "Jane Roe is out"), "Not Found"),
        (Reason("Q.850", None, "Jane Roe is out"), ""),
    ],
)
def test_a_reason_that_a_device_made_up_gives_way_to_the_standard_one(reason: Reason, shown: str) -> None:
    masked = mask_call(make_call(reason=reason), Pseudonyms()).reason
    assert masked is not None
    assert masked.text == shown


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ("0-15", "0-15"),
        ("0-15,66,70", "0-15,66,70"),
        ("mode=20", "mode=20"),
        ("maxaveragebitrate=20000", "maxaveragebitrate=20000"),
        ("max-mbps=11880000", "max-mbps=11880000"),
        ("111/111/111", "111/111/111"),
        ("0-15;07700900111", "0-15;***"),
        ("x=07700900111", "x=***"),
        ("x=+447700900111", "x=***"),
        ("x=sip:jane@h", "sip:p1@h"),
    ],
)
def test_parameters_of_a_codec_hold_no_number_of_a_person(parameters: str, shown: str) -> None:
    assert Pseudonyms().media(parameters) == shown


def test_what_a_device_names_freely_in_its_media_is_masked() -> None:
    number = "07700900111"
    codec = CodecFormat(f"X-{number}", 8000, 1, number)
    media = NegotiatedMedia(
        Endpoint(number, 4000), number, f"RTP/{number}", {96: codec}, None, "sendrecv", None, "caller", START, None
    )
    call = make_call(legs=(make_leg(media=(media,)),))
    change = CodecChange(START, "PCMA", codec.name)
    findings = (Finding("codec_change", f"codec changed from PCMA to {codec.name}"),)
    stream = make_stream(codec=codec.name, codec_changes=(change,), findings=findings)
    rated = mask_rated(rate_replay(make_replay(calls=(call,), streams=(stream,))), Pseudonyms())
    assert number not in repr(rated)


def test_methods_that_a_device_made_up_are_counted_together() -> None:
    counted = {"INVITE": 2, "07700900111": 1, "JANE": 3, "other": 1}
    sip = replace(make_replay().sip, methods=counted, transactions=counted)
    masked = mask_replay(make_replay(sip=sip), Pseudonyms()).sip
    assert masked.methods == masked.transactions == {"INVITE": 2, "other": 5}


def test_our_own_sentences_keep_their_numbers() -> None:
    own = Finding("one_way_audio", "one-way audio from 10.123.45.67")
    changed = Finding("codec_change", "codec changed from G726-32 to AAL2-G726-40")
    call = make_call(findings=(own, changed))
    assert mask_call(call, Pseudonyms()).findings == (own, changed)
    assert set(OWN_WORDS) < documented_codes()


def documented_codes() -> set[str]:
    text = (Path(__file__).resolve().parents[1] / "docs" / "output.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(\w+)` \|", text.partition("findings: begin")[2], re.MULTILINE))


def test_all_texts_of_a_call_are_masked() -> None:
    leg = make_leg(
        transferred_to="sip:carol@c",
        status_text="Try sip:dave@d",
        reason=Reason("SIP", 302, "to sip:erin@e"),
        findings=(Finding("x", "sip:frank@f"),),
    )
    call = make_call(legs=(leg,), status_text="Try sip:dave@d", findings=(Finding("y", "sip:grace@g"),))
    shown = repr(mask_call(call, Pseudonyms()))
    for person in ("carol", "dave", "erin", "frank", "grace", "1632960"):
        assert person not in shown


def test_digits_are_hidden_and_flash_is_not() -> None:
    digit, flash = (TelephoneEvent(START, event, 80.0, -8, 4, True) for event in (11, 16))
    assert mask_event(digit).event == MASKED_DIGIT
    assert mask_event(digit).duration_ms == 80.0
    assert mask_event(flash) == flash


def test_the_person_in_a_cname_is_masked() -> None:
    replay = mask_replay(make_replay(streams=(make_stream(far_end=make_far_end()),)), Pseudonyms())
    far_end = replay.streams[0].far_end
    assert far_end is not None
    assert far_end.cname is not None
    assert far_end.cname.endswith("@10.9.0.2")
    assert "alice" not in far_end.cname


def test_a_cname_that_is_a_uri_has_the_name_of_its_person() -> None:
    far_end = make_far_end()._replace(cname="sip:+441632960001@10.1.4.7")
    replay = mask_replay(make_replay(calls=(make_call(),), streams=(make_stream(far_end=far_end),)), Pseudonyms())
    assert replay.streams[0].far_end is not None
    assert replay.streams[0].far_end.cname == replay.calls[0].from_uri == "sip:p1@10.1.4.7"


@pytest.mark.parametrize(("cname", "shown"), [("07700900111", "p3"), ("10.9.0.2", "10.9.0.2"), ("jane@h", "p3@h")])
def test_a_cname_without_a_host_may_be_a_person(cname: str, shown: str) -> None:
    far_end = make_far_end()._replace(cname=cname)
    masked = mask_replay(make_replay(calls=(make_call(),), streams=(make_stream(far_end=far_end),)), Pseudonyms())
    assert masked.streams[0].far_end is not None
    assert masked.streams[0].far_end.cname == shown


def test_names_follow_the_order_of_the_calls_whatever_is_printed_first() -> None:
    calls = (make_call(), failed_call(), make_call(from_uri="sip:jane;roe@h", to_uri="sips:+441632960001@x"))
    names = Pseudonyms()
    name_people(make_replay(calls=calls), names)
    assert [names.uri(call.from_uri) for call in reversed(calls)] == [
        "sip:p4@h",
        "sip:p3@10.1.4.8",
        "sip:p1@10.1.4.7",
    ]
    assert names.uri(calls[2].to_uri) == "sips:p1@x"


def test_a_choice_of_calls_does_not_change_the_names() -> None:
    rated = rate_replay(make_replay(calls=(make_call(), failed_call())))
    whole = mask_rated(rated, Pseudonyms())
    chosen = mask_rated(rated._replace(calls=rated.calls[1:]), Pseudonyms())
    assert chosen.calls[0].call.from_uri == whole.calls[1].call.from_uri == "sip:p3@10.1.4.8"
