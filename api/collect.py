"""`callgauge collect`: live traffic into the store."""

from __future__ import annotations

import os
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
) -> int:
    """Measure live traffic until told to stop, and keep calls, streams and intervals in the store."""
    from analytics.store.settings import StoreError
    from api.collecting import Collection, collect_from
    from collector.capture.files import CaptureError
    from collector.estate.problems import EstateError

    try:
        sources = _sources(tuple(interface or ()), bpf, snaplen, buffer_mb)
        if not sources:
            say("nothing to collect from: name an interface with -i")
            return UNUSABLE
        kept = Collection(name or os.uname().nodename, store, estate)
        return 0 if collect_from(sources, kept) else PARTLY
    except (StoreError, EstateError, CaptureError) as error:
        say(str(error))
        return UNUSABLE


def _sources(interfaces: tuple[str, ...], bpf: str, snaplen: int, buffer_mb: int) -> list[Source]:
    """What the options name; each kind of source adds its own here."""
    from collector.live.child import PacketSettings
    from collector.live.packets import PacketSource

    found: list[Source] = []
    if interfaces:
        found.append(PacketSource(PacketSettings(interfaces, bpf, snaplen, buffer_mb)))
    return found
