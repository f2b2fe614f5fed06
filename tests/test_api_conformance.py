"""The served API against its own OpenAPI document, by schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from web_app import served

SECONDS = 60
CONFIG = """
# Questions have more meaning than their schema can say: spans end after they begin, cursors were given out.
[[operations]]
include-method = "GET"
checks.positive_data_acceptance.enabled = false

# Not every text is an address that may be sent to.
[[operations]]
include-path = "/api/v1/webhooks"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path = "/api/v1/uploads"
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.timeout(240)
def test_the_served_api_is_as_its_document_says(tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    quiet = {"CALLGAUGE_SERVE_REQUESTS_PER_MINUTE": "1000000"}
    with served(tmp_path / "store", environment=quiet) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
                *("run", f"{server.url}/api/v1/openapi.json"),
                *("-H", f"Authorization: Bearer {server.token}"),
                *("--phases", "examples,coverage,fuzzing", "--max-time", str(SECONDS)),
                *("--exclude-path", "/api/v1/live"),  # it does not end: test_web_service.py reads it
                *("--continue-on-failure", "--request-timeout", "20", "--generation-deterministic", "--no-color"),
                *("--warnings", "off"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS + 120,
            check=False,
        )
    assert done.returncode == 0, done.stdout.partition("= FAILURES =")[2] or done.stdout + done.stderr
