"""Values in bodies of requests, taken as JSON Schema takes them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BeforeValidator


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE: Final = BeforeValidator(_whole)
"""For `Annotated[int, Field(strict=True), WHOLE]`: `60` and `60.0` (JSON Schema 2020-12, 4.2.3), no text, no `true`."""
