"""
Standard Webhooks (https://www.standardwebhooks.com) signs a webhook's id, the time of the attempt and the body's bytes.

A secret is `whsec_` and base64 for HMAC-SHA256 (`v1`), or `whsk_` and the base64 of an ed25519 seed (`v1a`). One header carries a
signature of each secret in use, so that a secret can be replaced without a gap.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SYMMETRIC = "whsec_"
ASYMMETRIC = "whsk_"
_SEED = 32  # bytes; some tools write the public key behind it


def key_of(secret: str, prefix: str = SYMMETRIC) -> bytes:
    """The key that a secret holds behind its prefix; empty if it is not base64."""
    bare = secret.removeprefix(prefix)
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return b""


def signed_content(number: str, sent: int | str, body: bytes) -> bytes:
    """The bytes that are signed: the webhook's id, the time of the attempt in seconds since 1970, and the body as it is sent."""
    return f"{number}.{sent}.".encode() + body


def digest(key: bytes, content: bytes) -> bytes:
    """HMAC with SHA-256."""
    return hmac.new(key, content, hashlib.sha256).digest()


def v1(key: bytes, content: bytes) -> str:
    """The symmetric signature, as the header has it."""
    return f"v1,{base64.b64encode(digest(key, content)).decode()}"


def v1a(key: bytes, content: bytes) -> str:
    """The asymmetric signature (ed25519), as the header has it."""
    return f"v1a,{base64.b64encode(_private(key).sign(content)).decode()}"


def public_key(secret: str) -> str:
    """The public key of an asymmetric secret, as a receiver is given it: `whpk_` and base64."""
    return f"whpk_{base64.b64encode(_private(key_of(secret, ASYMMETRIC)).public_key().public_bytes_raw()).decode()}"


def signature(secret: str, content: bytes) -> str:
    """Sign with a secret of either kind; its prefix tells which."""
    if secret.startswith(ASYMMETRIC):
        return v1a(key_of(secret, ASYMMETRIC), content)
    return v1(key_of(secret), content)


def secret_fault(secret: str) -> str:
    """Say what is wrong with a secret that one signs with; empty if it is a good one. The text holds nothing of it."""
    if secret.startswith(ASYMMETRIC):
        right = len(key_of(secret, ASYMMETRIC)) in (_SEED, 2 * _SEED)
        return "" if right else "a secret behind whsk_ is not base64 of an ed25519 key (32 bytes)"
    if not secret.startswith(SYMMETRIC):
        return "a secret begins with neither whsec_ nor whsk_"
    return "" if 24 <= len(key_of(secret)) <= 64 else "a secret behind whsec_ is not base64 of 24 to 64 bytes"


def _private(key: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # a library that few need

    return Ed25519PrivateKey.from_private_bytes(key[:_SEED])
