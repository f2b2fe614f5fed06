"""The ASGI application: the HTTP API under `/api/v1`, the sign-in, and the dashboards beside it.

`app.build(context)` makes it. Routes stand in `api/web/routes`: each module there that has a `router` is part of it.
"""
