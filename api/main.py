"""The `callgauge` command: options in, exit status out.

Only what every start needs is imported here; numpy, numba, rich and pyarrow come with the work that uses them.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from api import __version__
from api.progress import say
from api.settings_command import defaults_of
from api.settings_error import SettingsError

PARTLY_READ = 1
"""Exit status: a report was made, but the input ended before its end."""
UNUSABLE = 2
"""Exit status: wrong options, not a capture, nothing readable, no such call."""
INTERNAL = 70
"""Exit status: a defect of Callgauge itself (EX_SOFTWARE of sysexits.h)."""
INTERRUPTED = 130
READER_GONE = 141
"""Exit status: whoever read our output closed it (128 + SIGPIPE), or stdout was closed from the start."""

app = typer.Typer(
    name="callgauge",
    help="Telephony analytics that stands up to an audit.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Format(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(f"callgauge {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def callgauge(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    _install: Annotated[
        bool,
        typer.Option("--install-completion", help="Let the shell complete commands; its name may follow."),
    ] = False,
    _show: Annotated[
        bool, typer.Option("--show-completion", help="Print the shell's script for that; its name may follow.")
    ] = False,
) -> None:
    """Telephony analytics that stands up to an audit."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def replay(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="pcap or pcapng, .gz or .zst; several are one capture; - is a pipe."),
    ],
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to write the report.")] = Format.TEXT,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write files into DIR, made if absent.")
    ] = None,
    call: Annotated[
        str | None, typer.Option("--call", metavar="CALL-ID", help="Show this call fully; its first characters do.")
    ] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", metavar="EXPR", help="Keep what matches, e.g. 'codec:pcma mos<3 state:failed'."),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Rows in each table of the text report.")] = 10,
    deep: Annotated[
        str | None, typer.Option("--deep", metavar="CALL-ID", help="Add Wireshark's own decode of this call (tshark).")
    ] = None,
    show_numbers: Annotated[
        bool, typer.Option("--show-numbers", help="Show people's numbers and dialled digits; masked otherwise.")
    ] = False,
    progress: Annotated[
        bool | None,
        typer.Option("--progress/--no-progress", help="A bar on stderr; by itself when stderr is a terminal."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="DIR", help="Keep calls and streams in the store DIR, the same file once."),
    ] = None,
    estate: Annotated[
        Path | None, typer.Option("--estate", metavar="DIR", help="With --store: say at which sites they were.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the pages of the calls, the worst first, as one file."),
    ] = None,
) -> int:
    """Turn captures into calls, RTP streams and MOS."""
    from api.output import Request, RequestError, report

    request = Request(
        files=tuple(files),
        format=format_.value,
        out=out,
        call=deep or call,
        filter=filter_,
        top=top,
        deep=deep is not None,
        show_numbers=show_numbers,
        progress=progress,
        store=store,
        estate=estate,
        html=html,
    )
    try:
        return PARTLY_READ if report(request) else 0
    except RequestError as error:
        complain(str(error))
        return UNUSABLE


@cache
def with_all_commands() -> typer.Typer:
    """The application with every command: only `replay` starts without them, for their modules take their time."""
    from api.alerts.commands import app as alerts
    from api.alerts.webhook_commands import app as webhook
    from api.cdr import app as cdr
    from api.collect import collect
    from api.demo import demo
    from api.doctor import doctor
    from api.estate import app as estate
    from api.health import health
    from api.influx import app as influx
    from api.init import init
    from api.mos import mos
    from api.report.command import report as report_command
    from api.serve import audit_app, serve, token_app, user_app
    from api.settings_command import app as settings_app
    from api.store import app as store_app
    from api.tariff import app as tariff
    from api.usage import rerate
    from api.work import agents, work

    app.command()(mos)
    app.command()(collect)
    app.command()(demo)
    app.command()(doctor)
    app.command()(health)
    app.command()(init)
    app.command()(rerate)
    app.command()(work)
    app.command()(agents)
    app.command()(serve)
    app.command("report")(report_command)
    app.add_typer(alerts, name="alerts")
    app.add_typer(audit_app, name="audit")
    app.add_typer(cdr, name="cdr")
    app.add_typer(estate, name="estate")
    app.add_typer(influx, name="influx")
    app.add_typer(settings_app, name="settings")
    app.add_typer(store_app, name="store")
    app.add_typer(tariff, name="tariff")
    app.add_typer(webhook, name="webhook")
    app.add_typer(token_app, name="token")
    app.add_typer(user_app, name="user")
    return app


def complain(sentence: str) -> None:
    """Say one line on stderr."""
    say(" ".join(sentence.split()))


def invoke(arguments: list[str]) -> int:
    """Run the command that the arguments name.

    By hand, for the application itself would end with status 1 where a reader is gone.
    """
    completing = "_CALLGAUGE_COMPLETE" in os.environ or arguments[:1] in (
        ["--install-completion"],
        ["--show-completion"],
    )
    if completing:
        from api.completion import answer

        return answer(typer.main.get_command(with_all_commands()), arguments)
    command = typer.main.get_command(app if arguments[:1] == ["replay"] else with_all_commands())
    chosen = getattr(command, "commands", {}).get(arguments[0]) if arguments else None
    defaults = defaults_of(arguments[0], chosen) if chosen is not None else {}
    try:
        with command.make_context("callgauge", list(arguments), default_map=defaults) as context:
            status = command.invoke(context)
    except typer.Exit as leaving:
        status = leaving.exit_code
    sys.stdout.flush()
    return status if isinstance(status, int) else 0


def shell(arguments: list[str]) -> int:
    """Run the command and return its exit status; no traceback leaves it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        return invoke(arguments)
    except SettingsError as error:
        for line in str(error).splitlines():
            complain(line)
        return UNUSABLE
    except typer.TyperException as error:
        complain(f"{error.format_message()} (callgauge --help)")
        return UNUSABLE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Python would complain again when it flushes at exit: give it a place to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return UNUSABLE
    except Exception as error:
        # The one broad handler: people get a line, not a traceback.
        if os.environ.get("CALLGAUGE_TRACEBACK"):
            raise
        if type(error).__module__ == "_duckdb":
            # Files of a store are read while rows are asked for. DuckDB is not imported here, for that takes long.
            said = str(error).strip().partition("\n")[0]
            complain(f"the store cannot be read: {said} (callgauge store check --deep says which file is damaged)")
            return UNUSABLE
        complain(
            f"internal error, {type(error).__name__}: {error}. CALLGAUGE_TRACEBACK=1 shows where; please report it"
        )
        return INTERNAL


def open_closed_streams() -> bool:
    """Give closed standard streams a place, so that no capture takes their number; whether stdout was closed.

    Nothing is read from a closed stdin and nobody hears a closed stderr; a closed stdout is a reader that is gone.
    """
    closed = [number for number, at in enumerate((sys.__stdin__, sys.__stdout__, sys.__stderr__)) if at is None]
    for number in closed:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number: this one
        if number == 1:
            continue
        stream = os.fdopen(number, "w" if number else "r", encoding="utf-8")
        setattr(sys, "stderr" if number else "stdin", stream)
    if 1 in closed:
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(reader)
        os.close(writer)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    return 1 in closed


def run() -> None:
    """Entry point of the installed command."""
    # No matrix is multiplied here: OpenBLAS would start a thread for each processor, and they spin while we start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Facts hold no cycles, and a capture makes them by the million: by default the collector looks thousands of times.
    gc.set_threshold(300_000, 20, 20)
    without_stdout = open_closed_streams()
    status = shell(sys.argv[1:])
    if without_stdout and status == READER_GONE:
        complain("standard output is closed")
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    # All is written and closed: taking a million facts apart again would only cost time.
    os._exit(status)


if __name__ == "__main__":
    run()
