"""The connection to the broker: MQTT v5 by aiomqtt, and the two things that it keeps to itself.

aiomqtt 2.5 acknowledges a message when it arrives and forgets why a broker refused one. paho, underneath, can do both;
this is the one place that reaches through.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_ERR_SUCCESS
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

NO_SUBSCRIBER = 0x10
"""PUBACK: taken, but nobody hears it (MQTT v5, 3.4.2.1)."""
FIRST_REFUSAL = 0x80
"""Reason codes from here on are refusals (MQTT v5, 2.4)."""
_CREDENTIALS = {
    0x86: "refuses the user name or password",
    # Mosquitto says this of a wrong password too.
    0x87: "does not authorise this client: see its user name, password or certificate, and its rights",
}
_QUIET = logging.getLogger("callgauge.mqtt")


class TransportError(Exception):
    """The broker cannot be used; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is and how to be let in."""

    host: str = "127.0.0.1"
    """Name or address of the broker."""
    port: int = 1883
    """Its port; 8883 is usual with TLS."""
    tls: bool = False
    """Whether to connect by TLS; given certificates say so too."""
    authority: Path | None = None
    """File of the certificates that the broker's is checked with (PEM); without, those of the system."""
    certificate: Path | None = None
    """File of this client's own certificate (PEM)."""
    key: Path | None = None
    """File of its key (PEM); without, it stands in the certificate's file."""
    user: str | None = None
    """User name."""
    password_file: Path | None = None
    """File whose first line is the password: it stands in no setting and no environment."""
    keepalive: int = 20
    """Longest silence before the broker takes the client for gone; it does so after one and a half times this [s]."""
    connect_seconds: float = 10.0
    """How long to wait for the broker's answers [s]."""

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return f"{self.host}:{self.port}"


def password(settings: BrokerSettings) -> str | None:
    """Read the password; TransportError where its file cannot be read."""
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise TransportError(f"the password file {settings.password_file} cannot be read") from error


def tls_context(settings: BrokerSettings) -> ssl.SSLContext | None:
    """Return how to connect by TLS; None where that is not wanted. TransportError where a file is no good."""
    if not (settings.tls or settings.authority or settings.certificate):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.authority)
    except (OSError, ssl.SSLError) as error:
        raise TransportError(f"the file of authorities {settings.authority} cannot be used") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate is not None:
        try:
            context.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:
            raise TransportError(f"the certificate {settings.certificate} and its key cannot be used") from error
    return context


class Session(aiomqtt.Client):
    """One connection. Messages of QoS 1 stay the broker's until `acknowledge`; `send` tells what the broker said.

    Credentials and certificates are read anew for each: they may be renewed without a restart. TransportError where
    they cannot be.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        identifier: str,
        will: aiomqtt.Will | None = None,
        receive_maximum: int = 64,
        receive_octets: int = 1 << 22,
        most_octets: int,
        inflight: int = 20,
    ) -> None:
        """`receive_maximum` messages are what the broker should send before one is acknowledged.

        Mosquitto 2.0.11 sends that many more after each acknowledgement, so that `receive_octets` bound what is held.
        """
        wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wanted.ReceiveMaximum = receive_maximum
        wanted.MaximumPacketSize = most_octets
        super().__init__(
            settings.host,
            settings.port,
            identifier=identifier,
            username=settings.user,
            password=password(settings),
            protocol=aiomqtt.ProtocolVersion.V5,
            will=will,
            clean_start=True,
            timeout=settings.connect_seconds,
            keepalive=settings.keepalive,
            properties=wanted,
            tls_context=tls_context(settings),
            max_inflight_messages=inflight,
            logger=_QUIET,
        )
        self._client.connect_timeout = settings.connect_seconds
        self._client.manual_ack_set(True)
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._receive_octets = receive_octets
        self._held_octets = 0
        self.discarded = 0
        """Messages that were let go unread, for too many were in hand; their agents send them again."""

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Let the broker forget a message that came by this session, and make room for others."""
        self._held_octets -= _octets(message.payload)
        if message.qos:
            self._client.ack(message.mid, message.qos)

    def send(self, topic: str, payload: bytes) -> asyncio.Future[int]:
        """Publish with QoS 1; the future gives the reason code of the PUBACK. MqttError where that cannot begin."""
        info = self._client.publish(topic, payload, qos=1)
        if info.rc != MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[info.mid] = answer
        return answer

    def leave_word(self, topic: str, payload: bytes) -> None:
        """Publish a retained message without waiting, as the last thing before leaving; nothing where that fails."""
        self._client.publish(topic, payload, qos=1, retain=True)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        octets = _octets(message.payload)
        if self._held_octets + octets > self._receive_octets:
            self.discarded += 1
            if message.qos:
                # Else it would stand in the way of all that the broker still has for this session.
                self._client.ack(message.mid, message.qos)
            return
        self._held_octets += octets
        super()._on_message(client, userdata, message)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any) -> None:
        answer = self._answers.pop(mid, None)
        if answer is not None and not answer.done():
            answer.set_result(int(reason_code.value))
        super()._on_publish(client, userdata, mid, reason_code, properties)


def _octets(payload: Any) -> int:
    """What a message takes in memory, about."""
    return 1_000 + (len(payload) if isinstance(payload, bytes) else 0)


def refused(error: Exception) -> str | None:
    """Return why the broker will not let this client in, however often it asks; None for all other failures."""
    code = error.rc if isinstance(error, MqttConnectError) else None
    return _CREDENTIALS.get(code.value) if isinstance(code, ReasonCode) else None


def told(settings: BrokerSettings, error: Exception) -> str:
    """Say in one sentence what ended a connection."""
    if isinstance(error, TransportError):
        return str(error)
    reason = refused(error)
    if reason is not None:
        return f"the broker at {settings.address} {reason}"
    lines = str(error).strip().splitlines()
    return f"the broker at {settings.address} cannot be reached: {lines[0] if lines else type(error).__name__}"


async def ended(connection: Awaitable[None]) -> aiomqtt.MqttError | TransportError | None:
    """Work through a connection and return what ended it; None where it ended as it should."""
    try:
        await connection
    except (aiomqtt.MqttError, TransportError) as error:
        return error
    except ExceptionGroup as group:
        if group.split((aiomqtt.MqttError, TransportError))[1] is not None:
            raise
        found = first_of(group)
        if isinstance(found, aiomqtt.MqttError | TransportError):
            return found
        raise
    return None


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in a group of groups."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
