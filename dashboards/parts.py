"""Parts that pages share: marks of states, values with units, and what stands where nothing can be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from dash import html
from dash.development.base_component import Component

from dashboards.glossary import GLOSSARY

DASH: Final = "—"
ICONS: Final = frozenset({"bell", "eye"})
"""Shapes that the style sheet draws: their signs are in no typeface that is everywhere."""
EVIDENCE: Final[Mapping[str, str]] = MappingProxyType({"measured": "●", "reported": "◐", "modelled": "○"})


def aria(**names: str) -> dict[str, Any]:
    """Return attributes for readers of screens: `aria(label="…")` is `aria-label`."""
    return {f"aria-{name}": said for name, said in names.items()}


class Mark(NamedTuple):
    """How a state is shown: a word, a shape, and a colour by the class `state-KEY` of the style sheet."""

    key: str
    shape: str
    word: str


MARKS: Final = MappingProxyType(
    {
        one.key: one
        for one in (
            Mark("normal", "", "normal"),
            Mark("degraded", "▲", "degraded"),
            Mark("bad", "■", "bad"),
            Mark("few", "◌", "few calls"),
            Mark("no_data", "▨", "no data"),
            Mark("capture", "eye", "capture unhealthy"),
            Mark("silenced", "bell", "silenced"),
        )
    }
)


def shape(of: str) -> Component:
    """Return a sign as it is drawn; the word beside it says the same."""
    drawn = of in ICONS
    made: Component = html.Span(
        "" if drawn else of, className=f"shape icon {of}" if drawn else "shape", **aria(hidden="true")
    )
    return made


def mark(state: str, word: str | None = None) -> Component:
    """Return the mark of a state: shape, word and colour together."""
    of = MARKS.get(state, Mark("no_data", "▨", state.replace("_", " ")))
    said = word or of.word
    return html.Span(
        [shape(of.shape), said],
        className=f"mark state-{of.key}",
        title=GLOSSARY.get(said, GLOSSARY.get(of.word, "")),
    )


def term(word: str, shown: str | None = None) -> Component:
    """Return a word of the field with its definition on hover and for screen readers."""
    return html.Abbr(shown or word, title=GLOSSARY[word], className="term", tabIndex=0)


def evidence(kind: str) -> Component:
    """Return the sign of how a figure was come by: measured, reported or modelled."""
    return html.Span(EVIDENCE[kind], className="evidence", title=f"{kind}: {GLOSSARY[kind]}", **aria(label=kind))


def missing(reason: str) -> Component:
    """Return the dash that stands for a value that is not there, with why; never a 0."""
    return html.Span(DASH, className="missing", title=reason, **aria(label=f"missing: {reason}"))


def as_of(at: datetime, zone: str) -> Component:
    """Return when what is shown was so; the page is hatched when this does not change for 30 s."""
    local = at.astimezone(ZoneInfo(zone))
    data: dict[str, Any] = {"data-as-of": f"{local:%H:%M:%S %Z}"}
    return html.Span(f"as of {local:%H:%M:%S %Z} · {zone}", className="as-of", **data)


def value(number: float | None, digits: int, reason: str = "nothing was measured") -> Component | str:
    """Return a number with its decimals, or the dash."""
    return missing(reason) if number is None else f"{number:,.{digits}f}"


def percent(number: float | None, reason: str = "no packet was expected") -> Component | str:
    """Return a loss [%] with two decimals; what is little and not nothing as `<0.01`."""
    if number is None:
        return missing(reason)
    return "<0.01" if 0 < number < 0.005 else f"{number:.2f}"


def page(sentence: Component | str, *below: Component) -> Component:
    """Return a page: its answer as a sentence first, then what it rests on."""
    return html.Div([html.H1(sentence, className="answer"), *below], className="page")


def block(title: str, *inside: Component | str, of: str | None = None) -> Component:
    """Return a part of a page under a heading; `of` is the evidence of all its figures."""
    heading: list[Component | str] = [title] if of is None else [title, " ", evidence(of)]
    return html.Section([html.H2(heading), *inside], className="block")


def empty(what: str, command: str = "") -> Component:
    """Return what stands where there is nothing yet: what would fill it, and the command that does."""
    inside: list[Component | str] = [html.P(what)]
    if command:
        inside.append(html.Code(command))
    return html.Div(inside, className="empty", role="status")


def failed(what: str, since: str = "", still: str = "") -> Component:
    """Return what stands where something does not work: what, since when, and what still holds."""
    inside: list[Component | str] = [html.Strong(what)]
    inside += [html.P(f"Since {since}.")] if since else []
    inside += [html.P(still)] if still else []
    return html.Div(inside, className="failed", role="alert")


def skeleton(rows: int = 6) -> Component:
    """Return the grey shape of a page that is on its way."""
    lines = [html.Div(className="bone") for _ in range(rows)]
    return html.Div(lines, className="skeleton", role="status", **aria(busy="true", label="loading"))


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Component | str]], caption: str = "", css: str = ""
) -> Component:
    """Return a plain table, as each figure has one beside it.

    All but the first column are right-aligned; those of a table with the class `words` are not.
    """
    head = html.Thead(html.Tr([html.Th(one, scope="col") for one in heads]))
    body = html.Tbody([html.Tr([html.Td(cell) for cell in row]) for row in rows])
    inside: list[Component] = [html.Caption(caption)] if caption else []
    return html.Div(
        html.Table([*inside, head, body], className=f"plain {css}".strip()), className="table-box", tabIndex=0
    )


def as_table(heads: Sequence[str], rows: Sequence[Sequence[Component | str]], css: str = "") -> Component:
    """Return the table of a figure, folded away under "show as table"."""
    return html.Details([html.Summary("Show as table"), table(heads, rows, css=css)], className="as-table")
