"""The one place where numba is switched: every kernel takes its decorator from here.

Kernels are plain Python. `NUMBA_DISABLE_JIT=1` runs them as such, which is how the tests compare them with their
references. Bounds checks stay on because packets are hostile input. Kernels work on the arrays they are given and
allocate nothing, so numba's reference counting is off: it costs ten times the work itself (two locked instructions
for every array and call).

Compiled code is kept in the user's cache folder under a digest of the kernels' source, so that a changed kernel is
never run from old machine code, wherever and however the package is installed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])

_HERE = Path(__file__).parent

# The stubs know neither the setting nor the option.
_config: Any = numba.config
_njit: Any = numba.njit


def kernel_cache() -> Path:
    """Where compiled kernels of exactly this source lie."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in (*sorted(_HERE.rglob("*_numba_fns.py")), *sorted(_HERE.rglob("columns.py")), _HERE / "loads.py"):
        digest.update(source.read_bytes())
    digest.update(Path(__file__).read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(home, "callgauge", "kernels", digest.hexdigest()[:16])


def is_compiled() -> bool:
    """Whether an earlier process left compiled kernels behind, so that this one need not compile."""
    return any(Path(_config.CACHE_DIR).rglob("walk_numba_fns.walk-*.nbc"))


if not _config.CACHE_DIR:
    _config.CACHE_DIR = str(kernel_cache())


def njit(function: Kernel) -> Kernel:
    """Compile a kernel on first call and keep the machine code on disk for the next process."""
    return cast(Kernel, _njit(cache=True, boundscheck=True, nogil=True, _nrt=False)(function))


def njit_inline(function: Kernel) -> Kernel:
    """Compile a function into the kernels that call it; it is cached as a part of them."""
    return cast(Kernel, _njit(boundscheck=True, nogil=True, _nrt=False, forceinline=True)(function))
