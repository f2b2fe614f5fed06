"""`callgauge init` writes what every other part accepts, and overwrites nothing."""

from __future__ import annotations

import base64
import re
import socket
import stat
from hashlib import pbkdf2_hmac
from pathlib import Path

import pytest
from mqtt_broker import PROGRAM, broker

from api.init_secrets import hashed
from api.main import shell
from api.settings import all_keys, load


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "new" / "site"
    assert shell(["init", str(folder), "--site", "york"]) == 0
    return folder


def test_the_settings_are_those_by_default_but_for_the_estate(made: Path) -> None:
    found = load(made / "callgauge.toml", {})
    assert set(found.origins) == {"estate"}
    assert found.estate == made / "estate"


def test_every_setting_stands_there_and_its_default_is_accepted(made: Path) -> None:
    text = (made / "callgauge.toml").read_text(encoding="utf-8")
    keys = {key.path: key for key in all_keys() if not key.secret}
    assert len(re.findall(r"^(?:# )?\w+ =", text, re.MULTILINE)) == len(keys)
    path = made / "all.toml"
    path.write_text(re.sub(r"^# (\w+ = .)", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    found = load(path, {})
    for name in found.origins:
        value: object = found
        for part in keys[name].place:
            value = getattr(value, part)
        within = isinstance(keys[name].default, Path) or name == "estate"
        assert value == (made / (keys[name].default or "estate") if within else keys[name].default), name
    assert len(found.origins) > 100


def test_no_secret_stands_in_the_settings(made: Path) -> None:
    text = (made / "callgauge.toml").read_text(encoding="utf-8")
    for key in all_keys():
        if key.secret:
            section = text.split(f"[{key.section}]\n")[1].split("\n[")[0]
            name = key.path.rpartition(".")[2]
            assert re.search(rf"^# {name}_file =", section, re.MULTILINE)
            assert not re.search(rf"^#? ?{name} =", section, re.MULTILINE)


def test_the_estate_passes_its_check(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert shell(["estate", "check", str(made / "estate")]) == 0
    said = capsys.readouterr().out
    assert "0 errors" in said
    assert "1 site" in said


def test_secrets_are_random_and_their_owners_alone(made: Path, tmp_path: Path) -> None:
    assert shell(["init", str(tmp_path / "other")]) == 0
    assert stat.S_IMODE((made / "secrets").stat().st_mode) == 0o700
    seen = set()
    for path in (made / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        if path.name != ".gitignore":
            seen |= {path.read_text(), (tmp_path / "other" / "secrets" / path.name).read_text()}
    assert len(seen) == 2 * (len(list((made / "secrets").iterdir())) - 1)
    assert all(len(text) > 40 for text in seen)
    assert (made / "secrets" / ".gitignore").read_text() == "*\n"


def test_nothing_is_overwritten(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "callgauge.toml").unlink()
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    assert shell(["init", str(made)]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("site", ["", "two words", "a/b", "x" * 65, "a:b", "a\nb"])
def test_a_site_that_no_topic_can_hold_is_refused(site: str, tmp_path: Path) -> None:
    assert shell(["init", str(tmp_path / "new"), "--site", site]) == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("owner", ["root", "1:b", ":"])
def test_an_owner_that_is_none_is_refused(owner: str, tmp_path: Path) -> None:
    assert shell(["init", str(tmp_path / "new"), "--owner", owner]) == 2
    assert not (tmp_path / "new").exists()


def test_a_password_is_kept_as_mosquitto_keeps_it() -> None:
    _, kind, rounds, salt, key = hashed("secret").split("$")
    assert kind == "7"
    assert pbkdf2_hmac("sha512", b"secret", base64.b64decode(salt), int(rounds), 64) == base64.b64decode(key)


def test_mosquitto_lets_in_who_has_the_password(made: Path, tmp_path: Path) -> None:
    assert PROGRAM is None or Path(PROGRAM).exists()
    lines = f"allow_anonymous false\npassword_file {made / 'secrets' / 'broker-users'}\n"
    with broker(tmp_path / "broker", lines) as mosquitto:
        right = (made / "secrets" / "agent-password").read_text().strip()
        assert can_come_in(mosquitto.port, "york", right)
        assert not can_come_in(mosquitto.port, "york", right + "x")
        assert not can_come_in(mosquitto.port, "centre", right)


def can_come_in(port: int, user: str, password: str) -> bool:
    """Ask by MQTT 3.1.1 CONNECT itself (MQTT 3.1.1, 3.1), so that no client is needed; CONNACK tells."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(2, "big") + value.encode()

    body = text("MQTT") + bytes([4, 0xC2, 0, 10]) + text("probe") + text(user) + text(password)
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(bytes([0x10, len(body)]) + body)
        return connection.recv(4)[3:] == b"\x00"
