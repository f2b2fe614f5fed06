"""Sign-in by OpenID Connect: the authorisation code flow with PKCE, nonce and state, by authlib.

Who somebody is comes from the provider at each sign-in: the role is that of the first list of groups, from admins down,
in which one of the person's groups stands. The right to numbers is granted here alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import httpx
from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped]
from fastapi import APIRouter, FastAPI
from joserfc.errors import JoseError
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import Response

from api.web.accounts import AccountError
from api.web.context import Context, Here
from api.web.problems import Problem
from api.web.rights import Caller, Role
from api.web.settings import OidcSettings
from api.web.sign_in import local, noted, opened, shown

router = APIRouter(include_in_schema=False)
BACK: Final = "/sign-in/oidc/back"
LONGEST_NAME: Final = 64
MINUTES: Final = 10
"""How long a sign-in at the provider may take [min]."""
_logger = logging.getLogger("callgauge.web")


def install(app: FastAPI, context: Context) -> None:
    """Put this sign-in on an application, if the settings ask for it."""
    settings = context.settings.oidc
    if not settings.issuer:
        return
    oauth = OAuth()
    oauth.register(
        "oidc",
        client_id=settings.client_id,
        client_secret=settings.client_secret or None,
        server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": settings.scope, "code_challenge_method": "S256", "timeout": 10.0},
    )
    app.state.oidc = oauth.create_client("oidc")
    app.include_router(router)
    app.add_middleware(
        SessionMiddleware,
        secret_key=context.accounts.secret("oidc").hex(),
        session_cookie="callgauge_oidc",
        max_age=MINUTES * 60,
        path="/sign-in",
        same_site="lax",
        https_only=context.settings.serve.public_url.startswith("https:"),
    )


@router.get("/sign-in/oidc")
async def begin(request: Request, here: Here, next: str = "/") -> Response:
    """Lead to the provider."""
    base = here.settings.serve.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    request.session["next"] = local(next)
    try:
        answer: Response = await request.app.state.oidc.authorize_redirect(request, f"{base}{BACK}")
    except (httpx.HTTPError, AuthlibBaseError, ValueError, KeyError, RuntimeError) as error:
        _logger.warning("the OpenID provider does not answer: %s", error)
        return shown(here, next, "Your organisation's sign-in does not answer. Name and password still do.", 503)
    return answer


@router.get(BACK)
async def back(request: Request, here: Here) -> Response:
    """Take what the provider says, and open a session."""
    wanted = local(str(request.session.get("next", "/")))
    try:
        claims = await _claims(request, here.settings.oidc)
        caller = await asyncio.to_thread(known, here, claims)
    except (httpx.HTTPError, AuthlibBaseError, JoseError, ValueError, KeyError, RuntimeError, Problem) as error:
        _logger.warning("a sign-in by OpenID Connect was refused: %s", error)
        await asyncio.to_thread(noted, request, "nobody", "sign_in.refused")
        said = str(error) if isinstance(error, (AccountError, Problem)) else "Your organisation did not let you in."
        return shown(here, wanted, said, 403)
    finally:
        request.session.clear()
    return await asyncio.to_thread(opened, request, caller, wanted)


async def _claims(request: Request, settings: OidcSettings) -> Mapping[str, Any]:
    client = request.app.state.oidc
    options = {"iss": {"essential": True, "values": [settings.issuer, settings.issuer.rstrip("/")]}}
    token = await client.authorize_access_token(request, claims_options=options)
    claims = token.get("userinfo")
    if not claims:
        raise ValueError("the provider gave no ID token")
    missing = {settings.name_claim, settings.role_claim} - set(claims)
    if missing:
        more = await client.userinfo(token=token)
        if more.get("sub") != claims.get("sub"):
            raise ValueError("the provider's two answers are about two people")
        claims = {**more, **claims}
    return dict(claims)


def known(here: Context, claims: Mapping[str, Any]) -> Caller:
    """Return who signed in, by what the provider claims; Problem where the person has no role here. It blocks."""
    settings = here.settings.oidc
    role = role_of(settings, claims.get(settings.role_claim))
    if role is None:
        raise Problem(403, "not_allowed", "You are in none of the groups that may sign in here.")
    subject = f"{settings.issuer} {claims['sub']}"
    name = str(claims.get(settings.name_claim) or claims["sub"])[:LONGEST_NAME]
    person = here.accounts.by_subject(subject, name, role, here.clock())
    return Caller(f"user:{person.name}", person.name, person.role, person.numbers)


def role_of(settings: OidcSettings, groups: object) -> Role | None:
    """Return the role of somebody in some groups; None: none."""
    have = {groups} if isinstance(groups, str) else set(groups) if isinstance(groups, (list, tuple)) else set()
    for role, those in (
        (Role.ADMIN, settings.admins),
        (Role.AUDITOR, settings.auditors),
        (Role.FINANCE, settings.finance),
        (Role.ENGINEER, settings.engineers),
        (Role.VIEWER, settings.viewers),
    ):
        if have & set(those):
            return role
    return None
