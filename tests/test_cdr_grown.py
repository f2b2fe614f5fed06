"""Files that lines are added to: whatever is imported when, each line is read once, under its number in the file."""

from __future__ import annotations

import gzip
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cdr_reading import Rows

from analytics.store.lake import Lake
from api.main import shell
from collector.cdr.detect import detect
from collector.cdr.files import CdrFile, Found, Skipped, Watched, identify
from collector.cdr.importing import Import, ImportSettings
from collector.cdr.journal import sole_import
from collector.cdr.mapping import read_mapping
from collector.cdr.rejects import Rejects

NOW = datetime(2025, 7, 2, tzinfo=UTC)
OVER = Watched(is_settled=True, is_over=True)
GROWS = Watched(is_settled=False, is_over=False)


def asterisk(number: int) -> str:
    at = f"2025-07-01 {8 + number // 60:02d}:{number % 60:02d}"
    return (
        f'"","200","0113496{number:03d}","office","""Ann"" <200>","PJSIP/200-{number:08x}","PJSIP/trunk-0000000b"'
        f',"Dial","PJSIP/0113496000@trunk,60","{at}:00","{at}:05","{at}:30",30,25,"ANSWERED","DOCUMENTATION"'
        f',"{1751356800 + number}.{number}",""'
    )


def freeswitch(number: int) -> str:
    at = f"2025-07-01 {8 + number // 60:02d}:{number % 60:02d}"
    uuid = f"{number:08x}-bd2d-48d4-ae03-7ee3766d6048"
    return f'"Ann","200","0113496{number:03d}","default","{at}:00","{at}:05","{at}:30","30","25","NORMAL_CLEARING","{uuid}","","","PCMA","PCMA"'  # noqa: E501


def avaya(number: int) -> str:
    # Segments of one call: where each begins is told by the one before it.
    goes_on = int(number % 4 != 3)
    return (
        f"2025/07/01 {8 + number // 240:02d}:{number // 4 % 60:02d}:00,00:00:{3 + number % 4:02d},5,206,O,6045003722"
        f",6045003722,,0,{1008700 + number // 4},{goes_on},E{200 + number % 4},Ann,T9014,Line 14.0,0,0,,,,,,,,,,,,,"
    )


def mapped(number: int) -> str:
    return f"2025-07-01 {8 + number // 60:02d}:{number % 60:02d}:00,{number},0113496{number:03d}"


LINES = {"asterisk": asterisk, "freeswitch": freeswitch, "avaya": avaya, "mapped": mapped}
MAPPING = 'source = "carrier"\nskip_lines = 1\n[columns]\norigination = "when"\nseconds = "length"\ncalled = "to"\n'


def text_of(kind: str, count: int, first: int = 0) -> str:
    head = "export of today\nwhen,length,to\n" if kind == "mapped" and not first else ""
    lines = [LINES[kind](number) if number % 10 != 7 else "what,is,this" for number in range(first, count)]
    return head + "".join(f"{line}\n" for line in lines)


def settings_of(kind: str, folder: Path) -> ImportSettings:
    if kind != "mapped":
        return ImportSettings()
    (folder / "mapping.toml").write_text(MAPPING, encoding="utf-8")
    return ImportSettings(mapping=read_mapping(folder / "mapping.toml"))


def take(store: Path, path: Path, kind: str, seen: Watched | None = OVER) -> Import:
    with Rejects(store.parent / f"rejects-{kind}.csv", NOW) as rejects:
        run = Import(settings_of(kind, store.parent), rejects)
        status = path.stat()
        found = Found((path,), (), (), {path: (status.st_size, status.st_mtime_ns)})
        files = run.identify(found, None if seen is None else {path: seen})
        with closing(Lake.open(store, create=True)) as lake, sole_import(lake.root, print) as journal:
            run.into(lake, journal, files, NOW)
    return run


def rows_in(store: Path) -> Rows:
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        view = lake.view(connection, "cdr_rows")
        sql = f"SELECT * EXCLUDE (file_key, day) FROM {view} ORDER BY line"
        rows: Rows = connection.sql(sql).to_arrow_table().to_pylist()
        return rows


def rejected_lines(folder: Path, kind: str) -> list[int]:
    lines = (folder / f"rejects-{kind}.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [int(line.split(",")[2]) for line in lines]


@pytest.mark.parametrize("kind", LINES)
def test_a_file_read_as_it_grows_gives_the_rows_of_the_file_read_once(tmp_path: Path, kind: str) -> None:
    (tmp_path / "once").mkdir()
    whole, path = tmp_path / "once" / "Master.csv", tmp_path / "Master.csv"
    data = text_of(kind, 60).encode()
    whole.write_bytes(data)
    take(tmp_path / "once" / "store", whole, kind)
    expected = rows_in(tmp_path / "once" / "store")
    assert len(expected) == 54
    # The cuts lie within lines, at ends of lines, in a line of the heading, and nowhere at all.
    line_end = data.index(b"\n", len(data) // 2) + 1
    for size in (5, 300, 301, line_end, line_end, line_end + 1, len(data) - 1, len(data)):
        path.write_bytes(data[:size])
        take(tmp_path / "store", path, kind, OVER if size == len(data) else GROWS)
    assert rows_in(tmp_path / "store") == expected
    assert rejected_lines(tmp_path, kind) == rejected_lines(tmp_path / "once", kind)


def test_a_rotated_and_packed_file_is_read_on_where_it_was_left(tmp_path: Path) -> None:
    store, live = tmp_path / "store", tmp_path / "Master.csv"
    live.write_text(text_of("asterisk", 20))
    take(store, live, "asterisk", GROWS)
    # Lines came before the rotation and after it, and what was rotated was packed before anybody looked.
    (tmp_path / "Master.csv.1.gz").write_bytes(gzip.compress(text_of("asterisk", 30).encode()))
    live.write_text(text_of("asterisk", 40, 30))
    for path in (live, tmp_path / "Master.csv.1.gz", live):
        take(store, path, "asterisk", GROWS)
    assert len(rows_in(store)) == 36
    assert take(store, tmp_path / "Master.csv.1.gz", "asterisk").summary.already == 1


def test_an_import_by_hand_reads_what_was_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "Master.csv"
    words = ["cdr", "import", str(path), "--store", str(tmp_path / "store"), "--rejects", str(tmp_path / "r.csv")]
    path.write_text(text_of("asterisk", 5))
    assert shell(words) == 0
    path.write_text(text_of("asterisk", 7))
    assert shell(words) == 0
    assert "records   2 read, 2 kept" in capsys.readouterr().out
    assert shell(words) == 0
    assert "1 imported before" in capsys.readouterr().out
    assert [row["line"] for row in rows_in(tmp_path / "store")] == [*range(1, 8)]


def test_a_line_that_an_import_by_hand_cut_is_read_whole_later(tmp_path: Path) -> None:
    path, data = tmp_path / "Master.csv", text_of("asterisk", 6).encode()
    path.write_bytes(data[:-40])
    take(tmp_path / "store", path, "asterisk", None)
    assert len(rows_in(tmp_path / "store")) == 5
    path.write_bytes(data)
    take(tmp_path / "store", path, "asterisk", None)
    assert len(rows_in(tmp_path / "store")) == 6


def test_another_file_that_begins_alike_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "Master.csv"
    path.write_text(text_of("asterisk", 5))
    take(tmp_path / "store", path, "asterisk")
    changed = text_of("asterisk", 9).replace("0113496003", "0113496999")
    path.write_text(changed)
    take(tmp_path / "store", path, "asterisk")
    assert len(rows_in(tmp_path / "store")) == 5 + 8


@pytest.mark.parametrize("then", [8, 12])
def test_rows_of_a_killed_import_are_not_read_again_when_the_file_has_grown(tmp_path: Path, then: int) -> None:
    path, store = tmp_path / "Master.csv", tmp_path / "store"
    path.write_text(text_of("asterisk", 4))
    take(store, path, "asterisk")
    path.write_text(text_of("asterisk", 7))
    with Rejects(None) as rejects:
        run = Import(ImportSettings(), rejects)
        status = path.stat()
        files = run.identify(Found((path,), (), (), {path: (status.st_size, status.st_mtime_ns)}))
        with closing(Lake.open(store)) as lake, sole_import(store, print) as journal:
            # As far as a kill behind the first commit lets it come: rows in the lake, noted in the journal alone.
            (part,) = run._unread(lake, journal, files)
            journal.add([part.file_key])
            assert run._append_group(lake, [part], {"cdr_rows": frozenset(), "phone_reports": frozenset()})
    assert len(rows_in(store)) == 7
    path.write_text(text_of("asterisk", then))
    take(store, path, "asterisk", GROWS)
    assert [row["line"] for row in rows_in(store)] == [line for line in range(1, then + 1) if line % 10 != 8]
    with closing(Lake.open(store)) as lake, sole_import(store, print) as journal:
        assert not journal.pending


@pytest.mark.parametrize(
    ("data", "seen", "reason"),
    [
        (text_of("asterisk", 1)[:-1], GROWS, "cut_row"),
        ('{"variables": {}, "callflow": []', Watched(True, False), "cut_row"),
        ('{"variables": {}, "callflow": []}', Watched(False, False), "changing"),
        ('{"variables": {}, "callflow": []}', Watched(True, False), None),
        ('{"variables": {}, "callflow": []', OVER, None),
    ],
)
def test_what_is_cut_waits_until_nothing_more_is_to_come(
    tmp_path: Path, data: str, seen: Watched, reason: str | None
) -> None:
    path = tmp_path / "file"
    path.write_text(data)
    status = path.stat()
    found = identify(path, (status.st_size, status.st_mtime_ns), detect, seen)
    assert found.reason == reason if isinstance(found, Skipped) else reason is None and isinstance(found, CdrFile)
