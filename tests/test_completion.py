"""The shell completes commands and options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from api.main import shell

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With `callgauge` on the path, and a home that is nobody's."""
    program = tmp_path / "bin" / "callgauge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P -m api.main "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.mark.parametrize("of", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_shown(of: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["--show-completion", of]) == 0
    script = capsys.readouterr().out
    assert f"_CALLGAUGE_COMPLETE=complete_{of}" in script
    if shutil.which(of):
        subprocess.run([of, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("typed", "expected"), [("rep", "replay report"), ("estate ch", "check"), ("agents --st", "--store")]
)
def test_bash_completes_what_is_typed(typed: str, expected: str, environment: dict[str, str]) -> None:
    words = ["callgauge", *typed.split()]
    asked = (
        'eval "$(callgauge --show-completion bash)"; '
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        'callgauge_words=$(complete -p callgauge); [ -n "$callgauge_words" ] || exit 1; '
        '_callgauge_completion callgauge; echo "${COMPREPLY[*]}"'
    )
    done = subprocess.run(["bash", "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected.split(), done.stderr


@pytest.mark.parametrize(
    ("of", "variables"),
    [("zsh", {}), ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"})],
)
def test_other_shells_are_answered_as_their_scripts_ask(
    of: str, variables: dict[str, str], environment: dict[str, str]
) -> None:
    asks = {
        **environment,
        **variables,
        "_CALLGAUGE_COMPLETE": f"complete_{of}",
        "_TYPER_COMPLETE_ARGS": "callgauge repl",
    }
    done = subprocess.run(["callgauge"], env=asks, capture_output=True, text=True, check=True)
    assert "replay" in done.stdout
    assert "collect" not in done.stdout


@pytest.mark.parametrize(
    ("of", "path"),
    [
        ("bash", ".bash_completions/callgauge.sh"),
        ("zsh", ".zfunc/_callgauge"),
        ("fish", ".config/fish/completions/callgauge.fish"),
    ],
)
def test_completion_is_installed_where_the_shell_looks(of: str, path: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["callgauge", "--install-completion", of], env=environment, capture_output=True, text=True, check=True
    )
    assert path in done.stderr
    assert "callgauge" in (Path(environment["HOME"]) / path).read_text()


def test_a_shell_that_is_not_known_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["--show-completion", "tcsh"]) == 2
    assert "bash|zsh|fish" in capsys.readouterr().err
