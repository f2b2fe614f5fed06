"""A test of an endpoint, and a message sent at once: for the test button and the commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from analytics.alerts.facts import NS, Alert, Comparison, Kind, Phase, Rule, Sample, State, labelled
from analytics.alerts.grouping import group_labels
from api.alerts import bodies, outbox
from api.alerts.addresses import networks
from api.alerts.book import Book
from api.alerts.outbox import TEST, Attempt, Endpoint

if TYPE_CHECKING:
    from api.alerts.settings import AlertSettings

HELD_S: Final = 120
"""How long a test is left to who asked for it [s]."""
_RULE: Final = Rule(
    "CallgaugeTest", Kind.DELIVERY, "This is a test of {endpoint}", Comparison.ABOVE, 0.5, 0.5, "tests", "tests",
    window_s=60.0, minimum=1, severity="info",
)  # fmt: skip


def put_test(book: Book, to: Endpoint, now: int, base: str = "") -> str:
    """Put down a test alert for an endpoint, its link beginning with `base`; return the id of its message."""
    labels = labelled({"endpoint": to.name})
    sample = Sample(labels, now - 60 * NS, now, 1.0, 1.0, 1.0, note="asked for by a person")
    alert = Alert(_RULE, sample, State(Phase.FIRING, now, now), "1 of 1 tests: asked for by a person")
    # A test is a group of its own: it neither waits for what waits already nor delays it.
    group = (*labels, (TEST, str(now)))
    octets = bodies.body(to.shape, bodies.Group(group_labels(alert), (alert,), to.name, base))
    with book.writing() as connection:
        key = outbox.put_message(connection, to.name, group, TEST, octets, now)
        outbox.hold(connection, key, now + HELD_S * NS)
    return key


async def try_now(
    book: Book, to: Endpoint, key: str, settings: AlertSettings, clock: Callable[[], int]
) -> Attempt:  # fmt: skip
    """Try to deliver a message at once; what came of it is in the log as with any other attempt. BookError."""
    from api.alerts.delivery import Delivery

    delivery = Delivery(book, clock, networks(settings.allowed_networks), settings.timeout_seconds)
    message = outbox.message(book, key)
    done = await delivery.deliver(to, message)
    if message.event == TEST:
        # Whoever tests looks at what comes of it now: hours later nobody waits for it.
        outbox.give_up(book, key, clock())
    return done
