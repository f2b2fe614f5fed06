"""What each setting is, in words: from the field that declares it, so that documents and files say what the code says.

The sources are read for it, which takes a while: only what writes documents or files needs this.
"""

from __future__ import annotations

import ast
import inspect
import typing
from types import MappingProxyType
from typing import Any, Final

from api.settings import Key, Settings

MISSING: Final = MappingProxyType(
    {
        "packets.longest_backoff_s": "Longest such wait [s].",
        "hep.listen": "Addresses to receive HEP on, as `udp:HOST:PORT`, `tcp:HOST:PORT` or `tls:HOST:PORT`.",
        "publish.listen": "Addresses to receive reports on, as `udp:HOST:PORT` or `tcp:HOST:PORT`.",
    }
)
"""Words for fields that have none of their own."""
_KINDS: Final = (
    ("Listen", "addresses"), ("FeedFolder", "list of paths or tables"),
    ("tuple", "list of texts"), ("Mapping", "table"), ("Path", "path"), ("bytes", "text"),
    ("bool", "true or false"), ("int", "whole number"), ("float", "number"), ("str", "text"),
)  # fmt: skip


def docs_of(of: type[Any]) -> dict[str, str]:
    """Return what stands below each field of a dataclass."""
    body = ast.parse(inspect.getsource(of)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            value = after.value if isinstance(after, ast.Expr) else None
            if isinstance(value, ast.Constant):
                found[statement.target.id] = " ".join(str(value.value).split())
    return found


def doc_of(key: Key) -> str:
    """Return what a setting is."""
    if not key.place:
        return f"File whose first line is `{key.path.rpartition('.')[2].removesuffix('_file')}`."
    of: type[Any] = Settings
    for name in key.place[:-1]:
        of = typing.get_type_hints(of)[name]
    doc = docs_of(of).get(key.place[-1], "")
    return doc or MISSING[key.path]


def kind_of(key: Key) -> str:
    """Return a setting's type in words."""
    text = str(key.kind)
    return next(word for part, word in _KINDS if part in text)
