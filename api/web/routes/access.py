"""Tokens of machines, and people who may sign in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from api.web.access import Caller, Right, Role, allowed
from api.web.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD, AccountError, Person, Token
from api.web.context import Here
from api.web.given import WHOLE
from api.web.noting import note
from api.web.problems import Problem

router = APIRouter(tags=["access"])
Admin = Annotated[Caller, allowed(Right.ADMIN)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_ .@+\-]{0,63}$", max_length=64, examples=["wallboard"])]
Numbers = Annotated[bool, Field(description="Whether people's numbers are shown unmasked; each such look is logged.")]
TokenId = Annotated[str, Path(pattern=r"^[0-9a-f]{8}$", examples=["5f0c7e9d"])]
PersonName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_ .@+\-]{0,63}$", max_length=64, examples=["amy"])]
NS_PER_DAY = 86_400_000_000_000


class Given(BaseModel):
    """A body that has nothing else in it."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"additionalProperties": False})


class TokenGiven(Given):
    """What a token shall be."""

    name: Name
    role: Annotated[Role, Field(strict=False, examples=["viewer"])]
    numbers: Numbers = False
    days: Annotated[
        int | None, Field(ge=1, le=3_650, description="It ends after so many days.", examples=[90]), WHOLE
    ] = None


class TokenShown(BaseModel):
    """A token, without its secret."""

    id: str = Field(examples=["5f0c7e9d"])
    name: str = Field(examples=["wallboard"])
    role: Role = Field(examples=["viewer"])
    numbers: bool = Field(examples=[False])
    made: datetime
    ends: datetime | None = Field(description="None: it holds until it is revoked.")
    used: datetime | None = Field(description="When it was last used, to the minute. None: never.")


class TokenMade(TokenShown):
    """A new token; its secret is shown this once."""

    token: str = Field(examples=["cg_5f0c7e9d_…"])


class PersonGiven(Given):
    """Somebody who shall be let in."""

    name: Name
    role: Annotated[Role, Field(strict=False, examples=["engineer"])]
    numbers: Numbers = False
    password: Annotated[
        str, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD, examples=["correct horse battery"])
    ]


class PersonChanged(Given):
    """What somebody shall be from now on."""

    role: Annotated[Role, Field(strict=False, examples=["finance"])]
    numbers: Numbers = False


class PersonShown(BaseModel):
    """Somebody who may sign in."""

    name: str = Field(examples=["amy"])
    role: Role = Field(examples=["engineer"])
    numbers: bool = Field(examples=[False])
    made: datetime
    signs_in_by: str = Field(examples=["password"], description="`password` or `openid`.")


@router.get("/tokens", summary="All tokens")
def tokens(here: Here, _caller: Admin) -> list[TokenShown]:
    """Return all tokens, without their secrets."""
    return [_token(one) for one in here.accounts.tokens()]


@router.post("/tokens", summary="Make a token", status_code=201)
def add_token(request: Request, here: Here, caller: Admin, given: TokenGiven) -> TokenMade:
    """Make a token. Its secret is in the answer, and is kept nowhere."""
    now = here.clock()
    ends = None if given.days is None else now + given.days * NS_PER_DAY
    made, secret = here.accounts.add_token(given.name, given.role, now, numbers=given.numbers, ends=ends)
    note(request, caller, "token.add", made.id, numbers=False, to=given.role.value, with_numbers=given.numbers)
    return TokenMade(**_token(made).model_dump(), token=secret)


@router.delete("/tokens/{id}", summary="Revoke a token", status_code=204)
def revoke(request: Request, here: Here, caller: Admin, id: TokenId) -> None:
    """Make a token worthless from now on."""
    if not here.accounts.revoke(id):
        raise Problem(404, "not_found", "There is no such token.")
    note(request, caller, "token.revoke", id, numbers=False)


@router.get("/users", summary="All people")
def people(here: Here, _caller: Admin) -> list[PersonShown]:
    """Return who may sign in."""
    return [_person(one) for one in here.accounts.people()]


@router.post("/users", summary="Let somebody sign in", status_code=201)
def add_person(request: Request, here: Here, caller: Admin, given: PersonGiven) -> PersonShown:
    """Let somebody sign in by name and password."""
    try:
        made = here.accounts.add_person(
            given.name, given.role, here.clock(), password=given.password, numbers=given.numbers
        )
    except AccountError as error:
        raise Problem(409, "not_possible", f"{error}.") from None
    note(request, caller, "user.add", made.name, numbers=False, to=made.role.value, with_numbers=made.numbers)
    return _person(made)


@router.put("/users/{name}", summary="Give somebody another role")
def change_person(request: Request, here: Here, caller: Admin, name: PersonName, given: PersonChanged) -> PersonShown:
    """Change role and right to numbers; what the person has open ends."""
    changed = here.accounts.change_person(name, given.role, numbers=given.numbers)
    if changed is None:
        raise Problem(404, "not_found", "There is no such person.")
    note(request, caller, "user.change", name, numbers=False, to=given.role.value, with_numbers=given.numbers)
    return _person(changed)


@router.delete("/users/{name}", summary="Let somebody in no more", status_code=204)
def remove_person(request: Request, here: Here, caller: Admin, name: PersonName) -> None:
    """Let somebody in no more; what the person has open ends."""
    if not here.accounts.remove_person(name):
        raise Problem(404, "not_found", "There is no such person.")
    note(request, caller, "user.remove", name, numbers=False)


def _token(one: Token) -> TokenShown:
    return TokenShown(
        id=one.id,
        name=one.name,
        role=one.role,
        numbers=one.numbers,
        made=_time(one.made),
        ends=None if one.ends is None else _time(one.ends),
        used=None if one.used is None else _time(one.used),
    )


def _person(one: Person) -> PersonShown:
    by = "password" if one.has_password else "openid"
    return PersonShown(name=one.name, role=one.role, numbers=one.numbers, made=_time(one.made), signs_in_by=by)


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1_000_000_000, UTC)
