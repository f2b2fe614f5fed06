"""A small estate for a while: is memory flat, and is all that was sent in the stores, once?

    python -m benchmarks.soak [--minutes M] [--sites N] [--json FILE]

Agents of most sites publish over a real Mosquitto; three sites send HEP and two speak on a wire (where interfaces can
be made), each to a `callgauge collect` that publishes as a site. `callgauge work` brings all of it into the lake and a
real InfluxDB. When all have ended, what was sent is compared with what is stored, number by number, and a line is laid
through the last three quarters of each process's memory. Status 1 where a count differs or memory grows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.soak_traffic import address, site_name

if TYPE_CHECKING:
    from analytics.store.influx import InfluxSettings

ROOT = Path(__file__).resolve().parents[1]
HEP_SITES = 3
WIRE_SITES = 2
SAMPLE_S = 5.0
GROWTH_LIMIT = 1.0
"""Most that a process may grow over the last three quarters [MiB a minute]."""
PATIENCE_S = 90.0


class Sample(NamedTuple):
    """Memory of a process."""

    at: float
    """Since the soak began [s]."""
    mib: float


class Compared(NamedTuple):
    """One number at both ends."""

    what: str
    sent: int
    lake: int
    influx: int | None = None

    @property
    def equal(self) -> bool:
        """Whether nothing is missing and nothing too many."""
        return self.sent == self.lake and self.influx in (None, self.lake)


class Process:
    """A process of ours and its memory."""

    def __init__(self, name: str, words: Sequence[object], folder: Path) -> None:
        self.name = name
        self.said = folder / f"{name}.said"
        self.samples: list[Sample] = []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.said.open("w") as stderr:
            self._child = subprocess.Popen(
                [sys.executable, *map(str, words)], cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True,
                env=environment,
            )  # fmt: skip

    def sample(self, at: float) -> None:
        """Note its memory."""
        status = Path(f"/proc/{self._child.pid}/status").read_text()
        resident = next((line for line in status.splitlines() if line.startswith("VmRSS:")), None)
        if resident is not None:
            self.samples.append(Sample(at, int(resident.split()[1]) / 1024))

    def await_words(self, words: str) -> None:
        """Wait until it says so."""
        until = time.monotonic() + PATIENCE_S
        while words not in self.said.read_text():
            if self._child.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{self.name} does not begin: {self.said.read_text()}")
            time.sleep(0.1)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._child.poll() is None

    def stop(self) -> None:
        """Tell it to end in good order."""
        self._child.send_signal(signal.SIGTERM)
        self.result()

    def result(self) -> str:
        """Wait for its end; what it wrote."""
        out, _ = self._child.communicate(timeout=PATIENCE_S)
        if self._child.returncode:
            raise SystemExit(f"{self.name} ended with {self._child.returncode}: {self.said.read_text()[-2000:]}")
        return out

    def kill(self) -> None:
        """End it anyhow."""
        if self.running:
            self._child.kill()
            self._child.wait()


def growth(samples: Sequence[Sample]) -> float:
    """Slope of the line through the last three quarters, by least squares [MiB a minute]."""
    late = samples[len(samples) // 4 :]
    if len(late) < 3:
        return 0.0
    slope = np.polyfit([one.at / 60 for one in late], [one.mib for one in late], 1)[0]
    return float(slope)


@contextmanager
def wire() -> Iterator[str]:
    """Name of a wire: what goes into `…a` comes out of `…b`."""
    name = f"cgs{os.getpid() % 10**8}"
    subprocess.run(["ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b"], check=True)
    try:
        for end in "ab":
            subprocess.run(["ip", "link", "set", f"{name}{end}", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], check=True)


def can_capture() -> bool:
    """Whether interfaces can be made here and captured on."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("dumpcap") is None:
        return False
    return subprocess.run(["ip", "link", "show"], capture_output=True, check=False).returncode == 0


def write_settings(folder: Path, port: int, influx: InfluxSettings, token: str, sites: int) -> None:
    """Settings of the centre and of what collects, and the estate that says which addresses are whose."""
    estate = folder / "estate"
    estate.mkdir()
    (estate / "estate.toml").write_text('[estate]\nname = "Soak"\ntimezone = "Europe/London"\n')
    names = [f"{site_name(number)},{site_name(number)},station,,,,\n" for number in range(1, sites + 1)]
    (estate / "sites.csv").write_text("site,name,kind,parent,priority,valid_from,valid_to\n" + "".join(names))
    nets = [f"{address(number, 0)[:-2]}.0/16,{site_name(number)},,\n" for number in range(1, sites + 1)]
    (estate / "subnets.csv").write_text("subnet,site,valid_from,valid_to\n" + "".join(nets))
    (folder / "token").write_text(token)
    (folder / "token").chmod(0o600)
    connection = f'store = "centre"\n[broker]\nport = {port}\n'
    points = (
        f'[influx]\nurl = "{influx.url}"\ntoken_file = "token"\norg = "{influx.org}"\nbucket = "{influx.bucket}"\n'
        f'long_bucket = "{influx.long_bucket}"\n'
    )
    # Many commits, so that what grows with their number shows.
    (folder / "work.toml").write_text(f"{connection}{points}[centre]\ngroup_seconds = 0.5\n")
    for name in ("hep", "wire"):
        of_agent = f'[agent]\nsite = "{name}"\nspool = "spool-{name}"\n'
        (folder / f"{name}.toml").write_text(f'estate = "estate"\n[broker]\nport = {port}\n{of_agent}')


def command(*words: object) -> list[object]:
    """A command of Callgauge."""
    return ["-m", "api.main", *words]


def traffic(*words: object) -> list[object]:
    """A sender."""
    return ["-m", "benchmarks.soak_traffic", *words]


def soak(folder: Path, minutes: float, sites: int, stack: ExitStack) -> tuple[list[Compared], list[Process]]:
    """Run it in a folder; what was compared, and the processes with their memory."""
    sys.path.insert(0, str(ROOT / "tests"))
    from influxd_server import TOKEN, Influxd, find
    from mqtt_broker import Broker, free_port

    from analytics.store.influx_setup import set_up

    server = Influxd(find(), folder / "influxd")
    server.start()
    stack.callback(server.kill)
    server.set_up()
    influx = server.settings("soak")
    set_up(influx)
    mosquitto = Broker(folder / "broker")
    mosquitto.start()
    stack.callback(mosquitto.kill)
    write_settings(folder, mosquitto.port, influx, TOKEN, sites)
    seconds, port = minutes * 60, free_port()
    on_wire = can_capture()
    by_agents = sites - HEP_SITES - (WIRE_SITES if on_wire else 0)
    of_hep = ",".join(str(by_agents + 1 + number) for number in range(HEP_SITES))
    of_wire = ",".join(str(by_agents + HEP_SITES + 1 + number) for number in range(WIRE_SITES))

    def begin(name: str, *words: object) -> Process:
        process = Process(name, words, folder)
        stack.callback(process.kill)
        return process

    centre = begin("centre", *command("work", "--config", "work.toml"))
    collectors = [
        begin("hep", *command("collect", "--hep", f"tcp:127.0.0.1:{port}", "--name", "hep", "--config", "hep.toml"))
    ]
    senders: dict[str, Process] = {}
    if on_wire:
        cable = stack.enter_context(wire())
        collectors.append(
            begin("wire", *command("collect", "-i", f"{cable}b", "--name", "wire", "--config", "wire.toml"))
        )
    for collector in collectors:
        collector.await_words("collecting from")
    senders["agents"] = begin("agents", *traffic("agents", folder, mosquitto.port, by_agents, seconds))
    senders["hep"] = begin("hep-sender", *traffic("hep", port, of_hep, seconds))
    if on_wire:
        senders["wire"] = begin("wire-sender", *traffic("packets", f"{cable}a", of_wire, seconds))
    ours = [centre, *collectors, senders["agents"]]
    watch(ours, list(senders.values()), seconds)
    went = {name: json.loads(sender.result()) for name, sender in senders.items()}
    for collector in collectors:
        collector.stop()
    centre.stop()
    return compared(folder / "centre", influx, went), ours


def watch(ours: Sequence[Process], senders: Sequence[Process], seconds: float) -> None:
    """Sample memory until the senders have ended; only the time in which all of them send counts."""
    began = time.monotonic()
    while any(sender.running for sender in senders):
        at = time.monotonic() - began
        if at < seconds:
            for process in ours:
                process.sample(at)
        if at > seconds + PATIENCE_S:
            raise SystemExit("a sender does not end")
        time.sleep(SAMPLE_S)


def compared(store: Path, influx: InfluxSettings, went: Mapping[str, Mapping[str, Any]]) -> list[Compared]:
    """Compare what was sent with what the lake and InfluxDB hold."""
    from analytics.store.lake import Lake

    lake = Lake.open(store)
    connection = lake.connect()
    for table in ("calls", "messages", "streams", "intervals", "site_minutes", "phone_reports"):
        lake.view(connection, table)

    def held(query: str) -> int:
        (found,) = connection.execute(f"SELECT {query}").fetchone() or (0,)
        return int(found or 0)

    minutes = "FROM site_minutes WHERE step = 'minute'"
    agents, sent = went["agents"], went["agents"]["sent"]
    found = [
        Compared("agents: rows taken = in a spool", agents["offered"], agents["spooled"]),
        Compared("agents: dropped, or waiting at the end", 0, agents["dropped"] + agents["waiting"]),
    ]
    of_agents = "source LIKE 'site-%'"
    for table in ("calls", "streams", "intervals"):
        found.append(
            Compared(f"agents: {table}", sent[f"{table} rows"], held(f"count(*) FROM {table} WHERE {of_agents}"))
        )
    for table in ("streams", "intervals"):
        packets = held(f"sum(packets) FROM {table} WHERE {of_agents}")
        found.append(Compared(f"agents: packets in {table}", sent[f"{table} packets"], packets))
    reported = f"AND site NOT IN (SELECT DISTINCT site FROM calls WHERE NOT {of_agents} AND site IS NOT NULL)"  # noqa: S608
    found += [
        # Rows of one site and minute are summed when files are merged: their sums tell whether all are there.
        Compared("agents: calls in minutes", sent["calls rows"], held(f"sum(calls) {minutes} {reported}")),
        Compared(
            "agents: packets in minutes", sent["site_minutes packets"], held(f"sum(packets) {minutes} {reported}")
        ),
        Compared("HEP: calls", went["hep"]["calls"], held("count(*) FROM calls WHERE source = 'hep'")),
        Compared(
            "HEP: completed",
            went["hep"]["calls"],
            held("count(*) FROM calls WHERE source = 'hep' AND state = 'completed'"),
        ),
        Compared("HEP: messages", went["hep"]["messages"], held("count(*) FROM messages WHERE source = 'hep'")),
        Compared("HEP: reports in BYE", went["hep"]["reports"], held("count(*) FROM phone_reports")),
    ]
    if "wire" in went:
        rtp = went["wire"]["rtp"]
        found += [
            Compared("wire: calls", went["wire"]["calls"], held("count(*) FROM calls WHERE source = 'wire'")),
            Compared("wire: messages", went["wire"]["messages"], held("count(*) FROM messages WHERE source = 'wire'")),
            Compared("wire: streams", 2 * went["wire"]["calls"], held("count(*) FROM streams WHERE source = 'wire'")),
            Compared("wire: RTP packets in streams", rtp, held("sum(packets) FROM streams WHERE source = 'wire'")),
            Compared("wire: RTP packets in intervals", rtp, held("sum(packets) FROM intervals WHERE source = 'wire'")),
        ]
    for what, field, measurement, query in (
        ("all: calls in minutes", "calls", "site_minute", f"sum(calls) {minutes}"),
        ("all: packets in minutes", "packets", "site_minute", f"sum(packets) {minutes}"),
        ("all: intervals", "streams", "stream_interval", "count(*) FROM intervals"),
        ("all: packets in intervals", "packets", "stream_interval", "sum(packets) FROM intervals"),
    ):
        there = held(query)
        found.append(Compared(what, there, there, at_influx(influx, measurement, field)))
    connection.close()
    lake.close()
    return found


def at_influx(settings: InfluxSettings, measurement: str, field: str) -> int:
    """Sum of a field in InfluxDB."""
    from analytics.store.influx import opened

    flux = (
        f'from(bucket: "{settings.bucket}") |> range(start: -1d, stop: 1d) |> filter(fn: (r) => r._measurement == '
        f'"{measurement}" and r._field == "{field}") |> group() |> sum()'
    )
    with opened(settings) as client:
        tables = client.query_api().query(flux)
    return sum(int(record["_value"]) for found in tables for record in found.records)


def shown(found: Sequence[Compared], processes: Sequence[Process]) -> bool:
    """Print both tables; whether all is well."""
    print(f"{'what':40} {'sent':>12} {'in the lake':>12} {'in InfluxDB':>12}")
    for one in found:
        influx = "" if one.influx is None else f"{one.influx:,}"
        print(f"{one.what:40} {one.sent:12,} {one.lake:12,} {influx:>12}{'' if one.equal else '  DIFFERS'}")
    print(f"\n{'memory [MiB]':40} {'after a quarter':>16} {'at the end':>12} {'most':>8} {'grows a minute':>16}")
    flat = True
    for process in processes:
        sizes = [one.mib for one in process.samples]
        slope = growth(process.samples)
        flat &= slope <= GROWTH_LIMIT
        quarter = sizes[len(sizes) // 4]
        wrong = "" if slope <= GROWTH_LIMIT else f"  more than {GROWTH_LIMIT}"
        print(f"{process.name:40} {quarter:16.1f} {sizes[-1]:12.1f} {max(sizes):8.1f} {slope:16.3f}{wrong}")
    return flat and all(one.equal for one in found)


def main() -> None:
    """Run it as the options ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--sites", type=int, default=70)
    parser.add_argument("--json", type=Path, help="write the numbers and all samples there too")
    parser.add_argument("--folder", type=Path, help="work in this folder, which is kept")
    chosen = parser.parse_args()
    if chosen.sites < HEP_SITES + WIRE_SITES + 1 or chosen.sites > 250:
        parser.error("sites are 6 to 250")
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = chosen.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found, processes = soak(folder, chosen.minutes, chosen.sites, stack)
    well = shown(found, processes)
    if chosen.json:
        samples = {process.name: process.samples for process in processes}
        chosen.json.write_text(json.dumps({"counts": [one._asdict() for one in found], "samples": samples}) + "\n")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
