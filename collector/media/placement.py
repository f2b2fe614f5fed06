"""One talker heard in several places: hops along a path, and copies forked to a recorder.

Devices that pass media on keep the SSRC and the numbering. Two streams are the same medium when they share the SSRC,
overlap in time, carry the same numbers at the same moment, and one continues the other's path or comes from the same
device or call. A shared SSRC alone proves nothing: simple devices use the same one for every call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from collector.facts import Placement, Stream
from collector.media.reports import StreamReport

SAME_MOMENT_NS = 1_000_000_000
"""How far apart in time the same number may be heard on two hops."""


def same_medium(a: StreamReport, b: StreamReport, ptime_ns: int, related: bool) -> bool:
    """Whether two streams with the same SSRC carry the same packets; `related`: one call, or calls known as legs."""
    if a.last < b.first or b.last < a.first:
        return False
    if a.src == b.src and a.dst == b.dst:
        return False
    if not related and not _path(a, b):
        return False
    # Where a's numbering stood when b's stood at its end; numbers are compared modulo 65536.
    ahead = ((a.last_seq - b.last_seq + 32768) & 0xFFFF) - 32768
    if abs((a.last - ahead * ptime_ns) - b.last) > SAME_MOMENT_NS:
        return False
    if a.step and b.step:
        drift = (a.last_timestamp - b.last_timestamp - ahead * a.step) & 0xFFFFFFFF
        drift = min(drift, 0x100000000 - drift)
        return drift <= 50 * a.step
    return True


def _path(a: StreamReport, b: StreamReport) -> bool:
    """One stream goes on where the other ended, or one device sends the same packets to two others."""
    if a.src.ip == b.src.ip and a.dst.ip == b.dst.ip:
        return False
    return a.dst.ip == b.src.ip or b.dst.ip == a.src.ip or a.src.ip == b.src.ip or a.dst.ip == b.dst.ip


def media_of(reports: Sequence[StreamReport], ptimes_ns: Sequence[int], calls: Sequence[str | None]) -> list[list[int]]:
    """Streams grouped by medium, groups and members in the order of their first packets."""
    by_ssrc: dict[int, list[int]] = {}
    for index, report in enumerate(reports):
        by_ssrc.setdefault(report.ssrc, []).append(index)
    groups: list[list[int]] = []
    for members in by_ssrc.values():
        found: list[list[int]] = []
        for index in members:
            for group in found[-64:]:  # simple devices share one SSRC over thousands of calls: look only at the latest
                other = group[0]
                related = calls[index] is not None and calls[index] == calls[other]
                if same_medium(reports[other], reports[index], ptimes_ns[other] or ptimes_ns[index], related):
                    group.append(index)
                    break
            else:
                found.append([index])
        groups.extend(found)
    return sorted(groups)


def numbers(firsts: Sequence[int], alone: Sequence[int] = ()) -> list[int]:
    """Numbers of media whose first streams stand at these places, among those of streams that are `alone` in theirs."""
    others = sorted(alone)
    ranks = {first: rank for rank, first in enumerate(sorted(firsts), start=1)}
    return [ranks[first] + bisect_left(others, first) for first in firsts]


def first_places(streams: Mapping[int, Stream], alone: Sequence[int]) -> list[int]:
    """Places of the first streams of all media, in order, `alone` those of streams that are alone in theirs."""
    firsts: dict[int, int] = {}
    for place in sorted(streams):
        firsts.setdefault(streams[place].placement.medium, place)
    return sorted([*alone, *firsts.values()])


def placements(
    reports: Sequence[StreamReport], groups: Sequence[Sequence[int]], media: Sequence[int]
) -> Mapping[int, Placement]:
    """The role of each stream in its medium; the last hop on the way counts: it has met all losses before it."""
    placed: dict[int, Placement] = {}
    for number, group in zip(media, groups, strict=True):
        primary = _primary([reports[index] for index in group])
        for position, index in enumerate(group):
            role = "primary" if position == primary else _role(reports[index], [reports[k] for k in group])
            placed[index] = Placement(number, role, len(group))
    return placed


def _primary(streams: Sequence[StreamReport]) -> int:
    """The end of the longest chain of hops; the first heard of several."""
    depth = {stream.src.ip: 0 for stream in streams}
    for _ in streams:  # a chain is at most as long as there are streams, also where addresses run in a circle
        for stream in streams:
            if stream.dst.ip in depth:
                depth[stream.dst.ip] = min(max(depth[stream.dst.ip], depth[stream.src.ip] + 1), len(streams))
    forked = {stream.src.ip for stream in streams if sum(other.src.ip == stream.src.ip for other in streams) > 1}
    return max(range(len(streams)), key=lambda k: (depth[streams[k].src.ip], streams[k].src.ip not in forked, -k))


def _role(stream: StreamReport, group: Sequence[StreamReport]) -> str:
    """`hop` when the medium goes on from where this stream leads, `fork` when this is a side branch."""
    goes_on = any(other.src.ip == stream.dst.ip for other in group if other is not stream)
    return "hop" if goes_on else "fork"


def shared_calls(streams: Sequence[Stream]) -> list[tuple[str, str]]:
    """Pairs of Call-IDs that one medium passed through: legs of one call."""
    by_medium: dict[int, list[str]] = {}
    for stream in streams:
        if stream.call_id is not None and stream.placement.heard > 1:
            by_medium.setdefault(stream.placement.medium, []).append(stream.call_id)
    pairs = []
    for calls in by_medium.values():
        distinct = list(dict.fromkeys(calls))
        pairs += [(distinct[0], other) for other in distinct[1:]]
    return pairs
