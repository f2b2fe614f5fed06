"""Routes of `/api/v1`: every module here has a `router`, whose paths are relative to that prefix.

Each operation names the right that it takes, by a parameter `caller: Annotated[Caller, allowed(Right.…)]`; the
application does not start with one that names none. What it needs else comes as `here: Here` (see `context`).
"""
