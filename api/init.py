"""`callgauge init`: a folder to begin with, of settings, an estate and secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from api.progress import say

UNUSABLE = 2
SITE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What may stand in a topic of the agents."""


class File(NamedTuple):
    """A file to be made."""

    path: str
    text: str
    mode: int = 0o644


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where; made if absent.")] = Path(),
    site: Annotated[str, typer.Option("--site", metavar="NAME", help="Key of the first site.")] = "main",
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="UID:GID", help="Give the files to this user; as root alone.")
    ] = None,
) -> int:
    """Write settings, an estate and secrets to begin with; nothing is overwritten."""
    if not SITE.fullmatch(site):
        say(f"{site} is no key of a site: 1 to 64 letters, digits, -, _ and .")
        return UNUSABLE
    who = _owner(owner)
    files = list(files_of(site))
    there = [file.path for file in files if os.path.lexists(folder / file.path)]
    if there:
        say(f"{folder} holds {', '.join(there[:3])}{' and more' if len(there) > 3 else ''}: nothing is overwritten")
        return UNUSABLE
    for file in files:
        _write(folder, file, who)
    typer.echo(f"{folder / 'callgauge.toml'}: what may be set, with its defaults")
    typer.echo(f"{folder / 'estate'}: sites, subnets, devices; callgauge estate check {folder / 'estate'}")
    typer.echo(f"{folder / 'secrets'}: random passwords and tokens, for this machine alone")
    return 0


def files_of(site: str) -> Iterator[File]:
    """Yield the files of a folder to begin with."""
    from api.init_secrets import secret_files

    yield File("callgauge.toml", settings_text())
    yield from estate_files(site)
    yield from (File(path, text, 0o600) for path, text in secret_files(site))


def settings_text() -> str:
    """Return a settings file in which everything that may be set stands as a comment, but for the estate."""
    from api.settings import all_keys
    from api.settings_command import plain, toml
    from api.settings_words import doc_of

    lines = [
        "# Settings of Callgauge. What stands behind `#` is the default; sections may stay empty.",
        "# `callgauge settings show` says what is set, `callgauge doctor` whether it works.",
    ]
    section = ""
    for key in all_keys():
        if key.secret:
            continue  # secrets stand in the environment, or in the file that the next setting names
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"]
        name, default = key.path.rpartition(".")[2], plain(key.default)
        lines += ["", f"# {doc_of(key)}"]
        if key.path == "estate":
            lines.append('estate = "estate"')
        elif default in (None, ""):
            lines.append(f"# {name} =")
        else:
            lines.append(f"# {name} = {toml(default)}")
    return "\n".join(lines) + "\n"


def estate_files(site: str) -> Iterator[File]:
    """Yield an estate of one site: each file with its columns told, and no row but that site's."""
    from collector.estate.columns import FILES, SITES
    from collector.estate.cost_columns import COST_FILES

    yield File(
        "estate/estate.toml",
        "# The estate: where things are and what they cost. `callgauge estate check` looks through it.\n"
        '[estate]\nname = "My estate"\ntimezone = "Europe/London"\ncountry = "GB"\ncurrency = "GBP"\n',
    )
    for file in (*FILES, *COST_FILES):
        told = [f"# {file.doc}", *(f"#   {column.name}: {column.doc}" for column in file.columns)]
        header = ",".join(column.name for column in file.columns)
        row = f"{site},{site.capitalize()},office" + "," * (len(file.columns) - 3) + "\n" if file is SITES else ""
        yield File(f"estate/{file.name}", "\n".join([*told, header]) + "\n" + row)


def _owner(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    uid, colon, gid = text.partition(":")
    if not (uid.isdecimal() and (gid.isdecimal() or not colon)):
        raise typer.BadParameter(f"{text} is no UID:GID")
    return int(uid), int(gid or uid)


def _write(folder: Path, file: File, owner: tuple[int, int] | None) -> None:
    path = folder / file.path
    private = file.mode == 0o600
    for parent in (folder, path.parent):
        if not parent.exists():
            parent.mkdir(parents=True, mode=0o700 if private else 0o755)
            if owner is not None:
                os.chown(parent, *owner)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode), "w", encoding="utf-8") as out:
        if owner is not None:
            os.fchown(out.fileno(), *owner)
        out.write(file.text)
