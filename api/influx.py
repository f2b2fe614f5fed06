"""`callgauge influx`: set an InfluxDB 2 server up for Callgauge, and say whether it is well."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say

if TYPE_CHECKING:
    from analytics.store.influx import InfluxSettings

UNUSABLE = 2

app = typer.Typer(help="InfluxDB 2 beside the store: set-up and health.", no_args_is_help=True)

Url = Annotated[str | None, typer.Option("--url", envvar="CALLGAUGE_INFLUX_URL", help="Address of the server.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="CALLGAUGE_INFLUX_TOKEN",
        help="API token. Better in the environment: others on the machine see a command's options.",
    ),
]
Org = Annotated[str | None, typer.Option("--org", envvar="CALLGAUGE_INFLUX_ORG", help="Organisation.")]
Bucket = Annotated[
    str | None, typer.Option("--bucket", envvar="CALLGAUGE_INFLUX_BUCKET", help="Bucket of minutes and intervals.")
]
LongBucket = Annotated[
    str | None, typer.Option("--long-bucket", envvar="CALLGAUGE_INFLUX_LONG_BUCKET", help="Bucket of hours and days.")
]
CaFile = Annotated[
    str | None,
    typer.Option("--ca-file", envvar="CALLGAUGE_INFLUX_CA_FILE", help="Certificates that vouch for the server."),
]


@app.callback()
def influx() -> None:
    """Look after InfluxDB."""


def _settings(
    url: str | None,
    token: str | None,
    org: str | None,
    bucket: str | None,
    long_bucket: str | None,
    ca_file: str | None,
) -> InfluxSettings:
    from api.settings import load, with_given

    return with_given(
        load().influx, url=url, token=token, org=org, bucket=bucket, long_bucket=long_bucket, ca_file=ca_file
    )


def _guarded(work: Callable[[], None]) -> int:
    """Run the work of a command; what InfluxDB cannot do is one line and a status."""
    from analytics.store.settings import StoreError

    try:
        work()
    except StoreError as error:
        say(str(error))
        return UNUSABLE
    return 0


@app.command()
def init(
    url: Url = None,
    token: Token = None,
    org: Org = None,
    bucket: Bucket = None,
    long_bucket: LongBucket = None,
    ca_file: CaFile = None,
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", min=0, help="Retention of minutes and intervals; 0 keeps for ever.")
    ] = None,
    long_keep_days: Annotated[
        int | None, typer.Option("--long-keep-days", min=0, help="Retention of hours and days; 0 keeps for ever.")
    ] = None,
    reader_token: Annotated[
        Path | None,
        typer.Option("--reader-token", metavar="FILE", help="Write a token here that may only read, for Grafana."),
    ] = None,
) -> int:
    """Make the buckets, their retention and the tasks that sum hours; what is right already is left alone."""

    def work() -> None:
        from dataclasses import replace

        from analytics.store.influx_setup import set_up

        settings = _settings(url, token, org, bucket, long_bucket, ca_file)
        if keep_days is not None:
            settings = replace(settings, keep_days=keep_days)
        if long_keep_days is not None:
            settings = replace(settings, long_keep_days=long_keep_days)
        for done in set_up(settings):
            sys.stdout.write(f"{done.kind} {done.name}: {done.change}, {done.states}\n")
        if reader_token is not None:
            from analytics.store.influx_reader import give_reader_token

            done = give_reader_token(settings, reader_token)
            sys.stdout.write(f"{done.kind} {done.name}: {done.change}, {done.states}\n")

    return _guarded(work)


@app.command()
def health(
    url: Url = None,
    token: Token = None,
    org: Org = None,
    bucket: Bucket = None,
    long_bucket: LongBucket = None,
    ca_file: CaFile = None,
) -> int:
    """Say in one sentence whether the server can be written to and read from; status 2 where not."""

    def work() -> None:
        from analytics.store.influx import health as asked

        settings = _settings(url, token, org, bucket, long_bucket, ca_file)
        found = asked(settings)
        sys.stdout.write(f"InfluxDB {found.version} at {settings.url} is well and has both buckets\n")

    return _guarded(work)
