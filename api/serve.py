"""`callgauge serve`: the API and the dashboards; `callgauge user` and `callgauge token`: who may come in."""

from __future__ import annotations

import getpass
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say
from api.settings_command import Config

if TYPE_CHECKING:
    from api.web.accounts import Accounts
    from api.web.audit import AuditLog

UNUSABLE = 2
BROKEN = 1
"""Exit status: the audit log does not hold together."""
NS_PER_DAY = 86_400_000_000_000
user_app = typer.Typer(help="People who may sign in.", no_args_is_help=True)
audit_app = typer.Typer(help="The log of who looked at people's data and changed what.", no_args_is_help=True)
token_app = typer.Typer(help="Tokens of machines.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="Folder of the store.")]
DEFAULT = Path("callgauge-store")
RoleName = Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, engineer, finance, auditor or admin.")]
Numbers = Annotated[
    bool, typer.Option("--numbers", help="Let people's numbers be seen unmasked; each such look is logged.")
]


def serve(
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="The store; callgauge-store."),
    ] = None,
    estate: Annotated[
        Path | None,
        typer.Option("--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="The estate's folder."),
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Serve here; 127.0.0.1:8080.")
    ] = None,
    config: Config = None,
) -> int:
    """Serve the API and the dashboards, until told to stop."""
    from dataclasses import replace

    from analytics.store.settings import StoreError
    from api.logs import log_to_stderr
    from api.settings import SettingsError, load, with_given
    from collector.estate.problems import EstateError

    try:
        settings = load(config)
    except SettingsError as error:
        for line in str(error).splitlines():
            say(line)
        return UNUSABLE
    settings = with_given(settings, store=store, estate=estate)
    settings = replace(settings, serve=with_given(settings.serve, listen=listen))
    log_to_stderr(settings.process.log, settings.process.log_level)
    from api.web.serving import serve_until_stopped

    try:
        serve_until_stopped(settings)
    except (StoreError, EstateError, ValueError) as error:
        say(str(error))
        return UNUSABLE
    return 0


@user_app.command("add")
def user_add(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    role: RoleName = "viewer",
    numbers: Numbers = False,
    store: Folder = DEFAULT,
) -> int:
    """Let somebody sign in; the password is asked for, or is the first line of stdin."""
    from api.web.accounts import AccountError
    from api.web.rights import Role

    password = _password()
    with closing(_accounts(store)) as accounts:
        try:
            accounts.add_person(name, Role(_role(role)), time.time_ns(), password=password, numbers=numbers)
        except AccountError as error:
            say(str(error))
            return UNUSABLE
    _note(store, "user.add", name, to=role, with_numbers=numbers)
    say(f"{name} may sign in as {role}")
    return 0


@user_app.command("list")
def user_list(store: Folder = DEFAULT) -> int:
    """Show who may sign in."""
    with closing(_accounts(store)) as accounts:
        for one in accounts.people():
            by = "password" if one.has_password else "OpenID Connect"
            typer.echo(f"{one.name}\t{one.role.value}\t{'numbers' if one.numbers else 'masked'}\t{by}")
    return 0


@user_app.command("remove")
def user_remove(name: Annotated[str, typer.Argument(metavar="NAME")], store: Folder = DEFAULT) -> int:
    """Let somebody in no more, and end what they have open."""
    with closing(_accounts(store)) as accounts:
        if not accounts.remove_person(name):
            say(f"there is no person {name}")
            return UNUSABLE
    _note(store, "user.remove", name)
    return 0


@user_app.command("password")
def user_password(name: Annotated[str, typer.Argument(metavar="NAME")], store: Folder = DEFAULT) -> int:
    """Change a password; it is asked for, or is the first line of stdin. What was open ends."""
    from api.web.accounts import AccountError

    password = _password()
    with closing(_accounts(store)) as accounts:
        try:
            accounts.set_password(name, password)
        except AccountError as error:
            say(str(error))
            return UNUSABLE
    _note(store, "user.password", name)
    return 0


@token_app.command("add")
def token_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: RoleName = "viewer",
    numbers: Numbers = False,
    days: Annotated[int | None, typer.Option("--days", metavar="N", min=1, help="It ends after so many days.")] = None,
    store: Folder = DEFAULT,
) -> int:
    """Make a token; it is shown this once."""
    from api.web.accounts import AccountError
    from api.web.rights import Role

    now = time.time_ns()
    with closing(_accounts(store)) as accounts:
        try:
            ends = None if days is None else now + days * NS_PER_DAY
            made, secret = accounts.add_token(name, Role(_role(role)), now, numbers=numbers, ends=ends)
        except AccountError as error:
            say(str(error))
            return UNUSABLE
    _note(store, "token.add", made.id, name=name, to=role, with_numbers=numbers)
    typer.echo(secret)
    return 0


@token_app.command("list")
def token_list(store: Folder = DEFAULT) -> int:
    """Show the tokens, but not their secrets."""
    with closing(_accounts(store)) as accounts:
        for one in accounts.tokens():
            typer.echo(f"{one.id}\t{one.name}\t{one.role.value}\t{'numbers' if one.numbers else 'masked'}")
    return 0


@token_app.command("revoke")
def token_revoke(identity: Annotated[str, typer.Argument(metavar="ID")], store: Folder = DEFAULT) -> int:
    """Make a token worthless from now on."""
    with closing(_accounts(store)) as accounts:
        if not accounts.revoke(identity):
            say(f"there is no token {identity}")
            return UNUSABLE
    _note(store, "token.revoke", identity)
    return 0


@audit_app.command("list")
def audit_list(
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many lines, the newest first.")] = 50,
    store: Folder = DEFAULT,
) -> int:
    """Show the newest lines of the log."""
    from datetime import UTC, datetime
    from itertools import islice

    _accounts(store).close()
    for one in islice(_log(store).backwards(), count):
        at = datetime.fromtimestamp(one.at / 1e9, UTC).isoformat(timespec="seconds")
        unmasked = "numbers" if one.numbers else "masked"
        typer.echo("\t".join((str(one.number), at, one.who, one.role, one.what, one.of, unmasked, one.address)))
    return 0


@audit_app.command("verify")
def audit_verify(store: Folder = DEFAULT) -> int:
    """Go through the whole log; status 1 where a line was changed, taken out or put in."""
    from api.web.audit import AuditError

    _accounts(store).close()
    log = _log(store)
    try:
        count = log.verify()
    except AuditError as error:
        say(str(error))
        return BROKEN
    typer.echo(f"{count:,} lines, each with the digest of the line before; the newest is {log.head()[1]}")
    return 0


def _log(store: Path) -> AuditLog:
    from api.web.audit import AuditLog

    return AuditLog(store)


def _accounts(store: Path) -> Accounts:
    from api.web.accounts import Accounts

    if not (store / "callgauge-store.json").exists():
        raise typer.BadParameter(f"there is no store in {store}")
    return Accounts(store)


def _role(name: str) -> str:
    from api.web.rights import Role

    if name not in {role.value for role in Role}:
        raise typer.BadParameter(f"there is no role {name}: {', '.join(role.value for role in Role)}")
    return name


def _password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n")


def _note(store: Path, what: str, of: str, **more: str | bool) -> None:
    _log(store).append(time.time_ns(), f"command:{getpass.getuser()}", what, of, more=more)
