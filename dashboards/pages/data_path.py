"""The data path: what came in, what was stored, what was lost on the way and why?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from dash import Input, Output, dcc, html
from dash.development.base_component import Component

from analytics.feeds import FeedState
from analytics.health import read_health
from analytics.questions.path import (
    MOST_ROWS,
    Freshness,
    ImportList,
    ImportRow,
    PathHealth,
    PathProcess,
    PathStep,
    imports,
    path_health,
)
from api.web.asked import present
from api.web.rights import Right
from collector.transport.agents import AgentSeen, read_agents
from dashboards.figures.data_path import Flow, flows
from dashboards.pages import Asker, Callbacks, Page, View
from dashboards.parts import as_of, as_table, block, empty, failed, mark, missing, table

MOST_IMPORTS: Final = 20
AGAIN_MS: Final = 10_000
NS: Final = 1_000_000_000


def layout(view: View) -> Component:
    """Return the page as it is now; it is renewed by itself."""
    made: Component = html.Div(
        [dcc.Interval(id="path-again", interval=AGAIN_MS), html.Div(_now(view), id="path-now")], className="page"
    )
    return made


def register(callbacks: Callbacks) -> None:
    """Show what is new."""

    @callbacks.callback(Output("path-now", "children"), Input("path-again", "n_intervals"), prevent_initial_call=True)
    def again(asker: Asker, _count: int | None) -> Any:
        return _now(asker)


def _now(view: Asker) -> list[Component]:
    """Return the steps, processes, agents, feeds, tables and imports."""
    now = present(view.here)
    found = path_health(view.here.lake, now)
    agents = read_agents(view.here.store)
    local = ZoneInfo(view.here.estate().settings.timezone)
    names = {site.site: site.name for site in view.here.estate().sites}
    troubles = [failed(problem) for problem in found.problems]
    if not found.processes:
        nobody = empty("No process has said anything in this store yet.", "callgauge collect -i eth0 --store DIR")
        steps: list[Component] = [nobody]
    else:
        steps = _steps(found.steps)
    feeds = _feeds(read_health(view.here.lake.root)[0])
    listed = imports(view.here.lake, now - timedelta(days=31), now, limit=MOST_ROWS)
    head = [html.H1(sentence(found), className="answer"), as_of(now, view.here.estate().settings.timezone)]
    return [
        html.Div(head, className="answer-line"),
        *troubles,
        block("From the wire to the store, all processes since they began", *steps),
        block("Processes", *_processes(found.processes, local)),
        block("Agents", _agents(agents, names, local, now)),
        block("Feeds of call records", _feed_table(feeds, local)),
        block("How new the tables are", _tables(found.tables, now, local)),
        block("Files read in, last 31 days", _imports(listed, local)),
    ]


def sentence(found: PathHealth) -> str:
    """Return whether the path holds, and what it lost."""
    silent = [one.name for one in found.processes if one.state == "silent"]
    problems = [problem for one in found.processes if one.state == "running" for problem in one.problems]
    lost = [(sum(step.lost.values()), step) for step in found.steps if sum(step.lost.values())]
    parts = []
    if silent:
        parts.append(f"{', '.join(silent)} should have been heard of and was not")
    if problems:
        parts.append(problems[0] + (f" and {len(problems) - 1} more" if len(problems) > 1 else ""))
    if lost:
        most, step = max(lost, key=lambda one: one[0] / max(1, one[1].came))
        share = 100 * most / max(1, step.came)
        said = f"{share:.2f}" if share >= 0.005 else "<0.01"
        parts.append(f"{most:,} {step.unit} ({said} %) were lost where they are to be {step.step}")
    if not found.processes:
        return "No process runs."
    running = sum(one.state == "running" for one in found.processes)
    count = f"{running} process{'es' if running != 1 else ''} run{'s' if running == 1 else ''}"
    return f"{count}; {'; '.join(parts)}." if parts else f"{count}; nothing was lost on the way."


def _steps(steps: Sequence[PathStep]) -> list[Component]:
    shown = flows(steps)
    rows = [
        (one.step, one.unit, f"{one.came:,}", f"{one.passed:,}", f"{one.waiting:,}",
         f"{sum(one.lost.values()):,}", f"{sum(one.aside.values()):,}",
         _reasons(one.lost), _reasons(one.aside))
        for one in steps
    ]  # fmt: skip
    heads = ("Step", "Of", "Came", "Passed", "Waiting", "Lost", "Aside", "Lost by", "Aside by")
    key = "grey: passed on · hatched: kept out, no loss · vermilion: lost · amber: waiting"
    return [
        html.P(key, className="quiet"),
        html.Div([_flow(one) for one in shown], className="steps"),
        as_table(heads, rows),
    ]


def _flow(one: Flow) -> Component:
    parts = [
        html.Span(className=name, style={"width": f"{share:.3f}%"}, title=f"{name} {share:.2f} %")
        for name, share in (("passed", one.passed), ("waiting", one.waiting), ("lost", one.lost), ("aside", one.aside))
        if share > 0
    ]
    reasons: list[Component | str] = []
    if one.lost_by:
        reasons.append(html.Span(f"lost: {one.lost_by}", className="lost-words"))
    if one.aside_by:
        reasons.append(f"{' · ' if reasons else ''}aside: {one.aside_by}")
    return html.Div(
        [
            html.Div(one.step, className="name", title=one.meaning),
            html.Div(parts, className="flow", role="img", title=one.said),
            html.Div(one.counts, className="counts"),
            *([html.Div(reasons, className="reasons")] if reasons else []),
        ],
        className="step",
    )


def _reasons(of: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in of.items() if count)


def _processes(found: Sequence[PathProcess], local: ZoneInfo) -> list[Component]:
    if not found:
        return [empty("None has said anything yet.", "callgauge health --store DIR")]
    rows = [
        (
            f"{one.command} {one.name}".strip(),
            one.host,
            mark("normal" if one.state != "silent" else "degraded", one.state),
            f"{one.began.astimezone(local):%d %b %H:%M}",
            f"{one.heard.astimezone(local):%d %b %H:%M:%S}",
            f"{one.gauges.get('calls_now', 0):,.0f}" if "calls_now" in one.gauges else missing("it counts no calls"),
            "; ".join(one.problems) or "none",
            _reasons(one.notes),
        )
        for one in found
    ]
    heads = ("Process", "Host", "State", "Began", "Heard", "Calls now", "Problems", "Also counted")
    return [table(heads, rows, css="words")]


def _agents(agents: Sequence[AgentSeen], names: Mapping[str, str], local: ZoneInfo, now: datetime) -> Component:
    if not agents:
        return empty("No agent at another site sends here.", "callgauge collect --agent … (docs/agents.md)")
    rows = [
        (
            f"{one.agent or one.identity[:8]} at {names.get(one.site, one.site)}",
            mark("normal" if one.online else "degraded", "online" if one.online else "offline"),
            _at(one.last_seen, local),
            missing("it sent nothing yet")
            if one.skew_ms is None
            else html.Span(
                f"{one.skew_ms:+,.0f}", className="state-degraded" if one.clock_wrong else "", title="ahead of ours"
            ),
            f"{one.waiting:,}",
            f"{one.messages:,}",
            f"{one.rows:,}",
            f"{one.lost:,}",
            f"{one.spool_dropped + one.queue_dropped:,}",
            f"{one.refused:,}",
            f"{one.aside:,}",
        )
        for one in agents
    ]
    heads = ("Agent", "State", "Last seen", "Clock ms", "In its spool", "Messages", "Rows", "Lost", "Dropped there",
             "Refused", "Aside")  # fmt: skip
    return table(heads, rows)


def _feeds(processes: Sequence[object]) -> list[FeedState]:
    found: dict[tuple[str, str, str], FeedState] = {}
    for process in processes:
        for feed in getattr(process, "feeds", ()):
            found[feed.kind, feed.source, feed.name] = feed
    return [found[key] for key in sorted(found)]


def _feed_table(feeds: Sequence[FeedState], local: ZoneInfo) -> Component:
    if not feeds:
        return empty("No process watches a feed of records.", "callgauge collect --cdr DIR --store DIR")
    rows = [
        (
            f"{one.kind} {one.source} {one.name}".strip(),
            mark("bad" if one.is_silent else "normal", one.why.replace("_", " ")),
            _at(one.last, local),
            f"{one.silent_s / 3_600:,.1f}",
            missing("too few weeks say so") if one.expected is None else f"{one.expected:,.0f}",
        )
        for one in feeds
    ]
    return table(("Feed", "State", "Newest record", "Silent for h", "Records usual since"), rows)


def _tables(found: Sequence[Freshness], now: datetime, local: ZoneInfo) -> Component:
    rows = [
        (
            one.table.replace("_", " "),
            f"{one.rows:,}",
            missing("the table is empty") if one.newest is None else f"{one.newest.astimezone(local):%d %b %H:%M:%S}",
            missing("the table is empty") if one.newest is None else _ago(now - one.newest),
        )
        for one in found
    ]
    return table(("Table", "Rows", "Newest", "Ago"), rows)


def newest_first(rows: Sequence[ImportRow]) -> list[ImportRow]:
    """Return files in the order in which they were read, the newest first.

    Of those read in one minute, as a folder is, what they hold decides: the newest records first.
    """
    old = datetime(1970, 1, 1, tzinfo=UTC)
    minute = {"second": 0, "microsecond": 0}
    return sorted(rows, key=lambda one: (one.imported.replace(**minute), one.last or old, one.name), reverse=True)  # type: ignore[arg-type]


def _imports(listed: ImportList, local: ZoneInfo) -> Component:
    if not listed.rows:
        return empty("No file was read in.", "callgauge cdr import FOLDER --store DIR --estate DIR")
    shown = [
        (one.name, one.source, one.record, f"{one.imported.astimezone(local):%d %b %H:%M}",
         missing("no record has a time") if one.last is None else f"{one.last.astimezone(local):%d %b %Y %H:%M}",
         f"{one.rows:,}",
         f"{one.kept:,}", html.Span(f"{one.rejected:,}", className="state-degraded" if one.rejected else ""))
        for one in newest_first(listed.rows)[:MOST_IMPORTS]
    ]  # fmt: skip
    heads = ("File", "From", "Of", "Read", "Newest record", "Records", "Kept", "Rejected")
    made = table(heads, shown, "Newest first", css="pairs")
    more = len(listed.rows) - len(shown)
    if more <= 0:
        return made
    count = f"and {more:,} more" if listed.cursor is None else f"and more than {more:,} others"
    asked = urlencode({"since": listed.since.isoformat(), "until": listed.until.isoformat(), "format": "csv"})
    all_of_them = html.A("all of them as CSV", href=f"/api/v1/imports?{asked}", download="")
    return html.Div([made, html.P([f"{count}: ", all_of_them], className="quiet")])


def _at(nanoseconds: int, local: ZoneInfo) -> Component | str:
    if not nanoseconds:
        return missing("never heard")
    return f"{datetime.fromtimestamp(nanoseconds / NS, local):%d %b %H:%M:%S}"


def _ago(gone: timedelta) -> str:
    seconds = max(0.0, gone.total_seconds())
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


PAGE = Page("/data-path", "Data path", Right.AGGREGATES, layout, register, place=50)
