"""
This module says where a target may be: an address that our records, and the secrets that open it, may go to, and what a name of
somebody else's choice may stand for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, HttpUrl


def _private(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_private
    except ValueError:
        return "." not in host or host.endswith((".internal", ".local", ".localhost"))


def _safe(url: HttpUrl) -> HttpUrl:
    # Records of children and the client's secret go over this. In the clear they go no further than to a sandbox on the
    # council's own network.
    if url.scheme != "https" and not _private(url.host or ""):
        raise ValueError("is not https")
    if url.username or url.password:
        raise ValueError(
            "holds a user or a password: an address is shown in errors and logs, secrets have their own settings"
        )
    return url


Address = Annotated[HttpUrl, AfterValidator(_safe)]
"""An https URL without a user in it; http within the council's own network."""


IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
"""A cloud's own service for its machines that answers at a public address: Azure's. The others' are link-local or private."""


class ForbiddenAddressError(ValueError):
    """A name stands for an address that nobody may be sent to. The text says which sort of address it is."""


async def pinned(host: str, port: int, allowed: Sequence[IPNetwork] = ()) -> str:
    """
    Look a name up once and give the address to connect to, so that it cannot stand for another one later.

    An address that is not public (private, link-local, loopback, a cloud's own) is refused, unless it is in `allowed`; a name
    with one such address among several is refused as a whole.

    :raises ForbiddenAddressError: it stands for such an address.
    :raises OSError: there is no such name.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = [str(place[0]).partition("%")[0] for *_, place in found]
    for address in addresses:
        if why := _forbidden(ipaddress.ip_address(address), allowed):
            raise ForbiddenAddressError(why)
    return addresses[0]


def _forbidden(address: IPAddress, allowed: Sequence[IPNetwork]) -> str:
    meant = _meant(address)
    if any(meant in network or address in network for network in allowed):
        return ""
    if meant.is_loopback:
        return "loopback"
    if meant.is_link_local:
        return "link-local"
    if meant in _METADATA:
        return "a cloud's own service"
    return "" if meant.is_global and not meant.is_multicast else "not public"


def _meant(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    tunnelled = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or tunnelled or address
