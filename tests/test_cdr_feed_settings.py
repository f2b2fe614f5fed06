"""Watched folders in the settings: paths or tables, relative to the file, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.main import shell
from api.settings import SettingsError, load
from collector.cdr.watching import FeedFolder


def written(folder: Path, text: str) -> Path:
    path = folder / "callgauge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_folders_are_paths_or_tables_relative_to_the_file(tmp_path: Path) -> None:
    text = """
[cdr]
poll_seconds = 5
folders = ["cucm", { path = "/srv/leeds", zone = "Europe/London", mapping = "m.toml", after = "move", move_to = "x" }]
"""
    found = load(written(tmp_path, text), {})
    assert found.wants("cdr")
    assert found.cdr.poll_seconds == 5
    assert found.cdr.folders == (
        FeedFolder(tmp_path / "cucm"),
        FeedFolder(
            Path("/srv/leeds"), mapping=tmp_path / "m.toml", zone="Europe/London", after="move", move_to=tmp_path / "x"
        ),
    )


def test_folders_are_an_array_of_tables_or_come_from_the_environment(tmp_path: Path) -> None:
    text = '[[cdr.folders]]\npath = "a"\nsystem = "pbx"\n[[cdr.folders]]\npath = "b"\nafter = "delete"\n'
    found = load(written(tmp_path, text), {})
    assert [(one.path.name, one.system, one.after) for one in found.cdr.folders] == [
        ("a", "pbx", "keep"), ("b", "", "delete"),
    ]  # fmt: skip
    given = load(written(tmp_path, ""), {"CALLGAUGE_CDR_FOLDERS": "/srv/a,/srv/b"})
    assert given.cdr.folders == (FeedFolder(Path("/srv/a")), FeedFolder(Path("/srv/b")))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('"a"', "must be a list of paths or tables, not 'a'"),
        ("[]", "must be a list of paths or tables, not '[]'"),
        ("[3]", "names '3', which is neither a path nor a table of texts"),
        ("[{ path = 3 }]", "names \"{'path': 3}\", which is neither a path nor a table of texts"),
        ("[{ pth = 'a' }]", "has a table with 'pth', which is not known (did you mean path?)"),
        ("[{ zone = 'UTC' }]", "has a table without path"),
        ("[{ path = 'a', after = 'burn' }]", "has a table whose after is 'burn': keep, move or delete"),
        ("[{ path = 'a', after = 'move' }]", 'has a table with one of after = "move" and move_to and not the other'),
        ("[{ path = 'a', move_to = 'b' }]", 'has a table with one of after = "move" and move_to and not the other'),
    ],
)
def test_what_is_wrong_with_folders_is_told_with_its_line(tmp_path: Path, value: str, problem: str) -> None:
    path = written(tmp_path, f"[cdr]\nfolders = {value}\n")
    with pytest.raises(SettingsError) as raised:
        load(path, {})
    assert str(raised.value) == f"{path}:2: cdr.folders {problem}"


def test_folders_are_shown_as_toml_reads_them_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, '[cdr]\nfolders = ["/a", { path = "/b", after = "delete" }]\n')
    assert shell(["settings", "show", "--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert 'folders = ["/a", { path = "/b", after = "delete" }]' in said
    assert load(written(tmp_path, said), {}).cdr == load(written(tmp_path, path.read_text()), {}).cdr
    assert shell(["settings", "show", "--config", str(path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["cdr.folders"]["value"] == ["/a", {"path": "/b", "after": "delete"}]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cdr", "nowhere", "--store", "store"], "nowhere: no such folder"),
        (["--cdr", ".", "--cdr-after", "burn", "--store", "store"], "--cdr-after goes with --cdr, and is keep"),
        (["--cdr", ".", "--cdr-after", "move", "--store", "store"], "--cdr-after goes with --cdr, and is keep"),
        (["--cdr", ".", "--site", "york"], "call records go into a store: name it with --store"),
    ],
)
def test_what_cannot_be_watched_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell(["collect", *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
