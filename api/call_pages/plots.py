"""Plots of a stream as SVG without a script. What is drawn is stretched to the page's width; words stand beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from analytics.questions.terms import StreamTerms
from api.call_pages.facts import BUFFER_MS, Held, Late, Point, StreamView, Tick
from api.layout import clean

WIDE: Final = 1_000
"""Width of a plot in its own units."""
HIGHEST_R: Final = 100.0


def text(value: object) -> str:
    """Return words from a packet so that a browser shows them and does nothing else."""
    return escape(clean(str(value)))


def lanes(view: StreamView, begin: str, end: str) -> str:
    """Return the lanes of a stream on one time axis."""
    highest = max((point.value for point in view.jitter if point.value is not None), default=0.0)
    worst = max((point.value for point in view.loss if point.value is not None), default=0.0)
    top_jitter, top_loss = _round_up(highest, 5.0), _round_up(worst, 5.0)
    parts = [
        _lane("missing packets", ticks(view.ticks) + spans(view.held), 26, _missing_words(view)),
        _lane("loss %", steps(view.loss, 0.0, top_loss, 40, "loss"), 40, f"0 to {top_loss:g}"),
        _lane("jitter ms", steps(view.jitter, 0.0, top_jitter, 40, "jitter"), 40, f"0 to {top_jitter:g}"),
        _lane("MOS, each 10 s", steps(view.mos, 1.0, 4.5, 40, "mos"), 40, "1 to 4.5"),
    ]
    axis = (
        f'<div class="lane axis"><span></span><span class="ends"><i>{begin}</i><i>{end}</i></span><span></span></div>'
    )
    return f'<div class="lanes">{"".join(parts)}{axis}</div>'


def _lane(name: str, drawing: str, height: int, said: str) -> str:
    svg = (
        f'<svg viewBox="0 0 {WIDE} {height}" preserveAspectRatio="none" height="{height}" role="img" '
        f'aria-label="{escape(name)}: {escape(said)}">{drawing}</svg>'
    )
    return (
        f'<div class="lane"><span class="of">{escape(name)}</span>{svg}<span class="range">{escape(said)}</span></div>'
    )


def _missing_words(view: StreamView) -> str:
    lost = sum(tick.network for tick in view.ticks)
    others = len(view.ticks) - lost
    words = [f"{lost:,} lost"] if lost or not others else []
    words += [f"{others:,} not sent"] if others else []
    words += [f"{view.not_drawn:,} more not drawn"] if view.not_drawn else []
    return ", ".join(words)


def _round_up(value: float, least: float) -> float:
    for limit in (least, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000):
        if value <= limit:
            return float(limit)
    return value


def ticks(found: Sequence[Tick]) -> str:
    """Return a tick for each missing packet; what was not sent is shorter and of another colour."""
    lost = "".join(f"M{tick.place * WIDE:.2f} 0V26" for tick in found if tick.network)
    others = "".join(f"M{tick.place * WIDE:.2f} 13V26" for tick in found if not tick.network)
    return (f'<path class="tick lost" d="{lost}"/>' if lost else "") + (
        f'<path class="tick unsent" d="{others}"/>' if others else ""
    )


def spans(held: Iterable[Held]) -> str:
    """Return holds as bands, keys and changes of codec as dashed lines."""
    drawn = []
    for one in held:
        title = f"<title>{text(one.what)}</title>"
        if one.end > one.begin:
            wide = (one.end - one.begin) * WIDE
            drawn.append(
                f'<rect class="held" x="{one.begin * WIDE:.2f}" y="0" width="{wide:.2f}" height="26">{title}</rect>'
            )
        else:
            drawn.append(f'<path class="moment" d="M{one.begin * WIDE:.2f} 0V26">{title}</path>')
    return "".join(drawn)


def steps(points: Sequence[Point], low: float, high: float, height: int, css: str) -> str:
    """Return values as steps; a stretch without a value is a gap."""
    path = []
    before: Point | None = None
    for point in points:
        if point.value is None:
            before = None
            continue
        y = height - 1 - (min(high, max(low, point.value)) - low) / (high - low) * (height - 2)
        joined = before is not None and abs(before.end - point.begin) < 1e-6
        path.append(f"{'V' if joined else f'M{point.begin * WIDE:.2f} '}{y:.2f}H{point.end * WIDE:.2f}")
        before = point
    return f'<path class="{css}" d="{"".join(path)}"/>' if path else ""


def late_bars(found: Sequence[Late]) -> str:
    """Return delay variation in classes; those past the buffer in another colour and by a word."""
    if not found:
        return '<p class="quiet">Delay variation is not known: the clock rate is not.</p>'
    most = max(one.share for one in found) or 1.0
    rows = []
    for one in found:
        word = {"no": "", "partly": "partly discarded", "yes": "discarded"}[one.late]
        bar = _bar(f"late-{one.late}", 0.0, 100 * one.share / most)
        rows.append(f"<tr><th>{escape(one.label)}</th><td>{bar}</td><td>{one.share:.2f}</td><td>{word}</td></tr>")
    heads = ("ms later than the quickest", "", "packets %", f"by a buffer of {BUFFER_MS:g} ms")
    head = f"<tr>{''.join(f'<th>{one}</th>' for one in heads)}</tr>"
    return f'<table class="bars">{head}{"".join(rows)}</table>'


def waterfall(terms: StreamTerms) -> str:
    """Return where the R went, from that of all defaults to the stream's."""
    rows = []
    for place, step in enumerate(terms.steps):
        if place and abs(step.change) < 0.005:
            continue
        before = step.r - step.change
        low, high = (0.0, step.r) if not place else (min(before, step.r), max(before, step.r))
        css = "total" if not place else "less" if step.change < 0 else "more"
        rows.append(_term(step.name, step.clause, step.inputs, f"{step.change:+.1f}" if place else "", low, high, css))
    rows.append(_term("R", "7.1", f"MOS {terms.mos:.2f}", f"{terms.r_factor:.1f}", 0.0, terms.r_factor, "total"))
    return f'<table class="bars"><tr><th>term</th><th></th><th>R</th><th>G.107, inputs</th></tr>{"".join(rows)}</table>'


def _term(name: str, clause: str, inputs: str, said: str, low: float, high: float, css: str) -> str:
    begin, wide = max(0.0, low) / HIGHEST_R * 100, max(0.3, (high - max(0.0, low)) / HIGHEST_R * 100)
    bar = _bar(css, begin, wide)
    shown = said.replace("-", "−") or f"{high:.1f}"
    about = f"{clause}{', ' if inputs else ''}{inputs}"
    return f"<tr><th>{text(name)}</th><td>{bar}</td><td>{shown}</td><td>{text(about)}</td></tr>"


def _bar(css: str, begin: float, wide: float) -> str:
    rect = f'<rect class="{css}" x="{begin:.2f}%" width="{wide:.2f}%" height="12"/>'
    return f'<svg height="12" width="100%" aria-hidden="true">{rect}</svg>'
