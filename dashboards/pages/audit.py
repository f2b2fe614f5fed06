"""The audit log: who looked at people's data, who changed what, and is the log whole?"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from dash import Input, Output, dcc, html
from dash.development.base_component import Component

from api.web.audit import AuditError, Entry
from api.web.rights import Right
from dashboards.pages import Asker, Callbacks, Page, View
from dashboards.parts import empty, failed, missing, page, table

ROWS: Final = 100
LONGEST: Final = 80
MOST_MORE: Final = 160


def layout(view: View) -> Component:
    """Return the newest lines that fit the URL's `who`, `what` and `numbers`, and the way to older ones."""
    who, what = view.query.get("who", "")[:LONGEST], view.query.get("what", "")[:LONGEST]
    numbers = view.query.get("numbers") == "yes"
    before = view.query.get("before", "")
    count, head = view.here.audit.head()
    fitting = (
        one
        for one in view.here.audit.backwards(int(before) if before.isdecimal() and len(before) < 16 else None)
        if (not who or one.who == who) and (not what or one.what == what) and (not numbers or one.numbers)
    )
    found = list(islice(fitting, ROWS + 1))
    local = ZoneInfo(view.here.estate().settings.timezone)
    named = {"who": who, "what": what, **({"numbers": "yes"} if numbers else {})}
    older: list[Component] = []
    if len(found) > ROWS:
        query = urlencode({**named, "before": found[ROWS - 1].number})
        older = [html.A("Older lines", href=f"/audit?{query}", className="plain-button")]
    rows = [_line(one, local, named) for one in found[:ROWS]]
    heads = ("No.", "At", "Who", "Role", "What", "Of", "Numbers", "From", "More")
    return page(
        f"{count:,} lines are in the log; the newest has the digest {head[:12]}…",
        html.P(
            ["Note the whole digest elsewhere, and the log cannot be shortened unseen: ", html.Code(head)],
            className="quiet breaks",
        ),
        _form(who, what, numbers),
        html.Div(
            [
                html.Button("Verify the chain", id="audit-verify", className="plain-button", n_clicks=0),
                html.Div(id="audit-verified", role="status"),
            ],
            className="controls",
        ),
        table(heads, rows, css="words") if rows else empty("No line fits."),
        html.Div(older, className="controls"),
    )


def register(callbacks: Callbacks) -> None:
    """Go through the whole log when asked to."""

    @callbacks.callback(
        Output("audit-verified", "children"), Input("audit-verify", "n_clicks"), prevent_initial_call=True
    )
    def verify(asker: Asker, clicks: int | None) -> Any:
        if not clicks:
            return None
        try:
            count = asker.here.audit.verify()
        except AuditError as error:
            asker.note("audit.verify", str(error))
            return failed("The log is not whole.", still=str(error))
        asker.note("audit.verify", "whole")
        return html.Span(f"Whole: each of {count:,} lines holds the digest of the line before.")


def _form(who: str, what: str, numbers: bool) -> Component:
    chosen = [("", "all"), ("yes", "shown unmasked")]
    options = [html.Option(said, value=value, selected=(value == "yes") == numbers) for value, said in chosen]
    return html.Form(
        [
            html.Label([html.Span("Who", className="quiet"), dcc.Input(name="who", value=who, placeholder="user:amy")]),
            html.Label(
                [html.Span("What", className="quiet"), dcc.Input(name="what", value=what, placeholder="call.view")]
            ),
            html.Label(
                [html.Span("Numbers", className="quiet"), html.Select(options, name="numbers", className="choice")]
            ),
            html.Button("Show", type="submit", className="plain-button"),
        ],
        method="GET",
        action="/audit",
        className="filters even",
    )


def _line(one: Entry, local: ZoneInfo, named: dict[str, str]) -> tuple[Component | str, ...]:
    def only(name: str, value: str) -> Component:
        return html.A(value, href=f"/audit?{urlencode({**named, name: value})}", title=f"only lines with this {name}")

    more = ", ".join(f"{name} {value}" for name, value in one.more.items())
    return (
        f"{one.number:,}",
        f"{datetime.fromtimestamp(one.at / 1e9, UTC).astimezone(local):%d %b %Y %H:%M:%S}",
        only("who", one.who),
        one.role,
        only("what", one.what),
        html.Span(one.of, className="breaks"),
        "unmasked" if one.numbers else missing("no number was shown unmasked"),
        one.address,
        html.Span(more[:MOST_MORE] + ("…" if len(more) > MOST_MORE else ""), className="breaks"),
    )


PAGE = Page("/audit", "Audit log", Right.AUDIT, layout, register, place=80)
