"""The health of the data path adds up at every step, over processes, restarts and readers that come at any time."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.health import (
    FOLDER,
    KEEP_DAYS,
    STEPS,
    ProcessHealth,
    StepCounts,
    added,
    balanced,
    forget_old,
    read_health,
    write_health,
)
from analytics.store.spool import SpoolCounts
from api.collecting import CollectHealth, StoreHealth
from api.main import shell
from api.path_health import (
    agent_steps,
    collect_problems,
    collect_steps,
    intake_steps,
    process_health,
    source_notes,
)
from collector.live.source import SourceHealth
from collector.transport.agent import AgentCounts
from collector.transport.intake import IntakeCounts

NS = 1_000_000_000
COUNTS = st.integers(0, 10**12)
REASONS = st.dictionaries(st.sampled_from(["kernel_drops", "no_space", "bad"]), COUNTS, max_size=3)


def a_process(pid: int = 7, at: int = 100 * NS, **changed: object) -> ProcessHealth:
    given = {
        "host": "york", "pid": pid, "command": "collect", "name": "york-1", "version": "1", "began": 0, "at": at,
        "every": 10.0,
    }  # fmt: skip
    return ProcessHealth(**{**given, **changed})  # type: ignore[arg-type]


@given(came=COUNTS, passed=COUNTS, lost=REASONS, aside=REASONS, rest=st.sampled_from(["waiting", "other_traffic"]))
def test_a_step_adds_up_whatever_is_counted(
    came: int, passed: int, lost: dict[str, int], aside: dict[str, int], rest: str
) -> None:
    step = balanced("parsed", "packets", came, passed, lost=lost, aside=aside, rest=rest)
    assert step.unexplained == 0
    assert step.passed == passed
    assert step.came >= came
    assert step.waiting >= 0


@given(st.lists(st.tuples(st.sampled_from(list(STEPS)), COUNTS, COUNTS, REASONS), max_size=6))
def test_sums_of_steps_that_add_up_do_too(given: list[tuple[str, int, int, dict[str, int]]]) -> None:
    steps = [balanced(step, "rows", came, passed, lost=lost, rest="waiting") for step, came, passed, lost in given]
    total = added(steps)
    assert all(one.unexplained == 0 for one in total)
    assert sum(one.came for one in total) == sum(one.came for one in steps)
    assert [one.step for one in total] == [name for name in STEPS if name in {one.step for one in steps}]


def a_source(**changed: object) -> SourceHealth:
    given = {
        "name": "eth0", "kind": "packets", "running": True, "seen": 0, "parsed": 0, "matched": 0, "calls": 0,
        "streams": 0, "points": 0, "calls_now": 0, "streams_now": 0, "last_at": None,
    }  # fmt: skip
    return SourceHealth(**{**given, **changed})  # type: ignore[arg-type]


def step_of(steps: list[StepCounts], name: str) -> StepCounts:
    return next(one for one in added(steps) if one.step == name)


def test_packets_are_accounted_for_from_the_wire_to_the_store() -> None:
    source = a_source(
        seen=1_000,
        parsed=900,
        matched=870,
        calls=5,
        streams=10,
        points=100,
        lost={
            "kernel_drops": 40,
            "packets_ip_header_cut": 3,
            "packets_not_believed": 20,
            "packets_rtp_stray": 10,
            "packets_rtp_rows_exhausted": 2,
            "points_not_stored": 7,
            "calls_evicted": 4,
        },
    )
    store = StoreHealth(
        stored={"calls": 4, "streams": 10, "intervals": 80, "site_minutes": 6},
        quarantined=3,
        lost={"intervals": 2},
        made={"calls": 4, "streams": 10, "intervals": 90, "site_minutes": 6},
    )
    health = CollectHealth((source,), store)
    steps = collect_steps(health)
    assert step_of(steps, "seen") == StepCounts("seen", "packets", 1_040, 1_000, 0, {"kernel_drops": 40})
    assert step_of(steps, "parsed") == StepCounts(
        "parsed", "packets", 1_000, 900, 0, {"packets_ip_header_cut": 3}, {"other_traffic": 97}
    )
    assert step_of(steps, "matched") == StepCounts(
        "matched",
        "packets",
        900,
        868,
        0,
        {"packets_rtp_rows_exhausted": 2},
        {"packets_not_believed": 20, "packets_rtp_stray": 10},
    )
    # Calls, streams and intervals found: 115; rows of them made: 104; given up before: 7; so 4 wait.
    assert step_of(steps, "rated") == StepCounts("rated", "facts", 115, 104, 4, {"points_not_stored": 7})
    # Rows made: 110; stored: 100; put aside 3, given up 2; so 5 wait.
    assert step_of(steps, "stored") == StepCounts(
        "stored", "rows", 110, 100, 5, {"intervals_not_stored": 2}, {"time_not_believed": 3}
    )
    assert source_notes([source]) == {"calls_evicted": 4, "restarts": 0}


def test_several_messages_in_one_packet_still_add_up() -> None:
    steps = collect_steps(CollectHealth((a_source(seen=10, parsed=14, matched=14),), StoreHealth()))
    parsed = step_of(steps, "parsed")
    assert (parsed.came, parsed.passed, parsed.unexplained) == (10, 14, 0)
    assert parsed.aside == {"several_in_one_packet": -4}
    assert all(one.unexplained == 0 for one in added([*steps, *steps]))


def test_messages_that_were_received_are_told_by_why_they_were_refused() -> None:
    source = a_source(
        kind="hep",
        seen=100,
        parsed=80,
        matched=80,
        lost={
            "hep_auth_key_wrong": 6,
            "sip_cseq_bad": 4,
            "kernel_drops": 9,
            "connections_refused": 2,
            "hep_skipped_octets": 5_000,
            "reports_dropped": 3,
        },
    )
    steps = collect_steps(CollectHealth((source,), StoreHealth()))
    assert step_of(steps, "seen") == StepCounts("seen", "messages", 109, 100, 0, {"kernel_drops": 9})
    assert step_of(steps, "parsed") == StepCounts(
        "parsed", "messages", 100, 80, 0, {"hep_auth_key_wrong": 6, "sip_cseq_bad": 4}, {"other_traffic": 10}
    )
    assert step_of(steps, "stored").lost == {"reports_dropped": 3}
    assert source_notes([source]) == {"connections_refused": 2, "hep_skipped_octets": 5_000, "restarts": 0}


def test_rows_of_an_agent_are_told_up_to_the_centre() -> None:
    steps = agent_steps(AgentCounts(100, 80, 10, 5, 12, 2, 1, 0, 3), SpoolCounts(20, 15, 2, 1, 2, 4_096, 0))
    assert step_of(steps, "spooled") == StepCounts("spooled", "rows", 100, 80, 5, {"queue_dropped": 10, "unfit": 5})
    assert step_of(steps, "sent") == StepCounts(
        "sent", "messages", 20, 14, 2, {"spool_dropped": 2, "spool_damaged": 1, "refused_by_centre": 1}
    )


def test_messages_at_the_centre_are_told_up_to_the_store() -> None:
    counts = IntakeCounts(10, 6, 3, 500, Counter(clock_ahead=50), 0, Counter(not_ours=1), 2)
    steps = intake_steps(counts)
    assert step_of(steps, "received") == StepCounts(
        "received", "messages", 10, 6, 0, {"not_ours": 1}, {"came_again": 3}
    )
    assert step_of(steps, "stored") == StepCounts("stored", "rows", 550, 500, 0, {}, {"clock_ahead": 50})


def test_what_does_not_work_is_told() -> None:
    health = CollectHealth((a_source(problem="dumpcap ended"),), StoreHealth(problem="the disk is full"))
    assert collect_problems(health) == ["eth0: dumpcap ended", "the store takes nothing: the disk is full"]


# --- files ----------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    steps = (balanced("seen", "packets", 10, 8, lost={"kernel_drops": 2}, rest="waiting"),)
    one = a_process(steps=steps, notes={"restarts": 1}, gauges={"calls_now": 3, "x": 0.5}, problems=("no room",))
    other = a_process(pid=8, ended=True)
    write_health(tmp_path, one)
    write_health(tmp_path, other)
    write_health(tmp_path, one)
    assert read_health(tmp_path) == ([one, other], [])
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == ["york-7.json", "york-8.json"]


def test_a_host_of_any_name_stays_in_its_folder(tmp_path: Path) -> None:
    write_health(tmp_path, a_process(host="../../x y"))
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [".._.._x_y-7.json"]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "steps": 3}',
        '{"format": 1, "steps": [{"step": "seen"}], "problems": []}',
        '{"format": 1, "steps": [], "problems": [1]}', "[" * 100_000, "x" * (1 << 21),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_and_harms_no_other(text: str, tmp_path: Path) -> None:
    write_health(tmp_path, a_process())
    (tmp_path / FOLDER / "damaged.json").write_text(text)
    found, problems = read_health(tmp_path)
    assert found == [a_process()]
    assert len(problems) == 1
    assert "damaged.json cannot be read" in problems[0]


@given(data=st.binary(max_size=200))
def test_any_octets_are_health_or_named(data: bytes) -> None:
    from analytics.health import _read

    with suppress(ValueError):
        _read(data)


def test_a_process_that_says_nothing_any_more_is_silent() -> None:
    one = a_process(at=100 * NS)
    assert one.state(139 * NS) == "running"
    assert one.state(141 * NS) == "silent"
    assert a_process(at=100 * NS, ended=True).state(10_000 * NS) == "ended"


def test_last_words_are_forgotten_when_they_are_old(tmp_path: Path) -> None:
    write_health(tmp_path, a_process(pid=1))
    write_health(tmp_path, a_process(pid=2))
    now = time.time_ns()
    old = now / NS - (KEEP_DAYS + 1) * 86_400
    os.utime(tmp_path / FOLDER / "york-1.json", (old, old))
    assert forget_old(tmp_path, now) == 1
    assert [one.pid for one in read_health(tmp_path)[0]] == [2]


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_adds_processes_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time_ns()
    steps = (balanced("seen", "packets", 1_000, 998, lost={"kernel_drops": 2}, rest="waiting"),)
    write_health(tmp_path, a_process(pid=1, at=now, steps=steps))
    write_health(tmp_path, a_process(pid=2, at=now, steps=steps, ended=True))
    assert shell(["health", "--store", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "collect york-1 on york (1): running" in said
    assert [line.split() for line in said.splitlines() if line.startswith("seen")] == [
        ["seen", "packets", "2,000", "1,996", "0", "4", "0"]
    ]
    assert "  seen: kernel_drops 4" in said
    assert shell(["health", "--store", str(tmp_path), "--running", "--format", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [one["pid"] for one in told["processes"]] == [1]
    assert told["steps"][0]["came"] == 1_000
    assert told["steps"][0]["unexplained"] == 0


def test_the_command_is_content_where_nothing_was_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell(["health", "--store", str(tmp_path)]) == 0
    steps = (balanced("seen", "packets", 5, 5, rest="waiting"),)
    write_health(tmp_path, a_process(at=time.time_ns(), steps=steps))
    assert shell(["health", "--store", str(tmp_path)]) == 0
    assert "lost:" not in capsys.readouterr().out
    assert shell(["health", "--store", str(tmp_path / "none")]) == 2


def test_a_silent_process_and_one_with_a_problem_are_not_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_health(tmp_path, a_process(at=1))
    assert shell(["health", "--store", str(tmp_path)]) == 1
    assert "SILENT" in capsys.readouterr().out
    write_health(tmp_path, a_process(at=time.time_ns(), problems=("the disk is full",)))
    assert shell(["health", "--store", str(tmp_path)]) == 1
    assert "PROBLEM: the disk is full" in capsys.readouterr().out


def test_a_process_knows_who_it_is() -> None:
    one = process_health("collect", "york-1", 1, 2, 10.0, [], notes={"a": 0, "b": 1})
    assert (one.pid, one.host) == (os.getpid(), os.uname().nodename)
    assert one.notes == {"b": 1}
