"""The audit log: who looked at people's data, and who changed what."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from api.web.access import Caller, Right, allowed
from api.web.audit import AuditError
from api.web.context import Here
from api.web.noting import note

router = APIRouter(tags=["audit"])
Auditor = Annotated[Caller, allowed(Right.AUDIT)]


class EntryShown(BaseModel):
    """One line of the log."""

    number: int = Field(examples=[418], description="From 1, without gaps.")
    at: datetime
    who: str = Field(examples=["user:amy"])
    role: str = Field(examples=["engineer"])
    what: str = Field(examples=["call.view"])
    of: str = Field(examples=["0f3c5a7e9b1d2c4e"])
    numbers: bool = Field(examples=[False], description="Whether people's numbers were shown unmasked.")
    address: str = Field(examples=["10.1.4.7"])
    request_id: str = Field(examples=["5f0c7e9d2b7a4f0e"])
    more: dict[str, Any]
    before: str = Field(description="Digest of the line before.")
    digest: str = Field(description="SHA-256 of this line.")


class Log(BaseModel):
    """A part of the log, the newest first."""

    entries: list[EntryShown]
    next: int | None = Field(examples=[318], description="For `before`, to read on; None where this is the end.")
    count: int = Field(examples=[418], description="Lines in all.")
    head: str = Field(
        description="Digest of the newest line: note it elsewhere, and the log cannot be shortened unseen."
    )


class Verified(BaseModel):
    """Whether the log holds together."""

    whole: bool
    count: int = Field(description="Lines that were gone through.")
    said: str = Field(examples=["every line holds the digest of the line before"])


@router.get("/audit", summary="The audit log")
def audit(
    here: Here,
    _caller: Auditor,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="Only lines before this number.")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    who: Annotated[str, Query(max_length=80, description="Only lines of this caller, e.g. `user:amy`.")] = "",
    what: Annotated[str, Query(max_length=80, description="Only lines of this kind, e.g. `call.view`.")] = "",
) -> Log:
    """Return lines of the log, the newest first."""
    fitting = (
        one for one in here.audit.backwards(before) if (not who or one.who == who) and (not what or one.what == what)
    )
    found = list(islice(fitting, limit + 1))
    count, head = here.audit.head()
    shown = [
        EntryShown(
            number=one.number,
            at=datetime.fromtimestamp(one.at / 1e9, UTC),
            who=one.who,
            role=one.role,
            what=one.what,
            of=one.of,
            numbers=one.numbers,
            address=one.address,
            request_id=one.request_id,
            more=dict(one.more),
            before=one.before,
            digest=one.digest,
        )
        for one in found[:limit]
    ]
    return Log(entries=shown, next=shown[-1].number if len(found) > limit else None, count=count, head=head)


@router.post("/audit/verify", summary="Go through the whole log")
def verify(request: Request, here: Here, caller: Auditor) -> Verified:
    """Compute every line's digest anew and follow the chain."""
    try:
        count = here.audit.verify()
    except AuditError as error:
        said = Verified(whole=False, count=0, said=str(error))
    else:
        said = Verified(whole=True, count=count, said="every line holds the digest of the line before")
    note(request, caller, "audit.verify", said.said, numbers=False)
    return said
