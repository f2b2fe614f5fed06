"""The one place where numba is switched: every kernel takes its decorator from here.

Kernels are plain Python. `NUMBA_DISABLE_JIT=1` runs them as such, which is how the tests compare them with their
references. Bounds checks stay on because packets are hostile input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def njit(function: Kernel) -> Kernel:
    """Compile a kernel on first call and keep the machine code on disk for the next process."""
    return cast(Kernel, numba.njit(cache=True, boundscheck=True, nogil=True)(function))


def njit_inline(function: Kernel) -> Kernel:
    """Compile a small function that kernels call; it is cached as a part of them."""
    return cast(Kernel, numba.njit(boundscheck=True, nogil=True)(function))
