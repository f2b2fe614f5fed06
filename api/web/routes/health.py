"""The data path."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import Response

from analytics.questions.path import PathHealth, path_health
from api.web.access import Caller, Right, allowed
from api.web.asked import present
from api.web.context import Here
from api.web.examples import described
from api.web.shapes import answered

router = APIRouter(tags=["data path"])


@router.get("/health", summary="The data path", **described(PathHealth, table=False))
def health(here: Here, _caller: Annotated[Caller, allowed(Right.AGGREGATES)]) -> Response:
    """Return what each process took in, passed on and lost, step by step, and how fresh the tables are."""
    return answered(path_health(here.lake, present(here)))
