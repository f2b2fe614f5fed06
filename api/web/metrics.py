"""What the server counts of itself, and what the processes of the store say, as Prometheus reads it: `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from analytics.questions.sites import SiteState
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
    ("callgauge_audit_entries", "gauge", (), "Lines of the audit log"),
)
"""Name, kind, labels and meaning of each metric."""


class _Served(Collector):
    def __init__(self, here: Context, limits: Limits) -> None:
        self._here = here
        self._limits = limits

    def collect(self) -> Iterator[Metric]:
        for name, kind, labels, doc in SERVED:
            family: Any = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, doc, labels=labels)
            for values, number in self._samples(name):
                family.add_metric(values, number)
            yield family

    def _samples(self, name: str) -> list[tuple[tuple[str, ...], float]]:
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
            case _:
                return [((), self._here.audit.head()[0])]


@router.get("/metrics", summary="Metrics for Prometheus", include_in_schema=False)
def metrics(request: Request, here: Here, _caller: Annotated[Caller, allowed(Right.AGGREGATES)]) -> Response:
    """Return what is counted, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Served(here, request.app.state.limits))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
