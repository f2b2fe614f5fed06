"""What devices say of their own calls in a BYE or its answer (P-RTP-Stat and its like), kept until it is fetched."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from collector.capture import columns as c
from collector.facts import DeviceStatistics, Endpoint
from collector.protocols.rtp_stat import rtp_statistics
from collector.protocols.sip import SipError, SipMessage, parse
from collector.protocols.sip_numba_fns import CSEQ_METHOD, CSEQ_METHOD_END, MASK

EndpointOf = Callable[[int, int, int], Endpoint]
NAMES = (b"RTP-Stat", b"RTP-RxStat", b"RTP-TxStat")
"""Ends of the headers' names as devices write them."""
REMEMBERED = 20_000
"""Messages that are remembered: what a proxy passes on, and what is sent again, says nothing new."""
_BYE = tuple(b"BYE")


class DeviceStatisticsBook:
    """Statistics in the order in which they were heard first; beyond `limit` they are counted and not kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: list[DeviceStatistics] = []
        self._heard: OrderedDict[tuple[str, int, str, str], None] = OrderedDict()
        self.dropped = 0

    def take_packets(
        self, window: NDArray[np.uint8], packets: NDArray[np.int64], offsets: NDArray[np.int64],
        lengths: NDArray[np.int64], index: NDArray[np.int64], endpoint: EndpointOf,
    ) -> None:  # fmt: skip
        """Look through indexed datagrams, rows of `capture.columns`."""
        for number in with_bye(window, offsets, index).tolist():
            start = int(offsets[number])
            raw = window[start : start + int(lengths[number])].tobytes()
            if not any(name in raw for name in NAMES):
                continue
            try:
                message = parse(raw)
            except SipError:
                continue  # it is counted where calls are made of it
            row = packets[number].tolist()
            self.take(message, row[c.PENDING_AT], endpoint(row[c.SRC_HI], row[c.SRC_LO], row[c.SPORT]))

    def take(self, message: SipMessage, at: int, src: Endpoint) -> bool:
        """Look at a message heard at `at` [ns]; whether it says something that was not said before."""
        if message.cseq_method != "BYE" or not any(name in message.raw for name in NAMES):
            return False
        key = (message.call_id, message.cseq, message.method, message.from_tag)
        if key in self._heard:
            return False
        statistics = rtp_statistics(message.fields)
        if statistics is None:
            return False
        self._heard[key] = None
        if len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)
        if len(self._found) >= self._limit:
            self.dropped += 1
            return False
        identity = f"{message.cseq}|{message.method}|{message.from_tag}|{src.ip}"
        self._found.append(DeviceStatistics(message.call_id, at, src, identity, statistics))
        return True

    def fetch(self) -> tuple[DeviceStatistics, ...]:
        """All that was not fetched yet."""
        found, self._found = tuple(self._found), []
        return found


def with_bye(
    window: NDArray[np.uint8], offsets: NDArray[np.int64], index: NDArray[np.int64]
) -> NDArray[np.int64]:  # fmt: skip
    """Messages of BYE transactions, and those that the index does not know."""
    is_indexed = index[:, MASK] != 0
    begin = np.where(is_indexed, offsets + index[:, CSEQ_METHOD], 0)
    is_bye = index[:, CSEQ_METHOD_END] - index[:, CSEQ_METHOD] == len(_BYE)
    np.minimum(begin, len(window) - len(_BYE), out=begin)
    for place, octet in enumerate(_BYE):
        is_bye &= window[begin + place] == octet
    return np.flatnonzero(is_bye | ~is_indexed)
