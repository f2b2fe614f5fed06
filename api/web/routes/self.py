"""The caller's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.web.access import Caller, Right, allowed

router = APIRouter(tags=["access"])


class Self(BaseModel):
    """Who the caller is to the system."""

    name: str = Field(examples=["wallboard"])
    role: str = Field(examples=["viewer"])
    rights: list[str] = Field(examples=[["aggregates", "self", "summary"]])
    numbers: bool = Field(examples=[False], description="Whether numbers are shown unmasked.")


@router.get("/self", summary="Who am I?")
async def self_(caller: Annotated[Caller, allowed(Right.SELF)]) -> Self:
    """Return name, role and rights of the caller."""
    return Self(
        name=caller.name,
        role=caller.role.value,
        rights=sorted(right.value for right in Right if caller.may(right)),
        numbers=caller.numbers,
    )
