"""
Encrypted connections: certificates are checked, for the right name and authority, unless the settings say otherwise.

A database's URL says so in libpq's words, whichever database it is: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`
(https://www.postgresql.org/docs/current/libpq-ssl.html). Without a word, a server on this machine is talked to in the clear
and any other with `verify-full`.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator

from sqlalchemy import URL

from canonical.errors import MisconfiguredError

MODES = ("disable", "require", "verify-ca", "verify-full")
_WORDS = ("sslmode", "ssl", "sslrootcert", "sslcert", "sslkey")


def context(
    where: str, *, cafile: str | None = None, certfile: str | None = None, keyfile: str | None = None
) -> ssl.SSLContext:
    """
    Make the context that checks the other side: against `cafile`, or the system's authorities; with a certificate of
    our own where it is wanted.

    :raises MisconfiguredError: a file cannot be read or holds no certificate.
    """
    what = f"the authorities' file {cafile}"
    try:
        made = ssl.create_default_context(cafile=cafile or None)
        if certfile:
            what = f"our certificate {certfile} with its key"
            made.load_cert_chain(certfile, keyfile or None, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise MisconfiguredError(
            where, f"{what} cannot be used ({type(error).__name__})",
            fix="name PEM files that this account may read; a key without a passphrase, and the one of that certificate",
        ) from None  # fmt: skip
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _no_password() -> str:
    raise ValueError  # else OpenSSL would ask the terminal


def of_url(where: str, url: URL) -> tuple[URL, ssl.SSLContext | None]:
    """
    A database's URL without the words about TLS, and what they come to: None is a connection in the clear.

    :raises MisconfiguredError: a mode that does not exist or that checks nothing and does not say so; a file that is none.
    """
    said = {word: str(url.query[word]) for word in _WORDS if word in url.query}
    bare = url.difference_update_query([word for word in _WORDS if word in url.query])
    mode = said.get("sslmode") or said.get("ssl") or ("disable" if _here(url.host) else "verify-full")
    if mode not in MODES:
        raise MisconfiguredError(
            where, "`sslmode` in its URL is not a mode that is kept",
            fix=f"use one of {', '.join(MODES)}: others fall back to no encryption without a word",
        )  # fmt: skip
    if mode == "disable":
        return bare, None
    made = context(where, cafile=said.get("sslrootcert"), certfile=said.get("sslcert"), keyfile=said.get("sslkey"))
    made.check_hostname = mode == "verify-full"
    if mode == "require":
        made.verify_mode = ssl.CERT_NONE
    return bare, made


def _here(host: str | None) -> bool:
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def complaint(error: BaseException | None) -> tuple[str, str] | None:
    """Say what a failed handshake is about and what to do, if an error or one of its causes is a failed handshake."""
    for each in _chain(error):
        text = str(each)
        if isinstance(each, ssl.SSLCertVerificationError):
            if each.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
                return (
                    "its certificate is in another name",
                    "use the name that the certificate has, or have one issued for this",
                )
            if each.verify_code in (9, 10):
                return "its certificate has expired, or is not valid yet", "have it renewed; check this machine's clock"
            return "its certificate is not of an authority that we trust", "name the authority's file: {ca}"
        if isinstance(each, ssl.SSLError):
            reason = (each.reason or "").replace("_", " ").lower()
            if "alert" in reason or "certificate" in reason:
                return f"it refused our handshake ({reason})", "where it asks for a certificate of ours, name it: {own}"
            return (
                "it does not speak TLS there",
                "check the port; where it has no TLS, turn it on there, or say: {plain}",
            )
        if isinstance(each, ConnectionError) and "rejected SSL upgrade" in text:
            return "it does not speak TLS", "turn TLS on in the server; on a network that you trust say: {plain}"
    return None


FIXES = {
    "ca": "sslrootcert=FILE in its URL",
    "own": "sslcert=FILE&sslkey=FILE in its URL",
    "plain": "sslmode=disable in its URL",
}
"""How a database's URL says each of what `complaint` advises."""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
