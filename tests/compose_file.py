"""docker-compose.yml as a test runs it: each service's own command, files and environment, with paths and names mapped.

What a container sees under a path, the test has under another; services find each other by name there, by port here.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docker-compose.yml"
_GIVEN = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables replaced as docker-compose does it, once it is read: an empty one is not given."""

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: replaced(one) for name, one in value.items()}
        if isinstance(value, list):
            return [replaced(one) for one in value]
        if isinstance(value, str):
            return _GIVEN.sub(lambda match: variables.get(match[1]) or match[2] or "", value)
        return value

    found: dict[str, Any] = replaced(yaml.safe_load(FILE.read_text(encoding="utf-8")))
    return found


@dataclass
class Machine:
    """The place of a container's files here, and the ports that stand for its addresses."""

    folder: Path
    file: dict[str, Any]
    addresses: Mapping[str, str]
    """Texts that name an address within the containers, and what stands for them here."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def places(self, service: str) -> dict[str, str]:
        """Paths here by path in the container: volumes and secrets; named volumes get a folder."""
        asked = self.file["services"][service]
        found = {}
        for volume in asked.get("volumes", []):
            source, target = volume.split(":")[:2]
            here = self.folder / "volumes" / source
            if source.startswith((".", "/")):
                here = FILE.parent / source
            else:
                here.mkdir(parents=True, exist_ok=True)
            found[target] = str(here)
        for secret in asked.get("secrets", []):
            found[f"/run/secrets/{secret}"] = str(FILE.parent / self.file["secrets"][secret]["file"])
        return found

    def mapped(self, service: str, text: str) -> str:
        """A text of a container with its paths and addresses as they are here."""
        for target, here in sorted(self.places(service).items(), key=lambda pair: -len(pair[0])):
            text = re.sub(rf"(?<![\w/]){re.escape(target)}(?=/|$|[\s:\"'])", here, text, flags=re.MULTILINE)
        for address, here in self.addresses.items():
            text = text.replace(address, here)
        return text

    def environment(self, service: str) -> dict[str, str]:
        """The service's environment, mapped; of ours nothing of CALLGAUGE_ or INFLUXD_ but what it is given."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("CALLGAUGE_", "INFLUX"))}
        kept = {name: os.environ[name] for name in ("CALLGAUGE_CACHE",) if name in os.environ}
        asked = self.file["services"][service].get("environment", {})
        return own | kept | {name: self.mapped(service, str(value)) for name, value in asked.items()}

    def start(self, service: str, program: list[str], command: list[str] | None = None) -> subprocess.Popen[bytes]:
        """Start a service's command with a program in place of its image's."""
        asked = command if command is not None else self.file["services"][service]["command"]
        words = [self.mapped(service, word) for word in asked]
        work = self.folder / "work" / service
        work.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{service}.log").open("ab") as log:
            self.running[service] = subprocess.Popen(
                [*program, *words], cwd=work, env=self.environment(service), stdout=log, stderr=log
            )
        return self.running[service]

    def said(self, service: str) -> str:
        """What a service wrote."""
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Stop all, the last begun first."""
        for process in reversed(list(self.running.values())):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
