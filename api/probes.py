"""What `callgauge doctor` looks at: a probe takes the settings and says in plain sentences what works and what not.

A probe asks nothing that takes long without a bound of its own, changes nothing that stays, and shows no secret.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from api.settings import SECRETS, Settings
from api.wording import plural

if TYPE_CHECKING:
    from analytics.health import ProcessHealth

Verdict = Literal["ok", "warning", "problem"]
ASKING_S: Final = 5.0
"""How long a server or a program may take to answer [s]."""
LEAST_FREE: Final = 1 << 30
"""Free disk below which the store is about to stand still [octets]."""
LITTLE_FREE: Final = 0.1
FULL_SPOOL: Final = 0.8
"""Part of its bound above which a spool is about to drop what it holds."""
WORST_CLOCK_S: Final = 1.0
BAD_CLOCK_S: Final = 0.1
CAP_NET_RAW: Final = 13
_CAPABILITIES = "security.capability"


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was looked at."""

    area: str
    verdict: Verdict
    sentence: str
    advice: str = ""
    """What to do; empty where all is well."""


Probe = Callable[[Settings], Iterator[Found]]


def program(settings: Settings) -> Iterator[Found]:
    """Callgauge itself: its version, its settings, its compiled kernels."""
    from platform import python_version

    from api import __version__
    from collector.accelerate import is_compiled, kernel_cache

    yield Found("program", "ok", f"Callgauge {__version__} runs with Python {python_version()}.")
    count = len(settings.origins)
    yield Found("settings", "ok", f"Settings that are given: {count}; all else is as by default.")
    yield from _secret_files(settings)
    if is_compiled():
        yield Found("kernels", "ok", "The kernels are compiled.")
        return
    folder = kernel_cache()
    parent = next(one for one in folder.parents if one.exists())
    if os.access(parent, os.W_OK):
        yield Found("kernels", "ok", "The kernels will be compiled at the first start, which takes some seconds.")
    else:
        yield Found(
            "kernels",
            "warning",
            f"The kernels can be kept nowhere: {parent} cannot be written to, so every start compiles them.",
            "Set CALLGAUGE_CACHE to a folder that can be written to.",
        )


def _secret_files(settings: Settings) -> Iterator[Found]:
    paths = {Path(settings.origins[path]) for path in SECRETS if f"{path}_file" in settings.origins}
    for path in sorted({*paths, *(one for one in (settings.broker.password_file,) if one is not None)}):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # whoever needs it names it
        if mode & 0o077:
            yield Found(
                "settings", "warning", f"Others on this machine may read the secret in {path}.", f"chmod 600 {path}"
            )


def interfaces(settings: Settings) -> Iterator[Found]:
    """The interfaces to capture on."""
    there = {name for _, name in socket.if_nameindex()}
    wanted = settings.packets.interfaces
    if not wanted:
        yield Found("capture", "ok", f"No interface is set to capture on; there are {', '.join(sorted(there))}.")
    for name in wanted:
        if name == "any":
            yield Found("capture", "ok", "Capture is on all interfaces.")
        elif name not in there:
            yield Found(
                "capture",
                "problem",
                f"There is no interface {name}.",
                f"Set packets.interfaces; there are {', '.join(sorted(there))}.",
            )
        elif _reading(Path("/sys/class/net", name, "operstate")) == "down":
            yield Found("capture", "warning", f"The interface {name} is down.", f"ip link set {name} up")
        else:
            yield Found("capture", "ok", f"The interface {name} is there.")


def capture(settings: Settings) -> Iterator[Found]:
    """The capturing program, and whether it may capture."""
    from collector.capture.files import CaptureError
    from collector.live.child import RING, program_for

    packets = settings.packets
    bad: Verdict = "problem" if settings.wants("packets") else "warning"
    try:
        path = program_for(packets if packets.interfaces else replace(packets, interfaces=("any",)))
    except CaptureError as error:
        advice = "Install dumpcap (Debian: wireshark-common) or tcpdump."
        yield Found("capture", bad, f"Nothing can capture: {error}.", advice)
        return
    if os.geteuid() == 0 or _holds(CAP_NET_RAW):
        yield Found("capture", "ok", f"This user may capture with {path}.")
    elif path == RING:
        yield Found("capture", bad, "Reading the kernel's ring needs CAP_NET_RAW.", "Set program to dumpcap.")
    elif not os.access(path, os.X_OK):
        yield Found("capture", bad, f"This user may not run {path}.", _group_advice(path))
    elif not _has_capabilities(path):
        yield Found(
            "capture", bad, f"{path} may not capture for this user.",
            "dpkg-reconfigure wireshark-common (answer yes), and put the user into the group wireshark."
            if path.endswith("dumpcap") else "Install dumpcap, which can hold the privilege alone.",
        )  # fmt: skip
    else:
        yield Found("capture", "ok", f"{path} holds the privilege to capture, and this user may run it.")


def _group_advice(path: str) -> str:
    user = pwd.getpwuid(os.geteuid()).pw_name
    with suppress(KeyError, OSError):
        group = grp.getgrgid(os.stat(path).st_gid)  # noqa: PTH116
        if user in group.gr_mem:
            return f"Log in again: {user} is in the group {group.gr_name} since this session began."
        return f"usermod -aG {group.gr_name} {user}, and log in again."
    return "Ask whoever looks after this machine."


def _has_capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, _CAPABILITIES))
    except OSError:
        return False


def _holds(capability: int) -> bool:
    for line in _reading(Path("/proc/self/status")).splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def tshark(settings: Settings) -> Iterator[Found]:
    """Wireshark's own decoder, which `replay --deep` asks."""
    path = shutil.which("tshark")
    if path is None:
        advice = "Install tshark, or do without --deep."
        yield Found("tshark", "warning", "tshark is not installed: replay --deep has nothing to ask.", advice)
        return
    said = _asked(path, "--version")
    if said is None:
        yield Found("tshark", "warning", f"{path} does not answer.", "Install tshark anew.")
    else:
        yield Found("tshark", "ok", f"{said.splitlines()[0].rstrip('.') if said else path} is installed.")


def store(settings: Settings) -> Iterator[Found]:
    """The store: there, writable, whole, and with room."""
    from datetime import UTC, datetime

    from analytics.store.checking import check
    from analytics.store.lake import MARKER, Lake

    root = settings.store.absolute()
    if not (root / MARKER).exists():
        parent = next(one for one in (root, *root.parents) if one.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Found("store", "ok", f"There is no store in {root} yet: the first command that writes makes it.")
        else:
            advice = "Set another folder, or have somebody make it for this user."
            yield Found("store", "problem", f"No store can be made in {root}: {parent} cannot be written to.", advice)
        yield from _room(parent)
        return
    with closing(Lake.open(root, settings=settings.lake_settings())) as lake:
        yield from _writable(root)
        checked, findings = check(lake, now=datetime.now(UTC))
    wrong = [finding for finding in findings if not finding.harmless]
    rows = sum(table.rows for table in checked)
    if wrong:
        advice = f"callgauge store check --store {root}"
        yield Found("store", "problem", f"The store in {root} is not whole: {wrong[0].sentence}.", advice)
    else:
        yield Found(
            "store", "ok", f"The store in {root} is whole: {plural(rows, 'row')} in {plural(len(checked), 'table')}."
        )
    yield from _room(root)


def _writable(root: Path) -> Iterator[Found]:
    try:
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(b"\0" * 4_096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        advice = f"See who owns {root}, and whether its disk is full."
        yield Found("store", "problem", f"The store in {root} cannot be written to: {error.strerror}.", advice)


def _room(folder: Path) -> Iterator[Found]:
    usage = shutil.disk_usage(folder)
    said = f"Where the store is, {usage.free / 1e9:,.1f} GB of {usage.total / 1e9:,.1f} GB are free"
    if usage.free < LEAST_FREE:
        yield Found("disk", "problem", f"{said}.", "Make room: callgauge store compact, a larger disk.")
    elif usage.free < LITTLE_FREE * usage.total:
        yield Found("disk", "warning", f"{said}.", "Make room before long, or keep rows for fewer days.")
    else:
        yield Found("disk", "ok", f"{said}.")


def influx(settings: Settings) -> Iterator[Found]:
    """InfluxDB, where one is set."""
    from analytics.store.influx import InfluxError, health

    if not settings.wants("influx"):
        yield Found("influxdb", "ok", "No InfluxDB is set: points are kept in the store alone.")
        return
    try:
        server = health(replace(settings.influx, timeout_seconds=min(ASKING_S, settings.influx.timeout_seconds)))
    except InfluxError as error:
        advice = "See influx.url and CALLGAUGE_INFLUX_TOKEN; callgauge influx init makes buckets."
        yield Found("influxdb", "problem", _sentence(str(error)), advice)
        return
    yield Found("influxdb", "ok", f"InfluxDB {server.version} at {settings.influx.url} takes the token.")


def spools(settings: Settings) -> Iterator[Found]:
    """The spools on disk of what waits for the centre and for InfluxDB: writable, with room, and what waits in them."""
    from analytics.store.spool import POSITION, SpoolSettings

    folders: list[tuple[Path, int]] = []
    if settings.wants("agent"):
        folders.append((settings.agent.spool, settings.spool.octets))
    if settings.wants("influx"):
        root = settings.influx.spool
        there = sorted(path.parent for path in root.glob(f"*/{POSITION}")) or [root]
        folders += [(folder, SpoolSettings().octets) for folder in there]
    if not folders:
        yield Found("spools", "ok", "No spool is needed: rows go into the store alone.")
    for folder, bound in folders:
        if (folder / POSITION).exists():
            yield from _spool(folder.absolute(), bound)
            continue
        parent = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Found("spools", "ok", f"There is no spool in {folder.absolute()} yet: whoever needs it makes it.")
        else:
            sentence = f"No spool can be made in {folder.absolute()}: {parent} cannot be written to."
            yield Found("spools", "problem", sentence, "Set another folder, or have somebody make it for this user.")


def _spool(folder: Path, bound: int) -> Iterator[Found]:
    from analytics.store.influx_writer import DEAD_LETTERS
    from analytics.store.spool import SpoolError, look

    try:
        counts = look(folder)
    except SpoolError as error:
        yield Found("spools", "problem", _sentence(str(error)), f"See who owns {folder}.")
        return
    held = f"{counts.octets / 1e6:,.1f} of at most {bound / 1e6:,.0f} MB"
    said = f"In the spool {folder} wait {plural(counts.waiting, 'record')}, {held}"
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Found("spools", "problem", f"The spool in {folder} cannot be written to.", f"See who owns {folder}.")
    elif counts.octets > FULL_SPOOL * bound:
        advice = "See why its server takes nothing; beyond the bound the oldest goes, and is counted."
        yield Found("spools", "problem", f"{said}: it is nearly full.", advice)
    else:
        yield Found("spools", "ok", f"{said}.")
    if shutil.disk_usage(folder).free < LEAST_FREE:
        yield Found(
            "spools", "warning", f"The disk of {folder} is nearly full.", "Make room: a full one takes no more."
        )
    letters = folder / DEAD_LETTERS
    if letters.exists():
        sentence = f"InfluxDB refused points: {letters} holds them and the reasons."
        yield Found("spools", "warning", sentence, "Remove it once it was looked at.")


def broker(settings: Settings) -> Iterator[Found]:
    """The MQTT broker, where an agent or a centre is set."""
    if not (settings.wants("broker") or settings.wants("agent")):
        yield Found("broker", "ok", "No broker is set: nothing is sent to a centre.")
        return
    from collector.transport.session import Session, ended, told

    wanted = replace(settings.broker, connect_seconds=min(ASKING_S, settings.broker.connect_seconds))

    async def connect() -> None:
        async with Session(wanted, identifier=f"callgauge-doctor-{os.getpid()}", most_octets=1_024):
            pass

    async def asking() -> Exception | None:
        return await ended(connect())

    error = asyncio.run(asking())
    if error is not None:
        advice = "See [broker]: host, port, TLS, user, certificate; and whether it runs."
        yield Found("broker", "problem", _sentence(told(wanted, error)), advice)
    else:
        how = "by TLS" if wanted.tls or wanted.authority or wanted.certificate else "without TLS"
        yield Found("broker", "ok", f"The broker at {wanted.address} lets this machine in, {how}.")


def clock(settings: Settings) -> Iterator[Found]:
    """The machine's clock, as far as its keeper tells."""
    offset, synchronised = _chrony(), _timedatectl()
    if offset is not None:
        bad: Verdict = "problem" if abs(offset) >= WORST_CLOCK_S else "warning" if abs(offset) >= BAD_CLOCK_S else "ok"
        sentence = f"The clock is {offset * 1_000:+,.1f} ms off, says chrony."
        yield Found("clock", bad, sentence, "" if bad == "ok" else "See chronyc sources.")
    elif synchronised is not None:
        if synchronised:
            yield Found("clock", "ok", "The clock is kept by a time server, says systemd.")
        else:
            yield Found("clock", "problem", "The clock is kept by no time server.", "timedatectl set-ntp true")
    else:
        advice = "Where calls of several machines are put together, keep all clocks by NTP (Debian: chrony)."
        yield Found("clock", "warning", "Nobody here can tell how right the clock is.", advice)


def _chrony() -> float | None:
    path = shutil.which("chronyc")
    said = None if path is None else _asked(path, "-c", "tracking")
    fields = (said or "").strip().split(",")
    try:
        # Reference, name, stratum, time, then how far the system's clock is from that of the servers [s].
        return float(fields[4]) if len(fields) > 4 and fields[2] != "0" else None
    except ValueError:
        return None


def _timedatectl() -> bool | None:
    path = shutil.which("timedatectl")
    said = None if path is None else _asked(path, "show", "--property=NTPSynchronized", "--value")
    return {"yes": True, "no": False}.get((said or "").strip())


def estate(settings: Settings) -> Iterator[Found]:
    """The estate and its tariffs."""
    from collector.estate.all_files import check_folder

    root = settings.estate
    if root is None:
        advice = "Set estate, to be told of sites and costs."
        yield Found("estate", "warning", "No estate is set: nothing is said of sites.", advice)
        return
    found, problems = check_folder(root)
    errors = [problem for problem in problems if problem.severity == "error"]
    sites = len({site.site for site in found.sites})
    advice = f"callgauge estate check {root}"
    if errors:
        yield Found(
            "estate", "problem", f"The estate in {root} has {plural(len(errors), 'error')}: {errors[0]}.", advice
        )
    elif problems:
        sentence = f"The estate in {root} has {sites} sites, and {plural(len(problems), 'warning')}: {problems[0]}."
        yield Found("estate", "warning", sentence, advice)
    else:
        yield Found("estate", "ok", f"The estate in {root} has {sites} sites and no fault.")


def ports(settings: Settings) -> Iterator[Found]:
    """The addresses to listen on: free, or held by a process of ours."""
    from api.metrics import metrics_address

    wanted = [each for part in ("hep", "publish") if settings.wants(part) for each in getattr(settings, part).listen]
    asked = [(each.transport, each.host, each.port, str(each)) for each in wanted]
    if settings.process.metrics:
        asked.append(("tcp", *metrics_address(settings.process.metrics), f"metrics {settings.process.metrics}"))
    ours = any(one.host == os.uname().nodename for one in _running(settings.store))
    for transport, host, port, said in asked:
        reason = _cannot_bind(transport, host, port)
        if reason is None:
            yield Found("ports", "ok", f"{said} is free.")
        elif ours:
            yield Found("ports", "ok", f"{said} is taken, as it should be: a process of this store runs here.")
        else:
            advice = "See ss -lntup who has it, or set another address."
            yield Found("ports", "problem", f"{said} cannot be listened on: {reason}.", advice)
    yield from _buffers(any(transport == "udp" for transport, *_ in asked), settings.hep.limits.receive_buffer)


def _buffers(udp: bool, wanted: int) -> Iterator[Found]:
    text = _reading(Path("/proc/sys/net/core/rmem_max"))
    most = int(text) if text.isdecimal() else wanted
    if udp and most < wanted:
        sentence = f"The kernel gives a UDP socket {most:,} octets where {wanted:,} are asked for: bursts may be lost."
        yield Found("ports", "warning", sentence, f"sysctl -w net.core.rmem_max={wanted}")


def _cannot_bind(transport: str, host: str, port: int) -> str | None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def folders(settings: Settings) -> Iterator[Found]:
    """The folders of call records that are watched: there, readable, and writable where files are put away."""
    if not settings.wants("cdr"):
        yield Found("folders", "ok", "No folder of call records is watched.")
    for folder in settings.cdr.folders:
        wanted = [(folder.path, os.R_OK | os.X_OK, "cannot be read")]
        if folder.after != "keep":
            wanted.append((folder.path, os.W_OK, "cannot be written to, and files in it are to be put away"))
        if folder.move_to is not None and folder.move_to.exists():
            wanted.append((folder.move_to, os.W_OK, "cannot be written to, and files are moved there"))
        if not folder.path.is_dir():
            yield Found("folders", "problem", f"{folder.path} is no folder.", "See cdr.folders.")
        elif why := [f"{path} {reason}." for path, mode, reason in wanted if not os.access(path, mode)]:
            yield Found("folders", "problem", why[0], "Let the user that collects into it.")
        else:
            yield Found("folders", "ok", f"{folder.path} can be read, and {_AFTER[folder.after]}.")


_AFTER: Final = {"keep": "files stay in it", "move": "files are moved from it", "delete": "files are deleted from it"}


def processes(settings: Settings) -> Iterator[Found]:
    """What processes of the store last said of themselves."""
    import time

    from analytics.health import read_health

    found, unreadable = read_health(settings.store)
    for problem in unreadable:
        yield Found("processes", "warning", _sentence(problem), "Remove it, if its process is gone.")
    now = time.time_ns()
    for one in found:
        who = f"{one.command} {one.name} on {one.host}"
        state = one.state(now)
        if state == "silent":
            ago = f"{(now - one.at) / 1e9:,.0f} s"
            yield Found("processes", "problem", f"{who} fell silent {ago} ago.", "See its log, and begin it anew.")
        elif state == "running" and one.problems:
            yield Found("processes", "problem", f"{who}: {_sentence(one.problems[0])}", "callgauge health")
        elif state == "running":
            yield Found("processes", "ok", f"{who} runs.")


def _running(root: Path) -> Sequence[ProcessHealth]:
    import time

    from analytics.health import read_health

    now = time.time_ns()
    return [one for one in read_health(root)[0] if one.state(now) == "running"]


def _asked(*words: str) -> str | None:
    """Return what a program prints; None where it fails or takes too long."""
    environment: Mapping[str, str] = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603
            words, capture_output=True, check=False, timeout=ASKING_S, stdin=subprocess.DEVNULL, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _reading(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _sentence(text: str) -> str:
    """Return a reason as a sentence that stands alone."""
    text = text.strip().rstrip(".")
    return text[:1].upper() + text[1:] + "."


PROBES: Final[Mapping[str, Probe]] = {
    "program": program,
    "interfaces": interfaces,
    "capture": capture,
    "tshark": tshark,
    "store": store,
    "influxdb": influx,
    "spools": spools,
    "broker": broker,
    "clock": clock,
    "estate": estate,
    "folders": folders,
    "ports": ports,
    "processes": processes,
}
"""Everything that is looked at, in the order in which it is told."""
