"""Agents and the centre with a real Mosquitto between them: each row counts once, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import pyarrow as pa
import pytest
from lake_rows import rows
from mqtt_broker import broker

from analytics.store.lake import QUARANTINE, Lake
from analytics.store.quarantine import contents
from analytics.store.settings import LakeSettings
from analytics.store.spool import Spool, SpoolSettings
from collector.transport.agent import Agent, AgentSettings
from collector.transport.agents import read_agents
from collector.transport.centre import Centre, CentreSettings
from collector.transport.notes import read_status
from collector.transport.payload import encode, stamped
from collector.transport.session import BrokerSettings, TransportError

HERE = Path(__file__).resolve().parent
HOUR_NS = 3_600_000_000_000
IDENTITY = "00112233445566aa"


def store(root: Path) -> Lake:
    return Lake.open(root / "store", create=True, settings=LakeSettings(durable=False, threads=1))


def centre(root: Path, settings: BrokerSettings, worker: str = "one", group: str | None = None) -> Centre:
    return Centre(
        CentreSettings(worker, group, settings, group_seconds=0.2, note_seconds=0.2, backoff_seconds=0.1), store(root)
    )


def agent(
    root: Path,
    settings: BrokerSettings,
    site: str = "york",
    *,
    clock: Callable[[], int] = time.time_ns,
    spool: SpoolSettings | None = None,
    window: int = 64,
) -> Agent:
    folder = root / f"spool-{site}"
    return Agent(
        AgentSettings(
            site,
            broker=settings,
            spool=folder,
            receipt_seconds=1,
            receipt_most_seconds=4,
            backoff_seconds=0.1,
            window=window,
        ),
        Spool.open(folder, spool or SpoolSettings(durable=False)),
        version="test",
        clock=clock,
    )


def intervals(number: int, count: int = 10, source: str = "york", begin: datetime | None = None) -> pa.Table:
    return rows("intervals", range(count), begin=begin or datetime.now(UTC), stream_key=number, source=source)


def counted(root: Path, table: str = "intervals") -> Counter[tuple[str, int]]:
    lake = store(root)
    connection = lake.connect()
    lake.view(connection, table)
    found = connection.execute(f"SELECT source, stream_key, count(*) FROM {table} GROUP BY ALL").fetchall()
    return Counter({(source, number): count for source, number, count in found})


async def until(met: Callable[[], bool], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not met():  # noqa: ASYNC110 - what is waited for lies in the parts' own counts
            await asyncio.sleep(0.02)


def sent(one: Agent) -> Callable[[], bool]:
    """Whether all that was offered is stored at the centre, as far as the agent was told."""
    return lambda: one.counts().offered == one.counts().spooled and not one.status().waiting


@asynccontextmanager
async def running(*parts: Agent | Centre) -> AsyncIterator[None]:
    """Run agents and workers, and stop them gracefully: agents first."""
    async with asyncio.TaskGroup() as tasks:
        started = [(part, tasks.create_task(part.run())) for part in parts]
        yield
        for kind in (Agent, Centre):
            for part, task in started:
                if isinstance(part, kind):
                    part.stop()
                    await task


def test_rows_of_every_kind_arrive_once(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    kinds = ("calls", "streams", "intervals", "cdr_rows", "phone_reports")
    given: dict[str, pa.Table] = {kind: rows(kind, range(30), begin=now) for kind in kinds}
    minute = now.replace(second=0, microsecond=0)
    given["site_minutes"] = rows("site_minutes", range(30), begin=minute, step_s=60, step="minute", site="york")

    async def work(port: int) -> tuple[Agent, Centre]:
        one, two = agent(tmp_path, BrokerSettings(port=port)), centre(tmp_path, BrokerSettings(port=port))
        async with running(two, one):
            for kind, table in given.items():
                assert one.offer(kind, table)
            await until(sent(one))
            one.stop()
            await until(lambda: two.agents()[0].online is False)
        return one, two

    with broker(tmp_path / "broker") as mosquitto:
        one, two = asyncio.run(work(mosquitto.port))
    lake = store(tmp_path)
    connection = lake.connect()
    for kind, table in given.items():
        lake.view(connection, kind)
        where = " WHERE step = 'minute'" if kind == "site_minutes" else ""
        names = ", ".join(f'"{name}"' for name in table.schema.names)
        connection.register("given", table)
        assert connection.execute(f"SELECT count(*) FROM {kind}{where}").fetchall() == [(30,)]
        difference = f"SELECT count(*) FROM (SELECT {names} FROM {kind}{where} EXCEPT SELECT {names} FROM given)"
        assert connection.execute(difference).fetchall() == [(0,)], kind
    assert two.counts().rows == 180
    assert one.counts()[:4] == (180, 180, 0, 0)
    (seen,) = two.agents()
    assert (seen.site, seen.online, seen.messages, seen.rows, seen.lost, seen.clock_wrong) == (
        "york", False, 6, 180, 0, False,
    )  # fmt: skip
    assert seen.skew_ms is not None
    assert abs(seen.skew_ms) < 1_000


def test_a_broker_that_is_killed_mid_stream_loses_nothing(tmp_path: Path) -> None:
    async def work(port: int, kill: Callable[[], None], start: Callable[[], None]) -> Agent:
        one = agent(tmp_path, BrokerSettings(port=port), window=8)
        two = centre(tmp_path, BrokerSettings(port=port))
        async with running(two, one):
            for number in range(60):
                await one.put("intervals", intervals(number))
                if number in {15, 40}:
                    await until(lambda: two.counts().stored > 3)
                    await asyncio.to_thread(kill)
                    await asyncio.sleep(0.3)
                if number in {25, 50}:
                    before = one.counts().connections
                    await asyncio.to_thread(start)
                    await until(lambda before=before: one.counts().connections > before)  # type: ignore[misc]
                await asyncio.sleep(0.01)
            await until(sent(one))
        return one

    with broker(tmp_path / "broker") as mosquitto:
        one = asyncio.run(work(mosquitto.port, mosquitto.kill, mosquitto.start))
    assert counted(tmp_path) == {("york", number): 10 for number in range(60)}
    assert one.counts().connections >= 3


def test_an_agent_that_is_killed_loses_nothing_that_is_in_its_spool(tmp_path: Path) -> None:
    chance = random.Random(7)

    def run(port: int, name: str, batches: int, seconds: float | None) -> int:
        """Run an agent, killed after a while; return how many batches were in its spool."""
        command = [sys.executable, str(HERE / "agent_process.py"), str(port), str(tmp_path / "spool"), name]
        with subprocess.Popen(
            [*command, str(batches)], stdout=subprocess.PIPE, cwd=HERE.parent, env={"PYTHONPATH": str(HERE.parent)}
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if seconds is not None:
                time.sleep(seconds)
                process.kill()
            return 1 + len(process.stdout.read().splitlines())

    async def work(port: int) -> dict[str, int]:
        two = centre(tmp_path, BrokerSettings(port=port))
        told: dict[str, int] = {}
        async with running(two):
            for life in range(4):
                name = f"life {life}"
                told[name] = await asyncio.to_thread(run, port, name, 100_000, chance.uniform(0.2, 0.8))
            told["last"] = await asyncio.to_thread(run, port, "last", 3, None)
        return told

    with broker(tmp_path / "broker") as mosquitto:
        told = asyncio.run(work(mosquitto.port))
    found = counted(tmp_path)
    assert set(found.values()) == {5}, "a batch came twice, or in part"
    for name, batches in told.items():
        assert {number for source, number in found if source == name} >= set(range(batches))
        # What was in the spool when the kill came, but was not told any more.
        assert sum(source == name for source, _ in found) <= batches + 1


def test_two_workers_share_the_messages_and_each_counts_once(tmp_path: Path) -> None:
    async def work(port: int) -> list[Centre]:
        settings = BrokerSettings(port=port)
        workers = [centre(tmp_path, settings, f"worker{number}", "centre") for number in (1, 2)]
        agents = [agent(tmp_path, settings, site) for site in ("york", "leeds")]
        async with running(*workers, *agents):
            await asyncio.sleep(0.3)
            for number in range(100):
                for one, site in zip(agents, ("york", "leeds"), strict=True):
                    await one.put("intervals", intervals(number, source=site))
            for one in agents:
                await until(sent(one))
        return workers

    with broker(tmp_path / "broker") as mosquitto:
        workers = asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {(site, number): 10 for site in ("york", "leeds") for number in range(100)}
    shares = [worker.counts().stored for worker in workers]
    assert sum(shares) == 200
    assert min(shares) > 40
    assert [seen.rows for seen in read_agents(tmp_path / "store")] == [1_000, 1_000]
    assert [seen.lost for seen in read_agents(tmp_path / "store")] == [0, 0]


def test_a_worker_that_dies_leaves_its_messages_to_the_others(tmp_path: Path) -> None:
    async def work(port: int) -> None:
        settings = BrokerSettings(port=port)
        one = agent(tmp_path, settings)
        first, second = (centre(tmp_path, settings, f"worker{number}", "centre") for number in (1, 2))
        async with running(second, one), asyncio.TaskGroup() as tasks:
            dying = tasks.create_task(first.run())
            for number in range(80):
                await one.put("intervals", intervals(number))
                await asyncio.sleep(0.01)
                if number == 40:
                    dying.cancel()
            await until(sent(one))

    with broker(tmp_path / "broker") as mosquitto:
        asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {("york", number): 10 for number in range(80)}


def test_two_centres_with_stores_of_their_own_both_get_all(tmp_path: Path) -> None:
    roots = [tmp_path / "a", tmp_path / "b"]

    async def work(port: int) -> None:
        settings = BrokerSettings(port=port)
        for root in roots:
            root.mkdir()
        one = agent(tmp_path, settings)
        async with running(centre(roots[0], settings, "a"), centre(roots[1], settings, "b"), one):
            await asyncio.sleep(0.3)
            for number in range(20):
                await one.put("intervals", intervals(number))
            await until(sent(one))

    with broker(tmp_path / "broker") as mosquitto:
        asyncio.run(work(mosquitto.port))
    assert [len(counted(root)) for root in roots] == [20, 20]


def test_redelivery_in_any_order_counts_once(tmp_path: Path) -> None:
    (plain,) = encode("york", "intervals", intervals(1), time.time_ns())
    messages = [stamped(plain, IDENTITY, number, 1, time.time_ns()) for number in range(1, 21)] * 3
    random.Random(1).shuffle(messages)

    async def work(port: int) -> Centre:
        two = centre(tmp_path, BrokerSettings(port=port))
        async with running(two), aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await asyncio.sleep(0.3)
            for message in messages:
                await client.publish("callgauge/v1/york/intervals", message, qos=1)
            await until(lambda: two.counts().messages == 60)
        return two

    with broker(tmp_path / "broker") as mosquitto:
        two = asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {("york", 1): 200}
    assert (two.counts().stored, two.counts().again) == (20, 40)


def test_a_flood_of_malformed_messages_stops_nothing_and_is_counted(tmp_path: Path) -> None:
    chance = random.Random(3)
    (plain,) = encode("york", "intervals", intervals(1), time.time_ns())
    good = stamped(plain, IDENTITY, 1, 1, time.time_ns())
    bad = [chance.randbytes(chance.randrange(1, 400)) for _ in range(500)]
    bad += [good[: chance.randrange(4, len(good))] for _ in range(500)]
    bad += [good[:4] + b"\x63" + good[5:], bytes(2_000_000)]

    async def work(port: int) -> Centre:
        two = centre(tmp_path, BrokerSettings(port=port))
        one = agent(tmp_path, BrokerSettings(port=port), "leeds")
        async with running(two, one), aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await asyncio.sleep(0.3)
            client.pending_calls_threshold = 10_000
            for number, message in enumerate(bad):
                # QoS 0 too: a stranger need not follow any flow control.
                await client.publish(f"callgauge/v1/york/{chance.choice(['intervals', 'calls', 'x'])}", message, qos=1)
                if number % 100 == 0:
                    await one.put("intervals", intervals(number, source="leeds"))
                    await client.publish("callgauge/v1/york/status", b'{"v":1}', qos=1)
                    await client.publish("callgauge/v1/york/calls", good, qos=1)
            await until(sent(one))
            await until(lambda: two.counts().refused.total() == len(bad) + 11)
        return two

    with broker(tmp_path / "broker") as mosquitto:
        two = asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {("leeds", number): 10 for number in range(0, len(bad), 100)}
    counts = two.counts()
    assert counts.messages == counts.stored + counts.again + counts.refused.total()
    assert counts.refused.total() == len(bad) + 11
    assert counts.refused["wrong_topic"] == 11
    letters = [json.loads(line) for line in (tmp_path / "store/dead-letters/one.jsonl").read_text().splitlines()]
    assert Counter(letter["reason"] for letter in letters) == counts.refused
    assert {"truncated", "bad_mark", "bad_version", "too_large", "wrong_topic"} <= set(counts.refused)


@pytest.mark.parametrize(("hours", "doubt"), [(2, "clock_ahead"), (-2, "clock_behind")])
def test_rows_of_an_agent_whose_clock_is_two_hours_off_are_put_aside_and_counted(
    tmp_path: Path, hours: int, doubt: str
) -> None:
    def wrong() -> int:
        return time.time_ns() + hours * HOUR_NS

    async def work(port: int) -> Centre:
        settings = BrokerSettings(port=port)
        two = centre(tmp_path, settings)
        off, right = agent(tmp_path, settings, "york", clock=wrong), agent(tmp_path, settings, "leeds")
        async with running(two, off, right):
            for number in range(10):
                await off.put("intervals", intervals(number, begin=datetime.fromtimestamp(wrong() / 1e9, UTC)))
                await right.put("intervals", intervals(number, source="leeds"))
            await until(sent(off))
            await until(sent(right))
        return two

    with broker(tmp_path / "broker") as mosquitto:
        two = asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {("leeds", number): 10 for number in range(10)}
    assert two.counts().aside == {doubt: 100}
    assert contents(tmp_path / "store" / QUARANTINE)["intervals"][0] == 100
    right, off = two.agents()
    assert (right.clock_wrong, right.rows, right.aside) == (False, 100, 0)
    assert (off.clock_wrong, off.rows, off.aside) == (True, 0, 100)
    assert off.skew_ms == pytest.approx(hours * 3_600_000, abs=2_000)


def test_what_an_agent_kept_for_days_is_believed(tmp_path: Path) -> None:
    days_ago = time.time_ns() - 3 * 24 * HOUR_NS
    folder = tmp_path / "spool-york"
    with Spool.open(folder, SpoolSettings(durable=False)) as spool:
        begin = datetime.fromtimestamp(days_ago / 1e9 - 60, UTC)
        strange = datetime.fromtimestamp(days_ago / 1e9 + 7_200, UTC)
        spool.append(list(encode("york", "intervals", intervals(1, begin=begin), days_ago)))
        spool.append(list(encode("york", "intervals", intervals(2, begin=strange), days_ago)))

    async def work(port: int) -> Centre:
        settings = BrokerSettings(port=port)
        two, one = centre(tmp_path, settings), agent(tmp_path, settings)
        async with running(two, one):
            await until(sent(one))
        return two

    with broker(tmp_path / "broker") as mosquitto:
        two = asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {("york", 1): 10}
    assert two.counts().aside == {"row_time": 10}


def test_what_a_full_spool_drops_is_counted_at_both_ends(tmp_path: Path) -> None:
    async def work(port: int, start: Callable[[], None]) -> tuple[Agent, Centre]:
        settings = BrokerSettings(port=port)
        one = agent(tmp_path, settings, spool=SpoolSettings(octets=40_000, segment_octets=8_000, durable=False))
        two = centre(tmp_path, settings)
        async with running(two, one):
            # The centre must know the agent before: what was lost before anything was heard has no beginning.
            await one.put("intervals", intervals(0))
            await until(sent(one))
            await asyncio.to_thread(start)
            for number in range(1, 200):
                await one.put("intervals", intervals(number))
            await until(lambda: one.counts().spooled == 2_000)
            await asyncio.to_thread(start)
            await until(sent(one))
            await asyncio.sleep(5.1)
            for number in (200, 201):
                await one.put("intervals", intervals(number))
                await until(sent(one))
                await asyncio.sleep(5.1)
            await one.put("intervals", intervals(202))
            await until(sent(one))
        return one, two

    with broker(tmp_path / "broker") as mosquitto:
        running_now = True

        def toggle() -> None:
            nonlocal running_now
            (mosquitto.kill if running_now else mosquitto.start)()
            running_now = not running_now

        one, two = asyncio.run(work(mosquitto.port, toggle))
    dropped = one.status().spool_dropped
    assert dropped > 50
    found = counted(tmp_path)
    assert set(found.values()) == {10}
    assert len(found) == 203 - dropped
    (seen,) = two.agents()
    assert seen.lost == dropped


def test_the_last_will_tells_that_an_agent_fell_silent(tmp_path: Path) -> None:
    async def work(port: int) -> list[bool]:
        command = [sys.executable, str(HERE / "agent_process.py"), str(port), str(tmp_path / "spool"), "x", "100000"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, cwd=HERE.parent, env={"PYTHONPATH": str(HERE.parent)}
        )
        found: list[bool] = []
        async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.subscribe("callgauge/v1/york/status", qos=1)
            async with asyncio.timeout(30):
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    found.append(read_status(message.payload).online)
                    if found[-1]:
                        process.kill()
                    else:
                        break
        await process.wait()
        async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as late:
            await late.subscribe("callgauge/v1/york/status", qos=1)
            message = await asyncio.wait_for(anext(aiter(late.messages)), 10)
            assert message.retain
            assert isinstance(message.payload, bytes)
            found.append(read_status(message.payload).online)
        return found

    with broker(tmp_path / "broker") as mosquitto:
        assert asyncio.run(work(mosquitto.port)) == [True, False, False]


def test_without_a_centre_messages_wait_and_the_broker_keeps_none(tmp_path: Path) -> None:
    async def work(port: int) -> Agent:
        settings = BrokerSettings(port=port)
        one, two = agent(tmp_path, settings), centre(tmp_path, settings)
        async with running(one):
            for number in range(30):
                await one.put("intervals", intervals(number))
            await until(lambda: one.counts().spooled == 300)
            await asyncio.sleep(2.5)
            assert one.counts().messages < 10, "all were sent to nobody"
            async with running(two):
                await until(sent(one))
        return one

    with broker(tmp_path / "broker") as mosquitto:
        asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {("york", number): 10 for number in range(30)}


def test_rows_that_find_the_queue_full_are_dropped_and_counted(tmp_path: Path) -> None:
    async def work() -> Agent:
        settings = AgentSettings("york", spool=tmp_path / "spool", queue_batches=3)
        one = Agent(settings, Spool.open(tmp_path / "spool"), version="test")
        assert [one.offer("intervals", intervals(number)) for number in range(5)] == [True] * 3 + [False] * 2
        return one

    counts = asyncio.run(work()).counts()
    assert (counts.offered, counts.queue_dropped) == (50, 20)


def test_rows_that_are_no_rows_of_their_table_are_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    async def work(port: int) -> tuple[Agent, Centre]:
        settings = BrokerSettings(port=port)
        one, two = agent(tmp_path, settings), centre(tmp_path, settings)
        async with running(one, two):
            await one.put("intervals", intervals(1).drop_columns(["source"]))
            await one.put("usage", intervals(1))
            await one.put("intervals", intervals(2))
            await until(lambda: two.counts().rows == 10)
        return one, two

    with broker(tmp_path / "broker") as mosquitto:
        one, _ = asyncio.run(work(mosquitto.port))
    assert one.counts().unfit == 20
    assert one.status().unfit == 20


def made_certificates(folder: Path) -> None:
    def openssl(*arguments: Any) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", 2,
            "-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    for name in ("server", "york", "centre"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")  # fmt: skip
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", 2, "-extfile", "names")  # fmt: skip


def test_tls_with_client_certificates(tmp_path: Path) -> None:
    made_certificates(tmp_path)
    lines = (
        f"cafile {tmp_path}/ca.pem\ncertfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\n"
        "require_certificate true\nuse_identity_as_username true\nallow_anonymous true\n"
    )

    async def work(port: int) -> str:
        good = BrokerSettings(
            port=port,
            authority=tmp_path / "ca.pem",
            certificate=tmp_path / "york.pem",
            key=tmp_path / "york.key",
        )
        one, two = agent(tmp_path, good), centre(tmp_path, good)
        async with running(one, two):
            await one.put("intervals", intervals(1))
            await until(lambda: two.counts().rows == 10)
        with pytest.raises(TransportError) as raised:
            await centre(tmp_path, BrokerSettings(port=port, authority=tmp_path / "york.key"), "x").run()
        return str(raised.value)

    with broker(tmp_path / "broker", lines) as mosquitto:
        assert asyncio.run(work(mosquitto.port)) == f"the file of authorities {tmp_path}/york.key cannot be used"


def test_passwords_and_what_they_allow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "right").write_text("let me in\n")
    (tmp_path / "wrong").write_text("let me out\n")
    passwords = tmp_path / "passwords"
    passwords.write_text("york:let me in\nhull:let me in\ncentre:let me in\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    rules = tmp_path / "rules"
    rules.write_text(
        "user york\ntopic write callgauge/v1/york/+\ntopic read callgauge/v1/york/receipts/+\n"
        "user hull\ntopic write callgauge/v1/hull/status\n"
        "user centre\ntopic read callgauge/v1/#\ntopic write callgauge/v1/+/receipts/+\n"
    )
    lines = f"allow_anonymous false\npassword_file {passwords}\nacl_file {rules}\n"

    def said() -> Counter[str]:
        return Counter(record.message for record in caplog.records if record.name == "callgauge.agent")

    async def work(port: int) -> str:
        def of(user: str, password: str = "right") -> BrokerSettings:
            return BrokerSettings(port=port, user=user, password_file=tmp_path / password)

        address = f"127.0.0.1:{port}"
        refused = (
            f"the broker at {address} does not authorise this client: "
            "see its user name, password or certificate, and its rights"
        )
        two, one = centre(tmp_path, of("centre")), agent(tmp_path, of("york"))
        # A site may not speak for another, one may only say how it is, and one has the wrong password.
        others = [agent(tmp_path, of("york"), "leeds"), agent(tmp_path, of("hull"), "hull")]
        others.append(agent(tmp_path, of("york", "wrong"), "selby"))
        async with asyncio.TaskGroup() as tasks:
            hopeless = [tasks.create_task(other.run()) for other in others]
            async with running(two, one):
                for part in (one, *others):
                    await part.put("intervals", intervals(1, source=part.status().agent))
                await until(lambda: two.counts().rows == 10)
                await until(lambda: all(other.counts().broker_refused for other in others[:2]))
                await until(lambda: said()[refused] == 1)
                with pytest.raises(TransportError, match=refused):
                    await centre(tmp_path, of("centre", "wrong"), "x").run()
                await asyncio.sleep(1)
            for task in hopeless:
                task.cancel()
        assert all(other.status().waiting == 1 for other in others)
        return refused

    with broker(tmp_path / "broker", lines) as mosquitto:
        refused = asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {("york", 1): 10}
    assert said()[refused] == 1, "a trouble is said once, not each time it is met"


def test_a_broker_that_is_not_there_is_one_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        one = agent(tmp_path, BrokerSettings(port=1))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one.run())
            await asyncio.sleep(1)
            one.stop()

    asyncio.run(work())
    said = [record.message for record in caplog.records if record.name == "callgauge.agent"]
    assert len(said) == 1
    assert said[0].startswith("the broker at 127.0.0.1:1 cannot be reached: ")
    assert "\n" not in said[0]


def test_a_graceful_stop_stores_what_was_taken(tmp_path: Path) -> None:
    async def work(port: int) -> tuple[Agent, Centre]:
        settings = BrokerSettings(port=port)
        two = Centre(CentreSettings(broker=settings, group_seconds=30), store(tmp_path))
        one = agent(tmp_path, settings)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(two.run())
            tasks.create_task(one.run())
            await one.put("intervals", intervals(1))
            await until(lambda: one.counts().messages > 0)
            await asyncio.sleep(0.3)
            two.stop()
            await until(sent(one))
            one.stop()
        return one, two

    with broker(tmp_path / "broker") as mosquitto:
        one, two = asyncio.run(work(mosquitto.port))
    assert two.counts().rows == 10
    assert counted(tmp_path) == {("york", 1): 10}
    assert one.status().waiting == 0


def test_a_store_that_fails_is_asked_again_and_nothing_is_forgotten_meanwhile(tmp_path: Path) -> None:
    in_the_way = store(tmp_path).folder("intervals")

    async def work(port: int) -> Centre:
        settings = BrokerSettings(port=port)
        one, two = agent(tmp_path, settings), centre(tmp_path, settings)
        in_the_way.write_text("no folder")
        async with running(two, one):
            for number in range(20):
                await one.put("intervals", intervals(number))
            await until(lambda: one.counts().messages >= 20)
            await asyncio.sleep(1)
            assert one.status().waiting == 20
            in_the_way.unlink()
            await until(sent(one))
        return two

    with broker(tmp_path / "broker") as mosquitto:
        two = asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {("york", number): 10 for number in range(20)}
    counts = two.counts()
    assert counts.stored == 20
    assert counts.messages == counts.stored + counts.again


def test_what_was_stored_before_another_table_failed_counts_as_stored(tmp_path: Path) -> None:
    in_the_way = store(tmp_path).folder("streams")

    async def work(port: int) -> Centre:
        settings = BrokerSettings(port=port)
        one, two = agent(tmp_path, settings), centre(tmp_path, settings)
        in_the_way.write_text("no folder")
        async with running(two, one):
            for number in range(10):
                await one.put("intervals", intervals(number))
                await one.put("streams", rows("streams", range(10), begin=datetime.now(UTC), stream_key=number))
            await until(lambda: len(counted(tmp_path)) == 10)
            await asyncio.sleep(0.5)
            in_the_way.unlink()
            await until(sent(one))
        return two

    with broker(tmp_path / "broker") as mosquitto:
        two = asyncio.run(work(mosquitto.port))
    counts = two.counts()
    assert (counts.stored, counts.rows) == (20, 200)
    assert counts.messages == counts.stored + counts.again
    assert counted(tmp_path) == {("york", number): 10 for number in range(10)}
    assert sum(counted(tmp_path, "streams").values()) == 100


def test_more_messages_than_can_be_held_come_again(tmp_path: Path) -> None:
    async def work(port: int) -> None:
        settings = BrokerSettings(port=port)
        agents = [agent(tmp_path, settings, f"site{number}") for number in range(6)]
        small = CentreSettings(broker=settings, group_seconds=0.1, receive_maximum=8, receive_octets=60_000)
        two = Centre(small, store(tmp_path))
        async with running(*agents):
            for number in range(40):
                for one in agents:
                    await one.put("intervals", intervals(number, source=one.status().agent))
            await until(lambda: all(one.counts().spooled == 400 for one in agents))
            async with running(two):
                for one in agents:
                    await until(sent(one))

    with broker(tmp_path / "broker") as mosquitto:
        asyncio.run(work(mosquitto.port))
    assert counted(tmp_path) == {(f"site{site}", number): 10 for site in range(6) for number in range(40)}


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir(exist_ok=True)
    option = "size" if not folder.is_mount() else "remount,size"
    command = ["mount", "-t", "tmpfs", "-o", f"{option}={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_a_disk_that_is_full_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "small"
    if not mounted(folder, "600k"):
        pytest.skip("a small tmpfs cannot be mounted here")
    chance = random.Random(1)

    async def work(port: int) -> Centre:
        settings = BrokerSettings(port=port)
        one, two = agent(tmp_path, settings), centre(folder, settings)
        async with running(two, one):
            for number in range(60):
                # Rows that no compression makes small.
                await one.put("intervals", intervals(number, 4, source=chance.randbytes(20_000).hex()))
            await until(lambda: any("cannot be written" in record.message for record in caplog.records))
            assert one.status().waiting > 0
            assert await asyncio.to_thread(mounted, folder, "50m")
            await until(sent(one))
        return two

    try:
        with broker(tmp_path / "broker") as mosquitto:
            two = asyncio.run(work(mosquitto.port))
        assert sorted(counted(folder).values()) == [4] * 60
        assert two.counts().rows == 240
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_an_agent_whose_disk_is_full_counts_what_it_drops(tmp_path: Path) -> None:
    folder = tmp_path / "spool-york"
    if not mounted(folder, "200k"):
        pytest.skip("a small tmpfs cannot be mounted here")
    chance = random.Random(1)

    async def work(port: int) -> Agent:
        settings = BrokerSettings(port=port)
        one = agent(tmp_path, settings, spool=SpoolSettings(segment_octets=20_000, octets=10_000_000, durable=False))
        two = centre(tmp_path, settings)
        async with running(one):
            for number in range(400):
                one.offer("intervals", intervals(number, 4, source=chance.randbytes(1_000).hex()))
                await asyncio.sleep(0.001)
            await until(lambda: one.counts().queue_dropped > 0)
            async with running(two):
                await until(lambda: sum(one.counts()[1:4]) == 1_600)
                await until(lambda: not one.status().waiting)
        return one

    try:
        with broker(tmp_path / "broker") as mosquitto:
            one = asyncio.run(work(mosquitto.port))
        counts = one.counts()
        assert counts.offered == 1_600 == counts.spooled + counts.queue_dropped
        found = counted(tmp_path)
        assert set(found.values()) == {4}
        assert sum(found.values()) == counts.spooled
        assert one.status().spool_dropped == 0
        one._spool.close()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
