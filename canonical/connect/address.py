"""This type says where a target is: an address that our records, and the secrets that open it, may go to."""

from __future__ import annotations

import ipaddress
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
