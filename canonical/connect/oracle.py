"""
Reaches Oracle by the driver `oracledb` in its thin mode, which needs no client of Oracle's: Oracle 12.1 and newer.

No server of Oracle's was run here. The tests look at what the driver is given, and let it meet servers that refuse it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import URL

from canonical.connect import tls
from canonical.errors import MisconfiguredError

PORT = 1521
READ_ONLY = "SET TRANSACTION READ ONLY"
"""A transaction that begins so cannot write, and all its statements see the database as it was when it began."""

ORDER = "ALTER SESSION SET NLS_SORT = 'BINARY' NLS_COMP = 'BINARY' TIME_ZONE = '+00:00'"
"""
Pages are read behind a key: the database has to sort texts as it compares them, which a national sort order does not. The
zone is a fixed one, so that this machine's own changes nothing.
"""

_WALLET = ("wallet_location", "wallet_password")
_KEPT = ("service_name", *_WALLET, "ssl_server_cert_dn")


def reached(where: str, url: URL, connect: timedelta) -> tuple[URL, dict[str, Any]]:
    """
    Give the URL with the login alone, and the driver's arguments for the rest of it.

    The URL's path is a SID; a service is `?service_name=NAME`. The words for TLS are those of `canonical.connect.tls`, and
    `wallet_location`, a folder with an `ewallet.pem`, whose password is `wallet_password`. A wallet asks for TLS.

    :raises MisconfiguredError: it names no database, or has a word that is not kept.
    """
    if "wallet_location" in url.query and not {"sslmode", "ssl"} & set(url.query):
        url = url.update_query_dict({"sslmode": "verify-full"})
    bare, encrypted = tls.of_url(where, url)
    said = {word: str(value) for word, value in bare.query.items()}
    if unknown := sorted(set(said) - set(_KEPT)):
        fix = f"beside the words for TLS there are {', '.join(_KEPT)}"
        raise MisconfiguredError(where, f"its URL has a word that is not kept: {', '.join(unknown)}", fix=fix)
    if bool(bare.database) == ("service_name" in said) or not bare.host:
        fix = "name one database: oracle://user@host:1521/?service_name=NAME, or with its SID oracle://user@host:1521/SID"
        raise MisconfiguredError(where, "its URL does not name one database of Oracle", fix=fix)
    given: dict[str, Any] = said | {"sid": bare.database} if bare.database else dict(said)
    given |= {"host": bare.host, "port": bare.port or PORT, "program": "ironbridge"}
    given |= {"tcp_connect_timeout": connect.total_seconds()} | _by(encrypted)
    return URL.create(url.drivername, url.username, url.password), given


def _by(encrypted: ssl.SSLContext | None) -> dict[str, Any]:
    if encrypted is None:
        return {"protocol": "tcp"}
    # The driver compares the name of the certificate itself, and leaves that out where the context would not look either.
    return {"protocol": "tcps", "ssl_context": encrypted, "ssl_server_dn_match": encrypted.check_hostname}


def exact(number: Decimal) -> int | Decimal:
    """A NUMBER as it is: a whole one as an int, any other as a Decimal, whatever its column or a UNION declares."""
    return int(number) if number == number.to_integral_value() else number


def reading_exactly(
    usual: Callable[..., Any] | None, number: object
) -> Callable[[Any, str, object, int, int, int], Any]:
    """Let a connection give a NUMBER exactly, and everything else as it does; `number` is the driver's word for a NUMBER."""

    def reads(cursor: Any, name: str, kind: object, size: int, precision: int, scale: int) -> Any:
        if kind is number:
            return cursor.var(Decimal, 255, arraysize=cursor.arraysize, outconverter=exact)
        return None if usual is None else usual(cursor, name, kind, size, precision, scale)

    return reads
