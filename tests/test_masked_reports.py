"""No report on a capture full of people's numbers and names shows one of them, in whatever format."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from capture_files import CALLEE, CALLER, datagram, description
from scapy.utils import wrpcap

from api.main import shell

PEOPLE = ("jane", "roe", "brien", "7700", "900111")
DESCRIPTION = (
    description(CALLER, 16402).replace("RTP/AVP 8\r\n", "RTP/AVP 8 101\r\n")
    + "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15;07700900111\r\na=mid:jane\r\n"
)


def message(start_line: str, call_id: str, cseq: str, to_tag: str = "", body: str = "") -> bytes:
    content = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{start_line}\r\nVia: SIP/2.0/UDP {CALLER}:5060;branch=z9hG4bK{call_id}\r\nMax-Forwards: 70\r\n"
        'From: "Jane Roe" <sip:+447700900111;phone-context=x@example.org;user=phone>;tag=f\r\n'
        f"To: <sip:o'brien.jane@h>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n"
        "Contact: <sip:jane;roe@10.1.4.7>\r\nUser-Agent: phone of Jane Roe\r\n"
        f'Reason: Q.850;cause=1;text="07700900999 Jane unknown"\r\n{content}Content-Length: {len(body)}\r\n\r\n{body}'
    ).encode()


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> str:
    refused = "SIP/2.0 404 Subscriber 07700-900-777 Jane Roe unknown"
    packets = [
        datagram(CALLER, 5060, CALLEE, 5060, payload, at)
        for at, payload in (
            (0.0, message("INVITE sip:07700900222,99@h SIP/2.0", "one", "1 INVITE", body=DESCRIPTION)),
            (1.0, message("INVITE sip:jane\troe@h SIP/2.0", "two", "1 INVITE", body=DESCRIPTION)),
        )
    ] + [
        datagram(CALLEE, 5060, CALLER, 5060, payload, at)
        for at, payload in (
            (0.5, message(refused, "one", "1 INVITE", ";tag=t")),
            (1.5, message("SIP/2.0 302 Try 07700900333", "two", "1 INVITE", ";tag=t")),
        )
    ]
    path = tmp_path_factory.mktemp("people") / "evening.pcap"
    wrpcap(str(path), sorted(packets, key=lambda packet: packet.time))
    return str(path)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--call", "one"],
        ["--call", "two"],
        ["--filter", "from:+447700900111"],
        ["--format", "json"],
        ["--format", "json", "--filter", "from:p1 to:07700900222"],
        ["--deep", "one"],
        ["--deep", "two"],
    ],
)
def test_nobody_is_named_on_stdout(options: list[str], capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "--deep" in options and shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    assert shell(["replay", capture, *options]) == 0
    shown = capsys.readouterr().out.casefold()
    assert [person for person in PEOPLE if person in shown] == []
    assert "p1" in shown or "from:***" in shown


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_nobody_is_named_in_tables(form: str, capture: str, tmp_path: Path) -> None:
    assert shell(["replay", capture, "--format", form, "--out", str(tmp_path)]) == 0
    for path in tmp_path.iterdir():
        rows = path.read_text(encoding="utf-8") if form == "csv" else repr(pq.read_table(path).to_pylist())
        assert [person for person in PEOPLE if person in rows.casefold()] == []


def test_everybody_is_named_where_that_is_asked_for(capture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["replay", capture, "--format", "json", "--show-numbers"]) == 0
    shown = capsys.readouterr().out.casefold()
    assert [person for person in PEOPLE if person not in shown] == []
