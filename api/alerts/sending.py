"""One delivery by HTTP: name looked up and judged, connection pinned to it, no redirects, all within one time."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from api import __version__
from api.alerts.addresses import Address, ForbiddenAddressError, Network, judged, resolve
from api.alerts.bodies import headers

MOST_ANSWER: Final = 8_388_608
"""Octets of an answer that are read to find its end, and not kept."""
SHOWN: Final = 300


class EndlessAnswerError(Exception):
    """An answer is too long to be one; the message is one sentence."""


class Answer(NamedTuple):
    """What came of an attempt."""

    status: int | None
    """HTTP status; None where no whole answer came."""
    retry_after: str | None
    note: str
    took_ms: int
    refused: bool = False
    """Whether we did not go there, for the address is not allowed."""


class Letter(NamedTuple):
    """What is sent, and where to."""

    url: str
    id: str
    body: bytes
    secrets: Sequence[str]
    at: int
    """Time of the attempt [ns since 1970]."""


class Line(NamedTuple):
    """How it is sent."""

    allowed: Sequence[Network]
    timeout_s: float
    tls: ssl.SSLContext


# Its line for each request would hold the address, which may be secret.
logging.getLogger("httpx").setLevel(logging.WARNING)


async def post(letter: Letter, line: Line) -> Answer:
    """Send once; never raises for what the other side or the network does."""
    begun = time.monotonic()
    status: int | None = None
    retry_after: str | None = None
    refused = False
    try:
        async with asyncio.timeout(line.timeout_s):
            status, retry_after, note = await _sent(letter, line)
    except TimeoutError:
        note = f"no whole answer within {line.timeout_s:g} s"
    except ForbiddenAddressError as error:
        note, refused = str(error), True
    except (EndlessAnswerError, httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        note = " ".join(str(error).split())[:SHOWN] or type(error).__name__
    return Answer(status, retry_after, note, round((time.monotonic() - begun) * 1_000), refused)


async def _sent(letter: Letter, line: Line) -> tuple[int, str | None, str]:
    parts = urlsplit(letter.url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = judged(host, await resolve(host, port), line.allowed, parts.scheme == "http")
    transport = httpx.AsyncHTTPTransport(verify=line.tls, retries=0)
    async with httpx.AsyncClient(
        transport=transport, trust_env=False, follow_redirects=False, timeout=httpx.Timeout(line.timeout_s)
    ) as client:
        for number, address in enumerate(found):
            try:
                return await _to_address(client, letter, address)
            except httpx.ConnectError:
                if number + 1 == len(found):
                    raise
    raise OSError(f"{host} has no address")


async def _to_address(client: httpx.AsyncClient, letter: Letter, address: Address) -> tuple[int, str | None, str]:
    parts = urlsplit(letter.url)
    sent = {
        **headers(letter.id, letter.at, letter.body, letter.secrets),
        "host": parts.netloc,
        "user-agent": f"callgauge/{__version__}",
        "accept-encoding": "identity",
    }
    pinned = httpx.URL(letter.url).copy_with(host=str(address))
    # The certificate is that of the name, whatever address it leads to.
    names = {"sni_hostname": parts.hostname}
    async with client.stream("POST", pinned, content=letter.body, headers=sent, extensions=names) as answer:
        begin, octets = b"", 0
        async for some in answer.aiter_raw():
            begin += some[: SHOWN - len(begin)]
            octets += len(some)
            if octets > MOST_ANSWER:
                raise EndlessAnswerError(f"its answer does not end within {MOST_ANSWER:,} octets")
        note = begin.decode("utf-8", "replace").strip()
        if 300 <= answer.status_code < 400:
            note = "redirects are not followed"
        return answer.status_code, answer.headers.get("retry-after"), note
