"""`callgauge mos`: what it prints agrees with the Recommendation, and what it refuses it refuses in one line."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from analytics.quality.emodel import PARAMETER_RANGES
from analytics.quality.rating import NetworkDelay, RatingAssumptions, as_command, rate_stream
from api.mos import mos

app = typer.Typer(add_completion=False)
app.command(name="mos")(mos)


class Printed(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


def run(arguments: str) -> Printed:
    result = CliRunner().invoke(app, shlex.split(arguments))
    return Printed(result.exit_code, result.stdout, result.stderr)


def run_json(arguments: str) -> dict[str, Any]:
    result = run(f"{arguments} --format json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def test_defaults_are_the_reference_connection() -> None:
    document = run_json("")
    assert document["r_factor"] == pytest.approx(93.206208, abs=1e-6)
    assert document["mos"] == pytest.approx(4.409406, abs=1e-6)
    assert document["user_satisfaction"] == "very satisfied"
    assert set(document["parameters"]) == set(PARAMETER_RANGES) - {"LSTR"}


@pytest.mark.parametrize(
    ("arguments", "r"),
    [
        # Vectors N051, N030, N072, N082, N096, N055 of the independent table.
        ("--codec PCMA --plc --loss 5 --burst-ratio 2", 75.996063),
        ("--codec PCMU --loss 1", 75.281679),
        ("--codec PCMA --plc --loss 3 --delay 250 --delay-basis full", 69.034752),
        ("--delay 100 --delay-basis full --set TELR=50", 79.716013),
        ("--delay 100 --set TELR=50", 79.716013),
        ("--delay 300 --set sT=0.4 --set mt=150", 87.027653),
        ("--codec G729 --loss 1", 78.006208),
        ("--ie 11 --bpl 19 --loss 1", 78.006208),
    ],
)
def test_r_is_that_of_the_independent_vectors(arguments: str, r: float) -> None:
    document = run_json(arguments)
    assert document["r_factor"] == pytest.approx(r, abs=1e-4)
    assert document["waterfall"][-1]["r"] == document["r_factor"]


def test_every_term_stands_in_the_text_with_its_clause() -> None:
    result = run("--codec PCMA --plc --delay 80 --loss 1 --burst-ratio 1.4 --set TELR=55")
    assert result.exit_code == 0
    text = result.stdout
    for term in ("No", "Ro", "Iolr", "Ist", "Iq", "Is", "Idte", "Idle", "Idd", "Id", "Ie_eff", "A", "R", "MOS"):
        assert any(line.split()[:1] == [term] for line in text.splitlines()), term
    for clause in ("7.2", "7.3.1", "7.3.2", "7.3.3", "7.4.1", "7.4.2", "7.4.3", "7.5", "7.6", "Annex B"):
        assert clause in text
    assert "TELR 55" in text
    # 95 x 1 / (1 / 1.4 + 25.1) by hand.
    assert "3.680" in text
    assert text.splitlines()[0] == "MOS 4.17   R 84.1   satisfied"


def test_the_text_is_plain_and_fits_100_columns() -> None:
    for arguments in ("--codec G723 --loss 60 --delay 4000 --delay-basis full --burst-ratio 99999", "--list-codecs"):
        text = run(arguments).stdout
        assert text.isascii()
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= 100


def test_the_burst_ratio_of_a_fragile_codec_is_not_used_unless_forced() -> None:
    plain, bursty = run_json("--codec PCMA --loss 2"), run_json("--codec PCMA --loss 2 --burst-ratio 3")
    assert bursty["r_factor"] == plain["r_factor"]
    assert any("BurstR 1 used (measured 3; G.113: only with Bpl >= 16)" in note for note in bursty["notes"])
    forced = run_json("--codec PCMA --loss 2 --burst-ratio 3 --set BurstR=3")
    assert forced["r_factor"] < plain["r_factor"]
    assert not any("BurstR 1 used" in note for note in forced["notes"])


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        ("--loss 3 --set Ppl=5", "Ppl 5 from --set replaces --loss 3"),
        ("--delay 50 --set Ta=80", "Ta 80 from --set replaces --delay 50"),
        ("--delay 50 --delay-basis full --set Tr=80", "Tr 80 from --set replaces --delay 50"),
        ("--codec G729 --loss 1 --set bpl=25.1", "Bpl 25.1 from --set replaces --codec G729"),
        ("--codec G729 --ie 12 --set Ie=15", "Ie 15 from --set replaces --ie 12"),
        ("--codec G729 --burst-ratio 1.5 --set BurstR=2", "BurstR 2 from --set replaces --burst-ratio 1.5"),
    ],
)
def test_what_a_setting_replaces_is_said(arguments: str, note: str) -> None:
    assert note in run_json(arguments)["notes"]
    assert f"! {note}" in run(arguments).stdout


@pytest.mark.parametrize("arguments", ["--set Ppl=5", "--loss 3 --set Ppl=3", "--loss 3 --set TELR=55", "--delay 9"])
def test_a_setting_that_replaces_nothing_is_not_remarked_on(arguments: str) -> None:
    assert not [note for note in run_json(arguments)["notes"] if "replaces" in note]


def test_json_has_its_keys_sorted() -> None:
    text = run("--codec PCMA --plc --format json").stdout
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_the_list_of_codecs_names_their_sources() -> None:
    text = run("--list-codecs").stdout
    assert "25.1" in text
    assert "no ITU value for OPUS" in text
    document = run_json("--list-codecs")
    assert {"codec": "G729", "ie": 11.0, "bpl": 19.0}.items() <= document["codecs"][4].items()
    assert document["without_value"]["OPUS"] == "no ITU value for OPUS"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--codec FOO", "unknown codec FOO; give --ie and --bpl, or one of PCMA, PCMU, G729"),
        ("--codec OPUS", "no ITU value for OPUS; give --ie and --bpl, or one of PCMA"),
        ("--codec OPUS --ie 5", "no ITU value for OPUS"),
        ("--codec GSM --loss 1", "no ITU value of Bpl for GSM: with loss, give --bpl"),
        ("--loss 101", "Ppl must be from 0 to 100 %, got 101"),
        ("--loss nan", "Ppl must be from 0 to 100 %, got nan"),
        ("--loss -1", "Ppl must be from 0 to 100 %, got -1"),
        ("--delay -1", "Ta must be from 0 to 10000 ms, got -1"),
        ("--burst-ratio 0.5 --codec PCMA", "BurstR must be from 1 to 1e+09, got 0.5"),
        ("--burst-ratio nan --codec PCMA", "BurstR must be from 1 to 1e+09, got nan"),
        ("--set FOO=1", "--set FOO=1: wanted NAME=VALUE with a NAME of SLR, RLR"),
        ("--set TELR", "--set TELR: wanted NAME=VALUE"),
        ("--set TELR=loud", "--set TELR=loud: the value is not a number"),
        ("--set TELR=-5", "TELR must be from 0 to 110 dB, got -5"),
        ("--bpl 0", "Bpl must be from 1 to 1000, got 0"),
    ],
)
def test_a_wrong_input_ends_with_one_line_and_status_2(arguments: str, message: str) -> None:
    result = run(arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"callgauge mos: {message}")


def test_values_of_ones_own_make_any_codec_computable() -> None:
    document = run_json("--codec OPUS --ie 5 --bpl 15 --loss 1")
    assert document["codec"] is None
    assert document["terms"]["Ie_eff"] == pytest.approx(5 + 90 / 16)
    assert "OPUS Ie 5 Bpl 15 (as given)" in document["model"]
    assert document["notes"] == ["no ITU value for OPUS: Ie and Bpl are as given, on the narrowband scale"]


@settings(max_examples=25)
@given(
    st.sampled_from(["PCMA", "PCMU", "G729", "G723"]),
    st.booleans(),
    st.floats(0, 100),
    st.floats(1, 300),
    st.floats(0, 5000),
    st.sampled_from(["echo-free", "full"]),
)
def test_the_command_of_a_stream_computes_its_rating_again(
    codec: str, plc: bool, loss: float, burst_ratio: float, one_way_ms: float, basis: str
) -> None:
    delay = NetworkDelay(one_way_ms, "given")
    rating = rate_stream(codec, plc, loss, burst_ratio, 20.0, delay, RatingAssumptions(basis))
    command = as_command(rating)
    assert command is not None
    prefix = "callgauge mos "
    assert command.startswith(prefix)
    document = run_json(command.removeprefix(prefix))
    assert document["r_factor"] == pytest.approx(rating.r_factor, abs=1e-6)
    assert document["mos"] == pytest.approx(rating.mos, abs=1e-6)


def test_the_command_loads_neither_kernels_nor_arrays() -> None:
    code = "import sys, api.mos; print(sorted({'numba', 'numpy', 'pyarrow', 'rich.console'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
