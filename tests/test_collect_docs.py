"""docs/collect.md says what the code does."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from api.collecting import LAST_TRIES_S
from api.main import app
from collector.live import calls, child, engine, outbox, packets, streams
from collector.live.child import PacketSettings
from collector.live.engine import LiveSettings
from collector.live.mirror import VXLAN_PORT
from collector.live.mirror_headers import DEFECTS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "collect.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "option", ["--mirror", "--bpf", "--store", "--estate", "--name", "--snaplen", "--buffer-mb", "--program"]
)
def test_options_of_packets_are_those_of_the_command(option: str) -> None:
    command = typer.main.get_command(app).commands["collect"]  # type: ignore[attr-defined]
    assert option in {name for parameter in command.params for name in parameter.opts}
    assert f"`{option} " in PAGE


@pytest.mark.parametrize("name", ["rows", "calls", "other_call_ids", "announcements", "waiting_streams"])
def test_sizes_are_the_defaults(name: str) -> None:
    assert name in {field.name for field in fields(LiveSettings)}
    assert re.search(rf"{getattr(LiveSettings(), name):,}[^|]*\(`{name}`\)", PAGE)


def test_times_are_those_of_the_code() -> None:
    assert f"{calls.AFTER_BYE // 10**9} s later, with its streams" in PAGE
    assert f"{calls.AFTER_FAILURE // 10**9} s later, or when" in PAGE
    assert calls.ABANDONED == 3_600 * 10**9
    settings, child_settings = LiveSettings(), PacketSettings(())
    assert f"Every {settings.interval_s:.0f} s of capture time (`interval_s`)" in PAGE
    assert f"after {settings.idle_s:.0f} s of silence (`idle_s`)" in PAGE
    assert f"one that goes on {settings.longest_wait_s:.0f} s after the call" in PAGE
    assert settings.longest_hold_s == 3_600
    assert f"begun anew after {child_settings.backoff_s} s" in PAGE
    assert f"at most {child_settings.longest_backoff_s:.0f} s" in PAGE
    assert f"({child.DUMPCAP_HOLDS_S} s, tcpdump {child.TCPDUMP_HOLDS_S} s)" in PAGE
    assert f"the store failed for {LAST_TRIES_S:.0f} s" in PAGE
    assert f"{child_settings.buffer_mb} unless given" in PAGE


def test_bounds_are_those_of_the_code() -> None:
    assert f"up to {outbox.ROWS_LIMIT:,} rows wait" in PAGE
    assert f"beyond {streams.EVENTS_LIMIT:,}" in PAGE


def test_every_name_of_a_loss_is_told() -> None:
    text = "".join(inspect.getsource(module) for module in (engine, outbox, packets))
    named = set(re.findall(r'(?:lost|counted)\["(\w+)"\]', text)) - {"calls", "streams", "points"}
    assert named
    for name in named:
        assert f"`{name}`" in PAGE, name


def test_every_defect_of_a_mirror_is_told() -> None:
    for name in DEFECTS:
        assert f"`packets_{name}`" in PAGE, name
    assert f"the port is {VXLAN_PORT} unless given" in PAGE
