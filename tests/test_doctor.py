"""The doctor says what works and what does not, of real things, and neither hangs nor crashes."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mqtt_broker import broker, free_port

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from analytics.health import ProcessHealth, balanced, write_health  # noqa: E402
from analytics.store.influx_setup import set_up  # noqa: E402
from analytics.store.lake import Lake  # noqa: E402
from analytics.store.spool import Spool, look  # noqa: E402
from api import probes  # noqa: E402
from api.doctor import examined, told  # noqa: E402
from api.main import shell  # noqa: E402
from api.probes import PROBES, Found  # noqa: E402
from api.settings import Settings, load  # noqa: E402

if TYPE_CHECKING:
    from influxd_server import Influxd

PAGE = ROOT / "docs" / "doctor.md"


def settings(folder: Path, text: str = "", **environment: str) -> Settings:
    path = folder / "callgauge.toml"
    path.write_text(f'store = "store"\n{text}', encoding="utf-8")
    return load(path, environment)


def verdicts(found: Iterator[Found]) -> list[tuple[str, str]]:
    return [(one.area, one.verdict) for one in found]


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_a_probe_that_hangs_is_a_finding_and_holds_nobody_up(tmp_path: Path) -> None:
    release = threading.Event()

    def hangs(_: Settings) -> Iterator[Found]:
        release.wait(30)
        yield Found("slow", "ok", "Well.")

    begun = time.monotonic()
    found = examined(settings(tmp_path), {"slow": hangs, "clock": probes.clock}, 0.5)
    release.set()
    assert time.monotonic() - begun < 15
    assert found[0] == Found("slow", "problem", "This did not answer within 0.5 s.", "Ask again.")
    assert len(found) == 2


def test_a_probe_that_fails_is_a_finding_and_the_others_are_told(tmp_path: Path) -> None:
    def fails(_: Settings) -> Iterator[Found]:
        raise LookupError("no\nidea")

    found = examined(settings(tmp_path), {"bad": fails, "program": probes.program}, 30)
    assert found[0].verdict == "problem"
    assert found[0].sentence == "This could not be found out: LookupError: no idea."
    assert found[1].area == "program"


def test_every_line_is_a_sentence_and_every_trouble_has_advice(tmp_path: Path) -> None:
    path = tmp_path / "missing"
    text = (
        f'estate = "{path}"\n[packets]\ninterfaces = ["none0"]\n[influx]\nurl = "http://127.0.0.1:{free_port()}"\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {free_port()}\n[hep]\nlisten = ["udp:256.0.0.1:9"]\n'
    )
    found = examined(settings(tmp_path, text), PROBES, 30)
    for one in found:
        assert re.fullmatch(r"[A-Z/].*[.]", one.sentence) or one.area == "ports", one
        assert "\n" not in one.sentence + one.advice
        assert bool(one.advice) == (one.verdict != "ok"), one
    bad = {one.area for one in found if one.verdict == "problem"}
    assert {"capture", "influxdb", "broker", "estate", "ports"} <= bad
    assert told(found)[-1].endswith(" problems")


# --- what it looks at -----------------------------------------------------------------------------------------------


def test_a_store_that_is_not_there_yet_is_no_trouble_where_it_can_be_made(tmp_path: Path) -> None:
    assert verdicts(probes.store(settings(tmp_path)))[0] == ("store", "ok")
    assert not (tmp_path / "store").exists()


def test_a_store_is_opened_and_checked(tmp_path: Path) -> None:
    Lake.open(tmp_path / "store", create=True).close()
    before = sorted(path.name for path in (tmp_path / "store").iterdir())
    found = list(probes.store(settings(tmp_path)))
    assert found[0].verdict == "ok"
    assert "is whole" in found[0].sentence
    assert found[-1].area == "disk"
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == before


def test_a_store_of_another_format_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "callgauge-store.json").write_text('{"format": 99}')
    (one,) = [one for one in examined(settings(tmp_path), {"store": probes.store}, 30) if one.area == "store"]
    assert one.verdict == "problem"
    assert "has format 99" in one.sentence


def test_an_interface_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (one,) = probes.interfaces(settings(tmp_path, '[packets]\ninterfaces = ["none0"]\n'))
    assert one.verdict == "problem"
    assert "lo" in one.advice
    assert verdicts(probes.interfaces(settings(tmp_path, '[packets]\ninterfaces = ["lo"]\n'))) == [("capture", "ok")]


def test_programs_that_are_missing_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert verdicts(probes.tshark(settings(tmp_path))) == [("tshark", "warning")]
    assert verdicts(probes.capture(settings(tmp_path))) == [("capture", "warning")]
    wanted = settings(tmp_path, '[packets]\ninterfaces = ["lo"]\n')
    assert verdicts(probes.capture(wanted)) == [("capture", "problem")]
    assert verdicts(probes.clock(settings(tmp_path))) == [("clock", "warning")]


def test_a_user_who_may_not_capture_is_told_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("dumpcap"):
        pytest.skip("needs root, to ask as somebody else, and dumpcap")
    code = (
        "import os; from api.settings import Settings; from api import probes\n"
        "list(probes.capture(Settings())); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "[one] = probes.capture(Settings()); print(one.verdict, one.sentence, one.advice)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    path = shutil.which("dumpcap")
    assert path is not None
    if "cap_net_raw" in subprocess.run(["getcap", path], capture_output=True, text=True, check=False).stdout:
        pytest.skip("this machine's dumpcap holds the privilege for everybody")
    assert done.stdout.startswith(("warning ", "problem ")), done.stderr
    assert "wireshark" in done.stdout


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("0.000012", "ok"), ("-0.2", "warning"), ("7.5", "problem"), ("nonsense", "warning")],
)
def test_the_clock_is_judged_by_what_chrony_says(
    said: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "chronyc"
    tool.write_text(f"#!/bin/sh\necho C0000201,192.0.2.1,3,1700000000.0,{said},0,0,0,0,0,0,0,0,Normal\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    (one,) = probes.clock(settings(tmp_path))
    assert one.verdict == verdict


def test_an_estate_is_checked(tmp_path: Path) -> None:
    example = replace(Settings(), estate=ROOT / "examples" / "estate")
    assert verdicts(probes.estate(example)) == [("estate", "ok")]
    copy = tmp_path / "estate"
    shutil.copytree(ROOT / "examples" / "estate", copy)
    (copy / "sites.csv").write_text("nonsense\n")
    (one,) = probes.estate(replace(Settings(), estate=copy))
    assert one.verdict == "problem"
    assert "sites.csv" in one.sentence
    assert verdicts(probes.estate(Settings())) == [("estate", "warning")]


def test_ports_are_free_or_taken_or_held_by_us(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        udp = taken.getsockname()[1]
        text = f'[hep]\nlisten = ["udp:127.0.0.1:{udp}", "tcp:127.0.0.1:{free_port()}"]\n'
        text += f'[process]\nmetrics = "127.0.0.1:{free_port()}"\n'
        found = [one for one in probes.ports(settings(tmp_path, text)) if "kernel" not in one.sentence]
        assert [one.verdict for one in found] == ["problem", "ok", "ok"]
        assert "Address already in use" in found[0].sentence
        (tmp_path / "store").mkdir()
        running = ProcessHealth(os.uname().nodename, 1, "collect", "a", "1", 0, time.time_ns(), 10.0)
        write_health(tmp_path / "store", running)
        found = [one for one in probes.ports(settings(tmp_path, text)) if "kernel" not in one.sentence]
        assert [one.verdict for one in found] == ["ok", "ok", "ok"]


def test_processes_that_fell_silent_are_problems(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    now = time.time_ns()
    steps = (balanced("seen", "packets", 1, 1, rest="waiting"),)
    write_health(tmp_path / "store", ProcessHealth("a", 1, "collect", "a", "1", 0, now, 10.0, steps=steps))
    write_health(tmp_path / "store", ProcessHealth("b", 1, "collect", "b", "1", 0, now - 10**12, 10.0))
    write_health(tmp_path / "store", ProcessHealth("c", 1, "work", "c", "1", 0, now, 10.0, problems=("no room",)))
    write_health(tmp_path / "store", ProcessHealth("d", 1, "work", "d", "1", 0, 0, 10.0, ended=True))
    found = list(probes.processes(settings(tmp_path)))
    assert [one.verdict for one in found] == ["ok", "problem", "problem"]
    assert "fell silent 1,000 s ago" in found[1].sentence


def test_secrets_that_others_may_read_are_told_and_not_shown(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hush\n")
    token.chmod(0o644)
    given = settings(tmp_path, '[influx]\nurl = "http://127.0.0.1:1"\ntoken_file = "token"\n')
    found = [one for one in probes.program(given) if one.area == "settings"]
    assert [one.verdict for one in found] == ["ok", "warning"]
    assert str(token) in found[1].sentence
    token.chmod(stat.S_IRUSR)
    assert [one.verdict for one in probes.program(given) if one.area == "settings"] == ["ok"]
    assert "hush" not in "".join(told(examined(given, PROBES, 30)))


def test_a_broker_lets_in_or_says_why_not(tmp_path: Path) -> None:
    tool = shutil.which("mosquitto_passwd")
    if tool is None:
        pytest.skip("mosquitto_passwd is not installed")
    (tmp_path / "users").touch(mode=0o600)
    subprocess.run([tool, "-b", tmp_path / "users", "me", "right"], check=True, capture_output=True)
    with broker(tmp_path / "broker", f"allow_anonymous false\npassword_file {tmp_path}/users\n") as running:
        text = f'[broker]\nhost = "127.0.0.1"\nport = {running.port}\nuser = "me"\npassword_file = "password"\n'
        (tmp_path / "password").write_text("right\n")
        assert verdicts(probes.broker(settings(tmp_path, text))) == [("broker", "ok")]
        (tmp_path / "password").write_text("wrong\n")
        (one,) = probes.broker(settings(tmp_path, text))
        assert one.verdict == "problem"
        assert "does not authorise" in one.sentence
        assert "wrong" not in one.sentence
    (one,) = probes.broker(settings(tmp_path, text))
    assert one.verdict == "problem"
    assert "cannot be reached" in one.sentence


def test_what_answers_and_is_no_broker_holds_nobody_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        text = f'[broker]\nhost = "127.0.0.1"\nport = {silent.getsockname()[1]}\nconnect_seconds = 1\n'
        begun = time.monotonic()
        assert verdicts(probes.broker(settings(tmp_path, text))) == [("broker", "problem")]
        assert time.monotonic() - begun < 20


def test_an_influxdb_that_is_not_there_is_a_problem_of_one_sentence(tmp_path: Path) -> None:
    (one,) = probes.influx(settings(tmp_path, f'[influx]\nurl = "http://127.0.0.1:{free_port()}"\n'))
    assert one.verdict == "problem"
    assert one.sentence.startswith("There is no InfluxDB at http://127.0.0.1:")
    assert verdicts(probes.influx(settings(tmp_path))) == [("influxdb", "ok")]


def test_an_influxdb_takes_the_token_or_refuses_it(tmp_path: Path, influxd: Influxd) -> None:
    influxdb = influxd.settings("doctor")
    set_up(influxdb)
    text = f'[influx]\nurl = "{influxdb.url}"\norg = "{influxdb.org}"\nbucket = "{influxdb.bucket}"\n'
    text += f'long_bucket = "{influxdb.long_bucket}"\n'
    good = settings(tmp_path, text, CALLGAUGE_INFLUX_TOKEN=influxdb.token)
    assert verdicts(probes.influx(good)) == [("influxdb", "ok")]
    (one,) = probes.influx(settings(tmp_path, text, CALLGAUGE_INFLUX_TOKEN="wrong"))
    assert one.verdict == "problem"
    assert "refuses the token" in one.sentence


def test_spools_tell_what_waits_in_them_also_while_another_process_has_them(tmp_path: Path) -> None:
    assert verdicts(probes.spools(settings(tmp_path))) == [("spools", "ok")]
    text = f'[influx]\nurl = "http://127.0.0.1:9"\nspool = "{tmp_path}/points"\n[agent]\nsite = "york"\n'
    text += f'spool = "{tmp_path}/sent"\n[spool]\noctets = 20000\nsegment_octets = 10000\n'
    given = settings(tmp_path, text)
    assert verdicts(probes.spools(given)) == [("spools", "ok"), ("spools", "ok")]
    with Spool.open(tmp_path / "points" / "work-centre") as points, Spool.open(tmp_path / "sent") as sent:
        points.append([b"x" * 10] * 7)
        points.acknowledge(2)
        sent.append([b"x" * 900] * 10)
        assert look(tmp_path / "points" / "work-centre") == points.counts()
        of_agent, of_influx = probes.spools(given)
        assert (of_agent.verdict, of_influx.verdict) == ("ok", "ok")
        assert "wait 10 records" in of_agent.sentence
        assert "wait 5 records" in of_influx.sentence
        sent.append([b"x" * 900] * 8)
        (tmp_path / "points" / "work-centre" / "dead-letters.jsonl").write_text("{}\n")
        found = list(probes.spools(given))
    assert [one.verdict for one in found] == ["problem", "ok", "warning"]
    assert "nearly full" in found[0].sentence
    assert "refused points" in found[2].sentence


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_ends_with_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    estate = ROOT / "examples" / "estate"
    assert shell(["doctor", "--store", str(tmp_path / "store"), "--estate", str(estate), "--format", "json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert {"area", "verdict", "sentence", "advice"} == set(found[0])
    assert shell(["doctor", "--store", str(tmp_path / "store"), "--estate", str(tmp_path / "none")]) == 1
    assert "problem  estate" in capsys.readouterr().out


def test_wrong_settings_are_told_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "callgauge.toml").write_text("x = 1\n")
    assert shell(["doctor", "--config", str(tmp_path / "callgauge.toml")]) == 2
    assert "callgauge.toml:1" in capsys.readouterr().err


# --- docs -----------------------------------------------------------------------------------------------------------


def table() -> str:
    rows = [f"| `{name}` | {' '.join((probe.__doc__ or '').split())} |" for name, probe in PROBES.items()]
    return "\n".join(["| probe | what it looks at |", "|---|---|", *rows])


def test_every_probe_is_documented() -> None:
    found = re.search(r"<!-- probes: begin -->\n(.*?)\n?<!-- probes: end -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert found[1] == table(), "run: python tests/test_doctor.py"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- probes: begin -->", "<!-- probes: end -->"
    PAGE.write_text(f"{page.partition(begin)[0]}{begin}\n{table()}\n{end}{page.partition(end)[2]}", encoding="utf-8")
