"""Typed answers as JSON and in the OpenAPI document, made from the classes that hold them.

A NamedTuple or frozen dataclass becomes an object with its fields; its documentation is that of the class.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from itertools import pairwise
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic_core import to_json
from starlette.responses import Response

_UNIONS: Final = (Union, types.UnionType)


def shape(kind: type[Any]) -> type[BaseModel]:
    """Return the model that documents a class."""
    hashed: Any = kind
    return _shape(hashed)


@cache
def _shape(kind: Any) -> type[BaseModel]:
    hints = get_type_hints(kind)
    said = _said(kind)
    made: dict[str, Any] = {
        name: (_typed(hints[name]), Field(description=said[name]) if name in said else Field()) for name in names(kind)
    }
    model: type[BaseModel] = create_model(
        kind.__name__, __doc__=inspect.getdoc(kind), __config__=ConfigDict(extra="forbid"), **made
    )
    return model


def names(kind: type[Any]) -> tuple[str, ...]:
    """Return the fields of a class in their order."""
    return tuple(one.name for one in fields(kind)) if is_dataclass(kind) else tuple(kind._fields)


def is_shaped(kind: Any) -> bool:
    """Whether a type is one that has a shape."""
    return isinstance(kind, type) and (is_dataclass(kind) or (issubclass(kind, tuple) and hasattr(kind, "_fields")))


def _typed(hint: Any) -> Any:
    if is_shaped(hint):
        return shape(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return list[_typed(arguments[0])]  # type: ignore[misc]
    if origin in _UNIONS:
        return Union[tuple(_typed(each) for each in arguments)]  # noqa: UP007 - made at run time
    if origin is not None and issubclass(origin, Mapping):
        return dict[_typed(arguments[0]), _typed(arguments[1])]  # type: ignore[misc]
    return hint


def _said(kind: type[Any]) -> dict[str, str]:
    """Documentation of fields: the string below each."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    said: dict[str, str] = {}
    for one, after in pairwise(body):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                said[one.target.id] = inspect.cleandoc(value.value)
    return said


def plain(value: Any) -> Any:
    """Return an answer as objects, lists and values, for JSON; times stay times."""
    if isinstance(value, tuple):
        asdict = getattr(value, "_asdict", None)
        return [plain(one) for one in value] if asdict is None else {k: plain(v) for k, v in asdict().items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | frozenset | set) else value


def flat(value: Any, before: str = "") -> dict[str, Any]:
    """Return an answer as one row of a table: `poor.low` becomes the column `poor_low`; lists of values are joined."""
    found: dict[str, Any] = {}
    for name, one in plain(value).items():
        if isinstance(one, dict):
            found |= flat_of(one, f"{before}{name}_")
        elif isinstance(one, list):
            if not one or not isinstance(one[0], dict | list):
                found[before + name] = " ".join(map(str, one))
        else:
            found[before + name] = one
    return found


def flat_of(values: Mapping[str, Any], before: str) -> dict[str, Any]:
    """Return the fields of an object below a name."""
    found: dict[str, Any] = {}
    for name, one in values.items():
        if isinstance(one, dict):
            found |= flat_of(one, f"{before}{name}_")
        elif not isinstance(one, list):
            found[before + name] = one
    return found


def columns(kind: Any, before: str = "") -> list[str]:
    """Return the columns of the rows that `flat` makes of a class."""
    found: list[str] = []
    for name in names(kind):
        hint = get_type_hints(kind)[name]
        inner = [one for one in (hint, *get_args(hint)) if is_shaped(one)]
        if get_origin(hint) is tuple:
            if not inner and not before:
                found.append(name)
        elif inner:
            found += columns(inner[0], f"{before}{name}_")
        else:
            found.append(before + name)
    return found


def answered(value: Any, status: int = 200) -> Response:
    """Return an answer as JSON, without checking it against its model again."""
    return Response(encoded(value), status, media_type="application/json")


def encoded(value: Any) -> bytes:
    """Return an answer as JSON."""
    return to_json(plain(value), inf_nan_mode="null")
