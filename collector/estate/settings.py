"""`estate.toml`: settings of the estate, or named problems with their line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from analytics.sites import Benefit, EstateSettings, IntersiteCalls, Origin
from collector.estate.columns import SETTINGS_FILE, SETTINGS_KEYS
from collector.estate.problems import Problems, nearest, shown

MOST_BYTES = 2**20
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,12})?")
_AT_LINE = re.compile(r"\(at line (\d+)")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def read_settings(root: Path, problems: Problems) -> EstateSettings:
    """Settings of the folder; what is absent or wrong has its default."""
    path = root / SETTINGS_FILE
    if path.exists() and not path.is_file():
        problems.error(Origin(SETTINGS_FILE, 0), "unreadable_file", "this is no file")
        return EstateSettings("")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        problems.error(Origin(SETTINGS_FILE, 0), "missing_file", "the file is missing")
        return EstateSettings("")
    except OSError as error:
        problems.error(Origin(SETTINGS_FILE, 0), "unreadable_file", f"the file cannot be read: {error.strerror}")
        return EstateSettings("")
    if len(data) > MOST_BYTES:
        problems.error(Origin(SETTINGS_FILE, 0), "file_too_large", f"the file is larger than {MOST_BYTES:,} bytes")
        return EstateSettings("")
    return parse_settings(data, problems)


def parse_settings(data: bytes, problems: Problems) -> EstateSettings:
    """Settings from a file's bytes, as `read_settings`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.error(Origin(SETTINGS_FILE, line), "not_utf8", "the line is not UTF-8: save the file as UTF-8")
        return EstateSettings("")
    try:
        document = tomllib.loads(text)
    except RecursionError:
        problems.error(Origin(SETTINGS_FILE, 1), "bad_toml", "the file is no TOML: nested too deep")
        return EstateSettings("")
    except ValueError as error:
        at = _AT_LINE.search(str(error))
        problems.error(
            Origin(SETTINGS_FILE, int(at[1]) if at else text.count("\n") + 1),
            "bad_toml",
            f"the file is no TOML: {error}",
        )
        return EstateSettings("")
    return _Reader(text, document, problems).settings()


class _Reader:
    """Keys of the document one by one; each wrong one is noted and has its default."""

    def __init__(self, text: str, document: Mapping[str, Any], problems: Problems) -> None:
        self._lines = text.split("\n")
        self._problems = problems
        self._sections: dict[str, Mapping[str, Any]] = {}
        self._benefits: list[Mapping[str, Any]] = []
        for name, content in document.items():
            self._take_section(name, content)

    def _take_section(self, name: str, content: object) -> None:
        if name not in SETTINGS_KEYS:
            sentence = f"there is no section or key {shown(name)} here{nearest(name, SETTINGS_KEYS)}"
            self._wrong(name, "unknown_key", sentence)
            return
        tables = content if name == "benefit" and isinstance(content, list) else [content]
        for table in tables:
            if not isinstance(table, dict):
                self._wrong(name, "bad_value", f"{name} must be a section")
                continue
            for key in table:
                if key not in SETTINGS_KEYS[name]:
                    sentence = f"there is no key {shown(key)} in [{name}]{nearest(key, SETTINGS_KEYS[name])}"
                    self._wrong(key, "unknown_key", sentence)
            if name == "benefit":
                self._benefits.append(table)
            else:
                self._sections[name] = table

    def settings(self) -> EstateSettings:
        """The settings."""
        default = EstateSettings("")
        name = self._text("estate", "name", "")
        if not name:
            self._wrong("[estate]", "missing_key", "[estate] has no name")
        return EstateSettings(
            name=name,
            timezone=self._timezone(default.timezone),
            country=self._matching("estate", "country", "[A-Z]{2}", "no two capital letters", default.country),
            currency=self._matching("estate", "currency", "[A-Z]{3}", "no three capital letters", default.currency),
            ip_tariff=self._matching("tariffs", "ip", _FOLDER.pattern, "no folder name", default.ip_tariff),
            legacy_tariff=self._matching("tariffs", "legacy", _FOLDER.pattern, "no folder name", default.legacy_tariff),
            claim_percent=self._decimal("claim", "percent", default.claim_percent, 100),
            minutes_tolerance_percent=self._decimal(
                "claim", "minutes_tolerance_percent", default.minutes_tolerance_percent, 100
            ),
            target_seconds=self._whole("access", "target_seconds", default.target_seconds, 86_400),
            target_share=self._decimal("access", "target_share", default.target_share, 1),
            benefits=tuple(self._benefit(table) for table in self._benefits),
            intersite_calls=IntersiteCalls(
                self._matching(
                    "legacy",
                    "intersite_calls",
                    "|".join(IntersiteCalls),
                    "neither charged nor carried",
                    default.intersite_calls,
                )
            ),
            tariffs_stated=bool(self._sections.get("tariffs")),
            intersite_stated="intersite_calls" in self._sections.get("legacy", {}),
        )

    def _wrong(self, key: str, code: str, sentence: str) -> None:
        """Note an error at the line on which the key stands."""
        place = re.compile(rf"\s*[\[\"']*{re.escape(key.strip('[]'))}[\]\"']*\s*(?:[=.\]#]|$)")
        line = next((number for number, text in enumerate(self._lines, start=1) if place.match(text)), 1)
        self._problems.error(Origin(SETTINGS_FILE, line), code, sentence)

    def _text(self, section: str, key: str, default: str) -> str:
        value = self._sections.get(section, {}).get(key, default)
        if isinstance(value, str) and value.isprintable() and len(value) <= 200:
            return value
        self._wrong(key, "bad_value", f"{key} must be a short text in quotes")
        return default

    def _matching(self, section: str, key: str, pattern: str, defect: str, default: str) -> str:
        text = self._text(section, key, default)
        if re.fullmatch(pattern, text):
            return text
        self._wrong(key, "bad_value", f"{key} {shown(text)} is {defect}")
        return default

    def _timezone(self, default: str) -> str:
        text = self._text("estate", "timezone", default)
        try:
            ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._wrong("timezone", "bad_value", f"timezone {shown(text)} is not known; an example is Europe/London")
            return default
        return text

    def _decimal(self, section: str, key: str, default: Decimal, most: int) -> Decimal:
        value = self._sections.get(section, {}).get(key)
        if value is None:
            return default
        number = _exact(value)
        if number is None or number > most:
            self._wrong(
                key, "bad_value", f'{key} must be a number from 0 to {most}, in quotes if it has a point: "2.5"'
            )
            return default
        return number

    def _whole(self, section: str, key: str, default: int, most: int) -> int:
        number = self._decimal(section, key, Decimal(default), most)
        if number == int(number):
            return int(number)
        self._wrong(key, "bad_value", f"{key} must be a whole number")
        return default

    def _benefit(self, table: Mapping[str, Any]) -> Benefit:
        name, cost = table.get("name"), _exact(table.get("cost"))
        if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 200:
            self._wrong("benefit", "bad_value", "a [[benefit]] needs a name in quotes")
            name = ""
        if not cost:
            self._wrong("benefit", "bad_value", "a [[benefit]] needs a cost above 0, in quotes if it has a point")
            cost = Decimal(1)
        return Benefit(name, cost)


def _exact(value: object) -> Decimal | None:
    """An exact number of a TOML value: binary fractions are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value) if 0 <= value < 10**15 else None
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return Decimal(value)
    return None
