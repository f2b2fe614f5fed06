"""The application: API, sign-in and dashboards put together."""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from api import __version__
from api.web import metrics, problems, routes, sign_in
from api.web.access import rights_of, roles_with
from api.web.context import Context
from api.web.envelope import Envelope
from api.web.limits import Limits
from api.web.problems import ProblemDetails
from api.web.upload import AT_ONCE

PREFIX: Final = "/api/v1"
_logger = logging.getLogger("callgauge.web")
Beside = Callable[[], Coroutine[None, None, None]]
"""Makes what runs beside the application until it is cancelled."""


def build(context: Context, *, dashboards: bool = True, beside: Sequence[Beside] = ()) -> FastAPI:
    """Return the application; `beside` runs as long as it does. ValueError where an operation names no right."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(context.hub.run(), name="live view")]
            running += [tasks.create_task(_kept(each), name="beside") for each in beside]
            try:
                yield
            finally:
                for task in running:
                    task.cancel()

    app = FastAPI(
        title="Callgauge",
        version=__version__,
        summary="Voice quality and cost of an estate, from its own traffic and records.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # the pages of FastAPI load their scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.context = context
    app.state.limits = limits = Limits(context.settings.serve.requests_per_minute)
    app.state.uploads = asyncio.Semaphore(AT_ONCE)
    problems.install(app)
    for router in routers():
        app.include_router(router, prefix=PREFIX)
    app.include_router(sign_in.router)
    app.include_router(metrics.router)
    if context.settings.oidc.issuer:
        from api.web import oidc  # its library takes 0.3 s to load

        oidc.install(app, context)
    check_rights(app)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    if dashboards:
        importlib.import_module("dashboards.shell").mount(app, context)
    app.add_middleware(Envelope, context=context, limits=limits)
    return app


async def _kept(work: Beside) -> None:
    """Run what runs beside; where it fails the rest goes on, and the log says so."""
    try:
        await work()
    except Exception:
        _logger.exception("something that runs beside the server ended")


def routers() -> Iterator[APIRouter]:
    """Yield the router of each module of `api.web.routes`, by name."""
    for module in sorted(pkgutil.iter_modules(routes.__path__), key=lambda each: each.name):
        found = getattr(importlib.import_module(f"{routes.__name__}.{module.name}"), "router", None)
        if isinstance(found, APIRouter):
            yield found


def _operations(app: FastAPI) -> Iterator[Any]:
    for found in iter_route_contexts(app.routes):
        if isinstance(found.original_route, APIRoute) and found.path and found.path.startswith(PREFIX):
            yield found


def check_rights(app: FastAPI) -> None:
    """Raise ValueError where an operation names no right."""
    for found in _operations(app):
        if not list(rights_of(found.dependant)):
            raise ValueError(f"{found.path} names no right: see api.web.routes")


def _described(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = made = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        for found in _operations(app):
            _describe(made, found)
    return app.openapi_schema


def _describe(made: dict[str, Any], found: Any) -> None:
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.setdefault("ProblemDetails", ProblemDetails.model_json_schema())
    for method in found.methods:
        operation = made["paths"][found.path].get(method.lower())
        if operation is None:
            continue
        rights = [right.value for right in rights_of(found.dependant)]
        operation["x-rights"] = rights
        operation["x-roles"] = [
            role.value for role in roles_with(next(rights_of(found.dependant)))
            if all(role in roles_with(each) for each in rights_of(found.dependant))
        ]  # fmt: skip
        content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
        answers = operation["responses"]
        answers.pop("422", None)
        answers["default"] = {"description": "An error (RFC 9457)", "content": content}
