"""Accounts, sessions and the audit log, as files and as functions."""

from __future__ import annotations

import json
import stat
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.web.accounts import AccountError, Accounts
from api.web.audit import AuditError, AuditLog
from api.web.limits import Bucket
from api.web.masks import Masks
from api.web.rights import Caller, Right, Role
from api.web.sign_in import local

HOUR = 3_600_000_000_000
PASSWORD = "a password that is long"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path)


def test_a_token_is_kept_as_a_digest_only(accounts: Accounts, tmp_path: Path) -> None:
    _, secret = accounts.add_token("wall", Role.VIEWER, 0)
    _, first = (None, accounts.first_token(0))
    assert first is None, "somebody can come in already"
    kept = b"".join(path.read_bytes() for path in (tmp_path / "access").iterdir())
    assert secret.encode() not in kept
    assert secret.split("_", 2)[2].encode() not in kept
    assert accounts.by_token(secret, 1) is not None


def test_what_is_kept_is_for_its_owner_alone(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add_token("wall", Role.VIEWER, 0)
    AuditLog(tmp_path).append(0, "nobody", "x")
    assert stat.S_IMODE((tmp_path / "access").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "access" / "accounts.sqlite3").stat().st_mode) == 0o600


def test_the_first_token_is_made_once(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    secret = accounts.first_token(0)
    assert secret is not None
    caller = accounts.by_token(secret, 1)
    assert caller is not None
    assert caller.role is Role.ADMIN
    accounts.revoke(accounts.tokens()[0].id)
    assert Accounts(tmp_path).first_token(2) is None


def test_a_token_that_ended_or_was_revoked_is_nobodys(accounts: Accounts) -> None:
    made, secret = accounts.add_token("short", Role.VIEWER, 0, ends=10)
    assert accounts.by_token(secret, 9) is not None
    assert accounts.by_token(secret, 10) is None
    assert accounts.revoke(made.id)
    assert accounts.by_token(secret, 5) is None
    assert not accounts.revoke(made.id)


def test_a_password_is_kept_as_argon2id_and_checked(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add_person("amy", Role.ENGINEER, 0, password=PASSWORD)
    kept = (tmp_path / "access" / "accounts.sqlite3").read_bytes()
    assert PASSWORD.encode() not in kept
    assert b"$argon2id$" in kept
    found = accounts.with_password("amy", PASSWORD)
    assert found is not None
    assert found.role is Role.ENGINEER
    assert accounts.with_password("amy", PASSWORD + "x") is None
    assert accounts.with_password("nobody", PASSWORD) is None


@pytest.mark.parametrize(
    ("name", "password"), [("amy", "short"), ("amyamyamyamyamy", "AmyAmyAmyAmyAmy"), ("", PASSWORD)]
)
def test_what_is_no_good_is_refused(accounts: Accounts, name: str, password: str) -> None:
    with pytest.raises(AccountError):
        accounts.add_person(name, Role.VIEWER, 0, password=password)


def test_a_name_is_given_once(accounts: Accounts) -> None:
    accounts.add_person("amy", Role.VIEWER, 0, password=PASSWORD)
    with pytest.raises(AccountError, match="already"):
        accounts.add_person("amy", Role.ADMIN, 0, password=PASSWORD)


def test_when_a_token_was_used_is_known_at_once_and_on_the_disk_in_the_end(tmp_path: Path) -> None:
    with closing(Accounts(tmp_path)) as accounts:
        token, secret = accounts.add_token("probe", Role.VIEWER, 1)
        session = accounts.open_session(Caller(f"token:{token.id}", "probe", Role.VIEWER), 1)
        assert accounts.by_token(secret, HOUR) is not None
        assert accounts.by_session(session, HOUR, idle_hours=2, hours=9) is not None
        assert [one.used for one in accounts.tokens()] == [HOUR]
        assert accounts.by_session(session, 5 * HOUR // 2, idle_hours=2, hours=9) is not None
    with closing(Accounts(tmp_path)) as again:
        assert [one.used for one in again.tokens()] == [HOUR]
        assert again.by_session(session, 4 * HOUR, idle_hours=2, hours=9) is not None


def test_a_session_ends_when_it_is_idle_and_when_it_is_old(accounts: Accounts) -> None:
    accounts.add_person("amy", Role.VIEWER, 0, password=PASSWORD)
    caller = accounts.with_password("amy", PASSWORD)
    assert caller is not None

    secret = accounts.open_session(Caller("user:amy", "amy", Role.VIEWER), 0)
    for at in (HOUR, 2 * HOUR, 3 * HOUR):
        assert accounts.by_session(secret, at, idle_hours=1.5, hours=4) is not None
    assert accounts.by_session(secret, 4 * HOUR, idle_hours=1.5, hours=4) is None
    idle = accounts.open_session(Caller("user:amy", "amy", Role.VIEWER), 0)
    assert accounts.by_session(idle, 2 * HOUR, idle_hours=1.5, hours=4) is None


@pytest.mark.parametrize("change", ["password", "role", "remove"])
def test_a_change_of_a_person_ends_what_is_open(accounts: Accounts, change: str) -> None:

    accounts.add_person("amy", Role.ADMIN, 0, password=PASSWORD)
    secret = accounts.open_session(Caller("user:amy", "amy", Role.ADMIN), 0)
    if change == "password":
        accounts.set_password("amy", PASSWORD + " anew")
    elif change == "role":
        accounts.change_person("amy", Role.VIEWER, numbers=False)
    else:
        accounts.remove_person("amy")
    assert accounts.by_session(secret, 1, idle_hours=1, hours=1) is None


def test_numbers_are_a_right_of_their_own(accounts: Accounts) -> None:
    _, without = accounts.add_token("a", Role.ADMIN, 0)
    _, within = accounts.add_token("b", Role.ENGINEER, 0, numbers=True)
    one, other = accounts.by_token(without, 1), accounts.by_token(within, 1)
    assert one is not None
    assert other is not None
    assert not one.may(Right.NUMBERS)
    assert other.may(Right.NUMBERS)


def test_the_audit_log_is_a_chain_across_months(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    for day in range(70):
        log.append(day * 24 * HOUR, "user:amy", "call.view", str(day), more={"digits": "ä"})
    assert len(list((tmp_path / "access").glob("audit-*.ndjson"))) == 3
    assert log.verify() == 70
    assert [entry.number for entry in log.backwards()] == list(range(70, 0, -1))
    assert [entry.number for entry in log.backwards(3)] == [2, 1]
    assert log.head() == (70, next(log.backwards()).digest)


@pytest.mark.parametrize("harm", ["changed", "taken out", "swapped", "put in", "no line"])
def test_harm_to_the_audit_log_is_found(tmp_path: Path, harm: str) -> None:
    log = AuditLog(tmp_path)
    for number in range(5):
        log.append(number, "user:amy", "call.view", str(number))
    (path,) = (tmp_path / "access").glob("audit-*.ndjson")
    lines = path.read_text().splitlines()
    if harm == "changed":
        line = json.loads(lines[2])
        lines[2] = json.dumps({**line, "who": "user:bob"}, sort_keys=True, separators=(",", ":"))
    elif harm == "taken out":
        del lines[2]
    elif harm == "swapped":
        lines[1], lines[2] = lines[2], lines[1]
    elif harm == "put in":
        lines.insert(2, lines[2])
    else:
        lines[2] = "["
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(AuditError):
        log.verify()


def test_two_logs_append_to_one_chain(tmp_path: Path) -> None:
    one, other = AuditLog(tmp_path), AuditLog(tmp_path)
    for number in range(10):
        (one if number % 2 else other).append(number, "x", "y")
    assert one.verify() == 10


def test_a_number_has_one_name_in_a_store_and_another_elsewhere() -> None:
    here, elsewhere = Masks(b"one key" * 8), Masks(b"other key" * 8)
    assert here.number("+44 113 496 0001") == here.number("00441134960001") == here.number("sip:+441134960001@x")
    assert here.number("+441134960001") != here.number("+441134960002")
    assert here.number("+441134960001") != elsewhere.number("+441134960001")


@given(st.text(alphabet="0123456789", min_size=3, max_size=15))
def test_no_digits_of_a_number_are_shown(number: str) -> None:
    shown = Masks(b"k" * 32).number(number)
    assert shown is not None
    assert number in {"112", "999", "911", "000"} or number not in shown


@pytest.mark.parametrize(
    ("wanted", "led"),
    [
        ("/calls?q=1", "/calls?q=1"),
        ("//elsewhere.example", "/"),
        ("https://elsewhere.example/", "/"),
        ("/\\elsewhere.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_a_sign_in_leads_to_our_own_pages_only(wanted: str, led: str) -> None:
    assert local(wanted) == led


def test_a_bucket_fills_again_with_time() -> None:
    bucket = Bucket(2, 0.5)
    assert [bucket.take("a", 0.0), bucket.take("a", 0.0)] == [0, 0]
    assert bucket.take("a", 0.0) == 2
    assert bucket.take("b", 0.0) == 0
    assert bucket.take("a", 2.0) == 0
