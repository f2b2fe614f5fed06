"""What stands around every request: its id, security headers, the caller, limits, and an answer to whatever fails."""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextvars import ContextVar
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.web.access import COOKIE
from api.web.context import Context
from api.web.limits import Limits
from api.web.problems import Problem, problem_response
from api.web.rights import Caller

CONNECTION: ContextVar[HTTPConnection | None] = ContextVar("connection", default=None)
"""The connection that what runs now serves: for the dashboards, whose callbacks see no request."""
OPEN: Final = ("/healthz", "/sign-in", "/assets/", "/api/v1/openapi.json")
"""Paths that need no sign-in."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_logger = logging.getLogger("callgauge.web")
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
POLICY_OF_API: Final = "default-src 'none'; frame-ancestors 'none'"
POLICY_ELSEWHERE: Final = "default-src 'self'; frame-ancestors 'none'"
"""Also of the worker that holds the dashboards' WebSocket."""


class Envelope:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, context: Context, limits: Limits) -> None:
        self._app = app
        self._context = context
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        state = scope.setdefault("state", {})
        state["request_id"] = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        sending = _Sending(send, scope)
        try:
            refused = self._enter(scope, headers)
            if refused is not None:
                await self._refuse(refused, scope, receive, sending)
                return
            await self._app(scope, self._bounded(scope, headers, receive), sending)
        except Problem as problem:
            if not sending.began:
                await problem_response(scope, problem)(scope, receive, sending)
        except Exception:
            _logger.exception("request %s failed", state["request_id"])
            if not sending.began and scope["type"] == "http":
                failed = Problem(500, "internal", "This is a defect of Callgauge; the log has it under the request id.")
                await problem_response(scope, failed)(scope, receive, sending)
        finally:
            self._limits.note(scope, sending.status, time.perf_counter() - sending.since)

    async def _refuse(self, refused: Problem | Response, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4001, "reason": "not signed in"})
            return
        answer = refused if isinstance(refused, Response) else problem_response(scope, refused)
        await answer(scope, receive, send)

    def _enter(self, scope: Scope, headers: Headers) -> Problem | Response | None:
        """Find the caller; return what to answer instead, if this goes no further."""
        connection = HTTPConnection(scope)
        caller = self._caller(connection, headers)
        scope["state"]["caller"] = caller
        CONNECTION.set(connection)
        address = scope["client"][0] if scope.get("client") else ""
        wait = self._limits.take(caller.key if caller else address, time.monotonic())
        if wait:
            return Problem(429, "too_many_requests", f"Too many requests; come again in {wait} s.",
                           headers={"Retry-After": str(wait)})  # fmt: skip
        with_cookie = caller is not None and caller.session is not None
        if (with_cookie or scope["path"].startswith("/sign-")) and not same_origin(scope, headers):
            return Problem(403, "other_origin", "This came from a page of another origin.")
        path = scope["path"]
        if caller is None and not path.startswith(OPEN):
            for_people = not path.startswith("/api/") and "text/html" in headers.get("accept", "")
            if scope["type"] == "http" and scope["method"] == "GET" and for_people:
                wanted = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
                return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", status_code=303)
            return Problem(401, "not_signed_in", "This takes a token or a sign-in.")
        return None

    def _caller(self, connection: HTTPConnection, headers: Headers) -> Caller | None:
        now = self._context.clock()
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind:
            return self._context.accounts.by_token(secret.strip(), now) if kind.lower() == "bearer" else None
        session = connection.cookies.get(COOKIE)
        serve = self._context.settings.serve
        if not session:
            return None
        return self._context.accounts.by_session(
            session, now, idle_hours=serve.session_idle_hours, hours=serve.session_hours
        )

    def _bounded(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        if scope["type"] != "http":
            return receive
        serve = self._context.settings.serve
        most = serve.upload_octets + 65_536 if scope["path"] == "/api/v1/uploads" else serve.body_octets
        said = f"The body of this request may have {most:,} octets."
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated) > most:
            raise Problem(413, "too_large", said)
        came = 0

        async def bounded() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise HTTPException(413, said)  # FastAPI lets only these through while it reads
            return message

        return bounded


class _Sending:
    """Adds headers to the answer and notes that it began."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send = send
        self._scope = scope
        self.began = False
        self.status = 0
        self.since = time.perf_counter()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._scope["state"]["request_id"]
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            of_api = self._scope["path"].startswith("/api/")
            headers.setdefault("Content-Security-Policy", POLICY_OF_API if of_api else POLICY_ELSEWHERE)
            if not self._scope["path"].startswith(("/assets/", "/_dash-component-suites/")):
                headers.setdefault("Cache-Control", "no-store")
            if self._scope["scheme"] in ("https", "wss"):
                headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        elif message["type"] == "websocket.accept":
            self.began = True
        await self._send(message)


def same_origin(scope: Scope, headers: Headers) -> bool:
    """Whether a request comes from our own pages, or changes nothing."""
    if scope["type"] == "http" and scope["method"] in _SAFE:
        return True
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    if origin is None:
        return site == "same-origin"
    return urlsplit(origin).netloc == headers.get("host", "")
