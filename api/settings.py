"""What may be set: `callgauge.toml` and `CALLGAUGE_*` in one typed object, made once at the start and passed down.

Each part declares its own settings as a frozen dataclass; a section of the file is one of them. What is given first
wins: an option of the command, the environment, the file, the default. Secrets stand in the environment, or in files
that the settings name, never in the settings file itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_type_hints

from analytics.store.influx import InfluxSettings
from analytics.store.settings import LakeSettings
from analytics.store.spool import SpoolSettings
from api.alerts.settings import AlertSettings
from api.beside import ProcessSettings
from api.settings_error import SettingsError
from api.web.settings import OidcSettings, ServeSettings
from collector.cdr.watching import FeedSettings
from collector.live.child import PacketSettings
from collector.live.engine import LiveSettings
from collector.receivers.hep import HepSettings
from collector.receivers.sip_publish import PublishSettings
from collector.transport.agent import AgentSettings
from collector.transport.centre import CentreSettings
from collector.transport.session import BrokerSettings

__all__ = ["Key", "Settings", "SettingsError", "all_keys", "build", "load", "with_given"]
S = TypeVar("S", bound=Any)

FILE: Final = "callgauge.toml"
FILE_VARIABLE: Final = "CALLGAUGE_CONFIG"
PREFIX: Final = "CALLGAUGE_"
OTHERS: Final = frozenset(
    {
        FILE_VARIABLE,
        "CALLGAUGE_BROKER",  # the option --broker, which wins over [broker]
        "CALLGAUGE_BUILD_INFLUXD",
        "CALLGAUGE_CACHE",
        "CALLGAUGE_FULL_SIZE",
        "CALLGAUGE_INFLUXD",
        "CALLGAUGE_TRACEBACK",
    }
)
"""Variables of ours that are no settings."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it."""

    name: str = ""
    """Name of this collector in the store; the host's if not given."""
    store: Path = Path("callgauge-store")
    """Folder of the store."""
    estate: Path | None = None
    """Folder of the estate, with its tariffs; without, nothing is said of sites."""
    lake: LakeSettings = field(default_factory=LakeSettings)
    influx: InfluxSettings = field(default_factory=InfluxSettings)
    packets: PacketSettings = field(default_factory=lambda: PacketSettings(()))
    live: LiveSettings = field(default_factory=LiveSettings)
    hep: HepSettings = field(default_factory=HepSettings)
    publish: PublishSettings = field(default_factory=PublishSettings)
    cdr: FeedSettings = field(default_factory=FeedSettings)
    agent: AgentSettings = field(default_factory=lambda: AgentSettings(""))
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    centre: CentreSettings = field(default_factory=CentreSettings)
    process: ProcessSettings = field(default_factory=ProcessSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    oidc: OidcSettings = field(default_factory=OidcSettings)
    origins: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Where each setting comes from that is no default, e.g. `callgauge.toml:12` or `CALLGAUGE_STORE`."""

    def wants(self, section: str) -> bool:
        """Whether a part is asked for: by the setting that it cannot do without."""
        return f"{section}.{ASKED_BY[section]}" in self.origins

    def lake_settings(self) -> LakeSettings | None:
        """Settings to open the store with; None where none are given, for then its own hold."""
        return self.lake if any(key.startswith("lake.") for key in self.origins) else None


ASKED_BY: Final = MappingProxyType(
    {
        "packets": "interfaces",
        "hep": "listen",
        "publish": "listen",
        "cdr": "folders",
        "influx": "url",
        "agent": "site",
        "broker": "host",
        "oidc": "issuer",
    }
)
"""A part works when this setting of its section is given."""
SHARED: Final = MappingProxyType({"agent.broker": "broker", "centre.broker": "broker", "agent.spool_settings": "spool"})
"""Parts of sections that are sections of their own, for others share them."""
RENAMED: Final = MappingProxyType({"hep.auth_key": "hep.key", "hep.key": "hep.certificate_key"})
"""Settings that are called otherwise than their field."""
SECRETS: Final = frozenset({"influx.token", "hep.key", "oidc.client_secret"})
"""Settings that stand in the environment, or in a file that the setting with `_file` behind its name names."""
MOST_SECRET_OCTETS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that may be set."""

    path: str
    """Sections and name, e.g. `hep.limits.connections`."""
    place: tuple[str, ...]
    """Fields that lead to it from `Settings`."""
    kind: Any
    default: Any

    @property
    def variable(self) -> str:
        """Its variable in the environment."""
        return PREFIX + self.path.replace(".", "_").upper()

    @property
    def secret(self) -> bool:
        """Whether it is never shown."""
        return self.path in SECRETS

    @property
    def section(self) -> str:
        """Section of the file that it stands in; empty: before all sections."""
        return self.path.rpartition(".")[0]


def all_keys() -> tuple[Key, ...]:
    """Everything that may be set, in the order in which it is documented."""
    return tuple(_keys(Settings, Settings(), (), ""))


def _keys(of: type[Any], defaults: Any, place: tuple[str, ...], prefix: str) -> list[Key]:
    kinds = get_type_hints(of)
    found: list[Key] = []
    # Sections within come last: in TOML a section ends where the next one begins.
    for one in sorted(fields(of), key=lambda each: is_dataclass(kinds[each.name])):
        here = f"{prefix}{one.name}"
        if here == "origins" or here in SHARED:
            continue
        default = getattr(defaults, one.name)
        if is_dataclass(kinds[one.name]):
            found += _keys(kinds[one.name], default, (*place, one.name), f"{here}.")
            continue
        path = RENAMED.get(here, here)
        found.append(Key(path, (*place, one.name), kinds[one.name], default))
        if path in SECRETS:
            found.append(Key(f"{path}_file", (), Path | None, None))
    return found


def load(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; SettingsError names all that is wrong.

    Without `path` the file is what CALLGAUGE_CONFIG names, else `callgauge.toml` in the working folder if it is there.
    """
    from api.settings_reading import Reader

    named = path or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    reader = Reader(all_keys())
    if named is not None or Path(FILE).exists():
        reader.take_file(named or Path(FILE))
    reader.take_environment(environment)
    reader.take_secret_files()
    reader.check()
    if reader.problems:
        raise SettingsError("\n".join(reader.problems))
    return build(reader.values, reader.origins)


def build(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    """Return settings with these values, by path; all else is as by default."""
    given = {key.place: values[key.path] for key in all_keys() if key.path in values and key.place}
    made = _built(Settings, Settings(), (), given)
    assert isinstance(made, Settings)
    shared = {"broker": made.broker}
    agent = _with(made.agent, **shared, spool_settings=made.spool)
    known: Settings = _with(
        made, agent=agent, centre=_with(made.centre, **shared), origins=MappingProxyType(dict(origins))
    )
    return known


def _built(of: type[Any], defaults: Any, place: tuple[str, ...], given: Mapping[tuple[str, ...], Any]) -> Any:
    changed = {}
    for one in fields(of):
        here = (*place, one.name)
        default = getattr(defaults, one.name)
        if here in given:
            changed[one.name] = given[here]
        elif is_dataclass(default) and not isinstance(default, type):
            changed[one.name] = _built(type(default), default, here, given)
    return _with(defaults, **changed)


def _with(settings: Any, **changed: Any) -> Any:
    return replace(settings, **changed)


def with_given(settings: S, **given: object) -> S:
    """Return settings with what options give, which wins; None is not given."""
    return replace(settings, **{name: value for name, value in given.items() if value is not None})
