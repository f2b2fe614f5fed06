"""A `callgauge` command within bounds of its own: `python -m api.web.bounded SECONDS COMMAND …`."""

from __future__ import annotations

import os
import resource
import sys
from typing import Final

MEMORY_OCTETS: Final = 6 << 30
"""Address space: numba maps far more than it uses."""
REPORT_OCTETS: Final = 256 << 20
"""Longest file that may be written, its standard output among them."""
MORE_S: Final = 5


def bound(seconds: int) -> None:
    """Bound this process: computing time [s], memory, files; and let others go first."""
    cpu = seconds + MORE_S
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OCTETS, MEMORY_OCTETS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (REPORT_OCTETS, REPORT_OCTETS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)


if __name__ == "__main__":
    bound(int(sys.argv[1]))
    del sys.argv[1]
    from api.main import run

    run()
