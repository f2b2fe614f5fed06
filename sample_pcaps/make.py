"""Make the sample captures again: real endpoints call each other, the relay impairs, tcpdump writes.

    sudo python sample_pcaps/make.py [NAME...]        (all samples without a name)

Each sample is NAME.pcap beside this file and its expected answer expected/NAME.json, which comes from what was planned,
from what the endpoints printed and from what the relay wrote down; no part of it from Callgauge reading the capture.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import scenarios  # noqa: E402
from expected import Story, write_expected  # noqa: E402
from lab import LEFT, RIGHT, RIGHT6, Lab, is_root, lab  # noqa: E402

BURSTY = {"seed": 11, "left_to_right": {"burst_enter": 0.02, "burst_leave": 0.4, "delay_ms": 20, "jitter_ms": 6}}
DISORDERED = {"seed": 5, "left_to_right": {"delay_ms": 10, "jitter_ms": 10, "overtaken": 0.03, "duplicate": 0.02}}
CALLER_ONLY = {"seed": 1, "right_to_left": {"blocked": True}}


class Sample(NamedTuple):
    """One capture: its story, the relay's script, where tcpdump listens, and what the endpoints do."""

    story: Story
    script: Mapping[str, object]
    tap: tuple[str, str]
    """Namespace and interface."""
    act: Callable[[Lab], None]


def _talk(bench: Lab, seconds: float, *, by: str = "left", v6: bool = False, transport: str = "", **right: str) -> None:
    """One baresip calls the other, both play a tone, and one side hangs up."""
    account = "".join(f";{name}={value}" for name, value in right.items())
    answering = bench.baresip("right", "1002", account=account, v6=v6)
    calling = bench.baresip("left", "1001", account=account, v6=v6)
    host = f"[{RIGHT6}]" if v6 else RIGHT
    bench.command("left", "dial", f"sip:1002@{host}" + (f";transport={transport}" if transport else ""))
    calling.wait_for("Call established")
    time.sleep(seconds)
    bench.command(by, "hangup")
    for phone in (calling, answering):
        phone.wait_for("terminated (duration")


def _hold(bench: Lab) -> None:
    answering = bench.baresip("right", "1002", account=";audio_codecs=pcma")
    calling = bench.baresip("left", "1001", account=";audio_codecs=pcma")
    bench.command("left", "dial", f"sip:1002@{RIGHT}")
    calling.wait_for("Call established")
    for pause, command in ((2, "hold"), (3, "resume"), (2, "hangup")):
        time.sleep(pause)
        bench.command("left", command)
    answering.wait_for("terminated (duration")


def _press_keys(bench: Lab, keys: str) -> None:
    answering = bench.baresip("right", "1002", account=";audio_codecs=pcma")
    calling = bench.baresip("left", "1001", account=";audio_codecs=pcma")
    bench.command("left", "dial", f"sip:1002@{RIGHT}")
    calling.wait_for("Call established")
    time.sleep(1.0)
    for key in keys:
        bench.command("left", "sndcode", key)
        time.sleep(0.8)
    bench.command("left", "hangup")
    answering.wait_for("terminated (duration")


def _linphone(bench: Lab, seconds: float) -> None:
    answering = bench.baresip("right", "1002", account=";audio_codecs=pcmu")
    calling = bench.linphone("left", "1001")
    calling.say(f"call sip:1002@{RIGHT}")
    answering.wait_for("Call established")
    time.sleep(seconds)
    calling.say("terminate")
    answering.wait_for("terminated (duration")


def _dialogues(*parts: tuple[str, tuple[str, str]]) -> Callable[[Lab], None]:
    """One sipp calls another, once for each named pair of scenarios."""

    def act(bench: Lab) -> None:
        for name, (caller, callee) in parts:
            for side, text in (("callee", callee), ("caller", caller)):
                (bench.folder / f"{name}-{side}.xml").write_text(text)
            answering = bench.sipp("right", f"{name}-uas", bench.folder / f"{name}-callee.xml", "-m", "1")
            time.sleep(0.5)
            identity = ("-m", "1", "-cid_str", f"{name}-%u@{LEFT}")
            calling = bench.sipp("left", f"{name}-uac", bench.folder / f"{name}-caller.xml", *identity, remote=RIGHT)
            for process in (calling, answering):
                if process.running.wait(30):
                    raise RuntimeError(f"{name}: {process.printed.name} ended with an error:\n{process.text()[-1500:]}")

    return act


RIGHT_TAP, LEFT_TAP, BOTH_TAP = ("right", "eth0"), ("left", "eth0"), ("relay", "any")
OUTCOMES = (
    ("busy", scenarios.refusal(486, "Busy Here", 200, ringing=False)),
    ("unanswered", scenarios.refusal(480, "Temporarily Unavailable", 1500, ringing=True)),
    ("notfound", scenarios.refusal(404, "Not Found", 50, ringing=False)),
    ("unavailable", scenarios.refusal(503, "Service Unavailable", 50, ringing=False)),
    ("cancelled", scenarios.cancellation(1200)),
)
SAMPLES = {
    "clean_pcma": Sample(
        Story("A call of five seconds, G.711 A-law, hung up by the caller.", codec="PCMA"),
        {},
        RIGHT_TAP,
        lambda bench: _talk(bench, 5, audio_codecs="pcma"),
    ),
    "bursty_loss": Sample(
        Story("The relay loses the caller's packets in bursts; the callee's RTCP reports them.", codec="PCMU"),
        BURSTY,
        RIGHT_TAP,
        lambda bench: _talk(bench, 11.5, audio_codecs="pcmu"),
    ),
    "disordered": Sample(
        Story("The relay lets packets overtake others and delivers some twice; it loses none.", codec="PCMA"),
        DISORDERED,
        RIGHT_TAP,
        lambda bench: _talk(bench, 6, audio_codecs="pcma"),
    ),
    "one_way": Sample(
        Story(
            "Nothing of the callee's voice arrives, as behind a firewall.", codec="PCMA", findings=("one_way_audio",)
        ),
        CALLER_ONLY,
        LEFT_TAP,
        lambda bench: _talk(bench, 4, audio_codecs="pcma"),
    ),
    "hold_resume": Sample(
        Story("The caller holds the call for three seconds and takes it back.", codec="PCMA", holds=1),
        {},
        RIGHT_TAP,
        _hold,
    ),
    "key_presses": Sample(
        Story("The caller presses 1, 9 and #.", codec="PCMA", events=(1, 9, 11)),
        {},
        RIGHT_TAP,
        lambda bench: _press_keys(bench, "19#"),
    ),
    "opus_ipv6": Sample(
        Story("Opus over IPv6.", codec="OPUS"),
        {},
        RIGHT_TAP,
        lambda bench: _talk(bench, 5, v6=True, audio_codecs="opus/48000/2"),
    ),
    "g722_tcp": Sample(
        Story("G.722, signalling over TCP, hung up by the callee.", codec="G722", hung_up_by="callee"),
        {},
        RIGHT_TAP,
        lambda bench: _talk(bench, 5, by="right", transport="tcp", audio_codecs="G722/16000/1"),
    ),
    "stun_beside_media": Sample(
        Story("linphone calls baresip; STUN runs on the media ports before and beside RTP.", codec="PCMU"),
        {},
        RIGHT_TAP,
        lambda bench: _linphone(bench, 6.5),
    ),
    "mirrored": Sample(
        Story("A tap on both interfaces of a bridge sees every packet twice.", codec="PCMA", seen_twice=True),
        {},
        BOTH_TAP,
        lambda bench: _talk(bench, 3, audio_codecs="pcma"),
    ),
    "challenged": Sample(
        Story("The first INVITE is challenged; the retry with credentials is the same attempt.", invites=2),
        {},
        RIGHT_TAP,
        _dialogues(("challenged", scenarios.challenge(1500))),
    ),
    "outcomes": Sample(
        Story(
            "Five attempts: busy, unanswered, not found, unavailable, cancelled.",
            states={
                "busy": ("failed", 486),
                "unanswered": ("unanswered", 480),
                "notfound": ("failed", 404),
                "unavailable": ("failed", 503),
                "cancelled": ("cancelled", 487),
            },
        ),
        {},
        RIGHT_TAP,
        _dialogues(*OUTCOMES),
    ),
    "forked": Sample(
        Story("Two phones ring, the second one answers: one call.", forks=2),
        {},
        RIGHT_TAP,
        _dialogues(("forked", scenarios.fork(1500))),
    ),
}


def make(name: str, folder: Path) -> None:
    """Make one sample and its expected answer."""
    sample = SAMPLES[name]
    capture = folder / f"{name}.pcap"
    with lab(folder) as bench:
        relay = bench.relay(sample.script)
        tcpdump = bench.capture(sample.tap[0], capture, sample.tap[1])
        sample.act(bench)
        time.sleep(0.5)
        tcpdump.stop(signal.SIGINT)
        relay.stop()
        if "\n0 packets dropped by kernel" not in tcpdump.text():
            raise RuntimeError(f"{name}: tcpdump lost packets: {tcpdump.text()}")
    shutil.copyfile(capture, HERE / capture.name)
    write_expected(HERE / "expected" / f"{name}.json", name, sample.story, sample.tap, folder)


def main() -> None:
    """Make the named samples."""
    if not is_root():
        sys.exit("make.py needs root: it creates network namespaces")
    names = sys.argv[1:] or list(SAMPLES)
    unknown = [name for name in names if name not in SAMPLES]
    if unknown:
        sys.exit(f"no such sample: {', '.join(unknown)}; there are {', '.join(SAMPLES)}")
    for name in names:
        with tempfile.TemporaryDirectory(prefix="callgauge-sample-") as folder:
            make(name, Path(folder))
        print(name, (HERE / f"{name}.pcap").stat().st_size)  # noqa: T201


if __name__ == "__main__":
    main()
