"""What several test files share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from influxd_server import Influxd

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real captures and golden numbers that lies beside the project, where it does."""
    if not SHARED.is_dir():
        pytest.skip("the folder `shared` with real captures and golden numbers is not beside the project")
    return SHARED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True, check=False
    ) if shutil.which("mount") and os.geteuid() == 0 else None  # fmt: skip
    if made is None or made.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def pytest_sessionstart() -> None:
    """Build what the environment wants built before the first test, for a test's time is limited."""
    if os.environ.get("CALLGAUGE_BUILD_INFLUXD") != "1":
        return
    from influxd_server import NoServerError, build_if_missing

    try:
        build_if_missing()
    except NoServerError as reason:
        sys.stderr.write(f"{reason}; its tests are skipped\n")


@pytest.fixture(scope="session")
def influxd_program() -> Path:
    """Path of InfluxDB's server, where there is one."""
    from influxd_server import NoServerError, find

    try:
        return find()
    except NoServerError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def influxd(influxd_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """A server that runs for the whole session, set up: tests take buckets of their own."""
    from influxd_server import Influxd

    server = Influxd(influxd_program, tmp_path_factory.mktemp("influxd"))
    server.start()
    server.set_up()
    yield server
    server.kill()
