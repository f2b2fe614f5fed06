"""What the doctor says of folders of call records."""

from __future__ import annotations

from pathlib import Path

from api.probes import folders
from api.settings import load


def test_folders_that_are_watched_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = tmp_path / "callgauge.toml"
    path.write_text('[cdr]\nfolders = ["here", "gone", { path = "here", after = "delete" }]\n', encoding="utf-8")
    here, gone, deleted = folders(load(path, {}))
    assert (here.verdict, here.sentence) == ("ok", f"{tmp_path}/here can be read, and files stay in it.")
    assert (gone.verdict, gone.sentence) == ("problem", f"{tmp_path}/gone is no folder.")
    assert deleted.sentence.endswith("and files are deleted from it.")
    path.write_text("")
    (none,) = folders(load(path, {}))
    assert none.sentence == "No folder of call records is watched."
