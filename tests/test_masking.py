"""People's numbers and digits stay hidden, and nothing of them can be won back."""

from __future__ import annotations

import pytest
from builders import START, failed_call, make_call, make_far_end, make_leg, make_replay, make_stream
from hypothesis import given
from hypothesis import strategies as st

from api.masking import MASKED_DIGIT, Pseudonyms, mask_call, mask_event, mask_rated, mask_replay
from api.rated import rate_replay
from collector.facts import Finding, Reason, TelephoneEvent


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
    ],
)
def test_a_uri_keeps_its_host_and_loses_its_person(uri: str, masked: str) -> None:
    assert Pseudonyms().uri(uri) == masked


def test_one_number_has_one_name_however_it_is_written() -> None:
    names = Pseudonyms()
    written = ["sip:+441632960001@a", "tel:+44-1632-960-001", "sip:+44(1632)960001@b"]
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


def test_a_choice_of_calls_does_not_change_the_names() -> None:
    rated = rate_replay(make_replay(calls=(make_call(), failed_call())))
    whole = mask_rated(rated, Pseudonyms())
    chosen = mask_rated(rated._replace(calls=rated.calls[1:]), Pseudonyms())
    assert chosen.calls[0].call.from_uri == whole.calls[1].call.from_uri == "sip:p3@10.1.4.8"
