"""Deliveries to a real receiver that fails in every way."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alert_facts import NS, Receiver, receiving
from hep_senders import free_port
from standardwebhooks.webhooks import Webhook

from analytics.alerts.facts import Matcher
from analytics.store.lake import Lake
from api.alerts import outbox
from api.alerts.addresses import Network, networks
from api.alerts.book import Book, BookError
from api.alerts.delivery import Delivery
from api.alerts.outbox import Attempt, Message
from api.alerts.settings import AlertSettings
from api.alerts.shown import message_json
from api.alerts.trying import put_test, try_now

LOOPBACK = networks(["127.0.0.0/8", "::1/128"])
GROUP = (("alertname", "site_degraded"), ("site", "york"))


class Desk:
    """A book, a receiver, and a clock that can be put forward."""

    def __init__(self, store: Path, receiver: Receiver) -> None:
        Lake.open(store, create=True).close()
        self.book = Book.open(store)
        self.receiver = receiver
        self.ahead = 0

    def clock(self) -> int:
        return time.time_ns() + self.ahead

    def wait(self, seconds: float) -> None:
        self.ahead += round(seconds * NS)

    def endpoint(self, path: str, name: str = "desk", url: str | None = None) -> None:
        outbox.add_endpoint(self.book, name, url or self.receiver.url(path), "alertmanager", Matcher(), self.clock())

    def put(
        self, text: str = "{}", name: str = "desk", group: Any = GROUP, severity: str = "warning"
    ) -> str:  # fmt: skip
        with self.book.writing() as connection:
            return outbox.put_message(connection, name, group, "first", text.encode(), self.clock(), severity)

    def send(
        self, name: str = "desk", *, allowed: tuple[Network, ...] = LOOPBACK, timeout_s: float = 1.0,
        tls: ssl.SSLContext | None = None,
    ) -> int:  # fmt: skip
        """Send all that is due; return how many attempts were made."""

        async def all_due() -> int:
            delivery = Delivery(self.book, self.clock, allowed, timeout_s, tls=tls)
            count = 0
            while await delivery.once(name):
                count += 1
            return count

        return asyncio.run(all_due())

    def message(self, key: str) -> Message:
        return outbox.message(self.book, key)

    def attempt(self, key: str) -> Attempt:
        return outbox.attempts(self.book, key)[-1]

    def ids(self, path: str | None = None) -> list[str]:
        return [one["headers"]["webhook-id"] for one in self.receiver.got(path)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with receiving(tmp_path) as receiver:
        made = Desk(tmp_path / "store", receiver)
        yield made
        made.book.close()


def test_what_arrives_is_what_was_put_and_the_library_verifies_it(desk: Desk) -> None:
    desk.endpoint("ok")
    key = desk.put('{"größe": 1}')
    assert desk.send() == 1
    (got,) = desk.receiver.got()
    secret = outbox.endpoint(desk.book, "desk").secret
    assert Webhook(secret).verify(got["body"], got["headers"]) == {"größe": 1}
    assert got["headers"]["webhook-id"] == key
    assert got["headers"]["content-type"] == "application/json"
    assert desk.message(key).state == "delivered"
    assert desk.attempt(key)[4:] == (200, "delivered", "ok")
    assert desk.send() == 0


FAILURES: dict[str, tuple[int | None, str]] = {
    "500": (500, "out of order"),
    "redirect": (302, "redirects are not followed"),
    "half": (None, "peer closed connection"),
    "silent": (None, "disconnected"),
    "slow/20": (None, "no whole answer within 1 s"),
    "drip/20": (None, "no whole answer within 1 s"),
}


@pytest.mark.parametrize("path", FAILURES)
def test_each_failure_is_noted_and_tried_again_under_the_same_id(desk: Desk, path: str) -> None:
    desk.endpoint(path)
    key = desk.put()
    assert desk.send() == 1
    status, note = FAILURES[path]
    attempt = desk.attempt(key)
    assert (attempt.status, attempt.outcome) == (status, "failed")
    assert note in attempt.note
    assert desk.message(key).state == "waiting"
    assert desk.send() == 0, "it waits 5 s at least"
    desk.wait(7)
    assert desk.send() == 1
    assert desk.ids() == [key, key]
    assert not desk.receiver.got("elsewhere")


def test_nobody_there_is_a_failure_like_any_other(desk: Desk) -> None:
    desk.endpoint("", url=f"http://127.0.0.1:{free_port()}/")
    key = desk.put()
    assert desk.send() == 1
    assert desk.attempt(key)[4:6] == (None, "failed")
    desk.endpoint("", "nowhere", url="https://no-such-host.invalid/")
    key = desk.put(name="nowhere")
    assert desk.send("nowhere") == 1
    assert desk.attempt(key)[4:6] == (None, "failed")


def test_a_failure_is_made_good_by_a_retry(desk: Desk) -> None:
    desk.endpoint("fail/2")
    key = desk.put()
    for ahead in (0, 7, 370):
        desk.wait(ahead)
        assert desk.send() == 1
    assert desk.message(key).state == "delivered"
    assert [one.status for one in outbox.attempts(desk.book, key)] == [500, 500, 204]


@pytest.mark.parametrize("path", ["429/60", "429-date/60"])
def test_an_endpoint_that_asks_for_rest_gets_it_for_all_messages(desk: Desk, path: str) -> None:
    desk.endpoint(path)
    first = desk.put()
    assert desk.send() == 1
    second = desk.put(group=())
    desk.wait(50)
    assert desk.send() == 0
    desk.wait(15)
    assert desk.send() == 2
    assert desk.message(first).state == desk.message(second).state == "delivered"


def test_410_disables_until_it_is_enabled_and_nothing_is_lost(desk: Desk) -> None:
    desk.endpoint("410")
    key, later = desk.put(), desk.put(group=())
    assert desk.send() == 1
    assert desk.attempt(key)[4:6] == (410, "disabled")
    disabled = outbox.endpoint(desk.book, "desk")
    assert disabled.disabled_at is not None
    assert "410" in disabled.disabled_why
    desk.wait(1_000_000)
    assert desk.send() == 0
    outbox.enable_endpoint(desk.book, "desk", desk.clock())
    assert desk.message(later).state == "waiting"
    assert desk.send() == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_a_private_address_is_refused_unless_it_is_allowed(desk: Desk, host: str) -> None:
    desk.endpoint("", url=f"https://{host}:{desk.receiver.port}/ok")
    key = desk.put()
    assert desk.send(allowed=()) == 1
    assert desk.attempt(key)[4:6] == (None, "refused")
    assert "private" in desk.attempt(key).note
    assert not desk.receiver.got()


def certificate(folder: Path) -> Path:
    """A certificate of localhost that signs itself, with its key."""
    path = folder / "localhost.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", folder / "only.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + (folder / "only.pem").read_text())
    return path


LOOKED_UP: list[str] = []


def heard(event: str, words: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        LOOKED_UP.append(str(words[0]))


def test_by_tls_the_certificate_is_that_of_the_name_which_is_looked_up_once(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "only.pem"))
    sys.addaudithook(heard)
    with receiving(tmp_path, pem) as receiver:
        desk = Desk(tmp_path / "store", receiver)
        desk.endpoint("", url=f"https://localhost:{receiver.port}/ok")
        key = desk.put()
        LOOKED_UP.clear()
        desk.send(tls=trusting)
        # A second look-up could answer otherwise: the connection goes to the address that was judged.
        assert LOOKED_UP == ["localhost"]
        assert desk.message(key).state == "delivered", desk.attempt(key)
        assert receiver.got()[0]["headers"]["host"] == f"localhost:{receiver.port}"
        desk.endpoint("", "by-number", url=f"https://127.0.0.1:{receiver.port}/ok")
        other = desk.put(name="by-number")
        desk.send("by-number", tls=trusting)
        assert "certificate" in desk.attempt(other).note
        stranger = desk.put(group=())
        desk.send()
        assert "certificate" in desk.attempt(stranger).note
        desk.book.close()


def test_a_slow_endpoint_delays_no_other(desk: Desk) -> None:
    desk.endpoint("slow/60", "slow")
    desk.endpoint("ok", "quick")
    slow = [desk.put(name="slow", group=(("n", str(n)),)) for n in range(5)]
    quick = [desk.put(name="quick", group=(("n", str(n)),)) for n in range(5)]

    async def until_quick_has_all() -> None:
        delivery = Delivery(desk.book, desk.clock, LOOPBACK, timeout_s=50)
        running = asyncio.create_task(delivery.run())
        while any(desk.message(key).state != "delivered" for key in quick):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        # While the slow one has not even answered the first.
        assert not any(outbox.attempts(desk.book, key) for key in slow)
        running.cancel()

    asyncio.run(until_quick_has_all())


def test_messages_of_a_group_keep_their_order_and_a_newer_one_hurries_the_older(desk: Desk) -> None:
    desk.endpoint("fail/1")
    firing = desk.put('{"n": 1}')
    assert desk.send() == 1
    resolved = desk.put('{"n": 2}')
    other = desk.put('{"n": 3}', group=())
    assert desk.send() == 3
    assert desk.ids() == [firing, firing, resolved, other]


def test_a_critical_message_goes_before_a_queue_of_warnings_and_each_is_retried_after_five_seconds(desk: Desk) -> None:
    desk.endpoint("503")
    warnings = [desk.put(group=(("n", str(n)),)) for n in range(4)]
    assert desk.send() == 1, "it asks for rest"
    critical = desk.put(group=(("n", "critical"),), severity="critical")
    sent = []
    for _ in range(8):
        desk.wait(6.1)
        assert desk.send() == 1
        sent.append(desk.ids()[-1])
    # The retry of the critical one, too, stands before any warning; then each warning and its first retry.
    assert sent == [critical, critical, warnings[0], *(key for key in warnings[1:3] for _ in range(2)), warnings[3]]


def test_a_warning_before_a_critical_message_of_its_group_is_hurried_and_not_overtaken(desk: Desk) -> None:
    desk.endpoint("ok")
    other = desk.put(group=())
    warning, critical = desk.put(), desk.put(severity="critical")
    assert desk.send() == 3
    assert desk.ids() == [warning, critical, other]


def test_a_book_of_the_format_before_is_read_on(tmp_path: Path) -> None:
    Lake.open(tmp_path, create=True).close()
    book = Book.open(tmp_path)
    with book.writing() as connection:
        connection.execute("ALTER TABLE messages DROP COLUMN urgency")
        connection.execute("PRAGMA user_version = 1")
    book.close()
    again = Book.open(tmp_path)
    outbox.add_endpoint(again, "desk", "https://desk.example/", "alertmanager", Matcher(), 1)
    with again.writing() as connection:
        key = outbox.put_message(connection, "desk", (), "first", b"{}", 1, "critical")
    assert outbox.message(again, key).state == "waiting"
    again.close()


def test_when_an_endpoint_is_back_all_that_waits_goes(desk: Desk) -> None:
    desk.endpoint("fail/2")
    keys = [desk.put(group=(("n", str(n)),)) for n in range(2)]
    assert desk.send() == 2
    third = desk.put(group=())
    assert desk.send() == 3
    assert all(desk.message(key).state == "delivered" for key in [*keys, third])


def test_after_three_days_a_message_is_given_up_and_stays_in_the_log(desk: Desk) -> None:
    desk.endpoint("", url=f"http://127.0.0.1:{free_port()}/")
    key = desk.put()
    tries = 0
    while desk.message(key).state == "waiting":
        tries += desk.send()
        desk.wait(3_600)
    assert tries == 10
    assert desk.message(key).state == "given_up"
    assert len(outbox.attempts(desk.book, key)) == 10
    assert desk.ahead / NS > 3 * 86_400


def test_a_replay_sends_the_same_message_under_the_same_id(desk: Desk) -> None:
    desk.endpoint("ok")
    key = desk.put('{"n": 1}')
    desk.send()
    assert outbox.replay(desk.book, key, desk.clock()).state == "waiting"
    desk.send()
    first, second = desk.receiver.got()
    assert first["body"] == second["body"]
    assert desk.ids() == [key, key]
    with pytest.raises(BookError, match="no message"):
        outbox.replay(desk.book, "msg_0", desk.clock())


def test_a_test_is_an_alert_that_says_so(desk: Desk) -> None:
    desk.endpoint("ok")
    to = outbox.endpoint(desk.book, "desk")
    key = put_test(desk.book, to, desk.clock())
    assert desk.send() == 0, "it is sent by who asked for it"
    settings = AlertSettings(allowed_networks=("127.0.0.0/8",))
    assert asyncio.run(try_now(desk.book, to, key, settings, desk.clock)).outcome == "delivered"
    (alert,) = json.loads(desk.receiver.got()[0]["body"])["alerts"]
    assert alert["labels"]["alertname"] == "CallgaugeTest"
    assert alert["annotations"]["summary"] == "This is a test of desk"
    made = json.loads(desk.receiver.got()[0]["body"])
    # A group is named by labels that its alerts have.
    assert made["groupLabels"] == {"alertname": "CallgaugeTest"}
    assert message_json(outbox.message(desk.book, key), [])["group"] == {"endpoint": "desk"}


def test_a_test_that_fails_is_not_tried_again(desk: Desk) -> None:
    desk.endpoint("500")
    to = outbox.endpoint(desk.book, "desk")
    key = put_test(desk.book, to, desk.clock())
    settings = AlertSettings(allowed_networks=("127.0.0.0/8",))
    assert asyncio.run(try_now(desk.book, to, key, settings, desk.clock)).outcome == "failed"
    assert desk.message(key).state == "given_up"
    desk.wait(1_000)
    assert desk.send() == 0


def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(desk: Desk) -> None:
    desk.endpoint("ok")
    old = outbox.endpoint(desk.book, "desk").secret
    new = outbox.rotate_secret(desk.book, "desk", desk.clock()).secret
    desk.put()
    desk.send()
    (got,) = desk.receiver.got()
    for secret in (old, new):
        Webhook(secret).verify(got["body"], got["headers"])
    later = desk.clock() + 86_401 * NS
    assert outbox.endpoint(desk.book, "desk").secrets_at(later) == (new,)


def test_a_long_answer_is_read_to_its_end_and_one_without_end_is_a_failure(desk: Desk) -> None:
    desk.endpoint("long")
    key = desk.put()
    desk.send(timeout_s=10)
    assert desk.message(key).state == "delivered"
    assert len(desk.attempt(key).note) <= 300
    desk.endpoint("endless", "other")
    key = desk.put(name="other")
    desk.send("other", timeout_s=30)
    assert desk.message(key).state == "waiting"
    assert desk.attempt(key)[4:] == (None, "failed", "its answer does not end within 8,388,608 octets")


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "https://", "//example.com", "https://user:word@example.com/", "https://example.com/#x",
     "https://exa mple.com/", "https://example.com:99999/", "https://example.com:0/", "https://[::1/", "https://é.example/",
     "https://example.com/" + "x" * 3_000],
)  # fmt: skip
def test_what_is_no_address_for_webhooks_is_refused(desk: Desk, url: str) -> None:
    with pytest.raises(BookError, match="address"):
        desk.endpoint("", url=url)


def test_endpoints_are_named_once_and_forgotten_with_all_that_waits(desk: Desk) -> None:
    desk.endpoint("ok")
    with pytest.raises(BookError, match="already"):
        desk.endpoint("ok")
    with pytest.raises(BookError, match="name is made of"):
        desk.endpoint("ok", "a b")
    key = desk.put()
    outbox.remove_endpoint(desk.book, "desk")
    assert outbox.endpoints(desk.book) == []
    for ask in (lambda: desk.message(key), lambda: outbox.endpoint(desk.book, "desk")):
        refused: Callable[[], object] = ask
        with pytest.raises(BookError, match="there is no"):
            refused()


def test_the_address_is_shown_without_what_may_be_secret_in_it(desk: Desk) -> None:
    desk.endpoint("", url="https://hooks.example/services/T0/B0/secret?key=word")
    assert outbox.endpoint(desk.book, "desk").shown_url == "https://hooks.example/…"
    assert desk.book.path.stat().st_mode & 0o077 == 0


def test_the_log_is_kept_for_its_time_and_what_waits_for_ever(desk: Desk) -> None:
    desk.endpoint("fail/1")
    done, waits = desk.put(), ""
    desk.send()
    desk.wait(7)
    desk.send()
    waits = desk.put()
    desk.wait(100)
    outbox.forget_done(desk.book, desk.clock())
    assert outbox.attempts(desk.book, done) == []
    assert [one.id for one in outbox.messages(desk.book)] == [waits]
