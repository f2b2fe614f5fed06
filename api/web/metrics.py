"""What the server counts of itself, and what the processes of the store say, as Prometheus reads it: `/metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any, Final

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from analytics.alerts.facts import NS
from analytics.alerts.rules import DEFAULTS, RuleError
from analytics.questions.sites import SiteState
from api.alerts.book import FILE, FOLDER, Book
from api.alerts.keeping import read_states
from api.alerts.outbox import backlog, delivery_counts, endpoints
from api.alerts.running import read_watch
from api.web.access import Caller, Right, allowed
from api.web.context import Context, Here
from api.web.limits import Limits

router = APIRouter(tags=["metrics"])
SERVED: Final = (
    ("callgauge_http_requests_total", "counter", ("method", "route", "status"), "Requests answered"),
    ("callgauge_http_seconds_total", "counter", ("method", "route"), "Time they took [s]"),
    ("callgauge_live_clients", "gauge", (), "Live connections now"),
    ("callgauge_live_told_total", "counter", (), "News handed to live connections"),
    ("callgauge_live_missed_total", "counter", (), "News that live connections were too slow for"),
    ("callgauge_sites", "gauge", ("state",), "Sites by state, as the wallboard shows them"),
    ("callgauge_calls_now", "gauge", (), "Calls up now over all sites"),
    (
        "callgauge_alerts_firing",
        "gauge",
        ("rule", "severity"),
        "Alerts that hold now, 0 where none does",
    ),
    ("callgauge_alert_attempts_total", "counter", ("outcome",), "Attempts to deliver a message of alerts, ever"),
    ("callgauge_alert_messages_dead_total", "counter", (), "Messages given up or dropped: never delivered"),
    ("callgauge_alert_outbox", "gauge", ("endpoint",), "Messages that wait for an endpoint"),
    ("callgauge_alert_outbox_oldest_seconds", "gauge", ("endpoint",), "How long the oldest of them has waited [s]"),
    ("callgauge_alert_endpoints_disabled", "gauge", (), "Endpoints that get nothing until they are enabled"),
    ("callgauge_audit_entries", "gauge", (), "Lines of the audit log"),
)
"""Name, kind, labels and meaning of each metric."""


Samples = list[tuple[tuple[str, ...], float]]


class _Served(Collector):
    def __init__(self, here: Context, limits: Limits) -> None:
        self._here = here
        self._limits = limits

    def collect(self) -> Iterator[Metric]:
        alerts = alert_samples(self._here)
        for name, kind, labels, doc in SERVED:
            family: Any = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, doc, labels=labels)
            for values, number in alerts[name] if name in alerts else self._samples(name):
                family.add_metric(values, number)
            yield family

    def _samples(self, name: str) -> Samples:
        hub, limits = self._here.hub, self._limits
        now = hub.news.now
        match name:
            case "callgauge_http_requests_total":
                return [((method, route, str(status)), n) for (method, route, status), n in limits.requests.items()]
            case "callgauge_http_seconds_total":
                return list(limits.seconds.items())
            case "callgauge_live_clients":
                return [((), hub.watching)]
            case "callgauge_live_told_total":
                return [((), hub.told)]
            case "callgauge_live_missed_total":
                return [((), hub.missed)]
            case "callgauge_sites":
                found = [] if now is None else [one.state for one in now.sites]
                return [((state.value,), found.count(state)) for state in SiteState]
            case "callgauge_calls_now":
                counted = [] if now is None else [one.calls_now for one in now.sites if one.calls_now is not None]
                return [((), sum(counted))] if counted else []
            case "callgauge_audit_entries":
                return [((), self._here.audit.head()[0])]
            case _:
                return []  # of alerts, of which this store has no book yet


def alert_samples(here: Context) -> dict[str, Samples]:
    """Return what the book of alerts says, by metric; nothing where there is none yet."""
    if not (here.store / FOLDER / FILE).exists():
        return {}
    try:
        rules = read_watch(here.settings.alerts).rules
    except RuleError:
        rules = DEFAULTS  # what is wrong in the file of rules was said at the start
    severities = {rule.name: rule.severity for rule in rules}
    firing = Counter({rule.name: 0 for rule in rules if rule.enabled})
    with closing(Book.open(here.store)) as book:
        firing.update(one.rule for one in read_states(book) if one.state.active)
        found = endpoints(book)
        backlogs = [(one.name, backlog(book, one.name)) for one in found]
        counts = delivery_counts(book)
    now = here.clock()
    return {
        "callgauge_alerts_firing": [((name, severities.get(name, "unknown")), n) for name, n in firing.items()],
        "callgauge_alert_attempts_total": [((outcome,), n) for outcome, n in counts.attempts.items()],
        "callgauge_alert_messages_dead_total": [((), counts.dead)],
        "callgauge_alert_outbox": [((name,), one.waiting) for name, one in backlogs],
        "callgauge_alert_outbox_oldest_seconds": [
            ((name,), 0.0 if one.oldest is None else max(0, now - one.oldest) / NS) for name, one in backlogs
        ],
        "callgauge_alert_endpoints_disabled": [((), sum(one.disabled_at is not None for one in found))],
    }


@router.get("/metrics", summary="Metrics for Prometheus", include_in_schema=False)
def metrics(request: Request, here: Here, _caller: Annotated[Caller, allowed(Right.AGGREGATES)]) -> Response:
    """Return what is counted, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Served(here, request.app.state.limits))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
