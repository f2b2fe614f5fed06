"""A ladder shows each message of a call once a hop, in order, with how often it was repeated."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from analytics.store.lake import Lake
from api.main import shell
from collector.calls import CallAssembler, CallLimits
from collector.facts import Endpoint, Step
from collector.ladder import Ladder
from collector.protocols.sip import parse
from collector.simulator.signalling import CallPlan, Media, SipMessage, call_messages
from collector.transactions import Heard

ROOT = Path(__file__).resolve().parents[1]
A, B, C = Endpoint("192.0.2.1", 5060), Endpoint("192.0.2.2", 5060), Endpoint("192.0.2.3", 5060)
SECOND = 1_000_000_000


def plan(**other: object) -> CallPlan:
    known: dict[str, object] = {"call_id": "ladder@192.0.2.1", "caller": A, "callee": B}
    known |= {"caller_user": "1", "callee_user": "2"}
    known |= {"start": 1_700_000_000 * SECOND, "caller_media": Media(A), "callee_media": Media(B)}
    return CallPlan(**{**known, **other})  # type: ignore[arg-type]


def steps_of(messages: Sequence[SipMessage], most: int = 100) -> tuple[tuple[Step, ...], int]:
    assembler = CallAssembler(CallLimits(max_steps=most))
    for message in messages:
        assembler.feed(parse(message.payload), message.at, message.src, message.dst, "udp")
    (call,), _ = assembler.finish(messages[-1].at)
    return call.legs[0].steps, call.legs[0].steps_left_out


def said(steps: Sequence[Step]) -> list[str]:
    return [f"{step.method} {step.status or ''}".strip() + f" x{step.repeated}" * bool(step.repeated) for step in steps]


def test_a_plain_call_climbs_from_invite_to_the_answer_of_its_bye() -> None:
    messages = list(call_messages(plan()))
    steps, left_out = steps_of(messages)
    assert said(steps) == ["INVITE", "INVITE 100", "INVITE 180", "INVITE 200", "ACK", "BYE", "BYE 200"]
    assert [(step.at, step.src, step.dst) for step in steps] == [(one.at, one.src, one.dst) for one in messages]
    assert [step.cseq for step in steps] == [1, 1, 1, 1, 1, 2, 2]
    assert left_out == 0


def test_what_is_sent_again_is_counted_at_its_first_time() -> None:
    steps, _ = steps_of(list(call_messages(plan(retransmitted=("INVITE", "200", "BYE")))))
    assert said(steps) == ["INVITE x1", "INVITE 100", "INVITE 180", "INVITE 200 x1", "ACK", "BYE x1", "BYE 200"]


def test_a_hop_further_on_is_a_step_of_its_own_and_a_copy_of_the_tap_is_none() -> None:
    first = next(call_messages(plan()))
    beyond = first.payload.replace(b"Via: ", b"Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKhop\r\nVia: ", 1)
    copied = first._replace(at=first.at + 1_000)
    steps, _ = steps_of([first, copied, SipMessage(first.at + 5_000_000, B, C, beyond)])
    assert [(step.src, step.dst, step.repeated) for step in steps] == [(A, B, 0), (B, C, 0)]


def test_messages_past_the_limit_are_counted() -> None:
    steps, left_out = steps_of(list(call_messages(plan())), most=3)
    assert said(steps) == ["INVITE", "INVITE 100", "INVITE 180"]
    assert left_out == 4


def test_no_ladder_is_kept_unless_it_is_asked_for() -> None:
    steps, left_out = steps_of(list(call_messages(plan())), most=0)
    assert (steps, left_out) == ((), 0)


def test_senders_without_end_do_not_grow_it_without_end() -> None:
    message = parse(next(call_messages(plan())).payload)
    ladder = Ladder(1_000)
    for port in range(1, 200):
        ladder.add(Heard.FURTHER_ON, message, port, Endpoint("192.0.2.1", port), B)
    assert len(ladder.steps()) + ladder.left_out == 199
    assert len(ladder.steps()) == 32


def test_replay_keeps_ladders_in_the_store(tmp_path: Path) -> None:
    capture = sorted((ROOT / "sample_pcaps").glob("*.pcap*"))[0]
    store = tmp_path / "store"
    assert shell(["replay", str(capture), "--store", str(store), "--no-progress"]) == 0
    with closing(Lake.open(store)) as lake, closing(lake.connect()) as connection:
        lake.view(connection, "messages")
        lake.view(connection, "calls")
        rows = connection.execute(
            "SELECT c.call_key, epoch_us(c.start), epoch_us(min(m.at)), list(m.method ORDER BY m.at)[1], count(*) "
            "FROM calls c LEFT JOIN messages m ON c.call_key = m.call_key GROUP BY ALL"
        ).fetchall()
    assert rows
    for _, start, first, method, count in rows:
        assert (start, method) == (first, "INVITE")
        assert count >= 5
