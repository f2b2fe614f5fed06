"""A month of call detail records: imported, joined and rated, beside DuckDB counting the same files by site."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.captures import ROOT
from benchmarks.measure import Command, interleaved
from benchmarks.records import Month, prepared
from benchmarks.targets import Target

if TYPE_CHECKING:
    from benchmarks.run import Bench


def cdr(bench: Bench) -> None:
    """Records a second of the whole way into the store, against DuckDB reading the same files."""
    month = prepared(bench.folder, bench.records)
    store = bench.folder / "records-store"
    octets = sum(path.stat().st_size for path in month.files.iterdir())
    count = int(month.truth["records"])
    bench.say(f"call detail records: {count:,} in {octets / 1e9:.2f} GB")
    where = ["--store", str(store), "--estate", str(month.estate), "--rejects", str(bench.folder / "rejects.csv")]
    ours = Command(
        [*bench.command, "cdr", "import", str(month.files), *where, "--no-progress"],
        {},
        ROOT,
        lambda: shutil.rmtree(store, ignore_errors=True),
    )
    peer = Command(
        [sys.executable, "-m", "benchmarks.count_by_site", str(month.files), str(month.estate / "devices.csv")],
        {},
        ROOT,
    )
    commands = {"callgauge": ours, "duckdb": peer}
    measured = interleaved(commands, min(3, bench.runs), sorted(month.files.iterdir()))
    if bench.checked:
        bench.differences += wrong(month, store)
    shutil.rmtree(store, ignore_errors=True)
    for name, runs in measured.items():
        bench.runs_by_name[f"cdr {name}"] = {"records": count, "runs": [run._asdict() for run in runs.runs]}
    mine, other = measured["callgauge"], measured["duckdb"]
    note = f"{mine.seconds:.1f} s, {mine.cpu_seconds:.1f} s of processor time"
    bench.targets.append(
        Target("CDR imported, joined and rated", "k rows/s", 300, 600, count / mine.seconds / 1e3, True, note)
    )
    note = f"DuckDB {other.seconds:.1f} s"
    bench.targets.append(
        Target("CDR against DuckDB counting", "x its time", 6, 3, mine.seconds / other.seconds, False, note)
    )
    peak = mine.peak_mib * 1.048576
    bench.targets.append(Target("CDR peak memory", "MB", 2_000, 1_000, peak, False))


def wrong(month: Month, store: Path) -> list[str]:
    """What the store says otherwise than the generator."""
    script = (
        "import sys; from pathlib import Path; from analytics.store.lake import Lake\n"
        "lake = Lake.open(Path(sys.argv[1])); c = lake.connect(); lake.view(c, 'usage')\n"
        "print(*c.execute(\"SELECT count(*), count(*) FILTER (kind = 'outbound'), sum(seconds) FILTER "
        "(kind = 'outbound'), sum(ip_cost) FROM usage\").fetchone())"
    )
    command = [sys.executable, "-c", script, str(store)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines, outbound, seconds, atoms = (int(number) for number in re.findall(r"\d+", said))
    found = {"lines": lines, "outbound_lines": outbound, "outbound_seconds": seconds}
    differences = [
        f"records: {name} is {value}, not {month.truth[name]}"
        for name, value in found.items()
        if value != month.truth[name]
    ]
    if Decimal(atoms) / 6_000_000_000 != Decimal(month.truth["ip_pounds"]):
        differences.append(f"records: {atoms} atoms are not {month.truth['ip_pounds']} pounds")
    return differences
