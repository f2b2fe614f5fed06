"""Names that stand for people's numbers: the same number has the same name in all answers of a store.

A name is cut from a keyed digest (HMAC-SHA-256, RFC 2104) with a key that only the store's `access` folder holds:
without it nobody finds the number by trying all of them, as one could with a plain digest or with last digits.
"""

from __future__ import annotations

import base64
import hmac
from functools import lru_cache
from hashlib import sha256
from urllib.parse import unquote

from api.masking import EMERGENCY, NOBODY, PARAMETERS, SERVICE, number_key, split_uri

NAME_LETTERS = 8
"""40 bits: among a million numbers two share a name with a chance of a third."""


class Masks:
    """Gives numbers their names."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._name = lru_cache(maxsize=65_536)(self._made)

    def number(self, value: str | None) -> str | None:
        """Return what is shown for a number, user part or URI; None and services as they are."""
        if value is None or value.casefold() in NOBODY or SERVICE.fullmatch(value):
            return value
        parts = split_uri(value)
        user = parts.user if parts is not None else value
        plain = PARAMETERS.split(unquote(user.partition(":")[0]), maxsplit=1)[0].strip()
        key = number_key(plain) or plain.casefold()
        return key if key in EMERGENCY or key in NOBODY else self._name(key)

    def _made(self, key: str) -> str:
        digest = hmac.new(self._key, key.encode(), sha256).digest()
        return "p-" + base64.b32encode(digest)[:NAME_LETTERS].decode().lower()
