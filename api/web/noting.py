"""What an operation notes in the audit log, before it shows anything."""

from __future__ import annotations

from typing import Any

from starlette.requests import HTTPConnection

from api.web.context import context_of
from api.web.rights import Caller


def note(connection: HTTPConnection, caller: Caller, what: str, of: str = "", *, numbers: bool | None = None,
         **more: Any) -> None:  # fmt: skip
    """Note that a caller looks at people's data or changes something; `numbers`: whether shown unmasked.

    Call it in every operation that shows calls, streams or parties, e.g. `note(request, caller, "call.view", key)`.
    It blocks for a write to the disk: call it where blocking is allowed, which it is in plain `def` operations.
    """
    context = context_of(connection)
    context.audit.append(
        context.clock(),
        caller.key,
        what,
        of,
        role=caller.role.value,
        numbers=caller.numbers if numbers is None else numbers,
        address=connection.client.host if connection.client else "",
        request_id=connection.scope["state"]["request_id"],
        more=more,
    )


def shown(connection: HTTPConnection, caller: Caller, number: str | None) -> str | None:
    """Return a number as this caller may see it: its stand-in name, or itself where the caller has the right."""
    return number if caller.numbers else context_of(connection).masks.number(number)
