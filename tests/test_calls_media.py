"""Offer and answer as the calls tell them: endpoints in time, hold, T.38, refreshes, relays."""

from __future__ import annotations

from sip_scenario import ALICE, BOB, CAROL, PROXY, Scenario, at, limited, sdp, seconds

from collector.calls import CallAssembler
from collector.facts import CodecFormat, Endpoint, Leg


def announced(leg: Leg) -> list[tuple[str, str, int, str, float | None, float | None]]:
    return [
        (m.role, m.endpoint.ip, m.endpoint.port, m.direction, seconds(m.since), seconds(m.until)) for m in leg.media
    ]


def spans(leg: Leg) -> list[tuple[str, float | None, float | None]]:
    return [(span.what, seconds(span.start), seconds(span.end)) for span in leg.spans]


def re_invite(scenario: Scenario, when: float, cseq: int, offer: str, answer: str) -> None:
    scenario.request(when, ALICE, BOB, "INVITE", cseq, to_tag="b", body=offer)
    scenario.response(when + 0.2, BOB, ALICE, 200, "OK", cseq=cseq, body=answer)
    scenario.request(when + 0.3, ALICE, BOB, "ACK", cseq, to_tag="b")


def test_offer_and_answer_hold_from_their_sending_to_the_end_of_the_call() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.hang_up(20)
    leg = scenario.leg()
    assert announced(leg) == [
        ("caller", "10.1.0.1", 4000, "sendrecv", 0.0, 20.0),
        ("callee", "10.1.0.2", 5000, "sendrecv", 3.0, 20.0),
    ]
    offered = leg.media[0]
    assert offered.formats == {8: CodecFormat("PCMA", 8000), 101: CodecFormat("TELEPHONE-EVENT", 8000)}
    assert (offered.kind, offered.protocol, offered.ptime_ms) == ("audio", "RTP/AVP", 20)
    assert offered.rtcp == Endpoint("10.1.0.1", 4001)


def test_early_media_is_announced_once_when_the_answer_repeats_it() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", body=sdp())
    scenario.response(1, BOB, ALICE, 183, "Session Progress", body=sdp("10.1.0.2", 5000))
    scenario.response(9, BOB, ALICE, 200, "OK", body=sdp("10.1.0.2", 5000))
    assert announced(scenario.leg())[1:] == [("callee", "10.1.0.2", 5000, "sendrecv", 1.0, None)]


def test_a_second_provisional_response_may_bring_the_description() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", body=sdp())
    scenario.response(1, BOB, ALICE, 183, "Session Progress")
    scenario.response(2, BOB, ALICE, 183, "Session Progress", body=sdp("10.1.0.2", 5000))
    leg = scenario.leg()
    assert (len(leg.media), leg.retransmissions) == (2, 0)


def test_a_delayed_offer_is_answered_in_the_ack() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE")
    scenario.response(3, BOB, ALICE, 200, "OK", body=sdp("10.1.0.2", 5000))
    scenario.request(3.1, ALICE, BOB, "ACK", to_tag="b", body=sdp())
    assert announced(scenario.leg()) == [
        ("callee", "10.1.0.2", 5000, "sendrecv", 3.0, None),
        ("caller", "10.1.0.1", 4000, "sendrecv", 3.1, None),
    ]


def test_hold_lasts_from_the_request_that_holds_to_the_answer_that_resumes() -> None:
    scenario = Scenario()
    scenario.answered()
    re_invite(scenario, 10, 2, sdp(direction="sendonly"), sdp("10.1.0.2", 5000, direction="recvonly"))
    re_invite(scenario, 30, 3, sdp(), sdp("10.1.0.2", 5000))
    scenario.hang_up(40)
    leg = scenario.leg()
    assert spans(leg) == [("hold", 10.0, 30.2)]
    assert scenario.assembler.book.spans(leg.call_id) == leg.spans


def test_hold_by_an_address_of_zeros_keeps_no_endpoint_of_zeros_in_the_book() -> None:
    scenario = Scenario()
    scenario.answered()
    re_invite(scenario, 10, 2, sdp("0.0.0.0"), sdp("10.1.0.2", 5000))
    leg = scenario.leg()
    assert spans(leg) == [("hold", 10.0, None)]
    nowhere = Endpoint("0.0.0.0", 4000)
    assert scenario.assembler.book.lookup(Endpoint("10.1.0.2", 5000), nowhere, at(11), at(12)) is not None
    assert scenario.assembler.book.lookup(Endpoint("192.0.2.1", 9), nowhere, at(11), at(12)) is None


def test_hold_and_resume_by_update() -> None:
    scenario = Scenario()
    scenario.answered()
    for when, cseq, direction in ((10, 2, "inactive"), (20, 3, "sendrecv")):
        scenario.request(when, ALICE, BOB, "UPDATE", cseq, to_tag="b", body=sdp(direction=direction))
        answer = sdp("10.1.0.2", 5000, direction=direction)
        scenario.response(when + 0.5, BOB, ALICE, 200, "OK", "UPDATE", cseq, body=answer)
    assert spans(scenario.leg()) == [("hold", 10.0, 20.5)]


def test_hold_that_ends_with_the_call() -> None:
    scenario = Scenario()
    scenario.answered()
    re_invite(scenario, 10, 2, sdp(direction="inactive"), sdp("10.1.0.2", 5000, direction="inactive"))
    scenario.hang_up(15)
    assert spans(scenario.leg()) == [("hold", 10.0, 15.0)]


def test_music_from_a_group_to_two_listeners_is_still_hold() -> None:
    scenario = Scenario()
    scenario.answered()
    re_invite(scenario, 10, 2, sdp("239.1.1.1", direction="recvonly"), sdp("239.1.1.1", direction="recvonly"))
    assert spans(scenario.leg()) == [("hold", 10.0, None)]


def test_a_call_that_begins_one_way_is_not_on_hold() -> None:
    scenario = Scenario()
    scenario.answered(offer=sdp(direction="sendonly"), answer=sdp("10.1.0.2", 5000, direction="recvonly"))
    re_invite(scenario, 10, 2, sdp(port=4100, direction="sendonly"), sdp("10.1.0.2", 5000, direction="recvonly"))
    scenario.hang_up(20)
    assert spans(scenario.leg()) == []


def test_a_resume_by_delayed_offer_ends_hold_with_the_ack() -> None:
    scenario = Scenario()
    scenario.answered()
    re_invite(scenario, 10, 2, sdp("0.0.0.0", direction="inactive"), sdp("10.1.0.2", 5000, direction="inactive"))
    scenario.request(12, ALICE, BOB, "INVITE", 3, to_tag="b")
    scenario.response(12.1, BOB, ALICE, 200, "OK", cseq=3, body=sdp("10.1.0.2", 5000))
    scenario.request(12.4, ALICE, BOB, "ACK", 3, to_tag="b", body=sdp("10.1.0.7", 7000))
    leg = scenario.leg()
    assert spans(leg) == [("hold", 10.0, 12.4)]
    assert announced(leg)[-1] == ("caller", "10.1.0.7", 7000, "sendrecv", 12.4, None)


def test_a_new_codec_and_port_replace_the_old_from_the_offer_on() -> None:
    scenario = Scenario()
    scenario.answered()
    re_invite(scenario, 10, 2, sdp(port=4200, formats="0"), sdp("10.1.0.2", 5000, formats="0"))
    assert announced(scenario.leg()) == [
        ("caller", "10.1.0.1", 4000, "sendrecv", 0.0, 10.0),
        ("callee", "10.1.0.2", 5000, "sendrecv", 3.0, 10.2),
        ("caller", "10.1.0.1", 4200, "sendrecv", 10.0, None),
        ("callee", "10.1.0.2", 5000, "sendrecv", 10.2, None),
    ]


def test_an_accepted_switch_to_t38_and_back_is_a_span() -> None:
    scenario = Scenario()
    scenario.answered()
    re_invite(scenario, 10, 2, sdp(port=4000, media="image"), sdp("10.1.0.2", 5000, media="image"))
    re_invite(scenario, 40, 3, sdp(), sdp("10.1.0.2", 5000))
    scenario.hang_up(50)
    leg = scenario.leg()
    assert spans(leg) == [("t38", 10.0, 40.2)]
    assert [media.kind for media in leg.media] == ["audio", "audio", "image", "image", "audio", "audio"]


def test_a_refused_switch_to_t38_is_remembered_and_changes_nothing() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.request(10, BOB, ALICE, "INVITE", 1, from_tag="b", to_tag="a", body=sdp("10.1.0.2", 5000, media="image"))
    scenario.response(10.2, ALICE, BOB, 488, "Not Acceptable Here", cseq=1, from_tag="b", to_tag="a")
    scenario.request(10.3, BOB, ALICE, "ACK", 1, from_tag="b", to_tag="a", branch="z9hG4bK-1-b")
    scenario.hang_up(20)
    leg = scenario.leg()
    assert (spans(leg), leg.status) == ([("t38_offer", 10.0, 10.2)], 200)
    assert [media.kind for media in leg.media] == ["audio", "audio"]


def test_session_refreshes_are_spans_and_leave_the_media_alone() -> None:
    scenario = Scenario()
    scenario.answered()
    re_invite(scenario, 900, 2, sdp(version=2), sdp("10.1.0.2", 5000, version=2))
    without_ptime = sdp(version=3).replace("a=ptime:20\r\n", "")
    re_invite(scenario, 1000, 3, without_ptime, sdp("10.1.0.2", 5000, version=2))
    scenario.request(1800, BOB, ALICE, "UPDATE", 1, from_tag="b", to_tag="a", headers=("Session-Expires: 1800",))
    scenario.response(1800.1, ALICE, BOB, 200, "OK", "UPDATE", 1, from_tag="b", to_tag="a")
    leg = scenario.leg()
    assert spans(leg) == [("refresh", 900.0, 900.2), ("refresh", 1000.0, 1000.2), ("refresh", 1800.0, 1800.1)]
    assert [(media.role, media.ptime_ms) for media in leg.media] == [("caller", 20), ("callee", 20), ("caller", None)]


def test_a_relay_announces_its_own_endpoints_on_the_other_hop() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE", body=sdp("10.1.0.1", 4000))
    scenario.request(0.01, PROXY, BOB, "INVITE", branch="z9hG4bK-hop2", body=sdp("10.9.9.9", 30000))
    scenario.response(2, BOB, PROXY, 200, "OK", branch="z9hG4bK-hop2", body=sdp("10.1.0.2", 5000))
    scenario.response(2.01, PROXY, ALICE, 200, "OK", body=sdp("10.9.9.9", 30002))
    endpoints = {(media.role, media.endpoint) for media in scenario.leg().media}
    assert endpoints == {
        ("caller", Endpoint("10.1.0.1", 4000)),
        ("caller", Endpoint("10.9.9.9", 30000)),
        ("callee", Endpoint("10.1.0.2", 5000)),
        ("callee", Endpoint("10.9.9.9", 30002)),
    }


def test_a_side_heard_on_another_hop_first_replaces_what_it_announced_before() -> None:
    scenario = Scenario()
    scenario.answered()
    scenario.request(10, PROXY, BOB, "INVITE", 2, to_tag="b", body=sdp(port=4100))
    scenario.response(10.1, BOB, PROXY, 200, "OK", cseq=2, body=sdp("10.1.0.2", 5100))
    assert [media.endpoint.port for media in scenario.leg().media if media.until is None] == [4100, 5100]


def test_what_losing_forks_announced_ends_when_another_answers() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE", body=sdp())
    scenario.response(1, BOB, PROXY, 183, "Session Progress", to_tag="b", body=sdp("10.1.0.2", 5000))
    scenario.response(1.5, CAROL, PROXY, 183, "Session Progress", to_tag="c", body=sdp("10.1.0.3", 6000))
    scenario.response(4, CAROL, PROXY, 200, "OK", to_tag="c", body=sdp("10.1.0.3", 6000))
    assert announced(scenario.leg())[1:] == [
        ("callee", "10.1.0.2", 5000, "sendrecv", 1.0, 4.0),
        ("callee", "10.1.0.3", 6000, "sendrecv", 1.5, None),
    ]


def test_a_refused_media_line_is_not_announced() -> None:
    scenario = Scenario()
    video = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    scenario.answered(offer=sdp() + video.replace("video 0", "video 4002"), answer=sdp("10.1.0.2", 5000) + video)
    assert [(media.role, media.kind) for media in scenario.leg().media] == [
        ("caller", "audio"),
        ("caller", "video"),
        ("callee", "audio"),
    ]


def test_a_body_that_is_no_sdp_is_a_counted_defect_of_the_leg() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", body="what is this")
    leg = scenario.leg()
    assert leg.media == ()
    assert sum(leg.defects.values()) == 1


def test_media_of_a_failed_call_ends_with_it() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", body=sdp())
    scenario.response(2, BOB, ALICE, 486, "Busy Here")
    assert announced(scenario.leg()) == [("caller", "10.1.0.1", 4000, "sendrecv", 0.0, 2.0)]


def test_the_announcements_of_a_leg_are_bounded_and_the_rest_is_counted() -> None:
    scenario = Scenario(assembler=limited(max_media=4))
    scenario.answered()
    for number in range(10):
        offer, answer = sdp(port=6000 + 2 * number), sdp("10.1.0.2", 7000 + 2 * number)
        re_invite(scenario, 10 + number, 2 + number, offer, answer)
    leg = scenario.leg()
    assert len(leg.media) == 4
    (finding,) = [finding for finding in leg.findings if finding.code == "media_not_listed"]
    assert finding.packets == 18


def test_calls_share_one_mapping_of_equal_formats() -> None:
    assembler = CallAssembler()
    for number in range(2):
        Scenario(call_id=f"call-{number}", assembler=assembler).answered()
    first, second = (call.legs[0].media[0].formats for call in assembler.finish(at(10))[0])
    assert first is second


def test_ipv6_endpoints_are_written_as_packets_write_them() -> None:
    scenario = Scenario()
    offer = sdp("2001:DB8:0:0:0:0:0:1").replace("IN IP4", "IN IP6")
    scenario.request(0, ALICE, BOB, "INVITE", body=offer)
    assert scenario.leg().media[0].endpoint == Endpoint("2001:db8::1", 4000)


def test_ice_candidates_lead_to_the_call() -> None:
    candidate = "a=candidate:1 1 UDP 2130706431 192.0.2.33 40404 typ host\r\n"
    scenario = Scenario()
    scenario.request(0, ALICE, BOB, "INVITE", body=sdp("0.0.0.0", 9) + candidate)
    leg = scenario.leg()
    assert (len(leg.media), leg.spans) == (1, ())
    hit = scenario.assembler.book.lookup(Endpoint("10.1.0.2", 5000), Endpoint("192.0.2.33", 40404), at(1), at(2))
    assert hit is not None
    assert hit.call_id == scenario.call_id


def test_a_second_2xx_does_not_end_what_the_first_announced() -> None:
    scenario = Scenario()
    scenario.request(0, ALICE, PROXY, "INVITE")
    scenario.response(3, PROXY, ALICE, 200, "OK", to_tag="b", body=sdp("10.1.0.2", 5000))
    scenario.response(3.1, PROXY, ALICE, 200, "OK", to_tag="c", body=sdp("10.1.0.3", 6000))
    assert announced(scenario.leg()) == [
        ("callee", "10.1.0.2", 5000, "sendrecv", 3.0, None),
        ("callee", "10.1.0.3", 6000, "sendrecv", 3.1, None),
    ]
