"""`callgauge demo`: an invented county to look around in, its past simulated and its calls going on.

The past goes through the import and the store as any estate's does; the present is packets that `callgauge collect`
measures. So every page shows what it would of a real estate, and `truth.json` says what is true.
"""

from __future__ import annotations

import errno
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from api.progress import say

if TYPE_CHECKING:
    from api.demo_past import DemoSize

UNUSABLE = 2
PARTLY = 1
MADE: Final = "demo.json"
OLDEST_S: Final = 1_800
"""A past that ended longer ago is made anew [s]."""
READY_WITHIN_S: Final = 40.0
STOP_WITHIN_S: Final = 30.0
ROLES: Final = ("viewer", "engineer", "finance", "auditor", "admin")


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Folder of the demonstration, made if absent.", show_default=True)
    ] = Path("callgauge-demo"),
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Serve API and dashboards here.")
    ] = "127.0.0.1:8080",
    only_past: Annotated[bool, typer.Option("--only-past", help="Make the past, then end.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make the past anew, whatever is there.")] = False,
    months: Annotated[
        int, typer.Option("--months", metavar="N", min=1, max=24, help="Months before the present one.")
    ] = 12,
    calls_a_day: Annotated[
        int, typer.Option("--calls-a-day", metavar="N", min=70, max=50_000, help="Calls of a working day.")
    ] = 1_500,
) -> int:
    """Show an invented county of 70 sites: twelve months of calls and costs, and calls going on now."""
    from api.demo_past import DemoError, DemoSize

    began = time.monotonic()
    size = DemoSize(months=months, calls_a_day=calls_a_day)
    try:
        # A past takes its time: whoever waits for it hears at once that it could not be shown.
        with nullcontext() if only_past else _held(listen) as place:
            _prepare(folder, size, fresh)
            if place is None:
                say(f"{folder}: the past is there after {time.monotonic() - began:.0f} s")
                return 0
            people = _people(folder)
        return _show(folder, listen, people, began)
    except DemoError as error:
        say(str(error))
        return UNUSABLE


def _held(listen: str) -> socket.socket:
    """Take the address that is to be served at, so that nobody else does meanwhile. DemoError where it is not free."""
    from api.demo_past import DemoError
    from api.metrics import metrics_address

    try:
        host, port = metrics_address(listen)
        if not port:
            raise DemoError(f"{listen}: name the port that the demonstration is to be served at")
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except ValueError as error:
        raise DemoError(str(error)) from error
    except OSError as error:
        raise DemoError(f"{listen}: there is no such address here: {error.strerror}") from error
    taken = socket.socket(found[0], socket.SOCK_STREAM)
    # As the server sets it: connections that ended a short while ago do not keep an address.
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(found[4])
        # Bound alone, another that sets the same option could bind it as well.
        taken.listen(1)
    except OSError as error:
        taken.close()
        why = "something else is served there" if error.errno == errno.EADDRINUSE else error.strerror
        raise DemoError(f"{listen} cannot be served at: {why}; name another address by --listen HOST:PORT") from error
    return taken


def _prepare(folder: Path, size: DemoSize, fresh: bool) -> None:
    """Make the past, unless one that ended a short while ago is there. DemoError where other things are."""
    from api.demo_past import DemoError, make_past

    mark = folder / MADE
    now = datetime.now(UTC).replace(microsecond=0)
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise DemoError(f"{folder} holds something that is no demonstration: name another folder")
        known = json.loads(mark.read_text(encoding="ascii"))
        if not fresh and known.get("months") == size.months and known.get("calls_a_day") == size.calls_a_day:
            ended = known.get("end")
            if ended is not None and now.timestamp() - ended < OLDEST_S:
                return
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stated = {"months": size.months, "calls_a_day": size.calls_a_day}
    mark.write_text(json.dumps(stated) + "\n", encoding="ascii")
    say(f"simulating {size.months} months of 70 sites in {folder}")
    make_past(folder, now, size)
    mark.write_text(json.dumps({**stated, "end": int(now.timestamp())}) + "\n", encoding="ascii")


def _people(folder: Path) -> dict[str, str]:
    """Passwords of somebody of each role, made once; a file that only the owner may read keeps them."""
    from api.demo_past import STORE
    from api.web.accounts import Accounts
    from api.web.rights import Role

    kept = folder / "people.json"
    if kept.exists():
        known: dict[str, str] = json.loads(kept.read_text(encoding="ascii"))
        return known
    made = {role: secrets.token_urlsafe(9) for role in ROLES}
    kept.touch(mode=0o600)
    with closing(Accounts(folder / STORE)) as accounts:
        for role, password in made.items():
            accounts.add_person(role, Role(role), time.time_ns(), password=password, numbers=False)
    kept.write_text(json.dumps(made) + "\n", encoding="ascii")
    return made


def _show(folder: Path, listen: str, people: dict[str, str], began: float) -> int:
    """Let calls go on, be measured and be shown, until told to stop."""
    from api.demo_past import ESTATE, STORE

    where = ["--store", str(folder / STORE), "--estate", str(folder / ESTATE)]
    ours = [sys.executable, "-P", "-m", "api.main"]
    with _children() as children:
        traffic = children.start(
            [sys.executable, "-P", "-m", "collector.simulator.live", str(folder / ESTATE)], stdout=subprocess.PIPE
        )
        children.start([*ours, "collect", "--read", "-", "--name", "demo", *where], stdin=traffic.stdout)
        if traffic.stdout is not None:
            traffic.stdout.close()
        children.start([*ours, "serve", "--listen", listen, *where])
        _await_answer(listen, children)
        say(f"ready after {time.monotonic() - began:.0f} s: http://{listen}/")
        for role, password in people.items():
            say(f"  sign in as {role:<9} password {password}")
        say(f"what is true of it: {folder / 'truth.json'}; Ctrl-C ends it")
        return children.wait()


class _Children:
    """Processes that make up the demonstration; when one ends, all do."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self.told = False

    def start(
        self, command: Sequence[str], stdin: IO[Any] | None = None, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        from api.demo_past import environment

        process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603
            list(command),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=stdout,
            env=environment(),
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def ended(self) -> subprocess.Popen[bytes] | None:
        """Return one that has ended, if any has."""
        return next((process for process in self._running if process.poll() is not None), None)

    def wait(self) -> int:
        """Wait until told to stop (0), or until one has ended (1)."""
        while not self.told:
            gone = self.ended()
            if gone is not None:
                say(f"{gone.args!r} has ended with status {gone.returncode}")
                return PARTLY
            time.sleep(0.2)
        return 0

    def stop(self) -> None:
        """End all, the first that was begun first: what comes after it takes what is on its way."""
        for process in self._running:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _children() -> Iterator[_Children]:
    children = _Children()

    def told(*_: object) -> None:
        children.told = True

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield children
    finally:
        children.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _await_answer(listen: str, children: _Children) -> None:
    """Wait until the server answers. DemoError where it does not."""
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    from api.demo_past import DemoError

    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and not children.told:
        if children.ended() is not None:
            raise DemoError("the demonstration cannot run: see what was said above")
        try:
            with urlopen(f"http://{listen}/", timeout=2):  # our own server
                return
        except HTTPError:
            return
        except (URLError, OSError):
            time.sleep(0.2)
    raise DemoError(f"nothing answers at {listen}")
