"""`callgauge replay --store`: what of a capture is kept, that it is kept once, and at which sites."""

from __future__ import annotations

import gzip
import hashlib
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analytics.store.lake import Lake
from api.main import PARTLY_READ, UNUSABLE, shell
from api.replay import ReplaySettings, replay_files
from api.storing import Store
from collector.call_list import CallList
from collector.facts import Endpoint
from collector.simulator.bulk_sip import PCAP_HEADER, SipSize, write_sip
from collector.simulator.frames import frame, udp_packet

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample_pcaps"
CLEAN = SAMPLES / "clean_pcma.pcap"
OUTCOMES = SAMPLES / "outcomes.pcap"


def replay(*words: object) -> int:
    return shell(["replay", "--no-progress", *map(str, words)])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.rstrip("\n").rsplit("\n", 1)[-1]


def rows(store: Path, table: str, order: str = "start") -> list[dict[str, Any]]:
    """Rows of a table as they are kept; times in microseconds."""
    lake = Lake.open(store)
    connection = lake.connect()
    try:
        lake.view(connection, table)
        columns = connection.execute(f"DESCRIBE {table}").fetchall()
        chosen = ", ".join(
            f'epoch_us("{name}") AS "{name}"' if "TIME ZONE" in kind else f'"{name}"' for name, kind, *_ in columns
        )
        found = connection.execute(f"SELECT {chosen} FROM {table} ORDER BY {order}")
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    finally:
        connection.close()
        lake.close()


@pytest.fixture
def estate(tmp_path: Path) -> Path:
    """Two sites: the phones' network of the samples, and another one."""
    folder = tmp_path / "estate"
    folder.mkdir()
    (folder / "estate.toml").write_text('[estate]\nname = "Test"\ntimezone = "Europe/London"\n')
    (folder / "sites.csv").write_text(
        "site,name,kind,parent,priority,valid_from,valid_to\nA,Alpha,station,,,,\nB,Beta,office,,,,\n"
    )
    (folder / "subnets.csv").write_text("subnet,site,valid_from,valid_to\n192.0.2.0/24,A,,\n198.51.100.0/24,B,,\n")
    return folder


def test_calls_and_streams_of_a_capture_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    assert replay(CLEAN, "--store", store) == 0
    assert last_line(capsys) == f"stored in {store}: 1 call, 2 streams"
    (call,) = rows(store, "calls")
    source = hashlib.sha256(CLEAN.read_bytes()).hexdigest()
    assert call.items() >= {
        "source": source, "state": "completed", "status": 200, "calling": "1001", "called": "1002",
        "from_address": "192.0.2.10", "to_address": "198.51.100.20", "site": None, "legs": 1, "streams": 2,
    }.items()  # fmt: skip
    assert call["start"] < call["answer"] < call["end"]
    assert call["seconds"] == pytest.approx((call["end"] - call["answer"]) / 1e6, abs=1e-5)
    streams = rows(store, "streams")
    assert [stream["codec"] for stream in streams] == ["PCMA"] * 2
    assert {stream["call_key"] for stream in streams} == {call["call_key"]}
    assert min(stream["mos"] for stream in streams) == call["mos"]
    (imported,) = rows(store, "imports", "imported")
    assert imported.items() >= {"sha256": source, "name": CLEAN.name, "source": "capture"}.items()
    assert rows(store, "site_minutes") == []


def write_stream(path: Path, packets: int, lost: frozenset[int] = frozenset(), late: int | None = None) -> None:
    """One stream of PCMA, a packet each 20 ms from 1,700,000,000 s on; `late` comes behind its successor."""
    order = list(range(packets))
    if late is not None:
        order[late], order[late + 1] = order[late + 1], order[late]
    with path.open("wb") as file:
        file.write(PCAP_HEADER)
        for place, number in enumerate(order):
            if number not in lost:
                rtp = struct.pack("!BBHII", 0x80, 8, number & 0xFFFF, 160 * number, 7) + bytes(160)
                frame_ = frame(
                    udp_packet(Endpoint("192.0.2.1", 4000), Endpoint("198.51.100.1", 4002), rtp, ip_id=number)
                )
                micros = 20_000 * place
                head = (1_700_000_000 + micros // 1_000_000, micros % 1_000_000, len(frame_), len(frame_))
                file.write(struct.pack("<IIII", *head) + frame_)


def test_streams_are_cut_into_intervals_whose_counts_add_up(tmp_path: Path) -> None:
    capture, store = tmp_path / "a.pcap", tmp_path / "store"
    # 31 s; packets 600 to 619 are lost: 12 s after the begin, in the second interval.
    write_stream(capture, 1_550, frozenset(range(600, 620)))
    assert replay(capture, "--store", store) == 0
    (stream,) = rows(store, "streams")
    cut = rows(store, "intervals")
    # The first 64th packet at least 10 s on is packet 512, of number 511; 512 received ones later it is number 1,043.
    assert [row["packets"] for row in cut] == [512, 512, 506]
    assert [row["expected"] for row in cut] == [512, 532, 506]
    assert [row["lost"] for row in cut] == [0, 20, 0]
    assert [row["start"] - cut[0]["start"] for row in cut] == [0, 511 * 20_000, 1_043 * 20_000]
    assert [row["seconds"] for row in cut] == pytest.approx([10.22, 10.64, 10.12])
    assert cut[-1]["start"] + round(cut[-1]["seconds"] * 1e6) == stream["end"]
    assert {row["stream_key"] for row in cut} == {stream["stream_key"]}
    assert all(row["jitter_ms"] == pytest.approx(0, abs=1e-6) for row in cut[:1])
    assert cut[0]["mos"] == cut[2]["mos"] > stream["mos"] > cut[1]["mos"]


def test_duplicates_and_late_packets_are_not_lost_in_an_interval(tmp_path: Path) -> None:
    capture, store = tmp_path / "a.pcap", tmp_path / "store"
    write_stream(capture, 1_100, late=511)
    assert replay(capture, "--store", store) == 0
    cut = rows(store, "intervals")
    # The 512th packet to come has number 512; 511 comes just behind it, in the next interval.
    assert [(row["packets"], row["expected"], row["lost"]) for row in cut] == [
        (512, 513, 1),
        (512, 511, -1),
        (76, 76, 0),
    ]


def test_a_short_stream_is_one_interval(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert replay(CLEAN, "--store", store) == 0
    streams, cut = rows(store, "streams"), rows(store, "intervals")
    for stream, interval in zip(streams, cut, strict=True):
        for name in ("stream_key", "start", "packets", "expected", "lost", "mos", "site"):
            assert interval[name] == stream[name]
        assert interval["jitter_ms"] == pytest.approx(stream["jitter_ms"], abs=1e-5)
        assert interval["seconds"] == pytest.approx((stream["end"] - stream["start"]) / 1e6, abs=1e-5)


def test_intervals_change_no_report(tmp_path: Path) -> None:
    for sample in ("bursty_loss", "disordered", "hold_resume", "key_presses", "mirrored"):
        plain = replay_files([SAMPLES / f"{sample}.pcap"])
        cut = replay_files([SAMPLES / f"{sample}.pcap"], ReplaySettings.to_keep())
        assert cut.streams == plain.streams
        assert plain.intervals == ()
        for stream, intervals in zip(cut.streams, cut.intervals, strict=True):
            assert sum(interval.packets for interval in intervals) == stream.packets
            assert sum(interval.lost for interval in intervals) == stream.lost + sum(stream.not_network.values())
            assert (intervals[0].start, intervals[-1].end) == (stream.first, stream.last)


def test_the_rows_are_what_the_report_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    assert replay(SAMPLES / "bursty_loss.pcap", "--store", store, "--format", "csv") == 0
    captured = capsys.readouterr()
    assert f"stored in {store}: 1 call, 2 streams" in captured.err
    names, *lines = [line.split(",") for line in captured.out.splitlines()]
    reported = sorted(dict(zip(names, line, strict=False))["lost"] for line in lines)
    assert sorted(str(stream["lost"]) for stream in rows(store, "streams")) == reported


def test_a_capture_that_is_stored_keeps_its_sites_and_that_is_said(
    tmp_path: Path, estate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert replay(CLEAN, "--store", store) == 0
    assert replay(CLEAN, "--store", store, "--estate", estate) == 0
    said = last_line(capsys)
    assert said.endswith("nothing was stored, and its calls keep the sites that they were stored with")
    assert len(rows(store, "calls")) == 1


def test_of_replays_at_once_one_says_that_it_stored(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [sys.executable, "-m", "api.main", "replay", str(CLEAN), "--store", str(store)]
    several = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]
    said = [one.communicate()[0] for one in several]
    assert [one.returncode for one in several] == [0] * 3
    assert sum(f"stored in {store}: 1 call" in one for one in said) == 1
    assert sum("holds this capture already" in one for one in said) == 2
    assert len(rows(store, "calls")) == 1


def test_the_same_capture_counts_once_packed_renamed_or_through_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, packed = tmp_path / "store", tmp_path / "other name.gz"
    packed.write_bytes(gzip.compress(CLEAN.read_bytes()))
    assert replay(CLEAN, "--store", store) == 0
    for words in ([CLEAN], [packed], [CLEAN, packed]):
        capsys.readouterr()
        assert replay(*words, "--store", store) == 0
        assert last_line(capsys) == f"{store} holds this capture already; nothing was stored"
    piped = subprocess.run(
        [sys.executable, "-m", "api.main", "replay", "-", "--store", str(store)],
        input=CLEAN.read_bytes(), capture_output=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert b"holds this capture already" in piped.stdout
    assert len(rows(store, "calls")) == 1
    assert len(rows(store, "imports", "imported")) == 1


def test_files_kept_together_count_once_in_any_order_and_not_with_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert replay(CLEAN, OUTCOMES, "--store", store) == 0
    assert replay(OUTCOMES, CLEAN, "--store", store) == 0
    assert replay(OUTCOMES, "--store", store) == 0
    calls = rows(store, "calls")
    assert len(calls) == 6
    assert len({call["call_key"] for call in calls}) == 6
    capsys.readouterr()
    assert replay(OUTCOMES, SAMPLES / "forked.pcap", "--store", store) == PARTLY_READ
    assert last_line(capsys).startswith(f"nothing was stored: {store} holds {OUTCOMES} already")
    assert len(rows(store, "calls")) == 6


def test_filters_and_masking_change_the_report_alone(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert replay(OUTCOMES, "--store", store, "--filter", "state:completed") == 0
    kept = rows(store, "calls")
    assert len(kept) == 5
    assert {call["calling"] for call in kept} == {"1001"}


def test_sites_come_from_the_estate_and_each_call_and_stream_counts_once(
    tmp_path: Path, estate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert replay(CLEAN, "--store", store, "--estate", estate) == 0
    assert "stored in" in last_line(capsys)
    (call,) = rows(store, "calls")
    assert (call["site"], call["other_site"]) == ("A", "B")
    streams = rows(store, "streams")
    assert {(stream["site"], stream["other_site"]) for stream in streams} == {("A", "B"), ("B", "A")}
    minutes = [row for row in rows(store, "site_minutes") if row["step"] == "minute"]
    hours = [row for row in rows(store, "site_minutes") if row["step"] == "hour"]
    for kept in (minutes, hours):
        assert sum(row["calls"] for row in kept) == 1
        assert sum(row["answered"] for row in kept) == 1
        assert sum(row["streams"] for row in kept) == 2
        assert sum(row["busy_seconds"] for row in kept) == pytest.approx(call["seconds"], abs=1e-5)
        for name in ("packets", "expected", "lost"):
            assert sum(row[name] for row in kept) == sum(stream[name] for stream in streams)
        assert sum(row["mos_sum"] for row in kept) == pytest.approx(sum(stream["mos"] for stream in streams))
    assert {row["site"] for row in minutes if row["streams"]} == {"A", "B"}
    assert {row["site"] for row in minutes if row["calls"]} == {"A"}
    assert all(row["start"] % 60_000_000 == 0 for row in minutes)


def test_an_estate_without_those_networks_places_nothing(tmp_path: Path, estate: Path) -> None:
    (estate / "subnets.csv").write_text("subnet,site,valid_from,valid_to\n203.0.113.0/24,A,,\n")
    store = tmp_path / "store"
    assert replay(CLEAN, "--store", store, "--estate", estate) == 0
    assert [call["site"] for call in rows(store, "calls")] == [None]
    assert rows(store, "site_minutes") == []


def test_a_run_that_failed_before_its_end_is_taken_up_again(
    tmp_path: Path, estate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    Store(store, None).close()
    (store / "imports").write_text("a file where the folder of the last table should be")
    assert replay(CLEAN, "--store", store, "--estate", estate) == PARTLY_READ
    assert last_line(capsys).startswith("not all was stored, replay again: table imports cannot be made")
    assert len(rows(store, "calls")) == 1
    (store / "imports").unlink()
    assert replay(CLEAN, "--store", store, "--estate", estate) == 0
    assert len(rows(store, "calls")) == 1
    assert len(rows(store, "streams")) == 2
    assert sum(row["streams"] for row in rows(store, "site_minutes") if row["step"] == "minute") == 2
    assert len(rows(store, "imports", "imported")) == 1


def test_a_cut_capture_is_kept_as_far_as_it_goes(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(CLEAN.read_bytes()[:-20])
    store = tmp_path / "store"
    assert replay(cut, "--store", store) == PARTLY_READ
    assert replay(cut, "--store", store) == PARTLY_READ
    assert len(rows(store, "calls")) == 1
    assert rows(store, "imports", "imported")[0]["sha256"] == hashlib.sha256(cut.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--estate", "."], "--estate says where the stored calls were: add --store DIR"),
        (["--store", "{full}"], "is neither a store nor empty"),
        (["--store", "{new}", "--estate", "{full}"], "estate.toml"),
    ],
)
def test_what_cannot_be_kept_is_said_before_hours_of_reading(
    tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("")
    named = [word.format(full=full, new=tmp_path / "new") for word in words]
    assert replay(CLEAN, *named) == UNUSABLE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_a_store_is_not_touched_by_a_replay_without_it() -> None:
    code = (
        "import sys; from api.main import shell; "
        f"status = shell(['replay', {str(CLEAN)!r}, '--format', 'json']); "
        "heavy = {'duckdb', 'deltalake', 'pyarrow', 'api.storing'} & set(sys.modules); "
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_store_is_let_go_of(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", None)
    store.close()
    store.close()


def test_calls_that_are_made_on_demand_are_all_kept_and_not_held(tmp_path: Path) -> None:
    capture, store = tmp_path / "sip.pcap", tmp_path / "store"
    truth = write_sip(capture, SipSize(messages=5_000, calls=700))
    assert replay(capture, "--store", store) == 0
    kept = rows(store, "calls", "start, call_id")
    assert len(kept) == truth.calls
    replayed = replay_files([capture])
    assert isinstance(replayed.calls, CallList)
    assert sum(call.state == "completed" for call in replayed.calls) == sum(row["state"] == "completed" for row in kept)
    again = replay_files([capture]).calls
    assert isinstance(again, CallList)
    assert list(again.passing()) == list(replayed.calls)
