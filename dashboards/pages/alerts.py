"""Alerts: what holds now, by which numbers, since when, and who was told?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from dash import ALL, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component

from analytics.alerts.facts import NS, Alert, Matcher, Rule
from analytics.alerts.muting import Acknowledgement, Silence
from analytics.alerts.wording import link, summary
from analytics.questions.alerts import AlertChange, alert_history
from analytics.questions.asking import QuestionError
from api.alerts import keeping, outbox
from api.alerts.book import BookError
from api.alerts.keeping import Kept
from api.alerts.shown import rule_cells
from api.web.rights import Right
from api.web.routes.alerts import open_book, watch_of
from dashboards.figures.alerts import MOST_LINES, over_days, timeline
from dashboards.graphs import graph
from dashboards.pages import Asker, Callbacks, Page, View
from dashboards.parts import as_of, as_table, block, empty, failed, missing, page, shape, table
from dashboards.spans import choices, chosen, permanent

SPANS: Final = (("24h", "24 hours"), ("3d", "3 days"), ("7d", "7 days"), ("30d", "30 days"))
AGAIN_MS: Final = 10_000
SILENCES: Final = ((2, "2 h"), (24, "1 day"), (168, "7 days"))
MOST_CHANGES: Final = 200
MOST_MESSAGES: Final = 50
SHAPES: Final[Mapping[str, tuple[str, str]]] = {
    "critical": ("■", "state-bad"),
    "warning": ("▲", "state-degraded"),
    "info": ("●", "state-few"),
}
NEEDED: Final[Mapping[str, Right]] = {"calls": Right.CALLS, "streams": Right.CALLS, "savings": Right.MONEY}
"""What it takes to see the evidence that a link leads to."""


def layout(view: View) -> Component:
    """Return the alerts now, their last days, rules, silences and deliveries."""
    try:
        span = chosen(view, view.query, "3d")
    except QuestionError as error:
        return page("Alerts", choices("/alerts", view.query, "3d", SPANS), failed(str(error)))
    watch = watch_of(view.here)
    rules = {rule.name: rule for rule in watch.rules}
    changes = alert_history(view.here.lake, span.since, span.until, most=10_000)
    rows = [rule_cells(rule) for rule in watch.rules]
    heads = ("Rule", "Raises", "Clears", "Of at least", "Window", "For", "Keeps", "Severity")
    return html.Div(
        [
            dcc.Interval(id="alerts-again", interval=AGAIN_MS),
            *_first(view),
            block(
                f"When they held, {span.said}",
                choices("/alerts", view.query, "3d", SPANS),
                *_past(view, changes, span.since, span.until, rules),
                permanent("/alerts", view.query, span),
            ),
            html.Div(_silences(view), id="alerts-silences"),
            *([html.Div(_deliveries(view), id="alerts-deliveries")] if view.may(Right.ADMIN) else []),
            block("Rules", _folded(f"Show {len(rows)} rules", table(heads, rows))),
        ],
        className="page",
    )


def register(callbacks: Callbacks) -> None:
    """Show what is new by itself; take acknowledgements, silences and replays from those who may."""

    @callbacks.callback(
        Output("alerts-head", "children", allow_duplicate=True),
        Output("alerts-now", "children", allow_duplicate=True),
        Input("alerts-again", "n_intervals"),
        prevent_initial_call=True,
    )
    def again(asker: Asker, _count: int | None) -> Any:
        return _now(asker)

    @callbacks.callback(
        Output("alerts-head", "children", allow_duplicate=True),
        Output("alerts-now", "children", allow_duplicate=True),
        Output("alerts-silences", "children"),
        Input({"type": "alerts-do", "what": ALL, "of": ALL}, "n_clicks"),
        State("alerts-why", "value"),
        prevent_initial_call=True,
        right=Right.ACT,
    )
    def act(asker: Asker, clicks: Sequence[int | None], why: str | None) -> Any:
        asked = ctx.triggered_id
        if asked is None or not any(clicks):
            return no_update, no_update, no_update
        said = _act(asker, str(asked["what"]), str(asked["of"]), (why or "").strip()[:500])
        return *_now(asker, said), _silences(asker)

    @callbacks.callback(
        Output("alerts-deliveries", "children"),
        Input({"type": "alerts-replay", "of": ALL}, "n_clicks"),
        prevent_initial_call=True,
        right=Right.ADMIN,
    )
    def send_again(asker: Asker, clicks: Sequence[int | None]) -> Any:
        asked = ctx.triggered_id
        if asked is None or not any(clicks):
            return no_update
        key = str(asked["of"])
        with open_book(asker.here) as book:
            try:
                outbox.replay(book, key, asker.here.clock())
            except BookError as error:
                return _deliveries(asker, str(error))
        asker.note("webhook.replay", key)
        return _deliveries(asker)


def _first(view: View) -> list[Component]:
    """Return the sentence, the reason that goes with what people do, and the alerts.

    What somebody types stays there while the rest is renewed.
    """
    head, shown = _now(view)
    if view.may(Right.ACT):
        text = "Why? A silence takes a reason"
        reason = dcc.Input(id="alerts-why", placeholder=text, maxLength=500, className="why", debounce=False)
    else:
        reason = dcc.Input(id="alerts-why", type="hidden")
    return [html.Div(head, id="alerts-head"), html.Div(reason, className="reason"), html.Div(shown, id="alerts-now")]


def _act(asker: Asker, what: str, of: str, why: str) -> str:
    """Acknowledge, silence or end a silence; return what could not be done, or nothing."""
    now, who = asker.here.clock(), asker.caller.name
    with open_book(asker.here) as book:
        try:
            if what == "acknowledge":
                keeping.acknowledge(book, of, now, who, why)
                asker.note("alert.acknowledge", of)
            elif what == "end":
                keeping.end_silence(book, int(of), now)
                asker.note("silence.end", of)
            elif not why:
                return "Say why in the field above the alerts, then silence: others will ask."
            else:
                kept = next(
                    (one for alert, one in keeping.alerts_now(book, watch_of(asker.here).rules)
                     if alert.fingerprint == of), None,
                )  # fmt: skip
                if kept is None:
                    return "This alert no longer holds."
                labels = tuple(sorted((name, (value,)) for name, value in kept.labels))
                matcher = Matcher((("alertname", (kept.rule,)), *labels))
                made = keeping.add_silence(book, matcher, now, now + int(what) * 3_600 * NS, who, why)
                asker.note("silence.add", str(made.key))
        except (BookError, ValueError) as error:
            return f"{error}.".capitalize()
    return ""


def _now(asker: Asker, said: str = "") -> tuple[list[Component], list[Component]]:
    """Return the sentence, and the alerts that hold, the worst first."""
    watch = watch_of(asker.here)
    with open_book(asker.here) as book:
        found = keeping.alerts_now(book, watch.rules)
        seen = keeping.read_acknowledgements(book)
        looked = keeping.read_note(book, "looked_at")
    zone = asker.here.estate().settings.timezone
    names = {site.site: site.name for site in asker.here.estate().sites}
    active = [(alert, kept) for alert, kept in found if kept.state.active]
    pending = [(alert, kept) for alert, kept in found if not kept.state.active]
    of_time = [] if looked is None else [as_of(_local(looked, zone), zone)]
    line = html.Div([html.H1(_sentence(active), className="answer"), *of_time], className="answer-line")
    head = [line, *([failed(said)] if said else [])]
    if looked is None:
        why = "Rules were never looked at in this store. The server watches them while it runs, or the command does:"
        return head, [empty(why, "callgauge alerts run --store DIR")]
    shown = [_alert(asker, alert, kept, seen.get(alert.fingerprint), zone, names) for alert, kept in active]
    cards = [html.Ul(shown, className="alerts")] if shown else []
    waiting = [
        (summary(_named(alert, names), alert.sample), f"{_local(kept.state.since, zone):%d %b %H:%M}", alert.reason)
        for alert, kept in pending
    ]
    of_pending = f"{len(waiting)} more may become alerts"
    rest = [_folded(of_pending, table(("What", "Since", "Measured"), waiting, css="words"))] if waiting else []
    return head, [*cards, *rest]


def _sentence(active: Sequence[tuple[Alert, Kept]]) -> str:
    if not active:
        return "No alert holds now."
    by = {severity: sum(alert.rule.severity == severity for alert, _ in active) for severity in SHAPES}
    parts = [f"{count} {severity}" for severity, count in by.items() if count]
    muted = sum(bool(kept.muted) for _, kept in active)
    return (
        f"{len(active)} alert{'s hold' if len(active) != 1 else ' holds'} now: {', '.join(parts)}"
        + (f"; {muted} not told" if muted else "")
        + "."
    )


def _named(alert: Alert, names: Mapping[str, str]) -> Rule:
    """Return a rule whose line names sites as people do."""
    text = alert.rule.summary
    for label, value in alert.sample.labels:
        if value in names:
            text = text.replace(f"{{{label}}}", names[value])
    return replace(alert.rule, summary=text)


def _alert(
    asker: Asker,
    alert: Alert,
    kept: Kept,
    seen: Acknowledgement | None,
    zone: str,
    names: Mapping[str, str],
) -> Component:
    sign, css = SHAPES[alert.rule.severity]
    state = kept.state
    since = _local(state.fired_at or state.since, zone)
    acknowledged = seen if seen is not None and seen.fired_at == state.fired_at else None
    about: list[Component | str] = [f"since {since:%d %b %H:%M}"]
    if state.phase.value != "firing":
        about.append(f" · {state.phase.value.replace('_', ' ')}")
    if kept.muted:
        about.append(html.Span([" · ", shape("bell"), f" not told: {kept.muted}"]))
    if acknowledged is not None:
        why = f": {acknowledged.comment}" if acknowledged.comment else ""
        about.append(f" · seen by {acknowledged.author}{why}")
    target = link(alert.rule, alert.sample)
    first = target.strip("/").split("?")[0].split("/")[0]
    may_see = first not in NEEDED or asker.may(NEEDED[first])
    ways: list[Component] = [dcc.Link("evidence", href=target)] if may_see else []
    site = dict(alert.sample.labels).get("site")
    if site is not None and site in names:
        ways.append(dcc.Link("site", href=f"/site/{quote(site, safe='')}"))
    if asker.may(Right.ACT):
        ways += [] if acknowledged is not None else [_button("Acknowledge", "acknowledge", alert.fingerprint)]
        ways += [_button(f"Silence {said}", str(hours), alert.fingerprint) for hours, said in SILENCES]
    return html.Li(
        [
            html.Span(
                [shape(sign), alert.rule.severity],
                className=f"mark {css}",
            ),
            html.Strong(summary(_named(alert, names), alert.sample), className="what"),
            html.Span(about, className="quiet since"),
            html.Div(_described(alert, zone), className="numbers"),
            html.Div(ways, className="ways"),
        ],
        key=alert.fingerprint,
    )


def _described(alert: Alert, zone: str) -> str:
    """Return what was measured, and over which span by the estate's clock."""
    since, until = _local(alert.sample.since, zone), _local(alert.sample.until, zone)
    end = f"{until:%H:%M:%S %Z}" if since.date() == until.date() else f"{until:%d %b %H:%M:%S %Z}"
    return f"{alert.reason}. Measured from {since:%d %b %H:%M:%S} to {end}."


def _button(said: str, what: str, of: str) -> Component:
    made: Component = html.Button(
        said, id={"type": "alerts-do", "what": what, "of": of}, className="plain-button", n_clicks=0
    )
    return made


def _past(
    view: View, changes: Sequence[AlertChange], since: datetime, until: datetime, rules: Mapping[str, Rule]
) -> list[Component]:
    zone = view.here.estate().settings.timezone
    local = ZoneInfo(zone)
    names = {site.site: site.name for site in view.here.estate().sites}
    severities = {name: rule.severity for name, rule in rules.items()}
    shown = timeline(changes, since, min(until, datetime.now(UTC) + timedelta(seconds=1)), severities, names, zone)
    if not changes:
        return [empty("No alert changed in this span.")]
    rows = [
        (
            f"{one.at.astimezone(local):%d %b %H:%M:%S}",
            one.rule,
            missing("not of one site") if one.site is None else names.get(one.site, one.site),
            one.state.replace("_", " "),
            one.reason,
        )
        for one in changes[:MOST_CHANGES]
    ]
    listed = as_table(("At", "Rule", "Site", "State", "Why"), rows, css="words")
    more = len(changes) - MOST_CHANGES
    notes = [html.P(f"The table has the newest {MOST_CHANGES} of {len(changes):,} changes.", className="quiet")]
    left = f"{shown.left_out} more alerts held; drawn are the {MOST_LINES} that held last."
    drawn = (
        [graph(over_days(shown), 620, id="alerts-timeline")] if shown.lines else [empty("No alert held in this span.")]
    )
    return [
        *drawn,
        *([html.P(left, className="quiet")] if shown.left_out else []),
        listed,
        *(notes if more > 0 else []),
    ]


def _silences(asker: Asker) -> Component:
    zone = asker.here.estate().settings.timezone
    with open_book(asker.here) as book:
        found = keeping.read_silences(book, asker.here.clock())
    if not found:
        said = "Nothing is silenced. A silenced alert is shown here all the same, but nobody is told of it."
        return block("Silences", html.P(said, className="quiet"))
    heads = ("What", "From", "Until", "By", "Why", *(("",) if asker.may(Right.ACT) else ()))
    return block("Silences", table(heads, [_silence(asker, one, zone) for one in found], css="words"))


def _silence(asker: Asker, one: Silence, zone: str) -> tuple[Component | str, ...]:
    labels = ", ".join(f"{name} {' or '.join(values)}" for name, values in one.matcher.labels)
    cells: tuple[Component | str, ...] = (
        labels,
        f"{_local(one.since, zone):%d %b %H:%M}",
        f"{_local(one.until, zone):%d %b %H:%M}",
        one.author,
        one.comment,
    )
    return (*cells, _button("End", "end", str(one.key))) if asker.may(Right.ACT) else cells


def _deliveries(asker: Asker, said: str = "") -> Component:
    """Return where alerts go, and every attempt to deliver them."""
    zone = asker.here.estate().settings.timezone
    with open_book(asker.here) as book:
        to = outbox.endpoints(book)
        waits = {one.name: outbox.backlog(book, one.name) for one in to}
        found = [(one, outbox.attempts(book, one.id)) for one in outbox.messages(book, None, MOST_MESSAGES)]
    if not to:
        return block(
            "Deliveries", empty("Alerts are sent nowhere.", "callgauge webhook add NAME https://… --store DIR")
        )
    places = [
        (one.name, one.shown_url, one.shape, f"{waits[one.name].waiting:,}",
         f"off: {one.disabled_why}" if one.disabled_at is not None else "on")
        for one in to
    ]  # fmt: skip
    rows = [
        (
            f"{_local(one.made, zone):%d %b %H:%M:%S}",
            one.endpoint,
            ", ".join(value for _, value in one.labels) or "test",
            one.event,
            one.state.replace("_", " "),
            html.Ul([html.Li(_attempt(each, zone)) for each in tried], className="attempts"),
            html.Button("Send again", id={"type": "alerts-replay", "of": one.id}, className="plain-button", n_clicks=0),
        )
        for one, tried in found
    ]
    heads = ("Made", "To", "About", "Why", "State", "Attempts", "")
    return block(
        "Deliveries",
        *([failed(said)] if said else []),
        table(("To", "Address", "Shape", "Waiting", "State"), places, css="words"),
        table(heads, rows, css="words") if rows else html.P("Nothing was sent yet.", className="quiet"),
    )


def _attempt(one: outbox.Attempt, zone: str) -> str:
    status = "no answer" if one.status is None else f"status {one.status}"
    note = f": {one.note}" if one.note else ""
    return f"{_local(one.at, zone):%H:%M:%S} {one.outcome}, {status}, {one.took_ms} ms{note}"


def _folded(said: str, inside: Component) -> Component:
    return html.Details([html.Summary(said), inside], className="as-table")


def _local(at: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at / NS, UTC).astimezone(ZoneInfo(zone))


PAGE = Page("/alerts", "Alerts", Right.AGGREGATES, layout, register, place=40)
