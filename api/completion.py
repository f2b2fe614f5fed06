"""Completion of commands and options by the shell: its script, shown or installed, and what it then asks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import typer

from api.progress import say

UNUSABLE = 2
PROGRAM: Final = "callgauge"
ASKED: Final = "_CALLGAUGE_COMPLETE"
"""Variable by which a shell asks for completions."""
SHOW: Final = "--show-completion"
SHELLS: Final = ("bash", "zsh", "fish")


def answer(command: Any, arguments: Sequence[str]) -> int:
    """Answer the shell, or give it its script; return the exit status."""
    # Another start does without: these load what only completion needs.
    from typer._completion_classes import completion_init
    from typer._completion_shared import get_completion_script, install
    from typer.completion import shell_complete

    if ASKED in os.environ:
        completion_init()
        return shell_complete(command, {}, PROGRAM, ASKED, os.environ[ASKED])
    shell = arguments[1] if len(arguments) > 1 else _own_shell()
    if shell not in SHELLS:
        say(f"for which shell? {arguments[0]} {'|'.join(SHELLS)}")
        return UNUSABLE
    if arguments[0] == SHOW:
        typer.echo(get_completion_script(prog_name=PROGRAM, complete_var=ASKED, shell=shell))
        return 0
    _, path = install(shell=shell, prog_name=PROGRAM, complete_var=ASKED)
    say(f"completion for {shell} is in {path}: begin a new shell")
    return 0


def _own_shell() -> str:
    """The shell that this was called from, as far as can be seen; else that of the user."""
    with suppress(OSError):
        parent = Path(f"/proc/{os.getppid()}/comm").read_text(encoding="utf-8").strip()
        if parent in SHELLS:
            return parent
    return Path(os.environ.get("SHELL", "")).name
