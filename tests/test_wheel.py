"""A wheel, installed apart from the sources, runs: with every file that it needs at run time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample_pcaps" / "clean_pcma.pcap"
PACKAGES = ("analytics", "api", "collector", "dashboards")


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        command, cwd=cwd, env={**kept, **variables}, capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tracked sources as the image's recipe does it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    tools = folder / "tools"
    lock = ROOT / "packaging" / "docker" / "requirements-build.lock"
    try:
        run(sys.executable, "-m", "venv", tools, cwd=folder)
        run(tools / "bin" / "pip", "install", "-q", "--require-hashes", "-r", lock, cwd=folder)
    except (AssertionError, subprocess.TimeoutExpired) as reason:
        pytest.skip(f"what builds wheels cannot be installed here: {str(reason).strip()[-200:]}")
    build = ("wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "made", ".")
    run(tools / "bin" / "pip", *build, cwd=folder)
    (made,) = (folder / "made").glob("callgauge-*.whl")
    return made


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`callgauge` of an environment of its own, into which nothing of the sources leads."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    run(folder / "bin" / "pip", "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    # What it depends on is here already, with the very versions: it is not fetched again.
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "beside.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return folder / "bin" / "callgauge"


def test_every_file_that_is_no_python_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert tracked.returncode == 0 or not (ROOT / ".git").exists()
    for name in tracked.stdout.splitlines():
        if (ROOT / name).exists():
            assert name in inside
    assert {"dashboards/assets/callgauge.css", "api/schema/replay.schema.json"} <= inside
    assert all(name.split("/")[0] in PACKAGES or ".dist-info/" in name for name in inside)


def test_it_runs_where_the_sources_are_not(command: Path, tmp_path: Path) -> None:
    assert run(command, "--version", cwd=tmp_path).stdout.startswith("callgauge ")
    where = run(command.parent / "python", "-c", "import api, dashboards; print(api.__file__)", cwd=tmp_path).stdout
    assert Path(where.strip()).is_relative_to(command.parents[1])
    said = json.loads(run(command, "replay", SAMPLE, "--format", "json", cwd=tmp_path).stdout)
    assert len(said["calls"]) == 1
    for name in ("demo", "serve", "collect", "init", "report"):
        assert "Usage" in run(command, name, "--help", cwd=tmp_path).stdout


def test_it_begins_an_installation_and_makes_a_demonstration(command: Path, tmp_path: Path) -> None:
    run(command, "init", "new", cwd=tmp_path)
    assert "estate" in run(command, "settings", "show", cwd=tmp_path / "new").stdout
    run(command, "demo", "made", "--only-past", "--months", "1", "--calls-a-day", "70", cwd=tmp_path)
    assert (tmp_path / "made" / "truth.json").exists()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the image's processor is an x86-64")
def test_kernels_of_the_images_processor_are_kept_and_taken(command: Path, tmp_path: Path) -> None:
    named = {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CPU_FEATURES": "", "CALLGAUGE_CACHE": str(tmp_path / "cache")}
    run(command.parent / "python", "-m", "collector.compile_ahead", cwd=tmp_path, **named)
    first = run(command, "replay", SAMPLE, cwd=tmp_path, **named).stdout
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.o")}
    assert "walk.o" in {path.name for path in kept}
    for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)  # as the image's file system is: read-only
    assert run(command, "replay", SAMPLE, cwd=tmp_path, **named).stdout == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.o")} == kept
    own = run(command, "replay", SAMPLE, "--format", "json", cwd=tmp_path).stdout
    assert own == run(command, "replay", SAMPLE, "--format", "json", cwd=tmp_path, **named).stdout
