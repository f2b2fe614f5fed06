"""A capture in, its report out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.web.access import Caller, Right, allowed
from api.web.context import Here
from api.web.noting import note
from api.web.problems import Problem
from api.web.upload import analysed, folder, received

router = APIRouter(tags=["uploads"])
CHUNK: Final = 1 << 16


@router.post(
    "/uploads",
    summary="Analyse a capture",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The report, as `callgauge replay --format json` writes it.",
            "content": {"application/json": {"schema": {"type": "object"}, "example": {"schema": 1, "calls": []}}},
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "pcap or pcapng as it is, or packed by gzip or zstd.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload(
    request: Request,
    here: Here,
    caller: Annotated[Caller, allowed(Right.UPLOAD)],
    numbers: Annotated[bool, Query(description="Show people's numbers; takes the right to.")] = False,
) -> Response:
    """Analyse a capture, and keep nothing of it. Numbers are masked; the limits are those of the settings."""
    if numbers and not caller.may(Right.NUMBERS):
        raise Problem(403, "not_allowed", "This takes the right 'numbers'.")
    serve = here.settings.serve
    turns: asyncio.Semaphore = request.app.state.uploads
    if turns.locked():
        raise Problem(503, "busy", "Other captures are being analysed; come again.", headers={"Retry-After": "10"})
    with ExitStack() as stack:
        async with turns:
            capture = Path(stack.enter_context(folder())) / "capture.pcap"
            size = await received(request.stream(), capture, serve.upload_octets)
            digest = await asyncio.to_thread(_digest, capture)
            await asyncio.to_thread(note, request, caller, "capture.upload", digest, numbers=numbers, octets=size)
            found = await analysed(capture, serve.upload_seconds, show_numbers=numbers)
        # The folder is removed when the report was sent, or when it could not be.
        kept = stack.pop_all()
    return StreamingResponse(
        _read(found.report),
        media_type="application/json",
        headers={"X-Capture-Whole": "true" if found.whole else "false"},
        background=BackgroundTask(kept.close),
    )


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
