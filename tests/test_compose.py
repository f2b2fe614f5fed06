"""docker-compose.yml holds together, and what its services run works with the very files when run here."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3
from compose_file import FILE, ROOT, Machine, compose
from influxd_server import free_port
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from mqtt_broker import PROGRAM as MOSQUITTO
from wire import rtp

from api.main import shell
from api.settings import all_keys

DOCKERFILE = ROOT / "packaging" / "docker" / "Dockerfile"
CALLGAUGE = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); from api.main import run; run()"]
OURS = ("callgauge", "worker", "collector", "influx-init")
BESIDE = ("influxdb", "mosquitto", "grafana")
SERVICES: dict[str, Any] = compose({})["services"]


def test_docker_compose_finds_nothing_wrong() -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed")
    command = [program, "--profile", "capture", "-f", str(FILE), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for name in SERVICES:
        assert f"  {name}:\n" in done.stdout


def test_the_services_are_ours_and_those_beside() -> None:
    assert set(SERVICES) == {*OURS, *BESIDE}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_power_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "1000:1000"
    assert service["cap_drop"] == ["ALL"]
    assert not {"privileged", "pid", "ipc", "devices"} & set(service)
    assert service.get("cap_add", []) == (["NET_RAW", "NET_ADMIN"] if name == "collector" else [])
    # dumpcap gets its privileges when it is begun, which this would forbid.
    assert ("no-new-privileges:true" in service.get("security_opt", [])) == (name != "collector")
    assert (service.get("network_mode") == "host") == (name == "collector")
    assert service.get("read_only", False) or name == "influxdb"
    assert not any("docker.sock" in volume for volume in service.get("volumes", []))


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned_and_ports_are_of_loopback(name: str) -> None:
    assert re.fullmatch(r"callgauge:local|[\w./-]+:\d+\.\d+\.\d+", SERVICES[name]["image"])
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "influx-init"])
def test_what_stays_is_looked_after(name: str) -> None:
    assert {"test", "interval", "timeout", "retries"} <= set(SERVICES[name]["healthcheck"])
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    known = {key.variable for key in all_keys()} | {"CALLGAUGE_CONFIG"}
    assert set(SERVICES[name]["environment"]) <= known


def test_no_secret_stands_in_the_file_and_each_is_one_that_init_makes(tmp_path: Path) -> None:
    assert shell(["init", str(tmp_path)]) == 0
    for secret in compose({"DEPLOYMENT": str(tmp_path)})["secrets"].values():
        path = Path(secret["file"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("TOKEN|PASSWORD|SECRET|KEY", name):
                assert str(value).startswith("/run/secrets/")


def test_files_that_are_mounted_are_there(tmp_path: Path) -> None:
    assert shell(["init", str(tmp_path)]) == 0
    for service in compose({"DEPLOYMENT": str(tmp_path)})["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith((".", "/")):
                assert (ROOT / source).exists(), source


# The image


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in text.splitlines() if line.strip()]


def test_what_the_image_copies_is_there_and_not_kept_from_the_builder() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source in allowed, source


def test_the_image_installs_by_hash_alone_and_ends_as_nobody_special() -> None:
    steps = instructions()
    for name, rest in steps:
        if name == "RUN":
            for part in re.split(r"&&", rest):
                if "pip install" in part:
                    assert "--require-hashes" in part or "--no-index" in part
                if "pip wheel" in part:
                    assert "--no-deps --no-build-isolation" in part
    assert [rest for name, rest in steps if name == "USER"] == ["1000:1000"]
    assert len([name for name, _ in steps if name == "FROM"]) == 2
    for lock in ("requirements.lock", "packaging/docker/requirements-build.lock"):
        text = (ROOT / lock).read_text(encoding="utf-8")
        for entry in re.split(r"\n(?=\w)", text):
            assert "--hash=sha256:" in entry, entry[:80]


def test_the_image_compiles_for_a_named_processor_and_runs_as_it() -> None:
    built, run = DOCKERFILE.read_text(encoding="utf-8").split("\nFROM ${PYTHON}\n")
    for part in (built, run):
        assert re.search(r"^ARG PROCESSOR=x86-64-v2$", part, re.MULTILINE)
        assert 'NUMBA_CPU_NAME=${PROCESSOR} NUMBA_CPU_FEATURES="" CALLGAUGE_CACHE=/opt/callgauge/cache' in part


# The services, here


def eventually(ask: Callable[[], Any], machine: Machine, seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (found := ask()):
        for name, process in machine.running.items():
            assert process.poll() in (None, 0), f"{name} ended: {machine.said(name)[-2000:]}"
        assert time.monotonic() < until, {name: machine.said(name)[-1500:] for name in machine.running}
        time.sleep(0.1)
    return found


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=4) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def machine(tmp_path: Path, influxd_program: Path) -> Iterator[Machine]:
    if MOSQUITTO is None:
        pytest.skip("the broker `mosquitto` is not installed")
    assert influxd_program
    deployment = tmp_path / "deployment"
    assert shell(["init", str(deployment)]) == 0
    with (deployment / "estate" / "subnets.csv").open("a") as subnets:
        subnets.write("127.0.0.0/8,main,,\n")
    ports = {name: free_port() for name in ("influx", "broker", "serve", "work", "collect")}
    addresses = {
        "http://influxdb:8086": f"http://127.0.0.1:{ports['influx']}",
        "0.0.0.0:8080": f"127.0.0.1:{ports['serve']}",
        "127.0.0.1:8080": f"127.0.0.1:{ports['serve']}",
        "127.0.0.1:9464": f"127.0.0.1:{ports['work']}",
        "127.0.0.1:9465": f"127.0.0.1:{ports['collect']}",
    }
    file = compose({"DEPLOYMENT": str(deployment), "INTERFACES": "lo"})
    for name in ("worker", "collector"):
        given = file["services"][name]["environment"]
        assert given["CALLGAUGE_BROKER_HOST"] in ("mosquitto", "127.0.0.1")
        given |= {"CALLGAUGE_BROKER_HOST": "127.0.0.1", "CALLGAUGE_BROKER_PORT": str(ports["broker"])}
    file["ports"] = ports
    made = Machine(tmp_path, file, addresses)
    try:
        yield made
    finally:
        made.stop()


def start_mosquitto(machine: Machine) -> None:
    """The broker with the very configuration; its port is mapped, and root stays root to read a test's folder."""
    assert MOSQUITTO is not None
    places = machine.places("mosquitto")
    for path in ("mosquitto.conf", "mosquitto.rules"):
        copy = machine.folder / path
        shutil.copyfile(places[f"/mosquitto/config/{path}"], copy)
        copy.chmod(0o600)
    text = machine.mapped("mosquitto", (machine.folder / "mosquitto.conf").read_text())
    text = text.replace(places["/mosquitto/config/mosquitto.rules"], str(machine.folder / "mosquitto.rules"))
    port = machine.file["ports"]["broker"]
    text = re.sub(r"^listener 1883$", f"listener {port} 127.0.0.1", text, flags=re.MULTILINE)
    (machine.folder / "mosquitto.conf").write_text(text + ("user root\n" if os.geteuid() == 0 else ""))
    program, *rest = machine.file["services"]["mosquitto"]["command"]
    assert program == "mosquitto"
    rest = [word.replace("/mosquitto/config", str(machine.folder)) for word in rest]
    machine.start("mosquitto", [MOSQUITTO], rest)

    def is_up() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(is_up, machine)


def start_influxd(machine: Machine, program: Path) -> InfluxDBClient:
    """The server with the same environment, then what its image's entry point does with the rest of it."""
    environment = machine.environment("influxdb")
    machine.file["services"]["influxdb"]["environment"]["INFLUXD_HTTP_BIND_ADDRESS"] = (
        f"127.0.0.1:{machine.file['ports']['influx']}"
    )
    machine.start("influxdb", [str(program)], [])
    url = machine.addresses["http://influxdb:8086"]
    eventually(lambda: answers(f"{url}/health"), machine)

    def given(name: str) -> str:
        return Path(environment[f"DOCKER_INFLUXDB_INIT_{name}_FILE"]).read_text().strip()

    asked = {
        "username": environment["DOCKER_INFLUXDB_INIT_USERNAME"],
        "password": given("PASSWORD"),
        "token": given("ADMIN_TOKEN"),
        "org": environment["DOCKER_INFLUXDB_INIT_ORG"],
        "bucket": environment["DOCKER_INFLUXDB_INIT_BUCKET"],
    }
    answer = urllib3.request("POST", f"{url}/api/v2/setup", json=asked, timeout=20)
    assert answer.status == 201, answer.data
    return InfluxDBClient(url=url, token=asked["token"], org=asked["org"])


def speak(seconds: float) -> None:
    """A stream of RTP over loopback: G.711 each 20 ms (RFC 3551)."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as voice,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to,
    ):
        to.bind(("127.0.0.1", 0))
        begin = time.monotonic()
        for seq in range(round(seconds * 50)):
            voice.sendto(rtp(seq, 160 * seq) + bytes(160), to.getsockname())
            time.sleep(max(0.0, begin + (seq + 1) * 0.02 - time.monotonic()))


def may_capture() -> bool:
    program = shutil.which("dumpcap") or shutil.which("tcpdump")
    return program is not None and (os.geteuid() == 0 or "dumpcap" in program)


@pytest.mark.timeout(240)
def test_what_an_agent_measures_is_stored_shown_and_plotted(machine: Machine, influxd_program: Path) -> None:
    influx = start_influxd(machine, influxd_program)
    start_mosquitto(machine)
    assert machine.start("influx-init", CALLGAUGE).wait(60) == 0, machine.said("influx-init")
    assert "bucket callgauge_long: made" in machine.said("influx-init")
    grafana = Path(machine.places("grafana")["/var/lib/readers"], "grafana")
    assert stat.S_IMODE(grafana.stat().st_mode) == 0o600
    machine.start("worker", CALLGAUGE)
    machine.start("callgauge", CALLGAUGE)
    for name in ("worker", "callgauge"):
        (url,) = re.findall(r"http://[\d.:]+/healthz", SERVICES[name]["healthcheck"]["test"][-1])
        eventually(partial(answers, machine.mapped(name, url)), machine)
    assert "first start: this admin token is shown once: " in machine.said("callgauge")
    if not may_capture():
        pytest.skip("nothing here may capture: the agent of the file was not run")
    machine.start("collector", CALLGAUGE)
    metrics = machine.mapped("collector", "http://127.0.0.1:9465/healthz")
    eventually(lambda: answers(metrics), machine)
    speak(14)
    flux = 'from(bucket: "callgauge") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "stream_interval")'
    eventually(lambda: influx.query_api().query(flux), machine)
    reader = InfluxDBClient(url=machine.addresses["http://influxdb:8086"], token=grafana.read_text(), org="callgauge")
    found = reader.query_api().query(flux)
    with pytest.raises(ApiException, match=r"401|403"):
        reader.write_api(write_options=SYNCHRONOUS).write("callgauge", record="site_minute,site=x calls=1i")
    assert {record["site"] for one in found for record in one.records} == {"main"}
    store = machine.environment("callgauge")["CALLGAUGE_STORE"]
    token = re.findall(r"shown once: (\S+)", machine.said("callgauge"))[0]
    sites = f"{machine.mapped('callgauge', 'http://127.0.0.1:8080')}/api/v1/health"
    asked = urllib.request.Request(sites, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        told = json.loads(answer.read())
    assert told
    assert (Path(store) / "callgauge-store.json").exists()
    assert shell(["store", "check", "--store", store]) == 0
