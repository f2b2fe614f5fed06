"""A token that may only read, for programs that plot: what they ask cannot change what is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from analytics.store.influx import InfluxSettings, Kept, opened
from analytics.store.influx_setup import Done

STATES = "may read both buckets"


def give_reader_token(settings: InfluxSettings, path: Path) -> Done:
    """Make a token that may read both buckets and write it into a file; one that is there stays.

    InfluxError where the server refuses, OSError where the file cannot be written.
    """
    if path.exists() and path.stat().st_size:
        return Done("token", str(path), "kept", STATES)
    from influxdb_client.domain.permission import Permission
    from influxdb_client.domain.permission_resource import PermissionResource

    with opened(settings) as client:
        buckets: Any = client.buckets_api()
        found = [buckets.find_bucket_by_name(settings.name(kept)) for kept in Kept]
        permission: Any = Permission
        resource: Any = PermissionResource
        may = [
            permission(action="read", resource=resource(type="buckets", id=one.id, org_id=one.org_id)) for one in found
        ]
        api: Any = client.authorizations_api()
        made = api.create_authorization(org_id=found[0].org_id, permissions=may)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(str(made.token))
    return Done("token", str(path), "made", STATES)
