"""Where links of messages lead to: people read them on other machines."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from api.metrics import metrics_address

if TYPE_CHECKING:
    from api.settings import Settings

HOW = "set serve.public_url to how people reach the dashboards"


def link_base(settings: Settings) -> str:
    """Return what links begin with: `serve.public_url`, else the address that is listened at; empty where it is none.

    0.0.0.0 and :: are no addresses, and neither is a port that is not chosen yet.
    """
    if settings.serve.public_url:
        return settings.serve.public_url
    try:
        host, port = metrics_address(settings.serve.listen)
    except ValueError:
        return ""
    try:
        if ip_address(host).is_unspecified:
            return ""
    except ValueError:
        pass  # a name
    return f"http://{f'[{host}]' if ':' in host else host}:{port}" if port else ""


def link_warning(settings: Settings) -> str:
    """Return why links of messages are of no use to who reads them elsewhere, in a sentence; empty where they are."""
    base = link_base(settings)
    if not base:
        return f"messages hold no usable link to the evidence, for {settings.serve.listen} is no place to go to: {HOW}"
    if settings.serve.public_url or not _is_loopback(metrics_address(settings.serve.listen)[0]):
        return ""
    return f"links in messages lead to {base}, where only this machine finds the evidence: {HOW}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
