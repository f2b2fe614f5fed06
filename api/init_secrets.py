"""Secrets for a first installation: random, each in a file of its own."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from hashlib import pbkdf2_hmac
from typing import Final

ROUNDS: Final = 101
"""Rounds of PBKDF2 that mosquitto_passwd takes by default; the passwords are 256 random bits, not guessable ones."""
SALT_OCTETS: Final = 12
KEY_OCTETS: Final = 64


def secret_files(site: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of each secret's file; `site` is the user name of the first agent at the broker."""
    centre, agent = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    yield "secrets/.gitignore", "*\n"
    yield "secrets/influx-token", _random()
    yield "secrets/influx-password", _random()
    yield "secrets/grafana-password", _random()
    yield "secrets/centre-password", centre + "\n"
    yield "secrets/agent-password", agent + "\n"
    yield "secrets/broker-users", f"centre:{hashed(centre)}\n{site}:{hashed(agent)}\n"


def hashed(password: str) -> str:
    """Return a password as Mosquitto 2 keeps it: PBKDF2 (RFC 8018) with SHA-512, `$7$rounds$salt$key` in base64."""
    salt = secrets.token_bytes(SALT_OCTETS)
    key = pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, KEY_OCTETS)
    return f"$7${ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _random() -> str:
    return secrets.token_urlsafe(32) + "\n"
