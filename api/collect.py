"""`callgauge collect`: live traffic into the store."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.progress import say

if TYPE_CHECKING:
    from collector.live.source import Source

UNUSABLE = 2
PARTLY = 1


def collect(
    interface: Annotated[
        list[str] | None,
        typer.Option("--interface", "-i", metavar="IFACE", help="Capture on this interface; may be given again."),
    ] = None,
    bpf: Annotated[str, typer.Option("--bpf", metavar="EXPR", help="Capture filter, as tcpdump has it.")] = "",
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
    store: Annotated[
        Path, typer.Option("--store", metavar="DIR", envvar="CALLGAUGE_STORE", help="The store; made if absent.")
    ] = Path("callgauge-store"),
    estate: Annotated[
        Path | None,
        typer.Option("--estate", metavar="DIR", envvar="CALLGAUGE_ESTATE", help="Say at which sites calls were."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="This agent's name in the store; the host's if not given."),
    ] = None,
    snaplen: Annotated[
        int, typer.Option("--snaplen", metavar="OCTETS", min=64, help="Octets captured of a packet.")
    ] = 65_535,
    buffer_mb: Annotated[
        int, typer.Option("--buffer-mb", metavar="MIB", min=1, help="Kernel buffer of an interface.")
    ] = 64,
    program: Annotated[
        str, typer.Option("--program", metavar="NAME", help="dumpcap or tcpdump; the first of them that is there.")
    ] = "",
) -> int:
    """Measure live traffic until told to stop, and keep calls, streams and intervals in the store."""
    from analytics.store.settings import StoreError
    from api.collecting import Collection, collect_from
    from collector.capture.files import CaptureError
    from collector.estate.problems import EstateError
    from collector.receivers.listening import ListenError

    try:
        agent = name or os.uname().nodename
        sources = _sources(tuple(interface or ()), bpf, snaplen, buffer_mb, program)
        if hep:
            sources.append(_hep_source(hep, hep_key, (certificate, certificate_key, client_authority), agent))
        if publish:
            sources.append(_publish_source(publish, agent))
        if not sources:
            say("nothing to collect from: name an interface with -i, or an address with --hep or --publish")
            return UNUSABLE
        kept = Collection(agent, store, estate)
        return 0 if collect_from(sources, kept) else PARTLY
    except (StoreError, EstateError, CaptureError, ListenError) as error:
        say(str(error))
        return UNUSABLE


def _sources(interfaces: tuple[str, ...], bpf: str, snaplen: int, buffer_mb: int, program: str) -> list[Source]:
    """What the options name; each kind of source adds its own here."""
    from collector.live.child import PacketSettings
    from collector.live.packets import PacketSource

    found: list[Source] = []
    if interfaces:
        found.append(PacketSource(PacketSettings(interfaces, bpf, snaplen, buffer_mb, program)))
    return found


def _hep_source(
    addresses: list[str], key: str | None, tls: tuple[Path | None, Path | None, Path | None], agent: str
) -> Source:
    """A source that receives HEP; ListenError where an address is none."""
    from collector.receivers.hep import PORT, HepSettings
    from collector.receivers.hep_source import HepSource
    from collector.receivers.listening import listen_address

    listen = tuple(listen_address(each, PORT) for each in addresses)
    return HepSource(HepSettings(listen, key.encode() if key else None, *tls), agent, time.time_ns)


def _publish_source(addresses: list[str], agent: str) -> Source:
    """A source that receives reports by SIP PUBLISH; ListenError where an address is none."""
    from collector.receivers.listening import ListenError, listen_address
    from collector.receivers.sip_publish import PORT, PublishSettings, PublishSource

    listen = tuple(listen_address(each, PORT) for each in addresses)
    for address in listen:
        if address.transport == "tls":
            raise ListenError(f"{address}: reports are received over udp: and tcp: alone")
    return PublishSource(PublishSettings(listen), agent, time.time_ns)
