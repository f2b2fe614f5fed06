"""Where webhooks may go: to public addresses, and to private networks that are allowed by name.

The name of an endpoint is looked up once for each attempt, all its addresses are judged, and the connection goes to an
address that was judged: a name that answers otherwise the second time gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_NAT64: Final = ip_network("64:ff9b::/96")
PUBLIC: Final = (ip_network("0.0.0.0/0"), ip_network("2000::/3"))
"""Where the internet is: of IPv6 the registry of IANA has given out nothing else."""
SPECIAL: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
         "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
         "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
         "2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20"),
    )
)  # fmt: skip
"""IANA's registries of special-purpose addresses (RFC 6890) within `PUBLIC`, whole: nobody takes webhooks there."""


class ForbiddenAddressError(Exception):
    """A webhook may not go there; the message is one sentence."""


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks from their texts; ValueError names the first that is none."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text, strict=False))
        except ValueError as error:
            raise ValueError(f"{text} is no network; write it as 10.1.2.0/24") from error
    return tuple(found)


def may_reach(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a webhook may go to an address: a public one, or within a network that is allowed."""
    if is_allowed(address, allowed):
        return True
    inner = within(address)
    if not any(inner in network for network in PUBLIC) or any(inner in network for network in SPECIAL):
        return False
    # Python's own lists may know of more than these.
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether an address lies in a network that is allowed."""
    inner = within(address)
    return any(inner.version == network.version and inner in network for network in allowed)


def within(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to (mapped, 6to4, Teredo, NAT64), else the address."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def judged(host: str, found: Sequence[Address], allowed: Sequence[Network], plain: bool) -> tuple[Address, ...]:
    """Return the addresses of a name, all of which may be reached; `plain` is without TLS. ForbiddenAddressError."""
    for address in found:
        if not may_reach(address, allowed):
            raise ForbiddenAddressError(
                f"{host} leads to {address}, which is private: allowed_networks names those that may be"
            )
        if plain and not is_allowed(address, allowed):
            raise ForbiddenAddressError(f"http:// goes to allowed networks only: {host} ({address}) takes https://")
    return tuple(found)


async def resolve(host: str, port: int) -> tuple[Address, ...]:
    """Return the addresses of a name; OSError where there are none."""
    try:
        return (ip_address(host.strip("[]")),)
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    unique = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return tuple(ip_address(text) for text in unique)
