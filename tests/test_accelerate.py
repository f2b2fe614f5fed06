"""Kernels as object code: kept, loaded again, and compiled anew when what was kept is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collector.accelerate import IS_PLAIN, KernelError, njit
from collector.loads import be16, be32, be64, le32

ROOT = Path(__file__).resolve().parents[1]
SETTLED = """
import numpy as np
from collector import accelerate
@accelerate.njit
def add_up(values, times):
    total = 0
    for k in range(values.shape[0]):
        total += values[k] * times
    return total
print(add_up(np.arange(5), 3), accelerate.kernel_cache())
"""


def run(cache: Path, plain: bool = False) -> tuple[int, Path]:
    environment = {**os.environ, "CALLGAUGE_CACHE": str(cache), "NUMBA_DISABLE_JIT": "1" if plain else "0"}
    command = [sys.executable, "-c", SETTLED]
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    value, folder = result.stdout.split()
    return int(value), Path(folder)


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", None])
def test_damaged_object_code_is_compiled_anew(tmp_path: Path, damage: bytes | None) -> None:
    value, folder = run(tmp_path)
    kept = folder / "add_up.o"
    good = kept.read_bytes()
    kept.write_bytes(good[:-1] + b"\xff" if damage is None else damage)
    assert (value, run(tmp_path)[0]) == (30, 30)
    assert kept.read_bytes() == good


def test_kernels_run_as_plain_python_too(tmp_path: Path) -> None:
    assert run(tmp_path, plain=True)[0] == 30
    assert not list(tmp_path.rglob("*.o"))


WRAPPING = """
import numpy as np
from collector import accelerate
@accelerate.njit
def multiply(values):
    return values[0] * values[1] % 1000
print(multiply(np.full(2, (1 << 62) + 3)))
print(np.geterr()["over"])
"""


def test_plain_kernels_wrap_silently_and_nothing_else_does() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-W", "error", "-c", WRAPPING]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    # (2^62 + 3)^2 = 2^124 + 6 * 2^62 + 9, of which 64 bits keep 2^63 + 9 as a negative number.
    assert (done.stdout.split(), done.stderr) == ([str((9 - (1 << 63)) % 1000), "warn"], "")


@pytest.mark.skipif(IS_PLAIN, reason="plain Python raises IndexError")
def test_a_kernel_that_leaves_its_array_fails_loudly() -> None:
    def leave(values: np.ndarray) -> int:
        return int(values[7])

    with pytest.raises(KernelError, match="left its bounds"):
        njit(leave)(np.arange(5))


def test_loads_are_bounded_on_both_sides() -> None:
    window = np.frombuffer(bytes(range(1, 10)), np.uint8)
    assert (be16(window, 0), be32(window, 5), le32(window, 0)) == (0x0102, 0x06070809, 0x04030201)
    assert be64(window, 1) == 0x0203040506070809
    for load, octets in ((be16, 2), (be32, 4), (be64, 8), (le32, 4)):
        for at in (-1, len(window) - octets + 1):
            with pytest.raises(IndexError):
                load(window, at)


@pytest.mark.skipif(IS_PLAIN, reason="nothing is compiled")
def test_kernels_compiled_ahead_are_those_that_a_run_loads(tmp_path: Path) -> None:
    environment = {**os.environ, "CALLGAUGE_CACHE": str(tmp_path)}
    ahead = [sys.executable, "-m", "collector.compile_ahead"]
    subprocess.run(ahead, env=environment, cwd=ROOT, check=True)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.o")}
    assert {"index_messages.o", "follow_calls.o", "settle_rows.o", "work_through.o"} <= set(kept)
    run = [sys.executable, "-m", "api.main", "replay", str(ROOT / "sample_pcaps" / "clean_pcma.pcap")]
    subprocess.run(run, env=environment, cwd=ROOT, check=True, capture_output=True)
    now = {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.o")}
    assert {name: now[name] for name in kept} == kept
    assert set(now) == {*kept, "walk.o"}


def test_object_code_for_a_named_processor_lies_apart_from_this_ones(tmp_path: Path, monkeypatch: Any) -> None:
    own = run(tmp_path)
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    named = run(tmp_path)
    assert (named[0], run(tmp_path)) == (30, named)
    assert named[1] != own[1]
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64" if os.uname().machine == "x86_64" else "cortex-a53")
    assert run(tmp_path)[1] not in (own[1], named[1])
