"""RTCP that senders of HEP pass on: what each receiver last said of each source, once it falls silent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from collector.facts import Endpoint
from collector.media.book import MediaBook
from collector.protocols.rtcp import ReceiverReport, ReportBlock, RtcpPacket, SenderReport
from collector.receivers.report_rows import Row, rtcp_row

SOURCES_LIMIT = 50_000
"""Pairs of receiver and source that are followed; past it the one that is silent longest is told at once."""
SILENT = 60_000_000_000
"""Without reports for so long, a pair is over [ns]: RTCP comes every few seconds (RFC 3550 6.2)."""

Key = tuple[str, Endpoint, Endpoint, int]


class _Source:
    """What one receiver said of one source."""

    __slots__ = ("at", "block", "clock_rate", "codec", "first_at", "packets_sent")

    def __init__(self, at: int, arrived: int) -> None:
        self.first_at = at
        self.at = arrived
        self.block: ReportBlock | None = None
        self.packets_sent: int | None = None
        self.clock_rate: int | None = None
        self.codec: str | None = None


class RtcpReports:
    """Takes reports and gives one row for each receiver and source when they are over."""

    def __init__(self, book: MediaBook, system: str, limit: int = SOURCES_LIMIT) -> None:
        self._book = book
        self._system = system
        self._limit = limit
        self._sources: OrderedDict[Key, _Source] = OrderedDict()
        self._over: list[Row] = []
        self.dropped = 0
        """Pairs past the limit that nobody fetched in time."""

    def __len__(self) -> int:
        return len(self._sources)

    def take(
        self, packets: Iterable[RtcpPacket], call_id: str, src: Endpoint, dst: Endpoint, at: int, arrived: int
    ) -> None:  # fmt: skip
        """Take the packets of one datagram that `src` sent at `at`, which came here at `arrived` [ns]."""
        for packet in packets:
            if not isinstance(packet, SenderReport | ReceiverReport):
                continue
            for block in packet.blocks:
                if block.ssrc == 0:
                    continue  # nothing was received yet
                source = self._source((call_id, src, dst, block.ssrc), at, arrived)
                source.block = block
                if isinstance(packet, SenderReport):
                    source.packets_sent = packet.packet_count
                if source.clock_rate is None:
                    self._look_up(source, src, dst, at)

    def _source(self, key: Key, at: int, arrived: int) -> _Source:
        source = self._sources.get(key)
        if source is None:
            if len(self._sources) >= self._limit:
                self._tell(*self._sources.popitem(last=False))
            source = self._sources[key] = _Source(at, arrived)
        source.at = arrived
        self._sources.move_to_end(key)
        return source

    def _look_up(self, source: _Source, src: Endpoint, dst: Endpoint, at: int) -> None:
        negotiated = self._book.lookup_rtcp(src, dst, at, at)
        for codec in negotiated.formats.values() if negotiated is not None else ():
            if codec.name != "TELEPHONE-EVENT":
                source.codec, source.clock_rate = codec.name, codec.clock_rate
                return

    def _tell(self, key: Key, source: _Source) -> None:
        block = source.block
        if block is None:
            return
        if len(self._over) >= self._limit:
            self.dropped += 1
            return
        call_id, src, dst, ssrc = key
        rate = source.clock_rate
        values = {
            "packets_sent": source.packets_sent,
            "packets_lost": block.cumulative_lost,
            "jitter_ms": None if rate is None else 1_000 * block.interarrival_jitter / rate,
            "codec": source.codec,
            "start": source.first_at // 1_000,
        }
        self._over.append(rtcp_row(call_id, src, dst, ssrc, source.at, self._system, values))

    def harvest(self, now: int, silent: int = SILENT) -> list[Row]:
        """Rows of the pairs that were silent for so long at `now` [ns]."""
        sources = self._sources
        while sources:
            source = next(iter(sources.values()))
            if now - source.at < silent:
                break
            self._tell(*sources.popitem(last=False))
        over, self._over = self._over, []
        return over
