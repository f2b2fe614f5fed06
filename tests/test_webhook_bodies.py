"""Bodies, signatures, the retry schedule, and where webhooks may go."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from analytics.alerts.facts import NS, Alert, Phase, Sample, State, labelled
from analytics.alerts.rules import DEFAULTS
from api.alerts.addresses import ForbiddenAddressError, judged, may_reach, networks, resolve
from api.alerts.bodies import MOST_OCTETS, Group, body, headers
from api.alerts.outbox import new_secret
from api.alerts.retrying import SCHEDULE_S, Next, after_attempt, rest_asked

# The message of Alertmanager's webhook receiver, as its documentation and notify/webhook give it.
STRINGS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
TIME: dict[str, Any] = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$",
}
ALERTMANAGER_V4: dict[str, Any] = {
    "type": "object",
    "required": ["version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
                 "commonAnnotations", "externalURL", "alerts"],
    "properties": {
        "version": {"const": "4"},
        "groupKey": {"type": "string", "minLength": 1},
        "truncatedAlerts": {"type": "integer", "minimum": 0},
        "status": {"enum": ["firing", "resolved"]},
        "receiver": {"type": "string"},
        "groupLabels": STRINGS,
        "commonLabels": STRINGS,
        "commonAnnotations": STRINGS,
        "externalURL": {"type": "string"},
        "alerts": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"],
                "properties": {
                    "status": {"enum": ["firing", "resolved"]},
                    "labels": STRINGS,
                    "annotations": STRINGS,
                    "startsAt": TIME,
                    "endsAt": TIME,
                    "generatorURL": {"type": "string"},
                    "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                    "values": {"type": "object"},
                },
            },
        },
    },
}  # fmt: skip
BEGIN = 1_767_607_200 * NS
"""2026-01-05 10:00 UTC."""


def alert(site: str = "york", resolved: bool = False, direction: str = "to") -> Alert:
    sample = Sample(labelled({"site": site, "direction": direction}), BEGIN, BEGIN + 600 * NS, 9, 20,
                    values=(("mos", 3.1),))  # fmt: skip
    state = State(Phase.FIRING, BEGIN + 600 * NS, BEGIN + 600 * NS, DEFAULTS[0].digest)
    return Alert(DEFAULTS[0], sample, state, "9 of 20 calls", BEGIN + 900 * NS if resolved else None)


def group(*alerts: Alert) -> Group:
    return Group((("alertname", "site_degraded"), ("site", "york")), alerts, "desk", "https://calls.example/app")


def test_the_body_is_alertmanagers_with_what_was_measured() -> None:
    made = json.loads(body("alertmanager", group(alert(), alert(direction="from", resolved=True))))
    jsonschema.validate(made, ALERTMANAGER_V4)
    first, second = made["alerts"]
    assert made["status"] == "firing"
    assert made["groupKey"] == 'desk:{alertname="site_degraded", site="york"}'
    assert made["commonLabels"] == {"alertname": "site_degraded", "site": "york", "severity": "critical"}
    assert first["endsAt"] == "0001-01-01T00:00:00Z"
    assert first["startsAt"] == "2026-01-05T10:10:00.000Z"
    assert second["endsAt"] == "2026-01-05T10:15:00.000Z"
    values = first["values"]
    assert (values["numerator"], values["denominator"], values["value"], values["mos"]) == (9, 20, 0.45, 3.1)
    assert (values["window_s"], values["from"], values["to"]) == (
        600, "2026-01-05T10:00:00.000Z", "2026-01-05T10:10:00.000Z",
    )  # fmt: skip
    times = "since=2026-01-05T10%3A00%3A00Z&until=2026-01-05T10%3A10%3A00Z"
    link = f"https://calls.example/app/streams?q=to_site%3Ayork+quality%3Apoor&{times}"
    assert first["generatorURL"] == first["annotations"]["link"] == link
    assert "Measured from 2026-01-05T10:00:00Z to 2026-01-05T10:10:00Z" in first["annotations"]["description"]


def test_a_group_whose_alerts_are_all_over_is_resolved() -> None:
    assert json.loads(body("alertmanager", group(alert(resolved=True))))["status"] == "resolved"


@pytest.mark.parametrize("shape", ["alertmanager", "slack", "teams"])
def test_a_body_stays_small_and_says_what_it_leaves_out(shape: str) -> None:
    many = tuple(alert(f"site-{number:03}") for number in range(200))
    octets = body(shape, group(*many))
    assert len(octets) <= MOST_OCTETS
    if shape == "alertmanager":
        made = json.loads(octets)
        jsonschema.validate(made, ALERTMANAGER_V4)
        assert made["truncatedAlerts"] == 200 - len(made["alerts"]) > 0
    else:
        assert b"more" in octets


def test_slack_gets_text_and_blocks_in_which_nothing_is_markup() -> None:
    made = json.loads(body("slack", group(alert("<!channel> & co"))))
    assert set(made) == {"text", "blocks"}
    assert made["blocks"][0]["type"] == "header"
    assert "&lt;!channel&gt; &amp; co" in made["blocks"][1]["text"]["text"]
    assert "<https://calls.example/app/streams?" in made["blocks"][1]["text"]["text"]


@pytest.mark.parametrize("shape", ["alertmanager", "slack", "teams"])
def test_sentences_tell_times_by_the_estates_clock_and_values_in_utc(shape: str) -> None:
    summer = 1_782_900_000 * NS  # 2026-07-01 10:00 UTC
    one = alert()
    held = replace(one, sample=replace(one.sample, since=summer, until=summer + 600 * NS))
    made = body(shape, group(held)._replace(zone="Europe/London")).decode()
    assert "Measured from 2026-07-01 11:00:00 BST to 2026-07-01 11:10:00 BST." in made
    if shape == "alertmanager":
        assert json.loads(made)["alerts"][0]["values"]["from"] == "2026-07-01T10:00:00.000Z"


def test_teams_gets_an_adaptive_card() -> None:
    made = json.loads(body("teams", group(alert())))
    (attachment,) = made["attachments"]
    assert made["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["body"][0]["text"].startswith("[FIRING 1] Calls are poor at york")
    assert card["actions"][0]["url"].startswith("https://calls.example/")


def test_the_library_of_standard_webhooks_verifies_us() -> None:
    octets, secret, now = body("alertmanager", group(alert())), new_secret(), int(datetime.now(UTC).timestamp()) * NS
    sent = headers("msg_1", now, octets, [secret])
    assert Webhook(secret).verify(octets, sent) == json.loads(octets)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(octets, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(octets + b" ", sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(octets, {**sent, "webhook-id": "msg_2"})


def test_while_a_secret_is_rotated_either_verifies() -> None:
    old, new, now = new_secret(), new_secret(), int(datetime.now(UTC).timestamp()) * NS
    sent = headers("msg_1", now, b"{}", [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(b"{}", sent) == {}


def test_a_secret_is_long_enough_and_its_own() -> None:
    # Standard Webhooks 1.0 asks for 24 to 64 octets.
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert all(one.startswith("whsec_") and len(one) == 6 + 44 for one in secrets)


def test_retries_go_from_five_seconds_over_three_days() -> None:
    now, waits = 0, []
    for failed in range(len(SCHEDULE_S)):
        decision = after_attempt(now, failed, 500, None, 0.0)
        assert (decision.next, decision.rest_until) == (Next.AGAIN, None)
        assert decision.at is not None
        waits.append((decision.at - now) / NS)
        now = decision.at
    assert waits[0] == 5
    assert all(one < other for one, other in pairwise(waits))
    assert 3 * 86_400 <= now / NS <= 3.5 * 86_400
    assert after_attempt(now, len(SCHEDULE_S), 500, None, 0.0).next is Next.GIVE_UP


@given(st.one_of(st.none(), st.integers(100, 599)), st.floats(0, 1), st.integers(0, 8))
def test_only_2xx_is_success_and_only_410_ends_it(status: int | None, spread: float, failed: int) -> None:
    decision = after_attempt(BEGIN, failed, status, None, spread)
    if status is not None and 200 <= status <= 299:
        assert decision.next is Next.DELIVERED
    elif status == 410:
        assert decision.next is Next.DISABLE
    else:
        assert decision.next is Next.AGAIN
        assert decision.at is not None
        wait = (decision.at - BEGIN) / NS
        assert SCHEDULE_S[failed] <= wait <= 1.2 * SCHEDULE_S[failed] + 1e-6
        assert (decision.rest_until is not None) is (status in (429, 502, 503, 504))


def test_retry_after_is_honoured_in_seconds_and_as_a_date() -> None:
    assert rest_asked(BEGIN, "120") == BEGIN + 120 * NS
    at = datetime.fromtimestamp(BEGIN // NS + 90, UTC)
    assert rest_asked(BEGIN, format_datetime(at, usegmt=True)) == BEGIN + 90 * NS
    assert rest_asked(BEGIN, "Mon, 05 Jan 2026 09:00:00 GMT") == BEGIN
    decision = after_attempt(BEGIN, 0, 429, "120", 0.0)
    assert (decision.at, decision.rest_until) == (BEGIN + 120 * NS, BEGIN + 120 * NS)
    # A later turn of the schedule is not brought forward by it.
    assert after_attempt(BEGIN, 1, 503, "1", 0.0).at == BEGIN + 300 * NS


@pytest.mark.parametrize("text", ["soon", "", "-5", "1.5", "Mon, 99 Jan 2026 09:00:00 GMT", "²"])
def test_a_retry_after_that_says_nothing_is_as_none(text: str) -> None:
    assert rest_asked(BEGIN, text) is None


@given(st.text(max_size=60))
def test_no_retry_after_harms(text: str) -> None:
    asked = rest_asked(BEGIN, text)
    assert asked is None or BEGIN <= asked <= BEGIN + 86_400 * NS


# IANA special-purpose addresses (RFC 6890 and its registry), and IPv6 forms that lead to them.
PRIVATE = (
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1",
    "fd12::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::1",
    "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
    # Every block of both registries, and what was given out for no network at all.
    "0.1.2.3", "192.0.0.8", "192.0.0.9", "192.0.0.170", "192.31.196.1", "192.52.193.1", "192.88.99.2", "192.175.48.1",
    "198.19.255.255", "198.51.100.7", "203.0.113.7", "233.252.0.1", "100.127.255.255", "172.31.255.255",
    "100::1", "100:0:0:1::1", "2001::1", "2001:1::1", "2001:1::2", "2001:2::1", "2001:3::1", "2001:4:112::1",
    "2001:10::1", "2001:20::1", "2001:30::1", "2002::1", "2620:4f:8000::1", "3fff::1", "3fff:fff::1", "5f00::1",
    "fec0::1", "feff::1", "febf::1", "fdff::1", "4000::1", "8000::1", "fe00::1", "ff0e::1", "::7f00:1",
    "::ffff:0:7f00:1",
)  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses_are_refused_in_every_disguise(text: str) -> None:
    assert not may_reach(ip_address(text), ())
    with pytest.raises(ForbiddenAddressError, match="private"):
        judged("inside.example", [ip_address("8.8.8.8"), ip_address(text)], (), plain=False)


PUBLIC = (
    "8.8.8.8", "192.1.0.1", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00::1", "2001:200::1",
    "64:ff9b::808:808", "2002:808:808::1",
)  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_reached(text: str) -> None:
    assert judged("outside.example", [ip_address(text)], (), plain=False) == (ip_address(text),)


def test_a_network_that_is_allowed_is_reached_also_without_tls_and_no_other() -> None:
    allowed = networks(["10.1.2.0/24"])
    assert judged("desk", [ip_address("10.1.2.3")], allowed, plain=True)
    assert judged("desk", [ip_address("::ffff:10.1.2.3")], allowed, plain=True)
    with pytest.raises(ForbiddenAddressError, match="private"):
        judged("desk", [ip_address("10.1.3.3")], allowed, plain=True)
    with pytest.raises(ForbiddenAddressError, match="https://"):
        judged("outside.example", [ip_address("8.8.8.8")], allowed, plain=True)
    with pytest.raises(ValueError, match="10\\.1\\.2\\.0/24"):
        networks(["here"])


def test_a_number_that_is_an_address_in_disguise_is_looked_up_like_any_name() -> None:
    # 2130706433 is 127.0.0.1: whatever the system makes of it is judged, not the text.
    for name in ("2130706433", "0x7f.1", "localhost", "127.1"):
        try:
            found = asyncio.run(resolve(name, 80))
        except OSError:
            continue
        assert all(not may_reach(address, ()) for address in found), name


def test_an_alert_may_hold_any_text() -> None:
    odd = replace(alert().sample, labels=labelled({"site": 'a"b\\c\u2028é', "direction": "to"}))
    for shape in ("alertmanager", "slack", "teams"):
        assert json.loads(body(shape, group(replace(alert(), sample=odd))))
