"""The command: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from capture_files import CALLER, DIGITS, GOOD_CALL, PACKETS_EACH_WAY, REFUSED_CALL, write_capture

from api import __version__, output
from api.main import INTERNAL, PARTLY_READ, READER_GONE, UNUSABLE, shell

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-P", "-m", "api.main"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("captures") / "evening.pcap")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def test_help_names_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "replay" in shown
    assert "mos" in shown
    assert shell(["replay", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in ("--format", "--out", "--call", "--filter", "--top", "--deep", "--show-numbers", "--no-progress"):
        assert option in shown


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell([]) == 0
    assert "replay" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["--version"]) == 0
    assert capsys.readouterr().out == f"callgauge {__version__}\n"


def test_a_capture_becomes_a_report(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["replay", str(capture)]) == 0
    shown = capsys.readouterr().out
    assert "SIP   2 calls: 1 completed · 1 failed" in shown
    assert "RTP   2 streams: 0.20 % lost" in shown
    assert f"--call {REFUSED_CALL[:10]}" in shown
    assert DIGITS[0] not in shown
    assert "\x1b" not in shown


def test_the_json_report_obeys_its_schema_and_counts_exactly(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["replay", str(capture), "--format", "json"]) == 0
    text = capsys.readouterr().out
    report = json.loads(text)
    schema = json.loads((resources.files("api") / "schema" / "replay.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(report)
    assert report["capture"]["files"] == ["evening.pcap"]
    assert report["sip"]["methods"] == {"ACK": 2, "BYE": 1, "INVITE": 2}
    assert report["sip"]["responses"] == {"180": 1, "200": 2, "503": 1}
    assert [call["call_id"] for call in report["calls"]] == [GOOD_CALL, REFUSED_CALL]
    assert report["calls"][0]["start"] == 1759500310.0
    assert report["calls"][0]["duration_ms"] == pytest.approx(10_000)
    streams = {stream["ssrc"]: stream for stream in report["streams"]}
    assert streams["0x000000A1"]["packets"] == PACKETS_EACH_WAY
    assert streams["0x000000B2"]["packets"] == PACKETS_EACH_WAY - 1
    assert streams["0x000000B2"]["lost"] == 1
    assert {stream["call_id"] for stream in report["streams"]} == {GOOD_CALL}
    assert shell(["replay", str(capture), "--format", "json"]) == 0
    assert capsys.readouterr().out == text


def test_numbers_are_shown_only_on_request(
    capture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")  # 80 shorten them
    for form in ("text", "json"):
        assert shell(["replay", str(capture), "--format", form]) == 0
        assert DIGITS[1] not in capsys.readouterr().out
        assert shell(["replay", str(capture), "--format", form, "--show-numbers"]) == 0
        assert DIGITS[1] in capsys.readouterr().out


def test_one_call_is_shown_fully_by_the_beginning_of_its_id(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["replay", str(capture), "--call", GOOD_CALL[:5]]) == 0
    shown = capsys.readouterr().out
    assert f"{CALLER}:5060" in shown
    assert "SSRC 0x000000B2" in shown
    assert "1 lost, 0.40 %" in shown


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--call", "zzz"], "no Call-ID begins with “zzz”; the input has 2 calls"),
        (["--filter", "site:x"], "no key “site”"),
        (["--format", "parquet"], "--out DIR"),
        (["--format", "xml"], "xml"),
        (["--top", "0"], "--top"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_what_cannot_be_met_is_one_line_and_status_2(
    capture: Path, arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell(["replay", str(capture), *arguments]) == UNUSABLE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert part in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("callgauge: ")


def test_an_ambiguous_call_names_its_candidates(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["replay", str(capture), "--call", ""]) == UNUSABLE
    assert f"{GOOD_CALL}, {REFUSED_CALL}" in capsys.readouterr().err


def test_what_is_no_capture_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("this is no capture, and it is long enough to be read as one" * 3)
    for path in (text, tmp_path / "absent.pcap", tmp_path):
        assert shell(["replay", str(path)]) == UNUSABLE
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert path.name in captured.err


def test_a_cut_capture_is_reported_as_far_as_it_goes(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-50])
    assert shell(["replay", str(cut), "--format", "json"]) == PARTLY_READ
    captured = capsys.readouterr()
    assert json.loads(captured.out)["capture"]["stopped"]
    assert "cut.pcap" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("text", ["report.txt"]),
        ("json", ["report.json"]),
        ("csv", ["calls.csv", "findings.csv", "streams.csv"]),
        ("parquet", ["calls.parquet", "findings.parquet", "streams.parquet"]),
    ],
)
def test_out_writes_files_and_says_which(
    capture: Path, tmp_path: Path, form: str, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    assert shell(["replay", str(capture), "--format", form, "--out", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert name in captured.err


def test_csv_without_a_folder_is_the_streams(capture: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "replay", str(capture), "--format", "csv"], capture_output=True, env=environment(), check=True
    )
    heading, *rows = done.stdout.decode().split("\r\n")
    assert heading.startswith("src,src_port,dst,dst_port,ssrc,")
    assert len(rows) == 3
    assert rows[-1] == ""


def test_a_folder_that_cannot_be_made_is_one_line(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["replay", str(capture), "--format", "json", "--out", str(capture / "below")]) == UNUSABLE
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "evening.pcap" in captured.err


def test_a_filter_narrows_what_is_listed_and_not_the_totals(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["replay", str(capture), "--format", "json", "--filter", "state:failed"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [call["call_id"] for call in report["calls"]] == [REFUSED_CALL]
    assert report["streams"] == []
    assert report["sip"]["call_ids"] == 2
    assert report["selection"]["filter"] == "state:failed"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_number_cannot_be_found_out_through_the_filter(
    form: str, capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masked = ["replay", str(capture), "--format", form, "--filter"]
    assert shell([*masked, f"from:{DIGITS[0]}"]) == 0
    shown = capsys.readouterr().out
    assert GOOD_CALL not in shown
    assert DIGITS[0] not in shown
    assert shell([*masked, "from:p1"]) == 0
    assert GOOD_CALL[:8] in capsys.readouterr().out
    assert shell([*masked, f"from:{DIGITS[0][:5]}", "--show-numbers"]) == 0
    assert GOOD_CALL[:8] in capsys.readouterr().out


def test_a_defect_of_ours_is_one_line_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_request: object) -> bool:
        raise ZeroDivisionError("of\nours")

    monkeypatch.setattr(output, "report", fails)
    assert shell(["replay", "x"]) == INTERNAL
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "ZeroDivisionError: of ours" in captured.err
    assert "CALLGAUGE_TRACEBACK" in captured.err


def test_a_reader_that_goes_away_ends_us_quietly(capture: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "replay", str(capture), "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == READER_GONE


def test_a_pipe_prints_calls_as_they_end_and_the_report_at_its_end(capture: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "replay", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(capture.read_bytes())
        process.stdin.close()
        lines = process.stdout.read().decode().splitlines()
        assert process.wait(60) == 0
    first, *rest = lines
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3}  completed    p1 → p2  10\.0 s  a84b4c76e66710", first)
    assert any(line.startswith("standard input   20.6 s") for line in rest)
    assert any(line.startswith("SIP   2 calls") for line in rest)


def test_the_first_interrupt_of_a_pipe_waits_for_its_end(capture: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "replay", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(capture.read_bytes())
        process.stdin.flush()
        assert process.stdout.readline()  # it has come as far as the first call
        process.send_signal(signal.SIGINT)
        while b"waiting for the end" not in process.stderr.readline():
            time.sleep(0.01)
        process.stdin.close()
        assert b"RTP   2 streams" in process.stdout.read()
        assert process.wait(60) == 0


COMMANDS = ("mos", "mos --format json", "--help", "replay --help", "replay CAPTURE", "replay CAPTURE --format json")


def run_by_shell(words: str, redirection: str, capture: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell does that was told what to do with its streams."""
    line = shlex.join([*COMMAND, *words.replace("CAPTURE", str(capture)).split()])
    bash = ["bash", "-c", f"set -o pipefail; {line} {redirection}"]
    return subprocess.run(bash, capture_output=True, text=True, env=environment(), check=False)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_ends_with_one_status_when_nobody_reads(words: str, capture: Path) -> None:
    gone = run_by_shell(words, "| true", capture)
    assert (gone.returncode, gone.stdout, gone.stderr) == (READER_GONE, "", "")
    closed = run_by_shell(words, ">&-", capture)
    assert (closed.returncode, closed.stderr) == (READER_GONE, "callgauge: standard output is closed\n")
    assert run_by_shell(words, ">&- 2>&-", capture).returncode == READER_GONE


@pytest.mark.parametrize("words", COMMANDS)
def test_a_closed_stderr_changes_nothing(words: str, capture: Path) -> None:
    silent = run_by_shell(words, "2>&-", capture)
    assert silent.returncode == 0
    assert silent.stdout == run_by_shell(words, "", capture).stdout


@pytest.mark.parametrize("redirection", ["2>&-", "2> >(true)", "2>/dev/full"])
def test_what_cannot_be_said_on_stderr_does_not_change_the_status(redirection: str, capture: Path) -> None:
    assert run_by_shell("replay absent.pcap", redirection, capture).returncode == UNUSABLE
    assert run_by_shell("replay CAPTURE --call nobody", redirection, capture).returncode == UNUSABLE
    assert run_by_shell("mos --loss 300", redirection, capture).returncode == UNUSABLE


def test_files_are_written_without_a_stdout(capture: Path, tmp_path: Path) -> None:
    done = run_by_shell(f"replay CAPTURE --format json --out {tmp_path}", ">&- 2>&- <&-", capture)
    assert done.returncode == 0
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["capture"]["files"] == ["evening.pcap"]


def test_a_closed_stdin_is_an_empty_capture(capture: Path) -> None:
    done = run_by_shell("replay -", "<&-", capture)
    assert done.returncode == UNUSABLE
    assert done.stderr == "callgauge: standard input: not a capture: it is empty\n"
