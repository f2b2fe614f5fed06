"""Any CSV through a mapping file: what it may say, what is wrong with it by key and line, and the rows it gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest
from cdr_reading import Rows, reasons, rows_of, without_place
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.cdr import mapped
from collector.cdr.files import LayoutError
from collector.cdr.mapping import COLUMNS, MappingError, read_mapping
from collector.cdr.mapping import Mapping as FileMapping
from collector.cdr.rows import Batch, ReadSettings

DOCS = Path(__file__).resolve().parents[1] / "docs" / "cdr-other.md"
MAPPING = """\
source = "carrier"
delimiter = ";"

[time]
format = "%d/%m/%Y %H:%M:%S"
zone = "Europe/London"

[columns]
origination = "Start"
seconds = "Length"
calling = "From"
called = "To"
"""
FILE = b'Start;Length;From;To\n01/07/2025 10:00:00;65;0113496000;"0201;234"\n'


def mapping_of(tmp_path: Path, text: str) -> FileMapping:
    path = tmp_path / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    return read_mapping(path)


def through(mapping: FileMapping, data: bytes, zone: str = "UTC") -> tuple[Rows, list[tuple[int, str]]]:
    def reader(stream: BinaryIO, settings: ReadSettings) -> Iterator[Batch]:
        return mapped.read(stream, mapping, settings)

    return rows_of(reader, data, zone)


def example() -> tuple[str, bytes, str]:
    """Mapping, file and rows as the docs show them."""
    page = DOCS.read_text(encoding="utf-8")
    part = page[page.index("## Any other CSV") :]
    blocks = part.split("```")
    texts = {block.split("\n", 1)[0]: block.split("\n", 1)[1] for block in blocks[1::2]}
    return texts["toml"], texts["csv"].encode(), texts["text"]


def test_the_example_of_the_docs_gives_the_rows_that_the_docs_show(tmp_path: Path) -> None:
    mapping, data, shown = example()
    rows, rejects = through(mapping_of(tmp_path, mapping), data)
    assert rejects == []
    names, *lines = [line.split("|") for line in shown.splitlines() if line.strip()]
    for row, line in zip(rows, lines, strict=True):
        assert [str(row.get(name.strip(), "")) for name in names] == [cell.strip() for cell in line]


def test_the_docs_name_every_column_and_unit_of_a_mapping() -> None:
    page = DOCS.read_text(encoding="utf-8")
    for name in (*COLUMNS, "seconds", "milliseconds", "minutes", "hh:mm:ss", "mm:ss", "epoch", "epoch_ms", "epoch_us"):
        assert f"`{name}`" in page, name


def test_columns_are_bound_by_heading_whatever_their_case(tmp_path: Path) -> None:
    rows, rejects = through(mapping_of(tmp_path, MAPPING), FILE.replace(b"Start;", b"START;"))
    assert rejects == []
    assert (
        rows[0].items()
        >= {
            "source": "carrier",
            "line": 2,
            "origination": "2025-07-01 09:00:00",
            "connect": "2025-07-01 09:00:00",
            "disconnect": "2025-07-01 09:01:05",
            "seconds": 65,
            "calling": "0113496000",
            "called": "0201;234",
        }.items()
    )


def test_columns_are_bound_by_position_where_there_is_no_heading(tmp_path: Path) -> None:
    text = MAPPING.replace('delimiter = ";"', 'delimiter = ";"\nheader = false')
    for place, name in enumerate(("Start", "Length", "From", "To"), 1):
        text = text.replace(f'"{name}"', str(place))
    rows, _ = through(mapping_of(tmp_path, text), FILE.split(b"\n", 1)[1])
    assert (rows[0]["line"], rows[0]["called"]) == (1, "0201;234")


def test_a_file_in_utf_16_is_read(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, 'encoding = "utf-16"\n' + MAPPING)
    data = FILE.decode().replace("0113496000", "Zoë").encode("utf-16")
    assert mapped.sniff(data, mapping) == ("Start", "Length", "From", "To")
    assert through(mapping, data)[0][0]["calling"] == "Zoë"


@pytest.mark.parametrize(
    ("unit", "text", "seconds"),
    [
        ("seconds", "65", 65),
        ("seconds", "65.9", 65),
        ("milliseconds", "65900", 65),
        ("minutes", "1.5", 90),
        ("minutes", "2", 120),
        ("hh:mm:ss", "1:01:05", 3_665),
        ("mm:ss", "61:05", 3_665),
    ],
)
def test_lengths_come_in_many_units(tmp_path: Path, unit: str, text: str, seconds: int) -> None:
    mapping = mapping_of(tmp_path, MAPPING + f'[duration]\nunit = "{unit}"\n')
    assert through(mapping, FILE.replace(b";65;", f";{text};".encode()))[0][0]["seconds"] == seconds


@pytest.mark.parametrize(
    ("format_", "text", "start"),
    [
        ('"epoch"', "1751364000", "2025-07-01 10:00:00"),
        ('"epoch_ms"', "1751364000500", "2025-07-01 10:00:00"),
        ('["%Y%m%d", "%d.%m.%Y %H:%M"]', "01.07.2025 10:00", "2025-07-01 09:00:00"),
        ('"%Y-%m-%dT%H:%M:%S%z"', "2025-07-01T10:00:00+0300", "2025-07-01 07:00:00"),
        ("[]", "2025-07-01T10:00:00+03:00", "2025-07-01 07:00:00"),
        ("[]", "2025-07-01T10:00:00Z", "2025-07-01 10:00:00"),
        ("[]", "2025-07-01 10:00:00", "2025-07-01 09:00:00"),
    ],
)
def test_times_come_in_many_formats(tmp_path: Path, format_: str, text: str, start: str) -> None:
    mapping = mapping_of(tmp_path, MAPPING.replace('"%d/%m/%Y %H:%M:%S"', format_))
    rows, rejects = through(mapping, FILE.replace(b"01/07/2025 10:00:00", text.encode()))
    assert rejects == []
    assert rows[0]["origination"] == start


@pytest.mark.parametrize(
    ("change", "where", "sentence"),
    [
        (
            ('source = "carrier"', 'source = "Car rier"'),
            "1: source",
            "must be a name of small letters, digits, - and _",
        ),
        (('source = "carrier"', 'source = "cucm"'), "1: source", "cucm is the name of a reader"),
        (('delimiter = ";"', 'delimiter = ";;"'), "2: delimiter", "must be one character"),
        (('delimiter = ";"', 'header = "yes"'), "2: header", "must be true or false"),
        (('delimiter = ";"', 'delimeter = ";"'), "2: delimeter", "is not known here; known are delimiter, encoding, "),
        (('delimiter = ";"', 'encoding = "utf-99"'), "2: encoding", "'utf-99' is no encoding of text"),
        (('delimiter = ";"', "skip_lines = -1"), "2: skip_lines", "must be a number from 0 to 1,000"),
        (("%d/%m/%Y %H:%M:%S", "day first"), "5: time.format", "'day first' is no format of strptime"),
        (("Europe/London", "Europe/Atlantis"), "6: time.zone", "'Europe/Atlantis' is no time zone"),
        (('origination = "Start"\n', ""), "8: columns.origination", "is missing: each record needs a begin"),
        (('seconds = "Length"\n', ""), "8: columns.seconds", "is missing, and disconnect too"),
        (("called =", "callee ="), "12: columns.callee", "is not known here; known are account, answered, "),
        (('"To"', "0"), "12: columns.called", "is a position out of 1 to 1,000"),
        (('"To"', "true"), "12: columns.called", "must be a heading or a position from 1"),
        (("called =", "direction ="), "12: columns.direction", "needs the table [direction]"),
        (("called =", "answered ="), "12: columns.answered", "needs the table [answered]"),
        (('"To"\n', '"To"\n[duration]\nunit = "hours"\n'), "14: duration.unit", "must be one of seconds, milliseconds"),
        (('"To"\n', '"To"\n[constants]\ncalled = "1"\n'), "14: constants.called", "stands in columns too"),
        (('"To"\n', '"To"\n[constants]\nsystem = 1\n'), "14: constants.system", "must be a text"),
        (('"To"\n', '"To"\n[extra]\na = 1\n'), "13: extra", "is no table of a mapping"),
        (('"To"\n', '"To"\n[direction]\nin = 1\n'), "14: direction.in", "must be a word or a list of words"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said_with_its_line_and_key(
    tmp_path: Path, change: tuple[str, str], where: str, sentence: str
) -> None:
    with pytest.raises(MappingError) as caught:
        mapping_of(tmp_path, MAPPING.replace(*change))
    assert str(caught.value).startswith(f"{tmp_path / 'mapping.toml'}:{where} {sentence}")


def test_a_mapping_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="at line 2"):
        mapping_of(tmp_path, 'source = "a"\ncolumns\n')
    with pytest.raises(MappingError, match="No such file"):
        read_mapping(tmp_path / "none.toml")


def test_directions_answers_constants_and_keys_come_from_the_mapping(tmp_path: Path) -> None:
    mapping = mapping_of(
        tmp_path,
        MAPPING
        + 'direction = "Way"\nanswered = "Result"\ncall = "Call"\nring_seconds = "Ring"\norig_device = "Device"\n'
        + '[direction]\nin = "IN"\nout = ["OUT", "outgoing"]\n[answered]\nwords = "ok"\n[constants]\nsystem = "HQ"\n',
    )
    head = b"Start;Length;From;To;Way;Result;Call;Ring;Device\n"
    rows, rejects = through(
        mapping,
        head
        + b"01/07/2025 10:00:00;60;1;2;Outgoing;OK;c1;5;phone1\n"
        + b"01/07/2025 10:00:00;60;1;3;IN;busy;c1;5;phone1\n"
        + b"01/07/2025 10:00:00;60;1;3;sideways;ok;c2;5;phone1\n",
    )
    assert rejects == [(4, "unknown_direction")]
    first, second = rows
    assert (
        first.items() >= {"system": "HQ", "direction": "out", "seconds": 60, "connect": "2025-07-01 09:00:05"}.items()
    )
    assert first["disconnect"] == "2025-07-01 09:01:05"
    assert (second["direction"], second["seconds"], second.get("connect")) == ("in", 0, None)
    assert first["call_ref"] == second["call_ref"]
    assert first["orig_leg"] == second["orig_leg"] != 0
    assert first["dest_leg"] == 0


@pytest.mark.parametrize(
    ("unit", "written", "meant"),
    [("seconds", "65.9", 65), ("milliseconds", "65999", 65), ("minutes", "1.099", 65), ("seconds", "0.9", 0)],
)
def test_what_is_left_of_a_second_is_cut_off(tmp_path: Path, unit: str, written: str, meant: int) -> None:
    mapping = mapping_of(tmp_path, f'{MAPPING}\n[duration]\nunit = "{unit}"\n')
    (row,), _ = through(mapping, FILE.replace(b";65;", f";{written};".encode()))
    assert row["seconds"] == meant


def test_a_file_without_the_heading_is_rejected_line_by_line(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, MAPPING)
    data = FILE.replace(b"Length", b"Duration")
    with pytest.raises(LayoutError, match="lacks a column that the mapping names: 'Length' for seconds"):
        mapped.sniff(data, mapping)
    assert mapped.sniff(b"a;b;c;d\n", mapping) is None
    assert through(mapping, data) == ([], [(1, "missing_column:seconds"), (2, "no_heading")])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("01/07/2025 10:00:00;65;1", "column_count"),
        ("01/07/2025 10:00:00;65;1;2;3", "column_count"),
        ("31/02/2025 10:00:00;65;1;2", "bad_time"),
        ("01/07/0000 10:00:00;65;1;2", "bad_time"),
        (";65;1;2", "no_start"),
        ("01/07/2025 10:00:00;sixty;1;2", "bad_number"),
        ("01/07/2025 10:00:00;-65;1;2", "negative_number"),
        ('01/07/2025 10:00:00;65;1;"2', "unterminated_quote"),
    ],
)
def test_mangled_lines_are_rejected_by_name(tmp_path: Path, line: str, reason: str) -> None:
    assert through(mapping_of(tmp_path, MAPPING), FILE + line.encode())[1] == [(3, reason)]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_octets_are_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    mapping = mapping_of(tmp_path_factory.getbasetemp(), MAPPING)
    with suppress(LayoutError):
        mapped.sniff(data, mapping)
    through(mapping, data)
    through(mapping, FILE + data)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_mapping_file_is_read_or_refused_by_name(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    for content in (text, MAPPING + text, MAPPING.replace("Start", text), text + MAPPING):
        try:
            mapping_of(tmp_path_factory.getbasetemp(), content.encode("utf-8", "replace").decode())
        except MappingError:
            continue


def test_a_file_split_at_any_row_gives_the_same_rows(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, MAPPING)
    heading, *lines = (FILE + FILE.split(b"\n")[1].replace(b"65", b"66") + b"\n").splitlines(keepends=True)
    both = through(mapping, heading + b"".join(lines))[0]
    apart = [row for line in lines for row in through(mapping, heading + line)[0]]
    assert without_place(apart) == without_place(both)
    assert reasons(lambda stream, settings: mapped.read(stream, mapping, settings), "no heading") == [
        "missing_column:origination"
    ]
