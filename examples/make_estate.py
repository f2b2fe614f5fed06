"""Writes `examples/estate`, the estate of an invented county.

`python examples/make_estate.py [DIR]` makes the same bytes each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

from collector.simulator.county import make  # noqa: E402

if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "estate")
