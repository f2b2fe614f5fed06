"""Rights at the door of each operation: `caller: Annotated[Caller, allowed(Right.CALLS)]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from fastapi import Security
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.requests import HTTPConnection

from api.web.problems import Problem
from api.web.rights import RIGHTS, Caller, Right, Role

__all__ = ["COOKIE", "Caller", "Right", "Role", "allowed", "caller_of", "roles_with"]
COOKIE: Final = "callgauge_session"
_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="A token of `callgauge token add`.")
_SESSION = APIKeyCookie(name=COOKIE, auto_error=False, scheme_name="session", description="Set by the sign-in page.")


class Allowed:
    """Lets callers with a right through, and gives them to the operation."""

    def __init__(self, right: Right) -> None:
        self.right = right

    async def __call__(
        self,
        connection: HTTPConnection,
        _token: Annotated[Any, Security(_BEARER)],
        _session: Annotated[Any, Security(_SESSION)],
    ) -> Caller:
        """Return the caller; Problem 401 where there is none, 403 where the right is missing."""
        caller = caller_of(connection)
        if caller is None:
            raise Problem(401, "not_signed_in", "This takes a token or a sign-in.")
        if not caller.may(self.right):
            said = f"This takes the right {self.right.value!r}, which the role {caller.role.value!r} does not have."
            raise Problem(403, "not_allowed", said)
        return caller


def allowed(right: Right) -> Any:
    """Return the dependency that gives the caller, if it has a right."""
    return Security(Allowed(right))


def caller_of(connection: HTTPConnection) -> Caller | None:
    """Return who asks, as found before any route was chosen."""
    found = connection.scope.get("state", {}).get("caller")
    return found if isinstance(found, Caller) else None


def rights_of(dependant: Any) -> Iterator[Right]:
    """Yield the rights that an operation takes, from its dependencies."""
    if isinstance(dependant.call, Allowed):
        yield dependant.call.right
    for each in dependant.dependencies:
        yield from rights_of(each)


def roles_with(right: Right) -> tuple[Role, ...]:
    """Return the roles that have a right."""
    return tuple(role for role in Role if right in RIGHTS[role])
