"""One call's data: its sentence, its ladder, its streams over time, and where the R went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from analytics.questions.calls import CallRow
from analytics.questions.one_call import CallPage, IntervalRow, MessageRow
from analytics.questions.streams import StreamRow
from analytics.questions.terms import StreamTerms
from api.phrases import SIP_PHRASES
from dashboards.palette import BLUE, GREY, GRID, LAYOUT, ORANGE, VERMILION

MOST_ENDS: Final = 8
"""Columns of a ladder."""
POOR_LOSS: Final = 1.0
"""Loss of an interval from which people hear it [%]."""


class Rung(NamedTuple):
    """One message of the ladder."""

    at: str
    """Local time, to the millisecond."""
    gap: str
    """Since the message before, in words."""
    source: int
    """Column of the sender, from 0."""
    target: int
    """Column of the receiver."""
    label: str
    kind: str
    """request, progress, success or failure."""
    leg: int


class Ladder(NamedTuple):
    """Messages between endpoints."""

    ends: tuple[str, ...]
    """Endpoints in the order of their appearance."""
    rungs: tuple[Rung, ...]
    left_out: int
    """Messages of endpoints past `MOST_ENDS`."""


class Track(NamedTuple):
    """A stream over time, interval by interval."""

    key: str
    name: str
    """Sender and receiver."""
    times: tuple[datetime, ...]
    """Middle of each interval, local."""
    loss_percent: tuple[float | None, ...]
    jitter_ms: tuple[float | None, ...]
    mos: tuple[float | None, ...]


def sentence(page: CallPage, zone: str) -> str:
    """Return what happened to the call, as a person would say it."""
    call = page.call
    said = call.state[:1].upper() + call.state[1:]
    if call.seconds is not None:
        said += f", {length(call.seconds)}"
    elif call.status is not None and call.status != 200:
        said += f" with {call.status} {SIP_PHRASES.get(call.status, '')}".rstrip()
    troubles = [trouble for stream in page.streams if (trouble := _trouble(page, stream, zone))]
    one_way = _one_way(call, page.streams)
    if one_way:
        troubles.insert(0, one_way)
    return f"{said}; {'; '.join(troubles)}." if troubles else f"{said}."


def _trouble(page: CallPage, stream: StreamRow, zone: str) -> str:
    """Return what whoever listened to a stream heard, where it was bad."""
    if stream.mos is None or stream.mos >= 3.6 or stream.loss_percent is None:
        return ""
    listener = "the called party" if _from_caller(page.call, stream) else "the caller"
    pieces = [one for one in page.intervals if one.stream_key == stream.key]
    broken = [one for one in pieces if one.expected and 100 * one.lost / one.expected >= POOR_LOSS]
    marked = "" if stream.dscp in (None, 46) else f", DSCP {stream.dscp}"
    lost = f"{stream.loss_percent:.1f} % lost on the way from {_host(stream.from_address)}{marked}"
    if not broken:
        return f"{listener} heard MOS {stream.mos:.2f} ({lost})"
    seconds = sum(one.seconds for one in broken)
    begin = broken[0].start.astimezone(ZoneInfo(zone))
    return f"{listener} heard {seconds:.0f} s of broken audio from {begin:%H:%M:%S} ({lost})"


def _one_way(call: CallRow, streams: Sequence[StreamRow]) -> str:
    if call.answer is None or not streams or len({_host(one.from_address) for one in streams}) != 1:
        return ""
    silent = "the caller" if _from_caller(call, streams[0]) else "the called party"
    return f"{silent} heard nothing: media was seen one way only"


def _from_caller(call: CallRow, stream: StreamRow) -> bool:
    return call.from_address is not None and _host(stream.from_address) == _host(call.from_address)


def _host(address: str) -> str:
    host, colon, port = address.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() and ("." in host or "]" in host) else address


def length(seconds: float) -> str:
    """Return a duration in words: `3 min 12 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60} min"


def ladder(messages: Sequence[MessageRow], zone: str) -> Ladder:
    """Return the ladder of messages in order of time."""
    local = ZoneInfo(zone)
    ends: dict[str, int] = {}
    for message in messages:
        for end in (message.from_address, message.to_address):
            if end not in ends and len(ends) < MOST_ENDS:
                ends[end] = len(ends)
    rungs: list[Rung] = []
    before: datetime | None = None
    left_out = 0
    for message in messages:
        if message.from_address not in ends or message.to_address not in ends:
            left_out += 1
            continue
        gap = "" if before is None else _gap(message.at - before)
        before = message.at
        rungs.append(
            Rung(
                f"{message.at.astimezone(local):%H:%M:%S.%f}"[:-3],
                gap,
                ends[message.from_address],
                ends[message.to_address],
                _label(message),
                _kind(message.status),
                message.leg,
            )
        )
    return Ladder(tuple(ends), tuple(rungs), left_out)


def _gap(gap: timedelta) -> str:
    seconds = gap.total_seconds()
    return f"+{seconds * 1e3:.0f} ms" if seconds < 1 else f"+{length(seconds)}"


def _label(message: MessageRow) -> str:
    if message.status is None:
        said = message.method
    else:
        said = f"{message.status} {SIP_PHRASES.get(message.status, '')}".rstrip()
        if message.method not in ("INVITE", "BYE"):
            said += f" ({message.method})"
    return f"{said} ×{message.repeated + 1}" if message.repeated else said


def _kind(status: int | None) -> str:
    if status is None:
        return "request"
    return "progress" if status < 200 else "success" if status < 300 else "failure"


def tracks(page: CallPage, zone: str) -> tuple[Track, ...]:
    """Return the streams of a call that have intervals, in their order."""
    local = ZoneInfo(zone)
    found = []
    for stream in page.streams:
        pieces = [one for one in page.intervals if one.stream_key == stream.key]
        if pieces:
            found.append(
                Track(
                    stream.key,
                    f"{stream.from_address} → {stream.to_address}",
                    tuple(_middle(one).astimezone(local) for one in pieces),
                    tuple(100 * one.lost / one.expected if one.expected > 0 else None for one in pieces),
                    tuple(one.jitter_ms for one in pieces),
                    tuple(one.mos for one in pieces),
                )
            )
    return tuple(found)


def _middle(one: IntervalRow) -> datetime:
    return one.start + timedelta(seconds=one.seconds / 2)


def over_time(found: Sequence[Track]) -> Any:
    """Return loss, jitter and MOS of each stream, side by side on one time axis."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=3,
        cols=len(found),
        shared_xaxes=True,
        shared_yaxes=True,
        vertical_spacing=0.05,
        horizontal_spacing=0.03,
        column_titles=[track.name for track in found],
    )
    for column, track in enumerate(found, 1):
        worst = [VERMILION if loss is not None and loss >= POOR_LOSS else GREY for loss in track.loss_percent]
        figure.add_bar(
            x=track.times, y=track.loss_percent, marker_color=worst, name="loss %", row=1, col=column,
            hovertemplate="%{y:.2f} %",
        )  # fmt: skip
        for row, values, name, colour, unit in (
            (2, track.jitter_ms, "jitter ms", ORANGE, " ms"),
            (3, track.mos, "MOS", BLUE, ""),
        ):
            figure.add_scatter(
                x=track.times, y=values, name=name, mode="lines+markers", line_color=colour, line_shape="hvh",
                row=row, col=column, hovertemplate=f"%{{y:.2f}}{unit}",
            )  # fmt: skip
    margin = {"l": 52, "r": 12, "t": 30, "b": 36}
    figure.update_layout(**{**LAYOUT, "height": 460, "showlegend": False, "margin": margin})
    figure.update_xaxes(matches="x", gridcolor=GRID)
    figure.update_yaxes(gridcolor=GRID, rangemode="tozero")
    figure.update_yaxes(title_text="loss %", row=1, col=1)
    figure.update_yaxes(title_text="jitter ms", row=2, col=1)
    figure.update_yaxes(range=[1, 4.5], row=3)
    figure.update_yaxes(title_text="MOS", row=3, col=1)
    return figure


def waterfall(terms: StreamTerms) -> Any:
    """Return where the R of a stream went, from that of all defaults to its own."""
    from plotly.graph_objects import Figure, Waterfall

    # The first step is the R of all defaults itself.
    first = terms.steps[0].r if terms.steps else terms.r_factor
    steps = [step for step in terms.steps[1:] if abs(step.change) >= 0.005]
    figure = Figure(
        Waterfall(
            x=["all defaults", *(step.name for step in steps), "R"],
            y=[first, *(step.change for step in steps), terms.r_factor],
            measure=["absolute", *("relative" for _ in steps), "total"],
            text=[f"{first:.1f}", *(f"{step.change:+.1f}" for step in steps), f"{terms.r_factor:.1f}"],
            customdata=["", *(f"{step.clause}: {step.inputs}" for step in steps), terms.model],
            hovertemplate="%{x}: %{y:.2f}<br>%{customdata}<extra></extra>",
            textposition="outside",
            cliponaxis=False,
            connector_line_color=GREY,
            decreasing_marker_color=VERMILION,
            increasing_marker_color=BLUE,
            totals_marker_color=GREY,
        )
    )
    figure.update_layout(**{**LAYOUT, "height": 260, "hovermode": "closest"})
    figure.update_yaxes(range=[0, 110], tickvals=[0, 50, 70, 93.2], title_text="R")
    return figure
