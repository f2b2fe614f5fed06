"""The messages of RFC 4475 and RFC 5118: each VALID one parses to its values, each INVALID one is a named defect."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.protocols.sip import SipMessage, parse
from collector.protocols.sip_values import parse_uri

DEFECTS: dict[str, tuple[str, ...]] = {
    # RFC 4475 3.1.2: syntactically invalid
    "badaspec": ("addr_spec_whitespace",),
    "baddate": ("date_timezone",),
    "baddn": ("display_name_not_quoted", "header_end_missing"),  # the file lacks the empty line after its headers
    "badvers": ("version_unsupported",),
    "bigcode": ("status_code_out_of_range",),
    "escruri": ("request_uri_headers",),
    "lwsruri": ("request_uri_whitespace",),
    "lwsstart": ("start_line_whitespace",),
    "mismatch01": ("cseq_method_mismatch",),
    "mismatch02": ("cseq_method_mismatch",),
    "regbadct": ("name_addr_missing_brackets",),
    "scalarlg": ("cseq_out_of_range", "retry_after_out_of_range", "warning_code_out_of_range"),
    "trws": ("start_line_trailing_space",),
    # RFC 4475 3.3.1: mandatory headers missing
    "insuf": ("missing_call_id", "missing_from", "missing_to"),
    # RFC 5118 4.2, and 4.10: three colons are what the grammar of RFC 3261 makes, and no IPv6 address
    "ipv6-bad": ("ipv6_without_brackets",),
    "ipv6-bug-abnf-3-colons": ("ipv6_address_malformed",),
    # RFC 5118 4.6 as the folder has it: Content-Length 268, body 251
    "ipv6-in-sdp": ("content_length_mismatch",),
}
"""Everything not named here has no defect."""

START: dict[str, tuple[str, int, str, int, str]] = {
    # method, status, Request-URI, CSeq number, CSeq method
    "badaspec": ("OPTIONS", 0, "sip:user@example.org", 3923239, "OPTIONS"),
    "badbranch": ("OPTIONS", 0, "sip:user@example.com", 8, "OPTIONS"),
    "baddate": ("INVITE", 0, "sip:user@example.com", 1392934, "INVITE"),
    "baddn": ("OPTIONS", 0, "sip:t.watson@example.org", 3923239, "OPTIONS"),
    "badvers": ("OPTIONS", 0, "sip:t.watson@example.org", 1, "OPTIONS"),
    "bcast": ("", 200, "", 35, "INVITE"),
    "bext01": ("OPTIONS", 0, "sip:user@example.com", 8, "OPTIONS"),
    "bigcode": ("", 0, "", 353494, "INVITE"),
    "cparam01": ("REGISTER", 0, "sip:example.com", 2, "REGISTER"),
    "cparam02": ("REGISTER", 0, "sip:example.com", 3, "REGISTER"),
    "esc01": ("INVITE", 0, "sip:sips%3Auser%40example.com@example.net", 234234, "INVITE"),
    "escruri": ("INVITE", 0, "sip:user@example.com?Route=%3Csip:example.com%3E", 149209342, "INVITE"),
    "insuf": ("INVITE", 0, "sip:user@example.com", 193942, "INVITE"),
    "inv2543": ("INVITE", 0, "sip:UserB@example.com", 56, "INVITE"),
    "invut": ("INVITE", 0, "sip:user@example.com", 235448, "INVITE"),
    "ipv4-mapped-ipv6": ("INVITE", 0, "sip:user@example.com", 612, "INVITE"),
    "ipv6-bad": ("REGISTER", 0, "sip:2001:db8::10", 98176, "REGISTER"),
    "ipv6-bug-abnf-3-colons": ("OPTIONS", 0, "sip:user@[2001:db8:::192.0.2.1]", 689, "OPTIONS"),
    "ipv6-correct-abnf-2-colons": ("OPTIONS", 0, "sip:user@[2001:db8::192.0.2.1]", 689, "OPTIONS"),
    "ipv6-good": ("REGISTER", 0, "sip:[2001:db8::10]", 98176, "REGISTER"),
    "ipv6-in-sdp": ("INVITE", 0, "sip:user@[2001:db8::10]", 8612, "INVITE"),
    "longreq": ("INVITE", 0, "sip:user@example.com", 3882340, "INVITE"),
    "lwsruri": ("INVITE", 0, "sip:user@example.com; lr", 2130706432, "INVITE"),
    "lwsstart": ("INVITE", 0, "sip:user@example.com", 1893884, "INVITE"),
    "mismatch01": ("OPTIONS", 0, "sip:user@example.com", 8, "INVITE"),
    "mismatch02": ("NEWMETHOD", 0, "sip:user@example.com", 8, "INVITE"),
    "mult-ip-in-header": ("BYE", 0, "sip:user@host.example.net", 89187, "BYE"),
    "novelsc": ("OPTIONS", 0, "soap.beep://192.0.2.103:3002", 3923423, "OPTIONS"),
    "port-unambiguous": ("REGISTER", 0, "sip:[2001:db8::10]:5070", 98176, "REGISTER"),
    "regaut01": ("REGISTER", 0, "sip:example.com", 9338, "REGISTER"),
    "regbadct": ("REGISTER", 0, "sip:example.com", 1, "REGISTER"),
    "regescrt": ("REGISTER", 0, "sip:example.com", 14398234, "REGISTER"),
    "scalarlg": ("", 503, "", -1, "OPTIONS"),
    "sdp01": ("INVITE", 0, "sip:user@example.com", 8, "INVITE"),
    "semiuri": ("OPTIONS", 0, "sip:user;par=u%40example.net@example.com", 8, "OPTIONS"),
    "transports": ("OPTIONS", 0, "sip:user@example.com", 60, "OPTIONS"),
    "trws": ("OPTIONS", 0, "sip:remote-target@example.com", 238923, "OPTIONS"),
    "unkscm": ("OPTIONS", 0, "nobodyKnowsThisScheme:totallyopaquecontent", 3923423, "OPTIONS"),
    "unksm2": ("REGISTER", 0, "sip:example.com", 234902, "REGISTER"),
    "via-received-param-no-delim": ("OPTIONS", 0, "sip:[2001:db8::10]", 921, "OPTIONS"),
    "via-received-param-with-delim": ("BYE", 0, "sip:[2001:db8::10]", 321, "BYE"),
    "wsinv": ("INVITE", 0, "sip:vivekg@chair-dnrc.example.com;unknownparam", 9, "INVITE"),
    "zeromf": ("OPTIONS", 0, "sip:user@example.com", 39234321, "OPTIONS"),
}

IDENTITY: dict[str, tuple[str, str, str, str]] = {
    # Call-ID, From tag, To tag, branch of the top Via
    "badbranch": ("badbranch.sadonfo23i420jv0as0derf3j3n", "33242", "", "z9hG4bK"),
    "bcast": ("bcast.0384840201234ksdfak3j2erwedfsASdf", "11141343", "2229", "z9hG4bK1324923"),
    "bigcode": ("bigcode.asdof3uj203asdnf3429uasdhfas3ehjasdfas9i", "39ansfi3", "902jndnke3", "z9hG4bK2398ndaoe"),
    "esc01": ("esc01.239409asdfakjkn23onasd0-3234", "938", "", "z9hG4bKkdjuw"),
    "insuf": ("", "", "", "z9hG4bKkdj.insuf"),
    "inv2543": ("inv2543.1717@ift.client.example.com", "", "", ""),
    "lwsruri": ("lwsruri.asdfasdoeoi2323-asdfwrn23-asd834rk423", "231413434", "3xfe-9921883-z9f", "z9hG4bKkdjuw2395"),
    "mult-ip-in-header": ("997077@lau_4100", "81x2", "9817--94", "z9hG4bKas3-111"),
    "scalarlg": ("scalarlg.noase0of0234hn2qofoaf0232aewf2394r", "2easdjfejw", "", "z9hG4bKzzxdiwo34sw"),
    "unksm2": ("unksm2.daksdj@hyphenated-host.example.com", "3234233", "", "z9hG4bKkdjuw"),
    "wsinv": ("wsinv.ndaksdj@192.0.2.1", "98asjd8", "1918181833n", "390skdjuw"),
}


def message(shared: Path, name: str) -> SipMessage:
    return parse((shared / "torture" / f"{name}.dat").read_bytes())


def test_the_tables_name_every_message_of_the_folder(shared: Path) -> None:
    assert {path.stem for path in (shared / "torture").glob("*.dat")} == set(START)


@pytest.mark.parametrize("name", START)
def test_each_torture_message_has_exactly_its_defects(shared: Path, name: str) -> None:
    assert sorted(message(shared, name).defects) == sorted(DEFECTS.get(name, ()))


@pytest.mark.parametrize("name", START)
def test_each_torture_message_is_listed_with_its_start_line_and_cseq(shared: Path, name: str) -> None:
    found = message(shared, name)
    assert (found.method, found.status, found.request_uri, found.cseq, found.cseq_method) == START[name]


@pytest.mark.parametrize("name", IDENTITY)
def test_each_torture_message_is_listed_with_its_identity(shared: Path, name: str) -> None:
    found = message(shared, name)
    assert (found.call_id, found.from_tag, found.to_tag, found.branch) == IDENTITY[name]


def test_wsinv_is_read_through_its_folds_blanks_and_escapes(shared: Path) -> None:
    found = message(shared, "wsinv")
    assert found.from_ is not None
    assert found.from_.display == 'J Rosenberg \\"'
    assert found.from_.uri.text == "sip:jdrosen@example.com"
    assert found.header("max-forwards") == "0068"
    assert found.header("subject") == ""
    assert found.header("NewFangledHeader") == "newfangled value continued newfangled value"
    assert found.headers("UnknownHeaderWithUnusualValue") == [";;,,;;,;"]
    assert [(via.transport, via.host, via.port, via.params["branch"]) for via in found.via] == [
        ("UDP", "192.0.2.2", None, "390skdjuw"),
        ("TCP", "spindle.example.com", None, "z9hG4bK9ikj8"),
        ("UDP", "192.168.255.111", None, "z9hG4bK30239"),
    ]
    (contact,) = found.contacts
    assert contact.display == 'Quoted string ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": "", "q": "0.33"}
    assert len(found.body) == 150
    assert found.sdp_body() == found.body


def test_esc01_escapes_are_undone_in_users_and_parameters(shared: Path) -> None:
    found = message(shared, "esc01")
    assert found.to is not None
    assert found.to.uri.user == "user"
    assert found.from_ is not None
    assert found.from_.uri.user == "I have spaces"
    (contact,) = found.contacts
    assert contact.uri.user == "caller"
    assert contact.uri.params == {"lr": "", "name": "value%41"}
    assert found.content_type == "application/sdp"


def test_semiuri_semicolons_before_the_at_belong_to_the_user(shared: Path) -> None:
    uri, defects = parse_uri(message(shared, "semiuri").request_uri)
    assert (uri.user, uri.host, uri.params, defects) == ("user;par=u@example.net", "example.com", {}, ())
    assert message(shared, "semiuri").headers("accept") == [
        "application/sdp",
        "application/pkcs7-mime",
        "multipart/mixed",
        "multipart/signed",
        "message/sip",
        "message/sipfrag",
    ]


def test_longreq_lists_all_its_vias_in_any_spelling(shared: Path) -> None:
    found = message(shared, "longreq")
    assert [via.host for via in found.via] == [f"sip{n}.example.com" for n in range(33, 0, -1)] + ["host.example.com"]
    assert found.via[-1].params["received"] == "192.0.2.5"
    assert found.to is not None
    assert found.to.uri.port == 6000


def test_parameters_outside_brackets_are_the_headers_and_inside_the_uris(shared: Path) -> None:
    (outside,) = message(shared, "cparam01").contacts
    (inside,) = message(shared, "cparam02").contacts
    assert (outside.params, outside.uri.params) == ({"unknownparam": ""}, {})
    assert (inside.params, inside.uri.params) == ({}, {"unknownparam": ""})


def test_regescrt_headers_in_a_contact_are_unescaped(shared: Path) -> None:
    (contact,) = message(shared, "regescrt").contacts
    assert contact.uri.headers == {"route": "<sip:sip.example.com>"}


def test_unksm2_addresses_of_unknown_schemes_keep_their_text(shared: Path) -> None:
    found = message(shared, "unksm2")
    assert found.to is not None
    assert found.from_ is not None
    assert [a.uri.text for a in (found.to, found.from_, *found.contacts)] == [
        "isbn:2983792873",
        "http://www.example.com",
        "name:John_Smith",
    ]


@pytest.mark.parametrize(
    ("name", "host", "port", "received"),
    [
        ("ipv6-good", "2001:db8::9:1", None, None),
        ("via-received-param-with-delim", "2001:db8::9:1", None, "[2001:db8::9:255]"),
        ("via-received-param-no-delim", "2001:db8::9:1", None, "2001:db8::9:255"),
        ("ipv4-mapped-ipv6", "::ffff:192.0.2.10", 19823, None),
        ("mult-ip-in-header", "2001:db8::9:1", 6050, None),
    ],
)
def test_ipv6_in_via(shared: Path, name: str, host: str, port: int | None, received: str | None) -> None:
    top = message(shared, name).via[0]
    assert (top.host, top.port, top.params.get("received")) == (host, port, received)


def test_a_port_after_a_bracketed_address_is_unambiguous(shared: Path) -> None:
    uri, _ = parse_uri(message(shared, "port-unambiguous").request_uri)
    assert (uri.host, uri.port) == ("2001:db8::10", 5070)


def test_octets_past_content_length_are_no_part_of_the_body(shared: Path) -> None:
    assert len(message(shared, "ipv4-mapped-ipv6").body) == 236


def test_a_body_shorter_than_its_content_length_is_given_as_far_as_it_goes(shared: Path) -> None:
    found = message(shared, "ipv6-in-sdp")
    assert len(found.body) == 251
    assert found.sdp_body() == found.body
