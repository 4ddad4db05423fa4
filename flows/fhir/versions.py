"""
The versions of a subject's resources, as one tag: the ledger keeps one tag a subject, and FHIR gives each resource its own.

A tag is a list of pairs, `6f1c2a9b=3`: eight digits of a digest of the resource's address, and its version id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from flows.port import Body

_ETAG: Final = re.compile(r'(?:W/)?"([A-Za-z0-9.-]{1,64})"')
_VERSION: Final = re.compile("[A-Za-z0-9.-]{1,64}")


class KnownVersions:
    """The versions that a tag holds. A resource that the tag does not name was not there when it was made."""

    def __init__(self, tag: str | None) -> None:
        self._known = dict(pair.partition("=")[::2] for pair in (tag or "").split())

    def match(self, address: str) -> Body:
        """Give the part of a bundle's request by which only this version is changed; nothing if none is known."""
        version = self._known.get(_short(address))
        return {"ifMatch": f'W/"{version}"'} if version else {}


def tag_of(versions: Mapping[str, str | None]) -> str | None:
    """The tag of some resources, by their addresses. None if one of them has no version: then nothing can be matched."""
    if not versions or not all(versions.values()):
        return None
    return " ".join(f"{_short(address)}={version}" for address, version in sorted(versions.items()))


def version_of(resource: Body | None, etag: object = None) -> str | None:
    """A resource's version: by its ETag, else by what it says itself."""
    if isinstance(etag, str) and (found := _ETAG.fullmatch(etag.strip())):
        return found.group(1)
    meta = (resource or {}).get("meta")
    said = meta.get("versionId") if isinstance(meta, dict) else None
    return said if isinstance(said, str) and _VERSION.fullmatch(said) else None


def _short(address: str) -> str:
    return hashlib.blake2b(address.encode(), digest_size=4).hexdigest()
