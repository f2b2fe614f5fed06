"""Settings as people write them: a TOML file and variables of the environment, read into values or named problems."""

from __future__ import annotations

import re
import tomllib
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin

from analytics.store.settings import StoreError, read_settings
from api.settings import MOST_SECRET_OCTETS, OTHERS, PREFIX, SHARED, Key
from collector.cdr.watching import FeedFolder
from collector.estate.problems import nearest, shown
from collector.receivers.hep import PORT as HEP_PORT
from collector.receivers.listening import Listen, ListenError, listen_address
from collector.receivers.sip_publish import PORT as SIP_PORT

MOST_OCTETS: Final = 1 << 20
_AT_LINE = re.compile(r"\(at line (\d+)")
_CHOICES: Final[Mapping[str, frozenset[str]]] = {
    "process.log": frozenset({"text", "logfmt", "json"}),
    "process.log_level": frozenset({"debug", "info", "warning", "error"}),
    "packets.program": frozenset({"", "dumpcap", "tcpdump", "ring"}),
}
_FOR_EVER: Final = "forever"
_ZERO_MEANS: Final = frozenset(
    {"cdr.settle_seconds", "influx.keep_days", "influx.long_keep_days", "influx.dead_letter_octets"}
)
"""Numbers that may be 0 outside [lake], where all may."""
_MOST: Final[Mapping[str, int]] = {"broker.port": 65_535, "packets.snaplen": 262_144, "agent.window": 1_024}
_MOST_NUMBER: Final = 1 << 53
_PATTERNS: Final[Mapping[str, tuple[str, str]]] = {
    "influx.url": (r"https?://[^\s/@]+(?:/\S*)?", "must be like http://HOST:8086, without user or password"),
    "serve.listen": (r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}", "must be HOST:PORT"),
    "serve.public_url": (r"|https?://[^\s/@?#]+(?:/[^\s?#]*)?", "must be like https://HOST, without user or query"),
    "oidc.issuer": (r"|https?://[^\s/@?#]+(?:/[^\s?#]*)?", "must be like https://HOST/PATH, without user or query"),
    "process.metrics": (r"|(?:[\w.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}", "must be HOST:PORT, or empty"),
    "name": (r"[^\x00-\x1f]{0,128}", "must be one short line"),
}


class _ValueError(ValueError):
    """A value is not what the setting takes; the text goes on after its name."""


class Reader:
    """Gathers values by path with where each comes from, and every problem on the way."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = {key.path: key for key in keys}
        self._sections = {".".join(key.path.split(".")[:n]) for key in keys for n in range(1, key.path.count(".") + 1)}
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[str] = []

    def take_file(self, path: Path) -> None:
        """Read a settings file."""
        try:
            with path.open("rb") as file:
                data = file.read(MOST_OCTETS + 1)
            text = data.decode("utf-8-sig")
        except OSError as error:
            self.problems.append(f"{path}: the file cannot be read: {error.strerror}")
            return
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            self.problems.append(f"{path}:{line}: the line is not UTF-8")
            return
        if len(data) > MOST_OCTETS:
            self.problems.append(f"{path}: the file is larger than {MOST_OCTETS:,} octets")
            return
        try:
            document = tomllib.loads(text)
        except RecursionError:
            self.problems.append(f"{path}: this is no TOML: nested too deep")
            return
        except ValueError as error:
            at = _AT_LINE.search(str(error))
            self.problems.append(f"{path}:{at[1] if at else text.count(chr(10)) + 1}: this is no TOML: {error}")
            return
        lines = lines_of(text)
        self._take_table(path, lines, document, "")

    def _take_table(self, path: Path, lines: Mapping[str, int], table: Mapping[str, Any], prefix: str) -> None:
        for name, value in table.items():
            here = f"{prefix}{name}"
            at = f"{path}:{lines[here]}" if here in lines else str(path)
            if here in SHARED:
                self.problems.append(f"{at}: [{here}] is a section of its own: [{SHARED[here]}]")
            elif here in self._sections and here not in self._keys:
                if isinstance(value, dict):
                    self._take_table(path, lines, value, f"{here}.")
                else:
                    self.problems.append(f"{at}: {here} is a section: write [{here}]")
            elif here not in self._keys:
                self.problems.append(f"{at}: {self._unknown(prefix, name, isinstance(value, dict))}")
            elif self._keys[here].secret:
                key = self._keys[here]
                self.problems.append(
                    f"{at}: {here} is a secret and stands in no settings file: set {key.variable}, "
                    f"or name a file that holds it with {name}_file"
                )
            else:
                self._take(self._keys[here], value, at, path.parent)

    def _unknown(self, prefix: str, name: str, table: bool) -> str:
        known = [path[len(prefix) :] for path in self._keys if path.startswith(prefix)]
        known = [path for path in known if "." not in path]
        sections = [path[len(prefix) :] for path in self._sections if path.startswith(prefix)]
        sections = [path for path in sections if "." not in path]
        if table:
            return f"there is no section [{prefix}{name}]{nearest(name, sections)}"
        where = f"in [{prefix[:-1]}]" if prefix else "before the sections"
        return f"there is no setting {shown(name)} {where}{nearest(name, [*known, *sections])}"

    def take_environment(self, environment: Mapping[str, str]) -> None:
        """Read the variables that are ours; an empty one is not given."""
        known = {key.variable: key for key in self._keys.values()}
        for variable, text in sorted(environment.items()):
            if not variable.startswith(PREFIX) or variable in OTHERS or not text:
                continue
            key = known.get(variable)
            if key is None:
                self.problems.append(f"{variable}: there is no such setting{nearest(variable, known)}")
                continue
            try:
                value = from_text(key, text)
            except _ValueError as error:
                self.problems.append(f"{variable}: {error}")
                continue
            self._take(key, value, variable, None)

    def take_secret_files(self) -> None:
        """Read the files of secrets, where the environment does not hold them itself."""
        for key in [one for one in self._keys.values() if one.secret]:
            path = self.values.get(f"{key.path}_file")
            if path is None or key.path in self.values:
                continue
            at = self.origins[f"{key.path}_file"]
            try:
                with path.open("rb") as file:
                    data = file.read(MOST_SECRET_OCTETS)
                secret = data.partition(b"\n")[0].rstrip(b"\r").decode("utf-8")
            except (OSError, UnicodeDecodeError):
                self.problems.append(f"{at}: {key.path}_file: {path} cannot be read")
                continue
            if not secret:
                self.problems.append(f"{at}: {key.path}_file: the first line of {path} is empty")
                continue
            self._take(key, secret, str(path), None)

    def _take(self, key: Key, given: Any, at: str, folder: Path | None) -> None:
        try:
            value = as_kind(key, given)
            _check(key, value)
        except _ValueError as error:
            self.problems.append(f"{at}: {key.path} {error}")
            return
        if folder is not None:
            # What a file names lies where the file lies, wherever the command is run.
            value = _within(value, folder)
        self.values[key.path] = value
        self.origins[key.path] = at

    def check(self) -> None:
        """Look at what settings only mean together."""
        for path, needs in (("hep.certificate_key", "hep.certificate"), ("hep.client_authority", "hep.certificate")):
            if path in self.values and needs not in self.values:
                self.problems.append(f"{self.origins[path]}: {path} is given without {needs}")
        for low, high in (("packets.backoff_s", "packets.longest_backoff_s"), *_WAITS):
            least, most = (self.values.get(path, self._keys[path].default) for path in (low, high))
            if least > most:
                at = self.origins.get(low) or self.origins[high]
                self.problems.append(f"{at}: {low} is {least:g}, which is more than {high}, {most:g}")


_WAITS: Final = (
    ("influx.retry_seconds", "influx.retry_most_seconds"),
    ("agent.receipt_seconds", "agent.receipt_most_seconds"),
    ("agent.backoff_seconds", "agent.backoff_most_seconds"),
    ("centre.backoff_seconds", "centre.backoff_most_seconds"),
)


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each section and key of a TOML document, by path; of what spans lines, the first."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        head = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
        key = re.match(r"""\s*([\w."' -]+?)\s*=""", line)
        if head:
            section = _plain(head[1])
            parts = section.split(".")
            for count in range(1, len(parts) + 1):
                found.setdefault(".".join(parts[:count]), number)
        elif key:
            parts = [*section.split("."), *_plain(key[1]).split(".")] if section else _plain(key[1]).split(".")
            for count in range(1, len(parts) + 1):
                found.setdefault(".".join(parts[:count]), number)
    return found


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def from_text(key: Key, text: str) -> Any:
    """Return what a variable's text means; lists are separated by commas."""
    kind = _without_none(key.kind)
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise _ValueError(f"must be true or false, not {_value(key, text)}")
        return text.lower() in ("true", "1", "yes")
    if kind in (int, float):
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            raise _ValueError(f"must be a {_number(kind)}, not {_value(key, text)}") from None
    if get_origin(kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if get_origin(kind) is not None:
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        return {name.strip(): int(value) if value.strip().isdecimal() else value.strip() for name, _, value in pairs}
    return text


def as_kind(key: Key, given: Any) -> Any:
    """Return a value as its setting's type."""
    kind = _without_none(key.kind)
    if kind is bool or kind is str:
        if not isinstance(given, kind):
            raise _ValueError(f"must be {'true or false' if kind is bool else 'text'}, not {_value(key, given)}")
        return given
    if kind in (int, float):
        wanted = int if kind is int else int | float
        if isinstance(given, bool) or not isinstance(given, wanted):
            raise _ValueError(f"must be a {_number(kind)}, not {_value(key, given)}")
        return kind(given)
    if kind is bytes or kind is Path:
        if not isinstance(given, str) or not given or "\0" in given:
            raise _ValueError(f"must be {'a path' if kind is Path else 'text'}, not {_value(key, given)}")
        return Path(given).expanduser() if kind is Path else given.encode()
    if get_origin(kind) is tuple:
        return _tuple(key, given, get_args(kind)[0])
    return _days(key, given)


def _within(value: Any, folder: Path) -> Any:
    """A value with its paths relative to a folder."""
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, tuple) and value and isinstance(value[0], FeedFolder):
        named = ("path", "mapping", "move_to")
        return tuple(
            replace(one, **{name: folder / path for name in named if (path := getattr(one, name)) is not None})
            for one in value
        )
    return value


def _feed_folders(key: Key, given: Any) -> tuple[FeedFolder, ...]:
    """Folders of call records: texts that are paths, or tables."""
    if not isinstance(given, list) or not given:
        raise _ValueError(f"must be a list of paths or tables, not {_value(key, given)}")
    return tuple(_feed_folder({"path": one} if isinstance(one, str) else one) for one in given)


def _feed_folder(given: Any) -> FeedFolder:
    if not isinstance(given, dict) or any(not isinstance(one, str) or "\0" in one for one in given.values()):
        raise _ValueError(f"names {shown(str(given))}, which is neither a path nor a table of texts")
    names = [one.name for one in fields(FeedFolder)]
    for name in given:
        if name not in names:
            raise _ValueError(f"has a table with {shown(name)}, which is not known{nearest(name, names)}")
    if not given.get("path"):
        raise _ValueError("has a table without path")
    if given.get("after", "keep") not in ("keep", "move", "delete"):
        raise _ValueError(f"has a table whose after is {shown(given['after'])}: keep, move or delete")
    if (given.get("after") == "move") != bool(given.get("move_to")):
        raise _ValueError('has a table with one of after = "move" and move_to and not the other')
    paths = {name: Path(given[name]).expanduser() for name in ("path", "mapping", "move_to") if given.get(name)}
    return FeedFolder(**{**given, **paths})


def _tuple(key: Key, given: Any, of: Any) -> tuple[Any, ...]:
    if of is FeedFolder:
        return _feed_folders(key, given)
    if not isinstance(given, list) or not given or any(not isinstance(one, str) or not one for one in given):
        raise _ValueError(f"must be a list of texts, not {_value(key, given)}")
    if of is not Listen:
        return tuple(given)
    try:
        return tuple(listen_address(one, SIP_PORT if key.section == "publish" else HEP_PORT) for one in given)
    except ListenError as error:
        raise _ValueError(f"names {error}") from None


def _days(key: Key, given: Any) -> Mapping[str, int | None]:
    days = {name: None if value == _FOR_EVER else value for name, value in given.items()} if _is_table(given) else given
    try:
        return read_settings({"keep_days": days}, "lake").keep_days
    except StoreError as error:
        raise _ValueError(f"({str(error).removeprefix('lake: ')})") from None


def _is_table(given: Any) -> bool:
    return isinstance(given, dict)


def _check(key: Key, value: Any) -> None:
    """Hold a value to its bounds."""
    if isinstance(value, str) and key.path in _CHOICES and value not in _CHOICES[key.path]:
        known = ", ".join(sorted(one for one in _CHOICES[key.path] if one))
        raise _ValueError(f"must be one of {known}, not {shown(value)}{nearest(value, _CHOICES[key.path])}")
    if isinstance(value, str) and key.path in _PATTERNS and not re.fullmatch(_PATTERNS[key.path][0], value):
        raise _ValueError(_PATTERNS[key.path][1])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    least = 0 if key.path in _ZERO_MEANS or key.path.startswith("lake.") else None
    most = _MOST.get(key.path, _MOST_NUMBER)
    if not (0 < value <= most or value == least):
        raise _ValueError(f"must be {'from' if least == 0 else 'above'} 0 and at most {most:,}, not {value:g}")


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        return next(one for one in get_args(kind) if one is not type(None))
    return kind


def _number(kind: Any) -> str:
    return "whole number" if kind is int else "number"


def _value(key: Key, given: Any) -> str:
    return "this" if key.secret else shown(str(given))
