"""Errors as RFC 9457 has them: one shape for every one of them, `application/problem+json`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from analytics.questions.asking import QuestionError
from analytics.store.settings import StoreError

MEDIA_TYPE: Final = "application/problem+json"
_BY_STATUS: Final = {
    400: "bad_request",
    401: "not_signed_in",
    403: "not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    503: "store_unavailable",
}
_MOST_ERRORS: Final = 20


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:callgauge:problem:not_found"], description="Which kind of error it is.")
    title: str = Field(examples=["Not Found"], description="The HTTP status in words.")
    status: int = Field(examples=[404], description="The HTTP status.")
    detail: str = Field(examples=["There is no call with this key."], description="What is wrong, for people.")
    instance: str = Field(examples=["/api/v1/calls/0"], description="Path of the request.")
    request_id: str = Field(examples=["5f0c7e9d2b7a4f0e"], description="As in the header X-Request-ID and the log.")


class Problem(Exception):  # noqa: N818  # RFC 9457's word
    """An error to be answered; `code` is its kind in snake_case, `more` stands beside it in the answer."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


def problem_response(scope: Mapping[str, Any], problem: Problem) -> Response:
    """Return the answer that says a problem; `scope` is that of the request."""
    headers = problem.headers
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    body = {
        **problem.more,
        "type": f"urn:callgauge:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": scope.get("path", ""),
        "request_id": scope.get("state", {}).get("request_id", ""),
    }
    return JSONResponse(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have every error of an application answered so."""

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(request.scope, error)

    async def by_status(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _BY_STATUS.get(error.status_code, "error")
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(app, request.url.path)) or headers.get("Allow", "")
        said = _sentence(request, error, headers)
        return problem_response(request.scope, Problem(error.status_code, code, said, headers=headers))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(request.scope, _invalid(error))

    async def store(request: Request, error: Exception) -> Response:
        return problem_response(request.scope, Problem(503, "store_unavailable", f"The store cannot be read: {error}"))

    async def question(request: Request, error: Exception) -> Response:
        return problem_response(request.scope, Problem(422, "invalid", str(error)))

    app.add_exception_handler(Problem, known)
    app.add_exception_handler(QuestionError, question)
    app.add_exception_handler(HTTPException, by_status)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(StoreError, store)


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods of all operations at a path: each route knows but its own."""
    found: set[str] = set()
    for each in iter_route_contexts(app.routes):
        if each.path and each.methods and compile_path(each.path)[0].match(path):
            found.update(each.methods)
    return sorted(found)


def _sentence(connection: HTTPConnection, error: HTTPException, headers: Mapping[str, str]) -> str:
    phrase = HTTPStatus(error.status_code).phrase
    if error.detail and error.detail != phrase:
        return str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"There is nothing at {connection.url.path}."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allow = headers.get("Allow", "")
        return f"This takes {allow}." if allow else "This method is not allowed here."
    return f"{phrase}."


def _invalid(error: RequestValidationError) -> Problem:
    # What was sent is not repeated: it may hold numbers, and it may be long.
    errors = [
        {"where": [str(part) for part in each.get("loc", ())][:8], "what": str(each.get("msg", ""))}
        for each in error.errors()[:_MOST_ERRORS]
    ]
    first = errors[0] if errors else {"where": [], "what": "not valid"}
    return Problem(422, "invalid", f"{'.'.join(first['where'])}: {first['what']}", errors=errors)
