"""The sign-in page, and signing out. People give name and password; a token will do as well, for the first start."""

from __future__ import annotations

import asyncio
import time
from html import escape
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.web.access import COOKIE, caller_of
from api.web.accounts import TOKEN_PREFIX
from api.web.context import Context, Here, context_of
from api.web.limits import Limits
from api.web.rights import Caller

router = APIRouter(include_in_schema=False)
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in · Callgauge</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="icon" href="/assets/icon.svg"><link rel="stylesheet" href="/assets/callgauge.css"></head>
<body class="sign-in"><main><h1>Callgauge</h1>{said}
<form method="post" action="/sign-in"><input type="hidden" name="next" value="{next}">
<label for="name">Name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" maxlength="64" autofocus>
<label for="password">Password, or a token alone</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="1024" required>
<button type="submit">Sign in</button></form>{other}</main></body></html>"""


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/sign-in")
async def page(request: Request, here: Here, next: str = "/") -> Response:
    """Show the page; whoever is signed in goes on."""
    if caller_of(request) is not None:
        return RedirectResponse(local(next), status_code=303)
    return shown(here, next)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    here: Here,
    password: Annotated[str, Form(max_length=1_024)],
    name: Annotated[str, Form(max_length=64)] = "",
    next: Annotated[str, Form(max_length=2_048)] = "/",
) -> Response:
    """Open a session."""
    limits = request.app.state.limits
    assert isinstance(limits, Limits)
    address = request.client.host if request.client else ""
    wait = limits.sign_in((f"from {address}", f"name {name}"), time.monotonic())
    if wait:
        return shown(here, next, f"Too many tries. Come again in {wait} s.", 429)
    caller = await asyncio.to_thread(_known, here, name.strip(), password)
    if caller is None:
        await asyncio.to_thread(noted, request, f"name {name}"[:80], "sign_in.refused")
        return shown(here, next, "Name and password do not fit.", 401)
    return await asyncio.to_thread(opened, request, caller, next)


@router.post("/sign-out")
def sign_out(request: Request, here: Here) -> Response:
    """End the session."""
    caller = caller_of(request)
    if caller is not None and caller.session is not None:
        here.accounts.close_session(caller.session)
        noted(request, caller.key, "sign_out")
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(COOKIE, path="/")
    return answer


def opened(request: Request, caller: Caller, wanted: str) -> Response:
    """Open a session for somebody and lead on; it blocks."""
    here = context_of(request)
    secret = here.accounts.open_session(caller, here.clock())
    noted(request, caller.key, "sign_in", caller.role.value)
    answer = RedirectResponse(local(wanted), status_code=303)
    secure = request.url.scheme == "https" or here.settings.serve.public_url.startswith("https:")
    hours = here.settings.serve.session_hours
    answer.set_cookie(
        COOKIE, secret, max_age=int(hours * 3_600), path="/", httponly=True, samesite="lax", secure=secure
    )
    return answer


def noted(request: Request, who: str, what: str, role: str = "") -> None:
    """Note a sign-in or its refusal in the audit log; it blocks."""
    here = context_of(request)
    here.audit.append(
        here.clock(),
        who,
        what,
        role=role,
        address=request.client.host if request.client else "",
        request_id=request.scope["state"]["request_id"],
    )


def local(wanted: str) -> str:
    """Return a path of ours to go to, whatever was asked for."""
    parts = urlsplit(wanted)
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return wanted if plain and wanted.isprintable() and "\\" not in wanted else "/"


def _known(here: Context, name: str, password: str) -> Caller | None:
    if not name and password.startswith(TOKEN_PREFIX):
        return here.accounts.by_token(password.strip(), here.clock())
    person = here.accounts.with_password(name, password)
    return None if person is None else Caller(f"user:{person.name}", person.name, person.role, person.numbers)


def shown(here: Context, wanted: str, said: str = "", status: int = 200) -> Response:
    """Return the page, with why somebody was not let in."""
    text = _PAGE.format(
        said=f'<p class="refused" role="alert">{escape(said)}</p>' if said else "",
        next=escape(local(wanted), quote=True),
        other=_OTHER if here.settings.oidc.issuer else "",
    )
    return HTMLResponse(text, status_code=status, headers={"Content-Security-Policy": POLICY})


_OTHER: Final = '<p class="other"><a href="/sign-in/oidc">Sign in with your organisation</a></p>'
