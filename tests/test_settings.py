"""Settings come from a file and the environment, and what is wrong with them is said with its place."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.store.settings import LakeSettings
from api.main import shell
from api.settings import OTHERS, SECRETS, Settings, SettingsError, all_keys, load
from collector.receivers.listening import Listen

ROOT = Path(__file__).resolve().parents[1]
NUMBER = " must be above 0 and at most 9,007,199,254,740,992, not "


def written(folder: Path, text: str) -> Path:
    path = folder / "callgauge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def wrong(folder: Path, text: str, **environment: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(SettingsError) as caught:
        load(path, environment)
    return str(caught.value).replace(str(path), "callgauge.toml").splitlines()


def test_nothing_given_is_as_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = load(environment={})
    assert found == Settings()
    assert found.lake_settings() is None
    assert not found.wants("hep")


def test_a_file_sets_what_its_sections_name(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
name = "york-1"
store = "lake"
[lake]
memory_mb = 512
keep_days = { calls = 30, usage = "forever" }
[hep]
listen = ["udp:127.0.0.1:9060", "tls:[::1]"]
limits.connections = 12
certificate = "hep.pem"
certificate_key = "/etc/hep.key"
[packets]
interfaces = ["eth0", "eth1"]
backoff_s = 1
[agent]
site = "york"
[broker]
host = "mqtt.example"
tls = true
[spool]
octets = 1_000_000
[centre.intake]
late_days = 3.5
""",
    )
    found = load(path, {})
    assert (found.name, found.store) == ("york-1", tmp_path / "lake")
    assert found.lake_settings() == LakeSettings(memory_mb=512, keep_days={"calls": 30, "usage": None})
    assert found.hep.listen == (Listen("udp", "127.0.0.1", 9060), Listen("tls", "::1", 9060))
    assert (found.hep.limits.connections, found.hep.limits.idle_seconds) == (12, 3600.0)
    assert (found.hep.certificate, found.hep.key) == (tmp_path / "hep.pem", Path("/etc/hep.key"))
    assert found.packets.interfaces == ("eth0", "eth1")
    assert found.packets.backoff_s == 1.0
    assert found.agent.site == "york"
    assert found.agent.broker == found.centre.broker == found.broker
    assert found.broker.address == "mqtt.example:1883"
    assert found.agent.spool_settings.octets == 1_000_000
    assert found.centre.intake.late_days == 3.5
    assert {name for name in ("hep", "packets", "agent", "broker") if found.wants(name)} == {
        "hep",
        "packets",
        "agent",
        "broker",
    }
    assert not found.wants("influx")
    assert found.origins["hep.limits.connections"] == f"{path}:9"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'store = "a"\n[influx]\nurl = "http://file:8086"\n[lake]\ndurable = true\n')
    given = {
        "CALLGAUGE_STORE": "b",
        "CALLGAUGE_INFLUX_URL": "https://variable:8086",
        "CALLGAUGE_LAKE_DURABLE": "false",
        "CALLGAUGE_LAKE_KEEP_DAYS": "calls=30, usage=forever",
        "CALLGAUGE_PACKETS_INTERFACES": "eth0, eth1",
        "CALLGAUGE_BROKER_PORT": "8883",
        "CALLGAUGE_INFLUX_ORG": "",
        "HOME": "/root",
    }
    found = load(path, given)
    assert found.store == Path("b")
    assert found.influx.url == "https://variable:8086"
    assert found.influx.org == "callgauge"
    assert found.lake.durable is False
    assert found.lake.keep_days == {"calls": 30, "usage": None}
    assert found.packets.interfaces == ("eth0", "eth1")
    assert found.broker.port == 8883
    assert found.origins["influx.url"] == "CALLGAUGE_INFLUX_URL"


def test_the_file_is_the_one_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 'name = "named"\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load(environment={"CALLGAUGE_CONFIG": str(path)}).name == "named"
    written(elsewhere, 'name = "here"\n')
    assert load(environment={}).name == "here"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[influx]\nulr = 'a'\n", ["callgauge.toml:2: there is no setting 'ulr' in [influx] (did you mean url?)"]),
        ("[inflx]\nurl = 'a'\n", ["callgauge.toml:1: there is no section [inflx] (did you mean influx?)"]),
        ("stroe = 'x'\n", ["callgauge.toml:1: there is no setting 'stroe' before the sections (did you mean store?)"]),
        ("[broker]\n\nport = '1883'\n", ["callgauge.toml:3: broker.port must be a whole number, not '1883'"]),
        ("[broker]\nport = 70_000\n", ["callgauge.toml:2: broker.port must be above 0 and at most 65,535, not 70000"]),
        ("[broker]\ntls = 1\n", ["callgauge.toml:2: broker.tls must be true or false, not '1'"]),
        ("lake = 3\n", ["callgauge.toml:1: lake is a section: write [lake]"]),
        (
            "[agent.broker]\nhost = 'a'\n",
            ["callgauge.toml:1: [agent.broker] is a section of its own: [broker]"],
        ),
        ("[live]\nrows = -5\n", [f"callgauge.toml:2: live.rows{NUMBER}-5"]),
        ("[live]\nidle_s = inf\n", [f"callgauge.toml:2: live.idle_s{NUMBER}inf"]),
        ("[live]\nidle_s = nan\n", [f"callgauge.toml:2: live.idle_s{NUMBER}nan"]),
        (
            "[process]\nlog = 'jsn'\n",
            ["callgauge.toml:2: process.log must be one of json, logfmt, text, not 'jsn' (did you mean json?)"],
        ),
        ("[hep]\nlisten = 'udp:a:1'\n", ["callgauge.toml:2: hep.listen must be a list of texts, not 'udp:a:1'"]),
        (
            "[hep]\nlisten = ['sctp:a']\n",
            [
                "callgauge.toml:2: hep.listen names sctp:a: "
                "an address to listen on is udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT"
            ],
        ),
        (
            "[lake]\nkeep_days = { x = 3 }\n",
            ["callgauge.toml:2: lake.keep_days (keep_days names x, which is no table)"],
        ),
        (
            "[influx]\nurl = 'http://me:secret@host'\n",
            ["callgauge.toml:2: influx.url must be like http://HOST:8086, without user or password"],
        ),
        (
            "[hep]\ncertificate_key = 'a'\n",
            ["callgauge.toml:2: hep.certificate_key is given without hep.certificate"],
        ),
        (
            "[influx]\nretry_seconds = 90\n",
            ["callgauge.toml:2: influx.retry_seconds is 90, which is more than influx.retry_most_seconds, 60"],
        ),
        ("a = \n", ["callgauge.toml:1: this is no TOML: Invalid value (at line 1, column 5)"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, expected: list[str], tmp_path: Path) -> None:
    assert wrong(tmp_path, text) == expected


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = wrong(tmp_path, "a = 1\n[lake]\nthreads = 'two'\n", CALLGAUGE_LAKE_FILE_MB="big", CALLGAUGE_STROE="x")
    assert said == [
        "callgauge.toml:1: there is no setting 'a' before the sections",
        "callgauge.toml:3: lake.threads must be a whole number, not 'two'",
        "CALLGAUGE_LAKE_FILE_MB: must be a whole number, not 'big'",
        "CALLGAUGE_STROE: there is no such setting (did you mean CALLGAUGE_STORE?)",
    ]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a = '\xe9'\n", b"x" * ((1 << 20) + 1), b"[" * 5000])
def test_any_file_is_read_or_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "callgauge.toml"
    path.write_bytes(data)
    with pytest.raises(SettingsError):
        load(path, {})


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml", {})


TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=5,
)


@given(key=st.sampled_from(all_keys()), value=TOML)
def test_a_setting_takes_its_type_or_names_itself(key: object, value: object) -> None:
    from api.settings import Key
    from api.settings_reading import Reader

    assert isinstance(key, Key)
    reader = Reader(all_keys())
    reader._take(key, value, "here", None)
    if reader.problems:
        assert reader.problems[0].startswith(f"here: {key.path} ")
        assert key.path not in reader.values
    else:
        assert key.path in reader.values


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_a_secret_stands_in_no_settings_file(secret: str, tmp_path: Path) -> None:
    section, _, name = secret.rpartition(".")
    (said,) = wrong(tmp_path, f"[{section}]\n{name} = 'hush'\n")
    assert said.startswith(f"callgauge.toml:2: {secret} is a secret and stands in no settings file: set CALLGAUGE_")
    assert "hush" not in said


def test_a_secret_is_read_from_the_environment_or_the_file_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\r\nmore\n", encoding="utf-8")
    path = written(tmp_path, "[influx]\ntoken_file = 'token'\n")
    assert load(path, {}).influx.token == "from-file"
    found = load(path, {"CALLGAUGE_INFLUX_TOKEN": "from-variable", "CALLGAUGE_HEP_KEY": "k"})
    assert found.influx.token == "from-variable"
    assert found.hep.auth_key == b"k"


@pytest.mark.parametrize("content", [None, b"", b"\nsecond\n", b"\xff\xff"])
def test_a_secret_file_that_holds_none_is_told(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    (said,) = wrong(tmp_path, "[influx]\ntoken_file = 'token'\n")
    assert said.startswith("callgauge.toml:2: influx.token_file: ")


def test_secrets_are_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CALLGAUGE_INFLUX_TOKEN", "hush-token")
    monkeypatch.setenv("CALLGAUGE_HEP_KEY", "hush-key")
    path = written(tmp_path, "[influx]\nurl = 'http://a:8086'\n")
    for form in ("text", "json"):
        for every in ([], ["--all"]):
            assert shell(["settings", "show", "--config", str(path), "--format", form, *every]) == 0
            said = capsys.readouterr()
            assert "hush" not in said.out + said.err
            assert "***" in said.out


def test_what_is_shown_is_a_settings_file_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """name = "it's \\"mine\\""
store = "/var/lib/store"
agent.spool = "/var/lib/spool"
influx.spool = "/var/lib/points"
[lake]
keep_days = { calls = 30, usage = "forever" }
[hep]
listen = ["udp:127.0.0.1:9060", "tcp:[::1]:9061"]
"""
    path = written(tmp_path, text)
    before = load(path, {})
    assert shell(["settings", "show", "--config", str(path), "--all"]) == 0
    again = tmp_path / "again.toml"
    again.write_text(capsys.readouterr().out, encoding="utf-8")
    after = load(again, {})
    assert dataclasses.replace(after, origins={}) == dataclasses.replace(before, origins={})


def test_where_a_setting_comes_from_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "[lake]\nthreads = 4\n")
    assert shell(["settings", "show", "--config", str(path), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["lake.threads"] == {"value": 4, "from": f"{path}:2"}


def test_wrong_settings_end_the_command_with_a_line_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "[lake]\nthread = 4\nmemory_mb = 'x'\n")
    assert shell(["settings", "show", "--config", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"callgauge: {path}:") for line in lines)


# --- options --------------------------------------------------------------------------------------------------------


def test_the_file_gives_what_options_and_the_environment_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CALLGAUGE_STORE", raising=False)
    written(tmp_path, 'store = "of-file"\nestate = "estate-of-file"\n')
    assert shell(["store", "tables"]) == 2
    assert "of-file" in capsys.readouterr().err
    assert shell(["estate", "check"]) == 2
    assert "estate-of-file" in capsys.readouterr().err
    monkeypatch.setenv("CALLGAUGE_STORE", "of-variable")
    assert shell(["store", "tables"]) == 2
    assert "of-variable" in capsys.readouterr().err
    assert shell(["store", "tables", "--store", "of-option"]) == 2
    assert "of-option" in capsys.readouterr().err


def test_a_file_that_is_wrong_ends_commands_that_need_it_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "stroe = 1\n")
    assert shell(["health"]) == 2
    assert capsys.readouterr().err == (
        "callgauge: callgauge.toml:1: there is no setting 'stroe' before the sections (did you mean store?)\n"
    )
    assert shell(["mos", "--help"]) == 0


def test_the_help_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("hush\n")
    written(tmp_path, "[influx]\nurl = 'http://a:1'\ntoken_file = 'token'\n")
    assert shell(["influx", "health", "--help"]) == 0
    assert "hush" not in capsys.readouterr().out


# --- the whole ------------------------------------------------------------------------------------------------------


def test_no_two_settings_share_a_name_or_a_variable() -> None:
    keys = all_keys()
    assert len({key.path for key in keys}) == len(keys)
    variables = {key.variable for key in keys}
    assert len(variables) == len(keys)
    assert not variables & OTHERS


def test_the_variables_of_options_are_settings_or_known_not_to_be() -> None:
    import re

    known = {key.variable for key in all_keys()} | OTHERS
    for path in (ROOT / "api").rglob("*.py"):
        for name in re.findall(r'envvar="(CALLGAUGE_\w+)"', path.read_text(encoding="utf-8")):
            assert name in known, f"{path.name}: {name}"


def test_commands_start_without_reading_settings() -> None:
    code = "import sys; import api.main; sys.exit('api.settings' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
