"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real captures and golden numbers that lies beside the project, where it does."""
    if not SHARED.is_dir():
        pytest.skip("the folder `shared` with real captures and golden numbers is not beside the project")
    return SHARED
