"""`callgauge serve` over the store of the benchmark, whose last half hour it takes for the present.

`python -m benchmarks.api_server STORE PORT` prints an admin token, and serves until it is told to stop.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import uvicorn

from analytics.store.lake import Lake
from api.settings import Settings
from api.web.app import build
from api.web.hub import LiveHub
from api.web.looking import Look
from api.web.rights import Role
from api.web.serving import calls_held, make_context
from api.web.settings import ServeSettings
from benchmarks.api_store import NOW


def main() -> None:
    """Serve."""
    store, port = Path(sys.argv[1]), int(sys.argv[2])
    lake = Lake.open(store)
    began = time.monotonic_ns()

    def clock() -> int:
        return int(NOW.timestamp() * 1e9) + time.monotonic_ns() - began

    # All clients of the benchmark are one caller.
    settings = Settings(store=store, serve=ServeSettings(requests_per_minute=1_000_000))
    context = make_context(settings, lake)
    hub = LiveHub(Look(lake, context.series, context.estate), clock)
    context = replace(context, clock=clock, hub=hub)
    name = f"benchmark-{datetime.now(UTC):%Y%m%d%H%M%S%f}"
    sys.stdout.write(context.accounts.add_token(name, Role.ADMIN, clock(), numbers=True)[1] + "\n")
    sys.stdout.flush()
    app = build(context, dashboards=False, beside=[partial(calls_held, lake)])
    uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, limit_concurrency=2_000)).run()


if __name__ == "__main__":
    main()
