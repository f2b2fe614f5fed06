"""InfluxDB 2 as a store of time series: its settings, its one error, what server it is and whether it is well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analytics.store.settings import StoreError

if TYPE_CHECKING:
    from influxdb_client.client.exceptions import InfluxDBError
    from influxdb_client.client.influxdb_client import InfluxDBClient


class InfluxError(StoreError):
    """InfluxDB cannot do what was asked; the message is one sentence for people."""


class Kept(StrEnum):
    """The two buckets by what they keep."""

    FINE = "fine"
    """Points as they were measured: minutes and intervals."""
    LONG = "long"
    """Hours and days."""


@dataclass(frozen=True, slots=True)
class InfluxSettings:
    """Where the server is and how it is written to."""

    url: str = "http://127.0.0.1:8086"
    """Address of the server."""
    token: str = ""
    """API token that may read and write both buckets."""
    org: str = "callgauge"
    """Organisation that the buckets belong to."""
    bucket: str = "callgauge"
    """Bucket of minutes and intervals."""
    long_bucket: str = "callgauge_long"
    """Bucket of hours and days."""
    keep_days: int = 92
    """Retention of minutes and intervals [days]; 0 keeps for ever."""
    long_keep_days: int = 2_557
    """Retention of hours and days [days]; 0 keeps for ever."""
    ca_file: str = ""
    """Certificates that vouch for the server; empty takes the system's."""
    timeout_seconds: float = 30.0
    """How long one request may take [s]."""
    batch_points: int = 5_000
    """Most points in one request."""
    requests: int = 2
    """Most requests under way at once."""
    retry_seconds: float = 0.5
    """Wait after the first failure; it doubles from failure to failure [s]."""
    retry_most_seconds: float = 60.0
    """Longest wait between tries [s]."""
    dead_letter_octets: int = 64 << 20
    """Most disk for points that the server refused; further ones are only counted [octets]."""
    spool: Path = Path("callgauge-influx")
    """Folder in which each process that writes keeps its spool, by its name."""

    def name(self, kept: Kept) -> str:
        """Return the name of a bucket."""
        return self.bucket if kept is Kept.FINE else self.long_bucket


class Server(NamedTuple):
    """What answers at an address."""

    version: str
    build: str


@contextmanager
def opened(settings: InfluxSettings) -> Iterator[InfluxDBClient]:
    """Lend a client for queries and set-up; whatever fails in it is an InfluxError of one sentence."""
    from influxdb_client.client.exceptions import InfluxDBError
    from influxdb_client.client.influxdb_client import InfluxDBClient
    from urllib3.exceptions import HTTPError

    try:
        with InfluxDBClient(
            url=settings.url,
            token=settings.token,
            org=settings.org,
            timeout=round(settings.timeout_seconds * 1_000),
            enable_gzip=True,
            ssl_ca_cert=settings.ca_file or None,
        ) as client:
            yield client
    except InfluxDBError as error:
        raise InfluxError(refusal(settings, error)) from error
    except (HTTPError, OSError) as error:
        raise InfluxError(f"there is no InfluxDB at {settings.url}: {_reason(error)}") from error


def check_server(settings: InfluxSettings) -> Server:
    """Return what server answers; InfluxError where none does, or it is not InfluxDB 2."""
    from influxdb_client.service.ping_service import PingService
    from influxdb_client.service.setup_service import SetupService

    with opened(settings) as client:
        service = PingService(client.api_client)  # type: ignore[no-untyped-call]
        _, _, headers = service.get_ping_with_http_info(_return_http_data_only=False)  # type: ignore[no-untyped-call]
        version = str(headers.get("X-Influxdb-Version", ""))
        build = str(headers.get("X-Influxdb-Build", ""))
    if not version:
        raise InfluxError(f"what answers at {settings.url} is no InfluxDB")
    if not version.removeprefix("v").startswith("2."):
        raise InfluxError(f"InfluxDB {version} at {settings.url} is not supported: Callgauge writes to InfluxDB 2")
    with opened(settings) as client:
        if SetupService(client.api_client).get_setup().allowed:  # type: ignore[no-untyped-call]
            raise InfluxError(f"InfluxDB at {settings.url} has no user yet: make its first with `influx setup`")
    return Server(version, build)


def health(settings: InfluxSettings) -> Server:
    """Return what server answers; InfluxError says in a sentence why it cannot be written to or read from."""
    found = check_server(settings)
    with opened(settings) as client:
        for kept in Kept:
            if client.buckets_api().find_bucket_by_name(settings.name(kept)) is None:  # type: ignore[no-untyped-call]
                raise InfluxError(_no_bucket(settings, settings.name(kept)))
    return found


def refusal(settings: InfluxSettings, error: InfluxDBError) -> str:
    """Return what a server's refusal means, in one sentence."""
    status, said = status_of(error), said_by(error)
    if status == 401:
        return f"InfluxDB at {settings.url} refuses the token"
    if status == 403:
        return f"the token may not do this at InfluxDB {settings.url}: {said}"
    if status == 404 and "bucket" in said:
        return _no_bucket(settings, said)
    if status == 404 and "organization" in said:
        return f"InfluxDB at {settings.url} has no organisation {settings.org}, or the token may not see it"
    if status:
        return f"InfluxDB at {settings.url} answers {status}: {said}"
    return f"InfluxDB at {settings.url}: {said}"


def status_of(error: InfluxDBError) -> int:
    """Return the status of the server's answer; 0 where there was none."""
    status = getattr(error, "status", None) or getattr(error.response, "status", None)
    return int(status or 0)


def said_by(error: InfluxDBError) -> str:
    """Return what the server said, in one line of bounded length."""
    body = getattr(error, "body", None)
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or error.message or "")
    try:
        stated = json.loads(text)
        text = str(stated.get("message", text)) if isinstance(stated, dict) else text
    except ValueError:
        pass
    return " ".join(text.split())[:500]


def asked_wait(error: InfluxDBError) -> float:
    """Return how long the server asks to be left alone, 0 where it does not say, at most five minutes [s]."""
    headers = getattr(error, "headers", None) or {}
    stated = str(headers.get("Retry-After", "0"))
    return min(float(stated), 300.0) if stated.isascii() and stated.isdigit() else 0.0


def _no_bucket(settings: InfluxSettings, said: str) -> str:
    name = next((name for name in (settings.long_bucket, settings.bucket) if name in said), said)
    return f"InfluxDB at {settings.url} has no bucket {name}: run callgauge influx init"


def _reason(error: BaseException) -> str:
    """Return the innermost cause in words."""
    reason = getattr(error, "reason", None)
    while isinstance(reason, BaseException):
        error, reason = reason, getattr(reason, "reason", None)
    strerror = getattr(error.__cause__ or error.__context__ or error, "strerror", None)
    return str(strerror or getattr(error, "strerror", None) or str(error).split(": ")[-1] or type(error).__name__)
