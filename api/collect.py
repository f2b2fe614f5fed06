"""`callgauge collect`: live traffic into the store."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say
from api.settings_command import Config

if TYPE_CHECKING:
    from api.outlets import OutletSettings
    from api.settings import Settings
    from collector.live.child import PacketSettings
    from collector.live.engine import LiveSettings
    from collector.live.source import Source
    from collector.receivers.hep import HepSettings
    from collector.receivers.sip_publish import PublishSettings

UNUSABLE = 2
PARTLY = 1
NOTHING = (
    "nothing to collect from: name an interface with -i, a pipe with --read, an address with --mirror, --hep or "
    "--publish, or a folder with --cdr"
)


def collect(
    interface: Annotated[
        list[str] | None,
        typer.Option("--interface", "-i", metavar="IFACE", help="Capture on this interface; may be given again."),
    ] = None,
    read: Annotated[
        str | None,
        typer.Option("--read", metavar="PIPE", help="Read a capture that is being written; - is standard input."),
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            "--mirror",
            metavar="ADDRESS",
            help="Receive a mirror here: udp:HOST:PORT for VXLAN, gre:HOST for ERSPAN; may be given again.",
        ),
    ] = None,
    bpf: Annotated[str | None, typer.Option("--bpf", metavar="EXPR", help="Capture filter, as tcpdump has it.")] = None,
    hep: Annotated[
        list[str] | None,
        typer.Option(
            "--hep", metavar="ADDRESS", help="Receive HEP here, as udp:HOST:PORT, tcp:… or tls:…; again for more."
        ),
    ] = None,
    publish: Annotated[
        list[str] | None,
        typer.Option(
            "--publish", metavar="ADDRESS", help="Receive telephones' reports (SIP PUBLISH) here; udp: or tcp:."
        ),
    ] = None,
    hep_key: Annotated[
        str | None,
        typer.Option(
            "--hep-key", metavar="KEY", envvar="CALLGAUGE_HEP_KEY", help="Take only HEP that carries this key."
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", metavar="PEM", help="Certificate for tls: addresses.")
    ] = None,
    certificate_key: Annotated[
        Path | None, typer.Option("--certificate-key", metavar="PEM", help="Its key, if not in the same file.")
    ] = None,
    client_authority: Annotated[
        Path | None,
        typer.Option(
            "--client-authority", metavar="PEM", help="Ask senders over TLS for certificates of this authority."
        ),
    ] = None,
    cdr: Annotated[
        list[Path] | None,
        typer.Option("--cdr", metavar="FOLDER", help="Watch a folder of call detail records; may be given again."),
    ] = None,
    cdr_after: Annotated[
        str | None,
        typer.Option(
            "--cdr-after", metavar="WHAT", help="Then keep files there (so by default), delete them, or move:FOLDER."
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="The store; made if absent; callgauge-store."
        ),
    ] = None,
    estate: Annotated[
        Path | None,
        typer.Option("--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="Say at which sites calls were."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="This agent's name in the store; the host's if not given."),
    ] = None,
    snaplen: Annotated[
        int | None, typer.Option("--snaplen", metavar="OCTETS", min=64, help="Octets captured of a packet; 65535.")
    ] = None,
    buffer_mb: Annotated[
        int | None, typer.Option("--buffer-mb", metavar="MIB", min=1, help="Kernel buffer of an interface; 128.")
    ] = None,
    program: Annotated[
        str | None,
        typer.Option(
            "--program",
            metavar="NAME",
            help="dumpcap or tcpdump; the first of them that is there. Or ring: the kernel's own.",
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker", metavar="HOST[:PORT]", envvar="CALLGAUGE_BROKER", help="Publish rows by this MQTT v5 broker."
        ),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option("--site", metavar="NAME", help="Publish rows as this site's; stored too if --store is given."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="HOST:PORT", help="Serve metrics for Prometheus here.")
    ] = None,
    config: Config = None,
) -> int:
    """Measure live traffic until told to stop, and keep calls, streams and intervals in the store."""
    from analytics.store.settings import StoreError
    from api.collecting import Collection, collect_from
    from api.logs import log_to_stderr
    from api.settings import SettingsError, load, with_given
    from collector.capture.files import CaptureError
    from collector.cdr.files import CdrError
    from collector.estate.problems import EstateError
    from collector.live.memory import settle_allocator
    from collector.receivers.listening import ListenError

    try:
        settings = load(config)
    except SettingsError as error:
        for line in str(error).splitlines():
            say(line)
        return UNUSABLE
    process = with_given(settings.process, metrics=metrics)
    log_to_stderr(process.log, process.log_level)
    settle_allocator()
    agent = name or settings.name or os.uname().nodename
    packets = with_given(
        settings.packets,
        interfaces=tuple(interface) if interface else None,
        bpf=bpf,
        snaplen=snaplen,
        buffer_mb=buffer_mb,
        program=program,
    )
    keys = {"certificate": certificate, "key": certificate_key, "client_authority": client_authority}
    try:
        outlets = _outlets(settings, broker, site)
        sources = _packet_sources(packets, settings.live)
        if read is not None:
            sources.append(_piped_source(read, settings.live))
        if mirror:
            sources.append(_mirror_source(mirror, packets, settings.live))
        if hep or settings.wants("hep"):
            received = with_given(settings.hep, auth_key=hep_key.encode() if hep_key else None, **keys)
            sources.append(_hep_source(hep, received, agent))
        if publish or settings.wants("publish"):
            sources.append(_publish_source(publish, settings.publish, agent))
        root: Path | None = store or settings.store
        if outlets.agent is not None and store is None and "store" not in settings.origins:
            root = None
        if cdr or settings.wants("cdr"):
            sources.append(_cdr_source(cdr, cdr_after, settings, root, estate or settings.estate, config))
        if not sources:
            say(NOTHING)
            return UNUSABLE
        kept = Collection(agent, root, estate or settings.estate, settings.lake_settings(), outlets)
        return 0 if collect_from(sources, kept, agent, process) else PARTLY
    except (StoreError, EstateError, CaptureError, CdrError, ListenError, SettingsError) as error:
        say(str(error))
        return UNUSABLE


def _outlets(settings: Settings, broker: str | None, site: str | None) -> OutletSettings:
    """Where rows go beside the store; SettingsError where that cannot be."""
    from api.outlets import OutletSettings
    from api.settings import SettingsError, with_given
    from api.work import with_address
    from collector.transport.notes import STATUS, topic

    agent = None
    if site or settings.wants("agent"):
        try:
            agent = with_given(settings.agent, site=site, broker=with_address(settings.broker, broker))
            for name in (agent.site, agent.agent or agent.site):
                topic(name, STATUS)
        except ValueError as error:
            raise SettingsError(str(error)) from error
    elif broker:
        raise SettingsError("rows are published as those of a site: name it with --site")
    influx = settings.influx if settings.wants("influx") else None
    return OutletSettings(agent, influx, max(1, round(settings.live.interval_s)))


def _packet_sources(packets: PacketSettings, live: LiveSettings) -> list[Source]:
    """What captures on interfaces, where some are named."""
    from collector.live.packets import PacketSource

    return [PacketSource(packets, live)] if packets.interfaces else []


def _piped_source(path: str, live: LiveSettings) -> Source:
    """A source that reads a capture of another program; CaptureError where there is none."""
    from collector.live.piped import PipedSource

    return PipedSource(path, live)


def _mirror_source(addresses: list[str], packets: PacketSettings, live: LiveSettings) -> Source:
    """A source that receives mirrors; ListenError where an address is none."""
    from collector.live.mirror import MirrorSource, mirror_address

    return MirrorSource([mirror_address(each) for each in addresses], packets, live)


def _hep_source(addresses: list[str] | None, settings: HepSettings, agent: str) -> Source:
    """A source that receives HEP; ListenError where an address is none."""
    from api.settings import with_given
    from collector.receivers.hep import PORT
    from collector.receivers.hep_source import HepSource
    from collector.receivers.listening import listen_address

    listen = tuple(listen_address(each, PORT) for each in addresses) if addresses else None
    return HepSource(with_given(settings, listen=listen), agent, time.time_ns)


def _publish_source(addresses: list[str] | None, settings: PublishSettings, agent: str) -> Source:
    """A source that receives reports by SIP PUBLISH; ListenError where an address is none."""
    from api.settings import with_given
    from collector.receivers.listening import ListenError, listen_address
    from collector.receivers.sip_publish import PORT, PublishSource

    settings = with_given(
        settings, listen=tuple(listen_address(each, PORT) for each in addresses) if addresses else None
    )
    for address in settings.listen:
        if address.transport == "tls":
            raise ListenError(f"{address}: reports are received over udp: and tcp: alone")
    return PublishSource(settings, agent, time.time_ns)


def _cdr_source(
    paths: list[Path] | None,
    after: str | None,
    settings: Settings,
    store: Path | None,
    estate: Path | None,
    config: Path | None,
) -> Source:
    """A source that watches folders; CdrError where one is none."""
    from api.cdr_feed import CdrFeed, FeedPlace
    from api.logs import event
    from api.settings import with_given
    from collector.cdr.files import CdrError
    from collector.cdr.watching import FeedFolder

    if store is None:
        raise CdrError("call records go into a store: name it with --store")
    what, _, target = (after or "").partition(":")
    if after is not None and (not paths or what not in ("keep", "move", "delete") or (what == "move") != bool(target)):
        raise CdrError("--cdr-after goes with --cdr, and is keep, delete or move:FOLDER")
    folders = [FeedFolder(path, after=what or "keep", move_to=Path(target) if target else None) for path in paths or ()]
    watched = with_given(settings.cdr, folders=tuple(folders) or None)
    return CdrFeed(watched, FeedPlace(store, estate, config), lambda said: event("cdr", "feed", said=said))
