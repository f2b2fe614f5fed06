"""What Callgauge needs of an InfluxDB server, made where it is missing and left alone where it is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from analytics.store.influx import InfluxError, InfluxSettings, Kept, check_server, opened
from analytics.store.influx_flux import hour_task
from analytics.store.influx_points import HOURS

if TYPE_CHECKING:
    from influxdb_client.client.influxdb_client import InfluxDBClient

DAY_SECONDS = 86_400


class Done(NamedTuple):
    """What became of one thing."""

    kind: str
    """bucket or task."""
    name: str
    change: str
    """made, changed or kept."""
    states: str
    """What it is now, in words."""


def set_up(settings: InfluxSettings) -> list[Done]:
    """Make or correct buckets and tasks; done twice it changes nothing. InfluxError where the server refuses."""
    check_server(settings)
    with opened(settings) as client:
        organisations_api: Any = client.organizations_api()
        organisations = organisations_api.find_organizations(org=settings.org)
        if not organisations:
            raise InfluxError(f"InfluxDB at {settings.url} has no organisation {settings.org}")
        organisation = organisations[0].id
        days = {Kept.FINE: settings.keep_days, Kept.LONG: settings.long_keep_days}
        done = [_bucket(client, organisation, settings.name(kept), days[kept]) for kept in Kept]
        return done + [_task(client, organisation, fine, settings) for fine in HOURS]


def _bucket(client: InfluxDBClient, organisation: str, name: str, days: int) -> Done:
    from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules

    states = f"kept {days} days" if days else "kept for ever"
    seconds = days * DAY_SECONDS
    api: Any = client.buckets_api()
    rules = [BucketRetentionRules(type="expire", every_seconds=seconds)]  # type: ignore[no-untyped-call]
    found = api.find_bucket_by_name(name)
    if found is None:
        api.create_bucket(bucket_name=name, retention_rules=rules, org=organisation)
        return Done("bucket", name, "made", states)
    if [rule.every_seconds for rule in found.retention_rules] in ([seconds], [] if not seconds else None):
        return Done("bucket", name, "kept", states)
    found.retention_rules = rules
    api.update_bucket(bucket=found)
    return Done("bucket", name, "changed", states)


def _task(client: InfluxDBClient, organisation: str, fine: str, settings: InfluxSettings) -> Done:
    from influxdb_client.domain.task_create_request import TaskCreateRequest

    name = f"{settings.long_bucket} {HOURS[fine].name}"
    states = f"sums {fine} by hour"
    flux = hour_task(name, fine, settings)
    api: Any = client.tasks_api()
    found = [task for task in api.find_tasks(name=name, org_id=organisation) if task.name == name]
    if not found:
        request = TaskCreateRequest(  # type: ignore[no-untyped-call]
            org_id=organisation, flux=flux, status="active", description=states
        )
        api.create_task(task_create_request=request)
        return Done("task", name, "made", states)
    task = found[0]
    if task.flux == flux and task.status == "active":
        return Done("task", name, "kept", states)
    task.flux, task.status = flux, "active"
    # What the options in the program say may not be said beside it.
    task.every = task.offset = task.cron = None
    api.update_task(task)
    return Done("task", name, "changed", states)
