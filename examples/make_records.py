"""Writes examples/records: October 2025 of the example estate as a CUCM cluster would have exported it.

`python examples/make_records.py` makes the same bytes each time. The supplier's invoice of the month goes with it.
"""

from __future__ import annotations

import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))

from collector.estate.folder import load_estate  # noqa: E402
from collector.simulator.records import RecordSimulator, write_month  # noqa: E402


def main() -> None:
    """Write the month."""
    folder = HERE / "records"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    simulator = RecordSimulator(load_estate(HERE / "estate"), seed=2025, calls_a_day=300, poor_site="S09")
    write_month(simulator, date(2025, 10, 1), 31, folder)
    # A supplier's clock is not the exchange's: its minutes are never quite the same.
    minutes = Decimal(simulator.truth.outbound_seconds.total()) / 60 * Decimal("1.004")
    (HERE / "estate" / "invoices.csv").write_text(
        f"month,side,site,minutes,amount,source\n2025-10,ip,,{minutes:.2f},,carrier invoice (invented)\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
