"""Settings of the served faces: `[serve]` and `[oidc]`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How the API and the dashboards are served."""

    listen: str = "127.0.0.1:8080"
    """Address as HOST:PORT."""
    public_url: str = ""
    """How people reach it, e.g. `https://callgauge.example`: for links, OpenID Connect and secure cookies."""
    proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    session_hours: float = 12.0
    """A sign-in ends after this [h]."""
    session_idle_hours: float = 2.0
    """A sign-in ends when nothing was asked for so long [h]; a wallboard that is open asks."""
    requests_per_minute: int = 600
    """Requests that one caller may make in a minute; more wait."""
    body_octets: int = 1_048_576
    """Largest body of a request [octets], but for uploads."""
    upload_octets: int = 67_108_864
    """Largest capture that may be uploaded [octets]."""
    upload_seconds: float = 60.0
    """How long the analysis of an uploaded capture may take [s]."""
    live_clients: int = 500
    """Live connections at once."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Sign-in by OpenID Connect."""

    issuer: str = ""
    """URL of the provider, below which `.well-known/openid-configuration` is; empty: no such sign-in."""
    client_id: str = ""
    """Name of this client there."""
    client_secret: str = ""
    """Its secret."""
    scope: str = "openid profile email groups"
    """What is asked for."""
    name_claim: str = "preferred_username"
    """Claim with the name of the person."""
    role_claim: str = "groups"
    """Claim with the groups of the person."""
    admins: tuple[str, ...] = ()
    """Groups whose people are admins."""
    auditors: tuple[str, ...] = ()
    """Groups whose people are auditors."""
    finance: tuple[str, ...] = ()
    """Groups whose people see money."""
    engineers: tuple[str, ...] = ()
    """Groups whose people are engineers."""
    viewers: tuple[str, ...] = ()
    """Groups whose people are viewers; who is in no group may not sign in."""
